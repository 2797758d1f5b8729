//! What could a caller ask for now?

use std::net::IpAddr;
use std::time::SystemTime;

use super::authorize::name_to_take;
use super::denied::{Denied, Refused, Unusable};
use super::item::StoredItem;
use super::merge::{Merged, contents, longest, merge};
use super::requirement::StepUp;
use super::{GrantName, Principal};
use crate::identity::Caller;
use crate::session::{FederatedName, SessionDuration};

/// A grant that a caller could ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
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

/// Says what a caller could ask for now from `source_ip`, by the rules of [`authorize`](super::authorize()). A grant that
/// would be refused is left out, also one that cannot be used, unless everything would be refused. What asks for another
/// sign-in is listed with what it asks for.
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
        return Err(Refused::Blocked(principal).into());
    }
    let name = FederatedName::of(caller).map_err(Unusable::from)?;
    name_to_take(caller, &name, holdings.name_owner)?;
    let offer = |(grant, items)| {
        let Merged { items, require } = merge(items, now).ok()?;
        if require.refused_claim(caller).is_some() {
            return None;
        }
        contents(caller, &name, &items, source_ip).ok()?;
        let description = items.iter().find_map(|(_, item)| item.description.clone());
        let requires = require.unmet(caller, now);
        let offer = |max_duration| Offer { grant, description, max_duration, requires };
        Some(longest(caller, &items, now).map(offer).map_err(Denied::from))
    };
    holdings.grants.into_iter().filter_map(offer).collect()
}
