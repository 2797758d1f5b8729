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
//! Each step may be repeated, may come at the wrong time, and may die between any two calls. What it does then follows
//! from what Secrets Manager and IAM say, never from memory. A key is deleted only when the secret was read and does not
//! hold it, or when it is the older of two; and only a key that STS takes and IAM lists for the user becomes current.
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html>

mod access_keys;
mod event;
mod secret;
mod stack;

use std::time::{Duration, SystemTime};

use aws_sdk_sts::config::retry::RetryConfig;
use tokio::time::{Instant, sleep, timeout_at};

use self::access_keys::AccessKeys;
pub use self::event::{Event, EventError, StackEvent, StackRequest, Step};
use self::secret::{NotKept, Secret, Standing, Versions};
use self::stack::StackClient;
use crate::audit::Audit;
use crate::config::RotatorConfig;
use crate::credentials::{AccessKey, BrokerKey, StsError};
use crate::upstream::{AtMost, SdkConfig, Upstream, attempts_of};

/// IAM answers from one region for the whole partition, and takes its time to make a key.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Nobody waits for a rotation: a throttled call is worth more than one retry.
const ATTEMPTS: u32 = 4;
/// The wait before each attempt at a change that the SDK does not repeat by itself.
const PAUSES: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// A function that read the secret just before the promotion reads it again after 5 min at most, or when refused.
const OVERLAP: Duration = Duration::from_mins(15);
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

