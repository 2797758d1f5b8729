//! Whose sessions does the command line cut off, in which order, and what does it leave when something fails?

use std::collections::BTreeMap;

use serde_json::{Value, json};

use hallpass_testing::aws::account::Step;
use hallpass_testing::aws::dynamodb;
use hallpass_testing::aws::iam::BROKER_USER;
use hallpass_testing::aws::policy::BOUNDARY;
use hallpass_testing::aws::query;
use hallpass_testing::clock;
use hallpass_testing::operator::{Deployed, KEY, Run};
use hallpass_testing::server::Fault;

/// `corp/user/carol`, by the hash.
const CAROL: &str = "carol-3o2jzrlhnfnb";
const LIST: [&str; 3] = ["revoke", "--list", "--json"];
const ALLOW: &str = r#"{"Action":"*","Effect":"Allow","Resource":"*"}"#;

async fn revoke(deployed: &Deployed, arguments: &[&str]) -> Run {
    deployed.run(&[&["revoke"], arguments].concat()).await
}

async fn told(deployed: &Deployed, arguments: &[&str]) -> Value {
    let run = revoke(deployed, &[arguments, &["--json"]].concat()).await;
    serde_json::from_str(run.exits(0)).unwrap()
}

/// The cuts in force, by name; everyone's without one.
async fn cuts(deployed: &Deployed) -> BTreeMap<String, String> {
    let listed: Value = serde_json::from_str(deployed.run(&LIST).await.exits(0)).unwrap();
    let cuts = listed["cuts"].as_array().unwrap().iter().map(|cut| {
        let name = cut.get("name").map_or("", |name| name.as_str().unwrap());
        assert!(cut.get("name").is_some() || cut["everyone"] == true, "{cut}");
        (name.to_owned(), cut["before"].as_str().unwrap().to_owned())
    });
    cuts.collect()
}

fn names(cuts: &BTreeMap<String, String>) -> Vec<&str> {
    cuts.keys().map(String::as_str).collect()
}

fn is_blocked(deployed: &Deployed, principal: &str) -> bool {
    deployed.dynamodb.grants().contains_key(&(format!("blocked#{principal}"), "#blocked".to_owned()))
}

/// The operations that write, in order, at all services.
fn writes(deployed: &Deployed) -> Vec<String> {
    let operations = deployed.operations().into_iter();
    operations.filter(|name| ["Create", "Delete", "Put"].iter().any(|verb| name.starts_with(verb))).collect()
}

/// A line of a session that is about to be issued.
fn issuing(deployed: &Deployed, subject: &str, name: &str, matched: &str, seconds_ago: u64) {
    let at = clock::now() - seconds_ago;
    let line = json!({
        "event": "issuing",
        "time": clock::rfc3339(at),
        "request_id": format!("request-{subject}-{seconds_ago}"),
        "lambda_request_id": "l",
        "issuer": "corp",
        "subject": subject,
        "grant": "default",
        "matched": [{"principal": matched}],
        "federated_name": name,
    });
    deployed.state().log.write(at * 1_000, line.to_string());
}

