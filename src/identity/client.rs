//! With which client does one sign in at an issuer for Hallpass?
//!
//! The members `cli` and `browser` of an issuer's configuration. These clients are public: they have no secret.

use std::collections::BTreeMap;

use serde_json::Value;
use url::Url;

use crate::net::url::quoted_url;
use crate::read::fields::{Fields, TEXT, text};
use crate::read::json::escaped;
use crate::read::problems::{Problem, Problems, quoted};
use crate::read::rule::Rule;
use crate::wire::{TokenKind, is_set_by_protocol};

/// Where the command line listens, at any port, if nobody says otherwise.
const LOOPBACK: &str = "http://127.0.0.1/callback";

/// Parameters that would be a secret, which everyone could read here.
const SECRETS: [&str; 2] = ["client_assertion", "client_secret"];

/// A client, as the operator has registered it at the issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) id: String,
    pub(super) scope: String,
    pub(super) token: TokenKind,
    pub(super) parameters: BTreeMap<String, String>,
    /// None for web pages: they are sent back to where they are.
    pub(super) redirect_uri: Option<String>,
}

impl Client {
    /// Reads the client of the command line.
    pub(super) fn of_cli(value: &Value, at: &str, problems: &mut Problems) -> Option<Self> {
        Self::read(value, at, problems, |fields| {
            Some(fields.nullable("redirect_uri", loopback).unwrap_or_else(|| LOOPBACK.to_owned()))
        })
    }

    /// Reads the client of web pages.
    pub(super) fn of_browser(value: &Value, at: &str, problems: &mut Problems) -> Option<Self> {
        Self::read(value, at, problems, |fields| {
            let problem = |_: &Value| {
                let says = "is always the function's own URL with a final slash";
                Err::<String, _>(Problem::new(Rule::NoEffect, says).help("register that URL, and remove this one"))
            };
            fields.nullable("redirect_uri", problem)
        })
    }

    /// `None` if there is none, or if anything is wrong with it.
    fn read(
        value: &Value,
        at: &str,
        problems: &mut Problems,
        redirect_uri: impl FnOnce(&mut Fields<'_>) -> Option<String>,
    ) -> Option<Self> {
        if value.is_null() {
            return None;
        }
        let Some(members) = value.as_object() else {
            // It is not quoted: who mistakes this place may have put a secret there.
            problems.add(at, Problem::new(Rule::Type, "must be an object, or left out"));
            return None;
        };
        let mut fields = Fields::new(members, at, problems);
        let client_id = fields.required("client_id", TEXT, client_id);
        let scope = fields.nullable("scope", scope).unwrap_or_else(|| "openid".to_owned());
        let token = fields.nullable("token", token_kind).unwrap_or_default();
        let has_token = token == TokenKind::AccessToken || scope.split(' ').any(|scope| scope == "openid");
        fields.require(has_token, "scope", || {
            let says = format_args!("must contain `openid`, or there is no ID token: {}", quoted(&scope));
            Problem::new(Rule::Value, says)
        });
        let parameters = fields.nested("parameters", parameters).unwrap_or_default();
        let redirect_uri = redirect_uri(&mut fields);
        let fine = fields.finish(
            |_| false,
            |_| Problem::new(Rule::UnknownMember, "is not a setting of a client").help("check its spelling"),
        );
        let client = Self { id: client_id?, scope, token, parameters, redirect_uri };
        fine.then_some(client)
    }
}

/// RFC 6749, appendix A.1.
fn client_id(value: &Value) -> Result<String, Problem> {
    let must = "must consist of printable ASCII characters";
    let id = text(value)?;
    let legal = id.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if legal { Ok(id) } else { Err(Problem::wrong(Rule::Value, must, value)) }
}

/// RFC 6749 §3.3.
fn scope(value: &Value) -> Result<String, Problem> {
    let must = "must be one or more scopes, separated by one space each";
    let scopes = text(value)?;
    let legal = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    let all_legal = scopes.split(' ').all(|scope| !scope.is_empty() && scope.bytes().all(legal));
    if all_legal { Ok(scopes) } else { Err(Problem::wrong(Rule::Value, must, value)) }
}

fn token_kind(value: &Value) -> Result<TokenKind, Problem> {
    match value.as_str() {
        Some("access_token") => Ok(TokenKind::AccessToken),
        Some("id_token") => Ok(TokenKind::IdToken),
        _ => Err(Problem::wrong(Rule::Value, "must be `access_token` or `id_token`", value)),
    }
}

/// Reads further parameters of the authorization request. No value is quoted: it may be a secret, in the wrong place.
fn parameters(value: &Value, at: &str, problems: &mut Problems) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::new();
    if value.is_null() {
        return parameters;
    }
    let Some(members) = value.as_object() else {
        problems.add(at, Problem::new(Rule::Type, "must map names of parameters to strings"));
        return parameters;
    };
    for (name, value) in members {
        let at = format!("{at}/{}", escaped(name));
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if name.is_empty() || !name.bytes().all(legal) {
            problems.add(&at, Problem::new(Rule::Value, "must be named with letters, digits, `-`, `.` and `_` only"));
        } else if is_set_by_protocol(name) {
            problems.add(&at, Problem::new(Rule::Value, "is set by the sign-in itself").help("remove it"));
        } else if SECRETS.contains(&name.as_str()) {
            let says = "is a secret, and everyone could read it here";
            problems.add(&at, Problem::new(Rule::Value, says).help("register a public client, which has none"));
        }
        match value.as_str() {
            Some(text) => _ = parameters.insert(name.clone(), text.to_owned()),
            None => problems.add(&at, Problem::new(Rule::Type, "must be a string")),
        }
    }
    parameters
}

