//! Who gets nothing any more, whatever their grants say?
//!
//! A block is an item in a partition of its own. The function reads it with every request, and by its presence alone it
//! refuses everything for its principal. Sessions that exist go on.

use std::time::SystemTime;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use clap::Args;
use hallpass::grants::{Principal, PrincipalKind};
use hallpass::net::aws::SdkConfig;
use hallpass::session::FederatedName;
use serde::Serialize;

use super::grants::{self, Reader, Record, Stamp, block_key, client, issuers_of_stack, shown, stamp};
use super::revoke::{Cut, Cutting, ToldCut};
use super::stack::{Explained, Tables};
use crate::failure::Failure;
use crate::output::{Outcome, Output, note};

/// Characters of a reason. It is shown in one line.
const MAX_REASON_CHARS: usize = 500;

/// Refuse everything to a user, a group or everyone of an issuer, or list who is blocked.
///
/// The next request is refused. Sessions that exist go on until they end, or are cut off with `--revoke`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hallpass block --stack hallpass corp/user/00u1carol --reason \"laptop stolen, INC-7\"\n  \
                        hallpass block --stack hallpass corp/user/00u1carol --revoke --reason \"left the company\"\n  \
                        hallpass block --stack hallpass --list --json"
)]
pub(crate) struct Block {
    /// `ID/user/SUBJECT`, `ID/group/GROUP` or `ID/everyone`, as in grants and audit lines
    #[arg(value_parser = principal, required_unless_present = "list")]
    principal: Option<Principal>,
    /// Why, for the people who look at the list
    #[arg(long, value_name = "TEXT", value_parser = reason, required_unless_present = "list")]
    reason: Option<String>,
    /// Cut off the sessions that exist, too, as `hallpass revoke` does
    #[arg(long, conflicts_with = "list")]
    revoke: bool,
    /// List who is blocked
    #[arg(long, conflicts_with_all = ["principal", "reason"])]
    list: bool,
    #[command(flatten)]
    tables: Tables,
    #[command(flatten)]
    output: Output,
}

/// Remove a block.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hallpass unblock --stack hallpass corp/user/00u1carol")]
pub(crate) struct Unblock {
    /// `ID/user/SUBJECT`, `ID/group/GROUP` or `ID/everyone`
    #[arg(value_parser = principal)]
    principal: Principal,
    #[command(flatten)]
    tables: Tables,
    #[command(flatten)]
    output: Output,
}

/// What came of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Put {
    /// The block as it is now.
    pub(crate) block: grants::Block,
    /// The block that was there before. It is the same one if the reason was the same: then nothing was written.
    pub(crate) before: Option<grants::Block>,
}

#[derive(Debug, Serialize)]
struct Listed {
    blocks: Vec<grants::Block>,
}

/// One block, and whether this run wrote or removed it.
#[derive(Debug, Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    block: &'a grants::Block,
    changed: bool,
    /// What `--revoke` cut off.
    #[serde(skip_serializing_if = "Option::is_none")]
    cuts: Option<Vec<ToldCut>>,
}

/// Reads a principal as the function does.
pub(crate) fn principal(text: &str) -> Result<Principal, &'static str> {
    Principal::parse(text).ok_or("must be ID/user/SUBJECT, ID/group/GROUP or ID/everyone, such as corp/user/00u1carol")
}

/// Reads why somebody is blocked.
pub(crate) fn reason(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    let fits = (1..=MAX_REASON_CHARS).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned()).ok_or("must be one line of 1 to 500 characters")
}

/// Blocks a principal. Somebody who is blocked stays blocked, with the reason that is given now.
pub(crate) async fn put(
    sdk: &SdkConfig,
    table: &str,
    principal: &Principal,
    reason: &str,
    stamp: &Stamp,
) -> Result<Put, Failure> {
    let (block, put) = request(sdk, table, principal, reason, stamp);
    let Some(before) = put_new(&put, table, principal).await? else { return Ok(Put { block, before: None }) };
    if before.reason == block.reason {
        return Ok(Put { block: before.clone(), before: Some(before) });
    }
    // Whatever somebody else does at this moment, afterwards the principal is blocked.
    put.send().await.map_err(Failure::to(format!("write to the table `{table}`"), "dynamodb:PutItem"))?;
    Ok(Put { block, before: Some(before) })
}

