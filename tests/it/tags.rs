//! Which tags a session carries.

use serde_json::json;

use hallpass_testing::world::World;

#[tokio::test]
async fn the_tags_of_all_items_reach_sts_once_each() {
    let world = World::new().await;
    world.dynamodb.grant("corp/user/carol", "default", &json!({"tags": {"team": "shop", "cost-center": "42"}}));
    world.dynamodb.grant("corp/group/deployers", "default", &json!({"tags": {"team": "shop", "role": "deployer"}}));
    world.dynamodb.grant("corp/everyone", "default", &json!({"tags": {}}));
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    let mint = world.sts.only_mint();
    assert_eq!(mint.tags(), [("cost-center", "42"), ("role", "deployer"), ("team", "shop")].into());
    let fields = mint.fields.keys().filter(|field| field.starts_with("Tags"));
    let expected = (1..=3).flat_map(|n| [format!("Tags.member.{n}.Key"), format!("Tags.member.{n}.Value")]);
    assert_eq!(fields.cloned().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_grant_without_tags_asks_for_none() {
    let world = World::new().await;
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    assert!(world.sts.only_mint().tags().is_empty());
}

#[tokio::test]
async fn tags_that_contradict_each_other_make_the_grant_unusable() {
    let world = World::new().await;
    world.dynamodb.grant("corp/user/carol", "default", &json!({"tags": {"team": "shop"}}));
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    world.sts.server.forget_calls();
    for tags in [json!({"team": "other"}), json!({"Team": "shop"}), json!({"team": "${jwt:/sub}"})] {
        world.dynamodb.grant("corp/everyone", "default", &json!({ "tags": tags }));
        let answer = function.call(world.request()).await;
        assert_eq!(answer.status, 500, "{tags}: {answer:?}");
        answer.refusal(500, "grant_unusable");
    }
    assert!(world.sts.mints().is_empty());
}

#[tokio::test]
async fn tags_that_sts_would_refuse_make_the_grant_unusable() {
    let world = World::new().await;
    let function = world.start().await;
    let many: serde_json::Map<_, _> = (0..51).map(|number| (format!("t{number}"), json!("x"))).collect();
    for tags in [
        json!(["team"]),
        json!("team"),
        json!({"team": 7}),
        json!({"team": ["shop"]}),
        json!({"": "shop"}),
        json!({"aws:team": "shop"}),
        json!({"AWS:team": "shop"}),
        json!({"team#": "shop"}),
        json!({"team": "shop!"}),
        json!({"team": "a,b"}),
        json!({"team": "a\nb"}),
        json!({"a".repeat(129): "shop"}),
        json!({"team": "a".repeat(257)}),
        json!(many),
    ] {
        world.dynamodb.grant("corp/user/carol", "default", &json!({ "tags": tags }));
        let answer = function.call(world.request()).await;
        assert_eq!(answer.status, 500, "{tags}: {answer:?}");
        answer.refusal(500, "grant_unusable");
    }
    assert!(world.sts.mints().is_empty());
    let widest = json!({"ключ é_.:/=+-@1": "значение é_.:/=+-@1 ", "k".repeat(128): "v".repeat(256), "none": ""});
    world.dynamodb.grant("corp/user/carol", "default", &json!({ "tags": widest }));
    function.call(world.request()).await.credentials();
    assert_eq!(json!(world.sts.only_mint().tags()), widest);
}

#[tokio::test]
async fn a_claim_that_fits_a_policy_but_no_tag_makes_the_grant_unusable() {
    let world = World::new().await;
    world.dynamodb.grant("corp/everyone", "default", &json!({"tags": {"who": "${jwt:/sub}"}}));
    let function = world.start().await;
    for subject in ["auth0|carol", "carol,ops"] {
        let answer = function.call(world.request_with(&world.claims_with("sub", subject))).await;
        answer.refusal(500, "grant_unusable");
    }
    assert!(world.sts.mints().is_empty());
}
