//! Is a change that is said to give nobody more one that gives nobody more?

use std::collections::BTreeMap;
use std::sync::LazyLock;

use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;
use crate::grants::evaluate::tests::context;
use crate::grants::evaluate::tests::random::{any_complete_context, any_statement};

const SAME: ChangeEffect = ChangeEffect::Same;
const NARROWS: ChangeEffect = ChangeEffect::Narrows;
const WIDENS: ChangeEffect = ChangeEffect::Widens;
const MIXED: ChangeEffect = ChangeEffect::Mixed;

fn read(item: &Value) -> Item {
    Item::read(item.as_object().unwrap()).unwrap()
}

fn label(before: Option<&Value>, after: Option<&Value>, others: &[&Value]) -> ChangeEffect {
    let others: Vec<Item> = others.iter().map(|item| read(item)).collect();
    let (before, after) = (before.map(read), after.map(read));
    let label = effect(before.as_ref(), after.as_ref(), Others::of(&others));
    if !others.is_empty() {
        // The item may be summed up with the others: what is shown then still holds.
        let all = others.iter().chain(&before).chain(&after);
        let with_itself = effect(before.as_ref(), after.as_ref(), Others::of(all));
        assert!(with_itself == label || with_itself == MIXED, "{label} is {with_itself}");
    }
    label
}

/// Of a policy of these statements that becomes one of those; the change back has the opposite effect.
fn between(before: &[Value], after: &[Value]) -> ChangeEffect {
    let item = |statements: &[Value]| json!({"policy": {"Version": "2012-10-17", "Statement": statements}});
    let there = label(Some(&item(before)), Some(&item(after)), &[]);
    let back = label(Some(&item(after)), Some(&item(before)), &[]);
    let opposite = match there {
        ChangeEffect::Narrows => WIDENS,
        ChangeEffect::Widens => NARROWS,
        ChangeEffect::Same | ChangeEffect::Mixed => there,
    };
    assert_eq!(back, opposite, "{before:?} and {after:?}");
    there
}

fn says(effect: &str, action: &Value, resource: &Value) -> Value {
    json!({"Effect": effect, "Action": action, "Resource": resource})
}

fn allow(action: &str) -> Value {
    says("Allow", &action.into(), &"*".into())
}

fn deny(action: &str) -> Value {
    says("Deny", &action.into(), &"*".into())
}

#[test]
fn how_a_policy_is_written_makes_no_difference() {
    let list = json!(["s3:GetObject", "sqs:SendMessage"]);
    let other_list = json!(["SQS:SendMessage", "s3:getobject"]);
    let arn = "arn:aws:s3:::b/${jwt:/sub}/*";
    for (before, after) in [
        (vec![allow("s3:Get*"), allow("sqs:*")], vec![allow("sqs:*"), allow("s3:Get*")]),
        (vec![allow("s3:Get*")], vec![says("Allow", &json!(["s3:get*"]), &json!(["*"]))]),
        (vec![allow("*")], vec![allow("*:*")]),
        (vec![says("Allow", &list, &arn.into())], vec![says("Allow", &other_list, &json!([arn]))]),
        (vec![says("Allow", &list, &"*".into())], vec![says("Allow", &list, &"*".into()), allow("s3:GetObject")]),
        (vec![deny("s3:*")], vec![deny("S3:*"), deny("s3:*")]),
    ] {
        assert_eq!(between(&before, &after), SAME, "{before:?} and {after:?}");
    }
    let mut with_sid = allow("s3:Get*");
    with_sid["Sid"] = "Read".into();
    assert_eq!(between(&[allow("s3:Get*")], &[with_sid]), SAME);
    let conditional = |condition: Value| {
        let mut statement = allow("s3:Get*");
        statement["Condition"] = condition;
        statement
    };
    let one = conditional(json!({"StringEquals": {"aws:PrincipalTag/Team": "1", "s3:prefix": ["a", "b"]}}));
    let two = conditional(json!({"StringEquals": {"S3:prefix": ["b", "a"], "aws:principaltag/team": [1]}}));
    assert_eq!(between(&[one], &[two]), SAME);
}

