//! What polc says before the start about objects that it cannot protect, and about what is refused beyond the policy.

use super::{Gap, Plan, Whole};
use crate::backend::landlock::{AccessFs, Ruleset};
use crate::enforce::run::report::Report;
use crate::fidelity::show_bytes;
use std::collections::BTreeMap;

/// The first few paths, in words.
fn few<'p>(paths: impl IntoIterator<Item = &'p [u8]>) -> String {
    const NAMED: usize = 3;
    let mut paths = paths.into_iter();
    let shown: Vec<String> = paths
        .by_ref()
        .take(NAMED)
        .map(|p| format!("`{}`", show_bytes(p)))
        .collect();
    match paths.count() {
        0 => shown.join(", "),
        rest => format!("{} and {rest} more", shown.join(", ")),
    }
}

/// Describes a plan that is in force. `links` are the links that could not be pinned.
pub fn told(plan: &Plan, links: &[Vec<u8>], report: &mut Report) {
    let mut by_reason: BTreeMap<(Whole, bool), Vec<&[u8]>> = BTreeMap::new();
    for (path, why) in &plan.coarse {
        let hidden = plan.covers.get(path).is_none_or(|(c, _)| c.hidden);
        by_reason.entry((*why, hidden)).or_default().push(path);
    }
    for ((why, hidden), paths) in by_reason {
        let how = if hidden { "hidden" } else { "read-only" };
        let why = match why {
            Whole::Unlisted => {
                "the policy allows reading files there but not listing them, and a mount cannot hide only the names"
            }
            Whole::Unreadable => "polc cannot list it, so it does not know what is denied in it",
            Whole::TooDeep => "the paths in it are too long for the kernel",
            Whole::TooMany => "it has more denied files than polc can cover one by one",
        };
        let paths = few(paths);
        report.stricter(
            format!("{paths}: {how} as a whole"),
            format!("{how} as a whole: {paths}: {why}"),
        );
    }
    if !links.is_empty() {
        report.not_kept(
            "replace symbolic links that have a denied name",
            format!(
            "this kernel takes no mount over a symbolic link, so the program can replace {}; what a link leads to keeps its own protection",
            few(links.iter().map(Vec::as_slice))
        ),
        );
    }
    if !plan.missing.is_empty() {
        report.not_kept(
            "make protected files that do not exist yet",
            format!(
            "a file that does not exist at start cannot be protected. The policy denies {}, but the program can make them, and other names that only a pattern denies. At the end polc tells what was made",
            few(plan.missing.iter().map(Vec::as_slice))
        ),
        );
    }
}

/// Describes the gaps that the user allowed.
pub fn allowed_gaps(gaps: &[Gap], report: &mut Report) {
    let paths = few(gaps.iter().map(|g| g.path.as_slice()));
    report.not_kept(
        format!("get at {paths}, as `--allow-gaps` permits"),
        format!("denied and not protected, as `--allow-gaps` permits: {paths}"),
    );
}

/// Says what a ruleset refuses although the policy allows it, if nothing can be mounted.
pub fn narrow(plan: &Plan, ruleset: &Ruleset, report: &mut Report) {
    let granted = |path: &[u8]| {
        super::above(path).chain([path]).any(|p| {
            let mut grants = ruleset.paths.iter().filter(|g| g.parent == p);
            grants.any(|g| g.allowed.contains(&AccessFs::MakeReg))
        })
    };
    let handled = ruleset.handled_fs.contains(&AccessFs::MakeReg);
    let lost: Vec<&[u8]> = plan
        .changed()
        .into_iter()
        .filter(|p| handled && !granted(p))
        .collect();
    if lost.is_empty() {
        return;
    }
    let git = lost.iter().any(|p| {
        let path = super::super::sys::path(p);
        path.ends_with(".git") || path.join(".git").exists()
    });
    let git = if git {
        "; git cannot write its index or a branch there"
    } else {
        ""
    };
    let lost = few(lost);
    report.stricter(
        format!("new, renamed and removed files directly in {lost}"),
        format!(
            "without namespaces, the program can make, rename and remove nothing directly in {lost}: Landlock alone cannot protect what is denied there{git}. Use a host or a container that permits user namespaces"
        ),
    );
}
