//! Which policy files of repositories the user trusts.
//!
//! A stranger wrote the `polc.yaml` of a cloned repository. `polc run` and `polc enforce` use it only after the user
//! trusts it, with `polc trust` or when polc asks. For each trusted file polc stores a [`Record`]. It has the name that
//! the file was found by, and the file that this name led to. It also has the bytes of that file and of all files that
//! it includes. These are the bytes that polc parsed and showed. polc reads them once, so nobody can exchange them
//! between reading and asking.
//!
//! A record is valid only for its bytes. When one of the files changes, or an `include` leads to another file, the
//! policy [has changed](Standing::Changed). polc still has the old bytes, and shows the difference.
//!
//! [`Store`] keeps the records in the user's state directory, one file each. It writes a record under another name, and
//! renames it. So a reader sees the old record or the new one, and never half of one.
//!
//! A repository may bring files that look like records, and an `.envrc` that names their directory. So polc trusts a
//! state directory only if it lies [apart] from what the policy came with. It trusts a record only if no other user
//! could have written it, and if no checkout makes such a file. The record must belong to the user, no other user may
//! read it, and it must have only one name.

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
    /// Another user could have written its contents.
    #[error("`{path}` {1}, so what is trusted cannot be read from there; {help}", path = shown(.0), help = .1.help(.0))]
    NotOurs(PathBuf, Distrust),
    /// It lies in the directory that the policy came with, or the other way round.
    #[error("the state directory `{state}` and `{from}`, where the policy comes from, lie within one another: whoever wrote the policy could have put records there", state = shown(.0), from = shown(.1))]
    NotApart(PathBuf, PathBuf),
    /// A record that polc did not write in this form.
    #[error("`{path}` is damaged: {1}; remove it, and trust the policy again", path = shown(.0))]
    Damaged(PathBuf, String),
}

fn shown(path: &std::path::Path) -> String {
    crate::fidelity::show_bytes(path.as_os_str().as_encoded_bytes())
}
