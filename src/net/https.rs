//! Which servers does the function believe, and how does it connect to them?
//!
//! One store of certificate authorities and one connector, for the SDKs and for identity providers alike. Reading a
//! system's authorities is the largest single part of a start, so they are read once, from one bundle.

use std::error::Error;
use std::fmt;
use std::fs;
use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::task::JoinSet;
use tower_service::Service as _;
use url::Url;

use crate::read::problems::{Problem, Problems};
use crate::read::rule::Rule;

/// Names a bundle, as OpenSSL's variable does.
const FILE: &str = "SSL_CERT_FILE";
/// Names directories with one authority a file, as OpenSSL's variable does.
const DIRECTORIES: &str = "SSL_CERT_DIR";

/// Where systems keep their bundle: Debian, Amazon Linux 2023 and its relatives, SUSE, Alpine. The list is Go's:
/// <https://go.dev/src/crypto/x509/root_linux.go>
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// What is read when there is no bundle.
const SYSTEM_DIRECTORY: &str = "/etc/ssl/certs";

/// Connects to servers over HTTPS, and over plain HTTP to addresses that ask for it.
#[derive(Clone)]
pub struct Https(HttpsConnector<HttpConnector>);

impl fmt::Debug for Https {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Https")
    }
}

impl Https {
    /// Reads the certificate authorities: those of `SSL_CERT_FILE`, else of `SSL_CERT_DIR`, else the system's bundle,
    /// else the system's directory.
    ///
    /// # Errors
    /// [`Problems`] if the place that was chosen has no usable certificate. No other place is tried then: it could
    /// trust more than the operator meant.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Problems> {
        let mut tcp = HttpConnector::new();
        // hyper-rustls decides by the address's scheme.
        tcp.enforce_http(false);
        // Requests are small, and nothing follows that could be sent with them.
        tcp.set_nodelay(true);
        let tls = tls_from_lookup(lookup)?;
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        Ok(Self(https.wrap_connector(tcp)))
    }

    /// The connector, as hyper takes it.
    pub(crate) fn connector(&self) -> HttpsConnector<HttpConnector> {
        self.0.clone()
    }

    /// Opens a connection of its own to the server of `url`, outside of every pool. Boxed, as [`Connection::ask`] is:
    /// otherwise each place that connects holds another copy of hyper.
    pub(crate) fn connect<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<Connection, NoAnswer>> {
        let connecting = async {
            let address: Uri = url.as_str().parse().map_err(|_| NoAnswer::Unreachable)?;
            let mut connector = self.connector();
            poll_fn(|cx| connector.poll_ready(cx)).await.map_err(|_| NoAnswer::Unreachable)?;
            let stream = connector.call(address).await.map_err(|_| NoAnswer::Unreachable)?;
            let (requests, connection) = http1::handshake(stream).await.map_err(|_| NoAnswer::Unreachable)?;
            let mut running = JoinSet::new();
            running.spawn(async {
                // An error here is the request's, too.
                let _ = connection.await;
            });
            Ok(Connection { requests, running })
        };
        connecting.boxed()
    }

    /// Trusts the one authority that the tests have, and talks plain HTTP to their servers.
    #[cfg(test)]
    pub(crate) fn in_tests() -> Self {
        Self::from_lookup(|name| (name == FILE).then(|| hallpass_testing::CERTIFICATES.to_owned())).unwrap()
    }
}

/// Why a server gave no answer that can be used. Holds nothing of what it answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// No connection, or one that broke.
    Unreachable,
    /// An answer with another status than 200.
    Status(u16),
    /// An answer over the bound.
    TooLarge,
}

/// What all requests have as their body, the SDKs' and those without any alike: another kind would be another copy of hyper
/// in the function.
pub(crate) type Body = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// A connection of its own.
#[derive(Debug)]
pub(crate) struct Connection {
    requests: SendRequest<Body>,
    /// What keeps it going. It ends with this.
    #[expect(dead_code, reason = "it is held for its drop")]
    running: JoinSet<()>,
}

