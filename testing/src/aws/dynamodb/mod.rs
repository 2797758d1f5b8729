//! Which items were read and written, and how?
//!
//! `DynamoDB`: two tables in memory, with the service's own limits. The function has the permissions of its own role: it
//! reads both tables by `BatchGetItem`, lists grants by `Query`, and puts records of state. All else is refused, and
//! remembered. Operators may do what is there.
//!
//! A member of a request that this fake does not know is refused: nothing that a client asks for is passed over.

mod condition;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};

use self::condition::Condition;
use crate::server::{Call, Handle, Reply, Server, lock};
use crate::world::FUNCTION_KEY;

/// The table of grants.
pub const GRANTS: &str = "hallpass-grants";

/// The table of what the function itself keeps.
pub const STATE: &str = "hallpass-state";

/// The text of `DynamoDB`'s own errors, which no client may ever see.
pub const UPSTREAM_TEXT: &str = "text of dynamodb";

/// The most keys of one `BatchGetItem`.
const BATCH_LIMIT: usize = 100;

/// The most actions of one `TransactWriteItems`.
const TRANSACTION_LIMIT: usize = 100;

/// The most bytes of one item, about.
const ITEM_LIMIT: usize = 400 * 1024;

/// A key of the grants table: principal and grant.
pub type GrantKey = (String, String);

type Item = Map<String, Value>;

/// What the service calls a `ValidationException`.
#[derive(Debug)]
struct Invalid;

/// `DynamoDB`.
#[derive(Debug)]
pub struct DynamoDb {
    pub server: Server,
    tables: Arc<Mutex<Tables>>,
}

#[derive(Debug, Default)]
struct Tables {
    items: BTreeMap<Key, Item>,
    /// For each of the next `BatchGetItem`, how many of its keys stay unprocessed.
    unprocessed: VecDeque<usize>,
    /// The most items of one page.
    page_size: Option<usize>,
    /// For each of the next writes, what somebody else writes just before it.
    rivals: VecDeque<Vec<(Key, Option<Item>)>>,
    /// The transactions by their `ClientRequestToken`.
    done: BTreeMap<String, Value>,
    refused: Vec<String>,
}

/// Where an item is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    table: &'static str,
    partition: String,
    /// Empty if the table has no sort key.
    sort: String,
}

/// One `BatchGetItem`, as it came over the wire.
#[derive(Clone, Debug)]
pub struct BatchGet {
    pub access_key: String,
    tables: Item,
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
        self.keys(GRANTS).map(|key| (key.partition, key.sort)).collect()
    }

    /// The keys asked for in the state table.
    pub fn state_keys(&self) -> BTreeSet<String> {
        self.keys(STATE).map(|key| key.partition).collect()
    }

    /// How many keys are asked for in both tables.
    pub fn key_count(&self) -> usize {
        self.keys(GRANTS).chain(self.keys(STATE)).count()
    }

    fn keys(&self, table: &str) -> impl Iterator<Item = Key> {
        let keys = self.tables.get(table).and_then(|asked| asked["Keys"].as_array()).into_iter().flatten();
        keys.map(move |key| Key::exactly(table, key).unwrap())
    }
}

/// One `Query` or `Scan`, as it came over the wire.
#[derive(Clone, Debug)]
pub struct Listing {
    pub table: String,
    /// None in a `Scan`.
    pub partition: Option<String>,
    pub is_consistent: bool,
}

/// One change, of its own or of a transaction, as it came over the wire.
#[derive(Clone, Debug)]
pub struct Write {
    /// `Put`, `Delete` or `ConditionCheck`.
    pub kind: &'static str,
    pub table: String,
    /// The whole item of a `Put`, else the key; in plain JSON.
    pub item: Value,
    pub is_conditional: bool,
}

impl DynamoDb {
    /// Starts with empty tables.
    pub async fn start() -> Self {
        let tables = Arc::new(Mutex::new(Tables::default()));
        Self { server: Server::start(Arc::clone(&tables)).await, tables }
    }

    /// Puts an item into the grants table. Attributes are plain JSON, as [`attribute`] types them.
    pub fn grant(&self, principal: &str, grant: &str, attributes: &Value) {
        self.grant_typed(principal, grant, typed(attributes));
    }

