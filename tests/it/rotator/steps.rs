//! What each step of a rotation does, and what it leaves alone.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{ABANDONED, Rotation, STEPS, Start, each, environment, rotator};
use hallpass_testing::aws::account::{Account, Sight};
use hallpass_testing::aws::query;
use hallpass_testing::aws::secretsmanager::{self, SECRET};
use hallpass_testing::aws::sts;
use hallpass_testing::function::Function;
use hallpass_testing::server::{Fault, Reply};

/// Time for some trials of a key that STS does not take, and for what comes after them.
pub(super) const SHORT: Duration = Duration::from_secs(6);

/// What only reads, or asks for a session that can do nothing.
const HARMLESS: [&str; 4] = ["DescribeSecret", "GetSecretValue", "ListAccessKeys", "GetFederationToken"];

#[tokio::test]
async fn the_four_steps_make_a_new_key_current_whatever_they_began_with() {
    for start in Start::ALL {
        let rotation = Rotation::new(start).await;
        rotation.play(&rotation.rotator().await, &STEPS).await;
        rotation.assert_finished();
        assert_eq!(rotation.account.over_quota(), 0);
    }
}

#[tokio::test]
async fn rotations_follow_one_another_in_one_process() {
    for keeps_pending in [false, true] {
        let account = Account::start().await;
        account.hold_placeholder();
        if keeps_pending {
            account.keep_pending();
        }
        let mut rotation = Rotation::of(account);
        let rotator = rotation.rotator().await;
        for _ in 0..4 {
            rotation.play(&rotator, &STEPS).await;
            rotation.assert_finished();
            rotation = rotation.next();
        }
    }
}

#[tokio::test]
async fn a_secret_known_by_its_name_is_rotated_too() {
    let rotation = Rotation::new(Start::OneKey).await;
    let mut environment = environment(&rotation.account);
    environment.insert("HALLPASS_BROKER_KEY".to_owned(), SECRET.to_owned());
    rotation.play(&rotator(&environment).await, &STEPS).await;
    rotation.assert_finished();
}

#[tokio::test]
async fn creating_a_key_keeps_it_as_the_pending_version_and_leaves_the_current_one_alone() {
    for start in Start::ALL {
        let rotation = Rotation::new(start).await;
        let current = rotation.account.sight().versions.get(rotation.before.0.as_deref().unwrap_or_default()).cloned();
        rotation.play(&rotation.rotator().await, &STEPS[..1]).await;
        let sight = rotation.account.sight();
        assert_eq!(rotation.account.version_under("AWSPENDING").as_ref(), Some(&rotation.token));
        assert_eq!(rotation.account.version_under("AWSCURRENT"), rotation.before.0);
        assert_eq!(sight.versions.get(rotation.before.0.as_deref().unwrap_or_default()).cloned(), current);
        let made = rotation.account.keys_ever().pop().unwrap();
        let value = sight.versions[&rotation.token].value.as_deref().unwrap();
        let value: Value = serde_json::from_str(value).unwrap();
        assert_eq!(value, json!({"AccessKeyId": made.id, "SecretAccessKey": made.secret}));
        let keys: Vec<&String> = rotation.before.1.iter().chain([&made.id]).collect();
        assert_eq!(sight.keys.keys().collect::<Vec<_>>(), keys, "{start:?}");
    }
}

#[tokio::test]
async fn no_key_is_deleted_where_there_is_room() {
    let (rotation, rotator) = Rotation::played(Start::OneKey, &[]).await;
    rotation.play(&rotator, &STEPS).await;
    rotation.assert_finished();
    assert_eq!(deleted(&rotation), Vec::<String>::new());

    // The current key is gone: the previous one could still be put back by hand.
    let (rotation, rotator) = Rotation::played(Start::TwoKeys, &[]).await;
    rotation.account.delete_key(&rotation.account.key_under("AWSCURRENT").unwrap());
    rotation.play(&rotator, &STEPS).await;
    assert!(rotation.account.is_current_taken());
    assert_eq!(deleted(&rotation), Vec::<String>::new());
}

#[tokio::test]
async fn an_orphan_goes_before_the_previous_key() {
    let (rotation, rotator) = Rotation::played(Start::OneKeyAndOrphan, &[]).await;
    let orphan = rotation.account.keys()[1].id.clone();
    rotation.play(&rotator, &STEPS[..1]).await;
    assert_eq!(deleted(&rotation), [orphan]);
}

