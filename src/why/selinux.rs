//! SELinux's records: `avc:  denied  { read open } for … tclass=file`.
//!
//! security/selinux/avc.c and security/lsm_audit.c. `path=` is present if the hook had a path. `name=` alone is the
//! last component of a path, with its inode.

use super::record::{Record, after, find};
use super::{Access, Denial, Layer, Line, on_host, on_path, one};
use crate::fidelity::show_bytes;
use crate::policy::{Address, HostSpec, Operation, OperationSet, Protocol};

pub(super) fn line(record: &Record<'_>) -> Line {
    let text = record.line();
    let Some(rest) = after(text, b"avc:") else {
        return Line::Nothing;
    };
    let open = rest.iter().position(|b| *b == b'{');
    let close = rest.iter().position(|b| *b == b'}');
    let (Some(open), Some(close)) = (open, close) else {
        // `avc: granted` and statistics have none either. A denial without rights is broken.
        return if find(rest, b"denied").is_some() {
            Line::Unread
        } else {
            Line::Nothing
        };
    };
    let (Some(word), Some(permissions)) = (rest.get(..open), rest.get(open + 1..close)) else {
        return Line::Unread;
    };
    let word = String::from_utf8_lossy(word).trim().to_owned();
    if word != "denied" {
        return Line::Nothing;
    }
    let permissions = String::from_utf8_lossy(permissions).into_owned();
    let permissions: Vec<&str> = permissions.split_ascii_whitespace().collect();
    let (Some(class), Some(source)) = (record.word("tclass"), record.raw("scontext")) else {
        return Line::Unread;
    };
    if permissions.is_empty() {
        return Line::Unread;
    }
    let only_logged = record.word("permissive") == Some("1");
    let target = record.word("tcontext").map_or_else(String::new, |t| {
        format!("the label of the object is {}", show_bytes(t.as_bytes()))
    });
    Line::Denials(
        accesses(record, class, &permissions)
            .into_iter()
            .map(|(access, note)| {
                let mut d = Denial::new(Layer::SeLinux, access);
                d.program = record
                    .untrusted("exe")
                    .or_else(|| record.untrusted("comm"))
                    .map(|c| c.into_owned());
                d.by = Some(kind_of(source).to_vec());
                d.only_logged = only_logged;
                d.notes.extend(note);
                if !target.is_empty() {
                    d.notes.push(target.clone());
                }
                d
            })
            .collect(),
    )
}

/// The type in `user:role:type:level`.
fn kind_of(context: &[u8]) -> &[u8] {
    context.split(|b| *b == b':').nth(2).unwrap_or(context)
}

