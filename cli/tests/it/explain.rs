//! What does `hallpass grants explain` say of a caller?

use std::fs;
use std::path::{Path, PathBuf};

use hallpass_testing::operator::{Deployed, Run};
use hallpass_testing::world::policy;
use serde_json::{Value, json};

const CAROL: [&str; 6] = ["--issuer", "corp", "--subject", "carol", "--group", "analysts"];

/// A folder of a test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("explain-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

async fn run(deployed: &Deployed, arguments: &[&str]) -> Run {
    deployed.run(&[&["grants", "explain"], arguments].concat()).await
}

async fn told(deployed: &Deployed, arguments: &[&str]) -> Value {
    let run = run(deployed, &[&["--json"], arguments].concat()).await;
    serde_json::from_str(run.exits(0)).unwrap_or_else(|error| panic!("{error}: {run:?}"))
}

async fn granted() -> Deployed {
    let deployed = Deployed::new().await;
    let grant = json!({"policy": policy(&["s3:GetObject"]), "max_duration": 1800, "revision": "3-aaaaaaaaaaaaaaaa"});
    deployed.dynamodb.grant("corp/group/analysts", "default", &grant);
    deployed.dynamodb.grant("corp/group/hr", "default", &json!({}));
    deployed
}

#[tokio::test]
async fn what_a_caller_would_get_is_told_from_the_table() {
    let deployed = granted().await;
    let told = told(&deployed, &CAROL).await;
    assert_eq!((&told["code"], &told["reason"]), (&json!("issued"), &json!("issued")));
    let items = json!([
        {"principal": "corp/group/analysts", "grant": "default", "revision": "3-aaaaaaaaaaaaaaaa", "used": true,
         "why": "is for a group of the caller"},
        {"principal": "corp/group/hr", "grant": "default", "revision": null, "used": false,
         "why": "the caller is not in the group `hr`"},
    ]);
    assert_eq!(told["items"], items);
    let session = &told["session"];
    assert!(session["name"].as_str().unwrap().starts_with("carol-"), "{session}");
    assert_eq!(
        (&session["duration"], &session["policy_arns"], &session["tags"]),
        (&json!(1800), &json!([]), &json!({}))
    );
    let statements = session["policy"]["Statement"].as_array().unwrap();
    assert_eq!((statements.len(), &statements[0]["Action"]), (1, &json!(["s3:GetObject"])));
    assert_eq!(session["characters"], session["policy"].to_string().chars().count());
    assert_eq!(told["decision"], Value::Null);
    // A client that only reads: nothing was written, and nothing minted.
    let reads = ["Scan", "GetItem", "DescribeStacks"];
    assert!(deployed.dynamodb.server.calls().iter().all(|call| reads.contains(&call.operation().unwrap_or_default())));
}

#[tokio::test]
async fn people_read_the_same() {
    let deployed = granted().await;
    let run = run(&deployed, &CAROL).await;
    for line in [
        "code      issued\n",
        "duration  1800 s\n",
        "limit     max_duration: 1800 s, by corp/group/analysts\n",
        "item      corp/group/analysts default 3-aaaaaaaaaaaaaaaa: used; is for a group of the caller\n",
        "item      corp/group/hr default: not used; the caller is not in the group `hr`",
    ] {
        assert!(run.exits(0).contains(line), "{line}: {run:?}");
    }
}

#[tokio::test]
async fn each_refusal_has_the_code_of_the_api() {
    for (more, change, code) in [
        (&["--grant", "other"][..], json!({}), "access_denied"),
        (&["--grant", "Other"], json!({}), "invalid_request"),
        (&["--duration", "899"], json!({}), "invalid_request"),
        (&["--duration", "7200"], json!({}), "invalid_request"),
        (&[], json!({"require": {"amr": ["mfa"]}}), "insufficient_user_authentication"),
        (&[], json!({"colour": "red"}), "grant_unusable"),
        (&["--claim", "/groups=7"], json!({}), "groups_unavailable"),
        (&["--from", "203.0.113.7"], json!({"pin_source_ip": true}), "issued"),
        (&["--claim", "/amr=[\"mfa\"]"], json!({"require": {"amr": ["mfa"]}}), "issued"),
        (&["--at", "1970-01-01T00:00:00Z"], json!({"not_after": 900}), "issued"),
        (&["--at", "1"], json!({"not_after": 900}), "access_denied"),
    ] {
        let deployed = granted().await;
        deployed.dynamodb.grant("corp/group/analysts", "default", &change);
        let told = told(&deployed, &[&CAROL, more].concat()).await;
        assert_eq!(told["code"], code, "{more:?} {change}: {told}");
        assert_eq!(told["session"].is_null(), code != "issued");
    }
    let deployed = granted().await;
    deployed.dynamodb.grant("corp/group/analysts", "default", &json!({"pin_source_ip": true}));
    let pinned = run(&deployed, &CAROL).await;
    assert!(pinned.code == 2 && pinned.stderr.contains("--from"), "{pinned:?}");
    deployed.dynamodb.block("corp/everyone");
    let told = told(&deployed, &CAROL).await;
    assert_eq!(
        (&told["code"], told["reason"].as_str().unwrap().split(':').next()),
        (&json!("access_denied"), Some("blocked"))
    );
}

