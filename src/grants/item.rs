//! What does one item of the table grant?
//!
//! An attribute that is not known, or of another type, makes the item unusable: it may be a limit that a later
//! version knows, and to overlook a limit is to widen the grant.

use serde_json::{Map, Value};

use super::policy::{Policy, escaped};
use crate::credentials::{PolicyArn, SessionDuration};
use crate::json;
use crate::problems::Problems;

/// An item's attributes but its key, as JSON. What JSON cannot say is `null`, which no attribute accepts.
pub type Attributes = Map<String, Value>;

/// A well-formed item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub(super) policy: Option<Policy>,
    pub(super) policy_arns: Vec<PolicyArn>,
    pub(super) max_duration: SessionDuration,
    pub(super) duration: SessionDuration,
    pub(super) not_before: Option<i64>,
    pub(super) not_after: Option<i64>,
    pub(super) enabled: bool,
    pub(super) revision: Option<String>,
}

impl Item {
    /// Reads an item's attributes.
    ///
    /// # Errors
    /// Every problem, each at its JSON pointer.
    pub fn read(attributes: Attributes) -> Result<Self, Problems> {
        let mut reader = Reader { attributes, problems: Problems::default() };
        let item = Self {
            policy: reader.policy(),
            policy_arns: reader.policy_arns(),
            max_duration: reader.duration("max_duration"),
            duration: reader.duration("duration"),
            not_before: reader.take("not_before", "must be whole seconds since the epoch", Value::as_i64),
            not_after: reader.take("not_after", "must be whole seconds since the epoch", Value::as_i64),
            enabled: reader.take("enabled", "must be a boolean", Value::as_bool).unwrap_or(true),
            revision: reader.text("revision"),
        };
        reader.text("description");
        reader.text("updated_by");
        reader.take("updated_at", "must be a string or a number", |value| {
            (value.is_string() || value.is_number()).then_some(())
        });
        let timed = item.not_before.is_some() || item.not_after.is_some();
        if timed && item.policy.as_ref().is_some_and(Policy::denies) {
            let remedy = "has a Deny that would lapse with `not_before` or `not_after`, and so widen; give the Deny an \
                          item of its own, without them";
            reader.problems.add("/policy", remedy);
        }
        for name in reader.attributes.keys() {
            reader.problems.add(&format!("/{}", escaped(name)), "is not an attribute that this version knows");
        }
        if reader.problems.is_empty() { Ok(item) } else { Err(reader.problems) }
    }
}

struct Reader {
    attributes: Attributes,
    problems: Problems,
}

impl Reader {
    fn policy(&mut self) -> Option<Policy> {
        let mut document = self.attributes.remove("policy")?;
        if let Value::String(text) = &document {
            match json::parse(text.as_bytes()) {
                Ok(parsed) => document = parsed,
                Err(error) => {
                    self.problems.add("/policy", format_args!("is not JSON: {error}"));
                    return None;
                }
            }
        }
        match Policy::parse(&document, "/policy") {
            Ok(policy) => Some(policy),
            Err(problems) => {
                self.problems.append(problems);
                None
            }
        }
    }

    fn policy_arns(&mut self) -> Vec<PolicyArn> {
        let arns = self.take("policy_arns", "must be a list of ARNs of managed policies", |value| {
            value.as_array()?.iter().map(|arn| PolicyArn::new(arn.as_str()?)).collect()
        });
        arns.unwrap_or_default()
    }

    fn duration(&mut self, name: &str) -> SessionDuration {
        let remedy = "must be whole seconds, 900 to 129600";
        self.take(name, remedy, |value| SessionDuration::from_secs(value.as_i64()?)).unwrap_or(SessionDuration::DEFAULT)
    }

    fn text(&mut self, name: &str) -> Option<String> {
        self.take(name, "must be a string", |value| value.as_str().map(str::to_owned))
    }

    fn take<T>(&mut self, name: &str, remedy: &str, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        let value = self.attributes.remove(name)?;
        let read = read(&value);
        if read.is_none() {
            self.problems.add(&format!("/{name}"), remedy);
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(item: Value) -> Result<Item, Problems> {
        let Value::Object(attributes) = item else { panic!("an item is an object") };
        Item::read(attributes)
    }

    fn valid() -> Value {
        json!({
            "policy": {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}},
            "policy_arns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"],
            "max_duration": 7200, "duration": 1800, "not_before": 0, "not_after": 4_000_000_000_u64, "enabled": true,
            "description": "x", "revision": "1-aaaaaaaaaaaaaaaa", "updated_at": 1, "updated_by": "carol",
        })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut item = valid();
        item[name] = value;
        item
    }

    #[test]
    fn a_valid_item_is_read_and_everything_in_it_is_optional() {
        assert!(read(valid()).is_ok());
        let empty = read(json!({})).unwrap();
        assert_eq!((empty.policy, empty.policy_arns.len(), empty.enabled), (None, 0, true));
        assert_eq!((empty.max_duration, empty.duration), (SessionDuration::DEFAULT, SessionDuration::DEFAULT));
    }

    #[test]
    fn a_policy_may_be_json_text() {
        let text = valid()["policy"].to_string();
        assert_eq!(read(with("policy", text.into())), read(valid()));
    }

    #[test]
    fn an_attribute_of_another_type_or_out_of_range_makes_the_item_unusable() {
        for name in [
            "policy",
            "policy_arns",
            "max_duration",
            "duration",
            "not_before",
            "not_after",
            "enabled",
            "description",
            "revision",
            "updated_at",
            "updated_by",
        ] {
            for value in [json!(null), json!({"a": 1}), json!([[]])] {
                let problems = read(with(name, value.clone())).expect_err(&format!("{name}: {value}"));
                assert!(problems.iter().next().unwrap().starts_with(&format!("/{name}")), "{problems}");
            }
        }
        for (name, value) in [
            ("max_duration", json!(899)),
            ("max_duration", json!(129_601)),
            ("duration", json!(3600.5)),
            ("duration", json!("3600")),
            ("not_after", json!(1.5)),
            ("enabled", json!("true")),
            ("policy_arns", json!("arn:aws:iam::aws:policy/ReadOnlyAccess")),
            ("policy_arns", json!(["arn:aws:iam::aws:policy/ReadOnlyAccess", "nonsense"])),
            ("policy", json!("{")),
            ("policy", json!(r#"{"Version":"2012-10-17","Version":"2012-10-17","Statement":[]}"#)),
        ] {
            assert!(read(with(name, value.clone())).is_err(), "{name}: {value}");
        }
    }

    #[test]
    fn an_attribute_that_is_not_known_makes_the_item_unusable() {
        for name in ["require", "pin_source_ip", "tags", "allow_iam", "Policy", "ttl"] {
            assert!(read(with(name, json!(true))).is_err(), "{name}");
        }
    }

    #[test]
    fn a_deny_that_would_lapse_makes_the_item_unusable() {
        let mut item = valid();
        item["policy"]["Statement"]["Effect"] = "Deny".into();
        assert!(read(item.clone()).is_err());
        item.as_object_mut().unwrap().remove("not_after");
        assert!(read(item.clone()).is_err());
        item.as_object_mut().unwrap().remove("not_before");
        assert!(read(item).is_ok());
    }

    #[test]
    fn all_problems_are_named_at_once() {
        let mut item = with("max_duration", json!(1));
        item["policy"]["Statement"]["Effect"] = "allow".into();
        item["unknown"] = json!(1);
        assert_eq!(read(item).unwrap_err().len(), 3);
    }
}
