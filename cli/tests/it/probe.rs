//! What does an operator learn of a deployment, from outside and with a token?
//!
//! A stand-in for the function answers as `docs/api.md` says, but that it knows one token. What is asked of the real one,
//! and what is broken in its many ways, is tried on the local stack (`tests/e2e/test_probe.py`).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use tokio::time::timeout;

use hallpass_testing::aws::cloudformation::STACK;
use hallpass_testing::aws::sigv4::is_signed_with;
use hallpass_testing::operator::{Deployed, Run};
use hallpass_testing::provider::Provider;
use hallpass_testing::server::{Call, Fault, Handle, Reply, Server, lock};
use hallpass_testing::signer::TestKey;

const TOKEN: &str = "canary-header.canary-claims.canary-signature";
const ORIGIN: &str = "https://app.example.com";
const SECRET_KEY: &str = "canary-secret/EXAMPLE+KEY";

/// The stand-in. Its URL and its issuer are known once it listens.
#[derive(Debug, Default, Clone)]
struct Function(Arc<Mutex<Names>>);

#[derive(Debug, Default, Clone)]
struct Names {
    url: String,
    issuer: String,
    /// It believes every token for this audience, whoever signed it.
    believes: Option<&'static str>,
}

impl Handle for Function {
    async fn answer(&self, call: Call) -> Reply {
        let Names { url, issuer, believes } = lock(&self.0).clone();
        let allows = call.header("origin") == Some(ORIGIN);
        let is_believed = believes.is_some_and(|audience| claims(&call)["aud"] == audience);
        let reply = if is_believed { Reply::new(200, "application/json", "{}") } else { answer(&call, &url, &issuer) };
        if !allows {
            return reply;
        }
        reply
            .header("access-control-allow-origin", ORIGIN)
            .header("access-control-allow-methods", "GET, POST")
            .header("access-control-allow-headers", "Authorization, Content-Type")
    }
}

/// What the presented token says, if it is one.
fn claims(call: &Call) -> Value {
    let claims = call.header("authorization").and_then(|presented| presented.split('.').nth(1)).unwrap_or_default();
    let claims = BASE64URL_NOPAD.decode(claims.as_bytes()).unwrap_or_default();
    serde_json::from_slice(&claims).unwrap_or_default()
}

fn answer(call: &Call, url: &str, issuer: &str) -> Reply {
    let json = |status, body: Value| Reply::new(status, "application/json", body.to_string());
    let refuses = |status, code: &str| {
        json(status, json!({"code": code, "message": "no", "requestId": "r-1"})).header(
            "www-authenticate",
            format!("Bearer resource_metadata=\"{url}/.well-known/oauth-protected-resource\""),
        )
    };
    let path = call.path.as_str();
    if call.method == "OPTIONS" {
        return Reply::new(200, "text/plain", "");
    }
    match (path, call.header("authorization")) {
        ("/v1/health", _) => json(200, json!({"version": "0.1.0"})),
        ("/.well-known/oauth-protected-resource", _) => json(
            200,
            json!({
                "resource": url,
                "authorization_servers": [issuer],
                "bearer_methods_supported": ["header"],
                "resource_name": "Hallpass",
                "hallpass_clients": {"cli": [], "browser": []},
            }),
        ),
        (_, None) => refuses(401, "token_missing"),
        (_, Some(presented)) if presented != format!("Bearer {TOKEN}") => refuses(401, "invalid_token"),
        ("/v1/credentials/default?duration=900", _) => json(
            200,
            json!({
                "Version": 1,
                "AccessKeyId": "ASIAEXAMPLE",
                "SecretAccessKey": SECRET_KEY,
                "SessionToken": "canary-session",
                "Token": "canary-session",
                "Expiration": "2099-01-01T00:00:00Z",
                "AccountId": "111122223333",
                "FederatedUser": {"Arn": "arn:aws:sts::111122223333:federated-user/c", "FederatedUserId": "111122223333:c"},
                "Grant": "default",
                "PackedPolicySize": 6,
            }),
        ),
        _ => refuses(403, "access_denied"),
    }
}

/// S3, which knows one session, and has one object in another region.
#[derive(Debug)]
struct S3;

impl Handle for S3 {
    async fn answer(&self, call: Call) -> Reply {
        let is_known =
            is_signed_with(&call, SECRET_KEY) && call.header("x-amz-security-token") == Some("canary-session");
        let reply = |status| Reply::new(status, "application/xml", "");
        let is_there = call.header("authorization").is_some_and(|value| value.contains("/eu-west-3/s3/"));
        match call.path.as_str() {
            _ if !is_known => reply(403),
            "/acme-reports" | "/acme-reports/2026/q3%20%28final%29.csv" if is_there => reply(200),
            "/acme-reports" | "/acme-reports/2026/q3%20%28final%29.csv" => {
                reply(301).header("x-amz-bucket-region", "eu-west-3")
            }
            _ => reply(404),
        }
    }
}

struct World {
    function: Server,
    names: Function,
    provider: Provider,
    deployed: Deployed,
    token: PathBuf,
}

