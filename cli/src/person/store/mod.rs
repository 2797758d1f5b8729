//! What does a machine remember of its person's sign-ins?
//!
//! A directory of the person's own, with one small file for each sign-in and each cached set of credentials. A file is
//! replaced whole, so that a reader without the lock sees the old one or the new one. Who changes one holds its lock.

mod directory;
mod lock;
mod seal;

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::directory::Directory;
pub(crate) use self::directory::{make_private, open_private};
pub(crate) use self::seal::Kind;
use self::seal::Seal;
use super::secret::random_text;
use super::trouble::Trouble;
use super::world::World;

/// No file of ours comes near it. What is larger was not written by us.
const MAX_BYTES: u64 = 1024 * 1024;
/// Room that is made before a refresh token is spent: more than any sign-in needs.
const RESERVED: usize = 64 * 1024;
/// The end of the name of a file that is not complete yet.
const INCOMPLETE: &str = "new";

/// The directory with the sign-ins.
#[derive(Debug)]
pub(crate) struct Store {
    directory: Directory,
    seal: Seal,
}

impl Store {
    /// The store of this person. It need not exist yet.
    ///
    /// # Errors
    /// [`Trouble`] if others could read or change what is in it, or if the keyring that was asked for has no key.
    pub(crate) fn open(world: &World) -> Result<Self, Trouble> {
        let directory = Directory::find(world)?;
        let seal = Seal::choose(world, &directory)?;
        Ok(Self { directory, seal })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// How what is in it is protected.
    pub(crate) const fn kind(&self) -> Kind {
        self.seal.kind()
    }

    /// What a file says.
    ///
    /// # Errors
    /// [`Trouble`] if it cannot be read, or is not ours alone.
    pub(crate) fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Stored<T>, Trouble> {
        let path = self.path().join(name);
        let failed = |error: io::Error| Trouble::failed(format!("cannot read {}: {error}", path.display()));
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stored::Absent),
            Err(error) => return Err(failed(error)),
        };
        let about = file.metadata().map_err(failed)?;
        directory::must_be_ours(&path, &about, "600")?;
        let mut content = Vec::new();
        Read::take(&mut file, MAX_BYTES).read_to_end(&mut content).map_err(failed)?;
        let Some(text) = self.seal.open(name, content, &path)? else { return Ok(Stored::Damaged) };
        Ok(serde_json::from_slice(&text).map_or(Stored::Damaged, Stored::Read))
    }

    /// The names of the files that begin and end so.
    ///
    /// # Errors
    /// [`Trouble`] if the directory cannot be read.
    pub(crate) fn names(&self, start: &str, end: &str) -> Result<Vec<String>, Trouble> {
        let entries = match std::fs::read_dir(self.path()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Trouble::failed(format!("cannot read {}: {error}", self.path().display()))),
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with(start) && name.ends_with(end))
            .collect();
        names.sort();
        Ok(names)
    }

    /// Waits until this process alone may change a file.
    ///
    /// # Errors
    /// [`Trouble`] if the lock is not free in this time.
    pub(crate) async fn lock(&self, name: &str, limit: Duration) -> Result<Locked<'_>, Trouble> {
        self.directory.create()?;
        let lock = lock::acquire(self.path().join(format!("{name}.lock")), limit).await?;
        Ok(Locked { store: self, name: name.to_owned(), lock })
    }

    /// A directory in the store, for one run of a command.
    ///
    /// # Errors
    /// [`Trouble`] if it cannot be made.
    pub(crate) fn scratch(&self) -> Result<PathBuf, Trouble> {
        self.directory.create()?;
        let name: String = random_text()?.chars().take(16).collect();
        let path = self.path().join(format!("exec-{name}"));
        let failed = |error| Trouble::failed(format!("cannot make {}: {error}", path.display()));
        directory::make_private(&path).map_err(failed)?;
        Ok(path)
    }
}

/// Writes a file that only this person can open.
///
/// # Errors
/// The system's own.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    directory::create_private(path)?.write_all(content)
}

