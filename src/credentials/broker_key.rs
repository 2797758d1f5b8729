//! With which long-term key is STS asked?
//!
//! `GetFederationToken` takes no other kind of key. It is kept in Secrets Manager, held here, and replaced while
//! requests go on: rotation needs no restart, and a key that STS refuses is replaced within the request.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use aws_sdk_sts::config::Credentials;
use aws_types::SdkConfig;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::refreshed::{Held, Refresh, Refreshed};
use crate::upstream::{AtMost, ConnectOnly, STS_ATTEMPT, Upstream, attempts_of};

/// A key held longer is refreshed beside a request.
const REFRESH_AFTER: Duration = Duration::from_mins(5);
/// A refused key, or a refresh that fails, makes us ask Secrets Manager no more often.
const REFETCH_EVERY: Duration = Duration::from_secs(5);

/// Where the SDK is told that the credentials come from.
const PROVIDER: &str = "broker key";

/// Why there is no broker key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nobody made one yet: the secret has no current version, or the placeholder.
    #[error("no broker key has been made yet")]
    NotMade,
    /// The secret's current version is no broker key.
    #[error("the broker key's secret cannot be parsed")]
    Malformed,
    /// Secrets Manager gave an error.
    #[error(transparent)]
    Upstream(#[from] Upstream),
    /// STS refused the key that is held, and the attempt to replace it failed just now.
    #[error("STS refused the broker key, and its secret could not be read just now")]
    NotReplaced,
    /// The fetch ended without a result.
    #[error("the fetch of the broker key ended without a result")]
    Lost,
}

/// The broker key, ready to ask STS with.
pub struct BrokerKey {
    pub(super) sts: aws_sdk_sts::Client,
}

impl fmt::Debug for BrokerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BrokerKey")
    }
}

/// The key to ask STS with, and what looking for it left behind.
#[derive(Debug)]
pub struct FoundKey {
    /// The key.
    pub key: Arc<BrokerKey>,
    /// How long it has been held.
    pub age: Duration,
    /// A refresh that goes on beside the request.
    pub refresh: Option<Refresh>,
}

/// Holds the broker key.
#[derive(Debug)]
pub struct BrokerKeys {
    secrets: Client,
    secret_id: String,
    sts: aws_sdk_sts::config::Builder,
    key: Refreshed<BrokerKey, KeyError>,
}

impl BrokerKeys {
    /// Keeps the key of the secret with this name or ARN.
    #[must_use]
    pub fn new(sdk: &SdkConfig, secret_id: String) -> Self {
        let sts =
            aws_sdk_sts::config::Builder::from(sdk).timeout_config(attempts_of(STS_ATTEMPT)).interceptor(AtMost::SMALL);
        let secrets = aws_sdk_secretsmanager::config::Builder::from(sdk).interceptor(AtMost::SMALL).build();
        Self { secrets: Client::from_conf(secrets), secret_id, sts, key: Refreshed::new(KeyError::Lost) }
    }

    /// Fetches the key, and makes the connection to STS, ahead of the first request.
    pub async fn prepare(&self, now: SystemTime) {
        // What fails here fails again, and is told, in the request. Keys without value are never sent: the request
        // is emptied before it goes out.
        let nobody = Credentials::new("none", "none", None, None, PROVIDER);
        let sts = aws_sdk_sts::Client::from_conf(self.sts.clone().credentials_provider(nobody).build());
        let connecting = sts.get_caller_identity().customize().interceptor(ConnectOnly);
        let _ = futures_util::future::join(self.key.fetch(now, self.fetching()), connecting.send()).await;
    }

    /// The key to use now.
    ///
    /// # Errors
    /// [`KeyError`] where none is held and none can be had.
    pub async fn current(&self, now: SystemTime) -> Result<FoundKey, KeyError> {
        let Some(Held { value: key, age }) = self.key.held(now) else {
            let key = self.key.fetch(now, self.fetching()).await?;
            return Ok(FoundKey { key, age: Duration::ZERO, refresh: None });
        };
        let refresh = if age > REFRESH_AFTER {
            self.key.fetch_at_most_every(REFETCH_EVERY, now, self.fetching()).map(Refresh::of)
        } else {
            None
        };
        Ok(FoundKey { key, age, refresh })
    }

    /// The key to try instead of one that STS refused; `None` where Secrets Manager gave that one only just now.
    ///
    /// # Errors
    /// [`KeyError`] where the secret cannot be read.
    pub async fn instead_of(
        &self,
        refused: &Arc<BrokerKey>,
        now: SystemTime,
    ) -> Result<Option<Arc<BrokerKey>>, KeyError> {
        match self.key.held(now) {
            Some(held) if !Arc::ptr_eq(&held.value, refused) => Ok(Some(held.value)),
            _ => match self.key.fetch_at_most_every(REFETCH_EVERY, now, self.fetching()) {
                Some(flight) => flight.await.map(Some),
                // Refused although it is as young as the last attempt: another one would bring it again.
                None if self.is_of_last_attempt(now) => Ok(None),
                None => Err(KeyError::NotReplaced),
            },
        }
    }

