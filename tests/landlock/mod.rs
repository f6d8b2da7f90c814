//! Whether a test can be run here: with a kernel that has Landlock.

/// Landlock of this version or a later one. Where there is none the test is skipped, but not in CI.
pub fn landlock(abi: u32) -> bool {
    let there = polc::enforce::landlock::kernel_abi().is_some_and(|n| n >= abi);
    if !there {
        let what = format!("this kernel has no Landlock of ABI {abi} or later");
        assert!(std::env::var_os("CI").is_none(), "{what}: CI skips nothing");
        eprintln!("skipped: {what}");
    }
    there
}
