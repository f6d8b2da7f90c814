//! The state directory, and the users who could change its contents.

use super::{Error, shown};
use std::ffi::OsString;
use std::fmt;
use std::fs::{DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// polc's state directory: `$XDG_STATE_HOME/polc`, or else `~/.local/state/polc`. It may not exist. `None`: neither the
/// variable nor the home is an absolute path.
#[must_use]
pub fn state_directory(state_home: Option<OsString>, home: Option<&Path>) -> Option<PathBuf> {
    let named = state_home.map(PathBuf::from).filter(|p| p.is_absolute());
    let base = named.or_else(|| {
        home.filter(|h| h.is_absolute())
            .map(|h| h.join(".local/state"))
    });
    base.map(|b| b.join("polc"))
}

/// Why a record may come from another user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distrust {
    /// The owner is another user. (Above the user's own directories, root is accepted.)
    Owner,
    /// Others may write to it.
    Writable,
    /// Others may read the record. polc never writes such a record, but a checkout of a repository does.
    Readable,
    /// A record is a hard link of another file.
    Linked,
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Owner => "belongs to another user",
            Self::Writable => "can be written by others",
            Self::Readable => "can be read by others, and polc writes no record so",
            Self::Linked => "has a second name (a hard link)",
        })
    }
}

impl Distrust {
    /// What to do about it.
    pub(super) fn help(self, path: &Path) -> String {
        let path = shown(path);
        match self {
            Self::Owner => {
                "name a directory of your own with XDG_STATE_HOME, or run polc as that user"
                    .to_owned()
            }
            Self::Writable => format!("type `chmod go-w '{path}'`"),
            Self::Readable | Self::Linked => {
                format!("remove it (`rm '{path}'`), then trust the policy again")
            }
        }
    }
}

/// Checks that a state directory cannot have come with a policy. It must not lie in one of these directories, and none
/// of them may lie in it. Both the names and the real paths are compared.
///
/// # Errors
/// One lies in the other.
pub fn apart(state: &Path, from: &[PathBuf]) -> Result<(), Error> {
    let forms = |path: &Path| {
        let mut all = super::protect::names(path);
        all.push(path.to_owned());
        all
    };
    let mut states = forms(state);
    // A link inside may lead the records to another directory.
    states.extend(forms(&state.join("trust")));
    for directory in from {
        let mut places = forms(directory);
        places.retain(|p| p.is_absolute());
        let meets = |s: &PathBuf| places.iter().any(|p| s.starts_with(p) || p.starts_with(s));
        if states.iter().any(meets) {
            return Err(Error::NotApart(state.to_owned(), directory.clone()));
        }
    }
    Ok(())
}

/// Makes a directory that only the user may enter, and its missing parents.
///
/// # Errors
/// The system refuses.
pub(super) fn make(path: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| Error::System("make", path.to_owned(), e))
}

/// Checks that only the user and root can change the contents of a directory, also by replacing it or a directory above
/// it.
///
/// # Errors
/// Another user can, or it is not a directory.
pub(super) fn check(path: &Path) -> Result<(), Error> {
    let real =
        std::fs::canonicalize(path).map_err(|e| Error::System("resolve", path.to_owned(), e))?;
    let me = crate::enforce::user::effective();
    for (depth, part) in real.ancestors().enumerate() {
        let meta =
            std::fs::metadata(part).map_err(|e| Error::System("look at", part.to_owned(), e))?;
        if depth == 0 {
            own(part, &meta, me)?;
        } else if let Some(why) = changeable(&meta, me) {
            return Err(Error::NotOurs(part.to_owned(), why));
        }
    }
    Ok(())
}

/// Checks that it belongs to the user, and that only the user may write there.
///
/// # Errors
/// Another user may write there, or owns it.
pub(super) fn own(path: &Path, meta: &Metadata, me: u32) -> Result<(), Error> {
    let why = if meta.uid() != me {
        Distrust::Owner
    } else if meta.mode() & 0o022 != 0 {
        Distrust::Writable
    } else {
        return Ok(());
    };
    Err(Error::NotOurs(path.to_owned(), why))
}

/// Why others can change the contents of this directory, which lies above the user's.
fn changeable(meta: &Metadata, me: u32) -> Option<Distrust> {
    if meta.uid() != me && meta.uid() != 0 {
        return Some(Distrust::Owner);
    }
    // With the sticky bit, every user may add entries, but nobody may remove another user's.
    if meta.mode() & 0o1000 != 0 {
        return None;
    }
    // Many systems give each user a group with the same number, and let the group write to the user's files.
    let own_group = meta.uid() == me && meta.gid() == me;
    if meta.mode() & 0o002 != 0 || (meta.mode() & 0o020 != 0 && !own_group) {
        return Some(Distrust::Writable);
    }
    None
}

/// Checks that polc wrote a record for this user.
///
/// # Errors
/// It did not.
pub(super) fn own_record(path: &Path, meta: &Metadata, me: u32) -> Result<(), Error> {
    own(path, meta, me)?;
    let why = if meta.mode() & 0o077 != 0 {
        Distrust::Readable
    } else if meta.nlink() != 1 {
        Distrust::Linked
    } else {
        return Ok(());
    };
    Err(Error::NotOurs(path.to_owned(), why))
}

/// Whether an error says that something is not there.
pub(super) fn is_missing(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_variable_goes_before_the_home() {
        let at = |variable: Option<&str>, home: Option<&str>| {
            state_directory(variable.map(OsString::from), home.map(Path::new))
        };
        assert_eq!(at(Some("/s"), Some("/h")), Some("/s/polc".into()));
        for none in [None, Some(""), Some("relative")] {
            let home = at(none, Some("/h"));
            assert_eq!(home, Some("/h/.local/state/polc".into()));
            assert_eq!(at(none, None), None);
            assert_eq!(at(none, Some("h")), None);
        }
    }

    #[test]
    fn a_state_directory_that_the_repository_brings_is_not_apart() {
        let top = tempfile::tempdir().unwrap();
        let top = top.path().canonicalize().unwrap();
        for d in [
            "repo/st/polc/trust",
            "home/.local/state/polc",
            "home/linked",
        ] {
            std::fs::create_dir_all(top.join(d)).unwrap();
        }
        let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, top.join(at)).unwrap();
        link("../repo/st", "home/away");
        link("../home/linked", "repo/out");
        link("../../repo/st/polc/trust", "home/linked/trust");
        let from = [top.join("repo")];
        for (state, fine) in [
            ("home/.local/state/polc", true),
            ("home/nothing/polc", true),
            ("repos/polc", true),
            ("repo/st/polc", false),
            ("repo/nothing/polc", false),
            ("home/away/polc", false),
            ("repo/out/polc", false),
            ("home/linked", false),
            ("", false),
            ("repo", false),
        ] {
            assert_eq!(apart(&top.join(state), &from).is_ok(), fine, "{state}");
        }
    }

    #[test]
    fn a_directory_that_others_may_change_is_refused() {
        let top = tempfile::tempdir().unwrap();
        let inner = top.path().join("a/b");
        make(&inner).unwrap();
        check(&inner).unwrap();
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        for open in [0o770, 0o707, 0o720, 0o1777] {
            mode(&inner, open);
            assert!(matches!(check(&inner), Err(Error::NotOurs(..))), "{open:o}");
        }
        mode(&inner, 0o700);
        for (open, fine) in [
            (0o777, false),
            (0o703, false),
            (0o1777, true),
            (0o755, true),
        ] {
            mode(&top.path().join("a"), open);
            assert_eq!(check(&inner).is_ok(), fine, "{open:o}");
        }
    }
}
