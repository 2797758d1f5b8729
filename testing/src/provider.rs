//! Who signs people in?
//!
//! An `OpenID` Connect provider: discovery, a key set, and a way to say something else than the truth.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::server::{Call, Handle, Reply, Server, lock};
use super::signer::TestKey;

const DISCOVERY: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/keys";

/// A provider whose issuer is its own URL. Others can live below it, each with a path of its own.
#[derive(Debug)]
pub struct Provider {
    pub server: Server,
    pages: Arc<Pages>,
}

/// What is published, by path.
#[derive(Debug, Default)]
struct Pages {
    texts: Mutex<BTreeMap<String, String>>,
    /// The media type of a page that is not for those who do not ask for it.
    only: Mutex<BTreeMap<String, String>>,
}

impl Provider {
    /// A provider that publishes these keys.
    pub async fn start(keys: &[&TestKey]) -> Self {
        let pages = Arc::new(Pages::default());
        let server = Server::start(Arc::clone(&pages)).await;
        let provider = Self { server, pages };
        let issuer = provider.issuer();
        provider.publish_discovery(&json!({"issuer": issuer, "jwks_uri": format!("{issuer}{KEYS}")}));
        provider.publish(keys);
        provider
    }

    /// The issuer's URL, as `iss` in its tokens.
    pub fn issuer(&self) -> String {
        self.server.url()
    }

    /// Publishes these keys and no others.
    pub fn publish(&self, keys: &[&TestKey]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
        self.publish_raw(json!({ "keys": keys }).to_string());
    }

    /// Publishes any text as the key set.
    pub fn publish_raw(&self, keys: impl Into<String>) {
        self.page(KEYS, keys);
    }

    /// Answers 406 to a request for the key set that does not accept this media type by its name.
    pub fn serve_keys_only_as(&self, media_type: &str) {
        lock(&self.pages.only).insert(KEYS.to_owned(), media_type.to_owned());
    }

    /// Answers 406 to a request for the discovery document that does not accept this media type by its name.
    pub fn serve_discovery_only_as(&self, media_type: &str) {
        lock(&self.pages.only).insert(DISCOVERY.to_owned(), media_type.to_owned());
    }

    /// Publishes another discovery document.
    pub fn publish_discovery(&self, discovery: &Value) {
        self.publish_raw_discovery(discovery.to_string());
    }

    /// Publishes any text as the discovery document.
    pub fn publish_raw_discovery(&self, discovery: impl Into<String>) {
        self.page(DISCOVERY, discovery);
    }

    /// Publishes another issuer, whose URL is this one's with `/` and `name` behind it.
    pub fn publish_below(&self, name: &str, key_set: &Value) {
        let issuer = format!("{}/{name}", self.issuer());
        let discovery = json!({"issuer": issuer, "jwks_uri": format!("{issuer}{KEYS}")});
        self.page(&format!("/{name}{DISCOVERY}"), discovery.to_string());
        self.page(&format!("/{name}{KEYS}"), key_set.to_string());
    }

    fn page(&self, path: &str, text: impl Into<String>) {
        lock(&self.pages.texts).insert(path.to_owned(), text.into());
    }

    /// How often the key set was fetched.
    pub fn key_fetches(&self) -> usize {
        self.server.calls().iter().filter(|call| call.path == KEYS).count()
    }
}

impl Handle for Arc<Pages> {
    async fn answer(&self, call: Call) -> Reply {
        let only = lock(&self.only).get(&call.path).cloned();
        let accepted = call.header("accept").unwrap_or_default();
        let accepts = |media_type: &String| accepted.split(',').any(|accepted| accepted.trim() == media_type);
        if only.as_ref().is_some_and(|only| !accepts(only)) {
            return Reply::new(406, "text/plain", "not acceptable");
        }
        match lock(&self.texts).get(&call.path) {
            Some(text) => Reply::new(200, only.as_deref().unwrap_or("application/json"), text.clone()),
            None => Reply::new(404, "text/plain", "no such page"),
        }
    }
}
