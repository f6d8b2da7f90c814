//! `--require`, which `coverage`, `enforce` and `run` have.

use polc::fidelity::Demand;

/// How close layers must come to the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Require {
    /// Equal to the policy
    Exact,
    /// Nothing gets through that the policy denies
    Safe,
}

impl From<Require> for Demand {
    fn from(r: Require) -> Self {
        match r {
            Require::Exact => Self::Exact,
            Require::Safe => Self::Safe,
        }
    }
}

/// Whether what was demanded, if anything was, is met.
pub fn is_met(demanded: Option<Require>, exact: bool, safe: bool) -> bool {
    demanded.is_none_or(|r| Demand::from(r).is_met(exact, safe))
}