#[test]
fn less_that_is_allowed_narrows_and_less_that_is_denied_widens() {
    let object = |key: &str| says("Allow", &"s3:*".into(), &format!("arn:aws:s3:::b/{key}").into());
    let all_but = |action: &Value| json!({"Effect": "Allow", "NotAction": action, "Resource": "*"});
    for (before, after) in [
        (vec![allow("s3:Get*"), allow("sqs:*")], vec![allow("sqs:*")]),
        (vec![allow("s3:Get*")], vec![allow("s3:GetObject")]),
        (vec![allow("s3:Get*")], vec![allow("s3:Get?*ject*")]),
        (vec![allow("*")], vec![allow("s3:*")]),
        (vec![allow("*")], vec![all_but(&"s3:*".into())]),
        (vec![all_but(&"s3:Get*".into())], vec![all_but(&"s3:*".into())]),
        (vec![all_but(&"s3:*".into())], vec![all_but(&json!(["sqs:*", "s3:*"]))]),
        (vec![object("*")], vec![object("home/${jwt:/sub}/*"), object("${session:name}/?")]),
        (vec![object("${jwt:/sub}*")], vec![object("${jwt:/sub}/*")]),
        (vec![object("*")], vec![object("${aws:PrincipalTag/team}")]),
        (vec![object("*/x")], vec![object("*/y/x")]),
        (vec![object("${*}*")], vec![object("${*}x*")]),
        (vec![allow("s3:*")], vec![allow("s3:*"), deny("s3:Put*")]),
        (vec![allow("s3:*"), deny("s3:Put*")], vec![allow("s3:Get*"), deny("s3:*")]),
    ] {
        // A claim that is new narrows, and one that is gone widens; these have one in both, or the new one narrows too.
        let claims = |statements: &[Value]| json!(statements).to_string().contains("${jwt:");
        if claims(&before) == claims(&after) {
            assert_eq!(between(&before, &after), NARROWS, "{before:?} and {after:?}");
        } else {
            let item = |list: &[Value]| json!({"policy": {"Version": "2012-10-17", "Statement": list}});
            assert_eq!(label(Some(&item(&before)), Some(&item(&after)), &[]), NARROWS, "{before:?} and {after:?}");
        }
    }
}

#[test]
fn a_condition_that_asks_for_more_narrows_what_is_allowed() {
    let under = |condition: Value| {
        let mut statement = allow("s3:*");
        statement["Condition"] = condition;
        statement
    };
    for (before, after) in [
        (json!({}), json!({"Bool": {"aws:SecureTransport": true}})),
        (json!({"StringEquals": {"k:a": ["1", "2"]}}), json!({"StringEquals": {"k:a": "2"}})),
        (json!({"StringNotEquals": {"k:a": "2"}}), json!({"StringNotEquals": {"k:a": ["1", "2"]}})),
        (json!({"StringLike": {"k:a": "x*"}}), json!({"StringLike": {"k:a": "x*", "k:b": "y"}})),
        (json!({"ForAllValues:StringEquals": {"k:a": ["1", "2"]}}), json!({"ForAllValues:StringEquals": {"k:a": "1"}})),
        (json!({"Null": {"k:a": ["true", "false"]}}), json!({"Null": {"k:a": "true"}})),
    ] {
        assert_eq!(between(&[under(before.clone())], &[under(after.clone())]), NARROWS, "{before} and {after}");
        // In a Deny it is the other way round.
        let deny = |condition: &Value| {
            let mut statement = deny("s3:Put*");
            statement["Condition"] = condition.clone();
            [allow("s3:*"), statement]
        };
        assert_eq!(between(&deny(&before), &deny(&after)), WIDENS, "{before} and {after}");
    }
    for (before, after) in [
        (json!({"StringEquals": {"k:a": "1"}}), json!({"StringEquals": {"k:a": "2"}})),
        (json!({"StringEquals": {"k:a": "1"}}), json!({"StringEquals": {"k:b": "1"}})),
        (json!({"StringEquals": {"k:a": "1"}}), json!({"StringLike": {"k:a": "1"}})),
        (json!({"NumericLessThan": {"k:a": 10}}), json!({"NumericLessThan": {"k:a": 5}})),
    ] {
        assert_eq!(between(&[under(before.clone())], &[under(after.clone())]), MIXED, "{before} and {after}");
    }
}

