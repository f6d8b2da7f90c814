//! The policy's decisions, in the form that the search for covers needs.

use super::{CREATE, DELETE, EDIT, OPERATIONS};
use crate::semantics::{Decisions, Meaning, StateId, TooLarge};

/// A set of [`OPERATIONS`], one bit each.
pub(super) type Set = u8;
pub(super) const WRITES: Set = 1 << EDIT | 1 << CREATE | 1 << DELETE;

/// To make or remove something, the program needs a right on the directory, not on the object.
const BENEATH: Set = 1 << CREATE | 1 << DELETE;
/// How many levels beneath a directory are asked about.
const DEPTHS: usize = 3;

/// For each shape: the state of its automaton.
pub(super) type States = [Option<StateId>; OPERATIONS.len()];

/// Operations whose automata have the same states, so that one look-up answers for all of them.
struct Shape<'a> {
    decisions: &'a Decisions,
    /// By state: the operations that are allowed on the object.
    permits: Vec<Set>,
    /// By state: the operations that are allowed on the object and on everything beneath it.
    fine: Vec<Set>,
    /// By state: the operations for which this directory, or one beneath it, is granted whole although something in it
    /// is denied.
    hollow: Vec<Set>,
}

/// The policy's decisions for each state, for all operations at once.
pub(super) struct Decider<'a> {
    shapes: Vec<Shape<'a>>,
}

impl<'a> Decider<'a> {
    pub(super) fn new(meaning: &'a Meaning<'_>) -> Result<Self, TooLarge> {
        let mut shapes: Vec<Shape<'a>> = Vec::new();
        for (o, operation) in OPERATIONS.into_iter().enumerate() {
            let decisions = meaning.decisions(operation)?;
            let dfa = decisions.dfa();
            let known = shapes
                .iter_mut()
                .position(|s| s.decisions.dfa().same_shape(dfa));
            let at = known.unwrap_or_else(|| {
                shapes.push(Shape {
                    decisions,
                    permits: vec![0; dfa.len()],
                    fine: vec![0; dfa.len()],
                    hollow: vec![0; dfa.len()],
                });
                shapes.len() - 1
            });
            let Some(shape) = shapes.get_mut(at) else {
                continue;
            };
            for (set, state) in shape.permits.iter_mut().zip(dfa.states()) {
                *set |= Set::from(decisions.permits_state(state)) << o;
            }
            let below = dfa.all_below(|l| decisions.permits(l));
            let hollow = |s: StateId| {
                !below.get(s.index()).is_some_and(|fine| *fine) && is_wide(decisions, o, s)
            };
            let none = dfa.marked(hollow).all_below(|label| label == 0);
            for (set, none) in shape.hollow.iter_mut().zip(none) {
                *set |= Set::from(!none) << o;
            }
            for (set, fine) in shape.fine.iter_mut().zip(below) {
                *set |= Set::from(fine) << o;
            }
        }
        Ok(Self { shapes })
    }

    pub(super) fn start(&self) -> States {
        self.each(|shape, _| Some(shape.decisions.dfa().start()), &[None; 6])
    }

    fn each(
        &self,
        step: impl Fn(&Shape<'_>, Option<StateId>) -> Option<StateId>,
        from: &States,
    ) -> States {
        let mut out = [None; OPERATIONS.len()];
        for ((to, shape), from) in out.iter_mut().zip(&self.shapes).zip(from) {
            *to = step(shape, *from);
        }
        out
    }

    pub(super) fn enter(&self, states: &States, name: &[u8]) -> States {
        self.each(
            |shape, s| s.and_then(|s| shape.decisions.enter(s, name)),
            states,
        )
    }

    fn of(&self, states: &States, by_state: impl for<'s> Fn(&'s Shape<'a>) -> &'s [Set]) -> Set {
        let mut set = 0;
        for (shape, state) in self.shapes.iter().zip(states) {
            set |= state
                .and_then(|s| by_state(shape).get(s.index()))
                .copied()
                .unwrap_or(0);
        }
        set
    }

    pub(super) fn permits(&self, states: &States) -> Set {
        self.of(states, |s| &s.permits)
    }

    pub(super) fn fine(&self, states: &States) -> Set {
        self.of(states, |s| &s.fine)
    }

    pub(super) fn hollow(&self, states: &States) -> Set {
        self.of(states, |s| &s.hollow)
    }

    /// The operations for which a directory can be granted whole. They are allowed on the directory, and on every name
    /// beneath it that no rule mentions.
    pub(super) fn wide(&self, states: &States) -> Set {
        let own = self.permits(states) | BENEATH;
        (1..=DEPTHS).fold(own, |set, depth| set & self.fresh(states, depth))
    }

    /// The operations that are allowed on a name that no rule mentions, `depth` levels beneath.
    pub(super) fn fresh(&self, states: &States, depth: usize) -> Set {
        let beneath = self.each(
            |shape, s| s.and_then(|s| shape.decisions.enter_fresh(s, depth)),
            states,
        );
        self.permits(&beneath)
    }
}

/// Whether a directory of this state can be granted whole for one operation, as [`Decider::wide`] has it.
fn is_wide(decisions: &Decisions, operation: usize, state: StateId) -> bool {
    let own = BENEATH & 1 << operation != 0 || decisions.permits_state(state);
    own && (1..=DEPTHS).all(|depth| {
        let fresh = decisions.enter_fresh(state, depth);
        fresh.is_some_and(|s| decisions.permits_state(s))
    })
}
