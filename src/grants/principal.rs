//! Whom is a grant for?

use std::fmt;

use crate::identity::{Caller, IssuerId, is_name};

/// The last part of the principal of all callers of an issuer.
const EVERYONE: &str = "everyone";

/// Whom a grant is for: `ID/user/SUBJECT`, `ID/group/GROUP` or `ID/everyone`, and never a subject without its issuer.
/// No two of them can be written alike, since an issuer id holds no `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal(String);

/// Who a principal is among those whom its issuer knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrincipalKind<'a> {
    /// The one with this subject.
    User(&'a str),
    /// Those in this group.
    Group(&'a str),
    /// All of them.
    Everyone,
}

impl Principal {
    /// All that the caller is: the user, each group, and everyone of the issuer. At most 202.
    #[must_use]
    pub fn of(caller: &Caller) -> Vec<Self> {
        let id = caller.issuer();
        let groups = caller.groups().map(|group| Self(format!("{id}/group/{group}")));
        [Self::user(caller)].into_iter().chain(groups).chain([Self(format!("{id}/{EVERYONE}"))]).collect()
    }

    /// The caller in person.
    #[must_use]
    pub fn user(caller: &Caller) -> Self {
        Self(format!("{}/user/{}", caller.issuer(), caller.subject()))
    }

    /// Reads a principal as it is written in the table.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (issuer, rest) = text.split_once('/')?;
        IssuerId::new(issuer)?;
        let is_legal = match rest.split_once('/') {
            None => rest == EVERYONE,
            Some(("user" | "group", name)) => is_name(name),
            Some(_) => false,
        };
        is_legal.then(|| Self(text.to_owned()))
    }

    /// The id of its issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.0.split_once('/').map_or("", |(issuer, _)| issuer)
    }

    /// Who it is among those whom its issuer knows.
    #[must_use]
    pub fn kind(&self) -> PrincipalKind<'_> {
        match self.0.split_once('/').and_then(|(_, rest)| rest.split_once('/')) {
            Some(("user", name)) => PrincipalKind::User(name),
            Some((_, name)) => PrincipalKind::Group(name),
            None => PrincipalKind::Everyone,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_a_user_a_group_or_everyone_of_an_issuer() {
        let name = "é".repeat(127);
        for (text, issuer, kind) in [
            ("corp/user/carol", "corp", PrincipalKind::User("carol")),
            ("a-1/group/a/b c", "a-1", PrincipalKind::Group("a/b c")),
            ("corp/group/everyone", "corp", PrincipalKind::Group("everyone")),
            ("corp/everyone", "corp", PrincipalKind::Everyone),
            (&format!("corp/user/{name}"), "corp", PrincipalKind::User(&name)),
        ] {
            let principal = Principal::parse(text).unwrap();
            assert_eq!((principal.as_str(), principal.issuer(), principal.kind()), (text, issuer, kind));
        }
        for text in [
            "",
            "corp",
            "corp/",
            "/everyone",
            "Corp/everyone",
            "corp/Everyone",
            "corp/everyone/",
            "corp/everyone/x",
            "corp/user/",
            "corp/user",
            "corp/users/carol",
            "corp/role/carol",
            "corp/user/a\nb",
            "corp/user/a\u{7f}",
            " corp/everyone",
            "carol@example.com",
            &format!("corp/user/{}", "é".repeat(128)),
            &format!("{}/everyone", "a".repeat(33)),
        ] {
            assert_eq!(Principal::parse(text), None, "{text:?}");
        }
    }
}
