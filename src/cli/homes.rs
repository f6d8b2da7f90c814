//! Home directories and their users, by the variable HOME and by the list of users.
//!
//! The author of a repository may also set HOME, in an `.envrc`. So the checks that protect the user's files use both.

use polc::fidelity::show_bytes;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Home directories, with links followed.
#[derive(Debug, Clone, Default)]
pub struct Homes {
    /// Homes of the user who runs polc: first the one of HOME, then the one of the list of users.
    pub own: Vec<PathBuf>,
    /// Homes of other users, with the users' names.
    pub others: Vec<(String, PathBuf)>,
    /// The user's home by the list of users alone.
    pub listed: Option<PathBuf>,
}

/// Why a directory is more than a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum More {
    /// `/`.
    Root,
    /// The user's own home.
    Home,
    /// It contains the user's own home.
    HoldsHome,
    /// Another user's home.
    OtherHome(String),
    /// It belongs to the system.
    System,
}

impl More {
    /// The reason in words. It comes after the directory's name and a comma.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Root => "the root directory".to_owned(),
            Self::Home => "your home directory".to_owned(),
            Self::HoldsHome => "which contains your home directory".to_owned(),
            Self::OtherHome(user) => {
                format!("the home directory of `{}`", show_bytes(user.as_bytes()))
            }
            Self::System => "a directory of the system".to_owned(),
        }
    }
}

/// Directories of the system. Neither they nor directories beneath them are projects.
const TREES: [&str; 20] = [
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/gnu",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix",
    "/private/etc",
    "/private/var",
    "/proc",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var",
    "/Library",
    "/System",
];

/// Exceptions in them: people work beneath these directories, but not in these directories themselves.
const WITHIN: [&str; 9] = [
    "/dev/shm",
    "/private/var/folders",
    "/private/var/tmp",
    "/run/user",
    "/usr/src",
    "/usr/local/src",
    "/var/home",
    "/var/tmp",
    "/var/www",
];

/// Directories that contain directories of many users. Only they themselves are no projects.
const ALONE: [&str; 11] = [
    "/",
    "/home",
    "/media",
    "/mnt",
    "/opt",
    "/private/tmp",
    "/snap",
    "/srv",
    "/tmp",
    "/Users",
    "/Volumes",
];

impl Homes {
    /// The homes of this host. They are read once.
    #[must_use]
    pub fn of_this_host() -> &'static Self {
        static HOMES: OnceLock<Homes> = OnceLock::new();
        HOMES.get_or_init(Self::find)
    }

    fn find() -> Self {
        let resolved = |p: PathBuf| std::fs::canonicalize(&p).unwrap_or(p);
        let mut homes = Self::default();
        homes.own.extend(super::input::home().map(resolved));
        let me = polc::enforce::user::effective();
        let users = std::fs::read("/etc/passwd").unwrap_or_default();
        for line in users.split(|b| *b == b'\n') {
            let fields: Vec<&[u8]> = line.split(|b| *b == b':').collect();
            let [name, _, number, _, _, home, ..] = fields.as_slice() else {
                continue;
            };
            let home = PathBuf::from(OsStr::from_bytes(home));
            if !home.is_absolute() {
                continue;
            }
            let home = resolved(home);
            if std::str::from_utf8(number).is_ok_and(|n| n.parse() == Ok(me)) {
                if !homes.own.contains(&home) {
                    homes.own.push(home.clone());
                }
                homes.listed.get_or_insert(home);
            } else {
                let name = String::from_utf8_lossy(name).into_owned();
                homes.others.push((name, home));
            }
        }
        homes
    }

    /// The user's own homes as bytes, for lints. Without `/`, where no user keeps keys.
    #[must_use]
    pub fn judged(&self) -> Vec<Vec<u8>> {
        let own = self.own.iter().filter(|h| **h != Path::new("/"));
        own.map(|h| h.as_os_str().as_bytes().to_vec()).collect()
    }

    /// The own home that this directory is, or that lies beneath it.
    #[must_use]
    pub fn within(&self, path: &Path) -> Option<&Path> {
        let own = self.own.iter().filter(|h| **h != Path::new("/"));
        own.map(PathBuf::as_path).find(|h| h.starts_with(path))
    }

    /// Why a directory is more than a project. `None`: it is a project.
    #[must_use]
    pub fn more(&self, path: &Path) -> Option<More> {
        let is = |of: &[&str]| of.iter().any(|p| path == Path::new(p));
        if path == Path::new("/") {
            return Some(More::Root);
        }
        if self.own.iter().any(|h| path == h) {
            return Some(More::Home);
        }
        if self.own.iter().any(|h| h.starts_with(path)) {
            return Some(More::HoldsHome);
        }
        // A home may lie in a directory of the system. The directories beneath it are the user's.
        let in_home = |h: &PathBuf| h != Path::new("/") && path.starts_with(h);
        if self.own.iter().any(in_home) {
            return None;
        }
        if let Some((user, _)) = self.others.iter().find(|(_, h)| path == h) {
            return Some(More::OtherHome(user.clone()));
        }
        let beneath = |p: &str| path.starts_with(p) && path != Path::new(p);
        let system =
            TREES.iter().any(|t| path.starts_with(t)) && !WITHIN.iter().any(|w| beneath(w));
        // `/run/user/1000` belongs to a session as a home belongs to a user.
        let session = path.parent() == Some(Path::new("/run/user"));
        let system = system || session || is(&ALONE) || path.starts_with("/root");
        system.then_some(More::System)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn homes(own: &str) -> Homes {
        Homes {
            own: vec![own.into()],
            listed: Some(own.into()),
            others: vec![
                ("bob".to_owned(), "/home/bob".into()),
                ("nobody".to_owned(), "/nonexistent".into()),
            ],
        }
    }

    #[test]
    fn what_is_more_than_a_project_is_not_taken() {
        for path in [
            "/",
            "/home",
            "/home/me",
            "/home/bob",
            "/usr",
            "/usr/lib/python3",
            "/usr/src",
            "/usr/local",
            "/etc",
            "/etc/nginx",
            "/var",
            "/var/lib/dpkg",
            "/var/tmp",
            "/tmp",
            "/opt",
            "/srv",
            "/root",
            "/root/x",
            "/dev/shm",
            "/run/user",
            "/run/user/1000",
            "/proc/1/cwd",
            "/nix/store/x",
        ] {
            assert!(homes("/home/me").more(Path::new(path)).is_some(), "{path}");
        }
    }

    #[test]
    fn a_project_is_taken() {
        for path in [
            "/home/me/project",
            "/home/bob/project",
            "/home/mex",
            "/tmp/x",
            "/var/tmp/x",
            "/opt/x",
            "/srv/www",
            "/usr/src/app",
            "/work/main",
            "/workspace",
            "/run/user/1000/x",
            "/dev/shm/x",
        ] {
            assert_eq!(homes("/home/me").more(Path::new(path)), None, "{path}");
        }
        // A home in a directory of the system.
        for (home, path) in [
            ("/var/lib/jenkins", "/var/lib/jenkins/workspace/x"),
            ("/root", "/root/project"),
            ("/etc/x", "/etc/x/y"),
        ] {
            assert_eq!(homes(home).more(Path::new(path)), None, "{path}");
            assert!(homes(home).more(Path::new(home)).is_some(), "{home}");
            let parent = Path::new(home).parent().unwrap();
            assert!(homes(home).more(parent).is_some(), "{home}");
        }
        // A home that means nothing.
        assert!(homes("/").more(Path::new("/etc")).is_some());
        assert_eq!(homes("/").more(Path::new("/w")), None);
    }
}
