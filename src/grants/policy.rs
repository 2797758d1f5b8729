//! What does a policy say?
//!
//! A session policy is parsed by IAM's grammar and printed again from what was understood: nothing is passed through.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>

use std::collections::BTreeMap;
use std::io;

use serde_json::ser::{Formatter, Serializer};
use serde_json::{Map, Value, json};

use crate::problems::Problems;

/// The language version in which `${…}` is a variable; in 2008's it is text.
const VERSION: &str = "2012-10-17";
const OLD_VERSION: &str = "2008-10-17";

/// More statements than this are over 2,048 characters however short each is: 45 for
/// `{"Action":"*","Effect":"Deny","Resource":"*"}` and 1 for the comma. Known before any of them is read or compared,
/// so that a huge item costs no more than a small one.
pub(super) const MAX_STATEMENTS: usize = 2_048 / 46;

/// Condition operators, without the qualifiers `ForAllValues:` and `ForAnyValue:` before and `IfExists` behind.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>
const OPERATORS: [&str; 27] = [
    "StringEquals",
    "StringNotEquals",
    "StringEqualsIgnoreCase",
    "StringNotEqualsIgnoreCase",
    "StringLike",
    "StringNotLike",
    "NumericEquals",
    "NumericNotEquals",
    "NumericLessThan",
    "NumericLessThanEquals",
    "NumericGreaterThan",
    "NumericGreaterThanEquals",
    "DateEquals",
    "DateNotEquals",
    "DateLessThan",
    "DateLessThanEquals",
    "DateGreaterThan",
    "DateGreaterThanEquals",
    "Bool",
    "BinaryEquals",
    "IpAddress",
    "NotIpAddress",
    "ArnEquals",
    "ArnLike",
    "ArnNotEquals",
    "ArnNotLike",
    "Null",
];

/// A policy of at least one statement, without principals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    statements: Vec<Statement>,
}

/// One statement. `Sid` is dropped: two statements with one `Sid` are refused by STS, and merging could make two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    effect: Effect,
    action: Element,
    resource: Element,
    condition: Option<BTreeMap<String, BTreeMap<String, Value>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

/// `Action` or `NotAction`, `Resource` or `NotResource`, in the shape it was written in: one string, or a list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Element {
    name: &'static str,
    value: Value,
}

impl Policy {
    /// Reads the policy at `pointer` of some document.
    ///
    /// # Errors
    /// Every problem, each at its JSON pointer.
    pub fn parse(document: &Value, pointer: &str) -> Result<Self, Problems> {
        let mut reader = Reader { problems: Problems::default() };
        let policy = reader.policy(document, pointer);
        match policy {
            Some(policy) if reader.problems.is_empty() => Ok(policy),
            _ => Err(reader.problems),
        }
    }

    /// Whether a statement denies.
    #[must_use]
    pub fn denies(&self) -> bool {
        self.statements.iter().any(|statement| statement.effect == Effect::Deny)
    }

    /// The statements.
    #[must_use]
    pub fn into_statements(self) -> Vec<Statement> {
        self.statements
    }

    /// Writes `statements` as one policy, minified, in the characters that STS accepts.
    #[must_use]
    pub fn print(statements: &[Statement]) -> String {
        let statements: Vec<Value> = statements.iter().map(Statement::to_json).collect();
        let mut text = Vec::new();
        let mut printer = Serializer::with_formatter(&mut text, Latin1);
        // Writing values into memory does not fail; were it to, the empty text is no policy and STS is never asked.
        match serde::Serialize::serialize(&json!({"Version": VERSION, "Statement": statements}), &mut printer) {
            Ok(()) => String::from_utf8(text).unwrap_or_default(),
            Err(_) => String::new(),
        }
    }
}

impl Statement {
    fn to_json(&self) -> Value {
        let effect = match self.effect {
            Effect::Allow => "Allow",
            Effect::Deny => "Deny",
        };
        let mut members = Map::new();
        members.insert("Effect".into(), effect.into());
        for element in [&self.action, &self.resource] {
            members.insert(element.name.into(), element.value.clone());
        }
        if let Some(condition) = &self.condition {
            members.insert("Condition".into(), json!(condition));
        }
        Value::Object(members)
    }
}

struct Reader {
    problems: Problems,
}

