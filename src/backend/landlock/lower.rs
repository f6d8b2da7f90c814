//! Makes a ruleset from what is granted, and its ledger.

use super::grants::{self, Entry, Granted, Grants, Holes, Reach, reached};
use super::host::{Host, Remembered};
use super::model::{AccessFs, AccessNet, NetPort, PathBeneath, Ruleset, Scope};
use crate::backend::loader;
use crate::diagnostics::Diagnostics;
use crate::fidelity::{Fidelity, Ledger, Object, Witness, show_bytes};
use crate::policy::{Operation, Policy, Protocol, Rule};
use crate::semantics::{HostRegion, LedgerBuilder, Meaning, PathSet, TooLarge};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// A ruleset with its ledger, and what was found on the way.
pub struct Lowered {
    /// The ruleset.
    pub ruleset: Ruleset,
    /// The ledger.
    pub ledger: Ledger,
    /// With a host: paths on which the policy grants something, and that are missing or are links.
    pub absent: Vec<Entry>,
}

/// A ruleset without its ledger. The ledger takes longer than the ruleset, so [`Rules::ledger`] makes it only when
/// somebody reads it.
pub struct Rules {
    /// The ruleset.
    pub ruleset: Ruleset,
    /// With a host: paths on which the policy grants something, and that are missing or are links.
    pub absent: Vec<Entry>,
    on_host: bool,
    holes: Holes,
    granted: Granted,
}

/// The most ports that are written one by one.
const MAX_PORTS: usize = 4096;

/// Lowers a policy for an ABI. With a host, for the objects of that host.
///
/// # Errors
/// The policy's automata are too large.
pub fn lower(
    meaning: &Meaning<'_>,
    abi: u32,
    host: Option<&dyn Host>,
    holes: Holes,
) -> Result<Lowered, Diagnostics> {
    let rules = rules(meaning, abi, host, holes)?;
    let ledger = rules.ledger(meaning)?;
    Ok(Lowered {
        ruleset: rules.ruleset,
        ledger,
        absent: rules.absent,
    })
}

/// The ruleset alone.
///
/// # Errors
/// The policy's automata are too large.
pub fn rules(
    meaning: &Meaning<'_>,
    abi: u32,
    host: Option<&dyn Host>,
    holes: Holes,
) -> Result<Rules, TooLarge> {
    let remembered = host.map(Remembered::new);
    let (granted, absent) = grants::granted(meaning, remembered.as_ref(), holes)?;
    Ok(Rules {
        ruleset: ruleset(meaning, abi, &granted),
        absent,
        on_host: host.is_some(),
        holes,
        granted,
    })
}

/// The ruleset for what is granted.
fn ruleset(meaning: &Meaning<'_>, abi: u32, granted: &Granted) -> Ruleset {
    let Granted {
        read,
        list,
        edit,
        create,
        delete,
        execute,
    } = granted;
    let mut rights: BTreeMap<Vec<u8>, (BTreeSet<AccessFs>, bool)> = BTreeMap::new();
    let mut handled = BTreeSet::new();
    let mut grant = |grants: &Grants, list: &[AccessFs]| {
        if grants.free {
            return;
        }
        let list: Vec<AccessFs> = list.iter().copied().filter(|a| a.since() <= abi).collect();
        handled.extend(&list);
        for (paths, file) in [(&grants.trees, false), (&grants.files, true)] {
            for path in paths {
                let entry = rights
                    .entry(path.clone())
                    .or_insert((BTreeSet::new(), true));
                entry
                    .0
                    .extend(list.iter().filter(|a| !file || a.on_files()));
                entry.1 &= file;
            }
        }
    };
    grant(read, &[AccessFs::ReadFile]);
    grant(list, &[AccessFs::ReadDir]);
    grant(edit, &[AccessFs::WriteFile, AccessFs::Truncate]);
    grant(create, &AccessFs::MAKE);
    grant(delete, &AccessFs::REMOVE);
    grant(execute, &[AccessFs::Execute]);
    let both = Grants {
        free: create.free && delete.free,
        trees: create
            .trees
            .iter()
            .chain(&delete.trees)
            .filter(|p| create.covers(p) && delete.covers(p))
            .cloned()
            .collect(),
        files: BTreeSet::new(),
    };
    grant(&both, &[AccessFs::Refer]);
    let paths = rights
        .into_iter()
        .filter(|(_, (allowed, _))| !allowed.is_empty())
        .map(|(parent, (allowed, file))| PathBeneath {
            parent,
            allowed,
            file,
        })
        .collect::<Vec<_>>();

    let mut handled_net = BTreeSet::new();
    let mut ports = Vec::new();
    for (operation, access) in NETWORK {
        if let Some(allowed) = granted_ports(meaning, abi, operation) {
            handled_net.insert(access);
            ports.push(NetPort {
                access,
                ports: allowed.into_iter().collect(),
            });
        }
    }
    let scoped = if abi >= 6 {
        [Scope::AbstractUnixSocket, Scope::Signal].into()
    } else {
        BTreeSet::new()
    };
    Ruleset {
        abi,
        handled_fs: handled,
        handled_net,
        scoped,
        paths,
        ports,
    }
}

