//! What would this caller get, and why?
//!
//! The decision is [`authorize`]'s own. What is added here is what each item has to do with it: which ones count, which
//! ones nearly did, and which one sets each limit.

use std::time::SystemTime;

use super::authorize::{Matches, Pending, Request, authorize};
use super::denied::Denied;
use super::item::{Attributes, Item, StoredItem};
use super::requirement::{Requirement, StepUp};
use super::{Principal, PrincipalKind};
use crate::identity::Caller;
use crate::session::SessionDuration;
use crate::time::rfc3339;

/// The code of a session that is minted.
pub const ISSUED: &str = "issued";

/// Every item that could be meant, whoever it is for, and the blocks.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The principals that are blocked.
    pub blocked: Vec<Principal>,
    /// The items by principal and grant, in the table's order.
    pub items: Vec<KnownItem>,
    /// Who owns the caller's federated name, where it comes from a claim.
    pub name_owner: Option<String>,
}

/// An item of a table or a file.
#[derive(Debug, Clone)]
pub struct KnownItem {
    /// Whom it is for.
    pub principal: Principal,
    /// The name of its grant, as it is written.
    pub grant: String,
    /// All of it but its key.
    pub attributes: Attributes,
}

/// What a caller would get.
#[derive(Debug)]
pub struct Explanation {
    /// A session that could be minted, or why there is none.
    pub outcome: Result<Pending, Denied>,
    /// Items that count first, then those that do not.
    pub items: Vec<Weighed>,
    /// The limits that hold, each with the item that sets it.
    pub limits: Vec<Limit>,
    /// What the sign-in lacks.
    pub lacks: StepUp,
}

/// What an item has to do with the outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weighed {
    /// Whom it is for.
    pub principal: Principal,
    /// The name of its grant.
    pub grant: String,
    /// Its revision, if it has one.
    pub revision: Option<String>,
    /// Whether it is one of those that decide: it is well-formed, enabled and in time, and its principal is the caller's.
    pub used: bool,
    /// Why it is, or what is missing.
    pub why: String,
}

/// A limit on the session, or on the sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Its name: an attribute, such as `max_duration`.
    pub name: &'static str,
    /// Its value, as people read it.
    pub value: String,
    /// The principal of the item that sets it.
    pub principal: Principal,
}

/// Explains what `request` of `caller` comes to.
#[must_use]
pub fn explain(caller: &Caller, request: &Request, known: Known, now: SystemTime) -> Explanation {
    let principals = Principal::of(caller);
    let Known { blocked, items, name_owner } = known;
    let blocked: Vec<Principal> = principals.iter().filter(|principal| blocked.contains(principal)).cloned().collect();
    let is_meant = |item: &KnownItem| item.grant == request.grant.as_str();
    let (mine, others): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| principals.contains(&item.principal));
    let (mut mine, elsewhere): (Vec<_>, Vec<_>) = mine.into_iter().partition(is_meant);
    // In the function's order, so that of several faults the same one is named.
    mine.sort_by_key(|item| principals.iter().position(|principal| *principal == item.principal));

    let weighed: Vec<Weighed> = mine.iter().map(|item| weigh(item, blocked.first(), now)).collect();
    let deciding: Vec<(&Principal, Item)> = mine
        .iter()
        .zip(&weighed)
        .filter(|(_, weighed)| weighed.used)
        .filter_map(|(item, _)| Some((&item.principal, Item::read(&item.attributes).ok()?)))
        .collect();
    let limits = limits(&deciding);
    let lacks = deciding.iter().map(|(_, item)| item.require.clone());
    let lacks = lacks.into_iter().try_fold(Requirement::default(), Requirement::and);
    let lacks = lacks.map(|require| require.unmet(caller, now)).unwrap_or_default();

    let near = others.iter().filter(|item| is_meant(item)).filter_map(|item| Some((item, nearly(item, caller)?)));
    let near = near.map(|(item, why)| not_used(item, why));
    // The caller's other grants are of interest only to those who have none of this name.
    let renamed = elsewhere.iter().filter(|_| mine.is_empty()).map(|item| {
        not_used(
            item,
            format!("the caller has it, under the name `{}` and not `{}`", item.grant, request.grant.as_str()),
        )
    });
    let (used, unused): (Vec<_>, Vec<_>) = weighed.into_iter().partition(|item| item.used);
    let items = used.into_iter().chain(unused).chain(near).chain(renamed).collect();

    let stored = |KnownItem { principal, attributes, .. }| StoredItem { principal, attributes };
    let matches = Matches { blocked, items: mine.into_iter().map(stored).collect(), name_owner };
    Explanation { outcome: authorize(caller, request, matches, now), items, limits, lacks }
}

