//! How does the boundary get new cuts, also when two people cut at once, and when one of them is stopped half-way?
//!
//! IAM has no conditional write: a new default version replaces any that somebody else made meanwhile. But
//! a version never changes, and stays until somebody deletes it. So:
//!
//! 1. List the versions, and read all of them.
//! 2. If the default version lacks a cut that any of them has, or the new one, make a version of all of them the default
//!    one, with one call. From this moment the cut is in force. Begin again with 1.
//! 3. Otherwise delete the other versions, and list once more. If the default version is the only one, it is done.
//!
//! Why no cut is lost: a version is deleted only if the default version, at the time of the list, has all its cuts. The
//! default version moves only forward, to a version that was made just then, so nobody deletes the newest one. So each
//! cut that was ever written stands in some version until it is cleared or has no use any more. Two people who read the
//! same version and write one after the other leave two versions. Each of them lists again after their write, so the
//! later one at the latest sees both, and writes a third one with the cuts of both.
//!
//! What a stop leaves: before the write, nothing. After it, the cut is in force, and there are versions that the next run
//! puts together and deletes. Only this is left, and no order of these calls can prevent it: somebody reads the versions,
//! is overtaken by another person's whole run, writes, and is stopped before they have looked again and written the cuts of
//! both. Then the other person's cut is in a version that is not the default one. `revoke --list` warns of such a version,
//! and the next run of anybody makes it part of the default one again. (IAM can make an existing version the default one,
//! and so could refuse a writer who was overtaken. But then a cut would not be in force with the first write.)
//!
//! The protocol is a value that asks for one call at a time, so that the tests can try every order of two people's calls.

use std::collections::BTreeMap;

use super::cuts::Cuts;
use super::document::{Edited, fit, parse, print};

/// IAM's limit.
pub(super) const MAX_VERSIONS: usize = 5;
/// How many versions one run makes. It makes one; more only if somebody else writes at the same time.
const MAX_WRITES: usize = 10;

/// What shall become of the cuts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Change {
    /// These are added.
    Add(Cuts),
    /// Those that are there when it begins are removed. One that somebody else adds at the same time stays.
    Clear,
}

/// A call of IAM's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Ask {
    List,
    Read(String),
    /// With this document, as the default version.
    Create(String),
    Delete(String),
}

/// Its answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    Versions(Versions),
    /// None if it is gone.
    Document(Option<String>),
    /// None if there are too many versions.
    Created(Option<String>),
    /// Also if it was gone, or is the default version by now: the next list says so.
    Deleted,
}

/// The versions that there are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Versions {
    pub(super) default: String,
    /// With the default one.
    pub(super) all: Vec<String>,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Turn {
    Ask(Ask),
    /// The change is made, and these are the cuts that are in force.
    Done(Cuts),
    Stop(Stop),
}

/// Why it cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Stop {
    Edited,
    Full,
    /// Somebody else writes all the time.
    Contended,
    /// An answer is to another question. That is not IAM's fault.
    Confused,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Replacement {
    change: Change,
    account: String,
    now: i64,
    /// Every version that was read. They never change.
    read: BTreeMap<String, Cuts>,
    /// What the last list said, without what was deleted since.
    versions: Versions,
    /// Whether something was deleted since the last list.
    has_deleted: bool,
    /// What [`Change::Clear`] removes.
    cleared: Option<Cuts>,
    /// The cuts of versions that were deleted to make room.
    saved: Cuts,
    writes: usize,
    has_written: bool,
    /// What was asked for last.
    asked: Ask,
    /// The cuts of the version that is being made.
    writing: Cuts,
}

impl Replacement {
    pub(super) fn new(change: Change, account: &str, now: i64) -> Self {
        Self {
            change,
            account: account.to_owned(),
            now,
            read: BTreeMap::new(),
            versions: Versions::default(),
            has_deleted: false,
            cleared: None,
            saved: Cuts::default(),
            writes: 0,
            has_written: false,
            asked: Ask::List,
            writing: Cuts::default(),
        }
    }

    /// What is asked first.
    pub(super) fn first(&self) -> Ask {
        self.asked.clone()
    }

    /// Whether a version was made. Somebody may have made another one since.
    pub(super) fn has_written(&self) -> bool {
        self.has_written
    }

