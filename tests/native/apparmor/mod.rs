//! AppArmor: the parser compiles the profile, and the automaton that it made is asked.

pub mod blob;
pub mod later;
pub mod meaning;
mod own;
mod reading;

use crate::tool;
use blob::{FilePerms, Profile};
use std::path::{Path, PathBuf};

/// Where Debian's parser finds the features that a profile's `abi` rule names.
const ABIS: &str = "/etc/apparmor.d/abi";

/// The compiler, or `None` after a line that says so.
pub fn parser() -> Option<PathBuf> {
    tool::skip_or_fail("apparmor_parser")
}

/// The `abi` that a profile pins (`3.0` of `abi <abi/3.0>,`).
pub fn abi_of(profile: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(profile);
    let line = text.lines().find(|l| l.trim_start().starts_with("abi "))?;
    let (_, rest) = line.split_once("<abi/")?;
    Some(rest.split_once('>')?.0.to_owned())
}

/// Compiles a profile to the bytes that the kernel would load, for the kernel features that the
/// profile pins; not for this machine's, which has perhaps none.
pub fn compile(parser: &Path, profile: &Path) -> Result<Vec<u8>, String> {
    let text = std::fs::read(profile).map_err(|e| format!("{}: {e}", profile.display()))?;
    let abi = abi_of(&text).unwrap_or_else(|| "3.0".into());
    // The features of an abi are a file; a parser that was fetched brings its own.
    let own = parser.with_file_name("root/etc/apparmor.d/abi").join(&abi);
    let features = if own.exists() {
        own
    } else {
        Path::new(ABIS).join(&abi)
    };
    if !features.exists() {
        return Err(format!("this machine has no abi/{abi}"));
    }
    let said = tool::run(
        parser,
        ["-Q", "-K", "-S", "-M"]
            .map(AsRef::as_ref)
            .into_iter()
            .chain([features.as_os_str(), profile.as_os_str()]),
    );
    if !said.ok() || said.stdout.is_empty() {
        return Err(format!("{}: {}", profile.display(), said.words()));
    }
    // A rule that the features cannot hold is dropped with a warning; polc's profiles have none.
    if !said.stderr.is_empty() {
        return Err(format!(
            "{}: a warning: {}",
            profile.display(),
            said.words()
        ));
    }
    Ok(said.stdout)
}

/// Compiles profile text.
pub fn compile_text(parser: &Path, text: &[u8]) -> Result<Vec<u8>, String> {
    let dir = tool::folder("apparmor");
    let file = dir.path().join("profile");
    std::fs::write(&file, text).map_err(|e| e.to_string())?;
    compile(parser, &file)
}

/// The profile of this name in a blob.
pub fn profile(blob: &[u8], name: &str) -> Result<Profile, String> {
    let mut all = blob::read(blob)?;
    let names: Vec<_> = all
        .iter()
        .map(|p| String::from_utf8_lossy(&p.name).into_owned())
        .collect();
    let at = names.iter().position(|n| n == name);
    let at = at.ok_or_else(|| format!("no profile `{name}` among {names:?}"))?;
    Ok(all.swap_remove(at))
}

/// What a compiled profile grants on a path.
pub fn permissions(blob: &[u8], name: &str, path: &[u8]) -> Result<FilePerms, String> {
    Ok(profile(blob, name)?.permissions(path))
}
