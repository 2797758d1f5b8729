//! Who may call from a browser?

use lambda_http::http::{HeaderMap, HeaderValue, header};

/// How long a browser may remember a preflight, in seconds.
const PREFLIGHT_MAX_AGE: &str = "600";
/// Headers that a web page may send. Libraries for tracing put those after the first three on every call. Nothing here
/// reads them, but a call fails if its preflight leaves one out.
const ALLOWED_HEADERS: &str = "Authorization, Content-Type, DPoP, traceparent, tracestate, baggage, sentry-trace, \
    x-datadog-trace-id, x-datadog-parent-id, x-datadog-origin, x-datadog-sampling-priority, x-datadog-tags, \
    x-amzn-trace-id";

/// The origins that browsers may call from, compared as text.
#[derive(Debug)]
pub(super) struct Cors {
    allowed_origins: Vec<String>,
}

impl Cors {
    pub(super) const fn new(allowed_origins: Vec<String>) -> Self {
        Self { allowed_origins }
    }

    /// The CORS headers (<https://fetch.spec.whatwg.org/#http-cors-protocol>). No credentials mode: the token comes in
    /// a header, never in a cookie.
    pub(super) fn share(&self, headers: &mut HeaderMap, preflight: bool, origin: Option<&HeaderValue>) {
        if self.allowed_origins.is_empty() {
            return;
        }
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        let Some(origin) = origin.filter(|origin| self.allowed_origins.iter().any(|allowed| allowed == *origin)) else {
            return;
        };
        allow(headers, preflight, origin.clone());
    }

    /// The same headers for every origin: for what everyone may read, without a token.
    pub(super) fn share_with_everyone(headers: &mut HeaderMap, preflight: bool) {
        allow(headers, preflight, HeaderValue::from_static("*"));
    }
}

fn allow(headers: &mut HeaderMap, preflight: bool, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
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
