//! What does the table hold about this caller?
//!
//! One strongly consistent `BatchGetItem` reads the grant's items and the blocks of all principals: its cost depends
//! on the caller's groups alone. An answer that is not complete is a failure, never a smaller answer, since what is
//! missing may be a block or a Deny.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use aws_types::SdkConfig;
use futures_util::future::try_join_all;
use serde_json::{Number, Value};

use super::item::Attributes;
use super::merge::{Matches, StoredItem};
use super::{GrantName, Principal};
use crate::upstream::{AtMost, ConnectOnly, Upstream};

/// DynamoDB's limit of keys in one `BatchGetItem`.
const KEYS_IN_A_BATCH: usize = 100;
/// How often unprocessed keys are asked for again; the request's own deadline comes first.
const ROUNDS: u32 = 5;
/// Before the first repetition; doubled before each further one.
const BACKOFF: Duration = Duration::from_millis(25);
/// The sort key of an item that blocks its principal. No grant can have this name.
const BLOCKED: &str = "#blocked";

/// Why the table could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// DynamoDB gave an error.
    #[error(transparent)]
    Upstream(#[from] Upstream),
    /// DynamoDB left keys unprocessed, also when asked again.
    #[error("DynamoDB left keys unprocessed")]
    Incomplete,
    /// DynamoDB answered with something that was not asked for.
    #[error("DynamoDB answered with an item that was not asked for")]
    Unexpected,
}

/// The table of grants, which is only read.
#[derive(Debug, Clone)]
pub struct Store {
    client: Client,
    table: String,
}

impl Store {
    /// Reads `table` with the settings of `sdk`.
    #[must_use]
    pub fn new(sdk: &SdkConfig, table: String) -> Self {
        let config = Builder::from(sdk).interceptor(AtMost::BATCH).build();
        Self { client: Client::from_conf(config), table }
    }

    /// Makes the connection ahead of the first request.
    pub async fn prepare(&self) {
        // Answered by no item: nothing was asked. What fails here fails again, and is told, in the request.
        let connecting = self.client.describe_endpoints().customize().interceptor(ConnectOnly);
        let _ = connecting.send().await;
    }

    /// Reads everything that concerns a request of `principals` for `grant`.
    ///
    /// # Errors
    /// [`StoreError`] where any of it could not be read.
    pub async fn read(&self, principals: &[Principal], grant: &GrantName) -> Result<Matches, StoreError> {
        let sort_keys = [grant.as_str(), BLOCKED];
        let keys: Vec<(&str, &str)> =
            principals.iter().flat_map(|principal| sort_keys.map(|sort| (principal.as_str(), sort))).collect();
        let batches = try_join_all(keys.chunks(KEYS_IN_A_BATCH).map(|batch| self.read_batch(batch))).await?;
        let mut found: HashMap<(String, String), Attributes> = HashMap::new();
        for mut item in batches.into_iter().flatten() {
            let (Some(AttributeValue::S(principal)), Some(AttributeValue::S(sort))) =
                (item.remove("principal"), item.remove("grant"))
            else {
                return Err(StoreError::Unexpected);
            };
            let attributes = item.into_iter().map(|(name, value)| {
                let value = attribute(&name, value);
                (name, value)
            });
            if found.insert((principal, sort), attributes.collect()).is_some() {
                // Which of two answers for one key is the table's?
                return Err(StoreError::Unexpected);
            }
        }
        let mut matches = Matches::default();
        for principal in principals {
            let mut take = |sort: &str| found.remove(&(principal.as_str().to_owned(), sort.to_owned()));
            if take(BLOCKED).is_some() {
                matches.blocked.push(principal.clone());
            }
            if let Some(attributes) = take(grant.as_str()) {
                matches.items.push(StoredItem { principal: principal.clone(), attributes });
            }
        }
        if found.is_empty() { Ok(matches) } else { Err(StoreError::Unexpected) }
    }

    async fn read_batch(&self, keys: &[(&str, &str)]) -> Result<Vec<HashMap<String, AttributeValue>>, StoreError> {
        let key = |(principal, sort): &(&str, &str)| {
            HashMap::from([
                ("principal".to_owned(), AttributeValue::S((*principal).to_owned())),
                ("grant".to_owned(), AttributeValue::S((*sort).to_owned())),
            ])
        };
        let asked = KeysAndAttributes::builder().consistent_read(true).set_keys(Some(keys.iter().map(key).collect()));
        // `keys` is set, which is all that building asks for.
        let mut pending = HashMap::from([(self.table.clone(), asked.build().map_err(|_| StoreError::Incomplete)?)]);
        let mut items = Vec::new();
        for round in 0..ROUNDS {
            if round > 0 {
                tokio::time::sleep(BACKOFF.saturating_mul(1 << round.saturating_sub(1))).await;
            }
            let request = self.client.batch_get_item().set_request_items(Some(pending));
            let answer = request.send().await.map_err(|error| Upstream::of("DynamoDB", &error))?;
            let Some(mut responses) = answer.responses else { return Err(StoreError::Incomplete) };
            items.extend(responses.remove(&self.table).unwrap_or_default());
            pending = answer.unprocessed_keys.unwrap_or_default();
            let asked = |table: &String, left: &KeysAndAttributes| {
                *table == self.table && left.keys().iter().all(|one| keys.iter().any(|asked| *one == key(asked)))
            };
            if !responses.is_empty() || !pending.iter().all(|(table, left)| asked(table, left)) {
                return Err(StoreError::Unexpected);
            }
            if pending.values().all(|left| left.keys().is_empty()) {
                return Ok(items);
            }
        }
        Err(StoreError::Incomplete)
    }
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

#[expect(clippy::wildcard_enum_match_arm, reason = "whatever type DynamoDB has or gets, JSON has not")]
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
