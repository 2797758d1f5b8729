//! In which order are sessions cut off?
//!
//! A person who is not blocked gets a new session at the next renewal, which the cut would not refuse. So the block is
//! written first, and the time of the cut is taken after it, with room for a request that was just let through. Before
//! both of them nothing is written, if the boundary has no room or was edited.

use std::time::{Duration, SystemTime};

use hallpass::grants::Principal;
use hallpass::net::aws::SdkConfig;

use super::boundary::Boundary;
use super::cuts::Cuts;
use super::names::Names;
use super::replace::Change;
use super::whom::Whom;
use crate::failure::Failure;
use crate::operator::grants::shown;
use crate::operator::stack::Explained;

/// Seconds by which a cut is later than now. The function answers a request within 1.5 s, so a session that was on its way
/// when the block was written begins before that. The rest is for clocks of AWS that differ.
const AHEAD: i64 = 2;
/// Seconds for the same after a key was deactivated. Until IAM has forgotten a key everywhere, it makes sessions.
const AHEAD_OF_KEY: i64 = 15;
/// The longest that a session lasts.
const LONGEST_SESSION: Duration = Duration::from_hours(36);
/// Lines that were written while the others were read, or came late.
const RECENTLY: Duration = Duration::from_mins(5);

/// A cut that can be made: the boundary is the broker user's, nobody edited it, and it has room.
#[derive(Debug)]
pub(crate) struct Cutting<'a> {
    boundary: Boundary,
    whom: Whom,
    names: Names,
    /// What was cut off before.
    known: Cuts,
    stack: &'a Explained,
    sdk: &'a SdkConfig,
    now: SystemTime,
}

/// A cut that is in force.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(super) cuts: Cuts,
    /// What the person at the keyboard should know.
    pub(crate) notes: Vec<String>,
    boundary: Boundary,
    /// When this time has come, new sessions work.
    settled: i64,
}

impl<'a> Cutting<'a> {
    /// Of a principal who is blocked next.
    pub(crate) async fn prepare(
        principal: &Principal,
        stack: &'a Explained,
        sdk: &'a SdkConfig,
        now: SystemTime,
    ) -> Result<Self, Failure> {
        let boundary = Boundary::of(stack, sdk).await?;
        Self::with(boundary, Whom::Principal(principal.clone()), Names::new(), stack, sdk, now).await
    }

    /// Of everybody whom this means, and of more names.
    pub(super) async fn with(
        boundary: Boundary,
        whom: Whom,
        mut more: Names,
        stack: &'a Explained,
        sdk: &'a SdkConfig,
        now: SystemTime,
    ) -> Result<Self, Failure> {
        more.append(&mut whom.names(stack, sdk, LONGEST_SESSION, now).await?);
        let known = boundary.check_room(&whom.cuts(&more, boundary.now()?)).await?;
        Ok(Self { boundary, whom, names: more, known, stack, sdk, now })
    }

    pub(super) fn whom(&self) -> &Whom {
        &self.whom
    }

    /// Cuts off what began before now, when those who would renew it are blocked.
    pub(crate) async fn cut(self) -> Result<Cut, Failure> {
        let blocked = self.whom.principal().cloned();
        self.cut_unblocked().await.map_err(|failure| match blocked {
            Some(principal) => Failure::new(format!("{} is blocked; {failure}", shown(principal.as_str()))),
            None => failure,
        })
    }

    /// Cuts off what began before now. Somebody may renew it.
    pub(super) async fn cut_unblocked(mut self) -> Result<Cut, Failure> {
        if self.whom.is_by_audit_lines() {
            self.names.append(&mut self.whom.names(self.stack, self.sdk, RECENTLY, self.now).await?);
        }
        let before = self.boundary.now()?.saturating_add(AHEAD);
        let cuts = self.whom.cuts(&self.names, before);
        let mut cut = Cut::write(self.boundary, cuts, before, &self.known).await?;
        cut.notes.extend(self.whom.note(&self.names));
        Ok(cut)
    }
}

impl Cut {
    /// Cuts everybody off after a key was deactivated.
    pub(crate) async fn after_key(stack: &Explained, sdk: &SdkConfig) -> Result<Self, Failure> {
        let boundary = Boundary::of(stack, sdk).await?;
        let before = boundary.now()?.saturating_add(AHEAD_OF_KEY);
        Self::write(boundary, Cuts::of_everyone(before), before, &Cuts::default()).await
    }

    async fn write(boundary: Boundary, cuts: Cuts, before: i64, known: &Cuts) -> Result<Self, Failure> {
        let mut notes = Vec::new();
        if !cuts.is_empty() {
            let in_force = boundary.change(Change::Add(cuts.clone())).await?;
            let others = in_force.without(&cuts);
            let moved = others.moved_since(known);
            if !moved.is_empty() {
                notes.push(format!(
                    "there was no room for the times of earlier cuts, so sessions that began since then are refused, too, of {}",
                    moved.join(", ")
                ));
            }
        }
        Ok(Self { cuts, notes, boundary, settled: before })
    }

    /// Waits until new sessions work.
    pub(crate) async fn settle(&self) {
        self.boundary.wait_until(self.settled).await;
    }
}
