//! `polc run` on this machine: what works inside `builtin:coding-agent`, what is refused, and how it ends.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    unsafe_code,
    clippy::undocumented_unsafe_blocks
)]
#![cfg(target_os = "linux")]

mod after;
mod covers;
mod ends;
mod git;
mod guard;
mod isolated;
#[path = "../landlock/mod.rs"]
mod landlock;
mod large;
mod loopback;
mod missing;
mod own_dirs;
mod patterns;
mod place;
mod refused;
mod require;
mod unix;
mod users;
mod works;
