//! seccomp on this machine's kernel. runc starts a container with the emitted profile, and every system call is made in
//! it, with sockets of every family. The same is done inside `polc run`.
//!
//! Each call has wrong arguments, so it has no effect. EPERM or ENOSYS means that it was refused before the kernel
//! looked at the arguments. A call that also answers so without a profile, in the same container, is unusable. `decide`
//! says what should happen. A call that the policy denies must be refused. A call that it allows must not be, if the
//! ledger says exact for the deciding rule. (For the default, the ledger says that more may be refused.)

use crate::lab::{self, Ready};
use crate::rows::Counts;
use crate::{table, tool};
use polc::backend::Options;
use polc::fidelity::{Fidelity, Object};
use polc::policy::syscalls::{self, Arch};
use polc::policy::{Operation, Platform, Protocol};
use polc::semantics::{Meaning, decide};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Calls that end or stop a process, or the terminal of the user, with any arguments. Also two calls that the kernel
/// lets pass every filter (`uretprobe`, `uprobe`: kernel/seccomp.c), because its own trampolines make them.
const NOT_ASKED: [&str; 12] = [
    "exit",
    "exit_group",
    "fork",
    "vfork",
    "pause",
    "rt_sigreturn",
    "restart_syscall",
    "sync",
    "vhangup",
    "rt_sigsuspend",
    "uprobe",
    "uretprobe",
];

/// The filter allows these by their arguments, and those of the probe are wrong. Sockets have rows of their own.
const BY_ARGUMENTS: [&str; 2] = ["clone", "socket"];

const EPERM: i32 = 1;
const ENOSYS: i32 = 38;
const EACCES: i32 = 13;

/// A call, its arguments in the probe's words, and what should happen. `None`: either is right.
struct Row {
    name: String,
    call: String,
    expected: Option<bool>,
}

/// Builds the probe: a static program, because the container has nothing else.
fn probe() -> Option<PathBuf> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        tool::skip("the probe's numbers of system calls are of Linux on x86-64");
        return None;
    }
    let rustc = std::env::var_os("RUSTC").map(PathBuf::from);
    let Some(rustc) = rustc.or_else(|| tool::find("rustc")) else {
        tool::skip("no rustc for the probe");
        return None;
    };
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernel/probe/calls.rs");
    let out = tool::folder("calls");
    let program = out.path().join("calls");
    let mut command = Command::new(rustc);
    command.args(["--edition", "2024", "-D", "warnings", "-C", "opt-level=1"]);
    command.args([
        "-C",
        "strip=symbols",
        "-C",
        "target-feature=+crt-static",
        "-o",
    ]);
    let said = tool::run_with(command.arg(&program).arg(source), b"", tool::PATIENCE);
    assert!(said.ok(), "the probe does not build: {}", said.words());
    drop(out.keep());
    Some(program)
}