#[test]
fn what_cannot_be_shown_is_mixed() {
    let object = |key: &str| says("Allow", &"s3:*".into(), &format!("arn:aws:s3:::b/{key}").into());
    for (before, after) in [
        (vec![allow("s3:*")], vec![allow("sqs:*")]),
        (vec![allow("s3:*"), deny("s3:Put*")], vec![allow("s3:Get*")]),
        (vec![object("?")], vec![object("${session:name}")]),
        (vec![object("a*")], vec![object("*a")]),
        (vec![object("${aws:PrincipalTag/a}")], vec![object("${aws:PrincipalTag/b}")]),
        (vec![allow("s3:*")], vec![json!({"Effect": "Allow", "NotAction": "sqs:*", "Resource": "*"})]),
    ] {
        assert_eq!(between(&before, &after), MIXED, "{before:?} and {after:?}");
    }
}

/// The attribute's value before and after, the label, and the label of the change back.
#[test]
fn every_attribute_has_its_effect() {
    let restricting =
        [json!({"acr": ["gold"]}), json!({"amr": ["mfa"]}), json!({"max_age": 900}), json!({"claims": {"/d": ["a"]}})];
    let mut table = vec![
        ("description", Value::Null, json!("x"), SAME, SAME),
        ("revision", json!("1-aaaaaaaaaaaaaaaa"), json!("2-bbbbbbbbbbbbbbbb"), SAME, SAME),
        ("updated_at", Value::Null, json!(1), SAME, SAME),
        ("updated_by", json!("carol"), json!("dave"), SAME, SAME),
        ("allow_iam", Value::Null, json!(true), SAME, SAME),
        ("enabled", Value::Null, json!(true), SAME, SAME),
        ("enabled", Value::Null, json!(false), NARROWS, WIDENS),
        ("pin_source_ip", Value::Null, json!(false), SAME, SAME),
        ("pin_source_ip", Value::Null, json!(true), NARROWS, WIDENS),
        ("max_duration", json!(7200), json!(1800), NARROWS, WIDENS),
        ("max_duration", Value::Null, json!(1800), NARROWS, WIDENS),
        ("max_duration", Value::Null, json!(3600), SAME, WIDENS),
        ("max_duration", Value::Null, json!(7200), WIDENS, WIDENS),
        ("duration", Value::Null, json!(900), NARROWS, WIDENS),
        // Over the maximum, it is cut to it.
        ("duration", json!(7200), json!(129_600), SAME, SAME),
        ("not_before", Value::Null, json!(5), NARROWS, WIDENS),
        ("not_before", json!(5), json!(6), NARROWS, WIDENS),
        ("not_after", Value::Null, json!(5), NARROWS, WIDENS),
        ("not_after", json!(6), json!(5), NARROWS, WIDENS),
        ("tags", json!({"a": "1"}), json!({"a": "1"}), SAME, SAME),
        ("tags", Value::Null, json!({"a": "1"}), MIXED, MIXED),
        ("tags", json!({"a": "1"}), json!({"a": "2"}), MIXED, MIXED),
        ("policy_arns", Value::Null, json!(["arn:aws:iam::aws:policy/A"]), MIXED, MIXED),
        ("policy_arns", json!(["arn:aws:iam::aws:policy/A"]), json!(["arn:aws:iam::aws:policy/B"]), MIXED, MIXED),
        (
            "policy_arns",
            json!(["arn:aws:iam::aws:policy/A", "arn:aws:iam::aws:policy/B"]),
            json!(["arn:aws:iam::aws:policy/B", "arn:aws:iam::aws:policy/A", "arn:aws:iam::aws:policy/A"]),
            SAME,
            SAME,
        ),
        ("require", json!({"acr": ["gold", "silver"]}), json!({"acr": ["gold"]}), NARROWS, WIDENS),
        ("require", json!({"acr": ["gold", "silver"]}), json!({"acr": ["silver", "gold"]}), SAME, SAME),
        ("require", json!({"acr": ["gold"]}), json!({"acr": ["silver"]}), MIXED, MIXED),
        ("require", json!({"amr": ["mfa"]}), json!({"amr": ["hwk", "mfa"]}), NARROWS, WIDENS),
        ("require", json!({"max_age": 900}), json!({"max_age": 60}), NARROWS, WIDENS),
        ("require", json!({"claims": {"/d": ["a", "b"]}}), json!({"claims": {"/d": ["b"]}}), NARROWS, WIDENS),
        (
            "require",
            json!({"amr": ["mfa"], "max_age": 60}),
            json!({"amr": ["mfa", "hwk"], "max_age": 90}),
            MIXED,
            MIXED,
        ),
        ("policy", policy("Allow", "s3:*"), Value::Null, NARROWS, WIDENS),
        ("policy", policy("Deny", "s3:*"), Value::Null, WIDENS, NARROWS),
    ];
    table.extend(restricting.into_iter().map(|require| ("require", Value::Null, require, NARROWS, WIDENS)));
    for (name, before, after, there, back) in table {
        let item = |value: &Value| {
            let mut item = if ["duration", "policy"].contains(&name) { json!({}) } else { item("s3:GetObject") };
            if name == "duration" {
                item["max_duration"] = 7200.into();
            }
            item[name] = value.clone();
            item.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            item
        };
        let (one, two) = (item(&before), item(&after));
        assert_eq!(label(Some(&one), Some(&two), &[]), there, "{name}: {before} to {after}");
        assert_eq!(label(Some(&two), Some(&one), &[]), back, "{name}: {after} to {before}");
    }
}

