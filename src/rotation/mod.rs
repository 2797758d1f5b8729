//! How does the broker key change, so that nobody ever holds it and no request fails?
//!
//! Secrets Manager invokes the rotator with four steps, in order, and again where one failed:
//!
//! ```text
//! createSecret   a new access key in IAM, kept as AWSPENDING
//! setSecret      nothing: IAM knows the key since it made it
//! testSecret     until STS takes the key
//! finishSecret   AWSCURRENT moves to it; the key before it is AWSPREVIOUS, and still works
//! ```
//!
//! Fifteen minutes later at the least, when every function reads the new key, an hourly invocation deactivates the one
//! before it. The next rotation deletes it. The first rotation begins with a placeholder and is like any other.
//!
//! Each step may be repeated, may come at the wrong time, may run twice at once, and may die between any two calls. What
//! it does then follows from what Secrets Manager and IAM say, never from memory. Only a key that STS takes and IAM lists
//! for the user becomes current.
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html>
//!
//! # Which keys are deleted or turned off
//!
//! IAM may carry out a request long after it was sent. Between the two, another invocation may make a key current. So it
//! is not enough that a key is not in use when we look.
//!
//! INVARIANT: a key is deleted or turned off only if no invocation can make it current from then on. These are three:
//!
//! - **An abandoned key**: no version holds it, and it is older than `ABANDONED`. Only the invocation that made it knows
//!   its secret, and that one has ended. A younger key is left alone, also if a rotation fails because of it: its
//!   invocation may be about to keep it, to test it and to promote it.
//! - **The previous key**. Only a pending version becomes current, and each has a key that was made for it.
//! - **This invocation's own key**, once Secrets Manager has refused to keep it. Nobody else knows it.
//!
//! A request is repeated only after another look at the secret, and never by the SDK: `insist`.

mod errors;
mod event;
mod iam_keys;
mod secret;
mod stack;

use std::time::{Duration, SystemTime};

use aws_sdk_sts::config::retry::RetryConfig;
use tokio::time::{Instant, sleep, timeout_at};

pub use self::errors::RotationError;
pub use self::event::{Event, EventError, StackEvent, StackRequest, Step};
use self::iam_keys::IamKeys;
use self::secret::{NotKept, Secret, Standing, Versions};
use self::stack::StackClient;
use crate::audit::Audit;
use crate::config::RotatorConfig;
use crate::credentials::broker_key_schedule::OVERLAP;
use crate::credentials::{AccessKey, BrokerKey, StsError};
use crate::net::aws::{AtMost, SdkConfig, Upstream, attempts_of};
use crate::net::https::Https;

/// IAM answers from one region for the whole partition, and takes its time to make a key.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Nobody waits for a rotation: a throttled call is worth more than one retry.
const ATTEMPTS: u32 = 4;
/// The wait before each attempt at a change. The SDK repeats none of them by itself.
const PAUSES: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// At this age a key that no version holds was abandoned by the invocation that made it. That invocation ran for 2 minutes
/// at most (`Timeout` in the template). What it sent last arrives within 5 minutes, because AWS refuses older signatures:
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>. The rest is for clocks that differ.
const ABANDONED: Duration = Duration::from_mins(15);
/// A new key works everywhere after some seconds; trials of one step go on for so long at most.
const TRIAL_LIMIT: Duration = Duration::from_mins(1);
/// And for so long at least, however late it is: Lambda ends what is too late.
const TRIAL_LEAST: Duration = Duration::from_secs(2);
/// A key that is still refused so long after it was made has another fault than its youth.
const KNOWN_EVERYWHERE: Duration = Duration::from_mins(15);
/// IAM's list may lag behind a key that was made just now.
const LIST_PAUSE: Duration = Duration::from_secs(1);
/// STS answers from many hosts: so many in a row have to take a key.
const TRIALS: u32 = 3;
/// Between two trials that went well.
const TRIAL_PAUSE: Duration = Duration::from_millis(400);
/// After the first trial that did not; doubled from there.
const TRIAL_BACKOFF: Duration = Duration::from_millis(250);
/// The longest wait between two trials.
const TRIAL_BACKOFF_LIMIT: Duration = Duration::from_secs(5);

/// Rotates the broker key.
#[derive(Debug)]
pub struct Rotator {
    secret: Secret,
    keys: IamKeys,
    sts: aws_sdk_sts::config::Builder,
    stack: StackClient,
    audit: Audit,
}

