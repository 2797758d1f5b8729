//! Which items does a condition of `DynamoDB`'s mean?
//!
//! The part of its language that is asked for here: `attribute_not_exists(x)`, `x = :v` and `begins_with(x, :v)`, joined by `AND`. It is as
//! strict as the service about names, values and reserved words, and refuses the rest of the language.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::Invalid;

/// Those of the service's reserved words that an attribute here could be called.
const RESERVED: [&str; 19] = [
    "action", "at", "by", "comment", "duration", "grant", "hash", "item", "key", "name", "owner", "policies", "set",
    "source", "time", "ttl", "type", "user", "value",
];

/// What has to hold of an item: all of these.
#[derive(Debug)]
pub(super) struct Condition(Vec<Test>);

#[derive(Debug)]
enum Test {
    Absent(String),
    /// The value is in `DynamoDB`'s own JSON.
    Equal(String, Value),
    Begins(String, Value),
}

impl Condition {
    /// The condition under this member, such as `ConditionExpression`.
    pub(super) fn of(request: &Value, member: &str) -> Result<Option<Self>, Invalid> {
        let mut words = Words { request, used: BTreeSet::new() };
        let condition = request.get(member).map(|text| words.condition(text.as_str().ok_or(Invalid)?)).transpose()?;
        // The service refuses a name or a value that no expression uses.
        let given = ["ExpressionAttributeNames", "ExpressionAttributeValues"].map(|member| &request[member]);
        let given = given.into_iter().filter_map(Value::as_object).flat_map(Map::keys);
        if given.cloned().collect::<BTreeSet<String>>() == words.used { Ok(condition) } else { Err(Invalid) }
    }

    /// Whether this holds of an item, or of none.
    pub(super) fn holds(&self, item: Option<&Map<String, Value>>) -> bool {
        let value = |name: &str| item.and_then(|item| item.get(name));
        self.0.iter().all(|test| match test {
            Test::Absent(name) => value(name).is_none(),
            Test::Equal(name, expected) => value(name) == Some(expected),
            Test::Begins(name, begin) => {
                let texts = value(name).and_then(|value| value["S"].as_str()).zip(begin["S"].as_str());
                texts.is_some_and(|(text, begin)| text.starts_with(begin))
            }
        })
    }

    /// The value that this attribute has to have, if nothing else is tested.
    pub(super) fn only_equal(&self, name: &str) -> Option<&Value> {
        match self.0.as_slice() {
            [Test::Equal(of, value)] if of == name => Some(value),
            _ => None,
        }
    }
}

/// The names and values that the expressions of a request use.
struct Words<'a> {
    request: &'a Value,
    used: BTreeSet<String>,
}

impl Words<'_> {
    fn condition(&mut self, text: &str) -> Result<Condition, Invalid> {
        let spaced =
            ["(", ")", "=", ","].iter().fold(text.to_owned(), |text, sign| text.replace(sign, &format!(" {sign} ")));
        let words: Vec<&str> = spaced.split_whitespace().collect();
        let tests = words.split(|word| word.eq_ignore_ascii_case("and")).map(|test| match test {
            ["attribute_not_exists", "(", name, ")"] => Ok(Test::Absent(self.name(name)?)),
            ["begins_with", "(", name, ",", value, ")"] => Ok(Test::Begins(self.name(name)?, self.value(value)?)),
            [name, "=", value] => Ok(Test::Equal(self.name(name)?, self.value(value)?)),
            _ => Err(Invalid),
        });
        tests.collect::<Result<_, _>>().map(Condition)
    }

    fn name(&mut self, word: &str) -> Result<String, Invalid> {
        if word.starts_with('#') {
            let name = self.request["ExpressionAttributeNames"][word].as_str().ok_or(Invalid)?;
            self.used.insert(word.to_owned());
            return Ok(name.to_owned());
        }
        let is_name = word.starts_with(|c: char| c.is_ascii_alphabetic())
            && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !RESERVED.contains(&word.to_ascii_lowercase().as_str());
        if is_name { Ok(word.to_owned()) } else { Err(Invalid) }
    }

    fn value(&mut self, word: &str) -> Result<Value, Invalid> {
        let value = self.request["ExpressionAttributeValues"].get(word).filter(|_| word.starts_with(':'));
        self.used.insert(word.to_owned());
        value.cloned().ok_or(Invalid)
    }
}
