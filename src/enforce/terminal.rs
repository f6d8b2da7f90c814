//! The terminal that a question is put on.

/// Throws away what was typed and not read yet: an answer is one to what stands on the screen.
pub fn forget_typed() {
    // SAFETY: takes a descriptor and a number; where it is no terminal, nothing happens.
    unsafe { libc::tcflush(libc::STDIN_FILENO, libc::TCIFLUSH) };
}
