//! The guard of `polc run` on this machine: what it lets through is as bare, what it refuses stays refused.
//!
//! The calls are made by a program of their own (`program/`), which the tests run bare and inside.

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
