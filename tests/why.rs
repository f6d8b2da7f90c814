//! `polc why`: logs of every format, and what it makes of them.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[cfg(target_os = "linux")]
mod landlock;

#[cfg(target_os = "linux")]
use landlock::landlock;
use polc::fidelity::Object;
use polc::frontend::{LoadOptions, load};
use polc::policy::{Action, HostSpec, Operation, Policy};
use polc::semantics::{Meaning, decide};
use polc::why::{Access, Finding, Layer, Log, Reader, Ruling, explain, operations};
use std::io::Write;
use std::process::{Command, Stdio};

const POLICY: &str = r#"version: 1
name: coding-agent
subject: {home: /home/agent, workspace: /workspace, tmp: /tmp}
rules:
  - name: secrets
    action: deny
    operations: [read, write]
    paths: ["~/.ssh/**"]
    message: keys stay where they are
  - name: gate
    action: ask
    operations: [write]
    paths: ["/workspace/release/**"]
  - name: work
    action: allow
    operations: [read, write]
    paths: ["/workspace/**"]
  - name: web
    action: allow
    operations: [connect]
    hosts: ["example.org:443"]
capabilities: [CAP_CHOWN]
"#;

fn policy(text: &str) -> Policy {
    load("p.yaml", text, &LoadOptions::default())
        .map(|l| l.policy)
        .unwrap_or_else(|d| panic!("{d}\n{text}"))
}

fn read(log: &[u8]) -> Log {
    let mut r = Reader::new();
    r.take(log).unwrap();
    r.finish()
}

fn findings(log: &[u8]) -> (Vec<Finding>, Log) {
    let log = read(log);
    let p = policy(POLICY);
    (explain(&Meaning::new(&p), &log), log)
}

fn only(log: &str) -> Finding {
    let (mut all, log) = findings(log.as_bytes());
    assert_eq!((all.len(), log.unread_count), (1, 0), "{all:#?}");
    all.remove(0)
}

fn path(f: &Finding) -> &[u8] {
    match &f.denial.access {
        Access::Known(_, Object::Path(p)) => p,
        other => panic!("{other}"),
    }
}

fn ops(f: &Finding) -> Vec<&'static str> {
    operations(&f.denial.access)
        .iter()
        .map(Operation::name)
        .collect()
}

/// The rule of the first operation, by name, where the policy refuses.
fn refused_by(f: &Finding) -> (&str, &str) {
    match &f.rulings[0].1 {
        Ruling::Refuses(_, place) => (&place.name, &place.place),
        other => panic!("{other:?}"),
    }
}

/// The policy with the change put in where it says, parsed anew.
fn changed(f: &Finding) -> Policy {
    let change = f.change.as_ref().expect("a change");
    let indented: String = change.yaml.lines().map(|l| format!("  {l}\n")).collect();
    let at = match change.put.split("above rule `").nth(1) {
        Some(rest) => {
            let name = rest.split('`').next().unwrap();
            POLICY.find(&format!("  - name: {name}\n")).unwrap()
        }
        None => POLICY.find("capabilities:").unwrap(),
    };
    let mut text = POLICY.to_owned();
    text.insert_str(at, &indented);
    policy(&text)
}

fn opens(f: &Finding) {
    let (p, Access::Known(set, object)) = (changed(f), &f.denial.access) else {
        panic!("{}", f.denial.access);
    };
    let before = policy(POLICY);
    assert!(
        set.iter()
            .any(|o| decide(&before, o, object).action != Action::Allow)
    );
    for o in set.iter() {
        assert_eq!(decide(&p, o, object).action, Action::Allow, "{o} {object}");
    }
}

