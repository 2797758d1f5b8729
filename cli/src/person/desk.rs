//! Who is signed in where, and which credentials do they get?
//!
//! Whatever several processes could do at once, one does and the others wait for: lock, read again, decide, ask, replace,
//! unlock. The lock of credentials is taken before that of the session, never after.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::RwLock;
use tokio::time::Instant;
use url::Url;

use hallpass::wire::{Client, Code, Credentials, Offers, Requires};

use super::programs::Source;
use super::secret::{expose, random_text};
use super::server::{self, Refusal, ServerUrl};
use super::session::{CREDENTIALS, Cached, SESSION, Session, seconds_of};
use super::signin::{self, How, NoTokens, SignedIn, Tokens};
use super::store::{Locked, Store, Stored};
use super::trouble::{Trouble, lacking, shown};
use super::web::Web;
use super::world::World;
use crate::output::note;

/// Which server a command without `--server` means.
const LAST: &str = "last";
/// For what a person waits for, but their own sign-in.
const PATIENCE: Duration = Duration::from_secs(30);
/// For a sign-in that another process has begun.
const SIGN_IN_PATIENCE: Duration = Duration::from_mins(10);
/// Before a second try, when a server was busy.
const PAUSE: Duration = Duration::from_millis(300);
/// Without so much time left, no refresh token is spent: its successor would come too late for the command.
const REFRESH_NEEDS: Duration = Duration::from_secs(2);
/// Held for reading by each exchange of a refresh token, from before it is sent until its successor is stored.
static BEGUN: RwLock<()> = RwLock::const_new(());
/// Old credentials serve if there are no new ones, unless less is left, in seconds.
const USELESS: i64 = 15;

/// Which server, and which of its issuers.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Target {
    /// The server of Hallpass [env: `HALLPASS_SERVER`] [default: that of the last login]
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// The issuer to sign in at, if the server has several
    #[arg(long, value_name = "ID")]
    pub(crate) issuer: Option<String>,
}

impl Target {
    /// The same with a URL that stands by itself on the command line.
    ///
    /// # Errors
    /// [`Trouble::Usage`] if another one is named, too.
    pub(crate) fn with_url(&self, url: Option<&str>) -> Result<Self, Trouble> {
        let server = match (url, self.server.as_deref()) {
            (Some(url), Some(server)) if ServerUrl::parse(url)? != ServerUrl::parse(server)? => {
                return Err(Trouble::Usage("name the server once".into()));
            }
            (url, server) => url.or(server).map(str::to_owned),
        };
        Ok(Self { server, issuer: self.issuer.clone() })
    }
}

/// The server of the last login.
#[derive(Debug, Serialize, Deserialize)]
struct Last {
    server: String,
}

/// What is asked for.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Wanted {
    /// The grant
    #[arg(long, value_name = "G", default_value = "default", value_parser = grant_name)]
    pub(crate) grant: String,
    /// Seconds that the session lasts, 900 to 129600 [default: the grant's own]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(900..=129_600))]
    pub(crate) duration: Option<u32>,
}

/// A name that a grant can have.
pub(crate) fn grant_name(text: &str) -> Result<String, String> {
    let name = hallpass::grants::GrantName::new(text);
    name.map(|name| name.as_str().to_owned()).ok_or_else(|| "a grant has 1 to 64 of a-z 0-9 . _ -".to_owned())
}

/// The store and the network, for one command.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub(crate) world: World,
    pub(crate) web: Arc<Web>,
    pub(crate) store: Arc<Store>,
    /// It was said that old credentials serve, and there were no new ones since.
    has_warned: Arc<AtomicBool>,
}

/// Waits until what was begun and cannot be begun again has ended. Nothing more is begun meanwhile.
pub(crate) async fn settle() {
    drop(BEGUN.write().await);
}

impl Desk {
    /// Opens the store.
    ///
    /// # Errors
    /// [`Trouble`] if it must not be used.
    pub(crate) fn open(world: &World) -> Result<Self, Trouble> {
        let (web, store) = (Arc::new(Web::new(world)), Arc::new(Store::open(world)?));
        Ok(Self { world: world.clone(), web, store, has_warned: Arc::default() })
    }

