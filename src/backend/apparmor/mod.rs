//! AppArmor: a profile for `apparmor_parser -r`, containers and Kubernetes.
//!
//! # Quirks
//!
//! Seen with apparmor_parser 3.0.8 and its compiled automaton (`tests/native/apparmor` walks it), or in
//! apparmor.d(5).
//!
//! - Deny beats allow, in whatever order. An allow above a deny has to be cut out: a deny that no
//!   allow above it meets becomes a deny; another is taken out of the allows below it, name by
//!   name with complement classes ([`carve`]). What neither can say stays denied: stricter.
//! - Directories have a `/` at the end of their name: `/a` is never the directory. The policy's `/a/**` is
//!   `/a{,/,/**}`, its `/a/**/b` is `/a/{,**/}b`. `r` on a file is `read`, on a directory `list`.
//! - `w` is edit, create, delete and, for mode and owner, metadata, in one. It is granted on files where
//!   edit, create and delete are all allowed, whatever metadata is (looser; without it nothing
//!   could be written); on devices where edit is. Times and attributes are not mediated.
//! - Moving a directory away takes what is below from under its pattern. Directories get `w` only as part
//!   of a tree, and the literal directories above a denied path not at all. Where a pattern with `**`
//!   denies something that could be in any directory, directories can still be moved: looser.
//! - Hard links get no rule: `l` tests the target's rights for the owner alone in parser 3.0.8. Linking
//!   fails with EACCES, and git, cargo and others copy or rename instead.
//! - Programs are started with `ix`: they stay in the profile. `x` rules of one mode may overlap.
//! - Every path is in double quotes: glob characters, `^`, `@` and `\` behind a backslash, other bytes
//!   that are not plain as octal escapes.
//! - Connecting to a unix socket by its path is not mediated by mainline kernels. Hosts are not known
//!   before AppArmor 4 on its newest kernels: families and types are.
//! - A container engine pins ABI 3.0, and newer ones drop `unix` from a plain `network,`: 3.0 is the
//!   default.

mod braces;
mod carve;
mod groups;
mod lower;
mod model;
mod read_back;
mod rights;
#[cfg(test)]
mod tests;

use super::{Artifact, Backend, Compiled, Evaluate, OptionSpec, Options};
use crate::diagnostics::Diagnostics;
use crate::policy::{Platform, Policy};
use crate::semantics::Meaning;

/// The back-end.
pub struct AppArmor;

const VERSION: OptionSpec = OptionSpec {
    name: "apparmor-abi",
    value_name: Some("ABI"),
    values: &["3.0", "4.0"],
    default: Some("3.0"),
    help: "the feature ABI that the profile asks for",
};

impl Backend for AppArmor {
    fn id(&self) -> &'static str {
        "apparmor"
    }

    fn platform(&self) -> Platform {
        Platform::Linux
    }

    fn summary(&self) -> &'static str {
        "an AppArmor profile for `apparmor_parser -r`"
    }

    fn assumes(&self, policy: &Policy) -> Option<String> {
        let none = policy.subject.executable.is_none();
        none.then(|| {
            format!(
                "no program (`aa-exec -p {}` enters the profile)",
                policy.name
            )
        })
    }

    fn options(&self) -> &'static [OptionSpec] {
        const ALL: &[OptionSpec] = &[VERSION];
        ALL
    }

    fn compile(&self, meaning: &Meaning<'_>, options: &Options) -> Result<Compiled, Diagnostics> {
        let meaning = meaning.on(self.platform());
        let abi = options.value(&VERSION).unwrap_or("3.0");
        let (profile, ledger) = lower::lower(meaning, abi)?;
        let text = model::render(&profile, meaning.policy(), &ledger, options)?;
        let artifact = Artifact {
            file_name: format!("{}.apparmor", meaning.policy().name),
            bytes: text.into_bytes(),
        };
        Ok(Compiled {
            artifacts: vec![artifact],
            ledger,
            files: Vec::new(),
        })
    }

    fn recognises(&self, artifact: &Artifact) -> bool {
        read_back::recognises(artifact)
    }

    fn read_back(
        &self,
        artifacts: &[Artifact],
        _options: &Options,
    ) -> Result<Box<dyn Evaluate>, Diagnostics> {
        Ok(Box::new(read_back::read(super::only(artifacts)?)?))
    }
}
