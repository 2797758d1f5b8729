//! Which items were read and written, and how?
//!
//! `DynamoDB`: two tables in memory, with the service's own limits and the function's own permissions: it reads both by
//! `BatchGetItem`, lists grants by `Query`, and puts records of state. All else is refused, and remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};

use super::expression::{Expressions, Invalid};
use super::server::{Call, Handle, Reply, Server, lock};

/// The table of grants.
pub const GRANTS: &str = "hallpass-grants";

/// The table of what the function itself keeps.
pub const STATE: &str = "hallpass-state";

/// The text of `DynamoDB`'s own errors, which no client may ever see.
pub const UPSTREAM_TEXT: &str = "text of dynamodb";

/// What makes an answer to a `Query` leave out items or attributes.
const PARTIAL: [&str; 5] = ["ProjectionExpression", "AttributesToGet", "Select", "FilterExpression", "Limit"];

/// The most keys of one `BatchGetItem`.
const BATCH_LIMIT: usize = 100;

/// A key of the grants table: principal and grant.
pub type GrantKey = (String, String);

/// `DynamoDB`.
#[derive(Debug)]
pub struct DynamoDb {
    pub server: Server,
    tables: Arc<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    grants: Mutex<BTreeMap<GrantKey, Value>>,
    state: Mutex<BTreeMap<String, Value>>,
    /// For each of the next `BatchGetItem`, how many of its keys stay unprocessed.
    unprocessed: Mutex<Vec<usize>>,
    /// The most items of one page of a `Query`.
    page_size: Mutex<Option<usize>>,
    /// Put by somebody else just before the next `PutItem`.
    rival: Mutex<Option<(String, Value)>>,
    refused: Mutex<Vec<String>>,
}

/// One `BatchGetItem`, as it came over the wire.
#[derive(Clone, Debug)]
pub struct BatchGet {
    pub access_key: String,
    tables: Map<String, Value>,
}

impl BatchGet {
    /// The names of the tables read.
    pub fn tables(&self) -> Vec<&str> {
        self.tables.keys().map(String::as_str).collect()
    }

    /// Whether everything is read strongly consistent.
    pub fn is_consistent(&self) -> bool {
        self.tables.values().all(|table| table["ConsistentRead"] == true)
    }

    /// The keys asked for in the grants table.
    pub fn grant_keys(&self) -> BTreeSet<GrantKey> {
        self.keys(GRANTS).map(|key| grant_key(key).unwrap()).collect()
    }

    /// The keys asked for in the state table.
    pub fn state_keys(&self) -> BTreeSet<String> {
        self.keys(STATE).map(|key| state_key(key).unwrap()).collect()
    }

    /// How many keys are asked for in both tables.
    pub fn key_count(&self) -> usize {
        self.keys(GRANTS).chain(self.keys(STATE)).count()
    }

    fn keys(&self, table: &str) -> impl Iterator<Item = &Value> {
        self.tables.get(table).and_then(|asked| asked["Keys"].as_array()).into_iter().flatten()
    }
}

/// One `PutItem`, as it came over the wire.
#[derive(Clone, Debug)]
pub struct Put {
    pub table: String,
    /// In plain JSON.
    pub item: Value,
    pub is_conditional: bool,
}

/// One `Query`, as it came over the wire.
#[derive(Clone, Debug)]
pub struct Query {
    pub principal: String,
    /// Whether all attributes of all items are asked for.
    pub is_whole: bool,
    pub is_consistent: bool,
}

impl DynamoDb {
    /// Starts with empty tables.
    pub async fn start() -> Self {
        let tables = Arc::new(Tables::default());
        Self { server: Server::start(Arc::clone(&tables)).await, tables }
    }

    /// Puts an item into the grants table. Attributes are plain JSON, as [`attribute`] types them.
    pub fn grant(&self, principal: &str, grant: &str, attributes: &Value) {
        self.grant_typed(principal, grant, typed(attributes));
    }

