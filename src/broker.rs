//! In which order is a request decided?
//!
//! identity, then grants, then credentials: each step takes what only the step before it can make. Whatever goes
//! wrong is a `RequestError`, and whatever was found out by then is in the [`Record`].

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use futures_util::future::{join, join3};
use secrecy::SecretString;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use crate::audit::{Audit, Record};
use crate::credentials::{BrokerKeys, FoundKey, Issued, KeyError, MintError, SignInError, SignInHost, StsError};
use crate::grants::{Denied, GrantName, Offer, Request, SettleError, Store, StoreError, authorize, offers};
use crate::http::parameters::{ConsoleParameters, Parameters, ParametersError, RawParameters};
use crate::identity::{Caller, Identity, IdentityError, UnverifiedToken};

/// botocore gives a container-credentials endpoint 2 s; the gateway and the way to it need the rest.
const REQUEST_LIMIT: Duration = Duration::from_millis(1_500);
/// So that the answer is out of the function within that.
const ANSWER_MARGIN: Duration = Duration::from_millis(50);
/// How long an answer that is ready waits for a refresh in the background. Lambda freezes a function that has answered, so
/// with few requests a refresh that nobody waits for would never end.
const REFRESH_GRACE: Duration = Duration::from_millis(200);

/// Why a request ended without credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    /// No token came with it.
    #[error("no token")]
    TokenMissing,
    /// Nobody could be identified.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The parameters are wrong.
    #[error(transparent)]
    Parameters(#[from] ParametersError),
    /// The grants give no session.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The grants could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is due could not be recorded, or another was first.
    #[error(transparent)]
    Settle(#[from] SettleError),
    /// There is no broker key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// STS gave no credentials.
    #[error(transparent)]
    Sts(#[from] StsError),
    /// The sign-in host gave nothing for the credentials.
    #[error(transparent)]
    SignIn(#[from] SignInError),
    /// The request took longer than it may.
    #[error("the request took longer than 1.5 s")]
    TooSlow,
    /// The line that has to precede STS, or the sign-in host, could not be written.
    #[error("the audit line could not be written, so nothing more was asked for")]
    Unaudited,
    /// The code failed.
    #[error("the request's handler panicked")]
    Panicked,
}

impl RequestError {
    /// The name in the audit line.
    #[must_use]
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::TokenMissing => "token_missing",
            Self::Identity(error) => error.reason(),
            Self::Parameters(error) => error.reason(),
            Self::Denied(denied) => denied.reason(),
            Self::Store(error) => error.reason(),
            Self::Settle(error) => error.reason(),
            Self::Key(error) => error.reason(),
            Self::Sts(error) => error.reason(),
            Self::SignIn(error) => error.reason(),
            Self::TooSlow => "too_slow",
            Self::Unaudited => "unaudited",
            Self::Panicked => "panicked",
        }
    }
}

/// One request, as it came: nothing in it has been read but the route.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    /// The token, if there is one.
    pub(crate) token: Option<&'a str>,
    /// What may hold parameters.
    pub(crate) parameters: RawParameters<'a>,
    /// The caller's address, by the gateway.
    pub(crate) source_ip: Option<IpAddr>,
}

/// Credentials, and the grant that they are for.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) grant: GrantName,
    pub(crate) issued: Issued,
}

/// A way into AWS's console, and how long the session lasts there.
#[derive(Debug)]
pub(crate) struct SignedIn {
    pub(crate) address: SecretString,
    /// In seconds since the epoch.
    pub(crate) expires_at: i64,
}

/// Decides requests.
#[derive(Debug)]
pub struct Broker {
    identity: Identity,
    store: Store,
    keys: BrokerKeys,
    /// `None` where the partition has no console that is known.
    sign_in_host: Option<SignInHost>,
    audit: Audit,
}

impl Broker {
    /// Puts the parts together.
    #[must_use]
    pub const fn new(
        identity: Identity,
        store: Store,
        keys: BrokerKeys,
        sign_in_host: Option<SignInHost>,
        audit: Audit,
    ) -> Self {
        Self { identity, store, keys, sign_in_host, audit }
    }

