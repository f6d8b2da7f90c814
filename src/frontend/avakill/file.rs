//! Parses the file: checks its keys, keeps their places, and collects every error.
//!
//! AvaKill ignores what it does not know. So `condition:` instead of `conditions:` turns a narrow rule into one without
//! limits. Here an unknown key is an error. Every key that AvaKill 1.2.0 knows is accepted.

use super::paths::{self, BadPath};
use super::tools;
use crate::diagnostics::{Diagnostic, codes};
use crate::frontend::native::node::{Kind, Node, Type};
use crate::frontend::native::reader::{
    Fields, Report, fields, list, nonempty, quoted, text, texts, word,
};
use crate::policy::{Action, HostPattern, Limits, Rate, Span, Subject, ToolPattern};
use std::rc::Rc;

/// The contents of the file's keys.
pub(super) struct File {
    pub default_action: Action,
    pub default_span: Span,
    pub policies: Vec<FileRule>,
    pub sandbox: Option<Sandbox>,
    pub agent: Option<Agent>,
    pub notifications: Option<Span>,
}

/// Whether a rule is enforced or only advises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Enforcement {
    Hard,
    Soft,
    Advisory,
}

/// One entry of `policies`.
pub(super) struct FileRule {
    pub name: String,
    pub span: Span,
    pub tools: Vec<ToolPattern>,
    pub action: Action,
    pub enforcement: Enforcement,
    pub conditions: Conditions,
    pub rate: Option<Rate>,
    pub message: Option<String>,
}

/// Texts for each argument.
pub(super) type Arguments<T> = Vec<(String, Vec<T>)>;

/// The `conditions` of a rule. All of them must hold.
#[derive(Default)]
pub(super) struct Conditions {
    pub args_match: Arguments<String>,
    pub args_not_match: Arguments<String>,
    pub path_match: Arguments<Vec<u8>>,
    pub path_not_match: Arguments<Vec<u8>>,
    pub shell_safe: bool,
    pub commands: Vec<String>,
    pub content_scan: Vec<String>,
}

/// The section `sandbox`. `None`: the list is absent.
#[derive(Default)]
pub(super) struct Sandbox {
    pub span: Span,
    pub read: Option<Vec<Vec<u8>>>,
    pub write: Option<Vec<Vec<u8>>>,
    pub execute: Option<Vec<Vec<u8>>>,
    pub deny_read: Vec<Vec<u8>>,
    pub connect: Option<Vec<HostPattern>>,
    pub bind: Option<Vec<HostPattern>>,
    pub limits: Limits,
    pub inherit_env: bool,
}

/// The section `agent` of a profile.
pub(super) struct Agent {
    pub name: Option<String>,
    pub description: Option<String>,
    pub command: Vec<String>,
    pub span: Span,
}

/// Parses the file's keys.
pub(super) fn read(root: &Rc<Node>, subject: &Subject, report: &mut Report) -> Option<File> {
    let known = [
        "version",
        "default_action",
        "policies",
        "notifications",
        "sandbox",
        "agent",
    ];
    let top = fields(root, "an AvaKill policy", &known, report)?;
    if let Some(v) = value(&top, "version") {
        version(v, report);
    }
    let default_span = top.key_span("default_action").unwrap_or(root.span);
    let default_action = value(&top, "default_action")
        .and_then(|n| {
            word(
                n,
                "default action",
                codes::UNKNOWN_VALUE,
                &[("allow", Action::Allow), ("deny", Action::Deny)],
                report,
            )
        })
        .unwrap_or(Action::Deny);
    let sandbox = value(&top, "sandbox").and_then(|n| sandbox(n, subject, report));
    let agent = value(&top, "agent").and_then(|n| agent(n, report));
    // A profile is an agent with its sandbox. Every other file has rules.
    let policies = if top.get("agent").is_some() && top.get("policies").is_none() {
        Vec::new()
    } else {
        let node = top.require("policies", "an AvaKill policy", report)?;
        list(node, "`policies`", true, report)?
            .iter()
            .filter_map(|n| rule(n, subject, report))
            .collect()
    };
    if let Some(n) = value(&top, "notifications")
        && !matches!(n.kind, Kind::Map(_))
    {
        wrong(n, "`notifications` is a mapping", report);
    }
    Some(File {
        default_action,
        default_span,
        policies,
        sandbox,
        agent,
        notifications: value(&top, "notifications").and_then(|_| top.key_span("notifications")),
    })
}

/// The value of a key. `null` counts as no value.
fn value<'n>(f: &Fields<'n>, key: &'static str) -> Option<&'n Rc<Node>> {
    f.get(key)
        .filter(|n| !n.scalar().is_some_and(|s| s.resolve() == Type::Null))
}

