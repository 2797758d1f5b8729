//! How do cuts stand in the boundary?
//!
//! As statements that deny, behind one that allows everything. The document has one form: whatever is not printed here was
//! written by somebody else, and is not touched.

use hallpass::read::json;
use hallpass::session::FederatedName;
use hallpass::time::{from_rfc3339, rfc3339};
use serde_json::{Value, json};

use super::cuts::Cuts;

/// IAM's limit for a managed policy. IAM does not count white space, of which a document has none here.
pub(super) const MAX_CHARS: usize = 6_144;
/// Cuts at most this many seconds apart share a time if the policy has no room for both.
const CLOSE: i64 = 15 * 60;

/// Why a document is not read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Edited;

/// The cuts do not fit into the policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Full;

/// Prints the document, in characters of ASCII.
pub(super) fn print(cuts: &Cuts, account: &str) -> String {
    let mut statements = vec![json!({"Effect": "Allow", "Action": "*", "Resource": "*"})];
    let time = |before: i64| json!({"aws:TokenIssueTime": text_of(before)});
    let deny = |condition: Value| json!({"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": condition});
    statements.extend(cuts.everyone().map(|before| deny(json!({"DateLessThan": time(before)}))));
    statements.extend(cuts.times().into_iter().map(|before| {
        let ids: Vec<String> = cuts.names_before(before).map(|name| format!("{account}:{name}")).collect();
        deny(json!({"DateLessThan": time(before), "StringEqualsIgnoreCase": {"aws:userid": ids}}))
    }));
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

/// Reads a document that was printed here, or that is the template's.
pub(super) fn parse(text: &str, account: &str) -> Result<Cuts, Edited> {
    let document = json::parse(text.as_bytes()).map_err(|_| Edited)?;
    let statements = document.get("Statement").and_then(Value::as_array).ok_or(Edited)?;
    let mut cuts = Cuts::default();
    for condition in statements.iter().filter_map(|statement| statement.get("Condition")) {
        let before = condition.pointer("/DateLessThan/aws:TokenIssueTime").and_then(Value::as_str);
        let before = before.and_then(from_rfc3339).ok_or(Edited)?;
        let cut = match condition.pointer("/StringEqualsIgnoreCase/aws:userid").map(Value::as_array) {
            None => Cuts::of_everyone(before),
            Some(ids) => {
                let ids = ids.ok_or(Edited)?.iter();
                let names = ids.map(|id| id.as_str()?.strip_prefix(account)?.strip_prefix(':'));
                let names: Option<Vec<&str>> =
                    names.map(|name| name.filter(|name| FederatedName::parse(name).is_some())).collect();
                Cuts::of_names(names.ok_or(Edited)?, before)
            }
        };
        cuts = cuts.union(&cut);
    }
    // Whatever was not understood is missing here.
    let printed = json::parse(print(&cuts, account).as_bytes()).map_err(|_| Edited)?;
    if printed == document { Ok(cuts) } else { Err(Edited) }
}

/// Makes the cuts fit. If they do not, those that are close to one another get the later time: that refuses more than was
/// asked for, and less than a cut of everyone. Those that are closest come first.
pub(super) fn fit(mut cuts: Cuts, account: &str) -> Result<Cuts, Full> {
    while print(&cuts, account).len() > MAX_CHARS {
        let times: Vec<i64> = cuts.times().into_iter().collect();
        let pairs = times.iter().zip(times.iter().skip(1));
        let gap = |(earlier, later): &(&i64, &i64)| later.saturating_sub(**earlier);
        let closest = pairs.min_by_key(gap).filter(|pair| gap(pair) <= CLOSE).ok_or(Full)?;
        cuts.move_to(*closest.1, *closest.0);
    }
    Ok(cuts)
}

/// A time as the document has it.
pub(super) fn text_of(seconds: i64) -> String {
    // Times come from AWS's clock, or from a document that was read.
    rfc3339(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::cuts::tests::any_cuts;
    use super::*;

    const ACCOUNT: &str = "111122223333";
    const NOON: i64 = 1_800_014_400;

    fn name(number: usize) -> String {
        format!("a-subject-of-19-{number:03}-3o2jzrlhnfnb")
    }

    #[test]
    fn the_document_is_the_documented_one() {
        let cuts = Cuts::of_names(["dave-3o2jzrlhnfnb"], NOON)
            .union(&Cuts::of_names(["erin", "Carol@example.com"], NOON + 60))
            .union(&Cuts::of_everyone(NOON - 60));
        let deny = |condition: Value| json!({"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": condition});
        let expected = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "*", "Resource": "*"},
            deny(json!({"DateLessThan": {"aws:TokenIssueTime": "2027-01-15T11:59:00Z"}})),
            deny(json!({
                "DateLessThan": {"aws:TokenIssueTime": "2027-01-15T12:00:00Z"},
                "StringEqualsIgnoreCase": {"aws:userid": ["111122223333:dave-3o2jzrlhnfnb"]},
            })),
            deny(json!({
                "DateLessThan": {"aws:TokenIssueTime": "2027-01-15T12:01:00Z"},
                "StringEqualsIgnoreCase": {"aws:userid": ["111122223333:Carol@example.com", "111122223333:erin"]},
            })),
        ]});
        let printed: Value = serde_json::from_str(&print(&cuts, ACCOUNT)).unwrap();
        assert_eq!(printed, expected);
    }

    #[test]
    fn the_templates_document_cuts_nobody() {
        let text = r#"{ "Version": "2012-10-17", "Statement": [{"Resource": "*", "Action": "*", "Effect": "Allow"}] }"#;
        assert_eq!(parse(text, ACCOUNT), Ok(Cuts::default()));
    }

    #[test]
    fn a_document_that_somebody_edited_is_not_read() {
        let cuts = Cuts::of_names(["carol", "dave"], NOON).union(&Cuts::of_everyone(NOON - 60));
        let sound: Value = serde_json::from_str(&print(&cuts, ACCOUNT)).unwrap();
        assert_eq!(parse(&sound.to_string(), ACCOUNT), Ok(cuts));
        let ids = "/Statement/2/Condition/StringEqualsIgnoreCase/aws:userid";
        let set = |pointer: &str, value: Value| {
            let mut edited = sound.clone();
            *edited.pointer_mut(pointer).unwrap() = value;
            edited
        };
        let added = |pointer: &str, name: &str, value: Value| {
            let mut edited = sound.clone();
            edited.pointer_mut(pointer).unwrap().as_object_mut().unwrap().insert(name.into(), value);
            edited
        };
        let time = "/Statement/1/Condition/DateLessThan/aws:TokenIssueTime";
        let mut without_allow = sound.clone();
        without_allow["Statement"].as_array_mut().unwrap().remove(0);
        let mut other_order = sound.clone();
        other_order["Statement"].as_array_mut().unwrap().swap(1, 2);
        for edited in [
            set("/Statement/0/Action", json!("s3:*")),
            set("/Statement/0/Action", json!(["*"])),
            set("/Statement/0/Resource", json!("arn:aws:s3:::b")),
            set("/Statement/0/Effect", json!("Deny")),
            added("/Statement/0", "Condition", json!({"Bool": {"aws:SecureTransport": "true"}})),
            added("/Statement/0", "Sid", json!("Everything")),
            without_allow,
            other_order,
            set("/Version", json!("2008-10-17")),
            set("/Statement/1/Effect", json!("Allow")),
            set("/Statement/1/Action", json!("s3:*")),
            set(time, json!("2027-01-15T12:59:00+01:00")),
            set(time, json!("1800014340")),
            added("/Statement/1/Condition", "Bool", json!({"aws:SecureTransport": "true"})),
            added("/Statement/1/Condition/DateLessThan", "aws:CurrentTime", json!("2027-01-15T12:00:00Z")),
            set(ids, json!("111122223333:carol")),
            set(ids, json!(["111122223333:*", "111122223333:dave"])),
            set(ids, json!(["999999999999:carol", "111122223333:dave"])),
            set(ids, json!(["111122223333:dave", "111122223333:carol"])),
            set(ids, json!(["111122223333:carol", "111122223333:carol"])),
            set(ids, json!([])),
            added("/Statement/2/Condition", "StringEquals", json!({"aws:userid": "111122223333:erin"})),
            set("/Statement", json!({"Effect": "Allow", "Action": "*", "Resource": "*"})),
            added("", "Id", json!("mine")),
        ] {
            assert_eq!(parse(&edited.to_string(), ACCOUNT), Err(Edited), "{edited}");
        }
        for text in ["", "{}", "[]", "null", r#"{"Version":"2012-10-17","Version":"2012-10-17","Statement":[]}"#] {
            assert_eq!(parse(text, ACCOUNT), Err(Edited), "{text}");
        }
    }

    #[test]
    fn about_120_of_the_longest_names_fit() {
        let cut = |count: usize| Cuts::of_names((0..count).map(name), NOON);
        assert_eq!(name(0).len(), 32);
        let fits = (0..200).take_while(|count| fit(cut(*count), ACCOUNT).is_ok()).last();
        assert_eq!(fits, Some(122));
        assert_eq!(fit(cut(122), ACCOUNT), Ok(cut(122)));
        assert!(print(&cut(122), ACCOUNT).len() <= MAX_CHARS && print(&cut(123), ACCOUNT).len() > MAX_CHARS);
        assert!(fit(cut(123).union(&Cuts::of_everyone(NOON)), ACCOUNT).is_ok(), "a cut of everyone makes room");
    }

    #[test]
    fn without_room_cuts_of_the_last_minutes_share_a_time_the_closest_first() {
        let at = |number: usize| NOON + i64::try_from(number * number).unwrap();
        let all = |count: usize| {
            let cuts = (0..count).map(|number| Cuts::of_names([name(number)], at(number)));
            cuts.fold(Cuts::default(), |all, cut| all.union(&cut))
        };
        let exact = fit(all(25), ACCOUNT).unwrap();
        assert_eq!(exact, all(25));
        let fitted = fit(all(60), ACCOUNT).unwrap();
        assert!(all(60).are_in(&fitted) && print(&fitted, ACCOUNT).len() <= MAX_CHARS);
        assert_eq!(fitted.names().last(), all(60).names().last(), "the last one was far from the others");
        // Names of 32 characters, each an hour after the one before.
        let apart = (0..60).map(|number| Cuts::of_names([name(number)], NOON + 3_600 * i64::try_from(number).unwrap()));
        assert_eq!(fit(apart.fold(Cuts::default(), |all, cut| all.union(&cut)), ACCOUNT), Err(Full));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(cuts in any_cuts()) {
            let text = print(&cuts, ACCOUNT);
            prop_assert!(text.is_ascii() && !text.contains(char::is_whitespace));
            prop_assert_eq!(parse(&text, ACCOUNT), Ok(cuts.clone()));
            prop_assert_eq!(fit(cuts.clone(), ACCOUNT), Ok(cuts));
        }

        #[test]
        fn nothing_that_is_read_panics(text in "\\PC{0,200}") {
            prop_assert!(parse(&text, ACCOUNT).is_err());
        }
    }
}
