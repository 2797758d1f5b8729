//! Where is the broker key kept?
//!
//! Secrets Manager: `GetSecretValue` of the one secret.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::server::{Call, Handle, Reply, Server, lock};

/// The secret's name.
pub const SECRET: &str = "hallpass/broker-key";

/// The secret's ARN.
pub const SECRET_ARN: &str = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:hallpass/broker-key-a1b2c3";

/// The text of Secrets Manager's own errors, which no client may ever see.
pub const UPSTREAM_TEXT: &str = "text of secrets manager";

/// Secrets Manager.
#[derive(Debug)]
pub struct SecretsManager {
    pub server: Server,
    secret: Arc<Secret>,
}

#[derive(Debug, Default)]
struct Secret(Mutex<Option<String>>);

impl SecretsManager {
    /// Starts without a current version of the secret.
    pub async fn start() -> Self {
        let secret = Arc::new(Secret::default());
        Self { server: Server::start(Arc::clone(&secret)).await, secret }
    }

    /// Makes an access key the secret's current version.
    pub fn hold_key(&self, access_key_id: &str, secret_access_key: &str) {
        self.hold(access_key(access_key_id, secret_access_key));
    }

    /// Makes any text the secret's current version.
    pub fn hold(&self, text: impl Into<String>) {
        *lock(&self.secret.0) = Some(text.into());
    }

    /// Leaves the secret without a current version.
    pub fn hold_nothing(&self) {
        *lock(&self.secret.0) = None;
    }
}

impl Handle for Arc<Secret> {
    async fn answer(&self, call: Call) -> Reply {
        if call.header("x-amz-target") != Some("secretsmanager.GetSecretValue") {
            return error(400, "InvalidRequestException");
        }
        let asked = call.json();
        let current = matches!(asked["VersionStage"].as_str(), None | Some("AWSCURRENT"));
        match lock(&self.0).as_ref() {
            Some(text) if asked["SecretId"] == SECRET && current => ok(&json!({
                "ARN": SECRET_ARN,
                "Name": SECRET,
                "VersionId": "5c2b6a1e-0000-4000-8000-000000000001",
                "SecretString": text,
                "VersionStages": ["AWSCURRENT"],
                "CreatedDate": 1_700_000_000,
            })),
            _ => error(400, "ResourceNotFoundException"),
        }
    }
}

/// The secret's text for an access key.
pub fn access_key(id: &str, secret: &str) -> String {
    json!({"AccessKeyId": id, "SecretAccessKey": secret}).to_string()
}

/// An answer of Secrets Manager.
pub fn ok(body: &Value) -> Reply {
    Reply::new(200, "application/x-amz-json-1.1", body.to_string())
}

/// An error as Secrets Manager words it.
pub fn error(status: u16, code: &str) -> Reply {
    let body = json!({"__type": code, "Message": UPSTREAM_TEXT});
    Reply::new(status, "application/x-amz-json-1.1", body.to_string()).header("x-amzn-errortype", code)
}
