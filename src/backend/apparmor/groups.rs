//! From what each right is granted and denied on to the file rules that each rule of the policy comes to.

use super::model::{Access, FileRule, Form, Group, Origin, Piece};
use crate::policy::Sequence;
use rustc_hash::FxHashMap;

/// Rights on files and on directories, a bit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Rights(u8);

impl Rights {
    /// Reading a file, and mapping it as code.
    pub const READ: Self = Self(1);
    /// Listing a directory.
    pub const LIST: Self = Self(2);
    /// Changing, making and removing a file.
    pub const WRITE: Self = Self(4);
    /// Making, removing and moving a directory.
    pub const MOVE: Self = Self(8);
    /// Starting a file as a program.
    pub const EXECUTE: Self = Self(16);

    fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The rules of AppArmor that have these rights and no more: of which form, with which letters.
    fn spelled(self, deny: bool) -> Vec<(Form, String)> {
        let files = [self.has(Self::READ), self.has(Self::WRITE)];
        let directories = [self.has(Self::LIST), self.has(Self::MOVE)];
        let execute = self.has(Self::EXECUTE);
        let both = [0, 1].map(|i| files[i] && directories[i]);
        let any = |of: [bool; 2]| of.contains(&true);
        // Starting means nothing for a directory, and goes with any rule that a file has.
        let rest = |of: [bool; 2]| [0, 1].map(|i| of[i] && !both[i]);
        let on_files = rest(files);
        let mut out = Vec::new();
        if any(both) {
            out.push((
                Form::Both,
                letters(both, execute && !any(on_files), true, deny),
            ));
        }
        if any(on_files) || (execute && !any(both)) {
            out.push((Form::File, letters(on_files, execute, true, deny)));
        }
        if any(rest(directories)) {
            out.push((
                Form::Directory,
                letters(rest(directories), false, false, deny),
            ));
        }
        out
    }
}

/// Locks are free: whoever may open a file for either may lock it (`k`).
fn letters([read, write]: [bool; 2], execute: bool, files: bool, deny: bool) -> String {
    let mut out = String::new();
    let mut add = |letters, if_so: bool| {
        if if_so {
            out.push_str(letters);
        }
    };
    add("r", read);
    add("w", write);
    add("m", read && files && !deny);
    add("k", files && !deny);
    match deny {
        true => add("x", execute),
        false => add("ix", execute),
    }
    // A program that may be started and neither read nor written to cannot be opened.
    match out.as_str() {
        "kix" => "ix".to_owned(),
        _ => out,
    }
}

/// What one rule of the policy grants, or denies, by pattern.
#[derive(Default)]
struct Said {
    order: Vec<Sequence>,
    rights: FxHashMap<Sequence, Rights>,
}

impl Said {
    fn add(&mut self, pattern: &Sequence, right: Rights) {
        match self.rights.get_mut(pattern) {
            Some(rights) => *rights = rights.with(right),
            None => {
                self.order.push(pattern.clone());
                self.rights.insert(pattern.clone(), right);
            }
        }
    }

    /// The patterns by what is said of them, in their order.
    fn by_rights(self) -> Vec<(Rights, Vec<Sequence>)> {
        let mut out: Vec<(Rights, Vec<Sequence>)> = Vec::new();
        for pattern in self.order {
            let rights = self.rights.get(&pattern).copied().unwrap_or_default();
            match out.iter_mut().find(|(of, _)| *of == rights) {
                Some((_, patterns)) => patterns.push(pattern),
                None => out.push((rights, vec![pattern])),
            }
        }
        out
    }
}

/// The file rules, by the rule of the policy that they are from, in the policy's order.
pub fn groups<const N: usize>(rights: [(Rights, &Access); N]) -> Vec<Group> {
    let mut said: FxHashMap<Origin, [Said; 2]> = FxHashMap::default();
    for (right, access) in rights {
        for (list, deny) in [(&access.allow, 0), (&access.deny, 1)] {
            for Piece { pattern, origin } in list {
                said.entry(*origin).or_default()[deny].add(pattern, right);
            }
        }
    }
    let mut said: Vec<(Origin, [Said; 2])> = said.into_iter().collect();
    said.sort_by_key(|(origin, _)| *origin);
    said.into_iter()
        .map(|(origin, [allow, deny])| {
            let mut rules = Vec::new();
            for (said, deny) in [(allow, false), (deny, true)] {
                for (rights, patterns) in said.by_rights() {
                    for (form, letters) in rights.spelled(deny) {
                        rules.push(FileRule {
                            deny,
                            patterns: patterns.clone(),
                            form,
                            rights: letters,
                        });
                    }
                }
            }
            Group { origin, rules }
        })
        .collect()
}
