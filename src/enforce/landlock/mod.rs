//! `polc enforce landlock`: the ruleset for this host's kernel, for people to read, or applied.
//!
//! # What a start costs
//!
//! An agent starts a program for each tool call, so a start has to be short. polc makes no ledger that nobody reads. It
//! lists a directory only if a right depends on that. It parses the command line with the definition of `run` and
//! `enforce` alone. `scripts/startup` measures a start, and docs/decisions.md says where the time goes.

#[cfg(target_os = "linux")]
pub mod apply;

use crate::backend::landlock::{AccessFs, Holes, Host, Kind, Lowered, lower};
use crate::diagnostics::Diagnostics;
use crate::fidelity::{Fidelity, Ledger, show_bytes};
use crate::policy::Policy;
use crate::semantics::Meaning;
use std::collections::BTreeSet;
use std::fmt::Write;

/// The newest ABI version of Landlock that polc knows.
pub const NEWEST_ABI: u32 = 9;

/// The ABI version of Landlock in the running kernel. `None`: it has none, or it is switched off.
#[must_use]
pub fn kernel_abi() -> Option<u32> {
    #[cfg(target_os = "linux")]
    {
        // From linux/landlock.h. With this flag the call returns the version, and makes no ruleset.
        const VERSION: u32 = 1;
        // SAFETY: with a null attribute of size 0 and this flag the kernel reads and writes no memory of ours.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_landlock_create_ruleset,
                std::ptr::null::<u8>(),
                0usize,
                VERSION,
            )
        };
        u32::try_from(answer).ok().filter(|n| *n > 0)
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// What polc would enforce on this host, as text.
///
/// # Errors
/// The policy's automata are too large.
pub fn dry_run(
    meaning: &Meaning<'_>,
    host: &dyn Host,
    abi: Option<u32>,
    holes: Holes,
) -> Result<String, Diagnostics> {
    let mut out = String::new();
    let policy = meaning.policy();
    let used = match abi {
        Some(n) => {
            let used = n.min(NEWEST_ABI);
            let _ = writeln!(
                out,
                "Landlock ABI {n} on this kernel{}",
                if n > used {
                    format!(", used as {used}")
                } else {
                    String::new()
                }
            );
            used
        }
        None => {
            let _ = writeln!(
                out,
                "this kernel has no Landlock, or it is switched off: nothing would be enforced. This shows ABI {NEWEST_ABI}"
            );
            NEWEST_ABI
        }
    };
    let lowered = lower(meaning, used, Some(host), holes)?;
    if let Some(warning) = &lowered.ledger.warning {
        let _ = writeln!(out, "warning: {warning}");
    }
    rules(&mut out, &lowered);
    absent(&mut out, host, &lowered);
    lacking(&mut out, used, &lowered);
    gaps(&mut out, policy, &lowered);
    Ok(out)
}

fn rules(out: &mut String, lowered: &Lowered) {
    let ruleset = &lowered.ruleset;
    let rights = |set: &BTreeSet<AccessFs>| {
        let words: Vec<&str> = set
            .iter()
            .filter(|a| !AccessFs::MAKE.contains(a) && !AccessFs::REMOVE.contains(a))
            .map(|a| a.name())
            .chain(set.contains(&AccessFs::MakeReg).then_some("make_*"))
            .chain(set.contains(&AccessFs::RemoveFile).then_some("remove_*"))
            .collect();
        words.join(" ")
    };
    let _ = writeln!(out, "\nrestricted: {}", rights(&ruleset.handled_fs));
    if !ruleset.paths.is_empty() {
        let _ = writeln!(out, "granted:");
    }
    for p in &ruleset.paths {
        let _ = writeln!(
            out,
            "  {:<48} {}",
            show_bytes(&p.parent),
            rights(&p.allowed)
        );
    }
    for p in &ruleset.ports {
        let ports: Vec<String> = p.ports.iter().map(ToString::to_string).collect();
        let _ = writeln!(
            out,
            "{}: {}",
            p.access.name(),
            if ports.is_empty() {
                "no port".to_owned()
            } else {
                ports.join(" ")
            }
        );
    }
    if !ruleset.scoped.is_empty() {
        let _ = writeln!(out, "kept inside: abstract unix sockets, signals");
    }
}

fn absent(out: &mut String, host: &dyn Host, lowered: &Lowered) {
    if lowered.absent.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "\nnot granted, because they do not exist or are links (a policy is about what a link leads to):"
    );
    for e in &lowered.absent {
        let what = match e.kind {
            Kind::Link => match host.leads_to(&e.path) {
                Some(to) => format!("a link to {}", show_bytes(&to)),
                None => "a link to nothing".to_owned(),
            },
            _ => "missing".to_owned(),
        };
        let _ = writeln!(out, "  {:<48} {what}", show_bytes(&e.path));
    }
}

/// What each ABI brings, and which layer helps if it is missing.
const BRINGS: [(u32, &str, &str); 6] = [
    (
        2,
        "renames and links across directories",
        "none: they fail here",
    ),
    (3, "truncate", "apparmor, selinux"),
    (
        4,
        "TCP ports",
        "seccomp (closed networks), apparmor, tetragon",
    ),
    (5, "device commands (ioctl)", "seccomp, apparmor"),
    (
        6,
        "scopes for signals and abstract unix sockets",
        "apparmor, selinux",
    ),
    (9, "connecting to unix sockets by path", "apparmor, selinux"),
];

fn lacking(out: &mut String, abi: u32, lowered: &Lowered) {
    let _ = writeln!(
        out,
        "\nnot in Landlock at all: mode, owner, times and attributes (apparmor, selinux, seccomp); UDP and raw sockets (seccomp, apparmor, tetragon)"
    );
    let missing: Vec<_> = BRINGS.iter().filter(|b| b.0 > abi).collect();
    if !missing.is_empty() {
        let _ = writeln!(out, "not in ABI {abi}:");
    }
    for (since, what, layers) in missing {
        let _ = writeln!(out, "  {what} (ABI {since}); covered by: {layers}");
    }
    let _ = lowered;
}

fn gaps(out: &mut String, policy: &Policy, lowered: &Lowered) {
    let differing: Vec<_> = lowered
        .ledger
        .entries
        .iter()
        .filter(|e| e.fidelity != Fidelity::Exact)
        .collect();
    if differing.is_empty() {
        return;
    }
    let _ = writeln!(out, "\nwhere this differs from the policy:");
    for e in differing {
        let name = e.rule.map_or("default_action", |id| &policy.rule(id).name);
        let _ = write!(
            out,
            "  {}: {} ({})",
            e.fidelity,
            show_bytes(name.as_bytes()),
            e.operation
        );
        if let Some(w) = e.witnesses.first() {
            let _ = write!(
                out,
                ": {} {}",
                if w.layer_allows { "allows" } else { "denies" },
                w.object
            );
        }
        let _ = writeln!(out, ": {}", e.reason);
    }
}

/// What a program in the ruleset can still do, in a few lines for standard error.
#[must_use]
pub fn unenforced(abi: u32, ledger: &Ledger) -> String {
    super::summary::unenforced(&format!("landlock (ABI {abi})"), ledger)
}
