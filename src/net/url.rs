//! Which addresses may be asked, and what of an address may be shown?

use std::net::{Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use crate::read::problems::quoted;

/// A name in the DNS has 253 characters at most (RFC 1035 §2.3.4), and a port six with its colon.
const MAX_HOST_BYTES: usize = 259;

/// Whether nobody on the way can read what is sent to `url`: https, or plain http that stays on this machine.
#[must_use]
pub fn is_private(url: &Url) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => is_loopback(url),
        _ => false,
    }
}

/// Whether `url` leads to this machine. Of names only `localhost` does, because another one can be made to lead anywhere.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => Ipv4Addr::is_loopback(&address),
        Some(Host::Ipv6(address)) => Ipv6Addr::is_loopback(&address),
        None => false,
    }
}

/// The origin of an http or https URL, if it can stand in a header that separates values with commas, semicolons, spaces
/// and quotes, and gives a meaning to `*`. Hosts may hold most of these.
#[must_use]
pub fn origin(url: &Url) -> Option<String> {
    let origin = url.origin().ascii_serialization();
    let (_, host) = origin.split_once("://")?;
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:[]".contains(&byte);
    let is_host = host.len() <= MAX_HOST_BYTES && host.bytes().all(legal);
    (is_host && matches!(url.scheme(), "https" | "http")).then_some(origin)
}

/// A URL as a message quotes it. It leaves out what is before an `@` and after a `?` or `#`, because people put passwords
/// and keys there. The text need not be a valid URL.
#[must_use]
pub fn quoted_url(text: &str) -> String {
    let (user, rest) = text.rsplit_once('@').map_or((None, text), |(user, rest)| (Some(user), rest));
    if user.is_some_and(|user| user.contains(['?', '#'])) {
        return quoted("…");
    }
    let shown = rest.find(['?', '#']).and_then(|at| rest.get(..at.saturating_add(1)));
    let cut = if user.is_some() { "…@" } else { "" };
    quoted(shown.map_or_else(|| format!("{cut}{rest}"), |shown| format!("{cut}{shown}…")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_stays_on_this_machine() {
        for url in [
            "https://s3.example.com/x",
            "https://10.0.0.1/",
            "http://127.0.0.1:4701/x",
            "http://127.8.9.10/",
            "http://localhost/x",
            "http://LOCALHOST/x",
            "http://[::1]:1/x",
        ] {
            assert!(is_private(&Url::parse(url).unwrap()), "{url}");
        }
        for url in [
            "http://s3.example.com/x",
            "http://10.0.0.1/",
            "http://0.0.0.0/",
            "http://[::2]/",
            "http://127.0.0.1.example.com/",
            "http://localhost.example.com/",
            "http://localhost./",
            "http://example.com/localhost",
            "http://127.0.0.1@example.com/",
            "ftp://127.0.0.1/",
            "ws://localhost/",
            "app://localhost/",
            "file:///etc/passwd",
            "mailto:carol@localhost",
        ] {
            assert!(!is_private(&Url::parse(url).unwrap()), "{url}");
        }
    }

    #[test]
    fn an_origin_can_stand_in_a_header_or_there_is_none() {
        for (url, origin_of) in [
            ("https://login.example.com", "https://login.example.com"),
            ("https://login.example.com/", "https://login.example.com"),
            ("https://LOGIN.example.com:443/a?b#c", "https://login.example.com"),
            ("https://user:secret@login.example.com:8443/", "https://login.example.com:8443"),
            ("https://b\u{fc}cher.example", "https://xn--bcher-kva.example"),
            ("http://127.0.0.1:4700/oidc", "http://127.0.0.1:4700"),
            ("http://[::1]:4700/", "http://[::1]:4700"),
        ] {
            assert_eq!(origin(&Url::parse(url).unwrap()).as_deref(), Some(origin_of), "{url}");
        }
        let long = format!("https://{}", "a".repeat(260));
        for url in [
            "https://*.example.com",
            "https://a;script-src",
            "https://a,b.example",
            "https://a'unsafe-inline'",
            "https://a\"b",
            "https://a$b",
            "ftp://login.example.com",
            "blob:https://login.example.com/x",
            "data:text/plain,x",
            "app://localhost",
            "file:///etc/passwd",
            long.as_str(),
        ] {
            assert_eq!(Url::parse(url).ok().and_then(|url| origin(&url)), None, "{url}");
        }
    }

    #[test]
    fn a_url_is_quoted_without_what_may_be_secret() {
        for (url, shown) in [
            ("https://login.example.com/x", "`https://login.example.com/x`"),
            ("login.example.com", "`login.example.com`"),
            ("https://bob:hunter2@login.example.com/x", "`…@login.example.com/x`"),
            ("https://bob:hunt@hunter2@login.example.com", "`…@login.example.com`"),
            ("bob:hunter2@login.example.com", "`…@login.example.com`"),
            ("https:\\\\bob:hunter2@login.example.com", "`…@login.example.com`"),
            ("https://login.example.com?key=hunter2", "`https://login.example.com?…`"),
            ("https://login.example.com/#hunter2", "`https://login.example.com/#…`"),
            ("https://bob@login.example.com/?key=hunter2", "`…@login.example.com/?…`"),
            ("https://bob:hun?ter2@login.example.com", "`…`"),
            ("https://login.example.com/?a@hunter2", "`…`"),
        ] {
            assert_eq!(quoted_url(url), shown);
        }
    }
}
