//! Where does an issuer publish its keys, and what is there now?
//!
//! OpenID Connect Discovery 1.0 §4 names the key set, unless the operator did. Everything is bounded: the provider may
//! be slow, broken or in other hands.

use std::io;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use url::Url;

use super::KeySet;
use super::issuer::{Issuer, KeySource};
use crate::json;

/// For discovery and key set together: a caller waits at most this long for keys that are not held.
const TIME_LIMIT: Duration = Duration::from_secs(1);
/// Large providers publish some 10 KiB.
const MAX_BYTES: usize = 256 * 1024;
/// Between the two attempts.
const BACKOFF: Duration = Duration::from_millis(25);

/// Why keys could not be fetched. Holds nothing of what the provider answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No answer in time.
    #[error("no answer within 1 s")]
    TooSlow,
    /// No connection, or one that broke.
    #[error("no connection, or one that broke")]
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
    #[error("the discovery document has no `jwks_uri` that we may fetch")]
    NoKeySetAddress,
    /// The key set is of no use.
    #[error("the key set is malformed or has no usable key")]
    NoUsableKey,
    /// The fetch died.
    #[error("the fetch ended without a result")]
    Lost,
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
            | Self::NoUsableKey
            | Self::Lost => false,
        }
    }
}

/// Fetches from identity providers.
#[derive(Debug, Clone)]
pub struct HttpClient(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>);

impl HttpClient {
    /// Prepares the client: the system's certificate authorities, no redirects, no proxy, no idle connections (which
    /// would be dead when a frozen function wakes).
    ///
    /// A redirect could lead to a host whose certificate the operator never meant to trust (octo-sts was led): this
    /// client has no notion of one.
    ///
    /// # Errors
    /// The system has no usable certificate authorities.
    pub fn new() -> io::Result<Self> {
        let connector = HttpsConnectorBuilder::new().with_native_roots()?.https_or_http().enable_http1().build();
        Ok(Self(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector)))
    }

    async fn fetch(&self, url: &Url) -> Result<Vec<u8>, FetchError> {
        match self.fetch_once(url).await {
            Err(error) if error.is_hiccup() => {
                tokio::time::sleep(BACKOFF).await;
                self.fetch_once(url).await
            }
            answer => answer,
        }
    }

    async fn fetch_once(&self, url: &Url) -> Result<Vec<u8>, FetchError> {
        let request = Request::get(url.as_str())
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, concat!("hallpass/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|_| FetchError::Unreachable)?;
        let response = self.0.request(request).await.map_err(|_| FetchError::Unreachable)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        match Limited::new(response.into_body(), MAX_BYTES).collect().await {
            Ok(body) => Ok(body.to_bytes().into()),
            Err(error) if error.is::<LengthLimitError>() => Err(FetchError::TooLarge),
            Err(_) => Err(FetchError::Unreachable),
        }
    }
}

/// Fetches the keys that `issuer` publishes now, and logs where they cannot be had.
pub(super) async fn fetch_keys(http: &HttpClient, issuer: &Issuer) -> Result<KeySet, FetchError> {
    let keys = match tokio::time::timeout(TIME_LIMIT, fetch_in_time(http, issuer)).await {
        Ok(keys) => keys,
        Err(_) => Err(FetchError::TooSlow),
    };
    if let Err(error) = &keys {
        tracing::warn!(issuer.id = %issuer.id(), %error, "the issuer's keys cannot be fetched");
    }
    keys
}

async fn fetch_in_time(http: &HttpClient, issuer: &Issuer) -> Result<KeySet, FetchError> {
    let keys = match issuer.source() {
        KeySource::KeySet(address) => http.fetch(address).await?,
        KeySource::Discovery(address) => {
            let document = http.fetch(address).await?;
            http.fetch(&key_set_address(&document, issuer)?).await?
        }
    };
    KeySet::parse(&keys).map_err(|()| FetchError::NoUsableKey)
}

/// Reads a discovery document. Its `issuer` has to be exactly ours (Discovery §4.3): otherwise whoever answers here
/// could lend another issuer's keys to this one.
///
/// # Errors
/// [`FetchError`] where the document names no key set of this issuer.
pub fn key_set_address(document: &[u8], issuer: &Issuer) -> Result<Url, FetchError> {
    let document = json::parse_object(document).map_err(|_| FetchError::DiscoveryMalformed)?;
    let text = |name: &str| document.get(name).and_then(serde_json::Value::as_str);
    if text("issuer") != Some(issuer.url()) {
        return Err(FetchError::OtherIssuer);
    }
    let address = text("jwks_uri").and_then(|address| Url::parse(address).ok());
    address.filter(|url| issuer.may_be_led_to(url)).ok_or(FetchError::NoKeySetAddress)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::parse_issuers;
    use super::*;
    use crate::problems::Problems;
    use crate::support::provider::Provider;
    use crate::support::server::{Fault, Reply};
    use crate::support::signer::TestKey;

    async fn fetch(provider: &Provider) -> Result<(), FetchError> {
        let text = json!([{"id": "corp", "issuer": provider.issuer(), "audiences": ["hallpass"]}]).to_string();
        let issuer = parse_issuers(&text, &mut Problems::default()).remove(0);
        fetch_keys(&HttpClient::new().unwrap(), &issuer).await.map(drop)
    }

    #[tokio::test]
    async fn what_went_wrong_with_the_answer_is_told_apart() {
        let reply = |body: &str| Fault::Answers(Reply::new(200, "application/json", body));
        for (fault, error) in [
            (Fault::Hangs, FetchError::TooSlow),
            (Fault::Drips, FetchError::TooSlow),
            (Fault::Resets, FetchError::Unreachable),
            (Fault::Truncates, FetchError::Unreachable),
            (Fault::Answers(Reply::new(404, "text/plain", "")), FetchError::Status(404)),
            (reply(&" ".repeat(256 * 1024 + 1)), FetchError::TooLarge),
            (reply("[]"), FetchError::DiscoveryMalformed),
            (reply("{"), FetchError::DiscoveryMalformed),
        ] {
            let provider = Provider::start(&[&TestKey::p256("k1")]).await;
            assert_eq!(fetch(&provider).await, Ok(()));
            provider.server.fail_always(&fault);
            assert_eq!(fetch(&provider).await, Err(error));
        }
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
        provider.publish_raw(r#"{"keys":[]}"#);
        assert_eq!(fetch(&provider).await, Err(FetchError::NoUsableKey));
    }
}