/// The rows of a policy: every call by its name, and sockets by family, type and protocol.
fn rows(ready: &Ready) -> Vec<Row> {
    let policy = &*ready.policy.seen_by(Platform::Linux);
    let ledger = &ready.compiled.ledger;
    let mut out = Vec::new();
    for (name, number) in syscalls::of_arch(Arch::X86_64) {
        if NOT_ASKED.contains(&name) {
            continue;
        }
        let decision = decide(
            policy,
            Operation::Syscall,
            &Object::Syscall(name.to_owned()),
        );
        let fidelity = ledger
            .entries
            .iter()
            .find(|e| e.rule == decision.rule && e.operation == Operation::Syscall)
            .map(|e| e.fidelity);
        let allowed = decision.action.permits();
        let expected = match fidelity {
            _ if allowed && BY_ARGUMENTS.contains(&name) => None,
            Some(Fidelity::Exact) => Some(allowed),
            Some(Fidelity::Stricter) if !allowed => Some(false),
            Some(Fidelity::Looser) if allowed => Some(true),
            _ => None,
        };
        // A pair of stream sockets, which is allowed even if pairs of datagram sockets are not.
        let arguments = match name {
            "socketpair" => "1,1,0",
            // The program's own limits. `run` refuses to set those of another process.
            "prlimit64" => "0",
            _ => "-1",
        };
        out.push(Row {
            name: name.to_owned(),
            call: format!("{number}:{arguments}"),
            expected,
        });
    }
    let meaning = Meaning::new(policy);
    let all = |o| {
        let space = meaning.hosts(o);
        space.regions().iter().all(|r| r.decision.action.permits())
    };
    let open = all(Operation::Connect) && all(Operation::Bind);
    let some = |p: Protocol| {
        [Operation::Connect, Operation::Bind]
            .iter()
            .any(|o| meaning.hosts(*o).any_allowed(p))
    };
    let socket = syscalls::number(Arch::X86_64, "socket").unwrap();
    let (tcp, udp) = (some(Protocol::Tcp), some(Protocol::Udp));
    let kinds = [
        ("tcp", "2,1,0", Some(tcp)),
        ("tcp6", "10,1,0", Some(tcp)),
        ("udp", "2,2,0", Some(udp)),
        ("udp6", "10,2,0", Some(udp)),
        // A call that no rule can name is refused if hosts are restricted. Otherwise the container's default applies.
        ("mptcp", "2,1,262", (!open).then_some(false)),
        ("raw", "2,3,1", (!open).then_some(false)),
        ("packet", "17,3,0", (!open).then_some(false)),
        ("vsock", "40,1,0", (!open).then_some(false)),
        ("alg", "38,5,0", (!open).then_some(false)),
        ("bluetooth", "31,3,0", (!open).then_some(false)),
    ];
    // A rule that denies by name is stronger.
    let named = out
        .iter()
        .any(|r| r.name == "socket" && r.expected == Some(false));
    for (name, arguments, expected) in kinds {
        out.push(Row {
            name: format!("socket {name}"),
            call: format!("{socket}:{arguments}"),
            expected: if named { Some(false) } else { expected },
        });
    }
    out
}

/// The results of the rows, in order.
fn read(stdout: &[u8], rows: usize) -> Result<Vec<i32>, String> {
    let text = String::from_utf8_lossy(stdout);
    if text.lines().last() != Some("done") {
        return Err("the probe did not come to its end".to_owned());
    }
    let found: BTreeMap<usize, i32> = text
        .lines()
        .filter_map(|l| l.split_once(' '))
        .filter_map(|(i, e)| Some((i.parse().ok()?, e.parse().ok()?)))
        .collect();
    let all: Vec<i32> = found.into_values().collect();
    (all.len() == rows)
        .then_some(all)
        .ok_or_else(|| "rows are missing".to_owned())
}

/// Compares the rows with the results. `own` are further errors by which a layer beside the filter refuses.
fn judge(
    name: &str,
    rows: &[Row],
    open: &[i32],
    shut: &[i32],
    own: &[i32],
) -> (Counts, Vec<String>) {
    let (mut counts, mut faults) = (Counts::default(), Vec::new());
    for ((row, open), shut) in rows.iter().zip(open).zip(shut) {
        let Some(expected) = row.expected else {
            continue;
        };
        let refused = |e: i32| [EPERM, ENOSYS].contains(&e) || own.contains(&e);
        if refused(*open) || *open < 0 {
            counts.unusable += 1;
        } else if expected != refused(*shut) {
            counts.agree += 1;
        } else {
            counts.differs += 1;
            faults.push(format!(
                "{name}: `{}` should be {}, and answers {shut} (unconfined {open})",
                row.name,
                if expected { "let through" } else { "refused" },
            ));
        }
    }
    (counts, faults)
}

/// Runs the probe in a container of its own, as root. It has every capability that this machine can give, so only the
/// filter can refuse.
fn contain(runc: &Path, probe: &Path, seccomp: &Value, rows: &[Row]) -> Result<Vec<i32>, String> {
    let bundle = tool::folder("calls-bundle");
    let root = bundle.path().join("root");
    for folder in ["proc", "dev"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    std::fs::copy(probe, root.join("probe")).unwrap();
    let capabilities = [
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_KILL",
        "CAP_NET_ADMIN",
        "CAP_NET_RAW",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SYS_ADMIN",
        "CAP_SYS_CHROOT",
        "CAP_SYS_PTRACE",
    ];
    let words: Vec<&str> = std::iter::once("/probe")
        .chain(rows.iter().map(|r| r.call.as_str()))
        .collect();
    let config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": words,
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
            "noNewPrivileges": true,
        },
        "root": {"path": "root", "readonly": true},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
        ],
        "linux": {
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
            ],
            "seccomp": seccomp,
        },
    });
    std::fs::write(bundle.path().join("config.json"), config.to_string()).unwrap();
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mut command = Command::new(runc);
    command
        .arg("--root")
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("runc-state"));
    command.args(["run", "-b"]).arg(bundle.path());
    command.arg(format!("polc-calls-{}-{count}", std::process::id()));
    let said = tool::run_with(&mut command, b"", tool::PATIENCE);
    read(&said.stdout, rows.len()).map_err(|e| format!("{e}: {}", said.words()))
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

