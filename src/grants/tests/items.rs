//! Is an item read as it was meant, or told to be unusable at the right place?

use super::*;

fn told(item: Value) -> Vec<String> {
    let Value::Object(attributes) = item else { panic!("an item is an object") };
    Item::read(&attributes).err().map(|problems| problems.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

fn mistakes() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let seconds = "must be whole seconds, 900 to 129600";
    let epoch = "must be whole seconds since the epoch";
    let (flag, string, known) = ("must be true or false", "must be a string", "is not an attribute that this version");
    let arns = "must be a list of ARNs of managed policies";
    let arn = "must be the ARN of a managed policy, `arn:PARTITION:iam::ACCOUNT:policy/NAME`: `";
    let key = "the tag key ";
    vec![
        ("colour", json!("red"), "/colour", known),
        ("Policy", json!({}), "/Policy", known),
        ("grant", json!("default"), "/grant", known),
        ("a/b~c", json!(1), "/a~1b~0c", known),
        ("aws:rep", json!(true), "/aws:rep", known),
        ("aws:repdeleting", json!(true), "/aws:repdeleting", known),
        ("AWS:rep:deleting", json!(true), "/AWS:rep:deleting", known),
        (" aws:rep:deleting", json!(true), "/ aws:rep:deleting", known),
        ("policy", json!(null), "/policy", "must be a JSON object"),
        ("policy", json!(7), "/policy", "must be a JSON object"),
        ("policy", json!("[]"), "/policy", "must be a JSON object"),
        ("policy", json!(""), "/policy", "is not JSON: "),
        ("policy", json!("{\"Statement\":[],\"Statement\":[]}"), "/policy", "is not JSON: an object has two members"),
        ("policy", json!({}), "/policy/Statement", "must be a statement or a list of at least one"),
        ("policy_arns", json!("arn:aws:iam::aws:policy/ReadOnlyAccess"), "/policy_arns", arns),
        ("policy_arns", json!(["arn:aws:iam::aws:policy/ReadOnlyAccess", 7]), "/policy_arns/1", arn),
        ("policy_arns", json!(["arn:aws:iam::aws:role/ReadOnlyAccess"]), "/policy_arns/0", arn),
        ("policy_arns", json!(["arn:aws:iam::aws:policy/${jwt:/sub}"]), "/policy_arns/0", arn),
        ("policy_arns", json!(["arn:aws:iam::${AWS::AccountId}:policy/Reader"]), "/policy_arns/0", arn),
        ("policy_arns", json!(["arn:aws-foo:iam::aws:policy/ReadOnlyAccess"]), "/policy_arns/0", arn),
        ("policy_arns", json!(["arn:*:iam::aws:policy/ReadOnlyAccess"]), "/policy_arns/0", arn),
        ("policy_arns", json!(null), "/policy_arns", arns),
        ("max_duration", json!(899), "/max_duration", seconds),
        ("max_duration", json!(129_601), "/max_duration", seconds),
        ("max_duration", json!(3_600.5), "/max_duration", seconds),
        ("max_duration", json!("3600"), "/max_duration", seconds),
        ("max_duration", json!(u64::MAX), "/max_duration", seconds),
        ("duration", json!(0), "/duration", seconds),
        ("duration", json!(-3_600), "/duration", seconds),
        ("duration", json!(null), "/duration", seconds),
        ("tags", json!([]), "/tags", "must map tag keys to strings"),
        ("tags", json!("team"), "/tags", "must map tag keys to strings"),
        ("tags", json!({"a/b": 7}), "/tags/a~1b", "must be a string"),
        ("tags", json!({"team": null}), "/tags/team", "must be a string"),
        ("tags", json!({"team": ["a"]}), "/tags/team", "must be a string"),
        ("tags", json!({"": "a"}), "/tags/", key),
        ("tags", json!({"a*b": "a"}), "/tags/a*b", key),
        ("tags", json!({"aws:team": "a"}), "/tags/aws:team", key),
        ("tags", json!({"Aws:team": "a"}), "/tags/Aws:team", key),
        ("tags", json!({"${jwt:/sub}": "a"}), "/tags/${jwt:~1sub}", key),
        (
            "tags",
            json!({"team": "${aws:userid}"}),
            "/tags/team",
            "contains a variable of IAM, which does not work in tags",
        ),
        ("tags", json!({"team": "${*}"}), "/tags/team", "contains a variable of IAM, which does not work in tags"),
        (
            "tags",
            json!({"team": "${opt:team}"}),
            "/tags/team",
            "contains `${opt:team}`, which the Serverless Framework should",
        ),
        (
            "tags",
            json!({"team": "{{resolve:ssm:/t}}"}),
            "/tags/team",
            "contains `{{resolve:ssm:/t}}`, which CloudFormation",
        ),
        ("tags", json!({"${self:x}": "a"}), "/tags/${self:x}", key),
        ("tags", json!({"team": "${jwt:sub}"}), "/tags/team", "contains an unknown form of a template"),
        ("tags", json!({"team": "${"}), "/tags/team", "contains a `${` that is not closed"),
        ("tags", json!({"team": "a", "Team": "a"}), "/tags", "has two keys that differ only in case"),
        ("tags", json!({"é": "a", "É": "a"}), "/tags", "has two keys that differ only in case"),
        ("pin_source_ip", json!("true"), "/pin_source_ip", flag),
        ("pin_source_ip", json!(1), "/pin_source_ip", flag),
        ("allow_iam", json!(null), "/allow_iam", flag),
        ("enabled", json!("false"), "/enabled", flag),
        ("not_before", json!("2026-11-22"), "/not_before", epoch),
        ("not_before", json!(1.5), "/not_before", epoch),
        ("not_after", json!(u64::MAX), "/not_after", epoch),
        ("not_after", json!(null), "/not_after", epoch),
        ("description", json!(7), "/description", string),
        ("revision", json!(7), "/revision", string),
        ("updated_by", json!(["carol"]), "/updated_by", string),
        ("updated_at", json!(true), "/updated_at", "must be a string or a number"),
    ]
}

fn mistakes_in_requirements() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let words = "must be a list of 1 to 16 strings of visible ASCII without spaces, `\"` and `\\`";
    let scalars = "must be a list of at least one string or boolean";
    let pointer = "must be named by a JSON pointer (RFC 6901)";
    let long = |length: usize| "a".repeat(length);
    vec![
        ("require", json!([]), "/require", "must be a map of `acr`, `amr`, `max_age` and `claims`"),
        ("require", json!(true), "/require", "must be a map of `acr`, `amr`, `max_age` and `claims`"),
        ("require", json!({"mfa": true}), "/require/mfa", "is not a requirement that this version knows"),
        ("require", json!({"a/b": true}), "/require/a~1b", "is not a requirement that this version knows"),
        ("require", json!({"max_age": "900"}), "/require/max_age", "must be whole seconds"),
        ("require", json!({"max_age": -1}), "/require/max_age", "must be whole seconds"),
        ("require", json!({"max_age": 1.5}), "/require/max_age", "must be whole seconds"),
        ("require", json!({"max_age": null}), "/require/max_age", "must be whole seconds"),
        ("require", json!({"acr": []}), "/require/acr", words),
        ("require", json!({"acr": "gold"}), "/require/acr", words),
        ("require", json!({"amr": (0..17).map(|n| format!("m{n}")).collect::<Vec<_>>()}), "/require/amr", words),
        ("require", json!({"acr": ["gold", 1]}), "/require/acr", words),
        ("require", json!({"acr": [""]}), "/require/acr", words),
        ("require", json!({"acr": ["a b"]}), "/require/acr", words),
        ("require", json!({"acr": ["a\"b"]}), "/require/acr", words),
        ("require", json!({"acr": ["a\\b"]}), "/require/acr", words),
        ("require", json!({"acr": ["é"]}), "/require/acr", words),
        ("require", json!({"acr": ["a\u{7f}"]}), "/require/acr", words),
        ("require", json!({"acr": [long(256)]}), "/require/acr", words),
        ("require", json!({"amr": []}), "/require/amr", words),
        ("require", json!({"amr": ["mfa", null]}), "/require/amr", words),
        ("require", json!({"amr": null}), "/require/amr", words),
        ("require", json!({"claims": []}), "/require/claims", "must map JSON pointers to lists of allowed values"),
        ("require", json!({"claims": {"team": ["a"]}}), "/require/claims/team", pointer),
        ("require", json!({"claims": {"": ["a"]}}), "/require/claims/", pointer),
        ("require", json!({"claims": {"/a~2": ["a"]}}), "/require/claims/~1a~02", pointer),
        ("require", json!({"claims": {"/team": []}}), "/require/claims/~1team", scalars),
        ("require", json!({"claims": {"/team": "a"}}), "/require/claims/~1team", scalars),
        ("require", json!({"claims": {"/team": ["a", 7]}}), "/require/claims/~1team", scalars),
        ("require", json!({"claims": {"/team": [null]}}), "/require/claims/~1team", scalars),
        ("require", json!({"claims": {"/team": [["a"]]}}), "/require/claims/~1team", scalars),
    ]
}

