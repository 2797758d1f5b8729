//! Whose sessions are cut off, and which of them?
//!
//! A cut is a time for a name, or for everyone: sessions that began before it are refused. Cuts only ever grow into one
//! another: a later time for a name includes an earlier one, and a cut of everyone includes those of names. So two sets of
//! cuts have one union, in whatever order they are put together.

use std::collections::{BTreeMap, BTreeSet};

use hallpass::session::SessionDuration;

/// Cuts, by whom they are for. Times are seconds since the epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Cuts {
    everyone: Option<i64>,
    /// By the name in lower case: AWS is asked to compare without case, since names from claims are registered so.
    names: BTreeMap<String, Cut>,
}

/// A cut of one name, as somebody wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Cut {
    name: String,
    before: i64,
}

impl Cuts {
    /// Everyone's sessions before this time.
    pub(super) fn of_everyone(before: i64) -> Self {
        Self { everyone: Some(before), names: BTreeMap::new() }
    }

    /// The sessions of these names before this time.
    pub(super) fn of_names<N: Into<String>>(names: impl IntoIterator<Item = N>, before: i64) -> Self {
        let mut cuts = Self::default();
        names.into_iter().for_each(|name| cuts.add(name.into(), before));
        cuts
    }

    pub(super) fn everyone(&self) -> Option<i64> {
        self.everyone
    }

