//! Whose sessions does the command line cut off, in which order, and what does it leave when something fails?

use std::collections::BTreeMap;

use serde_json::{Value, json};

use hallpass_testing::aws::account::Step;
use hallpass_testing::aws::cloudformation::STACK;
use hallpass_testing::aws::dynamodb;
use hallpass_testing::aws::iam::BROKER_USER;
use hallpass_testing::aws::logs;
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
    let at = clock::now().saturating_sub(seconds_ago);
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
    deployed.state().log.write(at.saturating_mul(1_000), line.to_string());
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
async fn a_group_whose_lines_cannot_all_be_read_loses_the_sessions_that_are_known() {
    let group = "corp/group/devs";
    let denied = Fault::Answers(logs::error(400, "AccessDeniedException"));
    // The second look fails, or the second page of the first one.
    for page in [None, Some(1)] {
        let deployed = Deployed::new().await;
        issuing(&deployed, "carol", CAROL, group, 3_600);
        issuing(&deployed, "dave", "dave@example.com", group, 1_800);
        if let Some(size) = page {
            deployed.state().log.page(size);
        }
        // Before it, the stack, the user and, if there is one page, the boundary are asked.
        let before = if page.is_some() { 4 } else { 5 };
        deployed.account.server.fail_operation_from(before, "FilterLogEvents", 100, &denied);
        let run = revoke(&deployed, &["--principal", group]).await;
        run.exits(1);
        assert!(run.stdout.contains(&format!("Sessions of {CAROL} that began")), "{run:?}");
        let words =
            ["error: other sessions may not be cut off: ", "logs:FilterLogEvents", "run the same command again"];
        assert!(words.iter().all(|word| run.stderr.contains(word)), "{run:?}");
        deployed.account.server.heal();
        assert_eq!(cuts(&deployed).await.contains_key("dave@example.com"), page.is_none());
        assert!(is_blocked(&deployed, group) && cuts(&deployed).await.contains_key(CAROL));
    }
    let deployed = Deployed::new().await;
    issuing(&deployed, "carol", CAROL, group, 3_600);
    issuing(&deployed, "dave", "not a name", group, 1_800);
    let run = deployed.run(&["block", group, "--revoke", "--reason", "left", "--json"]).await;
    let told: Value = serde_json::from_str(run.exits(1)).unwrap();
    assert_eq!(told["cuts"][0]["name"], CAROL);
    assert!(run.stderr.contains("1 lines of the log group"), "{run:?}");
    assert_eq!(names(&cuts(&deployed).await), [CAROL]);
}

#[tokio::test]
async fn a_user_loses_the_name_of_the_hash_also_if_the_names_cannot_be_read() {
    let deployed = Deployed::new().await;
    let denied = dynamodb::error(400, "AccessDeniedException");
    deployed.dynamodb.server.fail_operation("Scan", 100, &Fault::Answers(denied));
    let run = revoke(&deployed, &["--principal", "corp/user/carol"]).await;
    run.exits(1);
    assert!(run.stderr.contains("other sessions may not be cut off: ") && run.stderr.contains("dynamodb:Scan"));
    deployed.dynamodb.server.heal();
    assert_eq!(names(&cuts(&deployed).await), [CAROL]);
}

