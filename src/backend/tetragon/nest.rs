//! From a policy's decisions to trees inside trees of literal paths.

use super::lower::MAX_PATH;
use super::model::{Nest, Sees};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::policy::{Policy, Sequence};
use crate::semantics::{Decisions, LiteralTree, StateId};

/// The policy's literal paths, which filters must name.
///
/// # Errors
/// A path is not UTF-8. A TracingPolicy has only text.
pub fn literal_tree(policy: &Policy) -> Result<LiteralTree, Diagnostics> {
    let mut refused = Diagnostics {
        items: Vec::new(),
        sources: policy.sources.clone(),
    };
    for rule in &policy.rules {
        let not_text = |s: &&Sequence| std::str::from_utf8(&s.literal_prefix()).is_err();
        if let Some(sequence) = rule.sequences().into_iter().find(not_text) {
            let message = format!(
                "the rule `{}` names `{}`, which is not UTF-8, and a TracingPolicy takes only text",
                rule.name,
                crate::fidelity::show_bytes(&sequence.literal_prefix())
            );
            refused.items.push(
                Diagnostic::error("E110", message)
                    .at(rule.span, "in this rule")
                    .help("leave the target `tetragon` out, or name a directory above it"),
            );
        }
    }
    if refused.items.is_empty() {
        Ok(LiteralTree::of(policy, MAX_PATH, true))
    } else {
        Err(refused)
    }
}

/// The policy's literal paths, and the states that they lead to.
pub struct Literals<'t, 'm> {
    tree: &'t LiteralTree,
    /// By node: its parent, and its name.
    above: Vec<(usize, &'t [u8])>,
    /// By automaton (decisions may share one): the state of each node.
    states: Vec<(&'m Decisions, Vec<Option<StateId>>)>,
}

impl<'t, 'm> Literals<'t, 'm> {
    pub fn new(tree: &'t LiteralTree) -> Self {
        let mut above: Vec<(usize, &[u8])> = vec![(tree.root(), b""); tree.len()];
        for node in 0..tree.len() {
            for (name, child) in tree.children(node) {
                above[child] = (node, name);
            }
        }
        Self {
            tree,
            above,
            states: Vec::new(),
        }
    }

    /// The path of a node, without a last `/`.
    fn path(&self, node: usize) -> Vec<u8> {
        let mut names = Vec::new();
        let mut at = node;
        while at != self.tree.root() {
            let (above, name) = self.above[at];
            names.push(name);
            at = above;
        }
        let mut out = Vec::new();
        for name in names.into_iter().rev() {
            out.push(b'/');
            out.extend_from_slice(name);
        }
        out
    }

    /// The index of the list of states for these decisions.
    fn states_of(&mut self, decisions: &'m Decisions) -> usize {
        let same = |(d, _): &(&Decisions, _)| d.dfa().same_shape(decisions.dfa());
        self.states.iter().position(same).unwrap_or_else(|| {
            self.states.push((decisions, self.tree.states(decisions)));
            self.states.len() - 1
        })
    }

    /// What is denied: the objects on which one of `all` does not allow. Beneath a literal path, the answer is the one
    /// for names that the policy does not mention. If that depends on the depth, the answer is deny.
    pub fn nest(&mut self, all: &[&'m Decisions], sees: Sees) -> Nest {
        let all: Vec<(&Decisions, usize)> = all.iter().map(|d| (*d, self.states_of(d))).collect();
        let tree = self.tree;
        let ask = |node: usize, depth| {
            all.iter().all(|(d, states)| {
                self.states[*states].1[node]
                    .and_then(|s| d.enter_fresh(s, depth))
                    .is_some_and(|s| d.permits_state(s))
            })
        };
        let above = if sees == Sees::Parent { 1 } else { 0 };
        let beneath = |node| ask(node, above + 1) && ask(node, above + 2);
        let mut nest = Nest {
            denied: !beneath(tree.root()),
            ..Nest::default()
        };
        // (Node, the number of trees around it.)
        let mut work = vec![(tree.root(), 0usize)];
        while let Some((node, depth)) = work.pop() {
            let around_denied = nest.denied == (depth % 2 == 0);
            let mut inside = depth;
            if node != tree.root() {
                if ask(node, above) == around_denied {
                    if around_denied {
                        at_depth(&mut nest.allowed_objects, depth).push(self.path(node));
                    } else {
                        nest.denied_objects.push(self.path(node));
                    }
                }
                if beneath(node) == around_denied {
                    at_depth(&mut nest.levels, depth).push(self.path(node));
                    inside += 1;
                }
            }
            work.extend(tree.children(node).rev().map(|(_, child)| (child, inside)));
        }
        nest
    }
}

fn at_depth(levels: &mut Vec<Vec<Vec<u8>>>, depth: usize) -> &mut Vec<Vec<u8>> {
    if levels.len() <= depth {
        levels.resize(depth + 1, Vec::new());
    }
    &mut levels[depth]
}
