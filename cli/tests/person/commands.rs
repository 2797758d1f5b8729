//! What do the other commands do with credentials?

use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use hallpass_testing::server::Fault;

use crate::stand_in::{Desk, Run, SECRET, problem};

/// What a command is told of its environment.
async fn environment(
    desk: &Desk,
    variables: &[(&str, &str)],
    arguments: &[&str],
) -> std::collections::BTreeMap<String, String> {
    let run = desk.run_with(variables, &[&["exec"], arguments, &["--", "env", "-0"]].concat()).await;
    let text = run.exits(0);
    text.split('\0')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

const WINNERS: [(&str, &str); 9] = [
    ("AWS_ACCESS_KEY", "AKIAOLD"),
    ("AWS_SECRET_KEY", "old"),
    ("AWS_BEARER_TOKEN_BEDROCK", "old"),
    ("AWS_ACCESS_KEY_ID", "AKIAOLD"),
    ("AWS_SECRET_ACCESS_KEY", "old"),
    ("AWS_SESSION_TOKEN", "old"),
    ("AWS_PROFILE", "old"),
    ("AWS_ROLE_ARN", "old"),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/old"),
];

#[tokio::test]
async fn a_command_finds_an_endpoint_and_nothing_that_would_win() {
    let desk = Desk::signed_in().await;
    let found = environment(&desk, &WINNERS, &[]).await;
    assert!(found["AWS_CONTAINER_CREDENTIALS_FULL_URI"].starts_with("http://127.0.0.1:"));
    assert!(found["AWS_CONTAINER_AUTHORIZATION_TOKEN"].len() >= 43);
    assert!(WINNERS.iter().all(|(name, _)| !found.contains_key(*name)), "{found:?}");
    assert!(!found.values().any(|value| value.contains(SECRET)), "no key is in the environment");
    assert!(!found.contains_key("AWS_CONFIG_FILE"));
    let found = environment(&desk, &WINNERS, &["--static"]).await;
    assert_eq!(found["AWS_ACCESS_KEY_ID"], "ASIAdefault");
    assert_eq!(found["AWS_SESSION_TOKEN"], format!("{SECRET}-token"));
    assert!(found.contains_key("AWS_CREDENTIAL_EXPIRATION") && !found.values().any(|value| value == "old"));
    assert!(!found.keys().any(|name| name.starts_with("AWS_CONTAINER")), "{found:?}");
}

#[tokio::test]
async fn a_default_profile_with_credentials_does_not_win() {
    let desk = Desk::signed_in().await;
    std::fs::create_dir(desk.path(".aws")).unwrap();
    std::fs::write(desk.path(".aws/config"), "[default]\nregion = eu-west-1\n").unwrap();
    std::fs::write(desk.path(".aws/credentials"), "[default]\naws_access_key_id = canary-old\n").unwrap();
    let script = "cat \"$AWS_CONFIG_FILE\" \"$AWS_SHARED_CREDENTIALS_FILE\"; stat -c %a \"$AWS_CONFIG_FILE\"; echo \"$AWS_CONFIG_FILE\"";
    let run = desk.run(&["exec", "--", "sh", "-c", script]).await;
    let text = run.exits(0);
    assert!(text.starts_with("[default]\nregion = eu-west-1\n600\n"), "{text}");
    assert!(!Path::new(text.lines().last().unwrap()).exists(), "the copy goes with the command");
}

#[tokio::test]
async fn the_endpoint_answers_its_command_alone() {
    let desk = Desk::signed_in().await;
    let script = r#"
        ask() { curl -sS -o /dev/null -w '%{http_code}\n' "$@"; }
        url=$AWS_CONTAINER_CREDENTIALS_FULL_URI token=$AWS_CONTAINER_AUTHORIZATION_TOKEN
        curl -sS -H "Authorization: $token" "$url"; echo
        ask "$url"
        ask -H "Authorization: x$token" "$url"
        ask -H "Authorization: Bearer $token" "$url"
        ask -H "Authorization: $token" "${url%?}"
        ask -H "Authorization: $token" "${url%/*}/"
        ask -H "Authorization: $token" -H 'Host: evil.example.com' "$url"
        ask -H "Authorization: $token" -H 'Origin: https://evil.example.com' "$url"
        ask -X POST -H "Authorization: $token" "$url"
        ask -X OPTIONS -H 'Access-Control-Request-Method: GET' "$url"
    "#;
    let run = desk.run(&["exec", "--", "bash", "-c", script]).await;
    let mut lines = run.exits(0).lines();
    let body: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!((&body["AccessKeyId"], &body["Token"]), (&json!("ASIAdefault"), &json!(format!("{SECRET}-token"))));
    assert!(body["Expiration"].as_str().unwrap().ends_with('Z') && body.get("code").is_none());
    assert_eq!(lines.collect::<Vec<_>>(), ["403", "403", "403", "404", "404", "404", "404", "404", "404"]);
}

#[tokio::test]
async fn another_user_can_neither_ask_the_endpoint_nor_use_it_up() {
    // Only the system's own user can become another one.
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return;
    }
    let desk = Desk::signed_in().await;
    let script = r#"
        url=$AWS_CONTAINER_CREDENTIALS_FULL_URI token=$AWS_CONTAINER_AUTHORIZATION_TOKEN
        host=${url#http://}; host=${host%%/*}
        other() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
        # Without the path and the token it is told nothing, as a scan of ports is.
        other curl -sS -o /dev/null -w '%{http_code}\n' "http://$host/"
        other curl -sS -o /dev/null -w '%{http_code}\n' -H "Authorization: x" "$url"
        # More connections than there may be in all, which say nothing.
        coproc other bash -c 'for _ in {1..300}; do exec {fd}<>/dev/tcp/'"${host%:*}/${host#*:}"'; done; echo ready; read -r'
        read -r line <&"${COPROC[0]}"; echo "$line"
        curl -sS -m 5 -o /dev/null -w '%{http_code}\n' -H "Authorization: $token" "$url"
        echo >&"${COPROC[1]}"
    "#;
    let run = desk.run(&["exec", "--", "bash", "-c", script]).await;
    assert_eq!(run.exits(0).lines().collect::<Vec<_>>(), ["404", "403", "ready", "200"]);
}

#[tokio::test]
async fn a_command_outlives_its_first_credentials() {
    let desk = Desk::signed_in().await;
    // Two seconds: the first are old before the command asks twice.
    desk.conduct(|conduct| conduct.life = 2);
    let script = r#"
        for _ in 1 2 3; do
            curl -sS -H "Authorization: $AWS_CONTAINER_AUTHORIZATION_TOKEN" "$AWS_CONTAINER_CREDENTIALS_FULL_URI"; echo; sleep 2
        done"#;
    let run = desk.run(&["exec", "--", "bash", "-c", script]).await;
    let ends: Vec<Value> =
        run.exits(0).lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["Expiration"].clone()).collect();
    assert!(
        ends.len() == 3 && ends[0] != ends[1] && ends[1] != ends[2] && ends.iter().all(Value::is_string),
        "{ends:?}"
    );
}

