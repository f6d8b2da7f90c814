//! polc compiles one policy, which says what a program may do, into what operating systems enforce.
//!
//! # Flow
//!
//! ```text
//! file ── front-end ──► Policy ── back-end ──► Artifact + Ledger
//!           │             │
//!       diagnostics   semantics (decide, path algebra)     read back ── proof: compared with the Policy
//! ```
//!
//! A [front-end](frontend) reads a file and makes a [`policy::Policy`], the intermediate representation: resolved,
//! validated, without any YAML. [`semantics`] says what a policy means. A [back-end](backend) lowers the meaning to a
//! typed model of its target's language, and renders that model. The [`fidelity::Ledger`] says what the target cannot
//! express, with an entry for every rule and operation. A back-end reads its artifacts back. [`proof`] compares what
//! they mean with what the policy means.
//!
//! # Terms
//!
//! - *subject*: who is confined.
//! - *operation*: what the subject does, such as [`policy::Operation::Read`].
//! - *object*: what it does it to: a path, a host, a program with arguments, a system call, a tool.
//! - *rule*: an action for operations on objects. The first rule that matches decides.
//! - *target*: what an artifact is for, by the name that `polc emit` takes: `apparmor`.
//! - *back-end*: the part of polc that makes the artifacts of one target and reads them back.
//! - *layer*: what enforces an artifact on a host while the program runs, mostly a part of the kernel.
//! - *artifact*: a file for a target's own tool. Its *clauses* are what it writes, so that *rule* is the policy's word.
//! - *fidelity*: how much of a rule's meaning a layer keeps.
//! - *ledger*: the list of what a target keeps of each rule and operation.
//! - *witness*: one object on which a layer and the policy disagree.

// The essays link to private modules (`cargo doc --document-private-items`).
#![allow(rustdoc::private_intra_doc_links)]
#![deny(missing_docs)]
#![cfg_attr(not(feature = "enforce"), forbid(unsafe_code))]

#[allow(
    clippy::indexing_slicing,
    reason = "numbers index the tables that gave them out"
)]
pub mod backend;
#[allow(
    clippy::indexing_slicing,
    reason = "fields of a JSON object that was just made"
)]
pub mod diagnostics;
#[allow(
    clippy::indexing_slicing,
    reason = "numbers index the tables that gave them out"
)]
pub mod diff;
#[cfg(feature = "enforce")]
pub mod enforce;
pub mod fidelity;
#[allow(
    clippy::indexing_slicing,
    reason = "numbers index the tables that gave them out"
)]
pub mod frontend;
pub mod git;
pub mod host;
#[allow(
    clippy::indexing_slicing,
    reason = "numbers index the tables that gave them out"
)]
pub mod lint;
pub mod parallel;
#[allow(
    clippy::indexing_slicing,
    reason = "numbers index the tables that gave them out"
)]
pub mod policy;
#[allow(
    clippy::indexing_slicing,
    reason = "numbers index the tables that gave them out"
)]
pub mod proof;
#[allow(
    clippy::indexing_slicing,
    reason = "numbers index the tables that gave them out"
)]
pub mod semantics;
#[cfg(all(unix, feature = "enforce"))]
pub mod trust;
pub mod why;
