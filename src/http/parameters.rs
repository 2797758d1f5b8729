//! What does the caller ask for?
//!
//! The parameters of the query and those of a body are the same two, each at most once and each written one way.

use std::borrow::Cow;

use data_encoding::BASE64;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use url::Url;

use crate::credentials::console::Console;
use crate::grants::GrantName;
use crate::read::json;
use crate::session::SessionDuration;

/// Parameters need some hundred bytes.
const MAX_BODY_BYTES: usize = 16 * 1024;
/// The member that names the page to open.
const DESTINATION: &str = "destination";
const BAD_GRANT: ParametersError =
    ParametersError::Request("`grant` must be 1 to 64 of a-z, 0-9, `.`, `_` and `-`, a letter or digit first");
const BAD_DURATION: ParametersError =
    ParametersError::Request("`duration` must be a whole number of seconds, 900 to 129600");
const BAD_DESTINATION: ParametersError =
    ParametersError::Request("`destination` must be the https URL of a page of AWS's console, in this partition");
const NO_BODY: ParametersError = ParametersError::Request("a GET takes no body");
const UNKNOWN_IN_QUERY: ParametersError = ParametersError::Request("the query has an unknown field");

/// What a caller asks for.
#[derive(Debug, Clone, Default)]
pub struct Parameters {
    /// The grant, if the request names one.
    pub grant: Option<GrantName>,
    /// How long the credentials are to last.
    pub duration: Option<SessionDuration>,
}

/// What a caller asks for who wants to sign in to AWS's console.
#[derive(Debug, Clone)]
pub struct ConsoleParameters {
    /// What the session is for.
    pub session: Parameters,
    /// The page to open.
    pub page: Url,
}

/// What is wrong with a request's parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParametersError {
    /// Something is malformed, unknown or out of range; the text says what.
    #[error("{0}")]
    Request(&'static str),
    /// The body is too large.
    #[error("the body is larger than 16 KiB")]
    TooLarge,
    /// The body is not said to be JSON.
    #[error("the body's media type is not application/json")]
    MediaType,
}

impl ParametersError {
    /// The name in the audit line.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Request(_) => "invalid_request",
            Self::TooLarge => "content_too_large",
            Self::MediaType => "unsupported_media_type",
        }
    }
}

/// Where parameters can be, as a request brought them: nothing of it has been read.
#[derive(Debug, Clone, Copy, Default)]
pub struct RawParameters<'a> {
    /// The grant that the path names.
    pub grant: Option<&'a str>,
    /// The query, still percent-encoded.
    pub query: &'a str,
    /// The body, still in base64 if the gateway wrote it so.
    pub body: &'a str,
    /// Whether the gateway wrote the body in base64.
    pub body_is_base64: bool,
    pub media_type: &'a str,
    /// Whether the method takes a body.
    pub takes_body: bool,
}

impl RawParameters<'_> {
    /// Reads the parameters: the grant of the path, if there is one, and those of the query or of the JSON body.
    ///
    /// # Errors
    /// [`ParametersError`] says what is wrong.
    pub fn read(self) -> Result<Parameters, ParametersError> {
        let sent = self.query_or_body()?;
        match self.grant {
            Some(grant) => sent.with_grant_of_path(grant),
            None => Ok(sent),
        }
    }

    /// Reads the parameters of a sign-in to `console`: they are in the JSON body alone.
    ///
    /// # Errors
    /// [`ParametersError`] says what is wrong.
    pub fn read_console(self, console: &Console) -> Result<ConsoleParameters, ParametersError> {
        if !self.query.is_empty() {
            return Err(ParametersError::Request("send the parameters in the body, not in the query"));
        }
        let members = if self.body.is_empty() { Map::new() } else { members(&self.json_body()?)? };
        let destination = members.get(DESTINATION);
        let destination = destination.map(|value| value.as_str().ok_or(BAD_DESTINATION)).transpose()?;
        let page = console.page(destination).ok_or(BAD_DESTINATION)?;
        Ok(ConsoleParameters { session: Parameters::from_members(&members, &[DESTINATION])?, page })
    }

    /// Makes sure that a route without parameters is given none.
    ///
    /// # Errors
    /// [`ParametersError::Request`] if there are any.
    pub const fn expect_none(self) -> Result<(), ParametersError> {
        if !self.body.is_empty() {
            return Err(NO_BODY);
        }
        if !self.query.is_empty() {
            return Err(UNKNOWN_IN_QUERY);
        }
        Ok(())
    }

    fn query_or_body(self) -> Result<Parameters, ParametersError> {
        if self.body.is_empty() {
            return Parameters::from_query(self.query);
        }
        if self.takes_body && !self.query.is_empty() {
            return Err(ParametersError::Request("send either a query or a body, not both"));
        }
        Parameters::from_body(&self.json_body()?)
    }

    /// The body, which is not empty, if it may be one and says that it is JSON.
    fn json_body(&self) -> Result<Cow<'_, [u8]>, ParametersError> {
        if !self.takes_body {
            return Err(NO_BODY);
        }
        // Four characters of base64 are at most three bytes: what is longer is too large without decoding it.
        let decoded = if self.body_is_base64 {
            if self.body.len() / 4 > MAX_BODY_BYTES / 3 + 1 {
                return Err(ParametersError::TooLarge);
            }
            BASE64.decode(self.body.as_bytes()).map_err(|_| ParametersError::Request("the body is not base64"))?.into()
        } else {
            Cow::from(self.body.as_bytes())
        };
        if decoded.len() > MAX_BODY_BYTES {
            return Err(ParametersError::TooLarge);
        }
        let essence = self.media_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(ParametersError::MediaType);
        }
        Ok(decoded)
    }
}

