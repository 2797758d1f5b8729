//! Do the tokens of the providers that companies have mean what our table says?
//!
//! Every fixture of `tests/providers/` against the verifier, and the tables of `docs/configuration.md` against the
//! fixtures.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::super::*;
use crate::grants::{GrantName, Holdings, Principal, StoredItem, offers};
use crate::read::problems::Problems;
use crate::wire::TokenKind;
use hallpass_testing::fixture::Fixture;
use hallpass_testing::signer::TestKey;

const NOW: u64 = 1_800_000_000;

/// What every entry has, and the table need not repeat.
const EVERYWHERE: [&str; 3] = ["id", "issuer", "audiences"];

fn parse(configuration: &Value) -> Result<Issuer, String> {
    let mut problems = Problems::default();
    let issuers = parse_issuers(&json!([configuration]).to_string(), &mut problems);
    if problems.is_empty() { Ok(issuers.into_iter().next().unwrap()) } else { Err(problems.to_string()) }
}

/// The provider's token, with some claims changed, before the verifier. The key is handed in: making one is slow.
fn sign_in(
    fixture: &Fixture,
    configuration: &Value,
    key: &TestKey,
    changes: &Map<String, Value>,
) -> Result<Caller, TokenError> {
    let keys = KeySet::parse(fixture.key_set(key).as_bytes()).unwrap();
    let token = UnverifiedToken::parse(&fixture.token(key, changes, NOW))?;
    verify(token.check_header(&parse(configuration).unwrap())?, &keys, UNIX_EPOCH + Duration::from_secs(NOW))
}

/// All that a configuration says about a fixture's tokens, or the problem that stops the start.
fn verdicts(fixture: &Fixture, configuration: &Value, key: &TestKey) -> Result<Vec<String>, String> {
    parse(configuration)?;
    let cases = fixture.refused().into_iter().map(|case| case.claims);
    let verdict = |changes: Map<String, Value>| match sign_in(fixture, configuration, key, &changes) {
        Ok(caller) => format!("{} {:?}", caller.subject(), caller.groups().collect::<Vec<_>>()),
        Err(refusal) => refusal.reason().to_owned(),
    };
    Ok(std::iter::once(Map::new()).chain(cases).map(verdict).collect())
}

/// Whether a grant that requires of the sign-in what the token says of it is met.
fn can_be_required(caller: &Caller, claim: &str) -> bool {
    let said = caller.claim(&format!("/{claim}"));
    let require = match claim {
        "acr" => json!({ "acr": [said] }),
        "amr" => json!({ "amr": said }),
        "auth_time" => json!({ "max_age": 3_600 }),
        other => panic!("{other}"),
    };
    let attributes = json!({ "require": require }).as_object().unwrap().clone();
    let items = vec![StoredItem { principal: Principal::user(caller), attributes }];
    let holdings = Holdings { grants: vec![(GrantName::default(), items)], ..Holdings::default() };
    let offers = offers(caller, holdings, None, UNIX_EPOCH + Duration::from_secs(NOW)).unwrap();
    offers.iter().any(|offer| offer.requires.is_empty())
}

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md")).unwrap()
}

fn without(configuration: &Value, parent: &str, name: &str) -> Value {
    let mut changed = configuration.clone();
    changed.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
    changed
}

#[test]
fn every_provider_has_its_fixture() {
    let files: Vec<String> = Fixture::all().into_iter().map(|fixture| fixture.file).collect();
    assert_eq!(
        files,
        [
            "adfs.json",
            "auth0.json",
            "authentik.json",
            "cognito-access.json",
            "cognito-id.json",
            "dex.json",
            "entra-v1.json",
            "entra-v2.json",
            "github-actions.json",
            "gitlab.json",
            "google-workspace.json",
            "keycloak.json",
            "kubernetes.json",
            "okta-custom.json",
            "okta-org.json",
            "pingfederate.json",
            "pingone.json",
            "zitadel.json",
        ]
    );
}

