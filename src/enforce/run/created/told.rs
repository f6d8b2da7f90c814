//! What polc says at the end about objects that were made against the policy.

use super::{MAX_TIME, Scan, Seen};
use crate::fidelity::{Object, show_bytes};
use crate::policy::{Action, Operation, RuleId};
use crate::semantics::decide;
use std::collections::BTreeMap;
use std::fmt::Write;

/// How many paths are named for one rule, unless the user asks for all.
const NAMED: usize = 20;
/// How many variables are named for one configuration.
const VARIABLES: usize = 5;
/// A longer path is shown without its middle.
const LONGEST: usize = 240;

/// How much polc says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// The first few of many paths.
    Short,
    /// Every path.
    All,
}

/// Paths by the rule that denies them. Paths that a person may agree to come last.
type ByRule<'p> = BTreeMap<(bool, Option<RuleId>), Vec<&'p [u8]>>;

/// What to say about objects that exist now and did not exist before. Empty: there are none.
#[must_use]
pub fn told(scan: &Scan<'_>, before: &Seen, now: &Seen, detail: Detail) -> String {
    let mut out = String::new();
    let short = format!(
        "polc looked for what was made against the policy, but did not finish in {} seconds: the trees that may be \
         written are too large",
        MAX_TIME.as_secs()
    );
    if before.cut {
        // A path that was not examined before may have existed then.
        let _ = writeln!(out, "note: {short}");
        return out;
    }
    let new = now.paths.difference(&before.paths);
    // An object in a directory that polc could not list at the start may have existed then.
    let (unsure, made): (Vec<&[u8]>, Vec<&[u8]>) =
        new.map(Vec::as_slice).partition(|p| before.is_unread(p));
    for (what, paths) in [
        ("made while the program ran, against the policy", made),
        (
            "there at the end, against the policy, in a directory that polc could not list at the start",
            unsure,
        ),
    ] {
        for ((_, rule), paths) in by_rule(scan, paths) {
            let _ = writeln!(
                out,
                "polc: {what}: {}: denied by {}{}; look at it, or remove it, before a program outside uses it",
                list(paths, detail),
                scan.policy.decider(rule),
                message(scan, rule)
            );
        }
    }
    for (path, variables) in &now.configured {
        let known = before.configured.get(path);
        let new = variables
            .iter()
            .filter(|v| !known.is_some_and(|k| k.contains(*v)));
        let new: Vec<String> = new.map(|v| format!("`{}`", show_bytes(v))).collect();
        if !new.is_empty() {
            let _ = writeln!(
                out,
                "polc: made while the program ran, against the policy: {} in {}: git would obey that outside the sandbox, at \
                 your next `git status`: look at the file, or remove its repository, before you use git there",
                shortened(&new, detail),
                quoted(path)
            );
        }
    }
    let unread: Vec<&[u8]> = now
        .unread
        .difference(&before.unread)
        .map(Vec::as_slice)
        .collect();
    if !unread.is_empty() {
        let _ = writeln!(
            out,
            "polc: polc cannot list {}, which it could list before, or which is new: what was made there against the \
             policy is not told",
            list(unread, detail)
        );
    }
    if now.cut {
        let _ = writeln!(out, "note: {short}, or not all of it");
    }
    out
}

/// What the rule says to the person who is refused, behind a colon.
fn message(scan: &Scan<'_>, rule: Option<RuleId>) -> String {
    let message = rule.and_then(|id| scan.policy.rule(id).message.as_ref());
    message.map_or_else(String::new, |m| {
        format!(": {}", show_bytes(m.replace('\n', " ").as_bytes()))
    })
}

fn by_rule<'p>(scan: &Scan<'_>, paths: Vec<&'p [u8]>) -> ByRule<'p> {
    let mut out = ByRule::new();
    for path in paths {
        let decision = decide(scan.policy, Operation::Create, &Object::Path(path.to_vec()));
        let asks = decision.action == Action::Ask;
        out.entry((asks, decision.rule)).or_default().push(path);
    }
    out
}

/// Paths as words. The uppermost come first. Each directory gets one path before any gets a second, so that many names
/// in one place do not hide other places.
fn list(mut paths: Vec<&[u8]>, detail: Detail) -> String {
    paths.sort_unstable();
    let mut known: BTreeMap<&[u8], usize> = BTreeMap::new();
    let mut ordered: Vec<(usize, usize, &[u8])> = Vec::with_capacity(paths.len());
    for path in paths {
        let depth = path.iter().filter(|b| **b == b'/').count();
        let number = known.entry(folder(path)).or_default();
        ordered.push((*number, depth, path));
        *number += 1;
    }
    ordered.sort_unstable();
    let shown = match detail {
        Detail::Short => NAMED,
        Detail::All => usize::MAX,
    };
    let (first, rest) = ordered.split_at(ordered.len().min(shown));
    let mut words: Vec<String> = first.iter().map(|(_, _, p)| quoted(p)).collect();
    if let Some((_, _, top)) = rest.first() {
        let top = rest
            .iter()
            .fold(folder(top), |top, (_, _, p)| common(top, p));
        words.push(format!(
            "{} more beneath {} (`--explain` names all)",
            rest.len(),
            quoted(if top.is_empty() { b"/" } else { top })
        ));
    }
    let last = words.pop().unwrap_or_default();
    if words.is_empty() {
        last
    } else {
        format!("{} and {last}", words.join(", "))
    }
}

/// The first of some words, and the number of the others.
fn shortened(words: &[String], detail: Detail) -> String {
    let shown = match detail {
        Detail::Short => VARIABLES,
        Detail::All => usize::MAX,
    };
    let first = words.iter().take(shown).cloned().collect::<Vec<_>>();
    match words.len().saturating_sub(shown) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// The directory that a path lies in; empty for `/`.
fn folder(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
    path.get(..end).unwrap_or_default()
}

/// The innermost directory in which both paths lie. It is `top` or above it.
fn common<'t>(mut top: &'t [u8], path: &[u8]) -> &'t [u8] {
    while !path.strip_prefix(top).is_some_and(|r| r.starts_with(b"/")) && !top.is_empty() {
        top = folder(top);
    }
    top
}

fn quoted(path: &[u8]) -> String {
    let half = LONGEST / 2;
    let parts = (
        path.get(..half),
        path.get(path.len().saturating_sub(half)..),
    );
    match parts {
        (Some(start), Some(end)) if path.len() > LONGEST => {
            format!("`{}…{}`", show_bytes(start), show_bytes(end))
        }
        _ => format!("`{}`", show_bytes(path)),
    }
}
