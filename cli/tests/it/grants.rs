//! What becomes of grant files and of the table, with the command line?

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::process::Command;

use hallpass_testing::aws::dynamodb::{GRANTS, UPSTREAM_TEXT, cancelled, error};
use hallpass_testing::aws::sts::OPERATOR;
use hallpass_testing::operator::{Deployed, Run};
use hallpass_testing::server::Fault;

const WHO: &str = "corp/everyone";

/// A folder of grant files, and a stack.
struct World {
    deployed: Deployed,
    folder: PathBuf,
}

impl World {
    async fn new() -> Self {
        let unique = format!("grants-{}-{:?}", std::process::id(), std::thread::current().id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(unique.replace(['(', ')'], ""));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Self { deployed: Deployed::new().await, folder }
    }

    /// A stack to which these grants of everyone were applied.
    async fn with(durations: &[(&str, u64)]) -> Self {
        let world = Self::new().await;
        world.files(durations);
        world.apply(&["--yes"]).await.exits(0);
        world.deployed.dynamodb.server.forget_calls();
        world
    }

    /// Makes the files say this of everyone, by grant, and nothing else.
    fn files(&self, durations: &[(&str, u64)]) {
        let document = |(grant, duration): &(&str, u64)| {
            format!("grant: {grant}\nprincipals: [{WHO}]\nmax_duration: {duration}\n")
        };
        let text: Vec<String> = durations.iter().map(document).collect();
        self.file("grants.yaml", &text.join("---\n"));
    }

    fn file(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).unwrap();
    }

