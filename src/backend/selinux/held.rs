//! What a module (with what `domain` brings) lets its domain do on paths, and from that its ledger.
//!
//! As security/selinux/hooks.c of Linux 6.12 asks. What is made has no label of its own yet: it is of its
//! directory's type, unless a `type_transition` says otherwise, and that directory must let names be added
//! (`may_create`). What is removed or moved away is judged by its own label, and its directory must let names be
//! removed (`may_link`, `may_rename`). Times that are set to now take `write`, other metadata `setattr`.

use super::base::{
    BaseType, EVERYONE_LISTS, EVERYONE_READS, NOT_LISTED, SECURITY, SECURITY_FILES, SPECIAL,
    SPECIAL_FILES,
};
use super::lower::Labels;
use super::model::Rights;
use crate::fidelity::Fidelity;
use crate::policy::{Component, Operation, PathPattern, Rule, Sequence, Token};
use crate::semantics::{LedgerBuilder, PathSet, TooLarge};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What the domain holds on every type.
pub struct Held<'h> {
    pub labels: &'h Labels,
    pub base: &'h [(&'static BaseType, Rights)],
    /// The directory whose files get a type when they are made, and the rights on it.
    pub temporary: Option<(&'h [u8], Rights)>,
    /// The rights on what the module does not label.
    pub open: Rights,
    /// The entry points.
    pub programs: &'h [Sequence],
}

/// As what an object is labelled: the base policy has labels for files that directories of the same name have not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Directory,
}

type Clauses = Vec<(Vec<Sequence>, bool)>;

fn tree_beneath(path: &[u8]) -> Sequence {
    beneath(&Sequence::literal(path)).tree()
}

/// The pattern of what lies in the directories that a pattern is for.
fn beneath(directory: &Sequence) -> Sequence {
    let mut s = directory.clone();
    s.components.push(Component::Name([Token::Star].into()));
    s
}

fn parsed(list: &[&str]) -> Vec<Sequence> {
    list.iter()
        .filter_map(|p| PathPattern::parse(p).ok())
        .flat_map(|p| p.sequences)
        .collect()
}

/// Sets that were made: most operations are held on the same labels.
#[derive(Default)]
struct Sets(Vec<(Clauses, bool, Rc<PathSet>)>);

impl Sets {
    fn of(&mut self, clauses: Clauses, default: bool) -> Result<Rc<PathSet>, TooLarge> {
        let known = self.0.iter().find(|k| k.1 == default && k.0 == clauses);
        if let Some((_, _, set)) = known {
            return Ok(Rc::clone(set));
        }
        let all = clauses.iter().map(|(s, v)| (s.as_slice(), *v));
        let set = Rc::new(PathSet::first_match(all, default)?);
        self.0.push((clauses, default, Rc::clone(&set)));
        Ok(set)
    }
}

impl Held<'_> {
    /// The labels in the order in which they win, each with whether it has what `has` asks. `everyone`: every domain
    /// has it on what every domain may read.
    fn by_label(&self, kind: Kind, everyone: bool, has: impl Fn(Rights) -> bool) -> Clauses {
        let mut clauses: Clauses = Vec::new();
        // Where no label has the right, denying it once more beneath would only make the set larger.
        let all = self
            .labels
            .objects
            .values()
            .chain(self.labels.trees.values());
        if everyone || has(self.open) || all.copied().any(&has) {
            for value in [true, false] {
                let objects = self.labels.objects.iter();
                let those = objects.filter(|(_, r)| has(**r) == value);
                clauses.push((those.map(|(p, _)| Sequence::literal(p)).collect(), value));
            }
            // Longest first, as the longest literal beginning wins: by depth, and within one depth no two meet.
            let mut by_depth: BTreeMap<usize, [Vec<Sequence>; 2]> = BTreeMap::new();
            for (path, rights) in &self.labels.trees {
                let depth = path.iter().filter(|b| **b == b'/').count();
                by_depth.entry(depth).or_default()[usize::from(has(*rights))]
                    .push(tree_beneath(path));
            }
            for (_, [denied, granted]) in by_depth.into_iter().rev() {
                clauses.push((denied, false));
                clauses.push((granted, true));
            }
        }
        if let Some((path, rights)) = self.temporary {
            clauses.push((vec![tree_beneath(path)], has(rights)));
        }
        // Where base types have nothing, neither has what lies between them.
        if !has(self.open) && !self.base.iter().any(|(_, rights)| has(*rights)) {
            if everyone {
                clauses.push((parsed(&EVERYONE_READS), true));
            }
            return clauses;
        }
        if kind == Kind::File {
            clauses.push((parsed(&SECURITY_FILES), false));
            clauses.push((parsed(&SPECIAL_FILES), has(self.open)));
            clauses.push((parsed(&EVERYONE_READS), everyone || has(self.open)));
            let with_files = self.base.iter().filter(|(t, _)| !t.files.is_empty());
            clauses.extend(with_files.map(|(t, rights)| (parsed(t.files), has(*rights))));
        }
        clauses.push((parsed(&SECURITY), false));
        clauses.push((parsed(&SPECIAL), has(self.open)));
        let mut trees: Vec<(usize, Sequence, bool)> = Vec::new();
        for (t, rights) in self.base {
            trees.extend(t.trees.iter().map(|p| {
                (
                    p.len(),
                    Sequence::literal(p.as_bytes()).tree(),
                    has(*rights),
                )
            }));
        }
        trees.sort_by_key(|t| std::cmp::Reverse(t.0));
        clauses.extend(trees.into_iter().map(|(_, s, value)| (vec![s], value)));
        clauses
    }

    /// The objects on whose own label an operation is held.
    fn on_label(
        &self,
        operation: Operation,
        kind: Kind,
        sets: &mut Sets,
    ) -> Result<Rc<PathSet>, TooLarge> {
        let needed: &[Operation] = match operation {
            // The kernel opens a program for reading as it starts it.
            Operation::Execute => &[Operation::Execute, Operation::Read],
            _ => &[operation],
        };
        let open = self.open.has_all(needed);
        // The entry point has a type of its own, which is read as it starts and no more.
        let mut clauses = vec![(self.programs.to_vec(), operation == Operation::Read)];
        let everyone = operation == Operation::Read && kind == Kind::File;
        clauses.extend(self.by_label(kind, everyone, |r| r.has_all(needed)));
        if operation == Operation::List {
            clauses.push((parsed(&NOT_LISTED), open));
            clauses.push((parsed(&EVERYONE_LISTS), true));
        }
        sets.of(clauses, open)
    }

    /// Whose times can be set to now.
    fn touched(&self, kind: Kind, sets: &mut Sets) -> Result<Rc<PathSet>, TooLarge> {
        let has = |r: Rights| match kind {
            Kind::File => r.has(Operation::Edit),
            Kind::Directory => r.writes_directories(),
        };
        let mut clauses = vec![(self.programs.to_vec(), false)];
        // The root is no file.
        let root = self.open.writes_directories();
        if root != has(self.open) {
            clauses.push((vec![Sequence::default()], root));
        }
        if let (Kind::Directory, Some((path, _))) = (kind, self.temporary) {
            clauses.push((vec![Sequence::literal(path)], true));
        }
        clauses.extend(self.by_label(kind, false, has));
        sets.of(clauses, has(self.open))
    }

    /// What lies in directories whose type lets names be added and removed; the root lies in none, and goes by its
    /// own label.
    fn inside(&self, operation: Operation, sets: &mut Sets) -> Result<Rc<PathSet>, TooLarge> {
        let open = self.open.has(operation);
        let mut clauses = vec![(self.programs.to_vec(), false)];
        if let Some((path, _)) = self.temporary {
            clauses.push((vec![Sequence::literal(path)], true));
        }
        clauses.extend(self.by_label(Kind::Directory, false, |r| r.has(operation)));
        let inside = clauses
            .iter()
            .map(|(s, v)| (s.iter().map(beneath).collect(), *v));
        let root = (vec![Sequence::default()], open);
        sets.of(std::iter::once(root).chain(inside).collect(), open)
    }
}

