//! Does each sentence on how items merge hold, at its edges?

use super::model::{Case, kind};
use super::*;

/// What a caller of these claims gets of items that require this, one item each.
fn requiring(claims: &Value, requirements: &[Value]) -> Result<(), &'static str> {
    let items: Vec<Value> = requirements.iter().map(|require| json!({ "require": require })).collect();
    match claiming(claims, &items) {
        Ok(_) => Ok(()),
        Err(Denied::Refused(Refused::StepUp(_))) => Err("step-up"),
        Err(Denied::Refused(Refused::ClaimRefused(_))) => Err("claim"),
        Err(Denied::Unusable(Unusable::Contradiction(_))) => Err("contradiction"),
        Err(denied) => panic!("{denied}"),
    }
}

#[test]
fn authentication_contexts_intersect() {
    let (low, both, high) = (json!({"acr": ["low"]}), json!({"acr": ["low", "high"]}), json!({"acr": ["high"]}));
    let signed_in = |acr: &str, requirements: &[&Value]| {
        let requirements: Vec<Value> = requirements.iter().copied().cloned().collect();
        requiring(&json!({ "acr": acr }), &requirements)
    };
    assert_eq!(signed_in("low", &[&both]), Ok(()));
    assert_eq!(signed_in("high", &[&both]), Ok(()));
    assert_eq!(signed_in("HIGH", &[&both]), Err("step-up"));
    assert_eq!(signed_in("low", &[&both, &high]), Err("step-up"));
    assert_eq!(signed_in("high", &[&both, &high]), Ok(()));
    assert_eq!(signed_in("high", &[&json!({}), &high]), Ok(()));
    assert_eq!(signed_in("low", &[&high, &json!({})]), Err("step-up"));
    assert_eq!(signed_in("low", &[&low, &high]), Err("contradiction"));
    assert_eq!(signed_in("low", &[&low, &both, &high]), Err("contradiction"));
    for absent in [json!({}), json!({"acr": ["low"]}), json!({"acr": 1}), json!({"acr": true})] {
        assert_eq!(requiring(&absent, std::slice::from_ref(&low)), Err("step-up"), "{absent}");
    }
}

#[test]
fn authentication_methods_unite() {
    let (mfa, hwk) = (json!({"amr": ["mfa"]}), json!({"amr": ["hwk"]}));
    for (amr, outcome) in [
        (json!(["mfa", "hwk"]), Ok(())),
        (json!(["hwk", "pwd", "mfa"]), Ok(())),
        (json!(["mfa"]), Err("step-up")),
        (json!(["hwk"]), Err("step-up")),
        (json!([]), Err("step-up")),
        (json!("mfa"), Err("step-up")),
        (json!(["mfa", "hwk", 1]), Err("step-up")),
        (json!(["MFA", "HWK"]), Err("step-up")),
        (json!({"mfa": true, "hwk": true}), Err("step-up")),
        (Value::Null, Err("step-up")),
    ] {
        assert_eq!(requiring(&json!({ "amr": amr }), &[mfa.clone(), hwk.clone()]), outcome, "{amr}");
    }
}

#[test]
fn the_freshest_sign_in_that_is_asked_for_holds_with_thirty_seconds_of_leeway() {
    let requirements = [json!({"max_age": 3_600}), json!({"max_age": 900})];
    let since = |seconds: f64| requiring(&json!({"auth_time": 1_800_000_000.0 - seconds}), &requirements);
    for (seconds, outcome) in [
        (0.0, Ok(())),
        (900.0, Ok(())),
        (930.0, Ok(())),
        (930.5, Err("step-up")),
        (931.0, Err("step-up")),
        (3_600.0, Err("step-up")),
        (-30.0, Ok(())),
        (-30.5, Err("step-up")),
        (-31.0, Err("step-up")),
    ] {
        assert_eq!(since(seconds), outcome, "{seconds}");
    }
    for unknown in [json!({}), json!({"auth_time": NOW.to_string()}), json!({"auth_time": [NOW]})] {
        assert_eq!(requiring(&unknown, &requirements), Err("step-up"), "{unknown}");
    }
    assert_eq!(requiring(&json!({"auth_time": NOW - 30}), &[json!({"max_age": 0})]), Ok(()));
    assert_eq!(requiring(&json!({"auth_time": NOW - 31}), &[json!({"max_age": 0})]), Err("step-up"));
    assert_eq!(requiring(&json!({"auth_time": 0}), &[json!({ "max_age": u64::MAX })]), Ok(()));
}

