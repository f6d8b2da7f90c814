//! macOS Seatbelt: profiles in SBPL, for `sandbox-exec -f FILE`.
//!
//! # Quirks
//!
//! No macOS machine was at hand: what follows is read from profiles and sources that are public, and the
//! evaluation behind the ledger is a **model** of it.
//!
//! - Of several filtered rules on one operation the last that matches wins; a rule on a specific
//!   operation beats one on its wildcard whatever the order; an unfiltered rule does not override a
//!   filtered one. A profile from here never depends on that: each operation has **one** rule,
//!   an allow (or, where the policy allows by default, a deny) with its carve-outs inside.
//! - The kernel resolves paths first: /tmp, /var and /etc are /private/tmp and so on. What is lowered, and what
//!   the ledger speaks of, is the policy with both names of whatever it names there ([`private`]).
//! - Directories are listed by `file-read-data`, as files are read; where the policy tells the two apart
//!   the rule asks for the vnode's type.
//! - Renaming a directory away takes what is below from under a path filter, and renaming one into place
//!   brings what is below with it. The directories above a denied pattern can be neither unlinked nor
//!   created ([`moving::ancestors`]), and
//!   only trees are removed as directories. A pattern that floats (`/**/.env`) is not held so: looser.
//! - `(literal "/")` must be readable, or exec dies without a word. The runtime base ([`lower::base`]) has
//!   that and what dyld and libSystem need. It stands *below* the policy's rules, so that a deny
//!   in the policy still wins; what it adds is in the ledger.
//! - Hosts in a filter are `*` or `localhost` only. Named hosts go through a proxy on localhost
//!   (`--proxy-port`); without one they are closed.
//! - `file-link`, `file-clone` and `file-write-setugid` fall to the default, not to `file*`. Where something about a
//!   file is denied, the first two are allowed nowhere: git and others fall back from a hard link to a rename.
//! - A string holds at most 1,024 bytes, as does a path on macOS.
//! - Names on macOS are UTF-8; a name that is not is refused.

mod lower;
mod model;
mod moving;
mod network;
mod path_rules;
mod private;
mod read_back;
#[cfg(test)]
mod tests;

use super::{Artifact, Backend, Compiled, Evaluate, OptionSpec, Options};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::policy::Platform;
use crate::semantics::Meaning;

/// The back-end.
pub struct Sbpl;

const PROXY_PORT: OptionSpec = OptionSpec {
    name: "proxy-port",
    value_name: Some("PORT"),
    values: &[],
    default: None,
    help: "the port on localhost of a proxy that judges hosts; the profile opens no other way out",
};

impl Backend for Sbpl {
    fn id(&self) -> &'static str {
        "sbpl"
    }

    fn platform(&self) -> Platform {
        Platform::MacOs
    }

    fn summary(&self) -> &'static str {
        "a macOS Seatbelt profile for `sandbox-exec -f`"
    }

    fn options(&self) -> &'static [OptionSpec] {
        const ALL: &[OptionSpec] = &[PROXY_PORT];
        ALL
    }

    fn compile(&self, meaning: &Meaning<'_>, options: &Options) -> Result<Compiled, Diagnostics> {
        let meaning = meaning.on(self.platform());
        let proxy = proxy(options)?;
        let (profile, ledger) = lower::lower(meaning, proxy)?;
        let text = model::render(&profile, meaning.policy(), &ledger, options)?;
        let artifact = Artifact {
            file_name: format!("{}.sb", meaning.policy().name),
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
        options: &Options,
    ) -> Result<Box<dyn Evaluate>, Diagnostics> {
        let read = read_back::read(super::only(artifacts)?, proxy(options)?)?;
        Ok(Box::new(read))
    }
}

/// The option's value.
fn proxy(options: &Options) -> Result<Option<u16>, Diagnostics> {
    let Some(text) = options.value(&PROXY_PORT) else {
        return Ok(None);
    };
    match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(Some(port)),
        _ => Err(Diagnostic::error(
            "E102",
            format!("`--proxy-port {text}`: a port is a number from 1 to 65535"),
        )
        .into()),
    }
}
