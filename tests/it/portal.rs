//! What browsers get from the function itself.

use serde_json::json;

use hallpass_testing::answer::Answer;
use hallpass_testing::events::{DOMAIN, Event};
use hallpass_testing::provider::Provider;
use hallpass_testing::server::{Fault, Reply};
use hallpass_testing::world::{ORIGIN, World};

const FILES: [(&str, &str); 3] = [
    ("/", "text/html; charset=utf-8"),
    ("/portal/style.css", "text/css; charset=utf-8"),
    ("/portal/portal.js", "text/javascript; charset=utf-8"),
];

/// A world whose issuer has a client for web pages.
async fn with_portal() -> World {
    let mut world = World::new().await;
    world.trust_with(&json!({"browser": {"client_id": "hallpass-portal"}}));
    world.provider.publish_discovery(&discovery(&world.provider, "/token"));
    world
}

fn discovery(provider: &Provider, token_endpoint: &str) -> serde_json::Value {
    let issuer = provider.issuer();
    let token_endpoint =
        if token_endpoint.starts_with('/') { format!("{issuer}{token_endpoint}") } else { token_endpoint.to_owned() };
    json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys"), "token_endpoint": token_endpoint})
}

fn policy(connect: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' {connect}; \
        base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    )
}

/// Asserts that this is a file of the portal, with the headers that all of them have.
fn served(answer: &Answer, media_type: &str, connect: &str) {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(media_type)), "{answer:?}");
    described(answer, connect);
}

