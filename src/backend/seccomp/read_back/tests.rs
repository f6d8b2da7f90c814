//! The reader on filters that were written by hand.

use super::*;
use crate::policy::{Address, HostSpec};
use proptest::prelude::*;

fn filters(text: &str) -> Result<Filters, Diagnostics> {
    read(&[Artifact {
        file_name: "t.seccomp.json".to_owned(),
        bytes: text.as_bytes().to_vec(),
    }])
}

fn allowed(f: &Filters, name: &str) -> bool {
    f.allows(Operation::Syscall, &Object::Syscall(name.to_owned())) == Some(true)
}

const HAND: &str = r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"],
 "syscalls": [
  {"names": ["read", "openat", "bind"], "action": "SCMP_ACT_ALLOW"},
  {"names": ["socket"], "action": "SCMP_ACT_ALLOW",
   "args": [{"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 15, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}]},
  {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}
 ]}"#;

#[test]
fn families_are_shut_only_as_a_whole() {
    let f = filters(HAND).unwrap();
    assert!(allowed(&f, "read") && allowed(&f, "socket"));
    assert!(!allowed(&f, "mkdir") && !allowed(&f, "unlink") && !allowed(&f, "no_such_call"));
    // Opening can make files, so the reader says nothing about making.
    assert_eq!(f.open(Operation::Create), Some(true));
    assert_eq!(f.open(Operation::Delete), Some(false));
    assert_eq!(f.open(Operation::Metadata), Some(false));
    assert_eq!(f.open(Operation::Connect), Some(false));
    assert_eq!(f.open(Operation::Read), None);
    let to = |protocol, operation| {
        f.allows(
            operation,
            &Object::Host(HostSpec {
                protocol: Some(protocol),
                address: Address::Name("x.example".to_owned()),
                port: 1,
            }),
        )
    };
    assert_eq!(to(Protocol::Tcp, Operation::Connect), Some(true));
    assert_eq!(to(Protocol::Udp, Operation::Connect), Some(false));
    // The filter refuses `listen`.
    assert_eq!(to(Protocol::Tcp, Operation::Bind), Some(false));
}

#[test]
fn one_call_of_a_family_opens_it() {
    for (call, operation) in [
        ("renameat2", Operation::Delete),
        ("fsetxattr", Operation::Metadata),
        ("io_uring_setup", Operation::Delete),
        ("io_uring_setup", Operation::Connect),
    ] {
        let text = HAND.replace("\"read\"", &format!("\"read\", \"{call}\""));
        assert_eq!(
            filters(&text).unwrap().open(operation),
            Some(true),
            "{call}"
        );
    }
}

#[test]
fn a_default_that_allows_is_all_but_what_is_refused() {
    let f = filters(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2", "io_uring_setup", "io_uring_enter", "io_uring_register"], "action": "SCMP_ACT_KILL_PROCESS"},
        {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}]}"#,
    )
    .unwrap();
    assert_eq!(f.open(Operation::Delete), Some(false));
    assert!(allowed(&f, "socket"));
    // The filter allows a pair of datagram sockets.
    assert_eq!(f.open(Operation::Connect), Some(true));
    assert!(f.host_cuts(Operation::Connect).is_none());
}

#[test]
fn what_it_does_not_understand_it_refuses() {
    for (from, to, about) in [
        ("\"SCMP_ARCH_X86_64\"", "\"SCMP_ARCH_X86\"", "SCMP_ARCH_X86"),
        ("\"SCMP_CMP_EQ\"", "\"SCMP_CMP_ALMOST\"", "SCMP_CMP_ALMOST"),
        (
            "\"errnoRet\": 1",
            "\"errnoRet\": 1, \"includes\": {}",
            "unknown field `includes`",
        ),
        (
            "\"SCMP_ACT_ERRNO\", \"arch",
            "\"SCMP_ACT_NOTIFY\", \"arch",
            "SCMP_ACT_NOTIFY",
        ),
        ("\"index\": 1", "\"index\": 0", "twice"),
        ("\"index\": 1", "\"index\": 9", "argument 9"),
        (
            "[\"mkdir\"]",
            "[\"mkdir\", \"read\"]",
            "both allows and refuses `read`",
        ),
    ] {
        let text = HAND.replacen(from, to, 1);
        assert_ne!(text, HAND);
        let refused = match filters(&text) {
            Ok(_) => panic!("took {to}"),
            Err(d) => d,
        };
        assert_eq!(refused.items[0].code, "E115");
        assert!(refused.to_string().contains(about), "{refused}");
    }
}

