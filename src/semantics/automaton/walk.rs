//! Walks two automata together.

use super::dfa::{Row, Shape, listed};
use super::names::{Merged, NameClasses};
use super::{Dfa, Domain, Limit, StateId, TooLarge};
use rustc_hash::FxHashMap;
use std::sync::{Arc, OnceLock};

/// The numbers of pairs of states. If two automata have almost the same patterns, most states have one partner. Such a
/// pair needs no hashing.
struct Pairs {
    /// By the first state: its first partner, and the number of that pair.
    first: Vec<(u32, u32)>,
    more: FxHashMap<(StateId, StateId), u32>,
}

/// No state has this number, because the size of automata is limited.
const NONE: u32 = u32::MAX;

impl Pairs {
    fn new(left: &Dfa) -> Self {
        Self {
            first: vec![(NONE, NONE); left.len()],
            more: FxHashMap::default(),
        }
    }

    /// The number of a pair. `None`: the pair is new, and gets the number `fresh`.
    fn id(&mut self, pair: (StateId, StateId), fresh: u32) -> Option<u32> {
        let first = &mut self.first[pair.0.index()];
        if first.0 == pair.1.0 {
            return Some(first.1);
        }
        if first.0 == NONE {
            *first = (pair.1.0, fresh);
            return None;
        }
        match self.more.entry(pair) {
            std::collections::hash_map::Entry::Occupied(e) => Some(*e.get()),
            std::collections::hash_map::Entry::Vacant(e) => {
                e.insert(fresh);
                None
            }
        }
    }
}

/// A pair of states, one of each automaton.
pub(super) type Pair = (StateId, StateId);

/// Where a name leads from a pair of rows.
#[derive(Clone, Copy)]
enum Transition {
    /// A listed name.
    Named(u32, Pair),
    /// A class of names.
    Class(u32, Pair),
}

/// Two rows together. It does not store the names that either row lists. If one row lists very many, they would be
/// stored for every pair with that row, but they are only read once.
struct RowPair<'d> {
    left: &'d Row,
    right: &'d Row,
    classes: Arc<NameClasses>,
    /// For each class of `classes`: the class of the left row and of the right row.
    parts: Arc<[(u32, u32)]>,
}

/// The combined classes of two rows, with the class of each row.
type Joined = (Arc<NameClasses>, Arc<[(u32, u32)]>);

/// Two automata, with one numbering for their names.
struct Both<'d> {
    left: &'d Shape,
    right: &'d Shape,
    names: Merged<'d>,
    rows: FxHashMap<(u32, u32), u32>,
    pairs: Vec<RowPair<'d>>,
    /// By the addresses of the two sets of classes.
    joined: FxHashMap<(usize, usize), Joined>,
}

fn address(classes: &Arc<NameClasses>) -> usize {
    Arc::as_ptr(classes).addr()
}

impl<'d> Both<'d> {
    fn new(left: &'d Dfa, right: &'d Dfa) -> Self {
        let (left, right) = (&*left.shape, &*right.shape);
        Self {
            left,
            right,
            names: Merged::new(&left.names, &right.names),
            rows: FxHashMap::default(),
            pairs: Vec::new(),
            joined: FxHashMap::default(),
        }
    }

    fn joined(&mut self, a: &Arc<NameClasses>, b: &Arc<NameClasses>) -> Joined {
        let known = self.joined.entry((address(a), address(b)));
        let (classes, parts) = known.or_insert_with(|| {
            if Arc::ptr_eq(a, b) {
                (Arc::clone(a), (0..a.count()).map(|c| (c, c)).collect())
            } else if a.count() == 1 {
                (Arc::clone(b), (0..b.count()).map(|c| (0, c)).collect())
            } else if b.count() == 1 {
                (Arc::clone(a), (0..a.count()).map(|c| (c, 0)).collect())
            } else {
                let (classes, parts) = a.product(b);
                (Arc::new(classes), parts.into())
            }
        });
        (Arc::clone(classes), Arc::clone(parts))
    }