#[test]
fn two_effects_together() {
    let (one, mut two) = (item("s3:Get*"), item("s3:GetObject"));
    two["pin_source_ip"] = true.into();
    assert_eq!(label(Some(&one), Some(&two), &[]), NARROWS);
    two["max_duration"] = 7200.into();
    assert_eq!(label(Some(&one), Some(&two), &[]), MIXED);
    // Whatever else changes, an item that is disabled refuses.
    two["enabled"] = false.into();
    assert_eq!(label(Some(&one), Some(&two), &[]), NARROWS);
    assert_eq!(label(Some(&json!({"enabled": false})), Some(&two), &[]), SAME);
}

#[test]
fn a_claim_that_is_no_longer_needed_widens() {
    let home = says("Allow", &"s3:*".into(), &"arn:aws:s3:::home/${jwt:/department}/*".into());
    assert_eq!(between(&[allow("sqs:*"), home], &[allow("sqs:*")]), MIXED);
    let mut tagged = item("s3:*");
    tagged["tags"] = json!({"team": "${jwt:/department}"});
    assert_eq!(label(Some(&tagged), Some(&item("s3:*")), &[]), MIXED);
}

#[test]
fn an_item_that_only_limits_narrows_when_it_is_made_and_widens_when_it_goes() {
    for limiting in [
        json!({"policy": policy("Deny", "s3:*")}),
        json!({"enabled": false}),
        json!({"enabled": false, "policy": policy("Allow", "*"), "tags": {"a": "1"}}),
        json!({"require": {"amr": ["mfa"]}}),
        json!({"pin_source_ip": true, "max_duration": 129_600, "duration": 129_600}),
    ] {
        // Alone it limits nobody, and makes sessions that resource policies may name.
        let alone = if limiting["enabled"] == false { NARROWS } else { MIXED };
        for (others, made) in [(vec![], alone), (vec![item("s3:*")], NARROWS)] {
            let others: Vec<&Value> = others.iter().collect();
            assert_eq!(label(None, Some(&limiting), &others), made, "{limiting}");
            assert_eq!(label(Some(&limiting), None, &others), WIDENS, "{limiting}");
        }
    }
}

#[test]
fn an_item_that_allows_widens_when_it_is_made_and_narrows_when_it_goes() {
    let limited = with("require", json!({"amr": ["mfa"]}));
    let of_claim = json!({"policy": {"Version": "2012-10-17", "Statement":
        says("Allow", &"s3:*".into(), &"arn:aws:s3:::home/${jwt:/department}/*".into())}});
    let all = [
        item("s3:*"),
        json!({}),
        json!({"policy_arns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"]}),
        json!({"policy": policy("Deny", "s3:*"), "policy_arns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"]}),
        limited.clone(),
        of_claim.clone(),
    ];
    for item in &all {
        assert_eq!(label(None, Some(item), &[]), WIDENS, "{item}");
        assert_eq!(label(Some(item), None, &[]), NARROWS, "{item}");
    }
    // Other items are limited by it too.
    let other = item("sqs:*");
    assert_eq!(label(Some(&item("s3:*")), None, &[&other]), NARROWS);
    for item in [
        &limited,
        &of_claim,
        &with("not_after", json!(9)),
        &with("max_duration", json!(1800)),
        &with("tags", json!({"a": "b"})),
    ] {
        assert_eq!(label(None, Some(item), &[&other]), MIXED, "{item}");
        assert_eq!(label(Some(item), None, &[&other]), MIXED, "{item}");
    }
    let longer = json!({"max_duration": 7200});
    assert_eq!(label(Some(&item("s3:*")), None, &[&longer]), MIXED);
    assert_eq!(label(Some(&item("s3:*")), None, &[&json!({"duration": 900})]), NARROWS);
}

