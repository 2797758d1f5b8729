//! What does the secret hold, and under which staging labels?
//!
//! Secrets Manager: the versions of one secret, with the service's own rules for moving labels.
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html>

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::clock;
use crate::server::Reply;

/// The secret's name.
pub const SECRET: &str = "hallpass/broker-key";

/// The secret's ARN.
pub const SECRET_ARN: &str = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:hallpass/broker-key-a1b2c3";

/// The text of Secrets Manager's own errors, which no client may ever see.
pub const UPSTREAM_TEXT: &str = "text of secrets manager";

/// No two versions of a test have one id.
static NEXT_VERSION: AtomicUsize = AtomicUsize::new(1_000);

/// One version of the secret.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Version {
    /// None until it is put.
    pub value: Option<String>,
    pub stages: BTreeSet<String>,
    /// In seconds since the epoch, as all times here.
    pub created: u64,
}

/// The secret.
#[derive(Debug)]
pub struct Secret {
    /// By their ids.
    pub versions: BTreeMap<String, Version>,
    pub is_rotated: bool,
    /// How often the secret is rotated, in days.
    pub interval: Option<u32>,
    pub next_rotation: Option<u64>,
    /// Whether AWSPENDING goes from the version to which AWSCURRENT comes.
    pub(super) takes_pending_along: bool,
    pub changed: u64,
    pub rotated: Option<u64>,
}

impl Default for Secret {
    fn default() -> Self {
        Self {
            versions: BTreeMap::new(),
            is_rotated: true,
            interval: None,
            next_rotation: None,
            takes_pending_along: true,
            changed: clock::now(),
            rotated: None,
        }
    }
}

impl Secret {
    /// The version with this staging label.
    pub(super) fn holder(&self, stage: &str) -> Option<&str> {
        self.versions.iter().find(|(_, version)| version.stages.contains(stage)).map(|(id, _)| id.as_str())
    }

    /// The value under this staging label.
    pub(super) fn value(&self, stage: &str) -> Option<&str> {
        self.versions[self.holder(stage)?].value.as_deref()
    }

