//! The answers of `explain`, `test` and `check`, their forms, and what the help says about them.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[cfg(target_os = "linux")]
mod landlock;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A home directory with a project in it. The project is a repository.
struct Home {
    _dir: tempfile::TempDir,
    home: PathBuf,
    project: PathBuf,
}

const POLICY: &str = r#"version: 1
name: small
subject: {home: auto, workspace: auto, tmp: auto}
rules:
  - name: cloud
    action: deny
    operations: [read, write]
    paths: ["~/.aws/**"]
    message: keys stay out of reach
  - name: work
    action: allow
    operations: [read, write]
    paths: ["${workspace}/**"]
    allow_lints: [{code: L005, reason: a test}, {code: L006, reason: a test}]
  - include: builtin:system-programs
  - include: builtin:linux-runtime
tests:
  - deny: read ~/.aws/credentials
"#;

fn home() -> Home {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let home = dir.path().canonicalize().unwrap().join("u");
    let project = home.join("project");
    std::fs::create_dir_all(project.join(".git")).unwrap();
    std::fs::create_dir_all(project.join("src")).unwrap();
    std::fs::write(project.join("polc.yaml"), POLICY).unwrap();
    Home {
        _dir: dir,
        home,
        project,
    }
}

impl Home {
    fn polc_in(&self, folder: &Path, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_polc"))
            .args(args)
            .current_dir(folder)
            .stdin(Stdio::null())
            .env("HOME", &self.home)
            .env_remove("NO_COLOR")
            .output()
            .unwrap()
    }

    fn polc(&self, args: &[&str]) -> Output {
        self.polc_in(&self.project, args)
    }

    fn link(&self, name: &str, target: &str) {
        std::os::unix::fs::symlink(target, self.home.join(name)).unwrap();
    }

    fn keys(&self) {
        std::fs::create_dir(self.project.join("aws")).unwrap();
        std::fs::write(self.project.join("aws/credentials"), "SECRET\n").unwrap();
    }
}

fn status(o: &Output) -> i32 {
    o.status.code().unwrap()
}

fn out(o: &Output) -> String {
    String::from_utf8_lossy(&o.stdout).into_owned()
}

fn err(o: &Output) -> String {
    String::from_utf8_lossy(&o.stderr).into_owned()
}

#[test]
fn links_and_second_names_beneath_a_denied_directory() {
    let h = home();
    h.keys();
    std::fs::create_dir_all(h.home.join(".aws/sso")).unwrap();
    h.link(".aws/credentials", "../project/aws/credentials");
    h.link(".aws/sso/cache", "../../project/src");
    std::fs::write(h.home.join(".aws/config"), "SECRET\n").unwrap();
    std::fs::hard_link(h.home.join(".aws/config"), h.project.join("copy")).unwrap();
    for path in ["aws/credentials", "src/token", "~/.aws/credentials"] {
        let o = h.polc(&["explain", "read", path]);
        assert_eq!(status(&o), 4, "{path}: {}", out(&o));
        assert!(out(&o).contains("is a link to"), "{path}: {}", out(&o));
    }
    let o = h.polc(&["test"]);
    assert_eq!(status(&o), 0, "{}", err(&o));
    let told = format!("`{}/.aws/config`", h.home.display());
    let o = h.polc(&["check"]);
    assert!(
        err(&o).contains("L015") && err(&o).contains(&told),
        "{}",
        err(&o)
    );
    assert!(!err(&h.polc(&["check", "--no-host"])).contains("L015"));

    #[cfg(target_os = "linux")]
    if !landlock::landlock(6) {
        return;
    }
    let cat = |name: &str| h.polc(&["run", "-p", "polc.yaml", "--", "cat", name]);
    for name in ["aws/credentials", "../.aws/credentials"] {
        let o = cat(name);
        assert!(!out(&o).contains("SECRET"), "{name}: {}", out(&o));
        let line = format!(
            "{told} has another name somewhere, a hard link; polc cannot protect that name"
        );
        assert_eq!(err(&o).matches(&line).count(), 1, "{}", err(&o));
    }
    // That one cannot be closed.
    assert_eq!(out(&cat("copy")), "SECRET\n");
}

