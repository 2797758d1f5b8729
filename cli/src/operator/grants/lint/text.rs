//! How do people read findings?

use std::fmt::Write as _;
use std::path::Path;

use hallpass::grants::file::Finding;
use hallpass::read::problems::Problem;
use hallpass::read::text::{Mistake, Place, Source, Span};

use super::Report;
use crate::failure::Failure;
use crate::output;

/// Characters of a line that are shown around what is wrong.
const WIDTH: usize = 160;

/// Prints all findings, each with its line and a marker below it.
pub(super) fn print(report: &Report) -> Result<(), Failure> {
    let findings: Vec<String> = report.findings.iter().map(whole).collect();
    if findings.is_empty() { Ok(()) } else { output::print(&findings.join("\n")) }
}

/// A finding on one line: `FILE:LINE:COLUMN: SEVERITY[RULE]: what is wrong`.
pub(in super::super) fn line(finding: &Finding) -> String {
    headline(&finding.path, finding.place, &finding.problem)
}

/// A mistake of a file as a finding is shown.
pub(in super::super) fn mistake(path: &Path, source: &Source, mistake: &Mistake) -> String {
    let place = source.place(mistake.span.start);
    with_line(headline(path, place, &mistake.problem), source, place, mistake.span, &mistake.problem)
}

fn whole(finding: &Finding) -> String {
    with_line(line(finding), &finding.source, finding.place, finding.span, &finding.problem)
}

fn headline(path: &Path, place: Place, problem: &Problem) -> String {
    let (severity, rule) = (problem.severity().as_str(), problem.rule);
    let Place { line, column } = place;
    plain(&format!("{}:{line}:{column}: {severity}[{rule}]: {}", path.display(), sentence(problem)))
}

/// What is wrong, with its subject: the place in the document.
pub(super) fn sentence(problem: &Problem) -> String {
    let Problem { at, says, .. } = problem;
    if at.is_empty() { says.clone() } else { format!("`{at}` {says}") }
}

fn with_line(headline: String, source: &Source, place: Place, span: Span, problem: &Problem) -> String {
    let mut text = headline;
    if let Some(line) = source.line(place.line).filter(|_| !source.text().is_empty()) {
        let (shown, before) = window(line, place.column);
        let length = source.slice(span).lines().next().unwrap_or_default().chars().count().max(1);
        let room = shown.chars().count().saturating_sub(before).max(1);
        let number = place.line.to_string();
        let margin = " ".repeat(number.len());
        let pointed = format!("{}{}", " ".repeat(before), "^".repeat(length.min(room)));
        // Writing into memory does not fail.
        let _ = write!(text, "\n {margin} |\n {number} | {shown}\n {margin} | {pointed}");
    }
    if let Some(help) = &problem.help {
        text += "\n  help: ";
        text += &plain(help);
    }
    text
}

/// The part of a line that is shown, and how many characters of it are before the column. Each character has one cell
/// of its own: what moves the cursor is shown as a replacement.
fn window(line: &str, column: usize) -> (String, usize) {
    let before = column.saturating_sub(1);
    let skipped = if before < WIDTH { 0 } else { before.saturating_sub(WIDTH / 2) };
    let shown = line.chars().skip(skipped).take(WIDTH);
    let visible = |c: char| match c {
        '\t' => ' ',
        c if is_hidden(c) => '\u{fffd}',
        c => c,
    };
    (shown.map(visible).collect(), before.saturating_sub(skipped))
}

/// A text in which nothing acts on a terminal: control characters, and those that turn the direction of a line, are
/// escaped.
pub(in super::super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            plain.extend(c.escape_unicode());
        } else {
            plain.push(c);
        }
    }
    plain
}

fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
