//! What does a client hear when there is no session?
//!
//! One exhaustive match from failures to answers: a new failure does not compile until somebody has decided what
//! a stranger may hear of it. The log hears all of it.

use std::time::Duration;

use lambda_http::http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::broker::Failure;
use crate::credentials::{KeyError, StsError};
use crate::grants::{Denied, StepUp, StoreError, Unsettled};
use crate::http::parameters::Invalid;
use crate::identity::{IdentityError, Tells};
use crate::net::aws::Upstream;

/// When asking again is worth it after an upstream failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// An error on its way to a client (RFC 9457).
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    title: &'static str,
    message: String,
    pub(super) header: Option<(HeaderName, HeaderValue)>,
    /// What a stronger sign-in has to be.
    step_up: Option<StepUp>,
    pub(super) reason: &'static str,
    pub(super) detail: String,
}

impl Problem {
    /// What the client hears of a failure. It never hears an upstream's own text, and before the signature of its
    /// token was verified nothing but the code.
    #[expect(clippy::too_many_lines, reason = "the table of failures, to be read as one")]
    pub(super) fn of(failure: &Failure) -> Self {
        let detail = failure.to_string();
        let plain = |reason, code, status, title, message: &str| Self {
            status,
            code,
            title,
            message: message.to_owned(),
            header: None,
            step_up: None,
            reason,
            detail: detail.clone(),
        };
        let invalid_token = |reason, message: &str| {
            let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
            plain(reason, "invalid_token", StatusCode::UNAUTHORIZED, "Token not acceptable", message)
                .with(header::WWW_AUTHENTICATE, challenge)
        };
        let denied = |reason, message| plain(reason, "access_denied", StatusCode::FORBIDDEN, "Access denied", message);
        let unusable = |reason| {
            let message = "the grant cannot be turned into a session; the log says what has to be mended";
            plain(reason, "grant_unusable", StatusCode::INTERNAL_SERVER_ERROR, "Grant unusable", message)
        };
        let unavailable = |reason| {
            let message = "a service that is needed cannot be reached; try again";
            plain(
                reason,
                "temporarily_unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                "Temporarily unavailable",
                message,
            )
            .retry_after(RETRY_AFTER)
        };
        let key_refused = |reason| {
            let message = "the broker key is not usable; its operator has to mend it";
            plain(reason, "broker_key_refused", StatusCode::INTERNAL_SERVER_ERROR, "Broker key refused", message)
        };
        let internal = |reason| {
            let message = "something is wrong on our side; the log says what";
            plain(reason, "internal", StatusCode::INTERNAL_SERVER_ERROR, "Internal error", message)
        };
        let upstream = |error: &Upstream| match error {
            Upstream::Unavailable { .. } => unavailable("upstream_unavailable"),
            Upstream::Refused { .. } => internal("upstream_refused"),
        };
        let store = |error: &StoreError| match error {
            StoreError::Upstream(error) => upstream(error),
            StoreError::Incomplete => unavailable("grants_incomplete"),
            StoreError::Unexpected => internal("grants_unexpected"),
            StoreError::RecordMalformed(_) => internal("record_malformed"),
        };
        match failure {
            Failure::TokenMissing => {
                let message = "send the token in `Authorization`, as `Bearer` and the token";
                plain("token_missing", "token_missing", StatusCode::UNAUTHORIZED, "Token missing", message)
                    .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
            }
            Failure::Identity(IdentityError::Refused(refusal)) => match refusal.tells() {
                Tells::Nothing => invalid_token(refusal.reason(), "the token is not acceptable"),
                Tells::Reason => invalid_token(refusal.reason(), &detail),
                Tells::Groups => {
                    let title = "Groups unavailable";
                    plain(refusal.reason(), "groups_unavailable", StatusCode::FORBIDDEN, title, &detail)
                }
            },
            Failure::Identity(IdentityError::ProviderUnavailable { retry_after }) => {
                let code = "identity_provider_unavailable";
                let message = "the identity provider's keys cannot be had; try again";
                plain(code, code, StatusCode::SERVICE_UNAVAILABLE, "Identity provider unavailable", message)
                    .retry_after(*retry_after)
            }
            Failure::Invalid(invalid) => Self::invalid(*invalid),
            Failure::Denied(why) => match why {
                Denied::Blocked(_) => denied("blocked", "no such grant for this caller"),
                Denied::NoGrant => denied("no_grant", "no such grant for this caller"),
                Denied::Disabled(_) => denied("disabled", "no such grant for this caller"),
                Denied::OutOfTime => denied("out_of_time", "no such grant for this caller"),
                Denied::ClaimRefused(_) => denied("claim_refused", "no such grant for this caller"),
                Denied::StepUp(step_up) => Self::stronger_sign_in(step_up, &detail),
                Denied::NameOwned { .. } => denied("name_owned", "this caller's federated name is not this caller's"),
                Denied::NoSourceAddress => Self {
                    reason: "no_source_address",
                    ..Self::malformed("the event has no source address, which this grant needs")
                },
                Denied::OverMaximum { maximum, .. } => {
                    let message = format!("`duration` is over this grant's maximum of {maximum} seconds");
                    plain("over_maximum", "invalid_request", StatusCode::BAD_REQUEST, "Invalid request", &message)
                }
                Denied::TokenEndsTooSoon => invalid_token("token_ends_too_soon", &detail),
                Denied::Unusable { .. } => unusable("item_unusable"),
                Denied::Contradiction(_) => unusable("requirements_contradict"),
                Denied::Name(_) => unusable("name_unusable"),
                Denied::Template { .. } => unusable("claim_unusable"),
                Denied::Tags(_) => unusable("tags_unusable"),
                Denied::PolicyTooLarge { .. } => unusable("policy_too_large"),
                Denied::TooManyStatements => unusable("too_many_statements"),
                Denied::TooManyArns(_) => unusable("too_many_arns"),
            },
            Failure::Store(error) => store(error),
            Failure::Unsettled(unsettled) => match unsettled {
                Unsettled::NameTaken(_) => denied("name_owned", "this caller's federated name is not this caller's"),
                Unsettled::TokenSpent => invalid_token("token_spent", &detail),
                Unsettled::Store(error) => store(error),
            },
            Failure::Key(error) => match error {
                KeyError::NotMade => unavailable("broker_key_not_made"),
                KeyError::Malformed => key_refused("broker_key_malformed"),
                KeyError::Upstream(error) => upstream(error),
                KeyError::NotReplaced => unavailable("broker_key_not_replaced"),
                KeyError::Lost => unavailable("broker_key_lost"),
            },
            Failure::Sts(error) => match error {
                StsError::KeyRefused(_) => key_refused("sts_refused_key"),
                StsError::GrantRefused(_) => unusable("sts_refused_session"),
                StsError::Upstream(error) => upstream(error),
                StsError::Incomplete => internal("sts_incomplete"),
            },
            Failure::TooSlow => unavailable("too_slow"),
            Failure::Unaudited => internal("unaudited"),
            Failure::Panicked => internal("panicked"),
        }
    }

