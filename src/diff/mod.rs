//! What one policy allows that another does not: a difference of meaning, not of text.
//!
//! Each side is a policy from any front-end, or an artifact that was read back. For each operation, polc exactly
//! compares the sets of what is allowed, denied and asked about. It shows a difference in the patterns of the policies
//! themselves, with an example of each.

mod hosts;
mod paths;
mod rest;
#[cfg(test)]
mod tests;

use crate::backend::{Evaluate, OnPaths};
use crate::fidelity::Object;
use crate::policy::{Action, Operation, OperationSet, Platform, Platforms};
use crate::semantics::{Decision, Meaning, PathSet, TooLarge, decide};

/// One of the two sides.
pub enum Side<'a> {
    /// A policy.
    Policy(&'a Meaning<'a>),
    /// An artifact. What it says nothing about is allowed. A path is allowed if it is allowed for a file or for a
    /// directory.
    Artifact(&'a dyn Evaluate),
}

/// What an object's decision has become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Became {
    /// It is allowed now.
    Allowed,
    /// It is denied now.
    Denied,
    /// It is asked about now.
    Asked,
}

impl Became {
    fn of(action: Action) -> Self {
        match action {
            Action::Allow => Self::Allowed,
            Action::Deny => Self::Denied,
            Action::Ask => Self::Asked,
        }
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The operation. `None`: a part of the policy that is not a rule.
    pub operation: Option<Operation>,
    /// The new decision.
    pub became: Became,
    /// The objects: a pattern of one of the policies, or a list.
    pub what: String,
    /// Whether only some of the objects of the pattern are meant.
    pub in_part: bool,
    /// One of them.
    pub example: Option<Object>,
    /// Where it changed.
    pub platforms: Platforms,
    /// What decided about the example before, and what decides now. Only policies can say this.
    pub decisions: [Option<Decision>; 2],
}

/// Compares two sides.
///
/// # Errors
/// The automata are too large together. Then nothing is known.
pub fn diff(old: &Side<'_>, new: &Side<'_>) -> Result<Vec<Change>, TooLarge> {
    let both = [old, new];
    let artifact = both.iter().find_map(|side| match side {
        Side::Artifact(artifact) => Some(artifact.platform()),
        Side::Policy(_) => None,
    });
    if let Some(platform) = artifact {
        return on_one(&old.on(platform), &new.on(platform));
    }
    if !both.iter().any(|side| side.differs_by_platform()) {
        return on_one(old, new);
    }
    let mut out: Vec<Change> = Vec::new();
    for platform in Platform::ALL {
        for mut change in on_one(&old.on(platform), &new.on(platform))? {
            change.platforms = Platforms::only(platform);
            let same = |c: &&mut Change| {
                let platforms = c.platforms;
                let change = Change {
                    platforms,
                    ..change.clone()
                };
                **c == change
            };
            match out.iter_mut().find(same) {
                Some(known) => known.platforms = known.platforms.or(change.platforms),
                None => out.push(change),
            }
        }
    }
    // As the operations are compared.
    let place = |c: &Change| c.operation.map_or(usize::MAX, |o| o as usize);
    out.sort_by_key(place);
    Ok(out)
}

/// Compares two sides as one platform sees them.
fn on_one(old: &Side<'_>, new: &Side<'_>) -> Result<Vec<Change>, TooLarge> {
    let mut out = Vec::new();
    for operation in Operation::ON_PATHS {
        paths::compare(old, new, operation, &mut out)?;
        if operation == Operation::Connect {
            hosts::compare(old, new, operation, &mut out);
        }
    }
    hosts::compare(old, new, Operation::Bind, &mut out);
    rest::syscalls(old, new, &mut out);
    if let (Side::Policy(old), Side::Policy(new)) = (old, new) {
        rest::tools(old.policy(), new.policy(), &mut out);
        rest::settings(old.policy(), new.policy(), &mut out);
    }
    Ok(out)
}

/// Whether both sides decide the same about these operations: allow, deny and ask.
///
/// # Errors
/// The automata are too large together.
pub fn is_same(old: &Side<'_>, new: &Side<'_>, operations: OperationSet) -> Result<bool, TooLarge> {
    for operation in operations.iter() {
        let mut out = Vec::new();
        if Operation::ON_PATHS.contains(&operation) {
            if operation == Operation::Execute {
                paths::compare(old, new, operation, &mut out)?;
            } else {
                for action in [Action::Allow, Action::Ask] {
                    let (a, b) = (old.paths(operation, action)?, new.paths(operation, action)?);
                    if a.difference_witness(&b)?.is_some() {
                        return Ok(false);
                    }
                }
            }
        }
        if matches!(operation, Operation::Connect | Operation::Bind) {
            hosts::compare(old, new, operation, &mut out);
        }
        if operation == Operation::Syscall {
            rest::syscalls(old, new, &mut out);
        }
        if !out.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Side<'_> {
    /// As a platform sees it.
    fn on(&self, platform: Platform) -> Side<'_> {
        match self {
            Self::Policy(meaning) => Side::Policy(meaning.on(platform)),
            Self::Artifact(artifact) => Side::Artifact(*artifact),
        }
    }

    fn differs_by_platform(&self) -> bool {
        match self {
            Self::Policy(meaning) => {
                let policy = meaning.policy();
                Platform::ALL.into_iter().any(|p| policy.hides_from(p))
            }
            Self::Artifact(_) => false,
        }
    }

    /// The paths with this decision.
    fn paths(&self, operation: Operation, action: Action) -> Result<PathSet, TooLarge> {
        match self {
            Self::Policy(meaning) => {
                let decisions = meaning.decisions(operation)?;
                let verdicts = decisions.verdicts();
                Ok(PathSet::from_dfa(decisions.dfa(), |l| {
                    verdicts[l as usize].decision.action == action
                }))
            }
            Self::Artifact(artifact) => {
                let allowed = match artifact.paths(operation)? {
                    OnPaths::Silent => PathSet::all(),
                    OnPaths::Allows(forms) => {
                        let mut all = PathSet::empty();
                        for form in &forms {
                            all = all.union(&form.paths)?;
                        }
                        all
                    }
                };
                Ok(match action {
                    Action::Allow => allowed,
                    Action::Deny => allowed.complement(),
                    Action::Ask => PathSet::empty(),
                })
            }
        }
    }

    /// The decision about one object that is not a path, and the rule.
    fn decide(&self, operation: Operation, object: &Object) -> (Action, Option<Decision>) {
        match self {
            Self::Policy(meaning) => {
                let decision = decide(meaning.policy(), operation, object);
                (decision.action, Some(decision))
            }
            Self::Artifact(artifact) => match artifact.allows(operation, object) {
                Some(false) => (Action::Deny, None),
                _ => (Action::Allow, None),
            },
        }
    }

    /// The rule that decides about one object, if this side is a policy.
    fn decision(&self, operation: Operation, object: &Object) -> Option<Decision> {
        match self {
            Self::Policy(meaning) => Some(decide(meaning.policy(), operation, object)),
            Self::Artifact(_) => None,
        }
    }
}
