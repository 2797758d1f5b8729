//! What a request costs at `DynamoDB`, however many grants and groups there are.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use hallpass_testing::aws::dynamodb::BatchGet;
use hallpass_testing::events::Event;
use hallpass_testing::server::Call;
use hallpass_testing::world::{World, policy};

#[tokio::test]
async fn a_request_reads_the_same_from_a_small_table_and_a_large_one() {
    let world = World::new().await;
    let function = world.start().await;
    let mut calls = Vec::new();
    let mut granted = 0;
    for size in [100, 100_000] {
        while granted < size {
            let (principal, grant) = (format!("corp/user/u{granted}"), format!("g{}", granted % 10));
            world.dynamodb.grant(&principal, &grant, &json!({"max_duration": 900}));
            granted += 1;
        }
        world.dynamodb.server.forget_calls();
        function.call(world.request()).await.credentials();
        calls.push(world.dynamodb.server.calls().iter().map(asked).collect::<Vec<_>>());
    }
    assert_eq!(calls[0], calls[1]);
    assert_eq!(calls[0].len(), 1, "{:?}", calls[0]);
    assert_eq!(calls[0][0].0, "BatchGetItem");
    let batches = world.dynamodb.batches();
    assert!(batches[0].is_consistent());
    assert_eq!(batches[0].key_count(), 6);
    assert!(world.dynamodb.refused().is_empty(), "{:?}", world.dynamodb.refused());
}

#[tokio::test]
async fn the_owner_of_a_name_counts_as_a_key_like_any_other() {
    let mut world = World::new().await;
    world.trust_with(&json!({"name_claim": "/preferred_username"}));
    world.dynamodb.record("name#carol.jones", &json!({"owner": "corp/user/carol"}));
    world.dynamodb.grant("corp/everyone", "default", &json!({"policy": policy(&["s3:GetObject"])}));
    let function = world.start().await;
    for groups in [0, 47, 48, 98, 200] {
        world.dynamodb.server.forget_calls();
        world.sts.server.forget_calls();
        let groups: Vec<String> = (0..groups).map(|number| format!("g{number}")).collect();
        let mut claims = world.claims_with("preferred_username", "carol.jones");
        claims["groups"] = json!(groups);
        function.call(world.request_with(&claims)).await.credentials();
        assert_eq!(world.sts.only_mint().statements().len(), 2);

        let batches = world.dynamodb.batches();
        let keys = (groups.len() + 2) * 2 + 1;
        assert_eq!(batches.iter().map(BatchGet::key_count).sum::<usize>(), keys);
        assert_eq!(batches.len(), keys.div_ceil(100), "{} groups", groups.len());
        let distinct: BTreeSet<_> = batches.iter().flat_map(BatchGet::grant_keys).collect();
        assert_eq!(distinct.len(), keys - 1, "no key is read twice");
        assert_eq!(batches.iter().map(|batch| batch.state_keys().len()).sum::<usize>(), 1);
        assert!(batches.iter().all(BatchGet::is_consistent));
    }
}

#[tokio::test]
async fn a_function_asks_for_nothing_that_its_role_does_not_allow() {
    let mut world = World::new().await;
    let terms = json!({"single_use": true, "name_claim": "/preferred_username", "name_owners": "first_use"});
    world.trust_with(&terms);
    let function = world.start().await;
    let mut claims = world.claims_with("jti", "token-1");
    claims["preferred_username"] = json!("carol.jones");
    function.call(world.request_with(&claims)).await.credentials();
    let list = Event::get("/v1/grants").bearer(&world.sign(&claims));
    function.call(list).await.credentials();
    assert!(world.dynamodb.refused().is_empty(), "{:?}", world.dynamodb.refused());
    let records = world.dynamodb.records();
    let written: Vec<&str> = records.keys().map(|id| id.split_once('#').unwrap().0).collect();
    assert_eq!(written, ["jti", "name"]);
}

/// What a call asked for, its keys in an order that does not depend on the function's.
fn asked(call: &Call) -> (String, Value) {
    let mut request = call.json();
    for table in request["RequestItems"].as_object_mut().into_iter().flat_map(|tables| tables.values_mut()) {
        table["Keys"].as_array_mut().unwrap().sort_by_key(ToString::to_string);
    }
    (call.operation().unwrap_or_default().to_owned(), request)
}
