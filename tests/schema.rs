//! The JSON Schema against the parser, on the same files.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use polc::frontend::native::schema::schema;
use polc::frontend::{LoadOptions, builtin, load_bytes};
use std::path::{Path, PathBuf};

fn yaml(folder: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut out: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "yaml"))
        .map(|p| {
            (
                p.file_name().unwrap().to_str().unwrap().to_owned(),
                std::fs::read(&p).unwrap(),
            )
        })
        .collect();
    out.sort();
    out
}

fn value(text: &str) -> serde_json::Value {
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn what_the_parser_takes_the_schema_takes() {
    let validator = jsonschema::draft7::new(&schema()).unwrap();
    let mut files = yaml("tests/policies");
    files.extend(
        builtin::policies()
            .iter()
            .chain(builtin::rule_sets())
            .map(|b| (b.name.to_owned(), b.text.as_bytes().to_vec())),
    );
    files.push(("every-key".to_owned(), EVERY_KEY.as_bytes().to_vec()));
    assert!(files.len() > 30);
    for (name, bytes) in files {
        let text = String::from_utf8(bytes).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&value(&text))
            .map(|e| format!("{}: {e}", e.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{name}:\n{}", errors.join("\n"));
    }
    let loaded = load_bytes("every-key", EVERY_KEY.as_bytes(), &LoadOptions::default());
    assert!(loaded.is_ok(), "{}", loaded.unwrap_err());
}

#[test]
fn what_is_wrong_in_shape_the_schema_refuses_too() {
    std::env::set_current_dir(env!("CARGO_MANIFEST_DIR")).unwrap();
    // The rest needs more than a schema: other files, values of variables, the grammar of patterns.
    const SHAPE: [&str; 14] = [
        "P006", "P008", "P009", "P010", "P012", "P101", "P102", "P104", "P105", "P106", "P108",
        "P109", "P110", "P111",
    ];
    let validator = jsonschema::draft7::new(&schema()).unwrap();
    let mut refused = 0;
    for (name, bytes) in yaml("tests/messages") {
        let options = LoadOptions {
            directory: Some(PathBuf::from("tests/messages")),
            ..LoadOptions::default()
        };
        let found = load_bytes(&name, &bytes, &options).err().unwrap();
        // Errors in this file, not in those that it includes. A plain `no` is a text for some readers.
        let here = found.items.iter().any(|d| {
            d.primary.as_ref().is_none_or(|l| l.span.file.0 == 0) && SHAPE.contains(&d.code)
        });
        let Ok(text) = std::str::from_utf8(&bytes) else {
            continue;
        };
        let Ok(value) = serde_saphyr::from_str::<serde_json::Value>(text) else {
            continue;
        };
        if here {
            assert!(!validator.is_valid(&value), "{name} passes the schema");
            refused += 1;
        }
    }
    assert!(refused >= 15, "{refused}");
}

#[test]
fn a_mutation_that_the_schema_refuses_the_parser_refuses() {
    let validator = jsonschema::draft7::new(&schema()).unwrap();
    let base = value(EVERY_KEY);
    let mut tried = 0;
    // Each key renamed, each scalar replaced: whoever of the two is stricter, the parser never takes what the schema refuses.
    let mut paths = Vec::new();
    collect(&base, &mut Vec::new(), &mut paths);
    for path in paths {
        for with in [
            serde_json::json!(true),
            serde_json::json!(7),
            serde_json::json!("x y"),
            serde_json::json!([]),
            serde_json::json!({"a": 1}),
            serde_json::json!(""),
            serde_json::json!(null),
        ] {
            let mut changed = base.clone();
            let mut at = &mut changed;
            for step in &path {
                at = match step {
                    Step::Key(k) => &mut at[k.as_str()],
                    Step::Index(i) => &mut at[*i],
                };
            }
            *at = with;
            tried += 1;
            if path.len() == 1
                && changed[match &path[0] {
                    Step::Key(k) => k.as_str(),
                    Step::Index(_) => "",
                }]
                .is_null()
            {
                assert!(
                    !validator.is_valid(&changed),
                    "the schema takes null: {changed}"
                );
            }
            if !validator.is_valid(&changed) {
                let text = serde_json::to_string(&changed).unwrap();
                let loaded = load_bytes("changed", text.as_bytes(), &LoadOptions::default());
                assert!(
                    loaded.is_err(),
                    "the parser takes what the schema refuses: {text}"
                );
            }
        }
    }
    assert!(tried > 200);
}

#[test]
fn a_base_is_named_by_a_text() {
    let validator = jsonschema::draft7::new(&schema()).unwrap();
    for (base, fine) in [
        ("builtin:read-only-explorer", true),
        ("builtin:nothing", false),
        ("builtin:credentials", false),
        ("[]", false),
        ("true", false),
        ("7", false),
        ("\"\"", false),
        ("", false),
    ] {
        let text = format!("version: 1\nname: ours\nextends: {base}\nrules: []\n");
        assert_eq!(validator.is_valid(&value(&text)), fine, "{text}");
        let loaded = load_bytes("ours", text.as_bytes(), &LoadOptions::default());
        assert_eq!(loaded.is_ok(), fine, "{text}");
    }
}

#[derive(Clone)]
enum Step {
    Key(String),
    Index(usize),
}

fn collect(v: &serde_json::Value, at: &mut Vec<Step>, out: &mut Vec<Vec<Step>>) {
    if !at.is_empty() {
        out.push(at.clone());
    }
    if let Some(map) = v.as_object() {
        for (k, v) in map {
            at.push(Step::Key(k.clone()));
            collect(v, at, out);
            at.pop();
        }
    } else if let Some(list) = v.as_array() {
        for (i, v) in list.iter().enumerate() {
            at.push(Step::Index(i));
            collect(v, at, out);
            at.pop();
        }
    }
}

#[test]
fn every_key_and_choice_is_described() {
    fn walk(v: &serde_json::Value, at: &str, bare: &mut Vec<String>) {
        if let Some(properties) = v.get("properties").and_then(|p| p.as_object()) {
            for (k, p) in properties {
                if p.get("description").is_none() {
                    bare.push(format!("{at}/{k}"));
                }
            }
        }
        match v {
            serde_json::Value::Object(m) => m
                .iter()
                .for_each(|(k, v)| walk(v, &format!("{at}/{k}"), bare)),
            serde_json::Value::Array(l) => l.iter().for_each(|v| walk(v, at, bare)),
            _ => {}
        }
    }
    let schema = schema();
    let mut bare = Vec::new();
    walk(&schema, "", &mut bare);
    assert!(bare.is_empty(), "{bare:?}");
    assert!(
        !schema.to_string().contains("unevaluated"),
        "draft 7 does not have it"
    );
}

/// Every key of the language.
const EVERY_KEY: &str = r#"
version: 1
name: every-key
description: every key of the language
default_action: allow
subject:
  executable: "~/bin/*"
  home: /home/agent
  workspace: ~/work
  tmp: "${workspace}/tmp"
  kubernetes: {namespace: agents, labels: {app.kubernetes.io/name: agent}}
rules:
  - include: builtin:credentials
  - name: paths
    action: allow
    operations: [read, list, edit, create, delete, metadata, write, execute, connect]
    paths: ["${workspace}/**", "~", "{/a,/b}/c"]
    except: ["${tmp}/x"]
    create_missing: [npm]
    message: so it is
    rate: 10/1m
    allow_lints: [{code: L001, reason: meant}]
  - name: hosts
    action: deny
    operations: [connect, bind]
    hosts: ["tcp://a.example:443", "*", "[::1]:80", "2001:db8::/32", "[2001:db8::/32]:80-90"]
    except: ["10.0.0.0/8:5"]
  - name: commands
    action: ask
    commands: ["git **"]
    except: ["git push *"]
    rate: 1/h
  - name: syscalls
    action: deny
    syscalls: ["@mount", ptrace]
    except: [umount2]
  - name: tools
    action: deny
    tools: ["Bash", "mcp__{a,b}"]
    except: ["Read"]
limits: {memory: 1.5GiB, cpus: 0.5, processes: 5, open_files: 6, cpu_time: 1h30m, wall_time: 2d, file_size: 1MiB}
environment: {pass: [PATH, "LC_*"], set: {HOME: "${home}", A: ""}}
capabilities: [CAP_CHOWN, net_raw, KILL]
allow_lints: [{code: L004, reason: meant}]
tests:
  - allow: read ${workspace}/a
  - deny: connect a.example:443
  - ask: run git status
  - deny: tool Bash
  - deny: syscall mount
"#;
