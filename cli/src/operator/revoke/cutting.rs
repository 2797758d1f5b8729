//! In which order are sessions cut off?
//!
//! A person who is not blocked gets a new session at the next renewal, which the cut would not refuse. So the block is
//! written first, before the boundary is even looked at, and the time of the cut is taken after it, with room for a request
//! that was just let through. Then the names that are known are cut off, and only then is read what may show more of them:
//! neither the block nor the first cut waits for that, or fails with it.

use std::time::{Duration, SystemTime};

use hallpass::grants::Principal;
use hallpass::net::aws::SdkConfig;

use super::boundary::{Boundary, Unfinished};
use super::cuts::Cuts;
use super::names::Names;
use super::replace::Change;
use super::whom::Whom;
use crate::failure::Failure;
use crate::operator::grants::shown;
use crate::operator::stack::Explained;
use crate::output::note;

/// Seconds by which a cut is later than now. The function answers a request within 1.5 s, so a session that was on its way
/// when the block was written begins before that. The rest is for clocks of AWS that differ.
const AHEAD: i64 = 2;
/// Seconds for the same after a key was deactivated. Until IAM has forgotten a key everywhere, it makes sessions.
const AHEAD_OF_KEY: i64 = 15;
/// The longest that a session lasts.
const LONGEST_SESSION: Duration = Duration::from_hours(36);
/// Lines that were written while the others were read, or came late.
const RECENTLY: Duration = Duration::from_mins(5);

/// A cut that is to be made. Those who would renew the sessions are blocked before it.
#[derive(Debug)]
pub(crate) struct Cutting<'a> {
    whom: Whom,
    /// Names that are cut off with the others.
    more: Names,
    stack: &'a Explained,
    sdk: &'a SdkConfig,
    now: SystemTime,
}

/// A cut that is in force.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(super) cuts: Cuts,
    /// What the person at the keyboard should know.
    notes: Vec<String>,
    boundary: Boundary,
    /// When this time has come, new sessions work.
    settled: i64,
    /// Why sessions that are meant may be missing.
    missing: Option<Failure>,
}

impl<'a> Cutting<'a> {
    /// Of a principal.
    pub(crate) fn of(principal: &Principal, stack: &'a Explained, sdk: &'a SdkConfig, now: SystemTime) -> Self {
        Self::with(Whom::Principal(principal.clone()), Names::new(), stack, sdk, now)
    }

    /// Of everybody whom this means, and of more names.
    pub(super) fn with(whom: Whom, more: Names, stack: &'a Explained, sdk: &'a SdkConfig, now: SystemTime) -> Self {
        Self { whom, more, stack, sdk, now }
    }

    /// Cuts off what began before now. A failure says that nobody's sessions were cut off, and who is blocked.
    pub(crate) async fn cut(self, blocked: Option<&Principal>) -> Result<Cut, Failure> {
        self.write().await.map_err(|unfinished| failed(blocked, unfinished))
    }

    async fn write(self) -> Result<Cut, Unfinished> {
        let boundary = Boundary::of(self.stack, self.sdk).await?;
        let mut names = Names::new();
        let found = self.whom.add_names(self.stack, self.sdk, LONGEST_SESSION, self.now, &mut names).await;
        let missing = match found {
            Err(failure) if names.is_empty() => return Err(failure.into()),
            found => found.err(),
        };
        names.extend(self.more.iter().cloned());
        let before = boundary.now()?.saturating_add(AHEAD);
        let mut cut = Cut::write(boundary, self.whom.cuts(&names, before), before).await?;
        cut.missing = missing;
        self.cut_late(&mut cut, &mut names).await;
        names.retain(|name| !self.more.contains(name));
        cut.notes.extend(self.whom.note(&names));
        Ok(cut)
    }

