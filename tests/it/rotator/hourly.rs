//! What happens every hour: the key before the current one goes out of use, and the current one's age is told.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Rotation, STEPS, Start, each, environment, rotator};
use hallpass_testing::aws::account::Account;
use hallpass_testing::aws::query;
use hallpass_testing::aws::secretsmanager;
use hallpass_testing::clock;
use hallpass_testing::function::{Ended, Function};
use hallpass_testing::runtime_api::Outcome;
use hallpass_testing::server::Fault;

/// The time that functions have to learn of the new key.
const OVERLAP: Duration = Duration::from_mins(15);

/// A busy machine takes some seconds for a test.
const MARGIN: Duration = Duration::from_secs(20);

/// What EventBridge sends by a schedule.
pub(super) fn event() -> Value {
    json!({
        "version": "0",
        "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "111122223333",
        "time": clock::rfc3339(clock::now()),
        "region": "eu-central-1",
        "resources": ["arn:aws:events:eu-central-1:111122223333:rule/hallpass-hourly"],
        "detail": {},
    })
}

/// An account so long after its last rotation, and a rotator.
async fn after(start: Start, ago: Duration) -> (Account, Function) {
    let account = Account::start().await;
    start.set_up(&account);
    account.age(ago);
    let rotator = rotator(&environment(&account)).await;
    (account, rotator)
}

/// The ids of the current and of the previous key.
fn current_and_previous(account: &Account) -> (String, String) {
    (account.key_under("AWSCURRENT").unwrap(), account.key_under("AWSPREVIOUS").unwrap())
}

/// Asserts that an hour went well and changed nothing.
async fn is_left_alone(account: &Account, rotator: &Function) {
    let before = account.sight();
    let outcome = rotator.invoke(&event()).await;
    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(account.sight(), before);
    account.assert_sound();
}

/// The lines of the one metric.
fn metrics(ended: &Ended) -> Vec<Value> {
    let mut records = ended.records();
    records.retain(|record| record.get("BrokerKeyAge").is_some());
    records
}

#[tokio::test]
async fn the_previous_key_is_deactivated_when_nobody_can_still_use_it() {
    let (account, rotator) = after(Start::TwoKeys, OVERLAP + MARGIN).await;
    let (current, previous) = current_and_previous(&account);
    let before = account.sight().versions;
    let outcome = rotator.invoke(&event()).await;
    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(account.sight().keys, [(current, true), (previous, false)].into());
    assert_eq!(account.sight().versions, before);
    account.assert_sound();
    is_left_alone(&account, &rotator).await;
}

#[tokio::test]
async fn the_previous_key_stays_in_use_for_a_quarter_of_an_hour() {
    for ago in [Duration::ZERO, Duration::from_mins(5), OVERLAP.checked_sub(MARGIN).unwrap()] {
        let (account, rotator) = after(Start::TwoKeys, ago).await;
        is_left_alone(&account, &rotator).await;
    }
}

#[tokio::test]
async fn the_later_of_the_secrets_two_dates_counts() {
    for shift in [Account::age_change, Account::age_rotation] {
        let rotation = Rotation::new(Start::OneKey).await;
        let rotator = rotation.rotator().await;
        rotation.play(&rotator, &STEPS).await;
        let account = &rotation.account;
        shift(account, 2 * OVERLAP);
        is_left_alone(account, &rotator).await;
        account.age(2 * OVERLAP);
        assert!(rotator.invoke(&event()).await.is_ok());
        let (current, previous) = current_and_previous(account);
        assert_eq!(account.sight().keys, [(current, true), (previous, false)].into());
    }
}

#[tokio::test]
async fn a_rotation_ends_in_a_deactivated_key_and_the_next_one_deletes_it() {
    let rotation = Rotation::new(Start::OneKey).await;
    let rotator = rotation.rotator().await;
    rotation.play(&rotator, &STEPS).await;
    rotation.account.age(2 * OVERLAP);
    assert!(rotator.invoke(&event()).await.is_ok());
    let (_, deactivated) = current_and_previous(&rotation.account);
    let next = rotation.next();
    next.play(&rotator, &STEPS).await;
    next.assert_finished();
    assert!(!next.account.sight().keys.contains_key(&deactivated));
}

#[tokio::test]
async fn the_age_of_the_current_key_is_told() {
    for namespace in [None, Some("Hallpass/production")] {
        let account = Account::start().await;
        Start::TwoKeys.set_up(&account);
        let (current, previous) = current_and_previous(&account);
        account.change_key(&current, |key| key.created -= 1_000);
        account.change_key(&previous, |key| key.created -= 1_000_000);
        let mut environment = environment(&account);
        environment.extend(namespace.map(|name| ("HALLPASS_METRICS_NAMESPACE".to_owned(), name.to_owned())));
        let rotator = rotator(&environment).await;
        is_left_alone(&account, &rotator).await;
        let [metric] = metrics(&rotator.end().await).try_into().unwrap();
        let age = metric["BrokerKeyAge"].as_f64().unwrap();
        assert!((1_000.0..1_060.0).contains(&age), "{metric}");
        let [directive] = metric["_aws"]["CloudWatchMetrics"].as_array().unwrap().clone().try_into().unwrap();
        assert_eq!(directive["Metrics"], json!([{"Name": "BrokerKeyAge", "Unit": "Seconds"}]));
        assert_eq!(directive["Namespace"], namespace.unwrap_or("Hallpass"));
        assert_eq!(directive["Dimensions"], json!([[]]));
        let told = metric["_aws"]["Timestamp"].as_u64().unwrap().div_euclid(1_000);
        assert!(clock::now().abs_diff(told) < 60, "{metric}");
    }
}