#[test]
fn time_that_an_item_loses_is_time_without_its_limits() {
    let (always, later) = (item("s3:*"), json!({"policy": policy("Allow", "s3:*"), "not_before": 5}));
    assert_eq!(label(Some(&always), Some(&later), &[&json!({"max_duration": 7200})]), MIXED);
    assert_eq!(label(Some(&always), Some(&later), &[&item("sqs:*")]), NARROWS);
    let limiting = |more: Value| {
        let mut item = json!({"require": {"amr": ["mfa"]}});
        item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        item
    };
    assert_eq!(label(Some(&limiting(json!({}))), Some(&limiting(json!({"not_before": 5}))), &[]), WIDENS);
    assert_eq!(label(Some(&limiting(json!({}))), Some(&limiting(json!({"not_after": 5}))), &[]), MIXED);
}

static CALLERS: LazyLock<[Caller; 3]> = LazyLock::new(|| {
    [
        caller(),
        caller_claiming(
            &json!({}),
            &json!({"department": "red", "acr": "gold", "amr": ["mfa"], "auth_time": NOW - 20}),
        ),
        caller_claiming(&json!({}), &json!({"department": "blue", "acr": "silver", "amr": ["mfa", "hwk"]})),
    ]
});

/// The value of an attribute, or none.
fn any_attribute() -> impl Strategy<Value = (&'static str, Value)> {
    let soon = i64::try_from(NOW).unwrap();
    let of = |name: &'static str, values: Vec<Value>| select(values).prop_map(move |value| (name, value));
    let arn = |name: &str| format!("arn:aws:iam::aws:policy/{name}");
    prop_oneof![
        of("max_duration", vec![Value::Null, json!(900), json!(3600), json!(7200)]),
        of("duration", vec![Value::Null, json!(900), json!(7200)]),
        of("tags", vec![Value::Null, json!({"team": "red"}), json!({"team": "${jwt:/department}"})]),
        of(
            "require",
            vec![
                Value::Null,
                json!({"acr": ["gold"]}),
                json!({"acr": ["silver", "gold"], "amr": ["mfa"]}),
                json!({"amr": ["mfa"]}),
                json!({"max_age": 60}),
                json!({"claims": {"/department": ["red"]}}),
                json!({"claims": {"/department": ["red", "blue"]}}),
            ]
        ),
        of("pin_source_ip", vec![Value::Null, json!(true)]),
        of("enabled", vec![Value::Null, Value::Null, json!(false)]),
        of(
            "policy_arns",
            vec![Value::Null, json!([arn("Allow")]), json!([arn("Deny")]), json!([arn("Allow"), arn("Deny")])]
        ),
        of("not_before", vec![Value::Null, json!(soon - 5), json!(soon + 5)]),
        of("not_after", vec![Value::Null, json!(soon + 1000), json!(soon + 5000), json!(soon)]),
        of("description", vec![Value::Null, json!("x")]),
    ]
}

/// A statement of the evaluator's, perhaps of a template.
fn any_templated_statement() -> impl Strategy<Value = Value> {
    let templated = select(vec!["arn:aws:s3:::home/${jwt:/department}/*", "arn:aws:s3:::home/${session:name}/*"]);
    (any_statement(), weighted(0.25, templated)).prop_map(|(mut statement, resource)| {
        let name = if statement.get("Resource").is_some() { "Resource" } else { "NotResource" };
        if let Some(resource) = resource {
            statement[name] = resource.into();
        }
        statement
    })
}

fn any_item() -> impl Strategy<Value = Value> {
    let statements = prop::collection::vec(any_templated_statement(), 0..3);
    (statements, prop::collection::vec(any_attribute(), 0..3)).prop_map(|(statements, attributes)| {
        let mut item = json!({});
        set_statements(&mut item, &statements);
        for (name, value) in attributes {
            set(&mut item, name, value);
        }
        item
    })
}

fn set(item: &mut Value, name: &str, value: Value) {
    item[name] = value;
    item.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    // A Deny that would lapse is refused.
    if item.to_string().contains(r#""Effect":"Deny""#) {
        item.as_object_mut().unwrap().retain(|name, _| !name.starts_with("not_"));
    }
}