/// Blocks a principal. Somebody who is blocked stays blocked, with the reason that is there.
pub(crate) async fn put_or_keep(
    sdk: &SdkConfig,
    table: &str,
    principal: &Principal,
    reason: &str,
    stamp: &Stamp,
) -> Result<(), Failure> {
    let (_, put) = request(sdk, table, principal, reason, stamp);
    put_new(&put, table, principal).await.map(|_| ())
}

fn request(
    sdk: &SdkConfig,
    table: &str,
    principal: &Principal,
    reason: &str,
    stamp: &Stamp,
) -> (grants::Block, PutItemFluentBuilder) {
    let text = |name: &str, value: &str| (name.to_owned(), AttributeValue::S(value.to_owned()));
    let mut record = block_key(principal.as_str());
    record.extend([text("reason", reason), text("updated_at", &stamp.at), text("updated_by", &stamp.by)]);
    let block = grants::Block::read(principal.as_str(), &record);
    (block, client(sdk).put_item().table_name(table).set_item(Some(record)))
}

/// Writes a block if there is none yet. The answer is the one that is there.
async fn put_new(
    put: &PutItemFluentBuilder,
    table: &str,
    principal: &Principal,
) -> Result<Option<grants::Block>, Failure> {
    let first = put.clone().condition_expression("attribute_not_exists(principal)");
    let first = first.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    let Err(error) = first.send().await else { return Ok(None) };
    let Some(PutItemError::ConditionalCheckFailedException(refused)) = error.as_service_error() else {
        return Err(Failure::to(format!("write to the table `{table}`"), "dynamodb:PutItem")(error));
    };
    let found = refused.item().cloned().unwrap_or_default();
    Ok(Some(grants::Block::read(principal.as_str(), &found)))
}

/// Removes the block of a principal. The answer is the block that was there.
async fn remove(sdk: &SdkConfig, table: &str, principal: &Principal) -> Result<Option<grants::Block>, Failure> {
    let delete = client(sdk).delete_item().table_name(table).set_key(Some(block_key(principal.as_str())));
    let deleted = delete.return_values(ReturnValue::AllOld).send().await;
    let deleted = deleted.map_err(Failure::to(format!("write to the table `{table}`"), "dynamodb:DeleteItem"))?;
    let found = deleted.attributes.filter(|record: &Record| !record.is_empty());
    Ok(found.map(|record| grants::Block::read(principal.as_str(), &record)))
}

impl Block {
    /// Blocks, or lists.
    pub(crate) async fn run(self, now: SystemTime) -> Result<Outcome, Failure> {
        let (sdk, stack) = if self.revoke { self.tables.whole_stack().await? } else { self.tables.explained().await? };
        let (Some(principal), Some(reason)) = (&self.principal, &self.reason) else {
            let listed = Listed { blocks: Reader::new(&sdk, &stack.grants).blocks().await? };
            self.output.print(&listed, || listed.text())?;
            return Ok(Outcome::Done);
        };
        warn_of_unknown_issuer(&stack, principal);
        let stamp = stamp(&sdk, None, now).await?;
        let put = put(&sdk, &stack.grants, principal, reason, &stamp).await?;
        let changed = put.before.as_ref() != Some(&put.block);
        let cut = if self.revoke {
            Some(Cutting::of(principal, &stack, &sdk, now).cut(Some(principal)).await?)
        } else {
            None
        };
        let cuts = cut.as_ref().map(Cut::told);
        let lines = cuts.iter().flatten().map(ToldCut::text).collect::<Vec<_>>();
        self.output
            .print(&Told { block: &put.block, changed, cuts }, || [vec![put.text()], lines].concat().join("\n"))?;
        for line in left_to_do(principal) {
            note(&line);
        }
        if let Some(cut) = cut {
            cut.end().await?;
        }
        Ok(Outcome::Done)
    }
}

