//! How does the code get from the browser to the command?
//!
//! Over a listener on this machine (RFC 8252 §7.3), bound before the browser opens and kept until the code is there. Any
//! page of the web can send requests to it: they are answered 400, and the wait goes on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use url::{Host, Url};

use super::super::peer::is_ours;
use super::super::trouble::Trouble;
use super::callback::{Callback, Expected, judge};

/// A browser needs no longer to send its request, or to take the answer.
const CONNECTION_LIMIT: Duration = Duration::from_secs(10);
/// Browsers open a handful.
const MAX_CONNECTIONS: usize = 32;

/// The listener of one sign-in.
#[derive(Debug)]
pub(crate) struct Listener {
    sockets: Vec<TcpListener>,
    redirect: Url,
    /// Where the provider sends the browser, as it is sent: providers compare it as text.
    pub(crate) address: String,
}

impl Listener {
    /// Binds to the address `configured`, which is on this machine. Its port, if it has one, is the provider's choice;
    /// else `port` is taken, else a free one.
    ///
    /// # Errors
    /// [`Trouble`] if the redirect is somewhere else, or the port is taken.
    pub(crate) async fn bind(configured: &str, port: Option<u16>) -> Result<Self, Trouble> {
        let refused = || {
            Trouble::failed(
                "the server names a redirect that is not on this machine; ask its operator to fix `redirect_uri`",
            )
        };
        let mut redirect = Url::parse(configured).map_err(|_| refused())?;
        let hosts: Vec<IpAddr> = match redirect.host() {
            Some(Host::Ipv4(host)) if host == Ipv4Addr::LOCALHOST => vec![host.into()],
            Some(Host::Ipv6(host)) if host == Ipv6Addr::LOCALHOST => vec![host.into()],
            // A browser may try either, and the other one must not be somebody else's.
            Some(Host::Domain("localhost")) => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            _ => return Err(refused()),
        };
        if redirect.scheme() != "http" || redirect.query().is_some() || redirect.fragment().is_some() {
            return Err(refused());
        }
        let port = match (redirect.port(), port) {
            (Some(fixed), Some(wanted)) if fixed != wanted => {
                return Err(Trouble::Usage(format!("the identity provider knows only port {fixed}; leave --port out")));
            }
            (fixed, wanted) => fixed.or(wanted).unwrap_or(0),
        };
        let mut sockets: Vec<TcpListener> = Vec::new();
        for host in hosts {
            let known = sockets.first().and_then(|first| first.local_addr().ok()).map_or(port, |first| first.port());
            match TcpListener::bind(SocketAddr::new(host, known)).await {
                Ok(socket) => sockets.push(socket),
                // A machine without IPv6 has no such address.
                Err(error) if !sockets.is_empty() && is_of_no_address(&error) => {}
                Err(error) => {
                    let remedy = if redirect.port().is_some() {
                        "close the program that has it"
                    } else {
                        "choose another with --port"
                    };
                    return Err(Trouble::failed(format!("cannot listen on port {known}: {error}; {remedy}")));
                }
            }
        }
        let bound = sockets.first().and_then(|first| first.local_addr().ok()).map(|bound| bound.port());
        let is_fixed = redirect.port().is_some();
        redirect.set_port(bound).map_err(|()| refused())?;
        let has_path = redirect.path() != "/" || configured.ends_with('/');
        let address = match redirect.as_str() {
            _ if is_fixed => configured,
            whole if has_path => whole,
            whole => whole.trim_end_matches('/'),
        };
        Ok(Self { sockets, address: address.to_owned(), redirect })
    }

    /// The port.
    pub(crate) fn port(&self) -> u16 {
        self.redirect.port().unwrap_or(80)
    }

    /// Waits for the answer to the sign-in. There is none at `deadline`, unless it has come.
    pub(crate) async fn answer(&self, expected: &Expected, deadline: Instant) -> Option<Callback> {
        let (sender, mut receiver) = mpsc::channel(1);
        let desk = Arc::new(Desk {
            path: self.redirect.path().to_owned(),
            port: self.port(),
            expected: expected.clone(),
            sender,
        });
        let mut connections = JoinSet::new();
        loop {
            let accepted = async {
                match self.sockets.as_slice() {
                    [one, other] => {
                        tokio::select! { stream = one.accept() => stream, stream = other.accept() => stream }
                    }
                    [one, ..] => one.accept().await,
                    [] => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(callback) = receiver.recv() => {
                    // The page that says so is still on its way.
                    drop(tokio::time::timeout(Duration::from_millis(500), connections.join_all()).await);
                    return Some(callback);
                }
                () = tokio::time::sleep_until(deadline) => return None,
                Some(_) = connections.join_next() => {}
                accepted = accepted => {
                    let Ok((stream, _)) = accepted else {
                        // Out of descriptors: the next attempt may find one.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    };
                    // Another user who saw the address could send a code of their own.
                    if connections.len() < MAX_CONNECTIONS && is_ours(&stream) {
                        connections.spawn(serve(stream, Arc::clone(&desk)));
                    }
                }
            }
        }
    }
}

/// Whether this machine does not have the kind of address.
fn is_of_no_address(error: &std::io::Error) -> bool {
    // Where the kernel does not know IPv6 at all.
    #[cfg(unix)]
    let is_unknown = error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
    #[cfg(not(unix))]
    let is_unknown = error.raw_os_error() == Some(10_047);
    is_unknown || error.kind() == std::io::ErrorKind::AddrNotAvailable
}

struct Desk {
    path: String,
    port: u16,
    expected: Expected,
    sender: mpsc::Sender<Callback>,
}

async fn serve(stream: TcpStream, desk: Arc<Desk>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, hyper::Error>(desk.answer(&request)) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_LIMIT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Whatever ends the connection, the wait goes on.
    let _ = tokio::time::timeout(CONNECTION_LIMIT, serving).await;
}

impl Desk {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let callback = self.judge(request);
        let text = match &callback {
            Callback::Foreign(_) => return page(StatusCode::BAD_REQUEST, "This is not the answer to a sign-in."),
            Callback::Code(_) => "Hallpass has the answer. Close this page and go back to the terminal.",
            Callback::Refused(_) => "The sign-in failed. The terminal says why.",
        };
        // Only the first answer counts.
        let _ = self.sender.try_send(callback);
        page(StatusCode::OK, text)
    }

    fn judge(&self, request: &Request<Incoming>) -> Callback {
        // A name that was made to lead here is not ours (DNS rebinding).
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let is_ours = ["127.0.0.1", "[::1]", "localhost"].iter().any(|name| {
            host.strip_prefix(name)
                .is_some_and(|rest| rest == format!(":{}", self.port) || (self.port == 80 && rest.is_empty()))
        });
        if !is_ours || *request.method() != Method::GET || request.uri().path() != self.path {
            return Callback::Foreign("it is for somebody else");
        }
        judge(request.uri().query().unwrap_or_default(), &self.expected)
    }
}

/// A page that says one thing. Nothing that was sent comes back in it.
fn page(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let body = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Hallpass</title><p>{text}</p></html>\n"
    );
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, header::HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn expected() -> Expected {
        Expected { state: "s-1".into(), issuer: "https://login.example.com".into(), names_itself: false }
    }

