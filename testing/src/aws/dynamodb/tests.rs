//! Does this fake keep the service's rules, on which those who write grants rely?

use serde_json::{Map, Value, json};

use super::{GRANTS, Key, STATE, Tables, plain_item};

/// A table with these grants of one principal.
fn holding(grants: &[&str]) -> Tables {
    let mut tables = Tables::default();
    for grant in grants {
        put(&mut tables, "corp/everyone", grant);
    }
    tables
}

fn put(tables: &mut Tables, principal: &str, grant: &str) {
    let item = json!({"principal": {"S": principal}, "grant": {"S": grant}, "revision": {"S": "1-aa"}});
    assert_eq!(ask(tables, "PutItem", &json!({"TableName": GRANTS, "Item": item})), json!({}));
}

fn ask(tables: &mut Tables, operation: &str, request: &Value) -> Value {
    tables.answer(operation, request).map_or(json!("invalid"), |reply| serde_json::from_str(&reply.body).unwrap())
}

fn code(answer: &Value) -> &str {
    answer["__type"].as_str().and_then(|code| code.split_once('#')).map_or("none", |(_, code)| code)
}

fn key(grant: &str) -> Value {
    json!({"principal": {"S": "corp/everyone"}, "grant": {"S": grant}})
}

/// A new revision of a grant, if the old one is this.
fn update(grant: &str, seen: &str) -> Value {
    let mut item = key(grant);
    item["revision"] = json!({"S": "2-bb"});
    json!({"Put": {
        "TableName": GRANTS,
        "Item": item,
        "ConditionExpression": "revision = :seen",
        "ExpressionAttributeValues": {":seen": {"S": seen}},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }})
}

fn create(grant: &str) -> Value {
    let condition = "attribute_not_exists(#principal) AND attribute_not_exists(#grant)";
    let names = json!({"#principal": "principal", "#grant": "grant"});
    json!({"Put": {
        "TableName": GRANTS,
        "Item": key(grant),
        "ConditionExpression": condition,
        "ExpressionAttributeNames": names,
    }})
}

fn delete(grant: &str) -> Value {
    json!({"Delete": {"TableName": GRANTS, "Key": key(grant)}})
}

fn transact(tables: &mut Tables, actions: &[Value]) -> Value {
    ask(tables, "TransactWriteItems", &json!({"TransactItems": actions}))
}

fn grants(tables: &Tables) -> Vec<(&str, Value)> {
    tables.items.iter().map(|(key, item)| (key.sort.as_str(), plain_item(item)["revision"].clone())).collect()
}

