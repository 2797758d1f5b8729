//! The rotator dies between any two calls, or while one is under way, and another process plays the steps again.
//!
//! Secrets Manager repeats a rotation from its first step, and Lambda the step that failed; both with the same token.

use super::{ABANDONED, Rotation, STEPS, Start, each};
use hallpass_testing::server::Fault;

/// Where the steps are taken up again after a crash.
#[derive(Clone, Copy, Debug)]
enum Again {
    FromTheStepThatFailed,
    FromTheFirstStep,
}

const AGAIN: [Again; 2] = [Again::FromTheStepThatFailed, Again::FromTheFirstStep];

/// A crash at the call of this number.
#[derive(Clone, Debug)]
struct Crash {
    number: usize,
    /// [`Fault::Hangs`]: before the call has an effect; [`Fault::KeepsAnswer`]: after it, before the answer.
    at: Fault,
    again: Again,
}

impl Crash {
    /// At every call that this rotation makes.
    async fn everywhere(start: Start) -> Vec<Self> {
        let rotation = Rotation::new(start).await;
        rotation.play(&rotation.in_process(), &STEPS).await;
        rotation.assert_finished();
        Self::at_each_of(rotation.account.operations().len())
    }

    fn at_each_of(calls: usize) -> Vec<Self> {
        let mut crashes = Vec::new();
        for number in 0..calls {
            for at in [Fault::Hangs, Fault::KeepsAnswer] {
                for again in AGAIN {
                    crashes.push(Self { number, at: at.clone(), again });
                }
            }
        }
        crashes
    }

    /// Plays steps until the crash, and says which are to be played again; all of them where there was none.
    async fn befalls<'a>(&self, rotation: &Rotation, steps: &'a [&'a str]) -> Option<&'a [&'a str]> {
        rotation.account.server.fail_call(self.number, &self.at);
        let rotator = rotation.in_process();
        let mut step = 0;
        while step < steps.len() {
            tokio::select! {
                outcome = rotation.step(&rotator, steps[step]) => {
                    assert!(outcome.is_ok(), "{}: {outcome:?}", steps[step]);
                    step += 1;
                }
                () = rotation.account.server.held() => break,
            }
        }
        drop(rotator);
        match self.again {
            _ if step == steps.len() => None,
            Again::FromTheStepThatFailed => Some(&steps[step..]),
            Again::FromTheFirstStep => Some(steps),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_rotation_survives_a_crash_at_any_call() {
    survives(Start::Placeholder).await;
}

#[tokio::test(start_paused = true)]
async fn a_first_rotation_with_orphans_of_earlier_crashes_survives_a_crash_at_any_call() {
    survives(Start::PlaceholderAndOrphans).await;
}

#[tokio::test(start_paused = true)]
async fn a_rotation_of_the_only_key_survives_a_crash_at_any_call() {
    survives(Start::OneKey).await;
}

#[tokio::test(start_paused = true)]
async fn a_rotation_with_two_keys_survives_a_crash_at_any_call() {
    survives(Start::TwoKeys).await;
}

#[tokio::test(start_paused = true)]
async fn a_rotation_with_an_orphan_of_an_earlier_crash_survives_a_crash_at_any_call() {
    survives(Start::OneKeyAndOrphan).await;
}

#[tokio::test(start_paused = true)]
async fn the_rotation_after_a_crash_is_an_ordinary_one() {
    let crashes = Crash::everywhere(Start::TwoKeys).await.into_iter().step_by(AGAIN.len());
    each(crashes.map(|crash| {
        (crash.clone(), async move {
            let rotation = Rotation::new(Start::TwoKeys).await;
            recovers(&rotation, &crash).await;
            rotation.assert_finished();
            let rotation = rotation.next();
            rotation.play(&rotation.in_process(), &STEPS).await;
            rotation.assert_finished();
        })
    }))
    .await;
}

#[tokio::test(start_paused = true)]
async fn creating_a_key_survives_a_crash_at_any_call_and_another_at_any_call_of_the_repetition() {
    // The other steps make no key: a crash in them leaves what they began with, or what they end in.
    let only = &STEPS[..1];
    let rotation = Rotation::new(Start::TwoKeys).await;
    rotation.play(&rotation.in_process(), only).await;
    let calls = rotation.account.operations().len();
    // The repetition may have one thing more to do: to delete the key that the crash left behind.
    let [first, second] = [calls, calls + 1].map(|calls| Crash::at_each_of(calls).into_iter().step_by(AGAIN.len()));
    let pairs = first.flat_map(|first| second.clone().map(move |second| (first.clone(), second)));
    each(pairs.map(|(first, second)| {
        ((first.clone(), second.clone()), async move {
            let rotation = Rotation::new(Start::TwoKeys).await;
            first.befalls(&rotation, only).await.expect("a crash");
            rotation.account.server.forget_calls();
            rotation.account.age(ABANDONED);
            second.befalls(&rotation, only).await;
            rotation.account.server.heal();
            rotation.account.age(ABANDONED);
            rotation.play(&rotation.in_process(), &STEPS).await;
            rotation.assert_finished();
            assert_eq!(rotation.account.over_quota(), 0);
        })
    }))
    .await;
}

#[tokio::test]
async fn a_rotation_that_dies_again_and_again_makes_no_third_key() {
    let rotation = Rotation::new(Start::TwoKeys).await;
    for _ in 0..10 {
        rotation.account.server.forget_calls();
        rotation.account.server.fail_operation("PutSecretValue", 1, &Fault::Hangs);
        let rotator = rotation.rotator().await;
        tokio::select! {
            outcome = rotation.step(&rotator, "createSecret") => panic!("it did not put the key: {outcome:?}"),
            () = rotation.account.server.held() => {}
        }
        rotator.end().await;
        assert!(rotation.account.keys().len() <= 2);
        rotation.refuses(&rotation.rotator().await, &rotation.event("createSecret")).await;
        rotation.account.age(ABANDONED);
    }
    rotation.play(&rotation.rotator().await, &STEPS).await;
    rotation.assert_finished();
    assert_eq!(rotation.account.over_quota(), 0);
}

async fn survives(start: Start) {
    let crashes = Crash::everywhere(start).await;
    each(crashes.into_iter().map(|crash| {
        (crash.clone(), async move {
            let rotation = Rotation::new(start).await;
            recovers(&rotation, &crash).await;
            let rotator = rotation.in_process();
            rotation.ends(&rotator).await;
        })
    }))
    .await;
}

/// Lets a rotation crash, and plays it to its end.
async fn recovers(rotation: &Rotation, crash: &Crash) {
    let again = crash.befalls(rotation, &STEPS).await.expect("a crash: this call was never made");
    rotation.play_on(&rotation.in_process(), again).await;
    rotation.assert_current();
    assert_eq!(rotation.account.over_quota(), 0);
}
