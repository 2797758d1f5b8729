//! What time is it, and how is a time written?
//!
//! The clock is read in the binaries alone. Times in tokens, items and events are seconds since the epoch.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How far the clock of an identity provider may differ from ours, in either direction. Synchronized clocks differ by
/// less than a second. A longer leeway would keep expired tokens alive for longer.
pub(crate) const LEEWAY: Duration = Duration::from_secs(30);

/// Whole seconds since the epoch, rounded down.
#[must_use]
pub fn seconds(now: SystemTime) -> i64 {
    i64::try_from(since_epoch(now).as_secs()).unwrap_or(i64::MAX)
}

/// Whole milliseconds since the epoch.
#[must_use]
pub(crate) fn millis(now: SystemTime) -> u64 {
    u64::try_from(since_epoch(now).as_millis()).unwrap_or(u64::MAX)
}

/// Time since the epoch; zero for a clock that is set to before it.
#[must_use]
pub(crate) fn since_epoch(now: SystemTime) -> Duration {
    now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

/// Seconds since the epoch as RFC 3339 has them, in UTC. `None` for a year that it cannot write.
#[must_use]
pub fn rfc3339(seconds: i64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(seconds).ok()?.format(&Rfc3339).ok()
}

/// Reads a time of RFC 3339 as seconds since the epoch. `None` for any other text, and for parts of a second.
#[cfg(feature = "files")]
#[must_use]
pub fn from_rfc3339(text: &str) -> Option<i64> {
    parse(text).filter(|time| time.nanosecond() == 0).map(OffsetDateTime::unix_timestamp)
}

/// Reads a time of RFC 3339 as whole seconds since the epoch, rounded down. `None` for any other text.
#[cfg(feature = "files")]
#[must_use]
pub fn from_rfc3339_rounded(text: &str) -> Option<i64> {
    parse(text).map(OffsetDateTime::unix_timestamp)
}

#[cfg(feature = "files")]
fn parse(text: &str) -> Option<OffsetDateTime> {
    // The parser takes any character between date and time.
    let is_separated = matches!(text.as_bytes().get(10), Some(b'T' | b't' | b' '));
    OffsetDateTime::parse(text, &Rfc3339).ok().filter(|_| is_separated)
}

/// The time that is left until a deadline in milliseconds since the epoch, as Lambda states it.
#[must_use]
pub fn until_millis(deadline: u64, now: SystemTime) -> Duration {
    Duration::from_millis(deadline).saturating_sub(since_epoch(now))
}

/// A moment as RFC 3339 has it, in UTC and to the millisecond.
#[must_use]
pub(crate) fn rfc3339_millis(now: SystemTime) -> Option<String> {
    let nanoseconds = i128::from(millis(now)).checked_mul(1_000_000)?;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok()?.format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_whole_and_never_negative() {
        let at = |millis: u64| UNIX_EPOCH + Duration::from_millis(millis);
        assert_eq!((seconds(at(0)), seconds(at(999)), seconds(at(1_000)), seconds(at(1_999))), (0, 0, 1, 1));
        assert_eq!((millis(at(1_999)), since_epoch(at(1_999))), (1_999, Duration::from_millis(1_999)));
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!((seconds(before), millis(before), since_epoch(before)), (0, 0, Duration::ZERO));
    }

    #[test]
    fn a_deadline_that_has_passed_leaves_no_time() {
        let now = UNIX_EPOCH + Duration::from_secs(100);
        for (deadline, left) in [(0, 0), (99_999, 0), (100_000, 0), (100_001, 1), (102_500, 2_500)] {
            assert_eq!(until_millis(deadline, now), Duration::from_millis(left));
        }
    }

    #[cfg(feature = "files")]
    #[test]
    fn times_of_rfc_3339_are_read_to_the_second() {
        for (text, seconds) in [
            ("2027-01-15T08:00:00Z", Some(1_800_000_000)),
            ("2027-01-15t08:00:00z", Some(1_800_000_000)),
            ("2027-01-15 09:30:00+01:30", Some(1_800_000_000)),
            ("2027-01-15T08:00:00.000Z", Some(1_800_000_000)),
            ("1969-12-31T23:59:59Z", Some(-1)),
            ("2027-01-15T08:00:00.5Z", None),
            ("2027-01-15T08:00:60Z", None),
            ("2027-01-15_08:00:00Z", None),
            ("2027-01-15T08:00:00", None),
            ("2027-02-30T08:00:00Z", None),
            ("2027-01-15", None),
            ("1800000000", None),
            ("", None),
        ] {
            assert_eq!(from_rfc3339(text), seconds, "{text}");
            assert!(seconds.is_none() || from_rfc3339_rounded(text) == seconds, "{text}");
        }
        assert_eq!(from_rfc3339_rounded("2027-01-15T08:00:00.999Z"), Some(1_800_000_000));
        assert_eq!(from_rfc3339_rounded("1969-12-31T23:59:59.5Z"), Some(-1));
        assert_eq!(from_rfc3339_rounded("2027-01-15T08:00:00.Z"), None);
    }

    #[test]
    fn a_year_of_five_digits_is_not_written() {
        assert_eq!(rfc3339(1_800_000_000).as_deref(), Some("2027-01-15T08:00:00Z"));
        assert_eq!((rfc3339(253_402_300_799).is_some(), rfc3339(253_402_300_800)), (true, None));
        let now = UNIX_EPOCH + Duration::from_millis(1_800_000_000_250);
        assert_eq!(rfc3339_millis(now).as_deref(), Some("2027-01-15T08:00:00.25Z"));
    }
}
