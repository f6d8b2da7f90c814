//! seccomp: runc starts a container with the profile, and probes run inside.
//!
//! runc applies a filter before it has dropped to the container's user where `noNewPrivileges` is
//! off, so a profile can break the runtime itself: only a start shows it.

use crate::tool::{self, Said};
use serde_json::{Value, json};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// runc and a root file system for it.
pub struct Runc {
    /// `runc`, perhaps behind `sudo -n`.
    command: Vec<PathBuf>,
    root: PathBuf,
}

/// Who the process in a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum As {
    /// Root with the capabilities of an administrator: what is refused, the filter alone refuses.
    Root,
    /// User 1000 without capabilities, as an agent should run.
    User,
}

const PROGRAMS: [&str; 12] = [
    "sh", "echo", "mount", "unshare", "chmod", "id", "true", "ls", "cat", "grep", "touch", "wget",
];

/// Enough for every probe, and no more: a test machine may itself lack some others.
const CAPABILITIES: [&str; 10] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_NET_ADMIN",
    "CAP_SYS_ADMIN",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
];

/// runc, or `None` after a line that says what is missing.
pub fn runc() -> Option<Runc> {
    let runc = tool::skip_or_fail("runc")?;
    let busybox = tool::skip_or_fail("busybox")?;
    let mut command = vec![runc];
    if std::fs::metadata("/proc/self").map_or(0, |m| m.uid()) != 0 {
        let sudo = tool::skip_or_fail("sudo")?;
        if !tool::run(&sudo, ["-n", "true"]).ok() {
            tool::skip("runc needs root, or sudo without a password");
            return None;
        }
        command.splice(0..0, [sudo, PathBuf::from("-n")]);
    }
    let root = tool::once("runc-root", |dir| {
        for name in ["bin", "proc", "dev", "tmp", "etc"] {
            std::fs::create_dir(dir.join(name)).unwrap();
        }
        std::fs::copy(&busybox, dir.join("bin/busybox")).unwrap();
        for name in PROGRAMS {
            symlink("busybox", dir.join("bin").join(name)).unwrap();
        }
        // A stranger inside needs to get in, whatever mode a temporary folder has.
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    });
    Some(Runc { command, root })
}

impl Runc {
    /// Runs a shell command in a new container with this `linux.seccomp` section.
    pub fn run(&self, seccomp: &Value, user: As, no_new_privileges: bool, script: &str) -> Said {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("polc-{}-{count}", std::process::id());
        let bundle = tool::folder("bundle");
        let config = serde_json::to_vec(&self.config(seccomp, user, no_new_privileges, script));
        std::fs::write(bundle.path().join("config.json"), config.unwrap()).unwrap();
        let mut command = Command::new(&self.command[0]);
        command
            .args(&self.command[1..])
            .arg("--root")
            .arg(state())
            .args(["run", "-b"]);
        tool::run_with(command.arg(bundle.path()).arg(id), b"", tool::PATIENCE)
    }

    fn config(&self, seccomp: &Value, user: As, no_new_privileges: bool, script: &str) -> Value {
        let capabilities: &[&str] = if user == As::Root { &CAPABILITIES } else { &[] };
        let id = if user == As::Root { 0 } else { 1000 };
        json!({
            "ociVersion": "1.0.2",
            "process": {
                "terminal": false,
                "user": {"uid": id, "gid": id},
                "args": ["/bin/sh", "-c", script],
                "env": ["PATH=/bin", "HOME=/tmp"],
                "cwd": "/",
                "capabilities": {
                    "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
                },
                "noNewPrivileges": no_new_privileges,
            },
            "root": {"path": self.root, "readonly": true},
            "hostname": "polc",
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
                {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]},
            ],
            "linux": {
                "namespaces": [
                    {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                    {"type": "mount"},
                ],
                "seccomp": seccomp,
            },
        })
    }

    /// That a container starts with a profile whoever runs in it, and that the filter is on.
    pub fn starts(&self, seccomp: &Value) -> Result<(), String> {
        for user in [As::Root, As::User] {
            for no_new_privileges in [false, true] {
                let script = "echo started; grep ^Seccomp: /proc/self/status";
                let said = self.run(seccomp, user, no_new_privileges, script);
                let out = String::from_utf8_lossy(&said.stdout);
                if !said.ok() || out != "started\nSeccomp:\t2\n" {
                    return Err(format!(
                        "as {user:?}, noNewPrivileges {no_new_privileges}: {}",
                        said.words()
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Where runc keeps what it knows of running containers, apart from the system's.
fn state() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("runc-state")
}

fn profile(syscalls: Value) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": syscalls,
    })
}

#[test]
fn a_container_starts_and_a_probe_is_refused() {
    let Some(runc) = runc() else { return };
    let refuse = |names: &[&str]| {
        profile(json!([{"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]))
    };
    runc.starts(&refuse(&["mount"])).unwrap();
    let mount = "mount -t tmpfs none /tmp && echo mounted";
    let open = runc.run(&refuse(&["keyctl"]), As::Root, true, mount);
    assert_eq!(open.stdout, b"mounted\n", "{}", open.words());
    let shut = runc.run(&refuse(&["mount"]), As::Root, true, mount);
    assert!(
        !shut.ok() && shut.words().contains("permission denied"),
        "{}",
        shut.words()
    );
}

#[test]
fn a_profile_that_breaks_the_runtime_is_found() {
    let Some(runc) = runc() else { return };
    let no_users = profile(json!([
        {"names": ["setuid", "setgid", "setresuid", "setgroups", "capset"],
         "action": "SCMP_ACT_ERRNO", "errnoRet": 1}
    ]));
    let words = runc.starts(&no_users).unwrap_err();
    assert!(words.contains("noNewPrivileges false"), "{words}");
    assert!(
        runc.starts(&json!({"defaultAction": "SCMP_ACT_WRONG"}))
            .is_err()
    );
    assert!(runc.starts(&Value::Null).is_err(), "no filter is no pass");
}
