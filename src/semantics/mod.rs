//! What a policy means.
//!
//! - [`decide`] is the reference: slow and simple.
//! - [`Meaning`] is a policy with its decided sets, each computed once for all back-ends.
//! - [`Decisions`] says, for one operation, which rule decides each path, as an automaton.
//! - [`PathSet`] is a set of paths with exact union, difference, inclusion, equality, emptiness and a
//!   shortest witness.
//! - [`CommandLabel`] says what a layer decides about commands if it sees the program but not its arguments.
//! - [`HostSpace`] splits network addresses into the regions that a policy tells apart.
//! - [`LedgerBuilder`] compares what a layer allows with what the policy allows.
//!
//! Automata have a size limit ([`Limit`]). Beyond it the answer is [`TooLarge`], never a guess.

mod automaton;
mod commands;
mod decisions;
mod family;
mod hosts;
mod intersects;
mod ledger;
mod literals;
mod meaning;
mod pathset;
mod reference;
mod steps;
#[cfg(test)]
mod tests;

pub use automaton::{ByteCursor, Dfa, Limit, StateId, Step, TooLarge};
pub use commands::{ArgumentCase, CommandLabel, compare_arguments};
pub use decisions::{Decisions, Verdict, Walks};
pub use family::{Classified, Pattern, PatternForm, classified};
pub use hosts::{HostRegion, HostSpace, Peers};
pub use intersects::{SequenceIndex, intersects};
pub use ledger::{LedgerBuilder, Reason};
pub use literals::LiteralTree;
pub use meaning::Meaning;
pub use pathset::{Case, Joins, PathSet};
pub(crate) use reference::matches_tokens;
pub use reference::{
    Decision, decide, decide_query, matches_command, matches_path, matches_word, rule_matches,
};
pub use steps::{StepsIndex, steps_match};

impl From<TooLarge> for crate::diagnostics::Diagnostics {
    fn from(e: TooLarge) -> Self {
        crate::diagnostics::Diagnostic::error("E101", e.to_string())
            .help("patterns with several `**` or `*` in the middle multiply: write them from the root, or split the policy")
            .into()
    }
}
