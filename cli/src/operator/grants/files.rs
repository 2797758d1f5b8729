//! What do the grant files say, if there is no mistake in them?

use std::path::PathBuf;
use std::rc::Rc;

use hallpass::grants::file::{Files, Finding, Severity};

use super::plan::{Desired, Wanted};
use super::table::{Key, shown};
use crate::failure::Failure;
use crate::output::note;

/// Reads the files. A mistake in one of them is a mistake of all: what is missing would be deleted.
pub(super) fn desired(paths: &[PathBuf]) -> Result<Desired, Failure> {
    let files = Files::read(paths);
    files.findings().iter().for_each(|finding| note(&line(finding)));
    let given = || paths.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", ");
    if files.is_unreadable() {
        return Err(Failure::new("not every file could be read; nothing else was done"));
    }
    if files.grants() == 0 {
        return Err(Failure::new(format!("there is no grant in {}", given())));
    }
    let documents = files.into_documents().map_err(|findings| {
        let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
        Failure::Forbidden(format!("the files have {errors} mistakes; nothing else was done"))
    })?;
    let mut desired = Desired::new();
    for document in documents {
        let grant = document.grant().as_str();
        let wanted = Rc::new(Wanted::new(document.attributes().clone(), document.item().clone()));
        for named in document.principals() {
            let key = Key { principal: named.principal.as_str().to_owned(), grant: grant.to_owned() };
            desired.insert(key, Rc::clone(&wanted));
        }
    }
    Ok(desired)
}

fn line(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let (path, place) = (finding.path.display(), finding.place);
    let help = finding.help.as_deref().map_or_else(String::new, |help| format!("; {help}"));
    let says = shown(&format!("{} {}{help}", finding.pointer, finding.message));
    format!("{path}:{}:{}: {severity}: [{}] {}", place.line, place.column, finding.rule, says.trim_start())
}