impl Rotator {
    /// Rotates the key of one user, in one secret.
    #[must_use]
    pub fn new(sdk: &SdkConfig, https: &Https, config: RotatorConfig, audit: Audit) -> Self {
        let retries = RetryConfig::standard().with_max_attempts(ATTEMPTS);
        let sdk = sdk.clone().into_builder().timeout_config(attempts_of(ATTEMPT)).retry_config(retries).build();
        // The trials are themselves the retries.
        let sts = aws_sdk_sts::config::Builder::from(&sdk).retry_config(RetryConfig::disabled());
        Self {
            secret: Secret::new(&sdk, config.broker_key),
            keys: IamKeys::new(&sdk, config.broker_user),
            sts: sts.interceptor(AtMost::SMALL),
            stack: StackClient::new(https),
            audit,
        }
    }

    /// Does what an event asks for. `left` is what is left of the invocation's time.
    ///
    /// # Errors
    /// [`RotationError`]; Lambda counts it, and whoever invoked does so again.
    pub async fn handle(&self, event: Event, left: Duration, now: SystemTime) -> Result<(), RotationError> {
        match event {
            Event::Rotation { step, secret_id, token } => self.step(step, &secret_id, &token, left, now).await,
            Event::Hourly => self.tidy(now).await,
            Event::Stack(event) => {
                let done = self.follow_stack(&event).await;
                self.stack.answer(&event, done).await
            }
        }
    }

    async fn step(
        &self,
        step: Step,
        secret_id: &str,
        token: &str,
        left: Duration,
        now: SystemTime,
    ) -> Result<(), RotationError> {
        let deadline = deadline(left);
        let versions = self.secret.versions().await?;
        if !versions.are_of(secret_id) {
            return Err(RotationError::OtherSecret);
        }
        match versions.standing(token) {
            // Whatever the step, it has been done.
            Standing::Current => return Ok(()),
            Standing::Pending if !versions.rotates() => return Err(RotationError::NotEnabled),
            Standing::Pending => {}
            Standing::Unlabelled if step == Step::TestSecret && !self.secret.holds(token).await? => {
                nothing_to_test();
                return Ok(());
            }
            Standing::Other | Standing::Unlabelled => return Err(RotationError::NotPending),
        }
        match step {
            Step::CreateSecret => self.create(&versions, token, now).await,
            Step::SetSecret => Ok(()),
            Step::TestSecret => self.test(&versions, token, deadline, now).await,
            Step::FinishSecret => self.finish(&versions, token, deadline).await,
        }
    }

    /// Makes the new key, and keeps it as the pending version.
    async fn create(&self, versions: &Versions, token: &str, now: SystemTime) -> Result<(), RotationError> {
        // Listed before the secret is read: a key that another invocation makes meanwhile is not in the list, and one
        // that it has kept meanwhile is in the secret.
        let listed = self.keys.list().await?;
        if self.secret.holds(token).await? {
            return Ok(());
        }
        let current = self.current_key(versions).await?;
        let previous = self.previous_key(versions).await?;
        let is = |key: &Option<AccessKey>, id: &str| key.as_ref().is_some_and(|key| key.id() == id);
        let (kept, unknown): (Vec<_>, Vec<_>) =
            listed.iter().partition(|key| is(&current, &key.id) || is(&previous, &key.id));
        // A secret without a current version does not say what is in use.
        let is_known = versions.current().is_some();
        let (abandoned, left): (Vec<_>, Vec<_>) =
            unknown.into_iter().partition(|key| is_known && key.age(now) >= ABANDONED);
        let mut deleted: Vec<&str> = abandoned.iter().map(|key| key.id.as_str()).collect();
        if kept.len() >= iam_keys::LIMIT {
            let previous = previous.as_ref().filter(|previous| !is(&current, previous.id()));
            deleted.push(previous.ok_or(RotationError::NoRoom)?.id());
        } else if kept.len().saturating_add(left.len()) >= iam_keys::LIMIT {
            return Err(if is_known { RotationError::TooYoung } else { RotationError::NoRoom });
        }
        for id in deleted {
            // Another invocation of this step may have gone on while this one waited for an answer.
            let is_not_overtaken = async || {
                let again = self.secret.versions().await?;
                let overtaken = again.standing(token) != Standing::Pending || again.current() != versions.current();
                if overtaken || self.secret.holds(token).await? { Err(RotationError::Overtaken) } else { Ok(()) }
            };
            insist(is_not_overtaken, async || self.keys.delete(id).await).await?;
        }
        let made = self.keys.create().await?;
        let refusal = match self.secret.put_pending(token, &made).await {
            Ok(()) => return Ok(()),
            // It may still be kept, and then another invocation goes on with it.
            Err(NotKept::InDoubt(error)) => return Err(error.into()),
            Err(NotKept::Refused(error)) => error.into(),
            Err(NotKept::Taken) => RotationError::Overtaken,
        };
        if let Err(error) = self.delete(made.id()).await {
            tracing::warn!(%error, "the new access key is left for a later rotation to delete");
        }
        Err(refusal)
    }

