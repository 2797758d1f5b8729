//! Who is behind a session?
//!
//! The table of names knows whose a name from a claim is. The audit lines say who got which session. A name that is made
//! from issuer and subject proves its owner by its hash; of any other, only the table of names can.

mod asked;
mod event;
mod find;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::{Duration, SystemTime};

use clap::Args;
use hallpass::grants::{Principal, PrincipalKind};
use hallpass::time::from_rfc3339;
use serde::Serialize;

use self::asked::What;
pub(crate) use self::asked::is_account;
use self::event::EventError;
pub(crate) use self::find::{Answer, Found, behind};
use super::audit_log::Session;
use super::grants::{shown, text};
use super::stack::Tables;
use crate::failure::Failure;
use crate::output::{Outcome, Output, note};

/// How far back lines are looked at.
const SINCE: &str = "7d";

/// Find the person behind a session that AWS's logs show.
///
/// Exits with 3 if nobody is found.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hallpass whois --stack hallpass carol-3o2jzrlhnfnb\n  \
                        hallpass whois --stack hallpass ASIAIOSFODNN7EXAMPLE --since 30d --json\n  \
                        hallpass whois --stack hallpass - < event.json")]
pub(crate) struct Whois {
    /// A federated name, ACCOUNT:NAME, an ARN, the id of an access key, or - for a CloudTrail event on standard input
    #[arg(value_name = "WHAT", value_parser = What::parse, allow_hyphen_values = true)]
    what: What,
    /// How far back to look: minutes, hours or days, such as 36h or 7d, or a time of RFC 3339
    #[arg(long, value_name = "TIME", default_value = SINCE, value_parser = since)]
    since: Since,
    /// The log group of the audit lines, for people who may not ask CloudFormation [env: `HALLPASS_AUDIT_LOG`]
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    audit_log: Option<String>,
    #[command(flatten)]
    tables: Tables,
    #[command(flatten)]
    output: Output,
}

/// From when on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    Ago(Duration),
    Time(SystemTime),
}

fn since(text: &str) -> Result<Since, &'static str> {
    let time = || {
        let seconds = u64::try_from(from_rfc3339(text)?).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).map(Since::Time)
    };
    let ago = || {
        let (at, _) = text.char_indices().last()?;
        let (number, unit) = text.split_at_checked(at)?;
        let seconds = match unit {
            "m" => 60_u64,
            "h" => 3_600,
            "d" => 86_400,
            _ => return None,
        };
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let number: u64 = if is_number { number.parse().ok()? } else { return None };
        number.checked_mul(seconds).map(|seconds| Since::Ago(Duration::from_secs(seconds)))
    };
    ago().or_else(time).ok_or("must be minutes, hours or days, such as 90m, 36h or 7d, or a time of RFC 3339")
}

impl Since {
    fn at(self, now: SystemTime) -> SystemTime {
        match self {
            Self::Ago(length) => now.checked_sub(length).unwrap_or(SystemTime::UNIX_EPOCH),
            Self::Time(time) => time,
        }
    }
}

/// The answer, as programs read it.
#[derive(Debug, Default, Serialize)]
struct Told<'a> {
    name: Option<&'a str>,
    issuer: Option<&'a str>,
    subject: Option<&'a str>,
    confirmed: bool,
    sessions: Vec<ToldSession<'a>>,
}

#[derive(Debug, Serialize)]
struct ToldSession<'a> {
    at: &'a str,
    access_key_id: Option<&'a str>,
    grant: Option<&'a str>,
    policy_sha256: Option<&'a str>,
    source_ip: Option<&'a str>,
    expiration: Option<&'a str>,
}

impl Whois {
    /// Looks for the person.
    pub(crate) async fn run(self, now: SystemTime) -> Result<Outcome, Failure> {
        let asked = match &self.what {
            What::Session(asked) => asked.clone(),
            What::Event => match event::read(&text(Path::new("-"))?) {
                Ok(asked) => asked,
                Err(error @ EventError::Malformed(_)) => return Err(Failure::new(error.to_string())),
                Err(error @ EventError::Other(_)) => return self.nobody(None, &error.to_string()),
            },
        };
        let (sdk, stack) = self.tables.with_names(self.audit_log.as_deref()).await?;
        let name = asked.name.as_ref().map(|name| name.as_str().to_owned());
        match find::find(&sdk, &stack, asked, self.since.at(now)).await? {
            Answer::Nobody(why) => self.nobody(name.as_deref(), &why),
            Answer::Found(found) => {
                self.output.print(&found.told(), || found.text())?;
                for line in &found.notes {
                    note(line);
                }
                Ok(Outcome::Done)
            }
        }
    }

    fn nobody(&self, name: Option<&str>, why: &str) -> Result<Outcome, Failure> {
        if self.output.json {
            self.output.print(&Told { name, ..Told::default() }, String::new)?;
        }
        Err(Failure::Forbidden(format!("nobody was found: {why}")))
    }
}

impl Found {
    fn told(&self) -> Told<'_> {
        Told {
            name: Some(self.name.as_str()),
            issuer: Some(self.principal.issuer()),
            subject: subject(&self.principal),
            confirmed: self.is_confirmed,
            sessions: self.sessions.iter().map(ToldSession::of).collect(),
        }
    }

    fn text(&self) -> String {
        let (name, who) = (self.name.as_str(), shown(self.principal.as_str()));
        let proof = match (self.is_confirmed, self.name.has_hashed_shape()) {
            (true, true) => "the hash in the name confirms it",
            (true, false) => "the table of names confirms it",
            (false, _) => "not confirmed: only the audit lines say so",
        };
        let mut lines = vec![format!("{name} is {who} ({proof})")];
        if self.sessions.is_empty() {
            lines.push("No session of the time that was looked at.".into());
        }
        lines.extend(self.sessions.iter().map(|session| {
            let or = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), shown);
            let (key, grant, from) = (or(&session.access_key_id), or(&session.grant), or(&session.source_ip));
            let (until, policy) = (or(&session.expiration), or(&session.policy_sha256));
            format!("{}  {key}  {grant}  from {from}  until {until}  policy {policy}", shown(&session.at))
        }));
        lines.join("\n")
    }
}

impl<'a> ToldSession<'a> {
    fn of(session: &'a Session) -> Self {
        Self {
            at: &session.at,
            access_key_id: session.access_key_id.as_deref(),
            grant: session.grant.as_deref(),
            policy_sha256: session.policy_sha256.as_deref(),
            source_ip: session.source_ip.as_deref(),
            expiration: session.expiration.as_deref(),
        }
    }
}

fn subject(principal: &Principal) -> Option<&str> {
    match principal.kind() {
        PrincipalKind::User(subject) => Some(subject),
        PrincipalKind::Group(_) | PrincipalKind::Everyone => None,
    }
}
