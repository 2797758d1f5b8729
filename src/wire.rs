//! What do the function and its clients say to each other?
//!
//! The function writes these bodies, and the command line reads them: one type for both keeps them from drifting apart.
//! Both ignore members that they do not know.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};

macro_rules! codes {
    ($($variant:ident = $name:literal, $status:literal, $title:literal;)+) => {
        /// Why a request was refused: the public part of it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Code {
            $(#[doc = $title] #[serde(rename = $name)] $variant,)+
            /// A code that this version does not know. A newer function may send it; none of ours does.
            #[serde(other)]
            Unknown,
        }

        impl Code {
            /// Every code that the function sends, in the order of the statuses.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The code as bodies, metrics and audit lines write it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ Self::Unknown => "unknown" }
            }

            /// The HTTP status that it comes with.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ Self::Unknown => 500 }
            }

            /// A few words for people.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ Self::Unknown => "Refused" }
            }
        }
    };
}

codes! {
    InvalidRequest = "invalid_request", 400, "Invalid request";
    TokenMissing = "token_missing", 401, "Token missing";
    InvalidToken = "invalid_token", 401, "Token not acceptable";
    InsufficientUserAuthentication = "insufficient_user_authentication", 401, "Stronger sign-in needed";
    GroupsUnavailable = "groups_unavailable", 403, "Groups unavailable";
    AccessDenied = "access_denied", 403, "Access denied";
    NotFound = "not_found", 404, "Not found";
    MethodNotAllowed = "method_not_allowed", 405, "Method not allowed";
    ContentTooLarge = "content_too_large", 413, "Content too large";
    UnsupportedMediaType = "unsupported_media_type", 415, "Unsupported media type";
    GrantUnusable = "grant_unusable", 500, "Grant unusable";
    BrokerKeyRefused = "broker_key_refused", 500, "Broker key refused";
    Internal = "internal", 500, "Internal error";
    IdentityProviderUnavailable = "identity_provider_unavailable", 503, "Identity provider unavailable";
    TemporarilyUnavailable = "temporarily_unavailable", 503, "Temporarily unavailable";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The body of a refusal (RFC 9457 §3). Its `type`, `title` and `status` follow from the code.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Problem {
    pub code: Code,
    /// What is wrong, and what helps.
    pub message: String,
    /// With which an operator finds the audit line.
    #[serde(rename = "requestId")]
    pub request_id: String,
    /// What a new sign-in has to be.
    #[serde(flatten)]
    pub requires: Requires,
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: String,
            title: &'a str,
            status: u16,
            #[serde(rename = "requestId")]
            request_id: &'a str,
            code: Code,
            message: &'a str,
            // AWS's SDK for JavaScript reads only these two.
            #[serde(rename = "Code")]
            code_for_javascript: Code,
            #[serde(rename = "Message")]
            message_for_javascript: &'a str,
            #[serde(flatten)]
            requires: &'a Requires,
        }
        let Self { code, message, request_id, requires } = self;
        let body = Body {
            r#type: format!("urn:hallpass:problem:{code}"),
            title: code.title(),
            status: code.status(),
            request_id,
            code: *code,
            message,
            code_for_javascript: *code,
            message_for_javascript: message,
            requires,
        };
        body.serialize(serializer)
    }
}

/// What a sign-in has to be, in the terms of OpenID Connect. What is not asked for is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Requires {
    /// One of these authentication contexts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub acr_values: Vec<String>,
    /// All of these authentication methods (RFC 8176).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub amr_values: Vec<String>,
    /// At most so many seconds ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u64>,
}

/// The body of `/v1/credentials`, as `credential_process` and the container credentials of AWS's SDKs read it. No member
/// is called `code` or `Code`, which some SDKs take for an error.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Credentials {
    /// The version of this body: 1.
    pub version: u8,
    /// Not secret: CloudTrail records it.
    pub access_key_id: String,
    #[serde(serialize_with = "exposed")]
    pub secret_access_key: SecretString,
    /// The session token, as `credential_process` reads it.
    #[serde(serialize_with = "exposed")]
    pub session_token: SecretString,
    /// The session token again, as container credentials have it.
    #[serde(serialize_with = "exposed")]
    pub token: SecretString,
    /// When they expire (RFC 3339, UTC).
    pub expiration: Option<String>,
    pub account_id: String,
    pub federated_user: FederatedUser,
    /// The grant that they are for.
    pub grant: String,
    /// How much of STS's limit for the packed policy is used, in per cent.
    pub packed_policy_size: Option<i32>,
}

/// What STS calls the session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct FederatedUser {
    /// The ARN, as CloudTrail and resource policies write it.
    pub arn: String,
    /// The account and the name.
    pub federated_user_id: String,
}

#[expect(
    clippy::disallowed_methods,
    reason = "the caller who was authorized gets the secrets; nothing else writes this body"
)]
fn exposed<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

