//! Which token is in `Authorization`?

use lambda_http::http::{HeaderMap, header};

/// The token in `Authorization`: `Bearer` and the token, or the bare token. `None` if there is none, or if another
/// scheme is used. Two `Authorization` headers arrive joined by a comma and are rejected as a malformed token.
pub(super) fn bearer_token(headers: &HeaderMap) -> Option<&str> {
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
