//! What of a caller's claims gets into his session.

use serde_json::{Value, json};

use crate::support::function::Function;
use crate::support::world::World;

/// Claims that fit the templates of these tests.
fn claims(world: &World) -> Value {
    let mut claims = world.claims_with("department", "shop");
    claims["address"] = json!({"country/region": "de"});
    claims
}

#[tokio::test]
async fn a_claim_reaches_sts_in_a_resource_a_condition_and_a_tag() {
    let world = World::new().await;
    let item = json!({
        "policy": {"Version": "2012-10-17", "Statement": [
            {
                "Effect": "Allow",
                "Action": "s3:PutObject",
                "Resource": ["arn:aws:s3:::${jwt:/department}/${jwt:/sub}/*", "arn:aws:s3:::fixed/*"],
                "Condition": {"StringEquals": {"aws:RequestedRegion": "${jwt:/address/country~1region}-1"}},
            },
            {"Effect": "Deny", "Action": "s3:DeleteObject", "NotResource": "arn:aws:s3:::${jwt:/department}/*"},
        ]},
        "tags": {"team": "team-${jwt:/department}", "stage": "prod"},
    });
    world.dynamodb.grant("corp/user/carol", "default", &item);
    let function = world.start().await;
    function.call(world.request_with(&claims(&world))).await.credentials();
    let mint = world.sts.only_mint();
    assert_eq!(
        mint.statements(),
        [
            json!({"Effect": "Deny", "Action": "s3:DeleteObject", "NotResource": "arn:aws:s3:::shop/*"}),
            json!({
                "Effect": "Allow",
                "Action": "s3:PutObject",
                "Resource": ["arn:aws:s3:::shop/carol/*", "arn:aws:s3:::fixed/*"],
                "Condition": {"StringEquals": {"aws:RequestedRegion": "de-1"}},
            }),
        ]
    );
    assert_eq!(mint.tags(), [("stage", "prod"), ("team", "team-shop")].into());
}

#[tokio::test]
async fn the_federated_name_reaches_sts_in_a_resource_and_a_tag() {
    let world = World::new().await;
    let mut item = allowing("arn:aws:s3:::shop/${session:name}/*");
    item["tags"] = json!({"who": "${session:name}"});
    world.dynamodb.grant("corp/user/carol", "default", &item);
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    let mint = world.sts.only_mint();
    assert_eq!(mint.statements()[0]["Resource"], format!("arn:aws:s3:::shop/{}/*", mint.name()));
    assert_eq!(mint.tags(), [("who", mint.name())].into());
}

#[tokio::test]
async fn iams_own_variables_are_left_to_iam() {
    let world = World::new().await;
    let item = json!({"policy": {"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Action": "s3:GetObject",
        "Resource": ["arn:aws:s3:::shop/${aws:username}/${jwt:/sub}/${*}${?}${$}", "arn:aws:s3:::${aws:PrincipalTag/team, 'none'}"],
        "Condition": {"StringLike": {"s3:prefix": "${aws:userid}/*", "aws:Referer": "${s3:x-amz-acl}"}},
    }]}});
    world.dynamodb.grant("corp/user/carol", "default", &item);
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    let mut expected = item["policy"]["Statement"][0].clone();
    expected["Resource"][0] = json!("arn:aws:s3:::shop/${aws:username}/carol/${*}${?}${$}");
    assert_eq!(world.sts.only_mint().statements(), [expected]);
}

#[tokio::test]
async fn a_claim_that_is_missing_no_string_or_unfit_makes_the_grant_unusable() {
    let world = World::new().await;
    let resource = allowing("arn:aws:s3:::shop/${jwt:/department}/*");
    let not_resource = json!({"policy": {"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Action": "s3:GetObject", "NotResource": "arn:aws:s3:::shop/${jwt:/department}/*"},
    ]}});
    let condition = json!({"policy": {"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*",
        "Condition": {"StringEquals": {"aws:ResourceTag/team": ["a", "${jwt:/department}"]}},
    }]}});
    let tag = json!({"tags": {"team": "${jwt:/department}"}});
    let function = world.start().await;
    for item in [resource, not_resource, condition, tag] {
        world.dynamodb.grant("corp/user/carol", "default", &item);
        function.call(world.request_with(&claims(&world))).await.credentials();
        world.sts.server.forget_calls();
        unusable(&world, &function, &world.claims()).await;
        for claim in [
            json!(null),
            json!(7),
            json!(true),
            json!(["shop"]),
            json!({"name": "shop"}),
            json!(""),
            json!("*"),
            json!("sh?p"),
            json!("shop/other"),
            json!("a:b"),
            json!("${aws:username}"),
            json!("${jwt:/sub}"),
            json!("a b"),
            json!("shop\n"),
            json!("shop\",\"Effect\":\"Allow"),
            json!("größe"),
            json!("a".repeat(257)),
        ] {
            unusable(&world, &function, &world.claims_with("department", claim)).await;
        }
    }
}

