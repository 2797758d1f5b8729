//! What does an operator learn of the broker key, and do about it, with the command line?

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use hallpass_testing::aws::account::{State, Step};
use hallpass_testing::aws::cloudformation::STACK;
use hallpass_testing::aws::iam::{BROKER_USER, Key};
use hallpass_testing::aws::secretsmanager::{self, SECRET_ARN};
use hallpass_testing::clock;
use hallpass_testing::operator::{DAY, Deployed, KEY, LOG, OLD_KEY, OLD_VERSION, OPERATOR_KEY, VERSION};
use hallpass_testing::server::Fault;

const STATUS: [&str; 2] = ["key", "status"];
const STATUS_JSON: [&str; 3] = ["key", "status", "--json"];
const ROTATE: [&str; 2] = ["key", "rotate"];
const DEACTIVATE: [&str; 3] = ["key", "rotate", "--deactivate-old"];

/// What is made wrong.
type Change = fn(&mut State);

/// The rotator makes one key, and finishes.
const ROTATES: Step = Step::Promotes(&[true]);

#[tokio::test]
async fn a_key_that_is_well_is_told_of_without_being_read() {
    let deployed = Deployed::new().await;
    let run = deployed.run(&STATUS).await;
    let expected = format!(
        "stack     {STACK}\n\
         secret    {SECRET_ARN}\n\
         rotation  every 30 days, last 12 days ago, next in 18 days\n\
         version   {VERSION}  AWSCURRENT   made 12 days ago\n\
         version   {OLD_VERSION}  AWSPREVIOUS  made 42 days ago\n\
         user      {BROKER_USER}\n\
         key       {KEY}  active    made 12 days ago, last used 3 min ago (sts in eu-central-1)\n\
         key       {OLD_KEY}  inactive  made 42 days ago, last used 12 days ago (sts in eu-central-1)\n\
         problems  none\n"
    );
    assert_eq!(run.exits(0), expected);
    assert_eq!(run.stderr, "");
    let operations = [
        "DescribeStacks",
        "DescribeSecret",
        "ListSecretVersionIds",
        "ListAccessKeys",
        "GetAccessKeyLastUsed",
        "GetAccessKeyLastUsed",
    ];
    assert_eq!(deployed.operations(), operations);
    assert!(deployed.account.server.calls().iter().all(|call| call.access_key() == OPERATOR_KEY));
}

#[tokio::test]
async fn the_same_is_told_to_programs() {
    let deployed = Deployed::new().await;
    key(&mut deployed.state(), KEY).used = None;
    let status: Value = serde_json::from_str(deployed.run(&STATUS_JSON).await.exits(0)).unwrap();
    let state = deployed.state();
    let secret = &state.secret;
    let at = |seconds: u64| json!(clock::rfc3339(seconds));
    let (old_version, version) = (&secret.versions[OLD_VERSION], &secret.versions[VERSION]);
    let (old_key, key) = (&state.user.keys[OLD_KEY], &state.user.keys[KEY]);
    let expected = json!({
        "stack": STACK,
        "secret": SECRET_ARN,
        "user": BROKER_USER,
        "rotation": {
            "enabled": true,
            "interval": "every 30 days",
            "last": at(secret.rotated.unwrap()),
            "next": at(secret.next_rotation.unwrap()),
        },
        "last_changed": at(secret.changed),
        "versions": [
            {"id": VERSION, "stages": ["AWSCURRENT"], "created": at(version.created)},
            {"id": OLD_VERSION, "stages": ["AWSPREVIOUS"], "created": at(old_version.created)},
        ],
        "keys": [
            {"id": KEY, "active": true, "created": at(key.created), "last_used": null},
            {"id": OLD_KEY, "active": false, "created": at(old_key.created), "last_used":
                {"at": at(old_key.used.unwrap()), "service": "sts", "region": "eu-central-1"}},
        ],
        "problems": [],
    });
    assert_eq!(status, expected);
}

