//! What do `hallpass names list`, `register` and `release` do?

use hallpass_testing::aws::dynamodb::{STATE, error};
use hallpass_testing::aws::sts::OPERATOR;
use hallpass_testing::operator::{Deployed, Run};
use hallpass_testing::server::Fault;
use serde_json::{Value, json};

const CAROL: &str = "corp/user/00u1carol";

async fn register(deployed: &Deployed, name: &str, principal: &str) -> Run {
    deployed.run(&["names", "register", name, principal]).await
}

async fn listed(deployed: &Deployed) -> Value {
    serde_json::from_str(deployed.run(&["names", "list", "--json"]).await.exits(0)).unwrap()
}

#[tokio::test]
async fn a_name_is_registered_without_its_case() {
    let deployed = Deployed::new().await;
    let run = register(&deployed, "Carol@Example.com", CAROL).await;
    assert!(run.exits(0).contains("`carol@example.com` belongs to corp/user/00u1carol"), "{run:?}");
    let records = deployed.dynamodb.records();
    let record = &records["name#carol@example.com"];
    assert_eq!((&record["owner"], &record["updated_by"]), (&json!(CAROL), &json!(OPERATOR)));
    assert_eq!(listed(&deployed).await, json!({"names": [{"name": "carol@example.com", "principal": CAROL}]}));
}

#[tokio::test]
async fn a_name_that_another_owns_is_refused_and_the_owners_own_is_done() {
    let deployed = Deployed::new().await;
    register(&deployed, "carol", CAROL).await.exits(0);
    let before = deployed.dynamodb.records();
    let again = deployed.run(&["names", "register", "CAROL", CAROL, "--json"]).await;
    let told: Value = serde_json::from_str(again.exits(0)).unwrap();
    assert_eq!(told, json!({"name": "carol", "principal": CAROL, "changed": false}));
    let other = register(&deployed, "carol", "corp/user/mallory").await;
    other.exits(3);
    assert!(other.stderr.contains(CAROL) && other.stderr.contains("nothing was written"), "{other:?}");
    // Users of two issuers are two users.
    register(&deployed, "carol", "lab/user/00u1carol").await.exits(3);
    assert_eq!(deployed.dynamodb.records(), before);
}

#[tokio::test]
async fn a_name_that_is_taken_a_moment_before_is_refused() {
    let deployed = Deployed::new().await;
    deployed.dynamodb.record_just_before_the_next_put("name#carol", &json!({"owner": "corp/user/mallory"}));
    register(&deployed, "carol", CAROL).await.exits(3);
    assert_eq!(deployed.dynamodb.records()["name#carol"]["owner"], "corp/user/mallory");
}

#[tokio::test]
async fn an_answer_that_is_lost_is_no_conflict() {
    let deployed = Deployed::new().await;
    deployed.dynamodb.server.fail_operation("PutItem", 1, &Fault::LosesAnswer);
    register(&deployed, "carol", CAROL).await.exits(0);
}

#[tokio::test]
async fn a_released_name_is_free() {
    let deployed = Deployed::new().await;
    register(&deployed, "carol", CAROL).await.exits(0);
    let run = deployed.run(&["names", "release", "Carol"]).await;
    assert!(run.exits(0).contains("is free") && run.stdout.contains(CAROL), "{run:?}");
    assert!(run.stderr.contains("go on until they end"), "{run:?}");
    assert_eq!(deployed.dynamodb.records(), std::collections::BTreeMap::new());
    let again = deployed.run(&["names", "release", "carol", "--json"]).await;
    let told: Value = serde_json::from_str(again.exits(0)).unwrap();
    assert_eq!(told, json!({"name": "carol", "principal": null, "changed": false}));
    assert!(deployed.run(&["names", "release", "carol"]).await.exits(0).contains("not registered"));
    register(&deployed, "carol", "corp/user/mallory").await.exits(0);
}

#[tokio::test]
async fn only_names_are_listed_over_all_pages() {
    let deployed = Deployed::new().await;
    assert!(deployed.run(&["names", "list"]).await.exits(0).contains("No names"));
    for number in 0..5 {
        deployed.dynamodb.record(&format!("name#person{number}"), &json!({"owner": format!("corp/user/{number}")}));
        deployed.dynamodb.record(&format!("jti#corp#{number}"), &json!({"expires_at": 1}));
    }
    deployed.dynamodb.page(2);
    let names = listed(&deployed).await;
    let names: Vec<&Value> = names["names"].as_array().unwrap().iter().map(|name| &name["name"]).collect();
    assert_eq!(names, ["person0", "person1", "person2", "person3", "person4"]);
    let text = deployed.run(&["names", "list"]).await;
    assert!(text.exits(0).contains("person3  corp/user/3"), "{text:?}");
}

