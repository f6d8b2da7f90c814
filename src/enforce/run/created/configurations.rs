//! Configurations of git that the program may have written.
//!
//! `git init` and `git clone` have to make a configuration, so that the policy lets it be made where there is none. What
//! stands in it, it cannot say. git outside the sandbox obeys it: at `git status` also that of a repository which the
//! outer one holds as a submodule, wherever its `.git` leads. So each directory that looks like a repository is asked for
//! the variables that name programs ([`crate::git::programs`]), before and after.
//!
//! This is done where the policy denies to change the configuration of a repository, by whatever rule.

use crate::enforce::run::sys;
use crate::fidelity::Object;
use crate::git;
use crate::policy::{Operation, Policy};
use crate::semantics::decide;
use std::collections::{BTreeMap, BTreeSet};

/// The files that git reads in a repository.
const FILES: [&[u8]; 2] = [b"config", b"config.worktree"];

/// What of a repository a directory has.
#[derive(Default)]
pub struct Signs {
    head: bool,
    configuration: bool,
}

impl Signs {
    /// One entry of the directory.
    pub fn see(&mut self, name: &[u8]) {
        self.head |= name == b"HEAD";
        self.configuration |= FILES.contains(&name);
    }

    /// Whether git may take the directory for a repository, or for what several share.
    pub fn are_there(&self) -> bool {
        self.head && self.configuration
    }
}

/// Notes what the configurations in a directory would have git start.
pub fn note(policy: &Policy, folder: &[u8], out: &mut BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>) {
    // A repository may have any name, and rules speak of `.git`.
    let usual = match folder.ends_with(b"/.git") {
        true => [folder, b"/config"].concat(),
        false => [folder, b"/.git/config"].concat(),
    };
    if decide(policy, Operation::Edit, &Object::Path(usual))
        .action
        .permits()
    {
        return;
    }
    let workspace = policy.subject.workspace.as_deref();
    for name in FILES {
        let path = [folder, b"/", name].concat();
        let found = git::programs(sys::path(&path), workspace);
        if !found.is_empty() {
            out.insert(path, found);
        }
    }
}