    /// The server that a command means.
    ///
    /// # Errors
    /// [`Trouble`] if there was no login, and none is named.
    pub(crate) fn server(&self, target: &Target) -> Result<ServerUrl, Trouble> {
        if let Some(text) = target.server.as_deref().or_else(|| self.world.variable("HALLPASS_SERVER")) {
            return ServerUrl::parse(text);
        }
        match self.store.read::<Last>(LAST)?.whole() {
            Some(last) => ServerUrl::parse(&last.server),
            None => Err(Trouble::SignedOut {
                why: "no server is known yet".into(),
                remedy: "hallpass login https://hallpass.example.com".into(),
            }),
        }
    }

    /// The stored sign-in for a server, if there is one.
    ///
    /// # Errors
    /// [`Trouble`] if there are several, or if it is damaged.
    pub(crate) fn session(&self, server: &ServerUrl, target: &Target) -> Result<Option<Session>, Trouble> {
        let mut found: Vec<Session> = Vec::new();
        for name in self.store.names(&Session::files_of(server.as_str()), SESSION)? {
            match self.store.read::<Session>(&name)? {
                Stored::Read(session) if session.server == server.as_str() && session.file() == name => {
                    found.push(session);
                }
                // Removed since the names were read.
                Stored::Absent => {}
                Stored::Read(_) | Stored::Damaged => {
                    let why = format!("the sign-in in {} is damaged", self.store.path().join(&name).display());
                    return Err(signed_out(server, why, None));
                }
            }
        }
        if let Some(issuer) = &target.issuer {
            found.retain(|session| session.issuer_id == *issuer);
        }
        let ids = found.iter().map(|session| shown(&session.issuer_id)).collect::<Vec<_>>().join(", ");
        let mut found = found.into_iter();
        match (found.next(), found.next()) {
            (session, None) => Ok(session),
            _ => Err(Trouble::Usage(format!(
                "you are signed in to {server} at several issuers; choose one with --issuer: {ids}"
            ))),
        }
    }

    /// All stored sign-ins that can be read.
    ///
    /// # Errors
    /// [`Trouble`] if the store cannot be read.
    pub(crate) fn sessions(&self) -> Result<Vec<Session>, Trouble> {
        let names = self.store.names("", SESSION)?;
        Ok(names.iter().filter_map(|name| self.store.read(name).ok()?.whole()).collect())
    }

    /// The sign-in for a server.
    ///
    /// # Errors
    /// [`Trouble::SignedOut`] if there is none.
    pub(crate) fn signed_in(&self, server: &ServerUrl, target: &Target) -> Result<Session, Trouble> {
        let none = || signed_out(server, format!("not signed in to {server}"), target.issuer.as_deref());
        self.session(server, target)?.ok_or_else(none)
    }

    /// Credentials from the cache, if they are still good.
    fn cached(&self, session: &Session, file: &str) -> Result<Option<Cached>, Trouble> {
        let cached = self.store.read::<Cached>(file)?.whole();
        Ok(cached.filter(|cached| cached.session == session.stem()))
    }

    /// Credentials for a grant: from the cache, or new ones, which then are in the cache.
    ///
    /// # Errors
    /// [`Trouble`] if there are none, or none until `deadline`.
    pub(crate) async fn credentials(
        &self,
        session: &Session,
        wanted: &Wanted,
        deadline: Instant,
    ) -> Result<Cached, Trouble> {
        let file = session.credentials_file(&wanted.grant, wanted.duration);
        let is_fresh = |cached: &Cached| cached.is_fresh(self.world.seconds());
        if let Some(cached) = self.cached(session, &file)?.filter(is_fresh) {
            return Ok(cached);
        }
        let locked = self.store.lock(&file, left(deadline)).await;
        // Another process may have renewed them.
        let old = self.cached(session, &file)?;
        if let Some(cached) = old.clone().filter(is_fresh) {
            return Ok(cached);
        }
        let new = match locked {
            Ok(locked) => self.renew(session, wanted, &locked, deadline).await,
            Err(trouble) => Err(trouble),
        };
        match (new, old) {
            (Err(Trouble::Unavailable(why)), Some(old)) if old.lasts(USELESS, self.world.seconds()) => {
                if !self.has_warned.swap(true, Ordering::Relaxed) {
                    note(&format!("warning: {why}; the credentials from before serve until they expire"));
                }
                Ok(old)
            }
            (new, _) => {
                self.has_warned.store(false, Ordering::Relaxed);
                new
            }
        }
    }

