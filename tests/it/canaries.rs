//! Nothing that opens anything is ever written down: tokens, keys and secrets are planted in every place they can come
//! from, all logging is switched on, and everything the function writes or answers is searched.

use data_encoding::{BASE64, HEXLOWER};
use serde_json::json;

use hallpass_testing::answer::Answer;
use hallpass_testing::aws::secretsmanager;
use hallpass_testing::aws::signin;
use hallpass_testing::aws::sts;
use hallpass_testing::events::Event;
use hallpass_testing::server::{Fault, Reply};
use hallpass_testing::world::{BROKER_KEY, BROKER_SECRET, FUNCTION_SECRET, FUNCTION_SESSION_TOKEN, World};

/// The secret half of a key that comes later.
const NEXT_SECRET: &str = "broker-secret-two/CANARY+KEY0000000000000";

/// What a secret holds that nobody can parse.
const UNPARSEABLE: &str = "broker-secret-three/CANARY+KEY00000000000";

/// What a stranger sends in all the wrong places.
const STRAY: &str = "stray-token-CANARY";

/// What is sent to be found: it is meant to be logged.
const CONTROL: &str = "control-CANARY";

#[tokio::test]
async fn no_secret_is_ever_written_or_answered() {
    let mut world = World::new().await;
    world.set("RUST_LOG", "trace,hyper=trace,aws_smithy_runtime=trace,lambda_runtime=trace,reqwest=trace");
    world.set("AWS_LAMBDA_LOG_LEVEL", "TRACE");
    world.set("RUST_BACKTRACE", "full");
    let function = world.start().await;
    let mut said = String::new();
    let mut tokens = Vec::new();
    let mut sent = |token: String| {
        tokens.push(token.clone());
        token
    };

    let token = sent(world.token());
    let granted = Event::get("/v1/credentials").bearer(&token).with(|event| {
        event["requestContext"]["http"]["userAgent"] = json!(CONTROL);
    });
    function.call(granted).await.credentials();
    function.call(world.request().header("x-amz-security-token", STRAY)).await.credentials();

    let expired = sent(world.sign(&world.claims_with("exp", 1)));
    let overage = sent(world.sign(&world.claims_with("groups", 7)));
    let denied = sent(world.sign(&world.claims_with("sub", "dave")));
    let (input, _) = token.rsplit_once('.').unwrap();
    let forged = sent(format!("{input}.{}", STRAY.repeat(5)));
    let get = || Event::get("/v1/credentials");
    for event in [
        get().bearer(&expired),
        get().bearer(&overage),
        get().bearer(&denied),
        get().bearer(&forged),
        get().bearer(STRAY),
        get().bearer(&format!("{STRAY}.{STRAY}.{STRAY}")),
        get().bearer(&format!("{token}, {STRAY}")),
        get().bearer(&format!("{token}\n")),
        get().header("authorization", &format!("Basic {STRAY}")),
        get().header("authorization", &format!("{STRAY} {token}")),
        get().header("proxy-authorization", STRAY),
        get().header("cookie", &format!("session={STRAY}")).with(|event| event["cookies"] = json!([STRAY])),
        get().bearer(&token).header("host", &format!("a b {STRAY}")),
        get().query(&format!("access_token={STRAY}")),
        get().bearer(&token).query(&format!("access_token={STRAY}")),
        get().bearer(&token).query(&format!("access token={STRAY}")),
        get().bearer(&token).with(|event| event["isBase64Encoded"] = json!(STRAY)),
        get().bearer(&token).with(|event| event["requestContext"] = json!(STRAY)),
        get().bearer(&token).body(STRAY),
        Event::post("/v1/credentials").bearer(&token).json(&json!({ "token": STRAY })),
        Event::post("/v1/credentials").bearer(&token).json(&json!({ "grant": 7, STRAY: STRAY })),
        Event::post("/v1/credentials").bearer(&token).json_in_base64(STRAY.as_bytes()),
        Event::post("/v1/credentials").bearer(&token).header("content-type", STRAY).body(STRAY),
        Event::post("/v1/console").bearer(&token).json(&json!({ "destination": STRAY })),
        Event::post("/v1/console").bearer(&token).query(&format!("destination={STRAY}")),
    ] {
        said += &spoken(&function.call(event).await);
    }

    for reply in [
        Reply::new(200, "text/xml", format!("<GetFederationTokenResponse><SecretAccessKey>{}", sts::SESSION_SECRET)),
        Reply::new(200, "text/xml", format!("<a><SessionToken>{}</SessionToken></a>", sts::SESSION_TOKEN)),
        Reply::new(400, "text/xml", sts::SESSION_TOKEN),
    ] {
        world.sts.server.fail_times(2, &Fault::Answers(reply));
        said += &spoken(&function.call(world.request()).await);
        world.sts.server.heal();
    }
    world.sts.refuse_key(BROKER_KEY);
    world.secrets.hold_key("AKIABROKERTWOEXAMPLE", NEXT_SECRET);
    function.call(world.request()).await.credentials();

    let ended = function.end().await;
    let trace = ["\"level\":\"TRACE\"", "TRACE"];
    assert!(trace.iter().any(|mark| ended.log.contains(mark)), "the most detailed level was not on: {}", ended.log);
    assert!(ended.log.contains(CONTROL), "what is meant to be logged was not captured: {}", ended.log);
    assert!(said.contains("access_denied"), "the refusals were not captured: {said}");

    let mut canaries: Vec<&str> = vec![
        STRAY,
        BROKER_SECRET,
        NEXT_SECRET,
        FUNCTION_SECRET,
        FUNCTION_SESSION_TOKEN,
        sts::SESSION_SECRET,
        sts::SESSION_TOKEN,
    ];
    for token in &tokens {
        // Each part of a token would be found alone, too; the header is the same for all and no secret.
        canaries.extend(token.split('.').skip(1));
    }
    assert_eq!(found(&canaries, &ended.log), Vec::<String>::new(), "in the log: {}", ended.log);
    assert_eq!(found(&canaries, &said), Vec::<String>::new(), "in an answer: {said}");
}

