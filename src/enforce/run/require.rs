//! What the layers in force leave open, for `--require`.
//!
//! For paths, the answer is exact. For each operation, polc takes the set of paths that Landlock's ruleset grants,
//! without those that the mounts refuse. It names a path in that set that the policy denies. A denied file that does
//! not exist at start is such a path, because it cannot be covered. For mode, owner, times and attributes, the set is
//! everything that is not mounted read-only.
//!
//! For the rest, polc uses the ledgers. Of what Landlock's ledger calls open, these count as kept:
//!
//! - what seccomp's ledger says that the filter keeps, for the same rule and operation;
//! - hosts, if there is a network namespace: without one, Landlock lets the program use the proxy's port on every host;
//! - the environment, capabilities, and the limits that were set;
//! - with the guard: writing, making and removing files, changing mode, owner and times, and connecting to unix
//!   sockets, each by its path.
//!
//! Nothing else counts. If two layers each leave something open, polc does not ask whether that is the same thing. So
//! `--require` refuses too often rather than too seldom.

use super::cover::{Gap, Plan};
use super::network::Network;
use super::report::Report;
use super::{Error, sys};
use super::{namespaces, notes};
use crate::backend::landlock::{AccessFs, LOADED, LOADER, Ruleset, UNASKED, started_by_loader};
use crate::backend::seccomp::Seccomp;
use crate::backend::{Backend, Options};
use crate::fidelity::{Fidelity, Ledger, show_bytes};
use crate::policy::{Objects, Operation, RuleId};
use crate::semantics::{Meaning, PathSet, Step};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::os::unix::ffi::OsStringExt;

/// What is in force beside Landlock and seccomp.
pub struct InForce<'a> {
    /// What mounts cover.
    pub plan: Option<&'a Plan>,
    /// The objects that could not be covered.
    pub gaps: &'a [Gap],
    /// Everything else is read-only.
    pub read_only: bool,
    /// Landlock's ruleset.
    pub ruleset: &'a Ruleset,
    /// How polc restricts hosts.
    pub network: Network,
    /// There is a network namespace.
    pub own_network: bool,
    /// Limits that nothing enforces.
    pub unlimited: &'a [&'static str],
    /// The guard decides what is written.
    pub guarded: bool,
    /// The guard decides to which unix sockets the program connects.
    pub sockets_by_path: bool,
}

/// The part of the policy that is not kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// An operation on paths. polc knows such a path.
    Path(Operation),
    /// An operation. A ledger says so.
    Rest(Operation),
    /// A setting of the policy.
    Setting(Cow<'static, str>),
    /// A limit that nothing enforces.
    Limit(&'static str),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(operation) | Self::Rest(operation) => f.write_str(operation.name()),
            Self::Setting(setting) => f.write_str(setting),
            Self::Limit(limit) => write!(f, "limits.{limit}"),
        }
    }
}

fn words(what: &BTreeSet<What>) -> String {
    let words: BTreeSet<String> = what.iter().map(What::to_string).collect();
    Vec::from_iter(words).join(", ")
}

/// What the program can do to paths, by the operations that are left open.
fn on_paths(leaks: impl Fn(Operation) -> bool) -> String {
    let verb = |operation| match operation {
        Operation::List => "list",
        Operation::Edit => "write",
        Operation::Create => "make",
        Operation::Delete => "remove",
        Operation::Execute => "start",
        Operation::Metadata => "change the mode of",
        _ => "read",
    };
    let leaking = PATHS.iter().map(|(o, _)| *o).filter(|o| leaks(*o));
    let mut verbs: Vec<&str> = leaking.map(verb).collect();
    let last = verbs.pop().unwrap_or_default();
    let first = if verbs.is_empty() {
        String::new()
    } else {
        format!("{} and ", verbs.join(", "))
    };
    format!("{first}{last} some paths that the policy denies")
}

/// How far the layers together are from the policy.
#[derive(Debug, Default)]
pub struct Shortfall {
    /// By reason: what is not kept.
    leaks: BTreeMap<String, BTreeSet<What>>,
    stricter: bool,
}