#[test]
fn a_step_up_asks_for_everything_that_the_items_require_together() {
    let items = [
        json!({"require": {"acr": ["silver", "gold"], "amr": ["mfa"], "max_age": 3_600}}),
        json!({"require": {"acr": ["gold", "bronze"], "amr": ["hwk", "mfa"], "max_age": 900}}),
    ];
    let whole =
        StepUp { acr_values: vec!["gold".into()], amr_values: vec!["hwk".into(), "mfa".into()], max_age: Some(900) };
    // Also what is met already: a provider would drop what it is not asked for.
    for claims in [json!({}), json!({"acr": "gold"}), json!({"amr": ["mfa", "hwk"], "auth_time": NOW})] {
        assert_eq!(claiming(&claims, &items), Err(Denied::Refused(Refused::StepUp(whole.clone()))), "{claims}");
    }
    assert!(claiming(&json!({"acr": "gold", "amr": ["mfa", "hwk"], "auth_time": NOW}), &items).is_ok());
}

#[test]
fn required_claims_intersect_and_compare_type_and_value() {
    let one = |values: Value| json!({"claims": {"/team": values}});
    for (team, requirements, outcome) in [
        (json!("a"), vec![one(json!(["a", "b"]))], Ok(())),
        (json!("b"), vec![one(json!(["a", "b"]))], Ok(())),
        (json!("A"), vec![one(json!(["a", "b"]))], Err("claim")),
        (json!("b"), vec![one(json!(["a", "b"])), one(json!(["a"]))], Err("claim")),
        (json!("a"), vec![one(json!(["a", "b"])), one(json!(["a"]))], Ok(())),
        (json!("a"), vec![one(json!(["a"])), one(json!(["b"]))], Err("contradiction")),
        (json!("a"), vec![one(json!(["a"])), json!({"claims": {"/other": ["b"]}})], Err("claim")),
        (json!("a"), vec![one(json!(["a"])), json!({})], Ok(())),
        (json!(["a"]), vec![one(json!(["a"]))], Ok(())),
        (json!(["c", "b", true]), vec![one(json!(["a", "b"]))], Ok(())),
        (json!(["c", false]), vec![one(json!(["a", true]))], Err("claim")),
        (json!(["a", 7]), vec![one(json!(["a"]))], Err("claim")),
        (json!([["a"]]), vec![one(json!(["a"]))], Err("claim")),
        (json!([]), vec![one(json!(["a"]))], Err("claim")),
        // One value of each is not a value of both.
        (json!(["a", "b"]), vec![one(json!(["a"])), one(json!(["b"]))], Err("contradiction")),
        (json!(["a", "c"]), vec![one(json!(["a", "b"])), one(json!(["b", "c"]))], Err("claim")),
        (json!(["a", "b"]), vec![one(json!(["a", "b"])), one(json!(["b", "c"]))], Ok(())),
        (json!({"a": true}), vec![one(json!(["a"]))], Err("claim")),
        (json!(true), vec![one(json!([true]))], Ok(())),
        (json!(false), vec![one(json!([true]))], Err("claim")),
        (json!("true"), vec![one(json!([true]))], Err("claim")),
        (json!(true), vec![one(json!(["true"]))], Err("claim")),
        (json!(true), vec![one(json!(["true"])), one(json!([true]))], Err("contradiction")),
        (json!(1), vec![one(json!(["1", true]))], Err("claim")),
        (Value::Null, vec![one(json!(["a", false]))], Err("claim")),
    ] {
        assert_eq!(requiring(&json!({ "team": team }), &requirements), outcome, "{team} {requirements:?}");
    }
}

