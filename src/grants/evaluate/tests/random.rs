//! Random policies, requests and contexts that have something to do with each other.

use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

type Texts = &'static [&'static str];

/// Context keys with the operators that fit them, and values that are alike enough to match now and then. The operands
/// are written so that IAM accepts them, and are sometimes of another type than the key.
const KEYS: [(&str, Texts, Texts, Texts); 8] = [
    (
        "aws:PrincipalTag/team",
        &[
            "StringEquals",
            "StringNotEquals",
            "StringLike",
            "StringNotLike",
            "StringEqualsIgnoreCase",
            "StringNotEqualsIgnoreCase",
        ],
        &["red", "blue", "r*", "Red", "?ed", "", "${s3:prefix}", "${aws:PrincipalTag/unit, 'red'}"],
        &["red", "blue", "Red", "", "r*"],
    ),
    (
        "s3:prefix",
        &["StringLike", "StringNotLike", "StringEquals"],
        &["home/*", "${aws:PrincipalTag/team}/*", "*", "a/${aws:PrincipalTag/team}", "home/${*}"],
        &["home/1", "red/1", "a/red", "home/*", ""],
    ),
    (
        "aws:TagKeys",
        &["StringEquals", "StringNotEquals", "StringLike"],
        &["red", "blue", "b*", "${aws:PrincipalTag/team}"],
        &["red", "blue", "green", ""],
    ),
    (
        "s3:max-keys",
        &[
            "NumericEquals",
            "NumericNotEquals",
            "NumericLessThan",
            "NumericLessThanEquals",
            "NumericGreaterThan",
            "NumericGreaterThanEquals",
        ],
        &["1", "10", "10.0", "-3"],
        &["1", "10", "7.5", "-3", "many"],
    ),
    (
        "aws:CurrentTime",
        &[
            "DateEquals",
            "DateNotEquals",
            "DateLessThan",
            "DateLessThanEquals",
            "DateGreaterThan",
            "DateGreaterThanEquals",
        ],
        &["2026-11-22T12:00:00Z", "2026-11-22", "1795348800", "2030"],
        &["2026-11-22T12:00:00Z", "2026-11-22T13:00:00+01:00", "1795348801", "soon"],
    ),
    ("aws:SecureTransport", &["Bool", "Null"], &["true", "false"], &["true", "false"]),
    (
        "aws:SourceIp",
        &["IpAddress", "NotIpAddress"],
        &["203.0.113.0/24", "203.0.113.7", "2001:db8::/32"],
        &["203.0.113.7", "203.0.113.8", "2001:db8::7", "here"],
    ),
    (
        "aws:SourceArn",
        &["ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike"],
        &["arn:aws:sns:*:111122223333:red", "arn:aws:sns:eu:1:*", "arn:aws:s*", "*", "${aws:PrincipalArn}"],
        &["arn:aws:sns:eu-west-1:111122223333:red", "arn:aws:sns:eu:1:red", "red"],
    ),
];

/// Keys that only variables name.
const OF_VARIABLES: [(&str, &[&str]); 2] = [
    ("aws:PrincipalTag/unit", &["red", "u1"]),
    ("aws:PrincipalArn", &["arn:aws:sns:eu:1:red", "arn:aws:sts::1:federated-user/x"]),
];

const ACTIONS: [&str; 8] =
    ["s3:GetObject", "s3:Get*", "S3:*", "*", "s3:PutObject", "sqs:SendMessage", "s3:?etObject", "sqs:*"];

const RESOURCES: [&str; 8] = [
    "*",
    "arn:aws:s3:::home/red/*",
    "arn:aws:s3:::home/*",
    "arn:aws:s3:::home/${aws:PrincipalTag/team}/*",
    "arn:aws:s3:::*/1",
    "arn:aws:s3:::home/???/1",
    "arn:aws:sqs:*:*:queue",
    "arn:aws:s3:::home/${aws:PrincipalTag/unit, 'red'}/1",
];

pub(in crate::grants) fn any_asked() -> impl Strategy<Value = Asked> {
    let resources =
        ["arn:aws:s3:::home/red/1", "arn:aws:s3:::home/blue/1", "arn:aws:s3:::work/1", "arn:aws:sqs:eu:1:queue", "*"];
    (select(vec!["s3:GetObject", "s3:PutObject", "sqs:SendMessage"]), select(resources.to_vec()))
        .prop_map(|(action, resource)| Asked::new(action, resource).unwrap())
}

fn any_values(values: Vec<&'static str>) -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => select(values.clone()).prop_map(Value::from),
        1 => prop::collection::vec(select(values), 1..3).prop_map(Value::from),
    ]
}

fn any_condition() -> impl Strategy<Value = Value> {
    let block = (0..KEYS.len()).prop_flat_map(|index| {
        let (key, operators, operands, _) = KEYS[index];
        let qualifier = prop_oneof![6 => Just(""), 2 => Just("ForAllValues:"), 2 => Just("ForAnyValue:")];
        (qualifier, select(operators.to_vec()), prop::bool::weighted(0.2), any_values(operands.to_vec())).prop_map(
            move |(qualifier, operator, if_exists, operands)| {
                let if_exists = if if_exists && operator != "Null" { "IfExists" } else { "" };
                (format!("{qualifier}{operator}{if_exists}"), json!({key: operands}))
            },
        )
    });
    prop::collection::vec(block, 1..=2).prop_map(|blocks| blocks.into_iter().collect())
}

pub(in crate::grants) fn any_statement() -> impl Strategy<Value = Value> {
    let effect = prop_oneof![3 => Just("Allow"), 1 => Just("Deny")];
    let not = || prop::bool::weighted(0.2);
    (effect, not(), any_values(ACTIONS.to_vec()), not(), any_values(RESOURCES.to_vec()), weighted(0.6, any_condition()))
        .prop_map(|(effect, not_action, actions, not_resource, resources, condition)| {
            let action = if not_action { "NotAction" } else { "Action" };
            let resource = if not_resource { "NotResource" } else { "Resource" };
            let mut statement = json!({"Effect": effect, action: actions, resource: resources});
            if let Some(condition) = condition {
                statement["Condition"] = condition;
            }
            statement
        })
}

pub(in crate::grants) fn any_policies() -> impl Strategy<Value = Policies> {
    let any_document = prop::collection::vec(any_statement(), 1..4).prop_map(|statements| document(&statements));
    (prop::collection::vec(any_document, 1..3), prop::bool::weighted(0.05)).prop_map(|(documents, unread)| {
        let mut policies = policies(&documents);
        if unread {
            policies.add_unread("arn:aws:iam::aws:policy/ReadOnlyAccess");
        }
        policies
    })
}

/// A context in which all is known, as JSON.
pub(in crate::grants) fn any_complete_context() -> impl Strategy<Value = Value> {
    let keys = KEYS.iter().map(|(key, _, _, values)| (*key, *values)).chain(OF_VARIABLES);
    let known: Vec<_> = keys
        .map(|(key, values)| {
            let value = prop_oneof![
                1 => Just(Value::Null),
                4 => select(values.to_vec()).prop_map(Value::from),
                1 => prop::collection::vec(select(values.to_vec()), 2..4).prop_map(Value::from),
            ];
            value.prop_map(move |value| (key.to_owned(), value))
        })
        .collect();
    known.prop_map(|members| Value::Object(members.into_iter().collect()))
}
