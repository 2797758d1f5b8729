//! How does a gateway's event become a question, and the answer HTTP again?
//!
//! An event is taken as the data that it is: `lambda_http`'s own conversion to a request panics on queries and headers
//! that any client can send. What cannot be understood is answered with 400.

mod problem;

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::SystemTime;

use data_encoding::BASE64;
use futures_util::FutureExt;
use lambda_http::Body;
use lambda_http::aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use lambda_http::http::uri::{Authority, Scheme};
use lambda_http::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use self::problem::{Problem, sign_in};
use crate::audit::{Outcome, Record, capped, rfc3339};
use crate::broker::{Broker, Failure, Granted};
use crate::grants::Offer;
use crate::parameters::{Invalid, Parameters};

/// Parameters need some hundred bytes.
const MAX_BODY_BYTES: usize = 16 * 1024;
/// Of what an operator reads in the audit line.
const MAX_DETAIL_CHARS: usize = 4_096;
/// How long a browser may remember a preflight, in seconds.
const PREFLIGHT_MAX_AGE: &str = "600";
/// Headers that a web page may send. Libraries for tracing put those after the first three on every call. Nothing here
/// reads them, but a call fails if its preflight leaves one out.
const ALLOWED_HEADERS: &str = "Authorization, Content-Type, DPoP, traceparent, tracestate, baggage, sentry-trace, \
    x-datadog-trace-id, x-datadog-parent-id, x-datadog-origin, x-datadog-sampling-priority, x-datadog-tags, \
    x-amzn-trace-id";

/// The function: answers every event, whatever it holds.
#[derive(Debug, Clone)]
pub struct Function {
    broker: Arc<Broker>,
    allowed_origins: Arc<[String]>,
}

/// The routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Credentials,
    CredentialsOfGrant,
    Grants,
    Health,
}

impl Route {
    const ALL: [Self; 4] = [Self::Credentials, Self::CredentialsOfGrant, Self::Grants, Self::Health];

    /// As the gateway's route keys write it: `{grant}` stands for one segment.
    const fn path(self) -> &'static str {
        match self {
            Self::Credentials => "/v1/credentials",
            Self::CredentialsOfGrant => "/v1/credentials/{grant}",
            Self::Grants => "/v1/grants",
            Self::Health => "/v1/health",
        }
    }

    const fn allow(self) -> &'static str {
        match self {
            Self::Credentials | Self::CredentialsOfGrant => "GET, POST, OPTIONS",
            Self::Grants => "GET, OPTIONS",
            Self::Health => "GET, HEAD, OPTIONS",
        }
    }

    fn allows(self, method: &Method) -> bool {
        self.allow().split(", ").any(|allowed| allowed == method.as_str())
    }

    /// The route that an event is for, and the grant that the path names there. A custom domain may put a prefix before
    /// the path, and a stage its name. These readings cannot contradict each other: each route begins with `/v1`, and a
    /// grant in the path is the last of three segments. The gateway's `pathParameters` are not read.
    fn of(event: &ApiGatewayV2httpRequest) -> Option<(Self, Option<&str>)> {
        let path = event.raw_path.as_deref().unwrap_or_default();
        let stage = event.request_context.stage.as_deref().filter(|stage| *stage != "$default");
        let behind_stage = stage.and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage)).and_then(Self::at);
        let key = event.route_key.as_deref().and_then(|key| key.split_once(' '));
        let behind_prefix = key.and_then(|(_, route)| Self::behind_prefix(path, route));
        Self::at(path).or(behind_stage).or(behind_prefix)
    }

    /// The route at the end of `path`, if it is the one that the gateway names.
    fn behind_prefix<'a>(path: &'a str, named: &str) -> Option<(Self, Option<&'a str>)> {
        let last = named.matches('/').count().checked_sub(1)?;
        let (start, _) = path.rmatch_indices('/').nth(last)?;
        Self::at(path.get(start..)?).filter(|(route, _)| route.path() == named)
    }

    /// The route at exactly this path. Nothing is decoded or normalized.
    fn at(path: &str) -> Option<(Self, Option<&str>)> {
        Self::ALL.into_iter().find_map(|route| match route.path().strip_suffix("{grant}") {
            None => (path == route.path()).then_some((route, None)),
            Some(before) => {
                let grant = path.strip_prefix(before)?;
                (!grant.is_empty() && !grant.contains('/')).then_some((route, Some(grant)))
            }
        })
    }
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
        Self { broker, allowed_origins: allowed_origins.into() }
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
        self.share(headers, preflight, origin);
        response.body = body.map(|body| Body::Text(body.to_string()));
        response
    }

    /// The CORS headers (<https://fetch.spec.whatwg.org/#http-cors-protocol>). No credentials mode: the token comes in
    /// a header, never in a cookie.
    fn share(&self, headers: &mut HeaderMap, preflight: bool, origin: Option<&HeaderValue>) {
        if self.allowed_origins.is_empty() {
            return;
        }
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        let Some(origin) = origin.filter(|origin| self.allowed_origins.iter().any(|allowed| allowed == *origin)) else {
            return;
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        let more = if preflight {
            &[
                (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
                (header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS),
                (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE),
            ][..]
        } else {
            &[(header::ACCESS_CONTROL_EXPOSE_HEADERS, "WWW-Authenticate, Retry-After")]
        };
        headers.extend(more.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))));
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

