//! The automaton.

use super::names::{NameClasses, NameTable};
use super::{Domain, Limit, StateId, TooLarge};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What many states share: where names lead.
#[derive(Debug)]
pub(super) struct Row {
    /// The classes of the names that are not listed.
    pub(super) classes: Arc<NameClasses>,
    /// By class.
    pub(super) to: Vec<StateId>,
    /// The listed names, ascending.
    pub(super) named: Vec<(u32, StateId)>,
}

/// States and transitions, shared by automata that differ in their labels.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) domain: Domain,
    pub(super) names: Arc<NameTable>,
    pub(super) rows: Vec<Row>,
    /// By state.
    pub(super) row_of: Vec<u32>,
    /// Where each state's part of `own` begins. It has one entry more than there are states.
    pub(super) own_starts: Vec<u32>,
    /// The names for which a state differs from its row, ascending.
    pub(super) own: Vec<(u32, StateId)>,
    /// Computed on first use.
    pub(super) reached: OnceLock<Reached>,
}

/// The edges of [`Shape::edges`] backwards: for each node, the nodes that lead to it. All are in one array.
#[derive(Debug)]
pub(super) struct Reached {
    /// Where each node's part of `from` begins. It has one entry more than there are nodes.
    starts: Vec<u32>,
    from: Vec<u32>,
}

impl Reached {
    fn new(nodes: usize, edges: &[(u32, u32)]) -> Self {
        let mut starts = vec![0u32; nodes + 1];
        for (_, to) in edges {
            starts[*to as usize + 1] += 1;
        }
        for i in 0..nodes {
            starts[i + 1] += starts[i];
        }
        let mut from = vec![0u32; edges.len()];
        let mut fill = starts.clone();
        for (source, to) in edges {
            let slot = &mut fill[*to as usize];
            from[*slot as usize] = *source;
            *slot += 1;
        }
        Self { starts, from }
    }

    fn nodes(&self) -> usize {
        self.starts.len() - 1
    }

    /// The nodes that lead to a node.
    fn of(&self, node: u32) -> &[u32] {
        let at = node as usize;
        &self.from[self.starts[at] as usize..self.starts[at + 1] as usize]
    }

    /// Marks every node from which one of these nodes can be reached.
    fn spread(&self, mut work: Vec<u32>, marked: &mut [bool]) {
        let mut seen = vec![false; self.nodes()];
        while let Some(node) = work.pop() {
            if std::mem::replace(&mut seen[node as usize], true) {
                continue;
            }
            for from in self.of(node) {
                if !std::mem::replace(&mut marked[*from as usize], true) {
                    work.push(*from);
                }
            }
        }
    }
}

/// Where a list that is sorted by name says that this name leads.
pub(super) fn listed(list: &[(u32, StateId)], name: u32) -> Option<StateId> {
    let at = list.binary_search_by_key(&name, |(n, _)| *n).ok()?;
    Some(list[at].1)
}

impl Shape {
    pub(super) fn own(&self, state: StateId) -> &[(u32, StateId)] {
        let s = state.index();
        &self.own[self.own_starts[s] as usize..self.own_starts[s + 1] as usize]
    }

    pub(super) fn row(&self, state: StateId) -> &Row {
        &self.rows[self.row_of[state.index()] as usize]
    }

    /// The classes of a row that have a member which neither the row nor `own` lists.
    fn open_classes(&self, row: &Row, own: &[(u32, StateId)]) -> Vec<StateId> {
        let taken = |name: &[u8]| {
            let id = self.names.id(name);
            id.is_some_and(|n| listed(&row.named, n).is_some() || listed(own, n).is_some())
        };
        (0..row.classes.count())
            .filter(|class| {
                let sample = row.classes.sample(*class);
                !taken(sample) || row.classes.member_outside(*class, taken).is_some()
            })
            .map(|class| row.to[class as usize])
            .collect()
    }

    fn reached(&self) -> &Reached {
        let nodes = self.row_of.len() + self.rows.len();
        self.reached
            .get_or_init(|| Reached::new(nodes, &self.edges()))
    }

