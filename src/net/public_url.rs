//! Under which URL is the function asked?

use std::str::FromStr;

use url::Url;

use super::url::is_private;

/// The function's own URL: https, or plain http that stays on this machine; without a final slash.
// INVARIANT: the text is a URL as a browser writes it, so that it can stand in a header, and be compared as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(String);

/// What a function's own URL has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be an https URL (plain http only for loopback), as a browser writes it: in lower case, without a user, a default \
        port, a query or a fragment"
)]
pub struct NotPublic;

impl PublicUrl {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What comes after the host: empty, or a path that begins with a slash.
    #[must_use]
    pub fn path(&self) -> &str {
        let behind_scheme = self.0.split_once("://").map_or("", |(_, rest)| rest);
        behind_scheme.find('/').and_then(|at| behind_scheme.get(at..)).unwrap_or_default()
    }
}

impl FromStr for PublicUrl {
    type Err = NotPublic;

    /// Takes a URL with or without a final slash.
    fn from_str(text: &str) -> Result<Self, NotPublic> {
        let url = Url::parse(text).map_err(|_| NotPublic)?;
        let bare = url.username().is_empty() && url.password().is_none();
        let bare = bare && url.query().is_none() && url.fragment().is_none();
        let stem = text.strip_suffix('/').unwrap_or(text);
        // Another spelling, as upper case or a default port, would be another URL for those who compare it.
        let as_written = url.as_str().strip_suffix('/').unwrap_or(url.as_str()) == stem && !stem.ends_with('/');
        // What stands in a quoted string of a header must not end it; a URL's host may hold quotes.
        let quotable = stem.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
        if is_private(&url) && bare && as_written && quotable { Ok(Self(stem.to_owned())) } else { Err(NotPublic) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_url_is_taken_with_or_without_its_final_slash() {
        for (text, url, path) in [
            ("https://hallpass.example.com", "https://hallpass.example.com", ""),
            ("https://hallpass.example.com/", "https://hallpass.example.com", ""),
            ("https://hallpass.example.com:8443/a/b/", "https://hallpass.example.com:8443/a/b", "/a/b"),
            (
                "http://127.0.0.1:3000/lambda-url/broker",
                "http://127.0.0.1:3000/lambda-url/broker",
                "/lambda-url/broker",
            ),
            ("http://[::1]:3000", "http://[::1]:3000", ""),
            ("http://localhost", "http://localhost", ""),
        ] {
            let parsed: PublicUrl = text.parse().unwrap();
            assert_eq!((parsed.as_str(), parsed.path()), (url, path));
        }
    }

    #[test]
    fn what_is_not_the_url_of_a_function_is_refused() {
        for text in [
            "",
            " ",
            "hallpass.example.com",
            "//hallpass.example.com",
            "http://hallpass.example.com",
            "http://localhost.example.com",
            "ftp://localhost",
            "https://",
            "https://hallpass.example.com//",
            "https://hallpass.example.com/a//",
            "https://hallpass.example.com/?",
            "https://bob:hunter2@hallpass.example.com",
            "https://bob@hallpass.example.com",
            "https://hallpass.example.com/#",
            "https://Hallpass.example.com",
            "HTTPS://hallpass.example.com",
            "https://hallpass.example.com:443",
            "http://127.0.0.1:80",
            "https://hallpass.example.com/a/../b",
            "https://hallpass.example.com/a b",
            "https://hallpass.example.com/a\"b",
            "https://hallpass\".example.com",
            "https://häuschen.example.com",
            "https://hallpass.example.com\\a",
            "https:hallpass.example.com",
            " https://hallpass.example.com",
            "https://hallpass.example.com\n",
        ] {
            assert_eq!(text.parse::<PublicUrl>(), Err(NotPublic), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_can_stand_in_a_quoted_string_of_a_header(text in "https?://[ -~]{0,24}") {
            if let Ok(url) = text.parse::<PublicUrl>() {
                prop_assert!(url.as_str().bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\'));
                prop_assert!(url.path().is_empty() || url.path().starts_with('/'));
                prop_assert!(!url.path().ends_with('/'));
            }
        }
    }
}
