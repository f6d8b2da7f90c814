//! Back-ends: from a policy to the artifacts of one target.
//!
//! A back-end is a folder here and a line in [`all`]. It does three things:
//!
//! - It lowers the policy's meaning (sets of allowed accesses, from [`crate::semantics`]) to a typed model of its
//!   target's language: `lower.rs` makes `model.rs`.
//! - It renders the model by templates that hold no policy logic (`templates/<id>/`).
//! - It says in a [`Ledger`] what the target keeps of each rule.

mod apparmor;
mod evaluate;
mod header;
pub mod landlock;
mod loader;
mod sbpl;
pub mod seccomp;
mod selinux;
mod tetragon;

pub(crate) use evaluate::Answers;
pub(crate) use evaluate::Deciding;
pub use evaluate::{Allowed, Clause, Confines, Deciders, Evaluate, Form, HostCuts, OnPaths};

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::fidelity::Ledger;
use crate::policy::{Platform, Policy};
use crate::semantics::Meaning;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One file for a target's tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The file's name in a folder: `NAME.apparmor`.
    pub file_name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What a back-end makes from a policy.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The files. The first is the one that goes to standard output.
    pub artifacts: Vec<Artifact>,
    /// What the files keep of the policy.
    pub ledger: Ledger,
    /// Paths that they treat as files, although neither the policy nor the artifact says so. On a directory, the rights
    /// would also reach what lies beneath. A reader must be told about them ([`Options::files`]).
    pub files: Vec<Vec<u8>>,
}

/// An option of a back-end, as `polc emit` shows it (`--abi 6`).
#[derive(Debug, Clone, Copy)]
pub struct OptionSpec {
    /// Its name, unique over all back-ends.
    pub name: &'static str,
    /// The word for the value in help. `None`: a switch.
    pub value_name: Option<&'static str>,
    /// The values that it may have. Empty: [`Backend::compile`] checks them.
    pub values: &'static [&'static str],
    /// Its value if it is not given. `None`: not set.
    pub default: Option<&'static str>,
    /// One line.
    pub help: &'static str,
}

/// The options for a back-end. The values are strings until the back-end reads them.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The values that were given, by the name of the option.
    pub values: BTreeMap<&'static str, String>,
    /// Text for the first comment line of the artifact, if its language has comments: the command that made it. The
    /// same input gives the same text.
    pub banner: Option<String>,
    /// For reading back: paths that are files, if the artifact does not say ([`Compiled::files`]).
    pub files: Vec<Vec<u8>>,
}

impl Options {
    /// The value of an option, or its default if it is not given.
    #[must_use]
    pub fn value(&self, spec: &OptionSpec) -> Option<&str> {
        self.values
            .get(spec.name)
            .map(String::as_str)
            .or(spec.default)
    }

    /// Whether a switch is on.
    #[must_use]
    pub fn is_set(&self, spec: &OptionSpec) -> bool {
        self.values.contains_key(spec.name)
    }
}

/// A back-end: it makes the artifacts of one target, and reads them back.
pub trait Backend: Sync {
    /// The name of its target, as on the command line.
    fn id(&self) -> &'static str;

    /// The platform that its layer is a part of: rules for others are not in its artifacts.
    fn platform(&self) -> Platform;

    /// One line: what it makes.
    fn summary(&self) -> &'static str;

    /// Its options.
    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    /// Makes the artifacts and their ledger, of the meaning on its platform ([`Meaning::on`]).
    ///
    /// # Errors
    /// The target cannot quote a name, or an option is wrong.
    fn compile(&self, meaning: &Meaning<'_>, options: &Options) -> Result<Compiled, Diagnostics>;

    /// Whether this is an artifact of this target, so that `polc verify` finds the reader. The content decides. The
    /// name helps if the content does not say.
    fn recognises(&self, artifact: &Artifact) -> bool;

    /// Who the artifact is for, if the policy does not say: one line that follows the target's name.
    fn assumes(&self, policy: &Policy) -> Option<String> {
        let _ = policy;
        None
    }

    /// The other files of one artifact, if a target has several. They lie beside it, and may be missing.
    fn companions(&self, file: &Path) -> Vec<PathBuf> {
        let _ = file;
        Vec::new()
    }

    /// Reads artifacts back, and evaluates them by the target's own rules. `options` has what the artifact itself does
    /// not say (the port of a proxy).
    ///
    /// # Errors
    /// The reader does not understand an artifact.
    fn read_back(
        &self,
        artifacts: &[Artifact],
        options: &Options,
    ) -> Result<Box<dyn Evaluate>, Diagnostics>;
}

/// The only file of a target that has one.
fn only(artifacts: &[Artifact]) -> Result<&Artifact, Diagnostics> {
    match artifacts {
        [one] => Ok(one),
        _ => Err(Diagnostic::error(
            "E115",
            format!(
                "the target has one file, but there are {} here",
                artifacts.len()
            ),
        )
        .into()),
    }
}

/// Every back-end, in the order of reports.
#[must_use]
pub fn all() -> &'static [&'static dyn Backend] {
    &[
        &landlock::Landlock,
        &seccomp::Seccomp,
        &apparmor::AppArmor,
        &selinux::SeLinux,
        &sbpl::Sbpl,
        &tetragon::Tetragon,
    ]
}

/// The back-end with this name.
#[must_use]
pub fn find(id: &str) -> Option<&'static dyn Backend> {
    all().iter().copied().find(|b| b.id() == id)
}

#[cfg(test)]
mod tests {
    /// A test of a policy names its layers so.
    #[test]
    fn the_layers_that_a_test_can_name_are_the_targets() {
        let ids: Vec<&str> = super::all().iter().map(|b| b.id()).collect();
        assert_eq!(ids, crate::policy::LAYERS);
    }
}
