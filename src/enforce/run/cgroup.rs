//! The program's own control group (cgroup v2). It limits all processes of the program together.
//!
//! `cpus` is `cpu.max`, `memory` is `memory.max` (without swap), and `processes` is `pids.max`
//! (Documentation/admin-guide/cgroup-v2.rst). A limit that the cgroup enforces needs no `setrlimit`, which counts by
//! process or by user.
//!
//! Root makes the cgroup at the top of the hierarchy. Other users make it in the nearest cgroup, from their own
//! upwards, that was delegated to them and whose controllers its children may use. A cgroup is delegated to a user who
//! may write its directory. If a controller exists but is not handed on yet, polc switches it on where that is
//! permitted, and it stays on. polc does not use a hierarchy of version 1.
//!
//! polc removes the cgroup when the program has ended. What the program left running keeps it, with its limits. The
//! next run removes an empty cgroup of a run that is gone.

use crate::policy::Limits;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A cgroup that polc made, with its limits.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    /// The limits that it enforces, as the policy names them.
    pub limits: Vec<&'static str>,
}

/// One limit: its name, its controller, and what polc writes to which files. The first file must exist.
struct Wanted {
    name: &'static str,
    controller: &'static str,
    files: Vec<(&'static str, String)>,
}

fn wanted(limits: &Limits) -> Vec<Wanted> {
    let mut out = Vec::new();
    if let Some(thousandths) = limits.cpus {
        // In microseconds of each period. The kernel takes no quota below one millisecond.
        let (period, quota) = if thousandths >= 10 {
            (100_000u64, u64::from(thousandths) * 100)
        } else {
            (1_000_000, u64::from(thousandths.max(1)) * 1000)
        };
        out.push(Wanted {
            name: "cpus",
            controller: "cpu",
            files: vec![("cpu.max", format!("{quota} {period}"))],
        });
    }
    if let Some(bytes) = limits.memory {
        out.push(Wanted {
            name: "memory",
            controller: "memory",
            files: vec![
                ("memory.max", bytes.to_string()),
                ("memory.swap.max", "0".to_owned()),
            ],
        });
    }
    if let Some(count) = limits.processes {
        out.push(Wanted {
            name: "processes",
            controller: "pids",
            files: vec![("pids.max", count.to_string())],
        });
    }
    out
}

/// Makes a cgroup for the limits that it can enforce. `None`: it can enforce none, or polc may not make one here.
#[must_use]
pub fn make(limits: &Limits) -> Option<Cgroup> {
    let wanted = wanted(limits);
    if wanted.is_empty() {
        return None;
    }
    // SAFETY: it takes nothing and always succeeds.
    let root = unsafe { libc::geteuid() == 0 };
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let folders = folders(&mounts, &own, root);
    make_in(&folders, &wanted, std::process::id())
}

/// The directories in which polc may make a cgroup, the best first.
fn folders(mounts: &str, own: &str, root: bool) -> Vec<PathBuf> {
    // Fields before ` - `: number, parent, device, root, mount point; after it: type.
    let mount = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(3);
        let (top, point) = (fields.next()?, fields.next()?);
        (after.starts_with("cgroup2 ") && top == "/").then(|| PathBuf::from(point))
    });
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
    let (Some(mount), Some(own)) = (mount, own) else {
        return Vec::new();
    };
    let own = mount.join(own);
    let mut out: Vec<PathBuf> = own
        .ancestors()
        .take_while(|p| p.starts_with(&mount))
        .map(Path::to_path_buf)
        .collect();
    if root {
        out.reverse();
    }
    out
}

fn make_in(folders: &[PathBuf], wanted: &[Wanted], id: u32) -> Option<Cgroup> {
    folders.iter().find_map(|folder| {
        let words = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default();
        let has = |text: &str, word: &str| text.split_whitespace().any(|w| w == word);
        let (there, passed) = (words("cgroup.controllers"), words("cgroup.subtree_control"));
        for w in wanted {
            if has(&there, w.controller) && !has(&passed, w.controller) {
                // This fails where it is not permitted, or where processes are in the cgroup. Then the controller stays
                // off.
                let _ = fs::write(
                    folder.join("cgroup.subtree_control"),
                    format!("+{}", w.controller),
                );
            }
        }
        let passed = words("cgroup.subtree_control");
        if !wanted.iter().any(|w| has(&passed, w.controller)) {
            return None;
        }
        sweep(folder);
        let path = folder.join(format!("polc-{id}"));
        fs::create_dir(&path).ok()?;
        let set = |w: &&Wanted| {
            let mut files = w.files.iter();
            let first = files
                .next()
                .is_some_and(|(name, text)| write(&path, name, text).is_ok());
            first && {
                files.for_each(|(name, text)| drop(write(&path, name, text)));
                true
            }
        };
        let limits: Vec<_> = wanted
            .iter()
            .filter(|w| has(&passed, w.controller))
            .filter(set)
            .map(|w| w.name)
            .collect();
        let cgroup = Cgroup { path, limits };
        if cgroup.limits.is_empty() {
            cgroup.remove();
            return None;
        }
        Some(cgroup)
    })
}

