//! What do the tables hold about this caller, and what is written there?
//!
//! One strongly consistent `BatchGetItem` over both tables reads the grant's items, the blocks of all principals and
//! the owner of the federated name: its cost depends on the caller's groups alone. An answer that is not complete is a
//! failure, never a smaller answer, since what is missing may be a block or a Deny.
//!
//! Written is the state table alone, each record once and by a condition: who owns a name, which token is spent.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, ReturnValuesOnConditionCheckFailure};
use aws_types::SdkConfig;
use data_encoding::HEXLOWER;
use futures_util::FutureExt;
use futures_util::future::{try_join, try_join_all};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::{Number, Value};
use sha2::{Digest, Sha256};

use super::authorize::{Dues, Matches, Pending, Session};
use super::item::Attributes;
use super::item::StoredItem;
use super::{GrantName, Holdings, Principal};
use crate::identity::Caller;
use crate::net::aws::{AtMost, ConnectOnly, Upstream};
use crate::session::FederatedName;
use crate::time::since_epoch;

/// DynamoDB's limit of keys in one `BatchGetItem`.
const KEYS_IN_A_BATCH: usize = 100;
/// How often unprocessed keys are asked for again; the request's own deadline comes first.
const ROUNDS: u32 = 5;
/// Before the first repetition; doubled before each further one.
const BACKOFF: Duration = Duration::from_millis(25);
/// The sort key of a block. No grant can have this name.
const BLOCKED: &str = "#blocked";
/// Queries in flight at one time, and beside them the blocks in batches: 202 at once would be throttled on a small table.
const QUERIES_IN_FLIGHT: usize = 15;

/// Why the tables could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// DynamoDB gave an error.
    #[error(transparent)]
    Upstream(#[from] Upstream),
    /// DynamoDB left keys unprocessed, also when asked again, or sent a page without items.
    #[error("DynamoDB's answer is incomplete")]
    Incomplete,
    /// DynamoDB answered with something that was not asked for.
    #[error("DynamoDB answered with an item that was not asked for")]
    Unexpected,
    /// A record of the state table does not say whose it is.
    #[error("the record `{0}` of the state table is malformed")]
    RecordMalformed(String),
}

impl StoreError {
    /// The name in the audit line.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Upstream(error) => error.reason(),
            Self::Incomplete => "grants_incomplete",
            Self::Unexpected => "grants_unexpected",
            Self::RecordMalformed(_) => "record_malformed",
        }
    }
}

/// Why a session may not be minted after all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettleError {
    /// Another took the name a moment before.
    #[error("the federated name `{0}` belongs to somebody else")]
    NameTaken(String),
    /// The token was used before.
    #[error("the token was used before, and can be used only once")]
    TokenSpent,
    /// It cannot be known.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SettleError {
    /// The name in the audit line.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NameTaken(_) => "name_owned",
            Self::TokenSpent => "token_spent",
            Self::Store(error) => error.reason(),
        }
    }
}

/// The table of grants, which is only read, and the table of state.
#[derive(Debug, Clone)]
pub struct Store {
    client: Client,
    grants: String,
    state: String,
}

/// A key of one of the tables.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Grant { principal: String, sort: String },
    State { id: String },
}

type Record = HashMap<String, AttributeValue>;

impl Store {
    /// Uses the two tables with the settings of `sdk`.
    #[must_use]
    pub fn new(sdk: &SdkConfig, grants: String, state: String) -> Self {
        let config = Builder::from(sdk).interceptor(AtMost::BATCH).build();
        Self { client: Client::from_conf(config), grants, state }
    }

    /// Makes the connection ahead of the first request.
    pub async fn prepare(&self) {
        // Never sent. What fails here fails again, and is told, in the request.
        let connecting = self.client.batch_get_item().customize().interceptor(ConnectOnly);
        let _ = connecting.send().await;
    }

