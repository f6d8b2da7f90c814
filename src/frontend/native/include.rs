//! Rules, and the files they are included from.

use super::node::{self, MAX_BYTES, Node};
use super::reader::{Report, list, nearest, one_of, quoted};
use super::rule::{Entry, entry};
use super::{POLICY_KEYS, SET_KEYS, default_action, head, question, value};
use crate::diagnostics::{Diagnostic, codes};
use crate::frontend::{LoadOptions, builtin};
use crate::policy::{FileId, Rule, Span, Subject};
use rustc_hash::FxHashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

const MAX_FILES: usize = 256;
const MAX_DEPTH: usize = 16;

/// A file that is being read, or was: what it is known by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Builtin(String),
    File(PathBuf),
}

/// Collects rules from a policy and all that it includes.
pub(super) struct Includer<'a> {
    options: &'a LoadOptions,
    subject: &'a Subject,
    rules: Vec<Rule>,
    names: FxHashMap<String, Span>,
    /// The files being read now, the policy first.
    open: Vec<(FileId, Option<Key>)>,
    /// Every file that came in, with the place of its `include`.
    seen: FxHashMap<Key, Span>,
    /// The names of sets, with the place of their `include`.
    sets: FxHashMap<String, Span>,
}

impl<'a> Includer<'a> {
    /// For a policy; what it includes lies beside the file that the options name.
    pub fn new(file: FileId, options: &'a LoadOptions, subject: &'a Subject) -> Self {
        Self {
            options,
            subject,
            rules: Vec::new(),
            names: FxHashMap::default(),
            open: vec![(file, None)],
            seen: FxHashMap::default(),
            sets: FxHashMap::default(),
        }
    }

    /// The rules, in order.
    pub fn finish(self) -> Vec<Rule> {
        self.rules
    }

