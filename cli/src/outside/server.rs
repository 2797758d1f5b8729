//! What does a Hallpass server say of itself, to everyone?

use hyper::header;
use serde_json::Value;
use url::Url;

#[cfg(feature = "person")]
use hallpass::net::url::is_loopback;
use hallpass::net::url::{is_private, quoted_url};
use hallpass::wire::{METADATA_PATH, Metadata};

use super::trouble::{Trouble, shown};
use super::web::{Answer, Question, Web};

/// What a URL of a server has besides letters and digits: nothing that a shell obeys, because it is in the command of a
/// profile, and in those that messages propose.
const MARKS: &str = ":/.-_~%@+,=[]";

/// The URL of a server, without a final slash.
// INVARIANT: https, or http to this machine; without user, query and fragment; of letters, digits and `MARKS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerUrl(Url);

impl ServerUrl {
    /// Takes a URL as somebody typed it.
    ///
    /// # Errors
    /// [`Trouble::Usage`] says what a URL of a server is.
    pub(crate) fn parse(text: &str) -> Result<Self, Trouble> {
        let refused = |why: &str| Err(Trouble::Usage(format!("{} {why}", shown(&quoted_url(text)))));
        if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
            return refused("is not a URL");
        }
        let Ok(mut url) = Url::parse(text) else {
            return refused("is not a URL; write it as https://hallpass.example.com");
        };
        if !is_private(&url) {
            return refused("must begin with https:// (plain http is for this machine alone)");
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return refused("must be a host and perhaps a path, and nothing else");
        }
        if !url.as_str().chars().all(|c| c.is_ascii_alphanumeric() || MARKS.contains(c)) {
            return refused("has characters that a shell obeys");
        }
        let path = url.path().strip_suffix('/').unwrap_or(url.path()).to_owned();
        url.set_path(&path);
        Ok(Self(url))
    }

    /// The text, as `resource` has it.
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str().strip_suffix('/').unwrap_or(self.0.as_str())
    }

    /// Whether it is on this machine.
    #[cfg(feature = "person")]
    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }

    /// The URL of a path below it.
    ///
    /// # Errors
    /// [`Trouble`] if there is none.
    pub(crate) fn at(&self, path: &str) -> Result<Url, Trouble> {
        Url::parse(&format!("{}{path}", self.as_str())).map_err(|_| Trouble::failed(format!("{self} is not a URL")))
    }
}

impl std::fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Fetches the metadata of a server. Its `resource` must be the URL that was typed: otherwise tokens would go to
/// somebody whom nobody named (RFC 9728 §3.3).
///
/// # Errors
/// [`Trouble`] if it is not a Hallpass, or cannot be reached.
pub(crate) async fn metadata(web: &Web, server: &ServerUrl) -> Result<Metadata, Trouble> {
    // Behind a stage of API Gateway only the path below the stage leads to us, so it is asked first. A proxy may refuse
    // what it does not know in its own way.
    let mut answer = web.ask(Question::get(&server.at(METADATA_PATH)?)).await?;
    if (400..500).contains(&answer.status) && answer.status != 429 && server.0.path() != "/" {
        let inserted = Url::parse(&Metadata::url(server.as_str()));
        let inserted = inserted.map_err(|_| Trouble::failed(format!("{server} is not a URL")))?;
        answer = web.ask(Question::get(&inserted)).await?;
    }
    read_metadata(server, &answer)
}

fn read_metadata(server: &ServerUrl, answer: &Answer) -> Result<Metadata, Trouble> {
    if answer.is_redirect() {
        return Err(redirected(server, answer));
    }
    if answer.status >= 500 || answer.status == 429 {
        return Err(Trouble::Unavailable(format!("{server} answered with status {}; try again", answer.status)));
    }
    let not_ours =
        || Trouble::failed(format!("{server} is not a Hallpass server (status {}); check the URL", answer.status));
    if answer.status != 200 {
        return Err(not_ours());
    }
    let body = answer.object().ok_or_else(not_ours)?;
    let metadata: Metadata = serde_json::from_value(Value::Object(body)).map_err(|_| not_ours())?;
    if !ServerUrl::parse(&metadata.resource).is_ok_and(|resource| resource == *server) {
        let says = shown(&quoted_url(&metadata.resource));
        return Err(Trouble::failed(format!("{server} says that its URL is {says}; if that is right, use it instead")));
    }
    Ok(metadata)
}

/// A redirect as a trouble.
pub(crate) fn redirected(server: &ServerUrl, answer: &Answer) -> Trouble {
    let to = answer.header(header::LOCATION).and_then(|to| Url::parse(to).ok());
    let to = to.map_or_else(String::new, |to| format!(" to {}", shown(&to.origin().ascii_serialization())));
    Trouble::failed(format!("{server} redirects{to}; a token follows no redirect, so use the server's own URL"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_https_or_is_on_this_machine() {
        for (text, url) in [
            ("https://hallpass.example.com", "https://hallpass.example.com"),
            ("https://Hallpass.Example.com/", "https://hallpass.example.com"),
            ("https://hallpass.example.com:443/x/", "https://hallpass.example.com/x"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("http://localhost/x/y", "http://localhost/x/y"),
            ("http://[::1]:3000/a-b_c~d%20e@f+g,h=i", "http://[::1]:3000/a-b_c~d%20e@f+g,h=i"),
        ] {
            assert_eq!(ServerUrl::parse(text).unwrap().as_str(), url);
        }
        for text in [
            "",
            "hallpass.example.com",
            "http://hallpass.example.com",
            "ftp://hallpass.example.com",
            "https://carol:hunter2@hallpass.example.com",
            "https://hallpass.example.com/?key=hunter2",
            "https://hallpass.example.com/#hunter2",
            "https://hallpass.example.com /",
            "https:\\\\hallpass.example.com",
            "https://hallpass.example.com/$(id)",
            "https://hallpass.example.com/a;b",
            "https://hallpass.example.com/a|b",
            "https://hallpass.example.com/a&b",
            "https://hallpass.example.com/a'b",
            "https://hallpass.example.com/!a",
            "https://hallpass.example.com/*",
            "https://hall$pass.example.com",
        ] {
            let refused = ServerUrl::parse(text).unwrap_err();
            assert!(matches!(&refused, Trouble::Usage(told) if !told.contains("hunter2")), "{refused}");
        }
    }
}
