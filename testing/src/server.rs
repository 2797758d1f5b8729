//! How do the services around the function behave, and misbehave, on the wire?
//!
//! One small HTTP server on a loopback port of its own. It records what it is asked, answers through a [`Handle`],
//! and can be told to fail instead: once, some times, or until it is healed.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::future::{Future, pending};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, io};

use futures_util::future::BoxFuture;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

/// More than anything takes that is ever waited for.
const PATIENCE: Duration = Duration::from_mins(2);

/// A request as it came over the wire.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: String,
    pub path: String,
    headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Call {
    /// Reads a request.
    ///
    /// # Errors
    /// The body ends too early.
    pub async fn read<B>(request: Request<B>) -> io::Result<Self>
    where
        B: hyper::body::Body<Error: Into<Box<dyn Error + Send + Sync>>>,
    {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let path = head.uri.path_and_query().map_or_else(String::new, ToString::to_string);
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect();
        Ok(Self { method: head.method.to_string(), path, headers, body })
    }

    /// A header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null where it is not.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The fields of an `application/x-www-form-urlencoded` body.
    pub fn form(&self) -> BTreeMap<String, String> {
        url::form_urlencoded::parse(&self.body).into_owned().collect()
    }

    /// The operation: what `x-amz-target` names behind the service in a JSON protocol, or the Query protocol's `Action`.
    pub fn operation(&self) -> Option<&str> {
        match self.header("x-amz-target") {
            Some(target) => target.split_once('.').map(|(_, operation)| operation),
            None => str::from_utf8(&self.body).ok()?.split('&').find_map(|field| field.strip_prefix("Action=")),
        }
    }

    /// The access key id that signed this call (Signature Version 4); empty where none did.
    pub fn access_key(&self) -> &str {
        self.credential().next().unwrap_or_default()
    }

    /// The service that this call was signed for; empty where it was not signed.
    pub fn service(&self) -> &str {
        self.credential().nth(3).unwrap_or_default()
    }

    /// `KEY/DATE/REGION/SERVICE/aws4_request`
    fn credential(&self) -> impl Iterator<Item = &str> {
        let credential = self.header("authorization").and_then(|value| value.split_once("Credential="));
        let credential = credential.and_then(|(_, rest)| rest.split(',').next()).unwrap_or_default();
        credential.split('/')
    }
}

/// What a server answers.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Reply {
    /// An answer with a body of this media type.
    pub fn new(status: u16, content_type: &str, body: impl Into<String>) -> Self {
        Self { status, headers: vec![("content-type", content_type.to_owned())], body: body.into() }
    }

    /// The same with one header more.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// What a server does instead of answering.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Answers this, whatever was asked.
    Answers(Reply),
    /// Answers as it should, but late.
    Slow(Duration),
    /// Takes the request, and neither does nor answers anything until [`Server::release`]. Then it does what was asked,
    /// also if nobody waits for the answer any more.
    Hangs,
    /// Takes the request and resets the connection.
    Resets,
    /// Does what is asked, and resets the connection instead of saying so.
    LosesAnswer,
    /// Does what is asked, and does not say so until [`Server::release`].
    KeepsAnswer,
    /// Sends half of what it should, and resets the connection.
    Truncates,
    /// Sends byte after byte, and never ends.
    Drips,
}

/// The sound behaviour of a server.
pub trait Handle: Send + Sync + 'static {
    /// The answer to one call.
    fn answer(&self, call: Call) -> impl Future<Output = Reply> + Send;
}

/// A listening server; it stops with the test's runtime.
#[derive(Clone, Debug)]
pub struct Server {
    address: SocketAddr,
    wire: Arc<Wire>,
    desk: Desk,
}