/// What an item of the caller and of the grant that was asked for does.
fn weigh(known: &KnownItem, blocked: Option<&Principal>, now: SystemTime) -> Weighed {
    let revision = revision(&known.attributes);
    let (used, why) = match (Item::read(&known.attributes), blocked) {
        (_, Some(blocked)) => (false, format!("`{blocked}` is blocked, which refuses everything")),
        (Err(problems), None) => (false, format!("is unusable, which makes the grant unusable: {problems}")),
        (Ok(item), None) if !item.enabled => (false, "is disabled, which refuses the grant".into()),
        (Ok(item), None) if !item.in_time(now) => (false, out_of_time(&item)),
        (Ok(_), None) => {
            let what = match known.principal.kind() {
                PrincipalKind::User(_) => "is for the caller",
                PrincipalKind::Group(_) => "is for a group of the caller",
                PrincipalKind::Everyone => "is for everyone of the issuer",
            };
            (true, what.into())
        }
    };
    Weighed { principal: known.principal.clone(), grant: known.grant.clone(), revision, used, why }
}

fn out_of_time(item: &Item) -> String {
    let time = |seconds: i64| rfc3339(seconds).unwrap_or_else(|| seconds.to_string());
    let begins = item.not_before.map(|begin| format!("begins at {}", time(begin)));
    let ends = item.not_after.map(|end| {
        format!("ends at {}, and a session needs {} s before that", time(end), SessionDuration::MIN.as_secs())
    });
    let both = [begins, ends].into_iter().flatten().collect::<Vec<_>>().join(" and ");
    format!("is not in its time: it {both}")
}

/// What is missing for an item of somebody else to be the caller's. Nothing is said of items for other people: they are
/// not meant.
fn nearly(known: &KnownItem, caller: &Caller) -> Option<String> {
    if known.principal.issuer() != caller.issuer().as_str() {
        return None;
    }
    let alike = |one: &str, other: &str| one.trim().to_lowercase() == other.trim().to_lowercase();
    match known.principal.kind() {
        PrincipalKind::Group(group) => {
            let similar = caller.groups().find(|mine| alike(mine, group));
            Some(match similar {
                Some(mine) => format!("the caller is in `{mine}`, which is another spelling of `{group}`"),
                None => format!("the caller is not in the group `{group}`"),
            })
        }
        PrincipalKind::User(user) if alike(user, caller.subject()) => {
            Some(format!("the caller's subject is `{}`, which is another spelling of `{user}`", caller.subject()))
        }
        PrincipalKind::User(_) | PrincipalKind::Everyone => None,
    }
}

fn not_used(known: &KnownItem, why: String) -> Weighed {
    Weighed {
        principal: known.principal.clone(),
        grant: known.grant.clone(),
        revision: revision(&known.attributes),
        used: false,
        why,
    }
}

fn revision(attributes: &Attributes) -> Option<String> {
    attributes.get("revision").and_then(serde_json::Value::as_str).map(str::to_owned)
}

/// The limits that the deciding items set together, each with the first item that sets it so low.
fn limits(items: &[(&Principal, Item)]) -> Vec<Limit> {
    let mut limits = Vec::new();
    let mut add = |name, value: String, principal: &Principal| {
        limits.push(Limit { name, value, principal: principal.clone() });
    };
    if let Some((principal, item)) = items.iter().min_by_key(|(_, item)| item.max_duration) {
        add("max_duration", format!("{} s", item.max_duration), principal);
    }
    if let Some((principal, item)) = items.iter().min_by_key(|(_, item)| item.duration) {
        add("duration", format!("{} s", item.duration), principal);
    }
    let ending = items.iter().filter_map(|(principal, item)| Some((principal, item.not_after?)));
    if let Some((principal, end)) = ending.min_by_key(|(_, end)| *end) {
        add("not_after", rfc3339(end).unwrap_or_else(|| end.to_string()), principal);
    }
    for (principal, item) in items {
        let StepUp { acr_values, amr_values, max_age } = item.require.step_up();
        if !acr_values.is_empty() {
            add("require/acr", format!("one of {}", acr_values.join(", ")), principal);
        }
        if !amr_values.is_empty() {
            add("require/amr", format!("all of {}", amr_values.join(", ")), principal);
        }
        if let Some(max_age) = max_age {
            add("require/max_age", format!("{max_age} s"), principal);
        }
        for pointer in item.require.claims() {
            add("require/claims", pointer.to_owned(), principal);
        }
    }
    if let Some((principal, _)) = items.iter().find(|(_, item)| item.pin_source_ip) {
        add("pin_source_ip", "the session works only from the caller's address".into(), principal);
    }
    limits
}

