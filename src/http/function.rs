//! How is an event answered, whatever it holds?

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::FutureExt;
use lambda_http::Body;
use lambda_http::aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use lambda_http::http::{HeaderValue, Method, header};
use serde::Serialize;
use serde_json::Value;

use super::about::About;
use super::bearer_token::bearer_token;
use super::cors::Cors;
use super::error_response::{ErrorResponse, requires};
use super::event::{header_problem, is_request_id, repeats_header};
use super::portal::{File, PAGE};
use super::raw_parameters::raw_parameters;
use super::route::Route;
use crate::audit::{Outcome, Record, capped};
use crate::broker::{Ask, Broker, Granted, RequestError, SignedIn};
use crate::grants::Offer;
use crate::net::public_url::PublicUrl;
use crate::time::rfc3339;
use crate::wire;

const NO_DOMAIN: &str = "the event does not name the domain that was asked";

/// The function: answers every event, whatever it holds.
#[derive(Debug, Clone)]
pub struct Function {
    broker: Arc<Broker>,
    cors: Arc<Cors>,
    about: Arc<About>,
}

/// What an answer needs to know of its request.
#[derive(Debug, Default)]
struct Asked {
    origin: Option<HeaderValue>,
    /// The URL under which the function was asked.
    resource: Option<PublicUrl>,
}

/// An answer before the headers that all answers have.
#[derive(Debug)]
enum Reply {
    Preflight { from_everyone: bool },
    Health { body: bool },
    Metadata { body: Option<String> },
    Credentials(Granted),
    SignedIn(SignedIn),
    Grants(Vec<Offer>),
    File { file: File, origins: Vec<String>, is_held: bool, body: bool },
    Redirect(HeaderValue),
    Error(ErrorResponse),
}

impl Function {
    /// Answers for `broker`; browsers may call from `allowed_origins`, and everyone may read `about`.
    #[must_use]
    pub fn new(broker: Arc<Broker>, allowed_origins: Vec<String>, about: About) -> Self {
        Self { broker, cors: Arc::new(Cors::new(allowed_origins)), about: Arc::new(about) }
    }

    /// Answers one event and writes its audit line.
    pub async fn answer(&self, event: Value, lambda_request_id: &str, now: SystemTime) -> ApiGatewayV2httpResponse {
        let mut record = Record {
            request_id: lambda_request_id.to_owned(),
            lambda_request_id: lambda_request_id.to_owned(),
            ..Record::default()
        };
        let mut asked = Asked::default();
        // No event may cost more than its own answer, not even by a mistake of ours.
        let replying = AssertUnwindSafe(self.reply(event, &mut record, &mut asked, now)).catch_unwind();
        let reply = replying.await.unwrap_or_else(|_| Reply::Error(ErrorResponse::of(&RequestError::Panicked)));
        let outcome = reply.outcome();
        self.broker.audit().outcome(&record, &outcome, now);
        self.respond(reply, &outcome, record.request_id, &asked)
    }

