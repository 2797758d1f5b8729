//! How does the command ask for its credentials?
//!
//! As in a container: over HTTP on this machine, with a token. A page of the web knows neither path nor token, and comes
//! with another `Host` if it has made its own name lead here; another user of the machine sees the port, and no more.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::super::secret::{expose, random_text, same};
use super::super::session::Cached;
use super::super::trouble::Trouble;
use super::super::world::World;

/// SDKs stop waiting after one or two seconds.
const WAIT: Duration = Duration::from_millis(900);
/// Commands keep a connection for some calls.
const IDLE: Duration = Duration::from_mins(1);
/// More than a command has threads that ask at once.
const MAX_CONNECTIONS: usize = 256;

/// The endpoint of one command.
#[derive(Debug)]
pub(super) struct Endpoint {
    listener: TcpListener,
    desk: Arc<Desk>,
}

#[derive(Debug)]
struct Desk {
    host: String,
    path: String,
    token: String,
    held: watch::Sender<Cached>,
    /// Somebody was served old credentials.
    wanted: Notify,
    world: World,
}

impl Endpoint {
    /// Listens on a free port of this machine.
    pub(super) async fn bind(first: Cached, world: &World) -> Result<Self, Trouble> {
        let failed = |error: std::io::Error| Trouble::failed(format!("cannot listen on this machine: {error}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let host = listener.local_addr().map_err(failed)?.to_string();
        let (path, token) = (format!("/{}", random_text()?), random_text()?);
        let desk =
            Desk { host, path, token, held: watch::Sender::new(first), wanted: Notify::new(), world: world.clone() };
        Ok(Self { listener, desk: Arc::new(desk) })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}{}", self.desk.host, self.desk.path)
    }

    pub(super) fn token(&self) -> &str {
        &self.desk.token
    }

    pub(super) fn is_fresh(&self, now: i64) -> bool {
        self.desk.held.borrow().is_fresh(now)
    }

    pub(super) fn fill(&self, cached: Cached) {
        self.desk.held.send_replace(cached);
    }

    /// Waits for this time, or until the command asks and there is nothing fresh.
    pub(super) async fn tick(&self, time: Duration) {
        let _ = tokio::time::timeout(time, self.desk.wanted.notified()).await;
    }

    /// Answers, until it is dropped.
    pub(super) async fn serve(&self) {
        let (mut connections, mut order) = (JoinSet::new(), VecDeque::new());
        loop {
            tokio::select! {
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept() => {
                    let Ok((stream, _)) = accepted else {
                        // Out of descriptors: the next attempt may find one.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    };
                    // A new one asks at once. Those of a stranger who says nothing must not keep it out.
                    order.retain(|connection: &AbortHandle| !connection.is_finished());
                    if order.len() >= MAX_CONNECTIONS && let Some(oldest) = order.pop_front() {
                        oldest.abort();
                    }
                    let desk = Arc::clone(&self.desk);
                    let service = service_fn(move |request: Request<Incoming>| {
                        let desk = Arc::clone(&desk);
                        async move { Ok::<_, hyper::Error>(desk.answer(&request).await) }
                    });
                    order.push_back(connections.spawn(async move {
                        let mut server = http1::Builder::new();
                        server.timer(TokioTimer::new()).header_read_timeout(IDLE);
                        // How a connection ends is the command's business.
                        let _ = server.serve_connection(TokioIo::new(stream), service).await;
                    }));
                }
            }
        }
    }
}

impl Desk {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let header = |name: header::HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
        let is_here = header(header::HOST) == Some(&self.host) && same(request.uri().path(), &self.path);
        if !is_here || *request.method() != Method::GET || header(header::ORIGIN).is_some() {
            return answer(StatusCode::NOT_FOUND, &json!({"code": "NotFound", "message": "there is nothing here"}));
        }
        if !header(header::AUTHORIZATION).is_some_and(|token| same(token, &self.token)) {
            return answer(
                StatusCode::FORBIDDEN,
                &json!({"code": "Forbidden", "message": "the token is not the one of this command"}),
            );
        }
        let mut held = self.held.subscribe();
        if !held.borrow_and_update().is_fresh(self.world.seconds()) {
            self.wanted.notify_one();
            // What is there serves, if nothing new comes in time.
            let _ = tokio::time::timeout(WAIT, held.changed()).await;
        }
        let cached = held.borrow();
        if !cached.lasts(0, self.world.seconds()) {
            let message = "the credentials have expired and cannot be renewed; the terminal says why";
            return answer(StatusCode::SERVICE_UNAVAILABLE, &json!({"code": "Expired", "message": message}));
        }
        let credentials = &cached.credentials;
        let body = json!({
            "AccessKeyId": credentials.access_key_id,
            "SecretAccessKey": expose(&credentials.secret_access_key),
            "Token": expose(&credentials.session_token),
            "Expiration": credentials.expiration,
            "AccountId": credentials.account_id,
        });
        answer(StatusCode::OK, &body)
    }
}

fn answer(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}
