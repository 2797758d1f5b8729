//! Steps that come twice, in a wrong order, for another secret or version, or that are none.

use serde_json::{Value, json};

use super::steps::{SHORT, changes_nothing};
use super::{ABANDONED, Rotation, STEPS, Start, each, environment, rotator};
use hallpass_testing::aws::account::Account;
use hallpass_testing::aws::secretsmanager::{self, SECRET, SECRET_ARN};

#[tokio::test]
async fn a_step_that_comes_again_changes_nothing() {
    for start in Start::ALL {
        let rotation = Rotation::new(start).await;
        let rotator = rotation.rotator().await;
        for step in STEPS {
            rotation.play(&rotator, &[step]).await;
            let before = rotation.account.sight();
            for _ in 0..2 {
                rotation.play(&rotator, &[step]).await;
                assert_eq!(rotation.account.sight(), before, "{start:?} {step}");
            }
        }
        rotation.assert_finished();
    }
}

#[tokio::test]
async fn earlier_steps_that_come_again_change_nothing() {
    for start in [Start::Placeholder, Start::TwoKeys] {
        for played in 1..=STEPS.len() {
            let (rotation, rotator) = Rotation::played(start, &STEPS[..played]).await;
            let before = rotation.account.sight();
            rotation.play(&rotator, &STEPS[..played]).await;
            assert_eq!(rotation.account.sight(), before, "{start:?} {:?}", &STEPS[..played]);
            rotation.play(&rotator, &STEPS[played..]).await;
            rotation.assert_finished();
        }
    }
}

#[tokio::test]
async fn every_step_of_a_finished_rotation_succeeds_and_asks_for_no_change() {
    for start in Start::ALL {
        let (rotation, rotator) = Rotation::played(start, &STEPS).await;
        changes_nothing(&rotation, async { rotation.play(&rotator, &STEPS).await }).await;
        rotation.assert_finished();
    }
}

#[tokio::test]
async fn no_order_but_the_right_one_changes_what_is_current() {
    let orders = orders(&STEPS);
    assert_eq!(orders.len(), 24);
    let starts = [Start::Placeholder, Start::TwoKeys];
    let cases = starts.into_iter().flat_map(|start| orders.iter().map(move |order| (start, order.clone())));
    each(cases.map(|(start, order)| {
        ((start, order.clone()), async move {
            let rotation = Rotation::new(start).await;
            let rotator = rotation.rotator().await;
            rotator.runtime.set_time_limit(SHORT);
            let mut is_created = false;
            for step in &order {
                let before = rotation.account.sight();
                let outcome = rotation.step(&rotator, step).await;
                let after = rotation.account.sight();
                match *step {
                    // A key makes sense in any order.
                    "createSecret" => is_created = true,
                    // Nothing is proven by a test but that the key works: finishing tries it for itself.
                    "finishSecret" if is_created => {}
                    "setSecret" => assert_eq!(after, before, "{step} of {order:?}: {outcome:?}"),
                    // Without a key there is nothing to test.
                    "testSecret" => {
                        assert_eq!(after, before, "{step} of {order:?}: {outcome:?}");
                        assert!(outcome.is_ok(), "{step} of {order:?}: {outcome:?}");
                    }
                    _ => {
                        assert_eq!(after, before, "{step} of {order:?}: {outcome:?}");
                        assert_eq!(outcome.is_ok(), is_created, "{step} of {order:?}: {outcome:?}");
                    }
                }
            }
            rotator.runtime.set_time_limit(super::TIME_LIMIT);
            rotation.play(&rotator, &STEPS).await;
            rotation.assert_finished();
        })
    }))
    .await;
}

#[tokio::test]
async fn what_is_no_step_of_this_rotation_is_refused() {
    let (rotation, rotator) = Rotation::played(Start::TwoKeys, &[]).await;
    let stray = "5c2b6a1e-0000-4000-8000-999999999999";
    let previous = rotation.account.version_under("AWSPREVIOUS").unwrap();
    let other = SECRET_ARN.replace("a1b2c3", "d4e5f6");
    for step in STEPS {
        let with = |name: &str, value: Value| {
            let mut event = rotation.event(step);
            event[name] = value;
            event
        };
        for event in [
            with("SecretId", json!(other)),
            with("SecretId", json!("")),
            with("SecretId", json!(format!("{SECRET_ARN}x"))),
            with("SecretId", json!(null)),
            with("SecretId", json!([SECRET_ARN])),
            with("ClientRequestToken", json!(if step == "testSecret" { "" } else { stray })),
            with("ClientRequestToken", json!(previous)),
            with("ClientRequestToken", json!("")),
            with("ClientRequestToken", json!(null)),
            with("ClientRequestToken", json!(7)),
            with("Step", json!(step.to_lowercase())),
            with("Step", json!(format!("{step} "))),
            with("Step", json!("deleteSecret")),
            with("Step", json!("")),
            with("Step", json!(null)),
        ] {
            rotation.refuses(&rotator, &event).await;
        }
    }
    let asked = rotation.account.operations();
    assert!(asked.iter().all(|operation| operation == "DescribeSecret"), "{asked:?}");
    rotation.play(&rotator, &STEPS).await;
    rotation.assert_finished();
}

