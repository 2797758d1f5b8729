//! What is wrong, and where in which file?

use std::cmp::Ordering;
use std::path::Path;
use std::sync::Arc;

use crate::read::problems::Problem;
use crate::read::rule::Severity;
use crate::read::text::{Place, Source, Span};

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
    /// What is wrong. Its place is a JSON pointer in the document, empty for the whole of it.
    pub problem: Problem,
}

impl Finding {
    pub(in crate::grants) fn new(path: &Arc<Path>, source: &Arc<Source>, span: Span, problem: Problem) -> Self {
        let place = source.place(span.start);
        Self { path: Arc::clone(path), place, span, source: Arc::clone(source), problem }
    }

    /// How bad it is.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        self.problem.severity()
    }

    /// The order of files and places.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let key = |finding: &Self| (Arc::clone(&finding.path), finding.place, finding.problem.rule);
        key(self).cmp(&key(other))
    }
}
