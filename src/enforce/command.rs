//! The program to start: which file it is, and whether the policy lets it start.

use crate::fidelity::Object;
use crate::policy::{Operation, Policy};
use crate::semantics::{Decision, decide};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A program that was found.
#[derive(Debug, Clone)]
pub struct Program {
    /// The file that was found, which will be executed.
    pub file: PathBuf,
    /// The target of that file after all links. The policy's rules are about this path.
    pub resolved: PathBuf,
}

/// Why no program was found.
#[derive(Debug, thiserror::Error)]
pub enum NotFound {
    /// No directory of `PATH` has it, or there is no such file.
    #[error("there is no program `{0}`")]
    Missing(String),
    /// It is not a file, or this user may not execute it.
    #[error("`{0}` cannot be executed: it is not a file, or you have no permission to execute it")]
    NotExecutable(String),
}

/// Finds a program as a shell does. A name with `/` is a path. Any other name is searched in `path`.
///
/// # Errors
/// There is no such program.
pub fn find(name: &OsStr, path: Option<&OsStr>) -> Result<Program, NotFound> {
    let shown = || crate::fidelity::show_bytes(name.as_bytes());
    let candidates: Vec<PathBuf> = if name.as_bytes().contains(&b'/') {
        vec![PathBuf::from(name)]
    } else {
        let folders = path.map_or_else(
            || OsString::from("/usr/local/bin:/usr/bin:/bin"),
            OsString::from,
        );
        std::env::split_paths(&folders)
            // An empty part of PATH means the current directory. Nobody wants that.
            .filter(|f| f.is_absolute())
            .map(|f| f.join(name))
            .collect()
    };
    let mut there = false;
    for file in candidates {
        let Ok(meta) = std::fs::metadata(&file) else {
            continue;
        };
        there = true;
        if meta.is_file() && meta.permissions().mode() & 0o111 != 0 {
            let Ok(resolved) = std::fs::canonicalize(&file) else {
                continue;
            };
            return Ok(Program { file, resolved });
        }
    }
    Err(if there {
        NotFound::NotExecutable(shown())
    } else {
        NotFound::Missing(shown())
    })
}

/// What the policy says about starting a program with these arguments.
#[must_use]
pub fn decision(policy: &Policy, program: &Path, arguments: &[OsString]) -> Decision {
    let words = std::iter::once(program.as_os_str())
        .chain(arguments.iter().map(OsString::as_os_str))
        .map(|w| w.as_bytes().to_vec())
        .collect();
    decide(policy, Operation::Execute, &Object::Command(words))
}
