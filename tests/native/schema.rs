//! The schemas that others publish: Tetragon's custom resource, OCI's configuration, landlockconfig.
//!
//! The schemas are not part of this repository; they are read from `shared/data` beside the clone,
//! and where that is not there, nothing is checked. A schema that lets unknown fields pass is closed
//! first: a field that the consumer would silently drop is a rule that is silently lost.

use jsonschema::Validator;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// The folder with the schemas.
fn data() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = ["../shared/data", "../../shared/data"].map(|p| here.join(p));
    let found = found.into_iter().find(|p| p.is_dir());
    if found.is_none() {
        eprintln!("skipped: no schemas beside the clone (../shared/data)");
    }
    found
}

fn load(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap())
        .unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// Forbids every field that an object of the schema does not list.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.values_mut().for_each(close);
            let object = map.get("type").is_some_and(|t| t == "object");
            let lists = map.get("properties").is_some_and(Value::is_object);
            let open = map.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
            if object && lists && !open {
                map.entry("additionalProperties")
                    .or_insert(Value::Bool(false));
            }
        }
        Value::Array(all) => all.iter_mut().for_each(close),
        _ => {}
    }
}

fn validator(mut schema: Value) -> Validator {
    close(&mut schema);
    jsonschema::validator_for(&schema).unwrap()
}

fn check(validator: &Validator, value: &Value) -> Result<(), String> {
    let errors: Vec<String> = validator
        .iter_errors(value)
        .map(|e| {
            format!("{}: {e}", e.instance_path())
                .chars()
                .take(400)
                .collect()
        })
        .collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors.join("\n"))
    }
}

/// The schemas, ready.
pub struct Schemas {
    policy: Validator,
    namespaced: Validator,
    seccomp: Validator,
    landlock: Validator,
}

