//! AppArmor's records: `apparmor="DENIED"`, and `"ALLOWED"` of a profile in complain mode.
//!
//! security/apparmor/{audit,file,net,capability}.c: `denied_mask` is what the profile lacks, in the letters of profiles
//! and `c` (create), `d` (delete). A directory's name ends in `/`. `operation` is the name of the hook.

use super::record::Record;
use super::{Access, Denial, Layer, Line, on_host, on_path};
use crate::fidelity::show_bytes;
use crate::policy::{Address, HostSpec, Operation, OperationSet, Protocol};

pub(super) fn line(record: &Record<'_>) -> Line {
    let only_logged = match record.raw("apparmor") {
        Some(b"DENIED") => false,
        Some(b"ALLOWED") => true,
        _ => return Line::Nothing,
    };
    let operation = record.word("operation").unwrap_or_default();
    let Some((access, notes)) = access(record, operation) else {
        return Line::Unread;
    };
    Line::Denials(vec![Denial {
        program: record.untrusted("comm").map(|c| c.into_owned()),
        by: record.untrusted("profile").map(|p| p.into_owned()),
        only_logged,
        notes,
        ..Denial::new(Layer::AppArmor, access)
    }])
}

fn access(record: &Record<'_>, operation: &str) -> Option<(Access, Vec<String>)> {
    let plain = |access| Some((access, Vec::new()));
    match operation {
        "capable" => {
            let name = record.word("capname")?;
            let fine = name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit());
            return fine.then(|| {
                (
                    Access::Capability(format!("CAP_{}", name.to_ascii_uppercase())),
                    Vec::new(),
                )
            });
        }
        "ptrace" | "signal" => {
            let peer = record.untrusted("peer").unwrap_or_default();
            return plain(Access::Other(format!(
                "{operation} of a process in profile `{}`",
                show_bytes(&peer)
            )));
        }
        "mount" | "umount" | "remount" | "pivotroot" => {
            return plain(Access::Other(format!(
                "{operation} of {}",
                show_bytes(&record.untrusted("name").unwrap_or_default())
            )));
        }
        _ => {}
    }
    if let Some(family) = record.word("family") {
        return network(record, operation, family);
    }
    let name = record.untrusted("name")?;
    let mask = record
        .word("denied_mask")
        .or_else(|| record.word("requested_mask"))?;
    let directory = name.len() > 1 && name.ends_with(b"/");
    let mut set = OperationSet::EMPTY;
    let mut notes = Vec::new();
    for letter in mask.chars() {
        match letter {
            'r' if directory => set.insert(Operation::List),
            'r' | 'm' => set.insert(Operation::Read),
            'x' => set.insert(Operation::Execute),
            'w' | 'a' => set.insert(match operation {
                "chmod" | "chown" | "setattr" => Operation::Metadata,
                "mknod" | "mkdir" | "symlink" | "rename_dest" | "link" => Operation::Create,
                "unlink" | "rmdir" | "rename_src" => Operation::Delete,
                _ => Operation::Edit,
            }),
            'c' | 'l' => set.insert(Operation::Create),
            'd' => set.insert(Operation::Delete),
            'k' => {
                notes.push("a lock, which every policy allows: the profile lacks `k`".to_owned())
            }
            // Old kernels write the owner's and the others' rights as `r::w`.
            ':' => {}
            _ => return None,
        }
    }
    if operation == "link" && record.untrusted("target").is_some() {
        notes.push(format!(
            "a hard link to {}",
            show_bytes(&record.untrusted("target").unwrap_or_default())
        ));
    }
    if set.is_empty() {
        // A lock alone.
        return notes
            .pop()
            .map(|n| (Access::Other(format!("{n}: {}", show_bytes(&name))), notes));
    }
    Some((on_path(set, &name), notes))
}

fn network(record: &Record<'_>, operation: &str, family: &str) -> Option<(Access, Vec<String>)> {
    let word = |w: &str| show_bytes(w.as_bytes());
    if family == "unix" {
        let peer = record
            .untrusted("peer_addr")
            .or_else(|| record.untrusted("addr"));
        return Some(match peer {
            Some(path) if path.first() == Some(&b'/') => (
                on_path(OperationSet::from_iter([Operation::Connect]), &path),
                Vec::new(),
            ),
            _ => (
                Access::Other(format!(
                    "{} of a unix socket without a path",
                    word(operation)
                )),
                Vec::new(),
            ),
        });
    }
    let kind = record.word("sock_type").unwrap_or("?");
    let protocol = match kind {
        "dgram" => Protocol::Udp,
        _ => Protocol::Tcp,
    };
    let (op, address, port) = match operation {
        "bind" | "listen" => (Operation::Bind, "laddr", "lport"),
        _ => (Operation::Connect, "faddr", "fport"),
    };
    let port = record.number(port).and_then(|p| u16::try_from(p).ok());
    let address = record
        .word(address)
        .and_then(|a| a.parse::<std::net::IpAddr>().ok());
    Some((
        match (address, port.filter(|p| *p != 0)) {
            (Some(ip), Some(port)) => on_host(
                op,
                HostSpec {
                    protocol: Some(protocol),
                    address: Address::Ip(ip),
                    port,
                },
            ),
            (None, Some(port)) => Access::Port(op, protocol, port),
            _ => Access::Other(format!(
                "{} of a network socket (family {}, type {}); the record names no host",
                word(operation),
                word(family),
                word(kind)
            )),
        },
        Vec::new(),
    ))
}
