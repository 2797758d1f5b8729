//! What does the client see?

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::aws::{dynamodb, query, secretsmanager};
use super::events::DOMAIN;
use super::runtime_api::Outcome;

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
        let message = self.problem(status, code, &[]);
        assert_eq!(self.header("www-authenticate"), challenge(code).as_deref());
        message
    }

    /// Asserts that a stronger or fresher sign-in is asked for, alike in the challenge and in the body, and returns
    /// what that sign-in has to meet.
    pub fn step_up(&self) -> Value {
        const CODE: &str = "insufficient_user_authentication";
        let members = ["acr_values", "amr_values", "max_age"];
        let body = self.json();
        let asked: Vec<&str> = members.into_iter().filter(|member| body.get(member).is_some()).collect();
        self.problem(401, CODE, &asked);
        let challenge = self.header("www-authenticate").unwrap();
        let parameters = challenge.strip_prefix("Bearer ").unwrap().split(", ");
        let mut parameters: BTreeMap<&str, &str> = parameters
            .map(|parameter| parameter.split_once('=').unwrap())
            .map(|(name, value)| (name, value.strip_prefix('"').unwrap().strip_suffix('"').unwrap()))
            .collect();
        assert_eq!(parameters.remove("error"), Some(CODE), "{challenge}");
        parameters.remove("error_description");
        assert_eq!(parameters.remove("resource_metadata"), Some(metadata_url().as_str()), "{challenge}");
        let mut expected = BTreeMap::new();
        let acr_values = body["acr_values"]
            .as_array()
            .map(|values| values.iter().map(|value| value.as_str().unwrap()).collect::<Vec<_>>().join(" "));
        let max_age = body.get("max_age").map(|seconds| seconds.as_u64().unwrap().to_string());
        expected.extend(acr_values.as_deref().map(|values| ("acr_values", values)));
        expected.extend(max_age.as_deref().map(|seconds| ("max_age", seconds)));
        assert_eq!(parameters, expected, "{challenge}");
        asked.into_iter().map(|member| (member.to_owned(), body[member].clone())).collect()
    }

    /// The form that all refusals have, but for the challenge.
    fn problem(&self, status: u64, code: &str, extensions: &[&str]) -> String {
        let body = self.json();
        assert_eq!((self.status, body["code"].as_str()), (status, Some(code)), "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        let members: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
        let mut expected = ["Code", "Message", "code", "message", "requestId", "status", "title", "type"].to_vec();
        expected.extend(extensions);
        expected.sort_unstable();
        assert_eq!(members, expected);
        assert_eq!(body["status"], status);
        assert_eq!((&body["Code"], &body["Message"]), (&body["code"], &body["message"]), "the JavaScript SDK's names");
        for member in ["type", "title", "requestId", "message"] {
            assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "`{member}` of {body}");
        }
        assert_eq!(self.header("allow").is_some(), status == 405, "{self:?}");
        let retry_after = self.header("retry-after").map(|seconds| seconds.parse::<u32>().unwrap());
        assert_eq!(retry_after.is_some_and(|seconds| seconds > 0), status == 503, "{self:?}");
        for upstream in [query::UPSTREAM_TEXT, dynamodb::UPSTREAM_TEXT, secretsmanager::UPSTREAM_TEXT] {
            assert!(!self.body.contains(upstream), "upstream text reaches a client: {self:?}");
        }
        body["message"].as_str().unwrap().to_owned()
    }
}

fn challenge(code: &str) -> Option<String> {
    let metadata = format!("resource_metadata=\"{}\"", metadata_url());
    match code {
        "token_missing" => Some(format!("Bearer {metadata}")),
        "invalid_token" => Some(format!("Bearer error=\"invalid_token\", {metadata}")),
        _ => None,
    }
}

fn metadata_url() -> String {
    format!("https://{DOMAIN}/.well-known/oauth-protected-resource")
}
