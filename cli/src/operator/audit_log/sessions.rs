//! Which sessions do the lines together tell of?

use std::collections::HashMap;

use hallpass::grants::Principal;
use hallpass::session::FederatedName;

use super::line::{self, Line, Written};

/// Sessions that are kept. A program that renews hourly has 168 in a week.
const MOST: usize = 1_000;

/// The newest sessions of a search.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_request: HashMap<String, Session>,
    /// Whether there were more than are kept.
    pub(crate) are_cut: bool,
    /// Lines that could not be read.
    pub(crate) unreadable: usize,
    /// Lines that name somebody who cannot have the name.
    pub(crate) refuted: usize,
}

/// A session, or an attempt at one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    /// When it was issued, as the line says it.
    pub(crate) at: String,
    /// The same in seconds since the epoch.
    pub(crate) seconds: i64,
    /// The user whom the line names.
    pub(crate) caller: Principal,
    pub(crate) name: FederatedName,
    /// Whether the name is made from this issuer and subject. Only the table of names can confirm another.
    pub(crate) is_confirmed: bool,
    pub(crate) grant: Option<String>,
    pub(crate) policy_sha256: Option<String>,
    pub(crate) source_ip: Option<String>,
    /// None if nobody knows whether STS gave credentials.
    pub(crate) access_key_id: Option<String>,
    pub(crate) expiration: Option<String>,
    /// The same in seconds since the epoch.
    pub(crate) expires: Option<i64>,
    written: Written,
}

impl Sessions {
    /// Adds what a line says. The later line of a request has everything that the earlier one has.
    pub(super) fn add(&mut self, line: Line) {
        if line.is_refuted() {
            self.refuted = self.refuted.saturating_add(1);
            return;
        }
        let is_known = self.by_request.get(&line.request_id).is_some_and(|known| known.written != Written::Issuing);
        if !is_known {
            let (request, session) = Session::of(line);
            self.by_request.insert(request, session);
        }
        if self.by_request.len() >= MOST.saturating_mul(2) {
            self.cut();
        }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.by_request.len()
    }

    /// Keeps the newest. Twice as many are let in before, so that each line costs little.
    fn cut(&mut self) {
        let mut times: Vec<i64> = self.by_request.values().map(|session| session.seconds).collect();
        times.sort_unstable_by(|one, other| other.cmp(one));
        let Some(oldest) = times.get(MOST.saturating_sub(1)).copied() else { return };
        let mut of_oldest = times.iter().take(MOST).filter(|seconds| **seconds == oldest).count();
        self.by_request.retain(|_, session| {
            let is_one = session.seconds == oldest && of_oldest > 0;
            of_oldest = of_oldest.saturating_sub(usize::from(is_one));
            session.seconds > oldest || is_one
        });
        self.are_cut = true;
    }

    /// Those that were issued, or may have been, and the users whom any line names; the newest first.
    pub(crate) fn into_newest_first(mut self) -> Vec<Session> {
        if self.by_request.len() > MOST {
            self.cut();
        }
        let mut sessions: Vec<Session> = self.by_request.into_values().collect();
        sessions.sort_by(|one, other| {
            (other.seconds, &other.at, &other.access_key_id).cmp(&(one.seconds, &one.at, &one.access_key_id))
        });
        sessions
    }
}

impl Session {
    fn of(line: Line) -> (String, Self) {
        let session = Self {
            is_confirmed: line::is_of(&line.name, &line.caller),
            at: line.at,
            seconds: line.seconds,
            caller: line.caller,
            name: line.name,
            grant: line.grant,
            policy_sha256: line.policy_sha256,
            source_ip: line.source_ip,
            access_key_id: line.access_key_id,
            expiration: line.expiration,
            expires: line.expires,
            written: line.written,
        };
        (line.request_id, session)
    }

    /// Whether the request ended without a session.
    pub(crate) fn is_refused(&self) -> bool {
        self.written == Written::Refused
    }
}
