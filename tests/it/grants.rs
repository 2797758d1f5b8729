//! What is read of the grants, and which grants refuse.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use hallpass_testing::aws::dynamodb::{BatchGet, GRANTS, GrantKey, attribute};
use hallpass_testing::clock;
use hallpass_testing::events::Event;
use hallpass_testing::server::{Fault, Reply};
use hallpass_testing::world::{FUNCTION_KEY, World, policy, statement};

#[tokio::test]
async fn everything_about_a_caller_is_read_at_once_and_strongly_consistent() {
    let world = World::new().await;
    let function = world.start().await;
    world.dynamodb.server.forget_calls();
    let claims = world.claims_with("groups", json!(["deployers", "readers", "deployers"]));
    function.call(world.request_with(&claims)).await.credentials();
    let batches = world.dynamodb.batches();
    let [batch] = batches.as_slice() else { panic!("one read, not {batches:?}") };
    let calls = world.dynamodb.server.calls();
    assert_eq!(calls.iter().filter(|call| call.method == "POST").count(), 1, "another read: {calls:?}");
    assert_eq!(batch.tables(), [GRANTS]);
    assert!(batch.is_consistent());
    assert_eq!(batch.access_key, FUNCTION_KEY);
    assert_eq!(batch.grant_keys(), keys(&["deployers", "readers"], "default"));
}

#[tokio::test]
async fn the_grant_asked_for_is_the_one_read() {
    let world = World::new().await;
    let function = world.start().await;
    world.dynamodb.server.forget_calls();
    function.call(world.request().query("grant=deploy")).await.refusal(403, "access_denied");
    assert_eq!(world.dynamodb.batches()[0].grant_keys(), keys(&["deployers"], "deploy"));
}

#[tokio::test]
async fn any_number_of_groups_is_read_in_as_few_calls_as_fit() {
    for count in [0, 1, 20, 48, 49, 100, 200] {
        let world = World::new().await;
        let function = world.start().await;
        world.dynamodb.server.forget_calls();
        world.dynamodb.server.fail_always(&Fault::Slow(Duration::from_millis(100)));
        let groups: Vec<String> = (0..count).map(|number| format!("g{number}")).collect();
        let names: Vec<&str> = groups.iter().map(String::as_str).collect();
        if let Some(last) = names.last() {
            let item = json!({"policy": policy(&["s3:GetObject"])});
            world.dynamodb.grant(&format!("corp/group/{last}"), "default", &item);
        }
        function.call(world.request_with(&world.claims_with("groups", groups.clone()))).await.credentials();

        let batches = world.dynamodb.batches();
        let expected = keys(&names, "default");
        assert_eq!(batches.len(), expected.len().div_ceil(100), "{count} groups");
        assert!(batches.iter().all(|batch| batch.is_consistent() && batch.tables() == [GRANTS]));
        let read: Vec<GrantKey> = batches.iter().flat_map(BatchGet::grant_keys).collect();
        assert_eq!(read.len(), expected.len(), "no key is read twice");
        assert_eq!(BTreeSet::from_iter(read), expected);
        assert!(world.dynamodb.server.peak() >= batches.len(), "the reads wait for each other");
        assert_eq!(world.sts.only_mint().statements().len(), if count == 0 { 1 } else { 2 });
    }
}

#[tokio::test]
async fn keys_that_stay_unprocessed_are_read_again() {
    let world = World::new().await;
    world.dynamodb.grant("corp/group/deployers", "default", &json!({"policy": policy(&["s3:PutObject"])}));
    world.dynamodb.grant("corp/everyone", "default", &json!({"policy": policy(&["s3:GetObject"])}));
    let function = world.start().await;
    for counts in [[1, 0], [5, 0], [6, 0]] {
        world.sts.server.forget_calls();
        world.dynamodb.leave_unprocessed(&counts);
        function.call(world.request()).await.credentials();
        assert_eq!(world.sts.only_mint().statements().len(), 3, "{counts:?}");
    }
}

