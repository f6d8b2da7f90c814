//! What the policy answers on this host, and how a question looks for an artifact.

use polc::fidelity::{Object, show_bytes};
use polc::host::Resolver;
use polc::policy::{Operation, Policy, Query, Subject};
use polc::semantics::{Decision, decide, decide_query};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// The answer to one operation on one object.
pub struct Answer {
    /// The decision about the path that the kernel reaches.
    pub decision: Decision,
    /// The object that the decision is about.
    pub object: Object,
    /// What the policy says about the name, if links lead it to another path.
    pub by_name: Option<Decision>,
    /// The path cannot be reached, because its links form a loop.
    pub nowhere: bool,
}

/// The paths that a call with this name may reach: some calls follow a link at the end, and some use the link itself.
fn reached(resolver: &Resolver<'_>, operation: Operation, path: &[u8]) -> Option<Vec<Vec<u8>>> {
    let end = || resolver.resolve(path);
    let itself = || resolver.resolve_parent(path);
    Some(match operation {
        Operation::Delete => vec![itself()?],
        Operation::Create | Operation::Metadata => vec![itself()?, end()?],
        _ => vec![end()?],
    })
}

/// The program that a first word means on this host, as `polc run` finds it.
fn program(word: &[u8], resolver: &Resolver<'_>) -> Option<Vec<u8>> {
    if word.contains(&b'/') && !word.starts_with(b"/usr/bin/") {
        return resolver.resolve(word);
    }
    let name = word.strip_prefix(b"/usr/bin/".as_slice()).unwrap_or(word);
    let found =
        polc::enforce::command::find(OsStr::from_bytes(name), std::env::var_os("PATH").as_deref());
    match found {
        Ok(found) => Some(found.resolved.into_os_string().into_vec()),
        Err(_) => resolver.resolve(word),
    }
}

/// Answers for this host. Without a resolver, answers for the names alone.
pub fn answer(
    policy: &Policy,
    operation: Operation,
    object: &Object,
    resolver: Option<&Resolver<'_>>,
) -> Answer {
    let by_name = decide(policy, operation, object);
    let plain = Answer {
        decision: by_name,
        object: object.clone(),
        by_name: None,
        nowhere: false,
    };
    let Some(resolver) = resolver else {
        return plain;
    };
    let objects: Vec<Object> = match object {
        Object::Path(path) => match reached(resolver, operation, path) {
            Some(paths) => paths.into_iter().map(Object::Path).collect(),
            None => {
                return Answer {
                    nowhere: true,
                    ..plain
                };
            }
        },
        Object::Command(words) => {
            let mut words = words.clone();
            if let Some(first) = words.first_mut()
                && let Some(found) = program(first, resolver)
            {
                *first = found;
            }
            vec![Object::Command(words)]
        }
        _ => return plain,
    };
    objects
        .into_iter()
        .map(|object| (decide(policy, operation, &object), object))
        .reduce(|a, b| {
            if a.0.action.strictest(b.0.action) == a.0.action {
                a
            } else {
                b
            }
        })
        .map_or(plain, |(decision, real)| Answer {
            decision,
            by_name: (real != *object).then_some(by_name),
            object: real,
            nowhere: false,
        })
}

/// The answer to a test of the policy: the strictest of its parts, and how the object was reached. A command is tested
/// by its name, because the name leads to different files on different hosts.
pub fn test(
    policy: &Policy,
    query: &Query,
    resolver: Option<&Resolver<'_>>,
) -> (Decision, Option<Object>) {
    let Query::Path(operations, path) = query else {
        return (decide_query(policy, query), None);
    };
    let object = Object::Path(path.clone());
    operations
        .iter()
        .map(|o| answer(policy, o, &object, resolver))
        .reduce(|a, b| {
            if a.decision.action.strictest(b.decision.action) == a.decision.action {
                a
            } else {
                b
            }
        })
        .map_or_else(
            || (decide_query(policy, query), None),
            |a| (a.decision, a.by_name.map(|_| a.object)),
        )
}

/// The object as artifacts name it: in their home, workspace and temporary directory.
pub fn moved(object: &Object, from: &Subject, to: &Subject) -> Object {
    let mut places: Vec<(&[u8], &[u8])> = [
        (&from.workspace, &to.workspace),
        (&from.home, &to.home),
        (&from.tmp, &to.tmp),
    ]
    .into_iter()
    .filter_map(|(a, b)| Some((a.as_deref()?, b.as_deref()?)))
    .collect();
    // The workspace mostly lies in the home directory.
    places.sort_by_key(|(a, _)| std::cmp::Reverse(a.len()));
    let path = |path: &[u8]| {
        places.iter().find_map(|(a, b)| {
            let rest = path.strip_prefix(*a)?;
            let within = rest.is_empty() || rest.starts_with(b"/");
            within.then(|| [*b, rest].concat())
        })
    };
    match object {
        Object::Path(p) => Object::Path(path(p).unwrap_or_else(|| p.clone())),
        Object::Command(words) => {
            let mut words = words.clone();
            if let Some(first) = words.first_mut()
                && let Some(new) = path(first)
            {
                *first = new;
            }
            Object::Command(words)
        }
        other => other.clone(),
    }
}

/// The paths of a subject that differ from those of another subject, for people. `None`: they are the same.
pub fn subject_paths(of: &Subject, but: &Subject) -> Option<String> {
    let shown = |name: &str, a: &Option<Vec<u8>>, b: &Option<Vec<u8>>| {
        let path = a.as_deref().filter(|_| a != b)?;
        Some(format!("{name} {}", show_bytes(path)))
    };
    let places: Vec<String> = [
        shown("home", &of.home, &but.home),
        shown("workspace", &of.workspace, &but.workspace),
        shown("tmp", &of.tmp, &but.tmp),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!places.is_empty()).then(|| places.join(", "))
}

/// Makes a question absolute whose path is relative to the current directory, or goes through `..`. `None`: it is
/// another kind of question.
pub fn relative(words: &[String], resolver: &Resolver<'_>) -> Option<(String, Vec<u8>)> {
    let line = words.join(" ");
    let (operation, path) = line.split_once(' ')?;
    const ON_PATHS: [&str; 8] = [
        "read", "list", "edit", "create", "delete", "metadata", "write", "execute",
    ];
    let dotted = path.starts_with("./") || path.starts_with("../") || path == "." || path == "..";
    if !(ON_PATHS.contains(&operation) || operation == "connect" && dotted) {
        return None;
    }
    let up = path.split('/').any(|n| n == ".." || n == ".");
    let named = ["/", "~", "${", "$"].iter().any(|p| path.starts_with(p));
    if path.is_empty() || (named && !(path.starts_with('/') && up)) {
        return None;
    }
    let mut whole = OsString::new();
    if !path.starts_with('/') {
        whole = std::env::current_dir().ok()?.into_os_string();
        whole.push("/");
    }
    whole.push(path);
    let whole = whole.into_vec();
    let resolved = if up {
        let last_up = path.ends_with("..") || path.ends_with("/.") || path == ".";
        if last_up {
            resolver.resolve(&whole)?
        } else {
            resolver.resolve_parent(&whole)?
        }
    } else {
        // Without `..` the names stay, because a link among them is reported.
        let names = whole.split(|b| *b == b'/').filter(|n| !n.is_empty());
        names.flat_map(|n| [b"/".as_slice(), n].concat()).collect()
    };
    Some((operation.to_owned(), resolved))
}
