//! The files that a policy is read from: those that it includes, and those that it extends.
//!
//! Both use the same steps: a name becomes a file or a built-in text, within limits for all files of a policy together.

use super::node::{self, MAX_BYTES, Node};
use super::reader::{Report, one_of, quoted};
use crate::diagnostics::{Diagnostic, codes};
use crate::frontend::{LoadOptions, builtin, disk};
use crate::policy::FileId;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// The most files that a policy is read from, beside its own.
const MAX_FILES: usize = 256;
/// How deep files may lead to other files.
pub(super) const MAX_DEPTH: usize = 16;
/// The most bytes in all these files together.
const MAX_TOTAL: usize = 4 * MAX_BYTES;

/// Identifies a file, whatever name led to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Builtin(String),
    File(PathBuf),
}

/// The use of a file. It decides which built-in texts can be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// `include`: a list of rules.
    RuleSet,
    /// `extends`: a whole policy.
    Base,
}

impl Wanted {
    fn builtin(self, name: &str) -> Option<&'static str> {
        match self {
            Self::RuleSet => builtin::rule_set(name),
            Self::Base => builtin::policy(name),
        }
    }

    fn names(self) -> Vec<&'static str> {
        let all = match self {
            Self::RuleSet => builtin::rule_sets(),
            Self::Base => builtin::policies(),
        };
        all.iter().map(|b| b.name).collect()
    }

    /// The word in messages.
    fn noun(self) -> &'static str {
        match self {
            Self::RuleSet => "rule set",
            Self::Base => "policy",
        }
    }

    /// What to do with a built-in text of the other kind.
    fn other(self, name: &str) -> Option<String> {
        match self {
            Self::RuleSet => builtin::policy(name).map(|_| {
                format!("`{name}` is a whole policy: to build on it, write `extends: builtin:{name}` beside `rules`")
            }),
            Self::Base => builtin::rule_set(name).map(|_| {
                format!("`{name}` is a rule set: write `- include: builtin:{name}` under `rules`")
            }),
        }
    }
}

/// A file that was found, but not read yet.
pub(super) struct Found {
    /// What it is known by.
    pub key: Key,
    /// Its name in messages.
    pub shown: String,
    from: From,
}

/// The source of its text.
enum From {
    Builtin(&'static str),
    /// The name that led to it, and its real path.
    File(PathBuf, PathBuf),
}

/// The files of one policy.
pub(super) struct Files<'a> {
    options: &'a LoadOptions,
    root: FileId,
    root_key: Option<Key>,
    count: usize,
    bytes: usize,
}

impl<'a> Files<'a> {
    /// For a policy. The names in it are relative to the file that the options name.
    pub fn new(root: FileId, options: &'a LoadOptions, report: &Report) -> Self {
        let mut out = Self {
            options,
            root,
            root_key: None,
            count: 0,
            bytes: 0,
        };
        let name = report.sources.get(root).map_or("", |f| f.name.as_str());
        out.root_key = match name.strip_prefix("builtin:") {
            Some(name) => Some(Key::Builtin(name.to_owned())),
            None => Path::new(name)
                .file_name()
                .map(|n| out.directory(root, report).join(n))
                .and_then(|p| options.disk.resolve(&p).ok())
                .map(Key::File),
        };
        out
    }

    /// Whether it is the policy's own file.
    pub fn is_root(&self, key: &Key) -> bool {
        self.root_key.as_ref() == Some(key)
    }

