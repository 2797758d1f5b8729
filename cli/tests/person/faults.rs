//! Is standard output of `credentials` one JSON document or nothing, whatever happens?

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use hallpass_testing::server::{Fault, Reply};

use crate::stand_in::{Desk, Run, answer, problem};

/// Runs `credentials`, which has to fail with one line, and then, if nothing is broken any more, to work.
async fn fails(desk: &Desk, told: &str) {
    desk.run(&["credentials"]).await.fails(told);
}

#[tokio::test]
async fn whatever_the_server_answers() {
    let page = |status, body: &str| Fault::Answers(Reply::new(status, "text/html", body));
    for (fault, told) in [
        (page(200, "<html>canary"), "not JSON"),
        (page(200, ""), "not JSON"),
        (page(404, "<html>canary"), "status 404"),
        (page(502, "<html>canary"), "status 502"),
        (Fault::Answers(answer(200, &json!({}))), "not credentials"),
        (Fault::Answers(answer(200, &json!([]))), "not JSON"),
        (Fault::Answers(answer(429, &json!({"message": "Too Many Requests"}))), "status 429"),
        (
            Fault::Answers(Reply::new(302, "text/html", "").header("location", "https://evil.example.com/canary")),
            "redirects",
        ),
        (Fault::Answers(problem(403, "access_denied", &json!({}))), "access_denied"),
        (Fault::Answers(problem(403, "a_new_code", &json!({"message": "line\nbreak \u{1b}[2J"}))), "line break"),
        (Fault::Answers(problem(503, "temporarily_unavailable", &json!({}))), "temporarily_unavailable"),
        (Fault::Resets, "broke"),
        (Fault::Truncates, "broke"),
        (Fault::LosesAnswer, "broke"),
        (Fault::Hangs, "in time"),
        (Fault::Drips, "in time"),
    ] {
        let desk = Desk::signed_in().await;
        desk.hallpass.fail_always(&fault);
        let run = desk.run(&["credentials"]).await;
        run.fails(told);
        assert!(!run.stderr.contains('\u{1b}'), "{}", run.stderr);
        desk.hallpass.heal();
        desk.hallpass.release();
        desk.run(&["credentials"]).await.json();
    }
}

#[tokio::test]
async fn whatever_the_credentials_lack() {
    let desk = Desk::signed_in().await;
    desk.conduct(|conduct| conduct.life = -10);
    fails(&desk, "clock").await;
    desk.conduct(|conduct| conduct.life = 3_600);
    desk.run(&["credentials"]).await.json();
}

#[tokio::test]
async fn a_server_that_is_not_there() {
    let desk = Desk::signed_in().await;
    desk.run(&["credentials", "--server", "http://127.0.0.1:9"]).await.fails("not signed in");
    let run = desk.run(&["credentials", "--server", "nonsense"]).await;
    assert_eq!(run.exits(2), "");
}

#[tokio::test]
async fn a_proxy_that_refuses_gets_no_token_and_its_password_stays_secret() {
    let proxy = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://carol:canary@{}", proxy.local_addr().unwrap());
    let answering = async {
        let mut asked = String::new();
        // It is tried again once.
        for _ in 0..2 {
            let (mut stream, _) = proxy.accept().await.unwrap();
            let mut head = vec![0; 4_096];
            let count = stream.read(&mut head).await.unwrap();
            stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await.unwrap();
            asked = String::from_utf8_lossy(&head[..count]).to_lowercase();
        }
        asked
    };
    let desk = Desk::new().await;
    let variables = [("HTTPS_PROXY", address.as_str()), ("TOKEN", "canary-token")];
    let arguments = ["credentials", "--server", "https://hallpass.example.com", "--token-env", "TOKEN"];
    let (run, head) = tokio::join!(desk.run_with(&variables, &arguments), answering);
    run.fails("cannot be reached through the proxy 127.0.0.1");
    assert!(head.starts_with("connect hallpass.example.com:443 http/1.1") && !head.contains("canary"), "{head}");
    assert!(head.contains("proxy-authorization: basic "), "{head}");
}

