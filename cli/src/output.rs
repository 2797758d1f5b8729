//! How does a command say what it found?
//!
//! Results go to standard output, for people or as JSON for programs. Progress, warnings and errors go to standard error.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::failure::Failure;

/// How a command ended that did its work. The exit codes are a promise: scripts depend on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// 0: done, and all is well.
    Done,
    /// 3: problems were found.
    Problems,
    /// 4: there are changes, for those who asked for this code.
    #[cfg_attr(not(feature = "files"), expect(dead_code, reason = "operators' commands end so"))]
    Changes,
    /// The exit code of the command that was run.
    #[cfg(feature = "person")]
    Passed(u8),
}

impl Outcome {
    /// The exit code.
    pub(crate) fn code(self) -> ExitCode {
        match self {
            Self::Done => ExitCode::SUCCESS,
            Self::Problems => ExitCode::from(3),
            Self::Changes => ExitCode::from(4),
            #[cfg(feature = "person")]
            Self::Passed(code) => ExitCode::from(code),
        }
    }
}

/// For whom the results are.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Output {
    /// Print JSON, with times as RFC 3339 in UTC
    #[arg(long)]
    pub(crate) json: bool,
}

impl Output {
    /// Prints the results in the form that was asked for.
    pub(crate) fn print(self, results: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json { print_json(results) } else { print(&text()) }
    }
}

/// Prints a text and a line break to standard output, at once.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    written.map_err(|_| Failure::new("cannot write to standard output"))
}

/// Prints one JSON document to standard output.
pub(crate) fn print_json(results: &impl Serialize) -> Result<(), Failure> {
    print(&serde_json::to_string_pretty(results).map_err(|_| Failure::new("cannot write the results as JSON"))?)
}

/// Prints a line to standard error. If nobody can read it any more, the work goes on.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
