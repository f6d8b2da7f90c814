//! The part that stays outside: it serves the proxy, and waits for the program.
//!
//! The process splits before anything is restricted. The first part stays what it was and where it was; the second
//! confines itself, listens inside its network namespace, hands that descriptor out (`SCM_RIGHTS`), and becomes the
//! program. Both stay in one process group, so that the terminal's signals reach the program without help:
//!
//! - SIGINT, SIGQUIT and SIGTSTP of the terminal are the program's; those that somebody sends to the supervisor, and
//!   SIGTERM, SIGUSR1, SIGUSR2 and SIGWINCH, are passed on. So is SIGHUP, whoever sends it: of a terminal that goes away the
//!   kernel tells the leader of the session alone, and that may be the supervisor.
//! - When the program stops, the supervisor stops too, so that the shell outside sees a stopped job; continued, it continues
//!   the program. It stops for no other reason: one that the terminal stopped beside the program would stop a second time
//!   when it is continued. While it is stopped nobody would look at the clock, and what the program had started before would go
//!   on without an end: where there is a `wall_time` a process is left that wakes it when that is over.
//! - It ends as the program ended: with its status, or by its signal.
//! - If it dies, the kernel kills the program.
//!
//! It also keeps what only somebody outside can: it looks before and after for what was made against the policy
//! ([`super::created`]) and for covers that somebody outside has taken away ([`super::cover`]), ends the run when `wall_time` is over ([`super::wall_time`]), and removes the control group
//! ([`super::cgroup`]).
//!
//! With `--explain` it also listens to the kernel's records of the program ([`crate::enforce::audit`]), and says at the
//! end which rule each refusal was ([`crate::why`]).

use super::cgroup::Group;
use super::created::Scan;
use super::mounts::Mounts;
use super::wall_time;
use super::{Error, sys};
use crate::enforce::audit;
use crate::enforce::egress::{Egress, Refusal, told};
use crate::enforce::landlock::kernel_abi;
use crate::fidelity::show_bytes;
use crate::policy::Policy;
use crate::semantics::Meaning;
use crate::why;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// The program's process, for the signal handler.
static PROGRAM: AtomicI32 = AtomicI32::new(0);
/// The exit status where something was made against the policy, and that was not to be: less was kept than was demanded.
const MADE: libc::c_int = 3;
/// Of a message with one descriptor; `cmsghdr` wants to be aligned.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// The program's end of the line to the supervisor.
pub struct Inside {
    line: UnixStream,
    outside: libc::pid_t,
    /// The limits that a control group holds, as the policy names them.
    pub held: Vec<&'static str>,
}

/// What the supervisor has to do.
#[derive(Default)]
pub struct Task<'a> {
    /// What it tells at the end.
    pub tell: Tell,
    /// Looks for what is made against the policy.
    pub scan: Option<Scan<'a>>,
    /// What was made against the policy decides the exit status.
    pub fail_if_made: bool,
    /// The program's control group.
    pub group: Option<Group>,
    /// How long the program may run.
    pub wall_time: Option<Duration>,
}

impl Task<'_> {
    /// Whether there is anything to do, beside serving a proxy.
    #[must_use]
    pub fn needed(&self) -> bool {
        matches!(self.tell, Tell::Explained { .. })
            || self.scan.is_some()
            || self.group.is_some()
            || self.wall_time.is_some()
    }
}

/// What is told at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tell {
    /// Nothing.
    #[default]
    Nothing,
    /// What the proxy refused.
    Proxy,
    /// All that is known to have been refused, with its rule.
    Explained {
        /// Paths may be covered by mounts.
        covers: bool,
    },
}

