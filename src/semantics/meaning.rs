//! A policy with its decided sets.

use super::automaton::{Limit, TooLarge};
use super::decisions::Decisions;
use super::hosts::HostSpace;
use super::reference::{Decision, decide};
use crate::fidelity::Object;
use crate::policy::{Objects, Operation, Platform, Policy, SyscallName, syscalls};
use std::borrow::Cow;
use std::sync::OnceLock;

/// A policy with its decided sets, each computed once, for all back-ends.
pub struct Meaning<'a> {
    policy: Cow<'a, Policy>,
    /// As each platform sees it, where that is not the whole.
    seen: [OnceLock<Option<Box<Meaning<'static>>>>; Platform::ALL.len()],
    limit: Limit,
    ledgers: bool,
    /// `None`: together they are too large.
    shared: OnceLock<Option<[Decisions; Operation::ON_PATHS_BUT_EXECUTE.len()]>>,
    decisions: [OnceLock<Result<Decisions, TooLarge>>; Operation::ALL.len()],
    hosts: [OnceLock<HostSpace>; 2],
    syscalls: OnceLock<Vec<(Object, Decision)>>,
}

impl<'a> Meaning<'a> {
    /// The meaning of a policy.
    #[must_use]
    pub fn new(policy: &'a Policy) -> Self {
        Self::with_limit(policy, Limit::default())
    }

    /// The meaning of a policy, with another limit on automata.
    #[must_use]
    pub fn with_limit(policy: &'a Policy, limit: Limit) -> Self {
        Self::of(Cow::Borrowed(policy), limit)
    }

    fn of(policy: Cow<'a, Policy>, limit: Limit) -> Self {
        Self {
            policy,
            seen: [OnceLock::new(), OnceLock::new()],
            limit,
            ledgers: true,
            shared: OnceLock::new(),
            decisions: std::array::from_fn(|_| OnceLock::new()),
            hosts: [OnceLock::new(), OnceLock::new()],
            syscalls: OnceLock::new(),
        }
    }

    /// For callers that read artifacts back and need no ledger: back-ends make empty ledgers from it.
    #[must_use]
    pub fn without_ledgers(mut self) -> Self {
        self.ledgers = false;
        self
    }

    /// The meaning of another policy, with the same limit, and with or without ledgers.
    #[must_use]
    pub fn of_another<'b>(&self, policy: &'b Policy) -> Meaning<'b> {
        Meaning {
            ledgers: self.ledgers,
            ..Meaning::with_limit(policy, self.limit)
        }
    }

    /// Whether back-ends make ledgers from it.
    #[must_use]
    pub fn has_ledgers(&self) -> bool {
        self.ledgers
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Of the policy as a platform sees it ([`Policy::seen_by`]): what a layer of that platform is made from and
    /// compared with.
    #[must_use]
    pub fn on(&self, platform: Platform) -> &Meaning<'_> {
        let seen = self.seen[platform as usize].get_or_init(|| {
            let Cow::Owned(policy) = self.policy.seen_by(platform) else {
                return None;
            };
            Some(Box::new(Meaning {
                ledgers: self.ledgers,
                ..Meaning::of(Cow::Owned(policy), self.limit)
            }))
        });
        match seen {
            Some(seen) => seen,
            None => self,
        }
    }

    /// The decisions of an operation on paths.
    ///
    /// # Errors
    /// The automaton is too large.
    pub fn decisions(&self, operation: Operation) -> Result<&Decisions, TooLarge> {
        if let Some(at) = Operation::ON_PATHS_BUT_EXECUTE
            .iter()
            .position(|o| *o == operation)
        {
            let shared = self.shared.get_or_init(|| {
                Decisions::together(&self.policy, Operation::ON_PATHS_BUT_EXECUTE, self.limit).ok()
            });
            if let Some(shared) = shared {
                return Ok(&shared[at]);
            }
        }
        let made = self.decisions[operation as usize]
            .get_or_init(|| Decisions::new(&self.policy, operation, self.limit));
        made.as_ref().map_err(|e| *e)
    }

    /// The regions of network addresses for `bind`, or for `connect` (every other operation).
    #[must_use]
    pub fn hosts(&self, operation: Operation) -> &HostSpace {
        let (slot, operation) = if operation == Operation::Bind {
            (1, Operation::Bind)
        } else {
            (0, Operation::Connect)
        };
        self.hosts[slot].get_or_init(|| HostSpace::new(&self.policy, operation))
    }

    /// The decision about a system call.
    #[must_use]
    pub fn syscall(&self, name: &str) -> Decision {
        let all = self.syscalls();
        let by_name = |(object, _): &(Object, Decision)| match object {
            Object::Syscall(known) => known.as_str().cmp(name),
            _ => std::cmp::Ordering::Less,
        };
        match all.binary_search_by(by_name) {
            Ok(at) => all[at].1,
            Err(_) => decide(
                &self.policy,
                Operation::Syscall,
                &Object::Syscall(name.to_owned()),
            ),
        }
    }

    /// Each system call that exists or that the policy names, ascending, with its decision.
    #[must_use]
    pub fn syscalls(&self) -> &[(Object, Decision)] {
        self.syscalls.get_or_init(|| {
            let mut named: Vec<&str> = syscalls::all().collect();
            for r in &self.policy.rules {
                if let Objects::Syscalls { syscalls, except } = &r.objects {
                    named.extend(syscalls.iter().chain(except).filter_map(|s| match s {
                        SyscallName::Name(n) => Some(n.as_str()),
                        SyscallName::Group(_) => None,
                    }));
                }
            }
            named.sort_unstable();
            named.dedup();
            let decided = |name: &str| {
                let object = Object::Syscall(name.to_owned());
                let decision = decide(&self.policy, Operation::Syscall, &object);
                (object, decision)
            };
            named.into_iter().map(decided).collect()
        })
    }
}
