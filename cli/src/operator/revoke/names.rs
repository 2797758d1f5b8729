//! Which names do somebody's sessions have?
//!
//! A user's name is made from issuer and subject, or is one that the table of names says is theirs: both are cut, whatever
//! the issuer's settings say, since these may have changed in the last 36 hours. Who was in a group only the audit lines
//! know.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::types::AttributeValue;
use hallpass::grants::{Principal, PrincipalKind};
use hallpass::net::aws::SdkConfig;
use hallpass::session::FederatedName;

use crate::failure::Failure;
use crate::operator::audit_log::{AuditLog, Window};
use crate::operator::grants::client;
use crate::operator::stack::Explained;

/// The id of the record of a name begins so.
const NAME: &str = "name#";

/// Names of sessions.
pub(crate) type Names = BTreeSet<FederatedName>;

/// The names of the sessions that this principal's people can have. Audit lines are read as far back as `length`.
pub(super) async fn of(
    principal: &Principal,
    stack: &Explained,
    sdk: &SdkConfig,
    length: Duration,
    now: SystemTime,
) -> Result<Names, Failure> {
    match principal.kind() {
        PrincipalKind::User(subject) => {
            let table = stack.state.as_deref().ok_or_else(|| missing("StateTable"))?;
            let mut names = owned(principal, table, sdk).await?;
            names.insert(FederatedName::of_subject(principal.issuer(), subject));
            Ok(names)
        }
        PrincipalKind::Group(_) | PrincipalKind::Everyone => {
            let group = stack.audit_log.as_deref().ok_or_else(|| missing("AuditLog"))?;
            let found = AuditLog::new(sdk, group).names_of(principal, Window::last(length, now)).await?;
            Ok(found.into_keys().collect())
        }
    }
}

/// The names that are registered for a user. There is no index by owners, so all records are looked at.
async fn owned(user: &Principal, table: &str, sdk: &SdkConfig) -> Result<Names, Failure> {
    let client = client(sdk);
    let (mut names, mut from) = (Names::new(), None);
    loop {
        let scan = client.scan().table_name(table).consistent_read(true).filter_expression("begins_with(id, :name)");
        let scan = scan.expression_attribute_values(":name", AttributeValue::S(NAME.into()));
        let page = scan.set_exclusive_start_key(from).send().await;
        let page = page.map_err(Failure::to(format!("read the table `{table}`"), "dynamodb:Scan"))?;
        let incomplete = || Failure::new(format!("DynamoDB's answer about the table `{table}` is incomplete"));
        names.extend(page.items.ok_or_else(incomplete)?.iter().filter_map(|record| {
            let (Some(AttributeValue::S(id)), Some(AttributeValue::S(owner))) = (record.get("id"), record.get("owner"))
            else {
                return None;
            };
            FederatedName::parse(id.strip_prefix(NAME)?).filter(|_| owner == user.as_str())
        }));
        from = page.last_evaluated_key.filter(|key| !key.is_empty());
        if from.is_none() {
            return Ok(names);
        }
    }
}

fn missing(output: &str) -> Failure {
    Failure::new(format!("the stack has no output `{output}`: is it Hallpass?"))
}
