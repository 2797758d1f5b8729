//! Which stack is meant, in which account, and what are its parts called?

use std::time::Duration;

use aws_config::profile::ProfileFileCredentialsProvider;
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

/// The options of every command that works on a stack.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// The stack's name
    #[arg(long, env = "HALLPASS_STACK", value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    stack: String,
    /// The stack's region [default: from the environment or the profile]
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    region: Option<String>,
    /// The AWS profile with the credentials to use, even if the environment has others
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    profile: Option<String>,
}

/// The parts of a stack that the commands work on.
#[derive(Debug)]
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
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).build());
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(profile) = &self.profile {
            // The SDK would try the environment first. Who names a profile means its account, as with the AWS CLI.
            let credentials = ProfileFileCredentialsProvider::builder().profile_name(profile).build();
            loader = loader.profile_name(profile).credentials_provider(credentials);
        }
        let sdk = loader.load().await;
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
        let asked = aws_sdk_cloudformation::Client::new(sdk).describe_stacks().stack_name(name).send().await;
        let region = sdk.region().map(ToString::to_string).unwrap_or_default();
        let stacks = asked
            .map_err(|error| {
                // What CloudFormation answers for a name that it does not know.
                let unknown =
                    error.as_service_error().is_some_and(|error| error.meta().code() == Some("ValidationError"));
                let failure =
                    Failure::to(format!("find the stack `{name}` in {region}"), "cloudformation:DescribeStacks")(error);
                if unknown { Failure::new(format!("{failure}; is it in this region and account?")) } else { failure }
            })?
            .stacks
            .unwrap_or_default();
        let stack = stacks.first().ok_or_else(|| Failure::new(format!("there is no stack `{name}` in {region}")))?;
        let needed = |key: &str| {
            output(stack, key)
                .ok_or_else(|| Failure::new(format!("the stack `{name}` has no output `{key}`: is it Hallpass?")))
        };
        Ok(Self {
            name: name.clone(),
            secret: needed("BrokerKey")?,
            user: needed("BrokerUser")?,
            rotator_log: output(stack, "RotatorLog"),
        })
    }

    /// How to call the log group that says why a rotation did not finish.
    pub(crate) fn rotator_log(&self) -> String {
        self.rotator_log.as_ref().map_or("the rotator's log group".into(), |name| format!("the log group `{name}`"))
    }
}

fn output(stack: &Description, key: &str) -> Option<String> {
    let output = stack.outputs().iter().find(|output| output.output_key() == Some(key))?;
    output.output_value().filter(|value| !value.is_empty()).map(str::to_owned)
}
