//! What STS is asked for, to the letter.

use aws_lc_rs::digest;
use data_encoding::BASE32_NOPAD;
use serde_json::{Value, json};

use hallpass_testing::aws::query;
use hallpass_testing::aws::sts::{self, Mint};
use hallpass_testing::clock;
use hallpass_testing::server::Fault;
use hallpass_testing::world::{World, policy, statement};

#[tokio::test]
async fn a_caller_without_a_grant_gets_no_session() {
    let world = World::new().await;
    world.dynamodb.clear();
    world.dynamodb.grant("corp/user/dave", "default", &json!({}));
    world.dynamodb.grant("other/user/carol", "default", &json!({}));
    world.dynamodb.grant("corp/group/carol", "default", &json!({}));
    world.dynamodb.grant("corp/user/carol", "deploy", &json!({}));
    let function = world.start().await;
    function.call(world.request()).await.refusal(403, "access_denied");
    assert!(world.sts.mints().is_empty());
}

#[tokio::test]
async fn one_grant_is_one_session() {
    let world = World::new().await;
    let item = json!({
        "policy": policy(&["s3:GetObject"]),
        "policy_arns": ["arn:aws:iam::aws:policy/ReadOnlyAccess", "arn:aws:iam::111122223333:policy/shop"],
        "max_duration": 7200,
        "duration": 5400,
        "enabled": true,
        "description": "Readers of the shop",
        "revision": "3-0123456789abcdef",
        "updated_at": "2026-11-22T12:00:00Z",
        "updated_by": "ops",
    });
    world.dynamodb.grant("corp/user/carol", "default", &item);
    let mint = mint(&world).await;
    assert_eq!(mint.name(), federated_name("corp", "carol"));
    assert_eq!(mint.duration(), 5400);
    assert_eq!(mint.policy(), Some(policy(&["s3:GetObject"])));
    let arns = ["arn:aws:iam::111122223333:policy/shop", "arn:aws:iam::aws:policy/ReadOnlyAccess"];
    assert_eq!(mint.policy_arns(), arns);
    let asked = [
        "Action",
        "DurationSeconds",
        "Name",
        "Policy",
        "PolicyArns.member.1.arn",
        "PolicyArns.member.2.arn",
        "Version",
    ];
    assert!(mint.fields.keys().eq(asked), "{:?}", mint.fields);
}

#[tokio::test]
async fn several_grants_are_one_session_of_all_of_them() {
    let world = World::new().await;
    let (list, get, put) = (statement(&["s3:ListBucket"]), statement(&["s3:GetObject"]), statement(&["s3:PutObject"]));
    let deny = json!({"Effect": "Deny", "Action": "s3:DeleteObject", "Resource": "*"});
    let named = |sid: &str, mut statement: Value| {
        statement["Sid"] = json!(sid);
        statement
    };
    for (principal, item) in [
        (
            "corp/user/carol",
            json!({
                "policy": {"Version": "2012-10-17", "Id": "mine", "Statement": [named("One", list.clone()), deny]},
                "policy_arns": ["arn:aws:iam::aws:policy/A", "arn:aws:iam::aws:policy/B"],
                "max_duration": 43200,
                "duration": 7200,
            }),
        ),
        (
            "corp/group/deployers",
            json!({
                "policy": {"Version": "2012-10-17", "Statement": [named("One", put.clone()), named("Two", list.clone())]},
                "policy_arns": ["arn:aws:iam::aws:policy/B", "arn:aws:iam::aws:policy/C"],
                "max_duration": 10800,
                "duration": 14400,
            }),
        ),
        (
            "corp/everyone",
            json!({"policy": {"Version": "2012-10-17", "Statement": get}, "max_duration": 14400, "duration": 9000}),
        ),
    ] {
        world.dynamodb.grant(principal, "default", &item);
    }
    let mint = mint(&world).await;
    let mut expected = vec![list, deny, put, get];
    expected.sort_by_key(ToString::to_string);
    assert_eq!(mint.statements(), expected);
    assert_eq!(mint.policy_arns(), ["A", "B", "C"].map(|name| format!("arn:aws:iam::aws:policy/{name}")));
    assert_eq!(mint.duration(), 7200);
}

