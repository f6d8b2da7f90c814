//! The program that is to be started: which file it is, and whether the policy lets it start.

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
    /// The file as it was found, to be executed.
    pub file: PathBuf,
    /// Where that leads in the end: what a policy speaks of.
    pub resolved: PathBuf,
}

/// Why there is no program.
#[derive(Debug, thiserror::Error)]
pub enum NotFound {
    /// No directory of `PATH` has it, or there is no such file.
    #[error("there is no program `{0}`")]
    Missing(String),
    /// It is no file that may be executed.
    #[error("`{0}` cannot be executed: it is not a file, or you have no permission to execute it")]
    NotExecutable(String),
}

/// Finds a program as a shell does: a name with `/` is a path, any other is looked for in `path`.
///
/// # Errors
/// There is none.
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
            // An empty part of PATH is the current directory, which nobody means.
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

/// What the policy says of starting a program with these arguments.
#[must_use]
pub fn decision(policy: &Policy, program: &Path, arguments: &[OsString]) -> Decision {
    let words = std::iter::once(program.as_os_str())
        .chain(arguments.iter().map(OsString::as_os_str))
        .map(|w| w.as_bytes().to_vec())
        .collect();
    decide(policy, Operation::Execute, &Object::Command(words))
}
