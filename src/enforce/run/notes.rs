//! What polc says before the program starts: the layers in force, and what they leave open.

use super::network::Network;
use super::prepared::{Layers, Prepared, Unix, metadata_in_part};
use super::report::Report;
use super::terminals::Terminals;
use super::{Error, sys, sys_process};
use crate::backend::landlock::{LOADER, started_by_loader};
use crate::fidelity::{Entry, Fidelity, Ledger, Object, show_bytes};
use crate::policy::{Operation, Policy};
use crate::semantics::decide;
use std::os::unix::fs::MetadataExt;

/// What the program can do with unix sockets, in a few words: without mounts, and with them.
pub const EVERY_SOCKET: &str = "reach every unix socket that has a path";
pub const LATER_SOCKETS: &str = "reach sockets that other programs open later";
/// It starts programs that the policy denies.
pub const BY_LOADER: &str = "start denied programs through the loader";
/// It changes what no layer restricts.
pub const MODES: &str = "change mode, owner and times of your files";

/// The operations on paths that Landlock restricts, without starting programs.
const OPERATIONS: [Operation; 5] = [
    Operation::Read,
    Operation::List,
    Operation::Edit,
    Operation::Create,
    Operation::Delete,
];

/// Says what is not enforced if nothing is covered.
///
/// # Errors
/// The policy's automata are too large.
pub fn without_mounts(
    prepared: &Prepared<'_>,
    layers: &Layers<'_>,
    ledger: Option<&Ledger>,
    report: &mut Report,
) -> Result<(), Error> {
    let loose = |e: &Entry| {
        let kind = e.operation;
        e.fidelity.leaks() && e.fidelity != Fidelity::Unenforced && OPERATIONS.contains(&kind)
    };
    // The guard knows each name that is to be written.
    if !prepared.guarded && ledger.into_iter().flat_map(|l| &l.entries).any(loose) {
        report.not_kept("change what only a pattern denies", "without mounts, paths that a wildcard denies can be changed, moved and replaced in some directories. `polc enforce landlock --dry-run` shows which");
    }
    if prepared.unix(layers)? != Unix::Refused && !layers.sockets_by_path {
        report.not_kept(EVERY_SOCKET, "without mounts, the program reaches every unix socket that has a path, also one that another program makes later");
    }
    report.not_kept("use the host's /tmp and terminals and see its processes", "without mounts, the program shares `/tmp`, shared memory, terminals and the list of processes with your other programs");
    if let Some(path) = started_by_loader(prepared.policy).find(|p| sys::path(p).is_file()) {
        report.not_kept(BY_LOADER, format!(
            "without mounts, the loader starts programs that may be read but not started: `{LOADER} {}`",
            show_bytes(&path)
        ));
    }
    if !prepared.guarded && metadata_in_part(prepared.meaning)? {
        report.not_kept(MODES, "without mounts, the program can change mode, owner, times and attributes of every file that you can. A filter of system calls sees no paths");
    }
    Ok(())
}

/// Says why the guard is not on, where the policy needs it.
pub fn no_guard(prepared: &Prepared<'_>, report: &mut Report) {
    if let Some(why) = &prepared.no_guard {
        report.not_kept(
            format!("write more than elsewhere, as polc cannot decide each write here ({why})"),
            format!("polc cannot decide each write by its path here: {why}. Landlock and mounts protect what exists at start; a denied name that does not exist yet can be made"),
        );
    }
}

/// Says which namespaces there are not.
pub fn namespaces(prepared: &Prepared<'_>, layers: &Layers<'_>, report: &mut Report) {
    if prepared.choice.namespaces && !layers.mounts {
        report.not_kept("do more than elsewhere, as namespaces are not permitted here", "namespaces are not permitted here. A path that is denied inside an allowed tree is protected by allowing only what is beside it now. What is made there later gets no rights");
    }
    if layers.mounts && !layers.processes {
        report.not_kept("read the command lines of your other processes", "there can be no process namespace here (a container may cover parts of `/proc`). So the program can read the command lines of your other processes");
    }
}

