//! Which items does an expression of `DynamoDB`'s mean?
//!
//! The part of its language that conditions on one item need: comparisons, `attribute_exists`, `attribute_not_exists`,
//! `begins_with`, `AND`, `OR`, `NOT` and parentheses. As strict as the service about names, values and reserved words.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Those of the service's reserved words that an attribute here could be called.
const RESERVED: [&str; 9] = ["action", "comment", "duration", "grant", "name", "owner", "policies", "ttl", "value"];

/// What the service calls a `ValidationException`.
#[derive(Debug)]
pub struct Invalid;

/// The expressions of one request, and the names and values that they stand on.
#[derive(Debug)]
pub struct Expressions<'a> {
    request: &'a Value,
    used: BTreeSet<String>,
}

/// What has to hold of an item.
#[derive(Debug)]
pub enum Condition {
    Any(Vec<Condition>),
    All(Vec<Condition>),
    Not(Box<Condition>),
    Exists(String),
    BeginsWith(Operand, Operand),
    Compare(Operand, String, Operand),
}

/// An attribute, or a value in `DynamoDB`'s own JSON.
#[derive(Debug)]
pub enum Operand {
    Attribute(String),
    Value(Value),
}

impl<'a> Expressions<'a> {
    /// The expressions of a request, or of a table's part in one.
    pub fn of(request: &'a Value) -> Self {
        Self { request, used: BTreeSet::new() }
    }

    /// The condition under this member, such as `ConditionExpression`.
    pub fn condition(&mut self, member: &str) -> Result<Option<Condition>, Invalid> {
        let Some(text) = self.text(member)? else { return Ok(None) };
        let mut words = words(&text)?;
        words.reverse();
        let condition = self.any(&mut words)?;
        if words.is_empty() { Ok(Some(condition)) } else { Err(Invalid) }
    }

    /// The attributes that `ProjectionExpression` names.
    pub fn projection(&mut self) -> Result<Option<BTreeSet<String>>, Invalid> {
        let Some(text) = self.text("ProjectionExpression")? else { return Ok(None) };
        let mut names = BTreeSet::new();
        for word in text.split(',') {
            if !names.insert(self.name(word.trim())?) {
                return Err(Invalid);
            }
        }
        Ok(Some(names))
    }

    /// The service refuses a name or a value that no expression uses.
    pub fn finish(self) -> Result<(), Invalid> {
        let given = ["ExpressionAttributeNames", "ExpressionAttributeValues"].map(|member| &self.request[member]);
        let given = given.into_iter().filter_map(Value::as_object).flat_map(Map::keys);
        if given.cloned().collect::<BTreeSet<String>>() == self.used { Ok(()) } else { Err(Invalid) }
    }

    fn text(&self, member: &str) -> Result<Option<String>, Invalid> {
        let text = self.request.get(member);
        text.map(|text| text.as_str().filter(|text| !text.is_empty()).map(str::to_owned).ok_or(Invalid)).transpose()
    }

    fn any(&mut self, words: &mut Vec<String>) -> Result<Condition, Invalid> {
        let mut conditions = vec![self.all(words)?];
        while next_is(words, "OR") {
            conditions.push(self.all(words)?);
        }
        Ok(Condition::Any(conditions))
    }

    fn all(&mut self, words: &mut Vec<String>) -> Result<Condition, Invalid> {
        let mut conditions = vec![self.one(words)?];
        while next_is(words, "AND") {
            conditions.push(self.one(words)?);
        }
        Ok(Condition::All(conditions))
    }

    fn one(&mut self, words: &mut Vec<String>) -> Result<Condition, Invalid> {
        if next_is(words, "NOT") {
            return Ok(Condition::Not(Box::new(self.one(words)?)));
        }
        if next_is(words, "(") {
            let inner = self.any(words)?;
            return expect(words, ")").map(|()| inner);
        }
        let word = words.pop().ok_or(Invalid)?;
        let condition = match word.as_str() {
            "attribute_exists" | "attribute_not_exists" => {
                expect(words, "(")?;
                let exists = Condition::Exists(self.name(&words.pop().ok_or(Invalid)?)?);
                if word == "attribute_exists" { exists } else { Condition::Not(Box::new(exists)) }
            }
            "begins_with" => {
                expect(words, "(")?;
                let text = self.operand(words)?;
                expect(words, ",")?;
                Condition::BeginsWith(text, self.operand(words)?)
            }
            _ => {
                words.push(word);
                let left = self.operand(words)?;
                let operator = words.pop().ok_or(Invalid)?;
                if !["=", "<>", "<", "<=", ">", ">="].contains(&operator.as_str()) {
                    return Err(Invalid);
                }
                return Ok(Condition::Compare(left, operator, self.operand(words)?));
            }
        };
        expect(words, ")").map(|()| condition)
    }

