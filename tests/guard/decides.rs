//! Random policies, paths and calls: the guard allows exactly what `decide` allows.

use crate::place::{Place, Who, output, possible};
use polc::fidelity::Object;
use polc::frontend::{LoadOptions, load};
use polc::policy::{Operation, Policy};
use polc::semantics::decide;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A generator of numbers (xorshift), the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

const PATTERNS: &[&str] = &[
    "**",
    "a/**",
    "b/**",
    "a/b/**",
    "*",
    "*/*",
    "a/*",
    "**/.env",
    "**/*.key",
    "**/b/**",
    "a/x",
    "b/b/x",
    "**/x",
    "{a,b}/.env",
    "b/?",
    "**/[xy]",
    "c/**",
    "a/b/*.key",
    "**/b",
    "b",
];

const GROUPS: &[&str] = &[
    "read",
    "list",
    "edit",
    "create",
    "delete",
    "metadata",
    "write",
    "read, write",
    "create, delete",
    "edit, metadata",
    "read, edit",
];

/// The operations that a rule with `except_new` may name.
const OF_EXCEPT_NEW: &[&str] = &[
    "edit",
    "delete",
    "metadata",
    "edit, metadata",
    "edit, delete, metadata",
];
/// Such a rule leaves out what the program has made itself.
const EXCEPT_NEW: &str = ", except_new: true";

fn policy(random: &mut Random, workspace: &str) -> String {
    let mut text = format!(
        "version: 1\nname: random\nsubject: {{workspace: {workspace:?}}}\nrules:\n  \
        - {{name: program, action: allow, operations: [read, execute], paths: ['PLACE/bin/**']}}\n"
    );
    for n in 0..2 + random.below(5) {
        let action = random.of(&["allow", "allow", "deny"]);
        let except_new = action == "deny" && random.below(2) == 0;
        let groups = if except_new { OF_EXCEPT_NEW } else { GROUPS };
        let (operations, path) = (random.of(groups), random.of(PATTERNS));
        write!(text, "  - {{name: r{n}, action: {action}, operations: [{operations}], paths: ['${{workspace}}/{path}'").unwrap();
        if random.below(3) == 0 {
            write!(text, ", '${{workspace}}/{}'", random.of(PATTERNS)).unwrap();
        }
        text.push(']');
        if random.below(4) == 0 {
            write!(text, ", except: ['${{workspace}}/{}']", random.of(PATTERNS)).unwrap();
        }
        if except_new {
            text.push_str(EXCEPT_NEW);
        }
        text.push_str("}\n");
    }
    if random.below(3) != 0 {
        text.push_str("  - {name: last, action: allow, operations: [read, write], paths: ['${workspace}/**']}\n");
    }
    // With this rule, the filter of system calls refuses no family of calls as a whole.
    text.push_str("  - {name: somewhere, action: allow, operations: [write], paths: ['${workspace}/elsewhere']}\n");
    text.push_str("  - include: builtin:linux-runtime\n");
    text
}

/// The existing objects: path, whether it is a directory, and which object it is.
type Tree = BTreeMap<String, (bool, usize)>;

const DIRECTORIES: &[&str] = &["a", "b", "c", "a/b", "b/b", "c/b", "a/b/b"];
const NAMES: &[&str] = &["x", "y", ".env", "k.key", "b"];

fn tree() -> Tree {
    let mut paths: Vec<_> = DIRECTORIES
        .iter()
        .map(|d| ((*d).to_owned(), true))
        .collect();
    for directory in DIRECTORIES {
        for name in ["x", ".env", "k.key"] {
            paths.push((format!("{directory}/{name}"), false));
        }
    }
    paths
        .into_iter()
        .enumerate()
        .map(|(n, (path, folder))| (path, (folder, n)))
        .collect()
}

/// What the program may do to objects that it made itself, if only rules with `except_new` deny it.
const CHANGES: [Operation; 3] = [Operation::Edit, Operation::Delete, Operation::Metadata];
/// The rights that an object must not gain by another name.
const GAINS: [Operation; 4] = [
    Operation::Read,
    Operation::List,
    Operation::Execute,
    Operation::Connect,
];

struct Model<'a> {
    policy: &'a Policy,
    /// The policy without the rules that leave out what is new.
    for_new: &'a Policy,
    workspace: &'a str,
    tree: Tree,
    own: BTreeMap<usize, Vec<Operation>>,
    objects: usize,
}

/// A call, and whether the policy allows it. `None`: it may be refused although the policy allows it.
type Row = (String, Option<bool>);

