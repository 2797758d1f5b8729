//! What does a client read when a request fails?
//!
//! One exhaustive match from errors to codes and messages: a new error does not compile until somebody has decided
//! what a stranger may read of it. The audit line has all of it.

use std::borrow::Cow;
use std::time::Duration;

use lambda_http::http::{HeaderName, HeaderValue, header};

use crate::audit::Outcome;
use crate::broker::RequestError;
use crate::credentials::{KeyError, StsError};
use crate::grants::{Denied, Refused, SettleError, StepUp, StoreError};
use crate::http::parameters::ParametersError;
use crate::identity::{Disclosure, IdentityError};
use crate::net::aws::Upstream;
use crate::net::public_url::PublicUrl;
use crate::wire::{Code, Metadata, Problem, Requires};

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

/// An error on its way to the client and to the audit line.
#[derive(Debug)]
pub(super) struct ErrorResponse {
    code: Code,
    message: String,
    /// What goes with the code, but for a challenge.
    header: Option<(HeaderName, HeaderValue)>,
    /// What a stronger sign-in has to be.
    requires: Requires,
    reason: &'static str,
    detail: String,
}

/// The table: what a client reads of each error. `itself` is the error in words. A client never reads that of another
/// service's failure, and that of a token only after its signature was verified.
#[expect(clippy::match_same_arms, reason = "one row for each variant")]
fn row<'a>(error: &RequestError, itself: &'a str) -> (Code, Cow<'a, str>) {
    match error {
        RequestError::TokenMissing => (Code::TokenMissing, NO_TOKEN.into()),
        RequestError::Identity(IdentityError::Token(error)) => {
            let message = if error.disclosure() == Disclosure::Nothing { NOT_ACCEPTABLE } else { itself };
            (error.code(), message.into())
        }
        RequestError::Identity(IdentityError::ProviderUnavailable { .. }) => {
            (Code::IdentityProviderUnavailable, NO_PROVIDER.into())
        }
        RequestError::Parameters(ParametersError::Request(_)) => (Code::InvalidRequest, itself.into()),
        RequestError::Parameters(ParametersError::TooLarge) => (Code::ContentTooLarge, itself.into()),
        RequestError::Parameters(ParametersError::MediaType) => (Code::UnsupportedMediaType, itself.into()),
        RequestError::Denied(denied) => (denied.code(), denied_message(denied, itself)),
        RequestError::Settle(SettleError::NameTaken(_)) => (Code::AccessDenied, NOT_THEIR_NAME.into()),
        RequestError::Settle(SettleError::TokenSpent) => (Code::InvalidToken, itself.into()),
        RequestError::Store(error) | RequestError::Settle(SettleError::Store(error)) => match error {
            StoreError::Upstream(error) => upstream(error),
            StoreError::Incomplete => (Code::TemporarilyUnavailable, UNAVAILABLE.into()),
            StoreError::Unexpected => (Code::Internal, INTERNAL.into()),
            StoreError::RecordMalformed(_) => (Code::Internal, INTERNAL.into()),
        },
        RequestError::Key(error) => match error {
            KeyError::NotMade => (Code::TemporarilyUnavailable, UNAVAILABLE.into()),
            KeyError::Malformed => (Code::BrokerKeyRefused, KEY_REFUSED.into()),
            KeyError::Upstream(error) => upstream(error),
            KeyError::NotReplaced => (Code::TemporarilyUnavailable, UNAVAILABLE.into()),
            KeyError::Lost => (Code::TemporarilyUnavailable, UNAVAILABLE.into()),
        },
        RequestError::Sts(error) => match error {
            StsError::KeyRefused(_) => (Code::BrokerKeyRefused, KEY_REFUSED.into()),
            StsError::GrantRefused(_) => (Code::GrantUnusable, UNUSABLE.into()),
            StsError::Upstream(error) => upstream(error),
            StsError::Incomplete => (Code::Internal, INTERNAL.into()),
        },
        RequestError::SignIn(_) => (Code::TemporarilyUnavailable, UNAVAILABLE.into()),
        RequestError::TooSlow => (Code::TemporarilyUnavailable, UNAVAILABLE.into()),
        RequestError::Unaudited => (Code::Internal, INTERNAL.into()),
        RequestError::Panicked => (Code::Internal, INTERNAL.into()),
    }
}

