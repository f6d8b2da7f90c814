//! The `polc` program. All of it is in [`cli`] and the library.
//!
//! Where the C library is glibc it begins by itself ([`begin`]), as the standard library's own beginning takes a tenth
//! of what the start of a sandbox may cost.

#![cfg_attr(all(target_os = "linux", target_env = "gnu", not(test)), no_main)]

mod allocator;
#[cfg(all(target_os = "linux", target_env = "gnu", not(test)))]
mod begin;
mod cli;

/// `polc run` splits the process while it has one thread, so that no lock is copied held.
#[global_allocator]
static ALLOCATOR: allocator::Early = allocator::Early::new();

// The unwinder as a part of the program (what gcc calls `-static-libgcc`): to load `libgcc_s.so` took an eighth of a
// millisecond of each start.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[link(name = "gcc_eh", kind = "static", modifiers = "-bundle")]
unsafe extern "C" {}

#[cfg(any(not(all(target_os = "linux", target_env = "gnu")), test))]
fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(run())
}

/// Does what the command line says; the answer is the exit status.
fn run() -> u8 {
    match cli::run() {
        Ok(outcome) => outcome.status(),
        Err(e) => {
            eprintln!("error: {e:#}");
            1
        }
    }
}