fn statements_of(item: &Value) -> Vec<Value> {
    item["policy"]["Statement"].as_array().cloned().unwrap_or_default()
}

fn set_statements(item: &mut Value, statements: &[Value]) {
    let policy = json!({"Version": "2012-10-17", "Statement": statements});
    set(item, "policy", if statements.is_empty() { Value::Null } else { policy });
}

/// What somebody does to an item.
#[derive(Debug, Clone)]
enum Edit {
    Attribute(&'static str, Value),
    Add(Value),
    Remove(Index),
    /// Leaves out what a list of the statement begins with.
    Shorten(Index, &'static str),
    /// Writes something else.
    Rewrite(Index, &'static str, Value),
}

fn any_edit() -> impl Strategy<Value = Edit> {
    let element = || select(vec!["Action", "NotAction", "Resource", "NotResource"]);
    let rewritten = prop_oneof![
        select(vec!["*", "s3:*", "s3:Get*", "s3:GetObject"]).prop_map(|action| ("Action", action.into())),
        select(vec!["*", "arn:aws:s3:::*", "arn:aws:s3:::home/*", "arn:aws:s3:::home/red/1"])
            .prop_map(|resource| ("Resource", resource.into())),
        any_statement().prop_map(|statement| ("Condition", statement["Condition"].clone())),
    ];
    prop_oneof![
        3 => any_attribute().prop_map(|(name, value)| Edit::Attribute(name, value)),
        1 => any_templated_statement().prop_map(Edit::Add),
        2 => any::<Index>().prop_map(Edit::Remove),
        1 => (any::<Index>(), element()).prop_map(|(index, name)| Edit::Shorten(index, name)),
        3 => (any::<Index>(), rewritten).prop_map(|(index, (name, value))| Edit::Rewrite(index, name, value)),
    ]
}

fn edited(item: &Value, edits: &[Edit]) -> Value {
    let mut item = item.clone();
    for edit in edits {
        let mut statements = statements_of(&item);
        match edit {
            Edit::Attribute(name, value) => set(&mut item, name, value.clone()),
            Edit::Add(statement) => statements.push(statement.clone()),
            Edit::Remove(index) if !statements.is_empty() => drop(statements.remove(index.index(statements.len()))),
            Edit::Shorten(index, name) if !statements.is_empty() => {
                let statement = index.get_mut(&mut statements);
                if let Some(list) = statement.get_mut(name).and_then(Value::as_array_mut).filter(|list| list.len() > 1)
                {
                    list.remove(0);
                }
            }
            Edit::Rewrite(index, name, value) if !statements.is_empty() => {
                let statement = index.get_mut(&mut statements);
                if *name == "Condition" || statement.get(name).is_some() {
                    statement[name] = value.clone();
                    statement.as_object_mut().unwrap().retain(|_, value| !value.is_null());
                }
            }
            Edit::Remove(_) | Edit::Shorten(..) | Edit::Rewrite(..) => {}
        }
        if !matches!(edit, Edit::Attribute(..)) {
            set_statements(&mut item, &statements);
        }
    }
    item
}

/// One item that changes, others beside it, and somebody who asks.
#[derive(Debug, Clone)]
struct Change {
    before: Option<Value>,
    after: Option<Value>,
    others: Vec<Value>,
    caller: usize,
    seconds: i64,
    keys: Value,
}

fn any_change() -> impl Strategy<Value = Change> {
    let one = prop_oneof![
        1 => any_item().prop_map(|item| (None, Some(item))),
        1 => any_item().prop_map(|item| (Some(item), None)),
        6 => (any_item(), prop::collection::vec(any_edit(), 1..=2)).prop_map(|(item, edits)| {
            let after = edited(&item, &edits);
            (Some(item), Some(after))
        }),
    ];
    let seconds = select(vec![-2000, 0, 3, 10, 2000, 6000]);
    (one, prop::collection::vec(any_item(), 0..3), 0_usize..3, seconds, any_complete_context()).prop_map(
        |((before, after), others, caller, seconds, keys)| Change { before, after, others, caller, seconds, keys },
    )
}

impl Change {
    fn label(&self) -> ChangeEffect {
        label(self.before.as_ref(), self.after.as_ref(), &self.others.iter().collect::<Vec<_>>())
    }

    /// What the caller gets with this item and the others.
    fn session(&self, item: Option<&Value>) -> Result<Session, Denied> {
        let caller = &CALLERS[self.caller];
        let all: Vec<Value> = item.into_iter().chain(&self.others).cloned().collect();
        let seconds = u64::try_from(i64::try_from(NOW).unwrap() + self.seconds).unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(seconds);
        authorize(caller, &request(None), matches_of(caller, &all), now).map(|pending| pending.session)
    }
}

/// Whether a session fails only for what it would be too large.
fn is_oversized(session: &Result<Session, Denied>) -> bool {
    let large = |unusable: &Unusable| {
        matches!(unusable, Unusable::PolicyTooLarge { .. } | Unusable::TooManyStatements | Unusable::TooManyArns(_))
    };
    matches!(session, Err(Denied::Unusable(unusable)) if large(unusable))
}

fn managed() -> [Document; 2] {
    let document =
        |name: &str, policy: &Value| Document::parse(format!("arn:aws:iam::aws:policy/{name}"), policy).unwrap();
    [document("Allow", &policy("Allow", "sqs:*")), document("Deny", &policy("Deny", "s3:Put*"))]
}

/// What is decided on every request that the random policies are about.
fn decisions(session: &Session, keys: &Value) -> Vec<Decision> {
    let policies = Policies::of_session(session, &managed()).unwrap();
    let context = context(keys);
    let resources = ["home/red/1", "home/blue/1", "work/1", "home/abc/1"].map(|key| format!("arn:aws:s3:::{key}"));
    let resources: Vec<String> = resources.into_iter().chain(["arn:aws:sqs:eu:1:queue".into(), "*".into()]).collect();
    let decide = |action: &str, resource: &str| {
        evaluate(&policies, None, &Asked::new(action, resource).unwrap(), &context).result.decision()
    };
    let actions = ["s3:GetObject", "s3:PutObject", "sqs:SendMessage"];
    actions
        .iter()
        .flat_map(|action| resources.iter().map(move |resource| (*action, resource)))
        .map(|(action, resource)| decide(action, resource))
        .collect()
}

/// What of a change is more than before, if anything is.
fn widening(change: &Change) -> Option<String> {
    let (before, after) = (change.session(change.before.as_ref()), change.session(change.after.as_ref()));
    if is_oversized(&before) {
        return None;
    }
    let Ok(after) = after else { return None };
    let new = decisions(&after, &change.keys);
    let Ok(before) = before else {
        return new.contains(&Decision::Allow).then(|| "a session where there was none".into());
    };
    let old = decisions(&before, &change.keys);
    let is_more = |(old, new): (&Decision, &Decision)| {
        *new == Decision::Allow && [Decision::Deny, Decision::ImplicitDeny].contains(old)
    };
    if old.iter().zip(&new).any(is_more) {
        return Some(format!("{old:?} becomes {new:?}"));
    }
    let lasts_longer = after.duration() > before.duration();
    let is_tagged_otherwise = after.tags() != before.tags();
    (lasts_longer || is_tagged_otherwise).then(|| format!("{after:?} was {before:?}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_labelled_narrows_or_same_never_widens(change in any_change()) {
        if !change.label().may_widen() {
            prop_assert_eq!(widening(&change), None, "{}", change.label());
        }
    }

    #[test]
    fn what_is_labelled_same_changes_nothing(change in any_change()) {
        if change.label() == SAME {
            let back = Change { before: change.after.clone(), after: change.before.clone(), ..change.clone() };
            prop_assert_eq!(widening(&back), None);
        }
    }

    #[test]
    fn an_item_that_does_not_change_is_the_same(item in any_item(), others in prop::collection::vec(any_item(), 0..3)) {
        prop_assert_eq!(label(Some(&item), Some(&item), &others.iter().collect::<Vec<_>>()), SAME);
    }
}

#[test]
fn the_random_changes_reach_every_label_and_widen_often() {
    let mut runner = TestRunner::deterministic();
    let mut labels = BTreeMap::new();
    let mut widened = 0;
    for _ in 0..1_000 {
        let change = any_change().new_tree(&mut runner).unwrap().current();
        *labels.entry(change.label()).or_insert(0) += 1;
        widened += u32::from(widening(&change).is_some());
    }
    assert!(
        [SAME, NARROWS, MIXED, WIDENS].iter().all(|label| labels.get(label).is_some_and(|count| *count > 80)),
        "{labels:?}"
    );
    assert!(widened > 80, "{widened}");
}