impl Unblock {
    /// Removes the block, if there is one.
    pub(crate) async fn run(self) -> Result<Outcome, Failure> {
        let (sdk, table) = self.tables.grants().await?;
        let removed = remove(&sdk, &table, &self.principal).await?;
        let nothing = || grants::Block::read(self.principal.as_str(), &Record::new());
        let changed = removed.is_some();
        let block = removed.unwrap_or_else(nothing);
        self.output.print(&Told { block: &block, changed, cuts: None }, || {
            let who = shown(&block.principal);
            if changed {
                format!(
                    "{who} is not blocked any more. The block was {}. A token that was stolen works again until it expires.",
                    provenance(&block)
                )
            } else {
                format!("{who} was not blocked. Nothing was changed.")
            }
        })?;
        Ok(Outcome::Done)
    }
}

impl Put {
    fn text(&self) -> String {
        let who = shown(&self.block.principal);
        match &self.before {
            None => format!("{who} is blocked. Every request is refused from now on."),
            Some(before) if *before == self.block => {
                format!("{who} was blocked already: {}. Nothing was changed.", provenance(before))
            }
            Some(before) => format!("{who} was blocked already: {}. The reason is replaced.", provenance(before)),
        }
    }
}

impl Listed {
    fn text(&self) -> String {
        if self.blocks.is_empty() {
            return "Nobody is blocked.".into();
        }
        let line = |block: &grants::Block| format!("{}  {}", shown(&block.principal), provenance(block));
        self.blocks.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// When, by whom and why, as far as the block says it.
fn provenance(block: &grants::Block) -> String {
    let or = |text: &Option<String>, other: &str| text.as_deref().map_or_else(|| other.to_owned(), shown);
    let (at, by) = (or(&block.at, "at an unknown time"), or(&block.by, "somebody"));
    format!("{at} by {by}: {}", or(&block.reason, "no reason given"))
}

/// A principal with a wrong issuer is nobody, and nothing reports it. A warning must not prevent a block.
pub(crate) fn warn_of_unknown_issuer(stack: &Explained, principal: &Principal) {
    let Some(issuers) = &stack.issuers else { return };
    let Ok(issuers) = issuers_of_stack(issuers) else { return };
    let ids: Vec<&str> = issuers.iter().map(|issuer| issuer.id().as_str()).collect();
    if !ids.contains(&principal.issuer()) {
        let (issuer, ids) = (principal.issuer(), ids.join(", "));
        note(&format!("warning: the stack has no issuer `{issuer}`, so this blocks nobody; it has: {ids}"));
    }
}

/// What a block does not do.
pub(crate) fn left_to_do(principal: &Principal) -> Vec<String> {
    let mut lines = vec!["Left to do by hand:".to_owned()];
    match principal.kind() {
        PrincipalKind::User(subject) => {
            let name = FederatedName::of_subject(principal.issuer(), subject);
            lines.extend([
                "- at the identity provider: end their sessions, and reset password and second factors".to_owned(),
                "If they leave for good, also:".to_owned(),
                "- close the account at the identity provider".to_owned(),
                format!(
                    "- remove them from resource policies that name `federated-user/{}`, or their name from a claim",
                    name.as_str()
                ),
                "- remove the grants that only they have, from the files in git too".to_owned(),
                "- release their name with `hallpass names release NAME`, if it comes from a claim".to_owned(),
            ]);
        }
        PrincipalKind::Group(_) => lines.extend([
            "- remove the group or its members at the identity provider".to_owned(),
            "- remove the grants of the group, from the files in git too".to_owned(),
        ]),
        PrincipalKind::Everyone => lines.extend([
            "- remove the issuer from the stack's parameters, if nobody shall use it again".to_owned(),
            "- remove its grants, from the files in git too".to_owned(),
        ]),
    }
    lines
}
