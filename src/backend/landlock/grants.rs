//! Finds the trees and files that can be granted without granting what the policy denies.

use super::host::{Kind, Remembered};
use crate::policy::{Component, Objects, Operation, Policy, Sequence, Token};
use crate::semantics::{Case, Decisions, LiteralTree, Meaning, PathSet, StateId, TooLarge};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// The most entries of a host that one operation looks at. Later entries get no rights. So one huge directory cannot
/// take the rights from the rest.
const MAX_ENTRIES: usize = 2_000_000;

/// What is granted, by operation.
pub(super) struct Granted {
    pub(super) read: Grants,
    pub(super) list: Grants,
    pub(super) edit: Grants,
    pub(super) create: Grants,
    pub(super) delete: Grants,
    pub(super) execute: Grants,
}

/// A path on which the policy grants something, and the kind of its object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path.
    pub path: Vec<u8>,
    /// The kind of object.
    pub kind: Kind,
}

/// What becomes of a tree that the policy allows and in which it denies something. Landlock takes nothing away below
/// a directory that it granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holes {
    /// The tree is granted, so that what the policy allows there works. The deny is lost.
    ///
    /// Reading, editing and starting need the whole tree only where the program can make something new. Elsewhere a
    /// host that was looked at gives the entries that are there, and the deny is kept.
    Open,
    /// The deny is kept. The entries beside it are granted one by one: nothing can be made there, and the directory
    /// cannot be listed.
    Closed,
}

/// How rights reach objects.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// A right on D is for D and for what lies beneath.
    Object,
    /// A right on D is only for what lies beneath.
    Beneath,
}

/// What is granted for one operation.
#[derive(Default)]
pub(super) struct Grants {
    /// Nothing is restricted.
    pub(super) free: bool,
    pub(super) trees: BTreeSet<Vec<u8>>,
    pub(super) files: BTreeSet<Vec<u8>>,
}

/// A position of the walk.
struct At {
    node: Option<usize>,
    path: Vec<u8>,
    state: StateId,
    /// The kind of object, if it is known.
    kind: Option<Kind>,
}

struct Walk<'a> {
    operation: Operation,
    decisions: &'a Decisions,
    tree: &'a LiteralTree,
    reach: Reach,
    /// Whether the right can be granted on a file.
    files: bool,
    host: Option<&'a Remembered<'a>>,
    holes: Holes,
    /// The trees that polc itself closes: where it keeps its state. No directory above them is opened.
    sealed: &'a [Vec<u8>],
    /// Where something can be made; `None`: that does not matter to the operation.
    made: Option<&'a Grants>,
    /// By state: whether nothing at it or beneath it is allowed.
    dead: Vec<bool>,
    /// The state of each node.
    states: &'a [Option<StateId>],
    /// For each node: whether it can be granted whole.
    whole: Vec<bool>,
    looked: usize,
    grants: Grants,
    absent: Vec<Entry>,
}

