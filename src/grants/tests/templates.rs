//! What is filled in, and what only looks like it?

use super::*;
use crate::read::problems::Problem;

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
        ("$-${jwt:/sub}{x}", "$-carol{x}"),
        ("${$}${jwt:/sub}", "${$}carol"),
        ("", ""),
        ("}", "}"),
        ("$", "$"),
    ] {
        assert_eq!(filled(text, &claims).as_deref(), Ok(expected), "{text}");
    }
}

/// Of AWS's documentation and of its managed policies, one of each form.
pub(super) const OF_IAM: [&str; 52] = [
    "${aws:username}",
    "${aws:userid}",
    "${AWS:UserId}",
    "${aws:PrincipalTag/team}",
    "${aws:PrincipalTag/team, 'none'}",
    "${aws:PrincipalTag/team, 'company-wide'}",
    "${aws:PrincipalTag/team, ''}",
    "${aws:PrincipalTag/team, 'it''s a, b: c'}",
    "${aws:PrincipalTag/team,  'two spaces'}",
    "${aws:username, 'anonymous'}",
    "${aws:PrincipalTag/Cost Center}",
    "${aws:PrincipalTag/eks:eks-cluster-name}",
    "${aws:PrincipalTag/a/b+c=d@e.f_g-h}",
    "${aws:PrincipalTag/Größe}",
    "${aws:ResourceTag/aws:cloudformation:stack-name}",
    "${aws:RequestTag/Owner}",
    "${aws:PrincipalAccount}",
    "${aws:PrincipalOrgID}",
    "${aws:ResourceAccount}",
    "${aws:RequestedRegion}",
    "${aws:SourceIdentity}",
    "${aws:CurrentTime}",
    "${aws:FederatedProvider}",
    "${s3:prefix}",
    "${S3:Prefix}",
    "${s3:x-amz-acl}",
    "${s3:max-keys}",
    "${s3:ExistingObjectTag/class}",
    "${sns:Endpoint}",
    "${ec2:SourceInstanceARN}",
    "${ec2:ResourceTag/Owner}",
    "${ssm:resourceTag/Name}",
    "${ssm:resourceTag/aws:ssmmessages:session-id}",
    "${ssm:SourceInstanceARN}",
    "${kms:EncryptionContext:service}",
    "${kms:EncryptionContext:aws:s3:arn}",
    "${secretsmanager:resource/AllowRotationLambdaArn}",
    "${iot:Connection.Thing.ThingName}",
    "${rds:db-tag/stage}",
    "${transfer:UserName}",
    "${sagemaker:DomainId}",
    "${deadline:PrincipalId}",
    "${saml:sub}",
    "${www.amazon.com:user_id}",
    "${accounts.google.com:sub}",
    "${graph.facebook.com:id}",
    "${cognito-identity.amazonaws.com:sub}",
    "${oidc.eks.eu-west-1.amazonaws.com/id/ABC0123:sub}",
    "${login.example.com/realms/corp_1:email}",
    "${*}",
    "${?}",
    "${$}",
];

#[test]
fn variables_of_iam_pass_untouched() {
    for variable in OF_IAM {
        for text in [variable.to_owned(), format!("home/{variable}/{variable}*"), format!("${{$}}{variable}")] {
            assert_eq!(filled(&text, &json!({})).as_deref(), Ok(text.as_str()));
        }
    }
}