#[test]
fn landlock_names_the_rule_and_the_change() {
    let f = only(
        "type=LANDLOCK_ACCESS msg=audit(1729738800.221:34): domain=1a6fdc679 blockers=fs.read_file path=\"/home/agent/.ssh/id_ed25519\" dev=\"vda2\" ino=143821\n",
    );
    assert_eq!(f.denial.layer, Layer::Landlock);
    assert_eq!(
        (path(&f), ops(&f)),
        (&b"/home/agent/.ssh/id_ed25519"[..], vec!["read"])
    );
    assert_eq!(refused_by(&f), ("secrets", "p.yaml:5"));
    opens(&f);
    // The number that older auditd shows, the kernel's own form, and a name in hexadecimal digits.
    for line in [
        "type=UNKNOWN[1423] msg=audit(1.2:34): domain=1 blockers=fs.write_file,fs.truncate path=2F6574632F61200A62 dev=\"vda2\" ino=1",
        "[   12.345678] audit: type=1423 audit(1.2:34): domain=1 blockers=fs.write_file,fs.truncate path=2F6574632F61200A62 dev=\"vda2\" ino=1",
        "Nov 21 07:00:00 host kernel: audit: type=1423 audit(1.2:34): domain=1 blockers=fs.write_file,fs.truncate path=2F6574632F61200A62 dev=\"vda2\" ino=1\r",
        "{\"MESSAGE\":\"audit: type=1423 audit(1.2:34): domain=1 blockers=fs.write_file,fs.truncate path=2F6574632F61200A62\",\"_TRANSPORT\":\"kernel\"}",
    ] {
        let f = only(line);
        assert_eq!(
            (path(&f), ops(&f)),
            (&b"/etc/a \nb"[..], vec!["edit"]),
            "{line}"
        );
        assert_eq!(refused_by(&f).0, "default_action");
        opens(&f);
    }
}

#[test]
fn landlock_knows_the_directory_and_auditd_the_name() {
    let access = "type=LANDLOCK_ACCESS msg=audit(1.2:7): domain=1 blockers=fs.make_reg path=\"/etc\" dev=\"vda2\" ino=1\n";
    let f = only(access);
    assert!(
        matches!(&f.denial.access, Access::Within(_, d) if d == b"/etc"),
        "{}",
        f.denial.access
    );
    assert_eq!(ops(&f), ["create"]);
    let p = changed(&f);
    let new = |p: &Policy| decide(p, Operation::Create, &Object::Path(b"/etc/new".to_vec())).action;
    assert_eq!(
        (new(&policy(POLICY)), new(&p)),
        (Action::Deny, Action::Allow)
    );

    let with = format!(
        "{access}type=SYSCALL msg=audit(1.2:7): arch=c000003e syscall=257 success=no exit=-13 comm=\"sh\" exe=\"/usr/bin/dash\"\ntype=CWD msg=audit(1.2:7): cwd=\"/etc\"\ntype=PATH msg=audit(1.2:7): item=0 name=\"/etc/\" inode=1 nametype=PARENT\ntype=PATH msg=audit(1.2:7): item=1 name=\"/etc/a'b\" nametype=CREATE\n"
    );
    let f = only(&with);
    assert_eq!(path(&f), b"/etc/a'b");
    assert_eq!(f.denial.program.as_deref(), Some(&b"/usr/bin/dash"[..]));
    opens(&f);
    // Of two new names nobody knows which.
    let two = format!("{with}type=PATH msg=audit(1.2:7): item=2 name=\"/etc/c\" nametype=CREATE\n");
    assert!(matches!(only(&two).denial.access, Access::Within(..)));
    // Another event's names are another event's.
    let other = with.replace("type=PATH msg=audit(1.2:7)", "type=PATH msg=audit(1.2:8)");
    assert!(matches!(only(&other).denial.access, Access::Within(..)));
}

#[test]
fn landlock_networks_and_scopes() {
    let f = only(
        "audit: type=1423 audit(1.2:3): domain=1 blockers=net.connect_tcp daddr=169.254.169.254 dest=80",
    );
    assert_eq!(
        f.denial.access.to_string(),
        "connect tcp://169.254.169.254:80"
    );
    opens(&f);
    let f = only("audit: type=1423 audit(1.2:3): domain=1 blockers=net.connect_tcp dest=22");
    assert_eq!(refused_by(&f).0, "default_action");
    assert!(f.change.unwrap().yaml.contains("'tcp://HOST:22'"));
    // A port that the policy opens for some host: the record cannot tell which it was.
    let f = only("audit: type=1423 audit(1.2:3): domain=1 blockers=net.connect_tcp dest=443");
    assert!(!f.is_explained() && f.change.is_none());
    let f = only(
        "type=LANDLOCK_ACCESS msg=audit(1729738800.268:30): domain=1a6fdc66f blockers=scope.signal opid=1 ocomm=\"systemd\"",
    );
    assert!(f.denial.access.to_string().contains("a signal") && f.change.is_none());
    // The life of a domain is no refusal.
    assert!(read(b"type=LANDLOCK_DOMAIN msg=audit(1.2:31): domain=1a6fdc66f status=deallocated denials=1\n").denials.is_empty());
}