/// The body of `/v1/console`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ConsoleSignIn {
    /// Opens AWS's console, for anyone who has it, within 15 minutes.
    #[serde(serialize_with = "exposed")]
    pub signin_url: SecretString,
    /// When the session in the console ends (RFC 3339, UTC).
    pub expiration: Option<String>,
}

/// The body of `/v1/grants`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offers {
    /// The grants that the caller could ask for now.
    pub grants: Vec<Offer>,
}

/// A grant that the caller could ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    pub name: String,
    /// What it is for, in the operator's words.
    pub description: Option<String>,
    /// Seconds of the longest session.
    pub max_duration: i32,
    /// What this sign-in lacks.
    pub requires: Requires,
}

/// The body of `/v1/health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The version of the function.
    pub version: String,
}

/// Where [`Metadata`] is, after the host or after the function's own URL (RFC 9728 §3).
pub const METADATA_PATH: &str = "/.well-known/oauth-protected-resource";

/// Parameters of an authorization request that the sign-in itself sets (OpenID Connect Core §3.1.2.1), or that would set
/// these (§6). See [`is_set_by_protocol`].
pub const SET_BY_PROTOCOL: [&str; 9] = [
    "client_id",
    "nonce",
    "redirect_uri",
    "request",
    "request_uri",
    "response_mode",
    "response_type",
    "scope",
    "state",
];

/// Whether no issuer's configuration may set this parameter: neither the function accepts it, nor the command line.
#[must_use]
pub fn is_set_by_protocol(name: &str) -> bool {
    // RFC 7636 §4.3.
    SET_BY_PROTOCOL.contains(&name) || name.starts_with("code_challenge")
}

/// What the function says of itself, to everyone (RFC 9728 §2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The function's own URL, without a final slash.
    pub resource: String,
    /// The URL of every trusted issuer, also of those without clients.
    pub authorization_servers: Vec<String>,
    /// Where a token is taken from: the header alone.
    pub bearer_methods_supported: Vec<String>,
    /// A name for people.
    pub resource_name: String,
    /// With what one signs in for Hallpass.
    pub hallpass_clients: Clients,
}

impl Metadata {
    /// The URL of the metadata of `resource`: the well-known part stands between host and path (RFC 9728 §3.1).
    #[must_use]
    pub fn url(resource: &str) -> String {
        let resource = resource.strip_suffix('/').unwrap_or(resource);
        let (scheme, rest) = resource.split_once("://").unwrap_or(("https", resource));
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        format!("{scheme}://{host}{METADATA_PATH}{path}")
    }
}

/// The clients that are registered at the issuers for sign-ins to Hallpass. All are public: they have no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clients {
    /// Those of the command line.
    pub cli: Vec<Client>,
    /// Those of web pages.
    pub browser: Vec<Client>,
}

/// One client, at one issuer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// The operator's name for the issuer.
    pub issuer_id: String,
    pub issuer: String,
    /// The client's id at the issuer.
    pub client_id: String,
    /// What to ask for, in the words of OAuth: separated by spaces.
    pub scope: String,
    /// Which token of the answer Hallpass takes.
    pub token: TokenKind,
    /// Further parameters of the authorization request, such as `audience`.
    pub parameters: BTreeMap<String, String>,
    /// Where the issuer sends the browser afterwards. On loopback without a port, any port will do. The client of web
    /// pages has none here: for the function's own page it is `resource` with a final slash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_uri: Option<String>,
}

