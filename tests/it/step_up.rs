//! Which sign-in a grant asks for, and what a weaker or older one is told.

use serde_json::{Value, json};

use hallpass_testing::clock;
use hallpass_testing::world::World;

/// Claims of a sign-in a minute ago with a second factor.
fn strong(world: &World) -> Value {
    let mut claims = world.claims_with("acr", "gold");
    claims["amr"] = json!(["pwd", "mfa", "hwk"]);
    claims["auth_time"] = json!(clock::now() - 60);
    claims["department"] = json!("shop");
    claims
}

fn strong_with(world: &World, name: &str, value: Value) -> Value {
    let mut claims = strong(world);
    claims[name] = value;
    claims
}

#[tokio::test]
async fn a_sign_in_that_meets_everything_gets_credentials() {
    let world = World::new().await;
    let require = json!({"acr": ["silver", "gold"], "amr": ["mfa", "hwk"], "max_age": 900, "claims": {"/department": ["shop", "ops"]}});
    world.dynamodb.grant("corp/user/carol", "default", &json!({ "require": require }));
    let function = world.start().await;
    function.call(world.request_with(&strong(&world))).await.credentials();
}

#[tokio::test]
async fn a_sign_in_that_misses_one_thing_is_told_the_whole_requirement() {
    let world = World::new().await;
    let require = json!({"acr": ["silver", "gold"], "amr": ["mfa"], "max_age": 900});
    world.dynamodb.grant("corp/user/carol", "default", &json!({ "require": require }));
    let function = world.start().await;
    let now = clock::now();
    for (name, value) in [
        ("acr", json!(null)),
        ("acr", json!("bronze")),
        ("acr", json!("Gold")),
        ("acr", json!(["gold"])),
        ("acr", json!(7)),
        ("amr", json!(null)),
        ("amr", json!([])),
        ("amr", json!(["pwd"])),
        ("amr", json!(["MFA"])),
        ("amr", json!(7)),
        ("auth_time", json!(null)),
        ("auth_time", json!(now - 900 - 60)),
        ("auth_time", json!(now.to_string())),
        ("auth_time", json!(-1)),
    ] {
        let answer = function.call(world.request_with(&strong_with(&world, name, value.clone()))).await;
        assert_eq!(answer.status, 401, "{name} {value}: {answer:?}");
        assert_eq!(answer.step_up(), json!({"acr_values": ["gold", "silver"], "amr_values": ["mfa"], "max_age": 900}));
    }
    assert!(world.sts.mints().is_empty());
    function.call(world.request_with(&strong(&world))).await.credentials();
}

#[tokio::test]
async fn the_challenge_is_worded_as_rfc_9470_has_it() {
    let world = World::new().await;
    world.dynamodb.grant("corp/user/carol", "default", &json!({"require": {"acr": ["a", "b"], "max_age": 900}}));
    let function = world.start().await;
    let answer = function.call(world.request()).await;
    answer.step_up();
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(challenge.starts_with("Bearer error=\"insufficient_user_authentication\", "), "{challenge}");
    assert!(challenge.contains(", acr_values=\"a b\", max_age=\"900\", resource_metadata=\"https://"), "{challenge}");
}

#[tokio::test]
async fn what_is_not_required_is_not_in_the_challenge() {
    let world = World::new().await;
    let function = world.start().await;
    for (require, told) in [
        (json!({"acr": ["gold"]}), json!({"acr_values": ["gold"]})),
        (json!({"amr": ["mfa"]}), json!({"amr_values": ["mfa"]})),
        (json!({"max_age": 60}), json!({"max_age": 60})),
    ] {
        world.dynamodb.grant("corp/user/carol", "default", &json!({ "require": require }));
        assert_eq!(function.call(world.request()).await.step_up(), told);
    }
}