    /// Whether the change is in the default version, as far as this run has seen it.
    pub(super) fn is_in_force(&self) -> bool {
        let Some(current) = self.read.get(&self.versions.default) else { return false };
        match &self.change {
            Change::Add(cuts) => cuts.are_in(current),
            Change::Clear => self.cleared.as_ref().is_some_and(|cleared| current.clone().without(cleared) == *current),
        }
    }

    /// Takes an answer.
    pub(super) fn next(&mut self, answer: Answer) -> Turn {
        let turn = self.turn(answer);
        if let Turn::Ask(ask) = &turn {
            self.asked = ask.clone();
        }
        turn
    }

    fn turn(&mut self, answer: Answer) -> Turn {
        match (answer, self.asked.clone()) {
            (Answer::Versions(versions), Ask::List) => {
                (self.versions, self.has_deleted) = (versions, false);
            }
            (Answer::Document(Some(text)), Ask::Read(version)) => match parse(&text, &self.account) {
                Ok(cuts) => {
                    self.read.insert(version, cuts);
                }
                Err(Edited) => return Turn::Stop(Stop::Edited),
            },
            (Answer::Created(Some(version)), Ask::Create(_)) => {
                self.read.insert(version.clone(), self.writing.clone());
                self.versions = Versions { default: version, all: Vec::new() };
                self.has_written = true;
                return Turn::Ask(Ask::List);
            }
            // It was deleted, or others were made, since the list.
            (Answer::Document(None), Ask::Read(_)) | (Answer::Created(None), Ask::Create(_)) => {
                return Turn::Ask(Ask::List);
            }
            (Answer::Deleted, Ask::Delete(version)) => {
                self.versions.all.retain(|listed| *listed != version);
                self.has_deleted = true;
            }
            _ => return Turn::Stop(Stop::Confused),
        }
        self.decide()
    }

    fn decide(&mut self) -> Turn {
        if let Some(unread) = self.versions.all.iter().find(|version| !self.read.contains_key(*version)) {
            return Turn::Ask(Ask::Read(unread.clone()));
        }
        let Some(current) = self.read.get(&self.versions.default).cloned() else { return Turn::Stop(Stop::Confused) };
        let wanted = self.wanted();
        let is_made = match &self.change {
            Change::Add(_) => wanted.are_in(&current),
            Change::Clear => wanted.are_in(&current) && current.are_in(&wanted),
        };
        if is_made {
            return match self.superfluous() {
                Some(version) => Turn::Ask(Ask::Delete(version)),
                None if self.has_deleted => Turn::Ask(Ask::List),
                None => Turn::Done(current),
            };
        }
        if self.versions.all.len() >= MAX_VERSIONS
            && let Some(version) = self.superfluous()
        {
            let cuts = self.read.get(&version).cloned().unwrap_or_default();
            self.saved = std::mem::take(&mut self.saved).union(&cuts);
            return Turn::Ask(Ask::Delete(version));
        }
        if self.writes >= MAX_WRITES {
            return Turn::Stop(Stop::Contended);
        }
        let Ok(fitted) = fit(wanted, &self.account) else { return Turn::Stop(Stop::Full) };
        self.writes = self.writes.saturating_add(1);
        self.writing = fitted;
        Turn::Ask(Ask::Create(print(&self.writing, &self.account)))
    }

    /// The cuts that shall be in force: those of all versions, since some may be of people who were stopped or write now.
    fn wanted(&mut self) -> Cuts {
        let listed = self.versions.all.iter().filter_map(|version| self.read.get(version));
        let all = listed.fold(self.saved.clone(), Cuts::union);
        match &self.change {
            Change::Add(cuts) => all.since(self.now).union(cuts),
            Change::Clear => {
                let cleared = self.cleared.get_or_insert_with(|| all.clone());
                all.without(cleared)
            }
        }
    }

