//! What the record says of each request, and the metrics.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use hallpass_testing::aws::query;
use hallpass_testing::aws::sts;
use hallpass_testing::clock;
use hallpass_testing::events::{self, Event};
use hallpass_testing::function::Ended;
use hallpass_testing::server::Fault;
use hallpass_testing::signer::TestKey;
use hallpass_testing::world::{BROKER_KEY, World, sign_with};

#[tokio::test]
async fn a_session_is_recorded_before_and_after() {
    let world = World::new().await;
    let deployers =
        json!({"policy_arns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"], "revision": "7-0123456789abcdef"});
    world.dynamodb.grant("corp/group/deployers", "default", &deployers);
    let function = world.start().await;
    let token = world.sign(&world.claims_with("jti", "token-1"));
    function.call(Event::get("/v1/credentials").bearer(&token)).await.credentials();
    let mint = world.sts.only_mint();
    let ended = function.end().await;
    let (issuing, outcome) = (only(&ended, "issuing"), only(&ended, "outcome"));
    for (what, value) in [
        ("issuer", "corp".to_owned()),
        ("subject", "carol".to_owned()),
        ("jti", "token-1".to_owned()),
        ("the token's hash", sha256(&token)),
        ("the grant", "default".to_owned()),
        ("the policy's hash", sha256(&mint.fields["Policy"])),
        ("the federated name", mint.name().to_owned()),
        ("the address", events::SOURCE_IP.to_owned()),
        ("the user agent", events::USER_AGENT.to_owned()),
    ] {
        assert!(holds(&issuing, &value), "{what} `{value}` in {issuing}");
    }
    for text in ["corp/user/carol", "corp/group/deployers", "7-0123456789abcdef"] {
        assert!(issuing.to_string().contains(text), "{text} in {issuing}");
    }
    for (what, value) in [
        ("the session's key", sts::access_key_id(0)),
        ("STS's request", query::REQUEST_ID.to_owned()),
        ("the subject", "carol".to_owned()),
        ("the federated name", mint.name().to_owned()),
    ] {
        assert!(holds(&outcome, &value), "{what} `{value}` in {outcome}");
    }
    assert!(shared_id(&issuing, &outcome), "{issuing} and {outcome} have no request id in common");
}

#[tokio::test]
async fn a_token_that_was_put_where_none_belongs_is_not_recorded() {
    let world = World::new().await;
    let function = world.start().await;
    // Short enough to fit into a line whole.
    let token = TestKey::ed25519("k").sign(&json!({"alg": "EdDSA"}), &json!({"sub": "carol"}));
    function.call(Event::get(&format!("/v1/{token}/x"))).await.refusal(404, "not_found");
    let misplaced = world.claims_with("sub", format!("carol {token}"));
    function.call(Event::get("/v1/credentials").bearer(&sign_with(&TestKey::p256("k"), "ES256", &misplaced))).await;
    let ended = function.end().await;
    assert!(ended.log.contains("/v1/[token]/x") && ended.log.contains("carol [token]"), "{}", ended.log);
    assert!(!ended.log.contains(&token) && !ended.log.contains("eyJ"), "{}", ended.log);
}

#[tokio::test]
async fn every_request_has_one_outcome_with_its_code() {
    let world = World::new().await;
    world.dynamodb.grant("corp/user/dave", "default", &json!({"enabled": false}));
    world.dynamodb.grant("corp/user/erin", "default", &json!({"unknown": 1}));
    let function = world.start().await;
    let as_subject = |subject: &str| world.request_with(&world.claims_with("sub", subject));
    let expired = world.claims_with("exp", clock::now() - 60);
    let requests = [
        (Event::get("/v1/nowhere"), "not_found"),
        (Event::new("PUT", "/v1/credentials"), "method_not_allowed"),
        (Event::get("/v1/credentials"), "token_missing"),
        (world.request_with(&expired), "invalid_token"),
        (world.request_with(&world.claims_with("groups", 7)), "groups_unavailable"),
        (world.request().query("duration=1"), "invalid_request"),
        (world.request().header("host", "a b"), "invalid_request"),
        (as_subject("dave"), "access_denied"),
        (as_subject("erin"), "grant_unusable"),
    ];
    for (request, code) in &requests {
        assert_eq!(function.call(request.clone()).await.json()["code"], *code);
    }
    world.sts.server.fail_always(&Fault::Answers(query::error(400, "Throttling")));
    function.call(world.request()).await.refusal(503, "temporarily_unavailable");
    let ended = function.end().await;
    let outcomes = ended.audit("outcome");
    let codes = requests.iter().map(|(_, code)| *code).chain(["temporarily_unavailable"]);
    assert_eq!(outcomes.len(), codes.clone().count(), "{outcomes:#?}");
    for (outcome, code) in outcomes.iter().zip(codes) {
        assert!(holds(outcome, code), "{code} in {outcome}");
    }
    assert_eq!(ended.audit("issuing").len(), 1);
    for (outcome, reason) in outcomes.iter().zip(["", "", "", "exp", "groups", "duration", "host", "", "unknown"]) {
        assert!(outcome.to_string().to_lowercase().contains(reason), "the inner reason `{reason}` in {outcome}");
    }
}

