//! Which sessions are meant, and who is blocked for it?

use std::time::{Duration, SystemTime};

use hallpass::grants::{Principal, PrincipalKind};
use hallpass::net::aws::SdkConfig;
use hallpass::session::FederatedName;

use super::cuts::Cuts;
use super::names::{Names, add, add_by_lines};
use crate::failure::Failure;
use crate::operator::grants::shown;
use crate::operator::stack::Explained;

/// Which sessions are meant.
#[derive(Debug)]
pub(super) enum Whom {
    /// Everybody's. Nobody is blocked.
    Everyone,
    /// Those of this principal's people.
    Principal(Principal),
    /// Those with this name, which is this user's, if anybody can say so.
    Name(FederatedName, Option<Principal>),
}

impl Whom {
    /// Adds the names of the sessions, by what is known without a long look, or was written within the last `length`. With
    /// a failure some may be missing.
    pub(super) async fn add_names(
        &self,
        stack: &Explained,
        sdk: &SdkConfig,
        length: Duration,
        now: SystemTime,
        names: &mut Names,
    ) -> Result<(), Failure> {
        match self {
            Self::Everyone => {}
            Self::Principal(principal) => return add(principal, stack, sdk, length, now, names).await,
            Self::Name(name, _) => {
                names.insert(name.clone());
            }
        }
        Ok(())
    }

    /// Adds the names that audit lines show, if these are asked. The answer is whether they were.
    pub(super) async fn add_names_by_lines(
        &self,
        stack: &Explained,
        sdk: &SdkConfig,
        length: Duration,
        now: SystemTime,
        names: &mut Names,
    ) -> Result<bool, Failure> {
        let Self::Principal(principal) = self else { return Ok(false) };
        add_by_lines(principal, stack, sdk, length, now, names).await.map(|()| true)
    }

    pub(super) fn cuts(&self, names: &Names, before: i64) -> Cuts {
        match self {
            Self::Everyone => Cuts::of_everyone(before),
            Self::Principal(_) | Self::Name(..) => Cuts::of_names(names.iter().map(FederatedName::as_str), before),
        }
    }

    /// Who would renew their sessions.
    pub(super) fn principal(&self) -> Option<&Principal> {
        match self {
            Self::Everyone => None,
            Self::Principal(principal) => Some(principal),
            Self::Name(_, principal) => principal.as_ref(),
        }
    }

    /// Whether only the audit lines know which sessions these are.
    pub(super) fn is_by_audit_lines(&self) -> bool {
        match self {
            Self::Principal(principal) => !matches!(principal.kind(), PrincipalKind::User(_)),
            Self::Everyone | Self::Name(..) => false,
        }
    }

    /// What the person at the keyboard should know.
    pub(super) fn note(&self, names: &Names) -> Option<String> {
        let Self::Principal(principal) = self else { return None };
        let who = shown(principal.as_str());
        self.is_by_audit_lines().then(|| match names.len() {
            0 => format!(
                "no audit line of the last 36 hours has a session of {who}. Lines can be a minute late: run the same command \
                 once more in a minute"
            ),
            _ => "audit lines can be a minute late: run the same command once more in a minute".into(),
        })
    }
}
