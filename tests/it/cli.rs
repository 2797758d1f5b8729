//! What does an operator learn of the broker key with the command line?

use serde_json::{Value, json};

use crate::support::clock;
use crate::support::operator::{
    Account, DAY, Deployed, KEY, LOG, OLD_KEY, OLD_VERSION, OPERATOR_KEY, SECRET, STACK, USER, VERSION, file,
};
use crate::support::server::Fault;

const STATUS: [&str; 2] = ["key", "status"];
const STATUS_JSON: [&str; 3] = ["key", "status", "--json"];

/// What is made wrong.
type Change = fn(&mut Account);

#[tokio::test]
async fn a_key_that_is_well_is_told_of_without_being_read() {
    let deployed = Deployed::new().await;
    let run = deployed.run(&STATUS).await;
    let expected = format!(
        "stack     {STACK}\n\
         secret    {SECRET}\n\
         rotation  every 30 days, last 12 days ago, next in 18 days\n\
         version   {VERSION}  AWSCURRENT   made 12 days ago\n\
         version   {OLD_VERSION}  AWSPREVIOUS  made 42 days ago\n\
         user      {USER}\n\
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
    assert!(deployed.server.calls().iter().all(|call| call.access_key() == OPERATOR_KEY));
}

#[tokio::test]
async fn the_same_is_told_to_programs() {
    let deployed = Deployed::new().await;
    deployed.account().keys[1].used = None;
    let status: Value = serde_json::from_str(deployed.run(&STATUS_JSON).await.exits(0)).unwrap();
    let account = deployed.account();
    let time = |seconds: &Value| json!(clock::rfc3339(seconds.as_u64().unwrap()));
    let at = |seconds: u64| json!(clock::rfc3339(seconds));
    let [old_version, version] = account.versions.as_slice() else { panic!("two versions") };
    let [old_key, key] = account.keys.as_slice() else { panic!("two keys") };
    let expected = json!({
        "stack": STACK,
        "secret": SECRET,
        "user": USER,
        "rotation": {
            "enabled": true,
            "interval": "every 30 days",
            "last": time(&account.secret["LastRotatedDate"]),
            "next": time(&account.secret["NextRotationDate"]),
        },
        "last_changed": time(&account.secret["LastChangedDate"]),
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
        (|account| account.secret["RotationEnabled"] = json!(false), "rotation is off", &rotate),
        (
            |account| account.versions[0].stages = vec!["AWSPENDING"],
            "a rotation that began 42 days ago has not finished",
            LOG,
        ),
        (|account| account.keys.clear(), "no key was made yet", &rotate),
        (|account| account.keys[1].active = false, "no key is active", &rotate),
        (|account| account.keys[0].active = true, "2 keys are active, 12 days after the last change", LOG),
        (|account| account.keys[1].created -= 38 * DAY, "the newest active key is 50 days old", &rotate),
    ];
    for (change, problem, remedy) in cases {
        let deployed = Deployed::new().await;
        change(&mut deployed.account());
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
        (&STATUS, "DescribeSecret", "AccessDeniedException", "secretsmanager:DescribeSecret", SECRET),
        (&STATUS, "ListSecretVersionIds", "AccessDeniedException", "secretsmanager:ListSecretVersionIds", SECRET),
        (&STATUS, "ListAccessKeys", "AccessDenied", "iam:ListAccessKeys", USER),
        (&STATUS, "GetAccessKeyLastUsed", "AccessDenied", "iam:GetAccessKeyLastUsed", KEY),
    ];
    for (arguments, operation, code, permission, resource) in cases {
        let deployed = Deployed::new().await;
        deployed.account().refused.insert(operation, code);
        let run = deployed.run(arguments).await;
        run.fails(&["cannot ", code, permission, &format!("`{resource}`")]);
        assert_eq!(run.stdout, "");
        deployed.account().refused.insert(operation, "SomethingElse");
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
        deployed.account().outputs.remove(output);
        deployed.run(&STATUS).await.fails(&[STACK, &format!("no output `{output}`")]);
    }
}

#[tokio::test]
async fn services_out_of_reach_are_a_failure() {
    let deployed = Deployed::new().await;
    deployed.server.fail_always(&Fault::Resets);
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
    assert!(deployed.server.calls().is_empty());
}

#[tokio::test]
async fn the_profile_that_is_named_wins_over_the_environment() {
    let profile =
        "[profile ops]\nregion = eu-west-1\naws_access_key_id = AKIAPROFILEEXAMPLE00\naws_secret_access_key = x\n";
    let mut deployed = Deployed::new().await;
    deployed.set("AWS_CONFIG_FILE", file("cli-profile", profile).to_str().unwrap());
    deployed.run(&["key", "status", "--profile", "ops"]).await.exits(0);
    assert!(deployed.server.calls().iter().all(|call| call.access_key() == "AKIAPROFILEEXAMPLE00"));
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
    deployed.set("AWS_ENDPOINT_URL_IAM", &other.server.url());
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
    ] {
        deployed.run(arguments).await.exits(2);
    }
    deployed.set("HALLPASS_STACK", "");
    deployed.run(&STATUS).await.exits(2);
    deployed.unset("HALLPASS_STACK");
    deployed.run(&STATUS).await.exits(2);
    assert!(deployed.server.calls().is_empty());
}
