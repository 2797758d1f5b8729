//! How is a document kept, so that each part of it knows its place?

use serde_json::{Map, Value};

use super::Span;

/// A value with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub content: Content,
    /// Whether it is not all that the file says there, because of a mistake.
    pub is_damaged: bool,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Anything but a list or a map.
    Scalar(Value),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the file.
    Map(Vec<Entry>),
}

/// One key of a map with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub key_span: Span,
    /// The value.
    pub value: Node,
}

/// What a JSON pointer leads to, or the last that is there on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// The value.
    pub node: &'a Node,
    /// Its key, where it is a value of a map.
    pub key: Option<Span>,
    /// Whether the pointer leads no further.
    pub is_exact: bool,
}

impl Node {
    pub(super) const fn scalar(span: Span, value: Value) -> Self {
        Self { span, content: Content::Scalar(value), is_damaged: false }
    }

    /// Stands for what cannot be read.
    pub(super) const fn damaged(span: Span) -> Self {
        Self { span, content: Content::Scalar(Value::Null), is_damaged: true }
    }

    /// The value, without places.
    #[must_use]
    pub fn value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(nodes) => Value::Array(nodes.iter().map(Self::value).collect()),
            Content::Map(entries) => Value::Object(values(entries)),
        }
    }

    /// The entries of a map.
    #[must_use]
    pub fn entries(&self) -> Option<&[Entry]> {
        match &self.content {
            Content::Map(entries) => Some(entries),
            Content::Scalar(_) | Content::List(_) => None,
        }
    }

    /// The values of a list.
    #[must_use]
    pub fn items(&self) -> Option<&[Self]> {
        match &self.content {
            Content::List(nodes) => Some(nodes),
            Content::Scalar(_) | Content::Map(_) => None,
        }
    }

    /// The text of a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(value) => value.as_str(),
            Content::List(_) | Content::Map(_) => None,
        }
    }

    /// The entry of a map with this key.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries()?.iter().find(|entry| entry.key == key)
    }

    /// Follows a JSON pointer (RFC 6901) as far as it leads. It always leads somewhere: to this node at least. A part
    /// that was cut, as pointers of problems are, leads to the first key that begins so.
    #[must_use]
    pub fn find(&self, pointer: &str) -> Found<'_> {
        let mut found = Found { node: self, key: None, is_exact: true };
        for part in pointer.split('/').skip(1) {
            let name = part.replace("~1", "/").replace("~0", "~");
            let next = match &found.node.content {
                Content::Scalar(_) => None,
                Content::List(nodes) => {
                    name.parse().ok().and_then(|index: usize| nodes.get(index)).map(|it| (it, None))
                }
                Content::Map(entries) => entries
                    .iter()
                    .find(|entry| entry.key == name)
                    .or_else(|| entries.iter().find(|entry| name.len() >= 128 && entry.key.starts_with(&name)))
                    .map(|entry| (&entry.value, Some(entry.key_span))),
            };
            let Some((node, key)) = next else {
                found.is_exact = false;
                return found;
            };
            found = Found { node, key, is_exact: true };
        }
        found
    }
}

pub(super) fn values(entries: &[Entry]) -> Map<String, Value> {
    entries.iter().map(|entry| (entry.key.clone(), entry.value.value())).collect()
}
