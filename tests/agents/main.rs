//! Real coding agents under `polc run`, each with the built-in policy of its name. A script takes the place of the
//! model.
//!
//! `scripts/test` installs three of them from npm, `scripts/test --all-agents` all six, at the versions of
//! `package-lock.json`. An agent that is not installed is skipped with a line; with `CI=true` the three must be there.
#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unsafe_code
)]

mod agent;
mod control;
mod headless;
mod model;
mod place;
mod screen;
mod steps;