#[tokio::test]
async fn exit_codes_and_signals_pass_through() {
    let desk = Desk::signed_in().await;
    for (command, code) in [
        (vec!["sh", "-c", "exit 42"], 42),
        (vec!["true"], 0),
        (vec!["sh", "-c", "kill -TERM $$"], 143),
        (vec!["/nowhere/command"], 127),
        (vec!["no-such-command"], 127),
        (vec!["/etc/passwd"], 126),
    ] {
        let run = desk.run(&[&["exec", "--"], command.as_slice()].concat()).await;
        assert_eq!(run.exits(code), "", "{command:?}");
    }
    for signal in ["TERM", "INT", "HUP", "USR1"] {
        let script = format!("trap 'echo had {signal}; exit 7' {signal}; echo ready; while :; do sleep 0.05; done");
        let mut command = desk.command(&["exec", "--", "bash", "-c", &script]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("ready"));
        let id = child.id().unwrap().to_string();
        assert!(desk.command_of(Path::new("kill"), &["-s", signal, &id]).status().await.unwrap().success());
        assert_eq!(lines.next_line().await.unwrap(), Some(format!("had {signal}")));
        assert_eq!(child.wait().await.unwrap().code(), Some(7), "{signal}");
    }
}

#[tokio::test]
async fn inside_another_exec_the_inner_wins() {
    let desk = Desk::signed_in().await;
    let script =
        r#"curl -sS -H "Authorization: $AWS_CONTAINER_AUTHORIZATION_TOKEN" "$AWS_CONTAINER_CREDENTIALS_FULL_URI""#;
    let inner = [env!("CARGO_BIN_EXE_hallpass"), "exec", "--grant", "deploy", "--", "bash", "-c", script];
    let run = desk.run(&[&["exec", "--"], inner.as_slice()].concat()).await;
    assert!(run.exits(0).contains("ASIAdeploy"), "{run:?}");
    let inner = [env!("CARGO_BIN_EXE_hallpass"), "exec", "--static", "--grant", "deploy", "--", "env"];
    let run = desk.run(&[&["exec", "--"], inner.as_slice()].concat()).await;
    assert!(!run.exits(0).contains("AWS_CONTAINER") && run.stdout.contains("ASIAdeploy"), "{run:?}");
}

