//! How is a document printed as YAML?

use serde_json::Value;

use super::WIDTH;
use super::attach::{Body, Commented, Item, Line};
use super::order::Place;
use crate::read::text::{is_printable, is_string};

/// Prints the documents of a file.
pub(super) fn print(documents: &[Commented]) -> String {
    let mut printer = Printer { out: String::new() };
    for (index, document) in documents.iter().enumerate() {
        if index > 0 {
            printer.out.push_str("---\n");
        }
        printer.document(document);
    }
    printer.out
}

struct Printer {
    out: String,
}

impl Printer {
    fn document(&mut self, document: &Commented) {
        self.lines(&document.head, 0, true);
        if let Some(body) = &document.body {
            if document.is_apart {
                self.out.push('\n');
            }
            match body {
                Body::List(items, tail) if !items.is_empty() => self.list(items, tail, 0, Place::Other, true),
                Body::Map(items, tail) if !items.is_empty() => self.map(items, tail, 0, Place::Document, true),
                Body::Scalar(value) => self.out.push_str(&scalar(value, false)),
                Body::List(_, tail) | Body::Map(_, tail) => {
                    self.lines(tail, 0, false);
                    self.out.push_str(if matches!(body, Body::List(..)) { "[]" } else { "{}" });
                }
            }
            let is_inline = match body {
                Body::Scalar(_) => true,
                Body::List(items, _) | Body::Map(items, _) => items.is_empty(),
            };
            if is_inline {
                self.end_line(document.trail.as_ref());
            } else if let Some(trail) = &document.trail {
                self.lines(&[Line { text: trail.clone(), is_apart: false }], 0, false);
            }
        }
        self.lines(&document.tail, 0, false);
    }

    /// Prints a map. `is_first_line` says that nothing is on the line yet; behind a dash, there is.
    fn map(&mut self, items: &[Item], tail: &[Line], indent: usize, place: Place, is_first_line: bool) {
        for (index, item) in items.iter().enumerate() {
            let begins_line = index > 0 || is_first_line;
            if begins_line {
                if index > 0 && item.is_apart {
                    self.out.push('\n');
                }
                self.above(item, indent, index > 0);
                self.indent(indent);
            }
            let key = key(&item.key);
            self.out.push_str(&key);
            self.out.push(':');
            let place = place.at(&item.key);
            let used = indent.saturating_add(key.chars().count()).saturating_add(2);
            if let Some(text) = inline(&item.value, place, used) {
                self.out.push(' ');
                self.out.push_str(&text);
                self.end_line(item.trail.as_ref());
                continue;
            }
            let inner = indent.saturating_add(2);
            match &item.value {
                Body::Scalar(value) => self.block(value, inner, item.trail.as_ref()),
                Body::List(items, tail) => {
                    self.end_line(item.trail.as_ref());
                    self.list(items, tail, inner, place.inside(), true);
                }
                Body::Map(items, tail) => {
                    self.end_line(item.trail.as_ref());
                    self.map(items, tail, inner, place, true);
                }
            }
        }
        self.lines(tail, indent, false);
    }

    /// Prints a list, as [`Self::map`] prints a map.
    fn list(&mut self, items: &[Item], tail: &[Line], indent: usize, place: Place, is_first_line: bool) {
        for (index, item) in items.iter().enumerate() {
            let begins_line = index > 0 || is_first_line;
            if index > 0 && item.is_apart {
                self.out.push('\n');
            }
            if begins_line {
                self.above(item, indent, index > 0);
            }
            let inner = indent.saturating_add(2);
            let text = inline(&item.value, place, inner);
            // Behind the dash there is the first line of what is in it, and no room for a comment.
            if let (None, Some(trail), Body::List(..) | Body::Map(..)) = (&text, &item.trail, &item.value) {
                self.lines(&[Line { text: trail.clone(), is_apart: false }], indent, false);
            }
            if begins_line {
                self.indent(indent);
            }
            self.out.push('-');
            if let Some(text) = text {
                self.out.push(' ');
                self.out.push_str(&text);
                self.end_line(item.trail.as_ref());
                continue;
            }
            match &item.value {
                Body::Scalar(value) => self.block(value, inner, item.trail.as_ref()),
                Body::List(items, tail) => {
                    self.out.push(' ');
                    self.list(items, tail, inner, Place::Other, false);
                }
                Body::Map(items, tail) => {
                    self.out.push(' ');
                    self.map(items, tail, inner, place, false);
                }
            }
        }
        self.lines(tail, indent, false);
    }

    /// The comments above an item. Those in an empty list or map have no other place, either.
    fn above(&mut self, item: &Item, indent: usize, is_inside: bool) {
        self.lines(&item.lead, indent, !is_inside);
        if let Body::List(items, tail) | Body::Map(items, tail) = &item.value
            && items.is_empty()
        {
            self.lines(tail, indent, !is_inside && item.lead.is_empty());
        }
    }

