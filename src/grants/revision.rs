//! Is this item still what somebody reviewed?
//!
//! The content of an item is what its author decides: everything but its key, its revision, and who wrote it when. Two
//! contents are equal if no reader can tell them apart: the order and the repetition of values, JSON text or a map, one
//! value or a list of one, and a string set or a list make no difference. A revision names a content by its hash.

use std::collections::BTreeMap;
use std::fmt;

use data_encoding::HEXLOWER;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::item::{Attributes, OF_REPLICATION};
use crate::read::json;

/// What tells of the writing, not of the grant.
const BOOKKEEPING: [&str; 3] = ["revision", "updated_at", "updated_by"];
/// Hexadecimal digits of a hash, which are 64 bits: enough to notice a change, and short enough to be read aloud.
const HASH_DIGITS: usize = 16;

/// The content of an item, in the one form that all equal contents have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    // First, since two contents that differ mostly differ here.
    hash: String,
    canonical: Value,
}

impl Content {
    /// The content of an item, which may be malformed.
    #[must_use]
    pub fn of(attributes: &Attributes) -> Self {
        let content = attributes.iter().filter(|(name, _)| is_content(name));
        let canonical = object(content.map(|(name, value)| (name.clone(), canonical(name, value))));
        Self { hash: hash(&canonical), canonical }
    }

    /// The canonical form as JSON.
    #[must_use]
    pub const fn as_value(&self) -> &Value {
        &self.canonical
    }

    /// The first 16 hexadecimal digits of the SHA-256 of the canonical form.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }
}

/// Whether an attribute is content: not the item's revision, nor who wrote it when.
#[must_use]
pub fn is_content(attribute: &str) -> bool {
    !BOOKKEEPING.contains(&attribute) && !attribute.starts_with(OF_REPLICATION)
}

/// `SEQUENCE-HASH16`: the number of the change to one (principal, grant), and the hash of the content after it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision {
    sequence: u64,
    hash: String,
}

impl Revision {
    /// The revision number `sequence`, with this content; none if it is a deletion.
    #[must_use]
    pub fn new(sequence: u64, content: Option<&Content>) -> Self {
        Self { sequence, hash: content.map_or_else(|| hash(&Value::Null), |content| content.hash.clone()) }
    }

    /// Reads a revision in the form in which it is displayed, and in no other.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (sequence, hash) = text.split_once('-')?;
        let revision = Self { sequence: sequence.parse().ok()?, hash: hash.to_owned() };
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_hash = hash.len() == HASH_DIGITS && hash.bytes().all(is_digit);
        (is_hash && revision.to_string() == text).then_some(revision)
    }

    /// The number of the change, beginning with 1.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether it is a revision with this content.
    #[must_use]
    pub fn names(&self, content: &Content) -> bool {
        self.hash == content.hash
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.sequence, self.hash)
    }
}

fn hash(canonical: &Value) -> String {
    let digits = HEXLOWER.encode(&Sha256::digest(canonical.to_string()));
    digits.chars().take(HASH_DIGITS).collect()
}

fn canonical(attribute: &str, value: &Value) -> Value {
    match attribute {
        "policy" => policy(value),
        "policy_arns" => set_of_list(value),
        "require" => members(value, |name, value| match name {
            "acr" | "amr" => set_of_list(value),
            "claims" => members(value, |_, values| set_of_list(values)),
            _ => ordered(value),
        }),
        _ => ordered(value),
    }
}

fn policy(value: &Value) -> Value {
    if let Value::String(text) = value {
        // A text that is not an object is malformed, and is equal only to the same text.
        return json::parse_object(text.as_bytes()).map_or_else(|_| value.clone(), |parsed| policy(&parsed.into()));
    }
    members(value, |name, value| match name {
        "Statement" => set_of_one_or_many(value, statement),
        _ => ordered(value),
    })
}

fn statement(value: &Value) -> Value {
    members(value, |name, value| match name {
        "Action" | "NotAction" | "Resource" | "NotResource" => set_of_one_or_many(value, ordered),
        "Condition" => members(value, |_, keys| members(keys, |_, operands| set_of_one_or_many(operands, operand))),
        _ => ordered(value),
    })
}

/// IAM compares texts: `true` is `"true"`, and `5` is `"5"`.
fn operand(value: &Value) -> Value {
    match value {
        Value::Bool(_) | Value::Number(_) => Value::String(value.to_string()),
        Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_) => ordered(value),
    }
}

