//! How is an event answered, whatever it holds?

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::FutureExt;
use lambda_http::Body;
use lambda_http::aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use lambda_http::http::{HeaderValue, Method, StatusCode, header};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::cors::Cors;
use super::event::{header_problem, is_request_id, repeats_header};
use super::presented::token;
use super::route::Route;
use super::sent::{no_parameters, parameters};
use super::told::{Problem, sign_in};
use crate::audit::{Outcome, Record, capped};
use crate::broker::{Broker, Failure, Granted};
use crate::grants::Offer;
use crate::time::rfc3339;

/// Of what an operator reads in the audit line.
const MAX_DETAIL_CHARS: usize = 4_096;
/// The function: answers every event, whatever it holds.
#[derive(Debug, Clone)]
pub struct Function {
    broker: Arc<Broker>,
    cors: Arc<Cors>,
}

/// An answer before the headers that all answers have.
#[derive(Debug)]
enum Reply {
    Preflight,
    Health { body: bool },
    Credentials(Granted),
    Grants(Vec<Offer>),
    Problem(Problem),
}

impl Function {
    /// Answers for `broker`; browsers may call from `allowed_origins`.
    #[must_use]
    pub fn new(broker: Arc<Broker>, allowed_origins: Vec<String>) -> Self {
        Self { broker, cors: Arc::new(Cors::new(allowed_origins)) }
    }

    /// Answers one event and writes its audit line.
    pub async fn answer(&self, event: Value, lambda_request_id: &str, now: SystemTime) -> ApiGatewayV2httpResponse {
        let mut record = Record {
            request_id: lambda_request_id.to_owned(),
            lambda_request_id: lambda_request_id.to_owned(),
            ..Record::default()
        };
        let mut origin = None;
        // No event may cost more than its own answer, not even by a mistake of ours.
        let replying = AssertUnwindSafe(self.reply(event, &mut record, &mut origin, now)).catch_unwind();
        let reply = replying.await.unwrap_or_else(|_| Reply::Problem(Problem::of(&Failure::Panicked)));
        let outcome = reply.outcome();
        self.broker.audit().outcome(&record, &outcome, now);
        self.respond(reply, &record, origin.as_ref())
    }

    async fn reply(
        &self,
        event: Value,
        record: &mut Record,
        origin: &mut Option<HeaderValue>,
        now: SystemTime,
    ) -> Reply {
        if repeats_header(&event) {
            return Reply::Problem(Problem::malformed("the event has two headers of one name"));
        }
        let event: ApiGatewayV2httpRequest = match serde_json::from_value(event) {
            Ok(event) => event,
            Err(_) => return Reply::Problem(Problem::malformed("the event is not one of an HTTP API (payload 2.0)")),
        };
        let context = &event.request_context;
        let method = &context.http.method;
        if let Some(id) = context.request_id.as_deref().filter(|id| is_request_id(id)) {
            id.clone_into(&mut record.request_id);
        }
        record.route = Some(capped(&format!("{method} {}", event.raw_path.as_deref().unwrap_or_default())));
        record.source_ip = context.http.source_ip.as_deref().map(capped);
        record.user_agent = context.http.user_agent.as_deref().map(capped);
        *origin = event.headers.get(header::ORIGIN).cloned();
        tracing::trace!(request.id = record.request_id, "request understood as an event");

        if let Some(problem) = header_problem(&event.headers) {
            return Reply::Problem(Problem::malformed(problem));
        }
        let Some((route, grant)) = Route::of(&event) else { return Reply::Problem(Problem::not_found()) };
        if !route.allows(method) {
            return Reply::Problem(Problem::method_not_allowed(route.allow()));
        }
        let address = context.http.source_ip.as_deref().and_then(|address| address.parse().ok());
        match (route, method) {
            (_, &Method::OPTIONS) => Reply::Preflight,
            (Route::Health, method) => Reply::Health { body: method != Method::HEAD },
            (Route::Credentials | Route::CredentialsOfGrant, _) => {
                let token = token(&event.headers);
                let deciding = self.broker.credentials(token, parameters(&event, grant), address, record, now);
                let decided = Box::pin(deciding).await;
                decided.map_or_else(|failure| Reply::Problem(Problem::of(&failure)), Reply::Credentials)
            }
            (Route::Grants, _) => {
                let token = token(&event.headers);
                let found = self.broker.grants(token, no_parameters(&event), address, record, now).await;
                found.map_or_else(|failure| Reply::Problem(Problem::of(&failure)), Reply::Grants)
            }
        }
    }

