//! Under which name a session runs where the issuer has a `name_claim`, and whose that name is.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use hallpass_testing::aws::dynamodb::{self, GRANTS, STATE};
use hallpass_testing::events::Event;
use hallpass_testing::function::Function;
use hallpass_testing::server::Fault;
use hallpass_testing::world::World;

/// A world whose issuer names people by `preferred_username`.
async fn naming(owners: &str) -> World {
    let mut world = World::new().await;
    world.trust_with(&json!({"name_claim": "/preferred_username", "name_owners": owners}));
    world
}

/// Carol's request under this name.
fn named(world: &World, name: &str) -> Event {
    world.request_with(&world.claims_with("preferred_username", name))
}

fn owned_by(owner: &str) -> Value {
    json!({ "owner": owner })
}

#[tokio::test]
async fn a_name_that_is_registered_for_the_caller_is_the_sessions() {
    let world = naming("registered").await;
    world.dynamodb.record("name#carol.jones", &owned_by("corp/user/carol"));
    let function = world.start().await;
    let credentials = function.call(named(&world, "carol.jones")).await.credentials();
    assert_eq!(world.sts.only_mint().name(), "carol.jones");
    assert!(credentials["FederatedUser"]["Arn"].as_str().unwrap().ends_with(":federated-user/carol.jones"));
    assert_eq!(world.dynamodb.puts().len(), 0);
}

#[tokio::test]
async fn a_name_that_is_anothers_or_nobodys_is_refused_where_names_are_registered() {
    let world = naming("registered").await;
    let function = world.start().await;
    function.call(named(&world, "carol.jones")).await.refusal(403, "access_denied");
    for owner in ["corp/user/dave", "other/user/carol", "corp/user/Carol", "corp/group/carol", "carol"] {
        world.dynamodb.record("name#carol.jones", &owned_by(owner));
        function.call(named(&world, "carol.jones")).await.refusal(403, "access_denied");
    }
    assert!(world.sts.mints().is_empty() && world.dynamodb.puts().is_empty());
    world.dynamodb.record("name#carol.jones", &owned_by("corp/user/carol"));
    function.call(named(&world, "carol.jones")).await.credentials();
}

#[tokio::test]
async fn names_are_registered_where_nothing_else_is_said() {
    let mut world = World::new().await;
    world.trust_with(&json!({"name_claim": "/preferred_username"}));
    let function = world.start().await;
    function.call(named(&world, "carol.jones")).await.refusal(403, "access_denied");
}

#[tokio::test]
async fn the_first_to_use_a_name_takes_it_once() {
    let world = naming("first_use").await;
    let function = world.start().await;
    for _ in 0..3 {
        function.call(named(&world, "carol.jones")).await.credentials();
    }
    assert!(world.sts.mints().iter().all(|mint| mint.name() == "carol.jones"));
    let puts = world.dynamodb.puts();
    assert_eq!(puts.len(), 1, "{puts:?}");
    assert!(puts[0].is_conditional && puts[0].table == STATE, "{puts:?}");
    let record = &world.dynamodb.records()["name#carol.jones"];
    assert_eq!(record["owner"], "corp/user/carol");
    assert!(record.get("expires_at").is_none(), "a name does not expire: {record}");

    let mut dave = world.claims_with("sub", "dave");
    dave["preferred_username"] = json!("carol.jones");
    world.dynamodb.grant("corp/user/dave", "default", &json!({}));
    function.call(world.request_with(&dave)).await.refusal(403, "access_denied");
    assert_eq!(world.dynamodb.puts().len(), 1);
}

#[tokio::test]
async fn a_name_that_is_anothers_is_refused_where_names_are_taken() {
    let world = naming("first_use").await;
    world.dynamodb.record("name#carol.jones", &owned_by("corp/user/dave"));
    let function = world.start().await;
    function.call(named(&world, "carol.jones")).await.refusal(403, "access_denied");
    assert!(world.sts.mints().is_empty() && world.dynamodb.puts().is_empty());
}

