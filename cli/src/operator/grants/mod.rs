//! What can be done with grant files?

mod fmt;
mod lint;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::failure::Failure;
use crate::output::Outcome;

/// `hallpass grants …`
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Find what is wrong in grant files, without asking AWS
    Lint(lint::Arguments),
    /// Bring grant files into their one form
    Fmt(fmt::Arguments),
}

impl Command {
    /// Runs the command.
    pub(crate) fn run(self) -> Result<Outcome, Failure> {
        match self {
            Self::Lint(arguments) => arguments.run(),
            Self::Fmt(arguments) => arguments.run(),
        }
    }
}

/// Where grant files are.
#[derive(Debug, Args)]
pub(crate) struct Paths {
    /// Files and directories with grants: *.yaml, *.yml and *.json, without hidden files, *.schema.json and *.test.yaml
    #[arg(value_name = "PATH", default_value = "grants/")]
    pub(crate) paths: Vec<PathBuf>,
}
