//! Which versions does the boundary have, and what does AWS's clock say?
//!
//! The time of a cut is compared with the time that STS puts on a session. So AWS's clock counts, and not this machine's,
//! which may be wrong at the worst moment: each answer of IAM's says what time it is there.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_iam::Client;
use aws_sdk_iam::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_iam::config::{Builder, ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_iam::error::BoxError;
use aws_sdk_iam::operation::create_policy_version::CreatePolicyVersionError;
use aws_sdk_iam::operation::delete_policy_version::DeletePolicyVersionError;
use aws_sdk_iam::operation::get_policy_version::GetPolicyVersionError;
use aws_sdk_iam::primitives::{DateTime, DateTimeFormat};
use hallpass::net::aws::SdkConfig;
use percent_encoding::percent_decode_str;
use tokio::time::{Instant, sleep};

use super::cuts::Cuts;
use super::document::{Edited, Full, fit, parse};
use super::replace::{Answer, Ask, Change, Replacement, Stop, Turn, Versions};
use crate::failure::Failure;
use crate::operator::stack::Explained;

/// Seconds that AWS's clock can be ahead of what is known of it: `Date` has no parts of a second, and neither has the time
/// that has passed since it was read.
const SLACK: i64 = 2;

/// How often IAM is asked for what it is known to have. It may answer from before for some seconds, and each time from
/// another place.
const LOOKS: u32 = 20;
/// Between two of these.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The longest wait before another attempt while others write. It is a random one: those who wait equally long meet again.
const GIVE_WAY: Duration = Duration::from_secs(1);

/// The boundary of a stack's broker user.
#[derive(Debug)]
pub(super) struct Boundary {
    client: Client,
    arn: String,
    user: String,
    account: String,
    clock: Clock,
    seen: Mutex<Seen>,
}

/// What is known of the versions. A list of IAM that is from before does not say it.
#[derive(Debug, Default)]
struct Seen {
    /// The number of the version that this process made last.
    made: u64,
    /// The highest number that any list had.
    listed: u64,
    /// Versions that are gone. IAM uses no number twice.
    gone: BTreeSet<String>,
}

/// What the boundary holds.
#[derive(Debug)]
pub(super) struct Found {
    /// What is in force.
    pub(super) cuts: Cuts,
    /// Whether a run was stopped, and the next one has to finish it.
    pub(super) is_unfinished: bool,
    /// What all versions hold together: so much will be there after the next write.
    pub(super) all: Cuts,
}

async fn give_way() {
    sleep(GIVE_WAY.mul_f64(fastrand::f64())).await;
}

impl Seen {
    /// A list without what is gone, unless it is from before what is known.
    fn checked(&mut self, mut versions: Versions) -> Option<Versions> {
        let newest = versions.all.iter().map(|version| number_of(version)).max().unwrap_or_default();
        let is_late = number_of(&versions.default) < self.made || newest < self.listed;
        if is_late || self.gone.contains(&versions.default) {
            return None;
        }
        self.listed = newest;
        versions.all.retain(|version| !self.gone.contains(version));
        Some(versions)
    }
}

/// Why a change is not finished.
#[derive(Debug)]
pub(super) enum Unfinished {
    /// Nothing was changed.
    Untouched(Failure),
    /// A version was made, or was there. The failure says whether it is in force.
    Written(Failure),
}

impl Boundary {
    /// The boundary that the stack names, if its broker user has it.
    pub(super) async fn of(stack: &Explained, sdk: &SdkConfig) -> Result<Self, Failure> {
        let missing = |output: &str| {
            Failure::new(format!("the stack has no output `{output}`: deploy this version's template first"))
        };
        let arn = stack.boundary.clone().ok_or_else(|| missing("BoundaryPolicy"))?;
        let user = stack.user.clone().ok_or_else(|| missing("BrokerUser"))?;
        let account = arn.split(':').nth(4).filter(|account| !account.is_empty());
        let account = account.ok_or_else(|| missing("BoundaryPolicy"))?.to_owned();
        let clock = Clock::default();
        let client = Client::from_conf(Builder::from(sdk).interceptor(clock.clone()).build());
        let boundary = Self { client, arn, user, account, clock, seen: Mutex::default() };
        boundary.check_user().await?;
        boundary.now()?;
        Ok(boundary)
    }

    /// Without the boundary, nothing that is written into it ends a session of the user.
    async fn check_user(&self) -> Result<(), Failure> {
        let user = &self.user;
        let asked = self.client.get_user().user_name(user).send().await;
        let found = asked.map_err(Failure::to(format!("look at the user `{user}`"), "iam:GetUser"))?.user;
        let boundary = found.and_then(|user| user.permissions_boundary?.permissions_boundary_arn);
        if boundary.as_deref() == Some(self.arn.as_str()) {
            return Ok(());
        }
        Err(Failure::new(format!(
            "the broker user `{user}` does not have the boundary `{}`, so a cut would change nothing: put it back with \
             `aws iam put-user-permissions-boundary --user-name {user} --permissions-boundary {}`",
            self.arn, self.arn
        )))
    }

    /// Reads what it holds, and changes nothing.
    pub(super) async fn look(&self) -> Result<Found, Failure> {
        for _ in 0..LOOKS {
            let versions = self.list().await?;
            let (mut cuts, mut all) = (None, Cuts::default());
            for version in &versions.all {
                // One that is gone was put into another version by somebody who is writing now.
                let Some(document) = self.read(version).await? else { continue };
                let held = parse(&document, &self.account).map_err(|Edited| self.stopped(&Stop::Edited))?;
                all = all.union(&held);
                if *version == versions.default {
                    cuts = Some(held);
                }
            }
            if let Some(cuts) = cuts {
                return Ok(Found { cuts, all, is_unfinished: versions.all.len() > 1 });
            }
            give_way().await;
        }
        Err(self.stopped(&Stop::Contended))
    }

    /// Makes the change, and returns the cuts that are in force then.
    pub(super) async fn change(&self, change: Change) -> Result<Cuts, Unfinished> {
        let mut replacement = Replacement::new(change, &self.account, self.now()?);
        let mut ask = replacement.first();
        let failure = loop {
            if matches!(ask, Ask::Create(_)) && replacement.has_written() {
                give_way().await;
            }
            match self.answer(&ask).await.map(|answer| replacement.next(answer)) {
                Ok(Turn::Ask(next)) => ask = next,
                Ok(Turn::Done(cuts)) => return Ok(cuts),
                Ok(Turn::Stop(stop)) => break self.stopped(&stop),
                Err(failure) => break failure,
            }
        };
        let again = "run the same command again, and it finishes";
        Err(if replacement.is_in_force() {
            let text = format!("the change is in force, but old versions of the boundary are left: {failure}; {again}");
            Unfinished::Written(Failure::new(text))
        } else if replacement.has_written() {
            let text =
                format!("the change was written, and may not be in force, since others write, too: {failure}; {again}");
            Unfinished::Written(Failure::new(text))
        } else {
            let text = format!("{failure}; the boundary is not changed, as far as IAM says");
            Unfinished::Untouched(Failure::new(text))
        })
    }

    /// Whether there is room for these cuts and those that are there, which are the answer. Nothing is written.
    pub(super) async fn check_room(&self, cuts: &Cuts) -> Result<Cuts, Failure> {
        let found = self.look().await?.all;
        let all = found.clone().since(self.now()?).union(cuts);
        fit(all, &self.account).map(|_| found).map_err(|Full| self.stopped(&Stop::Full))
    }

    /// Seconds since the epoch, by AWS's clock, and not earlier than that shows.
    pub(super) fn now(&self) -> Result<i64, Failure> {
        let now = self.clock.at_least().map(|now| now.saturating_add(SLACK));
        now.ok_or_else(|| Failure::new("IAM does not say what time it is, so nothing can be cut off before now"))
    }

    /// Waits until AWS's clock shows this time.
    pub(super) async fn wait_until(&self, time: i64) {
        let left = time.saturating_sub(self.clock.at_least().unwrap_or(time));
        sleep(Duration::from_secs(u64::try_from(left).unwrap_or_default())).await;
    }

    async fn answer(&self, ask: &Ask) -> Result<Answer, Failure> {
        Ok(match ask {
            Ask::List => Answer::Versions(self.list().await?),
            Ask::Read(version) => Answer::Document(self.read(version).await?),
            Ask::Create(document) => Answer::Created(self.create(document).await?),
            Ask::Delete(version) => {
                self.delete(version).await?;
                Answer::Deleted
            }
        })
    }

    /// The versions, by a list that is not from before this process's own changes, or before what it has seen.
    async fn list(&self) -> Result<Versions, Failure> {
        for _ in 0..LOOKS {
            let versions = self.list_once().await?;
            if let Some(versions) = self.seen.lock().unwrap_or_else(PoisonError::into_inner).checked(versions) {
                return Ok(versions);
            }
            sleep(LOOK_EVERY).await;
        }
        Err(Failure::new(format!("IAM does not list the versions of `{}` that it has", self.arn)))
    }

    fn forget(&self, version: &str) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).gone.insert(version.to_owned());
    }

    async fn list_once(&self) -> Result<Versions, Failure> {
        let what = format!("list the versions of the policy `{}`", self.arn);
        let asked = self.client.list_policy_versions().policy_arn(&self.arn).send().await;
        // There are five at most, so one page has all of them.
        let listed = asked.map_err(Failure::to(what.as_str(), "iam:ListPolicyVersions"))?.versions.unwrap_or_default();
        let incomplete = || Failure::new(format!("cannot {what}: IAM's answer is incomplete"));
        let default = listed.iter().find(|version| version.is_default_version);
        let default = default.and_then(|version| version.version_id.clone()).ok_or_else(incomplete)?;
        let all = listed.into_iter().map(|version| version.version_id).collect::<Option<_>>();
        Ok(Versions { default, all: all.ok_or_else(incomplete)? })
    }

    /// The document of a version, unless somebody deleted it. One that is still listed may only not be everywhere yet.
    async fn read(&self, version: &str) -> Result<Option<String>, Failure> {
        for _ in 0..LOOKS {
            if let Some(document) = self.read_once(version).await? {
                return Ok(Some(document));
            }
            if !self.list().await?.all.iter().any(|listed| listed == version) {
                self.forget(version);
                return Ok(None);
            }
            sleep(LOOK_EVERY).await;
        }
        Err(Failure::new(format!("IAM lists the version `{version}` of `{}`, and does not show it", self.arn)))
    }

    async fn read_once(&self, version: &str) -> Result<Option<String>, Failure> {
        let asked = self.client.get_policy_version().policy_arn(&self.arn).version_id(version).send().await;
        let read = match asked {
            Err(error) if error.as_service_error().is_some_and(GetPolicyVersionError::is_no_such_entity_exception) => {
                return Ok(None);
            }
            asked => asked.map_err(Failure::to(format!("read the policy `{}`", self.arn), "iam:GetPolicyVersion"))?,
        };
        let document = read.policy_version.and_then(|version| version.document);
        // IAM encodes it as RFC 3986 says.
        let document = document.and_then(|text| Some(percent_decode_str(&text).decode_utf8().ok()?.into_owned()));
        Ok(Some(document.ok_or_else(|| self.stopped(&Stop::Edited))?))
    }

    /// Makes a version the default one, unless there are too many.
    async fn create(&self, document: &str) -> Result<Option<String>, Failure> {
        let request = self.client.create_policy_version().policy_arn(&self.arn).set_as_default(true);
        let made = match request.policy_document(document).send().await {
            Err(error)
                if error.as_service_error().is_some_and(CreatePolicyVersionError::is_limit_exceeded_exception) =>
            {
                return Ok(None);
            }
            made => made.map_err(Failure::to(format!("write the policy `{}`", self.arn), "iam:CreatePolicyVersion"))?,
        };
        let version = made.policy_version.and_then(|version| version.version_id);
        let silent = || Failure::new(format!("IAM does not say which version of `{}` it made", self.arn));
        let version = version.ok_or_else(silent)?;
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).made = number_of(&version);
        Ok(Some(version))
    }

    async fn delete(&self, version: &str) -> Result<(), Failure> {
        let asked = self.client.delete_policy_version().policy_arn(&self.arn).version_id(version).send().await;
        match asked {
            Err(error)
                if error.as_service_error().is_some_and(DeletePolicyVersionError::is_delete_conflict_exception) =>
            {
                return Ok(());
            }
            Err(error)
                if error.as_service_error().is_some_and(DeletePolicyVersionError::is_no_such_entity_exception) => {}
            asked => {
                let what = format!("delete the version `{version}` of the policy `{}`", self.arn);
                asked.map_err(Failure::to(what, "iam:DeletePolicyVersion"))?;
            }
        }
        self.forget(version);
        Ok(())
    }

    fn stopped(&self, stop: &Stop) -> Failure {
        let arn = &self.arn;
        Failure::new(match stop {
            Stop::Edited => format!(
                "somebody edited the boundary `{arn}` by hand: it is not what `hallpass revoke` writes, so nothing is \
                 written over it; \"Cut off sessions\" in docs/day-two.md says how to put it right"
            ),
            Stop::Full => {
                "the boundary is full: IAM takes 6,144 characters, which is about 120 names; `hallpass revoke --everyone` \
                 cuts off everybody's sessions, and makes room"
                    .into()
            }
            Stop::Contended => format!("others write the boundary `{arn}` all the time"),
            Stop::Confused => format!("IAM's answers about the policy `{arn}` do not fit together"),
        })
    }
}

