//! Where does an issuer publish its keys, and what is there now?
//!
//! OpenID Connect Discovery 1.0 §4 names the key set, unless the operator did. Everything is bounded: the provider may
//! be slow, broken or in other hands.

use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::future::{Either, select};
use hyper::body::Bytes;
use hyper::{Method, header};
use serde_json::{Map, Value};
use tokio::time::sleep;
use url::{Origin, Url};

use super::KeySet;
use super::issuer::{Issuer, KeySource};
use super::skipped_keys::SkippedKeyLog;
use crate::net::https::{Connection, Https, NoAnswer, request_to};
use crate::read::json;

/// For discovery and key set together. No request waits this long: the fetch goes on, and serves the next one.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(5);
/// [`TIME_LIMIT`] is counted in these.
const TICK: Duration = Duration::from_millis(100);
/// Key sets have a type of their own (RFC 7517 §8.5.2), and some servers, as Kubernetes', answer 406 to those who do
/// not accept it. Others know only the plain one.
const MEDIA_TYPES: &str = "application/json, application/jwk-set+json";
/// Large providers publish some 10 KiB.
const MAX_BYTES: usize = 256 * 1024;
/// The member of a discovery document that says where clients exchange codes for tokens.
const TOKEN_ENDPOINT: &str = "token_endpoint";
/// Between the two attempts.
const BACKOFF: Duration = Duration::from_millis(25);

/// Why keys could not be fetched. Holds nothing of what the provider answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No answer in time.
    #[error("no answer within 5 s")]
    TooSlow,
    /// No connection, or one that broke.
    #[error("the connection failed")]
    Unreachable,
    /// An answer with another status than 200.
    #[error("answered with status {0}")]
    Status(u16),
    /// An answer over the bound.
    #[error("answered with more than 256 KiB")]
    TooLarge,
    /// The discovery document is not a JSON object.
    #[error("the discovery document is not a JSON object")]
    DiscoveryMalformed,
    /// The discovery document is of another issuer.
    #[error("the discovery document's `issuer` is not the configured one")]
    OtherIssuer,
    /// The discovery document names no key set that we may fetch.
    #[error("the discovery document has no `jwks_uri` that may be fetched")]
    NoKeySetAddress,
    /// The key set is not one.
    #[error("the key set is not a JSON object with a list `keys`")]
    KeySetMalformed,
    /// No key of the set is usable. The log has the reason for each.
    #[error("the key set has no usable key")]
    NoUsableKey,
    /// The fetch died.
    #[error("the fetch ended without a result")]
    Lost,
}

impl From<NoAnswer> for FetchError {
    fn from(error: NoAnswer) -> Self {
        match error {
            NoAnswer::Unreachable => Self::Unreachable,
            NoAnswer::Status(status) => Self::Status(status),
            NoAnswer::TooLarge => Self::TooLarge,
        }
    }
}

impl FetchError {
    /// Whether the same question may be answered a moment later.
    const fn is_hiccup(self) -> bool {
        match self {
            Self::Unreachable => true,
            Self::Status(status) => status == 429 || status >= 500,
            Self::TooSlow
            | Self::TooLarge
            | Self::DiscoveryMalformed
            | Self::OtherIssuer
            | Self::NoKeySetAddress
            | Self::KeySetMalformed
            | Self::NoUsableKey
            | Self::Lost => false,
        }
    }
}

/// One fetch, without redirects: one could lead to a host whose certificate the operator never meant to trust (octo-sts
/// was led). Its documents mostly come from one host, over one connection. No connection outlives it: an idle one
/// would be dead when a frozen function wakes.
struct Visit<'a> {
    https: &'a Https,
    /// A connection that has answered, and to where.
    idle: Option<(Origin, Connection)>,
}

impl<'a> Visit<'a> {
    fn new(https: &'a Https) -> Self {
        Self { https, idle: None }
    }

    async fn fetch(&mut self, url: &Url) -> Result<Vec<u8>, FetchError> {
        match self.fetch_once(url).await {
            Err(error) if error.is_hiccup() => {
                sleep(BACKOFF).await;
                self.fetch_once(url).await
            }
            answer => answer,
        }
    }

