//! How does a session end before its time?
//!
//! Credentials cannot be called back, but AWS looks at the broker user's permissions boundary at each use of them. So the
//! boundary gets a Deny for sessions that began before now. It cannot allow anything to anybody.

mod boundary;
mod cuts;
mod cutting;
mod document;
mod names;
mod replace;
#[cfg(feature = "person")]
mod verify;
mod whom;

use std::time::{Duration, SystemTime};

use clap::Args;
use hallpass::grants::Principal;
use hallpass::net::aws::SdkConfig;
use hallpass::session::FederatedName;
use serde::Serialize;

use self::boundary::Boundary;
use self::cuts::Cuts;
#[cfg(feature = "person")]
use self::cutting::failed;
pub(crate) use self::cutting::{Cut, Cutting};
use self::document::text_of;
#[cfg(not(feature = "person"))]
use self::names::Names;
use self::replace::Change;
#[cfg(feature = "person")]
use self::verify::Trial;
use self::whom::Whom;
use super::block::{self, principal, reason, warn_of_unknown_issuer};
use super::grants::{can_ask, confirm, shown, stamp};
use super::names::name as federated_name;
use super::stack::{Explained, Target};
use super::whois::{Answer, behind};
use crate::failure::Failure;
use crate::output::{Outcome, Output, note};
use crate::outside::world::World;
#[cfg(feature = "person")]
use crate::person::Access;

/// How far back `hallpass whois` looks.
const WHOIS: Duration = Duration::from_hours(7 * 24);
/// Why somebody is blocked, if nobody says why.
const REASON: &str = "sessions cut off with hallpass revoke";

/// Cut off sessions that exist.
///
/// Sessions that began before now are refused, within seconds or a few minutes. Those that begin when the command has
/// ended work. A user or group is blocked first, or the next renewal would give them a new session.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hallpass revoke --stack hallpass --principal corp/user/00u1carol\n  \
                        hallpass revoke --stack hallpass --everyone\n  hallpass revoke --stack hallpass --list --json")]
#[command(group = clap::ArgGroup::new("what").required(true))]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(crate) struct Revoke {
    /// The sessions of `ID/user/SUBJECT`, `ID/group/GROUP` or `ID/everyone`, who are blocked too
    #[arg(long, value_name = "PRINCIPAL", value_parser = principal, group = "what")]
    principal: Option<Principal>,
    /// The sessions with this federated name; its person is blocked too
    #[arg(long, value_name = "NAME", value_parser = federated_name, group = "what")]
    name: Option<FederatedName>,
    /// Everybody's sessions; nobody is blocked
    #[arg(long, group = "what")]
    everyone: bool,
    /// List what is cut off now
    #[arg(long, group = "what")]
    list: bool,
    /// Remove all cuts: sessions that were cut off and have not expired work again
    #[arg(long, group = "what")]
    clear: bool,
    /// Block nobody
    #[arg(long, conflicts_with_all = ["list", "clear"])]
    no_block: bool,
    /// Why, for the people who look at the blocks
    #[arg(long, value_name = "TEXT", value_parser = reason, conflicts_with_all = ["list", "clear", "everyone", "no_block"])]
    reason: Option<String>,
    /// Cut a session of your own off, too, and wait until AWS refuses it: of your sign-in, or with a token
    #[cfg(feature = "person")]
    #[arg(long, conflicts_with_all = ["list", "clear"])]
    verify: bool,
    /// How long `--verify` waits
    #[cfg(feature = "person")]
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    wait: u64,
    #[cfg(feature = "person")]
    #[command(flatten)]
    access: Access,
    /// Do not ask on a terminal before `--everyone` or `--clear`
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: Output,
}

/// A cut, as programs read it.
#[derive(Debug, Serialize)]
pub(crate) struct ToldCut {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    everyone: Option<bool>,
    /// Sessions that began before this time are refused.
    before: String,
}

#[derive(Debug, Serialize)]
struct Listed {
    cuts: Vec<ToldCut>,
}

/// What was done.
#[derive(Debug, Serialize)]
struct Told {
    cuts: Vec<ToldCut>,
    blocked: Vec<String>,
    /// Whether a session that was cut off was seen to be refused. None without `--verify`.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<bool>,
}

