//! The terminal on which polc asks a question.

/// Discards typed input that was not read yet, because an answer must be to the question on the screen.
pub fn forget_typed() {
    // SAFETY: takes a descriptor and a number; where it is no terminal, nothing happens.
    unsafe { libc::tcflush(libc::STDIN_FILENO, libc::TCIFLUSH) };
}