#[tokio::test]
async fn who_comes_second_to_a_name_is_refused() {
    let world = naming("first_use").await;
    let function = world.start().await;
    world.dynamodb.record_just_before_the_next_put("name#carol.jones", &owned_by("corp/user/dave"));
    function.call(named(&world, "carol.jones")).await.refusal(403, "access_denied");
    assert_eq!(world.dynamodb.puts().len(), 1);
    assert!(world.sts.mints().is_empty());
    assert_eq!(world.dynamodb.records()["name#carol.jones"]["owner"], "corp/user/dave");
}

#[tokio::test]
async fn who_takes_a_name_twice_at_once_has_it() {
    let world = naming("first_use").await;
    let function = world.start().await;
    world.dynamodb.record_just_before_the_next_put("name#carol.jones", &owned_by("corp/user/carol"));
    function.call(named(&world, "carol.jones")).await.credentials();
}

#[tokio::test]
async fn a_name_whose_taking_was_done_but_not_answered_is_taken() {
    let world = naming("first_use").await;
    let function = world.start().await;
    world.dynamodb.server.fail_operation("PutItem", 1, &Fault::LosesAnswer);
    function.call(named(&world, "carol.jones")).await.credentials();
    assert_eq!(world.dynamodb.puts().len(), 2);
}

#[tokio::test]
async fn names_that_differ_in_case_have_one_owner() {
    let world = naming("first_use").await;
    let function = world.start().await;
    function.call(named(&world, "Carol.Jones")).await.credentials();
    assert_eq!(world.sts.only_mint().name(), "Carol.Jones");
    assert!(world.dynamodb.records().keys().eq(["name#carol.jones"]));
    function.call(named(&world, "CAROL.jones")).await.credentials();
    let mut dave = world.claims_with("sub", "dave");
    dave["preferred_username"] = json!("carol.JONES");
    world.dynamodb.grant("corp/user/dave", "default", &json!({}));
    function.call(world.request_with(&dave)).await.refusal(403, "access_denied");
}

#[tokio::test]
async fn a_name_is_taken_only_by_a_request_that_is_granted() {
    let world = naming("first_use").await;
    let function = world.start().await;
    for query in ["grant=deploy", "duration=7200"] {
        let answer = function.call(named(&world, "carol.jones").query(query)).await;
        assert_ne!(answer.status, 200, "{answer:?}");
    }
    world.dynamodb.grant("corp/everyone", "default", &json!({"require": {"amr": ["mfa"]}}));
    function.call(named(&world, "carol.jones")).await.step_up();
    assert!(world.dynamodb.puts().is_empty() && world.dynamodb.records().is_empty());
}

#[tokio::test]
async fn a_name_that_cannot_be_taken_now_is_not_used() {
    let world = naming("first_use").await;
    let function = world.start().await;
    let throttled = Fault::Answers(dynamodb::error(400, "ThrottlingException"));
    world.dynamodb.server.fail_operation("PutItem", 2, &throttled);
    function.call(named(&world, "carol.jones")).await.refusal(503, "temporarily_unavailable");
    assert!(world.sts.mints().is_empty());
    function.call(named(&world, "carol.jones")).await.credentials();
}

#[tokio::test]
async fn an_email_is_a_name_only_where_it_was_verified() {
    let mut world = World::new().await;
    world.trust_with(&json!({"name_claim": "/email"}));
    world.dynamodb.record("name#carol@example.com", &owned_by("corp/user/carol"));
    let function = world.start().await;
    let mut claims = world.claims_with("email", "carol@example.com");
    unusable(&world, &function, &claims).await;
    for verified in [json!(false), json!(null), json!(1), json!("yes"), json!(["true"])] {
        claims["email_verified"] = verified;
        unusable(&world, &function, &claims).await;
    }
    claims["email_verified"] = json!(true);
    function.call(world.request_with(&claims)).await.credentials();
    assert_eq!(world.sts.only_mint().name(), "carol@example.com");
}

#[tokio::test]
async fn a_name_that_does_not_fit_or_looks_hashed_makes_the_grant_unusable() {
    let world = naming("first_use").await;
    let function = world.start().await;
    unusable(&world, &function, &world.claims()).await;
    for name in [
        json!(null),
        json!(7),
        json!(["carol.jones"]),
        json!(""),
        json!("c"),
        json!("a".repeat(33)),
        json!("carol jones"),
        json!("carol/jones"),
        json!("carol:jones"),
        json!("carol*"),
        json!("кэрол"),
        json!("carol-x7k2m5qp4t3a"),
        json!("CAROL-X7K2M5QP4T3A"),
        json!("-aaaaaaaaaaaa"),
    ] {
        unusable(&world, &function, &world.claims_with("preferred_username", name)).await;
    }
    assert!(world.dynamodb.puts().is_empty());
    for name in ["ca", "carol_=,.@+-Jones09", &"a".repeat(32), "carol-x7k2m5qp4t31"] {
        function.call(named(&world, name)).await.credentials();
        assert_eq!(world.sts.mints().last().unwrap().name(), name);
    }
}

