//! What is wrong with what somebody wrote, all of it at once?
//!
//! Nobody should have to fix one mistake of a configuration or a policy to be told of the next.

use std::fmt;

use serde_json::Value;

use super::rule::{Rule, Severity};

/// More than anybody fixes in one go; what a hostile document could make of it must not cost memory.
const MAX_KEPT: usize = 64;

/// Characters of a value that a message quotes: enough to find it, whatever its size.
const MAX_QUOTED: usize = 100;

/// One thing that is wrong. It quotes the wrong value, unless that may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The JSON pointer (RFC 6901) of what is wrong, behind the name of the variable that it stands in, if any.
    pub at: String,
    /// The rule that it breaks.
    pub rule: Rule,
    /// What is wrong, as a sentence whose subject is the place.
    pub says: String,
    /// What to do about it, if that does not follow from what is wrong.
    pub help: Option<String>,
}

impl Problem {
    /// Breaks `rule`, as `says` tells.
    #[must_use]
    pub fn new(rule: Rule, says: impl fmt::Display) -> Self {
        Self { at: String::new(), rule, says: says.to_string(), help: None }
    }

    /// Breaks `rule`: the value `must` be something else than was found.
    #[must_use]
    pub fn wrong(rule: Rule, must: impl fmt::Display, found: &Value) -> Self {
        Self::new(rule, format_args!("{must}: {}", quoted(found)))
    }

    /// With the remedy.
    #[must_use]
    pub fn help(mut self, help: impl fmt::Display) -> Self {
        self.help = Some(help.to_string());
        self
    }

    /// Whether it is an error or a warning.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        self.rule.severity()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, says, help, .. } = self;
        write!(f, "{at} {says}")?;
        help.iter().try_for_each(|help| write!(f, "; {help}"))
    }
}

/// Everything that is wrong with what somebody wrote.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Problems {
    kept: Vec<Problem>,
    found: usize,
}

impl Problems {
    /// Notes what is wrong at `at`.
    pub fn add(&mut self, at: &str, problem: Problem) {
        self.found = self.found.saturating_add(1);
        if self.kept.len() < MAX_KEPT {
            self.kept.push(Problem { at: at.to_owned(), ..problem });
        }
    }

    /// Takes over those that were found elsewhere.
    pub fn append(&mut self, others: Self) {
        self.found = self.found.saturating_add(others.found);
        let room = MAX_KEPT.saturating_sub(self.kept.len());
        self.kept.extend(others.kept.into_iter().take(room));
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.found
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found == 0
    }

    /// The first 64 of them.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.kept.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.kept.iter().enumerate() {
            let between = if index == 0 { "" } else { "; " };
            write!(f, "{between}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// What somebody wrote, as a message quotes it: cut to what a line can carry.
#[must_use]
pub fn quoted(written: impl fmt::Display) -> String {
    let written = written.to_string();
    match written.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("`{}…`", written.get(..end).unwrap_or_default()),
        None => format!("`{written}`"),
    }
}

/// Both of two configurations, or all that is wrong with either.
///
/// # Errors
/// The [`Problems`] of both.
pub fn both<A, B>(a: Result<A, Problems>, b: Result<B, Problems>) -> Result<(A, B), Problems> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Ok(_), Err(problems)) | (Err(problems), Ok(_)) => Err(problems),
        (Err(mut problems), Err(more)) => {
            problems.append(more);
            Err(problems)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_quoted_and_a_long_one_cut() {
        assert_eq!(quoted("é"), "`é`");
        assert_eq!(quoted("é".repeat(100)), format!("`{}`", "é".repeat(100)));
        assert_eq!(quoted("é".repeat(101)), format!("`{}…`", "é".repeat(100)));
        assert_eq!(quoted(serde_json::json!({"a": [null]})), "`{\"a\":[null]}`");
    }

    #[test]
    fn all_are_counted_and_as_many_kept_as_anybody_fixes() {
        let (mut some, mut more) = (Problems::default(), Problems::default());
        for number in 0..1_000 {
            some.add(&format!("/{number}"), Problem::new(Rule::Value, "is wrong"));
            more.add(&format!("/{number}"), Problem::new(Rule::Value, "is wrong").help("fix it"));
        }
        some.append(more.clone());
        assert_eq!((some.len(), some.iter().count()), (2_000, MAX_KEPT));
        assert!(!some.is_empty() && some.to_string().starts_with("/0 is wrong; /1 is wrong"));
        assert!(more.to_string().starts_with("/0 is wrong; fix it; /1 is wrong; fix it"));
    }
}
