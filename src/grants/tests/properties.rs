//! What holds of every session, whatever is in the table and in the token?

use proptest::prelude::*;
use proptest::sample::{Index, subsequence};

use super::model::{Case, Outcome, any_case, kind, model_statements};
use super::*;

/// What can be done to a case that must never widen its session.
#[derive(Debug, Clone)]
enum Narrowing {
    Block,
    DisabledItem,
    ItemOfDenyAlone,
    EmptyItem,
    Deny(Index),
    Pin(Index),
    Disable(Index),
    Maximum(Index, i64),
    Default(Index, i64),
    End(Index, i64),
    Require(Index, Value),
}

fn any_narrowing() -> impl Strategy<Value = Narrowing> {
    let requirement = prop::sample::select(vec![
        json!({"acr": ["gold"]}),
        json!({"amr": ["mfa"]}),
        json!({"max_age": 900}),
        json!({"claims": {"/department": ["payments"]}}),
        json!({"claims": {"/contractor": [false]}}),
    ]);
    prop_oneof![
        Just(Narrowing::Block),
        Just(Narrowing::DisabledItem),
        Just(Narrowing::ItemOfDenyAlone),
        Just(Narrowing::EmptyItem),
        any::<Index>().prop_map(Narrowing::Deny),
        any::<Index>().prop_map(Narrowing::Pin),
        any::<Index>().prop_map(Narrowing::Disable),
        (any::<Index>(), 900_i64..4_000).prop_map(|(index, seconds)| Narrowing::Maximum(index, seconds)),
        (any::<Index>(), 900_i64..4_000).prop_map(|(index, seconds)| Narrowing::Default(index, seconds)),
        (any::<Index>(), 900_i64..4_000).prop_map(|(index, seconds)| Narrowing::End(index, seconds)),
        (any::<Index>(), requirement).prop_map(|(index, require)| Narrowing::Require(index, require)),
    ]
}

fn narrowed(case: &Case, narrowing: &Narrowing) -> Case {
    let mut case = case.clone();
    let deny = json!({"Effect": "Deny", "Action": "s3:DeleteObject", "Resource": "*"});
    let mut put = |index: &Index, name: &str, value: Value| index.get_mut(&mut case.items)[name] = value;
    match narrowing {
        Narrowing::Block => case.blocked = true,
        Narrowing::DisabledItem => case.items.push(json!({"enabled": false})),
        Narrowing::ItemOfDenyAlone => {
            let policy = json!({"Version": "2012-10-17", "Statement": deny});
            case.items.push(json!({"policy": policy, "max_duration": 129_600, "duration": 129_600}));
        }
        Narrowing::EmptyItem => case.items.push(json!({})),
        Narrowing::Deny(index) => {
            let item = index.get_mut(&mut case.items);
            let mut all = model_statements(item);
            all.push(deny);
            // Nothing but the Deny changes: what was unusable for its version is so still.
            let before = match item.get("policy") {
                Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
                Some(policy) => policy.clone(),
                None => json!({"Version": "2012-10-17"}),
            };
            item["policy"] = before;
            item["policy"]["Statement"] = all.into();
        }
        Narrowing::Pin(index) => put(index, "pin_source_ip", true.into()),
        Narrowing::Disable(index) => put(index, "enabled", false.into()),
        Narrowing::Maximum(index, seconds) | Narrowing::Default(index, seconds) => {
            let name = if matches!(narrowing, Narrowing::Maximum(..)) { "max_duration" } else { "duration" };
            let item = index.get_mut(&mut case.items);
            let before = item[name].as_i64().unwrap_or(3_600);
            item[name] = before.min(*seconds).into();
        }
        Narrowing::End(index, seconds) => {
            let item = index.get_mut(&mut case.items);
            let end = i64::try_from(NOW).unwrap() + seconds;
            item["not_after"] = item["not_after"].as_i64().map_or(end, |before| before.min(end)).into();
        }
        Narrowing::Require(index, require) => {
            let item = index.get_mut(&mut case.items);
            if item["require"].is_null() {
                item["require"] = json!({});
            }
            for (name, value) in require.as_object().unwrap() {
                if item["require"][name].is_null() {
                    item["require"][name] = value.clone();
                }
            }
        }
    }
    // The member that was looked at may have come to be by it.
    for item in &mut case.items {
        item.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    }
    case
}

fn of_effect<'o>(outcome: &'o Outcome, effect: &str) -> Vec<&'o String> {
    let is = |text: &&String| serde_json::from_str::<Value>(text).unwrap()["Effect"] == effect;
    outcome.statements.iter().filter(is).collect()
}

/// Steps of the documented order at which several things can be wrong at once.
fn step(denied: &Denied) -> &'static str {
    match kind(denied) {
        "template" | "tags" | "too large" | "too many arns" | "too many statements" | "no address" => "contents",
        other => other,
    }
}

fn claim_as(value: &str) -> Case {
    Case {
        issuer: json!({}),
        claims: json!({"sub": "carol", "x": value}),
        source_ip: None,
        items: Vec::new(),
        blocked: false,
        asked: None,
        owned_by_me: None,
    }
}

