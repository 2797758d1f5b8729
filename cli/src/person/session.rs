//! What is stored of a sign-in, and for how long does it serve?

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use hallpass::wire::{Client, Credentials, TokenKind};

use super::secret::{stored, stored_if_any};
use super::store::name_of;

/// Credentials are renewed when less is left, in seconds, or a quarter of their lifetime if that is less. A fixed time
/// would defeat short sessions.
const RENEWED_BEFORE: i64 = 300;
/// Likewise for the provider's token, which has to last for one request.
const TOKEN_RENEWED_BEFORE: i64 = 60;
/// A clock that was set back makes what is old look new.
const MAX_SET_BACK: i64 = 60;

/// A sign-in at one issuer, for one server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Differs between any two sign-ins.
    pub(crate) id: String,
    pub(crate) server: String,
    pub(crate) issuer_id: String,
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    pub(crate) kind: TokenKind,
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) token_endpoint: String,
    pub(crate) revocation_endpoint: Option<String>,
    pub(crate) subject: Option<String>,
    /// The token that the server takes.
    #[serde(serialize_with = "stored")]
    pub(crate) token: SecretString,
    pub(crate) obtained_at: i64,
    /// When the token ends, if the provider says.
    pub(crate) expires_at: Option<i64>,
    #[serde(serialize_with = "stored_if_any")]
    pub(crate) refresh_token: Option<SecretString>,
}

impl Session {
    /// Where the session of a client is stored.
    pub(crate) fn file_of(server: &str, client: &Client) -> String {
        file(server, &client.issuer, &client.client_id)
    }

    /// Where this one is stored.
    pub(crate) fn file(&self) -> String {
        file(&self.server, &self.issuer, &self.client_id)
    }

    /// What the names of the files of a server's sessions begin with.
    pub(crate) fn files_of(server: &str) -> String {
        name_of(&[server])
    }

    /// What the names of this one's files begin with.
    pub(crate) fn stem(&self) -> String {
        self.file().trim_end_matches(SESSION).to_owned()
    }

    /// Where credentials for a grant are stored: never where another person's are, or another grant's.
    pub(crate) fn credentials_file(&self, grant: &str, duration: Option<u32>) -> String {
        let duration = duration.map(|seconds| seconds.to_string()).unwrap_or_default();
        let subject = self.subject.as_deref().unwrap_or_default();
        format!("{}-{}{CREDENTIALS}", self.stem(), name_of(&[subject, grant, &duration]))
    }

    /// Whether the token lasts long enough for a request. If its end is unknown, it is tried.
    pub(crate) fn has_token(&self, now: i64) -> bool {
        self.expires_at.is_none_or(|end| is_fresh(self.obtained_at, end, now, TOKEN_RENEWED_BEFORE))
    }

    /// Whether the person is signed in.
    pub(crate) fn is_alive(&self, now: i64) -> bool {
        self.refresh_token.is_some() || self.expires_at.is_none_or(|end| now < end)
    }
}

/// The end of the name of a session's file.
pub(crate) const SESSION: &str = ".session";
/// The end of the name of a file of credentials.
pub(crate) const CREDENTIALS: &str = ".credentials";

fn file(server: &str, issuer: &str, client_id: &str) -> String {
    format!("{}-{}{SESSION}", name_of(&[server]), name_of(&[issuer, client_id]))
}

/// Credentials as they are cached.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Cached {
    pub(crate) session: String,
    pub(crate) obtained_at: i64,
    pub(crate) expires_at: i64,
    pub(crate) credentials: Credentials,
}

impl Cached {
    /// Whether they need not be renewed yet.
    pub(crate) fn is_fresh(&self, now: i64) -> bool {
        is_fresh(self.obtained_at, self.expires_at, now, RENEWED_BEFORE)
    }

    /// Whether they still serve for so many seconds.
    pub(crate) fn lasts(&self, seconds: i64, now: i64) -> bool {
        now.saturating_add(seconds) < self.expires_at && !was_set_back(self.obtained_at, now)
    }
}

fn is_fresh(obtained: i64, end: i64, now: i64, most: i64) -> bool {
    let quarter = end.saturating_sub(obtained).div_euclid(4);
    end.saturating_sub(now) >= most.min(quarter).max(1) && !was_set_back(obtained, now)
}

const fn was_set_back(obtained: i64, now: i64) -> bool {
    now.saturating_add(MAX_SET_BACK) < obtained
}

/// Seconds since the epoch of a time in RFC 3339.
pub(crate) fn seconds_of(text: &str) -> Option<i64> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn credentials_are_renewed_in_the_last_five_minutes_or_the_last_quarter() {
        // An hour: the last five minutes.
        assert!(is_fresh(0, 3_600, 3_300, 300));
        assert!(!is_fresh(0, 3_600, 3_301, 300));
        // 900 s, STS's shortest: the last 225 s.
        assert!(is_fresh(0, 900, 675, 300));
        assert!(!is_fresh(0, 900, 676, 300));
        assert!(!is_fresh(0, 900, 900, 300) && !is_fresh(0, 900, 10_000, 300));
        assert!(!is_fresh(0, 0, 0, 300), "what has no lifetime is never fresh");
    }

    #[test]
    fn what_a_clock_that_was_set_back_makes_look_new_is_renewed() {
        assert!(is_fresh(1_000, 4_600, 940, 300));
        assert!(!is_fresh(1_000, 4_600, 939, 300));
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        assert_eq!(seconds_of("2027-01-15T08:00:00Z"), Some(1_800_000_000));
        assert_eq!(seconds_of("2027-01-15T09:00:00+01:00"), Some(1_800_000_000));
        assert_eq!(seconds_of("2027-01-15"), None);
    }

    proptest! {
        #[test]
        fn nothing_fresh_has_expired(obtained in -10_i64..10_000, life in 0_i64..200_000, after in -100_i64..300_000) {
            let end = obtained + life;
            let now = obtained + after;
            if is_fresh(obtained, end, now, RENEWED_BEFORE) {
                prop_assert!(now < end);
            }
        }
    }
}
