//! Which paths a private mount namespace has to cover, so that Landlock can grant the trees around them whole.
//!
//! Landlock takes nothing away beneath a directory that it grants, so alone it grants a tree with a denial
//! inside by its siblings: what is made beside them later gets nothing, and the directory itself can neither be
//! listed nor written. Here the tree is granted whole, and each path in it that the policy denies is covered by a mount:
//!
//! - **hidden**: it may not be read. An empty file or directory of mode 000 lies over it.
//! - **frozen**: it may not be written. The same object, mounted read-only; the kernel's answer is `EROFS`.
//! - **no program**: it may be read and not started, and nothing around it may be written. The same object, mounted with
//!   `noexec`: `execve` answers `EACCES`, and `ld.so PROGRAM` fails too (`EPERM`), which Landlock does not see. So
//!   programs that a rule denies by their names are covered where nothing else may be started, too.
//! - **pinned**: what is in it may be written, but it may not be removed or renamed. The same object, mounted
//!   on itself: what is a mount point cannot be moved away (`EBUSY`).
//!
//! Every directory between the tree's top and a covered path is pinned too, since moving it away would take the cover along
//! and leave its old name free. The price: a rename or a link between such a directory and its parent answers `EXDEV`,
//! as between file systems (`mv` then copies).
//!
//! The kernel looks at the mount before it asks Landlock, so what is covered is refused with the mount's own error where the rest
//! answers `EACCES` or `EPERM`: writing to what is frozen, or making something in it, `EROFS`; removing or renaming what
//! is covered or pinned, `EBUSY`; a rename or link that crosses a cover, `EXDEV`; mapping what is no program, `EPERM`. Outside
//! of all covers everything is read-only too, so there it is `EROFS` as well.
//!
//! A file that is frozen is not replaced either, and that is what most programs do to write one. `git init` in a
//! repository that is there is the case that is met: for each setting that it makes git writes `config.lock` and
//! renames it over `config`, whether anything in it differs or not, and it changes the mode of `config` to see whether
//! the file system keeps modes. With `builtin:git-hooks` the first rename answers `EBUSY`, git takes its lock away,
//! ends with 128 and has changed nothing. No option of git leaves the writing out, and no cover could let it through: a
//! rename that puts the same bytes there is, to the kernel, the rename that puts others there, and the policy denies to
//! delete `config` for the sake of the latter. Whoever wants it allows `delete` of `.git/config`, and with it every
//! program that `core.fsmonitor` may name.
//!
//! What this cannot cover, and what becomes of it:
//!
//! - A path that **is not there** when the program starts has nothing to mount on. It is named in a message before the
//!   start, it may be made, though the policy denies it, and what was made is told at the end ([`super::created`]).
//!   No placeholder is made for it, not even where its directory is there, and nothing else prevents it soundly: what was
//!   tried, and what came of it, stands in [`super::created`].
//! - What is allowed **again** beneath a denied path that the policy names, in an allowed tree: the cover reaches beneath, and
//!   it is refused. A directory in which nothing may be made or removed, though its files may be written, is frozen whole.
//! - A path that somebody **outside** replaces or removes while the program runs: the kernel takes its mount along without
//!   a word, as it belongs to the file and not to the name, and what stands there then is not covered. `git config` and most
//!   editors write a file by renaming another one over it; writing into the file keeps the cover. Nothing can be done against it
//!   in time: a cover that is put back comes after the change. It is told at the end ([`super::mounts`]), where there is a part of polc
//!   that waits, and `--fail-if-made` counts it. Another `polc run` in the same tree is no such somebody: to it they are mounts as well.
//! - A **standard descriptor** is of the mounts outside. One that is a covered file is opened anew through the cover where
//!   that can be, and else refused ([`super::stdio`]). Of one that is another file, mode and times can be changed through it, if
//!   the user may.
//! - A **symbolic link** that may not be replaced: mounts follow links. The tree around it is not granted whole,
//!   it stays as Landlock alone grants it.
//! - A path that may be read but **not listed**: the same. One that may **not be executed**, where something around may be
//!   written, too, since a mount point cannot be replaced.
//! - **`/proc` of processes** that do not exist yet can have no grant. Where the policy lets the program read the status of
//!   any process, `/proc` is granted whole to read, and each of its entries that is not a process and that the
//!   policy denies is hidden. That is more than the policy says of other files below `/proc/PID`: those that tell
//!   anything (`environ`, `mem`, `maps`, where `fd`, `cwd` and `root` lead) the kernel guards with its check for `ptrace`, which
//!   Landlock refuses for every process outside. With `--require` this is left out.
//! - A pattern that floats (`/w/**/.env`) is expanded when the program starts. Past [`MAX_ENTRIES`] entries or [`MAX_COVERS`]
//!   covers nothing is granted whole.