/// Which token of a sign-in is for Hallpass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    #[default]
    AccessToken,
    /// The ID token, for providers whose access tokens are not JWTs for Hallpass.
    IdToken,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    /// All texts between `before` and `after`.
    fn between<'t>(text: &'t str, before: &'t str, after: &'t str) -> impl Iterator<Item = &'t str> {
        text.split(before).skip(1).filter_map(move |rest| rest.split_once(after).map(|(found, _)| found))
    }

    #[test]
    fn the_page_of_the_interface_has_every_code_with_its_status_and_no_other() {
        let page = include_str!("../docs/api.md");
        let mut documented = BTreeSet::new();
        for row in page.lines().filter_map(|line| line.strip_prefix("| ")) {
            let (cell, _) = row.split_once(" |").unwrap();
            let mut status = None;
            for part in cell.split(", ").flat_map(|part| part.split(' ')) {
                status = part.parse::<u16>().ok().or(status);
                let code = part.strip_prefix('`').and_then(|part| part.strip_suffix('`'));
                documented.extend(status.zip(code).map(|(status, code)| (status, code.to_owned())));
            }
        }
        let codes = Code::ALL.iter().map(|code| (code.status(), code.as_str().to_owned()));
        assert_eq!(documented, codes.collect());
    }

    #[test]
    fn the_alarms_of_the_template_wait_for_codes_that_there_are() {
        let template = include_str!("../template.yaml");
        let awaited: BTreeSet<&str> = between(template, "{ Name: Code, Value: ", " }").collect();
        assert_eq!(awaited, BTreeSet::from([Code::BrokerKeyRefused.as_str(), Code::GrantUnusable.as_str()]));
        // Every dimension of that name is one of these.
        assert_eq!(template.matches("Name: Code,").count(), awaited.len());
    }

    #[test]
    fn a_code_is_read_as_it_is_written() {
        for code in Code::ALL {
            assert_eq!(json!(code), json!(code.as_str()));
            assert_eq!(serde_json::from_value::<Code>(json!(code.as_str())).unwrap(), *code);
        }
        assert_eq!(serde_json::from_value::<Code>(json!("issued")).unwrap(), Code::Unknown);
        assert!(!Code::ALL.contains(&Code::Unknown));
    }

    #[test]
    fn a_problem_is_read_as_it_is_written() {
        let requires = Requires { acr_values: Vec::new(), amr_values: vec!["mfa".into()], max_age: Some(900) };
        let code = Code::InsufficientUserAuthentication;
        let problem = Problem { code, message: "sign in again".into(), request_id: "r-1".into(), requires };
        let body = json!(problem);
        let written = json!({
            "type": "urn:hallpass:problem:insufficient_user_authentication",
            "title": "Stronger sign-in needed",
            "status": 401,
            "requestId": "r-1",
            "code": "insufficient_user_authentication",
            "message": "sign in again",
            "Code": "insufficient_user_authentication",
            "Message": "sign in again",
            "amr_values": ["mfa"],
            "max_age": 900,
        });
        assert_eq!(body, written);
        assert_eq!(serde_json::from_value::<Problem>(body).unwrap(), problem);
    }

    #[test]
    fn credentials_are_read_as_they_are_written_and_their_secrets_are_not_debugged() {
        let body = json!({
            "Version": 1,
            "AccessKeyId": "ASIAEXAMPLE",
            "SecretAccessKey": "canary-key",
            "SessionToken": "canary-token",
            "Token": "canary-token",
            "Expiration": "2026-11-22T12:00:00Z",
            "AccountId": "111122223333",
            "FederatedUser": {"Arn": "arn:aws:sts::111122223333:federated-user/c", "FederatedUserId": "111122223333:c"},
            "Grant": "default",
            "PackedPolicySize": null,
        });
        let credentials: Credentials = serde_json::from_value(body.clone()).unwrap();
        assert!(!format!("{credentials:?}").contains("canary"));
        assert_eq!(json!(credentials), body);
    }

    #[test]
    fn a_sign_in_to_the_console_is_read_as_it_is_written_and_not_debugged() {
        let body = json!({"SigninUrl": "https://signin.example/canary", "Expiration": "2026-11-22T12:00:00Z"});
        let sign_in: ConsoleSignIn = serde_json::from_value(body.clone()).unwrap();
        assert!(!format!("{sign_in:?}").contains("canary"));
        assert_eq!(json!(sign_in), body);
    }

    #[test]
    fn offers_are_read_as_they_are_written() {
        let grant =
            json!({"name": "deploy", "description": null, "max_duration": 3600, "requires": {"acr_values": ["x"]}});
        let body = json!({"grants": [grant]});
        let offers: Offers = serde_json::from_value(body.clone()).unwrap();
        assert_eq!(json!(offers), body);
    }

    #[test]
    fn metadata_is_read_as_it_is_written() {
        let client = json!({
            "issuer_id": "corp",
            "issuer": "https://login.example.com",
            "client_id": "hallpass-portal",
            "scope": "openid",
            "token": "id_token",
            "parameters": {},
        });
        let mut cli = client.clone();
        cli["token"] = json!("access_token");
        cli["parameters"] = json!({"audience": "hallpass"});
        cli["redirect_uri"] = json!("http://127.0.0.1/callback");
        let body = json!({
            "resource": "https://hallpass.example.com",
            "authorization_servers": ["https://login.example.com"],
            "bearer_methods_supported": ["header"],
            "resource_name": "Hallpass",
            "hallpass_clients": {"cli": [cli], "browser": [client]},
        });
        let metadata: Metadata = serde_json::from_value(body.clone()).unwrap();
        assert_eq!(json!(metadata), body);
    }

    #[test]
    fn the_well_known_part_stands_between_host_and_path() {
        for (resource, url) in [
            ("https://a.example", "https://a.example/.well-known/oauth-protected-resource"),
            ("https://a.example/", "https://a.example/.well-known/oauth-protected-resource"),
            ("https://a.example:8443/x/y", "https://a.example:8443/.well-known/oauth-protected-resource/x/y"),
            ("http://[::1]:3000/x/", "http://[::1]:3000/.well-known/oauth-protected-resource/x"),
        ] {
            assert_eq!(Metadata::url(resource), url);
        }
    }
}
