//! Empty directories and files where git would look for hooks and configuration, and finds none.
//!
//! A mount needs something to lie over. Where a repository has no `.git/hooks`, the program could make one. So polc makes
//! an empty one before the start, which is then covered as every other denied object is. To git an empty directory of
//! hooks, and an empty `config.worktree`, are the same as none.
//!
//! Made are directories of hooks (`.git/hooks`, and what `core.hooksPath` names), and `config.worktree`: each only where the
//! policy denies making it, lets something be made in the directory around it, and there is that directory.
//!
//! They stay when the program has ended: another run may rely on them. Therefore a file that a configuration includes is
//! not made, as it would be an untracked file of the workspace. `commondir` is not made, as an empty one breaks the
//! repository. Both are told at the end if the program makes them ([`super::created`]).

use super::missing;
use crate::fidelity::Object;
use crate::policy::{Operation, Policy};
use crate::semantics::decide;

/// Makes what is missing. What cannot be made is left out.
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

/// Whether the program may make something beside a path, and not what is `denied` there.
fn is_wanted(policy: &Policy, path: &[u8], denied: &[u8]) -> bool {
    let permits = |path: &[u8]| {
        decide(policy, Operation::Create, &Object::Path(path.to_vec()))
            .action
            .permits()
    };
    let end = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
    // A name that nobody gives to a file stands for what is made there.
    let beside = [path.get(..end).unwrap_or_default(), b"/.polc-any-name"].concat();
    permits(&beside) && !permits(denied)
}
