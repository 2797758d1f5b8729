//! How does a stack get a new broker key now?
//!
//! Secrets Manager has the rotator make it; here it is started, and waited for.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_iam::types::StatusType;
use aws_sdk_secretsmanager::operation::rotate_secret::RotateSecretError;
use tokio::time::{Instant, sleep, timeout};

use super::{AccessKey, BrokerKey, CURRENT, PENDING, has, tell};
use crate::failure::Failure;

/// A rotation takes a minute or so: soon enough for who waits, and not a burden to Secrets Manager.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often IAM is asked for the new key, which it may not list in the first seconds.
const LOOKS_FOR_KEY: u32 = 3;

/// A rotation of our own.
#[derive(Debug)]
pub(super) struct Rotation<'a> {
    key: &'a BrokerKey,
    deactivate_old: bool,
    /// Whether sessions are cut off afterwards.
    revokes: bool,
    /// The id of the version that it makes. Known in advance, so that the request can be repeated if its answer was lost.
    token: String,
}

impl<'a> Rotation<'a> {
    pub(super) fn new(key: &'a BrokerKey, deactivate_old: bool, revokes: bool) -> Self {
        Self { key, deactivate_old, revokes, token: uuid() }
    }

    /// Rotates within this time, and deactivates the old keys where that is asked for.
    pub(super) async fn run(self, wait: Duration) -> Result<(), Failure> {
        let began = Instant::now();
        let before = timeout(wait, async {
            let before = self.start().await?;
            tell(&format!("rotation started: version {}", self.token));
            if self.is_promoted(&self.token, false).await? { Ok(before) } else { Err(self.stuck("abandoned")) }
        });
        let before = before.await.map_err(|_| self.stuck(&format!("not finished after {} s", wait.as_secs())))??;
        tell(&format!("done after {} s: the new key is in use", began.elapsed().as_secs()));
        if self.deactivate_old {
            return self.deactivate(&before).await;
        }
        tell("a previous key stays active until the rotator's hourly run deactivates it");
        Ok(())
    }

    /// Starts it, after an earlier one that has not finished, and returns the keys that there were just before.
    async fn start(&self) -> Result<Vec<AccessKey>, Failure> {
        let secret = &self.key.stack.secret;
        let mut is_second_refusal = false;
        loop {
            let before = if self.deactivate_old { self.key.access_keys().await? } else { Vec::new() };
            let request = self.key.secrets.rotate_secret().secret_id(secret).client_request_token(&self.token);
            let Err(error) = request.send().await else { return Ok(before) };
            let is_refused = matches!(error.as_service_error(), Some(RotateSecretError::InvalidRequestException(_)));
            let permissions = "secretsmanager:RotateSecret on it and lambda:InvokeFunction on the rotator";
            let failure = Failure::to(format!("rotate the secret `{secret}`"), permissions)(error);
            if !is_refused {
                return Err(failure);
            }
            match self.pending().await? {
                // The answer to an attempt was lost, and the next attempt met what that one had started.
                Some(version) if version == self.token => return Ok(before),
                Some(version) => {
                    tell(&format!("an earlier rotation has not finished (version {version}): AWS tries it again"));
                    self.is_promoted(&version, true).await?;
                    is_second_refusal = false;
                }
                // An earlier one may just have finished; refused again, it is for another reason.
                None if is_second_refusal => return Err(failure),
                None => is_second_refusal = true,
            }
        }
    }

    /// Waits until the version is the current one. False if it was pending, and then neither: the rotator removes the
    /// label if the key of the version is gone.
    async fn is_promoted(&self, version: &str, mut was_pending: bool) -> Result<bool, Failure> {
        let mut was_lost = false;
        loop {
            let stages = self.versions().await?.remove(version).unwrap_or_default();
            if has(&stages, CURRENT) {
                return Ok(true);
            }
            let is_pending = has(&stages, PENDING);
            // A second look tells a label that is gone from an answer that is older than the one before.
            let is_lost = was_pending && !is_pending;
            if is_lost && was_lost {
                return Ok(false);
            }
            (was_pending, was_lost) = (was_pending || is_pending, is_lost);
            sleep(LOOK_EVERY).await;
        }
    }

