//! What the rotator does for the stack that it is part of, as a custom resource: the user's keys go before the user.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Start, each, environment, rotator};
use hallpass_testing::aws::account::Account;
use hallpass_testing::aws::iam::BROKER_USER;
use hallpass_testing::aws::query;
use hallpass_testing::function::Function;
use hallpass_testing::server::{Call, Fault, Handle, Reply, Server, lock};

/// Where CloudFormation waits for the answer: an object of S3, by a signed address.
pub(super) struct Bucket {
    server: Server,
    puts: Arc<Mutex<Vec<Call>>>,
}

struct Puts(Arc<Mutex<Vec<Call>>>);

impl Handle for Puts {
    async fn answer(&self, call: Call) -> Reply {
        if call.method != "PUT" || call.header("content-type") != Some("") {
            return Reply::new(403, "application/xml", "<Error><Code>SignatureDoesNotMatch</Code></Error>");
        }
        lock(&self.0).push(call);
        Reply::new(200, "text/plain", "")
    }
}

impl Bucket {
    async fn start() -> Self {
        let puts = Arc::<Mutex<Vec<Call>>>::default();
        Self { server: Server::start(Puts(Arc::clone(&puts))).await, puts }
    }

    fn url(&self) -> String {
        format!("{}/answers/arn%3Aaws%3Acloudformation?X-Amz-Signature=a%2Bb%3D&X-Amz-Expires=7199", self.server.url())
    }

    /// The one answer so far.
    fn answer(&self) -> Value {
        let [put] = lock(&self.puts).clone().try_into().expect("one answer");
        assert_eq!(format!("{}{}", self.server.url(), put.path), self.url());
        put.json()
    }
}

/// What CloudFormation sends.
pub(super) fn event(request: &str, bucket: &Bucket) -> Value {
    let mut event = json!({
        "RequestType": request,
        "ResponseURL": bucket.url(),
        "StackId": "arn:aws:cloudformation:eu-central-1:111122223333:stack/hallpass/5c2b6a1e",
        "RequestId": "1f0c51ad-0000-4000-8000-000000000001",
        "ResourceType": "Custom::BrokerKeys",
        "LogicalResourceId": "BrokerKeys",
        "ResourceProperties": {
            "ServiceToken": "arn:aws:lambda:eu-central-1:111122223333:function:hallpass-rotator",
            "UserName": BROKER_USER,
        },
    });
    if request != "Create" {
        event["PhysicalResourceId"] = json!("what-it-was-named");
    }
    event
}

pub(super) async fn set_up(start: Start) -> (Account, Bucket, Function) {
    let (account, bucket) = (Account::start().await, Bucket::start().await);
    start.set_up(&account);
    let rotator = rotator(&environment(&account)).await;
    (account, bucket, rotator)
}

/// Sends an event, and asserts the answer's form.
async fn answered(rotator: &Function, event: &Value, bucket: &Bucket, status: &str) -> Value {
    let outcome = rotator.invoke(event).await;
    assert!(outcome.is_ok(), "{event}: {outcome:?}");
    let answer = bucket.answer();
    assert_eq!(answer["Status"], status, "{answer}");
    for name in ["StackId", "RequestId", "LogicalResourceId"] {
        assert_eq!(answer[name], event[name]);
    }
    let id = answer["PhysicalResourceId"].as_str().unwrap();
    assert!(!id.is_empty() && id.len() <= 1_024);
    if let Some(before) = event.get("PhysicalResourceId") {
        assert_eq!(before, id);
    }
    assert!(status == "SUCCESS" || !answer["Reason"].as_str().unwrap().is_empty(), "{answer}");
    answer
}

#[tokio::test]
async fn creating_and_updating_change_nothing() {
    for start in Start::ALL {
        for request in ["Create", "Update"] {
            let (account, bucket, rotator) = set_up(start).await;
            let before = account.sight();
            answered(&rotator, &event(request, &bucket), &bucket, "SUCCESS").await;
            assert_eq!(account.sight(), before);
        }
    }
}

#[tokio::test]
async fn deleting_deletes_every_key_and_may_be_repeated() {
    for start in Start::ALL {
        for page_size in [1, 100] {
            let (account, bucket, rotator) = set_up(start).await;
            account.page_keys(page_size);
            let versions = account.sight().versions;
            for _ in 0..2 {
                lock(&bucket.puts).clear();
                answered(&rotator, &event("Delete", &bucket), &bucket, "SUCCESS").await;
                assert!(account.keys().is_empty());
                assert_eq!(account.sight().versions, versions);
            }
        }
    }
}

#[tokio::test]
async fn deleting_goes_well_where_the_user_is_gone() {
    let (account, bucket, rotator) = set_up(Start::TwoKeys).await;
    account.delete_user();
    answered(&rotator, &event("Delete", &bucket), &bucket, "SUCCESS").await;
}

