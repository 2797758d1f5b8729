//! Does a change of one item give callers more, or less?
//!
//! The label of a change holds for every caller, at any time, and with whatever other items are merged. A change that
//! gives somebody more is never labelled `NARROWS` or `SAME`; what cannot be shown either way is `MIXED`.
//!
//! Two things are not looked at. A merged policy that is larger than STS accepts is a mistake, which lint reports, and not
//! a limit: a shorter policy is not wider because it fits. And a session that allows nothing may still be named in a
//! resource policy: an item that only limits others is not wider because it makes such sessions.

mod inclusion;

use std::collections::BTreeSet;
use std::fmt;

use self::inclusion::{allows_at_most, claims, claims_of};
use super::item::Item;
use super::policy::{Effect, Policy};
use crate::session::{PolicyArn, SessionDuration};

/// What a change does to the sessions that callers get, in the order in which changes are safely made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeEffect {
    /// Nobody gets more.
    Narrows,
    /// Everybody gets what they did.
    Same,
    /// Some may get more, and some less, or nothing can be shown.
    Mixed,
    /// Somebody gets more.
    Widens,
}

impl ChangeEffect {
    /// As it is written in plans.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Narrows => "NARROWS",
            Self::Same => "SAME",
            Self::Mixed => "MIXED",
            Self::Widens => "WIDENS",
        }
    }

    /// Whether somebody may get more.
    #[must_use]
    pub const fn may_widen(self) -> bool {
        matches!(self, Self::Mixed | Self::Widens)
    }

    /// What both do together.
    const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Same, one) | (one, Self::Same) => one,
            (Self::Narrows, Self::Narrows) => Self::Narrows,
            (Self::Widens, Self::Widens) => Self::Widens,
            (Self::Mixed, _) | (_, Self::Mixed) | (Self::Narrows, Self::Widens) | (Self::Widens, Self::Narrows) => {
                Self::Mixed
            }
        }
    }

    /// What the change back does.
    const fn reversed(self) -> Self {
        match self {
            Self::Narrows => Self::Widens,
            Self::Widens => Self::Narrows,
            Self::Same | Self::Mixed => self,
        }
    }

    /// Of a limit that is at most the other's, or at least.
    const fn of(is_at_most: bool, is_at_least: bool) -> Self {
        match (is_at_most, is_at_least) {
            (true, true) => Self::Same,
            (true, false) => Self::Narrows,
            (false, true) => Self::Widens,
            (false, false) => Self::Mixed,
        }
    }

    /// Of a limit, such as a duration.
    fn of_limit<T: Ord>(before: &T, after: &T) -> Self {
        Self::of(after <= before, after >= before)
    }
}

impl fmt::Display for ChangeEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is known of the other items of a grant that one caller can match together with an item. The item limits those,
/// too: how long a session lasts, for instance, so that deleting it may widen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Others {
    /// The longest maximum, and the longest session that is issued if no duration is asked for. `None`: there are none.
    longest: Option<(SessionDuration, SessionDuration)>,
}

impl Others {
    /// Sums up items, as they are and as they will be. If there are others, the item itself may be among them, so that
    /// all items of a grant can be summed up once. Items of two users, or of two issuers, never meet.
    #[must_use]
    pub fn of<'i>(items: impl IntoIterator<Item = &'i Item>) -> Self {
        let longer = |longest: Option<(SessionDuration, SessionDuration)>, item: &Item| {
            let (maximum, default) = longest.unwrap_or((SessionDuration::MIN, SessionDuration::MIN));
            Some((maximum.max(item.max_duration), default.max(item.default())))
        };
        Self { longest: items.into_iter().fold(None, longer) }
    }
}

/// The effect of creating an item (`before` is `None`), updating it, or deleting it (`after` is `None`).
///
/// An item of the table that cannot be read refuses its callers, as a disabled one does.
#[must_use]
pub fn effect(before: Option<&Item>, after: Option<&Item>, others: Others) -> ChangeEffect {
    match (before, after) {
        (None, None) => ChangeEffect::Same,
        (None, Some(created)) => created.creation(others),
        (Some(deleted), None) => deleted.deletion(others),
        (Some(before), Some(after)) => after.update_of(before, others),
    }
}

impl Item {
    fn creation(&self, others: Others) -> ChangeEffect {
        if !self.enabled {
            return ChangeEffect::Narrows;
        }
        let gives = self.allows() || !self.policy_arns.is_empty() || !self.tags.is_empty();
        let only_limits = !gives && (self.denies() || !self.require.is_empty() || self.pin_source_ip);
        if only_limits {
            // With nothing to limit, it makes sessions that were not there, and resource policies may name them.
            return if others.longest.is_some() { ChangeEffect::Narrows } else { ChangeEffect::Mixed };
        }
        // It makes the grant exist, though it may allow nothing itself.
        if self.limits(others) { ChangeEffect::Mixed } else { ChangeEffect::Widens }
    }