fn wrong(node: &Node, what: &str, report: &mut Report) {
    report.error(
        codes::WRONG_TYPE,
        format!("{what}, not {}", node.type_name()),
        node.span,
        "",
        "",
    );
}

fn version(node: &Node, report: &mut Report) {
    match text(node, "`version`", report) {
        None | Some("1" | "1.0") => {}
        Some(other) => report.error(
            codes::VERSION,
            format!("unknown version {} of AvaKill's policies", quoted(other)),
            node.span,
            "",
            "AvaKill 1.2 knows `\"1.0\"` alone",
        ),
    }
}

fn rule(node: &Rc<Node>, subject: &Subject, report: &mut Report) -> Option<FileRule> {
    let known = [
        "name",
        "tools",
        "action",
        "enforcement",
        "conditions",
        "rate_limit",
        "message",
        "log",
    ];
    let f = fields(node, "a rule of an AvaKill policy", &known, report)?;
    let name_node = f.require("name", "a rule", report);
    let tools_node = f.require("tools", "a rule", report);
    let action_node = f.require("action", "a rule", report);
    let name = name_node.and_then(|n| nonempty(n, "the name of a rule", report));
    let tools: Option<Vec<ToolPattern>> = tools_node.and_then(|n| {
        list(n, "`tools`", false, report)?;
        Some(
            texts(n, "`tools`", false, report)?
                .into_iter()
                .map(|(_, t)| tools::pattern(t))
                .collect(),
        )
    });
    let action = action_node.and_then(|n| {
        let words = [
            ("allow", Action::Allow),
            ("deny", Action::Deny),
            ("require_approval", Action::Ask),
        ];
        word(n, "action", codes::UNKNOWN_VALUE, &words, report)
    });
    let enforcement = match value(&f, "enforcement") {
        None => Some(Enforcement::Hard),
        Some(n) => {
            let words = [
                ("hard", Enforcement::Hard),
                ("soft", Enforcement::Soft),
                ("advisory", Enforcement::Advisory),
            ];
            word(n, "enforcement", codes::UNKNOWN_VALUE, &words, report)
        }
    };
    let conditions = value(&f, "conditions").map_or_else(
        || Some(Conditions::default()),
        |n| conditions(n, subject, report),
    );
    let rate = value(&f, "rate_limit").map(|n| rate(n, report));
    let message = value(&f, "message")
        .and_then(|n| text(n, "`message`", report))
        .map(str::to_owned);
    if let Some(n) = value(&f, "log") {
        boolean(n, "`log`", report);
    }
    Some(FileRule {
        name: name?.to_owned(),
        span: name_node.map_or(node.span, |n| n.span),
        tools: tools?,
        action: action?,
        enforcement: enforcement?,
        conditions: conditions?,
        rate: match rate {
            None => None,
            Some(r) => Some(r?),
        },
        message,
    })
}

fn boolean(node: &Node, what: &str, report: &mut Report) -> Option<bool> {
    match node
        .scalar()
        .filter(|s| s.resolve() == Type::Bool)
        .map(|s| s.text.to_ascii_lowercase())
        .as_deref()
    {
        Some("true" | "yes" | "on") => Some(true),
        Some("false" | "no" | "off") => Some(false),
        _ => {
            report.error(
                codes::WRONG_TYPE,
                format!("{what} is `true` or `false`, not {}", node.type_name()),
                node.span,
                "",
                "",
            );
            None
        }
    }
}

fn number(node: &Node, what: &str, report: &mut Report) -> Option<u64> {
    let n = node.scalar().and_then(|s| s.text.parse::<u64>().ok());
    if n.is_none() {
        report.error(
            codes::BAD_NUMBER,
            format!("{what} is a whole number, 0 or more"),
            node.span,
            "",
            "",
        );
    }
    n
}

fn rate(node: &Rc<Node>, report: &mut Report) -> Option<Rate> {
    let f = fields(node, "`rate_limit`", &["max_calls", "window"], report)?;
    let calls = f.require("max_calls", "`rate_limit`", report);
    let window = f.require("window", "`rate_limit`", report);
    let calls = calls.and_then(|n| {
        let v = number(n, "`max_calls`", report)?;
        let fits = u32::try_from(v).ok();
        if fits.is_none() {
            report.error(
                codes::BAD_NUMBER,
                "`max_calls` is too large",
                n.span,
                "",
                "",
            );
        }
        fits
    });
    let seconds = window.and_then(|n| {
        let t = text(n, "`window`", report)?;
        let seconds = window_seconds(t);
        if seconds.is_none() {
            report.error(
                codes::BAD_DURATION,
                format!("{} is not a window", quoted(t)),
                n.span,
                "",
                "it is a number and `s`, `m` or `h`, such as `60s`, `5m`, `1h`",
            );
        }
        seconds
    });
    Some(Rate {
        calls: calls?,
        seconds: seconds?,
    })
}