#[tokio::test]
async fn whatever_is_in_the_store() {
    let desk = Desk::signed_in().await;
    let session = desk.stored(".session");
    let whole = std::fs::read(&session).unwrap();
    for content in [&whole[..whole.len() / 2], b"", b"{}", b"[1]", b"\xff\xfe", b"hallpass-sealed-1\nx"] {
        std::fs::write(&session, content).unwrap();
        desk.run(&["credentials"]).await.fails(if content.starts_with(b"hallpass") { "keyring" } else { "damaged" });
    }
    std::fs::write(&session, &whole).unwrap();
    desk.run(&["credentials"]).await.json();
    // A cache is only a cache.
    let cached = desk.stored(".credentials");
    let text = std::fs::read(&cached).unwrap();
    for cut in [0, 1, text.len() / 2, text.len() - 1] {
        std::fs::write(&cached, &text[..cut]).unwrap();
        desk.run(&["credentials"]).await.json();
    }
    desk.edit(".credentials", |value| value["session"] = json!("another"));
    desk.hallpass.forget_calls();
    desk.run(&["credentials"]).await.json();
    assert_eq!(desk.asked("/v1/credentials"), 1, "what belongs to another session is not served");
    // A login mends what is damaged, and a logout removes it.
    std::fs::write(&session, b"{").unwrap();
    desk.run(&["logout"]).await.exits(0);
    assert!(!session.exists());
    std::fs::write(&session, b"{").unwrap();
    std::fs::set_permissions(&session, PermissionsExt::from_mode(0o600)).unwrap();
    desk.sign_in().await;
    desk.run(&["credentials"]).await.json();
}

#[tokio::test]
async fn a_store_that_others_can_enter_or_that_is_none() {
    let desk = Desk::signed_in().await;
    let set = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    set(&desk.state(), 0o755);
    fails(&desk, "chmod 700").await;
    let run = desk.run(&["login", &desk.hallpass.url(), "--no-browser"]).await;
    run.fails("chmod 700");
    set(&desk.state(), 0o700);
    set(&desk.stored(".session"), 0o644);
    fails(&desk, "chmod 600").await;
    set(&desk.stored(".session"), 0o600);
    desk.run(&["credentials"]).await.json();
    std::fs::remove_dir_all(desk.state()).unwrap();
    std::fs::write(desk.state(), "").unwrap();
    fails(&desk, "not a directory").await;
}

/// A disk that takes nothing more: no file may grow.
async fn on_a_full_disk(desk: &Desk, arguments: &[&str]) -> Run {
    let script = format!("trap '' XFSZ; ulimit -f 0; exec '{}' \"$@\"", env!("CARGO_BIN_EXE_hallpass"));
    let mut command = desk.command_of(Path::new("bash"), &[&["-c", script.as_str(), "bash"], arguments].concat());
    Run::of(&command.output().await.unwrap())
}

#[tokio::test]
async fn a_full_disk_costs_no_refresh_token_and_no_sign_in() {
    let desk = Desk::signed_in().await;
    desk.age(".session", 4_000);
    on_a_full_disk(&desk, &["credentials"]).await.fails("cannot write");
    assert_eq!(desk.asked("/token"), 0, "the refresh token is not spent");
    let names = || std::fs::read_dir(desk.state()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert!(!names().iter().any(|name| name.to_string_lossy().ends_with(".new")), "{:?}", names());
    desk.run(&["credentials"]).await.json();
    // The cache is read, whatever the disk.
    on_a_full_disk(&desk, &["credentials"]).await.json();
    desk.provider.forget_calls();
    let url = desk.hallpass.url();
    let run = on_a_full_disk(&desk, &["login", &url, "--no-browser"]).await;
    assert!(run.exits(1).is_empty() && run.stderr.contains("cannot write"), "{}", run.stderr);
    assert_eq!(desk.asked("/auth"), 0, "nobody signs in for nothing");
}

#[tokio::test]
async fn a_closed_standard_output_is_a_failure() {
    let desk = Desk::signed_in().await;
    let script = format!("exec '{}' credentials >&-", env!("CARGO_BIN_EXE_hallpass"));
    let output = desk.command_of(Path::new("bash"), &["-c", &script]).output().await.unwrap();
    assert_eq!(Run::of(&output).stdout, "");
}

#[tokio::test]
async fn wherever_it_is_killed_the_next_one_works() {
    let desk = Desk::signed_in().await;
    for milliseconds in 0..12 {
        desk.age(".session", 4_000);
        let mut child = desk
            .command(&["credentials"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(milliseconds * 2)).await;
        child.kill().await.unwrap();
        desk.run(&["credentials"]).await.json();
        desk.run(&["logout"]).await.exits(0);
        desk.sign_in().await;
    }
}
