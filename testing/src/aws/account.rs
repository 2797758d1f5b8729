//! Does the broker key work at every moment, however it is rotated?
//!
//! One AWS account, on one loopback port: IAM with the broker user's access keys, Secrets Manager with the secret, STS,
//! which takes exactly those keys that IAM has and that are active, `CloudFormation` with the stack, and `CloudWatch` Logs
//! with the audit lines. Whatever is asked
//! of them is one ordered list, [`Server::calls`]; a test can meet any of them with a [`Fault`](crate::server::Fault) by
//! its number. [`Account::endpoint`] is another port of the same account.
//!
//! Who asks may do what their role in the template allows. What is asked beyond that is a violation.
//!
//! After every call it is checked that AWSCURRENT names a key that STS takes, or none yet: [`Account::assert_sound`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::Value;

use super::cloudformation::Stack;
use super::iam::{BROKER_USER, Key, User};
use super::logs::LogGroup;
use super::policy::Policy;
use super::secretsmanager::{self, Secret, Version, new_version_id};
use super::sts::Mint;
use super::{query, sigv4, sts};
use crate::server::{Call, Handle, Reply, Server, lock};
use crate::world::{FUNCTION_KEY, FUNCTION_SECRET};

/// The account.
#[derive(Debug)]
pub struct Account {
    pub server: Server,
    state: Arc<Mutex<State>>,
}

/// What the account holds.
#[derive(Debug, Default)]
pub struct State {
    pub stack: Stack,
    pub user: User,
    pub boundary: Policy,
    pub secret: Secret,
    /// The audit lines.
    pub log: LogGroup,
    /// What the rotator does at each of the next times that the secret is looked at. Empty where the real one runs.
    pub rotator: VecDeque<Step>,
    /// How many sessions were given out.
    sessions: usize,
    violations: Vec<String>,
}

/// A step of a rotator that runs elsewhere.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Works,
    /// Makes keys, which are active or not, and the pending version the current one.
    Promotes(&'static [bool]),
    /// Takes the label away from the pending version.
    GivesUp,
}

/// What can be seen of the account, to compare.
#[derive(Clone, Debug, PartialEq)]
pub struct Sight {
    /// Whether each key is active, by its id.
    pub keys: BTreeMap<String, bool>,
    pub versions: BTreeMap<String, Version>,
}

/// What AWSCURRENT is worth.
#[derive(Clone, Debug, PartialEq)]
enum Standing {
    /// No version, or the placeholder.
    NoneYet,
    Taken(String),
    NotTaken(String),
}