impl Connection {
    /// Whether it takes another request. It does not if the server closes it after each answer.
    pub(crate) async fn is_ready(&mut self) -> bool {
        self.requests.ready().await.is_ok()
    }

    /// Asks once, and takes an answer with status 200 and at most `max_bytes`. No redirect is followed.
    pub(crate) fn ask(&mut self, request: Request<Body>, max_bytes: usize) -> BoxFuture<'_, Result<Bytes, NoAnswer>> {
        let asking = async move {
            let response = self.requests.send_request(request).await.map_err(|_| NoAnswer::Unreachable)?;
            if response.status() != StatusCode::OK {
                return Err(NoAnswer::Status(response.status().as_u16()));
            }
            match Limited::new(response.into_body(), max_bytes).collect().await {
                Ok(body) => Ok(body.to_bytes()),
                Err(error) if error.is::<LengthLimitError>() => Err(NoAnswer::TooLarge),
                Err(_) => Err(NoAnswer::Unreachable),
            }
        };
        asking.boxed()
    }
}

/// A request to `url` for a [`Connection`]: with the target and the header `Host` that go with the URL.
pub(crate) fn request_to(
    method: Method,
    url: &Url,
    headers: &[(HeaderName, &'static str)],
    body: Bytes,
) -> Result<Request<Body>, NoAnswer> {
    let host = url.host_str().unwrap_or_default();
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let mut request = Request::new(Full::new(body).map_err(Into::into).boxed_unsync());
    *request.method_mut() = method;
    *request.uri_mut() = target.try_into().map_err(|_| NoAnswer::Unreachable)?;
    let host = HeaderValue::try_from(host).map_err(|_| NoAnswer::Unreachable)?;
    request.headers_mut().insert(header::HOST, host);
    let agent = (header::USER_AGENT, concat!("hallpass/", env!("CARGO_PKG_VERSION")));
    for (name, value) in headers.iter().chain([&agent]) {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(request)
}

/// How TLS is spoken, with the certificate authorities of [`Https::from_lookup`].
///
/// # Errors
/// [`Problems`], as there.
pub fn tls_from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<ClientConfig, Problems> {
    let source = Source::choose(lookup, Path::new("/"));
    let (roots, unusable) = source.read().map_err(|problem| {
        let mut problems = Problems::default();
        problems.add(source.place(), Problem::new(Rule::Value, problem));
        problems
    })?;
    if unusable > 0 {
        tracing::warn!(place = source.place(), unusable, "some certificate authorities cannot be used");
    }
    tls_trusting(roots).map_err(|error| {
        let mut problems = Problems::default();
        problems.add("TLS", Problem::new(Rule::Unsupported, format_args!("cannot be set up: {error}")));
        problems
    })
}

/// How TLS is spoken with servers that one of these authorities vouches for.
///
/// # Errors
/// The library's own.
pub fn tls_trusting(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(tls.with_root_certificates(roots).with_no_client_auth())
}

/// Where the certificate authorities are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Bundle { path: PathBuf, named_by: Option<&'static str> },
    Directories { paths: Vec<PathBuf>, named_by: Option<&'static str> },
}

impl Source {
    /// Chooses by the variables, else by what is below `root`.
    fn choose(lookup: impl Fn(&str) -> Option<String>, root: &Path) -> Self {
        let named = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let system = |path: &str| root.join(path.trim_start_matches('/'));
        if let Some(path) = named(FILE) {
            return Self::Bundle { path: path.into(), named_by: Some(FILE) };
        }
        if let Some(paths) = named(DIRECTORIES) {
            let paths = std::env::split_paths(&paths).filter(|path| !path.as_os_str().is_empty()).collect();
            return Self::Directories { paths, named_by: Some(DIRECTORIES) };
        }
        match BUNDLES.into_iter().map(system).find(|path| path.exists()) {
            Some(path) => Self::Bundle { path, named_by: None },
            None => Self::Directories { paths: vec![system(SYSTEM_DIRECTORY)], named_by: None },
        }
    }

    /// What a message calls it.
    fn place(&self) -> &'static str {
        let (Self::Bundle { named_by, .. } | Self::Directories { named_by, .. }) = self;
        named_by.unwrap_or("the system's certificate authorities")
    }

    /// The authorities, and how many of those that are there cannot be used. Some systems have very old ones.
    fn read(&self) -> Result<(RootCertStore, usize), Unusable> {
        let (mut roots, mut unusable) = (RootCertStore::empty(), 0);
        match self {
            Self::Bundle { path, .. } => add(&mut roots, &mut unusable, path)?,
            Self::Directories { paths, .. } => {
                for directory in paths {
                    let unreadable = |error| Unusable::Unreadable(directory.clone(), error);
                    for entry in fs::read_dir(directory).map_err(unreadable)? {
                        let path = entry.map_err(unreadable)?.path();
                        // A link to a certificate that was removed trusts nobody.
                        if is_hashed(&path) && path.is_file() {
                            add(&mut roots, &mut unusable, &path)?;
                        }
                    }
                }
            }
        }
        if roots.is_empty() {
            return Err(Unusable::Empty(match self {
                Self::Bundle { path, .. } => vec![path.clone()],
                Self::Directories { paths, .. } => paths.clone(),
            }));
        }
        Ok((roots, unusable))
    }
}

/// Why there are no certificate authorities.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("cannot be read: {0:?}: {1}")]
    Unreadable(PathBuf, io::Error),
    #[error("have no usable certificate in {0:?}; a bundle of certificates in PEM is needed")]
    Empty(Vec<PathBuf>),
}

fn add(roots: &mut RootCertStore, unusable: &mut usize, path: &Path) -> Result<(), Unusable> {
    let text = fs::read(path).map_err(|error| Unusable::Unreadable(path.to_owned(), error))?;
    for certificate in CertificateDer::pem_slice_iter(&text) {
        if certificate.ok().and_then(|certificate| roots.add(certificate).ok()).is_none() {
            *unusable = unusable.saturating_add(1);
        }
    }
    Ok(())
}

/// Whether a file has the name that OpenSSL looks for: a hash of eight digits, a dot and a number. Other files of a
/// directory are not trusted.
fn is_hashed(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once('.'));
    name.is_some_and(|(hash, number)| {
        let hashed = hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        hashed && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A directory of its own, removed with the value.
    struct Root(PathBuf);

    impl Root {
        fn new() -> Self {
            static COUNT: AtomicUsize = AtomicUsize::new(0);
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("hallpass-https-{}-{number}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn below(&self, path: &str) -> PathBuf {
            self.0.join(path.trim_start_matches('/'))
        }

        fn write(&self, path: &str, text: impl AsRef<[u8]>) -> PathBuf {
            let path = self.below(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        }

        fn choose(&self, variables: &[(&str, &str)]) -> Source {
            let lookup = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).to_owned());
            Source::choose(lookup, &self.0)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn certificate() -> String {
        fs::read_to_string(hallpass_testing::CERTIFICATES).unwrap()
    }

    fn bundle(path: impl Into<PathBuf>) -> Source {
        Source::Bundle { path: path.into(), named_by: None }
    }

    fn read(source: &Source) -> Result<(usize, usize), String> {
        source.read().map(|(roots, unusable)| (roots.len(), unusable)).map_err(|problem| problem.to_string())
    }

    #[test]
    fn the_variables_win_and_the_file_over_the_directory() {
        let root = Root::new();
        root.write(BUNDLES[0], certificate());
        let file = Source::Bundle { path: "/a.pem".into(), named_by: Some(FILE) };
        assert_eq!(root.choose(&[(FILE, "/a.pem"), (DIRECTORIES, "/b")]), file);
        let directories = Source::Directories { paths: vec!["/b".into(), "/c".into()], named_by: Some(DIRECTORIES) };
        assert_eq!(root.choose(&[(FILE, ""), (DIRECTORIES, "/b::/c")]), directories);
        assert_eq!((file.place(), directories.place()), (FILE, DIRECTORIES));
        assert_eq!(root.choose(&[(FILE, ""), (DIRECTORIES, "")]), bundle(root.below(BUNDLES[0])));
    }

    #[test]
    fn the_first_bundle_that_exists_is_read_and_the_directory_only_without_one() {
        let root = Root::new();
        let directory = root.below(SYSTEM_DIRECTORY);
        assert_eq!(root.choose(&[]), Source::Directories { paths: vec![directory], named_by: None });
        for path in BUNDLES.into_iter().rev() {
            let written = root.write(path, certificate());
            assert_eq!(root.choose(&[]), bundle(written));
        }
    }

    #[test]
    fn a_bundle_is_read_and_what_is_unusable_in_it_counted() {
        let root = Root::new();
        let good = certificate();
        assert_eq!(read(&bundle(root.write("one", &good))), Ok((1, 0)));
        assert_eq!(read(&bundle(root.write("comments", format!("# a\nb\n{good}\n{good}")))), Ok((2, 0)));
        let bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let worse = "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n";
        assert_eq!(read(&bundle(root.write("some", format!("{bad}{worse}{good}")))), Ok((1, 2)));
    }

    #[test]
    fn a_bundle_without_a_usable_certificate_is_refused() {
        let root = Root::new();
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let cut = certificate().split_off(100);
        for text in [b"".as_slice(), b"nothing", b"\xff\xfe\x00", key.as_bytes(), bad.as_bytes(), cut.as_bytes()] {
            let path = root.write("bundle", text);
            let problem = read(&bundle(&path)).unwrap_err();
            assert!(problem.contains("no usable certificate") && problem.contains("bundle"), "{problem}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_nothing_else_tried() {
        let root = Root::new();
        root.write(BUNDLES[1], certificate());
        for source in [bundle(root.0.join("none")), bundle(&root.0)] {
            assert!(read(&source).unwrap_err().contains("cannot be read"), "{source:?}");
        }
        fs::create_dir_all(root.below(BUNDLES[0])).unwrap();
        assert!(read(&root.choose(&[])).unwrap_err().contains("cannot be read"), "a directory is no bundle");
        let paths = vec![root.0.join("none")];
        assert!(read(&Source::Directories { paths, named_by: None }).unwrap_err().contains("cannot be read"));
        for (name, value) in [(FILE, "/nowhere.pem"), (DIRECTORIES, "/nowhere")] {
            let lookup = |asked: &str| (asked == name).then(|| value.to_owned());
            let problems = Https::from_lookup(lookup).unwrap_err();
            let told: Vec<_> = problems.iter().collect();
            assert!(told.len() == 1 && told[0].at == name && told[0].says.contains("nowhere"), "{told:?}");
        }
    }

    #[test]
    fn of_a_directory_the_files_are_read_that_openssl_would() {
        let root = Root::new();
        let directory = |path: &Path| Source::Directories { paths: vec![path.to_owned()], named_by: None };
        for name in ["one.pem", "0123456.0", "012345678.0", "0123456g.0", "01234567.x", "01234567.", "01234567"] {
            root.write(&format!("d/{name}"), certificate());
        }
        assert!(read(&directory(&root.0.join("d"))).unwrap_err().contains("no usable certificate"));
        root.write("d/01234567.0", certificate());
        root.write("d/89abcdef.12", certificate());
        root.write("d/00000000.0", "nothing");
        fs::create_dir(root.0.join("d/11111111.0")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.0.join("d/22222222.0")).unwrap();
        assert_eq!(read(&directory(&root.0.join("d"))), Ok((2, 0)));
    }
}
