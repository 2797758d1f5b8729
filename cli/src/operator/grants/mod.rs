//! What can be done with grants that are kept as files?

#[cfg(feature = "operator")]
mod apply;
#[cfg(feature = "operator")]
mod command;
#[cfg(feature = "operator")]
mod difference;
#[cfg(feature = "operator")]
mod explain;
#[cfg(feature = "operator")]
mod export;
#[cfg(feature = "operator")]
mod files;
mod fmt;
#[cfg(feature = "operator")]
mod history;
mod inputs;
mod lint;
#[cfg(feature = "operator")]
mod order;
#[cfg(feature = "operator")]
mod plan;
#[cfg(feature = "operator")]
mod set;
#[cfg(feature = "operator")]
mod show;
#[cfg(feature = "operator")]
mod table;
#[cfg(feature = "operator")]
mod table_lint;
mod test;
#[cfg(feature = "operator")]
#[cfg(test)]
mod tests;
#[cfg(feature = "operator")]
mod write;

use std::path::PathBuf;
use std::time::SystemTime;

// What other commands about the tables need, too.
#[cfg(feature = "operator")]
pub(super) use self::apply::{can_ask, confirm, stamp};
#[cfg(feature = "operator")]
pub(super) use self::inputs::{issuers_of_stack, text};
#[cfg(feature = "operator")]
pub(super) use self::table::{Block, Reader, Record, block_key, client, name_owner, shown};
#[cfg(feature = "operator")]
pub(super) use self::table_lint::{Linted, lint_table};
#[cfg(feature = "operator")]
pub(super) use self::write::Stamp;

use clap::{Args, Subcommand};

use crate::failure::Failure;
use crate::output::Outcome;

/// `hallpass grants …`
#[derive(Debug, Subcommand)]
#[cfg_attr(feature = "operator", expect(clippy::large_enum_variant, reason = "there is one, for the whole run"))]
pub(crate) enum Command {
    /// Find what is wrong in grant files, without asking AWS
    Lint(lint::Arguments),
    /// Bring grant files into their one form
    Fmt(fmt::Arguments),
    /// Run the tests next to grant files, without asking AWS
    Test(test::Arguments),
    /// Show what `apply` would change, and change nothing
    #[cfg(feature = "operator")]
    Plan(command::Plan),
    /// Make the table say what the files say
    #[cfg(feature = "operator")]
    Apply(command::Apply),
    /// Show what a caller would get, and why
    #[cfg(feature = "operator")]
    Explain(explain::Arguments),
    /// Write files that say what the table says
    #[cfg(feature = "operator")]
    Export(export::Export),
    /// List who changed which grant, and when
    #[cfg(feature = "operator")]
    History(history::History),
    /// Bring an old content of a grant back, as a new revision
    #[cfg(feature = "operator")]
    Rollback(history::Rollback),
}

impl Command {
    /// Runs the command.
    #[cfg_attr(
        not(feature = "operator"),
        expect(clippy::unused_async, reason = "what works without AWS does not wait")
    )]
    pub(crate) async fn run(self, now: SystemTime) -> Result<Outcome, Failure> {
        match self {
            Self::Lint(arguments) => arguments.run(),
            Self::Fmt(arguments) => arguments.run(),
            Self::Test(arguments) => arguments.run(now),
            #[cfg(feature = "operator")]
            Self::Plan(plan) => plan.run().await,
            #[cfg(feature = "operator")]
            Self::Apply(apply) => apply.run(now).await,
            #[cfg(feature = "operator")]
            Self::Explain(explain) => explain.run(now).await,
            #[cfg(feature = "operator")]
            Self::Export(export) => export.run().await,
            #[cfg(feature = "operator")]
            Self::History(history) => history.run().await,
            #[cfg(feature = "operator")]
            Self::Rollback(rollback) => rollback.run(now).await,
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
