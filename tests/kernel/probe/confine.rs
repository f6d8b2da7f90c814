//! The layers: a process enters one, and tries.

use crate::{attempt, landlock::Ruleset, sys};
use std::fs;
use std::io;
use std::path::Path;

/// The entry point of the domain at hand: a copy of the probe. It is made once and labelled anew for each policy, as
/// QEMU 7.2 goes round in circles where the pages of a program that has run are freed and cleared for a new copy:
/// the machine sees itself locked up in `clear_page`.
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

/// What a process is put under.
pub enum Confinement {
    /// Nothing.
    None,
    /// It could not be made: nothing is tried.
    Broken,
    /// A loaded profile of this name.
    AppArmor(String),
    /// A ruleset.
    Landlock(Ruleset),
    /// A label, which a process takes on; that it gets it by starting the entry point, too, is tried once.
    SeLinux(String),
}

impl Confinement {
    /// From the words of a plan; loads what is to be loaded.
    pub fn new(words: &[&str]) -> Result<Self, String> {
        match words {
            ["apparmor", name, blob] => {
                let blob = fs::read(blob).map_err(|e| format!("{blob}: {e}"))?;
                // One write: the kernel takes the profile as a whole.
                fs::write("/sys/kernel/security/apparmor/.replace", blob)
                    .map_err(|e| format!("the profile does not load: {e}"))?;
                Ok(Self::AppArmor((*name).to_owned()))
            }
            ["landlock", rules] => Ruleset::read(rules).map(Self::Landlock),
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

    /// Tries in a new process.
    pub fn attempt(&self, kind: &str, path: &Path) -> i32 {
        sys::in_child(|| match self.enter(path) {
            Ok(()) => attempt::attempt(kind, path),
            Err(_) => sys::NOT_CONFINED,
        })
    }

    fn enter(&self, path: &Path) -> Result<(), String> {
        match self {
            Self::None => Ok(()),
            Self::Broken => Err("not made".into()),
            Self::AppArmor(name) => {
                let how = format!("changeprofile {name}");
                fs::write("/proc/self/attr/apparmor/current", how).map_err(|e| e.to_string())
            }
            Self::Landlock(ruleset) => ruleset.apply(path).map_err(|e| e.to_string()),
            Self::SeLinux(context) => {
                // Starting a program for each attempt would take the machine ten times as long.
                fs::write("/proc/self/attr/current", context).map_err(|e| e.to_string())
            }
        }
    }
}

/// Becomes the entry point in a domain, which says so by its status.
fn start(context: &str) -> i32 {
    match fs::write("/proc/self/attr/exec", context) {
        Ok(()) => sys::exec(Path::new(ENTRY), &["domain", context]),
        Err(_) => sys::NOT_CONFINED,
    }
}