#[test]
fn a_transaction_is_done_whole_or_not_at_all() {
    let mut tables = holding(&["deploy", "old"]);
    assert_eq!(transact(&mut tables, &[update("deploy", "1-aa"), create("new"), delete("old")]), json!({}));
    let after = [("deploy", json!("2-bb")), ("new", Value::Null)];
    assert_eq!(grants(&tables), after);

    let cancelled = transact(&mut tables, &[create("newer"), update("deploy", "1-aa"), create("new"), delete("new2")]);
    assert_eq!(code(&cancelled), "TransactionCanceledException");
    let reasons = cancelled["CancellationReasons"].as_array().unwrap();
    let codes: Vec<_> = reasons.iter().map(|reason| reason["Code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["None", "ConditionalCheckFailed", "ConditionalCheckFailed", "None"]);
    assert_eq!(reasons[1]["Item"]["revision"], json!({"S": "2-bb"}), "the item was asked for");
    assert!(reasons[2].get("Item").is_none(), "the item was not asked for");
    assert_eq!(grants(&tables), after);
}

#[test]
fn a_transaction_that_is_sent_again_is_done_once() {
    let mut tables = holding(&["deploy"]);
    let request = |actions: &[Value]| json!({"TransactItems": actions, "ClientRequestToken": "token"});
    assert_eq!(ask(&mut tables, "TransactWriteItems", &request(&[update("deploy", "1-aa")])), json!({}));
    assert_eq!(ask(&mut tables, "TransactWriteItems", &request(&[update("deploy", "1-aa")])), json!({}));
    let other = ask(&mut tables, "TransactWriteItems", &request(&[delete("deploy")]));
    assert_eq!(code(&other), "IdempotentParameterMismatchException");
    assert_eq!(grants(&tables), [("deploy", json!("2-bb"))]);
}

#[test]
fn what_the_service_does_not_take_is_refused() {
    let mut tables = holding(&["deploy"]);
    let many: Vec<Value> = (0..101).map(|number| create(&format!("g{number}"))).collect();
    assert_eq!(transact(&mut tables, &many[..100]), json!({}));
    let changed = |pointer: &str, value: Value| {
        let mut action = update("deploy", "1-aa");
        *action["Put"].pointer_mut(pointer).unwrap() = value;
        action
    };
    for actions in [
        vec![],
        many,
        vec![create("new"), delete("new")],
        vec![json!({})],
        vec![json!({"Update": {}})],
        vec![json!({"ConditionCheck": {"TableName": GRANTS, "Key": key("deploy")}})],
        vec![changed("/TableName", json!("another"))],
        vec![changed("/Item/grant", json!({"S": ""}))],
        vec![changed("/Item/revision", json!("plain"))],
        vec![changed("/Item/revision", json!({"S": "two", "N": "2"}))],
        vec![changed("/Item/revision", json!({"S": "x".repeat(400 * 1024)}))],
        vec![changed("/ConditionExpression", json!("revision = :other"))],
        vec![changed("/ConditionExpression", json!("grant = :seen"))],
        vec![changed("/ConditionExpression", json!("revision = :seen OR revision = :seen"))],
        vec![changed("/ConditionExpression", json!("attribute_not_exists(revision)"))],
        vec![changed("/ConditionExpression", json!(""))],
    ] {
        assert_eq!(transact(&mut tables, &actions), "invalid", "{actions:?}");
    }
    let with_member = json!({"TableName": GRANTS, "Key": key("deploy"), "ProjectionExpression": "revision"});
    assert_eq!(ask(&mut tables, "GetItem", &with_member), "invalid");
    assert_eq!(code(&ask(&mut tables, "UpdateItem", &json!({}))), "UnknownOperationException");
}

#[test]
fn a_write_of_its_own_has_a_condition_too() {
    let mut tables = holding(&["deploy"]);
    let refused = ask(&mut tables, "PutItem", &update("deploy", "0-00")["Put"]);
    assert_eq!(code(&refused), "ConditionalCheckFailedException");
    assert_eq!(refused["Item"]["revision"], json!({"S": "1-aa"}));
    assert_eq!(ask(&mut tables, "PutItem", &update("deploy", "1-aa")["Put"]), json!({}));
    let read = json!({"TableName": GRANTS, "Key": key("deploy"), "ConsistentRead": true});
    assert_eq!(ask(&mut tables, "GetItem", &read)["Item"]["revision"], json!({"S": "2-bb"}));
    assert_eq!(ask(&mut tables, "DeleteItem", &delete("deploy")["Delete"]), json!({}));
    assert_eq!(ask(&mut tables, "GetItem", &read), json!({}));
}

#[test]
fn somebody_else_writes_just_before_the_write_that_a_test_picks() {
    let mut tables = holding(&["deploy"]);
    let (key, item) = Key::grant("corp/everyone", "second").with(Map::new());
    tables.rivals = [vec![], vec![(key, Some(item))]].into();
    assert_eq!(transact(&mut tables, &[create("first")]), json!({}));
    assert_eq!(code(&transact(&mut tables, &[create("second")])), "TransactionCanceledException");
}

#[test]
fn pages_show_every_item_once() {
    let mut tables = holding(&["a", "b", "c", "d"]);
    put(&mut tables, "corp/group/everyone", "a");
    let record = json!({"TableName": STATE, "Item": {"id": {"S": "name#carol"}}});
    assert_eq!(ask(&mut tables, "PutItem", &record), json!({}));
    let query = json!({
        "TableName": GRANTS,
        "KeyConditionExpression": "principal = :p",
        "ExpressionAttributeValues": {":p": {"S": "corp/everyone"}},
    });
    for (operation, request, total) in [("Query", query.clone(), 4), ("Scan", json!({"TableName": GRANTS}), 5)] {
        for (size, expected) in [(1, total + 1), (2, total / 2 + 1), (3, 2), (4, total / 4 + 1), (9, 1)] {
            tables.page_size = Some(size);
            let (mut request, mut seen, mut count) = (request.clone(), vec![], 0);
            loop {
                let page = ask(&mut tables, operation, &request);
                seen.extend(page["Items"].as_array().unwrap().clone());
                count += 1;
                match page.get("LastEvaluatedKey") {
                    Some(key) => request["ExclusiveStartKey"] = key.clone(),
                    None => break,
                }
            }
            seen.sort_by_key(ToString::to_string);
            seen.dedup();
            assert_eq!((seen.len(), count), (total, expected), "{operation} in pages of {size}");
        }
    }
    let elsewhere = json!({"principal": {"S": "corp/group/everyone"}, "grant": {"S": "a"}});
    let mut foreign = query;
    foreign["ExclusiveStartKey"] = elsewhere;
    assert_eq!(ask(&mut tables, "Query", &foreign), "invalid");
    assert_eq!(ask(&mut tables, "Query", &json!({"TableName": GRANTS})), "invalid");
}
