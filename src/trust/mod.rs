//! Which policy files of repositories the user trusts.
//!
//! A `polc.yaml` that lies in a cloned repository was written by somebody else. `polc run` and `polc enforce` use it only
//! after the user has said so, with `polc trust` or when asked. What is kept for each such file is a [`Record`]: the name
//! that it was found by, the file that this name led to, and the bytes of it and of all files that it includes. The
//! bytes are the ones that were parsed and shown, read once, so nothing can be swapped between reading and asking.
//!
//! A record holds for its bytes and no others. When one of the files changes, or an `include` leads elsewhere, the policy
//! [has changed](Standing::Changed), and the old bytes are still there to show the difference.
//!
//! [`Store`] keeps the records in the user's state directory, one file each. A record is written beside its place and
//! renamed, so that a reader sees the old one or the new one, whole.

mod directory;
mod protect;
mod record;
mod store;

pub use directory::state_directory;
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
    /// Somebody else could change what is in it.
    #[error("`{path}` {1}: what is kept there could be somebody else's", path = shown(.0))]
    NotOurs(PathBuf, &'static str),
    /// A record that polc did not write so.
    #[error("`{path}` is damaged: {1}; take it away, and trust the policy again", path = shown(.0))]
    Damaged(PathBuf, String),
}

fn shown(path: &std::path::Path) -> String {
    crate::fidelity::show_bytes(path.as_os_str().as_encoded_bytes())
}