fn members(body: &[u8]) -> Result<Map<String, Value>, ParametersError> {
    json::parse_object(body)
        .map_err(|_| ParametersError::Request("the body is not a JSON object, or has a member twice"))
}

impl Parameters {
    /// Reads them from a URI's query, still percent-encoded.
    ///
    /// # Errors
    /// [`ParametersError::Request`] says what is wrong.
    pub fn from_query(query: &str) -> Result<Self, ParametersError> {
        if !is_query(query) {
            return Err(ParametersError::Request("the query is malformed"));
        }
        let (mut grant, mut duration) = (None, None);
        for pair in query.split('&').filter(|_| !query.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text| {
                percent_decode_str(text).decode_utf8().map_err(|_| ParametersError::Request("the query is not UTF-8"))
            };
            let value = decode(value)?;
            let repeated = match decode(name)?.as_ref() {
                "grant" => grant.replace(GrantName::new(&value).ok_or(BAD_GRANT)?).is_some(),
                "duration" => {
                    // Digits alone, without a sign or leading zeros: one number, one way to write it.
                    let canonical = value.bytes().all(|byte| byte.is_ascii_digit()) && !value.starts_with('0');
                    let seconds = value.parse().ok().filter(|_| canonical).and_then(SessionDuration::from_secs);
                    duration.replace(seconds.ok_or(BAD_DURATION)?).is_some()
                }
                _ => return Err(UNKNOWN_IN_QUERY),
            };
            if repeated {
                return Err(ParametersError::Request("the query repeats a field"));
            }
        }
        Ok(Self { grant, duration })
    }

    /// Reads them from a JSON body.
    ///
    /// # Errors
    /// [`ParametersError::Request`] says what is wrong.
    pub fn from_body(body: &[u8]) -> Result<Self, ParametersError> {
        Self::from_members(&members(body)?, &[])
    }

    /// Passes over those of `others`.
    fn from_members(members: &Map<String, Value>, others: &[&str]) -> Result<Self, ParametersError> {
        let mut parameters = Self::default();
        for (name, value) in members {
            match name.as_str() {
                "grant" => parameters.grant = Some(value.as_str().and_then(GrantName::new).ok_or(BAD_GRANT)?),
                "duration" => {
                    let duration = value.as_i64().and_then(SessionDuration::from_secs).ok_or(BAD_DURATION)?;
                    parameters.duration = Some(duration);
                }
                other if others.contains(&other) => {}
                _ => return Err(ParametersError::Request("the body has an unknown field")),
            }
        }
        Ok(parameters)
    }

    /// Adds the grant that the path names, as the path writes it: nothing is decoded, so one name has one spelling.
    ///
    /// # Errors
    /// [`ParametersError::Request`] if that is not a grant's name, or if the query or body names another grant.
    pub fn with_grant_of_path(self, segment: &str) -> Result<Self, ParametersError> {
        let of_path = GrantName::new(segment).ok_or(BAD_GRANT)?;
        if self.grant.is_some_and(|grant| grant != of_path) {
            return Err(ParametersError::Request("the query or body names another `grant` than the path"));
        }
        Ok(Self { grant: Some(of_path), duration: self.duration })
    }
}