#[test]
fn a_required_claim_is_found_by_its_pointer_and_named_in_the_refusal() {
    let items = [json!({"require": {"claims": {"/realm/team": ["a"], "/https:~1~1example.com~1unit": ["u"]}}})];
    let claims = json!({"realm": {"team": "a"}, "https://example.com/unit": "u"});
    assert!(claiming(&claims, &items).is_ok());
    let refused = Denied::Refused(Refused::ClaimRefused("/realm/team".into()));
    assert_eq!(claiming(&json!({"https://example.com/unit": "u"}), &items), Err(refused));
}

#[test]
fn a_contradiction_is_named() {
    let told = |one: Value, two: Value| {
        session(&[json!({ "require": one }), json!({ "require": two })]).unwrap_err().to_string()
    };
    assert_eq!(
        told(json!({"acr": ["a"]}), json!({"acr": ["b"]})),
        "nothing can meet `require/acr` of all the items that match"
    );
    assert_eq!(
        told(json!({"claims": {"/t": ["a"]}}), json!({"claims": {"/t": ["b"]}})),
        "nothing can meet `require/claims` of `/t` of all the items that match"
    );
}

#[test]
fn an_item_outside_its_time_takes_requirements_pin_tags_and_arns_with_it() {
    for (name, value) in [("not_before", NOW + 1), ("not_after", NOW + 899)] {
        let mut outside = json!({
            "require": {"acr": ["gold"], "claims": {"/sub": ["mallory"]}}, "pin_source_ip": true,
            "max_duration": 900, "duration": 900, "tags": {"team": "b"},
            "policy_arns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"],
        });
        outside[name] = value.into();
        let plain = with("tags", json!({"team": "a"}));
        let merged = session(&[plain.clone(), outside]).unwrap();
        let alone = session(&[plain]).unwrap();
        assert_eq!(
            (merged.policy(), merged.tags(), merged.duration()),
            (alone.policy(), alone.tags(), alone.duration())
        );
        assert!(merged.policy_arns().is_empty() && merged.matched().len() == 1);
    }
}

#[test]
fn an_item_holds_from_its_beginning_to_fifteen_minutes_before_its_end() {
    for (name, value, holds) in [
        ("not_before", NOW + 1, false),
        ("not_before", NOW, true),
        ("not_before", NOW - 1, true),
        ("not_after", NOW - 1, false),
        ("not_after", NOW, false),
        ("not_after", NOW + 899, false),
        ("not_after", NOW + 900, true),
    ] {
        assert_eq!(session(&[with(name, value.into())]).is_ok(), holds, "{name} {value}");
    }
    for (name, value, holds) in [
        ("not_before", json!(i64::MIN), true),
        ("not_before", json!(i64::MAX), false),
        ("not_after", json!(i64::MIN), false),
        ("not_after", json!(i64::MAX), true),
    ] {
        assert_eq!(session(&[with(name, value.clone())]).is_ok(), holds, "{name} {value}");
    }
}

#[test]
fn a_deny_that_would_lapse_is_unusable_also_outside_its_window() {
    let deny = |name: &str, value: u64| {
        let mut item = json!({ "policy": policy("Deny", "s3:*") });
        item[name] = value.into();
        item
    };
    for (name, value) in
        [("not_before", NOW - 1), ("not_before", NOW + 1), ("not_after", NOW - 1), ("not_after", NOW + 10_000)]
    {
        let merged = session(&[item("s3:*"), deny(name, value)]);
        assert!(matches!(merged, Err(Denied::Unusable(Unusable::Item { .. }))), "{name} {value}");
    }
}