#[test]
fn what_a_denied_link_leads_to_is_denied_and_told() {
    let h = home();
    h.keys();
    h.link(".aws", "project/aws");
    for path in ["~/.aws/credentials", "aws/credentials"] {
        let o = h.polc(&["explain", "read", path]);
        assert_eq!(status(&o), 4, "{}", out(&o));
        let link = format!(
            "`{}/.aws` is a link to `{}/aws`",
            h.home.display(),
            h.project.display()
        );
        assert!(out(&o).contains(&link), "{}", out(&o));
        assert!(
            out(&o).contains("by rule `cloud` at polc.yaml:5"),
            "{}",
            out(&o)
        );
    }
    assert_eq!(status(&h.polc(&["test"])), 0);
    // Without a look at this host, the link in the repository is an ordinary name.
    let o = h.polc(&["explain", "--no-host", "read", "aws/credentials"]);
    assert_eq!(status(&o), 0, "{}", out(&o));
    let check = h.polc(&["check", "--strict"]);
    assert_eq!(status(&check), 0, "{}", err(&check));
    if cfg!(target_os = "linux") && polc::enforce::landlock::kernel_abi().is_some() {
        for layers in [
            &["run", "-q", "-p", "polc.yaml", "--no-namespaces"][..],
            &["run", "-q", "-p", "polc.yaml"],
            &[
                "enforce",
                "landlock",
                "-q",
                "--holes",
                "closed",
                "-p",
                "polc.yaml",
            ],
        ] {
            for file in ["aws/credentials", "../.aws/credentials"] {
                let o = h.polc(&[layers, &["--", "cat", file]].concat());
                assert!(!out(&o).contains("SECRET"), "{layers:?} {file}");
                assert_ne!(status(&o), 0, "{layers:?} {file}: {}", err(&o));
            }
            let o = h.polc(&[layers, &["--", "cat", "polc.yaml"]].concat());
            assert_eq!(status(&o), 0, "{layers:?}: {}", err(&o));
        }
    }
}

#[test]
fn a_rule_above_that_allows_what_a_link_leads_to_is_told() {
    let h = home();
    h.keys();
    h.link(".aws", "project/aws");
    let (first, rules) = POLICY.split_once("  - name: cloud").unwrap();
    let (cloud, rest) = rules.split_once("  - name: work").unwrap();
    let (work, rest) = rest.split_once("  - include").unwrap();
    let text = format!("{first}  - name: work{work}  - name: cloud{cloud}  - include{rest}");
    std::fs::write(h.project.join("polc.yaml"), text).unwrap();
    let o = h.polc(&["explain", "read", "~/.aws/credentials"]);
    assert_eq!(status(&o), 0, "{}", out(&o));
    assert!(
        out(&o).contains("leads to") && out(&o).contains("for the name alone the policy says deny"),
        "{}",
        out(&o)
    );
    let o = h.polc(&["test"]);
    assert_eq!(status(&o), 4, "{}", out(&o));
    assert!(
        out(&o).contains("deny: read ~/.aws/credentials\n  but it is allow by rule `work`")
            && out(&o).contains("here the path leads to"),
        "{}",
        out(&o)
    );
    assert_eq!(status(&h.polc(&["test", "--no-host"])), 0);
    let o = h.polc(&["check", "--strict"]);
    assert_eq!(status(&o), 1);
    assert!(
        err(&o).contains("L012") && err(&o).contains("this one allows it"),
        "{}",
        err(&o)
    );
    assert_eq!(status(&h.polc(&["check", "--strict", "--no-host"])), 0);
}

#[test]
fn a_planted_link_to_the_workspace_stops_the_start_and_says_why() {
    let h = home();
    h.link(".aws", "project");
    let o = h.polc(&["check"]);
    assert!(err(&o).contains("L012"), "{}", err(&o));
    if cfg!(target_os = "linux") {
        for start in [&["run"][..], &["enforce", "landlock"]] {
            let o = h.polc(&[start, &["-p", "polc.yaml", "--", "/bin/true"]].concat());
            assert_eq!(status(&o), 3, "{}", err(&o));
            let link = format!(
                "`{}/.aws` is a link to `{}`",
                h.home.display(),
                h.project.display()
            );
            assert!(
                err(&o).contains(&link) && err(&o).contains("rule `cloud`"),
                "{}",
                err(&o)
            );
        }
    }
}

#[test]
fn an_allowed_link_to_what_is_not_allowed_is_told_with_the_rule_that_would_allow_it() {
    let h = home();
    std::fs::create_dir(h.home.join("elsewhere")).unwrap();
    std::fs::write(h.home.join("elsewhere/notes"), "").unwrap();
    std::os::unix::fs::symlink("../elsewhere", h.project.join("shared")).unwrap();
    let o = h.polc(&["explain", "read", "shared/notes"]);
    assert_eq!(status(&o), 4, "{}", out(&o));
    let said = out(&o);
    assert!(
        said.contains("to allow it there:\n    - name: read-notes\n"),
        "{said}"
    );
    assert!(
        said.contains(&format!("paths: ['{}/elsewhere/notes']", h.home.display())),
        "{said}"
    );
    let more = POLICY.replace(
        "  - include: builtin:system",
        "  - {name: notes, action: allow, operations: [read], paths: ['${workspace}/shared/**', '~/shared']}\n  - include: builtin:system",
    );
    std::fs::write(h.project.join("polc.yaml"), more).unwrap();
    let o = h.polc(&["check"]);
    assert!(
        err(&o).contains("L014") && err(&o).contains("elsewhere"),
        "{}",
        err(&o)
    );
}

