//! Agents with a sandbox of their own, which does not work inside polc.
//!
//! Inside, nothing can be mounted in a namespace, and no program with more rights can be started. So bubblewrap fails.
//! Each agent then refuses every command, or asks its user to run it unconfined. For the programs of this table, polc
//! says once before the start what to set.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// One agent's own sandbox.
struct Own {
    /// The program's names.
    programs: &'static [&'static str],
    /// Whether its own sandbox is on, with these arguments and these directories for settings.
    is_on: fn(&[OsString], &[&Path]) -> bool,
    /// What the user should do.
    advice: &'static str,
}

static OWN: &[Own] = &[
    Own {
        programs: &["codex", "codex.js"],
        is_on: codex,
        advice: "Codex's own sandbox does not work inside polc's: start it as `codex --sandbox danger-full-access`; polc confines it",
    },
    Own {
        programs: &["claude", "claude.exe", "cli.js"],
        is_on: claude,
        advice: "Claude Code's own sandbox does not work inside polc's: set `\"sandbox\": {\"enabled\": false}` in its settings; polc confines it",
    },
    Own {
        programs: &["gemini", "gemini.js", "qwen"],
        is_on: gemini,
        advice: "the agent's own sandbox is a container, and does not start inside polc's: leave out `--sandbox` and `GEMINI_SANDBOX`; polc confines it",
    },
    Own {
        programs: &["cursor-agent"],
        is_on: cursor,
        advice: "Cursor's own sandbox does not work inside polc's: start it as `cursor-agent --sandbox disabled`; polc confines it",
    },
];

/// What to set in the program, so that its own sandbox does not get in the way. `words` are the program and its
/// arguments. `folders` are the directories in which it may have settings: the home directory and the workspace.
#[must_use]
pub fn own_sandbox(words: &[OsString], folders: &[&Path]) -> Option<&'static str> {
    let base = |w: &OsString| Path::new(w).file_name().map(OsStr::to_owned);
    let mut words = words;
    // A script of npm's, which its interpreter starts.
    if let [first, rest @ ..] = words
        && base(first).is_some_and(|b| b == "node")
        && !rest.is_empty()
    {
        words = rest;
    }
    let (first, arguments) = words.split_first()?;
    let name = base(first)?;
    let own = OWN
        .iter()
        .find(|o| o.programs.iter().any(|p| OsStr::new(p) == name))?;
    (own.is_on)(arguments, folders).then_some(own.advice)
}

fn has(arguments: &[OsString], any: &[&str]) -> bool {
    arguments
        .iter()
        .any(|a| any.iter().any(|w| a.to_string_lossy().contains(w)))
}

/// On unless it is switched off. Commands that start no agent do not count.
fn codex(arguments: &[OsString], folders: &[&Path]) -> bool {
    const OFF: [&str; 3] = [
        "danger-full-access",
        "--dangerously-bypass-approvals-and-sandbox",
        "--yolo",
    ];
    const OTHER: [&str; 8] = [
        "--version",
        "-V",
        "--help",
        "-h",
        "login",
        "logout",
        "completion",
        "features",
    ];
    let other = arguments
        .iter()
        .any(|a| OTHER.iter().any(|o| OsStr::new(o) == a));
    let in_settings = folders.iter().any(|f| {
        let text = std::fs::read_to_string(f.join(".codex/config.toml")).unwrap_or_default();
        text.lines().any(|l| {
            let mut sides = l.splitn(2, '=').map(str::trim);
            sides.next() == Some("sandbox_mode")
                && sides
                    .next()
                    .is_some_and(|v| v.contains("danger-full-access"))
        })
    });
    !other && !in_settings && !has(arguments, &OFF)
}

/// Off unless a settings file says otherwise.
fn claude(arguments: &[OsString], folders: &[&Path]) -> bool {
    let on = |text: &str| {
        serde_json::from_str::<serde_json::Value>(text)
            .ok()
            .and_then(|v| v.get("sandbox")?.get("enabled")?.as_bool())
            == Some(true)
    };
    let files = [".claude/settings.json", ".claude/settings.local.json"];
    folders
        .iter()
        .flat_map(|f| files.map(|name| f.join(name)))
        .any(|f| std::fs::read_to_string(f).is_ok_and(|t| on(&t)))
        || arguments.iter().any(|a| on(&a.to_string_lossy()))
}

/// On by an argument, a variable or a settings file.
fn gemini(arguments: &[OsString], folders: &[&Path]) -> bool {
    let word = |a: &OsString| {
        let a = a.to_string_lossy();
        a == "-s" || a == "--sandbox" || (a.starts_with("--sandbox=") && a != "--sandbox=false")
    };
    let on = |text: &str| {
        serde_json::from_str::<serde_json::Value>(text)
            .ok()
            .and_then(|v| v.get("tools")?.get("sandbox").cloned())
            .is_some_and(|v| v != serde_json::Value::Bool(false))
    };
    let variable = std::env::var("GEMINI_SANDBOX").is_ok_and(|v| v != "false" && !v.is_empty());
    arguments.iter().any(word)
        || variable
        || folders.iter().any(|f| {
            [".gemini/settings.json", ".qwen/settings.json"]
                .iter()
                .any(|n| std::fs::read_to_string(f.join(n)).is_ok_and(|t| on(&t)))
        })
}

/// On unless it is switched off.
fn cursor(arguments: &[OsString], _: &[&Path]) -> bool {
    !has(arguments, &["disabled"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_with_a_sandbox_of_its_own_is_told_which_switch_to_set() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path();
        let says = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            own_sandbox(&words, &[home])
        };
        assert!(
            says("codex exec hello")
                .unwrap()
                .contains("danger-full-access")
        );
        assert!(says("node /x/bin/codex.js").is_some());
        assert!(says("codex --sandbox danger-full-access").is_none());
        assert!(says("codex -c sandbox_mode=danger-full-access exec x").is_none());
        assert!(says("codex --version").is_none());
        assert!(says("/opt/codex/bin/codex").is_some());
        assert!(says("claude").is_none());
        assert!(says("gemini").is_none());
        assert!(says("gemini --sandbox").is_some());
        assert!(says("cursor-agent").is_some());
        assert!(says("sh -c codex").is_none());
        std::fs::create_dir_all(home.join(".claude")).unwrap();
        std::fs::write(
            home.join(".claude/settings.json"),
            r#"{"sandbox": {"enabled": true}}"#,
        )
        .unwrap();
        assert!(says("claude -p hello").is_some());
        std::fs::create_dir_all(home.join(".codex")).unwrap();
        std::fs::write(
            home.join(".codex/config.toml"),
            "sandbox_mode = \"danger-full-access\"\n",
        )
        .unwrap();
        assert!(says("codex").is_none());
    }
}