#[tokio::test]
async fn a_block_that_stays_unprocessed_is_not_overlooked() {
    for principal in ["corp/user/carol", "corp/group/deployers", "corp/everyone"] {
        for count in 1..=6 {
            let world = World::new().await;
            world.dynamodb.block(principal);
            let function = world.start().await;
            world.dynamodb.leave_unprocessed(&[count]);
            function.call(world.request()).await.refusal(403, "access_denied");
        }
    }
}

#[tokio::test]
async fn an_incomplete_answer_is_a_failure() {
    let world = World::new().await;
    let function = world.start().await;
    world.dynamodb.leave_unprocessed(&[1; 50]);
    function.call(world.request()).await.refusal(503, "temporarily_unavailable");
    assert!(world.sts.mints().is_empty());
}

#[tokio::test]
async fn an_answer_that_says_two_things_or_too_much_is_a_failure() {
    let item = |principal: &str| json!({"principal": {"S": principal}, "grant": {"S": "default"}});
    let carol = item("corp/user/carol");
    let here = |items: Value| json!({ GRANTS: items });
    for (responses, unprocessed) in [
        (here(json!([carol, carol])), json!({})),
        (here(json!([carol, item("corp/user/dave")])), json!({})),
        (json!({GRANTS: [carol], "others": [carol]}), json!({})),
        (here(json!([carol])), json!({"others": {"Keys": [carol]}})),
        (here(json!([carol])), here(json!({"Keys": [item("corp/user/dave")]}))),
    ] {
        let world = World::new().await;
        let function = world.start().await;
        let answer = json!({"Responses": responses, "UnprocessedKeys": unprocessed}).to_string();
        world.dynamodb.server.fail_always(&Fault::Answers(Reply::new(200, "application/x-amz-json-1.0", answer)));
        function.call(world.request()).await.refusal(500, "internal");
        assert!(world.sts.mints().is_empty());
    }
}

#[tokio::test]
async fn a_blocked_principal_is_refused_whatever_else_is_granted() {
    let world = World::new().await;
    let function = world.start().await;
    for principal in ["corp/user/carol", "corp/group/deployers", "corp/everyone"] {
        world.dynamodb.clear();
        world.dynamodb.grant("corp/user/carol", "default", &json!({}));
        function.call(world.request()).await.credentials();
        world.dynamodb.block_with(principal, &json!({"anything": {"at": "all"}, "enabled": false}));
        function.call(world.request()).await.refusal(403, "access_denied");
    }
    world.dynamodb.clear();
    world.dynamodb.grant("corp/user/carol", "default", &json!({}));
    for principal in ["corp/user/dave", "other/user/carol", "corp/group/readers", "other/everyone"] {
        world.dynamodb.block(principal);
    }
    // Not where blocks are, so that a permission to write grants is none to block.
    world.dynamodb.grant("corp/user/carol", "#blocked", &json!({}));
    function.call(world.request()).await.credentials();
}

#[tokio::test]
async fn a_disabled_item_refuses() {
    let world = World::new().await;
    let function = world.start().await;
    for principal in ["corp/user/carol", "corp/group/deployers", "corp/everyone"] {
        world.dynamodb.clear();
        world.dynamodb.grant("corp/user/carol", "default", &json!({}));
        world.dynamodb.grant(principal, "default", &json!({"enabled": false}));
        function.call(world.request()).await.refusal(403, "access_denied");
    }
}

#[tokio::test]
async fn a_grant_out_of_its_time_is_refused() {
    let world = World::new().await;
    let function = world.start().await;
    let now = clock::now();
    for window in [
        json!({"not_after": now - 1}),
        json!({"not_after": now + 890}),
        json!({"not_before": now + 60}),
        json!({"not_before": now - 60, "not_after": now + 60}),
    ] {
        world.dynamodb.grant("corp/user/carol", "default", &window);
        let answer = function.call(world.request()).await;
        assert_eq!(answer.status, 403, "{window}: {answer:?}");
        answer.refusal(403, "access_denied");
    }
    world.dynamodb.grant("corp/user/carol", "default", &json!({"not_before": now - 60, "not_after": now + 1000}));
    function.call(world.request()).await.credentials();
}

