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
use crate::refreshed::{Refresh, Refreshed};

/// A key that the provider withdrew is accepted for about this long.
pub(super) const MAX_AGE: Duration = Duration::from_mins(10);
/// So that strangers who make up key ids cannot make us hammer the provider.
pub(super) const REFETCH_EVERY: Duration = Duration::from_secs(30);
/// The same while no key is held, when nobody can be served.
pub(super) const RETRY_EVERY: Duration = Duration::from_secs(10);
/// How long keys serve while the provider is down: long enough for its team to mend it.
pub(super) const HELD_FOR: Duration = Duration::from_hours(4);

/// The keys to verify a token with.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) set: Arc<KeySet>,
    pub(super) age: Duration,
    pub(super) refresh: Option<Refresh>,
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
            Some(flight) if known => found.refresh = Some(Refresh::of(flight)),
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::UNIX_EPOCH;

    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::parse_issuers;
    use super::super::signer::TestKey;
    use super::*;
    use crate::problems::Problems;

    /// A provider that misbehaves on demand.
    struct Provider {
        url: String,
        keys: Arc<Mutex<Answer>>,
        fetches: Arc<AtomicUsize>,
    }

    #[derive(Clone)]
    enum Answer {
        Keys(Vec<Value>),
        Text(String),
        Status(u16),
        RedirectTo(String),
        /// Closes the connection the first time.
        HiccupThen(Vec<Value>),
        Never,
    }

    impl Provider {
        async fn start(keys: &[&TestKey]) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let answer = Arc::new(Mutex::new(Answer::Keys(keys.iter().map(|key| key.jwk()).collect())));
            let fetches = Arc::new(AtomicUsize::new(0));
            let (shared, counter, issuer) = (Arc::clone(&answer), Arc::clone(&fetches), url.clone());
            tokio::spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let (shared, counter, issuer) = (Arc::clone(&shared), Arc::clone(&counter), issuer.clone());
                    tokio::spawn(async move {
                        let mut request = vec![0; 4096];
                        let length = stream.read(&mut request).await.unwrap();
                        let discovery = request[..length].starts_with(b"GET /.well-known/openid-configuration ");
                        let response = if discovery {
                            response(
                                200,
                                "",
                                &json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")}).to_string(),
                            )
                        } else {
                            let fetches = counter.fetch_add(1, Ordering::SeqCst);
                            let answer = shared.lock().unwrap().clone();
                            match answer {
                                Answer::HiccupThen(_) if fetches == 0 => return,
                                Answer::Keys(keys) | Answer::HiccupThen(keys) => {
                                    response(200, "", &json!({ "keys": keys }).to_string())
                                }
                                Answer::Text(text) => response(200, "", &text),
                                Answer::Status(status) => response(status, "", ""),
                                Answer::RedirectTo(to) => response(302, &format!("location: {to}\r\n"), ""),
                                Answer::Never => std::future::pending().await,
                            }
                        };
                        let _ = stream.write_all(response.as_bytes()).await;
                    });
                }
            });
            Self { url, keys: answer, fetches }
        }

        fn answers(&self, answer: Answer) {
            *self.keys.lock().unwrap() = answer;
        }

        fn publishes(&self, keys: &[&TestKey]) {
            self.answers(Answer::Keys(keys.iter().map(|key| key.jwk()).collect()));
        }

        fn fetches(&self) -> usize {
            self.fetches.load(Ordering::SeqCst)
        }

        fn keys(&self) -> Keys {
            keys_of(&json!({"id": "corp", "issuer": self.url, "audiences": ["hallpass"]}))
        }
    }

    fn keys_of(issuer: &Value) -> Keys {
        let issuer = parse_issuers(&json!([issuer]).to_string(), &mut Problems::default()).remove(0);
        Keys::new(issuer, HttpClient::new().unwrap())
    }

    fn response(status: u16, headers: &str, body: &str) -> String {
        format!("HTTP/1.1 {status} x\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    async fn knows(keys: &Keys, id: &str, now: SystemTime) -> Result<bool, IdentityError> {
        let found = keys.for_key_id(Some(id), now).await?;
        if let Some(refresh) = found.refresh {
            refresh.ended().await;
        }
        Ok(found.set.has(Some(id)))
    }

    const MINUTE: u64 = 60;
    const HOUR: u64 = 3_600;

    #[tokio::test]
    async fn keys_are_fetched_once_and_serve_for_ten_minutes() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        let keys = provider.keys();
        for second in [0, 1, 10 * MINUTE] {
            assert_eq!(knows(&keys, "k1", at(second)).await, Ok(true));
        }
        assert_eq!(provider.fetches(), 1);
    }

    #[tokio::test]
    async fn older_keys_serve_once_more_while_they_are_refreshed_beside_the_request() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        let keys = provider.keys();
        knows(&keys, "k1", at(0)).await.unwrap();
        provider.publishes(&[&TestKey::p256("k2")]);
        assert_eq!(knows(&keys, "k1", at(10 * MINUTE + 1)).await, Ok(true));
        // The refresh is there: the withdrawn key is gone, and asking for it does not refetch within the interval.
        assert_eq!(knows(&keys, "k1", at(10 * MINUTE + 2)).await, Ok(false));
        assert_eq!(knows(&keys, "k2", at(10 * MINUTE + 2)).await, Ok(true));
        assert_eq!(provider.fetches(), 2);
    }

    #[tokio::test]
    async fn a_rotation_right_after_the_start_is_met_by_one_refetch() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        let keys = provider.keys();
        keys.prepare(at(0)).await;
        provider.publishes(&[&TestKey::p256("k2")]);
        assert_eq!(knows(&keys, "k2", at(1)).await, Ok(true));
        assert_eq!(provider.fetches(), 2);
    }

    #[tokio::test]
    async fn unknown_key_ids_refetch_at_most_once_in_thirty_seconds() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        let keys = provider.keys();
        keys.prepare(at(0)).await;
        for second in 1..=30 {
            assert_eq!(knows(&keys, &format!("made-up-{second}"), at(second)).await, Ok(false));
        }
        assert_eq!(provider.fetches(), 2);
        assert_eq!(knows(&keys, "made-up", at(31)).await, Ok(false));
        assert_eq!(provider.fetches(), 3);
    }

    #[tokio::test]
    async fn a_thousand_unknown_key_ids_at_once_are_one_fetch_and_known_ones_do_not_wait_for_it() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        let keys = provider.keys();
        keys.prepare(at(0)).await;
        provider.answers(Answer::Never);
        let ids: Vec<String> = (0..1_000).map(|number| format!("made-up-{number}")).collect();
        let unknown = futures_util::future::join_all(ids.iter().map(|id| knows(&keys, id, at(1))));
        let known = async {
            tokio::task::yield_now().await;
            assert_eq!(knows(&keys, "k1", at(1)).await, Ok(true));
        };
        tokio::select! {
            biased;
            _ = unknown => panic!("the fetch that never ends has ended"),
            () = known => {}
        }
        // The one fetch reaches the provider in its own time.
        while provider.fetches() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(provider.fetches(), 2);
    }

    #[tokio::test]
    async fn a_provider_that_is_down_costs_nothing_for_four_hours_and_then_the_service() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        let keys = provider.keys();
        keys.prepare(at(0)).await;
        provider.answers(Answer::Status(503));
        assert_eq!(knows(&keys, "k1", at(HOUR)).await, Ok(true));
        assert_eq!(knows(&keys, "k2", at(2 * HOUR)).await, Ok(false), "the fetch failed while keys are held");
        assert_eq!(knows(&keys, "k1", at(4 * HOUR)).await, Ok(true));
        let unavailable = |seconds| IdentityError::ProviderUnavailable { retry_after: Duration::from_secs(seconds) };
        assert_eq!(knows(&keys, "k1", at(4 * HOUR + 1)).await, Err(unavailable(9)), "asked for a second ago");
        assert_eq!(knows(&keys, "k1", at(4 * HOUR + 10)).await, Err(unavailable(10)));
        provider.publishes(&[&TestKey::p256("k1")]);
        assert_eq!(knows(&keys, "k1", at(4 * HOUR + 12)).await, Err(unavailable(8)));
        assert_eq!(knows(&keys, "k1", at(4 * HOUR + 20)).await, Ok(true));
    }

    #[tokio::test]
    async fn a_refresh_that_fails_is_tried_again_after_thirty_seconds() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        let keys = provider.keys();
        keys.prepare(at(0)).await;
        provider.answers(Answer::Text("{}".into()));
        for second in [HOUR, HOUR + 29, HOUR + 30] {
            assert_eq!(knows(&keys, "k1", at(second)).await, Ok(true));
        }
        assert_eq!(provider.fetches(), 3);
    }

    #[tokio::test]
    async fn a_key_withdrawn_while_the_function_was_frozen_is_refused_after_the_first_request() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        let keys = provider.keys();
        keys.prepare(at(0)).await;
        provider.publishes(&[&TestKey::p256("k2")]);
        assert_eq!(knows(&keys, "k1", at(5 * HOUR)).await, Ok(false), "older than four hours: fetched first");
    }

    #[tokio::test]
    async fn bad_answers_never_replace_a_good_set() {
        let huge = format!(r#"{{"keys":[],"x":"{}"}}"#, "a".repeat(256 * 1024));
        let elsewhere = Provider::start(&[&TestKey::p256("k2")]).await;
        for bad in [
            Answer::Text(String::new()),
            Answer::Text(r#"{"keys":[]}"#.into()),
            Answer::Text(r#"{"keys":[{"kty":"EC"}]}"#.into()),
            Answer::Text("{\"keys\":[".into()),
            Answer::Text(huge),
            Answer::Status(404),
            Answer::Status(500),
            Answer::RedirectTo(format!("{}/keys", elsewhere.url)),
            Answer::Never,
        ] {
            let provider = Provider::start(&[&TestKey::p256("k1")]).await;
            let keys = provider.keys();
            keys.prepare(at(0)).await;
            provider.answers(bad);
            assert_eq!(knows(&keys, "k2", at(HOUR)).await, Ok(false));
            assert_eq!(knows(&keys, "k1", at(HOUR)).await, Ok(true));
        }
        assert_eq!(elsewhere.fetches(), 0, "no redirect is followed");
    }

    #[tokio::test]
    async fn one_broken_connection_is_invisible() {
        let key = TestKey::p256("k1");
        let provider = Provider::start(&[]).await;
        provider.answers(Answer::HiccupThen(vec![key.jwk()]));
        assert_eq!(knows(&provider.keys(), "k1", at(0)).await, Ok(true));
    }

    #[tokio::test]
    async fn a_discovery_document_of_another_issuer_lends_no_keys() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        let other = provider.url.replace("127.0.0.1", "localhost");
        let keys = keys_of(&json!({"id": "corp", "issuer": other, "audiences": ["hallpass"]}));
        assert!(knows(&keys, "k1", at(0)).await.is_err());
        assert_eq!(provider.fetches(), 0);
    }

    #[tokio::test]
    async fn a_configured_key_set_address_needs_no_discovery() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        let jwks_uri = format!("{}/keys", provider.url);
        let entry =
            json!({"id": "corp", "issuer": "https://x.example", "audiences": ["hallpass"], "jwks_uri": jwks_uri});
        assert_eq!(knows(&keys_of(&entry), "k1", at(0)).await, Ok(true));
    }
}