#[tokio::test]
async fn an_action_is_decided_by_the_session_and_the_ceiling() {
    let deployed = Deployed::new().await;
    let folder = folder("action");
    let document = "grant: default\nprincipals: [corp/everyone]\npolicy:\n  Version: '2012-10-17'\n  Statement:\n    \
                    - {Effect: Allow, Action: 's3:*', Resource: '*', Condition: {Bool: {'aws:MultiFactorAuthPresent': 'true'}}}\n";
    fs::write(folder.join("a.yaml"), document).unwrap();
    let ceiling = folder.join("ceiling.txt");
    fs::write(
        &ceiling,
        json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}})
            .to_string(),
    )
    .unwrap();
    let (files, ceiling) = (folder.join("a.yaml"), ceiling.to_str().unwrap().to_owned());
    let asked = |action: &'static str| {
        let arguments = ["--files", files.to_str().unwrap(), "--action", action, "--resource", "arn:aws:s3:::a/b"];
        [&CAROL[..4], &arguments].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    for (action, more, expected) in [
        ("s3:GetObject", &[][..], ["unknown", "null", "unknown"]),
        ("s3:GetObject", &["--context", "aws:MultiFactorAuthPresent=true"], ["allow", "null", "allow"]),
        ("s3:GetObject", &["--absent", "aws:MultiFactorAuthPresent"], ["implicit_deny", "null", "implicit_deny"]),
        (
            "s3:GetObject",
            &["--context", "aws:MultiFactorAuthPresent=true", "--ceiling", "CEILING"],
            ["allow", "allow", "allow"],
        ),
        (
            "s3:PutObject",
            &["--context", "aws:MultiFactorAuthPresent=true", "--ceiling", "CEILING"],
            ["allow", "implicit_deny", "implicit_deny"],
        ),
    ] {
        let mut arguments = asked(action);
        arguments.extend(
            more.iter().map(|argument| if *argument == "CEILING" { ceiling.clone() } else { (*argument).to_owned() }),
        );
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let decision = &told(&deployed, &arguments).await["decision"];
        let found = ["session", "ceiling", "result"].map(|name| decision[name].as_str().unwrap_or("null").to_owned());
        assert_eq!(found, expected, "{arguments:?}: {decision}");
    }
    assert!(deployed.operations().is_empty(), "files are explained without AWS");
}

#[tokio::test]
async fn a_token_is_read_and_not_verified() {
    let deployed = granted().await;
    let folder = folder("token");
    let body = data_encoding::BASE64URL_NOPAD.encode(br#"{"sub":"carol","groups":["analysts"]}"#);
    let file = folder.join("token");
    fs::write(&file, format!("Bearer e30.{body}.c2ln\n")).unwrap();
    let with_token = run(&deployed, &["--json", "--issuer", "corp", "--token-file", file.to_str().unwrap()]).await;
    let told: Value = serde_json::from_str(with_token.exits(0)).unwrap();
    assert_eq!(told["code"], "issued");
    assert!(with_token.stderr.contains("read, not verified"), "{with_token:?}");
    fs::write(&file, "c2VjcmV0").unwrap();
    let wrong = run(&deployed, &["--issuer", "corp", "--token-file", file.to_str().unwrap()]).await;
    wrong.fails(&["the token is not a JWT"]);
    assert!(!wrong.stderr.contains("c2VjcmV0"));
}

#[tokio::test]
async fn wrong_usage_is_told_before_anything_is_asked() {
    let deployed = Deployed::new().await;
    for arguments in [
        &["--subject", "carol"][..],
        &["--issuer", "corp"],
        &["--issuer", "Corp", "--subject", "carol"],
        &["--issuer", "corp", "--subject", "carol", "--claim", "email"],
        &["--issuer", "corp", "--subject", "carol", "--at", "yesterday"],
        &["--issuer", "corp", "--subject", "carol", "--action", "s3:GetObject"],
        &["--issuer", "corp", "--subject", "carol", "--action", "s3:*", "--resource", "*"],
        &["--issuer", "corp", "--subject", "carol", "--action", "s3:GetObject", "--resource", "*", "--context", "a"],
    ] {
        assert_eq!(run(&deployed, arguments).await.code, 2, "{arguments:?}");
    }
}
