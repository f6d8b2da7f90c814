//! From the rules of the file to rules of polc's policy.
//!
//! Each rule becomes a rule over `tools`, with all its conditions, for the gate. Before it come the rules for the
//! kernel layers, about the operations of its tools. The order is that of the file, so the first match stays the first
//! match. If a kernel layer cannot check a condition:
//!
//! - A denial (or a question) is left to the gate. Without its condition it would deny everything.
//! - An allowance is kept without the condition, because the tool could not work otherwise. It does not open objects
//!   that a later rule denies, because the condition might have left them to that rule.
//!
//! A denial of everything does not deny what every program needs at its start (the loader, libraries, `/dev/null`), nor
//! what `sandbox` allows by name. AvaKill's rules are about tool calls.

use super::base::Base;
use super::enforceable::{Enforceable, enforceable};
use super::file::{Enforcement, FileRule};
use super::tools::{Kind, Reach, reach};
use crate::policy::{
    Action, ArgumentPattern, CommandPattern, Component, Condition, Host, HostPattern, Note,
    Objects, Operation, OperationSet, PathPattern, Ports, Rule, RuleId, Sequence, Span, Token,
};
use rustc_hash::FxHashSet;

/// The rules made so far, and the notes.
#[derive(Default)]
pub(super) struct Output {
    pub rules: Vec<Rule>,
    pub notes: Vec<Note>,
    names: FxHashSet<String>,
}

impl Output {
    /// Adds a rule, and makes its name unique.
    pub fn push(&mut self, mut rule: Rule, span: Span) -> RuleId {
        let wanted = std::mem::take(&mut rule.name);
        let mut name = wanted.clone();
        let mut n = 2;
        while !self.names.insert(name.clone()) {
            name = format!("{wanted}-{n}");
            n += 1;
        }
        rule.name = name;
        rule.span = span;
        rule.id = RuleId(u32::try_from(self.rules.len()).unwrap_or(u32::MAX));
        let id = rule.id;
        self.rules.push(rule);
        id
    }

    /// Adds a note.
    pub fn note(&mut self, rule: Option<RuleId>, text: impl Into<String>, span: Span) {
        self.notes.push(Note {
            rule,
            text: text.into(),
            span,
        });
    }
}

/// The objects that a part of a rule is about.
#[derive(Debug, Clone, PartialEq)]
enum ObjectPatterns {
    Paths {
        paths: Vec<PathPattern>,
        except: Vec<PathPattern>,
    },
    Commands(Vec<CommandPattern>),
    Hosts {
        hosts: Vec<HostPattern>,
        except: Vec<HostPattern>,
    },
}

/// One operation of one rule, for the kernel layers.
#[derive(Debug, Clone)]
struct Part {
    rule: usize,
    operation: Operation,
    action: Action,
    patterns: ObjectPatterns,
    /// It is an allowance without one of its conditions.
    loose: bool,
}

/// `/**`.
pub(super) fn everywhere() -> PathPattern {
    PathPattern::tree(b"/")
}

/// `*`.
pub(super) fn every_host() -> HostPattern {
    HostPattern {
        text: "*".to_owned(),
        protocol: None,
        host: Host::Any,
        ports: Ports::ALL,
    }
}

fn is_everywhere(paths: &[PathPattern]) -> bool {
    paths.iter().any(|p| {
        p.sequences
            .iter()
            .any(|s| s.components == [Component::AnyDepth])
    })
}

/// A program by its base name (or path), with any arguments.
pub(super) fn command(name: &str) -> CommandPattern {
    let base_name = !name.contains('/');
    let program = if base_name {
        let component = Component::Name(name.bytes().map(Token::Byte).collect());
        let sequence = Sequence {
            components: vec![Component::AnyDepth, component],
        };
        PathPattern {
            text: sequence.to_string(),
            sequences: vec![sequence],
        }
    } else {
        PathPattern::literal(name.as_bytes())
    };
    CommandPattern {
        text: format!("{name} **"),
        program,
        base_name,
        arguments: ArgumentPattern::any(),
    }
}

