//! How is a YAML file read, with places?
//!
//! The parser's events become a tree of our own, since ready-made trees drop duplicate keys. Nothing is recursive, and no
//! alias is ever followed, so that a hostile file costs no more than its size.

use std::borrow::Cow;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, StrInput};
use serde_json::Value;

use super::json::Entries;
use super::node::{Content, Entry, Node};
use super::scalar::{Resolved, is_string, resolve};
use super::{Source, Span, Text};
use crate::read::json::MAX_DEPTH;
use crate::read::problems::{Problem, quoted};
use crate::read::rule::Rule;

/// How often reading goes on behind a mistake that stops the parser. Each time costs what reading the rest costs.
const MAX_RECOVERIES: usize = 64;

/// A comment of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// From `#` to the end of the line.
    pub span: Span,
    /// Whether nothing but white space is before it on its line.
    pub is_alone: bool,
}

/// Reads all documents of a file. Behind a mistake that ends a document, the next one is read.
pub(super) fn read(source: &Source, text: &mut Text) {
    let whole = source.text();
    if let Some((at, c)) = whole.char_indices().find(|(_, c)| !is_printable(*c)) {
        let says = format!("is a character that YAML does not allow, U+{:04X}", u32::from(c));
        text.note(Span::new(at, at.saturating_add(c.len_utf8())), Problem::new(Rule::Syntax, says));
        return;
    }
    let mut whole = Cow::Borrowed(whole);
    let mut repaired = Vec::new();
    let mut from = 0;
    for _ in 0..MAX_RECOVERIES {
        let mut reader = Reader::new(source, from, whole.get(from..).unwrap_or_default(), &repaired, text);
        let Err((at, error)) = reader.documents() else { return };
        // In a list without an end, the parser stumbles only behind the next document's mark.
        let (begun, kept) = (reader.begun, reader.kept);
        if let Some(star) = reader.star(at) {
            // A lonely `*` would hide every other mistake of its document: it is read again, with something else there.
            text.documents.truncate(kept.0);
            text.comments.truncate(kept.1);
            text.mistakes.truncate(kept.2);
            repaired.push(star);
            whole.to_mut().replace_range(star..star.saturating_add(1), "~");
            let line = whole.get(..begun).and_then(|before| before.rfind('\n')).map_or(0, |at| at.saturating_add(1));
            let is_first = whole.get(line..begun).is_some_and(|before| before.trim().is_empty());
            from = if is_first { line } else { begun };
            continue;
        }
        reader.note_error(at, &error);
        let Some(next) = next_document(&whole, begun) else { return };
        from = next;
    }
    text.note(Span::at(from), Problem::new(Rule::Syntax, "is not read, since so much before it is wrong"));
}

/// Where the next line `---` begins. Such a line is never part of a document.
fn next_document(whole: &str, at: usize) -> Option<usize> {
    let rest = whole.get(at..)?;
    let mut starts = rest.match_indices("\n---").map(|(index, _)| at.saturating_add(index).saturating_add(1));
    starts.find(|start| {
        whole
            .get(start.saturating_add(3)..)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
    })
}

/// <https://yaml.org/spec/1.2.2/#51-character-set>. A byte order mark inside is nobody's intention.
pub(crate) fn is_printable(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{85}') || !(c.is_control() || matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}'))
}

struct Reader<'a> {
    source: &'a Source,
    parser: Parser<'a, StrInput<'a>>,
    offsets: Offsets<'a>,
    text: &'a mut Text,
    /// The lists and maps that are open, the innermost last.
    open: Vec<Open>,
    /// Levels below [`MAX_DEPTH`] that are stepped over.
    skipped: usize,
    /// Behind the last scalar or mark that was read: what follows is read for comments.
    cursor: usize,
    /// Where the document begins.
    begun: usize,
    /// Documents, comments and mistakes before it.
    kept: (usize, usize, usize),
    /// Where something was put in place of a `*`.
    repaired: &'a [usize],
    root: Option<Node>,
}