    /// All edges. The nodes are the states, followed by the rows. A state that does not change its row leads to the
    /// row, and the row leads on.
    fn edges(&self) -> Vec<(u32, u32)> {
        let n = self.row_of.len();
        let mut edges: Vec<(u32, u32)> = Vec::new();
        let mut samples: Vec<Vec<u32>> = Vec::with_capacity(self.rows.len());
        for (r, row) in self.rows.iter().enumerate() {
            let from = (n + r) as u32;
            edges.extend(row.named.iter().map(|(_, to)| (from, to.0)));
            edges.extend(self.open_classes(row, &[]).iter().map(|to| (from, to.0)));
            let classes = 0..row.classes.count();
            let mut ids: Vec<u32> = classes
                .filter_map(|c| self.names.id(row.classes.sample(c)))
                .collect();
            ids.sort_unstable();
            samples.push(ids);
        }
        for s in (0..n as u32).map(StateId) {
            let (own, r) = (self.own(s), self.row_of[s.index()] as usize);
            edges.extend(own.iter().map(|(_, to)| (s.0, to.0)));
            let row = &self.rows[r];
            if self.inherits(row, &samples[r], own) {
                edges.push((s.0, (n + r) as u32));
                continue;
            }
            let rest = row
                .named
                .iter()
                .filter(|(name, _)| listed(own, *name).is_none());
            edges.extend(rest.map(|(_, to)| (s.0, to.0)));
            edges.extend(self.open_classes(row, own).iter().map(|to| (s.0, to.0)));
        }
        edges
    }

    /// Whether a state's own names change nothing that its row says.
    fn inherits(&self, row: &Row, samples: &[u32], own: &[(u32, StateId)]) -> bool {
        let touched = |(n, _): &(u32, StateId)| {
            listed(&row.named, *n).is_some() || samples.binary_search(n).is_ok()
        };
        !own.iter().any(touched)
    }
}

/// The combination of two automata, whatever their labels are.
#[derive(Debug)]
pub(super) struct Product {
    shape: Arc<Shape>,
    /// By state: the pair of states that it stands for.
    pairs: Vec<(StateId, StateId)>,
}

impl Product {
    fn of(left: &Dfa, right: &Dfa) -> Result<Self, TooLarge> {
        let (shape, pairs) = left.product(right, Limit::default())?;
        Ok(Self {
            shape: Arc::new(shape),
            pairs,
        })
    }

    /// The automaton with labels combined from two automata. They must have the shapes that the product was made from.
    fn labelled(&self, left: &Dfa, right: &Dfa, f: impl Fn(u32, u32) -> u32) -> Dfa {
        let pairs = self.pairs.iter();
        Dfa {
            shape: Arc::clone(&self.shape),
            labels: pairs
                .map(|(a, b)| f(left.label(*a), right.label(*b)))
                .collect(),
        }
    }
}

/// Two automata and their product. The first caller that needs the product computes it.
type Known = (Dfa, Dfa, Arc<OnceLock<Result<Product, TooLarge>>>);

/// Products of automata, each computed once. This helps callers that join many sets with few shapes.
#[derive(Debug, Default)]
pub(crate) struct Products(Mutex<Vec<Known>>);

impl Products {
    /// Like [`Dfa::zip`].
    pub(crate) fn zip(
        &self,
        left: &Dfa,
        right: &Dfa,
        f: impl Fn(u32, u32) -> u32,
    ) -> Result<Dfa, TooLarge> {
        // An automaton with one label for all paths does not change the shape.
        if let Some(label) = left.only_label() {
            return Ok(right.relabelled(|b| f(label, b)));
        }
        if let Some(label) = right.only_label() {
            return Ok(left.relabelled(|a| f(a, label)));
        }
        if left.same_shape(right) {
            return left.zip(right, f);
        }
        let both = {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let same = |(a, b, _): &&Known| a.same_shape(left) && b.same_shape(right);
            match known.iter().find(same) {
                Some((_, _, both)) => Arc::clone(both),
                None => {
                    let both = Arc::default();
                    known.push((left.clone(), right.clone(), Arc::clone(&both)));
                    both
                }
            }
        };
        match both.get_or_init(|| Product::of(left, right)) {
            Ok(both) => Ok(both.labelled(left, right, f)),
            Err(e) => Err(*e),
        }
    }
}

