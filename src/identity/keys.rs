//! With which keys is an issuer's token verified at this moment?
//!
//! Each issuer has a cache of its own, so that no issuer's key can ever verify another's token, whatever `kid` they
//! choose. DESIGN's numbers, for one issuer:
//!
//! | the set held | has a key for the token's `kid` and `alg` | has none |
//! | --- | --- | --- |
//! | up to [`MAX_AGE`] | used | one fetch in [`REFETCH_EVERY`], else refused |
//! | up to [`HELD_FOR`] | used, and refreshed beside the request | likewise |
//! | older, or none | fetched, once in [`RETRY_EVERY`], else unavailable | likewise |

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::timeout;
use url::Url;

use super::discovery::{self, FetchError, Published};
use super::skipped_keys::SkippedKeyLog;
use super::{Algorithm, IdentityError, Issuer, KeySet};
use crate::net::cache::{Cache, Flight, Held};
use crate::net::https::Https;

/// A key that the provider withdrew is accepted for about this long.
pub(super) const MAX_AGE: Duration = Duration::from_mins(10);
/// So that strangers who make up key ids cannot make us hammer the provider.
pub(super) const REFETCH_EVERY: Duration = Duration::from_secs(30);
/// The same while no key is held, when nobody can be served.
pub(super) const RETRY_EVERY: Duration = Duration::from_secs(10);
/// How long a request waits for a fetch, which then goes on. The whole request has 1.5 s.
pub(super) const WAIT: Duration = Duration::from_secs(1);
/// A fetch that began longer ago was frozen with the function: its connection is likely to be dead.
const LONGEST_FLIGHT: Duration = discovery::TIME_LIMIT.saturating_add(Duration::from_secs(1));
/// How long keys serve while the provider is down: long enough for its team to fix it.
pub(super) const HELD_FOR: Duration = Duration::from_hours(4);

/// The keys to verify a token with.
#[derive(Debug)]
pub(super) struct Found {
    published: Arc<Published>,
    pub(super) age: Duration,
}

impl Found {
    pub(super) fn set(&self) -> &KeySet {
        &self.published.keys
    }
}

/// One issuer's keys.
#[derive(Debug)]
pub struct Keys {
    issuer: Arc<Issuer>,
    https: Https,
    published: Cache<Published, FetchError>,
    logged: Arc<SkippedKeyLog>,
    /// What the discovery document alone says, for an issuer of which the operator named the keys. It is of the same type
    /// as `published`, so that the function holds one copy of the code.
    discovered: Cache<Published, FetchError>,
}

impl Keys {
    pub(super) fn new(issuer: Issuer, https: Https) -> Self {
        let published = Cache::new(FetchError::Lost, LONGEST_FLIGHT);
        let discovered = Cache::new(FetchError::Lost, LONGEST_FLIGHT);
        Self { issuer: Arc::new(issuer), https, published, logged: Arc::default(), discovered }
    }

    pub(super) fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Fetches the keys ahead of the first request. Does not count as a refetch: a rotation or a hiccup right after
    /// the start is met like any other.
    pub(super) async fn prepare(&self, now: SystemTime) {
        // A failure is logged where it happens, and the first request tries again.
        let _ = self.published.fetch(now, self.fetching()).await;
    }

    /// The keys for a token with this `kid` and `alg`. A request waits for [`WAIT`] at most, and what it waited for
    /// goes on: the next one is served.
    pub(super) async fn for_header(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        now: SystemTime,
    ) -> Result<Found, IdentityError> {
        let held = self.held(now);
        let interval = if held.is_some() { REFETCH_EVERY } else { RETRY_EVERY };
        if let Some(Held { value: published, age }) = held
            && published.keys.has(id, algorithm)
        {
            if age > MAX_AGE {
                self.published.refresh_at_most_every(REFETCH_EVERY, now, self.fetching());
            }
            return Ok(Found { published, age });
        }
        let is_late = match self.published.fetch_at_most_every(interval, now, self.fetching()) {
            Some(flight) => timeout(WAIT, flight).await.is_err(),
            None => false,
        };
        // Not what the fetch brought, but what is held by now: one that was frozen with the function may have ended
        // while this one was waited for.
        match self.held(now) {
            Some(Held { value: published, age }) => Ok(Found { published, age }),
            None if is_late => Err(IdentityError::ProviderUnavailable { retry_after: WAIT }),
            None => {
                let waited = self.published.asked_ago(now).unwrap_or_default();
                Err(IdentityError::ProviderUnavailable { retry_after: RETRY_EVERY.saturating_sub(waited) })
            }
        }
    }

