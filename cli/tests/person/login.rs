//! Who can sign in, and who cannot pretend to have?

use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use url::Url;

use hallpass_testing::server::{Fault, Reply};
use hallpass_testing::signer::TestKey;

use crate::stand_in::{Conduct, Desk, Run, SECRET, answer, browse, problem};

#[tokio::test]
async fn a_person_signs_in_and_sees_until_when_and_what_for() {
    let desk = Desk::new().await;
    let run = desk.login(&[]).await;
    let text = run.exits(0);
    let server = desk.hallpass.url();
    assert!(text.starts_with(&format!("Signed in to {server} as carol (corp) until 20")), "{text}");
    assert!(text.contains("default  1 h") && text.contains("deploy") && text.contains("level mfa"), "{text}");
    let asked = desk.conduct(|conduct| conduct.asked.clone());
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "hallpass-cli"),
        ("code_challenge_method", "S256"),
        ("scope", "openid offline_access"),
        ("audience", "hallpass"),
    ] {
        assert_eq!(asked[name], value);
    }
    let status = desk.run(&["status", "--json"]).await.json();
    let expected = json!({"signed_in": true, "server": server, "issuer": desk.provider.url(), "issuer_id": "corp",
                          "subject": "carol", "expires_at": status["expires_at"], "storage": "file"});
    assert_eq!(status, expected);
    assert!(desk.run(&["status"]).await.exits(0).contains("without a keyring"));
    assert_eq!(desk.run(&["list", "--json"]).await.json(), desk.conduct(|conduct| conduct.grants.clone()));
    for entry in std::fs::read_dir(desk.state()).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
    }
    assert_eq!(std::fs::metadata(desk.state()).unwrap().mode() & 0o777, 0o700);
}