    /// Sends one request, and returns the status line.
    async fn send(port: u16, head: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        stream.write_all(format!("{head}\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(!answer.contains("canary"), "{answer}");
        answer.lines().next().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn what_is_not_the_answer_is_400_and_the_wait_goes_on() {
        let listener = Listener::bind("http://127.0.0.1/callback", None).await.unwrap();
        let port = listener.port();
        assert_eq!(listener.address, format!("http://127.0.0.1:{port}/callback"));
        let asking = async {
            let host = format!("Host: 127.0.0.1:{port}");
            for head in [
                format!("GET /callback?code=canary&state=s-2 HTTP/1.1\r\n{host}"),
                format!("GET /callback HTTP/1.1\r\n{host}"),
                format!("GET /?code=canary&state=s-1 HTTP/1.1\r\n{host}"),
                format!("POST /callback?code=canary&state=s-1 HTTP/1.1\r\n{host}\r\nContent-Length: 0"),
                format!("GET /callback?code=canary&state=s-1 HTTP/1.1\r\nHost: evil.example.com:{port}"),
                "GET /callback?code=canary&state=s-1 HTTP/1.1\r\nHost: 127.0.0.1".to_owned(),
                "GET /callback?code=canary&state=s-1 HTTP/1.0".to_owned(),
            ] {
                assert!(send(port, &head).await.contains(" 400 "), "{head}");
            }
            assert!(send(port, "nonsense").await.contains(" 400 "));
            let answered = send(port, &format!("GET /callback?code=canary&state=s-1 HTTP/1.1\r\n{host}")).await;
            assert!(answered.contains(" 200 "), "{answered}");
        };
        let expected = expected();
        let hour = Instant::now() + Duration::from_hours(1);
        let (callback, ()) = tokio::join!(listener.answer(&expected, hour), asking);
        assert_eq!(callback, Some(Callback::Code("canary".into())));
    }

    #[tokio::test]
    async fn a_port_is_fixed_chosen_or_free() {
        let free = Listener::bind("http://localhost/x", None).await.unwrap();
        let taken = free.port();
        let told = Listener::bind("http://127.0.0.1/x", Some(taken)).await.unwrap_err().to_string();
        assert!(told.contains(&taken.to_string()) && told.contains("--port"), "{told}");
        let told = Listener::bind(&format!("http://127.0.0.1:{taken}/x"), None).await.unwrap_err().to_string();
        assert!(told.contains("close the program"), "{told}");
        let told = Listener::bind("http://127.0.0.1:8400/x", Some(8401)).await.unwrap_err();
        assert!(matches!(told, Trouble::Usage(_)));
    }

    #[tokio::test]
    async fn the_address_is_sent_as_it_is_configured() {
        let port = Listener::bind("http://127.0.0.1/x", None).await.unwrap().port();
        for path in ["", "/", "/x", "/x/"] {
            let fixed = format!("http://localhost:{port}{path}");
            assert_eq!(Listener::bind(&fixed, None).await.unwrap().address, fixed);
            let free = Listener::bind(&format!("http://127.0.0.1{path}"), Some(port)).await.unwrap();
            assert_eq!(free.address, format!("http://127.0.0.1:{port}{path}"));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_kernel_without_ipv6_has_no_such_address() {
        let error = |errno: rustix::io::Errno| std::io::Error::from_raw_os_error(errno.raw_os_error());
        assert!(is_of_no_address(&error(rustix::io::Errno::AFNOSUPPORT)));
        assert!(is_of_no_address(&error(rustix::io::Errno::ADDRNOTAVAIL)));
        assert!(!is_of_no_address(&error(rustix::io::Errno::ADDRINUSE)));
    }

    #[tokio::test]
    async fn a_redirect_that_leaves_this_machine_is_refused() {
        for redirect in [
            "https://127.0.0.1/x",
            "http://10.0.0.1/x",
            "http://login.example.com/x",
            "http://127.0.0.1/x?a",
            "x",
            "app:/x",
        ] {
            assert!(Listener::bind(redirect, None).await.is_err(), "{redirect}");
        }
    }
}
