//! What does `HALLPASS_ISSUERS` say?
//!
//! Its JSON becomes [`Issuer`]s, or every problem at once. Each problem names its place, the value and the fix.

use std::time::Duration;

use serde_json::{Map, Value};
use url::Url;

use super::Algorithm;
use super::issuer::{Issuer, IssuerId, KeySource, NameOwners, NameRule, may_fetch, media_type};
use super::shared_providers::SharedProvider;
use crate::net::url::quoted_url;
use crate::read::allowed_values::RequiredClaims;
use crate::read::json;
use crate::read::problems::{Problems, quoted};

/// Lambda gives all variables together 4 KB; the other ones need the rest.
const MAX_CONFIG_BYTES: usize = 3_500;
/// The bound of `exp − iat`, in seconds, if an issuer does not set one: a day.
const DEFAULT_TOKEN_LIFETIME: u64 = 24 * 60 * 60;
/// No sign-in should last longer than a year, whatever the provider says. In seconds.
const MAX_TOKEN_LIFETIME: u64 = 365 * DEFAULT_TOKEN_LIFETIME;

/// Reads `HALLPASS_ISSUERS`.
pub fn parse_issuers(text: &str, problems: &mut Problems) -> Vec<Issuer> {
    let place = "HALLPASS_ISSUERS";
    if text.len() > MAX_CONFIG_BYTES {
        problems.add(place, format_args!("is {} bytes long; the limit is {MAX_CONFIG_BYTES}", text.len()));
        return Vec::new();
    }
    let entries = match json::parse(text.as_bytes()) {
        Ok(Value::Array(entries)) if !entries.is_empty() => entries,
        Ok(_) => {
            problems.add(place, "must be a JSON array of at least one issuer");
            return Vec::new();
        }
        Err(error) => {
            problems.add(place, format_args!("is not JSON: {error}"));
            return Vec::new();
        }
    };
    let mut issuers: Vec<Issuer> = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let place = format!("{place}[{index}]");
        let Value::Object(members) = entry else {
            problems.add(&place, "must be an object");
            continue;
        };
        let Some(issuer) = (Fields { place: &place, written: members.clone(), members, problems }).issuer() else {
            continue;
        };
        if issuers.iter().any(|other| other.id == issuer.id) {
            let found = quoted(&issuer.id);
            problems
                .add(&format!("{place}.id"), format_args!("is the id of another issuer, {found}; use a different one"));
        }
        if issuers.iter().any(|other| other.url == issuer.url) {
            let found = quoted_url(&issuer.url);
            let remedy = "is configured twice; put all audiences into one entry";
            problems.add(&format!("{place}.issuer"), format_args!("{remedy}: {found}"));
        }
        issuers.push(issuer);
    }
    issuers
}

/// The members of one issuer's object, each taken once; what nobody takes is unknown.
struct Fields<'a> {
    place: &'a str,
    /// All of them, for a message that says what is wrong.
    written: Map<String, Value>,
    members: Map<String, Value>,
    problems: &'a mut Problems,
}

