//! What do all the items that match allow together?
//!
//! What the items allow adds up, and every limit and every Deny narrows: statements of all items are given to STS
//! together, so that a Deny in one holds against an Allow in another, and of two limits the smaller holds. One unusable
//! item makes the request unusable; leaving it out could leave out a Deny.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::item::{Attributes, Item};
use super::policy::{MAX_STATEMENTS, Policy};
use super::requirement::{Requirement, StepUp};
use super::template::{ClaimError, Template};
use super::{GrantName, Principal};
use crate::credentials::{FederatedName, NameError, PolicyArns, SessionDuration, SessionPolicy, SessionTags, TagError};
use crate::identity::{Caller, IssuerId, NameOwners, SingleUse};
use crate::problems::Problems;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The grant.
    pub grant: GrantName,
    /// For how long, if the caller says so.
    pub duration: Option<SessionDuration>,
    /// Where the request came from, by the gateway's own account.
    pub source_ip: Option<IpAddr>,
}

/// An item as it was read, for one principal of the caller.
#[derive(Debug, Clone)]
pub struct StoredItem {
    /// Whom it is for.
    pub principal: Principal,
    /// All of it but its key.
    pub attributes: Attributes,
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
    /// The caller's: a claim has none of the values that the grant requires.
    #[error("the claim `{0}` has none of the values that the grant requires")]
    ClaimRefused(String),
    /// The caller's: the sign-in is not strong or fresh enough.
    #[error("a stronger or fresher sign-in is needed")]
    StepUp(StepUp),
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
    /// The caller's: the federated name is another's, or nobody's where an operator has to register it.
    #[error("the federated name `{name}` is {}", owner.as_ref().map_or("not registered".into(), |owner| format!("owned by `{owner}`")))]
    NameOwned {
        /// The name, as its owner is recorded.
        name: String,
        /// Whose it is.
        owner: Option<String>,
    },
    /// The gateway's: a session that works from one address needs one.
    #[error("the event has no source address, and the grant pins sessions to it")]
    NoSourceAddress,
    /// The grant's: an item is not well-formed.
    #[error("the item of `{principal}` is unusable: {problems}")]
    Unusable {
        /// Whose item it is.
        principal: Principal,
        /// Everything that is wrong with it.
        problems: Problems,
    },
    /// The grant's: nothing can meet what the items require together.
    #[error("nothing can meet {0} of all the items that match")]
    Contradiction(String),
    /// The grant's: the caller has no federated name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The grant's: a template cannot be filled in for this caller.
    #[error("the item of `{principal}` is unusable for this caller: {error}")]
    Template {
        /// Whose item it is.
        principal: Principal,
        /// The claim.
        error: ClaimError,
    },
    /// The grant's: the tags are none that STS takes.
    #[error(transparent)]
    Tags(#[from] TagError),
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
    /// Who vouches for whoever gets it.
    #[must_use]
    pub const fn issuer(&self) -> &IssuerId {
        &self.issuer
    }

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

    /// The session tags.
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
/// [`Denied`] says why there is no session; there is never a lesser one.
pub fn authorize(caller: &Caller, request: &Request, matches: Matches, now: SystemTime) -> Result<Pending, Denied> {
    if let Some(principal) = matches.blocked.into_iter().next() {
        return Err(Denied::Blocked(principal));
    }
    let Merged { items, require } = merge(matches.items, now)?;
    if let Some(pointer) = require.refused_claim(caller) {
        return Err(Denied::ClaimRefused(pointer.to_owned()));
    }
    if !require.unmet(caller, now).is_empty() {
        return Err(Denied::StepUp(require.step_up()));
    }
    let duration = duration(caller, &items, request.duration, now)?;
    let name = FederatedName::of(caller)?;
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

/// A grant that a caller could ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its name.
    pub grant: GrantName,
    /// The first description, in the order of [`Principal::of`].
    pub description: Option<String>,
    /// The longest session.
    pub max_duration: SessionDuration,
    /// What this sign-in lacks.
    pub requires: StepUp,
}

/// Everything in the tables that concerns a caller.
#[derive(Debug, Clone, Default)]
pub struct Holdings {
    /// The caller's principals that are blocked.
    pub blocked: Vec<Principal>,
    /// The items of each grant, each in the order of [`Principal::of`].
    pub grants: Vec<(GrantName, Vec<StoredItem>)>,
    /// Who owns the caller's federated name, where it comes from a claim.
    pub name_owner: Option<String>,
}

/// Says what a caller could ask for now from `source_ip`, by the rules of [`authorize`]. A grant that would be refused
/// is left out, also one that cannot be used, unless everything would be refused. What asks for another sign-in is told.
///
/// # Errors
/// [`Denied`] where every grant would be refused for what the caller is.
pub fn offers(
    caller: &Caller,
    holdings: Holdings,
    source_ip: Option<IpAddr>,
    now: SystemTime,
) -> Result<Vec<Offer>, Denied> {
    if let Some(principal) = holdings.blocked.into_iter().next() {
        return Err(Denied::Blocked(principal));
    }
    let name = FederatedName::of(caller)?;
    name_to_take(caller, &name, holdings.name_owner)?;
    let offer = |(grant, items)| {
        let Merged { items, require } = merge(items, now).ok()?;
        if require.refused_claim(caller).is_some() {
            return None;
        }
        contents(caller, &name, &items, source_ip).ok()?;
        let description = items.iter().find_map(|(_, item)| item.description.clone());
        let requires = require.unmet(caller, now);
        Some(longest(caller, &items, now).map(|max_duration| Offer { grant, description, max_duration, requires }))
    };
    holdings.grants.into_iter().filter_map(offer).collect()
}

/// The items that hold now, and all that they require.
struct Merged {
    items: Vec<(Principal, Item)>,
    require: Requirement,
}

fn merge(stored: Vec<StoredItem>, now: SystemTime) -> Result<Merged, Denied> {
    let mut items = Vec::with_capacity(stored.len());
    for StoredItem { principal, attributes } in stored {
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
    let all = items.iter().map(|(_, item)| item.require.clone());
    let require = all.into_iter().try_fold(Requirement::default(), Requirement::and).map_err(Denied::Contradiction)?;
    Ok(Merged { items, require })
}

impl Item {
    /// Whether it is the item's time, with enough of it left for the shortest session that STS makes.
    fn in_time(&self, now: SystemTime) -> bool {
        self.not_before.is_none_or(|begin| begin <= seconds(now))
            && self.not_after.is_none_or(|end| seconds_until(end, now) >= i64::from(SessionDuration::MIN.as_secs()))
    }
}

/// The smallest of all limits.
fn duration(
    caller: &Caller,
    items: &[(Principal, Item)],
    asked: Option<SessionDuration>,
    now: SystemTime,
) -> Result<SessionDuration, Denied> {
    let maximum = items.iter().map(|(_, item)| item.max_duration).min().unwrap_or(SessionDuration::MIN);
    if let Some(asked) = asked.filter(|asked| *asked > maximum) {
        return Err(Denied::OverMaximum { asked, maximum });
    }
    let default = items.iter().map(|(_, item)| item.duration).min().unwrap_or(SessionDuration::MIN);
    Ok(asked.unwrap_or(default).min(longest(caller, items, now)?))
}

/// The longest session that the items' maxima and ends, and the token's end, leave.
fn longest(caller: &Caller, items: &[(Principal, Item)], now: SystemTime) -> Result<SessionDuration, Denied> {
    let mut longest = items.iter().map(|(_, item)| item.max_duration).min().unwrap_or(SessionDuration::MIN);
    for end in items.iter().filter_map(|(_, item)| item.not_after) {
        // Items with less than the minimum left are no longer among these.
        let left = SessionDuration::from_secs(seconds_until(end, now)).unwrap_or(SessionDuration::MAX);
        longest = longest.min(left);
    }
    if let Some(end) = caller.session_ends_at() {
        let left = seconds_until(end, now).min(SessionDuration::MAX.as_secs().into());
        longest = longest.min(SessionDuration::from_secs(left).ok_or(Denied::TokenEndsTooSoon)?);
    }
    Ok(longest)
}

/// What a session carries to STS, filled in for the caller.
struct Contents {
    policy: Option<SessionPolicy>,
    policy_arns: PolicyArns,
    tags: SessionTags,
}

fn contents(
    caller: &Caller,
    name: &FederatedName,
    items: &[(Principal, Item)],
    source_ip: Option<IpAddr>,
) -> Result<Contents, Denied> {
    Ok(Contents {
        policy: session_policy(caller, name, items, source_ip)?,
        policy_arns: policy_arns(items)?,
        tags: tags(caller, name, items)?,
    })
}

/// Joins the statements, filled in for the caller and in an order of their own, so that which item said what makes no
/// difference.
fn session_policy(
    caller: &Caller,
    name: &FederatedName,
    items: &[(Principal, Item)],
    source_ip: Option<IpAddr>,
) -> Result<Option<SessionPolicy>, Denied> {
    let mut statements: Vec<Value> = Vec::new();
    let mut join = |statement: Value| {
        if !statements.contains(&statement) {
            statements.push(statement);
        }
        if statements.len() > MAX_STATEMENTS { Err(Denied::TooManyStatements) } else { Ok(()) }
    };
    for (principal, item) in items {
        let fill = |template: &Template| template.fill(caller, name);
        for statement in item.policy.iter().flat_map(Policy::statements) {
            let unfilled = |error| Denied::Template { principal: principal.clone(), error };
            join(statement.print(&fill).map_err(unfilled)?)?;
        }
    }
    if items.iter().any(|(_, item)| item.pin_source_ip) {
        join(pin(source_ip.ok_or(Denied::NoSourceAddress)?))?;
    }
    if statements.is_empty() {
        return Ok(None);
    }
    statements.sort_by_cached_key(Value::to_string);
    let text = Policy::print(&statements);
    let characters = text.chars().count();
    SessionPolicy::new(text).map(Some).ok_or(Denied::PolicyTooLarge { characters })
}

/// The statement that denies everything from elsewhere. Calls that an AWS service makes with the session, such as
/// Athena's to S3, come from the service's own address.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-viaawsservice>
fn pin(address: IpAddr) -> Value {
    let address = address.to_canonical();
    let bits = if address.is_ipv4() { 32 } else { 128 };
    json!({
        "Effect": "Deny",
        "Action": "*",
        "Resource": "*",
        "Condition": {
            "NotIpAddress": {"aws:SourceIp": format!("{address}/{bits}")},
            "BoolIfExists": {"aws:ViaAWSService": "false"},
        },
    })
}

fn policy_arns(items: &[(Principal, Item)]) -> Result<PolicyArns, Denied> {
    let arns = items.iter().flat_map(|(_, item)| item.policy_arns.iter().cloned()).collect();
    PolicyArns::new(arns).map_err(Denied::TooManyArns)
}

fn tags(caller: &Caller, name: &FederatedName, items: &[(Principal, Item)]) -> Result<SessionTags, Denied> {
    let mut tags = Vec::new();
    for (principal, item) in items {
        for (key, template) in &item.tags {
            let unfilled = |error| Denied::Template { principal: principal.clone(), error };
            tags.push((key.clone(), template.fill(caller, name).map_err(unfilled)?));
        }
    }
    Ok(SessionTags::new(tags)?)
}

/// A name that comes from a claim has one owner, or resource policies that name it would open for two people.
fn name_to_take(caller: &Caller, name: &FederatedName, owner: Option<String>) -> Result<Option<NameToTake>, Denied> {
    let Some(rule) = caller.name_rule() else { return Ok(None) };
    let me = Principal::user(caller);
    match (owner, rule.owners) {
        (Some(owner), _) if owner == me.as_str() => Ok(None),
        (None, NameOwners::FirstUse) => Ok(Some(NameToTake { name: name.folded(), owner: me })),
        (owner, _) => Err(Denied::NameOwned { name: name.folded(), owner }),
    }
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
