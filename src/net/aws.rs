//! How are AWS services asked, and what does it mean when one does not answer?
//!
//! DESIGN's deadlines are the SDK's own settings, made in one place. The broker's deadline for the whole request wins
//! over all of them, since it drops whatever is still under way.

use std::time::Duration;
use std::{fmt, mem};

use aws_runtime::retries::classifiers::{THROTTLING_ERRORS, TRANSIENT_ERRORS};
use aws_sdk_sts::config::http::HttpResponse;
use aws_sdk_sts::config::interceptors::{
    BeforeDeserializationInterceptorContextMut, BeforeTransmitInterceptorContextMut,
};
use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::config::timeout::TimeoutConfig;
use aws_sdk_sts::config::{
    BehaviorVersion, ConfigBag, Credentials, IdentityCache, Intercept, Region, RuntimeComponents,
    SharedCredentialsProvider, StalledStreamProtectionConfig,
};
use aws_sdk_sts::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_smithy_types::body::SdkBody;
pub use aws_types::SdkConfig;
use aws_types::sdk_config;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

use http_body_util::Limited;

use super::connector::Connections;
use super::https::Https;
use crate::read::problems::{Problem, Problems};
use crate::read::rule::Rule;

/// One attempt and one retry: a single hiccup stays invisible, and an outage is not made worse.
const ATTEMPTS: u32 = 2;
/// The longest wait before the retry.
const BACKOFF: Duration = Duration::from_millis(25);
/// Services and load balancers drop idle connections after 20 s or more; a frozen function would find out too late.
const IDLE: Duration = Duration::from_secs(15);
/// Each attempt at DynamoDB and Secrets Manager.
const ATTEMPT: Duration = Duration::from_millis(400);
/// Each attempt at STS, which is the slowest of them.
pub(crate) const STS_ATTEMPT: Duration = Duration::from_millis(600);

/// The SDKs' settings but for their connections: region, credentials and endpoints by the SDK's own variables, limits
/// as DESIGN has them.
#[derive(Debug)]
pub struct Settings(sdk_config::Builder);

impl Settings {
    /// Reads the variables.
    ///
    /// The variables alone, since they are what Lambda gives: the SDK's search through profiles, web identities and
    /// metadata services would be a tenth of the function and part of its start.
    /// <https://docs.aws.amazon.com/sdkref/latest/guide/environment-variables.html>
    ///
    /// # Errors
    /// [`Problems`] names the variables that are missing.
    pub fn from_lookup(
        lookup: impl Fn(&str) -> Option<String> + Clone + Send + Sync + 'static,
    ) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut required = |name: &str| {
            let value = lookup(name).filter(|value| !value.is_empty());
            if value.is_none() {
                problems.add(name, Problem::new(Rule::Missing, "is not set").help("Lambda sets it"));
            }
            value.unwrap_or_default()
        };
        let region = required("AWS_REGION");
        let (id, secret) = (required("AWS_ACCESS_KEY_ID"), required("AWS_SECRET_ACCESS_KEY"));
        if !problems.is_empty() {
            return Err(problems);
        }
        // Lambda replaces the whole environment before these expire.
        let credentials = Credentials::new(id, secret, lookup("AWS_SESSION_TOKEN"), None, "environment");
        let is_set = |name: &str| lookup(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let settings = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(region))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            // What never expires need not be cached.
            .identity_cache(IdentityCache::no_cache())
            .use_fips(is_set("AWS_USE_FIPS_ENDPOINT"))
            .use_dual_stack(is_set("AWS_USE_DUALSTACK_ENDPOINT"))
            .service_config(Endpoints(lookup))
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(BACKOFF))
            .timeout_config(attempts_of(ATTEMPT))
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        Ok(Self(settings))
    }

    /// The whole, with all requests over one pool of connections.
    #[must_use]
    pub fn over(self, https: &Https) -> SdkConfig {
        self.0.http_client(Connections::new(https, IDLE)).build()
    }
}

/// Other endpoints than AWS's: `AWS_ENDPOINT_URL_STS` and its like, else `AWS_ENDPOINT_URL`.
struct Endpoints<L>(L);

impl<L> fmt::Debug for Endpoints<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Endpoints")
    }
}

impl<L: Fn(&str) -> Option<String> + Send + Sync> LoadServiceConfig for Endpoints<L> {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().to_ascii_uppercase().replace(' ', "_");
        (self.0)(&format!("{}_{service}", key.env())).or_else(|| (self.0)(key.env()))
    }
}

pub(crate) fn attempts_of(limit: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().operation_attempt_timeout(limit).build()
}

/// What a service's error means for the request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Upstream {
    /// Throttled, broken for the moment, or out of reach: asking again later may help.
    #[error("{service} is throttled or out of reach ({code})")]
    Unavailable {
        service: &'static str,
        /// The service's error code, or what happened in its place.
        code: String,
    },
    /// Refused: somebody has to mend something.
    #[error("{service} refused with {code}")]
    Refused { service: &'static str, code: String },
}