fn accesses(
    record: &Record<'_>,
    class: &str,
    permissions: &[&str],
) -> Vec<(Access, Option<String>)> {
    if class.starts_with("capability") {
        return permissions
            .iter()
            .map(|p| {
                let name = show_bytes(p.as_bytes()).to_ascii_uppercase();
                (Access::Capability(format!("CAP_{name}")), None)
            })
            .collect();
    }
    if class.ends_with("_socket") {
        return vec![(socket(record, class, permissions), None)];
    }
    const FILES: [&str; 7] = [
        "file",
        "dir",
        "lnk_file",
        "chr_file",
        "blk_file",
        "fifo_file",
        "sock_file",
    ];
    if !FILES.contains(&class) {
        return vec![(
            Access::Other(format!(
                "{} on a {}",
                show_bytes(permissions.join(" ").as_bytes()),
                show_bytes(class.as_bytes())
            )),
            None,
        )];
    }
    let (mut set, mut inside) = (OperationSet::EMPTY, OperationSet::EMPTY);
    let mut free = Vec::new();
    for p in permissions {
        match (*p, class) {
            ("read", "dir") => set.insert(Operation::List),
            ("add_name", _) => inside.insert(Operation::Create),
            ("remove_name", _) => inside.insert(Operation::Delete),
            ("write", "dir") => {
                if !permissions.iter().any(|p| p.ends_with("_name")) {
                    inside = inside.union(OperationSet::from_iter([
                        Operation::Create,
                        Operation::Delete,
                    ]));
                }
            }
            ("write", "sock_file") => set.insert(Operation::Connect),
            ("read" | "map" | "execmod", _) => set.insert(Operation::Read),
            ("write" | "append", _) => set.insert(Operation::Edit),
            ("execute" | "execute_no_trans" | "entrypoint", _) => set.insert(Operation::Execute),
            ("create" | "link", _) => set.insert(Operation::Create),
            ("unlink" | "rmdir" | "rename" | "reparent", _) => set.insert(Operation::Delete),
            ("setattr" | "relabelfrom" | "relabelto", _) => set.insert(Operation::Metadata),
            (other, _) => free.push(other),
        }
    }
    let path = record.untrusted("path");
    let name = record.untrusted("name");
    let inode = record.number("ino");
    let mut out = Vec::new();
    let shown = || show_bytes(path.as_deref().or(name.as_deref()).unwrap_or(b"?"));
    if !set.is_empty() {
        out.push((
            match (&path, &name) {
                (Some(p), _) => on_path(set, p),
                (None, Some(n)) => Access::Named(set, n.to_vec(), inode),
                (None, None) => Access::Other(format!(
                    "{} on a {class} that the record does not name",
                    show_bytes(permissions.join(" ").as_bytes())
                )),
            },
            None,
        ));
    }
    if !inside.is_empty() {
        // `add_name` names the new entry. `write` alone names the directory.
        let entry = permissions.iter().any(|p| p.ends_with("_name"));
        out.push((
            match (&path, &name) {
                (Some(p), _) => match on_path(inside, p) {
                    Access::Known(set, crate::fidelity::Object::Path(p)) => Access::Within(set, p),
                    access => access,
                },
                (None, Some(n)) if entry => Access::Named(inside, n.to_vec(), None),
                _ => Access::Other(format!(
                    "making or removing an entry named {} in a directory",
                    shown()
                )),
            },
            None,
        ));
    }
    if set.is_empty() && inside.is_empty() {
        out.push((
            Access::Other(format!(
                "{} on a {class}: {}",
                show_bytes(free.join(" ").as_bytes()),
                shown()
            )),
            Some("the language has no such operation: other operations bring `search`, `getattr`, `open`, `lock` and `ioctl` with them. So the module does not know the label of the object".to_owned()),
        ));
    }
    out
}

fn socket(record: &Record<'_>, class: &str, permissions: &[&str]) -> Access {
    let protocol = if class.starts_with("udp") {
        Protocol::Udp
    } else {
        Protocol::Tcp
    };
    let has = |p: &str| permissions.contains(&p);
    let to_unix = has("connectto") || (class == "unix_dgram_socket" && has("sendto"));
    if let Some(path) = record.untrusted("path").filter(|_| to_unix) {
        return on_path(one(Operation::Connect), &path);
    }
    let (operation, address, port) = if has("name_bind") || has("node_bind") {
        (Operation::Bind, "saddr", "src")
    } else {
        (Operation::Connect, "daddr", "dest")
    };
    let port = record.number(port).and_then(|p| u16::try_from(p).ok());
    let address = record
        .word(address)
        .and_then(|a| a.parse::<std::net::IpAddr>().ok());
    let by_name = has("name_connect") || has("name_bind") || has("node_bind");
    match (port, address) {
        (Some(port), Some(ip)) if by_name => on_host(
            operation,
            HostSpec {
                protocol: Some(protocol),
                address: Address::Ip(ip),
                port,
            },
        ),
        (Some(port), None) if by_name => Access::Port(operation, protocol, port),
        _ => Access::Other(format!(
            "{} on a {}; the record names no host",
            show_bytes(permissions.join(" ").as_bytes()),
            show_bytes(class.as_bytes())
        )),
    }
}