/// The token in `Authorization`: `Bearer` and the token, or the bare token. `None` if there is none, or if another
/// scheme is used. Two `Authorization` headers arrive joined by a comma and are rejected as a malformed token.
fn token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = match (values.next()?.to_str(), values.next()) {
        (Ok(value), None) => value.trim_matches(' '),
        _ => return Some(""),
    };
    let token = match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer") => token.trim_start_matches(' '),
        Some(_) => "",
        None if value.eq_ignore_ascii_case("Bearer") => "",
        None => value,
    };
    (!token.is_empty()).then_some(token)
}

/// Whether two headers differ in nothing but case. The gateway writes all names in lower case; of two that another
/// front may send, the conversion would keep one.
fn repeats_header(event: &Value) -> bool {
    let names = event.get("headers").and_then(Value::as_object).into_iter().flat_map(|headers| headers.keys());
    let mut seen = BTreeSet::new();
    !names.map(|name| name.to_ascii_lowercase()).all(|name| seen.insert(name))
}

/// Headers that nothing here reads, but that no client of good will sends: what they would have made a reader of the
/// address or scheme believe is not known.
fn header_problem(headers: &HeaderMap) -> Option<&'static str> {
    let all = |name: &str, legal: fn(&[u8]) -> bool| headers.get_all(name).iter().all(|value| legal(value.as_bytes()));
    if !all("host", |value| Authority::try_from(value).is_ok()) {
        return Some("the `Host` header is malformed");
    }
    // Each proxy on the way may have added its own.
    let schemes =
        |value: &[u8]| value.split(|byte| *byte == b',').all(|scheme| Scheme::try_from(scheme.trim_ascii()).is_ok());
    if !all("x-forwarded-proto", schemes) {
        return Some("the `X-Forwarded-Proto` header is malformed");
    }
    None
}

/// Reads the parameters: the grant of the path, if there is one, and what was sent with it.
fn parameters(event: &ApiGatewayV2httpRequest, grant: Option<&str>) -> Result<Parameters, Invalid> {
    let sent = sent_parameters(event)?;
    match grant {
        Some(grant) => sent.with_grant_of_path(grant),
        None => Ok(sent),
    }
}

/// Reads the parameters of the query, or of the JSON body of a POST.
fn sent_parameters(event: &ApiGatewayV2httpRequest) -> Result<Parameters, Invalid> {
    let query = event.raw_query_string.as_deref().unwrap_or_default();
    let body = event.body.as_deref().unwrap_or_default();
    if body.is_empty() {
        return Parameters::from_query(query);
    }
    if event.request_context.http.method != Method::POST {
        return Err(Invalid::Request("a GET takes no body"));
    }
    if !query.is_empty() {
        return Err(Invalid::Request("send either a query or a body, not both"));
    }
    // Four characters of base64 are at most three bytes: what is longer is too large without decoding it.
    let decoded = if event.is_base64_encoded {
        if body.len() / 4 > MAX_BODY_BYTES / 3 + 1 {
            return Err(Invalid::TooLarge);
        }
        BASE64.decode(body.as_bytes()).map_err(|_| Invalid::Request("the body is not base64"))?
    } else {
        body.as_bytes().to_owned()
    };
    if decoded.len() > MAX_BODY_BYTES {
        return Err(Invalid::TooLarge);
    }
    let media_type = event.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Invalid::MediaType);
    }
    Parameters::from_body(&decoded)
}

