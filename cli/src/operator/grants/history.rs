//! Who changed which grant, and how does an old content come back?

use std::collections::BTreeMap;
use std::time::SystemTime;

use aws_sdk_dynamodb::types::AttributeValue;
use clap::Args;
use hallpass::grants::file::Files;
use hallpass::grants::{Attributes, Item, attributes};
use hallpass::read::rule::Severity;
use serde::Serialize;

use super::apply::stamp;
use super::lint::text::line;
use super::order::whole;
use super::plan::{Change, Wanted, one};
use super::set::SetName;
use super::table::{Entry, Key, Reader, shown};
use super::write::{Writer, Written};
use crate::failure::Failure;
use crate::operator::stack::Tables;
use crate::output::{Outcome, Output, note};

/// Options of `hallpass grants history`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hallpass grants history --stack hallpass corp/group/deployers deploy")]
pub(crate) struct History {
    /// A user, a group or everyone, such as `corp/group/deployers` [default: all]
    principal: Option<String>,
    /// The grant's name [default: all]
    grant: Option<String>,
    #[command(flatten)]
    tables: Tables,
    #[command(flatten)]
    output: Output,
}

/// Options of `hallpass grants rollback`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  hallpass grants rollback --stack hallpass corp/group/deployers deploy 3-5f0c1b2a9d8e7f60"
)]
pub(crate) struct Rollback {
    /// A user, a group or everyone, such as `corp/group/deployers`
    principal: String,
    /// The grant's name
    grant: String,
    /// The revision with the content that shall come back, as `history` lists it
    revision: String,
    /// Why, or from where, for the history
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,
    #[command(flatten)]
    tables: Tables,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Told {
    history: Vec<ToldEntry>,
}

/// A change, in the order in which entries are sorted.
#[derive(Debug, Serialize)]
struct ToldEntry {
    #[serde(flatten)]
    key: Key,
    revision: String,
    at: Option<String>,
    by: Option<String>,
    source: Option<String>,
    action: Option<String>,
}

#[derive(Debug, Serialize)]
struct RolledBack<'a> {
    #[serde(flatten)]
    key: &'a Key,
    revision: Option<String>,
}

impl History {
    /// Lists the changes, the newest first.
    pub(crate) async fn run(self) -> Result<Outcome, Failure> {
        let (sdk, table) = self.tables.grants().await?;
        let reader = Reader::new(&sdk, &table);
        let mut entries = match &self.principal {
            Some(principal) => reader.history_of(principal).await?,
            None => reader.history().await?,
        };
        entries.retain(|entry| self.grant.as_ref().is_none_or(|grant| *grant == entry.key.grant));
        // Those of one second by their numbers, also where one transaction wrote two of them.
        entries.sort_by_cached_key(|entry| {
            std::cmp::Reverse((entry.text("updated_at"), entry.sequence(), entry.key.clone()))
        });
        let told = Told { history: entries.iter().map(ToldEntry::of).collect() };
        self.output.print(&told, || told.text())?;
        Ok(Outcome::Done)
    }
}

