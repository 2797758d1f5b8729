//! Which files count?

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::language;

/// Directories inside directories. No repository is so deep; a loop of links could be.
const MAX_LEVELS: usize = 64;

/// What is under some paths.
#[derive(Default)]
pub(super) struct Collected {
    /// Grant files, sorted.
    pub(super) files: Vec<PathBuf>,
    /// Files that were named and are not grant files.
    pub(super) skipped: Vec<PathBuf>,
    /// What cannot be looked at, and why.
    pub(super) unreadable: Vec<(PathBuf, String)>,
}

/// Finds the grant files under `paths`.
pub(super) fn collect(paths: &[PathBuf]) -> Collected {
    let mut collected = Collected::default();
    let mut found = Vec::new();
    for path in paths {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => collected.walk(path, &mut Vec::new(), &mut found),
            Ok(_) if is_grant_file(path) => found.push(path.clone()),
            Ok(_) => collected.skipped.push(path.clone()),
            Err(error) => collected.cannot(path, &error),
        }
    }
    found.sort();
    let mut known = BTreeSet::new();
    for path in found {
        // Where it really is. A path that is given in two ways would be a duplicate of itself.
        let real = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        if known.insert(real) {
            collected.files.push(path);
        }
    }
    collected
}

impl Collected {
    fn walk(&mut self, directory: &Path, above: &mut Vec<PathBuf>, found: &mut Vec<PathBuf>) {
        let entries = match fs::canonicalize(directory).and_then(|real| Ok((real, fs::read_dir(directory)?))) {
            Ok((real, _)) if above.contains(&real) || above.len() >= MAX_LEVELS => {
                self.unreadable.push((directory.into(), "is a loop of symbolic links".into()));
                return;
            }
            Ok((real, entries)) => {
                above.push(real);
                entries
            }
            Err(error) => return self.cannot(directory, &error),
        };
        for entry in entries {
            match entry {
                Ok(entry) if is_hidden(&entry.path()) => {}
                Ok(entry) => self.entry(&entry.path(), above, found),
                Err(error) => self.cannot(directory, &error),
            }
        }
        above.pop();
    }

    fn entry(&mut self, path: &Path, above: &mut Vec<PathBuf>, found: &mut Vec<PathBuf>) {
        // Of what is not a grant file by its name, only directories matter.
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.walk(path, above, found),
            Ok(_) if is_grant_file(path) => found.push(path.into()),
            Err(error) if is_grant_file(path) => self.cannot(path, &error),
            Ok(_) | Err(_) => {}
        }
    }

    fn cannot(&mut self, path: &Path, error: &io::Error) {
        self.unreadable.push((path.into(), format!("cannot be read: {error}")));
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn is_grant_file(path: &Path) -> bool {
    let ends = |end: &[u8]| path.file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(end));
    language(path).is_some() && !is_hidden(path) && !ends(b".schema.json") && !ends(b".test.yaml")
}
