//! Why does a rotation fail, and who can fix it?

use super::{ABANDONED, EventError};
use crate::credentials::StsError;
use crate::net::aws::Upstream;

/// Why an invocation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    /// The rotator does not know this kind of event.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The event is about another secret.
    #[error("the event's secret is not HALLPASS_BROKER_KEY")]
    OtherSecret,
    /// The secret's rotation is off: somebody cancelled it, or the stack is being deleted.
    #[error("rotation is not enabled for the secret")]
    NotEnabled,
    /// The token does not name a pending version.
    #[error("the token is not a version of the secret with the label AWSPENDING")]
    NotPending,
    /// The version has no key yet.
    #[error("the pending version has no access key; createSecret comes first")]
    NotCreated,
    /// A version of the secret is not an access key.
    #[error("the {0} version of the secret is not an access key")]
    Malformed(&'static str),
    /// STS did not accept the new key in time.
    #[error("STS does not accept the new key: {0}")]
    NotTaken(StsError),
    /// STS will never accept the new key: it is gone or inactive in IAM, or has been refused for too long.
    #[error("the new key does not work; this rotation is abandoned, and the next one makes another key")]
    GivenUp,
    /// Another invocation of the same step has gone further meanwhile.
    #[error("another invocation of this step was faster")]
    Overtaken,
    /// STS accepts the key, but IAM does not list it for the user.
    #[error("the pending version has no active key of the user")]
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
    /// The current key is gone, or inactive.
    #[error("the current key does not exist in IAM, or is not active; rotate now")]
    CurrentKeyDead,
    /// An answer lacks a required part.
    #[error("the answer of {0} is incomplete")]
    Incomplete(&'static str),
    /// A service gave an error.
    #[error(transparent)]
    Upstream(#[from] Upstream),
    /// CloudFormation did not receive the result.
    #[error("CloudFormation could not be answered: {0}")]
    Untold(&'static str),
}
