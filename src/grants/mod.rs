//! What may the caller have?
//!
//! The items that match a [`Caller`](crate::identity::Caller) are read by `Store`, understood by [`Item`], and merged
//! by [`authorize`] into the one [`Session`] that all of them allow. A decision that cannot be made from everything that
//! matched is a refusal.

mod authorize;
mod denied;
mod effect;
mod evaluate;
#[cfg(feature = "files")]
pub mod explain;
#[cfg(feature = "files")]
pub mod file;
mod grant_name;
mod item;
mod lint;
mod merge;
mod offers;
mod policy;
mod principal;
mod requirement;
mod revision;
#[cfg(feature = "aws")]
mod store;
#[cfg(test)]
mod tests;
#[cfg(feature = "files")]
pub mod trial;

pub use self::authorize::{Matched, Matches, Pending, Request, Session, authorize};
pub use self::denied::{Denied, Refused, Unusable};
pub use self::effect::{ChangeEffect, Others, effect};
pub use self::evaluate::{
    Asked, AskedError, Circumstances, Context, Decided, Decider, Decision, Document, Policies, Verdict, evaluate,
};
pub use self::grant_name::GrantName;
pub use self::item::{Attributes, Item, StoredItem};
pub use self::lint::{Holder, check};
pub use self::offers::{Holdings, Offer, offers};
pub use self::policy::{ClaimError, Policy, Statement, Template, TemplateError};
pub use self::principal::{Principal, PrincipalKind};
pub use self::requirement::StepUp;
pub use self::revision::{Content, Revision, is_content};
#[cfg(feature = "aws")]
pub use self::store::{SettleError, Store, StoreError, attributes};
