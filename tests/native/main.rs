//! Hands every artifact to its target's own tool, and asks the tool what it means.
//!
//! Nothing here trusts polc's own reading of an artifact: AppArmor's compiled automaton is walked,
//! the SELinux module is linked with Debian's reference policy and queried, runc starts a container.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    unsafe_code,
    clippy::undocumented_unsafe_blocks
)]
#![cfg(target_os = "linux")]
#![allow(dead_code)] // grows with the artifacts: some questions have no artifact yet

mod apparmor;
mod corpus;
#[path = "../proof/corpus.rs"]
mod policies;
mod runc;
mod schema;
mod seccomp;
mod selinux;
mod tool;
