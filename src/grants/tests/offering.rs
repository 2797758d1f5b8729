//! What could a caller ask for now?

use super::*;

fn holdings(caller: &Caller, grants: &[(&str, &[Value])]) -> Holdings {
    let grant = |(name, items): &(&str, &[Value])| (GrantName::new(name).unwrap(), matches_of(caller, items).items);
    Holdings { grants: grants.iter().map(grant).collect(), ..Holdings::default() }
}

fn offered(grants: &[(&str, &[Value])]) -> Vec<Offer> {
    let caller = caller();
    offers(&caller, holdings(&caller, grants), Some(address()), now()).unwrap()
}

fn names(offers: &[Offer]) -> Vec<&str> {
    offers.iter().map(|offer| offer.grant.as_str()).collect()
}

#[test]
fn a_grant_is_offered_with_its_description_and_longest_session() {
    let offers = offered(&[
        ("default", &[json!({})]),
        ("deploy", &[json!({"max_duration": 7_200}), json!({"description": "Deployers", "max_duration": 5_400})]),
        ("read", &[json!({"description": "first"}), json!({"description": "second"})]),
    ]);
    let offer = |name: &str, description: Option<&str>, seconds| Offer {
        grant: GrantName::new(name).unwrap(),
        description: description.map(str::to_owned),
        max_duration: SessionDuration::from_secs(seconds).unwrap(),
        requires: StepUp::default(),
    };
    assert_eq!(
        offers,
        [offer("default", None, 3_600), offer("deploy", Some("Deployers"), 5_400), offer("read", Some("first"), 3_600)]
    );
}

#[test]
fn what_would_be_refused_is_left_out() {
    let arns = |from: usize| {
        let arns = (from..from + 6).map(|number| format!("arn:aws:iam::aws:policy/P{number}"));
        json!({"policy_arns": arns.collect::<Vec<_>>()})
    };
    let (good, tagged) = (json!({}), |value: &str| json!({"tags": {"team": value}}));
    let on = |resource: &str| {
        let statement = json!({"Effect": "Deny", "Action": "s3:*", "Resource": resource});
        json!({"policy": {"Version": "2012-10-17", "Statement": statement}})
    };
    let large = |letter: &str| on(&format!("arn:aws:s3:::{}", letter.repeat(1_100)));
    let left_out: [(&str, Vec<Value>); 18] = [
        ("disabled", vec![good.clone(), json!({"enabled": false})]),
        ("early", vec![json!({"not_before": NOW + 1})]),
        ("late", vec![json!({"not_after": NOW + 899})]),
        ("malformed", vec![good.clone(), json!({"colour": "red"})]),
        ("contradictory", vec![json!({"require": {"acr": ["a"]}}), json!({"require": {"acr": ["b"]}})]),
        ("claim", vec![json!({"require": {"claims": {"/sub": ["mallory"]}}})]),
        ("template", vec![tagged("${jwt:/absent}")]),
        ("alphabet", vec![tagged("a,b")]),
        ("two-values", vec![tagged("a"), tagged("b")]),
        ("case", vec![tagged("a"), json!({"tags": {"Team": "a"}})]),
        ("arns", vec![arns(0), arns(5)]),
        ("nothing", vec![]),
        ("policy", vec![json!({"policy": {}})]),
        ("placeholder", vec![on("arn:aws:s3:::${self:custom.bucket}")]),
        ("arn", vec![good.clone(), on("arn:aws:s*:::b")]),
        ("claim-of-policy", vec![on("arn:aws:s3:::${jwt:/absent}")]),
        ("large", vec![large("a"), large("b")]),
        ("iam", vec![json!({"policy": policy("Allow", "iam:GetUser")})]),
    ];
    for (name, items) in &left_out {
        assert_eq!(names(&offered(&[("a", &[json!({})]), (name, items), ("z", &[json!({})])])), ["a", "z"], "{name}");
        assert!(session(items).is_err(), "{name}: what is left out would be refused");
    }
}

