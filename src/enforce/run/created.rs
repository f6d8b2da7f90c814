//! What was made while the program ran, although the policy denies making it.
//!
//! What is not there when the program starts has nothing to be covered by ([`super::cover`]), so it can be made: a
//! `.env`, the hook of a repository that is made inside. The supervisor therefore looks through the trees in which
//! something may be made twice, before the program starts and after it has ended, from outside, where nothing is
//! covered, and tells each denied path that is new with the rule that denies it. It takes nothing away, and the exit
//! status stays the program's, unless `--fail-if-made` asks for 3: a script that runs an agent cannot read what is
//! told.
//!
//! - Only names are compared. What something else made meanwhile (a session of `ssh` in `/tmp`) is told as well: who
//!   made it the file system does not know.
//! - A directory that is new and wholly denied is told once, without what is in it.
//! - Nothing is told of what is made by a process that goes on when the program has ended.
//! - After [`MAX_TIME`] it stops, and says so. Upper directories come first.
//!
//! # Why it is told, and not prevented
//!
//! What does not exist cannot be mounted on, and Landlock knows no names. docs/decisions.md lists what was tried
//! instead, and what came of it.
//!
//! Whoever would rather not start at all has `--require safe`, which counts each such path as let through.

use super::entries::Reader;
use super::own_dirs::OwnDirs;
use crate::backend::landlock::Kind;
use crate::fidelity::{Object, show_bytes};
use crate::policy::{Operation, Policy, RuleId};
use crate::semantics::{Decisions, Meaning, StateId, TooLarge, decide};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt::Write;
use std::time::{Duration, Instant};

/// Longest time to look, each time.
pub const MAX_TIME: Duration = Duration::from_secs(5);
/// How many paths are named for one rule.
const NAMED: usize = 5;

/// Looks through the trees in which something may be made.
pub struct Scan<'a> {
    policy: &'a Policy,
    /// The program's own directories, in which nothing of the host's is seen.
    own: Option<&'a OwnDirs>,
    create: &'a Decisions,
    /// By state: everything from it on may be made.
    fine: Vec<bool>,
    /// By state: nothing from it on may be.
    none: Vec<bool>,
}

/// The denied paths that are there.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    paths: HashSet<Vec<u8>>,
    /// There was more than is looked at.
    cut: bool,
}

struct At {
    path: Vec<u8>,
    state: StateId,
    /// In a tree where something may be made.
    within: bool,
}

impl<'a> Scan<'a> {
    /// `None`: wherever something may be made, everything may be.
    ///
    /// # Errors
    /// The policy's automata are too large.
    pub fn new(meaning: &'a Meaning<'_>) -> Result<Option<Self>, TooLarge> {
        let create = meaning.decisions(Operation::Create)?;
        let scan = Self {
            policy: meaning.policy(),
            own: None,
            create,
            fine: create.dfa().all_below(|l| create.permits(l)),
            none: create.dfa().all_below(|l| !create.permits(l)),
        };
        let holes = create
            .dfa()
            .states()
            .any(|s| scan.opens(s) && !scan.fine(s));
        Ok(holes.then_some(scan))
    }

    /// Whether a name that no rule mentions may be made in the directory of this state.
    fn opens(&self, state: StateId) -> bool {
        let fresh = self.create.enter_fresh(state, 1);
        fresh.is_some_and(|s| self.create.permits_state(s))
    }

    /// Whether it may be made, and everything beneath it.
    fn fine(&self, state: StateId) -> bool {
        self.fine[state.index()]
    }

    /// Whether it may not be made, and nothing beneath it.
    fn none(&self, state: StateId) -> bool {
        self.none[state.index()]
    }

    /// Leaves out what the program does not see of the host.
    #[must_use]
    pub fn without(mut self, own: &'a OwnDirs) -> Self {
        self.own = Some(own);
        self
    }

    /// Leaves nothing out: the program has no directories of its own.
    pub fn see_all(&mut self) {
        self.own = None;
    }