#[test]
fn apparmor_masks_are_operations() {
    for (line, wanted, of) in [
        (
            "audit: type=1400 audit(1750684931.412:1187): apparmor=\"DENIED\" operation=\"open\" class=\"file\" profile=\"coding-agent\" name=\"/home/agent/.ssh/id\" pid=2244 comm=\"cat\" requested_mask=\"r\" denied_mask=\"r\" fsuid=27 ouid=27",
            "read",
            "/home/agent/.ssh/id",
        ),
        (
            "type=AVC msg=audit(1.2:3): apparmor=\"DENIED\" operation=\"open\" profile=\"coding-agent\" name=\"/root/\" comm=\"ls\" requested_mask=\"r\" denied_mask=\"r\"",
            "list",
            "/root",
        ),
        (
            "type=1400 audit(1.2:3): apparmor=\"DENIED\" operation=\"mknod\" profile=\"coding-agent\" name=\"/etc/x\" requested_mask=\"c\" denied_mask=\"c\"",
            "create",
            "/etc/x",
        ),
        (
            "type=1400 audit(1.2:3): apparmor=\"DENIED\" operation=\"open\" profile=\"coding-agent\" name=\"/etc/x\" requested_mask=\"wc\" denied_mask=\"wc\"",
            "edit create",
            "/etc/x",
        ),
        (
            "type=1400 audit(1.2:3): apparmor=\"DENIED\" operation=\"unlink\" profile=\"coding-agent\" name=\"/etc/x\" requested_mask=\"d\" denied_mask=\"d\"",
            "delete",
            "/etc/x",
        ),
        (
            "type=1400 audit(1.2:3): apparmor=\"DENIED\" operation=\"rename_src\" profile=\"coding-agent\" name=\"/etc/x\" requested_mask=\"wrd\" denied_mask=\"wrd\"",
            "read delete",
            "/etc/x",
        ),
        (
            "type=1400 audit(1.2:3): apparmor=\"DENIED\" operation=\"chmod\" profile=\"coding-agent\" name=\"/etc/x\" requested_mask=\"w\" denied_mask=\"w\"",
            "metadata",
            "/etc/x",
        ),
        (
            "type=1400 audit(1.2:3): apparmor=\"DENIED\" operation=\"exec\" profile=\"coding-agent\" name=\"/usr/bin/nc\" requested_mask=\"x\" denied_mask=\"x\"",
            "execute",
            "/usr/bin/nc",
        ),
        (
            "type=1400 audit(1.2:3): apparmor=\"DENIED\" operation=\"open\" profile=\"coding-agent\" name=2F746D702F6120FF requested_mask=\"::r\" denied_mask=\"::r\"",
            "read",
            "/tmp/a \u{0}",
        ),
    ] {
        let f = only(line);
        assert_eq!(ops(&f).join(" "), wanted, "{line}");
        let of = if of.ends_with('\0') {
            b"/tmp/a \xff".to_vec()
        } else {
            of.as_bytes().to_vec()
        };
        assert_eq!(path(&f), of, "{line}");
        assert_eq!(f.ours, Some(true));
        opens(&f);
    }
    let complain = only(
        "type=1400 audit(1.2:3): apparmor=\"ALLOWED\" operation=\"open\" profile=\"other\" name=\"/etc/x\" requested_mask=\"r\" denied_mask=\"r\"",
    );
    assert!(complain.denial.only_logged);
    assert_eq!(complain.ours, Some(false));
    assert!(
        read(
            b"type=1400 audit(1.2:3): apparmor=\"STATUS\" operation=\"profile_load\" name=\"x\"\n"
        )
        .denials
        .is_empty()
    );
}

