//! Which refusal wins when a request deserves two.

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use hallpass_testing::aws::query;
use hallpass_testing::clock;
use hallpass_testing::events::Event;
use hallpass_testing::server::Fault;
use hallpass_testing::world::World;

#[tokio::test]
async fn route_and_method_come_before_the_token() {
    let world = World::new().await;
    let function = world.start().await;
    function.call(Event::get("/v1/nowhere")).await.refusal(404, "not_found");
    function.call(Event::new("PUT", "/v1/credentials")).await.refusal(405, "method_not_allowed");
}

#[tokio::test]
async fn the_token_comes_before_the_parameters() {
    let world = World::new().await;
    let function = world.start().await;
    function.call(Event::get("/v1/credentials").query("duration=x")).await.refusal(401, "token_missing");
    let large = "x".repeat(20_000);
    for request in [
        Event::get("/v1/credentials/Default"),
        Event::get("/v1/credentials/%64efault"),
        Event::get("/v1/credentials/deploy").query("grant=default"),
        Event::get("/v1/credentials").query("nonsense=1"),
        Event::post("/v1/credentials").body(&large),
        Event::post("/v1/credentials").header("content-type", "text/plain").body("{}"),
        Event::post("/v1/credentials").json_in_base64(b"").with(|event| event["body"] = json!("not base64!")),
        Event::post("/v1/credentials").json(&json!({"duration": 1})),
    ] {
        function.call(request.clone()).await.refusal(401, "token_missing");
        function.call(request.bearer("not.a.token")).await.refusal(401, "invalid_token");
    }
    let overage = world.claims_with("hasgroups", true);
    function.call(world.request_with(&overage).query("duration=x")).await.refusal(403, "groups_unavailable");
}

#[tokio::test]
async fn the_parameters_come_before_the_grants() {
    let world = World::new().await;
    world.dynamodb.block("corp/user/carol");
    let function = world.start().await;
    world.dynamodb.server.forget_calls();
    for query in ["duration=899", "duration=129601", "grant=Default", "x=1"] {
        function.call(world.request().query(query)).await.refusal(400, "invalid_request");
    }
    assert!(world.dynamodb.batches().is_empty(), "a request that cannot succeed costs no read");
    function.call(world.request().query("duration=129600")).await.refusal(403, "access_denied");
}

#[tokio::test]
async fn a_block_comes_before_a_malformed_item() {
    let world = World::new().await;
    world.dynamodb.grant("corp/user/carol", "default", &json!({"unknown": 1}));
    let function = world.start().await;
    function.call(world.request()).await.refusal(500, "grant_unusable");
    world.dynamodb.block("corp/everyone");
    function.call(world.request()).await.refusal(403, "access_denied");
}

#[tokio::test]
async fn a_malformed_item_comes_before_a_disabled_one_and_one_out_of_its_time() {
    let world = World::new().await;
    world.dynamodb.grant("corp/everyone", "default", &json!({"unknown": 1}));
    let function = world.start().await;
    for item in [json!({"enabled": false}), json!({"not_after": 1})] {
        world.dynamodb.grant("corp/user/carol", "default", &item);
        function.call(world.request()).await.refusal(500, "grant_unusable");
    }
}

#[tokio::test]
async fn a_disabled_item_and_the_time_come_before_the_duration() {
    let world = World::new().await;
    let function = world.start().await;
    for item in
        [json!({"enabled": false}), json!({"not_after": clock::now()}), json!({"not_before": clock::now() + 9000})]
    {
        world.dynamodb.grant("corp/user/carol", "default", &item);
        function.call(world.request().query("duration=7200")).await.refusal(403, "access_denied");
    }
    world.dynamodb.clear();
    function.call(world.request().query("duration=7200")).await.refusal(403, "access_denied");
}

#[tokio::test]
async fn the_duration_comes_before_sts() {
    let world = World::new().await;
    let function = world.start().await;
    world.sts.server.fail_always(&Fault::Answers(query::error(400, "MalformedPolicyDocument")));
    world.sts.server.forget_calls();
    function.call(world.request().query("duration=7200")).await.refusal(400, "invalid_request");
    assert!(world.sts.mints().is_empty());
    function.call(world.request()).await.refusal(500, "grant_unusable");
}

#[tokio::test]
async fn the_grants_come_before_the_broker_key() {
    let world = World::new().await;
    world.dynamodb.clear();
    world.secrets.hold_nothing();
    let function = world.start().await;
    function.call(world.request()).await.refusal(403, "access_denied");
}

