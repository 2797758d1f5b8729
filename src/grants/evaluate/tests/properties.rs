//! What holds of every policy, request and context?

use proptest::prelude::*;

use super::random::{any_asked, any_complete_context, any_policies};
use super::*;

/// What a partial context leads to is what each completion leads to, or unknown.
fn is_kept(partial: &Verdict, complete: &Verdict) -> bool {
    let decision_is_kept = partial.decision() == Decision::Unknown || partial.decision() == complete.decision();
    decision_is_kept && (partial.may_allow() || !complete.may_allow())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_completion_of_the_context_contradicts_a_definite_answer(
        (session, ceiling) in (any_policies(), any_policies()),
        asked in any_asked(),
        complete in any_complete_context(),
        forgotten in any::<u16>(),
    ) {
        let mut partial = complete.clone();
        let mut index = 0;
        partial.as_object_mut().unwrap().retain(|_, _| {
            index += 1;
            forgotten >> (index - 1) & 1 == 0
        });
        let partly = evaluate(&session, Some(&ceiling), &asked, &context(&partial));
        let wholly = evaluate(&session, Some(&ceiling), &asked, &context(&complete));
        prop_assert!(is_kept(&partly.session, &wholly.session));
        prop_assert!(is_kept(&partly.ceiling.unwrap(), &wholly.ceiling.unwrap()));
        prop_assert!(is_kept(&partly.result, &wholly.result), "{partial} says {:?}", partly.result);
        prop_assert!(partly.result.decision() != Decision::Unknown || !partly.result.missing().is_empty()
            || partly.result.decision() == wholly.result.decision());
    }

    #[test]
    fn what_another_policy_could_say_is_what_unread_policies_leave_open(
        (session, managed) in (any_policies(), any_policies()),
        asked in any_asked(),
        keys in any_complete_context(),
    ) {
        let context = context(&keys);
        let mut unread = session.clone();
        unread.add_unread("managed");
        let mut read = session;
        read.documents.extend(managed.documents);
        read.unread.extend(managed.unread);
        let (unread, read) = (unread.decide(&asked, &context), read.decide(&asked, &context));
        prop_assert!(is_kept(&unread, &read));
    }
}

#[test]
fn the_random_cases_reach_every_decision_often() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut found = std::collections::BTreeMap::new();
    for _ in 0..1_000 {
        let case = (any_policies(), any_asked(), any_complete_context());
        let (policies, asked, keys) = case.new_tree(&mut runner).unwrap().current();
        let decision = evaluate(&policies, None, &asked, &context(&keys)).result.decision();
        *found.entry(decision.as_str()).or_insert(0) += 1;
    }
    assert!(Decision::ALL.iter().all(|one| found.get(one.as_str()).is_some_and(|count| *count > 50)), "{found:?}");
}