fn before_of(document: &str) -> Vec<String> {
    let document: Value = serde_json::from_str(document).unwrap();
    let statements = document["Statement"].as_array().unwrap().iter();
    let times = statements.filter_map(|statement| statement.pointer("/Condition/DateLessThan/aws:TokenIssueTime"));
    times.map(|time| time.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_user_is_blocked_and_then_their_sessions_are_cut_off() {
    let deployed = Deployed::new().await;
    deployed.dynamodb.record("name#carol@example.com", &json!({"owner": "corp/user/carol"}));
    deployed.dynamodb.record("name#dave@example.com", &json!({"owner": "corp/user/dave"}));
    deployed.dynamodb.record("jti#corp#00", &json!({"expires_at": 1}));
    let began = clock::now();
    let told = told(&deployed, &["--principal", "corp/user/carol"]).await;
    let before = told["cuts"][0]["before"].clone();
    let expected = json!({
        "cuts": [{"name": CAROL, "before": before}, {"name": "carol@example.com", "before": before}],
        "blocked": ["corp/user/carol"],
    });
    assert_eq!(told, expected);
    let block = &deployed.dynamodb.grants()[&("blocked#corp/user/carol".into(), "#blocked".into())];
    assert_eq!(block["reason"], "sessions cut off with hallpass revoke");
    // Sessions that begin in the second in which it ends are new ones.
    let ended = clock::now();
    let before = before.as_str().unwrap();
    assert!(clock::rfc3339(began + 2).as_str() <= before && before <= clock::rfc3339(ended).as_str(), "{before}");

    let state = deployed.state();
    let policy: Value = serde_json::from_str(state.boundary.document()).unwrap();
    let ids = [CAROL, "carol@example.com"].map(|name| format!("111122223333:{name}"));
    let expected = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {
            "DateLessThan": {"aws:TokenIssueTime": before},
            "StringEqualsIgnoreCase": {"aws:userid": ids},
        }},
    ]});
    assert_eq!(policy, expected);
    assert_eq!(state.boundary.versions.keys().collect::<Vec<_>>(), [&2], "one version is kept");
}

#[tokio::test]
async fn the_time_is_that_of_aws_and_the_wait_is_until_new_sessions_work() {
    let deployed = Deployed::new().await;
    deployed.state().boundary.date = Some("Thu, 01 Jan 2037 00:00:00 GMT");
    let began = clock::now();
    revoke(&deployed, &["--everyone"]).await.exits(0);
    let before = before_of(deployed.state().boundary.document());
    assert!(["2037-01-01T00:00:04Z", "2037-01-01T00:00:05Z"].contains(&before[0].as_str()), "{before:?}");
    assert!(clock::now() - began >= 3);

    let deployed = Deployed::new().await;
    deployed.state().boundary.date = Some("some day");
    revoke(&deployed, &["--everyone"]).await.fails(&["IAM does not say what time it is"]);
    assert_eq!(deployed.state().boundary.versions.len(), 1);
}

#[tokio::test]
async fn everybody_is_cut_off_and_nobody_blocked_and_nothing_is_asked_without_a_terminal() {
    let deployed = Deployed::new().await;
    revoke(&deployed, &["--name", "somebody", "--no-block"]).await.exits(0);
    let run = revoke(&deployed, &["--everyone"]).await;
    assert!(run.exits(0).starts_with("Sessions of everybody that began before "), "{run:?}");
    assert_eq!(names(&cuts(&deployed).await), [""], "it includes the earlier cut of a name");
    assert!(deployed.dynamodb.grants().is_empty());
    let told = told(&deployed, &["--everyone"]).await;
    assert_eq!((&told["cuts"][0]["everyone"], &told["blocked"]), (&json!(true), &json!([])));
}

#[tokio::test]
async fn a_groups_sessions_are_those_that_the_audit_lines_know() {
    let deployed = Deployed::new().await;
    let group = "corp/group/devs";
    issuing(&deployed, "carol", CAROL, group, 35 * 3_600);
    issuing(&deployed, "dave", "dave@example.com", group, 60);
    issuing(&deployed, "erin", "erin@example.com", "corp/everyone", 60);
    issuing(&deployed, "frank", "frank@example.com", group, 37 * 3_600);
    let run = revoke(&deployed, &["--principal", group]).await;
    run.exits(0);
    assert!(run.stderr.contains("a minute late"), "{run:?}");
    assert_eq!(names(&cuts(&deployed).await), [CAROL, "dave@example.com"]);
    assert!(is_blocked(&deployed, group) && !is_blocked(&deployed, "corp/user/carol"));

    let told = told(&deployed, &["--principal", "corp/everyone"]).await;
    assert_eq!(told["cuts"].as_array().unwrap().len(), 3);
    assert!(is_blocked(&deployed, "corp/everyone"));

    let run = revoke(&deployed, &["--principal", "corp/group/nobody"]).await;
    assert!(run.exits(0).starts_with("No session was cut off.\n"), "{run:?}");
    assert!(run.stderr.contains("no audit line of the last 36 hours"), "{run:?}");
}

