//! The reader on modules that were written by hand.

use super::*;
use crate::policy::Address;
use proptest::prelude::*;

fn try_read(te: &str, fc: &str) -> Result<Loaded, Diagnostics> {
    let artifact = |name: &str, text: &str| Artifact {
        file_name: name.to_owned(),
        bytes: text.as_bytes().to_vec(),
    };
    read(&[artifact("h.fc", fc), artifact("h.te", te)])
}

const TE: &str = "# by hand
module h 2.3; require { type lib_t, etc_t; attribute file_type; class file { read open }; role r; }
require { type tmp_t, http_port_t; attribute domain; class file { setattr create append write unlink };
  class dir { setattr create add_name write remove_name rmdir rename search };
  class tcp_socket { create connect bind name_connect }; }
type h_t, domain;
type h_data_t, file_type; type h_none_t; typeattribute h_none_t file_type;
type h_tmp_t, file_type;
allow h_t { h_data_t etc_t }:file { open
   read };   # two at once
allow h_t h_data_t:{ file dir } { setattr create };
allow h_t h_data_t:dir { add_name write };
allow h_t h_data_t:file unlink; allow h_t h_none_t:file unlink; allow h_t h_none_t:dir { remove_name write };
allow h_t h_data_t:dir { rmdir rename };
allow h_t file_type:dir { search };
allow h_t file_type:file append;
allow h_t h_tmp_t:file { open read };
type_transition h_t tmp_t:file h_tmp_t;
neverallow h_t h_none_t:file { write };
allow h_t self:tcp_socket { create connect bind };
allow h_t http_port_t:tcp_socket name_connect;
";

const FC: &str = "# contexts
/srv/a(/.*)?\tsystem_u:object_r:h_data_t:s0
/srv/a/b/.*   system_u:object_r:h_none_t:s0
/srv/a/b/c\tsystem_u:object_r:h_data_t:s0
/srv/a/d  -d  system_u:object_r:h_none_t:s0
/srv/a/[^/]+\\.key\tsystem_u:object_r:h_none_t:s0
/srv/q\\x22\\x29\\.x system_u:object_r:h_data_t:s0
";

fn loaded() -> Loaded {
    try_read(TE, FC).unwrap()
}

fn on(l: &Loaded, operation: Operation, form: Form, path: &str) -> bool {
    let OnPaths::Allows(forms) = l.paths(operation).unwrap() else {
        panic!("never silent");
    };
    let mut own = forms
        .iter()
        .filter(|f| f.form == form || f.form == Form::Either);
    own.any(|f| f.paths.contains(path.as_bytes()))
}

#[test]
fn the_most_specific_context_gives_the_type() {
    let l = loaded();
    let cases = [
        ("/srv/a", true),
        ("/srv/a/x/y", true),
        ("/srv/ax", false),
        ("/srv/a/b", true),
        ("/srv/a/b/x", false),
        ("/srv/a/b/c", true),
        ("/srv/a/b/c/d", false),
        // `/srv/a/` is longer before its first wildcard than `/srv/a`.
        ("/srv/a/k.key", false),
        ("/srv/a/kxkey", true),
        ("/srv/a/s/k.key", true),
        ("/srv/a/d", true),
        ("/srv/q\").x", true),
        ("/srv/q\")yx", false),
        ("/etc/passwd", true),
        ("/etc/shadow", false),
        ("/etc/ssl/x", false),
        ("/usr/lib/x", true),
        ("/tmp/x", true),
        ("/tmp", false),
        ("/var/x", false),
        ("/", false),
    ];
    for (path, expected) in cases {
        assert_eq!(
            on(&l, Operation::Read, Form::File, path),
            expected,
            "{path}"
        );
    }
    // A new object has its directory's type, whatever a file context says about its name.
    let made = |form, path| on(&l, Operation::Create, form, path);
    assert!(made(Form::Directory, "/srv/a/x") && made(Form::Directory, "/srv/a/d"));
    assert!(made(Form::File, "/srv/a/b") && !made(Form::File, "/srv/a/b/x/y"));
    assert!(!made(Form::Directory, "/srv/a/d/x") && !made(Form::Directory, "/srv/a"));
    assert!(!made(Form::File, "/") && !made(Form::File, "/etc/x"));
    // Removing an object checks its own type and its directory's.
    let removed = |form, path| on(&l, Operation::Delete, form, path);
    assert!(removed(Form::File, "/srv/a/b/x/y") && removed(Form::File, "/srv/a/d/x"));
    assert!(!removed(Form::File, "/srv/a/b/x") && !removed(Form::File, "/srv/a"));
    assert!(removed(Form::Directory, "/srv/a/d/x") && removed(Form::Moved, "/srv/a/d/x"));
    assert!(!removed(Form::Directory, "/srv/a/b/x/y") && !removed(Form::Moved, "/srv/a/x"));
    assert!(on(&l, Operation::Metadata, Form::File, "/srv/a/d"));
    assert!(on(&l, Operation::List, Form::Directory, "/etc/x"));
    // Appending needs `open` too, which only some types have.
    assert!(on(&l, Operation::Edit, Form::File, "/srv/a/x"));
    assert!(!on(&l, Operation::Edit, Form::File, "/srv/a/b/x"));
    assert!(!on(&l, Operation::Execute, Form::Either, "/usr/bin/x"));
}