    /// What is there now. Directories that are new since `before` and wholly denied are not entered.
    #[must_use]
    pub fn look(&self, before: Option<&Seen>) -> Seen {
        self.look_below(b"", before, usize::MAX)
    }

    fn look_below(&self, top: &[u8], before: Option<&Seen>, most: usize) -> Seen {
        let end = Instant::now() + MAX_TIME;
        let mut seen = Seen::default();
        let mut looked = 0;
        let mut reader = Reader::default();
        let start = self.create.dfa().start();
        let state = top
            .split(|b| *b == b'/')
            .skip(1)
            .try_fold(start, |s, n| self.create.enter(s, n));
        let mut work: VecDeque<At> = state
            .map(|state| At {
                path: top.to_vec(),
                state,
                within: false,
            })
            .into_iter()
            .collect();
        while let Some(at) = work.pop_front() {
            let within = at.within || self.opens(at.state);
            let folder: &[u8] = if at.path.is_empty() { b"/" } else { &at.path };
            let read = reader.read(folder, |name, kind| {
                looked += 1;
                if looked > most || (looked % 256 == 0 && Instant::now() > end) {
                    seen.cut = true;
                    return false;
                }
                work.extend(self.entry(&at, within, name, kind, before, &mut seen));
                true
            });
            // What is gone, or cannot be read, has nothing to tell of.
            if read.is_ok() && seen.cut {
                return seen;
            }
        }
        seen
    }

    /// Notes an entry that is denied. The answer is the directory that is to be looked at, if it is one.
    fn entry(
        &self,
        at: &At,
        within: bool,
        name: &[u8],
        kind: Kind,
        before: Option<&Seen>,
        seen: &mut Seen,
    ) -> Option<At> {
        let state = self.create.enter(at.state, name)?;
        if self.fine(state) || (!within && self.none(state)) {
            return None;
        }
        let denied = within && !self.create.permits_state(state);
        let mut enter = kind == Kind::Directory;
        if !denied && !enter {
            return None;
        }
        let path = [at.path.as_slice(), b"/", name].concat();
        // Processes are made by no program's leave.
        if path == b"/proc" || self.own.is_some_and(|own| own.hides(&path)) {
            return None;
        }
        if denied {
            let new = before.is_some_and(|b| !b.paths.contains(&path));
            enter &= !(new && self.none(state));
            seen.paths.insert(path.clone());
        }
        enter.then_some(At {
            path,
            state,
            within,
        })
    }

