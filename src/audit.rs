//! What will the people who look after the account be able to see?
//!
//! JSON lines on standard output, which Lambda hands to CloudWatch: `issuing` just before STS is asked, so that no
//! credentials exist without a line, and `outcome` for every request, joined by the request id. Beside them metrics
//! in the embedded metric format. No field can hold a token, a key or a secret: there is none of those types.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde::Serialize;
use serde_json::{Value, json};

use crate::namespace::Namespace;

/// Characters of a text from outside that a line keeps.
const MAX_TEXT_CHARS: usize = 256;

/// What is known about one request. Filled on its way; whatever is not known yet is left out.
#[derive(Debug, Default, Serialize)]
pub struct Record {
    /// The gateway's request id, else Lambda's: the one that the caller sees.
    pub request_id: String,
    /// Lambda's request id.
    pub lambda_request_id: String,
    /// Method and route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The caller's address, by the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<String>,
    /// The caller's user agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// SHA-256 of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_sha256: Option<String>,
    /// The token's `iss`, which nobody vouches for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unverified_issuer: Option<String>,
    /// The token's `sub`, which nobody vouches for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unverified_subject: Option<String>,
    /// The verified caller's issuer id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The verified caller's subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The token's `jti`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// The grant asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// The items that the session was made from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matched: Vec<MatchedItem>,
    /// SHA-256 of the session policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_sha256: Option<String>,
    /// The managed policies of the session.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policy_arns: Vec<String>,
    /// Seconds that the session was asked to last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<i32>,
    /// The session's name, as CloudTrail has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub federated_name: Option<String>,
    /// The access key id of the credentials, as CloudTrail has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// STS's request id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sts_request_id: Option<String>,
    /// When the credentials expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration: Option<String>,
    /// What is measured rather than told.
    #[serde(skip)]
    pub measured: Measured,
}

/// A matched item in a line.
#[derive(Debug, Serialize)]
pub struct MatchedItem {
    /// Whom it is for.
    pub principal: String,
    /// Its revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// The figures of one request.
#[derive(Debug, Default)]
pub struct Measured {
    /// Whether credentials were asked for: what was not, was neither issued nor not issued.
    pub wants_credentials: bool,
    /// How long each stage took.
    pub stages: Vec<(&'static str, Duration)>,
    /// How long the broker key has been held.
    pub key_age: Option<Duration>,
    /// How long the issuer's keys have been held.
    pub jwks_age: Option<Duration>,
    /// STS's figure, in per cent.
    pub packed_policy_size: Option<i32>,
}

/// How a request ended.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The HTTP status.
    pub status: u16,
    /// The public code.
    pub code: &'static str,
    /// Which rule refused, or what failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Writes the lines.
pub struct Audit {
    namespace: Namespace,
    out: Mutex<Box<dyn Write + Send>>,
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Audit")
    }
}

impl Audit {
    /// Writes to `out`.
    #[must_use]
    pub fn new(namespace: Namespace, out: impl Write + Send + 'static) -> Self {
        Self { namespace, out: Mutex::new(Box::new(out)) }
    }

    /// Records that STS is about to be asked.
    ///
    /// # Errors
    /// The line could not be written: then STS must not be asked.
    pub fn issuing(&self, record: &Record, now: SystemTime) -> io::Result<()> {
        self.write(&[line("issuing", record, &json!({}), now)])
    }

    /// Records how a request ended, with its metrics.
    pub fn outcome(&self, record: &Record, outcome: &Outcome, now: SystemTime) {
        let mut lines = vec![line("outcome", record, &json!(outcome), now)];
        lines.extend(metrics(&self.namespace, record, outcome, now));
        if let Err(error) = self.write(&lines) {
            tracing::error!(%error, "the audit line of a request cannot be written");
        }
    }

    /// Records one figure that belongs to no request.
    pub fn measure(&self, name: &str, unit: &str, value: u64, now: SystemTime) {
        if let Err(error) = self.write(&[embedded(&self.namespace, &[(name, unit, json!(value))], None, now)]) {
            tracing::error!(%error, name, "a metric cannot be written");
        }
    }

