//! What the function says of itself, and to whom.

use serde_json::{Value, json};

use hallpass_testing::answer::Answer;
use hallpass_testing::events::{DOMAIN, Event};
use hallpass_testing::world::{ORIGIN, World};

use super::start::refused;

const PATH: &str = "/.well-known/oauth-protected-resource";

#[tokio::test]
async fn everyone_may_read_where_to_sign_in() {
    let world = World::new().await;
    let function = world.start().await;
    let answer = function.call(Event::get(PATH)).await;
    let body = json!({
        "resource": format!("https://{DOMAIN}"),
        "authorization_servers": [world.provider.issuer()],
        "bearer_methods_supported": ["header"],
        "resource_name": "Hallpass",
        "hallpass_clients": {"cli": [], "browser": []},
    });
    assert_eq!(described(&answer), body);
    // Nothing that a client sends with it changes anything, or costs a call.
    for request in [
        Event::get(PATH).bearer(&world.token()),
        Event::get(PATH).bearer("garbage"),
        Event::get(PATH).query("grant=deploy"),
        Event::get(PATH).header("host", "evil.example"),
        Event::get(PATH).header("x-forwarded-host", "evil.example"),
        Event::get(PATH).header("forwarded", "host=evil.example"),
    ] {
        let again = function.call(request).await;
        assert_eq!((again.body, again.headers), (answer.body.clone(), answer.headers.clone()));
    }
    assert!(world.dynamodb.batches().is_empty());
    let outcomes = function.end().await.audit("outcome");
    assert!(outcomes.iter().all(|outcome| outcome["code"] == "described" && outcome["status"] == 200), "{outcomes:?}");
}

#[tokio::test]
async fn a_client_is_told_as_it_is_configured_and_an_issuer_without_one_is_told_too() {
    let mut world = World::new().await;
    let mut corp = world.issuer();
    corp["cli"] = json!({
        "client_id": "hallpass-cli",
        "scope": "openid offline_access",
        "token": "id_token",
        "parameters": {"audience": "hallpass", "prompt": "consent"},
        "redirect_uri": "http://localhost:8250/callback",
    });
    corp["browser"] = json!({"client_id": "hallpass-portal"});
    let partner = json!({
        "id": "partner", "issuer": "https://partner.example.com/", "audiences": ["hallpass"], "cli": {"client_id": "c"},
    });
    let machines = json!({"id": "ci", "issuer": "https://ci.example.com", "audiences": ["hallpass"], "cli": null});
    world.trust(&[corp.clone(), partner, machines]);
    let function = world.spawn().await;
    let answer = function.call(Event::get(PATH)).await;
    let issuer = world.provider.issuer();
    let body = described(&answer);
    let servers = json!([issuer, "https://partner.example.com/", "https://ci.example.com"]);
    assert_eq!(body["authorization_servers"], servers);
    let mut cli = corp["cli"].clone();
    (cli["issuer_id"], cli["issuer"]) = (json!("corp"), json!(issuer));
    let partner = json!({
        "issuer_id": "partner",
        "issuer": "https://partner.example.com/",
        "client_id": "c",
        "scope": "openid",
        "token": "access_token",
        "parameters": {},
        "redirect_uri": "http://127.0.0.1/callback",
    });
    let browser = json!({
        "issuer_id": "corp",
        "issuer": issuer,
        "client_id": "hallpass-portal",
        "scope": "openid",
        "token": "access_token",
        "parameters": {},
    });
    assert_eq!(body["hallpass_clients"], json!({"cli": [cli, partner], "browser": [browser]}));
}

#[tokio::test]
async fn a_head_has_the_headers_and_no_body() {
    let world = World::new().await;
    let function = world.start().await;
    let get = function.call(Event::get(PATH)).await;
    let head = function.call(Event::new("HEAD", PATH)).await;
    assert_eq!((head.status, head.body.as_str(), &head.headers), (200, "", &get.headers));
}

