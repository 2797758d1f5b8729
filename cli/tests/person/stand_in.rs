//! A Hallpass and an identity provider on loopback, which can be told to misbehave, and a person's home.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use url::Url;

use hallpass_testing::server::{Call, Handle, Reply, Server, lock};
use hallpass_testing::signer::TestKey;

/// Everything secret that the stand-ins make begins so.
pub(crate) const SECRET: &str = "canary";

/// How the provider and the server behave.
pub(crate) struct Conduct {
    pub(crate) key: TestKey,
    /// What the ID token says besides, or instead.
    pub(crate) claims: Value,
    /// What the answer of the authorization endpoint has besides, or instead.
    pub(crate) callback: BTreeMap<String, String>,
    pub(crate) names_itself: bool,
    /// Seconds that an access token lasts.
    pub(crate) token_life: i64,
    /// Seconds that credentials last.
    pub(crate) life: i64,
    pub(crate) offers_refresh: bool,
    /// The refresh token that is good now.
    pub(crate) refresh: String,
    /// Answers that the token endpoint gives first.
    pub(crate) token_answers: Vec<Reply>,
    /// The answer for a grant, instead of credentials.
    pub(crate) refusals: BTreeMap<String, Reply>,
    pub(crate) grants: Value,
    /// Access tokens that were made so far.
    pub(crate) made: usize,
    /// What was asked of the authorization endpoint last.
    pub(crate) asked: BTreeMap<String, String>,
    pub(crate) parameters: Value,
    pub(crate) redirect_uri: String,
    pub(crate) metadata: Option<Reply>,
    /// The path below which the server is, and whether its metadata is found in front of it only (RFC 9728 §3.1).
    pub(crate) base: String,
    pub(crate) is_inserted: bool,
}

pub(crate) struct Provider(Arc<Mutex<Conduct>>, Arc<Mutex<String>>);
pub(crate) struct Hallpass(Arc<Mutex<Conduct>>, Arc<Mutex<String>>, Arc<Mutex<String>>);

pub(crate) fn now() -> i64 {
    i64::try_from(hallpass_testing::clock::now()).unwrap()
}

pub(crate) fn rfc3339(seconds: i64) -> String {
    hallpass_testing::clock::rfc3339(u64::try_from(seconds).unwrap())
}

pub(crate) fn answer(status: u16, body: &Value) -> Reply {
    Reply::new(status, "application/json", body.to_string())
}