/// Items of every kind that cannot be used, whoever asks.
pub fn unusable_items() -> Vec<Value> {
    let with_statement = |statement: Value| json!({"policy": {"Version": "2012-10-17", "Statement": [statement]}});
    let changed = |name: &str, value: Value| {
        let mut changed = statement(&["s3:GetObject"]);
        changed[name] = value;
        with_statement(changed)
    };
    let deny = json!({"Effect": "Deny", "Action": "*", "Resource": "*"});
    let mut lapsing = with_statement(deny);
    lapsing["not_after"] = json!(clock::now() + 10_000);
    let mut lapsed = lapsing.clone();
    lapsed["not_after"] = json!(1);
    let many: Vec<String> = (0..11).map(|number| format!("arn:aws:iam::aws:policy/P{number}")).collect();
    let fifty_one: BTreeMap<String, &str> = (0..51).map(|number| (format!("t{number}"), "x")).collect();
    vec![
        json!({"polciy": {}}),
        json!({"notes": "x"}),
        json!({"aws:repl": false}),
        json!({"policy": 7}),
        json!({"policy": ""}),
        json!({"policy": "{"}),
        json!({"policy": "[]"}),
        json!({"policy": {}}),
        json!({"policy": "{\"Version\":\"2012-10-17\",\"Version\":\"2012-10-17\",\"Statement\":[]}"}),
        json!({"policy": {"Version": "2020-01-01", "Statement": [statement(&["s3:GetObject"])]}}),
        json!({"policy": {"Version": "2012-10-17", "Statement": vec![statement(&["s3:GetObject"]); 45]}}),
        changed("Principal", json!("*")),
        changed("Effort", json!("Allow")),
        changed("Effect", json!("Maybe")),
        changed("Resource", json!("arn:aws-foo:s3:::b")),
        changed("Resource", json!(format!("arn:aws:s3:::{}", "b".repeat(2_048)))),
        changed("Resource", json!("arn:aws:s3:::${self:custom.bucket}")),
        changed("Resource", json!("arn:aws:s3:::${jwt:/absent}")),
        changed("Condition", json!({"StringIs": {"aws:userid": "x"}})),
        with_statement(json!({"Effect": "Allow", "Action": "s3:GetObject"})),
        with_statement(json!({"Effect": "Allow", "Resource": "*"})),
        with_statement(json!({"Effect": "Allow", "Action": "iam:GetUser", "Resource": "*"})),
        with_statement(json!("s3:GetObject")),
        lapsing,
        lapsed,
        json!({"policy_arns": "arn:aws:iam::aws:policy/A"}),
        json!({"policy_arns": ["not an arn"]}),
        json!({"policy_arns": ["arn:aws-foo:iam::aws:policy/A"]}),
        json!({"policy_arns": ["arn:*:iam::aws:policy/A"]}),
        json!({"policy_arns": [7]}),
        json!({ "policy_arns": many }),
        json!({"max_duration": "3600"}),
        json!({"max_duration": 899}),
        json!({"max_duration": 129_601}),
        json!({"max_duration": 3600.5}),
        json!({"max_duration": null}),
        json!({"duration": 0}),
        json!({"duration": true}),
        json!({"enabled": "false"}),
        json!({"enabled": 1}),
        json!({"not_before": "2026-11-22T12:00:00Z"}),
        json!({"not_after": -1.5}),
        json!({"description": 7}),
        json!({"revision": []}),
        json!({"updated_at": []}),
        json!({"updated_by": 7}),
        json!({"pin_source_ip": "true"}),
        json!({"allow_iam": 1}),
        json!({"require": "mfa"}),
        json!({"require": {"acr": []}}),
        json!({"tags": ["team"]}),
        json!({"tags": {"team": "a,b"}}),
        json!({"tags": {"team": "{{resolve:ssm:/team}}"}}),
        json!({"tags": {"team": "${jwt:/absent}"}}),
        json!({ "tags": fifty_one }),
    ]
}