    fn arguments<'a>(&'a self, command: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        ["grants", command].into_iter().chain(more.iter().copied()).chain([self.folder.to_str().unwrap()]).collect()
    }

    async fn plan(&self, more: &[&str]) -> Run {
        self.deployed.run(&self.arguments("plan", more)).await
    }

    async fn apply(&self, more: &[&str]) -> Run {
        self.deployed.run(&self.arguments("apply", more)).await
    }

    /// The plan for programs.
    async fn told(&self, more: &[&str]) -> Value {
        serde_json::from_str(self.plan(&[&["--json"], more].concat()).await.exits(0)).unwrap()
    }

    /// What is not empty of the plan, without its id.
    async fn differences(&self) -> Value {
        let mut told = self.told(&[]).await;
        told.as_object_mut().unwrap().retain(|name, value| name != "plan_id" && value != &json!([]));
        told
    }

    /// Everyone's grants in the table, with their durations.
    fn table(&self) -> BTreeMap<String, u64> {
        let items = self.deployed.dynamodb.grants().into_iter().filter(|((principal, _), _)| principal == WHO);
        items.map(|((_, grant), item)| (grant, item["max_duration"].as_u64().unwrap())).collect()
    }

    fn partition(&self, name: &str) -> BTreeMap<String, Value> {
        let items = self.deployed.dynamodb.grants().into_iter().filter(|((principal, _), _)| principal == name);
        items.map(|((_, sort), item)| (sort, item)).collect()
    }

    fn by_hand(&self, grant: &str, item: &Value) {
        self.deployed.dynamodb.grant(WHO, grant, item);
    }

    fn writes(&self) -> usize {
        self.deployed.dynamodb.transactions().len()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn one(grant: &str) -> Value {
    json!([{"principal": WHO, "grant": grant}])
}

/// Asserts that a run ended so, and said these words on standard error, and nothing of AWS's own text.
fn ends(run: &Run, code: i32, words: &[&str]) {
    run.exits(code);
    assert!(words.iter().all(|word| run.stderr.contains(word)), "{words:?} in {run:?}");
    assert!(!run.stderr.contains(UPSTREAM_TEXT) && !run.stdout.contains(UPSTREAM_TEXT), "{run:?}");
}

// Plan

#[tokio::test]
async fn a_plan_is_told_to_programs_and_changes_nothing() {
    let world = World::with(&[("same", 900), ("updated", 900), ("deleted", 900), ("drifted", 900)]).await;
    world.files(&[("same", 900), ("updated", 1_800), ("created", 900), ("drifted", 900)]);
    world.by_hand("drifted", &json!({"max_duration": 901}));
    world.by_hand("unmanaged", &json!({}));
    world.deployed.dynamodb.grant("blocked#corp/user/mallory", "#blocked", &json!({"reason": "left"}));
    let before = world.deployed.dynamodb.grants();
    let told = world.told(&[]).await;
    let id = told["plan_id"].as_str().unwrap().to_owned();
    let expected = json!({
        "create": [{"principal": WHO, "grant": "created", "effect": "WIDENS"}],
        "update": [{"principal": WHO, "grant": "updated", "effect": "WIDENS"}],
        "delete": [{"principal": WHO, "grant": "deleted", "effect": "NARROWS"}],
        "unmanaged": one("unmanaged"),
        "drift": one("drifted"),
        "blocked": [{"principal": "corp/user/mallory", "reason": "left"}],
        "plan_id": id,
    });
    assert_eq!(told, expected);
    assert_eq!(world.told(&[]).await, expected, "the same plan has the same id");
    let run = world.plan(&[]).await;
    let last = format!("Plan: 1 to create, 1 to update, 1 to delete; 1 unmanaged. Plan id {id}\n");
    assert!(run.exits(0).ends_with(&last), "{run:?}");
    for told in
        ["~ corp/everyone  updated  WIDENS\n    - max_duration  900\n    + max_duration  1800\n", "mallory  left"]
    {
        assert!(run.stdout.contains(told), "{run:?}");
    }
    let markdown = world.plan(&["--markdown"]).await;
    assert!(
        markdown.exits(0).ends_with(&last) && markdown.stdout.contains("- update `corp/everyone` `updated` **WIDENS**")
    );
    assert_eq!(world.deployed.dynamodb.grants(), before);
    let operations: Vec<_> =
        world.deployed.dynamodb.server.calls().iter().map(|call| call.operation().unwrap().to_owned()).collect();
    assert!(operations.iter().all(|operation| operation == "Scan"), "{operations:?}");
    assert!(world.deployed.dynamodb.listings().iter().all(|listing| listing.is_consistent && listing.table == GRANTS));
}

#[tokio::test]
async fn the_exit_code_says_whether_there_are_changes() {
    let world = World::with(&[("a", 900)]).await;
    world.plan(&["--detailed-exit-code"]).await.exits(0);
    world.files(&[("a", 1_800)]);
    world.plan(&[]).await.exits(0);
    world.plan(&["--detailed-exit-code"]).await.exits(4);
    ends(&world.plan(&["--detailed-exit-code", "--no-widening"]).await, 3, &["--no-widening"]);
    world.plan(&["--detailed-exit-code", "--json"]).await.exits(4);
    world.files(&[("a", 900), ("b", 900)]);
    world.plan(&["--no-widening"]).await.exits(3);
    world.apply(&["--no-widening", "--yes"]).await.exits(3);
    assert_eq!(world.writes(), 0);
    let narrower = World::with(&[("a", 1_800)]).await;
    narrower.files(&[("a", 900)]);
    narrower.plan(&["--no-widening"]).await.exits(0);
    narrower.by_hand("a", &json!({"max_duration": 901}));
    narrower.plan(&["--detailed-exit-code"]).await.exits(4);
}

#[tokio::test]
async fn a_mistake_in_the_files_is_found_before_the_table_is_asked() {
    let world = World::new().await;
    for command in ["plan", "apply"] {
        let run = async |more: &[&str]| {
            let yes: &[&str] = if command == "apply" { &["--yes"] } else { &[] };
            world.deployed.run(&world.arguments(command, &[yes, more].concat())).await
        };
        let _ = fs::remove_file(world.folder.join("grants.yaml"));
        ends(&run(&[]).await, 1, &["there is no grant in"]);
        ends(&run(&["/nowhere/at/all"]).await, 1, &["/nowhere/at/all"]);
        world.file("grants.yaml", "grant: a\nprincipals: [corp/everyone]\nmax_duration: 899\n---\ngrant: [\n");
        ends(&run(&[]).await, 3, &["grants.yaml:3:", "max_duration", "errors in the files"]);
        world
            .file("grants.yaml", "grant: a\nprincipals: [corp/everyone]\n---\ngrant: a\nprincipals: [corp/everyone]\n");
        ends(&run(&[]).await, 3, &["grants.yaml:5:"]);
    }
    assert!(world.deployed.calls().is_empty() && world.deployed.dynamodb.server.calls().is_empty());
}

#[tokio::test]
async fn usage_is_checked_before_anything_is_asked() {
    let mut world = World::new().await;
    world.files(&[("a", 900)]);
    ends(&world.apply(&[]).await, 2, &["--plan-id", "--yes"]);
    world.apply(&["--plan-id", "abc"]).await.exits(2);
    world.apply(&["--yes", "--set", "No"]).await.exits(2);
    world.plan(&["--json", "--markdown"]).await.exits(2);
    world.deployed.unset("HALLPASS_STACK");
    ends(&world.plan(&[]).await, 2, &["--stack", "--grants-table", "HALLPASS_TABLE"]);
    assert!(world.deployed.calls().is_empty() && world.deployed.dynamodb.server.calls().is_empty());
}

#[tokio::test]
async fn a_table_can_be_named_without_the_stack_and_an_option_wins_over_a_variable() {
    let mut world = World::new().await;
    world.files(&[("a", 900)]);
    world.plan(&["--grants-table", GRANTS, "--state-table", "x"]).await.exits(0);
    world.deployed.set("HALLPASS_TABLE", GRANTS);
    world.plan(&[]).await.exits(0);
    assert_eq!(world.deployed.operations(), [""; 0]);
    ends(&world.plan(&["--stack", "another"]).await, 1, &["another"]);
    world.plan(&["--grants-table", "another"]).await.exits(0);
    assert_eq!(world.deployed.dynamodb.listings().last().unwrap().table, "another");
}

// Apply

#[tokio::test]
async fn what_is_applied_is_in_the_table_its_history_and_its_manifest() {
    let world = World::new().await;
    world.files(&[("a", 900), ("b", 900)]);
    let run = world.apply(&["--yes", "--source", "commit 1"]).await;
    assert!(run.exits(0).ends_with("Applied 2 changes.\n"), "{run:?}");
    let item = &world.partition(WHO)["a"];
    let revision = item["revision"].as_str().unwrap();
    assert!(revision.starts_with("1-") && revision.len() == 18);
    assert_eq!(item["updated_by"], OPERATOR);
    let history = &world.partition("history#corp/everyone")[&format!("a#{revision}")];
    let told = ["action", "updated_by", "updated_at", "source", "content"].map(|name| history[name].clone());
    let expected =
        [json!("create"), json!(OPERATOR), item["updated_at"].clone(), json!("commit 1"), json!({"max_duration": 900})];
    assert_eq!(told, expected);
    assert_eq!(world.partition("manifest#default")["a#corp/everyone"]["revision"], revision);
    let transactions = world.deployed.dynamodb.transactions();
    assert_eq!(transactions.len(), 2);
    assert!(transactions.iter().all(|writes| writes.len() == 3 && writes.iter().all(|write| write.is_conditional)));

    let run = world.apply(&["--yes"]).await;
    assert!(run.exits(0).ends_with("Nothing to do: nothing was written.\n"));
    assert_eq!(world.writes(), 2);
    world.files(&[("b", 1_800)]);
    let applied = world.apply(&["--yes", "--json"]).await;
    let applied: Value = serde_json::from_str(applied.exits(0)).unwrap();
    assert_eq!((&applied["not_done"], applied["done"].as_array().unwrap().len()), (&json!([]), 2));
    assert_eq!(applied["delete"], json!([{"principal": WHO, "grant": "a", "effect": "NARROWS"}]));
    assert_eq!(world.table(), BTreeMap::from([("b".into(), 1_800)]));
    assert_eq!(world.partition("manifest#default").keys().collect::<Vec<_>>(), ["b#corp/everyone"]);
    let last = world.partition("history#corp/everyone");
    assert!(last.keys().any(|sort| sort.starts_with("a#2-")) && last.values().any(|entry| entry["action"] == "delete"));
    // What narrows is written before what widens.
    let grants: Vec<_> =
        world.deployed.dynamodb.transactions()[2..].iter().map(|writes| writes[1].item["grant"].clone()).collect();
    assert_eq!(grants, ["a", "b"]);
    world.files(&[("a", 900), ("b", 1_800)]);
    world.apply(&["--yes"]).await.exits(0);
    assert!(world.partition(WHO)["a"]["revision"].as_str().unwrap().starts_with("3-"), "a number is used once");
}

#[tokio::test]
async fn only_the_plan_that_was_reviewed_is_applied() {
    let world = World::with(&[("a", 900)]).await;
    world.files(&[("a", 1_800)]);
    let id = world.told(&[]).await["plan_id"].as_str().unwrap().to_owned();
    world.files(&[("a", 1_801)]);
    ends(&world.apply(&["--plan-id", &id]).await, 3, &["not the one that was reviewed", "nothing was written"]);
    world.files(&[("a", 1_800)]);
    world.by_hand("b", &json!({}));
    world.apply(&["--plan-id", &id, "--yes"]).await.exits(3);
    assert_eq!(world.writes(), 0);
    world.deployed.dynamodb.remove(WHO, "b");
    world.apply(&["--plan-id", &id.to_uppercase()]).await.exits(0);
    assert_eq!(world.table()["a"], 1_800);
    world.apply(&["--plan-id", &id]).await.exits(3);
}

#[tokio::test]
async fn what_was_left_undone_is_a_problem() {
    let world = World::with(&[("a", 900)]).await;
    world.files(&[("a", 1_800), ("b", 900)]);
    world.by_hand("a", &json!({"max_duration": 901}));
    world.by_hand("b", &json!({"max_duration": 901}));
    world.by_hand("c", &json!({"max_duration": 901}));
    ends(&world.apply(&["--yes"]).await, 3, &["2 items", "--overwrite-drift", "--take-over"]);
    assert_eq!(world.writes(), 0);
    world.apply(&["--yes", "--take-over"]).await.exits(3);
    let table = |a, b| BTreeMap::from([("a".to_owned(), a), ("b".to_owned(), b), ("c".to_owned(), 901)]);
    assert_eq!(world.table(), table(901, 900));
    world.apply(&["--yes", "--overwrite-drift"]).await.exits(0);
    assert_eq!(world.table(), table(1_800, 900));
    assert_eq!(world.differences().await, json!({ "unmanaged": one("c") }));
    let history = world.partition("history#corp/everyone");
    let found = history.values().filter(|entry| entry["action"] == "found" && entry["content"]["max_duration"] == 901);
    assert_eq!(found.count(), 2, "what somebody wrote by hand can come back");
}

#[tokio::test]
async fn many_changes_have_to_be_counted() {
    let grants: Vec<String> = (0..10).map(|number| format!("g{number}")).collect();
    let all = |changed: usize| -> Vec<(&str, u64)> {
        grants
            .iter()
            .enumerate()
            .map(|(index, grant)| (grant.as_str(), if index < changed { 1_800 } else { 900 }))
            .collect()
    };
    let world = World::with(&all(0)).await;
    world.files(&all(4));
    assert!(world.plan(&[]).await.exits(0).contains("--allow-changes 4"));
    ends(&world.apply(&["--yes"]).await, 3, &["--allow-changes 4", "Nothing was written"]);
    world.apply(&["--yes", "--allow-changes", "3"]).await.exits(3);
    assert_eq!(world.writes(), 0);
    world.apply(&["--yes", "--allow-changes", "4"]).await.exits(0);
    world.files(&all(7));
    world.apply(&["--yes"]).await.exits(0);
    world.files(&[("other", 900)]);
    ends(&world.apply(&["--yes"]).await, 3, &["deletes everything"]);
}

// What goes wrong

#[tokio::test]
async fn a_conflict_says_what_was_done_and_what_was_not() {
    let world = World::with(&[("a", 1_800), ("b", 1_800)]).await;
    world.files(&[("a", 900), ("b", 1_801)]);
    // Somebody changes the content by hand, and leaves the revision.
    let mut item = world.partition(WHO)["b"].clone();
    item["max_duration"] = json!(1_900);
    world.deployed.dynamodb.grant_just_before(1, WHO, "b", Some(&item));
    let run = world.apply(&["--yes"]).await;
    ends(&run, 3, &["a conflict", "corp/everyone  b", "1 of 2"]);
    assert!(run.stdout.contains("Done: 1 of 2 changes.\n  corp/everyone  a\nNot done:\n  corp/everyone  b"), "{run:?}");
    assert_eq!(world.table(), BTreeMap::from([("a".into(), 900), ("b".into(), 1_900)]));
    assert_eq!(world.differences().await, json!({ "drift": one("b") }));
}

#[tokio::test]
async fn every_part_of_a_change_is_conditional() {
    let revision = "1-0123456789abcdef";
    for (principal, grant, item) in [
        (WHO, "a", json!({"max_duration": 900})),
        ("manifest#default", "a#corp/everyone", json!({ "revision": revision })),
        ("history#corp/everyone", "a#1-", json!({"action": "create"})),
    ] {
        let world = World::new().await;
        world.files(&[("a", 900)]);
        let mut grant = grant.to_owned();
        if grant == "a#1-" {
            world.apply(&["--yes"]).await.exits(0);
            grant = world.partition("history#corp/everyone").keys().next().unwrap().clone();
            world.deployed.dynamodb.clear();
        }
        world.deployed.dynamodb.grant_just_before(0, principal, &grant, Some(&item));
        ends(&world.apply(&["--yes"]).await, 3, &["a conflict", "0 of 1"]);
        assert_eq!(world.deployed.dynamodb.grants().len(), 1, "nothing else was written: {principal}");
    }
}

#[tokio::test]
async fn a_lost_answer_is_met_by_the_same_write() {
    let world = World::with(&[("a", 900)]).await;
    let faults = [Fault::LosesAnswer, Fault::Answers(error(500, "InternalServerError")), Fault::Resets];
    for (fault, duration) in faults.into_iter().zip(901..) {
        world.files(&[("a", duration)]);
        world.deployed.dynamodb.server.fail_operation("TransactWriteItems", 1, &fault);
        world.apply(&["--yes"]).await.exits(0);
    }
    assert_eq!(world.table()["a"], 903);
    assert_eq!(world.writes(), 6);
    assert_eq!(world.partition("history#corp/everyone").len(), 4);
    let tokens: Vec<Value> = world
        .deployed
        .dynamodb
        .server
        .calls()
        .iter()
        .map(|call| call.json()["ClientRequestToken"].clone())
        .filter(Value::is_string)
        .collect();
    assert_eq!((&tokens[0], &tokens[2], &tokens[4]), (&tokens[1], &tokens[3], &tokens[5]));
    assert!(tokens[0] != tokens[2] && tokens[2] != tokens[4]);
}

#[tokio::test]
async fn throttling_is_waited_for() {
    let world = World::with(&[("a", 900)]).await;
    world.files(&[("a", 1_800)]);
    let throttled = Fault::Answers(error(400, "ThrottlingException"));
    let server = &world.deployed.dynamodb.server;
    server.fail_operation("Scan", 1, &throttled);
    server.fail_operation("TransactWriteItems", 1, &throttled);
    for code in ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"] {
        server.fail_operation("TransactWriteItems", 1, &Fault::Answers(cancelled(&["None", code, "None"])));
    }
    world.apply(&["--yes"]).await.exits(0);
    assert_eq!(world.table()["a"], 1_800);
    world.files(&[("a", 900)]);
    let refused = Fault::Answers(cancelled(&["None", "ItemCollectionSizeLimitExceeded", "None"]));
    server.fail_operation("TransactWriteItems", 1, &refused);
    ends(&world.apply(&["--yes"]).await, 1, &["ItemCollectionSizeLimitExceeded", "0 of 1"]);
}

