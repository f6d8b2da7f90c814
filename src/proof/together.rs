//! Several layers at once: something happens where every one of them lets it.

use crate::backend::{Allowed, Clause, Evaluate, Form, HostCuts, OnPaths};
use crate::fidelity::Object;
use crate::policy::{Operation, Policy};
use crate::semantics::{PathSet, TooLarge};

/// Layers that are in force together.
pub struct Together<'a> {
    layers: Vec<&'a dyn Evaluate>,
}

impl<'a> Together<'a> {
    /// Of these layers; without any, nothing is enforced.
    #[must_use]
    pub fn new(layers: impl IntoIterator<Item = &'a dyn Evaluate>) -> Self {
        Self {
            layers: layers.into_iter().collect(),
        }
    }
}

/// What a layer lets happen to one form: its own answers for it, or those that it has for either. Where it
/// has several, each is a way to do it.
pub(super) fn of_form(forms: &[Allowed], form: Form) -> Result<Option<PathSet>, TooLarge> {
    let own = forms.iter().any(|f| f.form == form);
    let wanted = if own || form == Form::Moved {
        form
    } else {
        Form::Either
    };
    let mut all: Option<PathSet> = None;
    for answer in forms.iter().filter(|f| f.form == wanted) {
        all = Some(match all {
            Some(sum) => sum.union(&answer.paths)?,
            None => answer.paths.clone(),
        });
    }
    Ok(all)
}

impl Evaluate for Together<'_> {
    fn paths(&self, operation: Operation) -> Result<OnPaths, TooLarge> {
        let mut answers: Vec<Vec<Allowed>> = Vec::new();
        for layer in &self.layers {
            if let OnPaths::Allows(forms) = layer.paths(operation)? {
                answers.push(forms);
            }
        }
        if answers.is_empty() {
            return Ok(OnPaths::Silent);
        }
        let has = |form| answers.iter().flatten().any(|f: &Allowed| f.form == form);
        // Where every layer that tells files from directories leaves one of them out, the operation has no
        // meaning for it (editing a directory): what the other layers would let happen to it is none.
        let tells = |own: &&Vec<Allowed>| {
            own.iter()
                .any(|f| matches!(f.form, Form::File | Form::Directory))
        };
        let meant = |form| {
            let mut telling = answers.iter().filter(tells).flatten();
            telling.any(|f: &Allowed| f.form == form || f.form == Form::Either)
        };
        let split = has(Form::File) || has(Form::Directory);
        let mut out = Vec::new();
        for form in [Form::Either, Form::File, Form::Directory, Form::Moved] {
            let wanted = match form {
                Form::Either => !split,
                Form::File | Form::Directory => split && meant(form),
                // A directory is moved unchecked only where every layer lets it go; one that has no
                // such form checks what is beneath by itself, wherever it is then.
                Form::Moved => answers.iter().all(|f| f.iter().any(|a| a.form == form)),
            };
            if !wanted {
                continue;
            }
            let mut paths: Option<PathSet> = None;
            for forms in &answers {
                // An operation that means nothing for a form is not let through by being left out: the
                // layer has no say.
                let Some(own) = of_form(forms, form)? else {
                    continue;
                };
                paths = Some(match paths {
                    Some(all) => all.intersection(&own)?,
                    None => own,
                });
            }
            out.extend(paths.map(|paths| Allowed { form, paths }));
        }
        Ok(OnPaths::Allows(out))
    }

    fn host_cuts(&self, operation: Operation) -> Option<HostCuts> {
        let mut all: Option<HostCuts> = None;
        for cuts in self.layers.iter().filter_map(|l| l.host_cuts(operation)) {
            let sum = all.get_or_insert_default();
            sum.ports.extend(cuts.ports);
            sum.blocks.extend(cuts.blocks);
            sum.names.extend(cuts.names);
        }
        all
    }

    fn allows(&self, operation: Operation, object: &Object) -> Option<bool> {
        let mut said = None;
        for layer in &self.layers {
            match layer.allows(operation, object) {
                Some(false) => return Some(false),
                Some(true) => said = Some(true),
                None => {}
            }
        }
        said
    }

    fn as_meant(&self, policy: &Policy) -> Option<Policy> {
        // Layers of one host: where one of them knows further names, they are names there.
        self.layers.iter().find_map(|l| l.as_meant(policy))
    }

    fn clause(&self, operation: Operation, object: &Object) -> Option<Clause> {
        // The one that refuses, if one does; what lets something through together is no single clause.
        let denies = |l: &&&dyn Evaluate| l.allows(operation, object) == Some(false);
        self.layers
            .iter()
            .find(denies)
            .and_then(|l| l.clause(operation, object))
    }
}
