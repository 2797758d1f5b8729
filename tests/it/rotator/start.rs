//! What the rotator does before its first event.

use serde_json::Value;

use super::{environment, rotator, spawn};
use crate::start::refused;
use hallpass_testing::aws::account::Account;

#[tokio::test]
async fn a_start_asks_for_nothing_and_reports_nothing() {
    let account = Account::start().await;
    let rotator = rotator(&environment(&account)).await;
    assert_eq!(account.operations(), Vec::<String>::new());
    assert_eq!(rotator.runtime.init_errors(), Vec::<Value>::new());
}

#[tokio::test]
async fn a_variable_that_is_missing_or_wrong_stops_the_start() {
    let account = Account::start().await;
    for (name, wrong) in [
        ("HALLPASS_BROKER_KEY", None),
        ("HALLPASS_BROKER_KEY", Some("")),
        ("HALLPASS_BROKER_KEY", Some(" ")),
        ("HALLPASS_BROKER_USER", None),
        ("HALLPASS_BROKER_USER", Some("")),
        ("HALLPASS_METRICS_NAMESPACE", Some("AWS/Lambda")),
        ("AWS_REGION", None),
        ("AWS_ACCESS_KEY_ID", None),
        ("AWS_SECRET_ACCESS_KEY", None),
    ] {
        let mut environment = environment(&account);
        environment.remove(name);
        environment.extend(wrong.map(|value| (name.to_owned(), value.to_owned())));
        refused(spawn(&environment).await, &[name]).await;
    }
}

#[tokio::test]
async fn every_problem_is_told_at_once() {
    let account = Account::start().await;
    let mut environment = environment(&account);
    let missing = ["HALLPASS_BROKER_KEY", "HALLPASS_BROKER_USER", "AWS_REGION"];
    for name in missing {
        environment.remove(name);
    }
    refused(spawn(&environment).await, &missing).await;
}
