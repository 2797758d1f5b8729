//! Which credentials does somebody get, who is signed in?
//!
//! Those of the cache as long as they are fresh. One process asks for new ones, and the others wait for it.

use std::sync::atomic::Ordering;

use secrecy::SecretString;
use serde_json::Value;
use tokio::time::Instant;

use hallpass::wire::{Code, Credentials, Offers};

use super::super::access::Wanted;
use super::super::server::{self, Refusal, ServerUrl};
use super::super::session::{Cached, Session, seconds_of};
use super::super::store::Locked;
use super::super::trouble::{Trouble, shown};
use super::{Desk, PATIENCE, PAUSE, deadline, left, sign_in_command, signed_out, within};
use crate::output::note;

/// Old credentials serve if there are no new ones, unless less is left, in seconds.
const USELESS: i64 = 15;

impl Desk {
    /// Credentials from the cache, if they are still good.
    fn cached(&self, session: &Session, file: &str) -> Result<Option<Cached>, Trouble> {
        let cached = self.store.read::<Cached>(file)?.whole();
        Ok(cached.filter(|cached| cached.session == session.stem()))
    }

    /// Credentials for a grant: from the cache, or new ones, which then are in the cache.
    ///
    /// # Errors
    /// [`Trouble`] if there are none, or none until `deadline`.
    pub(crate) async fn credentials(
        &self,
        session: &Session,
        wanted: &Wanted,
        deadline: Instant,
    ) -> Result<Cached, Trouble> {
        let file = session.credentials_file(&wanted.grant, wanted.duration);
        let is_fresh = |cached: &Cached| cached.is_fresh(self.world.seconds());
        if let Some(cached) = self.cached(session, &file)?.filter(is_fresh) {
            return Ok(cached);
        }
        let locked = self.store.lock(&file, left(deadline)).await;
        // Another process may have renewed them.
        let old = self.cached(session, &file)?;
        if let Some(cached) = old.clone().filter(is_fresh) {
            return Ok(cached);
        }
        let new = match locked {
            Ok(locked) => self.renew(session, wanted, &locked, deadline).await,
            Err(trouble) => Err(trouble),
        };
        match (new, old) {
            (Err(Trouble::Unavailable(why)), Some(old)) if old.lasts(USELESS, self.world.seconds()) => {
                if !self.has_warned.swap(true, Ordering::Relaxed) {
                    note(&format!("warning: {why}; the credentials from before serve until they expire"));
                }
                Ok(old)
            }
            (new, _) => {
                self.has_warned.store(false, Ordering::Relaxed);
                new
            }
        }
    }

    async fn renew(
        &self,
        session: &Session,
        wanted: &Wanted,
        locked: &Locked<'_>,
        deadline: Instant,
    ) -> Result<Cached, Trouble> {
        let room = locked.reserve()?;
        let asking = async {
            let server = ServerUrl::parse(&session.server)?;
            let remedy = sign_in_command(&server, Some(&wanted.grant), None);
            let grant = wanted.grant.as_str();
            let asked = async |token: &SecretString| {
                server::credentials(&self.web, &server, token, grant, wanted.duration).await
            };
            self.asking(session, &server, deadline, asked).await.map_err(|refusal| match refusal {
                Refusal::Told(problem) if problem.code == Code::InsufficientUserAuthentication => {
                    Trouble::StepUp { grant: grant.to_owned(), requires: problem.requires, remedy }
                }
                refusal @ (Refusal::Told(_) | Refusal::Other(_)) => refusal.into_trouble(&server),
            })
        };
        let credentials = within(deadline, &session.server, asking).await?;
        let obtained_at = self.world.seconds();
        let cached = cache(session.stem(), credentials, obtained_at)?;
        room.write(&cached)?;
        Ok(cached)
    }

    /// Asks the server with the session's token; once more if it was busy; and once more with a new token if the
    /// server does not take this one.
    async fn asking<T>(
        &self,
        session: &Session,
        server: &ServerUrl,
        deadline: Instant,
        ask: impl AsyncFn(&SecretString) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut session = self.with_token(session, None, deadline).await?;
        let (mut was_busy, mut was_refused) = (false, false);
        loop {
            let refusal = match ask(&session.token).await {
                Ok(answer) => return Ok(answer),
                Err(refusal) => refusal,
            };
            match refusal {
                Refusal::Told(problem) if problem.code == Code::InvalidToken && !was_refused => {
                    was_refused = true;
                    let told = format!("{server} does not take this sign-in: {}", shown(&problem.message));
                    session = match self.with_token(&session, Some(&session.token), deadline).await {
                        Err(Trouble::SignedOut { remedy, .. }) => {
                            return Err(Trouble::SignedOut { why: told, remedy }.into());
                        }
                        session => session?,
                    };
                }
                Refusal::Told(problem) if problem.code == Code::InvalidToken => {
                    let told = format!("{server} does not take this sign-in: {}", shown(&problem.message));
                    return Err(signed_out(server, told, Some(&session.issuer_id)).into());
                }
                Refusal::Told(problem)
                    if !was_busy
                        && matches!(problem.code, Code::TemporarilyUnavailable | Code::IdentityProviderUnavailable) =>
                {
                    was_busy = true;
                    tokio::time::sleep(PAUSE).await;
                }
                Refusal::Other(Trouble::Unavailable(_)) if !was_busy => {
                    was_busy = true;
                    tokio::time::sleep(PAUSE).await;
                }
                refusal @ (Refusal::Told(_) | Refusal::Other(_)) => return Err(refusal),
            }
        }
    }

    /// New credentials for a grant, and not those of the cache. They are not stored.
    ///
    /// # Errors
    /// [`Trouble`] if there are none.
    #[cfg(feature = "operator")]
    pub(crate) async fn new_credentials(&self, session: &Session, grant: &str) -> Result<Credentials, Trouble> {
        let server = ServerUrl::parse(&session.server)?;
        let asked = async |token: &SecretString| server::credentials(&self.web, &server, token, grant, None).await;
        let asking = async {
            let refused = |refusal: Refusal| refusal.into_trouble(&server);
            self.asking(session, &server, deadline(PATIENCE), asked).await.map_err(refused)
        };
        within(deadline(PATIENCE), &session.server, asking).await
    }

    /// What can be asked for. The body comes with it, as it is.
    ///
    /// # Errors
    /// [`Trouble`] if that cannot be said.
    pub(crate) async fn offers(&self, session: &Session) -> Result<(Offers, Value), Trouble> {
        let server = ServerUrl::parse(&session.server)?;
        let asked = async |token: &SecretString| server::offers(&self.web, &server, token).await;
        let asking = async {
            let refused = |refusal: Refusal| refusal.into_trouble(&server);
            self.asking(session, &server, deadline(PATIENCE), asked).await.map_err(refused)
        };
        within(deadline(PATIENCE), &session.server, asking).await
    }
}

/// Credentials as they are kept.
///
/// # Errors
/// [`Trouble`] if nobody can say how long they last.
pub(crate) fn cache(session: String, credentials: Credentials, obtained_at: i64) -> Result<Cached, Trouble> {
    let end = credentials.expiration.as_deref().and_then(seconds_of);
    let expires_at = end.ok_or_else(|| Trouble::failed("the server's credentials have no `Expiration`"))?;
    if expires_at <= obtained_at {
        return Err(Trouble::failed("the server's credentials have expired already; check this machine's clock"));
    }
    Ok(Cached { session, obtained_at, expires_at, credentials })
}
