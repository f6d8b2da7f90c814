//! The user who runs polc.

/// The number of the user whose rights this process has.
#[must_use]
pub fn effective() -> u32 {
    // SAFETY: takes nothing and always succeeds.
    unsafe { libc::geteuid() }
}