#[tokio::test]
async fn a_stronger_sign_in_is_made_on_the_way_unless_it_is_forbidden() {
    let desk = Desk::signed_in().await;
    let refusal = problem(401, "insufficient_user_authentication", &json!({"acr_values": ["mfa"], "max_age": 60}));
    desk.hallpass.fail_call(0, &Fault::Answers(refusal.clone()));
    let run = desk
        .run_with(&[("BROWSER", "curl -sSLo /dev/null")], &["exec", "--grant", "deploy", "--", "echo", "done"])
        .await;
    assert_eq!(run.exits(0), "done\n");
    assert!(run.stderr.contains("needs a stronger sign-in"), "{}", run.stderr);
    let asked = desk.conduct(|conduct| conduct.asked.clone());
    assert_eq!((asked["acr_values"].as_str(), asked["max_age"].as_str()), ("mfa", "60"));
    desk.provider.forget_calls();
    desk.conduct(|conduct| drop(conduct.refusals.insert("audit".into(), refusal)));
    let browser = ("BROWSER", "curl -sSLo /dev/null");
    for (variables, arguments) in [
        (vec![browser], vec!["env", "--grant", "audit", "--no-login"]),
        (vec![browser, ("HALLPASS_NO_LOGIN", "1")], vec!["env", "--grant", "audit"]),
        (vec![], vec!["env", "--grant", "audit"]),
    ] {
        desk.run_with(&variables, &arguments).await.fails("--grant audit");
    }
    assert_eq!(desk.asked("/auth"), 0);
    // It is asked for once: a provider that signs in as weakly as before is not asked for ever.
    desk.run_with(&[browser], &["env", "--grant", "audit"]).await;
    assert_eq!(desk.asked("/auth"), 1);
}

#[tokio::test]
async fn nobody_is_signed_in_where_that_is_forbidden() {
    let desk = Desk::new().await;
    let server = desk.hallpass.url();
    let mut variables = vec![("BROWSER", "curl -sSLo /dev/null"), ("HALLPASS_SERVER", server.as_str())];
    let commands = [&["list"][..], &["env"], &["exec", "--", "true"], &["console", "--print"], &["configure"]];
    for command in commands {
        let (name, rest) = command.split_first().unwrap();
        let forbidding = [&[*name, "--no-login"][..], rest].concat();
        desk.run_with(&variables, &forbidding).await.fails("not signed in");
        let forbidden = [variables.as_slice(), &[("HALLPASS_NO_LOGIN", "1")]].concat();
        desk.run_with(&forbidden, command).await.fails("run `hallpass login http://");
    }
    // Nor where nobody could: there is neither a browser nor a terminal.
    let alone = variables.split_off(1);
    desk.run_with(&alone, &["list"]).await.fails("not signed in");
    assert!(desk.provider.calls().is_empty() && !desk.state().exists());
    variables.extend(alone);
    desk.run_with(&variables, &["list"]).await.exits(0);
    assert_eq!(desk.asked("/auth"), 1);
}

