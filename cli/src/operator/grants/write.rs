//! How does a change get into the table, once, or not at all?
//!
//! Item, history and manifest are written in one transaction, on the condition that everything is as the plan saw it: not
//! only the revision, which somebody who edits by hand may leave as it is, but each attribute. A transaction has a token,
//! so that one whose answer was lost can be sent again.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{BuildError, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::builders::PutBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, ConditionCheck, Delete, Put, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem,
};
use hallpass::grants::{Attributes, is_content};
use hallpass::net::aws::{SdkConfig, Upstream};
use serde_json::Value;

use super::order::{ManifestLine, Seen, Write};
use super::table::{Record, client, manifest};
use crate::failure::Failure;

/// How often a transaction is tried that DynamoDB has no capacity for, or that meets another one.
const ROUNDS: u32 = 10;
/// Before the second round; doubled before each further one, and by chance up to half as long.
const BACKOFF: Duration = Duration::from_millis(50);
/// The longest wait.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// Attributes that an item may have. What the plan did not see must still not be there.
const KNOWN: [&str; 15] = [
    "revision",
    "policy",
    "policy_arns",
    "max_duration",
    "duration",
    "tags",
    "require",
    "pin_source_ip",
    "not_before",
    "not_after",
    "enabled",
    "allow_iam",
    "description",
    "updated_at",
    "updated_by",
];
/// DynamoDB's expressions have 4,096 characters, which is enough for all attributes that mean something.
const MOST_COMPARED: usize = 100;

/// Who changes something, when, and from what.
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
    /// The ARN of the caller.
    pub(crate) by: String,
    /// As RFC 3339.
    pub(crate) at: String,
    /// Such as a pipeline's commit.
    pub(super) source: Option<String>,
}

/// The table, for writing.
#[derive(Debug)]
pub(super) struct Writer {
    client: Client,
    table: String,
    stamp: Stamp,
}

/// What became of a transaction.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    Done,
    /// Something is not as the plan saw it. Nothing was written.
    Conflict,
}

/// Why a transaction was not made, as far as is known.
#[derive(Debug)]
pub(super) struct Unwritten {
    pub(super) failure: Failure,
    /// DynamoDB did not say. It may have been made.
    pub(super) is_unknown: bool,
}

impl Writer {
    pub(super) fn new(sdk: &SdkConfig, table: &str, stamp: Stamp) -> Self {
        Self { client: client(sdk), table: table.to_owned(), stamp }
    }