/// A list or a map that is being read.
struct Open {
    start: usize,
    /// Written with brackets or braces, so that its end is known.
    is_flow: bool,
    is_damaged: bool,
    kind: Kind,
}

enum Kind {
    List(Vec<Node>),
    Map { entries: Entries, key: Option<Key> },
}

/// A key that waits for its value.
enum Key {
    Text(String, Span),
    /// A mistake: its value is read and dropped.
    Unusable,
}

impl<'a> Reader<'a> {
    fn new(source: &'a Source, base: usize, rest: &'a str, repaired: &'a [usize], text: &'a mut Text) -> Self {
        let kept = (text.documents.len(), text.comments.len(), text.mistakes.len());
        Self {
            source,
            parser: Parser::new_from_str(rest),
            offsets: Offsets::new(base, rest),
            text,
            open: Vec::new(),
            skipped: 0,
            cursor: base,
            begun: base,
            kept,
            repaired,
            root: None,
        }
    }

    fn documents(&mut self) -> Result<(), (usize, ScanError)> {
        while let Some(event) = self.parser.next_event() {
            let (event, span) = event.map_err(|error| (self.offsets.byte(error.marker().index()), error))?;
            let span = Span::new(self.offsets.byte(span.start.index()), self.offsets.byte(span.end.index()));
            match event {
                Event::Nothing | Event::StreamStart => {}
                Event::StreamEnd => drop(self.gap(self.source.text().len(), false)),
                Event::DocumentStart(_) => {
                    self.root = None;
                    self.begun = span.start;
                    self.kept = (self.text.documents.len(), self.text.comments.len(), self.text.mistakes.len());
                }
                Event::DocumentEnd => {
                    let is_empty = |node: &Node| node.content == Content::Scalar(Value::Null) && !node.is_damaged;
                    self.text.documents.extend(self.root.take().filter(|root| !is_empty(root)));
                }
                Event::Alias(_) => {
                    let help = "write the value itself; if `*` is meant, put it in quotes";
                    self.text
                        .note(span, Problem::new(Rule::Alias, "is an alias, which a grant must not have").help(help));
                    self.gap(span.start, false);
                    self.cursor = span.end;
                    self.add(Node::damaged(span), None);
                }
                Event::Scalar(value, style, anchor, tag) => {
                    let is_tagged = tag.is_some();
                    self.note_properties(span, anchor, is_tagged);
                    self.scalar(&value, style, span, anchor > 0 || is_tagged);
                }
                Event::SequenceStart(anchor, tag) => {
                    self.note_properties(span, anchor, tag.is_some());
                    self.begin(span, Kind::List(Vec::new()));
                }
                Event::MappingStart(anchor, tag) => {
                    self.note_properties(span, anchor, tag.is_some());
                    self.begin(span, Kind::Map { entries: Entries::default(), key: None });
                }
                Event::SequenceEnd | Event::MappingEnd => self.end(span),
            }
        }
        Ok(())
    }

    fn note_properties(&mut self, span: Span, anchor: usize, is_tagged: bool) {
        let written = self.source.slice(Span::new(span.start, self.source.text().len()));
        let word = |text: &str| text.split_whitespace().next().unwrap_or_default().len();
        let at = |start: usize, length: usize| Span::new(start, start.saturating_add(length));
        if anchor > 0 {
            let offset = if written.starts_with('&') { 0 } else { written.find('&').unwrap_or_default() };
            let start = span.start.saturating_add(offset);
            let length = word(written.get(offset..).unwrap_or_default());
            let says = "is an anchor, which a grant must not have";
            self.text.note(at(start, length), Problem::new(Rule::Anchor, says).help("remove it; write values in full"));
        }
        if is_tagged {
            let offset = if written.starts_with('!') { 0 } else { written.find('!').unwrap_or_default() };
            let start = span.start.saturating_add(offset);
            let length = word(written.get(offset..).unwrap_or_default());
            let found = quoted(self.source.slice(at(start, length)));
            let says = format!("is a tag, which a grant must not have: {found}");
            self.text.note(
                at(start, length),
                Problem::new(Rule::YamlTag, says).help("remove it; quote what is to be a string"),
            );
        }
    }

