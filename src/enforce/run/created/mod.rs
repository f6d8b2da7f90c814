//! Finds what was made while the program ran, although the policy denies making it.
//!
//! What does not exist at the start cannot be covered ([`super::cover`]), so the program can make it: a `.env`, or the
//! hook of a repository that is made inside. So the supervisor looks twice through the trees in which something may be
//! made: before the program starts, and after it has ended. It looks from outside, where nothing is covered. It names
//! each denied path that is new, with the rule that denies it. It removes nothing. The exit status stays the program's,
//! unless `--fail-if-made` asks for 3: a script that runs an agent cannot read a message.
//!
//! - Only names are compared. So polc also names what something else made meanwhile, such as a session of `ssh` in
//!   `/tmp`. The file system does not know who made it.
//! - polc reads git configurations that are new or changed ([`configurations`]). The policy allows making a repository,
//!   and its configuration may name programs.
//! - A new directory that is wholly denied is named once, without its contents.
//! - If a process goes on after the program has ended, polc does not report what it makes.
//! - In a directory that cannot be listed, polc asks for each name that a pattern spells out. At the end polc also
//!   gives itself the right to list a directory that it could list at the start, or that is new ([`modes`]). It names a
//!   directory that it still cannot list.
//! - After [`MAX_TIME`] it stops, and says so. It reads upper directories first.
//!
//! # Why polc reports it, and does not prevent it
//!
//! Nothing can be mounted on what does not exist, and Landlock knows no names. docs/decisions.md lists what was tried
//! instead, with the results.
//!
//! `--require safe` counts each such path as a gap, and does not start the program.

mod configurations;
mod modes;
mod told;

pub use told::{Detail, told};

use super::entries::{Reader, is_gone, kind_of_mode};
use super::own_dirs::OwnDirs;
use super::sys;
use crate::backend::landlock::Kind;
use crate::policy::{Operation, Policy};
use crate::semantics::{Decisions, Meaning, StateId, TooLarge};
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// The longest time for each of the two searches.
pub const MAX_TIME: Duration = Duration::from_secs(5);

/// Searches the trees in which the program may make something.
pub struct Scan<'a> {
    policy: &'a Policy,
    /// The program's own directories, in which it sees nothing of the host.
    own: Option<&'a OwnDirs>,
    /// Only git configurations are examined.
    configurations_alone: bool,
    create: &'a Decisions,
    /// By state: whether the program may make this path and everything beneath it.
    fine: Vec<bool>,
    /// By state: whether the program may make neither this path nor anything beneath it.
    none: Vec<bool>,
}

/// The denied paths that exist.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    paths: HashSet<Vec<u8>>,
    /// Directories that could not be listed.
    unread: BTreeSet<Vec<u8>>,
    /// For each git configuration file: the variables that name programs.
    configured: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
    /// The search stopped before it had seen everything.
    cut: bool,
}

impl Seen {
    /// Whether a path lies in a directory that could not be listed.
    fn is_unread(&self, path: &[u8]) -> bool {
        let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/');
        !self.unread.is_empty()
            && ends
                .filter_map(|(end, _)| path.get(..end.max(1)))
                .any(|folder| self.unread.contains(folder))
    }
}

struct At {
    path: Vec<u8>,
    state: StateId,
    /// It lies in a tree in which the program may make something.
    within: bool,
}

