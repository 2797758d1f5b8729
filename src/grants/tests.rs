//! Does what matches merge to what all of it allows?

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use proptest::sample::subsequence;
use serde_json::{Value, json};

use super::*;
use crate::credentials::{FederatedName, PolicyArn, SessionDuration};
use crate::identity::{KeySet, UnverifiedToken, parse_issuers, verify};
use crate::problems::Problems;
use crate::support::signer::{TestKey, valid_claims};

const ISSUER: &str = "https://login.example.com";
const NOW: u64 = 1_800_000_000;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn caller_with(more: &Value, claims: &Value) -> Caller {
    let key = TestKey::ed25519("k1");
    let mut entry = json!({"id": "corp", "issuer": ISSUER, "audiences": ["hallpass"], "algorithms": ["EdDSA"]});
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let issuer = parse_issuers(&json!([entry]).to_string(), &mut Problems::default()).remove(0);
    let keys = KeySet::parse(json!({"keys": [key.jwk()]}).to_string().as_bytes()).unwrap();
    let token = key.sign(&json!({"alg": "EdDSA"}), claims);
    verify(UnverifiedToken::parse(&token).unwrap(), &issuer, &keys, now()).unwrap()
}

fn caller() -> Caller {
    let mut claims = valid_claims(ISSUER, NOW);
    claims["groups"] = json!(["deployers", "analysts"]);
    caller_with(&json!({}), &claims)
}

/// One item for each value, in the order of the caller's principals: user, analysts, deployers, everyone.
fn matches(items: &[Value]) -> Matches {
    let stored = Principal::of(&caller())
        .into_iter()
        .zip(items)
        .map(|(principal, item)| StoredItem { principal, attributes: item.as_object().unwrap().clone() });
    Matches { items: stored.collect(), ..Matches::default() }
}

fn request(seconds: Option<i64>) -> Request {
    let duration = seconds.map(|seconds| SessionDuration::from_secs(seconds).unwrap());
    Request { grant: GrantName::default(), duration, source_ip: Some("203.0.113.7".parse().unwrap()) }
}

fn session(items: &[Value]) -> Result<Session, Denied> {
    asking(items, None)
}

fn asking(items: &[Value], seconds: Option<i64>) -> Result<Session, Denied> {
    authorize(&caller(), &request(seconds), matches(items), now()).map(|pending| pending.session)
}

fn policy(effect: &str, action: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{"Sid": "One", "Effect": effect, "Action": action, "Resource": "*"}]})
}

fn item(action: &str) -> Value {
    json!({ "policy": policy("Allow", action) })
}

fn with(name: &str, value: Value) -> Value {
    let mut item = item("s3:GetObject");
    item[name] = value;
    item
}

fn statements(session: &Session) -> Vec<Value> {
    let policy: Value = serde_json::from_str(session.policy().unwrap().as_str()).unwrap();
    assert_eq!(policy["Version"], "2012-10-17");
    policy["Statement"].as_array().unwrap().clone()
}

#[test]
fn grant_names_keep_to_their_grammar() {
    for good in ["default", "d", "0", "shop.deploy_v2-x", &"a".repeat(64)] {
        assert!(GrantName::new(good).is_some(), "{good}");
    }
    for bad in ["", "#blocked", "Default", ".a", "-a", "_a", "a b", "é", &"a".repeat(65)] {
        assert!(GrantName::new(bad).is_none(), "{bad}");
    }
}

#[test]
fn principals_are_the_user_the_groups_and_everyone_of_the_issuer() {
    let principals: Vec<String> = Principal::of(&caller()).iter().map(ToString::to_string).collect();
    assert_eq!(principals, ["corp/user/carol", "corp/group/analysts", "corp/group/deployers", "corp/everyone"]);
}

