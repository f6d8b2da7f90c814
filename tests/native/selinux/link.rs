//! SELinux: the module is built, linked with Debian's reference policy, and the linked policy asked.
//!
//! The link is secilc's over the modules of the installed policy store: as strict as `semodule` with
//! `expand-check=1` (assertions are checked), in a third of its time, and outside of the system.

use crate::tool;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's installed policy.
const STORE: &str = "/var/lib/selinux/default/active";

/// Which trees are labelled as others: `/lib` is `/usr/lib`.
const ALIASES: &str = "/etc/selinux/default/contexts/files/file_contexts.subs_dist";

/// The tools, all there.
pub struct Tools {
    checkmodule: PathBuf,
    package: PathBuf,
    to_cil: PathBuf,
    secilc: PathBuf,
    matchpathcon: PathBuf,
    python: PathBuf,
    /// The installed policy, made ready to link against.
    base: PathBuf,
}

/// The tools and the policy to link against, or `None` after a line that says what is missing.
pub fn tools() -> Option<Tools> {
    let [checkmodule, package, secilc, matchpathcon, bzcat] = [
        "checkmodule",
        "semodule_package",
        "secilc",
        "matchpathcon",
        "bzcat",
    ]
    .map(tool::skip_or_fail);
    tool::skip_or_fail("sesearch")?; // comes with the library that ask.py uses
    let to_cil = PathBuf::from("/usr/libexec/selinux/hll/pp");
    let python = PathBuf::from("/usr/bin/python3"); // Debian's: another has no setools
    for needed in [&to_cil, &python, &PathBuf::from(STORE)] {
        if !needed.exists() {
            tool::skip(&format!("{} is not there", needed.display()));
            return None;
        }
    }
    Some(Tools {
        checkmodule: checkmodule?,
        package: package?,
        to_cil,
        secilc: secilc?,
        matchpathcon: matchpathcon?,
        python,
        base: base(&bzcat?),
    })
}

/// The installed policy as one CIL file, and its file contexts apart; made once.
fn base(bzcat: &Path) -> PathBuf {
    let store = Path::new(STORE);
    let stamp = std::fs::metadata(store.join("policy.kern")).and_then(|m| m.modified());
    let stamp = stamp.map_or(0, |t| {
        t.duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| d.as_secs())
    });
    tool::once(&format!("selinux-base-2-{stamp}"), |dir| {
        let mut modules: Vec<(String, PathBuf)> = Vec::new();
        for priority in std::fs::read_dir(store.join("modules")).unwrap() {
            let priority = priority.unwrap();
            if priority.file_name() == "disabled" {
                continue;
            }
            for module in std::fs::read_dir(priority.path()).unwrap() {
                let module = module.unwrap();
                let name = module.file_name().into_string().unwrap();
                // Debian's spamassassin module has duplicate file contexts that break a link.
                if name != "spamassassin" && !store.join("modules/disabled").join(&name).exists() {
                    modules.push((name, module.path().join("cil")));
                }
            }
        }
        modules.sort();
        let mut all = String::new();
        for (name, file) in modules {
            let packed = std::fs::read(&file).unwrap();
            let plain = if packed.starts_with(b"BZh") {
                let said = tool::run(bzcat, [&file]);
                assert!(said.ok(), "{name}: {}", said.words());
                said.stdout
            } else {
                packed
            };
            all.push_str(&String::from_utf8(plain).unwrap());
            all.push('\n');
        }
        let contexts: String = all
            .lines()
            .filter(|l| is_context(l))
            .flat_map(|l| [l, "\n"])
            .collect();
        std::fs::write(dir.join("filecon.cil"), contexts).unwrap();
        std::fs::write(dir.join("base.cil"), all).unwrap();
        std::fs::copy(store.join("file_contexts.homedirs"), dir.join("homedirs")).unwrap();
        std::fs::copy(ALIASES, dir.join("subs_dist")).unwrap();
    })
}

