//! Are lines read strictly, and joined to the right sessions?
//!
//! The lines are the real writer's.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hallpass::audit::{Audit, MatchedItem, Namespace, Outcome, Record};
use hallpass::grants::Principal;
use hallpass::session::FederatedName;
use hallpass::wire::Code;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::line::{Line, Read, Written};
use super::sessions::Sessions;
use super::{Meant, quoted};

const KEY: &str = "ASIAIOSFODNN7EXAMPLE";

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn record(subject: &str, request: usize) -> Record {
    Record {
        request_id: format!("request-{request}="),
        lambda_request_id: "5c2b6a1e-0000-4000-8000-000000000001".into(),
        source_ip: Some("203.0.113.7".into()),
        user_agent: Some("aws-cli/2".into()),
        issuer: Some("corp".into()),
        subject: Some(subject.into()),
        grant: Some("deploy".into()),
        matched: vec![MatchedItem { principal: "corp/group/deployers".into(), revision: None }],
        policy_sha256: Some("a".repeat(64)),
        federated_name: Some(FederatedName::of_subject("corp", subject).as_str().to_owned()),
        ..Record::default()
    }
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

/// What the function writes: metrics are among it.
fn written(write: impl FnOnce(&Audit)) -> Vec<String> {
    let buffer = Buffer::default();
    write(&Audit::new(Namespace::default(), buffer.clone()));
    let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn issuing(record: &Record, now: SystemTime) -> Vec<String> {
    written(|audit| audit.issuing(record, now).unwrap())
}

fn issued(mut record: Record, now: SystemTime) -> Vec<String> {
    record.access_key_id = Some(KEY.into());
    record.expiration = Some("2027-01-15T09:00:00Z".into());
    record.measured.wants_credentials = true;
    written(|audit| audit.outcome(&record, &Outcome::Issued, now))
}

fn refused(record: &Record, now: SystemTime) -> Vec<String> {
    let outcome =
        Outcome::Refused { code: Code::TemporarilyUnavailable, reason: "throttled", detail: "STS is throttled".into() };
    written(|audit| audit.outcome(record, &outcome, now))
}

fn line(text: &str) -> Line {
    match Line::read(text) {
        Read::Line(line) => *line,
        other @ (Read::Other | Read::Malformed) => panic!("{other:?}: {text}"),
    }
}

/// The one line that is not a metric.
fn audit_line(lines: &[String]) -> &str {
    let mut lines = lines.iter().filter(|text| !matches!(Line::read(text), Read::Other));
    let line = lines.next().unwrap();
    assert_eq!(lines.next(), None);
    line
}

#[test]
fn the_functions_own_lines_are_read() {
    let record = record("carol", 1);
    let before = line(audit_line(&issuing(&record, at(0))));
    assert_eq!((before.written, before.seconds), (Written::Issuing, 1_800_000_000));
    assert_eq!((before.caller.as_str(), before.name.as_str()), ("corp/user/carol", "carol-3o2jzrlhnfnb"));
    assert_eq!((before.access_key_id, before.expires), (None, None));
    assert_eq!(before.matched, [Principal::parse("corp/group/deployers").unwrap()]);
    let all = issued(record, at(1));
    assert!(all.len() > 1, "there are metrics: {all:?}");
    let after = line(audit_line(&all));
    assert_eq!(
        (after.written, after.request_id, after.expires),
        (Written::Issued, before.request_id, Some(1_800_003_600))
    );
    assert_eq!((after.access_key_id.as_deref(), after.grant.as_deref()), (Some(KEY), Some("deploy")));
}

#[test]
fn other_lines_of_the_log_group_are_nobodys() {
    let mut unknown = record("carol", 1);
    unknown.federated_name = None;
    let mut texts = refused(&unknown, at(0));
    texts.extend(written(|audit| audit.measure("BrokerKeyAge", "Seconds", 7, at(0))));
    texts.extend(
        ["", "START RequestId: 1", "null", "[]", "7", "{}", r#"{"event":"other"}"#, r#"{"type":"platform.report"}"#]
            .map(str::to_owned),
    );
    for text in texts {
        assert_eq!(Line::read(&text), Read::Other, "{text}");
    }
}

#[test]
fn a_line_that_the_function_does_not_write_is_malformed() {
    let lines = issued(record("carol", 1), at(0));
    let good: Value = serde_json::from_str(audit_line(&lines)).unwrap();
    for (member, value) in [
        ("time", json!("yesterday")),
        ("time", json!(1_800_000_000)),
        ("time", Value::Null),
        ("request_id", json!("")),
        ("request_id", json!("a b")),
        ("request_id", json!("x".repeat(129))),
        ("issuer", json!("Corp")),
        ("issuer", Value::Null),
        ("subject", json!("")),
        ("subject", json!("a\nb")),
        ("subject", json!(7)),
        ("federated_name", json!("a b")),
        ("federated_name", json!("")),
        ("grant", json!("De ploy")),
        ("matched", json!([{"principal": "everyone"}])),
        ("matched", json!("corp/everyone")),
        ("policy_sha256", json!("A".repeat(64))),
        ("source_ip", json!("localhost")),
        ("access_key_id", json!("ASIA")),
        ("access_key_id", Value::Null),
        ("expiration", json!("soon")),
        ("expiration", Value::Null),
        ("code", Value::Null),
    ] {
        let mut bad = good.clone();
        bad[member] = value;
        assert_eq!(Line::read(&bad.to_string()), Read::Malformed, "{member}: {}", bad[member]);
    }
    let text = good.to_string();
    let twice = text.replacen('{', r#"{"subject":"mallory","#, 1);
    assert_eq!(Line::read(&twice), Read::Malformed, "a member that is there twice");
    let before = text.replace(r#""outcome""#, r#""issuing""#);
    assert_eq!(Line::read(&before), Read::Malformed, "before STS is asked, nobody knows how it ends");
    let long = text.replacen('{', &format!(r#"{{"more":"{}","#, "x".repeat(256 * 1024)), 1);
    assert_eq!(Line::read(&long), Read::Malformed);
}

#[test]
fn a_name_that_is_made_from_a_subject_is_only_its_owners() {
    let mut record = record("carol", 1);
    assert!(!line(&issuing(&record, at(0)).concat()).is_refuted());
    record.subject = Some("mallory".into());
    assert!(line(&issuing(&record, at(0)).concat()).is_refuted());
    record.federated_name = Some("carol".into());
    assert!(!line(&issuing(&record, at(0)).concat()).is_refuted(), "the hash says nothing about it");
    let mut sessions = Sessions::default();
    record.federated_name = Some("carol-3o2jzrlhnfnb".into());
    sessions.add(line(&issuing(&record, at(0)).concat()));
    assert_eq!((sessions.refuted, sessions.into_newest_first().len()), (1, 0));
}

#[test]
fn the_two_lines_of_a_request_are_one_session() {
    for is_turned in [false, true] {
        let mut lines = vec![issuing(&record("carol", 1), at(0)), issued(record("carol", 1), at(1))];
        lines.push(issuing(&record("carol", 2), at(5)));
        lines.extend([issuing(&record("carol", 3), at(7)), refused(&record("carol", 3), at(8))]);
        if is_turned {
            lines.reverse();
        }
        let mut sessions = Sessions::default();
        for lines in &lines {
            sessions.add(line(audit_line(lines)));
        }
        let sessions = sessions.into_newest_first();
        let seen: Vec<_> =
            sessions.iter().map(|session| (session.is_refused(), session.access_key_id.as_deref())).collect();
        assert_eq!(seen, [(true, None), (false, None), (false, Some(KEY))]);
    }
}

#[test]
fn a_session_for_the_console_is_one_also_if_nobody_was_signed_in_with_it() {
    let mut record = record("carol", 1);
    record.access_key_id = Some(KEY.into());
    record.expiration = Some("2027-01-15T09:00:00Z".into());
    record.destination = Some("https://console.aws.amazon.com/console/home".into());
    let traded = written(|audit| audit.console(&record, at(1)).unwrap());
    for outcome in [written(|audit| audit.outcome(&record, &Outcome::SignedIn, at(2))), refused(&record, at(2))] {
        for lines in [[&traded, &outcome], [&outcome, &traded]] {
            let mut sessions = Sessions::default();
            for lines in lines {
                sessions.add(line(audit_line(lines)));
            }
            let sessions = sessions.into_newest_first();
            let seen: Vec<_> =
                sessions.iter().map(|session| (session.is_refused(), session.access_key_id.as_deref())).collect();
            assert_eq!(seen, [(false, Some(KEY))]);
        }
    }
}

#[test]
fn only_the_newest_sessions_are_kept() {
    let mut sessions = Sessions::default();
    let template = line(audit_line(&issued(record("carol", 1), at(0))));
    for number in 0..5_000 {
        let seconds = 1_800_000_000 + i64::from(number / 2);
        sessions.add(Line { request_id: number.to_string(), seconds, ..template.clone() });
        assert!(sessions.held() <= 2_000);
    }
    assert!(sessions.are_cut);
    let newest = sessions.into_newest_first();
    assert_eq!((newest.len(), newest[0].seconds, newest[999].seconds), (1_000, 1_800_002_499, 1_800_002_000));
}

#[test]
fn a_pattern_never_asks_for_less_than_is_meant() {
    let principal = |text: &str| Principal::parse(text).unwrap();
    let name = FederatedName::parse("carol-3o2jzrlhnfnb").unwrap();
    let issuing = r#"$.event = "issuing" && $.issuer = "corp""#;
    for (meant, expected) in [
        (Meant::Name(&name), r#"{ $.federated_name = "carol-3o2jzrlhnfnb" }"#.to_owned()),
        (Meant::Name(&FederatedName::parse("Carol").unwrap()), r#"{ $.federated_name = "*" }"#.to_owned()),
        (Meant::AccessKey(KEY), format!(r#"{{ $.access_key_id = "{KEY}" }}"#)),
        (
            Meant::Principal(&principal("corp/user/00u|x\"y")),
            format!(r#"{{ {issuing} && $.subject = "00u*" && $.federated_name = "*" }}"#),
        ),
        (Meant::Principal(&principal("corp/group/deployers")), format!(r#"{{ {issuing} && $.federated_name = "*" }}"#)),
        (Meant::Principal(&principal("corp/everyone")), format!(r#"{{ {issuing} && $.federated_name = "*" }}"#)),
    ] {
        assert_eq!(meant.pattern(), expected);
    }
    for (text, expected) in
        [("", r#""""#), ("a@b.c", r#""a@b.c""#), ("*", r#""*""#), ("é", r#""*""#), ("a%b", r#""a*""#)]
    {
        assert_eq!(quoted(text), expected);
    }
}

#[test]
fn lines_are_looked_at_again_after_the_service() {
    let record = record("carol", 1);
    let (before, after) = (line(&issuing(&record, at(0)).concat()), line(audit_line(&issued(record, at(1)))));
    let is = |principal: &str, line: &Line| Meant::Principal(&Principal::parse(principal).unwrap()).is(line);
    for (principal, expected) in [
        ("corp/user/carol", true),
        ("corp/user/carolin", false),
        ("lab/user/carol", false),
        ("corp/group/deployers", true),
        ("corp/group/carol", false),
        ("corp/everyone", true),
        ("lab/everyone", false),
    ] {
        assert_eq!(is(principal, &before), expected, "{principal}");
        assert!(!is(principal, &after), "each session has its line before");
    }
    let name = |text: &str| FederatedName::parse(text).unwrap();
    assert!(Meant::Name(&name("carol-3o2jzrlhnfnb")).is(&after) && !Meant::Name(&name("carol")).is(&after));
    let of_claim = |text: &str| Line { name: name(text), ..after.clone() };
    for (meant, written, expected) in [
        ("carol", "carol", true),
        ("carol", "Carol", true),
        ("CAROL", "carol", true),
        ("carol", "carole", false),
        ("CAROL-3O2JZRLHNFNB", "carol-3o2jzrlhnfnb", false),
    ] {
        assert_eq!(Meant::Name(&name(meant)).is(&of_claim(written)), expected, "{meant}: {written}");
    }
    assert!(Meant::AccessKey(KEY).is(&after) && !Meant::AccessKey("ASIAOTHER00000000000").is(&after));
}

proptest! {
    #[test]
    fn no_text_is_a_panic(text in "\\PC{0,200}", cut in 0_usize..400, flip in 0_usize..400, with in any::<char>()) {
        let _ = Line::read(&text);
        let lines = issued(record("carol", 1), at(0));
        let good = audit_line(&lines);
        let _ = Line::read(&good.chars().take(cut).collect::<String>());
        let changed: String = good.chars().enumerate().map(|(at, c)| if at == flip { with } else { c }).collect();
        // One character cannot make the line another person's.
        if let Read::Line(line) = Line::read(&changed) {
            prop_assert!(line.is_refuted() || line.caller.as_str() == "corp/user/carol" || !line.name.has_hashed_shape());
        }
    }

    #[test]
    fn a_subject_is_found_by_its_own_pattern(subject in "[^\\p{Cc}]{1,60}") {
        let Some(principal) = Principal::parse(&format!("corp/user/{subject}")) else { return Ok(()) };
        let pattern = Meant::Principal(&principal).pattern();
        let (_, rest) = pattern.split_once("$.subject = \"").unwrap();
        let (term, _) = rest.split_once('"').unwrap();
        let is_found = term.strip_suffix('*').map_or(term == subject, |begin| subject.starts_with(begin));
        prop_assert!(is_found, "{pattern}");
    }
}
