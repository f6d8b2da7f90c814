//! A ruleset as data, and as landlockconfig's JSON.

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::fidelity::show_bytes;
use crate::policy::{Policy, Rule};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A file system right, by landlockconfig's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessFs {
    /// ABI 1.
    Execute,
    /// ABI 1.
    WriteFile,
    /// ABI 1.
    ReadFile,
    /// ABI 1.
    ReadDir,
    /// ABI 1.
    RemoveDir,
    /// ABI 1.
    RemoveFile,
    /// ABI 1.
    MakeChar,
    /// ABI 1.
    MakeDir,
    /// ABI 1.
    MakeReg,
    /// ABI 1.
    MakeSock,
    /// ABI 1.
    MakeFifo,
    /// ABI 1.
    MakeBlock,
    /// ABI 1.
    MakeSym,
    /// ABI 2.
    Refer,
    /// ABI 3.
    Truncate,
}

impl AccessFs {
    /// The rights of `create`.
    pub const MAKE: [Self; 7] = [
        Self::MakeChar,
        Self::MakeDir,
        Self::MakeReg,
        Self::MakeSock,
        Self::MakeFifo,
        Self::MakeBlock,
        Self::MakeSym,
    ];
    /// The rights of `delete`.
    pub const REMOVE: [Self; 2] = [Self::RemoveDir, Self::RemoveFile];

    /// The first ABI that has it.
    #[must_use]
    pub fn since(self) -> u32 {
        match self {
            Self::Refer => 2,
            Self::Truncate => 3,
            _ => 1,
        }
    }

    /// Whether it may be granted on a file.
    #[must_use]
    pub fn on_files(self) -> bool {
        matches!(
            self,
            Self::Execute | Self::WriteFile | Self::ReadFile | Self::Truncate
        )
    }

    /// The name in landlockconfig.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Execute => "execute",
            Self::WriteFile => "write_file",
            Self::ReadFile => "read_file",
            Self::ReadDir => "read_dir",
            Self::RemoveDir => "remove_dir",
            Self::RemoveFile => "remove_file",
            Self::MakeChar => "make_char",
            Self::MakeDir => "make_dir",
            Self::MakeReg => "make_reg",
            Self::MakeSock => "make_sock",
            Self::MakeFifo => "make_fifo",
            Self::MakeBlock => "make_block",
            Self::MakeSym => "make_sym",
            Self::Refer => "refer",
            Self::Truncate => "truncate",
        }
    }
}

/// A network right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessNet {
    /// ABI 4.
    BindTcp,
    /// ABI 4.
    ConnectTcp,
}

impl AccessNet {
    /// The name in landlockconfig.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BindTcp => "bind_tcp",
            Self::ConnectTcp => "connect_tcp",
        }
    }
}

/// A scope: what may not leave the domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// ABI 6.
    AbstractUnixSocket,
    /// ABI 6.
    Signal,
}

/// Rights on one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathBeneath {
    /// The path.
    pub parent: Vec<u8>,
    /// The rights.
    pub allowed: BTreeSet<AccessFs>,
    /// Whether the path counts as a file: it has file rights only.
    pub file: bool,
}

/// Rights on ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetPort {
    /// The right.
    pub access: AccessNet,
    /// Ascending.
    pub ports: Vec<u16>,
}

/// A ruleset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    /// The ABI that it is for.
    pub abi: u32,
    /// What is restricted.
    pub handled_fs: BTreeSet<AccessFs>,
    /// What is restricted.
    pub handled_net: BTreeSet<AccessNet>,
    /// What may not leave the domain.
    pub scoped: BTreeSet<Scope>,
    /// By path.
    pub paths: Vec<PathBeneath>,
    /// By right.
    pub ports: Vec<NetPort>,
}

/// The JSON of landlockconfig. Paths with the same rights share an entry.
///
/// # Errors
/// A path is not UTF-8, or landlockconfig would expand it.
pub fn render(ruleset: &Ruleset, policy: &Policy) -> Result<String, Diagnostics> {
    let mut refused = Diagnostics {
        items: Vec::new(),
        sources: policy.sources.clone(),
    };
    let mut refuse = |path: &[u8], why: &str| {
        // The rule that names the path. A sibling that was found on the host has none.
        let names = |r: &&Rule| r.sequences().iter().any(|s| s.literal_prefix() == path);
        let span = policy
            .rules
            .iter()
            .find(names)
            .map_or(policy.default_span, |r| r.span);
        refused.items.push(
            Diagnostic::error("E110", format!("`{}` {why}", show_bytes(path)))
                .at(span, "granted by this rule")
                .help("leave the target `landlock` out, or name a directory above it; `polc enforce landlock` takes every name"),
        );
    };
    let mut groups: BTreeMap<&BTreeSet<AccessFs>, Vec<&str>> = BTreeMap::new();
    for p in &ruleset.paths {
        match std::str::from_utf8(&p.parent) {
            Err(_) => refuse(
                &p.parent,
                "is not UTF-8, and landlockconfig takes only text",
            ),
            Ok(t) if t.contains("${") => refuse(
                &p.parent,
                "contains `${`, which landlockconfig expands as a variable",
            ),
            Ok(t) => groups.entry(&p.allowed).or_default().push(t),
        }
    }
    if !refused.items.is_empty() {
        return Err(refused);
    }
    let mut root = Map::new();
    root.insert("abi".to_owned(), json!(ruleset.abi));
    let mut handled = Map::new();
    let names = |set: &BTreeSet<AccessFs>| set.iter().map(|a| a.name()).collect::<Vec<_>>();
    if !ruleset.handled_fs.is_empty() {
        handled.insert(
            "handledAccessFs".to_owned(),
            json!(names(&ruleset.handled_fs)),
        );
    }
    if !ruleset.handled_net.is_empty() {
        handled.insert("handledAccessNet".to_owned(), json!(ruleset.handled_net));
    }
    if !ruleset.scoped.is_empty() {
        handled.insert("scoped".to_owned(), json!(ruleset.scoped));
    }
    if handled.is_empty() {
        let d = Diagnostic::error(
            "E114",
            "the policy restricts nothing that this version of Landlock knows",
        )
        .at(policy.default_span, "")
        .help("leave the target `landlock` out, or choose a newer `--abi`");
        return Err(Diagnostics {
            items: vec![d],
            sources: policy.sources.clone(),
        });
    }
    root.insert("ruleset".to_owned(), json!([handled]));
    if !groups.is_empty() {
        let list: Vec<Value> = groups
            .iter()
            .map(|(allowed, parents)| json!({"allowedAccess": names(allowed), "parent": parents}))
            .collect();
        root.insert("pathBeneath".to_owned(), Value::Array(list));
    }
    let ports: Vec<Value> = ruleset
        .ports
        .iter()
        .filter(|p| !p.ports.is_empty())
        .map(|p| json!({"allowedAccess": [p.access], "port": p.ports}))
        .collect();
    if !ports.is_empty() {
        root.insert("netPort".to_owned(), Value::Array(ports));
    }
    serde_json::to_string_pretty(&Value::Object(root))
        .map(|t| t + "\n")
        .map_err(|e| {
            Diagnostic::error(
                "E112",
                format!("the ruleset cannot be written as JSON: {e}"),
            )
            .into()
        })
}
