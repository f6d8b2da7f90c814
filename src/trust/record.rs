//! The stored record of a trusted policy.

use crate::frontend::FileRead;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The version of the format.
const VERSION: u64 = 1;

/// A policy that the user trusts, with the bytes of all its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The name that it is found by: absolute, with its directory resolved. The file itself may be a link.
    pub name: PathBuf,
    /// When the user trusted it, in seconds since 1970.
    pub since: u64,
    /// The policy's own file first, and then the files that it includes or extends, in the order of reading.
    pub files: Vec<FileRead>,
}

/// What the user has decided about a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is trusted, with exactly these bytes, since then.
    Trusted(u64),
    /// It was trusted with other bytes, or when it led to other files.
    Changed(Box<Record>),
    /// Nothing is stored.
    Unknown,
}

impl Record {
    /// Whether it is about these files with these bytes.
    #[must_use]
    pub fn is_of(&self, files: &[FileRead]) -> bool {
        self.files == files
    }

    /// The digest of the policy's own file, in hexadecimal, as `sha256sum` prints it.
    #[must_use]
    pub fn digest(&self) -> String {
        self.files
            .first()
            .map_or_else(String::new, |f| sha256(&f.bytes))
    }

    /// The file that the name led to.
    #[must_use]
    pub fn resolved(&self) -> &Path {
        self.files.first().map_or(&self.name, |f| &f.path)
    }

    /// The stored form.
    pub(super) fn to_json(&self) -> Value {
        let files: Vec<Value> = self
            .files
            .iter()
            .map(|f| {
                json!({
                    "named": path_to_json(&f.named),
                    "path": path_to_json(&f.path),
                    "sha256": sha256(&f.bytes),
                    "text": String::from_utf8_lossy(&f.bytes),
                })
            })
            .collect();
        json!({
            "version": VERSION,
            "name": path_to_json(&self.name),
            "since": self.since,
            "files": files,
        })
    }

    /// Parses the stored form.
    ///
    /// # Errors
    /// The error, on one line.
    pub(super) fn from_json(value: &Value) -> Result<Self, String> {
        if value.get("version").and_then(Value::as_u64) != Some(VERSION) {
            return Err("it was written by another version of polc".to_owned());
        }
        let files = value.get("files").and_then(Value::as_array);
        let record = Self {
            name: path_from_json(value.get("name"))?,
            since: value
                .get("since")
                .and_then(Value::as_u64)
                .ok_or("`since` is missing")?,
            files: files
                .ok_or("`files` is missing")?
                .iter()
                .map(file_from_json)
                .collect::<Result<_, _>>()?,
        };
        if record.files.is_empty() {
            return Err("it names no file".to_owned());
        }
        Ok(record)
    }
}

fn file_from_json(value: &Value) -> Result<FileRead, String> {
    let text = value.get("text").and_then(Value::as_str);
    let text = text.ok_or("a file has no `text`")?;
    if value.get("sha256").and_then(Value::as_str) != Some(&sha256(text.as_bytes())) {
        return Err("a digest does not match its text".to_owned());
    }
    Ok(FileRead {
        named: path_from_json(value.get("named"))?,
        path: path_from_json(value.get("path"))?,
        bytes: text.as_bytes().into(),
    })
}

/// A path as a string. If it is not UTF-8, as a list of bytes.
fn path_to_json(path: &Path) -> Value {
    match path.to_str() {
        Some(text) => Value::from(text),
        None => Value::from(path.as_os_str().as_bytes()),
    }
}

fn path_from_json(value: Option<&Value>) -> Result<PathBuf, String> {
    let bytes = match value {
        Some(Value::String(text)) => Some(text.clone().into_bytes()),
        Some(Value::Array(bytes)) => bytes
            .iter()
            .map(|b| b.as_u64().and_then(|b| u8::try_from(b).ok()))
            .collect(),
        _ => None,
    };
    let path = bytes.map(|b| PathBuf::from(OsString::from_vec(b)));
    path.filter(|p| p.is_absolute())
        .ok_or_else(|| "a path in it is not valid".to_owned())
}

/// The SHA-256 digest in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut out, b| {
            let _ = write!(out, "{b:02x}");
            out
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let odd = PathBuf::from(OsString::from_vec(b"/w/\xff\n\x1b/polc.yaml".to_vec()));
        Record {
            name: odd.clone(),
            since: 7,
            files: vec![FileRead {
                named: odd,
                path: "/elsewhere/p.yaml".into(),
                bytes: "\u{feff}version: 1\n".as_bytes().into(),
            }],
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was_kept() {
        let text = record().to_json().to_string();
        let back = Record::from_json(&serde_json::from_str(&text).unwrap());
        assert_eq!(back, Ok(record()));
    }

    #[test]
    fn a_record_that_somebody_edited_is_refused() {
        let text = record().to_json().to_string();
        for (old, new) in [
            ("version: 1", "version: 2"),
            ("\"version\":1", "\"version\":2"),
            ("\"since\":7,", ""),
            ("/elsewhere", "elsewhere"),
            ("\"named\"", "\"nothing\""),
            ("\"files\":[{", "\"files\":[],\"x\":[{"),
        ] {
            let edited = text.replacen(old, new, 1);
            assert_ne!(edited, text, "{old}");
            let back = Record::from_json(&serde_json::from_str(&edited).unwrap());
            assert!(back.is_err(), "{old}: {back:?}");
        }
    }

    #[test]
    fn the_digest_is_the_one_that_sha256sum_prints() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(b""), empty);
    }
}
