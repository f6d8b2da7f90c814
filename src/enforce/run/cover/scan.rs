//! Searches the host for the objects that polc has to cover.
//!
//! The search starts at `/`. It follows the paths that the policy names. It also goes through every tree that the
//! policy allows and that may hold something denied, wherever a pattern puts that tree. It does not list a directory if
//! the policy's automaton says that nothing beneath it can be denied. It reads a directory through a descriptor that no
//! link led to ([`super::super::entries`]).

use super::decider::{Decider, Set, States, WRITES};
use super::{
    CREATE, Cover, DELETE, EDIT, EXECUTE, Gap, LIST, OPERATIONS, Plan, READ, Scope, Whole, Wide,
    above, beneath,
};
use crate::backend::landlock::{Host, Kind, RealHost, started_by_loader};
use crate::enforce::run::entries::{Reader, is_gone, is_too_deep};
use crate::enforce::run::sys;
use crate::policy::Operation;
use crate::semantics::{LiteralTree, Meaning, TooLarge};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// How far the search goes before it gives up. No tree that people work in comes near this. A directory that it did not
/// read is a gap, and Landlock does not grant it.
#[derive(Clone, Copy)]
pub(super) struct Budget {
    /// The longest time.
    pub time: Duration,
    /// The most directories that wait to be read, and the most covers. Both take memory.
    pub objects: usize,
}

const BUDGET: Budget = Budget {
    time: Duration::from_secs(60),
    objects: 3_000_000,
};

/// A directory that the search still has to read.
struct At {
    /// Empty for `/`.
    path: Vec<u8>,
    node: Option<usize>,
    states: States,
    /// By operation: the tree of [`Plan::wide`] that this directory is in.
    within: [Option<u32>; OPERATIONS.len()],
    /// A cover above makes it read-only.
    frozen: bool,
}

impl At {
    fn shown(&self) -> &[u8] {
        if self.path.is_empty() {
            b"/"
        } else {
            &self.path
        }
    }

    /// The operations for which it lies in a tree that is granted whole.
    fn inside(&self) -> Set {
        let all = self.within.iter().enumerate();
        all.fold(0, |set, (o, w)| set | Set::from(w.is_some()) << o)
    }
}

/// One entry of a directory, with the policy's decisions for it.
struct Entry<'p> {
    path: &'p [u8],
    states: States,
    /// The operations that the trees around it would allow, and that the policy denies.
    denied: Set,
    frozen: bool,
}

struct Walk<'a> {
    decider: Decider<'a>,
    /// The operations that the mounts have to enforce.
    scope: Set,
    tree: &'a LiteralTree,
    plan: Plan,
    work: Vec<At>,
    budget: Budget,
    end: Instant,
}

/// Searches the host for what polc has to cover. With `processes`, the program may also read processes that do not
/// exist yet.
///
/// # Errors
/// The policy's automata are too large.
pub fn plan(meaning: &Meaning<'_>, processes: bool, scope: Scope) -> Result<Plan, TooLarge> {
    let mut plan = search(meaning, BUDGET, scope)?;
    plan.programs(meaning)?;
    if processes {
        plan.processes(meaning)?;
    }
    plan.settle();
    plan.coarsen(super::coarse::most());
    for wide in &plan.wide {
        *plan.whole.entry(wide.path.clone()).or_default() |= 1 << wide.operation;
    }
    Ok(plan)
}

/// The search alone.
pub(super) fn search(
    meaning: &Meaning<'_>,
    budget: Budget,
    scope: Scope,
) -> Result<Plan, TooLarge> {
    let tree = LiteralTree::of(meaning.policy(), usize::MAX, false);
    let decider = Decider::new(meaning)?;
    let root = At {
        path: Vec::new(),
        node: Some(tree.root()),
        states: decider.start(),
        within: [None; OPERATIONS.len()],
        frozen: false,
    };
    let mut walk = Walk {
        decider,
        scope: scope.set(),
        tree: &tree,
        plan: Plan::default(),
        work: vec![root],
        budget,
        end: Instant::now() + budget.time,
    };
    let mut reader = Reader::default();
    while let Some(at) = walk.work.pop() {
        walk.directory(at, &mut reader);
        if walk.is_over() {
            walk.give_up();
            break;
        }
    }
    Ok(walk.plan)
}