    /// Puts an item into the grants table, its attributes in `DynamoDB`'s own JSON.
    pub fn grant_typed(&self, principal: &str, grant: &str, attributes: Item) {
        let (key, item) = Key::grant(principal, grant).with(attributes);
        lock(&self.tables).items.insert(key, item);
    }

    /// Blocks a principal.
    pub fn block(&self, principal: &str) {
        self.block_with(principal, &json!({}));
    }

    /// Blocks a principal by an item with these attributes, which mean nothing.
    pub fn block_with(&self, principal: &str, attributes: &Value) {
        self.grant(&format!("blocked#{principal}"), "#blocked", attributes);
    }

    /// Removes an item from the grants table.
    pub fn remove(&self, principal: &str, grant: &str) {
        lock(&self.tables).items.remove(&Key::grant(principal, grant));
    }

    /// Empties the grants table.
    pub fn clear(&self) {
        lock(&self.tables).items.retain(|key, _| key.table != GRANTS);
    }

    /// Empties the state table.
    pub fn clear_records(&self) {
        lock(&self.tables).items.retain(|key, _| key.table != STATE);
    }

    /// Puts a record into the state table. Attributes are plain JSON, as [`attribute`] types them.
    pub fn record(&self, id: &str, attributes: &Value) {
        let (key, record) = Key::record(id).with(typed(attributes));
        lock(&self.tables).items.insert(key, record);
    }

    /// The grants table, in plain JSON.
    pub fn grants(&self) -> BTreeMap<GrantKey, Value> {
        self.table(GRANTS, |key| (key.partition.clone(), key.sort.clone()))
    }

    /// The state table by id, in plain JSON.
    pub fn records(&self) -> BTreeMap<String, Value> {
        self.table(STATE, |key| key.partition.clone())
    }

    fn table<K: Ord>(&self, table: &str, name: impl Fn(&Key) -> K) -> BTreeMap<K, Value> {
        let tables = lock(&self.tables);
        let items = tables.items.iter().filter(|(key, _)| key.table == table);
        items.map(|(key, item)| (name(key), plain_item(item))).collect()
    }

    /// Makes somebody else put a record into the state table just before the next write.
    pub fn record_just_before_the_next_put(&self, id: &str, attributes: &Value) {
        let (key, record) = Key::record(id).with(typed(attributes));
        self.change_before(0, key, Some(record));
    }

    /// Makes somebody else put an item into the grants table, or remove it, just before one of the next writes: the one
    /// after `writes` more.
    pub fn grant_just_before(&self, writes: usize, principal: &str, grant: &str, attributes: Option<&Value>) {
        let key = Key::grant(principal, grant);
        let item = attributes.map(|attributes| key.clone().with(typed(attributes)).1);
        self.change_before(writes, key, item);
    }

    fn change_before(&self, writes: usize, key: Key, item: Option<Item>) {
        let rivals = &mut lock(&self.tables).rivals;
        if rivals.len() <= writes {
            rivals.resize(writes + 1, Vec::new());
        }
        rivals[writes].push((key, item));
    }

    /// Leaves `counts[n]` keys of the n-th `BatchGetItem` from now unprocessed.
    pub fn leave_unprocessed(&self, counts: &[usize]) {
        lock(&self.tables).unprocessed = counts.iter().copied().collect();
    }

