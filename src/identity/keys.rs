//! With which keys is an issuer's token verified at this moment?
//!
//! Each issuer has a cache of its own, so that no issuer's key can ever verify another's token, whatever `kid` they
//! choose. DESIGN's numbers, for one issuer:
//!
//! | the set held | the token's `kid` is in it | it is not |
//! | --- | --- | --- |
//! | up to [`MAX_AGE`] | used | one fetch in [`REFETCH_EVERY`], else refused |
//! | up to [`HELD_FOR`] | used, and refreshed beside the request | likewise |
//! | older, or none | fetched, once in [`RETRY_EVERY`], else unavailable | likewise |

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::discovery::{self, FetchError, HttpClient};
use super::{IdentityError, Issuer, KeySet};
use crate::refreshed::{Flight, Refreshed};

/// A key that the provider withdrew is accepted for about this long.
pub(super) const MAX_AGE: Duration = Duration::from_mins(10);
/// So that strangers who make up key ids cannot make us hammer the provider.
pub(super) const REFETCH_EVERY: Duration = Duration::from_secs(30);
/// The same while no key is held, when nobody can be served.
pub(super) const RETRY_EVERY: Duration = Duration::from_secs(10);
/// How long keys serve while the provider is down: long enough for its team to mend it.
pub(super) const HELD_FOR: Duration = Duration::from_hours(4);

/// A refresh that goes on beside a request.
#[derive(Debug, Clone)]
pub struct Beside(Flight<KeySet, FetchError>);

impl Beside {
    /// Waits for the refresh to end, well or badly.
    pub async fn ended(self) {
        // Whether it went well shows in the next request; whoever fetched has logged it.
        let _ = self.0.await;
    }
}

/// The keys to verify a token with.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) set: Arc<KeySet>,
    pub(super) age: Duration,
    pub(super) refresh: Option<Beside>,
}

/// One issuer's keys.
#[derive(Debug)]
pub struct Keys {
    issuer: Arc<Issuer>,
    http: HttpClient,
    sets: Refreshed<KeySet, FetchError>,
}

impl Keys {
    pub(super) fn new(issuer: Issuer, http: HttpClient) -> Self {
        Self { issuer: Arc::new(issuer), http, sets: Refreshed::new(FetchError::Lost) }
    }

    pub(super) fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Fetches the keys ahead of the first request. Does not count as a refetch: a rotation or a hiccup right after
    /// the start is met like any other.
    pub(super) async fn prepare(&self, now: SystemTime) {
        // A failure is logged where it happens, and the first request tries again.
        let _ = self.sets.fetch(now, self.fetching()).await;
    }

    pub(super) async fn for_key_id(&self, id: Option<&str>, now: SystemTime) -> Result<Found, IdentityError> {
        let Some(held) = self.sets.held(now).filter(|held| held.age <= HELD_FOR) else {
            let Some(flight) = self.sets.fetch_at_most_every(RETRY_EVERY, now, self.fetching()) else {
                let waited = self.sets.asked_ago(now).unwrap_or_default();
                return Err(IdentityError::ProviderUnavailable { retry_after: RETRY_EVERY.saturating_sub(waited) });
            };
            let unavailable = |_| IdentityError::ProviderUnavailable { retry_after: RETRY_EVERY };
            return Ok(Found { set: flight.await.map_err(unavailable)?, age: Duration::ZERO, refresh: None });
        };
        let known = held.value.has(id);
        let flight = if known && held.age <= MAX_AGE {
            None
        } else {
            self.sets.fetch_at_most_every(REFETCH_EVERY, now, self.fetching())
        };
        let mut found = Found { set: held.value, age: held.age, refresh: None };
        match flight {
            Some(flight) if known => found.refresh = Some(Beside(flight)),
            Some(flight) => {
                if let Ok(set) = flight.await {
                    found = Found { set, age: Duration::ZERO, refresh: None };
                }
            }
            None => {}
        }
        Ok(found)
    }

    fn fetching(&self) -> impl Future<Output = Result<KeySet, FetchError>> + Send + 'static {
        let (http, issuer) = (self.http.clone(), Arc::clone(&self.issuer));
        async move { discovery::fetch_keys(&http, &issuer).await }
    }
}