fn reason(operation: Operation) -> impl Fn(Option<&Rule>, Fidelity) -> Cow<'static, str> {
    move |_, fidelity| {
        match (operation, fidelity) {
        (Operation::Create | Operation::Delete, Fidelity::Stricter) => {
            "names are added and removed in directories of the module's own types alone: the base policy's, such as the one above the top of a tree, stay as they are".into()
        }
        (Operation::Execute, Fidelity::Stricter) => {
            "starting a program takes reading it, too, and base types stay as they are".into()
        }
        (Operation::Create, _) => {
            "what is made is of its directory's type, whatever it is called".into()
        }
        (_, Fidelity::Stricter) => "system trees and home directories keep the base policy's types, and only those whose tree the policy allows are granted".into(),
        _ => "rules are about types: a pattern with wildcards gets none, and base types have files that the policy denies".into(),
    }
    }
}

/// The ledger's entries for paths.
///
/// # Errors
/// The automata are too large.
pub fn account(held: &Held<'_>, ledger: &mut LedgerBuilder<'_, '_>) -> Result<(), TooLarge> {
    use Operation::{Create, Delete, Edit, Execute, List, Metadata, Read};
    let sets = &mut Sets::default();
    for (operation, kind) in [
        (Read, Kind::File),
        (List, Kind::Directory),
        (Edit, Kind::File),
        (Execute, Kind::File),
    ] {
        let set = held.on_label(operation, kind, sets)?;
        ledger.paths(operation, &set, &reason(operation))?;
    }
    let [file, directory] =
        [Kind::File, Kind::Directory].map(|kind| held.on_label(Metadata, kind, sets));
    let (file, directory) = (file?, directory?);
    each(&file, &directory, |set| {
        ledger.paths(Metadata, set, &reason(Metadata))
    })?;
    let [touched, own] = [Kind::File, Kind::Directory].map(|kind| held.touched(kind, sets));
    let (touched, own) = (touched?, own?);
    // Where that is what holds of all metadata there is nothing to add.
    if !(Rc::ptr_eq(&touched, &file) && Rc::ptr_eq(&own, &directory)) {
        each(&touched, &own, |set| {
            ledger.paths(Metadata, set, &|_, _| {
                "setting times to now takes the right to write, and no more".into()
            })
        })?;
    }
    ledger.paths(Create, &*held.inside(Create, sets)?, &reason(Create))?;
    let removed = held.inside(Delete, sets)?;
    let [file, directory] =
        [Kind::File, Kind::Directory].map(|kind| held.on_label(Delete, kind, sets));
    let (file, directory) = (file?, directory?);
    let files = Rc::new(file.intersection(&removed)?);
    let directories = match Rc::ptr_eq(&file, &directory) {
        true => Rc::clone(&files),
        false => Rc::new(directory.intersection(&removed)?),
    };
    each(&files, &directories, |set| {
        ledger.paths(Delete, set, &reason(Delete))
    })?;
    ledger.moved_away(&directories, &files)
}

/// Once where both are one.
fn each(
    file: &Rc<PathSet>,
    directory: &Rc<PathSet>,
    mut say: impl FnMut(&PathSet) -> Result<(), TooLarge>,
) -> Result<(), TooLarge> {
    say(file)?;
    match Rc::ptr_eq(file, directory) {
        true => Ok(()),
        false => say(directory),
    }
}
