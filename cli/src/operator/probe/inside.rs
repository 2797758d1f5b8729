//! What does an operator see of a stack?
//!
//! Everything is asked by calls that read. `ReaderPolicy` allows each of them.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aws_sdk_cloudformation::types::Stack as Description;
use aws_sdk_cloudwatch::types::{MetricAlarm, StateValue};
use aws_sdk_dynamodb::types::{PointInTimeRecoveryStatus, TableStatus, TimeToLiveStatus};
use hallpass::identity::Issuer;
use hallpass::net::aws::SdkConfig;
use hallpass::read::rule::Severity;
use hyper::header::HeaderValue;

use super::report::{Report, counted};
use crate::failure::Failure;
use crate::operator::grants::{Linted, client as dynamodb, issuers_of_stack, lint_table};
use crate::operator::key;
use crate::operator::stack::{Account, Stack, describe, needed};
use crate::outside::server::ServerUrl;

/// The alarms of the template. CloudFormation names them `STACK-NAME-RANDOM`.
pub(super) const ALARMS: [&str; 7] = [
    "BrokerKeyOld",
    "BrokerKeyRefused",
    "FunctionThrottled",
    "GatewayThrottled",
    "GrantUnusable",
    "KeyRotationFailed",
    "ServerErrors",
];
/// The attribute by which DynamoDB deletes spent tokens.
const EXPIRY: &str = "expires_at";
/// Findings of the linter that are listed. More are counted.
const MOST_FINDINGS: usize = 100;
/// A stack is this old before the age of its key must be known. The rotator reports it every hour.
const REPORTS_BY: Duration = Duration::from_hours(4);
/// Pages of alarms, of 50 each: more than any account has of one stack's name.
const MOST_PAGES: usize = 20;
const DEPLOY: &str =
    "somebody changed it by hand; CloudFormation's drift detection says what else, and a deployment fixes it";

/// A stack, as CloudFormation describes it.
#[derive(Debug)]
pub(super) struct Inside {
    name: String,
    sdk: SdkConfig,
    description: Description,
    stack: Stack,
    grants: String,
    state: String,
}

impl Inside {
    /// Asks CloudFormation.
    pub(super) async fn find(name: &str, account: &Account) -> Result<Self, Failure> {
        let sdk = account.sdk().await?;
        let description = describe(name, &sdk).await?;
        Ok(Self {
            stack: Stack::of(name, &description)?,
            grants: needed(&description, name, "GrantsTable")?,
            state: needed(&description, name, "StateTable")?,
            name: name.to_owned(),
            sdk,
            description,
        })
    }

    /// The URL that people type.
    pub(super) fn url(&self) -> Result<String, Failure> {
        needed(&self.description, &self.name, "Url")
    }

    /// The configured issuers.
    pub(super) fn issuers(&self) -> Result<Vec<Issuer>, Failure> {
        issuers_of_stack(&needed(&self.description, &self.name, "Issuers")?)
    }

    /// The origins that web pages may call from, if the stack has the parameter.
    pub(super) fn allowed_origins(&self) -> Option<Vec<HeaderValue>> {
        let parameters = self.description.parameters();
        let parameter = parameters.iter().find(|parameter| parameter.parameter_key() == Some("AllowedOrigins"))?;
        let origins = parameter.parameter_value().unwrap_or_default().split(',').filter(|origin| !origin.is_empty());
        Some(origins.filter_map(|origin| HeaderValue::from_str(origin).ok()).collect())
    }

    /// Looks at all of it.
    pub(super) async fn look(&self, server: &ServerUrl, now: SystemTime, report: &mut Report) {
        self.stack(server, report);
        self.tables(report).await;
        self.recovery(report).await;
        self.expiry(report).await;
        self.alarms(now, report).await;
        self.broker_key(now, report).await;
        self.items(report).await;
    }

    fn stack(&self, server: &ServerUrl, report: &mut Report) {
        const CHECK: &str = "stack";
        let status = self.description.stack_status().map_or("", |status| status.as_str());
        let name = &self.name;
        match judge_status(status) {
            Standing::Wrong => {
                let help = "the stack's events in CloudFormation say why; deploy again";
                report.problem(CHECK, format!("the stack `{name}` is {status}"), help);
            }
            Standing::Unusual => {
                let help = "the stack's events in CloudFormation say what happens, or why it was rolled back";
                report.note(CHECK, format!("the stack `{name}` is {status}"), help);
            }
            Standing::Right => report.ok(CHECK, format!("the stack `{name}` is {status}")),
        }
        let own = self.url().ok().and_then(|url| ServerUrl::parse(&url).ok());
        if let Some(own) = own.filter(|own| own != server) {
            let text = format!("the URL of the stack is {own}, and {server} was probed");
            report.note(CHECK, text, "leave --url out to probe the stack's own");
        }
    }