impl Model<'_> {
    fn asks(&self, policy: &Policy, operation: Operation, path: &str) -> bool {
        let path = format!("{}/{path}", self.workspace);
        decide(policy, operation, &Object::Path(path.into_bytes()))
            .action
            .permits()
    }

    fn may(&self, operation: Operation, path: &str) -> bool {
        self.asks(self.policy, operation, path)
    }

    /// Whether the policy allows it on a new object at this path.
    fn may_if_new(&self, operation: Operation, path: &str) -> bool {
        self.may(operation, path) || self.asks(self.for_new, operation, path)
    }

    fn may_change(&self, operation: Operation, path: &str) -> bool {
        let own = self.own.get(&self.tree[path].1);
        self.may(operation, path)
            || own.is_some_and(|o| o.contains(&operation)) && self.may_if_new(operation, path)
    }

    /// Notes that an object was made, or came from another name that might have been denied more.
    fn note(&mut self, path: &str, from: Option<&str>) {
        if CHANGES.iter().all(|o| self.may(*o, path)) {
            return;
        }
        let object = self.tree[path].1;
        let before = self.own.get(&object).cloned().unwrap_or_default();
        let may = |o: &Operation| before.contains(o) || from.is_none_or(|f| self.may(*o, f));
        let now = CHANGES.into_iter().filter(may).collect();
        self.own.insert(object, now);
    }

    fn make(&mut self, path: &str, folder: bool) {
        self.objects += 1;
        self.tree
            .insert(path.to_owned(), (folder, 1000 + self.objects));
        self.note(path, None);
    }

    fn gains(&self, from: &str, to: &str) -> bool {
        GAINS
            .iter()
            .any(|o| !self.may(*o, from) && self.may(*o, to))
    }

    fn beneath(&self, path: &str) -> Vec<String> {
        let start = format!("{path}/");
        self.tree
            .keys()
            .filter(|k| *k == path || k.starts_with(&start))
            .cloned()
            .collect()
    }

    fn may_move(&self, from: &str, to: &str) -> bool {
        self.beneath(from).iter().all(|p| {
            let new = p.replacen(from, to, 1);
            self.may_change(Operation::Delete, p)
                && self.may(Operation::Create, &new)
                && !self.gains(p, &new)
        })
    }

    fn moved(&mut self, from: &str, to: &str) {
        for path in self.beneath(from) {
            let kept = self.tree.remove(&path).unwrap();
            self.tree.insert(path.replacen(from, to, 1), kept);
        }
        self.note(to, Some(from));
    }

    fn rename(&mut self, from: &str, to: &str) -> Row {
        let may = self.may_move(from, to);
        if may {
            self.moved(from, to);
        }
        (format!("rename {from} {to}"), Some(may))
    }

    fn exchange(&mut self, one: &str, other: &str) -> Row {
        let may = self.may_move(one, other) && self.may_move(other, one);
        if may {
            let (a, b) = (self.tree[one], self.tree[other]);
            self.tree.insert(one.to_owned(), b);
            self.tree.insert(other.to_owned(), a);
            self.note(other, Some(one));
            self.note(one, Some(other));
        }
        (format!("exchange {one} {other}"), Some(may))
    }

    /// One call that the kernel itself would allow. If the policy allows it, it has an effect.
    fn row(&mut self, random: &mut Random) -> Option<Row> {
        use Operation as Op;
        let path = format!("{}/{}", random.of(DIRECTORIES), random.of(NAMES));
        let other = format!("{}/{}", random.of(DIRECTORIES), random.of(NAMES));
        let is = |model: &Self, path: &str| model.tree.get(path).map(|t| t.0);
        let parent =
            |model: &Self, path: &str| is(model, path.rsplit_once('/').unwrap().0) == Some(true);
        if !parent(self, &path) || !parent(self, &other) || path == other {
            return None;
        }
        let apart =
            !other.starts_with(&format!("{path}/")) && !path.starts_with(&format!("{other}/"));
        let row = match (is(self, &path), random.below(12)) {
            (Some(false), n @ 0..=1) => (
                format!("{} {path}", ["edit", "empty"][n]),
                Some(self.may_change(Op::Edit, &path)),
            ),
            (Some(false), 2) => (
                format!("truncate {path}"),
                Some(self.may_change(Op::Edit, &path)),
            ),
            (Some(false), 3) => (
                format!("both {path}"),
                (!self.may_change(Op::Edit, &path)).then_some(false),
            ),
            // If no metadata may be changed at all, the filter of system calls also refuses it for the program's own
            // objects.
            (Some(_), n @ 4..=6) => {
                let what = ["chmod", "times", "attribute"][n - 4];
                (
                    format!("{what} {path}"),
                    self.may(Op::Metadata, &path)
                        .then_some(true)
                        .or((!self.may_change(Op::Metadata, &path)).then_some(false)),
                )
            }
            (Some(_), 7 | 8) if is(self, &other).is_none() && apart => self.rename(&path, &other),
            (Some(false), 9) if is(self, &other) == Some(false) => self.exchange(&path, &other),
            (Some(true), _) => return None,
            (Some(false), _) => {
                let may = self.may_change(Op::Delete, &path);
                if may {
                    self.tree.remove(&path);
                }
                (format!("unlink {path}"), Some(may))
            }
            (None, n @ 0..=3) => {
                // The file is opened for writing, so making it takes the right to edit as well.
                let may =
                    self.may(Op::Create, &path) && (n < 2 || self.may_if_new(Op::Edit, &path));
                if may {
                    self.make(&path, n < 2);
                }
                (
                    format!("{} {path}", if n < 2 { "directory" } else { "make" }),
                    Some(may),
                )
            }
            // A file without a name counts as one that no rule mentions. That may be stricter.
            (None, 4) if !self.may(Op::Create, &path) => (format!("nameless {path}"), Some(false)),
            (None, _) => return None,
        };
        Some(row)
    }
}