    /// Merges the names of two lists, each with where it leads. For a name that one list lacks, `a` or `b` gives the
    /// state.
    fn lists(
        &self,
        left: &[(u32, StateId)],
        right: &[(u32, StateId)],
        a: impl Fn(u32) -> Option<StateId>,
        b: impl Fn(u32) -> Option<StateId>,
        mut each: impl FnMut(u32, Pair),
    ) {
        let (mut i, mut j) = (0, 0);
        while i < left.len() || j < right.len() {
            let x = left.get(i).map_or(NONE, |(n, _)| self.names.of_left(*n));
            let y = right.get(j).map_or(NONE, |(n, _)| self.names.of_right(*n));
            let name = x.min(y);
            let from_left = if x == name {
                i += 1;
                Some(left[i - 1].1)
            } else {
                a(name)
            };
            let from_right = if y == name {
                j += 1;
                Some(right[j - 1].1)
            } else {
                b(name)
            };
            // INVARIANT: what patterns spell out is a valid name, and every valid name leads somewhere.
            if let (Some(a), Some(b)) = (from_left, from_right) {
                each(name, (a, b));
            }
        }
    }

    fn row_pair(&mut self, left: u32, right: u32) -> u32 {
        let fresh = self.pairs.len() as u32;
        let id = *self.rows.entry((left, right)).or_insert(fresh);
        if id < fresh {
            return id;
        }
        let (left, right) = (
            &self.left.rows[left as usize],
            &self.right.rows[right as usize],
        );
        let (classes, parts) = self.joined(&left.classes, &right.classes);
        self.pairs.push(RowPair {
            left,
            right,
            classes,
            parts,
        });
        id
    }

    /// The names that either row of a pair lists, ascending, each with where it leads.
    fn named(&self, row: &RowPair<'_>, out: &mut Vec<(u32, Pair)>) {
        out.clear();
        let by_class = |row: &Row, name: u32| {
            let class = row.classes.class_of_valid(self.names.name(name))?;
            Some(row.to[class as usize])
        };
        self.lists(
            &row.left.named,
            &row.right.named,
            |n| by_class(row.left, n),
            |n| by_class(row.right, n),
            |name, pair| out.push((name, pair)),
        );
    }

    /// Whether either row of a pair lists a name.
    fn lists_name(&self, row: &RowPair<'_>, name: u32) -> bool {
        let (left, right) = self.names.sides(name);
        listed(&row.left.named, left).is_some() || listed(&row.right.named, right).is_some()
    }

    fn row_of(&mut self, pair: Pair) -> u32 {
        let left = self.left.row_of[pair.0.index()];
        self.row_pair(left, self.right.row_of[pair.1.index()])
    }

    /// Where a class of a row pair leads.
    fn class_target(&self, pair: Pair, row: u32, class: u32) -> Pair {
        let (a, b) = self.pairs[row as usize].parts[class as usize];
        (
            self.left.row(pair.0).to[a as usize],
            self.right.row(pair.1).to[b as usize],
        )
    }

    /// The own names of a pair of states, ascending, each with where it leads.
    fn own(&self, pair: Pair, out: &mut Vec<(u32, Pair)>) {
        out.clear();
        let (a, b) = (self.left.own(pair.0), self.right.own(pair.1));
        let enter = |row: &Row, side: u32, name: u32| {
            listed(&row.named, side).or_else(|| {
                let class = row.classes.class_of_valid(self.names.name(name))?;
                Some(row.to[class as usize])
            })
        };
        let left = |name: u32| enter(self.left.row(pair.0), self.names.sides(name).0, name);
        let right = |name: u32| enter(self.right.row(pair.1), self.names.sides(name).1, name);
        self.lists(a, b, left, right, |name, to| out.push((name, to)));
    }
}

fn listed_in(list: &[(u32, Pair)], name: u32) -> bool {
    list.binary_search_by_key(&name, |(n, _)| *n).is_ok()
}

