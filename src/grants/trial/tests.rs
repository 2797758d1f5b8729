//! Do tests of grants pass and fail as they should, and are their mistakes found?

use serde_json::json;

use super::super::Principal;
use super::super::explain::KnownItem;
use super::super::tests::now;
use super::*;
use crate::identity::parse_issuers;
use crate::read::problems::Problems;

const VALID: &str = "\
tests:
  - name: analysts read reports
    caller: {issuer: corp, subject: carol, groups: [analysts], claims: {email: carol@example.com}}
    from: 203.0.113.7
    allows: [{action: \"s3:GetObject\", resource: \"arn:aws:s3:::reports/carol@example.com/q3.csv\"}]
    denies: [{action: \"s3:GetObject\", resource: \"arn:aws:s3:::payroll/q3.csv\"}]
";

fn read(text: &str) -> TestFiles {
    let mut files = TestFiles::default();
    files.file("grants/a.test.yaml".into(), text.into());
    files
}

fn known() -> Known {
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::reports/${jwt:/email}/*"},
        {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*", "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}},
    ]});
    let attributes = json!({"policy": policy, "pin_source_ip": true}).as_object().unwrap().clone();
    let principal = Principal::parse("corp/group/analysts").unwrap();
    Known { items: vec![KnownItem { principal, grant: "default".into(), attributes }], ..Known::default() }
}

fn run(text: &str) -> Result<(), Vec<String>> {
    let files = read(text);
    assert!(files.findings().is_empty(), "{:?}", files.findings());
    let issuers = json!([{"id": "corp", "issuer": "https://login.example.com", "audiences": ["hallpass"]}]);
    let issuers = parse_issuers(&issuers.to_string(), &mut Problems::default());
    files.tests()[0].run(known(), &issuers, None, now())
}

fn changed(from: &str, to: &str) -> String {
    assert!(VALID.contains(from), "{from}");
    VALID.replace(from, to)
}

#[test]
fn what_is_as_expected_passes() {
    assert_eq!(run(VALID), Ok(()));
    let tests = read(VALID);
    let test = &tests.tests()[0];
    assert_eq!((test.name.as_str(), test.place.line, test.issuer()), ("analysts read reports", 2, "corp"));
}

#[test]
fn each_thing_that_is_not_as_expected_is_told() {
    let put = "action: \"s3:PutObject\", resource: \"arn:aws:s3:::a/b\"";
    for (from, to, told) in [
        (
            "reports/carol@",
            "reports/dave@",
            "allows s3:GetObject on arn:aws:s3:::reports/dave@example.com/q3.csv: is implicit_deny",
        ),
        (
            "payroll/q3.csv",
            "reports/carol@example.com/x",
            "denies s3:GetObject on arn:aws:s3:::reports/carol@example.com/x: is allow, by /Statement/1 of session policy",
        ),
        (
            "[analysts]",
            "[guests]",
            "is access_denied (no_grant: `corp/group/analysts` the caller is not in the group `analysts`), not issued",
        ),
        ("issuer: corp", "issuer: other", "the issuer `other` is not configured"),
        (
            ", claims: {email: carol@example.com}",
            "",
            "is grant_unusable (claim_unusable: `corp/group/analysts` is for a group of the caller), not issued",
        ),
        (
            "    from: 203.0.113.7\n",
            "",
            "is invalid_request (no_source_address: `corp/group/analysts` is for a group of the caller), not issued",
        ),
        (
            "    from: 203.0.113.7\n",
            "    from: 203.0.113.7\n    duration: 7200\n",
            "is invalid_request (over_maximum: `corp/group/analysts` is for a group of the caller), not issued",
        ),
        ("subject: carol,", "subject: \"a\\u0001\",", "is invalid_token (subject_malformed), not issued"),
        (
            "action: \"s3:GetObject\", resource: \"arn:aws:s3:::payroll/q3.csv\"",
            put,
            "denies s3:PutObject on arn:aws:s3:::a/b: is unknown: give `context` or `absent` for aws:MultiFactorAuthPresent",
        ),
    ] {
        assert_eq!(run(&changed(from, to)), Err(vec![told.to_owned()]), "{to}");
    }
}

fn without_expectations() -> &'static str {
    VALID.split_once("    allows").unwrap().0
}

#[test]
fn an_unknown_key_can_be_given_or_said_to_be_absent() {
    let ask = |verb: &str, more: &str| {
        let text = format!("    {verb}: [{{action: \"s3:PutObject\", resource: \"arn:aws:s3:::a/b\"{more}}}]\n");
        run(&format!("{}{text}", without_expectations()))
    };
    assert!(ask("allows", "").is_err() && ask("denies", "").is_err());
    assert_eq!(ask("allows", ", context: {\"aws:MultiFactorAuthPresent\": true}"), Ok(()));
    assert_eq!(ask("denies", ", context: {\"aws:MultiFactorAuthPresent\": [false]}"), Ok(()));
    assert_eq!(ask("denies", ", absent: [\"aws:MultiFactorAuthPresent\"]"), Ok(()));
}

#[test]
fn a_refusal_can_be_expected() {
    let text = format!("{}    expect: access_denied\n    grant: deploy\n", without_expectations());
    assert_eq!(run(&text), Ok(()));
    let told = run(&text.replace("    grant: deploy\n", "")).unwrap_err();
    assert_eq!(told, ["is issued (issued: `corp/group/analysts` is for a group of the caller), not access_denied"]);
}

#[test]
fn each_mistake_in_a_test_file_has_its_place() {
    let place = |text: &str| {
        let files = read(text);
        assert!(files.tests().is_empty(), "{text}");
        let one = |finding: &super::super::file::Finding| {
            let place = finding.place;
            format!("{}:{} {} {}", place.line, place.column, finding.problem.rule, finding.problem.at)
        };
        files.findings().iter().map(one).collect::<Vec<_>>()
    };
    for (from, to, expected) in [
        ("tests:", "test:", vec!["1:1 missing /tests", "1:1 unknown-member /test"]),
        ("- name: analysts read reports", "- name: ''", vec!["2:11 type /tests/0/name"]),
        ("issuer: corp, ", "", vec!["3:13 missing /tests/0/caller/issuer"]),
        ("subject: carol", "subject: 7", vec!["3:37 type /tests/0/caller/subject"]),
        ("groups: [analysts]", "groups: analysts", vec!["3:52 type /tests/0/caller/groups"]),
        ("claims: {email: carol@example.com}", "claims: []", vec!["3:72 type /tests/0/caller/claims"]),
        ("from: 203.0.113.7", "from: 203.0.113", vec!["4:11 value /tests/0/from"]),
        ("from: 203.0.113.7", "at: yesterday", vec!["4:9 time /tests/0/at"]),
        ("from: 203.0.113.7", "duration: 60", vec!["4:15 duration /tests/0/duration"]),
        ("from: 203.0.113.7", "grant: Deploy", vec!["4:12 grant-name /tests/0/grant"]),
        (
            "from: 203.0.113.7",
            "expect: refused",
            vec!["4:13 value /tests/0/expect", "5:13 no-effect /tests/0/allows", "6:13 no-effect /tests/0/denies"],
        ),
        ("from: 203.0.113.7", "form: 203.0.113.7", vec!["4:5 unknown-member /tests/0/form"]),
        (
            "\"s3:GetObject\", resource: \"arn:aws:s3:::payroll/q3.csv\"",
            "\"s3:Get*\", resource: \"*\"",
            vec!["6:23 action /tests/0/denies/0/action"],
        ),
        ("arn:aws:s3:::payroll/q3.csv", "payroll/q3.csv", vec!["6:49 resource /tests/0/denies/0/resource"]),
        (
            "\"arn:aws:s3:::payroll/q3.csv\"",
            "\"*\", context: {a: null}",
            vec!["6:67 condition-value /tests/0/denies/0/context/a"],
        ),
        ("\"arn:aws:s3:::payroll/q3.csv\"", "\"*\", absent: a", vec!["6:62 type /tests/0/denies/0/absent"]),
    ] {
        let found = place(&changed(from, to));
        if to == "expect: refused" {
            assert_eq!(found, ["4:13 value /tests/0/expect"], "{to}");
        } else {
            assert_eq!(found, expected, "{to}");
        }
    }
}
