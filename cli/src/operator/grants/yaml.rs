//! How is a document of a grant file written?
//!
//! In blocks, one value a line, so that a difference in git shows what changed. A text stands without quotes only if
//! neither YAML 1.2 nor 1.1 could take it for anything else.

use std::fmt::Write as _;

use hallpass::grants::{Attributes, is_content};
use serde_json::{Map, Value};

/// The order of attributes: what it is for, then the limits, then what it gives.
const ATTRIBUTES: [&str; 12] = [
    "description",
    "enabled",
    "not_before",
    "not_after",
    "duration",
    "max_duration",
    "require",
    "pin_source_ip",
    "allow_iam",
    "tags",
    "policy_arns",
    "policy",
];
/// The order of members in policies, as AWS's documentation writes them.
const MEMBERS: [&str; 10] =
    ["Version", "Id", "Statement", "Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"];
/// YAML's limit of a key on the line of its value is 1,024 characters.
const LONGEST_KEY: usize = 1_000;
/// What YAML 1.1 or 1.2 reads as something else than a text, in lower case.
const WORDS: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];

/// Writes one document, without `---`.
pub(super) fn document(grant: &str, principals: &[&str], content: &Attributes) -> String {
    let mut text = format!("grant: {}\n", scalar(grant));
    let mut members: Vec<(&String, &Value)> = content.iter().filter(|(name, _)| is_content(name)).collect();
    let place = |name: &str, order: &[&str]| order.iter().position(|known| *known == name).unwrap_or(order.len());
    members.sort_by_key(|(name, _)| (place(name, &ATTRIBUTES), (*name).clone()));
    let (first, rest): (Vec<_>, Vec<_>) = members.into_iter().partition(|(name, _)| *name == "description");
    for (name, value) in first {
        member(&mut text, name, value, 0);
    }
    text.push_str("principals:\n");
    for principal in principals {
        let _ = writeln!(text, "  - {}", scalar(principal));
    }
    for (name, value) in rest {
        // A policy that is JSON text is easier to read, and the same, as a map.
        let parsed =
            value.as_str().filter(|_| name == "policy").and_then(|text| serde_json::from_str::<Value>(text).ok());
        let value = parsed.as_ref().filter(|parsed| parsed.is_object()).unwrap_or(value);
        member(&mut text, name, value, 0);
    }
    text
}

fn ordered(members: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let place = |name: &String| MEMBERS.iter().position(|known| known == name).unwrap_or(MEMBERS.len());
    let mut members: Vec<_> = members.iter().collect();
    members.sort_by_key(|(name, _)| (place(name), (*name).clone()));
    members
}

/// Writes `name: value`, where the line already has its indentation.
fn member(text: &mut String, name: &str, value: &Value, indent: usize) {
    let key = scalar(name);
    if key.chars().count() > LONGEST_KEY {
        let _ = writeln!(text, "? {key}\n{:indent$}: {}", "", flow(value));
        return;
    }
    let _ = write!(text, "{key}:");
    match value {
        Value::Object(members) if !members.is_empty() => {
            text.push('\n');
            let inner = indent.saturating_add(2);
            for (name, value) in ordered(members) {
                let _ = write!(text, "{:inner$}", "");
                member(text, name, value, inner);
            }
        }
        Value::Array(values) if !values.is_empty() => {
            text.push('\n');
            let inner = indent.saturating_add(2);
            for value in values {
                let _ = write!(text, "{:inner$}- ", "");
                entry(text, value, inner.saturating_add(2));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            let _ = writeln!(text, " {}", flow(value));
        }
    }
}

/// Writes an entry of a list, behind its dash.
fn entry(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (index, (name, value)) in ordered(members).into_iter().enumerate() {
                if index > 0 {
                    let _ = write!(text, "{:indent$}", "");
                }
                member(text, name, value, indent);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            let _ = writeln!(text, "{}", flow(value));
        }
    }
}

/// A value on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => scalar(text),
        Value::Array(values) => format!("[{}]", values.iter().map(in_flow).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| format!("{}: {}", quoted(name), in_flow(value));
            format!("{{{}}}", ordered(members).into_iter().map(member).collect::<Vec<_>>().join(", "))
        }
    }
}

/// A value between brackets, where more characters have a meaning.
fn in_flow(value: &Value) -> String {
    value.as_str().map_or_else(|| flow(value), quoted)
}

/// A text, without quotes if that is safe.
fn scalar(text: &str) -> String {
    let starts_plainly = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let ends_plainly = text.ends_with(|c: char| c.is_ascii_alphanumeric() || "/*)".contains(c));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./@+=*:() ,".contains(c);
    let is_other = WORDS.contains(&text.to_ascii_lowercase().as_str());
    if starts_plainly && ends_plainly && text.chars().all(is_plain) && !text.contains(": ") && !is_other {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// A text in double quotes.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            // What YAML does not print, takes for a line break or for the mark of its encoding.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_reads_like_one_that_somebody_wrote() {
        let item = json!({
            "policy": {"Version": "2012-10-17", "Statement": [
                {"Resource": "arn:aws:s3:::a/${jwt:/sub}/*", "Action": ["s3:Get*", "s3:List*"], "Effect": "Allow", "Sid": "A",
                 "Condition": {"StringLike": {"s3:prefix": ["a", "b"]}}},
                {"Effect": "Deny", "Action": "*", "Resource": "*"},
            ]},
            "description": "Reports: all", "max_duration": 7200, "require": {"amr": ["mfa"], "claims": {}},
            "revision": "1-0123456789abcdef", "updated_by": "me",
        });
        let expected = r#"grant: default
description: "Reports: all"
principals:
  - corp/group/analysts
  - corp/user/no
max_duration: 7200
require:
  amr:
    - mfa
  claims: {}
policy:
  Version: "2012-10-17"
  Statement:
    - Sid: A
      Effect: Allow
      Action:
        - s3:Get*
        - s3:List*
      Resource: "arn:aws:s3:::a/${jwt:/sub}/*"
      Condition:
        StringLike:
          s3:prefix:
            - a
            - b
    - Effect: Deny
      Action: "*"
      Resource: "*"
"#;
        let principals = ["corp/group/analysts", "corp/user/no"];
        assert_eq!(document("default", &principals, item.as_object().unwrap()), expected);
        let mut text = item.clone();
        text["policy"] = item["policy"].to_string().into();
        assert_eq!(document("default", &principals, text.as_object().unwrap()), expected);
    }

    #[test]
    fn what_could_be_anything_else_is_quoted() {
        for plain in ["a", "s3:GetObject", "arn:aws:s3:::acme-reports/*", "/realm_access/roles", "Reading the reports"]
        {
            assert_eq!(scalar(plain), plain);
        }
        for quoted in [
            "",
            " a",
            "a ",
            "a:",
            "a: b",
            "a #b",
            "#a",
            "*",
            "*a",
            "&a",
            "!a",
            "%a",
            "@a",
            "`a`",
            "-",
            "- a",
            "? a",
            "[a]",
            "{a}",
            "yes",
            "No",
            "NULL",
            "y",
            "~",
            "true",
            "1",
            "1e3",
            "0x1f",
            ".inf",
            "2012-10-17",
            "${a}",
            "'a'",
            "a\"b",
            "é",
            "=",
            "<<",
        ] {
            assert!(scalar(quoted).starts_with('"'), "{quoted}");
        }
        assert_eq!(scalar("a\u{0}\u{1b}\u{85}\u{feff}\n\t\"\\é😀"), r#""a\u0000\u001B\u0085\uFEFF\n\t\"\\é😀""#);
    }
}
