//! polc's own reading of a profile's text, against the automaton that the parser compiles of it, over every
//! path there is: of every snapshot, of snapshots with mistakes made in them, of profiles by hand, and of
//! random ones.

use super::blob::{Profile, Rights};
use super::meaning::{Place, walk};
use super::{compile_text, later, parser, profile};
use polc::backend::{self, Allowed, Artifact, Evaluate, Form, OnPaths, Options};
use polc::fidelity::Object;
use polc::policy::{HostSpec, Operation, Protocol};
use polc::semantics::Meaning;
use std::path::{Path, PathBuf};

type Read = Box<dyn Evaluate>;

fn read(text: &[u8]) -> Result<Read, String> {
    let artifact = Artifact {
        file_name: "t.apparmor".into(),
        bytes: text.to_vec(),
    };
    let backend = backend::find("apparmor").unwrap();
    assert!(backend.recognises(&artifact) || text.is_empty());
    let read = backend.read_back(&[artifact], &Options::default());
    read.map_err(|e| e.to_string())
}

/// What the kernel asks for an operation, by the form of the object.
fn asked(
    operation: Operation,
    form: Form,
    file: Option<Rights>,
    directory: Rights,
) -> Option<bool> {
    let write = |r: Rights| r.write;
    match (operation, form) {
        (Operation::Read, Form::File) => file.map(|r| r.read),
        (Operation::List, Form::Directory) => Some(directory.read),
        (Operation::Edit | Operation::Delete | Operation::Metadata, Form::File) => file.map(write),
        (Operation::Create, Form::File) => file.map(|r| r.write || r.link),
        (Operation::Create | Operation::Delete | Operation::Metadata, Form::Directory) => {
            Some(directory.write)
        }
        (Operation::Delete, Form::Moved) => Some(directory.write && directory.read),
        (Operation::Execute, Form::File) => file.map(|r| r.exec),
        _ => None,
    }
}

/// What it asks for a further way to do it with a file that is open.
fn asked_besides(operation: Operation, way: &str, file: Option<Rights>) -> Option<bool> {
    match (operation, way) {
        (Operation::Read, "map") => file.map(|r| r.read && r.mmap),
        (Operation::Read, "lock") => file.map(|r| r.read && r.lock),
        (Operation::Edit, "append") => file.map(|r| r.append),
        (Operation::Edit, "lock") => file.map(|r| r.append && r.lock),
        _ => panic!("{operation:?} has no way `{way}`"),
    }
}

/// The first path on which one operation is read otherwise than compiled.
fn fault(operation: Operation, sets: &[Allowed], profile: &Profile, own: bool) -> Option<String> {
    let mut found = None;
    let whose = if own { "Own" } else { "Others" };
    for set in sets {
        if set.form == Form::Either {
            // Times and attributes, which nothing compiled is about.
            assert!(operation == Operation::Metadata && set.paths.is_all());
            continue;
        }
        // A way is its form, what it is called, and whose files it is about.
        let ways: Vec<&str> = set
            .ways
            .iter()
            .filter_map(|w| w.split_once(' ')?.1.strip_suffix(whose))
            .map(str::trim)
            .collect();
        assert!(!ways.is_empty(), "{:?}", set.ways);
        walk(set.paths.dfa(), profile, |place: &Place<'_>| {
            let (file, directory) = if own {
                place.own
            } else {
                (place.file, place.directory)
            };
            let read = place.label == 1;
            for way in &ways {
                let compiled = match *way {
                    "" => asked(operation, set.form, file, directory),
                    way => asked_besides(operation, way, file),
                };
                if found.is_none() && compiled.is_some_and(|c| c != read) {
                    let path = (place.spell)();
                    found = Some(format!(
                        "{} {} ({:?} {way}, {whose}): read as {read}, compiled as {compiled:?}",
                        operation.name(),
                        path.escape_ascii(),
                        set.form,
                    ));
                }
            }
        });
    }
    found
}

/// Every difference between a reading and a compiled profile, one for each operation.
fn faults(read: &dyn Evaluate, profile: &Profile, owners: bool) -> Vec<String> {
    let mut out = Vec::new();
    for operation in Operation::ON_PATHS {
        let OnPaths::Allows(sets) = read.paths(operation).unwrap() else {
            assert_eq!(operation, Operation::Connect);
            continue;
        };
        // Others' files first, then the own user's, where a profile tells them apart.
        let half = if owners { sets.len() / 2 } else { 0 };
        let (others, own) = (
            if owners { &sets[..half] } else { &sets[..] },
            &sets[half..],
        );
        out.extend(fault(operation, others, profile, false));
        out.extend(fault(operation, own, profile, true));
    }
    for (family, address) in [(2, "192.0.2.1"), (10, "2001:db8::1")] {
        for (kind, protocol) in [(1, Protocol::Tcp), (2, Protocol::Udp)] {
            let object = Object::Host(HostSpec {
                protocol: Some(protocol),
                address: polc::policy::Address::Ip(address.parse().unwrap()),
                port: 443,
            });
            let (read, compiled) = (
                read.allows(Operation::Connect, &object),
                profile.network(family, kind),
            );
            if read != compiled {
                out.push(format!(
                    "{object}: read as {read:?}, compiled as {compiled:?}"
                ));
            }
        }
    }
    out
}