impl<'a> Scan<'a> {
    /// `None`: there is nothing to search for, because no directory allows making some names and denies others.
    ///
    /// # Errors
    /// The policy's automata are too large.
    pub fn new(meaning: &'a Meaning<'_>) -> Result<Option<Self>, TooLarge> {
        let create = meaning.decisions(Operation::Create)?;
        let scan = Self {
            policy: meaning.policy(),
            own: None,
            configurations_alone: false,
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

    /// Whether the program may make a name that no rule mentions in the directory of this state.
    fn opens(&self, state: StateId) -> bool {
        let fresh = self.create.enter_fresh(state, 1);
        fresh.is_some_and(|s| self.create.permits_state(s))
    }

    /// Whether the program may make this path and everything beneath it.
    fn fine(&self, state: StateId) -> bool {
        self.fine[state.index()]
    }

    /// Whether the program may make neither this path nor anything beneath it.
    fn none(&self, state: StateId) -> bool {
        self.none[state.index()]
    }

    /// Leaves out what the program does not see of the host.
    #[must_use]
    pub fn without(mut self, own: &'a OwnDirs) -> Self {
        self.own = Some(own);
        self
    }

    /// Examines git configurations alone, because another layer refuses to make denied objects.
    #[must_use]
    pub fn for_configurations(mut self) -> Self {
        self.configurations_alone = true;
        self
    }

    /// Leaves nothing out, because the program has no directories of its own.
    pub fn see_all(&mut self) {
        self.own = None;
    }

    /// The denied paths that exist now. Does not enter directories that are new since `before` and wholly denied.
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
        let mut opened = modes::Opened::default();
        while let Some(at) = work.pop_front() {
            let within = at.within || self.opens(at.state);
            let folder: &[u8] = if at.path.is_empty() { b"/" } else { &at.path };
            let mut repository = configurations::Signs::default();
            let mut list = || {
                reader.read(folder, |name, kind| {
                    looked += 1;
                    repository.see(name);
                    if looked > most || (looked % 256 == 0 && Instant::now() > end) {
                        seen.cut = true;
                        return false;
                    }
                    work.extend(self.entry(&at, within, name, kind, before, &mut seen));
                    true
                })
            };
            let mut read = list();
            let again = before.is_some_and(|b| !b.unread.contains(folder));
            if is_refused(&read) && again && opened.list(folder) {
                read = list();
            }
            if seen.cut {
                return seen;
            }
            // A directory that is gone has nothing to report.
            if read.is_err_and(|e| !is_gone(&e)) {
                if may_be_the_program_s(folder) {
                    seen.unread.insert(folder.to_vec());
                }
                work.extend(self.spelled_out(&at, within, before, &mut seen));
            }
            if within && repository.are_there() {
                configurations::note(self.policy, folder, &mut seen.configured);
            }
        }
        seen
    }

    /// Asks a directory that cannot be listed for the names that patterns spell out. The answer: the directories to
    /// look at next.
    fn spelled_out(
        &self,
        at: &At,
        within: bool,
        before: Option<&Seen>,
        seen: &mut Seen,
    ) -> Vec<At> {
        let names = self.create.dfa().spelled_out(at.state);
        names
            .filter_map(|(name, _)| {
                let path = [at.path.as_slice(), b"/", name].concat();
                let found = sys::path(&path).symlink_metadata().ok()?;
                self.entry(at, within, name, kind_of_mode(found.mode()), before, seen)
            })
            .collect()
    }

    /// Notes an entry if it is denied. The answer: the directory to look at next, if the entry is one.
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
        let denied = within && !self.configurations_alone && !self.create.permits_state(state);
        let mut enter = kind == Kind::Directory;
        if !denied && !enter {
            return None;
        }
        let path = [at.path.as_slice(), b"/", name].concat();
        // The kernel makes the entries of processes. No policy allows or denies that.
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
}

/// Whether a directory cannot be listed because of its mode, or because of the mode of a directory above it.
fn is_refused(read: &io::Result<()>) -> bool {
    let code = read.as_ref().err().and_then(io::Error::raw_os_error);
    code == Some(libc::EACCES)
}

/// Whether the program may have changed this directory. It can neither make nor change one that belongs to another
/// user.
fn may_be_the_program_s(folder: &[u8]) -> bool {
    match sys::path(folder).symlink_metadata() {
        Ok(found) => found.uid() == sys::user(),
        // The path is too long, or leads through a directory that is closed.
        Err(error) => !is_gone(&error),
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

    /// An empty workspace, and a policy for it.
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
        assert_eq!(
            told(&scan, &before, &scan.look(Some(&before)), Detail::Short),
            ""
        );

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
        for i in 10..32 {
            write(&ws, &[&format!("{i}.lock")]);
        }
        std::fs::remove_file(ws.join(".env")).unwrap();
        let w = ws.display();
        let locks: Vec<String> = (10..30).map(|i| format!("`{w}/{i}.lock`")).collect();
        let locks = locks.join(", ");
        let todo = "; look at it, or remove it, before a program outside uses it";
        assert_eq!(
            told(&scan, &before, &scan.look(Some(&before)), Detail::Short),
            format!(
                "polc: made while the program ran, against the policy: `{w}/b/hooks`, `{w}/c/.env`, \
                 `{w}/kept/new\\x0aline` and `{w}/a/hooks/new`: denied by rule `env` at p.yaml:5{todo}\n\
                 polc: made while the program ran, against the policy: {locks} and \
                 2 more beneath `{w}` (`--explain` names all): denied by rule `asks` at p.yaml:9{todo}\n"
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
        // A path that was not seen before may have existed before.
        let told = super::told(&scan, &part, &all, Detail::Short);
        assert!(
            told.starts_with("note: ") && !told.contains(".env"),
            "{told}"
        );
        let told = super::told(
            &scan,
            &Seen::default(),
            &Seen { cut: true, ..all },
            Detail::Short,
        );
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
