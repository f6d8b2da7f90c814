//! A home directory with a repository in it, secrets around them, and services that listen outside.

use super::agent::{Agent, folder};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Who runs the agent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum User {
    Root,
    /// `nobody`, because some agents do not start for a user without a name.
    Ordinary,
}

/// Whether this process can be that user. Root can be both. Others can only be themselves.
pub fn can_be(user: User) -> bool {
    // SAFETY: takes nothing and always succeeds.
    let root = unsafe { libc::geteuid() } == 0;
    if user == User::Root && !root {
        eprintln!("skipped: these tests do not run as root");
        return false;
    }
    true
}

/// The contents of files that no agent may read.
pub const SECRET: &str = "polc-keeps-this-secret";

pub struct Place {
    folder: tempfile::TempDir,
    /// Lies beside it in the host's `/tmp`. A socket of another program listens there.
    temporary: tempfile::TempDir,
    pub user: User,
    /// Another host.
    pub other: TcpListener,
    /// A service of the same user.
    pub socket: UnixListener,
}

impl Place {
    pub fn new(user: User, agent: &Agent) -> Self {
        let builder = || {
            let mut b = tempfile::Builder::new();
            b.prefix("polc-agents-");
            b
        };
        let folder = builder().tempdir_in("/var/tmp").unwrap();
        let temporary = builder().tempdir_in("/tmp").unwrap();
        for d in [folder.path(), temporary.path()] {
            std::fs::set_permissions(d, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let socket = temporary.path().join("socket");
        let place = Self {
            socket: UnixListener::bind(&socket).unwrap(),
            folder,
            temporary,
            user,
            other: TcpListener::bind("127.0.0.3:0").unwrap(),
        };
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o777)).unwrap();
        place.other.set_nonblocking(true).unwrap();
        place.socket.set_nonblocking(true).unwrap();
        std::fs::create_dir_all(place.path("bin")).unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_polc"), place.path("bin/polc")).unwrap();
        place.write("home/.ssh/id_ed25519", SECRET);
        place.write("home/.aws/credentials", SECRET);
        place.write("home/.bash_history", SECRET);
        place.write("home/.bashrc", "# mine\n");
        place.write(&format!("home/{}", agent.others), "# mine\n");
        place.write("home/.continue/.env", SECRET);
        place.fresh_workspace();
        place
    }

    /// Makes the repository as it was at first.
    pub fn fresh_workspace(&self) {
        let _ = std::fs::remove_dir_all(self.path("home/project"));
        for (file, text) in [
            (
                "package.json",
                r#"{"name":"x","version":"1.0.0","scripts":{"test":"node test.js"}}"#,
            ),
            (
                "test.js",
                "require('fs').writeFileSync('tested', 'the test ran\\n')",
            ),
            ("edit-me", "one two\n"),
            ("rename-me", "renamed\n"),
            ("src/a.txt", "a needle in here\n"),
            (".gitignore", ".env\n"),
            (".env", SECRET),
            ("polc.yaml", "version: 1\nname: here\nrules: []\n"),
            (
                ".gemini/settings.json",
                r#"{"security":{"auth":{"selectedType":"gemini-api-key"}}}"#,
            ),
        ] {
            self.write(&format!("home/project/{file}"), text);
        }
        let git = "git init -q -b main . && git config user.name a && git config user.email a@b && git add -A && git commit -qm x && mkdir -p .git/hooks";
        assert!(self.shell(git).status().unwrap().success());
        self.own_all();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    pub fn workspace(&self) -> PathBuf {
        self.path("home/project")
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A file's text. Empty if the file is missing.
    pub fn read(&self, name: &str) -> String {
        let bytes = std::fs::read(self.path(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Makes the user the owner of everything.
    pub fn own_all(&self) {
        if self.user == User::Ordinary && can_be(User::Root) {
            let done = Command::new("chown")
                .args(["-R", "65534:65534"])
                .arg(self.path("home"))
                .arg(self.temporary.path())
                .status();
            assert!(done.unwrap().success());
        }
    }

    /// Replaces `@U`, `@W`, `@H`, `@P`, `@S` in a step: the model, the workspace, the home, the other host's port, the
    /// socket.
    pub fn filled(&self, text: &str, model: &str) -> String {
        text.replace("@U", model)
            .replace("@W", &self.workspace().display().to_string())
            .replace("@H", &self.path("home").display().to_string())
            .replace("@P", &self.other.local_addr().unwrap().port().to_string())
            .replace(
                "@S",
                &self.temporary.path().join("socket").display().to_string(),
            )
    }

    /// The policy of the run: the agent's own, with the model's host and the agent's installation.
    pub fn policy(&self, agent: &Agent, host: &str) -> PathBuf {
        let text = format!(
            "version: 1\nname: case\nextends: builtin:{}\nrules:\n  - name: model\n    action: allow\n    operations: [connect]\n    hosts: [\"{host}\"]\n  - name: installed\n    action: allow\n    operations: [read, execute]\n    paths: ['{}/node_modules/**']\n",
            agent.policy,
            folder().canonicalize().unwrap().display()
        );
        self.write("policy.yaml", &text);
        self.path("policy.yaml")
    }

    /// A command of the user in the workspace, with few variables.
    pub fn command(&self, words: &[String]) -> Command {
        let mut all: Vec<&str> = Vec::new();
        if self.user == User::Ordinary && can_be(User::Root) {
            all.extend([
                "setpriv",
                "--reuid",
                "65534",
                "--regid",
                "65534",
                "--clear-groups",
            ]);
        }
        all.extend(words.iter().map(String::as_str));
        let mut c = Command::new(all[0]);
        c.args(&all[1..])
            .current_dir(self.workspace())
            .env_clear()
            .env("HOME", self.path("home"))
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .env("TERM", "xterm-256color")
            .env("SHELL", "/bin/bash")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        c
    }

    /// The same for a shell, unconfined. Before the user owns the files, it runs as the user of the tests.
    fn shell(&self, script: &str) -> Command {
        let mut c = Command::new("sh");
        c.args(["-c", script])
            .current_dir(self.workspace())
            .env("HOME", self.path("home"))
            .env("GIT_CONFIG_NOSYSTEM", "1");
        c
    }

    /// Whether every user can reach the directory.
    pub fn reachable(path: &Path) -> bool {
        path.ancestors()
            .filter_map(|p| std::fs::metadata(p).ok())
            .filter(std::fs::Metadata::is_dir)
            .all(|m| m.permissions().mode() & 0o001 != 0)
    }
}