#[tokio::test]
async fn an_end_in_the_middle_is_finished_by_the_next_run() {
    let expired = Fault::Answers(error(400, "ExpiredTokenException"));
    let before: Vec<(&str, u64)> = vec![("a", 1_800), ("b", 1_800), ("c", 900), ("d", 900)];
    let after: Vec<(&str, u64)> = vec![("a", 900), ("c", 1_800), ("d", 1_800), ("e", 900)];
    // The scan is the first call.
    for first in 1..6 {
        let world = World::with(&before).await;
        world.files(&after);
        let server = &world.deployed.dynamodb.server;
        server.fail_operation_from(first, "TransactWriteItems", 100, &expired);
        let run = world.apply(&["--yes"]).await;
        ends(&run, 1, &["ExpiredTokenException", "of 5 changes are done"]);
        assert!(run.stdout.contains("Not done:"), "{run:?}");
        server.heal();
        world.apply(&["--yes"]).await.exits(0);
        let expected: BTreeMap<String, u64> =
            after.iter().map(|(grant, duration)| ((*grant).to_owned(), *duration)).collect();
        assert_eq!(world.table(), expected);
        assert_eq!(world.differences().await, json!({}));
    }
}

#[tokio::test]
async fn who_may_not_write_is_told_what_is_missing() {
    let world = World::new().await;
    world.files(&[("a", 900)]);
    let denied = Fault::Answers(error(400, "AccessDeniedException"));
    world.deployed.dynamodb.server.fail_operation("TransactWriteItems", 1, &denied);
    ends(&world.apply(&["--yes"]).await, 1, &["AccessDeniedException", "dynamodb:PutItem"]);
    world.deployed.dynamodb.server.fail_operation("Scan", 1, &denied);
    ends(&world.plan(&[]).await, 1, &["AccessDeniedException", "dynamodb:Scan"]);
    world.deployed.refuse("GetCallerIdentity", "AccessDenied");
    ends(&world.apply(&["--yes"]).await, 1, &["STS", "sts:GetCallerIdentity"]);
    assert!(world.deployed.dynamodb.grants().is_empty());
}

