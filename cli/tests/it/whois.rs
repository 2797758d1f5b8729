//! Whom does `hallpass whois` find, and what does it not believe?
#![expect(clippy::arithmetic_side_effects, reason = "tests count small numbers")]

use std::process::Stdio;

use hallpass::session::FederatedName;
use hallpass_testing::aws::dynamodb::STATE;
use hallpass_testing::aws::iam::BROKER_USER;
use hallpass_testing::aws::logs::AUDIT_LOG;
use hallpass_testing::clock;
use hallpass_testing::operator::{DAY, Deployed, Run};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

const NAME: &str = "carol-3o2jzrlhnfnb";
const KEY: &str = "ASIACAROL0000000EXAM";

/// A session as the audit lines tell of it.
#[derive(Clone)]
struct Session {
    subject: &'static str,
    name: String,
    key: &'static str,
    /// Seconds since the epoch.
    at: u64,
}

fn rfc3339(seconds: u64) -> String {
    hallpass::time::rfc3339(i64::try_from(seconds).unwrap()).unwrap()
}

impl Session {
    fn of(subject: &'static str, at: u64) -> Self {
        Self { subject, name: FederatedName::of_subject("corp", subject).as_str().to_owned(), key: KEY, at }
    }

    fn line(&self) -> Value {
        json!({
            "event": "issuing", "time": rfc3339(self.at), "request_id": format!("JKJaXmPLvHcESHA{}{}=", self.at, self.key),
            "lambda_request_id": "5c2b6a1e-0000-4000-8000-000000000001", "route": "GET /v1/credentials",
            "source_ip": "203.0.113.7", "user_agent": "aws-cli/2", "token_sha256": "b".repeat(64), "issuer": "corp",
            "subject": self.subject, "grant": "deploy", "matched": [{"principal": "corp/group/deployers"}],
            "policy_sha256": "a".repeat(64), "duration": 3600, "federated_name": self.name,
        })
    }

    fn outcome(&self) -> Value {
        let mut line = self.line();
        let outcome = json!({
            "event": "outcome", "access_key_id": self.key, "sts_request_id": "c0ffee00",
            "expiration": rfc3339(self.at + 3_600), "status": 200, "code": "issued",
        });
        line.as_object_mut().unwrap().extend(outcome.as_object().unwrap().clone());
        line
    }

    fn write(&self, deployed: &Deployed) {
        let log = &mut deployed.state().log;
        for line in [self.line(), self.outcome()] {
            log.write(self.at * 1_000, line.to_string());
        }
    }
}

/// A stack of which carol got a session an hour ago, and others got some.
async fn used() -> (Deployed, u64) {
    let (deployed, now) = (Deployed::new().await, clock::now());
    Session::of("carol", now - 3_000).write(&deployed);
    Session { key: "ASIADAVE00000000EXAM", ..Session::of("dave", now - 2_000) }.write(&deployed);
    deployed.state().log.write((now - 1_000) * 1_000, "REPORT RequestId: 1 Duration: 2 ms");
    (deployed, now)
}

async fn whois(deployed: &Deployed, arguments: &[&str]) -> Run {
    deployed.run(&[&["whois"], arguments].concat()).await
}

async fn told(deployed: &Deployed, what: &str) -> Value {
    serde_json::from_str(whois(deployed, &["--json", what]).await.exits(0)).unwrap()
}

/// Asks with this on standard input.
async fn of_event(deployed: &Deployed, event: &str, more: &[&str]) -> Run {
    let mut child = deployed.command(&[&["whois", "-"], more].concat()).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    // A command that refuses the stack before it reads its input has closed it.
    let _ = input.write_all(event.as_bytes()).await;
    drop(input);
    Run::of(child).await
}

