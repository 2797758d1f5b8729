//! Whose credentials does a command get, of which server and grant?
//!
//! Those of the person who is signed in, or of a program that brings a token of its own.

use std::time::Duration;

#[cfg(feature = "operator")]
use super::desk::patience;
use super::desk::{Desk, Person, deadline};
#[cfg(feature = "operator")]
use super::own::OwnSession;
use super::programs::Program;
use super::server::ServerUrl;
use super::session::Cached;
use super::signin::How;
use super::trouble::Trouble;
use super::web::Web;
use super::world::World;
use tokio::time::Instant;

/// Which server, and which of its issuers.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Target {
    /// The server of Hallpass [env: `HALLPASS_SERVER`] [default: that of the last login]
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// The issuer to sign in at, if the server has several
    #[arg(long, value_name = "ID")]
    pub(crate) issuer: Option<String>,
}

impl Target {
    /// The same with a URL that stands by itself on the command line.
    ///
    /// # Errors
    /// [`Trouble::Usage`] if another one is named, too.
    pub(crate) fn with_url(&self, url: Option<&str>) -> Result<Self, Trouble> {
        let server = match (url, self.server.as_deref()) {
            (Some(url), Some(server)) if ServerUrl::parse(url)? != ServerUrl::parse(server)? => {
                return Err(Trouble::Usage("name the server once".into()));
            }
            (url, server) => url.or(server).map(str::to_owned),
        };
        Ok(Self { server, issuer: self.issuer.clone() })
    }
}

/// What is asked for.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Wanted {
    /// The grant
    #[arg(long, value_name = "G", default_value = "default", value_parser = grant_name)]
    pub(crate) grant: String,
    /// Seconds that the session lasts, 900 to 129600 [default: the grant's own]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(900..=129_600))]
    pub(crate) duration: Option<u32>,
}

/// A name that a grant can have.
pub(crate) fn grant_name(text: &str) -> Result<String, String> {
    let name = hallpass::grants::GrantName::new(text);
    name.map(|name| name.as_str().to_owned()).ok_or_else(|| "a grant has 1 to 64 of a-z 0-9 . _ -".to_owned())
}

/// The options of a command that people and programs use.
#[derive(Debug, clap::Args)]
pub(crate) struct Access {
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    program: Program,
}

/// For whom credentials are fetched.
pub(crate) enum Caller {
    Person(Box<Desk>, ServerUrl),
    Program(Box<Web>, ServerUrl),
}

impl Access {
    /// Who calls, and the server that they mean.
    ///
    /// # Errors
    /// [`Trouble`] if no server is known, or the store must not be used.
    pub(crate) fn caller(&self, world: &World) -> Result<Caller, Trouble> {
        if self.program.has_token() {
            let server = match self.target.server.as_deref().or_else(|| world.variable("HALLPASS_SERVER")) {
                Some(named) => ServerUrl::parse(named)?,
                // A program's machine may have no place to store anything in, and needs none.
                None => Desk::open(world)
                    .and_then(|desk| desk.server(&self.target))
                    .map_err(|_| Trouble::Usage("name the server with --server or HALLPASS_SERVER".into()))?,
            };
            return Ok(Caller::Program(Box::new(Web::new(world)), server));
        }
        let desk = Desk::open(world)?;
        let server = desk.server(&self.target)?;
        Ok(Caller::Person(Box::new(desk), server))
    }

    /// Credentials, without a question to the person.
    ///
    /// # Errors
    /// [`Trouble`] if there are none until `deadline`.
    pub(crate) async fn credentials(
        &self,
        world: &World,
        caller: &Caller,
        deadline: Instant,
    ) -> Result<Cached, Trouble> {
        match caller {
            Caller::Person(desk, server) => {
                let session = desk.signed_in(server, &self.target)?;
                desk.credentials(&session, &self.wanted, deadline).await
            }
            Caller::Program(web, server) => self.program.credentials(world, web, server, &self.wanted, deadline).await,
        }
    }

    /// A session that is made now, and not a stored one.
    ///
    /// # Errors
    /// [`Trouble`] if there is none.
    #[cfg(feature = "operator")]
    pub(crate) async fn own_session(&self, world: &World) -> Result<OwnSession, Trouble> {
        match self.caller(world)? {
            Caller::Person(desk, server) => {
                let session = desk.signed_in(&server, &self.target)?;
                let credentials = desk.new_credentials(&session, &self.wanted.grant).await?;
                Ok(OwnSession { credentials, signed_in: Some((*desk, session)) })
            }
            caller @ Caller::Program(..) => {
                let made = self.credentials(world, &caller, patience()).await?;
                Ok(OwnSession { credentials: made.credentials, signed_in: None })
            }
        }
    }

    /// Credentials, for which the person signs in if that is needed and allowed. `limit` is for everything else.
    ///
    /// # Errors
    /// [`Trouble`] if there are none.
    pub(crate) async fn credentials_by_sign_in(
        &self,
        world: &World,
        caller: &Caller,
        no_login: bool,
        limit: Duration,
    ) -> Result<Cached, Trouble> {
        match caller {
            Caller::Person(desk, server) => {
                let person = Person::new(desk, How::default(), no_login)?;
                let asked = async |session: &_| desk.credentials(session, &self.wanted, deadline(limit)).await;
                person.acting(server, &self.target, asked).await
            }
            Caller::Program(..) => self.credentials(world, caller, deadline(limit)).await,
        }
    }
}
