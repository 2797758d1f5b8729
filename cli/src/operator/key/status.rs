//! Is the broker key as it should be?

use std::time::Duration;

use aws_sdk_secretsmanager::types::RotationRulesType;
use hallpass::credentials::broker_key_schedule::{AGE_LIMIT, PREVIOUS_KEY_LIMIT};
use serde::Serialize;

use super::{AccessKey, BrokerKey, CURRENT, LastUse, PENDING, Time, has};
use crate::failure::Failure;

/// A rotation that takes longer is a problem. One takes a minute or so, and one more attempt of Secrets Manager as long.
const ROTATION_LIMIT: Duration = Duration::from_mins(10);

/// All that is known of the broker key without reading it.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    stack: String,
    secret: String,
    user: String,
    rotation: Schedule,
    last_changed: Option<Time>,
    versions: Vec<Version>,
    keys: Vec<AccessKey>,
    problems: Vec<Problem>,
    #[serde(skip)]
    rotator_log: String,
    #[serde(skip)]
    now: Time,
}

#[derive(Debug, Serialize)]
struct Schedule {
    enabled: bool,
    interval: Option<String>,
    last: Option<Time>,
    next: Option<Time>,
}

/// A version of the secret that has a label.
#[derive(Debug, Serialize)]
struct Version {
    id: String,
    stages: Vec<String>,
    created: Option<Time>,
}

/// What is wrong, and what helps.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Problem {
    problem: String,
    remedy: String,
}

impl Status {
    /// Asks AWS, and judges.
    pub(super) async fn of(key: &BrokerKey, now: Time) -> Result<Self, Failure> {
        let secret = key.secret().await?;
        let mut status = Self {
            stack: key.stack.name.clone(),
            secret: key.stack.secret.clone(),
            user: key.stack.user.clone(),
            rotation: Schedule {
                enabled: secret.rotation_enabled.unwrap_or_default(),
                interval: secret.rotation_rules.and_then(interval),
                last: secret.last_rotated_date.map(Time::from),
                next: secret.next_rotation_date.map(Time::from),
            },
            last_changed: secret.last_changed_date.map(Time::from),
            versions: key.versions().await?,
            keys: key.used_keys().await?,
            problems: Vec::new(),
            rotator_log: key.stack.rotator_log(),
            now,
        };
        status.problems = status.problems();
        Ok(status)
    }

    pub(super) fn is_fine(&self) -> bool {
        self.problems.is_empty()
    }

    /// Each problem, and what helps.
    pub(super) fn into_problems(self) -> Vec<(String, String)> {
        self.problems.into_iter().map(|Problem { problem, remedy }| (problem, remedy)).collect()
    }

    fn problems(&self) -> Vec<Problem> {
        let log = &self.rotator_log;
        let rotate = format!("`hallpass key rotate --stack {}`", self.stack);
        let mut problems = Vec::new();
        let mut add = |problem, remedy| problems.push(Problem { problem, remedy });
        if !self.rotation.enabled {
            add("rotation is off".into(), format!("{rotate} turns it on again, with a new key"));
        }
        let unfinished = |version: &&Version| {
            // A rotation in progress shows as the version's label, and is not a problem.
            let is_late = version.created.is_none_or(|began| self.now.since(began) > ROTATION_LIMIT.as_secs());
            has(&version.stages, PENDING) && !has(&version.stages, CURRENT) && is_late
        };
        if let Some(version) = self.versions.iter().find(unfinished) {
            let began =
                version.created.map_or_else(String::new, |began| format!(" that began {} ago", self.ago(began)));
            add(
                format!("a rotation{began} has not finished (version {})", version.id),
                format!("a rotation takes some minutes; {log} says what prevents this one, and {rotate} tries again"),
            );
        }
        let active = || self.keys.iter().filter(|key| key.active);
        let newest = active().map(|key| key.created).max();
        if self.keys.is_empty() {
            add("the stack has not made a key yet, and nobody gets credentials".into(), format!("{rotate} makes one"));
        } else if newest.is_none() {
            add("no key is active, and nobody gets credentials".into(), format!("{rotate} makes a new one"));
        }
        let unchanged_for = self.now.since(self.last_changed.max(newest).unwrap_or(Time(0)));
        if active().count() > 1 && unchanged_for > PREVIOUS_KEY_LIMIT.as_secs() {
            add(
                format!("{} keys are active, {} after the last change", active().count(), length(unchanged_for)),
                format!("the rotator's hourly run deactivates the previous key; {log} says why it did not"),
            );
        }
        if let Some(newest) = newest.filter(|newest| self.now.since(*newest) > AGE_LIMIT.as_secs()) {
            add(
                format!("the newest active key is {} old", self.ago(newest)),
                format!("{log} says why no rotation replaced it; {rotate} starts one now"),
            );
        }
        problems
    }

