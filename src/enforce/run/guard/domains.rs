//! The two Landlock domains around the guard's decisions.
//!
//! - The *hull* is on the guard and the program. It has whole trees in which the policy allows writing anything. It is
//!   the upper bound: whatever happens to the guard, it can do no more than this. All its trees have the same rights,
//!   because the kernel refuses to move an object to a place where it would gain one. It also has the program's rules
//!   on ports and its scopes, because the guard connects for the program.
//! - The *inner* domain is on the program alone. For writing it grants only devices. The program has to open these
//!   itself, as one may become its terminal. It is the lower bound: a call that the guard leaves to the kernel can do
//!   no more. It grants no trees of files, although Landlock could keep some exactly. Its rights belong to the
//!   directory, and would move with it.
//!
//! The rights to read, to list and to start stay as the other layers set them on the program.

use super::kernel;
use crate::backend::landlock::{AccessFs, Host, Kind, PathBeneath, RealHost, Ruleset};
use crate::enforce::unlinked;
use crate::fidelity::Object;
use crate::policy::Operation;
use crate::semantics::{Decisions, LiteralTree, Meaning, StateId, TooLarge, decide};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The operations that both the guard and Landlock decide.
const WRITES: [Operation; 3] = [Operation::Edit, Operation::Create, Operation::Delete];

/// Landlock's rights for an operation.
fn rights(operation: Operation) -> &'static [AccessFs] {
    match operation {
        Operation::Edit => &[AccessFs::WriteFile, AccessFs::Truncate],
        Operation::Create => &AccessFs::MAKE,
        Operation::Delete => &AccessFs::REMOVE,
        _ => &[],
    }
}

/// Landlock's rights that the guard decides about, as far as the kernel has them.
fn handled(abi: u32) -> BTreeSet<AccessFs> {
    let all = WRITES.into_iter().flat_map(rights).copied();
    let all = all.chain([AccessFs::Refer]);
    all.filter(|a| a.since() <= abi).collect()
}

/// The literal paths of the policy, with what stands there.
pub struct Named {
    tree: LiteralTree,
    paths: Vec<Vec<u8>>,
    parents: Vec<usize>,
    /// `None`: the path leads through a link, and the object has a name of its own.
    kinds: Vec<Option<Kind>>,
}

impl Named {
    /// Looks at each path.
    #[must_use]
    pub fn new(meaning: &Meaning<'_>) -> Self {
        let tree = LiteralTree::of(meaning.policy(), usize::MAX, false);
        let count = tree.len();
        let mut paths = vec![b"/".to_vec(); count];
        let mut parents = vec![0; count];
        let mut kinds = vec![Some(Kind::Directory); count];
        // A parent has a smaller number than its children.
        for node in 0..count {
            let children: Vec<(Vec<u8>, usize)> = tree
                .children(node)
                .map(|(name, child)| (name.to_vec(), child))
                .collect();
            for (name, child) in children {
                let above: &[u8] = if node == 0 { b"" } else { &paths[node] };
                let path = [above, b"/", &name].concat();
                kinds[child] = match kinds[node] {
                    Some(Kind::Directory) => Some(RealHost.kind(&path)),
                    Some(Kind::Missing) => Some(Kind::Missing),
                    _ => None,
                };
                parents[child] = node;
                paths[child] = path;
            }
        }
        Self {
            tree,
            paths,
            parents,
            kinds,
        }
    }

    /// Whether a name that the tree does not have leads to a state for which `live` holds.
    fn has_more(&self, node: usize, decisions: &Decisions, state: StateId, live: &[bool]) -> bool {
        let dfa = decisions.dfa();
        let unlisted = dfa.unlisted(state).iter().any(|s| live[s.index()]);
        unlisted
            || dfa
                .spelled_out(state)
                .any(|(name, s)| live[s.index()] && self.tree.child(node, name).is_none())
    }

    /// Directories in or beneath which the operation is allowed on something, and files on which it is allowed.
    fn bound(&self, decisions: &Decisions, operation: Operation) -> (Vec<usize>, Vec<usize>) {
        let dead = decisions.dfa().all_below(|l| !decisions.permits(l));
        let live: Vec<bool> = dead.iter().map(|d| !d).collect();
        let states = self.tree.states(decisions);
        let mut whole = vec![false; self.tree.len()];
        let mut files = Vec::new();
        let names = operation != Operation::Edit;
        for node in (0..self.tree.len()).rev() {
            let Some(state) = states[node].filter(|s| live[s.index()]) else {
                continue;
            };
            let own = decisions.permits_state(state);
            match self.kinds[node] {
                Some(Kind::Directory) => {
                    whole[node] |= self.has_more(node, decisions, state, &live)
                }
                Some(Kind::File) if !names && own => files.push(node),
                // To make or remove the file, the program needs a right on the directory.
                Some(Kind::File | Kind::Link) if names && own => whole[self.parents[node]] = true,
                Some(Kind::Missing) if names => whole[self.parents[node]] = true,
                _ => {}
            }
        }
        let mut trees = Vec::new();
        let mut covered = vec![false; self.tree.len()];
        for node in 0..self.tree.len() {
            covered[node] = node != 0 && covered[self.parents[node]];
            if !covered[node] && whole[node] && self.kinds[node] == Some(Kind::Directory) {
                covered[node] = true;
                trees.push(node);
            }
        }
        files.retain(|node| !covered[*node]);
        (trees, files)
    }

