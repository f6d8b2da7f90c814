//! `--explain`: what was refused, as far as polc knows, and how to learn the rest.
//!
//! polc knows what its own proxy refused. The kernel records what Landlock and seccomp refuse, and only root may read
//! that. Nothing records what a mount refuses. For that, polc names the objects that are denied and covered.

use super::cover::OPERATIONS;
use crate::enforce::audit;
use crate::enforce::egress::Refusal;
use crate::enforce::landlock::kernel_abi;
use crate::fidelity::{Object, show_bytes};
use crate::policy::Policy;
use crate::semantics::{Meaning, decide};
use crate::why;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::io;

/// How many covered objects polc names.
const NAMED: usize = 5;

/// What was refused, by which rule, and what would allow it. `covered` are the mount points.
pub fn text(
    meaning: &Meaning<'_>,
    refusals: &[Refusal],
    watch: Option<io::Result<audit::Watch>>,
    covered: &BTreeSet<&[u8]>,
) -> String {
    let mut reader = why::Reader::new();
    for r in refusals {
        reader.line(r.to_string().as_bytes());
    }
    let unknown = match watch {
        Some(Ok(watch)) => {
            for line in watch.finish() {
                reader.line(&line);
            }
            unwritten()
        }
        _ => unwritten().or(Some(UNREAD)),
    };
    let findings = why::explain(meaning, &reader.finish());
    let mut out = String::from("polc: what was refused\n\n");
    for f in &findings {
        out.push_str(&why::human(f));
    }
    match unknown {
        Some(unknown) => {
            if refusals.is_empty() {
                out.push_str("hosts: nothing, as far as polc's proxy was asked\n");
            }
            let _ = writeln!(out, "files, programs, system calls: not known: {unknown}");
            out.push_str(
                "  about one object, `polc explain OPERATION OBJECT` says which rule decides\n",
            );
        }
        None if findings.is_empty() => out.push_str("nothing that leaves a record\n"),
        None => {}
    }
    out.push_str(&denied(meaning.policy(), covered));
    out
}

const UNREAD: &str = "the kernel writes it down, and only root may read that (CAP_AUDIT_READ)\n  \
                      to see it, if audit is on: `sudo dmesg | polc why -p POLICY -`; with auditd `sudo cat /var/log/audit/audit.log | polc why -p POLICY -`";

/// Why the kernel records nothing.
fn unwritten() -> Option<&'static str> {
    if kernel_abi().is_none_or(|abi| abi < 7) {
        return Some(
            "this kernel's Landlock writes nothing down (it does from ABI 7 on, Linux 6.15)",
        );
    }
    (audit::enabled() == Some(false)).then_some(
        "audit is switched off here, so that the kernel writes nothing down: `auditctl -e 1` switches it on",
    )
}

/// Objects that a rule denies and a mount covers. If the program tried to use one, nothing recorded that.
fn denied(policy: &Policy, covered: &BTreeSet<&[u8]>) -> String {
    let mut covered: Vec<&[u8]> = covered.iter().copied().collect();
    covered.sort_by_key(|path| distance(policy, path));
    let found: Vec<String> = covered
        .iter()
        .filter_map(|path| {
            let object = Object::Path(path.to_vec());
            OPERATIONS.into_iter().find_map(|operation| {
                let decision = decide(policy, operation, &object);
                let denied = decision.rule.is_some() && !decision.action.permits();
                denied.then(|| {
                    format!(
                        "  `{}`: {operation} is denied by {}\n",
                        show_bytes(path),
                        policy.decider(decision.rule)
                    )
                })
            })
        })
        .collect();
    if found.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "denied and covered by a mount; nobody knows whether the program tried these, as a mount keeps no record:\n",
    );
    out.extend(found.iter().take(NAMED).map(String::as_str));
    if let more @ 1.. = found.len().saturating_sub(NAMED) {
        let _ = writeln!(out, "  and {more} more");
    }
    out
}

/// How near a path is to the program's work: in the workspace, in the home directory, or elsewhere.
fn distance(policy: &Policy, path: &[u8]) -> usize {
    let subject = &policy.subject;
    [&subject.workspace, &subject.home]
        .into_iter()
        .take_while(|place| {
            let rest = place.as_ref().and_then(|p| path.strip_prefix(p.as_slice()));
            !rest.is_some_and(|rest| rest.starts_with(b"/"))
        })
        .count()
}
