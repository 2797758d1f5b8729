//! Whose token is accepted, by the whole function.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use hallpass_testing::clock;
use hallpass_testing::corpus::Corpus;
use hallpass_testing::events::Event;
use hallpass_testing::signer::TestKey;
use hallpass_testing::world::{World, policy, sign_with};

/// Seconds that may pass between making a token and verifying it.
const SLACK: u64 = 20;

/// The corpus, and a world that trusts all of its issuers at once. Whoever they vouch for has a grant.
pub(crate) async fn corpus() -> (Corpus, World) {
    let mut world = World::new().await;
    let corpus = Corpus::new(&world.provider.issuer(), clock::now(), SLACK);
    for (id, key_set) in &corpus.key_sets {
        world.provider.publish_below(id, key_set);
        world.dynamodb.grant(&format!("{id}/everyone"), "default", &json!({ "policy": policy(&["s3:ListBucket"]) }));
    }
    world.trust(&corpus.issuers);
    (corpus, world)
}

#[tokio::test]
async fn every_forged_stale_confused_or_malformed_token_is_refused_for_its_own_reason() {
    let (corpus, world) = corpus().await;
    let function = world.start().await;
    let mut told_forgers = BTreeSet::new();
    for forgery in &corpus.refused {
        let answer = function.call(Event::get("/v1/credentials").bearer(&forgery.token)).await;
        let expected = if forgery.reason.starts_with("groups_") { 403 } else { 401 };
        assert_eq!(answer.status, expected, "{}: {answer:?}", forgery.what);
        let code = if expected == 403 { "groups_unavailable" } else { "invalid_token" };
        let message = answer.refusal(expected, code);
        if BEFORE_THE_SIGNATURE.contains(&forgery.reason) {
            told_forgers.insert(message);
        }
    }
    assert_eq!(told_forgers.len(), 1, "a forger learns what to try next: {told_forgers:?}");
    assert!(world.sts.mints().is_empty());
    let followed = world.provider.server.calls().into_iter().find(|call| call.path.contains("stolen"));
    assert!(followed.is_none(), "a header was followed: {followed:?}");

    let outcomes = function.end().await.audit("outcome");
    assert_eq!(outcomes.len(), corpus.refused.len());
    for (forgery, outcome) in corpus.refused.iter().zip(outcomes) {
        assert_eq!(outcome["reason"], forgery.reason, "{}: {outcome}", forgery.what);
    }
}

/// The reasons that nobody hears who does not hold a token that was really issued.
const BEFORE_THE_SIGNATURE: [&str; 16] = [
    "token_too_long",
    "not_compact_jws",
    "not_base64url",
    "header_malformed",
    "claims_malformed",
    "issuer_missing",
    "issuer_unknown",
    "algorithm_unsupported",
    "algorithm_not_allowed",
    "critical_header",
    "type_not_accepted",
    "key_id_malformed",
    "key_unknown",
    "key_ambiguous",
    "key_mismatch",
    "signature_invalid",
];

#[tokio::test]
async fn every_genuine_token_is_accepted() {
    let (corpus, world) = corpus().await;
    let function = world.start().await;
    for genuine in &corpus.accepted {
        let answer = function.call(Event::get("/v1/credentials").bearer(&genuine.token)).await;
        assert_eq!(answer.status, 200, "{}: {answer:?}", genuine.what);
    }
    assert_eq!(world.sts.mints().len(), corpus.accepted.len());
}

/// Everyone may list and delete, and contractors may not delete: what a list of groups has to be read for.
fn grant_all_but_contractors(world: &World) {
    let deny = json!({"Effect": "Deny", "Action": ["s3:DeleteObject"], "Resource": ["*"]});
    world.dynamodb.clear();
    world.dynamodb.grant("corp/everyone", "default", &json!({"policy": policy(&["s3:ListBucket", "s3:DeleteObject"])}));
    let deny = json!({"Version": "2012-10-17", "Statement": [deny]});
    world.dynamodb.grant("corp/group/contractors", "default", &json!({ "policy": deny }));
}

/// Whether the last session has the Deny.
fn denies(world: &World) -> bool {
    world.sts.mints().last().unwrap().fields.get("Policy").is_some_and(|policy| policy.contains("Deny"))
}