#[tokio::test]
async fn each_problem_is_told_with_its_remedy() {
    let rotate = format!("`hallpass key rotate --stack {STACK}`");
    let cases: [(Change, &str, &str); 6] = [
        (|state| state.secret.is_rotated = false, "rotation is off", &rotate),
        (
            |state| state.secret.versions.get_mut(OLD_VERSION).unwrap().stages = ["AWSPENDING".into()].into(),
            "a rotation that began 42 days ago has not finished",
            LOG,
        ),
        (|state| state.user.keys.clear(), "the stack has not made a key yet", &rotate),
        (|state| key(state, KEY).is_active = false, "no key is active", &rotate),
        (|state| key(state, OLD_KEY).is_active = true, "2 keys are active, 12 days after the last change", LOG),
        (|state| key(state, KEY).created -= 38 * DAY, "the newest active key is 50 days old", &rotate),
    ];
    for (change, problem, remedy) in cases {
        let deployed = Deployed::new().await;
        change(&mut deployed.state());
        let run = deployed.run(&STATUS).await;
        let told = run.exits(3).split_once("\n\n").unwrap().1;
        assert!(told.starts_with(&format!("problem   {problem}")) && told.contains("\nremedy    "), "{told}");
        let status: Value = serde_json::from_str(deployed.run(&STATUS_JSON).await.exits(3)).unwrap();
        let problems = status["problems"].as_array().unwrap();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0]["problem"].as_str().unwrap().starts_with(problem));
        assert!(problems[0]["remedy"].as_str().unwrap().contains(remedy), "{problems:?}");
        assert!(
            deployed
                .operations()
                .iter()
                .all(|name| ["Describe", "List", "GetAccessKeyLastUsed"].iter().any(|verb| name.starts_with(verb)))
        );
    }
}

#[tokio::test]
async fn what_may_not_be_asked_is_named_with_the_permission_that_it_takes() {
    let cases = [
        (STATUS.as_slice(), "DescribeStacks", "AccessDenied", "cloudformation:DescribeStacks", STACK),
        (&STATUS, "DescribeSecret", "AccessDeniedException", "secretsmanager:DescribeSecret", SECRET_ARN),
        (&STATUS, "ListSecretVersionIds", "AccessDeniedException", "secretsmanager:ListSecretVersionIds", SECRET_ARN),
        (&STATUS, "ListAccessKeys", "AccessDenied", "iam:ListAccessKeys", BROKER_USER),
        (&STATUS, "GetAccessKeyLastUsed", "AccessDenied", "iam:GetAccessKeyLastUsed", KEY),
        (&ROTATE, "RotateSecret", "AccessDeniedException", "secretsmanager:RotateSecret", SECRET_ARN),
        (&ROTATE, "RotateSecret", "AccessDeniedException", "lambda:InvokeFunction", SECRET_ARN),
        (&DEACTIVATE, "UpdateAccessKey", "AccessDenied", "iam:UpdateAccessKey", KEY),
    ];
    for (arguments, operation, code, permission, resource) in cases {
        let deployed = Deployed::new().await;
        deployed.refuse(operation, code);
        deployed.state().rotator.push_back(ROTATES);
        let run = deployed.run(arguments).await;
        run.fails(&["cannot ", code, permission, &format!("`{resource}`")]);
        assert_eq!(run.stdout.is_empty(), operation != "UpdateAccessKey", "{run:?}");
        deployed.refuse(operation, "SomethingElse");
        deployed.state().rotator.push_back(ROTATES);
        let run = deployed.run(arguments).await;
        run.fails(&["cannot ", "SomethingElse"]);
        assert!(!run.stderr.contains(permission), "{run:?}");
    }
}

