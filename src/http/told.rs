//! What does a client read when a request fails?
//!
//! One exhaustive match from failures to codes and messages: a new failure does not compile until somebody has decided
//! what a stranger may read of it. The audit line has all of it.

use std::borrow::Cow;
use std::time::Duration;

use lambda_http::http::{HeaderName, HeaderValue, header};

use crate::audit::Outcome;
use crate::broker::Failure;
use crate::credentials::{KeyError, StsError};
use crate::grants::{Denied, Refused, StepUp, StoreError, Unsettled};
use crate::http::parameters::Invalid;
use crate::identity::{IdentityError, Tells};
use crate::net::aws::Upstream;
use crate::wire::{Code, Problem, Requires};

/// When to ask again after a service failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// CloudWatch takes 256 KiB in one line. What an operator needs fits into a fraction of it.
const MAX_DETAIL_CHARS: usize = 4_096;

const NO_TOKEN: &str = "send the token in `Authorization`, as `Bearer` and the token";
const NOT_ACCEPTABLE: &str = "the token is not acceptable";
const NO_PROVIDER: &str = "the identity provider cannot be reached; try again";
const NO_GRANT: &str = "no such grant for this caller";
const NOT_THEIR_NAME: &str = "your federated name belongs to another caller or is not registered; ask the operator";
const UNUSABLE: &str = "this grant is misconfigured; ask its operator, and quote `requestId`";
const KEY_REFUSED: &str = "the broker key does not work; ask the operator to fix it, and quote `requestId`";
const UNAVAILABLE: &str = "a required service is busy or cannot be reached; try again";
const INTERNAL: &str = "something went wrong on our side; ask the operator, and quote `requestId`";

/// A refusal on its way to the client and to the audit line.
#[derive(Debug)]
pub(super) struct Told {
    code: Code,
    message: String,
    header: Option<(HeaderName, HeaderValue)>,
    /// What a stronger sign-in has to be.
    requires: Requires,
    reason: &'static str,
    detail: String,
}

/// The table: what a client reads of each failure. `itself` is the failure in words. It is never told of another
/// service's failure, and of a token only after its signature was verified.
#[expect(clippy::match_same_arms, reason = "one row for each variant")]
fn row<'a>(failure: &Failure, itself: &'a str) -> (Code, Cow<'a, str>) {
    match failure {
        Failure::TokenMissing => (Code::TokenMissing, NO_TOKEN.into()),
        Failure::Identity(IdentityError::Refused(refusal)) => match refusal.tells() {
            Tells::Nothing => (Code::InvalidToken, NOT_ACCEPTABLE.into()),
            Tells::Reason => (Code::InvalidToken, itself.into()),
            Tells::Groups => (Code::GroupsUnavailable, itself.into()),
        },
        Failure::Identity(IdentityError::ProviderUnavailable { .. }) => {
            (Code::IdentityProviderUnavailable, NO_PROVIDER.into())
        }
        Failure::Invalid(Invalid::Request(_)) => (Code::InvalidRequest, itself.into()),
        Failure::Invalid(Invalid::TooLarge) => (Code::ContentTooLarge, itself.into()),
        Failure::Invalid(Invalid::MediaType) => (Code::UnsupportedMediaType, itself.into()),
        Failure::Denied(Denied::Refused(refused)) => match refused {
            Refused::Blocked(_) => (Code::AccessDenied, NO_GRANT.into()),
            Refused::NoGrant => (Code::AccessDenied, NO_GRANT.into()),
            Refused::Disabled(_) => (Code::AccessDenied, NO_GRANT.into()),
            Refused::OutOfTime => (Code::AccessDenied, NO_GRANT.into()),
            Refused::ClaimRefused(_) => (Code::AccessDenied, NO_GRANT.into()),
            Refused::StepUp(_) => (Code::InsufficientUserAuthentication, itself.into()),
            Refused::OverMaximum { maximum, .. } => {
                let message = format!("`duration` is over this grant's maximum of {maximum} seconds");
                (Code::InvalidRequest, message.into())
            }
            Refused::TokenEndsTooSoon => (Code::InvalidToken, itself.into()),
            Refused::NameOwned { .. } => (Code::AccessDenied, NOT_THEIR_NAME.into()),
            Refused::NoSourceAddress => (Code::InvalidRequest, itself.into()),
        },
        Failure::Denied(Denied::Unusable(_)) => (Code::GrantUnusable, UNUSABLE.into()),
        Failure::Unsettled(Unsettled::NameTaken(_)) => (Code::AccessDenied, NOT_THEIR_NAME.into()),
        Failure::Unsettled(Unsettled::TokenSpent) => (Code::InvalidToken, itself.into()),
        Failure::Store(error) | Failure::Unsettled(Unsettled::Store(error)) => match error {
            StoreError::Upstream(error) => upstream(error),
            StoreError::Incomplete => (Code::TemporarilyUnavailable, UNAVAILABLE.into()),
            StoreError::Unexpected => (Code::Internal, INTERNAL.into()),
            StoreError::RecordMalformed(_) => (Code::Internal, INTERNAL.into()),
        },
        Failure::Key(error) => match error {
            KeyError::NotMade => (Code::TemporarilyUnavailable, UNAVAILABLE.into()),
            KeyError::Malformed => (Code::BrokerKeyRefused, KEY_REFUSED.into()),
            KeyError::Upstream(error) => upstream(error),
            KeyError::NotReplaced => (Code::TemporarilyUnavailable, UNAVAILABLE.into()),
            KeyError::Lost => (Code::TemporarilyUnavailable, UNAVAILABLE.into()),
        },
        Failure::Sts(error) => match error {
            StsError::KeyRefused(_) => (Code::BrokerKeyRefused, KEY_REFUSED.into()),
            StsError::GrantRefused(_) => (Code::GrantUnusable, UNUSABLE.into()),
            StsError::Upstream(error) => upstream(error),
            StsError::Incomplete => (Code::Internal, INTERNAL.into()),
        },
        Failure::TooSlow => (Code::TemporarilyUnavailable, UNAVAILABLE.into()),
        Failure::Unaudited => (Code::Internal, INTERNAL.into()),
        Failure::Panicked => (Code::Internal, INTERNAL.into()),
    }
}