#[tokio::test]
async fn without_a_key_there_is_nothing_to_do_and_nothing_to_tell() {
    for start in [Start::NoVersion, Start::Placeholder, Start::PlaceholderAndOrphans] {
        let (account, rotator) = after(start, 2 * OVERLAP).await;
        is_left_alone(&account, &rotator).await;
        assert_eq!(metrics(&rotator.end().await), Vec::<Value>::new());
    }
}

#[tokio::test]
async fn a_current_key_that_does_not_work_is_an_error_and_the_previous_one_stays_in_use() {
    for is_deleted in [false, true] {
        let (account, rotator) = after(Start::TwoKeys, 2 * OVERLAP).await;
        let (current, _) = current_and_previous(&account);
        if is_deleted {
            account.delete_key(&current);
        } else {
            account.change_key(&current, |key| key.is_active = false);
        }
        fails(&account, &rotator).await;
        assert_eq!(metrics(&rotator.end().await), Vec::<Value>::new());
    }
    let (account, rotator) = after(Start::TwoKeys, 2 * OVERLAP).await;
    account.spoil("AWSCURRENT", Some("not json"));
    fails(&account, &rotator).await;
    let (account, rotator) = after(Start::TwoKeys, 2 * OVERLAP).await;
    account.delete_user();
    fails(&account, &rotator).await;
}

#[tokio::test]
async fn a_previous_version_of_the_current_key_is_no_reason_to_deactivate_it() {
    let (account, rotator) = after(Start::OneKey, Duration::ZERO).await;
    let current = account.keys()[0].clone();
    account.hold(secretsmanager::access_key(&current.id, &current.secret));
    account.age(2 * OVERLAP);
    assert_eq!(account.key_under("AWSPREVIOUS"), account.key_under("AWSCURRENT"));
    is_left_alone(&account, &rotator).await;
}

#[tokio::test]
async fn a_previous_version_that_is_no_key_in_use_is_left_alone() {
    let (account, rotator) = after(Start::OneKeyAndOrphan, 2 * OVERLAP).await;
    assert_eq!(account.key_under("AWSPREVIOUS"), None);
    is_left_alone(&account, &rotator).await;

    let (account, rotator) = after(Start::TwoKeys, 2 * OVERLAP).await;
    account.delete_key(&account.key_under("AWSPREVIOUS").unwrap());
    is_left_alone(&account, &rotator).await;
}

#[tokio::test]
async fn an_hour_in_a_rotation_disturbs_it_at_no_step() {
    for start in [Start::Placeholder, Start::OneKey, Start::TwoKeys] {
        for played in 0..=STEPS.len() {
            let (rotation, rotator) = Rotation::played(start, &STEPS[..played]).await;
            rotation.account.age(2 * OVERLAP);
            let outcome = rotator.invoke(&event()).await;
            assert!(outcome.is_ok(), "after {:?}: {outcome:?}", &STEPS[..played]);
            rotation.play(&rotator, &STEPS[played..]).await;
            rotation.assert_current();
        }
    }
}

#[tokio::test]
async fn an_hour_may_be_overtaken_by_a_rotation_at_any_call() {
    let (account, rotator) = after(Start::TwoKeys, 2 * OVERLAP).await;
    assert!(rotator.invoke(&event()).await.is_ok());
    let calls = account.operations().len();
    let cases = (0..calls).flat_map(|number| [(number, Fault::Hangs), (number, Fault::KeepsAnswer)]);
    each(cases.map(|(number, at)| {
        ((number, at.clone()), async move {
            let (account, rotator) = after(Start::TwoKeys, 2 * OVERLAP).await;
            let rotation = Rotation::of(account);
            rotation.account.age(2 * OVERLAP);
            let server = &rotation.account.server;
            server.fail_call(number, &at);
            let overtaking = async {
                server.held().await;
                rotation.play(&rotation.rotator().await, &STEPS).await;
                server.release();
            };
            // It may find the key gone that it wants to deactivate.
            let event = event();
            let _: (Outcome, ()) = tokio::join!(rotator.invoke(&event), overtaking);
            rotation.assert_current();
        })
    }))
    .await;
}

#[tokio::test]
async fn any_failing_call_is_an_error_and_deactivates_nothing_but_the_previous_key() {
    let (account, rotator) = after(Start::TwoKeys, 2 * OVERLAP).await;
    assert!(rotator.invoke(&event()).await.is_ok());
    let calls = account.server.calls();
    let cases = calls.iter().enumerate().flat_map(|(number, call)| {
        let denied = match call.service() {
            "iam" => query::error(403, "AccessDenied"),
            _ => secretsmanager::error(400, "AccessDeniedException"),
        };
        [Fault::Answers(denied), Fault::Resets, Fault::Hangs].map(|fault| (number, call.operation().unwrap(), fault))
    });
    each(cases.map(|(number, operation, fault)| {
        ((number, operation, fault.clone()), async move {
            let (account, rotator) = after(Start::TwoKeys, 2 * OVERLAP).await;
            account.server.fail_operation_from(number, operation, 1_000, &fault);
            fails(&account, &rotator).await;
            account.server.heal();
            assert!(rotator.invoke(&event()).await.is_ok());
            let (current, previous) = current_and_previous(&account);
            assert_eq!(account.sight().keys, [(current, true), (previous, false)].into());
            account.assert_sound();
        })
    }))
    .await;
}

/// Asserts that an hour fails and changes nothing.
async fn fails(account: &Account, rotator: &Function) {
    let before = account.sight();
    let outcome = rotator.invoke(&event()).await;
    assert!(outcome.is_err(), "{outcome:?}");
    assert_eq!(account.sight(), before);
}
