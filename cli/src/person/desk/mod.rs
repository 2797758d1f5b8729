//! Who is signed in where, and which credentials do they get?
//!
//! Whatever several processes could do at once, one does and the others wait for: lock, read again, decide, ask, replace,
//! unlock. The lock of credentials is taken before that of the session, never after.

mod credentials;
mod person;
mod renewal;
mod sign_in;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

pub(crate) use self::credentials::cache;
pub(crate) use self::person::Person;
pub(crate) use self::renewal::Renew;
use super::access::Target;
use super::server::ServerUrl;
use super::session::{SESSION, Session};
use super::store::{Kind, Store, Stored};
use super::trouble::{Trouble, shown};
use super::web::Web;
use super::world::World;

/// Which server a command without `--server` means.
const LAST: &str = "last";
/// For what a person waits for, but their own sign-in.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Before a second try, when a server was busy.
pub(crate) const PAUSE: Duration = Duration::from_millis(300);

/// The server of the last login.
#[derive(Debug, Serialize, Deserialize)]
struct Last {
    server: String,
}

/// The store and the network, for one command.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub(crate) world: World,
    pub(crate) web: Arc<Web>,
    pub(crate) store: Arc<Store>,
    /// It was said that old credentials serve, and there were no new ones since.
    has_warned: Arc<AtomicBool>,
}

impl Desk {
    /// Opens the store.
    ///
    /// # Errors
    /// [`Trouble`] if it must not be used.
    pub(crate) fn open(world: &World) -> Result<Self, Trouble> {
        let (web, store) = (Arc::new(Web::new(world)), Arc::new(Store::open(world)?));
        Ok(Self { world: world.clone(), web, store, has_warned: Arc::default() })
    }

    /// The server that a command means.
    ///
    /// # Errors
    /// [`Trouble`] if there was no login, and none is named.
    pub(crate) fn server(&self, target: &Target) -> Result<ServerUrl, Trouble> {
        if let Some(text) = target.server.as_deref().or_else(|| self.world.variable("HALLPASS_SERVER")) {
            return ServerUrl::parse(text);
        }
        match self.store.read::<Last>(LAST)? {
            Stored::Read(last) => ServerUrl::parse(&last.server),
            Stored::Absent => Err(Trouble::SignedOut {
                why: "no server is known yet".into(),
                remedy: "hallpass login https://hallpass.example.com".into(),
            }),
            Stored::Damaged => {
                let why = self.damaged("the name of the last server", LAST);
                Err(Trouble::failed(format!("{why}; name the server with --server, or sign in again")))
            }
        }
    }

    /// Why something that is stored cannot be read.
    fn damaged(&self, what: &str, name: &str) -> String {
        let key = match self.store.kind() {
            Kind::File => "",
            Kind::Keyring => ", or its key is no longer in the keyring",
        };
        format!("{what} in {} is damaged{key}", self.store.path().join(name).display())
    }

    /// The stored sign-in for a server, if there is one.
    ///
    /// # Errors
    /// [`Trouble`] if there are several, or if it is damaged.
    pub(crate) fn session(&self, server: &ServerUrl, target: &Target) -> Result<Option<Session>, Trouble> {
        let mut found: Vec<Session> = Vec::new();
        for name in self.store.names(&Session::files_of(server.as_str()), SESSION)? {
            match self.store.read::<Session>(&name)? {
                Stored::Read(session) if session.server == server.as_str() && session.file() == name => {
                    found.push(session);
                }
                // Removed since the names were read.
                Stored::Absent => {}
                Stored::Read(_) | Stored::Damaged => {
                    let why = self.damaged("the sign-in", &name);
                    return Err(signed_out(server, why, None));
                }
            }
        }
        if let Some(issuer) = &target.issuer {
            found.retain(|session| session.issuer_id == *issuer);
        }
        found.sort_by(|one, other| one.issuer_id.cmp(&other.issuer_id));
        let ids = found.iter().map(|session| shown(&session.issuer_id)).collect::<Vec<_>>().join(", ");
        let mut found = found.into_iter();
        match (found.next(), found.next()) {
            (session, None) => Ok(session),
            _ => Err(Trouble::Usage(format!(
                "you are signed in to {server} at several issuers; choose one with --issuer: {ids}"
            ))),
        }
    }

    /// All stored sign-ins that can be read.
    ///
    /// # Errors
    /// [`Trouble`] if the store cannot be read.
    pub(crate) fn sessions(&self) -> Result<Vec<Session>, Trouble> {
        let names = self.store.names("", SESSION)?;
        Ok(names.iter().filter_map(|name| self.store.read(name).ok()?.whole()).collect())
    }

    /// The sign-in for a server.
    ///
    /// # Errors
    /// [`Trouble::SignedOut`] if there is none.
    pub(crate) fn signed_in(&self, server: &ServerUrl, target: &Target) -> Result<Session, Trouble> {
        let none = || signed_out(server, format!("not signed in to {server}"), target.issuer.as_deref());
        self.session(server, target)?.ok_or_else(none)
    }
}

/// There is no sign-in that would do.
pub(crate) fn signed_out(server: &ServerUrl, why: String, issuer: Option<&str>) -> Trouble {
    Trouble::SignedOut { why, remedy: sign_in_command(server, None, issuer) }
}

/// The command that signs in.
fn sign_in_command(server: &ServerUrl, grant: Option<&str>, issuer: Option<&str>) -> String {
    let grant = grant.map_or_else(String::new, |grant| format!(" --grant {grant}"));
    let issuer = issuer.map_or_else(String::new, |issuer| format!(" --issuer {}", shown(issuer)));
    format!("hallpass login {server}{issuer}{grant}")
}

/// The time after so much time.
pub(crate) fn deadline(limit: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(limit).unwrap_or(now)
}

/// What a command for people has.
pub(crate) fn patience() -> Instant {
    deadline(PATIENCE)
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// What comes of asking, if it comes in time.
pub(crate) async fn within<T>(
    deadline: Instant,
    server: &str,
    asking: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    let late = |_| Trouble::Unavailable(format!("{server} or the identity provider did not answer in time; try again"));
    tokio::time::timeout_at(deadline, asking).await.map_err(late)?
}
