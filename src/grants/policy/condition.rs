//! When does a statement hold?
//!
//! The condition block of IAM's grammar: operators with their qualifiers, keys, and values of the operator's type.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>

use std::collections::BTreeSet;

use data_encoding::BASE64;
use serde_json::{Map, Number, Value};

use super::one_or_many::OneOrMany;
use super::template::{FILLED, Template, VARIABLE};
use super::value::{Decimal, is_date, network};
use crate::read::json::escaped;
use crate::read::problems::{Problem, Problems, quoted};
use crate::read::rule::Rule;

/// What an operator compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::grants) enum Family {
    Text,
    Number,
    Date,
    Truth,
    Binary,
    Address,
    Arn,
}

/// The operators, without the qualifiers `ForAllValues:` and `ForAnyValue:` before and `IfExists` behind.
const OPERATORS: [(&str, Family); 27] = [
    ("StringEquals", Family::Text),
    ("StringNotEquals", Family::Text),
    ("StringEqualsIgnoreCase", Family::Text),
    ("StringNotEqualsIgnoreCase", Family::Text),
    ("StringLike", Family::Text),
    ("StringNotLike", Family::Text),
    ("NumericEquals", Family::Number),
    ("NumericNotEquals", Family::Number),
    ("NumericLessThan", Family::Number),
    ("NumericLessThanEquals", Family::Number),
    ("NumericGreaterThan", Family::Number),
    ("NumericGreaterThanEquals", Family::Number),
    ("DateEquals", Family::Date),
    ("DateNotEquals", Family::Date),
    ("DateLessThan", Family::Date),
    ("DateLessThanEquals", Family::Date),
    ("DateGreaterThan", Family::Date),
    ("DateGreaterThanEquals", Family::Date),
    ("Bool", Family::Truth),
    ("Null", Family::Truth),
    ("BinaryEquals", Family::Binary),
    ("IpAddress", Family::Address),
    ("NotIpAddress", Family::Address),
    ("ArnEquals", Family::Arn),
    ("ArnLike", Family::Arn),
    ("ArnNotEquals", Family::Arn),
    ("ArnNotLike", Family::Arn),
];

/// A condition operator with its qualifiers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::grants) struct Operator {
    pub(in crate::grants) qualifier: Option<&'static str>,
    pub(in crate::grants) name: &'static str,
    pub(in crate::grants) family: Family,
    pub(in crate::grants) if_exists: bool,
}

impl Operator {
    fn parse(text: &str) -> Option<Self> {
        let qualifier = ["ForAllValues:", "ForAnyValue:"].into_iter().find(|qualifier| text.starts_with(qualifier));
        let rest = text.get(qualifier.map_or(0, str::len)..)?;
        // `Null` asks whether a key exists: `IfExists` makes no sense there, and IAM refuses it.
        let base = rest.strip_suffix("IfExists").filter(|base| *base != "Null");
        let (name, family) = OPERATORS.into_iter().find(|(name, _)| *name == base.unwrap_or(rest))?;
        Some(Self { qualifier, name, family, if_exists: base.is_some() })
    }

    pub(in crate::grants) fn print(&self) -> String {
        let behind = if self.if_exists { "IfExists" } else { "" };
        format!("{}{}{behind}", self.qualifier.unwrap_or_default(), self.name)
    }

    /// Whether it says what a value is not.
    pub(in crate::grants) fn negates(&self) -> bool {
        self.name.contains("Not")
    }

    /// Whether it holds where the key is missing, because it says what a value is not.
    pub(in crate::grants) fn holds_without_key(&self) -> bool {
        self.negates() || self.if_exists || self.qualifier == Some("ForAllValues:")
    }
}

/// A value that a key is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::grants) enum Operand {
    Text(Template),
    Number(Number),
    Truth(bool),
}

impl Operand {
    pub(in crate::grants) const fn template(&self) -> Option<&Template> {
        match self {
            Self::Text(template) => Some(template),
            Self::Number(_) | Self::Truth(_) => None,
        }
    }
}

/// One operator with the keys that it compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::grants) struct Comparison {
    pub(in crate::grants) operator: Operator,
    pub(in crate::grants) keys: Vec<(String, OneOrMany<Operand>)>,
}

/// All of a statement's comparisons, which have to hold together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::grants) struct Condition(pub(in crate::grants) Vec<Comparison>);

