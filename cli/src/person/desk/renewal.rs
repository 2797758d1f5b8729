//! Who trades a refresh token for new tokens?
//!
//! A process of its own. Many providers give each refresh token once, and end the sign-in if they see one again, so whoever
//! asks has to live until the answer is stored. AWS's SDKs kill `credential_process` at a limit of theirs, a terminal
//! sends Ctrl-C, and `exec` ends with its command: nothing of that reaches a process in a session of its own.

use std::io::{self, Read as _};
use std::process::Stdio;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::Instant;
use url::Url;

use super::super::secret::{expose, stored_if_any};
use super::super::server::ServerUrl;
use super::super::session::Session;
use super::super::signin::{self, NoTokens, Tokens};
use super::super::trouble::Trouble;
use super::super::world::World;
use super::{Desk, deadline, left, signed_out};
use crate::failure::Failure;
use crate::output::{Outcome, print};

/// No order is longer.
const MAX_BYTES: u64 = 64 * 1024;

/// Renew a sign-in for another process, which asks on standard input.
#[derive(Debug, clap::Args)]
pub(crate) struct Renew {}

/// What another process asks for.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    server: String,
    issuer_id: String,
    /// The session's.
    file: String,
    /// The token that the server did not take.
    #[serde(serialize_with = "stored_if_any")]
    refused: Option<SecretString>,
    /// How long the other one waits. An exchange that has begun goes on.
    milliseconds: u64,
}

impl Desk {
    /// The session with a token that the server has not refused. If it has none, one process asks the provider.
    pub(super) async fn with_token(
        &self,
        session: &Session,
        refused: Option<&SecretString>,
        deadline: Instant,
    ) -> Result<Session, Trouble> {
        let file = session.file();
        let now = self.store.read::<Session>(&file)?.whole();
        if let Some(now) = now.filter(|now| self.is_good(now, refused)) {
            return Ok(now);
        }
        let order = Order {
            server: session.server.clone(),
            issuer_id: session.issuer_id.clone(),
            file,
            refused: refused.cloned(),
            milliseconds: u64::try_from(left(deadline).as_millis()).unwrap_or(u64::MAX),
        };
        order.give().await?;
        self.store.read(&order.file)?.whole().ok_or_else(|| order.ended("has ended"))
    }

    /// Whether a session has a token that lasts, and is not the one that the server refused.
    fn is_good(&self, session: &Session, refused: Option<&SecretString>) -> bool {
        session.has_token(self.world.seconds())
            && refused.is_none_or(|refused| expose(refused) != expose(&session.token))
    }

    async fn refresh(&self, session: &Session, token: &SecretString) -> Result<Tokens, NoTokens> {
        let endpoint = Url::parse(&session.token_endpoint);
        let endpoint = endpoint
            .map_err(|_| NoTokens::Other(Trouble::failed("the stored sign-in is damaged; run `hallpass login`")))?;
        let mut fields = vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", expose(token)),
            ("client_id", session.client_id.as_str()),
        ];
        fields.extend(signin::resource(session.parameters.get("resource")));
        Tokens::ask(&self.web, &endpoint, &fields).await
    }

    /// Puts refreshed tokens into a session. They came from the provider's own token endpoint, over TLS, so that the
    /// signature of an ID token says nothing more (OpenID Connect Core §3.1.3.7, 6); the server verifies what it gets.
    fn take(&self, session: &mut Session, tokens: &Tokens) -> Result<(), Taken> {
        let claims = tokens.id.as_ref().and_then(signin::claims_of);
        let text = |name: &str| claims.as_ref().and_then(|claims| claims.get(name)).and_then(Value::as_str);
        // Core §12.2: still the same person, of the same issuer.
        if claims.is_some() && (text("iss") != Some(&session.issuer) || text("sub") != session.subject.as_deref()) {
            return Err(Taken::ByAnother);
        }
        if let Some(refresh) = &tokens.refresh {
            session.refresh_token = Some(refresh.clone());
        }
        // Core §12.2: there need not be an ID token.
        let now = self.world.seconds();
        let (token, expires_at) = tokens.for_server(session.kind, now).map_err(Taken::WithoutToken)?;
        (session.token, session.expires_at, session.obtained_at) = (token, expires_at, now);
        Ok(())
    }
}

/// Why refreshed tokens are of no use.
#[derive(Debug)]
enum Taken {
    /// They are for another person, or of another issuer.
    ByAnother,
    /// The one for the server is not there. A new refresh token may be.
    WithoutToken(Trouble),
}