#[tokio::test]
async fn one_unusable_item_makes_the_request_unusable() {
    let world = World::new().await;
    let function = world.start().await;
    for item in unusable_items() {
        for principal in ["corp/user/carol", "corp/everyone"] {
            world.dynamodb.clear();
            world.dynamodb.grant("corp/group/deployers", "default", &json!({}));
            world.dynamodb.grant(principal, "default", &item);
            let answer = function.call(world.request()).await;
            assert_eq!(answer.status, 500, "{item}: {answer:?}");
            answer.refusal(500, "grant_unusable");
        }
    }
    assert!(world.sts.mints().is_empty());
}

#[tokio::test]
async fn an_arn_that_iam_refuses_is_not_sent_to_sts() {
    let world = World::new().await;
    let function = world.start().await;
    let on = |name: &str, resource: &str| {
        let mut statement = json!({"Effect": "Deny", "Action": "s3:*"});
        statement[name] = json!(["arn:aws:s3:::shop/*", resource]);
        json!({"policy": {"Version": "2012-10-17", "Statement": [statement]}})
    };
    for name in ["Resource", "NotResource"] {
        for resource in [
            "arn:aws:s3:::b",
            "arn:*:s3:::b",
            "arn:aws-eusc:s3:::b",
            "arn:aws-us-gov:sqs:us-gov-*:111122223333:b",
            "arn:aws:s3:eu-west-1:111122223333:accesspoint/b",
            "arn:aws:iam::111122223333:role/*",
        ] {
            world.dynamodb.grant("corp/user/carol", "default", &on(name, resource));
            world.sts.server.forget_calls();
            function.call(world.request()).await.credentials();
            assert_eq!(world.sts.only_mint().statements()[0][name][1], resource);
        }
        world.sts.server.forget_calls();
        for resource in [
            "arn:aws:*:*:111122223333:*",
            "arn:aws:s*:::b",
            "arn:aws-foo:s3:::b",
            "arn:aws*:s3:::b",
            "arn:aws:s3:eu-west-1::b",
            "arn:aws:s3::b",
            "arn:aws:iam::111122223333:b",
            "arn:aws:iam:eu-west-1:111122223333:role/b",
            "b",
        ] {
            world.dynamodb.grant("corp/user/carol", "default", &on(name, resource));
            let answer = function.call(world.request()).await;
            assert_eq!(answer.status, 500, "{resource}: {answer:?}");
            answer.refusal(500, "grant_unusable");
        }
        assert!(world.sts.mints().is_empty());
    }
}

#[tokio::test]
async fn what_replication_adds_to_every_item_is_no_obstacle() {
    let mut world = World::new().await;
    world.trust_with(&json!({"name_claim": "/preferred_username", "single_use": true}));
    let replicated = [
        ("aws:rep:deleting", json!({"BOOL": false})),
        ("aws:rep:updatetime", json!({"N": "1795348800.123456"})),
        ("aws:rep:updateregion", json!({"S": "eu-west-1"})),
        ("aws:rep:later", json!({"B": "AAAA"})),
    ];
    let replicated = || replicated.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    let item = json!({"policy": policy(&["s3:PutObject"]), "max_duration": 7200});
    let attributes = item.as_object().unwrap().iter().map(|(name, value)| (name.clone(), attribute(value)));
    world.dynamodb.grant_typed("corp/user/carol", "default", attributes.chain(replicated()).collect());
    let owner = json!({"owner": "corp/user/carol", "aws:rep:deleting": false, "aws:rep:updatetime": 1.5});
    world.dynamodb.record("name#carol", &owner);
    let function = world.start().await;
    let mut claims = world.claims_with("preferred_username", "carol");
    claims["jti"] = json!("token-1");
    function.call(world.request_with(&claims)).await.credentials();
    assert_eq!(world.sts.only_mint().statements()[0]["Action"], json!(["s3:PutObject"]));

    // A token that was spent stays spent, and a block holds.
    let mut spent = world.dynamodb.records().into_iter().find(|(id, _)| id.starts_with("jti#")).unwrap();
    spent.1["aws:rep:deleting"] = json!(false);
    spent.1.as_object_mut().unwrap().remove("id");
    world.dynamodb.record(&spent.0, &spent.1);
    function.call(world.request_with(&claims)).await.refusal(401, "invalid_token");
    world.dynamodb.grant_typed("blocked#corp/everyone", "#blocked", replicated().collect());
    claims["jti"] = json!("token-2");
    function.call(world.request_with(&claims)).await.refusal(403, "access_denied");
}