#[tokio::test]
async fn a_shell_evaluates_the_variables() {
    let desk = Desk::signed_in().await;
    let script = format!("eval \"$('{}' env)\" && env -0", env!("CARGO_BIN_EXE_hallpass"));
    let mut command = desk.command_of(Path::new("bash"), &["-c", &script]);
    command.envs(WINNERS);
    let run = Run::of(&command.output().await.unwrap());
    let text = run.exits(0);
    assert!(
        text.contains("AWS_ACCESS_KEY_ID=ASIAdefault\0") && !text.contains("AWS_PROFILE") && !text.contains("/old"),
        "{text}"
    );
    let values = desk.run(&["env", "--format", "json"]).await.json();
    let names: Vec<&String> = values.as_object().unwrap().keys().collect();
    assert_eq!(names, ["AWS_ACCESS_KEY_ID", "AWS_CREDENTIAL_EXPIRATION", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]);
    for (format, line) in [
        ("fish", "set -gx AWS_ACCESS_KEY_ID 'ASIAdefault'"),
        ("powershell", "$Env:AWS_ACCESS_KEY_ID = 'ASIAdefault'"),
        ("cmd", "set \"AWS_ACCESS_KEY_ID=ASIAdefault\""),
        ("dotenv", "AWS_ACCESS_KEY_ID=ASIAdefault"),
    ] {
        let run = desk.run(&["env", "--format", format]).await;
        assert!(run.exits(0).lines().any(|found| found == line), "{format}: {}", run.stdout);
    }
    assert_eq!(
        desk.run_with(&[("SHELL", "/usr/bin/fish")], &["env", "--unset"]).await.exits(0).lines().next(),
        Some("set -e AWS_ACCESS_KEY_ID")
    );
}

#[tokio::test]
async fn profiles_are_written_and_renewed_and_the_rest_of_the_file_stays() {
    let desk = Desk::signed_in().await;
    let config = desk.path(".aws/config");
    let server = desk.hallpass.url();
    assert!(desk.run(&["configure", "--diff"]).await.exits(0).contains("\n+[profile hallpass-deploy]\n"));
    assert!(
        desk.run(&["configure", "--print"])
            .await
            .exits(0)
            .contains("[profile hallpass-default]\ncredential_process = /")
    );
    assert!(!config.exists());
    desk.run(&["configure"]).await.exits(0);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&config), mode(&desk.path(".aws"))), (0o600, 0o700));
    let text = std::fs::read_to_string(&config).unwrap();
    let line = format!(
        "credential_process = {} credentials --server {server} --grant deploy\n",
        env!("CARGO_BIN_EXE_hallpass")
    );
    assert!(text.contains(&line), "{text}");
    // What it wrote works.
    let command = text.lines().find_map(|line| line.strip_prefix("credential_process = ")).unwrap();
    let run = Run::of(&desk.command_of(Path::new("sh"), &["-c", command]).output().await.unwrap());
    assert_eq!(run.json()["AccessKeyId"], "ASIAdefault");
    // A link stays one, and a mode what it was.
    let elsewhere = desk.path("elsewhere");
    std::fs::write(&elsewhere, "[default]\nregion = x").unwrap();
    std::fs::set_permissions(&elsewhere, PermissionsExt::from_mode(0o640)).unwrap();
    std::fs::remove_file(&config).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &config).unwrap();
    desk.run(&["configure", "--prefix", "corp"]).await.exits(0);
    assert!(std::fs::symlink_metadata(&config).unwrap().is_symlink());
    assert_eq!(mode(&elsewhere), 0o640);
    let text = std::fs::read_to_string(&elsewhere).unwrap();
    assert!(
        text.starts_with("[default]\nregion = x\n# >>> hallpass") && text.contains("[profile corp-deploy]"),
        "{text}"
    );
    assert_eq!(desk.run(&["configure", "--prefix", "corp", "--diff"]).await.exits(0), "");
    // Grants that are gone go.
    desk.conduct(|conduct| conduct.grants["grants"].as_array_mut().unwrap().truncate(1));
    desk.run(&["configure", "--prefix", "corp"]).await.exits(0);
    assert!(!std::fs::read_to_string(&elsewhere).unwrap().contains("deploy"));
    std::fs::write(&elsewhere, "[profile corp-default]\nregion = x\n").unwrap();
    desk.run(&["configure", "--prefix", "corp"]).await.fails("outside of the block");
    assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "[profile corp-default]\nregion = x\n");
    let other = desk.path("other");
    desk.run_with(&[("AWS_CONFIG_FILE", other.to_str().unwrap())], &["configure"]).await.exits(0);
    assert!(other.exists());
}

