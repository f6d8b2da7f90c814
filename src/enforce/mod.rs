//! Enforcement on this host: confines a process as the policy says, and starts a program in it.
//!
//! polc first prepares every step that needs a file or memory. Then it applies the layers, and then it starts the
//! program. If a layer cannot be applied as it was prepared, the program does not start.

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