impl Revoke {
    /// Cuts off, lists or clears.
    pub(crate) async fn run(self, world: &World) -> Result<Outcome, Failure> {
        if (self.everyone || self.clear) && !self.yes && can_ask() {
            confirm(if self.clear {
                "Sessions that were cut off and have not expired will work again. Remove all cuts?"
            } else {
                "All sessions of everybody will be refused. Cut them off?"
            })?;
        }
        let (sdk, stack) = self.target.explained().await?;
        if self.list {
            return self.list(&Boundary::of(&stack, &sdk).await?).await;
        }
        if self.clear {
            let left = Boundary::of(&stack, &sdk).await?.change(Change::Clear).await?;
            return self.show(&left);
        }
        self.cut(&stack, &sdk, world).await
    }

    async fn list(&self, boundary: &Boundary) -> Result<Outcome, Failure> {
        let found = boundary.look().await?;
        if found.is_unfinished {
            note(
                "warning: the boundary has more than one version. Unless somebody runs `hallpass revoke` at this moment, a \
                 run was stopped, and cuts may be missing here: the next run that cuts something off finishes it",
            );
        }
        self.show(&found.cuts)
    }

    fn show(&self, cuts: &Cuts) -> Result<Outcome, Failure> {
        let listed = Listed { cuts: told(cuts) };
        self.output.print(&listed, || match listed.cuts.as_slice() {
            [] => "Nobody's sessions are cut off.".into(),
            cuts => cuts.iter().map(ToldCut::text).collect::<Vec<_>>().join("\n"),
        })?;
        Ok(Outcome::Done)
    }

    async fn cut(&self, stack: &Explained, sdk: &SdkConfig, world: &World) -> Result<Outcome, Failure> {
        let now = world.now();
        if let Some(principal) = &self.principal {
            warn_of_unknown_issuer(stack, principal);
        }
        let (whom, unknown) = self.whom(stack, sdk, now).await;
        // Before the block, which may be of the operator's own group. That there is none does not prevent the block.
        #[cfg(feature = "person")]
        let trial = if self.verify { Some(self.trial(stack, sdk, world).await) } else { None };
        #[cfg(feature = "person")]
        if let Some(Err(Failure::Usage(text))) = trial {
            return Err(Failure::Usage(text));
        }
        let blocked = whom.principal().filter(|_| !self.no_block).cloned();
        if let Some(principal) = &blocked {
            let blocking = self.block(principal, stack, sdk, now).await;
            blocking
                .map_err(|failure| Failure::new(format!("{failure}; nobody is blocked, and nothing is cut off")))?;
        }
        #[cfg(feature = "person")]
        let trial = trial.transpose().map_err(|failure| failed(blocked.as_ref(), failure.into()))?;
        #[cfg(feature = "person")]
        let own = trial.iter().map(|trial| trial.name().clone()).collect();
        #[cfg(not(feature = "person"))]
        let own = Names::new();
        let cut = match Cutting::with(whom, own, stack, sdk, now).cut(blocked.as_ref()).await {
            Ok(cut) => cut,
            Err(failure) => return all(Some(failure).into_iter().chain(unknown)),
        };
        let blocked = blocked.iter().map(|who| who.as_str().to_owned()).collect();
        #[cfg(feature = "person")]
        let verified = match &trial {
            Some(trial) => Some(self.verify(trial).await),
            None => None,
        };
        #[cfg(not(feature = "person"))]
        let verified: Option<Result<(), Failure>> = None;
        let told = Told { cuts: cut.told(), blocked, verified: verified.as_ref().map(Result::is_ok) };
        self.output.print(&told, || told.text())?;
        let missing = cut.end().await.err();
        all(missing.into_iter().chain(unknown).chain(verified.and_then(Result::err)))
    }

    /// A session of the operator's own. Without one nothing is cut off, since the operator wants to know whether it works.
    #[cfg(feature = "person")]
    async fn trial(&self, stack: &Explained, sdk: &SdkConfig, world: &World) -> Result<Trial, Failure> {
        let began = async {
            let own = self.access.own_session(world).await?;
            Trial::begin(own, stack, sdk).await
        };
        began.await.map_err(|failure: Failure| match failure {
            Failure::Usage(_) => failure,
            Failure::Failed(_) | Failure::Forbidden(_) => {
                Failure::new(format!("--verify needs a session of your own: {failure}"))
            }
        })
    }

