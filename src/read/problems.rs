//! What is wrong with what somebody wrote, all of it at once?
//!
//! Whoever mends a configuration or a policy should not have to find its second mistake by mending the first.

use std::fmt;

/// More than anybody mends in one go; what a hostile document could make of it must not cost memory.
const MAX_TOLD: usize = 64;

/// Characters of a value that a message quotes: enough to find it, whatever its size.
const MAX_QUOTED: usize = 100;

/// Everything that is wrong with what somebody wrote.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Problems {
    told: Vec<String>,
    found: usize,
}

impl Problems {
    /// Notes that what stands at `place` is wrong, with the remedy.
    pub fn add(&mut self, place: &str, remedy: impl fmt::Display) {
        self.found = self.found.saturating_add(1);
        if self.told.len() < MAX_TOLD {
            self.told.push(format!("{place} {remedy}"));
        }
    }

    /// Takes over those that were found elsewhere.
    pub fn append(&mut self, others: Self) {
        self.found = self.found.saturating_add(others.found);
        let room = MAX_TOLD.saturating_sub(self.told.len());
        self.told.extend(others.told.into_iter().take(room));
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.found
    }

    /// Whether all is well.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found == 0
    }

    /// Each of them, as a sentence that begins with its place.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.told.iter().map(String::as_str)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told.join("; "))
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
    fn all_are_counted_and_as_many_told_as_anybody_mends() {
        let (mut some, mut more) = (Problems::default(), Problems::default());
        for number in 0..1_000 {
            some.add(&format!("/{number}"), "is wrong");
            more.add(&format!("/{number}"), "is wrong");
        }
        some.append(more);
        assert_eq!((some.len(), some.iter().count()), (2_000, MAX_TOLD));
        assert!(!some.is_empty() && some.to_string().starts_with("/0 is wrong; /1 is wrong"));
    }
}
