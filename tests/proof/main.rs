//! What the artifacts mean, read back from their bytes, against the policies that they were made of.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod compiled;
mod corpus;
mod distinct;
mod generated;
mod ledgers;
mod mutants;
mod random;
mod subject;
mod together;

/// Says how much was tried: past the capture of passing tests' output, so that it is in what the test command prints.
fn report(line: &str) {
    use std::io::Write;
    let line = format!("{line}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}