/// Writes to a file of the kernel's. The file may be missing.
fn write(cgroup: &Path, name: &str, text: &str) -> io::Result<()> {
    use io::Write;
    let mut file = fs::OpenOptions::new().write(true).open(cgroup.join(name))?;
    file.write_all(text.as_bytes())
}

/// Removes empty cgroups of runs that have ended.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let id = name.to_str().and_then(|n| n.strip_prefix("polc-"));
        let Some(id) = id.and_then(|n| n.parse::<u32>().ok()) else {
            continue;
        };
        if !Path::new("/proc").join(id.to_string()).exists() {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

impl Cgroup {
    /// Puts this process, and what it starts from now on, into the cgroup.
    ///
    /// # Errors
    /// The kernel refuses, because the cgroup that this process comes from is not delegated.
    pub fn enter(&self) -> io::Result<()> {
        write(&self.path, "cgroup.procs", "0")
    }

    /// Kills every process in the cgroup, if the kernel can do that (Linux 5.14).
    pub fn kill(&self) {
        let _ = write(&self.path, "cgroup.kill", "1");
    }

    /// Removes the cgroup, unless a process still runs in it.
    pub fn remove(&self) {
        // A process stays in its cgroup for a moment after it has ended.
        for _ in 0..20 {
            match fs::remove_dir(&self.path) {
                Err(e) if e.kind() == io::ErrorKind::ResourceBusy => {
                    let text = fs::read_to_string(self.path.join("cgroup.procs"));
                    if text.is_ok_and(|t| !t.is_empty()) {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_what_the_kernel_reads() {
        let limits = Limits {
            cpus: Some(1500),
            memory: Some(1 << 30),
            processes: Some(7),
            ..Limits::default()
        };
        let files: Vec<_> = wanted(&limits).into_iter().flat_map(|w| w.files).collect();
        assert_eq!(
            files,
            [
                ("cpu.max", "150000 100000".to_owned()),
                ("memory.max", "1073741824".to_owned()),
                ("memory.swap.max", "0".to_owned()),
                ("pids.max", "7".to_owned()),
            ]
        );
        // The kernel's smallest values apply.
        let least = Limits {
            cpus: Some(1),
            ..Limits::default()
        };
        assert_eq!(wanted(&least)[0].files[0].1, "1000 1000000");
    }

    #[test]
    fn root_begins_at_the_top_and_a_user_at_the_own_group() {
        let mounts = "30 25 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      31 25 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        let own = "4:memory:/x\n0::/user.slice/a.scope\n";
        let paths = |root| folders(mounts, own, root);
        let up = [
            "/sys/fs/cgroup/user.slice/a.scope",
            "/sys/fs/cgroup/user.slice",
            "/sys/fs/cgroup",
        ];
        assert_eq!(paths(false), up.map(PathBuf::from));
        let mut down = paths(true);
        down.reverse();
        assert_eq!(down, paths(false));
        // A host with version 1 alone, and a host that mounts only a part of the hierarchy.
        assert!(folders("30 25 0:26 / /c rw - cgroup cgroup rw,memory\n", own, true).is_empty());
        assert!(folders("30 25 0:26 /part /c rw - cgroup2 c rw\n", own, true).is_empty());
        assert!(folders(mounts, "4:memory:/x\n", true).is_empty());
    }

    /// An ordinary directory in place of the hierarchy. The kernel makes no files in it, so no limit can be written.
    #[test]
    fn a_group_that_holds_nothing_is_not_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().to_path_buf();
        let limits = Limits {
            processes: Some(7),
            ..Limits::default()
        };
        let made = || make_in(std::slice::from_ref(&top), &wanted(&limits), 1);
        let stale = top.join("polc-4294967295");
        fs::create_dir(&stale).unwrap();
        for passed in ["", "cpu memory\n"] {
            fs::write(top.join("cgroup.controllers"), "cpu memory\n").unwrap();
            fs::write(top.join("cgroup.subtree_control"), passed).unwrap();
            assert!(made().is_none());
            assert!(stale.exists());
        }
        fs::write(top.join("cgroup.controllers"), "cpu pids\n").unwrap();
        fs::write(top.join("cgroup.subtree_control"), "pids\n").unwrap();
        assert!(made().is_none());
        assert!(!stale.exists() && !top.join("polc-1").exists());
    }
}