/// Where the command line listens (RFC 8252 §7.3): plain http on loopback. Without a port, any will do.
fn loopback(value: &Value) -> Result<String, Problem> {
    let must = "must be an http URL on loopback without a query, such as `http://127.0.0.1/callback`";
    let refused = |shown: &str| Problem::new(Rule::Url, format_args!("{must}: {}", quoted_url(shown)));
    let text = value.as_str().ok_or_else(|| refused(&value.to_string()))?;
    let url = Url::parse(text).map_err(|_| refused(text))?;
    let bare = url.username().is_empty() && url.password().is_none();
    let bare = bare && url.query().is_none() && url.fragment().is_none() && url.port() != Some(0);
    // Providers compare it as text.
    let as_written = url.as_str() == text || url.as_str().strip_suffix('/') == Some(text);
    // The only addresses that every browser takes for this machine, and every machine has.
    let is_here = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
    if url.scheme() == "http" && is_here && bare && as_written { Ok(text.to_owned()) } else { Err(refused(text)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::SET_BY_PROTOCOL;

    type Read = fn(&Value, &str, &mut Problems) -> Option<Client>;

    const KINDS: [Read; 2] = [Client::of_cli, Client::of_browser];

    /// Everything that a client can have, but for where it listens.
    fn full() -> Value {
        json!({
            "client_id": "0oa1b2c3",
            "scope": "openid offline_access api://hallpass/credentials",
            "token": "access_token",
            "parameters": {"audience": "https://hallpass.example.com", "prompt": "consent", "max_age": "3600", "x": ""},
        })
    }

    fn changed(members: &Value) -> Value {
        let mut client = full();
        client.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        client
    }

    fn read(kind: Read, value: &Value) -> Result<Option<Client>, String> {
        let mut problems = Problems::default();
        let client = kind(value, "/0/cli", &mut problems);
        if problems.is_empty() {
            return Ok(client);
        }
        assert_eq!(client, None, "nothing is made of what is wrong");
        Err(problems.to_string())
    }

    #[test]
    fn a_client_needs_no_more_than_its_id() {
        for (kind, redirect_uri) in KINDS.into_iter().zip([Some(LOOPBACK), None]) {
            for least in [
                json!({"client_id": "hallpass-cli"}),
                json!({"client_id": "hallpass-cli", "scope": null, "token": null, "parameters": null, "redirect_uri": null}),
            ] {
                let client = Client {
                    id: "hallpass-cli".to_owned(),
                    scope: "openid".to_owned(),
                    token: TokenKind::AccessToken,
                    parameters: BTreeMap::new(),
                    redirect_uri: redirect_uri.map(str::to_owned),
                };
                assert_eq!(read(kind, &least).unwrap(), Some(client));
            }
        }
    }

    #[test]
    fn all_that_is_set_is_read() {
        for kind in KINDS {
            let client = read(kind, &full()).unwrap().unwrap();
            assert_eq!(client.id, "0oa1b2c3");
            assert_eq!(client.scope, "openid offline_access api://hallpass/credentials");
            assert_eq!(client.token, TokenKind::AccessToken);
            assert_eq!(json!(client.parameters), full()["parameters"]);
            let client = read(kind, &changed(&json!({"token": "id_token"}))).unwrap().unwrap();
            assert_eq!(client.token, TokenKind::IdToken);
            assert_eq!(read(kind, &Value::Null).unwrap(), None);
        }
    }

    #[test]
    fn one_mistake_is_named_with_its_place_and_the_remedy() {
        let no_scope = "must be one or more scopes, separated by one space each";
        for (members, place, says) in [
            (json!({"client_id": null}), "/client_id", TEXT),
            (json!({"client_id": ""}), "/client_id", TEXT),
            (json!({"client_id": 7}), "/client_id", TEXT),
            (json!({"client_id": "a\nb"}), "/client_id", "must consist of printable ASCII characters"),
            (json!({"client_id": "bücher"}), "/client_id", "must consist of printable ASCII characters"),
            (json!({"scope": ""}), "/scope", TEXT),
            (json!({"scope": ["openid"]}), "/scope", TEXT),
            (json!({"scope": "openid  groups"}), "/scope", no_scope),
            (json!({"scope": " openid"}), "/scope", no_scope),
            (json!({"scope": "openid "}), "/scope", no_scope),
            (json!({"scope": "openid\tgroups"}), "/scope", no_scope),
            (json!({"scope": "open\"id"}), "/scope", no_scope),
            (json!({"scope": "open\\id"}), "/scope", no_scope),
            (json!({"token": "id_token", "scope": "groups"}), "/scope", "must contain `openid`"),
            (json!({"token": "refresh_token"}), "/token", "must be `access_token` or `id_token`"),
            (json!({"token": true}), "/token", "must be `access_token` or `id_token`"),
            (json!({"parameters": []}), "/parameters", "must map names of parameters to strings"),
            (json!({"parameters": {"max_age": 3600}}), "/parameters/max_age", "must be a string"),
            (json!({"parameters": {"": "x"}}), "/parameters/", "must be named with letters"),
            (json!({"parameters": {"a b": "x"}}), "/parameters/a b", "must be named with letters"),
            (json!({"parameters": {"a/b": "x"}}), "/parameters/a~1b", "must be named with letters"),
            (json!({"client_secret": "x"}), "/client_secret", "is not a setting of a client; check its spelling"),
            (json!({"scopes": "openid"}), "/scopes", "is not a setting of a client; check its spelling"),
        ] {
            for kind in KINDS {
                let problems = read(kind, &changed(&members)).expect_err(&members.to_string());
                assert!(problems.starts_with(&format!("/0/cli{place} {says}")), "{members}: {problems}");
                assert!(!problems.contains("; /0"), "one mistake is one problem: {problems}");
            }
        }
        for kind in KINDS {
            for value in [json!("hallpass-cli"), json!([]), json!(true)] {
                assert_eq!(read(kind, &value).unwrap_err(), "/0/cli must be an object, or left out");
            }
            assert_eq!(read(kind, &json!({})).unwrap_err(), format!("/0/cli/client_id {TEXT}"));
        }
    }

    #[test]
    fn what_the_sign_in_sets_is_no_parameter() {
        let mut names: Vec<&str> = SET_BY_PROTOCOL.to_vec();
        names.extend(["code_challenge", "code_challenge_method"]);
        for name in names {
            for kind in KINDS {
                let problems = read(kind, &changed(&json!({"parameters": {name: "x"}}))).expect_err(name);
                assert_eq!(problems, format!("/0/cli/parameters/{name} is set by the sign-in itself; remove it"));
            }
        }
    }

    #[test]
    fn no_secret_is_taken_and_no_value_is_shown() {
        for kind in KINDS {
            for name in SECRETS {
                let problems = read(kind, &changed(&json!({"parameters": {name: "hunter2"}}))).expect_err(name);
                assert!(problems.starts_with(&format!("/0/cli/parameters/{name} is a secret")), "{problems}");
                assert!(!problems.contains("hunter2"), "{problems}");
            }
            for wrong in [
                json!("hunter2"),
                changed(&json!({"client_secret": "hunter2"})),
                changed(&json!({"parameters": "hunter2"})),
                changed(&json!({"parameters": {"audience": ["hunter2"]}})),
                changed(&json!({"redirect_uri": "http://carol:hunter2@127.0.0.1/"})),
            ] {
                assert!(!read(kind, &wrong).unwrap_err().contains("hunter2"));
            }
        }
    }

    #[test]
    fn the_command_line_listens_on_loopback_alone() {
        for good in [
            "http://127.0.0.1",
            "http://127.0.0.1/",
            "http://127.0.0.1:8250/callback",
            "http://[::1]/callback",
            "http://localhost",
            "http://localhost:3000/oidc/callback",
        ] {
            let client = read(Client::of_cli, &changed(&json!({"redirect_uri": good}))).unwrap().unwrap();
            assert_eq!(client.redirect_uri.as_deref(), Some(good));
        }
        for bad in [
            "",
            "127.0.0.1",
            "https://127.0.0.1/callback",
            "https://login.example.com/callback",
            "http://login.example.com/callback",
            "http://localhost.example.com/callback",
            "http://0.0.0.0/callback",
            "http://127.0.0.1:0/callback",
            "http://127.0.0.1:80/callback",
            "http://127.0.0.1:99999/callback",
            "http://127.1/callback",
            "http://127.0.0.2/callback",
            "http://LOCALHOST/callback",
            "http://127.0.0.1/callback?x=1",
            "http://127.0.0.1/callback#x",
            "http://carol@127.0.0.1/callback",
            "http://127.0.0.1/a/../b",
            "http://127.0.0.1/a b",
            "com.example.app:/callback",
            "urn:ietf:wg:oauth:2.0:oob",
        ] {
            let problems = read(Client::of_cli, &changed(&json!({"redirect_uri": bad}))).expect_err(bad);
            assert!(problems.starts_with("/0/cli/redirect_uri must be an http URL on loopback"), "{problems}");
            assert!(problems.ends_with(&quoted_url(bad)), "{problems}");
        }
        assert!(read(Client::of_cli, &changed(&json!({"redirect_uri": 7}))).is_err());
    }

    #[test]
    fn a_web_page_is_sent_back_to_where_it_is() {
        for uri in [json!("https://hallpass.example.com/"), json!(LOOPBACK), json!(7)] {
            let problems = read(Client::of_browser, &changed(&json!({"redirect_uri": uri}))).unwrap_err();
            let says = "is always the function's own URL with a final slash; register that URL, and remove this one";
            assert_eq!(problems, format!("/0/cli/redirect_uri {says}"));
        }
    }
}
