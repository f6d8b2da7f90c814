//! Every policy of the repository.

use polc::frontend::{LoadOptions, load_path};
use polc::policy::Policy;
use std::path::Path;

/// The policies that users start from, and those that are hard on purpose, by the path in the repository.
pub fn policies() -> Vec<(String, Policy)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut out = Vec::new();
    for folder in ["policies", "tests/policies"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "yaml") {
                let name = format!("{folder}/{}", path.file_name().unwrap().to_string_lossy());
                let loaded = load_path(&path, &LoadOptions::default());
                out.push((name, loaded.unwrap().policy));
            }
        }
    }
    out.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(out.len() > 20, "where are the policies?");
    out
}
