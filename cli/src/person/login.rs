//! How does a person sign in?

use hallpass::wire::{Offers, Requires};

use super::World;
use super::access::{Target, grant_name};
use super::desk::Desk;
use super::list::table;
use super::server::{choose_client, metadata};
use super::session::Session;
use super::signin::How;
use super::trouble::{Trouble, shown};
use crate::failure::Failure;
use crate::output::{Outcome, note, print};

/// Sign in to a server.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: hallpass login https://hallpass.example.com")]
pub(crate) struct Login {
    /// The server [default: that of the last login]
    url: Option<String>,
    /// Sign in as this grant requires
    #[arg(long, value_name = "G", value_parser = grant_name)]
    grant: Option<String>,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    how: How,
}

impl Login {
    pub(crate) async fn run(self, world: &World) -> Result<Outcome, Failure> {
        let desk = Desk::open(world)?;
        let target = self.target.with_url(self.url.as_deref())?;
        let server = desk.server(&target)?;
        let client = choose_client(&server, metadata(&desk.web, &server).await?, target.issuer.as_deref())?;
        let how = self.how.owning_input();
        note(&format!("Signing in to {server} at {}.", shown(&client.issuer)));
        let before = Target { server: None, issuer: Some(client.issuer_id.clone()) };
        let before = desk.session(&server, &before).ok().flatten();
        let requires = match (&self.grant, before) {
            // Without a sign-in nobody can say what the grant requires.
            (Some(grant), Some(session)) => match desk.offers(&session).await {
                Ok((offers, _)) => required(&offers, grant).unwrap_or_default(),
                Err(_) => Requires::default(),
            },
            _ => Requires::default(),
        };
        let mut session = desk.sign_in(&server, &client, &requires, &how).await?;
        let mut offers = desk.offers(&session).await;
        if let (Some(grant), Ok((offered, _))) = (&self.grant, &offers) {
            let lacks = required(offered, grant);
            let lacks =
                lacks.ok_or_else(|| Trouble::failed(format!("you are signed in, and have no grant `{grant}`")))?;
            if lacks != Requires::default() && requires == Requires::default() {
                note(&format!("Grant `{grant}` needs a stronger sign-in."));
                session = desk.sign_in(&server, &client, &lacks, &how).await?;
                offers = desk.offers(&session).await;
            }
        }
        let mut text = who(&session);
        match offers {
            Ok((offers, _)) if offers.grants.is_empty() => {
                text.push_str("\nYou have no grants. Ask the server's operator.");
            }
            Ok((offers, _)) => {
                text.push_str("\n\n");
                text.push_str(&table(&offers));
            }
            Err(Trouble::SignedOut { why, .. }) => return Err(Trouble::Failed(why).into()),
            Err(trouble) => note(&format!("warning: the grants cannot be listed: {}", shown(&trouble.to_string()))),
        }
        print(&text)?;
        Ok(Outcome::Done)
    }
}

fn required(offers: &Offers, grant: &str) -> Option<Requires> {
    offers.grants.iter().find(|offer| offer.name == grant).map(|offer| offer.requires.clone())
}

/// Who is signed in, and until when.
fn who(session: &Session) -> String {
    let subject = session.subject.as_deref().map_or_else(|| "somebody".into(), shown);
    let until = session.expires_at.and_then(hallpass::time::rfc3339);
    let until = until.map_or_else(String::new, |time| format!(" until {time}"));
    let renewed = if session.refresh_token.is_some() { ", and renewed after that" } else { "" };
    let Session { server, issuer_id, .. } = session;
    format!("Signed in to {server} as {subject} ({}){until}{renewed}.", shown(issuer_id))
}