/// The policy without the rules that leave out what is new, from its text.
fn without_except_new(text: &str) -> Policy {
    let lines = text.lines().filter(|l| !l.contains(EXCEPT_NEW));
    let text: String = lines.map(|l| format!("{l}\n")).collect();
    load("random", &text, &LoadOptions::default())
        .unwrap()
        .policy
}

#[test]
fn the_guard_answers_as_the_policy_decides() {
    if !possible() {
        return;
    }
    let place = Place::new(Who::Own);
    let workspace = place.path("ws").display().to_string();
    let seed = std::env::var("POLC_GUARD_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(1u64);
    let count = std::env::var("POLC_GUARD_RANDOM")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(40);
    let (mut tried, mut allowed, mut faults) = (0, 0, Vec::new());
    for n in 0..count {
        let mut random = Random((seed + n).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            random.below(2);
        }
        let own = place.path("").display().to_string();
        let text = policy(&mut random, &workspace).replace("PLACE/", &own);
        let Ok(loaded) = load("random", &text, &LoadOptions::default()) else {
            continue;
        };
        let for_new = without_except_new(&text);
        let mut model = Model {
            policy: &loaded.policy,
            for_new: &for_new,
            workspace: &workspace,
            tree: tree(),
            own: BTreeMap::new(),
            objects: 0,
        };
        place.renew();
        for (path, (is_directory, _)) in &model.tree {
            if *is_directory {
                std::fs::create_dir_all(place.path("ws").join(path)).unwrap();
            }
        }
        for (path, (is_directory, _)) in &model.tree {
            if !is_directory {
                std::fs::write(place.path("ws").join(path), "contents").unwrap();
            }
        }
        let rows: Vec<Row> = (0..400)
            .filter_map(|_| model.row(&mut random))
            .take(120)
            .collect();
        let plan: String = rows.iter().map(|r| format!("{}\n", r.0)).collect();
        std::fs::write(place.path("bin/plan"), plan).unwrap();
        let program = place.program();
        let file = place.path("bin/plan").display().to_string();
        // Protection of reading is not tested here, and mounts would refuse to move covered objects.
        let options = [
            "-q",
            "--guard",
            "require",
            "--no-namespaces",
            "--allow-gaps",
        ];
        let said = output(
            &mut place.inside(&text, &options, &[&program, "plan", &file]),
            60,
        );
        let answers = String::from_utf8_lossy(&said.stdout).into_owned();
        let before = faults.len();
        if answers.lines().count() != rows.len() || !said.stderr.is_empty() {
            faults.push(said.words());
        }
        for ((_, may), line) in rows.iter().zip(answers.lines()) {
            let answer = line.rsplit(" -> ").next().unwrap();
            tried += 1;
            allowed += usize::from(*may == Some(true));
            let right = match answer {
                "0" => *may != Some(false),
                "EACCES" => *may != Some(true),
                // Metadata: the filter of system calls answers this if the policy allows no such call at all.
                "EPERM" => *may != Some(true),
                _ => false,
            };
            if !right {
                faults.push(format!("{line}, expected {may:?}"));
                // The following rows depend on this one.
                break;
            }
        }
        if faults.len() > before {
            faults.push(text);
        }
    }
    eprintln!("{tried} calls, {allowed} allowed");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(
        tried > 2000 && allowed > 500 && tried - allowed > 500,
        "hardly anything was tried: {tried}, {allowed} allowed"
    );
}