#[tokio::test]
async fn a_stack_that_is_not_there_or_not_ours_is_named() {
    let deployed = Deployed::new().await;
    deployed.run(&["key", "status", "--stack", "other"]).await.fails(&["`other`", "eu-central-1", "ValidationError"]);
    deployed.run(&["key", "status", "--region", "us-east-1", "--stack", "other"]).await.fails(&["us-east-1"]);
    for output in ["BrokerKey", "BrokerUser"] {
        let deployed = Deployed::new().await;
        deployed.state().stack.outputs.remove(output);
        deployed.run(&STATUS).await.fails(&[STACK, &format!("no output `{output}`")]);
    }
}

#[tokio::test]
async fn services_out_of_reach_are_a_failure() {
    let deployed = Deployed::new().await;
    deployed.account.server.fail_always(&Fault::Resets);
    deployed.run(&STATUS).await.fails(&["CloudFormation is throttled or out of reach", STACK]);
}

#[tokio::test]
async fn a_machine_without_region_or_credentials_is_told_so() {
    let mut deployed = Deployed::new().await;
    deployed.unset("AWS_REGION");
    deployed.run(&STATUS).await.fails(&["no AWS region", "--region"]);
    deployed.run(&["key", "status", "--region", "eu-central-1"]).await.exits(0);
    let mut deployed = Deployed::new().await;
    deployed.unset("AWS_ACCESS_KEY_ID");
    deployed.run(&STATUS).await.fails(&["no AWS credentials", "`aws sts get-caller-identity`"]);
    assert!(deployed.account.server.calls().is_empty());
}

#[tokio::test]
async fn the_profile_that_is_named_wins_over_the_environment() {
    let profile =
        "[profile ops]\nregion = eu-west-1\naws_access_key_id = AKIAPROFILEEXAMPLE00\naws_secret_access_key = x\n";
    let mut deployed = Deployed::new().await;
    deployed.set("AWS_CONFIG_FILE", file("cli-profile", profile).to_str().unwrap());
    deployed.run(&["key", "status", "--profile", "ops"]).await.exits(0);
    assert!(deployed.account.server.calls().iter().all(|call| call.access_key() == "AKIAPROFILEEXAMPLE00"));
    deployed.run(&["key", "status", "--profile", "other"]).await.fails(&["no AWS credentials"]);
    deployed.set(
        "AWS_CONFIG_FILE",
        file("cli-process", "[profile ops]\ncredential_process = echo a secret >&2; false\n").to_str().unwrap(),
    );
    let run = deployed.run(&["key", "status", "--profile", "ops"]).await;
    run.fails(&["no AWS credentials"]);
    assert!(!run.stderr.contains("a secret"), "{run:?}");
}

#[tokio::test]
async fn a_service_may_have_an_endpoint_of_its_own() {
    let mut deployed = Deployed::new().await;
    let other = Deployed::new().await;
    deployed.set("AWS_ENDPOINT_URL_IAM", &other.account.server.url());
    deployed.run(&STATUS).await.exits(0);
    assert_eq!(deployed.operations(), ["DescribeStacks", "DescribeSecret", "ListSecretVersionIds"]);
    assert_eq!(other.operations(), ["ListAccessKeys", "GetAccessKeyLastUsed", "GetAccessKeyLastUsed"]);
}

#[tokio::test]
async fn wrong_usage_asks_nothing() {
    let mut deployed = Deployed::new().await;
    for arguments in [
        ["key"].as_slice(),
        &["key", "delete"],
        &["key", "status", "--stack", ""],
        &["key", "status", "--deactivate-old"],
        &["key", "rotate", "--json"],
        &["key", "rotate", "--wait", "0"],
        &["key", "rotate", "--wait", "10 min"],
    ] {
        deployed.run(arguments).await.exits(2);
    }
    deployed.set("HALLPASS_STACK", "");
    deployed.run(&STATUS).await.exits(2);
    deployed.unset("HALLPASS_STACK");
    deployed.run(&STATUS).await.exits(2);
    assert!(deployed.account.server.calls().is_empty());
}

