//! What does one document of a grant file say?

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::Finding;
use crate::grants::{Attributes, GrantName, Item, Principal};
use crate::read::json::escaped;
use crate::read::problems::{Problem, Problems, quoted};
use crate::read::rule::Rule;
use crate::read::text::{Entry, Node, Place, Source, Span};
use crate::time::from_rfc3339;

/// Attributes that `apply` writes, and no file.
const WRITTEN: [&str; 3] = ["revision", "updated_at", "updated_by"];

/// A well-formed document: one grant for a list of principals.
#[derive(Debug, Clone)]
pub struct Document {
    path: Arc<Path>,
    source: Arc<Source>,
    index: usize,
    node: Node,
    grant: GrantName,
    principals: Vec<Named>,
    attributes: Attributes,
    item: Item,
}

/// A principal of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Whom the grant is for.
    pub principal: Principal,
    /// Where that is written.
    pub place: Place,
}

impl Document {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The how manieth of the file, from 0, without empty ones.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// The grant's name.
    #[must_use]
    pub const fn grant(&self) -> &GrantName {
        &self.grant
    }

    /// For whom it is: at least one, each once, in the order of the file.
    #[must_use]
    pub fn principals(&self) -> &[Named] {
        &self.principals
    }

    /// The attributes of the items: all of the document but its grant and its principals, with times in seconds.
    #[must_use]
    pub const fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// The same, as the function understands them.
    #[must_use]
    pub const fn item(&self) -> &Item {
        &self.item
    }

    /// Where the value of a JSON pointer stands, or, if it is not there, the last value on the way. Pointers are those of
    /// an item, and `/grant` and `/principals/0`. A policy that is JSON text stands at `/policy` with all of its parts.
    #[must_use]
    pub fn place(&self, pointer: &str) -> Place {
        self.source.place(self.node.find(pointer).node.span.start)
    }

    /// What is wrong in this document, at its place in the file.
    #[must_use]
    pub fn finding(&self, problem: Problem) -> Finding {
        let span = span(&self.node, &problem);
        Finding::new(&self.path, &self.source, span, problem)
    }
}

/// What became of a document.
pub(super) struct Read {
    /// With the findings empty, a well-formed one. Else one that serves only to find more.
    pub(super) document: Option<Document>,
    pub(super) grant: Option<GrantName>,
    pub(super) named: Vec<(String, Span, Principal)>,
    pub(super) findings: Vec<Finding>,
}

/// Reads a document, which is the `index`th of its file.
pub(super) fn read(node: Node, index: usize, path: &Arc<Path>, source: &Arc<Source>) -> Read {
    let mut reader = Reader { node: &node, path, source, findings: Vec::new() };
    let Some(entries) = node.entries() else {
        reader.wrong("", Problem::new(Rule::Type, "must be a map with `grant` and `principals`"));
        return Read { document: None, grant: None, named: Vec::new(), findings: reader.findings };
    };
    let grant = reader.grant();
    let named = reader.principals();
    let attributes = reader.attributes(entries);
    let item = match Item::read(&attributes) {
        Ok(item) => Some(item),
        Err(problems) => {
            problems.iter().for_each(|problem| reader.wrong(&problem.at, problem.clone()));
            rest(&attributes, &problems)
        }
    };
    let findings = reader.findings;
    let principals: Vec<Named> = named
        .iter()
        .map(|(_, span, principal)| Named { principal: principal.clone(), place: source.place(span.start) })
        .collect();
    let document = grant.clone().zip(item).map(|(grant, item)| Document {
        path: Arc::clone(path),
        source: Arc::clone(source),
        index,
        node,
        grant,
        principals,
        attributes,
        item,
    });
    Read { document, grant, named, findings }
}

/// What an item is without what is wrong with it, so that warnings about the rest come in the same run.
fn rest(attributes: &Attributes, problems: &Problems) -> Option<Item> {
    let mut rest = attributes.clone();
    for problem in problems.iter() {
        let name = problem.at.split('/').nth(1).unwrap_or_default();
        let statement = problem.at.strip_prefix("/policy/Statement/").and_then(|at| at.split('/').next()?.parse().ok());
        let place = statement.and_then(|index: usize| rest.get_mut("policy")?.get_mut("Statement")?.get_mut(index));
        match place {
            // One about which nothing is to be said keeps the places of those behind it.
            Some(place) => {
                *place = json!({"Effect": "Allow", "Action": "none:None", "Resource": "arn:aws:none:::none"});
            }
            None => drop(rest.remove(name)),
        }
    }
    Item::read(&rest).ok()
}

