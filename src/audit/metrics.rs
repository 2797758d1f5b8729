//! Which figures does CloudWatch get?

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::namespace::Namespace;
use super::record::{Outcome, Record};
use crate::time::millis;

pub(super) fn metrics(namespace: &Namespace, record: &Record, outcome: &Outcome, now: SystemTime) -> Vec<Value> {
    let measured = &record.measured;
    let seconds = |age: Option<Duration>| age.map(|age| json!(age.as_secs()));
    let issued = measured.wants_credentials.then(|| json!(u8::from(*outcome == Outcome::Issued)));
    let mut plain = vec![("Issued", "Count", issued)];
    plain.push(("KeyAge", "Seconds", seconds(measured.key_age)));
    plain.push(("JwksAge", "Seconds", seconds(measured.jwks_age)));
    plain.push(("PackedPolicySize", "Percent", measured.packed_policy_size.map(Value::from)));
    let plain: Vec<_> = plain.into_iter().filter_map(|(name, unit, value)| Some((name, unit, value?))).collect();
    let mut lines = Vec::new();
    if !plain.is_empty() {
        lines.push(embedded(namespace, &plain, None, now));
    }
    if let Outcome::Refused { code, .. } = outcome {
        lines.push(embedded(namespace, &[("Refused", "Count", json!(1))], Some(("Code", code.as_str())), now));
    }
    lines.extend(measured.stages.iter().map(|(stage, took)| {
        let latency = [("Latency", "Milliseconds", json!(took.as_secs_f64() * 1e3))];
        embedded(namespace, &latency, Some(("Stage", stage)), now)
    }));
    lines
}

pub(super) fn embedded(
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