    async fn renew(
        &self,
        session: &Session,
        wanted: &Wanted,
        locked: &Locked<'_>,
        deadline: Instant,
    ) -> Result<Cached, Trouble> {
        let room = locked.reserve()?;
        let asking = async {
            let server = ServerUrl::parse(&session.server)?;
            let remedy = sign_in_command(&server, Some(&wanted.grant), None);
            let grant = wanted.grant.as_str();
            let asked = async |token: &SecretString| {
                server::credentials(&self.web, &server, token, grant, wanted.duration).await
            };
            self.asking(session, &server, deadline, asked).await.map_err(|refusal| match refusal {
                Refusal::Told(problem) if problem.code == Code::InsufficientUserAuthentication => {
                    Trouble::StepUp { grant: grant.to_owned(), requires: problem.requires, remedy }
                }
                refusal @ (Refusal::Told(_) | Refusal::Other(_)) => refusal.into_trouble(&server),
            })
        };
        let credentials = within(deadline, &session.server, asking).await?;
        let obtained_at = self.world.seconds();
        let cached = cache(session.stem(), credentials, obtained_at)?;
        room.write(&cached)?;
        Ok(cached)
    }

    /// Asks the server with the session's token; once more if it was busy; and once more with a new token if the
    /// server does not take this one.
    async fn asking<T>(
        &self,
        session: &Session,
        server: &ServerUrl,
        deadline: Instant,
        ask: impl AsyncFn(&SecretString) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut session = self.with_token(session, None, deadline).await?;
        let (mut was_busy, mut was_refused) = (false, false);
        loop {
            let refusal = match ask(&session.token).await {
                Ok(answer) => return Ok(answer),
                Err(refusal) => refusal,
            };
            match refusal {
                Refusal::Told(problem) if problem.code == Code::InvalidToken && !was_refused => {
                    was_refused = true;
                    let told = format!("{server} does not take this sign-in: {}", shown(&problem.message));
                    session = match self.with_token(&session, Some(&session.token), deadline).await {
                        Err(Trouble::SignedOut { remedy, .. }) => {
                            return Err(Trouble::SignedOut { why: told, remedy }.into());
                        }
                        session => session?,
                    };
                }
                Refusal::Told(problem) if problem.code == Code::InvalidToken => {
                    let told = format!("{server} does not take this sign-in: {}", shown(&problem.message));
                    return Err(signed_out(server, told, Some(&session.issuer_id)).into());
                }
                Refusal::Told(problem)
                    if !was_busy
                        && matches!(problem.code, Code::TemporarilyUnavailable | Code::IdentityProviderUnavailable) =>
                {
                    was_busy = true;
                    tokio::time::sleep(PAUSE).await;
                }
                Refusal::Other(Trouble::Unavailable(_)) if !was_busy => {
                    was_busy = true;
                    tokio::time::sleep(PAUSE).await;
                }
                refusal @ (Refusal::Told(_) | Refusal::Other(_)) => return Err(refusal),
            }
        }
    }

    /// The session with a token that the server has not refused. If it has none, one process asks the provider.
    async fn with_token(
        &self,
        session: &Session,
        refused: Option<&SecretString>,
        deadline: Instant,
    ) -> Result<Session, Trouble> {
        let now = self.store.read::<Session>(&session.file())?.whole();
        if let Some(now) = now.filter(|now| self.is_good(now, refused)) {
            return Ok(now);
        }
        // A task of its own goes on when the caller's limit ends, or the command that `exec` runs: a provider that
        // gives each refresh token once would not give its successor again.
        let (desk, session, refused) = (self.clone(), session.clone(), refused.cloned());
        let exchange = tokio::spawn(async move { desk.exchange(&session, refused.as_ref(), deadline).await });
        exchange.await.map_err(|_| Trouble::failed("the sign-in cannot be renewed"))?
    }

    /// Whether a session has a token that lasts, and is not the one that the server refused.
    fn is_good(&self, session: &Session, refused: Option<&SecretString>) -> bool {
        session.has_token(self.world.seconds())
            && refused.is_none_or(|refused| expose(refused) != expose(&session.token))
    }

