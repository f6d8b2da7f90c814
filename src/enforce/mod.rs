//! Enforcement on this host: putting a process into what the policy says, and starting a program there.
//!
//! Everything that can fail for want of a file or of memory is prepared first; then it is applied, and
//! then the program is started. A layer that cannot be applied as it was prepared means that the
//! program does not start.

#![allow(
    unsafe_code,
    reason = "system calls that no safe crate offers; each block says why it is sound"
)]

#[cfg(unix)]
pub mod agents;
#[cfg(target_os = "linux")]
pub mod audit;
#[cfg(unix)]
pub mod certificates;
#[cfg(unix)]
pub mod command;
pub mod egress;
#[cfg(unix)]
pub mod environment;
pub mod landlock;
#[cfg(target_os = "linux")]
#[allow(
    clippy::indexing_slicing,
    reason = "numbers index the tables that gave them out"
)]
pub mod run;
#[cfg(unix)]
pub mod sandbox_exec;
pub mod summary;
#[cfg(unix)]
pub mod terminal;
#[cfg(target_os = "linux")]
mod unlinked;
#[cfg(unix)]
pub mod user;