    /// A version that is not the default one. If there must be room, one that has no cut of its own, if there is such a one:
    /// until there is a new version, the cuts of this one would be only in this process.
    fn superfluous(&self) -> Option<String> {
        let others = || self.versions.all.iter().filter(|version| **version != self.versions.default);
        let is_elsewhere = |version: &&String| {
            let mut rest = self.versions.all.iter().filter(|other| other != version);
            let cuts = self.read.get(*version);
            rest.any(|other| cuts.zip(self.read.get(other)).is_some_and(|(cuts, other)| cuts.are_in(other)))
        };
        others().find(is_elsewhere).or_else(|| others().next()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const ACCOUNT: &str = "111122223333";
    const NOW: i64 = 1_800_000_000;

    /// The policy, as IAM has it.
    #[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
    struct Policy {
        versions: BTreeMap<u32, String>,
        default: u32,
        made: u32,
    }

    /// Somebody who runs the command.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    struct Person {
        run: Replacement,
        turn: Turn,
        is_killed: bool,
    }

    /// Two of them, and one policy.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    struct World {
        policy: Policy,
        people: Vec<Person>,
    }

    impl Policy {
        /// A policy with these versions, of which the last one is the default one.
        fn of(versions: &[Cuts]) -> Self {
            let mut policy = Self::default();
            for cuts in versions {
                policy.create(&print(cuts, ACCOUNT));
            }
            policy
        }

        fn create(&mut self, document: &str) {
            self.made += 1;
            self.default = self.made;
            self.versions.insert(self.made, document.to_owned());
        }

        fn answer(&mut self, ask: &Ask) -> Answer {
            let number = |version: &String| version.strip_prefix('v').unwrap().parse::<u32>().unwrap();
            match ask {
                Ask::List => Answer::Versions(Versions {
                    default: format!("v{}", self.default),
                    all: self.versions.keys().map(|number| format!("v{number}")).collect(),
                }),
                Ask::Read(version) => Answer::Document(self.versions.get(&number(version)).cloned()),
                Ask::Create(_) if self.versions.len() == MAX_VERSIONS => Answer::Created(None),
                Ask::Create(document) => {
                    assert!(document.len() <= super::super::document::MAX_CHARS);
                    self.create(document);
                    Answer::Created(Some(format!("v{}", self.made)))
                }
                Ask::Delete(version) => {
                    if number(version) != self.default {
                        self.versions.remove(&number(version));
                    }
                    Answer::Deleted
                }
            }
        }

        fn in_force(&self) -> Cuts {
            parse(&self.versions[&self.default], ACCOUNT).unwrap()
        }

        fn anywhere(&self) -> Cuts {
            let cuts = self.versions.values().map(|document| parse(document, ACCOUNT).unwrap());
            cuts.fold(Cuts::default(), |all, cuts| all.union(&cuts))
        }

        /// Whatever somebody's whole run makes of it.
        fn after(&self, change: Change) -> (Self, Turn) {
            let mut world = World::of(self.clone(), vec![change]);
            while matches!(world.people[0].turn, Turn::Ask(_)) {
                world.step(0);
            }
            (world.policy, world.people.remove(0).turn)
        }
    }

    impl World {
        fn of(policy: Policy, changes: Vec<Change>) -> Self {
            let person = |change| {
                let run = Replacement::new(change, ACCOUNT, NOW);
                Person { turn: Turn::Ask(run.first()), run, is_killed: false }
            };
            Self { policy, people: changes.into_iter().map(person).collect() }
        }

        /// One call of one of them.
        fn step(&mut self, who: usize) {
            let person = &mut self.people[who];
            let Turn::Ask(ask) = &person.turn else { panic!("{:?}", person.turn) };
            let answer = self.policy.answer(ask);
            person.turn = person.run.next(answer);
        }

        fn goes_on(&self, who: usize) -> bool {
            !self.people[who].is_killed && matches!(self.people[who].turn, Turn::Ask(_))
        }
    }

    fn cut(name: &str, before: i64) -> Cuts {
        Cuts::of_names([name], before)
    }

    fn add(name: &str) -> Change {
        Change::Add(cut(name, NOW))
    }

