//! Which stack is meant, in which account, and what are its parts called?

use std::time::Duration;

use aws_config::default_provider::region::DefaultRegionChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_cloudformation::types::Stack as Description;
use aws_sdk_iam::config::ProvideCredentials as _;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use hallpass::net::aws::SdkConfig;

use crate::failure::Failure;

/// Services answer within seconds; an attempt that takes longer is worth another one.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Names the log group of the audit lines, for people who may not ask CloudFormation.
const AUDIT_LOG_VARIABLE: &str = "HALLPASS_AUDIT_LOG";

/// The options of every command that works on a stack.
#[derive(Debug, Args)]
// Options of people have a group with this name, too.
#[group(skip)]
pub(crate) struct Target {
    /// The stack's name
    #[arg(long, env = "HALLPASS_STACK", value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    stack: String,
    #[command(flatten)]
    account: Account,
}

/// The options of every command that needs no more of a stack than its tables.
#[derive(Debug, Args)]
pub(crate) struct Tables {
    /// The stack's name; its outputs name the tables [env: `HALLPASS_STACK`]
    // Not clap's `env`: an option must win over the variable of another option, or `--stack staging` would change the
    // table that `HALLPASS_TABLE` names.
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    stack: Option<String>,
    /// The table of grants, for people who may not ask CloudFormation [env: `HALLPASS_TABLE`]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    grants_table: Option<String>,
    /// The table of names, which only some commands read [env: `HALLPASS_STATE`]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    state_table: Option<String>,
    #[command(flatten)]
    account: Account,
}

/// Where AWS is asked, and as whom.
#[derive(Debug, Args)]
pub(crate) struct Account {
    /// The stack's region [default: from the environment or the profile]
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    region: Option<String>,
    /// The AWS profile with the credentials to use, even if the environment has others
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    profile: Option<String>,
}

/// The parts of a stack that the commands work on.
#[derive(Debug, Clone)]
pub(crate) struct Stack {
    pub(crate) name: String,
    /// The ARN of the secret that holds the broker key.
    pub(crate) secret: String,
    /// The name of the broker user.
    pub(crate) user: String,
    /// The log group of the rotator, if the stack has this output.
    rotator_log: Option<String>,
}

impl Target {
    /// The SDK's settings, with credentials that were there just now.
    pub(crate) async fn sdk(&self) -> Result<SdkConfig, Failure> {
        self.account.sdk().await
    }

    /// The stack's name.
    pub(crate) fn name(&self) -> &str {
        &self.stack
    }

    /// The SDK's settings, and what can be known of the stack.
    pub(crate) async fn explained(&self) -> Result<(SdkConfig, Explained), Failure> {
        let sdk = self.sdk().await?;
        let stack = Explained::of(&describe(&self.stack, &sdk).await?, &self.stack)?;
        Ok((sdk, stack))
    }
}

/// The parts of a stack that explanations need, as far as they can be named.
#[derive(Debug, Default)]
pub(crate) struct Explained {
    pub(crate) grants: String,
    /// The table of names.
    pub(crate) state: Option<String>,
    /// The log group of the audit lines.
    pub(crate) audit_log: Option<String>,
    /// The configured issuers, as JSON.
    pub(crate) issuers: Option<String>,
    /// The broker user; its permissions are the ceiling.
    pub(crate) user: Option<String>,
    /// The ARN of the user's permissions boundary.
    pub(crate) boundary: Option<String>,
    /// Partition and account.
    pub(crate) account: Option<(String, String)>,
}

impl Explained {
    fn of(stack: &Description, name: &str) -> Result<Self, Failure> {
        Ok(Self {
            grants: needed(stack, name, "GrantsTable")?,
            state: output(stack, "StateTable"),
            audit_log: output(stack, "AuditLog"),
            issuers: output(stack, "Issuers"),
            user: output(stack, "BrokerUser"),
            boundary: output(stack, "BoundaryPolicy"),
            account: stack.stack_id().and_then(|arn| {
                let mut parts = arn.split(':').map(str::to_owned);
                Some((parts.nth(1)?, parts.nth(2)?))
            }),
        })
    }

    /// The table of names, for those who cannot do without it.
    pub(crate) fn names(&self) -> Result<&str, Failure> {
        let missing = || Failure::Usage("which table of names? Use --stack or --state-table".into());
        self.state.as_deref().ok_or_else(missing)
    }
}