/// The answers of matchpathcon of libselinux 3.4.
#[test]
fn an_escape_in_the_first_name_hides_what_follows() {
    let fc = "/a\\x20b/.*\tsystem_u:object_r:h_data_t:s0
/a\\x20b\tsystem_u:object_r:h_data_t:s0
/h[\\x23]i/.*\tsystem_u:object_r:h_data_t:s0
/h[\\x23\\x23\\x23]i/a\tsystem_u:object_r:h_none_t:s0
/s\\(t\\)\\x20/.*\tsystem_u:object_r:h_data_t:s0
";
    let l = try_read(TE, fc).unwrap();
    let read = |path| on(&l, Operation::Read, Form::File, path);
    assert!(read("/a b") && !read("/a b/c"));
    assert!(read("/h#i/b") && !read("/h#i/a") && !read("/hi/b"));
    assert!(read("/s(t) /b"));
}

#[test]
fn ports_are_types() {
    let l = loaded();
    let ask = |operation, protocol, port| {
        let spec = HostSpec {
            protocol: Some(protocol),
            address: Address::Name("x".into()),
            port,
        };
        l.allows(operation, &Object::Host(spec)).unwrap()
    };
    assert!(ask(Operation::Connect, Protocol::Tcp, 443));
    assert!(ask(Operation::Connect, Protocol::Tcp, 8008));
    assert!(!ask(Operation::Connect, Protocol::Tcp, 444));
    assert!(!ask(Operation::Connect, Protocol::Udp, 443));
    assert!(!ask(Operation::Bind, Protocol::Tcp, 443));
}

#[test]
fn what_decides_is_named() {
    let l = loaded();
    let of = |path: &str| {
        let object = Object::Path(path.as_bytes().to_vec());
        l.clause(Operation::Read, &object).unwrap()
    };
    let allowed = of("/srv/a/x");
    assert_eq!((allowed.artifact, allowed.line), (1, 9));
    let denied = of("/srv/a/b/x");
    assert_eq!((denied.artifact, denied.line), (0, 3));
}

/// Statements without an effect on paths are compared as they are written. Nothing else is.
#[test]
fn edits_that_no_path_shows_are_told() {
    let all = |te: &str| try_read(te, FC).unwrap().others();
    let before = all(TE);
    let edits = [
        ("role r;", "role r; role s;", false),
        ("{ open\n   read }", "{ read open read }", false),
        ("# by hand", "# by foot", false),
        (
            "type h_t, domain;",
            "type h_t, domain; role r types h_t;",
            true,
        ),
        ("{ create connect bind };", "{ create connect };", true),
        (
            "h_none_t:file { write };",
            "h_none_t:file { append };",
            true,
        ),
        (
            "file_type:dir { search }",
            "file_type:dir { add_name search }",
            true,
        ),
        ("tmp_t:file h_tmp_t", "tmp_t:dir h_tmp_t", true),
        ("typeattribute h_none_t file_type;", "", true),
        (
            "allow h_t h_data_t:{ file dir } { setattr create };",
            "allow h_t h_data_t:file setattr; allow h_t h_data_t:{ file dir } { setattr create };",
            false,
        ),
    ];
    for (from, to, told) in edits {
        assert!(TE.contains(from), "{from}");
        assert_eq!(all(&TE.replace(from, to)) != before, told, "{from}");
    }
}