#[tokio::test]
async fn a_signal_ends_it_after_the_write_in_hand() {
    let world = World::with(&[("a", 3_600), ("b", 900)]).await;
    let server = &world.deployed.dynamodb.server;
    for (signal, duration) in [("-INT", 1_800), ("-TERM", 900)] {
        world.files(&[("a", duration), ("b", 1_800)]);
        server.forget_calls();
        server.fail_operation("TransactWriteItems", 1, &Fault::KeepsAnswer);
        let process = world.deployed.command(&world.arguments("apply", &["--yes"])).spawn().unwrap();
        let id = process.id().unwrap().to_string();
        let (run, ()) = tokio::join!(Run::of(process), async {
            server.held().await;
            assert!(Command::new("kill").args([signal, &id]).status().await.unwrap().success());
            // The signal is there when the process has said so; an answer before that would be the end of the write.
            tokio::time::sleep(Duration::from_millis(500)).await;
            server.release();
        });
        ends(&run, 1, &["finishing the writes", "stopped as you asked", "1 of 2"]);
        assert_eq!(world.table(), BTreeMap::from([("a".into(), duration), ("b".into(), 900)]));
    }
}

// Export

#[tokio::test]
async fn after_an_export_a_plan_says_no_change() {
    let world = World::new().await;
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Sid": "A", "Effect": "Allow", "Action": "s3:*", "Resource": ["arn:aws:s3:::a/${jwt:/sub}/*"], "Condition": {"Bool": {"aws:SecureTransport": true}}},
    ]});
    for (principal, item) in [
        (
            "corp/group/a",
            json!({"policy": policy, "description": "No: \u{85}\"é😀\\", "revision": "7-0123456789abcdef"}),
        ),
        ("corp/user/a#b: c", json!({"policy": policy.to_string(), "description": "No: \u{85}\"é😀\\"})),
        (
            "corp/everyone",
            json!({"require": {"claims": {"/a": [true, "yes"]}}, "not_after": 4_000_000_000_u64, "tags": {"a b": "${jwt:/x}"}}),
        ),
    ] {
        world.deployed.dynamodb.grant(principal, "default", &item);
        world.deployed.dynamodb.grant(principal, "x.test", &json!({}));
    }
    world.file("grants.yaml", "kept: as it is\n");
    let out = world.folder.join("out");
    let export = ["grants", "export", "--dir", out.to_str().unwrap()];
    world.deployed.run(&export).await.exits(0);
    let read = || -> BTreeMap<String, (String, SystemTime)> {
        let files = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path());
        let file = |path: PathBuf| {
            (
                path.file_name().unwrap().to_str().unwrap().to_owned(),
                (fs::read_to_string(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap()),
            )
        };
        files.map(file).collect()
    };
    let first = read();
    assert_eq!(first.keys().collect::<Vec<_>>(), ["default.yaml", "x.test+.yaml"]);
    let plan: Value =
        serde_json::from_str(world.deployed.run(&["grants", "plan", "--json", out.to_str().unwrap()]).await.exits(0))
            .unwrap();
    assert_eq!(["create", "update", "delete", "drift"].map(|kind| plan[kind].clone()), ["[]"; 4].map(|_| json!([])));
    assert_eq!(plan["unmanaged"].as_array().unwrap().len(), 6);
    let text = world.deployed.run(&["grants", "plan", "--detailed-exit-code", out.to_str().unwrap()]).await;
    assert!(text.exits(0).contains("No changes.\n"));
    world.deployed.run(&["grants", "apply", "--yes", "--take-over", out.to_str().unwrap()]).await.exits(0);
    world.deployed.run(&export).await.exits(0);
    assert_eq!(read(), first, "the same items are the same bytes, and the same files");
    assert_eq!(fs::read_to_string(world.folder.join("grants.yaml")).unwrap(), "kept: as it is\n");
}

#[tokio::test]
async fn an_export_tells_what_it_cannot_say_and_what_else_is_there() {
    let world = World::new().await;
    world.by_hand("fine", &json!({}));
    world.by_hand("broken", &json!({"policy": "{", "colour": "red"}));
    world.file("other.yml", "");
    let run = world.deployed.run(&["grants", "export", "--json", "--dir", world.folder.to_str().unwrap()]).await;
    ends(&run, 3, &["corp/everyone  broken", "/colour", "other.yml"]);
    let told: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&told["items"], &told["left_out"][0]["grant"]), (&json!(1), &json!("broken")));
}

#[tokio::test]
async fn a_full_disk_leaves_nothing_half_written() {
    let world = World::new().await;
    world.by_hand("a", &json!({}));
    world.by_hand("b", &json!({"description": "x".repeat(4_000)}));
    let out = world.folder.join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("a.yaml"), "old").unwrap();
    let export = world.deployed.command(&["grants", "export", "--dir", out.to_str().unwrap()]);
    let export = export.as_std();
    // No file may have more than some blocks here, which is as if the disk were full.
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 4; exec \"$@\"", "sh"])
        .arg(export.get_program())
        .args(export.get_args());
    limited.env_clear().envs(export.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let run = Run::of(limited.spawn().unwrap()).await;
    ends(&run, 1, &["b.yaml", "no file was changed"]);
    let names: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!((names.len(), fs::read_to_string(out.join("a.yaml")).unwrap().as_str()), (1, "old"));
}

// History

#[tokio::test]
async fn the_history_says_who_changed_what_and_an_old_content_comes_back() {
    let world = World::with(&[("a", 900), ("b", 900)]).await;
    world.files(&[("a", 1_800)]);
    world.apply(&["--yes", "--source", "commit 2"]).await.exits(0);
    let history = async |more: &[&str]| -> Vec<Value> {
        let told = world.deployed.run(&[&["grants", "history", "--json"], more].concat()).await;
        let told: Value = serde_json::from_str(told.exits(0)).unwrap();
        told["history"].as_array().unwrap().clone()
    };
    let all = history(&[]).await;
    assert_eq!(all.len(), 4);
    assert_eq!(history(&[WHO]).await, all);
    assert_eq!(history(&["corp/user/nobody"]).await, [""; 0]);
    let of_a = history(&[WHO, "a"]).await;
    let summary: Vec<_> = of_a.iter().map(|entry| (entry["action"].clone(), entry["source"].clone())).collect();
    assert_eq!(summary, [(json!("update"), json!("commit 2")), (json!("create"), json!(null))]);
    assert_eq!((&of_a[0]["by"], &of_a[0]["principal"]), (&json!(OPERATOR), &json!(WHO)));
    assert!(of_a[0]["at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(history(&[WHO, "b"]).await[0]["action"], "delete");
    let text = world.deployed.run(&["grants", "history", WHO]).await;
    assert_eq!(text.exits(0).lines().count(), 4);

    let first = of_a[1]["revision"].as_str().unwrap();
    let rollback =
        async |grant: &str, revision: &str| world.deployed.run(&["grants", "rollback", WHO, grant, revision]).await;
    let run = rollback("a", first).await;
    ends(&run, 0, &["the files still say otherwise"]);
    assert!(run.stdout.contains("NARROWS"), "{run:?}");
    assert_eq!(world.table()["a"], 900);
    assert_eq!(history(&[WHO, "a"]).await[0]["action"], "rollback");
    let again = rollback("a", first).await;
    assert!(again.exits(0).starts_with("Nothing to do"));
    let update = json!({"update": [{"principal": WHO, "grant": "a", "effect": "WIDENS"}]});
    assert_eq!(world.differences().await, update, "the manifest has it, so it has not drifted");

    let deletion = history(&[WHO, "b"]).await[0]["revision"].as_str().unwrap().to_owned();
    ends(&rollback("b", &deletion).await, 3, &["deletion"]);
    ends(&rollback("b", "9-0123456789abcdef").await, 1, &["has no revision"]);
    let created = history(&[WHO, "b"]).await[1]["revision"].as_str().unwrap().to_owned();
    rollback("b", &created).await.exits(0);
    assert_eq!(world.table()["b"], 900);
    assert_eq!(world.differences().await["delete"], json!([{"principal": WHO, "grant": "b", "effect": "NARROWS"}]));
}

#[tokio::test]
async fn a_content_that_todays_rules_refuse_does_not_come_back() {
    let world = World::with(&[("a", 900)]).await;
    let entry = json!({"action": "create", "content": {"max_duration": 5}});
    world.deployed.dynamodb.grant("history#corp/everyone", "a#2-0123456789abcdef", &entry);
    let run = world.deployed.run(&["grants", "rollback", WHO, "a", "2-0123456789abcdef"]).await;
    ends(&run, 3, &["not accepted any more", "/max_duration"]);
    assert_eq!(world.writes(), 0);
}

#[tokio::test]
async fn a_table_of_many_pages_is_read_whole() {
    let world = World::with(&[("a", 900), ("b", 900), ("c", 900)]).await;
    world.deployed.dynamodb.page(2);
    assert_eq!(world.differences().await, json!({}));
    let told = world.deployed.run(&["grants", "history", "--json", WHO]).await;
    let told: Value = serde_json::from_str(told.exits(0)).unwrap();
    assert_eq!(told["history"].as_array().unwrap().len(), 3);
}
