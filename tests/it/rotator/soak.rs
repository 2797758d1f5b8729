//! Does any request fail because the key changes?

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::{STEPS, environment, hourly, rotator};
use hallpass_testing::aws::account::Account;
use hallpass_testing::aws::secretsmanager::SECRET_ARN;
use hallpass_testing::events::Event;
use hallpass_testing::function::Function;
use hallpass_testing::world::World;

use serde_json::json;

const ROTATIONS: usize = 10;

/// More than the rotator leaves a key that was replaced.
const OVERLAP: Duration = Duration::from_mins(16);

/// Requests go on for as long as the rotations do. Those between two rotations, when nothing changes, are few here.
#[tokio::test(flavor = "multi_thread")]
async fn ten_rotations_during_two_thousand_requests_fail_none() {
    no_request_fails(2_000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "two minutes of CPU"]
async fn ten_rotations_during_twenty_thousand_requests_fail_none() {
    no_request_fails(20_000).await;
}

/// Two functions answer without a pause, while the key is rotated ten times, and the one before it goes out of use at
/// once. Neither reads the secret for its age in that time: each learns of every new key by a refusal, within a request.
async fn no_request_fails(requests: usize) {
    let account = Account::start().await;
    account.hold_new_key();
    let mut world = World::new().await;
    world.set("AWS_ENDPOINT_URL_STS", &account.server.url());
    world.set("AWS_ENDPOINT_URL_SECRETS_MANAGER", &account.server.url());
    let (one, other) = tokio::join!(world.start(), world.start());
    let request = Event::get("/v1/credentials").bearer(&world.token());

    let (asked, has_rotated) = (AtomicUsize::new(0), AtomicBool::new(false));
    let asking = async |function: &Function| {
        while asked.fetch_add(1, Ordering::Relaxed) < requests || !has_rotated.load(Ordering::Relaxed) {
            function.call(request.clone()).await.credentials();
        }
    };
    let rotating = async {
        let rotator = rotator(&environment(&account)).await;
        for rotation in 0..ROTATIONS {
            while asked.load(Ordering::Relaxed) < rotation * requests / ROTATIONS {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let token = account.rotate().unwrap();
            for step in STEPS {
                let event = json!({"Step": step, "SecretId": SECRET_ARN, "ClientRequestToken": token});
                rotator.invoke(&event).await.unwrap();
            }
            account.age(OVERLAP);
            rotator.invoke(&hourly::event()).await.unwrap();
        }
        has_rotated.store(true, Ordering::Relaxed);
    };
    tokio::join!(asking(&one), asking(&other), rotating);

    account.assert_sound();
    let keys = account.keys();
    assert_eq!((keys.len(), keys.iter().filter(|key| key.is_active).count()), (2, 1), "{keys:?}");
    assert_eq!(account.keys_ever().len(), ROTATIONS + 1);
    for function in [one, other] {
        let outcomes = function.end().await.audit("outcome");
        let codes: BTreeSet<_> = outcomes.iter().map(|line| line["code"].as_str().unwrap()).collect();
        assert_eq!(codes, BTreeSet::from(["issued"]));
    }
}
