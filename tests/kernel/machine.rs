//! The machine: QEMU boots an initramfs with the probe as its first process, without hardware help.

use crate::kernels::Kernel;
use crate::tool;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The processor that QEMU shows. Without `cmpxchg16b`, because QEMU 7.2 interprets it wrongly: 6.12's allocator
/// sometimes panics.
const PROCESSOR: &str = "Nehalem,-cx16";

/// The longest time for a boot with all its rows. QEMU interprets every instruction.
const PATIENCE: Duration = Duration::from_secs(600);

/// The probe, built without cargo: a static program, because the machine has nothing else.
pub fn probe() -> Option<PathBuf> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        tool::skip("the lab's kernels and its probe are for Linux on x86-64");
        return None;
    }
    let rustc = std::env::var_os("RUSTC")
        .map(PathBuf::from)
        .or_else(|| tool::find("rustc"));
    let Some(rustc) = rustc else {
        tool::skip("no rustc for the probe");
        return None;
    };
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernel/probe");
    let out = tool::folder("probe");
    let program = out.path().join("probe");
    tool::build_static(&rustc, "probe", &top.join("main.rs"), &program);
    drop(out.keep());
    Some(program)
}

/// The files of a machine: each has a name without a leading `/`, and contents.
#[derive(Default)]
pub struct Image {
    archive: Vec<u8>,
}

impl Image {
    /// The files with the probe, and the folders that it mounts on.
    pub fn new(probe: &Path) -> Self {
        let mut image = Self::default();
        for name in ["proc", "sys", "dev", "lab"] {
            image.entry(name, 0o40755, (0, 0), b"");
        }
        image.entry("dev/console", 0o20600, (5, 1), b"");
        image.entry("dev/null", 0o20666, (1, 3), b"");
        image.entry("init", 0o100_755, (0, 0), &std::fs::read(probe).unwrap());
        image
    }

    /// Adds a folder. It must come before its contents.
    pub fn folder(&mut self, name: &str) {
        self.entry(name, 0o40755, (0, 0), b"");
    }

    /// Adds a file.
    pub fn file(&mut self, name: &str, contents: &[u8]) {
        self.entry(name, 0o100_755, (0, 0), contents);
    }

    /// One entry in cpio's `newc` format, which the kernel unpacks.
    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), contents: &[u8]) {
        let inode = self.archive.len() as u32;
        let size = u32::try_from(contents.len()).unwrap();
        let length = name.len() as u32 + 1;
        let fields = [
            inode, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, length, 0,
        ];
        self.archive.extend_from_slice(b"070701");
        for field in fields {
            self.archive
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.archive.extend_from_slice(name.as_bytes());
        self.archive.push(0);
        self.pad();
        self.archive.extend_from_slice(contents);
        self.pad();
    }

    fn pad(&mut self) {
        while !self.archive.len().is_multiple_of(4) {
            self.archive.push(0);
        }
    }

    /// Boots it with these security modules, and returns what the probe wrote.
    pub fn boot(mut self, kernel: Kernel, parameters: &str) -> Option<String> {
        let qemu = tool::skip_or_fail("qemu-system-x86_64")?;
        let image = kernel.image()?;
        self.entry("TRAILER!!!", 0, (0, 0), b"");
        let folder = tool::folder("machine");
        let archive = folder.path().join("initramfs");
        std::fs::write(&archive, &self.archive).unwrap();
        let console = folder.path().join("console");
        let mut command = Command::new(qemu);
        command.args([
            "-accel",
            "tcg",
            "-cpu",
            PROCESSOR,
            "-m",
            "1024",
            "-no-reboot",
            "-nodefaults",
        ]);
        command
            .args(["-display", "none", "-serial"])
            .arg(format!("file:{}", console.display()));
        command
            .arg("-kernel")
            .arg(image)
            .arg("-initrd")
            .arg(&archive);
        let always = "console=ttyS0 quiet loglevel=1 panic=-1 audit=0 mitigations=off";
        command.arg("-append").arg(format!("{always} {parameters}"));
        let said = tool::run_with(&mut command, b"", PATIENCE);
        let text = std::fs::read(&console).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).replace('\r', "");
        let done = text.lines().any(|l| l == "@done");
        let tail: Vec<&str> = text.lines().rev().take(20).collect();
        assert!(
            said.ok() && done,
            "the machine did not finish: {}\nits last words, latest first:\n{}",
            said.words(),
            tail.join("\n")
        );
        Some(text)
    }
}
