//! Which directories count as the repository of a workspace, and which do not, whoever wrote the files.

use super::paths;
use crate::policy::GitPaths;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A home with a repository `main`, its linked worktree `wt` and its submodule `main/sub`, as git makes them.
struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let out = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        out.repository("main/.git");
        out.repository("main/.git/modules/sub");
        out.write(
            "main/.git/modules/sub/config",
            "[core]\n\tworktree = ../../../sub\n",
        );
        out.write("main/sub/.git", "gitdir: ../.git/modules/sub\n");
        out.write(
            "wt/.git",
            &format!("gitdir: {}\n", out.at("main/.git/worktrees/wt").display()),
        );
        out.write(
            "main/.git/worktrees/wt/gitdir",
            &format!("{}\n", out.at("wt/.git").display()),
        );
        out.write("main/.git/worktrees/wt/commondir", "../..\n");
        out
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        // An absolute name would lead out of the folder.
        let path = self.at(name.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn repository(&self, name: &str) {
        self.write(&format!("{name}/HEAD"), "ref: refs/heads/main\n");
        for d in ["objects", "refs", "hooks"] {
            std::fs::create_dir_all(self.at(name).join(d)).unwrap();
        }
        self.write(&format!("{name}/config"), "[core]\n");
    }

    fn paths(&self, workspace: &str) -> GitPaths {
        paths(
            self.at(workspace).as_os_str().as_bytes(),
            Some(self.at("").as_os_str().as_bytes()),
        )
    }

    fn dirs(&self, workspace: &str) -> Option<(PathBuf, PathBuf)> {
        let p = self.paths(workspace);
        let path = |list: &[Vec<u8>]| {
            list.first()
                .map(|b| Path::new(std::ffi::OsStr::from_bytes(b)).to_owned())
        };
        Some((path(&p.dir)?, path(&p.common_dir)?))
    }
}

fn has(list: &[Vec<u8>], path: &Path) -> bool {
    list.iter().any(|p| p == path.as_os_str().as_bytes())
}

#[test]
fn checkouts_of_every_kind_are_found() {
    let h = Home::new();
    let (git, wt) = (h.at("main/.git"), h.at("main/.git/worktrees/wt"));
    let sub = h.at("main/.git/modules/sub");
    assert_eq!(h.dirs("main"), Some((git.clone(), git.clone())));
    assert_eq!(h.dirs("wt"), Some((wt, git.clone())));
    assert_eq!(h.dirs("main/sub"), Some((sub.clone(), sub)));
    assert!(has(&h.paths("wt").hooks.trusted, &git.join("hooks")));
    assert_eq!(h.dirs(""), None, "no repository");
    // git can also write both pointers as relative paths.
    h.write("wt/.git", "gitdir: ../main/.git/worktrees/wt\n");
    h.write("main/.git/worktrees/wt/gitdir", "../../../../wt/.git\n");
    assert!(h.dirs("wt").is_some());
    // A submodule of a submodule, and one of a worktree.
    h.repository("main/.git/modules/sub/modules/deep");
    h.write(
        "main/.git/modules/sub/modules/deep/config",
        "[core]\nworktree = ../../../../../sub/deep\n",
    );
    h.write(
        "main/sub/deep/.git",
        "gitdir: ../../.git/modules/sub/modules/deep\n",
    );
    assert!(h.dirs("main/sub/deep").is_some());
    h.repository("main/.git/worktrees/wt/modules/s");
    h.write(
        "main/.git/worktrees/wt/modules/s/config",
        &format!("[core]\nworktree = {}\n", h.at("wt/s").display()),
    );
    h.write(
        "wt/s/.git",
        &format!(
            "gitdir: {}\n",
            h.at("main/.git/worktrees/wt/modules/s").display()
        ),
    );
    assert!(h.dirs("wt/s").is_some());
}

#[test]
fn a_file_that_leads_to_a_directory_of_others_opens_nothing() {
    let h = Home::new();
    h.repository("other/.git");
    h.write(
        "other/.git/worktrees/x/gitdir",
        &format!("{}\n", h.at("elsewhere/.git").display()),
    );
    h.write("other/.git/worktrees/x/commondir", "../..\n");
    std::fs::create_dir_all(h.at(".ssh")).unwrap();
    std::fs::create_dir_all(h.at("w")).unwrap();
    for target in [
        "/",
        "/etc",
        "/usr",
        "..",
        ".",
        "../.ssh",
        "../other/.git",
        "../other/.git/worktrees/x",
        "../main/.git",
        "../main/.git/worktrees/wt",
        "../main/.git/modules/sub",
        "nothing",
        "",
    ] {
        h.write("w/.git", &format!("gitdir: {target}\n"));
        assert_eq!(h.dirs("w"), None, "{target}");
    }
    // A link to another person's directory, and a fifo.
    std::fs::remove_file(h.at("w/.git")).unwrap();
    symlink(h.at("other/.git"), h.at("w/.git")).unwrap();
    assert_eq!(h.dirs("w"), None);
    // A workspace that only pretends: it leads back, but has no repository around it.
    std::fs::remove_file(h.at("w/.git")).unwrap();
    h.write(
        "w/fake/worktrees/x/gitdir",
        &format!("{}\n", h.at("w/.git").display()),
    );
    h.write("w/fake/worktrees/x/commondir", "../../..\n");
    h.write("w/.git", "gitdir: fake/worktrees/x\n");
    assert_eq!(h.dirs("w"), None, "commondir leads elsewhere");
}

