//! Who is confined.

use super::PathPattern;

/// The confined program and its paths. All paths are absolute and resolved, as bytes.
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
    /// `${git_dir}` and the other git variables.
    pub git: GitPaths,
    /// The pods, for targets of a cluster.
    pub kubernetes: Option<Kubernetes>,
    /// The paths that the policy leaves open (`auto`), by the variable's name.
    pub assumed: Vec<&'static str>,
}

/// The paths of the workspace's repository. An empty list means that there is no repository. Then a pattern with that
/// variable matches nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GitPaths {
    /// `${git_dir}`: the directory of this checkout. At most one.
    pub dir: Vec<Vec<u8>>,
    /// `${git_common_dir}`: the directory that the checkouts of a repository share. At most one.
    pub common_dir: Vec<Vec<u8>>,
    /// `${git_hooks}`: directories of hooks, and the targets of links in them.
    pub hooks: GitFiles,
    /// `${git_config}`: files that configurations include.
    pub config: GitFiles,
}

/// Files that a configuration names. The author of a repository also wrote its configuration. So a rule that allows is
/// only about the names in the user's own configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GitFiles {
    /// The names from git itself or from the user's configuration: for rules that allow.
    pub trusted: Vec<Vec<u8>>,
    /// Those, and the names from the repository's configuration: for all other rules.
    pub all: Vec<Vec<u8>>,
}

impl GitFiles {
    /// One path.
    #[must_use]
    pub fn of(path: Vec<u8>) -> Self {
        Self {
            trusted: vec![path.clone()],
            all: vec![path],
        }
    }
}

impl GitPaths {
    /// The paths of a plain repository, the same on every host.
    #[must_use]
    pub fn plain(workspace: &[u8]) -> Self {
        let dir = if workspace == b"/" {
            b"/.git".to_vec()
        } else {
            [workspace, b"/.git"].concat()
        };
        Self {
            hooks: GitFiles::of([dir.as_slice(), b"/hooks"].concat()),
            config: GitFiles::default(),
            common_dir: vec![dir.clone()],
            dir: vec![dir],
        }
    }
}

/// A selection of pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kubernetes {
    /// The namespace.
    pub namespace: Option<String>,
    /// Labels that a pod must have, sorted by key.
    pub labels: Vec<(String, String)>,
}