    fn scalar(&mut self, value: &str, style: ScalarStyle, span: Span, has_properties: bool) {
        let span = self.extent(span, style, value.is_empty(), has_properties);
        let is_plain = style == ScalarStyle::Plain;
        if is_plain && self.repaired.contains(&span.start) {
            let span = Span::new(span.start, span.start.saturating_add(1));
            let says = "is an alias, since it begins with `*`";
            self.text.note(span, Problem::new(Rule::Alias, says).help("put it in quotes: \"*\""));
            self.add(Node::damaged(span), None);
            return;
        }
        if self.awaits_key() {
            self.key(value, is_plain, span);
            return;
        }
        if !is_plain {
            self.add(Node::scalar(span, value.into()), None);
            return;
        }
        match resolve(value) {
            Resolved::Value(resolved) => self.add(Node::scalar(span, resolved), None),
            Resolved::Respelled(number) => {
                let says = format!("is the number {number}, without its leading zeros");
                self.text
                    .note(span, Problem::new(Rule::YamlNumber, says).help("put it in quotes, or leave the zeros out"));
                self.add(Node::scalar(span, number.into()), None);
            }
            Resolved::Unsayable => {
                let says = format!("is a number that an item cannot hold: {}", quoted(value));
                self.text.note(span, Problem::new(Rule::YamlNumber, says).help("put it in quotes if it is a text"));
                self.add(Node::damaged(span), None);
            }
        }
    }

    /// Where a scalar stands. The parser's span has the white space behind quotes too, and not the header of a block.
    fn extent(&mut self, span: Span, style: ScalarStyle, is_empty: bool, has_properties: bool) -> Span {
        let text = self.source.text();
        match style {
            ScalarStyle::Plain if is_empty && !has_properties => {
                let is_colon = !self.awaits_key() && text.get(span.start..).is_some_and(|rest| rest.starts_with(':'));
                Span::at(if is_colon { span.start.saturating_add(1) } else { span.start })
            }
            ScalarStyle::Plain => {
                self.gap(span.start, false);
                let end = span.start.saturating_add(self.source.slice(span).trim_end().len());
                self.cursor = self.cursor.max(end);
                Span::new(span.start, end)
            }
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => {
                self.gap(span.start, false);
                let quote = if style == ScalarStyle::SingleQuoted { '\'' } else { '"' };
                let end = end_of_quoted(text, span, quote);
                self.cursor = self.cursor.max(end);
                Span::new(span.start, end)
            }
            ScalarStyle::Literal | ScalarStyle::Folded => {
                let header = self.gap(text.len(), true).unwrap_or(span.start);
                let end = header.max(span.start.saturating_add(self.source.slice(span).trim_end().len()));
                let line = Span::new(header, header.saturating_add(length_of_line(text, header)));
                if let Some(at) = self.source.slice(line).find('#') {
                    let comment = Span::new(header.saturating_add(at), line.end);
                    self.text.comments.push(Comment { span: comment, is_alone: false });
                }
                let end = end.max(header.saturating_add(1));
                self.cursor = end.max(line.end).max(span.end);
                Span::new(header, end)
            }
        }
    }

