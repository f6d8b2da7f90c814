//! Debian's kernels: fetched with apt from its signed indexes, and unpacked. They are never installed.
//!
//! The lab has its own configuration of apt, so it neither depends on the machine's suite and package lists nor changes
//! them. It keeps each fetched package with the digest from the index, and checks that digest every time.

use crate::tool;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A kernel to boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kernel {
    /// Debian 12's kernel: Landlock ABI 2.
    V6_1,
    /// Debian 13's kernel: Landlock ABI 6.
    V6_12,
}

impl Kernel {
    /// The name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        }
    }

    fn suite(self) -> &'static str {
        match self {
            Self::V6_1 => "bookworm",
            Self::V6_12 => "trixie",
        }
    }

    /// The kernel's image. `None`: a line has said why there is none.
    pub fn image(self) -> Option<PathBuf> {
        let [get, cache, dpkg, sum] =
            ["apt-get", "apt-cache", "dpkg", "sha256sum"].map(tool::skip_or_fail);
        let tools = Tools {
            get: get?,
            cache: cache?,
            dpkg: dpkg?,
            sum: sum?,
        };
        let found = tools.image(self);
        found
            .map_err(|e| tool::skip(&format!("no kernel {}: {e}", self.name())))
            .ok()
    }
}

struct Tools {
    get: PathBuf,
    cache: PathBuf,
    dpkg: PathBuf,
    sum: PathBuf,
}

/// The host from which this machine gets Debian. It may be a mirror, but not the security archive.
fn mirror() -> String {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(folder) = std::fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(folder.flatten().map(|f| f.path()));
    }
    files.sort();
    let texts = files.iter().filter_map(|f| std::fs::read_to_string(f).ok());
    let all: Vec<String> = texts
        .flat_map(|t| t.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let one = all
        .iter()
        .find(|w| w.starts_with("http") && w.trim_end_matches('/').ends_with("/debian"));
    one.map_or("http://deb.debian.org/debian".into(), String::clone)
}

impl Tools {
    fn image(&self, kernel: Kernel) -> Result<PathBuf, String> {
        let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let home = base.join("kernel-lab").join(kernel.name());
        std::fs::create_dir_all(&home).map_err(|e| e.to_string())?;
        // Tests run at the same time, each in its own process.
        let lock = std::fs::File::create(home.join("lock")).map_err(|e| e.to_string())?;
        lock.lock().map_err(|e| e.to_string())?;
        if let Some(image) = self.kept(&home) {
            return Ok(image);
        }
        for old in ["image", "apt", "SHA256"] {
            let old = home.join(old);
            drop(std::fs::remove_dir_all(&old).or_else(|_| std::fs::remove_file(&old)));
        }
        self.fetch(kernel, &home)?;
        self.kept(&home)
            .ok_or_else(|| "what was fetched has not the digest of the index".into())
    }

    /// The image of the package on disk, if it is the package that the index named.
    fn kept(&self, home: &Path) -> Option<PathBuf> {
        let package = home.join("kernel.deb");
        let wanted = std::fs::read_to_string(home.join("SHA256")).ok()?;
        let said = tool::run(&self.sum, [&package]);
        if wanted.is_empty() || !said.ok() || !said.stdout.starts_with(wanted.as_bytes()) {
            return None;
        }
        // Unpacked every time, because the digest is the package's and not its contents'.
        let folder = home.join("image");
        drop(std::fs::remove_dir_all(&folder));
        if !tool::run(&self.dpkg, [Path::new("-x"), &package, &folder]).ok() {
            return None;
        }
        let boot = std::fs::read_dir(folder.join("boot")).ok()?;
        let image = boot.flatten().map(|f| f.path()).find(|f| {
            f.file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with("vmlinuz"))
        })?;
        let kept = home.join("vmlinuz");
        std::fs::copy(image, &kept).ok()?;
        drop(std::fs::remove_dir_all(&folder)); // the modules are large, and not needed
        Some(kept)
    }

    fn fetch(&self, kernel: Kernel, home: &Path) -> Result<(), String> {
        let apt = home.join("apt");
        for folder in [
            "lists/partial",
            "cache/archives/partial",
            "sources",
            "preferences",
        ] {
            std::fs::create_dir_all(apt.join(folder)).map_err(|e| e.to_string())?;
        }
        let mut configuration = String::new();
        for (key, value) in [
            ("Dir::Etc::sourcelist", "/dev/null".into()),
            (
                "Dir::Etc::sourceparts",
                apt.join("sources").display().to_string(),
            ),
            ("Dir::Etc::preferences", "/dev/null".into()),
            (
                "Dir::Etc::preferencesparts",
                apt.join("preferences").display().to_string(),
            ),
            ("Dir::State::lists", apt.join("lists").display().to_string()),
            (
                "Dir::State::status",
                apt.join("status").display().to_string(),
            ),
            ("Dir::Cache", apt.join("cache").display().to_string()),
            ("APT::Architecture", "amd64".into()),
            ("Acquire::Languages", "none".into()),
            ("APT::Sandbox::User", "".into()), // the folder is the builder's alone
        ] {
            writeln!(configuration, "{key} \"{value}\";").map_err(|e| e.to_string())?;
        }
        let source = format!(
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\nArchitectures: amd64\n\
             Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n",
            mirror(),
            kernel.suite()
        );
        for (file, text) in [
            ("apt.conf", &*configuration),
            ("status", ""),
            ("sources/debian.sources", &*source),
        ] {
            std::fs::write(apt.join(file), text).map_err(|e| e.to_string())?;
        }
        let run = |tool: &Path, arguments: &[&str]| {
            let mut command = Command::new(tool);
            command
                .env("APT_CONFIG", apt.join("apt.conf"))
                .current_dir(home)
                .args(arguments);
            let said = tool::run_with(&mut command, b"", Duration::from_secs(300));
            if said.ok() {
                Ok(String::from_utf8_lossy(&said.stdout).into_owned())
            } else {
                Err(said.words())
            }
        };
        run(
            &self.get,
            &["-q", "update", "-o", "APT::Update::Error-Mode=any"],
        )?;
        let meta = run(
            &self.cache,
            &["show", "--no-all-versions", "linux-image-cloud-amd64"],
        )?;
        let depends = field(&meta, "Depends").ok_or("the kernel's package is not in the index")?;
        let name = depends
            .split([' ', ','])
            .next()
            .unwrap_or_default()
            .to_owned();
        let digest = run(&self.cache, &["show", "--no-all-versions", &name])?;
        let digest = field(&digest, "SHA256")
            .ok_or("no digest in the index")?
            .to_owned();
        run(&self.get, &["-q", "download", &name])?;
        let here = std::fs::read_dir(home).map_err(|e| e.to_string())?;
        let package = here.flatten().map(|f| f.path()).find(|f| {
            f.file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with(&*name))
        });
        let package = package.ok_or("apt fetched nothing")?;
        std::fs::rename(package, home.join("kernel.deb")).map_err(|e| e.to_string())?;
        drop(std::fs::remove_dir_all(&apt));
        std::fs::write(home.join("SHA256"), digest).map_err(|e| e.to_string())
    }
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix(name)?.strip_prefix(": "));
    line.map(str::trim)
}
