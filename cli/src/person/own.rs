//! Which session is the person's own, for a command that tries something with one?

use hallpass::wire::Credentials;

use super::desk::Desk;
use super::session::Session;
use super::trouble::Trouble;

/// A session that was made just now, and not the one that is stored: nothing of its kind may be used afterwards.
#[derive(Debug)]
pub(crate) struct OwnSession {
    pub(crate) credentials: Credentials,
    /// The sign-in that it is from, unless it is a program's.
    pub(super) signed_in: Option<(Desk, Session)>,
}

impl OwnSession {
    /// Forgets the credentials that are stored, which were cut off with the session.
    pub(crate) async fn forget(&self) -> Result<(), Trouble> {
        match &self.signed_in {
            Some((desk, session)) => desk.forget_credentials(session).await,
            None => Ok(()),
        }
    }
}
