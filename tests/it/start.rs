//! What happens before the first request.

use std::time::Duration;

use serde_json::{Value, json};

use hallpass_testing::function::{Ended, Function};
use hallpass_testing::server::Server;
use hallpass_testing::world::World;

#[tokio::test]
async fn everything_is_at_hand_before_the_first_request() {
    let (world, function) = unhurried_start().await;
    assert_eq!(world.provider.key_fetches(), 1);
    assert_eq!(world.secrets.server.calls().len(), 1);
    let prepared = [&world.dynamodb.server, &world.sts.server].map(Server::opened);
    assert_eq!(prepared, [1, 1], "one connection to each, and it was kept");
    for server in [&world.dynamodb.server, &world.sts.server] {
        let calls: Vec<_> = server.calls().iter().map(|call| (call.method.clone(), call.body.len())).collect();
        assert_eq!(calls, [("GET".to_owned(), 0)], "nothing is asked that would need a permission");
    }
    for (_, server) in world.upstreams() {
        server.forget_calls();
    }
    function.call(world.request()).await.credentials();
    let opened = [&world.dynamodb.server, &world.sts.server].map(Server::opened);
    assert_eq!(opened, prepared, "the first request opens connections of its own");
    let calls = world.upstreams().map(|(name, server)| (name, server.calls().len()));
    assert_eq!(calls, [("provider", 0), ("dynamodb", 1), ("secrets manager", 0), ("sts", 1)]);
}

#[tokio::test]
async fn a_start_mints_nothing_and_reports_nothing() {
    let world = World::new().await;
    let function = world.start().await;
    assert!(world.sts.mints().is_empty());
    assert_eq!(function.runtime.init_errors(), Vec::<Value>::new());
}

#[tokio::test]
async fn a_variable_that_is_missing_stops_the_start() {
    for name in ["HALLPASS_ISSUERS", "HALLPASS_TABLE", "HALLPASS_STATE", "HALLPASS_BROKER_KEY"] {
        let mut world = World::new().await;
        world.unset(name);
        refused(world.spawn().await, &[name]).await;
        world.set(name, "");
        refused(world.spawn().await, &[name]).await;
    }
}

#[tokio::test]
async fn without_certificate_authorities_the_start_stops() {
    let garbage = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("garbage-{}.pem", std::process::id()));
    std::fs::write(&garbage, "no certificate").unwrap();
    for file in ["/nowhere/at-all.pem", "/", "/dev/null", garbage.to_str().unwrap()] {
        let mut world = World::new().await;
        world.set("SSL_CERT_FILE", file);
        refused(world.spawn().await, &["SSL_CERT_FILE", file]).await;
        // All problems are told at once.
        world.unset("HALLPASS_TABLE");
        world.unset("AWS_REGION");
        refused(world.spawn().await, &["SSL_CERT_FILE", file, "HALLPASS_TABLE", "AWS_REGION"]).await;
    }
    std::fs::remove_file(garbage).unwrap();
}