#[test]
fn apparmor_capabilities_and_networks() {
    let f = only(
        "type=1400 audit(1.2:3): apparmor=\"DENIED\" operation=\"capable\" class=\"cap\" profile=\"coding-agent\" pid=1 comm=\"x\" capability=12  capname=\"net_admin\"",
    );
    assert_eq!(f.denial.access, Access::Capability("CAP_NET_ADMIN".into()));
    let yaml = f.change.unwrap().yaml;
    assert_eq!(yaml, "capabilities: [CAP_CHOWN, CAP_NET_ADMIN]\n");
    let f = only(
        "type=1400 audit(1.2:3): apparmor=\"DENIED\" operation=\"connect\" class=\"net\" profile=\"coding-agent\" comm=\"curl\" family=\"inet\" sock_type=\"stream\" protocol=6 requested_mask=\"connect\" denied_mask=\"connect\" laddr=10.0.0.2 lport=0 faddr=1.2.3.4 fport=80",
    );
    assert_eq!(f.denial.access.to_string(), "connect tcp://1.2.3.4:80");
    opens(&f);
    let f = only(
        "type=1400 audit(1.2:3): apparmor=\"DENIED\" operation=\"create\" profile=\"coding-agent\" family=\"inet6\" sock_type=\"dgram\" protocol=17 requested_mask=\"create\" denied_mask=\"create\"",
    );
    assert!(f.denial.access.to_string().contains("inet6") && f.change.is_none());
    let f = only(
        "type=1400 audit(1.2:3): apparmor=\"DENIED\" operation=\"connect\" class=\"unix\" profile=\"coding-agent\" family=\"unix\" sock_type=\"stream\" peer_addr=\"/run/docker.sock\" requested_mask=\"connect\"",
    );
    assert_eq!(
        (path(&f), ops(&f)),
        (&b"/run/docker.sock"[..], vec!["connect"])
    );
    opens(&f);
}

#[test]
fn selinux_says_what_it_does_not_know() {
    let f = only(
        "type=AVC msg=audit(1.2:96): avc:  denied  { read open } for  pid=2465 comm=\"cat\" path=\"/home/agent/.ssh/id\" dev=dm-0 ino=284133 scontext=u:r:coding_agent_t:s0 tcontext=u:object_r:ssh_home_t:s0 tclass=file permissive=0",
    );
    assert_eq!(
        (path(&f), ops(&f), f.ours),
        (&b"/home/agent/.ssh/id"[..], vec!["read"], Some(true))
    );
    assert_eq!(refused_by(&f).0, "secrets");
    let named = "type=AVC msg=audit(1.2:9): avc:  denied  { read } for  pid=6591 comm=\"x\" name=\"shadow\" dev=\"0:37\" ino=2112 scontext=u:r:coding_agent_t:s0 tcontext=u:object_r:shadow_t:s0 tclass=file\n";
    let f = only(named);
    assert!(!f.is_explained() && f.change.is_none());
    assert!(
        matches!(&f.rulings[0].1, Ruling::Unknown(t) if t.contains("`shadow`") && t.contains("-inum 2112"))
    );
    // auditd's other records of the event know it.
    let f = only(&format!(
        "{named}type=CWD msg=audit(1.2:9): cwd=\"/etc\"\ntype=PATH msg=audit(1.2:9): item=0 name=\"./shadow\" inode=2112 nametype=NORMAL\n"
    ));
    assert_eq!(path(&f), b"/etc/shadow");
    opens(&f);
    // Behind `..` there may be a symbolic link: not taken.
    let f = only(&format!(
        "{named}type=CWD msg=audit(1.2:9): cwd=\"/a/b\"\ntype=PATH msg=audit(1.2:9): item=0 name=\"../shadow\" inode=2112 nametype=NORMAL\n"
    ));
    assert!(!f.is_explained());
    let f = only(
        "type=AVC msg=audit(1.2:3): avc:  denied  { name_connect } for  pid=1 comm=\"x\" dest=25 scontext=u:r:coding_agent_t:s0 tcontext=u:object_r:smtp_port_t:s0 tclass=tcp_socket permissive=1",
    );
    assert_eq!(f.denial.access.to_string(), "connect tcp port 25");
    assert!(f.denial.only_logged);
    let f = only(
        "type=AVC msg=audit(1.2:3): avc:  denied  { dac_override } for  pid=1 comm=\"x\" capability=1  scontext=u:r:other_t:s0 tcontext=u:r:other_t:s0 tclass=capability",
    );
    assert_eq!(
        f.denial.access,
        Access::Capability("CAP_DAC_OVERRIDE".into())
    );
    assert_eq!(f.ours, Some(false));
    let f = only(
        "type=AVC msg=audit(1.2:3): avc:  denied  { search } for  pid=1 comm=\"x\" name=\"/\" dev=\"vda1\" ino=2 scontext=u:r:coding_agent_t:s0 tcontext=u:object_r:unlabeled_t:s0 tclass=dir",
    );
    assert!(f.rulings.is_empty() && !f.denial.notes.is_empty());
    assert!(read(b"type=AVC msg=audit(1.2:3): avc:  granted  { read } for  pid=1 scontext=a:b:c tclass=file\n").denials.is_empty());
}

