//! What do the versions of the secret hold?

use std::collections::HashMap;
use std::time::SystemTime;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::retry::RetryConfig;
use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;
use aws_sdk_secretsmanager::operation::get_secret_value::{GetSecretValueError, GetSecretValueOutput};
use aws_sdk_secretsmanager::operation::put_secret_value::PutSecretValueError;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::sleep;

use super::{PAUSES, RotationError};
use crate::credentials::{AccessKey, NotAnAccessKey};
use crate::net::aws::{AtMost, SdkConfig, Upstream};

const CURRENT: &str = "AWSCURRENT";
const PENDING: &str = "AWSPENDING";
const PREVIOUS: &str = "AWSPREVIOUS";

/// The secret of the broker key.
#[derive(Debug)]
pub(super) struct Secret {
    client: Client,
    id: String,
}

/// Where a version is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Current,
    Pending,
    /// It has other labels.
    Other,
    /// It has no label, or does not exist.
    Unlabelled,
}

/// Why a key is not kept as the pending version.
#[derive(Debug)]
pub(super) enum NotKept {
    /// The version holds another value, and a value never changes.
    Taken,
    /// It was refused, and no attempt before could have succeeded.
    Refused(Upstream),
    /// An attempt without an answer may still succeed.
    InDoubt(Upstream),
}

/// The versions of the secret and their stages, as Secrets Manager describes them.
#[derive(Debug)]
pub(super) struct Versions {
    names: Vec<String>,
    rotates: bool,
    stages: HashMap<String, Vec<String>>,
    changed_at: Option<SystemTime>,
}

impl Versions {
    fn of(configured: &str, described: DescribeSecretOutput) -> Self {
        let dates = [described.last_changed_date, described.last_rotated_date].into_iter().flatten();
        let changed_at = dates.filter_map(|date| SystemTime::try_from(date).ok()).max();
        let names = [Some(configured.to_owned()), described.arn, described.name].into_iter().flatten().collect();
        Self {
            names,
            rotates: described.rotation_enabled != Some(false),
            stages: described.version_ids_to_stages.unwrap_or_default(),
            changed_at,
        }
    }

    /// Whether that is a name or the ARN of this secret.
    pub(super) fn are_of(&self, secret_id: &str) -> bool {
        self.names.iter().any(|name| name == secret_id)
    }

    pub(super) const fn rotates(&self) -> bool {
        self.rotates
    }

    /// When the secret last changed in any way.
    pub(super) const fn changed_at(&self) -> Option<SystemTime> {
        self.changed_at
    }

    pub(super) fn standing(&self, version: &str) -> Standing {
        let Some(stages) = self.stages.get(version) else { return Standing::Unlabelled };
        let has = |stage: &str| stages.iter().any(|held| held == stage);
        if has(CURRENT) {
            Standing::Current
        } else if has(PENDING) {
            Standing::Pending
        } else {
            Standing::Other
        }
    }

    pub(super) fn current(&self) -> Option<&str> {
        self.with(CURRENT)
    }

    pub(super) fn previous(&self) -> Option<&str> {
        self.with(PREVIOUS)
    }

    fn with(&self, stage: &str) -> Option<&str> {
        let mut versions = self.stages.iter();
        versions.find(|(_, stages)| stages.iter().any(|held| held == stage)).map(|(version, _)| version.as_str())
    }
}

impl Secret {
    pub(super) fn new(sdk: &SdkConfig, id: String) -> Self {
        let client = aws_sdk_secretsmanager::config::Builder::from(sdk).interceptor(AtMost::SMALL).build();
        Self { client: Client::from_conf(client), id }
    }

    pub(super) async fn versions(&self) -> Result<Versions, RotationError> {
        let described = self.client.describe_secret().secret_id(&self.id).send().await;
        Ok(Versions::of(&self.id, described.map_err(|error| failed(&error))?))
    }

    /// Whether the version that is being made has a value, whichever it is.
    pub(super) async fn holds(&self, token: &str) -> Result<bool, RotationError> {
        Ok(self.text(token).await?.is_some())
    }

