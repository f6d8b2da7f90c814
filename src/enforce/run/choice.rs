//! What the caller of `polc run` chose: the options, and the program.

use super::guard::Wanted;
use super::supervise;
use crate::fidelity::Requirement;
use std::ffi::OsString;
use std::path::Path;

/// The options that the user chose.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    /// Namespaces may be used.
    pub namespaces: bool,
    /// `/tmp`, `/var/tmp` and `/dev/shm` are the host's.
    pub share_tmp: bool,
    /// No network, whatever the policy says.
    pub no_network: bool,
    /// At the end, polc does not say what the proxy refused.
    pub quiet: bool,
    /// At the end, polc says what was refused, and by which rule.
    pub explain: bool,
    /// The kernel writes audit records of what it refuses, for a later `polc why`.
    pub log: bool,
    /// polc starts the program only if the layers keep at least this much of the policy.
    pub required: Option<Requirement>,
    /// An object that was made against the policy decides the exit status.
    pub fail_if_made: bool,
    /// polc starts the program although some denied objects cannot be protected.
    pub allow_gaps: bool,
    /// Whether the guard decides each call that names a path.
    pub guard: Wanted,
}

impl From<Choice> for supervise::Tell {
    fn from(c: Choice) -> Self {
        match c {
            Choice { explain: true, .. } => Self::Explained,
            Choice { quiet: true, .. } => Self::Nothing,
            _ => Self::Proxy,
        }
    }
}

/// The program that is to be started.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// The file.
    pub file: &'a Path,
    /// Its name and arguments, as the program gets them.
    pub words: &'a [OsString],
}