    /// Answers a `Query` or `Scan` in pages of this many items.
    pub fn page(&self, size: usize) {
        lock(&self.tables).page_size = Some(size);
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
    pub fn puts(&self) -> Vec<Write> {
        self.calls("PutItem").iter().map(|call| Write::of("Put", &call.json())).collect()
    }

    /// The `TransactWriteItems` calls so far, also those met with a fault.
    pub fn transactions(&self) -> Vec<Vec<Write>> {
        let writes = |call: &Call| {
            let request = call.json();
            let actions = request["TransactItems"].as_array().unwrap().iter();
            actions.map(|action| action_of(action).map(|(kind, part)| Write::of(kind, part)).unwrap()).collect()
        };
        self.calls("TransactWriteItems").iter().map(writes).collect()
    }

    /// The `Query` and `Scan` calls so far, also those met with a fault.
    pub fn listings(&self) -> Vec<Listing> {
        let calls = self.server.calls();
        let calls = calls.iter().filter(|call| matches!(call.operation(), Some("Query" | "Scan")));
        let listing = |call: &Call| {
            let request = call.json();
            Listing {
                table: request["TableName"].as_str().unwrap().to_owned(),
                partition: partition(&request).unwrap(),
                is_consistent: request["ConsistentRead"] == true,
            }
        };
        calls.map(listing).collect()
    }

    /// What the function asked for that its role does not allow.
    pub fn refused(&self) -> Vec<String> {
        lock(&self.tables).refused.clone()
    }

    fn calls(&self, operation: &str) -> Vec<Call> {
        let mut calls = self.server.calls();
        calls.retain(|call| call.operation() == Some(operation));
        calls
    }
}

impl Write {
    fn of(kind: &'static str, request: &Value) -> Self {
        let item = request.get("Item").unwrap_or(&request["Key"]);
        Self {
            kind,
            table: request["TableName"].as_str().unwrap().to_owned(),
            item: plain_item(item.as_object().unwrap()),
            is_conditional: request["ConditionExpression"].is_string(),
        }
    }
}

impl Key {
    fn grant(principal: &str, grant: &str) -> Self {
        Self { table: GRANTS, partition: principal.to_owned(), sort: grant.to_owned() }
    }

    fn record(id: &str) -> Self {
        Self { table: STATE, partition: id.to_owned(), sort: String::new() }
    }

    /// The key of an item, which may have more attributes.
    fn of(table: &str, item: &Value) -> Result<Self, Invalid> {
        let part = |name: &str| item[name]["S"].as_str().filter(|text| !text.is_empty()).ok_or(Invalid);
        match table {
            GRANTS => Ok(Self::grant(part("principal")?, part("grant")?)),
            STATE => Ok(Self::record(part("id")?)),
            _ => Err(Invalid),
        }
    }

    /// The key that is this and nothing more.
    fn exactly(table: &str, key: &Value) -> Result<Self, Invalid> {
        let parsed = Self::of(table, key)?;
        if json!(parsed.attributes()) == *key { Ok(parsed) } else { Err(Invalid) }
    }

    fn attributes(&self) -> Item {
        let parts = match self.table {
            GRANTS => vec![("principal", &self.partition), ("grant", &self.sort)],
            _ => vec![("id", &self.partition)],
        };
        parts.into_iter().map(|(name, text)| (name.to_owned(), json!({ "S": text }))).collect()
    }

    /// An item with this key.
    fn with(self, mut attributes: Item) -> (Self, Item) {
        attributes.extend(self.attributes());
        (self, attributes)
    }

    /// A scan has its partitions in an order that means nothing: here by their last letters.
    fn scan_order(&self) -> (String, &str) {
        (self.partition.chars().rev().collect(), &self.sort)
    }
}

impl Handle for Arc<Mutex<Tables>> {
    async fn answer(&self, call: Call) -> Reply {
        // What the real endpoint tells anybody.
        if (call.method.as_str(), call.path.as_str()) == ("GET", "/") {
            return Reply::new(200, "text/plain", "healthy: dynamodb.us-east-1.amazonaws.com ");
        }
        let request = call.json();
        let operation = call.operation().unwrap_or_default();
        let table = request["TableName"].as_str().unwrap_or_default();
        let mut tables = lock(self);
        let is_allowed = matches!((operation, table), ("BatchGetItem", _) | ("PutItem", STATE) | ("Query", GRANTS));
        if call.access_key() == FUNCTION_KEY && !is_allowed {
            tables.refused.push(format!("{operation} {table}"));
            return error(400, "AccessDeniedException");
        }
        tables.answer(operation, &request).unwrap_or_else(|Invalid| error(400, "ValidationException"))
    }
}

impl Tables {
    fn answer(&mut self, operation: &str, request: &Value) -> Result<Reply, Invalid> {
        let writes = matches!(operation, "PutItem" | "DeleteItem" | "TransactWriteItems");
        for (key, item) in self.rivals.pop_front_if(|_| writes).unwrap_or_default() {
            self.set(key, item);
        }
        match operation {
            "BatchGetItem" => self.batch_get(request),
            "GetItem" => self.get(request),
            "Query" | "Scan" => self.list(operation, request),
            "PutItem" => self.write("Put", request),
            "DeleteItem" => self.write("Delete", request),
            "TransactWriteItems" => self.transact(request),
            _ => Ok(error(400, "UnknownOperationException")),
        }
    }

