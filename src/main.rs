//! The `polc` program. All of it is in [`cli`] and the library.

#[allow(
    clippy::indexing_slicing,
    reason = "numbers index the tables that gave them out"
)]
mod cli;

use std::process::ExitCode;

/// A fifth of compiling was glibc's allocator (docs/decisions.md). `polc run` splits the process while it has one thread,
/// so no lock is held in the copy.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::run() {
        Ok(outcome) => outcome.into(),
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}
