//! The probe: `/init` of the lab's virtual machine, or a program on the machine itself.
//!
//! It reads a plan. For every row it makes the object, and tries one operation on it in a new, confined process. If
//! that fails, it makes the object again, and tries unconfined. It prints one line for each row: `@row POLICY ROW
//! CONFINED UNCONFINED`. These are error numbers. 0 means success, and `-` means not tried.
//!
//! The test builds it statically, with `rustc` alone, because the machine has nothing else.

mod attempt;
mod confine;
mod fixture;
mod landlock;
mod sys;

use confine::Confinement;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The error number of a row whose object cannot be made.
const CANNOT_MAKE: i32 = 1000;

fn main() {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let words: Vec<&str> = arguments.iter().filter_map(|a| a.to_str()).collect();
    match words[..] {
        // It was started in another domain, which the domain may ask about itself.
        [_, "domain", context] => {
            let found = std::fs::read_to_string("/proc/self/attr/current").unwrap_or_default();
            sys::exit(i32::from(found.trim_end_matches(['\0', '\n']) != context))
        }
        // `polc run` started it.
        [_, "attempt", kind, path, ref ally @ ..] => {
            let path = PathBuf::from(OsString::from_vec(unhex(path)));
            let ally = ally.first().map(|a| PathBuf::from(OsString::from_vec(unhex(a))));
            sys::exit(confine::ATTEMPT + attempt::attempt(kind, &path, ally.as_deref()))
        }
        [_, "abi"] => println!("{}", sys::landlock_version()),
        [_, "root", root] => match sys::change_root(root) {
            Ok(()) => run("/lab/plan"),
            Err(e) => {
                eprintln!("cannot change root: {e}");
                sys::exit(1)
            }
        },
        // It changes its surroundings only as the first process of a machine.
        _ if std::process::id() != 1 => sys::exit(2),
        _ => {
            sys::start_machine();
            run("/lab/plan");
            sys::power_off();
        }
    }
}

/// Bytes from the hexadecimal digits of a plan.
fn unhex(text: &str) -> Vec<u8> {
    let digit = |b: u8| (b as char).to_digit(16).unwrap_or(0) as u8;
    let pairs = text.as_bytes().chunks_exact(2);
    pairs.map(|p| digit(p[0]) << 4 | digit(p[1])).collect()
}

fn run(plan: &str) {
    let plan = match std::fs::read_to_string(plan) {
        Ok(plan) => plan,
        Err(e) => return println!("@fail cannot read the plan: {e}"),
    };
    let mut confinement = Confinement::None;
    let mut fixture = fixture::Fixture::default();
    let (mut policy, mut row) = (0, 0);
    let mut out = std::io::BufWriter::new(std::io::stdout());
    for line in plan.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["start", "selinux", file] => {
                if let Err(e) = confine::enforce(file) {
                    drop(writeln!(out, "@fail SELinux does not start: {e}"));
                }
            }
            ["policy", index, ref how @ ..] => {
                (policy, row) = (index.parse().unwrap_or(0), 0);
                fixture.forget_labels();
                match Confinement::new(how) {
                    Ok(new) => confinement = new,
                    Err(e) => {
                        drop(writeln!(out, "@fail policy {policy}: {e}"));
                        confinement = Confinement::Broken;
                    }
                }
            }
            ["label", kind, path, context] => {
                fixture.label(kind, unhex(path), context);
            }
            ["row", kind, path, ref ally @ ..] => {
                let path = PathBuf::from(OsString::from_vec(unhex(path)));
                let ally = ally.first().map(|a| PathBuf::from(OsString::from_vec(unhex(a))));
                let ally = ally.as_deref();
                let (confined, unconfined) = probe(&mut fixture, &confinement, kind, &path, ally);
                let unconfined = unconfined.map_or("-".to_owned(), |e| e.to_string());
                drop(writeln!(out, "@row {policy} {row} {confined} {unconfined}"));
                row += 1;
            }
            _ => drop(writeln!(out, "@fail not understood: {line}")),
        }
    }
    drop(writeln!(out, "@done"));
    drop(out.flush());
}

fn probe(
    fixture: &mut fixture::Fixture,
    confinement: &Confinement,
    kind: &str,
    path: &std::path::Path,
    ally: Option<&std::path::Path>,
) -> (i32, Option<i32>) {
    if let Confinement::Broken = confinement {
        return (CANNOT_MAKE, Some(CANNOT_MAKE));
    }
    let mut tried = |confinement: &Confinement| {
        let made = fixture.make(attempt::needs(kind), kind, path);
        let made = made.and_then(|()| match ally {
            Some(ally) => fixture.make_ally(attempt::needs_of_ally(kind), ally, path),
            None => Ok(()),
        });
        let result = match made {
            Ok(()) => confinement.attempt(kind, path, ally),
            Err(_) => CANNOT_MAKE,
        };
        fixture.clear();
        result
    };
    match tried(confinement) {
        0 => (0, None),
        CANNOT_MAKE => (CANNOT_MAKE, Some(CANNOT_MAKE)),
        error => (error, Some(tried(&Confinement::None))),
    }
}