/// Splits the process. It returns in the part that becomes the program; the other one serves, waits and ends.
///
/// # Errors
/// The process cannot be split.
pub fn split(meaning: &Meaning<'_>, task: Task<'_>) -> Result<Inside, Error> {
    let (inside, outside) = UnixStream::pair().map_err(|e| Error::Proxy("make a socket", e))?;
    if task.wall_time.is_some() {
        wall_time::adopt().map_err(|e| Error::Limit("wall_time", e))?;
    }
    // Before there is anything to hear.
    let records = matches!(task.tell, Tell::Explained { .. }).then(audit::Socket::open);
    // SAFETY: they take nothing.
    let own = unsafe { libc::getpid() };
    // SAFETY: this process has one thread, so that the child may do whatever it likes.
    match unsafe { libc::fork() } {
        -1 => Err(Error::Proxy("start a process", io::Error::last_os_error())),
        0 => {
            drop(outside);
            let group = task.group.filter(|g| g.enter().is_ok());
            Ok(Inside {
                line: inside,
                outside: own,
                held: group.map(|g| g.holds).unwrap_or_default(),
            })
        }
        child => {
            drop(inside);
            supervise(meaning, outside, child, &task, records)
        }
    }
}

impl Inside {
    /// Hands the listener over, if there is one, and waits until the supervisor is ready; the answer is what the program
    /// has to be told of the proxy.
    ///
    /// # Errors
    /// The supervisor is gone, or cannot serve.
    pub fn ready(
        &mut self,
        listener: Option<&TcpListener>,
    ) -> Result<Vec<(String, String)>, Error> {
        let what = if listener.is_some() {
            "start the proxy"
        } else {
            "start the program: the part of polc that waits for it is gone"
        };
        let error = |e| Error::Proxy(what, e);
        // Only now: entering a user namespace takes this setting back.
        sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong, 0).map_err(error)?;
        // SAFETY: takes nothing.
        if unsafe { libc::getppid() } != self.outside {
            return Err(error(io::ErrorKind::BrokenPipe.into()));
        }
        match listener {
            Some(l) => send(&self.line, l.as_raw_fd()).map_err(error)?,
            None => self.line.write_all(&[0]).map_err(error)?,
        }
        let mut text = String::new();
        self.line.read_to_string(&mut text).map_err(error)?;
        let Some(text) = text.strip_suffix('\0') else {
            return Err(error(io::ErrorKind::UnexpectedEof.into()));
        };
        Ok(text
            .split('\0')
            .filter_map(|v| v.split_once('='))
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .collect())
    }
}

fn message(iov: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    // SAFETY: an all-zero header is a valid one.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = iov;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    // SAFETY: only computes a number.
    header.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<RawFd>() as u32) } as _;
    header
}