impl Told {
    fn text(&self) -> String {
        if self.history.is_empty() {
            return "No changes are recorded.".into();
        }
        let row = |entry: &ToldEntry| {
            let or_none = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), shown);
            [
                or_none(&entry.at),
                or_none(&entry.action),
                shown(&entry.key.principal),
                shown(&entry.key.grant),
                shown(&entry.revision),
                or_none(&entry.by),
                entry.source.as_deref().map(shown).unwrap_or_default(),
            ]
        };
        let rows: Vec<_> = self.history.iter().map(row).collect();
        let widths = rows.iter().fold([0; 7], |mut widths: [usize; 7], row| {
            widths.iter_mut().zip(row).for_each(|(width, cell)| *width = (*width).max(cell.chars().count()));
            widths
        });
        let line = |row: &[String; 7]| {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

impl ToldEntry {
    fn of(entry: &Entry) -> Self {
        Self {
            key: entry.key.clone(),
            revision: entry.revision.clone(),
            at: entry.text("updated_at"),
            by: entry.text("updated_by"),
            source: entry.text("source"),
            action: entry.text("action"),
        }
    }
}

impl Rollback {
    /// Writes the old content as a new revision.
    pub(crate) async fn run(self, now: SystemTime) -> Result<Outcome, Failure> {
        let (sdk, table) = self.tables.grants().await?;
        let reader = Reader::new(&sdk, &table);
        let key = Key { principal: self.principal.clone(), grant: self.grant.clone() };
        let mut entries = reader.history_of(&key.principal).await?;
        entries.retain(|entry| entry.key == key);
        let wanted = self.wanted(&entries)?;
        let snapshot = reader.snapshot().await?;
        let owner = snapshot.manifests.iter().find(|(_, items)| items.contains_key(&key)).map(|(set, _)| set.clone());
        let set = owner.or_else(|| last_set(&entries));
        let set_name = set.clone().unwrap_or_default();
        let Some(change) = one(&key, &wanted, &snapshot, &set_name) else {
            self.print(&key, None, || format!("Nothing to do: {key} has this content."))?;
            return Ok(Outcome::Done);
        };
        let mut write = whole(&set_name, &change);
        write.action = "rollback";
        if set.is_none() {
            write.manifest.clear();
        }
        let writer = Writer::new(&sdk, &table, stamp(&sdk, self.source.clone(), now).await?);
        match writer.write(std::slice::from_ref(&write)).await.map_err(|unwritten| unwritten.failure)? {
            Written::Done => {
                self.print(&key, Some(&change), || {
                    let effect = change.effect.as_str();
                    format!("{key} is as in {} again, as revision {}. {effect}", shown(&self.revision), change.revision)
                })?;
                note(
                    "the files still say otherwise: change them too, or the next `apply` undoes this; `plan` shows it",
                );
                Ok(Outcome::Done)
            }
            Written::Conflict => {
                Err(Failure::Forbidden(format!("a conflict: somebody else just changed `{key}`; nothing was written")))
            }
        }
    }

    fn print(&self, key: &Key, change: Option<&Change<'_>>, text: impl FnOnce() -> String) -> Result<(), Failure> {
        let revision = change.map(|change| change.revision.to_string());
        self.output.print(&RolledBack { key, revision }, text)
    }

    /// The content of the revision, which must be one that today's rules accept.
    fn wanted(&self, entries: &[Entry]) -> Result<Wanted, Failure> {
        let revision = shown(&self.revision);
        let Some(entry) = entries.iter().find(|entry| entry.revision == self.revision) else {
            let text =
                format!("the history has no revision `{revision}` of this grant; `hallpass grants history` lists them");
            return Err(Failure::new(text));
        };
        let Some(AttributeValue::M(content)) = entry.record.get("content") else {
            let text = format!("the revision `{revision}` is a deletion; to delete a grant, remove it from the files");
            return Err(Failure::Forbidden(text));
        };
        let attributes = attributes(content.clone());
        match Item::read(&attributes) {
            Ok(item) => {
                self.lint(&attributes)?;
                Ok(Wanted::new(attributes, item))
            }
            Err(problems) => {
                let text =
                    format!("the revision `{revision}` is not accepted any more: {}", shown(&problems.to_string()));
                Err(Failure::Forbidden(text))
            }
        }
    }
}

impl Rollback {
    /// Finds what the linter of files finds in the content, as if it stood in a file.
    fn lint(&self, attributes: &Attributes) -> Result<(), Failure> {
        let mut document = attributes.clone();
        document.insert("grant".into(), self.grant.as_str().into());
        document.insert("principals".into(), vec![self.principal.clone()].into());
        let bytes = serde_json::Value::Object(document).to_string().into_bytes();
        let findings = Files::of([("revision.json".into(), bytes)]).lint(None);
        for finding in &findings {
            note(&line(finding));
        }
        if findings.iter().any(|finding| finding.severity() == Severity::Error) {
            let revision = shown(&self.revision);
            return Err(Failure::Forbidden(format!("the revision `{revision}` is not accepted any more")));
        }
        Ok(())
    }
}

/// The set that applied the item last, for an item that was deleted since.
fn last_set(entries: &[Entry]) -> Option<String> {
    let by_number: BTreeMap<u64, &Entry> = entries.iter().map(|entry| (entry.sequence(), entry)).collect();
    let mut sets = by_number.into_values().rev().filter_map(|entry| entry.text("set"));
    sets.find(|set| SetName::new(set).is_ok())
}