    /// The challenge of RFC 9470 §3: the whole requirement, so that one more sign-in is enough.
    fn stronger_sign_in(step_up: &StepUp, message: &str) -> Self {
        let code = "insufficient_user_authentication";
        let acr_values = (!step_up.acr_values.is_empty()).then(|| step_up.acr_values.join(" "));
        let max_age = step_up.max_age.map(|max_age| max_age.to_string());
        let asked = [("acr_values", acr_values), ("max_age", max_age)].into_iter();
        let asked: String = asked.filter_map(|(name, value)| Some(format!(", {name}=\"{}\"", value?))).collect();
        let challenge = format!("Bearer error=\"{code}\", error_description=\"{message}\"{asked}");
        let header = HeaderValue::try_from(challenge).ok().map(|challenge| (header::WWW_AUTHENTICATE, challenge));
        Self {
            status: StatusCode::UNAUTHORIZED,
            code,
            title: "Stronger sign-in needed",
            message: message.to_owned(),
            header,
            step_up: Some(step_up.clone()),
            reason: "step_up",
            detail: message.to_owned(),
        }
    }

    fn invalid(invalid: Invalid) -> Self {
        let (status, code, title) = match invalid {
            Invalid::Request(_) => (StatusCode::BAD_REQUEST, "invalid_request", "Invalid request"),
            Invalid::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "content_too_large", "Content too large"),
            Invalid::MediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "Unsupported media type")
            }
        };
        let message = invalid.to_string();
        Self { status, code, title, detail: message.clone(), message, header: None, step_up: None, reason: code }
    }

    pub(super) fn malformed(message: &'static str) -> Self {
        Self::invalid(Invalid::Request(message))
    }

    pub(super) fn not_found() -> Self {
        let message = "there is nothing at this path".to_owned();
        let (code, title) = ("not_found", "Not found");
        let detail = message.clone();
        Self { status: StatusCode::NOT_FOUND, code, title, message, header: None, step_up: None, reason: code, detail }
    }

    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        let message = format!("this path takes {allow}");
        let (code, title) = ("method_not_allowed", "Method not allowed");
        let detail = message.clone();
        Self {
            status: StatusCode::METHOD_NOT_ALLOWED,
            code,
            title,
            message,
            header: None,
            step_up: None,
            reason: code,
            detail,
        }
        .with(header::ALLOW, HeaderValue::from_static(allow))
    }

    /// The body, as RFC 9457 §3 has it, with the `code` and `message` that AWS SDKs read. The JavaScript SDK reads only
    /// `Code` and `Message`.
    pub(super) fn body(&self, request_id: &str) -> Value {
        let mut body = json!({
            "type": format!("urn:hallpass:problem:{}", self.code),
            "title": self.title,
            "status": self.status.as_u16(),
            "requestId": request_id,
            "code": self.code,
            "message": self.message,
            "Code": self.code,
            "Message": self.message,
        });
        if let (Some(step_up), Some(members)) = (&self.step_up, body.as_object_mut()) {
            members.extend(sign_in(step_up));
        }
        body
    }

    fn with(self, name: HeaderName, value: HeaderValue) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    fn retry_after(self, wait: Duration) -> Self {
        // Rounded up: asking a moment too early would be in vain.
        let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1);
        self.with(header::RETRY_AFTER, HeaderValue::from(seconds))
    }
}

/// What is asked of a sign-in, as members; what is not asked for is left out.
pub(super) fn sign_in(step_up: &StepUp) -> Map<String, Value> {
    let StepUp { acr_values, amr_values, max_age } = step_up;
    let lists =
        [("acr_values", acr_values), ("amr_values", amr_values)].into_iter().filter(|(_, list)| !list.is_empty());
    let lists = lists.map(|(name, list)| (name.to_owned(), json!(list)));
    lists.chain(max_age.map(|max_age| ("max_age".to_owned(), json!(max_age)))).collect()
}
