//! Does `credentials` print one JSON document or nothing, ask as seldom as it can, and serve everyone at once?

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use hallpass_testing::server::{Fault, Reply};

use crate::stand_in::{Desk, Run, SECRET, answer, problem};

const CREDENTIALS: [&str; 1] = ["credentials"];

#[tokio::test]
async fn credentials_are_asked_for_once_and_served_from_the_cache() {
    let desk = Desk::signed_in().await;
    let first = desk.run(&CREDENTIALS).await.json();
    let names: Vec<&String> = first.as_object().unwrap().keys().collect();
    assert_eq!(names, ["AccessKeyId", "AccountId", "Expiration", "SecretAccessKey", "SessionToken", "Version"]);
    assert_eq!((first["Version"].as_u64(), first["AccessKeyId"].as_str()), (Some(1), Some("ASIAdefault")));
    assert_eq!(desk.run(&CREDENTIALS).await.json(), first);
    assert_eq!((desk.asked("/v1/credentials/default"), desk.asked("/token")), (1, 0));
    // The cache needs no network, and nothing is written.
    desk.hallpass.fail_always(&Fault::Resets);
    desk.provider.fail_always(&Fault::Resets);
    let run = desk.run(&CREDENTIALS).await;
    assert_eq!((run.json(), run.stderr.as_str()), (first, ""));
}

#[tokio::test]
async fn who_signs_in_again_gets_new_credentials() {
    // Those in the cache may have been cut off by the operator.
    let desk = Desk::signed_in().await;
    desk.run(&CREDENTIALS).await.exits(0);
    desk.sign_in().await;
    desk.run(&CREDENTIALS).await.exits(0);
    assert_eq!(desk.asked("/v1/credentials/default"), 2);
}

#[tokio::test]
async fn each_grant_and_duration_has_credentials_of_its_own() {
    let desk = Desk::signed_in().await;
    desk.run(&CREDENTIALS).await.exits(0);
    assert_eq!(desk.run(&["credentials", "--grant", "deploy"]).await.json()["AccessKeyId"], "ASIAdeploy");
    desk.run(&["credentials", "--duration", "900"]).await.exits(0);
    let paths: Vec<String> = desk.hallpass.calls().into_iter().map(|call| call.path).collect();
    assert_eq!(paths, ["/v1/credentials/default", "/v1/credentials/deploy", "/v1/credentials/default?duration=900"]);
    for duration in ["899", "129601", "x"] {
        assert_eq!(desk.run(&["credentials", "--duration", duration]).await.exits(2), "");
    }
    assert_eq!(desk.run(&["credentials", "--grant", "../x"]).await.exits(2), "");
}

#[tokio::test]
async fn credentials_are_renewed_in_the_last_five_minutes_or_the_last_quarter() {
    for (life, kept, renewed) in [(3_600, 3_290, 3_305), (900, 670, 680)] {
        let desk = Desk::signed_in().await;
        desk.conduct(|conduct| conduct.life = life);
        desk.run(&CREDENTIALS).await.exits(0);
        desk.age(".credentials", kept);
        desk.run(&CREDENTIALS).await.exits(0);
        assert_eq!(desk.asked("/v1/credentials"), 1);
        desk.age(".credentials", renewed - kept);
        desk.run(&CREDENTIALS).await.exits(0);
        assert_eq!(desk.asked("/v1/credentials"), 2);
    }
}

#[tokio::test]
async fn a_token_is_refreshed_and_the_new_refresh_token_kept() {
    let desk = Desk::signed_in().await;
    for _ in 0..3 {
        desk.age(".session", 4_000);
        if desk.asked("/v1/credentials") > 0 {
            desk.age(".credentials", 4_000);
        }
        desk.run(&CREDENTIALS).await.exits(0);
    }
    assert_eq!((desk.asked("/token"), desk.asked("/v1/credentials")), (3, 3));
    let sent: Vec<String> = desk.provider.calls().iter().map(|call| call.form()["refresh_token"].clone()).collect();
    assert_eq!(sent, [1, 2, 3].map(|made| format!("{SECRET}-refresh-{made}")));
}

