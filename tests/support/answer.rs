//! What does the client see?

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::runtime_api::Outcome;
use super::{dynamodb, secrets, sts};

/// An answer as API Gateway would pass it on.
#[derive(Debug)]
pub struct Answer {
    pub status: u64,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    pub body: String,
    /// From handing out the event to holding the response.
    pub took: Duration,
}

impl Answer {
    /// The answer in an invocation's outcome.
    ///
    /// # Panics
    /// When the invocation failed: no request may cost an invocation error.
    pub fn from_outcome(outcome: Outcome, took: Duration) -> Self {
        let response = outcome.expect("no invocation error");
        assert_ne!(response["isBase64Encoded"], true, "every body is text: {response}");
        let headers = response["headers"].as_object().unwrap().iter();
        Self {
            status: response["statusCode"].as_u64().unwrap(),
            headers: headers.map(|(name, value)| (name.to_lowercase(), value.as_str().unwrap().to_owned())).collect(),
            body: response["body"].as_str().unwrap_or_default().to_owned(),
            took,
        }
    }

    /// A header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Asserts that these are credentials, and returns them.
    pub fn credentials(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        self.json()
    }

    /// Asserts that this is a refusal with this status and code, in the form that all refusals have, and returns
    /// its `message`.
    pub fn refusal(&self, status: u64, code: &str) -> String {
        let body = self.json();
        assert_eq!((self.status, body["code"].as_str()), (status, Some(code)), "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        let members: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["code", "message", "requestId", "status", "title", "type"]);
        assert_eq!(body["status"], status);
        for member in ["type", "title", "requestId", "message"] {
            assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "`{member}` of {body}");
        }
        assert_eq!(self.header("www-authenticate"), challenge(code));
        assert_eq!(self.header("allow").is_some(), status == 405, "{self:?}");
        let retry_after = self.header("retry-after").map(|seconds| seconds.parse::<u32>().unwrap());
        assert_eq!(retry_after.is_some_and(|seconds| seconds > 0), status == 503, "{self:?}");
        for upstream in [sts::UPSTREAM_TEXT, dynamodb::UPSTREAM_TEXT, secrets::UPSTREAM_TEXT] {
            assert!(!self.body.contains(upstream), "upstream text reaches a client: {self:?}");
        }
        body["message"].as_str().unwrap().to_owned()
    }
}

fn challenge(code: &str) -> Option<&'static str> {
    match code {
        "token_missing" => Some("Bearer"),
        "invalid_token" => Some("Bearer error=\"invalid_token\""),
        _ => None,
    }
}
