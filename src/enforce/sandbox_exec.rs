//! `polc run` on macOS: `sandbox-exec` starts the program in its Seatbelt profile.
//!
//! The profile is an argument (`-p`), so no file has to live longer than this process. If the policy names no hosts,
//! this process becomes `sandbox-exec` and then the program. So status, signals and the terminal are the program's own.
//!
//! If the policy names hosts, this process stays beside the program and serves the proxy ([`crate::enforce::egress`]).
//! The proxy has a port of localhost, the only port that the profile opens.
//!
//! Both are in one process group. The program gets the terminal's SIGINT and SIGQUIT directly. This process passes on
//! signals that somebody sends to it, and ends as the program did. If this process is killed, the program stays
//! confined, and cannot reach any host. If the policy allows everything by default, a profile cannot force the program
//! to use the proxy. Then the ledger says which hosts are open.
//!
//! Limits are not enforced, nor is what the ledger of `sbpl` calls looser. This code is tested on every Unix, with
//! another program in place of `sandbox-exec`. It has not been run on a Mac.

use super::egress::{Egress, Refusal, told};
use super::environment::{give, reduced};
use crate::backend::{Options, find};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::fidelity::{Entry, Ledger, Requirement};
use crate::policy::{
    Action, HostPattern, Objects, Operation, OperationSet, Policy, Protocol, Rule, RuleId,
};
use crate::semantics::Meaning;
use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, channel};

/// Its path on macOS.
pub const PROGRAM: &str = "/usr/bin/sandbox-exec";

/// The user's choices for a start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choice {
    /// No network, even if the policy names hosts.
    pub no_network: bool,
    /// Start nothing if the profile keeps less.
    pub required: Option<Requirement>,
}

