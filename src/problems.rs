//! What is wrong with what somebody wrote, all of it at once?
//!
//! Whoever mends a configuration or a policy should not have to find its second mistake by mending the first.

use std::fmt;

/// Everything that is wrong with what somebody wrote.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Problems(Vec<String>);

impl Problems {
    /// Notes that what stands at `place` is wrong, with the remedy.
    pub fn add(&mut self, place: &str, remedy: impl fmt::Display) {
        self.0.push(format!("{place} {remedy}"));
    }

    /// Takes over those that were found elsewhere.
    pub fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether all is well.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them, as a sentence that begins with its place.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for Problems {}