/// The schemas, or `None` after a line that says they are not there.
pub fn schemas() -> Option<Schemas> {
    let data = data()?;
    let tetragon = |file: &str| {
        let mut schema = load(&data.join(file));
        // An object of the API has these four fields; the published schema says nothing of the name.
        schema["required"] = json!(["apiVersion", "kind", "metadata", "spec"]);
        schema["properties"]["metadata"] = json!({
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string", "maxLength": 253,
                    "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"},
                "namespace": {"type": "string", "maxLength": 63,
                    "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        });
        validator(schema)
    };
    // OCI's schema is split over files that point at each other; their definitions fit in one.
    let mut definitions = Map::new();
    for file in ["oci-defs.json", "oci-defs-linux.json"] {
        let text = load(&data.join(file)).to_string();
        let text = text
            .replace("defs.json#/", "#/")
            .replace("defs-linux.json#/", "#/");
        let mut all: Value = serde_json::from_str(&text).unwrap();
        definitions.append(all["definitions"].as_object_mut().unwrap());
    }
    let linux = load(&data.join("oci-config-linux.json"));
    let seccomp = linux
        .pointer("/linux/properties/seccomp")
        .unwrap()
        .to_string();
    let seccomp = seccomp
        .replace("defs.json#/", "#/")
        .replace("defs-linux.json#/", "#/");
    let mut seccomp: Value = serde_json::from_str(&seccomp).unwrap();
    seccomp["definitions"] = Value::Object(definitions);
    Some(Schemas {
        policy: tetragon("tracingpolicy-cilium.io.json"),
        namespaced: tetragon("tracingpolicynamespaced-cilium.io.json"),
        seccomp: validator(seccomp),
        landlock: validator(load(&data.join("landlockconfig.schema.json"))),
    })
}

impl Schemas {
    /// Every object of a Tetragon artifact, by its own kind's schema.
    pub fn tetragon(&self, yaml: &str) -> Result<(), String> {
        let objects: Vec<Value> =
            serde_saphyr::from_multiple(yaml).map_err(|e| format!("no YAML: {e}"))?;
        if objects.is_empty() {
            return Err("no object".into());
        }
        let mut names = std::collections::BTreeSet::new();
        for object in &objects {
            if object["apiVersion"] != "cilium.io/v1alpha1" {
                return Err(format!("apiVersion {}", object["apiVersion"]));
            }
            let validator = match object["kind"].as_str() {
                Some("TracingPolicy") => &self.policy,
                Some("TracingPolicyNamespaced") => &self.namespaced,
                other => return Err(format!("kind {other:?}")),
            };
            let name = &object["metadata"]["name"];
            check(validator, object).map_err(|e| format!("{name}: {e}"))?;
            if !names.insert((object["kind"].to_string(), name.to_string())) {
                return Err(format!(
                    "two objects are named {name}: the second replaces the first"
                ));
            }
            // The agent refuses an object with hooks of two sections, which the schema lets pass.
            let hooks = ["kprobes", "lsmhooks", "tracepoints", "uprobes"];
            let sections = hooks
                .iter()
                .filter(|h| object["spec"].get(**h).is_some())
                .count();
            if sections > 1 {
                return Err(format!("{name}: hooks of {sections} sections"));
            }
        }
        Ok(())
    }

    /// An OCI seccomp profile.
    pub fn seccomp(&self, profile: &Value) -> Result<(), String> {
        check(&self.seccomp, profile)
    }

    /// A landlockconfig file.
    pub fn landlock(&self, config: &Value) -> Result<(), String> {
        check(&self.landlock, config)
    }
}

#[test]
fn schemas_take_the_right_and_refuse_the_wrong() {
    let Some(schemas) = schemas() else { return };
    let hook = "  lsmhooks:\n  - hook: file_open\n    args: [{index: 0, type: file}]\n";
    let policy = |spec: &str| {
        format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: a}}\nspec:\n{spec}"
        )
    };
    schemas.tetragon(&policy(hook)).unwrap();
    for (what, wrong) in [
        (
            "an unknown field",
            policy("  lsmhooks:\n  - hook: file_open\n    argz: []\n"),
        ),
        (
            "an unknown type",
            policy("  lsmhooks:\n  - hook: f\n    args: [{index: 0, type: fyle}]\n"),
        ),
        ("no name", policy(hook).replace("{name: a}", "{}")),
        ("a duplicate key", policy(&format!("{hook}{hook}"))),
        (
            "two of a name",
            format!("{}---\n{}", policy(hook), policy(hook)),
        ),
        (
            "two sections",
            policy(&format!("{hook}  kprobes:\n  - call: sys_read\n")),
        ),
        (
            "another kind",
            policy(hook).replace("TracingPolicy", "Policy"),
        ),
        (
            "a number as value",
            policy(
                "  lsmhooks:\n  - hook: f\n    selectors:\n    - matchArgs: [{index: 0, operator: Equal, values: [1]}]\n",
            ),
        ),
        ("nothing", String::new()),
    ] {
        assert!(schemas.tetragon(&wrong).is_err(), "{what} is accepted");
    }

    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}],
    });
    schemas.seccomp(&profile).unwrap();
    let edit = |pointer: &str, value: Value| {
        let mut other = profile.clone();
        match other.pointer_mut(pointer) {
            Some(place) => *place = value,
            None => other[pointer.trim_start_matches('/')] = value,
        }
        other
    };
    assert!(schemas.seccomp(&edit("/archMap", json!([]))).is_err());
    assert!(
        schemas
            .seccomp(&edit("/syscalls/0/action", json!("SCMP_ACT_NO")))
            .is_err()
    );
    assert!(
        schemas
            .seccomp(&edit("/syscalls/0/args/0/op", json!("EQ")))
            .is_err()
    );

    let rules = json!({"abi": 6, "ruleset": [{"handledAccessFs": ["read_file"]}]});
    schemas.landlock(&rules).unwrap();
    let wrong = json!({"abi": 6, "ruleset": [{"handledAccessFs": ["reed_file"]}]});
    assert!(schemas.landlock(&wrong).is_err());
    assert!(
        schemas
            .landlock(&json!({"abi": 6, "ruleset": rules["ruleset"], "x": 1}))
            .is_err()
    );
}
