//! Rules, and the files that they are included from.

use super::files::{self, Files, Found, Key, MAX_DEPTH, Wanted};
use super::node::Node;
use super::reader::{Report, list, quoted};
use super::rule::{Entry, Place, entry};
use super::{POLICY_KEYS, SET_KEYS, default_action, head, question, value};
use crate::diagnostics::{Diagnostic, codes};
use crate::policy::{FileId, Platforms, Rule, Span, Subject};
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// Collects the rules of a policy, of its bases, and of everything that these include.
pub(super) struct Includer<'a> {
    files: Files<'a>,
    subject: &'a Subject,
    rules: Vec<Rule>,
    names: FxHashMap<String, Span>,
    /// The files that are being read, the policy first.
    open: Vec<(FileId, Option<Key>)>,
    /// What the files that are being read now are for.
    platforms: Platforms,
    /// The level that is being read: 0 for the policy itself.
    level: usize,
    /// Every included set, with the place of its `include` and its level.
    seen: FxHashMap<Key, (Span, usize)>,
    /// The names of sets and bases, with the places that name them.
    sets: FxHashMap<String, Span>,
}

impl<'a> Includer<'a> {
    /// For a policy whose bases have been read.
    pub fn new(files: Files<'a>, subject: &'a Subject) -> Self {
        Self {
            files,
            subject,
            rules: Vec::new(),
            names: FxHashMap::default(),
            open: Vec::new(),
            platforms: Platforms::ALL,
            level: 0,
            seen: FxHashMap::default(),
            sets: FxHashMap::default(),
        }
    }

    /// How many rules there are so far.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// The rules, in order.
    pub fn finish(self) -> Vec<Rule> {
        self.rules
    }

    /// Reads the rules of the policy itself.
    pub fn policy(
        &mut self,
        rules: &Node,
        file: FileId,
        platforms: Platforms,
        report: &mut Report,
    ) {
        self.platforms = platforms;
        self.open = vec![(file, None)];
        self.rules(rules, "", file, report);
    }

    /// Reads the rules of a base. `extends` is the place that names it.
    pub fn base(
        &mut self,
        rules: &Node,
        (name, file, key): (&str, FileId, &Key),
        platforms: Platforms,
        extends: Span,
        report: &mut Report,
    ) {
        self.level += 1;
        self.platforms = platforms;
        self.open = vec![(file, Some(key.clone()))];
        if let Some((first, _)) = self.seen.get(key) {
            report.push(
                Diagnostic::error(
                    codes::DUPLICATE_NAME,
                    "a file is included, and the policy builds on it too",
                )
                .at(*first, "included here")
                .and_at(extends, "the base")
                .help("its rules come in once: leave the `include` out"),
            );
            return;
        }
        if let Some(first) = self.sets.insert(name.to_owned(), extends) {
            report.push(
                Diagnostic::error(
                    codes::DUPLICATE_NAME,
                    format!(
                        "a base and another file both call themselves {}",
                        quoted(name)
                    ),
                )
                .at(extends, "this base")
                .and_at(first, "the other")
                .help("their rules would have the same names; rename one"),
            );
            return;
        }
        self.rules(rules, &format!("{name}/"), file, report);
    }

    /// Reads a list of rules.
    fn rules(&mut self, node: &Node, prefix: &str, file: FileId, report: &mut Report) {
        for item in list(node, "`rules`", true, report).unwrap_or_default() {
            let place = Place {
                prefix,
                platforms: self.platforms,
            };
            match entry(item, place, self.subject, report) {
                Some(Entry::Rule(rule)) => {
                    if let Some(first) = self.names.get(&rule.name) {
                        report.push(
                            Diagnostic::error(
                                codes::DUPLICATE_NAME,
                                format!("two rules are called {}", quoted(&rule.name)),
                            )
                            .at(rule.span, "the second")
                            .and_at(*first, "the first")
                            .help("messages and `explain` tell rules apart by their names"),
                        );
                        continue;
                    }
                    self.names.insert(rule.name.clone(), rule.span);
                    self.rules.push(*rule);
                }
                Some(Entry::Include(n, what)) => self.include(n, what, file, report),
                None => {}
            }
        }
    }

