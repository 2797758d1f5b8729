//! Is an event one that a gateway hands over?

use std::collections::BTreeSet;

use lambda_http::http::HeaderMap;
use lambda_http::http::uri::{Authority, Scheme};
use serde_json::Value;

/// Whether two headers differ in nothing but case. The gateway writes all names in lower case; of two that another
/// front may send, the conversion would keep one.
pub(super) fn repeats_header(event: &Value) -> bool {
    let names = event.get("headers").and_then(Value::as_object).into_iter().flat_map(|headers| headers.keys());
    let mut seen = BTreeSet::new();
    !names.map(|name| name.to_ascii_lowercase()).all(|name| seen.insert(name))
}

/// Headers that nothing here reads, but that no client of good will sends: what they would have made a reader of the
/// address or scheme believe is not known.
pub(super) fn header_problem(headers: &HeaderMap) -> Option<&'static str> {
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

/// Whether a gateway's request id can be given back and logged as it stands.
pub(super) fn is_request_id(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=+/".contains(&byte))
}