#[tokio::test]
async fn the_person_behind_a_name_is_blocked_if_somebody_can_confirm_who_it_is() {
    let deployed = Deployed::new().await;
    issuing(&deployed, "carol", CAROL, "corp/everyone", 60);
    deployed.dynamodb.record("name#dave@example.com", &json!({"owner": "corp/user/dave"}));
    let told_of = async |name: &str| told(&deployed, &["--name", name]).await;
    let told = told_of(CAROL).await;
    assert_eq!((&told["cuts"][0]["name"], &told["blocked"]), (&json!(CAROL), &json!(["corp/user/carol"])));
    assert_eq!(told_of("Dave@example.com").await["blocked"], json!(["corp/user/dave"]));
    assert_eq!(names(&cuts(&deployed).await), ["Dave@example.com", CAROL]);

    // A line that the hash does not confirm is not believed.
    issuing(&deployed, "erin", "mallory-3o2jzrlhnfnb", "corp/everyone", 60);
    issuing(&deployed, "erin", "somebody", "corp/everyone", 61);
    for name in ["mallory-3o2jzrlhnfnb", "somebody", "nobody"] {
        let run = revoke(&deployed, &["--name", name]).await;
        run.exits(0);
        assert!(run.stderr.contains("warning: nobody is blocked, and the next renewal"), "{run:?}");
        assert!(!is_blocked(&deployed, "corp/user/erin"));
    }
    assert!(cuts(&deployed).await.contains_key("nobody"));
}

#[tokio::test]
async fn a_name_is_cut_off_also_if_the_audit_lines_cannot_be_read() {
    let deployed = Deployed::new().await;
    deployed.refuse("FilterLogEvents", "AccessDeniedException");
    let run = revoke(&deployed, &["--name", CAROL]).await;
    run.exits(0);
    assert!(run.stderr.contains("nobody is blocked") && run.stderr.contains("logs:FilterLogEvents"), "{run:?}");
    assert_eq!(names(&cuts(&deployed).await), [CAROL]);
}

#[tokio::test]
async fn without_a_block_nothing_is_looked_up_and_nobody_is_blocked() {
    let deployed = Deployed::new().await;
    for who in [["--name", "nobody"], ["--principal", "corp/user/carol"]] {
        let told = told(&deployed, &[&who[..], &["--no-block"]].concat()).await;
        assert_eq!(told["blocked"], json!([]));
    }
    assert!(deployed.dynamodb.grants().is_empty() && deployed.asked("FilterLogEvents").is_empty());
}

#[tokio::test]
async fn a_block_keeps_its_reason_unless_there_is_a_new_one() {
    let deployed = Deployed::new().await;
    deployed.dynamodb.block_with("corp/user/carol", &json!({"reason": "INC-7"}));
    let reason =
        || deployed.dynamodb.grants()[&("blocked#corp/user/carol".into(), "#blocked".into())]["reason"].clone();
    revoke(&deployed, &["--principal", "corp/user/carol"]).await.exits(0);
    assert_eq!(reason(), "INC-7");
    revoke(&deployed, &["--principal", "corp/user/carol", "--reason", "INC-8"]).await.exits(0);
    assert_eq!(reason(), "INC-8");
}

#[tokio::test]
async fn clearing_removes_all_cuts() {
    let deployed = Deployed::new().await;
    revoke(&deployed, &["--everyone"]).await.exits(0);
    let cleared: Value = told(&deployed, &["--clear"]).await;
    assert_eq!(cleared, json!({"cuts": []}));
    let state = deployed.state();
    assert_eq!(state.boundary.document(), format!(r#"{{"Statement":[{ALLOW}],"Version":"2012-10-17"}}"#));
    assert_eq!(state.boundary.versions.len(), 1);
    drop(state);
    deployed.account.server.forget_calls();
    assert!(revoke(&deployed, &["--clear"]).await.exits(0).starts_with("Nobody's sessions are cut off."));
    assert_eq!(writes(&deployed), [""; 0], "there is nothing to clear");
}

#[tokio::test]
async fn a_cut_of_somebody_else_at_the_same_moment_is_kept() {
    let deployed = Deployed::new().await;
    let time = clock::rfc3339(clock::now());
    let other = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {
            "DateLessThan": {"aws:TokenIssueTime": time},
            "StringEqualsIgnoreCase": {"aws:userid": ["111122223333:other"]},
        }},
    ]});
    deployed.state().boundary.rivals.push_back(other.to_string());
    revoke(&deployed, &["--name", "mine", "--no-block"]).await.exits(0);
    assert_eq!(names(&cuts(&deployed).await), ["mine", "other"]);
    assert_eq!(deployed.state().boundary.versions.len(), 1);
}