    /// Trades the refresh token for new tokens, and stores them. `deadline` holds until that has begun.
    async fn exchange(
        &self,
        session: &Session,
        refused: Option<&SecretString>,
        deadline: Instant,
    ) -> Result<Session, Trouble> {
        let server = ServerUrl::parse(&session.server)?;
        let ended = |why: String| signed_out(&server, why, Some(&session.issuer_id));
        let locked = self.store.lock(&session.file(), left(deadline)).await?;
        let now = locked.read::<Session>()?.whole();
        let mut now = now.ok_or_else(|| ended(format!("the sign-in to {server} has ended")))?;
        if self.is_good(&now, refused) {
            return Ok(now);
        }
        let expired = || ended(format!("the sign-in to {server} has expired"));
        let spent = now.refresh_token.clone().ok_or_else(expired)?;
        // What the provider answers cannot be asked for twice, so there must be room for it.
        let room = locked.reserve()?;
        let _begun = BEGUN.read().await;
        if left(deadline) < REFRESH_NEEDS {
            return Err(Trouble::Unavailable("there is too little time left to renew the sign-in; try again".into()));
        }
        match self.refresh(&now, &spent).await {
            Ok(tokens) => {
                let taken = self.take(&mut now, &tokens);
                if !matches!(taken, Err(Taken::ByAnother)) {
                    room.write(&now)?;
                }
                match taken {
                    Ok(()) => Ok(now),
                    Err(Taken::WithoutToken(why)) => Err(ended(why.to_string())),
                    Err(Taken::ByAnother) => {
                        Err(ended("the identity provider renewed the sign-in of somebody else".into()))
                    }
                }
            }
            Err(NoTokens::Refused { error, told: why }) if error == "invalid_grant" => {
                drop(room);
                // A process without our lock, on another machine with this home directory, may have been first.
                let is_other = |token: &SecretString| expose(token) != expose(&spent);
                let other = locked.read::<Session>()?.whole();
                match other.filter(|other| other.refresh_token.as_ref().is_some_and(is_other)) {
                    Some(other) if self.is_good(&other, refused) => Ok(other),
                    Some(_) => {
                        Err(Trouble::Unavailable("another hallpass has just renewed the sign-in; try again".into()))
                    }
                    None => {
                        locked.remove()?;
                        Err(ended(format!("the sign-in to {server} has ended ({why})")))
                    }
                }
            }
            // The client may be another one by now, or the provider wants to see the person.
            Err(NoTokens::Refused { told: why, .. }) => Err(ended(why)),
            Err(NoTokens::Other(trouble)) => Err(trouble),
        }
    }

