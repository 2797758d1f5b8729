//! What does `HALLPASS_ISSUERS` say?
//!
//! Its JSON becomes [`Issuer`]s, or every problem at once. Each problem names its place, the value and the fix.

use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::Algorithm;
use super::client::Client;
use super::issuer::{Issuer, IssuerId, KeySource, NameOwners, NameRule, may_fetch, media_type};
use super::shared_providers::SharedProvider;
use crate::net::url::quoted_url;
use crate::read::allowed_values::RequiredClaims;
use crate::read::fields::{Fields, TEXT, flag, pointer, text, texts};
use crate::read::json;
use crate::read::problems::{Problem, Problems, quoted};
use crate::read::rule::Rule;

/// Lambda gives all variables together 4 KB; the other ones need the rest.
const MAX_CONFIG_BYTES: usize = 3_500;
/// The bound of `exp − iat`, in seconds, if an issuer does not set one: a day.
const DEFAULT_TOKEN_LIFETIME: u64 = 24 * 60 * 60;
/// No sign-in should last longer than a year, whatever the provider says. In seconds.
const MAX_TOKEN_LIFETIME: u64 = 365 * DEFAULT_TOKEN_LIFETIME;

const LIST: &str = "must be a non-empty list of strings, or left out";

/// Reads `HALLPASS_ISSUERS`.
pub fn parse_issuers(text: &str, problems: &mut Problems) -> Vec<Issuer> {
    let place = "HALLPASS_ISSUERS";
    if text.len() > MAX_CONFIG_BYTES {
        let says = format_args!("is {} bytes long; the limit is {MAX_CONFIG_BYTES}", text.len());
        problems.add(place, Problem::new(Rule::TooLarge, says));
        return Vec::new();
    }
    let entries = match json::parse(text.as_bytes()) {
        Ok(Value::Array(entries)) if !entries.is_empty() => entries,
        Ok(_) => {
            problems.add(place, Problem::new(Rule::Type, "must be a JSON array of at least one issuer"));
            return Vec::new();
        }
        Err(error) => {
            problems.add(place, Problem::new(Rule::Syntax, format_args!("is not JSON: {error}")));
            return Vec::new();
        }
    };
    let mut issuers: Vec<Issuer> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let place = format!("{place}/{index}");
        let Some(members) = entry.as_object() else {
            problems.add(&place, Problem::new(Rule::Type, "must be an object"));
            continue;
        };
        let Some(issuer) = read(Fields::new(members, &place, problems)) else { continue };
        if issuers.iter().any(|other| other.id == issuer.id) {
            let says = format_args!("is the id of another issuer, {}", quoted(&issuer.id));
            let problem = Problem::new(Rule::Duplicate, says).help("use a different one");
            problems.add(&format!("{place}/id"), problem);
        }
        if issuers.iter().any(|other| other.url == issuer.url) {
            let says = format_args!("is configured twice: {}", quoted_url(&issuer.url));
            let problem = Problem::new(Rule::Duplicate, says).help("put all audiences into one entry");
            problems.add(&format!("{place}/issuer"), problem);
        }
        issuers.push(issuer);
    }
    issuers
}

