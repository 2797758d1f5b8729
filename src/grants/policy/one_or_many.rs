//! One value, or a list of at least one: how IAM's grammar writes nearly everything.

use serde_json::Value;

use crate::read::problems::{Problem, Problems};
use crate::read::rule::Rule;

/// A value, or a list of at least one, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::grants) enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// Reads one value or a list. What is wrong with a value is added to `problems` by `read`.
    pub(in crate::grants) fn read(
        value: &Value,
        at: &str,
        problems: &mut Problems,
        read: impl Fn(&Value, &str, &mut Problems) -> Option<T>,
    ) -> Option<Self> {
        let Some(list) = value.as_array() else { return read(value, at, problems).map(Self::One) };
        if list.is_empty() {
            problems.add(at, Problem::new(Rule::Missing, "must not be empty"));
            return None;
        }
        let all = list.iter().enumerate().filter_map(|(index, one)| read(one, &format!("{at}/{index}"), problems));
        Some(Self::Many(all.collect()))
    }

    pub(in crate::grants) fn print<E>(&self, print: &impl Fn(&T) -> Result<Value, E>) -> Result<Value, E> {
        match self {
            Self::One(one) => print(one),
            Self::Many(many) => many.iter().map(print).collect::<Result<_, _>>().map(Value::Array),
        }
    }

    pub(in crate::grants) fn iter(&self) -> std::slice::Iter<'_, T> {
        match self {
            Self::One(one) => std::slice::from_ref(one).iter(),
            Self::Many(many) => many.iter(),
        }
    }
}
