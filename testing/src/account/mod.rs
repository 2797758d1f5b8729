//! Does the broker key work at every moment, however it is rotated?
//!
//! One AWS account, on one loopback port: IAM with the broker user's access keys, Secrets Manager with the secret, and
//! STS, which takes exactly those keys that IAM has and that are active. Whatever is asked of the three is one ordered
//! list, [`Server::calls`]; a test can meet any of them with a [`Fault`](super::server::Fault) by its number.
//!
//! After every call it is checked that AWSCURRENT names a key that STS takes, or none yet: [`Account::assert_sound`].

mod iam;
mod secret;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

pub use self::iam::{BROKER_USER, Key};
pub use self::secret::Version;

use self::iam::User;
use self::secret::Secret;
use super::server::{Call, Handle, Reply, Server, lock};
use super::world::{FUNCTION_KEY, FUNCTION_SECRET};
use super::{secrets, sigv4, sts};

/// The account.
#[derive(Debug)]
pub struct Account {
    pub server: Server,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    user: User,
    secret: Secret,
    violations: Vec<String>,
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

    /// The placeholder as the secret's current version, as the template makes it.
    pub fn hold_placeholder(&self) {
        self.hold(secrets::access_key("", ""));
    }

    /// A new key as the secret's current version.
    pub fn hold_new_key(&self) -> Key {
        let key = self.make_key();
        self.hold(secrets::access_key(&key.id, &key.secret));
        key
    }

    /// Any text as the secret's current version.
    pub fn hold(&self, text: impl Into<String>) {
        lock(&self.state).secret.add(Some(text.into()), "AWSCURRENT");
    }

    /// A new key of which the secret knows nothing.
    pub fn make_key(&self) -> Key {
        lock(&self.state).user.make()
    }

    /// A new key of which the secret will never know: who made it died an hour ago, before the key was kept.
    pub fn make_orphan(&self) -> Key {
        let key = self.make_key();
        self.change_key(&key.id, |key| key.created -= 3_600);
        key
    }

    /// Changes a key behind everybody's back.
    pub fn change_key(&self, id: &str, change: impl FnOnce(&mut Key)) {
        change(lock(&self.state).user.keys.get_mut(id).unwrap());
    }

    /// Deletes a key behind everybody's back.
    pub fn delete_key(&self, id: &str) {
        lock(&self.state).user.keys.remove(id).unwrap();
    }

    /// Deletes the user behind everybody's back.
    pub fn delete_user(&self) {
        lock(&self.state).user.is_deleted = true;
    }

    /// Changes a version's value behind everybody's back, also to none.
    pub fn spoil(&self, stage: &str, value: Option<&str>) {
        let secret = &mut lock(&self.state).secret;
        let id = secret.holder(stage).unwrap().to_owned();
        secret.versions.get_mut(&id).unwrap().value = value.map(str::to_owned);
    }

    /// Switches the secret's rotation on or off.
    pub fn enable_rotation(&self, is_enabled: bool) {
        lock(&self.state).secret.is_rotated = is_enabled;
    }

    /// Leaves AWSPENDING on the version to which AWSCURRENT comes.
    pub fn keep_pending(&self) {
        lock(&self.state).secret.takes_pending_along = false;
    }

    /// Takes AWSPENDING from its version, as an operator does to begin anew.
    pub fn forget_pending(&self) {
        lock(&self.state).secret.take("AWSPENDING");
    }

    /// Lists keys in pages of this size.
    pub fn page_keys(&self, size: usize) {
        lock(&self.state).user.page_size = Some(size);
    }

    /// Whether STS knows each key to come, for the first times that it is asked; then it does.
    pub fn know_new_keys(&self, known: &[bool]) {
        lock(&self.state).user.known = known.iter().copied().collect();
    }