/// Starts a sign-in and returns it with the address that it shows.
async fn started(desk: &Desk) -> (tokio::process::Child, Url) {
    let mut command = desk.command(&["login", &desk.hallpass.url(), "--no-browser"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if let Some(address) = line.strip_prefix("  http") {
            // The rest is read, so that nothing is written in vain.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return (child, Url::parse(&format!("http{address}")).unwrap());
        }
    }
}

fn asked(address: &Url, name: &str) -> String {
    address.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned()
}

#[tokio::test]
async fn the_address_at_which_a_browser_ended_can_be_pasted() {
    let desk = Desk::new().await;
    let (mut child, address) = started(&desk).await;
    let (state, redirect) = (asked(&address, "state"), asked(&address, "redirect_uri"));
    desk.conduct(|conduct| conduct.asked = address.query_pairs().into_owned().collect());
    let issuer: String = url::form_urlencoded::byte_serialize(desk.provider.url().as_bytes()).collect();
    let mut stdin = child.stdin.take().unwrap();
    for line in [
        "",
        "hello",
        &format!("{redirect}?code=x&state=other"),
        &format!("  '{redirect}?code={SECRET}-code&state={state}&iss={issuer}'"),
    ] {
        stdin.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }
    Run::of(&child.wait_with_output().await.unwrap()).exits(0);
}

#[tokio::test]
async fn a_stranger_who_calls_the_listener_is_ignored() {
    let desk = Desk::new().await;
    let (child, address) = started(&desk).await;
    let redirect = asked(&address, "redirect_uri");
    for query in ["", "?code=x", "?code=x&state=other", "?error=access_denied&state="] {
        assert_eq!(browse(&format!("{redirect}{query}")).await, 400);
    }
    assert_eq!(browse(&redirect.replace("/callback", "/other")).await, 400);
    assert_eq!(browse(address.as_str()).await, 200);
    Run::of(&child.wait_with_output().await.unwrap()).exits(0);
}

#[tokio::test]
async fn an_answer_that_is_not_right_signs_nobody_in() {
    type Break = fn(&mut Conduct);
    let cases: [(Break, &str); 12] = [
        (|conduct| conduct.claims = json!({"nonce": "other"}), "`nonce`"),
        (|conduct| conduct.claims = json!({"nonce": null}), "`nonce`"),
        (|conduct| conduct.claims = json!({"aud": "other"}), "another audience"),
        (|conduct| conduct.claims = json!({"aud": ["hallpass-cli", "x"], "azp": "x"}), "`azp`"),
        (|conduct| conduct.claims = json!({"iss": "https://evil.example.com"}), "not configured"),
        (|conduct| conduct.claims = json!({"exp": 1, "iat": 0}), "clock"),
        (|conduct| conduct.claims = json!({"sub": 7}), "subject"),
        (
            |conduct| drop(conduct.callback.insert("iss".into(), "https://evil.example.com".into())),
            "another identity provider",
        ),
        (|conduct| drop(conduct.callback.insert("iss".into(), "-".into())), "another identity provider"),
        (
            |conduct| conduct.callback.extend([("code".into(), "-".into()), ("error".into(), "access_denied".into())]),
            "access_denied",
        ),
        (|conduct| drop(conduct.callback.insert("code".into(), "wrong".into())), "invalid_grant"),
        (
            |conduct| {
                conduct.token_answers = vec![answer(200, &json!({"access_token": "canary", "token_type": "DPoP"}))];
            },
            "Bearer",
        ),
    ];
    for (breaks, told) in cases {
        let desk = Desk::new().await;
        desk.conduct(breaks);
        let run = desk.login(&[]).await;
        assert_eq!(run.exits(1), "");
        let last = run.stderr.lines().last().unwrap();
        assert!(last.starts_with("error: ") && last.contains(told), "{told}: {}", run.stderr);
        assert_eq!(desk.run(&["status", "--json"]).await.code, Some(1), "nothing is stored that is half");
        assert_eq!(desk.asked("/v1/"), 0, "no token went to the server");
    }
}

#[tokio::test]
async fn an_id_token_of_another_key_signs_nobody_in() {
    let desk = Desk::new().await;
    let (child, address) = started(&desk).await;
    // Discovery and keys were published before; the token is signed with a key that was not.
    let other = TestKey::p256("k1");
    desk.conduct(|conduct| {
        conduct.asked = address.query_pairs().into_owned().collect();
        let claims = json!({"iss": desk.provider.url(), "sub": "mallory", "aud": "hallpass-cli", "iat": crate::stand_in::now(),
                            "exp": crate::stand_in::now() + 60, "nonce": conduct.asked["nonce"]});
        let token = other.sign(&json!({"alg": "ES256", "kid": "k1"}), &claims);
        conduct.token_answers = vec![answer(200, &json!({"access_token": "canary-a", "token_type": "Bearer", "id_token": token}))];
    });
    browse(address.as_str()).await;
    assert_eq!(Run::of(&child.wait_with_output().await.unwrap()).exits(1), "");
}

#[tokio::test]
async fn without_an_id_token_nobody_is_signed_in() {
    let desk = Desk::new().await;
    desk.conduct(|conduct| {
        conduct.token_answers = vec![answer(200, &json!({"access_token": "canary", "token_type": "bearer"}))];
    });
    let run = desk.login(&[]).await;
    assert!(run.exits(1).is_empty() && run.stderr.contains("no ID token"), "{}", run.stderr);
}

#[tokio::test]
async fn a_device_signs_in_with_a_code() {
    let desk = Desk::new().await;
    let pending = |error: &str| answer(400, &json!({"error": error}));
    desk.conduct(|conduct| conduct.token_answers = vec![pending("authorization_pending")]);
    let run = desk.run(&["login", &desk.hallpass.url(), "--device"]).await;
    assert!(run.exits(0).contains("as carol"));
    assert!(run.stderr.contains("ABCD-EFGH") && run.stderr.contains("/activate"), "{}", run.stderr);
    for (error, told) in [("access_denied", "access_denied"), ("expired_token", "has expired")] {
        desk.conduct(|conduct| conduct.token_answers = vec![pending(error)]);
        let run = desk.run(&["login", &desk.hallpass.url(), "--device"]).await;
        assert!(run.exits(1).is_empty() && run.stderr.contains(told), "{}", run.stderr);
    }
}

#[tokio::test]
async fn an_answer_to_a_device_that_comes_after_the_time_limit_is_taken() {
    let desk = Desk::new().await;
    // After the provider's description and the code, the first question about it, a second before the limit.
    desk.provider.fail_call(2, &Fault::KeepsAnswer);
    let mut command = desk.command(&["login", &desk.hallpass.url(), "--device", "--timeout", "2"]);
    let running = tokio::spawn(async move { command.output().await });
    desk.provider.held().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    desk.provider.release();
    assert!(Run::of(&running.await.unwrap().unwrap()).exits(0).contains("as carol"));
    // Without an answer, the limit is kept.
    let pending = answer(400, &json!({"error": "authorization_pending"}));
    desk.conduct(|conduct| conduct.token_answers = vec![pending; 9]);
    let run = desk.run(&["login", &desk.hallpass.url(), "--device", "--timeout", "2"]).await;
    assert!(run.exits(1).is_empty() && run.stderr.contains("within 2 seconds"), "{}", run.stderr);
}

#[tokio::test]
async fn a_browser_is_started_with_the_address() {
    for browser in ["curl -sSLo /dev/null", "/nowhere/x:curl -sSL '%s' -o /dev/null"] {
        let desk = Desk::new().await;
        let run = desk.run_with(&[("BROWSER", browser)], &["login", &desk.hallpass.url()]).await;
        assert!(run.exits(0).contains("as carol"), "{browser}: {}", run.stderr);
    }
    let desk = Desk::new().await;
    let run = desk.run_with(&[("BROWSER", "false")], &["login", &desk.hallpass.url(), "--timeout", "1"]).await;
    assert!(run.exits(1).is_empty() && run.stderr.contains("within 1 seconds"), "{}", run.stderr);
    let run = desk.run_with(&[("BROWSER", "'")], &["login", &desk.hallpass.url()]).await;
    assert_eq!(run.code, Some(2));
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_the_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let desk = Desk::new().await;
    let run = desk.login(&["--port", &port]).await;
    assert!(run.exits(1).is_empty() && run.stderr.contains(&port) && run.stderr.contains("--port"), "{}", run.stderr);
    drop(taken);
    desk.login(&["--port", &port]).await.exits(0);
    assert_eq!(
        desk.conduct(|conduct| conduct.asked["redirect_uri"].clone()),
        format!("http://127.0.0.1:{port}/callback")
    );
}

#[tokio::test]
async fn what_is_not_this_hallpass_gets_no_sign_in() {
    let page = |status, body: &str| Reply::new(status, "text/html", body);
    let other = json!({"resource": "https://other.example.com", "authorization_servers": [], "bearer_methods_supported": [],
                       "resource_name": "x", "hallpass_clients": {"cli": [], "browser": []}});
    for (reply, told) in [
        (page(404, "no"), "not a Hallpass server"),
        (page(200, "<html>welcome"), "not a Hallpass server"),
        (answer(200, &json!({"resource": "x", "authorization_servers": []})), "not a Hallpass server"),
        (
            page(301, "").header("location", "https://evil.example.com/x?canary"),
            "redirects to https://evil.example.com",
        ),
        (page(503, "busy"), "503"),
        (answer(200, &other), "says that its URL is"),
    ] {
        let desk = Desk::new().await;
        desk.conduct(|conduct| conduct.metadata = Some(reply));
        let run = desk.login(&[]).await;
        run.fails(told);
        assert!(desk.provider.calls().is_empty());
    }
}

#[tokio::test]
async fn a_provider_that_is_broken_is_named() {
    for (fault, told) in [
        (Fault::Answers(Reply::new(500, "text/html", "canary")), "status 500"),
        (Fault::Answers(Reply::new(200, "text/html", "<html>canary")), "does not describe itself"),
        (Fault::Answers(Reply::new(302, "text/html", "").header("location", "https://evil.example.com")), "status 302"),
        (Fault::Answers(answer(200, &json!({"issuer": "https://evil.example.com"}))), "issuer"),
        (Fault::Resets, "broke"),
        (Fault::Truncates, "broke"),
    ] {
        let desk = Desk::new().await;
        desk.provider.fail_always(&fault);
        let run = desk.login(&[]).await;
        assert!(run.exits(1).is_empty() && run.stderr.lines().last().unwrap().contains(told), "{told}: {}", run.stderr);
    }
}

#[tokio::test]
async fn a_grant_that_requires_more_gets_it_at_the_login() {
    let desk = Desk::new().await;
    let run = desk.login(&["--grant", "deploy"]).await;
    run.exits(0);
    assert_eq!(desk.conduct(|conduct| conduct.asked["acr_values"].clone()), "mfa");
    assert_eq!(desk.asked("/auth"), 2, "without a sign-in nobody knows what the grant requires");
    desk.provider.forget_calls();
    desk.login(&["--grant", "deploy"]).await.exits(0);
    assert_eq!(desk.asked("/auth"), 1);
    let run = desk.login(&["--grant", "nothing"]).await;
    assert!(run.code == Some(1) && run.stderr.contains("no grant `nothing`"), "{}", run.stderr);
}

#[tokio::test]
async fn a_server_that_does_not_take_the_token_is_heard() {
    let desk = Desk::new().await;
    desk.conduct(|conduct| {
        conduct.offers_refresh = false;
        conduct.token_answers.clear();
    });
    desk.hallpass.fail_call(1, &Fault::Answers(problem(401, "invalid_token", &json!({}))));
    let run = desk.login(&[]).await;
    assert!(
        run.exits(1).is_empty() && run.stderr.contains("does not take this sign-in: because of invalid_token"),
        "{}",
        run.stderr
    );
}

#[tokio::test]
async fn who_signs_out_leaves_nothing_and_the_refresh_token_is_revoked() {
    let desk = Desk::signed_in().await;
    desk.run(&["credentials"]).await.exits(0);
    let refresh = desk.conduct(|conduct| conduct.refresh.clone());
    assert_eq!(desk.run(&["logout"]).await.exits(0), "Signed out.\n");
    let revoked = desk.provider.calls().into_iter().find(|call| call.path == "/revoke").unwrap().form();
    assert_eq!((revoked["token"].as_str(), revoked["client_id"].as_str()), (refresh.as_str(), "hallpass-cli"));
    for entry in std::fs::read_dir(desk.state()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().len(), 0, "{:?}", entry.path());
    }
    assert_eq!(desk.run(&["logout"]).await.exits(0), "You are not signed in.\n");
    assert_eq!(desk.run(&["status"]).await.code, Some(1));
    desk.run(&["credentials"]).await.fails("hallpass login https://hallpass.example.com");
}