use crate::backend::landlock::{AccessFs, Host, Kind, PathBeneath, Ruleset, started_by_loader};
use crate::policy::Operation;
use crate::semantics::{Decisions, LiteralTree, Meaning, StateId, TooLarge};
use std::collections::{BTreeMap, BTreeSet};

/// Most entries of the host that are looked at.
pub const MAX_ENTRIES: usize = 200_000;
/// Most paths that are covered.
pub const MAX_COVERS: usize = 1000;

/// What is mounted over a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cover {
    /// Itself: it cannot be moved away.
    Pinned,
    /// Itself: it cannot be started.
    NoProgram,
    /// Itself, read-only.
    Frozen,
    /// Something empty.
    Hidden,
}

/// A tree that is granted whole for an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wide {
    operation: usize,
    path: Vec<u8>,
    /// Something beneath cannot be covered.
    broken: bool,
}

/// What is to be covered, and what may then be granted.
#[derive(Debug, Default)]
pub struct Plan {
    /// By path, so that what lies beneath another comes after it; the flag says that it is a directory.
    pub covers: BTreeMap<Vec<u8>, (Cover, bool)>,
    /// Paths that the policy names, denies to make, and that are not there.
    pub missing: Vec<Vec<u8>>,
    /// Paths for whose sake a tree stays as Landlock alone grants it.
    pub uncovered: Vec<Vec<u8>>,
    wide: Vec<Wide>,
    /// Trees whose entries need not be granted one by one.
    whole: BTreeSet<Vec<u8>>,
    /// The host has more than is looked at.
    pub too_many: bool,
}

const OPERATIONS: [Operation; 6] = [
    Operation::Read,
    Operation::List,
    Operation::Edit,
    Operation::Create,
    Operation::Delete,
    Operation::Execute,
];
const READ: usize = 0;
const LIST: usize = 1;
const EDIT: usize = 2;
const CREATE: usize = 3;
const DELETE: usize = 4;
const EXECUTE: usize = 5;

fn rights(operation: usize) -> &'static [AccessFs] {
    match operation {
        READ => &[AccessFs::ReadFile],
        LIST => &[AccessFs::ReadDir],
        EDIT => &[AccessFs::WriteFile, AccessFs::Truncate],
        CREATE => &AccessFs::MAKE,
        DELETE => &AccessFs::REMOVE,
        _ => &[AccessFs::Execute],
    }
}

/// Where the walk is.
struct At {
    path: Vec<u8>,
    node: Option<usize>,
    states: [Option<StateId>; 6],
    /// By operation: the tree that it is in.
    within: [Option<usize>; 6],
    /// Already read-only, by a cover above.
    frozen: bool,
    /// What stands there, where that is known.
    kind: Option<Kind>,
}

struct Walk<'a> {
    decisions: [&'a Decisions; 6],
    /// By operation and state: whether everything at it and beneath is allowed.
    fine: [Vec<bool>; 6],
    tree: &'a LiteralTree,
    host: &'a dyn Host,
    looked: usize,
    plan: Plan,
}

/// Looks at the host for what has to be covered. With `processes` those that do not exist yet may be read too.
///
/// # Errors
/// The policy's automata are too large.
pub fn plan(meaning: &Meaning<'_>, host: &dyn Host, processes: bool) -> Result<Plan, TooLarge> {
    let mut decisions = Vec::with_capacity(OPERATIONS.len());
    for o in OPERATIONS {
        decisions.push(meaning.decisions(o)?);
    }
    let Ok(decisions) = <[&Decisions; 6]>::try_from(decisions) else {
        return Ok(Plan::default());
    };
    let tree = LiteralTree::of(meaning.policy(), usize::MAX, false);
    let mut walk = Walk {
        fine: decisions.map(|d| d.dfa().all_below(|l| d.permits(l))),
        decisions,
        tree: &tree,
        host,
        looked: 0,
        plan: Plan::default(),
    };
    let mut work = vec![At {
        path: Vec::new(),
        node: Some(tree.root()),
        states: decisions.map(|d| Some(d.dfa().start())),
        within: [None; 6],
        frozen: false,
        kind: Some(Kind::Directory),
    }];
    while let Some(at) = work.pop() {
        walk.visit(at, &mut work);
        if walk.looked > MAX_ENTRIES || walk.plan.covers.len() > MAX_COVERS {
            return Ok(Plan {
                too_many: true,
                ..Plan::default()
            });
        }
    }
    let mut plan = walk.plan;
    plan.programs(meaning, host)?;
    if processes {
        plan.processes(meaning, host)?;
    }
    let broken: BTreeSet<&[u8]> = plan
        .wide
        .iter()
        .filter(|w| w.broken)
        .map(|w| w.path.as_slice())
        .collect();
    plan.whole = plan
        .wide
        .iter()
        .filter(|w| {
            !broken
                .iter()
                .any(|b| beneath(b, &w.path) || beneath(&w.path, b))
        })
        .map(|w| w.path.clone())
        .collect();
    Ok(plan)
}

