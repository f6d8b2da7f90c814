//! The policy's decisions, by its automata.

use super::kernel::Errno;
use crate::backend::landlock::Kind;
use crate::enforce::run::entries::Reader;
use crate::policy::{Operation, RuleId};
use crate::semantics::{Decisions, Meaning, StateId, TooLarge};
use std::time::{Duration, Instant};

/// The longest time to look through a directory that the program moves.
const PATIENCE: Duration = Duration::from_secs(10);

/// A refusal of the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// The operation that was asked about.
    pub operation: Operation,
    /// The object's path.
    pub path: Vec<u8>,
    /// The rule that denies it. `None`: no rule allows it.
    pub rule: Option<RuleId>,
}

impl Denied {
    /// The error that the program gets.
    #[must_use]
    pub fn error(&self) -> Errno {
        Errno(match self.operation {
            Operation::Metadata => libc::EPERM,
            _ => libc::EACCES,
        })
    }
}

/// One operation.
struct One<'m> {
    operation: Operation,
    decisions: &'m Decisions,
    /// By state: whether everything from this state on is allowed.
    below: Vec<bool>,
}

/// The policy's decisions, in the form that the guard needs.
pub struct Judge<'m> {
    all: Vec<One<'m>>,
}

/// The rights that an object must not gain by a move or by a second name.
const GAINS: [Operation; 4] = [
    Operation::Read,
    Operation::List,
    Operation::Execute,
    Operation::Connect,
];

impl<'m> Judge<'m> {
    /// Compiles the policy's decisions.
    ///
    /// # Errors
    /// The policy's automata are too large.
    pub fn new(meaning: &'m Meaning<'_>) -> Result<Self, TooLarge> {
        let mut all = Vec::with_capacity(Operation::ON_PATHS.len());
        for operation in Operation::ON_PATHS {
            let decisions = meaning.decisions(operation)?;
            all.push(One {
                operation,
                decisions,
                below: decisions.dfa().all_below(|l| decisions.permits(l)),
            });
        }
        Ok(Self { all })
    }

    fn one(&self, operation: Operation) -> Option<&One<'m>> {
        self.all.iter().find(|one| one.operation == operation)
    }

    /// Asks whether an operation is allowed on a path.
    ///
    /// # Errors
    /// It is not allowed.
    pub fn ask(&self, operation: Operation, path: &[u8]) -> Result<(), Denied> {
        let verdict = self
            .one(operation)
            .and_then(|one| one.decisions.verdict(path));
        let decision = verdict.map(|v| v.decision);
        if decision.is_some_and(|d| d.action.permits()) {
            return Ok(());
        }
        Err(Denied {
            operation,
            path: path.to_vec(),
            rule: decision.and_then(|d| d.rule),
        })
    }

    /// Asks whether an object without a name may be made in a directory. It counts as one that no rule mentions.
    ///
    /// # Errors
    /// It may not be made.
    pub fn ask_nameless(&self, operation: Operation, directory: &[u8]) -> Result<(), Denied> {
        let fresh = self.one(operation).and_then(|one| {
            let state = one.decisions.dfa().run(directory)?;
            let fresh = one.decisions.enter_fresh(state, 1)?;
            one.decisions.permits_state(fresh).then_some(())
        });
        fresh.ok_or_else(|| Denied {
            operation,
            path: directory.to_vec(),
            rule: self.ask(operation, directory).err().and_then(|d| d.rule),
        })
    }

    /// Asks whether an object may get another name: a right that it lacks at `from`, it must also lack at `to`.
    ///
    /// # Errors
    /// The object would gain a right.
    pub fn ask_gain(&self, from: &[u8], to: &[u8]) -> Result<(), Denied> {
        for operation in GAINS {
            if let (Err(denied), Ok(())) = (self.ask(operation, from), self.ask(operation, to)) {
                return Err(denied);
            }
        }
        Ok(())
    }

    /// The same for a second name that stays beside the first one. Then it must not become writable either.
    ///
    /// # Errors
    /// The object would gain a right.
    pub fn ask_second_name(&self, from: &[u8], to: &[u8]) -> Result<(), Denied> {
        self.ask_gain(from, to)?;
        for operation in [Operation::Edit, Operation::Metadata] {
            if let (Err(denied), Ok(())) = (self.ask(operation, from), self.ask(operation, to)) {
                return Err(denied);
            }
        }
        Ok(())
    }

    /// Asks whether a directory may be moved with everything in it. Each object is removed at its old path and made at
    /// its new one. `own` says whether the object at a path was made in this run.
    ///
    /// # Errors
    /// An object in it may not be moved, or there is too much to look at.
    pub fn ask_beneath(
        &self,
        from: &[u8],
        to: &[u8],
        own: impl Fn(&[u8]) -> bool,
    ) -> Result<(), Denied> {
        let pair = |operation, path: &[u8]| {
            let one = self.one(operation)?;
            Some((one, one.decisions.dfa().run(path)?))
        };
        let refused = || Denied {
            operation: Operation::Delete,
            path: from.to_vec(),
            rule: None,
        };
        let starts = [(Operation::Delete, from), (Operation::Create, to)]
            .into_iter()
            .chain(GAINS.into_iter().flat_map(|o| [(o, from), (o, to)]))
            .map(|(operation, path)| pair(operation, path))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(refused)?;
        let states: Vec<StateId> = starts.iter().map(|(_, s)| *s).collect();
        let ones: Vec<&One<'_>> = starts.iter().map(|(one, _)| *one).collect();
        let mut reader = Reader::default();
        let end = Instant::now() + PATIENCE;
        let mut work = vec![(Vec::new(), states)];
        while let Some((path, states)) = work.pop() {
            if settled(&ones, &states) {
                continue;
            }
            if Instant::now() > end {
                return Err(refused());
            }
            let mut denied = None;
            let folder = [from, &path].concat();
            let read = reader.read(&folder, |name, kind| {
                let below = [&path, b"/".as_slice(), name].concat();
                let next: Option<Vec<StateId>> = ones
                    .iter()
                    .zip(&states)
                    .map(|(one, s)| one.decisions.enter(*s, name))
                    .collect();
                let Some(next) = next else {
                    denied = Some(refused());
                    return false;
                };
                let (a, b) = ([from, &below].concat(), [to, &below].concat());
                let removed = match self.ask(Operation::Delete, &a) {
                    Err(_) if own(&a) => Ok(()),
                    asked => asked,
                };
                let asked = removed
                    .and_then(|()| self.ask(Operation::Create, &b))
                    .and_then(|()| self.ask_gain(&a, &b));
                if let Err(d) = asked {
                    denied = Some(d);
                    return false;
                }
                if kind == Kind::Directory {
                    work.push((below, next));
                }
                true
            });
            if let Some(denied) = denied {
                return Err(denied);
            }
            if read.is_err() {
                return Err(refused());
            }
        }
        Ok(())
    }
}

/// Whether nothing beneath can be denied: everything may be removed and made, and what may be read there may be read
/// here.
fn settled(ones: &[&One<'_>], states: &[StateId]) -> bool {
    let below = |i: usize| match (ones.get(i), states.get(i)) {
        (Some(one), Some(s)) => one.below.get(s.index()).copied().unwrap_or(false),
        _ => false,
    };
    let same = |i: usize| match (ones.get(i), states.get(i), states.get(i + 1)) {
        (Some(_), Some(a), Some(b)) => a == b,
        _ => false,
    };
    below(0) && below(1) && (2..ones.len()).step_by(2).all(|i| below(i) || same(i))
}