impl Fields<'_> {
    fn issuer(mut self) -> Option<Issuer> {
        let before = self.problems.len();
        let id = self.text("id").and_then(|id| {
            let parsed = IssuerId::new(&id);
            self.require(parsed.is_some(), "id", "must be 1 to 32 of a-z, 0-9 and -");
            parsed
        });
        let url = self.text("issuer");
        let audiences = self
            .required_list("audiences", "must be a non-empty list of strings, the `aud` values of tokens for Hallpass");
        let insecure_http = self.flag("insecure_http");
        let source = self.source(url.as_deref(), insecure_http);
        let algorithms = self.algorithms();
        let token_type = self.nullable_text("token_type").map(|text| media_type(&text));
        let audience_claim = self.pointer("audience_claim").unwrap_or_else(|| "/aud".into());
        let authorized_parties = self.optional_list("authorized_parties");
        let party_claim = self.pointer("party_claim");
        let parties_are_named = authorized_parties.is_some() || party_claim.is_none();
        self.require(parties_are_named, "party_claim", "has no effect without `authorized_parties`; set it too");
        let required_claims = self.required_claims();
        self.require_tenant(url.as_deref(), &required_claims);
        let subject_claim = self.pointer("subject_claim").unwrap_or_else(|| "/sub".into());
        let groups_claim = self.pointer("groups_claim").unwrap_or_else(|| "/groups".into());
        let groups_separator = self.groups_separator();
        let groups_required = self.flag("groups_required");
        let name_rule = self.name_rule();
        let max_token_lifetime = self.lifetime();
        let session_ends_with_token = self.flag("session_ends_with_token");
        let single_use = self.flag("single_use");
        self.not_yet();
        let unknown: Vec<String> = self.members.keys().cloned().collect();
        for name in unknown {
            self.problem(&name, "is not a setting of an issuer; check its spelling");
        }
        let issuer = Issuer {
            id: id?,
            url: url?,
            audiences: audiences?,
            source: source?,
            algorithms,
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
            max_token_lifetime,
            session_ends_with_token,
            single_use,
            insecure_http,
        };
        (self.problems.len() == before).then_some(issuer)
    }

    fn source(&mut self, issuer: Option<&str>, insecure_http: bool) -> Option<KeySource> {
        const UNSAFE: &str = "must be an https URL; plain http is allowed only for loopback or with `insecure_http`";
        // Of these the URL parser drops some and rewrites others: what is fetched has to be what was written.
        let odd = |c: char| c.is_whitespace() || c.is_control() || c == '\\';
        let fetchable =
            |text: &str| Url::parse(text).ok().filter(|url| may_fetch(url, insecure_http) && !text.contains(odd));
        if let Some(text) = self.nullable_text("jwks_uri") {
            let url = fetchable(&text);
            self.require(url.is_some(), "jwks_uri", UNSAFE);
            return url.map(KeySource::KeySet);
        }
        let issuer = issuer?;
        let bare = |url: &Url| url.query().is_none() && url.fragment().is_none();
        // Discovery §4.1: a terminating slash is removed before the path is appended; `iss` is compared as it stands.
        let stem = issuer.strip_suffix('/').unwrap_or(issuer);
        let url =
            fetchable(issuer).filter(bare).and(Url::parse(&format!("{stem}/.well-known/openid-configuration")).ok());
        self.require(url.is_some(), "issuer", UNSAFE);
        url.map(KeySource::Discovery)
    }

    fn algorithms(&mut self) -> Vec<Algorithm> {
        let Some(names) = self.optional_list("algorithms") else { return vec![Algorithm::RS256, Algorithm::ES256] };
        let known: Vec<Algorithm> = names.iter().filter_map(|name| Algorithm::named(name)).collect();
        self.require(
            known.len() == names.len(),
            "algorithms",
            "must contain only RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA",
        );
        known
    }

    fn required_claims(&mut self) -> RequiredClaims {
        let place = format!("{}.required_claims", self.place);
        let value = self.members.remove("required_claims");
        value.map(|value| RequiredClaims::read(&value, &place, self.problems)).unwrap_or_default()
    }

    /// If strangers can get tokens of the same issuer, a claim has to say that a token is ours.
    fn require_tenant(&mut self, issuer: Option<&str>, required: &RequiredClaims) {
        let Some((issuer, provider)) = issuer.and_then(|url| Some((url, SharedProvider::of(url)?))) else { return };
        let (name, issuer, claims) = (provider.name, quoted_url(issuer), provider.tenant_claims);
        if claims.is_empty() {
            let remedy =
                format!("cannot be trusted: all customers of {name} share {issuer}, and no claim distinguishes them");
            self.problem("issuer", &remedy);
        } else if !claims.iter().any(|claim| required.names(claim)) {
            let claims = claims.iter().map(quoted).collect::<Vec<_>>().join(" or ");
            let remedy = format!("must name {claims}: all customers of {name} share the issuer {issuer}");
            self.problem("required_claims", &remedy);
        }
    }

    fn groups_separator(&mut self) -> Option<char> {
        let value = self.members.remove("groups_separator").unwrap_or_default();
        match value.as_str() {
            Some(",") => Some(','),
            Some(" ") => Some(' '),
            _ => {
                self.require(value.is_null(), "groups_separator", "must be a comma, a space or null");
                None
            }
        }
    }

    fn name_rule(&mut self) -> Option<NameRule> {
        let claim = self.pointer("name_claim");
        let owners = match self.nullable_text("name_owners").as_deref() {
            None | Some("registered") => NameOwners::Registered,
            Some("first_use") => {
                self.require(claim.is_some(), "name_owners", "has no effect without `name_claim`; set it too");
                NameOwners::FirstUse
            }
            Some(_) => {
                self.require(false, "name_owners", "must be `registered` or `first_use`");
                NameOwners::Registered
            }
        };
        claim.map(|claim| NameRule { claim, owners })
    }

    fn lifetime(&mut self) -> Duration {
        let seconds = match self.members.remove("max_token_lifetime") {
            None => Some(DEFAULT_TOKEN_LIFETIME),
            Some(value) => value.as_u64().filter(|seconds| (1..=MAX_TOKEN_LIFETIME).contains(seconds)),
        };
        self.require(seconds.is_some(), "max_token_lifetime", "must be whole seconds, 1 to 31536000");
        Duration::from_secs(seconds.unwrap_or(DEFAULT_TOKEN_LIFETIME))
    }

    /// What is reserved and this version cannot do yet: to ignore it would let in whom the operator keeps out.
    fn not_yet(&mut self) {
        let off = self.members.remove("dpop").is_none_or(|value| value == "off");
        self.require(off, "dpop", "is not supported by this version; remove it");
    }

    fn text(&mut self, name: &str) -> Option<String> {
        let text = match self.members.remove(name) {
            Some(Value::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        };
        self.require(text.is_some(), name, "must be a non-empty string");
        text
    }

    fn nullable_text(&mut self, name: &str) -> Option<String> {
        match self.members.get(name) {
            None => None,
            Some(Value::Null) => {
                self.members.remove(name);
                None
            }
            Some(_) => self.text(name),
        }
    }

    fn pointer(&mut self, name: &str) -> Option<String> {
        let pointer = self.nullable_text(name)?;
        self.require(json::is_pointer(&pointer), name, "must be a JSON pointer such as `/sub` (RFC 6901)");
        Some(pointer)
    }

    fn required_list(&mut self, name: &str, remedy: &str) -> Option<Vec<String>> {
        let list = match self.members.remove(name) {
            Some(Value::Array(values)) => strings(&values),
            _ => None,
        };
        self.require(list.is_some(), name, remedy);
        list
    }

    fn optional_list(&mut self, name: &str) -> Option<Vec<String>> {
        match self.members.get(name) {
            None => None,
            Some(Value::Null) => {
                self.members.remove(name);
                None
            }
            Some(_) => self.required_list(name, "must be a non-empty list of strings, or left out"),
        }
    }

    fn flag(&mut self, name: &str) -> bool {
        match self.members.remove(name) {
            None => false,
            Some(Value::Bool(flag)) => flag,
            Some(_) => {
                self.require(false, name, "must be true or false");
                false
            }
        }
    }

    /// Notes what is wrong with a member, and what it is. Only for members whose names are known: of another one,
    /// nobody knows whether it is a secret.
    fn require(&mut self, holds: bool, name: &str, remedy: &str) {
        if holds {
            return;
        }
        match self.written.get(name) {
            None => self.problem(name, remedy),
            Some(Value::String(url)) if ["issuer", "jwks_uri"].contains(&name) => {
                let remedy = format!("{remedy}; it is {}", quoted_url(url));
                self.problem(name, &remedy);
            }
            Some(found) => {
                let remedy = format!("{remedy}; it is {}", quoted(found));
                self.problem(name, &remedy);
            }
        }
    }

    fn problem(&mut self, name: &str, remedy: &str) {
        self.problems.add(&format!("{}.{name}", self.place), remedy);
    }
}

fn strings(values: &[Value]) -> Option<Vec<String>> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    values.iter().map(text).collect::<Option<Vec<_>>>().filter(|texts| !texts.is_empty())
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
        let no_values = "must be a list of at least one string or boolean; it is `";
        let no_separator = "must be a comma, a space or null; it is `";
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
            (json!({"groups_separator": ";"}), "groups_separator", "must be a comma, a space or null; it is `\";\"`"),
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
                told.len() == 1 && told[0].starts_with(&format!("HALLPASS_ISSUERS[0].{member} {remedy}")),
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
            let url = value.as_str().filter(|_| ["issuer", "jwks_uri"].contains(&name.as_str()));
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
        assert!(same_id.len() == 1 && same_id[0].starts_with("HALLPASS_ISSUERS[1].id "), "{same_id:?}");
        let same_url = told(json!([one, other(json!({"issuer": ISSUER}))]));
        assert!(same_url.len() == 1 && same_url[0].starts_with("HALLPASS_ISSUERS[1].issuer "), "{same_url:?}");
        assert_eq!(told(json!([one, 7])), ["HALLPASS_ISSUERS[1] must be an object"]);
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