#[tokio::test]
async fn a_list_inside_a_text_is_never_one_group_of_an_odd_name() {
    for mut terms in [
        json!({"groups_required": true}),
        json!({"groups_required": true, "groups_separator": ","}),
        json!({"groups_required": true, "groups_separator": " "}),
        json!({}),
    ] {
        let mut world = World::new().await;
        terms["groups_claim"] = json!("/custom:groups");
        world.trust_with(&terms);
        grant_all_but_contractors(&world);
        let function = world.start().await;
        let ask = async |groups: &Value| {
            function.call(world.request_with(&world.claims_with("custom:groups", groups.clone()))).await
        };
        ask(&json!(["contractors", "devs"])).await.credentials();
        assert!(denies(&world));
        ask(&json!(["devs"])).await.credentials();
        assert!(!denies(&world));

        // As Cognito maps a list of SAML, with `contractors` denied something, and then blocked.
        let minted = world.sts.mints().len();
        for text in ["[contractors, devs]", " \t[contractors]", "[\"contractors\"]", "{\"contractors\":true}", "[a"] {
            ask(&json!(text)).await.refusal(403, "groups_unavailable");
        }
        world.dynamodb.block("corp/group/contractors");
        ask(&json!("[contractors, devs]")).await.refusal(403, "groups_unavailable");
        ask(&json!(["contractors", "devs"])).await.refusal(403, "access_denied");
        assert_eq!(world.sts.mints().len(), minted);

        let outcomes = function.end().await.audit("outcome");
        let reasons: Vec<_> = outcomes.iter().map(|outcome| outcome["reason"].clone()).collect();
        assert_eq!(reasons.iter().filter(|reason| **reason == json!("groups_in_text")).count(), 6, "{reasons:?}");
    }
}

#[tokio::test]
async fn one_string_is_split_where_the_operator_says_so_and_each_group_counts() {
    for (separator, text) in [(",", "devs,contractors"), (",", " devs , contractors"), (" ", "devs contractors")] {
        let mut world = World::new().await;
        grant_all_but_contractors(&world);
        let whole = world.start().await;
        let request = |world: &World| world.request_with(&world.claims_with("groups", text));
        whole.call(request(&world)).await.credentials();
        assert!(!denies(&world), "without a separator it is one group of that name");

        world.trust_with(&json!({ "groups_separator": separator }));
        let function = world.start().await;
        function.call(request(&world)).await.credentials();
        assert!(denies(&world), "{text:?}");
        for broken in [format!("devs{separator}"), format!("{separator}devs"), String::new(), separator.to_owned()] {
            let answer = function.call(world.request_with(&world.claims_with("groups", broken))).await;
            answer.refusal(403, "groups_unavailable");
        }
        // What is a list already is not split.
        let listed = world.claims_with("groups", json!([text]));
        function.call(world.request_with(&listed)).await.credentials();
        assert!(!denies(&world));
    }
}

#[tokio::test]
async fn a_domain_group_with_spaces_and_commas_is_one_group_without_a_separator() {
    let world = World::new().await;
    let function = world.start().await;
    for group in ["Domain Users", "CN=Domain Users,OU=Staff,DC=example,DC=com"] {
        world.dynamodb.clear();
        world.dynamodb.grant(&format!("corp/group/{group}"), "default", &json!({}));
        function.call(world.request_with(&world.claims_with("groups", group))).await.credentials();
    }
}

#[tokio::test]
async fn a_subject_that_looks_like_carols_gets_nothing_of_hers() {
    let world = World::new().await;
    let function = world.start().await;
    for subject in ["Carol", "CAROL", "carol ", " carol", "carol/", "c\u{430}rol", "carol\u{200b}", "\u{ff43}arol"] {
        let answer = function.call(world.request_with(&world.claims_with("sub", subject))).await;
        answer.refusal(403, "access_denied");
    }
    function.call(world.request()).await.credentials();
}

#[tokio::test]
async fn a_refusal_names_what_is_wrong_only_once_the_signature_holds() {
    let world = World::new().await;
    let function = world.start().await;
    let attacker = TestKey::p256(world.key.kid());
    let expired = world.claims_with("exp", clock::now() - 100);
    let forged = [expired.clone(), world.claims(), world.claims_with("aud", "another")];
    let mut told = Vec::new();
    for claims in forged {
        let request = Event::get("/v1/credentials").bearer(&sign_with(&attacker, "ES256", &claims));
        told.push(function.call(request).await.refusal(401, "invalid_token"));
    }
    told.dedup();
    assert_eq!(told.len(), 1, "a forger learns what would match: {told:?}");
    let message = function.call(world.request_with(&expired)).await.refusal(401, "invalid_token");
    assert!(message.contains("expired") || message.contains("iat") || message.contains("exp"), "{message}");
    assert_ne!([message], [told.remove(0)]);
}
