//! Artifacts as input: their target, and their meaning.

use super::{Stop, targets::TargetOptions};
use anyhow::Context;
use polc::backend::{self, Artifact, Backend, Evaluate};
use polc::policy::Policy;
use std::path::Path;

/// The largest artifact that polc reads, in bytes.
const MAX_ARTIFACT: u64 = 256 * 1024 * 1024;

/// Reads a file as an artifact.
pub fn read(path: &Path) -> Result<Artifact, Stop> {
    let size = std::fs::metadata(path)
        .with_context(|| format!("cannot read `{}`", path.display()))?
        .len();
    if size > MAX_ARTIFACT {
        return Err(Stop::Usage(format!(
            "`{}` is too large to be an artifact",
            path.display()
        )));
    }
    let bytes = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let name = path.file_name().unwrap_or(path.as_os_str());
    Ok(Artifact {
        file_name: name.to_string_lossy().into_owned(),
        bytes,
    })
}

/// The back-end of an artifact.
pub fn backend_of(artifact: &Artifact) -> Option<&'static dyn Backend> {
    backend::all()
        .iter()
        .copied()
        .find(|b| b.recognises(artifact))
}

/// The meaning of artifacts of one target. If the policy is known, it says which paths are files
/// ([`backend::Compiled::files`]).
pub fn meant(
    backend: &'static dyn Backend,
    artifacts: &[Artifact],
    options: &TargetOptions,
    known: Option<(&Policy, &[Vec<u8>])>,
) -> Result<Box<dyn Evaluate>, Stop> {
    let nobody = Policy::of_rules("artifact", polc::policy::Action::Deny, Vec::new());
    let mut read = options.of(backend, known.map_or(&nobody, |k| k.0));
    read.files = known.map_or_else(Vec::new, |k| k.1.to_vec());
    Ok(backend.read_back(artifacts, &read)?)
}
