//! SELinux: a module (`.te`) and its file contexts (`.fc`), without refpolicy's interfaces.
//!
//! # Quirks
//!
//! Seen with Debian 12's checkpolicy 3.4 and reference policy (`tests/native/selinux` builds, links, asks).
//!
//! - A path has one type, and rules are about types. In trees that nothing else uses (`/workspace`, `/srv/x`, …), every
//!   distinct set of allowed operations gets a type of its own ([`model::Rights::type_name`]). There are few. System
//!   trees and home directories keep the base policy's labels, because new labels would break other programs. There,
//!   rules are about base types ([`base`]): a type gets what the policy allows on the whole tree that the type stands
//!   for.
//! - A file context without wildcards wins. After that, the one with the longest literal beginning wins. Contexts for
//!   home directories win over those of any module. Paths in `/tmp` and `/proc` are not labelled by path. Files in
//!   `/tmp` get a type by a transition.
//! - Patterns with wildcards get no label: all names that the policy does not mention have one type.
//! - An inode keeps its type: a directory that is moved takes its labels along. A new object gets its directory's type,
//!   whatever its name, until `restorecon` runs. So the directory decides about making an object, and about moving one
//!   into it. No rule is about the move alone, and a transition by name would not stop a move.
//! - Names can be added and removed only in directories of the module's types that may be written. The directory above
//!   the top of a tree has a type of the base policy, or one that may not be written. `add_name` on it would let the
//!   program move other files there. So the top itself can be neither made nor removed ([`domain_rights`]).
//! - To map a file as code, the domain needs `execute`, which reading does not include. The ledger says so in a
//!   setting. To start the file, the domain also needs `execute_no_trans`.
//! - The kernel opens a program for reading when it starts it. Setting times to now needs `write`. All other metadata
//!   needs `setattr`.
//! - The attribute `domain` brings rules of its own: every domain may read libraries and the loader, and list some
//!   directories. They are in the model.
//! - Shells have a type of their own, and so have some thousand programs of system services. The model knows those that
//!   policies name ([`base`]). The domain may start none of them.
//! - Rules know types of ports, and no hosts. A domain that may bind any port may also bind the ports that the kernel
//!   gives out ([`base::EPHEMERAL`]).
//! - The entry point has a type of its own. The domain reads it when it starts, and nothing inside may start it.
//! - `.fc` entries are regular expressions. Every byte that is not plain is escaped. `"` and the like become `\xHH`,
//!   because a raw one breaks the module's CIL.
//! - secilc and semodule have no deny. What no rule allows is denied. A neverallow asserts that for the module's own
//!   types.

mod base;
mod domain_rights;
mod lower;
mod model;
mod read_back;
#[cfg(test)]
mod tests;

use super::{Artifact, Backend, Compiled, Evaluate, Options};
use crate::diagnostics::Diagnostics;
use crate::policy::{Platform, Policy};
use crate::semantics::Meaning;
use std::path::{Path, PathBuf};

/// The back-end.
pub struct SeLinux;

impl Backend for SeLinux {
    fn id(&self) -> &'static str {
        "selinux"
    }

    fn platform(&self) -> Platform {
        Platform::Linux
    }

    fn summary(&self) -> &'static str {
        "an SELinux module and its file contexts, for `checkmodule` and `semodule_package`"
    }

    fn assumes(&self, policy: &Policy) -> Option<String> {
        let none = policy.subject.executable.is_none();
        none.then(|| "no program (`runcon` enters the domain)".to_owned())
    }

    fn compile(&self, meaning: &Meaning<'_>, options: &Options) -> Result<Compiled, Diagnostics> {
        let meaning = meaning.on(self.platform());
        let (module, ledger) = lower::lower(meaning)?;
        let te = model::render_te(&module, meaning.policy(), &ledger, options)?;
        let fc = model::render_fc(&module);
        let artifact = |end: &str, text: String| Artifact {
            file_name: format!("{}.{end}", module.name),
            bytes: text.into_bytes(),
        };
        Ok(Compiled {
            artifacts: vec![artifact("te", te), artifact("fc", fc)],
            ledger,
            files: Vec::new(),
        })
    }
    fn recognises(&self, artifact: &Artifact) -> bool {
        read_back::recognises(artifact)
    }

    fn companions(&self, file: &Path) -> Vec<PathBuf> {
        match file.extension().and_then(|e| e.to_str()) {
            Some("te") => vec![file.with_extension("fc")],
            Some("fc") => vec![file.with_extension("te")],
            _ => Vec::new(),
        }
    }

    fn read_back(
        &self,
        artifacts: &[Artifact],
        _: &Options,
    ) -> Result<Box<dyn Evaluate>, Diagnostics> {
        Ok(Box::new(read_back::read(artifacts)?))
    }
}
