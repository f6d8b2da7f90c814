//! What an artefact says beyond what its target is known to lose.

use super::together::ways;
use crate::backend::{Allowed, Clause, Evaluate, Form, HostCuts, OnPaths};
use crate::fidelity::Object;
use crate::policy::Operation;
use crate::semantics::{Decision, Meaning, PathSet, TooLarge, decide};

/// An artefact beside the one that the compiler makes of the policy for the same target. Where the artefact
/// differs from the policy as that one does, it answers as the policy: so that comparing this with the policy
/// gives the differences that the ledger does not account for.
pub(super) struct Beyond<'a> {
    meaning: &'a Meaning<'a>,
    found: &'a dyn Evaluate,
    fresh: &'a dyn Evaluate,
}

impl<'a> Beyond<'a> {
    /// `found` was read from files, `fresh` was made from the policy just now.
    pub(super) fn new(
        meaning: &'a Meaning<'a>,
        found: &'a dyn Evaluate,
        fresh: &'a dyn Evaluate,
    ) -> Self {
        Self {
            meaning,
            found,
            fresh,
        }
    }
}

const FORMS: [Form; 4] = [Form::Either, Form::File, Form::Directory, Form::Moved];

/// What is let happen in one way or another; `None`: the form is left out.
fn of_form(forms: &[Allowed], form: Form) -> Result<Option<PathSet>, TooLarge> {
    let mut all: Option<PathSet> = None;
    for way in ways(forms, form) {
        all = Some(match all {
            Some(all) => all.union(way)?,
            None => way.clone(),
        });
    }
    Ok(all)
}

/// The forms that one of them tells apart.
fn told_apart(found: &[Allowed], fresh: &[Allowed]) -> Vec<Form> {
    let has = |form| found.iter().chain(fresh).any(|f| f.form == form);
    let split = has(Form::File) || has(Form::Directory);
    FORMS
        .into_iter()
        .filter(|form| match form {
            Form::Either => !split && has(Form::Either),
            form => has(*form),
        })
        .collect()
}

impl Evaluate for Beyond<'_> {
    fn paths(&self, operation: Operation) -> Result<OnPaths, TooLarge> {
        let forms = |answer| match answer {
            OnPaths::Allows(forms) => forms,
            OnPaths::Silent => vec![Allowed {
                form: Form::Either,
                paths: PathSet::all(),
            }],
        };
        let (found, fresh) = (
            forms(self.found.paths(operation)?),
            forms(self.fresh.paths(operation)?),
        );
        let policy = self.meaning.decisions(operation)?.allowed();
        let mut out = Vec::new();
        for form in told_apart(&found, &fresh) {
            let (found, fresh) = (of_form(&found, form)?, of_form(&fresh, form)?);
            // A form that a layer does not have is one that it does not let go unchecked, or says nothing of.
            let missing = if form == Form::Moved {
                PathSet::empty()
            } else {
                PathSet::all()
            };
            let (found, fresh) = (
                found.as_ref().unwrap_or(&missing),
                fresh.as_ref().unwrap_or(&missing),
            );
            let paths = if form == Form::Moved {
                found.difference(fresh)?
            } else {
                let looser = found.difference(fresh)?.difference(policy)?;
                let stricter = fresh.difference(found)?.intersection(policy)?;
                policy.union(&looser)?.difference(&stricter)?
            };
            out.push(Allowed { form, paths });
        }
        Ok(OnPaths::Allows(out))
    }

    fn host_cuts(&self, operation: Operation) -> Option<HostCuts> {
        let mut cuts = self.found.host_cuts(operation).unwrap_or_default();
        let fresh = self.fresh.host_cuts(operation).unwrap_or_default();
        cuts.ports.extend(fresh.ports);
        cuts.blocks.extend(fresh.blocks);
        cuts.names.extend(fresh.names);
        Some(cuts)
    }

    fn allows(&self, operation: Operation, object: &Object) -> Option<bool> {
        let answer = |layer: &dyn Evaluate| layer.allows(operation, object).unwrap_or(true);
        let (found, fresh) = (answer(self.found), answer(self.fresh));
        let Decision { action, .. } = decide(self.meaning.policy(), operation, object);
        Some(if found == fresh {
            action.permits()
        } else {
            found
        })
    }

    fn clause(&self, operation: Operation, object: &Object) -> Option<Clause> {
        self.found.clause(operation, object)
    }
}