    async fn tables(&self, report: &mut Report) {
        const CHECK: &str = "tables";
        for table in [&self.grants, &self.state] {
            let asked = dynamodb(&self.sdk).describe_table().table_name(table).send().await;
            let asked = asked.map_err(Failure::to(format!("describe the table `{table}`"), "dynamodb:DescribeTable"));
            match asked.map(|answer| answer.table.and_then(|table| table.table_status)) {
                // Both serve while they change.
                Ok(Some(TableStatus::Active | TableStatus::Updating)) => {
                    report.ok(CHECK, format!("the table `{table}` is there"));
                }
                Ok(status) => {
                    let status = status.map_or_else(|| "of unknown status".into(), |status| status.to_string());
                    let help = "every request is refused while it is so; the runbook's \"Restore a table\"";
                    report.problem(CHECK, format!("the table `{table}` is {status}"), help);
                }
                Err(failure) => {
                    let help = "every request is refused without it; the runbook's \"Restore a table\"";
                    report.failure(CHECK, &failure, help);
                }
            }
        }
    }

    async fn recovery(&self, report: &mut Report) {
        const CHECK: &str = "recovery";
        for table in [&self.grants, &self.state] {
            let asked = dynamodb(&self.sdk).describe_continuous_backups().table_name(table).send().await;
            let what = format!("see the backups of the table `{table}`");
            let asked = asked.map_err(Failure::to(what, "dynamodb:DescribeContinuousBackups"));
            let status = asked.map(|answer| {
                let backups = answer.continuous_backups_description?.point_in_time_recovery_description?;
                backups.point_in_time_recovery_status
            });
            match status {
                Ok(Some(PointInTimeRecoveryStatus::Enabled)) => {
                    report.ok(CHECK, format!("the table `{table}` can be restored to any second"));
                }
                Ok(_) => {
                    report.problem(CHECK, format!("point-in-time recovery is off for the table `{table}`"), DEPLOY);
                }
                Err(failure) => report.failure(CHECK, &failure, DEPLOY),
            }
        }
    }