    async fn fetch_once(&mut self, url: &Url) -> Result<Vec<u8>, FetchError> {
        let mut connection = self.connection_to(url).await?;
        let request = request_to(Method::GET, url, &[(header::ACCEPT, MEDIA_TYPES)], Bytes::new())?;
        let answer = connection.ask(request, MAX_BYTES).await?;
        self.idle = Some((url.origin(), connection));
        Ok(answer.into())
    }

    async fn connection_to(&mut self, url: &Url) -> Result<Connection, FetchError> {
        if let Some((origin, mut connection)) = self.idle.take()
            && origin == url.origin()
            && connection.is_ready().await
        {
            return Ok(connection);
        }
        Ok(self.https.connect(url).await?)
    }
}

/// What an issuer publishes.
#[derive(Debug)]
pub(super) struct Published {
    /// None where only the discovery document was asked for.
    pub(super) keys: KeySet,
    /// Where clients exchange codes for tokens, if a discovery document was read and names a place that we may name.
    pub(super) token_endpoint: Option<Url>,
}

/// Fetches what `issuer` publishes now, and logs why it could not be fetched, or not all of its keys be used.
pub(super) async fn fetch_published(
    https: &Https,
    issuer: &Issuer,
    logged: &SkippedKeyLog,
) -> Result<Published, FetchError> {
    let published = in_time(pin!(fetch_whole(https, issuer, logged))).await;
    if let Err(error) = &published {
        tracing::warn!(issuer.id = %issuer.id(), %error, "the keys of the issuer cannot be fetched");
    }
    published
}

/// Fetches where clients exchange codes for tokens at an issuer of which the operator named the keys alone.
pub(super) async fn fetch_discovered(https: &Https, issuer: &Issuer) -> Result<Published, FetchError> {
    let fetching = async {
        let address = issuer.own_discovery().ok_or(FetchError::DiscoveryMalformed)?;
        let document = Visit::new(https).fetch(&address).await?;
        let token_endpoint = Discovered::read(&document, issuer)?.address(TOKEN_ENDPOINT);
        Ok(Published { keys: KeySet::none(), token_endpoint })
    };
    let discovered = in_time(pin!(fetching)).await;
    if let Err(error) = &discovered {
        tracing::warn!(issuer.id = %issuer.id(), %error, "the discovery document of the issuer cannot be fetched");
    }
    discovered
}

type Fetching<'a> = dyn Future<Output = Result<Published, FetchError>> + Send + 'a;

/// Fetches for at most [`TIME_LIMIT`].
async fn in_time(fetching: Pin<&mut Fetching<'_>>) -> Result<Published, FetchError> {
    match select(fetching, pin!(running_for(TIME_LIMIT))).await {
        Either::Left((fetched, _)) => fetched,
        Either::Right(_) => Err(FetchError::TooSlow),
    }
}

/// Pends for so much time in which the function runs. A freeze, however long, counts as one tick at most: an answer
/// that arrived in it is not too late.
async fn running_for(limit: Duration) {
    let mut left = limit;
    while !left.is_zero() {
        sleep(TICK).await;
        left = left.saturating_sub(TICK);
    }
}

async fn fetch_whole(https: &Https, issuer: &Issuer, logged: &SkippedKeyLog) -> Result<Published, FetchError> {
    let mut visit = Visit::new(https);
    let (document, token_endpoint) = match issuer.source() {
        KeySource::KeySet(address) => (visit.fetch(address).await?, None),
        KeySource::Discovery(address) => {
            let discovered = Discovered::read(&visit.fetch(address).await?, issuer)?;
            let address = discovered.address("jwks_uri").ok_or(FetchError::NoKeySetAddress)?;
            (visit.fetch(&address).await?, discovered.address(TOKEN_ENDPOINT))
        }
    };
    let (keys, skipped) = KeySet::read(&document)?;
    logged.log(issuer.id(), skipped);
    Ok(Published { keys: keys.or_unusable()?, token_endpoint })
}

/// The address of the key set in a discovery document.
///
/// # Errors
/// [`FetchError`] if the document names no key set of this issuer.
pub fn key_set_address(document: &[u8], issuer: &Issuer) -> Result<Url, FetchError> {
    Discovered::read(document, issuer)?.address("jwks_uri").ok_or(FetchError::NoKeySetAddress)
}

