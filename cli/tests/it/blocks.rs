//! What do `hallpass block` and `hallpass unblock` do?

use hallpass_testing::aws::cloudformation::STACK;
use hallpass_testing::aws::dynamodb::{GRANTS, UPSTREAM_TEXT, error};
use hallpass_testing::aws::sts::OPERATOR;
use hallpass_testing::operator::{Deployed, Run};
use hallpass_testing::server::Fault;
use serde_json::{Value, json};

const CAROL: &str = "corp/user/00u1carol";

async fn block(deployed: &Deployed, principal: &str, reason: &str) -> Run {
    deployed.run(&["block", principal, "--reason", reason]).await
}

async fn listed(deployed: &Deployed) -> Value {
    serde_json::from_str(deployed.run(&["block", "--list", "--json"]).await.exits(0)).unwrap()
}

/// The block of a principal in the table.
fn stored(deployed: &Deployed, principal: &str) -> Option<Value> {
    deployed.dynamodb.grants().remove(&(format!("blocked#{principal}"), "#blocked".to_owned()))
}

#[tokio::test]
async fn a_block_says_who_wrote_it_when_and_why() {
    let deployed = Deployed::new().await;
    let run = block(&deployed, CAROL, "laptop stolen").await;
    assert!(run.exits(0).contains("is blocked"), "{run:?}");
    let item = stored(&deployed, CAROL).unwrap();
    assert_eq!((&item["reason"], &item["updated_by"]), (&json!("laptop stolen"), &json!(OPERATOR)));
    let expected = json!({"blocks": [{
        "principal": CAROL, "reason": "laptop stolen", "at": item["updated_at"], "by": OPERATOR,
    }]});
    assert_eq!(listed(&deployed).await, expected);
    let text = deployed.run(&["block", "--list"]).await;
    assert!(["laptop stolen", CAROL, OPERATOR].iter().all(|word| text.exits(0).contains(word)), "{text:?}");
}

#[tokio::test]
async fn users_groups_and_everyone_can_be_blocked() {
    let deployed = Deployed::new().await;
    for principal in ["corp/user/a/b c", "corp/group/contractors", "lab/everyone"] {
        block(&deployed, principal, "audit").await.exits(0);
        assert!(stored(&deployed, principal).is_some(), "{principal}");
    }
    let principals: Vec<Value> =
        listed(&deployed).await["blocks"].as_array().unwrap().iter().map(|block| block["principal"].clone()).collect();
    assert_eq!(principals, ["corp/group/contractors", "corp/user/a/b c", "lab/everyone"].map(Value::from));
}

#[tokio::test]
async fn blocking_again_changes_nothing_but_another_reason() {
    let deployed = Deployed::new().await;
    block(&deployed, CAROL, "laptop stolen").await.exits(0);
    let first = stored(&deployed, CAROL);
    let again = deployed.run(&["block", CAROL, "--reason", "laptop stolen", "--json"]).await;
    let told: Value = serde_json::from_str(again.exits(0)).unwrap();
    assert_eq!((&told["changed"], &told["principal"]), (&json!(false), &json!(CAROL)));
    assert_eq!(stored(&deployed, CAROL), first);
    let other = block(&deployed, CAROL, "left the company").await;
    assert!(other.exits(0).contains("laptop stolen"), "{other:?}");
    assert_eq!(stored(&deployed, CAROL).unwrap()["reason"], "left the company");
}

#[tokio::test]
async fn a_block_that_somebody_wrote_by_hand_counts() {
    let deployed = Deployed::new().await;
    deployed.dynamodb.block(CAROL);
    let expected = json!({"blocks": [{"principal": CAROL, "reason": null, "at": null, "by": null}]});
    assert_eq!(listed(&deployed).await, expected);
    let run = block(&deployed, CAROL, "laptop stolen").await;
    assert!(run.exits(0).contains("blocked already"), "{run:?}");
    assert_eq!(stored(&deployed, CAROL).unwrap()["reason"], "laptop stolen");
}

#[tokio::test]
async fn a_block_that_comes_a_moment_before_is_told() {
    let deployed = Deployed::new().await;
    let theirs = json!({"reason": "mine"});
    deployed.dynamodb.grant_just_before(0, &format!("blocked#{CAROL}"), "#blocked", Some(&theirs));
    let run = block(&deployed, CAROL, "ours").await;
    assert!(run.exits(0).contains("mine"), "{run:?}");
    assert_eq!(stored(&deployed, CAROL).unwrap()["reason"], "ours");
}

