//! Events that no gateway should hand over, and what clients can put into those it does: each is answered, and the
//! next good request is served. [`Answer`](hallpass_testing::answer::Answer) fails a test at any invocation error.

use serde_json::{Value, json};

use hallpass_testing::events::Event;
use hallpass_testing::function::Function;
use hallpass_testing::world::World;

#[tokio::test]
async fn an_event_that_is_no_request_is_refused() {
    let world = World::new().await;
    let function = world.start().await;
    let rest_api = json!({
        "resource": "/v1/credentials", "path": "/v1/credentials", "httpMethod": "GET", "headers": {}, "body": null,
        "multiValueHeaders": {}, "queryStringParameters": null, "pathParameters": null, "stageVariables": null,
        "requestContext": {"resourceId": "x", "httpMethod": "GET", "path": "/v1/credentials", "stage": "prod"},
        "isBase64Encoded": false,
    });
    let queue = json!({"Records": [{"messageId": "1", "body": "{}", "eventSource": "aws:sqs"}]});
    for event in [
        "null".to_owned(),
        "true".to_owned(),
        "7".to_owned(),
        "\"GET /v1/credentials\"".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        rest_api.to_string(),
        queue.to_string(),
        broken(&world, |event| drop(event.as_object_mut().unwrap().remove("requestContext"))),
        broken(&world, |event| event["requestContext"] = json!({})),
        broken(&world, |event| event["requestContext"]["http"] = json!(null)),
        broken(&world, |event| event["requestContext"]["http"]["method"] = json!("G E T")),
        broken(&world, |event| event["requestContext"]["http"]["method"] = json!(7)),
        broken(&world, |event| event["headers"] = json!(["authorization"])),
        broken(&world, |event| event["headers"]["x-number"] = json!(7)),
        broken(&world, |event| event["isBase64Encoded"] = json!("yes")),
        broken(&world, |event| event["body"] = json!({"grant": "default"})),
    ] {
        refused(&world, &function, event).await;
    }
}

#[tokio::test]
async fn an_event_that_parsers_stumble_over_is_refused() {
    let world = World::new().await;
    let function = world.start().await;
    let request = world.request().payload();
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    for event in [
        String::new(),
        "{".to_owned(),
        "not json".to_owned(),
        format!("{request}{request}"),
        request.replacen('{', &format!("{{\"x\":{deep},"), 1),
        request.replacen("\"accept\":", "\"x-lone\":\"\\ud800\",\"accept\":", 1),
        request.replacen("\"timeEpoch\":", "\"x\":1e999,\"timeEpoch\":", 1),
    ] {
        refused(&world, &function, event).await;
    }
}

#[tokio::test]
async fn a_query_with_characters_that_no_uri_has_is_refused() {
    let world = World::new().await;
    let function = world.start().await;
    for character in [' ', '"', '<', '>', '\\', '^', '`', '{', '|', '}', '\n', '\t', '\0', '\u{7f}', 'é', '\u{2028}'] {
        let event = world.request().query(&format!("grant=de{character}fault"));
        refused(&world, &function, event.payload()).await;
    }
}

#[tokio::test]
async fn a_host_or_protocol_that_is_none_is_refused() {
    let world = World::new().await;
    let function = world.start().await;
    for host in ["a b", "a\"b", "<script>", "a\\b", "[::1", "a/b", "é"] {
        refused(&world, &function, world.request().header("host", host).payload()).await;
    }
    for protocol in ["ht tp", "<https>", "ht\"tps", "://", "é"] {
        refused(&world, &function, world.request().header("x-forwarded-proto", protocol).payload()).await;
    }
}

#[tokio::test]
async fn a_header_that_is_none_is_refused() {
    let world = World::new().await;
    let function = world.start().await;
    for (name, value) in
        [("bad name", "x"), ("", "x"), ("x-ok", "a\nb"), ("x-ok", "a\r\nset-cookie: a=b"), ("x-ok", "\0")]
    {
        refused(&world, &function, world.request().header(name, value).payload()).await;
    }
}

#[tokio::test]
async fn an_odd_event_never_costs_an_invocation_error() {
    let world = World::new().await;
    let function = world.start().await;
    let request = world.request().payload();
    for event in [
        request.replacen("\"accept\":", "\"accept\":\"text/html\",\"accept\":", 1),
        broken(&world, |event| event["headers"] = json!(null)),
        broken(&world, |event| event["headers"]["user-agent"] = json!("Gödel ∞")),
        broken(&world, |event| event["headers"]["x-long"] = json!("x".repeat(100_000))),
        broken(&world, |event| event["rawPath"] = json!("/v1/credentials with space")),
        broken(&world, |event| event["rawPath"] = json!("")),
        broken(&world, |event| event["rawPath"] = json!("http://[::1")),
        broken(&world, |event| event["rawPath"] = json!("*")),
        broken(&world, |event| event["requestContext"]["http"]["method"] = json!("")),
        broken(&world, |event| event["rawPath"] = json!(null)),
        broken(&world, |event| event["queryStringParameters"] = json!({"grant": "a b\"<>\u{1}"})),
        broken(&world, |event| event["queryStringParameters"] = json!("grant=default")),
        broken(&world, |event| event["queryStringParameters"] = json!({"grant": null})),
        broken(&world, |event| event["cookies"] = json!(["a=b\r\n", "\u{0}"])),
        broken(&world, |event| event["pathParameters"] = json!({"proxy": "\u{0}"})),
        broken(&world, |event| event["stageVariables"] = json!({"x": null})),
        broken(&world, |event| event["requestContext"]["http"]["sourceIp"] = json!("unknown")),
        broken(&world, |event| event["requestContext"]["http"]["sourceIp"] = json!(null)),
        broken(&world, |event| event["requestContext"]["http"]["path"] = json!("\u{0}")),
        broken(&world, |event| event["requestContext"]["stage"] = json!("prod <1>")),
        broken(&world, |event| event["requestContext"]["timeEpoch"] = json!("soon")),
        broken(&world, |event| {
            event["requestContext"]["authorizer"] = json!({"jwt": {"claims": {"a": 1}, "scopes": 7}});
        }),
        broken(&world, |event| event["isBase64Encoded"] = json!(true)),
        broken(&world, |event| event["version"] = json!("3.0")),
    ] {
        let answer = function.call_raw(event.clone()).await;
        assert!(answer.status < 500, "{event}: {answer:?}");
        function.call(world.request()).await.credentials();
    }
}

/// Carol's request with one thing changed.
fn broken(world: &World, change: impl FnOnce(&mut Value)) -> String {
    world.request().with(change).payload()
}

async fn refused(world: &World, function: &Function, event: String) {
    let answer = function.call_raw(event.clone()).await;
    assert_eq!(answer.status, 400, "{event}: {answer:?}");
    answer.refusal(400, "invalid_request");
    let good: Event = world.request();
    function.call(good).await.credentials();
}
