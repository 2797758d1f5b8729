//! Whose key asks STS, and what becomes of it while it is rotated.

use serde_json::json;

use hallpass_testing::aws::query;
use hallpass_testing::aws::secretsmanager;
use hallpass_testing::aws::sts::Mint;
use hallpass_testing::server::Fault;
use hallpass_testing::world::{BROKER_KEY, FUNCTION_KEY, World};

/// The key after a rotation.
const NEXT_KEY: &str = "AKIABROKERTWOEXAMPLE";

/// The secret half of [`NEXT_KEY`].
const NEXT_SECRET: &str = "broker-secret-two/EXAMPLE+KEY0000000000000";

#[tokio::test]
async fn sts_is_asked_with_the_secrets_key_and_all_else_with_the_functions_own() {
    let world = World::new().await;
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    assert_eq!(keys_used(&world), [BROKER_KEY]);
    for server in [&world.dynamodb.server, &world.secrets.server] {
        assert!(server.calls().iter().all(|call| [FUNCTION_KEY, ""].contains(&call.access_key())));
    }
    assert_eq!(world.dynamodb.batches()[0].access_key, FUNCTION_KEY);
}

#[tokio::test]
async fn a_warm_request_does_not_read_the_secret() {
    let world = World::new().await;
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    world.secrets.server.forget_calls();
    function.call(world.request()).await.credentials();
    assert!(world.secrets.server.calls().is_empty());
}

#[tokio::test]
async fn a_key_that_was_rotated_away_is_replaced_within_the_request() {
    let world = World::new().await;
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    world.secrets.hold_key(NEXT_KEY, NEXT_SECRET);
    world.sts.refuse_key(BROKER_KEY);
    function.call(world.request()).await.credentials();
    assert_eq!(keys_used(&world), [BROKER_KEY, BROKER_KEY, NEXT_KEY]);
    function.call(world.request()).await.credentials();
    assert_eq!(keys_used(&world).last().map(String::as_str), Some(NEXT_KEY));
}

#[tokio::test]
async fn a_key_that_is_refused_also_after_a_refetch_is_named() {
    for code in ["InvalidClientTokenId", "SignatureDoesNotMatch"] {
        let world = World::new().await;
        let function = world.start().await;
        world.sts.server.fail_always(&Fault::Answers(query::error(403, code)));
        function.call(world.request()).await.refusal(500, "broker_key_refused");
        world.sts.server.heal();
        function.call(world.request()).await.credentials();
    }
}

#[tokio::test]
async fn a_new_key_that_is_refused_too_is_named() {
    let world = World::new().await;
    let function = world.start().await;
    world.secrets.hold_key(NEXT_KEY, NEXT_SECRET);
    world.sts.refuse_key(BROKER_KEY);
    world.sts.refuse_key(NEXT_KEY);
    function.call(world.request()).await.refusal(500, "broker_key_refused");
    assert_eq!(keys_used(&world), [BROKER_KEY, NEXT_KEY]);
}

#[tokio::test]
async fn while_sts_does_not_know_a_new_key_the_one_before_it_serves() {
    let world = World::new().await;
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    world.secrets.hold_key(NEXT_KEY, NEXT_SECRET);
    world.sts.refuse_key(NEXT_KEY);
    // So that the function reads the secret now, and not in five minutes.
    world.sts.server.fail_times(1, &Fault::Answers(query::error(403, "InvalidClientTokenId")));
    function.call(world.request()).await.refusal(500, "broker_key_refused");
    world.secrets.server.forget_calls();
    for _ in 0..10 {
        function.call(world.request()).await.credentials();
        assert_eq!(keys_used(&world).last().map(String::as_str), Some(BROKER_KEY));
    }
    let reads = world.secrets.server.calls().len();
    assert!(reads <= 2, "{reads} reads of the secret within 5 s");
    world.sts.accept_all_keys();
    function.call(world.request()).await.credentials();
    assert_eq!(keys_used(&world).last().map(String::as_str), Some(NEXT_KEY));
}

