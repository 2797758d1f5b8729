//! What a caller could ask for.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::grants::unusable_items;
use hallpass_testing::aws::dynamodb;
use hallpass_testing::clock;
use hallpass_testing::events::Event;
use hallpass_testing::function::Function;
use hallpass_testing::server::{Fault, Reply};
use hallpass_testing::world::{World, policy};

/// The most `Query` calls that are in flight at one time.
const IN_FLIGHT: usize = 16;

fn request(world: &World) -> Event {
    request_with(world, &world.claims())
}

fn request_with(world: &World, claims: &Value) -> Event {
    Event::get("/v1/grants").bearer(&world.sign(claims))
}

/// The grants that carol is told of.
async fn listed(world: &World, function: &Function) -> Vec<Value> {
    listed_with(world, function, &world.claims()).await
}

async fn listed_with(world: &World, function: &Function, claims: &Value) -> Vec<Value> {
    let body = function.call(request_with(world, claims)).await.credentials();
    assert!(body.as_object().unwrap().keys().eq(["grants"]), "{body}");
    body["grants"].as_array().unwrap().clone()
}

fn names(grants: &[Value]) -> Vec<&str> {
    grants.iter().map(|grant| grant["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_caller_is_told_the_grants_that_he_could_ask_for() {
    let world = World::new().await;
    let carols = json!({"policy": policy(&["s3:ListBucket"]), "description": "Readers", "max_duration": 7200});
    let deploy = json!({"description": "Deployers", "require": {"acr": ["gold"], "amr": ["mfa"], "max_age": 900}});
    world.dynamodb.grant("corp/user/carol", "default", &carols);
    world.dynamodb.grant("corp/group/deployers", "deploy", &deploy);
    world.dynamodb.grant("corp/everyone", "a-guest", &json!({"description": "Guests", "max_duration": 900}));
    world.dynamodb.grant("corp/user/dave", "daves", &json!({}));
    world.dynamodb.grant("other/everyone", "others", &json!({}));
    world.dynamodb.grant("corp/group/readers", "readers", &json!({}));
    let function = world.start().await;
    let answer = function.call(request(&world)).await;
    assert_eq!(
        answer.credentials(),
        json!({"grants": [
            {"name": "a-guest", "description": "Guests", "max_duration": 900, "requires": {}},
            {"name": "default", "description": "Readers", "max_duration": 7200, "requires": {}},
            {
                "name": "deploy",
                "description": "Deployers",
                "max_duration": 3600,
                "requires": {"acr_values": ["gold"], "amr_values": ["mfa"], "max_age": 900},
            },
        ]})
    );
    assert!(world.sts.mints().is_empty());
}

#[tokio::test]
async fn a_caller_without_grants_is_told_of_none() {
    let world = World::new().await;
    world.dynamodb.clear();
    let function = world.start().await;
    assert_eq!(function.call(request(&world)).await.credentials(), json!({"grants": []}));
}

#[tokio::test]
async fn a_grant_of_several_items_is_told_as_what_they_merge_to() {
    let world = World::new().await;
    world.dynamodb.grant("corp/user/carol", "deploy", &json!({"max_duration": 43200, "require": {"max_age": 3600}}));
    world.dynamodb.grant("corp/group/deployers", "deploy", &json!({"max_duration": 7200, "require": {"amr": ["mfa"]}}));
    world.dynamodb.grant("corp/everyone", "deploy", &json!({"max_duration": 900, "not_after": clock::now() - 1}));
    let function = world.start().await;
    let grants = listed(&world, &function).await;
    assert_eq!(names(&grants), ["default", "deploy"]);
    assert_eq!(grants[1]["max_duration"], 7200);
    assert_eq!(grants[1]["requires"], json!({"amr_values": ["mfa"], "max_age": 3600}));
}

#[tokio::test]
async fn a_grant_that_would_be_refused_is_left_out() {
    let world = World::new().await;
    let now = clock::now();
    for (name, item) in [
        ("disabled", json!({"enabled": false})),
        ("ended", json!({"not_after": now - 1})),
        ("ending", json!({"not_after": now + 890})),
        ("coming", json!({"not_before": now + 600})),
        ("mistyped", json!({"max_duration": "3600"})),
        ("contradictory", json!({"tags": {"team": "a"}})),
        ("unfit", json!({"tags": {"team": "${jwt:/team}"}})),
        ("impossible", json!({"require": {"acr": []}})),
        ("untold", json!({"require": {"claims": {"/department": ["ops"]}}})),
        ("of-others", json!({"require": {"claims": {"/sub": ["dave"]}}})),
    ] {
        world.dynamodb.grant("corp/user/carol", name, &item);
        world.dynamodb.grant("corp/everyone", name, &json!({}));
    }
    world.dynamodb.grant("corp/everyone", "contradictory", &json!({"tags": {"Team": "a"}}));
    for name in ["ended", "ending", "coming"] {
        world.dynamodb.grant("corp/everyone", name, &json!({"not_after": now - 1}));
    }
    let function = world.start().await;
    assert_eq!(names(&listed(&world, &function).await), ["default"]);
    let mut claims = world.claims_with("department", "ops");
    assert_eq!(names(&listed_with(&world, &function, &claims).await), ["default", "untold"]);
    claims["department"] = json!("shop");
    assert_eq!(names(&listed_with(&world, &function, &claims).await), ["default"]);
}

#[tokio::test]
async fn what_a_sign_in_meets_is_not_required_of_it() {
    let world = World::new().await;
    let require = json!({"acr": ["gold", "silver"], "amr": ["mfa"], "max_age": 900});
    world.dynamodb.grant("corp/user/carol", "default", &json!({ "require": require }));
    let function = world.start().await;
    let now = clock::now();
    let whole = json!({"acr": "gold", "amr": ["mfa"], "auth_time": now});
    for (missing, expected) in [
        ("", json!({})),
        ("acr", json!({"acr_values": ["gold", "silver"]})),
        ("amr", json!({"amr_values": ["mfa"]})),
        ("auth_time", json!({"max_age": 900})),
    ] {
        let mut claims = world.claims();
        claims.as_object_mut().unwrap().extend(whole.as_object().unwrap().clone());
        claims.as_object_mut().unwrap().remove(missing);
        assert_eq!(listed_with(&world, &function, &claims).await[0]["requires"], expected, "without {missing}");
    }
}

#[tokio::test]
async fn a_blocked_caller_gets_no_list() {
    for principal in ["corp/user/carol", "corp/group/deployers", "corp/everyone"] {
        let world = World::new().await;
        world.dynamodb.block(principal);
        let function = world.start().await;
        function.call(request(&world)).await.refusal(403, "access_denied");
    }
}

#[tokio::test]
async fn a_grant_that_cannot_be_used_is_not_listed() {
    let world = World::new().await;
    let items = unusable_items();
    for (number, item) in items.iter().enumerate() {
        world.dynamodb.grant("corp/user/carol", &format!("u{number}"), item);
        world.dynamodb.grant("corp/group/deployers", &format!("g{number}"), item);
        for name in ["u", "g"] {
            world.dynamodb.grant(
                "corp/everyone",
                &format!("{name}{number}"),
                &json!({"description": "fine by itself"}),
            );
        }
    }
    let function = world.start().await;
    assert_eq!(names(&listed(&world, &function).await), ["default"]);
    for (number, item) in items.iter().enumerate() {
        for name in ["u", "g"] {
            let answer = function.call(world.request().query(&format!("grant={name}{number}"))).await;
            assert_eq!(answer.status, 500, "{item}: {answer:?}");
            answer.refusal(500, "grant_unusable");
        }
    }
}

#[tokio::test]
async fn an_attribute_that_this_version_does_not_know_keeps_a_grant_out_of_the_list() {
    let world = World::new().await;
    world.dynamodb.grant("corp/everyone", "later", &json!({"policy": policy(&["s3:ListBucket"])}));
    let function = world.start().await;
    assert_eq!(names(&listed(&world, &function).await), ["default", "later"]);
    let item = json!({"policy": policy(&["s3:ListBucket"]), "max_uses": 3});
    world.dynamodb.grant("corp/everyone", "later", &item);
    assert_eq!(names(&listed(&world, &function).await), ["default"]);
    function.call(world.request().query("grant=later")).await.refusal(500, "grant_unusable");
}

#[tokio::test]
async fn what_is_too_large_together_is_not_listed() {
    let world = World::new().await;
    let large = |action: &str| {
        let resources: Vec<String> = (0..25).map(|number| format!("arn:aws:s3:::{action}-{number:030}/*")).collect();
        json!({"policy": {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "s3:GetObject", "Resource": resources}]}})
    };
    world.dynamodb.grant("corp/user/carol", "large", &large("a"));
    let function = world.start().await;
    assert_eq!(names(&listed(&world, &function).await), ["default", "large"]);
    world.dynamodb.grant("corp/everyone", "large", &large("b"));
    assert_eq!(names(&listed(&world, &function).await), ["default"]);
    function.call(world.request().query("grant=large")).await.refusal(500, "grant_unusable");
}

