//! Does what matches merge to what all of it allows?

use super::*;

#[test]
fn nothing_that_matches_is_no_grant() {
    assert_eq!(session(&[]), Err(Denied::Refused(Refused::NoGrant)));
}

#[test]
fn one_item_is_the_session_that_it_says() {
    let session = session(&[json!({
        "policy": policy("Allow", "s3:ListBucket"),
        "policy_arns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"],
        "max_duration": 7_200, "duration": 1_800, "revision": "3-0123456789abcdef",
    })])
    .unwrap();
    let text = r#"{"Statement":[{"Action":"s3:ListBucket","Effect":"Allow","Resource":"*"}],"Version":"2012-10-17"}"#;
    assert_eq!(session.policy().unwrap().as_str(), text);
    assert_eq!(
        session.policy_arns().iter().map(PolicyArn::as_str).collect::<Vec<_>>(),
        ["arn:aws:iam::aws:policy/ReadOnlyAccess"]
    );
    assert_eq!(session.duration().as_secs(), 1_800);
    assert_eq!(session.name(), &FederatedName::of(&caller()).unwrap());
    assert_eq!(session.grant().as_str(), "default");
    assert_eq!(session.matched()[0].revision.as_deref(), Some("3-0123456789abcdef"));
}

#[test]
fn an_item_without_policy_and_arns_asks_for_none() {
    let session = session(&[json!({})]).unwrap();
    assert_eq!((session.policy(), session.policy_arns().is_empty()), (None, true));
    assert_eq!(session.duration(), SessionDuration::DEFAULT);
}

#[test]
fn statements_are_joined_and_deduplicated_whatever_their_sid() {
    let mut twin = item("s3:GetObject");
    twin["policy"]["Statement"][0]["Sid"] = "Two".into();
    twin["policy"]["Id"] = "id".into();
    let merged = session(&[item("s3:GetObject"), twin, item("s3:PutObject")]).unwrap();
    let actions: Vec<_> = statements(&merged).iter().map(|statement| statement["Action"].clone()).collect();
    assert_eq!(actions, ["s3:GetObject", "s3:PutObject"]);
    assert_eq!(merged.matched().len(), 3);
}

#[test]
fn a_deny_in_one_item_is_kept_beside_an_allow_in_another() {
    let deny = json!({ "policy": policy("Deny", "s3:DeleteObject") });
    let merged = session(&[item("s3:*"), deny]).unwrap();
    assert_eq!(statements(&merged)[1]["Effect"], "Deny");
}

#[test]
fn arns_are_united_and_more_than_ten_are_unusable() {
    let arns = |range: std::ops::Range<usize>| {
        let arns: Vec<String> = range.map(|number| format!("arn:aws:iam::aws:policy/P{number}")).collect();
        json!({ "policy_arns": arns })
    };
    assert_eq!(session(&[arns(0..6), arns(4..10)]).unwrap().policy_arns().iter().count(), 10);
    assert_eq!(session(&[arns(0..6), arns(5..11)]), Err(Denied::Unusable(Unusable::TooManyArns(11))));
}

#[test]
fn the_smallest_maximum_and_the_smallest_default_hold() {
    let durations = |maximum: Value, default: Value| json!({"max_duration": maximum, "duration": default});
    let seconds = |items: &[Value], asked| asking(items, asked).map(|session| session.duration().as_secs());
    assert_eq!(seconds(&[durations(7_200.into(), 7_200.into())], None), Ok(7_200));
    assert_eq!(
        seconds(&[durations(7_200.into(), 5_400.into()), durations(9_000.into(), 1_000.into())], None),
        Ok(1_000)
    );
    // What is absent counts 3600, also beside an item that says more.
    assert_eq!(seconds(&[durations(7_200.into(), 7_200.into()), json!({})], None), Ok(3_600));
    assert_eq!(seconds(&[json!({"max_duration": 7_200})], None), Ok(3_600));
    assert_eq!(seconds(&[json!({"max_duration": 900, "duration": 3_600})], None), Ok(900));
    assert_eq!(seconds(&[json!({"max_duration": 7_200})], Some(7_200)), Ok(7_200));
    assert_eq!(seconds(&[json!({"max_duration": 7_200})], Some(900)), Ok(900));
    let over = Denied::Refused(Refused::OverMaximum {
        asked: SessionDuration::from_secs(7_201).unwrap(),
        maximum: SessionDuration::from_secs(7_200).unwrap(),
    });
    assert_eq!(seconds(&[json!({"max_duration": 7_200})], Some(7_201)), Err(over));
}

#[test]
fn more_statements_than_fit_are_refused_without_comparing_them_all() {
    let many = |from: usize| {
        let statement = |number| json!({"Effect": "Deny", "Action": "*", "Resource": format!("arn:aws:s3:::{number}")});
        json!({"policy": {"Version": "2012-10-17", "Statement": (from..from + 44).map(statement).collect::<Vec<_>>()}})
    };
    assert!(matches!(session(&[many(0)]), Err(Denied::Unusable(Unusable::PolicyTooLarge { .. }))));
    assert_eq!(session(&[many(0), many(44)]), Err(Denied::Unusable(Unusable::TooManyStatements)));
}

