//! What AWS documents, as a table: the operators, and the examples of the IAM guide with their verdicts.

use super::*;

const YES: Decision = Decision::Allow;
const NO: Decision = Decision::ImplicitDeny;
const UNKNOWN: Decision = Decision::Unknown;

fn check(table: &[(&str, Value, Value, Decision)]) {
    for (operator, operand, value, expected) in table {
        let condition = json!({*operator: {"k:key": operand}});
        let found = under(&condition, &json!({"k:key": value}));
        assert_eq!(found, *expected, "{condition} of {value}");
    }
}

#[test]
fn strings() {
    check(&[
        ("StringEquals", json!("Carol"), json!("Carol"), YES),
        ("StringEquals", json!("Carol"), json!("carol"), NO),
        ("StringEquals", json!(["a", "b"]), json!("b"), YES),
        ("StringEquals", json!("c*"), json!("carol"), NO),
        ("StringEquals", json!("c*"), json!("c*"), YES),
        ("StringEquals", json!(7), json!("7"), YES),
        ("StringEquals", json!(true), json!("true"), YES),
        ("StringNotEquals", json!("carol"), json!("carol"), NO),
        ("StringNotEquals", json!("carol"), json!("Carol"), YES),
        ("StringNotEquals", json!(["a", "b"]), json!("b"), NO),
        ("StringNotEquals", json!(["a", "b"]), json!("c"), YES),
        ("StringEqualsIgnoreCase", json!("CÄrol"), json!("cärOL"), YES),
        ("StringEqualsIgnoreCase", json!("c*"), json!("carol"), NO),
        ("StringNotEqualsIgnoreCase", json!("carol"), json!("CAROL"), NO),
        ("StringLike", json!("c?r*"), json!("carol"), YES),
        ("StringLike", json!("C?r*"), json!("carol"), NO),
        ("StringLike", json!("*"), json!(""), YES),
        ("StringLike", json!("?"), json!(""), NO),
        ("StringLike", json!("a*b*c"), json!("a-b-b-c"), YES),
        ("StringLike", json!("a*b*c"), json!("a-b-b-d"), NO),
        ("StringLike", json!("${*}"), json!("x"), NO),
        ("StringLike", json!("${*}${?}${$}"), json!("*?$"), YES),
        ("StringEquals", json!("${*}"), json!("*"), YES),
        ("StringNotLike", json!("c*"), json!("carol"), NO),
        ("StringNotLike", json!(["a*", "b*"]), json!("carol"), YES),
    ]);
}

#[test]
fn numbers() {
    check(&[
        ("NumericEquals", json!(10), json!("10.0"), YES),
        ("NumericEquals", json!("+010.50"), json!("10.5"), YES),
        ("NumericEquals", json!("-0"), json!("0"), YES),
        ("NumericEquals", json!("9007199254740993"), json!("9007199254740992"), NO),
        ("NumericNotEquals", json!(10), json!("11"), YES),
        ("NumericNotEquals", json!([10, 11]), json!("11"), NO),
        ("NumericLessThan", json!(10), json!("9.99"), YES),
        ("NumericLessThan", json!(10), json!("10"), NO),
        ("NumericLessThan", json!([5, 10]), json!("7"), YES),
        ("NumericLessThan", json!("-2"), json!("-10"), YES),
        ("NumericLessThanEquals", json!(10), json!("10"), YES),
        ("NumericGreaterThan", json!(9), json!("10"), YES),
        ("NumericGreaterThan", json!("-1"), json!("-2"), NO),
        ("NumericGreaterThanEquals", json!(10), json!("9"), NO),
        // It is not a number, and whether it is "not equal" then is not documented.
        ("NumericEquals", json!(10), json!("ten"), NO),
        ("NumericNotEquals", json!(10), json!("ten"), UNKNOWN),
    ]);
}

#[test]
fn dates() {
    let noon = "2026-11-22T12:00:00Z";
    check(&[
        ("DateEquals", json!(noon), json!("2026-11-22T13:00:00+01:00"), YES),
        ("DateEquals", json!(noon), json!("2026-11-22T12"), YES),
        ("DateEquals", json!(noon), json!("1795348800"), YES),
        ("DateEquals", json!(1_795_348_800), json!(noon), YES),
        ("DateEquals", json!(noon), json!("2026-11-22t12:00:00.000000001z"), NO),
        ("DateNotEquals", json!(noon), json!("2026-11-22T12:00:01Z"), YES),
        ("DateLessThan", json!(noon), json!("2026-11-22T11:59:59Z"), YES),
        ("DateLessThan", json!(noon), json!("2026-11-22"), YES),
        ("DateLessThan", json!(noon), json!("2026-11-22T11:30:00-01:00"), NO),
        ("DateLessThanEquals", json!(noon), json!(noon), YES),
        ("DateGreaterThan", json!("2026-11"), json!(noon), YES),
        ("DateGreaterThanEquals", json!(noon), json!(noon), YES),
        // Four digits are a year or seconds.
        ("DateGreaterThan", json!("2026"), json!(noon), YES),
        ("DateLessThan", json!("2030"), json!(noon), UNKNOWN),
        // There is no such day, and a far year is not compared.
        ("DateLessThan", json!("2026-02-31"), json!(noon), UNKNOWN),
        ("DateLessThan", json!("292278993"), json!(noon), NO),
        ("DateLessThan", json!("12026-01-01"), json!(noon), UNKNOWN),
        ("DateLessThan", json!(noon), json!("soon"), NO),
        ("DateNotEquals", json!(noon), json!("soon"), UNKNOWN),
    ]);
}

