//! The pages show what really happens: README.md, docs/ and the other pages at the top.
//!
//! - A block ```` ```console ```` is a session. bash runs each line that begins with `$ `, and the output is compared
//!   with the lines below it. A line `…` stands for any lines, and `…` in a line stands for any text. A line that
//!   begins with `> ` continues the command above.
//! - A block ```` ```sh ```` is not run, but the options of each `polc` command in it are checked.
//! - `<!-- file: NAME -->` above a block: the block is written to that file first.
//! - `<!-- run: COMMAND -->`: the command runs, and its output is not shown. `$SOURCE` is this repository.
//! - Between `<!-- printed by: polc … -->` and `<!-- end -->` is the output of that command.
//! - Every link to a file or a heading leads somewhere.
//! - No sentence is longer than a tired reader can take in, neither on a page nor in a comment of the code.
//!
//! All commands of one page run in one project, which the page shows as /home/me/project. `POLC_BLESS=1 cargo test
//! --test documentation` writes the outputs again.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]
#![cfg(target_os = "linux")]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const HERE: &str = env!("CARGO_MANIFEST_DIR");
const PRINTED: &str = "<!-- printed by: polc ";
const END: &str = "<!-- end -->";

/// Every page: the Markdown files at the top, in docs/ and in examples/.
fn pages() -> Vec<PathBuf> {
    let here = Path::new(HERE);
    let mut folders = vec![here.join("docs"), here.join("examples")];
    let mut found: Vec<PathBuf> = markdown_in(here);
    while let Some(folder) = folders.pop() {
        found.extend(markdown_in(&folder));
        let inside = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        folders.extend(inside.map(|e| e.path()).filter(|p| p.is_dir()));
    }
    found.sort();
    assert!(found.len() > 10, "{found:?}");
    found
}

fn markdown_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "md"))
        .collect()
}

/// The project in which the commands of one page run, and the home directory around it.
struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        // Not in /tmp: under `polc run`, programs have a /tmp of their own.
        let root = tempfile::Builder::new()
            .prefix("documentation")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .unwrap();
        let place = Self { root };
        std::fs::create_dir_all(place.project()).unwrap();
        place.shell("git init -q -b main . && git config user.name me && git config user.email me@localhost");
        place
    }

    fn home(&self) -> PathBuf {
        self.root.path().join("home/me")
    }

    fn project(&self) -> PathBuf {
        self.home().join("project")
    }

    /// The output of bash and its programs, both streams in order.
    fn shell(&self, command: &str) -> String {
        let program = Path::new(env!("CARGO_BIN_EXE_polc")).parent().unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let done = Command::new("bash")
            .args(["-c", &format!("exec 2>&1\n{command}")])
            .current_dir(self.project())
            .env_clear()
            .env("PATH", format!("{}:{path}", program.display()))
            .env("HOME", self.home())
            .env("LANG", "C.UTF-8")
            .env("USER", "me")
            .env("SOURCE", HERE)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&done.stdout).into_owned();
        let shown = printed.replace(self.root.path().to_str().unwrap(), "");
        shown.trim_end().to_owned()
    }
}

/// Whether one command of a session printed what it must: `wanted`, line by line. `…` stands for any lines.
fn matches(wanted: &[&str], printed: &[&str]) -> bool {
    match wanted {
        [] => printed.is_empty(),
        ["…", rest @ ..] => (0..=printed.len()).any(|n| matches(rest, &printed[n..])),
        [line, rest @ ..] => {
            printed.first().is_some_and(|p| line_matches(line, p))
                && matches(rest, printed.get(1..).unwrap_or_default())
        }
    }
}

/// Whether a line was printed. `…` in `wanted` stands for any text.
fn line_matches(wanted: &str, printed: &str) -> bool {
    let mut pieces = wanted.split('…');
    let Some(mut rest) = printed.strip_prefix(pieces.next().unwrap_or_default()) else {
        return false;
    };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, inner)) = pieces.split_last() else {
        return rest.is_empty();
    };
    for piece in inner {
        let Some((_, after)) = rest.split_once(piece) else {
            return false;
        };
        rest = after;
    }
    rest.ends_with(last)
}

/// What the page should show of the output. It keeps the number of lines before and after `…`.
fn blessed(wanted: &[&str], printed: &[&str]) -> Vec<String> {
    let own = |lines: &[&str]| lines.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>();
    if matches(wanted, printed) {
        return own(wanted);
    }
    let Some(gap) = wanted.iter().position(|l| *l == "…") else {
        return own(printed);
    };
    let after = wanted.len() - gap - 1;
    if gap + after >= printed.len() {
        return own(printed);
    }
    let mut shown = own(&printed[..gap]);
    shown.push("…".into());
    shown.extend(own(&printed[printed.len() - after..]));
    shown
}

