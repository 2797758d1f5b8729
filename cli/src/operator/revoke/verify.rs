//! Does AWS refuse a session that was cut off?
//!
//! That is documented, and nobody has seen it here. So a session of the operator's own is cut off with the others, and
//! used until it is refused. What it may do depends on its grant: a call that it may not make is refused before, too. Then
//! AWS says why, and "explicit deny" is what the boundary adds.

use std::time::Duration;

use aws_sdk_iam::config::http::HttpResponse;
use aws_sdk_iam::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_iam::error::{ProvideErrorMetadata, SdkError};
use hallpass::net::aws::SdkConfig;
use hallpass::session::FederatedName;
use tokio::time::{Instant, sleep};

use crate::failure::Failure;
use crate::operator::stack::Explained;
use crate::outside::secret::expose;
use crate::person::OwnSession;

/// Between two calls: soon enough for who waits.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A session of the operator's own.
#[derive(Debug)]
pub(super) struct Trial {
    own: OwnSession,
    name: FederatedName,
    sdk: SdkConfig,
    call: Call,
    before: Seen,
}

/// What is asked for. Both only list names, and AWS says in both why it refuses.
#[derive(Debug, Clone, Copy)]
enum Call {
    Tables,
    LogGroups,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Allowed,
    /// Nothing allows it.
    Refused,
    /// Something denies it.
    Denied,
}

impl Trial {
    /// Looks at what the session may do before it is cut off.
    pub(super) async fn begin(own: OwnSession, stack: &Explained, sdk: &SdkConfig) -> Result<Self, Failure> {
        let made = &own.credentials;
        if stack.account.as_ref().is_some_and(|(_, account)| *account != made.account_id) {
            let text = format!("your own session is of the account {}, and the stack is in another", made.account_id);
            return Err(Failure::new(text));
        }
        let name = made.federated_user.federated_user_id.rsplit(':').next().and_then(FederatedName::parse);
        let name = name.ok_or_else(|| Failure::new("the server does not say what your own session is called"))?;
        let token = Some(expose(&made.session_token).to_owned());
        let secret = expose(&made.secret_access_key);
        let credentials = Credentials::new(made.access_key_id.clone(), secret, token, None, "hallpass");
        let sdk = sdk.to_builder().credentials_provider(SharedCredentialsProvider::new(credentials)).build();
        for call in [Call::Tables, Call::LogGroups] {
            let before = call.make(&sdk).await?;
            if before != Seen::Denied {
                return Ok(Self { own, name, sdk, call, before });
            }
        }
        Err(Failure::new(
            "something denies your own session all that could be tried with it, so nothing can be verified",
        ))
    }

    pub(super) fn name(&self) -> &FederatedName {
        &self.name
    }

    /// Waits until the session is refused. The answer is how long that took, if it came to it.
    pub(super) async fn is_refused(&self, limit: Duration) -> Result<Option<Duration>, Failure> {
        let began = Instant::now();
        loop {
            let now = self.call.make(&self.sdk).await?;
            let is_cut = match self.before {
                Seen::Allowed => now != Seen::Allowed,
                Seen::Refused | Seen::Denied => now == Seen::Denied,
            };
            if is_cut {
                self.own.forget().await?;
                return Ok(Some(began.elapsed()));
            }
            if began.elapsed() >= limit {
                return Ok(None);
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

impl Call {
    async fn make(self, sdk: &SdkConfig) -> Result<Seen, Failure> {
        let what = "try your own session";
        match self {
            Self::Tables => {
                let asked = aws_sdk_dynamodb::Client::new(sdk).list_tables().limit(1).send().await;
                seen(asked, what, "dynamodb:ListTables")
            }
            Self::LogGroups => {
                let asked = aws_sdk_cloudwatchlogs::Client::new(sdk).describe_log_groups().limit(1).send().await;
                seen(asked, what, "logs:DescribeLogGroups")
            }
        }
    }
}

fn seen<T, E: ProvideErrorMetadata>(
    asked: Result<T, SdkError<E, HttpResponse>>,
    what: &str,
    permission: &'static str,
) -> Result<Seen, Failure> {
    let Err(error) = asked else { return Ok(Seen::Allowed) };
    let answered = error.as_service_error();
    if !answered.and_then(ProvideErrorMetadata::code).is_some_and(|code| code.starts_with("AccessDenied")) {
        return Err(Failure::to(what, permission)(error));
    }
    let is_explicit =
        answered.and_then(ProvideErrorMetadata::message).is_some_and(|text| text.contains("explicit deny"));
    Ok(if is_explicit { Seen::Denied } else { Seen::Refused })
}