    async fn refresh(&self, session: &Session, token: &SecretString) -> Result<Tokens, NoTokens> {
        let endpoint = Url::parse(&session.token_endpoint);
        let endpoint = endpoint
            .map_err(|_| NoTokens::Other(Trouble::failed("the stored sign-in is damaged; run `hallpass login`")))?;
        let mut fields = vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", expose(token)),
            ("client_id", session.client_id.as_str()),
        ];
        fields.extend(signin::resource(session.parameters.get("resource")));
        Tokens::ask(&self.web, &endpoint, &fields).await
    }

    /// Puts refreshed tokens into a session. They came from the provider's own token endpoint, over TLS, so that the
    /// signature of an ID token says nothing more (OpenID Connect Core §3.1.3.7, 6); the server verifies what it gets.
    fn take(&self, session: &mut Session, tokens: &Tokens) -> Result<(), Taken> {
        let claims = tokens.id.as_ref().and_then(signin::claims_of);
        let text = |name: &str| claims.as_ref().and_then(|claims| claims.get(name)).and_then(Value::as_str);
        // Core §12.2: still the same person, of the same issuer.
        if claims.is_some() && (text("iss") != Some(&session.issuer) || text("sub") != session.subject.as_deref()) {
            return Err(Taken::ByAnother);
        }
        if let Some(refresh) = &tokens.refresh {
            session.refresh_token = Some(refresh.clone());
        }
        // Core §12.2: there need not be an ID token.
        let now = self.world.seconds();
        let (token, expires_at) = tokens.for_server(session.kind, now).map_err(Taken::WithoutToken)?;
        (session.token, session.expires_at, session.obtained_at) = (token, expires_at, now);
        Ok(())
    }

    /// What can be asked for. The body comes with it, as it is.
    ///
    /// # Errors
    /// [`Trouble`] if that cannot be said.
    pub(crate) async fn offers(&self, session: &Session) -> Result<(Offers, Value), Trouble> {
        let server = ServerUrl::parse(&session.server)?;
        let asked = async |token: &SecretString| server::offers(&self.web, &server, token).await;
        let asking = async {
            let refused = |refusal: Refusal| refusal.into_trouble(&server);
            self.asking(session, &server, deadline(PATIENCE), asked).await.map_err(refused)
        };
        within(deadline(PATIENCE), &session.server, asking).await
    }

    /// New credentials for a grant, whatever is in the cache. They are not stored.
    ///
    /// # Errors
    /// [`Trouble`] if there are none.
    #[cfg(feature = "operator")]
    pub(crate) async fn new_credentials(&self, session: &Session, grant: &str) -> Result<Credentials, Trouble> {
        let server = ServerUrl::parse(&session.server)?;
        let asked = async |token: &SecretString| server::credentials(&self.web, &server, token, grant, None).await;
        let asking = async {
            let refused = |refusal: Refusal| refusal.into_trouble(&server);
            self.asking(session, &server, deadline(PATIENCE), asked).await.map_err(refused)
        };
        within(deadline(PATIENCE), &session.server, asking).await
    }

    /// Credentials for a program with a token of its own. Nothing is stored.
    ///
    /// # Errors
    /// [`Trouble`] if there are none until `deadline`.
    pub(crate) async fn credentials_of_program(
        world: &World,
        web: &Web,
        server: &ServerUrl,
        program: &Program<'_>,
        wanted: &Wanted,
        deadline: Instant,
    ) -> Result<Cached, Trouble> {
        let asking = async {
            let mut was_busy = false;
            loop {
                let token = program.source.token(world, web, server, program.audience).await?;
                let refusal = match server::credentials(web, server, &token, &wanted.grant, wanted.duration).await {
                    Ok(credentials) => return Ok(credentials),
                    Err(refusal) => refusal,
                };
                if let Refusal::Told(problem) = &refusal
                    && problem.code == Code::InsufficientUserAuthentication
                {
                    let grant = &wanted.grant;
                    let lacking = lacking(&problem.requires);
                    return Err(Trouble::failed(format!(
                        "grant `{grant}` needs a stronger sign-in ({lacking}), which a program does not have"
                    )));
                }
                let trouble = refusal.into_trouble(server);
                if was_busy || !matches!(trouble, Trouble::Unavailable(_)) {
                    return Err(trouble);
                }
                was_busy = true;
                tokio::time::sleep(PAUSE).await;
            }
        };
        let credentials = within(deadline, server.as_str(), asking).await?;
        cache(String::new(), credentials, world.seconds())
    }

    /// Signs in, and stores it.
    ///
    /// # Errors
    /// [`Trouble`] says why not.
    pub(crate) async fn sign_in(
        &self,
        server: &ServerUrl,
        client: &Client,
        requires: &Requires,
        how: &How,
    ) -> Result<Session, Trouble> {
        // A store that cannot be written must not cost the person a sign-in.
        let file = Session::file_of(server.as_str(), client);
        self.store.lock(&file, PATIENCE).await?.reserve()?;
        let SignedIn { tokens, subject, provider } =
            signin::sign_in(&self.world, &self.web, client, requires, how).await?;
        let now = self.world.seconds();
        let (token, expires_at) = tokens.for_server(client.token, now)?;
        let session = Session {
            id: random_text()?,
            server: server.as_str().to_owned(),
            issuer_id: client.issuer_id.clone(),
            issuer: client.issuer.clone(),
            client_id: client.client_id.clone(),
            kind: client.token,
            parameters: client.parameters.clone(),
            token_endpoint: provider.token.to_string(),
            revocation_endpoint: provider.revocation.map(|url| url.to_string()),
            subject,
            token,
            obtained_at: now,
            expires_at,
            refresh_token: tokens.refresh,
        };
        let before = {
            let locked = self.store.lock(&file, PATIENCE).await?;
            let before = locked.read::<Session>().ok().and_then(Stored::whole);
            locked.write(&session)?;
            before
        };
        if before.is_some_and(|before| before.subject != session.subject) {
            self.forget_credentials(&session).await?;
        }
        self.forget_others(server, &session).await?;
        self.store.lock(LAST, PATIENCE).await?.write(&Last { server: session.server.clone() })?;
        Ok(session)
    }

    /// Removes what is left of sign-ins that this one replaces: with an earlier client of the issuer, or at its earlier
    /// address, or damaged.
    async fn forget_others(&self, server: &ServerUrl, session: &Session) -> Result<(), Trouble> {
        let ours = session.file();
        let names = self.store.names(&Session::files_of(server.as_str()), SESSION)?;
        for name in names.iter().filter(|name| **name != ours) {
            match self.store.read::<Session>(name) {
                Ok(Stored::Read(other)) if other.file() == *name => {
                    if other.issuer_id == session.issuer_id {
                        self.forget(&other).await?;
                    }
                }
                Ok(Stored::Read(_) | Stored::Damaged) => self.store.lock(name, PATIENCE).await?.remove()?,
                // The next command says what is wrong with one that cannot be read. This sign-in is stored.
                Ok(Stored::Absent) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Removes a session and its credentials, and returns what it was just before.
    ///
    /// # Errors
    /// [`Trouble`] if something cannot be removed.
    pub(crate) async fn forget(&self, session: &Session) -> Result<Session, Trouble> {
        let last = {
            let locked = self.store.lock(&session.file(), PATIENCE).await?;
            let last = locked.read::<Session>().ok().and_then(Stored::whole);
            locked.remove()?;
            last
        };
        self.forget_credentials(session).await?;
        Ok(last.unwrap_or_else(|| session.clone()))
    }

    /// Removes sessions that cannot be read any more.
    ///
    /// # Errors
    /// [`Trouble`] if one cannot be removed.
    pub(crate) async fn forget_damaged(&self, server: Option<&ServerUrl>) -> Result<(), Trouble> {
        let start = server.map(|server| Session::files_of(server.as_str())).unwrap_or_default();
        for name in self.store.names(&start, SESSION)? {
            let is_whole = match self.store.read::<Session>(&name)? {
                Stored::Read(session) => session.file() == name,
                Stored::Absent => true,
                Stored::Damaged => false,
            };
            if !is_whole {
                self.store.lock(&name, PATIENCE).await?.remove()?;
            }
        }
        Ok(())
    }

    /// Removes the credentials of a session.
    ///
    /// # Errors
    /// [`Trouble`] if one cannot be removed.
    pub(crate) async fn forget_credentials(&self, session: &Session) -> Result<(), Trouble> {
        // One that is being asked for has a lock, and no file yet.
        for name in self.store.names(&session.stem(), ".lock")? {
            let name = name.trim_end_matches(".lock");
            if name.ends_with(CREDENTIALS) {
                self.store.lock(name, PATIENCE).await?.remove()?;
            }
        }
        Ok(())
    }

    /// Forgets which server was the last.
    ///
    /// # Errors
    /// [`Trouble`] if it cannot be removed.
    pub(crate) async fn forget_last(&self, server: Option<&ServerUrl>) -> Result<(), Trouble> {
        let last = self.store.read::<Last>(LAST)?.whole();
        if last.is_some_and(|last| server.is_none_or(|server| last.server == server.as_str())) {
            self.store.lock(LAST, PATIENCE).await?.remove()?;
        }
        Ok(())
    }
}

/// Why refreshed tokens are of no use.
#[derive(Debug)]
enum Taken {
    /// They are for another person, or of another issuer.
    ByAnother,
    /// The one for the server is not there. A new refresh token may be.
    WithoutToken(Trouble),
}

/// A program's token, and whom GitHub makes it out to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program<'a> {
    pub(crate) source: &'a Source,
    pub(crate) audience: Option<&'a str>,
}

/// Somebody at a terminal or in front of a browser, for whom a command may sign in by itself.
#[derive(Debug)]
pub(crate) struct Person<'d> {
    desk: &'d Desk,
    how: How,
    may_sign_in: bool,
}

