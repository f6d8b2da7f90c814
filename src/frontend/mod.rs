//! Front-ends: from a file to a [`Policy`].
//!
//! A front-end knows no back-ends. Each has a folder here. [`native`] reads the language of polc. [`avakill`] reads the
//! policy files of AvaKill, which have a `policies` key. [`load`] chooses the front-end. [`load_path`] and
//! [`load_builtin`] find the text first.

pub mod avakill;
pub mod builtin;
pub(crate) mod disk;
pub mod native;

pub use disk::{Disk, FileRead};
pub use native::question::question;

use crate::diagnostics::{Diagnostic, Diagnostics, codes};
use crate::policy::{FileId, GitPaths, Policy, Sources};
use native::node;
use native::reader::Report;
use std::path::{Path, PathBuf};

/// The meaning of `auto` in `subject`, as bytes. `None`: it cannot be found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoPaths {
    /// `subject.home: auto`.
    pub home: Option<Vec<u8>>,
    /// `subject.workspace: auto`.
    pub workspace: Option<Vec<u8>>,
    /// `subject.tmp: auto`.
    pub tmp: Option<Vec<u8>>,
}

impl Default for AutoPaths {
    /// The paths for `emit`, the same on every machine.
    fn default() -> Self {
        Self {
            home: Some(b"/home/agent".to_vec()),
            workspace: Some(b"/workspace".to_vec()),
            tmp: Some(b"/tmp".to_vec()),
        }
    }
}

impl AutoPaths {
    /// The value for a variable's name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        match name {
            "home" => self.home.as_deref(),
            "workspace" => self.workspace.as_deref(),
            "tmp" => self.tmp.as_deref(),
            _ => None,
        }
    }
}

/// Finds the directories of a workspace's repository: the values of `${git_dir}` and similar variables, for a workspace
/// and a home directory.
#[derive(Debug, Clone, Copy)]
pub struct FindGit(pub fn(&[u8], Option<&[u8]>) -> GitPaths);

impl Default for FindGit {
    /// A plain repository, the same on every machine.
    fn default() -> Self {
        Self(|workspace, _| GitPaths::plain(workspace))
    }
}

/// How to load a policy. The default is right for `emit`.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The meaning of `auto`.
    pub auto: AutoPaths,
    /// The meaning of `${git_dir}` and similar variables.
    pub git: FindGit,
    /// `--set NAME=PATH`, which is stronger than the policy.
    pub set: Vec<(String, Vec<u8>)>,
    /// The directory of relative includes. Otherwise it is the directory of the policy's file.
    pub directory: Option<PathBuf>,
    /// Whether a policy without `subject` gets `auto` for all three paths. For rule sets that are loaded by themselves.
    pub auto_without_subject: bool,
    /// The place of its files.
    pub disk: Disk,
}

/// A policy, and its warnings.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The policy.
    pub policy: Policy,
    /// The warnings. There are no errors among them.
    pub warnings: Diagnostics,
    /// It is written in polc's own language, not another tool's.
    pub native: bool,
    /// The files that it was read from, its own first, and then the others in the order of reading. A text from the
    /// caller and built-in files are not among them.
    pub files: Vec<FileRead>,
}

/// Loads a policy from its text. `source_name` is for messages, and for the directory of relative includes.
///
/// # Errors
/// All errors in the file and in the files that it includes.
pub fn load(source_name: &str, text: &str, options: &LoadOptions) -> Result<Loaded, Diagnostics> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut report = Report::default();
    // A file that is too large is not kept for messages either.
    let kept = if text.len() > node::MAX_BYTES {
        ""
    } else {
        text
    };
    let file: FileId = report.sources.add(source_name, kept);
    let root = match node::parse(file, text) {
        Ok(root) => root,
        Err(d) => {
            report.push(*d);
            return Err(report.finish());
        }
    };
    if avakill::recognises(&root) {
        return avakill::load(&root, file, options, report);
    }
    let policy = native::policy(&root, file, options, &mut report);
    let files = std::mem::take(&mut report.files);
    let mut found = report.finish();
    match policy {
        Some(mut policy) if !found.has_errors() => {
            policy.sources = found.sources.clone();
            Ok(Loaded {
                policy,
                warnings: found,
                native: true,
                files,
            })
        }
        _ => {
            if !found.has_errors() {
                found.items.push(Diagnostic::error(
                    codes::WRONG_TYPE,
                    "the file is not a policy",
                ));
            }
            Err(found)
        }
    }
}

