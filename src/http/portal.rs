//! What does the function serve to browsers?
//!
//! The portal: pages, styles and modules as they are read in `portal/`. Only what is listed here is served.

use std::borrow::Cow;

use data_encoding::HEXLOWER;
use lambda_http::http::{HeaderMap, HeaderValue, header};
use sha2::{Digest, Sha256};

/// A file of the portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct File {
    name: &'static str,
    pub(super) media_type: &'static str,
    pub(super) text: &'static str,
}

macro_rules! file {
    ($name:literal, $media_type:expr) => {
        File { name: $name, media_type: $media_type, text: include_str!(concat!("../../portal/", $name)) }
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// The page itself. It is at the function's own URL alone: its links are relative to that.
pub(super) const PAGE: File = file!("index.html", HTML);

/// What the page loads, from `portal/`.
const FILES: [File; 8] = [
    file!("favicon.svg", SVG),
    file!("style.css", CSS),
    file!("portal.js", JAVASCRIPT),
    file!("hallpass.js", JAVASCRIPT),
    file!("signin.js", JAVASCRIPT),
    file!("grants.js", JAVASCRIPT),
    file!("credentials.js", JAVASCRIPT),
    file!("shells.js", JAVASCRIPT),
];

impl File {
    /// The file of this name, which is compared as it stands in the path.
    pub(super) fn named(name: &str) -> Option<Self> {
        FILES.into_iter().find(|file| file.name == name)
    }

    /// A strong validator: the same text has the same one, in every version.
    pub(super) fn etag(self) -> String {
        let digest = HEXLOWER.encode(&Sha256::digest(self.text));
        format!("\"{digest}\"")
    }

    /// Whether one of the texts that a browser holds is this one (RFC 9110 §13.1.2).
    pub(super) fn is_held(self, if_none_match: Option<&HeaderValue>) -> bool {
        let etag = self.etag();
        let held = if_none_match.and_then(|value| value.to_str().ok()).unwrap_or_default();
        held.split(',').map(str::trim).any(|held| held == "*" || held.trim_start_matches("W/") == etag)
    }

    /// The headers that an answer with this file has, whether the browser holds it or not. `policy` says where the page
    /// may connect to.
    pub(super) fn describe(self, headers: &mut HeaderMap, origins: &[String]) {
        let fixed = [
            (header::REFERRER_POLICY, "no-referrer"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        ];
        for (name, value) in fixed {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let made = [(header::ETAG, self.etag()), (header::CONTENT_SECURITY_POLICY, policy(origins))];
        for (name, value) in made {
            // Neither can fail: a digest is ASCII, and so is every origin.
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
    }
}

/// What the page may do (CSP level 3): run and show what is ours, and connect to us and to `origins`.
fn policy(origins: &[String]) -> String {
    let connect = origins.iter().fold(Cow::from("'self'"), |list, origin| format!("{list} {origin}").into());
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src {connect}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn what_is_in_the_directory_is_what_is_served() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("portal");
        let there = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let served = FILES.iter().chain(&[PAGE]).map(|file| file.name.to_owned());
        assert_eq!(there.collect::<BTreeSet<_>>(), served.collect());
        assert_eq!(FILES.iter().map(|file| file.name).collect::<BTreeSet<_>>().len(), FILES.len());
    }

    #[test]
    fn the_portal_has_at_most_sixty_kilobytes() {
        assert!(FILES.iter().chain(&[PAGE]).map(|file| file.text.len()).sum::<usize>() <= 60_000);
    }

    #[test]
    fn a_file_is_found_by_its_exact_name() {
        assert_eq!(File::named("style.css").map(|file| file.media_type), Some("text/css; charset=utf-8"));
        for name in
            ["", "index.html", "Style.css", "style.css/", "style%2ecss", "./style.css", "../Cargo.toml", "style.css?x"]
        {
            assert_eq!(File::named(name), None, "{name}");
        }
    }

    #[test]
    fn a_text_that_is_held_is_known_by_its_validator() {
        let etag = PAGE.etag();
        let held = |value: &str| PAGE.is_held(Some(&HeaderValue::from_str(value).unwrap()));
        for value in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
            assert!(held(&value), "{value}");
        }
        for value in ["", "x", "\"x\"", etag.trim_matches('"'), "\"*\""] {
            assert!(!held(value), "{value}");
        }
        assert!(!PAGE.is_held(None));
        assert_ne!(File::named("style.css").unwrap().etag(), etag);
    }

    #[test]
    fn the_page_connects_to_us_and_to_the_issuers_alone() {
        let of = |origins: &[&str]| policy(&origins.iter().map(|&origin| origin.to_owned()).collect::<Vec<_>>());
        let around = |connect: &str| {
            format!(
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src {connect}; \
                base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
            )
        };
        assert_eq!(of(&[]), around("'self'"));
        assert_eq!(of(&["https://a.example", "http://[::1]:1"]), around("'self' https://a.example http://[::1]:1"));
    }
}