    fn respond(&self, reply: Reply, record: &Record, origin: Option<&HeaderValue>) -> ApiGatewayV2httpResponse {
        let preflight = matches!(reply, Reply::Preflight);
        let mut response = ApiGatewayV2httpResponse::default();
        let headers = &mut response.headers;
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let (status, media_type, body) = match reply {
            Reply::Preflight => (StatusCode::NO_CONTENT, None, None),
            Reply::Health { body } => {
                let version = body.then(|| json!({"version": env!("CARGO_PKG_VERSION")}));
                (StatusCode::OK, Some("application/json"), version)
            }
            Reply::Credentials(granted) => (StatusCode::OK, Some("application/json"), Some(body(&granted))),
            Reply::Grants(offers) => {
                let offers: Vec<Value> = offers.iter().map(offer).collect();
                (StatusCode::OK, Some("application/json"), Some(json!({ "grants": offers })))
            }
            Reply::Problem(problem) => {
                let body = problem.body(&record.request_id);
                headers.extend(problem.header);
                (problem.status, Some("application/problem+json"), Some(body))
            }
        };
        response.status_code = status.as_u16().into();
        headers.extend(media_type.map(|media_type| (header::CONTENT_TYPE, HeaderValue::from_static(media_type))));
        self.cors.share(headers, preflight, origin);
        response.body = body.map(|body| Body::Text(body.to_string()));
        response
    }
}

impl Reply {
    fn outcome(&self) -> Outcome {
        let ok = |status: StatusCode, code| Outcome { status: status.as_u16(), code, reason: None, detail: None };
        match self {
            Self::Preflight => ok(StatusCode::NO_CONTENT, "preflight"),
            Self::Health { .. } => ok(StatusCode::OK, "healthy"),
            Self::Credentials(_) => ok(StatusCode::OK, "issued"),
            Self::Grants(_) => ok(StatusCode::OK, "listed"),
            Self::Problem(problem) => Outcome {
                status: problem.status.as_u16(),
                code: problem.code,
                reason: Some(problem.reason),
                // CloudWatch takes 256 KiB in one line; what matters fits into a fraction of it.
                detail: Some(problem.detail.chars().take(MAX_DETAIL_CHARS).collect()),
            },
        }
    }
}

/// The one body for `credential_process`, container-credentials providers and people. No member is called `code` or
/// `Code`, which some SDKs take for an error.
#[expect(
    clippy::disallowed_methods,
    reason = "the caller who was authorized gets the secrets; nothing else reads this body"
)]
fn body(granted: &Granted) -> Value {
    let issued = &granted.issued;
    let token = issued.session_token.expose_secret();
    json!({
        "Version": 1,
        "AccessKeyId": issued.access_key_id,
        "SecretAccessKey": issued.secret_access_key.expose_secret(),
        "SessionToken": token,
        "Token": token,
        "Expiration": rfc3339(issued.expires_at),
        "AccountId": issued.account,
        "FederatedUser": {"Arn": issued.user.arn(), "FederatedUserId": issued.user.federated_user_id()},
        "Grant": granted.grant.as_str(),
        "PackedPolicySize": issued.packed_policy_size,
    })
}

fn offer(offer: &Offer) -> Value {
    json!({
        "name": offer.grant.as_str(),
        "description": offer.description,
        "max_duration": offer.max_duration.as_secs(),
        "requires": sign_in(&offer.requires),
    })
}