#[test]
fn a_program_runs_as_in_the_kernel() {
    // ld arch; jeq x86_64 1; ret kill; ld nr; jeq 1 (write) 0 1; ret allow; jeq 41 (socket) 0 3; ld args[0];
    // and 0xff; jeq 2; ret allow / ret errno
    let code: [(u16, u8, u8, u32); 12] = [
        (0x20, 0, 0, 4),
        (0x15, 1, 0, 0xc000_003e),
        (0x06, 0, 0, 0x8000_0000),
        (0x20, 0, 0, 0),
        (0x15, 0, 1, 1),
        (0x06, 0, 0, 0x7fff_0000),
        (0x15, 0, 4, 41),
        (0x20, 0, 0, 16),
        (0x54, 0, 0, 0xff),
        (0x15, 0, 1, 2),
        (0x06, 0, 0, 0x7fff_0000),
        (0x06, 0, 0, 0x0005_0001),
    ];
    let bytes: Vec<u8> = code
        .iter()
        .flat_map(|(c, t, f, k)| {
            let mut b = c.to_le_bytes().to_vec();
            b.extend([*t, *f]);
            b.extend(k.to_le_bytes());
            b
        })
        .collect();
    let of = |bytes: Vec<u8>| {
        read(&[Artifact {
            file_name: "t.x86_64.bpf".to_owned(),
            bytes,
        }])
    };
    let f = of(bytes.clone()).unwrap();
    assert!(allowed(&f, "write") && allowed(&f, "socket") && !allowed(&f, "read"));
    assert!(f.may("socket", &[(0, 2)]) && !f.may("socket", &[(0, 1)]));
    assert_eq!(f.open(Operation::Connect), Some(false));
    let mut out_of_bounds = bytes.clone();
    out_of_bounds[9 * 8 + 2] = 200;
    assert!(of(out_of_bounds).is_err());
    let mut unknown = bytes.clone();
    unknown[8 * 8] = 0x94;
    assert!(of(unknown).is_err());
    assert!(
        of(bytes[..80].to_vec()).is_err(),
        "it does not end by returning"
    );
}

proptest! {
    #[test]
    fn garbage_is_refused_or_read_without_a_fall(cut in 0usize..700, byte in any::<u8>(), at in 0usize..700) {
        let mut bytes = HAND.as_bytes().to_vec();
        let n = bytes.len();
        bytes[at % n] = byte;
        bytes.truncate(cut.max(1));
        let artifact = Artifact { file_name: "x".to_owned(), bytes };
        let _ = recognises(&artifact);
        if let Ok(f) = read(&[artifact]) {
            let _ = f.open(Operation::Create);
        }
    }

    #[test]
    fn programs_of_garbage_end(words in prop::collection::vec((prop::sample::select(vec![0x20u16, 0x05, 0x15, 0x25, 0x35, 0x45, 0x54, 0x06]), 0u8..6, 0u8..6, 0u32..70), 1..30)) {
        let mut bytes: Vec<u8> = vec![0x20, 0, 0, 0, 4, 0, 0, 0];
        for (c, t, f, k) in words {
            bytes.extend(c.to_le_bytes());
            bytes.extend([t, f]);
            bytes.extend(k.to_le_bytes());
        }
        bytes.extend([6, 0, 0, 0, 0, 0, 0xff, 0x7f]);
        if let Ok(f) = read(&[Artifact { file_name: "x.bpf".to_owned(), bytes }]) {
            let _ = f.open(Operation::Create);
        }
    }
}