    fn include(&mut self, n: &Node, what: &str, from: FileId, report: &mut Report) {
        let Some(found) = self.files.find(n, what, from, Wanted::RuleSet, report) else {
            return;
        };
        let Found { key, shown, .. } = &found;
        if self.files.is_root(key) || self.open.iter().any(|(_, k)| k.as_ref() == Some(key)) {
            let way: Vec<FileId> = self.open.iter().map(|(f, _)| *f).collect();
            let message = format!("{} includes itself", quoted(shown));
            files::cycle(n, message, &way, "includes", report);
            return;
        }
        match self.seen.get(key) {
            // A set counts at its first place. If a base includes it again, nothing changes.
            Some((_, level)) if *level < self.level => return,
            Some((first, _)) => {
                report.push(
                    Diagnostic::error(
                        codes::DUPLICATE_NAME,
                        format!("{} is included twice", quoted(shown)),
                    )
                    .at(n.span, "again")
                    .and_at(*first, "first here")
                    .help("the first that matches decides, so the second would never be reached"),
                );
                return;
            }
            None => {}
        }
        if self.open.len() > MAX_DEPTH {
            files::too_many(n, report);
            return;
        }
        self.seen.insert(key.clone(), (n.span, self.level));
        if let Some((id, root)) = self.files.read(&found, n, report) {
            self.open.push((id, Some(key.clone())));
            self.set(&root, id, n, shown, report);
            self.open.pop();
        }
    }

    /// Reads the rules of an included file.
    fn set(
        &mut self,
        root: &Rc<Node>,
        id: FileId,
        include: &Node,
        shown: &str,
        report: &mut Report,
    ) {
        // A whole policy cannot be included, because its subject and limits would have no meaning.
        let misplaced: Vec<&'static str> = POLICY_KEYS
            .into_iter()
            .filter(|k| !SET_KEYS.contains(k) && root.get(k).is_some())
            .collect();
        for key in &misplaced {
            if let Some(span) = root.key_span(key) {
                report.push(
                    Diagnostic::error(
                        codes::MISPLACED_KEY,
                        format!("an included file has no `{key}`"),
                    )
                    .at(span, "not here")
                    .and_at(include.span, "included here")
                    .help(
                        "this key is the including policy's; to build on a whole policy, write `extends`",
                    ),
                );
            }
        }
        let known: &[&'static str] = if misplaced.is_empty() {
            &SET_KEYS
        } else {
            &POLICY_KEYS
        };
        let Some(f) = head(root, id, "the included file", known, report) else {
            return;
        };
        default_action(&f, report);
        let name = f
            .require("name", "the included file", report)
            .and_then(|n| value::name(n, "the name of a set", report));
        // The tests of a set run with the set. Here, only their form is checked. Built-in sets are known to be right.
        let builtin = matches!(self.open.last(), Some((_, Some(Key::Builtin(_)))));
        if let Some(n) = f.get("tests").filter(|_| !builtin) {
            for t in list(n, "`tests`", true, report).unwrap_or_default() {
                question::test(t, self.subject, report);
            }
        }
        let Some(name) = name else { return };
        if let Some(first) = self.sets.insert(name.to_owned(), include.span) {
            report.push(
                Diagnostic::error(
                    codes::DUPLICATE_NAME,
                    format!("two included files call themselves {}", quoted(name)),
                )
                .at(include.span, format!("{} is the second", quoted(shown)))
                .and_at(first, "the first")
                .help("their rules would have the same names; rename one"),
            );
            return;
        }
        let outer = self.platforms;
        if let Some(n) = f.get("platforms")
            && let Some(own) = value::platforms(n, report)
        {
            match own.and(outer) {
                Some(both) => self.platforms = both,
                // None of its rules is there on a platform that the including file is for.
                None => report.push(
                    Diagnostic::error(
                        codes::MISPLACED_KEY,
                        "the included file is for no platform that the file is for which includes it",
                    )
                    .at(include.span, "included here")
                    .and_at(n.span, "its platforms")
                    .help("leave the `include` out"),
                ),
            }
        }
        if let Some(rules) = f.require("rules", "the included file", report) {
            self.rules(rules, &format!("{name}/"), id, report);
        }
        self.platforms = outer;
    }
}