    async fn expiry(&self, report: &mut Report) {
        const CHECK: &str = "expiry";
        let table = &self.state;
        let asked = dynamodb(&self.sdk).describe_time_to_live().table_name(table).send().await;
        let what = format!("see the expiry of the table `{table}`");
        let asked = asked.map_err(Failure::to(what, "dynamodb:DescribeTimeToLive"));
        let found = match asked.map(|answer| answer.time_to_live_description) {
            Ok(found) => found,
            Err(failure) => return report.failure(CHECK, &failure, DEPLOY),
        };
        let is_on = found.as_ref().is_some_and(|found| {
            matches!(found.time_to_live_status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling))
                && found.attribute_name.as_deref() == Some(EXPIRY)
        });
        if is_on {
            report.ok(CHECK, format!("spent tokens in the table `{table}` are deleted"));
        } else {
            let text =
                format!("spent tokens in the table `{table}` are never deleted: its expiry by `{EXPIRY}` is off");
            report.problem(CHECK, text, DEPLOY);
        }
    }

    async fn alarms(&self, now: SystemTime, report: &mut Report) {
        const CHECK: &str = "alarms";
        let found = match self.alarms_by_name().await {
            Ok(found) => found,
            Err(failure) => return report.failure(CHECK, &failure, "allow it, or look at the alarms yourself"),
        };
        let before = report.checks().len();
        // A stack of which nobody knows the age is not new.
        let created = self.description.creation_time().and_then(|created| SystemTime::try_from(*created).ok());
        let is_new = created.is_some_and(|created| is_new(created, now));
        for name in ALARMS {
            match found.get(name) {
                None => report.problem(CHECK, format!("the alarm `{name}` of the stack does not exist"), DEPLOY),
                Some(alarm) => judge_alarm(name, alarm, is_new, report),
            }
        }
        if !found.is_empty() && found.values().all(|alarm| alarm.alarm_actions().is_empty()) {
            report.note(CHECK, "nobody gets a message when an alarm goes off", "set `AlarmTopicArn` and deploy");
        }
        if report.checks().len() == before {
            report.ok(CHECK, format!("none of the {} alarms has gone off", ALARMS.len()));
        }
    }

    /// The stack's alarms by their names in the template.
    async fn alarms_by_name(&self) -> Result<BTreeMap<&'static str, MetricAlarm>, Failure> {
        let client = aws_sdk_cloudwatch::Client::new(&self.sdk);
        let mut alarms = BTreeMap::new();
        let mut from = None;
        for _ in 0..MOST_PAGES {
            let asked = client.describe_alarms().alarm_name_prefix(format!("{}-", self.name)).set_next_token(from);
            let page = asked.send().await.map_err(Failure::to("see the alarms", "cloudwatch:DescribeAlarms"))?;
            for alarm in page.metric_alarms.unwrap_or_default() {
                let name = alarm.alarm_name().and_then(|name| logical_name(&self.name, name));
                alarms.extend(name.map(|name| (name, alarm)));
            }
            from = page.next_token.filter(|token| !token.is_empty());
            if from.is_none() {
                return Ok(alarms);
            }
        }
        Err(Failure::new("CloudWatch lists too many alarms"))
    }

    async fn broker_key(&self, now: SystemTime, report: &mut Report) {
        const CHECK: &str = "broker-key";
        match key::problems(&self.stack, &self.sdk, now).await {
            Ok(problems) if problems.is_empty() => report.ok(CHECK, "it is as it should be"),
            Ok(problems) => problems.iter().for_each(|(problem, remedy)| report.problem(CHECK, problem, remedy)),
            Err(failure) => report.failure(CHECK, &failure, "see `hallpass key status`"),
        }
    }

    async fn items(&self, report: &mut Report) {
        const CHECK: &str = "grants";
        let issuers = self.issuers().ok();
        let Linted { items, findings } = match lint_table(&self.sdk, &self.grants, issuers.as_deref()).await {
            Ok(linted) => linted,
            Err(failure) => return report.failure(CHECK, &failure, "see `hallpass grants export`"),
        };
        let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
        for finding in findings.iter().take(MOST_FINDINGS) {
            let text = format!("{}: {}", finding.item, finding.says);
            let help = finding.help.as_deref();
            match finding.severity {
                Severity::Error => {
                    let help = help.unwrap_or("correct the item: its people are refused, each of them");
                    report.problem(CHECK, text, help);
                }
                Severity::Warning => report.note(CHECK, text, help.unwrap_or("see docs/grants.md")),
            }
        }
        let left = findings.len().saturating_sub(MOST_FINDINGS);
        if left > 0 {
            let text = format!("{} not listed", counted(left, "finding"));
            report.note(CHECK, text, "`hallpass grants export`, then `hallpass grants lint`, list them all");
        }
        if errors == 0 {
            report.ok(CHECK, format!("{} can be read, and each can be used", counted(items, "item")));
        }
    }
}

/// How a stack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Right,
    Unusual,
    Wrong,
}

fn judge_status(status: &str) -> Standing {
    match status {
        "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "IMPORT_COMPLETE" => Standing::Right,
        "UPDATE_ROLLBACK_COMPLETE" | "IMPORT_ROLLBACK_COMPLETE" => Standing::Unusual,
        _ if status.ends_with("_IN_PROGRESS") && !status.starts_with("DELETE") => Standing::Unusual,
        _ => Standing::Wrong,
    }
}

fn logical_name(stack: &str, alarm: &str) -> Option<&'static str> {
    let (logical, random) = alarm.strip_prefix(stack)?.strip_prefix('-')?.split_once('-')?;
    // Another stack's name may begin as this one's, and go on with the name of an alarm.
    let is_random = !random.is_empty() && random.bytes().all(|byte| byte.is_ascii_alphanumeric());
    ALARMS.into_iter().find(|name| *name == logical && is_random)
}

fn is_new(created: SystemTime, now: SystemTime) -> bool {
    now.duration_since(created).unwrap_or_default() < REPORTS_BY
}