    fn deletion(&self, others: Others) -> ChangeEffect {
        let creation = self.creation(others);
        // To take a limit away is never labelled as less.
        let is_limit_alone = creation == ChangeEffect::Mixed && others.longest.is_none();
        if is_limit_alone { ChangeEffect::Widens } else { creation.reversed() }
    }

    /// All that [`effect`] looks at in one of the `others`. Of those that are alike in it, one is enough.
    #[must_use]
    pub fn as_other(&self) -> (SessionDuration, SessionDuration) {
        (self.max_duration, self.default())
    }

    /// Whether it may take something from callers who match others too.
    fn limits(&self, others: Others) -> bool {
        let limits_all = self.denies()
            || !self.require.is_empty()
            || self.pin_source_ip
            || self.not_after.is_some()
            // A managed policy may deny, tags may contradict others' tags, and a claim may be missing.
            || !self.policy_arns.is_empty()
            || !self.tags.is_empty()
            || !self.claims().is_empty();
        others
            .longest
            .is_some_and(|(maximum, default)| limits_all || maximum > self.max_duration || default > self.default())
    }

    fn update_of(&self, before: &Self, others: Others) -> ChangeEffect {
        match (before.enabled, self.enabled) {
            (false, false) => return ChangeEffect::Same,
            (false, true) => return ChangeEffect::Widens,
            (true, false) => return ChangeEffect::Narrows,
            (true, true) => {}
        }
        [
            self.update_of_time(before, others),
            self.update_of_max_duration(before),
            ChangeEffect::of_limit(&before.default(), &self.default()),
            // A caller without the claim gets no session.
            ChangeEffect::of(self.claims().is_superset(&before.claims()), self.claims().is_subset(&before.claims())),
            ChangeEffect::of(self.implies_require_of(before), before.implies_require_of(self)),
            ChangeEffect::of_limit(&!before.pin_source_ip, &!self.pin_source_ip),
            self.update_of_arns(before),
            // Policies of roles and resources may allow or deny by tags.
            if self.tags == before.tags { ChangeEffect::Same } else { ChangeEffect::Mixed },
            ChangeEffect::of(
                allows_at_most(self.policy.as_ref(), before.policy.as_ref()),
                allows_at_most(before.policy.as_ref(), self.policy.as_ref()),
            ),
        ]
        .into_iter()
        .fold(ChangeEffect::Same, ChangeEffect::and)
    }

    /// Taking away a limit that somebody wrote is never labelled as less, although the default that is left may be smaller.
    fn update_of_max_duration(&self, before: &Self) -> ChangeEffect {
        if before.states_max_duration && !self.states_max_duration {
            return ChangeEffect::Widens;
        }
        ChangeEffect::of_limit(&before.max_duration, &self.max_duration)
    }

    /// In time that is new, the item is as if it were created, and in time that is no longer its, as if it were deleted.
    /// No session lasts longer than an item that it was made from.
    fn update_of_time(&self, before: &Self, others: Others) -> ChangeEffect {
        let begin = |item: &Self| item.not_before.unwrap_or(i64::MIN);
        let end = |item: &Self| item.not_after.unwrap_or(i64::MAX);
        let begins = ChangeEffect::of_limit(&begin(self), &begin(before));
        let ends = ChangeEffect::of_limit(&end(before), &end(self));
        let has = |effect: ChangeEffect| begins == effect || ends == effect;
        let lost = if has(ChangeEffect::Narrows) { before.deletion(others) } else { ChangeEffect::Same };
        let won = if has(ChangeEffect::Widens) { self.creation(others) } else { ChangeEffect::Same };
        lost.and(won).and(ends)
    }

    /// A managed policy may deny, so that a session is known to be neither wider with it nor narrower without it.
    fn update_of_arns(&self, before: &Self) -> ChangeEffect {
        let of = |item: &Self| item.policy_arns.iter().cloned().collect::<BTreeSet<PolicyArn>>();
        if of(before) == of(self) { ChangeEffect::Same } else { ChangeEffect::Mixed }
    }

    /// Whether whoever meets its requirement meets the other's, and would with any other requirement beside both.
    fn implies_require_of(&self, other: &Self) -> bool {
        self.require.clone().and(other.require.clone()).is_ok_and(|both| both == self.require)
    }

    /// For how long a session lasts at most if nothing is asked for.
    fn default(&self) -> SessionDuration {
        self.duration.min(self.max_duration)
    }

    fn allows(&self) -> bool {
        let statements = self.policy.as_ref().map(Policy::statements).unwrap_or_default();
        statements.iter().any(|statement| statement.effect == Effect::Allow)
    }

    fn denies(&self) -> bool {
        self.policy.as_ref().is_some_and(Policy::denies)
    }

    fn claims(&self) -> BTreeSet<&str> {
        claims(self.policy.as_ref()).chain(self.tags.values().flat_map(claims_of)).collect()
    }
}
