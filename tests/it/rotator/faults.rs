//! What becomes of a rotation while IAM, Secrets Manager or STS fails.

use std::time::Duration;

use super::steps::{SHORT, deleted};
use super::{ABANDONED, CASES_AT_ONCE, Rotates as _, Rotation, STEPS, Start, TOO_YOUNG, each_of};
use hallpass_testing::aws::query;
use hallpass_testing::aws::secretsmanager;
use hallpass_testing::server::{Call, Fault, Reply};

/// Enough to give up in when something hangs.
const TIME_LIMIT: Duration = Duration::from_secs(45);

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Failure {
    Throttled,
    Denied,
    Broken,
    Garbage,
    Hangs,
    Resets,
    LosesAnswer,
    KeepsAnswer,
    Truncates,
}

impl Failure {
    const ALL: [Self; 9] = [
        Self::Throttled,
        Self::Denied,
        Self::Broken,
        Self::Garbage,
        Self::Hangs,
        Self::Resets,
        Self::LosesAnswer,
        Self::KeepsAnswer,
        Self::Truncates,
    ];

    /// Whether it is known to be a failure only when time is over.
    fn is_silent(self) -> bool {
        matches!(self, Self::Hangs | Self::KeepsAnswer)
    }

    /// As the service of this call words it.
    fn of(self, call: &Call) -> Fault {
        let error = |status, [json, xml]: [&str; 2]| {
            Fault::Answers(match call.service() {
                "secretsmanager" => secretsmanager::error(status, json),
                _ => query::error(status, xml),
            })
        };
        match self {
            Self::Throttled => error(400, ["ThrottlingException", "Throttling"]),
            Self::Denied => error(
                if call.service() == "secretsmanager" { 400 } else { 403 },
                ["AccessDeniedException", "AccessDenied"],
            ),
            Self::Broken => error(500, ["InternalServiceError", "ServiceFailure"]),
            Self::Garbage => Fault::Answers(Reply::new(200, "text/html", "<h1>Welcome to the proxy</h1>")),
            Self::Hangs => Fault::Hangs,
            Self::Resets => Fault::Resets,
            Self::LosesAnswer => Fault::LosesAnswer,
            Self::KeepsAnswer => Fault::KeepsAnswer,
            Self::Truncates => Fault::Truncates,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_once_costs_a_first_rotation_a_repetition_at_most() {
    fails_once(Start::Placeholder).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_once_costs_a_rotation_with_two_keys_a_repetition_at_most() {
    fails_once(Start::TwoKeys).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_once_costs_a_rotation_with_an_orphan_a_repetition_at_most() {
    fails_once(Start::OneKeyAndOrphan).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_goes_on_failing_fails_a_first_rotation_until_it_is_mended() {
    goes_on_failing(Start::Placeholder).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_goes_on_failing_fails_a_rotation_with_two_keys_until_it_is_mended() {
    goes_on_failing(Start::TwoKeys).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_goes_on_failing_fails_a_rotation_with_an_orphan_until_it_is_mended() {
    goes_on_failing(Start::OneKeyAndOrphan).await;
}

/// Every call of a rotation, with the step that makes it.
async fn calls(start: Start) -> Vec<(usize, usize, Call)> {
    let rotation = Rotation::new(start).await;
    let rotator = rotation.in_process();
    let mut calls = Vec::new();
    for (step, name) in STEPS.iter().enumerate() {
        rotation.play(&rotator, &[name]).await;
        let new = rotation.account.server.calls().into_iter().enumerate().skip(calls.len());
        calls.extend(new.map(|(number, call)| (step, number, call)));
    }
    rotation.assert_finished();
    calls
}

/// Every failure of every call of a rotation. The silent ones cost only time: more of them go on at once.
async fn each_failure<F: Future<Output = ()>>(start: Start, case: impl Fn(usize, usize, Call, Failure) -> F) {
    let calls = calls(start).await;
    for (is_silent, at_once) in [(false, CASES_AT_ONCE), (true, 2 * CASES_AT_ONCE)] {
        let failures = Failure::ALL.into_iter().filter(|failure| failure.is_silent() == is_silent);
        let cases = failures.flat_map(|failure| calls.iter().map(move |call| (call.clone(), failure)));
        let cases = cases.map(|((step, number, call), failure)| {
            let name = (start, number, call.operation().unwrap().to_owned(), failure);
            (name, case(step, number, call, failure))
        });
        each_of(cases, at_once).await;
    }
}

async fn fails_once(start: Start) {
    each_failure(start, async |_, number, call, failure| {
        let rotation = Rotation::new(start).await;
        rotation.account.server.fail_call(number, &failure.of(&call));
        let rotator = rotation.in_process();
        rotator.set_time_limit(TIME_LIMIT);
        let mut failed = 0;
        for step in STEPS {
            while let Err(error) = rotation.step(&rotator, step).await {
                failed += 1;
                rotation.account.assert_sound();
                // The answer that named the key was lost.
                if failed == 2 && error.to_string().contains(TOO_YOUNG) {
                    assert_eq!(call.operation(), Some("CreateAccessKey"), "{failure:?}");
                    rotation.account.age(ABANDONED);
                    continue;
                }
                assert!(failed < 2, "{step} fails again: {error}");
            }
        }
        rotation.ends(&rotator).await;
    })
    .await;
}

async fn goes_on_failing(start: Start) {
    each_failure(start, async |step, number, call, failure| {
        let operation = call.operation().unwrap();
        let rotation = Rotation::new(start).await;
        rotation.account.server.fail_operation_from(number, operation, 10_000, &failure.of(&call));
        let rotator = rotation.in_process();
        // STS is asked until time is over, whatever it says.
        rotator.set_time_limit(if operation == "GetFederationToken" { SHORT } else { TIME_LIMIT });
        rotation.play(&rotator, &STEPS[..step]).await;
        let deletions = deleted(&rotation).len();
        let error = rotation.step(&rotator, STEPS[step]).await.expect_err("a failure");
        for upstream in [query::UPSTREAM_TEXT, secretsmanager::UPSTREAM_TEXT, "Welcome"] {
            assert!(!error.to_string().contains(upstream), "upstream text in {error}");
        }
        rotation.account.assert_sound();
        if ["DescribeSecret", "GetSecretValue", "ListAccessKeys"].contains(&operation) {
            assert_eq!(deleted(&rotation).len(), deletions, "a key is deleted though {operation} failed");
        }
        if operation == "CreateAccessKey" {
            let asked = rotation.account.operations().into_iter().filter(|asked| asked == operation).count();
            assert_eq!(asked, 1, "a key is asked for again");
        }
        rotation.account.server.heal();
        rotation.play_on(&rotator, &STEPS).await;
        rotation.ends(&rotator).await;
    })
    .await;
}
