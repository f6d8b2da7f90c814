//! Drops capabilities, so that root is confined like every other user.

use super::{Error, sys};

/// In the order of linux/capability.h.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];
/// `_LINUX_CAPABILITY_VERSION_3`: two words of 32 bits each.
const VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Words {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn get() -> std::io::Result<[Words; 2]> {
    let header = Header {
        version: VERSION,
        pid: 0,
    };
    let mut words = [Words::default(); 2];
    // SAFETY: version 3 has two words, which the kernel fills in.
    let answer = unsafe { libc::syscall(libc::SYS_capget, &raw const header, words.as_mut_ptr()) };
    if answer < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(words)
}

fn set(words: &[Words; 2]) -> std::io::Result<()> {
    let header = Header {
        version: VERSION,
        pid: 0,
    };
    // SAFETY: version 3 has two words, which the kernel reads.
    let answer = unsafe { libc::syscall(libc::SYS_capset, &raw const header, words.as_ptr()) };
    if answer < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}

/// The capabilities that this process may use.
///
/// # Errors
/// The system call fails.
pub fn effective() -> std::io::Result<u64> {
    let words = get()?;
    Ok(u64::from(words[0].effective) | u64::from(words[1].effective) << 32)
}

/// The bit of the capability with this name.
#[must_use]
pub fn bit(name: &str) -> Option<u64> {
    let at = NAMES
        .iter()
        .position(|n| Some(*n) == name.strip_prefix("CAP_"))?;
    Some(1 << at)
}

/// Keeps the named capabilities that this process has, and drops every other one for good. It drops them from the
/// bounding set too, where the kernel permits that. Elsewhere `no_new_privs` keeps a dropped capability from coming
/// back.
///
/// # Errors
/// The kernel refuses to change them.
pub fn keep(names: &[String]) -> Result<(), Error> {
    let wanted: u64 = names.iter().filter_map(|n| bit(n)).sum();
    let mut words = get().map_err(Error::Capabilities)?;
    let own = u64::from(words[0].permitted) | u64::from(words[1].permitted) << 32;
    let kept = own & wanted;
    if own & (1 << 8) != 0 {
        for number in 0..64u64 {
            // The kernel answers EINVAL for a capability that it does not know. Then there is nothing to drop.
            let known = sys::prctl(libc::PR_CAPBSET_READ, number, 0).is_ok_and(|n| n == 1);
            if known && kept & (1 << number) == 0 {
                sys::prctl(libc::PR_CAPBSET_DROP, number, 0).map_err(Error::Capabilities)?;
            }
        }
    }
    sys::prctl(
        libc::PR_CAP_AMBIENT,
        libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong,
        0,
    )
    .map_err(Error::Capabilities)?;
    for (i, word) in words.iter_mut().enumerate() {
        let half = (kept >> (32 * i)) as u32;
        *word = Words {
            effective: half,
            permitted: half,
            inheritable: half,
        };
    }
    set(&words).map_err(Error::Capabilities)?;
    for number in (0..64u64).filter(|n| kept & (1 << n) != 0) {
        sys::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong,
            number,
        )
        .map_err(Error::Capabilities)?;
    }
    let now = effective().map_err(Error::Capabilities)?;
    if now == kept {
        Ok(())
    } else {
        Err(Error::CapabilitiesStay)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_the_kernels() {
        for (name, number) in [
            ("CAP_CHOWN", 0),
            ("CAP_SETPCAP", 8),
            ("CAP_NET_BIND_SERVICE", 10),
            ("CAP_SYS_ADMIN", 21),
            ("CAP_CHECKPOINT_RESTORE", 40),
        ] {
            assert_eq!(super::bit(name), Some(1 << number), "{name}");
        }
        assert_eq!(super::bit("SYS_ADMIN"), None);
    }
}