#[tokio::test]
async fn two_at_once_cut_both_off() {
    let deployed = Deployed::new().await;
    let all: Vec<String> = (0..4).map(|number| format!("name{number}")).collect();
    let runs =
        all.iter().map(|name| Run::of(deployed.command(&["revoke", "--name", name, "--no-block"]).spawn().unwrap()));
    for run in futures_util::future::join_all(runs).await {
        run.exits(0);
    }
    assert_eq!(names(&cuts(&deployed).await), all);
    assert_eq!(deployed.state().boundary.versions.len(), 1);
}

#[tokio::test]
async fn what_was_stopped_after_the_write_is_in_force_and_the_next_run_finishes_it() {
    let deployed = Deployed::new().await;
    deployed.refuse("DeletePolicyVersion", "AccessDenied");
    let run = revoke(&deployed, &["--principal", "corp/user/carol"]).await;
    run.fails(&["corp/user/carol is blocked", "in force", "iam:DeletePolicyVersion", "run the same command again"]);
    assert_eq!(names(&cuts(&deployed).await), [CAROL]);
    let list = revoke(&deployed, &["--list"]).await;
    assert!(list.exits(0).contains(CAROL) && list.stderr.contains("more than one version"), "{list:?}");
    deployed.account.server.heal();
    revoke(&deployed, &["--name", "dave", "--no-block"]).await.exits(0);
    assert_eq!(names(&cuts(&deployed).await), [CAROL, "dave"]);
    assert_eq!(deployed.state().boundary.versions.len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_lost_leaves_one_version() {
    for operation in ["CreatePolicyVersion", "DeletePolicyVersion"] {
        let deployed = Deployed::new().await;
        deployed.account.server.fail_operation(operation, 1, &Fault::LosesAnswer);
        revoke(&deployed, &["--name", "dave", "--no-block"]).await.exits(0);
        assert_eq!(names(&cuts(&deployed).await), ["dave"]);
        assert_eq!(deployed.state().boundary.versions.len(), 1, "{operation}");
    }
}

#[tokio::test]
async fn lists_that_are_from_before_the_last_change_are_not_believed() {
    let deployed = Deployed::new().await;
    revoke(&deployed, &["--name", "first", "--no-block"]).await.exits(0);
    for lag in [1, 2] {
        deployed.account.server.forget_calls();
        deployed.state().boundary.lag = lag;
        revoke(&deployed, &["--name", &format!("name{lag}"), "--no-block"]).await.exits(0);
        assert_eq!(writes(&deployed), ["CreatePolicyVersion", "DeletePolicyVersion"]);
        assert_eq!(deployed.state().boundary.versions.len(), 1);
    }
    assert_eq!(names(&cuts(&deployed).await), ["first", "name1", "name2"]);
}

#[tokio::test]
async fn what_could_not_be_done_is_said_and_what_was_done() {
    let who = ["--principal", "corp/user/carol"];
    for (operation, permission) in [
        ("DescribeStacks", "cloudformation:DescribeStacks"),
        ("GetUser", "iam:GetUser"),
        ("ListPolicyVersions", "iam:ListPolicyVersions"),
        ("GetPolicyVersion", "iam:GetPolicyVersion"),
    ] {
        let deployed = Deployed::new().await;
        deployed.refuse(operation, "AccessDenied");
        revoke(&deployed, &who).await.fails(&[permission]);
        assert!(deployed.dynamodb.grants().is_empty(), "{operation}");
    }
    let deployed = Deployed::new().await;
    deployed.refuse("CreatePolicyVersion", "AccessDenied");
    let run = revoke(&deployed, &who).await;
    run.fails(&[
        "corp/user/carol is blocked; cannot write the policy",
        "the boundary is not changed",
        "iam:CreatePolicyVersion",
    ]);
    assert!(is_blocked(&deployed, "corp/user/carol") && deployed.state().boundary.versions.len() == 1);

    let deployed = Deployed::new().await;
    let reply = dynamodb::error(400, "AccessDeniedException");
    deployed.dynamodb.server.fail_operation("PutItem", 100, &Fault::Answers(reply));
    revoke(&deployed, &who).await.fails(&["dynamodb:PutItem", "nobody is blocked, and nothing is cut off"]);
    assert_eq!(writes(&deployed), [""; 0]);
}

#[tokio::test]
async fn a_boundary_that_somebody_edited_is_refused() {
    let edited = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;
    for arguments in [&["--principal", "corp/user/carol"][..], &["--everyone"], &["--list"], &["--clear"]] {
        let deployed = Deployed::new().await;
        deployed.state().boundary.make(edited);
        revoke(&deployed, arguments).await.fails(&["somebody edited the boundary", BOUNDARY, "docs/day-two.md"]);
        assert_eq!(deployed.state().boundary.document(), edited);
        assert!(deployed.dynamodb.grants().is_empty() && writes(&deployed).is_empty());
    }
}

#[tokio::test]
async fn a_user_without_the_boundary_is_told_with_what_puts_it_back() {
    for of_user in [None, Some("arn:aws:iam::111122223333:policy/other")] {
        let deployed = Deployed::new().await;
        deployed.state().boundary.of_user = of_user.map(str::to_owned);
        revoke(&deployed, &["--everyone"]).await.fails(&[BROKER_USER, BOUNDARY, "put-user-permissions-boundary"]);
        assert!(writes(&deployed).is_empty());
    }
    let deployed = Deployed::new().await;
    deployed.state().stack.outputs.remove("BoundaryPolicy");
    revoke(&deployed, &["--everyone"]).await.fails(&["no output `BoundaryPolicy`", "deploy this version's template"]);
}

#[tokio::test]
async fn a_full_boundary_offers_everybody_and_nothing_is_written() {
    let deployed = Deployed::new().await;
    let hour_ago = clock::now() - 3_600;
    for number in 0..130 {
        issuing(
            &deployed,
            &format!("s{number}"),
            &format!("a-name-of-32-characters-{number:08}"),
            "corp/group/all",
            number,
        );
    }
    let run = revoke(&deployed, &["--principal", "corp/group/all"]).await;
    run.fails(&["the boundary is full", "nothing was written", "`hallpass revoke --everyone`"]);
    assert!(deployed.dynamodb.grants().is_empty() && writes(&deployed).is_empty());

    let ids: Vec<String> = (0..121).map(|number| format!("111122223333:a-name-of-32-characters-{number:08}")).collect();
    let nearly = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {
            "DateLessThan": {"aws:TokenIssueTime": clock::rfc3339(hour_ago)},
            "StringEqualsIgnoreCase": {"aws:userid": ids},
        }},
    ]});
    deployed.state().boundary.make(&nearly.to_string());
    revoke(&deployed, &["--principal", "corp/user/carol"]).await.fails(&["the boundary is full", "--everyone"]);
    assert!(deployed.dynamodb.grants().is_empty());
    revoke(&deployed, &["--everyone"]).await.exits(0);
    assert_eq!(names(&cuts(&deployed).await), [""]);
}

