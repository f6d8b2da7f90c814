//! Which policy files of repositories the user trusts.
//!
//! A `polc.yaml` in a cloned repository was written by somebody else. `polc run` and `polc enforce` use it only after
//! the user has said so, with `polc trust` or when asked. For each such file polc keeps a [`Record`]. It has the name
//! that the file was found by, the file that this name led to, and the bytes of that file and of all files that it
//! includes. These are the bytes that polc parsed and showed. polc reads them once, so nobody can swap them between
//! reading and asking.
//!
//! A record is valid for its bytes and no others. When one of the files changes, or an `include` leads elsewhere, the
//! policy [has changed](Standing::Changed). polc still has the old bytes, and shows the difference.
//!
//! [`Store`] keeps the records in the user's state directory, one file each. It writes a record beside its place and
//! renames it. So a reader sees the old record or the new one, whole.
//!
//! A repository may bring files that look like records, and an `.envrc` that names their directory. So a state directory
//! is believed only if it lies [apart] from what the policy came with, and a record only if nobody else could
//! have written it and no checkout makes it so: it is the user's, nobody else may read it, and it has one name.

mod directory;
mod protect;
mod record;
mod store;

pub use directory::{Distrust, apart, state_directory};
pub use protect::{RULE, claim, protect};
pub use record::{Record, Standing};
pub use store::{Listed, Store};

use std::io;
use std::path::PathBuf;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refuses.
    #[error("cannot {0} `{path}`: {2}", path = shown(.1))]
    System(&'static str, PathBuf, #[source] io::Error),
    /// Somebody else could have written what is in it.
    #[error("`{path}` {1}, so what is trusted cannot be read from there; {help}", path = shown(.0), help = .1.help(.0))]
    NotOurs(PathBuf, Distrust),
    /// It lies in the directory that the policy came with, or the other way round.
    #[error("the state directory `{state}` and `{from}`, where the policy comes from, lie within one another: whoever wrote the policy could have put records there", state = shown(.0), from = shown(.1))]
    NotApart(PathBuf, PathBuf),
    /// A record that polc did not write so.
    #[error("`{path}` is damaged: {1}; remove it, and trust the policy again", path = shown(.0))]
    Damaged(PathBuf, String),
}

fn shown(path: &std::path::Path) -> String {
    crate::fidelity::show_bytes(path.as_os_str().as_encoded_bytes())
}
