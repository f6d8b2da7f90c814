//! The `polc` program. All of its code is in [`cli`] and the library.

#[allow(
    clippy::indexing_slicing,
    reason = "numbers index the tables that gave them out"
)]
mod cli;

use std::process::ExitCode;

/// glibc's allocator took a fifth of the compile time (docs/decisions.md). `polc run` splits the process while it has
/// only one thread, so no lock is held in the copy.
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
