//! The page of `polc coverage --format html`, laid out by headless Chromium.
//!
//! The page forbids itself every script. What is measured is a copy that lets one in, which writes what
//! it finds into the document; the page as it is has to load without a word on the console.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    unsafe_code,
    clippy::undocumented_unsafe_blocks
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Chromium, or a line that says what is skipped; in CI nothing is.
fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = std::env::split_paths(&path)
        .flat_map(|d| names.map(|n| d.join(n)))
        .find(|f| f.is_file());
    if found.is_none() {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "no chromium, and nothing is skipped in CI"
        );
        eprintln!("skipped: no chromium to lay out the page of `polc coverage`");
    }
    found
}

struct Loaded {
    dom: String,
    console: Vec<String>,
}

fn load(chromium: &Path, page: &Path, width: u32, dark: bool) -> Loaded {
    let profile = tempfile::tempdir().unwrap();
    let scheme = format!("--blink-settings=preferredColorScheme={}", u8::from(!dark));
    let done = Command::new("timeout")
        .arg("120")
        .arg(chromium)
        // Its own sandbox needs namespaces that containers and root do not give it.
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ])
        .args(["--enable-logging=stderr", "--dump-dom", scheme.as_str()])
        .arg(format!("--window-size={width},1000"))
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "chromium: {}: {said}", done.status);
    Loaded {
        dom: String::from_utf8_lossy(&done.stdout).into_owned(),
        console: said
            .lines()
            .filter(|l| l.contains("CONSOLE"))
            .map(str::to_owned)
            .collect(),
    }
}

/// What is measured, with every cell's examples open.
const MEASURE: &str = r#"<script>
const out = { width: innerWidth, dark: matchMedia('(prefers-color-scheme: dark)').matches };
for (const d of document.querySelectorAll('details')) d.open = true;
out.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
out.rules = [...document.querySelectorAll('#rules tbody tr')].map(tr => ({
  rule: tr.querySelector('td.rule').firstChild.textContent,
  operations: tr.querySelector('td.operations').innerText.split(' '),
  cells: [...tr.querySelectorAll('td[data-layer]')].map(td =>
    [td.dataset.layer, td.innerText, getComputedStyle(td, '::before').content]),
}));
out.cut = [...document.querySelectorAll('td, .card, li, dd, h1, .verdict')]
  .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.innerText);
out.hidden = [...document.querySelectorAll('td, .card, li')].filter(e => e.offsetHeight === 0).map(e => e.innerText);
const rgb = colour => { const c = document.createElement('canvas').getContext('2d');
  c.fillStyle = colour; c.fillRect(0, 0, 1, 1); return [...c.getImageData(0, 0, 1, 1).data].slice(0, 3); };
const light = c => c.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const paper = document.createElement('div'); paper.style.background = 'Canvas'; document.body.append(paper);
const behind = light(rgb(getComputedStyle(paper).backgroundColor));
out.contrast = {};
for (const e of document.querySelectorAll('.exact, .stricter, .looser, .mixed, .unenforced, .unknown, .about, td, li, small')) {
  const own = light(rgb(getComputedStyle(e).color));
  out.contrast[e.className || e.tagName] = (Math.max(own, behind) + 0.05) / (Math.min(own, behind) + 0.05);
}
const found = document.createElement('pre'); found.id = 'found';
found.textContent = btoa(String.fromCharCode(...new TextEncoder().encode(JSON.stringify(out))));
parent.document.body.append(found);
</script>"#;

/// Base64, without a crate for one test.
fn decoded(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::new();
    let (mut bits, mut held) = (0u32, 0);
    for digit in text.bytes().filter(|b| *b != b'=') {
        let value = DIGITS.iter().position(|d| *d == digit).unwrap();
        bits = bits << 6 | u32::try_from(value).unwrap();
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held & 0xff) as u8);
        }
    }
    out
}

fn measured(chromium: &Path, page: &Path, width: u32, dark: bool) -> serde_json::Value {
    let text = std::fs::read_to_string(page).unwrap();
    let copy = page.with_extension("measured.html");
    let open = text.replace(
        "default-src 'none'",
        "default-src 'none'; script-src 'unsafe-inline'",
    );
    assert_ne!(open, text, "the page forbids scripts");
    let open = open.replace("</body>", &format!("{MEASURE}</body>"));
    let quoted = open.replace('&', "&amp;").replace('"', "&quot;");
    // In a frame, as a window is not made narrower than 500. A frame prefers the scheme of what is around it.
    let framed = format!(
        "<!DOCTYPE html><meta charset=utf-8><meta name=color-scheme content='light dark'>\
         <body><iframe style='width:{width}px;height:900px;border:0' srcdoc=\"{quoted}\"></iframe></body>"
    );
    std::fs::write(&copy, framed).unwrap();
    let loaded = load(chromium, &copy, 1400, dark);
    assert_eq!(loaded.console, Vec::<String>::new());
    let (_, rest) = loaded.dom.split_once("<pre id=\"found\">").unwrap();
    let (found, _) = rest.split_once("</pre>").unwrap();
    serde_json::from_slice(&decoded(found)).unwrap()
}

