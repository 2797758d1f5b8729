//! What does an operator's machine find in AWS?
//!
//! CloudFormation, Secrets Manager and IAM at one endpoint, as a deployed stack shows them: a broker key that was
//! rotated 12 days ago. A test breaks one thing. The rotator is part of it, and takes a step whenever the secret is
//! looked at.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};
use tokio::process::Command;

use super::aws::dynamodb::{DynamoDb, GRANTS, STATE};
use super::server::{Call, Handle, Reply, Server, lock};
use super::{clock, secrets, sts};

/// The name of the stack.
pub const STACK: &str = "hallpass-prod";
/// The ARN of its secret.
pub const SECRET: &str = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:BrokerKey-a1b2c3";
/// Its broker user.
pub const USER: &str = "hallpass-prod-BrokerUser-1ABCDEF";
/// The rotator's log group.
pub const LOG: &str = "/hallpass-prod/rotator";
/// The access key in use.
pub const KEY: &str = "AKIACURRENTEXAMPLE00";
/// The access key before that, which is inactive.
pub const OLD_KEY: &str = "AKIAPREVIOUSEXAMPLE0";
/// The version of the secret that holds [`KEY`].
pub const VERSION: &str = "5c2b6a1e-0000-4000-8000-000000000002";
/// The version of the secret that holds [`OLD_KEY`].
pub const OLD_VERSION: &str = "5c2b6a1e-0000-4000-8000-000000000001";
/// The operator's access key id.
pub const OPERATOR_KEY: &str = "ASIAOPERATOREXAMPLE0";

/// A day in seconds.
pub const DAY: u64 = 86_400;

/// A deployed stack, and an operator's machine.
#[derive(Debug)]
pub struct Deployed {
    /// CloudFormation, Secrets Manager and IAM.
    pub server: Server,
    pub dynamodb: DynamoDb,
    account: Arc<Mutex<Account>>,
    environment: BTreeMap<String, String>,
}

/// What AWS holds.
#[derive(Debug)]
pub struct Account {
    pub outputs: BTreeMap<&'static str, &'static str>,
    /// The members of `DescribeSecret` that are not about versions.
    pub secret: Value,
    pub versions: Vec<Version>,
    pub keys: Vec<Key>,
    /// What becomes of the version that is pending, at each `DescribeSecret` from now on.
    pub rotator: VecDeque<Step>,
    /// Operations that are refused, with the code.
    pub refused: HashMap<&'static str, &'static str>,
}

#[derive(Debug)]
pub struct Version {
    pub id: String,
    pub stages: Vec<&'static str>,
    pub created: u64,
}

#[derive(Clone, Debug)]
pub struct Key {
    pub id: String,
    pub active: bool,
    pub created: u64,
    pub used: Option<u64>,
}

/// A step of the rotator.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Works,
    /// Makes keys, which are active or not, and the pending version the current one.
    Promotes(&'static [bool]),
    /// Takes the label away from the pending version.
    GivesUp,
}

