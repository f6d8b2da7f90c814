//! What a module lets its domain do on paths, and the ledger that follows. The attribute `domain` adds rights.
//!
//! The rules are those of security/selinux/hooks.c of Linux 6.12:
//!
//! - A new object has no label yet. It gets its directory's type, unless a `type_transition` says otherwise. The
//!   directory's type must let names be added (`may_create`).
//! - An object that is removed or moved away is checked by its own label. Its directory's type must let names be
//!   removed (`may_link`, `may_rename`).
//! - To set times to now, the domain needs `write`. For other metadata it needs `setattr`.

use super::base::{
    BaseType, EVERYONE_LISTS, EVERYONE_READS, LabelledAs, NOT_LISTED, SECURITY, SECURITY_FILES,
    SPECIAL, SPECIAL_FILES, WITHIN_OPT, within_etc,
};
use super::lower::Labels;
use super::model::Rights;
use crate::fidelity::Fidelity;
use crate::policy::{Component, Operation, PathPattern, Rule, Sequence, Token};
use crate::semantics::{Classified, Dfa, LedgerBuilder, PathSet, TooLarge, classified};
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The domain's rights on every type.
pub struct DomainRights<'h> {
    pub labels: &'h Labels,
    pub base: &'h [(&'static BaseType, Rights)],
    /// A directory whose new files get a type of the module, and the rights on that type.
    pub temporary: Option<(&'h [u8], Rights)>,
    /// The rights on paths that the module does not label.
    pub open: Rights,
    /// The entry points.
    pub programs: &'h [Sequence],
}

/// How a path is looked at. The base policy has labels for files that it does not use for directories of the same name.
#[derive(Clone, Copy)]
enum View {
    File,
    Directory,
    /// The directory that the path is in.
    Above,
}

const FILE: u16 = 1 << View::File as u16;
const DIRECTORY: u16 = 1 << View::Directory as u16;
const ABOVE: u16 = 1 << View::Above as u16;

/// The label of a path, as far as it matters for the domain's rights.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    /// Only the rules on everything apply.
    Open,
    /// Ordinary domains never use it.
    Nothing,
    /// A type with these rights.
    Rights(Rights),
    /// The root, which is no file and lies in no directory.
    Root,
    /// An entry point. The domain reads it when it starts, and may do nothing else with it.
    Program,
    /// The directory whose new files get a type of the module.
    Temporary,
    /// Every domain may read it as a file.
    EveryoneReads,
    /// Every domain may list it.
    EveryoneLists,
}

fn tree_beneath(path: &[u8]) -> Sequence {
    beneath(&Sequence::literal(path)).tree()
}

/// The pattern for the entries of the directories that a pattern matches.
fn beneath(directory: &Sequence) -> Sequence {
    let mut s = directory.clone();
    // `/a/*/**`, and not `/a/**/*`: with the first, everything deeper is one state of the automaton, in every tree.
    let tree = s.components.last() == Some(&Component::AnyDepth);
    let at = s.components.len() - usize::from(tree);
    s.components
        .insert(at, Component::Name([Token::Star].into()));
    s
}

fn parsed<P: AsRef<str>>(list: &[P]) -> Vec<Sequence> {
    list.iter()
        .filter_map(|p| PathPattern::parse(p.as_ref()).ok())
        .flat_map(|p| p.sequences)
        .collect()
}

/// Rules from patterns to labels, the strongest label first. Each has its views, its patterns, and its label.
#[derive(Default)]
struct LabelRules(Vec<(u16, Vec<Sequence>, Label)>);

impl LabelRules {
    fn add(&mut self, views: u16, patterns: Vec<Sequence>, label: Label) {
        if views & ABOVE != 0 {
            self.0
                .push((ABOVE, patterns.iter().map(beneath).collect(), label));
        }
        self.0.push((views & !ABOVE, patterns, label));
    }
}

/// The label of each path, by view.
struct Labelled {
    labels: Vec<Label>,
    views: [Result<Dfa, TooLarge>; 3],
}

impl Labelled {
    /// The paths whose label satisfies `holds`.
    fn set(&self, view: View, holds: impl Fn(Label) -> bool) -> Result<PathSet, TooLarge> {
        let dfa = self.views[view as usize].as_ref().map_err(|e| *e)?;
        Ok(PathSet::from_dfa(dfa, |l| holds(self.labels[l as usize])))
    }
}

