//! What polc reads off a seccomp filter, held against libseccomp and the kernel.
//!
//! libseccomp compiles each profile to BPF, as the runtimes have it do; polc's own BPF is taken as it is. The kernel
//! decides: the program is loaded in a child with its answers replaced by two errors, so that no call happens and
//! each tells by its error what the answer was. Asked is every call with arguments on both sides of all that the
//! profile compares. The programs for aarch64 are run on this machine with the name of the architecture put in.

use crate::tool;
use polc::backend::{self, Artifact, Options, seccomp};
use polc::policy::syscalls::{self, Arch};
use polc::semantics::Meaning;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

const AUDIT_X86_64: u32 = 0xc000_003e;
const AUDIT_AARCH64: u32 = 0xc000_00b7;
const EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
/// SECCOMP_RET_ERRNO, and the two errors.
const ERRNO: u32 = 0x0005_0000;
const ALLOWED: u8 = 1;
const REFUSED: u8 = 2;

type Call = (u32, [u64; 6]);

/// The program with its answers replaced, for this machine.
fn harmless(program: &[u8]) -> Vec<libc::sock_filter> {
    let instructions = program.chunks_exact(8).map(|c| libc::sock_filter {
        code: u16::from_le_bytes([c[0], c[1]]),
        jt: c[2],
        jf: c[3],
        k: u32::from_le_bytes([c[4], c[5], c[6], c[7]]),
    });
    instructions
        .map(|mut i| {
            match i.code {
                RETURN => {
                    // SECCOMP_RET_ALLOW and SECCOMP_RET_LOG let it happen.
                    let allows = matches!(i.k & 0xffff_0000, 0x7fff_0000 | 0x7ffc_0000);
                    i.k = ERRNO | u32::from(if allows { ALLOWED } else { REFUSED });
                }
                EQUAL if i.k == AUDIT_AARCH64 => i.k = AUDIT_X86_64,
                _ => {}
            }
            i
        })
        .collect()
}

/// What the kernel answers to each call under the program.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn kernel(program: &[u8], calls: &[Call]) -> Vec<bool> {
    let mut code = harmless(program);
    assert!(code.iter().any(|i| i.code == RETURN) && code.len() <= 4096);
    let filter = libc::sock_fprog {
        len: u16::try_from(code.len()).unwrap(),
        filter: code.as_mut_ptr(),
    };
    // SAFETY: a new mapping, which nothing else knows; it lives as long as the process.
    let shared = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            calls.len().max(1),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert_ne!(shared, libc::MAP_FAILED);
    let answers = shared.cast::<u8>();
    // SAFETY: the child makes system calls and writes to memory that was there before, and nothing else: other
    // threads of this process may have held locks.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        // SAFETY: as above; the pointers are to what the parent made, `answers` has one byte for each call. Behind
        // the filter no call happens, exiting neither, so it ends by an instruction that there is not.
        unsafe {
            let none = libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            };
            libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
            if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                || libc::prctl(
                    libc::PR_SET_SECCOMP,
                    libc::SECCOMP_MODE_FILTER,
                    &raw const filter,
                ) != 0
            {
                libc::_exit(1);
            }
            for (i, (number, a)) in calls.iter().enumerate() {
                let number = libc::c_long::from(*number);
                let done = libc::syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
                let error = *libc::__errno_location();
                let answer = match (done, error) {
                    (-1, 1) => ALLOWED,
                    (-1, 2) => REFUSED,
                    _ => 0xff,
                };
                answers.add(i).write_volatile(answer);
            }
            std::arch::asm!("ud2", options(noreturn));
        }
    }
    let mut status = 0;
    // SAFETY: `status` is this function's own.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(
        libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGILL,
        "the kernel does not take the program, or the child came to harm: {status:#x}"
    );
    // SAFETY: the child is gone; the mapping has this length.
    let answers = unsafe { std::slice::from_raw_parts(answers, calls.len()) }.to_vec();
    // SAFETY: nothing points into it any more.
    unsafe { libc::munmap(shared, calls.len().max(1)) };
    let allowed = |(i, answer): (usize, &u8)| match *answer {
        ALLOWED => true,
        REFUSED => false,
        other => panic!("call {:?} was answered {other:#x}", calls[i]),
    };
    answers.iter().enumerate().map(allowed).collect()
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn kernel(_: &[u8], _: &[Call]) -> Vec<bool> {
    unreachable!("the tests stop before")
}

