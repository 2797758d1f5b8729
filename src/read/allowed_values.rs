//! Does a token say what an operator requires of it?
//!
//! One rule for an issuer's `required_claims` and for a grant's `require/claims`, read and applied here alone.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::read::json;
use crate::read::problems::{Problem, Problems, quoted};
use crate::read::rule::Rule;

/// Claims by JSON pointer, each with the values of which it must have one.
// INVARIANT: each name is a JSON pointer; no list of values is empty; each value is a string or a boolean.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RequiredClaims(BTreeMap<String, Vec<Value>>);

impl RequiredClaims {
    /// Reads a map of pointers to lists of values, which stands at `at`.
    pub(crate) fn read(value: &Value, at: &str, problems: &mut Problems) -> Self {
        let mut required = Self::default();
        let Some(members) = value.as_object() else {
            problems.add(at, Problem::wrong(Rule::Type, "must map JSON pointers to lists of allowed values", value));
            return required;
        };
        for (pointer, allowed) in members {
            let at = format!("{at}/{}", json::escaped(pointer));
            let is_pointer = json::is_pointer(pointer);
            if !is_pointer {
                let says = format_args!("must be named by a JSON pointer (RFC 6901), not by {}", quoted(pointer));
                problems.add(&at, Problem::new(Rule::JsonPointer, says).help("for example `/department`"));
            }
            let values = allowed.as_array().filter(|values| !values.is_empty() && values.iter().all(is_scalar));
            if values.is_none() {
                problems
                    .add(&at, Problem::wrong(Rule::Type, "must be a list of at least one string or boolean", allowed));
            }
            required.0.extend(values.filter(|_| is_pointer).map(|values| (pointer.clone(), values.clone())));
        }
        required
    }

    /// What meets both: only the values that both allow for a claim are left. A list that holds one value of each is
    /// refused then. This is stricter than asking twice, never wider, and the same for a list and for a single value.
    ///
    /// # Errors
    /// The pointer of a claim that has no value left.
    pub(crate) fn and(mut self, other: Self) -> Result<Self, String> {
        for (pointer, allowed) in other.0 {
            let values = self.0.entry(pointer.clone()).or_insert_with(|| allowed.clone());
            values.retain(|value| allowed.contains(value));
            if values.is_empty() {
                return Err(pointer);
            }
        }
        Ok(self)
    }

    /// The pointer of the first claim that is missing or has none of its values. `claim_at` finds a token's claims.
    pub(crate) fn first_unmet<'claims>(&self, claim_at: impl Fn(&str) -> Option<&'claims Value>) -> Option<&str> {
        let is_met = |pointer: &str, allowed| claim_at(pointer).is_some_and(|claim| has_one_of(claim, allowed));
        self.0.iter().find(|(pointer, allowed)| !is_met(pointer, allowed)).map(|(pointer, _)| pointer.as_str())
    }

    /// The pointers of the claims.
    #[cfg(feature = "files")]
    pub(crate) fn pointers(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether the claim at `pointer` is among them.
    pub(crate) fn names(&self, pointer: &str) -> bool {
        self.0.contains_key(pointer)
    }
}

/// Whether a claim is one of the values, of the same type, or a flat list that holds one: Entra ID sends its
/// authentication contexts as `"acrs": ["p1", "c1"]`. A list with anything but strings and booleans is not understood.
fn has_one_of(claim: &Value, allowed: &[Value]) -> bool {
    match claim {
        Value::String(_) | Value::Bool(_) => allowed.contains(claim),
        Value::Array(list) => list.iter().all(is_scalar) && list.iter().any(|value| allowed.contains(value)),
        Value::Null | Value::Number(_) | Value::Object(_) => false,
    }
}

