//! What the README shows as printed is what is printed. `POLC_BLESS=1 cargo test --test readme` writes it anew.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::process::{Command, Stdio};

const OPENS: &str = "<!-- printed by: polc ";
const CLOSES: &str = "<!-- end -->";

/// What the command prints.
fn printed(arguments: &str) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_polc"))
        .args(arguments.split_whitespace())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "polc {arguments}: {said}");
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn what_is_shown_as_printed_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut new = String::new();
    let mut shown = 0;
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once(OPENS) {
        let (arguments, after) = after.split_once(" -->\n").unwrap();
        let (_, after) = after.split_once(CLOSES).unwrap();
        new += &format!(
            "{before}{OPENS}{arguments} -->\n{}{CLOSES}",
            printed(arguments)
        );
        rest = after;
        shown += 1;
    }
    new += rest;
    assert!(shown >= 2, "README.md shows the coverage of a policy");
    if std::env::var_os("POLC_BLESS").is_some() {
        std::fs::write(path, new).unwrap();
        return;
    }
    let line = new.lines().zip(text.lines()).find(|(a, b)| a != b);
    assert!(
        new == text,
        "README.md is not what is printed now (POLC_BLESS=1 writes it): {line:?}"
    );
}