#[test]
fn a_workspace_does_not_make_the_home_directory_a_repository() {
    // ~/worktrees/x is both the workspace and its git directory, so ~ would be the common directory.
    let h = Home::new();
    h.write("worktrees/x/.git", "gitdir: .\n");
    h.write(
        "worktrees/x/gitdir",
        &format!("{}\n", h.at("worktrees/x/.git").display()),
    );
    h.write("worktrees/x/commondir", "../..\n");
    h.repository("");
    assert_eq!(h.dirs("worktrees/x"), None);
    h.write("worktrees/x/.git", "gitdir: ../y\n");
    h.write(
        "worktrees/y/gitdir",
        &format!("{}\n", h.at("worktrees/x/.git").display()),
    );
    h.write("worktrees/y/commondir", "../..\n");
    assert_eq!(
        h.dirs("worktrees/x"),
        None,
        "the common directory would be the home"
    );
}

#[test]
fn a_submodule_leads_back_and_lies_where_submodules_lie() {
    let h = Home::new();
    h.write(
        "main/.git/modules/sub/config",
        "[core]\n\tworktree = ../../../other\n",
    );
    assert_eq!(h.dirs("main/sub"), None, "it leads to another directory");
    h.write("main/.git/modules/sub/config", "[core]\n");
    assert_eq!(h.dirs("main/sub"), None, "it leads nowhere");
    h.repository("store");
    h.write(
        "store/config",
        &format!("[core]\nworktree = {}\n", h.at("main/sub").display()),
    );
    h.write("main/sub/.git", "gitdir: ../../store\n");
    assert_eq!(
        h.dirs("main/sub"),
        None,
        "it lies outside the repository around"
    );
    h.write("main/sub/.git", "gitdir: ../.git/modules\n");
    assert_eq!(h.dirs("main/sub"), None);
}

#[test]
fn configurations_name_hooks_and_files() {
    let h = Home::new();
    h.write(".gitconfig", "[core]\n hooksPath = ~/.githooks\n[include]\n path = git/more.inc\n[includeIf \"gitdir:~/x/\"]\n path = ~/work.inc\n");
    h.write("git/more.inc", "[include]\n path = deeper.inc\n");
    h.write("main/.git/config", "[core]\n hooksPath = .husky/_\n[include]\n path = ../tools/gitconfig\n path = /etc/shadow\n");
    h.write("scripts/check", "#!/bin/sh\n");
    symlink(h.at("scripts/check"), h.at("main/.git/hooks/pre-commit")).unwrap();
    symlink(h.at("git/more.inc"), h.at("work.inc")).unwrap();
    let p = h.paths("main");
    for hooks in ["main/.git/hooks", "scripts/check", ".githooks"] {
        assert!(
            has(&p.hooks.trusted, &h.at(hooks)),
            "{hooks}: {:?}",
            p.hooks
        );
    }
    assert!(has(&p.hooks.all, &h.at("main/.husky/_")));
    assert!(!has(&p.hooks.trusted, &h.at("main/.husky/_")));
    for config in ["git/more.inc", "git/deeper.inc", "work.inc"] {
        assert!(
            has(&p.config.trusted, &h.at(config)),
            "{config}: {:?}",
            p.config
        );
    }
    // The names in the repository's own configuration are only for rules that deny.
    for named in [h.at("main/tools/gitconfig"), PathBuf::from("/etc/shadow")] {
        assert!(
            has(&p.config.all, &named) && !has(&p.config.trusted, &named),
            "{named:?}"
        );
    }
    // Without a repository, the user's own configuration still counts.
    assert!(has(
        &h.paths("scripts").config.trusted,
        &h.at("git/more.inc")
    ));
    // A file that includes itself does not loop for ever.
    h.write(
        ".gitconfig",
        "[include]\npath = .gitconfig\n[include]\npath = ./a/../.gitconfig\n",
    );
    h.paths("main");
}
