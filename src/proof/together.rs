//! Several layers together: an operation happens only if each of them allows it.

use crate::backend::{Allowed, Clause, Evaluate, Form, HostCuts, OnPaths};
use crate::fidelity::Object;
use crate::policy::{Operation, Platform, Policy};
use crate::semantics::{Joins, PathSet, TooLarge};

/// Layers of one host that are in force together.
pub struct Together<'a> {
    layers: Vec<&'a dyn Evaluate>,
    platform: Platform,
    /// The sets of a layer share nearly the same automaton for all operations.
    joins: Joins,
}

impl<'a> Together<'a> {
    /// Joins these layers. Without any, nothing is enforced.
    #[must_use]
    pub fn new(platform: Platform, layers: impl IntoIterator<Item = &'a dyn Evaluate>) -> Self {
        Self {
            layers: layers.into_iter().collect(),
            platform,
            joins: Joins::default(),
        }
    }
}

/// The ways in which a layer allows an operation on objects of one form: its answers for that form, and those for
/// either form.
fn ways(forms: &[Allowed], form: Form) -> impl Iterator<Item = &PathSet> {
    let either = move |f: &Allowed| form != Form::Moved && f.form == Form::Either;
    forms
        .iter()
        .filter(move |f| f.form == form || either(f))
        .map(|f| &f.paths)
}

/// `all` and `one`, combined by `join`. `one` alone if there is nothing yet.
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
        // If every layer that tells files from directories leaves out a form, the operation has no meaning for it
        // (editing a directory). Then the other layers allow nothing for it.
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
                // A directory is moved unchecked only if every layer allows it. A layer without such a form checks what
                // lies beneath by itself, wherever it is then.
                Form::Moved => answers.iter().all(|f| f.iter().any(|a| a.form == form)),
            };
            if !wanted {
                continue;
            }
            // The ways of different layers are not the same. At most, what gets through is what each layer allows in
            // some way. What surely gets through is what each layer allows in all its ways.
            let (mut most, mut least): (Option<PathSet>, Option<PathSet>) = (None, None);
            let several = answers.iter().any(|forms| ways(forms, form).count() > 1);
            for forms in &answers {
                // If a form is left out because the operation means nothing for it, the operation is not allowed by
                // that. The layer has no say.
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
        // The layers are on one host. If one of them knows further names, these are names for all.
        self.layers.iter().find_map(|l| l.as_meant(policy))
    }

    fn clause(&self, operation: Operation, object: &Object) -> Option<Clause> {
        // The layer that refuses, if one does. If the layers together allow something, no single clause does.
        let denies = |l: &&&dyn Evaluate| l.allows(operation, object) == Some(false);
        self.layers
            .iter()
            .find(denies)
            .and_then(|l| l.clause(operation, object))
    }
}
