//! The tokens of the providers that companies have, through the whole function.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use hallpass_testing::aws::dynamodb::BatchGet;
use hallpass_testing::clock;
use hallpass_testing::events::Event;
use hallpass_testing::fixture::Fixture;
use hallpass_testing::signer::TestKey;
use hallpass_testing::world::{World, policy};

#[tokio::test]
async fn a_providers_token_opens_its_callers_grant_and_no_other_token_does() {
    for fixture in Fixture::all() {
        goes_through(&fixture).await;
    }
}

#[tokio::test]
async fn at_a_shared_provider_only_the_operators_own_organization_is_let_in() {
    let mut world = World::new().await;
    let keys = format!("{}/keys", world.provider.issuer());
    let issuer = "https://app.terraform.io";
    world.trust(&[json!({
        "id": "corp", "issuer": issuer, "audiences": ["hallpass"], "jwks_uri": keys,
        "required_claims": {"/terraform_organization_id": ["org-ours"]},
    })]);
    world.dynamodb.grant("corp/everyone", "default", &json!({ "policy": policy(&["s3:ListBucket"]) }));
    let function = world.start().await;
    let ask = async |organization: Value| {
        let mut claims = world.claims_with("iss", issuer);
        claims["sub"] = json!("organization:acme:project:Default Project:workspace:shop:run_phase:apply");
        claims["terraform_organization_id"] = organization;
        function.call(world.request_with(&claims)).await
    };
    ask(json!("org-ours")).await.credentials();
    for strangers in [json!("org-theirs"), json!("ORG-OURS"), json!(["org-theirs"]), json!(null)] {
        ask(strangers).await.refusal(401, "invalid_token");
    }
}

async fn goes_through(fixture: &Fixture) {
    let file = &fixture.file;
    let key = TestKey::rsa("key-1");
    let mut world = World::new().await;
    world.provider.publish_raw(fixture.key_set(&key));
    let mut configuration = fixture.configuration();
    configuration["jwks_uri"] = json!(format!("{}/keys", world.provider.issuer()));
    let id = configuration["id"].as_str().unwrap().to_owned();
    world.trust(&[configuration]);
    let (subject, groups) = fixture.caller();
    let user = format!("{id}/user/{subject}");
    world.dynamodb.clear();
    world.dynamodb.grant(&user, "default", &json!({ "policy": policy(&["s3:ListBucket"]) }));
    let function = world.start().await;
    let request = |changes: &Map<_, _>| {
        let token = fixture.token(&key, changes, clock::now());
        Event::get("/v1/credentials").bearer(&token)
    };

    let answer = function.call(request(&Map::new())).await;
    assert_eq!(answer.status, 200, "{file}: {answer:?}");
    let batches = world.dynamodb.batches();
    let keys = batches.iter().flat_map(BatchGet::grant_keys);
    let read: BTreeSet<String> = keys.filter(|(_, sort)| sort != "#blocked").map(|(principal, _)| principal).collect();
    let groups = groups.iter().map(|group| format!("{id}/group/{group}"));
    assert_eq!(read, groups.chain([user, format!("{id}/everyone")]).collect(), "{file}");

    let cases = fixture.refused();
    for case in &cases {
        let answer = function.call(request(&case.claims)).await;
        let (status, code) =
            if case.reason.starts_with("groups_") { (403, "groups_unavailable") } else { (401, "invalid_token") };
        assert_eq!(answer.status, status, "{file}: {}: {answer:?}", case.says);
        answer.refusal(status, code);
    }
    assert_eq!((world.dynamodb.batches().len(), world.sts.mints().len()), (batches.len(), 1), "{file}");

    let outcomes = function.end().await.audit("outcome");
    let (issued, refused) = outcomes.split_first().unwrap();
    assert_eq!((&issued["issuer"], &issued["subject"]), (&json!(id), &json!(subject)), "{file}");
    let reasons: Vec<&str> = refused.iter().map(|outcome| outcome["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, cases.iter().map(|case| case.reason.as_str()).collect::<Vec<_>>(), "{file}");
}