impl Upstream {
    /// The name in the audit line.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "upstream_unavailable",
            Self::Refused { .. } => "upstream_refused",
        }
    }

    /// A service did not answer in time.
    #[cfg(feature = "rotator")]
    pub(crate) fn timeout(service: &'static str) -> Self {
        Self::Unavailable { service, code: "timeout".into() }
    }

    /// A service refused with a code that was looked at before.
    #[cfg(feature = "rotator")]
    pub(crate) fn refused(service: &'static str, code: &str) -> Self {
        Self::Refused { service, code: code.into() }
    }

    /// Classes an SDK error. The service's message is left out: it may quote what was sent.
    #[expect(clippy::wildcard_enum_match_arm, reason = "what is left, or added later, is a request that was not sent")]
    pub fn of<E: ProvideErrorMetadata>(service: &'static str, error: &SdkError<E, HttpResponse>) -> Self {
        let (later, code) = match error {
            SdkError::TimeoutError(_) => (true, "timeout".into()),
            SdkError::DispatchFailure(_) => (true, "no connection".into()),
            SdkError::ResponseError(_) => (true, "unreadable answer".into()),
            SdkError::ServiceError(answer) => {
                let status = answer.raw().status().as_u16();
                match answer.err().code() {
                    // Neither an answer nor an error of the service: something on the way broke it.
                    None if status < 300 => (true, "unreadable answer".into()),
                    code => {
                        let later = status >= 500 || status == 429 || code.is_some_and(is_for_now);
                        (later, code.map_or("no code", legible).to_owned())
                    }
                }
            }
            _ => (false, "request not sent".into()),
        };
        if later { Self::Unavailable { service, code } } else { Self::Refused { service, code } }
    }
}

/// Whether a code says that the same request may succeed later. These are the codes that the SDKs retry. AWS answers the
/// ones that they leave out, such as `ServiceUnavailable`, with a status of 500 or more.
fn is_for_now(code: &str) -> bool {
    THROTTLING_ERRORS.contains(&code) || TRANSIENT_ERRORS.contains(&code)
}

/// Anything that does not look like an AWS error code may echo our request, so it is not logged.
fn legible(code: &str) -> &str {
    let known = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:_-".contains(&byte));
    if known { code } else { "an unreadable code" }
}

/// Reads at most so many bytes of an answer: what is longer is none that the service gives, and must not cost the
/// function its memory.
#[derive(Debug)]
pub(crate) struct AtMost(pub(crate) usize);

impl AtMost {
    /// For answers of one secret or one session, which have a few KiB.
    pub(crate) const SMALL: Self = Self(256 * 1024);
    /// For `BatchGetItem`, whose items have at most 16 MiB, told in a little more.
    pub(crate) const BATCH: Self = Self(24 * 1024 * 1024);
}

impl Intercept for AtMost {
    fn name(&self) -> &'static str {
        "AtMost"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = mem::replace(context.response_mut().body_mut(), SdkBody::taken());
        *context.response_mut().body_mut() = SdkBody::from_body_1_x(Limited::new(body, self.0));
        Ok(())
    }
}

/// Turns an operation into a bare `GET /` at its endpoint, without a signature or a body: the connection is made and
/// stays in the pool, and nothing is asked that would need a permission.
#[derive(Debug)]
pub(crate) struct ConnectOnly;

impl Intercept for ConnectOnly {
    fn name(&self) -> &'static str {
        "ConnectOnly"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        let names: Vec<String> = request.headers().iter().map(|(name, _)| name.to_owned()).collect();
        for name in names {
            request.headers_mut().remove(name);
        }
        request.set_method("GET")?;
        *request.body_mut() = SdkBody::empty();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttled_request_may_succeed_later_and_a_denied_one_does_not() {
        for code in [
            "Throttling",
            "ThrottlingException",
            "ThrottledException",
            "RequestThrottled",
            "RequestThrottledException",
            "RequestLimitExceeded",
            "TooManyRequestsException",
            "ProvisionedThroughputExceededException",
            "TransactionInProgressException",
            "LimitExceededException",
            "SlowDown",
            "RequestTimeout",
            "RequestTimeoutException",
        ] {
            assert!(is_for_now(code), "{code}");
        }
        for code in ["AccessDenied", "AccessDeniedException", "InvalidClientTokenId", "LimitExceeded", "throttling", ""]
        {
            assert!(!is_for_now(code), "{code}");
        }
    }

    #[test]
    fn a_code_is_told_where_it_can_be_one() {
        for code in ["AccessDenied", "Client.RequestLimitExceeded", "aws:Some-code_1"] {
            assert_eq!(legible(code), code);
        }
        let long = "x".repeat(65);
        for other in ["no/key+is=a code", "a b", "ä", "a\nb", long.as_str()] {
            assert_eq!(legible(other), "an unreadable code");
        }
    }
}