/// `RotateSecret` with `RotateImmediately` false. AWS does not say what the version holds that it makes for it: nothing, or
/// what the current one holds; nor whether it is there still when the event arrives.
#[tokio::test]
async fn the_test_of_a_rotations_configuration_is_answered_without_an_alarm() {
    for start in Start::ALL {
        let account = Account::start().await;
        start.set_up(&account);
        let rotator = rotator(&environment(&account)).await;
        let test = |token: &str| json!({"Step": "testSecret", "SecretId": SECRET_ARN, "ClientRequestToken": token});
        let copy = account.text_under("AWSCURRENT");
        for value in [None, copy] {
            let token = account.try_rotation(value.clone());
            let before = account.sight();
            let outcome = rotator.invoke(&test(&token)).await;
            assert!(outcome.is_ok(), "{start:?} {value:?}: {outcome:?}");
            assert_eq!(account.sight(), before);
            account.remove_pending();
            let outcome = rotator.invoke(&test(&token)).await;
            assert!(outcome.is_ok(), "{start:?} {value:?}, removed: {outcome:?}");
            for step in STEPS.into_iter().filter(|step| *step != "testSecret") {
                let mut event = test(&token);
                event["Step"] = json!(step);
                assert!(rotator.invoke(&event).await.is_err(), "{step}");
            }
        }
        let asked = account.operations();
        let harmless = ["DescribeSecret", "GetSecretValue", "GetFederationToken"];
        assert!(asked.iter().all(|operation| harmless.contains(&operation.as_str())), "{asked:?}");
        let rotation = Rotation::of(account);
        rotation.play(&rotator, &STEPS).await;
        rotation.assert_finished();
    }
}

#[tokio::test]
async fn a_test_without_a_key_does_not_let_a_rotation_finish() {
    let (rotation, rotator) = Rotation::played(Start::TwoKeys, &[]).await;
    rotation.play(&rotator, &["testSecret"]).await;
    rotation.refuses(&rotator, &rotation.event("finishSecret")).await;
    rotation.account.spoil("AWSPENDING", Some(&secretsmanager::access_key("", "")));
    assert!(rotation.step(&rotator, "finishSecret").await.is_err());
    assert_eq!(rotation.account.version_under("AWSPENDING"), None, "every later rotation would be refused");
    rotation.account.assert_sound();
}

#[tokio::test]
async fn another_secret_is_refused_also_where_the_own_one_is_known_by_its_name() {
    let rotation = Rotation::new(Start::TwoKeys).await;
    let mut environment = environment(&rotation.account);
    environment.insert("HALLPASS_BROKER_KEY".to_owned(), SECRET.to_owned());
    let rotator = rotator(&environment).await;
    for other in [SECRET_ARN.replace("a1b2c3", "d4e5f6"), SECRET_ARN.replace("broker-key", "broker-key-2")] {
        for step in STEPS {
            let mut event = rotation.event(step);
            event["SecretId"] = json!(other);
            rotation.refuses(&rotator, &event).await;
        }
    }
    rotation.play(&rotator, &STEPS).await;
    rotation.assert_finished();
}

#[tokio::test]
async fn a_version_without_a_label_is_refused() {
    // Another rotation has taken AWSPENDING: a late step of the first one must not spoil it.
    let (first, rotator) = Rotation::played(Start::OneKey, &STEPS[..1]).await;
    let token = first.token.clone();
    first.account.forget_pending();
    first.account.age(ABANDONED);
    let second = first.next();
    second.play(&rotator, &STEPS[..1]).await;
    for step in STEPS {
        let mut event = second.event(step);
        event["ClientRequestToken"] = json!(token);
        second.refuses(&rotator, &event).await;
    }
    second.play(&rotator, &STEPS[1..]).await;
    second.assert_finished();
}

#[tokio::test]
async fn a_secret_whose_rotation_is_off_is_left_alone() {
    for played in 0..STEPS.len() {
        let (rotation, rotator) = Rotation::played(Start::TwoKeys, &STEPS[..played]).await;
        rotation.account.enable_rotation(false);
        for step in STEPS {
            rotation.refuses(&rotator, &rotation.event(step)).await;
        }
        rotation.account.enable_rotation(true);
        rotation.play(&rotator, &STEPS[played..]).await;
        rotation.assert_finished();
    }
}

#[tokio::test]
async fn any_other_event_is_refused_and_asks_for_nothing() {
    let (rotation, rotator) = Rotation::played(Start::TwoKeys, &[]).await;
    for event in [
        json!(null),
        json!(7),
        json!("createSecret"),
        json!([]),
        json!({}),
        json!({"Step": "createSecret"}),
        json!({"SecretId": SECRET_ARN, "ClientRequestToken": rotation.token}),
        json!({"step": "createSecret", "secretId": SECRET_ARN, "clientRequestToken": rotation.token}),
        json!({"source": "aws.s3", "detail-type": "Object Created", "detail": {}}),
        json!({"source": "aws.events"}),
        json!({"RequestType": "Delete"}),
        json!({"version": "2.0", "routeKey": "GET /v1/credentials", "rawPath": "/v1/credentials"}),
    ] {
        rotation.refuses(&rotator, &event).await;
    }
    for text in ["not json", "", "{\"Step\":\"createSecret\","] {
        assert!(rotator.runtime.invoke(text.to_owned()).await.is_err(), "{text}");
    }
    assert_eq!(rotation.account.operations(), Vec::<String>::new());
    rotation.play(&rotator, &STEPS).await;
}

/// Every order of these.
fn orders<'a>(items: &[&'a str]) -> Vec<Vec<&'a str>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (index, first) in items.iter().enumerate() {
        let mut rest = items.to_vec();
        rest.remove(index);
        all.extend(orders(&rest).into_iter().map(|order| [vec![*first], order].concat()));
    }
    all
}