#[tokio::test]
async fn names_that_a_user_had_are_cut_off_if_audit_lines_show_them() {
    let deployed = Deployed::new().await;
    issuing(&deployed, "carol", "carol@example.com", "corp/everyone", 35 * 3_600);
    issuing(&deployed, "carol", "before@example.com", "corp/everyone", 37 * 3_600);
    issuing(&deployed, "dave", "dave@example.com", "corp/everyone", 60);
    let told = told(&deployed, &["--principal", "corp/user/carol"]).await;
    let names_of = |told: &Value| {
        let cuts = told["cuts"].as_array().unwrap().iter();
        cuts.map(|cut| cut["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names_of(&told), [CAROL, "carol@example.com"]);
    assert_eq!(names(&cuts(&deployed).await), [CAROL, "carol@example.com"]);
    let at = |calls: &[String], name: &str| calls.iter().position(|call| call == name).unwrap();
    let calls = deployed.operations();
    assert!(at(&calls, "CreatePolicyVersion") < at(&calls, "FilterLogEvents"), "the lines delay nothing");

    let deployed = Deployed::new().await;
    deployed.refuse("FilterLogEvents", "AccessDeniedException");
    let run = revoke(&deployed, &["--principal", "corp/user/carol"]).await;
    run.exits(0);
    assert!(run.stderr.contains("warning: a name that this user had") && run.stderr.contains("logs:FilterLogEvents"));
    assert!(!run.stderr.contains("is the subject right?"), "{run:?}");
    assert_eq!(names(&cuts(&deployed).await), [CAROL]);
}

#[tokio::test]
async fn a_principal_that_may_be_wrong_is_warned_of() {
    let subject = "warning: no session of this user in the last 36 hours; is the subject right?";
    let issuers = r#"[{"id":"corp","issuer":"https://login.example.com","audiences":["hallpass"]}]"#;
    let deployed = Deployed::new().await;
    deployed.state().stack.outputs.insert("Issuers", issuers);
    issuing(&deployed, "carol", CAROL, "corp/everyone", 35 * 3_600);
    for (principal, issuer_is_wrong, subject_is_wrong) in [
        ("corp/user/carol", false, false),
        ("corp/user/carole", false, true),
        ("crop/user/carol", true, true),
        ("crop/everyone", true, false),
    ] {
        for way in ways(principal) {
            let run = deployed.run(&way).await;
            run.exits(0);
            assert_eq!(run.stderr.contains("warning: the stack has no issuer `crop`"), issuer_is_wrong, "{run:?}");
            assert_eq!(run.stderr.contains(subject), subject_is_wrong, "{run:?}");
            assert!(is_blocked(&deployed, principal));
        }
    }
    deployed.state().stack.outputs.insert("Issuers", "not JSON");
    deployed.run(&ways("corp/user/dave")[0]).await.exits(0);
    assert!(is_blocked(&deployed, "corp/user/dave"));
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
    run.fails(&["nobody is blocked", "logs:FilterLogEvents"]);
    assert!(run.stdout.starts_with(&format!("Sessions of {CAROL} that began before ")), "{run:?}");
    assert_eq!(names(&cuts(&deployed).await), [CAROL]);

    // Both that could not be done are said.
    let deployed = Deployed::new().await;
    deployed.refuse("FilterLogEvents", "AccessDeniedException");
    deployed.account.server.fail_operation("GetUser", 100, &Fault::Answers(query::error(403, "AccessDenied")));
    let run = revoke(&deployed, &["--name", CAROL]).await;
    run.fails(&["no session was cut off", "iam:GetUser", "nobody is blocked", "logs:FilterLogEvents"]);
}

#[tokio::test]
async fn what_was_noticed_while_a_person_was_looked_for_is_said() {
    let deployed = Deployed::new().await;
    deployed.dynamodb.record("name#dave@example.com", &json!({"owner": "corp/user/dave"}));
    issuing(&deployed, "dave", "dave@example.com", "corp/everyone", 60);
    issuing(&deployed, "erin", "dave@example.com", "corp/everyone", 61);
    let run = revoke(&deployed, &["--name", "dave@example.com"]).await;
    run.exits(0);
    assert!(run.stderr.contains("warning: 1 audit lines name somebody who does not own the name"), "{run:?}");
    assert!(is_blocked(&deployed, "corp/user/dave"));
}

#[tokio::test]
async fn without_a_block_nothing_is_looked_up_and_nobody_is_blocked() {
    let deployed = Deployed::new().await;
    let told_of = async |who: [&str; 2]| told(&deployed, &[&who[..], &["--no-block"]].concat()).await;
    assert_eq!(told_of(["--name", "nobody"]).await["blocked"], json!([]));
    assert_eq!(deployed.asked("FilterLogEvents"), [json!(null); 0]);
    assert_eq!(told_of(["--principal", "corp/user/carol"]).await["blocked"], json!([]));
    assert!(deployed.dynamodb.grants().is_empty());
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
    let boundary = deployed.state().boundary.clone();
    assert_eq!(boundary.document(), format!(r#"{{"Statement":[{ALLOW}],"Version":"2012-10-17"}}"#));
    assert_eq!(boundary.versions.len(), 1);
    deployed.account.server.forget_calls();
    assert!(revoke(&deployed, &["--clear"]).await.exits(0).starts_with("Nobody's sessions are cut off."));
    assert_eq!(writes(&deployed), [""; 0], "there is nothing to clear");
}

#[tokio::test]
async fn a_cut_of_somebody_else_at_the_same_moment_is_kept() {
    let deployed = Deployed::new().await;
    deployed.state().boundary.rivals.push_back(cut_of_other());
    revoke(&deployed, &["--name", "mine", "--no-block"]).await.exits(0);
    assert_eq!(names(&cuts(&deployed).await), ["mine", "other"]);
    assert_eq!(deployed.state().boundary.versions.len(), 1);
}

/// A boundary with a cut of `other`.
fn cut_of_other() -> String {
    let time = clock::rfc3339(clock::now());
    let document = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {
            "DateLessThan": {"aws:TokenIssueTime": time},
            "StringEqualsIgnoreCase": {"aws:userid": ["111122223333:other"]},
        }},
    ]});
    document.to_string()
}

#[tokio::test]
async fn a_version_of_somebody_else_that_cannot_be_read_yet_is_read_again() {
    for times in [1, 3] {
        let deployed = Deployed::new().await;
        deployed.state().boundary.make(&cut_of_other());
        let late = Fault::Answers(query::error(404, "NoSuchEntity"));
        deployed.account.server.fail_operation("GetPolicyVersion", times, &late);
        revoke(&deployed, &["--name", "mine", "--no-block"]).await.exits(0);
        assert_eq!(names(&cuts(&deployed).await), ["mine", "other"]);
        assert_eq!(deployed.state().boundary.versions.len(), 1);
    }
    // One that is never there is not forgotten.
    let deployed = Deployed::new().await;
    deployed.state().boundary.make(&cut_of_other());
    deployed.refuse("GetPolicyVersion", "NoSuchEntity");
    let run = revoke(&deployed, &["--name", "mine", "--no-block"]).await;
    run.fails(&["no session was cut off", "IAM lists the version `v2`", "does not show it"]);
    assert_eq!(writes(&deployed), [""; 0]);
}

#[tokio::test]
async fn lists_that_are_from_before_somebody_elses_change_are_not_believed() {
    let deployed = Deployed::new().await;
    {
        let mut state = deployed.state();
        state.boundary.list_late(3);
        state.boundary.make(&cut_of_other());
        state.boundary.versions.remove(&1);
    }
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

/// A way to block somebody and cut their sessions off.
fn ways(principal: &str) -> [Vec<&str>; 2] {
    [vec!["revoke", "--principal", principal], vec!["block", principal, "--revoke", "--reason", "left"]]
}

#[tokio::test]
async fn whatever_prevents_the_cut_the_person_is_blocked() {
    let who = "corp/user/carol";
    for (operation, permission) in [
        ("GetUser", "iam:GetUser"),
        ("ListPolicyVersions", "iam:ListPolicyVersions"),
        ("GetPolicyVersion", "iam:GetPolicyVersion"),
        ("CreatePolicyVersion", "iam:CreatePolicyVersion"),
    ] {
        for way in ways(who) {
            let deployed = Deployed::new().await;
            deployed.refuse(operation, "AccessDenied");
            let run = deployed.run(&way).await;
            let words =
                ["corp/user/carol is blocked; no session was cut off: ", permission, "run the same command again"];
            run.fails(&words);
            assert!(is_blocked(&deployed, who) && deployed.state().boundary.versions.len() == 1, "{run:?}");
        }
    }
    for way in ways(who) {
        let deployed = Deployed::new().await;
        deployed.refuse("DescribeStacks", "AccessDenied");
        deployed.run(&way).await.fails(&["cloudformation:DescribeStacks"]);
        assert!(deployed.dynamodb.grants().is_empty(), "nobody knows the table");

        let deployed = Deployed::new().await;
        let reply = dynamodb::error(400, "AccessDeniedException");
        deployed.dynamodb.server.fail_operation("PutItem", 100, &Fault::Answers(reply));
        let run = deployed.run(&way).await;
        run.fails(&["dynamodb:PutItem"]);
        assert_eq!(
            run.stderr.contains("nobody is blocked, and nothing is cut off"),
            way.contains(&"revoke"),
            "{run:?}"
        );
        assert_eq!(writes(&deployed), [""; 0]);

        let deployed = Deployed::new().await;
        deployed.state().stack.outputs.remove("BoundaryPolicy");
        deployed.run(&way).await.fails(&["is blocked; no session was cut off: the stack has no output"]);
        assert!(is_blocked(&deployed, who));

        let deployed = Deployed::new().await;
        deployed.state().boundary.of_user = None;
        deployed.run(&way).await.fails(&["is blocked; no session was cut off: ", "put-user-permissions-boundary"]);
        assert!(is_blocked(&deployed, who));
    }
    for way in ways("corp/group/devs") {
        let deployed = Deployed::new().await;
        deployed.refuse("FilterLogEvents", "AccessDeniedException");
        deployed.run(&way).await.fails(&["is blocked; no session was cut off: ", "logs:FilterLogEvents"]);
        assert!(is_blocked(&deployed, "corp/group/devs"));
    }
}

#[cfg(feature = "person")]
#[tokio::test]
async fn without_a_session_to_verify_with_the_person_is_blocked_too() {
    let deployed = Deployed::new().await;
    let arguments =
        ["--principal", "corp/user/carol", "--verify", "--server", "https://127.0.0.1:1", "--token-file", "none"];
    let run = revoke(&deployed, &arguments).await;
    run.fails(&["corp/user/carol is blocked; no session was cut off: --verify needs a session of your own"]);
    assert!(is_blocked(&deployed, "corp/user/carol") && deployed.state().boundary.versions.len() == 1);
}

#[tokio::test]
async fn a_boundary_that_somebody_edited_is_refused() {
    let edited = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;
    for arguments in [&["--principal", "corp/user/carol"][..], &["--everyone"], &["--list"], &["--clear"]] {
        let deployed = Deployed::new().await;
        deployed.state().boundary.make(edited);
        revoke(&deployed, arguments).await.fails(&["somebody edited the boundary", BOUNDARY, "docs/day-two.md"]);
        assert_eq!(deployed.state().boundary.document(), edited);
        assert_eq!(is_blocked(&deployed, "corp/user/carol"), arguments.contains(&"--principal"));
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
async fn a_full_boundary_offers_everybody_and_is_not_changed() {
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
    run.fails(&[
        "corp/group/all is blocked; no session was cut off: the boundary is full",
        "`hallpass revoke --everyone`",
    ]);
    assert!(is_blocked(&deployed, "corp/group/all") && deployed.state().boundary.versions.len() == 1);

    let ids: Vec<String> = (0..121).map(|number| format!("111122223333:a-name-of-32-characters-{number:08}")).collect();
    let nearly = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {
            "DateLessThan": {"aws:TokenIssueTime": clock::rfc3339(hour_ago)},
            "StringEqualsIgnoreCase": {"aws:userid": ids},
        }},
    ]});
    deployed.state().boundary.make(&nearly.to_string());
    for way in ways("corp/user/carol") {
        deployed.run(&way).await.fails(&["corp/user/carol is blocked; ", "the boundary is full", "--everyone"]);
        assert!(is_blocked(&deployed, "corp/user/carol") && deployed.state().boundary.document().contains("000120"));
    }
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
}

#[tokio::test]
async fn a_table_alone_is_too_little_to_cut_off() {
    let mut deployed = Deployed::new().await;
    let arguments = ["block", "corp/user/carol", "--revoke", "--reason", "left"];
    let run = deployed.run(&[&arguments[..], &["--grants-table", dynamodb::GRANTS]].concat()).await;
    run.exits(2);
    assert!(run.stderr.contains("use --stack"), "{run:?}");
    deployed.set("HALLPASS_TABLE", dynamodb::GRANTS);
    deployed.run(&arguments).await.exits(2);
    assert!(deployed.dynamodb.server.calls().is_empty() && deployed.account.server.calls().is_empty());
    deployed.run(&[&arguments[..], &["--stack", STACK]].concat()).await.exits(0);
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