#[test]
fn tags_are_united() {
    let tagged = |tags: Value| json!({ "tags": tags });
    let tags = |items: &[Value]| {
        let tags = session(items).map(|session| {
            session.tags().iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
        });
        tags.map_err(
            |denied| if let Denied::Unusable(Unusable::Tags(error)) = denied { error } else { panic!("{denied}") },
        )
    };
    let (a, b) = (tagged(json!({"team": "a"})), tagged(json!({"team": "b"})));
    assert_eq!(tags(&[json!({})]), Ok(String::new()));
    assert_eq!(tags(&[a.clone(), json!({}), a.clone()]), Ok("team=a".into()));
    assert_eq!(tags(&[a.clone(), tagged(json!({"cost": "7", "who": "${session:name}"}))]), {
        Ok("cost=7 team=a who=carol-3o2jzrlhnfnb".into())
    });
    assert_eq!(tags(&[a.clone(), tagged(json!({"team": "a"})), b]), Err(TagError::Twice("team".into())));
    assert_eq!(tags(&[a.clone(), tagged(json!({"Team": "a"}))]), Err(TagError::Twice("Team".into())));
    // One value, however it is written.
    assert_eq!(tags(&[tagged(json!({"who": "carol"})), tagged(json!({"who": "${jwt:/sub}"}))]), Ok("who=carol".into()));
    assert_eq!(tags(&[tagged(json!({"team": ""}))]), Ok("team=".into()));
}

#[test]
fn fifty_tags_of_all_items_fit() {
    let tags = |range: std::ops::Range<usize>| {
        let tags: serde_json::Map<String, Value> = range.map(|number| (format!("k{number}"), "v".into())).collect();
        json!({ "tags": tags })
    };
    assert_eq!(session(&[tags(0..30), tags(20..50)]).unwrap().tags().iter().count(), 50);
    assert_eq!(session(&[tags(0..30), tags(20..51)]), Err(Denied::Unusable(Unusable::Tags(TagError::TooMany(51)))));
    assert!(session(&[tags(0..50)]).is_ok());
    assert!(matches!(session(&[tags(0..51)]), Err(Denied::Unusable(Unusable::Item { .. }))));
}

#[test]
fn tags_are_checked_as_they_are_rendered() {
    let tagged = |claim: &str, template: &str| claiming(&json!({ "x": claim }), &[json!({"tags": {"t": template}})]);
    let illegal = Err(Denied::Unusable(Unusable::Tags(TagError::Value("t".into()))));
    assert_eq!(tagged("a.b=c+d-e@f", "${jwt:/x} / x").unwrap().tags().iter().next(), Some(("t", "a.b=c+d-e@f / x")));
    assert_eq!(tagged("a,b", "${jwt:/x}"), illegal);
    assert_eq!(tagged("auth0|carol", "${jwt:/x}"), illegal);
    assert!(tagged(&"a".repeat(128), "${jwt:/x}${jwt:/x}").is_ok());
    assert_eq!(tagged(&"a".repeat(128), "${jwt:/x}-${jwt:/x}"), illegal);
}