#[test]
fn what_is_not_understood_is_refused() {
    let wrong_te = [
        "allow h_t h_data_t:file *;",
        "allow h_t h_data_t:file ~{ read };",
        "if (b) { allow h_t h_data_t:file read; }",
        "files_read_etc_files(h_t)",
        "allow h_t other_t:file read;",
        "allow h_t h_data_t:file { read",
        "typeattribute x_t domain;",
        "allow h_t h_data_t:file getattr;",
        "allow h_t h_data_t:chr_file read;",
        "neverallow h_t h_data_t:file relabelto;",
        "allow h_t bin_t:file read;",
        "role other types h_t;",
        "role r types other_t;",
        "type second_t, domain;",
        "type x_t, mlstrustedobject;",
        "type_transition h_t etc_t:file h_data_t;",
        "type_transition h_t h_data_t:process h_none_t;",
        "require { type var_log_t; }",
        "require { bool b; }",
        "optional { }",
        "module again 1.0;",
    ];
    for line in wrong_te {
        let Err(error) = try_read(&format!("{TE}{line}\n"), FC) else {
            panic!("{line}");
        };
        assert_eq!(error.items[0].code, "E115", "{line}");
    }
    let wrong_fc = [
        "/a/(b|c)\tsystem_u:object_r:h_data_t:s0",
        "/a/[bc]\tsystem_u:object_r:h_data_t:s0",
        "/a -l system_u:object_r:h_data_t:s0",
        "/a system_u:object_r:unknown_t:s0",
        "/a h_data_t",
        "/opt -d system_u:object_r:h_data_t:s0",
        "/srv/.* system_u:object_r:h_data_t:s0",
        "/a",
        "a system_u:object_r:h_data_t:s0",
        "/a{2} system_u:object_r:h_data_t:s0",
        "/a\\xzz system_u:object_r:h_data_t:s0",
    ];
    for line in wrong_fc {
        let Err(error) = try_read(TE, &format!("{FC}{line}\n")) else {
            panic!("{line}");
        };
        assert_eq!(error.items[0].code, "E115", "{line}");
    }
    assert!(try_read("", "").is_err());
}

proptest! {
    #[test]
    fn nothing_panics(at in 0usize..2000, byte in any::<u8>(), in_te in any::<bool>()) {
        let (mut te, mut fc) = (TE.as_bytes().to_vec(), FC.as_bytes().to_vec());
        let bytes = if in_te { &mut te } else { &mut fc };
        let at = at % bytes.len();
        bytes[at] = byte;
        let artifact = |name: &str, bytes: Vec<u8>| Artifact { file_name: name.to_owned(), bytes };
        if let Ok(l) = read(&[artifact("h.te", te), artifact("h.fc", fc)]) {
            for operation in Operation::ON_PATHS {
                prop_assert!(l.paths(operation).is_ok());
            }
        }
    }
}

/// `listen` without `bind` takes a port from the kernel.
#[test]
fn listening_alone_is_binding() {
    let binds = |l: &Loaded, port| {
        let spec = HostSpec {
            protocol: Some(Protocol::Tcp),
            address: Address::Ip([127, 0, 0, 1].into()),
            port,
        };
        l.allows(Operation::Bind, &Object::Host(spec)).unwrap()
    };
    let with = TE
        .replace(
            "tcp_socket { create connect bind name_connect }",
            "tcp_socket { create connect bind listen name_connect }",
        )
        .replace(
            "tcp_socket { create connect bind };",
            "tcp_socket { create listen };",
        );
    let listens = try_read(&with, FC).unwrap();
    assert!(binds(&listens, 40_000) && !binds(&listens, 8080));
    assert!(!binds(&loaded(), 40_000));
}
