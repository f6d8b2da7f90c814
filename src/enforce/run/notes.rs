//! What is said before the program starts: the layers in force, and what they leave open.

use super::network::Network;
use super::prepared::{Layers, Prepared, metadata_in_part};
use super::terminals::Terminals;
use super::{Error, sys, sys_process};
use crate::backend::landlock::{LOADER, started_by_loader};
use crate::fidelity::{Entry, Fidelity, Ledger, Object, show_bytes};
use crate::policy::{Operation, Policy};
use crate::semantics::decide;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;

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
    say(
        "note: without mounts every unix socket that has a path is reachable, also one that another program makes later; `/tmp`, shared memory, the terminals and the list of processes are those of this user's other programs",
    );
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

/// Says which namespaces there are not.
pub fn namespaces(prepared: &Prepared<'_>, layers: &Layers<'_>, say: &mut dyn FnMut(&str)) {
    if prepared.choice.namespaces && !layers.mounts {
        say(
            "note: namespaces are not permitted here: paths denied inside allowed trees are kept by granting their siblings, so that what is made later beside them gets nothing",
        );
    }
    if layers.mounts && !layers.processes {
        say(
            "note: there can be no process namespace here (a container may cover parts of `/proc`): command lines of this user's other processes can be read",
        );
    }
}

/// Says what is not the program's own, and which sockets of others are in reach, or will be.
pub fn own(
    prepared: &Prepared<'_>,
    layers: &Layers<'_>,
    terminals: &Terminals,
    say: &mut dyn FnMut(&str),
) {
    if !layers.mounts {
        return;
    }
    terminals.note.into_iter().for_each(&mut *say);
    let sockets = &prepared.sockets;
    for name in &sockets.nowhere {
        say(&format!(
            "note: something listens on a unix socket `{}`, of which the directory is not known: it is not covered",
            show_bytes(name)
        ));
    }
    if !sockets.allowed.is_empty() {
        say(&format!(
            "note: in reach, as the policy allows `connect`: the unix sockets {}",
            few(&sockets.allowed)
        ));
    }
    for path in &prepared.own.shared {
        say(&format!(
            "note: `{}` stays the host's, as it is the workspace, the home directory or one of the system",
            show_bytes(path)
        ));
    }
    let own: Vec<Vec<u8>> = prepared.own.paths().map(<[u8]>::to_vec).collect();
    let where_not = if own.is_empty() {
        String::new()
    } else {
        format!(" outside {}", few(&own))
    };
    say(&format!(
        "note: a unix socket that another program makes later{where_not} can be reached: what is not there yet cannot be covered"
    ));
}

/// Says that root cannot write in the workspace, once its capabilities are dropped.
#[must_use]
pub fn workspace(policy: &Policy) -> Option<String> {
    let path = policy.subject.workspace.as_deref()?;
    // SAFETY: takes nothing and always succeeds.
    if unsafe { libc::geteuid() } != 0 || !sys_process::may_not_write(path) {
        return None;
    }
    let inside = Object::Path([path, b"/polc"].concat());
    if !decide(policy, Operation::Create, &inside).action.permits() {
        return None;
    }
    let owner = std::fs::metadata(sys::path(path)).ok()?.uid();
    Some(format!(
        "note: the workspace `{}` belongs to user {owner}, and root without CAP_DAC_OVERRIDE cannot write there: add `capabilities: [CAP_DAC_OVERRIDE]` to the policy, or run polc as user {owner}",
        show_bytes(path)
    ))
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
            plan.covers.len() + prepared.sockets.denied.len()
        );
        out.push_str(if layers.read_only {
            ", the rest read-only)"
        } else {
            ")"
        });
    }
    out.push_str(match (layers.mounts, layers.processes) {
        (true, true) => ", processes, /tmp and terminals of its own",
        (true, false) => ", /tmp and terminals of its own",
        _ => "",
    });
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

/// The first few of some paths.
fn few(paths: &[Vec<u8>]) -> String {
    let shown: Vec<String> = paths
        .iter()
        .take(5)
        .map(|p| format!("`{}`", show_bytes(p)))
        .collect();
    let rest = paths.len().saturating_sub(5);
    let more = if rest > 0 {
        format!(" and {rest} more")
    } else {
        String::new()
    };
    format!("{}{more}", shown.join(", "))
}
