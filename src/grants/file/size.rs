//! Does what one caller can match fit into a session policy?
//!
//! STS accepts 2,048 characters. Claims are counted with 64 of them, the federated name with its 32, and an address with
//! the longest that there is. Each document is printed once, so that this costs what reading the files does.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};

use super::{Document, Finding};
use crate::grants::PrincipalKind;
use crate::grants::item::Item;
use crate::grants::merge::pin;
use crate::grants::policy::{Part, Policy, Template};
use crate::read::problems::Problem;
use crate::read::rule::Rule;
use crate::session::SessionPolicy;

/// Characters of a claim: an identifier of most providers is shorter.
const CLAIM: usize = 64;

/// Documents that a message names.
const MAX_NAMED: usize = 3;

/// The statements of some documents, each once, with their characters.
type Statements = BTreeMap<String, usize>;

/// Finds what is too large, alone or together.
pub(super) fn lint(documents: &[Document], findings: &mut Vec<Finding>) {
    let statements: Vec<Statements> = documents.iter().map(|document| of_item(document.item())).collect();
    let mut matches: BTreeMap<(&str, &str), Matching<'_>> = BTreeMap::new();
    for (document, statements) in documents.iter().zip(&statements) {
        let one = One { document, statements };
        let alone = characters(statements);
        if alone > SessionPolicy::MAX_CHARS {
            one.note(findings, Rule::PolicySize, &format!("is up to {alone} characters"), &[]);
            continue;
        }
        if !document.item().enabled {
            continue;
        }
        for principal in document.principals().iter().map(|named| &named.principal) {
            let matching = matches.entry((principal.issuer(), document.grant().as_str())).or_default();
            let list = match principal.kind() {
                PrincipalKind::Everyone => &mut matching.everyone,
                PrincipalKind::Group(_) => &mut matching.groups,
                PrincipalKind::User(_) => &mut matching.users,
            };
            // Principals of one document come one after another.
            if list.last().is_none_or(|last| !std::ptr::eq(last.document, document)) {
                list.push(one);
            }
        }
    }
    for matching in matches.into_values() {
        matching.lint(findings);
    }
}

/// A document that fits by itself.
#[derive(Clone, Copy)]
struct One<'a> {
    document: &'a Document,
    statements: &'a Statements,
}

/// The documents of one grant's name whose items callers of one issuer can match.
#[derive(Default)]
struct Matching<'a> {
    everyone: Vec<One<'a>>,
    groups: Vec<One<'a>>,
    users: Vec<One<'a>>,
}

impl Matching<'_> {
    fn lint(mut self, findings: &mut Vec<Finding>) {
        let mut everyone = Statements::new();
        self.everyone.iter().for_each(|one| everyone.extend(one.statements.clone()));
        let before = findings.len();
        let mut seen = BTreeSet::new();
        for one in self.groups.iter().chain(&self.users) {
            // A document for both groups and users is one.
            if !seen.insert((one.document.path(), one.document.index())) {
                continue;
            }
            let together = characters_with(&everyone, one.statements);
            if together > SessionPolicy::MAX_CHARS {
                let says = format!("is up to {together} characters together with what everyone has");
                one.note(findings, Rule::PolicySize, &says, &self.everyone);
            }
        }
        if findings.len() > before {
            return;
        }
        self.groups.sort_by_cached_key(|one| std::cmp::Reverse(characters(one.statements)));
        let user = self.users.iter().max_by_key(|one| characters(one.statements)).copied();
        let Some((first, others)) = self.groups.split_first() else { return };
        let mut all = everyone;
        let mut named = self.everyone.clone();
        all.extend(first.statements.clone());
        for one in others.iter().chain(&user) {
            all.extend(one.statements.clone());
            named.push(*one);
            let together = characters(&all);
            if together > SessionPolicy::MAX_CHARS {
                let says = format!("is up to {together} characters for a caller who matches other documents, too");
                first.note(findings, Rule::CombinedSize, &says, &named);
                return;
            }
        }
    }
}

impl One<'_> {
    fn note(self, findings: &mut Vec<Finding>, rule: Rule, says: &str, others: &[One<'_>]) {
        let place = |one: &One<'_>| {
            let place = one.document.place("/policy");
            format!("{}:{}", one.document.path().display(), place.line)
        };
        let mut places: Vec<String> = others.iter().take(MAX_NAMED).map(place).collect();
        if let Some(more) = others.len().checked_sub(MAX_NAMED).filter(|more| *more > 0) {
            places.push(format!("{more} more"));
        }
        let places = if places.is_empty() { String::new() } else { format!(" ({})", places.join(", ")) };
        let limit = SessionPolicy::MAX_CHARS;
        let says = format_args!("{says}{places}, with claims of {CLAIM}; STS accepts {limit}");
        let problem = Problem::new(rule, says).help("use wildcards, `policy_arns`, or grants of other names");
        let at = if self.document.attributes().contains_key("policy") { "/policy" } else { "" };
        findings.push(self.document.finding(Problem { at: at.into(), ..problem }));
    }
}

/// The statements that an item adds to a session policy.
fn of_item(item: &Item) -> Statements {
    let fill =
        |template: &Template| -> Result<String, Infallible> { Ok(template.parts().iter().map(longest).collect()) };
    let written = item.policy.iter().flat_map(Policy::statements).filter_map(|statement| statement.print(&fill).ok());
    let pinned = item.pin_source_ip.then(|| pin(IpAddr::V6(Ipv6Addr::from([0xff; 16]))));
    let empty = Policy::print(&[]).chars().count();
    written
        .chain(pinned)
        .map(|statement| Policy::print(&[statement]))
        .map(|text| {
            let characters = text.chars().count().saturating_sub(empty);
            (text, characters)
        })
        .collect()
}

fn longest(part: &Part) -> String {
    match part {
        Part::Text(text) => text.clone(),
        Part::Variable(name) => format!("${{{name}}}"),
        Part::Claim(_) => "x".repeat(CLAIM),
        Part::SessionName => "x".repeat(crate::session::FederatedName::MAX_CHARS),
    }
}

/// The characters of a policy of these statements. Without one, there is no policy.
fn characters(statements: &Statements) -> usize {
    total(statements.len(), statements.values().sum())
}

/// The same for those of both, without putting them together.
fn characters_with(some: &Statements, others: &Statements) -> usize {
    let new = || others.iter().filter(|(text, _)| !some.contains_key(*text));
    let length = some.values().sum::<usize>().saturating_add(new().map(|(_, characters)| characters).sum());
    total(some.len().saturating_add(new().count()), length)
}

fn total(count: usize, length: usize) -> usize {
    let commas = count.saturating_sub(1);
    if count == 0 { 0 } else { Policy::print(&[]).chars().count().saturating_add(length).saturating_add(commas) }
}
