//! The part of polc that stays outside. It serves the proxy, and waits for the program.
//!
//! The process splits before anything is restricted. The first part stays as it was. The second part confines itself,
//! listens inside its network namespace, hands that descriptor out ([`super::line`]), and becomes the program. With a
//! process namespace ([`super::init`]), a process between the two makes the program's process, tells the first part its
//! number, and ends. [`super::signals`] handles signals and the terminal. If the first part dies, the kernel kills the
//! program, and with a process namespace everything that it has started.
//!
//! The first part also does what only a process outside can do:
//!
//! - It looks for objects that were made against the policy, before and after ([`super::created`]).
//! - It looks for covers that somebody outside has taken away ([`super::cover`]).
//! - It ends the run when `wall_time` is over ([`super::wall_time`]).
//! - It removes the cgroup ([`super::cgroup`]).
//! - It ends what the program has left running.
//!
//! With `--explain` it also reads the kernel's records about the program ([`crate::enforce::audit`]). At the end it
//! names the rule of each refusal ([`crate::why`]).

use super::cgroup::Cgroup;
use super::created::{self, Scan};
use super::init::{self, Processes};
use super::mounts::Mounts;
use super::signals::{self, Foreground};
use super::{Error, explained, guard, leftovers, line, sys, wall_time};
use crate::enforce::audit;
use crate::enforce::egress::{Egress, Refusal, told};
use crate::fidelity::show_bytes;
use crate::policy::Policy;
use crate::semantics::Meaning;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// The exit status with `--fail-if-made`, if something was made against the policy or lost its cover. A failed
/// `--require` has the same status.
const MADE: libc::c_int = 3;
/// The program's end of the line to the supervisor.
pub struct Inside {
    line: UnixStream,
    outside: libc::pid_t,
    cgroup: Option<Cgroup>,
    /// For the guard's watcher, to report at the end what was refused.
    pub told: Option<UnixStream>,
}

/// What the supervisor has to do.
#[derive(Default)]
pub struct Task<'a> {
    /// What it reports at the end.
    pub tell: Tell,
    /// Searches for objects that are made against the policy.
    pub scan: Option<Scan<'a>>,
    /// The guard watches the program, and reports when it stops.
    pub guarded: bool,
    /// An object that was made against the policy decides the exit status.
    pub fail_if_made: bool,
    /// The program's cgroup.
    pub cgroup: Option<Cgroup>,
    /// How long the program may run.
    pub wall_time: Option<Duration>,
    /// Ends the processes that the program leaves running.
    pub ends_all: bool,
}

/// What polc reports at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tell {
    /// Nothing.
    #[default]
    Nothing,
    /// What the proxy refused.
    Proxy,
    /// All refusals that it knows of, with their rules.
    Explained,
}

/// Splits the process. It returns in the part that becomes the program. The other part serves, waits and ends.
///
/// # Errors
/// The process cannot be split.
pub fn split(meaning: &Meaning<'_>, task: Task<'_>) -> Result<Inside, Error> {
    let pair = || UnixStream::pair().map_err(|e| Error::Proxy("make a socket", e));
    let (inside, outside) = pair()?;
    let (told, hears) = pair()?;
    if task.wall_time.is_some() || task.ends_all {
        leftovers::adopt().map_err(|e| Error::Proxy("adopt what the program starts", e))?;
    }
    // Before the program can cause a record.
    let records = matches!(task.tell, Tell::Explained).then(audit::Socket::open);
    // SAFETY: they take nothing.
    let own = unsafe { libc::getpid() };
    // SAFETY: this process has one thread, so that the child may do whatever it likes.
    match unsafe { libc::fork() } {
        -1 => Err(Error::Proxy("start a process", io::Error::last_os_error())),
        0 => {
            drop((outside, hears));
            Ok(Inside {
                line: inside,
                outside: own,
                cgroup: task.cgroup,
                told: Some(told),
            })
        }
        child => {
            drop((inside, told));
            supervise(meaning, (outside, hears), child, task, records)
        }
    }
}

