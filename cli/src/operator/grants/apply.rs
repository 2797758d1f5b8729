//! How do changes get made, and what is said if not all of them are?

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::SystemTime;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use hallpass::net::aws::SdkConfig;
use hallpass::time::{rfc3339, seconds};
use serde::Serialize;

use super::order::{Step, steps};
use super::plan::Plan;
use super::show::Told;
use super::table::Key;
use super::write::{Stamp, Unwritten, Writer, Written};
use crate::failure::Failure;
use crate::operator::interrupt::Interrupt;
use crate::output::note;

/// Transactions in flight at one time. DynamoDB answers one within tens of milliseconds, so this is some hundred a
/// second.
const IN_FLIGHT: usize = 16;

/// What was applied, and what was not.
#[derive(Debug, Serialize)]
pub(super) struct Applied<'a> {
    #[serde(flatten)]
    plan: Told<'a>,
    done: Vec<Done<'a>>,
    not_done: Vec<&'a Key>,
    #[serde(skip)]
    pub(super) stopped: Option<Stopped>,
}

#[derive(Debug, Serialize)]
struct Done<'a> {
    #[serde(flatten)]
    key: &'a Key,
    revision: String,
}

/// Why not everything was done.
#[derive(Debug)]
pub(super) enum Stopped {
    /// Somebody else changed something since the plan was made.
    Conflict(BTreeSet<Key>),
    /// The person at the keyboard, or the machine, wants an end.
    Interrupted,
    /// It did not work. These may have been written: DynamoDB did not say.
    Failed(Failure, BTreeSet<Key>),
}

impl<'a> Applied<'a> {
    /// A plan of which nothing was done.
    pub(super) fn nothing(plan: &'a Plan<'_>) -> Self {
        let not_done = plan.changes.iter().map(|change| change.key).collect();
        Self { plan: plan.told(), done: Vec::new(), not_done, stopped: None }
    }

    /// Makes the changes of a plan, until something prevents one.
    pub(super) async fn all(plan: &'a Plan<'_>, writer: &Writer) -> Result<Self, Failure> {
        let mut interrupt = Interrupt::listen()?;
        let progress = Progress::of(plan.changes.len());
        let (mut done, mut stopped) = (Vec::new(), None);
        for class in steps(plan) {
            // What narrows must be there before anything widens.
            if stopped.is_some() {
                break;
            }
            let mut waiting = class.into_iter();
            let mut running = FuturesUnordered::new();
            loop {
                while stopped.is_none() && running.len() < IN_FLIGHT {
                    let Some(step) = waiting.next() else { break };
                    running.push(written(writer, step));
                }
                let next = tokio::select! {
                    next = running.next() => next,
                    () = interrupt.came(), if stopped.is_none() => {
                        stopped = Some(Stopped::Interrupted);
                        note("finishing the writes that have begun");
                        continue;
                    }
                };
                let Some((step, result)) = next else { break };
                let keys = || step.iter().map(|write| write.key.clone());
                match (result, &mut stopped) {
                    (Ok(Written::Done), _) => {
                        let last = step.iter().filter(|write| write.is_last);
                        done.extend(last.map(|write| Done { key: write.key, revision: write.revision.to_string() }));
                        progress.show(done.len());
                    }
                    (Ok(Written::Conflict), Some(Stopped::Conflict(all))) => all.extend(keys()),
                    // What failed says more, and what is perhaps written must be told.
                    (Ok(Written::Conflict), Some(Stopped::Failed(..))) => {}
                    (Ok(Written::Conflict), None | Some(Stopped::Interrupted)) => {
                        stopped = Some(Stopped::Conflict(keys().collect()));
                    }
                    (Err(Unwritten { is_unknown, .. }), Some(Stopped::Failed(_, all))) => {
                        all.extend(keys().filter(|_| is_unknown));
                    }
                    (Err(Unwritten { failure, is_unknown }), _) => {
                        stopped = Some(Stopped::Failed(failure, keys().filter(|_| is_unknown).collect()));
                    }
                }
            }
        }
        progress.end();
        done.sort_by_key(|done| done.key);
        let finished: BTreeSet<&Key> = done.iter().map(|done| done.key).collect();
        let keys = plan.changes.iter().map(|change| change.key);
        let not_done: Vec<&Key> = keys.filter(|key| !finished.contains(key)).collect();
        // A signal that comes just before the end still counts.
        let stopped = stopped.filter(|stopped| !(matches!(stopped, Stopped::Interrupted) && not_done.is_empty()));
        Ok(Self { plan: plan.told(), done, not_done, stopped })
    }