#[test]
fn every_mistake_in_an_item_is_told_at_its_place_with_its_remedy() {
    for (name, value, place, remedy) in mistakes().into_iter().chain(mistakes_in_requirements()) {
        let problems = told(json!({ name: value }));
        assert_eq!(problems.len(), 1, "{name}: {value}: {problems:?}");
        let expected = format!("{place} {remedy}");
        assert!(problems[0].starts_with(&expected), "{name}: {value}: {problems:?}, not {expected}");
        // And the grant with it, however good the others.
        let denied = session(&[item("s3:*"), json!({ name: value })]);
        assert!(matches!(denied, Err(Denied::Unusable(Unusable::Item { .. }))), "{name}: {value}");
    }
}

#[test]
fn every_attribute_can_be_said() {
    let everything = json!({
        "policy": policy("Allow", "s3:*"), "policy_arns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"],
        "max_duration": 129_600, "duration": 900,
        "tags": {"team": "${jwt:/department}", "cost center/é": "${session:name} 7", "empty": ""},
        "require": {
            "acr": ["urn:mace:incommon:iap:silver", "a".repeat(255)], "amr": ["mfa", "hwk"], "max_age": 0,
            "claims": {"/": [true], "/a~0b~1c/d": ["a", false, ""]},
        },
        "pin_source_ip": true, "allow_iam": true, "not_before": -1, "not_after": i64::MAX, "enabled": true,
        "description": "", "revision": "1-0123456789abcdef", "updated_at": "2026-11-22T12:00:00Z", "updated_by": "carol",
    });
    assert_eq!(told(everything), Vec::<String>::new());
    assert_eq!(told(json!({"updated_at": 1_800_000_000, "require": {}, "tags": {}, "policy_arns": []})), [""; 0]);
}

