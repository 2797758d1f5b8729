//! In which order is asked, and what is believed?
//!
//! The table of names first, then the audit lines. A line about a name that is made from issuer and subject is believed
//! only if the hash fits. A line about another name is believed if the table of names says the same.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use hallpass::grants::Principal;
use hallpass::net::aws::SdkConfig;
use hallpass::session::FederatedName;

use super::asked::Asked;
use crate::failure::Failure;
use crate::operator::audit_log::{AuditLog, Meant, Session, Window, is_same};
use crate::operator::grants::{name_owner, shown};
use crate::operator::stack::Explained;
use crate::output::note;

/// The longest that a session lasts.
const LONGEST_SESSION: Duration = Duration::from_hours(36);
/// Clocks of AWS, of the function and of this machine differ by less.
const SKEW: Duration = Duration::from_mins(5);
/// Seconds between the line before STS is asked and the moment that STS says.
const WHILE_ISSUING: u64 = 5;

/// The answer.
#[derive(Debug)]
pub(crate) enum Answer {
    Found(Found),
    /// Nobody, and why.
    Nobody(String),
}

/// What came of looking at lines of one time.
enum Looked {
    Answer(Answer),
    /// No line helps. What was found instead.
    Nothing(Vec<String>),
}

/// The person behind a name.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) name: FederatedName,
    /// The user.
    pub(crate) principal: Principal,
    /// Whether the hash or the table of names says it, and not only the audit lines.
    pub(crate) is_confirmed: bool,
    /// The newest first.
    pub(crate) sessions: Vec<Session>,
    /// What a reader of the answer should know.
    pub(crate) notes: Vec<String>,
}

/// Finds the person behind a name, for those who cut sessions off.
pub(crate) async fn behind(
    sdk: &SdkConfig,
    stack: &Explained,
    name: FederatedName,
    since: SystemTime,
) -> Result<Answer, Failure> {
    find(sdk, stack, Asked::of_name(name), since).await
}

/// Finds the person behind a session, in lines that are not older than `since` or, if it is known when the session was
/// used, in those of that time.
pub(super) async fn find(
    sdk: &SdkConfig,
    stack: &Explained,
    asked: Asked,
    since: SystemTime,
) -> Result<Answer, Failure> {
    if let Some(why) = foreign(&asked, stack).or_else(|| unmade(&asked)) {
        return Ok(Answer::Nobody(why));
    }
    let search = Search { sdk, stack, log: stack.audit_log.as_deref().map(|group| AuditLog::new(sdk, group)) };
    let since = Window { since, until: None };
    let mut notes = Vec::new();
    // The lines of the time when the session was used say more than those of last week, and may be older.
    for window in asked.window().into_iter().chain([since]) {
        match search.in_window(&asked, window).await? {
            Looked::Answer(answer) => return Ok(answer),
            Looked::Nothing(found) => notes = found,
        }
    }
    for line in notes {
        note(&line);
    }
    Ok(Answer::Nobody(search.why_nobody(&asked)))
}

/// Why a session cannot be one of this stack.
fn foreign(asked: &Asked, stack: &Explained) -> Option<String> {
    let account = asked.account.as_ref().zip(stack.account.as_ref()).filter(|(of, (_, ours))| *of != ours);
    if let Some((of, (_, ours))) = account {
        return Some(format!("the session is of the account {of}, and the stack is in {ours}"));
    }
    let user = asked.user.as_ref().zip(stack.user.as_ref()).filter(|(of, ours)| of != ours);
    user.map(|(of, ours)| {
        format!("the session was made with a key of `{}`, and Hallpass makes them with one of `{ours}`", shown(of))
    })
}

/// Why there cannot be a session. A name that somebody asked for in vain says nothing about who asked.
fn unmade(asked: &Asked) -> Option<String> {
    let is_unmade = asked.is_minted && asked.access_key_id.is_none();
    is_unmade.then(|| "the call made no session: STS's answer in the event has no access key".into())
}

impl Asked {
    /// When the session can have been issued.
    fn window(&self) -> Option<Window> {
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(self.at?).ok()?))?;
        let since = at.checked_sub(LONGEST_SESSION.saturating_add(SKEW)).unwrap_or(SystemTime::UNIX_EPOCH);
        Some(Window { since, until: at.checked_add(SKEW) })
    }
}

#[derive(Debug)]
struct Search<'a> {
    sdk: &'a SdkConfig,
    stack: &'a Explained,
    /// None if nobody can say where the lines are.
    log: Option<AuditLog>,
}