#[test]
fn nothing_that_matches_is_no_grant() {
    assert_eq!(session(&[]), Err(Denied::NoGrant));
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
    assert_eq!(session(&[arns(0..6), arns(5..11)]), Err(Denied::TooManyArns(11)));
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
    let over = Denied::OverMaximum {
        asked: SessionDuration::from_secs(7_201).unwrap(),
        maximum: SessionDuration::from_secs(7_200).unwrap(),
    };
    assert_eq!(seconds(&[json!({"max_duration": 7_200})], Some(7_201)), Err(over));
}

#[test]
fn more_statements_than_fit_are_refused_without_comparing_them_all() {
    let many = |from: usize| {
        let statement = |number| json!({"Effect": "Deny", "Action": "*", "Resource": format!("arn:aws:s3:::{number}")});
        json!({"policy": {"Version": "2012-10-17", "Statement": (from..from + 44).map(statement).collect::<Vec<_>>()}})
    };
    assert!(matches!(session(&[many(0)]), Err(Denied::PolicyTooLarge { .. })));
    assert_eq!(session(&[many(0), many(44)]), Err(Denied::TooManyStatements));
}

#[test]
fn a_session_ends_with_its_grant() {
    let until = |seconds: u64| json!({"not_after": NOW + seconds, "max_duration": 7_200});
    assert_eq!(session(&[until(1_000)]).unwrap().duration().as_secs(), 1_000);
    assert_eq!(asking(&[until(1_000)], Some(7_200)).unwrap().duration().as_secs(), 1_000);
    assert_eq!(session(&[until(900)]).unwrap().duration().as_secs(), 900);
    assert_eq!(session(&[until(899)]), Err(Denied::OutOfTime));
    assert_eq!(asking(&[until(2_000), until(1_000)], None).unwrap().duration().as_secs(), 1_000);
    let half_a_second_later = now() + Duration::from_millis(500);
    let late = authorize(&caller(), &request(None), matches(&[until(900)]), half_a_second_later);
    assert_eq!(late, Err(Denied::OutOfTime), "no session outlives its grant by a fraction");
}