/// Loads a policy from bytes, which must be UTF-8.
///
/// # Errors
/// As [`load`].
pub fn load_bytes(
    source_name: &str,
    bytes: &[u8],
    options: &LoadOptions,
) -> Result<Loaded, Diagnostics> {
    match std::str::from_utf8(bytes) {
        Ok(text) => load(source_name, text, options),
        Err(e) => {
            let valid = std::str::from_utf8(&bytes[..e.valid_up_to()]).unwrap_or_default();
            let mut sources = Sources::default();
            let shown = if bytes.len() > node::MAX_BYTES {
                String::new()
            } else {
                String::from_utf8_lossy(bytes).into_owned()
            };
            let file = sources.add(source_name, shown);
            // The replacement character in the message is three bytes long.
            let span = node::place_of(
                file,
                sources.get(file).map_or("", |f| &f.text),
                valid.len(),
                valid.len() + 1,
            );
            let mut d = Diagnostic::error(
                codes::NOT_UTF8,
                format!("byte {} of the file is not UTF-8", e.valid_up_to()),
            )
            .at(span, "not UTF-8");
            d = if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
                d.help("this looks like UTF-16: save it as UTF-8")
            } else {
                d.help("save it as UTF-8; a file name that is not UTF-8 is written with `\\xNN`")
            };
            Err(Diagnostics {
                items: vec![d],
                sources,
            })
        }
    }
}

/// Loads a policy from a file, or a built-in one by `builtin:NAME`.
///
/// # Errors
/// As [`load`], or the file cannot be read.
pub fn load_path(path: &Path, options: &LoadOptions) -> Result<Loaded, Diagnostics> {
    if let Some(name) = path.to_str().and_then(|p| p.strip_prefix("builtin:")) {
        return load_builtin(name, options);
    }
    let shown = path.to_string_lossy();
    let read = options
        .disk
        .resolve(path)
        .map_err(|e| disk::reason(&e))
        .and_then(|real| options.disk.read(path, &real));
    match read {
        Ok(file) => {
            let mut loaded = load_bytes(&shown, &file.bytes, options)?;
            loaded.files.insert(0, file);
            Ok(loaded)
        }
        Err(why) => Err(Diagnostic::error(
            codes::INCLUDE_UNREADABLE,
            format!("cannot read `{shown}`: {why}"),
        )
        .into()),
    }
}

/// Loads a built-in policy, or a built-in rule set as a policy of its own.
///
/// # Errors
/// As [`load`], or there is none of this name.
pub fn load_builtin(name: &str, options: &LoadOptions) -> Result<Loaded, Diagnostics> {
    if let Some(text) = builtin::policy(name) {
        return load(&format!("builtin:{name}"), text, options);
    }
    if let Some(text) = builtin::rule_set(name) {
        let options = LoadOptions {
            auto_without_subject: true,
            ..options.clone()
        };
        return load(&format!("builtin:{name}"), text, &options);
    }
    let names: Vec<&str> = builtin::policies().iter().map(|b| b.name).collect();
    let mut d = Diagnostic::error(
        codes::UNKNOWN_INCLUDE,
        format!("there is no built-in policy `{name}`"),
    );
    d = match builtin::near(name, &names) {
        Some(near) => d.help(format!("did you mean `builtin:{near}`?")),
        None => d.help(format!("there are {}", native::reader::one_of(&names))),
    };
    Err(d.into())
}
