//! The records on disk.

use super::directory::{check, is_missing, make, own_record};
use super::record::sha256;
use super::{Error, Record, Standing};
use crate::frontend::FileRead;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The largest record, in bytes.
const MAX_RECORD: u64 = 256 * 1024 * 1024;

/// The records of one user.
#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
}

/// An entry of the store.
pub type Listed = Result<Record, Error>;

impl Store {
    /// The store in a state directory, which is made if it does not exist.
    ///
    /// # Errors
    /// It cannot be made, or others could change it.
    pub fn make(state: &Path) -> Result<Self, Error> {
        let store = Self::at(state);
        make(&store.directory)?;
        check(state)?;
        check(&store.directory)?;
        Ok(store)
    }

    /// The store in a state directory, if it exists.
    ///
    /// # Errors
    /// Others could change it.
    pub fn open(state: &Path) -> Result<Option<Self>, Error> {
        let store = Self::at(state);
        match std::fs::metadata(&store.directory) {
            Err(e) if is_missing(&e) => return Ok(None),
            Err(e) => return Err(Error::System("look at", store.directory, e)),
            Ok(_) => {}
        }
        check(state)?;
        check(&store.directory)?;
        Ok(Some(store))
    }

    fn at(state: &Path) -> Self {
        Self {
            directory: state.join("trust"),
        }
    }

    /// The user's decision about the policy of this name, which was read from these files.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn standing(&self, name: &Path, files: &[FileRead]) -> Result<Standing, Error> {
        Ok(match self.get(name)? {
            Some(record) if record.is_of(files) => Standing::Trusted(record.since),
            Some(record) => Standing::Changed(Box::new(record)),
            None => Standing::Unknown,
        })
    }

    /// The record of this name.
    ///
    /// # Errors
    /// It cannot be read, it is damaged, or another user wrote it.
    pub fn get(&self, name: &Path) -> Result<Option<Record>, Error> {
        let record = read(&self.place(name))?;
        Ok(record.filter(|r| r.name == name))
    }

    /// Stores a record. It replaces an older one with the same name.
    ///
    /// # Errors
    /// It cannot be written. Then the older one still exists.
    pub fn keep(&self, record: &Record) -> Result<(), Error> {
        let _lock = self.lock()?;
        let place = self.place(&record.name);
        let error = |e| Error::System("write", place.clone(), e);
        // `tempfile` makes it readable only for the user.
        let mut file = tempfile::Builder::new()
            .prefix(".new-")
            .tempfile_in(&self.directory)
            .map_err(error)?;
        let text = format!("{:#}\n", record.to_json());
        file.write_all(text.as_bytes()).map_err(error)?;
        file.as_file().sync_all().map_err(error)?;
        file.persist(&place)
            .map_err(|e| Error::System("write", place.clone(), e.error))?;
        Ok(())
    }

    /// Removes the record of this name. Returns whether there was one.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn revoke(&self, name: &Path) -> Result<bool, Error> {
        let _lock = self.lock()?;
        let place = self.place(name);
        match std::fs::remove_file(&place) {
            Ok(()) => Ok(true),
            Err(e) if is_missing(&e) => Ok(false),
            Err(e) => Err(Error::System("remove", place, e)),
        }
    }

    /// All records by name. A record that cannot be read is an error at its place.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn list(&self) -> Result<Vec<Listed>, Error> {
        let error = |e| Error::System("list", self.directory.clone(), e);
        let mut out = Vec::new();
        for entry in std::fs::read_dir(&self.directory).map_err(error)? {
            let path = entry.map_err(error)?.path();
            if path.extension().is_none_or(|e| e != "json") {
                continue;
            }
            // A record that was removed meanwhile does not count.
            out.extend(read(&path).transpose());
        }
        out.sort_by(|a, b| {
            let name = |r: &Listed| r.as_ref().ok().map(|r| r.name.clone());
            name(a).cmp(&name(b))
        });
        Ok(out)
    }

    /// The file for the record of this name. A name may be too long for a file name, and may hold any byte.
    fn place(&self, name: &Path) -> PathBuf {
        let digest = sha256(name.as_os_str().as_bytes());
        self.directory.join(format!("{digest}.json"))
    }

    /// Waits until no other polc writes here. Closing the file releases the lock.
    fn lock(&self) -> Result<File, Error> {
        let path = self.directory.join("lock");
        let error = |e| Error::System("lock", path.clone(), e);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&path)
            .map_err(error)?;
        file.lock().map_err(error)?;
        Ok(file)
    }
}