/// Makes sure that a route without parameters is given none.
fn no_parameters(event: &ApiGatewayV2httpRequest) -> Result<(), Invalid> {
    if event.body.as_deref().is_some_and(|body| !body.is_empty()) {
        return Err(Invalid::Request("a GET takes no body"));
    }
    if event.raw_query_string.as_deref().is_some_and(|query| !query.is_empty()) {
        return Err(Invalid::Request("the query has a field that is not known"));
    }
    Ok(())
}

/// Whether a gateway's request id can be given back and logged as it stands.
fn is_request_id(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=+/".contains(&byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(path: &str, key: &str, stage: &str) -> ApiGatewayV2httpRequest {
        let http = json!({"method": "GET", "path": path});
        serde_json::from_value(json!({
            "rawPath": path,
            "routeKey": key,
            "headers": {},
            "requestContext": {"http": http, "stage": stage},
            "isBase64Encoded": false,
        }))
        .unwrap()
    }

    #[test]
    fn a_path_is_a_route_only_as_it_stands() {
        for (path, at) in [
            ("/v1/credentials", Some((Route::Credentials, None))),
            ("/v1/credentials/deploy", Some((Route::CredentialsOfGrant, Some("deploy")))),
            ("/v1/credentials/v1", Some((Route::CredentialsOfGrant, Some("v1")))),
            ("/v1/credentials/%64eploy", Some((Route::CredentialsOfGrant, Some("%64eploy")))),
            ("/v1/credentials/{grant}", Some((Route::CredentialsOfGrant, Some("{grant}")))),
            ("/v1/grants", Some((Route::Grants, None))),
            ("/v1/health", Some((Route::Health, None))),
            ("", None),
            ("/", None),
            ("/v1/credentials/", None),
            ("/v1/credentials//", None),
            ("/v1/credentials/deploy/", None),
            ("/v1/credentials/deploy/x", None),
            ("/v1/credentials/../health", None),
            ("/v1/credentialsdeploy", None),
            ("/v1/grants/deploy", None),
            ("/v1/Health", None),
            ("v1/health", None),
        ] {
            assert_eq!(Route::at(path), at, "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_prefix_is_no_part_of_the_path(
            prefix in "(/(v1|credentials|grants|[a-z]{1,3})){0,4}",
            grant in "[a-z%.]{1,8}",
            route in prop::sample::select(&Route::ALL),
        ) {
            let path = route.path().replace("{grant}", &grant);
            let grant = (route == Route::CredentialsOfGrant).then_some(grant.as_str());
            let mapped = event(&format!("{prefix}{path}"), &format!("GET {}", route.path()), "$default");
            prop_assert_eq!(Route::of(&mapped), Some((route, grant)));
            let stage = prefix.strip_prefix('/').unwrap_or("$default");
            let staged = event(&format!("{prefix}{path}"), "$default", stage);
            prop_assert_eq!(Route::of(&staged), Some((route, grant)));
        }

        #[test]
        fn all_readings_of_a_path_agree(
            path in "(/(v1|credentials|grants|health|x)){0,6}",
            key in "GET (/(v1|credentials|grants|health|x|\\{grant\\})){0,4}",
            stage in "(v1|credentials|v1/credentials|x)",
        ) {
            let event = event(&path, &key, &stage);
            let staged = path.strip_prefix('/').and_then(|path| path.strip_prefix(stage.as_str())).and_then(Route::at);
            let mapped = Route::behind_prefix(&path, key.trim_start_matches("GET "));
            for reading in [Route::at(&path), staged, mapped].into_iter().flatten() {
                prop_assert_eq!(Route::of(&event), Some(reading));
            }
        }
    }
}