#[tokio::test]
async fn the_time_of_the_sign_in_counts_with_the_leeway_and_not_the_tokens() {
    let world = World::new().await;
    world.dynamodb.grant("corp/user/carol", "default", &json!({"require": {"max_age": 300}}));
    let function = world.start().await;
    let now = clock::now();
    for (auth_time, status) in [(now - 315, 200), (now - 345, 401), (now, 200), (now + 15, 200)] {
        let answer = function.call(world.request_with(&world.claims_with("auth_time", auth_time))).await;
        assert_eq!(answer.status, status, "{auth_time} at {now}: {answer:?}");
    }
    assert_eq!(function.call(world.request()).await.step_up(), json!({"max_age": 300}));
}

#[tokio::test]
async fn a_claim_that_is_not_among_the_required_values_is_refused() {
    let world = World::new().await;
    let require = json!({"claims": {"/department": ["shop", "ops"], "/email_verified": [true]}});
    world.dynamodb.grant("corp/user/carol", "default", &json!({ "require": require }));
    let function = world.start().await;
    let met = strong_with(&world, "email_verified", json!(true));
    function.call(world.request_with(&met)).await.credentials();
    for (name, value) in [
        ("department", json!(null)),
        ("department", json!("Shop")),
        ("department", json!([])),
        ("department", json!(["Shop"])),
        ("department", json!([["shop"]])),
        ("department", json!(["shop", 7])),
        ("department", json!(["shop", null])),
        ("department", json!(["shop", {}])),
        ("department", json!("[\"shop\"]")),
        ("department", json!({"shop": true})),
        ("email_verified", json!(["true"])),
        ("email_verified", json!(false)),
        ("email_verified", json!("true")),
        ("email_verified", json!(null)),
    ] {
        let mut claims = met.clone();
        claims[name] = value.clone();
        let answer = function.call(world.request_with(&claims)).await;
        assert_eq!(answer.status, 403, "{name} {value}: {answer:?}");
        answer.refusal(403, "access_denied");
    }
}

#[tokio::test]
async fn a_required_claim_may_be_a_list_that_holds_the_value() {
    let world = World::new().await;
    world.dynamodb.grant("corp/user/carol", "default", &json!({"require": {"claims": {"/acrs": ["c1"]}}}));
    let function = world.start().await;
    // As Entra ID sends its authentication contexts.
    for acrs in [json!(["p1", "c1"]), json!(["c1"]), json!("c1")] {
        function.call(world.request_with(&world.claims_with("acrs", acrs))).await.credentials();
    }
    for acrs in [json!(["p1"]), json!(["p1", "c10"]), json!(["p1", ["c1"]])] {
        function.call(world.request_with(&world.claims_with("acrs", acrs))).await.refusal(403, "access_denied");
    }
}

#[tokio::test]
async fn a_list_has_to_hold_a_value_that_every_item_allows() {
    let world = World::new().await;
    let requiring = |values: Value| json!({"require": {"claims": {"/acrs": values}}});
    world.dynamodb.grant("corp/user/carol", "default", &requiring(json!(["c1", "c2"])));
    world.dynamodb.grant("corp/everyone", "default", &requiring(json!(["c2", "c3"])));
    let function = world.start().await;
    function.call(world.request_with(&world.claims_with("acrs", json!(["c2", "p1"])))).await.credentials();
    for acrs in [json!(["c1", "c3"]), json!(["c1"]), json!(["c3"])] {
        function.call(world.request_with(&world.claims_with("acrs", acrs))).await.refusal(403, "access_denied");
    }
}

#[tokio::test]
async fn a_claim_that_no_sign_in_can_mend_comes_before_the_step_up() {
    let world = World::new().await;
    let require = json!({"acr": ["gold"], "claims": {"/department": ["ops"]}});
    world.dynamodb.grant("corp/user/carol", "default", &json!({ "require": require }));
    let function = world.start().await;
    function.call(world.request()).await.refusal(403, "access_denied");
    let answer = function.call(world.request_with(&world.claims_with("department", "ops"))).await;
    assert_eq!(answer.step_up(), json!({"acr_values": ["gold"]}));
}

