//! From a policy's decided sets to trees that are granted.

use super::host::Remembered;
use super::model::{AccessFs, AccessNet, NetPort, PathBeneath, Ruleset, Scope};
use crate::diagnostics::Diagnostics;
use crate::fidelity::{Fidelity, Ledger, show_bytes};
use crate::policy::{Component, Operation, Policy, Protocol, Rule, Sequence, Token};
use crate::semantics::{
    Clause, Decisions, HostRegion, LedgerBuilder, LiteralTree, Meaning, PathSet, StateId, TooLarge,
};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Missing,
    /// A directory.
    Directory,
    /// A file, device, socket: anything that has nothing beneath.
    File,
    /// A symbolic link.
    Link,
}

/// A file system to look at.
pub trait Host {
    /// What stands at the path, not followed.
    fn kind(&self, path: &[u8]) -> Kind;
    /// Where a symbolic link leads in the end, if there is anything.
    fn leads_to(&self, path: &[u8]) -> Option<Vec<u8>>;
    /// The names in a directory, ascending, and what stands there, not followed; none if it cannot be read.
    fn list(&self, path: &[u8]) -> Vec<(Vec<u8>, Kind)>;
}

/// A ruleset with its ledger, and what was seen on the way.
pub struct Lowered {
    /// The ruleset.
    pub ruleset: Ruleset,
    /// What it keeps.
    pub ledger: Ledger,
    /// With a host: paths that the policy grants something on and that are not there, or are links.
    pub absent: Vec<Entry>,
}

/// A ruleset without its ledger, which takes longer to make than the ruleset does: [`Rules::ledger`] makes it where
/// somebody reads it.
pub struct Rules {
    /// The ruleset.
    pub ruleset: Ruleset,
    /// With a host: paths that the policy grants something on and that are not there, or are links.
    pub absent: Vec<Entry>,
    on_host: bool,
    granted: Granted,
}

/// What is granted, by operation.
struct Granted {
    read: Grants,
    list: Grants,
    edit: Grants,
    create: Grants,
    delete: Grants,
    execute: Grants,
}

/// A path that the policy grants something on, and what stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path.
    pub path: Vec<u8>,
    /// What stands there.
    pub kind: Kind,
}

/// Most entries of a host that one operation looks at.
const MAX_ENTRIES: usize = 20_000;
/// Most ports that are written out.
const MAX_PORTS: usize = 4096;

/// How rights reach objects.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    /// A right on D is for D and what lies beneath.
    Object,
    /// A right on D is for what lies beneath.
    Beneath,
}

/// What is granted for one operation.
#[derive(Default)]
struct Grants {
    /// Nothing is restricted.
    free: bool,
    trees: BTreeSet<Vec<u8>>,
    files: BTreeSet<Vec<u8>>,
}

/// Where a walk is.
struct At {
    node: Option<usize>,
    path: Vec<u8>,
    state: StateId,
    /// What stands there, where that is known.
    kind: Option<Kind>,
}

struct Walk<'a> {
    decisions: &'a Decisions,
    tree: &'a LiteralTree,
    reach: Reach,
    /// Whether the right can be granted on a file.
    files: bool,
    host: Option<&'a Remembered<'a>>,
    /// By state: whether nothing at it or beneath it is allowed.
    dead: Vec<bool>,
    /// By node: its state.
    states: &'a [Option<StateId>],
    /// By node: whether it can be granted whole.
    whole: Vec<bool>,
    looked: usize,
    grants: Grants,
    absent: Vec<Entry>,
}