    /// Reads everything that concerns a request of `caller` for `grant`.
    ///
    /// # Errors
    /// [`StoreError`] where any of it could not be read.
    pub async fn read(&self, caller: &Caller, grant: &GrantName) -> Result<Matches, StoreError> {
        let principals = Principal::of(caller);
        let grant_key = |principal: &Principal, sort: &str| Key::Grant {
            principal: principal.as_str().to_owned(),
            sort: sort.to_owned(),
        };
        let of_principal = |principal| [grant_key(principal, grant.as_str()), block_key(principal)];
        let name_key = name_key(caller);
        let keys: Vec<Key> = principals.iter().flat_map(of_principal).chain(name_key.clone()).collect();
        let mut found = self.records(&keys).await?;
        let mut matches = Matches::default();
        for principal in principals {
            if found.remove(&block_key(&principal)).is_some() {
                matches.blocked.push(principal.clone());
            }
            if let Some(record) = found.remove(&grant_key(&principal, grant.as_str())) {
                matches.items.push(StoredItem { principal, attributes: attributes(record) });
            }
        }
        matches.name_owner = owner(name_key, &mut found)?;
        Ok(matches)
    }

    /// Reads everything that concerns `caller`: one query for each principal, and beside them the blocks and the owner of
    /// the name.
    ///
    /// # Errors
    /// [`StoreError`] where any of it could not be read.
    pub async fn read_all(&self, caller: &Caller) -> Result<Holdings, StoreError> {
        let principals = Principal::of(caller);
        let queries: Vec<_> = principals.iter().map(|principal| self.query(principal).boxed()).collect();
        let queries = stream::iter(queries).buffered(QUERIES_IN_FLIGHT).try_collect::<Vec<_>>();
        let name_key = name_key(caller);
        let keys: Vec<Key> = principals.iter().map(block_key).chain(name_key.clone()).collect();
        let (all, mut found) = try_join(queries, self.records(&keys)).await?;
        let mut holdings = Holdings { name_owner: owner(name_key, &mut found)?, ..Holdings::default() };
        let mut grants: BTreeMap<String, Vec<StoredItem>> = BTreeMap::new();
        for (principal, records) in principals.into_iter().zip(all) {
            if found.contains_key(&block_key(&principal)) {
                holdings.blocked.push(principal.clone());
            }
            for (sort, record) in records {
                let item = StoredItem { principal: principal.clone(), attributes: attributes(record) };
                grants.entry(sort).or_default().push(item);
            }
        }
        // What no request can name can be asked for by nobody.
        let named = grants.into_iter().filter_map(|(name, items)| Some((GrantName::new(&name)?, items)));
        holdings.grants = named.collect();
        Ok(holdings)
    }

    /// Records what is due, which makes the session one that may be minted. What was recorded stays, also when the
    /// session is not minted after all: a token that may have been used has been used.
    ///
    /// # Errors
    /// [`SettleError`] where another was first, or where that cannot be known.
    pub async fn settle(&self, pending: Pending, request_id: &str, now: SystemTime) -> Result<Session, SettleError> {
        let Pending { session, dues: Dues { name, token } } = pending;
        let text = |text: &str| AttributeValue::S(text.to_owned());
        // A retry of this very call may meet what the lost answer was about.
        let attempt = text(&format!("{:016x}", RandomState::new().hash_one(request_id)));
        if let Some(take) = name {
            let id = name_id(&take.name);
            let record = Record::from([
                ("id".to_owned(), text(&id)),
                ("owner".to_owned(), text(take.owner.as_str())),
                ("request_id".to_owned(), text(request_id)),
            ]);
            let taken = self.put_first(record, None).await?;
            if taken.is_some_and(|other| other.get("owner") != Some(&text(take.owner.as_str()))) {
                return Err(SettleError::NameTaken(take.name));
            }
        }
        if let Some(token) = token {
            let digest = HEXLOWER.encode(&Sha256::digest(&token.token_id));
            let record = Record::from([
                ("id".to_owned(), AttributeValue::S(format!("jti#{}#{digest}", session.issuer()))),
                ("expires_at".to_owned(), AttributeValue::N(token.dead_from.to_string())),
                ("request_id".to_owned(), text(request_id)),
                ("attempt".to_owned(), attempt.clone()),
            ]);
            let mut spent = self.put_first(record.clone(), None).await?;
            // DynamoDB deletes late what has expired. An older token of that id, which nobody accepts any more, is
            // not this one.
            if let Some(expired) = spent.as_ref().and_then(|old| old.get("expires_at")).filter(|at| is_past(at, now)) {
                let expired = expired.clone();
                spent = self.put_first(record, Some(expired)).await?;
            }
            if spent.is_some_and(|other| other.get("attempt") != Some(&attempt)) {
                return Err(SettleError::TokenSpent);
            }
        }
        Ok(session)
    }