fn send(line: &UnixStream, fd: RawFd) -> io::Result<()> {
    let mut byte = [0u8];
    let mut iov = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    let mut control = Control([0; 64]);
    let header = message(&mut iov, &mut control);
    // SAFETY: the buffers outlive the call; `control` is aligned, and has room for one descriptor.
    let sent = unsafe {
        let first = libc::CMSG_FIRSTHDR(&raw const header);
        (*first).cmsg_level = libc::SOL_SOCKET;
        (*first).cmsg_type = libc::SCM_RIGHTS;
        (*first).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
        libc::CMSG_DATA(first).cast::<RawFd>().write_unaligned(fd);
        libc::sendmsg(line.as_raw_fd(), &raw const header, 0)
    };
    if sent == 1 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// One byte, and the descriptor that came with it, if one did.
fn receive(line: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut byte = [0u8];
    let mut iov = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    let mut control = Control([0; 64]);
    let mut header = message(&mut iov, &mut control);
    // SAFETY: the buffers outlive the call; a descriptor is taken only from a message of that kind and length.
    unsafe {
        let got = libc::recvmsg(line.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC);
        if got < 0 {
            return Err(io::Error::last_os_error());
        }
        let first = libc::CMSG_FIRSTHDR(&raw const header);
        if got == 1 && first.is_null() {
            return Ok(None);
        }
        let fits = got == 1
            && !first.is_null()
            && (*first).cmsg_type == libc::SCM_RIGHTS
            && (*first).cmsg_len as usize == libc::CMSG_LEN(size_of::<RawFd>() as u32) as usize;
        if !fits {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some(OwnedFd::from_raw_fd(
            libc::CMSG_DATA(first).cast::<RawFd>().read_unaligned(),
        )))
    }
}

/// Waits for the program, and ends as it did.
fn supervise(
    meaning: &Meaning<'_>,
    line: UnixStream,
    child: libc::pid_t,
    task: &Task<'_>,
    records: Option<io::Result<audit::Socket>>,
) -> ! {
    PROGRAM.store(child, Ordering::SeqCst);
    handle_signals();
    let begin = Instant::now();
    let watch = records.map(|r| r.and_then(|socket| socket.watch(child)));
    // While the child prepares itself.
    let seen = task.scan.as_ref().map(|scan| (scan, scan.look(None)));
    let clock = task.wall_time.map(wall_time::start).transpose();
    let served = match &clock {
        Ok(_) => serve(meaning.policy(), &line),
        // Without an answer the child does not start the program.
        Err(_) => Ok(None),
    };
    // Also tells the child, which waits for the end of what is sent.
    drop(line);
    // Held open, it holds the program's mounts too: they can be looked at when the program has ended.
    let mounts = Mounts::of(child);
    let status = wait(child, task.wall_time.and_then(|t| begin.checked_add(t)));
    let over = wall_time::is_over();
    if task.wall_time.is_some() {
        if let Some(group) = &task.group {
            group.kill();
        }
        wall_time::kill_descendants();
    }
    let refusals: Vec<Refusal> = match served {
        Ok(Some((proxy, refusals))) => {
            proxy.shutdown();
            refusals.try_iter().collect()
        }
        _ => Vec::new(),
    };
    match task.tell {
        Tell::Nothing => {}
        Tell::Proxy => {
            for line in told(&refusals) {
                let _ = writeln!(io::stderr(), "{line}");
            }
        }
        Tell::Explained { covers } => explain(meaning, &refusals, watch, covers),
    }
    let mut made = false;
    if let Some((scan, before)) = seen {
        // Said also to whoever wants it quiet: it was not refused.
        let told = scan.told(&before, &scan.look(Some(&before)));
        let _ = io::stderr().write_all(told.as_bytes());
        // Also where there was too much to look at: then nobody knows.
        made = !told.is_empty();
    }
    let lost = mounts.map(|m| m.lost()).unwrap_or_default();
    for path in &lost {
        let _ = writeln!(
            io::stderr(),
            "polc: `{}` was replaced or removed from outside while the program ran: from then on nothing covered it",
            show_bytes(path)
        );
    }
    made |= !lost.is_empty();
    if let Some(group) = &task.group {
        group.remove();
    }
    if over {
        let _ = writeln!(
            io::stderr(),
            "polc: the policy's `wall_time` of {} seconds is over: the program was killed, with all that it had started",
            task.wall_time.unwrap_or_default().as_secs()
        );
    }
    match (made && task.fail_if_made, over) {
        (true, _) => std::process::exit(MADE),
        (_, true) => std::process::exit(wall_time::OVER),
        _ => end(status),
    }
}

/// A child that gave up before it was ready says so itself; there is nothing to serve then.
fn serve(
    policy: &Policy,
    mut line: &UnixStream,
) -> io::Result<Option<(Egress, Receiver<Refusal>)>> {
    let Some(listener) = receive(line)? else {
        line.write_all(&[0])?;
        return Ok(None);
    };
    let listener = TcpListener::from(listener);
    let address: SocketAddr = listener.local_addr()?;
    let (sender, refusals) = channel();
    let proxy = Egress::start(policy, listener, sender)?;
    let mut text = String::new();
    for (name, value) in proxy.environment(address) {
        text.push_str(&format!("{name}={value}\0"));
    }
    line.write_all(text.as_bytes())?;
    Ok(Some((proxy, refusals)))
}

/// What was refused, by which rule, and what would allow it.
fn explain(
    meaning: &Meaning<'_>,
    refusals: &[Refusal],
    watch: Option<io::Result<audit::Watch>>,
    covers: bool,
) {
    let mut reader = why::Reader::new();
    for r in refusals {
        reader.line(r.to_string().as_bytes());
    }
    let mut notes = Vec::new();
    match watch {
        Some(Ok(watch)) => {
            for line in watch.finish() {
                reader.line(&line);
            }
            if kernel_abi().is_none_or(|abi| abi < 7) {
                notes.push("this kernel's Landlock writes no records (ABI 7, Linux 6.15): what it refused is not known");
            } else if audit::enabled() == Some(false) {
                notes.push("audit is switched off here, so that Landlock writes no records: `auditctl -e 1` switches it on");
            }
        }
        Some(Err(_)) => notes.push(
            "the kernel's records may not be read here (that takes CAP_AUDIT_READ): what it refused is not known; `polc why` explains a log",
        ),
        None => {}
    }
    if covers {
        notes.push("what a mount covers is refused without a record: `--no-namespaces` leaves it to Landlock");
    }
    let log = reader.finish();
    let findings = why::explain(meaning, &log);
    let mut out = String::from("polc: what was refused\n\n");
    for f in &findings {
        out.push_str(&why::human(f));
    }
    if findings.is_empty() {
        out.push_str("nothing is known to have been\n");
    }
    for note in notes {
        out.push_str(&format!("note: {note}\n"));
    }
    let _ = io::stderr().write_all(out.as_bytes());
}

extern "C" fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // The terminal sends these to the program as well, but for the one that tells of its end; else only what a process
    // sent is passed on.
    // SAFETY: the kernel gives a valid pointer to a handler with SA_SIGINFO.
    let from_terminal = unsafe { !info.is_null() && (*info).si_code > 0 };
    let child = PROGRAM.load(Ordering::SeqCst);
    if (!from_terminal || signal == libc::SIGHUP) && child > 0 {
        // SAFETY: kill is safe in a handler and takes numbers.
        unsafe { libc::kill(child, signal) };
    }
}

