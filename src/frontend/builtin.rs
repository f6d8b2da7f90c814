//! The policies and rule sets that come with polc: `policies/*.yaml` and `policies/rules/*.yaml`.
//!
//! They are compiled into the program. A test compares these lists with the folders.

/// A file that comes with polc.
#[derive(Debug, Clone, Copy)]
pub struct Builtin {
    /// The name in `builtin:NAME`.
    pub name: &'static str,
    /// The whole file.
    pub text: &'static str,
}

impl Builtin {
    /// The file's `description`, for lists.
    #[must_use]
    pub fn description(&self) -> String {
        #[derive(serde::Deserialize)]
        struct Head {
            description: String,
        }
        serde_saphyr::from_str::<Head>(self.text).map_or_else(|_| String::new(), |h| h.description)
    }
}

/// In alphabetical order.
static POLICIES: &[Builtin] = &[
    Builtin {
        name: "aider",
        text: include_str!("../../policies/aider.yaml"),
    },
    Builtin {
        name: "ci-agent",
        text: include_str!("../../policies/ci-agent.yaml"),
    },
    Builtin {
        name: "claude-code",
        text: include_str!("../../policies/claude-code.yaml"),
    },
    Builtin {
        name: "codex",
        text: include_str!("../../policies/codex.yaml"),
    },
    Builtin {
        name: "coding-agent",
        text: include_str!("../../policies/coding-agent.yaml"),
    },
    Builtin {
        name: "copilot-cli",
        text: include_str!("../../policies/copilot-cli.yaml"),
    },
    Builtin {
        name: "cursor-agent",
        text: include_str!("../../policies/cursor-agent.yaml"),
    },
    Builtin {
        name: "data-analyst",
        text: include_str!("../../policies/data-analyst.yaml"),
    },
    Builtin {
        name: "gemini-cli",
        text: include_str!("../../policies/gemini-cli.yaml"),
    },
    Builtin {
        name: "goose",
        text: include_str!("../../policies/goose.yaml"),
    },
    Builtin {
        name: "opencode",
        text: include_str!("../../policies/opencode.yaml"),
    },
    Builtin {
        name: "qwen-code",
        text: include_str!("../../policies/qwen-code.yaml"),
    },
    Builtin {
        name: "read-only-explorer",
        text: include_str!("../../policies/read-only-explorer.yaml"),
    },
    Builtin {
        name: "research-agent",
        text: include_str!("../../policies/research-agent.yaml"),
    },
];

/// In alphabetical order.
static RULE_SETS: &[Builtin] = &[
    Builtin {
        name: "ci-files",
        text: include_str!("../../policies/rules/ci-files.yaml"),
    },
    Builtin {
        name: "container-sockets",
        text: include_str!("../../policies/rules/container-sockets.yaml"),
    },
    Builtin {
        name: "credentials",
        text: include_str!("../../policies/rules/credentials.yaml"),
    },
    Builtin {
        name: "dangerous-syscalls",
        text: include_str!("../../policies/rules/dangerous-syscalls.yaml"),
    },
    Builtin {
        name: "editor-and-agent-config",
        text: include_str!("../../policies/rules/editor-and-agent-config.yaml"),
    },
    Builtin {
        name: "git-directories",
        text: include_str!("../../policies/rules/git-directories.yaml"),
    },
    Builtin {
        name: "git-hooks",
        text: include_str!("../../policies/rules/git-hooks.yaml"),
    },
    Builtin {
        name: "linux-runtime",
        text: include_str!("../../policies/rules/linux-runtime.yaml"),
    },
    Builtin {
        name: "macos-runtime",
        text: include_str!("../../policies/rules/macos-runtime.yaml"),
    },
    Builtin {
        name: "metadata-services",
        text: include_str!("../../policies/rules/metadata-services.yaml"),
    },
    Builtin {
        name: "private-networks",
        text: include_str!("../../policies/rules/private-networks.yaml"),
    },
    Builtin {
        name: "session-sockets",
        text: include_str!("../../policies/rules/session-sockets.yaml"),
    },
    Builtin {
        name: "startup-files",
        text: include_str!("../../policies/rules/startup-files.yaml"),
    },
    Builtin {
        name: "system-programs",
        text: include_str!("../../policies/rules/system-programs.yaml"),
    },
    Builtin {
        name: "toolchains",
        text: include_str!("../../policies/rules/toolchains.yaml"),
    },
];