#[tokio::test]
async fn a_list_is_recorded_as_one_and_issues_nothing() {
    let world = World::new().await;
    let function = world.start().await;
    let token = world.sign(&world.claims_with("jti", "token-1"));
    function.call(Event::get("/v1/grants").bearer(&token)).await.credentials();
    let ended = function.end().await;
    let outcome = only(&ended, "outcome");
    for value in ["corp", "carol", "token-1", &sha256(&token), events::SOURCE_IP, events::USER_AGENT] {
        assert!(holds(&outcome, value), "`{value}` in {outcome}");
    }
    assert!(ended.audit("issuing").is_empty());
    assert!(ended.records().iter().all(|record| record["Issued"] != 1), "{}", ended.log);
}

#[tokio::test]
async fn what_the_code_alone_does_not_say_is_in_the_inner_reason() {
    let mut world = World::new().await;
    world.trust_with(&json!({"name_claim": "/preferred_username", "name_owners": "registered", "single_use": true}));
    let function = world.start().await;
    let mut claims = world.claims_with("jti", "token-1");
    claims["preferred_username"] = json!("carol.jones");
    world.dynamodb.record("name#carol.jones", &json!({"owner": "corp/user/dave"}));
    function.call(world.request_with(&claims)).await.refusal(403, "access_denied");
    world.dynamodb.record("name#carol.jones", &json!({"owner": "corp/user/carol"}));
    let item = json!({"policy_arns": [], "tags": {"team": "${jwt:/department}"}});
    world.dynamodb.grant("corp/user/carol", "default", &item);
    function.call(world.request_with(&claims)).await.refusal(500, "grant_unusable");
    claims["department"] = json!("shop of carol");
    function.call(world.request_with(&claims)).await.refusal(500, "grant_unusable");
    let require = json!({"claims": {"/department": ["ops"]}});
    world.dynamodb.grant("corp/user/carol", "default", &json!({ "require": require }));
    function.call(world.request_with(&claims)).await.refusal(403, "access_denied");
    let ended = function.end().await;
    let outcomes = ended.audit("outcome");
    assert_eq!(outcomes.len(), 4);
    for (outcome, told) in outcomes.iter().zip(["corp/user/dave", "/department", "/department", "/department"]) {
        assert!(outcome.to_string().contains(told), "`{told}` in {outcome}");
    }
    assert!(!ended.log.contains("shop of carol"), "a claim's value is nobody's business: {}", ended.log);
}

#[tokio::test]
async fn who_is_not_verified_is_recorded_as_such_and_briefly() {
    let world = World::new().await;
    let function = world.start().await;
    let forger = TestKey::p256(world.key.kid());
    let claims = world.claims_with("sub", format!("mallory{}", "y".repeat(5_000)));
    let token = sign_with(&forger, "ES256", &claims);
    function.call(Event::get("/v1/credentials").bearer(&token)).await.refusal(401, "invalid_token");
    let outcome = only(&function.end().await, "outcome");
    let members = outcome.to_string();
    let unverified = outcome.as_object().unwrap().iter().filter(|(name, _)| name.starts_with("unverified_"));
    assert!(
        unverified.clone().any(|(_, value)| value.as_str().is_some_and(|text| text.starts_with("mallory"))),
        "{outcome}"
    );
    assert_eq!(members.matches("mallory").count(), 1, "{outcome}");
    assert!(members.len() < 2_000, "{} bytes: {outcome}", members.len());
    assert!(members.contains(&sha256(&token)), "{outcome}");
}

#[tokio::test]
async fn a_line_cannot_be_forged_from_outside() {
    let world = World::new().await;
    let function = world.start().await;
    let line = "{\"event\":\"outcome\",\"code\":\"forged\"}";
    let claims = world.claims_with("jti", format!("x\n{line}\n"));
    let request = world.request_with(&claims).with(|event| {
        event["requestContext"]["http"]["userAgent"] = json!(format!("x\n{line}\r\n{line}"));
        event["requestContext"]["requestId"] = json!(format!("x\n{line}"));
    });
    function.call(request).await;
    let ended = function.end().await;
    assert_eq!(ended.audit("outcome").len(), 1, "{}", ended.log);
    assert!(ended.log.lines().all(|each| each.trim() != line), "{}", ended.log);
}