#[test]
fn what_replication_adds_to_an_item_changes_nothing() {
    let plain = item("s3:*");
    let mut replicated = plain.clone();
    for (name, value) in [
        ("aws:rep:deleting", json!(false)),
        ("aws:rep:updatetime", json!(1_795_348_800.123_456)),
        ("aws:rep:updateregion", json!("eu-west-1")),
        ("aws:rep:", json!(null)),
        ("aws:rep:later", json!({"a": [1]})),
    ] {
        replicated[name] = value;
    }
    assert_eq!(session(&[replicated.clone()]), session(&[plain]));
    assert_eq!(told(replicated), Vec::<String>::new());
}

#[test]
fn an_allow_that_names_iam_is_unusable_unless_it_is_meant() {
    let statement =
        |effect: &str, name: &str, actions: Value| json!({"Effect": effect, name: actions, "Resource": "*"});
    let of = |statements: Value, meant: Option<bool>| {
        let mut item = json!({"policy": {"Version": "2012-10-17", "Statement": statements}});
        if let Some(meant) = meant {
            item["allow_iam"] = meant.into();
        }
        told(item)
    };
    let remedy =
        "allows an `iam:` action, which works in a console session; if that is intended, set `allow_iam: true`";
    for action in ["iam:GetUser", "iam:*", "IAM:PassRole", "Iam:?"] {
        for meant in [None, Some(false)] {
            let one = statement("Allow", "Action", json!(action));
            assert_eq!(of(one.clone(), meant), [format!("/policy/Statement/Action {remedy}")]);
            let second = json!([statement("Allow", "Action", json!("s3:*")), one]);
            assert_eq!(of(second, meant), [format!("/policy/Statement/1/Action {remedy}")]);
        }
        assert_eq!(of(statement("Allow", "Action", json!(action)), Some(true)), Vec::<String>::new());
    }
    let listed = json!([
        statement("Allow", "Action", json!(["s3:*", "iam:GetUser"])),
        statement("Allow", "Action", json!("iam:*"))
    ]);
    let places = [format!("/policy/Statement/0/Action {remedy}"), format!("/policy/Statement/1/Action {remedy}")];
    assert_eq!(of(listed, None), places);
    for fine in [
        statement("Allow", "Action", json!("*")),
        statement("Allow", "Action", json!("*:*")),
        statement("Allow", "Action", json!("iamx:GetUser")),
        statement("Allow", "NotAction", json!("iam:*")),
        statement("Allow", "NotAction", json!("s3:*")),
        statement("Deny", "Action", json!("iam:*")),
        statement("Allow", "Action", json!("sts:GetCallerIdentity")),
    ] {
        assert_eq!(of(fine.clone(), None), Vec::<String>::new(), "{fine}");
    }
}