#[test]
fn a_providers_token_makes_exactly_its_caller() {
    let key = TestKey::rsa("key-1");
    for fixture in Fixture::all() {
        let file = &fixture.file;
        let caller = sign_in(&fixture, &fixture.configuration(), &key, &Map::new());
        let caller = caller.unwrap_or_else(|refusal| panic!("{file}: {refusal}"));
        let (subject, groups) = fixture.caller();
        assert_eq!(caller.subject(), subject, "{file}");
        assert_eq!(caller.groups().collect::<BTreeSet<_>>(), groups.iter().map(String::as_str).collect(), "{file}");
    }
}

#[test]
fn what_could_be_mistaken_for_a_providers_token_is_refused_for_its_reason() {
    let key = TestKey::rsa("key-1");
    for fixture in Fixture::all() {
        assert!(!fixture.refused().is_empty(), "{}", fixture.file);
        for case in fixture.refused() {
            let refusal = sign_in(&fixture, &fixture.configuration(), &key, &case.claims).map(|_| "accepted");
            let reason = refusal.unwrap_or_else(TokenError::reason);
            assert_eq!(reason, case.reason, "{}: {}", fixture.file, case.says);
        }
    }
}

#[test]
fn no_field_of_a_configuration_is_idle() {
    let key = TestKey::rsa("key-1");
    for fixture in Fixture::all() {
        let configuration = fixture.configuration();
        let full = verdicts(&fixture, &configuration, &key);
        let fields = configuration.as_object().unwrap().keys().map(|name| ("", name));
        let claims = configuration["required_claims"].as_object().into_iter().flat_map(Map::keys);
        for (parent, name) in fields.chain(claims.map(|pointer| ("/required_claims", pointer))) {
            let fewer = verdicts(&fixture, &without(&configuration, parent, name), &key);
            assert_ne!(fewer, full, "{}: nothing changes without `{name}`", fixture.file);
        }
    }
}

#[test]
fn where_strangers_can_sign_up_the_start_is_refused_without_the_claim() {
    let mut open = BTreeSet::new();
    for fixture in Fixture::all() {
        let configuration = fixture.configuration();
        if parse(&without(&configuration, "", "required_claims")).is_ok() {
            continue;
        }
        for pointer in configuration["required_claims"].as_object().unwrap().keys() {
            if let Err(problem) = parse(&without(&configuration, "/required_claims", pointer)) {
                assert!(problem.contains(pointer.as_str()), "{problem}");
                open.insert((fixture.file.clone(), pointer.clone()));
            }
        }
    }
    let expected = [
        ("github-actions.json", "/repository_owner_id"),
        ("gitlab.json", "/namespace_id"),
        ("google-workspace.json", "/hd"),
    ];
    assert_eq!(open, expected.map(|(file, pointer)| (file.to_owned(), pointer.to_owned())).into());
}

#[test]
fn the_table_tells_of_every_provider_and_of_every_field_to_set() {
    let page = page();
    for fixture in Fixture::all() {
        let (provider, file) = (fixture.document["provider"].as_str().unwrap(), &fixture.file);
        let begins = format!("| [{provider}](../tests/providers/{file}) |");
        let row = page.lines().find(|line| line.starts_with(&begins));
        let row = row.unwrap_or_else(|| panic!("the table has no row that begins `{begins}`"));
        let configuration = fixture.configuration();
        for (name, value) in configuration.as_object().unwrap() {
            if !EVERYWHERE.contains(&name.as_str()) {
                assert!(row.contains(&format!("`{name}`")), "`{name}` in {row}");
                assert!(value.as_str().is_none_or(|text| row.contains(&format!("`{text}`"))), "`{value}` in {row}");
            }
        }
        for pointer in configuration["required_claims"].as_object().into_iter().flat_map(Map::keys) {
            assert!(row.contains(&format!("`{pointer}`")), "`{pointer}` in {row}");
        }
    }
}

