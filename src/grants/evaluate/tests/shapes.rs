//! Session and ceiling together, what decided, and what is missing.

use std::slice;

use super::*;

const ALLOW: Decision = Decision::Allow;
const DENY: Decision = Decision::Deny;
const IMPLICIT: Decision = Decision::ImplicitDeny;
const UNKNOWN: Decision = Decision::Unknown;

/// Policies that decide so on [`asked`], in an empty context.
fn deciding(decision: Decision) -> Policies {
    let on_key = |effect: &str| {
        let mut statement = statement(effect, "*", "*");
        statement["Condition"] = json!({"StringEquals": {"aws:RequestedRegion": "eu-west-1"}});
        statement
    };
    let document = match decision {
        Decision::Allow => document(&[statement("Allow", "s3:*", "*")]),
        Decision::Deny => document(&[statement("Allow", "s3:*", "*"), statement("Deny", "*", "*")]),
        Decision::ImplicitDeny => document(&[statement("Allow", "sqs:*", "*")]),
        Decision::Unknown => document(&[statement("Allow", "sqs:*", "*"), on_key("Allow")]),
    };
    policies(&[document])
}

fn decide(session: &Policies, ceiling: Option<&Policies>) -> Decided {
    evaluate(session, ceiling, &asked(), &Context::default())
}

#[test]
fn both_session_and_ceiling_have_to_allow_and_a_deny_in_either_denies() {
    for (session, ceiling, result) in [
        (ALLOW, ALLOW, ALLOW),
        (ALLOW, DENY, DENY),
        (ALLOW, IMPLICIT, IMPLICIT),
        (ALLOW, UNKNOWN, UNKNOWN),
        (DENY, ALLOW, DENY),
        (DENY, DENY, DENY),
        (DENY, IMPLICIT, DENY),
        (DENY, UNKNOWN, DENY),
        (IMPLICIT, ALLOW, IMPLICIT),
        (IMPLICIT, DENY, DENY),
        (IMPLICIT, IMPLICIT, IMPLICIT),
        (IMPLICIT, UNKNOWN, IMPLICIT),
        (UNKNOWN, ALLOW, UNKNOWN),
        (UNKNOWN, DENY, DENY),
        (UNKNOWN, IMPLICIT, IMPLICIT),
        (UNKNOWN, UNKNOWN, UNKNOWN),
    ] {
        let decided = decide(&deciding(session), Some(&deciding(ceiling)));
        let found = (decided.session.decision(), decided.ceiling.unwrap().decision(), decided.result.decision());
        assert_eq!(found, (session, ceiling, result));
    }
}

#[test]
fn without_a_ceiling_the_session_decides() {
    for decision in Decision::ALL {
        let decided = decide(&deciding(decision), None);
        assert_eq!((decided.result, decided.ceiling), (decided.session, None));
    }
}

#[test]
fn of_several_policies_any_may_allow_and_a_deny_in_any_denies() {
    let (reads, writes) = (statement("Allow", "s3:Get*", "*"), statement("Allow", "s3:Put*", "*"));
    let both = policies(&[document(slice::from_ref(&writes)), document(slice::from_ref(&reads))]);
    let decided = decide(&both, Some(&both));
    assert_eq!(decided.result.decision(), ALLOW);
    assert_eq!(decided.result.by().unwrap().policy, "policy 1");
    let denying = document(&[statement("Deny", "s3:GetObject", "arn:aws:s3:::reports/*")]);
    let all = policies(&[document(&[writes]), document(&[reads]), denying]);
    assert_eq!(decide(&all, None).result.decision(), DENY);
    assert_eq!(decide(&both, Some(&all)).result.by().unwrap().policy, "policy 2");
}

#[test]
fn the_statement_that_decided_is_named() {
    let (sqs, s3) = (statement("Allow", "sqs:*", "*"), statement("Allow", "s3:*", "*"));
    let decided_by = |document: Value| decide(&policies(&[document]), None).result.by().cloned();
    let at = |index: usize, pointer: &str| {
        Some(Decider { policy: "policy 0".into(), statement: Some((index, pointer.into())) })
    };
    assert_eq!(decided_by(document(&[sqs.clone(), s3.clone(), s3.clone()])), at(1, "/Statement/1"));
    assert_eq!(decided_by(json!({"Version": "2012-10-17", "Statement": s3})), at(0, "/Statement"));
    assert_eq!(decided_by(document(&[s3.clone(), statement("Deny", "*", "*")])), at(1, "/Statement/1"));
    assert_eq!(decided_by(document(slice::from_ref(&sqs))), None);
    // The Allow that may apply, not the one that does not.
    let mut perhaps = s3;
    perhaps["Condition"] = json!({"Bool": {"aws:MultiFactorAuthPresent": true}});
    assert_eq!(decided_by(document(&[sqs, perhaps])), at(1, "/Statement/1"));
}

#[test]
fn an_unknown_decision_names_the_keys_that_it_depends_on() {
    let mut read = statement("Allow", "s3:GetObject", "arn:aws:s3:::reports/${aws:PrincipalTag/year}/*");
    read["Condition"] = json!({"StringEquals": {"aws:RequestedRegion": "eu-west-1", "s3:prefix": "x"}});
    let mut other = statement("Allow", "sqs:*", "*");
    other["Condition"] = json!({"StringEquals": {"sqs:Key": "x"}});
    let policies = policies(&[document(&[read, other])]);
    let missing = |keys: Value| {
        let decided = evaluate(&policies, None, &asked(), &context(&keys));
        decided.result.missing().iter().cloned().collect::<Vec<_>>()
    };
    assert_eq!(missing(json!({})), ["aws:PrincipalTag/year", "aws:RequestedRegion", "s3:prefix"]);
    assert_eq!(missing(json!({"s3:prefix": "x"})), ["aws:PrincipalTag/year", "aws:RequestedRegion"]);
    // It can no longer apply.
    assert_eq!(missing(json!({"S3:PREFIX": "y"})), Vec::<String>::new());
}

