//! `subject`: who is confined, and the values of the variables.
//!
//! `home`, `workspace` and `tmp` are paths, never patterns. `workspace` and `tmp` may begin with `~/` or with a
//! variable that is known by then: first `home`, then `workspace`, then `tmp`. So no two can refer to each other.
//! `executable` is a path pattern with all three. Nothing else is expanded.
//!
//! The values of `${git_dir}` and the other git variables follow from the workspace, however it was found. `--set`
//! replaces them.

use super::expand::{GIT_VARIABLES, Mode, VARIABLES, expand_node, set_git};
use super::node::Node;
use super::reader::{Fields, Report, fields, nearest, nonempty, one_of, quoted, text};
use super::rule::path_pattern;
use super::value::pairs;
use crate::diagnostics::{Diagnostic, codes};
use crate::frontend::LoadOptions;
use crate::policy::{Kubernetes, PathPattern, Subject};
use std::rc::Rc;

/// The subject, with the options' settings. Of several nodes, the first one with an entry decides.
pub(crate) fn subject(nodes: &[&Rc<Node>], options: &LoadOptions, report: &mut Report) -> Subject {
    let mut out = Subject::default();
    let known_variables = || VARIABLES.into_iter().chain(GIT_VARIABLES);
    for (name, value) in &options.set {
        match path_as_it_is(value) {
            _ if !known_variables().any(|v| v == name) => {
                let d = Diagnostic::error(
                    codes::BAD_SETTING,
                    format!("{} cannot be set", quoted(name)),
                );
                report.push(match nearest(name, known_variables()) {
                    Some(near) => d.help(format!("did you mean `{near}`?")),
                    None => d.help(format!(
                        "it is {}",
                        one_of(&known_variables().collect::<Vec<_>>())
                    )),
                });
            }
            Err(why) => report.push(
                Diagnostic::error(
                    codes::BAD_SETTING,
                    format!(
                        "`{name}` cannot be {}: {why}",
                        quoted(&String::from_utf8_lossy(value))
                    ),
                )
                .help(format!("write `--set {name}=/path`")),
            ),
            Ok(()) if GIT_VARIABLES.contains(&name.as_str()) => {}
            Ok(()) => *slot(&mut out, name) = Some(value.clone()),
        }
    }
    let implied_auto = nodes.is_empty() && options.auto_without_subject;
    let known = ["executable", "home", "workspace", "tmp", "kubernetes"];
    let found: Vec<Fields<'_>> = nodes
        .iter()
        .filter_map(|n| fields(n, "`subject`", &known, report))
        .collect();
    let get = |key| found.iter().find_map(|f| f.get(key));
    for name in VARIABLES {
        let is_set = options.set.iter().any(|(n, _)| n == name);
        let Some(n) = get(name) else {
            if implied_auto && !is_set {
                *slot(&mut out, name) = options.auto.get(name).map(<[u8]>::to_vec);
                out.assumed.push(name);
            }
            continue;
        };
        let Some(t) = nonempty(n, &format!("`{name}`"), report) else {
            continue;
        };
        if is_set {
            continue;
        }
        if t == "auto" {
            match options.auto.get(name) {
                Some(v) => {
                    *slot(&mut out, name) = Some(v.to_vec());
                    out.assumed.push(name);
                }
                None => report.error(
                    codes::NO_AUTO,
                    format!("the {name} of whoever runs this cannot be found out"),
                    n.span,
                    "`auto`",
                    &format!("write the path, or give it with `--set {name}=PATH`"),
                ),
            }
            continue;
        }
        if name == "home" && (t.starts_with('~') || t.starts_with("${")) {
            report.error(
                codes::BAD_SUBJECT_PATH,
                "`home` must be an absolute path: `~` and other paths begin with it",
                n.span,
                "",
                "write the path, or `auto`",
            );
            continue;
        }
        let Some(e) = expand_node(n, t, &out, Mode::Path, report) else {
            continue;
        };
        match path_as_it_is(e.text.as_bytes()) {
            Ok(()) => *slot(&mut out, name) = Some(e.text.into_bytes()),
            Err(why) => {
                let mut d = Diagnostic::error(
                    codes::BAD_SUBJECT_PATH,
                    format!("`{name}` cannot be {}: {why}", quoted(t)),
                )
                .at(n.span, "");
                let trimmed = t.trim_end_matches('/');
                if trimmed != t
                    && path_as_it_is(trimmed.as_bytes()).is_ok()
                    && n.part(0, t.len()) == n.span
                {
                    d = d.suggest(n.span, trimmed, "without it");
                }
                report.push(d);
            }
        }
    }
    // If a value failed, that was reported. Its absence is no second error, and no policy is made in that case.
    for name in VARIABLES {
        let tried = get(name).is_some() || options.set.iter().any(|(n, _)| n == name);
        if tried && report.failed() && slot(&mut out, name).is_none() {
            *slot(&mut out, name) = Some(b"/unknown".to_vec());
        }
    }
    if let Some(workspace) = &out.workspace {
        out.git = (options.git.0)(workspace, out.home.as_deref());
    }
    for (name, value) in &options.set {
        set_git(&mut out, name, vec![value.clone()]);
    }
    out.executable = get("executable").and_then(|n| {
        let p: PathPattern = path_pattern(n, nonempty(n, "`executable`", report)?, &out, report)?;
        Some(p)
    });
    out.kubernetes = get("kubernetes").and_then(|n| kubernetes(n, report));
    out
}

