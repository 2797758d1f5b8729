//! Which session is the person's own, for a command that tries something with one?
//!
//! A new one, and not the one that is stored: it may be cut off, and then nothing stored may be of its kind.

use hallpass::wire::{Credentials, Offers, Requires};

use super::World;
use super::desk::{Desk, Program, Target, Wanted, patience};
use super::programs::Source;
use super::server::{self, ServerUrl};
use super::session::Session;
use super::trouble::Trouble;
use super::web::Web;
use crate::failure::Failure;

/// Where the session is from.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Own {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    source: Source,
}

/// A session that was made just now.
#[derive(Debug)]
pub(crate) struct OwnSession {
    pub(crate) credentials: Credentials,
    /// The sign-in that it is from, if it is stored.
    signed_in: Option<(Desk, Session)>,
}

impl Own {
    /// Makes a session, with the sign-in of the person or the token of a program.
    pub(crate) async fn session(&self, world: &World) -> Result<OwnSession, Failure> {
        Ok(self.make(world).await?)
    }

    async fn make(&self, world: &World) -> Result<OwnSession, Trouble> {
        if self.source.is_given() {
            let named = self.target.server.as_deref().or_else(|| world.variable("HALLPASS_SERVER"));
            let named =
                named.ok_or_else(|| Trouble::Usage("name the server with --server or HALLPASS_SERVER".into()))?;
            let (web, server) = (Web::new(world), ServerUrl::parse(named)?);
            let token = self.source.token(world, &web, &server, None).await?;
            let offers =
                server::offers(&web, &server, &token).await.map_err(|refusal| refusal.into_trouble(&server))?;
            let wanted = Wanted { grant: grant_of(&offers)?, duration: None };
            let program = Program { source: &self.source, audience: None };
            let made = Desk::credentials_of_program(world, &web, &server, &program, &wanted, patience()).await?;
            return Ok(OwnSession { credentials: made.credentials, signed_in: None });
        }
        let desk = Desk::open(world)?;
        let server = desk.server(&self.target)?;
        let session = desk.signed_in(&server, &self.target)?;
        let (offers, _) = desk.offers(&session).await?;
        let credentials = desk.new_credentials(&session, &grant_of(&offers)?).await?;
        Ok(OwnSession { credentials, signed_in: Some((desk, session)) })
    }
}

impl OwnSession {
    /// Forgets the credentials that are stored, which were cut off with the session.
    pub(crate) async fn forget(&self) -> Result<(), Failure> {
        if let Some((desk, session)) = &self.signed_in {
            desk.forget_credentials(session).await?;
        }
        Ok(())
    }
}

/// A grant that the person can have with this sign-in: `default`, or else the first one.
fn grant_of(offers: &Offers) -> Result<String, Trouble> {
    let mut possible = offers.grants.iter().filter(|offer| offer.requires == Requires::default());
    let named = possible.clone().find(|offer| offer.name == "default").or_else(|| possible.next());
    let none = || Trouble::failed("there is no grant that you can have with this sign-in");
    named.map(|offer| offer.name.clone()).ok_or_else(none)
}
