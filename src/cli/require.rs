//! `--require`, which `coverage`, `enforce` and `run` have.

use polc::fidelity::Requirement;

/// How close layers must come to the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Require {
    /// Equal to the policy
    Exact,
    /// Nothing that the policy denies gets through
    Safe,
}

impl From<Require> for Requirement {
    fn from(r: Require) -> Self {
        match r {
            Require::Exact => Self::Exact,
            Require::Safe => Self::Safe,
        }
    }
}

/// Whether what was required, if anything was, is met.
pub fn is_met(required: Option<Require>, exact: bool, safe: bool) -> bool {
    required.is_none_or(|r| Requirement::from(r).is_met(exact, safe))
}
