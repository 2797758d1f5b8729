//! Who is signed in?

use serde::Serialize;

use super::World;
use super::access::Target;
use super::desk::{Desk, signed_out};
use super::server::ServerUrl;
use super::session::Session;
use super::store::{Kind, Store};
use super::trouble::shown;
use crate::failure::Failure;
use crate::output::{Outcome, Output};

/// Show who is signed in, until when, and how that is stored.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: hallpass status --json\n\nExit code 1: not signed in")]
pub(crate) struct Status {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Told<'a> {
    signed_in: bool,
    server: Option<&'a str>,
    issuer: Option<&'a str>,
    issuer_id: Option<&'a str>,
    subject: Option<&'a str>,
    expires_at: Option<String>,
    storage: &'static str,
}

impl Status {
    pub(crate) fn run(self, world: &World) -> Result<Outcome, Failure> {
        let desk = Desk::open(world)?;
        let server = desk.server(&self.target);
        let session = server.as_ref().ok().map(|server| desk.session(server, &self.target)).transpose()?.flatten();
        let is_alive = session.as_ref().is_some_and(|session| session.is_alive(world.seconds()));
        let of = |part: fn(&Session) -> Option<&str>| session.as_ref().and_then(part);
        let told = Told {
            signed_in: is_alive,
            server: server.as_ref().ok().map(ServerUrl::as_str),
            issuer: of(|session| Some(&session.issuer)),
            issuer_id: of(|session| Some(&session.issuer_id)),
            subject: of(|session| session.subject.as_deref()),
            expires_at: session.as_ref().and_then(|session| session.expires_at).and_then(hallpass::time::rfc3339),
            storage: desk.store.kind().name(),
        };
        let is_renewed = session.as_ref().is_some_and(|session| session.refresh_token.is_some());
        if is_alive || self.output.json {
            self.output.print(&told, || text(&told, is_renewed, &desk.store))?;
        }
        if is_alive {
            return Ok(Outcome::Done);
        }
        let server = server?;
        let why = if session.is_some() { "the sign-in has expired" } else { "you are not signed in" };
        Err(signed_out(&server, format!("{why} ({server})"), self.target.issuer.as_deref()).into())
    }
}

fn text(told: &Told<'_>, is_renewed: bool, store: &Store) -> String {
    let shown = |text: Option<&str>| text.map_or_else(|| "unknown".into(), shown);
    let renewed = if is_renewed { ", and renewed after that" } else { "" };
    let path = store.path().display();
    let storage = match store.kind() {
        Kind::File => format!("files in {path} that only you can read, without a keyring"),
        Kind::Keyring => format!("files in {path}, sealed with a key in the system's keyring"),
    };
    format!(
        "server   {}\nissuer   {} ({})\nsubject  {}\nuntil    {}{renewed}\nstorage  {storage}",
        shown(told.server),
        shown(told.issuer),
        shown(told.issuer_id),
        shown(told.subject),
        shown(told.expires_at.as_deref()),
    )
}
