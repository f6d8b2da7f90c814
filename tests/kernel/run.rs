//! `polc run` on this machine's kernel. With `--require safe`, no operation succeeds on a path that the policy denies.
//!
//! Random policies. A rule before each lets the probe start. Every attempt is a separate `polc run`, in a root that
//! holds polc, the files that it needs, and the objects. The objects are made before the start.

use crate::lab;
use crate::machine;
use crate::rows::{self, Sheet};
use crate::tool;
use polc::backend::{Options, find};
use polc::fidelity::show_bytes;
use polc::frontend::{LoadOptions, load};
use polc::policy::Platform;
use polc::semantics::Meaning;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

const START: &str =
    "rules:\n  - {name: probe, action: allow, operations: [read, execute], paths: ['/lab/**']}\n";

/// Moves into the root, so that namespaces can be made there, and leaves the machine's own files behind.
const ENTER: &str = "mount --bind \"$1\" \"$1\" && cd \"$1\" && mount --rbind /proc proc && mount --rbind /dev dev && \
    mkdir .old && pivot_root . .old && /lab/busybox umount -l /.old && /lab/busybox rmdir /.old && exec /lab/probe root /";

#[test]
fn run_here() {
    let Some(probe) = machine::probe() else {
        return;
    };
    let Some(busybox) = tool::find("busybox") else {
        return tool::skip("no busybox");
    };
    let root = tool::folder("lab-run");
    let put = |from: &Path, to: &str| {
        let to = root.path().join(to.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, &to).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
    };
    put(env!("CARGO_BIN_EXE_polc").as_ref(), "lab/polc");
    put(&probe, "lab/probe");
    put(&busybox, "lab/busybox");
    // The libraries of polc.
    let ldd = tool::run("ldd".as_ref(), [env!("CARGO_BIN_EXE_polc")]);
    let libraries = String::from_utf8_lossy(&ldd.stdout).into_owned();
    let files = libraries.split_whitespace().filter(|w| w.starts_with('/'));
    files.for_each(|l| put(l.as_ref(), l));
    for name in ["proc", "dev"] {
        std::fs::create_dir(root.path().join(name)).unwrap();
    }

    let landlock = find("landlock").unwrap();
    let (mut plan, mut sheets) = (String::new(), Vec::new());
    let mut add = |name: &str, text: &str, under: &str| {
        let policy = load(name, text, &LoadOptions::default()).unwrap().policy;
        // A missing workspace would be an error.
        if let Some(workspace) = &policy.subject.workspace {
            let workspace = show_bytes(workspace);
            let workspace = root.path().join(workspace.trim_start_matches('/'));
            std::fs::create_dir_all(workspace).unwrap();
        }
        let policy = policy.seen_by(Platform::Linux);
        let meaning = Meaning::new(&policy);
        let Ok(compiled) = landlock.compile(&meaning, &Options::default()) else {
            return;
        };
        let mut sheet = Sheet::new(name, &meaning, &compiled.ledger, |_, _| false);
        // The program needs the root, and the files in the folder are its own.
        sheet
            .rows
            .retain(|r| !rows::is_on_host(r.way) && r.path != b"/" && !r.path.starts_with(b"/lab"));
        let file = format!("lab/{under}.yaml");
        let confinement = if under == name {
            text
        } else {
            "version: 1\nname: open\ndefault_action: allow\nrules: []\n"
        };
        std::fs::write(root.path().join(&file), confinement).unwrap();
        writeln!(plan, "policy {} run /{file}", sheets.len()).unwrap();
        sheet.plan(&mut plan);
        sheets.push((sheet, text.to_owned()));
    };
    for (name, _, text) in lab::random(30) {
        let text = text.replace("rules:\n", START).replace("  []\n", "");
        add(&name, &text, &name);
    }
    // This policy denies nothing. The check must find that.
    let planted = format!("version: 1\nname: planted\n{START}");
    add("planted", &planted, "open");
    std::fs::write(root.path().join("lab/plan"), plan).unwrap();

    let mut unshare = Command::new("unshare");
    // A user who is not root becomes root in a user namespace.
    if !root.path().metadata().is_ok_and(|m| m.uid() == 0) {
        unshare.arg("-r");
    }
    unshare
        .args(["-m", "sh", "-c", ENTER, "sh"])
        .arg(root.path());
    let said = tool::run_with(&mut unshare, b"", tool::PATIENCE * 10);
    if !said.ok() {
        return tool::skip(&format!(
            "the lab cannot change root here: {}",
            said.words()
        ));
    }
    let cells = rows::read(&String::from_utf8_lossy(&said.stdout)).unwrap();
    let (mut tried, mut allowed, mut refused, mut faults) = (0, 0, 0, Vec::new());
    for (index, (sheet, text)) in sheets.iter().enumerate() {
        let planted = sheet.policy == "planted";
        let before = faults.len();
        for (at, row) in sheet.rows.iter().enumerate() {
            let cell = cells[&(index, at)];
            if cell.started() && cell.usable() {
                tried += 1;
                allowed += usize::from(!planted && cell.allowed());
                refused += usize::from(!planted && !cell.allowed());
                if cell.allowed() && !row.decision.action.permits() {
                    let path = show_bytes(&row.path);
                    let ally = row.ally.as_ref().map(|a| show_bytes(a));
                    faults.push(format!("{} ({}) {path} {ally:?}", row.operation, row.way));
                }
            }
        }
        if planted {
            assert!(
                faults.len() > before,
                "nothing is denied, and nothing found"
            );
            faults.truncate(before);
        } else if faults.len() > before {
            faults.push(text.clone());
        }
    }
    assert!(faults.is_empty(), "let through:\n{}", faults.join("\n"));
    assert!(
        allowed > 10 && refused > 10,
        "hardly anything was tried: {tried}, {allowed} allowed and {refused} refused"
    );
}