impl Inside {
    /// Tells the supervisor which process becomes the program. `mounts` says that there is a mount namespace. Then the
    /// program's process is in a new process namespace, if that is possible. `false`: there is none.
    ///
    /// # Errors
    /// The namespace exists and this process cannot enter it, or the supervisor is gone.
    pub fn begin(&mut self, mounts: bool) -> Result<bool, Error> {
        if mounts && init::enter(&self.line, self.outside)? {
            return Ok(true);
        }
        let own = Processes {
            program: std::process::id() as libc::pid_t,
            init: 0,
            mounts,
        };
        self.line
            .write_all(&own.bytes())
            .map_err(|e| Error::Proxy("start the program", e))?;
        Ok(false)
    }

    /// Enters the cgroup. Returns the limits that it enforces, as the policy names them.
    pub fn enter_cgroup(&mut self) -> Vec<&'static str> {
        let cgroup = self.cgroup.take().filter(|c| c.enter().is_ok());
        cgroup.map(|c| c.limits).unwrap_or_default()
    }

    /// Hands descriptors over, and waits until the supervisor is ready. Returns the variables that tell the program
    /// about the proxy. The proxy serves the listener, if there is one. The supervisor keeps the other descriptors open
    /// until the end.
    ///
    /// # Errors
    /// The supervisor is gone, or cannot serve.
    pub fn ready(
        &mut self,
        listener: Option<&TcpListener>,
        kept_open: &[OwnedFd],
    ) -> Result<Vec<(String, String)>, Error> {
        let what = if listener.is_some() {
            "start the proxy"
        } else {
            "start the program: the part of polc that waits for it has ended"
        };
        let error = |e| Error::Proxy(what, e);
        // Entering a user namespace resets this setting, so it comes only now. The answer below shows that polc still
        // lives.
        sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong, 0).map_err(error)?;
        let all: Vec<_> = listener
            .map(AsRawFd::as_raw_fd)
            .into_iter()
            .chain(kept_open.iter().map(AsRawFd::as_raw_fd))
            .collect();
        line::send(&self.line, u8::from(listener.is_some()), &all).map_err(error)?;
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

/// Waits for the program, and ends as the program did.
fn supervise(
    meaning: &Meaning<'_>,
    (line, hears): (UnixStream, UnixStream),
    child: libc::pid_t,
    mut task: Task<'_>,
    records: Option<io::Result<audit::Socket>>,
) -> ! {
    signals::handle();
    let begin = Instant::now();
    let foreground = Foreground::now();
    let processes = processes(&line, child);
    if let (Some(scan), false) = (&mut task.scan, processes.mounts) {
        scan.see_all();
    }
    signals::begin(processes.program);
    let watch = records.map(|r| r.and_then(|socket| socket.watch(processes.program)));
    // The child prepares itself meanwhile.
    let seen = task.scan.as_ref().map(|scan| (scan, scan.look(None)));
    let timer = task.wall_time.map(wall_time::start).transpose();
    let served = match &timer {
        Ok(_) => serve(meaning.policy(), &line),
        // Without an answer, the child does not start the program.
        Err(_) => Ok(Served::default()),
    };
    // This also tells the child, which reads until the end of the stream.
    drop(line);
    // This keeps the program's mounts open, so polc can read them when the program has ended.
    let mounts = Mounts::of(processes.program);
    let deadline = task.wall_time.and_then(|t| begin.checked_add(t));
    let heard = task
        .guarded
        .then(|| guard::hear(hears, deadline))
        .transpose();
    let status = signals::wait(processes.program, deadline);
    let over = wall_time::is_over();
    end_all(&task, processes);
    foreground.restore();
    let served = served.unwrap_or_default();
    let refusals: Vec<Refusal> = match served.proxy {
        Some((proxy, refusals)) => {
            proxy.shutdown();
            refusals.try_iter().collect()
        }
        None => Vec::new(),
    };
    // No process holds the guard's end of the line any more.
    let refused = heard.ok().flatten().and_then(|h| h.join().ok());
    if let (Some(text), true) = (refused, task.tell != Tell::Nothing) {
        let _ = io::stderr().write_all(text.as_bytes());
    }
    match task.tell {
        Tell::Nothing => {}
        Tell::Proxy => {
            for line in told(&refusals) {
                let _ = writeln!(io::stderr(), "{line}");
            }
        }
        Tell::Explained => {
            let covered = mounts.as_ref().map(Mounts::points).unwrap_or_default();
            let text = explained::text(meaning, &refusals, watch, &covered);
            let _ = io::stderr().write_all(text.as_bytes());
        }
    }
    let mut made = false;
    if let Some((scan, before)) = seen {
        // polc reports this even with `-q`, because nothing refused it.
        let detail = match task.tell {
            Tell::Explained => created::Detail::All,
            Tell::Nothing | Tell::Proxy => created::Detail::Short,
        };
        let told = created::told(scan, &before, &scan.look(Some(&before)), detail);
        let _ = io::stderr().write_all(told.as_bytes());
        // Also if the search was incomplete: then something may have been made.
        made = !told.is_empty();
    }
    let lost = mounts.map(|m| m.lost()).unwrap_or_default();
    for path in &lost {
        let _ = writeln!(
            io::stderr(),
            "polc: a program outside replaced or removed `{}`: from then on it was not protected",
            show_bytes(path)
        );
    }
    made |= !lost.is_empty();
    if let Some(cgroup) = &task.cgroup {
        cgroup.remove();
    }
    if over {
        let _ = writeln!(
            io::stderr(),
            "polc: the policy's `wall_time` of {} seconds is over: polc killed the program and all that it had started",
            task.wall_time.unwrap_or_default().as_secs()
        );
    }
    match (made && task.fail_if_made, over) {
        (true, _) => std::process::exit(MADE),
        (_, true) => std::process::exit(wall_time::OVER),
        _ => signals::end(status),
    }
}