impl Reader {
    fn policy(&mut self, document: &Value, at: &str) -> Option<Policy> {
        let members = self.object(document, at, "must be a JSON object")?;
        self.only(members, at, &["Version", "Id", "Statement"]);
        let version = members.get("Version");
        match version.map(Value::as_str) {
            None | Some(Some(VERSION | OLD_VERSION)) => {}
            Some(_) => self.problems.add(&format!("{at}/Version"), "must be \"2012-10-17\""),
        }
        if version.and_then(Value::as_str) != Some(VERSION) && holds_variable(document) {
            let remedy = "must be \"2012-10-17\", since a string holds `${`: without it that is text, and the merged \
                          policy would make it a variable";
            self.problems.add(&format!("{at}/Version"), remedy);
        }
        self.text(members, "Id", at);
        let at = &format!("{at}/Statement");
        let statements: Vec<Statement> = match members.get("Statement") {
            Some(Value::Array(list)) if list.len() > MAX_STATEMENTS => {
                self.problems.add(
                    at,
                    format_args!("must have at most {MAX_STATEMENTS} statements, which is all that STS takes"),
                );
                Vec::new()
            }
            Some(Value::Array(list)) if !list.is_empty() => {
                let read = |(index, one)| self.statement(one, &format!("{at}/{index}"));
                list.iter().enumerate().filter_map(read).collect()
            }
            Some(one @ Value::Object(_)) => self.statement(one, at).into_iter().collect(),
            _ => {
                self.problems.add(at, "must be a statement or a list of at least one");
                Vec::new()
            }
        };
        Some(Policy { statements })
    }

    fn statement(&mut self, document: &Value, at: &str) -> Option<Statement> {
        let members = self.object(document, at, "must be a statement, which is a JSON object")?;
        self.only(members, at, &["Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"]);
        self.text(members, "Sid", at);
        let effect = match members.get("Effect").and_then(Value::as_str) {
            Some("Allow") => Some(Effect::Allow),
            Some("Deny") => Some(Effect::Deny),
            _ => {
                self.problems.add(&format!("{at}/Effect"), "must be \"Allow\" or \"Deny\"");
                None
            }
        };
        let action = self.element(members, at, ["Action", "NotAction"], action_problem);
        let resource = self.element(members, at, ["Resource", "NotResource"], resource_problem);
        let condition = match members.get("Condition") {
            None => None,
            Some(condition) => Some(self.condition(condition, &format!("{at}/Condition"))?),
        };
        let statement = Statement { effect: effect?, action: action?, resource: resource?, condition };
        self.names_no_iam_action(&statement, at);
        Some(statement)
    }

    fn element(
        &mut self,
        members: &Map<String, Value>,
        at: &str,
        [plain, negated]: [&'static str; 2],
        problem: fn(&str) -> Option<&'static str>,
    ) -> Option<Element> {
        let (name, value) = match (members.get(plain), members.get(negated)) {
            (Some(value), None) => (plain, value),
            (None, Some(value)) => (negated, value),
            _ => {
                self.problems.add(at, format_args!("must have either `{plain}` or `{negated}`"));
                return None;
            }
        };
        let at = format!("{at}/{name}");
        let mut check = |text: &Value, at: &str| match text.as_str() {
            Some(text) => {
                if let Some(remedy) = problem(text).or_else(|| variable_problem(text)) {
                    self.problems.add(at, remedy);
                }
            }
            None => self.problems.add(at, "must be a string"),
        };
        match value.as_array() {
            Some(list) if list.is_empty() => self.problems.add(&at, "must not be empty"),
            Some(list) => list.iter().enumerate().for_each(|(index, text)| check(text, &format!("{at}/{index}"))),
            None => check(value, &at),
        }
        Some(Element { name, value: value.clone() })
    }

    fn condition(&mut self, document: &Value, at: &str) -> Option<BTreeMap<String, BTreeMap<String, Value>>> {
        let mut condition = BTreeMap::new();
        for (operator, block) in self.object(document, at, "must be an object of operators")? {
            let at = format!("{at}/{}", escaped(operator));
            if !is_operator(operator) {
                self.problems.add(&at, "is no condition operator of IAM");
            }
            let mut keys = BTreeMap::new();
            for (key, value) in self.object(block, &at, "must be an object of condition keys")? {
                self.condition_value(value, &format!("{at}/{}", escaped(key)));
                if let Some(remedy) = variable_problem(key) {
                    self.problems.add(&at, remedy);
                }
                keys.insert(key.clone(), value.clone());
            }
            if keys.is_empty() {
                self.problems.add(&at, "must not be empty");
            }
            condition.insert(operator.clone(), keys);
        }
        Some(condition)
    }

    fn condition_value(&mut self, value: &Value, at: &str) {
        match value {
            Value::Array(list) if list.is_empty() => self.problems.add(at, "must not be empty"),
            Value::Array(list) => {
                for (index, value) in list.iter().enumerate() {
                    let at = format!("{at}/{index}");
                    if value.is_array() {
                        self.problems.add(&at, "must be a string, number or boolean");
                    } else {
                        self.condition_value(value, &at);
                    }
                }
            }
            Value::String(text) => {
                if let Some(remedy) = variable_problem(text) {
                    self.problems.add(at, remedy);
                }
            }
            // Its text is gone by now, and what is printed could be another number.
            Value::Number(number) if number.is_f64() => {
                self.problems.add(at, "must be a whole number of at most 64 bits; write any other as a string");
            }
            Value::Number(_) | Value::Bool(_) => {}
            Value::Null | Value::Object(_) => {
                self.problems.add(at, "must be a string, number or boolean, or a list of them");
            }
        }
    }

    /// IAM works in no federated session, except in the console, which any holder of credentials can open: an
    /// operator who grants it has to have meant it.
    fn names_no_iam_action(&mut self, statement: &Statement, at: &str) {
        let iam = |action: &Value| {
            action
                .as_str()
                .is_some_and(|action| action.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("iam:")))
        };
        let actions = &statement.action.value;
        let named = actions.as_array().map_or_else(|| iam(actions), |actions| actions.iter().any(iam));
        if statement.effect == Effect::Allow && statement.action.name == "Action" && named {
            self.problems.add(&format!("{at}/Action"), "allows an `iam:` action, which works in a console session");
        }
    }