    /// The version of a rotation that has not finished.
    async fn pending(&self) -> Result<Option<String>, Failure> {
        let mut versions = self.versions().await?.into_iter();
        let unfinished = versions.find(|(_, stages)| has(stages, PENDING) && !has(stages, CURRENT));
        Ok(unfinished.map(|(version, _)| version))
    }

    /// The versions of the secret with their labels.
    async fn versions(&self) -> Result<HashMap<String, Vec<String>>, Failure> {
        Ok(self.key.secret().await?.version_ids_to_stages.unwrap_or_default())
    }

    /// Deactivates the keys that there were before, if this rotation has made the only other one.
    async fn deactivate(&self, before: &[AccessKey]) -> Result<(), Failure> {
        let user = &self.key.stack.user;
        let is_old = |key: &AccessKey| before.iter().any(|old| old.id == key.id);
        let mut after = self.key.access_keys().await?;
        for _ in 1..LOOKS_FOR_KEY {
            if after.iter().all(is_old) {
                sleep(LOOK_EVERY).await;
                after = self.key.access_keys().await?;
            }
        }
        let (old, new): (Vec<_>, Vec<_>) = after.into_iter().partition(is_old);
        if !matches!(new.as_slice(), [key] if key.active) {
            let found = new.iter().map(|key| format!("{} {}", key.id, key.state())).collect::<Vec<_>>().join(", ");
            let found = if found.is_empty() { "none".into() } else { found };
            let not_revoked = if self.revokes { ", and no session was cut off" } else { "" };
            return Err(Failure::new(format!(
                "`{user}` should have one new access key, active, and has {found}: no key was deactivated; \"The broker key \
                 leaked\" in docs/runbook.md says how to do it by hand{not_revoked}"
            )));
        }
        for AccessKey { id, .. } in old.iter().filter(|key| key.active) {
            let request =
                self.key.iam.update_access_key().user_name(user).access_key_id(id).status(StatusType::Inactive);
            let what = format!("deactivate the access key `{id}` of `{user}`");
            let done = request.send().await.map_err(Failure::to(what, "iam:UpdateAccessKey"));
            done.map_err(|failure| if self.revokes { not_revoked(&failure) } else { failure })?;
            tell(&format!("deactivated {id}"));
        }
        if !self.revokes {
            let stack = &self.key.stack.name;
            tell(&format!(
                "sessions made with an old key work until they expire: `hallpass revoke --everyone --stack {stack}` ends them"
            ));
        }
        Ok(())
    }

    fn stuck(&self, how: &str) -> Failure {
        let (log, stack) = (self.key.stack.rotator_log(), &self.key.stack.name);
        let kept = match (self.deactivate_old, self.revokes) {
            (true, true) => ", no key was deactivated, and no session was cut off",
            (true, false) => ", and no key was deactivated",
            (false, _) => "",
        };
        Failure::new(format!(
            "the rotation was {how}{kept}: see {log}, the rotator's alarm, docs/runbook.md and `hallpass key status --stack {stack}`"
        ))
    }
}

/// Sessions are only cut off when no old key can make new ones.
fn not_revoked(failure: &Failure) -> Failure {
    Failure::new(format!("{failure}; no session was cut off: run the same command again when that is fixed"))
}

/// A UUID of version 4 (RFC 9562, section 5.4): it must be new, and is not a secret.
fn uuid() -> String {
    let (node, version, variant) =
        (fastrand::u64(..=0xffff_ffff_ffff), fastrand::u16(0x4000..=0x4fff), fastrand::u16(0x8000..=0xbfff));
    format!("{:08x}-{:04x}-{version:04x}-{variant:04x}-{:012x}", fastrand::u32(..), fastrand::u16(..), node)
}