#[tokio::test]
async fn the_smallest_maximum_of_all_items_holds() {
    let world = World::new().await;
    world.dynamodb.grant("corp/user/carol", "default", &json!({"max_duration": 43200, "duration": 43200}));
    world.dynamodb.grant("corp/group/deployers", "default", &json!({"max_duration": 1800}));
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    assert_eq!(world.sts.only_mint().duration(), 1800);
    function.call(world.request().query("duration=1801")).await.refusal(400, "invalid_request");
}

#[tokio::test]
async fn an_absent_maximum_counts_an_hour() {
    let world = World::new().await;
    world.dynamodb.grant("corp/user/carol", "default", &json!({"duration": 7200}));
    world.dynamodb.grant("corp/everyone", "default", &json!({"max_duration": 7200}));
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    assert_eq!(world.sts.only_mint().duration(), 3600);
    function.call(world.request().query("duration=3601")).await.refusal(400, "invalid_request");
}

#[tokio::test]
async fn a_session_ends_with_its_grant() {
    let world = World::new().await;
    let ends = clock::now() + 1800;
    world.dynamodb.grant("corp/user/carol", "default", &json!({ "not_after": ends }));
    let function = world.start().await;
    for request in [world.request(), world.request().query("duration=3600")] {
        function.call(request).await.credentials();
        let duration = world.sts.mints().last().unwrap().duration();
        assert!((1780..=1800).contains(&duration), "{duration}");
        assert!(clock::now() + duration <= ends + 2);
    }
    function.call(world.request().query("duration=900")).await.credentials();
    assert_eq!(world.sts.mints().last().unwrap().duration(), 900);
}

#[tokio::test]
async fn a_session_ends_with_its_token_where_the_issuer_is_configured_so() {
    let mut world = World::new().await;
    let mut issuer = world.issuer();
    issuer["session_ends_with_token"] = json!(true);
    world.trust(&[issuer]);
    let function = world.start().await;
    function
        .call(world.request_with(&world.claims_with("exp", clock::now() + 890)))
        .await
        .refusal(401, "invalid_token");
    function.call(world.request_with(&world.claims_with("exp", clock::now() + 1800))).await.credentials();
    let duration = world.sts.only_mint().duration();
    assert!((1780..=1800).contains(&duration), "{duration}");
}

#[tokio::test]
async fn an_item_out_of_its_time_leaves_with_its_limits() {
    let world = World::new().await;
    let now = clock::now();
    let lapsed = json!({"policy": policy(&["s3:GetObject"]), "max_duration": 900, "not_after": now + 800});
    let coming = json!({"policy": policy(&["s3:PutObject"]), "max_duration": 900, "not_before": now + 800});
    world.dynamodb.grant("corp/group/deployers", "default", &lapsed);
    world.dynamodb.grant("corp/everyone", "default", &coming);
    let mint = mint(&world).await;
    assert_eq!(mint.policy(), Some(policy(&["s3:ListBucket"])));
    assert_eq!(mint.duration(), 3600);
}

#[tokio::test]
async fn a_grant_without_a_policy_asks_for_none() {
    let world = World::new().await;
    world.dynamodb.grant("corp/user/carol", "default", &json!({}));
    let mint = mint(&world).await;
    assert!(mint.fields.keys().eq(["Action", "DurationSeconds", "Name", "Version"]), "{:?}", mint.fields);
}

#[tokio::test]
async fn a_policy_is_a_map_or_its_text_and_is_sent_minified() {
    let world = World::new().await;
    let written = policy(&["s3:GetObject"]);
    let spaced = serde_json::to_string_pretty(&written).unwrap();
    for item in [json!({ "policy": written }), json!({ "policy": spaced })] {
        world.dynamodb.grant("corp/user/carol", "default", &item);
        world.sts.server.forget_calls();
        let mint = mint(&world).await;
        assert_eq!(mint.policy(), Some(written.clone()));
        assert_eq!(mint.fields["Policy"].len(), written.to_string().len());
    }
}

#[tokio::test]
async fn a_policy_in_any_script_is_sent_in_the_alphabet_of_sts() {
    let world = World::new().await;
    let resource = "arn:aws:s3:::shop/für/日本/😀/*";
    let written = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": resource}]});
    world.dynamodb.grant("corp/user/carol", "default", &json!({ "policy": written }));
    let mint = mint(&world).await;
    assert!(mint.fields["Policy"].chars().all(|character| ('\u{20}'..='\u{ff}').contains(&character)));
    assert_eq!(mint.statements()[0]["Resource"], resource);
}

