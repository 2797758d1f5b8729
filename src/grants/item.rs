//! What does one item of the table grant?
//!
//! An attribute that is not known, or of another type, makes the item unusable: it may be a limit that a later
//! version knows, and to overlook a limit is to widen the grant.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Principal;
use super::policy::{Part, Policy, Template};
use super::requirement::Requirement;
use crate::read::fields::{Fields, flag, string};
use crate::read::json::{self, escaped};
use crate::read::problems::{Problem, Problems, quoted};
use crate::read::rule::Rule;
use crate::session::{PolicyArn, SessionDuration, SessionTags, check_tag_key};

/// How the names begin that DynamoDB's replication gives to attributes of its own, such as `aws:rep:deleting`: global
/// tables of version 2017.11.29 put them on every item. Nobody grants or limits anything with them.
pub(super) const OF_REPLICATION: &str = "aws:rep:";

/// An item's attributes but its key, as JSON. What JSON cannot say is `null`, which no attribute accepts.
pub type Attributes = Map<String, Value>;

/// A well-formed item.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "these are attributes of the table")]
pub struct Item {
    pub(super) policy: Option<Policy>,
    pub(super) policy_arns: Vec<PolicyArn>,
    pub(super) max_duration: SessionDuration,
    /// Whether it was written.
    pub(super) states_max_duration: bool,
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
    pub fn read(attributes: &Attributes) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut fields = Fields::new(attributes, "", &mut problems);
        let item = Self {
            policy: fields.nested("policy", policy).flatten(),
            policy_arns: fields.nested("policy_arns", policy_arns).unwrap_or_default(),
            max_duration: fields.optional("max_duration", duration).unwrap_or(SessionDuration::DEFAULT),
            states_max_duration: attributes.contains_key("max_duration"),
            duration: fields.optional("duration", duration).unwrap_or(SessionDuration::DEFAULT),
            tags: fields.nested("tags", tags).unwrap_or_default(),
            require: fields.nested("require", Requirement::read).unwrap_or_default(),
            allow_iam: fields.optional("allow_iam", flag).unwrap_or(false),
            pin_source_ip: fields.optional("pin_source_ip", flag).unwrap_or(false),
            not_before: fields.optional("not_before", seconds),
            not_after: fields.optional("not_after", seconds),
            enabled: fields.optional("enabled", flag).unwrap_or(true),
            description: fields.optional("description", string),
            revision: fields.optional("revision", string),
        };
        fields.optional("updated_by", string);
        fields.optional("updated_at", |value| {
            let must = "must be a string or a number";
            if value.is_string() || value.is_number() { Ok(()) } else { Err(Problem::wrong(Rule::Type, must, value)) }
        });
        if item.is_timed() && item.policy.as_ref().is_some_and(Policy::denies) {
            let says = "has a Deny that would not apply outside `not_before` and `not_after`";
            fields.add("policy", Problem::new(Rule::TimedDeny, says).help("move the Deny to an item without them"));
        }
        if !item.allow_iam {
            item.names_no_iam_action(&mut fields);
        }
        let is_fine = fields.finish(
            |name| name.starts_with(OF_REPLICATION),
            |_| Problem::new(Rule::UnknownMember, "is not an attribute that this version knows"),
        );
        if is_fine { Ok(item) } else { Err(problems) }
    }

    fn names_no_iam_action(&self, fields: &mut Fields<'_>) {
        let allowing = |policy: &Policy| -> Vec<String> {
            let statements = policy.statements().iter().enumerate();
            statements.filter(|(_, statement)| statement.allows_iam()).map(|(index, _)| policy.pointer(index)).collect()
        };
        for at in self.policy.as_ref().map(allowing).unwrap_or_default() {
            let problem = Problem::new(Rule::IamAction, "allows an `iam:` action, which works in a console session")
                .help("if that is intended, set `allow_iam: true`");
            fields.add_at(&format!("policy{at}/Action"), problem);
        }
    }

    pub(super) const fn is_timed(&self) -> bool {
        self.not_before.is_some() || self.not_after.is_some()
    }
}

/// Reads a policy, which may also be written as JSON text.
fn policy(value: &Value, at: &str, problems: &mut Problems) -> Option<Policy> {
    let Some(text) = value.as_str() else { return Policy::read(value, at, problems) };
    match json::parse(text.as_bytes()) {
        Ok(document) => Policy::read(&document, at, problems),
        Err(error) => {
            problems.add(at, Problem::new(Rule::Syntax, format_args!("is not JSON: {error}")));
            None
        }
    }
}

fn policy_arns(value: &Value, at: &str, problems: &mut Problems) -> Vec<PolicyArn> {
    let Some(list) = value.as_array() else {
        problems.add(at, Problem::wrong(Rule::Type, "must be a list of ARNs of managed policies", value));
        return Vec::new();
    };
    let mut arns = Vec::new();
    for (index, value) in list.iter().enumerate() {
        if let Some(arn) = value.as_str().and_then(PolicyArn::new) {
            arns.push(arn);
        } else {
            let found = value.as_str().map_or_else(|| quoted(value), quoted);
            let must = "must be the ARN of a managed policy, `arn:PARTITION:iam::ACCOUNT:policy/NAME`";
            let problem = Problem::new(Rule::PolicyArn, format_args!("{must}: {found}"));
            problems.add(&format!("{at}/{index}"), problem);
        }
    }
    arns
}

fn tags(value: &Value, at: &str, problems: &mut Problems) -> BTreeMap<String, Template> {
    let Some(members) = value.as_object() else {
        problems.add(at, Problem::wrong(Rule::Type, "must map tag keys to strings", value));
        return BTreeMap::new();
    };
    let mut tags = BTreeMap::new();
    for (key, value) in members {
        let at = format!("{at}/{}", escaped(key));
        if let Err(error) = check_tag_key(key) {
            problems.add(&at, Problem::new(Rule::Tag, error));
        }
        match tag(value) {
            Ok(template) => drop(tags.insert(key.clone(), template)),
            Err(problem) => problems.add(&at, problem),
        }
    }
    let all = tags.keys().map(|key| key.to_lowercase()).collect::<BTreeSet<_>>().len();
    if all < tags.len() {
        problems.add(at, Problem::new(Rule::Tag, "has two keys that differ only in case, which STS treats as one"));
    }
    if all > SessionTags::MAX {
        problems.add(at, Problem::new(Rule::Tag, "has more than the 50 tags that STS accepts"));
    }
    tags
}

fn duration(value: &Value) -> Result<SessionDuration, Problem> {
    let read = value.as_i64().and_then(SessionDuration::from_secs);
    read.ok_or_else(|| Problem::wrong(Rule::Duration, "must be whole seconds, 900 to 129600", value))
}

fn seconds(value: &Value) -> Result<i64, Problem> {
    value.as_i64().ok_or_else(|| Problem::wrong(Rule::Time, "must be whole seconds since the epoch", value))
}

/// A tag's value has no variables of IAM: it is what those stand for.
fn tag(value: &Value) -> Result<Template, Problem> {
    let text = value.as_str().ok_or_else(|| Problem::wrong(Rule::Type, "must be a string", value))?;
    let template = Template::parse(text)?;
    let is_variable = |part: &Part| matches!(part, Part::Variable(_));
    if template.parts().iter().any(is_variable) {
        let says = format_args!("contains a variable of IAM, which does not work in tags: {}", quoted(text));
        return Err(Problem::new(Rule::Template, says));
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
        Item::read(&attributes)
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
                assert!(problems.iter().next().unwrap().at.starts_with(&format!("/{name}")), "{problems}");
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
