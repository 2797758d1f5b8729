//! The log names every key that is made, turned off or deleted, by the half that is public. The secret half is never
//! written: with all logging switched on the rotator is led through everything that it does and that can go wrong, and all
//! that it writes and answers is searched.

use std::time::Duration;

use serde_json::{Value, json};

use super::steps::SHORT;
use super::{ABANDONED, Rotation, STEPS, Start, each, environment, hourly, stack};
use crate::canaries::found;
use hallpass_testing::aws::account::Account;
use hallpass_testing::aws::query;
use hallpass_testing::aws::secretsmanager;
use hallpass_testing::aws::sts;
use hallpass_testing::function::{Ended, Function};
use hallpass_testing::runtime_api::Outcome;
use hallpass_testing::server::{Fault, Reply};
use hallpass_testing::world::{FUNCTION_SECRET, FUNCTION_SESSION_TOKEN};

/// What is planted where no key of the account is: it is no secret's right place.
const STRAY: &str = "stray-secret/CANARY+KEY0000000000000000000";

/// What is sent to be found: it is meant to be logged.
const CONTROL: &str = "control-CANARY";

/// Every way to ask for more.
const LOUD: [(&str, &str); 3] = [
    ("RUST_LOG", "trace,hyper=trace,aws_smithy_runtime=trace,lambda_runtime=trace,aws_sdk_iam=trace,rotator=trace"),
    ("AWS_LAMBDA_LOG_LEVEL", "TRACE"),
    ("RUST_BACKTRACE", "full"),
];

async fn loud_rotator(account: &Account) -> Function {
    let mut environment = environment(account);
    environment.extend(LOUD.map(|(name, value)| (name.to_owned(), value.to_owned())));
    super::rotator(&environment).await
}

/// Plays a step, however it ends, and says what was answered.
async fn told(rotation: &Rotation, rotator: &Function, step: &str) -> String {
    answered(&rotation.step(rotator, step).await)
}

/// All that the invoker can read.
fn answered(outcome: &Outcome) -> String {
    format!("{outcome:?}\n")
}

/// Asserts that no secret is in what was written or answered, and no key's id in an answer.
fn assert_silent(account: &Account, ended: &Ended, said: &str) {
    assert!(ended.log.contains(CONTROL), "what is meant to be logged was not captured: {}", ended.log);
    let keys = account.keys_ever();
    let mut canaries: Vec<&str> = keys.iter().map(|key| key.secret.as_str()).collect();
    let session = sts::access_key_id(0);
    canaries.extend([&session, sts::SESSION_SECRET, sts::SESSION_TOKEN, FUNCTION_SECRET, FUNCTION_SESSION_TOKEN]);
    canaries.extend([STRAY, query::UPSTREAM_TEXT, secretsmanager::UPSTREAM_TEXT]);
    assert_eq!(found(&canaries, &ended.log), Vec::<String>::new(), "in the log: {}", ended.log);
    canaries.extend(keys.iter().map(|key| key.id.as_str()));
    assert_eq!(found(&canaries, said), Vec::<String>::new(), "in an answer: {said}");
}

/// Makes the rotator say something that is meant to be logged.
async fn control(rotator: &Function) -> String {
    let outcome = rotator.invoke(&json!({ "Step": CONTROL })).await;
    assert!(outcome.is_err());
    answered(&outcome)
}

/// What the log says of keys: the message and the key's id.
fn logged_keys(ended: &Ended) -> Vec<(String, String)> {
    let mut lines = ended.records();
    lines.retain(|line| line.get("key").is_some());
    let text = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
    let told = lines.iter().map(|line| {
        assert_eq!(line["level"], "INFO", "{line}");
        (text(line, "message"), text(line, "key"))
    });
    told.collect()
}

/// The changes of keys that IAM was asked for, as the log has to name them.
fn changed_keys(account: &Account) -> Vec<(String, String)> {
    let mut made = account.keys_ever().into_iter().filter(|key| key.is_made_by_call).map(|key| key.id);
    let calls = account.server.calls();
    let changes = calls.iter().filter_map(|call| {
        let message = match call.operation()? {
            "CreateAccessKey" => return Some(("made an access key".to_owned(), made.next()?)),
            "DeleteAccessKey" => "deleting an access key",
            "UpdateAccessKey" => "turning an access key off",
            _ => return None,
        };
        Some((message.to_owned(), call.form()["AccessKeyId"].clone()))
    });
    changes.collect()
}