/// The one path that a file context's pattern matches; `None`: it has wildcards.
fn literal(pattern: &str) -> Option<Vec<u8>> {
    let mut path = Vec::new();
    let mut bytes = pattern.bytes();
    while let Some(b) = bytes.next() {
        match b {
            b'\\' => path.push(bytes.next()?),
            b if b".*+?[](){}|^$".contains(&b) => return None,
            b => path.push(b),
        }
    }
    Some(path)
}

fn is_context(line: &str) -> bool {
    line.trim_start().starts_with("(filecon ")
}

/// A module that checkmodule and semodule_package accepted.
#[derive(Debug)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// Its rules in CIL, without file contexts.
    rules: String,
    /// Its file contexts in CIL.
    contexts: String,
}

impl Module {
    /// The types that the module declares.
    pub fn types(&self) -> Vec<&str> {
        let heads = self.rules.lines().filter_map(|l| l.strip_prefix("(type "));
        heads.filter_map(|l| l.strip_suffix(')')).collect()
    }

    /// Its domains: the types that it lets a program enter by an entry point.
    pub fn domains(&self) -> Vec<&str> {
        let enters = |t: &&str| {
            let head = format!("(allow {t} ");
            let mut rules = self.rules.lines().filter(|l| l.starts_with(&head));
            rules.any(|l| l.contains("entrypoint"))
        };
        self.types().into_iter().filter(enters).collect()
    }
}

/// The permissions of a domain: class, permission, target types.
#[derive(Debug, Default)]
pub struct Allowed(BTreeMap<String, BTreeMap<String, BTreeSet<String>>>);

impl Allowed {
    /// Whether the domain has this permission on this type, by whatever rule.
    pub fn allows(&self, target: &str, class: &str, permission: &str) -> bool {
        let targets = self.0.get(class).and_then(|perms| perms.get(permission));
        targets.is_some_and(|types| types.contains(target))
    }

    /// Everything on this type, as `class permission`.
    pub fn on(&self, target: &str) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for (class, perms) in &self.0 {
            for (perm, types) in perms {
                if types.contains(target) {
                    all.insert(format!("{class} {perm}"));
                }
            }
        }
        all
    }
}

impl Tools {
    /// Builds a module and its package; the module's name is the file's, as checkmodule wants it.
    pub fn build(&self, te: &Path, fc: &Path) -> Result<Module, String> {
        let dir = tool::folder("module");
        let name = te
            .file_stem()
            .and_then(|s| s.to_str())
            .ok_or("a name")?
            .to_owned();
        let [object, package] = ["mod", "pp"].map(|end| dir.path().join(format!("{name}.{end}")));
        let done = |said: tool::Said, what: &str| match said.ok() {
            true => Ok(said),
            false => Err(format!("{what} {}: {}", te.display(), said.words())),
        };
        let mut command = Command::new(&self.checkmodule);
        command.args(["-M", "-m", "-o"]).arg(&object).arg(te);
        done(
            tool::run_with(&mut command, b"", tool::PATIENCE),
            "checkmodule",
        )?;
        let mut command = Command::new(&self.package);
        command
            .arg("-o")
            .arg(&package)
            .arg("-m")
            .arg(&object)
            .arg("-f")
            .arg(fc);
        done(
            tool::run_with(&mut command, b"", tool::PATIENCE),
            "semodule_package",
        )?;
        let cil = done(tool::run(&self.to_cil, [&package]), "hll/pp")?.stdout;
        let cil = String::from_utf8(cil).map_err(|e| e.to_string())?;
        let mut module = Module {
            name,
            rules: String::new(),
            contexts: String::new(),
        };
        for line in cil.lines() {
            let part = if is_context(line) {
                &mut module.contexts
            } else {
                &mut module.rules
            };
            part.push_str(line);
            part.push('\n');
        }
        let written = std::fs::read_to_string(fc).map_err(|e| e.to_string())?;
        let written = written
            .lines()
            .filter(|l| !l.trim().is_empty() && !l.starts_with('#'));
        let (kept, written) = (module.contexts.lines().count(), written.count());
        if kept != written {
            return Err(format!(
                "{}: {written} lines became {kept} file contexts",
                fc.display()
            ));
        }
        Ok(module)
    }