    /// Makes all of these writes, or none.
    pub(super) async fn write(&self, step: &[Write<'_>]) -> Result<Written, Unwritten> {
        let refused = |failure| Unwritten { failure, is_unknown: false };
        let incomplete = |_| refused(Failure::new("cannot make a transaction of the changes"));
        let items = self.items(step).map_err(incomplete)?;
        let token = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let mut wait = BACKOFF;
        for round in 1..=ROUNDS {
            let request = self.client.transact_write_items().set_transact_items(Some(items.clone()));
            let Err(error) = request.client_request_token(&token).send().await else { return Ok(Written::Done) };
            let Some(reasons) = cancelled(&error) else {
                let what = format!("write to the table `{}`", self.table);
                let permissions = "dynamodb:PutItem, dynamodb:DeleteItem and dynamodb:ConditionCheckItem";
                let is_unknown = matches!(Upstream::of("DynamoDB", &error), Upstream::Unavailable { .. });
                return Err(Unwritten { failure: Failure::to(what, permissions)(error), is_unknown });
            };
            if is_done(&items, reasons) {
                return Ok(Written::Done);
            }
            let codes = || reasons.iter().filter_map(CancellationReason::code).filter(|code| *code != "None");
            if codes().any(|code| code == "ConditionalCheckFailed") {
                return Ok(Written::Conflict);
            }
            if let Some(code) = codes().find(|code| !is_for_now(code)) {
                let code: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
                let text = format!("cannot write to the table `{}`: DynamoDB refused with {code}", self.table);
                return Err(refused(Failure::new(text)));
            }
            if round < ROUNDS {
                tokio::time::sleep(wait.saturating_add(wait.mul_f64(fastrand::f64() / 2.0))).await;
                wait = wait.saturating_mul(2).min(LONGEST_BACKOFF);
            }
        }
        Err(refused(Failure::new(format!("cannot write to the table `{}`: DynamoDB is throttled", self.table))))
    }

    fn items(&self, step: &[Write<'_>]) -> Result<Vec<TransactWriteItem>, BuildError> {
        let mut items = Vec::new();
        for write in step {
            items.extend(self.history(write)?);
            items.push(self.item(write)?);
            for line in &write.manifest {
                items.push(self.manifest_line(write, line)?);
            }
        }
        Ok(items)
    }

    fn item(&self, write: &Write<'_>) -> Result<TransactWriteItem, BuildError> {
        let key = key(&write.key.principal, &write.key.grant);
        let condition = Condition::of(write);
        let item = TransactWriteItem::builder();
        Ok(match (&write.after, &write.seen) {
            (Some(after), _) => {
                let mut record = typed(after);
                record.extend(key);
                record.insert("revision".into(), text(write.revision.to_string()));
                record.insert("updated_at".into(), text(&self.stamp.at));
                record.insert("updated_by".into(), text(&self.stamp.by));
                item.put(condition.of_put(Put::builder().table_name(&self.table).set_item(Some(record))).build()?)
            }
            (None, Seen::Nothing) => {
                let check = ConditionCheck::builder().table_name(&self.table).set_key(Some(key));
                item.condition_check(check.condition_expression(condition.expression).build()?)
            }
            (None, _) => {
                let delete = Delete::builder().table_name(&self.table).set_key(Some(key));
                let delete = delete.condition_expression(condition.expression);
                let delete = delete.set_expression_attribute_names(condition.names);
                item.delete(delete.set_expression_attribute_values(condition.values).build()?)
            }
        }
        .build())
    }

    /// What was found, if the history has not got it, and what comes of it. Forgetting an item that is gone changes nothing.
    fn history(&self, write: &Write<'_>) -> Result<Vec<TransactWriteItem>, BuildError> {
        let mut entries = Vec::new();
        if let (Some(found), Seen::Item(record)) = (&write.found, &write.seen) {
            let content = record.iter().filter(|(name, _)| is_content(name));
            let content = content.map(|(name, value)| (name.clone(), value.clone())).collect();
            entries.push((write.key.of_revision(found), "found", Some(content)));
        }
        if write.after.is_some() || !matches!(write.seen, Seen::Nothing) {
            let content = write.after.as_deref().map(typed);
            entries.push((write.key.of_revision(&write.revision), write.action, content));
        }
        let put = |(sort, action, content): (String, &str, Option<Record>)| {
            let mut record = key(&write.key.history(), &sort);
            record.insert("action".into(), text(action));
            record.insert("updated_at".into(), text(&self.stamp.at));
            record.insert("updated_by".into(), text(&self.stamp.by));
            let set = write.manifest.first().map(|line| ("set".into(), text(line.set)));
            record.extend(set);
            record.extend(self.stamp.source.as_deref().map(|source| ("source".into(), text(source))));
            record.extend(content.map(|content| ("content".into(), AttributeValue::M(content))));
            let put = Put::builder().table_name(&self.table).set_item(Some(record));
            let put = put.condition_expression("attribute_not_exists(principal)");
            let put = put.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
            Ok(TransactWriteItem::builder().put(put.build()?).build())
        };
        entries.into_iter().map(put).collect()
    }

    fn manifest_line(&self, write: &Write<'_>, line: &ManifestLine<'_>) -> Result<TransactWriteItem, BuildError> {
        let mut record = key(&manifest(line.set), &write.key.in_manifest());
        let names = line.seen.is_some().then(|| [("#revision".to_owned(), "revision".to_owned())].into());
        let values = line.seen.as_ref().map(|seen| [(":seen".to_owned(), text(seen.as_ref()))].into());
        let condition = if names.is_some() { "#revision = :seen" } else { "attribute_not_exists(principal)" };
        let item = TransactWriteItem::builder();
        Ok(if line.stays {
            record.insert("revision".into(), text(write.revision.to_string()));
            let put = Put::builder().table_name(&self.table).set_item(Some(record)).condition_expression(condition);
            item.put(put.set_expression_attribute_names(names).set_expression_attribute_values(values).build()?)
        } else {
            let delete =
                Delete::builder().table_name(&self.table).set_key(Some(record)).condition_expression(condition);
            item.delete(delete.set_expression_attribute_names(names).set_expression_attribute_values(values).build()?)
        }
        .build())
    }
}

/// That an item is as it was seen.
#[derive(Debug)]
struct Condition {
    expression: String,
    names: Option<HashMap<String, String>>,
    values: Option<Record>,
}

impl Condition {
    fn of(write: &Write<'_>) -> Self {
        let seen: Vec<(&str, Option<AttributeValue>)> = match &write.seen {
            Seen::Nothing => {
                let expression = "attribute_not_exists(principal)".into();
                return Self { expression, names: None, values: None };
            }
            Seen::Revision(revision) => vec![("revision", Some(text(revision)))],
            Seen::Item(record) => {
                let known = KNOWN.into_iter().map(|name| (name, record.get(name).cloned()));
                // What replication writes is nobody's change.
                let others = record.iter().filter(|(name, _)| is_content(name) && !KNOWN.contains(&name.as_str()));
                known
                    .chain(others.map(|(name, value)| (name.as_str(), Some(value.clone()))))
                    .take(MOST_COMPARED)
                    .collect()
            }
        };
        let mut terms = vec!["principal = :principal".to_owned()];
        let mut values = Record::from([(":principal".to_owned(), text(&write.key.principal))]);
        let mut names = HashMap::new();
        for (index, (name, value)) in seen.into_iter().enumerate() {
            names.insert(format!("#a{index}"), name.to_owned());
            match value {
                Some(value) => {
                    terms.push(format!("#a{index} = :a{index}"));
                    values.insert(format!(":a{index}"), value);
                }
                None => terms.push(format!("attribute_not_exists(#a{index})")),
            }
        }
        Self { expression: terms.join(" AND "), names: Some(names), values: Some(values) }
    }

    fn of_put(self, put: PutBuilder) -> PutBuilder {
        let put = put.condition_expression(self.expression).set_expression_attribute_names(self.names);
        put.set_expression_attribute_values(self.values)
    }
}

/// Why a transaction was cancelled, write by write.
fn cancelled(error: &SdkError<TransactWriteItemsError, HttpResponse>) -> Option<&[CancellationReason]> {
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = error.as_service_error()? else {
        return None;
    };
    Some(cancelled.cancellation_reasons.as_deref().unwrap_or_default())
}

/// Whether a transaction was refused because it had been made before, and only the answer was lost: the history has
/// exactly what was to be written there.
fn is_done(items: &[TransactWriteItem], reasons: &[CancellationReason]) -> bool {
    items.iter().zip(reasons).any(|(item, reason)| {
        item.put().zip(reason.item()).is_some_and(|(put, found)| !found.is_empty() && put.item() == found)
    })
}

/// Whether the same transaction may succeed later.
fn is_for_now(code: &str) -> bool {
    ["TransactionConflict", "ProvisionedThroughputExceeded", "ThrottlingError"].contains(&code)
}

fn key(principal: &str, sort: &str) -> Record {
    Record::from([("principal".to_owned(), text(principal)), ("grant".to_owned(), text(sort))])
}

fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// The content of an item as DynamoDB has it.
pub(super) fn typed(attributes: &Attributes) -> Record {
    let content = attributes.iter().filter(|(name, _)| is_content(name));
    content.map(|(name, value)| (name.clone(), attribute(value))).collect()
}

pub(super) fn attribute(value: &Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(flag) => AttributeValue::Bool(*flag),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::String(text) => AttributeValue::S(text.clone()),
        Value::Array(values) => AttributeValue::L(values.iter().map(attribute).collect()),
        Value::Object(members) => {
            AttributeValue::M(members.iter().map(|(name, value)| (name.clone(), attribute(value))).collect())
        }
    }
}
