//! Who signs people in?
//!
//! An `OpenID` Connect provider: discovery, a key set, and a way to say something else than the truth.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::server::{Call, Handle, Reply, Server, lock};
use super::signer::TestKey;

const DISCOVERY: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/keys";

/// A provider whose issuer is its own URL.
#[derive(Debug)]
pub struct Provider {
    pub server: Server,
    documents: Arc<Documents>,
}

#[derive(Debug, Default)]
struct Documents {
    discovery: Mutex<String>,
    keys: Mutex<String>,
}

impl Provider {
    /// A provider that publishes these keys.
    pub async fn start(keys: &[&TestKey]) -> Self {
        let documents = Arc::new(Documents::default());
        let server = Server::start(Arc::clone(&documents)).await;
        let provider = Self { server, documents };
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
        *lock(&self.documents.keys) = keys.into();
    }

    /// Publishes another discovery document.
    pub fn publish_discovery(&self, discovery: &Value) {
        *lock(&self.documents.discovery) = discovery.to_string();
    }

    /// How often the key set was fetched.
    pub fn key_fetches(&self) -> usize {
        self.server.calls().iter().filter(|call| call.path == KEYS).count()
    }
}

impl Handle for Arc<Documents> {
    async fn answer(&self, call: Call) -> Reply {
        match call.path.as_str() {
            DISCOVERY => Reply::new(200, "application/json", lock(&self.discovery).clone()),
            KEYS => Reply::new(200, "application/json", lock(&self.keys).clone()),
            _ => Reply::new(404, "text/plain", "no such page"),
        }
    }
}