#[test]
fn a_directory_that_is_denied_alone_is_told() {
    let h = home();
    std::fs::create_dir(h.project.join("secret")).unwrap();
    let deny = |path: &str| {
        let rule = format!(
            "  - {{name: secret, action: deny, operations: [read], paths: ['{path}'], message: m}}\n  - name: cloud"
        );
        std::fs::write(
            h.project.join("polc.yaml"),
            POLICY.replace("  - name: cloud", &rule),
        )
        .unwrap();
        err(&h.polc(&["check"]))
    };
    let said = deny("${workspace}/secret");
    assert!(
        said.contains("L011") && said.contains("secret/**"),
        "{said}"
    );
    for fine in [
        "${workspace}/secret/**",
        "${workspace}/polc.yaml",
        "~/.not-there",
    ] {
        assert!(!deny(fine).contains("L011"), "{fine}");
    }
}

#[test]
fn a_workspace_that_is_the_home_directory_is_told() {
    let h = home();
    let of_home = format!("workspace={}", h.home.display());
    let o = h.polc(&["check", "--set", &of_home]);
    assert!(
        err(&o).contains("L013") && err(&o).contains("--set workspace"),
        "{}",
        err(&o)
    );
    assert!(!err(&h.polc(&["check"])).contains("L013"));
}