fn possible() -> bool {
    let here = cfg!(all(target_os = "linux", target_arch = "x86_64"));
    if !here {
        tool::skip("filters are asked on x86_64 Linux only");
    }
    here
}

/// Reads a profile on standard input, compiles it as runc does, and prints by name the number of each call that
/// libseccomp knows.
const COMPILE: &str = r#"
import json, sys, seccomp
profile = json.load(sys.stdin)
arch, out = sys.argv[1:3]
native = seccomp.Arch()
own = seccomp.Arch({"x86_64": "x86_64", "aarch64": "aarch64"}[arch])
def action(name, errno):
    if name == "SCMP_ACT_ERRNO":
        return seccomp.ERRNO(1 if errno is None else errno)
    return {"SCMP_ACT_ALLOW": seccomp.ALLOW, "SCMP_ACT_LOG": seccomp.LOG, "SCMP_ACT_KILL_PROCESS": seccomp.KILL_PROCESS}[name]
default = action(profile["defaultAction"], profile.get("defaultErrnoRet"))
f = seccomp.SyscallFilter(defaction=default)
if arch != "x86_64":
    f.add_arch(own)
    f.remove_arch(native)
compare = {"EQ": seccomp.EQ, "NE": seccomp.NE, "LT": seccomp.LT, "LE": seccomp.LE, "GT": seccomp.GT, "GE": seccomp.GE}
numbers = {}
for entry in profile["syscalls"]:
    does = action(entry["action"], entry.get("errnoRet"))
    args = []
    for a in entry.get("args", []):
        op = a["op"].removeprefix("SCMP_CMP_")
        if op == "MASKED_EQ":
            args.append(seccomp.Arg(a["index"], seccomp.MASKED_EQ, a["value"], a.get("valueTwo", 0)))
        else:
            args.append(seccomp.Arg(a["index"], compare[op], a["value"]))
    for name in entry["names"]:
        number = seccomp.resolve_syscall(native, name)
        if number == -1:
            continue
        try:
            numbers[name] = seccomp.resolve_syscall(own, name)
        except Exception:
            continue
        if does != default:
            f.add_rule(does, number, *args)
for name in json.load(open(sys.argv[3])):
    if seccomp.resolve_syscall(native, name) != -1:
        numbers[name] = seccomp.resolve_syscall(own, name)
with open(out, "wb") as to:
    f.export_bpf(to)
json.dump(numbers, sys.stdout)
"#;

/// The Python that has libseccomp's bindings: Debian's.
fn python() -> Option<&'static Path> {
    let python = Path::new("/usr/bin/python3");
    let has = python.is_file() && tool::run(python, ["-c", "import seccomp"]).ok();
    if !has {
        tool::skip("no python3-seccomp, so nothing is held against libseccomp");
    }
    has.then_some(python)
}

/// The values on both sides of what the profile compares, by call and argument, and lists of arguments that an entry
/// was written for.
#[derive(Default)]
struct Compared {
    values: BTreeMap<u8, BTreeSet<u64>>,
    entries: Vec<[u64; 6]>,
}

