//! What was looked at, what was found, and what helps?

use serde::Serialize;

use crate::failure::Failure;
use crate::outside::trouble::{Trouble, parted, shown};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    Ok,
    Note,
    Problem,
    Skipped,
}

/// One check.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    #[serde(rename = "check")]
    pub(super) name: &'static str,
    pub(super) status: Status,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// The checks, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Check>);

impl Report {
    pub(super) fn ok(&mut self, check: &'static str, message: impl AsRef<str>) {
        self.add(check, Status::Ok, message.as_ref(), None);
    }

    pub(super) fn note(&mut self, check: &'static str, message: impl AsRef<str>, help: &str) {
        self.add(check, Status::Note, message.as_ref(), Some(help));
    }

    pub(super) fn problem(&mut self, check: &'static str, message: impl AsRef<str>, help: &str) {
        self.add(check, Status::Problem, message.as_ref(), Some(help));
    }

    pub(super) fn skipped(&mut self, check: &'static str, why: &str) {
        self.add(check, Status::Skipped, "not checked", Some(why));
    }

    /// A trouble names its remedy in its text; `help` is for those that do not.
    pub(super) fn trouble(&mut self, check: &'static str, trouble: &Trouble, help: &str) {
        self.failed(check, &trouble.to_string(), help);
    }

    /// The same for what AWS did not answer.
    pub(super) fn failure(&mut self, check: &'static str, failure: &Failure, help: &str) {
        self.failed(check, &failure.to_string(), help);
    }

    fn failed(&mut self, check: &'static str, text: &str, help: &str) {
        let (message, remedy) = parted(text);
        self.add(check, Status::Problem, &message, Some(remedy.as_deref().unwrap_or(help)));
    }

    fn add(&mut self, name: &'static str, status: Status, message: &str, help: Option<&str>) {
        // Servers and the table wrote parts of it.
        self.0.push(Check { name, status, message: shown(message), help: help.map(shown) });
    }

    pub(super) fn checks(&self) -> &[Check] {
        &self.0
    }

    /// Whether a check of this name found a problem.
    pub(super) fn has_problem(&self, name: &str) -> bool {
        self.0.iter().any(|check| check.name == name && check.status == Status::Problem)
    }

    pub(super) fn is_well(&self) -> bool {
        self.count(Status::Problem) == 0
    }

    fn count(&self, status: Status) -> usize {
        self.0.iter().filter(|check| check.status == status).count()
    }

    /// For people, without a newline at the end.
    pub(super) fn text(&self) -> String {
        let line = |check: &Check| {
            let Check { name, status, message, help } = check;
            let mark = match status {
                Status::Ok => "ok",
                Status::Note => "note",
                Status::Problem => "problem",
                Status::Skipped => "skipped",
            };
            match (status, help) {
                (Status::Skipped, Some(why)) => format!("{mark:8}  {name}: {why}"),
                (_, Some(help)) => format!("{mark:8}  {name}: {message}\n          {help}"),
                (_, None) => format!("{mark:8}  {name}: {message}"),
            }
        };
        let mut lines: Vec<String> = self.0.iter().map(line).collect();
        let (problems, notes) = (self.count(Status::Problem), self.count(Status::Note));
        let skipped = self.count(Status::Skipped);
        let (problems, notes) = (counted(problems, "problem"), counted(notes, "note"));
        lines.push(format!("Probed: {problems}, {notes}, {skipped} skipped"));
        lines.join("\n")
    }
}

/// `1 note`, `2 notes`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