#[tokio::test]
async fn every_character_of_the_alphabet_is_filled_in_as_it_stands() {
    let world = World::new().await;
    world.dynamodb.grant("corp/user/carol", "default", &allowing("arn:aws:s3:::shop/${jwt:/department}"));
    let function = world.start().await;
    for claim in ["AZaz09_.@+=,|-".to_owned(), "a".repeat(256)] {
        world.sts.server.forget_calls();
        function.call(world.request_with(&world.claims_with("department", claim.as_str()))).await.credentials();
        assert_eq!(world.sts.only_mint().statements()[0]["Resource"], format!("arn:aws:s3:::shop/{claim}"));
    }
}

#[tokio::test]
async fn a_template_in_another_place_or_form_makes_the_grant_unusable() {
    let world = World::new().await;
    let function = world.start().await;
    let mut with_key = allowing("*");
    with_key["policy"]["Statement"][0]["Condition"] = json!({"StringEquals": {"aws:ResourceTag/${jwt:/sub}": "a"}});
    let mut with_action = allowing("*");
    with_action["policy"]["Statement"][0]["Action"] = json!("s3:${jwt:/sub}");
    for item in [
        with_key,
        with_action,
        allowing("arn:aws:s3:::${jwt:sub}"),
        allowing("arn:aws:s3:::${jwt}"),
        allowing("arn:aws:s3:::${jwt:/sub, 'nobody'}"),
        allowing("arn:aws:s3:::${jwt:/sub"),
        allowing("arn:aws:s3:::${aws:PrincipalTag/${jwt:/sub}}"),
        allowing("arn:aws:s3:::${session:token}"),
        json!({"tags": {"${jwt:/sub}": "a"}}),
        json!({"tags": {"team": "${jwt:sub}"}}),
        json!({"policy_arns": ["arn:aws:iam::aws:policy/${jwt:/sub}"]}),
    ] {
        world.dynamodb.grant("corp/user/carol", "default", &item);
        let answer = function.call(world.request()).await;
        assert_eq!(answer.status, 500, "{item}: {answer:?}");
        answer.refusal(500, "grant_unusable");
    }
    assert!(world.sts.mints().is_empty());
}

#[tokio::test]
async fn a_policy_of_another_version_means_what_it_says_only_without_variables() {
    let world = World::new().await;
    let function = world.start().await;
    for version in [None, Some("2008-10-17")] {
        for variable in ["${aws:username}", "${jwt:/sub}", "${"] {
            let mut item = allowing(&format!("arn:aws:s3:::shop/{variable}"));
            set_version(&mut item, version);
            world.dynamodb.grant("corp/user/carol", "default", &item);
            function.call(world.request()).await.refusal(500, "grant_unusable");
        }
        let mut item = allowing("arn:aws:s3:::shop/*");
        set_version(&mut item, version);
        world.dynamodb.grant("corp/user/carol", "default", &item);
        world.sts.server.forget_calls();
        function.call(world.request()).await.credentials();
        assert_eq!(world.sts.only_mint().statements().len(), 1);
    }
}

#[tokio::test]
async fn a_policy_that_claims_make_too_large_is_not_sent() {
    let world = World::new().await;
    let resources: Vec<String> = (0..8).map(|number| format!("arn:aws:s3:::{number}/${{jwt:/department}}")).collect();
    let mut item = allowing("*");
    item["policy"]["Statement"][0]["Resource"] = json!(resources);
    world.dynamodb.grant("corp/user/carol", "default", &item);
    let function = world.start().await;
    function.call(world.request_with(&claims(&world))).await.credentials();
    world.sts.server.forget_calls();
    unusable(&world, &function, &world.claims_with("department", "a".repeat(256))).await;
}

/// An item that allows one action on this resource.
fn allowing(resource: &str) -> Value {
    let statement = json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": resource});
    json!({"policy": {"Version": "2012-10-17", "Statement": [statement]}})
}

fn set_version(item: &mut Value, version: Option<&str>) {
    let policy = item["policy"].as_object_mut().unwrap();
    match version {
        Some(version) => policy.insert("Version".to_owned(), json!(version)),
        None => policy.remove("Version"),
    };
}

async fn unusable(world: &World, function: &Function, claims: &Value) {
    let answer = function.call(world.request_with(claims)).await;
    assert_eq!(answer.status, 500, "{claims}: {answer:?}");
    answer.refusal(500, "grant_unusable");
    assert!(world.sts.mints().is_empty());
}