#[tokio::test]
async fn a_wrong_issuer_stops_the_start() {
    let world = World::new().await;
    let with = |name: &str, value: Value| {
        let mut issuer = world.issuer();
        issuer[name] = value;
        json!([issuer])
    };
    let other = |issuer: &str| json!({"id": "other", "issuer": issuer, "audiences": ["hallpass"]});
    for (issuers, names) in [
        (json!([]), "HALLPASS_ISSUERS"),
        (json!({}), "HALLPASS_ISSUERS"),
        (json!([7]), "HALLPASS_ISSUERS"),
        (with("id", json!("")), "id"),
        (with("id", json!("Corp")), "id"),
        (with("id", json!("a/b")), "id"),
        (with("id", json!("a".repeat(33))), "id"),
        (with("issuer", json!(null)), "issuer"),
        (with("issuer", json!("http://login.example.com")), "issuer"),
        (with("issuer", json!("login.example.com")), "issuer"),
        (with("issuer", json!("http://localhost.example.com")), "issuer"),
        (with("audiences", json!(null)), "audiences"),
        (with("audiences", json!([])), "audiences"),
        (with("audiences", json!("hallpass")), "audiences"),
        (with("audiences", json!([""])), "audiences"),
        (with("jwks_uri", json!("http://login.example.com/keys")), "jwks_uri"),
        (with("algorithms", json!([])), "algorithms"),
        (with("algorithms", json!(["HS256"])), "algorithms"),
        (with("algorithms", json!(["none"])), "algorithms"),
        (with("subject_claim", json!("sub")), "subject_claim"),
        (with("groups_required", json!("yes")), "groups_required"),
        (with("max_token_lifetime", json!(0)), "max_token_lifetime"),
        (with("required_claims", json!({"/hd": []})), "required_claims"),
        (with("dpop", json!("maybe")), "dpop"),
        (with("audience", json!("hallpass")), "audience"),
        (json!([world.issuer(), world.issuer()]), "id"),
        (json!([world.issuer(), other(&world.provider.issuer())]), "issuer"),
        (with("groups_separator", json!(";")), r#"groups_separator must be a comma, a space or null: `\";\"`"#),
        (with("audiences", json!(["a".repeat(3_500)])), "HALLPASS_ISSUERS"),
        (with("cli", json!({})), "HALLPASS_ISSUERS/0/cli/client_id must be a non-empty string"),
        (with("cli", json!({"client_id": "x", "redirect_uri": "https://evil.example"})), "cli/redirect_uri must be"),
        (
            with("browser", json!({"client_id": "x", "redirect_uri": "http://127.0.0.1/"})),
            "browser/redirect_uri is always",
        ),
        (with("cli", json!({"client_id": "x", "parameters": {"state": "x"}})), "cli/parameters/state is set by the"),
        (with("browser", json!({"client_id": "x", "client_secret": "x"})), "browser/client_secret is not a setting"),
    ] {
        let mut wrong = World::new().await;
        wrong.set("HALLPASS_ISSUERS", &issuers.to_string());
        refused(wrong.spawn().await, &["HALLPASS_ISSUERS", names]).await;
    }
    for text in ["not json", "[{\"id\":\"a\",\"id\":\"b\"}]"] {
        let mut wrong = World::new().await;
        wrong.set("HALLPASS_ISSUERS", text);
        refused(wrong.spawn().await, &["HALLPASS_ISSUERS"]).await;
    }
}

#[tokio::test]
async fn a_provider_that_strangers_share_stops_the_start_without_the_claim_that_says_whose_a_token_is() {
    for (issuer, provider, claim) in [
        ("https://accounts.google.com", "Google", "/hd"),
        ("https://agent.buildkite.com", "Buildkite", "/organization_id"),
        ("https://api.pulumi.com/oidc", "Pulumi", "/aud"),
        ("https://api.pulumi.com/oidc/v2", "Pulumi", "/https:~1~1pulumi.com~1org_id"),
        ("https://app.terraform.io", "Terraform", "/terraform_organization_id"),
        ("https://APP.terraform.io.:443/", "Terraform", "/sub"),
        ("https://cognito-identity.amazonaws.com", "Cognito", "/aud"),
        ("https://gitlab.com", "GitLab", "/namespace_id"),
        ("https://oidc-configuration.audit-log.githubusercontent.com", "GitHub", "/sub"),
        ("https://oidc.codefresh.io", "Codefresh", "/account_id"),
        ("https://oidc.op1.openshiftapps.com/2c51blsaqa9gkjt0o9rt11mle8mmropu", "Turbonomic", "/sub"),
        ("https://oidc.op1.openshiftapps.com/2f785sojlpb85i7402pk3qogugim5nfb", "Turbonomic", "/sub"),
        ("https://oidc.vercel.com", "Vercel", "/owner_id"),
        ("https://proidc.upbound.io", "Upbound", "/sub"),
        ("https://rh-oidc.s3.us-east-1.amazonaws.com/22ejnvnnturfmt6km08idd0nt4hekbn7", "Turbonomic", "/sub"),
        ("https://rh-oidc.s3.us-east-1.amazonaws.com/23e3sd27sju1hoou6ohfs68vbno607tr", "Turbonomic", "/sub"),
        ("https://rh-oidc.s3.us-east-1.amazonaws.com/23ne21h005qjl3n33d8dui5dlrmv2tmg", "Turbonomic", "/sub"),
        ("https://rh-oidc.s3.us-east-1.amazonaws.com/24jrf12m5dj7ljlfb4ta2frhrcoadm26", "Turbonomic", "/sub"),
        ("https://sandboxes.cloud", "sandboxes.cloud", "/aud"),
        ("https://scalr.io", "Scalr", "/sub"),
        ("https://studio.datachain.ai/api", "DVC Studio", "/sub"),
        ("https://token.actions.githubusercontent.com", "GitHub", "/repository_owner_id"),
        ("https://tokens.cloud.shisho.dev", "Shisho", "/sub"),
        ("https://vstoken.actions.githubusercontent.com", "GitHub", "/sub"),
    ] {
        let mut open = World::new().await;
        open.trust(&[json!({"id": "corp", "issuer": issuer, "audiences": ["hallpass"]})]);
        let told = [&format!("`{issuer}`"), provider, &format!("`{claim}`")];
        refused(open.spawn().await, &told).await;
    }
    let mut sentinel = World::new().await;
    let issuer = "https://sts.windows.net/33e01921-4d64-4f8c-a055-5bdaffd5e33d/";
    let any_claim = json!({"/sub": ["x"], "/oid": ["x"]});
    sentinel.trust(&[json!({"id": "corp", "issuer": issuer, "audiences": ["hallpass"], "required_claims": any_claim})]);
    refused(sentinel.spawn().await, &[&format!("`{issuer}`"), "Azure Sentinel"]).await;
}

#[tokio::test]
async fn an_origin_that_is_none_stops_the_start() {
    for origin in [
        "*",
        "null",
        "console.example.com",
        "https://console.example.com/",
        "capacitor://localhost/index.html",
        "capacitor://*",
        "Capacitor://localhost",
    ] {
        let mut world = World::new().await;
        world.set("HALLPASS_ALLOWED_ORIGINS", &format!("https://a.example,{origin}"));
        refused(world.spawn().await, &["HALLPASS_ALLOWED_ORIGINS", &format!("`{origin}`")]).await;
    }
    let mut world = World::new().await;
    world.set("HALLPASS_ALLOWED_ORIGINS", "https://carol:hunter2@console.example.com");
    refused(world.spawn().await, &["HALLPASS_ALLOWED_ORIGINS has `…@console.example.com`; "]).await;
    let mut world = World::new().await;
    world.set("HALLPASS_ALLOWED_ORIGINS", "https://a.example,https://a.example");
    refused(world.spawn().await, &["HALLPASS_ALLOWED_ORIGINS", "`https://a.example` twice"]).await;
}

#[tokio::test]
async fn every_problem_is_told_at_once() {
    let mut world = World::new().await;
    let mut first = world.issuer();
    first["algorithms"] = json!(["HS256"]);
    first["subject"] = json!("/sub");
    world.trust(&[first, json!({"id": "Other", "issuer": "http://login.example.com"})]);
    world.unset("HALLPASS_TABLE");
    world.unset("HALLPASS_BROKER_KEY");
    world.set("HALLPASS_ALLOWED_ORIGINS", "*");
    world.set("HALLPASS_METRICS_NAMESPACE", "AWS/Lambda");
    let told = [
        "HALLPASS_ISSUERS/0/algorithms",
        "HALLPASS_ISSUERS/0/subject",
        "HALLPASS_ISSUERS/1/id",
        "HALLPASS_ISSUERS/1/issuer",
        "HALLPASS_ISSUERS/1/audiences",
        "HALLPASS_TABLE",
        "HALLPASS_BROKER_KEY",
        "HALLPASS_ALLOWED_ORIGINS",
        "HALLPASS_METRICS_NAMESPACE",
    ];
    refused(world.spawn().await, &told).await;
}

/// A start that had the time it may take: where a busy machine made it give up on preparing, another one.
async fn unhurried_start() -> (World, Function) {
    for _ in 0..10 {
        let world = World::new().await;
        let function = world.spawn().await;
        if function.started().await < Duration::from_millis(400) {
            return (world, function);
        }
    }
    panic!("no start within 400 ms with every upstream at hand");
}

/// Asserts that the function ends without ever asking for an event, and says each of these.
pub(crate) async fn refused(function: Function, told: &[&str]) {
    let polls = function.runtime.polls();
    let Ended { status, log } = function.ended().await;
    assert!(!status.success(), "a wrong configuration is no success: {log}");
    assert!(polls.borrow().is_none(), "it asked for an event: {log}");
    for text in told {
        assert!(log.contains(text), "`{text}` is not told in: {log}");
    }
}