impl Order {
    /// Has another process do it, and waits for that. An end of the wait does not end it.
    async fn give(&self) -> Result<(), Trouble> {
        let failed = |why: String| Trouble::failed(format!("the process that renews the sign-in {why}"));
        let lost = |error: io::Error| failed(format!("was lost: {error}"));
        let mut command = Command::new(this_program().map_err(lost)?);
        command.arg("renew").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        #[cfg(unix)]
        command.arg0("hallpass");
        // DETACHED_PROCESS: without a console, Ctrl-C does not reach it.
        #[cfg(windows)]
        command.creation_flags(0x8);
        let mut child = command.spawn().map_err(|error| failed(format!("cannot be started: {error}")))?;
        let order = serde_json::to_vec(self).map_err(|error| failed(format!("cannot be asked: {error}")))?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(&order).await.map_err(lost)?;
        }
        let answer = child.wait_with_output().await.map_err(lost)?.stdout;
        serde_json::from_slice(&answer).map_err(|_| failed("has not answered; try again".into()))?
    }

    /// Trades the refresh token for new tokens, and stores them.
    async fn fill(&self, world: &World) -> Result<(), Trouble> {
        let deadline = deadline(Duration::from_millis(self.milliseconds));
        let desk = Desk::open(world)?;
        let locked = desk.store.lock(&self.file, left(deadline)).await?;
        let now = locked.read::<Session>()?.whole();
        let mut now = now.ok_or_else(|| self.ended("has ended"))?;
        if desk.is_good(&now, self.refused.as_ref()) {
            return Ok(());
        }
        let spent = now.refresh_token.clone().ok_or_else(|| self.ended("has expired"))?;
        // What the provider answers cannot be asked for twice, so there must be room for it.
        let room = locked.reserve()?;
        match desk.refresh(&now, &spent).await {
            Ok(tokens) => {
                let taken = desk.take(&mut now, &tokens);
                if !matches!(taken, Err(Taken::ByAnother)) {
                    room.write(&now)?;
                }
                match taken {
                    Ok(()) => Ok(()),
                    Err(Taken::WithoutToken(why)) => Err(self.signed_out(why.to_string())),
                    Err(Taken::ByAnother) => {
                        Err(self.signed_out("the identity provider renewed the sign-in of somebody else".into()))
                    }
                }
            }
            Err(NoTokens::Refused { error, told: why }) if error == "invalid_grant" => {
                drop(room);
                // A process without our lock, on another machine with this home directory, may have been first.
                let is_other = |token: &SecretString| expose(token) != expose(&spent);
                let other = locked.read::<Session>()?.whole();
                match other.filter(|other| other.refresh_token.as_ref().is_some_and(is_other)) {
                    Some(other) if desk.is_good(&other, self.refused.as_ref()) => Ok(()),
                    Some(_) => {
                        Err(Trouble::Unavailable("another hallpass has just renewed the sign-in; try again".into()))
                    }
                    None => {
                        locked.remove()?;
                        Err(self.ended(&format!("has ended ({why})")))
                    }
                }
            }
            // The client may be another one by now, or the provider wants to see the person.
            Err(NoTokens::Refused { told: why, .. }) => Err(self.signed_out(why)),
            Err(NoTokens::Other(trouble)) => Err(trouble),
        }
    }

    fn ended(&self, how: &str) -> Trouble {
        self.signed_out(format!("the sign-in to {} {how}", self.server))
    }

    fn signed_out(&self, why: String) -> Trouble {
        match ServerUrl::parse(&self.server) {
            Ok(server) => signed_out(&server, why, Some(&self.issuer_id)),
            Err(trouble) => trouble,
        }
    }
}

impl Renew {
    pub(crate) async fn run(self, world: &World) -> Result<Outcome, Failure> {
        leave();
        let mut text = Vec::new();
        let order = io::stdin().lock().take(MAX_BYTES).read_to_end(&mut text).ok();
        let order = order.and_then(|_| serde_json::from_slice::<Order>(&text).ok());
        let order = order.ok_or_else(|| Failure::Usage("only hallpass itself runs this command".into()))?;
        let done = order.fill(world).await;
        print(&serde_json::to_string(&done).map_err(|_| Failure::new("cannot write the answer as JSON"))?)?;
        Ok(Outcome::Done)
    }
}

/// Leaves the terminal and the group of processes to which signals are sent.
fn leave() {
    // It fails for one that leads a group: a person's own shell started it, and it has nothing to do.
    #[cfg(unix)]
    let _ = rustix::process::setsid();
}

/// This program, also after an upgrade has put another one into its place.
#[cfg(target_os = "linux")]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
fn this_program() -> io::Result<&'static str> {
    Ok("/proc/self/exe")
}

/// This program.
#[cfg(not(target_os = "linux"))]
fn this_program() -> io::Result<std::path::PathBuf> {
    std::env::current_exe()
}