#[test]
fn booleans_and_binary_values() {
    check(&[
        ("Bool", json!(true), json!("true"), YES),
        ("Bool", json!("TRUE"), json!("true"), YES),
        ("Bool", json!("false"), json!("true"), NO),
        ("Bool", json!(["true", "false"]), json!("true"), YES),
        ("Bool", json!(true), json!("yes"), NO),
        ("BinaryEquals", json!("QmluYXJ5"), json!("QmluYXJ5"), YES),
        ("BinaryEquals", json!("QmluYXJ5"), json!("qmluYXJ5"), NO),
        ("BinaryEquals", json!("QmluYXJ5"), json!("not base64"), NO),
    ]);
}

#[test]
fn addresses() {
    check(&[
        ("IpAddress", json!("203.0.113.0/24"), json!("203.0.113.255"), YES),
        ("IpAddress", json!("203.0.113.9/24"), json!("203.0.113.255"), YES),
        ("IpAddress", json!("203.0.113.0/24"), json!("203.0.114.0"), NO),
        ("IpAddress", json!("203.0.113.7"), json!("203.0.113.7"), YES),
        ("IpAddress", json!("203.0.113.7"), json!("203.0.113.8"), NO),
        ("IpAddress", json!(["10.0.0.0/8", "2001:db8::/32"]), json!("2001:db8:1::7"), YES),
        ("IpAddress", json!("2001:db8::/33"), json!("2001:db8:8000::7"), NO),
        ("IpAddress", json!("0.0.0.0/0"), json!("203.0.113.7"), YES),
        ("IpAddress", json!("0.0.0.0/0"), json!("2001:db8::7"), NO),
        ("IpAddress", json!("::/0"), json!("2001:db8::7"), YES),
        ("NotIpAddress", json!("203.0.113.0/24"), json!("203.0.113.7"), NO),
        ("NotIpAddress", json!(["203.0.113.0/24", "10.0.0.0/8"]), json!("192.0.2.1"), YES),
        ("IpAddress", json!("203.0.113.0/24"), json!("here"), NO),
        ("NotIpAddress", json!("203.0.113.0/24"), json!("here"), UNKNOWN),
    ]);
}

#[test]
fn arns_are_compared_part_by_part() {
    let topic = "arn:aws:sns:eu-west-1:111122223333:topic";
    check(&[
        ("ArnEquals", json!(topic), json!(topic), YES),
        ("ArnLike", json!("arn:aws:sns:*:111122223333:t*"), json!(topic), YES),
        ("ArnEquals", json!("arn:aws:sns:*:111122223333:t*"), json!(topic), YES),
        ("ArnLike", json!("arn:aws:sns:*:*:TOPIC"), json!(topic), NO),
        // A wildcard does not stand for a colon, except in the resource.
        ("ArnLike", json!("arn:aws:*:topic:x:*"), json!("arn:aws:sns:eu-west-1:topic:x:y"), NO),
        ("ArnLike", json!("arn:aws:*:1:*:topic"), json!("arn:aws:sns:eu:1:1:topic"), NO),
        ("ArnLike", json!("arn:aws:logs:*:*:*"), json!("arn:aws:logs:eu-west-1:1:log-group:x:*"), YES),
        ("ArnLike", json!("arn:aws:logs:*:*:log-group:x*y"), json!("arn:aws:logs:eu:1:log-group:x:y"), YES),
        ("ArnLike", json!("*"), json!(topic), YES),
        ("ArnLike", json!("arn:aws:sns:*"), json!(topic), UNKNOWN),
        ("ArnLike", json!("arn:aws:sqs:*"), json!(topic), NO),
        ("ArnLike", json!("*"), json!("carol"), NO),
        ("ArnNotEquals", json!(topic), json!(topic), NO),
        ("ArnNotLike", json!("arn:aws:sqs:*:*:*"), json!(topic), YES),
        ("ArnNotLike", json!("arn:aws:sqs:*:*:*"), json!("carol"), UNKNOWN),
    ]);
}

#[test]
fn a_key_that_is_absent() {
    check(&[
        ("StringEquals", json!("a"), json!(null), NO),
        ("StringNotEquals", json!("a"), json!(null), YES),
        ("StringNotLike", json!("a"), json!(null), YES),
        ("NumericLessThan", json!(1), json!(null), NO),
        ("NumericNotEquals", json!(1), json!(null), YES),
        ("DateNotEquals", json!(0), json!(null), YES),
        ("NotIpAddress", json!("10.0.0.0/8"), json!(null), YES),
        ("IpAddress", json!("10.0.0.0/8"), json!(null), NO),
        ("ArnNotLike", json!("*"), json!(null), YES),
        ("Bool", json!("false"), json!(null), NO),
        ("StringEqualsIfExists", json!("a"), json!(null), YES),
        ("StringEqualsIfExists", json!("a"), json!("b"), NO),
        ("BoolIfExists", json!("true"), json!("false"), NO),
        ("BoolIfExists", json!("true"), json!(null), YES),
        ("StringNotEqualsIfExists", json!("a"), json!("a"), NO),
        ("Null", json!(true), json!(null), YES),
        ("Null", json!("true"), json!("a"), NO),
        // "The key exists and its value is not null", and an empty string may be a null dataset.
        ("Null", json!("true"), json!(""), UNKNOWN),
        ("Null", json!("true"), json!(["", "a"]), NO),
        ("Null", json!("false"), json!(["a", "b"]), YES),
        ("Null", json!("false"), json!(null), NO),
        ("Null", json!(["true", "false"]), json!(null), YES),
    ]);
}

