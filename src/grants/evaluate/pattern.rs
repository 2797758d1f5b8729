//! Does a text match a pattern?
//!
//! `*` stands for any characters, `?` for one. IAM's variables are replaced by values of the context, which are text and
//! never patterns; `${*}`, `${?}` and `${$}` are those characters themselves.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>

use super::Evaluation;
use super::context::Presence;
use super::truth::Truth;
use crate::grants::policy::{Part, Template};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Char(char),
    One,
    Any,
}

/// A pattern in which all variables are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    tokens: Vec<Token>,
    /// Whether something in it is not known, and stands in it as `*`: what does not match so can never match.
    open: bool,
}

/// What a variable stands for.
enum Replacement {
    Value(String),
    /// Its key is absent: "the value is effectively null. There is no equal or like value."
    Null,
    /// A key "that has no value" is null too, and whether the empty string is one is not documented.
    NullOrEmpty,
    Unknown,
}

impl Pattern {
    /// A text in which `*` and `?` are wildcards.
    pub(super) fn wild(text: &str) -> Self {
        let mut pattern = Self { tokens: Vec::new(), open: false };
        pattern.push_wild(text);
        pattern
    }

    /// A string of a policy; `None` if a variable in it has no value, so that nothing matches. Where `wildcards` do not
    /// work, they are text.
    pub(super) fn of(template: &Template, wildcards: bool, evaluation: &mut Evaluation<'_>) -> Option<Self> {
        let mut pattern = Self { tokens: Vec::new(), open: false };
        for part in template.parts() {
            match part {
                Part::Text(text) if wildcards => pattern.push_wild(text),
                Part::Text(text) => pattern.push(text),
                // Not filled in: it may become anything.
                Part::Claim(_) | Part::SessionName => pattern.push_unknown(),
                Part::Variable(name) => match evaluation.replacement(name) {
                    Replacement::Value(value) => pattern.push(&value),
                    Replacement::Null => return None,
                    Replacement::NullOrEmpty => pattern.open = true,
                    Replacement::Unknown => pattern.push_unknown(),
                },
            }
        }
        Some(pattern)
    }

    /// The same without regard to case.
    pub(super) fn folded(self) -> Self {
        let fold = |token| match token {
            Token::Char(c) => c.to_lowercase().map(Token::Char).collect(),
            Token::One | Token::Any => vec![token],
        };
        Self { tokens: self.tokens.into_iter().flat_map(fold).collect(), open: self.open }
    }

    fn push(&mut self, text: &str) {
        self.tokens.extend(text.chars().map(Token::Char));
    }

    fn push_wild(&mut self, text: &str) {
        self.tokens.extend(text.chars().map(|c| match c {
            '*' => Token::Any,
            '?' => Token::One,
            other => Token::Char(other),
        }));
    }

    fn push_unknown(&mut self) {
        self.tokens.push(Token::Any);
        self.open = true;
    }

    /// Whether the whole text matches.
    pub(super) fn matches(&self, text: &str) -> Truth {
        let text: Vec<char> = text.chars().collect();
        match (matches(&self.tokens, &text), self.open) {
            (false, _) => Truth::False,
            (true, true) => Truth::Unknown,
            (true, false) => Truth::True,
        }
    }

    /// Whether an ARN matches as the operators for ARNs compare: each of its six parts for itself. `None` if the text
    /// is not an ARN.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html#Conditions_ARN>
    pub(super) fn matches_arn(&self, text: &str) -> Option<Truth> {
        let parts: Vec<&str> = text.splitn(PARTS_OF_ARN, ':').collect();
        if parts.len() < PARTS_OF_ARN || !text.starts_with("arn:") {
            return None;
        }
        let whole = self.matches(text);
        let patterns: Vec<&[Token]> = self.tokens.splitn(PARTS_OF_ARN, |token| *token == Token::Char(':')).collect();
        Some(match patterns.as_slice() {
            _ if whole != Truth::True => whole,
            [[Token::Any]] => Truth::True,
            // With fewer parts, whether its last wildcard stands for the missing ones is not documented.
            short if short.len() < PARTS_OF_ARN => Truth::Unknown,
            all => {
                let part_matches =
                    |(pattern, part): (&&[Token], &&str)| matches(pattern, &part.chars().collect::<Vec<_>>());
                all.iter().zip(&parts).all(part_matches).into()
            }
        })
    }
}

/// `arn:partition:service:region:account:resource`, where the resource may hold more colons.
const PARTS_OF_ARN: usize = 6;

impl Evaluation<'_> {
    /// What stands for `${name}`, where `name` may have a default behind a comma.
    fn replacement(&mut self, name: &str) -> Replacement {
        if ["*", "?", "$"].contains(&name) {
            return Replacement::Value(name.to_owned());
        }
        let (key, default) = name.split_once(',').map_or((name, None), |(key, default)| (key, Some(default)));
        let context = self.context;
        match (context.presence(key), default) {
            (Presence::Values([one]), None) if one.is_empty() => Replacement::NullOrEmpty,
            (Presence::Values([one]), Some(_)) if one.is_empty() => Replacement::Unknown,
            (Presence::Values([one]), _) => Replacement::Value(one.clone()),
            (Presence::Absent, Some(default)) => Replacement::Value(unquoted(default).to_owned()),
            (Presence::Absent, None) => Replacement::Null,
            (Presence::Unknown, _) => {
                self.missing.insert(key.to_owned());
                Replacement::Unknown
            }
            // AWS documents only that keys of several values do not work as variables.
            (Presence::Values(_), _) => Replacement::Unknown,
        }
    }
}

/// A default stands in single quotes.
fn unquoted(default: &str) -> &str {
    let text = default.trim_start_matches(' ');
    text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).unwrap_or(text)
}

/// Greedy, with one place to go back to: the last `*`. At most pattern × text steps.
fn matches(pattern: &[Token], text: &[char]) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    let mut last_any: Option<(&[Token], &[char])> = None;
    loop {
        match (pattern, text) {
            ([], []) => return true,
            ([Token::Any, rest @ ..], _) => {
                last_any = Some((rest, text));
                pattern = rest;
            }
            ([Token::One, rest @ ..], [_, behind @ ..]) => (pattern, text) = (rest, behind),
            ([Token::Char(one), rest @ ..], [other, behind @ ..]) if one == other => (pattern, text) = (rest, behind),
            _ => match last_any {
                Some((rest, [_, behind @ ..])) => {
                    last_any = Some((rest, behind));
                    (pattern, text) = (rest, behind);
                }
                _ => return false,
            },
        }
    }
}