/// The discovery document of an issuer.
// INVARIANT: its `issuer` is exactly ours (Discovery §4.3). Otherwise the server that answers here could lend another
// issuer's keys to this one.
struct Discovered<'a> {
    members: Map<String, Value>,
    issuer: &'a Issuer,
}

impl<'a> Discovered<'a> {
    fn read(document: &[u8], issuer: &'a Issuer) -> Result<Self, FetchError> {
        let members = json::parse_fetched_object(document).map_err(|_| FetchError::DiscoveryMalformed)?;
        let named = members.get("issuer").and_then(Value::as_str);
        if named == Some(issuer.url()) { Ok(Self { members, issuer }) } else { Err(FetchError::OtherIssuer) }
    }

    /// An address that it names, if that is one to which we may be led.
    fn address(&self, member: &str) -> Option<Url> {
        let address = self.members.get(member).and_then(Value::as_str).and_then(|address| Url::parse(address).ok());
        address.filter(|url| self.issuer.may_be_led_to(url))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::parse_issuers;
    use super::*;
    use crate::read::problems::Problems;
    use hallpass_testing::provider::Provider;
    use hallpass_testing::server::{Fault, Reply};
    use hallpass_testing::signer::TestKey;

    async fn fetch(provider: &Provider) -> Result<(), FetchError> {
        let text = json!([{"id": "corp", "issuer": provider.issuer(), "audiences": ["hallpass"]}]).to_string();
        let issuer = parse_issuers(&text, &mut Problems::default()).remove(0);
        fetch_published(&Https::in_tests(), &issuer, &SkippedKeyLog::default()).await.map(drop)
    }

    fn reply(body: &str) -> Reply {
        Reply::new(200, "application/json", body)
    }

    fn discovery_of(provider: &Provider) -> String {
        json!({"issuer": provider.issuer(), "jwks_uri": format!("{}/keys", provider.issuer())}).to_string()
    }

    /// Connections that were opened so far; none of them is open any more.
    async fn opened_and_closed(provider: &Provider) -> usize {
        provider.server.all_closed().await;
        provider.server.opened()
    }

    #[tokio::test]
    async fn what_went_wrong_with_the_answer_is_told_apart() {
        let answers = |body: &str| Fault::Answers(reply(body));
        let cases = [
            (Fault::Hangs, FetchError::TooSlow),
            (Fault::Drips, FetchError::TooSlow),
            (Fault::Resets, FetchError::Unreachable),
            (Fault::Truncates, FetchError::Unreachable),
            (Fault::Answers(Reply::new(404, "text/plain", "")), FetchError::Status(404)),
            (answers(&" ".repeat(256 * 1024 + 1)), FetchError::TooLarge),
            (answers("[]"), FetchError::DiscoveryMalformed),
            (answers("{"), FetchError::DiscoveryMalformed),
        ];
        // All at once, since some take the whole time.
        let told = cases.map(async |(fault, error)| {
            let provider = Provider::start(&[&TestKey::p256("k1")]).await;
            assert_eq!(fetch(&provider).await, Ok(()));
            provider.server.fail_always(&fault);
            assert_eq!(fetch(&provider).await, Err(error), "{fault:?}");
            opened_and_closed(&provider).await;
        });
        futures_util::future::join_all(told).await;
    }

    #[tokio::test]
    async fn a_slow_provider_has_five_seconds_for_both_documents() {
        let (slow, slower) = (Provider::start(&[&TestKey::p256("k1")]).await, Provider::start(&[]).await);
        slow.server.fail_always(&Fault::Slow(Duration::from_millis(2_200)));
        slower.server.fail_always(&Fault::Slow(Duration::from_millis(2_800)));
        let fetched = futures_util::future::join(fetch(&slow), fetch(&slower)).await;
        assert_eq!(fetched, (Ok(()), Err(FetchError::TooSlow)));
    }

    #[tokio::test]
    async fn both_documents_come_over_one_connection_which_ends_with_the_fetch() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        for fetches in 1..=2 {
            assert_eq!(fetch(&provider).await, Ok(()));
            assert_eq!(opened_and_closed(&provider).await, fetches);
        }
    }