#[tokio::test]
async fn the_requirement_of_every_item_holds() {
    let world = World::new().await;
    let function = world.start().await;
    for principal in ["corp/group/deployers", "corp/everyone"] {
        world.dynamodb.clear();
        world.dynamodb.grant("corp/user/carol", "default", &json!({}));
        world.dynamodb.grant(principal, "default", &json!({"require": {"amr": ["mfa"]}}));
        assert_eq!(function.call(world.request()).await.step_up(), json!({"amr_values": ["mfa"]}));
        function.call(world.request_with(&strong(&world))).await.credentials();
    }
}

#[tokio::test]
async fn requirements_of_several_items_merge_to_the_strictest() {
    let world = World::new().await;
    for (principal, require) in [
        ("corp/user/carol", json!({"acr": ["a", "b", "c"], "amr": ["mfa"], "max_age": 3600})),
        ("corp/group/deployers", json!({"acr": ["d", "c", "b"], "amr": ["hwk", "mfa"], "max_age": 900})),
        ("corp/everyone", json!({"claims": {"/department": ["shop"]}})),
    ] {
        world.dynamodb.grant(principal, "default", &json!({ "require": require }));
    }
    let function = world.start().await;
    let told = json!({"acr_values": ["b", "c"], "amr_values": ["hwk", "mfa"], "max_age": 900});
    assert_eq!(function.call(world.request_with(&strong_with(&world, "acr", json!("d")))).await.step_up(), told);
    function.call(world.request_with(&strong_with(&world, "acr", json!("c")))).await.credentials();
}

#[tokio::test]
async fn requirements_that_nothing_can_meet_make_the_grant_unusable() {
    let world = World::new().await;
    let function = world.start().await;
    for (mine, everyones) in [
        (json!({"acr": ["a"]}), json!({"acr": ["b"]})),
        (json!({"claims": {"/department": ["shop"]}}), json!({"claims": {"/department": ["ops"]}})),
        (json!({"acr": []}), json!({})),
        (json!({"claims": {"/department": []}}), json!({})),
    ] {
        world.dynamodb.grant("corp/user/carol", "default", &json!({ "require": mine }));
        world.dynamodb.grant("corp/everyone", "default", &json!({ "require": everyones }));
        let answer = function.call(world.request_with(&strong(&world))).await;
        assert_eq!(answer.status, 500, "{mine} {everyones}: {answer:?}");
        answer.refusal(500, "grant_unusable");
    }
}

#[tokio::test]
async fn a_requirement_of_the_wrong_shape_makes_the_grant_unusable() {
    let world = World::new().await;
    let function = world.start().await;
    for require in [
        json!("mfa"),
        json!({"arc": ["gold"]}),
        json!({"acr": "gold"}),
        json!({"acr": [7]}),
        json!({"amr": "mfa"}),
        json!({"amr": [true]}),
        json!({"max_age": "900"}),
        json!({"max_age": -1}),
        json!({"claims": ["/department"]}),
        json!({"claims": {"department": ["shop"]}}),
        json!({"claims": {"/department": "shop"}}),
        json!({"claims": {"/department": [7]}}),
    ] {
        world.dynamodb.grant("corp/user/carol", "default", &json!({ "require": require }));
        let answer = function.call(world.request_with(&strong(&world))).await;
        assert_eq!(answer.status, 500, "{require}: {answer:?}");
        answer.refusal(500, "grant_unusable");
    }
}

#[tokio::test]
async fn an_item_out_of_its_time_leaves_with_its_requirement() {
    let world = World::new().await;
    let lapsed =
        json!({"require": {"amr": ["mfa"], "claims": {"/department": ["ops"]}}, "not_after": clock::now() - 1});
    world.dynamodb.grant("corp/everyone", "default", &lapsed);
    let function = world.start().await;
    function.call(world.request()).await.credentials();
}
