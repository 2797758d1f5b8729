//! What a request may look like, and what one that does not is told.

use serde_json::json;

use hallpass_testing::events::Event;
use hallpass_testing::world::World;

/// The most bytes of a body.
const BODY_LIMIT: usize = 16 * 1024;

#[tokio::test]
async fn a_request_without_a_token_is_challenged() {
    let world = World::new().await;
    let function = world.start().await;
    let token = world.token();
    let request = Event::get("/v1/credentials");
    for request in [
        request.clone(),
        request.clone().header("authorization", "Basic Y2Fyb2w6aHVudGVyMg=="),
        request.clone().header("authorization", &format!("Negotiate {token}")),
        request.clone().header("x-authorization", &format!("Bearer {token}")),
        request.clone().header("cookie", &format!("token={token}")),
        request.clone().with(|event| event["cookies"] = json!([format!("authorization={token}")])),
        request.clone().query(&format!("access_token={token}")),
        Event::post("/v1/credentials").json(&json!({ "token": token })),
    ] {
        function.call(request).await.refusal(401, "token_missing");
    }
}

#[tokio::test]
async fn an_authorization_that_holds_more_than_one_token_is_refused() {
    let world = World::new().await;
    let function = world.start().await;
    let token = world.token();
    for authorization in [format!("Bearer {token}, Bearer {token}"), format!("{token},{token}")] {
        let request = Event::get("/v1/credentials").header("authorization", &authorization);
        function.call(request).await.refusal(401, "invalid_token");
    }
}

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let world = World::new().await;
    let function = world.start().await;
    for path in [
        "/",
        "/v1",
        "/v2/credentials",
        "/credentials",
        "/v1/credentials/",
        "/v1/credentials//",
        "/v1/credentials/deploy/",
        "/v1/credentials/deploy/x",
        "/v1/credentials/../health",
        "/v1/credentials/deploy/../default",
        "/v1/grants/deploy",
        "/v1/console/",
        "/v1/console/deploy",
        "/v1/health/deploy",
        "/v1/Credentials",
        "//v1/credentials",
        "/v1/./credentials",
        "/v1/../v1/credentials",
        "/v1/x/%2e%2e/credentials",
        "/v1/%63redentials",
        "/v1/healthy",
    ] {
        let request = Event::get(path).bearer(&world.token());
        let answer = function.call(request).await;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
        answer.refusal(404, "not_found");
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let world = World::new().await;
    let function = world.start().await;
    for (path, methods, allowed) in [
        ("/v1/credentials", ["PUT", "DELETE", "PATCH", "HEAD", "TRACE"].as_slice(), ["GET", "POST"].as_slice()),
        ("/v1/credentials/deploy", &["PUT", "DELETE", "PATCH", "HEAD", "TRACE"], &["GET", "POST"]),
        ("/v1/grants", &["POST", "PUT", "DELETE", "PATCH", "HEAD"], &["GET"]),
        ("/v1/console", &["GET", "PUT", "DELETE", "PATCH", "HEAD"], &["POST"]),
        ("/v1/health", &["POST", "PUT", "DELETE", "PATCH"], &["GET", "HEAD"]),
    ] {
        for method in methods {
            let answer = function.call(Event::new(method, path)).await;
            answer.refusal(405, "method_not_allowed");
            let allow: Vec<&str> = answer.header("allow").unwrap().split(", ").collect();
            assert!(allowed.iter().all(|method| allow.contains(method)), "{method} {path}: {allow:?}");
            assert!(!allow.contains(method), "{method} {path}: {allow:?}");
        }
    }
}

