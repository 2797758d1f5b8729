//! How does the command ask servers?
//!
//! One request at a time, bounded, without redirects: a token goes to the address that it is for, or nowhere.

use std::error::Error;
use std::future::poll_fn;
use std::sync::OnceLock;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
#[cfg(feature = "operator")]
use hyper::header::HeaderName;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::rt::{Read, Write};
use hyper::{Method, Request, Uri};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use rustls::ClientConfig;
use secrecy::SecretString;
use serde_json::{Map, Value};
use tower_service::Service;
use url::Url;

use hallpass::read::json;

use super::secret::expose;
use super::trouble::{Trouble, shown};
use super::world::World;

/// For one request, with its connection.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// A list of a thousand grants is a quarter of it.
const MAX_BYTES: usize = 1024 * 1024;

/// The way to servers, through the network's proxy if there is one.
#[derive(Debug)]
pub(crate) struct Web {
    world: World,
    proxies: Matcher,
    proxy_is_usable: bool,
    tls: OnceLock<Result<ClientConfig, String>>,
}

/// A question to a server.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    method: Method,
    url: &'a Url,
    bearer: Option<&'a SecretString>,
    form: Option<String>,
    headers: HeaderMap,
}

impl<'a> Question<'a> {
    /// A `GET`.
    pub(crate) fn get(url: &'a Url) -> Self {
        Self::of(Method::GET, url)
    }

    fn of(method: Method, url: &'a Url) -> Self {
        Self { method, url, bearer: None, form: None, headers: HeaderMap::new() }
    }

    /// A `HEAD`.
    #[cfg(feature = "operator")]
    pub(crate) fn head(url: &'a Url) -> Self {
        Self::of(Method::HEAD, url)
    }

