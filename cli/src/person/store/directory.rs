//! Where may a person's secrets be?
//!
//! In a directory that belongs to the person, and that nobody else can enter.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::super::trouble::Trouble;
use super::super::world::World;

#[derive(Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    /// `$XDG_STATE_HOME/hallpass`, else `~/.local/state/hallpass`; on Windows, `%LOCALAPPDATA%\hallpass`.
    pub(super) fn find(world: &World) -> Result<Self, Trouble> {
        let named = |name: &str| world.variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let local = || if cfg!(windows) { named("LOCALAPPDATA") } else { None };
        let home = || world.home().map(|home| home.join(".local").join("state"));
        let none = || Trouble::failed("there is no home directory; set XDG_STATE_HOME to a directory of yours");
        let found = Self(named("XDG_STATE_HOME").or_else(local).or_else(home).ok_or_else(none)?.join("hallpass"));
        match std::fs::metadata(&found.0) {
            Ok(about) => found.check(&about)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let place = found.0.display();
                let remedy = "name a directory of yours in XDG_STATE_HOME";
                return Err(Trouble::failed(format!("cannot open {place}: {error}; {remedy}")));
            }
        }
        Ok(found)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes it, if it is not there.
    pub(super) fn create(&self) -> Result<(), Trouble> {
        let failed = |error: io::Error| {
            let place = self.0.display();
            Trouble::failed(format!("cannot make {place}: {error}; name another place in XDG_STATE_HOME"))
        };
        if let Some(parent) = self.0.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        match make_private(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error)),
            Ok(()) | Err(_) => self.check(&std::fs::metadata(&self.0).map_err(failed)?),
        }
    }

    fn check(&self, about: &Metadata) -> Result<(), Trouble> {
        if !about.is_dir() {
            let place = self.0.display();
            return Err(Trouble::failed(format!("{place} is not a directory; move it away, or set XDG_STATE_HOME")));
        }
        must_be_ours(&self.0, about, "700")
    }
}

/// A file or directory with secrets belongs to this person, and nobody else can use it.
#[cfg(unix)]
pub(super) fn must_be_ours(path: &Path, about: &Metadata, mode: &str) -> Result<(), Trouble> {
    use std::os::unix::fs::MetadataExt as _;

    let place = path.display();
    if about.uid() != rustix::process::geteuid().as_raw() {
        let remedy = "name a directory of yours in XDG_STATE_HOME";
        return Err(Trouble::failed(format!("{place} belongs to another user; {remedy}")));
    }
    if about.mode() & 0o077 != 0 {
        return Err(Trouble::failed(format!("{place} is open to other users; run `chmod {mode} {place}`")));
    }
    Ok(())
}

/// A profile on Windows is closed to other users by what it inherits.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
pub(super) fn must_be_ours(_: &Path, _: &Metadata, _: &str) -> Result<(), Trouble> {
    Ok(())
}

/// Makes a directory that only this person can enter.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Makes an empty file that only this person can open, in the place of any that is there: a file that somebody made
/// readable would keep its mode.
pub(super) fn create_private(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    private(OpenOptions::new().write(true).create_new(true)).open(path)
}

/// Opens a file that only this person can open, and makes it if it is not there. Nothing in it is changed.
pub(crate) fn open_private(path: &Path) -> io::Result<File> {
    private(OpenOptions::new().read(true).write(true).create(true).truncate(false)).open(path)
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::super::tests::Scratch;
    use super::*;

    fn find(scratch: &Scratch) -> Result<Directory, Trouble> {
        Directory::find(&World::of(&[("XDG_STATE_HOME", scratch.text())]))
    }

    #[test]
    fn a_place_that_is_not_absolute_is_none() {
        let found = |place: &str| Directory::find(&World::of(&[("XDG_STATE_HOME", place)])).unwrap().0;
        assert_eq!(found("state"), Path::new("/home/carol/.local/state/hallpass"));
        assert_eq!(found("/state"), Path::new("/state/hallpass"));
    }

    #[test]
    fn a_directory_of_everyones_is_refused_and_one_of_ours_is_not() {
        let scratch = Scratch::new();
        let directory = find(&scratch).unwrap();
        directory.create().unwrap();
        directory.create().unwrap();
        find(&scratch).unwrap();
        for bits in [0o755, 0o770, 0o701] {
            std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(bits)).unwrap();
            let told = find(&scratch).unwrap_err().to_string();
            assert!(told.contains("chmod 700 "), "{told}");
            directory.create().unwrap_err();
        }
    }

    #[test]
    fn what_is_not_a_directory_is_refused() {
        let scratch = Scratch::new();
        std::fs::write(scratch.path().join("hallpass"), "").unwrap();
        assert!(find(&scratch).unwrap_err().to_string().contains("not a directory"));
        let below = World::of(&[("XDG_STATE_HOME", &format!("{}/hallpass", scratch.text()))]);
        Directory::find(&below).unwrap_err();
    }

    #[test]
    fn a_directory_of_another_user_is_refused() {
        let about = std::fs::metadata("/").unwrap();
        let told = must_be_ours(Path::new("/"), &about, "700").unwrap_err().to_string();
        assert!(told.contains("belongs to another user") || told.contains("chmod 700 /"), "{told}");
    }
}
