//! The directory that a program may work in, if nobody has named one.
//!
//! A policy with `workspace: auto` opens the repository around the current directory, or that directory. In the home
//! directory, that would open all keys and start-up files of the user. So some directories are refused, unless the
//! policy allows changing nothing there. `--set workspace=PATH` accepts any directory.

use super::Stop;
use polc::fidelity::{Object, show_bytes};
use polc::policy::{Operation, Policy};
use polc::semantics::decide;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Directories of the system: none of them, and nothing beneath, is a workspace of itself.
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

/// Within those, where people work all the same: beneath them, not they themselves.
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

/// Directories that hold those of others: only they themselves are not taken.
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

/// Who has which home.
struct Homes {
    own: Vec<PathBuf>,
    others: Vec<(String, PathBuf)>,
}

/// Checks the workspace of a policy that a program is about to be started with.
///
/// A policy that lets the program change nothing there needs no consent: what it may read is in its rules.
///
/// # Errors
/// It is not there, or it is one that must be named.
pub fn check(policy: &Policy) -> Result<(), Stop> {
    let subject = &policy.subject;
    let Some(bytes) = &subject.workspace else {
        return Ok(());
    };
    let path = Path::new(OsStr::from_bytes(bytes));
    let shown = show_bytes(bytes);
    let wrong = match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => None,
        Ok(_) => Some("is no directory".to_owned()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Some("does not exist".to_owned()),
        Err(e) => Some(format!("cannot be read: {e}")),
    };
    if let Some(wrong) = wrong {
        return Err(Stop::Usage(format!(
            "the workspace `{shown}` {wrong}; `--set workspace=PATH` names another"
        )));
    }
    if !subject.assumed.contains(&"workspace") || !may_change(policy, bytes) {
        return Ok(());
    }
    let Some(why) = refusal(path, &Homes::of_this_host()) else {
        return Ok(());
    };
    Err(Stop::Usage(format!(
        "the workspace would be `{shown}`, {why}: the program could change everything in it; go to your project, or name \
         the workspace: `--set workspace=.` is the current directory"
    )))
}

/// Whether the policy lets the program make, change or remove a file of the directory that no rule names.
fn may_change(policy: &Policy, directory: &[u8]) -> bool {
    // The root ends in `/` itself, and no rule matches a path with `//`.
    let directory = directory.strip_suffix(b"/").unwrap_or(directory);
    let file = Object::Path([directory, b"/a file that no rule names"].concat());
    [Operation::Edit, Operation::Create, Operation::Delete]
        .into_iter()
        .any(|o| decide(policy, o, &file).action.permits())
}

/// Why a directory is not taken of itself; `None`: it is.
fn refusal(path: &Path, homes: &Homes) -> Option<String> {
    let is = |of: &[&str]| of.iter().any(|p| path == Path::new(p));
    if path == Path::new("/") {
        return Some("the root directory".to_owned());
    }
    if homes.own.iter().any(|h| path == h) {
        return Some("your home directory".to_owned());
    }
    if homes.own.iter().any(|h| h.starts_with(path)) {
        return Some("which contains your home directory".to_owned());
    }
    // A home may lie in a directory of the system; what is beneath it is the user's.
    let in_home = |h: &PathBuf| h != Path::new("/") && path.starts_with(h);
    if homes.own.iter().any(in_home) {
        return None;
    }
    if let Some((user, _)) = homes.others.iter().find(|(_, h)| path == h) {
        return Some(format!(
            "the home directory of `{}`",
            show_bytes(user.as_bytes())
        ));
    }
    let beneath = |p: &str| path.starts_with(p) && path != Path::new(p);
    let system = TREES.iter().any(|t| path.starts_with(t)) && !WITHIN.iter().any(|w| beneath(w));
    // `/run/user/1000` is to a session what a home is to a user.
    let session = path.parent() == Some(Path::new("/run/user"));
    if system || session || is(&ALONE) || path.starts_with("/root") {
        return Some("a directory of the system".to_owned());
    }
    None
}

impl Homes {
    fn of_this_host() -> Self {
        let resolved = |p: PathBuf| std::fs::canonicalize(&p).unwrap_or(p);
        let named = std::env::var_os("HOME").map(PathBuf::from);
        let mut homes = Self {
            own: named.filter(|h| h.is_absolute()).into_iter().collect(),
            others: Vec::new(),
        };
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
            if std::str::from_utf8(number).is_ok_and(|n| n.parse() == Ok(me)) {
                homes.own.push(home);
            } else {
                let name = String::from_utf8_lossy(name).into_owned();
                homes.others.push((name, resolved(home)));
            }
        }
        homes.own = homes.own.into_iter().map(resolved).collect();
        homes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn homes(own: &str) -> Homes {
        Homes {
            own: vec![own.into()],
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
            assert!(
                refusal(Path::new(path), &homes("/home/me")).is_some(),
                "{path}"
            );
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
            assert_eq!(refusal(Path::new(path), &homes("/home/me")), None, "{path}");
        }
        // A home in a directory of the system.
        for (home, path) in [
            ("/var/lib/jenkins", "/var/lib/jenkins/workspace/x"),
            ("/root", "/root/project"),
            ("/etc/x", "/etc/x/y"),
        ] {
            assert_eq!(refusal(Path::new(path), &homes(home)), None, "{path}");
            assert!(refusal(Path::new(home), &homes(home)).is_some(), "{home}");
            let parent = Path::new(home).parent().unwrap();
            assert!(refusal(parent, &homes(home)).is_some(), "{home}");
        }
        // Without a home that means anything.
        assert!(refusal(Path::new("/etc"), &homes("/")).is_some());
        assert_eq!(refusal(Path::new("/w"), &homes("/")), None);
    }
}
