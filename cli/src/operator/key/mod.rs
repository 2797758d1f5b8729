//! How is the broker key, and how does a stack get a new one?
//!
//! The secret's value is never read: no person needs the key, so nobody's machine should ever have it.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_sdk_iam::primitives::DateTime;
use aws_sdk_iam::types::StatusType;
use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;
use clap::{Subcommand, value_parser};
use hallpass::net::aws::SdkConfig;
use hallpass::time::{rfc3339, seconds};
use serde::{Serialize, Serializer};

use self::rotate::Rotation;
use self::status::Status;
use crate::failure::Failure;
use crate::operator::revoke::Cut;
use crate::operator::stack::{Stack, Target};
use crate::output::{Outcome, Output};

mod rotate;
mod status;

/// The version of the secret that is in use has this label.
const CURRENT: &str = "AWSCURRENT";
/// The version that a rotation is about to make current has this one.
const PENDING: &str = "AWSPENDING";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the broker key's status, its problems and how to fix them; exits with 3 if there are problems
    #[command(after_help = "Example:\n  hallpass key status --stack hallpass")]
    Status {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        output: Output,
    },
    /// Make a new broker key now, and wait until it is in use
    ///
    /// AWS does the work. Ctrl-C stops the waiting, not the rotation; then no key is deactivated.
    #[command(
        after_help = "Examples:\n  hallpass key rotate --stack hallpass\n  hallpass key rotate --stack hallpass \
                            --deactivate-old\n  hallpass key rotate --stack hallpass --deactivate-old --revoke"
    )]
    Rotate {
        #[command(flatten)]
        target: Target,
        /// Then deactivate the previous keys: for a key that leaked
        #[arg(long)]
        deactivate_old: bool,
        /// Then cut off the sessions of everybody: those that somebody made with a leaked key last up to 36 hours
        #[arg(long, requires = "deactivate_old")]
        revoke: bool,
        /// How long to wait
        #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = value_parser!(u64).range(1..=86_400))]
        wait: u64,
    },
}

impl Command {
    /// Does it, and says so.
    pub(crate) async fn run(self, now: SystemTime) -> Result<Outcome, Failure> {
        match self {
            Self::Status { target, output } => {
                let status = Status::of(&BrokerKey::find(&target).await?, Time::of(now)).await?;
                output.print(&status, || status.text())?;
                Ok(if status.is_fine() { Outcome::Done } else { Outcome::Problems })
            }
            Self::Rotate { target, deactivate_old, revoke, wait } => {
                let key = BrokerKey::find(&target).await?;
                Rotation::new(&key, deactivate_old, revoke).run(Duration::from_secs(wait)).await?;
                if revoke {
                    cut_everybody_off(&target).await?;
                }
                Ok(Outcome::Done)
            }
        }
    }
}

/// Cuts off the sessions that an old key has made.
async fn cut_everybody_off(target: &Target) -> Result<(), Failure> {
    let cutting = async {
        let (sdk, stack) = target.explained().await?;
        let cut = Cut::after_key(&stack, &sdk).await?;
        cut.told().iter().for_each(|cut| tell(&cut.text()));
        cut.end().await
    };
    cutting.await.map_err(|failure: Failure| {
        let stack = target.name();
        Failure::new(format!(
            "the key is rotated and the old ones are deactivated, but sessions made with them work: {failure}; \
             `hallpass revoke --everyone --stack {stack}` cuts them off"
        ))
    })
}

/// Prints the progress. If standard output is closed, the command continues.
fn tell(line: &str) {
    let _ = crate::output::print(line);
}

/// The broker key of a stack: its secret and its user, and whom to ask about them.
#[derive(Debug)]
struct BrokerKey {
    stack: Stack,
    secrets: aws_sdk_secretsmanager::Client,
    iam: aws_sdk_iam::Client,
}

/// An access key of the broker user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct AccessKey {
    id: String,
    active: bool,
    created: Time,
    last_used: Option<LastUse>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct LastUse {
    at: Time,
    service: String,
    region: String,
}

impl AccessKey {
    fn state(&self) -> &'static str {
        if self.active { "active" } else { "inactive" }
    }
}

/// What is wrong with the broker key of a stack, each with what helps, as `hallpass key status` says it.
pub(crate) async fn problems(
    stack: &Stack,
    sdk: &SdkConfig,
    now: SystemTime,
) -> Result<Vec<(String, String)>, Failure> {
    let status = Status::of(&BrokerKey::of(stack.clone(), sdk), Time::of(now)).await?;
    Ok(status.into_problems())
}

impl BrokerKey {
    async fn find(target: &Target) -> Result<Self, Failure> {
        let sdk = target.sdk().await?;
        Ok(Self::of(Stack::find(target, &sdk).await?, &sdk))
    }

    fn of(stack: Stack, sdk: &SdkConfig) -> Self {
        let (secrets, iam) = (aws_sdk_secretsmanager::Client::new(sdk), aws_sdk_iam::Client::new(sdk));
        Self { stack, secrets, iam }
    }

    /// What Secrets Manager knows of the secret, without its value.
    async fn secret(&self) -> Result<DescribeSecretOutput, Failure> {
        let secret = &self.stack.secret;
        let asked = self.secrets.describe_secret().secret_id(secret).send().await;
        asked.map_err(Failure::to(format!("describe the secret `{secret}`"), "secretsmanager:DescribeSecret"))
    }

    /// The access keys of the user, of which there are two at most, without their last use.
    async fn access_keys(&self) -> Result<Vec<AccessKey>, Failure> {
        let user = &self.stack.user;
        let what = format!("list the access keys of `{user}`");
        let asked = self.iam.list_access_keys().user_name(user).send().await;
        let listed = asked.map_err(Failure::to(what.as_str(), "iam:ListAccessKeys"))?.access_key_metadata;
        let keys = listed.into_iter().map(|key| {
            let active = key.status == Some(StatusType::Active);
            Some(AccessKey { id: key.access_key_id?, active, created: key.create_date?.into(), last_used: None })
        });
        keys.collect::<Option<_>>().ok_or_else(|| Failure::new(format!("cannot {what}: IAM left out an id or a date")))
    }
}

fn has(stages: &[String], label: &str) -> bool {
    stages.iter().any(|stage| stage == label)
}

/// Seconds since the epoch; written as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Time(i64);

impl Time {
    fn of(time: SystemTime) -> Self {
        Self(seconds(time))
    }

    /// Seconds from the other time to this one; 0 where that is later, as it may seem by a clock that is slow.
    fn since(self, other: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(other.0)).unwrap_or_default()
    }
}

impl From<DateTime> for Time {
    fn from(time: DateTime) -> Self {
        Self(time.secs())
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match rfc3339(self.0) {
            Some(text) => f.write_str(&text),
            // RFC 3339 has no years of five digits.
            None => write!(f, "{} s after 1970", self.0),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
