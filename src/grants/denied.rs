//! Why is there no session?

use super::Principal;
use super::policy::ClaimError;
use super::requirement::StepUp;
use crate::read::problems::Problems;
use crate::session::{NameError, SessionDuration, TagError};

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The caller's: a principal of his is blocked.
    #[error("`{0}` is blocked")]
    Blocked(Principal),
    /// The caller's: nothing in the table grants it.
    #[error("no item grants this to the caller")]
    NoGrant,
    /// The caller's: an item refuses it.
    #[error("the item of `{0}` is disabled")]
    Disabled(Principal),
    /// The caller's: it is not, or no longer, the grant's time.
    #[error("the grant's time is over or has not begun")]
    OutOfTime,
    /// The caller's: a claim has none of the values that the grant requires.
    #[error("the claim `{0}` has none of the values that the grant requires")]
    ClaimRefused(String),
    /// The caller's: the sign-in is not strong or fresh enough.
    #[error("a stronger or fresher sign-in is needed")]
    StepUp(StepUp),
    /// The caller's: more was asked for than the grant allows.
    #[error("{asked} s were asked for, over the grant's maximum of {maximum} s")]
    OverMaximum {
        /// What was asked for.
        asked: SessionDuration,
        /// What the grant allows.
        maximum: SessionDuration,
    },
    /// The caller's: the session would have to end with the token, which ends too soon.
    #[error("the token ends in less than 900 s, and the session would have to end with it")]
    TokenEndsTooSoon,
    /// The caller's: the federated name is another's, or nobody's where an operator has to register it.
    #[error("the federated name `{name}` is {}", owner.as_ref().map_or("not registered".into(), |owner| format!("owned by `{owner}`")))]
    NameOwned {
        /// The name, as its owner is recorded.
        name: String,
        /// Whose it is.
        owner: Option<String>,
    },
    /// The gateway's: a session that works from one address needs one.
    #[error("the event has no source address, and the grant pins sessions to it")]
    NoSourceAddress,
    /// The grant's: an item is not well-formed.
    #[error("the item of `{principal}` is unusable: {problems}")]
    Unusable {
        /// Whose item it is.
        principal: Principal,
        /// Everything that is wrong with it.
        problems: Problems,
    },
    /// The grant's: nothing can meet what the items require together.
    #[error("nothing can meet {0} of all the items that match")]
    Contradiction(String),
    /// The grant's: the caller has no federated name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The grant's: a template cannot be filled in for this caller.
    #[error("the item of `{principal}` is unusable for this caller: {error}")]
    Template {
        /// Whose item it is.
        principal: Principal,
        /// The claim.
        error: ClaimError,
    },
    /// The grant's: the tags are none that STS takes.
    #[error(transparent)]
    Tags(#[from] TagError),
    /// The grant's: together the items are more than STS takes.
    #[error("the merged policy has {characters} characters, and STS takes at most 2048")]
    PolicyTooLarge {
        /// The length of the minified policy.
        characters: usize,
    },
    /// The grant's: together the items are more than STS takes.
    #[error("the merged policy has more statements than fit into the 2048 characters that STS takes")]
    TooManyStatements,
    /// The grant's: together the items are more than STS takes.
    #[error("the items name {0} managed policies together, and STS takes at most 10")]
    TooManyArns(usize),
}
