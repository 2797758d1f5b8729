//! When is a broker key replaced, and how long does the key before it still work?
//!
//! The rotator, the broker and `hallpass key status` agree on these times. `template.yaml` repeats two of them, and the
//! tests below compare the two.

use std::time::Duration;

/// The previous key stays active for at least this long after a rotation. A function that read the secret just before
/// the rotation still has that key. It reads the secret again within 5 minutes of requests, or when STS refuses the key.
pub const OVERLAP: Duration = Duration::from_mins(15);

/// The rotator runs this often, and deactivates a previous key whose overlap is over.
const RUN_EVERY: Duration = Duration::from_hours(1);

/// A previous key that is still active after this time is a problem: every run since the end of the overlap has failed.
pub const PREVIOUS_KEY_LIMIT: Duration = OVERLAP.saturating_add(RUN_EVERY);

/// A current key of this age is a problem: rotations replace it after 30 days by default, and after 40 at most.
pub const AGE_LIMIT: Duration = Duration::from_hours(45 * 24);

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = include_str!("../../template.yaml");

    /// The lines of one resource or parameter of the template.
    fn part(name: &str) -> impl Iterator<Item = &'static str> {
        let lines = TEMPLATE.lines().skip_while(move |line| *line != format!("  {name}:")).skip(1);
        lines.take_while(|line| line.is_empty() || line.starts_with("   "))
    }

    fn number(part_name: &str, member: &str) -> u64 {
        let value = part(part_name).find_map(|line| line.trim().strip_prefix(&format!("{member}: ")));
        value.and_then(|value| value.split(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("{part_name}.{member}"))
    }

    #[test]
    fn the_template_has_the_same_times() {
        assert_eq!(number("BrokerKeyOld", "Threshold"), AGE_LIMIT.as_secs());
        let days = format!("{} days", AGE_LIMIT.as_secs() / 86_400);
        for name in ["BrokerKeyOld", "RotationDays"] {
            assert!(part(name).any(|line| line.contains(&days)), "{name} does not name {days}");
        }
        assert_eq!(RUN_EVERY, Duration::from_hours(1));
        let schedules: Vec<_> = TEMPLATE.lines().filter(|line| line.contains("ScheduleExpression: ")).collect();
        assert_eq!(schedules, ["      ScheduleExpression: rate(1 hour)"]);
    }
}