/// Reads a record; `None`: there is none.
fn read(path: &Path) -> Result<Option<Record>, Error> {
    let error = |e| Error::System("read", path.to_owned(), e);
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(e) if is_missing(&e) => return Ok(None),
        Err(e) => return Err(error(e)),
    };
    let damaged = |why: String| Error::Damaged(path.to_owned(), why);
    let meta = file.metadata().map_err(error)?;
    if !meta.is_file() {
        return Err(damaged("it is no file".to_owned()));
    }
    own_record(path, &meta, crate::enforce::user::effective())?;
    let mut bytes = Vec::new();
    file.take(MAX_RECORD)
        .read_to_end(&mut bytes)
        .map_err(error)?;
    let value = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
    Record::from_json(&value).map(Some).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::Distrust;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn file(named: &str, text: &str) -> FileRead {
        FileRead {
            named: named.into(),
            path: named.into(),
            bytes: text.as_bytes().into(),
        }
    }

    fn record(name: &str, text: &str) -> Record {
        Record {
            name: name.into(),
            since: 1,
            files: vec![file(name, text)],
        }
    }

    #[test]
    fn a_policy_is_trusted_with_its_bytes_and_no_others() {
        let state = tempfile::tempdir().unwrap();
        assert!(Store::open(state.path()).unwrap().is_none());
        let store = Store::make(state.path()).unwrap();
        let name = Path::new("/w/polc.yaml");
        let files = [file("/w/polc.yaml", "a"), file("/w/more.yaml", "b")];
        let standing = |files: &[FileRead]| store.standing(name, files).unwrap();
        assert_eq!(standing(&files), Standing::Unknown);
        let kept = Record {
            name: name.to_owned(),
            since: 5,
            files: files.to_vec(),
        };
        store.keep(&kept).unwrap();
        assert_eq!(standing(&files), Standing::Trusted(5));
        let elsewhere = FileRead {
            path: "/other/more.yaml".into(),
            ..files[1].clone()
        };
        let [own, more] = files;
        for other in [
            vec![own.clone(), file("/w/more.yaml", "c")],
            vec![own.clone(), elsewhere],
            vec![own.clone()],
            vec![own.clone(), more.clone(), more.clone()],
            vec![more, own],
        ] {
            assert_eq!(standing(&other), Standing::Changed(Box::new(kept.clone())));
        }
        let other = store.standing(Path::new("/v/polc.yaml"), &kept.files);
        assert_eq!(other.unwrap(), Standing::Unknown);
        assert!(store.revoke(name).unwrap() && !store.revoke(name).unwrap());
        assert_eq!(standing(&kept.files), Standing::Unknown);
    }

    #[test]
    fn many_at_once_lose_nothing_and_leave_nothing() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::make(state.path()).unwrap();
        std::thread::scope(|s| {
            for i in 0..16 {
                let store = &store;
                s.spawn(move || {
                    let own = format!("/{i}/polc.yaml");
                    store.keep(&record(&own, "own")).unwrap();
                    store.keep(&record("/all/polc.yaml", &own)).unwrap();
                });
            }
        });
        let all: Vec<Record> = store
            .list()
            .unwrap()
            .into_iter()
            .map(Result::unwrap)
            .collect();
        assert_eq!(all.len(), 17);
        assert!(all.iter().all(|r| r.files.len() == 1));
        let left = std::fs::read_dir(&store.directory).unwrap().count();
        assert_eq!(left, 18, "the records and the lock");
    }

    #[test]
    fn a_record_that_is_not_ours_or_is_damaged_is_no_record() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::make(state.path()).unwrap();
        let name = Path::new("/w/polc.yaml");
        store.keep(&record("/w/polc.yaml", "a")).unwrap();
        let place = store.place(name);
        let mode = std::fs::metadata(&place).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(store.get(name), Err(Error::NotOurs(..))));
        // The mode that a checkout of a repository gives.
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            store.get(name),
            Err(Error::NotOurs(_, Distrust::Readable))
        ));
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::hard_link(&place, state.path().join("second")).unwrap();
        assert!(matches!(
            store.get(name),
            Err(Error::NotOurs(_, Distrust::Linked))
        ));
        std::fs::remove_file(state.path().join("second")).unwrap();
        assert!(store.get(name).unwrap().is_some());
        let text = std::fs::read_to_string(&place).unwrap();
        std::fs::write(&place, &text[..text.len() / 2]).unwrap();
        assert!(matches!(store.get(name), Err(Error::Damaged(..))));
        let aside = state.path().join("aside");
        std::fs::write(&aside, &text).unwrap();
        std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::remove_file(&place).unwrap();
        symlink(&aside, &place).unwrap();
        assert!(store.get(name).is_err(), "a link");
        std::fs::remove_file(&place).unwrap();
        std::fs::copy(&aside, store.place(Path::new("/v/polc.yaml"))).unwrap();
        assert_eq!(
            store.get(Path::new("/v/polc.yaml")).unwrap(),
            None,
            "of another name"
        );
    }
}