#[test]
fn what_an_unread_policy_says_is_unknown_unless_a_deny_is_known() {
    let mut session = deciding(ALLOW);
    session.add_unread("arn:aws:iam::aws:policy/ReadOnlyAccess");
    assert_eq!(decide(&session, None).result.decision(), UNKNOWN);
    let mut session = deciding(IMPLICIT);
    session.add_unread("arn:aws:iam::aws:policy/ReadOnlyAccess");
    let decided = decide(&session, None);
    assert_eq!(decided.result.decision(), UNKNOWN);
    let by = Decider { policy: "arn:aws:iam::aws:policy/ReadOnlyAccess".into(), statement: None };
    assert_eq!(decided.result.by(), Some(&by));
    let mut session = deciding(DENY);
    session.add_unread("arn:aws:iam::aws:policy/ReadOnlyAccess");
    assert_eq!(decide(&session, None).result.decision(), DENY);
}

#[test]
fn what_cannot_be_allowed_is_known_even_where_the_reason_is_not() {
    let mut session = deciding(ALLOW);
    session.add_unread("arn:aws:iam::aws:policy/ReadOnlyAccess");
    let decided = decide(&session, Some(&deciding(IMPLICIT)));
    assert_eq!((decided.result.decision(), decided.result.may_allow()), (UNKNOWN, false));
    assert!(decide(&session, Some(&deciding(ALLOW))).result.may_allow());
}

#[test]
fn a_session_without_policies_can_do_nothing() {
    assert_eq!(decide(&Policies::default(), Some(&deciding(ALLOW))).result.decision(), IMPLICIT);
}

#[test]
fn a_policy_of_iam_may_be_larger_than_a_session_policy_and_nothing_is_filled_in() {
    let many = |count: usize| document(&vec![statement("Allow", "s3:*", "*"); count]);
    assert!(Document::parse("ceiling", &many(1_000)).is_ok());
    let problems = Document::parse("ceiling", &many(1_001)).unwrap_err();
    assert_eq!(problems.iter().map(|problem| problem.at.as_str()).collect::<Vec<_>>(), ["/Statement"]);
    assert!(Policy::parse(&many(45), "").is_err());
    let mut in_condition = statement("Allow", "s3:*", "*");
    in_condition["Condition"] = json!({"StringEquals": {"s3:prefix": ["x", "${session:name}"]}});
    let (plain, in_resource) =
        (statement("Allow", "s3:*", "*"), statement("Allow", "s3:*", "arn:aws:s3:::${jwt:/sub}/*"));
    let problems = Document::parse("ceiling", &document(&[in_condition, plain.clone(), in_resource])).unwrap_err();
    let places: Vec<&str> = problems.iter().map(|problem| problem.at.as_str()).collect();
    assert_eq!(places, ["/Statement/0", "/Statement/2"]);
    assert!(
        Document::parse("ceiling", &document(&[plain, statement("Deny", "*", "arn:aws:s3:::${aws:userid}")])).is_ok()
    );
    assert!(Document::parse("ceiling", &json!({"Statement": "x"})).is_err());
}

#[test]
fn one_action_and_one_resource_are_asked_for() {
    for (action, resource) in [
        ("s3:GetObject", "*"),
        ("dynamodb:GetItem", "arn:aws:dynamodb:eu-west-1:111122223333:table/t"),
        ("execute-api:Invoke", "arn:aws:logs:eu-west-1:111122223333:log-group:/x:*"),
    ] {
        assert!(Asked::new(action, resource).is_ok(), "{action} {resource}");
    }
    for action in ["", "*", "s3:*", "s3:Get?", "GetObject", ":GetObject", "s3:", "s3:Get Object", "s3:a:b", "é:b"] {
        assert_eq!(Asked::new(action, "*"), Err(AskedError::Action), "{action}");
    }
    for resource in ["", "reports", "arn:aws:s3:::", "arn:aws:s3", "xarn:aws:s3:::reports", "**"] {
        assert_eq!(Asked::new("s3:GetObject", resource), Err(AskedError::Resource), "{resource}");
    }
}

#[test]
fn what_the_tool_knows_of_a_session_by_itself() {
    let tags = crate::session::SessionTags::new([("team".to_owned(), "payments".to_owned())]).unwrap();
    let all = Circumstances {
        source_ip: Some("::ffff:203.0.113.7".parse().unwrap()),
        now: std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_800_000_000_900),
        partition: "aws-us-gov",
        account: Some("111122223333"),
        name: "carol-3o2jzrlhnfnb",
        tags: &tags,
    };
    let known = json!({
        "aws:SourceIp": "203.0.113.7", "aws:CurrentTime": "2027-01-15T08:00:00Z", "aws:EpochTime": "1800000000",
        "aws:userid": "111122223333:carol-3o2jzrlhnfnb", "aws:PrincipalType": "FederatedUser",
        "aws:PrincipalAccount": "111122223333", "aws:SecureTransport": "true", "aws:ViaAWSService": "false",
        "aws:PrincipalArn": "arn:aws-us-gov:sts::111122223333:federated-user/carol-3o2jzrlhnfnb",
        "aws:PrincipalTag/team": "payments",
    });
    assert_eq!(Context::of(&all), context(&known));
    let mut known = known;
    for key in ["aws:SourceIp", "aws:userid", "aws:PrincipalAccount", "aws:PrincipalArn"] {
        known.as_object_mut().unwrap().remove(key);
    }
    assert_eq!(Context::of(&Circumstances { source_ip: None, account: None, ..all }), context(&known));
}