#[test]
fn an_item_outside_its_time_takes_its_limits_with_it() {
    for (name, value) in [("not_before", NOW + 1), ("not_after", NOW - 1)] {
        let mut outside = json!({"max_duration": 900, "policy": policy("Allow", "s3:*")});
        outside[name] = value.into();
        assert_eq!(session(&[outside.clone()]), Err(Denied::OutOfTime));
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
    assert_eq!(with_exp(899), Err(Denied::TokenEndsTooSoon));
}

#[test]
fn refusals_come_in_their_order() {
    let principal = |index: usize| Principal::of(&caller())[index].clone();
    let disabled = with("enabled", json!(false));
    let over = with("not_after", (NOW - 1).into());
    let malformed = with("colour", "red".into());
    assert_eq!(session(&[item("s3:*"), disabled.clone()]), Err(Denied::Disabled(principal(1))));
    assert!(matches!(session(&[disabled.clone(), malformed.clone()]), Err(Denied::Unusable { .. })));
    assert!(matches!(session(&[over.clone(), malformed.clone()]), Err(Denied::Unusable { .. })));
    let mut blocked = matches(&[malformed]);
    blocked.blocked.push(principal(2));
    assert_eq!(authorize(&caller(), &request(None), blocked, now()), Err(Denied::Blocked(principal(2))));
    let mut disabled_and_over = disabled;
    disabled_and_over["not_after"] = (NOW - 1).into();
    assert!(matches!(session(&[disabled_and_over]), Err(Denied::Disabled(_))), "out of its time it refuses still");
    assert!(matches!(asking(&[over], Some(129_600)), Err(Denied::OutOfTime)));
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
    assert_eq!(session(&[long(2_049 - overhead)]), Err(Denied::PolicyTooLarge { characters: 2_049 }));
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

fn problems(document: &Value) -> Vec<String> {
    match Policy::parse(document, "") {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(|problem| problem.split(' ').next().unwrap().to_owned()).collect(),
    }
}

fn statement_with(name: &str, value: Value) -> Value {
    let mut policy = policy("Allow", "s3:GetObject");
    policy["Statement"][0][name] = value;
    policy
}

fn statement_without(name: &str) -> Value {
    let mut policy = policy("Allow", "s3:GetObject");
    policy["Statement"][0].as_object_mut().unwrap().remove(name);
    policy
}

#[test]
fn policies_of_iams_grammar_are_understood() {
    for good in [
        policy("Allow", "*"),
        policy("Deny", "s3:Get*"),
        statement_with("Action", json!(["s3:GetObject", "ec2:Describe?mages", "elasticloadbalancing-v2:X"])),
        statement_with(
            "Resource",
            json!(["arn:aws:s3:::bucket/${aws:userid}/*", "arn:aws:sqs:eu-west-1:111122223333:q"]),
        ),
        statement_with(
            "Condition",
            json!({
                "StringEquals": {"aws:PrincipalTag/team": ["a", "b"]},
                "ForAllValues:StringLikeIfExists": {"aws:TagKeys": "x*"},
                "Bool": {"aws:SecureTransport": true},
                "NumericLessThan": {"s3:max-keys": 10},
                "Null": {"aws:TokenIssueTime": "false"},
            "StringNotLike": {"aws:PrincipalTag/team": "${aws:PrincipalTag/team, 'none'}/${*}${?}${$}"},
            }),
        ),
        json!({"Statement": {"Effect": "Allow", "NotAction": "iam:*", "NotResource": "arn:aws:s3:::secret"}}),
        json!({"Version": "2008-10-17", "Id": "x", "Statement": [{"Effect": "Deny", "Action": "iam:*", "Resource": "*"}]}),
    ] {
        assert_eq!(problems(&good), Vec::<String>::new(), "{good}");
    }
}

#[test]
fn what_iams_grammar_does_not_have_is_refused_at_its_place() {
    let condition = |condition: Value| statement_with("Condition", condition);
    for (document, place) in [
        (json!("policy"), ""),
        (json!({"Version": "2012-10-17"}), "/Statement"),
        (json!({"Version": "2012-10-17", "Statement": []}), "/Statement"),
        (json!({"Version": "2012-10-17", "Statement": ["x"]}), "/Statement/0"),
        (json!({"Version": "2020-01-01", "Statement": policy("Allow", "*")["Statement"]}), "/Version"),
        (json!({"Version": 2012, "Statement": policy("Allow", "*")["Statement"]}), "/Version"),
        (json!({"Version": "2012-10-17", "Statement": policy("Allow", "*")["Statement"], "a/b": 1}), "/a~1b"),
        (json!({"Version": "2012-10-17", "Id": 1, "Statement": policy("Allow", "*")["Statement"]}), "/Id"),
        (statement_with("Principal", "*".into()), "/Statement/0/Principal"),
        (statement_with("effect", "Allow".into()), "/Statement/0/effect"),
        (statement_with("Sid", json!(1)), "/Statement/0/Sid"),
        (statement_with("Effect", "allow".into()), "/Statement/0/Effect"),
        (statement_without("Effect"), "/Statement/0/Effect"),
        (statement_without("Action"), "/Statement/0"),
        (statement_without("Resource"), "/Statement/0"),
        (statement_with("NotAction", "s3:*".into()), "/Statement/0"),
        (statement_with("NotResource", "*".into()), "/Statement/0"),
        (statement_with("Action", json!([])), "/Statement/0/Action"),
        (statement_with("Action", json!(1)), "/Statement/0/Action"),
        (statement_with("Action", json!(["s3:*", null])), "/Statement/0/Action/1"),
        (statement_with("Action", "GetObject".into()), "/Statement/0/Action"),
        (statement_with("Action", "s*:GetObject".into()), "/Statement/0/Action"),
        (statement_with("Action", "s3:".into()), "/Statement/0/Action"),
        (statement_with("Action", "s3:Get Object".into()), "/Statement/0/Action"),
        (statement_with("Resource", json!([])), "/Statement/0/Resource"),
        (statement_with("Resource", "bucket".into()), "/Statement/0/Resource"),
        (statement_with("Resource", "arn:aws:s3".into()), "/Statement/0/Resource"),
        (statement_with("Resource", "arn:aws:s3:::home/${JWT:/sub}".into()), "/Statement/0/Resource"),
        (statement_with("Resource", "arn:aws:s3:::home/${ session:name}".into()), "/Statement/0/Resource"),
        (statement_with("Resource", "arn:aws:s3:::home/${aws:userid".into()), "/Statement/0/Resource"),
        (statement_with("Resource", "arn:aws:s3:::home/${}".into()), "/Statement/0/Resource"),
        (statement_with("Resource", "arn:aws:s3:::home/${aws:${x}}".into()), "/Statement/0/Resource"),
        (json!({"Version": "2012-10-17", "Statement": vec![json!({}); 45]}), "/Statement"),
        (condition(json!({"NumericEquals": {"a": 1e3}})), "/Statement/0/Condition/NumericEquals/a"),
        (condition(json!([])), "/Statement/0/Condition"),
        (condition(json!({"StringIs": {"a": "b"}})), "/Statement/0/Condition/StringIs"),
        (condition(json!({"NullIfExists": {"a": "true"}})), "/Statement/0/Condition/NullIfExists"),
        (condition(json!({"StringEquals": {}})), "/Statement/0/Condition/StringEquals"),
        (condition(json!({"StringEquals": "x"})), "/Statement/0/Condition/StringEquals"),
        (condition(json!({"StringEquals": {"a/b": null}})), "/Statement/0/Condition/StringEquals/a~1b"),
        (condition(json!({"StringEquals": {"a": []}})), "/Statement/0/Condition/StringEquals/a"),
        (condition(json!({"StringEquals": {"a": [["b"]]}})), "/Statement/0/Condition/StringEquals/a/0"),
        (condition(json!({"StringEquals": {"${jwt:/a}": "b"}})), "/Statement/0/Condition/StringEquals/${jwt:~1a}"),
    ] {
        assert_eq!(problems(&document), [place], "{document}");
    }
}

#[test]
fn variables_need_the_version_in_which_they_are_variables() {
    let mut policy = statement_with("Resource", "arn:aws:s3:::home/${aws:userid}".into());
    assert_eq!(problems(&policy), Vec::<String>::new());
    policy["Version"] = "2008-10-17".into();
    assert_eq!(problems(&policy), ["/Version"]);
    policy.as_object_mut().unwrap().remove("Version");
    assert_eq!(problems(&policy), ["/Version"]);
}

/// An item that may be anything that a table can hold: usable or not.
fn any_item() -> impl Strategy<Value = Value> {
    let action = prop_oneof![Just("s3:GetObject"), Just("s3:PutObject"), Just("sqs:SendMessage")];
    let statement = (prop_oneof![4 => Just("Allow"), 1 => Just("Deny")], action)
        .prop_map(|(effect, action)| json!({"Effect": effect, "Action": action, "Resource": "*"}));
    let policy = prop::option::of(prop::collection::vec(statement, 1..3));
    let seconds = || prop::option::weighted(0.5, 900_i64..10_000);
    let time = || prop::option::weighted(0.2, -2_000_i64..4_000);
    let enabled = prop::option::weighted(0.1, any::<bool>());
    let unknown = prop::option::weighted(0.05, Just(true));
    (policy, seconds(), seconds(), time(), time(), enabled, unknown).prop_map(
        |(policy, maximum, default, begin, end, enabled, unknown)| {
            let now = i64::try_from(NOW).unwrap();
            let mut item = serde_json::Map::new();
            let mut put = |name: &str, value: Option<Value>| {
                item.extend(value.map(|value| (name.to_owned(), value)));
            };
            put("policy", policy.map(|list| json!({"Version": "2012-10-17", "Statement": list})));
            put("max_duration", maximum.map(Value::from));
            put("duration", default.map(Value::from));
            put("not_before", begin.map(|offset| json!(now + offset)));
            put("not_after", end.map(|offset| json!(now + offset)));
            put("enabled", enabled.map(Value::from));
            put("unknown", unknown.map(Value::from));
            Value::Object(item)
        },
    )
}

/// The rules once more, as plainly as they can be written: statements and seconds, or nothing.
fn model(items: &[Value], asked: Option<i64>) -> Option<(Vec<Value>, i64)> {
    let now = i64::try_from(NOW).unwrap();
    let number = |item: &Value, name: &str| item.get(name).and_then(Value::as_i64);
    let list = |item: &Value| item.pointer("/policy/Statement").and_then(Value::as_array).cloned().unwrap_or_default();
    for item in items {
        let timed = item.get("not_before").is_some() || item.get("not_after").is_some();
        let lapsing = timed && list(item).iter().any(|statement| statement["Effect"] == "Deny");
        if item.get("unknown").is_some() || lapsing || item.get("enabled") == Some(&json!(false)) {
            return None;
        }
    }
    let in_time = |item: &&Value| {
        number(item, "not_before").unwrap_or(0) <= now && number(item, "not_after").unwrap_or(i64::MAX) - now >= 900
    };
    let items: Vec<&Value> = items.iter().filter(in_time).collect();
    let maximum = items.iter().map(|item| number(item, "max_duration").unwrap_or(3_600)).min()?;
    let default = items.iter().map(|item| number(item, "duration").unwrap_or(3_600)).min()?;
    if asked.is_some_and(|asked| asked > maximum) {
        return None;
    }
    let end = items.iter().filter_map(|item| number(item, "not_after")).min().unwrap_or(i64::MAX);
    let mut merged = Vec::new();
    for statement in items.iter().flat_map(|item| list(item)) {
        if !merged.contains(&statement) {
            merged.push(statement);
        }
    }
    merged.sort_by_key(ToString::to_string);
    Some((merged, asked.unwrap_or(default).min(maximum).min(end - now)))
}

fn outcome(items: &[Value], asked: Option<i64>) -> Option<(Vec<Value>, i64)> {
    let session = asking(items, asked).ok()?;
    let statements = session.policy().map(|_| statements(&session)).unwrap_or_default();
    Some((statements, session.duration().as_secs().into()))
}

proptest! {
    #[test]
    fn a_session_is_what_the_naive_model_says(
        items in prop::collection::vec(any_item(), 0..4),
        asked in prop::option::of(900_i64..10_000),
    ) {
        prop_assert_eq!(outcome(&items, asked), model(&items, asked));
    }

    #[test]
    fn the_order_of_items_is_irrelevant(items in prop::collection::vec(any_item(), 2..4)) {
        let mut reversed = items.clone();
        reversed.reverse();
        prop_assert_eq!(outcome(&items, None), outcome(&reversed, None));
    }

    #[test]
    fn a_session_is_never_made_from_a_part_of_what_matched(
        (items, part) in prop::collection::vec(any_item(), 1..4).prop_flat_map(|items| {
            let count = items.len();
            (Just(items.clone()), subsequence(items, 1..=count))
        })
    ) {
        // Whatever a part may not have, the whole may not have either, but for items that are out of their time.
        let unusable = |items: &[Value]| items.iter().any(|item| {
            matches!(session(std::slice::from_ref(item)), Err(Denied::Unusable { .. } | Denied::Disabled(_)))
        });
        if unusable(&part) {
            prop_assert!(session(&items).is_err());
        }
    }

    #[test]
    fn no_policy_makes_the_parser_panic(text in "\\PC{0,200}") {
        let _ = Item::read(json!({ "policy": text }).as_object().unwrap().clone());
    }
}