/// Whether a text can be a URI's query (RFC 3986 §3.4).
fn is_query(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte);
    let escapes = text.split('%').skip(1);
    text.bytes().all(legal)
        && escapes
            .into_iter()
            .all(|rest| rest.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::credentials::console::Partition;

    type Read = Option<(Option<String>, Option<i32>)>;

    fn read(parameters: Result<Parameters, ParametersError>) -> Read {
        let Parameters { grant, duration } = parameters.ok()?;
        Some((grant.map(|grant| grant.as_str().to_owned()), duration.map(SessionDuration::as_secs)))
    }

    fn query(text: &str) -> Read {
        read(Parameters::from_query(text))
    }

    fn body(text: &str) -> Read {
        read(Parameters::from_body(text.as_bytes()))
    }

    #[test]
    fn both_parameters_are_optional_in_query_and_body() {
        let both = Some((Some("deploy".to_owned()), Some(900)));
        for text in ["grant=deploy&duration=900", "duration=900&grant=deploy", "%67rant=de%70loy&duration=%3900"] {
            assert_eq!(query(text), both, "{text}");
        }
        assert_eq!(body(r#"{"grant":"deploy","duration":900}"#), both);
        assert_eq!((query(""), body("{}")), (Some((None, None)), Some((None, None))));
    }

    #[test]
    fn the_path_names_the_grant_and_nothing_else_may_name_another() {
        let with = |text, segment| read(Parameters::from_query(text).and_then(|sent| sent.with_grant_of_path(segment)));
        for (text, duration) in [("", None), ("grant=deploy", None), ("grant=de%70loy&duration=900", Some(900))] {
            assert_eq!(with(text, "deploy"), Some((Some("deploy".to_owned()), duration)), "{text}");
        }
        for (text, segment) in [
            ("grant=default", "deploy"),
            ("grant=default&duration=900", "deploy"),
            ("grant=Deploy", "deploy"),
            ("", ""),
            ("", "Deploy"),
            ("", "%64eploy"),
            ("", "deploy%20"),
            ("", ".."),
            ("", "-deploy"),
            ("", "{grant}"),
            ("", "a/b"),
            ("", "déploy"),
        ] {
            assert_eq!(with(text, segment), None, "{segment}?{text}");
        }
    }

    #[test]
    fn parameters_are_read_where_they_were_sent_and_refused_where_they_do_not_belong() {
        let body = r#"{"duration":900}"#;
        let post = RawParameters {
            body,
            media_type: "Application/JSON; charset=utf-8",
            takes_body: true,
            ..RawParameters::default()
        };
        let coded = RawParameters { body: "eyJkdXJhdGlvbiI6OTAwfQ==", body_is_base64: true, ..post };
        for sent in [post, coded, RawParameters { query: "duration=900", ..RawParameters::default() }] {
            assert_eq!(read(sent.read()), Some((None, Some(900))));
            assert_eq!(
                read(RawParameters { grant: Some("ops"), ..sent }.read()),
                Some((Some("ops".into()), Some(900)))
            );
            assert!(sent.expect_none().is_err());
        }
        let long = " ".repeat(16 * 1024 - body.len()) + body;
        assert!(RawParameters { body: &long, ..post }.read().is_ok());
        for (sent, wrong) in [
            (RawParameters { takes_body: false, ..post }, NO_BODY),
            (
                RawParameters { query: "grant=ops", ..post },
                ParametersError::Request("send either a query or a body, not both"),
            ),
            (RawParameters { media_type: "text/plain", ..post }, ParametersError::MediaType),
            (RawParameters { body: &format!(" {long}"), ..post }, ParametersError::TooLarge),
            (RawParameters { body: &"A".repeat(4 * (16 * 1024 / 3 + 2)), ..coded }, ParametersError::TooLarge),
            (RawParameters { body: "!", ..coded }, ParametersError::Request("the body is not base64")),
        ] {
            assert_eq!(sent.read().map(|_| ()), Err(wrong));
        }
        assert_eq!(RawParameters::default().expect_none(), Ok(()));
    }

    #[test]
    fn a_sign_in_to_the_console_is_asked_for_in_the_body_alone() {
        let console = Console::new(Partition::of_region("eu-central-1").unwrap(), None).unwrap();
        let post = RawParameters { media_type: "application/json", takes_body: true, ..RawParameters::default() };
        let read = |body: &str| {
            let raw = RawParameters { body, media_type: post.media_type, takes_body: true, ..RawParameters::default() };
            raw.read_console(&console)
        };
        let home = "https://console.aws.amazon.com/console/home";
        let s3 = "https://eu-west-1.console.aws.amazon.com/s3/home?region=eu-west-1#x";
        for (body, grant, duration, page) in [
            ("", None, None, home),
            ("{}", None, None, home),
            (r#"{"grant":"deploy","duration":900}"#, Some("deploy"), Some(900), home),
            (&format!(r#"{{"destination":"{s3}","grant":"deploy"}}"#), Some("deploy"), None, s3),
        ] {
            let ConsoleParameters { session: Parameters { grant: named, duration: asked }, page: opened } =
                read(body).unwrap();
            assert_eq!((named.as_ref().map(GrantName::as_str), asked.map(SessionDuration::as_secs)), (grant, duration));
            assert_eq!(opened.as_str(), page);
        }
        for destination in [
            "null",
            "7",
            "[]",
            "\"\"",
            "\"x\"",
            "\"http://console.aws.amazon.com/\"",
            "\"https://console.amazonaws.cn/\"",
            "\"https://evil.example.com/\"",
            "\"javascript:alert(1)\"",
        ] {
            let body = format!(r#"{{"destination":{destination}}}"#);
            assert_eq!(read(&body).map(drop), Err(BAD_DESTINATION), "{destination}");
        }
        for body in
            ["[]", "{", r#"{"grant":"A"}"#, r#"{"Destination":"x"}"#, r#"{"duration":1}"#, r#"{"service":"s3"}"#]
        {
            assert!(matches!(read(body).map(drop), Err(ParametersError::Request(_))), "{body}");
        }
        let query = RawParameters { query: "grant=deploy", ..post };
        assert!(matches!(query.read_console(&console).map(drop), Err(ParametersError::Request(_))));
        let text = RawParameters { body: "{}", media_type: "text/plain", ..post };
        assert_eq!(text.read_console(&console).map(drop), Err(ParametersError::MediaType));
        let long = " ".repeat(16 * 1024 + 1);
        assert_eq!(read(&long).map(drop), Err(ParametersError::TooLarge));
    }

    #[test]
    fn a_query_that_is_malformed_unknown_repeated_or_out_of_range_is_refused() {
        for text in [
            "grant=a b",
            "grant=\"a\"",
            "grant=<a>",
            "grant=a\u{7f}",
            "grant=é",
            "grant=%",
            "grant=%4",
            "grant=%zz",
            "grant=%ff",
            "grant",
            "grant=",
            "grant=A",
            "grant=%23blocked",
            "grant=a&grant=a",
            "grant=a&",
            "&",
            "x=1",
            "Grant=a",
            "duration=899",
            "duration=129601",
            "duration=",
            "duration=+900",
            "duration=-900",
            "duration=0900",
            "duration=900.0",
            "duration=9e2",
            "duration=900&duration=900",
            "duration=99999999999999999999",
        ] {
            assert_eq!(query(text), None, "{text}");
        }
    }

    #[test]
    fn a_body_that_is_malformed_unknown_repeated_or_out_of_range_is_refused() {
        for text in [
            "",
            "[]",
            "null",
            "{",
            r#"{"x":1}"#,
            r#"{"grant":null}"#,
            r#"{"grant":1}"#,
            r#"{"grant":"A"}"#,
            r#"{"grant":"a","grant":"a"}"#,
            r#"{"duration":"900"}"#,
            r#"{"duration":899}"#,
            r#"{"duration":129601}"#,
            r#"{"duration":900.5}"#,
            r#"{"duration":9e2}"#,
            r#"{"duration":true}"#,
        ] {
            assert_eq!(body(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_either_panic(text in "\\PC{0,80}") {
            let _ = (query(&text), body(&text));
        }

        #[test]
        fn the_grant_is_the_one_of_the_path_or_there_is_none(text in "(grant=[a-d]{1,2})?", segment in "[a-d%/.]{0,2}") {
            let asked = Parameters::from_query(&text).and_then(|sent| sent.with_grant_of_path(&segment));
            prop_assert!(asked.is_err() || read(asked) == Some((Some(segment), None)));
        }
    }
}