    /// Reads a list of rules.
    pub fn rules(&mut self, node: &Node, prefix: &str, file: FileId, report: &mut Report) {
        for item in list(node, "`rules`", true, report).unwrap_or_default() {
            match entry(item, prefix, self.subject, report) {
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
                    self.rules.push(rule);
                }
                Some(Entry::Include(n, what)) => self.include(n, what, file, report),
                None => {}
            }
        }
    }

    fn include(&mut self, n: &Node, what: &str, from: FileId, report: &mut Report) {
        let Some((key, shown, read)) = self.find(n, what, from, report) else {
            return;
        };
        if self.open.iter().any(|(_, k)| k.as_ref() == Some(&key)) || self.is_root(&key, report) {
            let chain: Vec<String> = self
                .open
                .iter()
                .filter_map(|(f, _)| report.sources.get(*f).map(|s| format!("`{}`", s.name)))
                .collect();
            report.error(
                codes::INCLUDE_CYCLE,
                format!("{} includes itself", quoted(&shown)),
                n.span,
                "a cycle",
                &format!("the way here: {}", chain.join(" includes ")),
            );
            return;
        }
        if let Some(first) = self.seen.get(&key) {
            report.push(
                Diagnostic::error(
                    codes::DUPLICATE_NAME,
                    format!("{} is included twice", quoted(&shown)),
                )
                .at(n.span, "again")
                .and_at(*first, "first here")
                .help("the first that matches decides, so the second would never be reached"),
            );
            return;
        }
        if self.seen.len() >= MAX_FILES || self.open.len() > MAX_DEPTH {
            report.error(
                codes::TOO_MANY_INCLUDES,
                format!("more than {MAX_FILES} files are included, or {MAX_DEPTH} deep"),
                n.span,
                "one too many",
                "",
            );
            return;
        }
        self.seen.insert(key.clone(), n.span);
        let text: Arc<str> = match read {
            Ok(t) => t,
            Err(why) => {
                report.error(
                    codes::INCLUDE_UNREADABLE,
                    format!("cannot read {}: {why}", quoted(&shown)),
                    n.span,
                    "",
                    "",
                );
                return;
            }
        };
        let id = report.sources.add(shown.clone(), Arc::clone(&text));
        match node::parse(id, &text) {
            Err(d) => report.push(*d),
            Ok(root) => {
                self.open.push((id, Some(key)));
                self.set(&root, id, n, &shown, report);
                self.open.pop();
            }
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
        // A whole policy cannot be included: whose subject and limits were it to be?
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
                        "subject, limits, environment and capabilities are the including policy's",
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
        // The tests of a set are run with the set; here their form is checked alone, and that of a built-in one is
        // known to be right.
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
        if let Some(rules) = f.require("rules", "the included file", report) {
            self.rules(rules, &format!("{name}/"), id, report);
        }
    }

    fn is_root(&self, key: &Key, report: &Report) -> bool {
        let Key::File(path) = key else { return false };
        let Some(root) = self.open.first().and_then(|(f, _)| report.sources.get(*f)) else {
            return false;
        };
        std::fs::canonicalize(&root.name).is_ok_and(|r| r == *path)
    }

    /// Which file an `include` names, its name for messages, and its text.
    fn find(
        &self,
        n: &Node,
        what: &str,
        from: FileId,
        report: &mut Report,
    ) -> Option<(Key, String, Result<Arc<str>, String>)> {
        if let Some(name) = what.strip_prefix("builtin:") {
            if let Some(text) = builtin::rule_set(name) {
                return Some((
                    Key::Builtin(name.to_owned()),
                    what.to_owned(),
                    Ok(text.into()),
                ));
            }
            let names: Vec<&str> = builtin::rule_sets().iter().map(|b| b.name).collect();
            let mut d = Diagnostic::error(
                codes::UNKNOWN_INCLUDE,
                format!("there is no built-in rule set {}", quoted(name)),
            )
            .at(n.span, "unknown");
            d = match nearest(name, names.iter().copied()) {
                Some(near) => d.suggest(
                    n.span,
                    format!("builtin:{near}"),
                    format!("did you mean `builtin:{near}`?"),
                ),
                None if builtin::policy(name).is_some() => d.help(format!(
                    "`{name}` is a whole policy; only rule sets are included: {}",
                    one_of(&names)
                )),
                None => d.help(format!("there are {}", one_of(&names))),
            };
            report.push(d);
            return None;
        }
        if let Some(f) = report.sources.get(from)
            && f.name.starts_with("builtin:")
        {
            report.error(
                codes::UNKNOWN_INCLUDE,
                "a built-in set includes built-in sets only",
                n.span,
                "a file",
                "",
            );
            return None;
        }
        if builtin::rule_set(what).is_some()
            && !what.contains('.')
            && !self.directory(from, report).join(what).exists()
        {
            report.push(
                Diagnostic::error(
                    codes::UNKNOWN_INCLUDE,
                    format!("there is no file {}", quoted(what)),
                )
                .at(n.span, "not found")
                .suggest(
                    n.span,
                    format!("builtin:{what}"),
                    "did you mean the built-in set?",
                ),
            );
            return None;
        }
        let path = self.directory(from, report).join(what);
        let shown = path.to_string_lossy().into_owned();
        match std::fs::canonicalize(&path) {
            Ok(real) => Some((Key::File(real.clone()), shown, read_file(&real))),
            Err(e) => {
                report.error(
                    codes::INCLUDE_UNREADABLE,
                    format!("cannot read {}: {}", quoted(&shown), reason(&e)),
                    n.span,
                    "",
                    "the path is relative to the file that includes it; a built-in set is `builtin:NAME`",
                );
                None
            }
        }
    }

    /// Where relative paths of a file begin.
    fn directory(&self, from: FileId, report: &Report) -> PathBuf {
        let root = self.open.first().is_some_and(|(f, _)| *f == from);
        if root && let Some(d) = &self.options.directory {
            return d.clone();
        }
        report
            .sources
            .get(from)
            .and_then(|f| Path::new(&f.name).parent().map(Path::to_path_buf))
            .unwrap_or_default()
    }
}

fn reason(e: &std::io::Error) -> String {
    match e.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => e.to_string(),
    }
}

/// Reads a file that must be a regular one (a fifo would wait for ever), in UTF-8, and not too large.
///
/// # Errors
/// One line.
pub(crate) fn read_file(path: &Path) -> Result<Arc<str>, String> {
    let bytes = read_bytes(path)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|e| format!("it is not UTF-8 from byte {} on", e.valid_up_to()))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text).into())
}

/// Reads at most one byte more than a policy may have.
///
/// # Errors
/// One line.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, String> {
    // The kind is asked before opening, since opening a fifo waits.
    let meta = std::fs::metadata(path).map_err(|e| reason(&e))?;
    if !meta.is_file() {
        return Err(if meta.is_dir() {
            "it is a directory"
        } else {
            "it is not a regular file"
        }
        .to_owned());
    }
    let file = std::fs::File::open(path).map_err(|e| reason(&e))?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| reason(&e))?;
    Ok(bytes)
}
