//! Do this machine and a server agree on the time?

use std::fmt;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// What the core forgives a provider's clock, and AWS a request's by far more. In seconds.
const CLOCK_LIMIT: i64 = 30;

/// This machine's clock, compared with a server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compared {
    /// They differ by less than [`CLOCK_LIMIT`].
    Same,
    /// This machine's is ahead by so many seconds, or behind.
    Off { seconds: i64 },
    /// The server did not say.
    Unknown,
}

/// Compares the `Date` of an answer with the time now.
pub(crate) fn compare(date: Option<&str>, now: i64) -> Compared {
    let theirs = date.and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok()).map(OffsetDateTime::unix_timestamp);
    match theirs.map(|theirs| now.saturating_sub(theirs)) {
        None => Compared::Unknown,
        Some(seconds) if seconds.saturating_abs() >= CLOCK_LIMIT => Compared::Off { seconds },
        Some(_) => Compared::Same,
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => write!(f, "within {CLOCK_LIMIT} s of the server's"),
            Self::Off { seconds } => {
                let side = if *seconds < 0 { "behind" } else { "ahead of" };
                write!(f, "this machine's clock is {} s {side} the server's", seconds.unsigned_abs())
            }
            Self::Unknown => f.write_str("the server does not say what time it is"),
        }
    }
}