impl Search<'_> {
    async fn in_window(&self, asked: &Asked, window: Window) -> Result<Looked, Failure> {
        if let Some(id) = &asked.access_key_id {
            let mut lines = self.lines(Meant::AccessKey(id), window).await?;
            let is_known = !lines.sessions.is_empty();
            // An event with another name than the session's would be somebody's forgery.
            lines.sessions.retain(|session| asked.name.as_ref().is_none_or(|name| is_same(name, &session.name)));
            match lines.sessions.first().map(|session| session.name.clone()) {
                Some(name) => return self.holder(&name, &Asked::default(), lines).await,
                None if is_known => {
                    let why = format!("the audit lines have the access key {id} for a session of another name");
                    return Ok(Looked::Answer(Answer::Nobody(why)));
                }
                // Whoever has the broker key can give a session any name. The key that STS gave is Hallpass's, or is not.
                None if asked.is_minted || asked.name.is_none() => return Ok(Looked::Nothing(lines.notes)),
                None => {}
            }
        }
        let Some(name) = &asked.name else { return Ok(Looked::Nothing(Vec::new())) };
        let mut lines = self.lines(Meant::Name(name), window).await?;
        if let Some(id) = &asked.access_key_id {
            lines.notes.push(format!(
                "no audit line has the access key {id}, so sessions are listed by name and time: it is a session of the \
                 console, or one that somebody made with the broker key"
            ));
        }
        self.holder(name, asked, lines).await
    }

    async fn lines(&self, meant: Meant<'_>, window: Window) -> Result<Lines, Failure> {
        let Some(log) = &self.log else {
            let notes = vec!["the audit lines were not looked at: use --stack or --audit-log".to_owned()];
            return Ok(Lines { sessions: Vec::new(), notes });
        };
        let sessions = log.sessions(meant, window).await?;
        let mut notes = Vec::new();
        if sessions.refuted > 0 {
            let count = sessions.refuted;
            notes.push(format!(
                "warning: {count} audit lines name somebody whom the hash does not confirm; not believed"
            ));
        }
        if sessions.unreadable > 0 {
            notes.push(format!("warning: {} audit lines cannot be read; not believed", sessions.unreadable));
        }
        if sessions.are_cut {
            notes.push("there are more sessions; only the newest are listed".into());
        }
        Ok(Lines { sessions: sessions.into_newest_first(), notes })
    }

    /// The person of whom the lines are, by what confirms it.
    async fn holder(&self, name: &FederatedName, asked: &Asked, lines: Lines) -> Result<Looked, Failure> {
        let Lines { sessions: all, mut notes } = lines;
        let mut sessions = asked.fitting(&all);
        let is_hashed = name.has_hashed_shape();
        let owner = self.owner(name).await?;
        let is_confirmed = is_hashed || owner.is_some();
        let principal = if let Some(owner) = owner {
            let before = sessions.len();
            sessions.retain(|session| session.caller == owner);
            let others = before.saturating_sub(sessions.len());
            if others > 0 && sessions.is_empty() {
                let (name, owner) = (name.as_str(), shown(owner.as_str()));
                let why =
                    format!("the table of names says that {name} belongs to {owner}, and the audit lines name others");
                return Ok(Looked::Answer(Answer::Nobody(why)));
            }
            if others > 0 {
                notes.push(format!(
                    "warning: {others} audit lines name somebody who does not own the name; not believed"
                ));
            }
            owner
        } else {
            let of = if sessions.is_empty() { &all } else { &sessions };
            let callers: BTreeSet<&Principal> = of.iter().map(|session| &session.caller).collect();
            match callers.iter().collect::<Vec<_>>().as_slice() {
                [] => return Ok(Looked::Nothing(notes)),
                [caller] => (**caller).clone(),
                several => {
                    let several: Vec<String> = several.iter().map(|caller| shown(caller.as_str())).collect();
                    let why = format!("nobody owns the name now, and these had it: {}", several.join(", "));
                    return Ok(Looked::Answer(Answer::Nobody(why)));
                }
            }
        };
        if !is_confirmed {
            notes.push("warning: nobody owns the name now, so nothing confirms what the audit lines say".into());
        }
        sessions.retain(|session| !session.is_refused());
        Ok(Looked::Answer(Answer::Found(Found { name: name.clone(), principal, is_confirmed, sessions, notes })))
    }

    /// The owner of a name from a claim. No claim can have a name that is made from a subject.
    async fn owner(&self, name: &FederatedName) -> Result<Option<Principal>, Failure> {
        let Some(table) = self.stack.state.as_deref().filter(|_| !name.has_hashed_shape()) else { return Ok(None) };
        let owner = name_owner(self.sdk, table, &name.folded()).await?;
        let malformed =
            || Failure::new(format!("the owner of `{}` in the table `{table}` is not a user", name.as_str()));
        owner.map(|owner| Principal::parse(&owner).ok_or_else(malformed)).transpose()
    }

    fn why_nobody(&self, asked: &Asked) -> String {
        if let (true, Some(id), Some(_)) = (asked.is_minted, &asked.access_key_id, &self.log) {
            return format!(
                "no audit line that can be believed has the access key {id}, which is the one that STS gave: the session \
                 was made outside Hallpass, or STS's answer was lost; see \"Use of the broker key that nothing explains\" \
                 in the runbook"
            );
        }
        let what = match (&asked.name, &asked.access_key_id) {
            (Some(name), _) => format!("the name {}", name.as_str()),
            (None, Some(id)) => format!("the access key {id}"),
            (None, None) => "this".into(),
        };
        match (&self.log, &asked.name) {
            (None, _) => format!("without --stack or --audit-log, only the table of names could be asked for {what}"),
            (Some(_), Some(_)) => {
                format!("no audit line that can be believed has {what}; look further back with --since")
            }
            (Some(_), None) => format!(
                "no audit line that can be believed has {what}; look further back with --since. A session of the console \
                 has another key: give the CloudTrail event on standard input"
            ),
        }
    }
}

#[derive(Debug)]
struct Lines {
    sessions: Vec<Session>,
    notes: Vec<String>,
}

impl Asked {
    /// The sessions that it can be, by the times.
    fn fitting(&self, all: &[Session]) -> Vec<Session> {
        let (skew, longest) = (whole_seconds(SKEW), whole_seconds(LONGEST_SESSION));
        let lasted = |session: &Session| {
            let ends = session.expires.unwrap_or_else(|| session.seconds.saturating_add(longest));
            self.at.is_none_or(|at| session.seconds.saturating_sub(skew) <= at && at <= ends.saturating_add(skew))
        };
        let mut fitting: Vec<Session> = all.iter().filter(|session| lasted(session)).cloned().collect();
        // A session of the console may have begun when the person signed in there: then this finds none.
        let began =
            |session: &Session| self.began.is_some_and(|began| began.abs_diff(session.seconds) <= WHILE_ISSUING);
        if fitting.iter().any(began) {
            fitting.retain(began);
        }
        fitting
    }
}

fn whole_seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}
