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
pub(in crate::grants) struct Collected {
    /// Those that are wanted, sorted.
    pub(in crate::grants) files: Vec<PathBuf>,
    /// Files that were named and are not wanted.
    pub(in crate::grants) skipped: Vec<PathBuf>,
    /// What cannot be looked at, and why.
    pub(in crate::grants) unreadable: Vec<(PathBuf, String)>,
    wanted: Option<fn(&Path) -> bool>,
}

/// Finds the files under `paths` that are `wanted` by their names.
pub(in crate::grants) fn collect(paths: &[PathBuf], wanted: fn(&Path) -> bool) -> Collected {
    let mut collected = Collected { wanted: Some(wanted), ..Collected::default() };
    let mut found = Vec::new();
    for path in paths {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => collected.walk(path, &mut Vec::new(), &mut found),
            Ok(_) if wanted(path) => found.push(path.clone()),
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
    fn wants(&self, path: &Path) -> bool {
        self.wanted.is_some_and(|wanted| wanted(path))
    }

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
        // Of what is not wanted by its name, only directories matter.
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.walk(path, above, found),
            Ok(_) if self.wants(path) => found.push(path.into()),
            Ok(_) => {}
            // A link that leads nowhere may have been a folder of grants, and what is missing would be deleted.
            Err(error) => self.cannot(path, &error),
        }
    }

    fn cannot(&mut self, path: &Path, error: &io::Error) {
        self.unreadable.push((path.into(), format!("cannot be read: {error}")));
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Whether a file has grants, by its name.
pub(super) fn is_grant_file(path: &Path) -> bool {
    language(path).is_some() && !is_hidden(path) && !ends(path, b".schema.json") && !is_test_file(path)
}

/// Whether a file has tests of grants, by its name.
pub(in crate::grants) fn is_test_file(path: &Path) -> bool {
    ends(path, b".test.yaml") && !is_hidden(path)
}

fn ends(path: &Path, end: &[u8]) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(end))
}
