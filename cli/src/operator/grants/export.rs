//! How do the items of a table become files again?
//!
//! One file for each grant name, one document for each content, with all principals that have it. The same table makes
//! the same bytes. All files are written beside their places first, and take them only when every byte is on the disk.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use hallpass::grants::file::format::write;
use hallpass::grants::{Attributes, GrantName, Item, Principal, is_content};
use hallpass::read::json;
use serde::Serialize;
use serde_json::Value;

use super::table::{Key, Reader, Snapshot, shown};
use crate::failure::Failure;
use crate::operator::stack::Tables;
use crate::output::{Outcome, Output, note};

/// A file of grants may have 1 MiB. Some room is left for edits.
const LARGEST_FILE: usize = 900_000;
/// A document with more principals than this could be too large for a file by itself.
const MOST_PRINCIPALS: usize = 1_000;

/// Options of `hallpass grants export`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hallpass grants export --stack hallpass --dir grants")]
pub(crate) struct Export {
    /// The folder to write into
    #[arg(long, value_name = "DIR", default_value = "grants")]
    dir: PathBuf,
    #[command(flatten)]
    tables: Tables,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Told {
    files: Vec<String>,
    grants: usize,
    items: usize,
    /// Items that no file can say.
    left_out: Vec<LeftOut>,
}

#[derive(Debug, Serialize)]
pub(super) struct LeftOut {
    #[serde(flatten)]
    key: Key,
    problem: String,
}

/// Files by their names, and what is in none.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) texts: BTreeMap<String, String>,
    documents: usize,
    items: usize,
    pub(super) left_out: Vec<LeftOut>,
}

impl Export {
    /// Reads the table, and writes the files.
    pub(crate) async fn run(self) -> Result<Outcome, Failure> {
        let (sdk, table) = self.tables.grants().await?;
        let snapshot = Reader::new(&sdk, &table).snapshot().await?;
        let files = Files::of(&snapshot);
        put(&self.dir, &files.texts)?;
        let paths = files.texts.keys().map(|name| self.dir.join(name).display().to_string()).collect();
        let told = Told { files: paths, grants: files.documents, items: files.items, left_out: files.left_out };
        self.output.print(&told, || told.text())?;
        for LeftOut { key, problem } in &told.left_out {
            note(&format!("warning: {key} is in no file, since files cannot say it: {problem}"));
        }
        let others = others(&self.dir, &files.texts);
        if !others.is_empty() {
            note(&format!(
                "note: {} has other files, which `plan` reads too: {}",
                self.dir.display(),
                others.join(", ")
            ));
        }
        Ok(if told.left_out.is_empty() { Outcome::Done } else { Outcome::Problems })
    }
}

impl Told {
    fn text(&self) -> String {
        let mut lines = self.files.clone();
        lines.push(format!("Exported: {} grants, {} items, {} files.", self.grants, self.items, self.files.len()));
        lines.join("\n")
    }
}

impl Files {
    /// The files that say what the table says.
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let mut files = Self::default();
        // By grant and content, with the principals that have it.
        let mut documents: BTreeMap<(&str, String), Vec<(&str, &Attributes)>> = BTreeMap::new();
        for (key, stored) in &snapshot.items {
            if let Err(problem) = check(key, &stored.attributes) {
                files.left_out.push(LeftOut { key: key.clone(), problem });
                continue;
            }
            files.items = files.items.saturating_add(1);
            let content = stored.content.as_value().to_string();
            documents.entry((&key.grant, content)).or_default().push((&key.principal, &stored.attributes));
        }
        let mut by_grant: BTreeMap<&str, Vec<(&str, Value)>> = BTreeMap::new();
        for ((grant, _), holders) in documents {
            for holders in holders.chunks(MOST_PRINCIPALS) {
                // The first one's way of writing stands for all.
                let Some((first, content)) = holders.first() else { continue };
                let principals: Vec<&str> = holders.iter().map(|(principal, _)| *principal).collect();
                files.documents = files.documents.saturating_add(1);
                by_grant.entry(grant).or_default().push((first, document(grant, &principals, content)));
            }
        }
        for (grant, mut documents) in by_grant {
            documents.sort_by_key(|(first, _)| *first);
            let mut parts: Vec<(usize, Vec<Value>)> = Vec::new();
            for (_, document) in documents {
                let length = write(std::slice::from_ref(&document)).len();
                match parts.last_mut().filter(|(used, _)| used.saturating_add(length) <= LARGEST_FILE) {
                    Some((used, part)) => {
                        *used = used.saturating_add(length);
                        part.push(document);
                    }
                    None => parts.push((length, vec![document])),
                }
            }
            for (index, (_, part)) in parts.into_iter().enumerate() {
                files.texts.insert(file_name(grant, index), write(&part));
            }
        }
        files
    }
}

