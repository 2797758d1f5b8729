//! In which order are sessions cut off?
//!
//! A person who is not blocked gets a new session at the next renewal, which the cut would not refuse. So the block is
//! written first, and the time of the cut is taken after it, with room for a request that was just let through. Before
//! both of them nothing is written, if the boundary has no room or was edited.

use std::time::{Duration, SystemTime};

use hallpass::net::aws::SdkConfig;

use super::boundary::Boundary;
use super::cuts::Cuts;
use super::names::Names;
use super::replace::Change;
use super::whom::Whom;
use crate::failure::Failure;
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

/// The boundary, and what is needed to find names.
#[derive(Debug)]
pub(crate) struct Cutter<'a> {
    pub(super) boundary: Boundary,
    stack: &'a Explained,
    sdk: &'a SdkConfig,
    now: SystemTime,
}

/// Cuts that are in force.
#[derive(Debug)]
pub(crate) struct Done {
    pub(super) cuts: Cuts,
    /// When this time has come, new sessions work.
    pub(super) settled: i64,
}

impl<'a> Cutter<'a> {
    /// Looks for the boundary of a stack.
    pub(crate) async fn of(stack: &'a Explained, sdk: &'a SdkConfig, now: SystemTime) -> Result<Self, Failure> {
        Ok(Self { boundary: Boundary::of(stack, sdk).await?, stack, sdk, now })
    }

    /// The names that are meant. A failure if the boundary cannot take the cut, with nothing written.
    pub(crate) async fn names(&self, whom: &Whom) -> Result<Names, Failure> {
        let names = whom.names(self.stack, self.sdk, LONGEST_SESSION, self.now).await?;
        self.boundary.check_room(&whom.cuts(&names, self.boundary.now()?)).await?;
        Ok(names)
    }

    /// Cuts the sessions off that began before now, after those who would renew them are blocked.
    pub(crate) async fn cut(&self, whom: &Whom, names: &mut Names) -> Result<Done, Failure> {
        if whom.is_by_audit_lines() {
            names.append(&mut whom.names(self.stack, self.sdk, RECENTLY, self.now).await?);
        }
        self.write(AHEAD, |before| whom.cuts(names, before)).await
    }

    /// Cuts everybody off after a key was deactivated.
    pub(crate) async fn cut_after_key(&self) -> Result<Done, Failure> {
        self.write(AHEAD_OF_KEY, Cuts::of_everyone).await
    }

    async fn write(&self, ahead: i64, cuts: impl Fn(i64) -> Cuts) -> Result<Done, Failure> {
        let before = self.boundary.now()?.saturating_add(ahead);
        let cuts = cuts(before);
        if !cuts.is_empty() {
            self.boundary.change(Change::Add(cuts.clone())).await?;
        }
        Ok(Done { cuts, settled: before })
    }

    /// Waits until new sessions work.
    pub(crate) async fn settle(&self, done: &Done) {
        self.boundary.wait_until(done.settled).await;
    }
}
