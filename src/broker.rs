//! In which order is a request decided?
//!
//! identity, then grants, then credentials: each step takes what only the step before it can make. Whatever goes
//! wrong is a [`Failure`], and whatever was found out by then is in the [`Record`].

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use data_encoding::HEXLOWER;
use futures_util::future::{join, join_all, join3};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout, timeout_at};

use crate::audit::{Audit, MatchedItem, Record, capped};
use crate::credentials::{BrokerKeys, Issued, KeyError, MintError, StsError};
use crate::grants::{Denied, GrantName, Offer, Request, Session, Store, StoreError, Unsettled, authorize, offers};
use crate::http::parameters::{Invalid, Parameters};
use crate::identity::{Caller, Identity, IdentityError, UnverifiedToken};
use crate::net::refreshed::Refresh;
use crate::time::rfc3339;

/// botocore gives a container-credentials endpoint 2 s; the gateway and the way to it need the rest.
const REQUEST_LIMIT: Duration = Duration::from_millis(1_500);
/// So that the answer is out of the function within that.
const ANSWER_MARGIN: Duration = Duration::from_millis(50);
/// How long an answer that is ready waits for a refresh beside it. A function is frozen as soon as it has answered: with
/// few requests, a refresh that nobody waits for would never end.
const REFRESH_GRACE: Duration = Duration::from_millis(200);

