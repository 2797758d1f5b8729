//! What do all the items that match allow together?
//!
//! Every rule here narrows: statements of all items are given to STS together, so that a Deny in one holds against an
//! Allow in another, and of two limits the smaller holds. One unusable item makes the request unusable; leaving it
//! out could leave out a Deny.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::item::{Attributes, Item};
use super::policy::{MAX_STATEMENTS, Policy, Statement};
use super::{GrantName, Principal};
use crate::credentials::{FederatedName, PolicyArns, SessionDuration, SessionPolicy};
use crate::identity::Caller;
use crate::problems::Problems;

/// An item as it was read, for one principal of the caller.
#[derive(Debug, Clone)]
pub struct StoredItem {
    /// Whom it is for.
    pub principal: Principal,
    /// All of it but its key.
    pub attributes: Attributes,
}

/// Everything in the table that concerns a caller's request for one grant.
#[derive(Debug, Clone, Default)]
pub struct Matches {
    /// The caller's principals that are blocked.
    pub blocked: Vec<Principal>,
    /// The items of the grant, in the order of [`Principal::of`].
    pub items: Vec<StoredItem>,
}

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The caller's: a principal of his is blocked.
    #[error("`{0}` is blocked")]
    Blocked(Principal),
    /// The caller's: nothing in the table grants it.
    #[error("no item grants this to the caller")]
    NoGrant,
    /// The caller's: an item refuses it.
    #[error("the item of `{0}` is disabled")]
    Disabled(Principal),
    /// The caller's: it is not, or no longer, the grant's time.
    #[error("the grant's time is over or has not begun")]
    OutOfTime,
    /// The caller's: more was asked for than the grant allows.
    #[error("{asked} s were asked for, over the grant's maximum of {maximum} s")]
    OverMaximum {
        /// What was asked for.
        asked: SessionDuration,
        /// What the grant allows.
        maximum: SessionDuration,
    },
    /// The caller's: the session would have to end with the token, which ends too soon.
    #[error("the token ends in less than 900 s, and the session would have to end with it")]
    TokenEndsTooSoon,
    /// The grant's: an item is not well-formed.
    #[error("the item of `{principal}` is unusable: {problems}")]
    Unusable {
        /// Whose item it is.
        principal: Principal,
        /// Everything that is wrong with it.
        problems: Problems,
    },
    /// The grant's: together the items are more than STS takes.
    #[error("the merged policy has {characters} characters, and STS takes at most 2048")]
    PolicyTooLarge {
        /// The length of the minified policy.
        characters: usize,
    },
    /// The grant's: together the items are more than STS takes.
    #[error("the merged policy has more statements than fit into the 2048 characters that STS takes")]
    TooManyStatements,
    /// The grant's: together the items are more than STS takes.
    #[error("the items name {0} managed policies together, and STS takes at most 10")]
    TooManyArns(usize),
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
    grant: GrantName,
    name: FederatedName,
    policy: Option<SessionPolicy>,
    policy_arns: PolicyArns,
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
    /// The grant that was asked for.
    #[must_use]
    pub const fn grant(&self) -> &GrantName {
        &self.grant
    }

    /// The federated name.
    #[must_use]
    pub const fn name(&self) -> &FederatedName {
        &self.name
    }

    /// The session policy. Without it, and without ARNs, a session has only what resource policies give to its name.
    #[must_use]
    pub const fn policy(&self) -> Option<&SessionPolicy> {
        self.policy.as_ref()
    }

    /// The managed policies.
    #[must_use]
    pub const fn policy_arns(&self) -> &PolicyArns {
        &self.policy_arns
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

/// Decides. The order of the refusals is the documented one: blocked, items well-formed, disabled, time, duration,
/// name and templates.
///
/// # Errors
/// [`Denied`] says why there is no session; there is never a lesser one.
pub fn authorize(
    caller: &Caller,
    grant: GrantName,
    matches: Matches,
    asked: Option<SessionDuration>,
    now: SystemTime,
) -> Result<Session, Denied> {
    if let Some(principal) = matches.blocked.into_iter().next() {
        return Err(Denied::Blocked(principal));
    }
    let mut items = Vec::with_capacity(matches.items.len());
    for StoredItem { principal, attributes } in matches.items {
        match Item::read(attributes) {
            Ok(item) => items.push((principal, item)),
            Err(problems) => return Err(Denied::Unusable { principal, problems }),
        }
    }
    if items.is_empty() {
        return Err(Denied::NoGrant);
    }
    if let Some((principal, _)) = items.iter().find(|(_, item)| !item.enabled) {
        return Err(Denied::Disabled(principal.clone()));
    }
    items.retain(|(_, item)| item.in_time(now));
    if items.is_empty() {
        return Err(Denied::OutOfTime);
    }
    let duration = duration(caller, items.iter().map(|(_, item)| item), asked, now)?;
    let mut statements = Vec::new();
    let mut arns = Vec::new();
    let mut made_from = Vec::with_capacity(items.len());
    for (principal, item) in items {
        for statement in item.policy.into_iter().flat_map(Policy::into_statements) {
            if !statements.contains(&statement) {
                statements.push(statement);
            }
            if statements.len() > MAX_STATEMENTS {
                return Err(Denied::TooManyStatements);
            }
        }
        arns.extend(item.policy_arns);
        made_from.push(Matched { principal, revision: item.revision });
    }
    Ok(Session {
        grant,
        name: FederatedName::of(caller),
        policy: session_policy(&statements)?,
        policy_arns: PolicyArns::new(arns).map_err(Denied::TooManyArns)?,
        duration,
        matched: made_from,
    })
}

impl Item {
    /// Whether it is the item's time, with enough of it left for the shortest session that STS makes.
    fn in_time(&self, now: SystemTime) -> bool {
        self.not_before.is_none_or(|begin| begin <= seconds(now))
            && self.not_after.is_none_or(|end| seconds_until(end, now) >= i64::from(SessionDuration::MIN.as_secs()))
    }
}

/// The smallest of all limits.
fn duration<'a>(
    caller: &Caller,
    items: impl Iterator<Item = &'a Item> + Clone,
    asked: Option<SessionDuration>,
    now: SystemTime,
) -> Result<SessionDuration, Denied> {
    let maximum = items.clone().map(|item| item.max_duration).min().unwrap_or(SessionDuration::MIN);
    let default = items.clone().map(|item| item.duration).min().unwrap_or(SessionDuration::MIN).min(maximum);
    if let Some(asked) = asked.filter(|asked| *asked > maximum) {
        return Err(Denied::OverMaximum { asked, maximum });
    }
    let mut duration = asked.unwrap_or(default);
    for end in items.filter_map(|item| item.not_after) {
        // Items with less than the minimum left are no longer among these.
        let left = SessionDuration::from_secs(seconds_until(end, now)).unwrap_or(SessionDuration::MAX);
        duration = duration.min(left);
    }
    if let Some(end) = caller.session_ends_at() {
        let left = seconds_until(end, now).min(SessionDuration::MAX.as_secs().into());
        duration = duration.min(SessionDuration::from_secs(left).ok_or(Denied::TokenEndsTooSoon)?);
    }
    Ok(duration)
}

fn session_policy(statements: &[Statement]) -> Result<Option<SessionPolicy>, Denied> {
    if statements.is_empty() {
        return Ok(None);
    }
    let text = Policy::print(statements);
    let characters = text.chars().count();
    SessionPolicy::new(text).map(Some).ok_or(Denied::PolicyTooLarge { characters })
}

/// Whole seconds since the epoch, the broken one left out.
fn seconds(now: SystemTime) -> i64 {
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}

/// Whole seconds from now to `end`, rounded down. STS counts from when it is asked, so that a session may outlive
/// `end` by what the request took until then, which is bounded to 1.5 s.
fn seconds_until(end: i64, now: SystemTime) -> i64 {
    let fraction = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).subsec_nanos();
    end.saturating_sub(seconds(now)).saturating_sub(i64::from(fraction > 0))
}