    /// The file that a name stands for. Reports errors in the name.
    pub fn find(
        &self,
        n: &Node,
        what: &str,
        from: FileId,
        wanted: Wanted,
        report: &mut Report,
    ) -> Option<Found> {
        if let Some(name) = what.strip_prefix("builtin:") {
            if let Some(text) = wanted.builtin(name) {
                return Some(Found {
                    key: Key::Builtin(name.to_owned()),
                    shown: what.to_owned(),
                    from: From::Builtin(text),
                });
            }
            report.push(no_builtin(n, name, wanted));
            return None;
        }
        if let Some(f) = report.sources.get(from)
            && f.name.starts_with("builtin:")
        {
            report.error(
                codes::UNKNOWN_INCLUDE,
                "what is built in takes nothing from files",
                n.span,
                "a file",
                "",
            );
            return None;
        }
        let directory = self.directory(from, report);
        if wanted.builtin(what).is_some() && !what.contains('.') && !directory.join(what).exists() {
            report.push(
                Diagnostic::error(
                    codes::UNKNOWN_INCLUDE,
                    format!("there is no file {}", quoted(what)),
                )
                .at(n.span, "not found")
                .suggest(
                    n.span,
                    format!("builtin:{what}"),
                    format!("did you mean the built-in {}?", wanted.noun()),
                ),
            );
            return None;
        }
        let path = directory.join(what);
        let shown = path.to_string_lossy().into_owned();
        match self.options.disk.resolve(&path) {
            Ok(real) => Some(Found {
                key: Key::File(real.clone()),
                shown,
                from: From::File(path, real),
            }),
            Err(e) => {
                report.error(
                    codes::INCLUDE_UNREADABLE,
                    format!("cannot read {}: {}", quoted(&shown), disk::reason(&e)),
                    n.span,
                    "",
                    "the path is relative to the file that names it; what is built in is `builtin:NAME`",
                );
                None
            }
        }
    }

    /// Reads a file that was found, within the limits. Reports errors.
    pub fn read(
        &mut self,
        found: &Found,
        n: &Node,
        report: &mut Report,
    ) -> Option<(FileId, Rc<Node>)> {
        self.count += 1;
        if self.count > MAX_FILES {
            too_many(n, report);
            return None;
        }
        let text: Result<Arc<str>, String> = match &found.from {
            From::Builtin(text) => Ok((*text).into()),
            From::File(name, path) => self.options.disk.read(name, path).and_then(|file| {
                let text = disk::text(&file.bytes).map(Arc::from);
                report.files.push(file);
                text
            }),
        };
        let text = match text {
            Ok(text) => text,
            Err(why) => {
                report.error(
                    codes::INCLUDE_UNREADABLE,
                    format!("cannot read {}: {why}", quoted(&found.shown)),
                    n.span,
                    "",
                    "",
                );
                return None;
            }
        };
        self.bytes = self.bytes.saturating_add(text.len());
        if self.bytes > MAX_TOTAL {
            report.error(
                codes::TOO_MANY_INCLUDES,
                format!(
                    "the files of this policy have more than {} MiB together",
                    MAX_TOTAL >> 20
                ),
                n.span,
                "too much",
                "",
            );
            return None;
        }
        let id = report.sources.add(found.shown.clone(), Arc::clone(&text));
        match node::parse(id, &text) {
            Ok(root) => Some((id, root)),
            Err(d) => {
                report.push(*d);
                None
            }
        }
    }

    /// The directory of a file's relative paths.
    fn directory(&self, from: FileId, report: &Report) -> PathBuf {
        if from == self.root
            && let Some(d) = &self.options.directory
        {
            return d.clone();
        }
        report
            .sources
            .get(from)
            .and_then(|f| Path::new(&f.name).parent().map(Path::to_path_buf))
            .unwrap_or_default()
    }
}

/// Reports that there are more files than a policy may have.
pub(super) fn too_many(n: &Node, report: &mut Report) {
    report.error(
        codes::TOO_MANY_INCLUDES,
        format!("a policy is read from at most {MAX_FILES} files, {MAX_DEPTH} deep"),
        n.span,
        "one too many",
        "",
    );
}

/// Reports that files lead back to one that is being read.
pub(super) fn cycle(n: &Node, message: String, way: &[FileId], verb: &str, report: &mut Report) {
    let way: Vec<String> = way
        .iter()
        .filter_map(|f| report.sources.get(*f).map(|s| format!("`{}`", s.name)))
        .collect();
    report.error(
        codes::INCLUDE_CYCLE,
        message,
        n.span,
        "a cycle",
        &format!("the way here: {}", way.join(&format!(" {verb} "))),
    );
}

fn no_builtin(n: &Node, name: &str, wanted: Wanted) -> Diagnostic {
    let names = wanted.names();
    let d = Diagnostic::error(
        codes::UNKNOWN_INCLUDE,
        format!("there is no built-in {} {}", wanted.noun(), quoted(name)),
    )
    .at(n.span, "unknown");
    match builtin::near(name, &names) {
        Some(near) => d.suggest(
            n.span,
            format!("builtin:{near}"),
            format!("did you mean `builtin:{near}`?"),
        ),
        None => d.help(
            wanted
                .other(name)
                .unwrap_or_else(|| format!("there are {}", one_of(&names))),
        ),
    }
}