#[test]
fn a_session_ends_with_its_grant() {
    let until = |seconds: u64| json!({"not_after": NOW + seconds, "max_duration": 7_200});
    assert_eq!(session(&[until(1_000)]).unwrap().duration().as_secs(), 1_000);
    assert_eq!(asking(&[until(1_000)], Some(7_200)).unwrap().duration().as_secs(), 1_000);
    assert_eq!(session(&[until(900)]).unwrap().duration().as_secs(), 900);
    assert_eq!(session(&[until(899)]), Err(Denied::Refused(Refused::OutOfTime)));
    assert_eq!(asking(&[until(2_000), until(1_000)], None).unwrap().duration().as_secs(), 1_000);
    let half_a_second_later = now() + Duration::from_millis(500);
    let late = authorize(&caller(), &request(None), matches(&[until(900)]), half_a_second_later);
    assert_eq!(late, Err(Denied::Refused(Refused::OutOfTime)), "no session outlives its grant by a fraction");
}

#[test]
fn an_item_outside_its_time_takes_its_limits_with_it() {
    for (name, value) in [("not_before", NOW + 1), ("not_after", NOW - 1)] {
        let mut outside = json!({"max_duration": 900, "policy": policy("Allow", "s3:*")});
        outside[name] = value.into();
        assert_eq!(session(&[outside.clone()]), Err(Denied::Refused(Refused::OutOfTime)));
        let merged = session(&[item("s3:GetObject"), outside]).unwrap();
        assert_eq!((statements(&merged).len(), merged.duration()), (1, SessionDuration::DEFAULT));
    }
    assert!(session(&[with("not_before", NOW.into())]).is_ok());
}

#[test]
fn a_session_that_ends_with_its_token_is_cut_or_refused() {
    let with_exp = |exp: u64| {
        let mut claims = valid_claims(ISSUER, NOW);
        claims["exp"] = (NOW + exp).into();
        let caller = caller_with(&json!({"session_ends_with_token": true}), &claims);
        let stored = Principal::of(&caller)
            .into_iter()
            .take(1)
            .map(|principal| StoredItem { principal, attributes: item("s3:*").as_object().unwrap().clone() });
        let matches = Matches { items: stored.collect(), ..Matches::default() };
        authorize(&caller, &request(None), matches, now()).map(|pending| pending.session.duration().as_secs())
    };
    assert_eq!(with_exp(1_000), Ok(1_000));
    assert_eq!(with_exp(86_400), Ok(3_600));
    assert_eq!(with_exp(899), Err(Denied::Refused(Refused::TokenEndsTooSoon)));
}

#[test]
fn refusals_come_in_their_order() {
    let principal = |index: usize| Principal::of(&caller())[index].clone();
    let disabled = with("enabled", json!(false));
    let over = with("not_after", (NOW - 1).into());
    let malformed = with("colour", "red".into());
    assert_eq!(session(&[item("s3:*"), disabled.clone()]), Err(Denied::Refused(Refused::Disabled(principal(1)))));
    assert!(matches!(session(&[disabled.clone(), malformed.clone()]), Err(Denied::Unusable(Unusable::Item { .. }))));
    assert!(matches!(session(&[over.clone(), malformed.clone()]), Err(Denied::Unusable(Unusable::Item { .. }))));
    let mut blocked = matches(&[malformed]);
    blocked.blocked.push(principal(2));
    assert_eq!(
        authorize(&caller(), &request(None), blocked, now()),
        Err(Denied::Refused(Refused::Blocked(principal(2))))
    );
    let mut disabled_and_over = disabled;
    disabled_and_over["not_after"] = (NOW - 1).into();
    assert!(
        matches!(session(&[disabled_and_over]), Err(Denied::Refused(Refused::Disabled(_)))),
        "out of its time it refuses still"
    );
    assert!(matches!(asking(&[over], Some(129_600)), Err(Denied::Refused(Refused::OutOfTime))));
}

#[test]
fn a_policy_over_the_limit_of_sts_is_refused_before_sts_is_asked() {
    let long = |characters: usize| {
        let mut item = item("s3:GetObject");
        item["policy"]["Statement"][0]["Resource"] = format!("arn:aws:s3:::{}", "a".repeat(characters)).into();
        item
    };
    let overhead = session(&[long(1)]).unwrap().policy().unwrap().as_str().len() - 1;
    assert!(session(&[long(2_048 - overhead)]).is_ok());
    assert_eq!(
        session(&[long(2_049 - overhead)]),
        Err(Denied::Unusable(Unusable::PolicyTooLarge { characters: 2_049 }))
    );
}

#[test]
fn characters_beyond_latin_1_are_escaped_and_others_are_not() {
    let mut item = item("s3:GetObject");
    item["policy"]["Statement"][0]["Resource"] = "arn:aws:s3:::é-Ω-😀-\"".into();
    let session = session(&[item]).unwrap();
    let text = session.policy().unwrap().as_str();
    assert!(text.contains("é-\\u03a9-\\ud83d\\ude00-\\\""), "{text}");
    assert_eq!(statements(&session)[0]["Resource"], "arn:aws:s3:::é-Ω-😀-\"");
}
