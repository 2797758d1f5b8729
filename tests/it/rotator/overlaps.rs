//! Two processes play the same step at once: Lambda delivers an event twice, or retries what is under way still.

use std::pin::pin;
use std::time::Duration;

use super::in_process::InProcess;
use super::steps::deleted;
use super::{ABANDONED, Rotates as _, Rotation, STEPS, Start, TOO_YOUNG, each, hourly};
use hallpass_testing::aws::query;
use hallpass_testing::aws::secretsmanager;
use hallpass_testing::server::Fault;

/// What the rotator says when another invocation has done its work.
const FASTER: &str = "another invocation of this step was faster";

#[tokio::test(start_paused = true)]
async fn a_step_may_be_overtaken_by_itself_at_any_call() {
    for start in [Start::Placeholder, Start::OneKey, Start::TwoKeys, Start::OneKeyAndOrphan] {
        for played in 0..STEPS.len() {
            let (rotation, rotator) = Rotation::played_in_process(start, &STEPS[..played]).await;
            rotation.play(&rotator, &STEPS[played..=played]).await;
            let calls = rotation.account.operations().len();
            let cases = (0..calls).flat_map(|number| [(number, Fault::Hangs), (number, Fault::KeepsAnswer)]);
            each(cases.map(|(number, at)| {
                ((start, STEPS[played], number, at.clone()), async move {
                    let (rotation, first) = Rotation::played_in_process(start, &STEPS[..played]).await;
                    overtaken(rotation, &first, played, (number, &at)).await;
                })
            }))
            .await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_processes_that_play_each_step_at_once_end_in_one_rotation() {
    for start in Start::ALL {
        for _ in 0..3 {
            let rotation = Rotation::new(start).await;
            let (first, second) = (rotation.in_process(), rotation.in_process());
            for step in STEPS {
                let (first, second) = tokio::join!(rotation.step(&first, step), rotation.step(&second, step));
                assert!(step != "createSecret" || first.is_ok() || second.is_ok(), "{first:?} {second:?}");
            }
            finishes(rotation).await;
        }
    }
}

/// The rotation goes on to its end while a second invocation of its first step is held at any of its calls; and the
/// rotation itself was held at any of its own until then, so that the second one sees every state that it leaves.
#[tokio::test(start_paused = true)]
async fn the_current_key_works_wherever_two_invocations_are_held() {
    let mut cases = Vec::new();
    for start in [Start::Placeholder, Start::OneKey, Start::TwoKeys, Start::OneKeyAndOrphan] {
        let (rotation, rotator) = Rotation::played_in_process(start, &[]).await;
        rotation.play(&rotator, &STEPS[..1]).await;
        for number in 0..rotation.account.operations().len() {
            let calls = calls_while_held(start, number).await;
            cases.extend((number + 1..calls).map(|late| (start, number, late)));
        }
    }
    each(cases.into_iter().map(|(start, number, late)| ((start, number, late), both_held(start, number, late)))).await;
}

/// How many calls there are when the first process is held at this one, and the second one has played the step.
async fn calls_while_held(start: Start, number: usize) -> usize {
    let (rotation, first) = Rotation::played_in_process(start, &[]).await;
    let (server, second) = (&rotation.account.server, rotation.in_process());
    server.fail_call(number, &Fault::Hangs);
    let counting = async {
        server.held().await;
        // It may fail, by what the first one has done.
        let _ = rotation.step(&second, "createSecret").await;
        let calls = server.calls().len();
        server.release();
        calls
    };
    tokio::join!(rotation.step(&first, "createSecret"), counting).1
}

/// The call of one number is the first process's, that of the other the second one's.
async fn both_held(start: Start, number: usize, late: usize) {
    let (rotation, first) = Rotation::played_in_process(start, &[]).await;
    let (server, second) = (&rotation.account.server, rotation.in_process());
    server.fail_call(number, &Fault::Hangs);
    server.fail_call(late, &Fault::Hangs);
    let first_goes_on = async {
        for step in STEPS {
            if rotation.step(&first, step).await.is_err() {
                break;
            }
        }
        server.release();
    };
    let second_is_late = async {
        server.held().await;
        let second = async { drop(rotation.step(&second, "createSecret").await) };
        let is_held = async {
            server.held_are(2).await;
            server.release_first();
        };
        tokio::join!(second, is_held);
    };
    tokio::join!(first_goes_on, second_is_late);
    finishes(rotation).await;
}

/// As it was found: the first process has made its key and not kept it yet. The second one lists it, finds it in no
/// version, and asks for its deletion, which IAM carries out when the key is current.
#[tokio::test(start_paused = true)]
async fn a_deletion_that_arrives_late_removes_no_key_that_became_current() {
    for (start, repeats) in [(Start::OneKey, false), (Start::OneKey, true), (Start::OneKeyAndOrphan, true)] {
        let (rotation, first) = Rotation::played_in_process(start, &[]).await;
        let (server, second) = (&rotation.account.server, rotation.in_process());
        server.fail_operation("PutSecretValue", 1, &Fault::Hangs);
        let first_goes_on = rotation.play(&first, &STEPS);
        let second_is_late = async {
            server.held().await;
            let made = rotation.account.keys().pop().unwrap();
            // The first attempt alone, or all that the SDK would send.
            server.fail_operation("DeleteAccessKey", if repeats { 4 } else { 1 }, &Fault::Hangs);
            let mut asked = pin!(rotation.step(&second, "createSecret"));
            let answered = tokio::select! {
                outcome = &mut asked => Some(outcome),
                () = server.held_are(2) => None,
            };
            server.release_first();
            while rotation.account.key_under("AWSCURRENT").as_ref() != Some(&made.id) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            if answered.is_none() && repeats {
                server.held_are(3).await;
            }
            server.release();
            match answered {
                Some(outcome) => outcome,
                None => asked.await,
            }
        };
        let ((), second) = tokio::join!(first_goes_on, second_is_late);
        rotation.account.assert_sound();
        assert!(rotation.account.is_current_taken());
        assert!(second.unwrap_err().to_string().contains(TOO_YOUNG));
        server.heal();
        finishes(rotation).await;
    }
}

/// Also by the clock of a function that is a minute behind IAM's.
#[tokio::test(start_paused = true)]
async fn a_key_that_no_version_holds_is_deleted_at_a_quarter_of_an_hour_and_not_before() {
    let margin = Duration::from_secs(30);
    let ages = [Duration::ZERO, Duration::from_mins(2), ABANDONED.checked_sub(margin).unwrap()];
    for age in ages {
        for ahead in [0, 60] {
            let (rotation, rotator) = Rotation::played_in_process(Start::OneKey, &[]).await;
            let key = rotation.account.make_key().id;
            rotation.account.change_key(&key, |key| key.created = key.created + ahead - age.as_secs());
            rotation.refuses(&rotator, &rotation.event("createSecret")).await;
            assert_eq!(deleted(&rotation), Vec::<String>::new(), "at {age:?}");
            rotation.account.change_key(&key, |key| key.created -= ABANDONED.as_secs() + ahead);
            rotation.play(&rotator, &STEPS).await;
            assert_eq!(deleted(&rotation), [key]);
            rotation.assert_finished();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_young_key_is_in_nobodys_way_if_there_is_room() {
    let (rotation, rotator) = Rotation::played_in_process(Start::Placeholder, &[]).await;
    rotation.account.make_key();
    rotation.play(&rotator, &STEPS).await;
    assert_eq!(deleted(&rotation), Vec::<String>::new());
    rotation.ends(&rotator).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_keys_is_repeated_only_after_another_look() {
    let throttled = Fault::Answers(query::error(400, "Throttling"));
    let broken = Fault::Answers(query::error(500, "ServiceFailure"));
    let faults = [throttled, broken, Fault::Resets, Fault::LosesAnswer, Fault::Hangs];
    let changes = [
        (Start::TwoKeys, "DeleteAccessKey", ["DescribeSecret", "GetSecretValue"].as_slice()),
        (Start::OneKeyAndOrphan, "DeleteAccessKey", &["DescribeSecret", "GetSecretValue"]),
        (Start::TwoKeys, "UpdateAccessKey", &["DescribeSecret"]),
    ];
    let cases = changes.iter().flat_map(|change| faults.iter().map(move |fault| (change, fault)));
    each(cases.map(|(&(start, change, look), fault)| {
        ((start, change, fault.clone()), async move {
            let (rotation, rotator) = Rotation::played_in_process(start, &[]).await;
            rotation.account.server.fail_operation(change, 2, fault);
            if change == "DeleteAccessKey" {
                rotation.play(&rotator, &STEPS).await;
                rotation.assert_finished();
            } else {
                rotation.account.age(ABANDONED);
                let outcome = rotator.invoke(&hourly::event()).await;
                assert!(outcome.is_ok(), "{outcome:?}");
                assert_eq!(rotation.account.keys().iter().filter(|key| key.is_active).count(), 1);
            }
            let asked = rotation.account.operations();
            let changes: Vec<usize> = (0..asked.len()).filter(|number| asked[*number] == change).collect();
            assert!(changes.len() >= 2, "it was not repeated: {asked:#?}");
            for number in changes {
                assert_eq!(&asked[number - look.len()..number], look, "{asked:#?}");
            }
        })
    }))
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_deletion_is_not_repeated_when_another_invocation_has_gone_on() {
    let (rotation, first) = Rotation::played_in_process(Start::TwoKeys, &[]).await;
    let (server, second) = (&rotation.account.server, rotation.in_process());
    server.fail_operation("DeleteAccessKey", 1, &Fault::Hangs);
    let overtaking = async {
        server.held().await;
        rotation.play(&second, &STEPS).await;
    };
    let (outcome, ()) = tokio::join!(rotation.step(&first, "createSecret"), overtaking);
    assert!(outcome.unwrap_err().to_string().contains(FASTER));
    assert_eq!(deleted(&rotation).len(), 2, "one of each");
    server.release();
    tokio::time::sleep(Duration::from_millis(100)).await;
    rotation.assert_finished();
}

#[tokio::test(start_paused = true)]
async fn the_slower_of_two_first_rotations_deletes_its_own_key() {
    let (rotation, slow) = Rotation::played_in_process(Start::Placeholder, &[]).await;
    let (server, fast) = (&rotation.account.server, rotation.in_process());
    server.fail_operation("PutSecretValue", 1, &Fault::Hangs);
    let overtaking = async {
        server.held().await;
        rotation.play(&fast, &STEPS[..1]).await;
        assert_eq!(rotation.account.keys().len(), 2);
        server.release();
    };
    let (outcome, ()) = tokio::join!(rotation.step(&slow, "createSecret"), overtaking);
    assert!(outcome.unwrap_err().to_string().contains(FASTER));
    let [slow_one, _] = rotation.account.keys_ever().try_into().unwrap();
    assert_eq!(deleted(&rotation), [slow_one.id]);
    rotation.play(&fast, &STEPS[1..]).await;
    rotation.assert_finished();
}

#[tokio::test(start_paused = true)]
async fn the_slower_one_loses_also_if_its_own_key_cannot_be_deleted() {
    let (rotation, slow) = Rotation::played_in_process(Start::Placeholder, &[]).await;
    let (server, fast) = (&rotation.account.server, rotation.in_process());
    server.fail_operation("PutSecretValue", 1, &Fault::Hangs);
    server.fail_operation("DeleteAccessKey", 1, &Fault::Answers(query::error(403, "AccessDenied")));
    let overtaking = async {
        server.held().await;
        rotation.play(&fast, &STEPS).await;
        server.release();
    };
    let (outcome, ()) = tokio::join!(rotation.step(&slow, "createSecret"), overtaking);
    assert!(outcome.unwrap_err().to_string().contains(FASTER));
    assert_eq!(rotation.account.keys().len(), 2);
    rotation.ends(&fast).await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_refused_as_a_version_is_deleted_and_one_that_may_be_kept_is_not() {
    let denied = Fault::Answers(secretsmanager::error(400, "AccessDeniedException"));
    for start in [Start::Placeholder, Start::OneKey, Start::TwoKeys] {
        for is_in_doubt in [false, true] {
            let (rotation, rotator) = Rotation::played_in_process(start, &[]).await;
            if is_in_doubt {
                rotation.account.server.fail_operation("PutSecretValue", 1, &Fault::Resets);
            }
            rotation.account.server.fail_operation("PutSecretValue", 1, &denied);
            let error = rotation.step(&rotator, "createSecret").await.unwrap_err();
            assert!(error.to_string().contains("Secrets Manager refused with AccessDenied"), "{error}");
            let made = rotation.account.keys_ever().pop().unwrap().id;
            assert_eq!(rotation.account.sight().keys.contains_key(&made), is_in_doubt, "{start:?}");
            if is_in_doubt {
                rotation.play_on(&rotator, &STEPS).await;
                rotation.ends(&rotator).await;
            } else {
                rotation.play(&rotator, &STEPS).await;
                rotation.assert_finished();
            }
        }
    }
}

/// Holds one call of a step while another process plays all of that step, and lets it go on.
async fn overtaken(rotation: Rotation, first: &InProcess, played: usize, (number, at): (usize, &Fault)) {
    let server = &rotation.account.server;
    let second = rotation.in_process();
    server.fail_call(number, at);
    let overtaking = async {
        server.held().await;
        let outcome = rotation.step(&second, STEPS[played]).await;
        server.release();
        outcome
    };
    // One of the two may fail.
    let (first, second) = tokio::join!(rotation.step(first, STEPS[played]), overtaking);
    assert!(first.is_ok() || second.is_ok(), "{first:?} {second:?}");
    finishes(rotation).await;
}

/// Asserts that the current key worked all the while, that the rotation can be played to its end, that no other key is
/// left than its own and the one before, and that the next rotation can be played.
async fn finishes(rotation: Rotation) {
    rotation.account.assert_sound();
    let rotator = rotation.in_process();
    rotation.play_on(&rotator, &STEPS).await;
    rotation.assert_finished();
    rotation.ends(&rotator).await;
}
