//! Searches denied directories of this host.

use super::derive::{INSTALLED, beneath, is_wide, lies_within};
use super::links::{Entry, FileOnDisk, Resolver, View, join};
use crate::fidelity::Object;
use crate::policy::{Component, Objects, Operation, Policy, Rule, Sequence, Subject};
use crate::semantics::decide;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

/// The search looks at this many entries of one denied directory, with those beneath it. It starts at the top.
const IN_ONE: usize = 1_000;
/// It looks at this many entries of all denied directories together.
const IN_ALL: usize = 10_000;
/// It looks at this many links of all denied directories together.
const LINKS: usize = 500;
/// These directories are not searched, because the kernel makes up their contents.
const MADE_UP: [&str; 3] = ["/dev", "/proc", "/sys"];

/// The names of a path, from the root.
pub(super) type Names = Vec<Vec<u8>>;

/// The entries of a directory, by name.
type Listing = Rc<Vec<(Vec<u8>, Entry)>>;

/// A search through the paths that the rules of one policy deny.
pub(super) struct Search<'s> {
    policy: &'s Policy,
    view: &'s dyn View,
    resolver: &'s Resolver<'s>,
    listed: FxHashMap<Vec<u8>, Listing>,
    entries: usize,
    links: usize,
    /// The denied names of each file that has more than one name.
    files: BTreeMap<FileOnDisk, BTreeSet<Vec<u8>>>,
    /// The directories that were not searched completely.
    unseen: BTreeSet<Vec<u8>>,
}

impl<'s> Search<'s> {
    pub(super) fn new(policy: &'s Policy, view: &'s dyn View, resolver: &'s Resolver<'s>) -> Self {
        Self {
            policy,
            view,
            resolver,
            listed: FxHashMap::default(),
            entries: 0,
            links: 0,
            files: BTreeMap::new(),
            unseen: BTreeSet::new(),
        }
    }

    /// The links beneath the directories that the rule denies. Each has the name that the rule denies.
    pub(super) fn links(&mut self, rule: &Rule) -> BTreeSet<Names> {
        let mut found = BTreeSet::new();
        let Objects::Paths { paths, except } = &rule.objects else {
            return found;
        };
        let except: Vec<&Sequence> = except.iter().flat_map(|p| &p.sequences).collect();
        for sequence in paths.iter().flat_map(|p| &p.sequences) {
            for shallow in [without_depth(sequence), sequence.clone()] {
                if has_depth_inside(&shallow) || shallow.literal_names().next().is_none() {
                    continue;
                }
                self.tree(rule, &shallow, &except, &mut found);
                if shallow == *sequence {
                    break;
                }
            }
        }
        found
    }