    /// What `RotateSecret` does before it invokes the rotator.
    pub(super) fn rotate(&mut self, id: &str) -> Result<(), &'static str> {
        let pending = self.holder("AWSPENDING");
        if pending.is_some() && pending != self.holder("AWSCURRENT") {
            return Err("InvalidRequestException");
        }
        self.add(id, None, "AWSPENDING");
        Ok(())
    }

    /// Makes a version.
    pub fn add(&mut self, id: &str, value: Option<String>, stage: &str) {
        self.versions.insert(id.to_owned(), Version { value, stages: BTreeSet::new(), created: clock::now() });
        self.label(stage, id);
    }

    pub(super) fn answer(&mut self, operation: &str, asked: &Value) -> Reply {
        if asked["SecretId"] != SECRET && asked["SecretId"] != SECRET_ARN {
            return error(400, "ResourceNotFoundException");
        }
        let answer = match operation {
            "DescribeSecret" => Ok(self.describe()),
            "GetSecretValue" => self.read(asked),
            "PutSecretValue" => self.put(asked),
            "UpdateSecretVersionStage" => self.update_stage(asked),
            "ListSecretVersionIds" => Ok(self.list()),
            "RotateSecret" => self.rotate_as_asked(asked),
            _ => Err("InvalidRequestException"),
        };
        answer.map_or_else(|code| error(400, code), |body| ok(&body))
    }

    fn describe(&self) -> Value {
        let labelled = self.versions.iter().filter(|(_, version)| !version.stages.is_empty());
        let stages: BTreeMap<&String, &BTreeSet<String>> =
            labelled.map(|(id, version)| (id, &version.stages)).collect();
        let mut described = json!({
            "ARN": SECRET_ARN,
            "Name": SECRET,
            "RotationEnabled": self.is_rotated,
            "LastChangedDate": self.changed,
            "VersionIdsToStages": stages,
        });
        let rotation = [
            ("LastRotatedDate", self.rotated.map(Value::from)),
            ("NextRotationDate", self.next_rotation.map(Value::from)),
            ("RotationRules", self.interval.map(|days| json!({ "AutomaticallyAfterDays": days }))),
        ];
        for (member, value) in rotation {
            described.as_object_mut().unwrap().extend(value.map(|value| (member.to_owned(), value)));
        }
        described
    }

    /// Versions without a label are listed only if they are asked for.
    fn list(&self) -> Value {
        let labelled = self.versions.iter().filter(|(_, version)| !version.stages.is_empty());
        let version = |(id, version): (&String, &Version)| json!({"VersionId": id, "VersionStages": version.stages, "CreatedDate": version.created});
        json!({"ARN": SECRET_ARN, "Versions": labelled.map(version).collect::<Vec<_>>()})
    }

    fn rotate_as_asked(&mut self, asked: &Value) -> Result<Value, &'static str> {
        let id = asked["ClientRequestToken"].as_str().ok_or("InvalidParameterException")?;
        self.rotate(id)?;
        Ok(json!({"ARN": SECRET_ARN, "VersionId": id}))
    }

    fn read(&self, asked: &Value) -> Result<Value, &'static str> {
        let stage = asked["VersionStage"].as_str();
        let id = match asked["VersionId"].as_str() {
            Some(id) => id,
            None => self.holder(stage.unwrap_or("AWSCURRENT")).ok_or("ResourceNotFoundException")?,
        };
        let version = self.versions.get(id).ok_or("ResourceNotFoundException")?;
        if stage.is_some_and(|stage| !version.stages.contains(stage)) {
            return Err("ResourceNotFoundException");
        }
        let value = version.value.as_ref().ok_or("ResourceNotFoundException")?;
        Ok(json!({
            "ARN": SECRET_ARN,
            "Name": SECRET,
            "VersionId": id,
            "SecretString": value,
            "VersionStages": version.stages,
            "CreatedDate": version.created,
        }))
    }

    fn put(&mut self, asked: &Value) -> Result<Value, &'static str> {
        let (Some(id), Some(value)) = (asked["ClientRequestToken"].as_str(), asked["SecretString"].as_str()) else {
            return Err("InvalidParameterException");
        };
        let stages = asked["VersionStages"].as_array().cloned().unwrap_or_else(|| vec!["AWSCURRENT".into()]);
        let stages: Vec<&str> = stages.iter().map(|stage| stage.as_str().unwrap()).collect();
        let new = Version { created: clock::now(), ..Version::default() };
        let version = self.versions.entry(id.to_owned()).or_insert(new);
        match &version.value {
            Some(held) if held == value => {}
            Some(_) => return Err("ResourceExistsException"),
            None => {
                version.value = Some(value.to_owned());
                for stage in stages {
                    self.label(stage, id);
                }
            }
        }
        Ok(json!({"ARN": SECRET_ARN, "Name": SECRET, "VersionId": id, "VersionStages": self.versions[id].stages}))
    }

    fn update_stage(&mut self, asked: &Value) -> Result<Value, &'static str> {
        let stage = asked["VersionStage"].as_str().ok_or("InvalidParameterException")?;
        let (to, from) = (asked["MoveToVersionId"].as_str(), asked["RemoveFromVersionId"].as_str());
        if to.or(from).is_none() || self.holder(stage) != from || to == from {
            return Err("InvalidParameterException");
        }
        match to {
            Some(to) if !self.versions.contains_key(to) => return Err("ResourceNotFoundException"),
            Some(to) => self.label(stage, to),
            // The label can be moved, but not be taken away.
            None if stage == "AWSCURRENT" => return Err("InvalidParameterException"),
            None => self.take(stage),
        }
        Ok(json!({"ARN": SECRET_ARN, "Name": SECRET}))
    }

    /// Moves a label to a version, with all that Secrets Manager does of its own accord when it is AWSCURRENT.
    pub(super) fn label(&mut self, stage: &str, id: &str) {
        let before = self.holder(stage).map(str::to_owned);
        self.take(stage);
        self.versions.get_mut(id).unwrap().stages.insert(stage.to_owned());
        if stage != "AWSCURRENT" {
            return;
        }
        if let Some(before) = before.filter(|before| before != id) {
            self.label("AWSPREVIOUS", &before);
        }
        if self.holder("AWSPENDING") == Some(id) {
            self.rotated = Some(clock::now());
            if self.takes_pending_along {
                self.take("AWSPENDING");
            }
        }
    }

    /// Takes a label from its version.
    pub(super) fn take(&mut self, stage: &str) {
        self.changed = clock::now();
        for version in self.versions.values_mut() {
            version.stages.remove(stage);
        }
    }
}

/// An id for a version.
pub(super) fn new_version_id() -> String {
    format!("5c2b6a1e-0000-4000-8000-{:012}", NEXT_VERSION.fetch_add(1, Ordering::SeqCst))
}

/// The secret's text for an access key.
pub fn access_key(id: &str, secret: &str) -> String {
    json!({"AccessKeyId": id, "SecretAccessKey": secret}).to_string()
}

fn ok(body: &Value) -> Reply {
    Reply::new(200, "application/x-amz-json-1.1", body.to_string())
}

/// An error as Secrets Manager words it.
pub fn error(status: u16, code: &str) -> Reply {
    let body = json!({"__type": code, "Message": UPSTREAM_TEXT});
    Reply::new(status, "application/x-amz-json-1.1", body.to_string()).header("x-amzn-errortype", code)
}
