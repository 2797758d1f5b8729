//! What do the providers that companies have sign?
//!
//! `tests/providers/*.json`: a configuration to paste, the clients to sign in with, the claims as the provider's
//! documentation shows them, the caller that they mean, and what could be mistaken for them. Ids, names and thumbprints
//! are invented; keys are made by the test.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::signer::TestKey;

/// One provider's fixture.
#[derive(Debug)]
pub struct Fixture {
    /// The file's name.
    pub file: String,
    /// What it holds.
    pub document: Value,
}

/// A token that could be mistaken for the provider's.
#[derive(Debug)]
pub struct Refused {
    /// What it is.
    pub says: String,
    /// The members to change; null takes one away.
    pub claims: Map<String, Value>,
    /// The rule that refuses it.
    pub reason: String,
}

impl Fixture {
    /// All of them, by name.
    pub fn all() -> Vec<Self> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/providers");
        let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let read = |path: &Path| Self {
            file: path.file_name().unwrap().to_str().unwrap().to_owned(),
            document: serde_json::from_slice(&fs::read(path).unwrap()).unwrap(),
        };
        files.iter().map(|path| read(path)).collect()
    }

    /// The entry of `HALLPASS_ISSUERS` that an operator would paste.
    pub fn configuration(&self) -> Value {
        self.document["configuration"].clone()
    }

    /// The members `cli` and `browser` that sign people in; null where the provider has no such client.
    pub fn clients(&self) -> Map<String, Value> {
        self.document["sign_in"].as_object().unwrap().clone()
    }

    /// The subject, and the groups.
    pub fn caller(&self) -> (String, Vec<String>) {
        let caller = &self.document["caller"];
        (text(&caller["subject"]), caller["groups"].as_array().unwrap().iter().map(text).collect())
    }

    /// The tokens that must not be taken for the provider's.
    pub fn refused(&self) -> Vec<Refused> {
        let refused = |case: &Value| Refused {
            says: text(&case["says"]),
            claims: case["claims"].as_object().unwrap().clone(),
            reason: text(&case["reason"]),
        };
        self.document["refused"].as_array().unwrap().iter().map(refused).collect()
    }

    /// The provider's key set with this one key, in the provider's own shape.
    pub fn key_set(&self, key: &TestKey) -> String {
        let mut jwk = key.jwk();
        jwk.as_object_mut().unwrap().extend(self.document["jwk"].as_object().unwrap().clone());
        json!({"keys": [jwk]}).to_string()
    }

    /// The provider's token with some claims changed, signed at `now`.
    pub fn token(&self, key: &TestKey, changes: &Map<String, Value>, now: u64) -> String {
        let mut header = json!({"kid": key.kid()});
        change(&mut header, self.document["header"].as_object().unwrap());
        let mut claims = self.document["claims"].clone();
        change(&mut claims, changes);
        // The files count from now.
        for name in ["iat", "nbf", "exp", "auth_time"] {
            if let Some(offset) = claims[name].as_i64() {
                claims[name] = json!(now.checked_add_signed(offset).unwrap());
            }
        }
        key.sign(&header, &claims)
    }
}

fn change(object: &mut Value, changes: &Map<String, Value>) {
    let members = object.as_object_mut().unwrap();
    members.extend(changes.clone());
    members.retain(|_, value| !value.is_null());
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