#[tokio::test]
async fn a_parameter_that_is_unknown_repeated_or_out_of_its_grammar_is_refused() {
    let world = World::new().await;
    let function = world.start().await;
    for query in [
        "grants=default",
        "Grant=default",
        "x",
        "grant=default&grant=default",
        "duration=900&duration=900",
        "grant=default&debug=1",
        "grant=",
        "grant=Default",
        "grant=-default",
        "grant=%23blocked",
        "grant=a%2Fb",
        "grant=d%C3%A9ploy",
        "grant=default%00",
        "grant=%64efault%0a",
        "grant=default%",
        "grant=%FF",
        "duration=",
        "duration=899",
        "duration=129601",
        "duration=0",
        "duration=-900",
        "duration=%2B900",
        "duration=+900",
        "duration=900.0",
        "duration=9e2",
        "duration=0x384",
        "duration=900s",
        "duration=%20900",
        "duration=18446744073709552516",
        "duration=%D9%A9%D9%A0%D9%A0",
    ] {
        let answer = function.call(world.request().query(query)).await;
        assert_eq!(answer.status, 400, "{query}: {answer:?}");
        answer.refusal(400, "invalid_request");
    }
    let longest = "a".repeat(64);
    function.call(world.request().query(&format!("grant={longest}"))).await.refusal(403, "access_denied");
    function.call(world.request().query(&format!("grant={longest}a"))).await.refusal(400, "invalid_request");
    assert!(world.sts.mints().is_empty());
}

#[tokio::test]
async fn a_grant_of_the_path_that_is_outside_its_grammar_is_refused() {
    let world = World::new().await;
    let function = world.start().await;
    let at = |grant: &str| Event::get(&format!("/v1/credentials/{grant}")).bearer(&world.token());
    for grant in [
        "Default",
        "-default",
        ".",
        "..",
        "%64efault",
        "default%20",
        "default%2Fx",
        "default%00",
        "default;x",
        "default,default",
        "default ",
        "default\u{0}",
        "#blocked",
        "%23blocked",
        "{grant}",
        "d\u{e9}fault",
    ] {
        let answer = function.call(at(grant)).await;
        assert_eq!(answer.status, 400, "{grant}: {answer:?}");
        answer.refusal(400, "invalid_request");
    }
    let longest = "a".repeat(64);
    function.call(at(&longest)).await.refusal(403, "access_denied");
    function.call(at(&format!("{longest}a"))).await.refusal(400, "invalid_request");
    assert!(world.sts.mints().is_empty());
    function.call(at("default")).await.credentials();
}

#[tokio::test]
async fn another_grant_than_the_one_of_the_path_is_refused() {
    let world = World::new().await;
    world.dynamodb.grant("corp/user/carol", "deploy", &json!({}));
    let function = world.start().await;
    let get = || Event::get("/v1/credentials/deploy").bearer(&world.token());
    let post = || Event::post("/v1/credentials/deploy").bearer(&world.token());
    for request in [
        get().query("grant=default"),
        get().query("duration=900&grant=default"),
        get().query("grant=Deploy"),
        post().query("grant=default"),
        post().json(&json!({"grant": "default"})),
        post().json(&json!({"grant": "default", "duration": 900})),
        post().json_in_base64(b"{\"grant\":\"default\"}"),
    ] {
        function.call(request).await.refusal(400, "invalid_request");
    }
    assert!(world.sts.mints().is_empty());
    for request in [
        get().query("grant=deploy"),
        get().query("grant=%64eploy"),
        post().query("grant=deploy"),
        post().json(&json!({"grant": "deploy"})),
    ] {
        assert_eq!(function.call(request).await.credentials()["Grant"], "deploy");
    }
}

#[tokio::test]
async fn an_escaped_parameter_is_what_it_stands_for() {
    let world = World::new().await;
    let function = world.start().await;
    let request = world.request().query("grant=%64efault&duration=9%300");
    function.call(request).await.credentials();
    assert_eq!(world.sts.only_mint().duration(), 900);
}

