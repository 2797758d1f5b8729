//! To which part of a document does each comment belong?

use std::iter::Peekable;
use std::slice::Iter;

use serde_json::Value;

use super::order::Place;
use crate::read::text::{Comment, Content, Node, Source, Span, Text};

/// A document with its comments, ready to be printed.
#[derive(Debug, Default)]
pub(super) struct Commented {
    /// Before the first key.
    pub(super) head: Vec<Line>,
    /// Whether an empty line is behind the head.
    pub(super) is_apart: bool,
    /// `None` where there is nothing but comments.
    pub(super) body: Option<Body>,
    /// A comment on the line of a document that is a scalar.
    pub(super) trail: Option<String>,
    /// Behind the last key.
    pub(super) tail: Vec<Line>,
}

/// A comment with a line of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    /// Whether an empty line is before it.
    pub(super) is_apart: bool,
}

/// A value with the comments in it.
#[derive(Debug)]
pub(super) enum Body {
    Scalar(Value),
    List(Vec<Item>, Vec<Line>),
    Map(Vec<Item>, Vec<Line>),
}

/// A value of a list, or of a map under its key.
#[derive(Debug)]
pub(super) struct Item {
    /// Empty in a list.
    pub(super) key: String,
    /// Whether an empty line is before it and its comments.
    pub(super) is_apart: bool,
    /// Comments above it.
    pub(super) lead: Vec<Line>,
    pub(super) value: Body,
    /// The comment on its line.
    pub(super) trail: Option<String>,
}

impl Commented {
    pub(super) fn of(value: &Value) -> Self {
        Self { body: Some(Body::of(value)), ..Self::default() }
    }
}

impl Body {
    /// A value without comments.
    pub(super) fn of(value: &Value) -> Self {
        let mut body = Self::unsorted(value);
        body.sort(Place::Document);
        body
    }

    fn unsorted(value: &Value) -> Self {
        let item = |key: &str, value: &Value| Item {
            key: key.to_owned(),
            is_apart: false,
            lead: Vec::new(),
            value: Self::unsorted(value),
            trail: None,
        };
        match value {
            Value::Array(values) => Self::List(values.iter().map(|value| item("", value)).collect(), Vec::new()),
            Value::Object(members) => {
                Self::Map(members.iter().map(|(key, value)| item(key, value)).collect(), Vec::new())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Self::Scalar(value.clone()),
        }
    }

    fn sort(&mut self, place: Place) {
        match self {
            Self::Scalar(_) => {}
            Self::List(items, _) => {
                for item in items {
                    item.value.sort(place.inside());
                    item.lift();
                }
            }
            Self::Map(items, _) => {
                items.sort_by(|one, two| place.rank(&one.key).cmp(&place.rank(&two.key)));
                for item in items {
                    item.value.sort(place.at(&item.key));
                }
            }
        }
    }
}

impl Item {
    /// Takes over the comments above the first key or value in this one of a list: on their line there is its dash.
    fn lift(&mut self) {
        let is_list = matches!(self.value, Body::List(..));
        let (Body::List(items, _) | Body::Map(items, _)) = &mut self.value else { return };
        let Some(first) = items.first_mut() else { return };
        // Behind two dashes there is no room for it if what is in there has several lines.
        if is_list && !matches!(first.value, Body::Scalar(_)) {
            self.lead.extend(first.trail.take().map(|text| Line { text, is_apart: false }));
        }
        self.lead.append(&mut first.lead);
        first.is_apart = false;
        if let Body::List(items, tail) | Body::Map(items, tail) = &mut first.value
            && items.is_empty()
        {
            self.lead.append(tail);
        }
    }
}

/// The documents of a file with their comments. Behind the last, there may be one that has only comments.
pub(super) fn documents(source: &Source, text: &Text) -> Vec<Commented> {
    let mut reader = Reader { source, comments: text.comments.iter().peekable() };
    let mut documents: Vec<Commented> = text.documents.iter().map(|node| reader.document(node)).collect();
    let rest = reader.lines_before(usize::MAX);
    match documents.last_mut() {
        _ if rest.is_empty() => {}
        Some(last) => last.tail.extend(rest),
        None => documents.push(Commented { head: rest, ..Commented::default() }),
    }
    documents
}

struct Reader<'a> {
    source: &'a Source,
    comments: Peekable<Iter<'a, Comment>>,
}

