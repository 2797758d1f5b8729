//! What may the caller have?
//!
//! The items that match a [`Caller`] are read by `Store`, understood by [`Item`], and merged by [`authorize`] into
//! the one [`Session`] that all of them allow. A decision that cannot be made from everything that matched is a
//! refusal.

mod arn;
mod condition;
mod item;
mod lint;
mod merge;
mod policy;
mod requirement;
#[cfg(feature = "aws")]
mod store;
mod template;
#[cfg(test)]
mod tests;
mod variable;

use std::fmt;

pub use self::item::{Attributes, Item};
pub use self::lint::{Holder, check};
pub use self::merge::{
    Denied, Holdings, Matched, Matches, Offer, Pending, Request, Session, StoredItem, authorize, offers,
};
pub use self::policy::{Policy, Statement};
pub use self::requirement::StepUp;
#[cfg(feature = "aws")]
pub use self::store::{Store, StoreError, Unsettled};
pub use self::template::{ClaimError, Template, TemplateError};
use crate::identity::Caller;

/// The name of a grant: `[a-z0-9][a-z0-9._-]{0,63}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantName(String);

impl GrantName {
    /// Takes a legal name.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let legal = (1..=64).contains(&name.len())
            && name.bytes().all(|byte| alphanumeric(byte) || b"._-".contains(&byte))
            && name.bytes().next().is_some_and(alphanumeric);
        legal.then(|| Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for GrantName {
    fn default() -> Self {
        Self("default".into())
    }
}

/// Whom a grant is for: `ID/user/SUBJECT`, `ID/group/GROUP` or `ID/everyone`, and never a subject without its issuer.
/// No two of them can be written alike, since an issuer id holds no `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal(String);

impl Principal {
    /// All that the caller is: the user, each group, and everyone of the issuer. At most 202.
    #[must_use]
    pub fn of(caller: &Caller) -> Vec<Self> {
        let id = caller.issuer();
        let groups = caller.groups().map(|group| Self(format!("{id}/group/{group}")));
        [Self::user(caller)].into_iter().chain(groups).chain([Self(format!("{id}/everyone"))]).collect()
    }

    /// The caller in person.
    #[must_use]
    pub fn user(caller: &Caller) -> Self {
        Self(format!("{}/user/{}", caller.issuer(), caller.subject()))
    }

    /// The principal as it is written in the table.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