fn judge_alarm(name: &str, alarm: &MetricAlarm, is_new: bool, report: &mut Report) {
    const CHECK: &str = "alarms";
    const HELP: &str = "the runbook's \"When an alarm goes off\" says what it means and what to do";
    if alarm.actions_enabled() == Some(false) && !alarm.alarm_actions().is_empty() {
        report.note(CHECK, format!("the actions of `{name}` are off"), "nobody gets a message; turn them on again");
    }
    match alarm.state_value() {
        Some(StateValue::Alarm) => report.problem(CHECK, format!("`{name}` has gone off"), HELP),
        // Missing data means something only for this one: the others take it for good news.
        Some(StateValue::InsufficientData) if name == "BrokerKeyOld" => {
            let text = format!("`{name}` has no data: the rotator has not reported the key's age");
            if is_new {
                report.note(CHECK, text, "in a new stack it comes within the hour; run the probe again then");
            } else {
                let help = "the rotator runs every hour, and does not: the runbook's \"A rotation failed\" and \"The broker \
                            key is old\" say where to look";
                report.problem(CHECK, text, help);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::*;

    #[test]
    fn the_alarms_are_those_of_the_template() {
        let template = include_str!("../../../../template.yaml").lines().collect::<Vec<_>>();
        let is_alarm = |pair: &&[&str]| pair[1].trim() == "Type: AWS::CloudWatch::Alarm";
        let mut names: Vec<&str> =
            template.windows(2).filter(is_alarm).map(|pair| pair[0].trim().trim_end_matches(':')).collect();
        names.sort_unstable();
        assert_eq!(names, ALARMS);
    }

    #[test]
    fn an_alarm_is_known_by_the_name_that_cloudformation_makes() {
        for (name, logical) in [
            ("hallpass-ServerErrors-1ABCDEFGHIJKL", Some("ServerErrors")),
            ("hallpass-prod-ServerErrors-1ABCDEFGHIJKL", None),
            ("hallpass-ServerErrors-prod-ServerErrors-1ABC", None),
            ("hallpass-ServerErrors", None),
            ("hallpass-ServerErrors-", None),
            ("hallpass-Other-1ABC", None),
            ("other", None),
        ] {
            assert_eq!(logical_name("hallpass", name), logical, "{name}");
        }
        assert_eq!(logical_name("hallpass-prod", "hallpass-prod-BrokerKeyOld-X1"), Some("BrokerKeyOld"));
    }

    #[test]
    fn only_a_new_stack_may_lack_the_age_of_its_key() {
        let judged = |name: &str, state: StateValue, is_new: bool| {
            let mut report = Report::default();
            judge_alarm(name, &MetricAlarm::builder().state_value(state).build(), is_new, &mut report);
            report.checks().iter().map(|check| check.status).collect::<Vec<_>>()
        };
        assert_eq!(judged("BrokerKeyOld", StateValue::InsufficientData, true), [Status::Note]);
        assert_eq!(judged("BrokerKeyOld", StateValue::InsufficientData, false), [Status::Problem]);
        assert_eq!(judged("ServerErrors", StateValue::InsufficientData, false), []);
        assert_eq!(judged("BrokerKeyOld", StateValue::Ok, false), []);
        assert_eq!(judged("BrokerKeyOld", StateValue::Alarm, true), [Status::Problem]);
    }

    #[test]
    fn a_stack_is_new_for_four_hours() {
        let created = SystemTime::UNIX_EPOCH + Duration::from_hours(1_000);
        for (age, expected) in [(0, true), (14_399, true), (14_400, false), (1_000_000, false)] {
            assert_eq!(is_new(created, created + Duration::from_secs(age)), expected, "{age}");
        }
        assert!(is_new(created, created - Duration::from_secs(9)), "clocks differ");
    }

    #[test]
    fn a_stack_that_failed_is_a_problem_and_one_that_changes_is_not() {
        for (status, standing) in [
            ("CREATE_COMPLETE", Standing::Right),
            ("UPDATE_COMPLETE", Standing::Right),
            ("UPDATE_IN_PROGRESS", Standing::Unusual),
            ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", Standing::Unusual),
            ("UPDATE_ROLLBACK_COMPLETE", Standing::Unusual),
            ("UPDATE_ROLLBACK_FAILED", Standing::Wrong),
            ("ROLLBACK_COMPLETE", Standing::Wrong),
            ("DELETE_IN_PROGRESS", Standing::Wrong),
            ("DELETE_FAILED", Standing::Wrong),
            ("", Standing::Wrong),
        ] {
            assert_eq!(judge_status(status), standing, "{status}");
        }
    }
}