#[tokio::test]
async fn keys_are_found_on_every_page() {
    for start in Start::ALL {
        let rotation = Rotation::new(start).await;
        rotation.account.page_keys(1);
        rotation.play(&rotation.rotator().await, &STEPS).await;
        rotation.assert_finished();
        assert_eq!(rotation.account.over_quota(), 0);
    }
}

#[tokio::test]
async fn a_key_is_never_deleted_for_what_cannot_be_read() {
    for (stage, text) in [
        ("AWSCURRENT", "not json"),
        ("AWSCURRENT", "{}"),
        ("AWSCURRENT", "{\"AccessKeyId\":\"\",\"SecretAccessKey\":\"x\"}"),
    ] {
        let (rotation, rotator) = Rotation::played(Start::TwoKeys, &[]).await;
        rotation.account.spoil(stage, Some(text));
        rotation.refuses(&rotator, &rotation.event("createSecret")).await;
        assert_eq!(deleted(&rotation), Vec::<String>::new(), "{stage}: {text}");
    }
}

#[tokio::test]
async fn a_label_without_a_value_is_no_empty_secret() {
    for stage in ["AWSCURRENT", "AWSPREVIOUS"] {
        let (rotation, rotator) = Rotation::played(Start::TwoKeys, &[]).await;
        rotation.account.spoil(stage, None);
        rotation.refuses(&rotator, &rotation.event("createSecret")).await;
        assert_eq!(deleted(&rotation), Vec::<String>::new(), "{stage}");
    }
}

#[tokio::test]
async fn the_value_of_another_version_than_the_one_asked_for_is_none() {
    let (rotation, rotator) = Rotation::played(Start::TwoKeys, &[]).await;
    let value = secretsmanager::access_key("AKIAANOTHERVERSIONEX", "of/another/VERSION");
    let answer = json!({"VersionId": "5c2b6a1e-0000-4000-8000-ffffffffffff", "SecretString": value}).to_string();
    let fault = Fault::Answers(Reply::new(200, "application/x-amz-json-1.1", answer));
    // That of the version that is being made, of the current one, and of the previous one.
    for number in 0..3 {
        rotation.account.server.forget_calls();
        // Behind DescribeSecret and ListAccessKeys.
        rotation.account.server.fail_call(2 + number, &fault);
        rotation.refuses(&rotator, &rotation.event("createSecret")).await;
        assert_eq!(deleted(&rotation), Vec::<String>::new(), "{number}");
    }
    rotation.play(&rotator, &STEPS).await;
    rotation.assert_finished();
}

#[tokio::test]
async fn without_a_current_version_nothing_is_deleted() {
    let account = Account::start().await;
    account.make_key();
    account.make_key();
    let rotation = Rotation::of(account);
    let rotator = rotation.rotator().await;
    rotation.refuses(&rotator, &rotation.event("createSecret")).await;
    assert_eq!(deleted(&rotation), Vec::<String>::new());
}

/// An operator who mends a spoilt secret by the placeholder leaves what was spoilt as the version before.
#[tokio::test]
async fn a_previous_version_that_is_no_key_is_in_nobodys_way() {
    let (rotation, rotator) = Rotation::played(Start::TwoKeys, &[]).await;
    rotation.account.spoil("AWSPREVIOUS", Some("not json"));
    rotation.account.age(ABANDONED);
    rotation.play(&rotator, &STEPS).await;
    rotation.assert_finished();
}

#[tokio::test]
async fn setting_the_secret_changes_nothing() {
    for start in Start::ALL {
        let (rotation, rotator) = Rotation::played(start, &STEPS[..1]).await;
        changes_nothing(&rotation, async { rotation.play(&rotator, &["setSecret"]).await }).await;
    }
}

#[tokio::test]
async fn the_key_is_tried_with_a_session_that_can_do_nothing() {
    let (rotation, rotator) = Rotation::played(Start::OneKey, &STEPS[..2]).await;
    changes_nothing(&rotation, async { rotation.play(&rotator, &["testSecret"]).await }).await;
    let mints = sts::mints(&rotation.account.server.calls());
    assert!(mints.len() >= 2, "{} calls of STS are not several", mints.len());
    for mint in mints {
        assert_eq!(Some(mint.access_key.clone()), rotation.account.key_under("AWSPENDING"));
        assert_eq!(mint.duration(), 900);
        let [deny] = mint.statements().try_into().unwrap();
        let everything = |member: &str| deny[member] == "*" || deny[member] == json!(["*"]);
        assert!(deny["Effect"] == "Deny" && everything("Action") && everything("Resource"), "{deny}");
        assert!(deny.get("Condition").is_none() && mint.tags().is_empty() && mint.policy_arns().is_empty());
        assert!((2..=32).contains(&mint.name().len()), "{}", mint.name());
    }
}