impl Walk<'_> {
    /// Whether everything beneath the state that the policy does not mention is allowed, at any depth.
    fn unmentioned(&self, state: StateId) -> bool {
        (1..=3).all(|depth| {
            self.decisions
                .enter_fresh(state, depth)
                .is_some_and(|s| self.decisions.permits_state(s))
        })
    }

    /// Fills in [`Walk::whole`] for every node.
    fn find_whole(&mut self) {
        let nodes = self.tree.len();
        self.whole = vec![false; nodes];
        // Whether the node itself is allowed and can be granted whole.
        let mut through = vec![false; nodes];
        // A parent has a smaller number than its children.
        for node in (0..nodes).rev() {
            let own = self.states[node].is_some_and(|s| self.decisions.permits_state(s));
            let beneath = self.states[node].is_some_and(|s| self.unmentioned(s))
                && self.tree.children(node).all(|(_, child)| through[child]);
            self.whole[node] = beneath && (own || self.reach == Reach::Beneath);
            // For the node above, the object itself counts in both cases.
            through[node] = beneath && own;
        }
    }

    /// Whether a directory is granted whole, though something beneath it is denied.
    fn opens(&self, path: &[u8]) -> bool {
        let above = |sealed: &Vec<u8>| {
            let rest = sealed.strip_prefix(path);
            path == b"/" || rest.is_some_and(|r| r.is_empty() || r.starts_with(b"/"))
        };
        if self.host.is_some() && self.sealed.iter().any(above) {
            return false;
        }
        match (self.holes, self.host, self.made) {
            (Holes::Closed, ..) => false,
            // Nobody knows the entries.
            (Holes::Open, None, _) => true,
            (Holes::Open, Some(_), made) => made.is_none_or(|m| m.covers(path)),
        }
    }

    /// Whether a directory is granted with everything beneath it.
    fn is_whole(&self, node: Option<usize>, path: &[u8], state: StateId) -> bool {
        match node {
            Some(n) if self.whole[n] => true,
            Some(_) if !self.opens(path) => false,
            _ => {
                let own = self.decisions.permits_state(state);
                self.unmentioned(state) && (own || self.reach == Reach::Beneath)
            }
        }
    }

    /// Whether something may be granted at or beneath a name that the literal tree does not have. If not, the directory
    /// need not be listed. `/tmp` and `/etc` may be long.
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
        self.find_whole();
        if self.is_whole(Some(self.tree.root()), b"/", start) {
            self.grants.free = true;
            return (self.grants, self.absent);
        }
        if self.host.is_none() && self.unmentioned(start) {
            // Everything but some paths is allowed, and there is no host to list the rest. To restrict this would stop
            // everything.
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
        let whole = self.is_whole(node, &shown, state);
        if let Some(kind @ (Kind::Missing | Kind::Link)) = kind {
            // A rule on a link would apply to its target, which has a name of its own.
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
                // The policy names the path, but nothing beneath it, and allows nothing beneath it: it counts as a
                // file.
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
                let listed = if self.looked < MAX_ENTRIES
                    && self.may_hold_more(node, state)
                    && !host.is_granted(self.operation, &shown)
                {
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

/// The objects that grants reach, and how their rights reach them.
pub(super) fn reached<const N: usize>(
    all: [(&Grants, Reach); N],
) -> Result<[PathSet; N], TooLarge> {
    let mut sets_of: BTreeMap<(&[u8], bool, Reach), u16> = BTreeMap::new();
    for (i, (grants, reach)) in all.iter().enumerate() {
        let trees = grants.trees.iter().map(|p| (p.as_slice(), true, *reach));
        let files = grants.files.iter();
        for granted in trees.chain(files.map(|p| (p.as_slice(), false, *reach))) {
            *sets_of.entry(granted).or_default() |= 1 << i;
        }
    }
    let mut cases: BTreeMap<u16, Vec<Sequence>> = BTreeMap::new();
    for ((path, tree, reach), sets) in sets_of {
        let mut s = Sequence::literal(path);
        if tree && reach == Reach::Beneath {
            s.components.push(Component::Name([Token::Star].into()));
        }
        let list = cases.entry(sets).or_default();
        list.push(if tree { s.tree() } else { s });
    }
    let cases = cases.iter().map(|(sets, include)| Case {
        include,
        except: &[],
        sets: *sets,
        allows: true,
    });
    let mut sets = PathSet::family(cases, false)?;
    for (set, (grants, _)) in sets.iter_mut().zip(all) {
        if grants.free {
            *set = PathSet::all();
        }
    }
    Ok(sets)
}

impl Grants {
    /// Whether a granted tree contains the path.
    pub(super) fn covers(&self, path: &[u8]) -> bool {
        self.free
            || self.trees.contains(b"/".as_slice())
            || (1..=path.len())
                .any(|n| (n == path.len() || path[n] == b'/') && self.trees.contains(&path[..n]))
    }
}

/// The trees in polc's own rules.
fn sealed(policy: &Policy) -> Vec<Vec<u8>> {
    let own = policy.rules.iter().filter(|r| policy.is_own(r.id));
    let paths = own.filter_map(|r| match &r.objects {
        Objects::Paths { paths, .. } => Some(paths),
        _ => None,
    });
    let sequences = paths.flatten().flat_map(|p| &p.sequences);
    sequences.filter_map(Sequence::as_literal_tree).collect()
}

/// What is granted by a policy's meaning. With a host, also the paths that would be granted but are missing or are
/// links.
///
/// # Errors
/// The policy's automata are too large.
pub(super) fn granted(
    meaning: &Meaning<'_>,
    host: Option<&Remembered<'_>>,
    holes: Holes,
) -> Result<(Granted, Vec<Entry>), TooLarge> {
    let tree = LiteralTree::of(meaning.policy(), usize::MAX, false);
    let sealed = sealed(meaning.policy());
    let mut absent: Vec<Entry> = Vec::new();
    // Most operations have decisions of one shape.
    let mut known: Option<(&Decisions, Vec<Option<StateId>>)> = None;
    let mut of = |operation: Operation, made: Option<&Grants>| -> Result<Grants, TooLarge> {
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
            operation,
            decisions,
            tree: &tree,
            states: &known.1,
            reach,
            files: reach == Reach::Object && operation != Operation::List,
            host,
            holes,
            sealed: &sealed,
            made,
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
    let create = of(Operation::Create, None)?;
    let delete = of(Operation::Delete, None)?;
    let list = of(Operation::List, None)?;
    let mut read = of(Operation::Read, Some(&create))?;
    let mut edit = of(Operation::Edit, Some(&create))?;
    let mut execute = of(Operation::Execute, Some(&create))?;
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
    let granted = Granted {
        read,
        list,
        edit,
        create,
        delete,
        execute,
    };
    Ok((granted, absent))
}
