//! What does `credential_process` read?
//!
//! One JSON document on standard output, or nothing. From the cache without the network; never with a browser, unless that
//! was asked for. The limits of the callers are 5 s (Rust) and more, so that 4 s are ours.

use std::time::Duration;

use serde::Serialize;

use super::World;
use super::desk::{Desk, Person, Program, Target, Wanted, deadline};
use super::programs::Source;
use super::secret::stored;
use super::session::Cached;
use super::signin::How;
use super::trouble::Trouble;
use super::web::Web;
use crate::failure::Failure;
use crate::output::{Outcome, print};

/// For everything but the person.
const LIMIT: Duration = Duration::from_millis(3_700);

/// Print credentials, for `credential_process` of AWS's configuration.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: credential_process = /usr/local/bin/hallpass credentials --server https://hallpass.example.com --grant default"
)]
pub(crate) struct Command {
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    source: Source,
    /// The audience of GitHub's token [default: the server's URL]
    #[arg(long, value_name = "AUD", requires = "github_actions")]
    audience: Option<String>,
    /// Open the browser if there is no sign-in
    #[arg(long, conflicts_with_all = ["token_file", "token_env", "github_actions"])]
    auto_login: bool,
}

/// What AWS's SDKs read.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document<'a> {
    version: u8,
    access_key_id: &'a str,
    #[serde(serialize_with = "stored")]
    secret_access_key: &'a secrecy::SecretString,
    #[serde(serialize_with = "stored")]
    session_token: &'a secrecy::SecretString,
    expiration: Option<&'a str>,
    account_id: &'a str,
}

impl Command {
    pub(crate) async fn run(self, world: &World) -> Result<Outcome, Failure> {
        let cached = match self.find(world).await {
            Err(Trouble::StepUp { .. } | Trouble::SignedOut { .. }) if self.auto_login => {
                self.find_with_person(world).await?
            }
            found => found?,
        };
        print(&document(&cached)?)?;
        Ok(Outcome::Done)
    }

    async fn find(&self, world: &World) -> Result<Cached, Trouble> {
        let deadline = deadline(LIMIT);
        if self.source.is_given() {
            // A program's machine may have no place to store anything in, and needs none.
            let server = match self.target.server.as_deref().or_else(|| world.variable("HALLPASS_SERVER")) {
                Some(text) => super::server::ServerUrl::parse(text)?,
                None => return Err(Trouble::Usage("name the server with --server or HALLPASS_SERVER".into())),
            };
            let program = Program { source: &self.source, audience: self.audience.as_deref() };
            let web = Web::new(world);
            return Desk::credentials_of_program(world, &web, &server, &program, &self.wanted, deadline).await;
        }
        let desk = Desk::open(world)?;
        let server = desk.server(&self.target)?;
        let session = desk.signed_in(&server, &self.target)?;
        desk.credentials(&session, &self.wanted, deadline).await
    }

    async fn find_with_person(&self, world: &World) -> Result<Cached, Trouble> {
        let desk = Desk::open(world)?;
        let server = desk.server(&self.target)?;
        let person = Person::new(&desk, How::default(), false)?;
        let asked = async |session: &_| desk.credentials(session, &self.wanted, deadline(LIMIT)).await;
        person.acting(&server, &self.target, asked).await
    }
}

/// The document, on one line.
fn document(cached: &Cached) -> Result<String, Trouble> {
    let credentials = &cached.credentials;
    let document = Document {
        version: 1,
        access_key_id: &credentials.access_key_id,
        secret_access_key: &credentials.secret_access_key,
        session_token: &credentials.session_token,
        expiration: credentials.expiration.as_deref(),
        account_id: &credentials.account_id,
    };
    serde_json::to_string(&document).map_err(|_| Trouble::failed("the credentials cannot be written as JSON"))
}