/// Reads and compiles a profile. What polc reads must compile, and mean the same.
fn hold(parser: &Path, name: &str, text: &[u8]) -> Result<bool, String> {
    let shown = || String::from_utf8_lossy(text).into_owned();
    let Ok(read) = read(text) else {
        return Ok(false);
    };
    let compiled = compile_text(parser, text).and_then(|blob| profile(&blob, name));
    let compiled =
        compiled.map_err(|e| format!("polc reads what the parser refuses: {e}\n{}", shown()))?;
    let owners = shown()
        .lines()
        .any(|l| !l.starts_with('#') && l.contains("owner "));
    let faults = faults(read.as_ref(), &compiled, owners);
    if faults.is_empty() {
        Ok(true)
    } else {
        Err(format!("{}\n{}", faults.join("\n"), shown()))
    }
}

/// The profiles in `snapshots/`, with their names.
fn snapshots() -> Vec<(String, Vec<u8>)> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots");
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in std::fs::read_dir(top).unwrap() {
        let folder = folder.unwrap().path();
        if folder.is_dir() {
            let entries = std::fs::read_dir(folder).unwrap();
            files.extend(entries.map(|e| e.unwrap().path()));
        }
    }
    files.retain(|f| f.extension().is_some_and(|e| e == "apparmor"));
    files.sort();
    assert!(files.len() > 15, "where are the snapshots?");
    let name = |f: &PathBuf| f.file_stem().unwrap().to_string_lossy().into_owned();
    files
        .iter()
        .map(|f| (name(f), std::fs::read(f).unwrap()))
        .collect()
}

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

fn hold_snapshots(parser: &Path) {
    for (name, text) in snapshots() {
        match hold(parser, &name, &text) {
            Ok(true) => {}
            Ok(false) => panic!("{name} is not read"),
            Err(words) => panic!("{name}: {}", &words[..words.len().min(2000)]),
        }
    }
}

#[test]
fn every_snapshot_is_read_as_it_is_compiled() {
    let Some(parser) = parser() else { return };
    hold_snapshots(&parser);
}

#[test]
fn every_snapshot_is_read_as_the_later_parser_compiles_it() {
    let Some(parser) = later::parser() else {
        return;
    };
    hold_snapshots(&parser);
}

#[test]
fn the_later_parser_takes_the_profiles_of_its_abi() {
    let Some(parser) = later::parser() else {
        return;
    };
    let mut taken = 0;
    for (file, policy) in crate::policies::policies() {
        let options = Options {
            values: [("apparmor-abi", "4.0".to_owned())].into(),
            ..Options::default()
        };
        let backend = backend::find("apparmor").unwrap();
        let Ok(made) = backend.compile(&Meaning::new(&policy), &options) else {
            continue;
        };
        let text = &made.artifacts[0].bytes;
        assert_eq!(super::abi_of(text).as_deref(), Some("4.0"), "{file}");
        if let Err(words) = compile_text(&parser, text) {
            panic!("{file}: {words}");
        }
        taken += 1;
    }
    assert!(taken > 15, "{taken}");
}

/// One line of the rules with a mistake in it; `None`: this line cannot have it.
fn mistake(line: &str, kind: usize) -> Option<String> {
    let changed = match kind {
        0 => String::new(),
        1 => line.replace("audit deny ", ""),
        2 if line.contains("deny") => return None,
        2 => line.replacen('"', "deny \"", 1).replace(" ix,", " x,"),
        3 => line.replace("{,/,/**}", "").replace("{,/**[^/]}", ""),
        4 => line.replace("{,/,/**}", "/**").replace("{,/**[^/]}", "/*"),
        5 => line
            .replace(" rmk,", " r,")
            .replace(" wk,", " a,")
            .replace(" w,", " a,"),
        6 => line.replacen('/', "/*", 1),
        7 => line.replace("\\040", "\\041").replace("\\*", "*"),
        8 => line.replacen("  \"", "  owner \"", 1),
        _ => line.replace("inet6", "inet"),
    };
    (changed != line).then_some(changed)
}

