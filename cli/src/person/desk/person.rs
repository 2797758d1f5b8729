//! Who signs in by a command that needs it?
//!
//! The person at the terminal or in front of the browser, once for all commands that wait.

use std::time::Duration;

use hallpass::wire::Requires;

use super::super::access::Target;
use super::super::server::{self, ServerUrl};
use super::super::session::Session;
use super::super::signin::How;
use super::super::trouble::{Trouble, lacking, shown};
use super::{Desk, PAUSE};
use crate::output::note;

/// For a sign-in that another process has begun.
const SIGN_IN_PATIENCE: Duration = Duration::from_mins(10);

/// Somebody at a terminal or in front of a browser, for whom a command may sign in by itself.
#[derive(Debug)]
pub(crate) struct Person<'d> {
    desk: &'d Desk,
    how: How,
    may_sign_in: bool,
}

impl<'d> Person<'d> {
    /// The person, unless `--no-login`, `HALLPASS_NO_LOGIN` or the environment says that nobody is there.
    ///
    /// # Errors
    /// [`Trouble::Usage`] if the browser that was named cannot be read.
    pub(crate) fn new(desk: &'d Desk, how: How, no_login: bool) -> Result<Self, Trouble> {
        let forbidden = no_login || desk.world.says_yes("HALLPASS_NO_LOGIN");
        let may_sign_in = !forbidden && how.is_possible(&desk.world)?;
        Ok(Self { desk, how, may_sign_in })
    }

    /// Does what needs a sign-in. Signs in if there is none, and once more if a stronger one is needed.
    ///
    /// # Errors
    /// [`Trouble`] of the act, or of the sign-in.
    pub(crate) async fn acting<T>(
        &self,
        server: &ServerUrl,
        target: &Target,
        act: impl AsyncFn(&Session) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let (mut was_asked, mut was_stronger) = (false, false);
        loop {
            let session = self.desk.signed_in(server, target);
            let seen = session.as_ref().ok().cloned();
            let done = match session {
                Ok(session) => act(&session).await,
                Err(trouble) => Err(trouble),
            };
            let requires = match done {
                Err(Trouble::SignedOut { why, .. }) if self.may_sign_in && !was_asked => {
                    was_asked = true;
                    note(&format!("{}.", shown(&why)));
                    Requires::default()
                }
                Err(Trouble::StepUp { grant, requires, .. }) if self.may_sign_in && !was_stronger => {
                    was_stronger = true;
                    note(&format!("Grant `{grant}` needs a stronger sign-in: {}.", shown(&lacking(&requires))));
                    requires
                }
                done => return done,
            };
            let issuer = target.issuer.clone().or_else(|| seen.as_ref().map(|seen| seen.issuer_id.clone()));
            let target = Target { server: None, issuer };
            let now = self.sign_in_once(server, &target, &requires, seen.as_ref()).await?;
            if seen.is_some_and(|seen| seen.subject != now.subject) {
                let who = now.subject.as_deref().map_or_else(|| "somebody else".into(), shown);
                return Err(Trouble::failed(format!(
                    "you are signed in to {server} as {who} now, and were somebody else before; if that is right, run \
                     the command again"
                )));
            }
        }
    }

    /// Signs in, unless another process has done so since: forty commands at once open one browser.
    async fn sign_in_once(
        &self,
        server: &ServerUrl,
        target: &Target,
        requires: &Requires,
        seen: Option<&Session>,
    ) -> Result<Session, Trouble> {
        let desk = self.desk;
        let name = format!("{}.login", Session::files_of(server.as_str()));
        let _locked = match desk.store.lock(&name, PAUSE).await {
            Err(Trouble::Unavailable(_)) => {
                note("Another hallpass is signing in. Waiting for it.");
                desk.store.lock(&name, SIGN_IN_PATIENCE).await?
            }
            locked => locked?,
        };
        let now = desk.session(server, target).ok().flatten();
        if let Some(now) = now.filter(|now| seen.is_none_or(|seen| seen.id != now.id)) {
            return Ok(now);
        }
        let metadata = server::metadata(&desk.web, server).await?;
        let client = server::choose_client(server, metadata, target.issuer.as_deref())?;
        desk.sign_in(server, &client, requires, &self.how).await
    }
}