/// Where a call is met, whichever way it came.
#[derive(Clone)]
struct Desk(Arc<dyn Fn(Call) -> BoxFuture<'static, io::Result<Response<Body>>> + Send + Sync>);

#[derive(Debug, Default)]
struct Wire {
    calls: Mutex<Vec<Call>>,
    next_faults: Mutex<VecDeque<Planned>>,
    lasting_fault: Mutex<Option<Fault>>,
    /// How many calls were left without an answer, at least for a time.
    held: watch::Sender<usize>,
    release: Notify,
    connections: Mutex<Vec<AbortHandle>>,
    opened: AtomicUsize,
    open: watch::Sender<usize>,
    /// Connections with a smaller number swallow what they are sent.
    first_alive: AtomicUsize,
    in_flight: AtomicUsize,
    peak: AtomicUsize,
}

/// A fault, and the call that it is for.
#[derive(Debug)]
struct Planned {
    /// Any, where there is none.
    operation: Option<String>,
    /// No call before this one, as [`Server::calls`] counts them from 0.
    from: usize,
    fault: Fault,
}

impl Server {
    /// Listens on a free loopback port.
    pub async fn start(handler: impl Handle) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let wire = Arc::new(Wire::default());
        let desk = Desk::of(Arc::clone(&wire), Arc::new(handler));
        tokio::spawn({
            let (wire, desk) = (Arc::clone(&wire), desk.clone());
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let number = wire.opened.fetch_add(1, Ordering::SeqCst);
                    let task = tokio::spawn(serve(stream, number, Arc::clone(&wire), desk.clone()));
                    lock(&wire.connections).push(task.abort_handle());
                }
            }
        });
        Self { address, wire, desk }
    }

    /// Asks without a connection, for clients in the test's own process: nothing waits for a network, so a test may hold
    /// the clock still. Calls and faults are the same.
    ///
    /// # Errors
    /// What a connection that is reset comes to.
    pub fn ask(&self, call: Call) -> impl Future<Output = io::Result<Response<Body>>> + Send + 'static {
        (self.desk.0)(call)
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything asked so far, also what was met with a fault.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.wire.calls).clone()
    }

    /// Forgets the calls so far.
    pub fn forget_calls(&self) {
        lock(&self.wire.calls).clear();
        self.wire.held.send_replace(0);
    }

    /// Meets the next `times` calls with this fault.
    pub fn fail_times(&self, times: usize, fault: &Fault) {
        self.plan(None, 0, times, fault);
    }

    /// Meets the next `times` calls of one operation with this fault.
    pub fn fail_operation(&self, operation: &str, times: usize, fault: &Fault) {
        self.fail_operation_from(0, operation, times, fault);
    }

    /// Meets `times` calls of one operation with this fault, none of them before the call of this number, as
    /// [`Self::calls`] counts them from 0.
    pub fn fail_operation_from(&self, number: usize, operation: &str, times: usize, fault: &Fault) {
        self.plan(Some(operation), number, times, fault);
    }

    /// Meets the call of this number with this fault, as [`Self::calls`] counts them from 0.
    pub fn fail_call(&self, number: usize, fault: &Fault) {
        self.plan(None, number, 1, fault);
    }

    fn plan(&self, operation: Option<&str>, from: usize, times: usize, fault: &Fault) {
        let plan = |_| Planned { operation: operation.map(str::to_owned), from, fault: fault.clone() };
        lock(&self.wire.next_faults).extend((0..times).map(plan));
    }

    /// Meets every call with this fault until healed.
    pub fn fail_always(&self, fault: &Fault) {
        *lock(&self.wire.lasting_fault) = Some(fault.clone());
    }

    /// Ends all faults.
    pub fn heal(&self) {
        lock(&self.wire.next_faults).clear();
        *lock(&self.wire.lasting_fault) = None;
    }

    /// Resets every open connection.
    pub fn kill_connections(&self) {
        for connection in lock(&self.wire.connections).drain(..) {
            connection.abort();
        }
    }

    /// Leaves every open connection open but deaf, as a NAT gateway does that has forgotten it.
    pub fn deafen_connections(&self) {
        self.wire.first_alive.store(self.opened(), Ordering::SeqCst);
    }

    /// Pends until a call was left without an answer, by [`Fault::Hangs`] or [`Fault::KeepsAnswer`].
    pub async fn held(&self) {
        self.held_are(1).await;
    }

    /// Pends until so many calls were left without an answer.
    pub async fn held_are(&self, calls: usize) {
        let mut held = self.wire.held.subscribe();
        let are_held = tokio::time::timeout(PATIENCE, held.wait_for(|held| *held >= calls)).await;
        are_held.expect("calls that are held").unwrap();
    }

    /// Goes on with the one call that was left without an answer first.
    pub fn release_first(&self) {
        self.wire.release.notify_one();
    }

    /// Goes on with every call that was left without an answer so far.
    pub fn release(&self) {
        self.wire.release.notify_waiters();
    }

    /// How many connections were ever opened.
    pub fn opened(&self) -> usize {
        self.wire.opened.load(Ordering::SeqCst)
    }

    /// Pends until no connection is open.
    pub async fn all_closed(&self) {
        let mut open = self.wire.open.subscribe();
        tokio::time::timeout(PATIENCE, open.wait_for(|open| *open == 0))
            .await
            .expect("every connection closed")
            .unwrap();
    }

    /// The most calls that were in flight at one time.
    pub fn peak(&self) -> usize {
        self.wire.peak.load(Ordering::SeqCst)
    }
}

impl Wire {
    /// Records a call, and says the how many-th it is, from 0.
    fn record(&self, call: Call) -> usize {
        let mut calls = lock(&self.calls);
        calls.push(call);
        calls.len() - 1
    }

