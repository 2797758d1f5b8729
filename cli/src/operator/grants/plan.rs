//! What would have to be written, so that the table says what the files say?
//!
//! A plan is made from what was read, by nothing but computation: the same files, the same table and the same options
//! make the same plan, with the same id. The id covers everything that `apply` would write and every revision that the
//! plan depends on, but not who applies it, when and from which commit.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use data_encoding::HEXLOWER;
use hallpass::grants::{Attributes, ChangeEffect, Content, Item, Others, Revision, effect};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use hallpass::session::SessionDuration;

use super::table::{Block, Key, Snapshot, Stored};

/// With fewer managed items than this, a share of them says nothing.
const ENOUGH_FOR_A_SHARE: usize = 10;
/// More changes of what is managed than this share are probably a mistake, such as a folder that is missing.
const SHARE_PERCENT: usize = 30;

/// What the files say about one item.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) attributes: Attributes,
    pub(super) content: Content,
    /// What the function understands of it.
    pub(super) item: Item,
}

impl Wanted {
    pub(super) fn new(attributes: Attributes, item: Item) -> Self {
        Self { content: Content::of(&attributes), attributes, item }
    }
}

/// Everything that the files say. The items of one document are one.
pub(super) type Desired = BTreeMap<Key, Rc<Wanted>>;

/// What a plan may do.
#[derive(Debug, Clone)]
pub(super) struct Options {
    /// The name of the set of files.
    pub(super) set: String,
    /// Items of the files may be taken over from nobody, or from another set.
    pub(super) take_over: bool,
    /// What was changed by hand may be overwritten.
    pub(super) overwrite_drift: bool,
}

/// What is to be done about one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    Create,
    Update,
    Delete,
}

impl Action {
    /// The name in the history.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// A change of one item.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub(super) key: &'a Key,
    pub(super) action: Action,
    pub(super) effect: ChangeEffect,
    pub(super) before: Option<&'a Stored>,
    pub(super) after: Option<&'a Wanted>,
    /// The revision in the manifest of this set.
    pub(super) managed: Option<&'a str>,
    /// The other set that has the item until now, and the revision in its manifest.
    pub(super) other: Option<(&'a str, &'a str)>,
    /// The revision that content gets which was written by hand, so that the history keeps it.
    pub(super) found: Option<Revision>,
    /// The revision after the change.
    pub(super) revision: Revision,
}

impl Change<'_> {
    fn label(&self, meetings: &Meetings<'_>) -> ChangeEffect {
        let before = self.before.and_then(Stored::item);
        let others = meetings.others(self.key, before.as_ref(), self.after.map(|after| &after.item));
        label(self.before, self.after, &others)
    }
}

/// An item that the plan leaves alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left<'a> {
    pub(super) key: &'a Key,
    pub(super) stored: Option<&'a Stored>,
    /// What the files say about it.
    pub(super) wanted: Option<&'a Wanted>,
    /// The other set that has it.
    pub(super) owner: Option<&'a str>,
}

impl Left<'_> {
    /// Whether the files say something else than the table.
    pub(super) fn differs(&self) -> bool {
        self.stored.map(|stored| &stored.content) != self.wanted.map(|wanted| &wanted.content)
    }
}

/// What would be done, and what is left alone.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) set: &'a str,
    /// In the order of their keys.
    pub(super) changes: Vec<Change<'a>>,
    /// What no manifest has, and what the files want of another set's.
    pub(super) unmanaged: Vec<Left<'a>>,
    /// What is not any more as this set applied it.
    pub(super) drift: Vec<Left<'a>>,
    pub(super) blocked: &'a [Block],
    /// How many items this set applied last.
    pub(super) managed: usize,
    pub(super) id: String,
    pub(super) meetings: Meetings<'a>,
}

/// What is to become of an item.
#[derive(Debug)]
enum Verdict {
    Change(Action),
    Unchanged,
    Unmanaged,
    Drift,
    NotOurs,
}