fn compared(profile: &Value) -> BTreeMap<String, Compared> {
    let mut out: BTreeMap<String, Compared> = BTreeMap::new();
    for entry in profile["syscalls"].as_array().unwrap() {
        let none = Vec::new();
        let args = entry["args"].as_array().unwrap_or(&none);
        for name in entry["names"].as_array().unwrap() {
            let own = out.entry(name.as_str().unwrap().to_owned()).or_default();
            let mut meets = [0u64; 6];
            for a in args {
                let index = u8::try_from(a["index"].as_u64().unwrap()).unwrap();
                let (value, two) = (
                    a["value"].as_u64().unwrap(),
                    a["valueTwo"].as_u64().unwrap_or(0),
                );
                let masked = a["op"] == "SCMP_CMP_MASKED_EQ";
                let exact = if masked { two } else { value };
                meets[usize::from(index)] = exact;
                let values = own.values.entry(index).or_default();
                for v in [
                    exact,
                    if masked { two | !value } else { value },
                    0,
                    u64::MAX,
                ] {
                    values.extend([v, v.wrapping_add(1), v.wrapping_sub(1)]);
                    // The other half of the register, the flags that are or-ed to it, its complement.
                    values.extend([v | 1 << 32, v ^ 1 << 63, v | 0o2_004_000, !v]);
                }
                if masked {
                    values.extend(
                        (0..64)
                            .filter(|b| value >> b & 1 == 1)
                            .map(|b| two ^ 1 << b),
                    );
                }
            }
            own.entries.push(meets);
        }
    }
    out
}

/// Lists of arguments for one call.
fn arguments(compared: Option<&Compared>) -> BTreeSet<[u64; 6]> {
    let mut out = BTreeSet::from([[0; 6], [u64::MAX; 6], [1; 6]]);
    let Some(compared) = compared else {
        return out;
    };
    let lists: Vec<(u8, Vec<u64>)> = compared
        .values
        .iter()
        .map(|(i, v)| (*i, v.iter().copied().collect()))
        .collect();
    for entry in &compared.entries {
        out.insert(*entry);
        for (index, values) in &lists {
            for value in values {
                let mut one = *entry;
                one[usize::from(*index)] = *value;
                out.insert(one);
                // With what another entry has for the next argument.
                for other in &compared.entries {
                    let mut two = one;
                    let next = usize::from((index + 1) % 3);
                    two[next] = other[next];
                    out.insert(two);
                }
            }
        }
    }
    out
}

struct Questions {
    names: Vec<&'static str>,
    calls: Vec<Call>,
}

fn questions(profile: &Value, arch: Arch) -> Questions {
    let compared = compared(profile);
    let (mut names, mut calls) = (Vec::new(), Vec::new());
    for (name, number) in syscalls::of_arch(arch) {
        // The kernel lets its own trampolines by without asking (`seccomp_uprobe_exception`, kernel/seccomp.c, 6.14).
        if arch == Arch::X86_64 && ["uprobe", "uretprobe"].contains(&name) {
            continue;
        }
        for list in arguments(compared.get(name)) {
            names.push(name);
            calls.push((number, list));
        }
    }
    Questions { names, calls }
}

/// Where the kernel and the reading differ, of the calls that `known` knows.
fn differences(
    who: &str,
    artifact: &Artifact,
    program: &[u8],
    asked: &Questions,
    known: impl Fn(&str) -> bool,
) -> Vec<String> {
    let reading = seccomp::filters(std::slice::from_ref(artifact)).unwrap();
    let answers = kernel(program, &asked.calls);
    let mut out = Vec::new();
    for ((name, (_, list)), allowed) in asked.names.iter().zip(&asked.calls).zip(answers) {
        if !known(name) {
            continue;
        }
        let fixed: Vec<(u8, u64)> = (0u8..).zip(list.iter().copied()).collect();
        if reading.may(name, &fixed) != allowed {
            let does = if allowed { "allows" } else { "refuses" };
            out.push(format!(
                "{who}: the kernel {does} {name} {list:x?}, and is read otherwise"
            ));
        }
    }
    out
}

