//! How are the members of an object read, with every problem at once?
//!
//! Each member is asked for by name, once, and what nobody asks for is unknown. A member that is wrong is noted with its
//! place, its value and the remedy, and reading goes on.

use serde_json::{Map, Value};

use super::json::{escaped, is_pointer};
use super::problems::{Problem, Problems};
use super::rule::Rule;

/// The members of one object.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    at: String,
    members: &'a Map<String, Value>,
    asked: Vec<&'static str>,
    problems: &'a mut Problems,
    /// How many problems there were before.
    before: usize,
}

impl<'a> Fields<'a> {
    /// The members of the object at `at`.
    pub(crate) fn new(members: &'a Map<String, Value>, at: &str, problems: &'a mut Problems) -> Self {
        let before = problems.len();
        Self { at: at.to_owned(), members, asked: Vec::new(), problems, before }
    }

    /// The members of `value`, which `must` be an object.
    pub(crate) fn of(value: &'a Value, at: &str, must: &str, problems: &'a mut Problems) -> Option<Self> {
        let Some(members) = value.as_object() else {
            problems.add(at, Problem::wrong(Rule::Type, must, value));
            return None;
        };
        Some(Self::new(members, at, problems))
    }

    /// A member as it was written.
    pub(crate) fn raw(&mut self, name: &'static str) -> Option<&'a Value> {
        self.asked.push(name);
        self.members.get(name)
    }

    /// A member that may be left out.
    pub(crate) fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&'a Value) -> Result<T, Problem>,
    ) -> Option<T> {
        let value = self.raw(name)?;
        read(value).map_err(|problem| self.add(name, problem)).ok()
    }

    /// A member that may be left out, or be null.
    pub(crate) fn nullable<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&'a Value) -> Result<T, Problem>,
    ) -> Option<T> {
        if self.raw(name).is_some_and(Value::is_null) { None } else { self.optional(name, read) }
    }

    /// A member that has to be there; `must` says what it has to be.
    pub(crate) fn required<T>(
        &mut self,
        name: &'static str,
        must: &str,
        read: impl FnOnce(&'a Value) -> Result<T, Problem>,
    ) -> Option<T> {
        if self.raw(name).is_none() {
            self.add(name, Problem::new(Rule::Missing, must));
        }
        self.optional(name, read)
    }

    /// A member whose parts are read by another reader.
    pub(crate) fn nested<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&'a Value, &str, &mut Problems) -> T,
    ) -> Option<T> {
        let value = self.raw(name)?;
        let at = self.at(name);
        Some(read(value, &at, self.problems))
    }

    /// Notes what is wrong with a member, unless `holds`.
    pub(crate) fn require(&mut self, holds: bool, name: &str, problem: impl FnOnce() -> Problem) {
        if !holds {
            self.add(name, problem());
        }
    }

    /// Notes what is wrong with a member.
    pub(crate) fn add(&mut self, name: &str, problem: Problem) {
        let at = self.at(name);
        self.problems.add(&at, problem);
    }

    /// Notes what is wrong at `pointer` below the object, without a slash before it.
    pub(crate) fn add_at(&mut self, pointer: &str, problem: Problem) {
        let at = format!("{}/{pointer}", self.at);
        self.problems.add(&at, problem);
    }

    /// Notes what is wrong with the object itself.
    pub(crate) fn add_here(&mut self, problem: Problem) {
        self.problems.add(&self.at, problem);
    }

    /// Notes every member that nobody asked for and that `ignored` does not let pass. Its value is not quoted: nobody
    /// knows what it is, and it may be a secret. The answer says whether all of the object is right.
    pub(crate) fn finish(self, ignored: impl Fn(&str) -> bool, unknown: impl Fn(&str) -> Problem) -> bool {
        let others = self.members.keys().filter(|name| !self.asked.contains(&name.as_str()) && !ignored(name));
        for name in others {
            self.problems.add(&format!("{}/{}", self.at, escaped(name)), unknown(name));
        }
        self.problems.len() == self.before
    }

    /// The pointer of a member.
    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}/{}", self.at, escaped(name))
    }
}

/// Reads `true` or `false`.
pub(crate) fn flag(value: &Value) -> Result<bool, Problem> {
    value.as_bool().ok_or_else(|| Problem::wrong(Rule::Type, "must be true or false", value))
}

