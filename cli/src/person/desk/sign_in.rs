//! What changes when somebody signs in or out?

use super::super::secret::random_text;
use super::super::server::ServerUrl;
use super::super::session::{CREDENTIALS, SESSION, Session};
use super::super::signin::{self, How, SignedIn};
use super::super::store::Stored;
use super::super::trouble::Trouble;
use super::{Desk, LAST, Last, PATIENCE};
use hallpass::wire::{Client, Requires};

impl Desk {
    /// Signs in, and stores it.
    ///
    /// # Errors
    /// [`Trouble`] says why not.
    pub(crate) async fn sign_in(
        &self,
        server: &ServerUrl,
        client: &Client,
        requires: &Requires,
        how: &How,
    ) -> Result<Session, Trouble> {
        // A store that cannot be written must not cost the person a sign-in.
        let file = Session::file_of(server.as_str(), client);
        self.store.lock(&file, PATIENCE).await?.reserve()?;
        let SignedIn { tokens, subject, provider } =
            signin::sign_in(&self.world, &self.web, client, requires, how).await?;
        let now = self.world.seconds();
        let (token, expires_at) = tokens.for_server(client.token, now)?;
        let session = Session {
            id: random_text()?,
            server: server.as_str().to_owned(),
            issuer_id: client.issuer_id.clone(),
            issuer: client.issuer.clone(),
            client_id: client.client_id.clone(),
            kind: client.token,
            parameters: client.parameters.clone(),
            token_endpoint: provider.token.to_string(),
            revocation_endpoint: provider.revocation.map(|url| url.to_string()),
            subject,
            token,
            obtained_at: now,
            expires_at,
            refresh_token: tokens.refresh,
        };
        self.store.lock(&file, PATIENCE).await?.write(&session)?;
        // They may be somebody else's, or have been cut off: who signs in gets new ones.
        self.forget_credentials(&session).await?;
        self.forget_others(server, &session).await?;
        self.store.lock(LAST, PATIENCE).await?.write(&Last { server: session.server.clone() })?;
        Ok(session)
    }

    /// Removes what is left of sign-ins that this one replaces: with an earlier client of the issuer, or at its earlier
    /// address, or damaged.
    async fn forget_others(&self, server: &ServerUrl, session: &Session) -> Result<(), Trouble> {
        let ours = session.file();
        let names = self.store.names(&Session::files_of(server.as_str()), SESSION)?;
        for name in names.iter().filter(|name| **name != ours) {
            match self.store.read::<Session>(name) {
                Ok(Stored::Read(other)) if other.file() == *name => {
                    if other.issuer_id == session.issuer_id {
                        self.forget(&other).await?;
                    }
                }
                Ok(Stored::Read(_) | Stored::Damaged) => self.store.lock(name, PATIENCE).await?.remove()?,
                // The next command says what is wrong with one that cannot be read. This sign-in is stored.
                Ok(Stored::Absent) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Removes a session and its credentials, and returns what it was just before.
    ///
    /// # Errors
    /// [`Trouble`] if something cannot be removed.
    pub(crate) async fn forget(&self, session: &Session) -> Result<Session, Trouble> {
        let last = {
            let locked = self.store.lock(&session.file(), PATIENCE).await?;
            let last = locked.read::<Session>().ok().and_then(Stored::whole);
            locked.remove()?;
            last
        };
        self.forget_credentials(session).await?;
        Ok(last.unwrap_or_else(|| session.clone()))
    }

    /// Removes sessions that cannot be read any more.
    ///
    /// # Errors
    /// [`Trouble`] if one cannot be removed.
    pub(crate) async fn forget_damaged(&self, server: Option<&ServerUrl>) -> Result<(), Trouble> {
        let start = server.map(|server| Session::files_of(server.as_str())).unwrap_or_default();
        for name in self.store.names(&start, SESSION)? {
            let is_whole = match self.store.read::<Session>(&name)? {
                Stored::Read(session) => session.file() == name,
                Stored::Absent => true,
                Stored::Damaged => false,
            };
            if !is_whole {
                self.store.lock(&name, PATIENCE).await?.remove()?;
            }
        }
        Ok(())
    }

    /// Removes the credentials of a session.
    ///
    /// # Errors
    /// [`Trouble`] if one cannot be removed.
    pub(crate) async fn forget_credentials(&self, session: &Session) -> Result<(), Trouble> {
        // One that is being asked for has a lock, and no file yet.
        for name in self.store.names(&session.stem(), ".lock")? {
            let name = name.trim_end_matches(".lock");
            if name.ends_with(CREDENTIALS) {
                self.store.lock(name, PATIENCE).await?.remove()?;
            }
        }
        Ok(())
    }

    /// Forgets which server was the last.
    ///
    /// # Errors
    /// [`Trouble`] if it cannot be removed.
    pub(crate) async fn forget_last(&self, server: Option<&ServerUrl>) -> Result<(), Trouble> {
        let last = self.store.read::<Last>(LAST)?.whole();
        if last.is_some_and(|last| server.is_none_or(|server| last.server == server.as_str())) {
            self.store.lock(LAST, PATIENCE).await?.remove()?;
        }
        Ok(())
    }
}