/// Runs a session, and returns the block as it should be.
fn session(place: &Place, block: &str, wrong: &mut Vec<String>) -> String {
    let lines: Vec<&str> = block.lines().collect();
    let mut shown = String::new();
    let mut at = 0;
    while at < lines.len() {
        let first = lines[at];
        let Some(command) = first.strip_prefix("$ ") else {
            wrong.push(format!("no command stands above `{first}`"));
            return block.into();
        };
        let mut command = command.to_owned();
        let _ = writeln!(shown, "{first}");
        at += 1;
        while let Some(more) = lines.get(at).and_then(|l| l.strip_prefix("> ")) {
            let _ = write!(command, "\n{more}");
            let _ = writeln!(shown, "{}", lines[at]);
            at += 1;
        }
        let until = lines[at..].iter().position(|l| l.starts_with("$ "));
        let wanted = &lines[at..until.map_or(lines.len(), |n| at + n)];
        at += wanted.len();
        let printed = place.shell(&command);
        let printed: Vec<&str> = printed.lines().map(str::trim_end).collect();
        if !matches(wanted, &printed) {
            wrong.push(format!(
                "`{command}` printed\n{}\nand not\n{}",
                printed.join("\n"),
                wanted.join("\n")
            ));
        }
        for line in blessed(wanted, &printed) {
            let _ = writeln!(shown, "{line}");
        }
    }
    shown
}

/// Checks that polc knows the options in a block that is not run.
fn check_options(place: &Place, block: &str, wrong: &mut Vec<String>) {
    let joined = block.replace("\\\n", " ");
    for line in joined.lines() {
        let words = line.split('#').next().unwrap_or_default();
        let words = words.trim().trim_start_matches("sudo ");
        let Some(rest) = words.strip_prefix("polc ") else {
            continue;
        };
        let end = [" -- ", " | ", " > ", " && ", ";", " || "]
            .iter()
            .filter_map(|stop| rest.find(stop))
            .min();
        let arguments = rest[..end.unwrap_or(rest.len())].trim_end_matches(" --");
        let printed = place.shell(&format!("polc {arguments} --help"));
        if printed.starts_with("error") {
            wrong.push(format!("`{line}`: {printed}"));
        }
    }
}

/// The page as it should be, and its errors.
fn walked(text: &str) -> (String, Vec<String>) {
    let place = Place::new();
    let mut wrong = Vec::new();
    let mut page = String::new();
    let mut file = None;
    let mut lines = text.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        page += line;
        let trimmed = line.trim();
        if let Some(name) = comment(trimmed, "file: ") {
            file = Some(name.to_owned());
        } else if let Some(command) = comment(trimmed, "run: ") {
            place.shell(command);
        } else if let Some(arguments) = trimmed
            .strip_prefix(PRINTED)
            .and_then(|r| r.strip_suffix(" -->"))
        {
            let mut old = String::new();
            while lines.peek().is_some_and(|l| l.trim() != END) {
                old += lines.next().unwrap();
            }
            let new = format!("{}\n", place.shell(&format!("polc {arguments}")));
            if old != new {
                wrong.push(format!("`polc {arguments}` prints something else now"));
            }
            page += &new;
        } else if let Some(kind) = trimmed.strip_prefix("```").filter(|k| !k.is_empty()) {
            let mut block = String::new();
            while lines.peek().is_some_and(|l| l.trim() != "```") {
                block += lines.next().unwrap();
            }
            if let Some(name) = file.take() {
                let path = place.project().join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, &block).unwrap();
            }
            match kind {
                "console" => block = session(&place, &block, &mut wrong),
                "sh" => check_options(&place, &block, &mut wrong),
                _ => {}
            }
            page += &block;
            page += lines.next().unwrap_or_default();
        }
    }
    (page, wrong)
}

fn comment<'a>(line: &'a str, begins: &str) -> Option<&'a str> {
    line.strip_prefix("<!-- ")?
        .strip_prefix(begins)?
        .strip_suffix(" -->")
}

#[test]
fn what_is_shown_is_what_happens() {
    let bless = std::env::var_os("POLC_BLESS").is_some();
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let walks: Vec<_> = pages()
            .into_iter()
            .map(|path| {
                scope.spawn(move || {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let (page, wrong) = walked(&text);
                    if bless && page != text {
                        std::fs::write(&path, page).unwrap();
                    }
                    let name = path.strip_prefix(HERE).unwrap().display().to_string();
                    wrong.into_iter().map(move |w| format!("{name}: {w}"))
                })
            })
            .collect();
        walks.into_iter().flat_map(|w| w.join().unwrap()).collect()
    });
    assert!(
        bless || wrong.is_empty(),
        "the documentation shows something else than happens (POLC_BLESS=1 writes the outputs anew):\n\n{}",
        wrong.join("\n\n")
    );
}

/// The name of a heading in links.
fn anchor(heading: &str) -> String {
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}

