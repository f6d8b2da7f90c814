//! `polc run`: puts every layer that this host has on this process, one after the other, and then starts the program.
//!
//! The process splits first. One part stays outside ([`supervise`]): it serves the proxy ([`crate::enforce::egress`]),
//! waits for the program, and ends what the program leaves running. The other part puts itself into each layer and then
//! *becomes* the program. So exit status, signals, the terminal and job control are the program's own.
//!
//! The order of the steps matters, because a later layer takes away what earlier steps need:
//!
//! 1. It enters namespaces: for mounts and System V's shared memory, for the network unless the policy leaves it open,
//!    and for processes ([`init`]).
//! 2. It enters the cgroup.
//! 3. The program gets its own temporary directories ([`own_dirs`]) and terminals ([`terminals`]).
//! 4. Mounts cover paths ([`cover`]), and make the rest read-only. polc makes the Landlock ruleset for what exists now.
//! 5. Limits are set. The part outside takes the proxy's listener.
//! 6. Capabilities are dropped. All descriptors but the three standard ones are marked to be closed.
//! 7. Landlock is applied, with `no_new_privs` and scopes for signals and abstract sockets.
//! 8. The filters of system calls are loaded last: the policy's filter may refuse what the steps before need.
//!
//! If a chosen step fails, the program does not start. Only namespaces are optional: they may not be permitted, or the
//! user gives `--no-namespaces`. Then Landlock grants the entries of a tree one by one, as `polc enforce landlock`
//! does. A message says what is lost.
//!
//! The network depends on the hosts that the policy allows. If it allows *every* host, nothing is restricted. If it
//! allows *no* host, the program gets an empty network namespace with its own loopback interface. Without namespaces,
//! the filter and Landlock close the network. If it allows *some* hosts, the proxy is the only way out. In a network
//! namespace the program may connect to every port that it may bind.
//!
//! Before ABI 9, Landlock does not restrict unix sockets by their paths. With namespaces, the program does not see the
//! host's sockets in temporary directories and in `/run`, nor those that are made there later. In other directories,
//! polc covers each socket that the policy denies and that something listens on at the start. The program can reach one
//! that is made later. Without namespaces it can reach all.
//!
//! If no rule lets a program connect to a unix socket, it can still use its own, as long as namespaces keep it away
//! from those of others. Without namespaces, the filter refuses every unix socket but pairs ([`prepared`]).

mod capabilities;
mod cgroup;
mod choice;
mod cover;
mod created;
mod entries;
mod exec;
mod explained;
mod filter;
mod guard;
mod init;
mod leftovers;
mod limits;
mod line;
mod local_services;
pub mod missing;
mod mounts;
mod namespaces;
mod network;
mod notes;
mod own_dirs;
mod placeholders;
mod prepared;
mod report;
mod require;
mod routes;
mod signals;
mod sockets;
mod start;
mod startup;
mod stdio;
mod supervise;
mod sys;
mod sys_process;
mod terminals;
mod wall_time;

pub use choice::{Choice, Start};
pub use guard::Wanted as Guard;
pub use prepared::{Prepared, prepare};
pub use report::{Item, Report};

/// Splits the process for `--explain`, if nothing else needs a supervisor. It returns in the part that becomes the
/// program. The other part waits, reports what was refused, and ends as the program did.
///
/// # Errors
/// The process cannot be split.
pub fn explained(meaning: &crate::semantics::Meaning<'_>) -> Result<(), Error> {
    let task = supervise::Task {
        tell: supervise::Tell::Explained,
        ..supervise::Task::default()
    };
    let mut inside = supervise::split(meaning, task)?;
    inside.begin(false)?;
    inside.ready(None, &[]).map(drop)
}

use crate::diagnostics::Diagnostics;
use crate::semantics::TooLarge;
use std::io;

/// Why the program was not started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The policy does not compile.
    #[error(transparent)]
    Policy(#[from] Diagnostics),
    /// The policy does not compile.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// There is no Landlock.
    #[error(
        "this kernel has no Landlock, or it is switched off, and without it polc cannot protect any path"
    )]
    NoLandlock,
    /// Landlock refuses.
    #[error(transparent)]
    Landlock(#[from] crate::enforce::landlock::apply::Error),
    /// Nothing can close the network.
    #[error(
        "polc cannot close the network here: there is no network namespace, and Landlock before ABI 4 (Linux 6.7) has no rules on ports"
    )]
    Network,
    /// The layers keep less than `--require` asks for. Holds what they lose.
    #[error("the layers together keep less than `--require` asks for")]
    Required(String),
    /// Denied objects that cannot be protected, with the reasons.
    #[error("some of what the policy denies cannot be protected")]
    Unprotected(String),
    /// A limit cannot be set.
    #[error("cannot set the limit `{0}`: {1}")]
    Limit(&'static str, io::Error),
    /// Capabilities cannot be dropped.
    #[error("cannot drop capabilities: {0}")]
    Capabilities(io::Error),
    /// Some capabilities are still there.
    #[error("cannot drop capabilities: some are still there")]
    CapabilitiesStay,
    /// A namespace cannot be set up.
    #[error("{0}: {1}; `--no-namespaces` starts without it")]
    Namespace(&'static str, io::Error),
    /// A path cannot be covered.
    #[error("cannot mount over `{0}`: {1}; `--no-namespaces` starts without mounts")]
    Mount(String, io::Error),
    /// A filter does not fit.
    #[error("cannot make the filter of system calls: {0}")]
    Filter(seccompiler::BackendError),
    /// The kernel does not take a filter.
    #[error("cannot load the filter of system calls: {0}")]
    LoadFilter(io::Error),
    /// No filter for this machine.
    #[error("polc has no filter of system calls for this architecture")]
    Architecture,
    /// A standard descriptor is a directory.
    #[error(
        "standard input, output or error is a directory: through it the program could reach files that the policy denies"
    )]
    Directory,
    /// A standard descriptor is a covered file.
    #[error(
        "{0} is the file `{1}`, and the policy denies reading or writing it. Through the open file the program could do it. \
         Use a pipe: `cat FILE | polc run …`, `polc run … | cat >FILE`"
    )]
    Covered(&'static str, String),
    /// A standard descriptor is open for writing to a file that may not be written.
    #[error(
        "{0} is the file `{1}`, which the policy denies to write: through the descriptor it would be written all the same; a pipe \
         is not (`polc run … | cat >FILE`)"
    )]
    Denied(&'static str, String),
    /// The descriptors cannot be closed.
    #[error("cannot close inherited descriptors: {0}")]
    Descriptors(io::Error),
    /// The proxy, or the part of polc that serves it, failed.
    #[error("cannot {0}: {1}")]
    Proxy(&'static str, io::Error),
    /// The user demanded the guard, and this host cannot have it.
    #[error("there can be no guard here: {0}; `--guard auto` does without")]
    NoGuard(String),
    /// The guard failed.
    #[error("cannot {0}: {1}; `--guard off` does without the guard")]
    Guard(&'static str, io::Error),
    /// A word or a variable holds a NUL.
    #[error("a word of the command, or a variable, holds a NUL byte")]
    Nul,
    /// The program exists, and does not start.
    #[error("cannot start `{0}`: {1}")]
    Program(String, io::Error),
}
