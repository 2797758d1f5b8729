//! The main job: a token in, credentials out.

use serde_json::json;

use hallpass_testing::aws::sts;
use hallpass_testing::clock;
use hallpass_testing::events::Event;
use hallpass_testing::world::World;

#[tokio::test]
async fn a_valid_token_gets_credentials_with_exactly_the_documented_members() {
    let world = World::new().await;
    let function = world.start().await;
    let asked = clock::now();
    let mut credentials = function.call(world.request()).await.credentials();
    let mint = world.sts.only_mint();
    let name = mint.name();

    let expiration = credentials["Expiration"].take();
    let promised = (asked..=clock::now()).map(|now| clock::rfc3339(now + 3600)).collect::<Vec<_>>();
    assert!(promised.iter().any(|time| *time == expiration), "{expiration} is none of {promised:?}");
    assert_eq!(
        credentials,
        json!({
            "Version": 1,
            "AccessKeyId": sts::access_key_id(0),
            "SecretAccessKey": sts::SESSION_SECRET,
            "SessionToken": sts::SESSION_TOKEN,
            "Token": sts::SESSION_TOKEN,
            "Expiration": null,
            "AccountId": sts::ACCOUNT,
            "FederatedUser": {
                "Arn": format!("arn:aws:sts::{}:federated-user/{name}", sts::ACCOUNT),
                "FederatedUserId": format!("{}:{name}", sts::ACCOUNT),
            },
            "Grant": "default",
            "PackedPolicySize": sts::PACKED_POLICY_SIZE,
        })
    );
}

#[tokio::test]
async fn a_post_gets_what_a_get_does() {
    let world = World::new().await;
    let function = world.start().await;
    let token = world.token();
    let bare = Event::post("/v1/credentials").bearer(&token);
    let asking = bare.clone().json(&json!({"grant": "default", "duration": 900}));
    for request in [bare, asking] {
        assert_eq!(function.call(request).await.credentials()["Grant"], "default");
    }
    let durations: Vec<u64> = world.sts.mints().iter().map(sts::Mint::duration).collect();
    assert_eq!(durations, [3600, 900]);
}

#[tokio::test]
async fn the_grant_asked_for_is_the_one_given() {
    let world = World::new().await;
    world.dynamodb.grant("corp/group/deployers", "deploy", &json!({"max_duration": 7200, "duration": 1800}));
    let function = world.start().await;
    let answer = function.call(world.request().query("grant=deploy")).await;
    assert_eq!(answer.credentials()["Grant"], "deploy");
    assert_eq!(world.sts.only_mint().duration(), 1800);
}

#[tokio::test]
async fn the_grant_of_the_path_is_the_one_given() {
    let world = World::new().await;
    world.dynamodb.grant("corp/group/deployers", "deploy", &json!({"max_duration": 7200, "duration": 1800}));
    let function = world.start().await;
    let path = "/v1/credentials/deploy";
    // The first as it arrives from SDK versions that drop the query.
    for request in [
        Event::get(path),
        Event::get(path).query("duration=901"),
        Event::post(path),
        Event::post(path).query("duration=902"),
        Event::post(path).json(&json!({"duration": 903})),
    ] {
        let credentials = function.call(request.bearer(&world.token())).await.credentials();
        assert_eq!(credentials["Grant"], "deploy");
    }
    let durations: Vec<u64> = world.sts.mints().iter().map(sts::Mint::duration).collect();
    assert_eq!(durations, [1800, 901, 1800, 902, 903]);
    let ended = function.end().await;
    assert!(ended.audit("outcome").iter().all(|outcome| outcome["grant"] == "deploy"), "{}", ended.log);
}

#[tokio::test]
async fn the_grant_is_read_from_the_path_that_was_routed_and_nowhere_else() {
    let world = World::new().await;
    for grant in ["deploy", "v1"] {
        world.dynamodb.grant("corp/user/carol", grant, &json!({}));
    }
    let function = world.start().await;
    let request = || Event::get("/v1/credentials/deploy").bearer(&world.token());
    for path in [
        "/prod/v1/credentials/deploy",
        "/a/b/v1/credentials/deploy",
        "/v1/v1/credentials/deploy",
        // A base path that looks like the route.
        "/v1/credentials/v1/credentials/deploy",
        "/v1/credentials/v1/v1/credentials/deploy",
    ] {
        let mapped = request().with(|event| event["rawPath"] = json!(path));
        assert_eq!(function.call(mapped.clone()).await.credentials()["Grant"], "deploy", "{path}");
        let unnamed = mapped.clone().with(|event| event["routeKey"] = json!("$default"));
        function.call(unnamed).await.refusal(404, "not_found");
        let named_otherwise = mapped.with(|event| event["routeKey"] = json!("GET /v1/credentials"));
        function.call(named_otherwise).await.refusal(404, "not_found");
    }
    let staged = request().with(|event| {
        event["rawPath"] = json!("/prod/v1/credentials/deploy");
        event["routeKey"] = json!("$default");
        event["requestContext"]["stage"] = json!("prod");
    });
    assert_eq!(function.call(staged).await.credentials()["Grant"], "deploy");
    for parameters in [json!({"grant": "v1"}), json!({"grant": "%76%31", "proxy": "v1"}), json!(null)] {
        let misled = request().with(|event| {
            event["pathParameters"] = parameters.clone();
            event["requestContext"]["http"]["path"] = json!("/v1/credentials/v1");
        });
        assert_eq!(function.call(misled).await.credentials()["Grant"], "deploy");
    }
}

#[tokio::test]
async fn a_token_comes_with_its_scheme_in_any_case_or_without() {
    let world = World::new().await;
    let function = world.start().await;
    let token = world.token();
    for authorization in [format!("Bearer {token}"), format!("bearer {token}"), format!("BEARER {token}"), token] {
        let request = Event::get("/v1/credentials").header("authorization", &authorization);
        function.call(request).await.credentials();
    }
}

#[tokio::test]
async fn a_stage_before_the_path_is_no_part_of_it() {
    let world = World::new().await;
    let function = world.start().await;
    let staged = world.request().with(|event| {
        event["rawPath"] = json!("/prod/v1/credentials");
        event["requestContext"]["stage"] = json!("prod");
    });
    function.call(staged).await.credentials();
    let unstaged = world.request().with(|event| {
        event["rawPath"] = json!("/prod/v1/credentials");
        event["routeKey"] = json!("$default");
    });
    function.call(unstaged).await.refusal(404, "not_found");
}

#[tokio::test]
async fn health_tells_the_version_without_a_token() {
    let world = World::new().await;
    let function = world.start().await;
    let answer = function.call(Event::get("/v1/health")).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
    assert_eq!(answer.json()["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn health_can_be_asked_for_without_its_body() {
    let world = World::new().await;
    let function = world.start().await;
    let [head, get] = ["HEAD", "GET"].map(|method| Event::new(method, "/v1/health"));
    let (head, get) = (function.call(head).await, function.call(get).await);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.headers, get.headers);
}

#[tokio::test]
async fn no_answer_of_success_has_a_code() {
    let world = World::new().await;
    let function = world.start().await;
    for request in [
        world.request(),
        Event::get("/v1/credentials/default").bearer(&world.token()),
        Event::get("/v1/grants").bearer(&world.token()),
        Event::get("/v1/health"),
    ] {
        let answer = function.call(request).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        for member in answer.json().as_object().unwrap().keys() {
            let member = member.to_lowercase();
            assert!(member != "code" && member != "message", "the Rust SDK takes this for an error: {answer:?}");
        }
    }
}
