//! The policies of the repository.

use polc::frontend::{LoadOptions, load_path};
use polc::policy::Policy;
use std::path::{Path, PathBuf};

/// All of them, with the names of their files.
pub fn all() -> Vec<(String, Policy)> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["policies", "tests/policies"] {
        for file in std::fs::read_dir(top.join(folder)).unwrap() {
            let file = file.unwrap().path();
            if file.extension().is_some_and(|e| e == "yaml") {
                files.push(file);
            }
        }
    }
    files.sort();
    assert!(files.len() >= 13, "the policies are gone");
    let load = |file: &PathBuf| {
        let loaded = load_path(file, &LoadOptions::default());
        let loaded = loaded.unwrap_or_else(|e| panic!("{}: {:?}", file.display(), e.items));
        (
            file.file_stem().unwrap().to_string_lossy().into_owned(),
            loaded.policy,
        )
    };
    files.iter().map(load).collect()
}
