//! The program's command line and environment, and the step that becomes the program.

use super::Error;
use super::choice::Start;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;

/// A command line as `execve(2)` takes it.
pub struct Words {
    file: CString,
    words: Vec<CString>,
}

/// An environment as `execve(2)` takes it.
pub struct Environment(Vec<CString>);

fn pointers(list: &[CString]) -> Vec<*const libc::c_char> {
    list.iter()
        .map(|s| s.as_ptr())
        .chain([std::ptr::null()])
        .collect()
}

impl Words {
    /// The command line of a program to start.
    ///
    /// # Errors
    /// A word holds a NUL.
    pub fn new(program: Start<'_>) -> Result<Self, Error> {
        let c = |w: &[u8]| CString::new(w).map_err(|_| Error::Nul);
        Ok(Self {
            file: c(program.file.as_os_str().as_bytes())?,
            words: program
                .words
                .iter()
                .map(|w| c(w.as_bytes()))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Becomes the program; it returns only if that fails.
    pub fn become_it(&self, environment: &Environment) -> std::io::Error {
        let (words, variables) = (pointers(&self.words), pointers(&environment.0));
        // SAFETY: both lists end in a null pointer, and every string in them outlives the call.
        unsafe { libc::execve(self.file.as_ptr(), words.as_ptr(), variables.as_ptr()) };
        std::io::Error::last_os_error()
    }
}

impl Environment {
    /// An environment of these names and values.
    ///
    /// # Errors
    /// A name or a value holds a NUL.
    pub fn new(variables: &[(OsString, OsString)]) -> Result<Self, Error> {
        let one = |(n, v): &(OsString, OsString)| {
            let mut text = n.as_bytes().to_vec();
            text.push(b'=');
            text.extend_from_slice(v.as_bytes());
            CString::new(text).map_err(|_| Error::Nul)
        };
        Ok(Self(variables.iter().map(one).collect::<Result<_, _>>()?))
    }
}
