//! The kernel lab: artifacts on running kernels.
//!
//! The tests compile every policy. They boot every kernel on which the layer differs, in QEMU, with an initramfs. It
//! holds the probe, the artifacts and a plan. For every rule and operation, the plan tries an object that the rule
//! decides, objects near it, and every witness of the ledger. Each runs confined and unconfined. If the ledger says
//! exact, the result must be the policy's meaning (`semantics::decide`). If it says stricter or looser, only that
//! difference is allowed.
//!
//! Addresses are tried with a port on a machine without a network: a call that is not refused fails because of that. No
//! kernel knows names, so any address stands for a name.
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