    /// Puts an item into the grants table, its attributes in `DynamoDB`'s own JSON.
    pub fn grant_typed(&self, principal: &str, grant: &str, mut attributes: Map<String, Value>) {
        attributes.insert("principal".to_owned(), json!({ "S": principal }));
        attributes.insert("grant".to_owned(), json!({ "S": grant }));
        lock(&self.tables.grants).insert((principal.to_owned(), grant.to_owned()), Value::Object(attributes));
    }

    /// Blocks a principal.
    pub fn block(&self, principal: &str) {
        self.grant(principal, "#blocked", &json!({}));
    }

    /// Empties the grants table.
    pub fn clear(&self) {
        lock(&self.tables.grants).clear();
    }

    /// Puts a record into the state table. Attributes are plain JSON, as [`attribute`] types them.
    pub fn record(&self, id: &str, attributes: &Value) {
        lock(&self.tables.state).insert(id.to_owned(), record(id, attributes));
    }

    /// Makes somebody else put a record into the state table just before the function's next `PutItem`.
    pub fn record_just_before_the_next_put(&self, id: &str, attributes: &Value) {
        *lock(&self.tables.rival) = Some((id.to_owned(), record(id, attributes)));
    }

    /// The state table by id, in plain JSON.
    pub fn records(&self) -> BTreeMap<String, Value> {
        lock(&self.tables.state).iter().map(|(id, record)| (id.clone(), plain_item(record))).collect()
    }

    /// Leaves `counts[n]` keys of the n-th `BatchGetItem` from now unprocessed.
    pub fn leave_unprocessed(&self, counts: &[usize]) {
        *lock(&self.tables.unprocessed) = counts.iter().rev().copied().collect();
    }

    /// Answers a `Query` in pages of this many items.
    pub fn page(&self, size: usize) {
        *lock(&self.tables.page_size) = Some(size);
    }

    /// The `BatchGetItem` calls so far, also those met with a fault.
    pub fn batches(&self) -> Vec<BatchGet> {
        let batch = |call: &Call| BatchGet {
            access_key: call.access_key().to_owned(),
            tables: call.json()["RequestItems"].as_object().unwrap().clone(),
        };
        self.calls("BatchGetItem").iter().map(batch).collect()
    }

    /// The `PutItem` calls so far, also those met with a fault.
    pub fn puts(&self) -> Vec<Put> {
        let put = |call: &Call| {
            let request = call.json();
            Put {
                table: request["TableName"].as_str().unwrap().to_owned(),
                item: plain_item(&request["Item"]),
                is_conditional: request["ConditionExpression"].is_string(),
            }
        };
        self.calls("PutItem").iter().map(put).collect()
    }

    /// The `Query` calls so far, also those met with a fault.
    pub fn queries(&self) -> Vec<Query> {
        let query = |call: &Call| {
            let request = call.json();
            let mut expressions = Expressions::of(&request);
            let condition = expressions.condition("KeyConditionExpression").unwrap().unwrap();
            Query {
                principal: condition.equal_to("principal").unwrap()["S"].as_str().unwrap().to_owned(),
                is_whole: PARTIAL.iter().all(|member| request.get(member).is_none()),
                is_consistent: request["ConsistentRead"] == true,
            }
        };
        self.calls("Query").iter().map(query).collect()
    }

    /// What the function asked for that its role does not allow.
    pub fn refused(&self) -> Vec<String> {
        lock(&self.tables.refused).clone()
    }

    fn calls(&self, operation: &str) -> Vec<Call> {
        let mut calls = self.server.calls();
        calls.retain(|call| call.operation() == Some(operation));
        calls
    }
}

impl Handle for Arc<Tables> {
    async fn answer(&self, call: Call) -> Reply {
        // What the real endpoint tells anybody.
        if (call.method.as_str(), call.path.as_str()) == ("GET", "/") {
            return Reply::new(200, "text/plain", "healthy: dynamodb.us-east-1.amazonaws.com ");
        }
        let request = call.json();
        let answer = match (call.operation(), request["TableName"].as_str()) {
            (Some("BatchGetItem"), _) => self.batch_get(&request),
            (Some("PutItem"), Some(STATE)) => self.put(&request),
            (Some("Query"), Some(GRANTS)) => self.query(&request),
            (operation, table) => {
                let asked = format!("{} {}", operation.unwrap_or_default(), table.unwrap_or_default());
                lock(&self.refused).push(asked);
                return error(400, "AccessDeniedException");
            }
        };
        answer.unwrap_or_else(|Invalid| error(400, "ValidationException"))
    }
}

