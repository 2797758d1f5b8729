//! How often a token opens something where its issuer says `single_use`.

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use futures_util::future::join_all;
use serde_json::{Value, json};

use hallpass_testing::answer::Answer;
use hallpass_testing::aws::dynamodb::{self, STATE};
use hallpass_testing::aws::query;
use hallpass_testing::clock;
use hallpass_testing::events::Event;
use hallpass_testing::server::Fault;
use hallpass_testing::world::World;

/// Seconds that a record is kept beyond its token's end.
const LEEWAY: u64 = 30;

async fn spending() -> World {
    let mut world = World::new().await;
    world.trust_with(&json!({"single_use": true}));
    world
}

/// Carol's claims in a token called `token-1`.
fn claims(world: &World) -> Value {
    world.claims_with("jti", "token-1")
}

fn request(world: &World) -> Event {
    world.request_with(&claims(world))
}

fn record_id(jti: &str) -> String {
    format!("jti#corp#{}", HEXLOWER.encode(digest::digest(&digest::SHA256, jti.as_bytes()).as_ref()))
}

fn throttled() -> Fault {
    Fault::Answers(dynamodb::error(400, "ProvisionedThroughputExceededException"))
}

#[tokio::test]
async fn a_token_is_good_once() {
    let world = spending().await;
    let function = world.start().await;
    let token = world.sign(&claims(&world));
    let request = Event::get("/v1/credentials").bearer(&token);
    function.call(request.clone()).await.credentials();
    function.call(request).await.refusal(401, "invalid_token");
    // What counts is the token's id, and not its text.
    function.call(world.request_with(&claims(&world))).await.refusal(401, "invalid_token");
    assert_eq!(world.sts.mints().len(), 1);
    function.call(world.request_with(&world.claims_with("jti", "token-2"))).await.credentials();
}

#[tokio::test]
async fn the_record_of_a_spent_token_is_kept_until_it_has_ended() {
    let world = spending().await;
    let function = world.start().await;
    let claims = claims(&world);
    function.call(world.request_with(&claims)).await.credentials();
    let puts = world.dynamodb.puts();
    assert_eq!(puts.len(), 1, "{puts:?}");
    assert!(puts[0].is_conditional && puts[0].table == STATE, "{puts:?}");
    assert!(world.dynamodb.records().keys().eq([&record_id("token-1")]));
    let record = &world.dynamodb.records()[&record_id("token-1")];
    assert_eq!(record["expires_at"], claims["exp"].as_u64().unwrap() + LEEWAY);
    assert!(!record.to_string().contains("token-1"));
}

#[tokio::test]
async fn the_record_of_a_token_that_ends_within_a_second_outlives_it() {
    let world = spending().await;
    let function = world.start().await;
    let mut claims = claims(&world);
    let whole = clock::now() + 600;
    claims["exp"] = json!(f64::from(u32::try_from(whole).unwrap()) + 0.5);
    function.call(world.request_with(&claims)).await.credentials();
    assert_eq!(world.dynamodb.records()[&record_id("token-1")]["expires_at"], whole + 1 + LEEWAY);
}