#[tokio::test]
async fn a_rotation_is_started_once_and_waited_for() {
    let deployed = Deployed::new().await;
    deployed.state().rotator.extend([Step::Works, ROTATES]);
    let run = deployed.run(&ROTATE).await;
    let token = token(&deployed);
    assert!(run.exits(0).starts_with(&format!("rotation started: version {token}\ndone after ")), "{run:?}");
    assert_eq!(deployed.operations(), ["DescribeStacks", "RotateSecret", "DescribeSecret", "DescribeSecret"]);
    let asked = json!({"SecretId": SECRET_ARN, "ClientRequestToken": token});
    assert_eq!(deployed.asked("RotateSecret"), [asked], "and no other schedule");
    let form: Vec<_> = token.split('-').map(str::len).collect();
    assert_eq!(form, [8, 4, 4, 4, 12]);
    assert!(token.chars().all(|c| c == '-' || c.is_ascii_hexdigit()));
    assert_eq!(token.chars().nth(14), Some('4'));
    assert!(token.chars().nth(19).is_some_and(|variant| "89ab".contains(variant)));
}

#[tokio::test]
async fn an_answer_that_was_lost_starts_no_second_rotation() {
    let deployed = Deployed::new().await;
    deployed.account.server.fail_operation("RotateSecret", 1, &Fault::LosesAnswer);
    deployed.state().rotator.extend([Step::Works, ROTATES]);
    deployed.run(&ROTATE).await.exits(0);
    let asked = deployed.asked("RotateSecret");
    assert!(asked.len() == 2 && asked[0] == asked[1], "{asked:?}");
}

#[tokio::test]
async fn an_earlier_rotation_that_has_not_finished_comes_first() {
    for ending in [ROTATES, Step::GivesUp] {
        let deployed = Deployed::new().await;
        deployed.leave_unfinished("earlier");
        deployed.state().rotator.extend([Step::Works, ending, ROTATES]);
        let run = deployed.run(&ROTATE).await;
        assert!(run.exits(0).starts_with("an earlier rotation has not finished (version earlier)"), "{run:?}");
        let mut operations = deployed.operations();
        operations.dedup();
        let expected = ["DescribeStacks", "RotateSecret", "DescribeSecret", "RotateSecret", "DescribeSecret"];
        assert_eq!(operations, expected);
        let begun = deployed.asked("RotateSecret").pop().unwrap()["ClientRequestToken"].clone();
        assert_eq!(deployed.account.version_under("AWSCURRENT").map(Value::from), Some(begun));
    }
}

#[tokio::test]
async fn an_earlier_rotation_that_ends_between_two_calls_is_no_obstacle() {
    let deployed = Deployed::new().await;
    deployed.leave_unfinished("earlier");
    deployed.state().rotator.extend([ROTATES, ROTATES]);
    deployed.run(&ROTATE).await.exits(0);
    assert_eq!(deployed.asked("RotateSecret").len(), 2);
}

#[tokio::test]
async fn a_rotation_that_does_not_end_is_left_to_aws_with_a_hint_where_to_look() {
    let hints = ["not finished after 1 s", LOG, "alarm", "docs/runbook.md", "`hallpass key status"];
    for earlier in [false, true] {
        let deployed = Deployed::new().await;
        if earlier {
            deployed.leave_unfinished("earlier");
        }
        deployed.run(&["key", "rotate", "--wait", "1"]).await.fails(&hints);
        deployed.state().stack.outputs.remove("RotatorLog");
        deployed.run(&["key", "rotate", "--wait", "1"]).await.fails(&["the rotator's log group"]);
        assert!(deployed.account.version_under("AWSPENDING").is_some());
    }
}

#[tokio::test]
async fn a_rotation_that_is_given_up_is_a_failure() {
    let deployed = Deployed::new().await;
    deployed.state().rotator.extend([Step::Works, Step::GivesUp]);
    deployed.run(&DEACTIVATE).await.fails(&["abandoned", "no key was deactivated"]);
    assert_eq!(deployed.asked("UpdateAccessKey"), [json!(null); 0]);
}