impl Walk<'_> {
    /// Whether what the policy does not mention beneath the state is allowed, to any depth.
    fn unmentioned(&self, state: StateId) -> bool {
        (1..=3).all(|depth| {
            self.decisions
                .enter_fresh(state, depth)
                .is_some_and(|s| self.decisions.permits_state(s))
        })
    }

    /// Fills in [`Walk::whole`] for every node.
    fn judge(&mut self) {
        let nodes = self.tree.len();
        self.whole = vec![false; nodes];
        // Whether the node itself is allowed and can be granted whole.
        let mut through = vec![false; nodes];
        // A parent is numbered before its children.
        for node in (0..nodes).rev() {
            let own = self.states[node].is_some_and(|s| self.decisions.permits_state(s));
            let beneath = self.states[node].is_some_and(|s| self.unmentioned(s))
                && self.tree.children(node).all(|(_, child)| through[child]);
            self.whole[node] = beneath && (own || self.reach == Reach::Beneath);
            // Seen from above the object itself counts in both cases.
            through[node] = beneath && own;
        }
    }

    /// Whether something may be granted at or beneath a name that the literal tree does not have. If not, the directory
    /// need not be listed, and `/tmp` and `/etc` are long.
    fn may_hold_more(&self, node: Option<usize>, state: StateId) -> bool {
        let dfa = self.decisions.dfa();
        let live = |s: StateId| !self.dead[s.index()];
        dfa.unlisted(state).iter().any(|s| live(*s))
            || dfa
                .spelled_out(state)
                .any(|(name, s)| live(s) && node.and_then(|n| self.tree.child(n, name)).is_none())
    }

    fn run(mut self) -> (Grants, Vec<Entry>) {
        let start = self.decisions.dfa().start();
        self.judge();
        if self.whole[self.tree.root()] {
            self.grants.free = true;
            return (self.grants, self.absent);
        }
        if self.host.is_none() && self.unmentioned(start) {
            // All but some paths, and no host to list the rest of: to restrict would be to stop everything.
            self.grants.free = true;
            return (self.grants, self.absent);
        }
        let mut work = vec![At {
            node: Some(self.tree.root()),
            path: Vec::new(),
            state: start,
            kind: self.host.map(|_| Kind::Directory),
        }];
        while let Some(at) = work.pop() {
            self.visit(at, &mut work);
        }
        (self.grants, self.absent)
    }

    fn visit(&mut self, at: At, work: &mut Vec<At>) {
        let At {
            node,
            path,
            state,
            kind,
        } = at;
        let shown = if path.is_empty() {
            b"/".to_vec()
        } else {
            path.clone()
        };
        let own = self.decisions.permits_state(state);
        let kind = kind.or_else(|| self.host.map(|h| h.kind(&shown)));
        if kind == Some(Kind::File) {
            if own && self.files {
                self.grants.files.insert(shown);
            }
            return;
        }
        let whole = match node {
            Some(n) => self.whole[n],
            None => self.unmentioned(state) && (own || self.reach == Reach::Beneath),
        };
        if let Some(kind @ (Kind::Missing | Kind::Link)) = kind {
            // A rule on a link would bind to where it leads, which has a name of its own.
            if own || whole {
                self.absent.push(Entry { path: shown, kind });
            }
            return;
        }
        if whole {
            self.grants.trees.insert(shown);
            return;
        }
        match self.host {
            None => {
                let Some(node) = node else { return };
                // Named, with nothing named beneath, and nothing allowed beneath: a file.
                let leaf = self.tree.children(node).next().is_none();
                let nothing_beneath = !self
                    .decisions
                    .enter_fresh(state, 1)
                    .is_some_and(|s| self.decisions.permits_state(s));
                if own && leaf && nothing_beneath && self.files && !path.is_empty() {
                    self.grants.files.insert(shown);
                }
                for (name, child) in self.tree.children(node) {
                    if let Some(state) = self.states[child] {
                        work.push(At {
                            node: Some(child),
                            path: join(&path, name),
                            state,
                            kind: None,
                        });
                    }
                }
            }
            Some(host) => {
                let listed = if self.looked < MAX_ENTRIES && self.may_hold_more(node, state) {
                    host.list(&shown)
                } else {
                    Rc::default()
                };
                self.looked += listed.len();
                let is_listed = |name: &[u8]| {
                    let found = listed.binary_search_by(|(n, _)| n.as_slice().cmp(name));
                    found.is_ok()
                };
                let named = node.into_iter().flat_map(|n| self.tree.children(n));
                let rest = named.map(|(name, _)| (name, None));
                let all = listed
                    .iter()
                    .map(|(name, kind)| (name.as_slice(), Some(*kind)))
                    .chain(rest.filter(|(name, _)| !is_listed(name)));
                for (name, kind) in all {
                    let Some(state) = self.decisions.enter(state, name) else {
                        continue;
                    };
                    if !self.dead[state.index()] {
                        work.push(At {
                            node: node.and_then(|n| self.tree.child(n, name)),
                            path: join(&path, name),
                            state,
                            kind,
                        });
                    }
                }
            }
        }
    }
}

fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    let mut out = path.to_vec();
    out.push(b'/');
    out.extend_from_slice(name);
    out
}

/// The objects that grants reach, each with how its rights do.
fn reached<const N: usize>(all: [(&Grants, Reach); N]) -> Result<[PathSet; N], TooLarge> {
    let mut sets_of: BTreeMap<(&[u8], bool, Reach), u16> = BTreeMap::new();
    for (i, (grants, reach)) in all.iter().enumerate() {
        let trees = grants.trees.iter().map(|p| (p.as_slice(), true, *reach));
        let files = grants.files.iter();
        for granted in trees.chain(files.map(|p| (p.as_slice(), false, *reach))) {
            *sets_of.entry(granted).or_default() |= 1 << i;
        }
    }
    let mut clauses: BTreeMap<u16, Vec<Sequence>> = BTreeMap::new();
    for ((path, tree, reach), sets) in sets_of {
        let mut s = Sequence::literal(path);
        if tree && reach == Reach::Beneath {
            s.components.push(Component::Name([Token::Star].into()));
        }
        let list = clauses.entry(sets).or_default();
        list.push(if tree { s.tree() } else { s });
    }
    let clauses = clauses.iter().map(|(sets, include)| Clause {
        include,
        except: &[],
        sets: *sets,
        allows: true,
    });
    let mut sets = PathSet::family(clauses, false)?;
    for (set, (grants, _)) in sets.iter_mut().zip(all) {
        if grants.free {
            *set = PathSet::all();
        }
    }
    Ok(sets)
}

impl Grants {
    /// Whether a tree that is granted holds the path.
    fn covers(&self, path: &[u8]) -> bool {
        self.free
            || self.trees.contains(b"/".as_slice())
            || (1..=path.len())
                .any(|n| (n == path.len() || path[n] == b'/') && self.trees.contains(&path[..n]))
    }
}