    /// Puts a record where none is, or where the one that is expired at `instead_of`. Answers the one that is.
    async fn put_first(
        &self,
        record: Record,
        instead_of: Option<AttributeValue>,
    ) -> Result<Option<Record>, StoreError> {
        let condition = if instead_of.is_some() { "expires_at = :expired" } else { "attribute_not_exists(id)" };
        let put = self.client.put_item().table_name(&self.state).set_item(Some(record)).condition_expression(condition);
        let put =
            put.set_expression_attribute_values(instead_of.map(|at| HashMap::from([(":expired".to_owned(), at)])));
        let put = put.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match put.send().await {
            Ok(_) => Ok(None),
            Err(error) => match error.as_service_error() {
                // Without the record nothing is known of it but that it is there: it is another's.
                Some(PutItemError::ConditionalCheckFailedException(refused)) => {
                    Ok(Some(refused.item().cloned().unwrap_or_default()))
                }
                _ => Err(Upstream::of("DynamoDB", &error).into()),
            },
        }
    }

    /// Reads all items of `principal`, with their sort keys. They are read whole, as a request for one of them reads it:
    /// an attribute that this version does not know makes a grant unusable, and a projection would not return it.
    async fn query(&self, principal: &Principal) -> Result<Vec<(String, Record)>, StoreError> {
        let mut found = Vec::new();
        let mut from = None;
        loop {
            let query = self.client.query().table_name(&self.grants).consistent_read(true);
            let query = query.key_condition_expression("principal = :principal");
            let query = query.expression_attribute_values(":principal", AttributeValue::S(principal.to_string()));
            let page = query.set_exclusive_start_key(from).send().await;
            let page = page.map_err(|error| Upstream::of("DynamoDB", &error))?;
            for mut record in page.items.ok_or(StoreError::Incomplete)? {
                match self.key(&self.grants, &mut record) {
                    Some(Key::Grant { principal: of, sort }) if of == principal.as_str() => found.push((sort, record)),
                    _ => return Err(StoreError::Unexpected),
                }
            }
            from = page.last_evaluated_key.filter(|key| !key.is_empty());
            if from.is_none() {
                return Ok(found);
            }
        }
    }

    /// Reads records by their keys; one that is not there is left out.
    async fn records(&self, keys: &[Key]) -> Result<HashMap<Key, Record>, StoreError> {
        let batches = try_join_all(keys.chunks(KEYS_IN_A_BATCH).map(|batch| self.read_batch(batch))).await?;
        let mut found = HashMap::new();
        for (key, record) in batches.into_iter().flatten() {
            // Of two answers for one key, which is the table's?
            if !keys.contains(&key) || found.insert(key, record).is_some() {
                return Err(StoreError::Unexpected);
            }
        }
        Ok(found)
    }

    async fn read_batch(&self, keys: &[Key]) -> Result<Vec<(Key, Record)>, StoreError> {
        let mut pending = HashMap::new();
        for table in [&self.grants, &self.state] {
            let of_table: Vec<Record> =
                keys.iter().filter(|key| self.table(key) == table).map(Key::attributes).collect();
            if !of_table.is_empty() {
                let asked = KeysAndAttributes::builder().consistent_read(true).set_keys(Some(of_table));
                // `keys` is set, which is all that building asks for.
                pending.insert(table.clone(), asked.build().map_err(|_| StoreError::Incomplete)?);
            }
        }
        let mut found = Vec::new();
        for round in 0..ROUNDS {
            if round > 0 {
                tokio::time::sleep(BACKOFF.saturating_mul(1 << round.saturating_sub(1))).await;
            }
            let request = self.client.batch_get_item().set_request_items(Some(pending));
            let answer = request.send().await.map_err(|error| Upstream::of("DynamoDB", &error))?;
            let Some(responses) = answer.responses else { return Err(StoreError::Incomplete) };
            for (table, records) in responses {
                for mut record in records {
                    let key = self.key(&table, &mut record).ok_or(StoreError::Unexpected)?;
                    found.push((key, record));
                }
            }
            pending = answer.unprocessed_keys.unwrap_or_default();
            let asked = |table: &String, left: &KeysAndAttributes| {
                left.keys()
                    .iter()
                    .all(|left| keys.iter().any(|asked| self.table(asked) == table && asked.attributes() == *left))
            };
            if !pending.iter().all(|(table, left)| asked(table, left)) {
                return Err(StoreError::Unexpected);
            }
            if pending.values().all(|left| left.keys().is_empty()) {
                return Ok(found);
            }
        }
        Err(StoreError::Incomplete)
    }

