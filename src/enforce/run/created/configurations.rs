//! Git configurations that the program may have written.
//!
//! `git init` and `git clone` have to make a configuration, so the policy allows making one where there is none. The
//! policy cannot say what the file may contain. git outside the sandbox obeys it. `git status` even obeys the
//! configuration of a submodule, wherever the submodule's `.git` leads. So polc reads each directory that looks like a
//! repository, before and after the run, and notes the variables that name programs ([`crate::git::programs`]).
//!
//! polc does this if any rule denies changing the configuration of a repository.

use crate::enforce::run::sys;
use crate::fidelity::Object;
use crate::git;
use crate::policy::{Operation, Policy};
use crate::semantics::decide;
use std::collections::{BTreeMap, BTreeSet};

/// The configuration files that git reads in a repository.
const FILES: [&[u8]; 2] = [b"config", b"config.worktree"];

/// Which parts of a repository a directory has.
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

    /// Whether git may take the directory for a repository, or for the common directory of several.
    pub fn are_there(&self) -> bool {
        self.head && self.configuration
    }
}

/// Notes the programs that git would start because of the configurations in a directory.
pub fn note(policy: &Policy, folder: &[u8], out: &mut BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>) {
    // A repository may have any name, but rules speak of `.git`.
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
