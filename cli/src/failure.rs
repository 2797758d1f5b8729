//! Why could a command not do its work?

use std::process::ExitCode;

use crate::output::Outcome;

/// One line for the person who called the command: what failed, for which resource, and what helps. Never a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It could not be done, or not be decided.
    #[error("{0}")]
    Failed(String),
    /// The options do not fit together, which only the command itself can see.
    #[error("{0}")]
    Usage(String),
    /// What was found forbids it.
    #[error("{0}")]
    #[cfg_attr(not(feature = "files"), expect(dead_code, reason = "operators' commands end so"))]
    Forbidden(String),
}

impl Failure {
    /// A failure of the work itself.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }

    /// The exit code.
    pub(crate) fn code(&self) -> ExitCode {
        match self {
            Self::Failed(_) => ExitCode::FAILURE,
            Self::Usage(_) => ExitCode::from(2),
            Self::Forbidden(_) => Outcome::Problems.code(),
        }
    }
}
