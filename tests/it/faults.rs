//! What becomes of a request while something around the function fails, and how soon.

use std::time::Duration;

use serde_json::json;

use hallpass_testing::answer::Answer;
use hallpass_testing::aws::dynamodb;
use hallpass_testing::aws::query;
use hallpass_testing::aws::secretsmanager;
use hallpass_testing::events::Event;
use hallpass_testing::function::Function;
use hallpass_testing::server::{Fault, Reply, Server};
use hallpass_testing::world::World;

/// DESIGN's 1.5 s for a whole request and a margin for a busy machine: botocore gives up at 2 s.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// DESIGN's 600 ms for the first poll and a margin for a busy machine. It stays under the 5 s of a provider's fetch.
const POLLED_WITHIN: Duration = Duration::from_millis(950);

/// A busy machine only ever adds to a time: the best of these is the function's own.
const MEASUREMENTS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Upstream {
    Provider,
    DynamoDb,
    SecretsManager,
    Sts,
}

impl Upstream {
    const ALL: [Self; 4] = [Self::Provider, Self::DynamoDb, Self::SecretsManager, Self::Sts];

    fn server(self, world: &World) -> &Server {
        match self {
            Self::Provider => &world.provider.server,
            Self::DynamoDb => &world.dynamodb.server,
            Self::SecretsManager => &world.secrets.server,
            Self::Sts => &world.sts.server,
        }
    }

    /// What it says when it has too much to do, and when it is broken.
    fn errors(self) -> [Reply; 2] {
        match self {
            Self::Provider => [429, 503].map(|status| Reply::new(status, "text/html", "<h1>Sorry</h1>")),
            Self::DynamoDb => [
                dynamodb::error(400, "ProvisionedThroughputExceededException"),
                dynamodb::error(500, "InternalServerError"),
            ],
            Self::SecretsManager => {
                [secretsmanager::error(400, "ThrottlingException"), secretsmanager::error(500, "InternalServiceError")]
            }
            Self::Sts => [query::error(400, "Throttling"), query::error(500, "InternalFailure")],
        }
    }

    fn faults(self) -> [Fault; 4] {
        let [throttled, broken] = self.errors();
        [Fault::Answers(throttled), Fault::Answers(broken), Fault::Resets, Fault::Hangs]
    }

    fn refusal(self) -> &'static str {
        match self {
            Self::Provider => "identity_provider_unavailable",
            Self::DynamoDb | Self::SecretsManager | Self::Sts => "temporarily_unavailable",
        }
    }
}