#[tokio::test]
async fn a_key_that_sts_does_not_know_everywhere_yet_is_tried_until_it_does() {
    for known in [vec![false; 3], vec![false, true, false, true, false], vec![true, false]] {
        let account = Account::start().await;
        account.know_new_keys(&known);
        account.hold_placeholder();
        let rotation = Rotation::of(account);
        let rotator = rotation.rotator().await;
        rotation.play(&rotator, &STEPS[..3]).await;
        let asked = sts::mints(&rotation.account.server.calls()).len();
        assert!(asked >= known.len() + 2, "{asked} calls of STS, which wavered in the first {}", known.len());
        rotation.play(&rotator, &STEPS[3..]).await;
        rotation.assert_finished();
    }
}

/// A rotation whose new key STS does not know for so many trials.
async fn unknown_for(trials: usize) -> (Rotation, Function) {
    let (rotation, rotator) = Rotation::played(Start::TwoKeys, &[]).await;
    rotation.account.know_new_keys(&vec![false; trials]);
    rotation.play(&rotator, &STEPS[..2]).await;
    (rotation, rotator)
}

#[tokio::test]
async fn a_key_that_sts_never_takes_fails_the_step_within_the_invocations_time() {
    let (rotation, rotator) = unknown_for(15).await;
    // The function's clock may be slow.
    let pending = rotation.account.key_under("AWSPENDING").unwrap();
    rotation.account.change_key(&pending, |key| key.created += 60);
    for seconds in [4, 8] {
        let limit = Duration::from_secs(seconds);
        rotator.runtime.set_time_limit(limit);
        let asked = Instant::now();
        rotation.refuses(&rotator, &rotation.event("testSecret")).await;
        assert!(asked.elapsed() < limit, "answered {:?} after {limit:?}", asked.elapsed());
    }
    // It is there still: the step can be repeated.
    rotator.runtime.set_time_limit(super::TIME_LIMIT);
    rotation.play(&rotator, &STEPS[2..]).await;
    rotation.assert_finished();
}

#[tokio::test]
#[ignore = "a minute of waiting"]
async fn a_key_that_sts_never_takes_fails_the_step_within_about_a_minute() {
    let (rotation, rotator) = unknown_for(1_000).await;
    rotator.runtime.set_time_limit(Duration::from_mins(5));
    let asked = Instant::now();
    rotation.refuses(&rotator, &rotation.event("testSecret")).await;
    assert!((45..=75).contains(&asked.elapsed().as_secs()), "{:?}", asked.elapsed());
    assert!(sts::mints(&rotation.account.server.calls()).len() < 100, "it hammers STS");
}

#[tokio::test]
async fn a_pending_version_of_no_use_makes_way_for_the_next_rotation() {
    type Spoil = fn(&Account, &str);
    let spoil: [(&str, Spoil); 5] = [
        ("its key is gone", |account, key| account.delete_key(key)),
        ("its key is inactive", |account, key| account.change_key(key, |key| key.is_active = false)),
        ("it is the placeholder", |account, _| account.spoil("AWSPENDING", Some(&secretsmanager::access_key("", "")))),
        ("it is no key", |account, _| account.spoil("AWSPENDING", Some("not json"))),
        ("STS refuses its key still, after an hour", |account, key| {
            account.spoil("AWSPENDING", Some(&secretsmanager::access_key(key, "another/SECRET+OF+ANOTHER+KEY")));
            account.age(Duration::from_hours(1));
        }),
    ];
    each(spoil.into_iter().map(|(what, spoil)| {
        (what, async move {
            let (rotation, rotator) = Rotation::played(Start::TwoKeys, &STEPS[..2]).await;
            rotator.runtime.set_time_limit(SHORT);
            spoil(&rotation.account, &rotation.account.key_under("AWSPENDING").unwrap_or_default());
            assert!(rotation.step(&rotator, "testSecret").await.is_err());
            assert_eq!(rotation.account.version_under("AWSPENDING"), None);
            rotation.refuses(&rotator, &rotation.event("finishSecret")).await;
            rotation.refuses(&rotator, &rotation.event("createSecret")).await;
            let next = rotation.next();
            rotator.runtime.set_time_limit(super::TIME_LIMIT);
            next.play_on(&rotator, &STEPS).await;
            next.ends(&rotator).await;
        })
    }))
    .await;
}