    #[tokio::test]
    async fn documents_on_two_hosts_come_over_two_connections() {
        let (provider, elsewhere) = (Provider::start(&[]).await, Provider::start(&[&TestKey::p256("k1")]).await);
        let address = |query: &str| format!("{}/keys{query}", elsewhere.issuer());
        for (query, fetched) in [("", Ok(())), ("?appid=7", Err(FetchError::Status(404)))] {
            provider.publish_discovery(&json!({"issuer": provider.issuer(), "jwks_uri": address(query)}));
            assert_eq!(fetch(&provider).await, fetched);
            let asked = elsewhere.server.calls().pop().unwrap();
            assert_eq!(asked.path, format!("/keys{query}"));
            assert_eq!(asked.header("host"), Some(elsewhere.server.address().as_str()));
        }
        assert_eq!((opened_and_closed(&provider).await, opened_and_closed(&elsewhere).await), (2, 2));
    }

    #[tokio::test]
    async fn a_connection_that_does_not_last_for_both_documents_is_replaced() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        let closing = reply(&discovery_of(&provider)).header("connection", "close");
        provider.server.fail_call(0, &Fault::Answers(closing));
        assert_eq!(fetch(&provider).await, Ok(()));
        assert_eq!(
            (opened_and_closed(&provider).await, provider.server.calls().len()),
            (2, 2),
            "closed when it was said"
        );

        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        provider.server.fail_call(1, &Fault::Resets);
        assert_eq!(fetch(&provider).await, Ok(()));
        assert_eq!(
            (opened_and_closed(&provider).await, provider.server.calls().len()),
            (2, 3),
            "closed without a word"
        );
    }

    #[tokio::test]
    async fn both_documents_are_asked_for_by_both_media_types() {
        for media_type in ["application/json", "application/jwk-set+json"] {
            let provider = Provider::start(&[&TestKey::p256("k1")]).await;
            provider.serve_discovery_only_as(media_type);
            provider.serve_keys_only_as(media_type);
            assert_eq!(fetch(&provider).await, Ok(()), "{media_type}");
        }
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        provider.serve_keys_only_as("application/xml");
        assert_eq!(fetch(&provider).await, Err(FetchError::Status(406)));
    }

    #[tokio::test]
    async fn what_is_wrong_with_the_documents_is_told_apart() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        let (issuer, keys) = (provider.issuer(), format!("{}/keys", provider.issuer()));
        for (document, result) in [
            (json!({"issuer": issuer, "jwks_uri": keys}), Ok(())),
            (json!({"issuer": format!("{issuer}/"), "jwks_uri": keys}), Err(FetchError::OtherIssuer)),
            (json!({"issuer": [issuer], "jwks_uri": keys}), Err(FetchError::OtherIssuer)),
            (json!({ "jwks_uri": keys }), Err(FetchError::OtherIssuer)),
            (json!({ "issuer": issuer }), Err(FetchError::NoKeySetAddress)),
            (json!({"issuer": issuer, "jwks_uri": "/keys"}), Err(FetchError::NoKeySetAddress)),
            (json!({"issuer": issuer, "jwks_uri": "http://example.com/keys"}), Err(FetchError::NoKeySetAddress)),
        ] {
            provider.publish_discovery(&document);
            assert_eq!(fetch(&provider).await, result, "{document}");
        }
        provider.publish_discovery(&json!({"issuer": issuer, "jwks_uri": keys}));
        for (keys, error) in [("[]", FetchError::KeySetMalformed), (r#"{"keys":[]}"#, FetchError::NoUsableKey)] {
            provider.publish_raw(keys);
            assert_eq!(fetch(&provider).await, Err(error), "{keys}");
        }
    }

    #[tokio::test]
    async fn a_byte_order_mark_and_members_that_are_null_mean_nothing() {
        let provider = Provider::start(&[&TestKey::p256("k1")]).await;
        let mut document: serde_json::Value = serde_json::from_str(&discovery_of(&provider)).unwrap();
        document["token_endpoint"] = json!(null);
        provider.publish_raw_discovery(format!("\u{feff}{document}"));
        provider.publish_raw(format!("\u{feff}{}", json!({"keys": [TestKey::p256("k1").jwk()], "next": null})));
        assert_eq!(fetch(&provider).await, Ok(()));
        for (name, error) in [("issuer", FetchError::OtherIssuer), ("jwks_uri", FetchError::NoKeySetAddress)] {
            let mut without = document.clone();
            without[name] = json!(null);
            provider.publish_discovery(&without);
            assert_eq!(fetch(&provider).await, Err(error), "{name}");
        }
    }
}
