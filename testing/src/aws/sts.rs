//! What session was asked for, and with whose key?
//!
//! STS: `GetFederationToken`, answered with an echo of what was asked.

use std::collections::BTreeMap;

use serde_json::Value;

use super::query;
use crate::clock;
use crate::server::{Call, Reply};

/// The account of the broker user.
pub const ACCOUNT: &str = "111122223333";

/// What STS reports of every session.
pub const PACKED_POLICY_SIZE: u64 = 6;

/// The secret of every session given out, with characters that XML and JSON leave alone.
pub const SESSION_SECRET: &str = "session-secret/EXAMPLE+KEY";

/// The session token of every session given out.
pub const SESSION_TOKEN: &str = "session-token/EXAMPLE//////////wEaDGV1LWNlbnRyYWwtMQ==";

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

/// The `GetFederationToken` among these calls.
pub fn mints(calls: &[Call]) -> Vec<Mint> {
    let mints = calls.iter().filter(|call| call.operation() == Some("GetFederationToken"));
    mints.map(|call| Mint { access_key: call.access_key().to_owned(), fields: call.form() }).collect()
}

/// Who asks, as `GetCallerIdentity` says it of an operator.
pub const OPERATOR: &str = "arn:aws:sts::111122223333:assumed-role/operators/oscar";

/// The answer to `GetCallerIdentity`.
pub(super) fn caller_identity() -> Reply {
    let identity = format!("<Arn>{OPERATOR}</Arn><UserId>AROAEXAMPLE:oscar</UserId><Account>{ACCOUNT}</Account>");
    query::answer("GetCallerIdentity", &identity)
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
    query::answer(
        "GetFederationToken",
        &format!(
            "<Credentials><AccessKeyId>{access_key_id}</AccessKeyId><SecretAccessKey>{SESSION_SECRET}</SecretAccessKey>\
             <SessionToken>{SESSION_TOKEN}</SessionToken><Expiration>{expiration}</Expiration></Credentials>\
             <FederatedUser><FederatedUserId>{ACCOUNT}:{name}</FederatedUserId>\
             <Arn>arn:aws:sts::{ACCOUNT}:federated-user/{name}</Arn></FederatedUser>\
             <PackedPolicySize>{PACKED_POLICY_SIZE}</PackedPolicySize>"
        ),
    )
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