/// Whether `path` is `top` or lies beneath it.
fn beneath(path: &[u8], top: &[u8]) -> bool {
    top == b"/"
        || path
            .strip_prefix(top)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

impl Walk<'_> {
    fn permits(&self, at: &At, o: usize) -> bool {
        at.states[o].is_some_and(|s| self.decisions[o].permits_state(s))
    }

    /// Whether a name beneath that no rule mentions is allowed.
    fn fresh(&self, at: &At, o: usize, depth: usize) -> bool {
        at.states[o]
            .and_then(|s| self.decisions[o].enter_fresh(s, depth))
            .is_some_and(|s| self.decisions[o].permits_state(s))
    }

    fn fine(&self, at: &At, o: usize) -> bool {
        at.states[o].is_some_and(|s| self.fine[o][s.index()])
    }

    fn visit(&mut self, mut at: At, work: &mut Vec<At>) {
        let shown = if at.path.is_empty() {
            b"/".to_vec()
        } else {
            at.path.clone()
        };
        let kind = at.kind.unwrap_or_else(|| self.host.kind(&shown));
        let directory = kind == Kind::Directory;
        if kind == Kind::Missing {
            if at.within[CREATE].is_some() && !self.permits(&at, CREATE) {
                self.plan.missing.push(shown);
            }
            return;
        }
        let hidden = self.cover(&mut at, &shown, &kind);
        if !directory || hidden {
            return;
        }
        for o in 0..OPERATIONS.len() {
            let own = self.permits(&at, o) || matches!(o, CREATE | DELETE);
            if at.within[o].is_none() && own && (1..=3).all(|n| self.fresh(&at, o, n)) {
                at.within[o] = Some(self.plan.wide.len());
                self.plan.wide.push(Wide {
                    operation: o,
                    path: shown.clone(),
                    broken: false,
                });
            }
        }
        let mut names: BTreeMap<Vec<u8>, Option<Kind>> = at
            .node
            .into_iter()
            .flat_map(|n| self.tree.children(n))
            .map(|c| (c.0.to_vec(), None))
            .collect();
        let holes = (0..OPERATIONS.len()).any(|o| at.within[o].is_some() && !self.fine(&at, o));
        if holes {
            let listed = self.host.list(&shown);
            self.looked += listed.len();
            names.extend(listed.into_iter().map(|(name, kind)| (name, Some(kind))));
        }
        for (name, kind) in names {
            let child = at.node.and_then(|n| self.tree.child(n, &name));
            let mut states = at.states;
            for (state, d) in states.iter_mut().zip(self.decisions) {
                *state = state.and_then(|s| d.enter(s, &name));
            }
            let mut path = at.path.clone();
            path.push(b'/');
            path.extend_from_slice(&name);
            let next = At {
                path,
                node: child,
                states,
                within: at.within,
                frozen: at.frozen,
                kind,
            };
            let open =
                (0..OPERATIONS.len()).any(|o| next.within[o].is_some() && !self.fine(&next, o));
            if open || child.is_some() {
                work.push(next);
            }
        }
    }

    /// Covers the object if it has to be; the answer is whether nothing of it is seen any more.
    fn cover(&mut self, at: &mut At, path: &[u8], kind: &Kind) -> bool {
        let refuses: [bool; 6] =
            std::array::from_fn(|o| at.within[o].is_some() && !self.permits(at, o));
        let denied = |o: usize| refuses[o];
        let directory = *kind == Kind::Directory;
        let link = matches!(kind, Kind::Link);
        if link {
            // What is read through it has a path of its own; the link itself is only made and removed.
            if denied(CREATE) || denied(DELETE) {
                self.give_up(at, &[CREATE, DELETE], path);
            }
            return false;
        }
        if denied(READ) {
            if directory && self.fresh(at, READ, 1) {
                self.give_up(at, &[READ], path);
            } else {
                self.put(at, path, Cover::Hidden, directory);
                return true;
            }
        } else if directory && denied(LIST) {
            self.give_up(at, &[LIST], path);
        }
        let write = [EDIT, CREATE, DELETE];
        if !directory && denied(EXECUTE) {
            if write.into_iter().all(|o| at.within[o].is_none()) {
                self.put(at, path, Cover::NoProgram, false);
            } else {
                self.give_up(at, &[EXECUTE], path);
            }
        }
        let refused = if directory {
            denied(CREATE) || denied(DELETE)
        } else {
            write.into_iter().any(denied)
        };
        if refused && !at.frozen {
            // A directory in which nothing may be made, or nothing removed, is frozen, though files in it might be written:
            // the tree around grants both whole.
            let inside = directory
                && write
                    .into_iter()
                    .any(|o| at.within[o].is_some() && self.fresh(at, o, 1))
                && [CREATE, DELETE]
                    .into_iter()
                    .all(|o| at.within[o].is_none() || self.fresh(at, o, 1));
            if inside || (!directory && !denied(EDIT)) {
                self.put(at, path, Cover::Pinned, directory);
            } else {
                self.put(at, path, Cover::Frozen, directory);
                at.frozen = true;
            }
        }
        false
    }

    fn give_up(&mut self, at: &At, operations: &[usize], path: &[u8]) {
        for o in operations {
            if let Some(w) = at.within[*o].and_then(|i| self.plan.wide.get_mut(i)) {
                w.broken = true;
            }
        }
        // Where nothing can be made, granting what is there is all there is to grant.
        if at.within[CREATE].is_some()
            && self.plan.uncovered.last().map(Vec::as_slice) != Some(path)
        {
            self.plan.uncovered.push(path.to_vec());
        }
    }

    fn put(&mut self, at: &At, path: &[u8], cover: Cover, directory: bool) {
        let known = self
            .plan
            .covers
            .entry(path.to_vec())
            .or_insert((cover, directory));
        known.0 = known.0.max(cover);
        // The directories above, up to the tree in which something may be moved at all.
        let Some(top) = at.within[DELETE].and_then(|i| self.plan.wide.get(i)) else {
            return;
        };
        let top = if top.path == b"/" { 0 } else { top.path.len() };
        for (i, b) in path.iter().enumerate().skip(top + 1) {
            if *b == b'/' {
                self.plan
                    .covers
                    .entry(path[..i].to_vec())
                    .or_insert((Cover::Pinned, true));
            }
        }
    }
}