#[test]
fn seccomp_numbers_are_names() {
    let line = |arch, nr, code| {
        format!(
            "audit: type=1326 audit(1.2:3): auid=0 uid=0 gid=0 ses=1 subj=unconfined pid=9 comm=\"x\" exe=\"/usr/bin/mount\" sig=0 arch={arch} syscall={nr} compat=0 ip=0x7f code={code}"
        )
    };
    let f = only(&line("c000003e", 165, "0x50000"));
    assert_eq!(f.denial.access.to_string(), "syscall mount");
    assert_eq!(f.denial.program.as_deref(), Some(&b"/usr/bin/mount"[..]));
    opens(&f);
    assert_eq!(
        only(&line("c00000b7", 40, "0x80000000"))
            .denial
            .access
            .to_string(),
        "syscall mount"
    );
    // x32's and 32-bit calls have other numbers: no name is made up for them.
    for f in [
        only(&line("c000003e", 165 + 0x4000_0000, "0x50000")),
        only(&line("40000003", 21, "0x50000")),
    ] {
        assert!(matches!(f.denial.access, Access::Other(_)) && f.change.is_none());
    }
    assert!(
        only(&line("c000003e", 165, "0x7ffc0000"))
            .denial
            .only_logged
    );
    // auditd's enriched form has the interpreted fields behind a byte of its own.
    let f = only(
        "type=SECCOMP msg=audit(1.2:3): pid=9 comm=\"x\" arch=c000003e syscall=101 code=0x50000\u{1d}ARCH=x86_64 SYSCALL=read",
    );
    assert_eq!(f.denial.access.to_string(), "syscall ptrace");
}

#[test]
fn tetragon_events() {
    let event = |function: &str, args: &str, action: &str, message: &str| {
        format!(
            "{{\"process_kprobe\":{{\"process\":{{\"pid\":3,\"binary\":\"/usr/bin/tee\"}},\"function_name\":\"{function}\",\"args\":[{args}],\"action\":\"{action}\",\"policy_name\":\"coding-agent-x\",\"message\":\"polc: coding-agent: refused: {message}\"}},\"node_name\":\"lab\"}}\n"
        )
    };
    let kill = "KPROBE_ACTION_OVERRIDE";
    let f = only(&event(
        "security_file_permission",
        "{\"file_arg\":{\"path\":\"/home/agent/.ssh/id\"}},{\"int_arg\":4}",
        kill,
        "read",
    ));
    assert_eq!(
        (path(&f), ops(&f), f.ours),
        (&b"/home/agent/.ssh/id"[..], vec!["read"], Some(true))
    );
    opens(&f);
    let f = only(&event(
        "security_file_permission",
        "{\"file_arg\":{\"path\":\"/etc/x\"}},{\"int_arg\":2}",
        kill,
        "write",
    ));
    assert_eq!(ops(&f), ["edit"]);
    let f = only(&event(
        "security_path_rename",
        "{\"path_arg\":{\"path\":\"/etc\"}}",
        "KPROBE_ACTION_SIGKILL",
        "rename away",
    ));
    assert!(matches!(&f.denial.access, Access::Within(_, d) if d == b"/etc"));
    assert_eq!(ops(&f), ["delete"]);
    let f = only(&event(
        "security_path_mkdir",
        "{\"path_arg\":{\"path\":\"\"}}",
        kill,
        "create",
    ));
    assert!(matches!(&f.denial.access, Access::Within(_, d) if d == b"/"));
    let f = only(&event(
        "security_socket_connect",
        "{\"sockaddr_arg\":{\"family\":\"AF_INET\",\"addr\":\"10.0.0.9\",\"port\":443}}",
        kill,
        "connect",
    ));
    assert_eq!(f.denial.access.to_string(), "connect 10.0.0.9:443");
    opens(&f);
    let f = only(&event(
        "tcp_connect",
        "{\"sock_arg\":{\"family\":\"AF_INET\",\"protocol\":\"IPPROTO_TCP\",\"daddr\":\"10.0.0.9\",\"dport\":443}}",
        "KPROBE_ACTION_SIGKILL",
        "",
    ));
    assert_eq!(f.denial.access.to_string(), "connect tcp://10.0.0.9:443");
    // What was only seen is no refusal.
    let seen = event(
        "security_file_permission",
        "{\"file_arg\":{\"path\":\"/x\"}}",
        "KPROBE_ACTION_POST",
        "",
    );
    assert!(read(seen.as_bytes()).denials.is_empty());
    assert_eq!(read(&seen.as_bytes()[..seen.len() / 2]).unread_count, 0);
    let cut = event("security_file_permission", "", kill, "");
    assert_eq!(read(&cut.as_bytes()[..cut.len() - 30]).unread_count, 1);
}

