//! In which order are changes written, so that an interruption never leaves anything wider?
//!
//! "Wider" means: a caller may do something that they may do neither before all changes nor after them. Items are
//! written one by one, and what a caller may do comes from all of their items together.
//!
//! - First everything that NARROWS, in any order: whatever is done of it, nobody may do more than before.
//! - Last everything that WIDENS, in any order: whatever is done of it, nobody may do more than after all of it.
//! - MIXED in between, and those together that one caller can match: half of them could allow what the other half is
//!   about to deny. Together means in one transaction. If there are too many for one, each is written twice: first as
//!   an item that is not wider than the one before and the one after, then as the one after.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hallpass::grants::{Attributes, ChangeEffect, Content, Item, Others, Revision, effect, is_content};
use hallpass::read::json;
use serde_json::Value;

use super::plan::{Change, Plan};
use super::table::{Key, Record, Stored};

/// The most changes in one transaction: DynamoDB takes 100 writes, and a change has up to five.
const MOST_TOGETHER: usize = 20;

/// What must be there for a change to be made.
#[derive(Debug, Clone)]
pub(super) enum Seen<'a> {
    Nothing,
    Item(&'a Record),
    /// What this run wrote before.
    Revision(String),
}

/// What becomes of an item's line in a manifest.
#[derive(Debug, Clone)]
pub(super) struct ManifestLine<'a> {
    pub(super) set: &'a str,
    pub(super) seen: Option<Cow<'a, str>>,
    /// Whether it names the new revision then, or is gone.
    pub(super) stays: bool,
}

/// A change as it is written: the item, its history and its manifest.
#[derive(Debug, Clone)]
pub(super) struct Write<'a> {
    pub(super) key: &'a Key,
    /// The name in the history.
    pub(super) action: &'static str,
    pub(super) seen: Seen<'a>,
    pub(super) after: Option<Cow<'a, Attributes>>,
    pub(super) found: Option<Revision>,
    pub(super) revision: Revision,
    pub(super) manifest: Vec<ManifestLine<'a>>,
    /// Whether the change is finished by it.
    pub(super) is_last: bool,
}

/// Writes that are made together, or not at all.
pub(super) type Step<'a> = Vec<Write<'a>>;

/// The steps of a plan: all of one list before any of the next.
pub(super) fn steps<'a>(plan: &Plan<'a>) -> Vec<Vec<Step<'a>>> {
    let (mut narrowing, mut mixed, mut widening) = (Vec::new(), Vec::new(), Vec::new());
    let mut meeting: BTreeMap<(&str, &str), Vec<&Change<'a>>> = BTreeMap::new();
    for change in &plan.changes {
        match change.effect {
            ChangeEffect::Narrows | ChangeEffect::Same => narrowing.push(vec![whole(plan.set, change)]),
            ChangeEffect::Widens => widening.push(vec![whole(plan.set, change)]),
            ChangeEffect::Mixed => {
                meeting.entry(change.key.meeting()).or_default().push(change);
            }
        }
    }
    for changes in meeting.into_values() {
        let all_are_users = changes.iter().all(|change| change.key.is_of_user());
        if all_are_users {
            // Nobody is two users.
            mixed.extend(changes.into_iter().map(|change| vec![whole(plan.set, change)]));
        } else if changes.len() <= MOST_TOGETHER {
            mixed.push(changes.into_iter().map(|change| whole(plan.set, change)).collect());
        } else {
            for change in changes {
                let (first, second) = halves(plan, change);
                narrowing.push(vec![first]);
                widening.push(vec![second]);
            }
        }
    }
    vec![narrowing, mixed, widening]
}

/// A change in one write.
pub(super) fn whole<'a>(set: &'a str, change: &Change<'a>) -> Write<'a> {
    let ours = ManifestLine { set, seen: change.managed.map(Cow::Borrowed), stays: change.after.is_some() };
    let other = change.other.map(|(set, seen)| ManifestLine { set, seen: Some(Cow::Borrowed(seen)), stays: false });
    Write {
        key: change.key,
        action: change.action.as_str(),
        seen: change.before.map_or(Seen::Nothing, |before| Seen::Item(&before.record)),
        after: change.after.map(|after| Cow::Borrowed(&after.attributes)),
        found: change.found.clone(),
        revision: change.revision.clone(),
        manifest: [ours].into_iter().chain(other).collect(),
        is_last: true,
    }
}

/// A change in two writes, the first of which narrows and the second widens.
fn halves<'a>(plan: &Plan<'a>, change: &Change<'a>) -> (Write<'a>, Write<'a>) {
    let last = whole(plan.set, change);
    let narrowed = narrowed(plan, change);
    let revision = Revision::new(change.revision.sequence(), Some(&Content::of(&narrowed)));
    let managed =
        ManifestLine { set: plan.set, seen: Some(Cow::Owned(revision.to_string())), stays: change.after.is_some() };
    let second = Write {
        seen: Seen::Revision(revision.to_string()),
        found: None,
        revision: Revision::new(change.revision.sequence().saturating_add(1), change.after.map(|after| &after.content)),
        manifest: vec![managed],
        ..last.clone()
    };
    let manifest = last.manifest.iter().cloned().map(|line| ManifestLine { stays: line.set == plan.set, ..line });
    let first = Write {
        action: "narrow",
        after: Some(Cow::Owned(narrowed)),
        revision,
        manifest: manifest.collect(),
        is_last: false,
        ..last
    };
    (first, second)
}

/// An item that is not wider than the one before and the one after.
fn narrowed(plan: &Plan<'_>, change: &Change<'_>) -> Attributes {
    let before = change.before.map(|before| &before.attributes);
    let after = change.after.map(|after| &after.attributes);
    let mut content = after.or(before).cloned().unwrap_or_default();
    content.retain(|name, _| is_content(name));
    let mut without_allows = content.clone();
    without_allows.remove("policy_arns");
    if let Some(policy) = without_allows.get_mut("policy") {
        allow_nothing(policy);
    }
    if is_between(plan, change, &without_allows) {
        return without_allows;
    }
    // Nothing is narrower: whoever matches it is refused.
    content.insert("enabled".into(), Value::Bool(false));
    content
}

/// Whether a step over `middle` is proved to narrow first and to widen then.
fn is_between(plan: &Plan<'_>, change: &Change<'_>, middle: &Attributes) -> bool {
    let before = change.before.map(Stored::item);
    let (false, Ok(middle)) = (before == Some(None), Item::read(middle)) else { return false };
    let (before, after) = (before.flatten(), change.after.map(|after| &after.item));
    let others = Others::of(plan.meetings.others(change.key, before.as_ref(), after));
    let first = effect(before.as_ref(), Some(&middle), others);
    let second = effect(Some(&middle), after, others);
    matches!(first, ChangeEffect::Narrows | ChangeEffect::Same)
        && matches!(second, ChangeEffect::Widens | ChangeEffect::Same)
}

/// Leaves of a policy what denies. A policy that is left without statements is malformed, and proves nothing.
fn allow_nothing(policy: &mut Value) {
    if let Some(parsed) = policy.as_str().and_then(|text| json::parse(text.as_bytes()).ok()) {
        *policy = parsed;
    }
    let Some(statements) = policy.get_mut("Statement") else { return };
    let of_one = statements.is_object().then(|| statements.clone());
    let list = of_one.map(|one| vec![one]).or_else(|| statements.as_array().cloned()).unwrap_or_default();
    *statements = list.into_iter().filter(|statement| statement["Effect"] == "Deny").collect();
}