#[tokio::test]
async fn a_key_that_somebody_else_deletes_at_the_same_time_is_no_failure() {
    let (account, bucket, rotator) = set_up(Start::TwoKeys).await;
    let gone = Fault::Answers(query::error(404, "NoSuchEntity"));
    account.server.fail_operation("DeleteAccessKey", 1, &gone);
    answered(&rotator, &event("Delete", &bucket), &bucket, "SUCCESS").await;
}

#[tokio::test]
async fn another_user_is_none_of_its_business() {
    for request in ["Create", "Update", "Delete"] {
        for user in [json!("hallpass-broker-user-2"), json!(""), json!(null), json!([BROKER_USER])] {
            let (account, bucket, rotator) = set_up(Start::TwoKeys).await;
            let before = account.sight();
            let mut event = event(request, &bucket);
            event["ResourceProperties"]["UserName"] = user;
            answered(&rotator, &event, &bucket, "FAILED").await;
            assert_eq!(account.sight(), before);
        }
    }
}

#[tokio::test]
async fn what_fails_in_the_account_is_told_without_its_words() {
    let faults = [
        Fault::Answers(query::error(403, "AccessDenied")),
        Fault::Answers(query::error(400, "Throttling")),
        Fault::Answers(query::error(500, "ServiceFailure")),
        Fault::Resets,
        Fault::Hangs,
    ];
    let operations = ["ListAccessKeys", "DeleteAccessKey"].into_iter();
    let cases = operations.flat_map(|operation| faults.iter().map(move |fault| (operation, fault)));
    each(cases.map(|(operation, fault)| {
        ((operation, fault), async move {
            let (account, bucket, rotator) = set_up(Start::TwoKeys).await;
            account.server.fail_operation(operation, 1_000, fault);
            let answer = answered(&rotator, &event("Delete", &bucket), &bucket, "FAILED").await;
            assert!(!answer.to_string().contains(query::UPSTREAM_TEXT), "{answer}");
            account.server.heal();
            lock(&bucket.puts).clear();
            answered(&rotator, &event("Delete", &bucket), &bucket, "SUCCESS").await;
            assert!(account.keys().is_empty());
        })
    }))
    .await;
}

#[tokio::test]
async fn an_answer_that_does_not_arrive_is_sent_again_or_fails_the_invocation() {
    for fault in [Fault::Resets, Fault::Answers(Reply::new(503, "application/xml", "<Error/>"))] {
        let (_, bucket, rotator) = set_up(Start::TwoKeys).await;
        bucket.server.fail_times(1, &fault);
        if rotator.invoke(&event("Delete", &bucket)).await.is_ok() {
            assert_eq!(bucket.answer()["Status"], "SUCCESS");
        }
        bucket.server.fail_always(&fault);
        lock(&bucket.puts).clear();
        assert!(rotator.invoke(&event("Delete", &bucket)).await.is_err(), "nobody knows that CloudFormation waits");
        bucket.server.heal();
        answered(&rotator, &event("Delete", &bucket), &bucket, "SUCCESS").await;
    }
}

#[tokio::test]
async fn an_event_that_cannot_be_answered_safely_changes_nothing() {
    let (account, bucket, rotator) = set_up(Start::TwoKeys).await;
    let before = account.sight();
    let plain = bucket.url().replace("127.0.0.1", "127.0.0.1.nip.example");
    for url in [
        json!("http://cloudformation.example.com/answer"),
        json!("http://192.0.2.1/answer"),
        json!(plain),
        json!(bucket.url().replace("http://", "ftp://")),
        json!(bucket.url().replace("http://", "http://example.com@192.0.2.1:80/")),
        json!("/answer"),
        json!(""),
        json!(null),
        json!([bucket.url()]),
    ] {
        let mut event = event("Delete", &bucket);
        event["ResponseURL"] = url;
        let outcome = tokio::time::timeout(Duration::from_secs(10), rotator.invoke(&event)).await.unwrap();
        assert!(outcome.is_err(), "{event}: {outcome:?}");
        assert_eq!(account.sight(), before);
    }
    assert_eq!(account.operations(), Vec::<String>::new());
    assert!(bucket.server.calls().is_empty());
}

#[tokio::test]
async fn an_unknown_request_changes_nothing() {
    let (account, bucket, rotator) = set_up(Start::TwoKeys).await;
    let before = account.sight();
    for request in ["delete", "Remove", ""] {
        let outcome = rotator.invoke(&event(request, &bucket)).await;
        let is_told = bucket.puts.lock().unwrap().last().is_some_and(|put| put.json()["Status"] == "FAILED");
        assert!(outcome.is_err() || is_told, "{request}: {outcome:?}");
        assert_eq!(account.sight(), before);
    }
}
