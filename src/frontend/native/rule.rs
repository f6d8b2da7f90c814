//! One rule.

use super::command;
use super::expand::{Mode, Use, expand_node, for_each_value};
use super::node::Node;
use super::reader::{Fields, Report, fields, nearest, nonempty, one_of, quoted, texts, word};
use super::value::{self, lints, name, rate};
use crate::diagnostics::{Diagnostic, codes};
use crate::policy::{
    Action, CommandPattern, CreateMissing, HostPattern, Objects, Operation, OperationSet,
    PathPattern, Platforms, Rule, RuleId, Subject, SyscallName, ToolPattern, WordPattern, syscalls,
};
use std::rc::Rc;

/// The kinds of object.
pub(crate) const KINDS: [&str; 5] = ["paths", "hosts", "commands", "syscalls", "tools"];

/// The keys of a rule.
pub(crate) const KEYS: [&str; 16] = [
    "name",
    "action",
    "operations",
    "paths",
    "hosts",
    "commands",
    "syscalls",
    "tools",
    "except",
    "platforms",
    "create_missing",
    "except_new",
    "message",
    "rate",
    "allow_lints",
    "include",
];

pub(crate) const ACTIONS: [(&str, Action); 3] = [
    ("allow", Action::Allow),
    ("deny", Action::Deny),
    ("ask", Action::Ask),
];

/// The operations on paths, in the order of the reference.
pub(crate) const ON_PATHS: [&str; 9] = [
    "read", "list", "edit", "create", "delete", "metadata", "write", "execute", "connect",
];
/// The operations on hosts.
pub(crate) const ON_HOSTS: [&str; 2] = ["connect", "bind"];

/// An entry of `rules`.
pub(crate) enum Entry<'n> {
    /// A rule.
    Rule(Box<Rule>),
    /// `include`.
    Include(&'n Node, &'n str),
}

/// Where an entry of `rules` stands.
#[derive(Clone, Copy)]
pub(crate) struct Place<'p> {
    /// That of an included set, such as `credentials/`.
    pub prefix: &'p str,
    /// What the file and those that include it are for.
    pub platforms: Platforms,
}

/// Reads an entry of `rules`.
pub(crate) fn entry<'n>(
    node: &'n Rc<Node>,
    place: Place<'_>,
    subject: &Subject,
    report: &mut Report,
) -> Option<Entry<'n>> {
    let mut f = fields(node, "a rule", &KEYS, report)?;
    if let Some(include) = f.get("include") {
        for key in KEYS.into_iter().filter(|k| *k != "include") {
            if let Some(span) = f.key_span(key) {
                report.error(codes::MISPLACED_KEY, format!("`{key}` cannot be used with `include`"), span, "not here", "the rules of a set are as they are; what is different stands in a rule above it");
            }
        }
        return nonempty(include, "`include`", report).map(|t| Entry::Include(include, t));
    }
    // Errors in this rule point at its name.
    if let Some(n) = f.get("name") {
        f.span = n.span;
    }
    let rule_name = f
        .require("name", "the rule", report)
        .and_then(|n| name(n, "the name of a rule", report));
    let action = f
        .require("action", "the rule", report)
        .and_then(|n| word(n, "action", codes::UNKNOWN_VALUE, &ACTIONS, report));
    let present: Vec<&'static str> = KINDS.into_iter().filter(|k| f.get(k).is_some()).collect();
    let kind = match present[..] {
        [one] => Some(one),
        [] if KINDS.iter().any(|k| f.is_guessed(k)) => None,
        [] => {
            report.error(
                codes::MISSING_KEY,
                "the rule has no object",
                f.span,
                "which objects is it about?",
                &format!("a rule has one of {}", one_of(&KINDS)),
            );
            None
        }
        [first, ..] => {
            for other in &present[1..] {
                if let (Some(second), Some(first_span)) = (f.key_span(other), f.key_span(first)) {
                    report.push(
                        Diagnostic::error(codes::MISPLACED_KEY, format!("a rule has one kind of object, and this one has `{first}` and `{other}`"))
                            .at(second, "a second kind")
                            .and_at(first_span, "the first")
                            .help("write two rules"),
                    );
                }
            }
            Some(first)
        }
    };
    let operations = kind.and_then(|k| operations(&f, k, report));
    let objects = kind.and_then(|k| objects(&f, k, action, subject, report));
    let message = f
        .get("message")
        .and_then(|n| nonempty(n, "`message`", report))
        .map(str::to_owned);
    let rule_rate = f.get("rate").and_then(|n| rate(n, report));
    if rule_rate.is_some()
        && action == Some(Action::Deny)
        && let Some(span) = f.key_span("rate")
    {
        report.error(
            codes::BAD_RATE,
            "a rule that denies has no rate",
            span,
            "nothing to count",
            "",
        );
    }
    let platforms = platforms(&f, place, report);
    let create_missing = create_missing(&f, action, objects.as_ref(), report);
    let except_new = except_new(&f, action, kind, operations, report);
    let lint_allowed = f
        .get("allow_lints")
        .map(|n| lints(n, report))
        .unwrap_or_default();
    Some(Entry::Rule(Box::new(Rule {
        id: RuleId(0),
        name: format!("{}{}", place.prefix, rule_name?),
        action: action?,
        operations: operations?,
        objects: objects?,
        platforms: platforms?,
        message,
        create_missing,
        except_new,
        rate: rule_rate,
        lint_allowed,
        span: f.span,
        link: None,
    })))
}