    /// Denied files with another name, which no rule was found to deny, and directories that were not searched
    /// completely.
    pub(super) fn told(self) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let open = |(file, names): (FileOnDisk, BTreeSet<Vec<u8>>)| {
            let fewer = u64::try_from(names.len()).is_ok_and(|n| n < file.names);
            names.into_iter().next().filter(|_| fewer)
        };
        (
            self.files.into_iter().filter_map(open).collect(),
            self.unseen.into_iter().collect(),
        )
    }

    fn tree(
        &mut self,
        rule: &Rule,
        sequence: &Sequence,
        except: &[&Sequence],
        found: &mut BTreeSet<Names>,
    ) {
        let top: Names = sequence.literal_names().map(<[u8]>::to_vec).collect();
        let Some(real) = self.real(&top) else {
            return;
        };
        if is_covered(&sequence.components, &top) {
            self.file(rule, &real);
        }
        if sequence.as_literal().is_some() || self.is_left_out(rule, &real) {
            return;
        }
        let mut left = IN_ONE;
        // A directory that is only protected from changes is mostly installed software. It is large and has no secrets.
        let deep = rule.operations.contains(Operation::Read);
        let whole = sequence.as_literal_tree().is_some() && except.is_empty();
        let mut seen = BTreeSet::from([real.clone()]);
        let mut todo = VecDeque::from([(top.clone(), real)]);
        while let Some((named, real)) = todo.pop_front() {
            for (name, entry) in self.list(&real, left).iter() {
                if left == 0 || self.entries >= IN_ALL || self.links >= LINKS {
                    if deep {
                        self.unseen.insert(join(&top));
                    }
                    return;
                }
                left -= 1;
                let mut path = real.clone();
                path.push(b'/');
                path.extend_from_slice(name);
                if whole && *entry == Entry::File {
                    self.file(rule, &path);
                    continue;
                }
                let mut child = named.clone();
                child.push(name.clone());
                let rests = beneath(&sequence.components, &child);
                let excepted = |whole: bool| {
                    let rests = except.iter().flat_map(|s| beneath(&s.components, &child));
                    rests.into_iter().any(|rest| match rest {
                        [] => !whole,
                        [Component::AnyDepth] => true,
                        _ => false,
                    })
                };
                if rests.is_empty() || excepted(true) {
                    continue;
                }
                let goes_on = rests.iter().any(|rest| !rest.is_empty());
                match entry {
                    Entry::File if is_covered(&sequence.components, &child) => {
                        if !excepted(false) {
                            self.file(rule, &path);
                        }
                    }
                    Entry::Directory if deep && goes_on && seen.insert(path.clone()) => {
                        todo.push_back((child, path));
                    }
                    Entry::Link => {
                        self.links += 1;
                        let end = self.real(&child);
                        found.insert(child.clone());
                        let end = end.filter(|end| deep && goes_on && self.view.is_directory(end));
                        if let Some(end) = end.filter(|end| !self.is_left_out(rule, end))
                            && seen.insert(end.clone())
                        {
                            todo.push_back((child, end));
                        }
                    }
                    Entry::File | Entry::Directory | Entry::Other => {}
                }
            }
        }
    }

    fn real(&self, names: &Names) -> Option<Vec<u8>> {
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        self.resolver.walk(&names).end.map(|end| join(&end))
    }

    fn list(&mut self, path: &[u8], most: usize) -> Listing {
        if let Some(known) = self.listed.get(path) {
            return Rc::clone(known);
        }
        // One more than the limit, to find out whether there are more.
        let most = most.min(IN_ALL.saturating_sub(self.entries)) + 1;
        let listed = Rc::new(self.view.entries(path, most));
        self.entries += listed.len();
        if listed.len() < most {
            self.listed.insert(path.to_vec(), Rc::clone(&listed));
        }
        listed
    }

    /// Remembers a denied file that has more than one name.
    fn file(&mut self, rule: &Rule, path: &[u8]) {
        let installed = INSTALLED.iter().any(|t| lies_within(path, t.as_bytes()));
        let Some(file) = self.view.file(path).filter(|f| f.names > 1 && !installed) else {
            return;
        };
        let denied = [Operation::Read, Operation::Edit].into_iter().any(|o| {
            let object = Object::Path(path.to_vec());
            rule.operations.contains(o) && !decide(self.policy, o, &object).action.permits()
        });
        if denied {
            self.files.entry(file).or_default().insert(path.to_vec());
        }
    }

    /// Whether a directory is not searched.
    fn is_left_out(&self, rule: &Rule, path: &[u8]) -> bool {
        let within = |trees: &[&str]| trees.iter().any(|t| lies_within(path, t.as_bytes()));
        let subject: &Subject = &self.policy.subject;
        let reads = rule.operations.contains(Operation::Read);
        within(&MADE_UP) || within(&INSTALLED) && !reads || is_wide(subject, path)
    }
}

/// Whether the rest of the pattern beneath the names matches that very object.
fn is_covered(components: &[Component], named: &Names) -> bool {
    let rests = beneath(components, named);
    rests
        .iter()
        .any(|rest| matches!(rest, [] | [Component::AnyDepth]))
}

/// The pattern without each `**`, except one at its end.
fn without_depth(sequence: &Sequence) -> Sequence {
    let last = sequence.components.len().saturating_sub(1);
    let components = sequence.components.iter().enumerate();
    let kept = components.filter(|(i, c)| **c != Component::AnyDepth || *i == last);
    Sequence {
        components: kept.map(|(_, c)| c.clone()).collect(),
    }
}

/// Whether the pattern has a `**` before its end. Such a pattern searches, and denies no directory.
fn has_depth_inside(sequence: &Sequence) -> bool {
    let init = sequence.components.split_last().map(|(_, init)| init);
    init.unwrap_or_default().contains(&Component::AnyDepth)
}
