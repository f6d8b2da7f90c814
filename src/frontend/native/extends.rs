//! `extends`: a policy that builds on another.
//!
//! A policy and its bases are *levels*: the policy is the first, its base the second. The rules of a level come before
//! those of later levels. A key of a level replaces the same key of later levels. Three lists are joined instead:
//! `environment.pass`, `tests` and `allow_lints`.
//!
//! What the design leaves open, and how it is here:
//!
//! - `subject`, `limits` and `environment.set` are replaced entry by entry, `capabilities` as a whole.
//! - A rule of a base is called `base/rule`. So no rule of a policy can clash with a rule of its base, today or after
//!   an update.
//! - A set that two levels include comes in once, at its first place. The second would never be reached.
//! - A test of a base is left out if a level before it asks the same question: that level knows better.

use super::files::{self, Files, Key, MAX_DEPTH, Wanted};
use super::include::Includer;
use super::node::Node;
use super::reader::{Fields, Report, nonempty, quoted};
use super::{POLICY_KEYS, default_action, head, question, value};
use crate::policy::{
    Action, Environment, FileId, Limits, Platforms, Policy, PolicyTest, Query, RuleId, Span,
    Subject,
};
use rustc_hash::FxHashSet;
use std::rc::Rc;

/// A file that a policy builds on.
pub(super) struct Base {
    root: Rc<Node>,
    file: FileId,
    key: Key,
    /// The place that names it in `extends`.
    span: Span,
}

/// Reads the bases of a policy, the nearest one first.
pub(super) fn bases(
    root: &Rc<Node>,
    file: FileId,
    files: &mut Files<'_>,
    report: &mut Report,
) -> Vec<Base> {
    let mut out: Vec<Base> = Vec::new();
    let (mut at, mut from) = (Rc::clone(root), file);
    while let Some(n) = at.get("extends").cloned() {
        let Some(what) = nonempty(&n, "`extends`", report) else {
            break;
        };
        let Some(found) = files.find(&n, what, from, Wanted::Base, report) else {
            break;
        };
        if files.is_root(&found.key) || out.iter().any(|b| b.key == found.key) {
            let way: Vec<FileId> = std::iter::once(file)
                .chain(out.iter().map(|b| b.file))
                .collect();
            let message = format!("{} builds on itself", quoted(&found.shown));
            files::cycle(&n, message, &way, "extends", report);
            break;
        }
        if out.len() >= MAX_DEPTH {
            files::too_many(&n, report);
            break;
        }
        let Some((id, base)) = files.read(&found, &n, report) else {
            break;
        };
        out.push(Base {
            root: Rc::clone(&base),
            file: id,
            key: found.key,
            span: n.span,
        });
        (at, from) = (base, id);
    }
    out
}

/// A policy or one of its bases, with checked keys.
struct Level<'n> {
    fields: Fields<'n>,
    file: FileId,
    name: Option<&'n str>,
    /// What its rules and tests are for, where it says so.
    platforms: Option<Platforms>,
    /// For a base: its key, and the place that names it in `extends`.
    base: Option<(&'n Key, Span)>,
}

/// A policy with its bases, the policy first.
pub(super) struct Levels<'n>(Vec<Level<'n>>);

impl<'n> Levels<'n> {
    /// Checks the keys of each level. `None`: the policy itself is not a mapping.
    pub fn new(
        root: &'n Rc<Node>,
        file: FileId,
        bases: &'n [Base],
        report: &mut Report,
    ) -> Option<Self> {
        let level = |root, file, base, what, report: &mut Report| {
            let fields = head(root, file, what, &POLICY_KEYS, report)?;
            let name = fields
                .require("name", what, report)
                .and_then(|n| value::name(n, "the name of a policy", report));
            let platforms = fields.get("platforms");
            let platforms = platforms.and_then(|n| value::platforms(n, report));
            Some(Level {
                fields,
                file,
                name,
                platforms,
                base,
            })
        };
        let mut out = vec![level(root, file, None, "the policy", report)?];
        for b in bases {
            let base = Some((&b.key, b.span));
            out.extend(level(&b.root, b.file, base, "the base", report));
        }
        Some(Self(out))
    }