    /// What a browser asks before a page of this origin may send a token (Fetch, "CORS-preflight fetch").
    #[cfg(feature = "operator")]
    pub(crate) fn preflight(url: &'a Url, origin: HeaderValue) -> Self {
        Self::of(Method::OPTIONS, url)
            .header(header::ORIGIN, origin)
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("GET"))
            .header(header::ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static("authorization"))
    }

    /// With one header more.
    #[cfg(feature = "operator")]
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// A `POST` of a form.
    #[cfg(feature = "person")]
    pub(crate) fn post(url: &'a Url, fields: &[(&str, &str)]) -> Self {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        Self { form: Some(form), ..Self::of(Method::POST, url) }
    }

    /// A `POST` of a form that is written already.
    #[cfg(feature = "person")]
    pub(crate) fn form(url: &'a Url, form: &SecretString) -> Self {
        Self { form: Some(expose(form).to_owned()), ..Self::of(Method::POST, url) }
    }

    /// With a token.
    pub(crate) fn bearer(mut self, token: &'a SecretString) -> Self {
        self.bearer = Some(token);
        self
    }
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    /// The body, if it is a JSON object with one meaning.
    pub(crate) fn object(&self) -> Option<Map<String, Value>> {
        json::parse_fetched_object(&self.body).ok()
    }

    /// The body as it came.
    #[cfg(feature = "person")]
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    #[cfg(feature = "operator")]
    pub(crate) fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// Whether it sends the client to another address.
    pub(crate) const fn is_redirect(&self) -> bool {
        self.status >= 300 && self.status < 400
    }

    /// A header.
    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Web {
    /// The network as the variables describe it. Nothing is read or opened yet.
    pub(crate) fn new(world: &World) -> Self {
        let either =
            |lower: &str, upper: &str| world.variable(lower).or_else(|| world.variable(upper)).unwrap_or_default();
        let mut proxies = Matcher::builder().no(either("no_proxy", "NO_PROXY").to_owned());
        let proxy = [either("https_proxy", "HTTPS_PROXY"), either("all_proxy", "ALL_PROXY")];
        let proxy = proxy.into_iter().find(|proxy| !proxy.is_empty());
        let is_usable = proxy.is_none_or(is_proxy);
        if let Some(proxy) = proxy {
            // Which hosts are excluded is known all the same.
            proxies = proxies.https(if is_usable { proxy.to_owned() } else { "http://unusable.invalid".to_owned() });
        }
        Self { world: world.clone(), proxies: proxies.build(), proxy_is_usable: is_usable, tls: OnceLock::new() }
    }

    /// Asks, for [`TIME_LIMIT`] at most.
    ///
    /// # Errors
    /// [`Trouble::Unavailable`] names the host and what failed.
    pub(crate) async fn ask(&self, question: Question<'_>) -> Result<Answer, Trouble> {
        let host = host_of(question.url);
        match tokio::time::timeout(TIME_LIMIT, Box::pin(self.ask_now(question, &host))).await {
            Ok(answer) => answer,
            Err(_) => {
                Err(Trouble::Unavailable(format!("{host} did not answer within {} seconds", TIME_LIMIT.as_secs())))
            }
        }
    }

    async fn ask_now(&self, question: Question<'_>, host: &str) -> Result<Answer, Trouble> {
        let broken = |_| Trouble::Unavailable(format!("the connection to {host} broke; try again"));
        let mut connection = self.connect(question.url, host).await?;
        let response = connection.send_request(request(&question)?).await.map_err(broken)?;
        let (head, body) = response.into_parts();
        let body = match Limited::new(body, MAX_BYTES).collect().await {
            Ok(body) => body.to_bytes().into(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Err(Trouble::failed(format!("{host} answered with more than 1 MiB")));
            }
            Err(_) => return Err(Trouble::Unavailable(format!("the connection to {host} broke; try again"))),
        };
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }

    async fn connect(&self, url: &Url, host: &str) -> Result<SendRequest<Full<Bytes>>, Trouble> {
        let address: Uri = url.as_str().parse().map_err(|_| Trouble::failed(format!("{host} is not an address")))?;
        let mut tcp = HttpConnector::new();
        // The connectors around it know the scheme.
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Only addresses on this machine are asked without TLS, and never through a proxy.
        if url.scheme() == "http" {
            return open(&mut tcp, address, host, "").await;
        }
        let builder =
            |tls: ClientConfig| HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let tls = self.tls()?;
        let Some(proxy) = self.proxies.intercept(&address) else {
            return open(&mut builder(tls).wrap_connector(tcp), address, host, "").await;
        };
        let through = proxy.uri().host().map_or_else(String::new, |proxy| format!(" through the proxy {proxy}"));
        if !self.proxy_is_usable {
            return Err(Trouble::failed("HTTPS_PROXY must be an http or https URL"));
        }
        let mut tunnel = Tunnel::new(proxy.uri().clone(), builder(tls.clone()).wrap_connector(tcp));
        if let Some(auth) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(auth.clone());
        }
        open(&mut builder(tls).wrap_connector(tunnel), address, host, &through).await
    }

    /// Reading the authorities takes milliseconds, so only a request over TLS does it.
    fn tls(&self) -> Result<ClientConfig, Trouble> {
        self.tls.get_or_init(|| tls(&self.world)).clone().map_err(Trouble::Failed)
    }
}

/// How TLS is spoken: with the authorities that the variables name, else with the system's.
#[cfg(not(any(windows, target_os = "macos")))]
fn tls(world: &World) -> Result<ClientConfig, String> {
    let lookup = |name: &str| world.variable(name).map(str::to_owned);
    hallpass::net::https::tls_from_lookup(lookup).map_err(|problems| problems.to_string())
}

/// How TLS is spoken: with the authorities that the variables name, else with those of the system's own store.
#[cfg(any(windows, target_os = "macos"))]
fn tls(world: &World) -> Result<ClientConfig, String> {
    if world.variable("SSL_CERT_FILE").is_some() || world.variable("SSL_CERT_DIR").is_some() {
        let lookup = |name: &str| world.variable(name).map(str::to_owned);
        return hallpass::net::https::tls_from_lookup(lookup).map_err(|problems| problems.to_string());
    }
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("the system's certificate authorities cannot be read; name a bundle in SSL_CERT_FILE".into());
    }
    hallpass::net::https::tls_trusting(roots).map_err(|error| format!("TLS cannot be set up: {error}"))
}