#[tokio::test]
async fn a_pinned_grant_is_listed_for_those_who_have_an_address() {
    let world = World::new().await;
    let pinned = json!({"policy": policy(&["s3:ListBucket"]), "pin_source_ip": true});
    world.dynamodb.grant("corp/everyone", "pinned", &pinned);
    let function = world.start().await;
    assert_eq!(names(&listed(&world, &function).await), ["default", "pinned"]);
    let nowhere = |event: Event| event.with(|event| event["requestContext"]["http"]["sourceIp"] = json!("unknown"));
    let body = function.call(nowhere(request(&world))).await.credentials();
    assert_eq!(names(body["grants"].as_array().unwrap()), ["default"]);
    function.call(nowhere(world.request().query("grant=pinned"))).await.refusal(400, "invalid_request");
}

#[tokio::test]
async fn the_list_costs_one_query_a_principal_which_reads_whole_items_and_one_read_of_blocks() {
    let world = World::new().await;
    let function = world.start().await;
    world.dynamodb.server.forget_calls();
    let claims = world.claims_with("groups", json!(["deployers", "readers", "deployers"]));
    listed_with(&world, &function, &claims).await;
    let queries = world.dynamodb.listings();
    let principals: BTreeSet<&str> = queries.iter().map(|query| query.partition.as_deref().unwrap()).collect();
    let expected = ["corp/user/carol", "corp/group/deployers", "corp/group/readers", "corp/everyone"];
    assert_eq!((queries.len(), principals), (4, expected.into()));
    // And one more for the blocks.
    assert_eq!(world.dynamodb.server.calls().len(), 5);
    assert!(queries.iter().all(|query| query.is_consistent), "{queries:?}");
    assert!(world.dynamodb.refused().is_empty());
}