#[tokio::test]
async fn a_record_without_an_owner_is_a_problem() {
    let deployed = Deployed::new().await;
    deployed.dynamodb.record("name#carol", &json!({"owner": 7}));
    let run = deployed.run(&["names", "list", "--json"]).await;
    let told: Value = serde_json::from_str(run.exits(3)).unwrap();
    assert_eq!(told, json!({"names": [{"name": "carol", "principal": null}]}));
    register(&deployed, "carol", CAROL).await.exits(3);
    deployed.run(&["names", "release", "carol"]).await.exits(0);
    register(&deployed, "carol", CAROL).await.exits(0);
}

#[tokio::test]
async fn wrong_usage_writes_nothing() {
    let deployed = Deployed::new().await;
    let long = "a".repeat(33);
    for arguments in [
        &["names"][..],
        &["names", "register", "carol"],
        &["names", "register", "c", CAROL],
        &["names", "register", &long, CAROL],
        &["names", "register", "carol smith", CAROL],
        &["names", "register", "carol-3o2jzrlhnfnb", CAROL],
        &["names", "register", "CAROL-3O2JZRLHNFNB", CAROL],
        &["names", "register", "carol", "corp/group/hr"],
        &["names", "register", "carol", "corp/everyone"],
        &["names", "register", "carol", "carol"],
        &["names", "release", "carol smith"],
        &["names", "release"],
    ] {
        deployed.run(arguments).await.exits(2);
    }
    assert_eq!(deployed.dynamodb.server.calls().len(), 0);
}

#[tokio::test]
async fn a_name_that_no_token_can_bring_is_warned_of() {
    let deployed = Deployed::new().await;
    let issuers = r#"[{"id":"corp","issuer":"https://login.example.com","audiences":["hallpass"],"name_claim":"/name"},
                      {"id":"lab","issuer":"https://lab.example.com","audiences":["hallpass"]}]"#;
    deployed.state().stack.outputs.insert("Issuers", issuers);
    assert_eq!(register(&deployed, "carol", CAROL).await.stderr, "");
    for (principal, word) in [("lab/user/dave", "name_claim"), ("crop/user/erin", "no issuer `crop`")] {
        let run = register(&deployed, &principal.replace('/', "-"), principal).await;
        run.exits(0);
        assert!(run.stderr.contains("warning") && run.stderr.contains(word), "{run:?}");
    }
}

#[tokio::test]
async fn the_table_can_be_named_by_itself() {
    let mut deployed = Deployed::new().await;
    deployed.unset("HALLPASS_STACK");
    let run = deployed.run(&["names", "list"]).await;
    run.exits(2);
    assert!(run.stderr.contains("--state-table"), "{run:?}");
    deployed.run(&["names", "list", "--grants-table", "other"]).await.exits(2);
    deployed.run(&["names", "register", "carol", CAROL, "--state-table", STATE]).await.exits(0);
    deployed.set("HALLPASS_STATE", STATE);
    assert!(deployed.run(&["names", "list"]).await.exits(0).contains("carol"));
    deployed.set("HALLPASS_STACK", "unknown");
    deployed.run(&["names", "list", "--state-table", STATE]).await.exits(0);
    deployed.run(&["names", "list", "--stack", "unknown"]).await.exits(1);
}

#[tokio::test]
async fn what_fails_is_told_with_the_permission_that_it_takes() {
    for (operation, arguments, permission) in [
        ("PutItem", &["names", "register", "carol", CAROL][..], "dynamodb:PutItem"),
        ("DeleteItem", &["names", "release", "carol"], "dynamodb:DeleteItem"),
        ("Scan", &["names", "list"], "dynamodb:Scan"),
    ] {
        let deployed = Deployed::new().await;
        let denied = Fault::Answers(error(400, "AccessDeniedException"));
        deployed.dynamodb.server.fail_operation(operation, 1, &denied);
        deployed.run(arguments).await.fails(&[permission, "AccessDenied"]);
    }
}