#[tokio::test]
async fn the_console_is_an_address_that_a_session_was_traded_for() {
    let desk = Desk::signed_in().await;
    let host = desk.provider.url();
    let signin = [("AWS_ENDPOINT_URL_SIGNIN", host.as_str()), ("AWS_REGION", "eu-west-1")];
    let run = desk.run_with(&signin, &["console", "--service", "s3", "--print"]).await;
    let address = url::Url::parse(run.exits(0).trim_end()).unwrap();
    assert!(address.as_str().starts_with(&format!("{host}/federation?Action=login&Issuer=")), "{address}");
    let query: std::collections::BTreeMap<String, String> = address.query_pairs().into_owned().collect();
    assert_eq!(query["Issuer"], desk.hallpass.url());
    assert_eq!(query["Destination"], "https://console.aws.amazon.com/s3/home?region=eu-west-1");
    assert_eq!(query["SigninToken"], format!("{SECRET}-signin"));
    let calls = desk.provider.calls();
    let form = calls[0].form();
    assert_eq!(
        (calls[0].method.as_str(), calls[0].path.as_str(), form["Action"].as_str()),
        ("POST", "/federation", "getSigninToken")
    );
    assert!(!form.contains_key("SessionDuration"));
    let session: Value = serde_json::from_str(&form["Session"]).unwrap();
    assert_eq!(
        session,
        json!({"sessionId": "ASIAdefault", "sessionKey": format!("{SECRET}-key"), "sessionToken": format!("{SECRET}-token")})
    );
    for destination in ["https://evil.example.com", "http://console.aws.amazon.com"] {
        assert_eq!(desk.run_with(&signin, &["console", "--print", "--destination", destination]).await.exits(2), "");
    }
    // The browser is led there, and its arguments say nothing.
    let browser = "sh -c 'echo \"$0\" > opened; curl -sSLo /dev/null \"$0\"'";
    let mut command = desk.command(&["console", "--browser", browser]);
    command.envs(signin).current_dir(desk.path(""));
    Run::of(&command.output().await.unwrap()).exits(0);
    let opened = std::fs::read_to_string(desk.path("opened")).unwrap();
    assert!(opened.starts_with("http://127.0.0.1:") && !opened.contains(SECRET), "{opened}");
}

