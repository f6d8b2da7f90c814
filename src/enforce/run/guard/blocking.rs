//! Does calls that may block in a thread of their own, and breaks them off if the program should get a signal.
//!
//! A thread that waits for the guard can only be killed. But `alarm`, Ctrl-C and Ctrl-Z must reach a thread that opens
//! a FIFO or connects. So the guard looks every 20 ms at the signals that are pending for it. If there is one that the
//! program does not ignore, the guard breaks the work off and answers `ERESTARTSYS`. Then the kernel acts as usual. It
//! runs the handler. After that it makes the call again, or answers `EINTR`, as the program has asked for. Measured:
//! stop, continue, alarm and kill behave in a FIFO and in a connection as without the guard.

use super::calls::Answer;
use super::kernel::{self, Errno};
use super::target::Target;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How often the guard looks at signals.
const LOOK: Duration = Duration::from_millis(20);
/// The kernel's `ERESTARTSYS`. No program sees it.
const AGAIN: libc::c_int = 512;
/// The signal that breaks off a call.
fn breaks_off() -> libc::c_int {
    libc::SIGRTMIN()
}

/// Work that may block.
#[derive(Debug)]
pub enum Work {
    /// Opening a FIFO.
    Open {
        /// A descriptor for the FIFO.
        object: OwnedFd,
        /// The flags for opening it.
        flags: libc::c_int,
        /// The program's descriptor is closed on exec.
        close_on_exec: bool,
    },
    /// Connecting.
    Connect {
        /// A copy of the program's socket.
        socket: OwnedFd,
        /// The address to connect to.
        address: Vec<u8>,
        /// The object that the address leads to, kept as long as it is needed.
        _held: Option<OwnedFd>,
    },
}

impl Work {
    fn run(&self) -> Result<Answer, Errno> {
        match self {
            Self::Open {
                object,
                flags,
                close_on_exec,
            } => Ok(Answer::Descriptor {
                own: kernel::reopen(object, *flags)?,
                close_on_exec: *close_on_exec,
            }),
            Self::Connect {
                socket, address, ..
            } => {
                kernel::connect(socket, address)?;
                Ok(Answer::Value(0))
            }
        }
    }
}

/// Whether the work is over, for the thread that looks at signals.
struct Over {
    over: Mutex<bool>,
    told: Condvar,
}

impl Over {
    fn set(&self) {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.told.notify_all();
    }

    /// Waits a little. Returns whether the work is over.
    fn wait(&self) -> bool {
        let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        if *over {
            return true;
        }
        let waited = self.told.wait_timeout(over, LOOK);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Makes the signal break off a call and do nothing else.
pub fn prepare() {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: the handler does nothing; without SA_RESTART the call that it interrupts ends.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        libc::sigaction(breaks_off(), &raw const action, std::ptr::null_mut());
    }
}

/// Does the work in this thread, while another thread looks at the program's signals. `is_waiting` says whether the
/// program still waits for the call.
pub fn run(work: &Work, target: &Target, is_waiting: impl Fn() -> bool + Sync) -> Answer {
    let over = Arc::new(Over {
        over: Mutex::new(false),
        told: Condvar::new(),
    });
    let broken = AtomicBool::new(false);
    let shared = AtomicBool::new(false);
    // SAFETY: takes nothing.
    let thread = unsafe { libc::pthread_self() } as usize;
    std::thread::scope(|scope| {
        let look = || {
            while !over.wait() {
                let status = target.status().ok();
                let signals = status.map_or(0, |s| s.deliverable());
                if signals == 0 && is_waiting() {
                    continue;
                }
                let only_shared = status.is_some_and(|s| s.pending & signals == 0 && s.threads > 1);
                shared.store(only_shared, Ordering::SeqCst);
                broken.store(true, Ordering::SeqCst);
                // Again until it is over, because the call may not have begun yet.
                // SAFETY: the thread is there: it waits for this one before it ends.
                unsafe { libc::pthread_kill(thread as libc::pthread_t, breaks_off()) };
            }
        };
        let looking = std::thread::Builder::new()
            .stack_size(128 * 1024)
            .spawn_scoped(scope, look);
        unblock();
        let answer = loop {
            match work.run() {
                Err(Errno(libc::EINTR)) if broken.load(Ordering::SeqCst) => {
                    break Answer::Error(Errno(if shared.load(Ordering::SeqCst) {
                        libc::EINTR
                    } else {
                        AGAIN
                    }));
                }
                // The connection goes on by itself. Asking again waits for it.
                Err(Errno(libc::EINTR)) => {}
                Err(e) => break Answer::Error(e),
                Ok(answer) => break answer,
            }
        };
        over.set();
        kernel::block_signals();
        drop(looking);
        answer
    })
}

/// Lets the signal through in this thread.
fn unblock() {
    // SAFETY: the calls fill in the set and read it.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, breaks_off());
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
    }
}
