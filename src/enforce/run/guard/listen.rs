//! The workers. Each takes a call, handles it ([`super::calls`]), and answers.
//!
//! The program gets a descriptor in two steps. First the guard puts a copy into the program, and closes its own. Then
//! it answers. In one step, the guard would still hold the file open for writing when the program goes on. Then the
//! program could not start a file that it has just written (`ETXTBSY`).

use super::blocking;
use super::calls::{Answer, Request};
use super::judge::Judge;
use super::kernel::{self, Errno};
use super::own::Own;
use super::record::Record;
use super::table::{self, Call};
use super::target::Target;
use crate::policy::syscalls::Arch;
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::RwLock;
use std::thread::{Builder, Scope};

/// Two, for latency: one may be in the kernel.
const WORKERS: usize = 2;
/// A worker's own stack. Long paths lie on the heap.
const STACK: usize = 512 * 1024;

/// What the workers share.
pub struct Guard<'m> {
    /// The policy.
    pub judge: Judge<'m>,
    /// The kernel's end of the filter: the guard receives calls from it.
    pub listener: OwnedFd,
    /// Only renames take the write lock. Every call that acts on a name takes the read lock.
    pub names: RwLock<()>,
    /// What was refused.
    pub record: Record,
    /// What was made in this run, where rules leave it out.
    pub own: Option<Own>,
    /// Landlock restricts truncating on this kernel.
    pub truncate_is_kept: bool,
    /// The files of the standard descriptors that the program may open again for writing, by device and inode.
    pub standard: Vec<(libc::dev_t, libc::ino_t)>,
    /// The directory in which the workers are.
    pub home: OwnedFd,
}

impl Guard<'_> {
    /// Whether the thread still waits in this call.
    #[must_use]
    pub fn is_waiting(&self, id: u64) -> bool {
        kernel::is_waiting(self.listener.as_fd(), id)
    }

    /// Moves a worker back from a directory in which it needed a name.
    pub fn go_home(&self) {
        // Nothing depends on a worker's directory.
        let _ = kernel::enter(&self.home);
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// The kernel makes no more threads.
    pub fn start<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
    ) -> std::io::Result<()> {
        let arch = super::super::filter::own_arch().unwrap_or(Arch::X86_64);
        let calls: HashMap<u32, Call> = table::of_arch(arch)
            .into_iter()
            .filter_map(|(number, _)| Some((number, table::call(arch, number)?)))
            .collect();
        kernel::wake_at_once(self.listener.as_fd());
        for _ in 0..WORKERS {
            let calls = calls.clone();
            let worker = move || {
                // Without its own umask, a thread would make files with another thread's.
                if kernel::apart().is_ok() {
                    self.work(scope, &calls);
                }
            };
            Builder::new()
                .stack_size(STACK)
                .spawn_scoped(scope, worker)?;
        }
        Ok(())
    }

    fn work<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        calls: &HashMap<u32, Call>,
    ) {
        loop {
            let call = match kernel::receive(self.listener.as_fd()) {
                Ok(call) => call,
                // The thread or its process was killed.
                Err(Errno(libc::ENOENT | libc::EINTR)) => continue,
                Err(_) => return,
            };
            let Some(kind) = calls.get(&(call.data.nr as u32)) else {
                self.reply(call.id, Answer::Error(Errno(libc::ENOSYS)));
                continue;
            };
            let Ok(target) = Target::of(call.pid) else {
                // The thread is gone, or not visible. Then nothing is known about it.
                self.reply(call.id, Answer::Error(Errno(libc::EPERM)));
                continue;
            };
            let request = Request {
                guard: self,
                id: call.id,
                target: &target,
                call: *kind,
                arguments: call.data.args,
            };
            match request.answer() {
                Answer::Later(work) => {
                    let id = call.id;
                    let later = move || {
                        let answer = blocking::run(&work, &target, || self.is_waiting(id));
                        // Its descriptors are closed before the program goes on.
                        drop(work);
                        self.reply(id, answer);
                    };
                    let started = Builder::new().stack_size(STACK).spawn_scoped(scope, later);
                    if started.is_err() {
                        self.reply(id, Answer::Error(Errno(libc::EAGAIN)));
                    }
                }
                answer => self.reply(call.id, answer),
            }
        }
    }

    /// Answers. If the program does not wait any more, nobody gets the answer.
    fn reply(&self, id: u64, answer: Answer) {
        let listener = self.listener.as_fd();
        let (val, error, flags) = match answer {
            Answer::Continue => (0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
            Answer::Value(n) => (n, 0, 0),
            Answer::Error(Errno(n)) => (0, -n, 0),
            Answer::Descriptor { own, close_on_exec } => {
                let flags = if close_on_exec {
                    libc::O_CLOEXEC as u32
                } else {
                    0
                };
                let number = kernel::hand_over(listener, id, &own, flags);
                drop(own);
                match number {
                    Ok(n) => (i64::from(n), 0, 0),
                    Err(Errno(n)) => (0, -n, 0),
                }
            }
            Answer::Later(_) | Answer::Gone => return,
        };
        let reply = libc::seccomp_notif_resp {
            id,
            val,
            error,
            flags,
        };
        let _ = kernel::send(listener, &reply);
    }
}
