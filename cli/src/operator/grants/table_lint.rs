//! What does the linter say about the table?
//!
//! Each item is read as the file that `export` would write of it, so that one linter serves both.

use std::path::PathBuf;

use hallpass::grants::file::Files;
use hallpass::grants::file::format::write;
use hallpass::identity::Issuer;
use hallpass::net::aws::SdkConfig;
use hallpass::read::rule::Severity;

use super::export::{check, document};
use super::table::{Reader, Snapshot};
use crate::failure::Failure;

/// How a file of an item ends, so that it is read as YAML, also if a principal ends in `.json`.
const YAML: &str = ".yaml";

/// What was found.
#[derive(Debug)]
pub(in crate::operator) struct Linted {
    /// How many items there are.
    pub(in crate::operator) items: usize,
    /// In the order of the items.
    pub(in crate::operator) findings: Vec<Found>,
}

/// Something that is wrong with an item, or unwise.
#[derive(Debug)]
pub(in crate::operator) struct Found {
    pub(in crate::operator) severity: Severity,
    /// Its principal and its grant.
    pub(in crate::operator) item: String,
    pub(in crate::operator) says: String,
    pub(in crate::operator) help: Option<String>,
}

/// Reads the whole table and lints each item.
///
/// # Errors
/// [`Failure`] if it cannot be read.
pub(in crate::operator) async fn lint_table(
    sdk: &SdkConfig,
    table: &str,
    issuers: Option<&[Issuer]>,
) -> Result<Linted, Failure> {
    Ok(Linted::of(&Reader::new(sdk, table).snapshot().await?, issuers))
}

impl Linted {
    pub(super) fn of(snapshot: &Snapshot, issuers: Option<&[Issuer]>) -> Self {
        let mut findings = Vec::new();
        let mut files = Vec::new();
        for (key, stored) in &snapshot.items {
            let item = key.to_string();
            match check(key, &stored.attributes) {
                Ok(()) => {
                    let text = write(&[document(&key.grant, &[key.principal.as_str()], &stored.attributes)]);
                    files.push((PathBuf::from(format!("{item}{YAML}")), text.into_bytes()));
                }
                Err(says) => findings.push(Found { severity: Severity::Error, item, says, help: None }),
            }
        }
        let linted = Files::of(files).lint(issuers);
        findings.extend(linted.into_iter().map(|finding| {
            let (severity, problem) = (finding.severity(), finding.problem);
            let path = finding.path.display().to_string();
            let item = path.strip_suffix(YAML).unwrap_or(&path).to_owned();
            let says = format!("`{}` {} ({})", problem.at, problem.says, problem.rule);
            Found { severity, item, says, help: problem.help }
        }));
        findings.sort_by(|one, other| one.item.cmp(&other.item));
        Self { items: snapshot.items.len(), findings }
    }
}
