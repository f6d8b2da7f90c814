//! The seccomp back-end, judged from outside: its OCI JSON is evaluated as libseccomp and the runtimes
//! do, its BPF by a small interpreter and by this machine's kernel.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]
#![cfg(target_os = "linux")]

use polc::backend::{Compiled, Options, find};
use polc::fidelity::Fidelity;
use polc::frontend::{LoadOptions, load, load_builtin, load_path};
use polc::policy::syscalls::{self, Arch};
use polc::policy::{Operation, Policy};
use polc::semantics::Meaning;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

const EPERM: u16 = 1;
const ENOSYS: u16 = 38;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Allow,
    Errno(u16),
    Kill,
}

type Arguments = [u64; 6];

// --- policies ---------------------------------------------------------------------------------

fn policy(rules: &str) -> Policy {
    let text = format!("version: 1\nname: test\n{rules}");
    match load("test.yaml", &text, &LoadOptions::default()) {
        Ok(l) => l.policy,
        Err(e) => panic!(
            "{}",
            polc::diagnostics::render(&e, polc::diagnostics::Style::Plain)
        ),
    }
}

/// Every built-in policy and every one in `tests/policies`.
fn corpus() -> Vec<(String, Policy)> {
    let mut out = Vec::new();
    for b in polc::frontend::builtin::policies() {
        let loaded = load_builtin(b.name, &LoadOptions::default()).unwrap();
        out.push((b.name.to_owned(), loaded.policy));
    }
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policies");
    for e in std::fs::read_dir(dir).unwrap() {
        let path = e.unwrap().path();
        out.push((
            path.display().to_string(),
            load_path(&path, &LoadOptions::default()).unwrap().policy,
        ));
    }
    out.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(out.len() > 10);
    out
}