fn handle_signals() {
    let all = [
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGTERM,
        libc::SIGHUP,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGWINCH,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
    ];
    for signal in all {
        // SAFETY: the handler does what is allowed in one.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = pass_on as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

fn wait(child: libc::pid_t, deadline: Option<Instant>) -> libc::c_int {
    let mut status = 0;
    loop {
        // Also what was adopted.
        // SAFETY: the kernel fills in the number.
        let got = unsafe { libc::waitpid(-1, &raw mut status, libc::WUNTRACED) };
        if got == child && libc::WIFSTOPPED(status) {
            if !wall_time::is_over() {
                stop_too(child, deadline);
            }
            continue;
        }
        if got == child {
            PROGRAM.store(0, Ordering::SeqCst);
            return status;
        }
        if got < 0 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return 1 << 8;
        }
    }
}

/// Stops this process, as the program has stopped; when it goes on, so does the program, unless its time is over.
fn stop_too(child: libc::pid_t, deadline: Option<Instant>) {
    let left = || deadline.map(|d| d.saturating_duration_since(Instant::now()));
    let waker = left().and_then(wall_time::wake_after);
    // SAFETY: they take numbers; the waker is a child of this process that has not been waited for.
    unsafe {
        libc::raise(libc::SIGSTOP);
        if let Some(waker) = waker {
            libc::kill(waker, libc::SIGKILL);
        }
        if left() != Some(Duration::ZERO) {
            libc::kill(child, libc::SIGCONT);
        }
    }
}

fn end(status: libc::c_int) -> ! {
    if libc::WIFSIGNALED(status) {
        let signal = libc::WTERMSIG(status);
        // The program has left its core, if any.
        let _ = sys::set_limit(libc::RLIMIT_CORE, 0, 0);
        // SAFETY: the default action for the signal, which is then let through and ends this process.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, signal);
            libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
            libc::raise(signal);
        }
        std::process::exit(128 + signal)
    }
    std::process::exit(libc::WEXITSTATUS(status))
}
