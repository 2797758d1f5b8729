//! Does a condition hold in this context?
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>

use std::cmp::Ordering;
use std::net::IpAddr;

use data_encoding::BASE64;

use super::Evaluation;
use super::context::Presence;
use super::pattern::Pattern;
use super::truth::Truth;
use crate::grants::policy::{
    Condition, Decimal, Family, OneOrMany, Operand, Operator, Template, is_date, is_in, moments, network,
};

impl Evaluation<'_> {
    pub(super) fn holds(&mut self, condition: &Condition) -> Truth {
        let comparisons = condition.0.iter();
        let keys = comparisons.flat_map(|one| one.keys.iter().map(|(key, operands)| (&one.operator, key, operands)));
        Truth::all(keys.map(|(operator, key, operands)| self.compare(operator, key, operands)))
    }

    fn compare(&mut self, operator: &Operator, key: &str, operands: &OneOrMany<Operand>) -> Truth {
        let context = self.context;
        let presence = context.presence(key);
        if presence == Presence::Unknown {
            self.missing.insert(key.to_owned());
        }
        if operator.name == "Null" {
            return null(operator, presence, operands);
        }
        let values = match presence {
            Presence::Unknown => return Truth::Unknown,
            Presence::Absent => return without_key(operator),
            Presence::Values(values) => values,
        };
        let truths: Vec<Truth> = values.iter().map(|value| self.satisfies(operator, value, operands)).collect();
        // "… or if the context key value resolves to a null dataset, such as an empty string".
        let is_null = values.iter().all(String::is_empty);
        match operator.qualifier {
            Some(FOR_ALL) if is_null => Truth::True,
            Some(FOR_ALL) => Truth::all(truths),
            Some(_) if is_null => Truth::False,
            Some(_) => Truth::any(truths),
            // "Multivalued context keys require a condition set operator": what comes without one is not documented.
            None => match truths.split_first() {
                Some((first, rest)) if rest.iter().all(|other| other == first) => *first,
                _ => Truth::Unknown,
            },
        }
    }

    /// Whether one value of the context is what the operator wants: like any of the operands, or like none of them.
    fn satisfies(&mut self, operator: &Operator, value: &str, operands: &OneOrMany<Operand>) -> Truth {
        let matches = operands.iter().map(|operand| self.matches(operator, value, operand));
        if !operator.negates() {
            return Truth::any(matches.map(|matches| matches.unwrap_or(Truth::False)));
        }
        // That a value of another type is not equal is not documented.
        Truth::any(matches.map(|matches| matches.unwrap_or(Truth::Unknown))).not()
    }

    /// Whether a value of the context is like an operand; `None` if the value is not of the type that is compared.
    fn matches(&mut self, operator: &Operator, value: &str, operand: &Operand) -> Option<Truth> {
        let text = text(operand);
        match operator.family {
            Family::Text => {
                let Some(pattern) = self.pattern(operand, operator.name.contains("Like")) else {
                    return Some(Truth::False);
                };
                Some(if operator.name.contains("IgnoreCase") {
                    pattern.folded().matches(&value.to_lowercase())
                } else {
                    pattern.matches(value)
                })
            }
            // `ArnEquals` and `ArnLike` behave identically.
            Family::Arn => match self.pattern(operand, true) {
                Some(pattern) => pattern.matches_arn(value),
                None => Some(Truth::False),
            },
            Family::Number => {
                let value = Decimal::read(value)?;
                Some(
                    text.and_then(|text| Decimal::read(&text))
                        .map_or(Truth::Unknown, |operand| relates(operator, value.cmp(&operand)).into()),
                )
            }
            Family::Date => {
                let (values, operands) = (moments(value), text.map(|text| moments(&text)).unwrap_or_default());
                let both = values.iter().flat_map(|value| operands.iter().map(|operand| value.cmp(operand)));
                let readings: Vec<bool> = both.map(|ordering| relates(operator, ordering)).collect();
                is_date(value).then_some(match readings.split_first() {
                    Some((first, rest)) if rest.iter().all(|other| other == first) => (*first).into(),
                    _ => Truth::Unknown,
                })
            }
            Family::Truth => {
                let is_truth = ["true", "false"].iter().any(|truth| value.eq_ignore_ascii_case(truth));
                let equal = |text: String| text.eq_ignore_ascii_case(value).into();
                is_truth.then(|| text.map_or(Truth::Unknown, equal))
            }
            Family::Binary => {
                let value = BASE64.decode(value.as_bytes()).ok()?;
                let operand = text.and_then(|text| BASE64.decode(text.as_bytes()).ok());
                Some(operand.map_or(Truth::Unknown, |operand| (operand == value).into()))
            }
            Family::Address => {
                let address: IpAddr = value.parse().ok()?;
                let block = text.and_then(|text| network(&text));
                Some(block.map_or(Truth::Unknown, |block| is_in(address, block).into()))
            }
        }
    }

    fn pattern(&mut self, operand: &Operand, wildcards: bool) -> Option<Pattern> {
        match operand {
            Operand::Text(template) => Pattern::of(template, wildcards, self),
            Operand::Number(_) | Operand::Truth(_) => Some(Pattern::wild(&text(operand).unwrap_or_default())),
        }
    }
}

const FOR_ALL: &str = "ForAllValues:";

/// What holds of a key that is absent.
fn without_key(operator: &Operator) -> Truth {
    let holds = operator.if_exists
        || match operator.qualifier {
            Some(qualifier) => qualifier == FOR_ALL,
            None => operator.negates(),
        };
    holds.into()
}

/// Whether the key is as absent as one of the operands says.
fn null(operator: &Operator, presence: Presence<'_>, operands: &OneOrMany<Operand>) -> Truth {
    let is_absent = match presence {
        Presence::Unknown => Truth::Unknown,
        Presence::Absent => Truth::True,
        // A key "exists and its value is not null"; an empty string may be null, and is for the set operators.
        Presence::Values(values) if values.iter().all(String::is_empty) => Truth::Unknown,
        Presence::Values(_) => Truth::False,
    };
    let wanted = |operand: &Operand| match text(operand).map(|text| text.to_ascii_lowercase()).as_deref() {
        Some("true") => is_absent,
        Some("false") => is_absent.not(),
        _ => Truth::Unknown,
    };
    // What a set operator means here is not documented.
    if operator.qualifier.is_some() { Truth::Unknown } else { Truth::any(operands.iter().map(wanted)) }
}

/// Whether an ordering of value and operand is what the operator asks for; of `NotEquals`, what it negates.
fn relates(operator: &Operator, ordering: Ordering) -> bool {
    let relation = operator.name.trim_start_matches("Numeric").trim_start_matches("Date");
    match relation {
        "LessThan" => ordering.is_lt(),
        "LessThanEquals" => ordering.is_le(),
        "GreaterThan" => ordering.is_gt(),
        "GreaterThanEquals" => ordering.is_ge(),
        _ => ordering.is_eq(),
    }
}

/// The text of an operand in which nothing is to be replaced.
fn text(operand: &Operand) -> Option<String> {
    match operand {
        Operand::Text(template) => template.is_plain().then(|| Template::outline(template)),
        Operand::Number(number) => Some(number.to_string()),
        Operand::Truth(truth) => Some(truth.to_string()),
    }
}