#[tokio::test]
async fn an_allow_of_iam_is_usable_only_where_the_item_says_so() {
    let world = World::new().await;
    let function = world.start().await;
    let allowing = |actions: Value, item: Value| {
        let mut item = item;
        let statement = json!({"Effect": "Allow", "Action": actions, "Resource": "*"});
        item["policy"] = json!({"Version": "2012-10-17", "Statement": [statement]});
        item
    };
    for actions in [json!("iam:CreateUser"), json!(["s3:GetObject", "IAM:Get*"]), json!("iam:*")] {
        for item in [json!({}), json!({"allow_iam": false})] {
            world.dynamodb.grant("corp/user/carol", "default", &allowing(actions.clone(), item));
            // Another item's word is not this one's.
            world.dynamodb.grant("corp/everyone", "default", &json!({"allow_iam": true}));
            function.call(world.request()).await.refusal(500, "grant_unusable");
        }
        world.dynamodb.clear();
        world.dynamodb.grant("corp/user/carol", "default", &allowing(actions, json!({"allow_iam": true})));
        function.call(world.request()).await.credentials();
    }
    world.dynamodb.grant("corp/user/carol", "default", &allowing(json!("*"), json!({})));
    function.call(world.request()).await.credentials();
    let denying = json!({"Effect": "Deny", "Action": "iam:*", "Resource": "*"});
    let item = json!({"policy": {"Version": "2012-10-17", "Statement": [denying]}});
    world.dynamodb.grant("corp/user/carol", "default", &item);
    function.call(world.request()).await.credentials();
}

#[tokio::test]
async fn grants_that_are_too_large_together_are_not_sent() {
    let world = World::new().await;
    let function = world.start().await;
    let large = |action: &str| {
        let resources: Vec<String> = (0..25).map(|number| format!("arn:aws:s3:::{action}-{number:030}/*")).collect();
        json!({"policy": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": resources}]}})
    };
    world.dynamodb.grant("corp/user/carol", "default", &large("a"));
    function.call(world.request()).await.credentials();
    world.dynamodb.grant("corp/everyone", "default", &large("b"));
    function.call(world.request()).await.refusal(500, "grant_unusable");
    let arns =
        |letter: char| (0..6).map(|number| format!("arn:aws:iam::aws:policy/{letter}{number}")).collect::<Vec<_>>();
    world.dynamodb.grant("corp/user/carol", "default", &json!({"policy_arns": arns('a')}));
    world.dynamodb.grant("corp/everyone", "default", &json!({"policy_arns": arns('b')}));
    function.call(world.request()).await.refusal(500, "grant_unusable");
    assert_eq!(world.sts.mints().len(), 1);
}

#[tokio::test]
async fn a_principal_is_compared_byte_for_byte() {
    let world = World::new().await;
    world.dynamodb.clear();
    let function = world.start().await;
    for granted in
        ["corp/user/Carol", "corp/user/carol ", "corp/user/carol/", "CORP/user/carol", "corp/group/Deployers"]
    {
        world.dynamodb.grant(granted, "default", &json!({}));
    }
    function.call(world.request()).await.refusal(403, "access_denied");
    // A subject with a slash is one name, and never another principal's.
    world.dynamodb.grant("corp/user/a/b", "default", &json!({}));
    let token = world.sign(&world.claims_with("sub", "a/b"));
    function.call(Event::get("/v1/credentials").bearer(&token)).await.credentials();
}

/// The keys of carol, these groups and everyone, each of the grant and of the block.
fn keys(groups: &[&str], grant: &str) -> BTreeSet<GrantKey> {
    let groups = groups.iter().map(|group| format!("corp/group/{group}"));
    let principals = groups.chain(["corp/user/carol".to_owned(), "corp/everyone".to_owned()]);
    let of_principal = |principal| [(format!("blocked#{principal}"), "#blocked".into()), (principal, grant.into())];
    principals.flat_map(of_principal).collect()
}
