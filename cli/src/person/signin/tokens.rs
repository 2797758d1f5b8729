//! What does a provider's token endpoint say?
//!
//! Public clients: what proves that it is us is the code verifier, or the refresh token itself.

use data_encoding::BASE64URL_NOPAD;
use secrecy::SecretString;
use serde_json::{Map, Value};
use url::Url;

use hallpass::wire::TokenKind;

use super::super::secret::expose;
use super::super::trouble::{Trouble, shown};
use super::super::web::{Answer, Question, Web, host_of};

/// What a provider answered with.
#[derive(Debug)]
pub(crate) struct Tokens {
    access: SecretString,
    pub(crate) id: Option<SecretString>,
    pub(crate) refresh: Option<SecretString>,
    expires_in: Option<i64>,
}

/// Why there are no tokens.
#[derive(Debug)]
pub(crate) enum NoTokens {
    /// The provider says no, with an error code of OAuth 2.0 (RFC 6749 §5.2).
    Refused {
        /// The code, such as `invalid_grant`.
        error: String,
        /// In words.
        told: String,
    },
    /// Anything else.
    Other(Trouble),
}

impl NoTokens {
    /// As one line.
    pub(crate) fn into_trouble(self) -> Trouble {
        match self {
            Self::Refused { told, .. } => Trouble::Failed(told),
            Self::Other(trouble) => trouble,
        }
    }
}

impl Tokens {
    /// Asks for tokens.
    ///
    /// # Errors
    /// [`NoTokens`] says whether the provider refused.
    pub(crate) async fn ask(web: &Web, endpoint: &Url, fields: &[(&str, &str)]) -> Result<Self, NoTokens> {
        let answer = web.ask(Question::post(endpoint, fields)).await.map_err(NoTokens::Other)?;
        Self::read(&host_of(endpoint), &answer)
    }

    fn read(host: &str, answer: &Answer) -> Result<Self, NoTokens> {
        let body = answer.object();
        if answer.status != 200 {
            return Err(refusal(host, answer.status, body.as_ref()));
        }
        let strange = |why: &str| {
            NoTokens::Other(Trouble::failed(format!("{host} answered a sign-in with something else: {why}")))
        };
        let body = body.ok_or_else(|| strange("not JSON"))?;
        if !body.get("token_type").and_then(Value::as_str).is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
            return Err(strange("`token_type` is not Bearer"));
        }
        let text =
            |name: &str| body.get(name).and_then(Value::as_str).filter(|text| is_token(text)).map(SecretString::from);
        Ok(Self {
            access: text("access_token").ok_or_else(|| strange("no `access_token`"))?,
            id: text("id_token"),
            refresh: text("refresh_token"),
            expires_in: body.get("expires_in").and_then(seconds),
        })
    }

    /// The token that is for Hallpass, and when it ends, if that can be known.
    ///
    /// # Errors
    /// [`Trouble`] if the provider sent another one.
    pub(crate) fn for_server(&self, kind: TokenKind, now: i64) -> Result<(SecretString, Option<i64>), Trouble> {
        match kind {
            TokenKind::AccessToken => {
                let end = self.expires_in.and_then(|seconds| now.checked_add(seconds));
                Ok((self.access.clone(), end.or_else(|| number_in(&self.access, "exp"))))
            }
            TokenKind::IdToken => {
                let token = self.id.clone().ok_or_else(|| Trouble::failed("the identity provider sent no ID token"))?;
                let end = number_in(&token, "exp");
                Ok((token, end))
            }
        }
    }

    /// The subject that the access token names, for a sign-in without an ID token. Only for people to read.
    pub(crate) fn unverified_subject(&self) -> Option<String> {
        claims_of(&self.access)?.get("sub").and_then(Value::as_str).map(shown)
    }
}

/// The claims of a JWT, unverified.
pub(crate) fn claims_of(token: &SecretString) -> Option<Map<String, Value>> {
    let claims = BASE64URL_NOPAD.decode(expose(token).split('.').nth(1)?.as_bytes()).ok()?;
    hallpass::read::json::parse_object(&claims).ok()
}

fn number_in(token: &SecretString, name: &str) -> Option<i64> {
    seconds(claims_of(token)?.get(name)?)
}

