//! How does a person sign out?

use url::Url;

use super::World;
use super::access::Target;
use super::desk::Desk;
use super::session::Session;
use super::signin::revoke;
use super::trouble::{Trouble, shown};
use crate::failure::Failure;
use crate::output::{Outcome, note, print};

/// Sign out: revoke the refresh token, and remove what is stored.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: hallpass logout --all")]
pub(crate) struct Logout {
    /// Of every server
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    target: Target,
}

impl Logout {
    pub(crate) async fn run(self, world: &World) -> Result<Outcome, Failure> {
        let desk = Desk::open(world)?;
        let (sessions, server) = if self.all {
            (desk.sessions()?, None)
        } else {
            let server = match desk.server(&self.target) {
                Err(Trouble::SignedOut { .. }) => {
                    print("You are not signed in.")?;
                    return Ok(Outcome::Done);
                }
                server => server?,
            };
            let ours = |session: &Session| {
                session.server == server.as_str()
                    && self.target.issuer.as_ref().is_none_or(|issuer| *issuer == session.issuer_id)
            };
            (desk.sessions()?.into_iter().filter(ours).collect(), Some(server))
        };
        let mut is_revoked = true;
        for session in &sessions {
            // First here, so that nothing is renewed any more.
            let last = desk.forget(session).await?;
            if let Err(trouble) = give_up(&desk, &last).await {
                is_revoked = false;
                let why = shown(&trouble.to_string());
                note(&format!(
                    "warning: the sign-in to {} is gone here, and not at the identity provider: {why}",
                    session.server
                ));
            }
        }
        desk.forget_damaged(server.as_ref()).await?;
        // At another issuer, somebody may still be signed in to it.
        let is_left = |session: &Session| server.as_ref().is_some_and(|server| session.server == server.as_str());
        if !desk.sessions()?.iter().any(is_left) {
            desk.forget_last(server.as_ref()).await?;
        }
        print(if sessions.is_empty() { "You are not signed in." } else { "Signed out." })?;
        if is_revoked {
            Ok(Outcome::Done)
        } else {
            Err(Failure::new("a refresh token was not revoked; it ends by itself"))
        }
    }
}

async fn give_up(desk: &Desk, session: &Session) -> Result<(), Trouble> {
    let (Some(token), Some(endpoint)) = (&session.refresh_token, &session.revocation_endpoint) else { return Ok(()) };
    let endpoint = Url::parse(endpoint).map_err(|_| Trouble::failed("the stored sign-in is damaged"))?;
    revoke(&desk.web, &endpoint, &session.client_id, token).await
}
