//! Which web pages may call, and what they may read.

use serde_json::json;

use hallpass_testing::answer::Answer;
use hallpass_testing::events::Event;
use hallpass_testing::world::{ORIGIN, World};

#[tokio::test]
async fn a_preflight_from_an_allowed_origin_is_told_the_rules() {
    let world = World::new().await;
    let function = world.start().await;
    let answer = function.call(preflight(ORIGIN)).await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(list(&answer, "access-control-allow-methods"), ["get", "post"]);
    assert_eq!(list(&answer, "access-control-allow-headers"), ALLOWED_HEADERS);
    assert_eq!(answer.header("access-control-max-age"), Some("600"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(list(&answer, "vary"), ["origin"]);
}

#[tokio::test]
async fn a_preflight_that_asks_for_tracing_headers_passes() {
    let world = World::new().await;
    let function = world.start().await;
    for asked in [
        "authorization,baggage,sentry-trace,traceparent",
        "authorization,traceparent,tracestate",
        "authorization,x-datadog-origin,x-datadog-parent-id,x-datadog-sampling-priority,x-datadog-trace-id",
        "authorization,x-amzn-trace-id",
        "authorization,content-type,dpop",
    ] {
        let request = preflight(ORIGIN).with(|event| {
            event["headers"]["access-control-request-headers"] = json!(asked);
        });
        let answer = function.call(request).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some(ORIGIN)));
        let allowed = list(&answer, "access-control-allow-headers");
        assert!(asked.split(',').all(|header| allowed.iter().any(|name| name == header)), "{asked}: {allowed:?}");
        assert!(!allowed.iter().any(|name| name == "*"), "`*` would not stand for `authorization`: {allowed:?}");
    }
}

#[tokio::test]
async fn each_route_has_a_preflight() {
    let world = World::new().await;
    let function = world.start().await;
    for path in ["/v1/credentials", "/v1/credentials/deploy", "/v1/credentials/Deploy", "/v1/grants", "/v1/health"] {
        let answer = function.call(preflight_of(path, ORIGIN)).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some(ORIGIN)), "{path}");
    }
}

#[tokio::test]
async fn an_allowed_origin_may_read_answers_and_refusals() {
    let world = World::new().await;
    let function = world.start().await;
    let list_of_grants = Event::get("/v1/grants").bearer(&world.token());
    for request in [
        world.request(),
        list_of_grants,
        Event::get("/v1/credentials"),
        Event::get("/v1/credentials/deploy").bearer(&world.token()),
        Event::get("/v1/nowhere"),
        Event::get("/v1/health"),
    ] {
        let answer = function.call(request.header("origin", ORIGIN)).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN), "{answer:?}");
        assert_eq!(list(&answer, "access-control-expose-headers"), ["retry-after", "www-authenticate"]);
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        assert_eq!(list(&answer, "vary"), ["origin"]);
    }
}

#[tokio::test]
async fn another_origin_is_told_nothing() {
    let world = World::new().await;
    let function = world.start().await;
    for origin in [
        "https://evil.example",
        "http://console.example.com",
        "https://console.example.com:443",
        "https://console.example.com/",
        "https://console.example.com.evil.example",
        "https://a.console.example.com",
        "https://Console.example.com",
        "null",
        "*",
        "",
    ] {
        let answer = function.call(preflight(origin)).await;
        assert_eq!(answer.status, 204, "{origin}: {answer:?}");
        assert!(cors_headers(&answer).is_empty(), "{origin}: {answer:?}");
        let answer = function.call(world.request().header("origin", origin)).await;
        answer.credentials();
        assert!(cors_headers(&answer).is_empty(), "{origin}: {answer:?}");
        assert_eq!(list(&answer, "vary"), ["origin"]);
    }
}

#[tokio::test]
async fn each_of_several_origins_is_answered_with_its_own_name() {
    let mut world = World::new().await;
    let origins = [
        "https://one.example.com",
        "http://localhost:5173",
        "capacitor://localhost",
        "ionic://localhost",
        "tauri://localhost",
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
    ];
    world.set("HALLPASS_ALLOWED_ORIGINS", &origins.join(","));
    let function = world.start().await;
    for origin in origins {
        for request in [world.request().header("origin", origin), preflight(origin)] {
            let answer = function.call(request).await;
            assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        }
    }
    // Also without a scheme of the web, the text is what counts.
    for origin in
        ["null", "capacitor://localhost:80", "capacitor://localhost/", "Capacitor://localhost", "app://localhost"]
    {
        let answer = function.call(preflight(origin)).await;
        assert!(cors_headers(&answer).is_empty(), "{origin}: {answer:?}");
    }
}

#[tokio::test]
async fn an_origin_that_is_almost_an_allowed_one_gets_no_cors_header() {
    let world = World::new().await;
    let function = world.start().await;
    for at in 0..ORIGIN.len() {
        let (start, rest) = ORIGIN.split_at(at);
        let (here, end) = rest.split_at(1);
        for instead in ["", "x", "*", "%2e", &here.repeat(2), &here.to_uppercase()] {
            let origin = format!("{start}{instead}{end}");
            if origin != ORIGIN {
                let answer = function.call(preflight(&origin)).await;
                assert_eq!(answer.status, 204, "{origin}: {answer:?}");
                assert!(cors_headers(&answer).is_empty(), "{origin}: {answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn without_configured_origins_there_is_no_cors() {
    let mut world = World::new().await;
    for empty in [true, false] {
        if empty {
            world.set("HALLPASS_ALLOWED_ORIGINS", "");
        } else {
            world.unset("HALLPASS_ALLOWED_ORIGINS");
        }
        let function = world.start().await;
        let answer = function.call(world.request().header("origin", ORIGIN)).await;
        answer.credentials();
        assert!(cors_headers(&answer).is_empty(), "{answer:?}");
    }
}

/// In order of the alphabet.
const ALLOWED_HEADERS: [&str; 13] = [
    "authorization",
    "baggage",
    "content-type",
    "dpop",
    "sentry-trace",
    "traceparent",
    "tracestate",
    "x-amzn-trace-id",
    "x-datadog-origin",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "x-datadog-tags",
    "x-datadog-trace-id",
];

fn preflight(origin: &str) -> Event {
    preflight_of("/v1/credentials", origin)
}

fn preflight_of(path: &str, origin: &str) -> Event {
    Event::new("OPTIONS", path).with(|event| {
        event["headers"]["origin"] = json!(origin);
        event["headers"]["access-control-request-method"] = json!("POST");
        event["headers"]["access-control-request-headers"] = json!("authorization,content-type");
    })
}

/// The members of a header that is a comma list, sorted.
fn list(answer: &Answer, name: &str) -> Vec<String> {
    let value = answer.header(name).unwrap_or_default().to_lowercase();
    let mut members: Vec<String> = value.split(',').map(|member| member.trim().to_owned()).collect();
    members.sort_unstable();
    members
}

fn cors_headers(answer: &Answer) -> Vec<&str> {
    answer.headers.keys().map(String::as_str).filter(|name| name.starts_with("access-control-")).collect()
}
