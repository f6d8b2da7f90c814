//! The walker itself, on profiles whose meaning apparmor.d(5) gives.

use super::blob::{FilePerms, Profile, Rights};
use super::{compile_text, parser, profile};

fn compiled(rules: &str) -> Option<Profile> {
    let parser = parser()?;
    let text = format!("abi <abi/3.0>,\nprofile t /usr/bin/t {{\n{rules}\n}}\n");
    let blob = compile_text(&parser, text.as_bytes()).unwrap();
    Some(profile(&blob, "t").unwrap())
}

/// `r`, `w`, … of the rights that a process that does not own the file has.
fn letters(rights: Rights) -> String {
    [
        ('r', rights.read),
        ('w', rights.write),
        ('a', rights.append),
        ('l', rights.link),
        ('k', rights.lock),
        ('m', rights.mmap),
        ('x', rights.exec),
    ]
    .iter()
    .filter(|(_, has)| *has)
    .map(|(letter, _)| *letter)
    .collect()
}

fn both(perms: FilePerms) -> String {
    assert_eq!(perms.owner, perms.other);
    letters(perms.other)
}

/// Each path with the rights that the rules give it.
fn holds(rules: &str, cases: &[(&[u8], &str)]) {
    let Some(profile) = compiled(rules) else {
        return;
    };
    for (path, want) in cases {
        let got = both(profile.permissions(path));
        assert_eq!(&got, want, "{} under\n{rules}", path.escape_ascii());
    }
}

#[test]
fn globs() {
    holds(
        "/a/** r, /b/* w, /c{,/,/**} r, /d? r, /e[xy] r, /f[^x] r, /g** r, /h r,",
        &[
            (b"/a/", ""),
            (b"/a", ""),
            (b"/a/x", "r"),
            (b"/a/x/", "r"),
            (b"/a/.x/y", "r"),
            (b"/b/x", "wa"),
            (b"/b/x/", ""),
            (b"/b/x/y", ""),
            (b"/b/", ""),
            (b"/c", "r"),
            (b"/c/", "r"),
            (b"/c/x/y", "r"),
            (b"/cx", ""),
            (b"/dx", "r"),
            (b"/d/", ""),
            (b"/d", ""),
            (b"/ex", "r"),
            (b"/ez", ""),
            (b"/fx", ""),
            (b"/fy", "r"),
            (b"/gx/y", "r"),
            (b"/h", "r"),
            (b"/h/", ""),
            (b"/", ""),
            (b"", ""),
        ],
    );
}

#[test]
fn deny_wins_whatever_the_order() {
    let cases: &[(&[u8], &str)] = &[
        (b"/a/x", "rwa"),
        (b"/a/s/x", "r"),
        (b"/a/s/k/x", ""),
        (b"/a/s", "rwa"),
    ];
    holds("/a/** rw, deny /a/s/** wl, deny /a/s/k/** rwl,", cases);
    holds("deny /a/s/k/** rwl, deny /a/s/** wl, /a/** rw,", cases);
}

#[test]
fn an_exact_path_beats_a_glob_for_the_transition() {
    let Some(profile) = compiled("/x/* ix, /x/b px, /x/c/* r, deny /x/d x,") else {
        return;
    };
    let of = |path: &[u8]| profile.permissions(path).other;
    assert!(of(b"/x/a").exec && of(b"/x/a").inherit);
    assert!(of(b"/x/b").exec && !of(b"/x/b").inherit);
    assert_ne!(of(b"/x/a").transition, of(b"/x/b").transition);
    assert!(!of(b"/x/c/y").exec);
    assert!(!of(b"/x/d").exec);
}

#[test]
fn owners_have_a_half_of_their_own() {
    let Some(profile) = compiled("owner /h/** rw, /h/pub/** r,") else {
        return;
    };
    let perms = profile.permissions(b"/h/x");
    assert_eq!(
        (letters(perms.owner), letters(perms.other)),
        ("rwa".into(), "".into())
    );
    let perms = profile.permissions(b"/h/pub/x");
    assert_eq!(
        (letters(perms.owner), letters(perms.other)),
        ("rwa".into(), "r".into())
    );
}

#[test]
fn hostile_names_quoted_as_octal() {
    // Each special byte as an octal escape or behind a backslash, and a near miss beside it.
    holds(
        r#""/q/\040\042\n" r, "/q/\*" r, "/q/\[a\]" r, "/q/\{a,b\}" r, "/q/\\y" r, "/q/\377" r,
           "/q/#" r, "/q/\012" r, "/q/\^x" r,"#,
        &[
            (b"/q/ \"\n", "r"),
            (b"/q/ \"x", ""),
            (b"/q/*", "r"),
            (b"/q/x", ""),
            (b"/q/[a]", "r"),
            (b"/q/a", ""),
            (b"/q/{a,b}", "r"),
            (b"/q/b", ""),
            (b"/q/\\y", "r"),
            (b"/q/y", ""),
            (b"/q/\xff", "r"),
            (b"/q/\xfe", ""),
            (b"/q/#", "r"),
            (b"/q/\n", "r"),
            (b"/q/^x", "r"),
        ],
    );
}

#[test]
fn links_need_both_halves() {
    let Some(profile) = compiled("/w/** rwl, /r/** r, link /v/** -> /w/**,") else {
        return;
    };
    assert!(profile.link(true, b"/w/l", b"/w/f"));
    assert!(!profile.link(true, b"/r/l", b"/w/f"));
    // The link would be writable where its file is not.
    assert!(!profile.link(true, b"/w/l", b"/r/f"));
    assert!(!profile.link(true, b"/w/l", b"/x"));
    // A pair of its own, without the test.
    assert!(profile.link(true, b"/v/l", b"/w/f"));
    assert!(!profile.link(false, b"/v/l", b"/r/f"));
}

#[test]
fn what_is_not_about_files() {
    let Some(profile) = compiled("network inet stream, capability chown, capability wake_alarm,")
    else {
        return;
    };
    assert_eq!(profile.capabilities, 1 | 1 << 35);
    assert_eq!(profile.network(2, 1), Some(true));
    assert_eq!(profile.network(2, 2), Some(false));
    assert_eq!(profile.network(10, 1), Some(false));
    assert!(profile.attaches(b"/usr/bin/t"));
    assert!(!profile.attaches(b"/usr/bin/tt"));
    assert_eq!(profile.mode, 0);
}

#[test]
fn the_states_agree_with_the_parsers_own_dump() {
    // The parser can print its automaton before it packs it; every accepting state is reached by a
    // path here, so the set of permissions must be the same.
    let Some(tool) = parser() else { return };
    let dir = crate::tool::folder("dump");
    let file = dir.path().join("p");
    let rules = "profile t {\n/a/** r,\nowner /b rw,\n/c ix,\ndeny /a/d w,\n}\n";
    std::fs::write(&file, format!("abi <abi/3.0>,\n{rules}")).unwrap();
    let said = crate::tool::run(
        &tool,
        [
            "-Q",
            "-K",
            "-M",
            "/etc/apparmor.d/abi/3.0",
            "-D",
            "dfa-states",
        ]
        .map(std::ffi::OsStr::new)
        .into_iter()
        .chain([file.as_os_str()]),
    );
    let words = said.words();
    let profile = profile(&super::compile(&tool, &file).unwrap(), "t").unwrap();
    for path in [&b"/a/x"[..], b"/b", b"/c"] {
        let bits = profile.bits(path);
        assert!(
            words.contains(&format!("(0x {bits:x}/")),
            "{} has {bits:x}, not among the parser's states:\n{words}",
            path.escape_ascii()
        );
    }
}