    fn object<'v>(&mut self, value: &'v Value, at: &str, remedy: &str) -> Option<&'v Map<String, Value>> {
        let members = value.as_object();
        if members.is_none() {
            self.problems.add(at, remedy);
        }
        members
    }

    fn only(&mut self, members: &Map<String, Value>, at: &str, known: &[&str]) {
        for name in members.keys().filter(|name| !known.contains(&name.as_str())) {
            let remedy = match name.as_str() {
                "Principal" | "NotPrincipal" => "belongs in resource policies; remove it",
                _ => "is not an element of IAM's grammar here; check its spelling and case",
            };
            self.problems.add(&format!("{at}/{}", escaped(name)), remedy);
        }
    }

    fn text(&mut self, members: &Map<String, Value>, name: &str, at: &str) {
        if members.get(name).is_some_and(|value| !value.is_string()) {
            self.problems.add(&format!("{at}/{name}"), "must be a string");
        }
    }
}

fn action_problem(action: &str) -> Option<&'static str> {
    let legal = action == "*"
        || action.split_once(':').is_some_and(|(service, name)| {
            let service_is_literal = service.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            let name_is_pattern = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"*?-_".contains(&byte));
            !service.is_empty() && !name.is_empty() && (service_is_literal || action == "*:*") && name_is_pattern
        });
    (!legal).then_some("must be `*` or `service:Action`, the service without wildcards")
}

fn resource_problem(resource: &str) -> Option<&'static str> {
    let legal = resource == "*" || (resource.starts_with("arn:") && resource.split(':').count() >= 6);
    (!legal).then_some("must be `*` or an ARN, `arn:partition:service:region:account:resource`")
}

/// A variable is `${name}`, with a colon in the name, or one of `${*}`, `${?}` and `${$}`. Whatever looks like one of
/// Hallpass's own templates is refused, in any case: passed on, IAM would take it for a variable that never matches,
/// and a Deny would be lost. What is not closed, or inside another, would be too.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>
fn variable_problem(text: &str) -> Option<&'static str> {
    let mut rest = text;
    while let Some((_, behind)) = rest.split_once("${") {
        let Some((name, behind)) = behind.split_once('}') else { return Some("holds a `${` that is not closed") };
        let folded = name.trim().to_ascii_lowercase();
        if folded.starts_with("jwt") || folded.starts_with("session") {
            return Some("holds a template, which this version does not know");
        }
        if folded.contains("${") || !(folded.contains(':') || ["*", "?", "$"].contains(&name)) {
            return Some("holds a `${…}` that is no variable of IAM");
        }
        rest = behind;
    }
    None
}

fn is_operator(name: &str) -> bool {
    let name = name.strip_prefix("ForAllValues:").or_else(|| name.strip_prefix("ForAnyValue:")).unwrap_or(name);
    // `Null` asks whether a key exists: `IfExists` makes no sense there, and IAM refuses it.
    let base = name.strip_suffix("IfExists").filter(|base| *base != "Null").unwrap_or(name);
    OPERATORS.contains(&base)
}

fn holds_variable(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("${"),
        Value::Array(values) => values.iter().any(holds_variable),
        Value::Object(members) => members.iter().any(|(name, value)| name.contains("${") || holds_variable(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A member's name as a JSON pointer writes it (RFC 6901 §3), cut where it is longer than any that IAM knows.
pub(super) fn escaped(name: &str) -> String {
    let name: String = name.chars().take(128).collect();
    name.replace('~', "~0").replace('/', "~1")
}

/// Writes JSON in the characters that STS accepts in a policy: those above U+00FF as `\u` escapes.
struct Latin1;

impl Formatter for Latin1 {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut units = [0; 2];
        for c in fragment.chars() {
            if c <= '\u{ff}' {
                write!(writer, "{c}")?;
            } else {
                c.encode_utf16(&mut units).iter().try_for_each(|unit| write!(writer, "\\u{unit:04x}"))?;
            }
        }
        Ok(())
    }
}