impl Tables {
    fn batch_get(&self, request: &Value) -> Result<Reply, Invalid> {
        let tables = request["RequestItems"].as_object().ok_or(Invalid)?;
        let asked = tables.iter().map(|(table, asked)| Ok((table.as_str(), asked["Keys"].as_array().ok_or(Invalid)?)));
        let asked = asked.collect::<Result<Vec<_>, _>>()?;
        let total: usize = asked.iter().map(|(_, keys)| keys.len()).sum();
        if asked.iter().any(|(_, keys)| keys.is_empty()) || !(1..=BATCH_LIMIT).contains(&total) {
            return Err(Invalid);
        }
        let mut to_process = total - lock(&self.unprocessed).pop().unwrap_or(0).min(total);
        let mut responses = Map::new();
        let mut unprocessed = Map::new();
        for (table, keys) in asked {
            let distinct: BTreeSet<String> = keys.iter().map(ToString::to_string).collect();
            if distinct.len() != keys.len() {
                return Err(Invalid);
            }
            let mut expressions = Expressions::of(&tables[table]);
            let projection = expressions.projection()?;
            expressions.finish()?;
            let (now, later) = keys.split_at(to_process.min(keys.len()));
            to_process -= now.len();
            let items = now.iter().map(|key| self.item(table, key)).collect::<Result<Vec<_>, _>>()?;
            let items = items.into_iter().flatten().map(|item| projected(item, projection.as_ref()));
            responses.insert(table.to_owned(), items.collect());
            if !later.is_empty() {
                let mut rest = tables[table].clone();
                rest["Keys"] = json!(later);
                unprocessed.insert(table.to_owned(), rest);
            }
        }
        Ok(answer(&json!({"Responses": responses, "UnprocessedKeys": unprocessed})))
    }

    /// The item under a key, if there is one.
    fn item(&self, table: &str, key: &Value) -> Result<Option<Value>, Invalid> {
        match table {
            GRANTS => Ok(lock(&self.grants).get(&grant_key(key).ok_or(Invalid)?).cloned()),
            STATE => Ok(lock(&self.state).get(&state_key(key).ok_or(Invalid)?).cloned()),
            _ => Err(Invalid),
        }
    }

    fn put(&self, request: &Value) -> Result<Reply, Invalid> {
        let item = request["Item"].as_object().ok_or(Invalid)?;
        let id = item["id"]["S"].as_str().filter(|id| !id.is_empty()).ok_or(Invalid)?.to_owned();
        if item.values().any(|value| value.as_object().is_none_or(|typed| typed.len() != 1)) {
            return Err(Invalid);
        }
        let mut expressions = Expressions::of(request);
        let condition = expressions.condition("ConditionExpression")?;
        expressions.finish()?;
        let mut records = lock(&self.state);
        if let Some((id, rival)) = lock(&self.rival).take() {
            records.insert(id, rival);
        }
        let old = records.get(&id);
        if condition.is_none_or(|condition| condition.holds(old)) {
            records.insert(id, request["Item"].clone());
            return Ok(answer(&json!({})));
        }
        let mut body = error_body("ConditionalCheckFailedException");
        if let (Some(old), Some("ALL_OLD")) = (old, request["ReturnValuesOnConditionCheckFailure"].as_str()) {
            body["Item"] = old.clone();
        }
        Ok(reply(400, &body))
    }