impl Plan {
    /// Covers the programs that a rule denies to start by their names and that the walk had no reason to cover, as they lie
    /// in no tree of programs: they may be read, so the loader would start them.
    fn programs(&mut self, meaning: &Meaning<'_>, host: &dyn Host) -> Result<(), TooLarge> {
        for named in started_by_loader(meaning.policy()) {
            let Some(path) = host.leads_to(&named) else {
                continue;
            };
            if host.kind(&path) != Kind::File || self.hides(&path) {
                continue;
            }
            // A mount point cannot be replaced, and what may be written may be made a program of any kind.
            let mut kept = true;
            for operation in [Operation::Edit, Operation::Create, Operation::Delete] {
                kept &= !meaning.decisions(operation)?.permits_path(&path);
            }
            if kept && !meaning.decisions(Operation::Execute)?.permits_path(&path) {
                let cover = (Cover::NoProgram, false);
                self.covers.entry(path).or_insert(cover);
            }
        }
        Ok(())
    }

    /// Grants `/proc` to read, without what is denied in it, where the policy speaks of processes in general.
    fn processes(&mut self, meaning: &Meaning<'_>, host: &dyn Host) -> Result<(), TooLarge> {
        let (read, list) = (
            meaning.decisions(Operation::Read)?,
            meaning.decisions(Operation::List)?,
        );
        // A number that no process has: 2^22 is the kernel's most.
        let known = self
            .wide
            .iter()
            .any(|w| beneath(b"/proc", &w.path) && w.operation == READ);
        if known || !read.permits_path(b"/proc/4194305/status") || !list.permits_path(b"/proc") {
            return Ok(());
        }
        for (name, kind) in host.list(b"/proc") {
            let path = [b"/proc/", name.as_slice()].concat();
            let process = name.iter().all(u8::is_ascii_digit);
            if process || read.permits_path(&path) {
                continue;
            }
            match kind {
                Kind::File => self.covers.insert(path, (Cover::Hidden, false)),
                Kind::Directory => self.covers.insert(path, (Cover::Hidden, true)),
                Kind::Missing | Kind::Link => None,
            };
        }
        for operation in [READ, LIST] {
            self.wide.push(Wide {
                operation,
                path: b"/proc".to_vec(),
                broken: false,
            });
        }
        Ok(())
    }