/// A token as a header can carry it (RFC 6750 §2.1).
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A number of seconds. Some providers send it as a text.
fn seconds(value: &Value) -> Option<i64> {
    let text = || value.as_str().and_then(|text| text.parse().ok());
    let whole = value.as_i64().or_else(text);
    #[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "a conversion from a float saturates")]
    let rounded = || value.as_f64().map(|seconds| seconds as i64);
    whole.or_else(rounded).filter(|seconds| *seconds >= 0)
}

/// What a provider's error says.
pub(crate) fn refusal(host: &str, status: u16, body: Option<&Map<String, Value>>) -> NoTokens {
    let text = |name: &str| body.and_then(|body| body.get(name)).and_then(Value::as_str).map(shown);
    match text("error") {
        Some(error) if status < 500 && status != 429 => {
            let description = text("error_description").map_or_else(String::new, |text| format!(": {text}"));
            NoTokens::Refused { told: format!("{host} refused the sign-in ({error}{description})"), error }
        }
        _ if status >= 500 || status == 429 => {
            NoTokens::Other(Trouble::Unavailable(format!("{host} answered with status {status}; try again")))
        }
        _ => NoTokens::Other(Trouble::failed(format!("{host} answered a sign-in with status {status}"))),
    }
}

/// The seconds in a member of an answer.
pub(crate) fn seconds_in(body: &Map<String, Value>, name: &str) -> Option<u64> {
    body.get(name).and_then(seconds).and_then(|seconds| u64::try_from(seconds).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn jwt(claims: &Value) -> SecretString {
        SecretString::from(format!("e30.{}.x", BASE64URL_NOPAD.encode(claims.to_string().as_bytes())))
    }

    #[test]
    fn seconds_are_numbers_or_texts_of_them() {
        for (value, read) in [
            (json!(300), Some(300)),
            (json!("300"), Some(300)),
            (json!(300.9), Some(300)),
            (json!(-1), None),
            (json!("x"), None),
            (json!(null), None),
            (json!(1e300), Some(i64::MAX)),
        ] {
            assert_eq!(seconds(&value), read, "{value}");
        }
    }

    #[test]
    fn the_end_of_a_token_is_known_if_the_provider_says_it() {
        let tokens = |access: &Value, id: Option<&Value>, expires_in| Tokens {
            access: jwt(access),
            id: id.map(jwt),
            refresh: None,
            expires_in,
        };
        let end = |tokens: &Tokens, kind| {
            tokens.for_server(kind, 1_000).map(|(_, end)| end).map_err(|error| error.to_string())
        };
        assert_eq!(end(&tokens(&json!({"exp": 9}), None, Some(60)), TokenKind::AccessToken), Ok(Some(1_060)));
        assert_eq!(end(&tokens(&json!({"exp": 2_000}), None, None), TokenKind::AccessToken), Ok(Some(2_000)));
        assert_eq!(end(&tokens(&json!({}), None, None), TokenKind::AccessToken), Ok(None));
        assert_eq!(
            end(&tokens(&json!({}), Some(&json!({"exp": 3_000})), Some(60)), TokenKind::IdToken),
            Ok(Some(3_000))
        );
        assert!(end(&tokens(&json!({}), None, None), TokenKind::IdToken).unwrap_err().contains("no ID token"));
        assert_eq!(end(&tokens(&json!({}), None, Some(i64::MAX)), TokenKind::AccessToken), Ok(None));
    }

    #[test]
    fn a_refusal_is_told_apart_from_a_failure() {
        let body = json!({"error": "invalid_grant", "error_description": "used\u{1b}[1m twice"});
        let refused = refusal("login.example.com", 400, body.as_object());
        assert!(matches!(&refused, NoTokens::Refused { error, .. } if error == "invalid_grant"), "{refused:?}");
        assert!(!refused.into_trouble().to_string().contains('\u{1b}'));
        assert!(matches!(refusal("x", 500, body.as_object()), NoTokens::Other(Trouble::Unavailable(_))));
        assert!(matches!(refusal("x", 429, None), NoTokens::Other(Trouble::Unavailable(_))));
        assert!(matches!(refusal("x", 404, None), NoTokens::Other(Trouble::Failed(_))));
    }

    #[test]
    fn a_token_has_no_spaces_and_no_line_ends() {
        assert!(is_token("a.b-c~+/="));
        for bad in ["", "a b", "a\r\nX: y", "é"] {
            assert!(!is_token(bad), "{bad:?}");
        }
    }
}