#[test]
fn keys_of_several_values() {
    check(&[
        ("ForAllValues:StringEquals", json!(["a", "b"]), json!(["a"]), YES),
        ("ForAllValues:StringEquals", json!(["a", "b"]), json!(["b", "a"]), YES),
        ("ForAllValues:StringEquals", json!(["a", "b"]), json!(["a", "c"]), NO),
        ("ForAllValues:StringEquals", json!("a"), json!(null), YES),
        ("ForAllValues:StringEquals", json!("a"), json!([""]), YES),
        ("ForAllValues:StringEquals", json!("a"), json!(["", "a"]), NO),
        ("ForAllValues:StringNotEquals", json!(["a", "b"]), json!(["c", "d"]), YES),
        ("ForAllValues:StringNotEquals", json!(["a", "b"]), json!(["c", "a"]), NO),
        ("ForAnyValue:StringEquals", json!(["a", "b"]), json!(["c", "a"]), YES),
        ("ForAnyValue:StringEquals", json!(["a", "b"]), json!(["c"]), NO),
        ("ForAnyValue:StringEquals", json!("a"), json!(null), NO),
        ("ForAnyValue:StringLike", json!("*"), json!([""]), NO),
        ("ForAnyValue:StringNotEquals", json!("a"), json!(null), NO),
        ("ForAnyValue:StringNotEquals", json!("a"), json!(["a", "b"]), YES),
        ("ForAnyValue:StringNotEquals", json!("a"), json!(["a"]), NO),
        ("ForAllValues:StringEqualsIfExists", json!("a"), json!(null), YES),
        ("ForAnyValue:StringEqualsIfExists", json!("a"), json!(null), YES),
        // Without a set operator, only what holds of all values or of none is certain.
        ("StringEquals", json!(["a", "b"]), json!(["a", "b"]), YES),
        ("StringEquals", json!("a"), json!(["b", "c"]), NO),
        ("StringEquals", json!("a"), json!(["a", "b"]), UNKNOWN),
        ("StringNotEquals", json!("a"), json!(["a", "b"]), UNKNOWN),
        ("ForAllValues:Null", json!("true"), json!(null), UNKNOWN),
    ]);
}

#[test]
fn all_operators_and_all_keys_have_to_hold() {
    let condition = json!({
        "StringEquals": {"k:a": "1", "k:b": "2"},
        "NumericLessThan": {"k:c": 3},
    });
    let all = json!({"k:a": "1", "K:B": "2", "k:c": "2"});
    assert_eq!(under(&condition, &all), YES);
    for (key, value) in [("k:a", "2"), ("K:B", "1"), ("k:c", "3")] {
        let mut one_wrong = all.clone();
        one_wrong[key] = value.into();
        assert_eq!(under(&condition, &one_wrong), NO, "{key}");
        one_wrong.as_object_mut().unwrap().remove(key);
        assert_eq!(under(&condition, &one_wrong), UNKNOWN, "{key}");
        // One that is certain not to hold is enough.
        one_wrong["k:a"] = "9".into();
        assert_eq!(under(&condition, &one_wrong), NO, "{key}");
    }
}

#[test]
fn variables_stand_for_values_of_the_context() {
    let team = "aws:PrincipalTag/team";
    for (operator, operand, tag, value, expected) in [
        ("StringEquals", "${aws:PrincipalTag/team}", json!("red"), "red", YES),
        ("StringEquals", "${AWS:principaltag/TEAM}", json!("red"), "red", YES),
        ("StringEquals", "x-${aws:PrincipalTag/team}", json!("red"), "x-blue", NO),
        ("StringEquals", "${aws:PrincipalTag/team, 'none'}", json!(null), "none", YES),
        ("StringEquals", "${aws:PrincipalTag/team, ''}", json!(null), "", YES),
        ("StringEquals", "${aws:PrincipalTag/team,  'a, b'}", json!(null), "a, b", YES),
        ("StringEquals", "${aws:PrincipalTag/team, 'none'}", json!("red"), "none", NO),
        ("StringLike", "${aws:PrincipalTag/team}/*", json!("red"), "red/1", YES),
        // "The value is effectively null. There is no equal or like value."
        ("StringLike", "*${aws:PrincipalTag/team}*", json!(null), "red", NO),
        ("StringEquals", "${aws:PrincipalTag/team}", json!(null), "", NO),
        ("StringNotEquals", "${aws:PrincipalTag/team}", json!(null), "red", YES),
        ("StringNotLike", "*${aws:PrincipalTag/team}", json!(null), "red", YES),
        // What it stands for is no pattern.
        ("StringLike", "${aws:PrincipalTag/team}", json!("r*"), "red", NO),
        // A key "that has no value" counts as absent, and an empty string may be that.
        ("StringEquals", "${aws:PrincipalTag/team}", json!(""), "", UNKNOWN),
        ("StringEquals", "${aws:PrincipalTag/team}", json!(""), "red", NO),
        ("StringEquals", "${aws:PrincipalTag/team, 'red'}", json!(""), "red", UNKNOWN),
        // Keys of several values do not work as variables.
        ("StringEquals", "${aws:PrincipalTag/team}", json!(["red", "blue"]), "red", UNKNOWN),
    ] {
        let found = under(&json!({operator: {"k:key": operand}}), &json!({team: tag, "k:key": value}));
        assert_eq!(found, expected, "{operand} of {tag} and {value}");
    }
    let perhaps =
        |operand: &str, value: &str| under(&json!({"StringLike": {"k:key": operand}}), &json!({"k:key": value}));
    assert_eq!(perhaps("home/${aws:PrincipalTag/team}/*", "home/red/1"), UNKNOWN);
    assert_eq!(perhaps("home/${aws:PrincipalTag/team}/*", "work/red/1"), NO);
    assert_eq!(perhaps("${aws:PrincipalTag/team, 'none'}", "none"), UNKNOWN);
}