impl<'d> Person<'d> {
    /// The person, unless `--no-login`, `HALLPASS_NO_LOGIN` or the environment says that nobody is there.
    ///
    /// # Errors
    /// [`Trouble::Usage`] if the browser that was named cannot be read.
    pub(crate) fn new(desk: &'d Desk, how: How, no_login: bool) -> Result<Self, Trouble> {
        let forbidden = no_login || desk.world.says_yes("HALLPASS_NO_LOGIN");
        let may_sign_in = !forbidden && how.is_possible(&desk.world)?;
        Ok(Self { desk, how, may_sign_in })
    }

    /// Does what needs a sign-in. Signs in if there is none, and once more if a stronger one is needed.
    ///
    /// # Errors
    /// [`Trouble`] of the act, or of the sign-in.
    pub(crate) async fn acting<T>(
        &self,
        server: &ServerUrl,
        target: &Target,
        act: impl AsyncFn(&Session) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let (mut was_asked, mut was_stronger) = (false, false);
        loop {
            let session = self.desk.signed_in(server, target);
            let seen = session.as_ref().ok().cloned();
            let done = match session {
                Ok(session) => act(&session).await,
                Err(trouble) => Err(trouble),
            };
            let requires = match done {
                Err(Trouble::SignedOut { why, .. }) if self.may_sign_in && !was_asked => {
                    was_asked = true;
                    note(&format!("{}.", shown(&why)));
                    Requires::default()
                }
                Err(Trouble::StepUp { grant, requires, .. }) if self.may_sign_in && !was_stronger => {
                    was_stronger = true;
                    note(&format!("Grant `{grant}` needs a stronger sign-in: {}.", shown(&lacking(&requires))));
                    requires
                }
                done => return done,
            };
            let issuer = target.issuer.clone().or_else(|| seen.as_ref().map(|seen| seen.issuer_id.clone()));
            let target = Target { server: None, issuer };
            let now = self.sign_in_once(server, &target, &requires, seen.as_ref()).await?;
            if seen.is_some_and(|seen| seen.subject != now.subject) {
                let who = now.subject.as_deref().map_or_else(|| "somebody else".into(), shown);
                return Err(Trouble::failed(format!(
                    "you are signed in to {server} as {who} now, and were somebody else before; if that is right, run \
                     the command again"
                )));
            }
        }
    }