fn is_scalar(value: &Value) -> bool {
    value.is_string() || value.is_boolean()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> RequiredClaims {
        let mut problems = Problems::default();
        let required = RequiredClaims::read(value, "at", &mut problems);
        assert!(problems.is_empty(), "{problems}");
        required
    }

    fn is_met(required: &RequiredClaims, claims: &Value) -> bool {
        required.first_unmet(|pointer| claims.pointer(pointer)).is_none()
    }

    #[test]
    fn a_claim_is_one_of_the_values_or_a_flat_list_that_holds_one() {
        let required = read(&json!({"/acrs": ["c1", "c2", true]}));
        for claim in [json!("c1"), json!("c2"), json!(true), json!(["p1", "c1"]), json!(["c2"]), json!([false, "c1"])] {
            assert!(is_met(&required, &json!({"acrs": claim})), "{claim}");
        }
        for claim in [
            json!(null),
            json!("C1"),
            json!("c1 "),
            json!("c3"),
            json!("true"),
            json!("p1 c1"),
            json!(r#"["c1"]"#),
            json!(false),
            json!(1),
            json!({"c1": true}),
            json!([]),
            json!(["p1"]),
            json!(["true"]),
            json!([["c1"]]),
            json!(["c1", ["c1"]]),
            json!(["c1", null]),
            json!(["c1", 7]),
            json!(["c1", {}]),
        ] {
            assert!(!is_met(&required, &json!({"acrs": claim})), "{claim}");
        }
        assert!(!is_met(&required, &json!({})));
    }

    #[test]
    fn the_first_claim_that_is_not_met_is_named() {
        let required = read(&json!({"/a": ["x"], "/b": ["x"], "/c": ["x"]}));
        let unmet = |claims: Value| required.first_unmet(|pointer| claims.pointer(pointer)).map(str::to_owned);
        assert_eq!(unmet(json!({"a": "x", "c": "y"})), Some("/b".into()));
        assert_eq!(unmet(json!({"a": "x", "b": ["x"], "c": "x"})), None);
        assert!(required.names("/a") && !required.names("/d") && !required.names("a"));
    }

    #[test]
    fn what_is_wrong_is_quoted_at_its_place() {
        for (value, expected) in [
            (json!(["/hd"]), "at must map JSON pointers to lists of allowed values: `[\"/hd\"]`"),
            (json!(null), "at must map JSON pointers to lists of allowed values: `null`"),
            (json!({"/a/b": "c"}), "at/~1a~1b must be a list of at least one string or boolean: `\"c\"`"),
            (json!({"/a": []}), "at/~1a must be a list of at least one string or boolean: `[]`"),
            (json!({"/a": ["b", 7]}), "at/~1a must be a list of at least one string or boolean: `[\"b\",7]`"),
            (
                json!({"a": ["b"]}),
                "at/a must be named by a JSON pointer (RFC 6901), not by `a`; for example `/department`",
            ),
        ] {
            let mut problems = Problems::default();
            RequiredClaims::read(&value, "at", &mut problems);
            assert_eq!(problems.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected], "{value}");
        }
    }

    #[test]
    fn two_requirements_leave_what_both_allow() {
        let both = |one: Value, two: Value| read(&one).and(read(&two));
        let merged = both(json!({"/a": ["x", "y", true], "/b": ["z"]}), json!({"/a": [true, "y"], "/c": [false]}));
        assert_eq!(merged, Ok(read(&json!({"/a": ["y", true], "/b": ["z"], "/c": [false]}))));
        assert_eq!(both(json!({"/a": ["x"]}), json!({"/b": ["x"], "/a": ["y"]})), Err("/a".into()));
        assert_eq!(both(json!({"/a": [true]}), json!({"/a": ["true"]})), Err("/a".into()));
    }

    /// Some of few values, so that they often meet.
    fn any_values(at_least: usize) -> impl Strategy<Value = Value> {
        let value = prop_oneof![Just(json!("x")), Just(json!("y")), Just(json!(true)), Just(json!("true"))];
        prop::collection::vec(value, at_least..4).prop_map(Value::Array)
    }

    proptest! {
        #[test]
        fn what_meets_both_together_meets_each_alone(
            one in any_values(1),
            two in any_values(1),
            claim in prop_oneof![any_values(0), any_values(1).prop_map(|list| list[0].clone())],
        ) {
            let (one, two) = (read(&json!({"/a": one})), read(&json!({"/a": two})));
            let claims = json!({"a": claim});
            let each = is_met(&one, &claims) && is_met(&two, &claims);
            let together = one.and(two).is_ok_and(|both| is_met(&both, &claims));
            prop_assert!(!together || each);
            prop_assert!(claims["a"].is_array() || together == each, "for one value, both say the same");
        }
    }
}
