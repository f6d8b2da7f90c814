//! What an artifact says, without the known losses of its target.

use crate::backend::{Allowed, Clause, Deciders, Evaluate, Form, HostCuts, OnPaths};
use crate::fidelity::Object;
use crate::policy::{Operation, Platform};
use crate::semantics::{Decision, Meaning, PathSet, TooLarge, decide};

/// An artifact, and the compiler's artifact of the policy for the same target. If both differ from the policy in the
/// same way, this answers as the policy does. So a comparison of this with the policy gives only the differences that
/// the ledger does not explain.
pub(super) struct Unaccounted<'a> {
    meaning: &'a Meaning<'a>,
    found: &'a dyn Evaluate,
    fresh: &'a dyn Evaluate,
}

impl<'a> Unaccounted<'a> {
    /// `found` was read from files. `fresh` was just made from the policy.
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

/// Ways that have one answer on either side.
struct Pair<'a> {
    form: Form,
    ways: Vec<String>,
    /// The paths of both. `None`: there is no such way.
    paths: [Option<&'a PathSet>; 2],
}

/// The answers of both, by ways. All artifacts of a target have the same ways. If one has none, the reader does not
/// look at the operation.
fn pairs<'a>(found: &'a [Allowed], fresh: &'a [Allowed]) -> Vec<Pair<'a>> {
    let of = |side: &'a [Allowed], way: &String| side.iter().position(|a| a.ways.contains(way));
    let mut known: Vec<([Option<usize>; 2], Vec<String>)> = Vec::new();
    for way in found.iter().chain(fresh).flat_map(|a| &a.ways) {
        let at = [of(found, way), of(fresh, way)];
        match known.iter_mut().find(|k| k.0 == at) {
            Some((_, ways)) if ways.contains(way) => {}
            Some((_, ways)) => ways.push(way.clone()),
            None => known.push((at, vec![way.clone()])),
        }
    }
    known
        .into_iter()
        .map(|([x, y], ways)| {
            let (x, y) = (x.map(|at| &found[at]), y.map(|at| &fresh[at]));
            let forms = [x, y].map(|a| a.map_or(Form::Either, |a| a.form));
            // One of them may have the same answer for files and directories.
            let form = if forms[0] == Form::Either {
                forms[1]
            } else {
                forms[0]
            };
            Pair {
                form,
                ways,
                paths: [x, y].map(|a| a.map(|a| &a.paths)),
            }
        })
        .collect()
}

impl Evaluate for Unaccounted<'_> {
    fn platform(&self) -> Platform {
        self.found.platform()
    }

    fn paths(&self, operation: Operation) -> Result<OnPaths, TooLarge> {
        let forms = |answer| match answer {
            OnPaths::Allows(forms) => forms,
            OnPaths::Silent => Vec::new(),
        };
        let (found, fresh) = (
            forms(self.found.paths(operation)?),
            forms(self.fresh.paths(operation)?),
        );
        let pairs = pairs(&found, &fresh);
        let mut changed = Vec::new();
        for Pair { form, paths, .. } in &pairs {
            // If a layer says nothing about a way, the way is open. But if it says nothing about moving a directory,
            // the directory is not moved unchecked.
            let missing = if *form == Form::Moved {
                PathSet::empty()
            } else {
                PathSet::all()
            };
            let [found, fresh] = paths.map(|p| p.unwrap_or(&missing));
            changed.push([found.difference(fresh)?, fresh.difference(found)?]);
        }
        let differs = |[more, less]: &[PathSet; 2]| !more.is_empty() || !less.is_empty();
        if !changed.iter().any(differs) {
            return Ok(OnPaths::Allows(Vec::new()));
        }
        let policy = self.meaning.decisions(operation)?.allowed();
        let mut out = Vec::new();
        for (Pair { form, ways, .. }, [more, less]) in pairs.into_iter().zip(changed) {
            let paths = if form == Form::Moved {
                more
            } else {
                let looser = more.difference(policy)?;
                let stricter = less.intersection(policy)?;
                policy.union(&looser)?.difference(&stricter)?
            };
            out.push(Allowed { form, ways, paths });
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

    fn deciders(&self, operation: Operation, answer: &Allowed) -> Option<Deciders> {
        self.found.deciders(operation, answer)
    }

    fn clause(&self, operation: Operation, object: &Object) -> Option<Clause> {
        self.found.clause(operation, object)
    }
}
