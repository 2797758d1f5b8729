//! What does an operator's machine find in AWS?
//!
//! An account with a deployed stack: a broker key that was rotated 12 days ago, and two tables. A test breaks one thing.
//! The rotator is part of it, and takes a step whenever the secret is looked at.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::MutexGuard;

use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::aws::account::{Account, State};
use super::aws::cloudformation::STACK;
use super::aws::dynamodb::{DynamoDb, GRANTS, STATE};
use super::aws::iam::BROKER_USER;
use super::aws::logs::{self, AUDIT_LOG};
use super::aws::policy::BOUNDARY;
use super::aws::secretsmanager::{self, SECRET_ARN};
use super::aws::{dynamodb, query};
use super::clock;
use super::server::{Call, Fault};

/// The rotator's log group.
pub const LOG: &str = "/hallpass-prod/rotator";
/// The access key in use.
pub const KEY: &str = "AKIACURRENTEXAMPLE00";
/// The access key before that, which is inactive.
pub const OLD_KEY: &str = "AKIABEFOREEXAMPLE000";
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
    /// All services but `DynamoDB`.
    pub account: Account,
    pub dynamodb: DynamoDb,
    environment: BTreeMap<String, String>,
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
        let (account, dynamodb) = (Account::start().await, DynamoDb::start().await);
        set_up(&mut account.state());
        let (url, dynamodb_url) = (account.server.url(), dynamodb.server.url());
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
        Self { account, dynamodb, environment: BTreeMap::from(environment) }
    }

    /// What AWS holds, to look at or to change.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.account.state()
    }

    /// Leaves a rotation unfinished that began 20 min ago.
    pub fn leave_unfinished(&self, version: &str) {
        let secret = &mut self.state().secret;
        let changed = secret.changed;
        secret.add(version, None, "AWSPENDING");
        secret.versions.get_mut(version).unwrap().created = clock::now() - 1_200;
        secret.changed = changed;
    }

    /// Refuses an operation from now on, with this code.
    pub fn refuse(&self, operation: &str, code: &str) {
        let reply = match operation {
            "FilterLogEvents" => logs::error(400, code),
            _ if operation.contains("Secret") => secretsmanager::error(400, code),
            _ => query::error(403, code),
        };
        self.account.server.heal();
        self.account.server.fail_operation(operation, 100, &Fault::Answers(reply));
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
        Run::of(self.command(arguments).spawn().unwrap()).await
    }

    /// The command with these arguments, for [`Run::of`].
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(crate::binary("hallpass"));
        command.args(arguments).env_clear().envs(&self.environment).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The operations asked for so far, in order, with their members or fields.
    pub fn calls(&self) -> Vec<(String, Value)> {
        self.account
            .server
            .calls()
            .iter()
            .map(|call| (call.operation().unwrap_or_default().to_owned(), asked(call)))
            .collect()
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
    /// Waits for the end of a process.
    pub async fn of(process: Child) -> Self {
        let output = process.wait_with_output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

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
        assert!(
            ![query::UPSTREAM_TEXT, secretsmanager::UPSTREAM_TEXT, dynamodb::UPSTREAM_TEXT, logs::UPSTREAM_TEXT]
                .iter()
                .any(|text| line.contains(text)),
            "{self:?}"
        );
    }
}

/// A stack whose key was rotated 12 days ago, and 30 days before that.
fn set_up(state: &mut State) {
    let now = clock::now();
    let (rotated, before) = (now - 12 * DAY, now - 42 * DAY);
    state.stack.outputs = BTreeMap::from([
        ("AuditLog", AUDIT_LOG),
        ("BoundaryPolicy", BOUNDARY),
        ("BrokerKey", SECRET_ARN),
        ("BrokerUser", BROKER_USER),
        ("GrantsTable", GRANTS),
        ("RotatorLog", LOG),
        ("StateTable", STATE),
    ]);
    for (id, version, is_active, created, used) in
        [(OLD_KEY, OLD_VERSION, false, before, rotated), (KEY, VERSION, true, rotated, now - 180)]
    {
        let key = state.user.add(id, "secret/EXAMPLE+KEY");
        let text = secretsmanager::access_key(&key.id, &key.secret);
        let key = state.user.keys.get_mut(id).unwrap();
        (key.is_active, key.created, key.used) = (is_active, created, Some(used));
        state.secret.add(version, Some(text), "AWSCURRENT");
        state.secret.versions.get_mut(version).unwrap().created = created;
    }
    (state.secret.changed, state.secret.rotated) = (rotated, Some(rotated));
    (state.secret.interval, state.secret.next_rotation) = (Some(30), Some(now + 18 * DAY + 60));
}

fn asked(call: &Call) -> Value {
    if call.header("x-amz-target").is_some() { call.json() } else { json!(call.form()) }
}