/// The built-in policies, by name.
#[must_use]
pub fn policies() -> &'static [Builtin] {
    POLICIES
}

/// The built-in rule sets, by name.
#[must_use]
pub fn rule_sets() -> &'static [Builtin] {
    RULE_SETS
}

/// The programs of built-in policies, by the base name of the program.
const PROGRAMS: [(&str, &str); 9] = [
    ("aider", "aider"),
    ("claude", "claude-code"),
    ("codex", "codex"),
    ("copilot", "copilot-cli"),
    ("cursor-agent", "cursor-agent"),
    ("gemini", "gemini-cli"),
    ("goose", "goose"),
    ("opencode", "opencode"),
    ("qwen", "qwen-code"),
];

/// The built-in policy for a program, by the name or the path that starts the program.
#[must_use]
pub fn for_program(name: &str) -> Option<Builtin> {
    let base = name.rsplit('/').next().unwrap_or_default();
    let (_, policy) = PROGRAMS.iter().find(|(program, _)| *program == base)?;
    POLICIES.iter().find(|b| b.name == *policy).copied()
}

/// The built-in name that a wrong name probably meant: the policy for that program, a longer name, or one with nearly
/// the same spelling.
#[must_use]
pub fn near<'n>(name: &str, names: &[&'n str]) -> Option<&'n str> {
    let own = for_program(name).map(|b| b.name);
    let of_program = names.iter().find(|n| own == Some(**n));
    let longer = |n: &&&str| {
        let rest = n.strip_prefix(name).filter(|_| !name.is_empty());
        rest.is_some_and(|rest| rest.starts_with('-'))
    };
    let found = of_program.or_else(|| names.iter().find(longer));
    found
        .copied()
        .or_else(|| super::native::reader::nearest(name, names.iter().copied()))
}

/// The text of a built-in policy.
#[must_use]
pub fn policy(name: &str) -> Option<&'static str> {
    POLICIES.iter().find(|b| b.name == name).map(|b| b.text)
}

/// The text of a built-in rule set.
#[must_use]
pub fn rule_set(name: &str) -> Option<&'static str> {
    RULE_SETS.iter().find(|b| b.name == name).map(|b| b.text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::{LoadOptions, load_builtin};

    fn names(folder: &str) -> Vec<String> {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut out: Vec<String> = std::fs::read_dir(dir)
            .unwrap()
            .filter_map(|e| {
                e.unwrap()
                    .file_name()
                    .into_string()
                    .unwrap()
                    .strip_suffix(".yaml")
                    .map(str::to_owned)
            })
            .collect();
        out.sort();
        out
    }

    #[test]
    fn the_lists_are_what_the_folders_hold() {
        assert_eq!(
            names("policies"),
            POLICIES.iter().map(|b| b.name).collect::<Vec<_>>()
        );
        assert_eq!(
            names("policies/rules"),
            RULE_SETS.iter().map(|b| b.name).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_wrong_name_is_near_the_one_that_is_meant() {
        let names: Vec<&str> = POLICIES.iter().map(|b| b.name).collect();
        for (wrong, meant) in [
            ("claude", Some("claude-code")),
            ("gemini", Some("gemini-cli")),
            ("qwen", Some("qwen-code")),
            ("cursor", Some("cursor-agent")),
            ("coding-agnet", Some("coding-agent")),
            ("data", Some("data-analyst")),
            ("something-else", None),
            ("", None),
        ] {
            assert_eq!(near(wrong, &names), meant, "{wrong}");
        }
    }

    #[test]
    fn each_loads_under_its_own_name_and_says_what_it_is() {
        for b in POLICIES.iter().chain(RULE_SETS) {
            let loaded =
                load_builtin(b.name, &LoadOptions::default()).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(loaded.policy.name, b.name);
            assert!(loaded.warnings.items.is_empty(), "{}", loaded.warnings);
            assert!(!loaded.policy.tests.is_empty(), "{} has no tests", b.name);
            assert_eq!(
                Some(b.description()),
                loaded.policy.description,
                "{}",
                b.name
            );
        }
    }
}