/// What other tools should have replaced, and the tool.
pub(super) const FOREIGN: [(&str, &str); 52] = [
    ("${AWS::AccountId}", "CloudFormation's `Fn::Sub`"),
    ("${AWS::Region}", "CloudFormation's `Fn::Sub`"),
    ("${!jwt:/sub}", "CloudFormation's `Fn::Sub`"),
    ("${!aws:username}", "CloudFormation's `Fn::Sub`"),
    ("${!x:y}", "CloudFormation's `Fn::Sub`"),
    ("${Token[AWS.AccountId.0]}", "the AWS CDK"),
    ("${Token[TOKEN.12]}", "the AWS CDK"),
    ("${self:custom.bucket}", "the Serverless Framework"),
    ("${self:provider.stage, 'dev'}", "the Serverless Framework"),
    ("${env:BUCKET}", "the Serverless Framework"),
    ("${opt:stage}", "the Serverless Framework"),
    ("${opt:stage, 'dev'}", "the Serverless Framework"),
    ("${param:bucket}", "the Serverless Framework"),
    ("${custom:bucket}", "the Serverless Framework"),
    ("${file(./buckets.yml):shop}", "the Serverless Framework"),
    ("${cf:stack.Output}", "the Serverless Framework"),
    ("${cf.eu-west-1:stack.Output}", "the Serverless Framework"),
    ("${cf(eu-west-1):stack.Output}", "the Serverless Framework"),
    ("${ssm:/shop/bucket}", "the Serverless Framework"),
    ("${ssm:bucket}", "the Serverless Framework"),
    ("${ssm:shop/bucket}", "the Serverless Framework"),
    ("${ssm.eu-west-1:/shop/bucket}", "the Serverless Framework"),
    ("${ssm(raw):/shop/bucket}", "the Serverless Framework"),
    ("${s3:shop/bucket.json}", "the Serverless Framework"),
    ("${aws:accountId}", "the Serverless Framework"),
    ("${aws:region}", "the Serverless Framework"),
    ("${sls:stage}", "the Serverless Framework"),
    ("${git:branch}", "the Serverless Framework"),
    ("${vault:secret/data/x.y}", "the Serverless Framework"),
    ("${terraform:outputs:bucket}", "the Serverless Framework"),
    ("${strToBool(true)}", "the Serverless Framework"),
    ("${var.bucket}", "Terraform"),
    ("${local.bucket}", "Terraform"),
    ("${data.aws_caller_identity.current.account_id}", "Terraform"),
    ("${module.shop.bucket_arn}", "Terraform"),
    ("${each.value}", "Terraform"),
    ("${each.key}:x", "Terraform"),
    ("${path.module}", "Terraform"),
    ("${terraform.workspace}", "Terraform"),
    ("${aws_s3_bucket.shop.arn}", "Terraform"),
    ("${var.prod ? 'a:b' : 'c'}", "Terraform"),
    ("$${jwt:/sub}", "Terraform"),
    ("$${aws:username}", "Terraform"),
    ("&{jwt:/sub}", "Terraform's `aws_iam_policy_document`"),
    ("&{aws:username}", "Terraform's `aws_iam_policy_document`"),
    ("#{AWS::AccountId}", "serverless-pseudo-parameters"),
    ("${{ secrets.BUCKET }}", "GitHub Actions"),
    ("{{resolve:ssm:/shop/bucket}}", "CloudFormation (dynamic references)"),
    ("{{resolve:secretsmanager:shop:SecretString:bucket}}", "CloudFormation (dynamic references)"),
    ("{{ bucket }}", "a template engine, such as Helm or Ansible"),
    ("{{.Values.bucket}}", "a template engine, such as Helm or Ansible"),
    ("{{bucket", "a template engine, such as Helm or Ansible"),
];

/// What the author of a grant is told, as it stands behind the place.
#[track_caller]
fn refusal(text: &str) -> String {
    let problem = Problem::from(Template::parse(text).expect_err(text));
    problem.to_string().trim_start().to_owned()
}

#[test]
fn what_another_tool_should_have_replaced_is_refused_and_the_tool_named() {
    for (text, tool) in FOREIGN {
        for whole in [text.to_owned(), format!("a/{text}"), format!("${{jwt:/sub}}/{text}/${{aws:userid}}")] {
            let refused = refusal(&whole);
            assert!(refused.contains(&format!("which {tool} should have replaced; ")), "{whole}: {refused}");
            let start: String = text.chars().take(9).collect();
            assert!(refused.starts_with(&format!("contains `{start}")), "{whole}: {refused}");
        }
    }
    assert_eq!(
        refusal("a/${self:custom.bucket}/*"),
        "contains `${self:custom.bucket}`, which the Serverless Framework should have replaced; write its value"
    );
    assert_eq!(
        refusal("a/${!jwt:/sub}/*"),
        "contains `${!jwt:/sub}`, which CloudFormation's `Fn::Sub` should have replaced; leave out its `!`"
    );
    assert_eq!(
        refusal("a/$${jwt:/sub}/*"),
        "contains `$${jwt:/sub}`, which Terraform should have replaced; write `${`"
    );
    assert_eq!(
        refusal("x{{resolve:ssm:/a}}y"),
        "contains `{{resolve:ssm:/a}}`, which CloudFormation (dynamic references) should have replaced; write its value"
    );
    let long = refusal(&format!("${{self:{}}}", "x".repeat(1_000)));
    assert!(long.len() < 250 && long.contains("x…`, which"), "{long}");
}