#[tokio::test]
async fn a_refresh_token_that_is_spent_ends_the_sign_in() {
    let desk = Desk::signed_in().await;
    desk.age(".session", 4_000);
    desk.conduct(|conduct| conduct.refresh = "another".into());
    desk.run(&CREDENTIALS).await.fails("run `hallpass login http://");
    desk.run(&CREDENTIALS).await.fails("not signed in");
    assert_eq!(desk.asked("/token"), 1, "what is dead is not asked about again");
}

#[tokio::test]
async fn a_provider_that_is_down_ends_no_sign_in() {
    let desk = Desk::signed_in().await;
    desk.age(".session", 4_000);
    for fault in
        [Fault::Resets, Fault::Answers(Reply::new(500, "text/html", "x")), Fault::Answers(answer(429, &json!({})))]
    {
        desk.provider.fail_always(&fault);
        let run = desk.run(&CREDENTIALS).await;
        assert_eq!(run.exits(1), "");
    }
    desk.provider.heal();
    desk.run(&CREDENTIALS).await.exits(0);
}

#[tokio::test]
async fn somebody_elses_tokens_are_not_taken() {
    let desk = Desk::signed_in().await;
    desk.age(".session", 4_000);
    desk.conduct(|conduct| conduct.claims = json!({"sub": "mallory"}));
    desk.run(&CREDENTIALS).await.fails("somebody else");
}

#[tokio::test]
async fn a_token_that_the_server_refuses_is_refreshed_once() {
    let desk = Desk::signed_in().await;
    desk.hallpass.fail_call(0, &Fault::Answers(problem(401, "invalid_token", &json!({}))));
    desk.run(&CREDENTIALS).await.exits(0);
    assert_eq!((desk.asked("/token"), desk.asked("/v1/credentials")), (1, 2));
    desk.age(".credentials", 4_000);
    desk.hallpass.fail_always(&Fault::Answers(problem(401, "invalid_token", &json!({}))));
    desk.run(&CREDENTIALS).await.fails("because of invalid_token");
    assert_eq!(desk.asked("/token"), 2);
}

#[tokio::test]
async fn old_credentials_serve_while_the_server_is_down() {
    let desk = Desk::signed_in().await;
    let old = desk.run(&CREDENTIALS).await.json();
    desk.age(".credentials", 3_400);
    desk.hallpass.fail_always(&Fault::Resets);
    let run = desk.run(&CREDENTIALS).await;
    assert_eq!(run.json(), old);
    assert!(run.stderr.starts_with("warning: "), "{}", run.stderr);
    desk.age(".credentials", 250);
    desk.run(&CREDENTIALS).await.fails("broke");
    // A refusal is the server's last word.
    desk.age(".credentials", -200);
    desk.hallpass.fail_always(&Fault::Answers(problem(403, "access_denied", &json!({}))));
    desk.run(&CREDENTIALS).await.fails("access_denied");
}

#[tokio::test]
async fn forty_processes_make_one_refresh_and_one_request() {
    let desk = Desk::signed_in().await;
    desk.run(&CREDENTIALS).await.exits(0);
    desk.age(".credentials", 4_000);
    desk.age(".session", 4_000);
    desk.hallpass.forget_calls();
    let commands: Vec<_> = (0..40).map(|_| desk.command(&CREDENTIALS)).collect();
    let runs =
        futures_util::future::join_all(commands.into_iter().map(|mut command| async move { command.output().await }))
            .await;
    for run in runs {
        assert_eq!(Run::of(&run.unwrap()).json()["AccessKeyId"], "ASIAdefault");
    }
    assert_eq!((desk.asked("/token"), desk.asked("/v1/credentials")), (1, 1));
}