fn slot<'s>(subject: &'s mut Subject, name: &str) -> &'s mut Option<Vec<u8>> {
    match name {
        "home" => &mut subject.home,
        "workspace" => &mut subject.workspace,
        _ => &mut subject.tmp,
    }
}

/// Whether the bytes are an absolute path without `//`, `.`, `..`, NUL or a `/` at the end.
pub(crate) fn path_as_it_is(path: &[u8]) -> Result<(), &'static str> {
    if path.first() != Some(&b'/') {
        return Err("it is not absolute");
    }
    if path.contains(&0) {
        return Err("it holds a NUL byte");
    }
    if path == b"/" {
        return Ok(());
    }
    if path.len() > 4095 {
        return Err("it is longer than a path can be");
    }
    for part in path[1..].split(|b| *b == b'/') {
        match part {
            b"" => return Err("it has one `/` too many"),
            b"." | b".." => return Err("it holds `.` or `..`"),
            p if p.len() > 255 => return Err("it holds a name of more than 255 bytes"),
            _ => {}
        }
    }
    Ok(())
}

/// `subject.kubernetes`.
fn kubernetes(node: &Rc<Node>, report: &mut Report) -> Option<Kubernetes> {
    let f = fields(node, "`kubernetes`", &["namespace", "labels"], report)?;
    let mut out = Kubernetes::default();
    let bad = |n: &Node, t: &str, what: &str, help: &str, report: &mut Report| {
        report.error(
            codes::BAD_LABEL,
            format!("{} is not {what}", quoted(t)),
            n.span,
            "",
            help,
        );
    };
    if let Some(n) = f.get("namespace")
        && let Some(t) = nonempty(n, "`namespace`", report)
    {
        if dns_label(t) {
            out.namespace = Some(t.to_owned());
        } else {
            bad(
                n,
                t,
                "the name of a namespace",
                "lower-case letters, digits and `-`, 63 bytes at most",
                report,
            );
        }
    }
    if let Some(n) = f.get("labels") {
        for (key, name, value) in pairs(n, "`labels`", report).unwrap_or_default() {
            let Some(v) = text(value, &format!("the label {}", quoted(name)), report) else {
                continue;
            };
            let (prefix, short) = name
                .rsplit_once('/')
                .map_or((None, name), |(p, s)| (Some(p), s));
            if !label_text(short)
                || short.is_empty()
                || prefix.is_some_and(|p| p.len() > 253 || !p.split('.').all(dns_label))
            {
                bad(
                    key,
                    name,
                    "the key of a label",
                    "`[prefix/]name`, such as `app.kubernetes.io/name`",
                    report,
                );
            } else if !label_text(v) {
                bad(
                    value,
                    v,
                    "the value of a label",
                    "letters, digits, `.`, `_` and `-`, 63 bytes at most",
                    report,
                );
            } else {
                out.labels.push((name.to_owned(), v.to_owned()));
            }
        }
        out.labels.sort();
    }
    Some(out)
}

fn dns_label(t: &str) -> bool {
    !t.is_empty()
        && t.len() <= 63
        && !t.starts_with('-')
        && !t.ends_with('-')
        && t.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn label_text(t: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    t.is_empty()
        || (t.len() <= 63
            && t.starts_with(edge)
            && t.ends_with(edge)
            && t.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        assert!(label_text("") && label_text("a") && label_text("a.b_c-d"));
        assert!(
            !label_text("-a")
                && !label_text("a-")
                && !label_text("a b")
                && !label_text(&"a".repeat(64))
        );
    }
}
