//! Landlock: a ruleset in the landlockconfig format, and the plan for a host.
//!
//! # Quirks
//!
//! Measured on 6.18 (ABI 7) unless something else is said. The rest is from the kernel's documentation
//! (Documentation/userspace-api/landlock.rst).
//!
//! - Landlock only allows. A right on a directory reaches everything below it, and nothing below can be taken away
//!   again. So an allowed tree with a denied path in it cannot be kept as it is ([`Holes`]):
//!   - Open: the tree is granted and the deny is lost. The ledger says so first of all. A host that was looked at
//!     (`--expand`, and `enforce landlock`) loses less: where the program can make nothing new, the entries that are
//!     there are granted one by one for reading, editing and starting, and `/etc/shadow` is kept.
//!   - Closed: the tree is granted in parts, and the deny is kept. Without a host to look at, the parts are the paths
//!     that the policy names. With a host, the parts are the other entries of each directory above the denied path.
//!     `polc run` takes this, and covers what is denied with mounts.
//! - A denied pattern (`/w/**/.env`) could match anywhere, and in parts nothing of `/w` could be granted. The back-end
//!   grants `/w` in both cases, and the ledger says `looser`.
//! - Landlock does not restrict a right that a ruleset does not handle. So an operation that the policy allows
//!   everywhere is not handled.
//! - Making and removing are rights of the parent directory: `make_*` on D is for what is beneath D.
//! - A right that only directories have fails with EINVAL on a file. So an object that is not a tree gets file rights
//!   only. The static artifact cannot know whether a path is a file. It takes a path for one if the policy names
//!   nothing beneath it. If it is a directory, the same rights reach beneath it.
//! - Execution needs `read_file` too: a program that may be executed but not read does not start.
//! - `refer` (ABI 2) is needed to link or rename across directories. If it is not handled, that always fails with
//!   EXDEV.
//! - `truncate` is ABI 3; before, truncating is not restricted. TCP ports are ABI 4, without addresses. Scopes are ABI
//!   6. Unix sockets by path are ABI 9, which landlockconfig cannot say yet.
//! - Not mediated: mode, owner, times, attributes; UDP, raw sockets, MPTCP. seccomp closes some of these.
//! - `inotify` is not mediated. A program that may not list a directory can watch it, if its mode lets the program read
//!   it. It then learns the names that others use there (seen on 6.18). The ledger does not count that.
//! - A right is on the file, not on its name. A denied file may have a second name (a hard link, as `perl` and
//!   `perl5.36.0` have). If that name is granted, the file can also be opened by its denied name.
//! - Data sent with MSG_FASTOPEN (before Linux 7.2) are not mediated. Nor is `listen` without `bind`, which takes a
//!   port that the kernel chooses. Both were seen. The ledger has a line for them and for MPTCP wherever ports are
//!   restricted.
//! - `ld.so /path/to/program` starts every program that may be read ([`super::loader`]). The ledger has a line for it.
//! - `ioctl_dev` is not handled: no operation of the language is about device commands.
//! - landlockconfig expands `${name}` in paths. So the back-end refuses a path with `${` in it.

mod grants;
mod host;
mod lower;
mod model;
mod read_back;
#[cfg(test)]
mod tests;

pub use super::loader::{LOADED, LOADER, started_by_loader};
pub use grants::{Entry, Holes};
pub use host::{Host, Kind, RealHost};
pub use lower::{Lowered, Rules, UNASKED, lower, rules};
pub use model::{AccessFs, AccessNet, NetPort, PathBeneath, Ruleset, Scope};

use super::{Artifact, Backend, Compiled, Evaluate, OptionSpec, Options};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::policy::Platform;
use crate::semantics::Meaning;

/// The back-end.
pub struct Landlock;

const ABI: OptionSpec = OptionSpec {
    name: "abi",
    value_name: Some("ABI"),
    values: &["1", "2", "3", "4", "5", "6", "7", "8", "9"],
    // The newest ABI whose rights landlockconfig can write. It is also the ABI of Debian 13's kernel.
    default: Some("6"),
    help: "the version of Landlock of the kernel",
};

const EXPAND: OptionSpec = OptionSpec {
    name: "expand",
    value_name: None,
    values: &[],
    default: None,
    help: "look at this host: where a tree has something denied, grant its other entries one by one, and list what wildcards match",
};

const HOLES: OptionSpec = OptionSpec {
    name: "holes",
    value_name: Some("HOW"),
    values: &["open", "closed"],
    default: Some("open"),
    help: "a denied path inside an allowed tree: `open` grants the tree, so that allowed work works and the deny is lost; `closed` keeps the deny, and nothing new can be made beside it",
};

impl Backend for Landlock {
    fn id(&self) -> &'static str {
        "landlock"
    }

    fn platform(&self) -> Platform {
        Platform::Linux
    }

    fn summary(&self) -> &'static str {
        "a Landlock ruleset in the landlockconfig format"
    }

    fn options(&self) -> &'static [OptionSpec] {
        const ALL: &[OptionSpec] = &[ABI, EXPAND, HOLES];
        ALL
    }

    fn compile(&self, meaning: &Meaning<'_>, options: &Options) -> Result<Compiled, Diagnostics> {
        let meaning = meaning.on(self.platform());
        let abi = options
            .value(&ABI)
            .and_then(|v| v.parse().ok())
            .filter(|n| (1..=9).contains(n));
        let Some(abi) = abi else {
            return Err(Diagnostic::error("E102", "`--abi` is a number from 1 to 9").into());
        };
        let host: Option<&dyn Host> = if options.is_set(&EXPAND) {
            Some(&RealHost)
        } else {
            None
        };
        let holes = match options.value(&HOLES) {
            Some("open") => Holes::Open,
            Some("closed") => Holes::Closed,
            _ => {
                return Err(Diagnostic::error("E102", "`--holes` is `open` or `closed`").into());
            }
        };
        let lowered = lower(meaning, abi, host, holes)?;
        let text = model::render(&lowered.ruleset, meaning.policy())?;
        let artifact = Artifact {
            file_name: format!("{}.landlock.json", meaning.policy().name),
            bytes: text.into_bytes(),
        };
        Ok(Compiled {
            artifacts: vec![artifact],
            files: lowered
                .ruleset
                .paths
                .iter()
                .filter(|p| p.file)
                .map(|p| p.parent.clone())
                .collect(),
            ledger: lowered.ledger,
        })
    }

    fn recognises(&self, artifact: &Artifact) -> bool {
        read_back::recognises(artifact)
    }

    fn read_back(
        &self,
        artifacts: &[Artifact],
        options: &Options,
    ) -> Result<Box<dyn Evaluate>, Diagnostics> {
        Ok(Box::new(read_back::read(super::only(artifacts)?, options)?))
    }
}
