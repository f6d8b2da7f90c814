//! `--require`: `enforce` and `run` take [`Require`]; what looks at artifacts takes [`Demand`], several of them.

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

/// What artifacts must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Demand {
    /// Equal to the policy
    Exact,
    /// Nothing that the policy denies gets through
    Safe,
    /// Everything works that the `allow` tests of the policy name
    Usable,
}

impl Demand {
    /// The word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Safe => "safe",
            Self::Usable => "usable",
        }
    }
}

/// How artifacts are.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    pub exact: bool,
    pub safe: bool,
    pub usable: bool,
}

impl Found {
    /// The first demand that is not met.
    pub fn falls_short(self, demands: &[Demand]) -> Option<Demand> {
        let met = |d: &Demand| match d {
            Demand::Exact => Requirement::Exact.is_met(self.exact, self.safe),
            Demand::Safe => Requirement::Safe.is_met(self.exact, self.safe),
            Demand::Usable => self.usable,
        };
        demands.iter().copied().find(|d| !met(d))
    }
}

/// Whether what was required, if anything was, is met.
pub fn is_met(required: Option<Require>, exact: bool, safe: bool) -> bool {
    required.is_none_or(|r| Requirement::from(r).is_met(exact, safe))
}