/// Everything that is known about one item.
#[derive(Debug, Clone, Copy)]
struct Case<'a> {
    key: &'a Key,
    stored: Option<&'a Stored>,
    wanted: Option<&'a Wanted>,
    managed: Option<&'a str>,
    other: Option<(&'a str, &'a str)>,
}

impl<'a> Case<'a> {
    fn all(desired: &'a Desired, snapshot: &'a Snapshot, set: &str) -> Vec<Self> {
        let manifest = snapshot.manifests.get(set);
        let managed = manifest.into_iter().flat_map(BTreeMap::keys);
        let keys: BTreeSet<&Key> = desired.keys().chain(snapshot.items.keys()).chain(managed).collect();
        let case = |key| Self {
            key,
            stored: snapshot.items.get(key),
            wanted: desired.get(key).map(Rc::as_ref),
            managed: manifest.and_then(|manifest| manifest.get(key)).map(String::as_str),
            other: snapshot.other_owner(set, key),
        };
        keys.into_iter().map(case).collect()
    }

    /// Whether the item is not the content that the manifest names.
    fn has_drifted(&self) -> bool {
        self.managed.is_some() && !self.is_recorded()
    }

    /// Whether a manifest names the content, which is then in the history.
    fn is_recorded(&self) -> bool {
        let named = self.managed.or(self.other.map(|(_, revision)| revision)).and_then(Revision::parse);
        named.zip(self.stored).is_some_and(|(named, stored)| named.names(&stored.content))
    }

    fn verdict(&self, options: &Options) -> Verdict {
        let action = match (self.stored, self.wanted) {
            (None, Some(_)) => Action::Create,
            (Some(_), Some(_)) => Action::Update,
            (_, None) => Action::Delete,
        };
        let (Some(_), true) = (self.managed, self.wanted.is_some() || self.stored.is_some()) else {
            return match (self.managed, self.wanted, self.stored, self.other) {
                // It was deleted by hand, and the files do not want it: only the manifest has it.
                (Some(_), ..) => Verdict::Change(Action::Delete),
                (None, Some(_), None, None) => Verdict::Change(Action::Create),
                (None, Some(_), ..) if options.take_over => Verdict::Change(action),
                (None, Some(_), ..) | (None, None, Some(_), None) => Verdict::Unmanaged,
                (None, None, ..) => Verdict::NotOurs,
            };
        };
        if self.has_drifted() {
            return if options.overwrite_drift { Verdict::Change(action) } else { Verdict::Drift };
        }
        match (self.stored, self.wanted) {
            (Some(stored), Some(wanted)) if stored.content == wanted.content => Verdict::Unchanged,
            _ => Verdict::Change(action),
        }
    }

    /// The highest number of a change of the item. Somebody may have changed any of the places that say it.
    fn last_sequence(&self, history: &BTreeMap<Key, u64>) -> u64 {
        let told =
            [self.managed, self.other.map(|(_, revision)| revision), self.stored.and_then(Stored::revision_text)];
        let sequences = told.into_iter().flatten().filter_map(Revision::parse).map(|revision| revision.sequence());
        sequences.chain(history.get(self.key).copied()).max().unwrap_or_default()
    }

    /// The change, of which the effect is not known yet.
    fn change(self, action: Action, last: &BTreeMap<Key, u64>) -> Change<'a> {
        let mut next = self.last_sequence(last).saturating_add(1);
        let is_replaced = |stored: &&Stored| self.wanted.is_none_or(|wanted| wanted.content != stored.content);
        let found = self.stored.filter(|_| !self.is_recorded()).filter(is_replaced).map(|stored| {
            let found = Revision::new(next, Some(&stored.content));
            next = next.saturating_add(1);
            found
        });
        Change {
            key: self.key,
            action,
            effect: ChangeEffect::Mixed,
            before: self.stored,
            after: self.wanted,
            managed: self.managed,
            // What two sets have, each of them goes on having.
            other: self.other.filter(|_| self.managed.is_none()),
            found,
            revision: Revision::new(next, self.wanted.map(|wanted| &wanted.content)),
        }
    }
}

