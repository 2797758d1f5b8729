//! Which figures does CloudWatch get?

use std::time::{Duration, SystemTime};

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::namespace::Namespace;
use super::record::{Outcome, Record};
use crate::time::millis;

/// One line in the embedded metric format. Its groups have different dimensions, so that their members do not clash.
#[derive(Debug)]
pub(super) struct Embedded<'a> {
    pub(super) namespace: &'a Namespace,
    pub(super) groups: Vec<Group<'a>>,
    pub(super) now: SystemTime,
}

/// Figures with the same dimension.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) dimension: Option<(&'static str, &'static str)>,
    pub(super) metrics: Vec<Metric<'a>>,
}

/// One figure.
#[derive(Debug)]
pub(super) struct Metric<'a> {
    pub(super) name: &'a str,
    pub(super) unit: &'a str,
    pub(super) value: Figure,
}

/// The value of a figure.
#[derive(Debug, Clone, Copy, serde::Serialize)]
#[serde(untagged)]
pub(super) enum Figure {
    Whole(u64),
    Fraction(f64),
}

/// The lines of one request: as few as there are values of one dimension, since a line holds one value of each.
pub(super) fn metrics<'a>(
    namespace: &'a Namespace,
    record: &Record,
    outcome: &Outcome,
    now: SystemTime,
) -> Vec<Embedded<'a>> {
    let measured = &record.measured;
    let seconds = |age: Option<Duration>| age.map(|age| Figure::Whole(age.as_secs()));
    let is_issued = matches!(outcome, Outcome::Issued | Outcome::SignedIn);
    let issued = measured.wants_credentials.then(|| Figure::Whole(u64::from(is_issued)));
    let packed = measured.packed_policy_size.and_then(|size| u64::try_from(size).ok()).map(Figure::Whole);
    let plain = [
        ("Issued", "Count", issued),
        ("KeyAge", "Seconds", seconds(measured.key_age)),
        ("JwksAge", "Seconds", seconds(measured.jwks_age)),
        ("PackedPolicySize", "Percent", packed),
    ];
    let plain = plain.into_iter().filter_map(|(name, unit, value)| Some(Metric { name, unit, value: value? }));
    let refused = outcome.refused_code().map(|code| Group {
        dimension: Some(("Code", code.as_str())),
        metrics: vec![Metric { name: "Refused", unit: "Count", value: Figure::Whole(1) }],
    });
    let mut latencies = measured.stages.iter().map(|(stage, took)| {
        let value = Figure::Fraction(took.as_secs_f64() * 1e3);
        let metrics = vec![Metric { name: "Latency", unit: "Milliseconds", value }];
        Group { dimension: Some(("Stage", stage)), metrics }
    });
    let plain = Group { dimension: None, metrics: plain.collect() };
    let mut first: Vec<_> = Some(plain).filter(|plain| !plain.metrics.is_empty()).into_iter().collect();
    first.extend(refused);
    first.extend(latencies.next());
    let lines = Some(first).filter(|first| !first.is_empty()).into_iter().chain(latencies.map(|group| vec![group]));
    lines.map(|groups| Embedded { namespace, groups, now }).collect()
}

impl Serialize for Embedded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("_aws", &Metadata(self))?;
        for group in &self.groups {
            if let Some((name, value)) = group.dimension {
                line.serialize_entry(name, value)?;
            }
            for metric in &group.metrics {
                line.serialize_entry(metric.name, &metric.value)?;
            }
        }
        line.end()
    }
}

/// What says which members of the line are figures.
struct Metadata<'a>(&'a Embedded<'a>);

#[derive(serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive<'a> {
    namespace: &'a Namespace,
    dimensions: [Vec<&'static str>; 1],
    metrics: Vec<Definition<'a>>,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition<'a> {
    name: &'a str,
    unit: &'a str,
}

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(line) = self;
        let directives: Vec<_> = line.groups.iter().map(|group| Directive::of(line.namespace, group)).collect();
        let mut metadata = serializer.serialize_map(Some(2))?;
        metadata.serialize_entry("Timestamp", &millis(line.now))?;
        metadata.serialize_entry("CloudWatchMetrics", &directives)?;
        metadata.end()
    }
}

impl<'a> Directive<'a> {
    fn of(namespace: &'a Namespace, group: &'a Group<'a>) -> Self {
        let metrics = group.metrics.iter().map(|metric| Definition { name: metric.name, unit: metric.unit });
        let dimensions = [group.dimension.iter().map(|(name, _)| *name).collect()];
        Self { namespace, dimensions, metrics: metrics.collect() }
    }
}

#[cfg(test)]
mod tests {
    use std::slice;

    use serde_json::{Value, json};

    use super::*;
    use crate::audit::Measured;
    use crate::wire::Code;

    fn refused(code: Code) -> Outcome {
        Outcome::Refused { code, reason: "", detail: String::new() }
    }

    fn lines(measured: Measured, outcome: &Outcome) -> Vec<Value> {
        let record = Record { measured, ..Record::default() };
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700);
        metrics(&Namespace::default(), &record, outcome, now).iter().map(|line| json!(line)).collect()
    }

    fn directive(dimensions: &[&str], metrics: &[(&str, &str)]) -> Value {
        let metrics: Vec<_> = metrics.iter().map(|(name, unit)| json!({"Name": name, "Unit": unit})).collect();
        json!({"Namespace": "Hallpass", "Dimensions": [dimensions], "Metrics": metrics})
    }

    fn line(directives: &[Value], members: &Value) -> Value {
        let mut line = members.clone();
        line["_aws"] = json!({"Timestamp": 1_700, "CloudWatchMetrics": directives});
        line
    }

    #[test]
    fn a_line_has_all_figures_that_can_share_one() {
        let measured = Measured {
            wants_credentials: true,
            stages: vec![("identity", Duration::from_micros(1_500)), ("total", Duration::from_millis(20))],
            key_age: Some(Duration::from_secs(7)),
            jwks_age: Some(Duration::from_millis(8_900)),
            packed_policy_size: Some(3),
        };
        let plain = directive(
            &[],
            &[("Issued", "Count"), ("KeyAge", "Seconds"), ("JwksAge", "Seconds"), ("PackedPolicySize", "Percent")],
        );
        let latency = directive(&["Stage"], &[("Latency", "Milliseconds")]);
        let refused = directive(&["Code"], &[("Refused", "Count")]);
        let second = line(slice::from_ref(&latency), &json!({"Stage": "total", "Latency": 20.0}));
        let mut first = json!({
            "Issued": 1, "KeyAge": 7, "JwksAge": 8, "PackedPolicySize": 3, "Stage": "identity", "Latency": 1.5,
        });
        let issued = || Measured { stages: measured.stages.clone(), ..measured };
        let whole = line(&[plain.clone(), latency.clone()], &first);
        assert_eq!(lines(issued(), &Outcome::Issued), [whole, second.clone()]);
        first["Issued"] = json!(0);
        first["Refused"] = json!(1);
        first["Code"] = json!("invalid_token");
        let whole = line(&[plain, refused, latency], &first);
        assert_eq!(lines(issued(), &self::refused(Code::InvalidToken)), [whole, second]);
    }

    #[test]
    fn what_was_not_measured_has_no_line() {
        assert_eq!(lines(Measured::default(), &Outcome::Healthy), Vec::<Value>::new());
        let refused = directive(&["Code"], &[("Refused", "Count")]);
        let refused = line(&[refused], &json!({"Refused": 1, "Code": "not_found"}));
        assert_eq!(lines(Measured::default(), &self::refused(Code::NotFound)), [refused]);
    }
}
