//! A policy with its decided sets.

use super::automaton::{Limit, TooLarge};
use super::decisions::{Decisions, relevant};
use super::hosts::HostSpace;
use crate::policy::{Operation, Policy};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Decisions by the rules that they were made from, so that operations with the same rules share them.
type Shared = Vec<(Vec<crate::policy::RuleId>, Result<Arc<Decisions>, TooLarge>)>;

/// A policy with its decided sets, each computed once, for all back-ends.
pub struct Meaning<'a> {
    policy: &'a Policy,
    limit: Limit,
    shared: Mutex<Shared>,
    decisions: [OnceLock<Result<Arc<Decisions>, TooLarge>>; Operation::ALL.len()],
    hosts: [OnceLock<HostSpace>; 2],
}

impl<'a> Meaning<'a> {
    /// Of a policy.
    #[must_use]
    pub fn new(policy: &'a Policy) -> Self {
        Self::with_limit(policy, Limit::default())
    }

    /// Of a policy, with another cap on automata.
    #[must_use]
    pub fn with_limit(policy: &'a Policy, limit: Limit) -> Self {
        Self {
            policy,
            limit,
            shared: Mutex::new(Vec::new()),
            decisions: std::array::from_fn(|_| OnceLock::new()),
            hosts: [OnceLock::new(), OnceLock::new()],
        }
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &'a Policy {
        self.policy
    }

    /// The decisions of an operation on paths.
    ///
    /// # Errors
    /// The automaton is too large.
    pub fn decisions(&self, operation: Operation) -> Result<&Decisions, TooLarge> {
        let made = self.decisions[operation as usize].get_or_init(|| {
            let rules = relevant(self.policy, operation);
            // Programs are decided with commands in mind; nothing else shares their automaton.
            let sharable = operation != Operation::Execute;
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            if sharable && let Some((_, found)) = shared.iter().find(|(r, _)| *r == rules) {
                return found.clone();
            }
            let made = Decisions::new(self.policy, operation, self.limit).map(Arc::new);
            if sharable {
                shared.push((rules, made.clone()));
            }
            made
        });
        match made {
            Ok(d) => Ok(d),
            Err(e) => Err(*e),
        }
    }

    /// The regions of network addresses for `bind`, or for `connect` (any other operation).
    #[must_use]
    pub fn hosts(&self, operation: Operation) -> &HostSpace {
        let (slot, operation) = if operation == Operation::Bind {
            (1, Operation::Bind)
        } else {
            (0, Operation::Connect)
        };
        self.hosts[slot].get_or_init(|| HostSpace::new(self.policy, operation))
    }
}