    /// Names with their times, by name.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, i64)> {
        self.names.values().map(|cut| (cut.name.as_str(), cut.before))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.everyone.is_none() && self.names.is_empty()
    }

    fn add(&mut self, name: String, before: i64) {
        let cut = self.names.entry(name.to_ascii_lowercase()).or_insert(Cut { name, before });
        cut.before = cut.before.max(before);
    }

    /// Both, without what one of them says already.
    pub(super) fn union(mut self, other: &Self) -> Self {
        self.everyone = self.everyone.max(other.everyone);
        other.names().for_each(|(name, before)| self.add(name.to_owned(), before));
        let everyone = self.everyone;
        self.names.retain(|_, cut| everyone.is_none_or(|everyone| everyone < cut.before));
        self
    }

    /// Whether the others refuse all that these refuse.
    pub(super) fn are_in(&self, others: &Self) -> bool {
        others.clone().union(self).is_as_strict_as(others)
    }

    fn is_as_strict_as(&self, other: &Self) -> bool {
        let times = |cuts: &Self| cuts.names.iter().map(|(name, cut)| (name.clone(), cut.before)).collect::<Vec<_>>();
        self.everyone == other.everyone && times(self) == times(other)
    }

    /// Without what the others refuse, too.
    pub(super) fn without(mut self, others: &Self) -> Self {
        self.everyone = self.everyone.filter(|before| others.everyone.is_none_or(|other| other < *before));
        self.names.retain(|name, cut| {
            let other = others.names.get(name).map(|other| other.before).max(others.everyone);
            other.is_none_or(|other| other < cut.before)
        });
        self
    }

    /// Without those that can refuse nothing any more: all sessions that began before them have ended.
    pub(super) fn since(mut self, now: i64) -> Self {
        let longest = i64::from(SessionDuration::MAX.as_secs());
        let is_needed = |before: i64| before.saturating_add(longest) >= now;
        self.everyone = self.everyone.filter(|before| is_needed(*before));
        self.names.retain(|_, cut| is_needed(cut.before));
        self
    }

    /// The times of the names, the earliest first.
    pub(super) fn times(&self) -> BTreeSet<i64> {
        self.names.values().map(|cut| cut.before).collect()
    }

    /// The names with this time.
    pub(super) fn names_before(&self, before: i64) -> impl Iterator<Item = &str> {
        self.names().filter(move |(_, time)| *time == before).map(|(name, _)| name)
    }

    /// Moves the cuts of one time to a later one.
    pub(super) fn move_to(&mut self, later: i64, from: i64) {
        self.names.values_mut().filter(|cut| cut.before == from).for_each(|cut| cut.before = later);
    }

    /// The names that were cut off before, with an earlier time.
    pub(super) fn moved_since(&self, before: &Self) -> Vec<&str> {
        let earlier = |name: &str| before.names.get(&name.to_ascii_lowercase()).map(|cut| cut.before);
        self.names()
            .filter(|(name, time)| earlier(name).is_some_and(|earlier| earlier < *time))
            .map(|(name, _)| name)
            .collect()
    }

    /// Whom they are for, with their times: everyone first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Option<&str>, i64)> {
        let everyone = self.everyone.map(|before| (None, before));
        everyone.into_iter().chain(self.names().map(|(name, before)| (Some(name), before)))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any cuts of a few names, so that they meet.
    pub(in super::super) fn any_cuts() -> impl Strategy<Value = Cuts> {
        let name = "[abAB]{1}[0-9_=,.@+-]{1,2}";
        let time = 1_800_000_000_i64..1_800_000_020;
        let names = prop::collection::btree_map(name, time.clone(), 0..8);
        (prop::option::of(time), names).prop_map(|(everyone, names)| {
            let start = everyone.map(Cuts::of_everyone).unwrap_or_default();
            names.into_iter().fold(start, |cuts, (name, before)| cuts.union(&Cuts::of_names([name], before)))
        })
    }

    #[test]
    fn a_later_cut_of_a_name_includes_an_earlier_one_whatever_its_case() {
        let cuts = Cuts::of_names(["Carol@example.com", "dave"], 10).union(&Cuts::of_names(["carol@EXAMPLE.com"], 20));
        assert_eq!(cuts.names().collect::<Vec<_>>(), [("Carol@example.com", 20), ("dave", 10)]);
        assert_eq!(cuts.clone().union(&Cuts::of_names(["carol@example.com"], 5)), cuts);
    }

    #[test]
    fn a_cut_of_everyone_includes_the_earlier_ones_of_names() {
        let cuts = Cuts::of_names(["carol"], 10).union(&Cuts::of_names(["dave"], 30)).union(&Cuts::of_everyone(10));
        assert_eq!(cuts.iter().collect::<Vec<_>>(), [(None, 10), (Some("dave"), 30)]);
        assert!(Cuts::of_names(["carol"], 10).are_in(&cuts) && !Cuts::of_names(["carol"], 11).are_in(&cuts));
        assert!(!Cuts::of_everyone(11).are_in(&cuts) && Cuts::default().are_in(&cuts));
    }

    #[test]
    fn a_name_has_moved_if_it_has_a_later_time_than_before() {
        let before = Cuts::of_names(["carol", "dave"], 10);
        let after =
            Cuts::of_names(["Carol"], 11).union(&Cuts::of_names(["dave"], 10)).union(&Cuts::of_names(["erin"], 12));
        assert_eq!(after.moved_since(&before), ["Carol"]);
    }

    #[test]
    fn a_cut_is_dropped_when_every_session_before_it_has_ended() {
        let hours = 36 * 3_600;
        for (now, is_kept) in [(1_000 + hours, true), (1_001 + hours, false)] {
            assert_eq!(Cuts::of_names(["carol"], 1_000).since(now).is_empty(), !is_kept);
            assert_eq!(Cuts::of_everyone(1_000).since(now).is_empty(), !is_kept);
        }
    }

    proptest! {
        #[test]
        fn the_union_depends_on_no_order(a in any_cuts(), b in any_cuts(), c in any_cuts()) {
            let one = a.clone().union(&b).union(&c);
            let other = c.clone().union(&a).union(&b);
            prop_assert!(one.is_as_strict_as(&other));
            prop_assert!(a.are_in(&one) && b.are_in(&one) && c.are_in(&one));
            prop_assert!(one.clone().union(&a).is_as_strict_as(&one));
        }

        #[test]
        fn what_is_left_without_others_makes_the_union_with_them(a in any_cuts(), b in any_cuts()) {
            let left = a.clone().without(&b);
            prop_assert!(b.clone().union(&left).is_as_strict_as(&b.clone().union(&a)));
            prop_assert!(a.clone().without(&a).is_empty());
        }
    }
}