#[tokio::test]
async fn managed_policies_are_a_list_or_a_string_set() {
    let world = World::new().await;
    let arns = ["arn:aws:iam::aws:policy/A", "arn:aws:iam::aws:policy/B"];
    for attribute in [json!({ "SS": arns }), json!({"L": [{ "S": arns[0] }, { "S": arns[1] }]})] {
        let item = json!({ "policy_arns": attribute });
        world.dynamodb.grant_typed("corp/user/carol", "default", item.as_object().unwrap().clone());
        world.sts.server.forget_calls();
        assert_eq!(mint(&world).await.policy_arns(), arns);
    }
}

#[tokio::test]
async fn subjects_that_look_alike_get_different_names() {
    let world = World::new().await;
    world.dynamodb.grant("corp/everyone", "default", &json!({}));
    let function = world.start().await;
    let subjects = [
        "carol",
        "Carol",
        "CAROL",
        "auth0|carol",
        "auth0carol",
        "carol@example.com",
        "an-employee-with-a-long-name-1",
        "an-employee-with-a-long-name-2",
        "Кэрол",
        "🧑",
        "-",
        "a b",
    ];
    for subject in subjects {
        function.call(world.request_with(&world.claims_with("sub", subject))).await.credentials();
    }
    let names: Vec<String> = world.sts.mints().iter().map(|mint| mint.name().to_owned()).collect();
    let expected: Vec<String> = subjects.iter().map(|subject| federated_name("corp", subject)).collect();
    assert_eq!(names, expected);
    let folded: std::collections::BTreeSet<String> = names.iter().map(|name| name.to_lowercase()).collect();
    assert_eq!(folded.len(), names.len());
    assert!(names.iter().all(|name| (2..=32).contains(&name.len())), "{names:?}");
}

#[tokio::test]
async fn a_session_that_sts_calls_malformed_is_the_grants_fault() {
    for code in ["MalformedPolicyDocument", "PackedPolicyTooLarge"] {
        let world = World::new().await;
        let function = world.start().await;
        world.sts.server.fail_always(&Fault::Answers(query::error(400, code)));
        function.call(world.request()).await.refusal(500, "grant_unusable");
        assert_eq!(world.sts.mints().len(), 1, "{code} is not worth a retry");
    }
}

#[tokio::test]
async fn another_error_of_sts_is_ours() {
    for (status, code) in [(403, "AccessDenied"), (400, "ValidationError"), (403, "RegionDisabledException")] {
        let world = World::new().await;
        let function = world.start().await;
        world.sts.server.fail_always(&Fault::Answers(query::error(status, code)));
        let answer = function.call(world.request()).await;
        assert_eq!(answer.status, 500, "{answer:?}");
        assert!(!answer.body.contains(query::UPSTREAM_TEXT) && !answer.body.contains(code), "{answer:?}");
        world.sts.server.heal();
        function.call(world.request()).await.credentials();
    }
}

#[tokio::test]
async fn an_answer_of_sts_without_a_part_of_the_credentials_is_passed_on_to_nobody() {
    for missing in ["AccessKeyId", "SecretAccessKey", "SessionToken", "Arn"] {
        let world = World::new().await;
        let function = world.start().await;
        world.sts.server.fail_always(&Fault::Answers(sts::session_without(missing)));
        function.call(world.request()).await.refusal(500, "internal");
    }
}

async fn mint(world: &World) -> Mint {
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    world.sts.only_mint()
}

/// The default federated name as DESIGN words it, computed once more.
fn federated_name(issuer: &str, subject: &str) -> String {
    let readable: String =
        subject.chars().filter(|c| c.is_ascii_alphanumeric() || "_=,.@+-".contains(*c)).take(19).collect();
    let mut hashed = Vec::new();
    for part in [issuer, subject] {
        hashed.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
        hashed.extend(part.as_bytes());
    }
    let hash = BASE32_NOPAD.encode(digest::digest(&digest::SHA256, &hashed).as_ref()).to_lowercase();
    format!("{readable}-{}", hash.split_at(12).0)
}