/// What is in a file.
#[derive(Debug)]
pub(crate) enum Stored<T> {
    /// There is none.
    Absent,
    /// It was cut, or somebody else wrote it.
    Damaged,
    /// This.
    Read(T),
}

impl<T> Stored<T> {
    /// What it says, if it is there and whole.
    pub(crate) fn whole(self) -> Option<T> {
        match self {
            Self::Read(value) => Some(value),
            Self::Absent | Self::Damaged => None,
        }
    }
}

/// The right to change a file, which ends with this value, and with the process.
#[derive(Debug)]
pub(crate) struct Locked<'s> {
    store: &'s Store,
    name: String,
    lock: File,
}

impl Locked<'_> {
    /// What the file says now.
    ///
    /// # Errors
    /// [`Trouble`], as for [`Store::read`].
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<Stored<T>, Trouble> {
        self.store.read(&self.name)
    }

    /// Makes room, so that what cannot be asked for twice is not lost on a full disk.
    ///
    /// # Errors
    /// [`Trouble`] if the disk is full, or must not be written.
    pub(crate) fn reserve(&self) -> Result<Reserved<'_>, Trouble> {
        let failed = |error: io::Error| self.cannot_write(&error);
        let file = directory::create_private(&self.path(INCOMPLETE)).map_err(failed)?;
        let mut reserved = Reserved { locked: self, file };
        reserved.file.write_all(&vec![b' '; RESERVED]).and_then(|()| reserved.file.sync_all()).map_err(failed)?;
        Ok(reserved)
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// [`Trouble`] if it cannot be written. The old one is still there then.
    pub(crate) fn write(&self, value: &impl Serialize) -> Result<(), Trouble> {
        self.reserve()?.write(value)
    }

    /// Removes the file, and what is left of an attempt to write it.
    ///
    /// # Errors
    /// [`Trouble`] if it cannot be removed.
    pub(crate) fn remove(&self) -> Result<(), Trouble> {
        for path in [self.path(INCOMPLETE), self.store.path().join(&self.name)] {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Trouble::failed(format!("cannot remove {}: {error}", path.display())));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn path(&self, end: &str) -> PathBuf {
        self.store.path().join(format!("{}.{end}", self.name))
    }

    fn cannot_write(&self, error: &io::Error) -> Trouble {
        let place = self.store.path().display();
        let remedy = "make it writable, or name another place in XDG_STATE_HOME";
        Trouble::failed(format!("cannot write to {place}: {error}; {remedy}"))
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // Said aloud, because a copy of the handle that a child holds would keep the lock.
        let _ = self.lock.unlock();
    }
}

/// A file with room for what is to come.
#[derive(Debug)]
pub(crate) struct Reserved<'l> {
    locked: &'l Locked<'l>,
    file: File,
}

impl Reserved<'_> {
    /// Puts the new content into the place of the old.
    ///
    /// # Errors
    /// [`Trouble`] if it cannot be written. The old one is still there then.
    pub(crate) fn write(mut self, value: &impl Serialize) -> Result<(), Trouble> {
        let Locked { store, name, .. } = self.locked;
        let text = serde_json::to_vec(value).map_err(|_| Trouble::failed("a sign-in cannot be written as JSON"))?;
        let content = store.seal.close(name, text)?;
        let path = self.locked.path(INCOMPLETE);
        let written = self.fill(&content).and_then(|()| std::fs::rename(&path, store.path().join(name)));
        written.map_err(|error| self.locked.cannot_write(&error))
    }

    fn fill(&mut self, content: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(content)?;
        self.file.set_len(u64::try_from(content.len()).unwrap_or(u64::MAX))?;
        self.file.sync_all()
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        // Not there any more if it has taken the place of the old one.
        let _ = std::fs::remove_file(self.locked.path(INCOMPLETE));
    }
}