    /// Links modules with Debian's policy, assertions checked; the binary policy in `dir`.
    pub fn link(&self, modules: &[&Module], dir: &Path) -> Result<PathBuf, String> {
        self.link_with(modules, "", dir)
    }

    /// As [`Tools::link`], with rules in CIL of one's own.
    pub fn link_with(&self, modules: &[&Module], own: &str, dir: &Path) -> Result<PathBuf, String> {
        let mut rules: String = modules.iter().map(|m| m.rules.as_str()).collect();
        rules.push_str(own);
        let file = dir.join("modules.cil");
        std::fs::write(&file, rules).map_err(|e| e.to_string())?;
        let policy = dir.join("policy.33");
        self.secilc(
            &policy,
            &dir.join("contexts"),
            &[&self.base.join("base.cil"), &file],
        )?;
        Ok(policy)
    }

    fn secilc(&self, policy: &Path, contexts: &Path, parts: &[&Path]) -> Result<(), String> {
        let mut command = Command::new(&self.secilc);
        // `-m` as semodule does it: Debian 13's own modules declare a role twice.
        command
            .args(["-m", "-M", "true", "-c", "33", "-o"])
            .arg(policy)
            .arg("-f")
            .arg(contexts);
        let said = tool::run_with(command.args(parts), b"", tool::PATIENCE);
        if said.ok() {
            Ok(())
        } else {
            Err(format!("secilc: {}", said.words()))
        }
    }

