//! Why did a command not get from a server what it needs, and what helps?

#[cfg(feature = "person")]
use hallpass::wire::Requires;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// Each becomes one line for the person who called the command.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub(crate) enum Trouble {
    /// The command was called in a way that cannot work.
    #[error("{0}")]
    Usage(String),
    /// There is no sign-in that would do.
    #[cfg(feature = "person")]
    #[error("{why}; run `{remedy}`")]
    SignedOut {
        /// What is missing.
        why: String,
        /// The command that signs in.
        remedy: String,
    },
    /// The grant needs a stronger sign-in than this one.
    #[cfg(feature = "person")]
    #[error("grant `{grant}` needs a stronger sign-in ({}); run `{remedy}`", lacking(requires))]
    StepUp {
        /// The grant.
        grant: String,
        /// What the sign-in lacks.
        requires: Requires,
        /// The command that signs in as the grant requires.
        remedy: String,
    },
    /// A server could not be asked, or did not answer: the same may work later.
    #[error("{0}")]
    Unavailable(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl Trouble {
    /// A failure in words.
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        let line = shown(&trouble.to_string());
        match trouble {
            Trouble::Usage(_) => Self::Usage(line),
            #[cfg(feature = "person")]
            Trouble::SignedOut { .. } | Trouble::StepUp { .. } => Self::Failed(line),
            Trouble::Unavailable(_) | Trouble::Failed(_) => Self::Failed(line),
        }
    }
}

/// What a sign-in lacks, for people.
#[cfg(feature = "person")]
pub(crate) fn lacking(requires: &Requires) -> String {
    let Requires { acr_values, amr_values, max_age } = requires;
    let mut parts = Vec::new();
    if !acr_values.is_empty() {
        parts.push(format!("level {}", acr_values.join(" or ")));
    }
    if !amr_values.is_empty() {
        parts.push(format!("method {}", amr_values.join(" and ")));
    }
    if let Some(seconds) = max_age {
        parts.push(format!("at most {seconds} seconds ago"));
    }
    if parts.is_empty() { "another one".into() } else { parts.join(", ") }
}

/// A text that names its remedy, in two parts.
pub(crate) fn parted(text: &str) -> (String, Option<String>) {
    match text.split_once("; ") {
        Some((message, help)) => (message.to_owned(), Some(help.to_owned())),
        None => (text.to_owned(), None),
    }
}

/// A line of a message. A server's own text can be of any length.
const MAX_CHARS: usize = 600;

/// A text from somewhere else on one line: a terminal obeys control characters, so none is shown.
pub(crate) fn shown(text: &str) -> String {
    let is_odd = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut line: String = text.chars().map(|c| if is_odd(c) { ' ' } else { c }).take(MAX_CHARS).collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_shown() {
        assert_eq!(shown("a\x1b[31mb\r\nc\u{202e}d\u{9b}e"), "a [31mb  c d e");
        assert_eq!(shown(&"x".repeat(700)).chars().count(), 601);
    }

    #[cfg(feature = "person")]
    #[test]
    fn what_is_lacking_is_said_in_words() {
        let requires = Requires {
            acr_values: vec!["mfa".into(), "phr".into()],
            amr_values: vec!["hwk".into()],
            max_age: Some(60),
        };
        assert_eq!(lacking(&requires), "level mfa or phr, method hwk, at most 60 seconds ago");
        assert_eq!(lacking(&Requires::default()), "another one");
    }
}
