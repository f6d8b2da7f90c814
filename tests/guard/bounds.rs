//! The cost of the guard: work with it and without it, in one run. These are figures for people, from an optimised
//! build: `cargo test --release --test guard bounds -- --ignored --nocapture`.

use crate::place::{Place, Who, output, policy, possible};
use std::time::{Duration, Instant};

/// What is prepared, what is measured, and the largest ratio that is allowed.
const WORK: &[(&str, &str, &str, f64)] = &[
    ("start of true", "true", "true", f64::INFINITY),
    (
        "git status, 10,000 files",
        "git init -q . && mkdir d && cd d && seq 10000 | split -l 1 -a 4 - f && git add . && git -c user.name=n -c user.email=e commit -qm x",
        "git status --short",
        1.3,
    ),
    (
        "python start",
        "true",
        "python3 -c 'import json, re, subprocess, http.client, asyncio'",
        1.3,
    ),
    (
        "find, 20,000 files",
        "for i in 1 2 3 4; do mkdir d$i && (cd d$i && seq 5000 | split -l 1 -a 4 - f); done",
        "find . -type f | wc -l",
        1.3,
    ),
    (
        "grep, 20,000 files",
        "for i in 1 2 3 4; do mkdir d$i && (cd d$i && seq 5000 | split -l 1 -a 4 - f); done",
        "grep -r 4999 . | wc -l",
        1.3,
    ),
    (
        "tar x, 10,000 files",
        "mkdir d && (cd d && seq 10000 | split -l 1 -a 4 - f) && tar cf t.tar d && rm -r d",
        "rm -rf o && mkdir o && tar xf t.tar -C o",
        6.0,
    ),
    (
        "a program built by make",
        "printf 'all:\\n\\tcc -O1 -o m m.c\\n' > Makefile && echo 'int main(void){return 0;}' > m.c",
        "touch m.c && make -s",
        1.3,
    ),
];

#[test]
#[ignore = "figures: they hold on a machine that does nothing else"]
fn bounds() {
    if !possible() {
        return;
    }
    let place = Place::new(Who::Own);
    let rules = policy(
        "  - {name: own, action: allow, operations: [read, write], paths: ['PLACE/{home,tmp}/**']}\n",
    );
    let least = |make: &dyn Fn() -> std::process::Command| {
        let mut all = (0..3).map(|_| {
            let begun = Instant::now();
            let said = output(&mut make(), 300);
            assert!(said.ok(), "{}", said.words());
            begun.elapsed()
        });
        let first = all.next().unwrap();
        all.fold(first, Duration::min)
    };
    let mut start = Duration::ZERO;
    for (name, before, work, most) in WORK {
        place.renew();
        let said = output(&mut place.bare(&["sh", "-ec", before]), 300);
        assert!(said.ok(), "{}", said.words());
        let words = ["sh", "-ec", *work];
        let bare = least(&|| place.bare(&words));
        let off = least(&|| place.inside(&rules, &["-q", "--guard", "off"], &words));
        let inside = least(&|| place.guarded(&rules, &words));
        if start.is_zero() {
            start = inside;
        }
        let ratio = |time: Duration| time.saturating_sub(start).as_secs_f64() / bare.as_secs_f64();
        println!(
            "{name}: bare {bare:.1?}, without the guard {off:.1?}, with it {inside:.1?}; without the start x{:.2}, at most x{most}",
            ratio(inside)
        );
    }
}