    /// The largest directories in which the operation is allowed on everything, and files on which it is allowed.
    fn exact(&self, decisions: &Decisions, operation: Operation) -> (Vec<usize>, Vec<usize>) {
        let permits = |l| decisions.permits(l);
        let all = match operation {
            Operation::Edit => decisions.dfa().all_below(permits),
            _ => decisions.dfa().all_beneath(permits),
        };
        let states = self.tree.states(decisions);
        let (mut trees, mut files) = (Vec::new(), Vec::new());
        let mut covered = vec![false; self.tree.len()];
        for node in 0..self.tree.len() {
            covered[node] = node != 0 && covered[self.parents[node]];
            let Some(state) = states[node].filter(|_| !covered[node]) else {
                continue;
            };
            match self.kinds[node] {
                Some(Kind::Directory) if all[state.index()] => {
                    covered[node] = true;
                    trees.push(node);
                }
                Some(Kind::File)
                    if operation == Operation::Edit && decisions.permits_state(state) =>
                {
                    files.push(node);
                }
                _ => {}
            }
        }
        (trees, files)
    }
}

/// Whether Landlock's trees cannot say exactly what may be written. Then the guard is of use.
///
/// # Errors
/// The policy's automata are too large.
pub fn lose(meaning: &Meaning<'_>) -> Result<bool, TooLarge> {
    let named = Named::new(meaning);
    for operation in WRITES {
        let decisions = meaning.decisions(operation)?;
        if named.bound(decisions, operation) != named.exact(decisions, operation) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Rights by path, and whether the path is a file.
type Grants = BTreeMap<Vec<u8>, (BTreeSet<AccessFs>, bool)>;

fn grant(grants: &mut Grants, path: &[u8], file: bool, rights: impl IntoIterator<Item = AccessFs>) {
    let entry = grants
        .entry(path.to_vec())
        .or_insert((BTreeSet::new(), true));
    entry.0.extend(rights);
    entry.1 &= file;
}

fn paths(grants: Grants) -> Vec<PathBeneath> {
    let granted = grants.into_iter().filter(|(_, (a, _))| !a.is_empty());
    granted
        .map(|(parent, (allowed, file))| PathBeneath {
            parent,
            allowed,
            file,
        })
        .collect()
}

/// `statfs(2)`: a file system of terminals.
const DEVPTS: i64 = 0x1cd1;

/// Whether a path is a device, or a directory of terminals alone.
fn is_device(path: &[u8]) -> bool {
    let Ok(held) = unlinked::open(None, path, libc::O_PATH) else {
        return false;
    };
    let kind = kernel::status(&held).map(|s| s.st_mode & libc::S_IFMT);
    match kind {
        Ok(libc::S_IFCHR | libc::S_IFBLK) => true,
        Ok(libc::S_IFDIR) => kernel::file_system(&held) == Ok(DEVPTS),
        _ => false,
    }
}

/// The most devices that are looked at.
const MOST_DEVICES: usize = 2000;

/// The devices beneath `/dev`.
fn devices() -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("/dev")];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_char_device() || kind.is_block_device() {
                found.push(entry.path().into_os_string().into_vec());
            } else if kind.is_dir() && is_of_devices(&entry.path()) {
                folders.push(entry.path());
            }
            if found.len() + folders.len() > MOST_DEVICES {
                return found;
            }
        }
    }
    found
}

/// Whether a directory is on the file system of `/dev`. Shared memory and others are not, and hold many files.
fn is_of_devices(folder: &Path) -> bool {
    let device = |path: &Path| std::fs::metadata(path).map(|m| m.dev()).ok();
    device(folder) == device(Path::new("/dev"))
}

