//! The guard: a supervisor that does the calls which name a path, in the program's place.
//!
//! ```text
//! polc (outside) ─── guard ─── the program and all that it starts
//!                      │ hull: whole trees in which anything may be written     (Landlock, on both)
//!                      │ the policy's automata                                  (by path, exact)
//!                      │ inner domain: devices alone                            (Landlock, on the program)
//! ```
//!
//! Calls that change files or connect to a socket with a path stop in the kernel (`SECCOMP_RET_USER_NOTIF`) and come to
//! the guard. It reads the arguments once, finds the object in the program's own view ([`resolve`]), asks the policy by the object's
//! name ([`judge`]), does the call itself on what it holds ([`calls`], [`sockets`]), and hands the descriptor over ([`listen`]). Or it
//! answers with an error, or leaves the call to the kernel: that always means that *the inner domain decides*, and it never lets
//! through what the policy denies. So a call that was forgotten, an error here and a dead guard make it stricter, never looser.
//!
//! - The guard has the user, groups and capabilities of the program, and its namespaces: it splits off last, when
//!   everything was given up that the program must not have. Where the policy keeps a capability by which a program becomes
//!   somebody else, there is no guard.
//! - What may block (a FIFO, a connection) is done aside, and broken off by the program's signals ([`blocking`]).
//! - The guard is the program's parent, so that the kernel lets it look at the program's memory (Yama), and adopts what is orphaned. When it
//!   ends, for whatever reason, polc outside ends everything that the program has started.
//!
//! # What it needs
//!
//! Linux 5.19: a call that the guard has taken is only given up for a fatal signal (`WAIT_KILLABLE_RECV`), or a signal would have it done
//! twice. Yama's scope below 2. No other program that supervises this one in the same way: the kernel takes one listener.
//!
//! # What stays different for the program
//!
//! - A server sees the number of the guard's process at its socket (`SO_PEERCRED`). The user is the same.
//! - Unix datagram sockets are refused where the policy says to which sockets the program may connect: a datagram names its
//!   receiver in memory.
//! - `openat2` with `RESOLVE_CACHED` answers `EAGAIN`. A socket that the guard binds has a relative name.
//! - A terminal that a leader of a session opens by a path in a directory that Landlock does not grant does not open.

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

pub use domains::{hull, lose, narrow};
pub use outside::hear;

use super::{Error, filter as filters, init, leftovers, line, signals, sys};
use crate::backend::landlock::Ruleset;
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

/// Whether the guard is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wanted {
    /// No.
    #[default]
    Off,
    /// Where it can be.
    Auto,
    /// Without it the program is not started.
    Require,
}

/// Capabilities by which a program becomes another user, or is not held by owner and mode: the guard would not have the program's
/// rights any more.
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

/// Why there can be no guard here; `None`: there can.
#[must_use]
pub fn hindered(policy: &Policy, abi: u32) -> Option<String> {
    if filters::own_arch().is_none() {
        return Some("it is made for x86_64 and aarch64".to_owned());
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
    // A filter is for good: so a thread that ends tries it.
    let tried = std::thread::spawn(tried).join();
    match tried {
        Ok(Ok(())) => None,
        Ok(Err(Errno(libc::EBUSY))) => Some(
            "another program supervises this one in the same way, and the kernel takes no second"
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

/// Tries what the guard does with this thread and its process.
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

/// What the guard has to be asked about, by a policy's meaning.
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

/// The filter by which the program's calls come to the guard, made before anything is given up.
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

/// What the guard is told of the program's layers.
pub struct Task {
    /// The files of the standard descriptors that may be opened anew to be written, by device and number.
    pub standard: Vec<(libc::dev_t, libc::ino_t)>,
    /// The version of Landlock.
    pub abi: u32,
    /// A rule against changing holds for what the program itself has made, too.
    pub to_the_letter: bool,
    /// Where the guard says at the end what was refused.
    pub told: Option<UnixStream>,
}

/// Splits the process. It returns in the part that becomes the program; the other one is the guard.
///
/// # Errors
/// The process cannot be split.
pub fn split(meaning: &Meaning<'_>, task: Task) -> Result<Inside, Error> {
    let error = |e| Error::Guard("start the guard", e);
    let (inside, outside) = UnixStream::pair().map_err(error)?;
    leftovers::adopt().map_err(error)?;
    let guard = std::process::id() as libc::pid_t;
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

impl Inside {
    /// A ruleset, with what it grants on this process's entry in `/proc` in place of the guard's.
    #[must_use]
    pub fn own_entries(&self, ruleset: &Ruleset) -> Ruleset {
        let guard = format!("/proc/{}", self.guard).into_bytes();
        let own = format!("/proc/{}", std::process::id()).into_bytes();
        let mut ruleset = ruleset.clone();
        for granted in &mut ruleset.paths {
            let rest = granted.parent.strip_prefix(guard.as_slice());
            let rest = rest.filter(|r| r.is_empty() || r.starts_with(b"/"));
            if let Some(rest) = rest {
                granted.parent = [own.as_slice(), rest].concat();
            }
        }
        ruleset
    }

    /// Loads the filter, for good, and hands its listener to the guard.
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

/// Guards the program, and ends as it did.
fn guard_it(meaning: &Meaning<'_>, line: &UnixStream, program: libc::pid_t, task: Task) -> ! {
    signals::handle();
    signals::begin(program);
    blocking::prepare();
    // Its own words are none of the program's business.
    let _ = init::rename(c"polc-guard");
    // A program that gave up before it was guarded says so itself.
    let listener = line::receive(line)
        .ok()
        .and_then(|(_, fds)| fds.into_iter().next());
    let Some(listener) = listener else {
        signals::end(signals::wait(program, None))
    };
    let guard = match made(meaning, listener, &task) {
        Ok(guard) => guard,
        Err(e) => {
            // The program is killed as this process ends.
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
        own: (!task.to_the_letter).then(own::Own::default),
        truncate_is_kept: task.abi >= 3,
        standard: task.standard.clone(),
        home: home.map_err(|e| io::Error::from_raw_os_error(e.0).to_string())?,
    })
}