    /// For people, without a line break at the end.
    pub(super) fn text(&self) -> String {
        match &self.stopped {
            None if self.done.is_empty() => "Nothing to do: nothing was written.".into(),
            None if self.done.len() == 1 => "Applied 1 change.".into(),
            None => format!("Applied {} changes.", self.done.len()),
            Some(_) => {
                let mut lines = vec![format!("Done: {} of {} changes.", self.done.len(), self.total())];
                lines.extend(self.done.iter().map(|done| format!("  {}", done.key)));
                lines.push("Not done:".into());
                let unclear: BTreeSet<&Key> = match &self.stopped {
                    Some(Stopped::Conflict(keys) | Stopped::Failed(_, keys)) => keys.iter().collect(),
                    Some(Stopped::Interrupted) | None => BTreeSet::new(),
                };
                let reason = match &self.stopped {
                    Some(Stopped::Conflict(_)) => "  somebody else changed it meanwhile",
                    Some(Stopped::Failed(..)) => "  perhaps written: DynamoDB did not say",
                    Some(Stopped::Interrupted) | None => "",
                };
                lines.extend(self.not_done.iter().map(|key| {
                    let reason = if unclear.contains(key) { reason } else { "" };
                    format!("  {key}{reason}")
                }));
                lines.join("\n")
            }
        }
    }

    fn total(&self) -> usize {
        self.done.len().saturating_add(self.not_done.len())
    }

    /// The failure that ends the command, if anything stopped it.
    pub(super) fn failure(self) -> Option<Failure> {
        let (done, total) = (self.done.len(), self.total());
        let again = "run `hallpass grants apply` again, and it finishes";
        let text = match self.stopped? {
            Stopped::Conflict(keys) => {
                let first = keys.first().map(ToString::to_string).unwrap_or_default();
                let text = format!(
                    "a conflict: somebody else changed `{first}` after the plan was made; {done} of {total} changes are \
                     done; look at a new plan"
                );
                return Some(Failure::Forbidden(text));
            }
            Stopped::Interrupted => format!("stopped as you asked; {done} of {total} changes are done; {again}"),
            Stopped::Failed(failure, _) => format!("{failure}; {done} of {total} changes are done; {again}"),
        };
        Some(Failure::new(text))
    }
}

async fn written<'a>(writer: &Writer, step: Step<'a>) -> (Step<'a>, Result<Written, Unwritten>) {
    let result = writer.write(&step).await;
    (step, result)
}

/// Who writes, and when.
pub(crate) async fn stamp(sdk: &SdkConfig, source: Option<String>, now: SystemTime) -> Result<Stamp, Failure> {
    let asked = aws_sdk_sts::Client::new(sdk).get_caller_identity().send().await;
    let by = asked.map_err(Failure::to("ask STS who you are", "sts:GetCallerIdentity"))?.arn;
    let by = by.ok_or_else(|| Failure::new("STS does not say who you are"))?;
    let at = rfc3339(seconds(now)).ok_or_else(|| Failure::new("the clock of this machine is wrong"))?;
    Ok(Stamp { by, at, source })
}

/// Whether somebody is there to answer a question.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks, and takes only `yes` for one.
pub(crate) fn confirm(question: &str) -> Result<(), Failure> {
    let mut err = io::stderr().lock();
    let mut answer = String::new();
    let read = write!(err, "{question} Only `yes` is a yes: ")
        .and_then(|()| err.flush())
        .and_then(|()| io::stdin().read_line(&mut answer));
    match read {
        Ok(_) if answer.trim() == "yes" => Ok(()),
        Ok(_) => Err(Failure::new("you did not say `yes`; nothing was written")),
        Err(_) => Err(Failure::new("cannot read your answer; nothing was written")),
    }
}

/// How far it is, for a terminal alone.
struct Progress {
    total: usize,
    is_shown: bool,
}

impl Progress {
    fn of(total: usize) -> Self {
        Self { total, is_shown: io::stderr().is_terminal() }
    }

    fn show(&self, done: usize) {
        if self.is_shown {
            let mut err = io::stderr().lock();
            let _ = write!(err, "\r{done} of {} changes are written", self.total).and_then(|()| err.flush());
        }
    }

    fn end(&self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}
