//! What is a plain scalar, by the core schema of YAML 1.2?
//!
//! <https://yaml.org/spec/1.2.2/#103-core-schema>

use serde_json::{Number, Value};

/// What a plain scalar stands for.
pub(super) enum Resolved {
    Value(Value),
    /// A number, and what it is as text would be lost: it is printed in another way.
    Respelled(Number),
    /// A number that JSON cannot say.
    Unsayable,
}

/// Resolves a plain scalar.
pub(super) fn resolve(text: &str) -> Resolved {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Resolved::Value(Value::Null),
        "true" | "True" | "TRUE" => Resolved::Value(Value::Bool(true)),
        "false" | "False" | "FALSE" => Resolved::Value(Value::Bool(false)),
        ".nan" | ".NaN" | ".NAN" => Resolved::Unsayable,
        _ => number(text).unwrap_or_else(|| Resolved::Value(text.into())),
    }
}

/// Whether a plain scalar of this text is a string.
pub(crate) fn is_string(text: &str) -> bool {
    matches!(resolve(text), Resolved::Value(Value::String(_)))
}

fn number(text: &str) -> Option<Resolved> {
    for (prefix, radix) in [("0o", 8), ("0x", 16)] {
        if let Some(digits) = text.strip_prefix(prefix).filter(|digits| !digits.is_empty()) {
            let all = digits.chars().all(|c| c.is_digit(radix));
            return all.then(|| u64::from_str_radix(digits, radix).map_or(Resolved::Unsayable, whole));
        }
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if [".inf", ".Inf", ".INF"].contains(&unsigned) {
        return Some(Resolved::Unsayable);
    }
    let is_all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if unsigned.is_empty() {
        return None;
    }
    if is_all_digits(unsigned) {
        // `-0` is a whole number here, and JSON's reader makes it another one.
        let digits = text.strip_prefix('+').unwrap_or(text);
        let signed = digits.parse::<i64>().map(Number::from);
        let Ok(number) = signed.or_else(|_| digits.parse::<u64>().map(Number::from)) else {
            return Some(Resolved::Unsayable);
        };
        let is_respelled = unsigned.len() > 1 && unsigned.starts_with('0');
        return Some(if is_respelled { Resolved::Respelled(number) } else { Resolved::Value(number.into()) });
    }
    let (mantissa, exponent) =
        unsigned.split_once(['e', 'E']).map_or((unsigned, None), |(mantissa, exponent)| (mantissa, Some(exponent)));
    let exponent_is_legal = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && is_all_digits(digits)
    });
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_float = is_all_digits(integer)
        && is_all_digits(fraction)
        && (!integer.is_empty() || !fraction.is_empty())
        && exponent_is_legal;
    is_float.then(|| {
        let number = text.parse().ok().and_then(Number::from_f64);
        number.map_or(Resolved::Unsayable, |number| Resolved::Value(number.into()))
    })
}

fn whole(number: u64) -> Resolved {
    Resolved::Value(number.into())
}