    /// The key of the version with a label; none where it is the placeholder. That a version has a label and no value is
    /// a contradiction, not an empty secret: whoever takes it for one deletes keys that are in use.
    pub(super) async fn key_of(&self, version: &str, name: &'static str) -> Result<Option<AccessKey>, RotationError> {
        let text = self.text(version).await?.ok_or(RotationError::Incomplete("Secrets Manager"))?;
        AccessKey::parse(&text).map_err(|NotAnAccessKey| RotationError::Malformed(name))
    }

    /// The key of the version that is being made; none if it is the placeholder.
    pub(super) async fn pending_key(&self, token: &str) -> Result<Option<AccessKey>, RotationError> {
        let text = self.text(token).await?.ok_or(RotationError::NotCreated)?;
        AccessKey::parse(&text).map_err(|NotAnAccessKey| RotationError::Malformed("pending"))
    }

    /// The value of a version; none where Secrets Manager says that there is none.
    async fn text(&self, version: &str) -> Result<Option<SecretString>, RotationError> {
        match self.client.get_secret_value().secret_id(&self.id).version_id(version).send().await {
            Ok(answer) if answer.version_id().is_some_and(|answered| answered != version) => {
                Err(RotationError::Incomplete("Secrets Manager"))
            }
            // AWS refuses to answer without a value; an emulator may not.
            Ok(GetSecretValueOutput { secret_string: None, secret_binary: None, .. }) => Ok(None),
            // A value that is no text is no key either.
            Ok(answer) => Ok(Some(answer.secret_string.unwrap_or_default().into())),
            Err(error) => match error.as_service_error() {
                Some(GetSecretValueError::ResourceNotFoundException(_)) => Ok(None),
                _ => Err(failed(&error)),
            },
        }
    }

    /// Keeps a key as the pending version. The attempts are counted here, not by the SDK: it matters whether one before
    /// the last was left without an answer.
    #[expect(clippy::disallowed_methods, reason = "written to Secrets Manager, which is where it is kept")]
    pub(super) async fn put_pending(&self, token: &str, key: &AccessKey) -> Result<(), NotKept> {
        let once = aws_sdk_secretsmanager::config::Builder::new().retry_config(RetryConfig::disabled());
        let put = self.client.put_secret_value().secret_id(&self.id).client_request_token(token);
        let put = put.version_stages(PENDING).secret_string(key.to_text().expose_secret());
        let mut in_doubt = None;
        for pause in PAUSES {
            sleep(pause).await;
            let put = put.clone().customize().config_override(once.clone());
            let Err(error) = put.send().await else { return Ok(()) };
            // The same value again would be accepted.
            if let Some(PutSecretValueError::ResourceExistsException(_)) = error.as_service_error() {
                return Err(NotKept::Taken);
            }
            match Upstream::of("Secrets Manager", &error) {
                later @ Upstream::Unavailable { .. } => in_doubt = Some(later),
                refused @ Upstream::Refused { .. } if in_doubt.is_none() => return Err(NotKept::Refused(refused)),
                refused @ Upstream::Refused { .. } => return Err(NotKept::InDoubt(refused)),
            }
        }
        Err(NotKept::InDoubt(in_doubt.unwrap_or_else(|| Upstream::timeout("Secrets Manager"))))
    }

    /// Makes the pending version current. `AWSPREVIOUS` moves by itself, and `AWSPENDING` is left where it is: taking
    /// it away by a call of its own would tell Secrets Manager that the rotation failed.
    pub(super) async fn promote(&self, token: &str, current: Option<&str>) -> Result<(), RotationError> {
        let update = self.client.update_secret_version_stage().secret_id(&self.id).version_stage(CURRENT);
        let update = update.move_to_version_id(token).set_remove_from_version_id(current.map(str::to_owned));
        update.send().await.map(drop).map_err(|error| failed(&error))
    }

    pub(super) async fn give_up(&self, token: &str) -> Result<(), RotationError> {
        let update = self.client.update_secret_version_stage().secret_id(&self.id).version_stage(PENDING);
        update.remove_from_version_id(token).send().await.map(drop).map_err(|error| failed(&error))
    }
}

fn failed<E: aws_sdk_secretsmanager::error::ProvideErrorMetadata>(
    error: &aws_sdk_secretsmanager::error::SdkError<E, aws_sdk_secretsmanager::config::http::HttpResponse>,
) -> RotationError {
    Upstream::of("Secrets Manager", error).into()
}
