//! Which names do somebody's sessions have?
//!
//! A user's name is made from issuer and subject, or is one that the table of names says is theirs: both are cut, whatever
//! the issuer's settings say, since these may have changed in the last 36 hours. A name may have been released since then,
//! and who was in a group nobody wrote down: both only the audit lines know.

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

/// Adds the names that this principal's people have. Audit lines are read as far back as `length`, and only for those who
/// are known by them alone. With a failure some names may be missing, and those that were found are added.
pub(super) async fn add(
    principal: &Principal,
    stack: &Explained,
    sdk: &SdkConfig,
    length: Duration,
    now: SystemTime,
    names: &mut Names,
) -> Result<(), Failure> {
    match principal.kind() {
        PrincipalKind::User(subject) => {
            names.insert(FederatedName::of_subject(principal.issuer(), subject));
            let table = stack.state.as_deref().ok_or_else(|| missing("StateTable"))?;
            names.append(&mut owned(principal, table, sdk).await?);
            Ok(())
        }
        PrincipalKind::Group(_) | PrincipalKind::Everyone => {
            add_by_lines(principal, stack, sdk, length, now, names).await
        }
    }
}

/// Adds the names that audit lines show for this principal. With a failure some may be missing.
pub(super) async fn add_by_lines(
    principal: &Principal,
    stack: &Explained,
    sdk: &SdkConfig,
    length: Duration,
    now: SystemTime,
    names: &mut Names,
) -> Result<(), Failure> {
    let group = stack.audit_log.as_deref().ok_or_else(|| missing("AuditLog"))?;
    let window = Window::last(length, now);
    let add = |name| {
        names.insert(name);
    };
    AuditLog::new(sdk, group).names_of(principal, window, add).await
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
