//! The guard: a supervisor that makes the calls which name a path, in place of the program.
//!
//! ```text
//! polc (outside) ─── guard ─── the program and all that it starts
//!                      │ hull: whole trees in which anything may be written     (Landlock, on both)
//!                      │ the policy's automata                                  (by path, exact)
//!                      │ inner domain: devices alone                            (Landlock, on the program)
//! ```
//!
//! The kernel stops calls that change files or connect to a socket with a path (`SECCOMP_RET_USER_NOTIF`), and passes
//! them to the guard. The guard reads the arguments once. It finds the object in the program's own view ([`resolve`]),
//! and asks the policy by the object's name ([`judge`]). Then it makes the call itself on the object that it holds
//! ([`calls`], [`sockets`]), and passes the descriptor to the program ([`listen`]). Otherwise it answers with an error,
//! or leaves the call to the kernel. Then *the inner domain decides*, and it never allows what the policy denies. So a
//! forgotten call, an error here and a dead guard make the result stricter, never looser.
//!
//! - The guard has the program's user, groups, capabilities and namespaces. It splits off last, when everything that
//!   the program must not have is gone. If the policy keeps a capability by which a program becomes another user, there
//!   is no guard.
//! - Work that may block (a FIFO, a connection) is done in another thread, and the program's signals break it off
//!   ([`blocking`]).
//! - The guard is the program's parent, so the kernel lets it read the program's memory (Yama). It adopts orphans. When
//!   it ends, for any reason, polc outside ends everything that the program has started.
//!
//! # What it needs
//!
//! - Linux 5.19. On this kernel, only a fatal signal breaks off a call that the guard has taken (`WAIT_KILLABLE_RECV`).
//!   Otherwise a signal could make the call run twice.
//! - Yama's scope below 2.
//! - No other program that supervises this one in the same way: the kernel takes one listener.
//!
//! # What stays different for the program
//!
//! - A server sees the process number of the guard at its socket (`SO_PEERCRED`). The user is the same.
//! - If the policy says which sockets the program may connect to, unix datagram sockets are refused: a datagram names
//!   its receiver in memory.
//! - `openat2` with `RESOLVE_CACHED` answers `EAGAIN`. A socket that the guard binds has a relative name.
//! - The leader of a session cannot open a terminal by a path in a directory that Landlock does not grant.

mod blocking;
mod calls;
mod domains;
mod filter;
mod judge;
mod kernel;
mod listen;
mod outside;
mod own;
mod record;
mod resolve;
mod sockets;
mod table;
mod target;

pub use domains::{Named, hull, lose, narrow};
pub use outside::hear;

use super::{Error, filter as filters, init, leftovers, line, signals, sys};
use crate::backend::landlock::{PathBeneath, Ruleset};
use crate::policy::{Operation, Policy};
use crate::semantics::{Meaning, TooLarge};
use filter::Asked;
use judge::Judge;
use kernel::Errno;
use listen::Guard;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::RwLock;

/// Whether the user wants the guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wanted {
    /// No.
    Off,
    /// Where the policy needs it and this host can have it.
    #[default]
    Auto,
    /// Without it, the program does not start.
    Require,
}

/// Capabilities by which a program becomes another user, or ignores owner and mode. With them, the guard would not have
/// the same rights as the program.
const IDENTITY: [&str; 8] = [
    "CAP_SETUID",
    "CAP_SETGID",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_CHOWN",
    "CAP_SETFCAP",
    "CAP_SYS_ADMIN",
];

