//! Empty directories and files in the places where git looks for hooks and configuration.
//!
//! A mount needs an object to lie over. If a repository has no `.git/hooks`, the program could make one. So polc makes
//! an empty one before the start, and covers it like every other denied object. To git, an empty directory of hooks and
//! an empty `config.worktree` are the same as none.
//!
//! polc makes directories of hooks (`.git/hooks`, and the target of `core.hooksPath`), and `config.worktree`. It makes
//! each only if the policy denies making it, but allows making something else in the same directory, and if that
//! directory exists.
//!
//! They stay when the program has ended, because another run may rely on them. So polc does not make a file that a
//! configuration includes: it would be an untracked file of the workspace. It does not make `commondir` either: an
//! empty one breaks the repository. polc reports both at the end if the program makes them ([`super::created`]).

use super::missing;
use crate::fidelity::Object;
use crate::policy::{Operation, Policy};
use crate::semantics::decide;

/// Makes the missing objects. Leaves out those that it cannot make.
pub fn make(policy: &Policy) {
    let git = &policy.subject.git;
    for path in &git.hooks.all {
        let within = [path.as_slice(), b"/.polc-any-name"].concat();
        if is_wanted(policy, path, &within) {
            missing::placeholder(path, true);
        }
    }
    for dir in &git.dir {
        let path = [dir.as_slice(), b"/config.worktree"].concat();
        if is_wanted(policy, &path, &path) {
            missing::placeholder(&path, false);
        }
    }
}

/// Whether the program may make something in the directory of a path, but not what is `denied` at the path itself.
fn is_wanted(policy: &Policy, path: &[u8], denied: &[u8]) -> bool {
    let permits = |path: &[u8]| {
        decide(policy, Operation::Create, &Object::Path(path.to_vec()))
            .action
            .permits()
    };
    let end = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
    // No real file has this name. It stands for any file that the program might make.
    let beside = [path.get(..end).unwrap_or_default(), b"/.polc-any-name"].concat();
    permits(&beside) && !permits(denied)
}
