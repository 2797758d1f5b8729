//! What does API Gateway hand the function for a request?
//!
//! Events of an HTTP API in payload format 2.0, starting from one that a browser could have caused.

use data_encoding::BASE64;
use serde_json::{Value, json};

/// The address that every request comes from unless a test says otherwise.
pub const SOURCE_IP: &str = "203.0.113.7";

/// The user agent of every request unless a test says otherwise.
pub const USER_AGENT: &str = "hallpass-test/1.0";

/// The gateway's id of every request.
pub const REQUEST_ID: &str = "JKJaXmPLvHcESHA=";

/// The domain that every request asks unless a test says otherwise.
pub const DOMAIN: &str = "a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com";

/// One event.
#[derive(Clone, Debug)]
pub struct Event(Value);

impl Event {
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub fn post(path: &str) -> Self {
        Self::new("POST", path)
    }

    /// A request without query, body and token.
    pub fn new(method: &str, path: &str) -> Self {
        let grant = path.strip_prefix("/v1/credentials/").filter(|grant| !grant.is_empty() && !grant.contains('/'));
        let route = grant.map_or(path, |_| "/v1/credentials/{grant}");
        let event = Self(json!({
            "version": "2.0",
            "routeKey": format!("{method} {route}"),
            "rawPath": path,
            "rawQueryString": "",
            "headers": {
                "accept": "application/json",
                "content-length": "0",
                "host": DOMAIN,
                "user-agent": USER_AGENT,
                "x-amzn-trace-id": "Root=1-5e6722a7-cc56xmpl46db7ae02d4da47e",
                "x-forwarded-for": SOURCE_IP,
                "x-forwarded-port": "443",
                "x-forwarded-proto": "https",
            },
            "requestContext": {
                "accountId": "111122223333",
                "apiId": "a1b2c3d4e5",
                "domainName": DOMAIN,
                "domainPrefix": "a1b2c3d4e5",
                "http": {
                    "method": method,
                    "path": path,
                    "protocol": "HTTP/1.1",
                    "sourceIp": SOURCE_IP,
                    "userAgent": USER_AGENT,
                },
                "requestId": REQUEST_ID,
                "routeKey": format!("{method} {route}"),
                "stage": "$default",
                "time": "22/Nov/2026:12:00:00 +0000",
                "timeEpoch": 1_795_348_800_000_u64,
            },
            "isBase64Encoded": false,
        }));
        match grant {
            Some(grant) => event.with(|event| event["pathParameters"] = json!({ "grant": grant })),
            None => event,
        }
    }

    /// With `Authorization: Bearer TOKEN`.
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// With one header more, by its lower-case name.
    pub fn header(self, name: &str, value: &str) -> Self {
        self.with(|event| event["headers"][name] = json!(value))
    }

    /// From another address, as the gateway saw it.
    pub fn sent_from(self, address: &str) -> Self {
        self.with(|event| event["requestContext"]["http"]["sourceIp"] = json!(address))
    }

    /// With a query, raw and as the gateway parses it: a repeated name's values are joined by commas.
    pub fn query(self, query: &str) -> Self {
        self.with(|event| {
            event["rawQueryString"] = json!(query);
            let mut parsed = json!({});
            for pair in query.split('&') {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                let joined = parsed[name].as_str().map(|earlier| format!("{earlier},{value}"));
                parsed[name] = json!(joined.unwrap_or_else(|| value.to_owned()));
            }
            event["queryStringParameters"] = parsed;
        })
    }

    /// With a body of `application/json`.
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(&body.to_string())
    }

    /// With a text body of no declared type.
    pub fn body(self, body: &str) -> Self {
        let length = body.len().to_string();
        self.header("content-length", &length).with(|event| event["body"] = json!(body))
    }

    /// With a body of `application/json` that the gateway has encoded.
    pub fn json_in_base64(self, body: &[u8]) -> Self {
        let encoded = BASE64.encode(body);
        self.header("content-type", "application/json")
            .body(&encoded)
            .with(|event| event["isBase64Encoded"] = json!(true))
    }

    /// With any other change.
    pub fn with(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.0);
        self
    }

    /// The event as Lambda hands it over.
    pub fn payload(&self) -> String {
        self.0.to_string()
    }
}
