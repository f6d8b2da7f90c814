//! Landlock's `LANDLOCK_ACCESS` (1423) records, from kernel 6.15 (ABI 7).
//!
//! Documentation/admin-guide/LSM/landlock.rst: `blockers` names the missing rights, with the object after them. For
//! `make_*`, `remove_*` and `refer` the path is that of the directory.

use super::record::Record;
use super::{Access, Denial, Layer, Line, on_host, on_path};
use crate::policy::{Address, HostSpec, Operation, OperationSet, Protocol};
use std::net::IpAddr;

pub(super) fn line(record: &Record<'_>) -> Line {
    let Some(blockers) = record.word("blockers") else {
        return Line::Unread;
    };
    let path = record.untrusted("path");
    // Rights of one kind are about one object: `make_reg,refer` is one refusal.
    let (mut on, mut within) = (OperationSet::EMPTY, OperationSet::EMPTY);
    let mut moved = false;
    let mut out = Vec::new();
    for blocker in blockers.split(',') {
        match blocker {
            "fs.execute" => on.insert(Operation::Execute),
            "fs.read_file" => on.insert(Operation::Read),
            "fs.read_dir" => on.insert(Operation::List),
            "fs.write_file" | "fs.truncate" | "fs.ioctl_dev" => on.insert(Operation::Edit),
            "fs.resolve_unix" => on.insert(Operation::Connect),
            "fs.remove_dir" | "fs.remove_file" => within.insert(Operation::Delete),
            "fs.refer" => moved = true,
            b if b.starts_with("fs.make_") => within.insert(Operation::Create),
            "net.connect_tcp" => out.push(net(record, Operation::Connect, Protocol::Tcp)),
            "net.bind_tcp" => out.push(net(record, Operation::Bind, Protocol::Tcp)),
            "net.connect_send_udp" => out.push(net(record, Operation::Connect, Protocol::Udp)),
            "net.bind_udp" => out.push(net(record, Operation::Bind, Protocol::Udp)),
            "fs.change_topology" => out.push(Some(Access::Other(
                "mounting or unmounting, which Landlock never allows".to_owned(),
            ))),
            "scope.signal" => out.push(Some(Access::Other(other(
                record,
                "a signal to a process outside the sandbox",
            )))),
            "scope.abstract_unix_socket" => out.push(Some(Access::Other(
                "an abstract unix socket of a process outside the sandbox".to_owned(),
            ))),
            "ptrace" => out.push(Some(Access::Other(other(
                record,
                "tracing a process outside the sandbox",
            )))),
            _ => out.push(None),
        }
    }
    let mut notes = Vec::new();
    if moved && within.is_empty() && on.is_empty() {
        // The source or the destination of a move or a link. The record does not say which.
        within = OperationSet::from_iter([Operation::Create, Operation::Delete]);
        notes.push(
            "a move or hard link between two directories (Landlock's `refer`), of which this is one".to_owned(),
        );
    }
    for (set, inside) in [(on, false), (within, true)] {
        if !set.is_empty() {
            out.push(path.as_deref().map(|p| match (on_path(set, p), inside) {
                (Access::Known(set, crate::fidelity::Object::Path(p)), true) => {
                    Access::Within(set, p)
                }
                (access, _) => access,
            }));
        }
    }
    let accesses: Option<Vec<Access>> = out.into_iter().collect();
    let Some(accesses) = accesses else {
        return Line::Unread;
    };
    let domain = record.raw("domain").map(<[u8]>::to_vec);
    Line::Denials(
        accesses
            .into_iter()
            .map(|access| Denial {
                by: domain.clone(),
                program: record
                    .untrusted("exe")
                    .or_else(|| record.untrusted("comm"))
                    .map(|c| c.into_owned()),
                notes: notes.clone(),
                ..Denial::new(Layer::Landlock, access)
            })
            .collect(),
    )
}

fn other(record: &Record<'_>, what: &str) -> String {
    match record.untrusted("ocomm") {
        Some(comm) => format!("{what} (`{}`)", crate::fidelity::show_bytes(&comm)),
        None => what.to_owned(),
    }
}

/// `daddr= dest=` for connecting, `saddr= src=` for binding (security/lsm_audit.c). An address of zeros is left out.
fn net(record: &Record<'_>, operation: Operation, protocol: Protocol) -> Option<Access> {
    let (address, port) = match operation {
        Operation::Bind => ("saddr", "src"),
        _ => ("daddr", "dest"),
    };
    let port = u16::try_from(record.number(port)?).ok()?;
    Some(match record.word(address) {
        Some(a) => on_host(
            operation,
            HostSpec {
                protocol: Some(protocol),
                address: Address::Ip(a.trim_matches(['[', ']']).parse::<IpAddr>().ok()?),
                port,
            },
        ),
        None => Access::Port(operation, protocol, port),
    })
}
