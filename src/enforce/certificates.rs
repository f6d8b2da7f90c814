//! Certificates that variables name, for example those of a company's own authority.
//!
//! A policy passes such a variable by its name. Then the program may also read what the variable names. The rule for
//! that comes after all others, so what the policy denies stays denied. It opens only certificates: not a file with a
//! private key in it, nor a file without a certificate.

use super::environment::passes;
use crate::fidelity::{Object, show_bytes};
use crate::policy::{
    Action, CreateMissing, Objects, Operation, OperationSet, PathPattern, Platforms, Policy, Rule,
    RuleId, Span,
};
use crate::semantics::decide;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The variables that tell programs where certificates are.
pub const VARIABLES: [&str; 14] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "CARGO_HTTP_CAINFO",
    "PIP_CERT",
    "AWS_CA_BUNDLE",
    "NIX_SSL_CERT_FILE",
    "DENO_CERT",
    "UV_SSL_CERT_FILE",
    "CODEX_CA_CERTIFICATE",
];

/// The name of the rule.
const RULE: &str = "certificates-by-variable";
/// A larger file is no bundle of certificates.
const FILE_SIZE: u64 = 16 * 1024 * 1024;
/// A directory with more entries is no directory of certificates.
const ENTRIES: usize = 2000;

/// Lets the program read the certificates that variables of this process name. The policy must pass the variable, and
/// must not deny the path. Returns a line for the user for each path that a variable names and that stays closed.
pub fn allow(
    policy: &mut Policy,
    own: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<String> {
    let mut allowed: Vec<PathPattern> = Vec::new();
    let mut closed: Vec<(&str, PathBuf)> = Vec::new();
    let mut text = String::new();
    // Many variables name the same file. Each file is read once.
    let mut seen: BTreeMap<PathBuf, bool> = BTreeMap::new();
    for (name, value) in own {
        let Some(name) = VARIABLES.into_iter().find(|v| OsStr::new(v) == name) else {
            continue;
        };
        if !passes(&policy.environment, OsStr::new(name)) {
            continue;
        }
        for path in std::env::split_paths(&value).filter(|p| p.is_absolute()) {
            // The policy's rules are about the target of a path.
            let open = path.canonicalize().is_ok_and(|target| {
                *seen.entry(target).or_insert_with_key(|target| {
                    let found = certificates(target);
                    let open = found.is_some();
                    allowed.extend(found.into_iter().flatten());
                    open
                })
            });
            if open {
                text.push_str(&format!("{name}={}\n", path.display()));
            } else {
                closed.push((name, path));
            }
        }
    }
    if !allowed.is_empty() {
        let file = policy.sources.add("the environment", text);
        policy.rules.push(Rule {
            id: RuleId(u32::try_from(policy.rules.len()).unwrap_or(u32::MAX)),
            name: RULE.to_owned(),
            action: Action::Allow,
            operations: OperationSet::from_iter([Operation::Read, Operation::List]),
            objects: Objects::Paths {
                paths: allowed,
                except: Vec::new(),
            },
            platforms: Platforms::ALL,
            message: None,
            create_missing: CreateMissing::No,
            except_new: false,
            rate: None,
            link: None,
            lint_allowed: Vec::new(),
            span: Span {
                file,
                line: 1,
                column: 1,
                ..Span::default()
            },
        });
    }
    // A path that a rule of the policy allows needs no further rule.
    closed.retain(|(_, path)| !reads(policy, path));
    let told = closed.iter().map(|(name, path)| {
        format!(
            "`{name}` names `{}`, which does not hold certificates alone: polc adds no rule to read it",
            show_bytes(path.as_os_str().as_bytes())
        )
    });
    told.collect()
}

fn reads(policy: &Policy, path: &Path) -> bool {
    let object = Object::Path(path.as_os_str().as_bytes().to_vec());
    decide(policy, Operation::Read, &object).action.permits()
}

/// The patterns for a file of certificates, or for a directory with nothing else in it. `None`: it is neither.
fn certificates(path: &Path) -> Option<Vec<PathPattern>> {
    let literal = |p: &Path| PathPattern::literal(p.as_os_str().as_bytes());
    if path.is_file() {
        return is_certificate(path).then(|| vec![literal(path)]);
    }
    let mut patterns = vec![literal(path)];
    for (count, entry) in std::fs::read_dir(path).ok()?.enumerate() {
        // An entry may be a link: to a neighbour by its hash, or to the system's certificates.
        let target = entry.ok()?.path().canonicalize().ok()?;
        if count >= ENTRIES || !target.is_file() || !is_certificate(&target) {
            return None;
        }
        if target.parent() == Some(path) {
            patterns.push(literal(&target));
        }
    }
    patterns.dedup_by_key(|p| p.to_string());
    Some(patterns)
}

/// Whether a regular file holds certificates in PEM, and no private key.
fn is_certificate(path: &Path) -> bool {
    let read = || -> Option<Vec<u8>> {
        let file = std::fs::File::open(path).ok()?;
        let size = file
            .metadata()
            .ok()
            .filter(std::fs::Metadata::is_file)?
            .len();
        let mut bytes = Vec::new();
        file.take(FILE_SIZE).read_to_end(&mut bytes).ok()?;
        (size <= FILE_SIZE).then_some(bytes)
    };
    let Some(bytes) = read() else { return false };
    let has = |word: &[u8]| bytes.windows(word.len()).any(|w| w == word);
    (has(b"-----BEGIN CERTIFICATE-----") || has(b"-----BEGIN TRUSTED CERTIFICATE-----"))
        && !has(b"PRIVATE KEY-----")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::{LoadOptions, load};

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n";

    const POLICY: &str = "version: 1\nname: x\nrules:\n  - name: closed\n    action: deny\n    operations: [read]\n    paths: ['FOLDER/denied.pem']\nenvironment: {pass: [PASS]}\n";

    fn policy(pass: &str, folder: &Path) -> Policy {
        let text = POLICY
            .replace("FOLDER", folder.to_str().unwrap())
            .replace("PASS", pass);
        load("x", &text, &LoadOptions::default()).unwrap().policy
    }

    #[test]
    fn certificates_become_readable_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let write = |name: &str, text: &str| {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path
        };
        let good = write("good.pem", CERTIFICATE);
        let denied = write("denied.pem", CERTIFICATE);
        let both = write("both.pem", &format!("{CERTIFICATE}{KEY}"));
        let token = write("token", "secret");
        let one = write("certs/one.pem", CERTIFICATE);
        let mixed = write("mixed/one.pem", CERTIFICATE);
        write("mixed/key.pem", KEY);
        let link = root.join("link.pem");
        std::os::unix::fs::symlink(&good, &link).unwrap();
        std::os::unix::fs::symlink("one.pem", root.join("certs/0a1b.0")).unwrap();

        let given = |name: &str, path: &Path| (OsString::from(name), path.as_os_str().to_owned());
        let opened = |name: &str, path: &Path| {
            let mut p = policy(name, &root);
            allow(&mut p, [given(name, path)]);
            p
        };
        assert!(reads(&opened("SSL_CERT_FILE", &link), &good));
        assert!(!reads(&opened("SSL_CERT_FILE", &good), &token));
        assert!(reads(&opened("SSL_CERT_DIR", &root.join("certs")), &one));
        for (name, path) in [
            ("SSL_CERT_FILE", &denied),
            ("PIP_CERT", &both),
            ("CURL_CA_BUNDLE", &token),
        ] {
            assert!(!reads(&opened(name, path), path), "{}", path.display());
        }
        assert!(!reads(&opened("SSL_CERT_DIR", &root.join("mixed")), &mixed));
        // The policy does not pass the first variable. The second has nothing to do with certificates.
        let mut p = policy("PATH", &root);
        allow(
            &mut p,
            [given("SSL_CERT_FILE", &good), given("PATH", &good)],
        );
        assert!(!reads(&p, &good));
        let mut p = policy("SSL_CERT_FILE", &root);
        let closed = allow(&mut p, [given("SSL_CERT_FILE", &token)]);
        let start = format!(
            "`SSL_CERT_FILE` names `{}`, which does not hold certificates alone",
            token.display()
        );
        assert!(
            matches!(closed.as_slice(), [one] if one.starts_with(&start)),
            "{closed:?}"
        );
        // If a rule allows reading it, there is nothing to say.
        let own = format!(
            "  - {{name: own, action: allow, operations: [read], paths: ['{}/**']}}\nenvironment:",
            root.display()
        );
        let text = POLICY
            .replace("environment:", &own)
            .replace("FOLDER", root.to_str().unwrap());
        let mut p = load(
            "x",
            &text.replace("PASS", "SSL_CERT_FILE"),
            &LoadOptions::default(),
        )
        .unwrap()
        .policy;
        assert!(allow(&mut p, [given("SSL_CERT_FILE", &root.join("token"))]).is_empty());
    }
}