    fn operand(&mut self, words: &mut Vec<String>) -> Result<Operand, Invalid> {
        let word = words.pop().ok_or(Invalid)?;
        if !word.starts_with(':') {
            return self.name(&word).map(Operand::Attribute);
        }
        let value = self.request["ExpressionAttributeValues"].get(&word).ok_or(Invalid)?;
        self.used.insert(word);
        Ok(Operand::Value(value.clone()))
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
}

impl Condition {
    /// Whether this holds of an item; of one that does not exist where there is none.
    pub fn holds(&self, item: Option<&Value>) -> bool {
        match self {
            Self::Any(conditions) => conditions.iter().any(|condition| condition.holds(item)),
            Self::All(conditions) => conditions.iter().all(|condition| condition.holds(item)),
            Self::Not(condition) => !condition.holds(item),
            Self::Exists(name) => item.is_some_and(|item| item.get(name).is_some()),
            Self::BeginsWith(text, start) => match (text.value(item), start.value(item)) {
                (Some(text), Some(start)) => {
                    text["S"].as_str().zip(start["S"].as_str()).is_some_and(|(text, start)| text.starts_with(start))
                }
                _ => false,
            },
            Self::Compare(left, operator, right) => {
                left.value(item).zip(right.value(item)).is_some_and(|(left, right)| compare(left, operator, right))
            }
        }
    }

    /// The value that an attribute has to have.
    pub fn equal_to(&self, attribute: &str) -> Option<&Value> {
        match self {
            Self::All(conditions) => conditions.iter().find_map(|condition| condition.equal_to(attribute)),
            Self::Any(conditions) if conditions.len() == 1 => conditions[0].equal_to(attribute),
            Self::Compare(Operand::Attribute(name), operator, Operand::Value(value)) => {
                (name == attribute && operator == "=").then_some(value)
            }
            Self::Any(_) | Self::Not(_) | Self::Exists(_) | Self::BeginsWith(..) | Self::Compare(..) => None,
        }
    }
}

impl Operand {
    fn value<'a>(&'a self, item: Option<&'a Value>) -> Option<&'a Value> {
        match self {
            Self::Attribute(name) => item?.get(name),
            Self::Value(value) => Some(value),
        }
    }
}

fn compare(left: &Value, operator: &str, right: &Value) -> bool {
    let number = |value: &Value| value["N"].as_str().and_then(|text| text.parse::<f64>().ok());
    let ordering = match (number(left), number(right)) {
        (Some(left), Some(right)) => left.partial_cmp(&right),
        _ => left["S"].as_str().zip(right["S"].as_str()).map(|(left, right)| left.cmp(right)),
    };
    match operator {
        "=" => left == right || ordering.is_some_and(std::cmp::Ordering::is_eq),
        "<>" => left != right && !ordering.is_some_and(std::cmp::Ordering::is_eq),
        "<" => ordering.is_some_and(std::cmp::Ordering::is_lt),
        "<=" => ordering.is_some_and(std::cmp::Ordering::is_le),
        ">" => ordering.is_some_and(std::cmp::Ordering::is_gt),
        _ => ordering.is_some_and(std::cmp::Ordering::is_ge),
    }
}

fn words(text: &str) -> Result<Vec<String>, Invalid> {
    let mut words: Vec<String> = Vec::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let mut word = String::from(character);
        let continues: fn(char) -> bool = match character {
            ' ' => continue,
            '(' | ')' | ',' => |_| false,
            '=' | '<' | '>' => |c| ['=', '>'].contains(&c),
            '#' | ':' | 'A'..='Z' | 'a'..='z' => |c| c.is_ascii_alphanumeric() || c == '_',
            _ => return Err(Invalid),
        };
        while let Some(next) = characters.next_if(|next| continues(*next)) {
            word.push(next);
        }
        words.push(word);
    }
    Ok(words)
}

fn next_is(words: &mut Vec<String>, expected: &str) -> bool {
    words.pop_if(|word| word.eq_ignore_ascii_case(expected)).is_some()
}

fn expect(words: &mut Vec<String>, expected: &str) -> Result<(), Invalid> {
    if next_is(words, expected) { Ok(()) } else { Err(Invalid) }
}