/// The lines of a page that are not code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |l| {
        let fence = l.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// The targets of a page's links.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        for piece in line.split("](").skip(1) {
            found.extend(piece.split(')').next().map(str::to_owned));
        }
        for piece in line.split("src=\"").chain(line.split("href=\"")).skip(1) {
            found.extend(piece.split_once('"').map(|p| p.0.to_owned()));
        }
    }
    found.retain(|l| !l.contains("://") && !l.is_empty() && !l.contains(' '));
    found
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            seen += 1;
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            if !target.exists() {
                wrong.push(format!("{}: {link}: no such file", page.display()));
            } else if !heading.is_empty() {
                let there = std::fs::read_to_string(&target).unwrap();
                let named = prose(&there)
                    .filter(|l| l.starts_with('#'))
                    .any(|l| anchor(l.trim_start_matches('#')) == heading);
                if !named {
                    wrong.push(format!("{}: {link}: no such heading", page.display()));
                }
            }
        }
    }
    assert!(seen > 10, "{seen} links");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The longest sentence, in words. The aim is 25 (CONTRIBUTING.md), but code and lists need a few more.
const MOST_WORDS: usize = 30;
/// The same for a comment in the code.
const MOST_WORDS_OF_COMMENT: usize = 35;

/// The sentences of a page. In a table, each cell has its own. In a list, each entry begins a new one.
fn sentences(text: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    for line in prose(text) {
        let line = line.trim();
        let (cells, begins) = match line.split_once(' ') {
            _ if line.starts_with('|') => (line.split('|').collect(), true),
            Some((mark, _)) => {
                let entry =
                    matches!(mark, "-" | "*") || mark.trim_end_matches('.').parse::<u8>().is_ok();
                (
                    vec![line],
                    entry || mark.starts_with('#') || line.starts_with("<!--"),
                )
            }
            None => (vec![line], line.is_empty()),
        };
        for cell in cells {
            if begins {
                found.push(String::new());
            }
            for word in cell.split_whitespace() {
                let Some(last) = found.last_mut() else {
                    continue;
                };
                *last += word;
                last.push(' ');
                if word
                    .trim_end_matches(['`', '"', '*', ')', '_'])
                    .ends_with(['.', '!', '?', ':', ';'])
                {
                    found.push(String::new());
                }
            }
        }
    }
    found
}

fn words(sentence: &str) -> usize {
    let words = sentence.split_whitespace();
    words.filter(|w| w.contains(char::is_alphanumeric)).count()
}

#[test]
fn no_sentence_is_too_long() {
    let mut wrong = Vec::new();
    for page in pages() {
        for sentence in sentences(&std::fs::read_to_string(&page).unwrap()) {
            let words = words(&sentence);
            if words > MOST_WORDS {
                wrong.push(format!("{}: {words} words: {sentence}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let two = sentences("- One of\n  two.\n- Three | four\n\n| a | b |\n");
    let two: Vec<&str> = two
        .iter()
        .map(|s| s.trim())
        .filter(|s| !s.is_empty())
        .collect();
    assert_eq!(two, ["- One of two.", "- Three | four", "a", "b"]);
}

/// The comments of a Rust file, each with its first line: lines that follow each other and begin with the same mark.
fn comments(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut before = "";
    for (at, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let marks = ["///", "//!", "//"];
        let mark = marks.into_iter().find(|m| line.starts_with(m));
        let mark = mark.unwrap_or_default();
        match found.last_mut() {
            _ if mark.is_empty() => {}
            Some((_, comment)) if mark == before => {
                let _ = write!(comment, "\n{}", &line[mark.len()..]);
            }
            _ => found.push((at + 1, line[mark.len()..].to_owned())),
        }
        before = mark;
    }
    found
}

/// The Rust files beneath a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn no_sentence_of_a_comment_is_too_long() {
    let mut files = Vec::new();
    for folder in ["src", "tests"] {
        sources(&Path::new(HERE).join(folder), &mut files);
    }
    assert!(files.len() > 100, "{}", files.len());
    let mut wrong = Vec::new();
    for file in files {
        for (line, comment) in comments(&std::fs::read_to_string(&file).unwrap()) {
            for sentence in sentences(&comment) {
                let words = words(&sentence);
                if words > MOST_WORDS_OF_COMMENT {
                    wrong.push(format!(
                        "{}:{line}: {words} words: {sentence}",
                        file.display()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let text = "//! One.\n//! Two\n\nfn f() {\n    /// Three\n    /// four.\n    // Five.\n";
    let found = [(1, " One.\n Two"), (5, " Three\n four."), (7, " Five.")];
    assert_eq!(comments(text), found.map(|(at, s)| (at, s.to_owned())));
}

#[test]
fn a_gap_stands_for_any_lines() {
    assert!(matches(&["a", "…", "d"], &["a", "b", "c", "d"]));
    assert!(matches(&["a", "…"], &["a"]));
    assert!(!matches(&["a", "…", "d"], &["a", "b"]));
    assert!(!matches(&["a"], &["a", "b"]));
    assert!(matches(&["… a, … b"], &["1 a, 22 b"]));
    assert!(!matches(&["… a, … b"], &["1 a, 22 c"]));
    assert_eq!(blessed(&["x", "…", "y"], &["a", "b", "c"]), ["a", "…", "c"]);
}
