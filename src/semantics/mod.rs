//! What a policy means.

use crate::policy::Policy;

/// A policy with its decided sets, each computed once for all back-ends.
pub struct Meaning<'a> {
    policy: &'a Policy,
}

impl<'a> Meaning<'a> {
    /// Of a policy.
    #[must_use]
    pub fn new(policy: &'a Policy) -> Self {
        Self { policy }
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &'a Policy {
        self.policy
    }
}
