//! Two processes play the same step at once: Lambda delivers an event twice, or retries what is under way still.

use super::steps::deleted;
use super::{Rotation, STEPS, Start, each};
use crate::support::function::Function;
use crate::support::server::Fault;

/// What the rotator says when another invocation has done its work.
const FASTER: &str = "another invocation of this step was faster";

#[tokio::test]
async fn a_step_may_be_overtaken_by_itself_at_any_call() {
    for start in [Start::Placeholder, Start::OneKey, Start::TwoKeys, Start::OneKeyAndOrphan] {
        for played in 0..STEPS.len() {
            let (rotation, rotator) = Rotation::played(start, &STEPS[..played]).await;
            rotation.play(&rotator, &STEPS[played..=played]).await;
            let calls = rotation.account.operations().len();
            let cases = (0..calls).flat_map(|number| [(number, Fault::Hangs), (number, Fault::KeepsAnswer)]);
            each(cases.map(|(number, at)| {
                ((start, STEPS[played], number, at.clone()), async move {
                    let (rotation, first) = Rotation::played(start, &STEPS[..played]).await;
                    overtaken(rotation, &first, played, (number, &at)).await;
                })
            }))
            .await;
        }
    }
}

#[tokio::test]
async fn two_processes_that_play_each_step_at_once_end_in_one_rotation() {
    for start in Start::ALL {
        for _ in 0..3 {
            let rotation = Rotation::new(start).await;
            let (first, second) = tokio::join!(rotation.rotator(), rotation.rotator());
            for step in STEPS {
                let (first, second) = tokio::join!(rotation.step(&first, step), rotation.step(&second, step));
                if step != "createSecret" {
                    continue;
                }
                assert!(first.is_ok() || second.is_ok() || rotation.account.over_quota() > 0, "{first:?} {second:?}");
            }
            finishes(rotation).await;
        }
    }
}

#[tokio::test]
async fn the_slower_of_two_first_rotations_deletes_its_own_key() {
    let (rotation, slow) = Rotation::played(Start::Placeholder, &[]).await;
    let (server, fast) = (&rotation.account.server, rotation.rotator().await);
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

/// Holds one call of a step while another process plays all of that step, and lets it go on.
async fn overtaken(rotation: Rotation, first: &Function, played: usize, (number, at): (usize, &Fault)) {
    let server = &rotation.account.server;
    let second = rotation.rotator().await;
    server.fail_call(number, at);
    let overtaking = async {
        server.held().await;
        let outcome = rotation.step(&second, STEPS[played]).await;
        server.release();
        outcome
    };
    // Either may fail, where the other has taken its key away.
    let _ = tokio::join!(rotation.step(first, STEPS[played]), overtaking);
    finishes(rotation).await;
}

/// Asserts that the current key worked all the while, that the rotation can be played to its end unless its key was lost
/// to the other process, and that the next one can.
async fn finishes(rotation: Rotation) {
    rotation.account.assert_sound();
    let rotator = rotation.rotator().await;
    let mut failed = None;
    for step in STEPS {
        failed = rotation.step(&rotator, step).await.err();
        if failed.is_some() {
            break;
        }
    }
    match failed {
        // The other process may have left a key that nobody knows of.
        None => rotation.assert_current(),
        Some(error) => assert_eq!(rotation.account.version_under("AWSPENDING"), None, "stuck: {error}"),
    }
    let next = rotation.next();
    next.play(&rotator, &STEPS).await;
    next.assert_finished();
}