fn window_seconds(text: &str) -> Option<u32> {
    let unit = match text.as_bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 3600,
        _ => return None,
    };
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u32>().ok()?.checked_mul(unit)
}

fn conditions(node: &Rc<Node>, subject: &Subject, report: &mut Report) -> Option<Conditions> {
    let known = [
        "args_match",
        "args_not_match",
        "shell_safe",
        "command_allowlist",
        "path_match",
        "path_not_match",
        "workspace",
        "content_scan",
    ];
    let f = fields(node, "`conditions`", &known, report)?;
    let workspace = value(&f, "workspace").and_then(|n| {
        let t = nonempty(n, "`workspace`", report)?;
        path(n, t, subject, None, report)
    });
    let plain = |key: &'static str, report: &mut Report| {
        value(&f, key).map_or_else(
            || Some(Vec::new()),
            |n| arguments(n, key, report, |_, t, _| Some(t.to_owned())),
        )
    };
    let args_match = plain("args_match", report);
    let args_not_match = plain("args_not_match", report);
    let paths = |key: &'static str, report: &mut Report| {
        value(&f, key).map_or_else(
            || Some(Vec::new()),
            |n| {
                arguments(n, key, report, |n, t, report| {
                    path(n, t, subject, workspace.as_deref(), report)
                })
            },
        )
    };
    let path_match = paths("path_match", report);
    let path_not_match = paths("path_not_match", report);
    let strings = |key: &'static str, report: &mut Report| {
        value(&f, key).map_or_else(
            || Some(Vec::new()),
            |n| {
                Some(
                    texts(n, &format!("`{key}`"), true, report)?
                        .into_iter()
                        .map(|(_, t)| t.to_owned())
                        .collect(),
                )
            },
        )
    };
    let commands: Option<Vec<String>> = strings("command_allowlist", report);
    let content_scan = strings("content_scan", report);
    let shell_safe =
        value(&f, "shell_safe").map_or(Some(false), |n| boolean(n, "`shell_safe`", report));
    Some(Conditions {
        args_match: args_match?,
        args_not_match: args_not_match?,
        path_match: path_match?,
        path_not_match: path_not_match?,
        shell_safe: shell_safe?,
        commands: commands?,
        content_scan: content_scan?,
    })
}

/// `{argument: [text, …]}`.
fn arguments<T>(
    node: &Node,
    key: &str,
    report: &mut Report,
    mut each: impl FnMut(&Node, &str, &mut Report) -> Option<T>,
) -> Option<Arguments<T>> {
    let Kind::Map(entries) = &node.kind else {
        wrong(
            node,
            &format!("`{key}` is a mapping from arguments to lists"),
            report,
        );
        return None;
    };
    let mut out: Arguments<T> = Vec::new();
    for (k, v) in entries {
        let Some(name) = text(k, "the name of an argument", report) else {
            continue;
        };
        if out.iter().any(|(n, _)| n == name) {
            report.error(
                codes::DUPLICATE_KEY,
                format!("the argument {} is written twice", quoted(name)),
                k.span,
                "again",
                "join their lists",
            );
            continue;
        }
        // With an empty list, the condition would never hold, and the rule would never decide.
        let Some(items) = texts(v, &format!("`{key}` of {}", quoted(name)), false, report) else {
            continue;
        };
        if key.starts_with("args_") && tools::kind_of_argument(name) == Some(tools::Kind::Web) {
            items.iter().for_each(|(n, t)| ordinary(n, t, report));
        }
        out.push((
            name.to_owned(),
            items
                .into_iter()
                .filter_map(|(n, t)| each(n, t, report))
                .collect(),
        ));
    }
    Some(out)
}

/// Reports text that looks like a pattern and is not one.
fn ordinary(node: &Node, text: &str, report: &mut Report) {
    if text.contains('*') {
        let d = Diagnostic::warning(codes::PEER_MEANING, "`*` is an ordinary character here, as in AvaKill")
            .at(node.span, "not a pattern")
            .help("a path means everything beneath it, and a text everything that contains it: leave the `*` out");
        report.push(d);
    }
}

fn path(
    node: &Node,
    text: &str,
    subject: &Subject,
    workspace: Option<&[u8]>,
    report: &mut Report,
) -> Option<Vec<u8>> {
    ordinary(node, text, report);
    match paths::absolute(text, subject, workspace) {
        Ok(p) => Some(p),
        Err(BadPath {
            variable,
            message,
            help,
        }) => {
            report.error(
                if variable {
                    codes::UNKNOWN_VARIABLE
                } else {
                    codes::BAD_PATH
                },
                message,
                node.span,
                "",
                help,
            );
            None
        }
    }
}