#[tokio::test]
async fn metrics_are_emitted_in_the_embedded_format() {
    let world = World::new().await;
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    function.call(Event::get("/v1/credentials")).await.refusal(401, "token_missing");
    let ended = function.end().await;
    let records = ended.records();
    let metrics: Vec<&Value> = records.iter().filter(|record| record["_aws"].is_object()).collect();
    let mut names = BTreeSet::new();
    let mut dimensions = BTreeSet::new();
    for record in &metrics {
        let timestamp = record["_aws"]["Timestamp"].as_u64().unwrap();
        assert!(timestamp.abs_diff(clock::now() * 1000) < 60_000, "milliseconds: {record}");
        for directive in record["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
            assert_eq!(directive["Namespace"], "Hallpass", "nobody named another");
            for set in directive["Dimensions"].as_array().unwrap() {
                for dimension in set.as_array().unwrap() {
                    assert!(record[dimension.as_str().unwrap()].is_string(), "{dimension} of {record}");
                    dimensions.insert(dimension.as_str().unwrap().to_owned());
                }
            }
            for metric in directive["Metrics"].as_array().unwrap() {
                let name = metric["Name"].as_str().unwrap();
                let value = &record[name];
                assert!(
                    value.is_number() || value.as_array().is_some_and(|v| v.iter().all(Value::is_number)),
                    "{name} of {record}"
                );
                names.insert(name.to_owned());
            }
        }
    }
    for name in ["Issued", "Refused", "Latency", "KeyAge", "JwksAge", "PackedPolicySize"] {
        assert!(names.contains(name), "{name} in {names:?}");
    }
    assert_eq!(dimensions, ["Code", "Stage"].map(str::to_owned).into());
    assert!(metrics.iter().any(|record| record["Refused"] == 1 && record["Code"] == "token_missing"), "{metrics:#?}");
    assert!(metrics.iter().any(|record| record["Issued"] == 1), "{metrics:#?}");
}

#[tokio::test]
async fn metrics_go_to_the_namespace_that_was_named() {
    let mut world = World::new().await;
    world.set("HALLPASS_METRICS_NAMESPACE", "Hallpass/shop");
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    function.call(Event::get("/v1/credentials")).await.refusal(401, "token_missing");
    let records = function.end().await.records();
    let directives = records.iter().filter_map(|record| record["_aws"]["CloudWatchMetrics"].as_array()).flatten();
    let namespaces: BTreeSet<_> = directives.map(|directive| directive["Namespace"].as_str()).collect();
    assert_eq!(namespaces, [Some("Hallpass/shop")].into());
}

#[tokio::test]
async fn the_broker_key_in_use_is_never_recorded_as_the_sessions() {
    let world = World::new().await;
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    let ended = function.end().await;
    assert!(!holds(&only(&ended, "outcome"), BROKER_KEY));
}

fn only(ended: &Ended, event: &str) -> Value {
    let mut lines = ended.audit(event);
    assert_eq!(lines.len(), 1, "`{event}` in {}", ended.log);
    lines.remove(0)
}

/// Whether this text is one of the values in a record.
fn holds(record: &Value, text: &str) -> bool {
    match record {
        Value::String(value) => value == text,
        Value::Array(values) => values.iter().any(|value| holds(value, text)),
        Value::Object(members) => members.values().any(|value| holds(value, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn shared_id(one: &Value, other: &Value) -> bool {
    let ids = one.as_object().unwrap().iter().filter(|(name, _)| name.to_lowercase().replace('_', "") == "requestid");
    ids.clone().count() == 1 && ids.into_iter().all(|(name, id)| id.is_string() && other[name] == *id)
}

fn sha256(text: &str) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

#[tokio::test]
async fn without_a_record_there_are_no_credentials() {
    let world = World::new().await;
    // A device that takes nothing stands for a log that cannot be written.
    let script = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("unrecorded-{}", std::process::id()));
    let text = format!("#!/bin/sh\nexec '{}' >/dev/full\n", env!("CARGO_BIN_EXE_broker"));
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let function = world.spawn_build(&script).await;
    function.started().await;
    function.call(world.request()).await.refusal(500, "internal");
    assert!(world.sts.mints().is_empty(), "STS was asked without a record of it");
    fs::remove_file(script).unwrap();
}
