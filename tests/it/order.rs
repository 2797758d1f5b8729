//! Which refusal wins when a request deserves two.

use serde_json::json;

use crate::support::clock;
use crate::support::events::Event;
use crate::support::server::Fault;
use crate::support::sts;
use crate::support::world::World;

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
    world.sts.server.fail_always(&Fault::Answers(sts::error(400, "MalformedPolicyDocument")));
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
