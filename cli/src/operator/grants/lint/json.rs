//! How do programs read findings?

use serde::Serialize;

use super::Report;
use crate::failure::Failure;
use crate::output::print_json;

#[derive(Serialize)]
struct Printed<'a> {
    findings: Vec<Finding<'a>>,
    files: usize,
    grants: usize,
    items: usize,
}

#[derive(Serialize)]
struct Finding<'a> {
    file: String,
    line: usize,
    column: usize,
    rule: &'static str,
    severity: &'static str,
    pointer: &'a str,
    message: &'a str,
    help: Option<&'a str>,
}

/// Prints the report as one JSON document.
pub(super) fn print(report: &Report) -> Result<(), Failure> {
    print_json(&Printed {
        findings: report.findings.iter().map(printed).collect(),
        files: report.files.len(),
        grants: report.grants,
        items: report.items,
    })
}

fn printed(finding: &hallpass::grants::file::Finding) -> Finding<'_> {
    let hallpass::grants::file::Finding { path, place, problem, .. } = finding;
    Finding {
        file: path.display().to_string(),
        line: place.line,
        column: place.column,
        rule: problem.rule.id(),
        severity: problem.severity().as_str(),
        pointer: &problem.at,
        message: &problem.says,
        help: problem.help.as_deref(),
    }
}