/// Why an invocation did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    /// The event is none that the rotator knows.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The event is about another secret.
    #[error("the event names another secret than HALLPASS_BROKER_KEY")]
    OtherSecret,
    /// The secret's rotation is off: somebody cancelled it, or the stack is being deleted.
    #[error("rotation is not enabled for the secret")]
    NotEnabled,
    /// The token is no version that is being made.
    #[error("the token is no version of the secret that is AWSPENDING")]
    NotPending,
    /// The version has no key yet.
    #[error("the pending version holds no access key; createSecret comes first")]
    NotCreated,
    /// A version of the secret is no access key.
    #[error("the {0} version of the secret is no access key")]
    Malformed(&'static str),
    /// STS did not take the new key in time.
    #[error("STS does not take the new key: {0}")]
    NotTaken(StsError),
    /// STS will never take the new key: it is gone or inactive in IAM, or has been refused for too long.
    #[error("the new key is of no use; the pending version is given up, and the next rotation makes another")]
    GivenUp,
    /// Another invocation of the same step has gone further meanwhile.
    #[error("another invocation of this step was faster")]
    Overtaken,
    /// STS takes the key, and IAM does not list it.
    #[error("the pending version holds no active key of the user")]
    NotTheUsers,
    /// The user has two keys that are both needed.
    #[error("the user has two access keys, and neither can be deleted")]
    NoRoom,
    /// The key in use is gone.
    #[error("the current key does not exist in IAM, or is not active; rotate now")]
    CurrentKeyDead,
    /// An answer lacks what it must have.
    #[error("{0} answered without what was asked for")]
    Incomplete(&'static str),
    /// A service gave an error.
    #[error(transparent)]
    Upstream(#[from] Upstream),
    /// CloudFormation could not be told how it went.
    #[error("CloudFormation could not be told: {0}")]
    Untold(&'static str),
}

/// Rotates the broker key.
#[derive(Debug)]
pub struct Rotator {
    secret: Secret,
    keys: AccessKeys,
    sts: aws_sdk_sts::config::Builder,
    stack: StackClient,
    audit: Audit,
}

impl Rotator {
    /// Rotates the key of one user, in one secret.
    ///
    /// # Errors
    /// The system has no usable certificate authorities.
    pub fn new(sdk: &SdkConfig, config: RotatorConfig, audit: Audit) -> std::io::Result<Self> {
        let retries = RetryConfig::standard().with_max_attempts(ATTEMPTS);
        let sdk = sdk.clone().into_builder().timeout_config(attempts_of(ATTEMPT)).retry_config(retries).build();
        // The trials are themselves the retries.
        let sts = aws_sdk_sts::config::Builder::from(&sdk).retry_config(RetryConfig::disabled());
        Ok(Self {
            secret: Secret::new(&sdk, config.broker_key),
            keys: AccessKeys::new(&sdk, config.broker_user),
            sts: sts.interceptor(AtMost::SMALL),
            stack: StackClient::new()?,
            audit,
        })
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
            Standing::Other => return Err(RotationError::NotPending),
        }
        match step {
            Step::CreateSecret => self.create(&versions, token).await,
            Step::SetSecret => Ok(()),
            Step::TestSecret => self.test(token, deadline, now).await,
            Step::FinishSecret => self.finish(&versions, token, deadline).await,
        }
    }

    /// Makes the new key, and keeps it as the pending version.
    async fn create(&self, versions: &Versions, token: &str) -> Result<(), RotationError> {
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
        // What no version holds is of an attempt that died before it could keep the key: nobody has its secret. A secret
        // without a current version does not tell what is in use.
        let mut deleted: Vec<&str> = Vec::new();
        if versions.current().is_some() {
            deleted.extend(unknown.iter().map(|key| key.id.as_str()));
        }
        if kept.len() >= access_keys::LIMIT {
            let previous = previous.as_ref().filter(|previous| !is(&current, previous.id()));
            deleted.push(previous.ok_or(RotationError::NoRoom)?.id());
        }
        for id in deleted {
            // Another invocation of this step may have gone on while this one waited for an answer.
            let again = self.secret.versions().await?;
            let overtaken = again.standing(token) != Standing::Pending || again.current() != versions.current();
            if overtaken || self.secret.holds(token).await? {
                return Err(RotationError::Overtaken);
            }
            tracing::warn!("deleting an access key that is not in use");
            self.keys.delete(id).await?;
        }
        let made = self.keys.create().await?;
        let refusal = match self.secret.put_pending(token, &made).await {
            Ok(()) => return Ok(()),
            // It may still be kept, and then another invocation goes on with it.
            Err(NotKept::InDoubt(error)) => return Err(error.into()),
            Err(NotKept::Refused(error)) => error.into(),
            Err(NotKept::Taken) => RotationError::Overtaken,
        };
        // No version holds it, and nobody else knows it.
        if let Err(error) = self.keys.delete(made.id()).await {
            tracing::warn!(%error, "the new access key is left for a later rotation to delete");
        }
        Err(refusal)
    }

    /// Waits until STS takes the pending key. A version whose key can never be taken is given up: it would be tried again
    /// and again, and every later rotation refused because of it.
    async fn test(&self, token: &str, deadline: Instant, now: SystemTime) -> Result<(), RotationError> {
        let pending = match self.secret.pending_key(token).await {
            Err(RotationError::Malformed(_)) => {
                self.secret.give_up(token).await?;
                return Err(RotationError::GivenUp);
            }
            read => read?,
        };
        let trial = self.try_out(&pending, TRIALS, deadline).await;
        if let Err(RotationError::NotTaken(StsError::KeyRefused(_))) = &trial {
            let listed = self.keys.list().await?;
            let key = listed.iter().find(|key| key.id == pending.id());
            // By a clock that is slow, a key that was made just now comes from the future.
            let age = |made_at| now.duration_since(made_at).unwrap_or(Duration::ZERO);
            let may_come = key.is_some_and(|key| key.is_active && age(key.made_at) < KNOWN_EVERYWHERE);
            if !may_come {
                self.secret.give_up(token).await?;
                return Err(RotationError::GivenUp);
            }
        }
        trial
    }

    /// Promotes the pending key.
    async fn finish(&self, versions: &Versions, token: &str, deadline: Instant) -> Result<(), RotationError> {
        let pending = self.secret.pending_key(token).await?;
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

    /// Deactivates the previous key, once nobody can still use it, and reports the current one's age.
    async fn tidy(&self, now: SystemTime) -> Result<(), RotationError> {
        let versions = self.secret.versions().await?;
        let Some(current) = self.current_key(&versions).await? else {
            tracing::warn!("no broker key has been made yet");
            return Ok(());
        };
        let keys = self.keys.list().await?;
        let in_use = keys.iter().find(|key| key.id == current.id() && key.is_active);
        let in_use = in_use.ok_or(RotationError::CurrentKeyDead)?;
        let age = now.duration_since(in_use.made_at).unwrap_or(Duration::ZERO);
        self.audit.measure("BrokerKeyAge", "Seconds", age.as_secs(), now);

        let Some(previous) = self.previous_key(&versions).await? else { return Ok(()) };
        let superseded =
            previous.id() != current.id() && keys.iter().any(|key| key.id == previous.id() && key.is_active);
        // Not promoted later than this, whatever else changed.
        let changed_at = versions.changed_at().ok_or(RotationError::Incomplete("Secrets Manager"))?;
        if superseded && now.duration_since(changed_at).is_ok_and(|ago| ago > OVERLAP) {
            self.keys.deactivate(previous.id()).await?;
            tracing::info!("deactivated the previous access key");
        }
        Ok(())
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
                    self.keys.delete(&key.id).await?;
                }
                Ok(())
            }
        }
    }
}

/// When trials end, so that of an invocation's time a quarter is left for what comes after them.
fn deadline(left: Duration) -> Instant {
    let now = Instant::now();
    let quarter = left.checked_div(4).unwrap_or_default();
    now.checked_add(left.saturating_sub(quarter).clamp(TRIAL_LEAST, TRIAL_LIMIT)).unwrap_or(now)
}