#[tokio::test]
async fn the_owner_of_a_name_is_read_with_everything_else() {
    let world = naming("registered").await;
    world.dynamodb.record("name#carol.jones", &owned_by("corp/user/carol"));
    let function = world.start().await;
    world.dynamodb.server.forget_calls();
    function.call(named(&world, "Carol.Jones")).await.credentials();
    let batches = world.dynamodb.batches();
    let [batch] = batches.as_slice() else { panic!("one read, not {batches:?}") };
    assert_eq!(world.dynamodb.server.calls().len(), 1, "{:?}", world.dynamodb.server.calls());
    assert_eq!(batch.tables(), [GRANTS, STATE]);
    assert!(batch.is_consistent());
    assert_eq!(batch.state_keys(), BTreeSet::from(["name#carol.jones".to_owned()]));
    assert_eq!(batch.grant_keys().len(), 6);
}

#[tokio::test]
async fn without_a_name_claim_no_state_is_read() {
    let world = World::new().await;
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    assert!(world.dynamodb.batches().iter().all(|batch| batch.tables() == [GRANTS]));
}

#[tokio::test]
async fn an_owner_that_stays_unprocessed_is_asked_again() {
    for owners in ["registered", "first_use"] {
        let world = naming(owners).await;
        world.dynamodb.record("name#carol.jones", &owned_by("corp/user/carol"));
        let function = world.start().await;
        // The tables are processed in order: the one key left is the state's.
        world.dynamodb.leave_unprocessed(&[1]);
        function.call(named(&world, "carol.jones")).await.credentials();
        let batches = world.dynamodb.batches();
        let asked: Vec<usize> = batches.iter().map(|batch| batch.state_keys().len()).collect();
        assert_eq!(asked, [1, 1]);
        assert!(batches[1].is_consistent() && batches[1].grant_keys().is_empty());
        assert!(world.dynamodb.puts().is_empty(), "an owner that was not read is not nobody");
    }
}

#[tokio::test]
async fn an_owner_that_is_never_read_is_not_nobody() {
    let world = naming("first_use").await;
    let function = world.start().await;
    world.dynamodb.leave_unprocessed(&[1; 50]);
    function.call(named(&world, "carol.jones")).await.refusal(503, "temporarily_unavailable");
    assert!(world.dynamodb.puts().is_empty() && world.sts.mints().is_empty());
}

#[tokio::test]
async fn a_record_of_a_name_that_names_no_owner_is_a_failure() {
    for owners in ["registered", "first_use"] {
        let world = naming(owners).await;
        let function = world.start().await;
        for record in [json!({}), json!({"owner": 7}), json!({"owner": null}), json!({"owner": ["corp/user/carol"]})] {
            world.dynamodb.record("name#carol.jones", &record);
            let answer = function.call(named(&world, "carol.jones")).await;
            assert_eq!(answer.status, 500, "{record}: {answer:?}");
        }
        assert!(world.sts.mints().is_empty() && world.dynamodb.puts().is_empty());
    }
}

#[tokio::test]
async fn a_session_name_in_a_template_is_the_claimed_name() {
    let world = naming("first_use").await;
    world.dynamodb.grant("corp/user/carol", "default", &json!({"tags": {"who": "${session:name}"}}));
    let function = world.start().await;
    function.call(named(&world, "carol.jones")).await.credentials();
    assert_eq!(world.sts.only_mint().tags(), [("who", "carol.jones")].into());
}

async fn unusable(world: &World, function: &Function, claims: &Value) {
    let answer = function.call(world.request_with(claims)).await;
    assert_eq!(answer.status, 500, "{claims}: {answer:?}");
    answer.refusal(500, "grant_unusable");
    assert!(world.sts.mints().is_empty());
}