impl DomainRights<'_> {
    /// The rules. `own`: with the labels of the module itself.
    fn rules(&self, own: bool) -> LabelRules {
        const ALL: u16 = FILE | DIRECTORY | ABOVE;
        let mut rules = LabelRules::default();
        // If no rule lets names be added or removed, the directory of an object does not matter.
        let changes = |r: &Rights| r.has(Operation::Create) || r.has(Operation::Delete);
        let mut all = self
            .labels
            .objects
            .values()
            .chain(self.labels.trees.values());
        let inside = match changes(&self.open) || all.any(changes) {
            true => ALL,
            false => FILE | DIRECTORY,
        };
        // The root is in no directory.
        let root = vec![Sequence::default()];
        rules.0.push((ALL, root, Label::Root));
        rules.add(ALL, self.programs.to_vec(), Label::Program);
        if let Some((path, _)) = self.temporary {
            let directory = vec![Sequence::literal(path)];
            rules.add(DIRECTORY | ABOVE, directory, Label::Temporary);
        }
        let mut objects: BTreeMap<Rights, Vec<Sequence>> = BTreeMap::new();
        let labels = |all| own.then_some(all).into_iter().flatten();
        for (path, rights) in labels(&self.labels.objects) {
            let of = objects.entry(*rights).or_default();
            of.push(Sequence::literal(path));
        }
        for (rights, paths) in objects {
            rules.add(inside, paths, Label::Rights(rights));
        }
        // The longest literal beginning wins. So deeper trees come first. Trees of one depth do not intersect.
        let mut trees: BTreeMap<(Reverse<usize>, Rights), Vec<Sequence>> = BTreeMap::new();
        for (path, rights) in labels(&self.labels.trees) {
            let depth = path.iter().filter(|b| **b == b'/').count();
            let of = trees.entry((Reverse(depth), *rights)).or_default();
            of.push(tree_beneath(path));
        }
        for ((_, rights), paths) in trees {
            rules.add(inside, paths, Label::Rights(rights));
        }
        if let Some((path, rights)) = self.temporary {
            rules.add(ALL, vec![tree_beneath(path)], Label::Rights(rights));
        }
        rules.add(FILE, parsed(&SECURITY_FILES), Label::Nothing);
        rules.add(FILE, parsed(&SPECIAL_FILES), Label::Open);
        rules.add(FILE, parsed(&EVERYONE_READS), Label::EveryoneReads);
        for (t, rights) in self.base.iter().filter(|(t, _)| !t.files.is_empty()) {
            rules.add(FILE, parsed(t.files), Label::Rights(*rights));
        }
        rules.add(ALL, parsed(&SECURITY), Label::Nothing);
        rules.add(ALL, parsed(&SPECIAL), Label::Open);
        let label_of = |name: &str| {
            let of = self.base.iter().find(|(t, _)| t.name == name);
            of.map_or(Label::Open, |(_, rights)| Label::Rights(*rights))
        };
        for (labelled, label, patterns) in within_etc() {
            let views = match labelled {
                LabelledAs::Files => FILE,
                LabelledAs::Directories => DIRECTORY | ABOVE,
                LabelledAs::Everything => ALL,
            };
            rules.add(views, parsed(&patterns), label_of(label));
        }
        for (pattern, files, label) in WITHIN_OPT {
            let label = label_of(label);
            rules.add(if files { FILE } else { ALL }, parsed(&[pattern]), label);
        }
        let mut trees: Vec<(&str, Rights)> = Vec::new();
        for (t, rights) in self.base {
            trees.extend(t.trees.iter().map(|path| (*path, *rights)));
        }
        trees.sort_by_key(|(path, _)| Reverse(path.len()));
        for (path, rights) in trees {
            let tree = Sequence::literal(path.as_bytes()).tree();
            rules.add(ALL, vec![tree], Label::Rights(rights));
        }
        rules.add(DIRECTORY, parsed(&NOT_LISTED), Label::Open);
        rules.add(DIRECTORY, parsed(&EVERYONE_LISTS), Label::EveryoneLists);
        rules
    }

    fn labelled(&self) -> Labelled {
        let LabelRules(list) = self.rules(true);
        let mut numbers: BTreeMap<Label, u32> = BTreeMap::new();
        let mut labels: Vec<Label> = Vec::new();
        let mut number = |label: Label| {
            *numbers.entry(label).or_insert_with(|| {
                labels.push(label);
                labels.len() as u32 - 1
            })
        };
        let open = number(Label::Open);
        let cases: Vec<Classified<'_, Sequence>> = list
            .iter()
            .filter(|(_, patterns, _)| !patterns.is_empty())
            .map(|(views, patterns, label)| Classified {
                include: patterns,
                except: &[],
                views: *views,
                class: number(*label),
            })
            .collect();
        let views = classified(&cases, open);
        Labelled { labels, views }
    }

    /// The objects on whose own label the domain has an operation.
    fn on_label(
        &self,
        operation: Operation,
        view: View,
        labelled: &Labelled,
    ) -> Result<PathSet, TooLarge> {
        let open = self.open.has(operation);
        labelled.set(view, |label| match label {
            Label::Rights(rights) => rights.has(operation),
            Label::Nothing => false,
            Label::Program => operation == Operation::Read,
            Label::EveryoneReads => operation == Operation::Read || open,
            // The root can be listed as well.
            Label::EveryoneLists | Label::Root => operation == Operation::List || open,
            Label::Open | Label::Temporary => open,
        })
    }

    /// The programs that the domain can start. The kernel opens a program for reading when it starts it.
    ///
    /// This set has an automaton of its own. Commands name programs wherever they lie, so in the other automaton each
    /// name would be in every directory.
    fn started(&self) -> Result<PathSet, TooLarge> {
        let has = |r: Rights| r.has_all(&[Operation::Execute, Operation::Read]);
        let open = has(self.open);
        let read_by_all = self.open.has(Operation::Execute);
        let mut own = self.labels.objects.iter().chain(&self.labels.trees);
        let is_in_base = |path: &[u8]| {
            let mut trees = self.base.iter().flat_map(|(t, _)| t.trees);
            trees.any(|top| path.starts_with(top.as_bytes()))
        };
        // If no label has the right, labels that deny it would only make the set larger. Within the trees of the base
        // policy, an object with a label of the module is not a program any more.
        let own = own.any(|(path, rights)| has(*rights) || is_in_base(path));
        let LabelRules(list) = self.rules(open || read_by_all || own);
        let about = list.iter().filter(|(views, ..)| views & FILE != 0);
        let about = about.filter(|(.., label)| *label != Label::Root);
        let holds = |label: &Label| match label {
            Label::Rights(rights) => has(*rights),
            Label::Nothing | Label::Program => false,
            Label::EveryoneReads => read_by_all,
            _ => open,
        };
        let mut rules: Vec<(&[Sequence], bool)> = about
            .map(|(_, patterns, label)| (patterns.as_slice(), holds(label)))
            .collect();
        while rules.pop_if(|(_, value)| *value == open).is_some() {}
        PathSet::first_match(rules, open)
    }

    /// The objects whose times the domain can set to now.
    fn touched(&self, view: View, labelled: &Labelled) -> Result<PathSet, TooLarge> {
        let has = |r: Rights| match view {
            View::File => r.has(Operation::Edit),
            _ => r.writes_directories(),
        };
        labelled.set(view, |label| match label {
            Label::Rights(rights) => has(rights),
            Label::Nothing | Label::Program => false,
            Label::Temporary => true,
            // The root is no file.
            Label::Root => self.open.writes_directories(),
            Label::Open | Label::EveryoneReads | Label::EveryoneLists => has(self.open),
        })
    }

    /// The entries of directories whose type lets names be added and removed. The root is in no directory, so its own
    /// label counts.
    fn inside(&self, operation: Operation, labelled: &Labelled) -> Result<PathSet, TooLarge> {
        let open = self.open.has(operation);
        labelled.set(View::Above, |label| match label {
            Label::Rights(rights) => rights.has(operation),
            Label::Nothing | Label::Program => false,
            Label::Temporary => true,
            _ => open,
        })
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

/// Writes the ledger's entries for paths.
///
/// # Errors
/// The automata are too large.
pub fn account(
    held: &DomainRights<'_>,
    ledger: &mut LedgerBuilder<'_, '_>,
) -> Result<(), TooLarge> {
    use Operation::{Create, Delete, Edit, Execute, List, Metadata, Read};
    let labelled = &held.labelled();
    for (operation, view) in [
        (Read, View::File),
        (List, View::Directory),
        (Edit, View::File),
    ] {
        let set = held.on_label(operation, view, labelled)?;
        ledger.paths(operation, &set, &reason(operation))?;
    }
    ledger.paths(Execute, &held.started()?, &reason(Execute))?;
    let views = [View::File, View::Directory];
    for view in views {
        let set = held.on_label(Metadata, view, labelled)?;
        ledger.paths(Metadata, &set, &reason(Metadata))?;
    }
    for view in views {
        let set = held.touched(view, labelled)?;
        ledger.paths(Metadata, &set, &|_, _| {
            "setting times to now takes the right to write, and no more".into()
        })?;
    }
    ledger.paths(Create, &held.inside(Create, labelled)?, &reason(Create))?;
    let removed = held.inside(Delete, labelled)?;
    let files = held.on_label(Delete, View::File, labelled)?;
    let files = files.intersection(&removed)?;
    let directories = held.on_label(Delete, View::Directory, labelled)?;
    let directories = directories.intersection(&removed)?;
    for set in [&files, &directories] {
        ledger.paths(Delete, set, &reason(Delete))?;
    }
    ledger.moved_away(&directories, &files)
}