    /// Whether there is anything that mounts make better.
    #[must_use]
    pub fn helps(&self) -> bool {
        !self.covers.is_empty() || !self.missing.is_empty()
    }

    /// Whether the object cannot be started, and not be mapped as code.
    #[must_use]
    pub fn is_no_program(&self, path: &[u8]) -> bool {
        self.hides(path) || matches!(self.covers.get(path), Some((Cover::NoProgram, _)))
    }

    /// Whether something empty lies over a path or above it.
    #[must_use]
    pub fn hides(&self, path: &[u8]) -> bool {
        self.covers
            .iter()
            .any(|(p, (cover, _))| *cover == Cover::Hidden && beneath(path, p))
    }

    /// What lies over a file, or over a directory above it, of what keeps something from it; the strongest.
    #[must_use]
    pub fn over(&self, path: &[u8]) -> Option<Cover> {
        let covers = self.covers.iter().filter(|(p, _)| beneath(path, p));
        covers
            .map(|(_, (cover, _))| *cover)
            .filter(|c| *c != Cover::Pinned)
            .max()
    }

    /// Whether the entries of a directory need not be granted one by one: it is granted whole.
    #[must_use]
    pub fn whole(&self, path: &[u8]) -> bool {
        self.whole.contains(path)
            || (0..path.len()).any(|n| {
                path[n] == b'/'
                    && self
                        .whole
                        .contains(if n == 0 { b"/".as_slice() } else { &path[..n] })
            })
    }

    /// Grants the trees in a ruleset, once the covers are there.
    pub fn widen(&self, ruleset: &mut Ruleset) {
        let mut by_path: BTreeMap<&[u8], BTreeSet<usize>> = BTreeMap::new();
        for w in self.wide.iter().filter(|w| !w.broken) {
            by_path.entry(&w.path).or_default().insert(w.operation);
        }
        for (path, operations) in &by_path {
            let mut allowed: BTreeSet<AccessFs> = operations
                .iter()
                .flat_map(|o| rights(*o))
                .copied()
                .filter(|a| ruleset.handled_fs.contains(a))
                .collect();
            let above = |o: usize| {
                by_path
                    .iter()
                    .any(|(p, os)| os.contains(&o) && beneath(path, p))
            };
            if (operations.contains(&CREATE) || operations.contains(&DELETE))
                && above(CREATE)
                && above(DELETE)
                && ruleset.handled_fs.contains(&AccessFs::Refer)
            {
                allowed.insert(AccessFs::Refer);
            }
            match ruleset.paths.iter_mut().find(|p| p.parent == *path) {
                Some(p) => {
                    p.allowed.extend(allowed);
                    p.file = false;
                }
                None if allowed.is_empty() => {}
                None => ruleset.paths.push(PathBeneath {
                    parent: path.to_vec(),
                    allowed,
                    file: false,
                }),
            }
        }
        ruleset.paths.sort_by(|a, b| a.parent.cmp(&b.parent));
        // What a tree above grants need not be granted again.
        let mut above: Vec<(Vec<u8>, BTreeSet<AccessFs>)> = Vec::new();
        ruleset.paths.retain(|p| {
            above.retain(|(top, _)| beneath(&p.parent, top));
            let granted: BTreeSet<AccessFs> = above.iter().flat_map(|a| &a.1).copied().collect();
            let more = !p.allowed.is_subset(&granted);
            if more && !p.file {
                above.push((p.parent.clone(), p.allowed.clone()));
            }
            more
        });
    }
}

/// The host, without what need not be looked at: entries of trees that are granted whole, and of `/proc`
/// those of other processes.
pub struct Reduced<'a> {
    /// The host itself.
    pub host: &'a dyn Host,
    /// What is granted whole.
    pub plan: Option<&'a Plan>,
}

impl Host for Reduced<'_> {
    fn kind(&self, path: &[u8]) -> Kind {
        self.host.kind(path)
    }

    fn leads_to(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.host.leads_to(path)
    }

    fn list(&self, path: &[u8]) -> Vec<(Vec<u8>, Kind)> {
        if path != b"/proc" && self.plan.is_some_and(|p| p.whole(path)) {
            return Vec::new();
        }
        let mut names = self.host.list(path);
        if path == b"/proc" {
            // Rights cannot be granted on processes that do not exist yet, and those that do are not the program's; but this
            // one becomes the program.
            names.retain(|(n, _)| !n.iter().all(u8::is_ascii_digit));
            let own = std::process::id().to_string().into_bytes();
            let at = names.partition_point(|(n, _)| *n < own);
            names.insert(at, (own, Kind::Directory));
        }
        names
    }
}