    fn batch_get(&mut self, request: &Value) -> Result<Reply, Invalid> {
        only(request, &["RequestItems"])?;
        let tables = request["RequestItems"].as_object().ok_or(Invalid)?;
        let mut asked = Vec::new();
        for (table, part) in tables {
            only(part, &["Keys", "ConsistentRead"])?;
            let keys = part["Keys"].as_array().filter(|keys| !keys.is_empty()).ok_or(Invalid)?;
            asked.extend(keys.iter().map(|key| (table, part, key)));
        }
        let keys = asked.iter().map(|(table, _, key)| Key::exactly(table, key)).collect::<Result<Vec<_>, _>>()?;
        let are_distinct = keys.iter().collect::<BTreeSet<_>>().len() == keys.len();
        if !are_distinct || !(1..=BATCH_LIMIT).contains(&keys.len()) {
            return Err(Invalid);
        }
        let processed = keys.len().saturating_sub(self.unprocessed.pop_front().unwrap_or(0));
        let mut responses: BTreeMap<&str, Vec<&Item>> = tables.keys().map(|table| (table.as_str(), vec![])).collect();
        for key in &keys[..processed] {
            responses.get_mut(key.table).unwrap().extend(self.items.get(key));
        }
        let mut unprocessed = Map::new();
        for (table, part, key) in &asked[processed..] {
            let rest = unprocessed.entry(table.as_str()).or_insert_with(|| {
                let mut rest = (*part).clone();
                rest["Keys"] = json!([]);
                rest
            });
            rest["Keys"].as_array_mut().unwrap().push((*key).clone());
        }
        Ok(answer(&json!({"Responses": responses, "UnprocessedKeys": unprocessed})))
    }

    fn get(&self, request: &Value) -> Result<Reply, Invalid> {
        only(request, &["TableName", "Key", "ConsistentRead"])?;
        let item = self.items.get(&Key::exactly(table(request)?, &request["Key"])?);
        Ok(answer(&item.map_or_else(|| json!({}), |item| json!({ "Item": item }))))
    }

    fn list(&self, operation: &str, request: &Value) -> Result<Reply, Invalid> {
        let table = table(request)?;
        let partition = partition(request)?;
        match operation {
            "Query" => only(request, &[QUERY, &["TableName", "ExclusiveStartKey", "ConsistentRead"]].concat())?,
            _ => only(request, &[SCAN, &["TableName", "ExclusiveStartKey", "ConsistentRead"]].concat())?,
        }
        let filter = if operation == "Scan" { Condition::of(request, "FilterExpression")? } else { None };
        if (operation == "Query") != partition.is_some() {
            return Err(Invalid);
        }
        let is_meant = |key: &Key| key.table == table && partition.as_ref().is_none_or(|of| *of == key.partition);
        let start = request.get("ExclusiveStartKey").map(|key| Key::exactly(table, key)).transpose()?;
        if start.as_ref().is_some_and(|start| !is_meant(start)) {
            return Err(Invalid);
        }
        let mut found: Vec<(&Key, &Item)> = self.items.iter().filter(|(key, _)| is_meant(key)).collect();
        found.sort_by_key(|(key, _)| key.scan_order());
        found.retain(|(key, _)| start.as_ref().is_none_or(|start| key.scan_order() > start.scan_order()));
        found.truncate(self.page_size.unwrap_or(usize::MAX));
        let items: Vec<&Item> = found.iter().map(|(_, item)| *item).collect();
        let scanned = items.len();
        let items: Vec<_> =
            items.into_iter().filter(|item| filter.as_ref().is_none_or(|filter| filter.holds(Some(item)))).collect();
        let mut body = json!({"Count": items.len(), "ScannedCount": scanned, "Items": items});
        // A page that is full may be the last one: the service only knows when it looks for the next.
        if let Some((key, _)) = found.last().filter(|_| Some(found.len()) == self.page_size) {
            body["LastEvaluatedKey"] = json!(key.attributes());
        }
        Ok(answer(&body))
    }

