//! Who is signed in to AWS's console, and with what.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use hallpass_testing::answer::Answer;
use hallpass_testing::aws::query;
use hallpass_testing::aws::signin::SIGN_IN_TOKEN;
use hallpass_testing::aws::sts;
use hallpass_testing::clock;
use hallpass_testing::events::{DOMAIN, Event};
use hallpass_testing::server::{Fault, Reply};
use hallpass_testing::world::{ORIGIN, World};

use super::start::refused;
use super::tokens::corpus;

const PATH: &str = "/v1/console";
const HOME: &str = "https://console.aws.amazon.com/console/home";

/// DESIGN's 1.5 s for a session, 3 s for the sign-in host, and a margin for a busy machine.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// Carol's request with this body.
fn request(world: &World, body: &Value) -> Event {
    Event::post(PATH).bearer(&world.token()).json(body)
}

/// Asserts that this is a sign-in, and returns the parameters of its address.
fn signed_in(world: &World, answer: &Answer) -> BTreeMap<String, String> {
    let body = answer.credentials();
    let members: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["Expiration", "SigninUrl"]);
    let address = body["SigninUrl"].as_str().unwrap();
    let query = address.strip_prefix(&format!("{}/federation?", world.sign_in.server.url())).unwrap();
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

#[tokio::test]
async fn a_session_is_minted_as_ever_and_traded_for_an_address() {
    let world = World::new().await;
    world.dynamodb.grant("corp/user/carol", "deploy", &json!({ "max_duration": 7200 }));
    let function = world.start().await;
    let page = "https://eu-central-1.console.aws.amazon.com/s3/home?region=eu-central-1#x";
    for (body, duration, destination) in [
        (json!({}), 3600, HOME),
        (json!({"grant": "default", "duration": 900}), 900, HOME),
        (json!({"grant": "deploy", "duration": 7200, "destination": page}), 7200, page),
    ] {
        let number = world.sts.mints().len();
        let answer = function.call(request(&world, &body)).await;
        let address = signed_in(&world, &answer);
        let expected = [
            ("Action", "login"),
            ("Issuer", &format!("https://{DOMAIN}/")),
            ("Destination", destination),
            ("SigninToken", SIGN_IN_TOKEN),
        ];
        assert_eq!(address, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        let mint = world.sts.mints().pop().unwrap();
        assert_eq!(mint.duration(), duration);
        assert!(mint.name().starts_with("carol-"));
        let session = json!({
            "sessionId": sts::access_key_id(number),
            "sessionKey": sts::SESSION_SECRET,
            "sessionToken": sts::SESSION_TOKEN,
        });
        assert_eq!(world.sign_in.sessions().pop(), Some(session), "and nothing else: SessionDuration is refused");
        assert!(answer.json()["Expiration"].as_str().is_some_and(|time| time.ends_with('Z')));
    }
    // A body is optional, as everything in it.
    signed_in(&world, &function.call(Event::post(PATH).bearer(&world.token())).await);
}

#[tokio::test]
async fn it_is_recorded_before_the_session_leaves_and_after() {
    let world = World::new().await;
    let function = world.start().await;
    let page = "https://console.aws.amazon.com/s3/home?region=x#y";
    signed_in(&world, &function.call(request(&world, &json!({ "destination": page }))).await);
    world.sign_in.server.fail_always(&Fault::Resets);
    function.call(request(&world, &json!({}))).await.refusal(503, "temporarily_unavailable");
    let ended = function.end().await;
    let (issuing, console, outcome) = (ended.audit("issuing"), ended.audit("console"), ended.audit("outcome"));
    assert_eq!((issuing.len(), console.len(), outcome.len()), (2, 2, 2), "{}", ended.log);
    let codes = [("console", 200, "https://console.aws.amazon.com/s3/home"), ("temporarily_unavailable", 503, HOME)];
    for (number, (code, status, destination)) in codes.into_iter().enumerate() {
        assert_eq!((&outcome[number]["code"], &outcome[number]["status"]), (&json!(code), &json!(status)));
        assert_eq!(issuing[number].get("access_key_id"), None);
        for line in [&console[number], &outcome[number]] {
            assert_eq!(line["access_key_id"], sts::access_key_id(number));
            assert_eq!((&line["subject"], &line["grant"]), (&json!("carol"), &json!("default")));
            assert_eq!(line["destination"], destination);
            assert!(line["expiration"].is_string());
        }
    }
    assert_eq!(outcome[1]["reason"], "sign_in_unreachable");
    let issued: Vec<Value> = ended.records().into_iter().filter_map(|record| record.get("Issued").cloned()).collect();
    assert_eq!(issued, [1, 0]);
    let stages: Vec<Value> = ended.records().into_iter().filter_map(|record| record.get("Stage").cloned()).collect();
    assert!(stages.contains(&json!("sign_in")), "{stages:?}");
}

#[tokio::test]
async fn the_destination_is_a_page_of_the_partitions_console_or_nothing_is_minted() {
    for (region, own, sign_in) in [
        ("eu-central-1", "console.aws.amazon.com", "https://signin.aws.amazon.com/"),
        ("us-gov-west-1", "console.amazonaws-us-gov.com", "https://signin.amazonaws-us-gov.com/"),
        ("cn-north-1", "console.amazonaws.cn", "https://signin.amazonaws.cn/"),
        ("eusc-de-east-1", "console.amazonaws-eusc.eu", "https://signin.amazonaws-eusc.eu/"),
    ] {
        let mut world = World::new().await;
        world.set("AWS_REGION", region);
        let function = world.start().await;
        let home = signed_in(&world, &function.call(request(&world, &json!({}))).await);
        assert_eq!(home["Destination"], format!("https://{own}/console/home"));
        let minted = world.sts.mints().len();
        world.dynamodb.server.forget_calls();
        for destination in [
            json!(null),
            json!(7),
            json!(""),
            json!(format!("http://{own}/")),
            json!(format!("https://{own}:8443/")),
            json!(format!("https://carol@{own}/")),
            json!(format!("https://{own}.evil.example/")),
            json!(format!("https://evil{own}/")),
            json!(format!("https://evil.example/?https://{own}/")),
            json!(format!("//{own}/")),
            json!("javascript:alert(1)"),
            json!(sign_in),
            json!("https://console.aws.amazon.com.cn/"),
        ] {
            let answer = function.call(request(&world, &json!({ "destination": destination }))).await;
            assert!(answer.refusal(400, "invalid_request").contains("`destination`"), "{answer:?}");
        }
        for other in [
            "console.aws.amazon.com",
            "console.amazonaws-us-gov.com",
            "console.amazonaws.cn",
            "console.amazonaws-eusc.eu",
        ] {
            let body = json!({ "destination": format!("https://{other}/s3") });
            let answer = function.call(request(&world, &body)).await;
            assert_eq!(answer.status, if other == own { 200 } else { 400 }, "{region} {other}: {answer:?}");
        }
        assert_eq!((world.sts.mints().len(), world.dynamodb.batches().len()), (minted + 1, 1));
    }
}

#[tokio::test]
async fn in_a_partition_without_a_known_console_there_is_no_such_route() {
    let mut world = World::new().await;
    world.set("AWS_REGION", "us-iso-east-1");
    world.unset("AWS_ENDPOINT_URL_SIGNIN");
    let function = world.start().await;
    function.call(request(&world, &json!({}))).await.refusal(404, "not_found");
    assert!(world.sts.mints().is_empty());
}

#[tokio::test]
async fn a_stand_in_that_others_could_read_stops_the_start() {
    for host in ["http://signin.example.com", "signin.example.com", "https://carol:hunter2@signin.example.com"] {
        let mut world = World::new().await;
        world.set("AWS_ENDPOINT_URL_SIGNIN", host);
        refused(world.spawn().await, &["AWS_ENDPOINT_URL_SIGNIN must be an https URL"]).await;
    }
}

#[tokio::test]
async fn the_issuer_is_the_portals_url() {
    let mut world = World::new().await;
    for (url, issuer) in [
        ("https://hallpass.example.com", "https://hallpass.example.com/"),
        ("https://example.com/hallpass/", "https://example.com/hallpass/"),
    ] {
        world.set("HALLPASS_PUBLIC_URL", url);
        let function = world.start().await;
        assert_eq!(signed_in(&world, &function.call(request(&world, &json!({}))).await)["Issuer"], issuer);
    }
    world.unset("HALLPASS_PUBLIC_URL");
    let function = world.start().await;
    let minted = world.sts.mints().len();
    let nameless = request(&world, &json!({})).with(|event| event["requestContext"]["domainName"] = json!(null));
    let answer = function.call(nameless).await;
    assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("invalid_request")));
    assert_eq!(world.sts.mints().len(), minted);
}

