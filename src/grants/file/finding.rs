//! What is wrong, and where in which file?

use std::cmp::Ordering;
use std::path::Path;
use std::sync::Arc;

use crate::read::text::{Mistake, MistakeKind, Place, Source, Span};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The grant cannot be applied.
    Error,
    /// It is legal, and its author should think about it again.
    Warning,
}

/// Something that is wrong in a file.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The file.
    pub path: Arc<Path>,
    /// Where it begins.
    pub place: Place,
    /// The very bytes, as offsets in `source`.
    pub span: Span,
    /// The text of the file, to show its line.
    pub source: Arc<Source>,
    /// The place in the document, as a JSON pointer.
    pub pointer: String,
    /// Which rule says so.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What helps.
    pub help: Option<String>,
}

impl Finding {
    pub(super) fn new(path: &Arc<Path>, source: &Arc<Source>, span: Span) -> Self {
        Self {
            path: Arc::clone(path),
            place: source.place(span.start),
            span,
            source: Arc::clone(source),
            pointer: String::new(),
            rule: "",
            severity: Severity::Error,
            message: String::new(),
            help: None,
        }
    }

    pub(super) fn of_mistake(mistake: &Mistake, path: &Arc<Path>, source: &Arc<Source>) -> Self {
        let mut finding = Self::new(path, source, mistake.span);
        finding.rule = rule_of(mistake.kind);
        finding.message.clone_from(&mistake.says);
        finding.help = mistake.help.map(str::to_owned);
        finding
    }

    /// The order of files and places.
    #[must_use]
    pub fn order(&self, other: &Self) -> Ordering {
        let key = |finding: &Self| (Arc::clone(&finding.path), finding.place);
        key(self).cmp(&key(other))
    }
}

const fn rule_of(kind: MistakeKind) -> &'static str {
    match kind {
        MistakeKind::Syntax => "syntax",
        MistakeKind::DuplicateKey => "duplicate-key",
        MistakeKind::Anchor => "anchor",
        MistakeKind::Alias => "alias",
        MistakeKind::MergeKey => "merge-key",
        MistakeKind::Tag => "tag",
        MistakeKind::Key => "key",
        MistakeKind::Number => "number",
        MistakeKind::TooLarge => "too-large",
        MistakeKind::TooDeep => "too-deep",
        MistakeKind::Encoding => "encoding",
    }
}