    fn lines(&mut self, lines: &[Line], indent: usize, is_top: bool) {
        for (index, line) in lines.iter().enumerate() {
            let begins = index == 0 && is_top;
            // The empty line before the first is that of its item.
            if line.is_apart && !begins && !self.out.ends_with("\n\n") && !self.out.is_empty() {
                self.out.push('\n');
            }
            self.indent(indent);
            self.out.push_str(&line.text);
            self.out.push('\n');
        }
    }

    /// A string of several lines as a literal block.
    fn block(&mut self, value: &Value, indent: usize, trail: Option<&String>) {
        let text = value.as_str().unwrap_or_default();
        let body = text.strip_suffix('\n');
        self.out.push_str(if body.is_some() { " |" } else { " |-" });
        self.end_line(trail);
        for line in body.unwrap_or(text).split('\n') {
            if !line.is_empty() {
                self.indent(indent);
                self.out.push_str(line);
            }
            self.out.push('\n');
        }
    }

    fn end_line(&mut self, trail: Option<&String>) {
        if let Some(trail) = trail {
            self.out.push(' ');
            self.out.push_str(trail);
        }
        self.out.push('\n');
    }

    fn indent(&mut self, indent: usize) {
        self.out.extend(std::iter::repeat_n(' ', indent));
    }
}

/// A value on the line of its key or dash, if it has a place there.
fn inline(body: &Body, place: Place, used: usize) -> Option<String> {
    match body {
        Body::Scalar(Value::String(text)) if is_block(text) => None,
        Body::Scalar(value) => Some(scalar(value, false)),
        Body::List(items, _) if items.is_empty() => Some("[]".into()),
        Body::Map(items, _) if items.is_empty() => Some("{}".into()),
        Body::List(..) | Body::Map(..) => {
            let text = flow(body, place)?;
            (used.saturating_add(text.chars().count()) <= WIDTH).then_some(text)
        }
    }
}

/// A list or a map on one line, if it can be.
fn flow(body: &Body, place: Place) -> Option<String> {
    let is_plain = |item: &Item| item.lead.is_empty() && item.trail.is_none();
    match body {
        Body::Scalar(value) => Some(scalar(value, true)).filter(|_| !value.as_str().is_some_and(is_block)),
        Body::List(items, tail) => {
            let is_flat =
                tail.is_empty() && items.iter().all(|item| is_plain(item) && matches!(item.value, Body::Scalar(_)));
            let values = is_flat
                .then(|| items.iter().map(|item| flow(&item.value, Place::Other)).collect::<Option<Vec<_>>>())??;
            Some(format!("[{}]", values.join(", ")))
        }
        Body::Map(items, tail) => {
            let is_flat = |item: &Item| is_plain(item) && !matches!(item.value, Body::Map(..));
            if place.is_block() || !tail.is_empty() || !items.iter().all(is_flat) {
                return None;
            }
            let member = |item: &Item| Some(format!("{}: {}", key(&item.key), flow(&item.value, Place::Other)?));
            let members: Option<Vec<_>> = items.iter().map(member).collect();
            Some(format!("{{{}}}", members?.join(", ")))
        }
    }
}

/// Whether a string is written as a literal block: it has several lines, and a block would keep each of them.
fn is_block(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    text.contains('\n')
        && !body.is_empty()
        && !body.starts_with([' ', '\n', '\t'])
        && !body.ends_with('\n')
        && body.split('\n').all(|line| line.is_empty() || !line.trim().is_empty())
        && text.chars().all(|c| c == '\n' || is_plain_character(c))
}

fn scalar(value: &Value, in_flow: bool) -> String {
    match value.as_str() {
        Some(text) if is_plain(text, in_flow) => text.to_owned(),
        Some(text) => quoted(text),
        None => value.to_string(),
    }
}

fn key(text: &str) -> String {
    if is_plain(text, true) { text.to_owned() } else { quoted(text) }
}

/// Whether a string needs no quotes.
fn is_plain(text: &str, in_flow: bool) -> bool {
    // Words that YAML 1.1 takes for a truth or for nothing, in any case.
    let is_word =
        ["null", "true", "false", "yes", "no", "on", "off", "y", "n"].iter().any(|w| text.eq_ignore_ascii_case(w));
    let begins = text.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '/');
    let is_of_alphabet = |c: char| c.is_alphanumeric() || "_./@+=*-".contains(c);
    let is_legal = if in_flow {
        text.chars().all(is_of_alphabet)
    } else {
        text.chars().all(is_plain_character)
            && !text.contains(": ")
            && !text.contains(" #")
            && !text.ends_with([':', ' '])
    };
    begins && is_legal && !is_word && is_string(text)
}

/// A character that stands for itself, and that a reader can see.
fn is_plain_character(c: char) -> bool {
    is_printable(c) && !matches!(c, '\t' | '\n' | '\r' | '\u{85}' | '\u{a0}' | '\u{2028}' | '\u{2029}')
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if is_plain_character(c) => quoted.push(c),
            c => quoted.extend(format!("\\U{:08X}", u32::from(c)).chars()),
        }
    }
    quoted.push('"');
    quoted
}