/// A name for a file, from what it is about. Their lengths keep the parts apart.
pub(crate) fn name_of(parts: &[&str]) -> String {
    let parts: Vec<String> = parts.iter().map(|part| format!("{}:{part}", part.len())).collect();
    let text = parts.concat();
    let mut name = HEXLOWER.encode(digest(&SHA256, text.as_bytes()).as_ref());
    name.truncate(24);
    name
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt};

    use serde_json::{Value, json};

    use super::super::tests::Scratch;
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn store_in(scratch: &Scratch) -> Store {
        Store::open(&World::of(&[("XDG_STATE_HOME", scratch.text()), ("HALLPASS_STORE", "file")])).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o777
    }

    #[tokio::test]
    async fn what_is_written_is_read_again_by_its_owner_alone() {
        let scratch = Scratch::new();
        let store = store_in(&scratch);
        assert!(matches!(store.read::<Value>("a").unwrap(), Stored::Absent));
        let locked = store.lock("a", MINUTE).await.unwrap();
        locked.write(&json!({"b": 1})).unwrap();
        locked.write(&json!({"b": 2})).unwrap();
        assert_eq!(store.read::<Value>("a").unwrap().whole(), Some(json!({"b": 2})));
        assert_eq!((mode(store.path()), mode(&store.path().join("a"))), (0o700, 0o600));
        assert_eq!(mode(&store.path().join("a.lock")), 0o600);
        assert_eq!(store.names("", "").unwrap(), ["a", "a.lock"]);
        locked.remove().unwrap();
        assert!(matches!(locked.read::<Value>().unwrap(), Stored::Absent));
    }

    #[tokio::test]
    async fn a_cut_file_is_damaged_and_can_be_replaced() {
        let scratch = Scratch::new();
        let store = store_in(&scratch);
        let locked = store.lock("a", MINUTE).await.unwrap();
        locked.write(&json!({"b": "long enough"})).unwrap();
        let path = store.path().join("a");
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(matches!(locked.read::<Value>().unwrap(), Stored::Damaged), "{cut}");
        }
        locked.write(&json!(1)).unwrap();
        assert_eq!(locked.read::<Value>().unwrap().whole(), Some(json!(1)));
    }

    #[tokio::test]
    async fn what_a_killed_process_left_is_overwritten() {
        let scratch = Scratch::new();
        let store = store_in(&scratch);
        let locked = store.lock("a", MINUTE).await.unwrap();
        drop(locked.reserve().unwrap());
        assert!(!store.path().join("a.new").exists());
        std::mem::forget(locked.reserve().unwrap());
        assert!(store.path().join("a.new").exists());
        assert!(matches!(locked.read::<Value>().unwrap(), Stored::Absent));
        locked.write(&json!(1)).unwrap();
        assert_eq!(store.names("", "").unwrap(), ["a", "a.lock"]);
    }

    #[tokio::test]
    async fn a_lock_excludes_and_is_given_up() {
        let scratch = Scratch::new();
        let (one, other) = (store_in(&scratch), store_in(&scratch));
        let held = one.lock("a", MINUTE).await.unwrap();
        let refused = other.lock("a", Duration::from_millis(50)).await.unwrap_err();
        assert!(refused.to_string().contains("a.lock"), "{refused}");
        other.lock("b", MINUTE).await.unwrap();
        drop(held);
        other.lock("a", MINUTE).await.unwrap();
    }

    #[tokio::test]
    async fn what_others_can_read_is_refused_with_the_remedy() {
        let scratch = Scratch::new();
        let store = store_in(&scratch);
        store.lock("a", MINUTE).await.unwrap().write(&json!(1)).unwrap();
        let path = store.path().join("a");
        for bits in [0o640, 0o604, 0o620] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(bits)).unwrap();
            let told = store.read::<Value>("a").unwrap_err().to_string();
            assert!(told.contains("chmod 600"), "{told}");
        }
    }

    #[test]
    fn parts_cannot_be_shifted_between_names() {
        assert_ne!(name_of(&["ab", "c"]), name_of(&["a", "bc"]));
        assert_ne!(name_of(&["a", ""]), name_of(&["a"]));
        assert_eq!(name_of(&["a"]).len(), 24);
    }
}
