//! Enforcement on this host.

pub mod landlock;