    async fn reply(&self, event: Value, record: &mut Record, asked: &mut Asked, now: SystemTime) -> Reply {
        if repeats_header(&event) {
            return Reply::Error(ErrorResponse::malformed("the event has two headers of one name"));
        }
        let event: ApiGatewayV2httpRequest = match serde_json::from_value(event) {
            Ok(event) => event,
            Err(_) => {
                return Reply::Error(ErrorResponse::malformed("the event is not one of an HTTP API (payload 2.0)"));
            }
        };
        let context = &event.request_context;
        let method = &context.http.method;
        if let Some(id) = context.request_id.as_deref().filter(|id| is_request_id(id)) {
            id.clone_into(&mut record.request_id);
        }
        record.route = Some(capped(&format!("{method} {}", event.raw_path.as_deref().unwrap_or_default())));
        record.source_ip = context.http.source_ip.as_deref().map(capped);
        record.user_agent = context.http.user_agent.as_deref().map(capped);
        asked.origin = event.headers.get(header::ORIGIN).cloned();
        asked.resource = self.about.resource(context);
        tracing::trace!(request.id = record.request_id, "request understood as an event");

        if let Some(problem) = header_problem(&event.headers) {
            return Reply::Error(ErrorResponse::malformed(problem));
        }
        let public_path = asked.resource.as_ref().map_or("", PublicUrl::path);
        let found = Route::of(&event, public_path).filter(|(route, named)| self.serves(*route, *named));
        let Some((route, named)) = found else {
            return self.redirect(&event).unwrap_or_else(|| Reply::Error(ErrorResponse::not_found()));
        };
        if !route.allows(method) {
            return Reply::Error(ErrorResponse::method_not_allowed(route.allow()));
        }
        let ask = Ask {
            token: bearer_token(&event.headers),
            parameters: raw_parameters(&event, named),
            source_ip: context.http.source_ip.as_deref().and_then(|address| address.parse().ok()),
        };
        match (route, method) {
            (route, &Method::OPTIONS) => Reply::Preflight { from_everyone: route == Route::Metadata },
            (Route::Health, method) => Reply::Health { body: method != Method::HEAD },
            (Route::Metadata, method) => match &asked.resource {
                Some(_) if method == Method::HEAD => Reply::Metadata { body: None },
                Some(resource) => Reply::Metadata { body: json(&self.about.metadata(resource)) },
                None => Reply::Error(ErrorResponse::malformed(NO_DOMAIN)),
            },
            (Route::Portal | Route::PortalFile, _) => match named.map_or(Some(PAGE), File::named) {
                Some(file) => self.file(file, &event, now).await,
                None => Reply::Error(ErrorResponse::not_found()),
            },
            (Route::Credentials | Route::CredentialsOfGrant, _) => {
                let decided = self.broker.credentials(ask, record, now).await;
                decided.map_or_else(|error| Reply::Error(ErrorResponse::of(&error)), Reply::Credentials)
            }
            (Route::Console, _) => match (self.broker.sign_in_host(), &asked.resource) {
                (Some(host), Some(resource)) => {
                    let portal = format!("{}/", resource.as_str());
                    let signed_in = self.broker.console(ask, host, &portal, record, now).await;
                    signed_in.map_or_else(|error| Reply::Error(ErrorResponse::of(&error)), Reply::SignedIn)
                }
                (Some(_), None) => Reply::Error(ErrorResponse::malformed(NO_DOMAIN)),
                (None, _) => Reply::Error(ErrorResponse::not_found()),
            },
            (Route::Grants, _) => {
                let found = self.broker.grants(ask, record, now).await;
                found.map_or_else(|error| Reply::Error(ErrorResponse::of(&error)), Reply::Grants)
            }
        }
    }

    /// Whether the function, as it is configured, has what the path names.
    fn serves(&self, route: Route, named: Option<&str>) -> bool {
        match route {
            Route::Portal => self.broker.signs_in_browsers(),
            Route::PortalFile => self.broker.signs_in_browsers() && named.and_then(File::named).is_some(),
            Route::Console => self.broker.sign_in_host().is_some(),
            Route::Credentials | Route::CredentialsOfGrant | Route::Grants | Route::Health | Route::Metadata => true,
        }
    }

    async fn file(&self, file: File, event: &ApiGatewayV2httpRequest, now: SystemTime) -> Reply {
        let is_held = file.is_held(event.headers.get(header::IF_NONE_MATCH));
        let body = !is_held && event.request_context.http.method != Method::HEAD;
        Reply::File { file, origins: self.broker.sign_in_origins(now).await, is_held, body }
    }

    /// Leads to the portal, if only the final slash is missing.
    fn redirect(&self, event: &ApiGatewayV2httpRequest) -> Option<Reply> {
        let method = &event.request_context.http.method;
        let segment = Route::portal_without_slash(event)?;
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let leads = self.broker.signs_in_browsers() && matches!(*method, Method::GET | Method::HEAD);
        // Relative to where the browser is, and never to another host or scheme, whatever the segment is.
        let location = HeaderValue::try_from(format!("./{segment}/")).ok();
        location.filter(|_| leads && segment.bytes().all(legal)).map(Reply::Redirect)
    }

