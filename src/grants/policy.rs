//! What does a policy say?
//!
//! A session policy is parsed by IAM's grammar into types, and printed again from what was understood: nothing is
//! passed through. The shape that an author chose (one statement or a list, one action or a list) is kept.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>

use std::io;

use serde_json::ser::{Formatter, Serializer};
use serde_json::{Map, Value, json};

use super::arn::resource;
use super::condition::Condition;
use super::template::Template;
pub(super) use crate::json::escaped;
use crate::problems::{Problems, quoted};

/// The language version in which `${…}` is a variable; in 2008's it is text.
const VERSION: &str = "2012-10-17";
const OLD_VERSION: &str = "2008-10-17";

/// More statements than this are over 2,048 characters however short each is: 45 for
/// `{"Action":"*","Effect":"Deny","Resource":"*"}` and 1 for the comma. Known before any of them is read or compared,
/// so that a huge item costs no more than a small one.
pub(super) const MAX_STATEMENTS: usize = 2_048 / 46;

/// A policy of at least one statement, without principals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    statements: Vec<Statement>,
    /// Whether they were written as a list.
    listed: bool,
}

/// One statement. `Sid` is dropped: two statements with one `Sid` are refused by STS, and merging could make two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub(super) effect: Effect,
    pub(super) action: Scope<Action>,
    pub(super) resource: Scope<Template>,
    pub(super) condition: Option<Condition>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Allow,
    Deny,
}

/// What a statement is about: these (`Action`, `Resource`), or all but these (`NotAction`, `NotResource`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope<T> {
    These(OneOrMany<T>),
    AllBut(OneOrMany<T>),
}

/// A value, or a list of at least one, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

/// `*`, or `service:Name`, the name with wildcards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Action(String);

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
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// The JSON pointer, from the policy, of a statement.
    pub(super) fn pointer(&self, index: usize) -> String {
        if self.listed { format!("/Statement/{index}") } else { "/Statement".into() }
    }

    /// Writes statements that were printed as one policy, minified, in the characters that STS accepts.
    #[must_use]
    pub fn print(statements: &[Value]) -> String {
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
    /// Writes the statement with its templates filled in.
    ///
    /// # Errors
    /// What `fill` says.
    pub fn print<E>(&self, fill: &impl Fn(&Template) -> Result<String, E>) -> Result<Value, E> {
        let mut members = Map::new();
        let effect = match self.effect {
            Effect::Allow => "Allow",
            Effect::Deny => "Deny",
        };
        members.insert("Effect".into(), effect.into());
        let (name, actions) = self.action.named("Action", "NotAction");
        members.insert(name.into(), actions.print(&|action: &Action| Ok(Value::String(action.0.clone())))?);
        let (name, resources) = self.resource.named("Resource", "NotResource");
        members.insert(name.into(), resources.print(&|resource: &Template| fill(resource).map(Value::String))?);
        if let Some(condition) = &self.condition {
            members.insert("Condition".into(), condition.print(fill)?);
        }
        Ok(Value::Object(members))
    }

    /// Whether it allows what names an action of IAM. IAM works in no federated session, except in the console, which
    /// any holder of credentials can open.
    pub(super) fn allows_iam(&self) -> bool {
        let named = match &self.action {
            Scope::These(actions) => actions.iter().any(|action| action.is_of("iam")),
            Scope::AllBut(_) => false,
        };
        self.effect == Effect::Allow && named
    }
}

impl<T> Scope<T> {
    const fn named(&self, these: &'static str, all_but: &'static str) -> (&'static str, &OneOrMany<T>) {
        match self {
            Self::These(values) => (these, values),
            Self::AllBut(values) => (all_but, values),
        }
    }
}

impl<T> OneOrMany<T> {
    /// Reads one value or a list. What is wrong with a value is added to `problems` by `read`.
    pub(super) fn read(
        value: &Value,
        at: &str,
        problems: &mut Problems,
        read: impl Fn(&Value, &str, &mut Problems) -> Option<T>,
    ) -> Option<Self> {
        let Some(list) = value.as_array() else { return read(value, at, problems).map(Self::One) };
        if list.is_empty() {
            problems.add(at, "must not be empty");
            return None;
        }
        let all = list.iter().enumerate().filter_map(|(index, one)| read(one, &format!("{at}/{index}"), problems));
        Some(Self::Many(all.collect()))
    }