    /// Cuts off those that are found only in lines that were not read before.
    async fn cut_late(&self, cut: &mut Cut, names: &mut Names) {
        let mut late = Names::new();
        let length = if self.whom.is_by_audit_lines() { RECENTLY } else { LONGEST_SESSION };
        let read = self.whom.add_names_by_lines(self.stack, self.sdk, length, self.now, &mut late).await;
        match (read, self.whom.is_by_audit_lines()) {
            (Err(failure), true) => cut.lack(failure),
            (Err(failure), false) => cut.notes.push(format!(
                "warning: a name that this user had in the last 36 hours and that was released since may still work: {failure}"
            )),
            (Ok(true), false) if late.is_empty() => cut
                .notes
                .push("warning: no session of this user in the last 36 hours; is the subject right? A wrong one blocks nobody".into()),
            (Ok(_), _) => {}
        }
        late.retain(|name| !names.iter().any(|known| known.folded() == name.folded()));
        if late.is_empty() {
            return;
        }
        let added = async {
            let before = cut.boundary.now()?.saturating_add(AHEAD);
            cut.add(self.whom.cuts(&late, before), before).await
        };
        if let Err(unfinished) = added.await {
            let all: Vec<&str> = late.iter().map(hallpass::session::FederatedName::as_str).collect();
            cut.lack(Failure::new(format!("cannot cut off {}: {}", all.join(", "), Failure::from(unfinished))));
        }
        names.append(&mut late);
    }
}

/// Says what was done in spite of a failure.
pub(super) fn failed(blocked: Option<&Principal>, unfinished: Unfinished) -> Failure {
    let text = match unfinished {
        Unfinished::Untouched(failure) => {
            format!("no session was cut off: {failure}; when that is put right, run the same command again")
        }
        Unfinished::Written(failure) => failure.to_string(),
    };
    Failure::new(match blocked {
        Some(principal) => format!("{} is blocked; {text}", shown(principal.as_str())),
        None => text,
    })
}

impl Cut {
    /// Cuts everybody off after a key was deactivated.
    pub(crate) async fn after_key(stack: &Explained, sdk: &SdkConfig) -> Result<Self, Failure> {
        let boundary = Boundary::of(stack, sdk).await?;
        let before = boundary.now()?.saturating_add(AHEAD_OF_KEY);
        Ok(Self::write(boundary, Cuts::of_everyone(before), before).await?)
    }

    async fn write(boundary: Boundary, cuts: Cuts, before: i64) -> Result<Self, Unfinished> {
        let mut cut = Self { cuts: Cuts::default(), notes: Vec::new(), boundary, settled: before, missing: None };
        cut.add(cuts, before).await?;
        Ok(cut)
    }

    async fn add(&mut self, cuts: Cuts, before: i64) -> Result<(), Unfinished> {
        if cuts.is_empty() {
            return Ok(());
        }
        let known = self.boundary.check_room(&cuts).await?;
        let in_force = self.boundary.change(Change::Add(cuts.clone())).await?;
        let others = in_force.without(&cuts);
        let moved = others.moved_since(&known);
        if !moved.is_empty() {
            self.notes.push(format!(
                "there was no room for the times of earlier cuts, so sessions that began since then are refused, too, of {}",
                moved.join(", ")
            ));
        }
        self.cuts = std::mem::take(&mut self.cuts).union(&cuts);
        self.settled = self.settled.max(before);
        Ok(())
    }

    fn lack(&mut self, failure: Failure) {
        self.missing.get_or_insert(failure);
    }

    /// Says what the person at the keyboard should know, and waits until new sessions work. It fails if sessions that are
    /// meant may be missing.
    pub(crate) async fn end(self) -> Result<(), Failure> {
        self.notes.iter().for_each(|line| note(line));
        self.boundary.wait_until(self.settled).await;
        let Some(failure) = self.missing else { return Ok(()) };
        Err(Failure::new(format!(
            "other sessions may not be cut off: {failure}; when that is put right, run the same command again"
        )))
    }
}