    /// Signs in, unless another process has done so since: forty commands at once open one browser.
    async fn sign_in_once(
        &self,
        server: &ServerUrl,
        target: &Target,
        requires: &Requires,
        seen: Option<&Session>,
    ) -> Result<Session, Trouble> {
        let desk = self.desk;
        let name = format!("{}.login", Session::files_of(server.as_str()));
        let _locked = match desk.store.lock(&name, PAUSE).await {
            Err(Trouble::Unavailable(_)) => {
                note("Another hallpass is signing in. Waiting for it.");
                desk.store.lock(&name, SIGN_IN_PATIENCE).await?
            }
            locked => locked?,
        };
        let now = desk.session(server, target).ok().flatten();
        if let Some(now) = now.filter(|now| seen.is_none_or(|seen| seen.id != now.id)) {
            return Ok(now);
        }
        let metadata = server::metadata(&desk.web, server).await?;
        let client = server::choose_client(server, metadata, target.issuer.as_deref())?;
        desk.sign_in(server, &client, requires, &self.how).await
    }
}

/// There is no sign-in that would do.
pub(crate) fn signed_out(server: &ServerUrl, why: String, issuer: Option<&str>) -> Trouble {
    Trouble::SignedOut { why, remedy: sign_in_command(server, None, issuer) }
}

/// The command that signs in.
fn sign_in_command(server: &ServerUrl, grant: Option<&str>, issuer: Option<&str>) -> String {
    let grant = grant.map_or_else(String::new, |grant| format!(" --grant {grant}"));
    let issuer = issuer.map_or_else(String::new, |issuer| format!(" --issuer {}", shown(issuer)));
    format!("hallpass login {server}{issuer}{grant}")
}

/// The time after so much time.
pub(crate) fn deadline(limit: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(limit).unwrap_or(now)
}

/// What a command for people has.
pub(crate) fn patience() -> Instant {
    deadline(PATIENCE)
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

async fn within<T>(
    deadline: Instant,
    server: &str,
    asking: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    let late = |_| Trouble::Unavailable(format!("{server} or the identity provider did not answer in time; try again"));
    tokio::time::timeout_at(deadline, asking).await.map_err(late)?
}

fn cache(session: String, credentials: Credentials, obtained_at: i64) -> Result<Cached, Trouble> {
    let end = credentials.expiration.as_deref().and_then(seconds_of);
    let expires_at = end.ok_or_else(|| Trouble::failed("the server's credentials have no `Expiration`"))?;
    if expires_at <= obtained_at {
        return Err(Trouble::failed("the server's credentials have expired already; check this machine's clock"));
    }
    Ok(Cached { session, obtained_at, expires_at, credentials })
}
