//! The literal paths that a policy's patterns begin with, as a tree of names.
//!
//! Landlock and Tetragon know trees and objects by their literal paths. Their back-ends lower from this tree. At each
//! node, the decided sets say what is true for the object itself, and for names beneath it that the policy does not
//! mention.

use super::automaton::StateId;
use super::decisions::Decisions;
use crate::policy::{Component, Policy, Rule};
use rustc_hash::FxHashMap;

/// The children of a node, ascending by name.
type Children = Vec<(Box<[u8]>, usize)>;

/// Every literal path that the policy's patterns begin with.
#[derive(Debug)]
pub struct LiteralTree {
    nodes: Vec<Children>,
    /// Whether a path was too long and is not in the tree.
    pub too_long: bool,
}

/// The existing nodes, by parent and name.
type Known<'p> = FxHashMap<(usize, &'p [u8]), usize>;

impl LiteralTree {
    /// The paths of all rules on paths and programs. It leaves out paths longer than `longest`. With `shallow`,
    /// `/w/**/x` also counts as `/w/x`, its only case with a literal path.
    #[must_use]
    pub fn of(policy: &Policy, longest: usize, shallow: bool) -> Self {
        let mut tree = Self {
            nodes: vec![Vec::new()],
            too_long: false,
        };
        let mut known = Known::default();
        for sequence in policy.rules.iter().flat_map(Rule::sequences) {
            tree.insert(&mut known, sequence.literal_names(), longest);
            let literal_start = sequence
                .components
                .first()
                .is_some_and(|c| c.literal().is_some());
            if shallow
                && literal_start
                && sequence
                    .components
                    .iter()
                    .rev()
                    .skip(1)
                    .any(|c| *c == Component::AnyDepth)
            {
                let names = sequence.components.iter();
                let names = names.filter(|c| **c != Component::AnyDepth);
                tree.insert(&mut known, names.map_while(Component::literal), longest);
            }
        }
        for children in &mut tree.nodes {
            children.sort_unstable();
        }
        tree
    }

    fn insert<'p>(
        &mut self,
        known: &mut Known<'p>,
        path: impl Iterator<Item = &'p [u8]>,
        longest: usize,
    ) {
        let mut at = 0;
        let mut length = 1;
        for name in path {
            length += name.len() + 1;
            if length > longest {
                self.too_long = true;
                return;
            }
            at = *known.entry((at, name)).or_insert_with(|| {
                let next = self.nodes.len();
                self.nodes[at].push((name.into(), next));
                self.nodes.push(Vec::new());
                next
            });
        }
    }

    /// The root's number.
    #[must_use]
    pub fn root(&self) -> usize {
        0
    }

    /// How many nodes there are. They are numbered from 0, and a parent comes before its children.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Always false: the root is a node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The children of a node, by name.
    pub fn children(&self, node: usize) -> impl DoubleEndedIterator<Item = (&[u8], usize)> {
        self.nodes[node]
            .iter()
            .map(|(name, child)| (&**name, *child))
    }

    /// The state of each node's path. `None`: no path has such a name.
    #[must_use]
    pub fn states(&self, decisions: &Decisions) -> Vec<Option<StateId>> {
        let mut out = vec![None; self.len()];
        out[self.root()] = Some(decisions.dfa().start());
        for node in 0..self.len() {
            let Some(state) = out[node] else { continue };
            for (name, child) in self.children(node) {
                out[child] = decisions.enter(state, name);
            }
        }
        out
    }

    /// The child with this name.
    #[must_use]
    pub fn child(&self, node: usize, name: &[u8]) -> Option<usize> {
        let children = &self.nodes[node];
        let at = children.binary_search_by(|(n, _)| (**n).cmp(name)).ok()?;
        Some(children[at].1)
    }
}

impl Decisions {
    /// The state of a child, by its name.
    #[must_use]
    pub fn enter(&self, state: StateId, name: &[u8]) -> Option<StateId> {
        self.dfa().enter(state, name)
    }

    /// Whether the object of this state is permitted.
    #[must_use]
    pub fn permits_state(&self, state: StateId) -> bool {
        self.permits(self.dfa().label(state))
    }

    /// The state `depth` levels beneath this one, by names that no policy mentions.
    #[must_use]
    pub fn enter_fresh(&self, state: StateId, depth: usize) -> Option<StateId> {
        (0..depth).try_fold(state, |s, _| self.fresh(s))
    }
}