    /// Where the record of each request goes.
    #[must_use]
    pub(crate) const fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Fetches keys and makes connections ahead of the first request, for at most `limit`. Fetches that
    /// are late go on; what fails, and connections that are late, are made by the request.
    pub async fn prepare(&self, limit: Duration, now: SystemTime) {
        let all = join3(self.identity.prepare(now), self.store.prepare(), self.keys.prepare(now));
        if timeout(limit, all).await.is_err() {
            tracing::warn!("not everything could be prepared in time; the first request will fetch the rest");
        }
    }

    /// Whether web pages can sign people in, at any issuer.
    #[must_use]
    pub(crate) fn signs_in_browsers(&self) -> bool {
        self.identity.signs_in_browsers()
    }

    /// The origins that a page needs for that.
    pub(crate) async fn sign_in_origins(&self, now: SystemTime) -> Vec<String> {
        self.identity.sign_in_origins(now).await
    }

    /// Where people sign in to AWS's console, if that is known.
    #[must_use]
    pub(crate) const fn sign_in_host(&self) -> Option<&SignInHost> {
        self.sign_in_host.as_ref()
    }

    /// Decides one request for credentials.
    ///
    /// # Errors
    /// [`RequestError`] says why there are no credentials.
    pub(crate) async fn credentials(
        &self,
        ask: Ask<'_>,
        record: &mut Record,
        now: SystemTime,
    ) -> Result<Granted, RequestError> {
        record.wants_credentials();
        let allowance = Allowance::begin();
        // Large: it holds a call to each service.
        let deciding = Box::pin(self.decide(ask, record, now));
        let decided = allowance.limit(deciding).await;
        self.end(allowance, record, now).await;
        decided
    }

    /// Decides one request for a sign-in to AWS's console: a session as ever, which the sign-in `host` then trades, within
    /// a limit of its own. AWS sends people to `portal` when the session ends.
    ///
    /// # Errors
    /// [`RequestError`] says why there is no sign-in.
    pub(crate) async fn console(
        &self,
        ask: Ask<'_>,
        host: &SignInHost,
        portal: &str,
        record: &mut Record,
        now: SystemTime,
    ) -> Result<SignedIn, RequestError> {
        record.wants_credentials();
        let allowance = Allowance::begin();
        let deciding = Box::pin(self.decide_console(ask, host, record, now));
        let signed_in = match allowance.limit(deciding).await {
            Ok((issued, page)) => self.trade(&issued, host, portal, &page, record, now).await,
            Err(error) => Err(error),
        };
        self.end(allowance, record, now).await;
        signed_in
    }

    /// Says what a caller could ask for.
    ///
    /// # Errors
    /// [`RequestError`] says why that cannot be said.
    pub(crate) async fn grants(
        &self,
        ask: Ask<'_>,
        record: &mut Record,
        now: SystemTime,
    ) -> Result<Vec<Offer>, RequestError> {
        let allowance = Allowance::begin();
        let found = allowance.limit(self.look_up(ask, record, now)).await;
        self.end(allowance, record, now).await;
        found
    }

    async fn decide(&self, ask: Ask<'_>, record: &mut Record, now: SystemTime) -> Result<Granted, RequestError> {
        let caller = self.identify(ask.token, record, now).await?;
        let parameters = ask.parameters.read()?;
        self.mint(&caller, parameters, ask.source_ip, record, now).await
    }

    async fn decide_console(
        &self,
        ask: Ask<'_>,
        host: &SignInHost,
        record: &mut Record,
        now: SystemTime,
    ) -> Result<(Issued, Url), RequestError> {
        let caller = self.identify(ask.token, record, now).await?;
        let ConsoleParameters { session, page } = ask.parameters.read_console(host.console())?;
        record.to_open(&page);
        let granted = self.mint(&caller, session, ask.source_ip, record, now).await?;
        Ok((granted.issued, page))
    }

