//! The agents: the program to start, its variables, and the directories of its state.

use super::place::Place;
use std::path::{Path, PathBuf};

/// A coding agent from npm.
#[derive(Debug)]
pub struct Agent {
    /// Its name, which is also the name of its built-in policy.
    pub policy: &'static str,
    /// Its program, beneath `node_modules`.
    program: &'static str,
    /// Whether node runs the program.
    node: bool,
    /// Whether `scripts/test` installs it without `--all-agents`.
    pub always: bool,
    /// What it has made in the home directory after its first run.
    pub state: &'static str,
    /// One of its own settings files in the home directory, which must not change.
    pub settings: &'static str,
    /// A settings file of another agent.
    pub others: &'static str,
    /// Variables. `@U` stands for the model's address, `@W` for the workspace.
    variables: &'static [(&'static str, &'static str)],
    /// Arguments, with the same placeholders.
    arguments: &'static [&'static str],
}

/// The scripted model as a provider of opencode.
const OPENCODE: &str = r#"{"model":"polc/polc-test","permission":{"*":"allow","external_directory":"allow"},"provider":{"polc":{"npm":"@ai-sdk/openai-compatible","name":"polc","options":{"baseURL":"@U/v1","apiKey":"x"},"models":{"polc-test":{"name":"polc-test"}}}}}"#;

/// The same for Codex.
const CODEX: &str = r#"model_providers.polc={name="polc",base_url="@U/v1",env_key="OPENAI_API_KEY",wire_api="responses"}"#;

pub static AGENTS: [Agent; 6] = [
    Agent {
        policy: "claude-code",
        program: "@anthropic-ai/claude-code-linux-@A/claude",
        node: false,
        always: true,
        state: ".claude/projects",
        settings: ".claude/settings.json",
        others: ".codex/config.toml",
        variables: &[
            ("ANTHROPIC_API_KEY", "sk-test"),
            ("ANTHROPIC_BASE_URL", "@U"),
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
            // As root, Claude Code takes the switch below only if this says that it is confined.
            ("IS_SANDBOX", "1"),
        ],
        // The agent asks no questions, so every refusal comes from polc.
        arguments: &["-p", "hello", "--dangerously-skip-permissions"],
    },
    Agent {
        policy: "codex",
        program: "@openai/codex/bin/codex.js",
        node: true,
        always: true,
        state: ".codex/sessions",
        settings: ".codex/config.toml",
        others: ".claude/settings.json",
        variables: &[("OPENAI_API_KEY", "sk-test")],
        arguments: &[
            "exec",
            "-c",
            "model_provider=polc",
            "-c",
            CODEX,
            "-m",
            "gpt-5",
            "--sandbox",
            "danger-full-access",
            "hello",
        ],
    },
    Agent {
        policy: "gemini-cli",
        program: "@google/gemini-cli/bundle/gemini.js",
        node: true,
        always: true,
        state: ".gemini/tmp",
        settings: ".gemini/settings.json",
        others: ".claude/settings.json",
        variables: &[
            ("GEMINI_API_KEY", "test"),
            ("GOOGLE_GEMINI_BASE_URL", "@U"),
            ("GEMINI_CLI_TRUST_WORKSPACE", "true"),
        ],
        arguments: &["--yolo", "-m", "gemini-2.5-pro", "-p", "hello"],
    },
    Agent {
        policy: "qwen-code",
        program: "@qwen-code/qwen-code/cli.js",
        node: true,
        always: false,
        state: ".qwen/projects",
        settings: ".qwen/settings.json",
        others: ".gemini/settings.json",
        variables: &[
            ("OPENAI_API_KEY", "sk-test"),
            ("OPENAI_BASE_URL", "@U/v1"),
            ("OPENAI_MODEL", "polc-test"),
        ],
        arguments: &["--yolo", "--auth-type", "openai", "-p", "hello"],
    },
    Agent {
        policy: "opencode",
        program: "opencode-linux-@A/bin/opencode",
        node: false,
        always: false,
        state: ".local/share/opencode/opencode.db",
        settings: ".config/opencode/opencode.json",
        others: ".claude/settings.json",
        variables: &[("OPENCODE_CONFIG_CONTENT", OPENCODE)],
        arguments: &["run", "hello"],
    },
    Agent {
        policy: "copilot-cli",
        program: "@github/copilot-linux-@A/copilot",
        node: false,
        always: false,
        state: ".copilot/session-state",
        settings: ".copilot/settings.json",
        others: ".claude/settings.json",
        variables: &[
            ("COPILOT_PROVIDER_BASE_URL", "@U/v1"),
            ("COPILOT_PROVIDER_API_KEY", "sk-test"),
            ("COPILOT_PROVIDER_TYPE", "openai"),
            ("COPILOT_MODEL", "polc-test"),
            ("COPILOT_OFFLINE", "true"),
        ],
        arguments: &["-p", "hello", "--allow-all-tools", "--allow-all-paths"],
    },
];

/// The directory in which `scripts/test` installs them: `POLC_AGENTS_DIR`, or one beside cargo's build.
pub fn folder() -> PathBuf {
    std::env::var_os("POLC_AGENTS_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/agents"),
        PathBuf::from,
    )
}

impl Agent {
    /// The agent of a policy.
    pub fn of(policy: &str) -> &'static Self {
        AGENTS.iter().find(|a| a.policy == policy).unwrap()
    }

    fn file(&self) -> PathBuf {
        let machine = if cfg!(target_arch = "aarch64") {
            "arm64"
        } else {
            "x64"
        };
        folder()
            .join("node_modules")
            .join(self.program.replace("@A", machine))
    }

    /// Whether the agent and its requirements are installed. If not, a line says what is missing.
    pub fn is_there(&self) -> bool {
        let missing = if !self.file().is_file() {
            format!(
                "{} is not installed in {}: scripts/test installs it",
                self.policy,
                folder().display()
            )
        } else if let Some(tool) = ["node", "npm", "git", "python3", "setpriv"]
            .into_iter()
            .find(|t| !on_path(t))
        {
            format!("there is no `{tool}`")
        } else {
            return true;
        };
        let in_ci = std::env::var_os("CI").is_some_and(|v| v == "true");
        assert!(
            !(in_ci && self.always),
            "in CI nothing is skipped: {missing}"
        );
        eprintln!("skipped: {missing}");
        false
    }

    /// The program and its arguments.
    pub fn words(&self, place: &Place, model: &str) -> Vec<String> {
        let mut words = self.program_words();
        words.extend(self.arguments.iter().map(|a| place.filled(a, model)));
        words
    }

    /// The program alone.
    pub fn program_words(&self) -> Vec<String> {
        let file = self.file().display().to_string();
        if self.node {
            vec!["node".to_owned(), file]
        } else {
            vec![file]
        }
    }

    /// The variables with which it finds the model.
    pub fn variables(&self, place: &Place, model: &str) -> Vec<(&'static str, String)> {
        let filled = |(n, v): &(&'static str, &str)| (*n, place.filled(v, model));
        self.variables.iter().map(filled).collect()
    }
}

fn on_path(tool: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|d| d.join(tool).is_file())
}
