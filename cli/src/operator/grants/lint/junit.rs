//! How do findings become tests that fail?
//!
//! A file is a suite, and a finding a test of it that fails. A file without findings is a test that passes. The format is
//! that of Ant's `JUnit` task, which CI systems read.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hallpass::grants::file::Finding;

use super::{Report, text};

/// Writes the report as XML.
pub(super) fn report(report: &Report) -> String {
    let mut suites: BTreeMap<&str, Vec<&Finding>> =
        report.files.iter().map(|path| (path.as_str(), Vec::new())).collect();
    let paths: Vec<String> = report.findings.iter().map(|finding| finding.path.display().to_string()).collect();
    for (path, finding) in paths.iter().zip(&report.findings) {
        suites.entry(path).or_default().push(finding);
    }
    let tests: usize = suites.values().map(|findings| findings.len().max(1)).sum();
    let failures = report.findings.len();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing into memory does not fail.
    let _ = writeln!(
        out,
        "<testsuites name=\"hallpass grants lint\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\">"
    );
    for (path, findings) in &suites {
        let name = escaped(path);
        let (tests, failures) = (findings.len().max(1), findings.len());
        let head = format!(
            "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"0\""
        );
        let _ = writeln!(out, "{head} time=\"0\">");
        if findings.is_empty() {
            let _ = writeln!(out, "    <testcase name=\"lint\" classname=\"{name}\" time=\"0\"/>");
        }
        for finding in findings {
            out.push_str(&case(finding, &name));
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>");
    out
}

fn case(finding: &Finding, file: &str) -> String {
    let Finding { place, problem, .. } = finding;
    let (line, column, rule) = (place.line, place.column, problem.rule);
    let says = escaped(&text::sentence(problem));
    let severity = problem.severity().as_str();
    let help = problem.help.as_ref().map(|help| format!("\nhelp: {}", escaped(help))).unwrap_or_default();
    format!(
        "    <testcase name=\"{rule} at {line}:{column}\" classname=\"{file}\" file=\"{file}\" line=\"{line}\" time=\"0\">\n      \
         <failure message=\"{says}\" type=\"{severity}\">{file}:{line}:{column}: {severity}[{rule}]: {says}{help}</failure>\n    \
         </testcase>\n"
    )
}

/// A text for an attribute or an element. What XML 1.0 cannot say, however it is escaped, is replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