    fn write(&mut self, kind: &str, request: &Value) -> Result<Reply, Invalid> {
        let mut request = request.clone();
        // Only a write of its own can answer with what was there before.
        let returned = request.as_object_mut().and_then(|request| request.remove("ReturnValues"));
        let returns_old = match returned.as_ref().map(|values| values.as_str()) {
            None | Some(Some("NONE")) => false,
            Some(Some("ALL_OLD")) => true,
            Some(_) => return Err(Invalid),
        };
        let change = self.change(kind, &request)?;
        if change.holds {
            let old = self.items.get(&change.key).filter(|_| returns_old).cloned();
            self.set(change.key, change.item);
            return Ok(answer(&old.map_or_else(|| json!({}), |old| json!({ "Attributes": old }))));
        }
        let mut body = error_body("ConditionalCheckFailedException");
        body.as_object_mut().unwrap().extend(change.shown.map(|old| ("Item".to_owned(), json!(old))));
        Ok(reply(400, &body))
    }

    fn transact(&mut self, request: &Value) -> Result<Reply, Invalid> {
        only(request, &["TransactItems", "ClientRequestToken"])?;
        let actions = request["TransactItems"].as_array().ok_or(Invalid)?;
        let token = request["ClientRequestToken"].as_str();
        if let Some(done) = token.and_then(|token| self.done.get(token)) {
            let is_repeated = done == &request["TransactItems"];
            return Ok(if is_repeated {
                answer(&json!({}))
            } else {
                error(400, "IdempotentParameterMismatchException")
            });
        }
        let changes = actions.iter().map(|action| {
            let (kind, part) = action_of(action)?;
            self.change(kind, part).map(|change| (kind, change))
        });
        let changes = changes.collect::<Result<Vec<_>, _>>()?;
        let keys: BTreeSet<&Key> = changes.iter().map(|(_, change)| &change.key).collect();
        if keys.len() != changes.len() || !(1..=TRANSACTION_LIMIT).contains(&changes.len()) {
            return Err(Invalid);
        }
        if changes.iter().any(|(_, change)| !change.holds) {
            let reasons = changes.into_iter().map(|(_, change)| {
                let mut reason = reason(if change.holds { "None" } else { "ConditionalCheckFailed" });
                let shown = change.shown.filter(|_| !change.holds);
                reason.as_object_mut().unwrap().extend(shown.map(|old| ("Item".to_owned(), json!(old))));
                reason
            });
            return Ok(cancelled_for(reasons.collect()));
        }
        for (_, change) in changes.into_iter().filter(|(kind, _)| *kind != "ConditionCheck") {
            self.set(change.key, change.item);
        }
        self.done.extend(token.map(|token| (token.to_owned(), request["TransactItems"].clone())));
        Ok(answer(&json!({})))
    }

