//! The guard of `polc run` on this machine: allowed calls behave as without it, and refused calls have no effect.
//!
//! A separate program makes the calls (`program/`). The tests run it with and without polc.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    unsafe_code,
    clippy::undocumented_unsafe_blocks
)]
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod attack;
mod bounds;
mod conf;
mod decides;
mod denied;
mod place;
mod programs;
mod storm;
#[path = "../native/tool.rs"]
#[allow(dead_code)]
mod tool;