    /// The order of the refusals: the token, so that a stranger learns nothing about the parameters; these; the grants;
    /// the broker key, so that no name is taken and no token spent for nothing; name and token; STS.
    async fn mint(
        &self,
        caller: &Caller,
        parameters: Parameters,
        source_ip: Option<IpAddr>,
        record: &mut Record,
        now: SystemTime,
    ) -> Result<Granted, RequestError> {
        let Parameters { grant, duration } = parameters;
        let request = Request { grant: grant.unwrap_or_default(), duration, source_ip };
        record.asked_for(&request.grant);
        // The key is at hand but for the first request, which need not wait for the grants to fetch it.
        let reading = join(self.store.read(caller, &request.grant), self.keys.current(now));
        let (matches, key) = record.timed("grants", reading).await;
        let pending = authorize(caller, &request, matches?, now)?;
        record.decided(&pending);
        let FoundKey { key, age } = key?;
        record.key_found(age);
        // Large, and rarely more than a move.
        let session = Box::pin(self.store.settle(pending, &record.lambda_request_id, now)).await?;
        self.audit.issuing(record, now).map_err(|_| RequestError::Unaudited)?;
        let issued = record.timed("sts", self.keys.mint(&key, &session, now)).await?;
        record.issued(&issued);
        Ok(Granted { grant: request.grant, issued })
    }

    async fn trade(
        &self,
        issued: &Issued,
        host: &SignInHost,
        portal: &str,
        page: &Url,
        record: &mut Record,
        now: SystemTime,
    ) -> Result<SignedIn, RequestError> {
        self.audit.console(record, now).map_err(|_| RequestError::Unaudited)?;
        let address = record.timed("sign_in", host.trade(issued, portal, page)).await?;
        Ok(SignedIn { address, expires_at: issued.expires_at })
    }

    async fn look_up(&self, ask: Ask<'_>, record: &mut Record, now: SystemTime) -> Result<Vec<Offer>, RequestError> {
        let caller = self.identify(ask.token, record, now).await?;
        ask.parameters.expect_none()?;
        let holdings = record.timed("grants", self.store.read_all(&caller)).await?;
        Ok(offers(&caller, holdings, ask.source_ip, now)?)
    }

    async fn identify(
        &self,
        token: Option<&str>,
        record: &mut Record,
        now: SystemTime,
    ) -> Result<Caller, RequestError> {
        let begun = Instant::now();
        let token = token.ok_or(RequestError::TokenMissing)?;
        record.presented(token);
        let token = UnverifiedToken::parse(token).map_err(IdentityError::from)?;
        record.claimed(&token);
        let identified = self.identity.identify(token, now).await?;
        record.verified(&identified);
        record.took("identity", begun);
        Ok(identified.caller)
    }

    /// Waits a moment for the refreshes of what a verified caller's request uses. A late refresh goes on.
    async fn end(&self, allowance: Allowance, record: &mut Record, now: SystemTime) {
        if let Some(issuer) = &record.issuer {
            let refreshing = join(self.identity.refreshed(issuer, now), self.keys.refreshed(now));
            let _ = timeout_at(allowance.end_of_grace(), refreshing).await;
        }
        record.took("total", allowance.begun);
    }
}

/// The time that one request may take.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    begun: Instant,
    deadline: Instant,
}

impl Allowance {
    fn begin() -> Self {
        let begun = Instant::now();
        let deadline = begun.checked_add(REQUEST_LIMIT.saturating_sub(ANSWER_MARGIN)).unwrap_or(begun);
        Self { begun, deadline }
    }

    async fn limit<T>(self, deciding: impl Future<Output = Result<T, RequestError>>) -> Result<T, RequestError> {
        timeout_at(self.deadline, deciding).await.unwrap_or(Err(RequestError::TooSlow))
    }

    fn end_of_grace(self) -> Instant {
        Instant::now().checked_add(REFRESH_GRACE).unwrap_or(self.deadline).min(self.deadline)
    }
}

impl From<MintError> for RequestError {
    fn from(error: MintError) -> Self {
        match error {
            MintError::Key(error) => Self::Key(error),
            MintError::Sts(error) => Self::Sts(error),
        }
    }
}
