//! What does `hallpass grants test` say of tests beside grant files?

use serde_json::{Value, json};

use super::run::Directory;

const GRANT: &str = "\
grant: default
principals: [corp/group/analysts]
policy:
  Version: \"2012-10-17\"
  Statement: {Effect: Allow, Action: \"s3:*\", Resource: \"arn:aws:s3:::reports/${jwt:/email}/*\"}
";

const TESTS: &str = "\
ceiling: [ceiling.json]
tests:
  - name: analysts read reports
    caller: {issuer: corp, subject: carol, groups: [analysts], claims: {email: carol@example.com}}
    allows: [{action: \"s3:GetObject\", resource: \"arn:aws:s3:::reports/carol@example.com/q3.csv\"}]
    denies: [{action: \"s3:GetObject\", resource: \"arn:aws:s3:::payroll/q3.csv\"}]
  - name: guests have nothing
    caller: {issuer: corp, subject: dave}
    expect: access_denied
";

const CEILING: &str =
    r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]}"#;

fn beside(tests: &str) -> Directory {
    Directory::with(&[
        ("grants/a.yaml", GRANT),
        ("grants/a.test.yaml", tests),
        ("grants/ceiling.json", CEILING),
        (
            "grants/b.test.yaml",
            "tests: [{name: other, caller: {issuer: corp, subject: dave}, expect: access_denied}]\n",
        ),
    ])
}

#[test]
fn tests_that_pass_are_counted() {
    let directory = beside(TESTS);
    let run = directory.run(&["test"]);
    let expected = "ok   grants/a.test.yaml:3 analysts read reports\n\
                    ok   grants/a.test.yaml:7 guests have nothing\n\
                    ok   grants/b.test.yaml:1 other\n\
                    3 passed, 0 failed\n";
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, expected, ""));
}

#[test]
fn a_test_that_fails_says_what_is_not_as_expected() {
    let directory = beside(&TESTS.replace(
        "s3:GetObject\", resource: \"arn:aws:s3:::reports",
        "s3:PutObject\", resource: \"arn:aws:s3:::reports",
    ));
    let run = directory.run(&["test", "--json"]);
    let told: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.code, &told["passed"], &told["failed"]), (3, &json!(2), &json!(1)));
    let failed = json!({
        "file": "grants/a.test.yaml",
        "line": 3,
        "name": "analysts read reports",
        "passed": false,
        "failures": ["allows s3:PutObject on arn:aws:s3:::reports/carol@example.com/q3.csv: is implicit_deny"],
    });
    assert_eq!(told["tests"][0], failed);
    let text = directory.run(&["test", "grants/"]);
    assert!(
        text.code == 3 && text.stdout.contains("FAIL grants/a.test.yaml:3 analysts read reports\n     allows "),
        "{text:?}"
    );
}

#[test]
fn the_ceiling_of_tests_is_not_a_grant() {
    let directory = beside(TESTS);
    let lint = directory.run(&["lint"]);
    assert!(lint.code == 0 && lint.stderr.contains("in 1 file "), "{lint:?}");
    std::fs::write(directory.at("grants/other.json"), CEILING).unwrap();
    assert_eq!(directory.run(&["lint"]).code, 3, "a policy that no test names");

    let grant = r#"{"grant": "hidden", "principals": ["corp/everyone"]}"#;
    let hidden = Directory::with(&[("grants/a.test.yaml", TESTS), ("grants/ceiling.json", grant)]);
    let lint = hidden.run(&["lint"]);
    assert!(lint.code == 0 && lint.stderr.contains("(1 grant, 1 item)"), "{lint:?}");
}

#[test]
fn one_file_of_tests_is_run_on_the_grants_beside_it() {
    let directory = beside(TESTS);
    let run = directory.run(&["test", "grants/b.test.yaml"]);
    assert_eq!((run.code, run.stdout.as_str()), (0, "ok   grants/b.test.yaml:1 other\n1 passed, 0 failed\n"));
    let run = directory.run(&["test", "grants/a.test.yaml"]);
    assert_eq!(run.code, 0, "{run:?}");
}

#[test]
fn nothing_is_tested_if_a_file_is_wrong_or_there_is_no_test() {
    for (path, text, code, told) in [
        ("grants/a.yaml", "grant: default\nprincipals: [corp/nobody]\n", 3, "grants/a.yaml:2:14: error[principal]"),
        ("grants/b.test.yaml", "tests: [{name: a}]\n", 3, "grants/b.test.yaml:1:9: error[missing]"),
        ("grants/b.test.yaml", "tests: [\n", 3, "error[syntax]"),
        ("grants/ceiling.json", "{", 3, "grants/ceiling.json:1:"),
    ] {
        let directory = beside(TESTS);
        std::fs::write(directory.at(path), text).unwrap();
        let run = directory.run(&["test"]);
        assert!(run.code == code && run.stderr.contains(told) && run.stdout.is_empty(), "{path}: {run:?}");
    }
    let none = Directory::with(&[("grants/a.yaml", GRANT)]);
    let run = none.run(&["test"]);
    assert!(run.code == 1 && run.stderr.contains("there is no test"), "{run:?}");
    assert_eq!(none.run(&["test", "nowhere/"]).code, 1);
}

#[test]
fn issuers_say_where_subject_and_groups_are() {
    let directory = beside(TESTS);
    let issuers = r#"[{"id":"corp","issuer":"https://login.example.com","audiences":["a"],"groups_claim":"/roles"}]"#;
    std::fs::write(directory.at("issuers.json"), issuers).unwrap();
    assert_eq!(directory.run(&["test", "--issuers", "issuers.json"]).code, 0);
    std::fs::write(directory.at("issuers.json"), issuers.replace("corp", "other")).unwrap();
    let run = directory.run(&["test", "--issuers", "issuers.json"]);
    assert!(run.code == 3 && run.stdout.contains("the issuer `corp` is not configured"), "{run:?}");
}
