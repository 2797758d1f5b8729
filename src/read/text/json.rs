//! How is a JSON file read, with places?
//!
//! Only the structure is read here. What a string or a number says is serde's to read, so that this reader and
//! [`crate::read::json`] understand a document in one way.

use serde_json::{Number, Value};

use super::node::{Content, Entry, Node};
use super::{Source, Span, Text};
use crate::read::json::MAX_DEPTH;
use crate::read::problems::Problem;
use crate::read::rule::Rule;

/// Reads the one document of a file. A file of white space is empty, and no document.
pub(super) fn read(source: &Source, text: &mut Text) {
    let mut reader = Reader { source, at: 0, text, depth: 0 };
    reader.skip_space();
    if reader.peek().is_none() {
        return;
    }
    match reader.value() {
        Ok(node) => {
            reader.skip_space();
            if reader.peek().is_some() {
                let end = Stop::here(&reader, "has something behind the end of the document");
                reader.note(end);
            }
            reader.text.documents.push(node);
        }
        Err(stop) => reader.note(stop),
    }
}

struct Reader<'a> {
    source: &'a Source,
    at: usize,
    text: &'a mut Text,
    depth: usize,
}

/// Where reading ends, and why.
struct Stop {
    span: Span,
    says: String,
}

impl Stop {
    fn here(reader: &Reader<'_>, says: &str) -> Self {
        Self { span: Span::at(reader.at), says: says.into() }
    }
}

impl Reader<'_> {
    fn value(&mut self) -> Result<Node, Stop> {
        match self.peek() {
            Some(b'{') => self.nested(Self::map),
            Some(b'[') => self.nested(Self::list),
            Some(b'"') => {
                let (span, text) = self.string()?;
                Ok(Node::scalar(span, text.into()))
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'a'..=b'z' | b'A'..=b'Z') => self.word(),
            None => Err(Stop::here(self, "ends in the middle of the document")),
            Some(_) => Err(Stop::here(self, "is not JSON: expected a value")),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Node, Stop>) -> Result<Node, Stop> {
        self.depth = self.depth.saturating_add(1);
        let node = if self.depth > MAX_DEPTH { self.too_deep() } else { read(self) };
        self.depth = self.depth.saturating_sub(1);
        node
    }

    /// Steps over what is nested too deep.
    fn too_deep(&mut self) -> Result<Node, Stop> {
        let start = self.at;
        self.text.note_depth(Span::new(start, start.saturating_add(1)));
        let mut open = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => drop(self.string()?),
                b'{' | b'[' => {
                    open = open.saturating_add(1);
                    self.step();
                }
                b'}' | b']' => {
                    open = open.saturating_sub(1);
                    self.step();
                    if open == 0 {
                        return Ok(Node::damaged(Span::new(start, self.at)));
                    }
                }
                _ => self.step(),
            }
        }
        Err(Stop::here(self, "ends in the middle of the document"))
    }

    fn map(&mut self) -> Result<Node, Stop> {
        let start = self.at;
        self.step();
        self.skip_space();
        let mut entries = Entries::default();
        let mut is_damaged = false;
        if self.peek() == Some(b'}') {
            self.step();
            return Ok(Node { span: Span::new(start, self.at), content: Content::Map(Vec::new()), is_damaged });
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err(Stop::here(self, "is not JSON: expected a key in double quotes"));
            }
            let (key_span, key) = self.string()?;
            self.skip_space();
            if self.peek() != Some(b':') {
                return Err(Stop::here(self, "is not JSON: expected `:` behind a key"));
            }
            self.step();
            self.skip_space();
            let value = self.value()?;
            if let Some(first) = entries.add(Entry { key: key.clone(), key_span, value }) {
                self.text.note_duplicate(key_span, &key, self.source.place(first.start).line);
                is_damaged = true;
            }
            self.skip_space();
            match self.peek() {
                Some(b',') => self.step(),
                Some(b'}') => {
                    self.step();
                    let span = Span::new(start, self.at);
                    return Ok(Node { span, content: Content::Map(entries.list), is_damaged });
                }
                _ => return Err(Stop::here(self, "is not JSON: expected `,` or `}`")),
            }
        }
    }

    fn list(&mut self) -> Result<Node, Stop> {
        let start = self.at;
        self.step();
        self.skip_space();
        let mut nodes = Vec::new();
        if self.peek() == Some(b']') {
            self.step();
        } else {
            loop {
                self.skip_space();
                nodes.push(self.value()?);
                self.skip_space();
                let next = self.peek();
                if !matches!(next, Some(b',' | b']')) {
                    return Err(Stop::here(self, "is not JSON: expected `,` or `]`"));
                }
                self.step();
                if next == Some(b']') {
                    break;
                }
            }
        }
        Ok(Node { span: Span::new(start, self.at), content: Content::List(nodes), is_damaged: false })
    }

    fn string(&mut self) -> Result<(Span, String), Stop> {
        let start = self.at;
        self.step();
        loop {
            match self.peek() {
                None => return Err(Stop { span: Span::at(start), says: "is a string without an end".into() }),
                Some(b'"') => break,
                Some(b'\\') => {
                    self.step();
                    self.step();
                }
                Some(_) => self.step(),
            }
        }
        self.step();
        let span = Span::new(start, self.at);
        match serde_json::from_str(self.source.slice(span)) {
            Ok(text) => Ok((span, text)),
            Err(error) => Err(Stop { span, says: format!("is not a string of JSON: {}", without_place(&error)) }),
        }
    }

    fn number(&mut self) -> Result<Node, Stop> {
        let start = self.at;
        while let Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9') = self.peek() {
            self.step();
        }
        let span = Span::new(start, self.at);
        match serde_json::from_str::<Number>(self.source.slice(span)) {
            Ok(number) => Ok(Node::scalar(span, Value::Number(number))),
            Err(error) => Err(Stop { span, says: format!("is not a number of JSON: {}", without_place(&error)) }),
        }
    }

    fn word(&mut self) -> Result<Node, Stop> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric()) {
            self.step();
        }
        let span = Span::new(start, self.at);
        let value = match self.source.slice(span) {
            "null" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => return Err(Stop { span, says: "is not JSON: expected a value".into() }),
        };
        Ok(Node::scalar(span, value))
    }

    fn note(&mut self, stop: Stop) {
        self.text.note(stop.span, Problem::new(Rule::Syntax, stop.says));
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.step();
        }
    }

    fn peek(&self) -> Option<u8> {
        self.source.text().as_bytes().get(self.at).copied()
    }

    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }
}

/// The entries of a map that is being read, each key once.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) list: Vec<Entry>,
    known: std::collections::HashMap<String, Span>,
}

impl Entries {
    /// Adds an entry, unless there is one with its key: then that one's key is returned.
    pub(super) fn add(&mut self, entry: Entry) -> Option<Span> {
        if let Some(first) = self.known.get(&entry.key) {
            return Some(*first);
        }
        self.known.insert(entry.key.clone(), entry.key_span);
        self.list.push(entry);
        None
    }
}

/// What serde says, without the place in the part that it was given.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split_once(" at line ").map_or_else(|| text.clone(), |(before, _)| before.to_owned())
}
