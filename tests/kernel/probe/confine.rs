//! The layers: a process enters one, and makes an attempt.

use crate::{attempt, landlock::Ruleset, sys};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

/// The entry point of the current domain: a copy of the probe. It is made once, and gets a new label for each policy. A
/// new copy for each policy would reuse the pages of a program that has run, and QEMU 7.2 hangs in `clear_page` then.
const ENTRY: &str = "/lab/entry";

/// Loads SELinux's policy, becomes an unconfined user, and enforces.
pub fn enforce(policy: &str) -> io::Result<()> {
    const USER: &str = "unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023";
    sys::mount_at("selinuxfs", "/sys/fs/selinux")?;
    fs::write("/sys/fs/selinux/load", fs::read(policy)?)?;
    fs::write("/proc/self/attr/current", USER)?;
    fs::copy("/init", ENTRY)?;
    fs::write("/sys/fs/selinux/enforce", "1")
}

/// The confinement of a process.
pub enum Confinement {
    /// Nothing.
    None,
    /// It could not be made, so nothing is tried.
    Broken,
    /// A loaded profile of this name.
    AppArmor(String),
    /// A ruleset.
    Landlock(Ruleset),
    /// `polc run`, of this policy.
    Run(String),
    /// A label, which a process takes on. The start of the entry point, which also gives the label, is tried once.
    SeLinux(String),
}

impl Confinement {
    /// Parses the words of a plan, and loads what they name.
    pub fn new(words: &[&str]) -> Result<Self, String> {
        match words {
            ["apparmor", name, blob] => {
                let blob = fs::read(blob).map_err(|e| format!("{blob}: {e}"))?;
                // In one write, because the kernel takes the profile as a whole.
                fs::write("/sys/kernel/security/apparmor/.replace", blob)
                    .map_err(|e| format!("the profile does not load: {e}"))?;
                Ok(Self::AppArmor((*name).to_owned()))
            }
            ["landlock", rules] => Ruleset::read(rules).map(Self::Landlock),
            ["run", policy] => Ok(Self::Run((*policy).to_owned())),
            ["selinux", context, label] => {
                sys::set_label(Path::new(ENTRY), label)
                    .map_err(|e| format!("no entry point: {e}"))?;
                match sys::in_child(|| start(context)) {
                    0 => Ok(Self::SeLinux((*context).to_owned())),
                    error => Err(format!("the entry point does not start: {error}")),
                }
            }
            _ => Err(format!("no layer `{}`", words.join(" "))),
        }
    }

    /// Makes an attempt in a new process.
    pub fn attempt(&self, kind: &str, path: &Path, ally: Option<&Path>) -> i32 {
        if let Self::Run(policy) = self {
            return run(policy, kind, path, ally);
        }
        sys::in_child(|| match self.enter(path, ally) {
            Ok(()) => attempt::attempt(kind, path, ally),
            Err(_) => sys::NOT_CONFINED,
        })
    }

    fn enter(&self, path: &Path, ally: Option<&Path>) -> Result<(), String> {
        match self {
            Self::None => Ok(()),
            Self::Broken | Self::Run(_) => Err("not made".into()),
            Self::AppArmor(name) => {
                let how = format!("changeprofile {name}");
                fs::write("/proc/self/attr/apparmor/current", how).map_err(|e| e.to_string())
            }
            Self::Landlock(ruleset) => ruleset.apply(path, ally).map_err(|e| e.to_string()),
            Self::SeLinux(context) => {
                // To start a program for each attempt would take ten times as long.
                fs::write("/proc/self/attr/current", context).map_err(|e| e.to_string())
            }
        }
    }
}

/// An attempt of the probe ends with this number plus the error number. polc and shells use the numbers below.
pub const ATTEMPT: i32 = 100;

/// Tells polc to start the probe for one attempt, if its layers keep the policy.
fn run(policy: &str, kind: &str, path: &Path, ally: Option<&Path>) -> i32 {
    let hex = |path: &Path| -> String {
        let bytes = path.as_os_str().as_bytes().iter();
        bytes.map(|b| format!("{b:02x}")).collect()
    };
    let mut polc = Command::new("/lab/polc");
    polc.args(["run", "-q", "--no-log", "--require", "safe", "-p", policy]);
    polc.args(["--", "/lab/probe", "attempt", kind, &hex(path)]);
    polc.args(ally.map(hex));
    let ended = polc.output().ok().and_then(|o| o.status.code());
    // 126 and 127 are error numbers that no attempt has.
    match ended {
        Some(code) if code >= ATTEMPT && !(126..=127).contains(&code) => code - ATTEMPT,
        _ => sys::NOT_CONFINED,
    }
}

/// Becomes the entry point in a domain, which reports by its status.
fn start(context: &str) -> i32 {
    match fs::write("/proc/self/attr/exec", context) {
        Ok(()) => sys::exec(Path::new(ENTRY), &["domain", context]),
        Err(_) => sys::NOT_CONFINED,
    }
}