/// `platforms`, of which the file must have one too. `None`: it is reported.
fn platforms(f: &Fields<'_>, place: Place<'_>, report: &mut Report) -> Option<Platforms> {
    let Some(n) = f.get("platforms") else {
        return Some(place.platforms);
    };
    let own = value::platforms(n, report)?;
    let both = own.and(place.platforms);
    if both.is_none() {
        report.error(
            codes::MISPLACED_KEY,
            "the rule is for no platform that its file is for",
            n.span,
            "the `platforms` of the file name others",
            "leave it out, or put the rule into another file",
        );
    }
    both
}

/// `create_missing`. It belongs to a rule that allows something on paths without wildcards.
fn create_missing(
    f: &Fields<'_>,
    action: Option<Action>,
    objects: Option<&Objects>,
    report: &mut Report,
) -> CreateMissing {
    let (Some(n), Some(span)) = (f.get("create_missing"), f.key_span("create_missing")) else {
        return CreateMissing::No;
    };
    let found = value::create_missing(n, report);
    let literal = |p: &PathPattern| {
        let mut all = p.sequences.iter();
        all.any(|s| s.as_literal().or_else(|| s.as_literal_tree()).is_some())
    };
    let wrong = match (action, objects) {
        (Some(Action::Deny | Action::Ask), _) => Some((
            "`create_missing` is only for a rule that allows",
            "leave it out, or write `action: allow`",
        )),
        // Without a repository, there may be no path left.
        (_, Some(Objects::Paths { paths, .. }))
            if !paths.is_empty() && !paths.iter().any(literal) =>
        {
            Some((
                "no path of the rule says what to make: each has a wildcard before its end",
                "name the directory, as in `~/.cache/tool/**`",
            ))
        }
        (_, Some(Objects::Paths { .. }) | None) => None,
        _ => Some((
            "`create_missing` is only for a rule over `paths`",
            "`run` can make files and directories, and nothing else",
        )),
    };
    match wrong {
        Some((message, help)) => {
            report.error(codes::MISPLACED_KEY, message, span, "not here", help);
            CreateMissing::No
        }
        None => found.unwrap_or_default(),
    }
}

/// `except_new`, which belongs to a rule that denies changing what is there.
fn except_new(
    f: &Fields<'_>,
    action: Option<Action>,
    kind: Option<&str>,
    operations: Option<OperationSet>,
    report: &mut Report,
) -> bool {
    let (Some(n), Some(span)) = (f.get("except_new"), f.key_span("except_new")) else {
        return false;
    };
    let found = value::boolean(n, "`except_new`", report).unwrap_or(false);
    let changes = OperationSet::from_iter(Operation::CHANGES);
    let wrong = match (action, kind, operations) {
        (Some(Action::Allow), ..) => Some((
            "`except_new` is only for a rule that denies",
            "leave it out: the rule allows it already",
        )),
        (_, Some("paths"), Some(all)) if all.iter().any(|o| !changes.contains(o)) => Some((
            "`except_new` is only for a rule about `edit`, `delete` and `metadata`",
            "write two rules: what is to be made, read or started is not there yet, or not new any more",
        )),
        (_, Some("paths") | None, _) => None,
        _ => Some((
            "`except_new` is only for a rule over `paths`",
            "leave it out: a program makes files and directories, and nothing else",
        )),
    };
    match wrong {
        Some((message, help)) => {
            report.error(codes::MISPLACED_KEY, message, span, "not here", help);
            false
        }
        None => found,
    }
}

fn operations(f: &Fields<'_>, kind: &str, report: &mut Report) -> Option<OperationSet> {
    let known: &[&'static str] = match kind {
        "paths" => &ON_PATHS,
        "hosts" => &ON_HOSTS,
        other => {
            if let Some(span) = f.key_span("operations") {
                report.error(
                    codes::MISPLACED_KEY,
                    format!("a rule over `{other}` has no `operations`"),
                    span,
                    "not here",
                    "leave it out: there is only one operation on them",
                );
            }
            return Some(OperationSet::from_iter([match other {
                "commands" => Operation::Execute,
                "syscalls" => Operation::Syscall,
                _ => Operation::Tool,
            }]));
        }
    };
    let node = f.require("operations", &format!("the rule over `{kind}`"), report)?;
    let mut out = OperationSet::EMPTY;
    for (n, t) in texts(node, "`operations`", false, report)? {
        if known.contains(&t) {
            out = out.union(OperationSet::from_word(t).unwrap_or_default());
        } else {
            unknown_operation(n, t, kind, known, report);
        }
    }
    (!out.is_empty()).then_some(out)
}

