//! Do we say of a policy what AWS says of it?
//!
//! `verdicts.json` has the documents that were tried on IAM's `CreatePolicy` for the tests of moto, with IAM's answer:
//! the message where it refused, and nothing where it accepted. A `change` is one to the members of [`BASE`]'s statement,
//! where `null` removes one. `differs` says why we answer otherwise. Those differences are of two kinds: for a mistake
//! that IAM lets pass we are stricter, and a session policy may be of an older version than a managed policy.
//! <https://github.com/getmoto/moto/blob/master/tests/test_iam/test_iam_policies.py>

use super::*;

fn base() -> Value {
    let statement = json!({"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::acorn"});
    json!({"Version": "2012-10-17", "Statement": statement})
}

fn document(verdict: &Value) -> Value {
    let Some(changes) = verdict["change"].as_object() else { return verdict["document"].clone() };
    let mut document = base();
    for (name, value) in changes {
        document["Statement"][name] = value.clone();
    }
    document["Statement"].as_object_mut().unwrap().retain(|_, value| !value.is_null());
    document
}

#[test]
fn every_verdict_is_that_of_aws_unless_the_difference_is_explained() {
    let verdicts = crate::read::json::parse_object(include_bytes!("verdicts.json")).unwrap();
    assert_eq!(verdicts.len(), 132);
    for (name, verdict) in &verdicts {
        let document = document(verdict);
        let ours = Policy::parse(&document, "");
        let differs = ours.is_ok() == verdict["refused"].is_string();
        assert_eq!(differs, verdict["differs"].is_string(), "{name}: {document}: {ours:?}, and AWS: {verdict}");
    }
    assert!(Policy::parse(&base(), "").is_ok());
}

#[test]
fn no_session_is_made_of_what_aws_refuses() {
    let verdicts = crate::read::json::parse_object(include_bytes!("verdicts.json")).unwrap();
    for (name, verdict) in verdicts.iter().filter(|(_, verdict)| verdict["refused"].is_string()) {
        let made = session(&[json!({"policy": document(verdict), "allow_iam": true})]);
        let is_only_older = verdict["refused"] == "Policy document must be version 2012-10-17 or greater.";
        assert!(made.is_err() || (is_only_older && verdict["differs"].is_string()), "{name}: {made:?}");
    }
}