#[test]
fn the_proxys_own_lines() {
    let f = only(
        "polc-egress: refused example.com:443 via connect: no rule allows it: default_action at p.yaml:1",
    );
    assert_eq!(f.denial.access.to_string(), "connect tcp://example.com:443");
    opens(&f);
    let f = only(
        "polc-egress: refused example.org:443 via socks address=10.0.0.1: 10.0.0.1 is a private address",
    );
    assert_eq!(
        f.denial.access,
        Access::Known(
            [Operation::Connect].into_iter().collect(),
            Object::Host(HostSpec::parse("tcp://10.0.0.1:443").unwrap())
        )
    );
    opens(&f);
    let f = only("polc-egress: refused x\\x0a\\x1b[2J via socks: not a host");
    assert!(f.change.is_none());
}

#[test]
fn what_the_policy_allows_was_not_refused_by_it() {
    let f =
        only("audit: type=1423 audit(1.2:3): domain=1 blockers=fs.read_file path=\"/workspace/a\"");
    let Ruling::Allows(place, text) = &f.rulings[0].1 else {
        panic!("{:?}", f.rulings);
    };
    assert_eq!(place.name, "work");
    assert!(text.contains("another policy"), "{text}");
    assert!(f.change.is_none());
    // Landlock cannot take one name out of a directory, so making names in the workspace is lost with `release`.
    let f =
        only("audit: type=1423 audit(1.2:3): domain=1 blockers=fs.make_reg path=\"/workspace\"");
    let Ruling::Allows(_, text) = &f.rulings[0].1 else {
        panic!("{:?}", f.rulings);
    };
    assert!(
        text.contains("landlock is stricter than the policy here: "),
        "{text}"
    );
    let f = only(
        "audit: type=1423 audit(1.2:3): domain=1 blockers=fs.write_file path=\"/workspace/release/v1\"",
    );
    assert!(matches!(&f.rulings[0].1, Ruling::Refuses(Action::Ask, p) if p.name == "gate"));
    opens(&f);
}

#[test]
fn equal_refusals_are_counted() {
    let line =
        "audit: type=1423 audit(1.2:3): domain=1 blockers=fs.read_file path=\"/etc/x\" ino=3\n";
    let (all, log) = findings(line.repeat(1000).as_bytes());
    assert_eq!((all.len(), all[0].count, log.lines), (1, 1000, 1000));
}

#[test]
fn broken_lines_are_counted_and_nothing_is_made_up() {
    let log = b"nonsense\n\n\0\0\0\n{\nfoo=\"\ntype=1423 audit(1.2:3): blockers=fs.new_thing path=\"/a\"\ntype=1423 audit(1.2:3): domain=1\ntype=1326 audit(1.2:3): arch=zz syscall=1\ntype=1400 audit(1.2:3): apparmor=\"DENIED\" operation=\"open\"\ntype=1400 audit(1.2:3): avc:  denied  { read for tclass=file\ntype=1400 audit(1.2:3): avc:  denied  } { tclass=file scontext=a\ntype=1423 audit(1.2:3): blockers=net.connect_tcp dest=99999\npolc-egress: refused\npolc-egress: refused a via b: c\n";
    let l = read(log);
    assert!(l.denials.is_empty(), "{:?}", l.denials);
    assert_eq!(l.unread_count, 8, "{:?}", l.unread);
    assert_eq!(l.unread, [6, 7, 8, 9, 10]);
    // A line without end, and one of a size that no kernel writes.
    let mut huge = b"type=1423 audit(1.2:3): blockers=fs.read_file path=\"/".to_vec();
    huge.extend(std::iter::repeat_n(b'a', 3_000_000));
    huge.extend_from_slice(
        b"\"\naudit: type=1423 audit(1.2:4): blockers=fs.read_file path=\"/etc/x\"",
    );
    let l = read(&huge);
    assert_eq!((l.lines, l.unread_count, l.denials.len()), (2, 1, 1));
    assert!(matches!(&l.denials[0].0.access, Access::Known(_, Object::Path(p)) if p == b"/etc/x"));
}

