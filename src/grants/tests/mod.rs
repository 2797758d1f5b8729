//! What may whom have? One caller, his items, and what comes of them.

mod corpus;
mod edges;
mod effects;
mod items;
mod merging;
mod model;
mod names;
mod offering;
mod policies;
mod properties;
mod templates;
mod verdicts;

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::*;
use crate::identity::{Caller, KeySet, SingleUse, UnverifiedToken, parse_issuers, verify};
use crate::read::problems::Problems;
use crate::session::{FederatedName, NameError, PolicyArn, SessionDuration, TagError};
use hallpass_testing::signer::{TestKey, valid_claims};

const ISSUER: &str = "https://login.example.com";
const NOW: u64 = 1_800_000_000;

pub(super) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn caller_with(more: &Value, claims: &Value) -> Caller {
    let key = TestKey::ed25519("k1");
    let mut entry = json!({"id": "corp", "issuer": ISSUER, "audiences": ["hallpass"], "algorithms": ["EdDSA"]});
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let issuer = parse_issuers(&json!([entry]).to_string(), &mut Problems::default()).remove(0);
    let keys = KeySet::parse(json!({"keys": [key.jwk()]}).to_string().as_bytes()).unwrap();
    let token = key.sign(&json!({"alg": "EdDSA"}), claims);
    verify(UnverifiedToken::parse(&token).unwrap().check_header(&issuer).unwrap(), &keys, now()).unwrap()
}

fn caller() -> Caller {
    caller_claiming(&json!({}), &json!({}))
}

/// One who is as `caller` is, but for these claims; what is `null` is left out.
pub(super) fn caller_claiming(more: &Value, changed: &Value) -> Caller {
    caller_with(more, &claims_of(changed))
}

fn claims_of(changed: &Value) -> Value {
    let mut claims = valid_claims(ISSUER, NOW);
    claims["groups"] = json!(["deployers", "analysts"]);
    for (name, value) in changed.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

/// One item for each value, in the order of the caller's principals: user, analysts, deployers, everyone.
fn matches(items: &[Value]) -> Matches {
    matches_of(&caller(), items)
}

fn matches_of(caller: &Caller, items: &[Value]) -> Matches {
    let stored = Principal::of(caller)
        .into_iter()
        .zip(items)
        .map(|(principal, item)| StoredItem { principal, attributes: item.as_object().unwrap().clone() });
    Matches { items: stored.collect(), ..Matches::default() }
}

/// What a caller of these claims gets.
fn claiming(changed: &Value, items: &[Value]) -> Result<Session, Denied> {
    let caller = caller_claiming(&json!({}), changed);
    authorize(&caller, &request(None), matches_of(&caller, items), now()).map(|pending| pending.session)
}

fn address() -> IpAddr {
    "203.0.113.7".parse().unwrap()
}

fn request(seconds: Option<i64>) -> Request {
    let duration = seconds.map(|seconds| SessionDuration::from_secs(seconds).unwrap());
    Request { grant: GrantName::default(), duration, source_ip: Some(address()) }
}

fn session(items: &[Value]) -> Result<Session, Denied> {
    asking(items, None)
}

fn asking(items: &[Value], seconds: Option<i64>) -> Result<Session, Denied> {
    authorize(&caller(), &request(seconds), matches(items), now()).map(|pending| pending.session)
}

fn policy(effect: &str, action: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{"Sid": "One", "Effect": effect, "Action": action, "Resource": "*"}]})
}

fn item(action: &str) -> Value {
    json!({ "policy": policy("Allow", action) })
}

fn with(name: &str, value: Value) -> Value {
    let mut item = item("s3:GetObject");
    item[name] = value;
    item
}

fn statements(session: &Session) -> Vec<Value> {
    let policy: Value = serde_json::from_str(session.policy().unwrap().as_str()).unwrap();
    assert_eq!(policy["Version"], "2012-10-17");
    policy["Statement"].as_array().unwrap().clone()
}

#[test]
fn grant_names_keep_to_their_grammar() {
    for good in ["default", "d", "0", "shop.deploy_v2-x", &"a".repeat(64)] {
        assert!(GrantName::new(good).is_some(), "{good}");
    }
    for bad in ["", "#blocked", "Default", ".a", "-a", "_a", "a b", "é", &"a".repeat(65)] {
        assert!(GrantName::new(bad).is_none(), "{bad}");
    }
}

#[test]
fn principals_are_the_user_the_groups_and_everyone_of_the_issuer() {
    let principals: Vec<String> = Principal::of(&caller()).iter().map(ToString::to_string).collect();
    assert_eq!(principals, ["corp/user/carol", "corp/group/analysts", "corp/group/deployers", "corp/everyone"]);
}