impl Explanation {
    /// What the API would answer: `issued`, or a code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.outcome.as_ref().map_or_else(|denied| denied.code().as_str(), |_| ISSUED)
    }

    /// The reason, as the audit line names it.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.outcome.as_ref().map_or_else(Denied::reason, |_| ISSUED)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::{caller_claiming, now};
    use super::*;
    use crate::grants::GrantName;

    fn known(items: &[(&str, &str, Value)]) -> Known {
        let item = |(principal, grant, attributes): &(&str, &str, Value)| KnownItem {
            principal: Principal::parse(principal).unwrap(),
            grant: (*grant).to_owned(),
            attributes: attributes.as_object().unwrap().clone(),
        };
        Known { items: items.iter().map(item).collect(), ..Known::default() }
    }

    fn explained(known: Known) -> Explanation {
        let caller = caller_claiming(&json!({}), &json!({"sub": "carol", "groups": ["deployers"], "amr": ["pwd"]}));
        let request =
            Request { grant: GrantName::default(), duration: None, source_ip: Some("203.0.113.7".parse().unwrap()) };
        explain(&caller, &request, known, now())
    }

    fn whys(explanation: &Explanation) -> Vec<(&str, bool, &str)> {
        explanation.items.iter().map(|item| (item.principal.as_str(), item.used, item.why.as_str())).collect()
    }

    #[test]
    fn what_counts_is_told_before_what_nearly_did() {
        let explanation = explained(known(&[
            ("corp/everyone", "default", json!({})),
            ("corp/group/Deployers", "default", json!({})),
            ("corp/group/deployers", "default", json!({"not_after": 1})),
            ("corp/group/readers", "default", json!({})),
            ("corp/user/Carol", "default", json!({})),
            ("corp/user/carol", "default", json!({"revision": "7-aaaaaaaaaaaaaaaa"})),
            ("corp/user/carol", "deploy", json!({})),
            ("corp/user/dave", "default", json!({})),
            ("other/everyone", "default", json!({})),
        ]));
        assert_eq!((explanation.code(), explanation.reason()), ("issued", "issued"));
        let expected = [
            ("corp/user/carol", true, "is for the caller"),
            ("corp/everyone", true, "is for everyone of the issuer"),
            (
                "corp/group/deployers",
                false,
                "is not in its time: it ends at 1970-01-01T00:00:01Z, and a session needs 900 s before that",
            ),
            ("corp/group/Deployers", false, "the caller is in `deployers`, which is another spelling of `Deployers`"),
            ("corp/group/readers", false, "the caller is not in the group `readers`"),
            ("corp/user/Carol", false, "the caller's subject is `carol`, which is another spelling of `Carol`"),
        ];
        assert_eq!(whys(&explanation), expected);
        assert_eq!(explanation.items[0].revision.as_deref(), Some("7-aaaaaaaaaaaaaaaa"));
    }

    #[test]
    fn a_grant_of_another_name_is_told_to_those_who_have_none_of_this() {
        let explanation = explained(known(&[("corp/user/carol", "deploy", json!({}))]));
        assert_eq!((explanation.code(), explanation.reason()), ("access_denied", "no_grant"));
        let expected = ("corp/user/carol", false, "the caller has it, under the name `deploy` and not `default`");
        assert_eq!(whys(&explanation), [expected]);
    }

    #[test]
    fn what_refuses_everything_is_told_of_each_item() {
        let mut blocked = known(&[("corp/user/carol", "default", json!({}))]);
        blocked.blocked = vec![Principal::parse("corp/group/deployers").unwrap()];
        let explanation = explained(blocked);
        assert_eq!((explanation.code(), explanation.reason()), ("access_denied", "blocked"));
        let expected = ("corp/user/carol", false, "`corp/group/deployers` is blocked, which refuses everything");
        assert_eq!(whys(&explanation), [expected]);

        let mut others = known(&[("corp/user/carol", "default", json!({}))]);
        others.blocked = vec![Principal::parse("corp/group/readers").unwrap()];
        assert_eq!(explained(others).code(), "issued");

        for (item, code, why) in [
            (json!({"colour": "red"}), "grant_unusable", "is unusable"),
            (json!({"enabled": false}), "access_denied", "is disabled"),
        ] {
            let explanation = explained(known(&[("corp/user/carol", "default", item)]));
            assert_eq!(explanation.code(), code);
            assert!(!explanation.items[0].used && explanation.items[0].why.starts_with(why));
        }
    }

    #[test]
    fn each_limit_is_told_with_the_item_that_sets_it() {
        let explanation = explained(known(&[
            (
                "corp/user/carol",
                "default",
                json!({"max_duration": 7200, "duration": 900, "require": {"amr": ["mfa"], "claims": {"/team": ["a"]}}}),
            ),
            (
                "corp/everyone",
                "default",
                json!({"pin_source_ip": true, "not_after": 4_000_000_000_u64, "require": {"acr": ["a"], "max_age": 60}}),
            ),
        ]));
        let limits: Vec<_> = explanation.limits.iter().map(|limit| (limit.name, limit.principal.as_str())).collect();
        let (carol, everyone) = ("corp/user/carol", "corp/everyone");
        let expected = [
            ("max_duration", everyone),
            ("duration", carol),
            ("not_after", everyone),
            ("require/amr", carol),
            ("require/claims", carol),
            ("require/acr", everyone),
            ("require/max_age", everyone),
            ("pin_source_ip", everyone),
        ];
        assert_eq!(limits, expected);
        assert_eq!(explanation.lacks.amr_values, ["mfa"]);
        assert_eq!((explanation.code(), explanation.reason()), ("access_denied", "claim_refused"));
    }
}
