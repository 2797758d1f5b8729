//! Who owns which federated name that comes from a claim?
//!
//! An issuer with `name_claim` takes a session's name from the token. A record of the table of names says whose it is, so
//! that no two callers ever share one. The function compares names without their case.

use std::time::SystemTime;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use clap::{Args, Subcommand};
use hallpass::grants::{Principal, PrincipalKind};
use hallpass::net::aws::SdkConfig;
use hallpass::session::FederatedName;
use serde::Serialize;

use super::block::principal;
use super::grants::{Record, client, issuers_of_stack, shown, stamp};
use super::stack::{Explained, Tables};
use crate::failure::Failure;
use crate::output::{Outcome, Output, note};

/// The id of the record of a name begins so.
const NAME: &str = "name#";

/// `hallpass names …`
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the names, with their owners
    List(List),
    /// Let one user, and nobody else, have a name
    Register(Register),
    /// Let a name be free again
    Release(Release),
}

/// Options of `hallpass names list`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hallpass names list --stack hallpass --json")]
pub(crate) struct List {
    #[command(flatten)]
    tables: Tables,
    #[command(flatten)]
    output: Output,
}

/// Options of `hallpass names register`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hallpass names register --stack hallpass carol@example.com corp/user/00u1carol")]
pub(crate) struct Register {
    /// The name as the claim has it; its case does not matter
    #[arg(value_parser = registrable)]
    name: FederatedName,
    /// The user, as `ID/user/SUBJECT`
    #[arg(value_parser = user)]
    principal: Principal,
    #[command(flatten)]
    tables: Tables,
    #[command(flatten)]
    output: Output,
}

/// Options of `hallpass names release`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hallpass names release --stack hallpass carol@example.com")]
pub(crate) struct Release {
    /// The name; its case does not matter
    #[arg(value_parser = name)]
    name: FederatedName,
    #[command(flatten)]
    tables: Tables,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Listed {
    names: Vec<Owned>,
}

/// A name, without its case, and its owner.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Owned {
    pub(crate) name: String,
    pub(crate) principal: Option<String>,
}

/// One name, and whether this run changed it.
#[derive(Debug, Serialize)]
struct Told {
    #[serde(flatten)]
    owned: Owned,
    changed: bool,
}

/// Reads a name that STS takes.
pub(crate) fn name(text: &str) -> Result<FederatedName, &'static str> {
    FederatedName::parse(text).ok_or("must be 2 to 32 of A-Z, a-z, 0-9 and _ = , . @ + -")
}

/// Reads a name that a claim may have.
fn registrable(text: &str) -> Result<FederatedName, &'static str> {
    let name = name(text)?;
    if name.has_hashed_shape() {
        return Err("looks like a name that is made from a subject, which no claim may have");
    }
    Ok(name)
}

fn user(text: &str) -> Result<Principal, &'static str> {
    let is_user = |principal: &Principal| matches!(principal.kind(), PrincipalKind::User(_));
    principal(text).ok().filter(is_user).ok_or("must be ID/user/SUBJECT, such as corp/user/00u1carol")
}

impl Command {
    /// Runs the command.
    pub(crate) async fn run(self, now: SystemTime) -> Result<Outcome, Failure> {
        match self {
            Self::List(list) => list.run().await,
            Self::Register(register) => register.run(now).await,
            Self::Release(release) => release.run().await,
        }
    }
}

impl List {
    async fn run(self) -> Result<Outcome, Failure> {
        let (sdk, stack) = self.tables.with_names(None).await?;
        let listed = Listed { names: all(&sdk, stack.names()?).await? };
        self.output.print(&listed, || listed.text())?;
        let malformed = listed.names.iter().filter(|owned| owned.principal.is_none()).count();
        if malformed > 0 {
            let text = "the records of the names without an owner are malformed, and their people are refused: release \
                        and register them";
            return Err(Failure::Forbidden(text.into()));
        }
        Ok(Outcome::Done)
    }
}