    /// What `RotateSecret` does: a version under AWSPENDING, without a value. Its id is the token of the steps.
    ///
    /// # Errors
    /// When another version is pending still.
    pub fn rotate(&self) -> Result<String, &'static str> {
        lock(&self.state).secret.rotate()
    }

    /// What `RotateSecret` does with `RotateImmediately` false, before it invokes the rotator with `testSecret` alone: a
    /// version under AWSPENDING, with this value. Afterwards it removes the version: [`Self::remove_pending`].
    pub fn try_rotation(&self, value: Option<String>) -> String {
        lock(&self.state).secret.add(value, "AWSPENDING")
    }

    /// Removes the version under AWSPENDING.
    pub fn remove_pending(&self) {
        let secret = &mut lock(&self.state).secret;
        let id = secret.holder("AWSPENDING").unwrap().to_owned();
        secret.versions.remove(&id);
    }

    /// The text under this staging label.
    pub fn text_under(&self, stage: &str) -> Option<String> {
        lock(&self.state).secret.value(stage).map(str::to_owned)
    }

    /// Makes all that happened so far happen so much earlier.
    pub fn age(&self, by: Duration) {
        let state = &mut *lock(&self.state);
        state.secret.changed -= by.as_secs();
        state.secret.rotated = state.secret.rotated.map(|rotated| rotated - by.as_secs());
        for key in state.user.keys.values_mut() {
            key.created -= by.as_secs();
        }
    }

    /// Makes the secret's last change happen so much earlier.
    pub fn age_change(&self, by: Duration) {
        lock(&self.state).secret.changed -= by.as_secs();
    }

    /// Makes the secret's last rotation happen so much earlier.
    pub fn age_rotation(&self, by: Duration) {
        let secret = &mut lock(&self.state).secret;
        secret.rotated = secret.rotated.map(|rotated| rotated - by.as_secs());
    }

    /// The keys that there are.
    pub fn keys(&self) -> Vec<Key> {
        lock(&self.state).user.keys.values().cloned().collect()
    }

    /// The keys that there ever were.
    pub fn keys_ever(&self) -> Vec<Key> {
        lock(&self.state).user.ever.clone()
    }

    /// The version under this staging label.
    pub fn version_under(&self, stage: &str) -> Option<String> {
        lock(&self.state).secret.holder(stage).map(str::to_owned)
    }

    /// The id of the access key under this staging label; none where it has no version, no value or the placeholder.
    pub fn key_under(&self, stage: &str) -> Option<String> {
        let (id, _) = halves(lock(&self.state).secret.value(stage)?)?;
        Some(id).filter(|id| !id.is_empty())
    }

    /// Whether AWSCURRENT is a key that STS takes.
    pub fn is_current_taken(&self) -> bool {
        matches!(lock(&self.state).standing(), Standing::Taken(_))
    }

    /// All that can be seen.
    pub fn sight(&self) -> Sight {
        let state = lock(&self.state);
        let keys = state.user.keys.values().map(|key| (key.id.clone(), key.is_active)).collect();
        Sight { keys, versions: state.secret.versions.clone() }
    }

    /// How often a third key was asked for.
    pub fn over_quota(&self) -> usize {
        lock(&self.state).user.over_quota
    }

    /// The operations so far, also those met with a fault.
    pub fn operations(&self) -> Vec<String> {
        let calls = self.server.calls();
        calls.iter().map(|call| call.operation().unwrap_or_default().to_owned()).collect()
    }

    /// Asserts that at no moment AWSCURRENT was, or came to, a key that STS did not take, and that nothing was asked
    /// that nobody may ask.
    pub fn assert_sound(&self) {
        let violations = lock(&self.state).violations.clone();
        assert!(violations.is_empty(), "{violations:#?}\n{:#?}", self.operations());
    }
}

impl State {
    fn answer(&mut self, call: &Call) -> Reply {
        let operation = call.operation().unwrap_or_default();
        if call.service() == "sts" {
            return self.federate(call);
        }
        if !(call.access_key() == FUNCTION_KEY && sigv4::is_signed_with(call, FUNCTION_SECRET)) {
            return self.forbid(call);
        }
        match (call.service(), operation) {
            ("iam", "ListAccessKeys" | "CreateAccessKey" | "DeleteAccessKey" | "UpdateAccessKey") => {
                let fields = call.form();
                if fields.get("UserName").map(String::as_str) != Some(BROKER_USER) {
                    return self.forbid(call);
                }
                self.user.answer(operation, &fields)
            }
            ("secretsmanager", "DescribeSecret" | "GetSecretValue" | "PutSecretValue" | "UpdateSecretVersionStage") => {
                self.secret.answer(operation, &call.json())
            }
            _ => self.forbid(call),
        }
    }

    /// `GetFederationToken` by a key that IAM has.
    fn federate(&mut self, call: &Call) -> Reply {
        let key = self.user.keys.get_mut(call.access_key()).filter(|key| key.is_active);
        let Some(key) = key else { return sts::error(403, "InvalidClientTokenId") };
        if !sigv4::is_signed_with(call, &key.secret) {
            return sts::error(403, "SignatureDoesNotMatch");
        }
        if key.known.pop_front() == Some(false) {
            return sts::error(403, "InvalidClientTokenId");
        }
        match call.operation() {
            Some("GetFederationToken") => sts::session(&call.form(), &sts::access_key_id(0)),
            _ => self.forbid(call),
        }
    }

    /// What neither function may ask.
    fn forbid(&mut self, call: &Call) -> Reply {
        let (service, operation) = (call.service(), call.operation().unwrap_or_default());
        self.violations.push(format!("{} may not ask {service} for `{operation}`", call.access_key()));
        if service == "secretsmanager" {
            return secrets::error(400, "AccessDeniedException");
        }
        sts::error(403, "AccessDenied")
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
        if let Some(reply) = sts::looked_at(&call) {
            return reply;
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