fn polc(args: &[&str]) -> Vec<u8> {
    let done = Command::new(env!("CARGO_BIN_EXE_polc"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    done.stdout
}

fn holds(policy: &str) {
    let Some(chromium) = chromium() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    std::fs::write(&page, polc(&["coverage", "-p", policy, "--format", "html"])).unwrap();
    let json = polc(&["coverage", "-p", policy, "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let loaded = load(&chromium, &page, 1280, false);
    assert_eq!(loaded.console, Vec::<String>::new(), "{policy}");

    for (width, dark) in [
        (1280, false),
        (1280, true),
        (960, false),
        (400, false),
        (400, true),
    ] {
        let found = measured(&chromium, &page, width, dark);
        let at = format!("{policy} at {width}, dark: {dark}");
        assert_eq!(
            (&found["width"], &found["dark"]),
            (&width.into(), &dark.into()),
            "{at}"
        );
        assert_eq!(
            found["overflow"], 0,
            "{at}: the page is wider than the window"
        );
        assert_eq!(found["cut"], serde_json::json!([]), "{at}");
        assert_eq!(found["hidden"], serde_json::json!([]), "{at}");
        // WCAG 2.2, 1.4.3: 4.5 to 1 for text of this size.
        for (what, ratio) in found["contrast"].as_object().unwrap() {
            assert!(
                ratio.as_f64().unwrap() >= 4.5,
                "{at}: {what} is {ratio} to 1"
            );
        }
        // Every rule and operation is there once, and says in words what each layer keeps.
        let shown = found["rules"].as_array().unwrap();
        for row in json["rows"].as_array().unwrap() {
            let of = |s: &&serde_json::Value| {
                let operations = s["operations"].as_array().unwrap();
                s["rule"] == row["rule"] && operations.contains(&row["operation"])
            };
            let rows: Vec<&serde_json::Value> = shown.iter().filter(of).collect();
            assert_eq!(rows.len(), 1, "{at}: {} {}", row["rule"], row["operation"]);
            let cells = rows[0]["cells"].as_array().unwrap();
            if row["decides"] == false {
                assert!(cells.is_empty());
                continue;
            }
            let layers = row["layers"].as_object().unwrap();
            let together = (&"together".to_owned(), &row["together"]);
            let wanted: Vec<_> = layers.iter().chain([together]).collect();
            assert_eq!(cells.len(), wanted.len(), "{at}: {row}");
            for (cell, (layer, wanted)) in cells.iter().zip(wanted) {
                assert_eq!(cell[0], **layer, "{at}");
                // A rule that is for other platforms than the layer's is `null` there.
                let word = match wanted {
                    serde_json::Value::Null => "not here",
                    said => said["fidelity"].as_str().unwrap(),
                };
                assert!(
                    cell[1].as_str().unwrap().contains(word),
                    "{at}: {} {layer}: {cell}, not {word}",
                    row["rule"]
                );
                // Where the heads are not above the columns, each cell names its layer.
                let named = cell[2] == format!("\"{layer}\"");
                assert_eq!(named, width <= 960, "{at}: {cell}");
            }
        }
    }
}

#[test]
fn the_page_of_a_built_in_policy_is_whole_and_legible() {
    holds("builtin:coding-agent");
}

#[test]
fn so_is_one_with_hostile_names_and_layers_that_are_refused() {
    holds("tests/policies/hostile-names.yaml");
}

/// The checks above can fail.
#[test]
fn a_script_that_the_page_forbids_shows_on_the_console() {
    let Some(chromium) = chromium() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    let policy = "tests/policies/nothing.yaml";
    let text = String::from_utf8(polc(&["coverage", "-p", policy, "--format", "html"])).unwrap();
    let with = text.replace("</body>", "<script>document.title = 'ran'</script></body>");
    std::fs::write(&page, with).unwrap();
    let loaded = load(&chromium, &page, 1280, false);
    assert!(!loaded.console.is_empty());
    assert!(!loaded.dom.contains("<title>ran"));
}