    fn query(&self, request: &Value) -> Result<Reply, Invalid> {
        let mut expressions = Expressions::of(request);
        let keys = expressions.condition("KeyConditionExpression")?.ok_or(Invalid)?;
        let filter = expressions.condition("FilterExpression")?;
        let projection = expressions.projection()?;
        expressions.finish()?;
        let principal = keys.equal_to("principal").and_then(|value| value["S"].as_str()).ok_or(Invalid)?;
        let start = request.get("ExclusiveStartKey");
        let start =
            start.map(|key| grant_key(key).filter(|(start, _)| start == principal).ok_or(Invalid)).transpose()?;
        let limit = lock(&self.page_size).unwrap_or(usize::MAX);
        let asked = request["Limit"].as_u64().map_or(usize::MAX, |limit| usize::try_from(limit).unwrap());
        let limit = limit.min(asked).max(1);
        let grants = lock(&self.grants);
        let partition = grants.range((principal.to_owned(), String::new())..);
        let matching = partition
            .take_while(|((of, _), _)| of == principal)
            .filter(|(key, item)| start.as_ref().is_none_or(|start| *key > start) && keys.holds(Some(item)));
        let page: Vec<_> = matching.take(limit).collect();
        let kept = page.iter().filter(|(_, item)| filter.as_ref().is_none_or(|filter| filter.holds(Some(item))));
        let items: Vec<Value> = kept.map(|(_, item)| projected((*item).clone(), projection.as_ref())).collect();
        let mut body = json!({"Count": items.len(), "ScannedCount": page.len(), "Items": items});
        // A page that is full may be the last one: the service only knows when it looks for the next.
        if let Some(((principal, grant), _)) = page.last().filter(|_| page.len() == limit) {
            body["LastEvaluatedKey"] = json!({"principal": {"S": principal}, "grant": {"S": grant}});
        }
        Ok(answer(&body))
    }
}

fn grant_key(key: &Value) -> Option<GrantKey> {
    let (principal, grant) = (key["principal"]["S"].as_str()?, key["grant"]["S"].as_str()?);
    (key.as_object()?.len() == 2).then(|| (principal.to_owned(), grant.to_owned()))
}

fn state_key(key: &Value) -> Option<String> {
    (key.as_object()?.len() == 1).then(|| key["id"]["S"].as_str().map(str::to_owned))?
}

fn record(id: &str, attributes: &Value) -> Value {
    let mut attributes = typed(attributes);
    attributes.insert("id".to_owned(), json!({ "S": id }));
    Value::Object(attributes)
}

fn projected(mut item: Value, projection: Option<&BTreeSet<String>>) -> Value {
    if let Some(names) = projection {
        item.as_object_mut().unwrap().retain(|name, _| names.contains(name));
    }
    item
}

fn typed(attributes: &Value) -> Map<String, Value> {
    attributes.as_object().unwrap().iter().map(|(name, value)| (name.clone(), attribute(value))).collect()
}

/// Plain JSON in `DynamoDB`'s own, as a document client would send it.
pub fn attribute(value: &Value) -> Value {
    match value {
        Value::Null => json!({"NULL": true}),
        Value::Bool(value) => json!({ "BOOL": value }),
        Value::Number(value) => json!({"N": value.to_string()}),
        Value::String(value) => json!({ "S": value }),
        Value::Array(values) => json!({"L": values.iter().map(attribute).collect::<Vec<_>>()}),
        Value::Object(_) => json!({ "M": typed(value) }),
    }
}

/// An item's strings and numbers in plain JSON.
fn plain_item(item: &Value) -> Value {
    let plain = |value: &Value| match (value["S"].as_str(), value["N"].as_str()) {
        (Some(text), _) => json!(text),
        (_, Some(number)) => serde_json::from_str(number).unwrap(),
        _ => value.clone(),
    };
    item.as_object().unwrap().iter().map(|(name, value)| (name.clone(), plain(value))).collect()
}

/// An error as `DynamoDB` words it.
pub fn error(status: u16, code: &str) -> Reply {
    reply(status, &error_body(code))
}

fn error_body(code: &str) -> Value {
    json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": UPSTREAM_TEXT})
}

fn answer(body: &Value) -> Reply {
    reply(200, body)
}

fn reply(status: u16, body: &Value) -> Reply {
    Reply::new(status, "application/x-amz-json-1.0", body.to_string())
}
