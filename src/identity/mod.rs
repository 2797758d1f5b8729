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

use futures_util::future::join_all;
use tokio::time::timeout;
use url::Url;

pub(crate) use self::claims::is_name;
pub use self::claims::{Caller, MAX_GROUPS, SingleUse};
pub use self::discovery::{FetchError, key_set_address};
pub use self::issuer::{Issuer, IssuerId, NameOwners, NameRule};
pub use self::issuer_config::parse_issuers;
pub use self::jwk::{Algorithm, KeySet};
pub use self::keys::Keys;
use self::keys::WAIT;
#[cfg(feature = "files")]
pub use self::suppose::{put_claim, suppose};
pub use self::token::{CheckedHeader, UnverifiedToken, verify};
pub use self::token_error::{Disclosure, TokenError};
use crate::net::https::Https;
use crate::net::url::origin;

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
        join_all(self.keys.iter().map(|keys| keys.prepare(now))).await;
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
        let caller = verify(checked, found.set(), now)?;
        Ok(Identified { caller, key_age: found.age })
    }

    /// Whether web pages can sign people in, at any issuer.
    #[must_use]
    pub fn signs_in_browsers(&self) -> bool {
        self.keys.iter().any(|keys| keys.issuer().signs_in_browsers())
    }

    /// The origins that a page needs to sign people in: of each issuer with a client for web pages, and of its token
    /// endpoint if that is elsewhere. An origin that is not known, or not fit for a header, is left out.
    pub async fn sign_in_origins(&self, now: SystemTime) -> Vec<String> {
        let keys = || self.keys.iter().filter(|keys| keys.issuer().signs_in_browsers());
        // All have begun before the first is waited for.
        let looking_up: Vec<_> = keys().filter_map(|keys| keys.look_up_token_endpoint(now)).collect();
        let all = async {
            for flight in looking_up {
                // What it brought is held. Its failure was logged where it happened.
                let _ = flight.await;
            }
        };
        let _ = timeout(WAIT, all).await;
        let mut origins = Vec::new();
        for (issuer, endpoint) in keys().map(|keys| (keys.issuer(), keys.token_endpoint(now))) {
            let issuer_origin = Url::parse(issuer.url()).ok().and_then(|url| origin(&url));
            let token_origin = endpoint.as_ref().and_then(origin);
            if issuer_origin.is_none() || token_origin.is_none() {
                let at = if issuer_origin.is_none() { "issuer" } else { "token endpoint" };
                tracing::warn!(issuer.id = %issuer.id(), at, "the portal may not connect there: its origin is not known");
            }
            for origin in issuer_origin.into_iter().chain(token_origin) {
                if !origins.contains(&origin) {
                    origins.push(origin);
                }
            }
        }
        origins
    }

    /// Waits for the refresh of one issuer's keys in the background, if there is one. Another issuer's is not waited for:
    /// a provider that hangs costs only its own callers time.
    pub async fn refreshed(&self, issuer: &str, now: SystemTime) {
        if let Some(keys) = self.keys.iter().find(|keys| keys.issuer().id().as_str() == issuer) {
            keys.refreshed(now).await;
        }
    }
}