impl Rules {
    /// The ledger of the ruleset for its policy.
    ///
    /// # Errors
    /// The policy's automata are too large.
    pub fn ledger(&self, meaning: &Meaning<'_>) -> Result<Ledger, TooLarge> {
        let abi = self.ruleset.abi;
        let Granted {
            read,
            list,
            edit,
            create,
            delete,
            execute,
        } = &self.granted;
        let mut ledger = LedgerBuilder::new(meaning, "landlock");
        if !ledger.is_asked() {
            return Ok(ledger.finish());
        }
        let shrinks = if self.on_host {
            SHRINKS_ON_HOST
        } else {
            SHRINKS
        };
        let reaches = match self.holes {
            Holes::Open => REACHES,
            Holes::Closed => REACHES_CLOSED,
        };
        let reason = |fidelity: Fidelity| {
            if fidelity == Fidelity::Stricter {
                shrinks
            } else {
                reaches
            }
        };
        let plain = |_: Option<&Rule>, f: Fidelity| -> Cow<'static, str> { reason(f).into() };
        // A file has no entries, so listing does not matter for a path that is granted as a file.
        let listed = Grants {
            free: list.free,
            trees: list.trees.clone(),
            files: read.files.clone(),
        };
        let [reads, lists, edits, creates, deletes, executes] = reached([
            (read, Reach::Object),
            (&listed, Reach::Object),
            (edit, Reach::Object),
            (create, Reach::Beneath),
            (delete, Reach::Beneath),
            (execute, Reach::Object),
        ])?;
        ledger.paths(Operation::Read, &reads, &plain)?;
        ledger.paths(Operation::List, &lists, &plain)?;
        if abi < 3 && !edit.free {
            let text = "truncating is not restricted before ABI 3 (Linux 6.2)";
            ledger.paths(Operation::Edit, &PathSet::all(), &|_, _| text.into())?;
        }
        // Writing is still restricted.
        ledger.paths(Operation::Edit, &edits, &plain)?;
        ledger.paths(Operation::Create, &creates, &plain)?;
        ledger.paths(Operation::Delete, &deletes, &plain)?;
        let started = executes.intersection(&reads)?;
        ledger.paths(Operation::Execute, &started, &|_, f| match f {
            Fidelity::Stricter => {
                format!("{shrinks}, and a program must be readable to start").into()
            }
            _ => reaches.into(),
        })?;
        ledger.paths_unenforced(
            Operation::Metadata,
            "Landlock does not mediate mode, owner, times and attributes",
        )?;
        ledger.paths_unenforced(
            Operation::Connect,
            if abi >= 9 {
                "landlockconfig cannot say `resolve_unix` yet"
            } else {
                "Landlock sees unix sockets by path only from ABI 9 on"
            },
        )?;

        for (operation, _) in NETWORK {
            network(meaning, abi, operation, &mut ledger);
        }
        ledger.syscalls_unenforced("only seccomp sees system calls by name");
        settings(
            meaning.policy(),
            abi,
            &self.ruleset.paths,
            self.on_host,
            &mut ledger,
        );
        if NETWORK
            .iter()
            .any(|(o, _)| granted_ports(meaning, abi, *o).is_some())
        {
            ledger.setting(
                UNASKED,
                Fidelity::Looser,
                "MPTCP, data sent with MSG_FASTOPEN (before Linux 7.2) and `listen` without `bind` pass the rules on ports",
            );
        }
        let mut ledger = ledger.finish();
        ledger.warning = lost_inside(meaning.policy(), &ledger, self.holes);
        Ok(ledger)
    }
}

const SHRINKS: &str = "a right reaches everything beneath: in a tree with something denied, only paths that the policy names are granted (--expand looks at the host)";
const SHRINKS_ON_HOST: &str = "a right reaches everything beneath: in a tree with something denied, only what is on this host now is granted";
const REACHES: &str =
    "Landlock takes nothing away beneath a granted directory, so a deny denies nothing there";
const REACHES_CLOSED: &str = "Landlock takes nothing away beneath a granted directory, so a deny with wildcards denies nothing there";

/// Most rules that the warning names.
const NAMED: usize = 3;