/// What a client reads of a grant that it does not get. That there is a grant is told only to those who can have it.
#[expect(clippy::match_same_arms, reason = "one row for each variant")]
fn denied_message<'a>(denied: &Denied, itself: &'a str) -> Cow<'a, str> {
    let refused = match denied {
        Denied::Refused(refused) => refused,
        Denied::Unusable(_) => return UNUSABLE.into(),
    };
    match refused {
        Refused::Blocked(_) => NO_GRANT.into(),
        Refused::NoGrant => NO_GRANT.into(),
        Refused::Disabled(_) => NO_GRANT.into(),
        Refused::OutOfTime => NO_GRANT.into(),
        Refused::ClaimRefused(_) => NO_GRANT.into(),
        Refused::StepUp(_) => itself.into(),
        Refused::OverMaximum { maximum, .. } => {
            format!("`duration` is over this grant's maximum of {maximum} seconds").into()
        }
        Refused::TokenEndsTooSoon => itself.into(),
        Refused::NameOwned { .. } => NOT_THEIR_NAME.into(),
        Refused::NoSourceAddress => itself.into(),
    }
}

const fn upstream<'a>(error: &Upstream) -> (Code, Cow<'a, str>) {
    match error {
        Upstream::Unavailable { .. } => (Code::TemporarilyUnavailable, Cow::Borrowed(UNAVAILABLE)),
        Upstream::Refused { .. } => (Code::Internal, Cow::Borrowed(INTERNAL)),
    }
}

impl ErrorResponse {
    /// What becomes of an error.
    pub(super) fn of(error: &RequestError) -> Self {
        let detail = error.to_string();
        let (code, message) = row(error, &detail);
        let message = message.into_owned();
        let requires = if let RequestError::Denied(Denied::Refused(Refused::StepUp(step_up))) = error {
            requires(step_up.clone())
        } else {
            Requires::default()
        };
        let header = matches!(code, Code::IdentityProviderUnavailable | Code::TemporarilyUnavailable)
            .then(|| retry_after(error));
        Self { code, message, header, requires, reason: error.reason(), detail }
    }

    /// An event that is not a request.
    pub(super) fn malformed(problem: &'static str) -> Self {
        Self::of(&RequestError::Parameters(ParametersError::Request(problem)))
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

    /// The body, and the header that belongs to it. A challenge says where the metadata of `resource` is.
    pub(super) fn answer(
        self,
        request_id: String,
        resource: Option<&PublicUrl>,
    ) -> (Problem, Option<(HeaderName, HeaderValue)>) {
        let challenge = self.challenge(resource).and_then(|text| HeaderValue::try_from(text).ok());
        let Self { code, message, header, requires, .. } = self;
        let header = challenge.map(|challenge| (header::WWW_AUTHENTICATE, challenge)).or(header);
        (Problem { code, message, request_id, requires }, header)
    }

    /// What a 401 asks for: a token (RFC 6750 §3), or a stronger sign-in (RFC 9470 §3), the whole requirement, so that one
    /// more sign-in is enough.
    fn challenge(&self, resource: Option<&PublicUrl>) -> Option<String> {
        let code = self.code;
        let Requires { acr_values, max_age, .. } = &self.requires;
        let stronger = code == Code::InsufficientUserAuthentication;
        let parameters = [
            ("error", (code != Code::TokenMissing).then(|| code.to_string())),
            ("error_description", stronger.then(|| self.message.clone())),
            ("acr_values", (!acr_values.is_empty()).then(|| acr_values.join(" "))),
            ("max_age", max_age.map(|max_age| max_age.to_string())),
            ("resource_metadata", resource.map(|resource| Metadata::url(resource.as_str()))),
        ];
        let parameters = parameters.into_iter().filter_map(|(name, value)| Some(format!("{name}=\"{}\"", value?)));
        let parameters = parameters.collect::<Vec<_>>().join(", ");
        (code.status() == 401).then(|| format!("Bearer {parameters}").trim_end().to_owned())
    }
}

fn retry_after(error: &RequestError) -> (HeaderName, HeaderValue) {
    let wait = if let RequestError::Identity(IdentityError::ProviderUnavailable { retry_after }) = error {
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