/// Reads one issuer. `None` if anything is wrong with it.
fn read(mut fields: Fields<'_>) -> Option<Issuer> {
    let id = fields.required("id", TEXT, id);
    let url = fields.required("issuer", TEXT, url_text);
    let audiences = "must be a non-empty list of strings, the `aud` values of tokens for Hallpass";
    let audiences = fields.required("audiences", audiences, texts(audiences));
    let insecure_http = fields.optional("insecure_http", flag).unwrap_or(false);
    let source = source(&mut fields, url.as_deref(), insecure_http);
    let algorithms = algorithms(&mut fields);
    let token_type = fields.nullable("token_type", text).map(|text| media_type(&text));
    let audience_claim = fields.nullable("audience_claim", pointer).unwrap_or_else(|| "/aud".into());
    let authorized_parties = fields.nullable("authorized_parties", texts(LIST));
    let party_claim = fields.nullable("party_claim", pointer);
    let is_used = party_claim.is_none() || fields.raw("authorized_parties").is_some_and(|value| !value.is_null());
    fields.require(is_used, "party_claim", || {
        let found = party_claim.as_deref().map(Value::from).unwrap_or_default();
        Problem::wrong(Rule::NoEffect, "has no effect without `authorized_parties`", &found).help("set it too")
    });
    let required_claims = fields.nested("required_claims", RequiredClaims::read).unwrap_or_default();
    require_tenant(&mut fields, url.as_deref(), &required_claims);
    let subject_claim = fields.nullable("subject_claim", pointer).unwrap_or_else(|| "/sub".into());
    let groups_claim = fields.nullable("groups_claim", pointer).unwrap_or_else(|| "/groups".into());
    let groups_separator = fields.nullable("groups_separator", separator);
    let groups_required = fields.optional("groups_required", flag).unwrap_or(false);
    let name_rule = name_rule(&mut fields);
    let max_token_lifetime = fields.optional("max_token_lifetime", lifetime).unwrap_or(DEFAULT_TOKEN_LIFETIME);
    let session_ends_with_token = fields.optional("session_ends_with_token", flag).unwrap_or(false);
    let single_use = fields.optional("single_use", flag).unwrap_or(false);
    fields.optional("dpop", off);
    let cli = fields.nested("cli", Client::of_cli).flatten();
    let browser = fields.nested("browser", Client::of_browser).flatten();
    let fine = fields.finish(
        |_| false,
        |_| Problem::new(Rule::UnknownMember, "is not a setting of an issuer").help("check its spelling"),
    );
    let issuer = Issuer {
        id: id?,
        url: url?,
        audiences: audiences?,
        source: source?,
        algorithms: algorithms.unwrap_or_else(|| vec![Algorithm::RS256, Algorithm::ES256]),
        token_type,
        audience_claim,
        authorized_parties,
        party_claim,
        required_claims,
        subject_claim,
        groups_claim,
        groups_separator,
        groups_required,
        name_rule,
        max_token_lifetime: Duration::from_secs(max_token_lifetime),
        session_ends_with_token,
        single_use,
        insecure_http,
        cli,
        browser,
    };
    fine.then_some(issuer)
}

/// Where the keys are, which is one of two places.
fn source(fields: &mut Fields<'_>, issuer: Option<&str>, insecure_http: bool) -> Option<KeySource> {
    // Of these the URL parser drops some and rewrites others: what is fetched has to be what was written.
    let odd = |c: char| c.is_whitespace() || c.is_control() || c == '\\';
    let fetchable =
        |text: &str| Url::parse(text).ok().filter(|url| may_fetch(url, insecure_http) && !text.contains(odd));
    let unsafe_url = |text: &str| {
        let must = "must be an https URL; plain http is allowed only for loopback or with `insecure_http`";
        Problem::new(Rule::Url, format_args!("{must}: {}", quoted_url(text)))
    };
    let key_set = fields.raw("jwks_uri").is_some_and(|value| !value.is_null());
    if key_set {
        let read = |value: &Value| url_text(value).and_then(|text| fetchable(&text).ok_or_else(|| unsafe_url(&text)));
        return fields.optional("jwks_uri", read).map(KeySource::KeySet);
    }
    let issuer = issuer?;
    let bare = |url: &Url| url.query().is_none() && url.fragment().is_none();
    // Discovery §4.1: a terminating slash is removed before the path is appended; `iss` is compared as it stands.
    let stem = issuer.strip_suffix('/').unwrap_or(issuer);
    let url = fetchable(issuer).filter(bare).and(Url::parse(&format!("{stem}/.well-known/openid-configuration")).ok());
    fields.require(url.is_some(), "issuer", || unsafe_url(issuer));
    url.map(KeySource::Discovery)
}

fn algorithms(fields: &mut Fields<'_>) -> Option<Vec<Algorithm>> {
    let must = "must contain only RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA";
    fields.nullable("algorithms", |value| {
        let names = texts(LIST)(value)?;
        let known: Option<Vec<Algorithm>> = names.iter().map(|name| Algorithm::named(name)).collect();
        known.ok_or_else(|| Problem::wrong(Rule::Value, must, value))
    })
}