fn described(answer: &Answer, connect: &str) {
    let etag = answer.header("etag").unwrap();
    assert!(etag.len() == 66 && etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    for (name, value) in [
        ("cache-control", Some("public, max-age=300")),
        ("content-security-policy", Some(policy(connect).as_str())),
        ("referrer-policy", Some("no-referrer")),
        ("x-content-type-options", Some("nosniff")),
        ("cross-origin-opener-policy", Some("same-origin")),
        ("vary", None),
        ("access-control-allow-origin", None),
        ("set-cookie", None),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
}

#[tokio::test]
async fn everyone_gets_the_page_and_what_it_loads() {
    let world = with_portal().await;
    let function = world.start().await;
    let issuer = world.provider.issuer();
    for (path, media_type) in FILES {
        let answer = function.call(Event::get(path)).await;
        served(&answer, media_type, &issuer);
        assert!(!answer.body.is_empty());
        // Nothing that a client sends with it changes anything.
        for request in [
            Event::get(path).bearer(&world.token()),
            Event::get(path).bearer("garbage"),
            Event::get(path).query("code=x&state=y"),
            Event::get(path).header("origin", ORIGIN),
            Event::get(path).header("host", "evil.example"),
            Event::get(path).header("if-none-match", "\"other\""),
        ] {
            let again = function.call(request).await;
            assert_eq!((&again.body, &again.headers), (&answer.body, &answer.headers));
        }
        let head = function.call(Event::new("HEAD", path)).await;
        assert_eq!((head.status, head.body.as_str(), &head.headers), (200, "", &answer.headers));
    }
    assert!(world.dynamodb.batches().is_empty());
    let outcomes = function.end().await.audit("outcome");
    assert!(outcomes.iter().all(|outcome| outcome["code"] == "served" && outcome["status"] == 200), "{outcomes:?}");
    // Discovery was read with the keys, and not again.
    assert_eq!(world.provider.server.calls().len(), 2);
}

#[tokio::test]
async fn a_file_that_the_browser_holds_is_not_sent_again() {
    let world = with_portal().await;
    let function = world.start().await;
    for (path, _) in FILES {
        let answer = function.call(Event::get(path)).await;
        let etag = answer.header("etag").unwrap();
        for held in [etag.to_owned(), format!("W/{etag}"), format!("\"a\", {etag}")] {
            for method in ["GET", "HEAD"] {
                let unchanged = function.call(Event::new(method, path).header("if-none-match", &held)).await;
                assert_eq!((unchanged.status, unchanged.body.as_str()), (304, ""), "{unchanged:?}");
                // A browser keeps what it holds, with these headers: the policy may be another one by now.
                described(&unchanged, &world.provider.issuer());
                assert_eq!(unchanged.header("etag"), Some(etag));
            }
        }
    }
    let outcomes = function.end().await.audit("outcome");
    assert_eq!(
        outcomes.iter().filter(|outcome| outcome["code"] == "unchanged" && outcome["status"] == 304).count(),
        18
    );
}

#[tokio::test]
async fn there_is_no_portal_without_a_client_for_it() {
    let mut world = World::new().await;
    for terms in [json!({}), json!({"cli": {"client_id": "hallpass-cli"}}), json!({"browser": null})] {
        world.trust_with(&terms);
        let function = world.start().await;
        for (path, _) in FILES {
            for method in ["GET", "HEAD", "POST", "OPTIONS"] {
                function.call(Event::new(method, path)).await.refusal(404, "not_found");
            }
        }
        let staged = Event::get("/prod").with(|event| event["requestContext"]["stage"] = json!("prod"));
        function.call(staged).await.refusal(404, "not_found");
    }
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let world = with_portal().await;
    let function = world.start().await;
    for (path, _) in FILES {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
            let answer = function.call(Event::new(method, path)).await;
            answer.refusal(405, "method_not_allowed");
            assert_eq!(answer.header("allow"), Some("GET, HEAD"));
        }
    }
    for path in [
        "//",
        "/index.html",
        "/portal",
        "/portal/",
        "/portal/index.html",
        "/portal/Style.css",
        "/portal/style.css/",
        "/portal/style.css/x",
        "/portal//style.css",
        "/portal/./style.css",
        "/portal/%73tyle.css",
        "/portal/style%2ecss",
        "/portal/../Cargo.toml",
        "/portal/..%2fCargo.toml",
        "/portal/%2e%2e",
        "/portal/style.css%00",
        "/portal/\0",
        "/portal/style.css.map",
        "/Portal/style.css",
        "/favicon.ico",
        "/style.css",
    ] {
        for method in ["GET", "POST"] {
            function.call(Event::new(method, path)).await.refusal(404, "not_found");
        }
    }
}

#[tokio::test]
async fn behind_a_stage_or_a_base_path_the_page_is_at_the_final_slash() {
    let world = with_portal().await;
    let function = world.start().await;
    let issuer = world.provider.issuer();
    let at = |path: &str, key: &str, stage: &str| {
        Event::get(path).with(|event| {
            event["routeKey"] = json!(key);
            event["requestContext"]["stage"] = json!(stage);
        })
    };
    for (path, key, stage, media_type) in [
        ("/prod/", "$default", "prod", FILES[0].1),
        ("/prod/", "GET /", "prod", FILES[0].1),
        ("/prod/portal/style.css", "GET /portal/{file}", "prod", FILES[1].1),
        ("/prod/portal/style.css", "$default", "prod", FILES[1].1),
        ("/tools/hallpass/", "GET /", "$default", FILES[0].1),
        ("/tools/hallpass/portal/portal.js", "GET /portal/{file}", "$default", FILES[2].1),
    ] {
        served(&function.call(at(path, key, stage)).await, media_type, &issuer);
    }
    for (path, key, stage, location) in [
        ("/prod", "$default", "prod", "./prod/"),
        ("/prod", "GET /", "prod", "./prod/"),
        ("/tools/hallpass", "GET /", "$default", "./hallpass/"),
    ] {
        let answer = function.call(at(path, key, stage)).await;
        assert_eq!((answer.status, answer.header("location"), answer.body.as_str()), (308, Some(location), ""));
        assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
        assert_eq!((answer.header("vary"), answer.header("access-control-allow-origin")), (None, None));
    }
    for (path, key, stage) in [
        ("/prod", "$default", "$default"),
        ("/tools/evil.example:443", "GET /", "$default"),
        ("/tools/javascript:x", "GET /", "$default"),
        ("/tools/a b", "GET /", "$default"),
        ("/tools/\\evil.example", "GET /", "$default"),
    ] {
        function.call(at(path, key, stage)).await.refusal(404, "not_found");
    }
    let posted =
        at("/prod", "$default", "prod").with(|event| event["requestContext"]["http"]["method"] = json!("POST"));
    function.call(posted).await.refusal(404, "not_found");
    let outcomes = function.end().await.audit("outcome");
    assert_eq!(
        outcomes.iter().filter(|outcome| outcome["code"] == "redirected" && outcome["status"] == 308).count(),
        3
    );
}

#[tokio::test]
async fn the_page_may_connect_to_the_issuers_with_a_client_for_it_and_to_their_token_endpoints() {
    let elsewhere = Provider::start(&[]).await;
    for (token_endpoint, also) in [
        ("/token".to_owned(), None),
        (format!("{}/oauth2/token?x=y", elsewhere.issuer()), Some(elsewhere.issuer())),
        ("https://Token.example.com:443/t".to_owned(), Some("https://token.example.com".to_owned())),
        // What must not stand in the header, or may not be asked.
        ("https://token.example.com;script-src".to_owned(), None),
        ("https://a,b.example/".to_owned(), None),
        ("https://*.example.com/".to_owned(), None),
        ("https://user:secret@token.example.com/".to_owned(), None),
        ("javascript:alert(1)".to_owned(), None),
        ("data:text/plain,x".to_owned(), None),
        ("http://token.example.com/".to_owned(), None),
        ("x".to_owned(), None),
    ] {
        let world = with_portal().await;
        world.provider.publish_discovery(&discovery(&world.provider, &token_endpoint));
        let function = world.start().await;
        let issuer = world.provider.issuer();
        let connect = also.map_or_else(|| issuer.clone(), |also| format!("{issuer} {also}"));
        served(&function.call(Event::get("/")).await, FILES[0].1, &connect);
    }
}

#[tokio::test]
async fn an_issuer_with_a_path_is_named_by_its_origin_and_one_without_a_client_is_not() {
    let mut world = World::new().await;
    world.provider.publish_below("realm", &json!({"keys": [world.key.jwk()]}));
    let origin = world.provider.issuer();
    let below = format!("{origin}/realm");
    let issuer = |id: &str, url: &str| json!({"id": id, "issuer": url, "audiences": ["hallpass"], "browser": {"client_id": "p"}});
    let machines = Provider::start(&[&world.key]).await;
    let machines = json!({"id": "ci", "issuer": machines.issuer(), "audiences": ["hallpass"]});
    world.trust(&[issuer("corp", &origin), issuer("realm", &below), machines]);
    let function = world.start().await;
    served(&function.call(Event::get("/")).await, FILES[0].1, &origin);
}

#[tokio::test]
async fn where_the_keys_are_configured_discovery_is_read_for_the_page_alone_and_once() {
    let elsewhere = Provider::start(&[]).await;
    let mut world = World::new().await;
    let issuer = world.provider.issuer();
    world.provider.publish_discovery(&discovery(&world.provider, &format!("{}/token", elsewhere.issuer())));
    world.trust_with(&json!({
        "jwks_uri": format!("{issuer}/keys"), "browser": {"client_id": "p"}, "insecure_http": true,
    }));
    let function = world.start().await;
    let discoveries = || world.provider.server.calls().iter().filter(|call| call.path.contains("well-known")).count();
    function.call(world.request()).await.credentials();
    assert_eq!(discoveries(), 0);
    for _ in 0..3 {
        let answer = function.call(Event::get("/")).await;
        served(&answer, FILES[0].1, &format!("{issuer} {}", elsewhere.issuer()));
    }
    assert_eq!(discoveries(), 1);
}

#[tokio::test]
async fn a_provider_that_is_down_costs_the_page_its_token_endpoint_and_nothing_else() {
    let world = with_portal().await;
    let elsewhere = Provider::start(&[]).await;
    world.provider.publish_discovery(&discovery(&world.provider, &format!("{}/token", elsewhere.issuer())));
    for fault in [Fault::Hangs, Fault::Answers(Reply::new(404, "text/plain", "no"))] {
        world.provider.server.fail_always(&fault);
        let function = world.start().await;
        for (path, media_type) in FILES {
            let answer = function.call(Event::get(path)).await;
            served(&answer, media_type, &world.provider.issuer());
            assert!(answer.took.as_millis() < 1_500, "{:?}", answer.took);
        }
        world.provider.server.heal();
        world.provider.server.release();
        let log = function.end().await.log;
        assert!(log.contains("the portal may not connect there"), "{log}");
    }
}

#[tokio::test]
async fn the_url_of_the_function_is_in_no_file() {
    let mut world = with_portal().await;
    world.set("HALLPASS_PUBLIC_URL", "https://hallpass.example.com/x");
    let function = world.start().await;
    for (path, _) in FILES {
        let body = function.call(Event::get(path)).await.body;
        assert!(!body.contains(DOMAIN) && !body.contains("hallpass.example.com"), "{path}");
    }
}