    /// Reads what is between scalars up to `end`, which is only indicators, white space and comments. For a block scalar,
    /// up to its header, which is returned.
    fn gap(&mut self, end: usize, to_header: bool) -> Option<usize> {
        let text = self.source.text();
        let bytes = text.as_bytes();
        while self.cursor < end {
            let byte = bytes.get(self.cursor).copied()?;
            match byte {
                b'#' => {
                    let span = Span::new(self.cursor, self.cursor.saturating_add(length_of_line(text, self.cursor)));
                    let line =
                        text.get(..self.cursor).unwrap_or_default().rsplit(['\n', '\r']).next().unwrap_or_default();
                    let is_alone = line.trim().is_empty();
                    self.text.comments.push(Comment { span, is_alone });
                    self.cursor = span.end;
                }
                b'|' | b'>' if to_header => return Some(self.cursor),
                _ => self.cursor = self.cursor.saturating_add(1),
            }
        }
        None
    }

    fn awaits_key(&self) -> bool {
        self.skipped == 0 && matches!(self.open.last().map(|open| &open.kind), Some(Kind::Map { key: None, .. }))
    }

    fn key(&mut self, text: &str, is_plain: bool, span: Span) {
        let key = if is_plain && text == "<<" {
            let says = "is a merge key, which a grant must not have";
            self.text.note(span, Problem::new(Rule::MergeKey, says).help("write the keys themselves"));
            Key::Unusable
        } else if is_plain && !is_string(text) {
            let says = format!("is a key that is not a string: {}", quoted(text));
            self.text.note(span, Problem::new(Rule::StringKey, says).help("put it in quotes"));
            Key::Unusable
        } else {
            Key::Text(text.to_owned(), span)
        };
        self.set_key(key);
    }

    fn set_key(&mut self, new: Key) {
        if let Some(Open { kind: Kind::Map { key, .. }, is_damaged, .. }) = self.open.last_mut() {
            *is_damaged |= matches!(new, Key::Unusable);
            *key = Some(new);
        }
    }

    fn begin(&mut self, span: Span, kind: Kind) {
        if self.skipped > 0 || self.open.len() >= MAX_DEPTH {
            if self.skipped == 0 {
                self.text.note_depth(Span::new(span.start, span.start.saturating_add(1)));
            }
            self.skipped = self.skipped.saturating_add(1);
            return;
        }
        let first = self.source.text().as_bytes().get(span.start).copied();
        let is_flow = matches!((first, &kind), (Some(b'['), Kind::List(_)) | (Some(b'{'), Kind::Map { .. }));
        let in_map = matches!(self.open.last(), Some(Open { kind: Kind::Map { .. }, .. }));
        let dash =
            if in_map && !is_flow && matches!(kind, Kind::List(_)) { self.dash_before(span.start) } else { None };
        let start = dash.unwrap_or(span.start);
        self.gap(start, false);
        self.open.push(Open { start, is_flow, is_damaged: false, kind });
    }

    /// The first `-` of a list that is not indented below its key. The parser says where its first value is.
    fn dash_before(&self, start: usize) -> Option<usize> {
        let bytes = self.source.text().as_bytes();
        let mut at = self.cursor;
        while at < start {
            match bytes.get(at)? {
                b'-' => return Some(at),
                b'#' => at = at.saturating_add(length_of_line(self.source.text(), at)),
                _ => at = at.saturating_add(1),
            }
        }
        None
    }

    fn end(&mut self, span: Span) {
        if self.skipped > 0 {
            self.skipped = self.skipped.saturating_sub(1);
            if self.skipped == 0 {
                self.add(Node::damaged(Span::at(span.start)), Some(span.end));
            }
            return;
        }
        let Some(open) = self.open.pop() else { return };
        let (content, last) = match open.kind {
            Kind::List(nodes) => {
                let last = nodes.last().map(|node| node.span.end);
                (Content::List(nodes), last)
            }
            Kind::Map { entries, .. } => {
                let last = entries.list.last().map(|entry| entry.value.span.end);
                (Content::Map(entries.list), last)
            }
        };
        let mut end = last.unwrap_or(open.start).max(open.start);
        if open.is_flow {
            // The parser's span has the white space behind it, too.
            let behind = span.start.saturating_add(1);
            self.gap(span.start, false);
            self.cursor = self.cursor.max(behind);
            end = end.max(behind);
        }
        self.add(Node { span: Span::new(open.start, end), content, is_damaged: open.is_damaged }, None);
    }