impl Reader<'_> {
    fn document(&mut self, node: &Node) -> Commented {
        let start = match &node.content {
            Content::Map(entries) => entries.first().map_or(node.span.start, |entry| entry.key_span.start),
            Content::Scalar(_) | Content::List(_) => node.span.start,
        };
        let mut head = self.lines_before(start);
        let is_apart = !head.is_empty() && self.is_apart(start);
        let end = self.end_of_document(node.span.end);
        let mut body = self.body(node, 0, end);
        let trail = self.trail(node.span.end, end);
        let behind = self.lines_before(end);
        // What silences a finding has to stay above its key.
        if let (Body::Map(items, _), false) = (&mut body, is_apart)
            && let Some(first) = items.first_mut()
        {
            let stays = head
                .iter()
                .rposition(|line| !line.text.starts_with("# hallpass:"))
                .map_or(0, |at| at.saturating_add(1));
            let mut above = head.split_off(stays);
            above.append(&mut first.lead);
            first.lead = above;
        }
        body.sort(Place::Document);
        Commented { head, is_apart, body: Some(body), trail, tail: behind }
    }

    /// Where the line begins that ends a document: `---` or `...`.
    fn end_of_document(&self, from: usize) -> usize {
        let text = self.source.text();
        let mut at = from;
        for line in text.get(from..).unwrap_or_default().split_inclusive('\n') {
            let is_start = at == 0 || text.get(..at).is_some_and(|before| before.ends_with(['\n', '\r']));
            let is_mark = |mark: &str| {
                line.strip_prefix(mark).is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
            };
            if is_start && (is_mark("---") || is_mark("...")) {
                return at;
            }
            at = at.saturating_add(line.len());
        }
        usize::MAX
    }

    /// Reads a value. Keys of the map around it stand in column `outer`, and what is around goes on at `limit`.
    fn body(&mut self, node: &Node, outer: usize, limit: usize) -> Body {
        let is_flow = self.source.slice(node.span).starts_with(['[', '{']);
        let limit = if is_flow { node.span.end } else { limit };
        let starts: Vec<usize> = match &node.content {
            Content::Scalar(value) => return Body::Scalar(value.clone()),
            Content::List(nodes) => nodes.iter().map(|node| node.span.start).collect(),
            Content::Map(entries) => entries.iter().map(|entry| entry.key_span.start).collect(),
        };
        let column = if node.items().is_some() { node.span.start } else { starts.first().copied().unwrap_or_default() };
        let column = self.source.place(column).column;
        let next = |index: usize| starts.get(index.saturating_add(1)).copied().unwrap_or(limit);
        let items = match &node.content {
            Content::Scalar(_) => Vec::new(),
            Content::List(nodes) => {
                nodes.iter().enumerate().map(|(index, value)| self.list_item(value, column, next(index))).collect()
            }
            Content::Map(entries) => entries
                .iter()
                .enumerate()
                .map(|(index, entry)| self.map_item(&entry.key, entry.key_span, &entry.value, column, next(index)))
                .collect(),
        };
        let mut tail = Vec::new();
        while let Some(comment) = self.comments.peek() {
            let at = comment.span.start;
            let of_here = is_flow || (comment.is_alone && column > outer && self.source.place(at).column >= column);
            if at >= limit || !of_here {
                break;
            }
            tail.extend(self.line());
        }
        if node.items().is_some() { Body::List(items, tail) } else { Body::Map(items, tail) }
    }

    fn list_item(&mut self, node: &Node, column: usize, limit: usize) -> Item {
        let before = self.comments.peek().map(|comment| comment.span.start).filter(|at| *at < node.span.start);
        let is_apart = self.is_apart(before.unwrap_or(node.span.start));
        let lead = self.lines_before(node.span.start);
        let value = self.body(node, column, limit);
        let trail = self.trail(node.span.end, limit);
        Item { key: String::new(), is_apart, lead, value, trail }
    }

    fn map_item(&mut self, key: &str, span: Span, node: &Node, column: usize, limit: usize) -> Item {
        let before = self.comments.peek().map(|comment| comment.span.start).filter(|at| *at < span.start);
        let is_apart = self.is_apart(before.unwrap_or(span.start));
        let mut lead = self.lines_before(span.start);
        let behind_key =
            self.comments.peek().is_some_and(|comment| !comment.is_alone && comment.span.start < node.span.start);
        let mut trail = if behind_key { self.line().map(|line| line.text) } else { None };
        if matches!(node.content, Content::Scalar(_)) {
            lead.extend(self.lines_before(node.span.start));
        }
        let value = self.body(node, column, limit);
        match (&mut trail, self.trail(node.span.end, limit)) {
            (Some(trail), Some(more)) => *trail = format!("{trail}  {more}"),
            (trail @ None, more) => *trail = more,
            (Some(_), None) => {}
        }
        Item { key: key.to_owned(), is_apart, lead, value, trail }
    }

    /// The comment that is on the line where something ends. That of a block scalar is on its first line.
    fn trail(&mut self, end: usize, limit: usize) -> Option<String> {
        let comment = self.comments.peek().filter(|comment| !comment.is_alone && comment.span.start < limit)?;
        let between = self.source.text().get(end..comment.span.start);
        let is_on_line = between.is_none_or(|between| !between.contains(['\n', '\r']));
        if is_on_line { self.line().map(|line| line.text) } else { None }
    }

    fn lines_before(&mut self, end: usize) -> Vec<Line> {
        let mut lines = Vec::new();
        while self.comments.peek().is_some_and(|comment| comment.span.start < end) {
            lines.extend(self.line());
        }
        lines
    }

    fn line(&mut self) -> Option<Line> {
        let comment = self.comments.next()?;
        let text = self.source.slice(comment.span).trim_end().to_owned();
        Some(Line { text, is_apart: comment.is_alone && self.is_apart(comment.span.start) })
    }

    /// Whether the line before that of `offset` is empty.
    fn is_apart(&self, offset: usize) -> bool {
        let line = self.source.place(offset).line;
        line.checked_sub(1).and_then(|before| self.source.line(before)).is_some_and(|before| before.trim().is_empty())
    }
}