#[tokio::test]
async fn parameters_are_in_the_body_alone_and_checked_as_ever() {
    let world = World::new().await;
    let function = world.start().await;
    let post = || Event::post(PATH).bearer(&world.token());
    for wrong in [
        post().query("grant=default"),
        post().query("destination=https%3A%2F%2Fconsole.aws.amazon.com%2F"),
        post().query("x"),
        post().query("grant=default").json(&json!({})),
        post().json(&json!({"grant": "Default"})),
        post().json(&json!({"grant": null})),
        post().json(&json!({"duration": 899})),
        post().json(&json!({"duration": "900"})),
        post().json(&json!({"duration": 7200})),
        post().json(&json!({"service": "s3"})),
        post().json(&json!({"Destination": HOME})),
        post().json(&json!([])),
        post().header("content-type", "application/json").body("{\"grant\":\"default\",\"grant\":\"default\"}"),
        post().header("content-type", "application/json").body("{"),
    ] {
        function.call(wrong).await.refusal(400, "invalid_request");
    }
    let large = format!("{{\"destination\":\"{HOME}?{}\"}}", "x".repeat(16 * 1024));
    let json = |body: &str| post().header("content-type", "application/json").body(body);
    function.call(json(&large)).await.refusal(413, "content_too_large");
    function.call(post().header("content-type", "text/plain").body("{}")).await.refusal(415, "unsupported_media_type");
    function.call(post().body("{}")).await.refusal(415, "unsupported_media_type");
    assert!(world.sts.mints().is_empty() && world.sign_in.server.calls().is_empty());
    signed_in(&world, &function.call(post().json_in_base64(b"{\"grant\":\"default\"}")).await);
}