/// A pair on the way: its parent, the name from there, and the length of the string.
struct Node {
    pair: Pair,
    parent: u32,
    name: Spelled,
    length: u32,
    done: bool,
}

#[derive(Clone, Copy)]
enum Spelled {
    /// The start has no name.
    Start,
    Listed(u32),
    /// A pair of rows, and a class.
    Sample(u32, u32),
    Other(u32),
}

impl Dfa {
    /// Walks both automata together, the shortest strings first. `visit` gets each pair of states, and a function that
    /// spells a shortest string to it.
    pub(crate) fn walk_pairs(
        &self,
        other: &Self,
        limit: Limit,
        visit: impl FnMut(StateId, StateId, &dyn Fn() -> Vec<u8>) -> bool,
    ) -> Result<(), TooLarge> {
        self.walk_pairs_while(other, limit, |_| true, visit)
    }

    /// Like [`Self::walk_pairs`], but does not continue after states of this automaton for which `goes_on` is false.
    pub(crate) fn walk_pairs_while(
        &self,
        other: &Self,
        limit: Limit,
        goes_on: impl Fn(StateId) -> bool,
        mut visit: impl FnMut(StateId, StateId, &dyn Fn() -> Vec<u8>) -> bool,
    ) -> Result<(), TooLarge> {
        let visit = |_, (a, b), spell: &dyn Fn() -> Vec<u8>| visit(a, b, spell);
        let mut both = Both::new(self, other);
        self.explore(other, &mut both, limit, goes_on, visit)
            .map(|_| ())
    }

    /// The whole walk, stored so that it can be read many times.
    pub(crate) fn walked(&self, other: &Self, limit: Limit) -> Result<Walk, TooLarge> {
        let mut both = Both::new(self, other);
        let mut visited = Vec::new();
        let explored = self.explore(
            other,
            &mut both,
            limit,
            |_| true,
            |node, pair, _| {
                visited.push((node, pair));
                true
            },
        )?;
        let mut text = Vec::new();
        let nodes = explored.nodes.iter().map(|node| {
            text.extend_from_slice(explored.name(&both, node));
            (node.parent, text.len() as u32)
        });
        Ok(Walk {
            domain: self.domain(),
            visited,
            nodes: nodes.collect(),
            text,
        })
    }