/// The process that renews a sign-in for this one.
async fn renewing(desk: &Desk, id: u32) -> String {
    let found = desk.command_of(Path::new("pgrep"), &["-P", &id.to_string()]).output().await.unwrap();
    Run::of(&found).exits(0).trim().to_owned()
}

async fn kill(desk: &Desk, signal: &str, target: &str) {
    let killed = desk.command_of(Path::new("kill"), &["-s", signal, "--", target]).status().await.unwrap();
    assert!(killed.success(), "{signal} {target}");
}

#[tokio::test]
async fn a_process_that_is_killed_inside_the_lock_stops_nobody() {
    let desk = Desk::signed_in().await;
    desk.age(".session", 4_000);
    // The first to refresh waits for the provider, and its two processes have both locks.
    desk.provider.fail_times(1, &Fault::Hangs);
    let mut first = desk.command(&CREDENTIALS).spawn().unwrap();
    desk.provider.held().await;
    let renewing = renewing(&desk, first.id().unwrap()).await;
    let commands: Vec<_> = (0..39).map(|_| desk.command(&CREDENTIALS)).collect();
    let runs =
        futures_util::future::join_all(commands.into_iter().map(|mut command| async move { command.output().await }));
    let killing = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        first.kill().await.unwrap();
        kill(&desk, "KILL", &renewing).await;
    };
    let (runs, ()) = tokio::join!(runs, killing);
    for run in runs {
        Run::of(&run.unwrap()).json();
    }
    assert_eq!((desk.asked("/token"), desk.asked("/v1/credentials")), (2, 1), "one was never answered");
}

#[tokio::test]
async fn a_second_factor_is_asked_for_by_name_and_never_with_a_browser() {
    let desk = Desk::signed_in().await;
    desk.conduct(|conduct| {
        let refusal = problem(401, "insufficient_user_authentication", &json!({"acr_values": ["mfa"], "max_age": 60}));
        conduct.refusals.insert("deploy".into(), refusal);
    });
    let run = desk.run_with(&[("BROWSER", "touch ./opened")], &["credentials", "--grant", "deploy"]).await;
    run.fails("--grant deploy");
    assert!(run.stderr.contains("hallpass login http://") && run.stderr.contains("level mfa"), "{}", run.stderr);
    assert_eq!(desk.asked("/auth"), 0);
}

#[tokio::test]
async fn auto_login_signs_in_with_the_browser() {
    let desk = Desk::new().await;
    let server = desk.hallpass.url();
    let browser = [("BROWSER", "curl -sSLo /dev/null")];
    let run = desk.run_with(&browser, &["credentials", "--server", &server]).await;
    run.fails("not signed in");
    let run = desk.run_with(&browser, &["credentials", "--server", &server, "--auto-login"]).await;
    assert_eq!(run.json()["AccessKeyId"], "ASIAdefault");
    // Without anybody to sign in, it fails as ever.
    desk.run(&["logout"]).await.exits(0);
    desk.run(&["credentials", "--server", &server, "--auto-login"]).await.fails("not signed in");
}

#[tokio::test]
async fn forty_processes_open_one_browser() {
    let desk = Desk::new().await;
    let server = desk.hallpass.url();
    let commands: Vec<_> = (0..20)
        .map(|_| {
            let mut command = desk.command(&["credentials", "--server", &server, "--auto-login"]);
            command.env("BROWSER", "curl -sSLo /dev/null");
            command
        })
        .collect();
    let runs =
        futures_util::future::join_all(commands.into_iter().map(|mut command| async move { command.output().await }))
            .await;
    for run in runs {
        Run::of(&run.unwrap()).json();
    }
    assert_eq!((desk.asked("/auth"), desk.asked("/v1/credentials")), (1, 1));
}