impl Listed {
    fn text(&self) -> String {
        if self.names.is_empty() {
            return "No names are registered.".into();
        }
        let width = self.names.iter().map(|owned| shown(&owned.name).chars().count()).max().unwrap_or_default();
        let line = |owned: &Owned| {
            let (name, owner) = (shown(&owned.name), owned.principal.as_deref().map_or("-".into(), shown));
            format!("{name:width$}  {owner}")
        };
        self.names.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// All names.
pub(crate) async fn all(sdk: &SdkConfig, table: &str) -> Result<Vec<Owned>, Failure> {
    let client = client(sdk);
    let (mut names, mut from) = (Vec::new(), None);
    loop {
        // Spent tokens are many more, and of no interest.
        let scan = client.scan().table_name(table).consistent_read(true);
        let scan = scan.filter_expression("begins_with(id, :name)");
        let scan = scan.expression_attribute_values(":name", AttributeValue::S(NAME.into()));
        let page = scan.set_exclusive_start_key(from).send().await;
        let page = page.map_err(Failure::to(format!("read the table `{table}`"), "dynamodb:Scan"))?;
        let incomplete = || Failure::new(format!("DynamoDB's answer about the table `{table}` is incomplete"));
        names.extend(page.items.ok_or_else(incomplete)?.iter().filter_map(Owned::of));
        from = page.last_evaluated_key.filter(|key| !key.is_empty());
        if from.is_none() {
            names.sort();
            return Ok(names);
        }
    }
}

impl Owned {
    fn of(record: &Record) -> Option<Self> {
        let Some(AttributeValue::S(id)) = record.get("id") else { return None };
        Some(Self { name: id.strip_prefix(NAME)?.to_owned(), principal: owner(record) })
    }
}

fn owner(record: &Record) -> Option<String> {
    match record.get("owner") {
        Some(AttributeValue::S(owner)) => Some(owner.clone()),
        _ => None,
    }
}

impl Register {
    async fn run(self, now: SystemTime) -> Result<Outcome, Failure> {
        let (sdk, stack) = self.tables.with_names(None).await?;
        let table = stack.names()?;
        self.warn(&stack)?;
        let stamp = stamp(&sdk, None, now).await?;
        let (name, principal) = (self.name.folded(), self.principal.as_str());
        let text = |name: &str, value: &str| (name.to_owned(), AttributeValue::S(value.to_owned()));
        let record = Record::from([
            text("id", &format!("{NAME}{name}")),
            text("owner", principal),
            text("updated_at", &stamp.at),
            text("updated_by", &stamp.by),
        ]);
        let put = client(&sdk).put_item().table_name(table).set_item(Some(record));
        let put = put.condition_expression("attribute_not_exists(id)");
        let put = put.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let changed = match put.send().await {
            Ok(_) => true,
            Err(error) => {
                let Some(PutItemError::ConditionalCheckFailedException(refused)) = error.as_service_error() else {
                    return Err(Failure::to(format!("write to the table `{table}`"), "dynamodb:PutItem")(error));
                };
                match refused.item().and_then(owner) {
                    Some(owner) if owner == principal => false,
                    Some(owner) => {
                        let owner = shown(&owner);
                        let text =
                            format!("`{name}` belongs to {owner}; nothing was written. To change that, release it");
                        return Err(Failure::Forbidden(text));
                    }
                    None => {
                        let text =
                            format!("the record of `{name}` has no owner; nothing was written. Release it first");
                        return Err(Failure::Forbidden(text));
                    }
                }
            }
        };
        let owner = shown(principal);
        let told = Told { owned: Owned { name: name.clone(), principal: Some(principal.to_owned()) }, changed };
        self.output.print(&told, || {
            let already = if changed { "" } else { " already. Nothing was changed" };
            format!("`{name}` belongs to {owner}{already}.")
        })?;
        Ok(Outcome::Done)
    }

    /// A name that no token of the owner's can have helps nobody, and nothing reports it.
    fn warn(&self, stack: &Explained) -> Result<(), Failure> {
        let Some(issuers) = &stack.issuers else { return Ok(()) };
        let id = self.principal.issuer();
        let issuers = issuers_of_stack(issuers)?;
        match issuers.iter().find(|issuer| issuer.id().as_str() == id) {
            None => note(&format!("warning: the stack has no issuer `{id}`")),
            Some(issuer) if issuer.name_rule().is_none() => {
                note(&format!("warning: the issuer `{id}` has no `name_claim`, so none of its people uses the name"));
            }
            Some(_) => {}
        }
        Ok(())
    }
}

impl Release {
    async fn run(self) -> Result<Outcome, Failure> {
        let (sdk, stack) = self.tables.with_names(None).await?;
        let table = stack.names()?;
        let name = self.name.folded();
        let delete = client(&sdk).delete_item().table_name(table);
        let delete = delete.key("id", AttributeValue::S(format!("{NAME}{name}")));
        let deleted = delete.return_values(ReturnValue::AllOld).send().await;
        let deleted = deleted.map_err(Failure::to(format!("write to the table `{table}`"), "dynamodb:DeleteItem"))?;
        let found = deleted.attributes.filter(|record| !record.is_empty());
        let changed = found.is_some();
        let told = Told { owned: Owned { name: name.clone(), principal: found.as_ref().and_then(owner) }, changed };
        self.output.print(&told, || match &told.owned.principal {
            _ if !changed => format!("`{name}` is not registered. Nothing was changed."),
            Some(owner) => format!("`{name}` is free. It belonged to {}.", shown(owner)),
            None => format!("`{name}` is free. Its record had no owner."),
        })?;
        if changed {
            note("sessions with this name go on until they end; `hallpass whois` lists them");
        }
        Ok(Outcome::Done)
    }
}