#[tokio::test]
async fn an_answer_that_is_lost_does_not_make_a_second_block() {
    let deployed = Deployed::new().await;
    deployed.dynamodb.server.fail_operation("PutItem", 1, &Fault::LosesAnswer);
    let run = block(&deployed, CAROL, "laptop stolen").await;
    assert!(run.exits(0).contains("laptop stolen"), "{run:?}");
    assert_eq!(deployed.dynamodb.puts().len(), 2);
    assert_eq!(listed(&deployed).await["blocks"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn unblocking_says_what_the_block_was_and_nothing_to_unblock_is_fine() {
    let deployed = Deployed::new().await;
    block(&deployed, CAROL, "laptop stolen").await.exits(0);
    let run = deployed.run(&["unblock", CAROL]).await;
    assert!(run.exits(0).contains("laptop stolen") && run.stdout.contains("not blocked any more"), "{run:?}");
    assert_eq!(stored(&deployed, CAROL), None);
    let again = deployed.run(&["unblock", CAROL]).await;
    assert!(again.exits(0).contains("was not blocked"), "{again:?}");
    let told: Value = serde_json::from_str(deployed.run(&["unblock", CAROL, "--json"]).await.exits(0)).unwrap();
    let expected = json!({"principal": CAROL, "reason": null, "at": null, "by": null, "changed": false});
    assert_eq!(told, expected);
    assert_eq!(listed(&deployed).await, json!({"blocks": []}));
    assert!(deployed.run(&["block", "--list"]).await.exits(0).contains("Nobody is blocked"));
}

#[tokio::test]
async fn only_blocks_are_listed() {
    let deployed = Deployed::new().await;
    deployed.dynamodb.grant(CAROL, "default", &json!({"reason": "a grant"}));
    deployed.dynamodb.grant("history#corp/everyone", "deploy#1-aaaaaaaaaaaaaaaa", &json!({}));
    deployed.dynamodb.grant(&format!("blocked#{CAROL}"), "other", &json!({}));
    deployed.dynamodb.page(1);
    block(&deployed, "corp/everyone", "outage").await.exits(0);
    let blocks = listed(&deployed).await;
    assert_eq!(blocks["blocks"].as_array().unwrap().len(), 1, "{blocks}");
}

#[tokio::test]
async fn what_is_left_to_do_by_hand_is_said() {
    let deployed = Deployed::new().await;
    let run = block(&deployed, "corp/user/carol", "left").await;
    let words = ["Left to do by hand", "identity provider", "federated-user/carol-3o2jzrlhnfnb", "git"];
    assert!(words.iter().all(|word| run.stderr.contains(word)), "{run:?}");
    for (principal, word) in [("corp/group/hr", "group"), ("corp/everyone", "issuer")] {
        let run = block(&deployed, principal, "left").await;
        assert!(run.stderr.contains(word), "{run:?}");
    }
}

#[tokio::test]
async fn an_issuer_that_the_stack_does_not_have_is_warned_of() {
    let deployed = Deployed::new().await;
    let issuers = r#"[{"id":"corp","issuer":"https://login.example.com","audiences":["hallpass"]}]"#;
    deployed.state().stack.outputs.insert("Issuers", issuers);
    let run = block(&deployed, "crop/user/carol", "left").await;
    run.exits(0);
    assert!(run.stderr.contains("no issuer `crop`") && run.stderr.contains("corp"), "{run:?}");
    let run = block(&deployed, "corp/user/carol", "left").await;
    assert!(!run.stderr.contains("warning"), "{run:?}");
}

#[tokio::test]
async fn wrong_usage_writes_nothing() {
    let deployed = Deployed::new().await;
    let long = "x".repeat(501);
    for arguments in [
        &["block"][..],
        &["block", CAROL],
        &["block", "--reason", "left"],
        &["block", CAROL, "--reason", ""],
        &["block", CAROL, "--reason", "  "],
        &["block", CAROL, "--reason", "a\nb"],
        &["block", CAROL, "--reason", &long],
        &["block", "--list", CAROL],
        &["block", "--list", "--reason", "left"],
        &["block", "carol", "--reason", "left"],
        &["block", "corp/role/x", "--reason", "left"],
        &["unblock"],
        &["unblock", "carol@example.com"],
    ] {
        deployed.run(arguments).await.exits(2);
    }
    assert_eq!(deployed.dynamodb.server.calls().len(), 0);
}

#[tokio::test]
async fn the_table_can_be_named_by_itself() {
    let mut deployed = Deployed::new().await;
    deployed.unset("HALLPASS_STACK");
    deployed.run(&["block", CAROL, "--reason", "left"]).await.exits(2);
    deployed.run(&["block", CAROL, "--reason", "left", "--grants-table", GRANTS]).await.exits(0);
    deployed.run(&["unblock", CAROL, "--grants-table", GRANTS]).await.exits(0);
    deployed.set("HALLPASS_TABLE", GRANTS);
    deployed.run(&["block", "--list"]).await.exits(0);
    assert!(!deployed.operations().contains(&"DescribeStacks".to_owned()));
    deployed.run(&["block", "--list", "--stack", STACK]).await.exits(0);
    assert!(deployed.operations().contains(&"DescribeStacks".to_owned()));
}

#[tokio::test]
async fn what_fails_is_told_with_the_permission_that_it_takes() {
    for (operation, arguments, permission) in [
        ("PutItem", &["block", CAROL, "--reason", "left"][..], "dynamodb:PutItem"),
        ("DeleteItem", &["unblock", CAROL], "dynamodb:DeleteItem"),
        ("Scan", &["block", "--list"], "dynamodb:Scan"),
    ] {
        let deployed = Deployed::new().await;
        let denied = Fault::Answers(error(400, "AccessDeniedException"));
        deployed.dynamodb.server.fail_operation(operation, 1, &denied);
        let run = deployed.run(arguments).await;
        run.fails(&[permission, "AccessDenied"]);
        assert!(!run.stderr.contains(UPSTREAM_TEXT));
    }
}
