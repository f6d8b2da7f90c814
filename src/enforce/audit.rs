//! The kernel's records of one program, while it runs.
//!
//! They come from audit's multicast group. A process with `CAP_AUDIT_READ` may listen to it beside auditd
//! (linux/audit.h, `AUDIT_NLGRP_READLOG`).
//!
//! Audit is about the whole machine. polc keeps the records of Landlock domains that the program's process or its
//! descendants made, and seccomp's records of those processes. It also keeps the other records of the same events.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const AUDIT_GET: u16 = 1000;
const LANDLOCK_ACCESS: u16 = 1423;
const LANDLOCK_DOMAIN: u16 = 1424;
const SECCOMP: u16 = 1326;
/// The bit of the multicast group with all records. It is the first group.
const READLOG: u32 = 1;
/// How many records of one run are kept.
const RECORDS: usize = 20_000;

/// A socket that receives what the kernel records from now on. Open it before the program starts.
#[derive(Debug)]
pub struct Socket(OwnedFd);

/// A thread that listens.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Heard>>,
}

#[derive(Debug)]
struct Heard {
    kind: u16,
    text: Vec<u8>,
    /// Whether the process in its `pid=` was one of the program's when the record arrived.
    ours: bool,
}

impl Socket {
    /// Joins the group.
    ///
    /// # Errors
    /// There is no audit in this kernel, or no permission (`CAP_AUDIT_READ` in the first user namespace).
    pub fn open() -> io::Result<Self> {
        let socket = netlink(READLOG)?;
        set(&socket, libc::SO_RCVBUF, &(4i32 << 20))?;
        let wait = libc::timeval {
            tv_sec: 0,
            tv_usec: 100_000,
        };
        set(&socket, libc::SO_RCVTIMEO, &wait)?;
        Ok(Self(socket))
    }

    /// Starts to listen for the records of `program` and its descendants.
    ///
    /// # Errors
    /// The kernel makes no thread.
    pub fn watch(self, program: libc::pid_t) -> io::Result<Watch> {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("polc-audit".to_owned())
            .spawn(move || {
                let mut heard = Vec::new();
                let mut buffer = vec![0u8; 16 * 1024];
                loop {
                    let got = receive(&self.0, &mut buffer);
                    match got {
                        Ok(message) => {
                            if let Some(one) = keep(message, program) {
                                heard.push(one);
                            }
                            if heard.len() >= RECORDS {
                                return heard;
                            }
                        }
                        // Nothing came for a while, so all records that the program caused have arrived.
                        Err(_) if told.load(Ordering::SeqCst) => return heard,
                        Err(e)
                            if matches!(
                                e.kind(),
                                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                            ) => {}
                        // The buffer ran over, and some records are lost.
                        Err(_) => std::thread::sleep(Duration::from_millis(10)),
                    }
                }
            })?;
        Ok(Watch { stop, thread })
    }
}

impl Watch {
    /// Stops, and returns the program's records as lines of a log.
    #[must_use]
    pub fn finish(self) -> Vec<Vec<u8>> {
        self.stop.store(true, Ordering::SeqCst);
        lines(self.thread.join().unwrap_or_default())
    }
}

/// Whether the kernel writes records at all. `None`: this process may not ask (`CAP_AUDIT_CONTROL`).
#[must_use]
pub fn enabled() -> Option<bool> {
    let socket = netlink(0).ok()?;
    let wait = libc::timeval {
        tv_sec: 1,
        tv_usec: 0,
    };
    set(&socket, libc::SO_RCVTIMEO, &wait).ok()?;
    // The request is only a header: length, type, NLM_F_REQUEST, sequence, port.
    let mut request = Vec::new();
    request.extend_from_slice(&16u32.to_ne_bytes());
    request.extend_from_slice(&AUDIT_GET.to_ne_bytes());
    request.extend_from_slice(&1u16.to_ne_bytes());
    request.extend_from_slice(&1u32.to_ne_bytes());
    request.extend_from_slice(&0u32.to_ne_bytes());
    // SAFETY: the buffer is as long as is said, and the kernel only reads it.
    let sent = unsafe {
        libc::send(
            socket.as_raw_fd(),
            request.as_ptr().cast(),
            request.len(),
            0,
        )
    };
    if sent < 0 {
        return None;
    }
    let mut buffer = vec![0u8; 4096];
    let answer = receive(&socket, &mut buffer).ok()?;
    // struct audit_status: the mask, then whether it is enabled.
    let enabled = answer.get(20..)?.first_chunk()?;
    (kind(answer)? == AUDIT_GET).then(|| u32::from_ne_bytes(*enabled) != 0)
}

fn netlink(groups: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers; the descriptor is owned at once.
    let socket = unsafe {
        let fd = libc::socket(
            libc::AF_NETLINK,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            libc::NETLINK_AUDIT,
        );
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    // SAFETY: an all-zero address is a valid one.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    address.nl_groups = groups;
    // SAFETY: the address outlives the call and is as long as is said.
    let bound = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_nl>() as libc::socklen_t,
        )
    };
    if bound < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(socket)
}

fn set<T>(socket: &OwnedFd, option: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the value outlives the call and is as long as is said.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// One message with its header. Takes only the kernel's messages, because everybody may send to a netlink socket.
fn receive<'b>(socket: &OwnedFd, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
    // SAFETY: an all-zero address is a valid one.
    let mut from: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
    // SAFETY: both buffers are as long as is said and outlive the call.
    let got = unsafe {
        libc::recvfrom(
            socket.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            0,
            (&raw mut from).cast(),
            &raw mut length,
        )
    };
    let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
    if from.nl_pid != 0 {
        return Ok(&[]);
    }
    Ok(buffer.get(..got).unwrap_or_default())
}