/// What a change does to what callers may do. What cannot be read cannot be compared.
fn label(before: Option<&Stored>, after: Option<&Wanted>, others: &[&Item]) -> ChangeEffect {
    if before.map(|stored| &stored.content) == after.map(|wanted| &wanted.content) {
        return ChangeEffect::Same;
    }
    match before.map(Stored::item) {
        Some(None) => ChangeEffect::Mixed,
        before => {
            effect(before.flatten().as_ref(), after.map(|wanted| &wanted.item), Others::of(others.iter().copied()))
        }
    }
}

/// The items that one caller can match, by issuer and grant, as they are and as they will be. Items that are alike for
/// what they do to others are one here, so that each change is compared with few.
#[derive(Debug, Default)]
pub(super) struct Meetings<'a>(BTreeMap<(&'a str, &'a str), Meeting>);

#[derive(Debug, Default)]
struct Meeting {
    users: Kinds,
    /// Of groups and of everyone.
    shared: Kinds,
}

/// One item of each kind, and the number of those that there are.
type Kinds = BTreeMap<(SessionDuration, SessionDuration), (usize, Item)>;

impl<'a> Meetings<'a> {
    /// Those of all cases in which something changes. What cannot be read refuses everybody who matches it, before and after a
    /// change of another item.
    fn of(cases: &[Case<'a>], options: &Options) -> Self {
        let is_change = |case: &&Case<'_>| matches!(case.verdict(options), Verdict::Change(_));
        let mut meetings: BTreeMap<_, Meeting> =
            cases.iter().filter(is_change).map(|case| (case.key.meeting(), Meeting::default())).collect();
        for case in cases {
            let Some(meeting) = meetings.get_mut(&case.key.meeting()) else { continue };
            let kinds = if case.key.is_of_user() { &mut meeting.users } else { &mut meeting.shared };
            let stays = case.wanted.map(|wanted| wanted.item.clone()).filter(|_| is_change(&case));
            for item in case.stored.and_then(Stored::item).into_iter().chain(stays) {
                let (count, _) = kinds.entry(item.as_other()).or_insert_with(|| (0, item));
                *count = count.saturating_add(1);
            }
        }
        Self(meetings)
    }

    /// All other items that a caller can match together with this one.
    pub(super) fn others<'b>(&'b self, key: &'b Key, before: Option<&Item>, after: Option<&Item>) -> Vec<&'b Item> {
        let Some(meeting) = self.0.get(&key.meeting()) else { return Vec::new() };
        if key.is_of_user() {
            // Nobody is two users.
            return meeting.shared.values().map(|(_, item)| item).collect();
        }
        let own = |kind| [before, after].into_iter().flatten().filter(|item| item.as_other() == kind).count();
        let shared = meeting.shared.iter().filter(|(kind, (count, _))| *count > own(**kind)).map(|(_, (_, item))| item);
        shared.chain(meeting.users.values().map(|(_, item)| item)).collect()
    }
}

/// The change of one item alone, also if another set has it, unless it says this already.
pub(super) fn one<'a>(key: &'a Key, wanted: &'a Wanted, snapshot: &'a Snapshot, set: &str) -> Option<Change<'a>> {
    let stored = snapshot.items.get(key);
    let managed = snapshot.manifests.get(set).and_then(|manifest| manifest.get(key)).map(String::as_str);
    let case = Case { key, stored, wanted: Some(wanted), managed, other: None };
    let is_same = stored.is_some_and(|stored| stored.content == wanted.content) && !case.has_drifted();
    let action = if stored.is_some() { Action::Update } else { Action::Create };
    let others = snapshot.items.iter().filter(|(other, _)| *other != key && other.meeting() == key.meeting());
    let others: Vec<Item> = others
        .filter(|(other, _)| !(other.is_of_user() && key.is_of_user()))
        .filter_map(|(_, stored)| stored.item())
        .collect();
    (!is_same).then(|| {
        let change = case.change(action, &snapshot.last);
        Change { effect: label(stored, Some(wanted), &others.iter().collect::<Vec<_>>()), ..change }
    })
}