impl Condition {
    pub(in crate::grants) fn read(document: &Value, at: &str, problems: &mut Problems) -> Self {
        let Some(members) = document.as_object() else {
            problems.add(at, Problem::wrong(Rule::Type, "must be an object of operators", document));
            return Self::default();
        };
        let read = |(name, block): (&String, &Value)| {
            let at = format!("{at}/{}", escaped(name));
            let operator = Operator::parse(name);
            if operator.is_none() {
                let problem = Problem::new(Rule::ConditionOperator, "is not a condition operator of IAM");
                problems.add(&at, problem.help("check its spelling and case"));
            }
            let Some(block) = block.as_object().filter(|block| !block.is_empty()) else {
                problems.add(&at, Problem::wrong(Rule::Type, "must be an object of at least one condition key", block));
                return None;
            };
            let operator = operator?;
            let mut folded = BTreeSet::new();
            let keys = block.iter().filter_map(|(key, value)| {
                let at = format!("{at}/{}", escaped(key));
                match Template::parse(key) {
                    Ok(plain) if plain.is_plain() && !key.is_empty() => {}
                    Ok(_) => {
                        let must =
                            format_args!("must be the name of a condition key, without templates: {}", quoted(key));
                        problems.add(&at, Problem::new(Rule::ConditionKey, must));
                    }
                    Err(error) => problems.add(&at, error.into()),
                }
                // IAM does not tell such keys apart, and which of the two it would read is not documented.
                if !folded.insert(key.to_lowercase()) {
                    let says = "is written twice, in different case; IAM treats both as one key";
                    problems.add(&at, Problem::new(Rule::ConditionKey, says));
                }
                OneOrMany::read(value, &at, problems, |value, at, problems| {
                    operand(operator.family, value).map_err(|problem| problems.add(at, problem)).ok()
                })
                .map(|operands| (key.clone(), operands))
            });
            let keys = keys.collect();
            Some(Comparison { operator, keys })
        };
        Self(members.iter().filter_map(read).collect())
    }

    pub(in crate::grants) fn print<E>(&self, fill: &impl Fn(&Template) -> Result<String, E>) -> Result<Value, E> {
        let operand = |operand: &Operand| match operand {
            Operand::Text(template) => fill(template).map(Value::String),
            Operand::Number(number) => Ok(Value::Number(number.clone())),
            Operand::Truth(truth) => Ok(Value::Bool(*truth)),
        };
        let mut members = Map::new();
        for comparison in &self.0 {
            let mut block = Map::new();
            for (key, operands) in &comparison.keys {
                block.insert(key.clone(), operands.print(&operand)?);
            }
            members.insert(comparison.operator.print(), Value::Object(block));
        }
        Ok(Value::Object(members))
    }
}

/// Reads a value for an operator of this family.
fn operand(family: Family, value: &Value) -> Result<Operand, Problem> {
    let wrong = match value {
        Value::String(text) => {
            let template = Template::parse(text)?;
            match mistake(family, &template.outline()) {
                None => return Ok(Operand::Text(template)),
                Some(wrong) => wrong,
            }
        }
        // Its text is gone by now, and what is printed could be another number.
        Value::Number(number) if number.is_f64() => {
            "must be a whole number of at most 64 bits; write any other as a string"
        }
        Value::Number(number) if matches!(family, Family::Number | Family::Text) => {
            return Ok(Operand::Number(number.clone()));
        }
        Value::Number(number) if family == Family::Date => {
            if is_date(&number.to_string()) {
                return Ok(Operand::Number(number.clone()));
            }
            DATE
        }
        Value::Bool(truth) if matches!(family, Family::Truth | Family::Text) => return Ok(Operand::Truth(*truth)),
        Value::Number(_) | Value::Bool(_) => "is not of the type that this operator compares",
        Value::Null | Value::Object(_) | Value::Array(_) => "must be a string, number or boolean",
    };
    let found = value.as_str().map_or_else(|| quoted(value), quoted);
    Err(Problem::new(Rule::ConditionValue, format_args!("{wrong}: {found}")))
}

const DATE: &str = "must be a date of ISO 8601, such as 2026-11-22T12:00:00Z, or seconds";

/// What can be known to be wrong with a value before it is filled in.
fn mistake(family: Family, outline: &str) -> Option<&'static str> {
    if matches!(family, Family::Text | Family::Arn) {
        let arn = outline == "*" || outline.starts_with("arn:") || outline.starts_with([FILLED, VARIABLE]);
        return (family == Family::Arn && !arn).then_some("must be an ARN, or a pattern of one");
    }
    if outline.contains(VARIABLE) {
        return Some("contains a variable of IAM, which works only with operators for strings and ARNs");
    }
    if outline.contains(FILLED) {
        return None;
    }
    let (legal, remedy) = match family {
        Family::Text | Family::Arn => (true, ""),
        Family::Number => (Decimal::read(outline).is_some(), "must be a number"),
        Family::Date => (is_date(outline), DATE),
        Family::Truth => (["true", "false"].iter().any(|t| outline.eq_ignore_ascii_case(t)), "must be true or false"),
        Family::Binary => (BASE64.decode(outline.as_bytes()).is_ok(), "must be base64"),
        Family::Address => (network(outline).is_some(), "must be an address or a CIDR block"),
    };
    (!legal).then_some(remedy)
}
