//! What do all the items that match allow together?
//!
//! What the items allow adds up, and every limit and every Deny narrows: statements of all items are given to STS
//! together, so that a Deny in one holds against an Allow in another, and of two limits the smaller holds. One unusable
//! item makes the request unusable; leaving it out could leave out a Deny.

use std::net::IpAddr;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::Principal;
use super::denied::{Denied, Refused, Unusable};
use super::item::{Item, StoredItem};
use super::policy::{MAX_STATEMENTS, Policy, Template};
use super::requirement::Requirement;
use crate::identity::Caller;
use crate::session::{FederatedName, PolicyArns, SessionDuration, SessionPolicy, SessionTags};
use crate::time::{seconds, since_epoch};

/// The items that hold now, and all that they require.
pub(super) struct Merged {
    pub(super) items: Vec<(Principal, Item)>,
    pub(super) require: Requirement,
}

pub(super) fn merge(stored: Vec<StoredItem>, now: SystemTime) -> Result<Merged, Denied> {
    let mut items = Vec::with_capacity(stored.len());
    for StoredItem { principal, attributes } in stored {
        match Item::read(&attributes) {
            Ok(item) => items.push((principal, item)),
            Err(problems) => return Err(Unusable::Item { principal, problems }.into()),
        }
    }
    if items.is_empty() {
        return Err(Refused::NoGrant.into());
    }
    if let Some((principal, _)) = items.iter().find(|(_, item)| !item.enabled) {
        return Err(Refused::Disabled(principal.clone()).into());
    }
    items.retain(|(_, item)| item.in_time(now));
    if items.is_empty() {
        return Err(Refused::OutOfTime.into());
    }
    let all = items.iter().map(|(_, item)| item.require.clone());
    let require =
        all.into_iter().try_fold(Requirement::default(), Requirement::and).map_err(Unusable::Contradiction)?;
    Ok(Merged { items, require })
}

impl Item {
    /// Whether it is the item's time, with enough of it left for the shortest session that STS makes.
    pub(super) fn in_time(&self, now: SystemTime) -> bool {
        self.not_before.is_none_or(|begin| begin <= seconds(now))
            && self.not_after.is_none_or(|end| seconds_until(end, now) >= i64::from(SessionDuration::MIN.as_secs()))
    }
}

/// The smallest of all limits.
pub(super) fn duration(
    caller: &Caller,
    items: &[(Principal, Item)],
    asked: Option<SessionDuration>,
    now: SystemTime,
) -> Result<SessionDuration, Refused> {
    let maximum = items.iter().map(|(_, item)| item.max_duration).min().unwrap_or(SessionDuration::MIN);
    if let Some(asked) = asked.filter(|asked| *asked > maximum) {
        return Err(Refused::OverMaximum { asked, maximum });
    }
    let default = items.iter().map(|(_, item)| item.duration).min().unwrap_or(SessionDuration::MIN);
    Ok(asked.unwrap_or(default).min(longest(caller, items, now)?))
}

/// The longest session that the items' maxima and ends, and the token's end, leave.
pub(super) fn longest(
    caller: &Caller,
    items: &[(Principal, Item)],
    now: SystemTime,
) -> Result<SessionDuration, Refused> {
    let mut longest = items.iter().map(|(_, item)| item.max_duration).min().unwrap_or(SessionDuration::MIN);
    for end in items.iter().filter_map(|(_, item)| item.not_after) {
        // Items with less than the minimum left are no longer among these.
        let left = SessionDuration::from_secs(seconds_until(end, now)).unwrap_or(SessionDuration::MAX);
        longest = longest.min(left);
    }
    if let Some(end) = caller.session_ends_at() {
        let left = seconds_until(end, now).min(SessionDuration::MAX.as_secs().into());
        longest = longest.min(SessionDuration::from_secs(left).ok_or(Refused::TokenEndsTooSoon)?);
    }
    Ok(longest)
}

/// What a session carries to STS, filled in for the caller.
pub(super) struct Contents {
    pub(super) policy: Option<SessionPolicy>,
    pub(super) policy_arns: PolicyArns,
    pub(super) tags: SessionTags,
}

pub(super) fn contents(
    caller: &Caller,
    name: &FederatedName,
    items: &[(Principal, Item)],
    source_ip: Option<IpAddr>,
) -> Result<Contents, Denied> {
    Ok(Contents {
        policy: session_policy(caller, name, items, source_ip)?,
        policy_arns: policy_arns(items)?,
        tags: tags(caller, name, items)?,
    })
}

/// Joins the statements, filled in for the caller and in an order of their own, so that which item said what makes no
/// difference.
fn session_policy(
    caller: &Caller,
    name: &FederatedName,
    items: &[(Principal, Item)],
    source_ip: Option<IpAddr>,
) -> Result<Option<SessionPolicy>, Denied> {
    let mut statements: Vec<Value> = Vec::new();
    let mut join = |statement: Value| {
        if !statements.contains(&statement) {
            statements.push(statement);
        }
        if statements.len() > MAX_STATEMENTS { Err(Unusable::TooManyStatements) } else { Ok(()) }
    };
    for (principal, item) in items {
        let fill = |template: &Template| template.fill(caller, name);
        for statement in item.policy.iter().flat_map(Policy::statements) {
            let unfilled = |error| Unusable::Template { principal: principal.clone(), error };
            join(statement.print(&fill).map_err(unfilled)?)?;
        }
    }
    if items.iter().any(|(_, item)| item.pin_source_ip) {
        join(pin(source_ip.ok_or(Refused::NoSourceAddress)?))?;
    }
    if statements.is_empty() {
        return Ok(None);
    }
    statements.sort_by_cached_key(Value::to_string);
    let text = Policy::print(&statements);
    let characters = text.chars().count();
    Ok(Some(SessionPolicy::new(text).ok_or(Unusable::PolicyTooLarge { characters })?))
}

/// The statement that denies everything from elsewhere. Calls that an AWS service makes with the session, such as
/// Athena's to S3, come from the service's own address.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-viaawsservice>
pub(super) fn pin(address: IpAddr) -> Value {
    let address = address.to_canonical();
    let bits = if address.is_ipv4() { 32 } else { 128 };
    json!({
        "Effect": "Deny",
        "Action": "*",
        "Resource": "*",
        "Condition": {
            "NotIpAddress": {"aws:SourceIp": format!("{address}/{bits}")},
            "BoolIfExists": {"aws:ViaAWSService": "false"},
        },
    })
}

fn policy_arns(items: &[(Principal, Item)]) -> Result<PolicyArns, Unusable> {
    let arns = items.iter().flat_map(|(_, item)| item.policy_arns.iter().cloned()).collect();
    PolicyArns::new(arns).map_err(Unusable::TooManyArns)
}

fn tags(caller: &Caller, name: &FederatedName, items: &[(Principal, Item)]) -> Result<SessionTags, Unusable> {
    let mut tags = Vec::new();
    for (principal, item) in items {
        for (key, template) in &item.tags {
            let unfilled = |error| Unusable::Template { principal: principal.clone(), error };
            tags.push((key.clone(), template.fill(caller, name).map_err(unfilled)?));
        }
    }
    Ok(SessionTags::new(tags)?)
}

/// Whole seconds from now to `end`, rounded down. STS counts from when it is asked, so that a session may outlive
/// `end` by what the request took until then, which is bounded to 1.5 s.
fn seconds_until(end: i64, now: SystemTime) -> i64 {
    let fraction = since_epoch(now).subsec_nanos();
    end.saturating_sub(seconds(now)).saturating_sub(i64::from(fraction > 0))
}