#[tokio::test]
async fn a_body_is_one_json_object_of_known_members() {
    let world = World::new().await;
    let function = world.start().await;
    let request = || Event::post("/v1/credentials").bearer(&world.token()).header("content-type", "application/json");
    for body in [
        "{",
        "[]",
        "7",
        "\"default\"",
        "[\"default\",900]",
        "{\"grant\":\"default\",\"grant\":\"default\"}",
        "{\"grant\":\"default\"} {}",
        "{\"grant\":\"default\",\"role\":\"admin\"}",
        "{\"Grant\":\"default\"}",
        "{\"grant\":7}",
        "{\"grant\":[\"default\"]}",
        "{\"grant\":\"Default\"}",
        "{\"grant\":\"#blocked\"}",
        "{\"duration\":\"900\"}",
        "{\"duration\":900.5}",
        "{\"duration\":899}",
        "{\"duration\":129601}",
        "{\"duration\":-900}",
        "{\"duration\":1e999}",
        "{\"grant\":\"\\ud800\"}",
        "\u{feff}{}",
        "grant=default",
    ] {
        let answer = function.call(request().body(body)).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        answer.refusal(400, "invalid_request");
    }
    function.call(request().body("{}")).await.credentials();
}

#[tokio::test]
async fn a_body_in_base64_is_read() {
    let world = World::new().await;
    let function = world.start().await;
    let request = || Event::post("/v1/credentials").bearer(&world.token());
    function.call(request().json_in_base64(b"{\"duration\":901}")).await.credentials();
    assert_eq!(world.sts.only_mint().duration(), 901);
    function.call(request().json_in_base64(b"{\"grant\":\"\xff\"}")).await.refusal(400, "invalid_request");
    for body in ["not base64!", "e30", "e31=", "e30=\n", "e3 0="] {
        let request = request().json_in_base64(b"").with(|event| event["body"] = json!(body));
        let answer = function.call(request).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        answer.refusal(400, "invalid_request");
    }
}

#[tokio::test]
async fn a_body_of_another_media_type_is_refused() {
    let world = World::new().await;
    let function = world.start().await;
    let request = || Event::post("/v1/credentials").bearer(&world.token()).body("{}");
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json", ""] {
        let answer = function.call(request().header("content-type", media_type)).await;
        answer.refusal(415, "unsupported_media_type");
    }
    for media_type in ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"] {
        function.call(request().header("content-type", media_type)).await.credentials();
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_too_large() {
    let world = World::new().await;
    let function = world.start().await;
    let body = |length: usize| format!("{{}}{}", " ".repeat(length - 2));
    let request = || Event::post("/v1/credentials").bearer(&world.token()).header("content-type", "application/json");
    function.call(request().body(&body(BODY_LIMIT))).await.credentials();
    function.call(request().json_in_base64(body(BODY_LIMIT).as_bytes())).await.credentials();
    for length in [BODY_LIMIT + 1, 4 * 1024 * 1024] {
        function.call(request().body(&body(length))).await.refusal(413, "content_too_large");
        function.call(request().json_in_base64(body(length).as_bytes())).await.refusal(413, "content_too_large");
    }
}

#[tokio::test]
async fn parameters_come_in_one_place() {
    let world = World::new().await;
    let function = world.start().await;
    let both = Event::post("/v1/credentials").bearer(&world.token()).query("duration=900").json(&json!({}));
    function.call(both).await.refusal(400, "invalid_request");
    function.call(world.request().json(&json!({}))).await.refusal(400, "invalid_request");
    let query_of_post = Event::post("/v1/credentials").bearer(&world.token()).query("duration=902");
    function.call(query_of_post).await.credentials();
    assert_eq!(world.sts.only_mint().duration(), 902);
}

#[tokio::test]
async fn a_duration_over_the_grants_maximum_is_told_the_maximum() {
    let world = World::new().await;
    world.dynamodb.grant("corp/user/carol", "default", &json!({"max_duration": 5400}));
    let function = world.start().await;
    let message = function.call(world.request().query("duration=5401")).await.refusal(400, "invalid_request");
    assert!(message.contains("5400"), "{message}");
    function.call(world.request().query("duration=5400")).await.credentials();
    let message = function.call(world.request().query("duration=899")).await.refusal(400, "invalid_request");
    assert!(message.contains("900") && message.contains("129600"), "{message}");
}