    #[cfg(feature = "person")]
    async fn verify(&self, trial: &Trial) -> Result<(), Failure> {
        note("the cut is in force; waiting until your own session is refused");
        let name = trial.name().as_str();
        let seconds = match trial.is_refused(Duration::from_secs(self.wait)).await {
            Ok(Some(after)) => after.as_secs(),
            Ok(None) => {
                let wait = self.wait;
                return Err(Failure::new(format!(
                    "your own session `{name}` still works {wait} s after the cut was written"
                )));
            }
            Err(failure) => return Err(Failure::new(format!("the cut is written, but not verified: {failure}"))),
        };
        note(&format!("your own session `{name}` is refused, {seconds} s after the cut was written"));
        Ok(())
    }

    /// Which sessions are meant, and why nobody can say who has their name, if an error is the reason.
    async fn whom(&self, stack: &Explained, sdk: &SdkConfig, now: SystemTime) -> (Whom, Option<Failure>) {
        match (&self.principal, &self.name) {
            (Some(principal), _) => (Whom::Principal(principal.clone()), None),
            (None, Some(name)) if self.no_block => (Whom::Name(name.clone(), None), None),
            (None, Some(name)) => match person_of(name, stack, sdk, now).await {
                Ok(person) => (Whom::Name(name.clone(), person), None),
                Err(failure) => (Whom::Name(name.clone(), None), Some(failure)),
            },
            (None, None) => (Whom::Everyone, None),
        }
    }

    async fn block(
        &self,
        principal: &Principal,
        stack: &Explained,
        sdk: &SdkConfig,
        now: SystemTime,
    ) -> Result<(), Failure> {
        let stamp = stamp(sdk, None, now).await?;
        match &self.reason {
            Some(reason) => block::put(sdk, &stack.grants, principal, reason, &stamp).await.map(|_| ()),
            None => block::put_or_keep(sdk, &stack.grants, principal, REASON, &stamp).await,
        }
    }
}

/// Fails with all of these, if there are any.
fn all(failures: impl IntoIterator<Item = Failure>) -> Result<Outcome, Failure> {
    let texts: Vec<String> = failures.into_iter().map(|failure| failure.to_string()).collect();
    if texts.is_empty() { Ok(Outcome::Done) } else { Err(Failure::new(texts.join("; "))) }
}

/// The person behind a name. Only somebody whom the hash or the table of names confirms is blocked. That nobody can say
/// who it is must not keep the name's sessions alive, so it is only said. That nobody could be asked is a failure, which
/// does not keep them alive either.
async fn person_of(
    name: &FederatedName,
    stack: &Explained,
    sdk: &SdkConfig,
    now: SystemTime,
) -> Result<Option<Principal>, Failure> {
    let since = now.checked_sub(WHOIS).unwrap_or(SystemTime::UNIX_EPOCH);
    let unknown = |why: &str| {
        let name = name.as_str();
        format!(
            "nobody is blocked, and the next renewal gives a new session, because nobody can say who has the name {name}: {why}"
        )
    };
    let found = behind(sdk, stack, name.clone(), since).await.map_err(|failure| {
        Failure::new(format!("{}; when that is put right, run the same command again", unknown(&failure.to_string())))
    })?;
    let why = match found {
        Answer::Found(found) => {
            found.notes.iter().for_each(|line| note(line));
            if found.is_confirmed {
                return Ok(Some(found.principal));
            }
            format!("the audit lines name {}, and nothing confirms it", shown(found.principal.as_str()))
        }
        Answer::Nobody(why) => why,
    };
    note(&format!("warning: {}", unknown(&why)));
    Ok(None)
}

impl Cut {
    /// What is in force, as programs read it.
    pub(crate) fn told(&self) -> Vec<ToldCut> {
        told(&self.cuts)
    }
}

fn told(cuts: &Cuts) -> Vec<ToldCut> {
    let of = |(name, before): (Option<&str>, i64)| ToldCut {
        name: name.map(str::to_owned),
        everyone: name.is_none().then_some(true),
        before: text_of(before),
    };
    cuts.iter().map(of).collect()
}

impl ToldCut {
    /// For people, on one line.
    pub(crate) fn text(&self) -> String {
        let who = self.name.as_deref().unwrap_or("everybody");
        format!("Sessions of {who} that began before {} are refused.", self.before)
    }
}

impl Told {
    fn text(&self) -> String {
        let mut lines: Vec<String> = self.cuts.iter().map(ToldCut::text).collect();
        if lines.is_empty() {
            lines.push("No session was cut off.".into());
        }
        lines.extend(self.blocked.iter().map(|who| format!("{} is blocked.", shown(who))));
        lines.join("\n")
    }
}