#[tokio::test]
async fn a_sign_in_to_the_console_is_never_written_and_a_failed_one_never_answered() {
    let mut world = World::new().await;
    world.set("RUST_LOG", "trace,hyper=trace");
    let function = world.start().await;
    let mut said = String::new();
    let token = world.token();
    let opened = Event::post("/v1/console").bearer(&token).json(&json!({}));
    assert!(function.call(opened.clone()).await.credentials()["SigninUrl"].is_string());
    // The page that was asked for is in the address, and its query nowhere else.
    let page = json!({ "destination": format!("https://console.aws.amazon.com/?a={STRAY}#{STRAY}") });
    function.call(Event::post("/v1/console").bearer(&token).json(&page)).await.credentials();
    for fault in [
        Fault::Answers(Reply::new(400, "text/html", format!("{} {STRAY}", sts::SESSION_SECRET))),
        Fault::Answers(Reply::new(
            200,
            "application/json",
            json!({"SigninToken": [signin::SIGN_IN_TOKEN]}).to_string(),
        )),
        Fault::Resets,
    ] {
        world.sign_in.server.fail_times(1, &fault);
        said += &spoken(&function.call(opened.clone()).await);
    }
    let ended = function.end().await;
    assert!(ended.log.contains("TRACE") && ended.log.contains("sign_in_unreachable"), "{}", ended.log);
    let canaries =
        [STRAY, sts::SESSION_SECRET, sts::SESSION_TOKEN, signin::SIGN_IN_TOKEN, "sign-in-token%2FCANARY", &token];
    assert_eq!(found(&canaries, &(said + &ended.log)), Vec::<String>::new(), "{}", ended.log);
}

#[tokio::test]
async fn a_secret_that_cannot_be_parsed_is_not_quoted() {
    for text in [
        UNPARSEABLE.to_owned(),
        format!("\"{UNPARSEABLE}\""),
        format!("{{\"{UNPARSEABLE}\":1}}"),
        format!("{{\"AccessKeyId\":\"{UNPARSEABLE}\",\"SecretAccessKey\":7}}"),
        format!("{{\"AccessKeyId\":7,\"SecretAccessKey\":\"{UNPARSEABLE}\"}}"),
        format!("{{\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"{UNPARSEABLE}"),
    ] {
        let mut world = World::new().await;
        world.set("RUST_LOG", "trace");
        world.secrets.hold(text);
        let function = world.start().await;
        let answer = function.call(world.request()).await;
        answer.refusal(500, "broker_key_refused");
        let ended = function.end().await;
        let said = spoken(&answer) + &ended.log;
        assert!(ended.log.contains("broker_key_refused"));
        assert_eq!(found(&[UNPARSEABLE], &said), Vec::<String>::new(), "{said}");
    }
}

#[tokio::test]
async fn an_upstream_error_with_a_secret_in_it_is_not_passed_on() {
    let mut world = World::new().await;
    world.set("RUST_LOG", "trace");
    let function = world.start().await;
    let quoting = Reply::new(400, "application/json", json!({"__type": "AccessDenied", "message": STRAY}).to_string());
    world.dynamodb.server.fail_times(2, &Fault::Answers(quoting));
    let mut said = spoken(&function.call(world.request()).await);
    world.dynamodb.server.heal();
    world.secrets.server.fail_always(&Fault::Answers(secretsmanager::error(400, STRAY)));
    world.sts.refuse_key(BROKER_KEY);
    said += &spoken(&function.call(world.request()).await);
    assert_eq!(found(&[STRAY], &said), Vec::<String>::new(), "{said}");
}

#[test]
fn the_search_finds_a_secret_however_it_is_spelt() {
    let spelt = [
        STRAY.to_owned(),
        BASE64.encode(STRAY.as_bytes()),
        HEXLOWER.encode(STRAY.as_bytes()),
        format!("{:?}", STRAY.as_bytes()),
    ];
    for text in spelt {
        assert_eq!(found(&[STRAY], &format!("before {text} after")), [STRAY]);
    }
    assert!(found(&[STRAY], "nothing of the kind").is_empty());
}

/// All that a client can read of an answer.
fn spoken(answer: &Answer) -> String {
    format!("{:?}\n{}\n", answer.headers, answer.body)
}

/// Those canaries that are in the text: as they are, in base64 or hexadecimal, or as Rust prints bytes.
pub(crate) fn found(canaries: &[&str], text: &str) -> Vec<String> {
    let spellings = |canary: &str| {
        let bytes = format!("{:?}", canary.as_bytes());
        let listed = bytes.trim_matches(['[', ']']).to_owned();
        [canary.to_owned(), BASE64.encode(canary.as_bytes()), HEXLOWER.encode(canary.as_bytes()), listed]
    };
    let leaked = canaries.iter().filter(|canary| spellings(canary).iter().any(|spelt| text.contains(spelt)));
    leaked.map(|canary| (*canary).to_owned()).collect()
}