#[tokio::test]
async fn every_key_that_is_made_turned_off_or_deleted_is_named_in_the_log() {
    // The previous key is deleted, a new one is made; the one before it is turned off, and deleted by the next rotation.
    let (mut rotation, rotator) = Rotation::played(Start::TwoKeys, &[]).await;
    for _ in 0..2 {
        rotation.play(&rotator, &STEPS).await;
        rotation.account.age(2 * ABANDONED);
        assert!(rotator.invoke(&hourly::event()).await.is_ok());
        rotation = rotation.next();
    }
    // Two that nobody can use: one that was lost in a crash, and one that Secrets Manager does not keep.
    rotation.play(&rotator, &STEPS).await;
    let previous = rotation.account.key_under("AWSPREVIOUS").unwrap();
    rotation.account.delete_key(&previous);
    rotation.account.make_orphan();
    rotation = rotation.next();
    let denied = Fault::Answers(secretsmanager::error(400, "AccessDeniedException"));
    rotation.account.server.fail_operation("PutSecretValue", 1, &denied);
    assert!(rotation.step(&rotator, "createSecret").await.is_err());

    let (told, asked) = (logged_keys(&rotator.end().await), changed_keys(&rotation.account));
    assert_eq!(told, asked);
    let count = |message: &str| told.iter().filter(|(told, _)| told.starts_with(message)).count();
    assert_eq!((count("made"), count("turning"), count("deleting")), (4, 2, 5), "{told:#?}");
}

#[tokio::test]
async fn every_key_that_goes_with_the_stack_is_named_in_the_log() {
    let (account, bucket, rotator) = stack::set_up(Start::TwoKeys).await;
    let keys = account.keys();
    assert!(rotator.invoke(&stack::event("Delete", &bucket)).await.is_ok());
    let deleted = keys.into_iter().map(|key| ("deleting an access key".to_owned(), key.id));
    assert_eq!(logged_keys(&rotator.end().await), deleted.collect::<Vec<_>>());
}

/// A proxy may answer anything: what is in the place of an id is written down only if it is one.
#[tokio::test]
async fn what_does_not_look_like_an_id_is_not_logged_as_one() {
    let (rotation, rotator) = Rotation::played(Start::OneKey, &[]).await;
    let said = control(&rotator).await;
    let made = format!(
        "<CreateAccessKeyResponse><CreateAccessKeyResult><AccessKey><UserName>x</UserName><AccessKeyId>{STRAY}\
         </AccessKeyId><Status>Active</Status><SecretAccessKey>{STRAY}</SecretAccessKey></AccessKey>\
         </CreateAccessKeyResult></CreateAccessKeyResponse>"
    );
    rotation.account.server.fail_operation("CreateAccessKey", 1, &Fault::Answers(Reply::new(200, "text/xml", made)));
    rotation.play(&rotator, &STEPS[..1]).await;
    let ended = rotator.end().await;
    assert_eq!(logged_keys(&ended), [("made an access key".to_owned(), "an unreadable id".to_owned())]);
    assert_silent(&rotation.account, &ended, &said);
}

