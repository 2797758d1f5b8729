//! What does a YAML or JSON file say, and where does each part of it stand?
//!
//! A file becomes a tree in which every key and every value knows its place, so that whatever is wrong with it can be
//! shown in the file. What two readers could understand differently is refused: duplicate keys, anchors, aliases, merge
//! keys, tags and keys that are not strings. Everything that is wrong is found in one run, as far as it can be read.
//!
//! YAML is read by the core schema of YAML 1.2: `no` is a string, and `0o7` is 7.

mod disk;
mod json;
mod node;
mod scalar;
mod source;
#[cfg(test)]
mod tests;
mod yaml;

pub use self::disk::{Unreadable, read_file};
pub use self::node::{Content, Entry, Found, Node};
pub(crate) use self::scalar::is_string;
pub use self::source::{Place, Source, Span};
pub use self::yaml::Comment;
pub(crate) use self::yaml::is_printable;
use crate::read::json::MAX_DEPTH;
use crate::read::problems::{Problem, quoted};
use crate::read::rule::Rule;

/// Bytes of a file. A grant file is a few kilobytes, and the largest item of DynamoDB has 400 KB.
pub const MAX_BYTES: usize = 1_048_576;

/// Mistakes of one file that are kept. More than anybody fixes in one go; a hostile file must not cost memory.
const MAX_MISTAKES: usize = 1_000;

/// In which language a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// YAML 1.2, with several documents.
    Yaml,
    /// JSON, with one document.
    Json,
}

/// Something in a file that cannot be read, or not in one way only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where it stands.
    pub span: Span,
    /// What is wrong. The place in a document is not known.
    pub problem: Problem,
}

/// What a file says.
#[derive(Debug, Default)]
pub struct Text {
    /// Its documents, without the empty ones.
    pub documents: Vec<Node>,
    /// Its comments, in order. JSON has none.
    pub comments: Vec<Comment>,
    /// What is wrong with it. The documents are then not all that the file says.
    pub mistakes: Vec<Mistake>,
}

impl Text {
    /// Reads a whole file.
    #[must_use]
    pub fn read(source: &Source, language: Language) -> Self {
        let mut text = Self::default();
        if source.is_cut() {
            let problem = Problem::new(Rule::TooLarge, format_args!("is over {MAX_BYTES} bytes long"));
            text.note(Span::at(0), problem);
        } else if let Some(at) = source.not_utf8_from() {
            text.note(Span::at(at), Problem::new(Rule::Encoding, "is not UTF-8 from here on"));
        } else {
            match language {
                Language::Yaml => yaml::read(source, &mut text),
                Language::Json => json::read(source, &mut text),
            }
        }
        text
    }

    fn note(&mut self, span: Span, problem: Problem) {
        if self.mistakes.len() < MAX_MISTAKES {
            self.mistakes.push(Mistake { span, problem });
        }
    }

    fn note_depth(&mut self, span: Span) {
        self.note(span, Problem::new(Rule::TooDeep, format_args!("is nested deeper than {MAX_DEPTH} levels")));
    }

    fn note_duplicate(&mut self, span: Span, key: &str, line: usize) {
        let says = format_args!("repeats the key {} of line {line}", quoted(key));
        self.note(span, Problem::new(Rule::Duplicate, says).help("remove one of the two"));
    }
}