#[test]
fn what_is_neither_ours_nor_iams_is_refused() {
    let unknown = "contains an unknown form of a template, `";
    let no_variable = "contains `";
    let unclosed = "contains a `${` that is not closed: `${";
    let nested = "contains a `${…}` inside another: `${";
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
        ("${:}", no_variable),
        ("${username}", no_variable),
        ("${BUCKET}", no_variable),
        ("${Bucket.Arn}", no_variable),
        ("${BUCKET:-default}", no_variable),
        ("${BUCKET:default}", no_variable),
        ("${stage:dev}", no_variable),
        ("${aws}", no_variable),
        ("${aws:}", no_variable),
        ("${aws:/username}", no_variable),
        ("${aws::username}", no_variable),
        ("${aws:1name}", no_variable),
        ("${aws:user name}", no_variable),
        ("${aws:username }", no_variable),
        ("${ aws:username}", no_variable),
        ("${aws :username}", no_variable),
        ("${aws: username}", no_variable),
        ("${aws:user_name*}", no_variable),
        ("${aws:PrincipalTag/}", no_variable),
        ("${aws:PrincipalTag/ team}", no_variable),
        ("${aws:PrincipalTag/a*}", no_variable),
        ("${aws:PrincipalTag/a\tb}", no_variable),
        ("${aws:username, none}", no_variable),
        ("${aws:username, 'none}", no_variable),
        ("${aws:username, none'}", no_variable),
        ("${aws:username, '}", no_variable),
        ("${aws:username,'none'}", no_variable),
        ("${aws:username , 'none'}", no_variable),
        ("${aws:username,}", no_variable),
        ("${aws:username, 'a' }", no_variable),
        ("${no-service-of-aws:key}", no_variable),
        ("${localhost:sub}", no_variable),
        ("${example.com}", no_variable),
        ("${.com:sub}", no_variable),
        ("${a..com:sub}", no_variable),
        ("${example.1:sub}", no_variable),
        ("${https://example.com:sub}", no_variable),
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
        let refused = refusal(text);
        assert!(refused.starts_with(remedy), "{text}: {refused}");
        let says_why = remedy != no_variable || refused.contains("`, which is not a variable of IAM; write its value");
        assert!(says_why, "{text}: {refused}");
    }
}

#[test]
fn the_services_are_listed_as_they_are_looked_up() {
    let services: Vec<&str> = include_str!("../policy/services.txt").lines().collect();
    assert!(services.len() > 400 && services.is_sorted_by(|a, b| a < b), "sorted, each once");
    let of = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    assert!(services.iter().all(|service| !service.is_empty() && service.chars().all(of)));
    for known in ["s3", "ec2", "iam", "sts", "kms", "ssm", "sns", "sqs", "rds-db", "execute-api", "transfer"] {
        assert!(services.contains(&known), "{known}");
    }
    for of_tools in ["self", "env", "opt", "param", "custom", "file", "cf", "sls", "git", "vault", "var", "local"] {
        assert!(!services.contains(&of_tools), "{of_tools}");
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
    let unfilled = |error| Err(Denied::Unusable(Unusable::Template { principal: principal.clone(), error }));
    assert_eq!(claiming(&json!({}), &items), unfilled(ClaimError::Missing("/team".into())));
    assert_eq!(claiming(&json!({"team": ["a"]}), &items), unfilled(ClaimError::NotText("/team".into())));
    assert_eq!(claiming(&json!({"team": "*"}), &items), unfilled(ClaimError::Unfit("/team".into())));
    assert!(claiming(&json!({"team": "a"}), &items).is_ok());
    let tagged = [json!({}), json!({"tags": {"team": "${jwt:/team}"}})];
    assert_eq!(claiming(&json!({}), &tagged), unfilled(ClaimError::Missing("/team".into())));
}
