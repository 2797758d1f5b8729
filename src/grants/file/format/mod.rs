//! What is the one form of a grant file?
//!
//! Keys are in a fixed order, that of docs/grants.md where it knows them and of the alphabet elsewhere. Two spaces are a
//! level. Lists of scalars, and maps of those and scalars, are on one line where they fit into `WIDTH` characters, but
//! for the document, its policy and its statements. A string is plain if no reader of any version of YAML could take it
//! for something else. Single empty lines and all comments stay; a comment moves with the key below it, and those before
//! the first key stay at the top.
//!
//! What is written is read again before anybody sees it: it says the same, or there is an error.

mod attach;
mod json;
mod order;
#[cfg(test)]
mod tests;
mod yaml;

use serde_json::Value;

use self::attach::{Body, Commented};
use crate::read::text::{Language, Mistake, Node, Source, Text};

/// Characters of a line that lists and maps may fill.
const WIDTH: usize = 120;

/// Why a file is not formatted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unformatted {
    /// It cannot be read.
    Mistakes(Vec<Mistake>),
    /// The result would not say the same. It is never written.
    Changed,
}

/// Formats a file.
///
/// # Errors
/// [`Unformatted`].
pub fn format(source: &Source, language: Language) -> Result<String, Unformatted> {
    let text = Text::read(source, language);
    if !text.mistakes.is_empty() {
        return Err(Unformatted::Mistakes(text.mistakes));
    }
    let formatted = match language {
        Language::Yaml => yaml::print(&attach::documents(source, &text)),
        Language::Json => text.documents.first().map(|node| json::print(&Body::of(&node.value()))).unwrap_or_default(),
    };
    let again_source = Source::new(formatted.clone().into_bytes());
    let again = Text::read(&again_source, language);
    let values = |text: &Text| text.documents.iter().map(Node::value).collect::<Vec<_>>();
    let is_same = again.mistakes.is_empty()
        && values(&again) == values(&text)
        && comments(&again_source, &again) == comments(source, &text);
    if is_same { Ok(formatted) } else { Err(Unformatted::Changed) }
}

/// Writes documents as a YAML file, in the form that [`format()`] gives.
#[must_use]
pub fn write(documents: &[Value]) -> String {
    let documents: Vec<Commented> = documents.iter().map(Commented::of).collect();
    yaml::print(&documents)
}

/// The words of all comments, in no order, since they move with their keys.
fn comments(source: &Source, text: &Text) -> Vec<String> {
    let mut words: Vec<String> = text
        .comments
        .iter()
        .flat_map(|comment| source.slice(comment.span).split_whitespace())
        .map(str::to_owned)
        .collect();
    words.sort();
    words
}