    /// Walks both automata. `visit` also gets the number of the node.
    fn explore(
        &self,
        other: &Self,
        both: &mut Both<'_>,
        limit: Limit,
        goes_on: impl Fn(StateId) -> bool,
        mut visit: impl FnMut(u32, Pair, &dyn Fn() -> Vec<u8>) -> bool,
    ) -> Result<Explored, TooLarge> {
        let mut seen = Pairs::new(self);
        let mut explored = Explored {
            domain: self.domain(),
            nodes: Vec::new(),
            others: Vec::new(),
        };
        // By the length of the string.
        let mut queue: Vec<Vec<u32>> = vec![vec![0]];
        // By pair of rows: the steps that no pair of states has taken. The first pair that takes a step has the
        // shortest string, so no other pair has to.
        let mut pending: Vec<Vec<Transition>> = Vec::new();
        let start = (self.start(), other.start());
        seen.id(start, 0);
        explored.nodes.push(Node {
            pair: start,
            parent: NONE,
            name: Spelled::Start,
            length: 0,
            done: false,
        });
        let mut found: Vec<(Spelled, usize, Pair)> = Vec::new();
        let mut own: Vec<(u32, Pair)> = Vec::new();
        let mut named: Vec<(u32, Pair)> = Vec::new();
        let mut length = 0;
        while length < queue.len() {
            let mut at = 0;
            // Every name makes the string longer.
            while let Some(&id) = queue[length].get(at) {
                at += 1;
                let node = &mut explored.nodes[id as usize];
                if node.done || node.length as usize != length {
                    continue;
                }
                node.done = true;
                let pair = node.pair;
                let spell = || explored.spell(both, id);
                if !visit(id, pair, &spell) {
                    return Ok(explored);
                }
                both.own(pair, &mut own);
                let row = both.row_of(pair);
                let made = &both.pairs[row as usize];
                let mut left_over = Vec::new();
                let mut take = |step: Transition| match step {
                    Transition::Named(name, to) => {
                        if listed_in(&own, name) {
                            left_over.push(step);
                        } else {
                            found.push((Spelled::Listed(name), both.names.name(name).len(), to));
                        }
                    }
                    Transition::Class(class, to) => {
                        let taken = |name: &[u8]| {
                            let name = both.names.id(name);
                            name.is_some_and(|n| listed_in(&own, n) || both.lists_name(made, n))
                        };
                        if !taken(made.classes.sample(class)) {
                            let name = Spelled::Sample(row, class);
                            found.push((name, made.classes.sample(class).len(), to));
                            return;
                        }
                        match made.classes.member_outside(class, taken) {
                            Some(name) => {
                                let spelled = Spelled::Other(explored.others.len() as u32);
                                found.push((spelled, name.len(), to));
                                explored.others.push(name);
                            }
                            None => left_over.push(step),
                        }
                    }
                };
                if row as usize == pending.len() {
                    for class in 0..made.classes.count() {
                        take(Transition::Class(
                            class,
                            both.class_target(pair, row, class),
                        ));
                    }
                    both.named(made, &mut named);
                    for (name, to) in &named {
                        take(Transition::Named(*name, *to));
                    }
                    pending.push(left_over);
                } else if !pending[row as usize].is_empty() {
                    for step in std::mem::take(&mut pending[row as usize]) {
                        take(step);
                    }
                    pending[row as usize] = left_over;
                }
                found.extend(own.iter().map(|(name, to)| {
                    let length = both.names.name(*name).len();
                    (Spelled::Listed(*name), length, *to)
                }));
                for (name, bytes, to) in found.drain(..) {
                    if !goes_on(to.0) {
                        continue;
                    }
                    let longer = length + bytes + 1;
                    let fresh = explored.nodes.len() as u32;
                    let id = match seen.id(to, fresh) {
                        None => {
                            if explored.nodes.len() >= limit.states {
                                return Err(limit.exceeded());
                            }
                            explored.nodes.push(Node {
                                pair: to,
                                parent: id,
                                name,
                                length: longer as u32,
                                done: false,
                            });
                            fresh
                        }
                        Some(known) => {
                            let node = &mut explored.nodes[known as usize];
                            if node.done || node.length as usize <= longer {
                                continue;
                            }
                            node.parent = id;
                            node.name = name;
                            node.length = longer as u32;
                            known
                        }
                    };
                    if queue.len() <= longer {
                        queue.resize(longer + 1, Vec::new());
                    }
                    queue[longer].push(id);
                }
            }
            queue[length] = Vec::new();
            length += 1;
        }
        Ok(explored)
    }

