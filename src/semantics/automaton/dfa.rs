//! The automaton.

use super::StateId;
use std::sync::Arc;

/// States and transitions, shared by automata that differ in their labels.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) offsets: Vec<u32>,
    pub(super) ranges: Vec<(u8, u8, StateId)>,
    pub(super) accepting: Vec<bool>,
}

impl Shape {
    /// Without any state.
    pub(super) fn empty() -> Self {
        Self {
            offsets: vec![0],
            ranges: Vec::new(),
            accepting: Vec::new(),
        }
    }
}

/// A deterministic automaton. Every state has a label; it counts where the string may end.
#[derive(Debug, Clone)]
pub struct Dfa {
    shape: Arc<Shape>,
    labels: Vec<u32>,
}

impl Dfa {
    /// A label for each state.
    pub(super) fn new(shape: Shape, labels: Vec<u32>) -> Self {
        Self {
            shape: Arc::new(shape),
            labels,
        }
    }

    /// The same states with other labels.
    pub(crate) fn relabelled(&self, f: impl Fn(u32) -> u32) -> Self {
        let labels = self.labels.iter().zip(&self.shape.accepting);
        Self {
            shape: Arc::clone(&self.shape),
            labels: labels
                .map(|(l, ends)| if *ends { f(*l) } else { 0 })
                .collect(),
        }
    }

    /// The start: the root of the file system.
    #[must_use]
    pub fn start(&self) -> StateId {
        StateId(0)
    }

    /// How many states there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Never: the start is a state.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// All states.
    pub fn states(&self) -> impl Iterator<Item = StateId> + use<> {
        (0..self.labels.len() as u32).map(StateId)
    }

    /// The transitions of a state: byte ranges (both ends included), ascending, disjoint. A byte in
    /// none of them cannot follow in any path.
    #[must_use]
    pub fn transitions(&self, state: StateId) -> &[(u8, u8, StateId)] {
        let s = state.0 as usize;
        &self.shape.ranges[self.shape.offsets[s] as usize..self.shape.offsets[s + 1] as usize]
    }

    /// One step; `None` where no path goes on so.
    #[must_use]
    pub fn step(&self, state: StateId, byte: u8) -> Option<StateId> {
        let ranges = self.transitions(state);
        let i = ranges.partition_point(|r| r.1 < byte);
        ranges.get(i).filter(|r| r.0 <= byte).map(|r| r.2)
    }

    /// Where a path (its bytes; `/` is the root) leads from the start.
    #[must_use]
    pub fn run(&self, path: &[u8]) -> Option<StateId> {
        let path = if path == b"/" { b"" } else { path };
        path.iter().try_fold(self.start(), |s, b| self.step(s, *b))
    }

    /// Whether a string may end here.
    #[must_use]
    pub fn is_path(&self, state: StateId) -> bool {
        self.shape.accepting[state.0 as usize]
    }

    /// The label; it means something where [`Dfa::is_path`] holds.
    #[must_use]
    pub fn label(&self, state: StateId) -> u32 {
        self.labels[state.0 as usize]
    }

    /// The label of a path; `None` where it is not a path in canonical form.
    #[must_use]
    pub fn label_of(&self, path: &[u8]) -> Option<u32> {
        self.run(path)
            .filter(|s| self.is_path(*s))
            .map(|s| self.label(s))
    }

    /// Labels each state 1 where `holds` holds of it, else 0.
    pub(crate) fn mark(&mut self, holds: impl Fn(StateId) -> bool) {
        for s in self.states() {
            let label = self.is_path(s) && holds(s);
            self.labels[s.index()] = u32::from(label);
        }
    }

    /// For each state: whether every string that ends here or beyond has a label that `good` holds of.
    #[must_use]
    pub fn all_below(&self, good: impl Fn(u32) -> bool) -> Vec<bool> {
        let n = self.len();
        // Reverse edges in one array, so that a large automaton costs two allocations.
        let mut starts = vec![0u32; n + 1];
        for r in &self.shape.ranges {
            starts[r.2.0 as usize + 1] += 1;
        }
        for i in 0..n {
            starts[i + 1] += starts[i];
        }
        let mut sources = vec![0u32; self.shape.ranges.len()];
        let mut fill = starts.clone();
        for s in self.states() {
            for r in self.transitions(s) {
                let slot = &mut fill[r.2.0 as usize];
                sources[*slot as usize] = s.0;
                *slot += 1;
            }
        }
        let mut ok = vec![true; n];
        let mut work: Vec<u32> = Vec::new();
        for s in self.states() {
            if self.is_path(s) && !good(self.label(s)) {
                ok[s.0 as usize] = false;
                work.push(s.0);
            }
        }
        while let Some(s) = work.pop() {
            for &p in &sources[starts[s as usize] as usize..starts[s as usize + 1] as usize] {
                if std::mem::replace(&mut ok[p as usize], false) {
                    work.push(p);
                }
            }
        }
        ok
    }
}