#[tokio::test]
async fn a_provider_that_does_not_revoke_is_told_and_the_sign_in_is_gone_here() {
    let desk = Desk::signed_in().await;
    desk.provider.fail_always(&Fault::Resets);
    let run = desk.run(&["logout", "--all"]).await;
    assert_eq!(run.exits(1), "Signed out.\n");
    assert!(run.stderr.contains("not at the identity provider"), "{}", run.stderr);
    assert_eq!(desk.run(&["status"]).await.code, Some(1));
}

#[tokio::test]
async fn a_url_that_is_not_a_servers_is_wrong_usage() {
    let desk = Desk::new().await;
    for url in ["hallpass.example.com", "http://hallpass.example.com", "https://a:canary@hallpass.example.com"] {
        let run = desk.run(&["login", url]).await;
        assert_eq!(run.exits(2), "");
    }
    assert_eq!(desk.run(&["login", &desk.hallpass.url(), "--server", "https://other.example.com"]).await.code, Some(2));
}

#[tokio::test]
async fn a_sign_in_replaces_those_with_an_earlier_client_and_damaged_ones() {
    let desk = Desk::signed_in().await;
    let (now, server) = (desk.stored(".session"), desk.hallpass.url());
    let start = now.file_name().unwrap().to_str().unwrap().split('-').next().unwrap().to_owned();
    let text = std::fs::read_to_string(&now).unwrap();
    // As with an earlier client, under a name that is not its own, and cut.
    for (name, content) in
        [("0123", text.replace("hallpass-cli", "earlier")), ("4567", text.chars().take(40).collect())]
    {
        let path = desk.state().join(format!("{start}-{name}.session"));
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    desk.run(&["status", "--server", &server]).await.fails("damaged");
    desk.sign_in().await;
    assert_eq!(desk.stored(".session"), now);
    desk.run(&["status"]).await.exits(0);
}

/// A server that takes two issuers, and somebody who is signed in at both.
async fn signed_in_at_two() -> (Desk, Desk) {
    let (desk, other) = (Desk::new().await, Desk::new().await);
    let client = |id: &str, issuer: String| {
        json!({"issuer_id": id, "issuer": issuer, "client_id": "hallpass-cli", "scope": "openid offline_access",
               "token": "access_token", "parameters": {}, "redirect_uri": "http://127.0.0.1/callback"})
    };
    let clients = [client("corp", desk.provider.url()), client("labs", other.provider.url())];
    let metadata = json!({
        "resource": desk.hallpass.url(), "authorization_servers": [desk.provider.url(), other.provider.url()],
        "bearer_methods_supported": ["header"], "resource_name": "Hallpass",
        "hallpass_clients": {"cli": clients, "browser": []},
    });
    desk.conduct(|conduct| conduct.metadata = Some(answer(200, &metadata)));
    for issuer in ["corp", "labs"] {
        desk.login(&["--issuer", issuer]).await.exits(0);
    }
    (desk, other)
}

#[tokio::test]
async fn of_several_issuers_one_is_named() {
    let (desk, _other) = signed_in_at_two().await;
    let url = desk.hallpass.url();
    for arguments in [
        &["credentials"][..],
        &["list"],
        &["status"],
        &["env"],
        &["exec", "--", "true"],
        &["console", "--print"],
        &["configure"],
        &["login", &url],
    ] {
        let run = desk.run(arguments).await;
        assert_eq!(run.exits(2), "", "{arguments:?}");
        assert!(run.stderr.contains("--issuer: corp, labs"), "{arguments:?}: {}", run.stderr);
    }
    assert!(desk.run(&["status", "--issuer", "labs"]).await.exits(0).contains("(labs)"));
    desk.run(&["credentials", "--issuer", "corp"]).await.json();
    // A profile has to say it, too.
    let block = desk.run(&["configure", "--print", "--issuer", "labs"]).await;
    assert!(block.exits(0).contains(&format!(" credentials --server {url} --issuer labs --grant deploy\n")));
    // One that is unknown is told from one that is not signed in.
    let unknown = desk.run(&["login", &url, "--issuer", "x"]).await;
    assert!(unknown.exits(2).is_empty() && unknown.stderr.contains("it has corp, labs"), "{}", unknown.stderr);
    desk.run(&["credentials", "--issuer", "x"]).await.fails("--issuer x");
}

#[tokio::test]
async fn who_signs_out_at_one_issuer_stays_signed_in_at_the_other() {
    let (desk, _other) = signed_in_at_two().await;
    assert_eq!(desk.run(&["logout", "--issuer", "x"]).await.exits(0), "You are not signed in.\n");
    assert_eq!(desk.run(&["logout", "--issuer", "labs"]).await.exits(0), "Signed out.\n");
    // The server of the last login is still known.
    assert!(desk.run(&["status"]).await.exits(0).contains("(corp)"));
    desk.run(&["credentials"]).await.json();
    desk.run(&["logout"]).await.exits(0);
    desk.run(&["credentials"]).await.fails("no server is known");
}

#[tokio::test]
async fn a_server_may_be_below_a_path() {
    for is_inserted in [false, true] {
        let desk = Desk::new().await;
        desk.conduct(|conduct| (conduct.base, conduct.is_inserted) = ("/tools/hallpass".into(), is_inserted));
        let url = format!("{}/tools/hallpass", desk.hallpass.url());
        // As people type it.
        let browser = [("BROWSER", "curl -sSLo /dev/null")];
        let run = desk.run_with(&browser, &["login", &format!("{url}/")]).await;
        assert!(run.exits(0).starts_with(&format!("Signed in to {url} as carol")), "{}", run.stdout);
        desk.run(&["credentials", "--server", &url]).await.json();
        assert!(desk.hallpass.calls().iter().any(|call| call.path == "/tools/hallpass/v1/credentials/default"));
        desk.run(&["doctor"]).await.exits(0);
        // What stands beside it is another server.
        desk.run(&["credentials", "--server", &desk.hallpass.url()]).await.fails("not signed in");
        let run = desk.run_with(&browser, &["login", &desk.hallpass.url()]).await;
        run.fails("is not a Hallpass server");
    }
}