impl<'a> Plan<'a> {
    /// Makes the plan for a table of this name.
    pub(super) fn make(table: &str, desired: &'a Desired, snapshot: &'a Snapshot, options: &'a Options) -> Self {
        let cases = Case::all(desired, snapshot, &options.set);
        let mut plan = Self {
            meetings: Meetings::of(&cases, options),
            set: &options.set,
            changes: Vec::new(),
            unmanaged: Vec::new(),
            drift: Vec::new(),
            blocked: &snapshot.blocks,
            managed: snapshot.manifests.get(&options.set).map_or(0, BTreeMap::len),
            id: String::new(),
        };
        let mut id = Sha256::new();
        add(&mut id, &json!(["hallpass plan 1", table, options.set]));
        for case in cases {
            let Case { key, stored, wanted, managed, other } = case;
            let left = Left { key, stored, wanted, owner: other.map(|(set, _)| set) };
            let mut written = Value::Null;
            match case.verdict(options) {
                Verdict::NotOurs => continue,
                Verdict::Unchanged => {}
                Verdict::Unmanaged => plan.unmanaged.push(left),
                Verdict::Drift => plan.drift.push(left),
                Verdict::Change(action) => {
                    let mut change = case.change(action, &snapshot.last);
                    change.effect = change.label(&plan.meetings);
                    let found = change.found.as_ref().map(ToString::to_string);
                    written = json!([action.as_str(), found, change.revision.to_string()]);
                    plan.changes.push(change);
                }
            }
            let seen = stored.map(|stored| (stored.revision_text(), stored.content.as_value()));
            let wanted = wanted.map(|wanted| &wanted.attributes);
            add(&mut id, &(key, seen, managed, other, wanted, written));
        }
        plan.id = HEXLOWER.encode(&id.finalize());
        plan
    }

    pub(super) fn count(&self, action: Action) -> usize {
        self.changes.iter().filter(|change| change.action == action).count()
    }

    /// Whether anything may get wider.
    pub(super) fn may_widen(&self) -> bool {
        self.changes.iter().any(|change| change.effect.may_widen())
    }

    /// Whether the files and the table differ, also in what is left alone.
    pub(super) fn has_changes(&self) -> bool {
        !self.changes.is_empty() || !self.drift.is_empty() || self.undone().any(Left::differs)
    }

    /// What the files or the manifest name, and the plan leaves alone.
    pub(super) fn undone(&self) -> impl Iterator<Item = &Left<'a>> {
        self.drift.iter().chain(self.unmanaged.iter().filter(|left| left.wanted.is_some()))
    }

    /// Why the changes are too many to be made without saying how many there are.
    pub(super) fn excess(&self) -> Option<Excess> {
        let of_managed = |action| {
            let changes = self.changes.iter().filter(|change| change.managed.is_some() && change.action == action);
            changes.count()
        };
        let deleted = of_managed(Action::Delete);
        let changed = deleted.saturating_add(of_managed(Action::Update));
        let all_deleted = self.managed > 0 && deleted == self.managed;
        let is_large = self.managed >= ENOUGH_FOR_A_SHARE
            && changed.saturating_mul(100) > self.managed.saturating_mul(SHARE_PERCENT);
        (all_deleted || is_large).then_some(Excess { changed, managed: self.managed, all_deleted })
    }
}

/// More changes than anybody makes every day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Excess {
    /// Deletions and updates.
    pub(super) changed: usize,
    pub(super) managed: usize,
    pub(super) all_deleted: bool,
}

fn add(id: &mut Sha256, part: &impl Serialize) {
    // Writing into memory does not fail, and each part is one line.
    id.update(serde_json::to_vec(part).unwrap_or_default());
    id.update(b"\n");
}
