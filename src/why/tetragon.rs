//! Tetragon's events, as `tetra getevents -o json` and the agent's export file have them: one JSON object a line.
//!
//! api/v1/tetragon/tetragon.proto. `action` is the policy's action, also in monitor mode, where nothing is done. The
//! meaning of an argument follows from the hooks that polc emits.

use super::{Access, Denial, Layer, Line, on_host, on_path, one};
use crate::fidelity::{Object, show_bytes};
use crate::policy::{Address, HostSpec, Operation, OperationSet, Protocol};
use serde_json::Value;

/// The line inside a journal's JSON. `None`: it is not such JSON.
pub(super) fn unwrap_journal(line: &[u8]) -> Option<Vec<u8>> {
    let value: Value = serde_json::from_slice(line).ok()?;
    match value.get("MESSAGE")? {
        Value::String(s) => Some(s.clone().into_bytes()),
        // Bytes that are not UTF-8 appear as a list of numbers.
        Value::Array(bytes) => bytes
            .iter()
            .map(|b| b.as_u64().and_then(|b| u8::try_from(b).ok()))
            .collect(),
        _ => None,
    }
}

pub(super) fn line(line: &[u8]) -> Line {
    let Ok(value) = serde_json::from_slice::<Value>(line) else {
        // Half an event, because the file was still being written.
        return if super::record::find(line, b"KPROBE_ACTION").is_some() {
            Line::Unread
        } else {
            Line::Nothing
        };
    };
    let Some(event) = ["process_kprobe", "processKprobe", "process_lsm"]
        .iter()
        .find_map(|k| value.get(k))
    else {
        return Line::Nothing;
    };
    let field = |snake: &str, camel: &str| event.get(snake).or_else(|| event.get(camel));
    let action = field("action", "action")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let returned = field("return_action", "returnAction")
        .and_then(Value::as_str)
        .unwrap_or_default();
    const REFUSING: [&str; 4] = [
        "KPROBE_ACTION_OVERRIDE",
        "KPROBE_ACTION_SIGKILL",
        "KPROBE_ACTION_SIGNAL",
        "KPROBE_ACTION_NOTIFYENFORCER",
    ];
    if !REFUSING.contains(&action) && !REFUSING.contains(&returned) {
        return Line::Nothing;
    }
    let Some(function) = field("function_name", "functionName").and_then(Value::as_str) else {
        return Line::Unread;
    };
    let none = Vec::new();
    let args = event.get("args").and_then(Value::as_array).unwrap_or(&none);
    let message = event
        .get("message")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let access = access(function, args, message)
        .unwrap_or_else(|| Access::Other(format!("a call of {}", show_bytes(function.as_bytes()))));
    let inexact = matches!(&access, Access::Known(_, Object::Path(p)) | Access::Within(_, p)
        if p.windows(3).any(|w| w == "\u{fffd}".as_bytes()));
    let mut denial = Denial::new(Layer::Tetragon, access);
    denial.program = event
        .pointer("/process/binary")
        .and_then(Value::as_str)
        .map(|b| b.as_bytes().to_vec());
    denial.by = field("policy_name", "policyName")
        .and_then(Value::as_str)
        .map(|b| b.as_bytes().to_vec());
    if inexact {
        denial = denial
            .note("Tetragon's events lose bytes that are not UTF-8: the real name is another");
    }
    if action == "KPROBE_ACTION_SIGKILL" || returned == "KPROBE_ACTION_SIGKILL" {
        denial = denial.note("the program is killed for it, unless the agent is in monitor mode");
    }
    Line::Denials(vec![denial])
}

fn access(function: &str, args: &[Value], message: &str) -> Option<Access> {
    let path = args.iter().find_map(|a| {
        [
            "file_arg",
            "path_arg",
            "linux_binprm_arg",
            "fileArg",
            "pathArg",
            "linuxBinprmArg",
        ]
        .iter()
        .find_map(|k| a.get(k))
        .and_then(|f| f.get("path"))
        .and_then(Value::as_str)
        // The path of the root is empty.
        .map(|p| if p.is_empty() { "/" } else { p })
    });
    let int = |n: usize| {
        args.iter()
            .filter_map(|a| {
                [
                    "int_arg", "size_arg", "uint_arg", "long_arg", "intArg", "sizeArg",
                ]
                .iter()
                .find_map(|k| a.get(k))
            })
            .nth(n)
            .and_then(|v| {
                v.as_u64()
                    .or_else(|| v.as_str().and_then(|s| s.parse().ok()))
            })
    };
    let on = |operation| path.map(|p| on_path(one(operation), p.as_bytes()));
    let within = |operations: &[Operation]| {
        let set = OperationSet::from_iter(operations.iter().copied());
        path.map(|p| match on_path(set, p.as_bytes()) {
            Access::Known(set, Object::Path(p)) => Access::Within(set, p),
            access => access,
        })
    };
    match function {
        "security_file_permission" => on(match int(0) {
            // MAY_WRITE of include/linux/fs.h.
            Some(mask) if mask & 2 != 0 => Operation::Edit,
            _ => Operation::Read,
        }),
        "security_mmap_file" if message.ends_with("map for writing") => on(Operation::Edit),
        "security_mmap_file" | "security_file_open" => on(Operation::Read),
        "security_path_truncate" | "security_file_truncate" => on(Operation::Edit),
        "security_path_mknod"
        | "security_path_mkdir"
        | "security_path_symlink"
        | "security_path_link" => within(&[Operation::Create]),
        "security_path_unlink" | "security_path_rmdir" => within(&[Operation::Delete]),
        "security_path_rename" if message.ends_with("rename away") => within(&[Operation::Delete]),
        "security_path_rename" if message.ends_with("rename to") => within(&[Operation::Create]),
        "security_path_rename" => within(&[Operation::Create, Operation::Delete]),
        "security_path_chmod" | "security_path_chown" => on(Operation::Metadata),
        "security_bprm_check" | "security_bprm_creds_for_exec" => on(Operation::Execute),
        "security_socket_connect" | "tcp_connect" => peer(args, Operation::Connect),
        "security_socket_bind" => peer(args, Operation::Bind),
        _ => None,
    }
}

fn peer(args: &[Value], operation: Operation) -> Option<Access> {
    let get = |keys: &[&str], fields: &[&str]| {
        args.iter()
            .find_map(|a| keys.iter().find_map(|k| a.get(k)))
            .and_then(|s| fields.iter().find_map(|f| s.get(f)))
            .cloned()
    };
    let address = get(&["sockaddr_arg", "sockaddrArg"], &["addr", "address"])
        .or_else(|| get(&["sock_arg", "sockArg"], &["daddr"]))?;
    let port = get(&["sockaddr_arg", "sockaddrArg"], &["port"])
        .or_else(|| get(&["sock_arg", "sockArg"], &["dport"]))?;
    let ip = address.as_str()?.parse::<std::net::IpAddr>().ok()?;
    // Only the socket says whether it was TCP or UDP.
    let protocol = match get(&["sock_arg", "sockArg"], &["protocol"])
        .as_ref()
        .and_then(Value::as_str)
    {
        Some("IPPROTO_TCP") => Some(Protocol::Tcp),
        Some("IPPROTO_UDP") => Some(Protocol::Udp),
        _ => None,
    };
    Some(on_host(
        operation,
        HostSpec {
            protocol,
            address: Address::Ip(ip),
            port: u16::try_from(port.as_u64()?).ok()?,
        },
    ))
}