/// Whether anything may not be written. If not, the guard is not asked, and the kernel does every call.
///
/// # Errors
/// The policy's automata are too large.
pub fn is_asked(meaning: &Meaning<'_>) -> Result<bool, TooLarge> {
    for operation in WRITES {
        if !meaning.decisions(operation)?.allowed().is_all() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes a ruleset the inner one. For what the guard decides, it grants only writing to devices, where the policy
/// allows that.
///
/// # Errors
/// The policy's automata are too large.
pub fn narrow(meaning: &Meaning<'_>, named: &Named, ruleset: &mut Ruleset) -> Result<(), TooLarge> {
    if !is_asked(meaning)? {
        return Ok(());
    }
    let handled = handled(ruleset.abi);
    let mut grants = Grants::new();
    for p in &ruleset.paths {
        let kept = p.allowed.iter().copied().filter(|a| !handled.contains(a));
        grant(&mut grants, &p.parent, p.file, kept);
    }
    let operation = Operation::Edit;
    let (trees, files) = named.exact(meaning.decisions(operation)?, operation);
    let all = trees.iter().map(|t| (t, false));
    for (node, file) in all.chain(files.iter().map(|f| (f, true))) {
        let path = &named.paths[*node];
        if is_device(path) {
            let rights = rights(operation).iter().copied();
            grant(
                &mut grants,
                path,
                file,
                rights.filter(|a| handled.contains(a)),
            );
        }
    }
    // A rule may allow a device without naming it.
    for path in devices() {
        let object = Object::Path(path.clone());
        if decide(meaning.policy(), operation, &object)
            .action
            .permits()
        {
            let rights = rights(operation).iter().copied();
            let rights = rights.filter(|a| handled.contains(a));
            grant(&mut grants, &path, true, rights);
        }
    }
    ruleset.handled_fs.extend(handled);
    ruleset.paths = paths(grants);
    Ok(())
}

/// The hull around an inner ruleset.
///
/// # Errors
/// The policy's automata are too large.
pub fn hull(meaning: &Meaning<'_>, named: &Named, inner: &Ruleset) -> Result<Ruleset, TooLarge> {
    let handled = handled(inner.abi);
    let mut grants = Grants::new();
    for operation in WRITES {
        let (trees, files) = named.bound(meaning.decisions(operation)?, operation);
        for node in trees {
            grant(&mut grants, &named.paths[node], false, handled.clone());
        }
        for node in files {
            let rights = handled.iter().copied().filter(|a| a.on_files());
            grant(&mut grants, &named.paths[node], true, rights);
        }
    }
    for p in &inner.paths {
        let rights = p.allowed.intersection(&handled).copied();
        grant(&mut grants, &p.parent, p.file, rights);
    }
    let mut paths = paths(grants);
    // A tree above may grant this already. In ascending order, a tree comes before what lies beneath it.
    let mut tops: Vec<Vec<u8>> = Vec::new();
    paths.retain(|p| {
        let beneath = |top: &Vec<u8>| {
            let rest = p.parent.strip_prefix(top.as_slice());
            top == b"/" || rest.is_some_and(|rest| rest.starts_with(b"/"))
        };
        let covered = tops.iter().any(beneath);
        if !covered && p.allowed == handled {
            tops.push(p.parent.clone());
        }
        // A mount at another place may lead to a terminal.
        !covered || p.file
    });
    Ok(Ruleset {
        abi: inner.abi,
        handled_fs: handled,
        handled_net: inner.handled_net.clone(),
        scoped: inner.scoped.clone(),
        paths,
        ports: inner.ports.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::{LoadOptions, load};
    use crate::policy::Policy;

    const POLICY: &str = "version: 1
name: t
subject: {home: TOP/home, workspace: TOP/ws}
rules:
  - {name: env, action: deny, operations: [write], paths: [\"${workspace}/**/.env\"]}
  - {name: tree, action: allow, operations: [read, write], paths: [\"${workspace}/**\"]}
  - {name: state, action: allow, operations: [write], paths: [\"~/.state.json\", \"~/.state.json.tmp.*\"]}
  - {name: open, action: allow, operations: [write], paths: [\"TOP/open/**\"]}
  - {name: cache, action: allow, operations: [write], paths: [\"TOP/cache/a/b/**\"]}
  - {name: nothing, action: allow, operations: [edit], paths: [\"/dev/null\", \"TOP/none\"]}
";

    fn policy(top: &str) -> Policy {
        let text = POLICY.replace("TOP", top);
        load("p.yaml", &text, &LoadOptions::default())
            .unwrap()
            .policy
    }

    fn empty() -> Ruleset {
        Ruleset {
            abi: 6,
            handled_fs: BTreeSet::new(),
            handled_net: BTreeSet::new(),
            scoped: BTreeSet::new(),
            paths: Vec::new(),
            ports: Vec::new(),
        }
    }

    #[test]
    fn the_hull_holds_what_may_be_and_the_inner_domain_what_must() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        for name in ["home", "ws", "open/x", "cache"] {
            std::fs::create_dir_all(top.join(name)).unwrap();
        }
        let top = top.to_str().unwrap();
        let policy = policy(top);
        let meaning = Meaning::new(&policy);
        let mut inner = empty();
        let named = Named::new(&meaning);
        narrow(&meaning, &named, &mut inner).unwrap();
        let granted = |r: &Ruleset| -> Vec<(String, usize)> {
            let show = |p: &PathBeneath| {
                (
                    String::from_utf8(p.parent.clone()).unwrap(),
                    p.allowed.len(),
                )
            };
            r.paths.iter().map(show).collect()
        };
        assert_eq!(granted(&inner), [("/dev/null".to_owned(), 2)]);
        let hull = hull(&meaning, &named, &inner).unwrap();
        assert_eq!(
            granted(&hull),
            [
                ("/dev/null".to_owned(), 2),
                (format!("{top}/cache"), 12),
                (format!("{top}/home"), 12),
                (format!("{top}/open"), 12),
                (format!("{top}/ws"), 12),
            ]
        );
    }
}