/// Reads a string, also an empty one.
pub(crate) fn string(value: &Value) -> Result<String, Problem> {
    value.as_str().map(str::to_owned).ok_or_else(|| Problem::wrong(Rule::Type, "must be a string", value))
}

/// What [`text`] reads.
pub(crate) const TEXT: &str = "must be a non-empty string";

/// Reads a string that is not empty.
pub(crate) fn text(value: &Value) -> Result<String, Problem> {
    let text = value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    text.ok_or_else(|| Problem::wrong(Rule::Type, TEXT, value))
}

/// Reads a list of at least one string, none of which is empty. `must` says so, and what they are.
pub(crate) fn texts(must: &str) -> impl FnOnce(&Value) -> Result<Vec<String>, Problem> {
    move |value| {
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let texts: Option<Vec<String>> = value.as_array().and_then(|values| values.iter().map(text).collect());
        texts.filter(|texts| !texts.is_empty()).ok_or_else(|| Problem::wrong(Rule::Type, must, value))
    }
}

/// Reads the JSON pointer of a claim.
pub(crate) fn pointer(value: &Value) -> Result<String, Problem> {
    let must = "must be a JSON pointer such as `/sub` (RFC 6901)";
    text(value).and_then(
        |text| {
            if is_pointer(&text) { Ok(text) } else { Err(Problem::wrong(Rule::JsonPointer, must, value)) }
        },
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(value: &Value, read: impl FnOnce(&mut Fields<'_>)) -> Vec<(String, Rule, String)> {
        let mut problems = Problems::default();
        if let Some(mut fields) = Fields::of(value, "/at", "must be an object", &mut problems) {
            read(&mut fields);
            let fine =
                fields.finish(|name| name.starts_with("x-"), |_| Problem::new(Rule::UnknownMember, "is not known"));
            assert_eq!(fine, problems.is_empty());
        }
        problems.iter().map(|problem| (problem.at.clone(), problem.rule, problem.says.clone())).collect()
    }

    #[test]
    fn what_is_right_is_read_and_the_rest_is_noted_with_place_and_value() {
        let value = json!({"a": true, "b": null, "c": 7, "x-y": 1, "d/e": "secret"});
        let found = problems(&value, |fields| {
            assert_eq!(fields.optional("a", flag), Some(true));
            assert_eq!(fields.nullable("b", flag), None);
            assert_eq!(fields.optional("c", string), None);
            assert_eq!(fields.required("f", TEXT, text), None);
            assert_eq!(fields.optional("g", string), None);
        });
        let expected = [
            ("/at/c", Rule::Type, "must be a string: `7`"),
            ("/at/f", Rule::Missing, TEXT),
            ("/at/d~1e", Rule::UnknownMember, "is not known"),
        ];
        assert_eq!(found, expected.map(|(at, rule, says)| (at.to_owned(), rule, says.to_owned())));
    }

    #[test]
    fn null_is_a_value_unless_it_may_be_left_out() {
        let found = problems(&json!({"a": null}), |fields| assert_eq!(fields.optional("a", flag), None));
        assert_eq!(found, [("/at/a".to_owned(), Rule::Type, "must be true or false: `null`".to_owned())]);
        let found = problems(&json!([1]), |_| panic!("not an object"));
        assert_eq!(found, [("/at".to_owned(), Rule::Type, "must be an object: `[1]`".to_owned())]);
    }

    #[test]
    fn values_have_the_type_that_is_asked_for() {
        assert_eq!(string(&json!("")).unwrap(), "");
        assert!(string(&json!(1)).is_err() && flag(&json!("true")).is_err());
        assert_eq!(text(&json!("a")).unwrap(), "a");
        assert!(text(&json!("")).is_err() && text(&json!(["a"])).is_err());
        assert_eq!(pointer(&json!("/a")).unwrap(), "/a");
        assert_eq!(pointer(&json!("a")).unwrap_err().rule, Rule::JsonPointer);
        assert_eq!(pointer(&json!("")).unwrap_err().rule, Rule::Type);
        assert_eq!(texts("must")(&json!(["a", "b"])).unwrap(), ["a", "b"]);
        for bad in [json!([]), json!("a"), json!([""]), json!(["a", 1]), json!(null)] {
            assert!(texts("must")(&bad).is_err(), "{bad}");
        }
    }
}