fn unknown_operation(n: &Node, t: &str, kind: &str, known: &[&'static str], report: &mut Report) {
    let other: &[&'static str] = if kind == "paths" {
        &ON_HOSTS
    } else {
        &ON_PATHS
    };
    if other.contains(&t) {
        let d = Diagnostic::error(
            codes::WRONG_OPERATION,
            format!("`{t}` cannot be used with `{kind}`"),
        )
        .at(n.span, "not with this object");
        report.push(match t {
            "bind" => d.help("binding a unix socket to a path is `create`"),
            _ => d.help(format!("`{kind}` go with {}", one_of(known))),
        });
        return;
    }
    let synonym = match t.to_ascii_lowercase().as_str() {
        "exec" | "run" | "x" => Some("execute"),
        "modify" | "append" | "truncate" => Some("edit"),
        "remove" | "unlink" | "rm" => Some("delete"),
        "chmod" | "chown" => Some("metadata"),
        "listen" => Some("bind"),
        "r" => Some("read"),
        "w" => Some("write"),
        _ => None,
    }
    .filter(|w| known.contains(w));
    let d = Diagnostic::error(
        codes::UNKNOWN_OPERATION,
        format!("unknown operation {}", quoted(t)),
    )
    .at(n.span, "unknown");
    report.push(match nearest(t, known.iter().copied()).or(synonym) {
        Some(near) => d.suggest(n.span, near, format!("did you mean `{near}`?")),
        None if t == "*" || t == "all" => d.help("name each one that is meant"),
        None => d.help(format!("`{kind}` go with {}", one_of(known))),
    });
}

fn objects(
    f: &Fields<'_>,
    kind: &'static str,
    action: Option<Action>,
    subject: &Subject,
    report: &mut Report,
) -> Option<Objects> {
    /// Both lists, with one function for their entries.
    fn both<T>(
        f: &Fields<'_>,
        kind: &'static str,
        report: &mut Report,
        mut one: impl FnMut(&Node, &str, &mut Report) -> Option<T>,
    ) -> Option<(Vec<T>, Vec<T>)> {
        let mut read = |key: &'static str, report: &mut Report| -> Option<Vec<T>> {
            let Some(n) = f.get(key) else {
                return Some(Vec::new());
            };
            let items = texts(n, &format!("`{key}`"), false, report)?;
            Some(
                items
                    .into_iter()
                    .filter_map(|(n, t)| one(n, t, report))
                    .collect(),
            )
        };
        let included = read(kind, report);
        let except = read("except", report);
        Some((included?, except?))
    }
    Some(match kind {
        "paths" => {
            // An exception from a rule that denies may be allowed.
            let allows = action == Some(Action::Allow);
            let read = |key: &'static str, used: Use, report: &mut Report| {
                let Some(n) = f.get(key) else {
                    return Some(Vec::new());
                };
                let mut out = Vec::new();
                for (n, t) in texts(n, &format!("`{key}`"), false, report)? {
                    for subject in for_each_value(t, subject, used) {
                        out.extend(path_pattern(n, t, &subject, report));
                    }
                }
                Some(out)
            };
            let (of_paths, of_except) = if allows {
                (Use::Allowing, Use::Other)
            } else {
                (Use::Other, Use::Allowing)
            };
            let paths = read("paths", of_paths, report);
            let except = read("except", of_except, report);
            Objects::Paths {
                paths: paths?,
                except: except?,
            }
        }
        "hosts" => {
            let (hosts, except) = both(f, kind, report, host_pattern)?;
            Objects::Hosts { hosts, except }
        }
        "commands" => {
            let (commands, except) =
                both(f, kind, report, |n, t, r| command_pattern(n, t, subject, r))?;
            Objects::Commands { commands, except }
        }
        "syscalls" => {
            let (syscalls, except) = both(f, kind, report, syscall)?;
            Objects::Syscalls { syscalls, except }
        }
        _ => {
            let (tools, except) = both(f, kind, report, tool)?;
            Objects::Tools {
                tools,
                except,
                conditions: Vec::new(),
            }
        }
    })
}

