//! Why could a command not do its work?

/// One line for the person who called the command: what failed, for which resource, and what helps.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Failure(pub(crate) String);
