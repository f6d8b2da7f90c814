//! The part that stays outside: it serves the proxy, and waits for the program.
//!
//! The process splits before anything is restricted. The first part stays what it was and where it was; the second
//! confines itself, listens inside its network namespace, hands that descriptor out ([`super::line`]), and becomes the
//! program. Where there is a process namespace ([`super::init`]) a process between the two makes that, tells the first part
//! which process becomes the program, and ends. Signals and the terminal: [`super::signals`]. If the first part dies, the kernel kills
//! the program, and with a process namespace all that it has started.
//!
//! It also keeps what only somebody outside can: it looks before and after for what was made against the policy
//! ([`super::created`]) and for covers that somebody outside has taken away ([`super::cover`]), ends the run when `wall_time` is over
//! ([`super::wall_time`]), removes the control group ([`super::cgroup`]), and ends what the program has left running.
//!
//! With `--explain` it also listens to the kernel's records of the program ([`crate::enforce::audit`]), and says at the
//! end which rule each refusal was ([`crate::why`]).

use super::cgroup::Group;
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

/// The exit status where something was made against the policy, and that was not to be: less was kept than `--require` asks for.
const MADE: libc::c_int = 3;
/// The program's end of the line to the supervisor.
pub struct Inside {
    line: UnixStream,
    outside: libc::pid_t,
    group: Option<Group>,
    /// For who watches the program, to say at the end what was refused.
    pub told: Option<UnixStream>,
}

/// What the supervisor has to do.
#[derive(Default)]
pub struct Task<'a> {
    /// What it tells at the end.
    pub tell: Tell,
    /// Looks for what is made against the policy.
    pub scan: Option<Scan<'a>>,
    /// The guard watches the program, and says when it stops.
    pub guarded: bool,
    /// What was made against the policy decides the exit status.
    pub fail_if_made: bool,
    /// The program's control group.
    pub group: Option<Group>,
    /// How long the program may run.
    pub wall_time: Option<Duration>,
    /// What the program leaves running ends with it.
    pub ends_all: bool,
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
    Explained,
}

/// Splits the process. It returns in the part that becomes the program; the other one serves, waits and ends.
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
    // Before there is anything to hear.
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
                group: task.group,
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
    /// Tells the supervisor which process becomes the program. With `mounts`, which says that there is a mount namespace, this is one in
    /// a new process namespace; `false`: there is none.
    ///
    /// # Errors
    /// It is there and cannot be entered, or the supervisor is gone.
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

    /// Enters the control group. The answer are the limits that it holds, as the policy names them.
    pub fn enter_group(&mut self) -> Vec<&'static str> {
        let group = self.group.take().filter(|g| g.enter().is_ok());
        group.map(|g| g.holds).unwrap_or_default()
    }

    /// Hands descriptors over, and waits until the supervisor is ready; the answer is what the program has to be told of the
    /// proxy, which serves the listener, if there is one. The others are kept open until the end.
    ///
    /// # Errors
    /// The supervisor is gone, or cannot serve.
    pub fn ready(
        &mut self,
        listener: Option<&TcpListener>,
        kept: &[OwnedFd],
    ) -> Result<Vec<(String, String)>, Error> {
        let what = if listener.is_some() {
            "start the proxy"
        } else {
            "start the program: the part of polc that waits for it has ended"
        };
        let error = |e| Error::Proxy(what, e);
        // Only now: entering a user namespace takes this setting back. Whoever answers below is there after it.
        sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong, 0).map_err(error)?;
        let all: Vec<_> = listener
            .map(AsRawFd::as_raw_fd)
            .into_iter()
            .chain(kept.iter().map(AsRawFd::as_raw_fd))
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

/// Waits for the program, and ends as it did.
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
    // While the child prepares itself.
    let seen = task.scan.as_ref().map(|scan| (scan, scan.look(None)));
    let clock = task.wall_time.map(wall_time::start).transpose();
    let served = match &clock {
        Ok(_) => serve(meaning.policy(), &line),
        // Without an answer the child does not start the program.
        Err(_) => Ok(Served::default()),
    };
    // Also tells the child, which waits for the end of what is sent.
    drop(line);
    // Held open, it holds the program's mounts too: they can be looked at when the program has ended.
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
    // All that might hold the guard's end of the line is gone.
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
        // Said also to whoever wants it quiet: it was not refused.
        let detail = match task.tell {
            Tell::Explained => created::Detail::All,
            Tell::Nothing | Tell::Proxy => created::Detail::Short,
        };
        let told = created::told(scan, &before, &scan.look(Some(&before)), detail);
        let _ = io::stderr().write_all(told.as_bytes());
        // Also where there was too much to look at: then nobody knows.
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
    if let Some(group) = &task.group {
        group.remove();
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

/// Which processes to wait for. A child that gave up before it knew says so itself.
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
        // The kernel ends all that is in the namespace, before it says that its first process has ended.
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
    if let Some(group) = task.group.as_ref().filter(|_| task.wall_time.is_some()) {
        group.kill();
    }
    let ended = leftovers::end();
    if let (Some(line), false) = (leftovers::told(&ended), wall_time::is_over()) {
        let _ = writeln!(io::stderr(), "{line}");
    }
}

/// What is done for the program while it runs.
#[derive(Default)]
struct Served {
    proxy: Option<(Egress, Receiver<Refusal>)>,
    /// Held open for the program's sake.
    _kept: Vec<OwnedFd>,
}

/// A child that gave up before it was ready says so itself; there is nothing to serve then.
fn serve(policy: &Policy, mut line: &UnixStream) -> io::Result<Served> {
    let (with_listener, descriptors) = line::receive(line)?;
    let mut descriptors = descriptors.into_iter().peekable();
    let listener = descriptors.next_if(|_| with_listener == 1);
    let kept = descriptors.collect();
    let Some(listener) = listener else {
        line.write_all(&[0])?;
        return Ok(Served {
            proxy: None,
            _kept: kept,
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
        _kept: kept,
    })
}