    /// The policy's own name.
    pub fn name(&self) -> Option<&'n str> {
        self.0.first().and_then(|l| l.name)
    }

    /// The first text of `description`.
    pub fn description(&self, report: &mut Report) -> Option<String> {
        let all: Vec<Option<&str>> = self
            .values("description")
            .map(|n| nonempty(n, "`description`", report))
            .collect();
        all.into_iter().flatten().next().map(str::to_owned)
    }

    /// The first `default_action`, and its place.
    pub fn default_action(&self, report: &mut Report) -> (Action, Option<Span>) {
        let mut out = (Action::Deny, None);
        for l in self.0.iter().rev() {
            if let Some(span) = l.fields.key_span("default_action") {
                out = (default_action(&l.fields, report), Some(span));
            }
        }
        out
    }

    /// The values of a key, the strongest first.
    pub fn values(&self, key: &'static str) -> impl Iterator<Item = &'n Rc<Node>> + '_ {
        self.0.iter().filter_map(move |l| l.fields.get(key))
    }

    /// Reads the rules of all levels. The second value is the first rule of a base, if there is a base.
    pub fn rules(&self, includer: &mut Includer<'_>, report: &mut Report) -> Option<RuleId> {
        let mut first_of_base = None;
        for l in &self.0 {
            let what = if l.base.is_some() {
                "the base"
            } else {
                "the policy"
            };
            let rules = l.fields.require("rules", what, report);
            let platforms = l.platforms.unwrap_or_default();
            match (l.base, l.name, rules) {
                (None, _, Some(rules)) => includer.policy(rules, l.file, platforms, report),
                (Some((key, span)), Some(name), Some(rules)) => {
                    let at = RuleId(u32::try_from(includer.len()).unwrap_or(u32::MAX));
                    first_of_base.get_or_insert(at);
                    includer.base(rules, (name, l.file, key), platforms, span, report);
                }
                _ => {}
            }
        }
        first_of_base
    }

    /// All limits. The first level that sets a limit decides.
    pub fn limits(&self, report: &mut Report) -> Limits {
        self.values("limits")
            .map(|n| value::limits(n, report))
            .reduce(|first, base| Limits {
                memory: first.memory.or(base.memory),
                cpus: first.cpus.or(base.cpus),
                processes: first.processes.or(base.processes),
                open_files: first.open_files.or(base.open_files),
                cpu_time: first.cpu_time.or(base.cpu_time),
                wall_time: first.wall_time.or(base.wall_time),
                file_size: first.file_size.or(base.file_size),
            })
            .unwrap_or_default()
    }

    /// The environment. `pass` is joined. For `set`, the first level that sets a variable decides.
    pub fn environment(&self, subject: &Subject, report: &mut Report) -> Environment {
        let mut out = Environment::default();
        let mut passed = FxHashSet::default();
        let mut set = FxHashSet::default();
        for n in self.values("environment") {
            let one = value::environment(n, subject, report);
            if let Some(names) = one.pass {
                let all = out.pass.get_or_insert_default();
                all.extend(names.into_iter().filter(|n| passed.insert(n.clone())));
            }
            out.set
                .extend(one.set.into_iter().filter(|(n, _)| set.insert(n.clone())));
        }
        out
    }

    /// The capabilities of the first level that has the key.
    pub fn capabilities(&self, report: &mut Report) -> Vec<String> {
        let all: Vec<_> = self
            .values("capabilities")
            .map(|n| value::capabilities(n, report))
            .collect();
        all.into_iter().next().unwrap_or_default()
    }

    /// The lints that any level allows in the whole policy.
    pub fn lints(&self, report: &mut Report) -> Vec<(String, String)> {
        self.values("allow_lints")
            .flat_map(|n| value::lints(n, report))
            .collect()
    }

    /// The tests of all levels. Of two with the same question, the first one stays.
    pub fn tests(&self, subject: &Subject, report: &mut Report) -> Vec<PolicyTest> {
        let mut out: Vec<PolicyTest> = Vec::new();
        let mut asked: FxHashSet<Query> = FxHashSet::default();
        for l in &self.0 {
            let mut found = question::tests(&l.fields, subject, report);
            for t in &mut found {
                t.platforms = t.platforms.or(l.platforms);
            }
            found.retain(|t| !asked.contains(&t.query));
            asked.extend(found.iter().map(|t| t.query.clone()));
            out.append(&mut found);
        }
        out
    }
}

/// Reads a policy from the tree of its file, and from its bases. `None`: there was an error, which is in the report.
pub(crate) fn policy(
    root: &Rc<Node>,
    file: FileId,
    options: &crate::frontend::LoadOptions,
    report: &mut Report,
) -> Option<Policy> {
    let mut files = Files::new(file, options, report);
    let bases = bases(root, file, &mut files, report);
    let levels = Levels::new(root, file, &bases, report)?;
    let description = levels.description(report);
    let (default_action, default_span) = levels.default_action(report);
    let subjects: Vec<&Rc<Node>> = levels.values("subject").collect();
    let subject = super::subject::subject(&subjects, options, report);
    let mut includer = Includer::new(files, &subject);
    let base_rules = levels.rules(&mut includer, report);
    let rules = includer.finish();
    let limits = levels.limits(report);
    let environment = levels.environment(&subject, report);
    let capabilities = levels.capabilities(report);
    let lint_allowed = levels.lints(report);
    let tests = levels.tests(&subject, report);
    if report.failed() {
        return None;
    }
    let mut policy = Policy::of_rules(levels.name()?, default_action, rules);
    policy.description = description;
    policy.default_span = default_span.unwrap_or(Span {
        file,
        start: 0,
        end: 0,
        line: 1,
        column: 1,
    });
    policy.base_rules = base_rules;
    policy.subject = subject;
    policy.limits = limits;
    policy.environment = environment;
    policy.capabilities = capabilities;
    policy.lint_allowed = lint_allowed;
    policy.tests = tests;
    Some(policy)
}

#[cfg(test)]
mod tests;
