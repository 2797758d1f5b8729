//! The broker key while it is rotated: the real rotator against one account, played as Secrets Manager, EventBridge and
//! CloudFormation play it.

mod broker;
mod crashes;
mod faults;
mod hourly;
mod in_process;
mod logs;
mod overlaps;
mod repeats;
mod soak;
mod stack;
mod start;
mod steps;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, stream};
use serde_json::{Value, json};

use self::in_process::InProcess;
use hallpass_testing::aws::account::Account;
use hallpass_testing::aws::iam::BROKER_USER;
use hallpass_testing::aws::secretsmanager::SECRET_ARN;
use hallpass_testing::function::Function;
use hallpass_testing::runtime_api::Outcome;
use hallpass_testing::world::{FUNCTION_KEY, FUNCTION_SECRET, FUNCTION_SESSION_TOKEN};

/// The steps of a rotation, in their order.
const STEPS: [&str; 4] = ["createSecret", "setSecret", "testSecret", "finishSecret"];

/// More than a step takes when nothing fails, and enough to give up in when something hangs.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// At this age a key that no version holds was abandoned. A busy machine takes some seconds for a test.
const ABANDONED: Duration = Duration::from_secs(15 * 60 + 1);

/// What the rotator says when a key may still belong to another invocation.
const TOO_YOUNG: &str = "too young to be deleted";

/// How many cases of one test run at once: most of their time is spent waiting.
const CASES_AT_ONCE: usize = 24;

/// What there is when a rotation begins.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Start {
    /// A secret without any version.
    NoVersion,
    /// The placeholder, and no key.
    Placeholder,
    /// The placeholder, and two keys that were made and lost in crashes.
    PlaceholderAndOrphans,
    /// A current key, the only one.
    OneKey,
    /// A current key, and the one before it.
    TwoKeys,
    /// A current key, and one that was made and lost in a crash.
    OneKeyAndOrphan,
}

impl Start {
    const ALL: [Self; 6] = [
        Self::NoVersion,
        Self::Placeholder,
        Self::PlaceholderAndOrphans,
        Self::OneKey,
        Self::TwoKeys,
        Self::OneKeyAndOrphan,
    ];

    fn set_up(self, account: &Account) {
        if self != Self::NoVersion {
            account.hold_placeholder();
        }
        match self {
            Self::NoVersion | Self::Placeholder => {}
            Self::PlaceholderAndOrphans => {
                account.make_orphan();
                account.make_orphan();
            }
            Self::OneKey => {
                account.hold_new_key();
            }
            Self::TwoKeys => {
                account.hold_new_key();
                account.hold_new_key();
            }
            Self::OneKeyAndOrphan => {
                account.hold_new_key();
                account.make_orphan();
            }
        }
    }
}

/// What plays the steps: a process of the rotator, or the same code in the test's own.
trait Rotates {
    async fn invoke(&self, event: &Value) -> Outcome;

    /// The time that one event has, from the next one on.
    fn set_time_limit(&self, limit: Duration);
}

impl Rotates for Function {
    async fn invoke(&self, event: &Value) -> Outcome {
        self.invoke(event).await
    }

    fn set_time_limit(&self, limit: Duration) {
        self.runtime.set_time_limit(limit);
    }
}

/// A rotation that Secrets Manager has just begun.
struct Rotation {
    account: Account,
    environment: BTreeMap<String, String>,
    token: String,
    /// The version that was current, and its key.
    before: (Option<String>, Option<String>),
}

impl Rotation {
    async fn new(start: Start) -> Self {
        let account = Account::start().await;
        start.set_up(&account);
        // As in AWS: what is current too early is a key that STS does not take.
        account.know_new_keys(&[false]);
        Self::of(account)
    }

    fn of(account: Account) -> Self {
        let before = (account.version_under("AWSCURRENT"), account.key_under("AWSCURRENT"));
        let token = account.rotate().unwrap();
        Self { environment: environment(&account), account, token, before }
    }

    /// The next rotation, which begins when this one has finished.
    fn next(self) -> Self {
        let next = Self::of(self.account);
        Self { environment: self.environment, ..next }
    }

    /// A new process of the rotator, which waits for an event.
    async fn rotator(&self) -> Function {
        rotator(&self.environment).await
    }

    /// A rotator without a process of its own.
    fn in_process(&self) -> InProcess {
        InProcess::new(&self.account)
    }

    /// The event of a step.
    fn event(&self, step: &str) -> Value {
        json!({"Step": step, "SecretId": SECRET_ARN, "ClientRequestToken": self.token})
    }

    async fn step(&self, rotator: &impl Rotates, step: &str) -> Outcome {
        rotator.invoke(&self.event(step)).await
    }

    /// Plays these steps, each of which succeeds.
    async fn play(&self, rotator: &impl Rotates, steps: &[&str]) {
        for step in steps {
            let outcome = self.step(rotator, step).await;
            assert!(outcome.is_ok(), "{step}: {outcome:?}\n{:#?}", self.account.operations());
        }
    }

    /// The same after something went wrong, which may have left a key that is too young to be deleted: then nothing
    /// happens until it is not.
    async fn play_on(&self, rotator: &impl Rotates, steps: &[&str]) {
        let before = self.account.sight();
        match self.step(rotator, steps[0]).await {
            Err(error) if error.to_string().contains(TOO_YOUNG) => {
                assert_eq!(self.account.sight(), before);
                self.account.age(ABANDONED);
                self.play(rotator, steps).await;
            }
            outcome => {
                assert!(outcome.is_ok(), "{}: {outcome:?}\n{:#?}", steps[0], self.account.operations());
                self.play(rotator, &steps[1..]).await;
            }
        }
    }

