//! Whether an artifact means its policy.
//!
//! [`compare()`] holds what a reader found in an artifact ([`crate::backend::Evaluate`]) against the policy:
//! for each operation over every path, network address and system call there is, exactly. For every rule
//! (and the default) that decides something it answers equal, or gives a witness for each way in
//! which the two differ, with the clause of the artifact that decides it. Past the cap on automata the
//! answer is unknown, never equal.
//!
//! [`disagreements`] holds a [`Ledger`](crate::fidelity::Ledger) against that: the ledger is what the compiler claims of an artifact,
//! the comparison is what the artifact's bytes say.
//!
//! # What is compared
//!
//! - A path is compared as a file and as a directory where the layer tells them apart.
//! - Moving a directory away is `delete` of everything beneath it. A layer that refuses something beneath
//!   but lets the directory go lets it out: that is a difference of the rule that decides the directory.
//! - A program is compared as a layer sees it, without its arguments; a rule about arguments that it
//!   loses so is looser.
//! - Whom an artifact confines (programs by their paths, pods) is compared with whom the compiler's own does.
//! - Addresses are compared region by region, split wherever the policy or the artifact changes its answer.

mod compare;
mod coverage;
mod ledger;
mod subject;
#[cfg(test)]
mod tests;
mod together;
mod unaccounted;

pub use compare::{Account, Comparison, Difference, compare, compare_unaccounted};
pub use coverage::{Cell, Coverage, Gap, Layer, Row, coverage};
pub use ledger::{Disagreement, disagreements};
pub use subject::{Bound, subjects};
pub use together::Together;
