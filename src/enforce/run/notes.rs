//! What is said before the program starts: the layers in force, and what they leave open.

use super::network::Network;
use super::prepared::{Layers, Prepared, metadata_in_part};
use super::{Error, sockets, sys};
use crate::backend::landlock::{LOADER, started_by_loader};
use crate::fidelity::{Entry, Fidelity, Ledger, show_bytes};
use crate::policy::Operation;
use std::fmt::Write as _;

/// What Landlock restricts on paths, but for programs.
const OPERATIONS: [Operation; 5] = [
    Operation::Read,
    Operation::List,
    Operation::Edit,
    Operation::Create,
    Operation::Delete,
];

/// Says what is not kept where nothing is covered.
///
/// # Errors
/// The policy's automata are too large.
pub fn without_mounts(
    prepared: &Prepared<'_>,
    ledger: Option<&Ledger>,
    say: &mut dyn FnMut(&str),
) -> Result<(), Error> {
    let loose = |e: &Entry| {
        let kind = e.operation;
        e.fidelity.leaks() && e.fidelity != Fidelity::Unenforced && OPERATIONS.contains(&kind)
    };
    if ledger.into_iter().flat_map(|l| &l.entries).any(loose) {
        say(
            "note: without mounts some directories are granted whole that hold paths denied by wildcards: what is denied there can be changed, moved away and replaced; `polc enforce landlock --dry-run` shows them",
        );
    }
    let sockets = sockets::denied(prepared.policy);
    if !sockets.paths.is_empty() || !sockets.nowhere.is_empty() {
        say("note: without mounts every unix socket that has a path is reachable");
    }
    if let Some(path) = started_by_loader(prepared.policy).find(|p| sys::path(p).is_file()) {
        say(&format!(
            "note: without mounts the loader starts what may be read and not be started: `{LOADER} {}`",
            show_bytes(&path)
        ));
    }
    if metadata_in_part(prepared.meaning)? {
        say(
            "note: without mounts mode, owner, times and attributes can be changed everywhere, as far as the user may: a filter of system calls cannot tell paths apart",
        );
    }
    Ok(())
}

/// The line that says which layers are in force.
#[must_use]
pub fn in_force(prepared: &Prepared<'_>, layers: &Layers<'_>) -> String {
    let mut out = format!(
        "polc: `{}` in force: landlock (ABI {}), seccomp",
        prepared.policy.name, prepared.abi
    );
    if let Some(plan) = layers.plan {
        let _ = write!(
            out,
            ", mounts ({} covered",
            plan.covers.len() + prepared.sockets.paths.len()
        );
        out.push_str(if layers.read_only {
            ", the rest read-only)"
        } else {
            ")"
        });
    }
    out.push_str(match (prepared.network, layers.apart) {
        (Network::Open, _) => ", network open as the policy says",
        (Network::None, true) => ", no network (namespace)",
        (Network::None, false) => ", no network",
        (Network::Proxy, true) => ", network by proxy alone (namespace)",
        (Network::Proxy, false) => ", network by proxy alone",
    });
    if prepared.policy.capabilities.is_empty() {
        out.push_str(", no capabilities");
    } else {
        let _ = write!(
            out,
            ", capabilities {}",
            prepared.policy.capabilities.join(" ")
        );
    }
    if !prepared.policy.limits.is_empty() {
        out.push_str(", limits");
    }
    if !layers.held.is_empty() {
        let _ = write!(out, " ({} by a control group)", layers.held.join(", "));
    }
    if !layers.unlimited.is_empty() {
        let _ = write!(out, " (but {})", layers.unlimited.join(", "));
    }
    out
}