/// If strangers can get tokens of the same issuer, a claim has to say that a token is ours.
fn require_tenant(fields: &mut Fields<'_>, issuer: Option<&str>, required: &RequiredClaims) {
    let Some((issuer, provider)) = issuer.and_then(|url| Some((url, SharedProvider::of(url)?))) else { return };
    let (name, issuer, claims) = (provider.name, quoted_url(issuer), provider.tenant_claims);
    if claims.is_empty() {
        let says =
            format_args!("cannot be trusted: all customers of {name} share {issuer}, and no claim distinguishes them");
        fields.add("issuer", Problem::new(Rule::SharedIssuer, says));
    } else if !claims.iter().any(|claim| required.names(claim)) {
        let claims = claims.iter().map(quoted).collect::<Vec<_>>().join(" or ");
        let says = format_args!("must name {claims}: all customers of {name} share the issuer {issuer}");
        fields.add("required_claims", Problem::new(Rule::SharedIssuer, says));
    }
}

fn name_rule(fields: &mut Fields<'_>) -> Option<NameRule> {
    let claim = fields.nullable("name_claim", pointer);
    let owners = fields.nullable("name_owners", |value| match value.as_str() {
        Some("registered") => Ok(NameOwners::Registered),
        Some("first_use") => Ok(NameOwners::FirstUse),
        _ => Err(Problem::wrong(Rule::Value, "must be `registered` or `first_use`", value)),
    });
    let is_used =
        fields.raw("name_claim").is_some_and(|value| !value.is_null()) || owners != Some(NameOwners::FirstUse);
    fields.require(is_used, "name_owners", || {
        Problem::wrong(Rule::NoEffect, "has no effect without `name_claim`", &"first_use".into()).help("set it too")
    });
    claim.map(|claim| NameRule { claim, owners: owners.unwrap_or(NameOwners::Registered) })
}

fn id(value: &Value) -> Result<IssuerId, Problem> {
    let must = "must be 1 to 32 of a-z, 0-9 and -";
    IssuerId::new(&text(value)?).ok_or_else(|| Problem::wrong(Rule::Value, must, value))
}

/// Reads a URL that is checked later. What it is instead may hold a URL's password.
fn url_text(value: &Value) -> Result<String, Problem> {
    text(value).map_err(|_| Problem::new(Rule::Type, format_args!("{TEXT}: {}", quoted_url(&value.to_string()))))
}

fn separator(value: &Value) -> Result<char, Problem> {
    match value.as_str() {
        Some(",") => Ok(','),
        Some(" ") => Ok(' '),
        _ => Err(Problem::wrong(Rule::Value, "must be a comma, a space or null", value)),
    }
}

fn lifetime(value: &Value) -> Result<u64, Problem> {
    let seconds = value.as_u64().filter(|seconds| (1..=MAX_TOKEN_LIFETIME).contains(seconds));
    seconds.ok_or_else(|| Problem::wrong(Rule::Value, "must be whole seconds, 1 to 31536000", value))
}