impl World {
    async fn new() -> Self {
        let provider = Provider::start(&[&TestKey::p256("key-1")]).await;
        let function = Function::default();
        let server = Server::start(function.clone()).await;
        *lock(&function.0) = Names { url: server.url(), issuer: provider.issuer(), believes: None };
        let mut deployed = Deployed::new().await;
        deployed.unset("HALLPASS_STACK");
        let unique = format!("token-{}-{:?}", std::process::id(), std::thread::current().id());
        let token = Path::new(env!("CARGO_TARGET_TMPDIR")).join(unique.replace(['(', ')'], ""));
        fs::write(&token, format!("{TOKEN}\n")).unwrap();
        Self { function: server, names: function, provider, deployed, token }
    }

    async fn probe(&self, arguments: &[&str]) -> (Run, Value) {
        let url = self.function.url();
        let run = self.deployed.run(&[&["probe", "--json", "--url", &url], arguments].concat()).await;
        assert!(!format!("{run:?}").contains("canary"), "{run:?}");
        let output = serde_json::from_str(&run.stdout).unwrap();
        (run, output)
    }
}

impl World {
    /// Probes with the token, where the metadata is of another URL.
    async fn probe_of(&self, url: &str) -> (Run, Value) {
        lock(&self.names.0).url = url.into();
        self.probe(&["--token-file", self.token.to_str().unwrap()]).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.token);
    }
}