#[tokio::test]
async fn all_pages_are_read() {
    let world = World::new().await;
    world.dynamodb.clear();
    for name in ["a", "b", "c", "d", "e"] {
        world.dynamodb.grant("corp/user/carol", name, &json!({}));
        world.dynamodb.grant("corp/everyone", name, &json!({"max_duration": 900}));
    }
    let function = world.start().await;
    for size in 1..=6 {
        world.dynamodb.page(size);
        let grants = listed(&world, &function).await;
        assert_eq!(names(&grants), ["a", "b", "c", "d", "e"], "pages of {size}");
        assert!(grants.iter().all(|grant| grant["max_duration"] == 900), "pages of {size}: {grants:?}");
    }
    world.dynamodb.page(2);
    world.dynamodb.grant("corp/everyone", "e", &json!({"enabled": false}));
    assert_eq!(names(&listed(&world, &function).await), ["a", "b", "c", "d"]);
    world.dynamodb.grant("corp/everyone", "d", &json!({"colour": "red"}));
    assert_eq!(names(&listed(&world, &function).await), ["a", "b", "c"]);
    world.dynamodb.block("corp/everyone");
    function.call(request(&world)).await.refusal(403, "access_denied");
}

#[tokio::test]
async fn many_groups_are_asked_about_a_few_at_a_time() {
    let world = World::new().await;
    world.dynamodb.grant("corp/group/g49", "last", &json!({}));
    let function = world.start().await;
    world.dynamodb.server.fail_always(&Fault::Slow(Duration::from_millis(20)));
    let groups: Vec<String> = (0..50).map(|number| format!("g{number}")).collect();
    let grants = listed_with(&world, &function, &world.claims_with("groups", groups)).await;
    assert_eq!(names(&grants), ["default", "last"]);
    assert_eq!(world.dynamodb.listings().len(), 52);
    let peak = world.dynamodb.server.peak();
    assert!((2..=IN_FLIGHT).contains(&peak), "{peak} in flight");
}

