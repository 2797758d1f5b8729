//! Does a caller get a session for a grant?
//!
//! [`authorize`] is the one producer of a [`Session`], by way of a [`Pending`] that waits for what has to be recorded.

use std::net::IpAddr;
use std::time::SystemTime;

use super::denied::{Denied, Refused, Unusable};
use super::item::StoredItem;
use super::merge::{Contents, Merged, contents, duration, merge};
use super::{GrantName, Principal};
use crate::identity::{Caller, IssuerId, NameOwners, SingleUse};
use crate::session::{FederatedName, PolicyArns, SessionDuration, SessionPolicy, SessionTags};

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    pub grant: GrantName,
    /// For how long, if the caller says so.
    pub duration: Option<SessionDuration>,
    /// Where the request came from, by the gateway's own account.
    pub source_ip: Option<IpAddr>,
}

/// Everything in the tables that concerns a caller's request for one grant.
#[derive(Debug, Clone, Default)]
pub struct Matches {
    /// The caller's principals that are blocked.
    pub blocked: Vec<Principal>,
    /// The items of the grant, in the order of [`Principal::of`].
    pub items: Vec<StoredItem>,
    /// Who owns the caller's federated name, where it comes from a claim.
    pub name_owner: Option<String>,
}

/// What goes to STS for one request.
///
/// Anybody can read one:
///
/// ```
/// fn length(session: &hallpass::grants::Session) -> i32 {
///     session.duration().as_secs()
/// }
/// ```
///
/// Nobody but [`authorize`] can make one, or change it:
///
/// ```compile_fail
/// fn widen(session: hallpass::grants::Session) -> hallpass::grants::Session {
///     hallpass::grants::Session { policy: None, ..session }
/// }
/// ```
// INVARIANT: made only by `authorize`, from everything that matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    issuer: IssuerId,
    grant: GrantName,
    name: FederatedName,
    policy: Option<SessionPolicy>,
    policy_arns: PolicyArns,
    tags: SessionTags,
    duration: SessionDuration,
    matched: Vec<Matched>,
}

/// An item that a session was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    /// Whom it is for.
    pub principal: Principal,
    /// Its revision, where it has one.
    pub revision: Option<String>,
}

impl Session {
    /// The issuer of the caller who gets it.
    #[must_use]
    pub const fn issuer(&self) -> &IssuerId {
        &self.issuer
    }

    /// The grant that was asked for.
    #[must_use]
    pub const fn grant(&self) -> &GrantName {
        &self.grant
    }

    #[must_use]
    pub const fn name(&self) -> &FederatedName {
        &self.name
    }

    /// The session policy. Without it, and without ARNs, a session has only what resource policies give to its name.
    #[must_use]
    pub const fn policy(&self) -> Option<&SessionPolicy> {
        self.policy.as_ref()
    }

    #[must_use]
    pub const fn policy_arns(&self) -> &PolicyArns {
        &self.policy_arns
    }

    #[must_use]
    pub const fn tags(&self) -> &SessionTags {
        &self.tags
    }

    /// How long it lasts.
    #[must_use]
    pub const fn duration(&self) -> SessionDuration {
        self.duration
    }

    /// What it was made from.
    #[must_use]
    pub fn matched(&self) -> &[Matched] {
        &self.matched
    }
}

/// A session that waits for what has to be recorded before it may be minted.
// INVARIANT: only recording what is due makes it a `Session`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    pub(super) session: Session,
    pub(super) dues: Dues,
}

/// What has to be recorded, each by nobody before, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Dues {
    /// The name becomes this caller's.
    pub(super) name: Option<NameToTake>,
    /// The token is spent.
    pub(super) token: Option<SingleUse>,
}

/// A federated name that nobody owns yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NameToTake {
    pub(super) name: String,
    pub(super) owner: Principal,
}

impl Pending {
    /// What will be minted, for the record.
    #[must_use]
    pub const fn describe(&self) -> &Session {
        &self.session
    }
}

/// Decides. The order of the refusals is the documented one: blocked, items well-formed, disabled, time, required claim
/// values, step-up, duration, name and templates, name's owner. What is due is recorded after that.
///
/// # Errors
/// [`Denied`] says why the caller gets no session. A session is never reduced to make it possible.
pub fn authorize(caller: &Caller, request: &Request, matches: Matches, now: SystemTime) -> Result<Pending, Denied> {
    if let Some(principal) = matches.blocked.into_iter().next() {
        return Err(Refused::Blocked(principal).into());
    }
    let Merged { items, require } = merge(matches.items, now)?;
    if let Some(pointer) = require.refused_claim(caller) {
        return Err(Refused::ClaimRefused(pointer.to_owned()).into());
    }
    if !require.unmet(caller, now).is_empty() {
        return Err(Refused::StepUp(require.step_up()).into());
    }
    let duration = duration(caller, &items, request.duration, now)?;
    let name = FederatedName::of(caller).map_err(Unusable::from)?;
    let Contents { policy, policy_arns, tags } = contents(caller, &name, &items, request.source_ip)?;
    let dues = Dues { name: name_to_take(caller, &name, matches.name_owner)?, token: caller.single_use() };
    let made_from = items.into_iter().map(|(principal, item)| Matched { principal, revision: item.revision });
    let session = Session {
        issuer: caller.issuer().clone(),
        grant: request.grant.clone(),
        name,
        policy,
        policy_arns,
        tags,
        duration,
        matched: made_from.collect(),
    };
    Ok(Pending { session, dues })
}

/// A name that comes from a claim has one owner, or resource policies that name it would open for two people.
pub(super) fn name_to_take(
    caller: &Caller,
    name: &FederatedName,
    owner: Option<String>,
) -> Result<Option<NameToTake>, Refused> {
    let Some(rule) = caller.name_rule() else { return Ok(None) };
    let me = Principal::user(caller);
    match (owner, rule.owners) {
        (Some(owner), _) if owner == me.as_str() => Ok(None),
        (None, NameOwners::FirstUse) => Ok(Some(NameToTake { name: name.folded(), owner: me })),
        (owner, _) => Err(Refused::NameOwned { name: name.folded(), owner }),
    }
}
