//! How do grants that are kept as files get into the table, and back?

mod apply;
mod command;
mod difference;
mod export;
mod files;
mod history;
mod order;
mod plan;
mod set;
mod show;
mod table;
#[cfg(test)]
mod tests;
mod write;
mod yaml;

use std::time::SystemTime;

use clap::Subcommand;

use crate::failure::Failure;
use crate::output::Outcome;

/// The commands about grants.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what `apply` would change; changes nothing
    Plan(command::Plan),
    /// Make the table say what the files say
    Apply(command::Apply),
    /// Write files that say what the table says
    Export(export::Export),
    /// List who changed which grant, and when
    History(history::History),
    /// Bring an old content of a grant back, as a new revision
    Rollback(history::Rollback),
}

impl Command {
    /// Does it, and says so.
    pub(crate) async fn run(self, now: SystemTime) -> Result<Outcome, Failure> {
        match self {
            Self::Plan(plan) => plan.run().await,
            Self::Apply(apply) => apply.run(now).await,
            Self::Export(export) => export.run().await,
            Self::History(history) => history.run().await,
            Self::Rollback(rollback) => rollback.run(now).await,
        }
    }
}
