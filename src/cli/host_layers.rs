//! The layers that this host has.

use polc::backend::{self, Backend};

/// A layer to ask.
pub struct Layer {
    pub backend: &'static dyn Backend,
    /// Options that its artifact takes here: (name, value).
    pub options: Vec<(&'static str, String)>,
    /// What it is called, with its version where that matters.
    pub shown: String,
}

impl Layer {
    /// With the options that a target has without a host.
    pub fn plain(backend: &'static dyn Backend) -> Self {
        Self {
            backend,
            options: Vec::new(),
            shown: backend.id().to_owned(),
        }
    }
}

/// What the running kernel has, and an agent that runs.
pub fn of_this_host() -> Vec<Layer> {
    let has = |id: &str| match id {
        "landlock" => polc::enforce::landlock::kernel_abi().is_some(),
        "seccomp" => exists("/proc/sys/kernel/seccomp/actions_avail"),
        "apparmor" => is_yes("/sys/module/apparmor/parameters/enabled"),
        "selinux" => exists("/sys/fs/selinux/enforce"),
        "sbpl" => cfg!(target_os = "macos"),
        "tetragon" => exists("/var/run/tetragon/tetragon.sock"),
        _ => false,
    };
    let found = backend::all().iter().copied().filter(|b| has(b.id()));
    found.map(of_kernel).collect()
}

/// With what its artifact is made for on this kernel.
fn of_kernel(backend: &'static dyn Backend) -> Layer {
    let mut layer = Layer::plain(backend);
    if backend.id() == "landlock"
        && let Some(abi) = polc::enforce::landlock::kernel_abi()
    {
        let used = abi.min(polc::enforce::landlock::NEWEST_ABI);
        layer.options.push(("abi", used.to_string()));
        layer.shown = format!("landlock (ABI {used})");
    }
    layer
}

fn exists(path: &str) -> bool {
    std::path::Path::new(path).exists()
}

fn is_yes(path: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|t| t.trim() == "Y")
}
