//! What does a Hallpass server say to a caller, and with what does one sign in there?

use hyper::header;
use secrecy::SecretString;
use serde_json::Value;
use url::Url;

use hallpass::net::url::{is_private, quoted_url};
use hallpass::wire::{Client, Code, Credentials, Metadata, Offers, Problem, is_set_by_protocol};

use super::trouble::{Trouble, shown};
use super::web::{Question, Web};
use crate::outside::server::redirected;
pub(crate) use crate::outside::server::{ServerUrl, metadata};

/// What time it is at the server, in its own words.
///
/// # Errors
/// [`Trouble`] if it cannot be reached.
pub(crate) async fn date(web: &Web, server: &ServerUrl) -> Result<Option<String>, Trouble> {
    let answer = web.ask(Question::get(&server.at("/v1/health")?)).await?;
    if answer.is_redirect() {
        return Err(redirected(server, &answer));
    }
    Ok(answer.header(header::DATE).map(str::to_owned))
}

/// The client to sign in with, at the issuer of this id, or at the only one.
///
/// # Errors
/// [`Trouble`] if there is none, or if there are several and none was chosen.
pub(crate) fn choose_client(server: &ServerUrl, metadata: Metadata, issuer: Option<&str>) -> Result<Client, Trouble> {
    let mut clients = metadata.hallpass_clients.cli;
    let ids = clients.iter().map(|client| shown(&client.issuer_id)).collect::<Vec<_>>().join(", ");
    if clients.is_empty() {
        let text =
            format!("{server} has no client for the command line; ask its operator to configure `cli` of an issuer");
        return Err(Trouble::Failed(text));
    }
    if let Some(issuer) = issuer {
        clients.retain(|client| client.issuer_id == issuer);
    }
    let mut clients = clients.into_iter();
    match (clients.next(), clients.next(), issuer) {
        (Some(client), None, _) => check_client(server, client),
        (None, _, Some(issuer)) => {
            Err(Trouble::Usage(format!("{server} has no issuer {}; it has {ids}", shown(&quoted_url(issuer)))))
        }
        _ => Err(Trouble::Usage(format!("{server} has several issuers; choose one with --issuer: {ids}"))),
    }
}

/// A server can name any address. It must not name one on this machine unless it is on this machine, too, and it must
/// not change what keeps a sign-in safe.
fn check_client(server: &ServerUrl, client: Client) -> Result<Client, Trouble> {
    let refused =
        |why: String| Err(Trouble::Failed(format!("{server} describes a sign-in that cannot be used: {why}")));
    let issuer = Url::parse(&client.issuer).ok().filter(is_private);
    if issuer.is_none_or(|issuer| issuer.scheme() == "http" && !server.is_loopback()) {
        return refused(format!("its issuer is {}", shown(&quoted_url(&client.issuer))));
    }
    if client.client_id.is_empty() {
        return refused("it has no client id".into());
    }
    let is_set = |name: &&String| is_set_by_protocol(name);
    match client.parameters.keys().find(is_set) {
        Some(name) => refused(format!("its parameters name `{}`", shown(name))),
        None => Ok(client),
    }
}

/// Why a server refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// In its own words.
    Told(Box<Problem>),
    /// It could not be asked, or answered something else.
    Other(Trouble),
}

impl From<Trouble> for Refusal {
    fn from(trouble: Trouble) -> Self {
        Self::Other(trouble)
    }
}

impl Refusal {
    /// As one line.
    pub(crate) fn into_trouble(self, server: &ServerUrl) -> Trouble {
        match self {
            Self::Other(trouble) => trouble,
            Self::Told(problem) => {
                let text = format!(
                    "{server}: {} ({}, request {})",
                    shown(&problem.message),
                    problem.code,
                    shown(&problem.request_id)
                );
                match problem.code {
                    Code::TemporarilyUnavailable | Code::IdentityProviderUnavailable => Trouble::Unavailable(text),
                    Code::InvalidRequest
                    | Code::TokenMissing
                    | Code::InvalidToken
                    | Code::InsufficientUserAuthentication
                    | Code::GroupsUnavailable
                    | Code::AccessDenied
                    | Code::NotFound
                    | Code::MethodNotAllowed
                    | Code::ContentTooLarge
                    | Code::UnsupportedMediaType
                    | Code::GrantUnusable
                    | Code::BrokerKeyRefused
                    | Code::Internal
                    | Code::Unknown => Trouble::Failed(text),
                }
            }
        }
    }
}