fn compile(policy: &Policy, options: &[(&'static str, &str)]) -> Compiled {
    let options = Options {
        values: options.iter().map(|(k, v)| (*k, (*v).to_owned())).collect(),
        ..Options::default()
    };
    find("seccomp")
        .unwrap()
        .compile(&Meaning::new(policy), &options)
        .unwrap()
}

fn oci(policy: &Policy) -> Oci {
    Oci::read(&compile(policy, &[]).artifacts[0].bytes)
}

// --- OCI, as libseccomp evaluates it ------------------------------------------------------------

struct OciRule {
    names: BTreeSet<String>,
    answer: Answer,
    args: Vec<(usize, String, u64, u64)>,
}

struct Oci {
    default: Answer,
    rules: Vec<OciRule>,
}

fn answer(action: &Value, errno: Option<&Value>) -> Answer {
    match action.as_str().unwrap() {
        "SCMP_ACT_ALLOW" => Answer::Allow,
        "SCMP_ACT_ERRNO" => Answer::Errno(
            errno
                .and_then(Value::as_u64)
                .map_or(EPERM, |e| u16::try_from(e).unwrap()),
        ),
        other => panic!("{other}"),
    }
}

impl Oci {
    /// Reads a flat profile, or Docker's for a container on x86_64 without capabilities.
    fn read(bytes: &[u8]) -> Self {
        let json: Value = serde_json::from_slice(bytes).unwrap();
        let mut rules = Vec::new();
        for s in json["syscalls"].as_array().unwrap() {
            let list = |side: &str, what: &str| -> Vec<String> {
                let at = &s[side][what];
                let items = at.as_array().into_iter().flatten();
                items.map(|v| v.as_str().unwrap().to_owned()).collect()
            };
            if !list("includes", "caps").is_empty()
                || list("excludes", "arches").contains(&"amd64".into())
            {
                continue;
            }
            let arches = list("includes", "arches");
            if !arches.is_empty() && !arches.iter().any(|a| a == "amd64") {
                continue;
            }
            let args = s["args"].as_array().into_iter().flatten().map(|a| {
                (
                    usize::try_from(a["index"].as_u64().unwrap()).unwrap(),
                    a["op"].as_str().unwrap().to_owned(),
                    a["value"].as_u64().unwrap(),
                    a["valueTwo"].as_u64().unwrap_or(0),
                )
            });
            rules.push(OciRule {
                names: s["names"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|n| n.as_str().unwrap().into())
                    .collect(),
                answer: answer(&s["action"], s.get("errnoRet")),
                args: args.collect(),
            });
        }
        Self {
            default: answer(&json["defaultAction"], json.get("defaultErrnoRet")),
            rules,
        }
    }

    fn answers(&self, name: &str, args: &Arguments) -> Vec<Answer> {
        let holds = |rule: &&OciRule| {
            rule.names.contains(name)
                && rule.args.iter().all(|(index, op, value, two)| {
                    let a = args[*index];
                    match op.as_str() {
                        "SCMP_CMP_MASKED_EQ" => a & value == *two,
                        "SCMP_CMP_EQ" => a == *value,
                        "SCMP_CMP_NE" => a != *value,
                        "SCMP_CMP_LT" => a < *value,
                        "SCMP_CMP_GT" => a > *value,
                        other => panic!("{other}"),
                    }
                })
        };
        self.rules.iter().filter(holds).map(|r| r.answer).collect()
    }

    /// What happens; two rules that disagree are a defect of the profile.
    fn decide(&self, name: &str, args: &Arguments) -> Answer {
        let answers = self.answers(name, args);
        for a in &answers {
            assert_eq!(*a, answers[0], "{name} {args:x?}: rules disagree");
        }
        answers.first().copied().unwrap_or(self.default)
    }

    fn unconditional(&self, name: &str) -> bool {
        self.rules
            .iter()
            .all(|r| !r.names.contains(name) || r.args.is_empty())
    }

    /// Arguments at which an answer can change: each constant that stands for an argument, its neighbours,
    /// each bit of its mask, rubbish above 32 bits.
    fn arguments(&self, name: &str) -> Vec<Arguments> {
        let mut values: [BTreeSet<u64>; 6] = std::array::from_fn(|_| BTreeSet::from([0]));
        for (index, op, value, two) in self
            .rules
            .iter()
            .filter(|r| r.names.contains(name))
            .flat_map(|r| &r.args)
        {
            let constant = if op == "SCMP_CMP_MASKED_EQ" {
                *two
            } else {
                *value
            };
            let set = &mut values[*index];
            set.extend([constant, constant.wrapping_add(1), constant.wrapping_sub(1)]);
            set.extend([constant | 1 << 32, u64::MAX]);
            if *value != 0xffff_ffff {
                set.extend(
                    (0..32)
                        .map(|b| 1u64 << b)
                        .filter(|b| value & b != 0)
                        .map(|b| constant ^ b),
                );
                set.insert(constant | 0o2_004_000);
            }
        }
        let mut out = vec![[0; 6]];
        for (i, set) in values.iter().enumerate() {
            out = out
                .iter()
                .flat_map(|args| {
                    set.iter().map(move |v| {
                        let mut args = *args;
                        args[i] = *v;
                        args
                    })
                })
                .collect();
        }
        out
    }
}

// --- BPF ----------------------------------------------------------------------------------------

fn audit(arch: Arch) -> u32 {
    match arch {
        Arch::X86_64 => 0xc000_003e,
        Arch::Aarch64 => 0xc000_00b7,
    }
}

/// The instructions that seccomp programs may have; anything else panics.
fn run(program: &[u8], arch: u32, number: u32, args: &Arguments) -> Answer {
    let mut data = [0u8; 64];
    data[0..4].copy_from_slice(&number.to_le_bytes());
    data[4..8].copy_from_slice(&arch.to_le_bytes());
    for (i, a) in args.iter().enumerate() {
        data[16 + 8 * i..24 + 8 * i].copy_from_slice(&a.to_le_bytes());
    }
    let (mut at, mut acc) = (0usize, 0u32);
    loop {
        let i = &program[at * 8..at * 8 + 8];
        let code = u16::from_le_bytes([i[0], i[1]]);
        let (jt, jf) = (usize::from(i[2]), usize::from(i[3]));
        let k = u32::from_le_bytes([i[4], i[5], i[6], i[7]]);
        at += 1;
        let mut jump = |holds: bool| at += if holds { jt } else { jf };
        match code {
            0x20 => {
                let k = k as usize;
                assert!(k.is_multiple_of(4) && k < 64);
                acc = u32::from_le_bytes([data[k], data[k + 1], data[k + 2], data[k + 3]]);
            }
            0x54 => acc &= k,
            0x05 => at += k as usize,
            0x15 => jump(acc == k),
            0x25 => jump(acc > k),
            0x35 => jump(acc >= k),
            0x06 => {
                return match k & 0xffff_0000 {
                    0x7fff_0000 => Answer::Allow,
                    0x0005_0000 => Answer::Errno((k & 0xffff) as u16),
                    0x8000_0000 => Answer::Kill,
                    other => panic!("{other:x}"),
                };
            }
            other => panic!("instruction {other:x}"),
        }
    }
}

fn bpf(policy: &Policy, arch: Arch) -> Vec<u8> {
    let options = [("arch", arch.name()), ("bpf", "")];
    let compiled = compile(policy, &options);
    assert_eq!(compiled.artifacts.len(), 1);
    assert!(
        compiled.artifacts[0]
            .file_name
            .ends_with(&format!(".{}.bpf", arch.name()))
    );
    compiled.artifacts[0].bytes.clone()
}

#[test]
fn the_bpf_decides_as_the_oci_profile_does() {
    for (name, policy) in corpus() {
        let profile = oci(&policy);
        for arch in Arch::ALL {
            let program = bpf(&policy, arch);
            assert!(
                program.len().is_multiple_of(8) && program.len() / 8 <= 4096,
                "{name}"
            );
            let mut known = BTreeSet::new();
            for (call, number) in syscalls::of_arch(arch) {
                known.insert(number);
                for args in profile.arguments(call) {
                    let expected = profile.decide(call, &args);
                    let got = run(&program, audit(arch), number, &args);
                    let same = if profile.unconditional(call) {
                        got == expected
                    } else {
                        (got == Answer::Allow) == (expected == Answer::Allow)
                    };
                    assert!(
                        same,
                        "{name} {arch:?} {call} {args:x?}: {got:?}, OCI {expected:?}"
                    );
                    for other in [
                        0x4000_0003,
                        0xc000_003d,
                        0x4000_0028,
                        audit(arch) ^ 0x4000_0000,
                    ] {
                        assert_eq!(run(&program, other, number, &args), Answer::Kill);
                    }
                    let x32 = run(&program, audit(arch), number | 0x4000_0000, &args);
                    assert_eq!(x32, Answer::Errno(ENOSYS), "{name} x32 {call}");
                }
            }
            for number in (0..600).chain([u32::MAX, 0x8000_0000]) {
                if !known.contains(&number) {
                    let got = run(&program, audit(arch), number, &[0; 6]);
                    assert_eq!(got, Answer::Errno(ENOSYS), "{name} {arch:?} {number}");
                }
            }
        }
    }
}

// --- what the runtimes stumble on ---------------------------------------------------------------

#[test]
fn the_profile_keeps_to_what_every_runtime_reads() {
    for (name, policy) in corpus() {
        let bytes = compile(&policy, &[]).artifacts[0].bytes.clone();
        assert_eq!(
            bytes,
            compile(&policy, &[]).artifacts[0].bytes,
            "{name}: not the same twice"
        );
        let json: Value = serde_json::from_slice(&bytes).unwrap();
        let keys: Vec<&str> = json
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            keys,
            [
                "defaultAction",
                "defaultErrnoRet",
                "architectures",
                "syscalls"
            ]
        );
        let mut plain = BTreeSet::new();
        let mut with_args = BTreeSet::new();
        for s in json["syscalls"].as_array().unwrap() {
            for key in s.as_object().unwrap().keys() {
                assert!(
                    ["names", "action", "errnoRet", "args"].contains(&key.as_str()),
                    "{key}"
                );
            }
            let errno = s["action"] == "SCMP_ACT_ERRNO";
            assert_eq!(
                errno,
                s.get("errnoRet").is_some(),
                "{name}: crun refuses errnoRet elsewhere"
            );
            let indexes: Vec<u64> = s["args"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|a| a["index"].as_u64().unwrap())
                .collect();
            let distinct: BTreeSet<_> = indexes.iter().collect();
            assert_eq!(
                distinct.len(),
                indexes.len(),
                "{name}: a repeated index is an or"
            );
            for n in s["names"].as_array().unwrap() {
                let n = n.as_str().unwrap().to_owned();
                assert!(syscalls::known(&n));
                if indexes.is_empty() {
                    assert!(plain.insert(n.clone()), "{name}: {n} twice");
                } else {
                    with_args.insert(n);
                }
            }
        }
        let both: Vec<_> = plain.intersection(&with_args).collect();
        assert!(
            both.is_empty(),
            "{name}: one rule swallows the other: {both:?}"
        );
        // What a runtime does under the filter before the program runs.
        let profile = oci(&policy);
        for call in [
            "execve",
            "getdents64",
            "prctl",
            "capset",
            "setuid",
            "setgid",
            "setgroups",
            "read",
            "write",
            "close",
            "fcntl",
            "mmap",
            "futex",
        ] {
            assert_eq!(
                profile.decide(call, &[0; 6]),
                Answer::Allow,
                "{name}: {call}"
            );
        }
        let thread = 0x0005_0f00;
        assert_eq!(
            profile.decide("clone", &[thread, 0, 0, 0, 0, 0]),
            Answer::Allow
        );
    }
}

// --- never weaker than a container's default ------------------------------------------------------

#[test]
fn nothing_is_open_that_containers_do_not_get() {
    let shared = Path::new("/work/shared/data");
    let mut defaults = Vec::new();
    for file in ["moby-default.json", "containers-common-seccomp.json"] {
        match std::fs::read(shared.join(file)) {
            Ok(bytes) => defaults.push((file, Oci::read(&bytes))),
            Err(_) => eprintln!("skipped: no {file} to compare with"),
        }
    }
    for (name, policy) in corpus() {
        // Rules and capabilities may open more; that is what they are for.
        let asks = policy
            .rules
            .iter()
            .any(|r| r.operations.contains(Operation::Syscall) && r.action.permits());
        if asks || !policy.capabilities.is_empty() {
            continue;
        }
        let profile = oci(&policy);
        for call in [
            "mount",
            "umount2",
            "pivot_root",
            "move_mount",
            "open_tree",
            "fsopen",
            "mount_setattr",
            "setns",
            "unshare",
            "clone3",
            "io_uring_setup",
            "io_uring_enter",
            "io_uring_register",
            "bpf",
            "perf_event_open",
            "ptrace",
            "process_vm_readv",
            "process_vm_writev",
            "pidfd_getfd",
            "kcmp",
            "keyctl",
            "add_key",
            "request_key",
            "init_module",
            "finit_module",
            "delete_module",
            "kexec_load",
            "kexec_file_load",
            "open_by_handle_at",
            "userfaultfd",
            "reboot",
            "swapon",
            "iopl",
            "ioperm",
            "acct",
            "quotactl",
            "settimeofday",
            "clock_settime",
            "chroot",
            "syslog",
        ] {
            for args in [[0; 6], [1; 6], [u64::MAX; 6]] {
                assert_ne!(profile.decide(call, &args), Answer::Allow, "{name}: {call}");
            }
        }
        assert_eq!(
            profile.decide("clone3", &[0; 6]),
            Answer::Errno(ENOSYS),
            "or glibc does not fall back"
        );
        assert_eq!(profile.decide("mount", &[0; 6]), Answer::Errno(EPERM));
        for flag in [
            0x2_0000u64,
            0x200_0000,
            0x400_0000,
            0x800_0000,
            0x1000_0000,
            0x2000_0000,
            0x4000_0000,
        ] {
            assert_eq!(
                profile.decide("clone", &[flag | 17, 0, 0, 0, 0, 0]),
                Answer::Errno(EPERM)
            );
        }
        for family in [38, 40, 38 | 1 << 32, 31, 44] {
            assert_ne!(
                profile.decide("socket", &[family, 1, 0, 0, 0, 0]),
                Answer::Allow,
                "{name}: {family}"
            );
        }
        for (file, default) in &defaults {
            for call in syscalls::all() {
                let mut all = profile.arguments(call);
                all.extend(default.arguments(call));
                for args in all {
                    // Above 32 bits the defaults look at what the kernel does not.
                    let int = args.map(|a| a & 0xffff_ffff);
                    if profile.decide(call, &args) == Answer::Allow {
                        let there = default.answers(call, &int);
                        assert!(
                            there.contains(&Answer::Allow),
                            "{name}: {call} {args:x?} is allowed here, {there:?} in {file}"
                        );
                    }
                }
            }
        }
    }
}

// --- what follows from a policy -------------------------------------------------------------------

const TCP4: Arguments = [2, 0o2_000_001, 6, 0, 0, 0];
const TCP6: Arguments = [10, 1, 0, 0, 0, 0];
const UDP4: Arguments = [2, 2, 17, 0, 0, 0];
const MPTCP: Arguments = [2, 1, 262, 0, 0, 0];
const RAW4: Arguments = [2, 3, 1, 0, 0, 0];
const LOCAL: Arguments = [1, 1, 0, 0, 0, 0];
const ROUTE: Arguments = [16, 3, 0, 0, 0, 0];

fn fidelity(policy: &Policy, operation: Operation) -> Vec<Fidelity> {
    let compiled = compile(policy, &[]);
    let entries = compiled.ledger.entries.iter();
    entries
        .filter(|e| e.operation == operation)
        .map(|e| e.fidelity)
        .collect()
}

#[test]
fn a_closed_network_closes_its_sockets() {
    let p =
        policy("rules:\n- {name: a, action: allow, operations: [read, write], paths: [/w/**]}\n");
    let f = oci(&p);
    for args in [TCP4, TCP6, UDP4, LOCAL] {
        assert_eq!(f.decide("socket", &args), Answer::Errno(EPERM), "{args:?}");
    }
    for args in [
        MPTCP,
        RAW4,
        [17, 3, 0, 0, 0, 0],
        [16, 3, 9, 0, 0, 0],
        [43, 1, 0, 0, 0, 0],
    ] {
        assert_ne!(f.decide("socket", &args), Answer::Allow, "{args:?}");
    }
    assert_eq!(f.decide("socket", &ROUTE), Answer::Allow);
    assert_eq!(f.decide("socketpair", &LOCAL), Answer::Allow);
    for kind in [2, 3, 2 | 0o2_000_000] {
        assert_ne!(
            f.decide("socketpair", &[1, kind, 0, 0, 0, 0]),
            Answer::Allow,
            "it sends to any path"
        );
    }
    assert_eq!(f.decide("listen", &[0; 6]), Answer::Errno(EPERM));
    for o in [Operation::Connect, Operation::Bind] {
        assert!(fidelity(&p, o).iter().all(|f| *f == Fidelity::Exact), "{o}");
    }
}

#[test]
fn one_protocol_opens_only_that() {
    let p = policy(
        "rules:\n- {name: a, action: allow, operations: [connect], hosts: ['tcp://10.0.0.1:443']}\n",
    );
    let f = oci(&p);
    for args in [TCP4, TCP6] {
        assert_eq!(f.decide("socket", &args), Answer::Allow, "{args:?}");
    }
    assert_eq!(f.decide("socket", &UDP4), Answer::Errno(EPERM));
    assert_ne!(
        f.decide("socket", &MPTCP),
        Answer::Allow,
        "Landlock does not see it"
    );
    assert_ne!(f.decide("socket", &RAW4), Answer::Allow);
    // Exact for UDP, and no more than that for TCP.
    let compiled = compile(&p, &[]);
    let rest = compiled
        .ledger
        .entries
        .iter()
        .find(|e| e.rule.is_none() && e.operation == Operation::Connect)
        .unwrap();
    assert_eq!(rest.fidelity, Fidelity::Looser);
    assert!(
        rest.witnesses[0].object.to_string().starts_with("tcp://"),
        "{:?}",
        rest.witnesses
    );
    assert!(
        fidelity(&p, Operation::Bind)
            .iter()
            .all(|f| *f == Fidelity::Exact)
    );
    let open = policy("default_action: allow\nrules: []\n");
    assert_eq!(oci(&open).decide("socket", &MPTCP), Answer::Allow);
    assert_eq!(oci(&open).decide("socket", &LOCAL), Answer::Allow);
}

#[test]
fn families_of_calls_go_whole() {
    let p =
        policy("rules:\n- {name: a, action: allow, operations: [read, execute], paths: [/**]}\n");
    let f = oci(&p);
    for call in [
        "creat",
        "mkdir",
        "mkdirat",
        "mknod",
        "mknodat",
        "symlink",
        "symlinkat",
        "link",
        "linkat",
        "rename",
        "renameat",
        "renameat2",
        "unlink",
        "unlinkat",
        "rmdir",
        "chmod",
        "fchmod",
        "fchmodat",
        "fchmodat2",
        "chown",
        "fchown",
        "lchown",
        "fchownat",
        "utime",
        "utimes",
        "utimensat",
        "futimesat",
        "setxattr",
        "lsetxattr",
        "fsetxattr",
        "setxattrat",
        "removexattr",
        "lremovexattr",
        "fremovexattr",
        "removexattrat",
        "file_setattr",
        "bind",
    ] {
        assert_eq!(f.decide(call, &[0; 6]), Answer::Errno(EPERM), "{call}");
    }
    for (call, index) in [("open", 1), ("openat", 2)] {
        for (flags, expected) in [
            (0, Answer::Allow),
            (0o2_000_001, Answer::Allow),
            (0o101, Answer::Errno(EPERM)),
            (0o20_200_002, Answer::Errno(EPERM)),
        ] {
            let mut args = [0; 6];
            args[index] = flags;
            assert_eq!(f.decide(call, &args), expected, "{call} {flags:o}");
        }
    }
    assert_eq!(
        f.decide("openat2", &[0; 6]),
        Answer::Errno(ENOSYS),
        "flags behind a pointer"
    );
    for o in [Operation::Create, Operation::Delete, Operation::Metadata] {
        assert_eq!(fidelity(&p, o), [Fidelity::Exact], "{o}");
    }
    assert_eq!(fidelity(&p, Operation::Edit), [Fidelity::Unenforced]);
    // Where files may be edited, `> /dev/null` must work, so new files are not stopped, and that is said.
    let p = policy("rules:\n- {name: a, action: allow, operations: [edit], paths: [/dev/null]}\n");
    assert_eq!(
        oci(&p).decide("openat", &[0, 0, 0o101, 0, 0, 0]),
        Answer::Allow
    );
    assert_eq!(oci(&p).decide("mkdir", &[0; 6]), Answer::Errno(EPERM));
    assert_eq!(fidelity(&p, Operation::Create), [Fidelity::Looser]);
    assert_eq!(fidelity(&p, Operation::Delete), [Fidelity::Exact]);
}

#[test]
fn syscall_rules_open_and_close_in_order() {
    let p = policy(
        "rules:\n\
         - {name: a, action: allow, syscalls: [umount2, '@ptrace'], except: [kcmp]}\n\
         - {name: b, action: deny, syscalls: ['@mount', socketpair, execve]}\n\
         - {name: c, action: allow, operations: [write], paths: [/**]}\n",
    );
    let f = oci(&p);
    for call in ["umount2", "ptrace", "process_vm_readv", "pidfd_getfd"] {
        assert_eq!(f.decide(call, &[0; 6]), Answer::Allow, "{call}");
    }
    for call in ["mount", "kcmp"] {
        assert_eq!(f.decide(call, &[0; 6]), Answer::Errno(EPERM), "{call}");
    }
    assert_eq!(f.decide("socketpair", &LOCAL), Answer::Errno(EPERM));
    // The runtime needs it, and the ledger says so.
    assert_eq!(f.decide("execve", &[0; 6]), Answer::Allow);
    let compiled = compile(&p, &[]);
    let b = compiled
        .ledger
        .entries
        .iter()
        .find(|e| e.rule.is_some_and(|r| r.0 == 1))
        .unwrap();
    assert_eq!(b.fidelity, Fidelity::Looser, "{b:?}");
    assert_eq!(b.witnesses[0].object.to_string(), "execve");
}

#[test]
fn a_capability_brings_its_calls() {
    let p = policy("capabilities: [CAP_SYS_CHROOT, CAP_SYS_ADMIN]\nrules: []\n");
    let f = oci(&p);
    for call in ["chroot", "mount", "unshare", "setns"] {
        assert_eq!(f.decide(call, &[0; 6]), Answer::Allow, "{call}");
    }
    assert_eq!(
        f.decide("clone", &[0x1000_0000, 0, 0, 0, 0, 0]),
        Answer::Allow,
        "as unshare"
    );
    assert_ne!(f.decide("reboot", &[0; 6]), Answer::Allow);
    let compiled = compile(&p, &[]);
    assert!(
        compiled
            .ledger
            .entries
            .iter()
            .all(|e| e.operation != Operation::Syscall || !e.fidelity.leaks())
    );
}

#[test]
fn io_uring_that_is_allowed_opens_every_family() {
    let p = policy("rules:\n- {name: a, action: allow, syscalls: ['@io_uring']}\n");
    assert_eq!(oci(&p).decide("io_uring_setup", &[0; 6]), Answer::Allow);
    for o in [
        Operation::Create,
        Operation::Delete,
        Operation::Metadata,
        Operation::Connect,
        Operation::Bind,
    ] {
        let found = fidelity(&p, o);
        assert!(found.iter().all(|f| f.leaks()), "{o}: {found:?}");
    }
}

#[test]
fn a_policy_that_allows_by_default_gets_a_containers_base() {
    let p = policy("default_action: allow\nrules: []\n");
    let f = oci(&p);
    assert_eq!(f.decide("io_uring_setup", &[0; 6]), Answer::Errno(EPERM));
    assert_eq!(f.decide("renameat2", &[0; 6]), Answer::Allow);
    assert_eq!(fidelity(&p, Operation::Syscall), [Fidelity::Stricter]);
    for o in [
        Operation::Read,
        Operation::Create,
        Operation::Connect,
        Operation::Bind,
    ] {
        assert_eq!(fidelity(&p, o), [Fidelity::Exact], "{o}");
    }
}

// --- this machine's kernel ------------------------------------------------------------------------

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
#[test]
fn the_kernel_takes_the_filter_and_refuses() {
    use std::io::ErrorKind;
    let arch = if cfg!(target_arch = "x86_64") {
        Arch::X86_64
    } else {
        Arch::Aarch64
    };
    let p = policy(
        "rules:\n- {name: a, action: allow, operations: [read, list, create, edit], paths: [/**]}\n",
    );
    let bytes = bpf(&p, arch);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    // A filter stays with its thread for good.
    let said = std::thread::spawn(move || {
        let program: Vec<seccompiler::sock_filter> = bytes
            .chunks(8)
            .map(|i| seccompiler::sock_filter {
                code: u16::from_le_bytes([i[0], i[1]]),
                jt: i[2],
                jf: i[3],
                k: u32::from_le_bytes([i[4], i[5], i[6], i[7]]),
            })
            .collect();
        let mode = std::fs::metadata(&file).unwrap().permissions();
        let before = std::fs::set_permissions(&file, mode.clone()).is_ok();
        seccompiler::apply_filter(&program).unwrap();
        let kind = |r: std::io::Result<()>| r.err().map(|e| e.kind());
        (
            before,
            kind(std::fs::write(&file, "y")),
            kind(std::fs::set_permissions(&file, mode)),
            kind(std::fs::remove_file(&file)),
            kind(std::fs::rename(&file, file.with_extension("y"))),
            kind(std::net::TcpListener::bind("127.0.0.1:0").map(drop)),
            kind(std::net::UdpSocket::bind("127.0.0.1:0").map(drop)),
            kind(std::os::unix::net::UnixStream::connect("/nowhere").map(drop)),
            kind(std::os::unix::net::UnixStream::pair().map(drop)),
            std::thread::spawn(|| 7).join().ok(),
        )
    })
    .join()
    .unwrap();
    let no = Some(ErrorKind::PermissionDenied);
    assert_eq!(said, (true, None, no, no, no, no, no, no, None, Some(7)));
}