    fn next_fault(&self, number: usize, call: &Call) -> Option<Fault> {
        let mut faults = lock(&self.next_faults);
        let is_meant = |planned: &Planned| {
            planned.from <= number
                && planned.operation.as_deref().is_none_or(|operation| call.operation() == Some(operation))
        };
        let once = faults.iter().position(is_meant).and_then(|index| faults.remove(index));
        once.map(|planned| planned.fault).or_else(|| lock(&self.lasting_fault).clone())
    }

    async fn hold(&self) {
        let mut released = pin!(self.release.notified());
        released.as_mut().enable();
        self.held.send_modify(|held| *held += 1);
        released.await;
    }
}

/// Locks, also after another thread of the test has panicked.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    fn of(wire: Arc<Wire>, handler: Arc<impl Handle>) -> Self {
        Self(Arc::new(move |call| Box::pin(meet(call, Arc::clone(&wire), Arc::clone(&handler)))))
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Desk")
    }
}

/// Answers a call, or does what was planned for it.
async fn meet(call: Call, wire: Arc<Wire>, handler: Arc<impl Handle>) -> io::Result<Response<Body>> {
    let number = wire.record(call.clone());
    let fault = wire.next_fault(number, &call);
    let _in_flight = InFlight::enter(&wire);
    match fault {
        Some(Fault::Hangs) => {
            let wire = Arc::clone(&wire);
            let late = tokio::spawn(async move {
                wire.hold().await;
                handler.answer(call).await
            });
            Ok(response(late.await.map_err(io::Error::other)?))
        }
        Some(Fault::KeepsAnswer) => {
            let reply = handler.answer(call).await;
            wire.hold().await;
            Ok(response(reply))
        }
        Some(Fault::Resets) => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
        Some(Fault::LosesAnswer) => {
            handler.answer(call).await;
            Err(io::Error::from(io::ErrorKind::ConnectionReset))
        }
        Some(Fault::Answers(reply)) => Ok(response(reply)),
        Some(Fault::Slow(delay)) => {
            tokio::time::sleep(delay).await;
            Ok(response(handler.answer(call).await))
        }
        Some(Fault::Truncates) => Ok(truncated(handler.answer(call).await)),
        Some(Fault::Drips) => Ok(Response::new(StreamBody::new(drops()).boxed())),
        None => Ok(response(handler.answer(call).await)),
    }
}

async fn serve(stream: TcpStream, number: usize, wire: Arc<Wire>, desk: Desk) {
    // Whatever ends the connection from here, the peer sees a reset.
    stream.set_zero_linger().unwrap();
    stream.set_nodelay(true).unwrap();
    let _open = Open::count(Arc::clone(&wire));
    let service = service_fn(|request: Request<Incoming>| {
        let (wire, desk) = (Arc::clone(&wire), desk.clone());
        async move {
            let call = Call::read(request).await?;
            if number < wire.first_alive.load(Ordering::SeqCst) {
                wire.record(call);
                return pending().await;
            }
            (desk.0)(call).await
        }
    });
    // The error is the fault that the test asked for, or the function's end.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// The body of an answer.
pub type Body = BoxBody<Bytes, io::Error>;

fn response(reply: Reply) -> Response<Body> {
    let body = Full::from(reply.body.clone()).map_err(|never| match never {}).boxed();
    with_body(reply, body)
}

/// Half of the body, though the length of all of it is announced.
fn truncated(reply: Reply) -> Response<Body> {
    let half = Bytes::copy_from_slice(&reply.body.as_bytes()[..reply.body.len().div_euclid(2)]);
    let length = reply.body.len().to_string();
    let broken = async {
        // What is reset at once may be lost whole.
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    };
    let sent = stream::once(async { Ok(Frame::data(half)) });
    let body = StreamBody::new(stream::StreamExt::chain(sent, stream::once(broken))).boxed();
    with_body(reply.header("content-length", length), body)
}

fn drops() -> impl stream::Stream<Item = io::Result<Frame<Bytes>>> {
    stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Some((Ok(Frame::data(Bytes::from_static(b" "))), ()))
    })
}

fn with_body(reply: Reply, body: Body) -> Response<Body> {
    let response = reply
        .headers
        .into_iter()
        .fold(Response::builder().status(reply.status), |response, (name, value)| response.header(name, value));
    response.body(body).unwrap()
}

struct Open(Arc<Wire>);

impl Open {
    fn count(wire: Arc<Wire>) -> Self {
        wire.open.send_modify(|open| *open += 1);
        Self(wire)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

struct InFlight<'a>(&'a Wire);

impl<'a> InFlight<'a> {
    fn enter(wire: &'a Wire) -> Self {
        let before = wire.in_flight.fetch_add(1, Ordering::SeqCst);
        wire.peak.fetch_max(before.saturating_add(1), Ordering::SeqCst);
        Self(wire)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}
