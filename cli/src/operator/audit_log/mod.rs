//! Who got which session, by what the function itself wrote down?
//!
//! The audit lines are in a log group of CloudWatch Logs. A pattern keeps the service from sending what nobody asked for;
//! what it sends is looked at again here, because a pattern cannot say everything, and is joined to sessions.

mod line;
mod sessions;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::config::Builder;
use aws_sdk_cloudwatchlogs::config::retry::RetryConfig;
use aws_sdk_cloudwatchlogs::config::timeout::TimeoutConfig;
use hallpass::grants::{Principal, PrincipalKind};
use hallpass::net::aws::SdkConfig;
use hallpass::session::FederatedName;

pub(crate) use self::line::is_access_key_id;
use self::line::{Line, Read, Written};
pub(crate) use self::sessions::{Session, Sessions};
use crate::failure::Failure;
use crate::operator::grants::shown;

/// An account's limit of requests a second is soon met by people who look for something together.
const ATTEMPTS: u32 = 8;
/// The longest wait before an attempt.
const BACKOFF: Duration = Duration::from_secs(5);
/// The service searches for a while before it answers with a page, which may be empty.
const ATTEMPT: Duration = Duration::from_secs(30);

/// The audit lines of a stack.
#[derive(Debug)]
pub(crate) struct AuditLog {
    client: Client,
    group: String,
}

/// Between which times lines were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) since: SystemTime,
    /// If absent: until now.
    pub(crate) until: Option<SystemTime>,
}

/// Which lines are meant.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Meant<'a> {
    /// Those of sessions with this name: one from a claim is the same in any case.
    Name(&'a FederatedName),
    /// Those of the session with this access key.
    AccessKey(&'a str),
    /// Those of sessions that were about to be issued to callers who are this principal: the user in person, everyone of
    /// the issuer, or those who had a session from an item of the group.
    Principal(&'a Principal),
}

impl Window {
    /// The time until now.
    pub(crate) fn last(length: Duration, now: SystemTime) -> Self {
        Self { since: now.checked_sub(length).unwrap_or(SystemTime::UNIX_EPOCH), until: None }
    }
}

impl AuditLog {
    /// The lines in this log group.
    pub(crate) fn new(sdk: &SdkConfig, group: &str) -> Self {
        let retries = RetryConfig::standard().with_max_attempts(ATTEMPTS).with_max_backoff(BACKOFF);
        let limits = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).build();
        let config = Builder::from(sdk).retry_config(retries).timeout_config(limits).build();
        Self { client: Client::from_conf(config), group: group.to_owned() }
    }

    /// The sessions that are meant, the newest of them.
    pub(crate) async fn sessions(&self, meant: Meant<'_>, window: Window) -> Result<Sessions, Failure> {
        let mut sessions = Sessions::default();
        sessions.unreadable = self.search(meant, window, |line| sessions.add(line)).await?;
        Ok(sessions)
    }

    /// Adds the names of the sessions that callers who are this principal got. A name that is made from issuer and subject
    /// is only believed of its owner. What another name's line says, only the table of names can confirm. With a failure
    /// some names may be missing, and those that were found are added.
    ///
    /// A group's are those of sessions that were made from an item of the group: lines do not have a caller's other groups.
    pub(crate) async fn names_of(
        &self,
        principal: &Principal,
        window: Window,
        mut add: impl FnMut(FederatedName),
    ) -> Result<(), Failure> {
        let unreadable = self.search(Meant::Principal(principal), window, |line| {
            if !line.is_refuted() {
                add(line.name);
            }
        });
        // Somebody whom a line names that cannot be read would be left out.
        match unreadable.await? {
            0 => Ok(()),
            count => Err(Failure::new(format!(
                "{count} lines of the log group `{}` cannot be read, and could be about `{}`",
                self.group,
                shown(principal.as_str())
            ))),
        }
    }

    /// Reads the lines that are meant, the oldest first. The answer is how many are malformed.
    async fn search(&self, meant: Meant<'_>, window: Window, mut add: impl FnMut(Line)) -> Result<usize, Failure> {
        let (since, until) = (milliseconds(window.since), window.until.map(milliseconds));
        let pattern = meant.pattern();
        let mut unreadable: usize = 0;
        let mut next: Option<String> = None;
        loop {
            let request = self.client.filter_log_events().log_group_name(&self.group).filter_pattern(&pattern);
            let request = request.start_time(since).set_end_time(until).set_next_token(next.clone());
            let failed = || Failure::to(format!("read the log group `{}`", self.group), "logs:FilterLogEvents");
            let page = request.send().await.map_err(failed())?;
            for event in page.events.unwrap_or_default() {
                match Line::read(event.message.as_deref().unwrap_or_default()) {
                    Read::Line(line) if meant.is(&line) => add(*line),
                    Read::Line(_) | Read::Other => {}
                    Read::Malformed => unreadable = unreadable.saturating_add(1),
                }
            }
            let previous = next;
            next = page.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(unreadable);
            }
            // It would go on for ever, and what is missing could be the line that matters.
            if next == previous {
                return Err(Failure::new(format!("CloudWatch's answer about `{}` is incomplete", self.group)));
            }
        }
    }
}

impl Meant<'_> {
    /// What the service is asked for: all lines that are meant, and perhaps others.
    fn pattern(self) -> String {
        let term = |field: &str, value: &str| format!("$.{field} = {}", quoted(value));
        let any_name = term("federated_name", "*");
        let terms = match self {
            Self::Name(name) if name.has_hashed_shape() => vec![term("federated_name", name.as_str())],
            // Patterns tell cases apart, and an owner's other forms of the name matter as much as another person's.
            Self::Name(_) => vec![any_name],
            Self::AccessKey(id) => vec![term("access_key_id", id)],
            Self::Principal(principal) => {
                let issuer = term("issuer", principal.issuer());
                let issuing = term("event", "issuing");
                match principal.kind() {
                    PrincipalKind::User(subject) => vec![issuing, issuer, term("subject", subject), any_name],
                    // AWS documents `[*]` for the elements of an array, and gives no example with a member after it. A
                    // pattern that finds nobody would look like a group without sessions.
                    PrincipalKind::Group(_) | PrincipalKind::Everyone => vec![issuing, issuer, any_name],
                }
            }
        };
        format!("{{ {} }}", terms.join(" && "))
    }

    fn is(self, line: &Line) -> bool {
        match self {
            Self::Name(name) => is_same(name, &line.name),
            Self::AccessKey(id) => line.access_key_id.as_deref() == Some(id),
            Self::Principal(principal) => {
                line.written == Written::Issuing
                    && match principal.kind() {
                        PrincipalKind::User(_) => line.caller == *principal,
                        PrincipalKind::Group(_) => line.matched.contains(principal),
                        PrincipalKind::Everyone => line.caller.issuer() == principal.issuer(),
                    }
            }
        }
    }
}

/// Whether two names are one. A name that is made from issuer and subject has one form; any other is its owner's in any
/// case.
pub(crate) fn is_same(one: &FederatedName, other: &FederatedName) -> bool {
    let is_folded = !one.has_hashed_shape() && !other.has_hashed_shape();
    one == other || (is_folded && one.folded() == other.folded())
}

/// A text in a pattern, in which `*` is any text. What could mean something else there, and all that follows, becomes
/// one: a pattern must not find less than what is meant.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_=,.@+-/:".contains(c);
    let plain: String = text.chars().take_while(|c| is_plain(*c)).collect();
    let rest = if plain.len() == text.len() { "" } else { "*" };
    format!("\"{plain}{rest}\"")
}

fn milliseconds(time: SystemTime) -> i64 {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
