//! What does a policy say?
//!
//! A session policy is parsed by IAM's grammar into types, and printed again from what was understood: nothing is
//! passed through. The shape that an author chose (one statement or a list, one action or a list) is kept.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>

mod action;
mod arn;
mod condition;
mod one_or_many;
mod statement;
mod template;
mod value;
mod variable;

use std::io;

use serde_json::ser::{Formatter, Serializer};
use serde_json::{Value, json};

pub(in crate::grants) use self::action::Action;
pub(in crate::grants) use self::condition::{Condition, Family, Operand, Operator};
pub(in crate::grants) use self::one_or_many::OneOrMany;
pub use self::statement::Statement;
pub(in crate::grants) use self::statement::{Effect, Scope};
pub(in crate::grants) use self::template::Part;
pub use self::template::{ClaimError, Template, TemplateError};
pub(in crate::grants) use self::value::{Decimal, is_date, is_in, moments, network};
use crate::read::fields::{Fields, string};
use crate::read::problems::{Problem, Problems};
use crate::read::rule::Rule;

/// The language version in which `${…}` is a variable; in 2008's it is text.
const VERSION: &str = "2012-10-17";
const OLD_VERSION: &str = "2008-10-17";

/// More statements than this are over 2,048 characters however short each is: 45 for
/// `{"Action":"*","Effect":"Deny","Resource":"*"}` and 1 for the comma. Known before any of them is read or compared,
/// so that a huge item costs no more than a small one.
pub(in crate::grants) const MAX_STATEMENTS: usize = 2_048 / 46;

/// The same for policies that IAM keeps. Those of customers have at most 133, in 6,144 characters; those of AWS may be
/// larger, and none is near this.
const MAX_STATEMENTS_OF_IAM: usize = 1_000;

/// A policy of at least one statement, without principals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    statements: Vec<Statement>,
    /// Whether they were written as a list.
    listed: bool,
}

impl Policy {
    /// Reads the policy at `pointer` of some document.
    ///
    /// # Errors
    /// Every problem, each at its JSON pointer.
    pub fn parse(document: &Value, pointer: &str) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        match Self::read(document, pointer, &mut problems) {
            Some(policy) if problems.is_empty() => Ok(policy),
            _ => Err(problems),
        }
    }

    /// Reads a policy of IAM's own, such as those of the broker user. It may be larger than a session policy, and
    /// nothing is filled in.
    ///
    /// # Errors
    /// Every problem, each at its JSON pointer.
    pub(in crate::grants) fn parse_of_iam(document: &Value) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let policy = Self::read_up_to(MAX_STATEMENTS_OF_IAM, document, "", &mut problems);
        let filled =
            policy.iter().flat_map(|policy| policy.statements.iter().enumerate().map(move |all| (policy, all)));
        for (policy, (index, _)) in filled.filter(|(_, (_, statement))| statement.templates().any(Template::is_filled))
        {
            let says = "contains a `${jwt:…}` or `${session:…}`, which only grants fill in";
            problems.add(&policy.pointer(index), Problem::new(Rule::Template, says));
        }
        policy.filter(|_| problems.is_empty()).ok_or(problems)
    }

    /// Reads the policy at `at`, and notes every problem.
    pub(in crate::grants) fn read(document: &Value, at: &str, problems: &mut Problems) -> Option<Self> {
        Self::read_up_to(MAX_STATEMENTS, document, at, problems)
    }

    fn read_up_to(most: usize, document: &Value, at: &str, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(document, at, "must be a JSON object", problems)?;
        let version = fields.raw("Version");
        if let Some(other) = version.filter(|version| !matches!(version.as_str(), Some(VERSION | OLD_VERSION))) {
            fields.add("Version", Problem::wrong(Rule::PolicyVersion, "must be \"2012-10-17\"", other));
        }
        if version.and_then(Value::as_str) != Some(VERSION) && holds_variable(document) {
            let says = "must be \"2012-10-17\", since a string contains `${`: otherwise it is text, and the merged policy \
                        would make it a variable";
            fields.add("Version", Problem::new(Rule::PolicyVersion, says));
        }
        fields.optional("Id", label);
        let statements = fields.raw("Statement");
        let listed = statements.is_some_and(Value::is_array);
        let statements: Vec<Statement> = match statements {
            Some(Value::Array(list)) if list.len() > most => {
                let why = if most == MAX_STATEMENTS { ", which is the limit of STS" } else { "" };
                let says = format_args!("must have at most {most} statements{why}");
                fields.add("Statement", Problem::new(Rule::Statement, says));
                Vec::new()
            }
            Some(Value::Array(list)) if !list.is_empty() => {
                let read = |_: &Value, at: &str, problems: &mut Problems| {
                    let read = |(index, one)| Statement::read(one, &format!("{at}/{index}"), problems);
                    list.iter().enumerate().filter_map(read).collect()
                };
                fields.nested("Statement", read).unwrap_or_default()
            }
            Some(Value::Object(_)) => fields.nested("Statement", Statement::read).flatten().into_iter().collect(),
            _ => {
                let says = "must be a statement or a list of at least one";
                fields.add("Statement", Problem::new(Rule::Statement, says));
                Vec::new()
            }
        };
        fields.finish(|_| false, unknown_element);
        Some(Self { statements, listed })
    }

    #[must_use]
    pub fn denies(&self) -> bool {
        self.statements.iter().any(|statement| statement.effect == Effect::Deny)
    }

    #[must_use]
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// The JSON pointer, from the policy, of a statement.
    pub(in crate::grants) fn pointer(&self, index: usize) -> String {
        if self.listed { format!("/Statement/{index}") } else { "/Statement".into() }
    }

    /// Writes statements that were printed as one policy, minified, in the characters that STS accepts.
    #[must_use]
    pub fn print(statements: &[Value]) -> String {
        let mut text = Vec::new();
        let mut printer = Serializer::with_formatter(&mut text, Latin1);
        // Writing into memory does not fail. If it did, the empty text is not a policy, and STS is not asked.
        match serde::Serialize::serialize(&json!({"Version": VERSION, "Statement": statements}), &mut printer) {
            Ok(()) => String::from_utf8(text).unwrap_or_default(),
            Err(_) => String::new(),
        }
    }
}

/// Reads `Id` or `Sid`, which mean nothing.
fn label(value: &Value) -> Result<(), Problem> {
    if string(value)?.contains("${") {
        let says = "contains a `${`, and templates do not work here";
        return Err(Problem::wrong(Rule::Template, says, value));
    }
    Ok(())
}

fn unknown_element(name: &str) -> Problem {
    match name {
        "Principal" | "NotPrincipal" => {
            Problem::new(Rule::PolicyElement, "belongs in resource policies").help("remove it")
        }
        _ => {
            let says = "is not an element of IAM's grammar here";
            Problem::new(Rule::PolicyElement, says).help("check its spelling and case")
        }
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
