//! No key is ever written down: with all logging switched on the rotator is led through everything that it does and that
//! can go wrong, and all that it writes and answers is searched.

use std::time::Duration;

use serde_json::{Value, json};

use super::steps::SHORT;
use super::{Rotation, STEPS, Start, each, environment};
use crate::canaries::found;
use crate::support::account::Account;
use crate::support::function::{Ended, Function};
use crate::support::runtime_api::Outcome;
use crate::support::secrets;
use crate::support::server::{Fault, Reply};
use crate::support::sts;
use crate::support::world::{FUNCTION_SECRET, FUNCTION_SESSION_TOKEN};

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

/// Asserts that nothing of the account's keys is in what was written or answered.
fn assert_silent(account: &Account, ended: &Ended, said: &str) {
    assert!(ended.log.contains(CONTROL), "what is meant to be logged was not captured: {}", ended.log);
    let keys = account.keys_ever();
    let mut canaries: Vec<&str> = keys.iter().flat_map(|key| [key.id.as_str(), key.secret.as_str()]).collect();
    let session = sts::access_key_id(0);
    canaries.extend([&session, sts::SESSION_SECRET, sts::SESSION_TOKEN, FUNCTION_SECRET, FUNCTION_SESSION_TOKEN]);
    canaries.extend([STRAY, sts::UPSTREAM_TEXT, secrets::UPSTREAM_TEXT]);
    assert_eq!(found(&canaries, &ended.log), Vec::<String>::new(), "in the log: {}", ended.log);
    assert_eq!(found(&canaries, said), Vec::<String>::new(), "in an answer: {said}");
}

/// Makes the rotator say something that is meant to be logged.
async fn control(rotator: &Function) -> String {
    let outcome = rotator.invoke(&json!({ "Step": CONTROL })).await;
    assert!(outcome.is_err());
    answered(&outcome)
}

#[tokio::test]
async fn no_key_is_written_or_answered_in_rotations() {
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
async fn no_key_is_written_or_answered_where_a_service_says_something_else() {
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
        Fault::Answers(sts::error(403, "AccessDenied")),
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
