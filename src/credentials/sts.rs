//! What does STS give for a session?

use aws_sdk_sts::operation::RequestId;
use aws_sdk_sts::types::{FederatedUser, PolicyDescriptorType, Tag};
use secrecy::SecretString;

use super::broker_key::BrokerKey;
use crate::grants::Session;
use crate::net::aws::Upstream;

/// Codes with which STS refuses the key, not the request: the key was deleted, deactivated or replaced, is no user's
/// long-term key, or its user may not ask.
const KEY_REFUSED: [&str; 8] = [
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "InvalidAccessKeyId",
];
/// Codes with which STS refuses what was asked for.
const GRANT_REFUSED: [&str; 4] =
    ["MalformedPolicyDocument", "PackedPolicyTooLarge", "ValidationError", "InvalidParameterValue"];

/// Why STS gave no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StsError {
    /// The key's fault.
    #[error("STS refused the broker key with {0}")]
    KeyRefused(String),
    /// The grant's fault.
    #[error("STS refused the session with {0}")]
    GrantRefused(String),
    /// STS gave another error.
    #[error(transparent)]
    Upstream(Upstream),
    /// STS answered without credentials.
    #[error("STS answered without credentials")]
    Incomplete,
}

impl StsError {
    /// The name in the audit line.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::KeyRefused(_) => "sts_refused_key",
            Self::GrantRefused(_) => "sts_refused_session",
            Self::Upstream(error) => error.reason(),
            Self::Incomplete => "sts_incomplete",
        }
    }
}

/// Credentials for a session.
#[derive(Debug)]
pub struct Issued {
    /// `AccessKeyId`, which also CloudTrail records.
    pub access_key_id: String,
    pub secret_access_key: SecretString,
    pub session_token: SecretString,
    /// When they expire, in seconds since the epoch.
    pub expires_at: i64,
    /// The account, as it stands in the federated user's ARN.
    pub account: String,
    pub user: FederatedUser,
    /// How much of STS's limit for the packed policy is used, in per cent.
    pub packed_policy_size: Option<i32>,
    pub request_id: Option<String>,
}

impl BrokerKey {
    /// Asks STS for a session's credentials.
    ///
    /// # Errors
    /// [`StsError`] names whose fault it is.
    pub async fn mint(&self, session: &Session) -> Result<Issued, StsError> {
        let arns = session.policy_arns().iter().map(|arn| PolicyDescriptorType::builder().arn(arn.as_str()).build());
        let arns: Vec<_> = arns.collect();
        let tag = |(key, value)| Tag::builder().key(key).value(value).build();
        // Key and value are set, which is all that building asks for; were a tag lost, a Deny could be.
        let tags: Vec<Tag> =
            session.tags().iter().map(tag).collect::<Result<_, _>>().map_err(|_| StsError::Incomplete)?;
        let answer = self
            .sts
            .get_federation_token()
            .name(session.name().as_str())
            .duration_seconds(session.duration().as_secs())
            .set_policy(session.policy().map(|policy| policy.as_str().to_owned()))
            .set_policy_arns((!arns.is_empty()).then_some(arns))
            .set_tags((!tags.is_empty()).then_some(tags))
            .send()
            .await
            .map_err(|error| class(Upstream::of("STS", &error)))?;
        let request_id = answer.request_id().map(str::to_owned);
        #[expect(
            deprecated,
            reason = "SessionTokenUtilization measures the token, this the policy, which an operator can fix"
        )]
        let packed_policy_size = answer.packed_policy_size;
        let credentials = answer.credentials.ok_or(StsError::Incomplete)?;
        let user = answer.federated_user.ok_or(StsError::Incomplete)?;
        let account = user.arn().split(':').nth(4).filter(|account| !account.is_empty()).map(str::to_owned);
        let parts = [credentials.access_key_id(), credentials.secret_access_key(), credentials.session_token()];
        if parts.contains(&"") {
            return Err(StsError::Incomplete);
        }
        Ok(Issued {
            access_key_id: credentials.access_key_id,
            secret_access_key: credentials.secret_access_key.into(),
            session_token: credentials.session_token.into(),
            expires_at: credentials.expiration.secs(),
            account: account.ok_or(StsError::Incomplete)?,
            user,
            packed_policy_size,
            request_id,
        })
    }
}

/// What the rotator asks for with a new key, to see whether STS takes it: 15 minutes, STS's least, of nothing.
const TRIAL: (&str, i32, &str) = (
    "hallpass-key-trial",
    900,
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}"#,
);

impl BrokerKey {
    /// Asks STS whether it takes this key, for credentials that open nothing and are dropped unseen.
    ///
    /// # Errors
    /// [`StsError`]: refused, or nothing known.
    pub async fn try_out(&self) -> Result<(), StsError> {
        let (name, seconds, policy) = TRIAL;
        let asked = self.sts.get_federation_token().name(name).duration_seconds(seconds).policy(policy).send().await;
        let answer = asked.map_err(|error| class(Upstream::of("STS", &error)))?;
        answer.credentials.map(drop).ok_or(StsError::Incomplete)
    }
}

fn class(error: Upstream) -> StsError {
    match &error {
        Upstream::Refused { code, .. } if KEY_REFUSED.contains(&code.as_str()) => StsError::KeyRefused(code.clone()),
        Upstream::Refused { code, .. } if GRANT_REFUSED.iter().any(|known| code.starts_with(known)) => {
            StsError::GrantRefused(code.clone())
        }
        Upstream::Refused { .. } | Upstream::Unavailable { .. } => StsError::Upstream(error),
    }
}
