//! What do `plan` and `apply` do, in which order?
//!
//! Both read the files first, and the table only if there is no mistake in the files. `apply` makes the same plan as
//! `plan`, and refuses it for everything that a person should look at first.

use std::time::SystemTime;

use clap::Args;
use hallpass::net::aws::SdkConfig;

use super::apply::{Applied, can_ask, confirm, stamp};
use super::plan::{self, Desired, Options};
use super::set::SetName;
use super::table::{Reader, Snapshot};
use super::write::Writer;
use super::{Paths, files, inputs};
use crate::failure::Failure;
use crate::operator::stack::Tables;
use crate::output::{Outcome, Output, note, print, print_json};

/// What both commands need to make a plan.
#[derive(Debug, Args)]
struct Planned {
    #[command(flatten)]
    paths: Paths,
    /// The name of this set of files; only what the set applied itself is ever deleted
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = SetName::new)]
    set: SetName,
    /// Also change items that the set did not apply
    #[arg(long)]
    take_over: bool,
    /// Also change items that somebody changed by hand since
    #[arg(long)]
    overwrite_drift: bool,
    /// Exit with 3 if anything may get wider
    #[arg(long)]
    no_widening: bool,
    #[command(flatten)]
    tables: Tables,
}

/// Options of `hallpass grants plan`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hallpass grants plan --stack hallpass\n  hallpass grants plan --stack hallpass \
                        --markdown > comment.md")]
pub(crate) struct Plan {
    #[command(flatten)]
    planned: Planned,
    /// Print Markdown, for a comment on a pull request
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Exit with 4 if there are changes
    #[arg(long)]
    detailed_exit_code: bool,
    #[command(flatten)]
    output: Output,
}

/// Options of `hallpass grants apply`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hallpass grants apply --stack hallpass\n  hallpass grants apply --stack hallpass \
                        --plan-id \"$PLAN_ID\" --source \"$GITHUB_SHA\""
)]
pub(crate) struct Apply {
    #[command(flatten)]
    planned: Planned,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Apply exactly the plan that was reviewed; any other is refused
    #[arg(long, value_name = "SHA256", value_parser = plan_id)]
    plan_id: Option<String>,
    /// Accept this many deletions and updates together, where that is much
    #[arg(long, value_name = "N")]
    allow_changes: Option<usize>,
    /// Where the change comes from, such as a commit, for the history
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,
    #[command(flatten)]
    output: Output,
}

fn plan_id(text: &str) -> Result<String, &'static str> {
    let is_id = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| text.to_ascii_lowercase()).ok_or("must be the 64 hexadecimal digits that `plan` prints")
}

/// Everything that a plan is made from.
struct Read {
    sdk: SdkConfig,
    table: String,
    desired: Desired,
    snapshot: Snapshot,
    options: Options,
}

impl Planned {
    async fn read(self) -> Result<Read, Failure> {
        let (files, desired) = files::desired(&self.paths.paths)?;
        let (sdk, stack) = self.tables.explained().await?;
        if let Some(text) = &stack.issuers {
            files::check_issuers(&files, &inputs::issuers_of_stack(text)?)?;
        }
        let table = stack.grants;
        let snapshot = Reader::new(&sdk, &table).snapshot().await?;
        let options =
            Options { set: self.set.into_string(), take_over: self.take_over, overwrite_drift: self.overwrite_drift };
        Ok(Read { sdk, table, desired, snapshot, options })
    }
}

impl Read {
    fn plan(&self) -> plan::Plan<'_> {
        plan::Plan::make(&self.table, &self.desired, &self.snapshot, &self.options)
    }
}

impl Plan {
    /// Shows the plan.
    pub(crate) async fn run(self) -> Result<Outcome, Failure> {
        let no_widening = self.planned.no_widening;
        let read = self.planned.read().await?;
        let plan = read.plan();
        if self.markdown {
            print(&plan.markdown())?;
        } else {
            self.output.print(&plan.told(), || plan.text())?;
        }
        if let Some(excess) = plan.excess().filter(|_| self.output.json) {
            note(&format!("warning: {}", excess.text()));
        }
        if no_widening && plan.may_widen() {
            return Err(widens());
        }
        let changes = self.detailed_exit_code && plan.has_changes();
        Ok(if changes { Outcome::Changes } else { Outcome::Done })
    }
}

fn widens() -> Failure {
    Failure::Forbidden("something may get wider, which --no-widening forbids; look at WIDENS and MIXED".into())
}

impl Apply {
    /// Makes the plan again, and does it.
    pub(crate) async fn run(self, now: SystemTime) -> Result<Outcome, Failure> {
        let asks = !self.yes && self.plan_id.is_none();
        if asks && !can_ask() {
            let text = "nobody can be asked here: use --plan-id with the id of the plan that was reviewed, or --yes";
            return Err(Failure::Usage(text.into()));
        }
        let no_widening = self.planned.no_widening;
        let read = self.planned.read().await?;
        let plan = read.plan();
        if !self.output.json {
            print(&plan.text())?;
        }
        let refusal = refusal(&plan, self.plan_id.as_deref(), self.allow_changes, no_widening);
        if let Some(refusal) = refusal {
            if self.output.json {
                print_json(&Applied::nothing(&plan))?;
            }
            return Err(refusal);
        }
        let applied = if plan.changes.is_empty() {
            Applied::nothing(&plan)
        } else {
            if asks {
                if self.output.json {
                    note(&plan.text());
                }
                confirm("Apply these changes?")?;
            }
            let writer = Writer::new(&read.sdk, &read.table, stamp(&read.sdk, self.source, now).await?);
            Applied::all(&plan, &writer).await?
        };
        self.output.print(&applied, || applied.text())?;
        if let Some(failure) = applied.failure() {
            return Err(failure);
        }
        let undone = plan.undone().count();
        if undone > 0 {
            let text = format!(
                "{undone} items of the set are left as they are, since somebody else changed or made them: see \
                 --overwrite-drift and --take-over"
            );
            return Err(Failure::Forbidden(text));
        }
        Ok(Outcome::Done)
    }
}

/// Why a plan is not applied.
fn refusal(
    plan: &plan::Plan<'_>,
    reviewed: Option<&str>,
    allowed: Option<usize>,
    no_widening: bool,
) -> Option<Failure> {
    if reviewed.is_some_and(|reviewed| reviewed != plan.id) {
        let text = "the plan is not the one that was reviewed: the files or the table changed since; nothing was \
                    written; review the new plan";
        return Some(Failure::Forbidden(text.into()));
    }
    if let Some(excess) = plan.excess().filter(|excess| allowed.is_none_or(|allowed| excess.changed > allowed)) {
        return Some(Failure::Forbidden(format!("{} Nothing was written.", excess.text())));
    }
    (no_widening && plan.may_widen()).then(widens)
}