    /// Begins to look up where clients exchange codes for tokens, if no document is held that says so; one that is old is
    /// refreshed beside the request. A request waits for [`WAIT`] at most.
    pub(super) fn look_up_token_endpoint(&self, now: SystemTime) -> Option<Flight<Published, FetchError>> {
        let (cache, fetching) = match self.issuer.discovery() {
            Some(_) => (&self.published, self.fetching()),
            None => (&self.discovered, self.discovering()),
        };
        match cache.held(now) {
            None => return cache.fetch_at_most_every(RETRY_EVERY, now, fetching),
            Some(held) if held.age > MAX_AGE => cache.refresh_at_most_every(REFETCH_EVERY, now, fetching),
            Some(_) => {}
        }
        None
    }

    /// Where clients exchange codes for tokens, in a document of any age.
    pub(super) fn token_endpoint(&self, now: SystemTime) -> Option<Url> {
        let cache = if self.issuer.discovery().is_some() { &self.published } else { &self.discovered };
        cache.held(now)?.value.token_endpoint.clone()
    }

    /// Waits for the refresh in the background to end, if there is one.
    pub(super) async fn refreshed(&self, now: SystemTime) {
        self.published.refreshed(now).await;
    }

    fn held(&self, now: SystemTime) -> Option<Held<Published>> {
        self.published.held(now).filter(|held| held.age <= HELD_FOR)
    }

