//! The parser of Debian 13 (4.1), unpacked with the C library that it was built for and started by that library's
//! own loader: this machine's may be older, and stays as it is.
//!
//! apt fetches the packages by Debian's signed index, with a configuration of its own.

use crate::tool;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const PACKAGES: [&str; 4] = ["apparmor", "libc6", "libstdc++6", "libgcc-s1"];

/// The parser, or `None` after a line that says why not.
pub fn parser() -> Option<PathBuf> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        tool::skip("the later apparmor_parser is fetched for x86_64 only");
        return None;
    }
    let [get, dpkg] = ["apt-get", "dpkg"].map(tool::skip_or_fail);
    let (get, dpkg) = (get?, dpkg?);
    let found = unpacked(&get, &dpkg);
    found
        .map_err(|e| tool::skip(&format!("no apparmor_parser of Debian 13: {e}")))
        .ok()
}

fn unpacked(get: &Path, dpkg: &Path) -> Result<PathBuf, String> {
    let words = |e: std::io::Error| e.to_string();
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("apparmor-later");
    std::fs::create_dir_all(&home).map_err(words)?;
    // Tests run at the same time, each in its own process.
    let lock = std::fs::File::create(home.join("lock")).map_err(words)?;
    lock.lock().map_err(words)?;
    let parser = home.join("parser");
    if parser.is_file() {
        return Ok(parser);
    }
    let (apt, root) = (home.join("apt"), home.join("root"));
    for old in [&apt, &root] {
        drop(std::fs::remove_dir_all(old));
    }
    for folder in ["lists/partial", "cache/archives/partial", "sources", "none"] {
        std::fs::create_dir_all(apt.join(folder)).map_err(words)?;
    }
    let at = |name: &str| apt.join(name).display().to_string();
    let configuration: String = [
        ("Dir::Etc::sourcelist", "/dev/null".to_owned()),
        ("Dir::Etc::sourceparts", at("sources")),
        ("Dir::Etc::preferences", "/dev/null".to_owned()),
        ("Dir::Etc::preferencesparts", at("none")),
        ("Dir::State::lists", at("lists")),
        ("Dir::State::status", at("status")),
        ("Dir::Cache", at("cache")),
        ("APT::Architecture", "amd64".to_owned()),
        ("Acquire::Languages", "none".to_owned()),
        ("APT::Sandbox::User", String::new()),
    ]
    .iter()
    .map(|(key, value)| format!("{key} \"{value}\";\n"))
    .collect();
    let source = "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: trixie\nComponents: main\n\
                  Architectures: amd64\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n";
    for (file, text) in [
        ("apt.conf", &*configuration),
        ("status", ""),
        ("sources/debian.sources", source),
    ] {
        std::fs::write(apt.join(file), text).map_err(words)?;
    }
    let run = |arguments: &[&str]| {
        let mut command = Command::new(get);
        command
            .env("APT_CONFIG", apt.join("apt.conf"))
            .current_dir(&apt)
            .args(arguments);
        let said = tool::run_with(&mut command, b"", Duration::from_secs(300));
        said.ok().then_some(()).ok_or_else(|| said.words())
    };
    run(&["-q", "update", "-o", "APT::Update::Error-Mode=any"])?;
    run(&[&["-q", "download"], &PACKAGES[..]].concat())?;
    for entry in std::fs::read_dir(&apt).map_err(words)? {
        let file = entry.map_err(words)?.path();
        if file.extension().is_some_and(|e| e == "deb") {
            let said = tool::run(dpkg, [Path::new("-x"), &file, &root]);
            said.ok().then_some(()).ok_or_else(|| said.words())?;
        }
    }
    drop(std::fs::remove_dir_all(&apt));
    let root = root.display().to_string();
    assert!(!root.contains(['\'', ':']), "{root}");
    let script = format!(
        "#!/bin/sh\nexec '{root}/usr/lib64/ld-linux-x86-64.so.2' --library-path '{root}/usr/lib/x86_64-linux-gnu' \
         '{root}/usr/sbin/apparmor_parser' --base '{root}/etc/apparmor.d' \"$@\"\n"
    );
    // Complete at once, as its being there says that everything is.
    let new = home.join("parser.new");
    std::fs::write(&new, script).map_err(words)?;
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).map_err(words)?;
    std::fs::rename(&new, &parser).map_err(words)?;
    Ok(parser)
}

#[test]
fn it_is_a_later_one_and_knows_its_abi() {
    let Some(parser) = parser() else { return };
    let said = tool::run(&parser, ["--version"]);
    assert!(said.ok(), "{}", said.words());
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(text.starts_with("AppArmor parser version 4."), "{text}");
    let own = "abi <abi/4.0>,\nprofile t { userns, }\n";
    assert!(
        !super::compile_text(&parser, own.as_bytes())
            .unwrap()
            .is_empty()
    );
    let wrong = "abi <abi/4.0>,\nprofile t { nothing of the kind, }\n";
    assert!(super::compile_text(&parser, wrong.as_bytes()).is_err());
}
