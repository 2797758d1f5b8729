//! What do the grant files say, if there is no mistake in them?

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;

use hallpass::grants::file::{Files, Finding};
use hallpass::identity::Issuer;
use hallpass::read::rule::Severity;

use super::lint::text::line;
use super::plan::{Desired, Wanted};
use super::table::Key;
use crate::failure::Failure;
use crate::output::note;

/// Reads the files. A mistake in one of them is a mistake of all: what is missing would be deleted.
pub(super) fn desired(paths: &[PathBuf]) -> Result<(Files, Desired), Failure> {
    let files = Files::read(paths);
    for path in files.skipped() {
        note(&format!("skipped: {} is not a grant file", path.display()));
    }
    let findings = files.lint(None);
    for finding in &findings {
        note(&line(finding));
    }
    if files.is_unreadable() {
        return Err(Failure::new("not every path can be read; nothing else was done"));
    }
    let errors = findings.iter().filter(|finding| finding.severity() == Severity::Error).count();
    if errors > 0 {
        let text = format!(
            "there are {errors} errors in the files, which `hallpass grants lint` explains; nothing else was done"
        );
        return Err(Failure::Forbidden(text));
    }
    if files.grants() == 0 {
        return Err(Failure::new("there is no grant in these paths"));
    }
    let mut desired = Desired::new();
    for document in files.documents() {
        let grant = document.grant().as_str();
        let wanted = Rc::new(Wanted::new(document.attributes().clone(), document.item().clone()));
        for named in document.principals() {
            let key = Key { principal: named.principal.as_str().to_owned(), grant: grant.to_owned() };
            desired.insert(key, Rc::clone(&wanted));
        }
    }
    Ok((files, desired))
}

/// Finds what only the stack's issuers show, such as a principal of an issuer that is not configured.
pub(super) fn check_issuers(files: &Files, issuers: &[Issuer]) -> Result<(), Failure> {
    let known: BTreeSet<String> = files.lint(None).iter().map(line).collect();
    let more: Vec<Finding> =
        files.lint(Some(issuers)).into_iter().filter(|finding| !known.contains(&line(finding))).collect();
    for finding in &more {
        note(&line(finding));
    }
    if more.iter().any(|finding| finding.severity() == Severity::Error) {
        return Err(Failure::Forbidden("the files do not fit the stack's issuers; nothing else was done".into()));
    }
    Ok(())
}