impl From<Failure> for Unfinished {
    fn from(failure: Failure) -> Self {
        Self::Untouched(failure)
    }
}

impl From<Unfinished> for Failure {
    fn from(unfinished: Unfinished) -> Self {
        match unfinished {
            Unfinished::Untouched(failure) | Unfinished::Written(failure) => failure,
        }
    }
}

/// The number in the id of a version, such as 7 of `v7`. Later versions have higher numbers.
fn number_of(version: &str) -> u64 {
    version.strip_prefix('v').and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// AWS's clock, by the last answer.
#[derive(Debug, Clone, Default)]
struct Clock(Arc<Mutex<Option<Reading>>>);

#[derive(Debug, Clone, Copy)]
struct Reading {
    seconds: i64,
    at: Instant,
}

impl Clock {
    /// Seconds since the epoch, [`SLACK`] at most too few. None before the first answer.
    fn at_least(&self) -> Option<i64> {
        let reading = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        let since = i64::try_from(reading.at.elapsed().as_secs()).unwrap_or(i64::MAX);
        Some(reading.seconds.saturating_add(since))
    }
}

impl Intercept for Clock {
    fn name(&self) -> &'static str {
        "Clock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|date| DateTime::from_str(date, DateTimeFormat::HttpDate).ok());
        if let Some(date) = date {
            let reading = Reading { seconds: date.secs(), at: Instant::now() };
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reading);
        }
        Ok(())
    }
}