impl Tables {
    /// The SDK's settings, and what can be known of the stack.
    pub(crate) async fn explained(&self) -> Result<(SdkConfig, Explained), Failure> {
        let state = named(&[
            (Named::Table, self.state_table.as_deref(), None),
            (Named::Table, None, Some("HALLPASS_STATE").filter(|_| self.stack.is_none())),
        ]);
        let state = state.map(|(_, name)| name);
        let (sdk, kind, name) = self.named_and_sdk().await?;
        if matches!(kind, Named::Table) {
            return Ok((sdk, Explained { grants: name, state, ..Explained::default() }));
        }
        let explained = Explained::of(&describe(&name, &sdk).await?, &name)?;
        Ok((sdk, Explained { state: state.or(explained.state), ..explained }))
    }

    /// The same for those who need more of a stack than its tables.
    pub(crate) async fn whole_stack(&self) -> Result<(SdkConfig, Explained), Failure> {
        if matches!(self.meant()?, (Named::Table, _)) {
            let text = "--revoke needs the whole stack, and not only its table: use --stack";
            return Err(Failure::Usage(text.into()));
        }
        self.explained().await
    }

    /// The SDK's settings, and what can be known of the stack by those who need names or the sessions that have them. The
    /// table of names, or the log group of the audit lines, can be named by itself.
    pub(crate) async fn with_names(&self, audit_log: Option<&str>) -> Result<(SdkConfig, Explained), Failure> {
        let state = (Named::Table, self.state_table.as_deref(), None);
        let log = (Named::Table, audit_log, None);
        let given = named(&[(Named::Stack, self.stack.as_deref(), None), state, log]);
        let meant = given.or_else(|| {
            let variables = [Some("HALLPASS_STATE"), Some(AUDIT_LOG_VARIABLE)];
            let [state, log] = variables.map(|variable| (Named::Table, None, variable));
            named(&[state, log, (Named::Stack, None, Some("HALLPASS_STACK"))])
        });
        let Some((kind, name)) = meant else {
            let text = "which stack? Use --stack or set HALLPASS_STACK, or use --state-table or set HALLPASS_STATE";
            return Err(Failure::Usage(text.into()));
        };
        let sdk = self.account.sdk().await?;
        let mut explained = match kind {
            Named::Stack => Explained::of(&describe(&name, &sdk).await?, &name)?,
            Named::Table => {
                // Variables of another stack must not fill in what an option leaves out.
                let variable = |name| Some(name).filter(|_| self.state_table.is_none() && audit_log.is_none());
                let by_variable = |name| named(&[(Named::Table, None, variable(name))]).map(|(_, name)| name);
                Explained {
                    state: by_variable("HALLPASS_STATE"),
                    audit_log: by_variable(AUDIT_LOG_VARIABLE),
                    ..Explained::default()
                }
            }
        };
        explained.state = self.state_table.clone().or(explained.state);
        explained.audit_log = audit_log.map(str::to_owned).or(explained.audit_log);
        Ok((sdk, explained))
    }

    /// The SDK's settings, with credentials that were there just now, and the name of the table of grants.
    pub(crate) async fn grants(&self) -> Result<(SdkConfig, String), Failure> {
        let (sdk, kind, name) = self.named_and_sdk().await?;
        let table = match kind {
            Named::Table => name,
            Named::Stack => needed(&describe(&name, &sdk).await?, &name, "GrantsTable")?,
        };
        Ok((sdk, table))
    }

    async fn named_and_sdk(&self) -> Result<(SdkConfig, Named, String), Failure> {
        let (kind, name) = self.meant()?;
        Ok((self.account.sdk().await?, kind, name))
    }

    /// The stack, or the table of grants.
    fn meant(&self) -> Result<(Named, String), Failure> {
        let named = named(&[
            (Named::Table, self.grants_table.as_deref(), None),
            (Named::Stack, self.stack.as_deref(), None),
            (Named::Table, None, Some("HALLPASS_TABLE")),
            (Named::Stack, None, Some("HALLPASS_STACK")),
        ]);
        let which = "which stack? Use --stack or set HALLPASS_STACK, or use --grants-table or set HALLPASS_TABLE";
        named.ok_or_else(|| Failure::Usage(which.into()))
    }
}

/// What a name is the name of.
#[derive(Debug, Clone, Copy)]
enum Named {
    Table,
    Stack,
}