    fn ago(&self, time: Time) -> String {
        length(self.now.since(time))
    }

    /// For people, without a newline at the end.
    pub(super) fn text(&self) -> String {
        let mut lines = vec![
            ("stack", self.stack.clone()),
            ("secret", self.secret.clone()),
            ("rotation", self.rotation.text(self.now)),
        ];
        let stages = |version: &Version| version.stages.join(", ");
        let width = self.versions.iter().map(|version| stages(version).len()).max().unwrap_or_default();
        lines.extend(self.versions.iter().map(|version| {
            let made = version.created.map_or_else(String::new, |created| format!("  made {} ago", self.ago(created)));
            ("version", format!("{}  {:width$}{made}", version.id, stages(version)))
        }));
        lines.push(("user", self.user.clone()));
        lines.extend(self.keys.iter().map(|key| {
            let used = key.last_used.as_ref().map_or("never used".into(), |LastUse { at, service, region }| {
                format!("last used {} ago ({service} in {region})", self.ago(*at))
            });
            ("key", format!("{}  {:8}  made {} ago, {used}", key.id, key.state(), self.ago(key.created)))
        }));
        if self.problems.is_empty() {
            lines.push(("problems", "none".into()));
        }
        for Problem { problem, remedy } in &self.problems {
            lines.extend([("", String::new()), ("problem", problem.clone()), ("remedy", remedy.clone())]);
        }
        let lines = lines.into_iter().map(|(label, fact)| format!("{label:10}{fact}").trim_end().to_owned());
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl Schedule {
    fn text(&self, now: Time) -> String {
        let state = match &self.interval {
            _ if !self.enabled => "off",
            Some(interval) => interval,
            None => "on",
        };
        let last = self.last.map_or("none yet".into(), |last| format!("last {} ago", length(now.since(last))));
        let next = match self.next {
            _ if !self.enabled => String::new(),
            Some(next) if next < now => format!(", next was due {} ago", length(now.since(next))),
            Some(next) => format!(", next in {}", length(next.since(now))),
            None => String::new(),
        };
        format!("{state}, {last}{next}")
    }
}

impl BrokerKey {
    /// The versions that have a label, the newest first. There are 20 labels at most.
    async fn versions(&self) -> Result<Vec<Version>, Failure> {
        let secret = &self.stack.secret;
        let asked = self.secrets.list_secret_version_ids().secret_id(secret).send().await;
        let what = format!("list the versions of the secret `{secret}`");
        let listed = asked.map_err(Failure::to(what, "secretsmanager:ListSecretVersionIds"))?.versions;
        let mut versions: Vec<_> = listed
            .unwrap_or_default()
            .into_iter()
            .map(|version| Version {
                id: version.version_id.unwrap_or_default(),
                stages: version.version_stages.unwrap_or_default(),
                created: version.created_date.map(Time::from),
            })
            .collect();
        versions.sort_by_key(|version| std::cmp::Reverse(version.created));
        Ok(versions)
    }

    /// The access keys of the user with their last use, the newest first.
    async fn used_keys(&self) -> Result<Vec<AccessKey>, Failure> {
        let mut keys = self.access_keys().await?;
        keys.sort_by_key(|key| std::cmp::Reverse(key.created));
        for key in &mut keys {
            let asked = self.iam.get_access_key_last_used().access_key_id(&key.id).send().await;
            let what = format!("find the last use of the access key `{}`", key.id);
            let used = asked.map_err(Failure::to(what, "iam:GetAccessKeyLastUsed"))?.access_key_last_used;
            key.last_used = used.and_then(|used| {
                // A key that was never used has no date, and `N/A` for the rest.
                Some(LastUse { at: used.last_used_date?.into(), service: used.service_name, region: used.region })
            });
        }
        Ok(keys)
    }
}

fn interval(rules: RotationRulesType) -> Option<String> {
    let days = rules.automatically_after_days.map(|days| format!("every {days} days"));
    days.or(rules.schedule_expression)
}

/// `90 s`, `90 min`, `47 h` or `12 days`: whole ones of the largest unit that makes two of them.
fn length(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;
    const DAY: i64 = 86_400;

    fn ago(seconds: i64) -> Time {
        Time(NOW - seconds)
    }

    fn key(active: bool, created: Time) -> AccessKey {
        AccessKey { id: "AKIAEXAMPLE".into(), active, created, last_used: None }
    }

    fn version(stages: &[&str]) -> Version {
        Version {
            id: "v".into(),
            stages: stages.iter().map(|stage| (*stage).to_owned()).collect(),
            created: Some(ago(3_600)),
        }
    }

    /// A key that was replaced an hour ago, as it should be.
    fn sound() -> Status {
        Status {
            stack: "hallpass".into(),
            secret: "arn".into(),
            user: "user".into(),
            rotation: Schedule { enabled: true, interval: None, last: Some(ago(3_600)), next: Some(ago(-30 * DAY)) },
            last_changed: Some(ago(3_600)),
            versions: vec![version(&[CURRENT]), version(&["AWSPREVIOUS"])],
            keys: vec![key(true, ago(3_600)), key(true, ago(30 * DAY))],
            problems: Vec::new(),
            rotator_log: "the log".into(),
            now: Time(NOW),
        }
    }

    fn problems_with(change: impl FnOnce(&mut Status)) -> Vec<String> {
        let mut status = sound();
        change(&mut status);
        status.problems().into_iter().map(|problem| problem.problem).collect()
    }

    #[test]
    fn a_sound_key_has_no_problem() {
        assert_eq!(problems_with(|_| {}), [""; 0]);
    }

    #[test]
    fn the_previous_key_may_stay_active_for_75_minutes_after_whatever_changed_last() {
        let since = |changed: i64, made: i64| {
            problems_with(|status| {
                status.last_changed = Some(ago(changed));
                status.keys = vec![key(true, ago(made)), key(true, ago(30 * DAY))];
            })
        };
        let limit = 75 * 60;
        for (changed, made) in [(limit, limit), (limit, 40 * DAY), (40 * DAY, limit)] {
            assert_eq!(since(changed, made), [""; 0]);
        }
        assert_eq!(since(limit + 1, limit + 1), ["2 keys are active, 75 min after the last change"]);
    }

    #[test]
    fn the_newest_active_key_may_have_45_days() {
        let aged = |days: i64, more: i64| {
            problems_with(|status| status.keys = vec![key(true, ago(days * DAY + more)), key(false, ago(0))])
        };
        assert_eq!(aged(45, 0), [""; 0]);
        assert_eq!(aged(45, 1), ["the newest active key is 45 days old"]);
    }

    #[test]
    fn a_pending_label_beside_the_current_one_is_a_rotation_that_finished() {
        assert_eq!(problems_with(|status| status.versions = vec![version(&[CURRENT, PENDING])]), [""; 0]);
        let unfinished = problems_with(|status| status.versions.push(version(&[PENDING])));
        assert_eq!(unfinished, ["a rotation that began 60 min ago has not finished (version v)"]);
    }

    #[test]
    fn a_rotation_may_take_10_minutes() {
        let mut status = sound();
        let mut began = |created| {
            status.versions = vec![version(&[CURRENT]), Version { created, ..version(&[PENDING]) }];
            (status.problems().len(), status.text())
        };
        let (problems, text) = began(Some(ago(5)));
        assert_eq!(problems, 0);
        assert!(text.contains("AWSPENDING  made 5 s ago"), "it is told all the same: {text}");
        assert_eq!(began(Some(ago(600))).0, 0);
        assert_eq!(began(Some(ago(601))).0, 1);
        assert_eq!(began(None).0, 1, "nobody knows when it began");
    }

    #[test]
    fn each_problem_stands_by_itself() {
        let all = problems_with(|status| {
            status.rotation.enabled = false;
            status.versions.push(version(&[PENDING]));
            status.keys = vec![key(true, ago(50 * DAY)), key(true, ago(60 * DAY))];
            status.last_changed = None;
        });
        assert_eq!(all.len(), 4, "{all:?}");
        assert!(problems_with(|status| status.keys.clear())[0].starts_with("the stack has not made a key yet"));
        assert!(problems_with(|status| status.keys = vec![key(false, ago(0))])[0].starts_with("no key is active"));
    }

    #[test]
    fn a_length_is_told_in_a_unit_that_fits() {
        for (seconds, told) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7_199, "119 min"),
            (7_200, "2 h"),
            (172_799, "47 h"),
            (172_800, "2 days"),
            (u64::MAX, "213503982334601 days"),
        ] {
            assert_eq!(length(seconds), told);
        }
    }

    #[test]
    fn the_next_rotation_is_told_while_there_is_one() {
        let schedule = |enabled, next| Schedule { enabled, interval: Some("every 30 days".into()), last: None, next };
        for (schedule, told) in [
            (schedule(true, Some(ago(-18 * DAY))), "every 30 days, none yet, next in 18 days"),
            (schedule(true, Some(ago(7_200))), "every 30 days, none yet, next was due 2 h ago"),
            (schedule(true, None), "every 30 days, none yet"),
            (schedule(false, Some(ago(0))), "off, none yet"),
        ] {
            assert_eq!(schedule.text(Time(NOW)), told);
        }
    }

    #[test]
    fn a_time_is_rfc_3339_and_one_ahead_is_no_age() {
        assert_eq!(Time(NOW).to_string(), "2027-01-15T08:00:00Z");
        assert_eq!(Time(i64::MAX).to_string(), "9223372036854775807 s after 1970");
        assert_eq!(Time(NOW).since(ago(-5)), 0);
    }
}