/// A deterministic automaton. Every state has a label, which is the label of the strings that lead to it.
#[derive(Debug, Clone)]
pub struct Dfa {
    pub(super) shape: Arc<Shape>,
    /// Shared by copies.
    labels: Arc<[u32]>,
}

impl Dfa {
    /// A label for each state.
    pub(super) fn new(shape: Shape, labels: Vec<u32>) -> Self {
        Self {
            shape: Arc::new(shape),
            labels: labels.into(),
        }
    }

    /// The same states with other labels.
    pub(crate) fn relabelled(&self, f: impl Fn(u32) -> u32) -> Self {
        Self {
            shape: Arc::clone(&self.shape),
            labels: self.labels.iter().map(|l| f(*l)).collect(),
        }
    }

    /// Whether both have the same states and transitions, so that only their labels differ.
    #[must_use]
    pub fn same_shape(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shape, &other.shape)
    }

    /// The product of both, with labels combined from theirs.
    pub(crate) fn zip(&self, other: &Self, f: impl Fn(u32, u32) -> u32) -> Result<Self, TooLarge> {
        if !self.same_shape(other) {
            return Ok(Product::of(self, other)?.labelled(self, other, f));
        }
        let labels = self.labels.iter().zip(&*other.labels);
        Ok(Self {
            shape: Arc::clone(&self.shape),
            labels: labels.map(|(a, b)| f(*a, *b)).collect(),
        })
    }

    /// The label that all states have.
    fn only_label(&self) -> Option<u32> {
        let (first, rest) = self.labels.split_first()?;
        rest.iter().all(|l| l == first).then_some(*first)
    }

    /// The start: the root of the file system. No name leads back to it.
    #[must_use]
    pub fn start(&self) -> StateId {
        StateId(0)
    }

    /// How many states there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Always false: the start is a state.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// All states. Some may be unreachable.
    pub fn states(&self) -> impl Iterator<Item = StateId> + use<> {
        (0..self.labels.len() as u32).map(StateId)
    }

    /// Where one more name leads; `None`: no path has such a name.
    #[must_use]
    pub fn enter(&self, state: StateId, name: &[u8]) -> Option<StateId> {
        let row = self.shape.row(state);
        let known =
            self.shape.names.id(name).and_then(|id| {
                listed(self.shape.own(state), id).or_else(|| listed(&row.named, id))
            });
        known.or_else(|| self.enter_unlisted(state, name))
    }

    /// Where a name leads that no pattern spells out. `None`: no path has such a name.
    #[must_use]
    pub fn enter_unlisted(&self, state: StateId, name: &[u8]) -> Option<StateId> {
        let row = self.shape.row(state);
        Some(row.to[row.classes.class_of(name)? as usize])
    }

    /// Where names lead that no pattern spells out. Some of these states may have no such name.
    #[must_use]
    pub fn unlisted(&self, state: StateId) -> &[StateId] {
        &self.shape.row(state).to
    }

    /// The names that a pattern spells out and that may lead to a state of their own, with that state.
    pub fn spelled_out(&self, state: StateId) -> impl Iterator<Item = (&[u8], StateId)> {
        let (own, row) = (self.shape.own(state), self.shape.row(state));
        let rest = row.named.iter();
        own.iter()
            .chain(rest.filter(|(name, _)| listed(own, *name).is_none()))
            .map(|(name, to)| (self.shape.names.name(*name), *to))
    }

    /// Where a path in canonical form leads from the start. `None`: the path is not canonical.
    #[must_use]
    pub fn run(&self, path: &[u8]) -> Option<StateId> {
        if path == b"/" || path.is_empty() {
            return Some(self.start());
        }
        let names = path.strip_prefix(b"/")?.split(|b| *b == b'/');
        names
            .into_iter()
            .try_fold(self.start(), |state, name| self.enter(state, name))
    }

    /// The label.
    #[must_use]
    pub fn label(&self, state: StateId) -> u32 {
        self.labels[state.index()]
    }

    /// The label of a path. `None`: the path is not in canonical form.
    #[must_use]
    pub fn label_of(&self, path: &[u8]) -> Option<u32> {
        self.run(path).map(|s| self.label(s))
    }

    /// The same states, with label 1 where `holds` is true, else 0.
    pub(crate) fn marked(&self, holds: impl Fn(StateId) -> bool) -> Self {
        Self {
            shape: Arc::clone(&self.shape),
            labels: self.states().map(|s| u32::from(holds(s))).collect(),
        }
    }

    /// For each state: whether `good` is true for the label of every string that ends here or beneath.
    #[must_use]
    pub fn all_below(&self, good: impl Fn(u32) -> bool) -> Vec<bool> {
        let mut below = self.all_beneath(&good);
        for (below, label) in below.iter_mut().zip(&*self.labels) {
            *below &= good(*label);
        }
        below
    }

    /// For each state: whether `good` is true for the label of every string that ends beneath it.
    #[must_use]
    pub fn all_beneath(&self, good: impl Fn(u32) -> bool) -> Vec<bool> {
        let n = self.len();
        let reached = self.shape.reached();
        let bad = (0..n as u32).filter(|s| !good(self.labels[*s as usize]));
        let mut spoilt = vec![false; reached.nodes()];
        reached.spread(bad.collect(), &mut spoilt);
        spoilt.iter().take(n).map(|spoilt| !spoilt).collect()
    }

    /// The same automaton, with one state per label for all states beneath which only their own label occurs. A union
    /// of many trees has one such state for each tree. In a product, each of them would be paired with each such state
    /// of the other automaton. Afterwards, some states may be unreachable.
    pub(super) fn settled(mut self) -> Self {
        let (edges, states) = (self.shape.edges(), self.len());
        // A row gets the label of the first state that it leads to.
        let mut label: Vec<Option<u32>> = self.labels.iter().map(|l| Some(*l)).collect();
        label.resize(states + self.shape.rows.len(), None);
        for (from, to) in &edges {
            label[*from as usize] = label[*from as usize].or(label[*to as usize]);
        }
        let mut mixed = vec![false; label.len()];
        for (from, to) in &edges {
            mixed[*from as usize] |= label[*from as usize] != label[*to as usize];
        }
        let nodes = 0..mixed.len() as u32;
        let own = nodes.filter(|node| mixed[*node as usize]).collect();
        Reached::new(mixed.len(), &edges).spread(own, &mut mixed);
        let mut settled: FxHashMap<u32, StateId> = FxHashMap::default();
        let stands_for: Vec<StateId> = self
            .states()
            .map(|s| match mixed[s.index()] || s == self.start() {
                // No name leads back to the start.
                true => s,
                false => *settled.entry(self.label(s)).or_insert(s),
            })
            .collect();
        if let Some(shape) = Arc::get_mut(&mut self.shape) {
            let put = |to: &mut StateId| *to = stands_for[to.index()];
            for row in &mut shape.rows {
                row.to.iter_mut().for_each(put);
                row.named.iter_mut().for_each(|(_, to)| put(to));
            }
            shape.own.iter_mut().for_each(|(_, to)| put(to));
        }
        self
    }

    /// The labels of the states that some string leads to.
    #[must_use]
    pub fn labels_in_use(&self) -> BTreeSet<u32> {
        let mut edges = self.shape.edges();
        edges.sort_unstable();
        let mut seen = vec![false; self.len() + self.shape.rows.len()];
        let mut work = vec![self.start().0];
        let mut out = BTreeSet::new();
        while let Some(node) = work.pop() {
            if std::mem::replace(&mut seen[node as usize], true) {
                continue;
            }
            out.extend(self.labels.get(node as usize));
            let first = edges.partition_point(|(from, _)| *from < node);
            let transitions = edges[first..].iter().take_while(|(from, _)| *from == node);
            work.extend(transitions.map(|(_, to)| *to));
        }
        out
    }

    pub(super) fn domain(&self) -> Domain {
        self.shape.domain
    }
}