#[tokio::test]
async fn a_secret_that_cannot_be_rotated_is_a_failure() {
    let deployed = Deployed::new().await;
    deployed.account.server.fail_operation(
        "RotateSecret",
        2,
        &Fault::Answers(secretsmanager::error(400, "InvalidRequestException")),
    );
    deployed.run(&ROTATE).await.fails(&["cannot rotate", SECRET_ARN, "InvalidRequestException"]);
}

#[tokio::test]
async fn a_key_that_leaked_is_deactivated_once_there_is_a_new_one() {
    let deployed = Deployed::new().await;
    deployed.state().rotator.push_back(ROTATES);
    let run = deployed.run(&DEACTIVATE).await;
    let printed = run.exits(0);
    assert!(
        printed.contains(&format!("\ndeactivated {KEY}\n"))
            && printed.contains("`hallpass revoke --everyone --stack hallpass-prod`"),
        "{printed}"
    );
    assert_eq!(deactivated(&deployed), [KEY]);
    let active: Vec<_> = deployed.account.keys().iter().map(|key| (key.id == KEY, key.is_active)).collect();
    assert_eq!(active, [(true, false), (false, true)]);
}

#[tokio::test]
async fn the_key_of_an_earlier_rotation_is_an_old_one_too() {
    let deployed = Deployed::new().await;
    deployed.leave_unfinished("earlier");
    deployed.state().rotator.extend([ROTATES, ROTATES]);
    deployed.run(&DEACTIVATE).await.exits(0);
    let active: Vec<_> = deployed.account.keys().into_iter().filter(|key| key.is_active).collect();
    assert_eq!((deactivated(&deployed).len(), active.len()), (2, 1), "the newest is left");
}

#[tokio::test]
async fn nothing_is_deactivated_without_exactly_one_new_key_that_is_active() {
    let cases: [(&[bool], &str); 4] = [
        (&[], "has none: "),
        (&[false], " inactive: "),
        (&[true, true], " active, AKIAMADE"),
        (&[true, false], " inactive: "),
    ];
    for (made, found) in cases {
        let deployed = Deployed::new().await;
        deployed.state().rotator.push_back(Step::Promotes(made));
        deployed.run(&DEACTIVATE).await.fails(&[BROKER_USER, "one new access key", found, "no key was deactivated"]);
        assert!(deactivated(&deployed).is_empty());
    }
}

#[tokio::test]
async fn nothing_is_deactivated_unasked_and_no_command_reads_the_key() {
    let deployed = Deployed::new().await;
    for arguments in [STATUS.as_slice(), &ROTATE, &STATUS_JSON] {
        deployed.state().rotator.push_back(ROTATES);
        deployed.run(arguments).await.exits(0);
    }
    assert!(deactivated(&deployed).is_empty());
    deployed.run(&DEACTIVATE).await.exits(0);
    let mut operations = deployed.operations();
    operations.sort_unstable();
    operations.dedup();
    let expected = [
        "DescribeSecret",
        "DescribeStacks",
        "GetAccessKeyLastUsed",
        "ListAccessKeys",
        "ListSecretVersionIds",
        "RotateSecret",
        "UpdateAccessKey",
    ];
    assert_eq!(operations, expected);
}

fn key<'a>(state: &'a mut State, id: &str) -> &'a mut Key {
    state.user.keys.get_mut(id).unwrap()
}

/// The id of the version that the command has asked for.
fn token(deployed: &Deployed) -> String {
    deployed.asked("RotateSecret")[0]["ClientRequestToken"].as_str().unwrap().to_owned()
}

/// The keys that the command has deactivated.
fn deactivated(deployed: &Deployed) -> Vec<String> {
    let updates = deployed.asked("UpdateAccessKey");
    assert!(
        updates.iter().all(|asked| asked["Status"] == "Inactive" && asked["UserName"] == BROKER_USER),
        "{updates:?}"
    );
    updates.iter().map(|asked| asked["AccessKeyId"].as_str().unwrap().to_owned()).collect()
}

/// A file of its own for a test.
fn file(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    path
}