    pub(super) fn print<E>(&self, print: &impl Fn(&T) -> Result<Value, E>) -> Result<Value, E> {
        match self {
            Self::One(one) => print(one),
            Self::Many(many) => many.iter().map(print).collect::<Result<_, _>>().map(Value::Array),
        }
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, T> {
        match self {
            Self::One(one) => std::slice::from_ref(one).iter(),
            Self::Many(many) => many.iter(),
        }
    }
}

impl Action {
    fn parse(text: &str) -> Result<Self, String> {
        let legal = text == "*"
            || text.split_once(':').is_some_and(|(service, name)| {
                let service_is_literal = service.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
                let name_is_pattern = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"*?-_".contains(&byte));
                !service.is_empty() && !name.is_empty() && (service_is_literal || text == "*:*") && name_is_pattern
            });
        let remedy = "must be `*` or `service:Action`, the service literal";
        if legal { Ok(Self(text.to_owned())) } else { Err(format!("{remedy}: {}", quoted(text))) }
    }

    /// Whether it names an action of this service, and not all actions.
    pub(super) fn is_of(&self, service: &str) -> bool {
        self.0.split_once(':').is_some_and(|(named, _)| named.eq_ignore_ascii_case(service))
    }

    /// Whether it is every action of this service.
    pub(super) fn is_all_of(&self, service: &str) -> bool {
        self.is_of(service) && self.0.split_once(':').is_some_and(|(_, name)| name == "*")
    }

    /// Whether it is every action of every service.
    pub(super) fn is_everything(&self) -> bool {
        self.0 == "*" || self.0 == "*:*"
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
        if let Some(other) = version.filter(|version| !matches!(version.as_str(), Some(VERSION | OLD_VERSION))) {
            self.problems.add(&format!("{at}/Version"), format_args!("must be \"2012-10-17\": {}", quoted(other)));
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
        Some(Policy { statements, listed: members.get("Statement").is_some_and(Value::is_array) })
    }

    fn statement(&mut self, document: &Value, at: &str) -> Option<Statement> {
        let members = self.object(document, at, "must be a statement, which is a JSON object")?;
        self.only(members, at, &["Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"]);
        self.text(members, "Sid", at);
        let effect = match members.get("Effect").and_then(Value::as_str) {
            Some("Allow") => Some(Effect::Allow),
            Some("Deny") => Some(Effect::Deny),
            _ => {
                let found = members.get("Effect").map(|effect| format!(": {}", quoted(effect))).unwrap_or_default();
                let remedy = format_args!("must be \"Allow\" or \"Deny\"{found}");
                self.problems.add(&format!("{at}/Effect"), remedy);
                None
            }
        };
        let action = self.scope(members, at, ["Action", "NotAction"], Action::parse);
        let resource = self.scope(members, at, ["Resource", "NotResource"], resource);
        let condition = members
            .get("Condition")
            .map(|condition| Condition::read(condition, &format!("{at}/Condition"), &mut self.problems));
        Some(Statement { effect: effect?, action: action?, resource: resource?, condition })
    }

    fn scope<T>(
        &mut self,
        members: &Map<String, Value>,
        at: &str,
        [these, all_but]: [&'static str; 2],
        parse: fn(&str) -> Result<T, String>,
    ) -> Option<Scope<T>> {
        let (name, value) = match (members.get(these), members.get(all_but)) {
            (Some(value), None) => (these, value),
            (None, Some(value)) => (all_but, value),
            _ => {
                self.problems.add(at, format_args!("must have either `{these}` or `{all_but}`"));
                return None;
            }
        };
        let values = OneOrMany::read(value, &format!("{at}/{name}"), &mut self.problems, |value, at, problems| {
            let parsed = value.as_str().map_or_else(|| Err(format!("must be a string: {}", quoted(value))), parse);
            parsed.map_err(|remedy| problems.add(at, remedy)).ok()
        })?;
        Some(if name == these { Scope::These(values) } else { Scope::AllBut(values) })
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
        let remedy = match members.get(name) {
            Some(Value::String(text)) if text.contains("${") => "holds a `${`, and nothing is filled in here",
            None | Some(Value::String(_)) => return,
            Some(_) => "must be a string",
        };
        self.problems.add(&format!("{at}/{name}"), remedy);
    }
}

fn holds_variable(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("${"),
        Value::Array(values) => values.iter().any(holds_variable),
        Value::Object(members) => members.iter().any(|(name, value)| name.contains("${") || holds_variable(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
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