/// Why this host can have no guard. `None`: it can.
#[must_use]
pub fn hindered(policy: &Policy, abi: u32) -> Option<String> {
    if filters::own_arch().is_none() {
        return Some("the guard is made for x86_64 and aarch64".to_owned());
    }
    if let Some(kept) = policy
        .capabilities
        .iter()
        .find(|c| IDENTITY.contains(&c.as_str()))
    {
        return Some(format!(
            "the policy keeps {kept}, by which a program can have other rights than the guard"
        ));
    }
    if abi < 2 {
        return Some(
            "this kernel's Landlock refuses every rename across directories (before Linux 5.19)"
                .to_owned(),
        );
    }
    let yama = std::fs::read("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    if let scope @ (b"2" | b"3") = yama.trim_ascii() {
        let scope = String::from_utf8_lossy(scope);
        return Some(format!(
            "no process may look at another one here (kernel.yama.ptrace_scope is {scope})"
        ));
    }
    // A filter cannot be unloaded, so a thread that ends tries it.
    let tried = std::thread::spawn(tried).join();
    match tried {
        Ok(Ok(())) => None,
        Ok(Err(Errno(libc::EBUSY))) => Some(
            "another program already supervises this one by seccomp, and the kernel takes one"
                .to_owned(),
        ),
        Ok(Err(Errno(libc::EINVAL))) => {
            Some("this kernel is too old (before Linux 5.19)".to_owned())
        }
        Ok(Err(e)) => Some(format!(
            "a call that it needs is refused here: {}",
            io::Error::from_raw_os_error(e.0)
        )),
        Err(_) => Some("a thread that was to try it failed".to_owned()),
    }
}

/// Tries what the guard does, with this thread and its process.
fn tried() -> Result<(), Errno> {
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)?;
    let allow = libc::sock_filter {
        code: 0x06,
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_ALLOW,
    };
    kernel::load_with_listener(&[allow]).map(drop)?;
    let number = [7u8; 8];
    let mut read = [0u8; 8];
    kernel::read_memory(kernel::own_thread(), number.as_ptr() as u64, &mut read)?;
    let root = kernel::open(&libc::AT_FDCWD, c"/", libc::O_PATH, 0)?;
    kernel::copy_of(
        &kernel::process(std::process::id() as libc::pid_t)?,
        root.as_raw_fd(),
    )
    .or_else(|e| if e.0 == libc::EBADF { Ok(root) } else { Err(e) })?;
    Ok(())
}

/// What the guard must be asked about, by a policy's meaning.
///
/// # Errors
/// The policy's automata are too large.
fn asked(meaning: &Meaning<'_>, sockets: bool) -> Result<Asked, TooLarge> {
    let some = |operation| -> Result<bool, TooLarge> {
        Ok(!meaning.decisions(operation)?.allowed().is_all())
    };
    Ok(Asked {
        files: domains::is_asked(meaning)?,
        metadata: some(Operation::Metadata)?,
        sockets: sockets && some(Operation::Connect)?,
    })
}

/// The filter that passes the program's calls to the guard. It is made before any right is given up.
pub struct Filter(Vec<libc::sock_filter>);

/// The program's end of the line to the guard.
pub struct Inside {
    line: UnixStream,
    guard: libc::pid_t,
}

/// Makes the filter. With `sockets` the guard is asked about connections to unix sockets.
///
/// # Errors
/// This architecture has none, or the policy's automata are too large.
pub fn prepare(meaning: &Meaning<'_>, sockets: bool) -> Result<Filter, Error> {
    let arch = filters::own_arch().ok_or(Error::Architecture)?;
    Ok(Filter(filter::program(arch, asked(meaning, sockets)?)))
}

/// What the guard must know about the program's layers.
pub struct Task {
    /// The files of the standard descriptors that the program may open again for writing, by device and inode.
    pub standard: Vec<(libc::dev_t, libc::ino_t)>,
    /// The ABI version of Landlock.
    pub abi: u32,
    /// Rules with `except_new` hold for what the program itself has made, too.
    pub to_the_letter: bool,
    /// The guard reports here, at the end, what was refused.
    pub told: Option<UnixStream>,
}

/// Splits the process. It returns in the part that becomes the program. The other part is the guard.
///
/// # Errors
/// The process cannot be split.
pub fn split(meaning: &Meaning<'_>, task: Task) -> Result<Inside, Error> {
    let error = |e| Error::Guard("start the guard", e);
    let (inside, outside) = UnixStream::pair().map_err(error)?;
    leftovers::adopt().map_err(error)?;
    let guard = std::process::id() as libc::pid_t;
    // The program must not read polc's command line. It can run before the guard does anything, so this comes first.
    let _ = init::rename(c"polc-guard");
    // SAFETY: this process has one thread, so that the child may do whatever it likes.
    match unsafe { libc::fork() } {
        -1 => Err(error(io::Error::last_os_error())),
        0 => {
            drop(outside);
            drop(task);
            sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong, 0).map_err(error)?;
            // SAFETY: takes nothing.
            if unsafe { libc::getppid() } != guard {
                return Err(error(io::ErrorKind::BrokenPipe.into()));
            }
            Ok(Inside {
                line: inside,
                guard,
            })
        }
        program => {
            drop(inside);
            guard_it(meaning, &outside, program, task)
        }
    }
}