/// What is reserved and this version cannot do yet: to ignore it would let in whom the operator keeps out.
fn off(value: &Value) -> Result<(), Problem> {
    let must = "is not supported by this version";
    let problem = || Problem::wrong(Rule::Unsupported, must, value).help("remove it");
    if value == "off" { Ok(()) } else { Err(problem()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::key_set_address;
    use super::*;

    const ISSUER: &str = "https://login.example.com";

    fn parse(entries: &Value) -> (Vec<Issuer>, Problems) {
        let mut problems = Problems::default();
        (parse_issuers(&entries.to_string(), &mut problems), problems)
    }

    fn entry(more: &Value) -> Value {
        let mut entry = json!({"id": "corp", "issuer": ISSUER, "audiences": ["hallpass"]});
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        entry
    }

    fn issuer(more: &Value) -> Issuer {
        let (issuers, problems) = parse(&json!([entry(more)]));
        assert!(problems.is_empty(), "{problems}");
        issuers.into_iter().next().unwrap()
    }

    /// What is wrong, one thing at a time: the members changed, the place that is named, and the remedy.
    fn mistakes() -> Vec<(Value, &'static str, &'static str)> {
        let no_id = "must be 1 to 32 of a-z, 0-9 and -";
        let no_text = "must be a non-empty string";
        let no_list = "must be a non-empty list of strings";
        let no_flag = "must be true or false";
        let no_pointer = "must be a JSON pointer";
        let unsafe_url = "must be an https URL";
        let no_lifetime = "must be whole seconds, 1 to 31536000";
        let no_map = "must map JSON pointers to lists of allowed values";
        let no_values = "must be a list of at least one string or boolean: `";
        let no_separator = "must be a comma, a space or null: `";
        vec![
            (json!({"id": ""}), "id", no_text),
            (json!({"id": 7}), "id", no_text),
            (json!({"id": "Corp"}), "id", no_id),
            (json!({"id": "corp_1"}), "id", no_id),
            (json!({"id": "a".repeat(33)}), "id", no_id),
            (json!({"issuer": null}), "issuer", no_text),
            (json!({"issuer": "login.example.com"}), "issuer", unsafe_url),
            (json!({"issuer": "http://login.example.com"}), "issuer", unsafe_url),
            (json!({"issuer": "http://127.0.0.1.evil.example"}), "issuer", unsafe_url),
            (json!({"issuer": "http://10.0.0.1"}), "issuer", unsafe_url),
            (json!({"issuer": "https://user@login.example.com"}), "issuer", unsafe_url),
            (json!({"issuer": "https://:secret@login.example.com"}), "issuer", unsafe_url),
            (json!({"issuer": "https://login.example.com?x=1"}), "issuer", unsafe_url),
            (json!({"issuer": "https://login.example.com#x"}), "issuer", unsafe_url),
            (json!({"issuer": "ftp://login.example.com"}), "issuer", unsafe_url),
            (json!({"issuer": "ftp://localhost"}), "issuer", unsafe_url),
            (json!({"issuer": "ftp://localhost", "insecure_http": true}), "issuer", unsafe_url),
            (json!({"issuer": "mailto:carol@example.com"}), "issuer", unsafe_url),
            (json!({"issuer": "https://login.example.com\\x"}), "issuer", unsafe_url),
            (json!({"issuer": "https://login.example.com/\t"}), "issuer", unsafe_url),
            (json!({"issuer": " https://login.example.com"}), "issuer", unsafe_url),
            (json!({"jwks_uri": ""}), "jwks_uri", no_text),
            (json!({"jwks_uri": "http://login.example.com/keys"}), "jwks_uri", unsafe_url),
            (json!({"jwks_uri": "file:///etc/passwd"}), "jwks_uri", unsafe_url),
            (json!({"audiences": null}), "audiences", no_list),
            (json!({"audiences": "hallpass"}), "audiences", no_list),
            (json!({"audiences": []}), "audiences", no_list),
            (json!({"audiences": ["hallpass", ""]}), "audiences", no_list),
            (json!({"audiences": ["hallpass", 7]}), "audiences", no_list),
            (json!({"algorithms": []}), "algorithms", no_list),
            (json!({"algorithms": "RS256"}), "algorithms", no_list),
            (json!({"algorithms": ["HS256"]}), "algorithms", "must contain only RS256"),
            (json!({"algorithms": ["RS256", "none"]}), "algorithms", "must contain only RS256"),
            (json!({"token_type": ""}), "token_type", no_text),
            (json!({"token_type": ["JWT"]}), "token_type", no_text),
            (json!({"audience_claim": "aud"}), "audience_claim", no_pointer),
            (json!({"subject_claim": "sub"}), "subject_claim", no_pointer),
            (json!({"groups_claim": "/a~2"}), "groups_claim", no_pointer),
            (json!({"groups_claim": ["/groups"]}), "groups_claim", no_text),
            (json!({"authorized_parties": []}), "authorized_parties", no_list),
            (json!({"authorized_parties": "app"}), "authorized_parties", no_list),
            (json!({"authorized_parties": ["app"], "party_claim": "azp"}), "party_claim", no_pointer),
            (json!({"party_claim": "/azp"}), "party_claim", "has no effect without `authorized_parties`"),
            (json!({"required_claims": ["/hd"]}), "required_claims", no_map),
            (json!({"required_claims": null}), "required_claims", no_map),
            (
                json!({"required_claims": {"hd": ["example.com"]}}),
                "required_claims/hd",
                "must be named by a JSON pointer",
            ),
            (json!({"required_claims": {"/hd": "example.com"}}), "required_claims/~1hd", no_values),
            (json!({"required_claims": {"/hd": []}}), "required_claims/~1hd", no_values),
            (json!({"required_claims": {"/hd": ["example.com", 7]}}), "required_claims/~1hd", no_values),
            (json!({"required_claims": {"/hd": [null]}}), "required_claims/~1hd", no_values),
            (json!({"groups_separator": ";"}), "groups_separator", "must be a comma, a space or null: `\";\"`"),
            (json!({"groups_separator": ""}), "groups_separator", no_separator),
            (json!({"groups_separator": ", "}), "groups_separator", no_separator),
            (json!({"groups_separator": "  "}), "groups_separator", no_separator),
            (json!({"groups_separator": "\t"}), "groups_separator", no_separator),
            (json!({"groups_separator": [","]}), "groups_separator", no_separator),
            (json!({"groups_separator": true}), "groups_separator", no_separator),
            (json!({"groups_required": "yes"}), "groups_required", no_flag),
            (json!({"session_ends_with_token": 1}), "session_ends_with_token", no_flag),
            (json!({"insecure_http": null}), "insecure_http", no_flag),
            (json!({"max_token_lifetime": 0}), "max_token_lifetime", no_lifetime),
            (json!({"max_token_lifetime": 31_536_001}), "max_token_lifetime", no_lifetime),
            (json!({"max_token_lifetime": 60.5}), "max_token_lifetime", no_lifetime),
            (json!({"max_token_lifetime": "600"}), "max_token_lifetime", no_lifetime),
            (json!({"single_use": "true"}), "single_use", no_flag),
            (json!({"dpop": "required"}), "dpop", "is not supported by this version"),
            (json!({"name_claim": "email"}), "name_claim", no_pointer),
            (json!({"name_claim": ""}), "name_claim", no_text),
            (json!({"name_claim": "/email", "name_owners": "anybody"}), "name_owners", "must be `registered` or"),
            (json!({"name_owners": "first_use"}), "name_owners", "has no effect without `name_claim`"),
            (json!({"colour": "red"}), "colour", "is not a setting of an issuer"),
        ]
    }

    #[test]
    fn each_mistake_is_told_with_its_place_and_its_remedy() {
        for (changes, member, remedy) in mistakes() {
            let (issuers, problems) = parse(&json!([entry(&changes)]));
            let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
            assert!(issuers.is_empty(), "{changes}");
            assert!(
                told.len() == 1 && told[0].starts_with(&format!("HALLPASS_ISSUERS/0/{member} {remedy}")),
                "{changes}: {told:?}"
            );
        }
    }

    #[test]
    fn each_mistake_is_told_with_the_value_that_is_wrong() {
        for (changes, ..) in mistakes() {
            let (_, problems) = parse(&json!([entry(&changes)]));
            let (name, value) = changes.as_object().unwrap().iter().next_back().unwrap();
            if name == "required_claims" {
                assert!(problems.to_string().contains('`'), "{problems}");
                continue;
            }
            // What no issuer has may be a secret.
            if name == "colour" {
                assert!(!problems.to_string().contains("red"), "{problems}");
                continue;
            }
            let url = value.as_str().filter(|url| !url.is_empty() && ["issuer", "jwks_uri"].contains(&name.as_str()));
            let found = url.map_or_else(|| quoted(value), quoted_url);
            assert!(problems.to_string().contains(&found) || value.is_null(), "{changes}: {problems}");
        }
    }

    #[test]
    fn no_message_tells_what_is_secret_in_a_url() {
        for url in [
            "https://bob:hunter2@login.example.com",
            "https://:hunter2@accounts.google.com",
            "https://bob:hunt@hunter2@accounts.google.com",
            "https://bob:hun?ter2@login.example.com",
            "https:\\\\bob:hunter2@login.example.com",
            "https://accounts.google.com?key=hunter2",
            "http://login.example.com/#hunter2",
            "http://login.example.com/?a@hunter2",
            "bob:hunter2@accounts.google.com",
        ] {
            for changes in [json!({"issuer": url}), json!({"jwks_uri": url, "issuer": url})] {
                let (issuers, problems) = parse(&json!([entry(&changes)]));
                assert!(issuers.is_empty() && !problems.is_empty(), "{url}");
                let told = problems.to_string();
                assert!(told.contains('…') && !told.contains("ter2"), "{url}: {told}");
            }
        }
        let twice =
            json!({"issuer": "https://bob:hunter2@login.example.com", "jwks_uri": "https://login.example.com/"});
        let (_, problems) = parse(&json!([entry(&twice), entry(&twice)]));
        assert!(problems.len() == 2 && !problems.to_string().contains("hunter2"), "{problems}");
    }

    #[test]
    fn all_mistakes_of_all_issuers_are_told_at_once() {
        let entries: Vec<Value> = mistakes()
            .into_iter()
            .enumerate()
            .map(|(number, (changes, ..))| {
                let mut entry = entry(&json!({"id": format!("c{number}"), "issuer": format!("{ISSUER}/{number}")}));
                entry.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
                entry
            })
            .collect();
        // As many as fit into one variable.
        for some in entries.chunks(12) {
            let (issuers, problems) = parse(&json!(some));
            assert_eq!((issuers.len(), problems.len()), (0, some.len()), "{problems}");
        }
    }

    #[test]
    fn two_issuers_share_neither_id_nor_url_and_all_are_objects() {
        let other = |changes: Value| {
            let mut other = entry(&json!({"id": "other", "issuer": "https://other.example"}));
            other.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            other
        };
        let told = |entries: Value| parse(&entries).1.iter().map(ToString::to_string).collect::<Vec<_>>();
        let one = entry(&json!({}));
        assert_eq!(told(json!([one, other(json!({}))])), Vec::<String>::new());
        let same_id = told(json!([one, other(json!({"id": "corp"}))]));
        assert!(same_id.len() == 1 && same_id[0].starts_with("HALLPASS_ISSUERS/1/id "), "{same_id:?}");
        let same_url = told(json!([one, other(json!({"issuer": ISSUER}))]));
        assert!(same_url.len() == 1 && same_url[0].starts_with("HALLPASS_ISSUERS/1/issuer "), "{same_url:?}");
        assert_eq!(told(json!([one, 7])), ["HALLPASS_ISSUERS/1 must be an object"]);
    }

    #[test]
    fn what_is_left_out_or_null_is_the_default() {
        let nulls = json!({"jwks_uri": null, "algorithms": null, "token_type": null, "audience_claim": null,
            "authorized_parties": null, "party_claim": null, "subject_claim": null, "groups_claim": null,
            "name_claim": null, "name_owners": "registered", "single_use": false, "dpop": "off",
            "required_claims": {}, "groups_separator": null, "groups_required": false, "session_ends_with_token": false,
            "insecure_http": false, "max_token_lifetime": 86_400});
        for issuer in [issuer(&json!({})), issuer(&nulls)] {
            assert_eq!(issuer.algorithms(), [Algorithm::RS256, Algorithm::ES256]);
            assert_eq!(issuer.max_token_lifetime(), Duration::from_hours(24));
            assert_eq!(
                (issuer.audience_claim(), issuer.subject_claim(), issuer.groups_claim()),
                ("/aud", "/sub", "/groups")
            );
            assert!(!issuer.type_tells_kind() && !issuer.groups_required() && !issuer.session_ends_with_token());
            assert_eq!((issuer.authorized_parties(), issuer.party_claim()), (None, None));
            assert_eq!((issuer.required_claims(), issuer.groups_separator()), (&RequiredClaims::default(), None));
            assert_eq!((issuer.name_rule(), issuer.single_use()), (None, false));
        }
        assert_eq!(
            issuer(&json!({"max_token_lifetime": 31_536_000})).max_token_lifetime(),
            Duration::from_hours(8_760)
        );
        assert_eq!(issuer(&json!({"max_token_lifetime": 1})).max_token_lifetime(), Duration::from_secs(1));
    }

    #[test]
    fn groups_in_one_string_may_be_separated() {
        for separator in [",", " "] {
            let issuer = issuer(&json!({"groups_separator": separator}));
            assert_eq!(issuer.groups_separator(), separator.chars().next());
        }
    }

    #[test]
    fn names_may_come_from_a_claim_and_are_registered_unless_said_otherwise() {
        let rule = |more: Value| issuer(&more).name_rule().map(|rule| (rule.claim.clone(), rule.owners));
        assert_eq!(rule(json!({"name_claim": "/email"})), Some(("/email".into(), NameOwners::Registered)));
        let first_use = json!({"name_claim": "/u", "name_owners": "first_use"});
        assert_eq!(rule(first_use), Some(("/u".into(), NameOwners::FirstUse)));
    }

    #[test]
    fn discovery_drops_one_slash_and_keeps_the_path() {
        for (url, discovery) in [
            (ISSUER, "https://login.example.com/.well-known/openid-configuration"),
            ("https://login.example.com/", "https://login.example.com/.well-known/openid-configuration"),
            ("https://login.example.com//", "https://login.example.com//.well-known/openid-configuration"),
            ("https://login.example.com/a/v2.0", "https://login.example.com/a/v2.0/.well-known/openid-configuration"),
        ] {
            let issuer = issuer(&json!({"issuer": url}));
            assert_eq!(issuer.source(), &KeySource::Discovery(Url::parse(discovery).unwrap()));
            assert_eq!(issuer.url(), url, "never normalised to compare");
        }
    }

    #[test]
    fn a_configuration_may_have_3500_bytes() {
        let text = json!([entry(&json!({}))]).to_string();
        let of_length = |length: usize| format!("{text}{}", " ".repeat(length - text.len()));
        let problems_of = |text: &str| {
            let mut problems = Problems::default();
            (parse_issuers(text, &mut problems).len(), problems.len())
        };
        assert_eq!(problems_of(&of_length(3_500)), (1, 0));
        assert_eq!(problems_of(&of_length(3_501)), (0, 1));
    }

    #[test]
    fn a_providers_document_leads_to_https_or_where_the_operator_began() {
        let leads = |issuer: &Issuer, to: &str| {
            let document = json!({"issuer": issuer.url(), "jwks_uri": to}).to_string();
            key_set_address(document.as_bytes(), issuer).is_ok()
        };
        let safe = issuer(&json!({}));
        assert!(leads(&safe, "https://keys.example.com/"));
        for to in [
            "http://127.0.0.1:9001/2018-06-01/runtime/invocation/next",
            "http://localhost/",
            "http://keys.example.com/",
        ] {
            assert!(!leads(&safe, to), "{to}");
        }
        let local = issuer(&json!({"issuer": "http://127.0.0.1:4000"}));
        assert!(leads(&local, "http://127.0.0.1:4000/keys") && !leads(&local, "http://keys.example.com/"));
    }

    #[test]
    fn plain_http_is_for_loopback_or_for_those_who_ask_for_it() {
        for url in ["http://localhost:4000", "http://127.0.0.1:4000", "http://[::1]:4000"] {
            issuer(&json!({"issuer": url}));
        }
        issuer(&json!({"issuer": "http://idp.internal", "insecure_http": true}));
        issuer(
            &json!({"issuer": "http://adfs.example.com/adfs/services/trust", "jwks_uri": "https://adfs.example.com/keys"}),
        );
    }

    #[test]
    fn a_configuration_that_is_no_list_of_issuers_or_too_long_is_refused() {
        for text in ["", "{}", "[]", "[", "7", r#"[{"id":"a","id":"b"}]"#] {
            let mut problems = Problems::default();
            assert!(parse_issuers(text, &mut problems).is_empty());
            assert_eq!(problems.len(), 1, "{text}");
        }
    }
}