const fn upstream<'a>(error: &Upstream) -> (Code, Cow<'a, str>) {
    match error {
        Upstream::Unavailable { .. } => (Code::TemporarilyUnavailable, Cow::Borrowed(UNAVAILABLE)),
        Upstream::Refused { .. } => (Code::Internal, Cow::Borrowed(INTERNAL)),
    }
}

impl Told {
    /// What becomes of a failure.
    pub(super) fn of(failure: &Failure) -> Self {
        let detail = failure.to_string();
        let (code, message) = row(failure, &detail);
        let message = message.into_owned();
        let mut told =
            Self { code, message, header: None, requires: Requires::default(), reason: failure.reason(), detail };
        let challenge = |text: &str| HeaderValue::try_from(text).ok().map(|text| (header::WWW_AUTHENTICATE, text));
        if let Failure::Denied(Denied::Refused(Refused::StepUp(step_up))) = failure {
            told.requires = requires(step_up.clone());
        }
        told.header = match code {
            Code::TokenMissing => challenge("Bearer"),
            Code::InvalidToken => challenge("Bearer error=\"invalid_token\""),
            Code::InsufficientUserAuthentication => challenge(&stronger_sign_in(&told.message, &told.requires)),
            Code::IdentityProviderUnavailable | Code::TemporarilyUnavailable => Some(retry_after(failure)),
            Code::InvalidRequest
            | Code::GroupsUnavailable
            | Code::AccessDenied
            | Code::NotFound
            | Code::MethodNotAllowed
            | Code::ContentTooLarge
            | Code::UnsupportedMediaType
            | Code::GrantUnusable
            | Code::BrokerKeyRefused
            | Code::Internal
            | Code::Unknown => None,
        };
        told
    }

    /// An event that is not a request.
    pub(super) fn malformed(problem: &'static str) -> Self {
        Self::of(&Failure::Invalid(Invalid::Request(problem)))
    }

    /// No route has this path.
    pub(super) fn not_found() -> Self {
        Self::of_route(Code::NotFound, "there is nothing at this path".to_owned(), None)
    }

    /// The route has other methods.
    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        let header = (header::ALLOW, HeaderValue::from_static(allow));
        Self::of_route(Code::MethodNotAllowed, format!("this path takes {allow}"), Some(header))
    }

    fn of_route(code: Code, message: String, header: Option<(HeaderName, HeaderValue)>) -> Self {
        let detail = message.clone();
        Self { code, message, header, requires: Requires::default(), reason: code.as_str(), detail }
    }

    pub(super) fn outcome(&self) -> Outcome {
        let detail = self.detail.chars().take(MAX_DETAIL_CHARS).collect();
        Outcome::Refused { code: self.code, reason: self.reason, detail }
    }

    /// The body, and the header that belongs to it.
    pub(super) fn answer(self, request_id: String) -> (Problem, Option<(HeaderName, HeaderValue)>) {
        let Self { code, message, header, requires, .. } = self;
        (Problem { code, message, request_id, requires }, header)
    }
}

/// The challenge of RFC 9470 §3: the whole requirement, so that one more sign-in is enough.
fn stronger_sign_in(message: &str, requires: &Requires) -> String {
    let acr_values = (!requires.acr_values.is_empty()).then(|| requires.acr_values.join(" "));
    let max_age = requires.max_age.map(|max_age| max_age.to_string());
    let asked = [("acr_values", acr_values), ("max_age", max_age)].into_iter();
    let asked: String = asked.filter_map(|(name, value)| Some(format!(", {name}=\"{}\"", value?))).collect();
    let code = Code::InsufficientUserAuthentication;
    format!("Bearer error=\"{code}\", error_description=\"{message}\"{asked}")
}

fn retry_after(failure: &Failure) -> (HeaderName, HeaderValue) {
    let wait = if let Failure::Identity(IdentityError::ProviderUnavailable { retry_after }) = failure {
        *retry_after
    } else {
        RETRY_AFTER
    };
    // Rounded up: asking a moment too early would be in vain.
    let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1);
    (header::RETRY_AFTER, HeaderValue::from(seconds))
}

/// What is asked of a sign-in, as bodies have it.
pub(super) fn requires(step_up: StepUp) -> Requires {
    let StepUp { acr_values, amr_values, max_age } = step_up;
    Requires { acr_values, amr_values, max_age }
}
