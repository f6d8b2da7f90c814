//! The `polc` program. All of it is in [`cli`] and the library.

#[cfg(target_os = "linux")]
mod allocator;
mod cli;

use std::process::ExitCode;

/// `polc run` splits the process while it has one thread, so that no lock is copied held.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: allocator::Early = allocator::Early::new();

// The unwinder as a part of the program (what gcc calls `-static-libgcc`): to load `libgcc_s.so` took an eighth of a
// millisecond of each start, a tenth of what a sandbox may cost.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[link(name = "gcc_eh", kind = "static", modifiers = "-bundle")]
unsafe extern "C" {}

fn main() -> ExitCode {
    match cli::run() {
        Ok(outcome) => outcome.into(),
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}
