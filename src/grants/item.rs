//! What does one item of the table grant?
//!
//! An attribute that is not known, or of another type, makes the item unusable: it may be a limit that a later
//! version knows, and to overlook a limit is to widen the grant.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Principal;
use super::policy::{Part, Policy, Template};
use super::requirement::Requirement;
use crate::read::json;
use crate::read::json::escaped;
use crate::read::problems::{Problems, quoted};
use crate::session::{PolicyArn, SessionDuration, SessionTags, check_tag_key};

/// How the names begin that DynamoDB's replication gives to attributes of its own, such as `aws:rep:deleting`: global
/// tables of version 2017.11.29 put them on every item. Nobody grants or limits anything with them.
pub(super) const OF_REPLICATION: &str = "aws:rep:";

/// An item's attributes but its key, as JSON. What JSON cannot say is `null`, which no attribute accepts.
pub type Attributes = Map<String, Value>;

/// A well-formed item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub(super) policy: Option<Policy>,
    pub(super) policy_arns: Vec<PolicyArn>,
    pub(super) max_duration: SessionDuration,
    pub(super) duration: SessionDuration,
    pub(super) tags: BTreeMap<String, Template>,
    pub(super) require: Requirement,
    pub(super) pin_source_ip: bool,
    pub(super) allow_iam: bool,
    pub(super) not_before: Option<i64>,
    pub(super) not_after: Option<i64>,
    pub(super) enabled: bool,
    pub(super) description: Option<String>,
    pub(super) revision: Option<String>,
}

impl Item {
    /// Reads an item's attributes.
    ///
    /// # Errors
    /// Every problem, each at its JSON pointer.
    pub fn read(attributes: Attributes) -> Result<Self, Problems> {
        let mut reader = Reader { attributes, problems: Problems::default() };
        let allow_iam = reader.flag("allow_iam").unwrap_or(false);
        let item = Self {
            policy: reader.policy(),
            policy_arns: reader.policy_arns(),
            max_duration: reader.duration("max_duration"),
            duration: reader.duration("duration"),
            tags: reader.tags(),
            require: reader.require(),
            allow_iam,
            pin_source_ip: reader.flag("pin_source_ip").unwrap_or(false),
            not_before: reader.take("not_before", "must be whole seconds since the epoch", Value::as_i64),
            not_after: reader.take("not_after", "must be whole seconds since the epoch", Value::as_i64),
            enabled: reader.flag("enabled").unwrap_or(true),
            description: reader.text("description"),
            revision: reader.text("revision"),
        };
        reader.text("updated_by");
        reader.take("updated_at", "must be a string or a number", |value| {
            (value.is_string() || value.is_number()).then_some(())
        });
        if item.is_timed() && item.policy.as_ref().is_some_and(Policy::denies) {
            let remedy = "has a Deny that would not apply outside `not_before` and `not_after`; move the Deny to an \
                          item without them";
            reader.problems.add("/policy", remedy);
        }
        if !allow_iam {
            reader.names_no_iam_action(item.policy.as_ref());
        }
        for name in reader.attributes.keys().filter(|name| !name.starts_with(OF_REPLICATION)) {
            reader.problems.add(&format!("/{}", escaped(name)), "is not an attribute that this version knows");
        }
        if reader.problems.is_empty() { Ok(item) } else { Err(reader.problems) }
    }

    pub(super) const fn is_timed(&self) -> bool {
        self.not_before.is_some() || self.not_after.is_some()
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
        let Some(value) = self.attributes.remove("policy_arns") else { return Vec::new() };
        let Some(list) = value.as_array() else {
            self.problems.add("/policy_arns", "must be a list of ARNs of managed policies");
            return Vec::new();
        };
        let mut arns = Vec::new();
        for (index, value) in list.iter().enumerate() {
            if let Some(arn) = value.as_str().and_then(PolicyArn::new) {
                arns.push(arn);
            } else {
                let found = value.as_str().map_or_else(|| quoted(value), quoted);
                let remedy = "must be the ARN of a managed policy, `arn:PARTITION:iam::ACCOUNT:policy/NAME`";
                self.problems.add(&format!("/policy_arns/{index}"), format_args!("{remedy}: {found}"));
            }
        }
        arns
    }

    fn tags(&mut self) -> BTreeMap<String, Template> {
        let Some(value) = self.attributes.remove("tags") else { return BTreeMap::new() };
        let Some(members) = value.as_object() else {
            self.problems.add("/tags", "must map tag keys to strings");
            return BTreeMap::new();
        };
        let mut tags = BTreeMap::new();
        for (key, value) in members {
            let at = format!("/tags/{}", escaped(key));
            if let Err(error) = check_tag_key(key) {
                self.problems.add(&at, error);
            }
            match value.as_str().map_or_else(|| Err(format!("must be a string: {}", quoted(value))), tag) {
                Ok(template) => drop(tags.insert(key.clone(), template)),
                Err(remedy) => self.problems.add(&at, remedy),
            }
        }
        let all = tags.keys().map(|key| key.to_lowercase()).collect::<BTreeSet<_>>().len();
        if all < tags.len() {
            self.problems.add("/tags", "has two keys that differ only in case, which STS treats as one");
        }
        if all > SessionTags::MAX {
            self.problems.add("/tags", "has more than the 50 tags that STS accepts");
        }
        tags
    }

    fn require(&mut self) -> Requirement {
        let value = self.attributes.remove("require");
        value.map(|value| Requirement::read(&value, "/require", &mut self.problems)).unwrap_or_default()
    }

    fn names_no_iam_action(&mut self, policy: Option<&Policy>) {
        let statements = policy.map(Policy::statements).unwrap_or_default();
        let allowing = statements.iter().enumerate().filter(|(_, statement)| statement.allows_iam());
        for at in allowing.filter_map(|(index, _)| Some(policy?.pointer(index))) {
            let remedy = "allows an `iam:` action, which works in a console session; if that is intended, set \
                          `allow_iam: true`";
            self.problems.add(&format!("/policy{at}/Action"), remedy);
        }
    }

    fn duration(&mut self, name: &str) -> SessionDuration {
        let remedy = "must be whole seconds, 900 to 129600";
        self.take(name, remedy, |value| SessionDuration::from_secs(value.as_i64()?)).unwrap_or(SessionDuration::DEFAULT)
    }

    fn flag(&mut self, name: &str) -> Option<bool> {
        self.take(name, "must be true or false", Value::as_bool)
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

/// A tag's value has no variables of IAM: it is what those stand for.
fn tag(text: &str) -> Result<Template, String> {
    let template = Template::parse(text).map_err(|error| error.to_string())?;
    let is_variable = |part: &Part| matches!(part, Part::Variable(_));
    if template.parts().iter().any(is_variable) {
        return Err(format!("contains a variable of IAM, which does not work in tags: {}", quoted(text)));
    }
    Ok(template)
}

/// An item as it was read, for one principal of the caller.
#[derive(Debug, Clone)]
pub struct StoredItem {
    /// Whom it is for.
    pub principal: Principal,
    /// All of it but its key.
    pub attributes: Attributes,
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
        for name in ["Policy", "ttl", "requires", "pin_source_ips", "principal"] {
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
