//! macOS Seatbelt: profiles in SBPL, for `sandbox-exec -f FILE`.
//!
//! # Quirks
//!
//! We had no macOS machine. The following comes from public profiles and sources. The evaluation behind the ledger is a
//! **model** of Seatbelt.
//!
//! - Of several filtered rules on one operation, the last that matches wins. A rule on a specific operation beats a
//!   rule on its wildcard, in any order. A rule without a filter does not override one with a filter. Our profiles
//!   never depend on that: each operation has **one** rule. It is an allow with its carve-outs inside, or a deny if the
//!   policy allows by default.
//! - The kernel resolves paths first: /tmp, /var and /etc are /private/tmp and so on. So the back-end first gives the
//!   policy both names of such paths ([`private`]). The profile and the ledger are made from that.
//! - `file-read-data` lists directories and reads files. If the policy tells the two apart, the rule asks for the
//!   vnode's type.
//! - If a directory is renamed away, its entries leave a path filter. If one is renamed into place, its entries come
//!   in. So the directories above a denied pattern can be neither unlinked nor created ([`moving::ancestors`]), and
//!   only trees are removed as directories. A pattern at any depth (`/**/.env`) cannot be protected in this way:
//!   looser.
//! - `(literal "/")` must be readable, or exec fails silently. The runtime base ([`lower::base`]) has that, and what
//!   dyld and libSystem need. It comes *below* the policy's rules, so a deny in the policy still wins. The ledger says
//!   what it adds.
//! - Hosts in a filter are only `*` or `localhost`. Named hosts need a proxy on localhost (`--proxy-port`). Without it
//!   they are closed.
//! - `file-link`, `file-clone` and `file-write-setugid` fall back to the default, not to `file*`. If something about
//!   files is denied, the first two are never allowed. git and others then rename instead of making a hard link.
//! - A string has at most 1,024 bytes, like a path on macOS.
//! - Names on macOS are UTF-8. The back-end refuses a name that is not.

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
    help: "the port on localhost of a proxy that decides about hosts; the profile allows no other connection",
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

/// The value of the option.
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