fn kind(message: &[u8]) -> Option<u16> {
    let kind = message.get(4..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*kind))
}

fn keep(message: &[u8], program: libc::pid_t) -> Option<Heard> {
    let kind = kind(message)?;
    // The records of Landlock and seccomp, and what auditd's rules add: SYSCALL, PATH, CWD.
    if !matches!(
        kind,
        LANDLOCK_ACCESS | LANDLOCK_DOMAIN | SECCOMP | 1300 | 1302 | 1307
    ) {
        return None;
    }
    let text = message.get(16..)?;
    let text = text.split(|b| *b == 0).next().unwrap_or_default().to_vec();
    let ours = matches!(kind, LANDLOCK_DOMAIN | SECCOMP)
        && word(&text, b" pid=")
            .and_then(|p| std::str::from_utf8(p).ok()?.parse().ok())
            .is_some_and(|pid| descends(pid, program));
    Some(Heard { kind, text, ours })
}

/// The value of a field, up to the next blank. Only for fields that no program can choose.
fn word<'t>(text: &'t [u8], key: &[u8]) -> Option<&'t [u8]> {
    let at = text.windows(key.len()).position(|w| w == key)? + key.len();
    text.get(at..)?.split(|b| *b == b' ').next()
}

fn event(text: &[u8]) -> Option<&[u8]> {
    let rest = text.strip_prefix(b"audit(")?;
    rest.split(|b| *b == b')').next()
}

/// Whether a process is the program's, or was started by one of the program's.
fn descends(mut pid: libc::pid_t, program: libc::pid_t) -> bool {
    for _ in 0..64 {
        if pid == program {
            return true;
        }
        if pid <= 1 {
            return false;
        }
        let Ok(stat) = std::fs::read(format!("/proc/{pid}/stat")) else {
            return false;
        };
        // The name, in parentheses, may hold any byte. The fields after the last parenthesis may not.
        let parent = stat
            .rsplit(|b| *b == b')')
            .next()
            .and_then(|rest| std::str::from_utf8(rest).ok())
            .and_then(|rest| rest.split_ascii_whitespace().nth(1))
            .and_then(|p| p.parse().ok());
        let Some(parent) = parent else { return false };
        pid = parent;
    }
    false
}

fn lines(heard: Vec<Heard>) -> Vec<Vec<u8>> {
    let domains: HashSet<Vec<u8>> = heard
        .iter()
        .filter(|h| h.ours && h.kind == LANDLOCK_DOMAIN)
        .filter_map(|h| word(&h.text, b" domain=").map(<[u8]>::to_vec))
        .collect();
    let events: HashSet<Vec<u8>> = heard
        .iter()
        .filter(|h| match h.kind {
            LANDLOCK_ACCESS => word(&h.text, b" domain=").is_some_and(|d| domains.contains(d)),
            SECCOMP => h.ours,
            _ => false,
        })
        .filter_map(|h| event(&h.text).map(<[u8]>::to_vec))
        .collect();
    heard
        .into_iter()
        .filter(|h| event(&h.text).is_some_and(|e| events.contains(e)))
        .map(|h| [format!("type={} msg=", h.kind).as_bytes(), &h.text].concat())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(kind: u16, text: &str, ours: bool) -> Heard {
        Heard {
            kind,
            text: text.as_bytes().to_vec(),
            ours,
        }
    }

    #[test]
    fn only_what_the_program_caused_is_kept() {
        let lines = lines(vec![
            heard(
                LANDLOCK_ACCESS,
                "audit(1.0:1): domain=a blockers=fs.read_file path=\"/x\"",
                false,
            ),
            heard(
                LANDLOCK_DOMAIN,
                "audit(1.0:1): domain=a status=allocated mode=enforcing pid=7",
                true,
            ),
            heard(
                1302,
                "audit(1.0:1): item=0 name=\"x\" nametype=NORMAL",
                false,
            ),
            heard(
                LANDLOCK_ACCESS,
                "audit(1.0:2): domain=b blockers=fs.read_file path=\"/y\"",
                false,
            ),
            heard(
                LANDLOCK_DOMAIN,
                "audit(1.0:2): domain=b status=allocated mode=enforcing pid=8",
                false,
            ),
            heard(
                LANDLOCK_ACCESS,
                "audit(1.0:3): domain=a blockers=fs.execute path=\"/z\"",
                false,
            ),
            heard(SECCOMP, "audit(1.0:4): pid=9 syscall=1", false),
            heard(SECCOMP, "audit(1.0:5): pid=7 syscall=1", true),
        ]);
        let text: Vec<String> = lines
            .iter()
            .map(|l| String::from_utf8_lossy(l).into_owned())
            .collect();
        assert_eq!(text.len(), 5, "{text:#?}");
        assert!(
            text.iter()
                .all(|l| !l.contains("domain=b") && !l.contains("pid=9"))
        );
        assert!(text[0].starts_with("type=1423 msg=audit(1.0:1): domain=a "));
    }

    #[test]
    fn descent_goes_up_to_the_program() {
        let own = std::process::id() as libc::pid_t;
        assert!(descends(own, own));
        assert!(!descends(1, own));
        // SAFETY: takes nothing.
        let parent = unsafe { libc::getppid() };
        assert!(descends(own, parent));
    }
}
