//! The beginning of the process.
//!
//! It does what the standard library does before `main`, but for two things: it does not name the thread, and it does
//! not look for the end of the stack in `/proc/self/maps`, which takes longer than to read a small policy. Without that
//! a stack that overflows ends the process as it does with it, by a signal, and only the sentence that says so is
//! missing.

use std::ffi::{c_char, c_int};

/// The exit status after a panic, as the standard library has it.
const PANICKED: c_int = 101;

/// Called by the C library, which hands the command line to the standard library by itself: only glibc does.
// The attribute is unsafe because two functions of one name would be one; there is no other `main`.
#[unsafe(no_mangle)]
extern "C" fn main(_words: c_int, _command_line: *const *const c_char) -> c_int {
    standard_descriptors();
    // So that a closed pipe is an error to be told, and no end.
    // SAFETY: sets a disposition that is no function.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let status = std::panic::catch_unwind(crate::run).map_or(PANICKED, c_int::from);
    // Writes out what standard output still holds.
    std::process::exit(status)
}

/// Opens `/dev/null` for each of the three that is closed: else the next file that is opened would be taken for it, and
/// messages be written into a policy.
fn standard_descriptors() {
    for fd in 0..3 {
        // SAFETY: takes numbers.
        let closed = unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1;
        // The lowest number that is free is given out, which is this one.
        // SAFETY: the string ends in NUL and outlives the call.
        if closed && unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) } != fd {
            std::process::abort();
        }
    }
}