#[tokio::test]
async fn programs_have_tokens_of_their_own_and_nothing_is_stored() {
    let desk = Desk::new().await;
    let server = desk.hallpass.url();
    std::fs::write(desk.path("token"), format!("{SECRET}-file\n")).unwrap();
    let file = desk.path("token");
    let github = format!("{}/github?x=1", desk.provider.url());
    let variables = [
        ("HALLPASS_SERVER", server.as_str()),
        ("JOB_TOKEN", "canary-env"),
        ("ACTIONS_ID_TOKEN_REQUEST_URL", github.as_str()),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "canary-right"),
        ("CI", "true"),
    ];
    for (arguments, token) in [
        (vec!["--token-file", file.to_str().unwrap()], "Bearer canary-file"),
        (vec!["--token-env", "JOB_TOKEN"], "Bearer canary-env"),
        (vec!["--github-actions"], "Bearer canary-github"),
        (vec!["--github-actions", "--audience", "mine"], "Bearer canary-github"),
    ] {
        desk.hallpass.forget_calls();
        let run = desk.run_with(&variables, &[&CREDENTIALS, arguments.as_slice()].concat()).await;
        assert_eq!(run.json()["AccessKeyId"], "ASIAdefault");
        assert_eq!(desk.hallpass.calls()[0].header("authorization"), Some(token));
    }
    assert!(!desk.state().exists(), "nothing is stored");
    let asked: Vec<_> = desk.provider.calls().iter().map(|call| call.path.clone()).collect();
    let audience: String = url::form_urlencoded::byte_serialize(server.as_bytes()).collect();
    assert_eq!(asked, [format!("/github?x=1&audience={audience}"), "/github?x=1&audience=mine".to_owned()]);
    assert_eq!(desk.provider.calls()[0].header("authorization"), Some("Bearer canary-right"));
    // Without a name, the server is that of the last login.
    desk.sign_in().await;
    desk.run(&["credentials", "--token-file", file.to_str().unwrap()]).await.json();
    assert_eq!(desk.hallpass.calls().last().unwrap().header("authorization"), Some("Bearer canary-file"));
    assert_eq!(desk.asked("/token"), 1, "the sign-in is not used");
}

#[tokio::test]
async fn a_program_without_its_token_is_told_where_it_should_be() {
    let desk = Desk::new().await;
    let server = desk.hallpass.url();
    let variables = [("HALLPASS_SERVER", server.as_str())];
    for (arguments, told) in [
        (vec!["--token-file", "/nowhere/token"], "/nowhere/token"),
        (vec!["--token-env", "NOTHING"], "NOTHING"),
        (vec!["--github-actions"], "id-token: write"),
    ] {
        desk.run_with(&variables, &[&CREDENTIALS, arguments.as_slice()].concat()).await.fails(told);
    }
    assert_eq!(desk.run(&["credentials", "--token-env", "X"]).await.exits(2), "");
    assert_eq!(desk.run_with(&variables, &["credentials", "--token-env", "X", "--github-actions"]).await.exits(2), "");
}

#[tokio::test]
async fn a_refresh_that_has_begun_is_stored_after_the_limit() {
    let desk = Desk::signed_in().await;
    desk.age(".session", 4_000);
    desk.provider.fail_times(1, &Fault::KeepsAnswer);
    // It ends at its own limit, although the provider has not answered yet.
    desk.run(&CREDENTIALS).await.fails("did not answer in time");
    desk.provider.release();
    desk.run(&CREDENTIALS).await.exits(0);
    assert_eq!(desk.asked("/token"), 1, "the first answer was kept");
}

#[tokio::test]
async fn a_caller_that_kills_in_the_middle_of_a_refresh_loses_nothing() {
    let desk = Desk::signed_in().await;
    for signal in ["TERM", "INT", "HUP", "KILL"] {
        for is_group in [false, true] {
            desk.age(".session", 4_000);
            desk.provider.forget_calls();
            // The refresh token is spent, and its successor not stored yet.
            desk.provider.fail_times(1, &Fault::KeepsAnswer);
            let mut command = desk.command(&["credentials", "--duration", "900"]);
            let mut child = command.process_group(0).stderr(Stdio::null()).spawn().unwrap();
            desk.provider.held().await;
            let id = child.id().unwrap().to_string();
            kill(&desk, signal, &if is_group { format!("-{id}") } else { id }).await;
            assert!(!child.wait().await.unwrap().success());
            desk.provider.release();
            desk.run(&CREDENTIALS).await.json();
            assert_eq!(desk.asked("/token"), 1, "{signal}: its answer was kept");
            desk.age(".credentials", 4_000);
        }
    }
}