#[tokio::test]
async fn a_page_of_any_origin_may_read_it_and_nothing_else() {
    let mut world = World::new().await;
    for origins in [ORIGIN, ""] {
        world.set("HALLPASS_ALLOWED_ORIGINS", origins);
        let function = world.start().await;
        for origin in [ORIGIN, "https://elsewhere.example", "null"] {
            let answer = function.call(Event::get(PATH).header("origin", origin)).await;
            described(&answer);
            assert_eq!(answer.header("access-control-allow-credentials"), None);
            let preflight = Event::new("OPTIONS", PATH)
                .header("origin", origin)
                .header("access-control-request-method", "GET")
                .header("access-control-request-headers", "traceparent");
            let answer = function.call(preflight).await;
            assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("*")), "{origin}");
            assert!(answer.header("access-control-allow-headers").unwrap().contains("traceparent"));
        }
        for request in [Event::get("/v1/credentials"), Event::post(PATH), Event::get("/.well-known/other")] {
            let answer = function.call(request.header("origin", "https://elsewhere.example")).await;
            assert_eq!(answer.header("access-control-allow-origin"), None, "{answer:?}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let world = World::new().await;
    let function = world.start().await;
    for method in ["POST", "PUT", "DELETE"] {
        let answer = function.call(Event::new(method, PATH)).await;
        answer.refusal(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"));
    }
    for path in [
        "/.well-known/oauth-protected-resource/",
        "/.well-known/oauth-protected-resource/v1",
        "/.well-known/Oauth-protected-resource",
        "/.well-known/oauth-protected-resource%2F",
        "/.well-known/openid-configuration",
        "/.well-known",
        "/x/.well-known/oauth-protected-resource",
    ] {
        let request = Event::get(path).with(|event| event["routeKey"] = json!("$default"));
        function.call(request).await.refusal(404, "not_found");
    }
}

#[tokio::test]
async fn the_operator_names_the_url() {
    let mut world = World::new().await;
    for (url, resource, metadata) in [
        ("https://hallpass.example.com/", "https://hallpass.example.com", ""),
        ("https://example.com/hallpass", "https://example.com/hallpass", "/hallpass"),
        ("http://127.0.0.1:3000/lambda-url/broker", "http://127.0.0.1:3000/lambda-url/broker", "/lambda-url/broker"),
    ] {
        world.set("HALLPASS_PUBLIC_URL", url);
        let function = world.start().await;
        // Both forms, and the one behind the prefix as a gateway with a base path hands it over.
        let behind = format!("{metadata}{PATH}");
        let behind = Event::get(&behind).with(|event| event["routeKey"] = json!(format!("GET {PATH}")));
        for request in [Event::get(PATH), Event::get(&format!("{PATH}{metadata}")), behind] {
            assert_eq!(described(&function.call(request).await)["resource"], resource);
        }
        let host = resource.strip_suffix(metadata).unwrap();
        let challenge = format!("resource_metadata=\"{host}{PATH}{metadata}\"");
        for (request, told) in [
            (Event::get("/v1/credentials"), format!("Bearer {challenge}")),
            (Event::get("/v1/grants"), format!("Bearer {challenge}")),
            (Event::get("/v1/credentials").bearer("x"), format!("Bearer error=\"invalid_token\", {challenge}")),
        ] {
            let answer = function.call(request).await;
            assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some(told.as_str())));
        }
    }
}

#[tokio::test]
async fn behind_a_stage_it_has_the_stages_path() {
    let world = World::new().await;
    let function = world.start().await;
    let on_stage = |path: &str, key: &str| {
        Event::get(path).with(|event| {
            event["requestContext"]["stage"] = json!("prod");
            event["routeKey"] = json!(key);
        })
    };
    let key = format!("GET {PATH}");
    for (path, key) in [
        (format!("/prod{PATH}"), key.as_str()),
        (format!("/prod{PATH}"), "$default"),
        (format!("{PATH}/prod"), "$default"),
        (PATH.to_owned(), key.as_str()),
    ] {
        let answer = function.call(on_stage(&path, key)).await;
        assert_eq!(described(&answer)["resource"], format!("https://{DOMAIN}/prod"), "{path}");
    }
    let answer = function.call(on_stage("/prod/v1/credentials", "GET /v1/credentials")).await;
    let challenge = format!("Bearer resource_metadata=\"https://{DOMAIN}{PATH}/prod\"");
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some(challenge.as_str())));
}

#[tokio::test]
async fn without_a_domain_there_is_no_url_to_name() {
    let world = World::new().await;
    let function = world.start().await;
    for domain in [json!(null), json!(""), json!("a\"b"), json!("a b"), json!("evil@a.example"), json!("a?b")] {
        let change = |event: &mut Value| event["requestContext"]["domainName"] = domain.clone();
        function.call(Event::get(PATH).with(change)).await.refusal(400, "invalid_request");
        let answer = function.call(Event::get("/v1/credentials").with(change)).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{domain}");
    }
}

#[tokio::test]
async fn a_public_url_that_is_none_stops_the_start() {
    for url in
        ["hallpass.example.com", "http://hallpass.example.com", "https://hallpass.example.com/?x", "https://A.example"]
    {
        let mut world = World::new().await;
        world.set("HALLPASS_PUBLIC_URL", url);
        refused(world.spawn().await, &["HALLPASS_PUBLIC_URL must be an https URL"]).await;
    }
    let mut world = World::new().await;
    world.set("HALLPASS_PUBLIC_URL", "https://carol:hunter2@hallpass.example.com");
    refused(world.spawn().await, &["HALLPASS_PUBLIC_URL", "`…@hallpass.example.com`"]).await;
}

/// Asserts that this is the metadata, as everyone gets it, and returns its body.
fn described(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("vary"), None);
    answer.json()
}