/// A list as a set. What is not a list is malformed here, and stays what it is.
fn set_of_list(value: &Value) -> Value {
    value.as_array().map_or_else(|| ordered(value), |list| set(list.iter().map(ordered)))
}

/// One value, or a list, as a set.
fn set_of_one_or_many(value: &Value, each: impl Fn(&Value) -> Value) -> Value {
    match value {
        Value::Array(list) => set(list.iter().map(each)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => set([each(value)]),
    }
}

fn set(values: impl IntoIterator<Item = Value>) -> Value {
    let distinct: BTreeMap<String, Value> = values.into_iter().map(|value| (value.to_string(), value)).collect();
    distinct.into_values().collect()
}

fn members(value: &Value, each: impl Fn(&str, &Value) -> Value) -> Value {
    match value {
        Value::Object(members) => object(members.iter().map(|(name, value)| (name.clone(), each(name, value)))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => ordered(value),
    }
}

/// The same value, with the members of objects in order. Recursion ends: whoever read the value limited its depth.
fn ordered(value: &Value) -> Value {
    match value {
        Value::Array(values) => values.iter().map(ordered).collect(),
        Value::Object(members) => object(members.iter().map(|(name, value)| (name.clone(), ordered(value)))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// An object whose members are in order, whichever features of `serde_json` a build has.
fn object(members: impl Iterator<Item = (String, Value)>) -> Value {
    Value::Object(members.collect::<BTreeMap<_, _>>().into_iter().collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn content(item: &Value) -> Content {
        Content::of(item.as_object().unwrap())
    }

    /// An item in which everything that may be written in several ways is written.
    fn valid() -> Value {
        json!({
            "description": "Reports", "max_duration": 7200, "pin_source_ip": true, "tags": {"team": "a", "cost": "b"},
            "policy_arns": ["arn:aws:iam::aws:policy/A", "arn:aws:iam::aws:policy/B"],
            "require": {"acr": ["a", "b"], "amr": ["mfa", "pwd"], "max_age": 60, "claims": {"/hd": ["x", true]}},
            "policy": {"Version": "2012-10-17", "Statement": [
                {"Sid": "One", "Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*",
                 "Condition": {"StringLike": {"s3:prefix": ["a", "b"]}, "Bool": {"aws:SecureTransport": "true"}}},
                {"Effect": "Deny", "NotAction": ["s3:*"], "NotResource": "arn:aws:s3:::a/*",
                 "Condition": {"NumericLessThan": {"s3:max-keys": 5}}},
            ]},
        })
    }

    #[test]
    fn no_way_of_writing_the_same_makes_a_difference() {
        let with = |pointer: &str, value: Value| {
            let mut item = valid();
            *item.pointer_mut(pointer).unwrap() = value;
            item
        };
        let statements = valid()["policy"]["Statement"].as_array().unwrap().iter().rev().cloned().collect::<Value>();
        for same in [
            with("/policy", valid()["policy"].to_string().into()),
            with("/policy", serde_json::to_string_pretty(&valid()["policy"]).unwrap().into()),
            with("/policy/Statement", statements),
            with("/policy/Statement/0/Action", json!(["s3:List*", "s3:Get*", "s3:List*"])),
            with("/policy/Statement/0/Resource", json!(["*"])),
            with("/policy/Statement/1/NotAction", json!("s3:*")),
            with("/policy/Statement/1/NotResource", json!(["arn:aws:s3:::a/*"])),
            with("/policy/Statement/0/Condition/StringLike/s3:prefix", json!(["b", "a"])),
            with("/policy/Statement/0/Condition/Bool/aws:SecureTransport", json!(true)),
            with("/policy/Statement/0/Condition/Bool/aws:SecureTransport", json!([true])),
            with("/policy/Statement/1/Condition/NumericLessThan/s3:max-keys", json!("5")),
            with("/policy_arns", json!(["arn:aws:iam::aws:policy/B", "arn:aws:iam::aws:policy/A"])),
            with("/require/acr", json!(["b", "a", "a"])),
            with("/require/amr", json!(["pwd", "mfa"])),
            with("/require/claims/~1hd", json!([true, "x"])),
        ] {
            assert_eq!(content(&same), content(&valid()), "{same}");
        }
        let one = json!({"policy": {"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}});
        let list = json!({"policy": {"Statement": [{"Resource": ["*"], "Action": ["*"], "Effect": "Deny"}]}});
        assert_eq!(content(&one), content(&list));
    }

    #[test]
    fn every_other_difference_is_one() {
        for (pointer, value) in [
            ("/description", json!("reports")),
            ("/max_duration", json!(3600)),
            ("/max_duration", json!("7200")),
            ("/pin_source_ip", json!(false)),
            ("/pin_source_ip", json!("true")),
            ("/tags/team", json!("b")),
            ("/policy_arns", json!("arn:aws:iam::aws:policy/A")),
            ("/policy_arns", json!([])),
            ("/policy_arns/0", json!("arn:aws:iam::aws:policy/C")),
            ("/require/acr", json!("a")),
            ("/require/max_age", json!(61)),
            ("/require/claims/~1hd", json!(["x", "true"])),
            ("/policy", json!("{")),
            ("/policy", json!(json!(valid()["policy"].to_string()).to_string())),
            ("/policy", json!(null)),
            ("/policy/Version", json!("2008-10-17")),
            ("/policy/Statement", json!([])),
            ("/policy/Statement/0/Sid", json!("Two")),
            ("/policy/Statement/0/Effect", json!("Deny")),
            ("/policy/Statement/0/Action", json!(["s3:Get*"])),
            ("/policy/Statement/0/Action", json!(["s3:get*", "s3:List*"])),
            ("/policy/Statement/0/Condition", json!({})),
            ("/policy/Statement/0/Condition/StringLike", json!({"s3:prefix": "a"})),
            ("/policy/Statement/0/Condition/StringLike/s3:prefix", json!(["a", ["b"]])),
        ] {
            let mut other = valid();
            *other.pointer_mut(pointer).unwrap() = value.clone();
            assert_ne!(content(&other), content(&valid()), "{pointer} {value}");
            assert_ne!(content(&other).hash(), content(&valid()).hash());
        }
        let mut enabled = valid();
        enabled["enabled"] = json!(true);
        assert_ne!(content(&enabled), content(&valid()), "an attribute that repeats a default is one");
    }

    #[test]
    fn who_wrote_it_when_is_not_content_and_what_replication_adds_is_not() {
        let mut item = valid();
        for (name, value) in [
            ("revision", json!("7-0123456789abcdef")),
            ("updated_at", json!(1)),
            ("updated_by", json!("arn:aws:sts::111122223333:assumed-role/ci/run")),
            ("aws:rep:deleting", json!(null)),
        ] {
            item[name] = value;
        }
        assert_eq!(content(&item), content(&valid()));
    }

    #[test]
    fn a_revision_has_one_form() {
        let made = Revision::new(12, Some(&content(&valid())));
        assert_eq!(Revision::parse(&made.to_string()), Some(made.clone()));
        assert!(made.names(&content(&valid())) && !made.names(&content(&json!({}))));
        assert_eq!(made.sequence(), 12);
        assert_eq!(content(&json!({})).hash(), "44136fa355b3678a");
        let deletion = Revision::new(13, None);
        assert!(!deletion.names(&content(&json!({}))) && deletion > made);
        for other in [
            "",
            "1",
            "1-",
            "-0123456789abcdef",
            "01-0123456789abcdef",
            "+1-0123456789abcdef",
            "1-0123456789abcde",
            "1-0123456789abcdef0",
            "1-0123456789ABCDEF",
            "1-0123456789abcdeg",
            "18446744073709551616-0123456789abcdef",
            "1-0123456789abcdef ",
        ] {
            assert_eq!(Revision::parse(other), None, "{other}");
        }
    }

    /// Any JSON, also where a policy has a shape of its own.
    fn any_json() -> impl Strategy<Value = Value> {
        let name = prop_oneof![
            Just("policy"),
            Just("policy_arns"),
            Just("require"),
            Just("claims"),
            Just("acr"),
            Just("Statement"),
            Just("Action"),
            Just("Condition"),
            Just("Bool"),
        ];
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(Value::from),
            any::<i8>().prop_map(Value::from),
            "[a-z*{}\"]{0,3}".prop_map(Value::from)
        ];
        leaf.prop_recursive(6, 40, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(name.clone().prop_map(str::to_owned), inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_canonical_form_of_the_canonical_form_is_itself(value in any_json()) {
            let item = json!({"policy": value, "require": value, "policy_arns": value, "tags": value});
            let once = content(&item);
            prop_assert_eq!(content(once.as_value()), once.clone());
            let text = json!({"policy": value.to_string(), "require": value, "policy_arns": value, "tags": value});
            prop_assert!(!value.is_object() || content(&text) == once);
        }
    }
}