struct Reader<'a> {
    node: &'a Node,
    path: &'a Arc<Path>,
    source: &'a Arc<Source>,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn grant(&mut self) -> Option<GrantName> {
        let Some(entry) = self.node.entry("grant") else {
            self.wrong("", Problem::new(Rule::Missing, "has no `grant`, the name of the grant"));
            return None;
        };
        let name = entry.value.as_str().and_then(GrantName::new);
        if name.is_none() {
            let found = found(&entry.value);
            let says = "must be a name of 1 to 64 of a-z, 0-9, `.`, `_` and `-`, which begins with a letter or a digit";
            self.wrong("/grant", Problem::new(Rule::GrantName, format_args!("{says}: {found}")));
        }
        name
    }

    fn principals(&mut self) -> Vec<(String, Span, Principal)> {
        let mut named = Vec::new();
        let Some(entry) = self.node.entry("principals") else {
            self.wrong("", Problem::new(Rule::Missing, "has no `principals`, for whom the grant is"));
            return named;
        };
        let Some(nodes) = entry.value.items().filter(|nodes| !nodes.is_empty()) else {
            let says = format!("must be a list of at least one principal: {}", found(&entry.value));
            self.wrong("/principals", Problem::new(Rule::Principal, says));
            return named;
        };
        let mut known = BTreeSet::new();
        for (index, node) in nodes.iter().enumerate() {
            let at = format!("/principals/{index}");
            let Some(principal) = node.as_str().and_then(Principal::parse) else {
                let says = "must be `ISSUER/user/SUBJECT`, `ISSUER/group/GROUP` or `ISSUER/everyone`";
                self.wrong(&at, Problem::new(Rule::Principal, format_args!("{says}: {}", found(node))));
                continue;
            };
            if known.insert(principal.as_str().to_owned()) {
                named.push((at, node.span, principal));
            } else {
                let problem = Problem::new(Rule::Duplicate, format_args!("is in the list twice: {}", found(node)));
                self.wrong(&at, problem.help("remove one of the two"));
            }
        }
        named
    }

    fn attributes(&mut self, entries: &[Entry]) -> Attributes {
        let mut attributes = Attributes::new();
        for entry in entries.iter().filter(|entry| !["grant", "principals"].contains(&entry.key.as_str())) {
            let name = entry.key.as_str();
            let at = format!("/{}", escaped(name));
            if WRITTEN.contains(&name) || name.starts_with("aws:") {
                let says = "is written into the table by tools, and not by a file";
                self.wrong(&at, Problem::new(Rule::UnknownMember, says).help("remove it"));
                continue;
            }
            let mut value = entry.value.value();
            if ["not_before", "not_after"].contains(&name)
                && let Some(text) = value.as_str()
            {
                let Some(seconds) = from_rfc3339(text) else {
                    let says =
                        "must be a time of RFC 3339, such as `2026-11-22T12:00:00Z`, or whole seconds since the epoch";
                    self.wrong(&at, Problem::new(Rule::Time, format_args!("{says}: {}", quoted(text))));
                    continue;
                };
                value = seconds.into();
            }
            attributes.insert(name.to_owned(), value);
        }
        attributes
    }

    fn wrong(&mut self, at: &str, problem: Problem) {
        // What could not be read there is told already.
        if self.node.find(at).node.is_damaged {
            return;
        }
        let problem = Problem { at: at.to_owned(), ..problem };
        self.findings.push(Finding::new(self.path, self.source, span(self.node, &problem), problem));
    }
}

/// The very part of a document that a problem is about: a value, or the key if that is what is wrong.
pub(in crate::grants) fn span(node: &Node, problem: &Problem) -> Span {
    let found = node.find(&problem.at);
    let is_about_key = matches!(
        problem.rule,
        Rule::UnknownMember | Rule::PolicyElement | Rule::ConditionOperator | Rule::ConditionKey | Rule::JsonPointer
    );
    found.key.filter(|_| is_about_key && found.is_exact).unwrap_or(found.node.span)
}

fn found(node: &Node) -> String {
    node.as_str().map_or_else(|| quoted(node.value()), quoted)
}