    fn is_of_last_attempt(&self, now: SystemTime) -> bool {
        let held = self.key.held(now);
        held.zip(self.key.asked_ago(now)).is_some_and(|(held, asked_ago)| held.age <= asked_ago)
    }

    fn fetching(&self) -> impl Future<Output = Result<BrokerKey, KeyError>> + Send + 'static {
        let (secrets, secret_id, sts) = (self.secrets.clone(), self.secret_id.clone(), self.sts.clone());
        async move {
            let key = fetch(&secrets, secret_id).await.map(|credentials| BrokerKey {
                // Each key has a client of its own, over the one pool of connections.
                sts: aws_sdk_sts::Client::from_conf(sts.credentials_provider(credentials).build()),
            });
            if let Err(error) = &key {
                tracing::warn!(%error, "the broker key cannot be fetched");
            }
            key
        }
    }
}

async fn fetch(secrets: &Client, secret_id: String) -> Result<Credentials, KeyError> {
    let answer = secrets.get_secret_value().secret_id(secret_id).send().await.map_err(|error| {
        match error.as_service_error() {
            // Also what a secret without a current version answers.
            Some(GetSecretValueError::ResourceNotFoundException(_)) => KeyError::NotMade,
            _ => Upstream::of("Secrets Manager", &error).into(),
        }
    })?;
    let text = SecretString::from(answer.secret_string.ok_or(KeyError::Malformed)?);
    Secret::parse(&text)?.into_credentials()
}

/// The secret's text, as DESIGN has it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Secret {
    access_key_id: SecretString,
    secret_access_key: SecretString,
}

impl Secret {
    #[expect(
        clippy::disallowed_methods,
        reason = "the text is read here and nowhere else; a parse error is dropped unseen"
    )]
    fn parse(text: &SecretString) -> Result<Self, KeyError> {
        serde_json::from_str(text.expose_secret()).map_err(|_| KeyError::Malformed)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the SDK's own credentials type keeps the key from here on, redacted"
    )]
    fn into_credentials(self) -> Result<Credentials, KeyError> {
        let (id, secret) = (self.access_key_id.expose_secret(), self.secret_access_key.expose_secret());
        // The placeholder with which the secret begins, until the first key is made.
        if id.is_empty() && secret.is_empty() {
            return Err(KeyError::NotMade);
        }
        let legal = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !legal(id) || !legal(secret) {
            return Err(KeyError::Malformed);
        }
        Ok(Credentials::new(id, secret, None, None, PROVIDER))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<String, KeyError> {
        let key = Secret::parse(&SecretString::from(text.to_owned()))?.into_credentials()?;
        Ok(key.access_key_id().to_owned())
    }

    #[test]
    fn a_secret_is_the_two_halves_of_a_key() {
        assert_eq!(
            read(r#"{"AccessKeyId":"AKIAEXAMPLE","SecretAccessKey":"not+a/real=one"}"#),
            Ok("AKIAEXAMPLE".into())
        );
    }

    #[test]
    fn the_placeholder_is_a_key_that_nobody_made_yet() {
        assert_eq!(read(r#"{"AccessKeyId":"","SecretAccessKey":""}"#), Err(KeyError::NotMade));
    }

    #[test]
    fn any_other_secret_is_malformed() {
        for text in [
            String::new(),
            "AKIAEXAMPLE".into(),
            "{}".into(),
            json!({"AccessKeyId": "AKIAEXAMPLE"}).to_string(),
            json!({"AccessKeyId": "AKIAEXAMPLE", "SecretAccessKey": null}).to_string(),
            json!({"AccessKeyId": "AKIAEXAMPLE", "SecretAccessKey": ""}).to_string(),
            json!({"AccessKeyId": "", "SecretAccessKey": "x"}).to_string(),
            json!({"AccessKeyId": "AKIA EXAMPLE", "SecretAccessKey": "x"}).to_string(),
            json!({"AccessKeyId": "AKIAEXAMPLE", "SecretAccessKey": "x\n"}).to_string(),
            r#"{"AccessKeyId":"a","AccessKeyId":"b","SecretAccessKey":"x"}"#.into(),
        ] {
            assert_eq!(read(&text), Err(KeyError::Malformed), "{text}");
        }
    }

    #[test]
    fn neither_half_is_ever_printed() {
        let secret =
            Secret::parse(&SecretString::from(r#"{"AccessKeyId":"AKIACANARY","SecretAccessKey":"canary"}"#)).unwrap();
        assert!(
            !format!("{:?} {:?}", secret.access_key_id, secret.secret_access_key).to_lowercase().contains("canary")
        );
        assert!(!format!("{:?}", secret.into_credentials().unwrap()).contains("canary"));
    }
}
