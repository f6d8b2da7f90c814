//! What an artifact means, once its bytes have been read back.
//!
//! A reader (`backend/<id>/read_back.rs`) parses an artifact in its target's language. It evaluates the artifact by the
//! target's own rules, and cites their sources. It shares no code with the lowering, does not know the policy, and
//! refuses what it does not understand. [`crate::proof`] compares what it finds with what the policy means.

use crate::fidelity::Object;
use crate::policy::{Cidr, Operation, Platform, Policy};
use crate::semantics::{Classified, Dfa, PathSet, Pattern, TooLarge, classified as family_of};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

/// What the layer checks for a path, if that depends on more than the path.
///
/// The policy does not say whether `/a` is a file or a directory, so both are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The object is a file (or anything else that is not a directory).
    File,
    /// The object is a directory.
    Directory,
    /// The layer does not tell them apart.
    Either,
    /// A directory is moved away, and everything beneath goes with it unchecked. Only for [`Operation::Delete`].
    Moved,
}

/// What a layer allows on objects of one form, for some of the ways to do the operation.
#[derive(Debug, Clone)]
pub struct Allowed {
    /// The form.
    pub form: Form,
    /// The ways that have this answer, in the target's terms: a right, a hook, or a permission on a class. They include
    /// the form if it matters. So two artifacts of one target can be compared way by way. No two answers have a way in
    /// common.
    pub ways: Vec<String>,
    /// The paths at which the layer allows the operation.
    pub paths: PathSet,
}

/// What a layer does with one operation on paths.
#[derive(Debug, Clone)]
pub enum OnPaths {
    /// It says nothing about the operation, so everything is allowed.
    Silent,
    /// What it allows, by form. A form is left out if the operation has no meaning for it (listing a file).
    Allows(Vec<Allowed>),
}

impl Allowed {
    /// The answer of the one way that there is for the form.
    #[must_use]
    pub fn new(form: Form, paths: PathSet) -> Self {
        Self {
            form,
            ways: vec![format!("{form:?}")],
            paths,
        }
    }
}

impl OnPaths {
    /// The same answer for all forms.
    #[must_use]
    pub fn either(paths: PathSet) -> Self {
        Self::Allows(vec![Allowed::new(Form::Either, paths)])
    }

    /// Different answers for files and directories.
    #[must_use]
    pub fn by_form(file: PathSet, directory: PathSet) -> Self {
        Self::Allows(vec![
            Allowed::new(Form::File, file),
            Allowed::new(Form::Directory, directory),
        ])
    }
}

/// A reader's answer for each operation on paths. Each is made once, because comparisons ask many times.
#[derive(Debug, Default)]
pub(crate) struct Answers([OnceLock<Result<OnPaths, TooLarge>>; Operation::ON_PATHS.len()]);

impl Answers {
    /// The answer, which is made if it was not made before. Other operations have no answer.
    ///
    /// # Errors
    /// The sets are too large together.
    pub(crate) fn of(
        &self,
        operation: Operation,
        make: impl FnOnce() -> Result<OnPaths, TooLarge>,
    ) -> Result<OnPaths, TooLarge> {
        match Operation::ON_PATHS.iter().position(|o| *o == operation) {
            Some(at) => self.0[at].get_or_init(make).clone(),
            None => Ok(OnPaths::Silent),
        }
    }
}

/// Where a layer's answers for network addresses may change. Between two cuts they are all the same.
#[derive(Debug, Clone, Default)]
pub struct HostCuts {
    /// The first ports of intervals.
    pub ports: Vec<u16>,
    /// Blocks of addresses.
    pub blocks: Vec<Cidr>,
    /// Names that the layer treats in a special way.
    pub names: Vec<String>,
}

/// The part of an artifact that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// The file among those that were read, from 0.
    pub artifact: usize,
    /// Its line, from 1. 0: the whole file, such as a default.
    pub line: usize,
    /// The clause as the artifact writes it, on one line.
    pub text: String,
}

/// Which clause decides each path: an automaton whose labels are numbers of clauses.
#[derive(Debug, Clone)]
pub struct Deciders {
    dfa: Dfa,
    /// `None`: no clause of the artifact, for example because none matches.
    clauses: Vec<Option<Clause>>,
}

/// What a clause matches, the exceptions from that, and the clause.
pub(crate) type Deciding<P> = (Vec<P>, Vec<P>, Option<Clause>);