impl Account {
    /// Starts with a user without keys, and a secret without versions whose rotation is enabled.
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        Self { server: Server::start(Arc::clone(&state)).await, state }
    }

    /// The same account at a port of its own, which has its own calls and faults.
    pub async fn endpoint(&self) -> Self {
        let state = Arc::clone(&self.state);
        Self { server: Server::start(Arc::clone(&state)).await, state }
    }

    /// What the account holds, to look at or to change behind everybody's back.
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The placeholder as the secret's current version, as the template makes it.
    pub fn hold_placeholder(&self) {
        self.hold(secretsmanager::access_key("", ""));
    }

    /// A new key as the secret's current version.
    pub fn hold_new_key(&self) -> Key {
        let key = self.make_key();
        self.hold(secretsmanager::access_key(&key.id, &key.secret));
        key
    }

    /// A test's own key as the secret's current version.
    pub fn hold_key(&self, id: &str, secret: &str) {
        self.state().user.add(id, secret);
        self.hold(secretsmanager::access_key(id, secret));
    }

    /// Any text as the secret's current version.
    pub fn hold(&self, text: impl Into<String>) {
        self.state().secret.add(&new_version_id(), Some(text.into()), "AWSCURRENT");
    }

    /// Leaves the secret without a version.
    pub fn hold_nothing(&self) {
        self.state().secret.versions.clear();
    }

    /// Makes a key inactive: STS does not take it from now on.
    pub fn refuse_key(&self, id: &str) {
        self.change_key(id, |key| key.is_active = false);
    }

    /// Makes all keys active.
    pub fn accept_all_keys(&self) {
        self.state().user.keys.values_mut().for_each(|key| key.is_active = true);
    }

    /// A new key of which the secret knows nothing.
    pub fn make_key(&self) -> Key {
        self.state().user.make()
    }

    /// A new key of which the secret will never know: who made it died an hour ago, before the key was kept.
    pub fn make_orphan(&self) -> Key {
        let key = self.make_key();
        self.change_key(&key.id, |key| key.created -= 3_600);
        key
    }

    /// Changes a key behind everybody's back.
    pub fn change_key(&self, id: &str, change: impl FnOnce(&mut Key)) {
        change(self.state().user.keys.get_mut(id).unwrap());
    }

    /// Deletes a key behind everybody's back.
    pub fn delete_key(&self, id: &str) {
        self.state().user.keys.remove(id).unwrap();
    }

    /// Deletes the user behind everybody's back.
    pub fn delete_user(&self) {
        self.state().user.is_deleted = true;
    }

    /// Changes a version's value behind everybody's back, also to none.
    pub fn spoil(&self, stage: &str, value: Option<&str>) {
        let secret = &mut self.state().secret;
        let id = secret.holder(stage).unwrap().to_owned();
        secret.versions.get_mut(&id).unwrap().value = value.map(str::to_owned);
    }

    /// Switches the secret's rotation on or off.
    pub fn enable_rotation(&self, is_enabled: bool) {
        self.state().secret.is_rotated = is_enabled;
    }

    /// Leaves AWSPENDING on the version to which AWSCURRENT comes.
    pub fn keep_pending(&self) {
        self.state().secret.takes_pending_along = false;
    }

    /// Takes AWSPENDING from its version, as an operator does to begin anew.
    pub fn forget_pending(&self) {
        self.state().secret.take("AWSPENDING");
    }

    /// Lists keys in pages of this size.
    pub fn page_keys(&self, size: usize) {
        self.state().user.page_size = Some(size);
    }

    /// Whether STS knows each key to come, for the first times that it is asked; then it does.
    pub fn know_new_keys(&self, known: &[bool]) {
        self.state().user.known = known.iter().copied().collect();
    }

    /// What `RotateSecret` does: a version under AWSPENDING, without a value. Its id is the token of the steps.
    ///
    /// # Errors
    /// When another version is pending still.
    pub fn rotate(&self) -> Result<String, &'static str> {
        let id = new_version_id();
        self.state().secret.rotate(&id).map(|()| id)
    }

    /// What `RotateSecret` does with `RotateImmediately` false, before it invokes the rotator with `testSecret` alone: a
    /// version under AWSPENDING, with this value. Afterwards it removes the version: [`Self::remove_pending`].
    pub fn try_rotation(&self, value: Option<String>) -> String {
        let id = new_version_id();
        self.state().secret.add(&id, value, "AWSPENDING");
        id
    }

    /// Removes the version under AWSPENDING.
    pub fn remove_pending(&self) {
        let secret = &mut self.state().secret;
        let id = secret.holder("AWSPENDING").unwrap().to_owned();
        secret.versions.remove(&id);
    }

    /// The text under this staging label.
    pub fn text_under(&self, stage: &str) -> Option<String> {
        self.state().secret.value(stage).map(str::to_owned)
    }

    /// Makes all that happened so far happen so much earlier.
    pub fn age(&self, by: Duration) {
        let state = &mut *self.state();
        state.secret.changed -= by.as_secs();
        state.secret.rotated = state.secret.rotated.map(|rotated| rotated - by.as_secs());
        for created in state.user.keys.values_mut().map(|key| &mut key.created) {
            *created -= by.as_secs();
        }
    }

    /// Makes the secret's last change happen so much earlier.
    pub fn age_change(&self, by: Duration) {
        self.state().secret.changed -= by.as_secs();
    }

    /// Makes the secret's last rotation happen so much earlier.
    pub fn age_rotation(&self, by: Duration) {
        let secret = &mut self.state().secret;
        secret.rotated = secret.rotated.map(|rotated| rotated - by.as_secs());
    }

    /// The keys that there are.
    pub fn keys(&self) -> Vec<Key> {
        self.state().user.keys.values().cloned().collect()
    }

    /// The keys that there ever were.
    pub fn keys_ever(&self) -> Vec<Key> {
        self.state().user.ever.clone()
    }

    /// The version under this staging label.
    pub fn version_under(&self, stage: &str) -> Option<String> {
        self.state().secret.holder(stage).map(str::to_owned)
    }

    /// The id of the access key under this staging label; none where it has no version, no value or the placeholder.
    pub fn key_under(&self, stage: &str) -> Option<String> {
        let (id, _) = halves(self.state().secret.value(stage)?)?;
        Some(id).filter(|id| !id.is_empty())
    }

    /// Whether AWSCURRENT is a key that STS takes.
    pub fn is_current_taken(&self) -> bool {
        matches!(self.state().standing(), Standing::Taken(_))
    }

    /// All that can be seen.
    pub fn sight(&self) -> Sight {
        let state = self.state();
        let keys = state.user.keys.values().map(|key| (key.id.clone(), key.is_active)).collect();
        Sight { keys, versions: state.secret.versions.clone() }
    }

    /// How often a third key was asked for.
    pub fn over_quota(&self) -> usize {
        self.state().user.over_quota
    }

    /// The `GetFederationToken` calls so far, also those met with a fault.
    pub fn mints(&self) -> Vec<Mint> {
        sts::mints(&self.server.calls())
    }

    /// The one `GetFederationToken` so far.
    pub fn only_mint(&self) -> Mint {
        let mut mints = self.mints();
        assert_eq!(mints.len(), 1, "{mints:?}");
        mints.remove(0)
    }

    /// The operations so far, also those met with a fault.
    pub fn operations(&self) -> Vec<String> {
        let calls = self.server.calls();
        calls.iter().map(|call| call.operation().unwrap_or_default().to_owned()).collect()
    }

    /// Asserts that at no moment AWSCURRENT was, or came to, a key that STS did not take, and that nothing was asked
    /// that nobody may ask.
    pub fn assert_sound(&self) {
        let violations = self.state().violations.clone();
        assert!(violations.is_empty(), "{violations:#?}\n{:#?}", self.operations());
    }
}

