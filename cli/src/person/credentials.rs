//! What does `credential_process` read?
//!
//! One JSON document on standard output, or nothing. From the cache without the network; never with a browser, unless that
//! was asked for. The limits of the callers are 5 s (Rust) and more, so that 4 s are ours.

use std::time::Duration;

use serde::Serialize;

use super::World;
use super::access::Access;
use super::desk::deadline;
use super::secret::stored;
use super::session::Cached;
use super::trouble::Trouble;
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
    access: Access,
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
        let caller = self.access.caller(world)?;
        let cached = match self.access.credentials(world, &caller, deadline(LIMIT)).await {
            Err(Trouble::StepUp { .. } | Trouble::SignedOut { .. }) if self.auto_login => {
                self.access.credentials_by_sign_in(world, &caller, false, LIMIT).await?
            }
            found => found?,
        };
        print(&document(&cached)?)?;
        Ok(Outcome::Done)
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