impl Shortfall {
    /// Whether the layers refuse everything that the policy denies.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        self.leaks.is_empty()
    }

    /// Whether they also allow everything that the policy allows.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.is_safe() && !self.stricter
    }

    /// As lines for standard error.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        for (reason, what) in &self.leaks {
            let _ = writeln!(out, "  not kept: {}: {reason}", words(what));
        }
        if self.stricter {
            out.push_str("  stricter than the policy: some of what it allows is refused\n");
        }
        out
    }

    /// Reports what the program can do. The items about paths share one short form with all their operations.
    pub fn tell(&self, sockets: &'static str, own_network: bool, report: &mut Report) {
        let all: BTreeSet<&What> = self.leaks.values().flatten().collect();
        let on_paths = on_paths(|o| all.contains(&What::Path(o)));
        for (reason, what) in &self.leaks {
            let long = format!("{}: {reason}", words(what));
            for one in what {
                let short = match one {
                    What::Path(_) => on_paths.clone(),
                    What::Rest(Operation::Connect) if own_network => sockets.to_owned(),
                    What::Rest(Operation::Connect) => {
                        "reach hosts and sockets that the policy denies".to_owned()
                    }
                    What::Rest(Operation::Bind) if own_network => {
                        "listen on other addresses of its own network".to_owned()
                    }
                    What::Rest(Operation::Bind) => "listen where no rule allows it".to_owned(),
                    What::Rest(Operation::Execute) => {
                        "give allowed programs any arguments".to_owned()
                    }
                    What::Rest(operation) => format!("{operation} what the policy denies"),
                    What::Setting(s) if s == LOADED => notes::BY_LOADER.to_owned(),
                    What::Setting(s) if s == UNASKED => {
                        "use TCP in ways that Landlock does not see".to_owned()
                    }
                    What::Setting(setting) => format!("get past `{setting}`"),
                    What::Limit(limit) => format!("go past the limit of {limit}"),
                };
                report.not_kept(short, long.clone());
            }
        }
    }

    fn add(&mut self, what: What, reason: &str) {
        let known = self.leaks.entry(reason.to_owned()).or_default();
        known.insert(what);
    }
}

/// Compares the layers in force with the policy.
///
/// # Errors
/// The policy does not compile.
pub fn shortfall(
    meaning: &Meaning<'_>,
    landlock: &Ledger,
    force: &InForce<'_>,
) -> Result<Shortfall, Error> {
    let policy = meaning.policy();
    let seccomp = Seccomp.compile(meaning, &Options::default())?.ledger;
    let filtered: BTreeMap<(Option<RuleId>, Operation), Fidelity> = seccomp
        .entries
        .iter()
        .map(|e| ((e.rule, e.operation), e.fidelity))
        .collect();
    let about_hosts = |rule: Option<RuleId>| {
        rule.is_some_and(|id| matches!(policy.rule(id).objects, Objects::Hosts { .. }))
    };
    let proxied = force.network == Network::Proxy;
    let mut out = Shortfall {
        stricter: proxied || force.plan.is_some_and(Plan::helps),
        ..Shortfall::default()
    };
    let stricter = |f: Fidelity| matches!(f, Fidelity::Stricter | Fidelity::Mixed);
    out.stricter |= landlock
        .entries
        .iter()
        .chain(&seccomp.entries)
        .any(|e| stricter(e.fidelity) && !force.decides(e.operation));
    let kept_by_filter =
        |rule, operation| filtered.get(&(rule, operation)).is_some_and(|f| !f.leaks());
    for (operation, right) in PATHS.into_iter().filter(|(o, _)| !force.decides(*o)) {
        let mut entries = landlock.entries.iter().filter(|e| e.operation == operation);
        // If the filter refuses the whole family, no entry of it is open.
        if entries.all(|e| kept_by_filter(e.rule, operation)) {
            continue;
        }
        let through = force.through(right)?;
        if let Some(path) = through.excess_witness(meaning.decisions(operation)?.allowed())? {
            out.add(
                What::Path(operation),
                &format!("allowed although denied, such as `{}`", show_bytes(&path)),
            );
        }
    }
    let paths = |o: Operation| PATHS.iter().any(|p| p.0 == o && o != Operation::Execute);
    for e in landlock.entries.iter().filter(|e| e.fidelity.leaks()) {
        let kept = kept_by_filter(e.rule, e.operation)
            || paths(e.operation)
            || match e.operation {
                Operation::Connect if !about_hosts(e.rule) => force.sockets_by_path,
                Operation::Connect | Operation::Bind => about_hosts(e.rule) && force.own_network,
                _ => false,
            };
        if !kept {
            out.add(What::Rest(e.operation), &e.reason);
        }
    }
    // The filters refuse MPTCP and MSG_FASTOPEN. They also refuse `listen` if nothing may listen.
    let mut binds = landlock
        .entries
        .iter()
        .filter(|e| e.operation == Operation::Bind);
    let asked = force.own_network || binds.all(|e| kept_by_filter(e.rule, e.operation));
    for s in landlock.lost() {
        let own = ["limits", "environment", "capabilities", LOADED];
        let kept = own.iter().any(|o| s.setting.starts_with(o)) || (s.setting == UNASKED && asked);
        if !kept {
            out.add(What::Setting(s.setting.clone()), &s.reason);
        }
    }
    let executes = meaning.decisions(Operation::Execute)?;
    let mut loaded = started_by_loader(policy)
        .filter_map(|p| std::fs::canonicalize(sys::path(&p)).ok())
        .map(|p| p.into_os_string().into_vec())
        // The target of a link has a name of its own, and the policy may allow that name.
        .filter(|p| !executes.permits_path(p));
    if let Some(path) = loaded.find(|p| !force.plan.is_some_and(|plan| plan.is_no_program(p))) {
        out.add(
            What::Setting(LOADED.into()),
            &format!("`{LOADER} {}` starts it", show_bytes(&path)),
        );
    }
    for limit in force.unlimited {
        out.add(What::Limit(limit), "nothing on this host enforces it");
    }
    Ok(out)
}

