//! Which access keys does the broker user have?
//!
//! IAM: the Query protocol for the access keys of one user, who has two of them at most.

use std::collections::{BTreeMap, VecDeque};

use super::query;
use crate::clock;
use crate::server::Reply;

/// The broker user's name.
pub const BROKER_USER: &str = "hallpass-broker-user";

/// IAM's quota: access keys of one user.
const MAX_KEYS: usize = 2;

/// An access key of the broker user.
#[derive(Clone, Debug)]
pub struct Key {
    pub id: String,
    pub secret: String,
    pub is_active: bool,
    /// In seconds since the epoch, as all times here.
    pub created: u64,
    pub used: Option<u64>,
    /// Whether `CreateAccessKey` made it, and not the test.
    pub is_made_by_call: bool,
    /// Not where the key is another user's, whom STS takes just as well.
    pub is_listed: bool,
    /// Whether STS knows this key already, for each of the next times it is asked; then it does.
    pub(super) known: VecDeque<bool>,
}

/// The user, and all keys that he ever had.
#[derive(Debug, Default)]
pub struct User {
    pub(super) is_deleted: bool,
    /// By their ids, which is the order in which they were made.
    pub keys: BTreeMap<String, Key>,
    pub(super) ever: Vec<Key>,
    /// The most keys of one page.
    pub(super) page_size: Option<usize>,
    /// What [`Key::known`] of the keys to come begins with.
    pub(super) known: VecDeque<bool>,
    /// How often a third key was asked for.
    pub(super) over_quota: usize,
}

impl User {
    /// Makes a key, whatever the quota says.
    pub fn make(&mut self) -> Key {
        let number = self.ever.len();
        let secret = format!("made-secret-{number:05}/EXAMPLE+KEY00000000000000");
        self.add(&format!("AKIAMADE{number:05}EXAMPLE"), &secret)
    }

    /// Adds a key of a test's own.
    pub fn add(&mut self, id: &str, secret: &str) -> Key {
        let key = Key {
            id: id.to_owned(),
            secret: secret.to_owned(),
            is_active: true,
            created: clock::now(),
            used: None,
            is_made_by_call: false,
            is_listed: true,
            known: self.known.clone(),
        };
        self.ever.push(key.clone());
        self.keys.insert(key.id.clone(), key.clone());
        key
    }

    /// Whether this key is, or was, one of the user's.
    pub(super) fn made(&self, id: &str) -> bool {
        self.ever.iter().any(|key| key.id == id)
    }

    pub(super) fn answer(&mut self, operation: &str, fields: &BTreeMap<String, String>) -> Reply {
        if self.is_deleted {
            return query::error(404, "NoSuchEntity");
        }
        let named = |fields: &BTreeMap<String, String>| fields.get("AccessKeyId").cloned().unwrap_or_default();
        match operation {
            "ListAccessKeys" => self.list(fields),
            "GetAccessKeyLastUsed" => self.last_used(&named(fields)),
            "CreateAccessKey" if self.keys.len() >= MAX_KEYS => {
                self.over_quota += 1;
                query::error(409, "LimitExceeded")
            }
            "CreateAccessKey" => {
                let key = self.make();
                self.ever.last_mut().unwrap().is_made_by_call = true;
                let secret = &key.secret;
                let made =
                    format!("<AccessKey>{}<SecretAccessKey>{secret}</SecretAccessKey></AccessKey>", metadata(&key));
                query::answer(operation, &made)
            }
            "DeleteAccessKey" => match self.keys.remove(&named(fields)) {
                Some(_) => query::answer(operation, ""),
                None => query::error(404, "NoSuchEntity"),
            },
            "UpdateAccessKey" => match (self.keys.get_mut(&named(fields)), fields.get("Status").map(String::as_str)) {
                (None, _) => query::error(404, "NoSuchEntity"),
                (Some(key), Some(status @ ("Active" | "Inactive"))) => {
                    key.is_active = status == "Active";
                    query::answer(operation, "")
                }
                _ => query::error(400, "ValidationError"),
            },
            _ => query::error(400, "InvalidAction"),
        }
    }

    fn last_used(&self, id: &str) -> Reply {
        let Some(key) = self.keys.get(id) else { return query::error(404, "NoSuchEntity") };
        let used = key.used.map_or_else(
            || "<ServiceName>N/A</ServiceName><Region>N/A</Region>".to_owned(),
            |at| {
                let at = clock::rfc3339(at);
                format!("<LastUsedDate>{at}</LastUsedDate><ServiceName>sts</ServiceName><Region>eu-central-1</Region>")
            },
        );
        query::answer("GetAccessKeyLastUsed", &format!("<AccessKeyLastUsed>{used}</AccessKeyLastUsed>"))
    }

    fn list(&self, fields: &BTreeMap<String, String>) -> Reply {
        let asked = fields.get("MaxItems").map_or(100, |items| items.parse().unwrap());
        let limit = self.page_size.unwrap_or(asked).min(asked);
        let after = fields.get("Marker").map(String::as_str).unwrap_or_default();
        let rest: Vec<&Key> = self.keys.values().filter(|key| key.is_listed && key.id.as_str() > after).collect();
        let page = &rest[..rest.len().min(limit)];
        let members: Vec<String> = page.iter().map(|key| format!("<member>{}</member>", metadata(key))).collect();
        let is_truncated = page.len() < rest.len();
        let marker = page.last().filter(|_| is_truncated).map(|key| format!("<Marker>{}</Marker>", key.id));
        query::answer(
            "ListAccessKeys",
            &format!(
                "<AccessKeyMetadata>{}</AccessKeyMetadata><IsTruncated>{is_truncated}</IsTruncated>{}",
                members.concat(),
                marker.unwrap_or_default()
            ),
        )
    }
}

fn metadata(key: &Key) -> String {
    let status = if key.is_active { "Active" } else { "Inactive" };
    let created = clock::rfc3339(key.created);
    format!(
        "<UserName>{BROKER_USER}</UserName><AccessKeyId>{}</AccessKeyId><Status>{status}</Status>\
         <CreateDate>{created}</CreateDate>",
        key.id
    )
}