impl Walk<'_> {
    fn is_full(&self) -> bool {
        self.work.len() + self.plan.covers.len() > self.budget.objects
    }

    fn is_over(&self) -> bool {
        self.is_full() || Instant::now() > self.end
    }

    /// Each directory that was not read, and that may hold something denied, becomes a gap.
    fn give_up(&mut self) {
        let reason = if self.is_full() {
            format!(
                "it has more than {} directories and denied objects",
                self.budget.objects
            )
        } else {
            format!(
                "polc did not finish looking through it in {} seconds",
                self.budget.time.as_secs()
            )
        };
        for at in std::mem::take(&mut self.work) {
            self.plan.gaps.push(Gap {
                path: at.shown().to_vec(),
                inside: true,
                reason: reason.clone(),
            });
        }
    }

    /// Looks at the entries of a directory. The directory itself has been decided already.
    fn directory(&mut self, mut at: At, reader: &mut Reader) {
        self.widen(&mut at);
        let tree = self.tree;
        let named = || at.node.into_iter().flat_map(|n| tree.children(n));
        let mut there: Vec<bool> = vec![false; named().count()];
        let inside = at.inside();
        let covers = inside & !self.decider.fine(&at.states) != 0;
        let leads_on = self.scope & !inside & self.decider.hollow(&at.states) != 0;
        // If Landlock grants nothing in it, unseen entries get nothing either.
        if covers || leads_on && !is_too_deep(at.shown()) {
            if is_too_deep(at.shown()) {
                return self.whole(&at, Whole::TooDeep);
            }
            let names: Vec<&[u8]> = named().map(|(name, _)| name).collect();
            let (mut looked, mut over) = (0u32, false);
            let read = reader.read(at.shown(), |name, kind| {
                // Processes start and end all the time.
                if at.path == b"/proc" && name.iter().all(u8::is_ascii_digit) {
                    return true;
                }
                if let Ok(i) = names.binary_search(&name) {
                    there.iter_mut().skip(i).take(1).for_each(|t| *t = true);
                }
                self.entry(&at, inside, name, kind);
                looked = looked.wrapping_add(1);
                over = looked.is_multiple_of(1 << 16) && self.is_over();
                !over
            });
            match read {
                Ok(()) if over => return self.work.push(at),
                Ok(()) => {}
                Err(e) if is_gone(&e) => return,
                Err(e) if covers && out_of_reach(&at, &e) => return,
                Err(_) if !covers => {}
                Err(_) => return self.whole(&at, Whole::Unreadable),
            }
        }
        for ((name, _), there) in named().zip(there) {
            if !there {
                let path = [&at.path, b"/".as_slice(), name].concat();
                self.entry(&at, inside, name, RealHost.kind(&path));
            }
        }
    }

    /// Finds the operations for which the directory can be granted whole.
    fn widen(&mut self, at: &mut At) {
        let wide = self.decider.wide(&at.states);
        for (o, within) in at.within.iter_mut().enumerate() {
            if within.is_none() && self.scope & wide & 1 << o != 0 {
                *within = u32::try_from(self.plan.wide.len()).ok();
                self.plan.wide.push(Wide {
                    operation: o,
                    path: if at.path.is_empty() {
                        b"/".to_vec()
                    } else {
                        at.path.clone()
                    },
                });
            }
        }
    }

    /// Decides about one entry of a directory, and covers it if it must.
    fn entry(&mut self, at: &At, inside: Set, name: &[u8], kind: Kind) {
        let states = self.decider.enter(&at.states, name);
        let node = at.node.and_then(|n| self.tree.child(n, name));
        let denied = inside & !self.decider.permits(&states);
        let path = || [&at.path, b"/".as_slice(), name].concat();
        if kind != Kind::Directory {
            if denied != 0 {
                let path = path();
                let entry = Entry {
                    path: &path,
                    states,
                    denied,
                    frozen: at.frozen,
                };
                self.object(at, &entry, kind);
            }
            return;
        }
        let open = inside & !self.decider.fine(&states)
            | self.scope & !inside & self.decider.hollow(&states);
        if open == 0 && node.is_none() {
            return;
        }
        let path = path();
        let entry = Entry {
            path: &path,
            states,
            denied,
            frozen: at.frozen,
        };
        let Some(frozen) = self.folder(at, &entry) else {
            return;
        };
        self.work.push(At {
            node,
            states,
            within: at.within,
            frozen,
            path,
        });
    }

    /// Covers an object that is no directory.
    fn object(&mut self, at: &At, entry: &Entry<'_>, kind: Kind) {
        let denied = |o: usize| entry.denied & 1 << o != 0;
        match kind {
            Kind::Missing if denied(CREATE) => self.plan.missing.push(entry.path.to_vec()),
            // The program reads and writes through the link under another name. The link itself is only made and
            // removed.
            Kind::Link if (denied(CREATE) || denied(DELETE)) && !entry.frozen => {
                self.put(at, entry.path, Cover::PINNED, kind);
            }
            Kind::Missing | Kind::Link | Kind::Directory => {}
            Kind::File if denied(READ) => self.put(at, entry.path, Cover::HIDDEN, kind),
            Kind::File => {
                let written = entry.denied & WRITES != 0;
                let cover = Cover {
                    hidden: false,
                    read_only: denied(EDIT) && !entry.frozen,
                    no_program: denied(EXECUTE),
                };
                if cover != Cover::PINNED || (written && !entry.frozen) {
                    self.put(at, entry.path, cover, kind);
                }
            }
        }
    }

    /// Covers a directory, and answers whether it is read-only now. `None`: the program sees nothing of it any more.
    fn folder(&mut self, at: &At, entry: &Entry<'_>) -> Option<bool> {
        let denied = |o: usize| entry.denied & 1 << o != 0;
        if denied(READ) || denied(LIST) {
            self.put(at, entry.path, Cover::HIDDEN, Kind::Directory);
            if at.inside() & self.decider.fresh(&entry.states, 1) & 1 << READ != 0 {
                let whole = (entry.path.to_vec(), Whole::Unlisted);
                self.plan.coarse.push(whole);
            }
            return None;
        }
        if !(denied(CREATE) || denied(DELETE)) || entry.frozen {
            return Some(entry.frozen);
        }
        // If nothing may be made or removed in a directory, it becomes read-only, although the policy may allow writing
        // some files in it. The tree around it grants making and removing everywhere.
        let inside = at.inside() & WRITES;
        let fresh = self.decider.fresh(&entry.states, 1);
        let some = inside & fresh != 0;
        let names = inside & (1 << CREATE | 1 << DELETE);
        if some && names & !fresh == 0 {
            self.put(at, entry.path, Cover::PINNED, Kind::Directory);
            return Some(false);
        }
        self.put(at, entry.path, Cover::READ_ONLY, Kind::Directory);
        Some(true)
    }

    /// Hides a whole directory whose contents cannot all be examined.
    fn whole(&mut self, at: &At, why: Whole) {
        self.put(at, at.shown(), Cover::HIDDEN, Kind::Directory);
        self.plan.coarse.push((at.shown().to_vec(), why));
    }

    fn put(&mut self, at: &At, path: &[u8], cover: Cover, kind: Kind) {
        let covers = &mut self.plan.covers;
        let known = covers.entry(path.to_vec()).or_insert((cover, kind));
        known.0 = known.0.and(cover);
        // The directories above it, up to the tree in which the program may move anything at all.
        let tree = at.within.get(DELETE).copied().flatten();
        let Some(top) = tree.and_then(|i| self.plan.wide.get(i as usize)) else {
            return;
        };
        for directory in above(path) {
            if directory != top.path && beneath(directory, &top.path) {
                let pinned = (Cover::PINNED, Kind::Directory);
                if !covers.contains_key(directory) {
                    covers.insert(directory.to_vec(), pinned);
                }
            }
        }
    }
}