    fn table(&self, key: &Key) -> &String {
        match key {
            Key::Grant { .. } => &self.grants,
            Key::State { .. } => &self.state,
        }
    }

    /// Takes the key out of a record of `table`.
    fn key(&self, table: &str, record: &mut Record) -> Option<Key> {
        let mut text = |name: &str| match record.remove(name) {
            Some(AttributeValue::S(text)) => Some(text),
            _ => None,
        };
        if table == self.grants {
            Some(Key::Grant { principal: text("principal")?, sort: text("grant")? })
        } else if table == self.state {
            Some(Key::State { id: text("id")? })
        } else {
            None
        }
    }
}

impl Key {
    fn attributes(&self) -> Record {
        let text = |name: &str, value: &str| (name.to_owned(), AttributeValue::S(value.to_owned()));
        match self {
            Self::Grant { principal, sort } => Record::from([text("principal", principal), text("grant", sort)]),
            Self::State { id } => Record::from([text("id", id)]),
        }
    }
}

fn name_id(folded: &str) -> String {
    format!("name#{folded}")
}

/// The key of the block of a principal. Blocks are in partitions of their own, which IAM can keep from pipelines that
/// write grants: no principal begins like this, since an issuer's id has no `#`.
fn block_key(principal: &Principal) -> Key {
    Key::Grant { principal: format!("blocked#{principal}"), sort: BLOCKED.to_owned() }
}

/// Where the owner of the caller's name is recorded. A name that is none has no owner, and is refused in its turn.
fn name_key(caller: &Caller) -> Option<Key> {
    caller.name_rule()?;
    let name = FederatedName::of(caller).ok()?;
    Some(Key::State { id: name_id(&name.folded()) })
}

fn owner(key: Option<Key>, found: &mut HashMap<Key, Record>) -> Result<Option<String>, StoreError> {
    let Some((Key::State { id }, mut record)) = key.and_then(|key| found.remove_entry(&key)) else { return Ok(None) };
    match record.remove("owner") {
        Some(AttributeValue::S(owner)) => Ok(Some(owner)),
        _ => Err(StoreError::RecordMalformed(id)),
    }
}

/// Whether `expires_at` is a time that is over. What is no time is not.
fn is_past(expires_at: &AttributeValue, now: SystemTime) -> bool {
    let now = since_epoch(now).as_secs();
    let AttributeValue::N(digits) = expires_at else { return false };
    digits.parse::<u64>().is_ok_and(|expires_at| expires_at <= now)
}

/// The attributes of a record that was read from the table of grants, as JSON; `null` for what no item may have.
#[must_use]
pub fn attributes(record: impl IntoIterator<Item = (String, AttributeValue)>) -> Attributes {
    let attributes = record.into_iter().map(|(name, value)| {
        let value = attribute(&name, value);
        (name, value)
    });
    attributes.collect()
}

/// An attribute as JSON; `null`, which no attribute accepts, for what JSON or the data model has not.
fn attribute(name: &str, value: AttributeValue) -> Value {
    // The one attribute that may be a set: what the console makes of a list of strings.
    if name == "policy_arns"
        && let AttributeValue::Ss(texts) = value
    {
        return texts.into();
    }
    json(value)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "JSON has no other type, also if DynamoDB gets new ones")]
fn json(value: AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => Value::String(text),
        AttributeValue::Bool(flag) => Value::Bool(flag),
        AttributeValue::N(digits) => serde_json::from_str::<Number>(&digits).map_or(Value::Null, Value::Number),
        AttributeValue::L(values) => values.into_iter().map(json).collect(),
        AttributeValue::M(members) => {
            Value::Object(members.into_iter().map(|(name, value)| (name, json(value))).collect())
        }
        _ => Value::Null,
    }
}