/// A path pattern with expanded variables. Errors point at the byte.
pub(crate) fn path_pattern(
    node: &Node,
    t: &str,
    subject: &Subject,
    report: &mut Report,
) -> Option<PathPattern> {
    let e = expand_node(node, t, subject, Mode::Pattern, report)?;
    match PathPattern::parse(&e.text) {
        Ok(p) => Some(p),
        Err(err) => {
            let at = e.origin(err.offset);
            let width = t
                .get(at..)
                .and_then(|r| r.chars().next())
                .map_or(0, char::len_utf8);
            let span = node.part(at, at + width);
            let mut d = Diagnostic::error(codes::BAD_PATH, err.message.clone()).at(span, "");
            if let Some(h) = err.help {
                d = d.help(h);
            }
            let trimmed = t.trim_end_matches('/');
            if trimmed.len() + 1 == t.len()
                && err.message.contains("end")
                && node.part(0, t.len()).end > node.part(0, t.len()).start
            {
                let slash = node.part(t.len() - 1, t.len());
                if slash.end - slash.start == 1 {
                    d = d.suggest(slash, "/**", "for the directory and everything beneath");
                }
            }
            report.push(d);
            None
        }
    }
}

fn host_pattern(node: &Node, t: &str, report: &mut Report) -> Option<HostPattern> {
    HostPattern::parse(t)
        .map_err(|e| {
            report.error(
                codes::BAD_HOST,
                e,
                node.span,
                "not a host",
                "`[tcp://|udp://]HOST[:PORTS]`, such as `*.example.org:443` or `10.0.0.0/8`",
            )
        })
        .ok()
}

fn command_pattern(
    node: &Node,
    t: &str,
    subject: &Subject,
    report: &mut Report,
) -> Option<CommandPattern> {
    match command::pattern(t, subject) {
        Ok(p) => {
            if let Some((from, to)) = command::unexpanded(t) {
                report.push(
                    Diagnostic::warning(codes::NOT_EXPANDED, "variables are not expanded in arguments")
                        .at(node.part(from, to), "matches these very characters")
                        .help("write the path out, or `*`; what the program may open is for `paths` to say"),
                );
            }
            Some(p)
        }
        Err(e) => {
            report_command(node, e, report);
            None
        }
    }
}

/// Reports the error in a command at its place.
pub(crate) fn report_command(node: &Node, e: command::CommandError, report: &mut Report) {
    let span = node.part(e.from, e.to);
    let mut d = Diagnostic::error(e.code, e.message).at(span, "");
    match (e.help, e.replacement) {
        (help, Some(r)) if span.end - span.start == e.to - e.from => {
            let text = help.unwrap_or_else(|| format!("did you mean `{r}`?"));
            d = d.suggest(span, r, text);
        }
        (Some(help), _) => d = d.help(help),
        _ => {}
    }
    report.push(d);
}

fn syscall(node: &Node, t: &str, report: &mut Report) -> Option<SyscallName> {
    let groups = || syscalls::groups().iter().map(|g| g.name);
    let (what, near) = match t.strip_prefix('@') {
        Some(group) if syscalls::group(group).is_some() => {
            return Some(SyscallName::Group(group.to_owned()));
        }
        // In YAML, a text that begins with `@` needs quotes.
        Some(group) => (
            "a group of system calls",
            nearest(group, groups()).map(|g| format!("\"@{g}\"")),
        ),
        None if syscalls::known(t) => return Some(SyscallName::Name(t.to_owned())),
        None => (
            "a system call",
            groups()
                .find(|g| *g == t)
                .map(|g| format!("\"@{g}\""))
                .or_else(|| nearest(t, syscalls::all()).map(str::to_owned)),
        ),
    };
    let d = Diagnostic::error(
        codes::UNKNOWN_SYSCALL,
        format!("{} is not {what}", quoted(t)),
    )
    .at(node.span, "unknown");
    report.push(match near {
        Some(near) => {
            let text = format!("did you mean `{}`?", near.trim_matches('"'));
            d.suggest(node.span, near, text)
        }
        None if t.starts_with('@') => d.help(format!(
            "the groups are {}",
            one_of(&groups().collect::<Vec<_>>())
        )),
        None => {
            d.help("a name as in syscalls(2), or a group with `@` before it, such as `\"@mount\"`")
        }
    });
    None
}

fn tool(node: &Node, t: &str, report: &mut Report) -> Option<ToolPattern> {
    match WordPattern::parse_glob(t) {
        Ok(glob) if !t.is_empty() => Some(ToolPattern {
            text: t.to_owned(),
            glob,
        }),
        Ok(_) => {
            report.error(
                codes::EMPTY_VALUE,
                "the name of a tool is empty",
                node.span,
                "empty",
                "",
            );
            None
        }
        Err(e) => {
            let mut d = Diagnostic::error(codes::BAD_TOOL, e.message)
                .at(node.part(e.offset, e.offset + 1), "");
            if let Some(h) = e.help {
                d = d.help(h);
            }
            report.push(d);
            None
        }
    }
}