/// Whether the program has no way into a directory that polc cannot list. Then it may not walk through the directory,
/// and cannot change that, as it is not the owner.
fn out_of_reach(at: &At, error: &io::Error) -> bool {
    // SAFETY: takes nothing and always succeeds.
    let user = unsafe { libc::geteuid() };
    error.raw_os_error() == Some(libc::EACCES)
        && user != 0
        && !sys::may_walk_through(at.shown())
        // In a user namespace, files of other users may seem to belong to this user. An owner could list this
        // directory, by its mode.
        && std::fs::symlink_metadata(sys::path(at.shown()))
            .is_ok_and(|m| m.uid() != user || m.mode() & 0o400 != 0)
}

impl Plan {
    /// Covers the programs that a rule denies by name and that the walk did not cover, because they lie in no tree of
    /// programs. The program may read them, so the loader would start them.
    fn programs(&mut self, meaning: &Meaning<'_>) -> Result<(), TooLarge> {
        for named in started_by_loader(meaning.policy()) {
            let Some(path) = RealHost.leads_to(&named) else {
                continue;
            };
            if RealHost.kind(&path) != Kind::File || self.hides(&path) {
                continue;
            }
            // A mount point cannot be replaced. A file that may be written can become any program.
            let mut kept = true;
            for operation in [Operation::Edit, Operation::Create, Operation::Delete] {
                kept &= !meaning.decisions(operation)?.permits_path(&path);
            }
            if kept && !meaning.decisions(Operation::Execute)?.permits_path(&path) {
                let cover = (Cover::NO_PROGRAM, Kind::File);
                self.covers.entry(path).or_insert(cover);
            }
        }
        Ok(())
    }