/// Lowers the rules of the file.
pub(super) fn rules(file: &[FileRule], base: &Base, out: &mut Output) {
    let mut parts: Vec<Part> = Vec::new();
    let mut notes: Vec<Vec<String>> = Vec::new();
    for (i, rule) in file.iter().enumerate() {
        let mut said = Vec::new();
        parts.extend(parts_of(i, rule, &mut said));
        notes.push(said);
    }
    for i in 0..parts.len() {
        if parts[i].loose {
            let (before, after) = parts.split_at_mut(i + 1);
            narrow(&mut before[i], after);
        }
    }
    let mut parts = parts.into_iter().peekable();
    for ((i, rule), mut said) in file.iter().enumerate().zip(notes) {
        let mut own = Vec::new();
        while let Some(p) = parts.next_if(|p| p.rule == i) {
            own.push(p);
        }
        let name = slug(&rule.name, i);
        emit(&name, rule, own, base, &mut said, out);
        let id = out.push(
            Rule {
                message: rule.message.clone(),
                rate: rule.rate,
                ..Rule::new(
                    name,
                    action(rule),
                    [Operation::Tool].into_iter().collect(),
                    tools(rule),
                )
            },
            rule.span,
        );
        for text in said {
            out.note(Some(id), text, rule.span);
        }
    }
}

/// What AvaKill does if the rule matches. An advisory denial is logged, and allows.
fn action(rule: &FileRule) -> Action {
    if rule.enforcement == Enforcement::Advisory && rule.action == Action::Deny {
        Action::Allow
    } else {
        rule.action
    }
}