    fn fetching(&self) -> BoxFuture<'static, Result<Published, FetchError>> {
        let (https, issuer, logged) = (self.https.clone(), Arc::clone(&self.issuer), Arc::clone(&self.logged));
        async move { discovery::fetch_published(&https, &issuer, &logged).await }.boxed()
    }

    fn discovering(&self) -> BoxFuture<'static, Result<Published, FetchError>> {
        let (https, issuer) = (self.https.clone(), Arc::clone(&self.issuer));
        async move { discovery::fetch_discovered(&https, &issuer).await }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use futures_util::FutureExt as _;
    use serde_json::{Value, json};

    use super::super::parse_issuers;
    use super::*;
    use crate::read::problems::Problems;
    use hallpass_testing::provider::Provider;
    use hallpass_testing::server::{Fault, Reply};
    use hallpass_testing::signer::TestKey;

    fn keys_of(issuer: &Value) -> Keys {
        let issuer = parse_issuers(&json!([issuer]).to_string(), &mut Problems::default()).remove(0);
        Keys::new(issuer, Https::in_tests())
    }

    fn keys_from(provider: &Provider) -> Keys {
        keys_of(&json!({"id": "corp", "issuer": provider.issuer(), "audiences": ["hallpass"]}))
    }

    fn status(status: u16) -> Fault {
        Fault::Answers(Reply::new(status, "text/plain", "no"))
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    async fn knows(keys: &Keys, id: &str, now: SystemTime) -> Result<bool, IdentityError> {
        let found = keys.for_header(Some(id), Algorithm::ES256, now).await?;
        keys.refreshed(now).await;
        Ok(found.set().has(Some(id), Algorithm::ES256))
    }

    /// How often discovery was asked for, with which every fetch begins.
    fn fetches(provider: &Provider) -> usize {
        provider.server.calls().iter().filter(|call| call.path.ends_with("/openid-configuration")).count()
    }

    const MINUTE: u64 = 60;
    const HOUR: u64 = 3_600;

    #[tokio::test]
    async fn keys_are_fetched_once_and_serve_for_ten_minutes() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        let keys = keys_from(&provider);
        for second in [0, 1, 10 * MINUTE] {
            assert_eq!(knows(&keys, "k1", at(second)).await, Ok(true));
        }
        assert_eq!(provider.key_fetches(), 1);
    }

    #[tokio::test]
    async fn older_keys_serve_once_more_while_they_are_refreshed_beside_the_request() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        let keys = keys_from(&provider);
        knows(&keys, "k1", at(0)).await.unwrap();
        provider.publish(&[&TestKey::p256("k2")]);
        assert_eq!(knows(&keys, "k1", at(10 * MINUTE + 1)).await, Ok(true));
        // The refresh is there: the withdrawn key is gone, and asking for it does not refetch within the interval.
        assert_eq!(knows(&keys, "k1", at(10 * MINUTE + 2)).await, Ok(false));
        assert_eq!(knows(&keys, "k2", at(10 * MINUTE + 2)).await, Ok(true));
        assert_eq!(provider.key_fetches(), 2);
    }

    #[tokio::test]
    async fn a_rotation_right_after_the_start_is_met_by_one_refetch() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        let keys = keys_from(&provider);
        keys.prepare(at(0)).await;
        provider.publish(&[&TestKey::p256("k2")]);
        assert_eq!(knows(&keys, "k2", at(1)).await, Ok(true));
        assert_eq!(provider.key_fetches(), 2);
    }

    #[tokio::test]
    async fn unknown_key_ids_refetch_at_most_once_in_thirty_seconds() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        let keys = keys_from(&provider);
        keys.prepare(at(0)).await;
        for second in 1..=30 {
            assert_eq!(knows(&keys, &format!("made-up-{second}"), at(second)).await, Ok(false));
        }
        assert_eq!(provider.key_fetches(), 2);
        assert_eq!(knows(&keys, "made-up", at(31)).await, Ok(false));
        assert_eq!(provider.key_fetches(), 3);
    }

    #[tokio::test]
    async fn a_thousand_unknown_key_ids_at_once_are_one_fetch_and_known_ones_do_not_wait_for_it() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        let keys = keys_from(&provider);
        keys.prepare(at(0)).await;
        provider.server.fail_always(&Fault::Hangs);
        let ids: Vec<String> = (0..1_000).map(|number| format!("made-up-{number}")).collect();
        let mut unknown = Box::pin(futures_util::future::join_all(ids.iter().map(|id| knows(&keys, id, at(1)))));
        let known = async {
            // The fetch is under way.
            while fetches(&provider) < 2 {
                tokio::task::yield_now().await;
            }
            for _ in 0..1_000 {
                assert_eq!(knows(&keys, "k1", at(1)).await, Ok(true));
            }
        };
        tokio::select! {
            biased;
            _ = &mut unknown => panic!("a fetch that hangs was over before what does not need it"),
            () = known => {}
        }
        assert!(unknown.await.iter().all(|known| *known == Ok(false)));
        // Nor does anybody wait while no fetch is allowed.
        let later = futures_util::future::join_all(ids.iter().map(|id| knows(&keys, id, at(30)))).now_or_never();
        assert!(later.expect("no answer needed the network").iter().all(|known| *known == Ok(false)));
        assert_eq!(fetches(&provider), 2);
    }

    #[tokio::test]
    async fn a_thousand_at_once_without_any_key_are_one_fetch_in_ten_seconds() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        provider.server.fail_always(&status(404));
        let keys = keys_from(&provider);
        let unavailable =
            |seconds| Err(IdentityError::ProviderUnavailable { retry_after: Duration::from_secs(seconds) });
        let ask = |second| {
            futures_util::future::join_all((0..1_000).map(move |_| at(second)).map(|now| knows(&keys, "k1", now)))
        };
        assert!(ask(0).await.iter().all(|answer| *answer == unavailable(10)));
        assert!(ask(9).await.iter().all(|answer| *answer == unavailable(1)));
        assert_eq!(fetches(&provider), 1);
        provider.server.heal();
        assert!(ask(10).await.iter().all(|answer| *answer == Ok(true)));
        assert_eq!(fetches(&provider), 2);
    }

    #[tokio::test]
    async fn keys_that_overlap_serve_both_and_the_old_one_until_it_is_withdrawn() {
        let (old, new) = (TestKey::p256("k1"), TestKey::p256("k2"));
        let provider = Provider::start(&[&old]).await;
        let keys = keys_from(&provider);
        keys.prepare(at(0)).await;
        provider.publish(&[&old, &new]);
        assert_eq!(knows(&keys, "k2", at(60)).await, Ok(true));
        assert_eq!(knows(&keys, "k1", at(61)).await, Ok(true));
        provider.publish(&[&new]);
        assert_eq!(knows(&keys, "k1", at(60 + 10 * MINUTE)).await, Ok(true));
        knows(&keys, "k2", at(61 + 10 * MINUTE)).await.unwrap();
        assert_eq!(knows(&keys, "k1", at(62 + 10 * MINUTE)).await, Ok(false));
    }

    #[tokio::test]
    async fn a_provider_that_is_down_costs_nothing_for_four_hours_and_then_the_service() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        let keys = keys_from(&provider);
        keys.prepare(at(0)).await;
        provider.server.fail_always(&status(503));
        assert_eq!(knows(&keys, "k1", at(HOUR)).await, Ok(true));
        assert_eq!(knows(&keys, "k2", at(2 * HOUR)).await, Ok(false), "the fetch failed while keys are held");
        assert_eq!(knows(&keys, "k1", at(4 * HOUR)).await, Ok(true));
        let unavailable = |seconds| IdentityError::ProviderUnavailable { retry_after: Duration::from_secs(seconds) };
        assert_eq!(knows(&keys, "k1", at(4 * HOUR + 1)).await, Err(unavailable(9)), "asked for a second ago");
        assert_eq!(knows(&keys, "k1", at(4 * HOUR + 10)).await, Err(unavailable(10)));
        provider.server.heal();
        assert_eq!(knows(&keys, "k1", at(4 * HOUR + 12)).await, Err(unavailable(8)));
        assert_eq!(knows(&keys, "k1", at(4 * HOUR + 20)).await, Ok(true));
    }

    #[tokio::test]
    async fn a_provider_that_is_down_for_seconds_is_not_noticed() {
        let key = TestKey::p256("k1");
        for fault in [Fault::Resets, Fault::Truncates, status(500), status(503), status(429)] {
            let provider = Provider::start(&[&key]).await;
            provider.server.fail_times(1, &fault);
            assert_eq!(knows(&keys_from(&provider), "k1", at(0)).await, Ok(true), "{fault:?}");
        }
    }

    #[tokio::test]
    async fn what_may_pass_is_tried_once_more_and_nothing_else_is() {
        for (fault, attempts) in [
            (Fault::Resets, 2),
            (status(429), 2),
            (status(500), 2),
            (status(599), 2),
            (status(204), 1),
            (status(302), 1),
            (status(400), 1),
            (status(404), 1),
            (status(499), 1),
        ] {
            let provider = Provider::start(&[&TestKey::p256("k1")]).await;
            provider.server.fail_always(&fault);
            assert!(knows(&keys_from(&provider), "k1", at(0)).await.is_err());
            assert_eq!(fetches(&provider), attempts, "{fault:?}");
        }
    }

    #[tokio::test]
    async fn a_slow_provider_serves_the_next_request_though_no_other_fetch_may_begin() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        let keys = keys_from(&provider);
        for (id, second, refused) in [
            ("k1", 0, Err(IdentityError::ProviderUnavailable { retry_after: WAIT })),
            // Within the 30 s of a refetch, too.
            ("k2", 100, Ok(false)),
        ] {
            provider.publish(&[&TestKey::p256(id)]);
            provider.server.forget_calls();
            provider.server.fail_times(1, &Fault::KeepsAnswer);
            assert_eq!(knows(&keys, id, at(second)).await, refused);
            // One that comes meanwhile waits for the same fetch.
            assert_eq!(knows(&keys, id, at(second + 2)).await, refused);
            provider.server.release();
            assert_eq!(knows(&keys, id, at(second + 3)).await, Ok(true));
            assert_eq!((fetches(&provider), provider.key_fetches()), (1, 1), "one fetch");
        }
    }

    #[tokio::test]
    async fn a_fetch_that_ends_while_nobody_waits_serves_the_next_request() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        let keys = keys_from(&provider);
        provider.server.fail_times(1, &Fault::KeepsAnswer);
        assert!(knows(&keys, "k1", at(0)).await.is_err());
        provider.server.release();
        while keys.held(at(1)).is_none() {
            tokio::task::yield_now().await;
        }
        assert_eq!(knows(&keys, "k1", at(9)).await, Ok(true), "though no other fetch may begin before 10 s");
        assert_eq!(fetches(&provider), 1);
    }

    #[tokio::test]
    async fn what_a_frozen_fetch_brings_serves_the_request_that_waits_for_another() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        let keys = keys_from(&provider);
        // The key set of the first fetch is late, and the second fetch never ends.
        provider.server.fail_call(1, &Fault::KeepsAnswer);
        for call in [2, 3] {
            provider.server.fail_call(call, &Fault::Hangs);
        }
        assert!(knows(&keys, "k1", at(0)).await.is_err());
        let thawing = async {
            while fetches(&provider) < 2 {
                tokio::task::yield_now().await;
            }
            provider.server.release();
        };
        let (known, ()) = futures_util::future::join(knows(&keys, "k1", at(60)), thawing).await;
        assert_eq!(known, Ok(true));
    }

    #[tokio::test]
    async fn a_refresh_that_fails_is_tried_again_after_thirty_seconds() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        let keys = keys_from(&provider);
        keys.prepare(at(0)).await;
        provider.publish_raw("{}");
        for second in [HOUR, HOUR + 29, HOUR + 30] {
            assert_eq!(knows(&keys, "k1", at(second)).await, Ok(true));
        }
        assert_eq!(provider.key_fetches(), 3);
    }

    #[tokio::test]
    async fn a_key_withdrawn_while_the_function_was_frozen_is_refused() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        let keys = keys_from(&provider);
        keys.prepare(at(0)).await;
        provider.publish(&[&TestKey::p256("k2")]);
        assert_eq!(knows(&keys, "k1", at(5 * HOUR)).await, Ok(false), "older than four hours: fetched first");
    }

    #[tokio::test]
    async fn what_is_held_has_the_age_of_its_fetch() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        let keys = keys_from(&provider);
        let age = async |id: &str, second| keys.for_header(Some(id), Algorithm::ES256, at(second)).await.unwrap().age;
        assert_eq!(age("k1", 0).await, Duration::ZERO);
        assert_eq!(age("k1", 90).await, Duration::from_secs(90));
        assert_eq!(age("k2", 90).await, Duration::ZERO, "fetched again for this one");
    }

    #[tokio::test]
    async fn bad_answers_never_replace_a_good_set() {
        let elsewhere = Provider::start(&[&TestKey::p256("k2")]).await;
        let keys_elsewhere = format!("{}/keys", elsewhere.issuer());
        let redirect =
            |status| Fault::Answers(Reply::new(status, "text/plain", "").header("location", keys_elsewhere.clone()));
        for bad in [
            Fault::Answers(Reply::new(200, "application/json", "")),
            Fault::Answers(Reply::new(200, "text/html", "<html>")),
            status(204),
            status(404),
            status(500),
            redirect(301),
            redirect(302),
            redirect(303),
            redirect(307),
            redirect(308),
            Fault::Resets,
            Fault::Truncates,
            Fault::Drips,
        ] {
            let provider = Provider::start(&[&TestKey::p256("k1")]).await;
            let keys = keys_from(&provider);
            keys.prepare(at(0)).await;
            provider.publish(&[&TestKey::p256("k2")]);
            provider.server.fail_always(&bad);
            assert_eq!(knows(&keys, "k2", at(HOUR)).await, Ok(false), "{bad:?}");
            assert_eq!(knows(&keys, "k1", at(HOUR)).await, Ok(true), "{bad:?}");
        }
        assert!(elsewhere.server.calls().is_empty(), "no redirect is followed");
    }

    #[tokio::test]
    async fn bad_key_sets_never_replace_a_good_one() {
        let good = json!({"keys": [TestKey::p256("k2").jwk()]}).to_string();
        let cut = good.trim_end_matches("]}");
        let twice = good.replacen('{', r#"{"keys":[],"#, 1);
        let bad_keys = r#"{"keys":[{"kty":"EC"},null]}"#;
        for bad in ["", "null", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]}"#, bad_keys, cut, &twice] {
            let provider = Provider::start(&[&TestKey::p256("k1")]).await;
            let keys = keys_from(&provider);
            keys.prepare(at(0)).await;
            provider.publish_raw(bad);
            assert_eq!(knows(&keys, "k2", at(HOUR)).await, Ok(false), "{bad}");
            assert_eq!(knows(&keys, "k1", at(HOUR)).await, Ok(true), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_key_set_has_256_kib_at_most() {
        let provider = Provider::start(&[]).await;
        let of_length = |length: usize| {
            let text = json!({"keys": [TestKey::p256("k1").jwk()]}).to_string();
            format!("{text}{}", " ".repeat(length - text.len()))
        };
        provider.publish_raw(of_length(256 * 1024 + 1));
        assert!(knows(&keys_from(&provider), "k1", at(0)).await.is_err());
        provider.publish_raw(of_length(256 * 1024));
        assert_eq!(knows(&keys_from(&provider), "k1", at(0)).await, Ok(true));
    }

    #[tokio::test]
    async fn a_discovery_document_of_another_issuer_lends_no_keys() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        let other = provider.issuer().replace("127.0.0.1", "localhost");
        let keys = keys_of(&json!({"id": "corp", "issuer": other, "audiences": ["hallpass"]}));
        assert!(knows(&keys, "k1", at(0)).await.is_err());
        assert_eq!(provider.key_fetches(), 0);
    }

    #[tokio::test]
    async fn a_configured_key_set_address_needs_no_discovery() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        let jwks_uri = format!("{}/keys", provider.issuer());
        let entry =
            json!({"id": "corp", "issuer": "https://x.example", "audiences": ["hallpass"], "jwks_uri": jwks_uri});
        assert_eq!(knows(&keys_of(&entry), "k1", at(0)).await, Ok(true));
        assert_eq!(fetches(&provider), 0);
    }
}