#[tokio::test]
async fn one_failure_in_a_request_is_invisible() {
    let world = World::new().await;
    let function = world.start().await;
    for upstream in [Upstream::DynamoDb, Upstream::Sts] {
        for fault in upstream.faults() {
            upstream.server(&world).fail_times(1, &fault);
            let answer = function.call(world.request()).await;
            assert_eq!(answer.status, 200, "{upstream:?} {fault:?}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn one_failure_of_one_of_several_reads_is_invisible() {
    let world = World::new().await;
    let function = world.start().await;
    let groups: Vec<String> = (0..200).map(|number| format!("g{number}")).collect();
    for fault in Upstream::DynamoDb.faults() {
        world.dynamodb.server.fail_times(1, &fault);
        let answer = function.call(world.request_with(&world.claims_with("groups", groups.clone()))).await;
        assert_eq!(answer.status, 200, "{fault:?}: {answer:?}");
    }
}

#[tokio::test]
async fn dynamodb_failing_in_requests_is_told_in_time_and_passes() {
    fails_in_requests(Upstream::DynamoDb).await;
}

#[tokio::test]
async fn sts_failing_in_requests_is_told_in_time_and_passes() {
    fails_in_requests(Upstream::Sts).await;
}

#[tokio::test]
async fn secrets_manager_failing_when_a_key_is_refused_is_told_in_time() {
    for fault in Upstream::SecretsManager.faults() {
        let world = World::new().await;
        let function = world.start().await;
        world.secrets.server.fail_always(&fault);
        world.sts.server.fail_times(1, &Fault::Answers(query::error(403, "InvalidClientTokenId")));
        let answer = function.call(world.request()).await;
        assert!([500, 503].contains(&answer.status), "{fault:?}: {answer:?}");
        assert!(answer.took < ANSWERED_WITHIN, "{fault:?}: {answer:?}");
        function.call(world.request()).await.credentials();
    }
}

#[tokio::test]
async fn a_failing_call_is_made_twice_and_no_more() {
    for upstream in [Upstream::DynamoDb, Upstream::Sts] {
        for error in upstream.errors() {
            let world = World::new().await;
            let function = world.start().await;
            let server = upstream.server(&world);
            function.call(world.request()).await.credentials();
            server.fail_always(&Fault::Answers(error.clone()));
            server.forget_calls();
            function.call(world.request()).await.refusal(503, upstream.refusal());
            assert_eq!(server.calls().len(), 2, "{upstream:?} {error:?}");
        }
    }
}

#[tokio::test]
async fn one_failure_at_the_start_is_invisible() {
    for upstream in Upstream::ALL {
        for fault in upstream.faults() {
            // The one second that a request waits leaves no room for a second attempt at a silent provider.
            if matches!((upstream, &fault), (Upstream::Provider, Fault::Hangs)) {
                continue;
            }
            let world = World::new().await;
            upstream.server(&world).fail_times(1, &fault);
            let function = world.start().await;
            let answer = function.call(world.request()).await;
            assert_eq!(answer.status, 200, "{upstream:?} {fault:?}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn the_provider_failing_at_the_start_is_told_in_time() {
    fails_at_the_start(Upstream::Provider).await;
}

#[tokio::test]
async fn dynamodb_failing_at_the_start_is_told_in_time() {
    fails_at_the_start(Upstream::DynamoDb).await;
}

#[tokio::test]
async fn secrets_manager_failing_at_the_start_is_told_in_time() {
    fails_at_the_start(Upstream::SecretsManager).await;
}

#[tokio::test]
async fn sts_failing_at_the_start_is_told_in_time() {
    fails_at_the_start(Upstream::Sts).await;
}

#[tokio::test]
async fn everything_hanging_delays_neither_the_first_poll_nor_an_answer() {
    let mut polled = Duration::MAX;
    let mut answered = Duration::MAX;
    for _ in 0..MEASUREMENTS {
        let world = World::new().await;
        for upstream in Upstream::ALL {
            upstream.server(&world).fail_always(&Fault::Hangs);
        }
        let function = world.spawn().await;
        polled = polled.min(function.started().await);
        function.call(Event::get("/v1/health")).await.json();
        let answer = function.call(world.request()).await;
        answer.refusal(503, "identity_provider_unavailable");
        answered = answered.min(answer.took);
    }
    assert!(polled < POLLED_WITHIN, "first poll after {polled:?}");
    assert!(answered < ANSWERED_WITHIN, "answer after {answered:?}");
}

#[tokio::test]
async fn slow_upstreams_together_stay_within_the_deadline() {
    // Each call keeps within its own limit; all of them would take 2.4 s.
    let world = World::new().await;
    let function = world.start().await;
    world.dynamodb.server.fail_always(&Fault::Slow(Duration::from_millis(300)));
    world.sts.server.fail_always(&Fault::Hangs);
    let mut answered = Duration::MAX;
    for _ in 0..MEASUREMENTS {
        world.dynamodb.leave_unprocessed(&[1, 1, 1]);
        let answer = function.call(world.request()).await;
        answer.refusal(503, "temporarily_unavailable");
        answered = answered.min(answer.took);
    }
    assert!(answered < ANSWERED_WITHIN, "answer after {answered:?}");
}

#[tokio::test]
async fn spending_a_token_does_not_buy_time() {
    let mut world = World::new().await;
    world.trust_with(&json!({"single_use": true}));
    let function = world.start().await;
    let mut answered = Duration::MAX;
    for number in 0..MEASUREMENTS {
        world.dynamodb.server.heal();
        world.dynamodb.server.fail_operation("BatchGetItem", 1, &Fault::Slow(Duration::from_millis(300)));
        world.dynamodb.server.fail_operation("PutItem", 1, &Fault::Hangs);
        world.dynamodb.server.fail_operation("PutItem", 1, &Fault::Slow(Duration::from_millis(300)));
        world.sts.server.fail_always(&Fault::Hangs);
        let answer = function.call(world.request_with(&world.claims_with("jti", format!("token-{number}")))).await;
        answer.refusal(503, "temporarily_unavailable");
        answered = answered.min(answer.took);
    }
    assert!(answered < ANSWERED_WITHIN, "answer after {answered:?}");
}

#[tokio::test]
async fn after_a_long_outage_one_failure_is_invisible_again() {
    for upstream in [Upstream::DynamoDb, Upstream::Sts] {
        let world = World::new().await;
        let function = world.start().await;
        upstream.server(&world).fail_always(&Fault::Resets);
        for _ in 0..120 {
            function.call(world.request()).await.refusal(503, upstream.refusal());
        }
        upstream.server(&world).heal();
        // In an outage the SDK gives up retrying, which would only add to it, and takes it up again with a success.
        function.call(world.request()).await.credentials();
        for fault in upstream.faults() {
            upstream.server(&world).fail_times(1, &fault);
            function.call(world.request()).await.credentials();
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_not_one_is_a_failure_of_ours() {
    for upstream in [Upstream::DynamoDb, Upstream::Sts] {
        let world = World::new().await;
        let function = world.start().await;
        for reply in [
            Reply::new(200, "text/html", "<h1>Welcome to the proxy</h1>"),
            Reply::new(200, "application/json", "{}"),
            Reply::new(200, "text/xml", ""),
        ] {
            upstream.server(&world).fail_always(&Fault::Answers(reply.clone()));
            let answer = function.call(world.request()).await;
            assert!(answer.status >= 500, "{upstream:?} {reply:?}: {answer:?}");
        }
        upstream.server(&world).heal();
        function.call(world.request()).await.credentials();
    }
}

#[tokio::test]
async fn an_answer_longer_than_any_is_not_read_to_its_end() {
    let world = World::new().await;
    let function = world.start().await;
    // Read to its end it would say that there is no grant.
    let padded = format!("{{\"Responses\":{{}},\"padding\":\"{}\"}}", "a".repeat(25 << 20));
    let answer = Reply::new(200, "application/x-amz-json-1.0", padded);
    world.dynamodb.server.fail_always(&Fault::Answers(answer));
    function.call(world.request()).await.refusal(503, "temporarily_unavailable");
    world.dynamodb.server.heal();
    function.call(world.request()).await.credentials();
}

#[tokio::test]
async fn connections_that_were_reset_while_frozen_cost_nothing() {
    let world = World::new().await;
    let function = world.start().await;
    let groups: Vec<String> = (0..200).map(|number| format!("g{number}")).collect();
    for _ in 0..3 {
        let request = world.request_with(&world.claims_with("groups", groups.clone()));
        function.call(request.clone()).await.credentials();
        while_frozen(&function, || {
            for upstream in Upstream::ALL {
                upstream.server(&world).kill_connections();
            }
        })
        .await;
        function.call(request).await.credentials();
    }
}

#[tokio::test]
async fn connections_that_went_silent_while_frozen_cost_no_answer() {
    let world = World::new().await;
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    while_frozen(&function, || {
        for upstream in Upstream::ALL {
            upstream.server(&world).deafen_connections();
        }
    })
    .await;
    function.call(world.request()).await.credentials();
}

async fn fails_in_requests(upstream: Upstream) {
    let world = World::new().await;
    let function = world.start().await;
    for fault in upstream.faults() {
        upstream.server(&world).fail_always(&fault);
        let mut answered = Duration::MAX;
        for _ in 0..MEASUREMENTS {
            let answer = function.call(world.request()).await;
            refused(&answer, upstream, &fault);
            answered = answered.min(answer.took);
        }
        assert!(answered < ANSWERED_WITHIN, "{fault:?}: answer after {answered:?}");
        upstream.server(&world).heal();
        function.call(world.request()).await.credentials();
    }
}

async fn fails_at_the_start(upstream: Upstream) {
    for fault in upstream.faults() {
        let mut polled = Duration::MAX;
        let mut answered = Duration::MAX;
        for _ in 0..MEASUREMENTS {
            let world = World::new().await;
            upstream.server(&world).fail_always(&fault);
            let function = world.spawn().await;
            polled = polled.min(function.started().await);
            let answer = function.call(world.request()).await;
            refused(&answer, upstream, &fault);
            answered = answered.min(answer.took);
            upstream.server(&world).heal();
            if upstream != Upstream::Provider {
                function.call(world.request()).await.credentials();
            }
        }
        assert!(polled < POLLED_WITHIN, "{fault:?}: first poll after {polled:?}");
        assert!(answered < ANSWERED_WITHIN, "{fault:?}: answer after {answered:?}");
    }
}

fn refused(answer: &Answer, upstream: Upstream, fault: &Fault) {
    assert_eq!(answer.status, 503, "{upstream:?} {fault:?}: {answer:?}");
    answer.refusal(503, upstream.refusal());
}

/// Stops the process as Lambda freezes it, and wakes it after the change.
async fn while_frozen(function: &Function, change: impl FnOnce()) {
    function.signal("STOP");
    change();
    tokio::time::sleep(Duration::from_millis(200)).await;
    function.signal("CONT");
}