/// A rule's name, as artifacts, reports and command lines write it.
fn slug(name: &str, index: usize) -> String {
    let mut out = String::new();
    for c in name.chars().take(60) {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') {
            out.push(c);
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    let out = out.trim_matches(['-', '.', '_']);
    if out.is_empty() {
        format!("rule-{}", index + 1)
    } else {
        out.to_owned()
    }
}

fn tools(rule: &FileRule) -> Objects {
    let c = &rule.conditions;
    let mut conditions = Vec::new();
    for (list, negated) in [(&c.args_match, false), (&c.args_not_match, true)] {
        for (argument, texts) in list {
            conditions.push(Condition::ArgumentContains {
                argument: argument.clone(),
                texts: texts.clone(),
                negated,
            });
        }
    }
    for (list, negated) in [(&c.path_match, false), (&c.path_not_match, true)] {
        for (argument, trees) in list {
            let paths = trees.iter().map(|t| PathPattern::tree(t)).collect();
            conditions.push(Condition::PathWithin {
                argument: argument.clone(),
                paths,
                negated,
            });
        }
    }
    if c.shell_safe {
        conditions.push(Condition::ShellSafe);
    }
    if !c.commands.is_empty() {
        conditions.push(Condition::CommandIn(c.commands.clone()));
    }
    if !c.content_scan.is_empty() {
        conditions.push(Condition::ContentScan(c.content_scan.clone()));
    }
    Objects::Tools {
        tools: rule.tools.clone(),
        except: Vec::new(),
        conditions,
    }
}

fn parts_of(index: usize, rule: &FileRule, said: &mut Vec<String>) -> Vec<Part> {
    let reach = reach(&rule.tools);
    let action = action(rule);
    let advisory = action != rule.action;
    if advisory {
        said.push("an advisory denial is logged and allows, as in AvaKill".to_owned());
    } else if rule.enforcement == Enforcement::Soft && action != Action::Allow {
        said.push(
            "a soft denial can be overridden in AvaKill; the kernel layers cannot be asked to"
                .to_owned(),
        );
    }
    if action == Action::Ask {
        said.push("a layer that cannot ask refuses".to_owned());
    }
    if let (Some(r), Action::Allow) = (rule.rate, action) {
        said.push(format!(
            "only the tool-call gate can count: {} calls in {} s are not held by a kernel layer",
            r.calls, r.seconds
        ));
    }
    if reach.is_empty() {
        said.push(
            "these tools do nothing that a kernel sees: only the tool-call gate can keep the rule"
                .to_owned(),
        );
        return Vec::new();
    }
    let mut out = Vec::new();
    for kind in [Kind::File, Kind::Shell, Kind::Web] {
        let operations = operations(kind, reach);
        if operations.is_empty() {
            continue;
        }
        let enforced = enforceable(kind, &rule.conditions);
        if enforced.never {
            continue;
        }
        let loose = !enforced.unseen.is_empty();
        let what = match kind {
            Kind::File => "files",
            Kind::Shell => "programs",
            Kind::Web => "hosts",
        };
        let seen = enforced.unseen.join(", ");
        if loose && (action != Action::Allow || advisory) {
            said.push(format!(
                "{what}: a kernel layer does not see {seen}: only the tool-call gate keeps the rule"
            ));
            continue;
        }
        if enforced.absent && action != Action::Allow {
            said.push(format!(
                "{what}: the condition is about an argument that these tools do not have. AvaKill refuses all of their calls; only the tool-call gate can do that"
            ));
            continue;
        }
        if kind == Kind::File
            && reach.only_searches
            && !reach.everything
            && action != Action::Allow
            && enforced.paths.is_none()
        {
            said.push("files: searching is refused but reading is not, and a kernel layer sees no difference: only the tool-call gate keeps the rule".to_owned());
            continue;
        }
        if loose {
            said.push(format!("{what}: a kernel layer does not see {seen}: it allows what the rule allows without it, but for what a later rule denies"));
        }
        if kind == Kind::Web && reach.half_the_web && enforced.hosts.is_none() {
            said.push("hosts: a kernel layer sees a connection, not whether it fetches or searches. A rule about one of them holds for both".to_owned());
        }
        if kind == Kind::File && reach.half_the_edits && action != Action::Allow {
            said.push("files: a kernel layer sees a change, not whether a tool writes or edits: what is said of one of them holds for both".to_owned());
        }
        for (operation, patterns) in objects_of(kind, &operations, &enforced, reach.everything) {
            out.push(Part {
                rule: index,
                operation,
                action,
                patterns,
                loose,
            });
        }
    }
    if reach.shell && action == Action::Allow && !rule.conditions.commands.is_empty() {
        said.push("programs: they are found by their base names, in any directory. List the agent's own program and its shell too, or name them in `sandbox.allow_paths.execute`".to_owned());
    }
    out
}

fn operations(kind: Kind, reach: Reach) -> Vec<Operation> {
    match kind {
        Kind::File => {
            let mut set = reach.files;
            // Every tool, also those whose operations no known tool has.
            if reach.everything {
                set.insert(Operation::Metadata);
                set.insert(Operation::Connect);
            }
            set.iter().collect()
        }
        Kind::Shell if reach.shell => vec![Operation::Execute],
        Kind::Web if reach.web && reach.everything => vec![Operation::Connect, Operation::Bind],
        Kind::Web if reach.web => vec![Operation::Connect],
        Kind::Shell | Kind::Web => Vec::new(),
    }
}

fn objects_of(
    kind: Kind,
    operations: &[Operation],
    j: &Enforceable,
    everything: bool,
) -> Vec<(Operation, ObjectPatterns)> {
    operations
        .iter()
        // A condition on a URL is not about listening.
        .filter(|o| {
            **o != Operation::Bind || (everything && j.hosts.is_none() && j.except_hosts.is_empty())
        })
        // All tools together can reach a unix socket, but no tool gets its path as a file.
        .filter(|o| {
            kind != Kind::File
                || **o != Operation::Connect
                || (j.paths.is_none() && j.except.is_empty())
        })
        .map(|o| {
            let patterns = match kind {
                Kind::File => ObjectPatterns::Paths {
                    paths: j.paths.clone().unwrap_or_else(|| vec![everywhere()]),
                    except: j.except.clone(),
                },
                Kind::Shell => match &j.commands {
                    Some(list) => {
                        ObjectPatterns::Commands(list.iter().map(|c| command(c)).collect())
                    }
                    None => ObjectPatterns::Paths {
                        paths: vec![everywhere()],
                        except: Vec::new(),
                    },
                },
                Kind::Web => ObjectPatterns::Hosts {
                    hosts: j.hosts.clone().unwrap_or_else(|| vec![every_host()]),
                    except: j.except_hosts.clone(),
                },
            };
            (*o, patterns)
        })
        .collect()
}

/// Removes from an allowance without its condition what later rules deny.
fn narrow(part: &mut Part, after: &[Part]) {
    for later in after
        .iter()
        .filter(|l| l.operation == part.operation && l.action != Action::Allow)
    {
        match (&mut part.patterns, &later.patterns) {
            (
                ObjectPatterns::Paths { paths, except },
                ObjectPatterns::Paths {
                    paths: denied,
                    except: spared,
                },
            ) => {
                if !is_everywhere(denied) {
                    except.extend(denied.iter().cloned());
                } else if spared.is_empty() {
                    // The condition was meant to open an object that is otherwise denied completely.
                    break;
                } else if is_everywhere(paths) {
                    paths.clone_from(spared);
                }
            }
            (ObjectPatterns::Paths { except, .. }, ObjectPatterns::Commands(denied)) => {
                except.extend(denied.iter().map(|c| c.program.clone()));
            }
            (ObjectPatterns::Commands(list), ObjectPatterns::Commands(denied)) => {
                list.retain(|c| !denied.iter().any(|d| d.program == c.program));
            }
            (ObjectPatterns::Hosts { except, .. }, ObjectPatterns::Hosts { hosts: denied, .. }) => {
                if denied.iter().any(|h| h.host == Host::Any) {
                    break;
                }
                except.extend(denied.iter().cloned());
            }
            _ => {}
        }
    }
}

/// Writes the parts of one rule. Parts with the same objects become one.
fn emit(
    name: &str,
    rule: &FileRule,
    own: Vec<Part>,
    base: &Base,
    said: &mut Vec<String>,
    out: &mut Output,
) {
    let mut groups: Vec<(OperationSet, Action, ObjectPatterns)> = Vec::new();
    for mut p in own {
        if p.action != Action::Allow {
            spare(&mut p, base, said);
        }
        // Starting files and starting programs need separate rules.
        match groups.iter_mut().find(|g| {
            g.1 == p.action
                && g.2 == p.patterns
                && (p.operation == Operation::Execute) == g.0.contains(Operation::Execute)
        }) {
            Some(g) => g.0.insert(p.operation),
            None => groups.push(([p.operation].into_iter().collect(), p.action, p.patterns)),
        }
    }
    let on_paths = groups
        .iter()
        .filter(|g| {
            matches!(g.2, ObjectPatterns::Paths { .. }) && !g.0.contains(Operation::Execute)
        })
        .count();
    for (operations, action, patterns) in groups {
        let words = || {
            operations
                .iter()
                .map(Operation::name)
                .collect::<Vec<_>>()
                .join("-")
        };
        let (suffix, objects) = match patterns {
            ObjectPatterns::Paths { paths, except } => {
                let suffix = match operations.contains(Operation::Execute) {
                    true => "programs".to_owned(),
                    false if on_paths == 1 => "paths".to_owned(),
                    false => words(),
                };
                (suffix, Objects::Paths { paths, except })
            }
            ObjectPatterns::Commands(commands) if commands.is_empty() => continue,
            ObjectPatterns::Commands(commands) => (
                "commands".to_owned(),
                Objects::Commands {
                    commands,
                    except: Vec::new(),
                },
            ),
            ObjectPatterns::Hosts { hosts, .. } if hosts.is_empty() => continue,
            ObjectPatterns::Hosts { hosts, except } => {
                ("hosts".to_owned(), Objects::Hosts { hosts, except })
            }
        };
        let made = Rule {
            message: rule.message.clone(),
            ..Rule::new(format!("{name}/{suffix}"), action, operations, objects)
        };
        out.push(made, rule.span);
    }
}

/// Removes from a denial what it cannot mean.
fn spare(p: &mut Part, base: &Base, said: &mut Vec<String>) {
    let mut say = |text: &str| {
        if !said.iter().any(|s| s == text) {
            said.push(text.to_owned());
        }
    };
    match &mut p.patterns {
        ObjectPatterns::Paths { paths, except } if is_everywhere(paths) => {
            let more = base.needed(p.operation);
            if !more.is_empty() {
                except.extend(more);
                say(
                    "a denial of everything leaves a program what it needs to start (`builtin:linux-runtime`, `builtin:macos-runtime`) and what `sandbox` allows",
                );
            }
        }
        ObjectPatterns::Paths { paths, except } => {
            let more = base.vital(p.operation, paths);
            if !more.is_empty() {
                except.extend(more);
                say(
                    "files: no program starts without reading the system's programs and libraries: there, only the tool-call gate keeps the rule",
                );
            }
        }
        ObjectPatterns::Hosts { hosts, except } if hosts.iter().any(|h| h.host == Host::Any) => {
            except.extend(base.hosts(p.operation).iter().cloned());
        }
        ObjectPatterns::Hosts { .. } | ObjectPatterns::Commands(_) => {}
    }
}