#[tokio::test]
async fn every_refusal_of_credentials_is_one_here_too_and_in_the_same_order() {
    let mut world = World::new().await;
    world.trust_with(&json!({"single_use": true}));
    let function = world.start().await;
    world.sts.server.fail_always(&Fault::Answers(query::error(400, "MalformedPolicyDocument")));
    world.sign_in.server.fail_always(&Fault::Resets);
    let mut item = json!({
        "unknown": 1,
        "enabled": false,
        "not_after": clock::now(),
        "require": {"claims": {"/department": ["ops"]}, "amr": ["mfa"]},
        "tags": {"team": "${jwt:/team}"},
    });
    world.dynamodb.block("corp/everyone");
    let mut claims = world.claims_with("jti", "token-1");
    let ask = |claims: &Value, body: &Value| Event::post(PATH).bearer(&world.sign(claims)).json(body);
    let over = json!({"duration": 7200});
    let evil = json!({"duration": 7200, "destination": "https://evil.example/"});

    function.call(Event::get(PATH).query("x")).await.refusal(405, "method_not_allowed");
    function.call(Event::post(PATH).json(&evil)).await.refusal(401, "token_missing");
    function.call(Event::post(PATH).bearer("not.a.token").json(&evil)).await.refusal(401, "invalid_token");
    let mut overage = claims.clone();
    overage["hasgroups"] = json!(true);
    function.call(ask(&overage, &evil)).await.refusal(403, "groups_unavailable");
    function.call(ask(&claims, &evil)).await.refusal(400, "invalid_request");
    function.call(ask(&claims, &over)).await.refusal(403, "access_denied");
    world.dynamodb.clear();
    let mut now_with = |change: &dyn Fn(&mut Value)| {
        change(&mut item);
        world.dynamodb.grant("corp/user/carol", "default", &item);
    };
    now_with(&|_| ());
    function.call(ask(&claims, &over)).await.refusal(500, "grant_unusable");
    now_with(&|item| drop(item.as_object_mut().unwrap().remove("unknown")));
    function.call(ask(&claims, &over)).await.refusal(403, "access_denied");
    now_with(&|item| item["enabled"] = json!(true));
    function.call(ask(&claims, &over)).await.refusal(403, "access_denied");
    now_with(&|item| drop(item.as_object_mut().unwrap().remove("not_after")));
    function.call(ask(&claims, &over)).await.refusal(403, "access_denied");
    claims["department"] = json!("ops");
    function.call(ask(&claims, &over)).await.step_up();
    claims["amr"] = json!(["mfa"]);
    function.call(ask(&claims, &over)).await.refusal(400, "invalid_request");
    function.call(ask(&claims, &json!({}))).await.refusal(500, "grant_unusable");
    claims["team"] = json!("shop");
    function.call(ask(&claims, &json!({}))).await.refusal(500, "grant_unusable");
    assert_eq!(world.sts.mints().len(), 1);
    function.call(ask(&claims, &json!({}))).await.refusal(401, "invalid_token");
    world.sts.server.heal();
    claims["jti"] = json!("token-2");
    assert!(world.sign_in.server.calls().is_empty(), "without a session the sign-in host is not asked");
    function.call(ask(&claims, &json!({}))).await.refusal(503, "temporarily_unavailable");
    world.sign_in.server.heal();
    function.call(ask(&claims, &json!({}))).await.refusal(401, "invalid_token");
    claims["jti"] = json!("token-3");
    signed_in(&world, &function.call(ask(&claims, &json!({}))).await);

    let outcomes = function.end().await.audit("outcome");
    let reasons: Vec<&str> = outcomes.iter().filter_map(|outcome| outcome["reason"].as_str()).collect();
    let expected = [
        "method_not_allowed",
        "token_missing",
        "not_base64url",
        "groups_overage",
        "invalid_request",
        "blocked",
        "item_unusable",
        "disabled",
        "out_of_time",
        "claim_refused",
        "step_up",
        "over_maximum",
        "claim_unusable",
        "sts_refused_session",
        "token_spent",
        "sign_in_unreachable",
        "token_spent",
    ];
    assert_eq!(reasons, expected);
}