/// The checks that found a problem.
fn problems(output: &Value) -> Vec<&str> {
    let checks = output["checks"].as_array().unwrap().iter();
    checks.filter(|check| check["status"] == "problem").map(|check| check["check"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn what_is_well_is_said_check_by_check_and_nothing_is_written() {
    let world = World::new().await;
    let (run, output) = world.probe(&["--origin", ORIGIN, "--token-file", world.token.to_str().unwrap()]).await;
    run.exits(0);
    assert_eq!(output["ok"], true);
    let told = |check: &Value| format!("{} {}", check["check"].as_str().unwrap(), check["status"].as_str().unwrap());
    let checks: Vec<String> = output["checks"].as_array().unwrap().iter().map(told).collect();
    let expected = [
        "health ok",
        "clock ok",
        "metadata ok",
        "issuers skipped",
        "provider ok",
        "cors ok",
        "refuses-no-token ok",
        "refuses-garbage ok",
        "refuses-alg-none ok",
        "stack skipped",
        "tables skipped",
        "recovery skipped",
        "expiry skipped",
        "alarms skipped",
        "broker-key skipped",
        "grants skipped",
        "refuses-changed-signature ok",
        "refuses-alg-none ok",
        "refuses-other-grant ok",
        "credentials ok",
        "opens skipped",
    ];
    assert_eq!(checks, expected);
    let calls = world.function.calls();
    assert!(calls.iter().all(|call| ["GET", "OPTIONS"].contains(&call.method.as_str())), "{calls:?}");
    assert!(calls.iter().all(|call| call.path.starts_with("/v1/") || call.path.starts_with("/.well-known/")));
    // The only request that could spend a token is the last.
    let whole = calls.iter().filter(|call| call.path.contains("duration=900")).count();
    assert_eq!((whole, calls.last().unwrap().path.as_str()), (1, "/v1/credentials/default?duration=900"));
    assert_eq!(world.deployed.operations(), [""; 0]);
}

#[tokio::test]
async fn people_read_the_same() {
    let world = World::new().await;
    let url = world.function.url();
    let run = world.deployed.run(&["probe", "--url", &url]).await;
    let text = run.exits(0);
    assert!(text.starts_with(&format!("ok        health: {url} answers, version 0.1.0\n")), "{text}");
    assert!(text.contains("\nskipped   alarms: only with a stack: use --stack\n"), "{text}");
    assert!(text.trim_end().ends_with("Probed: 0 problems, 0 notes, 13 skipped"), "{text}");
    world.provider.publish_raw("{\"keys\": []}");
    let run = world.deployed.run(&["probe", "--url", &url]).await;
    let text = run.exits(3);
    let problem =
        format!("\nproblem   provider: `{}`: the key set has no usable key\n          ", world.provider.issuer());
    assert!(text.contains(&problem), "{text}");
}

#[tokio::test]
async fn a_server_that_hangs_costs_one_limit_and_is_one_problem() {
    let world = World::new().await;
    world.function.fail_always(&Fault::Hangs);
    let token = world.token.to_str().unwrap();
    let probed = timeout(Duration::from_mins(2), world.probe(&["--token-file", token])).await;
    let (run, output) = probed.unwrap();
    run.exits(3);
    assert_eq!(problems(&output), ["health"]);
    for fault in [Fault::Resets, Fault::Truncates] {
        world.function.heal();
        world.function.fail_always(&fault);
        let (run, output) = world.probe(&[]).await;
        run.exits(3);
        assert_eq!(problems(&output), ["health"], "{fault:?}");
    }
}

#[tokio::test]
async fn a_function_that_skips_signatures_is_found_by_the_issuers_own_audience() {
    let mut world = World::new().await;
    let checked = |output: &Value| {
        let checks = output["checks"].as_array().unwrap().iter();
        let found = checks.filter(|check| check["check"] == "refuses-alg-none").map(Value::to_string);
        found.collect::<Vec<_>>()
    };
    // Nobody says from outside what the audience is.
    let (run, output) = world.probe(&[]).await;
    run.exits(0);
    assert!(checked(&output).concat().contains("only its form was tried"), "{output}");
    for claim in ["/aud", "/for~1whom/app"] {
        let issuers = json!([{
            "id": "corp", "issuer": world.provider.issuer(), "audiences": ["api://corp", "hallpass"],
            "audience_claim": claim,
        }]);
        world.deployed.state().stack.outputs.insert("Issuers", issuers.to_string().leak());
        world.deployed.set("HALLPASS_STACK", STACK);
        lock(&world.names.0).believes = None;
        let (_, output) = world.probe(&[]).await;
        let found = checked(&output).concat();
        assert!(found.contains("\"ok\"") && !found.contains("only its form"), "{found}");
        lock(&world.names.0).believes = Some("api://corp");
        let (run, output) = world.probe(&[]).await;
        run.exits(3);
        assert!(problems(&output).contains(&"refuses-alg-none"), "{output}");
        let calls = world.function.calls();
        let last = calls.iter().map(claims).rfind(Value::is_object).unwrap();
        assert_eq!(last.pointer(claim), Some(&json!("api://corp")));
    }
}

#[tokio::test]
async fn a_server_whose_metadata_is_anothers_gets_no_token() {
    let world = World::new().await;
    let (run, output) = world.probe_of("https://other.example.com").await;
    run.exits(3);
    assert_eq!(problems(&output), ["metadata"]);
    let of_holder = ["refuses-changed-signature", "refuses-other-grant", "credentials", "opens"];
    let checks = output["checks"].as_array().unwrap().iter();
    let skipped: Vec<&str> = checks
        .filter(|check| check["help"] == "see `metadata`" && check["status"] == "skipped")
        .map(|check| check["check"].as_str().unwrap())
        .collect();
    assert!(skipped.ends_with(&of_holder), "{skipped:?}");
    let claims = TOKEN.split('.').nth(1).unwrap();
    let calls = world.function.calls();
    assert!(calls.iter().all(|call| !call.header("authorization").unwrap_or_default().contains(claims)), "{calls:?}");
}

#[tokio::test]
async fn a_table_is_that_of_the_account_in_its_arn() {
    let world = World::new().await;
    let token = world.token.to_str().unwrap();
    let other = "arn:aws:dynamodb:eu-central-1:444455556666:table/orders";
    for (table, asked_for) in [("arn:aws:dynamodb:eu-central-1:111122223333:table/orders", "orders"), (other, other)] {
        world.probe(&["--token-file", token, "--opens", "dynamodb:DescribeTable", table]).await;
        let asked = world.deployed.dynamodb.server.calls().pop().unwrap();
        assert_eq!((asked.operation(), &asked.json()["TableName"]), (Some("DescribeTable"), &json!(asked_for)));
    }
}

#[tokio::test]
async fn a_session_is_tried_on_the_real_service_in_its_own_region() {
    let mut world = World::new().await;
    let s3 = Server::start(S3).await;
    world.deployed.set("AWS_ENDPOINT_URL_S3", &s3.url());
    let token = world.token.to_str().unwrap().to_owned();
    let object = "arn:aws:s3:::acme-reports/2026/q3 (final).csv";
    let opens =
        ["--token-file", &token, "--opens", "s3:ListBucket", "arn:aws:s3:::acme-reports", "--opens", "s3:GetObject"];
    let (run, output) = world.probe(&[&opens[..], &[object]].concat()).await;
    run.exits(0);
    assert_eq!(problems(&output), [""; 0]);
    assert!(s3.calls().iter().all(|call| call.method == "HEAD"));
    let (run, output) = world.probe(&[&opens[..], &["arn:aws:s3:::acme-reports/2026/q4.csv"]].concat()).await;
    run.exits(3);
    assert_eq!(problems(&output), ["opens"]);
    // An endpoint that nobody meant gets no signature for another region than it may name.
    s3.fail_always(&Fault::Answers(Reply::new(301, "text/xml", "").header("x-amz-bucket-region", "x/../evil")));
    let (run, output) = world.probe(&[&opens[..], &[object]].concat()).await;
    run.exits(3);
    assert_eq!(problems(&output), ["opens", "opens"]);
}

#[tokio::test]
async fn a_file_that_is_not_a_token_is_not_sent() {
    let world = World::new().await;
    for text in ["", "canary", "canary.x.y\ncanary", "canary .x.y", "canary.x.y.z"] {
        fs::write(&world.token, text).unwrap();
        let url = world.function.url();
        let arguments = ["probe", "--url", &url, "--token-file", world.token.to_str().unwrap()];
        let run = world.deployed.run(&arguments).await;
        run.fails(&["is not a token"]);
        assert!(!run.stderr.contains("canary"), "{run:?}");
    }
    assert_eq!(world.function.calls().len(), 0);
}