pub(crate) fn problem(status: u16, code: &str, more: &Value) -> Reply {
    let mut body = json!({"code": code, "message": format!("because of {code}"), "requestId": "r-1"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    answer(status, &body)
}

impl Conduct {
    fn tokens(&mut self, issuer: &str, nonce: Option<&str>) -> Value {
        self.made += 1;
        let made = self.made;
        let mut claims = json!({
            "iss": issuer, "sub": "carol", "aud": "hallpass-cli", "iat": now(), "exp": now() + 600,
        });
        if let Some(nonce) = nonce {
            claims["nonce"] = json!(nonce);
        }
        claims.as_object_mut().unwrap().extend(self.claims.as_object().unwrap().clone());
        let id = self.key.sign(&json!({"alg": "ES256", "kid": self.key.kid()}), &claims);
        let mut tokens = json!({
            "access_token": format!("{SECRET}-access-{made}"), "token_type": "Bearer", "expires_in": self.token_life, "id_token": id,
        });
        if self.offers_refresh {
            self.refresh = format!("{SECRET}-refresh-{made}");
            tokens["refresh_token"] = json!(self.refresh);
        }
        tokens
    }

    fn token(&mut self, issuer: &str, form: &BTreeMap<String, String>) -> Reply {
        if !self.token_answers.is_empty() {
            return self.token_answers.remove(0);
        }
        let field = |name: &str| form.get(name).cloned().unwrap_or_default();
        let refused = |error: &str| answer(400, &json!({"error": error, "error_description": "said the stand-in"}));
        if field("client_id") != "hallpass-cli" {
            return refused("invalid_client");
        }
        match field("grant_type").as_str() {
            "authorization_code" => {
                let challenge = BASE64URL_NOPAD.encode(digest(&SHA256, field("code_verifier").as_bytes()).as_ref());
                let is_right = field("code") == format!("{SECRET}-code")
                    && Some(&challenge) == self.asked.get("code_challenge")
                    && Some(&field("redirect_uri")) == self.asked.get("redirect_uri");
                let nonce = self.asked.get("nonce").cloned();
                if is_right { answer(200, &self.tokens(issuer, nonce.as_deref())) } else { refused("invalid_grant") }
            }
            // A refresh token serves once.
            "refresh_token" if field("refresh_token") == self.refresh => answer(200, &self.tokens(issuer, None)),
            "refresh_token" => refused("invalid_grant"),
            "urn:ietf:params:oauth:grant-type:device_code" if field("device_code") == format!("{SECRET}-device") => {
                answer(200, &self.tokens(issuer, None))
            }
            _ => refused("unsupported_grant_type"),
        }
    }

    fn authorize(&mut self, issuer: &str, url: &Url) -> Reply {
        self.asked = url.query_pairs().into_owned().collect();
        let mut redirect = Url::parse(&self.asked["redirect_uri"]).unwrap();
        let mut fields = BTreeMap::from([
            ("code".to_owned(), format!("{SECRET}-code")),
            ("state".to_owned(), self.asked["state"].clone()),
        ]);
        if self.names_itself {
            fields.insert("iss".into(), issuer.to_owned());
        }
        fields.extend(self.callback.clone());
        fields.retain(|_, value| value != "-");
        redirect.query_pairs_mut().extend_pairs(fields);
        Reply::new(302, "text/plain", "").header("location", redirect.to_string())
    }
}

impl Handle for Provider {
    async fn answer(&self, call: Call) -> Reply {
        let issuer = lock(&self.1).clone();
        let mut conduct = lock(&self.0);
        let url = Url::parse(&format!("{issuer}{}", call.path)).unwrap();
        match url.path() {
            "/.well-known/openid-configuration" => answer(
                200,
                &json!({
                    "issuer": issuer,
                    "authorization_endpoint": format!("{issuer}/auth"),
                    "token_endpoint": format!("{issuer}/token"),
                    "jwks_uri": format!("{issuer}/keys"),
                    "device_authorization_endpoint": format!("{issuer}/device"),
                    "revocation_endpoint": format!("{issuer}/revoke"),
                    "authorization_response_iss_parameter_supported": conduct.names_itself,
                }),
            ),
            "/keys" => answer(200, &json!({"keys": [TestKey::jwk(&conduct.key)]})),
            "/auth" => conduct.authorize(&issuer, &url),
            "/token" => conduct.token(&issuer, &call.form()),
            "/device" => answer(
                200,
                &json!({"device_code": format!("{SECRET}-device"), "user_code": "ABCD-EFGH", "interval": 1, "expires_in": 60,
                        "verification_uri": format!("{issuer}/activate")}),
            ),
            "/revoke" => answer(200, &json!({})),
            "/github" => answer(200, &json!({"value": format!("{SECRET}-github")})),
            // AWS's sign-in host.
            "/federation" => answer(200, &json!({"SigninToken": format!("{SECRET}-signin")})),
            _ => Reply::new(404, "text/html", "<p>not here</p>"),
        }
    }
}

impl Handle for Hallpass {
    async fn answer(&self, call: Call) -> Reply {
        let (issuer, server) = (lock(&self.2).clone(), lock(&self.1).clone());
        let conduct = lock(&self.0);
        let server = format!("{server}{}", conduct.base);
        let path = call.path.split('?').next().unwrap_or_default();
        let metadata = "/.well-known/oauth-protected-resource";
        let inserted = format!("{metadata}{}", conduct.base);
        let is_inserted = conduct.is_inserted && path == inserted;
        let path = path.strip_prefix(&conduct.base).unwrap_or("/elsewhere");
        if is_inserted || (path == metadata && !conduct.is_inserted) {
            let client = json!({
                "issuer_id": "corp", "issuer": issuer, "client_id": "hallpass-cli", "scope": "openid offline_access",
                "token": "access_token", "parameters": conduct.parameters, "redirect_uri": conduct.redirect_uri,
            });
            let body = json!({
                "resource": server, "authorization_servers": [issuer], "bearer_methods_supported": ["header"],
                "resource_name": "Hallpass", "hallpass_clients": {"cli": [client], "browser": []},
            });
            return conduct.metadata.clone().unwrap_or_else(|| answer(200, &body));
        }
        if path == "/v1/health" {
            return answer(200, &json!({"version": "0.1.0"}));
        }
        if !call.header("authorization").is_some_and(|token| token.starts_with(&format!("Bearer {SECRET}-"))) {
            return problem(401, "invalid_token", &json!({}));
        }
        if path == "/v1/grants" {
            return answer(200, &conduct.grants);
        }
        let Some(grant) = path.strip_prefix("/v1/credentials/") else { return problem(404, "not_found", &json!({})) };
        if let Some(refusal) = conduct.refusals.get(grant) {
            return refusal.clone();
        }
        let body = json!({
            "Version": 1, "AccessKeyId": format!("ASIA{grant}"), "SecretAccessKey": format!("{SECRET}-key"),
            "SessionToken": format!("{SECRET}-token"), "Token": format!("{SECRET}-token"),
            "Expiration": rfc3339(now() + conduct.life), "AccountId": "111122223333",
            "FederatedUser": {"Arn": "arn:aws:sts::111122223333:federated-user/carol", "FederatedUserId": "111122223333:carol"},
            "Grant": grant, "PackedPolicySize": 6,
        });
        answer(200, &body)
    }
}

/// A directory of its own, removed with the value.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("hallpass-home-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A person with a home, a server and a provider.
pub(crate) struct Desk {
    pub(crate) hallpass: Server,
    pub(crate) provider: Server,
    pub(crate) conduct: Arc<Mutex<Conduct>>,
    home: Scratch,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Standard output, if the command ended so, and told no secret on standard error.
    pub(crate) fn exits(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(!self.stderr.contains(SECRET), "{}", self.stderr);
        &self.stdout
    }

    /// The one line that a failure is.
    pub(crate) fn fails(&self, with: &str) {
        assert_eq!(self.exits(1), "", "{self:?}");
        assert!(self.stderr.contains(with), "{}", self.stderr);
        assert_eq!(self.stderr.trim_end().lines().count(), 1, "{}", self.stderr);
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.exits(0)).unwrap()
    }
}

impl Desk {
    pub(crate) async fn new() -> Self {
        let grant = |name: &str, requires: Value| json!({"name": name, "description": "Read reports", "max_duration": 3600, "requires": requires});
        let conduct = Arc::new(Mutex::new(Conduct {
            key: TestKey::p256("k1"),
            claims: json!({}),
            callback: BTreeMap::new(),
            names_itself: true,
            token_life: 3_600,
            life: 3_600,
            offers_refresh: true,
            refresh: String::new(),
            token_answers: Vec::new(),
            refusals: BTreeMap::new(),
            grants: json!({"grants": [grant("default", json!({})), grant("deploy", json!({"acr_values": ["mfa"]}))]}),
            made: 0,
            asked: BTreeMap::new(),
            parameters: json!({"audience": "hallpass"}),
            redirect_uri: "http://127.0.0.1/callback".into(),
            metadata: None,
            base: String::new(),
            is_inserted: false,
        }));
        let (issuer, url) = (Arc::new(Mutex::new(String::new())), Arc::new(Mutex::new(String::new())));
        let provider = Server::start(Provider(Arc::clone(&conduct), Arc::clone(&issuer))).await;
        let hallpass = Server::start(Hallpass(Arc::clone(&conduct), Arc::clone(&url), Arc::clone(&issuer))).await;
        *lock(&issuer) = provider.url();
        *lock(&url) = hallpass.url();
        Self { hallpass, provider, conduct, home: Scratch::new() }
    }

    /// Somebody who is signed in. Nothing that was asked on the way is remembered.
    pub(crate) async fn signed_in() -> Self {
        let desk = Self::new().await;
        desk.sign_in().await;
        desk.provider.forget_calls();
        desk.hallpass.forget_calls();
        desk
    }

    pub(crate) async fn sign_in(&self) {
        self.login(&[]).await.exits(0);
    }

    /// Signs in as a browser of another machine would.
    pub(crate) async fn login(&self, arguments: &[&str]) -> Run {
        let url = self.hallpass.url();
        let mut command = self.command(&[&["login", &url, "--no-browser"], arguments].concat());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut stderr = String::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            stderr.push_str(&line);
            stderr.push('\n');
            if let Some(address) = line.strip_prefix("  http") {
                browse(&format!("http{address}")).await;
            }
        }
        let output = child.wait_with_output().await.unwrap();
        Run { stderr, ..Run::of(&output) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.0.join(name)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("state/hallpass")
    }

    /// The one file of the store that ends so.
    pub(crate) fn stored(&self, end: &str) -> PathBuf {
        let entries = std::fs::read_dir(self.state()).unwrap().map(|entry| entry.unwrap().path());
        let mut found: Vec<PathBuf> = entries.filter(|path| path.to_string_lossy().ends_with(end)).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    /// Changes what is stored.
    pub(crate) fn edit(&self, end: &str, change: impl FnOnce(&mut Value)) {
        let path = self.stored(end);
        let mut value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut value);
        std::fs::write(&path, value.to_string()).unwrap();
    }

    /// Makes what is stored look so many seconds older.
    pub(crate) fn age(&self, end: &str, seconds: i64) {
        self.edit(end, |value| {
            for name in ["obtained_at", "expires_at"] {
                value[name] = json!(value[name].as_i64().unwrap() - seconds);
            }
        });
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_hallpass")), arguments)
    }

    /// Any program, in this person's environment.
    pub(crate) fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().kill_on_drop(true).stdin(Stdio::null());
        command.env("PATH", std::env::vars().find(|(name, _)| name == "PATH").unwrap().1).env("HOME", &self.home.0);
        command.env("XDG_STATE_HOME", self.path("state")).env("HALLPASS_STORE", "file");
        command
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Run {
        self.run_with(&[], arguments).await
    }

    pub(crate) async fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Run {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        Run::of(&command.output().await.unwrap())
    }

    /// How often the provider and the server were asked for this.
    pub(crate) fn asked(&self, path: &str) -> usize {
        let calls = self.provider.calls().into_iter().chain(self.hallpass.calls());
        calls.filter(|call| call.path.starts_with(path)).count()
    }

    pub(crate) fn conduct<T>(&self, act: impl FnOnce(&mut Conduct) -> T) -> T {
        act(&mut lock(&self.conduct))
    }
}

/// Follows an address as a browser does, to its end, whose status it returns.
pub(crate) async fn browse(address: &str) -> u16 {
    let mut url = Url::parse(address).unwrap();
    loop {
        let host = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let Ok(mut stream) = TcpStream::connect(&host).await else { return 0 };
        let target = format!("{}?{}", url.path(), url.query().unwrap_or_default());
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // A server that resets the connection has answered all the same.
        let _ = stream.read_to_string(&mut answer).await;
        let location = answer.lines().find_map(|line| line.strip_prefix("location: ")).map(str::to_owned);
        match location {
            Some(location) => url = Url::parse(&location).unwrap(),
            None => return answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0),
        }
    }
}
