//! Where in a file does something stand?

use std::ops::Range;

use super::MAX_BYTES;

/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Bytes of a file, by their offsets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte behind the last.
    pub end: usize,
}

impl Span {
    pub(super) const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// An empty one.
    pub(super) const fn at(offset: usize) -> Self {
        Self { start: offset, end: offset }
    }

    /// The offsets.
    #[must_use]
    pub const fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// A place as editors count: line and column from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Place {
    /// The first character of a file.
    pub const START: Self = Self { line: 1, column: 1 };
}

/// The text of a file.
#[derive(Debug, Clone)]
pub struct Source {
    /// Without a byte order mark.
    text: String,
    /// Offsets at which lines begin.
    lines: Vec<usize>,
    /// Offset of the first byte that is not UTF-8.
    not_utf8_from: Option<usize>,
    is_cut: bool,
    had_mark: bool,
}

impl Source {
    /// Takes the bytes of a file. Of one that is over [`MAX_BYTES`] nothing is kept.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        let is_cut = bytes.len() > MAX_BYTES;
        let bytes = if is_cut { Vec::new() } else { bytes };
        let (text, not_utf8_from) = match String::from_utf8(bytes) {
            Ok(text) => (text, None),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                // What is before it serves to show its line.
                (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some(valid))
            }
        };
        let (text, had_mark) = match text.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) => (rest.to_owned(), true),
            None => (text, false),
        };
        let skipped = if had_mark { BYTE_ORDER_MARK.len() } else { 0 };
        let not_utf8_from = not_utf8_from.map(|at| at.saturating_sub(skipped));
        let mut lines = vec![0];
        let bytes = text.as_bytes();
        for (at, byte) in bytes.iter().enumerate() {
            let next = at.saturating_add(1);
            if *byte == b'\n' || (*byte == b'\r' && bytes.get(next) != Some(&b'\n')) {
                lines.push(next);
            }
        }
        Self { text, lines, not_utf8_from, is_cut, had_mark }
    }

    /// The text, without a byte order mark.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the file began with a byte order mark.
    #[must_use]
    pub const fn had_mark(&self) -> bool {
        self.had_mark
    }

    pub(super) const fn is_cut(&self) -> bool {
        self.is_cut
    }

    pub(super) const fn not_utf8_from(&self) -> Option<usize> {
        self.not_utf8_from
    }

    /// The place of a byte.
    #[must_use]
    pub fn place(&self, offset: usize) -> Place {
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|index| self.lines.get(index)).copied().unwrap_or_default();
        let before = self.text.get(start..offset.min(self.text.len())).unwrap_or_default();
        Place { line: line.max(1), column: before.chars().count().saturating_add(1) }
    }

    /// A line from 1, without its end.
    #[must_use]
    pub fn line(&self, line: usize) -> Option<&str> {
        let start = *self.lines.get(line.checked_sub(1)?)?;
        let end = self.lines.get(line).copied().unwrap_or(self.text.len());
        self.text.get(start..end).map(|text| text.trim_end_matches(['\n', '\r']))
    }

    /// What stands at a span.
    #[must_use]
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.range()).unwrap_or_default()
    }
}
