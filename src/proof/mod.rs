//! Whether an artifact means its policy.
//!
//! [`compare()`] compares what a reader found in an artifact ([`crate::backend::Evaluate`]) with the policy. It does so
//! for each operation, over every path, network address and system call, exactly. For every rule (and the default) that
//! decides something, it answers "equal", or gives a witness for each way in which the two differ. With the witness it
//! names the clause of the artifact that decides it. If an automaton becomes too large, the answer is "unknown", never
//! "equal".
//!
//! [`disagreements`] compares a [`Ledger`](crate::fidelity::Ledger) with that. The ledger is what the compiler claims
//! of an artifact. The comparison is what the artifact's bytes say.
//!
//! [`refused`] asks an artifact the policy's own tests: what the policy allows must work under it.
//!
//! # What is compared
//!
//! - A path is compared as a file and as a directory, if the layer tells them apart.
//! - Moving a directory away is `delete` of everything beneath it. A layer may refuse something beneath, but let the
//!   directory go. That is a difference of the rule that decides the directory.
//! - A program is compared as a layer sees it, without its arguments. If a layer loses a rule about arguments in this
//!   way, it is looser.
//! - Whom an artifact confines (programs by their paths, pods) is compared with whom the compiler's own artifact
//!   confines.
//! - Addresses are compared region by region. A region ends wherever the policy or the artifact changes its answer.

mod compare;
mod coverage;
mod ledger;
mod subject;
#[cfg(test)]
mod tests;
mod together;
mod unaccounted;
mod usable;

pub use compare::{Account, Comparison, Difference, compare, compare_unaccounted};
pub use coverage::{Cell, Coverage, Gap, Layer, Row, coverage};
pub use ledger::{Disagreement, disagreements};
pub use subject::{Bound, subjects};
pub use together::Together;
pub use usable::{Answer, Refused, answers, may_refuse, parts, refused};