#[tokio::test]
async fn a_doctor_finds_what_stops_work() {
    let desk = Desk::signed_in().await;
    let run = desk.run(&["doctor", "--json"]).await;
    let checks = run.json()["checks"].as_array().unwrap().clone();
    let of = |checks: &[Value], name: &str| {
        checks.iter().find(|check| check["check"] == name).map(|check| check["result"].clone())
    };
    for name in ["storage", "lock", "clock", "metadata", "provider", "redirect", "sign-in"] {
        assert_eq!(of(&checks, name), Some(json!("ok")), "{name}: {checks:?}");
    }
    desk.run(&["doctor"]).await.exits(0);
    desk.provider.fail_always(&Fault::Resets);
    assert!(desk.run(&["doctor"]).await.exits(3).contains("problem"));
    desk.provider.heal();
    desk.hallpass.fail_always(&Fault::Resets);
    desk.run(&["doctor"]).await.exits(3);
    desk.hallpass.heal();
    desk.run(&["logout"]).await.exits(0);
    let url = desk.hallpass.url();
    let run = desk.run_with(&[("HALLPASS_SERVER", &url)], &["doctor"]).await;
    assert!(run.exits(3).contains("hallpass login"), "{run:?}");
    std::fs::set_permissions(desk.state(), PermissionsExt::from_mode(0o777)).unwrap();
    assert!(desk.run(&["doctor"]).await.exits(3).contains("chmod 700"));
}

#[tokio::test]
async fn every_command_has_an_example() {
    let desk = Desk::new().await;
    for command in ["login", "logout", "status", "list", "credentials", "exec", "env", "console", "configure", "doctor"]
    {
        let run = desk.run(&[command, "--help"]).await;
        assert!(run.exits(0).contains("Example"), "{command}");
    }
}

#[tokio::test]
async fn a_refresh_outlives_the_command_that_it_is_for() {
    let desk = Desk::signed_in().await;
    desk.conduct(|conduct| conduct.life = 8);
    desk.run(&["credentials"]).await.exits(0);
    desk.conduct(|conduct| conduct.life = 3_600);
    desk.age(".session", 4_000);
    desk.provider.fail_times(1, &Fault::Hangs);
    let end = desk.path("end");
    let script = format!("until test -e '{}'; do sleep 0.05; done", end.display());
    let mut child = desk.command(&["exec", "--", "sh", "-c", &script]).spawn().unwrap();
    desk.provider.held().await;
    std::fs::write(&end, "").unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(0), "it does not wait for the provider");
    desk.provider.release();
    desk.run(&["credentials"]).await.exits(0);
    assert_eq!(desk.asked("/token"), 1, "its answer was kept");
}

#[tokio::test]
async fn somebody_else_who_signs_in_on_the_way_is_named() {
    let desk = Desk::signed_in().await;
    let refusal = problem(401, "insufficient_user_authentication", &json!({"acr_values": ["mfa"]}));
    desk.hallpass.fail_call(0, &Fault::Answers(refusal));
    desk.conduct(|conduct| conduct.claims = json!({"sub": "mallory"}));
    let run = desk.run_with(&[("BROWSER", "curl -sSLo /dev/null")], &["exec", "--", "echo", "done"]).await;
    assert_eq!(run.exits(1), "");
    assert!(run.stderr.contains("as mallory now"), "{}", run.stderr);
}

#[tokio::test]
async fn a_server_that_is_down_is_asked_less_and_less_often_and_warned_of_once() {
    let desk = Desk::signed_in().await;
    desk.conduct(|conduct| conduct.life = 900);
    desk.run(&["credentials"]).await.exits(0);
    desk.age(".credentials", 680);
    desk.hallpass.forget_calls();
    desk.hallpass.fail_always(&Fault::Resets);
    let script = r#"for _ in 1 2; do
        curl -sSo /dev/null -w '%{http_code} ' -H "Authorization: $AWS_CONTAINER_AUTHORIZATION_TOKEN" "$AWS_CONTAINER_CREDENTIALS_FULL_URI"
    done"#;
    let run = desk.run(&["exec", "--", "bash", "-c", script]).await;
    assert_eq!(run.exits(0), "200 200 ");
    assert_eq!(run.stderr.matches("warning: ").count(), 1, "{}", run.stderr);
    // Each attempt is made twice: before the command, and when it asks first.
    assert_eq!(desk.asked("/v1/credentials"), 4);
}
