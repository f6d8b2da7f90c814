//! The kernel lab: artifacts on running kernels.
//!
//! Every policy is compiled, and every kernel that the layer differs on is booted in QEMU with an initramfs
//! that holds the probe, the artifacts and a plan. For every rule and operation the plan tries an object that the
//! rule decides, objects near it, and every witness of the ledger, confined and unconfined. The policy's meaning
//! (`semantics::decide`) says what should happen where the ledger says exact; where it says stricter or
//! looser, that direction and no other is let pass.
//!
//! Addresses are tried with an address and a port, where there is no network: what is not refused fails for want of one, and
//! of names, which no kernel knows, any address is one.
//!
//! Filters of system calls are tried on this machine's kernel, in containers and in `polc run` ([`seccomp`]).

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]
#![cfg(target_os = "linux")]

mod apparmor;
#[path = "../proof/generated.rs"]
mod generated;
mod group;
mod kernels;
mod lab;
mod landlock;
#[path = "../native/selinux/link.rs"]
#[allow(dead_code)]
mod link;
mod machine;
#[path = "../proof/corpus.rs"]
mod policies;
mod rows;
mod run;
mod seccomp;
mod selinux;
mod table;
#[path = "../native/tool.rs"]
#[allow(dead_code)]
mod tool;
mod ways;
