//! Landlock's ruleset if mounts protect the denied objects: it grants whole trees.

use super::{CREATE, DELETE, EDIT, EXECUTE, LIST, OPERATIONS, Plan, READ, above, beneath};
use crate::backend::landlock::{AccessFs, Host, Kind, PathBeneath, Ruleset};
use crate::policy::Operation;
use std::collections::{BTreeMap, BTreeSet};

/// Landlock's rights for an operation, by its index in [`OPERATIONS`].
pub(super) fn rights(operation: usize) -> &'static [AccessFs] {
    match operation {
        READ => &[AccessFs::ReadFile],
        LIST => &[AccessFs::ReadDir],
        EDIT => &[AccessFs::WriteFile, AccessFs::Truncate],
        CREATE => &AccessFs::MAKE,
        DELETE => &AccessFs::REMOVE,
        _ => &[AccessFs::Execute],
    }
}

const _: () = assert!(EXECUTE + 1 == OPERATIONS.len());

impl Plan {
    /// Whether a directory is granted whole for an operation, so that its entries need no grants.
    #[must_use]
    pub fn whole(&self, operation: Operation, path: &[u8]) -> bool {
        let at = OPERATIONS.iter().position(|o| *o == operation);
        let is_granted = |at: usize, p: &[u8]| self.whole.get(p).is_some_and(|o| o & 1 << at != 0);
        at.is_some_and(|at| above(path).chain([path]).any(|p| is_granted(at, p)))
    }

    /// The trees in which the program may make or remove something.
    pub(super) fn changed(&self) -> BTreeSet<&[u8]> {
        let changed = |o: usize| o == CREATE || o == DELETE;
        let wide = self.wide.iter().filter(|w| changed(w.operation));
        wide.map(|w| w.path.as_slice()).collect()
    }

    /// Grants the trees in a ruleset, once the covers are on.
    pub fn widen(&self, ruleset: &mut Ruleset) {
        let mut by_path: BTreeMap<&[u8], BTreeSet<usize>> = BTreeMap::new();
        for w in &self.wide {
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
        // A tree above may grant this already.
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

/// The host, without the entries that need no grants: those of trees that are granted whole for the operation, and in
/// `/proc` those of other processes.
pub struct Reduced<'a> {
    /// The host itself.
    pub host: &'a dyn Host,
    /// The trees that are granted whole.
    pub plan: Option<&'a Plan>,
}

impl Host for Reduced<'_> {
    fn kind(&self, path: &[u8]) -> Kind {
        self.host.kind(path)
    }

    fn leads_to(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.host.leads_to(path)
    }

    fn is_granted(&self, operation: Operation, path: &[u8]) -> bool {
        path != b"/proc" && self.plan.is_some_and(|p| p.whole(operation, path))
    }

    fn list(&self, path: &[u8]) -> Vec<(Vec<u8>, Kind)> {
        let mut names = self.host.list(path);
        if path == b"/proc" {
            // Landlock can grant nothing on processes that do not exist yet, and the others are not the program's. This
            // process becomes the program, so it stays.
            names.retain(|(n, _)| !n.iter().all(u8::is_ascii_digit));
            let own = std::process::id().to_string().into_bytes();
            let at = names.partition_point(|(n, _)| *n < own);
            names.insert(at, (own, Kind::Directory));
        }
        names
    }
}