#[test]
fn a_name_cannot_pose_as_a_field_or_a_record() {
    // What a program calls its file or itself stands in quotes or in hexadecimal digits.
    let f = only(
        "audit: type=1423 audit(1.2:3): blockers=fs.read_file path=\"/etc/x blockers=fs.execute path=/workspace\" comm=\"apparmor=DENIED\"",
    );
    assert_eq!(path(&f), b"/etc/x blockers=fs.execute path=/workspace");
    opens(&f);
}

fn why(folder: &std::path::Path, args: &[&str], input: &[u8]) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_polc"))
        .arg("why")
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let o = child.wait_with_output().unwrap();
    (
        o.status.code().unwrap(),
        String::from_utf8(o.stdout).unwrap(),
        String::from_utf8(o.stderr).unwrap(),
    )
}

#[test]
fn nothing_hostile_reaches_the_terminal_and_every_change_is_yaml() {
    let d = tempfile::tempdir().unwrap();
    std::fs::write(d.path().join("polc.yaml"), POLICY).unwrap();
    let names: [&[u8]; 7] = [
        b"/etc/a\n- name: x\n  action: allow",
        b"/etc/\x1b]0;owned\x07\x1b[2J",
        b"/etc/'\"#*?[a]{b,c}\\$~",
        b"/etc/\xff\xfe: [",
        "/etc/\u{202e}gpj.exe\u{2028}\u{85}".as_bytes(),
        b"/etc/ blank ",
        b"/etc/\r\n%s\x7f",
    ];
    let mut log = Vec::new();
    for (i, n) in names.iter().enumerate() {
        let hex: String = n.iter().map(|b| format!("{b:02X}")).collect();
        writeln!(
            log,
            "audit: type=1423 audit(1.2:{i}): domain=1 blockers=fs.read_file path={hex} comm={hex}"
        )
        .unwrap();
        writeln!(log, "audit: type=1400 audit(1.2:{i}): apparmor=\"DENIED\" operation=\"open\" profile={hex} name={hex} comm={hex} target={hex} denied_mask=\"r\"").unwrap();
        writeln!(log, "audit: type=1400 audit(1.2:{i}): avc:  denied  {{ read }} for comm={hex} name={hex} ino=1 scontext=a:b:c tcontext=d tclass=file").unwrap();
        let hex: String = hex.to_lowercase();
        assert!(hex.len() > 4);
    }
    log.extend_from_slice(b"audit: type=1400 audit(1.2:3): avc:  denied  { \x1b[2J } for comm=\"x\" scontext=a:b:\x1b[1m tcontext=\x1b[2m tclass=\x1b[3m\n");
    log.extend_from_slice(b"audit: type=1423 audit(1.2:3): blockers=\x1b[2J path=\"/a\"\n");
    for format in ["human", "json"] {
        let (code, out, err) = why(d.path(), &["-", "--format", format], &log);
        assert_eq!(code, 1, "{err}");
        for text in [&out, &err] {
            let bad = text.chars().find(|c| {
                (c.is_control() && *c != '\n') || matches!(c, '\u{202e}' | '\u{2028}' | '\u{85}')
            });
            assert_eq!(bad, None, "{text}");
        }
        assert!(err.contains("that tell of a refusal: line 23"), "{err}");
    }
    let (all, _) = findings(&log);
    let mut opened = 0;
    for f in all.iter().filter(|f| f.change.is_some()) {
        opens(f);
        opened += 1;
    }
    assert_eq!(opened, 2 * names.len());
}