    /// What a `Put`, a `Delete` or a `ConditionCheck` would do.
    fn change(&self, kind: &str, request: &Value) -> Result<Change, Invalid> {
        let what = if kind == "Put" { "Item" } else { "Key" };
        only(request, &[CONDITION, &["TableName", what, "ReturnValuesOnConditionCheckFailure"]].concat())?;
        let table = table(request)?;
        let (key, item) = if kind == "Put" {
            let item = &request["Item"];
            let is_item = item.as_object().is_some_and(|item| item.values().all(is_typed));
            if !is_item || item.to_string().len() > ITEM_LIMIT {
                return Err(Invalid);
            }
            (Key::of(table, item)?, item.as_object().cloned())
        } else {
            (Key::exactly(table, &request["Key"])?, None)
        };
        let condition = Condition::of(request, "ConditionExpression")?;
        if kind == "ConditionCheck" && condition.is_none() {
            return Err(Invalid);
        }
        let old = self.items.get(&key);
        let holds = condition.is_none_or(|condition| condition.holds(old));
        let shown = old.filter(|_| request["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD").cloned();
        Ok(Change { key, item, holds, shown })
    }

    fn set(&mut self, key: Key, item: Option<Item>) {
        match item {
            Some(item) => self.items.insert(key, item),
            None => self.items.remove(&key),
        };
    }
}

/// A change that a request asks for.
struct Change {
    key: Key,
    /// What is there afterwards.
    item: Option<Item>,
    holds: bool,
    /// What was there, if the client wants to see it.
    shown: Option<Item>,
}

/// The members that belong to a condition.
const CONDITION: &[&str] = &["ConditionExpression", "ExpressionAttributeNames", "ExpressionAttributeValues"];

/// The members that belong to the condition of a `Scan`.
const SCAN: &[&str] = &["FilterExpression", "ExpressionAttributeNames", "ExpressionAttributeValues"];

/// The members that belong to the condition of a `Query`.
const QUERY: &[&str] = &["KeyConditionExpression", "ExpressionAttributeNames", "ExpressionAttributeValues"];

fn only(request: &Value, members: &[&str]) -> Result<(), Invalid> {
    let mut given = request.as_object().ok_or(Invalid)?.keys();
    if given.all(|member| members.contains(&member.as_str())) { Ok(()) } else { Err(Invalid) }
}

fn table(request: &Value) -> Result<&str, Invalid> {
    request["TableName"].as_str().ok_or(Invalid)
}

/// The partition that a `Query` asks for.
fn partition(request: &Value) -> Result<Option<String>, Invalid> {
    if request.get("KeyConditionExpression").is_none() {
        return Ok(None);
    }
    let condition = Condition::of(request, "KeyConditionExpression")?.ok_or(Invalid)?;
    let name = if request["TableName"] == GRANTS { "principal" } else { "id" };
    let partition = condition.only_equal(name).and_then(|value| value["S"].as_str()).ok_or(Invalid)?;
    Ok(Some(partition.to_owned()))
}

/// The one action that this member of a transaction is.
fn action_of(action: &Value) -> Result<(&'static str, &Value), Invalid> {
    only(action, &["Put", "Delete", "ConditionCheck"])?;
    let given = ["Put", "Delete", "ConditionCheck"].into_iter().filter_map(|kind| Some((kind, action.get(kind)?)));
    match given.collect::<Vec<_>>().as_slice() {
        [one] => Ok(*one),
        _ => Err(Invalid),
    }
}

/// Whether this is a value in `DynamoDB`'s own JSON.
fn is_typed(value: &Value) -> bool {
    let Some((kind, inner)) = value.as_object().filter(|typed| typed.len() == 1).and_then(|typed| typed.iter().next())
    else {
        return false;
    };
    let is_number = |text: &Value| text.as_str().is_some_and(|text| text.parse::<f64>().is_ok());
    let is_set = |is_member: &dyn Fn(&Value) -> bool| {
        inner.as_array().is_some_and(|members| !members.is_empty() && members.iter().all(is_member))
    };
    match kind.as_str() {
        "S" | "B" => inner.is_string(),
        "N" => is_number(inner),
        "BOOL" => inner.is_boolean(),
        "NULL" => *inner == true,
        "L" => inner.as_array().is_some_and(|values| values.iter().all(is_typed)),
        "M" => inner.as_object().is_some_and(|values| values.values().all(is_typed)),
        "SS" | "BS" => is_set(&Value::is_string),
        "NS" => is_set(&is_number),
        _ => false,
    }
}

fn typed(attributes: &Value) -> Item {
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

/// The opposite of [`attribute`]. Sets and bytes, which plain JSON does not have, stay as they are.
fn plain(value: &Value) -> Value {
    let (kind, inner) = value.as_object().unwrap().iter().next().unwrap();
    match (kind.as_str(), inner) {
        ("S" | "BOOL", inner) => inner.clone(),
        ("NULL", _) => Value::Null,
        ("N", inner) => serde_json::from_str(inner.as_str().unwrap()).unwrap(),
        ("L", Value::Array(values)) => values.iter().map(plain).collect(),
        ("M", Value::Object(values)) => plain_item(values),
        _ => value.clone(),
    }
}

fn plain_item(item: &Item) -> Value {
    item.iter().map(|(name, value)| (name.clone(), plain(value))).collect()
}

/// An error as `DynamoDB` words it.
pub fn error(status: u16, code: &str) -> Reply {
    reply(status, &error_body(code))
}

/// The error of a `TransactWriteItems` that was not carried out, with the code of each action's reason: `None`,
/// `TransactionConflict`, `ThrottlingError`.
pub fn cancelled(codes: &[&str]) -> Reply {
    cancelled_for(codes.iter().map(|code| reason(code)).collect())
}

fn reason(code: &str) -> Value {
    if code == "None" { json!({ "Code": code }) } else { json!({"Code": code, "Message": UPSTREAM_TEXT}) }
}

fn cancelled_for(reasons: Value) -> Reply {
    let mut body = error_body("TransactionCanceledException");
    body["CancellationReasons"] = reasons;
    reply(400, &body)
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
