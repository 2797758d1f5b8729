//! What do the grant files say?
//!
//! A file has documents, and each document is one grant for a list of principals. [`Files::read`] reads all files under
//! some paths and finds everything that is wrong with them, each with its file, line and column. Only if there is no
//! error, [`Files::into_documents`] gives what they say: an item for each principal of each [`Document`].
//!
//! ```
//! use hallpass::grants::file::Files;
//!
//! let text = "grant: deploy\nprincipals: [corp/group/deployers]\nnot_after: 2027-01-15T08:00:00Z\n";
//! let documents = Files::of([("grants/deploy.yaml".into(), text.into())]).into_documents().unwrap();
//! assert_eq!(documents[0].grant().as_str(), "deploy");
//! assert_eq!(documents[0].principals()[0].principal.as_str(), "corp/group/deployers");
//! assert_eq!(documents[0].attributes()["not_after"], 1_800_000_000);
//! assert_eq!(documents[0].place("/not_after").line, 3);
//! ```

mod carried;
pub(in crate::grants) mod document;
mod finding;
pub mod format;
mod lint;
pub(in crate::grants) mod paths;
mod size;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::document::{Document, Named};
pub use self::finding::Finding;
use self::paths::Collected;
use super::trial::TestFiles;
use crate::read::json;
use crate::read::problems::Problem;
use crate::read::rule::{Rule, Severity};
use crate::read::text::{Comment, Language, Mistake, Source, Span, Text, read_file};

/// What the files under some paths say, and all that is wrong with them.
#[derive(Debug, Default)]
pub struct Files {
    documents: Vec<Document>,
    /// Documents without what is wrong with them, which serve to find more.
    damaged: Vec<Document>,
    findings: Vec<Finding>,
    read: Vec<File>,
    skipped: Vec<PathBuf>,
    is_unreadable: bool,
    grants: usize,
}

/// A file that was read.
#[derive(Debug)]
pub struct File {
    /// Its path, as it was given or found.
    pub path: Arc<Path>,
    /// Its text.
    pub source: Arc<Source>,
    /// Its comments.
    pub comments: Vec<Comment>,
}

impl Files {
    /// Reads every grant file under the paths: `*.yaml`, `*.yml` and `*.json`, sorted, without hidden files,
    /// `*.schema.json`, `*.test.yaml` and the policies that the tests there name as their ceiling. A path may be a file,
    /// too. A file that is reached in two ways is read once.
    #[must_use]
    pub fn read(paths: &[PathBuf]) -> Self {
        let Collected { files, skipped, unreadable, .. } = paths::collect(paths, paths::is_grant_file);
        // The policies that tests name as their ceiling may stand next to them. They are not grants.
        let ceilings = TestFiles::read(paths).ceilings();
        let is_ceiling = |path: &Path| fs::canonicalize(path).is_ok_and(|path| ceilings.contains(&path));
        // A file that does name a grant stays one: hidden by a test, it would be deleted from the table.
        let has_no_grant = |bytes: &[u8]| json::parse_object(bytes).is_ok_and(|members| !members.contains_key("grant"));
        let mut read = Reading::default();
        for path in files {
            match read_file(&path) {
                Ok(bytes) if is_ceiling(&path) && has_no_grant(&bytes) => {}
                Ok(bytes) => read.file(path, bytes),
                Err(error) => read.unreadable(path, &error.to_string()),
            }
        }
        for (path, says) in unreadable {
            read.unreadable(path, &says);
        }
        read.files.skipped = skipped;
        read.finish()
    }

    /// Reads files of which the bytes are at hand. The path says which language they are in.
    #[must_use]
    pub fn of(files: impl IntoIterator<Item = (PathBuf, Vec<u8>)>) -> Self {
        let mut read = Reading::default();
        for (path, bytes) in files {
            read.file(path, bytes);
        }
        read.finish()
    }

    /// Every document that is well-formed in itself, in the order of the files.
    #[must_use]
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// All that is wrong, in the order of the files.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Every document, if there is no error.
    ///
    /// # Errors
    /// All that is wrong. What else the files say cannot be relied on then: a Deny may be missing.
    pub fn into_documents(self) -> Result<Vec<Document>, Vec<Finding>> {
        let is_whole = self.findings.iter().all(|finding| finding.severity() != Severity::Error);
        if is_whole { Ok(self.documents) } else { Err(self.findings) }
    }

    /// The files that were read, sorted by their paths.
    #[must_use]
    pub fn files(&self) -> &[File] {
        &self.read
    }

    /// Paths that were given, and are not grant files.
    #[must_use]
    pub fn skipped(&self) -> &[PathBuf] {
        &self.skipped
    }

    /// Whether a path could not be read.
    #[must_use]
    pub const fn is_unreadable(&self) -> bool {
        self.is_unreadable
    }

    /// How many documents there are, with errors or without.
    #[must_use]
    pub const fn grants(&self) -> usize {
        self.grants
    }

    /// How many pairs of principal and grant there are in well-formed documents.
    #[must_use]
    pub fn items(&self) -> usize {
        self.documents.iter().map(|document| document.principals().len()).sum()
    }
}

/// In which language a file is written, by its name. `None` for other files.
#[must_use]
pub fn language(path: &Path) -> Option<Language> {
    match path.extension()?.to_str()? {
        "yaml" | "yml" => Some(Language::Yaml),
        "json" => Some(Language::Json),
        _ => None,
    }
}

/// The files as they are being read.
#[derive(Default)]
struct Reading {
    files: Files,
    /// Where each pair of principal and grant was found first.
    known: HashMap<(String, String), String>,
}

impl Reading {
    fn file(&mut self, path: PathBuf, bytes: Vec<u8>) {
        let path: Arc<Path> = path.into();
        let source = Arc::new(Source::new(bytes));
        let text = Text::read(&source, language(&path).unwrap_or(Language::Yaml));
        let finding = |Mistake { span, problem }| Finding::new(&path, &source, span, problem);
        self.files.findings.extend(text.mistakes.into_iter().map(finding));
        for (index, node) in text.documents.into_iter().enumerate() {
            self.files.grants = self.files.grants.saturating_add(1);
            let read = document::read(node, index, &path, &source);
            let is_whole = read.findings.is_empty();
            self.files.findings.extend(read.findings);
            for (at, span, principal) in &read.named {
                let Some(grant) = &read.grant else { continue };
                let place = source.place(span.start);
                let here = format!("{}:{}:{}", path.display(), place.line, place.column);
                let key = (principal.as_str().to_owned(), grant.as_str().to_owned());
                if let Some(first) = self.known.get(&key) {
                    let (principal, grant) = key;
                    let says = format_args!("is for `{principal}`, who has the grant `{grant}` already, at {first}");
                    let problem = Problem::new(Rule::Duplicate, says).help("keep one of the two");
                    let finding = Finding::new(&path, &source, *span, Problem { at: at.clone(), ..problem });
                    self.files.findings.push(finding);
                } else {
                    self.known.insert(key, here);
                }
            }
            let documents = if is_whole { &mut self.files.documents } else { &mut self.files.damaged };
            documents.extend(read.document);
        }
        self.files.read.push(File { path, source, comments: text.comments });
    }

    fn unreadable(&mut self, path: PathBuf, says: &str) {
        let source = Arc::new(Source::new(Vec::new()));
        let problem = Problem::new(Rule::Unreadable, says);
        let finding = Finding::new(&path.into(), &source, Span::default(), problem);
        self.files.findings.push(finding);
        self.files.is_unreadable = true;
    }

    fn finish(mut self) -> Files {
        self.files.findings.sort_by(Finding::order);
        self.files
    }
}