/// A document as a file says it. A policy that is JSON text is the same, and easier to read, as a map.
pub(super) fn document(grant: &str, principals: &[&str], content: &Attributes) -> Value {
    let mut document: Attributes = content.clone();
    document.retain(|name, _| is_content(name));
    if let Some(policy) = document.get_mut("policy")
        && let Some(parsed) = policy.as_str().and_then(|text| json::parse(text.as_bytes()).ok())
    {
        *policy = parsed;
    }
    document.insert("grant".into(), grant.into());
    document.insert("principals".into(), principals.into());
    Value::Object(document)
}

/// Whether a file can say this, and lint accepts it.
pub(super) fn check(key: &Key, attributes: &Attributes) -> Result<(), String> {
    if GrantName::new(&key.grant).is_none() {
        return Err("it does not have the name of a grant".into());
    }
    if Principal::parse(&key.principal).is_none() {
        return Err("it is not for a user, a group or everyone of an issuer".into());
    }
    Item::read(attributes).map(drop).map_err(|problems| shown(&problems.to_string()))
}

/// A name that is a file of grants on every system. What a grant's name cannot hold keeps the names apart.
fn file_name(grant: &str, index: usize) -> String {
    const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];
    let stem = grant.split('.').next().unwrap_or_default();
    let is_port = |name: &str| stem.strip_prefix(name).is_some_and(|rest| rest.len() == 1);
    // Windows opens a device for these, whatever follows the first dot.
    let before = if DEVICES.contains(&stem) || is_port("com") || is_port("lpt") { "+" } else { "" };
    let number = if index > 0 { format!("+{}", index.saturating_add(1)) } else { String::new() };
    // `*.test.yaml` are tests.
    let is_test = grant.rsplit_once('.').is_some_and(|(_, last)| last == "test");
    let behind = if is_test && index == 0 { "+" } else { "" };
    format!("{before}{grant}{number}{behind}.yaml")
}

/// Other files in the folder that are read as grants.
fn others(dir: &Path, ours: &BTreeMap<String, String>) -> Vec<String> {
    let names = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut names: Vec<String> = names
        .filter_map(|name| name.into_string().ok())
        .filter(|name| !name.starts_with('.') && !ours.contains_key(name))
        .filter(|name| [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end)))
        .filter(|name| ![".schema.json", ".test.yaml"].iter().any(|end| name.ends_with(end)))
        .map(|name| shown(&name))
        .collect();
    names.sort();
    names
}

/// Writes the files, all or none. Those that are there already with the same bytes are left alone.
fn put(dir: &Path, texts: &BTreeMap<String, String>) -> Result<(), Failure> {
    let failed = |what: &str, path: &Path, error: &io::Error| {
        Failure::new(format!("cannot {what} `{}`: {}; no file was changed", path.display(), error.kind()))
    };
    fs::create_dir_all(dir).map_err(|error| failed("make the folder", dir, &error))?;
    let mut made = Made::default();
    for (name, text) in texts {
        let path = dir.join(name);
        if path.is_dir() {
            return Err(Failure::new(format!("`{}` is a folder; no file was changed", path.display())));
        }
        if fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
            continue;
        }
        if path.exists() {
            note(&format!("replaces {}", path.display()));
        }
        // Hidden, so that nobody reads it as grants, whatever becomes of us.
        let beside = dir.join(format!(".hallpass-{:016x}.tmp", fastrand::u64(..)));
        let mut file = File::create_new(&beside).map_err(|error| failed("write into", dir, &error))?;
        made.0.push((beside, path.clone()));
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        written.map_err(|error| failed("write", &path, &error))?;
    }
    let total = made.0.len();
    for index in 0..total {
        let Some((beside, path)) = made.0.first() else { break };
        fs::rename(beside, path).map_err(|error| {
            let (path, kind) = (path.display(), error.kind());
            Failure::new(format!("cannot write `{path}`: {kind}; {index} of {total} files were changed before"))
        })?;
        made.0.remove(0);
    }
    Ok(())
}

/// Files next to their places, which are deleted if they do not take them.
#[derive(Debug, Default)]
struct Made(Vec<(PathBuf, PathBuf)>);

impl Drop for Made {
    fn drop(&mut self) {
        for (beside, _) in &self.0 {
            // The disk may be gone with the reason for this.
            let _ = fs::remove_file(beside);
        }
    }
}
