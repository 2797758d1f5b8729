//! With which long-term key is STS asked?
//!
//! `GetFederationToken` takes no other kind of key. It is kept in Secrets Manager, held here, and replaced while
//! requests go on: rotation needs no restart, and a key that STS refuses is replaced within the request.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use aws_sdk_sts::config::Credentials;
use aws_types::SdkConfig;
use secrecy::SecretString;

use super::access_key::{AccessKey, NotAnAccessKey};
use super::broker_key_schedule::OVERLAP;
use super::sts::{Issued, StsError};
use crate::grants::Session;
use crate::net::aws::{AtMost, ConnectOnly, STS_ATTEMPT, Upstream, attempts_of};
use crate::net::cache::{Cache, Held};

/// A key held longer is refreshed beside a request.
const REFRESH_AFTER: Duration = Duration::from_mins(5);
/// A refused key, or a refresh that fails, makes us ask Secrets Manager no more often.
const REFETCH_EVERY: Duration = Duration::from_secs(5);
/// Two attempts at Secrets Manager, and a margin. A fetch that began longer ago was frozen with the function.
const LONGEST_FETCH: Duration = Duration::from_secs(2);

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
    #[error("STS refused the broker key, and the secret could not be read again")]
    NotReplaced,
    /// The fetch ended without a result.
    #[error("the broker key could not be fetched")]
    Lost,
}

impl KeyError {
    /// The name in the audit line.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotMade => "broker_key_not_made",
            Self::Malformed => "broker_key_malformed",
            Self::Upstream(error) => error.reason(),
            Self::NotReplaced => "broker_key_not_replaced",
            Self::Lost => "broker_key_lost",
        }
    }
}

/// Why STS was not asked with success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The key was refused, and there is no other.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// STS gave no credentials.
    #[error(transparent)]
    Sts(#[from] StsError),
}

/// The broker key, ready to ask STS with.
pub struct BrokerKey {
    id: String,
    pub(super) sts: aws_sdk_sts::Client,
}

impl BrokerKey {
    /// Each key has a client of its own, over the one pool of connections.
    #[must_use]
    pub fn new(key: &AccessKey, sts: aws_sdk_sts::config::Builder) -> Self {
        let sts = aws_sdk_sts::Client::from_conf(sts.credentials_provider(key.credentials()).build());
        Self { id: key.id().to_owned(), sts }
    }
}

impl fmt::Debug for BrokerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BrokerKey")
    }
}

/// The key to ask STS with.
#[derive(Debug)]
pub struct FoundKey {
    pub key: Arc<BrokerKey>,
    /// How long it has been held.
    pub age: Duration,
}

/// Holds the broker key.
#[derive(Debug)]
pub struct BrokerKeys {
    secrets: Client,
    secret_id: String,
    sts: aws_sdk_sts::config::Builder,
    key: Cache<BrokerKey, KeyError>,
    accepted: Mutex<Option<(Arc<BrokerKey>, SystemTime)>>,
}

impl BrokerKeys {
    /// Keeps the key of the secret with this name or ARN.
    #[must_use]
    pub fn new(sdk: &SdkConfig, secret_id: String) -> Self {
        let sts =
            aws_sdk_sts::config::Builder::from(sdk).timeout_config(attempts_of(STS_ATTEMPT)).interceptor(AtMost::SMALL);
        let secrets = aws_sdk_secretsmanager::config::Builder::from(sdk).interceptor(AtMost::SMALL).build();
        let secrets = Client::from_conf(secrets);
        Self { secrets, secret_id, sts, key: Cache::new(KeyError::Lost, LONGEST_FETCH), accepted: Mutex::default() }
    }