impl Deciders {
    /// Combines clauses, the first match deciding. `None`: the automaton is too large.
    pub(crate) fn of<P: Pattern>(list: &[Deciding<P>]) -> Option<Self> {
        let mut clauses: Vec<Option<Clause>> = vec![None];
        let mut known: BTreeMap<(usize, usize, &str), u32> = BTreeMap::new();
        let mut number = |clause: &'_ Option<Clause>, key| match clause {
            None => 0,
            Some(clause) => *known.entry(key).or_insert_with(|| {
                clauses.push(Some(clause.clone()));
                clauses.len() as u32 - 1
            }),
        };
        let classified: Vec<Classified<'_, P>> = list
            .iter()
            .map(|(include, except, clause)| {
                let key = clause
                    .as_ref()
                    .map(|c| (c.artifact, c.line, c.text.as_str()));
                Classified {
                    include,
                    except,
                    views: 1,
                    class: number(clause, key.unwrap_or_default()),
                }
            })
            .collect();
        let [dfa] = family_of(&classified, 0);
        Some(Self {
            dfa: dfa.ok()?,
            clauses,
        })
    }

    /// The automaton. [`Deciders::clause`] says what a label stands for.
    #[must_use]
    pub fn dfa(&self) -> &Dfa {
        &self.dfa
    }

    /// The clause of a label. `None`: no clause of the artifact.
    #[must_use]
    pub fn clause(&self, label: u32) -> Option<&Clause> {
        self.clauses.get(label as usize)?.as_ref()
    }
}

/// Who is confined by an artifact, as far as the artifact says so.
#[derive(Debug, Clone)]
pub struct Confines {
    /// The paths of the programs that it is attached to. `None`: its language cannot say (a process confines itself, or
    /// names a profile).
    pub programs: Option<PathSet>,
    /// The namespace that pods must be in. `None`: any, or none.
    pub namespace: Option<String>,
    /// The labels that pods must have.
    pub labels: BTreeMap<String, String>,
}

impl Confines {
    /// It does not say.
    #[must_use]
    pub fn unsaid() -> Self {
        Self {
            programs: None,
            namespace: None,
            labels: BTreeMap::new(),
        }
    }
}

/// An artifact that was read back.
pub trait Evaluate: Send + Sync {
    /// The platform of its layer: it is compared with the policy as that one sees it.
    fn platform(&self) -> Platform;

    /// What it does about an operation on paths.
    ///
    /// # Errors
    /// The automaton is too large. Then nothing is known.
    fn paths(&self, operation: Operation) -> Result<OnPaths, TooLarge>;

    /// Where its answers for network addresses change. `None`: it says nothing about them. For [`Operation::Connect`]
    /// and [`Operation::Bind`].
    fn host_cuts(&self, operation: Operation) -> Option<HostCuts>;

    /// Whether it allows an operation on one object. `None`: it says nothing about it, or another part (a proxy)
    /// decides.
    ///
    /// A path stands for a file and for a directory there: `Some(true)` if either is allowed. A name stands for every
    /// address that it may have: `Some(true)` if some address is allowed. A command stands for its program.
    fn allows(&self, operation: Operation, object: &Object) -> Option<bool>;

    /// The policy as this target reads it, if objects have further names there. `None`: the policy as it is.
    fn as_meant(&self, policy: &Policy) -> Option<Policy> {
        let _ = policy;
        None
    }

    /// The parts of the artifact that are about no operation on an object, and not about who is confined: capabilities,
    /// limits, signals, options of system calls. Their form does not depend on blanks, order or comments, so that two
    /// artifacts of one target can be compared.
    fn others(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }

    /// Who is confined.
    ///
    /// # Errors
    /// The automaton is too large. Then nothing is known.
    fn confines(&self) -> Result<Confines, TooLarge> {
        Ok(Confines::unsaid())
    }

    /// The clauses that decide all paths of one answer of [`Evaluate::paths`]. So no clause is missed by which an
    /// artifact differs from its policy. `None`: the reader does not know them, or there are too many. Then
    /// [`Evaluate::clause`] answers for one object at a time.
    fn deciders(&self, operation: Operation, answer: &Allowed) -> Option<Deciders> {
        let _ = (operation, answer);
        None
    }

    /// The clause that decides one object. `None`: it is not a single one.
    fn clause(&self, operation: Operation, object: &Object) -> Option<Clause>;
}