#[test]
fn what_this_sign_in_does_not_meet_is_told_and_nothing_else() {
    let require = json!({"require": {"acr": ["gold", "silver"], "amr": ["mfa", "hwk"], "max_age": 900}});
    let requires = |claims: Value| {
        let caller = caller_claiming(&json!({}), &claims);
        let offers =
            offers(&caller, holdings(&caller, &[("default", std::slice::from_ref(&require))]), Some(address()), now())
                .unwrap();
        offers[0].requires.clone()
    };
    let all = StepUp {
        acr_values: vec!["gold".into(), "silver".into()],
        amr_values: vec!["hwk".into(), "mfa".into()],
        max_age: Some(900),
    };
    assert_eq!(requires(json!({})), all);
    assert_eq!(requires(json!({"acr": "silver"})), StepUp { acr_values: vec![], ..all.clone() });
    assert_eq!(requires(json!({"amr": ["hwk"]})), all, "all methods are asked for again");
    assert_eq!(requires(json!({"amr": ["mfa", "hwk"]})), StepUp { amr_values: vec![], ..all.clone() });
    assert_eq!(requires(json!({"auth_time": NOW})), StepUp { max_age: None, ..all });
    let met = requires(json!({"acr": "gold", "amr": ["hwk", "mfa"], "auth_time": NOW}));
    assert!(met.is_empty() && met == StepUp::default());
}

#[test]
fn the_longest_session_is_cut_to_the_grants_end_and_to_the_tokens() {
    let until = |seconds: u64| json!({"max_duration": 7_200, "not_after": NOW + seconds});
    let longest = |items: &[Value]| offered(&[("default", items)])[0].max_duration.as_secs();
    assert_eq!(longest(&[until(5_000)]), 5_000);
    assert_eq!(longest(&[until(900)]), 900);
    assert_eq!(longest(&[until(10_000)]), 7_200);
    let ending = |exp: u64| {
        let caller = caller_claiming(&json!({"session_ends_with_token": true}), &json!({"exp": NOW + exp}));
        let grants: [(&str, &[Value]); 2] = [("a", &[json!({"max_duration": 7_200})]), ("b", &[json!({})])];
        let offers = offers(&caller, holdings(&caller, &grants), Some(address()), now());
        offers.map(|offers| offers.iter().map(|offer| offer.max_duration.as_secs()).collect::<Vec<_>>())
    };
    assert_eq!(ending(5_000), Ok(vec![5_000, 3_600]));
    assert_eq!(ending(900), Ok(vec![900, 900]));
    assert_eq!(ending(899), Err(Denied::Refused(Refused::TokenEndsTooSoon)));
}

#[test]
fn a_blocked_caller_or_one_with_another_s_name_is_offered_nothing() {
    let caller = caller();
    let mut blocked = holdings(&caller, &[("default", &[json!({})])]);
    blocked.blocked = Principal::of(&caller).split_off(3);
    assert_eq!(
        offers(&caller, blocked, Some(address()), now()),
        Err(Denied::Refused(Refused::Blocked(Principal::of(&caller)[3].clone())))
    );

    let named = caller_claiming(&json!({"name_claim": "/u"}), &json!({"u": "Carol"}));
    let of = |owner: Option<&str>| {
        let mut holdings = holdings(&named, &[("default", &[json!({})])]);
        holdings.name_owner = owner.map(str::to_owned);
        offers(&named, holdings, Some(address()), now()).map(|offers| offers.len())
    };
    assert_eq!(of(Some("corp/user/carol")), Ok(1));
    assert_eq!(of(None), Err(Denied::Refused(Refused::NameOwned { name: "carol".into(), owner: None })));
    let other = Some("corp/user/bob".to_owned());
    assert_eq!(of(other.as_deref()), Err(Denied::Refused(Refused::NameOwned { name: "carol".into(), owner: other })));

    let unfit = caller_claiming(&json!({"name_claim": "/u"}), &json!({}));
    let nothing = offers(&unfit, Holdings::default(), Some(address()), now());
    assert_eq!(nothing, Err(Denied::Unusable(Unusable::Name(NameError::Missing("/u".into())))));
}

#[test]
fn a_grant_that_pins_is_offered_to_those_who_have_an_address() {
    let caller = caller();
    let pinned = [json!({"policy": policy("Allow", "s3:*"), "pin_source_ip": true})];
    let count = |source_ip| {
        let grants: [(&str, &[Value]); 2] = [("a", &[json!({})]), ("b", &pinned)];
        offers(&caller, holdings(&caller, &grants), source_ip, now()).unwrap().len()
    };
    assert_eq!((count(Some(address())), count(None)), (2, 1));
}

#[test]
fn a_name_that_would_be_taken_at_its_first_use_is_no_obstacle() {
    let caller = caller_claiming(&json!({"name_claim": "/u", "name_owners": "first_use"}), &json!({"u": "carol"}));
    assert_eq!(
        offers(&caller, holdings(&caller, &[("default", &[json!({})])]), Some(address()), now()).unwrap().len(),
        1
    );
}