/// A run of the command.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Deployed {
    pub async fn new() -> Self {
        let now = clock::now();
        let (rotated, before) = (now - 12 * DAY, now - 42 * DAY);
        let version = |id: &str, stage, created| Version { id: id.to_owned(), stages: vec![stage], created };
        let key = |id: &str, active, created, used| Key { id: id.to_owned(), active, created, used: Some(used) };
        let account = Arc::new(Mutex::new(Account {
            outputs: BTreeMap::from([
                ("BrokerKey", SECRET),
                ("BrokerUser", USER),
                ("GrantsTable", GRANTS),
                ("RotatorLog", LOG),
                ("StateTable", STATE),
            ]),
            secret: json!({
                "ARN": SECRET,
                "RotationEnabled": true,
                "RotationRules": {"AutomaticallyAfterDays": 30},
                "LastRotatedDate": rotated,
                "LastChangedDate": rotated,
                "NextRotationDate": now + 18 * DAY + 60,
            }),
            versions: vec![version(OLD_VERSION, "AWSPREVIOUS", before), version(VERSION, "AWSCURRENT", rotated)],
            keys: vec![key(OLD_KEY, false, before, rotated), key(KEY, true, rotated, now - 180)],
            rotator: VecDeque::new(),
            refused: HashMap::new(),
        }));
        let server = Server::start(Arc::clone(&account)).await;
        let dynamodb = DynamoDb::start().await;
        let (url, dynamodb_url) = (server.url(), dynamodb.server.url());
        let environment = [
            ("AWS_ENDPOINT_URL", url.as_str()),
            ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_url.as_str()),
            ("AWS_REGION", "eu-central-1"),
            ("SSL_CERT_FILE", crate::CERTIFICATES),
            ("AWS_ACCESS_KEY_ID", OPERATOR_KEY),
            ("AWS_SECRET_ACCESS_KEY", "operator-secret/EXAMPLE+KEY"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("HALLPASS_STACK", STACK),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { server, dynamodb, account, environment: BTreeMap::from(environment) }
    }

    /// What AWS holds, to look at or to change.
    pub fn account(&self) -> MutexGuard<'_, Account> {
        lock(&self.account)
    }

    /// Leaves a rotation unfinished that began 20 min ago.
    pub fn leave_unfinished(&self, version: &str) {
        let created = clock::now() - 1_200;
        self.account().versions.push(Version { id: version.to_owned(), stages: vec!["AWSPENDING"], created });
    }

    /// Sets one variable of the command's environment.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// Removes one variable of the command's environment.
    pub fn unset(&mut self, name: &str) {
        self.environment.remove(name);
    }

    /// Runs the command with these arguments, and waits for its end.
    pub async fn run(&self, arguments: &[&str]) -> Run {
        let mut command = Command::new(crate::binary("hallpass"));
        command.args(arguments).env_clear().envs(&self.environment).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Run { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// The operations asked for so far, in order, with their members or fields.
    pub fn calls(&self) -> Vec<(String, Value)> {
        self.server.calls().iter().map(|call| (call.operation().unwrap_or_default().to_owned(), asked(call))).collect()
    }

    /// The names of the operations asked for so far.
    pub fn operations(&self) -> Vec<String> {
        self.calls().into_iter().map(|(operation, _)| operation).collect()
    }

    /// What was asked of one operation so far.
    pub fn asked(&self, name: &str) -> Vec<Value> {
        self.calls().into_iter().filter(|(operation, _)| operation == name).map(|(_, asked)| asked).collect()
    }
}

impl Run {
    /// Asserts the exit code, and returns what was printed.
    pub fn exits(&self, code: i32) -> &str {
        assert_eq!(self.code, code, "{self:?}");
        &self.stdout
    }

    /// Asserts that this failed with one line that holds these words, and nothing of AWS's own text.
    pub fn fails(&self, words: &[&str]) {
        self.exits(1);
        let line = self.stderr.strip_suffix('\n').unwrap();
        assert!(line.starts_with("error: ") && !line.contains('\n'), "{self:?}");
        assert!(words.iter().all(|word| line.contains(word)), "{words:?} in {self:?}");
        assert!(![sts::UPSTREAM_TEXT, secrets::UPSTREAM_TEXT].iter().any(|text| line.contains(text)), "{self:?}");
    }
}

fn is_json(call: &Call) -> bool {
    call.service() == "secretsmanager"
}

fn asked(call: &Call) -> Value {
    if is_json(call) { call.json() } else { json!(call.form()) }
}

impl Handle for Arc<Mutex<Account>> {
    async fn answer(&self, call: Call) -> Reply {
        let is_json = is_json(&call);
        let asked = asked(&call);
        let operation = call.operation().unwrap_or_default();
        let mut account = lock(self);
        match account.refused.get(operation) {
            Some(code) if is_json => return secrets::error(400, code),
            Some(code) => return sts::error(403, code),
            None => {}
        }
        match (operation, &asked) {
            ("DescribeStacks", asked) if asked["StackName"] == STACK => account.stack(),
            ("DescribeStacks", _) => sts::error(400, "ValidationError"),
            (_, asked) if is_json && asked["SecretId"] != SECRET => secrets::error(400, "ResourceNotFoundException"),
            ("DescribeSecret", _) => account.described(),
            ("ListSecretVersionIds", _) => account.listed(),
            ("RotateSecret", asked) => account.rotate(asked["ClientRequestToken"].as_str().unwrap()),
            ("ListAccessKeys", asked) if asked["UserName"] == USER => account.access_keys(),
            ("GetAccessKeyLastUsed", asked) => account.last_used(asked["AccessKeyId"].as_str().unwrap()),
            ("UpdateAccessKey", asked) if asked["UserName"] == USER => account.update_access_key(asked),
            _ => sts::error(400, "NoSuchEntity"),
        }
    }
}

impl Account {
    fn stack(&self) -> Reply {
        let output =
            |(key, value)| format!("<member><OutputKey>{key}</OutputKey><OutputValue>{value}</OutputValue></member>");
        let outputs: String = self.outputs.iter().map(output).collect();
        answer(
            "DescribeStacks",
            &format!(
                "<Stacks><member><StackName>{STACK}</StackName><CreationTime>2026-01-01T00:00:00Z</CreationTime>\
                 <StackStatus>CREATE_COMPLETE</StackStatus><Outputs>{outputs}</Outputs></member></Stacks>"
            ),
        )
    }

    fn described(&mut self) -> Reply {
        let unfinished = |version: &Version| version.stages == ["AWSPENDING"];
        if let Some(index) = self.versions.iter().position(unfinished) {
            match self.rotator.pop_front() {
                Some(Step::Promotes(keys)) => self.promote(index, keys),
                Some(Step::GivesUp) => self.versions[index].stages.clear(),
                Some(Step::Works) | None => {}
            }
        }
        let mut described = self.secret.clone();
        let labelled = self.versions.iter().filter(|version| !version.stages.is_empty());
        described["VersionIdsToStages"] = labelled.map(|version| (version.id.clone(), json!(version.stages))).collect();
        Reply::new(200, "application/x-amz-json-1.1", described.to_string())
    }

    /// The first step of a rotation leaves room for the new key.
    fn promote(&mut self, pending: usize, made: &[bool]) {
        self.keys.retain(|key| key.active);
        for active in made {
            let id = format!("AKIAROTATED{:04}{:05}", self.versions.len(), self.keys.len());
            self.keys.push(Key { id, active: *active, created: clock::now(), used: None });
        }
        for version in &mut self.versions {
            version.stages.retain(|stage| *stage != "AWSCURRENT");
        }
        self.versions[pending].stages = vec!["AWSCURRENT"];
    }

    fn listed(&self) -> Reply {
        let version = |version: &Version| json!({"VersionId": version.id, "VersionStages": version.stages, "CreatedDate": version.created});
        let versions: Vec<Value> = self.versions.iter().map(version).collect();
        Reply::new(200, "application/x-amz-json-1.1", json!({"ARN": SECRET, "Versions": versions}).to_string())
    }

    fn rotate(&mut self, token: &str) -> Reply {
        // One with this token is this one, sent again.
        if self.versions.iter().any(|version| version.stages == ["AWSPENDING"]) {
            return secrets::error(400, "InvalidRequestException");
        }
        self.versions.push(Version { id: token.to_owned(), stages: vec!["AWSPENDING"], created: clock::now() });
        Reply::new(200, "application/x-amz-json-1.1", json!({"ARN": SECRET, "VersionId": token}).to_string())
    }

    fn access_keys(&self) -> Reply {
        let member = |key: &Key| {
            format!(
                "<member><UserName>{USER}</UserName><AccessKeyId>{}</AccessKeyId><Status>{}</Status>\
                 <CreateDate>{}</CreateDate></member>",
                key.id,
                if key.active { "Active" } else { "Inactive" },
                clock::rfc3339(key.created)
            )
        };
        let members: String = self.keys.iter().map(member).collect();
        answer(
            "ListAccessKeys",
            &format!("<IsTruncated>false</IsTruncated><AccessKeyMetadata>{members}</AccessKeyMetadata>"),
        )
    }

    fn last_used(&self, id: &str) -> Reply {
        let used = self.keys.iter().find(|key| key.id == id).unwrap().used;
        let used = used.map_or_else(
            || "<ServiceName>N/A</ServiceName><Region>N/A</Region>".into(),
            |at| {
                format!(
                    "<LastUsedDate>{}</LastUsedDate><ServiceName>sts</ServiceName><Region>eu-central-1</Region>",
                    clock::rfc3339(at)
                )
            },
        );
        answer("GetAccessKeyLastUsed", &format!("<AccessKeyLastUsed>{used}</AccessKeyLastUsed>"))
    }

    fn update_access_key(&mut self, asked: &Value) -> Reply {
        let key = self.keys.iter_mut().find(|key| asked["AccessKeyId"] == *key.id).unwrap();
        key.active = asked["Status"] == "Active";
        answer("UpdateAccessKey", "")
    }
}

/// An answer of the Query protocol.
fn answer(operation: &str, result: &str) -> Reply {
    let body = format!("<{operation}Response><{operation}Result>{result}</{operation}Result></{operation}Response>");
    Reply::new(200, "text/xml", body)
}