#[test]
fn containers_refuse_what_the_policy_denies() {
    let (Some(runc), Some(probe)) = (tool::skip_or_fail("runc"), probe()) else {
        return;
    };
    if !is_root() {
        tool::skip("runc needs root");
        return;
    }
    let all = lab::ready("seccomp", &Options::default());
    let open = contain(&runc, &probe, &Value::Null, &rows(&all[0])).unwrap();
    let (mut counts, mut faults) = (Vec::new(), Vec::new());
    let mut denials = 0;
    for ready in &all {
        let rows = rows(ready);
        denials += rows.iter().filter(|r| r.expected == Some(false)).count();
        let profile = serde_json::from_slice(&ready.compiled.artifacts[0].bytes).unwrap();
        match contain(&runc, &probe, &profile, &rows) {
            Ok(shut) => {
                let (count, found) = judge(&ready.name, &rows, &open, &shut, &[]);
                counts.push((ready.name.as_str(), count));
                faults.extend(found);
            }
            Err(e) => faults.push(format!("{}: {e}", ready.name)),
        }
    }
    table::record("seccomp runc", &counts);
    assert!(denials > 500, "hardly anything is denied: {denials}");
    assert!(
        faults.is_empty(),
        "{} differ:\n{}",
        faults.len(),
        faults.join("\n")
    );
    // Without confinement, the same check finds errors.
    let (_, found) = judge("none", &rows(&all[0]), &open, &open, &[]);
    assert!(!found.is_empty(), "without a profile all agrees too");
}

/// Dropped capabilities and other layers refuse more than the filter does. What the policy denies must be refused.
#[test]
fn polc_run_refuses_what_the_policy_denies() {
    let Some(probe) = probe() else { return };
    if polc::enforce::landlock::kernel_abi().is_none() {
        tool::skip("this kernel has no Landlock");
        return;
    }
    if !is_root() {
        println!("skipped: to an ordinary user too much is refused without polc");
        return;
    }
    let place = tool::folder("calls-run");
    let workspace = place.path().canonicalize().unwrap();
    let program = workspace.join("probe");
    std::fs::copy(&probe, &program).unwrap();
    let (mut counts, mut faults) = (Vec::new(), Vec::new());
    let all = lab::ready("seccomp", &Options::default());
    for ready in &all {
        let rows: Vec<Row> = rows(ready)
            .into_iter()
            .map(|r| Row {
                expected: r.expected.filter(|e| !e),
                ..r
            })
            .collect();
        // `run` finds only these by name. Their subject is the user of the tests.
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("policies/{}.yaml", ready.name));
        if !file.is_file() {
            continue;
        }
        let calls = rows.iter().map(|r| &r.call);
        let free = tool::run_with(
            Command::new(&program).args(calls.clone()),
            b"",
            tool::PATIENCE,
        );
        let open = read(&free.stdout, rows.len()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_polc"));
        command
            .args(["run", "-q", "-p"])
            .arg(format!("builtin:{}", ready.name))
            .arg("--set")
            .arg(format!("workspace={}", workspace.display()))
            .arg("--")
            .arg(&program)
            .args(calls)
            .current_dir(&workspace);
        let said = tool::run_with(&mut command, b"", tool::PATIENCE);
        // The policy does not let it start.
        if said.status.and_then(|s| s.code()) == Some(126) {
            println!("{}: programs of the workspace may not start", ready.name);
            continue;
        }
        match read(&said.stdout, rows.len()) {
            Ok(shut) => {
                let (count, found) = judge(&ready.name, &rows, &open, &shut, &[EACCES]);
                counts.push((ready.name.as_str(), count));
                faults.extend(found);
            }
            Err(e) => faults.push(format!("{}: {e}: {}", ready.name, said.words())),
        }
    }
    table::record("seccomp run", &counts);
    assert!(!counts.is_empty(), "no policy lets the probe start");
    assert!(
        faults.is_empty(),
        "{} differ:\n{}",
        faults.len(),
        faults.join("\n")
    );
}