    /// Tries every order of the calls of two people, each of whom may be stopped between any two calls, and returns how
    /// many different states there are.
    fn try_all(start: &World, can_be_killed: bool, check: &impl Fn(&World, bool)) -> usize {
        let mut seen = HashSet::new();
        let mut open = vec![start.clone()];
        while let Some(world) = open.pop() {
            if !seen.insert(world.clone()) {
                continue;
            }
            let going: Vec<usize> = (0..world.people.len()).filter(|who| world.goes_on(*who)).collect();
            check(&world, going.is_empty());
            for who in going {
                let mut next = world.clone();
                next.step(who);
                if let (Turn::Ask(Ask::Create(_)), Change::Add(cuts)) =
                    (&world.people[who].turn, &world.people[who].run.change)
                    && next.policy.made > world.policy.made
                {
                    assert!(cuts.are_in(&next.policy.in_force()), "in force with the write");
                }
                open.push(next);
                if can_be_killed {
                    let mut next = world.clone();
                    next.people[who].is_killed = true;
                    open.push(next);
                }
            }
        }
        seen.len()
    }

    /// What holds in every state, also after somebody was stopped.
    fn nothing_is_lost(world: &World, before: &Cuts, has_ended: bool) {
        let anywhere = world.policy.anywhere();
        assert!(before.are_in(&anywhere), "{world:?}");
        for person in &world.people {
            let Change::Add(cuts) = &person.run.change else { continue };
            assert!(!matches!(person.turn, Turn::Stop(_)), "{world:?}");
            if matches!(person.turn, Turn::Done(_)) {
                assert!(cuts.are_in(&anywhere), "{world:?}");
            }
        }
        if has_ended {
            // The next run finishes what is left.
            let (after, turn) = world.policy.after(add("next"));
            assert!(anywhere.are_in(&after.in_force()) && cut("next", NOW).are_in(&after.in_force()), "{world:?}");
            assert_eq!((after.versions.len(), turn), (1, Turn::Done(after.in_force())));
            // A cut that is not in force any more is in a version that `--list` warns of.
            assert!(world.policy.versions.len() > 1 || anywhere.are_in(&world.policy.in_force()));
        }
    }

    /// What is left of earlier runs, and who begins with it.
    fn starts() -> Vec<Vec<Cuts>> {
        let old = cut("old", NOW - 60);
        let names = ["u0", "v0", "w0", "x0", "y0"].map(|name| cut(name, NOW - 60));
        vec![
            vec![Cuts::default()],
            vec![old.clone()],
            vec![old.clone(), cut("b0", NOW - 30)],
            vec![Cuts::of_everyone(NOW - 60)],
            names[..4].to_vec(),
            vec![old.clone(), old.clone(), old.clone(), old.clone(), old],
        ]
    }

    #[test]
    fn two_people_in_any_order_cut_both_and_leave_one_version() {
        for start in starts() {
            let before = start.iter().fold(Cuts::default(), Cuts::union);
            let world = World::of(Policy::of(&start), vec![add("a0"), add("b0")]);
            let states = try_all(&world, false, &|world, has_ended| {
                nothing_is_lost(world, &before, false);
                if has_ended {
                    let both = before.clone().union(&cut("a0", NOW)).union(&cut("b0", NOW));
                    assert!(both.are_in(&world.policy.in_force()), "{world:?}");
                    assert_eq!(world.policy.versions.len(), 1, "{world:?}");
                    assert!(world.people.iter().all(|person| matches!(person.turn, Turn::Done(_))));
                }
            });
            assert!(states > 100, "{states}");
        }
    }

    #[test]
    fn whoever_is_stopped_between_any_two_calls_loses_no_cut() {
        // With four versions and more there are a hundred times as many orders, which take minutes.
        for start in starts().into_iter().take(4) {
            let before = start.iter().fold(Cuts::default(), Cuts::union);
            let world = World::of(Policy::of(&start), vec![add("a0"), add("b0")]);
            let states = try_all(&world, true, &|world, has_ended| nothing_is_lost(world, &before, has_ended));
            assert!(states > 500, "{states}");
        }
    }

    #[test]
    fn a_reported_cut_is_out_of_force_only_while_somebody_who_wrote_has_not_looked_again() {
        let world = World::of(Policy::of(&[Cuts::default()]), vec![add("a0"), add("b0")]);
        try_all(&world, true, &|world, has_ended| {
            let in_force = world.policy.in_force();
            let is_done = |person: &Person| matches!(person.turn, Turn::Done(_));
            for (person, other) in [(0, 1), (1, 0)].map(|(one, other)| (&world.people[one], &world.people[other])) {
                let Change::Add(cuts) = &person.run.change else { panic!("{world:?}") };
                if is_done(person) && !cuts.are_in(&in_force) {
                    assert!(other.run.has_written() && matches!(other.turn, Turn::Ask(_)), "{world:?}");
                    assert!(other.is_killed || !has_ended, "{world:?}");
                }
            }
        });
    }