    /// What each of these domains may do in a linked policy.
    pub fn ask(
        &self,
        policy: &Path,
        domains: &[&str],
    ) -> Result<BTreeMap<String, Allowed>, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/native/selinux/ask.py");
        let mut command = Command::new(&self.python);
        command.arg("-I").arg(script).arg(policy).args(domains);
        let said = tool::run_with(&mut command, b"", tool::PATIENCE);
        if !said.ok() {
            return Err(said.words());
        }
        let answer: BTreeMap<String, _> =
            serde_json::from_slice(&said.stdout).map_err(|e| e.to_string())?;
        Ok(answer
            .into_iter()
            .map(|(domain, all)| (domain, Allowed(all)))
            .collect())
    }

    /// The file contexts of Debian's policy and these modules in the order of a real system's file,
    /// in `dir`; an error where two entries give one pattern different labels, as semodule says it.
    pub fn contexts(&self, modules: &[&Module], dir: &Path) -> Result<PathBuf, String> {
        let mut entries =
            std::fs::read_to_string(self.base.join("filecon.cil")).map_err(|e| e.to_string())?;
        for module in modules {
            if module.contexts.contains("HOME_") {
                return Err(format!(
                    "{}: home directory templates: not read here",
                    module.name
                ));
            }
            entries.push_str(&module.contexts);
        }
        let mut seen = BTreeMap::new();
        let mut types = BTreeSet::new();
        for line in entries.lines() {
            // (filecon "PATTERN" KIND (USER ROLE TYPE ((LEVEL) (LEVEL)))); `()` is no label at all.
            let parsed = line
                .trim()
                .strip_prefix("(filecon \"")
                .and_then(|l| l.rsplit_once("\" "));
            let (pattern, rest) = parsed.ok_or_else(|| format!("not understood: {line}"))?;
            let (kind, label) = rest.split_once(' ').unwrap_or_default();
            if let Some(name) = label.split_whitespace().nth(2) {
                types.insert(name.to_owned());
            }
            if let Some(other) = seen.insert((pattern, kind), label)
                && other != label
            {
                return Err(format!("`{pattern}` is both {other} and {label}"));
            }
        }
        // A policy of nothing but these types: the compiler sorts the contexts, checks their syntax
        // and that nothing but contexts is there, in a fiftieth of the time of a whole link.
        let mut small = String::from(
            "(handleunknown allow)(mls true)(class file (read))(classorder (file))
             (sensitivity s0)(sensitivityorder (s0))(category c0)(categoryorder (c0))
             (sensitivitycategory s0 (c0))(role object_r)(user system_u)(userrole system_u object_r)
             (userlevel system_u (s0))(userrange system_u ((s0)(s0)))(sid kernel)(sidorder (kernel))
             (type polc_k)(roletype object_r polc_k)(allow polc_k self (file (read)))
             (sidcontext kernel (system_u object_r polc_k ((s0)(s0))))\n",
        );
        for name in types {
            writeln!(small, "(type {name})(roletype object_r {name})")
                .map_err(|e| e.to_string())?;
        }
        small.push_str(&entries);
        let file = dir.join("contexts.cil");
        std::fs::write(&file, small).map_err(|e| e.to_string())?;
        let contexts = dir.join("file_contexts");
        self.secilc(&dir.join("small.33"), &contexts, &[&file])?;
        std::fs::copy(
            self.base.join("homedirs"),
            dir.join("file_contexts.homedirs"),
        )
        .map_err(|e| e.to_string())?;
        std::fs::copy(
            self.base.join("subs_dist"),
            dir.join("file_contexts.subs_dist"),
        )
        .map_err(|e| e.to_string())?;
        Ok(contexts)
    }

    /// The paths that the installed policy has entries for without wildcards, and none of them is for files: there is
    /// no file to ask about at `/etc`, or at `/run`, which is a directory or a link.
    pub fn never_files(&self) -> Result<BTreeSet<Vec<u8>>, String> {
        let entries =
            std::fs::read_to_string(self.base.join("filecon.cil")).map_err(|e| e.to_string())?;
        let mut kinds: BTreeMap<Vec<u8>, bool> = BTreeMap::new();
        for line in entries.lines() {
            let mut parts = line.trim().split('"');
            let (Some(_), Some(pattern), Some(rest)) = (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            let tree = pattern.strip_suffix("(/.*)?");
            let Some(path) = literal(tree.unwrap_or(pattern)) else {
                continue;
            };
            let kind = rest.split_whitespace().next().unwrap_or_default();
            let no_file = tree.is_none() && matches!(kind, "dir" | "symlink");
            *kinds.entry(path).or_insert(true) &= no_file;
        }
        Ok(kinds.into_iter().filter(|k| k.1).map(|k| k.0).collect())
    }

    /// The type that each path gets as a `kind` (`file`, `dir`, `lnk_file`, …) by these contexts.
    pub fn labels(
        &self,
        contexts: &Path,
        kind: &str,
        paths: &[&[u8]],
    ) -> Result<Vec<String>, String> {
        use std::os::unix::ffi::OsStrExt;
        let mut all = Vec::new();
        // Not more at once than the kernel takes as arguments.
        for some in paths.chunks(1000) {
            let mut command = Command::new(&self.matchpathcon);
            command
                .args(["-n", "-m", kind, "-f"])
                .arg(contexts)
                .arg("--");
            command.args(some.iter().map(|p| std::ffi::OsStr::from_bytes(p)));
            let said = tool::run_with(&mut command, b"", tool::PATIENCE);
            let text = String::from_utf8_lossy(&said.stdout);
            let types: Vec<String> = text
                .lines()
                .map(|l| l.split(':').nth(2).unwrap_or(l).to_owned())
                .collect();
            if !said.ok() || types.len() != some.len() {
                return Err(format!("matchpathcon: {}", said.words()));
            }
            all.extend(types);
        }
        Ok(all)
    }
}
