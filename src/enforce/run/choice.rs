//! What is asked of `polc run`: the user's choices, and the program.

use super::guard::Wanted;
use super::supervise;
use crate::fidelity::Requirement;
use std::ffi::OsString;
use std::path::Path;

/// What the user chose.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    /// Namespaces may be used.
    pub namespaces: bool,
    /// `/tmp`, `/var/tmp` and `/dev/shm` are the host's.
    pub share_tmp: bool,
    /// No network, whatever the policy says.
    pub no_network: bool,
    /// Nothing is said at the end of what the proxy refused.
    pub quiet: bool,
    /// What was refused is told at the end, with the rule that it was.
    pub explain: bool,
    /// The kernel writes audit records of what it refuses, for a later `polc why`.
    pub log: bool,
    /// Without this much the program is not started.
    pub required: Option<Requirement>,
    /// What was made against the policy decides the exit status.
    pub fail_if_made: bool,
    /// The program is started although something that is denied cannot be protected.
    pub allow_gaps: bool,
    /// Whether calls that name a path are decided one by one.
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
    /// Its name and arguments, as it is told them.
    pub words: &'a [OsString],
}
