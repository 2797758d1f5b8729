//! What session was asked for, and with whose key?
//!
//! STS: `GetFederationToken` by the Query protocol, answered with an echo of what was asked.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::clock;
use super::server::{Call, Handle, Reply, Server, lock};

/// The text of STS's own errors, which no client may ever see.
pub const UPSTREAM_TEXT: &str = "text of sts";

/// The account of the broker user.
pub const ACCOUNT: &str = "111122223333";

/// What STS reports of every session.
pub const PACKED_POLICY_SIZE: u64 = 6;

/// The secret of every session given out, with characters that XML and JSON leave alone.
pub const SESSION_SECRET: &str = "session-secret/EXAMPLE+KEY";

/// The session token of every session given out.
pub const SESSION_TOKEN: &str = "session-token/EXAMPLE//////////wEaDGV1LWNlbnRyYWwtMQ==";

/// STS.
#[derive(Debug)]
pub struct Sts {
    pub server: Server,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    refused_keys: Mutex<Vec<String>>,
    minted: AtomicUsize,
}

/// One `GetFederationToken`, as it came over the wire.
#[derive(Clone, Debug)]
pub struct Mint {
    pub access_key: String,
    pub fields: BTreeMap<String, String>,
}

impl Mint {
    pub fn name(&self) -> &str {
        &self.fields["Name"]
    }

    /// `DurationSeconds`.
    pub fn duration(&self) -> u64 {
        self.fields["DurationSeconds"].parse().unwrap()
    }

    /// The session policy as JSON; `None` where the session has none.
    pub fn policy(&self) -> Option<Value> {
        self.fields.get("Policy").map(|policy| serde_json::from_str(policy).unwrap())
    }

    /// The statements of the session policy, in an order that does not depend on the function's.
    pub fn statements(&self) -> Vec<Value> {
        let policy = self.policy().unwrap();
        assert_eq!(policy["Version"], "2012-10-17");
        let mut statements = policy["Statement"].as_array().unwrap().clone();
        statements.sort_by_key(ToString::to_string);
        statements
    }

    /// The session tags, by their numbers from 1 without a gap.
    pub fn tags(&self) -> BTreeMap<&str, &str> {
        let members = self.fields.keys().filter(|field| field.starts_with("Tags."));
        let count = members.count().div_euclid(2);
        let tag = |number: usize| {
            let part = |part: &str| self.fields[&format!("Tags.member.{number}.{part}")].as_str();
            (part("Key"), part("Value"))
        };
        let tags: BTreeMap<&str, &str> = (1..=count).map(tag).collect();
        assert_eq!(tags.len(), count, "one key twice: {:?}", self.fields);
        tags
    }

    /// The managed policies, sorted.
    pub fn policy_arns(&self) -> Vec<&str> {
        let members = self.fields.iter().filter(|(field, _)| field.starts_with("PolicyArns.member."));
        let mut arns: Vec<&str> = members.map(|(_, arn)| arn.as_str()).collect();
        arns.sort_unstable();
        arns
    }
}

impl Sts {
    pub async fn start() -> Self {
        let state = Arc::new(State::default());
        Self { server: Server::start(Arc::clone(&state)).await, state }
    }

    /// Refuses this key from now on, as STS does a deleted one.
    pub fn refuse_key(&self, access_key: &str) {
        lock(&self.state.refused_keys).push(access_key.to_owned());
    }

    /// Refuses no key any more.
    pub fn accept_all_keys(&self) {
        lock(&self.state.refused_keys).clear();
    }

    /// The `GetFederationToken` calls so far, also those met with a fault.
    pub fn mints(&self) -> Vec<Mint> {
        mints(&self.server.calls())
    }

    /// The one `GetFederationToken` so far.
    pub fn only_mint(&self) -> Mint {
        let mut mints = self.mints();
        assert_eq!(mints.len(), 1, "{mints:?}");
        mints.remove(0)
    }
}

impl Handle for Arc<State> {
    async fn answer(&self, call: Call) -> Reply {
        if let Some(reply) = looked_at(&call) {
            return reply;
        }
        let fields = call.form();
        if lock(&self.refused_keys).iter().any(|key| key == call.access_key()) {
            return error(403, "InvalidClientTokenId");
        }
        match fields.get("Action").map(String::as_str) {
            Some("GetFederationToken") => {
                let number = self.minted.fetch_add(1, Ordering::SeqCst);
                session(&fields, &access_key_id(number))
            }
            _ => error(400, "InvalidAction"),
        }
    }
}

/// The `GetFederationToken` among these calls.
pub fn mints(calls: &[Call]) -> Vec<Mint> {
    let mints = calls.iter().filter(|call| call.operation() == Some("GetFederationToken"));
    mints.map(|call| Mint { access_key: call.access_key().to_owned(), fields: call.form() }).collect()
}

/// The answer to somebody who only looks at the endpoint, which makes a connection: the real one sends him to the
/// product's page.
pub fn looked_at(call: &Call) -> Option<Reply> {
    let only_looks = (call.method.as_str(), call.path.as_str()) == ("GET", "/");
    only_looks.then(|| Reply::new(302, "text/html", "").header("location", "https://aws.amazon.com/iam"))
}

/// The access key id of the n-th session given out, from 0.
pub fn access_key_id(number: usize) -> String {
    format!("ASIASESSION{number:02}EXAMPLE")
}

/// A session as it was asked for.
pub fn session(fields: &BTreeMap<String, String>, access_key_id: &str) -> Reply {
    let name = &fields["Name"];
    let duration: u64 = fields["DurationSeconds"].parse().unwrap();
    let expiration = clock::rfc3339(clock::now() + duration);
    let body = format!(
        "<GetFederationTokenResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetFederationTokenResult>\
         <Credentials><AccessKeyId>{access_key_id}</AccessKeyId><SecretAccessKey>{SESSION_SECRET}</SecretAccessKey>\
         <SessionToken>{SESSION_TOKEN}</SessionToken><Expiration>{expiration}</Expiration></Credentials>\
         <FederatedUser><FederatedUserId>{ACCOUNT}:{name}</FederatedUserId>\
         <Arn>arn:aws:sts::{ACCOUNT}:federated-user/{name}</Arn></FederatedUser>\
         <PackedPolicySize>{PACKED_POLICY_SIZE}</PackedPolicySize></GetFederationTokenResult>\
         <ResponseMetadata><RequestId>{REQUEST_ID}</RequestId></ResponseMetadata></GetFederationTokenResponse>"
    );
    Reply::new(200, "text/xml", body).header("x-amzn-requestid", REQUEST_ID)
}

/// A session of which one part is empty.
pub fn session_without(part: &str) -> Reply {
    let fields = [("Name", "carol"), ("DurationSeconds", "3600")].map(|(name, value)| (name.into(), value.into()));
    let mut reply = session(&BTreeMap::from(fields), &access_key_id(0));
    let (open, close) = (format!("<{part}>"), format!("</{part}>"));
    let (before, rest) = reply.body.split_once(&open).unwrap();
    let (_, after) = rest.split_once(&close).unwrap();
    reply.body = format!("{before}{open}{close}{after}");
    reply
}

/// STS's own id of every request.
pub const REQUEST_ID: &str = "c0ffee00-0000-4000-8000-00000000057e";

/// An error as STS words it.
pub fn error(status: u16, code: &str) -> Reply {
    let body = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>{UPSTREAM_TEXT}</Message></Error><RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
    );
    Reply::new(status, "text/xml", body).header("x-amzn-requestid", REQUEST_ID)
}
