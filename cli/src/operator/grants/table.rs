//! What does the table of grants hold?
//!
//! Beside the items there are three kinds of partitions: `history#PRINCIPAL` × `GRANT#REVISION`, `manifest#SET` ×
//! `GRANT#PRINCIPAL` and `blocked#PRINCIPAL` × `#blocked`. No issuer id holds a `#`, so no principal looks like one.
//!
//! A [`Reader`] has no operation that writes: a plan cannot change anything, whatever its caller is allowed to do.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::types::AttributeValue;
use hallpass::grants::{Attributes, Content, Item, Revision, attributes};
use hallpass::net::aws::SdkConfig;
use serde::Serialize;

use super::lint::text::plain;
use crate::failure::Failure;

/// The partition of a principal's history begins so.
const HISTORY: &str = "history#";
/// The partition of a set's manifest begins so.
const MANIFEST: &str = "manifest#";
/// The partition of a principal's block begins so.
const BLOCKED: &str = "blocked#";
/// The sort key of a block. No grant can have this name.
const BLOCK: &str = "#blocked";
/// Nobody should have to start a command again because DynamoDB throttled it for some seconds.
const ATTEMPTS: u32 = 8;
/// The longest wait before an attempt.
const BACKOFF: Duration = Duration::from_secs(5);
/// An item of DynamoDB's.
pub(crate) type Record = HashMap<String, AttributeValue>;

/// The key of an item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(crate) struct Key {
    pub(crate) principal: String,
    pub(crate) grant: String,
}

/// All that a plan is made from.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) items: BTreeMap<Key, Stored>,
    /// For each set of files, the items that it applied last, with their revisions.
    pub(super) manifests: BTreeMap<String, BTreeMap<Key, String>>,
    pub(super) blocks: Vec<Block>,
    /// The highest number of a change in the history of an item, which may be gone.
    pub(super) last: BTreeMap<Key, u64>,
}

/// An item as the table has it.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) attributes: Attributes,
    pub(super) content: Content,
    /// Everything but the key, as DynamoDB has it.
    pub(super) record: Record,
}

/// A principal that gets nothing, despite all grants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Block {
    pub(crate) principal: String,
    pub(crate) reason: Option<String>,
    /// When, as RFC 3339. A block that somebody wrote by hand need not say it.
    pub(crate) at: Option<String>,
    /// The ARN of who did it.
    pub(crate) by: Option<String>,
}

/// A change that was made.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Key,
    /// As it is written in the table.
    pub(super) revision: String,
    pub(super) record: Record,
}

impl Key {
    /// The partition of the history of this item's principal.
    pub(super) fn history(&self) -> String {
        format!("{HISTORY}{}", self.principal)
    }

    /// Items of one meeting can apply to one caller together: those of an issuer for a grant. Only two users never do.
    pub(super) fn meeting(&self) -> (&str, &str) {
        (self.principal.split('/').next().unwrap_or_default(), &self.grant)
    }

    pub(super) fn is_of_user(&self) -> bool {
        self.principal.split('/').nth(1) == Some("user")
    }

    /// The sort key of one revision in it.
    pub(super) fn of_revision(&self, revision: &Revision) -> String {
        format!("{}#{revision}", self.grant)
    }

    /// The sort key of this item in a manifest.
    pub(super) fn in_manifest(&self) -> String {
        format!("{}#{}", self.grant, self.principal)
    }
}

/// The partition of a set's manifest.
pub(super) fn manifest(set: &str) -> String {
    format!("{MANIFEST}{set}")
}

/// Text of the table as a terminal may see it.
pub(crate) fn shown(text: &str) -> String {
    plain(text)
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", shown(&self.principal), shown(&self.grant))
    }
}

impl Stored {
    fn of(record: Record) -> Self {
        let attributes = attributes(record.clone());
        Self { content: Content::of(&attributes), attributes, record }
    }

    /// What the function understands of it; nothing if it is malformed.
    pub(super) fn item(&self) -> Option<Item> {
        Item::read(&self.attributes).ok()
    }