    /// Grants reading `/proc`, without the denied entries in it, if the policy allows it for every process.
    fn processes(&mut self, meaning: &Meaning<'_>) -> Result<(), TooLarge> {
        let (read, list) = (
            meaning.decisions(Operation::Read)?,
            meaning.decisions(Operation::List)?,
        );
        let known = self
            .wide
            .iter()
            .any(|w| beneath(b"/proc", &w.path) && w.operation == READ);
        // No process has this number: the kernel's highest is 2^22.
        if known || !read.permits_path(b"/proc/4194305/status") || !list.permits_path(b"/proc") {
            return Ok(());
        }
        for (name, kind) in RealHost.list(b"/proc") {
            let path = [b"/proc/", name.as_slice()].concat();
            let process = name.iter().all(u8::is_ascii_digit);
            if !process && !read.permits_path(&path) && matches!(kind, Kind::File | Kind::Directory)
            {
                self.covers.insert(path, (Cover::HIDDEN, kind));
            }
        }
        for operation in [READ, LIST] {
            self.wide.push(Wide {
                operation,
                path: b"/proc".to_vec(),
            });
        }
        Ok(())
    }

    /// A cover beneath a read-only cover is read-only too. A pin is not needed there.
    fn settle(&mut self) {
        let read_only: Vec<Vec<u8>> = self
            .covers
            .iter()
            .filter(|(path, (cover, _))| {
                let frozen = |p: &[u8]| self.covers.get(p).is_some_and(|(c, _)| c.read_only);
                !cover.hidden && !cover.read_only && above(path).any(frozen)
            })
            .map(|(path, _)| path.clone())
            .collect();
        for path in read_only {
            match self.covers.get_mut(&path) {
                Some((cover, _)) if *cover != Cover::PINNED => cover.read_only = true,
                _ => drop(self.covers.remove(&path)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::{LoadOptions, load};

    const POLICY: &str = "version: 1
name: t
subject: {workspace: WS}
rules:
  - {name: env, action: deny, operations: [read, write], paths: [\"${workspace}/**/.env\"]}
  - {name: tree, action: allow, operations: [read, write], paths: [\"${workspace}/**\"]}
";

    fn found(budget: Budget) -> (String, Plan) {
        let folder = tempfile::tempdir().unwrap();
        let ws = folder.path().canonicalize().unwrap();
        for i in 0..20 {
            std::fs::create_dir_all(ws.join(format!("{i}/a"))).unwrap();
            std::fs::write(ws.join(format!("{i}/a/.env")), "").unwrap();
        }
        let ws = ws.to_str().unwrap();
        let text = POLICY.replace("WS", ws);
        let policy = load("p.yaml", &text, &LoadOptions::default())
            .unwrap()
            .policy;
        let plan = search(&Meaning::new(&policy), budget, Scope::All).unwrap();
        (ws.to_owned(), plan)
    }

    #[test]
    fn every_denied_object_is_found_and_all_directories_above_it_are_pinned() {
        let (ws, plan) = found(BUDGET);
        assert!(plan.gaps.is_empty());
        assert_eq!(plan.covers.len(), 60);
        for i in 0..20 {
            for (name, cover) in [
                (format!("{i}/a/.env"), Cover::HIDDEN),
                (format!("{i}/a"), Cover::PINNED),
                (format!("{i}"), Cover::PINNED),
            ] {
                let path = format!("{ws}/{name}");
                let (got, _) = plan.covers.get(path.as_bytes()).unwrap();
                assert_eq!(*got, cover, "{name}");
            }
        }
    }

    /// A directory that was not read becomes a gap. It never counts as empty.
    #[test]
    fn what_is_not_looked_through_is_a_gap() {
        for (budget, reason) in [
            (
                Budget {
                    time: Duration::ZERO,
                    ..BUDGET
                },
                "did not finish looking through it in 0 seconds",
            ),
            (
                Budget {
                    objects: 15,
                    ..BUDGET
                },
                "more than 15 directories",
            ),
        ] {
            let (ws, plan) = found(budget);
            let covered = |gap: &str| {
                let gap = gap.as_bytes();
                plan.gaps.iter().any(|g| beneath(gap, &g.path))
            };
            for i in 0..20 {
                let path = format!("{ws}/{i}/a/.env");
                let seen = plan.covers.contains_key(path.as_bytes());
                assert!(seen || covered(&path), "{path}: {:?}", plan.gaps);
            }
            assert!(plan.gaps.iter().all(|g| g.reason.contains(reason)));
        }
    }
}
