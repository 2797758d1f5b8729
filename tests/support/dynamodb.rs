//! Which items were read, and how?
//!
//! `DynamoDB`: `BatchGetItem` over tables in memory, with the service's own limits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};

use super::server::{Call, Handle, Reply, Server, lock};

/// The table of grants.
pub const GRANTS: &str = "hallpass-grants";

/// The table of what the function itself keeps.
pub const STATE: &str = "hallpass-state";

/// The text of `DynamoDB`'s own errors, which no client may ever see.
pub const UPSTREAM_TEXT: &str = "text of dynamodb";

/// The most keys of one `BatchGetItem`.
const BATCH_LIMIT: usize = 100;

const BATCH_GET: &str = "DynamoDB_20120810.BatchGetItem";

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
    /// For each of the next calls, how many of its keys stay unprocessed.
    unprocessed: Mutex<Vec<usize>>,
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

    /// Whether the grants are read strongly consistent.
    pub fn is_consistent(&self) -> bool {
        self.tables[GRANTS]["ConsistentRead"] == true
    }

    /// The keys asked for in the grants table.
    pub fn grant_keys(&self) -> BTreeSet<GrantKey> {
        let keys = self.tables[GRANTS]["Keys"].as_array().unwrap();
        keys.iter().map(|key| grant_key(key).unwrap()).collect()
    }
}

impl DynamoDb {
    /// Starts with an empty table of grants.
    pub async fn start() -> Self {
        let tables = Arc::new(Tables::default());
        Self { server: Server::start(Arc::clone(&tables)).await, tables }
    }

    /// Puts an item into the grants table. Attributes are plain JSON, as [`attribute`] types them.
    pub fn grant(&self, principal: &str, grant: &str, attributes: &Value) {
        let attributes = attributes.as_object().unwrap().iter();
        let typed = attributes.map(|(name, value)| (name.clone(), attribute(value))).collect();
        self.grant_typed(principal, grant, typed);
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

    /// Leaves `counts[n]` keys of the n-th call from now unprocessed.
    pub fn leave_unprocessed(&self, counts: &[usize]) {
        *lock(&self.tables.unprocessed) = counts.iter().rev().copied().collect();
    }

    /// The `BatchGetItem` calls so far, also those met with a fault.
    pub fn batches(&self) -> Vec<BatchGet> {
        let calls = self.server.calls().into_iter().filter(|call| call.header("x-amz-target") == Some(BATCH_GET));
        calls
            .map(|call| BatchGet {
                access_key: call.access_key().to_owned(),
                tables: call.json()["RequestItems"].as_object().unwrap().clone(),
            })
            .collect()
    }
}

impl Handle for Arc<Tables> {
    async fn answer(&self, call: Call) -> Reply {
        // What the real endpoint tells anybody.
        if (call.method.as_str(), call.path.as_str()) == ("GET", "/") {
            return Reply::new(200, "text/plain", "healthy: dynamodb.us-east-1.amazonaws.com ");
        }
        if call.header("x-amz-target") != Some(BATCH_GET) {
            return error(400, "UnknownOperationException");
        }
        match self.batch_get(&call.json()) {
            Ok(found) => Reply::new(200, "application/x-amz-json-1.0", found.to_string()),
            Err(Invalid) => error(400, "ValidationException"),
        }
    }
}

/// A request that `DynamoDB` would call invalid.
struct Invalid;

impl Tables {
    fn batch_get(&self, request: &Value) -> Result<Value, Invalid> {
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
            let (now, later) = keys.split_at(to_process.min(keys.len()));
            to_process -= now.len();
            let items = now.iter().map(|key| self.item(table, key)).collect::<Result<Vec<_>, _>>()?;
            responses.insert(table.to_owned(), items.into_iter().flatten().collect());
            if !later.is_empty() {
                let mut rest = tables[table].clone();
                rest["Keys"] = json!(later);
                unprocessed.insert(table.to_owned(), rest);
            }
        }
        Ok(json!({"Responses": responses, "UnprocessedKeys": unprocessed}))
    }

    /// The item under a key, if there is one.
    fn item(&self, table: &str, key: &Value) -> Result<Option<Value>, Invalid> {
        let key = grant_key(key).filter(|_| table == GRANTS).ok_or(Invalid)?;
        Ok(lock(&self.grants).get(&key).cloned())
    }
}

fn grant_key(key: &Value) -> Option<GrantKey> {
    let (principal, grant) = (key["principal"]["S"].as_str()?, key["grant"]["S"].as_str()?);
    (key.as_object()?.len() == 2).then(|| (principal.to_owned(), grant.to_owned()))
}

/// Plain JSON in `DynamoDB`'s own, as a document client would send it.
pub fn attribute(value: &Value) -> Value {
    match value {
        Value::Null => json!({"NULL": true}),
        Value::Bool(value) => json!({ "BOOL": value }),
        Value::Number(value) => json!({"N": value.to_string()}),
        Value::String(value) => json!({ "S": value }),
        Value::Array(values) => json!({"L": values.iter().map(attribute).collect::<Vec<_>>()}),
        Value::Object(values) => {
            let typed: Map<String, Value> = values.iter().map(|(key, value)| (key.clone(), attribute(value))).collect();
            json!({ "M": typed })
        }
    }
}

/// An error as `DynamoDB` words it.
pub fn error(status: u16, code: &str) -> Reply {
    let body = json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": UPSTREAM_TEXT});
    Reply::new(status, "application/x-amz-json-1.0", body.to_string())
}