    /// The revision that the item claims to be, as text.
    pub(super) fn revision_text(&self) -> Option<&str> {
        self.attributes.get("revision")?.as_str()
    }
}

/// Who owns a federated name that comes from a claim, by the table of names.
pub(crate) async fn name_owner(sdk: &SdkConfig, table: &str, name: &str) -> Result<Option<String>, Failure> {
    let id = AttributeValue::S(format!("name#{name}"));
    let asked = client(sdk).get_item().table_name(table).consistent_read(true).key("id", id).send().await;
    let found = asked.map_err(Failure::to(format!("read the table `{table}`"), "dynamodb:GetItem"))?;
    let Some(mut record) = found.item else { return Ok(None) };
    match record.remove("owner") {
        Some(AttributeValue::S(owner)) => Ok(Some(owner)),
        _ => Err(Failure::new(format!("the record `name#{}` of the table `{table}` is malformed", shown(name)))),
    }
}

/// The table, for reading.
#[derive(Debug)]
pub(crate) struct Reader {
    client: Client,
    table: String,
}

/// DynamoDB's client as all of these commands use it.
pub(crate) fn client(sdk: &SdkConfig) -> Client {
    let retries = RetryConfig::standard().with_max_attempts(ATTEMPTS).with_max_backoff(BACKOFF);
    Client::from_conf(Builder::from(sdk).retry_config(retries).build())
}

impl Reader {
    pub(crate) fn new(sdk: &SdkConfig, table: &str) -> Self {
        Self { client: client(sdk), table: table.to_owned() }
    }

    /// Reads all that a plan is made from, as it is now.
    pub(super) async fn snapshot(&self) -> Result<Snapshot, Failure> {
        let mut snapshot = Snapshot::default();
        self.scan(|principal, sort, record| snapshot.add(principal, sort, record)).await?;
        Ok(snapshot)
    }

    /// Who is blocked.
    pub(crate) async fn blocks(&self) -> Result<Vec<Block>, Failure> {
        let mut blocks = Vec::new();
        self.scan(|principal, sort, record| blocks.extend(Block::of(&principal, &sort, &record))).await?;
        blocks.sort();
        Ok(blocks)
    }

    /// The history of everybody.
    pub(super) async fn history(&self) -> Result<Vec<Entry>, Failure> {
        let mut entries = Vec::new();
        self.scan(|principal, sort, record| entries.extend(Entry::of(&principal, &sort, record))).await?;
        Ok(entries)
    }

    /// The history of one principal.
    pub(super) async fn history_of(&self, principal: &str) -> Result<Vec<Entry>, Failure> {
        let mut entries = Vec::new();
        let mut from = None;
        let partition = AttributeValue::S(format!("{HISTORY}{principal}"));
        loop {
            let query = self.client.query().table_name(&self.table).consistent_read(true);
            let query = query.key_condition_expression("principal = :principal");
            let query = query.expression_attribute_values(":principal", partition.clone());
            let page = query.set_exclusive_start_key(from).send().await;
            let page = page.map_err(Failure::to(format!("query the table `{}`", self.table), "dynamodb:Query"))?;
            for mut record in page.items.ok_or_else(|| self.incomplete())? {
                let (partition, sort) = self.key(&mut record)?;
                entries.extend(Entry::of(&partition, &sort, record));
            }
            from = page.last_evaluated_key.filter(|key| !key.is_empty());
            if from.is_none() {
                return Ok(entries);
            }
        }
    }

    async fn scan(&self, mut add: impl FnMut(String, String, Record)) -> Result<(), Failure> {
        let mut from = None;
        loop {
            let scan = self.client.scan().table_name(&self.table).consistent_read(true);
            let page = scan.set_exclusive_start_key(from).send().await;
            let page = page.map_err(Failure::to(format!("read the table `{}`", self.table), "dynamodb:Scan"))?;
            for mut record in page.items.ok_or_else(|| self.incomplete())? {
                let (principal, sort) = self.key(&mut record)?;
                add(principal, sort, record);
            }
            from = page.last_evaluated_key.filter(|key| !key.is_empty());
            if from.is_none() {
                return Ok(());
            }
        }
    }