    /// Deletes a key that must go, whatever the secret says.
    async fn delete(&self, id: &str) -> Result<(), RotationError> {
        insist(async || Ok(()), async || self.keys.delete(id).await).await
    }

    /// Waits until STS takes the pending key. A version whose key can never be taken is given up: it would be tried again
    /// and again, and every later rotation refused because of it.
    async fn test(
        &self,
        versions: &Versions,
        token: &str,
        deadline: Instant,
        now: SystemTime,
    ) -> Result<(), RotationError> {
        let pending = match self.secret.pending_key(token).await {
            Ok(Some(key)) => Some(key),
            Err(RotationError::NotCreated) => None,
            // A copy of the placeholder.
            Ok(None) if self.current_key(versions).await?.is_none() => None,
            Ok(None) | Err(RotationError::Malformed(_)) => return self.give_up(token).await,
            Err(error) => return Err(error),
        };
        let Some(pending) = pending else {
            nothing_to_test();
            return Ok(());
        };
        let trial = self.try_out(&pending, TRIALS, deadline).await;
        if let Err(RotationError::NotTaken(StsError::KeyRefused(_))) = &trial {
            let listed = self.keys.list().await?;
            let key = listed.iter().find(|key| key.id == pending.id());
            let may_come = key.is_some_and(|key| key.is_active && key.age(now) < KNOWN_EVERYWHERE);
            if !may_come {
                return self.give_up(token).await;
            }
        }
        trial
    }

    async fn give_up(&self, token: &str) -> Result<(), RotationError> {
        self.secret.give_up(token).await?;
        Err(RotationError::GivenUp)
    }

    /// Promotes the pending key.
    async fn finish(&self, versions: &Versions, token: &str, deadline: Instant) -> Result<(), RotationError> {
        let pending = match self.secret.pending_key(token).await {
            Ok(None) | Err(RotationError::Malformed(_)) => return self.give_up(token).await,
            Ok(Some(key)) => key,
            Err(error) => return Err(error),
        };
        self.try_out(&pending, 1, deadline).await?;
        // STS takes other users' keys too, with other ceilings.
        while !self.keys.list().await?.iter().any(|key| key.id == pending.id() && key.is_active) {
            if Instant::now() >= deadline {
                return Err(RotationError::NotTheUsers);
            }
            sleep(LIST_PAUSE).await;
        }
        self.secret.promote(token, versions.current()).await
    }

    /// Tries a key until STS takes it so many times in a row, or time is over.
    async fn try_out(&self, key: &AccessKey, times: u32, deadline: Instant) -> Result<(), RotationError> {
        let key = BrokerKey::new(key, self.sts.clone());
        let (mut taken, mut backoff) = (0_u32, TRIAL_BACKOFF);
        loop {
            let trial = timeout_at(deadline, key.try_out()).await;
            let (wait, refusal) = match trial {
                Ok(Ok(())) => {
                    taken = taken.saturating_add(1);
                    if taken >= times {
                        return Ok(());
                    }
                    (TRIAL_PAUSE, None)
                }
                Ok(Err(error)) => {
                    taken = 0;
                    let wait = backoff.mul_f64(0.5 + fastrand::f64() / 2.0);
                    backoff = backoff.saturating_mul(2).min(TRIAL_BACKOFF_LIMIT);
                    (wait, Some(error))
                }
                Err(_) => (Duration::ZERO, Some(StsError::Upstream(Upstream::timeout("STS")))),
            };
            let over = Instant::now().checked_add(wait).is_none_or(|then| then >= deadline);
            match refusal {
                // What was asked for is the same each time: refused for that, it will be again.
                Some(error @ StsError::GrantRefused(_)) => return Err(RotationError::NotTaken(error)),
                Some(error) if over => return Err(RotationError::NotTaken(error)),
                _ => sleep(wait).await,
            }
        }
    }

