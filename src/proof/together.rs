//! Several layers at once: something happens where every one of them lets it.

use crate::backend::{Allowed, Clause, Evaluate, Form, HostCuts, OnPaths};
use crate::fidelity::Object;
use crate::policy::{Operation, Platform, Policy};
use crate::semantics::{Joins, PathSet, TooLarge};

/// Layers of one host that are in force together.
pub struct Together<'a> {
    layers: Vec<&'a dyn Evaluate>,
    platform: Platform,
    /// A layer's sets are much the same automaton for all operations.
    joins: Joins,
}

impl<'a> Together<'a> {
    /// Of these layers; without any, nothing is enforced.
    #[must_use]
    pub fn new(platform: Platform, layers: impl IntoIterator<Item = &'a dyn Evaluate>) -> Self {
        Self {
            layers: layers.into_iter().collect(),
            platform,
            joins: Joins::default(),
        }
    }
}

/// The ways in which a layer lets an operation happen to objects of one form: its answers for that form, and
/// those that are for either.
fn ways(forms: &[Allowed], form: Form) -> impl Iterator<Item = &PathSet> {
    let either = move |f: &Allowed| form != Form::Moved && f.form == Form::Either;
    forms
        .iter()
        .filter(move |f| f.form == form || either(f))
        .map(|f| &f.paths)
}

/// `all` and `one`, by `join`; `one` where there is nothing yet.
fn joined(
    all: Option<PathSet>,
    one: &PathSet,
    join: impl Fn(&PathSet, &PathSet) -> Result<PathSet, TooLarge>,
) -> Result<Option<PathSet>, TooLarge> {
    Ok(Some(match all {
        Some(all) => join(&all, one)?,
        None => one.clone(),
    }))
}

impl Evaluate for Together<'_> {
    fn platform(&self) -> Platform {
        self.platform
    }

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
        let either = |a: &PathSet, b: &PathSet| a.union_among(&self.joins, b);
        let both = |a: &PathSet, b: &PathSet| a.intersection_among(&self.joins, b);
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
            // Ways of different layers are not the same ways. What gets through is at most what each layer lets
            // through in one way or another; what is sure to is what each lets through in all of its ways.
            let (mut most, mut least): (Option<PathSet>, Option<PathSet>) = (None, None);
            let several = answers.iter().any(|forms| ways(forms, form).count() > 1);
            for forms in &answers {
                // An operation that means nothing for a form is not let through by being left out: the
                // layer has no say.
                let (mut any, mut every) = (None, None);
                for way in ways(forms, form) {
                    any = joined(any, way, either)?;
                    if several {
                        every = joined(every, way, both)?;
                    }
                }
                if let Some(any) = any {
                    most = joined(most, &any, both)?;
                }
                if let Some(every) = every {
                    least = joined(least, &every, both)?;
                }
            }
            out.extend(most.map(|paths| Allowed::new(form, paths)));
            if several && form != Form::Moved {
                out.extend(least.map(|paths| Allowed {
                    ways: vec!["every".to_owned()],
                    ..Allowed::new(form, paths)
                }));
            }
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