    /// Takes the key out of a record.
    fn key(&self, record: &mut Record) -> Result<(String, String), Failure> {
        match (record.remove("principal"), record.remove("grant")) {
            (Some(AttributeValue::S(principal)), Some(AttributeValue::S(grant))) => Ok((principal, grant)),
            _ => Err(Failure::new(format!(
                "the table `{}` has other keys than `principal` and `grant`: is it the table of grants?",
                self.table
            ))),
        }
    }

    /// What is missing could be an item that the files do not want.
    fn incomplete(&self) -> Failure {
        Failure::new(format!("DynamoDB's answer about the table `{}` is incomplete", self.table))
    }
}

impl Snapshot {
    pub(super) fn add(&mut self, principal: String, sort: String, record: Record) {
        if principal.starts_with(HISTORY) {
            if let Some(entry) = Entry::of(&principal, &sort, Record::new()) {
                let last: &mut u64 = self.last.entry(entry.key.clone()).or_default();
                *last = entry.sequence().max(*last);
            }
        } else if let Some(set) = principal.strip_prefix(MANIFEST) {
            // Without a revision that can be read, it names no content: what is there has drifted.
            let revision = text(&record, "revision").unwrap_or_default();
            let item = sort.split_once('#');
            let key = item.map(|(grant, of)| Key { principal: of.to_owned(), grant: grant.to_owned() });
            self.manifests.entry(set.to_owned()).or_default().extend(key.map(|key| (key, revision)));
        } else if principal.starts_with(BLOCKED) {
            self.blocks.extend(Block::of(&principal, &sort, &record));
        } else {
            self.items.insert(Key { principal, grant: sort }, Stored::of(record));
        }
    }

    /// The other set that has the item in its manifest, with the revision there.
    pub(super) fn other_owner(&self, set: &str, key: &Key) -> Option<(&str, &str)> {
        let mut others = self.manifests.iter().filter(|(other, _)| *other != set);
        others.find_map(|(other, items)| Some((other.as_str(), items.get(key)?.as_str())))
    }
}

impl Block {
    fn of(partition: &str, sort: &str, record: &Record) -> Option<Self> {
        let principal = partition.strip_prefix(BLOCKED)?;
        // The function reads no other.
        (sort == BLOCK).then(|| Self::read(principal, record))
    }

    /// What a record says about this principal's block.
    pub(crate) fn read(principal: &str, record: &Record) -> Self {
        Self {
            principal: principal.to_owned(),
            reason: text(record, "reason"),
            at: text(record, "updated_at"),
            by: text(record, "updated_by"),
        }
    }
}

/// The key of the block of a principal.
pub(crate) fn block_key(principal: &str) -> Record {
    let text = |name: &str, value: String| (name.to_owned(), AttributeValue::S(value));
    Record::from([text("principal", format!("{BLOCKED}{principal}")), text("grant", BLOCK.to_owned())])
}

impl Entry {
    fn of(partition: &str, sort: &str, record: Record) -> Option<Self> {
        let principal = partition.strip_prefix(HISTORY)?.to_owned();
        let (grant, revision) = sort.split_once('#')?;
        Some(Self { key: Key { principal, grant: grant.to_owned() }, revision: revision.to_owned(), record })
    }

    /// The number of the change.
    pub(super) fn sequence(&self) -> u64 {
        Revision::parse(&self.revision).map(|revision| revision.sequence()).unwrap_or_default()
    }

    /// An attribute that is a text.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        text(&self.record, name)
    }
}

/// An attribute that is a text.
fn text(record: &Record, name: &str) -> Option<String> {
    match record.get(name) {
        Some(AttributeValue::S(text)) => Some(text.clone()),
        _ => None,
    }
}
