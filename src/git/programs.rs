//! What git would do outside the sandbox because of a repository's own configuration: start programs, obey other files,
//! or work on another directory.
//!
//! `git init` and `git clone` write none of these variables. git obeys them in every repository that it visits. `git
//! status` also visits each submodule in the index of the outer repository.

use super::{config, named, read};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The longest value that is shown in full.
const SHOWN: usize = 80;

/// Sections in which every variable names a program or another configuration.
const SECTIONS: [&[u8]; 6] = [
    b"alias",
    b"pager",
    b"instaweb",
    b"include",
    b"includeif",
    b"lfs",
];

/// Variables that name programs, by section, with or without a subsection.
const VARIABLES: [(&[u8], &[&[u8]]); 23] = [
    (
        b"core",
        &[
            b"hookspath",
            b"sshcommand",
            b"gitproxy",
            b"editor",
            b"pager",
            b"askpass",
            b"alternaterefscommand",
        ],
    ),
    (b"filter", &[b"clean", b"smudge", b"process"]),
    (b"diff", &[b"external", b"command", b"textconv"]),
    (b"merge", &[b"driver"]),
    (b"difftool", &[b"cmd", b"path"]),
    (b"mergetool", &[b"cmd", b"path"]),
    (b"credential", &[b"helper"]),
    (b"gpg", &[b"program", b"defaultkeycommand"]),
    (b"hook", &[b"command"]),
    (b"sequence", &[b"editor"]),
    (b"interactive", &[b"difffilter"]),
    (b"uploadpack", &[b"packobjectshook"]),
    (b"remote", &[b"uploadpack", b"receivepack", b"vcs"]),
    (b"trailer", &[b"command", b"cmd"]),
    (b"browser", &[b"cmd", b"path"]),
    (b"man", &[b"cmd", b"path"]),
    (b"tar", &[b"command"]),
    (b"guitool", &[b"cmd"]),
    (b"init", &[b"templatedir"]),
    (b"url", &[b"insteadof", b"pushinsteadof"]),
    (b"protocol", &[b"allow"]),
    (
        b"sendemail",
        &[
            b"smtpserver",
            b"sendmailcmd",
            b"tocmd",
            b"cccmd",
            b"headercmd",
        ],
    ),
    (b"imap", &[b"tunnel"]),
];

/// The variables of a configuration file that let git do more than keep a repository beneath `workspace`, each with its
/// value.
#[must_use]
pub fn programs(file: &Path, workspace: Option<&[u8]>) -> BTreeSet<Vec<u8>> {
    let text = read(file).unwrap_or_default();
    let directory = file.parent().unwrap_or(file);
    let entries = config::entries(&text).into_iter();
    entries
        .filter(|e| is_program(e, directory, workspace))
        .map(|e| {
            let mut out = e.section;
            for part in [&e.subsection, &e.name] {
                if !part.is_empty() {
                    out.push(b'.');
                    out.extend_from_slice(part);
                }
            }
            out.extend_from_slice(b"=");
            let value = e.value.get(..SHOWN).unwrap_or(&e.value);
            out.extend_from_slice(value);
            if value.len() < e.value.len() {
                out.extend_from_slice("…".as_bytes());
            }
            out
        })
        .collect()
}

fn is_program(entry: &config::Entry, directory: &Path, workspace: Option<&[u8]>) -> bool {
    let (section, name) = (entry.section.as_slice(), entry.name.as_slice());
    let listed = VARIABLES
        .iter()
        .any(|(s, names)| *s == section && names.contains(&name));
    let value = entry.value.to_ascii_lowercase();
    listed
        || SECTIONS.contains(&section)
        || match (section, name) {
            // `true` starts git's own program.
            (b"core", b"fsmonitor") => !matches!(
                value.as_slice(),
                b"" | b"true" | b"false" | b"yes" | b"no" | b"on" | b"off" | b"0" | b"1"
            ),
            (b"core", b"worktree") => leads_out(&entry.value, directory, workspace),
            (b"submodule", b"update") => value.starts_with(b"!"),
            // `ext::COMMAND` starts the command.
            (b"remote" | b"submodule", b"url" | b"pushurl") => {
                value.windows(2).any(|two| two == b"::")
            }
            _ => false,
        }
}

/// Whether a directory that a configuration names lies outside the workspace.
fn leads_out(value: &[u8], directory: &Path, workspace: Option<&[u8]>) -> bool {
    let inside = workspace.map(|w| Path::new(OsStr::from_bytes(w)));
    let to = named(value, directory, None);
    !to.zip(inside)
        .is_some_and(|(to, inside)| to.starts_with(inside))
}

#[cfg(test)]
mod tests {
    fn keys(text: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("w/.git/modules/lib/config");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        let workspace = folder.path().join("w");
        let workspace = workspace.to_str().unwrap().as_bytes();
        let found = super::programs(&file, Some(workspace)).into_iter();
        found.map(|k| String::from_utf8(k).unwrap()).collect()
    }

    #[test]
    fn what_init_and_clone_write_names_no_program() {
        let text = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n\
            \tfsmonitor = true\n\tworktree = ../../../lib\n\
            [remote \"origin\"]\n\turl = git@host:x\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n\
            [branch \"main\"]\n\tremote = origin\n\tmerge = refs/heads/main\n[submodule \"a\"]\n\turl = ../a\n\tactive = true\n\
            [user]\n\tname = N\n";
        assert!(keys(text).is_empty(), "{:?}", keys(text));
    }

    #[test]
    fn what_starts_a_program_is_found_with_its_value() {
        let text = "[core]\n\tfsmonitor = \"sh -c \\\"id\\\"\"\n\thooksPath = /x\n\tworktree = ../../../../out\n\
            [filter \"a.b\"]\n\tSmudge = cat\n[alias]\n\tst = !sh\n[include]\n\tpath = ../y\n\
            [includeIf \"gitdir:/\"]\n\tpath = z\n[remote \"o\"]\n\turl = ext::sh\n[submodule \"s\"]\n\tupdate = !sh\n";
        let want = [
            "alias.st=!sh",
            "core.fsmonitor=sh -c \"id\"",
            "core.hookspath=/x",
            "core.worktree=../../../../out",
            "filter.a.b.smudge=cat",
            "include.path=../y",
            "includeif.gitdir:/.path=z",
            "remote.o.url=ext::sh",
            "submodule.s.update=!sh",
        ];
        assert_eq!(keys(text), want);
    }
}