    /// Puts a value where it belongs.
    fn add(&mut self, node: Node, cursor: Option<usize>) {
        self.cursor = self.cursor.max(cursor.unwrap_or_default());
        if self.skipped > 0 {
            return;
        }
        if self.awaits_key() {
            if !node.is_damaged {
                let says = "is a key that is not a string";
                self.text.note(node.span, Problem::new(Rule::StringKey, says).help("write a string"));
            }
            self.set_key(Key::Unusable);
            return;
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open { kind: Kind::List(nodes), .. }) => nodes.push(node),
            Some(Open { kind: Kind::Map { entries, key }, is_damaged, .. }) => {
                if let Some(Key::Text(key, key_span)) = key.take()
                    && let Some(first) = entries.add(Entry { key: key.clone(), key_span, value: node })
                {
                    *is_damaged = true;
                    let line = self.source.place(first.start).line;
                    self.text.note_duplicate(key_span, &key, line);
                }
            }
        }
    }

    /// The `*` at which the parser stopped, because it is no alias, or one of nothing.
    fn star(&self, at: usize) -> Option<usize> {
        let bytes = self.source.text().as_bytes();
        let before = at.checked_sub(1);
        [Some(at), before].into_iter().flatten().find(|at| bytes.get(*at) == Some(&b'*') && !self.repaired.contains(at))
    }

    fn note_error(&mut self, at: usize, error: &ScanError) {
        let span = Span::at(at);
        if error.info().contains("recursion limit") {
            self.text.note_depth(span);
        } else {
            self.text.note(span, Problem::new(Rule::Syntax, format_args!("is not YAML: {}", error.info())));
        }
    }
}

fn length_of_line(text: &str, from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    rest.find(['\n', '\r']).unwrap_or(rest.len())
}

/// Behind the closing quote of a quoted scalar.
fn end_of_quoted(text: &str, span: Span, quote: char) -> usize {
    let mut at = span.start.saturating_add(1);
    let mut rest = text.get(at..).unwrap_or_default().chars().peekable();
    while let Some(c) = rest.next() {
        at = at.saturating_add(c.len_utf8());
        let is_doubled = quote == '\'' && c == quote && rest.peek() == Some(&quote);
        if is_doubled || (quote == '"' && c == '\\') {
            at = at.saturating_add(rest.next().map_or(0, char::len_utf8));
        } else if c == quote {
            break;
        }
    }
    at
}

/// Offsets in bytes of the parser's, which are in characters and from where it began.
struct Offsets<'a> {
    base: usize,
    /// The offset of each 64th character; none where all are of one byte.
    each: Vec<usize>,
    text: &'a str,
    is_ascii: bool,
}

const STEP: usize = 64;

impl<'a> Offsets<'a> {
    fn new(base: usize, text: &'a str) -> Self {
        let is_ascii = text.is_ascii();
        let each = if is_ascii { Vec::new() } else { text.char_indices().map(|(at, _)| at).step_by(STEP).collect() };
        Self { base, each, text, is_ascii }
    }

    fn byte(&self, index: usize) -> usize {
        if self.is_ascii {
            return self.base.saturating_add(index);
        }
        let Some(near) = index.checked_div(STEP).and_then(|step| self.each.get(step)) else {
            return self.base.saturating_add(self.text.len());
        };
        let rest = self.text.get(*near..).unwrap_or_default();
        let within = index.checked_rem(STEP).unwrap_or_default();
        let more = rest.char_indices().nth(within).map_or(rest.len(), |(at, _)| at);
        self.base.saturating_add(*near).saturating_add(more)
    }
}