#[tokio::test]
async fn old_cuts_go_with_the_next_write() {
    let deployed = Deployed::new().await;
    let cut = |name: &str, before: u64| {
        json!({"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {
            "DateLessThan": {"aws:TokenIssueTime": clock::rfc3339(before)},
            "StringEqualsIgnoreCase": {"aws:userid": [format!("111122223333:{name}")]},
        }})
    };
    let (hours, now) = (36 * 3_600, clock::now());
    let document = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        cut("old", now - hours - 60),
        cut("young", now - hours + 600),
    ]});
    deployed.state().boundary.make(&document.to_string());
    assert_eq!(names(&cuts(&deployed).await), ["old", "young"]);
    revoke(&deployed, &["--name", "new", "--no-block"]).await.exits(0);
    assert_eq!(names(&cuts(&deployed).await), ["new", "young"]);
}

#[tokio::test]
async fn wrong_usage_asks_nothing() {
    let deployed = Deployed::new().await;
    for arguments in [
        &[][..],
        &["--name", "carol", "--everyone"],
        &["--list", "--clear"],
        &["--principal", "carol"],
        &["--principal", "corp/users/carol"],
        &["--name", "a"],
        &["--name", "carol/dave"],
        &["--list", "--no-block"],
        &["--everyone", "--reason", "x"],
        &["carol"],
    ] {
        revoke(&deployed, arguments).await.exits(2);
    }
    deployed.run(&["key", "rotate", "--revoke"]).await.exits(2);
    assert!(deployed.account.server.calls().is_empty());
}

