//! What does Lambda hand the function, and what does it get back?
//!
//! The Lambda Runtime API: events go out by long poll, responses and errors come in.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use super::server::{Call, Handle, Reply, Server, lock};

const PREFIX: &str = "/2018-06-01/runtime";

/// The function's time limit, unless a test sets another: what the template sets for the broker, which never comes near
/// it.
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(10);

/// No two invocations of a test have one id, whichever environment serves them.
static NEXT_ID: AtomicUsize = AtomicUsize::new(1);

/// The Lambda service, as one execution environment sees it.
#[derive(Debug)]
pub struct RuntimeApi {
    pub server: Server,
    state: Arc<State>,
    events: mpsc::UnboundedSender<Event>,
}

#[derive(Debug)]
struct State {
    queue: tokio::sync::Mutex<mpsc::UnboundedReceiver<Event>>,
    waiting: Mutex<HashMap<String, oneshot::Sender<Outcome>>>,
    first_poll: watch::Sender<Option<Instant>>,
    init_errors: Mutex<Vec<Value>>,
    time_limit: Mutex<Duration>,
}

#[derive(Debug)]
struct Event {
    id: String,
    payload: String,
}

/// The function's response to one invocation, or its failure, which no request may ever cause.
pub type Outcome = Result<Value, Value>;

impl RuntimeApi {
    pub async fn start() -> Self {
        let (events, queue) = mpsc::unbounded_channel();
        let state = Arc::new(State {
            queue: tokio::sync::Mutex::new(queue),
            waiting: Mutex::default(),
            first_poll: watch::Sender::new(None),
            init_errors: Mutex::default(),
            time_limit: Mutex::new(FUNCTION_TIMEOUT),
        });
        Self { server: Server::start(Arc::clone(&state)).await, state, events }
    }

    /// When the function first asked for an event; pends until it does.
    pub async fn first_poll(&self) -> Instant {
        let mut polls = self.polls();
        let polled = polls.wait_for(Option::is_some).await.unwrap();
        polled.unwrap()
    }

    /// When the function first asked for an event, if it has; also after this API is gone.
    pub fn polls(&self) -> watch::Receiver<Option<Instant>> {
        self.state.first_poll.subscribe()
    }

    /// The errors of initialization that the function reported.
    pub fn init_errors(&self) -> Vec<Value> {
        lock(&self.state.init_errors).clone()
    }

    /// The time that the function has for one event.
    pub fn time_limit(&self) -> Duration {
        *lock(&self.state.time_limit)
    }

    /// Sets the time that the function has for one event, from the next one on.
    pub fn set_time_limit(&self, limit: Duration) {
        *lock(&self.state.time_limit) = limit;
    }

    /// Hands one event to the function and waits for the outcome.
    pub async fn invoke(&self, payload: String) -> Outcome {
        let id = format!("00000000-0000-4000-8000-{:012}", NEXT_ID.fetch_add(1, Ordering::SeqCst));
        let (outcome, answer) = oneshot::channel();
        lock(&self.state.waiting).insert(id.clone(), outcome);
        self.events.send(Event { id, payload }).unwrap();
        answer.await.unwrap()
    }
}

impl State {
    async fn next(&self) -> Reply {
        self.first_poll.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert_with(Instant::now);
            is_first
        });
        let Some(event) = self.queue.lock().await.recv().await else { return Reply::new(500, "text/plain", "") };
        let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + *lock(&self.time_limit);
        Reply::new(200, "application/json", event.payload)
            .header("lambda-runtime-aws-request-id", event.id)
            .header("lambda-runtime-deadline-ms", deadline.as_millis().to_string())
            .header(
                "lambda-runtime-invoked-function-arn",
                "arn:aws:lambda:eu-central-1:111122223333:function:hallpass-broker",
            )
            .header("lambda-runtime-trace-id", "Root=1-00000000-000000000000000000000000;Sampled=0")
    }

    fn settle(&self, id: &str, outcome: Outcome) -> Reply {
        match lock(&self.waiting).remove(id) {
            // A test that has stopped waiting does not care.
            Some(waiting) => drop(waiting.send(outcome)),
            None => return Reply::new(400, "application/json", r#"{"errorType":"InvalidRequestID"}"#),
        }
        Reply::new(202, "application/json", r#"{"status":"OK"}"#)
    }
}

impl Handle for Arc<State> {
    async fn answer(&self, call: Call) -> Reply {
        let path = call.path.strip_prefix(PREFIX).unwrap_or_default();
        match [call.method.as_str()].into_iter().chain(path.split('/').skip(1)).collect::<Vec<_>>().as_slice() {
            ["GET", "invocation", "next"] => self.next().await,
            ["POST", "invocation", id, "response"] => self.settle(id, Ok(call.json())),
            ["POST", "invocation", id, "error"] => self.settle(id, Err(call.json())),
            ["POST", "init", "error"] => {
                lock(&self.init_errors).push(call.json());
                Reply::new(202, "application/json", r#"{"status":"OK"}"#)
            }
            _ => Reply::new(404, "application/json", "{}"),
        }
    }
}