    /// Turns the previous key off, once nobody can still use it, and reports the current one's age.
    async fn tidy(&self, now: SystemTime) -> Result<(), RotationError> {
        let versions = self.secret.versions().await?;
        let Some(current) = self.current_key(&versions).await? else {
            tracing::warn!("no broker key has been made yet");
            return Ok(());
        };
        let keys = self.keys.list().await?;
        let in_use = keys.iter().find(|key| key.id == current.id() && key.is_active);
        let in_use = in_use.ok_or(RotationError::CurrentKeyDead)?;
        self.audit.measure("BrokerKeyAge", "Seconds", in_use.age(now).as_secs(), now);

        let Some(previous) = self.previous_key(&versions).await? else { return Ok(()) };
        let superseded =
            previous.id() != current.id() && keys.iter().any(|key| key.id == previous.id() && key.is_active);
        // Not promoted later than this, whatever else changed.
        let changed_at = versions.changed_at().ok_or(RotationError::Incomplete("Secrets Manager"))?;
        let is_over = now.duration_since(changed_at).is_ok_and(|ago| ago > OVERLAP);
        if !(superseded && is_over) {
            return Ok(());
        }
        let is_unchanged = async || {
            let again = self.secret.versions().await?;
            let unchanged = again.current() == versions.current() && again.previous() == versions.previous();
            if unchanged { Ok(()) } else { Err(RotationError::Overtaken) }
        };
        match insist(is_unchanged, async || self.keys.turn_off(previous.id()).await).await {
            // A rotation has finished meanwhile. The next hour looks at what it left.
            Err(RotationError::Overtaken) => Ok(()),
            done => done,
        }
    }

    async fn current_key(&self, versions: &Versions) -> Result<Option<AccessKey>, RotationError> {
        match versions.current() {
            Some(version) => self.secret.key_of(version, "current").await,
            None => Ok(None),
        }
    }

    /// The key before the current one. A version that is no key has none: nobody could use it when it was current.
    async fn previous_key(&self, versions: &Versions) -> Result<Option<AccessKey>, RotationError> {
        let Some(version) = versions.previous() else { return Ok(None) };
        match self.secret.key_of(version, "previous").await {
            Err(RotationError::Malformed(_)) => Ok(None),
            read => read,
        }
    }

    /// IAM deletes no user who has access keys: they go before the user does, and nothing else happens by the stack.
    async fn follow_stack(&self, event: &StackEvent) -> Result<(), RotationError> {
        if event.user.as_deref() != Some(self.keys.user()) {
            return Err(EventError::OtherUser.into());
        }
        match event.request {
            StackRequest::Create | StackRequest::Update => Ok(()),
            StackRequest::Delete => {
                for key in self.keys.list_if_any().await? {
                    self.delete(&key.id).await?;
                }
                Ok(())
            }
        }
    }
}

/// Secrets Manager invokes `testSecret` alone to try a rotation's configuration out, by a version that it makes and removes
/// again (`RotateImmediately` false). In a rotation nothing depends on this answer: `finishSecret` tries the key itself.
fn nothing_to_test() {
    tracing::info!("no key is being made; there is nothing to test");
}

/// Asks for a change until it is answered, each time after another look. An attempt without an answer may be carried out
/// late: the look says whether the change is right still.
async fn insist(
    look: impl AsyncFn() -> Result<(), RotationError>,
    ask: impl AsyncFn() -> Result<(), RotationError>,
) -> Result<(), RotationError> {
    let mut answer = Ok(());
    for pause in PAUSES {
        sleep(pause).await;
        look().await?;
        answer = ask().await;
        if !matches!(answer, Err(RotationError::Upstream(Upstream::Unavailable { .. }))) {
            break;
        }
    }
    answer
}

/// When trials end, so that of an invocation's time a quarter is left for what comes after them.
fn deadline(left: Duration) -> Instant {
    let now = Instant::now();
    let quarter = left.checked_div(4).unwrap_or_default();
    now.checked_add(left.saturating_sub(quarter).clamp(TRIAL_LEAST, TRIAL_LIMIT)).unwrap_or(now)
}