#[tokio::test]
async fn no_secret_is_written_or_answered_in_rotations() {
    for start in Start::ALL {
        let rotation = Rotation::new(start).await;
        let rotator = loud_rotator(&rotation.account).await;
        let mut said = control(&rotator).await;
        for step in STEPS {
            said += &told(&rotation, &rotator, step).await;
            said += &told(&rotation, &rotator, step).await;
        }
        rotation.assert_finished();
        let next = rotation.next();
        for step in STEPS {
            said += &told(&next, &rotator, step).await;
        }
        next.account.age(Duration::from_hours(1));
        let hourly = json!({"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}});
        said += &answered(&rotator.invoke(&hourly).await);
        next.assert_current();

        // The search would find them where they are meant to be.
        let keys = next.account.keys_ever();
        let sent: String =
            next.account.server.calls().iter().map(|call| String::from_utf8_lossy(&call.body).into_owned()).collect();
        let made = keys.last().unwrap();
        assert_eq!(found(&[&made.id, &made.secret], &sent).len(), 2);

        let ended = rotator.end().await;
        assert!(ended.log.contains("BrokerKeyAge"), "standard output was not captured: {}", ended.log);
        assert_silent(&next.account, &ended, &said);
    }
}

#[tokio::test]
async fn no_secret_is_written_or_answered_where_a_service_says_something_else() {
    let made = format!("<a><AccessKeyId>{STRAY}</AccessKeyId><SecretAccessKey>{STRAY}</SecretAccessKey></a>");
    let secret = json!({"SecretString": STRAY, "ARN": 7}).to_string();
    let error = json!({"__type": "AccessDeniedException", "Message": STRAY}).to_string();
    let faults = [
        Fault::Truncates,
        Fault::LosesAnswer,
        Fault::Answers(Reply::new(200, "text/xml", made.clone())),
        Fault::Answers(Reply::new(400, "text/xml", made)),
        Fault::Answers(Reply::new(200, "application/x-amz-json-1.1", secret)),
        Fault::Answers(Reply::new(400, "application/x-amz-json-1.1", error)),
        Fault::Answers(query::error(403, "AccessDenied")),
    ];
    let calls = [
        (0, &["GetSecretValue", "ListAccessKeys", "CreateAccessKey", "PutSecretValue"][..]),
        (2, &["GetSecretValue", "GetFederationToken"]),
        (3, &["GetSecretValue", "GetFederationToken", "UpdateSecretVersionStage"]),
    ];
    let cases = faults.iter().flat_map(|fault| calls.iter().map(move |(step, operations)| (fault, *step, *operations)));
    each(cases.map(|(fault, step, operations)| {
        ((fault, STEPS[step]), async move {
            let rotation = Rotation::new(Start::TwoKeys).await;
            let rotator = loud_rotator(&rotation.account).await;
            rotator.runtime.set_time_limit(SHORT);
            rotation.play(&rotator, &STEPS[..step]).await;
            let mut said = control(&rotator).await;
            for operation in operations {
                rotation.account.server.fail_operation(operation, 10, fault);
                said += &told(&rotation, &rotator, STEPS[step]).await;
                rotation.account.server.heal();
            }
            assert_silent(&rotation.account, &rotator.end().await, &said);
        })
    }))
    .await;
}

#[tokio::test]
async fn a_version_that_cannot_be_parsed_is_not_quoted() {
    for text in [
        STRAY.to_owned(),
        format!("\"{STRAY}\""),
        format!("{{\"{STRAY}\":1}}"),
        json!({"AccessKeyId": STRAY, "SecretAccessKey": 7}).to_string(),
        json!({"AccessKeyId": 7, "SecretAccessKey": STRAY}).to_string(),
        format!("{{\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"{STRAY}"),
    ] {
        let rotation = Rotation::new(Start::TwoKeys).await;
        let rotator = loud_rotator(&rotation.account).await;
        rotator.runtime.set_time_limit(SHORT);
        let mut said = control(&rotator).await;
        for stage in ["AWSCURRENT", "AWSPREVIOUS", "AWSPENDING"] {
            rotation.account.spoil(stage, Some(&text));
            for step in STEPS {
                said += &told(&rotation, &rotator, step).await;
            }
        }
        let hourly = json!({"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}});
        let outcome = rotator.invoke(&hourly).await;
        assert!(outcome.is_err());
        said += &answered(&outcome);
        assert_silent(&rotation.account, &rotator.end().await, &said);
    }
}

#[tokio::test]
async fn an_event_with_a_secret_in_it_is_not_quoted() {
    let rotation = Rotation::new(Start::TwoKeys).await;
    let rotator = loud_rotator(&rotation.account).await;
    let mut said = control(&rotator).await;
    let events: [Value; 5] = [
        json!({"Step": "createSecret", "SecretId": STRAY, "ClientRequestToken": STRAY}),
        json!({"Step": "createSecret", "SecretId": {STRAY: STRAY}, "ClientRequestToken": rotation.token}),
        json!({"RequestType": "Delete", "ResponseURL": format!("https://s3.example.com/?X-Amz-Signature={STRAY}")}),
        json!({"RequestType": "Delete", "ResponseURL": format!("http://s3.example.com/?X-Amz-Signature={STRAY}")}),
        json!({STRAY: STRAY}),
    ];
    for event in events {
        let outcome = rotator.invoke(&event).await;
        assert!(outcome.is_err(), "{event}");
        said += &answered(&outcome);
    }
    assert_silent(&rotation.account, &rotator.end().await, &said);
}