    fn respond(&self, reply: Reply, outcome: &Outcome, request_id: String, asked: &Asked) -> ApiGatewayV2httpResponse {
        let mut response = ApiGatewayV2httpResponse::default();
        response.status_code = outcome.status().into();
        let headers = &mut response.headers;
        let is_public = matches!(reply, Reply::Metadata { .. } | Reply::File { .. } | Reply::Redirect(_));
        let cached = if is_public { "public, max-age=300" } else { "no-store" };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cached));
        match &reply {
            Reply::Metadata { .. } => Cors::share_with_everyone(headers, false),
            Reply::Preflight { from_everyone: true } => Cors::share_with_everyone(headers, true),
            // A browser opens the portal by itself. Pages of other origins have nothing to read there.
            Reply::File { .. } | Reply::Redirect(_) => {}
            Reply::Preflight { from_everyone: false } => self.cors.share(headers, true, asked.origin.as_ref()),
            Reply::Health { .. } | Reply::Credentials(_) | Reply::SignedIn(_) | Reply::Grants(_) | Reply::Error(_) => {
                self.cors.share(headers, false, asked.origin.as_ref());
            }
        }
        let (media_type, body) = match reply {
            Reply::Preflight { .. } => (None, None),
            Reply::Metadata { body } => (Some("application/json"), body),
            Reply::Health { body: false } => (Some("application/json"), None),
            Reply::Health { body: true } => {
                (Some("application/json"), json(&wire::Health { version: env!("CARGO_PKG_VERSION").to_owned() }))
            }
            Reply::Credentials(granted) => (Some("application/json"), json(&credentials(granted))),
            Reply::SignedIn(SignedIn { address, expires_at }) => {
                let sign_in = wire::ConsoleSignIn { signin_url: address, expiration: rfc3339(expires_at) };
                (Some("application/json"), json(&sign_in))
            }
            Reply::Grants(offers) => {
                let grants = offers.into_iter().map(offer).collect();
                (Some("application/json"), json(&wire::Offers { grants }))
            }
            Reply::File { file, origins, is_held, body } => {
                file.describe(headers, &origins);
                ((!is_held).then_some(file.media_type), body.then(|| file.text.to_owned()))
            }
            Reply::Redirect(location) => {
                headers.insert(header::LOCATION, location);
                (None, None)
            }
            Reply::Error(error) => {
                let (problem, header) = error.answer(request_id, asked.resource.as_ref());
                headers.extend(header);
                (Some("application/problem+json"), json(&problem))
            }
        };
        headers.extend(media_type.map(|media_type| (header::CONTENT_TYPE, HeaderValue::from_static(media_type))));
        response.body = body.map(Body::Text);
        response
    }
}

impl Reply {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Preflight { .. } => Outcome::Preflight,
            Self::Health { .. } => Outcome::Healthy,
            Self::Metadata { .. } => Outcome::Described,
            Self::Credentials(_) => Outcome::Issued,
            Self::SignedIn(_) => Outcome::SignedIn,
            Self::Grants(_) => Outcome::Listed,
            Self::File { is_held: false, .. } => Outcome::Served,
            Self::File { is_held: true, .. } => Outcome::Unchanged,
            Self::Redirect(_) => Outcome::Redirected,
            Self::Error(error) => error.outcome(),
        }
    }
}

/// A body as text. None of ours can fail to be written: they have no maps but those with texts as keys.
fn json(body: &impl Serialize) -> Option<String> {
    serde_json::to_string(body).ok()
}

fn credentials(granted: Granted) -> wire::Credentials {
    let Granted { grant, issued } = granted;
    wire::Credentials {
        version: 1,
        access_key_id: issued.access_key_id,
        secret_access_key: issued.secret_access_key,
        token: issued.session_token.clone(),
        session_token: issued.session_token,
        expiration: rfc3339(issued.expires_at),
        account_id: issued.account,
        federated_user: wire::FederatedUser { arn: issued.user.arn, federated_user_id: issued.user.federated_user_id },
        grant: grant.as_str().to_owned(),
        packed_policy_size: issued.packed_policy_size,
    }
}

fn offer(offer: Offer) -> wire::Offer {
    wire::Offer {
        name: offer.grant.as_str().to_owned(),
        description: offer.description,
        max_duration: offer.max_duration.as_secs(),
        requires: requires(offer.requires),
    }
}
