//! The layers: a process enters one, and tries.

use crate::{attempt, landlock::Ruleset, sys};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

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
    /// A label, entered by starting this program.
    SeLinux {
        /// The label.
        context: String,
        /// The domain's entry point: a copy of the probe.
        program: String,
    },
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
            ["selinux", context, program] => Ok(Self::SeLinux {
                context: (*context).to_owned(),
                program: (*program).to_owned(),
            }),
            _ => Err(format!("no layer `{}`", words.join(" "))),
        }
    }

    /// Tries in a new process.
    pub fn attempt(&self, kind: &str, path: &Path) -> i32 {
        sys::in_child(|| match self.enter(kind, path) {
            Ok(()) => attempt::attempt(kind, path),
            Err(_) => sys::NOT_CONFINED,
        })
    }

    fn enter(&self, kind: &str, path: &Path) -> Result<(), String> {
        match self {
            Self::None => Ok(()),
            Self::Broken => Err("not made".into()),
            Self::AppArmor(name) => {
                let how = format!("changeprofile {name}");
                fs::write("/proc/self/attr/apparmor/current", how).map_err(|e| e.to_string())
            }
            Self::Landlock(ruleset) => ruleset.apply(path).map_err(|e| e.to_string()),
            Self::SeLinux { context, program } => {
                fs::write("/proc/self/attr/exec", context).map_err(|e| e.to_string())?;
                let hex: String = path
                    .as_os_str()
                    .as_bytes()
                    .iter()
                    .map(|b| format!("{b:02x}"))
                    .collect();
                sys::exec(Path::new(program), &["attempt", kind, &hex]);
                Err("the domain cannot be entered".into())
            }
        }
    }
}
