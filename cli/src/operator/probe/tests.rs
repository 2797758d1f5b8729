//! Which actions can be tried, and how are tokens spoiled?

use proptest::prelude::*;
use secrecy::SecretString;

use super::opens::Opens;
use super::refusals::{with_changed_signature, without_signature};
use super::{origin, report::Report};
use crate::outside::secret::expose;

fn opens(action: &str, resource: &str) -> Result<String, String> {
    let opens = Opens::parse(&[action.to_owned(), resource.to_owned()]);
    opens.map(|opens| opens.to_string()).map_err(|failure| failure.to_string())
}

#[test]
fn an_action_that_can_be_tried_names_one_thing() {
    for (action, resource, says) in [
        ("sts:GetCallerIdentity", "*", "say who it is"),
        ("STS:getcalleridentity", "*", "say who it is"),
        (
            "dynamodb:DescribeTable",
            "arn:aws:dynamodb:eu-central-1:111122223333:table/orders",
            "describe the table `orders`",
        ),
        ("s3:ListBucket", "arn:aws:s3:::acme-reports", "list the bucket `acme-reports`"),
        ("s3:ListBucket", "arn:aws-cn:s3:::acme.reports", "list the bucket `acme.reports`"),
        ("s3:GetObject", "arn:aws:s3:::acme/2026/q 3.csv", "read `2026/q 3.csv` in the bucket `acme`"),
    ] {
        assert_eq!(opens(action, resource).unwrap(), says);
    }
}

#[test]
fn what_cannot_be_tried_is_wrong_usage_that_says_what_can() {
    for action in ["s3:PutObject", "s3:*", "s3", "", "iam:GetUser"] {
        let says = opens(action, "arn:aws:s3:::acme").unwrap_err();
        assert!(
            says.contains("dynamodb:DescribeTable, s3:GetObject, s3:ListBucket and sts:GetCallerIdentity"),
            "{says}"
        );
    }
    for (action, resource) in [
        ("sts:GetCallerIdentity", "arn:aws:sts::1:x"),
        ("dynamodb:DescribeTable", "orders"),
        ("dynamodb:DescribeTable", "arn:aws:dynamodb:eu-central-1:111122223333:table/"),
        ("dynamodb:DescribeTable", "arn:aws:dynamodb:eu-central-1:111122223333:table/*"),
        ("dynamodb:DescribeTable", "arn:aws:dynamodb::111122223333:table/orders"),
        ("dynamodb:DescribeTable", "arn:aws:dynamodb:eu.evil.example/:111122223333:table/orders"),
        ("dynamodb:DescribeTable", "arn:aws:dynamodb:eu-central-1:1:table/orders"),
        ("dynamodb:DescribeTable", "arn:aws:dynamodb:eu-central-1::table/orders"),
        ("dynamodb:DescribeTable", "arn:aws:s3:eu-central-1:111122223333:table/orders"),
        ("s3:ListBucket", "arn:aws:s3:::"),
        ("s3:ListBucket", "arn:aws:s3:::acme/*"),
        ("s3:ListBucket", "arn:aws:s3:::*"),
        ("s3:ListBucket", "arn:aws:s3:::.."),
        ("s3:ListBucket", "acme"),
        ("s3:GetObject", "arn:aws:s3:::acme"),
        ("s3:GetObject", "arn:aws:s3:::acme/"),
        ("s3:GetObject", "arn:aws:s3:::acme/*"),
        ("s3:GetObject", "arn:aws:s3:::acme/a/../b"),
        ("s3:GetObject", "arn:aws:s3:::acme/./b"),
        ("s3:GetObject", "arn:evil:s3:::acme/b"),
    ] {
        let says = opens(action, resource).unwrap_err();
        assert!(says.starts_with(&format!("the resource of --opens {action} must be ")), "{resource}: {says}");
    }
}

#[test]
fn an_origin_is_a_scheme_and_a_host() {
    for text in ["https://app.example.com", "http://localhost:5173", "capacitor://localhost"] {
        assert_eq!(origin(text).unwrap(), text);
    }
    for text in
        ["", "app.example.com", "https://", "://x", "https://a/b", "https://a b", "https://a,https://b", "https://a\n"]
    {
        assert!(origin(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_changed_signature_changes_nothing_else() {
    let changed = |token: &str| expose(&with_changed_signature(&SecretString::from(token))).to_owned();
    assert_eq!(changed("a.b.cd"), "a.b.Ad");
    assert_eq!(changed("a.b.Ad"), "a.b.Bd");
    assert_eq!(changed("a.b."), "a.b.A");
    let bare = without_signature(&SecretString::from("a.b.c"));
    assert_eq!(expose(&bare), "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.b.");
}

#[test]
fn a_report_is_well_with_notes_and_not_with_a_problem() {
    let mut report = Report::default();
    report.ok("health", "fine");
    report.note("alarms", "quiet", "look");
    report.skipped("grants", "no stack");
    assert!(report.is_well());
    report.problem("cors", "open\u{1b}[2J\nwide", "close it");
    assert!(!report.is_well() && report.has_problem("cors") && !report.has_problem("alarms"));
    let expected = "ok        health: fine\n\
                    note      alarms: quiet\n          look\n\
                    skipped   grants: no stack\n\
                    problem   cors: open [2J wide\n          close it\n\
                    Probed: 1 problem, 1 note, 1 skipped";
    assert_eq!(report.text(), expected);
}

proptest! {
    #[test]
    fn nothing_that_is_typed_ends_the_command(action in ".{0,20}", resource in ".{0,60}") {
        let _ = opens(&action, &resource);
        let _ = opens("s3:GetObject", &format!("arn:aws:s3:::{resource}"));
        let _ = origin(&resource);
    }

    #[test]
    fn no_token_stays_as_it_was(signed in "[A-Za-z0-9_.-]{0,20}", signature in "[A-Za-z0-9_-]{0,20}") {
        let token = SecretString::from(format!("{signed}.{signature}"));
        let changed = with_changed_signature(&token);
        prop_assert_ne!(expose(&changed), expose(&token));
        let prefix = format!("{signed}.");
        prop_assert!(expose(&changed).starts_with(&prefix));
    }
}