/// The first of these that is there: an option, or a variable that is not empty.
fn named(candidates: &[(Named, Option<&str>, Option<&str>)]) -> Option<(Named, String)> {
    #[expect(clippy::disallowed_methods, reason = "the command line reads the environment")]
    let read = |variable: &str| std::env::var(variable).ok().filter(|value| !value.is_empty());
    candidates.iter().find_map(|(kind, option, variable)| {
        let value = option.map(str::to_owned).or_else(|| variable.and_then(read))?;
        Some((*kind, value))
    })
}

impl Account {
    /// The SDK's settings, without a look at region and credentials.
    pub(crate) async fn load(&self) -> SdkConfig {
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).build());
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(profile) = &self.profile {
            // The SDK would try the environment first. Who names a profile means its account, as with the AWS CLI.
            // A profile that assumes a role asks STS in the region that is meant.
            let region = match &self.region {
                Some(region) => Some(Region::new(region.clone())),
                None => DefaultRegionChain::builder().profile_name(profile).build().region().await,
            };
            let config = ProviderConfig::without_region().with_region(region);
            let credentials =
                ProfileFileCredentialsProvider::builder().configure(&config).profile_name(profile).build();
            loader = loader.profile_name(profile).credentials_provider(credentials);
        }
        loader.load().await
    }

    /// The SDK's settings, with credentials that were there just now.
    pub(crate) async fn sdk(&self) -> Result<SdkConfig, Failure> {
        let sdk = self.load().await;
        if sdk.region().is_none() {
            return Err(Failure::new("no AWS region: use --region, set AWS_REGION or add it to the profile"));
        }
        // Asked for once ahead, since a service's client reports credentials that are missing as a broken connection.
        // Of the error only its kind is told: the output of a credential process may be in it.
        if let Some(provider) = sdk.credentials_provider()
            && let Err(error) = provider.provide_credentials().await
        {
            return Err(Failure::new(format!("no AWS credentials: {error}; does `aws sts get-caller-identity` work?")));
        }
        Ok(sdk)
    }
}

impl Stack {
    /// Asks CloudFormation for the stack's outputs.
    pub(crate) async fn find(target: &Target, sdk: &SdkConfig) -> Result<Self, Failure> {
        let name = &target.stack;
        Self::of(name, &describe(name, sdk).await?)
    }

    /// Reads the stack's outputs.
    pub(crate) fn of(name: &str, stack: &Description) -> Result<Self, Failure> {
        Ok(Self {
            name: name.to_owned(),
            secret: needed(stack, name, "BrokerKey")?,
            user: needed(stack, name, "BrokerUser")?,
            rotator_log: output(stack, "RotatorLog"),
        })
    }

    /// How to call the log group that says why a rotation did not finish.
    pub(crate) fn rotator_log(&self) -> String {
        self.rotator_log.as_ref().map_or("the rotator's log group".into(), |name| format!("the log group `{name}`"))
    }
}

/// What CloudFormation knows of a stack.
pub(super) async fn describe(name: &str, sdk: &SdkConfig) -> Result<Description, Failure> {
    let asked = aws_sdk_cloudformation::Client::new(sdk).describe_stacks().stack_name(name).send().await;
    let region = sdk.region().map(ToString::to_string).unwrap_or_default();
    let stacks = asked.map_err(|error| {
        // What CloudFormation answers for a name that it does not know.
        let unknown = error.as_service_error().is_some_and(|error| error.meta().code() == Some("ValidationError"));
        let failure =
            Failure::to(format!("find the stack `{name}` in {region}"), "cloudformation:DescribeStacks")(error);
        if unknown { Failure::new(format!("{failure}; is it in this region and account?")) } else { failure }
    })?;
    let stack = stacks.stacks.unwrap_or_default().into_iter().next();
    stack.ok_or_else(|| Failure::new(format!("there is no stack `{name}` in {region}")))
}

/// An output that every stack of Hallpass has.
pub(super) fn needed(stack: &Description, name: &str, key: &str) -> Result<String, Failure> {
    let missing = || Failure::new(format!("the stack `{name}` has no output `{key}`: is it Hallpass?"));
    output(stack, key).ok_or_else(missing)
}

fn output(stack: &Description, key: &str) -> Option<String> {
    let output = stack.outputs().iter().find(|output| output.output_key() == Some(key))?;
    output.output_value().filter(|value| !value.is_empty()).map(str::to_owned)
}