#[tokio::test]
async fn the_grants_of_many_groups_are_listed() {
    let world = World::new().await;
    world.dynamodb.grant("corp/group/g79", "last", &json!({}));
    let function = world.start().await;
    // Of 200, an unoptimized build on a busy machine may not get through within a request's time.
    let groups: Vec<String> = (0..80).map(|number| format!("g{number}")).collect();
    let answer = function.call(request_with(&world, &world.claims_with("groups", groups))).await;
    assert_eq!(names(answer.credentials()["grants"].as_array().unwrap()), ["default", "last"], "{:?}", answer.took);
}

#[tokio::test]
async fn nothing_is_spent_or_owned_by_asking() {
    let mut world = World::new().await;
    let terms = json!({"single_use": true, "name_claim": "/preferred_username", "name_owners": "first_use"});
    world.trust_with(&terms);
    let function = world.start().await;
    let mut claims = world.claims_with("jti", "token-1");
    claims["preferred_username"] = json!("carol.jones");
    for _ in 0..2 {
        assert_eq!(names(&listed_with(&world, &function, &claims).await), ["default"]);
    }
    assert!(world.dynamodb.puts().is_empty());
    function.call(world.request_with(&claims)).await.credentials();
}

#[tokio::test]
async fn the_list_is_for_those_who_sign_in() {
    let world = World::new().await;
    let function = world.start().await;
    function.call(Event::get("/v1/grants")).await.refusal(401, "token_missing");
    function.call(Event::get("/v1/grants").bearer("not.a.token")).await.refusal(401, "invalid_token");
    let expired = world.claims_with("exp", clock::now() - 60);
    function.call(request_with(&world, &expired)).await.refusal(401, "invalid_token");
    let overage = world.claims_with("groups", 7);
    function.call(request_with(&world, &overage)).await.refusal(403, "groups_unavailable");
    assert!(world.dynamodb.listings().is_empty());
}

#[tokio::test]
async fn the_list_takes_no_parameters() {
    let world = World::new().await;
    let function = world.start().await;
    for query in ["grant=default", "duration=900", "x=1"] {
        function.call(request(&world).query(query)).await.refusal(400, "invalid_request");
    }
    function.call(request(&world).json(&json!({}))).await.refusal(400, "invalid_request");
    function.call(request(&world).body("x")).await.refusal(400, "invalid_request");
    assert!(world.dynamodb.listings().is_empty());
}

#[tokio::test]
async fn a_list_that_is_not_whole_is_not_told() {
    let throttled = Fault::Answers(dynamodb::error(400, "ThrottlingException"));
    for fault in [throttled, Fault::Resets, Fault::Hangs] {
        let world = World::new().await;
        let function = world.start().await;
        // Of three principals' attempts, two each, the first four: one of them meets two whatever their order.
        world.dynamodb.server.fail_operation("Query", 4, &fault);
        let answer = function.call(request(&world)).await;
        answer.refusal(503, "temporarily_unavailable");
        assert!(answer.took < Duration::from_secs(2), "{fault:?}: {answer:?}");
        world.dynamodb.server.heal();
        assert_eq!(names(&listed(&world, &function).await), ["default"]);
        world.dynamodb.server.fail_operation("Query", 1, &fault);
        assert_eq!(names(&listed(&world, &function).await), ["default"], "one {fault:?} is invisible");
    }
}

#[tokio::test]
async fn a_list_that_says_too_little_or_too_much_is_a_failure() {
    let item = |principal: &str| json!({"principal": {"S": principal}, "grant": {"S": "default"}});
    for (answer, status, code) in [
        (json!({}), 503, "temporarily_unavailable"),
        (json!({"Count": 1}), 503, "temporarily_unavailable"),
        (json!({"Items": [item("corp/user/dave")]}), 500, "internal"),
        (json!({"Items": [{"principal": {"S": "corp/user/carol"}}]}), 500, "internal"),
        (json!({"Items": [{"grant": {"S": "default"}}]}), 500, "internal"),
    ] {
        let world = World::new().await;
        let function = world.start().await;
        let reply = Reply::new(200, "application/x-amz-json-1.0", answer.to_string());
        world.dynamodb.server.fail_operation("Query", 1, &Fault::Answers(reply));
        let refused = function.call(request(&world)).await;
        assert_eq!(refused.status, status, "{answer}: {refused:?}");
        refused.refusal(status, code);
    }
}