/// A process's entry in `/proc`.
fn entry_of(process: libc::pid_t) -> Vec<u8> {
    format!("/proc/{process}").into_bytes()
}

/// Takes out of a ruleset what it grants on this process's entry in `/proc`: the process that becomes the program is
/// another one.
pub fn take_own_entries(ruleset: &mut Ruleset) -> Vec<PathBeneath> {
    let own = entry_of(std::process::id() as libc::pid_t);
    let is_own = |p: &mut PathBeneath| {
        let rest = p.parent.strip_prefix(own.as_slice());
        rest.is_some_and(|r| r.is_empty() || r.starts_with(b"/"))
    };
    ruleset.paths.extract_if(.., is_own).collect()
}

impl Inside {
    /// What was taken out of a ruleset for the guard's entry in `/proc`, on this process's own entry.
    #[must_use]
    pub fn own_entries(&self, mut taken: Vec<PathBeneath>) -> Vec<PathBeneath> {
        let entry = entry_of(self.guard);
        let own = entry_of(std::process::id() as libc::pid_t);
        for granted in &mut taken {
            let rest = granted.parent.get(entry.len()..).unwrap_or_default();
            granted.parent = [own.as_slice(), rest].concat();
        }
        taken
    }

    /// Loads the filter, and passes its listener to the guard. The filter cannot be unloaded.
    ///
    /// # Errors
    /// The kernel does not take it, or the guard is gone.
    pub fn load(&self, filter: &Filter) -> Result<(), Error> {
        let error = |e: Errno| Error::Guard("load its filter", io::Error::from_raw_os_error(e.0));
        let listener = kernel::load_with_listener(&filter.0).map_err(error)?;
        line::send(&self.line, 0, &[listener.as_raw_fd()])
            .map_err(|e| Error::Guard("hand over its listener", e))
    }
}

/// Guards the program, and ends as the program did.
fn guard_it(meaning: &Meaning<'_>, line: &UnixStream, program: libc::pid_t, task: Task) -> ! {
    signals::handle();
    signals::begin(program);
    blocking::prepare();
    // If the program gave up before it was guarded, it reports that itself.
    let listener = line::receive(line)
        .ok()
        .and_then(|(_, fds)| fds.into_iter().next());
    let Some(listener) = listener else {
        signals::end(signals::wait(program, None))
    };
    let guard = match made(meaning, listener, &task) {
        Ok(guard) => guard,
        Err(e) => {
            // The program is killed when this process ends.
            let _ = writeln!(io::stderr(), "error: cannot start the guard: {e}");
            std::process::exit(1)
        }
    };
    std::thread::scope(|scope| {
        let before = kernel::block_signals();
        let started = guard.start(scope);
        kernel::set_blocked(&before);
        if let Err(e) = started {
            let _ = writeln!(io::stderr(), "error: cannot start the guard: {e}");
            std::process::exit(1)
        }
        let outside = task.told.map(|line| outside::Line::new(line, program));
        let status = signals::wait_and(program, || {
            if let Some(outside) = &outside {
                outside.stopped();
            }
        });
        if let Some(outside) = &outside {
            outside.refused(&guard.record.told(meaning.policy()));
        }
        signals::end(status)
    })
}

fn made<'m>(meaning: &'m Meaning<'_>, listener: OwnedFd, task: &Task) -> Result<Guard<'m>, String> {
    let home = kernel::open(&libc::AT_FDCWD, c"/", libc::O_PATH, 0);
    Ok(Guard {
        judge: Judge::new(meaning).map_err(|e| e.to_string())?,
        listener,
        names: RwLock::new(()),
        record: record::Record::default(),
        own: match task.to_the_letter {
            true => None,
            false => own::Own::new(meaning.policy()),
        },
        truncate_is_kept: task.abi >= 3,
        standard: task.standard.clone(),
        home: home.map_err(|e| io::Error::from_raw_os_error(e.0).to_string())?,
    })
}
