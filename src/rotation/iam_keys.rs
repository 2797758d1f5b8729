//! Which access keys does the broker user have?
//!
//! IAM allows two: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>

use std::time::{Duration, SystemTime};

use aws_sdk_iam::Client;
use aws_sdk_iam::config::Builder;
use aws_sdk_iam::config::retry::RetryConfig;
use aws_sdk_iam::operation::delete_access_key::DeleteAccessKeyError;
use aws_sdk_iam::operation::list_access_keys::ListAccessKeysError;
use aws_sdk_iam::operation::update_access_key::UpdateAccessKeyError;
use aws_sdk_iam::types::StatusType;

use super::RotationError;
use crate::credentials::AccessKey;
use crate::net::aws::{AtMost, SdkConfig, Upstream};

/// The most keys that a user can have.
pub(super) const LIMIT: usize = 2;
/// A user has one page of keys. An answer that never ends does not come from IAM.
const PAGES: usize = 10;
/// The lengths of an access key id: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_AccessKey.html>
const ID_LENGTHS: std::ops::RangeInclusive<usize> = 16..=128;

/// The access keys of one user.
#[derive(Debug)]
pub(super) struct IamKeys {
    iam: Client,
    user: String,
}

/// An access key as IAM lists it.
#[derive(Debug)]
pub(super) struct ListedKey {
    pub(super) id: String,
    pub(super) is_active: bool,
    pub(super) made_at: SystemTime,
}

impl ListedKey {
    /// A key that was made just now comes from the future if our clock is slow.
    pub(super) fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.made_at).unwrap_or(Duration::ZERO)
    }
}

impl IamKeys {
    pub(super) fn new(sdk: &SdkConfig, user: String) -> Self {
        let iam = Builder::from(sdk).interceptor(AtMost::SMALL).build();
        Self { iam: Client::from_conf(iam), user }
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    pub(super) async fn list(&self) -> Result<Vec<ListedKey>, RotationError> {
        self.listed().await?.map_err(|NoSuchUser| Upstream::refused("IAM", "NoSuchEntity").into())
    }

    /// The same, where the user may be gone.
    pub(super) async fn list_if_any(&self) -> Result<Vec<ListedKey>, RotationError> {
        Ok(self.listed().await?.unwrap_or_default())
    }

    async fn listed(&self) -> Result<Result<Vec<ListedKey>, NoSuchUser>, RotationError> {
        let (mut keys, mut marker) = (Vec::new(), None);
        for _ in 0..PAGES {
            let page = match self.iam.list_access_keys().user_name(&self.user).set_marker(marker).send().await {
                Ok(page) => page,
                Err(error) => {
                    return match error.as_service_error() {
                        Some(ListAccessKeysError::NoSuchEntityException(_)) => Ok(Err(NoSuchUser)),
                        _ => Err(Upstream::of("IAM", &error).into()),
                    };
                }
            };
            for key in page.access_key_metadata {
                let (Some(id), Some(status), Some(made_at)) = (key.access_key_id, key.status, key.create_date) else {
                    return Err(RotationError::Incomplete("IAM"));
                };
                let made_at = SystemTime::try_from(made_at).map_err(|_| RotationError::Incomplete("IAM"))?;
                keys.push(ListedKey { id, is_active: status == StatusType::Active, made_at });
            }
            if !page.is_truncated {
                return Ok(Ok(keys));
            }
            marker = page.marker;
        }
        Err(RotationError::Incomplete("IAM"))
    }

    /// Makes a key. If the answer is lost, there is a key that nobody knows, and a second attempt would make another.
    /// A later rotation deletes it.
    pub(super) async fn create(&self) -> Result<AccessKey, RotationError> {
        let ask = self.iam.create_access_key().user_name(&self.user).customize().config_override(once());
        let made = ask.send().await.map_err(|error| Upstream::of("IAM", &error))?.access_key;
        let made = made.ok_or(RotationError::Incomplete("IAM"))?;
        tracing::info!(key = legible(&made.access_key_id), "made an access key");
        AccessKey::new(made.access_key_id, made.secret_access_key.into()).map_err(|_| RotationError::Incomplete("IAM"))
    }

    /// Deletes a key, or finds it gone.
    pub(super) async fn delete(&self, id: &str) -> Result<(), RotationError> {
        tracing::info!(key = legible(id), "deleting an access key");
        let ask = self.iam.delete_access_key().user_name(&self.user).access_key_id(id);
        match ask.customize().config_override(once()).send().await {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(DeleteAccessKeyError::NoSuchEntityException(_)) => Ok(()),
                _ => Err(Upstream::of("IAM", &error).into()),
            },
        }
    }

    /// Turns a key off, or finds it gone.
    pub(super) async fn turn_off(&self, id: &str) -> Result<(), RotationError> {
        tracing::info!(key = legible(id), "turning an access key off");
        let ask = self.iam.update_access_key().user_name(&self.user).access_key_id(id).status(StatusType::Inactive);
        match ask.customize().config_override(once()).send().await {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(UpdateAccessKeyError::NoSuchEntityException(_)) => Ok(()),
                _ => Err(Upstream::of("IAM", &error).into()),
            },
        }
    }
}

/// The SDK repeats no change of the keys by itself: what was true at the first attempt may not be true at the next.
fn once() -> Builder {
    Builder::new().retry_config(RetryConfig::disabled())
}

/// An access key id is public, as CloudTrail shows it. Anything that does not look like one may be a secret, so it is not
/// logged. A secret has lower-case letters.
fn legible(id: &str) -> &str {
    let known =
        ID_LENGTHS.contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    if known { id } else { "an unreadable id" }
}

/// IAM has no user of this name.
#[derive(Debug)]
struct NoSuchUser;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_logged_if_it_looks_like_one() {
        for id in ["AKIAIOSFODNN7EXAMPLE", "AKIA0123456789AB"] {
            assert_eq!(legible(id), id);
        }
        let long = "A".repeat(129);
        for other in ["", "AKIA", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMIaK7MDENG", "AKIA\n", &long]
        {
            assert_eq!(legible(other), "an unreadable id", "{other}");
        }
    }

    #[test]
    fn a_key_from_the_future_has_no_age() {
        let made_at = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let key = ListedKey { id: "AKIAIOSFODNN7EXAMPLE".into(), is_active: true, made_at };
        for (now, age) in [(0, 0), (99, 0), (100, 0), (101, 1), (1_000, 900)] {
            assert_eq!(key.age(SystemTime::UNIX_EPOCH + Duration::from_secs(now)), Duration::from_secs(age));
        }
    }
}