fn on(statement: &Value, action: &str, resource: &str, keys: &Value) -> Decision {
    let asked = Asked::new(action, resource).unwrap();
    evaluate(&policies(&[document(std::slice::from_ref(statement))]), None, &asked, &context(keys)).result.decision()
}

#[test]
fn actions_are_patterns_without_regard_to_case_and_resources_with_regard_to_it() {
    let object = "arn:aws:s3:::reports/2026/q3.csv";
    for (action, resource, expected) in [
        ("s3:GetObject", "*", YES),
        ("S3:GETOBJECT", "*", YES),
        ("s3:Get*", "*", YES),
        ("s3:?etObject", "*", YES),
        ("*", object, YES),
        ("*:*", object, YES),
        ("s3:PutObject", "*", NO),
        ("sqs:*", "*", NO),
        ("s3:*", "arn:aws:s3:::reports/*", YES),
        ("s3:*", "arn:aws:s3:::Reports/*", NO),
        ("s3:*", "arn:aws:s3:::reports", NO),
        ("s3:*", "arn:*:s3:::reports/????/*", YES),
        ("s3:*", "arn:aws:s3:::*q3*", YES),
    ] {
        let allow = statement("Allow", action, resource);
        assert_eq!(on(&allow, "s3:GetObject", object, &json!({})), expected, "{action} on {resource}");
        let mut all_but = json!({"Effect": "Allow", "NotAction": action, "Resource": "*"});
        if resource == "*" {
            let opposite = if expected == YES { NO } else { YES };
            assert_eq!(on(&all_but, "s3:GetObject", object, &json!({})), opposite, "all but {action}");
        }
        all_but = json!({"Effect": "Allow", "Action": action, "NotResource": resource});
        if action == "s3:*" {
            let opposite = if expected == YES { NO } else { YES };
            assert_eq!(on(&all_but, "s3:GetObject", object, &json!({})), opposite, "all but {resource}");
        }
    }
    assert_eq!(on(&statement("Allow", "s3:*", "*"), "s3:ListAllMyBuckets", "*", &json!({})), YES);
    assert_eq!(on(&statement("Allow", "s3:*", "arn:aws:s3:::*"), "s3:ListAllMyBuckets", "*", &json!({})), NO);
}

#[test]
fn a_resource_whose_variable_has_no_value_matches_nothing() {
    let home = "arn:aws:s3:::home/${aws:PrincipalTag/team}/*";
    let get = |statement: &Value, resource: &str, keys: Value| on(statement, "s3:GetObject", resource, &keys);
    let allow = statement("Allow", "s3:*", home);
    let red = "arn:aws:s3:::home/red/1";
    assert_eq!(get(&allow, red, json!({"aws:PrincipalTag/team": "red"})), YES);
    assert_eq!(get(&allow, red, json!({"aws:PrincipalTag/team": "blue"})), NO);
    assert_eq!(get(&allow, red, json!({"aws:PrincipalTag/team": null})), NO);
    assert_eq!(get(&allow, red, json!({})), UNKNOWN);
    assert_eq!(get(&allow, "arn:aws:s3:::work/red/1", json!({})), NO);
    let all_but = json!({"Effect": "Allow", "Action": "s3:*", "NotResource": home});
    assert_eq!(get(&all_but, red, json!({"aws:PrincipalTag/team": "red"})), NO);
    assert_eq!(get(&all_but, red, json!({"aws:PrincipalTag/team": null})), YES);
    assert_eq!(get(&all_but, red, json!({})), UNKNOWN);
    assert_eq!(get(&all_but, "arn:aws:s3:::work/red/1", json!({})), YES);
}

/// An example of the guide: where it is, its policy, and requests with their verdicts.
struct Example {
    page: &'static str,
    policy: Value,
    verdicts: Vec<(&'static str, &'static str, Value, Decision)>,
}

#[test]
fn the_examples_of_the_iam_guide() {
    for Example { page, policy, verdicts } in examples() {
        let policies = policies(&[policy]);
        for (action, resource, keys, expected) in verdicts {
            let asked = Asked::new(action, resource).unwrap();
            let decided = evaluate(&policies, None, &asked, &context(&keys)).result.decision();
            assert_eq!(decided, expected, "{page}: {action} on {resource} in {keys}");
        }
    }
}