async fn open<C>(
    connector: &mut C,
    address: Uri,
    host: &str,
    through: &str,
) -> Result<SendRequest<Full<Bytes>>, Trouble>
where
    C: Service<Uri>,
    C::Response: Read + Write + Send + Unpin + 'static,
    C::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let failed = |error: Box<dyn Error + Send + Sync>| {
        let why = deepest(&*error);
        let remedy = if why.contains("UnknownIssuer") {
            "; if this network inspects TLS, name its authority in SSL_CERT_FILE"
        } else {
            ""
        };
        Trouble::Unavailable(format!("{host} cannot be reached{through}: {why}{remedy}"))
    };
    poll_fn(|cx| connector.poll_ready(cx)).await.map_err(|error| failed(error.into()))?;
    let stream = connector.call(address).await.map_err(|error| failed(error.into()))?;
    let (sender, connection) = http1::handshake(stream).await.map_err(|error| failed(Box::new(error)))?;
    tokio::spawn(async {
        // An error here is the request's, too.
        let _ = connection.await;
    });
    Ok(sender)
}

/// The innermost reason: the outer ones only say that something failed.
fn deepest(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    shown(&innermost.to_string())
}

/// Whether a variable names a proxy that can be asked. Going around one that cannot would surprise its owner.
fn is_proxy(text: &str) -> bool {
    let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("http://{text}")) };
    url.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some())
}

/// `host` or `host:port`, as messages name a server.
pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn request(question: &Question<'_>) -> Result<Request<Full<Bytes>>, Trouble> {
    let Question { method, url, bearer, form, headers } = question;
    let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header(header::HOST, host_of(url))
        .header(header::ACCEPT, "application/json, application/jwk-set+json, application/problem+json")
        .header(header::USER_AGENT, concat!("hallpass/", env!("CARGO_PKG_VERSION")));
    if let Some(token) = bearer {
        let mut value = HeaderValue::try_from(format!("Bearer {}", expose(token)))
            .map_err(|_| Trouble::failed("the token has characters that no token has"))?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    if form.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    let body = Full::from(form.clone().unwrap_or_default());
    request.body(body).map_err(|_| Trouble::failed(format!("{} is not an address", host_of(url))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_used_for_https_and_not_for_the_hosts_that_are_excluded() {
        let via = |variables: &[(&str, &str)], url: &str| {
            let web = Web::new(&World::of(variables));
            web.proxies.intercept(&url.parse().unwrap()).map(|proxy| proxy.uri().to_string())
        };
        let proxy = ("HTTPS_PROXY", "http://proxy.example.com:3128");
        assert_eq!(via(&[proxy], "https://a.example.com"), Some("http://proxy.example.com:3128/".into()));
        assert_eq!(via(&[proxy, ("NO_PROXY", "example.com")], "https://a.example.com"), None);
        assert_eq!(via(&[("https_proxy", "http://p:1"), proxy], "https://a.example.com"), Some("http://p:1/".into()));
        assert_eq!(via(&[("ALL_PROXY", "http://p:1")], "https://a.example.com"), Some("http://p:1/".into()));
        assert_eq!(via(&[], "https://a.example.com"), None);
    }

    #[tokio::test]
    async fn a_proxy_that_cannot_be_asked_is_not_gone_around() {
        for proxy in ["socks5://proxy.example.com", "http://", "://"] {
            let web = Web::new(&World::of(&[("HTTPS_PROXY", proxy), ("NO_PROXY", "b.example.com")]));
            let url = Url::parse("https://a.example.com/").unwrap();
            let refused = web.ask(Question::get(&url)).await.unwrap_err();
            assert!(refused.to_string().starts_with("HTTPS_PROXY must be"), "{proxy}: {refused}");
            assert!(web.proxies.intercept(&"https://b.example.com".parse().unwrap()).is_none());
        }
        assert!(is_proxy("proxy.example.com:3128") && is_proxy("https://carol:x@proxy.example.com"));
    }

    #[test]
    fn a_token_is_not_debugged() {
        let (url, token) = (Url::parse("https://a.example.com/").unwrap(), SecretString::from("canary"));
        let question = Question::get(&url).bearer(&token);
        assert!(!format!("{question:?}").contains("canary"));
        assert!(!format!("{:?}", request(&question).unwrap()).contains("canary"));
    }
}