#[tokio::test]
async fn a_token_that_is_used_many_times_at_once_is_good_once() {
    let mut world = spending().await;
    world.set("AWS_LAMBDA_MAX_CONCURRENCY", "8");
    let functions = [world.start().await, world.start().await];
    for round in 0..6 {
        let jti = format!("token-{round}");
        if round % 2 == 1 {
            // Also where all of them find a record that its TTL left behind.
            world.dynamodb.record(&record_id(&jti), &json!({"expires_at": clock::now() - 1, "request_id": "another"}));
        }
        let request = world.request_with(&world.claims_with("jti", jti));
        let calls = functions.iter().flat_map(|function| (0..6).map(|_| function.call(request.clone())));
        let answers: Vec<Answer> = join_all(calls).await;
        let (issued, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        assert_eq!(issued.len(), 1, "{answers:?}");
        for answer in refused {
            answer.refusal(401, "invalid_token");
        }
    }
    assert_eq!(world.sts.mints().len(), 6);
}

#[tokio::test]
async fn a_token_is_spent_also_if_sts_then_fails() {
    let world = spending().await;
    let function = world.start().await;
    world.sts.server.fail_always(&Fault::Answers(query::error(400, "Throttling")));
    function.call(request(&world)).await.refusal(503, "temporarily_unavailable");
    world.sts.server.heal();
    world.sts.server.forget_calls();
    function.call(request(&world)).await.refusal(401, "invalid_token");
    assert!(world.sts.mints().is_empty());
}

#[tokio::test]
async fn a_token_that_cannot_be_spent_opens_nothing() {
    let broken = Fault::Answers(dynamodb::error(500, "InternalServerError"));
    for fault in [throttled(), broken, Fault::Resets, Fault::Hangs] {
        let world = spending().await;
        let function = world.start().await;
        world.dynamodb.server.fail_operation("PutItem", 2, &fault);
        function.call(request(&world)).await.refusal(503, "temporarily_unavailable");
        assert!(world.sts.mints().is_empty(), "{fault:?}");
        function.call(request(&world)).await.credentials();
    }
}

#[tokio::test]
async fn a_function_that_may_not_spend_opens_nothing() {
    let world = spending().await;
    let function = world.start().await;
    let denied = Fault::Answers(dynamodb::error(400, "AccessDeniedException"));
    world.dynamodb.server.fail_operation("PutItem", 2, &denied);
    let answer = function.call(request(&world)).await;
    assert!(answer.status >= 500, "{answer:?}");
    assert!(world.sts.mints().is_empty());
}

#[tokio::test]
async fn one_failure_in_spending_is_invisible() {
    let world = spending().await;
    let function = world.start().await;
    let faults = [throttled(), Fault::Resets, Fault::Hangs, Fault::LosesAnswer, Fault::Truncates];
    for (number, fault) in faults.into_iter().enumerate() {
        world.dynamodb.server.forget_calls();
        world.dynamodb.server.fail_operation("PutItem", 1, &fault);
        let request = world.request_with(&world.claims_with("jti", format!("token-{number}")));
        let answer = function.call(request.clone()).await;
        assert_eq!(answer.status, 200, "{fault:?}: {answer:?}");
        let puts = world.dynamodb.puts();
        assert_eq!(puts.len(), 2, "{fault:?}: {puts:?}");
        assert_eq!(puts[0].item, puts[1].item);
        function.call(request).await.refusal(401, "invalid_token");
    }
}

#[tokio::test]
async fn a_record_of_another_request_is_not_taken_for_an_own_one() {
    let world = spending().await;
    let function = world.start().await;
    let rival = json!({"expires_at": clock::now() + 600, "request_id": "another"});
    world.dynamodb.record_just_before_the_next_put(&record_id("token-1"), &rival);
    function.call(request(&world)).await.refusal(401, "invalid_token");
    assert!(world.sts.mints().is_empty());
}

#[tokio::test]
async fn a_record_that_its_ttl_left_behind_does_not_refuse() {
    let world = spending().await;
    world.dynamodb.record(&record_id("token-1"), &json!({"expires_at": clock::now() - 1, "request_id": "another"}));
    let function = world.start().await;
    function.call(request(&world)).await.credentials();
    let record = &world.dynamodb.records()[&record_id("token-1")];
    assert!(record["expires_at"].as_u64().unwrap() > clock::now());
    function.call(request(&world)).await.refusal(401, "invalid_token");
}

#[tokio::test]
async fn a_refused_request_spends_nothing() {
    let world = spending().await;
    let function = world.start().await;
    for query in ["duration=7200", "duration=1", "grant=deploy", "nonsense=1"] {
        let answer = function.call(request(&world).query(query)).await;
        assert!([400, 403].contains(&answer.status), "{query}: {answer:?}");
    }
    for item in [
        json!({"enabled": false}),
        json!({"unknown": 1}),
        json!({"not_after": 1}),
        json!({"require": {"amr": ["mfa"]}}),
        json!({"require": {"claims": {"/department": ["ops"]}}}),
        json!({"tags": {"team": "${jwt:/department}"}}),
    ] {
        world.dynamodb.grant("corp/user/carol", "default", &item);
        let answer = function.call(request(&world)).await;
        assert_ne!(answer.status, 200, "{item}: {answer:?}");
    }
    world.dynamodb.grant("corp/user/carol", "default", &json!({}));
    world.dynamodb.block("corp/everyone");
    function.call(request(&world)).await.refusal(403, "access_denied");
    assert!(world.dynamodb.puts().is_empty());
    world.dynamodb.clear();
    world.dynamodb.grant("corp/user/carol", "default", &json!({}));
    function.call(request(&world)).await.credentials();
}

#[tokio::test]
async fn a_token_without_an_id_is_refused() {
    let world = spending().await;
    let function = world.start().await;
    for id in [json!(null), json!(7), json!(["token-1"])] {
        function.call(world.request_with(&world.claims_with("jti", id))).await.refusal(401, "invalid_token");
    }
    function.call(world.request()).await.refusal(401, "invalid_token");
    assert!(world.dynamodb.puts().is_empty() && world.dynamodb.batches().is_empty());
}

#[tokio::test]
async fn without_single_use_a_token_is_good_until_it_ends() {
    let world = World::new().await;
    let function = world.start().await;
    for _ in 0..2 {
        function.call(request(&world)).await.credentials();
    }
    assert!(world.dynamodb.puts().is_empty());
}

#[tokio::test]
async fn spending_is_one_call_more() {
    let world = spending().await;
    let function = world.start().await;
    world.dynamodb.server.forget_calls();
    function.call(request(&world)).await.credentials();
    let calls = world.dynamodb.server.calls();
    let operations: Vec<_> = calls.iter().map(|call| call.operation().unwrap()).collect();
    assert_eq!(operations, ["BatchGetItem", "PutItem"]);
    assert!(world.dynamodb.refused().is_empty());
}