    /// The automaton of both, and which two states each of its states is.
    pub(super) fn product(
        &self,
        other: &Self,
        limit: Limit,
    ) -> Result<(Shape, Vec<Pair>), TooLarge> {
        let mut both = Both::new(self, other);
        let mut ids = Pairs::new(self);
        let mut pairs = vec![(self.start(), other.start())];
        ids.id(pairs[0], 0);
        let mut number = |pair: Pair, pairs: &mut Vec<Pair>| {
            let fresh = pairs.len() as u32;
            StateId(ids.id(pair, fresh).unwrap_or_else(|| {
                pairs.push(pair);
                fresh
            }))
        };
        let mut rows: Vec<Row> = Vec::new();
        let mut row_of = Vec::new();
        let (mut own, mut own_starts) = (Vec::new(), vec![0u32]);
        let mut listed: Vec<(u32, Pair)> = Vec::new();
        let mut at = 0;
        while at < pairs.len() {
            if pairs.len() > limit.states {
                return Err(limit.exceeded());
            }
            let pair = pairs[at];
            at += 1;
            let row = both.row_of(pair);
            row_of.push(row);
            if row as usize == rows.len() {
                let made = &both.pairs[row as usize];
                let to = (0..made.classes.count())
                    .map(|class| number(both.class_target(pair, row, class), &mut pairs))
                    .collect();
                both.named(made, &mut listed);
                let named = listed
                    .iter()
                    .map(|(name, to)| (*name, number(*to, &mut pairs)))
                    .collect();
                rows.push(Row {
                    classes: Arc::clone(&made.classes),
                    to,
                    named,
                });
            }
            both.own(pair, &mut listed);
            own.extend(
                listed
                    .iter()
                    .map(|(name, to)| (*name, number(*to, &mut pairs))),
            );
            own_starts.push(own.len() as u32);
        }
        let names = if Arc::ptr_eq(&self.shape.names, &other.shape.names) {
            Arc::clone(&self.shape.names)
        } else {
            Arc::new(both.names.table())
        };
        let shape = Shape {
            domain: self.domain(),
            names,
            rows,
            row_of,
            own_starts,
            own,
            reached: OnceLock::new(),
        };
        Ok((shape, pairs))
    }
}

/// The pairs that a walk reached.
struct Explored {
    domain: Domain,
    nodes: Vec<Node>,
    /// Names that no table contains.
    others: Vec<Vec<u8>>,
}

impl Explored {
    fn name<'b>(&'b self, both: &'b Both<'_>, node: &Node) -> &'b [u8] {
        match node.name {
            Spelled::Start => &[],
            Spelled::Listed(name) => both.names.name(name),
            Spelled::Sample(row, class) => both.pairs[row as usize].classes.sample(class),
            Spelled::Other(name) => &self.others[name as usize],
        }
    }

    fn spell(&self, both: &Both<'_>, id: u32) -> Vec<u8> {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut node = &self.nodes[id as usize];
        while node.parent != NONE {
            names.push(self.name(both, node));
            node = &self.nodes[node.parent as usize];
        }
        spell(self.domain, &names)
    }
}

/// A string of names. `names` has the last one first.
fn spell(domain: Domain, names: &[&[u8]]) -> Vec<u8> {
    let length = names.iter().map(|n| n.len() + 1).sum();
    let mut out = Vec::with_capacity(length);
    for name in names.iter().rev() {
        match domain {
            Domain::Path => {
                out.push(b'/');
                out.extend_from_slice(name);
            }
            Domain::Words => {
                out.extend_from_slice(name);
                out.push(0);
            }
        }
    }
    out
}

/// A stored walk over two automata. It does not depend on labels, so it is valid for all sets that differ only in
/// labels.
#[derive(Debug)]
pub(crate) struct Walk {
    domain: Domain,
    /// The pairs of states with their nodes. Those with the shortest strings come first.
    visited: Vec<(u32, Pair)>,
    /// By node: its parent, and the end of its name in `text`. The name begins where the name of the previous node
    /// ends.
    nodes: Vec<(u32, u32)>,
    text: Vec<u8>,
}

impl Walk {
    /// The pairs of states, each with the node that [`Walk::spell`] needs. Those with the shortest strings come first.
    pub(crate) fn visited(&self) -> impl Iterator<Item = (u32, StateId, StateId)> {
        self.visited.iter().map(|(node, (a, b))| (*node, *a, *b))
    }

    /// A shortest string that leads to the pair of a node.
    pub(crate) fn spell(&self, node: u32) -> Vec<u8> {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut at = node as usize;
        while self.nodes[at].0 != NONE {
            let from = self.nodes[at - 1].1 as usize;
            names.push(&self.text[from..self.nodes[at].1 as usize]);
            at = self.nodes[at].0 as usize;
        }
        spell(self.domain, &names)
    }
}
