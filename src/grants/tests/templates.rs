//! What is filled in, and what only looks like it?

use super::*;

fn filled(text: &str, claims: &Value) -> Result<String, ClaimError> {
    let caller = caller_claiming(&json!({}), claims);
    Template::parse(text).unwrap().fill(&caller, &FederatedName::of(&caller).unwrap())
}

#[test]
fn claims_and_the_sessions_name_are_filled_in() {
    let claims = json!({
        "department": "payments", "realm": {"teams": ["a", "b"]}, "https://example.com/unit": "u1", "a~b": "t",
    });
    for (text, expected) in [
        ("${jwt:/department}", "payments"),
        ("a/${jwt:/department}/${jwt:/sub}/*", "a/payments/carol/*"),
        ("${jwt:/realm/teams/1}", "b"),
        ("${jwt:/https:~1~1example.com~1unit}", "u1"),
        ("${jwt:/a~0b}", "t"),
        ("${session:name}${session:name}", "carol-3o2jzrlhnfnbcarol-3o2jzrlhnfnb"),
        ("$${jwt:/sub}{x}", "$carol{x}"),
        ("", ""),
        ("}", "}"),
        ("$", "$"),
    ] {
        assert_eq!(filled(text, &claims).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn variables_of_iam_pass_untouched() {
    for text in [
        "${aws:username}",
        "${aws:PrincipalTag/team}",
        "${aws:PrincipalTag/team, 'none'}",
        "${s3:prefix}",
        "${saml:sub}/${cognito-identity.amazonaws.com:sub}",
        "${*}${?}${$}",
        "${ aws:userid }",
        "${AWS:UserId}",
    ] {
        assert_eq!(filled(text, &json!({})).as_deref(), Ok(text));
    }
}

#[test]
fn what_is_neither_ours_nor_iams_is_refused() {
    let unknown = "holds an unknown form of a template";
    let no_variable = "holds a `${…}` that is no variable of IAM";
    let unclosed = "holds a `${` that is not closed";
    let nested = "holds a `${…}` inside another";
    for (text, remedy) in [
        ("${jwt}", unknown),
        ("${jwt:}", unknown),
        ("${jwt:sub}", unknown),
        ("${jwt:/a~2}", unknown),
        ("${jwt:/a~}", unknown),
        ("${JWT:/sub}", unknown),
        ("${Jwt:/sub}", unknown),
        ("${ jwt:/sub}", unknown),
        ("${\tjwt:/sub}", unknown),
        ("${jwt :/sub}", unknown),
        ("${jwt.sub}", unknown),
        ("${jwt/sub}", unknown),
        ("${session}", unknown),
        ("${session:id}", unknown),
        ("${session:name }", unknown),
        ("${session:Name}", unknown),
        ("${SESSION:NAME}", unknown),
        ("${}", no_variable),
        ("${ }", no_variable),
        ("${username}", no_variable),
        ("${**}", no_variable),
        ("${ *}", no_variable),
        ("${", unclosed),
        ("a${jwt:/sub", unclosed),
        ("${jwt:/sub}${", unclosed),
        ("${jwt:/${jwt:/sub}}", nested),
        ("${aws:PrincipalTag/${jwt:/sub}}", nested),
        ("${aws:PrincipalTag/team, '${session:name}'}", nested),
        ("${${*}}", nested),
    ] {
        let refused = Template::parse(text).expect_err(text);
        assert!(refused.starts_with(remedy), "{text}: {refused}");
    }
}

#[test]
fn a_claim_that_could_mean_something_is_refused() {
    for good in ["a", "_.@+=,|-", "carol@example.com", "auth0|carol", "0", "ABCxyz", &"a".repeat(256)] {
        assert_eq!(filled("${jwt:/x}", &json!({"x": good})).as_deref(), Ok(good));
    }
    for bad in [
        "",
        "*",
        "a?",
        "a/b",
        "a:b",
        "$",
        "${aws:userid}",
        "${jwt:/sub}",
        "${*}",
        "a{b}",
        "a b",
        "a\n",
        "a\"",
        "a'",
        "a\\",
        "\u{0}",
        "é",
        "ａ",
        "a\u{200b}",
        "%2f",
        "a;b",
        "<a>",
        "#a",
        "~a",
        "!a",
        "(a)",
        "[a]",
        "&a",
        "^a",
        "`a`",
        &"a".repeat(257),
    ] {
        assert_eq!(filled("${jwt:/x}", &json!({ "x": bad })), Err(ClaimError::Unfit("/x".into())), "{bad:?}");
    }
}

#[test]
fn a_claim_that_is_no_string_is_refused() {
    for bad in [json!(7), json!(true), json!(["a"]), json!({"a": "b"}), json!(1.5)] {
        assert_eq!(filled("${jwt:/x}", &json!({ "x": bad })), Err(ClaimError::NotText("/x".into())), "{bad}");
    }
    assert_eq!(filled("${jwt:/x}", &json!({})), Err(ClaimError::Missing("/x".into())));
    assert_eq!(filled("${jwt:/x/y}", &json!({"x": "y"})), Err(ClaimError::Missing("/x/y".into())));
    assert_eq!(filled("${jwt:/groups/2}", &json!({})), Err(ClaimError::Missing("/groups/2".into())));
    let issuer = filled("${jwt:/iss}", &json!({}));
    assert_eq!(issuer, Err(ClaimError::Unfit("/iss".into())), "a URL has characters that mean something in an ARN");
    assert_eq!(filled("${jwt:/groups/0}", &json!({})).as_deref(), Ok("deployers"));
}

#[test]
fn a_refusal_tells_the_claim_and_never_its_value() {
    let error = filled("${jwt:/x}", &json!({"x": "s3cret*"})).unwrap_err();
    assert_eq!(error.to_string(), "the claim `/x` is not 1 to 256 of A-Z a-z 0-9 _ . @ + = , | -");
}

#[test]
fn templates_stand_in_resources_and_conditions() {
    let statement = json!({
        "Effect": "Allow", "Action": "s3:GetObject",
        "Resource": ["arn:aws:s3:::${jwt:/department}/${session:name}", "arn:aws:sqs:${jwt:/region}:${jwt:/account}:q"],
        "Condition": {
            "StringEquals": {"aws:PrincipalTag/team": "${jwt:/department}"},
            "NumericLessThan": {"s3:max-keys": "${jwt:/count}"},
            "ArnLike": {"aws:PrincipalArn": ["${jwt:/department}", "arn:aws:sts::*:federated-user/${session:name}"]},
        },
    });
    let claims = json!({"department": "payments", "region": "eu-west-1", "account": "111122223333", "count": "10"});
    let item = json!({"policy": {"Version": "2012-10-17", "Statement": [statement]}});
    let session = claiming(&claims, &[item]).unwrap();
    let expected = json!([{
        "Effect": "Allow", "Action": "s3:GetObject",
        "Resource": ["arn:aws:s3:::payments/carol-3o2jzrlhnfnb", "arn:aws:sqs:eu-west-1:111122223333:q"],
        "Condition": {
            "StringEquals": {"aws:PrincipalTag/team": "payments"},
            "NumericLessThan": {"s3:max-keys": "10"},
            "ArnLike": {"aws:PrincipalArn": ["payments", "arn:aws:sts::*:federated-user/carol-3o2jzrlhnfnb"]},
        },
    }]);
    assert_eq!(Value::from(statements(&session)), expected);
}

#[test]
fn templates_stand_in_what_is_excepted() {
    let statement = json!({"Effect": "Deny", "NotAction": "s3:*", "NotResource": "arn:aws:s3:::home/${jwt:/sub}/*"});
    let session = session(&[json!({"policy": {"Version": "2012-10-17", "Statement": statement}})]).unwrap();
    assert_eq!(statements(&session)[0]["NotResource"], "arn:aws:s3:::home/carol/*");
}

#[test]
fn a_claim_that_cannot_be_filled_in_makes_the_grant_unusable_for_that_caller() {
    let policy = json!({"Version": "2012-10-17", "Statement": {
        "Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::home/${jwt:/team}/*"}});
    let items = [item("s3:*"), json!({ "policy": policy })];
    let principal = Principal::of(&caller())[1].clone();
    let unfilled = |error| Err(Denied::Template { principal: principal.clone(), error });
    assert_eq!(claiming(&json!({}), &items), unfilled(ClaimError::Missing("/team".into())));
    assert_eq!(claiming(&json!({"team": ["a"]}), &items), unfilled(ClaimError::NotText("/team".into())));
    assert_eq!(claiming(&json!({"team": "*"}), &items), unfilled(ClaimError::Unfit("/team".into())));
    assert!(claiming(&json!({"team": "a"}), &items).is_ok());
    let tagged = [json!({}), json!({"tags": {"team": "${jwt:/team}"}})];
    assert_eq!(claiming(&json!({}), &tagged), unfilled(ClaimError::Missing("/team".into())));
}
