//! What is wrong in grant files?

mod github;
mod json;
mod junit;
mod sarif;
pub(super) mod text;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use hallpass::grants::file::{Files, Finding};
use hallpass::read::rule::Severity;

use super::{Paths, inputs};
use crate::failure::Failure;
use crate::output::{Outcome, note, print};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hallpass grants lint\n  hallpass grants lint --deny-warnings --format github grants/\n  \
                        hallpass grants lint --issuers issuers.json\n\nA comment on the line above silences one warning: \
                        # hallpass: allow RULE: reason\n\nExit codes: 0 no errors, 1 a path cannot be read or no grant \
                        was found, 2 wrong usage, 3 there are errors, or with --deny-warnings warnings"
)]
pub(crate) struct Arguments {
    /// How to print the findings
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Exit with 3 if there are warnings, too
    #[arg(long)]
    deny_warnings: bool,
    /// A file with the issuers, as the function's variable has them, to check principals and requirements against them
    #[arg(long, value_name = "FILE")]
    issuers: Option<PathBuf>,
    #[command(flatten)]
    paths: Paths,
}

/// For whom findings are printed.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
    /// Annotations of GitHub Actions
    Github,
    /// For code scanning, SARIF 2.1.0
    Sarif,
    /// For CI systems that show tests
    Junit,
}

/// What was found, and in how much.
pub(super) struct Report {
    findings: Vec<Finding>,
    /// The paths of all files.
    files: Vec<String>,
    grants: usize,
    items: usize,
}

impl Arguments {
    pub(super) fn run(self) -> Result<Outcome, Failure> {
        let issuers = self.issuers.as_ref().map(|path| inputs::issuers_of_file(path)).transpose()?;
        let files = Files::read(&self.paths.paths);
        for path in files.skipped() {
            note(&format!("skipped: {} is not a grant file", path.display()));
        }
        let report = Report {
            findings: files.lint(issuers.as_deref()),
            files: files.files().iter().map(|file| file.path.display().to_string()).collect(),
            grants: files.grants(),
            items: files.items(),
        };
        match self.format {
            Format::Text => text::print(&report),
            Format::Json => json::print(&report),
            Format::Github => github::print(&report),
            Format::Sarif => sarif::print(&report),
            Format::Junit => print(&junit::report(&report)),
        }?;
        let (errors, warnings) = (report.count(Severity::Error), report.count(Severity::Warning));
        let counted = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        note(&format!(
            "{} and {} in {} ({}, {})",
            counted(errors, "error"),
            counted(warnings, "warning"),
            counted(report.files.len(), "file"),
            counted(report.grants, "grant"),
            counted(report.items, "item"),
        ));
        if files.is_unreadable() {
            return Err(Failure::new("not every path can be read"));
        }
        if errors > 0 || (self.deny_warnings && warnings > 0) {
            return Ok(Outcome::Problems);
        }
        if report.grants == 0 {
            return Err(Failure::new("there is no grant in these paths"));
        }
        Ok(Outcome::Done)
    }
}

impl Report {
    fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity() == severity).count()
    }
}