/// The operations on paths, each with the right of Landlock that it needs. `None`: Landlock has no such right.
const PATHS: [(Operation, Option<AccessFs>); 7] = [
    (Operation::Read, Some(AccessFs::ReadFile)),
    (Operation::List, Some(AccessFs::ReadDir)),
    (Operation::Edit, Some(AccessFs::WriteFile)),
    (Operation::Create, Some(AccessFs::MakeReg)),
    (Operation::Delete, Some(AccessFs::RemoveFile)),
    (Operation::Execute, Some(AccessFs::Execute)),
    (Operation::Metadata, None),
];

fn object(path: &[u8]) -> Vec<Step> {
    let path = if path == b"/" { b"" } else { path };
    path.iter().map(|b| Step::Byte(*b)).collect()
}

fn tree(path: &[u8]) -> Vec<Step> {
    let mut steps = object(path);
    steps.push(Step::AnyDepth);
    steps
}

impl InForce<'_> {
    /// Whether the guard decides this operation on each path.
    fn decides(&self, operation: Operation) -> bool {
        use Operation::{Create, Delete, Edit, Metadata};
        self.guarded && matches!(operation, Edit | Create | Delete | Metadata)
    }

    /// The paths that the layers leave open for operations that need this right.
    fn through(&self, right: Option<AccessFs>) -> Result<PathSet, Error> {
        let making =
            right.is_some_and(|r| AccessFs::MAKE.contains(&r) || AccessFs::REMOVE.contains(&r));
        let reading = matches!(
            right,
            Some(AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute)
        );
        let (mut granted, mut tops) = (Vec::new(), Vec::new());
        match right {
            Some(right) if !self.ruleset.handled_fs.contains(&right) => {
                granted.push(tree(b"/"));
            }
            Some(right) => {
                for p in self
                    .ruleset
                    .paths
                    .iter()
                    .filter(|p| p.allowed.contains(&right))
                {
                    if p.file {
                        granted.push(object(&p.parent));
                    } else if making {
                        // To make or remove something in a directory, the program needs a right on it, or on one above.
                        tops.push((vec![tree(&p.parent)], vec![object(&p.parent)]));
                    } else {
                        granted.push(tree(&p.parent));
                    }
                }
            }
            None => {
                let places = namespaces::writable(self.ruleset).filter(|_| self.read_only);
                match places {
                    Some(places) => granted.extend(places.into_iter().map(|p| {
                        if sys::path(p).is_dir() {
                            tree(p)
                        } else {
                            object(p)
                        }
                    })),
                    None => granted.push(tree(b"/")),
                }
            }
        }
        let mut refused = Vec::new();
        let gaps: BTreeSet<&[u8]> = self.gaps.iter().map(|g| g.path.as_slice()).collect();
        let covers = self.plan.into_iter().flat_map(|p| &p.covers);
        for (path, (cover, _)) in covers.filter(|(path, _)| !gaps.contains(path.as_slice())) {
            let writing = cover.read_only && !reading;
            let starting = cover.no_program && right == Some(AccessFs::Execute);
            if cover.hidden || writing || starting {
                refused.push(tree(path));
            } else if making {
                // A mount point cannot be moved or removed.
                refused.push(object(path));
            }
        }
        let none: &[Vec<Step>] = &[];
        let cases = [(&refused[..], none, false), (&granted[..], none, true)]
            .into_iter()
            .chain(tops.iter().map(|(t, e)| (&t[..], &e[..], true)));
        Ok(PathSet::first_match_except(cases, false)?)
    }
}
