//! SELinux: a module (`.te`) and its file contexts (`.fc`), without refpolicy's interfaces.
//!
//! # Quirks
//!
//! Seen with Debian 12's checkpolicy 3.4 and reference policy (`tests/native/selinux` builds, links, asks).
//!
//! - A path has one type, and rules are about types. In trees that are nobody else's (`/workspace`,
//!   `/srv/x`, …) every distinct set of allowed operations gets a type of its own
//!   ([`model::Rights::type_name`]); there are few. System trees and home directories keep the base
//!   policy's labels, as relabelling them would break everyone else: what the policy allows there is
//!   allowed by base type ([`base`]), where it allows the tree that the type stands for.
//! - Of file contexts a path without wildcards wins, then the longest literal beginning. Home
//!   directories have contexts of their own that win over any of a module; `/tmp` and `/proc` are
//!   not labelled by path at all. `/tmp` gets a type by transition.
//! - Patterns with wildcards are not followed: names that the policy does not mention are decided as one.
//! - Types stay with inodes: moving a directory takes its labels along. What is made takes the type of
//!   its directory until `restorecon` runs, whatever its name: so making something is decided by its directory, and
//!   moving something there is, too. No rule is about that alone, and a transition by name would not stop a move.
//! - Names are added and removed in directories whose type lets them: those of the module that may be written in. Above
//!   the top of a tree lies a directory of the base policy's, or one that may not, and `add_name` on it would let
//!   files be moved there: so the top itself is neither made nor removed ([`domain_rights`]).
//! - Mapping a file as code takes `execute`, which reading does not bring: a setting of the ledger says so. Starting it
//!   takes `execute_no_trans`, too.
//! - Starting a program opens it for reading. Setting times to now takes `write`, all other metadata `setattr`.
//! - The attribute `domain` brings rules of its own: libraries and the loader may be read, some
//!   directories listed. They are in the model.
//! - Shells have a type of their own, as have some thousand programs of system services: of these the model knows those
//!   that policies name ([`base`]), and the domain starts none of them.
//! - Ports are types, hosts are not known. A port that the kernel gives out itself ([`base::EPHEMERAL`]) is bound by whoever
//!   may bind any.
//! - The entry point has a type of its own: it is read as it starts, and started by nobody inside.
//! - `.fc` entries are regular expressions; every byte that is not plain is escaped, `"` and the like as
//!   `\xHH`, as a raw one breaks the module's CIL.
//! - secilc and semodule know no deny: what is denied is what no rule allows, and a neverallow says so for
//!   the module's own types.

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
