//! Whom is a grant for?

use std::fmt;

use crate::identity::Caller;

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