fn paths(
    f: &Fields<'_>,
    key: &'static str,
    subject: &Subject,
    report: &mut Report,
) -> Option<Vec<Vec<u8>>> {
    let items = texts(value(f, key)?, &format!("`{key}`"), true, report)?;
    Some(
        items
            .into_iter()
            .filter_map(|(n, t)| path(n, t, subject, None, report))
            .collect(),
    )
}

fn hosts(f: &Fields<'_>, key: &'static str, report: &mut Report) -> Option<Vec<HostPattern>> {
    let items = list(value(f, key)?, &format!("`{key}`"), true, report)?;
    let mut out = Vec::new();
    for n in items {
        // A port alone means any host at that port. For YAML it is a number.
        let t = match n.scalar() {
            Some(s) if !s.text.is_empty() && s.text.bytes().all(|b| b.is_ascii_digit()) => {
                format!("*:{}", s.text)
            }
            _ => match text(n, &format!("an entry of `{key}`"), report) {
                Some(t) => t.to_owned(),
                None => continue,
            },
        };
        match HostPattern::parse(&t) {
            Ok(h) => out.push(h),
            Err(e) => report.push(Diagnostic::error(codes::BAD_HOST, e).at(n.span, "")),
        }
    }
    Some(out)
}

fn sandbox(node: &Rc<Node>, subject: &Subject, report: &mut Report) -> Option<Sandbox> {
    let known = [
        "allow_paths",
        "deny_paths",
        "allow_network",
        "resource_limits",
        "inherit_env",
        "inject_hooks",
    ];
    let f = fields(node, "`sandbox`", &known, report)?;
    let mut out = Sandbox {
        span: node.span,
        inherit_env: true,
        ..Sandbox::default()
    };
    if let Some(n) = value(&f, "allow_paths")
        && let Some(p) = fields(n, "`allow_paths`", &["read", "write", "execute"], report)
    {
        out.read = paths(&p, "read", subject, report);
        out.write = paths(&p, "write", subject, report);
        out.execute = paths(&p, "execute", subject, report);
    }
    if let Some(n) = value(&f, "deny_paths")
        && let Some(p) = fields(n, "`deny_paths`", &["read"], report)
    {
        out.deny_read = paths(&p, "read", subject, report).unwrap_or_default();
    }
    if let Some(n) = value(&f, "allow_network")
        && let Some(p) = fields(n, "`allow_network`", &["connect", "bind"], report)
    {
        out.connect = hosts(&p, "connect", report);
        out.bind = hosts(&p, "bind", report);
    }
    if let Some(n) = value(&f, "resource_limits")
        && let Some(p) = fields(
            n,
            "`resource_limits`",
            &[
                "max_memory_mb",
                "max_open_files",
                "max_processes",
                "timeout_seconds",
            ],
            report,
        )
    {
        let mut of =
            |key: &'static str| value(&p, key).and_then(|n| number(n, &format!("`{key}`"), report));
        out.limits.memory = of("max_memory_mb").map(|mb| mb.saturating_mul(1 << 20));
        out.limits.open_files = of("max_open_files");
        out.limits.processes = of("max_processes");
        // Zero means no timeout there.
        out.limits.wall_time = of("timeout_seconds").filter(|s| *s > 0);
    }
    if let Some(n) = value(&f, "inherit_env") {
        out.inherit_env = boolean(n, "`inherit_env`", report).unwrap_or(true);
    }
    if let Some(n) = value(&f, "inject_hooks") {
        boolean(n, "`inject_hooks`", report);
    }
    Some(out)
}

fn agent(node: &Rc<Node>, report: &mut Report) -> Option<Agent> {
    let known = [
        "name",
        "display_name",
        "command",
        "detect_paths",
        "detect_commands",
        "supports_hooks",
        "mcp_native",
        "description",
    ];
    let f = fields(node, "`agent`", &known, report)?;
    let name = f.require("name", "`agent`", report);
    let name = name
        .and_then(|n| text(n, "the name of an agent", report))
        .map(str::to_owned);
    for key in ["detect_paths", "detect_commands"] {
        if let Some(n) = value(&f, key) {
            texts(n, &format!("`{key}`"), true, report);
        }
    }
    for key in ["supports_hooks", "mcp_native"] {
        if let Some(n) = value(&f, key) {
            boolean(n, &format!("`{key}`"), report);
        }
    }
    if let Some(n) = value(&f, "display_name") {
        text(n, "`display_name`", report);
    }
    let command = value(&f, "command")
        .and_then(|n| texts(n, "`command`", true, report))
        .unwrap_or_default();
    Some(Agent {
        name,
        description: value(&f, "description")
            .and_then(|n| text(n, "`description`", report))
            .map(|t| t.trim().to_owned()),
        command: command.into_iter().map(|(_, t)| t.to_owned()).collect(),
        span: node.span,
    })
}