/// The processes to wait for. A child that gave up before it knew them reports that itself.
fn processes(mut line: &UnixStream, child: libc::pid_t) -> Processes {
    let mut bytes = [0; 9];
    match line.read_exact(&mut bytes) {
        Ok(()) => Processes::read(bytes),
        Err(_) => Processes {
            program: child,
            init: 0,
            mounts: false,
        },
    }
}

/// Ends what the program has started and left running.
fn end_all(task: &Task<'_>, processes: Processes) {
    if processes.init > 0 {
        // The kernel ends everything in the namespace before it reports that the first process has ended.
        // SAFETY: they take numbers; that process has not been waited for.
        unsafe {
            libc::kill(processes.init, libc::SIGKILL);
            libc::waitpid(processes.init, std::ptr::null_mut(), 0);
        }
        return;
    }
    if task.wall_time.is_none() && !task.ends_all {
        return;
    }
    if let Some(cgroup) = task.cgroup.as_ref().filter(|_| task.wall_time.is_some()) {
        cgroup.kill();
    }
    let ended = leftovers::end();
    if let (Some(line), false) = (leftovers::told(&ended), wall_time::is_over()) {
        let _ = writeln!(io::stderr(), "{line}");
    }
}

/// What polc does for the program while it runs.
#[derive(Default)]
struct Served {
    proxy: Option<(Egress, Receiver<Refusal>)>,
    /// Kept open for the program.
    _kept_open: Vec<OwnedFd>,
}

/// A child that gave up before it was ready reports that itself. Then there is nothing to serve.
fn serve(policy: &Policy, mut line: &UnixStream) -> io::Result<Served> {
    let (with_listener, descriptors) = line::receive(line)?;
    let mut descriptors = descriptors.into_iter().peekable();
    let listener = descriptors.next_if(|_| with_listener == 1);
    let descriptors = descriptors.collect();
    let Some(listener) = listener else {
        line.write_all(&[0])?;
        return Ok(Served {
            proxy: None,
            _kept_open: descriptors,
        });
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
    Ok(Served {
        proxy: Some((proxy, refusals)),
        _kept_open: descriptors,
    })
}
