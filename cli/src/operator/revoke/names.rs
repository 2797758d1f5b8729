//! Which names do somebody's sessions have?
//!
//! A user's name is made from issuer and subject, or is one that the table of names says is theirs: both are cut, whatever
//! the issuer's settings say, since these may have changed in the last 36 hours. Who was in a group only the audit lines
//! know.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use hallpass::grants::{Principal, PrincipalKind};
use hallpass::net::aws::SdkConfig;
use hallpass::session::FederatedName;

use crate::failure::Failure;
use crate::operator::audit_log::{AuditLog, Window};
use crate::operator::names::all as registered;
use crate::operator::stack::Explained;

/// Names of sessions.
pub(super) type Names = BTreeSet<FederatedName>;

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

/// The names that are registered for a user.
async fn owned(user: &Principal, table: &str, sdk: &SdkConfig) -> Result<Names, Failure> {
    let all = registered(sdk, table).await?.into_iter();
    let owned = all.filter(|name| name.principal.as_deref() == Some(user.as_str()));
    Ok(owned.filter_map(|name| FederatedName::parse(&name.name)).collect())
}

fn missing(output: &str) -> Failure {
    Failure::new(format!("the stack has no output `{output}`: is it Hallpass?"))
}