/// A text that holds no `${`, between templates.
fn any_leaf() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        2 => "[a-zé/*? _-]{0,12}".prop_map(|text: String| text),
        2 => Just("${jwt:/x}".to_owned()),
        1 => Just("${aws:PrincipalTag/team, 'x'}".to_owned()),
        1 => Just("$-".to_owned()),
        1 => Just("}\"\\".to_owned()),
    ];
    // No part begins with `{`, or ends in what makes a mark of another tool with one.
    prop::collection::vec(part, 0..5).prop_map(|parts| parts.concat())
}

/// The document with `${jwt:/x}` replaced in its string leaves.
fn replaced(document: &Value, by: &str) -> Value {
    match document {
        Value::String(text) => text.replace("${jwt:/x}", by).into(),
        Value::Array(list) => list.iter().map(|one| replaced(one, by)).collect(),
        Value::Object(members) => members.iter().map(|(name, one)| (name.clone(), replaced(one, by))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => document.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_claim_changes_the_structure_of_a_policy(
        leaves in prop::collection::vec(any_leaf(), 4),
        claim in prop_oneof![
            3 => "[A-Za-z0-9_.@+=,|-]{1,256}",
            2 => any::<String>(),
            1 => "[A-Za-z0-9*?${}:/\"\\\\\u{0}-\u{1f} ]{0,12}",
        ],
    ) {
        let document = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": ["s3:Get*", "*"], "Resource": [
                format!("arn:aws:s3:::a{}", leaves[0]), format!("arn:aws:s3:::b{}", leaves[1])]},
            {"Effect": "Deny", "NotAction": "s3:*", "NotResource": "*", "Condition": {
                "StringLike": {"aws:userid": [leaves[2], 7, true], "s3:prefix": leaves[3]}}},
        ]});
        let mut case = claim_as(&claim);
        case.items.push(json!({"policy": document}));
        let harmless = |c: char| c.is_ascii_alphanumeric() || "_.@+=,|-".contains(c);
        let fits = (1..=256).contains(&claim.len()) && claim.chars().all(harmless);
        let asks = document.to_string().contains("${jwt:/x}");
        match case.decide() {
            Ok(pending) => {
                prop_assert!(fits || !asks);
                let expected = replaced(&document["Statement"], &claim);
                let mut expected = expected.as_array().unwrap().clone();
                expected.sort_by_key(Value::to_string);
                prop_assert_eq!(statements(pending.describe()), expected);
            }
            Err(Denied::Unusable(Unusable::Template { error, .. })) => {
                prop_assert!(!fits && asks);
                prop_assert_eq!(error, ClaimError::Unfit("/x".into()));
            }
            Err(Denied::Unusable(Unusable::PolicyTooLarge { .. })) => prop_assert!(claim.len() > 64),
            Err(denied) => prop_assert!(false, "{denied}"),
        }
    }

    #[test]
    fn every_session_is_one_that_sts_takes(case in any_case()) {
        if let Ok(pending) = case.decide() {
            let session = pending.describe();
            let name = session.name().as_str();
            prop_assert!((2..=32).contains(&name.len()));
            prop_assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || "_=,.@+-".contains(c)));
            prop_assert!((900..=129_600).contains(&session.duration().as_secs()));
            if let Some(policy) = session.policy() {
                prop_assert!((1..=2_048).contains(&policy.as_str().chars().count()));
                let legal = policy.as_str().chars().all(|c| (' '..='ÿ').contains(&c));
                prop_assert!(legal);
                prop_assert!(Policy::parse(&serde_json::from_str(policy.as_str()).unwrap(), "").is_ok());
            }
            prop_assert!(session.policy_arns().iter().count() <= 10);
            prop_assert!(session.tags().iter().count() <= 50);
            let legal = |text: &str| text.chars().all(|c| c.is_alphanumeric() || " _.:/=+-@".contains(c));
            for (key, value) in session.tags().iter() {
                prop_assert!(legal(key) && (1..=128).contains(&key.chars().count()) && !key.starts_with("aws:"));
                prop_assert!(legal(value) && value.chars().count() <= 256);
            }
        }
    }

    #[test]
    fn what_is_offered_is_what_asking_gets_perhaps_after_another_sign_in(case in any_case()) {
        let case = Case { asked: None, ..case };
        let is_offered = case.offers().is_ok_and(|offers| !offers.is_empty());
        let gets = match case.decide() {
            Err(Denied::Refused(Refused::StepUp(_))) => {
                let mut stronger = case.clone();
                for require in stronger.items.iter_mut().filter_map(|item| item["require"].as_object_mut()) {
                    require.retain(|name, _| name == "claims");
                }
                for item in &mut stronger.items {
                    item.as_object_mut().unwrap().retain(|_, value| !value.is_null());
                }
                stronger.decide()
            }
            decided => decided,
        };
        prop_assert_eq!(is_offered, gets.is_ok(), "{:?}", gets);
    }

    #[test]
    fn the_order_of_items_is_irrelevant(
        (case, order) in any_case().prop_flat_map(|case| {
            let order: Vec<usize> = (0..case.items.len()).collect();
            (Just(case), Just(order).prop_shuffle())
        })
    ) {
        match (case.decide(), case.decide_in_order(&order)) {
            (Ok(one), Ok(other)) => {
                prop_assert_eq!(&one.dues, &other.dues);
                let (one, other) = (one.describe(), other.describe());
                prop_assert_eq!(
                    (one.issuer(), one.grant(), one.name(), one.policy(), one.policy_arns(), one.tags(), one.duration()),
                    (other.issuer(), other.grant(), other.name(), other.policy(), other.policy_arns(), other.tags(),
                        other.duration())
                );
                let sorted = |session: &Session| {
                    let mut matched: Vec<String> = session.matched().iter().map(|one| format!("{one:?}")).collect();
                    matched.sort();
                    matched
                };
                prop_assert_eq!(sorted(one), sorted(other));
            }
            (Err(one), Err(other)) => prop_assert_eq!(step(&one), step(&other)),
            (one, other) => prop_assert!(false, "{one:?}, and in another order {other:?}"),
        }
    }

    #[test]
    fn nothing_is_left_out_of_what_matched(case in any_case()) {
        let Ok(pending) = case.decide() else { return Ok(()) };
        let now = i64::try_from(NOW).unwrap();
        let in_time = |item: &&Value| {
            item["not_before"].as_i64().is_none_or(|begin| begin <= now)
                && item["not_after"].as_i64().is_none_or(|end| end - now >= 900)
        };
        let session = pending.describe();
        let items: Vec<&Value> = case.items.iter().filter(in_time).collect();
        prop_assert_eq!(session.matched().len(), items.len());
        let printed = session.policy().map(|_| statements(session)).unwrap_or_default();
        let (caller, name) = (case.caller(), session.name());
        for item in items {
            if item["policy"].is_null() {
                continue;
            }
            let attributes = item.as_object().unwrap().clone();
            let policy = Item::read(&attributes).unwrap().policy.unwrap();
            for statement in policy.statements() {
                let filled = statement.print(&|template: &Template| template.fill(&caller, name)).unwrap();
                prop_assert!(printed.contains(&filled), "{filled}");
            }
        }
    }

    #[test]
    fn one_item_that_is_refused_for_itself_refuses_every_whole_that_it_is_part_of(
        (case, part) in any_case().prop_flat_map(|case| {
            let all: Vec<usize> = (0..case.items.len()).collect();
            let count = all.len();
            (Just(case), subsequence(all, 0..=count))
        })
    ) {
        let refused_for_itself = |denied: &Denied| matches!(kind(denied), "blocked" | "unusable" | "disabled");
        if case.decide_in_order(&part).is_err_and(|denied| refused_for_itself(&denied)) {
            prop_assert!(case.decide().is_err_and(|denied| refused_for_itself(&denied)));
        }
    }

    #[test]
    fn what_an_operator_adds_to_limit_a_grant_never_widens_it(
        case in any_case().prop_filter("items to narrow", |case| (1..4).contains(&case.items.len())),
        narrowing in any_narrowing(),
    ) {
        let Ok(after) = narrowed(&case, &narrowing).decide() else { return Ok(()) };
        let before = case.decide();
        // An item that holds now where none did is a grant, however little it says.
        let is_a_grant = matches!(narrowing, Narrowing::ItemOfDenyAlone | Narrowing::EmptyItem)
            && matches!(before, Err(Denied::Refused(Refused::OutOfTime)));
        if is_a_grant {
            return Ok(());
        }
        prop_assert!(before.is_ok(), "there was no session before: {before:?}");
        let (before, after) = (Outcome::of(&before.unwrap()), Outcome::of(&after));
        prop_assert!(after.seconds <= before.seconds);
        prop_assert!(of_effect(&after, "Allow").iter().all(|one| before.statements.contains(*one)));
        prop_assert!(of_effect(&before, "Deny").iter().all(|one| after.statements.contains(*one)));
        prop_assert!(after.arns.is_subset(&before.arns));
        prop_assert!(after.tags.iter().all(|(key, value)| before.tags.get(key) == Some(value)));
    }

    #[test]
    fn no_policy_makes_the_parser_panic(text in "\\PC{0,200}") {
        let _ = Item::read(json!({ "policy": text }).as_object().unwrap());
    }

    #[test]
    fn a_template_is_its_text_again_where_nothing_is_filled_in(text in "[${}a:*?/, x\u{1}\u{2}]{0,24}") {
        if let Ok(template) = Template::parse(&text) {
            let caller = caller();
            let name = FederatedName::of(&caller).unwrap();
            prop_assert_eq!(template.fill(&caller, &name), Ok(text));
        }
    }
}

#[cfg(feature = "files")]
proptest! {
    #[test]
    fn an_explanation_is_what_the_function_decides(case in any_case(), reversed in any::<bool>()) {
        let explanation = case.explain(reversed);
        prop_assert_eq!(&explanation.outcome, &case.decide());
        let used = explanation.items.iter().filter(|item| item.used).count();
        if let Ok(pending) = &explanation.outcome {
            prop_assert_eq!(used, pending.describe().matched().len());
        }
    }
}