#[test]
fn every_provider_has_its_clients_and_the_page_says_what_to_register() {
    let page = page();
    let (_, section) = page.split_once("### What to register").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    for fixture in Fixture::all() {
        let (file, provider) = (&fixture.file, fixture.document["provider"].as_str().unwrap());
        let clients = fixture.clients();
        assert_eq!(clients.keys().collect::<Vec<_>>(), ["browser", "cli"], "{file}");
        let mut configuration = fixture.configuration();
        configuration.as_object_mut().unwrap().extend(clients.clone());
        let issuer = parse(&configuration).unwrap_or_else(|problem| panic!("{file}: {problem}"));
        let begins = format!("| {provider} | ");
        let Some(row) = section.lines().find_map(|line| line.strip_prefix(&begins)) else {
            assert!(
                clients.values().all(Value::is_null) && section.contains(provider),
                "{file}: nobody signs in there"
            );
            continue;
        };
        let cells: Vec<&str> = row.split(" | ").collect();
        let redirect_uri = issuer.cli().map(|client| format!("`{}`", client.redirect_uri.unwrap()));
        assert_eq!(cells[0].starts_with("none: "), redirect_uri.is_none(), "{file}: {row}");
        assert!(cells[1].starts_with(&redirect_uri.unwrap_or_else(|| "–".to_owned())), "{file}: {row}");
        assert_eq!(cells[2].starts_with("none: "), issuer.browser().is_none(), "{file}: {row}");
        for client in [issuer.cli(), issuer.browser()].into_iter().flatten() {
            // Their tokens are for the client itself.
            let for_client = client.token == TokenKind::IdToken || configuration["audience_claim"] == "/client_id";
            let audiences = configuration["audiences"].as_array().unwrap();
            assert!(!for_client || audiences.contains(&json!(client.client_id)), "{file}: {}", client.client_id);
            assert_eq!(row.contains("`token` is `id_token`"), client.token == TokenKind::IdToken, "{file}: {row}");
            for name in client.parameters.keys() {
                assert!(row.contains(&format!("`parameters` `{name}`")), "{file}: {row}");
            }
        }
    }
}

#[test]
fn the_table_tells_which_requirements_a_providers_token_meets() {
    let page = page();
    let (_, section) = page.split_once("### What a token says about the sign-in").unwrap();
    let key = TestKey::rsa("key-1");
    for fixture in Fixture::all() {
        let provider = fixture.document["provider"].as_str().unwrap();
        let begins = format!("| {provider} | ");
        let row = section.lines().find_map(|line| line.strip_prefix(&begins));
        let row = row.unwrap_or_else(|| panic!("the second table has no row that begins `{begins}`"));
        let cells: Vec<&str> = row.split(" | ").collect();
        let caller = sign_in(&fixture, &fixture.configuration(), &key, &Map::new()).unwrap();
        for (claim, cell) in ["acr", "amr", "auth_time"].into_iter().zip(cells) {
            let word = cell.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap();
            assert!(["yes", "no", "if"].contains(&word), "{provider}, `{claim}`: {cell}");
            assert_eq!(can_be_required(&caller, claim), word == "yes", "{provider}, `{claim}`: {cell}");
        }
    }
}

#[test]
fn a_group_of_keycloak_keeps_the_slash_that_its_path_begins_with() {
    let fixture = Fixture::all().into_iter().find(|fixture| fixture.file == "keycloak.json").unwrap();
    let mut configuration = fixture.configuration();
    configuration["id"] = json!("corp");
    configuration["groups_claim"] = json!("/groups");
    let changes = Map::from_iter([("groups".to_owned(), json!(["/team/dev"]))]);
    let caller = sign_in(&fixture, &configuration, &TestKey::rsa("key-1"), &changes).unwrap();
    assert!(Principal::of(&caller).iter().any(|principal| principal.as_str() == "corp/group//team/dev"));
    assert!(page().contains("the group `/team/dev` is the principal `corp/group//team/dev`"));
}

#[test]
fn the_keys_of_one_application_at_entra_can_be_configured() {
    for (file, keys) in [("entra-v1.json", "discovery/keys"), ("entra-v2.json", "discovery/v2.0/keys")] {
        let fixture = Fixture::all().into_iter().find(|fixture| fixture.file == file).unwrap();
        let mut configuration = fixture.configuration();
        let url = format!("https://login.microsoftonline.com/TENANT/{keys}?appid=CLIENT_ID");
        configuration["jwks_uri"] = json!(url);
        parse(&configuration).unwrap();
        assert!(page().contains(&format!("`{url}`")), "{file}");
    }
}