#[tokio::test]
async fn a_refresh_that_is_killed_itself_ends_the_sign_in_with_a_clear_line() {
    let desk = Desk::signed_in().await;
    desk.age(".session", 4_000);
    desk.provider.fail_times(1, &Fault::KeepsAnswer);
    let mut command = desk.command(&CREDENTIALS);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    desk.provider.held().await;
    kill(&desk, "KILL", &renewing(&desk, child.id().unwrap()).await).await;
    Run::of(&child.wait_with_output().await.unwrap()).fails("try again");
    desk.run(&CREDENTIALS).await.fails("run `hallpass login http://");
}

#[tokio::test]
async fn only_hallpass_itself_asks_for_a_renewal() {
    let desk = Desk::signed_in().await;
    let run = desk.run(&["renew"]).await;
    assert!(run.exits(2).is_empty() && run.stderr.contains("only hallpass itself"), "{}", run.stderr);
    let help = desk.run(&["--help"]).await;
    assert!(!help.exits(0).lines().any(|line| line.trim_start().starts_with("renew")), "{}", help.stdout);
}

#[tokio::test]
async fn a_refresh_without_an_id_token_keeps_the_new_refresh_token() {
    let desk = Desk::signed_in().await;
    desk.age(".session", 4_000);
    desk.edit(".session", |session| session["kind"] = json!("id_token"));
    let tokens = json!({"access_token": "canary-a", "token_type": "Bearer", "refresh_token": "canary-next"});
    desk.conduct(|conduct| conduct.token_answers = vec![answer(200, &tokens)]);
    desk.run(&CREDENTIALS).await.fails("no ID token; run `hallpass login http://");
    desk.edit(".session", |session| assert_eq!(session["refresh_token"], "canary-next"));
}

#[tokio::test]
async fn whatever_refuses_a_refresh_the_remedy_is_named_and_the_sign_in_kept() {
    let desk = Desk::signed_in().await;
    desk.age(".session", 4_000);
    for error in ["invalid_client", "unauthorized_client", "interaction_required"] {
        desk.conduct(|conduct| conduct.token_answers = vec![answer(400, &json!({"error": error}))]);
        let run = desk.run(&CREDENTIALS).await;
        run.fails("run `hallpass login http://");
        assert!(run.stderr.contains(error), "{}", run.stderr);
    }
    desk.conduct(|conduct| conduct.token_answers = vec![answer(429, &json!({"error": "too_many"}))]);
    let run = desk.run(&CREDENTIALS).await;
    assert!(run.exits(1).is_empty() && !run.stderr.contains("login"), "{}", run.stderr);
    desk.run(&CREDENTIALS).await.exits(0);
}

#[tokio::test]
async fn a_sign_in_that_another_machine_renewed_is_kept() {
    let desk = Desk::signed_in().await;
    desk.age(".session", 4_000);
    desk.conduct(|conduct| conduct.refresh = "another".into());
    desk.provider.fail_times(1, &Fault::Hangs);
    let mut command = desk.command(&CREDENTIALS);
    let running = tokio::spawn(async move { command.output().await });
    desk.provider.held().await;
    // Whose clock is ahead of this one's.
    desk.edit(".session", |session| session["refresh_token"] = json!("another"));
    desk.age(".session", -10_000);
    desk.provider.release();
    Run::of(&running.await.unwrap().unwrap()).fails("try again");
    desk.edit(".session", |session| assert_eq!(session["refresh_token"], "another"));
}