#[tokio::test]
async fn a_block_can_cut_off_too() {
    let deployed = Deployed::new().await;
    let arguments = ["block", "corp/user/carol", "--revoke", "--reason", "left", "--json"];
    let told: Value = serde_json::from_str(deployed.run(&arguments).await.exits(0)).unwrap();
    assert_eq!((&told["principal"], &told["cuts"][0]["name"]), (&json!("corp/user/carol"), &json!(CAROL)));
    assert!(is_blocked(&deployed, "corp/user/carol"));
    assert_eq!(names(&cuts(&deployed).await), [CAROL]);

    let deployed = Deployed::new().await;
    deployed.refuse("CreatePolicyVersion", "AccessDenied");
    deployed.run(&arguments).await.fails(&["corp/user/carol is blocked; ", "iam:CreatePolicyVersion"]);
}

// A key that leaked

const LEAKED: [&str; 4] = ["key", "rotate", "--deactivate-old", "--revoke"];

#[tokio::test]
async fn a_key_that_leaked_is_replaced_and_turned_off_before_everybody_is_cut_off() {
    let deployed = Deployed::new().await;
    deployed.state().rotator.push_back(Step::Promotes(&[true]));
    let run = deployed.run(&LEAKED).await;
    assert!(
        run.exits(0).contains(&format!("\ndeactivated {KEY}\nSessions of everybody that began before ")),
        "{run:?}"
    );
    let calls = deployed.operations();
    let at = |name: &str| calls.iter().position(|call| call == name).unwrap();
    assert!(at("RotateSecret") < at("UpdateAccessKey") && at("UpdateAccessKey") < at("CreatePolicyVersion"));
    assert_eq!(names(&cuts(&deployed).await), [""]);
}

#[tokio::test]
async fn a_leaked_key_that_was_not_all_dealt_with_is_told_with_what_is_left() {
    let deployed = Deployed::new().await;
    deployed.state().rotator.push_back(Step::Promotes(&[true]));
    deployed.refuse("CreatePolicyVersion", "AccessDenied");
    let run = deployed.run(&LEAKED).await;
    run.exits(1);
    for words in ["the old ones are deactivated, but", "`hallpass revoke --everyone --stack hallpass-prod`"] {
        assert!(run.stderr.contains(words) && !run.stderr.contains(query::UPSTREAM_TEXT), "{run:?}");
    }
    for (operation, promotes) in [("UpdateAccessKey", Step::Promotes(&[true])), ("Nothing", Step::Promotes(&[]))] {
        let deployed = Deployed::new().await;
        deployed.state().rotator.push_back(promotes);
        deployed.refuse(operation, "AccessDenied");
        let run = deployed.run(&LEAKED).await;
        run.exits(1);
        assert!(run.stderr.contains("no session was cut off"), "{run:?}");
        assert_eq!(deployed.state().boundary.versions.len(), 1);
    }
}
