//! Seconds since the epoch, and how they are written.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Whole seconds since the epoch, the broken one left out.
#[must_use]
pub fn seconds(now: SystemTime) -> i64 {
    i64::try_from(since_epoch(now).as_secs()).unwrap_or(i64::MAX)
}

/// Whole milliseconds since the epoch.
#[must_use]
pub fn millis(now: SystemTime) -> u64 {
    u64::try_from(since_epoch(now).as_millis()).unwrap_or(u64::MAX)
}

/// Time since the epoch; none before it.
#[must_use]
pub fn since_epoch(now: SystemTime) -> Duration {
    now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

/// Seconds since the epoch as RFC 3339 has them, in UTC. `None` for a year that it cannot write.
#[must_use]
pub fn rfc3339(seconds: i64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(seconds).ok()?.format(&Rfc3339).ok()
}

/// A moment as RFC 3339 has it, in UTC and to the millisecond.
#[must_use]
pub fn rfc3339_millis(now: SystemTime) -> Option<String> {
    let nanoseconds = i128::from(millis(now)).checked_mul(1_000_000)?;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok()?.format(&Rfc3339).ok()
}