#[tokio::test]
async fn no_forged_stale_confused_or_malformed_token_opens_the_console() {
    let (corpus, world) = corpus().await;
    let function = world.start().await;
    for forgery in &corpus.refused {
        let answer = function.call(Event::post(PATH).bearer(&forgery.token).json(&json!({}))).await;
        let status = if forgery.reason.starts_with("groups_") { 403 } else { 401 };
        assert_eq!(answer.status, status, "{}: {answer:?}", forgery.what);
    }
    assert!(world.sts.mints().is_empty() && world.sign_in.server.calls().is_empty());
    let outcomes = function.end().await.audit("outcome");
    for (forgery, outcome) in corpus.refused.iter().zip(outcomes) {
        assert_eq!(outcome["reason"], forgery.reason, "{}: {outcome}", forgery.what);
    }
}

#[tokio::test]
async fn a_sign_in_host_that_fails_is_told_in_time_and_passes() {
    let text = |status: u16, body: &str| Fault::Answers(Reply::new(status, "text/html", body));
    let json = |body: Value| Fault::Answers(Reply::new(200, "application/json", body.to_string()));
    let redirect = Reply::new(302, "text/html", "").header("location", "http://127.0.0.1:1/federation");
    let world = World::new().await;
    let function = world.start().await;
    let faults = [
        (text(400, "<h1>no</h1>"), "sign_in_refused"),
        (text(403, ""), "sign_in_refused"),
        (text(429, ""), "sign_in_refused"),
        (text(500, ""), "sign_in_refused"),
        (text(204, ""), "sign_in_refused"),
        (Fault::Answers(redirect), "sign_in_refused"),
        (text(200, "<h1>Welcome to the proxy</h1>"), "sign_in_malformed"),
        (json(json!({})), "sign_in_malformed"),
        (json(json!({"SigninToken": ""})), "sign_in_malformed"),
        (json(json!({"SigninToken": 7})), "sign_in_malformed"),
        (json(json!([SIGN_IN_TOKEN])), "sign_in_malformed"),
        (json(json!({"SigninToken": "x".repeat(64 * 1024)})), "sign_in_malformed"),
        (Fault::Resets, "sign_in_unreachable"),
        (Fault::Truncates, "sign_in_unreachable"),
        (Fault::Hangs, "sign_in_too_slow"),
        (Fault::Drips, "sign_in_too_slow"),
    ];
    for (fault, _) in &faults {
        world.sign_in.server.fail_always(fault);
        world.sign_in.server.forget_calls();
        let answer = function.call(request(&world, &json!({}))).await;
        answer.refusal(503, "temporarily_unavailable");
        assert_eq!(world.sign_in.server.calls().len(), 1, "{fault:?}: nothing is tried again");
        assert!(answer.took < ANSWERED_WITHIN, "{fault:?}: {answer:?}");
        world.sign_in.server.heal();
        signed_in(&world, &function.call(request(&world, &json!({}))).await);
    }
    // Slow is not too slow.
    world.sign_in.server.fail_times(1, &Fault::Slow(Duration::from_millis(1_800)));
    signed_in(&world, &function.call(request(&world, &json!({}))).await);
    let outcomes = function.end().await.audit("outcome");
    let reasons: Vec<&str> = outcomes.iter().filter_map(|outcome| outcome["reason"].as_str()).collect();
    assert_eq!(reasons, faults.map(|(_, reason)| reason));
}

#[tokio::test]
async fn the_other_services_have_the_limits_that_they_always_have() {
    let world = World::new().await;
    let function = world.start().await;
    world.sts.server.fail_always(&Fault::Hangs);
    let answer = function.call(request(&world, &json!({}))).await;
    answer.refusal(503, "temporarily_unavailable");
    assert!(answer.took < Duration::from_secs(2), "{answer:?}");
    assert!(world.sign_in.server.calls().is_empty());
}

#[tokio::test]
async fn browsers_may_ask_from_the_allowed_origins() {
    let world = World::new().await;
    let function = world.start().await;
    for (origin, allowed) in [(ORIGIN, Some(ORIGIN)), ("https://elsewhere.example", None)] {
        let preflight = Event::new("OPTIONS", PATH)
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type");
        let answer = function.call(preflight).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, allowed));
        let answer = function.call(request(&world, &json!({})).header("origin", origin)).await;
        signed_in(&world, &answer);
        assert_eq!((answer.header("access-control-allow-origin"), answer.header("vary")), (allowed, Some("Origin")));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
    let answer = function.call(Event::get(PATH)).await;
    answer.refusal(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("POST, OPTIONS"));
}