    #[test]
    fn a_cut_that_is_added_while_somebody_clears_stays() {
        let before = cut("old", NOW - 60);
        let world = World::of(Policy::of(std::slice::from_ref(&before)), vec![Change::Clear, add("b0")]);
        try_all(&world, false, &|world, has_ended| {
            if has_ended {
                // Unless it was there when the other one looked first.
                let cleared = world.people[0].run.cleared.clone().unwrap();
                let left = cut("b0", NOW).without(&cleared);
                assert!(left.are_in(&world.policy.in_force()), "{world:?}");
                assert_eq!(world.policy.versions.len(), 1, "{world:?}");
            }
        });
    }

    #[test]
    fn whoever_clears_leaves_nothing_even_if_the_run_before_was_stopped() {
        for start in starts() {
            let (after, turn) = Policy::of(&start).after(Change::Clear);
            assert_eq!((after.in_force(), after.versions.len()), (Cuts::default(), 1));
            assert_eq!(turn, Turn::Done(Cuts::default()));
        }
        let untouched = Policy::of(&[Cuts::default()]);
        assert_eq!(untouched.after(Change::Clear).0, untouched, "nothing is written");
    }

    #[test]
    fn a_change_is_in_force_only_if_the_default_version_has_it() {
        let mut policy = Policy::of(&[Cuts::default()]);
        let mut run = Replacement::new(add("a0"), ACCOUNT, NOW);
        let mut ask = run.first();
        let mut step = |policy: &mut Policy| {
            let Turn::Ask(next) = run.next(policy.answer(&ask)) else { panic!("{run:?}") };
            ask = next;
            (run.has_written(), run.is_in_force())
        };
        assert_eq!(
            [step(&mut policy), step(&mut policy), step(&mut policy)],
            [(false, false), (false, false), (true, true)]
        );
        // Somebody who had read before overtakes it.
        policy.create(&print(&cut("b0", NOW), ACCOUNT));
        assert_eq!(
            [step(&mut policy), step(&mut policy), step(&mut policy)],
            [(true, false), (true, false), (true, true)]
        );
    }

    #[test]
    fn what_is_there_already_is_not_written_again() {
        let policy = Policy::of(&[cut("a0", NOW)]);
        assert_eq!(policy.after(add("a0")), (policy.clone(), Turn::Done(cut("a0", NOW))));
    }

    #[test]
    fn old_cuts_are_dropped_at_each_write() {
        let hours = 36 * 3_600;
        let policy = Policy::of(&[cut("old", NOW - hours - 1).union(&cut("kept", NOW - hours))]);
        let (after, _) = policy.after(add("new"));
        assert_eq!(after.in_force(), cut("kept", NOW - hours).union(&cut("new", NOW)));
    }

    #[test]
    fn a_document_that_was_edited_stops_it_and_so_does_a_full_one() {
        let mut policy = Policy::of(&[Cuts::default()]);
        policy.create(r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#);
        assert_eq!(policy.after(add("a0")), (policy.clone(), Turn::Stop(Stop::Edited)));
        assert_eq!(policy.after(Change::Clear), (policy.clone(), Turn::Stop(Stop::Edited)));
        let names = |count: usize| (0..count).map(|number| format!("a-subject-of-19-{number:03}-3o2jzrlhnfnb"));
        let full = Policy::of(&[Cuts::of_names(names(122), NOW - 3_600)]);
        assert_eq!(full.after(add("a0")), (full.clone(), Turn::Stop(Stop::Full)));
        let (after, _) = full.after(Change::Add(Cuts::of_everyone(NOW)));
        assert_eq!(after.in_force(), Cuts::of_everyone(NOW));
    }

    #[test]
    fn an_answer_to_another_question_stops_it() {
        for answer in
            [Answer::Deleted, Answer::Document(None), Answer::Created(None), Answer::Versions(Versions::default())]
        {
            assert_eq!(Replacement::new(add("a0"), ACCOUNT, NOW).next(answer), Turn::Stop(Stop::Confused));
        }
    }
}