#[tokio::test]
async fn a_key_of_another_user_never_becomes_current() {
    let (rotation, rotator) = Rotation::played(Start::OneKey, &STEPS[..3]).await;
    rotator.runtime.set_time_limit(SHORT);
    let pending = rotation.account.key_under("AWSPENDING").unwrap();
    rotation.account.change_key(&pending, |key| key.is_listed = false);
    rotation.refuses(&rotator, &rotation.event("finishSecret")).await;
    rotation.account.change_key(&pending, |key| key.is_listed = true);
    rotation.play(&rotator, &STEPS[3..]).await;
    rotation.assert_finished();
}

#[tokio::test]
async fn a_pending_key_with_another_secret_never_becomes_current() {
    let (rotation, rotator) = Rotation::played(Start::OneKey, &STEPS[..1]).await;
    rotator.runtime.set_time_limit(SHORT);
    let pending = rotation.account.key_under("AWSPENDING").unwrap();
    rotation.account.spoil("AWSPENDING", Some(&secretsmanager::access_key(&pending, "another/SECRET+OF+ANOTHER+KEY")));
    for step in ["testSecret", "finishSecret"] {
        rotation.refuses(&rotator, &rotation.event(step)).await;
    }
    rotation.account.assert_sound();
}

#[tokio::test]
async fn finishing_asks_sts_just_then() {
    let (rotation, rotator) = Rotation::played(Start::OneKey, &STEPS[..3]).await;
    rotator.runtime.set_time_limit(SHORT);
    let pending = rotation.account.key_under("AWSPENDING").unwrap();
    rotation.account.change_key(&pending, |key| key.is_active = false);
    rotation.refuses(&rotator, &rotation.event("finishSecret")).await;
    rotation.account.change_key(&pending, |key| key.is_active = true);
    rotation.play(&rotator, &STEPS[3..]).await;
    rotation.assert_finished();
}

#[tokio::test]
async fn finishing_moves_one_label_and_nothing_else() {
    for start in Start::ALL {
        let (rotation, rotator) = Rotation::played(start, &STEPS[..3]).await;
        rotation.play(&rotator, &STEPS[3..]).await;
        let calls = rotation.account.server.calls();
        let changes = calls.iter().filter(|call| !HARMLESS.contains(&call.operation().unwrap()));
        let changes: Vec<Value> = changes.map(hallpass_testing::server::Call::json).collect();
        let [moved] = changes.try_into().unwrap();
        assert_eq!(moved["VersionStage"], "AWSCURRENT");
        assert_eq!(moved["MoveToVersionId"], json!(rotation.token));
        assert_eq!(moved["RemoveFromVersionId"], json!(rotation.before.0));
    }
}

#[tokio::test]
async fn a_key_is_asked_for_once_in_an_invocation_whatever_comes_back() {
    for fault in [
        Fault::Answers(query::error(500, "ServiceFailure")),
        Fault::Answers(query::error(400, "Throttling")),
        Fault::Resets,
        Fault::LosesAnswer,
        Fault::Truncates,
    ] {
        let (rotation, rotator) = Rotation::played(Start::TwoKeys, &[]).await;
        rotation.account.server.fail_operation("CreateAccessKey", 1, &fault);
        assert!(rotation.step(&rotator, "createSecret").await.is_err(), "{fault:?}");
        let asked = rotation.account.operations().into_iter().filter(|operation| operation == "CreateAccessKey");
        assert_eq!(asked.count(), 1, "{fault:?}");
        rotation.play_on(&rotator, &STEPS).await;
        rotation.assert_finished();
    }
}

/// The keys that were asked to be deleted.
pub(super) fn deleted(rotation: &Rotation) -> Vec<String> {
    let calls = rotation.account.server.calls();
    let deletions = calls.iter().filter(|call| call.operation() == Some("DeleteAccessKey"));
    deletions.map(|call| call.form()["AccessKeyId"].clone()).collect()
}

/// Asserts that this changes nothing, and does not so much as try.
pub(super) async fn changes_nothing(rotation: &Rotation, done: impl Future<Output = ()>) {
    let before: Sight = rotation.account.sight();
    let calls = rotation.account.operations().len();
    done.await;
    assert_eq!(rotation.account.sight(), before);
    let asked = &rotation.account.operations()[calls..];
    assert!(asked.iter().all(|operation| HARMLESS.contains(&operation.as_str())), "{asked:?}");
}