/// Asks for credentials of a grant.
///
/// # Errors
/// [`Refusal`] if there are none.
pub(crate) async fn credentials(
    web: &Web,
    server: &ServerUrl,
    token: &SecretString,
    grant: &str,
    duration: Option<u32>,
) -> Result<Credentials, Refusal> {
    let mut url = server.at(&format!("/v1/credentials/{grant}"))?;
    if let Some(seconds) = duration {
        url.query_pairs_mut().append_pair("duration", &seconds.to_string());
    }
    let body = ask(web, server, &url, token).await?;
    let strange = |_| Trouble::failed(format!("{server} answered something that is not credentials; check the URL"));
    let credentials: Credentials = serde_json::from_value(body).map_err(strange)?;
    Ok(credentials)
}

/// Asks which grants there are. The body comes with them, as it is.
///
/// # Errors
/// [`Refusal`] if that cannot be said.
pub(crate) async fn offers(web: &Web, server: &ServerUrl, token: &SecretString) -> Result<(Offers, Value), Refusal> {
    let body = ask(web, server, &server.at("/v1/grants")?, token).await?;
    let strange =
        |_| Trouble::failed(format!("{server} answered something that is not a list of grants; check the URL"));
    let offers = serde_json::from_value(body.clone()).map_err(strange)?;
    Ok((offers, body))
}

async fn ask(web: &Web, server: &ServerUrl, url: &Url, token: &SecretString) -> Result<Value, Refusal> {
    let answer = web.ask(Question::get(url).bearer(token)).await?;
    if answer.is_redirect() {
        return Err(redirected(server, &answer).into());
    }
    let body = answer.object();
    if answer.status == 200 {
        let strange = || Trouble::failed(format!("{server} answered something that is not JSON; check the URL"));
        return Ok(Value::Object(body.ok_or_else(strange)?));
    }
    let problem = body.and_then(|body| serde_json::from_value::<Problem>(Value::Object(body)).ok());
    // The gateway's own refusals are not problems of ours.
    let status = answer.status;
    let text = format!("{server} answered with status {status}");
    Err(match problem {
        Some(problem) => Refusal::Told(Box::new(problem)),
        None if status == 429 || status >= 500 => Trouble::Unavailable(format!("{text}; try again")).into(),
        None => Trouble::Failed(format!("{text}; check the URL")).into(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use hallpass::wire::SET_BY_PROTOCOL;

    fn metadata_of(cli: &Value) -> Metadata {
        let body = json!({
            "resource": "https://hallpass.example.com",
            "authorization_servers": [],
            "bearer_methods_supported": ["header"],
            "resource_name": "Hallpass",
            "hallpass_clients": {"cli": cli, "browser": []},
        });
        serde_json::from_value(body).unwrap()
    }

    fn client(id: &str) -> Value {
        json!({"issuer_id": id, "issuer": "https://login.example.com", "client_id": "hallpass-cli", "scope": "openid",
               "token": "access_token", "parameters": {"audience": "hallpass"}, "redirect_uri": "http://127.0.0.1/callback"})
    }

    fn choose(cli: &Value, issuer: Option<&str>) -> Result<String, String> {
        let server = ServerUrl::parse("https://hallpass.example.com").unwrap();
        let chosen = choose_client(&server, metadata_of(cli), issuer);
        chosen.map(|client| client.issuer_id).map_err(|trouble| trouble.to_string())
    }

    #[test]
    fn the_only_issuer_is_taken_and_of_several_one_must_be_named() {
        assert_eq!(choose(&json!([client("corp")]), None), Ok("corp".into()));
        assert_eq!(choose(&json!([client("corp"), client("labs")]), Some("labs")), Ok("labs".into()));
        let several = choose(&json!([client("corp"), client("labs")]), None).unwrap_err();
        assert!(several.contains("--issuer: corp, labs"), "{several}");
        assert!(choose(&json!([client("corp")]), Some("labs")).unwrap_err().contains("it has corp"));
        assert!(choose(&json!([]), None).unwrap_err().contains("no client for the command line"));
    }

    #[test]
    fn a_client_that_would_weaken_the_sign_in_is_refused() {
        let with = |name: &str, value: Value| {
            let mut client = client("corp");
            client[name] = value;
            json!([client])
        };
        for name in SET_BY_PROTOCOL.into_iter().chain(["code_challenge", "code_challenge_method", "code_challenge_x"]) {
            assert!(choose(&with("parameters", json!({name: "x"})), None).unwrap_err().contains(name));
        }
        for issuer in ["http://127.0.0.1:1", "http://login.example.com", "file:///etc/passwd", "x"] {
            assert!(choose(&with("issuer", json!(issuer)), None).unwrap_err().contains("issuer"), "{issuer}");
        }
        assert!(choose(&with("client_id", json!("")), None).unwrap_err().contains("client id"));
    }
}
