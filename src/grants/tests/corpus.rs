//! Do the policies that people write pass as they were meant?
//!
//! Of the kinds of example in AWS's documentation, written anew: what is printed says what was read.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_examples.html>

use std::collections::BTreeSet;

use super::*;

fn policies() -> serde_json::Map<String, Value> {
    let policies = crate::read::json::parse_object(include_bytes!("policies.json"));
    policies.unwrap()
}

/// As it is printed, but for the order of members: no `Sid` and `Id`, today's version, and a list of statements.
fn normal(policy: &Value) -> Value {
    let statement = &policy["Statement"];
    let mut list = statement.as_array().cloned().unwrap_or_else(|| vec![statement.clone()]);
    for statement in &mut list {
        statement.as_object_mut().unwrap().remove("Sid");
    }
    json!({"Version": "2012-10-17", "Statement": list})
}

fn printed(policy: &Value) -> Value {
    let caller = caller();
    let name = FederatedName::of(&caller).unwrap();
    let policy = Policy::parse(policy, "").unwrap_or_else(|problems| panic!("{policy}: {problems}"));
    let fill = |template: &Template| template.fill(&caller, &name);
    let statements: Vec<Value> = policy.statements().iter().map(|one| one.print(&fill).unwrap()).collect();
    serde_json::from_str(&Policy::print(&statements)).unwrap()
}

#[test]
fn every_policy_says_after_printing_what_it_said_before() {
    let policies = policies();
    assert!(policies.len() >= 60, "{}", policies.len());
    for (name, policy) in &policies {
        let once = printed(policy);
        assert_eq!(once, normal(policy), "{name}");
        assert_eq!(printed(&once), once, "{name}");
    }
}

#[test]
fn every_policy_makes_a_session_that_says_the_same_wherever_it_fits() {
    for (name, policy) in &policies() {
        let merged = session(&[json!({"policy": policy, "allow_iam": true})]).unwrap_or_else(|denied| {
            panic!("{name}: {denied}");
        });
        let texts =
            |list: &Value| -> BTreeSet<String> { list.as_array().unwrap().iter().map(Value::to_string).collect() };
        assert_eq!(texts(&statements(&merged).into()), texts(&normal(policy)["Statement"]), "{name}");
    }
}

#[test]
fn the_policies_use_all_of_the_grammar() {
    let text = Value::Object(policies()).to_string();
    for part in [
        "NotAction",
        "NotResource",
        "ForAllValues:",
        "ForAnyValue:",
        "IfExists",
        "StringEquals",
        "StringNotEquals",
        "StringEqualsIgnoreCase",
        "StringLike",
        "StringNotLike",
        "NumericLessThan",
        "NumericGreaterThanEquals",
        "DateGreaterThan",
        "DateLessThan",
        "Bool",
        "Null",
        "BinaryEquals",
        "IpAddress",
        "NotIpAddress",
        "ArnEquals",
        "ArnLike",
        "ArnNotLike",
        "arn:aws-cn:",
        "arn:aws-us-gov:",
        "2008-10-17",
        "${aws:PrincipalTag/",
    ] {
        assert!(text.contains(part), "{part}");
    }
}