#[test]
fn the_pin_is_the_documented_statement() {
    let pin = |block: &str| {
        let text = r#"{"Action":"*","Condition":{"BoolIfExists":{"aws:ViaAWSService":"false"},"NotIpAddress":{"aws:SourceIp":"BLOCK"}},"Effect":"Deny","Resource":"*"}"#;
        text.replace("BLOCK", block)
    };
    let pinned = |address: Option<&str>, items: &[Value]| {
        let source_ip = address.map(|address| address.parse::<IpAddr>().unwrap());
        let request = Request { source_ip, ..request(None) };
        authorize(&caller(), &request, matches(items), now()).map(|pending| pending.session)
    };
    let items = [with("pin_source_ip", true.into())];
    for (address, block) in [
        ("203.0.113.7", "203.0.113.7/32"),
        ("::ffff:203.0.113.7", "203.0.113.7/32"),
        ("::ffff:cb00:7107", "203.0.113.7/32"),
        ("2001:db8:0:0::7", "2001:db8::7/128"),
        ("2001:DB8::A", "2001:db8::a/128"),
        ("::1", "::1/128"),
    ] {
        let session = pinned(Some(address), &items).unwrap();
        let text = session.policy().unwrap().as_str();
        assert!(text.contains(&pin(block)), "{text}");
        assert_eq!(statements(&session).len(), 2);
    }
    assert_eq!(pinned(None, &items), Err(Denied::Refused(Refused::NoSourceAddress)));
    assert!(pinned(None, &[with("pin_source_ip", false.into())]).is_ok());

    let alone = pinned(Some("203.0.113.7"), &[json!({"pin_source_ip": true})]).unwrap();
    let whole = format!(r#"{{"Statement":[{}],"Version":"2012-10-17"}}"#, pin("203.0.113.7/32"));
    assert_eq!(alone.policy().unwrap().as_str(), whole);
    let twice = [json!({"pin_source_ip": true}), json!({}), json!({"pin_source_ip": true})];
    assert_eq!(pinned(Some("203.0.113.7"), &twice).unwrap().policy(), alone.policy());
}

#[test]
fn the_pin_counts_towards_the_limit_of_sts() {
    let long = |characters: usize| {
        let mut item = with("pin_source_ip", true.into());
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
fn statements_that_come_to_be_alike_are_one() {
    let on = |resource: &str| {
        let mut item = item("s3:GetObject");
        item["policy"]["Statement"][0]["Resource"] = resource.into();
        item
    };
    let merged = session(&[on("arn:aws:s3:::home/carol"), on("arn:aws:s3:::home/${jwt:/sub}")]).unwrap();
    assert_eq!(statements(&merged).len(), 1);
}

#[test]
fn as_many_statements_as_could_fit_are_looked_at() {
    let statement =
        |number: usize| json!({"Effect": "Deny", "Action": "*", "Resource": format!("arn:aws:a:::{number}")});
    let many = |from: usize, to: usize| json!({"policy": {"Version": "2012-10-17", "Statement": (from..to).map(statement).collect::<Vec<_>>()}});
    assert!(matches!(session(&[many(0, 43), many(43, 44)]), Err(Denied::Unusable(Unusable::PolicyTooLarge { .. }))));
    assert_eq!(session(&[many(0, 44), many(44, 45)]), Err(Denied::Unusable(Unusable::TooManyStatements)));
    assert!(matches!(session(&[many(0, 44), many(0, 44)]), Err(Denied::Unusable(Unusable::PolicyTooLarge { .. }))));
}

type Break = fn(&mut Case);

#[test]
fn refusals_come_in_the_documented_order() {
    let mut case = Case {
        issuer: json!({"name_claim": "/u"}),
        claims: json!({"sub": "carol", "u": "carol"}),
        source_ip: None,
        items: vec![json!({"max_duration": 900})],
        blocked: false,
        asked: None,
        owned_by_me: None,
    };
    // Each breaks one thing more, and it is what the case is refused for from then on.
    let breaks: [(&str, Break); 11] = [
        ("name owned", |_| {}),
        ("template", |case| case.items[0]["tags"] = json!({"team": "${jwt:/absent}"})),
        ("name", |case| case.claims["u"] = "not a name".into()),
        ("over maximum", |case| case.asked = Some(901)),
        ("step-up", |case| case.items[0]["require"] = json!({"acr": ["gold"]})),
        ("claim refused", |case| case.items[0]["require"]["claims"] = json!({"/sub": ["mallory"]})),
        ("contradiction", |case| case.items.push(json!({"require": {"acr": ["bronze"]}}))),
        ("out of time", |case| case.items.iter_mut().for_each(|item| item["not_after"] = (NOW - 1).into())),
        ("disabled", |case| case.items[1]["enabled"] = false.into()),
        ("unusable", |case| case.items[1]["colour"] = "red".into()),
        ("blocked", |case| case.blocked = true),
    ];
    for (expected, break_it) in breaks {
        break_it(&mut case);
        assert_eq!(kind(&case.decide().unwrap_err()), expected);
    }
}

#[test]
fn a_session_says_whose_it_is_and_what_it_was_made_from() {
    let items = [with("revision", "1-aaaaaaaaaaaaaaaa".into()), json!({}), json!({"revision": "2-b"})];
    let pending = authorize(&caller(), &request(None), matches(&items), now()).unwrap();
    let session = pending.describe();
    assert_eq!(session.issuer().as_str(), "corp");
    let made_from: Vec<(String, Option<&str>)> =
        session.matched().iter().map(|one| (one.principal.to_string(), one.revision.as_deref())).collect();
    let expected = [
        ("corp/user/carol".into(), Some("1-aaaaaaaaaaaaaaaa")),
        ("corp/group/analysts".into(), None),
        ("corp/group/deployers".into(), Some("2-b")),
    ];
    assert_eq!(made_from, expected);
}