impl State {
    fn answer(&mut self, call: &Call) -> Reply {
        let operation = call.operation().unwrap_or_default();
        let is_operator = ![FUNCTION_KEY, ""].contains(&call.access_key()) && !self.user.made(call.access_key());
        let is_function = call.access_key() == FUNCTION_KEY && sigv4::is_signed_with(call, FUNCTION_SECRET);
        let fields = call.form();
        let is_of_user = fields.get("UserName").map(String::as_str) == Some(BROKER_USER);
        match (call.service(), operation) {
            ("sts", "GetCallerIdentity") if is_operator => sts::caller_identity(),
            ("sts", _) => self.federate(call),
            ("cloudformation", "DescribeStacks") if is_operator => self.stack.answer(&fields),
            ("logs", "FilterLogEvents") if is_operator => self.log.answer(operation, &call.json()),
            ("iam", "ListAccessKeys" | "UpdateAccessKey") if is_of_user && (is_function || is_operator) => {
                self.user.answer(operation, &fields)
            }
            ("iam", "CreateAccessKey" | "DeleteAccessKey") if is_of_user && is_function => {
                self.user.answer(operation, &fields)
            }
            (
                "iam",
                "GetUser" | "ListPolicyVersions" | "GetPolicyVersion" | "CreatePolicyVersion" | "DeletePolicyVersion",
            ) if is_operator => self.boundary.answer(operation, &fields),
            ("iam", "GetAccessKeyLastUsed") if is_operator => self.user.answer(operation, &fields),
            ("secretsmanager", "GetSecretValue" | "PutSecretValue" | "UpdateSecretVersionStage") if is_function => {
                self.secret.answer(operation, &call.json())
            }
            ("secretsmanager", "ListSecretVersionIds" | "RotateSecret") if is_operator => {
                self.secret.answer(operation, &call.json())
            }
            ("secretsmanager", "DescribeSecret") if is_function || is_operator => {
                self.rotate_on();
                self.secret.answer(operation, &call.json())
            }
            _ => self.forbid(call),
        }
    }