/// Says which directories are shared with the host, and which sockets of others the program can reach, now or later.
///
/// # Errors
/// The policy's automata are too large.
pub fn own(
    prepared: &Prepared<'_>,
    layers: &Layers<'_>,
    terminals: &Terminals,
    report: &mut Report,
) -> Result<(), Error> {
    let unix = prepared.unix(layers)?;
    if unix == Unix::Refused && prepared.choice.required.is_none() {
        report.stricter(
            "unix sockets of its own",
            "no rule allows `connect` to a unix socket, and here the program could reach those of others: it can only make pairs",
        );
    }
    if !layers.mounts {
        return Ok(());
    }
    if let Some((short, long)) = terminals.note {
        report.not_kept(short, long);
    }
    if let Some((short, long)) = terminals.lost {
        report.stricter(short, long);
    }
    let sockets = &prepared.sockets;
    let open = unix != Unix::Refused && !layers.sockets_by_path;
    for name in sockets.nowhere.iter().filter(|_| open) {
        report.not_kept("reach a socket whose directory is not known", format!(
            "a program listens on the unix socket `{}`, but polc does not know its directory: the socket is not covered",
            show_bytes(name)
        ));
    }
    if !sockets.allowed.is_empty() {
        report.not_kept(
            "reach sockets of other programs, as the policy allows",
            format!(
                "the policy allows `connect` there, so these unix sockets are in reach: {}",
                few(&sockets.allowed)
            ),
        );
    }
    if prepared.choice.share_tmp {
        report.not_kept(
            "see temporary files of other programs",
            "with `--share-tmp` `/tmp`, `/var/tmp`, `/dev/shm` and `$TMPDIR` are the host's: the policy allows there what it allows in `${tmp}`",
        );
    }
    for path in &prepared.own.shared {
        report.not_kept("see temporary files of other programs", format!(
            "`{}` stays the host's: it is the workspace, the home directory or a directory of the system",
            show_bytes(path)
        ));
    }
    let own: Vec<Vec<u8>> = prepared.own.paths().map(<[u8]>::to_vec).collect();
    let where_not = if own.is_empty() {
        String::new()
    } else {
        format!(" outside {}", few(&own))
    };
    if open {
        report.not_kept(LATER_SOCKETS, format!(
            "a unix socket that another program makes later{where_not} cannot be covered, so the program can reach it"
        ));
    }
    Ok(())
}

/// Says that root cannot write in the workspace without its capabilities.
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
        "the workspace `{}` belongs to user {owner}. Root without CAP_DAC_OVERRIDE cannot write there: add `capabilities: [CAP_DAC_OVERRIDE]` to the policy, or run polc as user {owner}",
        show_bytes(path)
    ))
}

/// Says which layers are in force.
pub fn in_force(prepared: &Prepared<'_>, layers: &Layers<'_>, report: &mut Report) {
    report.in_force(
        "files and programs",
        format!("files and programs, by Landlock (ABI {})", prepared.abi),
    );
    if prepared.guarded {
        let sockets = if layers.sockets_by_path {
            ", and each connection to a unix socket,"
        } else {
            ""
        };
        report.in_force(
            "writes by their paths",
            format!("each call that writes{sockets} by its path, by the guard"),
        );
    }
    if let Some(plan) = layers.plan {
        let sockets = if layers.sockets_by_path {
            0
        } else {
            prepared.sockets.denied.len()
        };
        let rest = if layers.read_only {
            "; everything else is read-only"
        } else {
            ""
        };
        report.in_force(
            "denied files hidden or read-only",
            format!(
                "{} paths and sockets covered by mounts{rest}",
                plan.covers.len() + sockets
            ),
        );
    }
    let own = match (layers.mounts, layers.processes, prepared.choice.share_tmp) {
        (true, true, false) => Some("processes, /tmp and terminals of its own"),
        (true, true, true) => Some("processes and terminals of its own"),
        (true, false, false) => Some("/tmp and terminals of its own"),
        (true, false, true) => Some("terminals of its own"),
        (false, ..) => None,
    };
    if let Some(own) = own {
        report.in_force(own, format!("{own}, by namespaces"));
    }
    report.in_force("system calls", "system calls, by seccomp");
    let (short, long) = match (prepared.network, layers.own_network) {
        (Network::Open, _) => ("the network open", "the network open, as the policy says"),
        (Network::None, true) => ("no network", "no network, by a namespace of its own"),
        (Network::None, false) => ("no network", "no network, by Landlock and seccomp"),
        (Network::Proxy, true) => (
            "network only through the proxy",
            "network only through the proxy, in a namespace of its own",
        ),
        (Network::Proxy, false) => (
            "network only through the proxy",
            "network only through the proxy, by Landlock and seccomp",
        ),
    };
    report.in_force(short, long);
    let capabilities = match prepared.policy.capabilities.as_slice() {
        [] => "no capabilities".to_owned(),
        kept => format!("capabilities {}", kept.join(" ")),
    };
    report.in_force(capabilities.clone(), capabilities);
    if !prepared.policy.limits.is_empty() {
        let by = if layers.in_cgroup.is_empty() {
            String::new()
        } else {
            format!(" ({} by a control group)", layers.in_cgroup.join(", "))
        };
        report.in_force("limits", format!("limits{by}"));
    }
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