#[tokio::test]
async fn every_refusal_comes_in_its_turn() {
    let mut world = World::new().await;
    let terms = json!({"name_claim": "/preferred_username", "name_owners": "registered", "single_use": true});
    world.trust_with(&terms);
    let function = world.start().await;
    world.sts.server.fail_always(&Fault::Answers(query::error(400, "MalformedPolicyDocument")));
    // All that can be wrong is, and is mended step by step.
    let mut item = json!({
        "unknown": 1,
        "enabled": false,
        "not_after": clock::now(),
        "require": {"claims": {"/department": ["ops"]}, "amr": ["mfa"]},
        "tags": {"team": "${jwt:/team}"},
    });
    world.dynamodb.grant("corp/user/carol", "default", &item);
    world.dynamodb.block("corp/everyone");
    world.dynamodb.record("name#carol.jones", &json!({"owner": "corp/user/dave"}));
    let mut claims = world.claims_with("jti", "token-1");
    let hash = HEXLOWER.encode(digest::digest(&digest::SHA256, b"token-1").as_ref());
    let spent = format!("jti#corp#{hash}");
    world.dynamodb.record(&spent, &json!({"expires_at": clock::now() + 600}));
    let over = |claims: &Value| world.request_with(claims).query("duration=7200");

    let request = Event::new("PUT", "/v1/credentials").query("duration=1");
    function.call(request).await.refusal(405, "method_not_allowed");
    let request = Event::get("/v1/credentials").query("duration=1");
    function.call(request.clone()).await.refusal(401, "token_missing");
    function.call(request.bearer("not.a.token")).await.refusal(401, "invalid_token");
    function.call(world.request_with(&claims).query("duration=1")).await.refusal(400, "invalid_request");
    function.call(over(&claims)).await.refusal(403, "access_denied");
    world.dynamodb.clear();
    let mut now_with = |change: &dyn Fn(&mut Value)| {
        change(&mut item);
        world.dynamodb.grant("corp/user/carol", "default", &item);
    };
    now_with(&|_| ());
    function.call(over(&claims)).await.refusal(500, "grant_unusable");
    now_with(&|item| drop(item.as_object_mut().unwrap().remove("unknown")));
    function.call(over(&claims)).await.refusal(403, "access_denied");
    now_with(&|item| item["enabled"] = json!(true));
    function.call(over(&claims)).await.refusal(403, "access_denied");
    now_with(&|item| drop(item.as_object_mut().unwrap().remove("not_after")));
    function.call(over(&claims)).await.refusal(403, "access_denied");
    claims["department"] = json!("ops");
    function.call(over(&claims)).await.step_up();
    claims["amr"] = json!(["mfa"]);
    function.call(over(&claims)).await.refusal(400, "invalid_request");
    function.call(world.request_with(&claims)).await.refusal(500, "grant_unusable");
    claims["preferred_username"] = json!("carol.jones");
    function.call(world.request_with(&claims)).await.refusal(500, "grant_unusable");
    claims["team"] = json!("shop");
    function.call(world.request_with(&claims)).await.refusal(403, "access_denied");
    world.dynamodb.record("name#carol.jones", &json!({"owner": "corp/user/carol"}));
    function.call(world.request_with(&claims)).await.refusal(401, "invalid_token");
    assert!(world.sts.mints().is_empty());
    claims["jti"] = json!("token-2");
    function.call(world.request_with(&claims)).await.refusal(500, "grant_unusable");
    assert_eq!(world.sts.mints().len(), 1);
    world.sts.server.heal();
    claims["jti"] = json!("token-3");
    function.call(world.request_with(&claims)).await.credentials();

    let outcomes = function.end().await.audit("outcome");
    let reasons: Vec<&str> = outcomes.iter().filter_map(|outcome| outcome["reason"].as_str()).collect();
    let expected = [
        "method_not_allowed",
        "token_missing",
        "not_base64url",
        "invalid_request",
        "blocked",
        "item_unusable",
        "disabled",
        "out_of_time",
        "claim_refused",
        "step_up",
        "over_maximum",
        "name_unusable",
        "claim_unusable",
        "name_owned",
        "token_spent",
        "sts_refused_session",
    ];
    assert_eq!(reasons, expected);
}

#[tokio::test]
async fn a_name_that_is_anothers_leaves_the_token_unspent() {
    let mut world = World::new().await;
    world.trust_with(&json!({"name_claim": "/preferred_username", "name_owners": "first_use", "single_use": true}));
    let function = world.start().await;
    let mut claims = world.claims_with("jti", "token-1");
    claims["preferred_username"] = json!("carol.jones");
    world.dynamodb.record_just_before_the_next_put("name#carol.jones", &json!({"owner": "corp/user/dave"}));
    function.call(world.request_with(&claims)).await.refusal(403, "access_denied");
    assert!(world.dynamodb.records().keys().eq(["name#carol.jones"]));
}

#[tokio::test]
async fn the_broker_key_comes_before_what_cannot_be_taken_back() {
    let mut world = World::new().await;
    world.trust_with(&json!({"name_claim": "/preferred_username", "name_owners": "first_use", "single_use": true}));
    world.secrets.hold_nothing();
    let function = world.start().await;
    let mut claims = world.claims_with("jti", "token-1");
    claims["preferred_username"] = json!("carol.jones");
    function.call(world.request_with(&claims)).await.refusal(503, "temporarily_unavailable");
    assert!(world.dynamodb.puts().is_empty(), "nothing is spent for a request that cannot succeed");
}