    fn write(&self, lines: &[Value]) -> io::Result<()> {
        let mut text = String::new();
        for line in lines {
            text.push_str(&line.to_string());
            text.push('\n');
        }
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

/// A text from outside, short enough for a line, and without what looks like a token: people paste theirs into paths.
#[must_use]
pub fn capped(text: &str) -> String {
    // `{"` in base64url is `eyJ`, with which every JWS begins.
    let of_token = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let mut rest = text;
    let mut shown = String::new();
    while let Some((before, token)) = rest.split_once("eyJ") {
        let behind = token.trim_start_matches(of_token);
        shown.push_str(before);
        shown.push_str("[token]");
        rest = behind;
    }
    shown.push_str(rest);
    shown.chars().take(MAX_TEXT_CHARS).collect()
}

/// Seconds since the epoch as RFC 3339 has them, in UTC.
#[must_use]
pub fn rfc3339(seconds: i64) -> Option<String> {
    DateTime::from_secs(seconds).fmt(Format::DateTime).ok()
}

fn line(event: &str, record: &Record, outcome: &Value, now: SystemTime) -> Value {
    let time = DateTime::from_millis(i64::try_from(millis(now)).unwrap_or(i64::MAX)).fmt(Format::DateTime).ok();
    let mut line = json!({"event": event, "time": time});
    for part in [json!(record), outcome.clone()] {
        if let (Value::Object(line), Value::Object(part)) = (&mut line, part) {
            line.extend(part);
        }
    }
    line
}

fn metrics(namespace: &Namespace, record: &Record, outcome: &Outcome, now: SystemTime) -> Vec<Value> {
    let measured = &record.measured;
    let seconds = |age: Option<Duration>| age.map(|age| json!(age.as_secs()));
    let issued = measured.wants_credentials.then(|| json!(u8::from(outcome.code == "issued")));
    let mut plain = vec![("Issued", "Count", issued)];
    plain.push(("KeyAge", "Seconds", seconds(measured.key_age)));
    plain.push(("JwksAge", "Seconds", seconds(measured.jwks_age)));
    plain.push(("PackedPolicySize", "Percent", measured.packed_policy_size.map(Value::from)));
    let plain: Vec<_> = plain.into_iter().filter_map(|(name, unit, value)| Some((name, unit, value?))).collect();
    let mut lines = Vec::new();
    if !plain.is_empty() {
        lines.push(embedded(namespace, &plain, None, now));
    }
    if outcome.status >= 400 {
        lines.push(embedded(namespace, &[("Refused", "Count", json!(1))], Some(("Code", outcome.code)), now));
    }
    lines.extend(measured.stages.iter().map(|(stage, took)| {
        let latency = [("Latency", "Milliseconds", json!(took.as_secs_f64() * 1e3))];
        embedded(namespace, &latency, Some(("Stage", stage)), now)
    }));
    lines
}

fn embedded(
    namespace: &Namespace,
    metrics: &[(&str, &str, Value)],
    dimension: Option<(&str, &str)>,
    now: SystemTime,
) -> Value {
    let definitions: Vec<Value> = metrics.iter().map(|(name, unit, _)| json!({"Name": name, "Unit": unit})).collect();
    let dimensions: Vec<&str> = dimension.iter().map(|(name, _)| *name).collect();
    let mut line = json!({"_aws": {
        "Timestamp": millis(now),
        "CloudWatchMetrics": [{"Namespace": namespace, "Dimensions": [dimensions], "Metrics": definitions}],
    }});
    if let Value::Object(line) = &mut line {
        line.extend(dimension.map(|(name, value)| (name.to_owned(), json!(value))));
        line.extend(metrics.iter().map(|(name, _, value)| ((*name).to_owned(), value.clone())));
    }
    line
}

fn millis(now: SystemTime) -> u64 {
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