/// Why the program does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The policy does not compile for Seatbelt.
    #[error(transparent)]
    Policy(#[from] Diagnostics),
    /// The layers keep less than `--require` asks for. Holds what they lose.
    #[error("the profile keeps less than `--require` asks for")]
    Required(String),
    /// The proxy cannot serve.
    #[error("cannot {0}: {1}")]
    Proxy(&'static str, io::Error),
}

/// Everything that can fail before the program exists.
pub struct Prepared {
    profile: Vec<u8>,
    variables: Vec<(OsString, OsString)>,
    proxy: Option<(Egress, Receiver<Refusal>)>,
    kept: String,
}

/// Compiles the profile, and starts the proxy if one is needed. The program gets those of the variables `own` that the
/// policy passes on, and those that the policy sets.
///
/// # Errors
/// See [`Error`].
pub fn prepare(
    policy: &Policy,
    choice: Choice,
    own: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Prepared, Error> {
    let closed;
    let policy = if choice.no_network {
        closed = without_network(policy)?;
        &closed
    } else {
        policy
    };
    let meaning = Meaning::new(policy);
    let listener = needs_proxy(&meaning)
        .then(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .transpose()
        .map_err(|e| Error::Proxy("listen for the proxy", e))?;
    let address = listener.as_ref().map(TcpListener::local_addr).transpose();
    let address = address.map_err(|e| Error::Proxy("listen for the proxy", e))?;
    let mut options = Options::default();
    if let Some(address) = address {
        options
            .values
            .insert("proxy-port", address.port().to_string());
    }

    let missing = || Diagnostics::from(Diagnostic::error("E112", "there is no profile to apply"));
    let backend = find("sbpl").ok_or_else(missing)?;
    let mut compiled = backend.compile(&meaning, &options)?;
    // This process handles the environment. Linux's system calls do not matter on macOS, unless a rule names them.
    compiled
        .ledger
        .settings
        .retain(|s| s.setting != "environment");
    let means = |e: &Entry| e.operation != Operation::Syscall || e.rule.is_some();
    compiled.ledger.entries.retain(means);
    let kept = super::summary::unenforced("seatbelt", &compiled.ledger);
    if !is_met(choice.required, &compiled.ledger) {
        return Err(Error::Required(kept));
    }
    let profile = compiled.artifacts.pop().ok_or_else(missing)?.bytes;
    if profile.contains(&0) {
        return Err(missing().into());
    }

    let mut variables = reduced(&policy.environment, own);
    let mut proxy = None;
    if let (Some(listener), Some(address)) = (listener, address) {
        let (sender, refusals) = channel();
        let egress = Egress::start(policy, listener, sender)
            .map_err(|e| Error::Proxy("start the proxy", e))?;
        for (name, value) in egress.environment(address) {
            give(&mut variables, &name, &value);
        }
        proxy = Some((egress, refusals));
    }
    Ok(Prepared {
        profile,
        variables,
        proxy,
        kept,
    })
}

fn is_met(required: Option<Requirement>, ledger: &Ledger) -> bool {
    required.is_none_or(|d| d.is_met(ledger.is_exact(), !ledger.leaks()))
}

/// Whether the policy names hosts that the filters of a profile cannot tell apart.
fn needs_proxy(meaning: &Meaning<'_>) -> bool {
    let connect = meaning.hosts(Operation::Connect);
    let all = connect.regions().iter();
    !meaning.policy().default_action.permits()
        && Protocol::ALL.iter().any(|p| connect.any_allowed(*p))
        && !all.clone().all(|r| r.decision.action.permits())
}

/// The policy with every host denied.
fn without_network(policy: &Policy) -> Result<Policy, Diagnostics> {
    let mut operations = OperationSet::default();
    operations.insert(Operation::Connect);
    operations.insert(Operation::Bind);
    let every = HostPattern::parse("*")
        .map_err(|e| Diagnostic::error("E112", format!("cannot close the network: {e}")))?;
    let objects = Objects::Hosts {
        hosts: vec![every],
        except: Vec::new(),
    };
    let mut out = policy.clone();
    out.rules.insert(
        0,
        Rule::new("no-network", Action::Deny, operations, objects),
    );
    for (id, rule) in (0..).zip(&mut out.rules) {
        rule.id = RuleId(id);
    }
    Ok(out)
}

impl Prepared {
    /// How much the profile keeps, and what a program in it can still do.
    #[must_use]
    pub fn kept(&self) -> &str {
        &self.kept
    }

    /// Whether the program reaches hosts through the proxy.
    #[must_use]
    pub fn has_proxy(&self) -> bool {
        self.proxy.is_some()
    }

    /// Starts `program` in the profile by `launcher` ([`PROGRAM`]). With a proxy, it returns when the program has
    /// ended, with its status and one line for each refusal of the proxy. If a signal ended the program, this process
    /// ends by the same signal.
    ///
    /// # Errors
    /// The launcher cannot be started.
    pub fn start(
        self,
        launcher: &Path,
        program: &Path,
        arguments: &[OsString],
        mut say: impl FnMut(&str),
    ) -> io::Result<u8> {
        let mut command = Command::new(launcher);
        command.arg("-p").arg(OsString::from_vec(self.profile));
        // The launcher's options end at the first word that does not begin with `-`.
        if program.as_os_str().as_bytes().starts_with(b"-") {
            command.arg(Path::new(".").join(program));
        } else {
            command.arg(program);
        }
        command.args(arguments).env_clear().envs(self.variables);
        let Some((egress, refusals)) = self.proxy else {
            return Err(command.exec());
        };
        let mut child = command.spawn()?;
        pass_signals_on(child.id());
        let status = child.wait()?;
        PROGRAM_ID.store(0, Ordering::SeqCst);
        egress.shutdown();
        let refusals: Vec<Refusal> = refusals.try_iter().collect();
        told(&refusals).iter().for_each(|line| say(line));
        if let Some(signal) = status.signal() {
            // SAFETY: sets a disposition that is no function, and sends a signal to this process.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                libc::raise(signal);
            }
        }
        let signal = status.signal().unwrap_or_default();
        Ok(u8::try_from(status.code().unwrap_or(128 + signal)).unwrap_or(u8::MAX))
    }
}

/// The program's process, for the signal handler.
static PROGRAM_ID: AtomicI32 = AtomicI32::new(0);

extern "C" fn pass_on(signal: libc::c_int) {
    let child = PROGRAM_ID.load(Ordering::SeqCst);
    if child > 0 {
        // SAFETY: kill is safe in a handler and takes numbers.
        unsafe { libc::kill(child, signal) };
    }
}

fn pass_signals_on(child: u32) {
    PROGRAM_ID.store(i32::try_from(child).unwrap_or_default(), Ordering::SeqCst);
    let handler = pass_on as *const () as libc::sighandler_t;
    // SAFETY: the handler does what is allowed in one. The terminal sends SIGINT and SIGQUIT to the program as well.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_IGN);
        libc::signal(libc::SIGQUIT, libc::SIG_IGN);
        for signal in [
            libc::SIGTERM,
            libc::SIGHUP,
            libc::SIGUSR1,
            libc::SIGUSR2,
            libc::SIGWINCH,
        ] {
            libc::signal(signal, handler);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Environment;
    use std::os::unix::fs::PermissionsExt;

    fn policy(rules: &[(Action, &str)]) -> Policy {
        let rule = |(action, host): &(Action, &str)| {
            let objects = Objects::Hosts {
                hosts: vec![HostPattern::parse(host).unwrap()],
                except: vec![],
            };
            let operations = OperationSet::from_word("connect").unwrap();
            Rule::new("net", *action, operations, objects)
        };
        let mut policy = Policy::of_rules("p", Action::Deny, rules.iter().map(rule).collect());
        policy.environment = Environment {
            pass: Some(vec!["PATH".to_owned()]),
            set: vec![("HOME".to_owned(), "/h".to_owned())],
        };
        policy
    }

    fn own() -> Vec<(OsString, OsString)> {
        let path = std::env::var_os("PATH").unwrap();
        vec![("PATH".into(), path), ("TOKEN".into(), "x".into())]
    }

    /// Takes the place of `sandbox-exec`: writes the profile to a file, and becomes the program.
    fn launcher(folder: &Path) -> std::path::PathBuf {
        let file = folder.join("launcher");
        let script = "#!/bin/sh\n[ \"$1\" = -p ] || exit 99\nprintf %s \"$2\" > \"${0%/*}/profile\"\nshift 2\nexec \"$@\"\n";
        std::fs::write(&file, script).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        file
    }

    #[test]
    fn beside_a_proxy_the_program_has_its_port_and_variables_and_its_status_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let launcher = launcher(folder.path());
        let policy = policy(&[(Action::Allow, "example.org:443")]);
        let prepared = prepare(&policy, Choice::default(), own()).unwrap();
        assert!(prepared.has_proxy());
        // Asks the proxy for a host that the policy does not name. Prints the answer, and the variables.
        let script = "import os, socket\n\
            host, port = os.environ['HTTPS_PROXY'].removeprefix('http://').split(':')\n\
            s = socket.create_connection((host, int(port)))\n\
            s.sendall(b'CONNECT elsewhere.example:443 HTTP/1.1\\r\\nHost: elsewhere.example\\r\\n\\r\\n')\n\
            answer = s.recv(100).split(b' ')[1].decode()\n\
            own = [os.environ.get('HOME'), os.environ.get('TOKEN')]\n\
            open(os.path.join(os.path.dirname(os.sys.argv[1]), 'said'), 'w').write(f'{port} {answer} {own}')\n\
            os.sys.exit(7)\n";
        let arguments = ["python3", "-c", script, launcher.to_str().unwrap()].map(OsString::from);
        let mut told = Vec::new();
        let say = |line: &str| told.push(line.to_owned());
        let status = prepared.start(&launcher, "/usr/bin/env".as_ref(), &arguments, say);
        assert_eq!(status.unwrap(), 7);
        let said = std::fs::read_to_string(folder.path().join("said")).unwrap();
        let (port, rest) = said.split_once(' ').unwrap();
        assert_eq!(rest, "403 ['/h', None]");
        let profile = std::fs::read_to_string(folder.path().join("profile")).unwrap();
        assert!(
            profile.contains(&format!("(remote ip \"localhost:{port}\")")),
            "{profile}"
        );
        assert_eq!(told.len(), 1);
        assert!(
            told[0].starts_with("polc: the proxy refused elsewhere.example:443: "),
            "{told:?}"
        );
    }

    #[test]
    fn without_hosts_or_with_no_network_nothing_is_open() {
        for (rules, no_network) in [
            (vec![], false),
            (vec![(Action::Allow, "example.org:443")], true),
            (vec![(Action::Allow, "*")], true),
        ] {
            let choice = Choice {
                no_network,
                required: None,
            };
            let prepared = prepare(&policy(&rules), choice, own()).unwrap();
            assert!(!prepared.has_proxy());
            let profile = String::from_utf8(prepared.profile).unwrap();
            assert!(!profile.contains("(remote"), "{profile}");
            assert!(profile.contains("(deny default"), "{profile}");
        }
        // The filters allow every host, so no proxy is needed.
        let open = policy(&[(Action::Allow, "*")]);
        let prepared = prepare(&open, Choice::default(), own()).unwrap();
        assert!(!prepared.has_proxy());
        assert!(
            String::from_utf8(prepared.profile)
                .unwrap()
                .contains("(remote")
        );
    }

    #[test]
    fn what_require_asks_for_is_kept_or_nothing_starts() {
        let mut limited = policy(&[]);
        let with = |policy: &Policy, required| {
            let choice = Choice {
                no_network: false,
                required: Some(required),
            };
            match prepare(policy, choice, own()) {
                Ok(_) => None,
                Err(Error::Required(what)) => Some(what),
                Err(e) => panic!("{e}"),
            }
        };
        // The profile opens this so that programs start.
        let kept = with(&limited, Requirement::Safe).unwrap();
        assert!(kept.contains("the runtime base"), "{kept}");
        // Everything may be read. Only the limits are not kept.
        let objects = Objects::Paths {
            paths: vec![crate::policy::PathPattern::tree(b"/")],
            except: vec![],
        };
        let all = OperationSet::from_word("read")
            .unwrap()
            .iter()
            .chain([Operation::Edit, Operation::List]);
        let mut operations = OperationSet::default();
        all.for_each(|o| operations.insert(o));
        limited.rules = vec![Rule::new("all", Action::Allow, operations, objects)];
        assert_eq!(with(&limited, Requirement::Safe), None);
        limited.limits.open_files = Some(10);
        let kept = with(&limited, Requirement::Safe).unwrap();
        assert!(kept.contains("not enforced: limits"), "{kept}");
    }
}