/// A call of a session, as CloudTrail has it.
fn call(name: &str, key: &str, at: u64) -> Value {
    json!({
        "eventVersion": "1.08", "eventTime": rfc3339(at), "eventSource": "s3.amazonaws.com", "eventName": "GetObject",
        "userIdentity": {
            "type": "FederatedUser", "principalId": format!("111122223333:{name}"), "accountId": "111122223333",
            "arn": format!("arn:aws:sts::111122223333:federated-user/{name}"), "accessKeyId": key,
            "sessionContext": {
                "sessionIssuer": {"type": "IAMUser", "userName": BROKER_USER, "accountId": "111122223333"},
                "webIdFederationData": {},
                "attributes": {"creationDate": rfc3339(at - 60), "mfaAuthenticated": "false"},
            },
        },
    })
}

/// Asserts that nobody was found, for this reason, and that programs read that, too.
fn nobody(run: &Run, words: &[&str]) {
    run.exits(3);
    assert!(run.stderr.contains("nobody was found"), "{run:?}");
    assert!(words.iter().all(|word| run.stderr.contains(word)), "{words:?} in {run:?}");
}

#[tokio::test]
async fn each_form_of_a_session_leads_to_the_person() {
    let (deployed, now) = used().await;
    let at = now - 3_000;
    let expected = json!({
        "name": NAME, "issuer": "corp", "subject": "carol", "confirmed": true,
        "sessions": [{
            "at": rfc3339(at), "access_key_id": KEY, "grant": "deploy", "policy_sha256": "a".repeat(64),
            "source_ip": "203.0.113.7", "expiration": rfc3339(at + 3_600),
        }],
    });
    let arn = format!("arn:aws:sts::111122223333:federated-user/{NAME}");
    for what in [NAME, &format!("111122223333:{NAME}"), &arn, KEY] {
        assert_eq!(told(&deployed, what).await, expected, "{what}");
    }
    let run = of_event(&deployed, &call(NAME, KEY, at + 60).to_string(), &["--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(run.exits(0)).unwrap(), expected);
    assert_eq!(run.stderr, "");
    let text = whois(&deployed, &[NAME]).await;
    assert!(
        ["corp/user/carol", "the hash in the name confirms it", KEY].iter().all(|word| text.exits(0).contains(word))
    );
    assert!(deployed.operations().iter().all(|name| ["DescribeStacks", "FilterLogEvents"].contains(&name.as_str())));
}

#[tokio::test]
async fn the_service_is_asked_only_for_what_is_meant() {
    let (deployed, now) = used().await;
    told(&deployed, NAME).await;
    let asked = deployed.asked("FilterLogEvents");
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0]["filterPattern"], format!(r#"{{ $.federated_name = "{NAME}" }}"#));
    let since = asked[0]["startTime"].as_u64().unwrap() / 1_000;
    assert!((now - 7 * DAY..now - 7 * DAY + 600).contains(&since), "{since}");
    whois(&deployed, &[KEY, "--since", "36h"]).await.exits(0);
    let asked = deployed.asked("FilterLogEvents").remove(1);
    assert_eq!(asked["filterPattern"], format!(r#"{{ $.access_key_id = "{KEY}" }}"#));
    assert!(asked["startTime"].as_u64().unwrap() / 1_000 > now - 2 * DAY);
}

#[tokio::test]
async fn lines_before_since_are_not_looked_at() {
    let deployed = Deployed::new().await;
    Session::of("carol", clock::now() - 8 * DAY).write(&deployed);
    nobody(&whois(&deployed, &[NAME]).await, &["--since"]);
    whois(&deployed, &[NAME, "--since", "9d"]).await.exits(0);
    let time = rfc3339(clock::now() - 9 * DAY);
    whois(&deployed, &[NAME, "--since", &time]).await.exits(0);
    whois(&deployed, &[NAME, "--since", "soon"]).await.exits(2);
}

#[tokio::test]
async fn a_line_that_the_hash_does_not_confirm_is_not_believed() {
    let (deployed, now) = (Deployed::new().await, clock::now());
    Session { name: NAME.into(), ..Session::of("mallory", now - 60) }.write(&deployed);
    for what in [NAME, KEY] {
        let run = whois(&deployed, &[what, "--json"]).await;
        nobody(&run, &["not believed"]);
        let told: Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!(
            (&told["subject"], &told["confirmed"], &told["sessions"]),
            (&Value::Null, &json!(false), &json!([]))
        );
        assert!(!run.stdout.contains("mallory") && !run.stderr.contains("mallory"), "{run:?}");
    }
    Session::of("carol", now - 90).write(&deployed);
    assert_eq!(told(&deployed, NAME).await["subject"], "carol");
}

#[tokio::test]
async fn a_malformed_line_is_told_and_not_believed() {
    let (deployed, now) = used().await;
    let mut line = Session::of("carol", now - 30).outcome();
    line["expiration"] = json!("never");
    deployed.state().log.write((now - 30) * 1_000, line.to_string());
    let run = whois(&deployed, &[NAME, "--json"]).await;
    let told: Value = serde_json::from_str(run.exits(0)).unwrap();
    assert_eq!(told["sessions"].as_array().unwrap().len(), 1);
    assert!(run.stderr.contains("1 audit lines cannot be read"), "{run:?}");
}

#[tokio::test]
async fn what_was_refused_is_no_session_and_what_is_unknown_is_one() {
    let (deployed, now) = (Deployed::new().await, clock::now());
    let session = Session::of("carol", now - 90);
    let mut refused = session.line();
    refused["event"] = json!("outcome");
    refused
        .as_object_mut()
        .unwrap()
        .extend(json!({"status": 503, "code": "temporarily_unavailable"}).as_object().unwrap().clone());
    for line in [session.line(), refused] {
        deployed.state().log.write(session.at * 1_000, line.to_string());
    }
    assert_eq!(told(&deployed, NAME).await["sessions"], json!([]));
    // The function died before it wrote how it ended.
    let other = Session::of("carol", now - 30);
    deployed.state().log.write(other.at * 1_000, other.line().to_string());
    let told = told(&deployed, NAME).await;
    assert_eq!((&told["subject"], &told["sessions"][0]["access_key_id"]), (&json!("carol"), &Value::Null));
    assert_eq!(told["sessions"][0]["at"], rfc3339(now - 30));
}

#[tokio::test]
async fn a_session_of_the_console_is_joined_by_name_and_time() {
    let (deployed, now) = (Deployed::new().await, clock::now());
    for (at, key) in [(now - 20_000, "ASIAEARLIER000000000"), (now - 9_000, KEY), (now - 1_000, "ASIALATER00000000000")]
    {
        Session { key, ..Session::of("carol", at) }.write(&deployed);
    }
    let event = call(NAME, "ASIACONSOLE000000000", now - 7_000);
    let run = of_event(&deployed, &event.to_string(), &["--json"]).await;
    let told: Value = serde_json::from_str(run.exits(0)).unwrap();
    let keys: Vec<&Value> =
        told["sessions"].as_array().unwrap().iter().map(|session| &session["access_key_id"]).collect();
    assert_eq!((keys, &told["subject"]), (vec![&json!(KEY)], &json!("carol")));
    assert!(run.stderr.contains("ASIACONSOLE000000000") && run.stderr.contains("console"), "{run:?}");
    // At no time of a session the person is known, and none of the sessions is it.
    let event = call(NAME, "ASIACONSOLE000000000", now - 14_000);
    let run = of_event(&deployed, &event.to_string(), &["--json"]).await;
    let told: Value = serde_json::from_str(run.exits(0)).unwrap();
    assert_eq!((&told["sessions"], &told["subject"]), (&json!([]), &json!("carol")));
    // Of a key alone nobody can know.
    nobody(&whois(&deployed, &["ASIACONSOLE000000000"]).await, &["CloudTrail event on standard input"]);
}

#[tokio::test]
async fn an_old_event_is_looked_for_at_its_own_time() {
    let (deployed, now) = (Deployed::new().await, clock::now());
    let at = now - 60 * DAY;
    Session::of("carol", at).write(&deployed);
    let run = of_event(&deployed, &call(NAME, KEY, at + 600).to_string(), &["--json"]).await;
    let told: Value = serde_json::from_str(run.exits(0)).unwrap();
    assert_eq!((&told["subject"], &told["sessions"][0]["access_key_id"]), (&json!("carol"), &json!(KEY)));
    let asked = &deployed.asked("FilterLogEvents")[0];
    let (since, until) = (asked["startTime"].as_u64().unwrap(), asked["endTime"].as_u64().unwrap());
    assert_eq!((since, until), ((at + 600 - 36 * 3_600 - 300) * 1_000, (at + 900) * 1_000));
}

#[tokio::test]
async fn the_event_that_made_a_session_leads_to_the_person() {
    let (deployed, now) = used().await;
    let event = json!({
        "eventTime": rfc3339(now - 3_000), "eventSource": "sts.amazonaws.com", "eventName": "GetFederationToken",
        "userIdentity": {"type": "IAMUser", "accountId": "111122223333", "userName": BROKER_USER},
        "requestParameters": {"name": NAME, "durationSeconds": 3600, "policy": "{}"},
        "responseElements": {
            "credentials": {"accessKeyId": KEY, "sessionToken": "IQoJb3JpZ2lu", "expiration": "Jan 15, 2027, 9:00:01 AM"},
            "federatedUser": {"arn": format!("arn:aws:sts::111122223333:federated-user/{NAME}")},
        },
    });
    let run = of_event(&deployed, &json!({"Records": [event.clone()]}).to_string(), &[]).await;
    assert!(run.exits(0).contains("corp/user/carol"), "{run:?}");
    assert!(!run.stdout.contains("IQoJ") && !run.stderr.contains("IQoJ"));
    let mut other = event.clone();
    other["userIdentity"]["userName"] = json!("somebody");
    nobody(&of_event(&deployed, &other.to_string(), &[]).await, &["somebody", BROKER_USER]);
    // Somebody who has the broker key takes carol's name, at a time when she has a session.
    let mut stolen = event.clone();
    stolen["responseElements"]["credentials"]["accessKeyId"] = json!("ASIATHIEF00000000000");
    let run = of_event(&deployed, &stolen.to_string(), &["--json"]).await;
    nobody(&run, &["ASIATHIEF00000000000", "outside Hallpass", "Use of the broker key that nothing explains"]);
    assert!(!run.stdout.contains("\"carol\"") && !run.stderr.contains("corp/user/carol"), "{run:?}");
    // STS refused: whose name it was says nothing about who asked.
    let mut refused = event;
    refused["errorCode"] = json!("AccessDenied");
    refused["responseElements"] = Value::Null;
    nobody(&of_event(&deployed, &refused.to_string(), &[]).await, &["made no session"]);
}

#[tokio::test]
async fn a_key_of_another_persons_session_is_nobodys() {
    let (deployed, now) = used().await;
    // Carol's name, with the key of dave's session.
    for at in [now - 1_900, now - 1_000] {
        let run = of_event(&deployed, &call(NAME, "ASIADAVE00000000EXAM", at).to_string(), &["--json"]).await;
        nobody(&run, &["ASIADAVE00000000EXAM", "another name"]);
        let told: Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!((&told["subject"], &told["confirmed"]), (&Value::Null, &json!(false)));
    }
}

#[tokio::test]
async fn a_session_of_somebody_elses_is_nobodys() {
    let (deployed, now) = used().await;
    nobody(&whois(&deployed, &[&format!("444455556666:{NAME}")]).await, &["444455556666", "111122223333"]);
    let mut event = call(NAME, KEY, now - 2_900);
    event["userIdentity"]["sessionContext"]["sessionIssuer"]["userName"] = json!("another-user");
    nobody(&of_event(&deployed, &event.to_string(), &[]).await, &["another-user"]);
    let role = json!({"eventTime": rfc3339(now), "userIdentity": {"type": "AssumedRole", "arn": "arn:aws:sts::1:assumed-role/a/b"}});
    nobody(&of_event(&deployed, &role.to_string(), &[]).await, &["AssumedRole"]);
    nobody(&whois(&deployed, &["erin-aaaaaaaaaaaa"]).await, &["no audit line"]);
}

#[tokio::test]
async fn input_that_is_no_event_is_a_failure() {
    let (deployed, _) = used().await;
    for input in ["", "carol", "{}", "[]", r#"{"Records":[]}"#, "\u{0}", &"[".repeat(100_000), &"x".repeat(2 << 20)] {
        let run = of_event(&deployed, input, &[]).await;
        run.exits(1);
        assert!(run.stderr.lines().count() == 1 && run.stderr.len() < 300, "{}", run.stderr);
    }
    assert_eq!(deployed.asked("FilterLogEvents").len(), 0);
}

#[tokio::test]
async fn a_name_of_a_claim_is_confirmed_by_its_owner() {
    let (deployed, now) = (Deployed::new().await, clock::now());
    let session = Session { name: "Carol@example.com".into(), ..Session::of("00u1carol", now - 600) };
    session.write(&deployed);
    let run = whois(&deployed, &["Carol@example.com", "--json"]).await;
    let unconfirmed: Value = serde_json::from_str(run.exits(0)).unwrap();
    assert_eq!((&unconfirmed["subject"], &unconfirmed["confirmed"]), (&json!("00u1carol"), &json!(false)));
    assert!(run.stderr.contains("warning: nobody owns the name"), "{run:?}");
    deployed.dynamodb.record("name#carol@example.com", &json!({"owner": "corp/user/00u1carol"}));
    for what in ["Carol@example.com", KEY] {
        let told = told(&deployed, what).await;
        assert_eq!((&told["subject"], &told["confirmed"]), (&json!("00u1carol"), &json!(true)), "{what}");
        assert_eq!(told["sessions"].as_array().unwrap().len(), 1);
    }
    // The owner is known without any line.
    deployed.dynamodb.record("name#dave", &json!({"owner": "lab/user/dave"}));
    let dave = told(&deployed, "dave").await;
    assert_eq!((&dave["issuer"], &dave["confirmed"], &dave["sessions"]), (&json!("lab"), &json!(true), &json!([])));
}

#[tokio::test]
async fn a_name_of_a_claim_is_the_same_in_any_case() {
    let (deployed, now) = (Deployed::new().await, clock::now());
    Session { name: "Carol@Example.com".into(), ..Session::of("00u1carol", now - 600) }.write(&deployed);
    for is_owned in [false, true] {
        if is_owned {
            deployed.dynamodb.record("name#carol@example.com", &json!({"owner": "corp/user/00u1carol"}));
        }
        for what in ["carol@example.com", "CAROL@EXAMPLE.COM", "Carol@Example.com"] {
            let told = told(&deployed, what).await;
            assert_eq!(
                (&told["name"], &told["subject"], &told["confirmed"], &told["sessions"][0]["access_key_id"]),
                (&json!(what), &json!("00u1carol"), &json!(is_owned), &json!(KEY))
            );
        }
    }
    // An owner of today is not the person of another's session, in whatever case that one had the name.
    deployed.dynamodb.record("name#carol@example.com", &json!({"owner": "corp/user/00u2carol"}));
    nobody(&whois(&deployed, &["carol@example.com"]).await, &["00u2carol", "name others"]);
    // A name that is made from a subject has one form only.
    nobody(&whois(&deployed, &[&NAME.to_uppercase()]).await, &["no audit line"]);
}

#[tokio::test]
async fn a_name_that_changed_hands_is_not_guessed() {
    let (deployed, now) = (Deployed::new().await, clock::now());
    Session { name: "carol".into(), ..Session::of("00u1carol", now - 600) }.write(&deployed);
    Session { name: "carol".into(), key: "ASIAOTHER00000000000", ..Session::of("mallory", now - 300) }.write(&deployed);
    nobody(&whois(&deployed, &["carol"]).await, &["corp/user/00u1carol", "corp/user/mallory"]);
    deployed.dynamodb.record("name#carol", &json!({"owner": "corp/user/00u1carol"}));
    let run = whois(&deployed, &["carol", "--json"]).await;
    let told: Value = serde_json::from_str(run.exits(0)).unwrap();
    assert_eq!(told["sessions"].as_array().unwrap().len(), 1);
    assert!(run.stderr.contains("does not own the name"), "{run:?}");
    // Whose session this is, the owner of today does not say.
    nobody(&whois(&deployed, &["ASIAOTHER00000000000"]).await, &["corp/user/00u1carol"]);
    deployed.dynamodb.record("name#carol", &json!({"owner": "corp/group/hr/x"}));
    whois(&deployed, &["carol"]).await.exits(3);
    deployed.dynamodb.record("name#carol", &json!({"owner": 7}));
    whois(&deployed, &["carol"]).await.exits(1);
}

#[tokio::test]
async fn all_pages_are_read_and_an_answer_without_an_end_is_a_failure() {
    let (deployed, now) = used().await;
    for number in 0..50 {
        Session { key: "ASIADAVE00000000EXAM", ..Session::of("dave", now - 2_500 + number) }.write(&deployed);
    }
    Session::of("carol", now - 10).write(&deployed);
    deployed.state().log.page(7);
    assert_eq!(told(&deployed, NAME).await["sessions"].as_array().unwrap().len(), 2);
    assert!(deployed.asked("FilterLogEvents").len() > 10);
    deployed.state().log.never_ends = true;
    whois(&deployed, &[NAME]).await.fails(&["incomplete", AUDIT_LOG]);
}

#[tokio::test]
async fn what_fails_is_told_with_the_permission_that_it_takes() {
    let (deployed, _) = used().await;
    deployed.refuse("FilterLogEvents", "AccessDeniedException");
    whois(&deployed, &[NAME]).await.fails(&["logs:FilterLogEvents", "CloudWatch Logs", AUDIT_LOG]);
}

#[tokio::test]
async fn table_and_log_can_be_named_by_themselves() {
    let (mut deployed, _) = used().await;
    deployed.unset("HALLPASS_STACK");
    whois(&deployed, &[NAME]).await.exits(2);
    whois(&deployed, &[NAME, "--audit-log", AUDIT_LOG]).await.exits(0);
    nobody(&whois(&deployed, &[NAME, "--state-table", STATE]).await, &["--audit-log"]);
    deployed.dynamodb.record("name#carol", &json!({"owner": "corp/user/carol"}));
    let run = whois(&deployed, &["carol", "--state-table", STATE]).await;
    run.exits(0);
    assert!(run.stderr.contains("the audit lines were not looked at"), "{run:?}");
    deployed.set("HALLPASS_AUDIT_LOG", AUDIT_LOG);
    deployed.set("HALLPASS_STATE", STATE);
    whois(&deployed, &[NAME]).await.exits(0);
    assert!(!deployed.operations().contains(&"DescribeStacks".to_owned()));
}

#[tokio::test]
async fn wrong_usage_asks_nobody() {
    let deployed = Deployed::new().await;
    for arguments in [&[][..], &["a"], &["carol smith"], &["corp/user/carol"], &["arn:aws:iam::111122223333:user/x"]] {
        whois(&deployed, arguments).await.exits(2);
    }
    assert_eq!(deployed.operations(), Vec::<String>::new());
}

/// How long a search in the lines of 100,000 requests takes, and how much memory: `cargo test -p hallpass-cli --all-features
/// --test cli -- --ignored --nocapture measure_whois`, with `--release` for the figures of a release.
#[tokio::test]
#[ignore = "a measurement, which asserts nothing about time"]
#[expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a measurement reads the clock and prints")]
async fn measure_whois() {
    let (deployed, now) = (Deployed::new().await, clock::now());
    let subjects = ["dave", "erin", "frank", "grace", "heidi"];
    for number in 0..100_000_u64 {
        let subject = if number % 10_000 == 0 { "carol" } else { subjects[usize::try_from(number % 5).unwrap()] };
        Session::of(subject, now - 500_000 + 4 * number).write(&deployed);
    }
    for (what, name) in [("of few lines", "carol"), ("of a fifth of the lines", "dave")] {
        let start = std::time::Instant::now();
        let name = FederatedName::of_subject("corp", name);
        let run = Run::of(deployed.command(&["whois", name.as_str(), "--json"]).spawn().unwrap()).await;
        let told: Value = serde_json::from_str(run.exits(0)).unwrap();
        let sessions = told["sessions"].as_array().unwrap().len();
        println!("a name {what}: {:?}, {sessions} sessions; {}", start.elapsed(), run.stderr.trim());
    }
}