    /// Fetches the key, and makes the connection to STS, ahead of the first request.
    pub async fn prepare(&self, now: SystemTime) {
        // What fails here fails again, and is told, in the request. Keys without value are never sent: the request
        // is emptied before it goes out.
        let nobody = Credentials::new("none", "none", None, None, "nobody");
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
            return Ok(FoundKey { key, age: Duration::ZERO });
        };
        if age > REFRESH_AFTER {
            self.key.refresh_at_most_every(REFETCH_EVERY, now, self.fetching());
        }
        Ok(FoundKey { key, age })
    }

    /// Waits for the refresh in the background to end, if there is one.
    pub async fn refreshed(&self, now: SystemTime) {
        self.key.refreshed(now).await;
    }

    /// Asks STS for a session's credentials. Where it refuses the key, the one that the secret holds by now is tried,
    /// and then the one that STS took last: it may not know a key everywhere that was made just now.
    ///
    /// # Errors
    /// [`MintError`] where no key is taken, or STS gives no credentials for another reason.
    pub async fn mint(&self, key: &Arc<BrokerKey>, session: &Session, now: SystemTime) -> Result<Issued, MintError> {
        let mut refusal = match self.mint_with(key, session, now).await {
            Err(StsError::KeyRefused(code)) => code,
            decided => return Ok(decided?),
        };
        let newer = self.instead_of(key, now).await;
        if let Ok(Some(newer)) = &newer {
            match self.mint_with(newer, session, now).await {
                Err(StsError::KeyRefused(code)) => refusal = code,
                decided => return Ok(decided?),
            }
        }
        let tried = |id: &str| {
            key.id == id || newer.as_ref().is_ok_and(|newer| newer.as_ref().is_some_and(|newer| newer.id == id))
        };
        if let Some(accepted) = self.last_accepted(now).filter(|accepted| !tried(&accepted.id)) {
            match self.mint_with(&accepted, session, now).await {
                Err(StsError::KeyRefused(code)) => refusal = code,
                decided => {
                    tracing::warn!("STS refuses the broker key, and accepts the previous one");
                    return Ok(decided?);
                }
            }
        }
        newer?;
        Err(StsError::KeyRefused(refusal).into())
    }

    async fn mint_with(&self, key: &Arc<BrokerKey>, session: &Session, now: SystemTime) -> Result<Issued, StsError> {
        let issued = key.mint(session).await?;
        *self.accepted.lock().unwrap_or_else(PoisonError::into_inner) = Some((Arc::clone(key), now));
        Ok(issued)
    }

    /// The key that STS accepted last, for as long as the rotator leaves it active. STS may not know a new key everywhere
    /// for some seconds.
    fn last_accepted(&self, now: SystemTime) -> Option<Arc<BrokerKey>> {
        let accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, when) = accepted.as_ref()?;
        now.duration_since(*when).is_ok_and(|ago| ago < OVERLAP).then(|| Arc::clone(key))
    }

    /// The key to try instead of one that STS refused; `None` where Secrets Manager gave that one only just now.
    async fn instead_of(&self, refused: &Arc<BrokerKey>, now: SystemTime) -> Result<Option<Arc<BrokerKey>>, KeyError> {
        match self.key.held(now) {
            Some(held) if !Arc::ptr_eq(&held.value, refused) => Ok(Some(held.value)),
            _ => match self.key.fetch_at_most_every(REFETCH_EVERY, now, self.fetching()) {
                Some(flight) => {
                    let fetched = flight.await?;
                    if fetched.id != refused.id {
                        // What brought another key was worth asking for: should that be rotated away at once, we ask again.
                        self.key.allow_again();
                    }
                    Ok(Some(fetched))
                }
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
            let key = fetch(&secrets, secret_id).await.map(|key| BrokerKey::new(&key, sts));
            if let Err(error) = &key {
                tracing::warn!(%error, "the broker key cannot be fetched");
            }
            key
        }
    }
}

async fn fetch(secrets: &Client, secret_id: String) -> Result<AccessKey, KeyError> {
    let answer = secrets.get_secret_value().secret_id(secret_id).send().await.map_err(|error| {
        match error.as_service_error() {
            // Also what a secret without a current version answers.
            Some(GetSecretValueError::ResourceNotFoundException(_)) => KeyError::NotMade,
            _ => Upstream::of("Secrets Manager", &error).into(),
        }
    })?;
    let text = SecretString::from(answer.secret_string.ok_or(KeyError::Malformed)?);
    AccessKey::parse(&text).map_err(|NotAnAccessKey| KeyError::Malformed)?.ok_or(KeyError::NotMade)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_that_sts_took_last_is_kept_until_the_rotator_may_retire_it() {
        let settings = |name: &str| Some(if name == "AWS_REGION" { "eu-central-1" } else { "none" }.to_owned());
        let settings = crate::net::aws::Settings::from_lookup(settings).unwrap();
        let sdk = settings.over(&crate::net::https::Https::in_tests());
        let keys = BrokerKeys::new(&sdk, "secret".into());
        let then = SystemTime::UNIX_EPOCH + Duration::from_hours(24);
        assert!(keys.last_accepted(then).is_none());
        let key = AccessKey::new("AKIAEXAMPLE".into(), "secret".into()).unwrap();
        *keys.accepted.lock().unwrap() = Some((Arc::new(BrokerKey::new(&key, keys.sts.clone())), then));
        assert!(keys.last_accepted(then + OVERLAP - Duration::from_secs(1)).is_some());
        assert!(keys.last_accepted(then + OVERLAP).is_none());
    }
}
