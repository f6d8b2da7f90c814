//! AppArmor: a profile for `apparmor_parser -r`, containers and Kubernetes.
//!
//! # Quirks
//!
//! Seen with apparmor_parser 3.0.8 and its compiled automaton (`tests/native/apparmor` walks it), or read in
//! apparmor.d(5).
//!
//! - Deny beats allow, in whatever order. So rules are lowered together ([`rights`]). What a rule above decides of a
//!   whole tree is dropped from the rules below it. A deny that meets no allow above it becomes a deny of the profile,
//!   and so does what an allow excepts where no other allow meets it. The rest is cut out of the allows, name by name,
//!   with complement classes ([`carve`]). What neither can say stays denied: stricter.
//! - A profile is read by people. It has a group of lines for each rule, in the policy's order, under a comment with the
//!   rule's name and place ([`groups`]). Patterns with the same rights share lines, in braces ([`braces`]).
//! - A directory's name ends in `/`: `/a` is never the directory. The policy's `/a/**` is `/a{,/,/**}`, and its
//!   `/a/**/b` is `/a/{,**/}b`. `r` is `read` on a file and `list` on a directory.
//! - `w` is one right for edit, create and delete, and for mode and owner of metadata. The profile grants it on files
//!   where the policy allows edit, create and delete, whatever it says of metadata: looser, but else nothing could be
//!   written. It grants it on devices where the policy allows edit. AppArmor does not mediate times and attributes.
//! - Moving a directory away moves what is below it out of its pattern. So directories get `w` only as part of a tree,
//!   and the literal directories above a denied path never get it. A pattern with `**` can deny something in any
//!   directory. Then directories can still be moved: looser.
//! - Hard links get no rule: in parser 3.0.8, `l` tests the target's rights for the owner alone. Linking fails with
//!   EACCES. git, cargo and others then copy or rename instead.
//! - Programs are started with `ix`: they stay in the profile. `x` rules of one mode may overlap.
//! - Every path is in double quotes. Glob characters, `^`, `@` and `\` come after a backslash. Other bytes that are not
//!   plain are octal escapes.
//! - Mainline kernels do not mediate connecting to a unix socket by its path. Only AppArmor 4 on its newest kernels
//!   knows hosts; before, it knows families and types.
//! - Container engines pin ABI 3.0. Newer ABIs drop `unix` from a plain `network,`. So 3.0 is the default.

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