    /// Asserts that the rotation has finished, and that the next one leaves no other key than its own and the one before.
    async fn ends(self, rotator: &impl Rotates) {
        self.assert_current();
        self.account.age(ABANDONED);
        let next = self.next();
        next.play(rotator, &STEPS).await;
        next.assert_finished();
    }

    /// A process that has played these steps, and all that was asked so far is forgotten.
    async fn played(start: Start, steps: &[&str]) -> (Self, Function) {
        let rotation = Self::new(start).await;
        let rotator = rotation.rotator().await;
        rotation.play(&rotator, steps).await;
        rotation.account.server.forget_calls();
        (rotation, rotator)
    }

    /// The same without a process of its own.
    async fn played_in_process(start: Start, steps: &[&str]) -> (Self, InProcess) {
        let rotation = Self::new(start).await;
        let rotator = rotation.in_process();
        rotation.play(&rotator, steps).await;
        rotation.account.server.forget_calls();
        (rotation, rotator)
    }

    /// Asserts that a step fails, and that nothing has changed.
    async fn refuses(&self, rotator: &impl Rotates, event: &Value) {
        let before = self.account.sight();
        let outcome = rotator.invoke(event).await;
        assert!(outcome.is_err(), "{event}: {outcome:?}");
        assert_eq!(self.account.sight(), before, "{event}");
    }

    /// Asserts the one state that every rotation is to end in: the new key is current and works, the one before it is
    /// kept, there is no other, and the next rotation can begin.
    fn assert_finished(&self) {
        self.assert_current();
        let (_, before) = &self.before;
        let current = self.account.key_under("AWSCURRENT").unwrap();
        assert_ne!(before.as_ref(), Some(&current));
        let keys: BTreeMap<String, bool> = before.iter().chain([&current]).map(|id| (id.clone(), true)).collect();
        assert_eq!(self.account.sight().keys, keys);
    }

    /// Asserts that the new key is current, that the one before it can be gone back to, and that the next rotation can
    /// begin; there may be a key that nobody knows of.
    fn assert_current(&self) {
        let account = &self.account;
        account.assert_sound();
        assert_eq!(account.version_under("AWSCURRENT").as_ref(), Some(&self.token), "{:#?}", account.sight());
        assert!(account.is_current_taken(), "{:#?}", account.sight());
        assert_eq!(account.version_under("AWSPREVIOUS"), self.before.0);
        let pending = account.version_under("AWSPENDING");
        assert!(pending.is_none_or(|version| version == self.token), "{:#?}", account.sight());
    }
}

/// What the rotator of this account is started with.
fn environment(account: &Account) -> BTreeMap<String, String> {
    let url = account.server.url();
    let variables = [
        ("HALLPASS_BROKER_KEY", SECRET_ARN),
        ("SSL_CERT_FILE", hallpass_testing::CERTIFICATES),
        ("HALLPASS_BROKER_USER", BROKER_USER),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", FUNCTION_KEY),
        ("AWS_SECRET_ACCESS_KEY", FUNCTION_SECRET),
        ("AWS_SESSION_TOKEN", FUNCTION_SESSION_TOKEN),
        ("AWS_ENDPOINT_URL_IAM", &url),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &url),
        ("AWS_ENDPOINT_URL_STS", &url),
        ("AWS_LAMBDA_FUNCTION_NAME", "hallpass-rotator"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/hallpass-rotator"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "2026/11/22/[$LATEST]00000000000000000000000000000000"),
    ];
    variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Spawns the rotator.
async fn spawn(environment: &BTreeMap<String, String>) -> Function {
    Function::spawn(Path::new(env!("CARGO_BIN_EXE_rotator")), environment).await
}

/// Spawns the rotator and waits until it asks for its first event.
async fn rotator(environment: &BTreeMap<String, String>) -> Function {
    let rotator = spawn(environment).await;
    rotator.runtime.set_time_limit(TIME_LIMIT);
    rotator.started().await;
    rotator
}

/// Runs cases side by side, all of them also when some fail.
async fn each<N: Debug, F: Future<Output = ()>>(cases: impl IntoIterator<Item = (N, F)>) {
    each_of(cases, CASES_AT_ONCE).await;
}

/// The same with so many at once.
async fn each_of<N: Debug, F: Future<Output = ()>>(cases: impl IntoIterator<Item = (N, F)>, at_once: usize) {
    let run = cases.into_iter().map(|(name, case)| async move {
        let panic = AssertUnwindSafe(case).catch_unwind().await.err()?;
        let message = panic.downcast_ref::<String>().cloned().unwrap_or_default();
        Some(format!("{name:?}: {}", message.lines().next().unwrap_or_default()))
    });
    let outcomes: Vec<Option<String>> = stream::iter(run).buffer_unordered(at_once).collect().await;
    let failed: Vec<&String> = outcomes.iter().flatten().collect();
    assert!(failed.is_empty(), "{} of {} cases failed: {failed:#?}", failed.len(), outcomes.len());
    assert!(!outcomes.is_empty(), "there was no case");
}
