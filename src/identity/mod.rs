//! Who is calling?
//!
//! A token that a stranger sent ([`UnverifiedToken`]) becomes a [`Caller`] only in [`verify`], which with the
//! [`CheckedHeader`] before it holds every rule. [`Identity`] adds what the rules need from outside: the configured
//! [`Issuer`]s and their keys.

mod claims;
mod client;
mod discovery;
mod issuer;
mod issuer_config;
mod jwk;
mod keys;
mod shared_providers;
mod skipped_keys;
#[cfg(feature = "files")]
mod suppose;
#[cfg(test)]
mod tests;
mod token;
mod token_error;

use std::time::{Duration, SystemTime};

pub(crate) use self::claims::is_name;
pub use self::claims::{Caller, MAX_GROUPS, SingleUse};
pub use self::discovery::{FetchError, key_set_address};
pub use self::issuer::{Issuer, IssuerId, NameOwners, NameRule};
pub use self::issuer_config::parse_issuers;
pub use self::jwk::{Algorithm, KeySet};
pub use self::keys::Keys;
#[cfg(feature = "files")]
pub use self::suppose::{put_claim, suppose};
pub use self::token::{CheckedHeader, UnverifiedToken, verify};
pub use self::token_error::{Disclosure, TokenError};
use crate::net::https::Https;

/// Why nobody could be identified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The caller's fault: this token will not do.
    #[error("{0}")]
    Token(#[from] TokenError),
    /// The provider's fault: no key of it is held, and none came in time.
    #[error("no key of the identity provider is held, and none came in time")]
    ProviderUnavailable {
        /// When asking again may help.
        retry_after: Duration,
    },
}

impl IdentityError {
    /// The name in the audit line.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Token(error) => error.reason(),
            Self::ProviderUnavailable { .. } => "identity_provider_unavailable",
        }
    }
}

/// A verified caller.
#[derive(Debug)]
pub struct Identified {
    pub caller: Caller,
    /// How old the key set was that verified the token.
    pub key_age: Duration,
}

/// The trusted issuers with their keys.
#[derive(Debug)]
pub struct Identity {
    keys: Vec<Keys>,
}

impl Identity {
    /// Trusts exactly `issuers`, whose keys are fetched over `https`.
    #[must_use]
    pub fn new(issuers: Vec<Issuer>, https: &Https) -> Self {
        Self { keys: issuers.into_iter().map(|issuer| Keys::new(issuer, https.clone())).collect() }
    }

    /// Fetches every issuer's keys, so that the first request finds them. What fails is fetched by the request.
    pub async fn prepare(&self, now: SystemTime) {
        futures_util::future::join_all(self.keys.iter().map(|keys| keys.prepare(now))).await;
    }

    /// Finds out who sent `token`. The issuer is picked from the configured list before any network access, and
    /// only its own keys are ever looked at.
    ///
    /// # Errors
    /// [`IdentityError`] names whose fault it is.
    pub async fn identify(&self, token: UnverifiedToken, now: SystemTime) -> Result<Identified, IdentityError> {
        let named = token.issuer()?;
        let keys = self.keys.iter().find(|keys| keys.issuer().url() == named).ok_or(TokenError::IssuerUnknown)?;
        let checked = token.check_header(keys.issuer())?;
        let found = keys.for_header(checked.key_id(), checked.algorithm(), now).await?;
        let caller = verify(checked, &found.set, now)?;
        Ok(Identified { caller, key_age: found.age })
    }

    /// Waits for the refresh of one issuer's keys in the background, if there is one. Another issuer's is not waited for:
    /// a provider that hangs costs only its own callers time.
    pub async fn refreshed(&self, issuer: &str, now: SystemTime) {
        if let Some(keys) = self.keys.iter().find(|keys| keys.issuer().id().as_str() == issuer) {
            keys.refreshed(now).await;
        }
    }
}
