//! Who is confined.

use super::PathPattern;

/// The confined program and its places. All paths are absolute and resolved, as bytes.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// The program: AppArmor's attachment, SELinux's entry point, Tetragon's `matchBinaries`.
    pub executable: Option<PathPattern>,
    /// `~` and `${home}`.
    pub home: Option<Vec<u8>>,
    /// `${workspace}`.
    pub workspace: Option<Vec<u8>>,
    /// `${tmp}`.
    pub tmp: Option<Vec<u8>>,
    /// The pods, for targets of a cluster.
    pub kubernetes: Option<Kubernetes>,
}

/// A selection of pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kubernetes {
    /// The namespace.
    pub namespace: Option<String>,
    /// Labels that a pod must have, sorted by key.
    pub labels: Vec<(String, String)>,
}