/// Lowers a policy for an ABI; with a host, for what stands there.
///
/// # Errors
/// The policy's automata are too large.
pub fn lower(
    meaning: &Meaning<'_>,
    abi: u32,
    host: Option<&dyn Host>,
) -> Result<Lowered, Diagnostics> {
    let rules = rules(meaning, abi, host)?;
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
pub fn rules(meaning: &Meaning<'_>, abi: u32, host: Option<&dyn Host>) -> Result<Rules, TooLarge> {
    let tree = LiteralTree::of(meaning.policy(), usize::MAX, false);
    let remembered = host.map(Remembered::new);
    let host = remembered.as_ref();
    let mut absent: Vec<Entry> = Vec::new();
    // Most operations have decisions of one shape.
    let mut known: Option<(&Decisions, Vec<Option<StateId>>)> = None;
    let mut of = |operation: Operation| -> Result<Grants, TooLarge> {
        let decisions = meaning.decisions(operation)?;
        let reach = match operation {
            Operation::Create | Operation::Delete => Reach::Beneath,
            _ => Reach::Object,
        };
        let known = match &mut known {
            Some(known) if known.0.dfa().same_shape(decisions.dfa()) => known,
            other => other.insert((decisions, tree.states(decisions))),
        };
        let walk = Walk {
            decisions,
            tree: &tree,
            states: &known.1,
            reach,
            files: reach == Reach::Object && operation != Operation::List,
            host,
            dead: if host.is_some() {
                decisions.dfa().all_below(|l| !decisions.permits(l))
            } else {
                Vec::new()
            },
            whole: Vec::new(),
            looked: 0,
            grants: Grants::default(),
            absent: Vec::new(),
        };
        let (grants, missing) = walk.run();
        absent.extend(missing);
        Ok(grants)
    };
    let mut read = of(Operation::Read)?;
    let list = of(Operation::List)?;
    let mut edit = of(Operation::Edit)?;
    let create = of(Operation::Create)?;
    let delete = of(Operation::Delete)?;
    let mut execute = of(Operation::Execute)?;
    // What one operation is granted as a tree is a directory: a file's right on it would reach beneath.
    let directories: BTreeSet<Vec<u8>> = [&read, &list, &edit, &create, &delete, &execute]
        .iter()
        .flat_map(|g| g.trees.iter().cloned())
        .collect();
    for grants in [&mut read, &mut edit, &mut execute] {
        grants.files.retain(|path| !directories.contains(path));
    }
    absent.sort_by(|a, b| a.path.cmp(&b.path));
    absent.dedup();

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
    grant(&read, &[AccessFs::ReadFile]);
    grant(&list, &[AccessFs::ReadDir]);
    grant(&edit, &[AccessFs::WriteFile, AccessFs::Truncate]);
    grant(&create, &AccessFs::MAKE);
    grant(&delete, &AccessFs::REMOVE);
    grant(&execute, &[AccessFs::Execute]);
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
    Ok(Rules {
        ruleset: Ruleset {
            abi,
            handled_fs: handled,
            handled_net,
            scoped,
            paths,
            ports,
        },
        absent,
        on_host: host.is_some(),
        granted: Granted {
            read,
            list,
            edit,
            create,
            delete,
            execute,
        },
    })
}

impl Rules {
    /// What the ruleset keeps of the policy that it was made from.
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
        let reason = |fidelity: Fidelity| {
            if fidelity == Fidelity::Stricter {
                shrinks
            } else {
                REACHES
            }
        };
        let plain = |_: Option<&Rule>, f: Fidelity| -> Cow<'static, str> { reason(f).into() };
        // A file has no entries: of a path that is granted as one, listing is no question.
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
        // Writing is restricted all the same.
        ledger.paths(Operation::Edit, &edits, &plain)?;
        ledger.paths(Operation::Create, &creates, &plain)?;
        ledger.paths(Operation::Delete, &deletes, &plain)?;
        let started = executes.intersection(&reads)?;
        ledger.paths(Operation::Execute, &started, &|_, f| match f {
            Fidelity::Stricter => {
                format!("{shrinks}, and a program must be readable to start").into()
            }
            _ => REACHES.into(),
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
                "unix sockets by path are mediated from ABI 9 on"
            },
        )?;

        for (operation, _) in NETWORK {
            network(meaning, abi, operation, &mut ledger);
        }
        ledger.syscalls_unenforced("system calls by name are seccomp's");
        settings(
            meaning.policy(),
            abi,
            &self.ruleset.paths,
            self.on_host,
            &mut ledger,
        );
        Ok(ledger.finish())
    }
}

const SHRINKS: &str = "a right reaches everything beneath: of a tree with a hole, or a pattern with wildcards, only what the policy names can be granted (--expand looks at the host)";
const SHRINKS_ON_HOST: &str = "a right reaches everything beneath: of a tree with a hole, or a pattern with wildcards, only what is on this host now is granted";
const REACHES: &str = "nothing beneath a granted directory can be taken away, so a deny with wildcards denies nothing there";

/// TCP ports at which some peer is allowed.
fn allowed_ports(regions: &[HostRegion]) -> BTreeSet<u16> {
    regions
        .iter()
        .filter(|r| r.protocol == Protocol::Tcp && r.decision.action.permits())
        .flat_map(|r| r.ports.first..=r.ports.last)
        .collect()
}

const NETWORK: [(Operation, AccessNet); 2] = [
    (Operation::Connect, AccessNet::ConnectTcp),
    (Operation::Bind, AccessNet::BindTcp),
];

/// The TCP ports that are granted; `None`: the right is not restricted, as this ABI has none, or as there would be
/// more rules than anyone would read.
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
        ledger.hosts_unenforced(operation, "TCP is mediated from ABI 4 on (Linux 6.7)");
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
        &|_, _| "TCP ports only: no addresses, no UDP".into(),
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
    if let Some(program) = super::started_by_loader(policy).next() {
        let text = format!(
            "what may be read is started by the loader although it may not be executed: `{} {}`",
            super::LOADER,
            show_bytes(&program)
        );
        ledger.setting(super::LOADED, Fidelity::Looser, text);
    }
    let files = paths.iter().filter(|p| p.file).count();
    if files > 0 && !on_host {
        let text = format!(
            "{files} paths are taken for files, as nothing is named beneath them; of a directory, everything beneath is granted"
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
