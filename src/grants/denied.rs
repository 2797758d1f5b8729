//! Why is there no session?

use super::Principal;
use super::policy::ClaimError;
use super::requirement::StepUp;
use crate::read::problems::Problems;
use crate::session::{NameError, SessionDuration, TagError};
use crate::wire::Code;

/// Why a caller gets no session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The caller may not have one.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The grant gives none.
    #[error(transparent)]
    Unusable(#[from] Unusable),
}

/// The caller's fault: another caller, sign-in or request could get a session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// One of the caller's principals is blocked.
    #[error("`{0}` is blocked")]
    Blocked(Principal),
    /// Nothing in the table grants it.
    #[error("no item grants this to the caller")]
    NoGrant,
    /// An item refuses it.
    #[error("the item of `{0}` is disabled")]
    Disabled(Principal),
    /// The grant's time is over or has not begun.
    #[error("the grant's time is over or has not begun")]
    OutOfTime,
    /// A claim has none of the values that the grant requires.
    #[error("the claim `{0}` has none of the values that the grant requires")]
    ClaimRefused(String),
    /// The sign-in is not strong or fresh enough.
    #[error("a stronger or fresher sign-in is needed")]
    StepUp(StepUp),
    /// More was asked for than the grant allows.
    #[error("{asked} s were asked for, over the grant's maximum of {maximum} s")]
    OverMaximum { asked: SessionDuration, maximum: SessionDuration },
    /// The session would have to end with the token, which ends too soon.
    #[error("the token ends in less than 900 s, and the session would have to end with it")]
    TokenEndsTooSoon,
    /// The federated name belongs to another, or to nobody although an operator has to register it.
    #[error("the federated name `{name}` is {}", owner.as_ref().map_or("not registered".into(), |owner| format!("owned by `{owner}`")))]
    NameOwned {
        /// The name, as its owner is recorded.
        name: String,
        /// The owner, if there is one.
        owner: Option<String>,
    },
    /// A session that works from one address needs one, and the gateway gave none.
    #[error("the event has no source address, which this grant needs")]
    NoSourceAddress,
}

/// The grant's fault: an operator has to fix it, or the claim that it needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// An item is not well-formed.
    #[error("the item of `{principal}` is unusable: {problems}")]
    Item {
        /// The principal that it is for.
        principal: Principal,
        /// Everything that is wrong with it.
        problems: Problems,
    },
    /// Nothing can meet what the items require together.
    #[error("nothing can meet {0} of all the items that match")]
    Contradiction(String),
    /// The caller has no federated name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A template cannot be filled in for this caller.
    #[error("the item of `{principal}` is unusable for this caller: {error}")]
    Template {
        /// The principal that the item is for.
        principal: Principal,
        error: ClaimError,
    },
    /// STS does not accept the tags.
    #[error(transparent)]
    Tags(#[from] TagError),
    /// The items together have a longer policy than STS accepts.
    #[error("the merged policy has {characters} characters, and STS takes at most 2048")]
    PolicyTooLarge {
        /// The length of the minified policy.
        characters: usize,
    },
    /// The items together have more statements than STS accepts.
    #[error("the merged policy has more statements than fit into the 2048 characters that STS takes")]
    TooManyStatements,
    /// The items together name more managed policies than STS accepts.
    #[error("the items name {0} managed policies together, and STS takes at most 10")]
    TooManyArns(usize),
}

impl Denied {
    /// The name in the audit line.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Refused(refused) => refused.reason(),
            Self::Unusable(unusable) => unusable.reason(),
        }
    }
}

impl Denied {
    /// The code that a client reads.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Refused(refused) => refused.code(),
            Self::Unusable(_) => Code::GrantUnusable,
        }
    }
}

impl Refused {
    const fn code(&self) -> Code {
        match self {
            Self::Blocked(_)
            | Self::NoGrant
            | Self::Disabled(_)
            | Self::OutOfTime
            | Self::ClaimRefused(_)
            | Self::NameOwned { .. } => Code::AccessDenied,
            Self::StepUp(_) => Code::InsufficientUserAuthentication,
            Self::TokenEndsTooSoon => Code::InvalidToken,
            Self::OverMaximum { .. } | Self::NoSourceAddress => Code::InvalidRequest,
        }
    }

    /// The name in the audit line.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Blocked(_) => "blocked",
            Self::NoGrant => "no_grant",
            Self::Disabled(_) => "disabled",
            Self::OutOfTime => "out_of_time",
            Self::ClaimRefused(_) => "claim_refused",
            Self::StepUp(_) => "step_up",
            Self::OverMaximum { .. } => "over_maximum",
            Self::TokenEndsTooSoon => "token_ends_too_soon",
            Self::NameOwned { .. } => "name_owned",
            Self::NoSourceAddress => "no_source_address",
        }
    }
}

impl Unusable {
    /// The name in the audit line.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Item { .. } => "item_unusable",
            Self::Contradiction(_) => "requirements_contradict",
            Self::Name(_) => "name_unusable",
            Self::Template { .. } => "claim_unusable",
            Self::Tags(_) => "tags_unusable",
            Self::PolicyTooLarge { .. } => "policy_too_large",
            Self::TooManyStatements => "too_many_statements",
            Self::TooManyArns(_) => "too_many_arns",
        }
    }
}