#[test]
fn the_command_tells_the_rule_and_exits_as_it_says() {
    let d = tempfile::tempdir().unwrap();
    std::fs::write(d.path().join("polc.yaml"), POLICY).unwrap();
    let log = b"audit: type=1423 audit(1.2:3): domain=1 blockers=fs.read_file path=\"/home/agent/.ssh/id\"\n";
    std::fs::write(d.path().join("audit.log"), log).unwrap();
    let (code, out, err) = why(d.path(), &["audit.log"], b"");
    assert_eq!(code, 0, "{err}");
    for part in [
        "landlock refused: read /home/agent/.ssh/id\n",
        "read: denied by rule `secrets` at polc.yaml:5\n",
        "message: keys stay where they are\n",
        "to allow it, under `rules`, above rule `secrets` at polc.yaml:5:\n",
        "    - name: read-id\n      action: allow\n      operations: [read]\n      paths: ['/home/agent/.ssh/id']\n",
    ] {
        assert!(out.contains(part), "{part}\n---\n{out}");
    }
    let (code, out, _) = why(d.path(), &["-", "--format", "json"], log);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 0);
    assert_eq!(json["refusals"][0]["rulings"][0]["by"]["rule"], "secrets");
    assert_eq!(json["refusals"][0]["layer"], "landlock");
    assert_eq!(why(d.path(), &["-"], b"").0, 0);
    assert_eq!(why(d.path(), &["absent.log"], b"").0, 1);
    assert_eq!(why(d.path(), &["."], b"").0, 1);
    assert_eq!(why(d.path(), &["-", "-p", "-"], b"").0, 2);
}

#[test]
#[cfg(target_os = "linux")]
fn explain_tells_at_the_end_and_ends_as_the_program_did() {
    use std::os::unix::process::ExitStatusExt;
    if !landlock(1) {
        return;
    }
    let d = tempfile::tempdir().unwrap();
    let work = d.path().canonicalize().unwrap();
    let text = format!(
        "version: 1\nname: small\nsubject: {{home: /nowhere, workspace: {0}, tmp: {0}}}\nrules:\n  - include: builtin:linux-runtime\n  - name: hidden\n    action: deny\n    operations: [read]\n    paths: [\"{0}/hidden\"]\n  - name: all\n    action: allow\n    operations: [read, execute]\n    paths: [\"/usr/**\", \"/bin/**\", \"{0}/**\"]\n",
        work.display()
    );
    std::fs::write(work.join("polc.yaml"), text).unwrap();
    std::fs::write(work.join("hidden"), "x").unwrap();
    let run = |script: &str| {
        Command::new(env!("CARGO_BIN_EXE_polc"))
            .args([
                "enforce",
                "landlock",
                "-q",
                "-p",
                "polc.yaml",
                "--explain",
                "--",
                "/bin/sh",
                "-c",
                script,
            ])
            .current_dir(&work)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let o = run("cat hidden; exit 7");
    let err = String::from_utf8_lossy(&o.stderr);
    assert_eq!(o.status.code(), Some(7), "{err}");
    assert!(err.contains("polc: what was refused\n"), "{err}");
    let readable = polc::enforce::audit::Socket::open().is_ok();
    let on = polc::enforce::audit::enabled() == Some(true);
    let abi = polc::enforce::landlock::kernel_abi().unwrap();
    if readable && on && abi >= 7 {
        assert!(
            err.contains("denied by rule `hidden` at polc.yaml:6"),
            "{err}"
        );
    } else {
        assert!(
            err.contains("files, programs, system calls: not known: "),
            "what cannot be told is said: {err}"
        );
    }
    assert_eq!(run("kill -TERM $$").status.signal(), Some(15));
}

/// Without `--explain` too the kernel's records are there for a later `why`, and with `--no-log` they are not.
#[test]
#[cfg(target_os = "linux")]
fn a_plain_run_leaves_records() {
    use polc::enforce::audit;
    if !landlock(1) {
        return;
    }
    let abi = polc::enforce::landlock::kernel_abi().unwrap_or(0);
    if abi < 7 || audit::enabled() != Some(true) || audit::Socket::open().is_err() {
        println!("skipped: the kernel writes no records of Landlock here, or they may not be read");
        return;
    }
    for (layers, options, some) in [
        (&["run"][..], &["-q"][..], true),
        (&["run"], &["-q", "--no-log"], false),
        (&["enforce", "landlock"], &["-q"], true),
        (&["enforce", "landlock"], &["-q", "--no-log"], false),
    ] {
        let socket = audit::Socket::open().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_polc"))
            .args(layers)
            .args(options)
            .args(["-p", "builtin:coding-agent", "--"])
            .args(["/bin/sh", "-c", "sleep 1; cat /etc/shadow; true"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let watch = socket.watch(child.id() as i32).unwrap();
        assert!(child.wait().unwrap().success());
        let lines = watch.finish();
        let shadow = lines
            .iter()
            .any(|l| String::from_utf8_lossy(l).contains("path=\"/etc/shadow\""));
        assert_eq!(shadow, some, "{layers:?} {options:?}");
    }
}
