//! What is different between two contents of an item, for people?
//!
//! By attribute, and in a policy by statement: a statement that is on both sides, in whatever order and writing, is not
//! a difference.

use hallpass::grants::{Attributes, Content, is_content};
use hallpass::read::json;
use serde_json::{Map, Value};

use super::table::shown;

/// A line of a difference: an attribute's value, or a statement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    /// `-` or `+`.
    pub(super) sign: char,
    pub(super) attribute: String,
    pub(super) value: String,
}

/// The lines by which two contents differ. What is on no side has no attributes.
pub(super) fn lines(before: Option<&Attributes>, after: Option<&Attributes>) -> Vec<Line> {
    let (before, after) = (parts(before), parts(after));
    let removed = before.iter().filter(|part| !after.contains(part)).map(|part| part.line('-'));
    let added = after.iter().filter(|part| !before.contains(part)).map(|part| part.line('+'));
    let mut lines: Vec<Line> = removed.chain(added).collect();
    // Stable, so that the statements of a policy stay in their order.
    lines.sort_by(|one, other| (&one.attribute, one.sign == '+').cmp(&(&other.attribute, other.sign == '+')));
    lines
}

/// An attribute, or a part of it that changes alone.
#[derive(Debug)]
struct Part {
    attribute: String,
    written: Value,
    canonical: Content,
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        (&self.attribute, &self.canonical) == (&other.attribute, &other.canonical)
    }
}

impl Part {
    /// A part of the attribute `name`, which would mean the same in an item with only `alone` in it.
    fn new(attribute: impl Into<String>, written: &Value, name: &str, alone: Value) -> Self {
        let canonical = Content::of(&Map::from_iter([(name.to_owned(), alone)]));
        Self { attribute: attribute.into(), written: written.clone(), canonical }
    }

    fn line(&self, sign: char) -> Line {
        let description = self.written.as_str().filter(|_| self.attribute == "description");
        let value = description.map_or_else(|| shown(&self.written.to_string()), shown);
        Line { sign, attribute: shown(&self.attribute), value }
    }
}

fn parts(attributes: Option<&Attributes>) -> Vec<Part> {
    let content = attributes.into_iter().flatten().filter(|(name, _)| is_content(name));
    content.flat_map(|(name, value)| of_attribute(name, value)).collect()
}

fn of_attribute(name: &str, value: &Value) -> Vec<Part> {
    let members = |value: &Value| {
        let members = value.as_object().into_iter().flatten();
        let part = |(key, value): (&String, &Value)| {
            Part::new(
                format!("{name}.{key}"),
                value,
                name,
                Value::Object(Map::from_iter([(key.clone(), value.clone())])),
            )
        };
        members.map(part).collect::<Vec<_>>()
    };
    match (name, value) {
        ("tags" | "require", Value::Object(of)) if !of.is_empty() => members(value),
        ("policy_arns", Value::Array(arns)) if !arns.is_empty() => {
            arns.iter().map(|arn| Part::new(name, arn, name, Value::Array(vec![arn.clone()]))).collect()
        }
        ("policy", Value::String(text)) => match json::parse_object(text.as_bytes()) {
            Ok(policy) => of_attribute(name, &Value::Object(policy)),
            Err(_) => vec![Part::new(name, value, name, value.clone())],
        },
        ("policy", Value::Object(policy)) if !policy.is_empty() => {
            policy.iter().flat_map(|(member, value)| of_policy(member, value)).collect()
        }
        _ => vec![Part::new(name, value, name, value.clone())],
    }
}

fn of_policy(member: &str, value: &Value) -> Vec<Part> {
    let part = |attribute: &str, written: &Value| {
        Part::new(attribute, written, "policy", Value::Object(Map::from_iter([(member.to_owned(), written.clone())])))
    };
    match (member, value) {
        ("Statement", Value::Array(statements)) if !statements.is_empty() => {
            statements.iter().map(|statement| part("policy", statement)).collect()
        }
        ("Statement", _) => vec![part("policy", value)],
        _ => vec![part(&format!("policy.{member}"), value)],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(before: &Value, after: &Value) -> Vec<String> {
        let lines = lines(before.as_object(), after.as_object());
        lines.into_iter().map(|Line { sign, attribute, value }| format!("{sign} {attribute} {value}")).collect()
    }

    #[test]
    fn only_what_changes_is_told() {
        let statement = |action: &str| json!({"Effect": "Allow", "Action": [action], "Resource": "*"});
        let policy = |statements: Value| json!({"Version": "2012-10-17", "Statement": statements});
        let before = json!({
            "description": "A", "max_duration": 3600, "tags": {"a": "1", "b": "2"}, "require": {"amr": ["mfa"]},
            "policy_arns": ["x", "y"], "policy": policy(json!([statement("s3:Get*"), statement("s3:List*")])),
            "revision": "1-0123456789abcdef",
        });
        assert_eq!(told(&before, &before), [""; 0]);
        let same = policy(json!([statement("s3:List*"), {"Effect": "Allow", "Action": "s3:Get*", "Resource": ["*"]}]));
        let mut after = before.clone();
        after["policy"] = same.to_string().into();
        after["policy_arns"] = json!(["y", "x"]);
        after["revision"] = "2-0123456789abcdef".into();
        assert_eq!(told(&before, &after), [""; 0]);
        after["description"] = "B".into();
        after["max_duration"] = 7200.into();
        after["tags"] = json!({"a": "1", "b": "3"});
        after["require"]["max_age"] = 60.into();
        after["policy_arns"] = json!(["y"]);
        after["policy"] = policy(json!([statement("s3:Get*"), statement("s3:Put*")]));
        let expected = [
            "- description A",
            "+ description B",
            "- max_duration 3600",
            "+ max_duration 7200",
            r#"- policy {"Action":["s3:List*"],"Effect":"Allow","Resource":"*"}"#,
            r#"+ policy {"Action":["s3:Put*"],"Effect":"Allow","Resource":"*"}"#,
            r#"- policy_arns "x""#,
            "+ require.max_age 60",
            r#"- tags.b "2""#,
            r#"+ tags.b "3""#,
        ];
        assert_eq!(told(&before, &after), expected);
    }

    #[test]
    fn what_is_malformed_is_told_whole_and_cannot_write_to_the_terminal() {
        let before = json!({"policy": "{\u{1b}", "tags": [], "": null, "description": "a\u{1b}[2Jb\n"});
        let expected = ["-  null", r"- description a\u{1b}[2Jb\u{a}", r#"- policy "{\u001b""#, "- tags []"];
        assert_eq!(told(&before, &json!({})), expected);
        assert_eq!(told(&json!({}), &json!({"enabled": true, "policy": {}})), ["+ enabled true", "+ policy {}"]);
    }
}