/// Why a request ended without credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No token came with it.
    #[error("no token")]
    TokenMissing,
    /// Nobody could be identified.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The parameters are wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The grants give no session.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The grants could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is due could not be recorded, or another was first.
    #[error(transparent)]
    Unsettled(#[from] Unsettled),
    /// There is no broker key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// STS gave no credentials.
    #[error(transparent)]
    Sts(#[from] StsError),
    /// The request took longer than it may.
    #[error("the request took longer than 1.5 s")]
    TooSlow,
    /// The line that has to precede STS could not be written.
    #[error("the audit line could not be written, so STS was not asked")]
    Unaudited,
    /// The code failed.
    #[error("the request's handler panicked")]
    Panicked,
}

/// Credentials, and the grant that they are for.
#[derive(Debug)]
pub struct Granted {
    /// The grant.
    pub grant: GrantName,
    /// The credentials.
    pub issued: Issued,
}

/// Decides requests.
#[derive(Debug)]
pub struct Broker {
    identity: Identity,
    store: Store,
    keys: BrokerKeys,
    audit: Audit,
}

impl Broker {
    /// Puts the parts together.
    #[must_use]
    pub const fn new(identity: Identity, store: Store, keys: BrokerKeys, audit: Audit) -> Self {
        Self { identity, store, keys, audit }
    }

    /// Where the record of each request goes.
    #[must_use]
    pub const fn audit(&self) -> &Audit {
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

    /// Decides one request for credentials. The token is looked at before the parameters, so that a stranger learns
    /// nothing about them.
    ///
    /// # Errors
    /// [`Failure`] says why there are no credentials.
    pub async fn credentials(
        &self,
        token: Option<&str>,
        parameters: Result<Parameters, Invalid>,
        source_ip: Option<IpAddr>,
        record: &mut Record,
        now: SystemTime,
    ) -> Result<Granted, Failure> {
        record.measured.wants_credentials = true;
        let allowance = Allowance::begin();
        let mut beside = Vec::new();
        let deciding = self.decide(token, parameters, source_ip, record, &mut beside, now);
        let decided = allowance.limit(deciding).await;
        allowance.end(beside, record).await;
        decided
    }

    /// Says what a caller could ask for.
    ///
    /// # Errors
    /// [`Failure`] says why that cannot be said.
    pub async fn grants(
        &self,
        token: Option<&str>,
        parameters: Result<(), Invalid>,
        source_ip: Option<IpAddr>,
        record: &mut Record,
        now: SystemTime,
    ) -> Result<Vec<Offer>, Failure> {
        let allowance = Allowance::begin();
        let mut beside = Vec::new();
        let looking = async {
            let caller = self.identify(token.ok_or(Failure::TokenMissing)?, record, &mut beside, now).await?;
            parameters?;
            let begun = Instant::now();
            let holdings = self.store.read_all(&caller).await;
            record.measured.stages.push(("grants", begun.elapsed()));
            Ok(offers(&caller, holdings?, source_ip, now)?)
        };
        let found = allowance.limit(looking).await;
        allowance.end(beside, record).await;
        found
    }

    async fn decide(
        &self,
        token: Option<&str>,
        parameters: Result<Parameters, Invalid>,
        source_ip: Option<IpAddr>,
        record: &mut Record,
        beside: &mut Vec<Refresh>,
        now: SystemTime,
    ) -> Result<Granted, Failure> {
        let caller = self.identify(token.ok_or(Failure::TokenMissing)?, record, beside, now).await?;
        let Parameters { grant, duration } = parameters?;
        let grant = grant.unwrap_or_default();
        record.grant = Some(grant.as_str().to_owned());
        let request = Request { grant, duration, source_ip };

        let begun = Instant::now();
        // Reading the key costs nothing once it is held; until then it need not wait for the grants.
        let (matches, key) = join(self.store.read(&caller, &request.grant), self.keys.current(now)).await;
        record.measured.stages.push(("grants", begun.elapsed()));
        let pending = authorize(&caller, &request, matches?, now)?;
        record.describe(pending.describe());

        // Nothing is owned or spent for a request that cannot succeed anyway.
        let found = key?;
        record.measured.key_age = Some(found.age);
        beside.extend(found.refresh);
        let settling = self.store.settle(pending, &record.lambda_request_id, now);
        // Large, and rarely more than a move.
        let session = Box::pin(settling).await?;
        self.audit.issuing(record, now).map_err(|_| Failure::Unaudited)?;
        let begun = Instant::now();
        let issued = self.keys.mint(&found.key, &session, now).await;
        record.measured.stages.push(("sts", begun.elapsed()));
        let issued = issued?;
        record.access_key_id = Some(issued.access_key_id.clone());
        record.sts_request_id.clone_from(&issued.request_id);
        record.expiration = rfc3339(issued.expires_at);
        record.measured.packed_policy_size = issued.packed_policy_size;
        Ok(Granted { grant: session.grant().clone(), issued })
    }

    async fn identify(
        &self,
        token: &str,
        record: &mut Record,
        beside: &mut Vec<Refresh>,
        now: SystemTime,
    ) -> Result<Caller, IdentityError> {
        let begun = Instant::now();
        record.token_sha256 = Some(HEXLOWER.encode(&Sha256::digest(token)));
        let token = UnverifiedToken::parse(token)?;
        let (issuer, subject) = token.unverified_names();
        (record.unverified_issuer, record.unverified_subject) = (issuer.map(capped), subject.map(capped));
        let identified = self.identity.identify(token, now).await?;
        let caller = identified.caller;
        (record.unverified_issuer, record.unverified_subject) = (None, None);
        record.issuer = Some(caller.issuer().to_string());
        record.subject = Some(caller.subject().to_owned());
        record.jti = caller.token_id().map(capped);
        record.measured.jwks_age = Some(identified.key_age);
        record.measured.stages.push(("identity", begun.elapsed()));
        beside.extend(identified.refresh);
        Ok(caller)
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

    async fn limit<T>(self, deciding: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        timeout_at(self.deadline, deciding).await.unwrap_or(Err(Failure::TooSlow))
    }

    /// Waits a moment for what goes on beside the request. Not ending in time is no error: it goes on.
    async fn end(self, beside: Vec<Refresh>, record: &mut Record) {
        let grace = Instant::now().checked_add(REFRESH_GRACE).unwrap_or(self.deadline).min(self.deadline);
        let _ = timeout_at(grace, join_all(beside.into_iter().map(Refresh::ended))).await;
        record.measured.stages.push(("total", self.begun.elapsed()));
    }
}

impl From<MintError> for Failure {
    fn from(error: MintError) -> Self {
        match error {
            MintError::Key(error) => Self::Key(error),
            MintError::Sts(error) => Self::Sts(error),
        }
    }
}

impl Record {
    fn describe(&mut self, session: &Session) {
        let item = |matched: &crate::grants::Matched| MatchedItem {
            principal: matched.principal.to_string(),
            revision: matched.revision.as_deref().map(capped),
        };
        self.matched = session.matched().iter().map(item).collect();
        self.policy_sha256 = session.policy().map(|policy| HEXLOWER.encode(&Sha256::digest(policy.as_str())));
        self.policy_arns = session.policy_arns().iter().map(|arn| arn.as_str().to_owned()).collect();
        self.duration = Some(session.duration().as_secs());
        self.federated_name = Some(session.name().as_str().to_owned());
    }
}