    /// What to say of what is there now and was not before; empty: nothing is.
    #[must_use]
    pub fn told(&self, before: &Seen, now: &Seen) -> String {
        let mut out = String::new();
        let short = format!(
            "polc looked for what was made against the policy, but did not finish in {} seconds: the trees that may be \
             written are too large",
            MAX_TIME.as_secs()
        );
        if before.cut {
            // What was not looked at before may have been there.
            let _ = writeln!(out, "note: {short}");
            return out;
        }
        let mut by_rule: BTreeMap<Option<RuleId>, Vec<&[u8]>> = BTreeMap::new();
        for path in now.paths.difference(&before.paths) {
            let decision = decide(self.policy, Operation::Create, &Object::Path(path.clone()));
            by_rule.entry(decision.rule).or_default().push(path);
        }
        for (rule, mut paths) in by_rule {
            paths.sort_unstable();
            let mut names: Vec<String> = paths
                .iter()
                .take(NAMED)
                .map(|p| format!("`{}`", show_bytes(p)))
                .collect();
            if let more @ 1.. = paths.len().saturating_sub(NAMED) {
                names.push(format!("{more} more"));
            }
            let last = names.pop().unwrap_or_default();
            let list = if names.is_empty() {
                last
            } else {
                format!("{} and {last}", names.join(", "))
            };
            let _ = writeln!(
                out,
                "polc: made while the program ran, against the policy: {list}: denied by {}",
                self.policy.decider(rule)
            );
        }
        if now.cut {
            let _ = writeln!(out, "note: {short}, or not all of it");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::{LoadOptions, load};
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};

    const POLICY: &str = "version: 1
name: t
subject: {workspace: WS}
rules:
  - name: env
    action: deny
    operations: [write]
    paths: [\"${workspace}/**/.env\", \"${workspace}/kept/**\", \"${workspace}/**/hooks/**\"]
  - name: asks
    action: ask
    operations: [create]
    paths: [\"${workspace}/*.lock\"]
  - name: tree
    action: allow
    operations: [read, write]
    paths: [\"${workspace}/**\"]
";

    /// An empty workspace, and the policy for it.
    fn workspace() -> (tempfile::TempDir, PathBuf, Policy) {
        let folder = tempfile::tempdir().unwrap();
        let ws = folder.path().canonicalize().unwrap();
        let text = POLICY.replace("WS", ws.to_str().unwrap());
        let policy = load("p.yaml", &text, &LoadOptions::default())
            .unwrap()
            .policy;
        (folder, ws, policy)
    }

    fn write(folder: &Path, names: &[&str]) {
        for name in names {
            let file = folder.join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
    }

    #[test]
    fn what_is_new_and_denied_is_told_with_its_rule() {
        let (_folder, ws, policy) = workspace();
        let meaning = Meaning::new(&policy);
        let scan = Scan::new(&meaning).unwrap().unwrap();
        write(&ws, &[".env", "kept/old", "a/hooks/was", "fine/f"]);
        let before = scan.look(None);
        assert_eq!(scan.told(&before, &scan.look(Some(&before))), "");

        write(
            &ws,
            &[
                "a/hooks/new",
                "kept/new\nline",
                "b/hooks/x/y",
                "fine/g",
                "c/d",
            ],
        );
        symlink("d", ws.join("c/.env")).unwrap();
        write(
            &ws,
            &[
                "1.lock", "2.lock", "3.lock", "4.lock", "5.lock", "6.lock", "7.lock",
            ],
        );
        std::fs::remove_file(ws.join(".env")).unwrap();
        let w = ws.display();
        assert_eq!(
            scan.told(&before, &scan.look(Some(&before))),
            format!(
                "polc: made while the program ran, against the policy: `{w}/a/hooks/new`, `{w}/b/hooks`, `{w}/c/.env` and \
                 `{w}/kept/new\\x0aline`: denied by rule `env` at p.yaml:5\n\
                 polc: made while the program ran, against the policy: `{w}/1.lock`, `{w}/2.lock`, `{w}/3.lock`, \
                 `{w}/4.lock`, `{w}/5.lock` and 2 more: denied by rule `asks` at p.yaml:9\n"
            )
        );
    }

    #[test]
    fn what_is_too_much_is_said_and_nothing_is_made_up() {
        let (_folder, ws, policy) = workspace();
        let meaning = Meaning::new(&policy);
        let scan = Scan::new(&meaning).unwrap().unwrap();
        write(&ws, &["a", "b", "c", ".env"]);
        let top = ws.as_os_str().as_bytes();
        let (all, part) = (scan.look_below(top, None, 4), scan.look_below(top, None, 2));
        assert!(!all.cut && part.cut);
        assert_eq!(all.paths.len(), 1);
        // What was not seen before may have been there before.
        let told = scan.told(&part, &all);
        assert!(
            told.starts_with("note: ") && !told.contains(".env"),
            "{told}"
        );
        let told = scan.told(&Seen::default(), &Seen { cut: true, ..all });
        assert!(
            told.contains("/.env`") && told.contains("or not all of it"),
            "{told}"
        );
    }

    #[test]
    fn where_all_or_nothing_may_be_made_nobody_looks() {
        for rules in [
            "[]",
            "[{name: w, action: allow, operations: [write], paths: [\"/w/**\"]}]",
        ] {
            let text = format!("version: 1\nname: t\nrules: {rules}\n");
            let policy = load("p.yaml", &text, &LoadOptions::default())
                .unwrap()
                .policy;
            assert!(
                Scan::new(&Meaning::new(&policy)).unwrap().is_none(),
                "{rules}"
            );
        }
    }
}