/// The denies inside trees that are granted: the first thing to know of a ruleset.
fn lost_inside(policy: &Policy, ledger: &Ledger, holes: Holes) -> Option<String> {
    let on_trees = |o: Operation| {
        use Operation::{Create, Delete, Edit, Execute, List, Read};
        matches!(o, Read | List | Edit | Create | Delete | Execute)
    };
    let shows = |w: &&Witness| w.layer_allows && matches!(w.object, Object::Path(_));
    // Names that can be listed are the least of it.
    let rank = |o: Operation| usize::from(o == Operation::List);
    let mut lost: Vec<(Operation, &str, &Witness)> = Vec::new();
    for entry in ledger.entries.iter().filter(|e| on_trees(e.operation)) {
        if let Some(witness) = entry.witnesses.iter().find(shows) {
            let rule = entry.rule.map(|id| policy.rule(id).name.as_str());
            lost.push((entry.operation, rule.unwrap_or("default_action"), witness));
        }
    }
    lost.sort_by_key(|(operation, ..)| rank(*operation));
    let (operation, _, witness) = lost.first()?;
    let example = format!("{operation} {}", witness.object);
    let mut names: Vec<&str> = Vec::new();
    for (_, name, _) in &lost {
        if !names.contains(name) {
            names.push(name);
        }
    }
    let more = names.len().saturating_sub(NAMED);
    let mut list = names
        .iter()
        .take(NAMED)
        .map(|n| format!("`{}`", show_bytes(n.as_bytes())))
        .collect::<Vec<_>>()
        .join(", ");
    if more > 0 {
        list.push_str(&format!(" and {more} more"));
    }
    let advice = match holes {
        Holes::Open => {
            "`--holes closed` keeps those without wildcards, and then nothing new can be made beside them; `polc run` keeps both"
        }
        Holes::Closed => "they have wildcards; `polc run` keeps them",
    };
    Some(format!(
        "Landlock does not keep denies inside allowed trees, of {list}: it allows {example}; {advice}"
    ))
}

/// The ledger's name for the ways to connect and to listen by TCP that Landlock does not check.
pub const UNASKED: &str = "TCP that no rule on ports sees";

/// TCP ports at which some peer is allowed.
fn allowed_ports(regions: &[HostRegion]) -> BTreeSet<u16> {
    // Many hosts have the same ports.
    let allowed: BTreeSet<(u16, u16)> = regions
        .iter()
        .filter(|r| r.protocol == Protocol::Tcp && r.decision.action.permits())
        .map(|r| (r.ports.first, r.ports.last))
        .collect();
    allowed
        .into_iter()
        .flat_map(|(first, last)| first..=last)
        .collect()
}

const NETWORK: [(Operation, AccessNet); 2] = [
    (Operation::Connect, AccessNet::ConnectTcp),
    (Operation::Bind, AccessNet::BindTcp),
];

/// The granted TCP ports. `None`: the right is not restricted, because this ABI has none, or because there would be too
/// many rules.
fn granted_ports(meaning: &Meaning<'_>, abi: u32, operation: Operation) -> Option<BTreeSet<u16>> {
    let allowed = (abi >= 4).then(|| allowed_ports(meaning.hosts(operation).regions()))?;
    (allowed.len() <= MAX_PORTS).then_some(allowed)
}

fn network(
    meaning: &Meaning<'_>,
    abi: u32,
    operation: Operation,
    ledger: &mut LedgerBuilder<'_, '_>,
) {
    if abi < 4 {
        ledger.hosts_unenforced(
            operation,
            "Landlock sees TCP only from ABI 4 on (Linux 6.7)",
        );
        return;
    }
    let allowed = granted_ports(meaning, abi, operation);
    let cuts: Vec<u16> = allowed
        .iter()
        .flatten()
        .flat_map(|p| [Some(*p), p.checked_add(1)])
        .flatten()
        .collect();
    let regions = meaning.hosts(operation).split_at(&cuts);
    let through = |port| allowed.as_ref().is_none_or(|a| a.contains(&port));
    ledger.hosts_in(
        operation,
        &regions,
        |r| r.protocol == Protocol::Udp || through(r.ports.first),
        &|_, _| "Landlock sees TCP ports, but no addresses and no UDP".into(),
    );
}

fn settings(
    policy: &Policy,
    abi: u32,
    paths: &[PathBeneath],
    on_host: bool,
    ledger: &mut LedgerBuilder<'_, '_>,
) {
    let absent = "a ruleset has no such thing";
    if !policy.limits.is_empty() {
        ledger.setting("limits", Fidelity::Unenforced, absent);
    }
    if policy.environment.pass.is_some() || !policy.environment.set.is_empty() {
        ledger.setting("environment", Fidelity::Unenforced, absent);
    }
    if policy.subject.executable.is_some() {
        ledger.setting(
            "subject.executable",
            Fidelity::Unenforced,
            "a ruleset confines the process that applies it",
        );
    }
    loader::tell(policy, ledger);
    let files = paths.iter().filter(|p| p.file).count();
    if files > 0 && !on_host {
        let text = format!(
            "{files} paths are taken for files, because the policy names nothing beneath them; if one is a directory, everything beneath it is granted"
        );
        ledger.setting("paths named as files", Fidelity::Exact, text);
    }
    if abi < 2 {
        ledger.setting(
            "renames",
            Fidelity::Stricter,
            "linking and renaming across directories always fail before ABI 2",
        );
    }
}