#[test]
fn what_an_operator_meant_for_one_item_is_not_meant_for_another() {
    let iam = |meant: bool| json!({"policy": policy("Allow", "iam:GetUser"), "allow_iam": meant});
    assert!(session(&[iam(true)]).is_ok());
    assert!(matches!(session(&[iam(true), iam(false)]), Err(Denied::Unusable(Unusable::Item { .. }))));
    assert!(session(&[iam(true), item("s3:*")]).is_ok());
}

#[test]
fn a_deny_that_would_lapse_is_told() {
    let remedy = "/policy has a Deny that would not apply outside `not_before` and `not_after`; move the Deny";
    let mixed = json!([
        {"Effect": "Allow", "Action": "*", "Resource": "*"}, {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]);
    for time in ["not_before", "not_after"] {
        let item = json!({"policy": {"Version": "2012-10-17", "Statement": mixed}, time: 1});
        let problems = told(item);
        assert!(problems.len() == 1 && problems[0].starts_with(remedy), "{problems:?}");
    }
    assert_eq!(told(json!({"policy": policy("Allow", "s3:*"), "not_before": 1, "not_after": 2})), Vec::<String>::new());
    assert_eq!(told(json!({ "policy": policy("Deny", "s3:*") })), Vec::<String>::new());
}

#[test]
fn a_policy_in_json_text_is_read_with_its_pointers() {
    let text = |document: &str| told(json!({ "policy": document }));
    assert_eq!(text(&policy("Allow", "s3:*").to_string()), Vec::<String>::new());
    let problems = text(r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"x","Resource":"*"}]}"#);
    assert_eq!(
        problems,
        ["/policy/Statement/0/Action must be `*` or `service:Action`, the service without wildcards: `x`"]
    );
    assert!(text("{} {}")[0].starts_with("/policy is not JSON: "));
    assert!(text(&"[".repeat(65))[0].starts_with("/policy is not JSON: "));
}