fn examples() -> Vec<Example> {
    const DENY: Decision = Decision::Deny;
    let example = |page, policy, verdicts| Example { page, policy, verdicts };
    let one = |statement: Value| json!({"Version": "2012-10-17", "Statement": statement});
    vec![
        example(
            "reference_policies_elements_condition_operators: StringEquals on aws:PrincipalTag",
            one(json!({"Effect": "Allow", "Action": "iam:*AccessKey*", "Resource": "arn:aws:iam::111122223333:user/*",
                "Condition": {"StringEquals": {"aws:PrincipalTag/job-category": "iamuser-admin"}}})),
            vec![
                (
                    "iam:CreateAccessKey",
                    "arn:aws:iam::111122223333:user/x",
                    json!({"aws:PrincipalTag/job-category": "iamuser-admin"}),
                    YES,
                ),
                (
                    "iam:CreateAccessKey",
                    "arn:aws:iam::111122223333:user/x",
                    json!({"aws:PrincipalTag/job-category": "admin"}),
                    NO,
                ),
                (
                    "iam:CreateAccessKey",
                    "arn:aws:iam::111122223333:user/x",
                    json!({"aws:PrincipalTag/job-category": null}),
                    NO,
                ),
                ("iam:CreateAccessKey", "arn:aws:iam::111122223333:user/x", json!({}), UNKNOWN),
                (
                    "iam:CreateUser",
                    "arn:aws:iam::111122223333:user/x",
                    json!({"aws:PrincipalTag/job-category": "iamuser-admin"}),
                    NO,
                ),
                (
                    "iam:CreateAccessKey",
                    "arn:aws:iam::444455556666:user/x",
                    json!({"aws:PrincipalTag/job-category": "iamuser-admin"}),
                    NO,
                ),
            ],
        ),
        example(
            "reference_policies_elements_condition_operators: StringLike on s3:prefix",
            one(json!([
                {"Effect": "Allow", "Action": ["s3:ListAllMyBuckets", "s3:GetBucketLocation"], "Resource": "arn:aws:s3:::*"},
                {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::amzn-s3-demo-bucket",
                 "Condition": {"StringLike": {"s3:prefix": ["", "home/", "home/${aws:username}/"]}}},
                {"Effect": "Allow", "Action": "s3:*", "Resource": [
                    "arn:aws:s3:::amzn-s3-demo-bucket/home/${aws:username}",
                    "arn:aws:s3:::amzn-s3-demo-bucket/home/${aws:username}/*"]},
            ])),
            vec![
                ("s3:GetBucketLocation", "arn:aws:s3:::other", json!({}), YES),
                (
                    "s3:ListBucket",
                    "arn:aws:s3:::amzn-s3-demo-bucket",
                    json!({"s3:prefix": "", "aws:username": "carol"}),
                    YES,
                ),
                (
                    "s3:ListBucket",
                    "arn:aws:s3:::amzn-s3-demo-bucket",
                    json!({"s3:prefix": "home/carol/", "aws:username": "carol"}),
                    YES,
                ),
                (
                    "s3:ListBucket",
                    "arn:aws:s3:::amzn-s3-demo-bucket",
                    json!({"s3:prefix": "home/dave/", "aws:username": "carol"}),
                    NO,
                ),
                (
                    "s3:ListBucket",
                    "arn:aws:s3:::amzn-s3-demo-bucket",
                    json!({"s3:prefix": "home/", "aws:username": null}),
                    YES,
                ),
                (
                    "s3:PutObject",
                    "arn:aws:s3:::amzn-s3-demo-bucket/home/carol/1",
                    json!({"aws:username": "carol"}),
                    YES,
                ),
                ("s3:PutObject", "arn:aws:s3:::amzn-s3-demo-bucket/home/dave/1", json!({"aws:username": "carol"}), NO),
                ("s3:PutObject", "arn:aws:s3:::amzn-s3-demo-bucket/home/dave/1", json!({"aws:username": null}), NO),
                ("s3:PutObject", "arn:aws:s3:::amzn-s3-demo-bucket/home/dave/1", json!({}), UNKNOWN),
            ],
        ),
        example(
            "reference_policies_elements_condition_operators: NumericLessThanEquals on s3:max-keys",
            one(json!({"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::amzn-s3-demo-bucket",
                "Condition": {"NumericLessThanEquals": {"s3:max-keys": "10"}}})),
            vec![
                ("s3:ListBucket", "arn:aws:s3:::amzn-s3-demo-bucket", json!({"s3:max-keys": "10"}), YES),
                ("s3:ListBucket", "arn:aws:s3:::amzn-s3-demo-bucket", json!({"s3:max-keys": "11"}), NO),
                ("s3:ListBucket", "arn:aws:s3:::amzn-s3-demo-bucket", json!({"s3:max-keys": null}), NO),
            ],
        ),
        example(
            "reference_policies_elements_condition_operators: DateGreaterThan on aws:TokenIssueTime",
            one(json!({"Effect": "Allow", "Action": "iam:*AccessKey*", "Resource": "arn:aws:iam::111122223333:user/*",
                "Condition": {"DateGreaterThan": {"aws:TokenIssueTime": "2020-01-01T00:00:01Z"}}})),
            vec![
                (
                    "iam:GetAccessKeyLastUsed",
                    "arn:aws:iam::111122223333:user/x",
                    json!({"aws:TokenIssueTime": "2020-01-01T00:00:02Z"}),
                    YES,
                ),
                (
                    "iam:GetAccessKeyLastUsed",
                    "arn:aws:iam::111122223333:user/x",
                    json!({"aws:TokenIssueTime": "2020-01-01T00:00:01Z"}),
                    NO,
                ),
                (
                    "iam:GetAccessKeyLastUsed",
                    "arn:aws:iam::111122223333:user/x",
                    json!({"aws:TokenIssueTime": null}),
                    NO,
                ),
            ],
        ),
        example(
            "reference_policies_elements_condition_operators: Bool on aws:SecureTransport, with a Deny",
            one(json!({"Effect": "Deny", "Action": "iam:*AccessKey*", "Resource": "arn:aws:iam::111122223333:user/*",
                "Condition": {"Bool": {"aws:SecureTransport": "false"}}})),
            vec![
                (
                    "iam:CreateAccessKey",
                    "arn:aws:iam::111122223333:user/x",
                    json!({"aws:SecureTransport": "false"}),
                    DENY,
                ),
                ("iam:CreateAccessKey", "arn:aws:iam::111122223333:user/x", json!({"aws:SecureTransport": "true"}), NO),
                ("iam:CreateAccessKey", "arn:aws:iam::111122223333:user/x", json!({"aws:SecureTransport": null}), NO),
                ("iam:CreateAccessKey", "arn:aws:iam::111122223333:user/x", json!({}), UNKNOWN),
            ],
        ),
        example(
            "reference_policies_elements_condition_operators: BinaryEquals",
            one(json!({"Effect": "Allow", "Action": "s3:*", "Resource": "*",
                "Condition": {"BinaryEquals": {"k:key": "QmluYXJ5VmFsdWVJbkJhc2U2NA=="}}})),
            vec![
                ("s3:GetObject", "*", json!({"k:key": "QmluYXJ5VmFsdWVJbkJhc2U2NA=="}), YES),
                ("s3:GetObject", "*", json!({"k:key": "ASIAIOSFODNN7EXAMPLE"}), NO),
            ],
        ),
        example(
            "reference_policies_elements_condition_operators: IpAddress on aws:SourceIp",
            one(json!({"Effect": "Allow", "Action": "iam:*AccessKey*", "Resource": "arn:aws:iam::111122223333:user/*",
                "Condition": {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}})),
            vec![
                (
                    "iam:CreateAccessKey",
                    "arn:aws:iam::111122223333:user/x",
                    json!({"aws:SourceIp": "203.0.113.0"}),
                    YES,
                ),
                (
                    "iam:CreateAccessKey",
                    "arn:aws:iam::111122223333:user/x",
                    json!({"aws:SourceIp": "203.0.113.255"}),
                    YES,
                ),
                (
                    "iam:CreateAccessKey",
                    "arn:aws:iam::111122223333:user/x",
                    json!({"aws:SourceIp": "203.0.112.255"}),
                    NO,
                ),
            ],
        ),
        example(
            "reference_policies_elements_condition_operators: IPv4 and IPv6 together",
            one(json!({"Effect": "Allow", "Action": "someservice:*", "Resource": "*", "Condition": {"IpAddress": {
                "aws:SourceIp": ["203.0.113.0/24", "2001:DB8:1234:5678::/64"]}}})),
            vec![
                ("someservice:Do", "*", json!({"aws:SourceIp": "203.0.113.1"}), YES),
                ("someservice:Do", "*", json!({"aws:SourceIp": "2001:DB8:1234:5678::1"}), YES),
                ("someservice:Do", "*", json!({"aws:SourceIp": "203.0.114.1"}), NO),
                ("someservice:Do", "*", json!({"aws:SourceIp": "2001:DB8:1234:5679::1"}), NO),
            ],
        ),
        example(
            "reference_policies_elements_condition_operators: ArnEquals on aws:SourceArn",
            one(
                json!({"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "arn:aws:sqs:us-east-1:123456789012:queue",
                "Condition": {"ArnEquals": {"aws:SourceArn": "arn:aws:sns:us-east-1:123456789012:topic"}}}),
            ),
            vec![
                (
                    "sqs:SendMessage",
                    "arn:aws:sqs:us-east-1:123456789012:queue",
                    json!({"aws:SourceArn": "arn:aws:sns:us-east-1:123456789012:topic"}),
                    YES,
                ),
                (
                    "sqs:SendMessage",
                    "arn:aws:sqs:us-east-1:123456789012:queue",
                    json!({"aws:SourceArn": "arn:aws:sns:us-east-1:123456789012:topic2"}),
                    NO,
                ),
            ],
        ),
        example(
            "reference_policies_elements_condition_operators: StringLikeIfExists, a resource of another type",
            one(json!({"Effect": "Allow", "Action": "ec2:RunInstances", "Resource": "*", "Condition": {
                "StringLikeIfExists": {"ec2:InstanceType": ["t1.*", "t2.*", "m3.*"]}}})),
            vec![
                (
                    "ec2:RunInstances",
                    "arn:aws:ec2:us-east-1:123456789012:instance/i",
                    json!({"ec2:InstanceType": "t2.micro"}),
                    YES,
                ),
                (
                    "ec2:RunInstances",
                    "arn:aws:ec2:us-east-1:123456789012:instance/i",
                    json!({"ec2:InstanceType": "m4.large"}),
                    NO,
                ),
                ("ec2:RunInstances", "arn:aws:ec2:us-east-1::image/ami", json!({"ec2:InstanceType": null}), YES),
                ("ec2:RunInstances", "arn:aws:ec2:us-east-1::image/ami", json!({}), UNKNOWN),
            ],
        ),
        example(
            "reference_policies_elements_condition_operators: Null on aws:TokenIssueTime",
            one(json!({"Effect": "Allow", "Action": "ec2:*", "Resource": "*",
                "Condition": {"Null": {"aws:TokenIssueTime": "true"}}})),
            vec![
                ("ec2:RunInstances", "*", json!({"aws:TokenIssueTime": null}), YES),
                ("ec2:RunInstances", "*", json!({"aws:TokenIssueTime": "2026-11-22T12:00:00Z"}), NO),
                ("ec2:RunInstances", "*", json!({}), UNKNOWN),
            ],
        ),
        example(
            "reference_policies_condition-single-vs-multi-valued-context-keys: ForAllValues on aws:TagKeys",
            one(json!({"Effect": "Allow", "Action": "ec2:CreateTags", "Resource": "*", "Condition": {
                "ForAllValues:StringEquals": {"aws:TagKeys": ["environment", "cost-center"]}}})),
            vec![
                ("ec2:CreateTags", "*", json!({"aws:TagKeys": ["environment"]}), YES),
                ("ec2:CreateTags", "*", json!({"aws:TagKeys": ["cost-center"]}), YES),
                ("ec2:CreateTags", "*", json!({"aws:TagKeys": ["environment", "cost-center"]}), YES),
                ("ec2:CreateTags", "*", json!({"aws:TagKeys": ["environment", "dept"]}), NO),
                ("ec2:CreateTags", "*", json!({"aws:TagKeys": null}), YES),
            ],
        ),
        example(
            "reference_policies_condition_examples-multi-valued-context-keys: Deny with Null and ForAllValues",
            one(json!({"Effect": "Deny", "Action": ["iam:Tag*", "iam:UnTag*"], "Resource": "*", "Condition": {
                "Null": {"aws:TagKeys": "false"}, "ForAllValues:StringLike": {"aws:TagKeys": ["key1*", "key2*", "key3*"]}}})),
            vec![
                ("iam:TagUser", "*", json!({"aws:TagKeys": ["key1:legal"]}), DENY),
                ("iam:TagUser", "*", json!({"aws:TagKeys": ["key1:hr", "key2:personnel"]}), DENY),
                ("iam:TagUser", "*", json!({"aws:TagKeys": ["key1:hr", "key4:x"]}), NO),
                ("iam:TagUser", "*", json!({"aws:TagKeys": null}), NO),
                ("iam:UntagUser", "*", json!({"aws:TagKeys": ["key3x"]}), DENY),
            ],
        ),
        example(
            "reference_policies_condition_examples-multi-valued-context-keys: Deny with ForAnyValue",
            one(json!({"Effect": "Deny", "Action": ["ec2:CreateSnapshot", "ec2:CreateSnapshots"],
                "Resource": "arn:aws:ec2:us-west-2::snapshot/*", "Condition": {
                "ForAnyValue:StringEquals": {"aws:TagKeys": ["environment", "webserver"]}}})),
            vec![
                (
                    "ec2:CreateSnapshot",
                    "arn:aws:ec2:us-west-2::snapshot/s",
                    json!({"aws:TagKeys": ["webserver"]}),
                    DENY,
                ),
                (
                    "ec2:CreateSnapshot",
                    "arn:aws:ec2:us-west-2::snapshot/s",
                    json!({"aws:TagKeys": ["costs", "environment"]}),
                    DENY,
                ),
                ("ec2:CreateSnapshot", "arn:aws:ec2:us-west-2::snapshot/s", json!({"aws:TagKeys": ["costs"]}), NO),
                ("ec2:CreateSnapshot", "arn:aws:ec2:us-west-2::snapshot/s", json!({"aws:TagKeys": null}), NO),
            ],
        ),
        example(
            "reference_policies_condition_examples-single-valued-context-keys: several conditions, all of them",
            one(
                json!({"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::amzn-s3-demo-bucket", "Condition": {
                "StringEquals": {"aws:PrincipalTag/department": ["finance", "hr", "legal"], "aws:PrincipalTag/role": ["audit", "security"]},
                "ArnLike": {"aws:PrincipalArn": ["arn:aws:iam::222222222222:user/*", "arn:aws:iam::333333333333:user/*"]}}}),
            ),
            vec![
                (
                    "s3:ListBucket",
                    "arn:aws:s3:::amzn-s3-demo-bucket",
                    json!({"aws:PrincipalTag/department": "finance", "aws:PrincipalTag/role": "audit", "aws:PrincipalArn": "arn:aws:iam::222222222222:user/x"}),
                    YES,
                ),
                (
                    "s3:ListBucket",
                    "arn:aws:s3:::amzn-s3-demo-bucket",
                    json!({"aws:PrincipalTag/department": "hr", "aws:PrincipalTag/role": "audit", "aws:PrincipalArn": "arn:aws:iam::444444444444:user/x"}),
                    NO,
                ),
                (
                    "s3:ListBucket",
                    "arn:aws:s3:::amzn-s3-demo-bucket",
                    json!({"aws:PrincipalTag/department": "hr", "aws:PrincipalTag/role": "payroll", "aws:PrincipalArn": "arn:aws:iam::333333333333:user/x"}),
                    NO,
                ),
                ("s3:ListBucket", "arn:aws:s3:::amzn-s3-demo-bucket", json!({"aws:PrincipalTag/role": "payroll"}), NO),
            ],
        ),
        example(
            "reference_policies_elements_notaction: Deny with NotAction and BoolIfExists",
            one(json!([
                {"Effect": "Allow", "Action": "s3:*", "Resource": "*"},
                {"Effect": "Deny", "NotAction": ["iam:*", "sts:*"], "Resource": "*",
                 "Condition": {"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}}},
            ])),
            vec![
                ("s3:GetObject", "arn:aws:s3:::b/k", json!({"aws:MultiFactorAuthPresent": "true"}), YES),
                ("s3:GetObject", "arn:aws:s3:::b/k", json!({"aws:MultiFactorAuthPresent": "false"}), DENY),
                ("s3:GetObject", "arn:aws:s3:::b/k", json!({"aws:MultiFactorAuthPresent": null}), DENY),
                ("iam:ListUsers", "*", json!({"aws:MultiFactorAuthPresent": null}), NO),
                ("s3:GetObject", "arn:aws:s3:::b/k", json!({}), UNKNOWN),
            ],
        ),
        example(
            "reference_policies_elements_notresource: Deny with NotResource",
            one(json!([
                {"Effect": "Allow", "Action": "s3:*", "Resource": "*"},
                {"Effect": "Deny", "Action": "s3:*", "NotResource": [
                    "arn:aws:s3:::amzn-s3-demo-bucket/HRBucket", "arn:aws:s3:::amzn-s3-demo-bucket/HRBucket/*"]},
            ])),
            vec![
                ("s3:GetObject", "arn:aws:s3:::amzn-s3-demo-bucket/HRBucket/payroll", json!({}), YES),
                ("s3:GetObject", "arn:aws:s3:::amzn-s3-demo-bucket/hrbucket/payroll", json!({}), DENY),
                ("s3:GetObject", "arn:aws:s3:::other/1", json!({}), DENY),
                ("sqs:SendMessage", "arn:aws:sqs:us-east-1:123456789012:queue", json!({}), NO),
            ],
        ),
        example(
            "reference_policies_variables: a default value",
            one(json!([
                {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource":
                    "arn:aws:s3:::amzn-s3-demo-bucket/${aws:PrincipalTag/team, 'company-wide'}/*"},
            ])),
            vec![
                (
                    "s3:GetObject",
                    "arn:aws:s3:::amzn-s3-demo-bucket/yellow/1",
                    json!({"aws:PrincipalTag/team": "yellow"}),
                    YES,
                ),
                (
                    "s3:GetObject",
                    "arn:aws:s3:::amzn-s3-demo-bucket/company-wide/1",
                    json!({"aws:PrincipalTag/team": "yellow"}),
                    NO,
                ),
                (
                    "s3:GetObject",
                    "arn:aws:s3:::amzn-s3-demo-bucket/company-wide/1",
                    json!({"aws:PrincipalTag/team": null}),
                    YES,
                ),
                ("s3:GetObject", "arn:aws:s3:::amzn-s3-demo-bucket/company-wide/1", json!({}), UNKNOWN),
            ],
        ),
        example(
            "reference_policies_variables: special characters",
            one(json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/${*}${?}${$}"})),
            vec![
                ("s3:GetObject", "arn:aws:s3:::b/*?$", json!({}), YES),
                ("s3:GetObject", "arn:aws:s3:::b/abc", json!({}), NO),
            ],
        ),
        example(
            "reference_policies_elements_resource: a wildcard at a segment's end goes beyond it, and beyond slashes",
            one(
                json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::amzn-s3-demo-bucket/*/test/*"}),
            ),
            vec![
                ("s3:GetObject", "arn:aws:s3:::amzn-s3-demo-bucket/1/test/object.jpg", json!({}), YES),
                ("s3:GetObject", "arn:aws:s3:::amzn-s3-demo-bucket/1/2/test/3/object.jpg", json!({}), YES),
                ("s3:GetObject", "arn:aws:s3:::amzn-s3-demo-bucket/1/2/3/test/4/object.jpg", json!({}), YES),
                ("s3:GetObject", "arn:aws:s3:::amzn-s3-demo-bucket/1/2/test", json!({}), NO),
                ("s3:GetObject", "arn:aws:s3:::amzn-s3-demo-bucket/1-test/object.jpg", json!({}), NO),
            ],
        ),
        example(
            "reference_policies_condition-keys: aws:ViaAWSService beside aws:SourceIp",
            one(json!([
                {"Effect": "Allow", "Action": "*", "Resource": "*"},
                {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {
                    "NotIpAddress": {"aws:SourceIp": ["192.0.2.0/24", "203.0.113.0/24"]}, "Bool": {"aws:ViaAWSService": "false"}}},
            ])),
            vec![
                ("s3:GetObject", "*", json!({"aws:SourceIp": "192.0.2.1", "aws:ViaAWSService": "false"}), YES),
                ("s3:GetObject", "*", json!({"aws:SourceIp": "198.51.100.1", "aws:ViaAWSService": "false"}), DENY),
                ("s3:GetObject", "*", json!({"aws:SourceIp": null, "aws:ViaAWSService": "false"}), DENY),
                ("s3:GetObject", "*", json!({"aws:SourceIp": "198.51.100.1", "aws:ViaAWSService": "true"}), YES),
                ("s3:GetObject", "*", json!({"aws:ViaAWSService": "true"}), YES),
                ("s3:GetObject", "*", json!({"aws:ViaAWSService": "false"}), UNKNOWN),
            ],
        ),
    ]
}