fn made(policy: &polc::policy::Policy, options: &[(&'static str, &str)]) -> Vec<Artifact> {
    let options = Options {
        values: options.iter().map(|(k, v)| (*k, (*v).to_owned())).collect(),
        ..Options::default()
    };
    let backend = backend::find("seccomp").unwrap();
    backend
        .compile(&Meaning::new(policy), &options)
        .unwrap()
        .artifacts
}

#[test]
fn profiles_are_read_as_libseccomp_and_the_kernel_decide() {
    let Some(python) = python() else { return };
    if !possible() {
        return;
    }
    let folder = tool::folder("libseccomp");
    let (mut count, mut faults) = (0, Vec::new());
    for (file, policy) in crate::policies::policies() {
        let artifacts = made(&policy, &[]);
        let profile: Value = serde_json::from_slice(&artifacts[0].bytes).unwrap();
        for arch in Arch::ALL {
            let (program, names) = (folder.path().join("program"), folder.path().join("names"));
            let all: Vec<&str> = syscalls::of_arch(arch).map(|c| c.0).collect();
            std::fs::write(&names, serde_json::to_vec(&all).unwrap()).unwrap();
            let mut command = Command::new(python);
            command
                .args(["-c", COMPILE, arch.name()])
                .arg(&program)
                .arg(&names);
            let said = tool::run_with(&mut command, &artifacts[0].bytes, tool::PATIENCE);
            assert!(said.ok(), "{file}: {}", said.words());
            let numbers: BTreeMap<String, i64> = serde_json::from_slice(&said.stdout).unwrap();
            let knows = |name: &str| numbers.get(name).is_some_and(|n| *n >= 0);
            for (name, number) in syscalls::of_arch(arch).filter(|c| knows(c.0)) {
                assert_eq!(numbers[name], i64::from(number), "{} {name}", arch.name());
            }
            let asked = questions(&profile, arch);
            let of_known = asked.names.iter().filter(|n| knows(n)).count();
            assert!(of_known > 900, "{file}: {of_known} questions");
            count += of_known;
            let program = std::fs::read(&program).unwrap();
            let who = format!("{file}, libseccomp for {}", arch.name());
            faults.extend(differences(&who, &artifacts[0], &program, &asked, knows));
        }
    }
    assert!(
        faults.is_empty(),
        "{} of {count}\n{}",
        faults.len(),
        faults[..faults.len().min(30)].join("\n")
    );
    eprintln!("{count} calls with arguments decided by libseccomp's programs and read alike");
}

#[test]
fn programs_are_read_as_the_kernel_runs_them() {
    if !possible() {
        return;
    }
    let mut faults = Vec::new();
    for (file, policy) in crate::policies::policies() {
        let profile = made(&policy, &[]);
        let profile: Value = serde_json::from_slice(&profile[0].bytes).unwrap();
        for arch in Arch::ALL {
            let [program] = &made(&policy, &[("arch", arch.name()), ("bpf", "")])[..] else {
                panic!("one file");
            };
            let asked = questions(&profile, arch);
            let who = format!("{file}, BPF for {}", arch.name());
            faults.extend(differences(&who, program, &program.bytes, &asked, |_| true));
        }
    }
    assert!(
        faults.is_empty(),
        "{}\n{}",
        faults.len(),
        faults[..faults.len().min(30)].join("\n")
    );
}

/// The comparison finds a filter that is not what was read.
#[test]
fn a_program_that_decides_otherwise_is_found() {
    if !possible() {
        return;
    }
    let (_, policy) = crate::policies::policies().swap_remove(0);
    let [program] = &made(&policy, &[("arch", "x86_64"), ("bpf", "")])[..] else {
        panic!("one file");
    };
    let profile = made(&policy, &[]);
    let profile: Value = serde_json::from_slice(&profile[0].bytes).unwrap();
    let asked = questions(&profile, Arch::X86_64);
    // Everything is refused.
    let mut other = program.bytes.clone();
    for c in other.chunks_exact_mut(8) {
        if c[..2] == RETURN.to_le_bytes() {
            c[4..8].copy_from_slice(&(ERRNO | 38).to_le_bytes());
        }
    }
    assert!(!differences("x", program, &other, &asked, |_| true).is_empty());
    assert!(differences("x", program, &program.bytes, &asked, |_| true).is_empty());
}