#[test]
fn snapshots_with_mistakes_are_read_as_they_are_compiled() {
    let Some(parser) = parser() else { return };
    let mut random = Random(7);
    let mut held = 0;
    for (name, text) in snapshots() {
        let text = String::from_utf8(text).unwrap();
        // Compiling a large one takes a second.
        if text.lines().count() > 100 {
            continue;
        }
        for kind in 0..10 {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            let can: Vec<usize> = (0..lines.len())
                .filter(|i| lines[*i].starts_with("  ") && mistake(&lines[*i], kind).is_some())
                .collect();
            if can.is_empty() {
                continue;
            }
            let at = can[random.below(can.len())];
            lines[at] = mistake(&lines[at], kind).unwrap();
            match hold(&parser, &name, (lines.join("\n") + "\n").as_bytes()) {
                Ok(read) => held += usize::from(read),
                Err(words) => panic!("{name}, line {} as `{}`: {words}", at + 1, lines[at]),
            }
        }
    }
    assert!(held > 50, "{held} mistakes were read");
}

#[test]
fn profiles_by_hand_are_read_as_they_are_compiled() {
    let Some(parser) = parser() else { return };
    hold_by_hand(&parser);
}

#[test]
fn profiles_by_hand_are_read_as_the_later_parser_compiles_them() {
    let Some(parser) = later::parser() else {
        return;
    };
    hold_by_hand(&parser);
}

fn hold_by_hand(parser: &Path) {
    for rules in [
        "",
        "/a/** r, /b/* w, /c{,/,/**} r, /d? r, /e[xy] r, /f[^x] r, /g** r, /h r,",
        "/a/** rw, deny /a/s/** wl, deny /a/s/k/** rwl,",
        "r /a/**, deny w /a/{,**/}b, file rw /a/b/*, allow /c/ r,",
        "owner /h/** rw, owner /h/ r, owner /x ix,",
        "owner /h/** rwm, owner /h/m a, /h/pub/** rm, deny owner /h/pub/no r,",
        "file,\ndeny /s{,/,/**} rw,\nnetwork,",
        "/a/** r, /b/** rm, /b/x ix, deny /b/y m,",
        "/l/* l, /l/w w,",
        "/a//b/ r, //c r, /d{/,/e} r, /f/{**,} w, /g/*{,x} r, /h/{*,y}/z r,",
        r#""/q/\040\042\n" r, "/q/\*" r, /q/\[a\] r, /q/\x41\d066 r, /q\057y r, /r/[\]\\^-] w,"#,
        r"/q/[a\054b] r, /q/[{}] r, /q/[,] r, /q/[.+|()$] r, /q/x.y+(z)|$^ r,",
        "/x/[-a] r, /x/[^-/a] w, /x/[a-c0] rw, /***/y r, /z/*** r,",
        "network inet stream, network inet6, deny network inet6 stream, network unix,",
        "network dgram, network netlink raw,",
    ] {
        let text = format!("abi <abi/3.0>,\nprofile t {{\n{rules}\n}}\n");
        match hold(parser, "t", text.as_bytes()) {
            Ok(true) => {}
            Ok(false) => {
                // Refused on purpose: a `-` that ends a class is no range for the parser either.
                assert!(rules.contains("^-]"), "not read: {rules}");
            }
            Err(words) => panic!("{words}"),
        }
    }
    let variables = "abi <abi/3.0>,\n@{A} = /x \"/y z\"\n@{A} += /w/ # more\n@{B}=@{A}/b\nprofile t {\n  @{B}/* r,\n  deny @{A}/b/c r,\n}\n";
    assert_eq!(hold(parser, "t", variables.as_bytes()), Ok(true));
}

#[test]
fn random_profiles_are_read_as_they_are_compiled() {
    const PIECES: &[&str] = &[
        "a",
        "b",
        "/",
        "/",
        "*",
        "**",
        "?",
        "[ab]",
        "[^a]",
        "{a,/b}",
        "{,**/}",
        "{,/,/**}",
        "{,b}",
        "\\*",
        "\\052",
        "[^/b]",
        "{*,a/}",
        "-",
        ",",
        "\\\\",
        "{{a,b}/,}",
    ];
    let Some(parser) = parser() else { return };
    let mut random = Random(20_261_121);
    let mut held = 0;
    for _ in 0..150 {
        let mut rules = String::new();
        for _ in 0..1 + random.below(4) {
            let deny = random.below(3) == 0;
            let owner = random.below(6) == 0;
            let mut path = String::from("/");
            for _ in 0..1 + random.below(5) {
                path.push_str(random.pick(PIECES));
            }
            let rights = match deny {
                true => random.pick(&["r", "w", "rw", "x", "m", "a", "wkl"]),
                false => random.pick(&["r", "rm", "w", "rw", "ix", "a", "rmk", "mrix"]),
            };
            let words = [
                if deny { "deny " } else { "" },
                if owner { "owner " } else { "" },
            ];
            rules.push_str(&format!("  {}\"{path}\" {rights},\n", words.concat()));
        }
        let text = format!("abi <abi/3.0>,\nprofile t {{\n{rules}}}\n");
        match hold(&parser, "t", text.as_bytes()) {
            Ok(read) => held += usize::from(read),
            Err(words) => panic!("{words}"),
        }
    }
    assert!(held > 90, "{held} random profiles were read");
}
