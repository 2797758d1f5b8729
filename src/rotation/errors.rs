//! Why does a rotation fail, and who can fix it?

use super::{ABANDONED, EventError};
use crate::credentials::StsError;
use crate::net::aws::Upstream;

/// Why an invocation did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    /// The event is none that the rotator knows.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The event is about another secret.
    #[error("the event names another secret than HALLPASS_BROKER_KEY")]
    OtherSecret,
    /// The secret's rotation is off: somebody cancelled it, or the stack is being deleted.
    #[error("rotation is not enabled for the secret")]
    NotEnabled,
    /// The token is no version that is being made.
    #[error("the token is no version of the secret that is AWSPENDING")]
    NotPending,
    /// The version has no key yet.
    #[error("the pending version holds no access key; createSecret comes first")]
    NotCreated,
    /// A version of the secret is no access key.
    #[error("the {0} version of the secret is no access key")]
    Malformed(&'static str),
    /// STS did not take the new key in time.
    #[error("STS does not take the new key: {0}")]
    NotTaken(StsError),
    /// STS will never take the new key: it is gone or inactive in IAM, or has been refused for too long.
    #[error("the new key is of no use; the pending version is given up, and the next rotation makes another")]
    GivenUp,
    /// Another invocation of the same step has gone further meanwhile.
    #[error("another invocation of this step was faster")]
    Overtaken,
    /// STS takes the key, and IAM does not list it.
    #[error("the pending version holds no active key of the user")]
    NotTheUsers,
    /// The user has two keys that are both needed.
    #[error("the user has two access keys, and neither can be deleted")]
    NoRoom,
    /// The user has two keys, and another invocation may be about to keep one of them.
    #[error(
        "the user has two access keys, and one is too young to be deleted; try again in {} minutes",
        ABANDONED.as_secs() / 60
    )]
    TooYoung,
    /// The key in use is gone.
    #[error("the current key does not exist in IAM, or is not active; rotate now")]
    CurrentKeyDead,
    /// An answer lacks what it must have.
    #[error("{0} answered without what was asked for")]
    Incomplete(&'static str),
    /// A service gave an error.
    #[error(transparent)]
    Upstream(#[from] Upstream),
    /// CloudFormation could not be told how it went.
    #[error("CloudFormation could not be told: {0}")]
    Untold(&'static str),
}