#[test]
fn explain_takes_relative_paths_and_answers_for_artifacts_in_their_places() {
    let h = home();
    for (folder, path) in [
        (h.project.clone(), "src/x"),
        (h.project.clone(), "./src/x"),
        (h.project.join("src"), "x"),
        (h.project.join("src"), "../src/x"),
    ] {
        let o = h.polc_in(&folder, &["explain", "edit", path]);
        let first = format!("allow: edit {}/src/x", h.project.display());
        assert_eq!(
            out(&o).lines().next(),
            Some(first.as_str()),
            "{path}: {}",
            err(&o)
        );
        assert!(
            out(&o).contains("workspace /workspace), answers for /workspace/src/x:"),
            "{}",
            out(&o)
        );
        let apparmor = out(&o)
            .lines()
            .find(|l| l.contains("apparmor"))
            .unwrap()
            .to_owned();
        assert!(
            apparmor.contains("allows it, by small.apparmor:"),
            "{apparmor}"
        );
    }
    // `..` leads to the parent of the link's target.
    std::os::unix::fs::symlink("/var", h.project.join("src/var")).unwrap();
    let o = h.polc(&["explain", "edit", "src/var/../x"]);
    assert_eq!(out(&o).lines().next(), Some("deny: edit /x"), "{}", err(&o));
    let json = h.polc(&["explain", "edit", "src/x", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json[0]["answer"]["decision"], "allow");
    assert_eq!(json[0]["artifacts"]["object"], "/workspace/src/x");
}

const COMMANDS: [&str; 15] = [
    "init",
    "check",
    "emit",
    "enforce",
    "run",
    "explain",
    "coverage",
    "verify",
    "diff",
    "why",
    "test",
    "targets",
    "schema",
    "completions",
    "man",
];

/// Every form that an option takes is also printed.
#[test]
fn every_form_is_printed_or_refused() {
    let h = home();
    std::fs::write(h.home.join("log"), "").unwrap();
    let made = h.polc(&["emit", "apparmor", "-o", "../made.apparmor"]);
    assert_eq!(status(&made), 0, "{}", err(&made));
    let words: [&[&str]; 15] = [
        &["init"],
        &["check"],
        &["emit", "seccomp"],
        &["enforce", "landlock"],
        &["run"],
        &["explain", "read", "/x"],
        &["coverage"],
        &["verify", "../made.apparmor"],
        &["diff", "polc.yaml", "polc.yaml"],
        &["why", "../log"],
        &["test"],
        &["targets"],
        &["schema"],
        &["completions", "bash"],
        &["man"],
    ];
    for (command, words) in COMMANDS.iter().zip(words) {
        let help = out(&h.polc(&[command, "--help"]));
        let mut printed = 0;
        for form in ["human", "json", "sarif", "markdown", "html"] {
            let o = h.polc(&[words, &["--format", form]].concat());
            let refused = status(&o) == 2;
            if refused {
                assert!(o.stdout.is_empty(), "{command} {form}");
                let says = if help.contains("--format") {
                    "possible values"
                } else {
                    "--format"
                };
                assert!(err(&o).contains(says), "{command} {form}: {}", err(&o));
                continue;
            }
            printed += 1;
            let text = out(&o);
            let json = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            assert_eq!(
                json,
                ["json", "sarif"].contains(&form),
                "{command} {form}: {text}"
            );
            assert_eq!(
                text.starts_with("<!DOCTYPE html>"),
                form == "html",
                "{command} {form}"
            );
            assert_eq!(
                text.starts_with('|'),
                form == "markdown",
                "{command} {form}: {text}"
            );
        }
        assert_eq!(printed > 0, help.contains("--format"), "{command}");
        // The same option also works before the command.
        let o = h.polc(&[&["--format", "html"], words].concat());
        assert_eq!(
            status(&o) == 2,
            *command != "coverage",
            "{command}: {}",
            err(&o)
        );
    }
}

#[test]
fn the_help_of_a_command_has_its_options_and_examples() {
    let h = home();
    for command in COMMANDS {
        let o = h.polc(&[command, "--help"]);
        let help = out(&o);
        assert!(help.contains("Example"), "{command}");
        let no_policy = ["init", "targets", "schema", "completions", "man"];
        let takes = !no_policy.contains(&command);
        assert_eq!(help.contains("--policy"), takes, "{command}\n{help}");
        assert_eq!(help.contains("--set"), takes, "{command}");
        let refused = h.polc(&["-p", "polc.yaml", command]);
        let says = err(&refused).contains("this command has no option `--policy`");
        assert_eq!(
            says,
            !takes && command != "completions",
            "{command}: {}",
            err(&refused)
        );
        // Every example must be a valid command line.
        for line in help.lines().filter_map(|l| l.trim().strip_prefix("polc ")) {
            let line = line
                .split("  ")
                .next()
                .unwrap()
                .split([';', '>', '|'])
                .next()
                .unwrap();
            let mut words: Vec<&str> = line.split_whitespace().collect();
            if words.first() != Some(&command) {
                continue;
            }
            let end = words.iter().position(|w| *w == "--").unwrap_or(words.len());
            words.insert(end, "--help");
            let o = h.polc(&words);
            assert_eq!(status(&o), 0, "{words:?}: {}", err(&o));
        }
    }
    assert!(out(&h.polc(&["--help"])).contains("First steps"));
}

#[test]
fn tables_fit_in_eighty_columns() {
    let h = home();
    for more in [&[][..], &["--all"], &["-p", "builtin:coding-agent"]] {
        let o = h.polc(&[&["coverage"], more].concat());
        let text = out(&o);
        // What layers refuse though tests allow it stands above.
        let table = text.lines().skip_while(|l| !l.starts_with("rule"));
        let table: Vec<&str> = table.take_while(|l| !l.is_empty()).collect();
        assert!(table.len() > 3, "{text}");
        for line in table {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
    let plain = out(&h.polc(&["explain", "read", "/x"]));
    let coloured = out(&h.polc(&["explain", "read", "/x", "--color", "always"]));
    assert!(
        !plain.contains('\x1b') && coloured.contains("\x1b[31mdeny\x1b[0m"),
        "{coloured}"
    );
}

/// `run` lets the program read the certificates that a variable names. `explain` and `test` answer the same. Their
/// answers for artifacts leave the certificates out.
#[test]
fn explain_and_test_know_the_certificates_that_a_variable_names() {
    let home = home();
    let file = home.home.join("company.pem");
    let text = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";
    std::fs::write(&file, text).unwrap();
    let policy = POLICY.replace(
        "tests:\n",
        "environment: {pass: [PATH, SSL_CERT_FILE]}\ntests:\n  - allow: read ~/company.pem\n",
    );
    std::fs::write(home.project.join("polc.yaml"), policy).unwrap();
    let ask = |args: &[&str], value: &Path| {
        Command::new(env!("CARGO_BIN_EXE_polc"))
            .args(args)
            .current_dir(&home.project)
            .stdin(Stdio::null())
            .env("HOME", &home.home)
            .env("SSL_CERT_FILE", value)
            .output()
            .unwrap()
    };
    let explain = ["explain", "read", "~/company.pem"];
    let done = ask(&explain, &file);
    assert_eq!(status(&done), 0, "{}{}", out(&done), err(&done));
    assert!(
        out(&done).contains("certificates-by-variable"),
        "{}",
        out(&done)
    );
    assert_eq!(status(&ask(&["test"], &file)), 0);
    let elsewhere = home.home.join("none.pem");
    assert_eq!(status(&ask(&explain, &elsewhere)), 4);
    assert_eq!(status(&ask(&["test"], &elsewhere)), 4);
    let no_host = ["explain", "--no-host", "read", "~/company.pem"];
    assert_eq!(status(&ask(&no_host, &file)), 4);
}