    /// What the rotator does meanwhile.
    fn rotate_on(&mut self) {
        let Some(pending) = self.secret.holder("AWSPENDING").map(str::to_owned) else { return };
        match self.rotator.pop_front() {
            Some(Step::Promotes(made)) => {
                // The first step of a rotation leaves room for the new key.
                self.user.keys.retain(|_, key| key.is_active);
                for is_active in made {
                    let key = self.user.make();
                    self.user.keys.get_mut(&key.id).unwrap().is_active = *is_active;
                }
                self.secret.label("AWSCURRENT", &pending);
            }
            Some(Step::GivesUp) => self.secret.take("AWSPENDING"),
            Some(Step::Works) | None => {}
        }
    }

    /// `GetFederationToken` by a key that IAM has.
    fn federate(&mut self, call: &Call) -> Reply {
        let key = self.user.keys.get_mut(call.access_key()).filter(|key| key.is_active);
        let Some(key) = key else { return query::error(403, "InvalidClientTokenId") };
        if !sigv4::is_signed_with(call, &key.secret) {
            return query::error(403, "SignatureDoesNotMatch");
        }
        if key.known.pop_front() == Some(false) {
            return query::error(403, "InvalidClientTokenId");
        }
        match call.operation() {
            Some("GetFederationToken") => {
                self.sessions += 1;
                sts::session(&call.form(), &sts::access_key_id(self.sessions - 1))
            }
            _ => self.forbid(call),
        }
    }

    /// What nobody of this role may ask.
    fn forbid(&mut self, call: &Call) -> Reply {
        let (service, operation) = (call.service(), call.operation().unwrap_or_default());
        self.violations.push(format!("{} may not ask {service} for `{operation}`", call.access_key()));
        if service == "secretsmanager" {
            return secretsmanager::error(400, "AccessDeniedException");
        }
        query::error(403, "AccessDenied")
    }

    fn standing(&self) -> Standing {
        let Some((id, secret)) = self.secret.value("AWSCURRENT").and_then(halves) else { return Standing::NoneYet };
        if id.is_empty() {
            return Standing::NoneYet;
        }
        match self.user.keys.get(&id) {
            Some(key) if key.is_active && key.secret == secret && !key.known.contains(&false) => Standing::Taken(id),
            _ => Standing::NotTaken(id),
        }
    }
}

impl Handle for Arc<Mutex<State>> {
    async fn answer(&self, call: Call) -> Reply {
        // Who only looks at an endpoint, which makes a connection, is sent to the product's page by the real one.
        if (call.method.as_str(), call.path.as_str()) == ("GET", "/") {
            return Reply::new(302, "text/html", "").header("location", "https://aws.amazon.com/iam");
        }
        let state = &mut *lock(self);
        let before = state.standing();
        let reply = state.answer(&call);
        let after = state.standing();
        // What a test has broken itself is no fault of the call.
        if before != after && !matches!(after, Standing::Taken(_)) {
            state.violations.push(format!("{before:?} became {after:?} by {:?}", call.operation()));
        }
        reply
    }
}

/// The two halves of the access key in the secret's text.
fn halves(text: &str) -> Option<(String, String)> {
    let text: Value = serde_json::from_str(text).ok()?;
    let half = |name: &str| text[name].as_str().map(str::to_owned);
    half("AccessKeyId").zip(half("SecretAccessKey"))
}