#[tokio::test]
async fn a_key_that_is_rotated_away_twice_in_a_row_is_replaced_each_time() {
    let world = World::new().await;
    let function = world.start().await;
    for (refused, key) in
        [(BROKER_KEY, NEXT_KEY), (NEXT_KEY, "AKIABROKERTHREEXAMPL"), ("AKIABROKERTHREEXAMPL", "AKIABROKERFOUREXAMPL")]
    {
        world.secrets.hold_key(key, NEXT_SECRET);
        world.sts.refuse_key(refused);
        function.call(world.request()).await.credentials();
        assert_eq!(keys_used(&world).last().map(String::as_str), Some(key));
    }
}

#[tokio::test]
async fn refusals_do_not_hammer_secrets_manager() {
    let world = World::new().await;
    let function = world.start().await;
    world.secrets.server.forget_calls();
    world.sts.refuse_key(BROKER_KEY);
    for _ in 0..10 {
        function.call(world.request()).await.refusal(500, "broker_key_refused");
    }
    let reads = world.secrets.server.calls().len();
    assert!((1..=2).contains(&reads), "{reads} reads of the secret within 5 s");
}

#[tokio::test]
async fn a_refused_key_whose_secret_cannot_be_read_is_a_temporary_state() {
    let world = World::new().await;
    let function = world.start().await;
    world.sts.refuse_key(BROKER_KEY);
    world.secrets.server.fail_always(&Fault::Resets);
    // The second one comes while Secrets Manager is not asked again: nobody knows yet that the key has to be mended.
    for _ in 0..2 {
        function.call(world.request()).await.refusal(503, "temporarily_unavailable");
    }
}

#[tokio::test]
async fn no_key_made_yet_is_a_temporary_state() {
    let placeholder = json!({"AccessKeyId": "", "SecretAccessKey": ""}).to_string();
    for held in [None, Some(placeholder)] {
        let world = World::new().await;
        held.map_or_else(|| world.secrets.hold_nothing(), |text| world.secrets.hold(text));
        let function = world.start().await;
        function.call(world.request()).await.refusal(503, "temporarily_unavailable");
        assert!(world.sts.mints().is_empty());
    }
}

#[tokio::test]
async fn a_secret_that_cannot_be_parsed_is_a_refused_key() {
    for text in [
        "",
        "null",
        "not json",
        "{",
        "[]",
        "{}",
        "{\"AccessKeyId\":\"AKIABROKERONEEXAMPLE\"}",
        "{\"AccessKeyId\":7,\"SecretAccessKey\":\"x\"}",
        "{\"AccessKeyId\":\"AKIABROKERONEEXAMPLE\",\"SecretAccessKey\":null}",
    ] {
        let world = World::new().await;
        world.secrets.hold(text);
        let function = world.start().await;
        let answer = function.call(world.request()).await;
        assert_eq!(answer.status, 500, "{text}: {answer:?}");
        answer.refusal(500, "broker_key_refused");
        assert!(world.sts.mints().is_empty());
    }
}

#[tokio::test]
async fn a_secret_that_was_spoilt_leaves_the_held_key_in_use() {
    let world = World::new().await;
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    world.secrets.hold("spoilt");
    world.sts.server.fail_times(1, &Fault::Answers(query::error(403, "InvalidClientTokenId")));
    function.call(world.request()).await.refusal(500, "broker_key_refused");
    function.call(world.request()).await.credentials();
}

#[tokio::test]
async fn a_function_that_may_not_read_the_secret_says_nothing_of_it() {
    let world = World::new().await;
    world.secrets.server.fail_always(&Fault::Answers(secretsmanager::error(400, "AccessDeniedException")));
    let function = world.start().await;
    let answer = function.call(world.request()).await;
    assert!(answer.status >= 500, "{answer:?}");
    assert!(
        !answer.body.contains(secretsmanager::UPSTREAM_TEXT) && !answer.body.contains("AccessDenied"),
        "{answer:?}"
    );
}

fn keys_used(world: &World) -> Vec<String> {
    world.sts.mints().into_iter().map(|mint: Mint| mint.access_key).collect()
}
