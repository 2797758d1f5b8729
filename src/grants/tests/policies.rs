//! Is IAM's grammar understood, and told from what it is not?

use super::*;

/// Where it is wrong.
fn problems(document: &Value) -> Vec<String> {
    match Policy::parse(document, "") {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(|problem| problem.at.clone()).collect(),
    }
}

fn statement_with(name: &str, value: Value) -> Value {
    let mut policy = policy("Allow", "s3:GetObject");
    policy["Statement"][0][name] = value;
    policy
}

fn statement_without(name: &str) -> Value {
    let mut policy = policy("Allow", "s3:GetObject");
    policy["Statement"][0].as_object_mut().unwrap().remove(name);
    policy
}

#[test]
fn policies_of_iams_grammar_are_understood() {
    for good in [
        policy("Allow", "*"),
        policy("Deny", "s3:Get*"),
        statement_with("Action", json!(["s3:GetObject", "ec2:Describe?mages", "elasticloadbalancing-v2:X"])),
        statement_with(
            "Resource",
            json!(["arn:aws:s3:::bucket/${aws:userid}/*", "arn:aws:sqs:eu-west-1:111122223333:q"]),
        ),
        statement_with(
            "Condition",
            json!({
                "StringEquals": {"aws:PrincipalTag/team": ["a", "b"]},
                "ForAllValues:StringLikeIfExists": {"aws:TagKeys": "x*"},
                "Bool": {"aws:SecureTransport": true},
                "NumericLessThan": {"s3:max-keys": 10},
                "Null": {"aws:TokenIssueTime": "false"},
            "StringNotLike": {"aws:PrincipalTag/team": "${aws:PrincipalTag/team, 'none'}/${*}${?}${$}"},
            }),
        ),
        json!({"Statement": {"Effect": "Allow", "NotAction": "iam:*", "NotResource": "arn:aws:s3:::secret"}}),
        json!({"Version": "2008-10-17", "Id": "x", "Statement": [{"Effect": "Deny", "Action": "iam:*", "Resource": "*"}]}),
    ] {
        assert_eq!(problems(&good), Vec::<String>::new(), "{good}");
    }
}

/// Each mistake in a statement that is good but for it, with its place in the statement and how the remedy begins.
fn mistakes() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let action = "must be `*` or `service:Action`, the service without wildcards";
    let element = "is not an element of IAM's grammar here; check its spelling and case";
    vec![
        ("Principal", json!("*"), "/Principal", "belongs in resource policies; remove it"),
        ("NotPrincipal", json!({"AWS": "*"}), "/NotPrincipal", "belongs in resource policies; remove it"),
        ("action", json!("s3:*"), "/action", element),
        ("Conditions", json!({}), "/Conditions", element),
        ("a~/b", json!({}), "/a~0~1b", element),
        ("Sid", json!(7), "/Sid", "must be a string"),
        ("Sid", json!("${jwt:/sub}"), "/Sid", "contains a `${`, and templates do not work here"),
        ("Effect", json!("ALLOW"), "/Effect", "must be \"Allow\" or \"Deny\""),
        ("Effect", json!("${jwt:/effect}"), "/Effect", "must be \"Allow\" or \"Deny\""),
        ("Effect", json!(["Allow"]), "/Effect", "must be \"Allow\" or \"Deny\""),
        ("NotAction", json!("s3:*"), "", "must have either `Action` or `NotAction`"),
        ("NotResource", json!("*"), "", "must have either `Resource` or `NotResource`"),
        ("Action", json!([]), "/Action", "must not be empty"),
        ("Action", json!(null), "/Action", "must be a string"),
        ("Action", json!([["s3:*"]]), "/Action/0", "must be a string"),
        ("Action", json!({"a": "s3:*"}), "/Action", "must be a string"),
        ("Action", json!(""), "/Action", action),
        ("Action", json!("s3"), "/Action", action),
        ("Action", json!(":*"), "/Action", action),
        ("Action", json!("s3:"), "/Action", action),
        ("Action", json!("s?:Get"), "/Action", action),
        ("Action", json!("*:Get"), "/Action", action),
        ("Action", json!("**"), "/Action", action),
        ("Action", json!("s3:a:b"), "/Action", action),
        ("Action", json!("s3:Get Object"), "/Action", action),
        ("Action", json!("s_3:GetObject"), "/Action", action),
        ("Action", json!(["s3:*", "s3:${jwt:/sub}"]), "/Action/1", action),
        ("Action", json!("${jwt:/sub}:Get"), "/Action", action),
        ("Action", json!("s3:Gét"), "/Action", action),
        ("Resource", json!([]), "/Resource", "must not be empty"),
        ("Resource", json!(7), "/Resource", "must be a string"),
        ("Resource", json!(["*", null]), "/Resource/1", "must be a string"),
        ("Resource", json!("arn:aws:s3:::a/${"), "/Resource", "contains a `${` that is not closed"),
        ("Resource", json!("arn:aws:s3:::a/${x}"), "/Resource", "contains `${x}`, which is not a variable of IAM"),
        (
            "Resource",
            json!("arn:aws:s3:::a/${self:x}"),
            "/Resource",
            "contains `${self:x}`, which the Serverless Framework",
        ),
        ("Resource", json!("arn:aws:s3:::${AWS::AccountId}"), "/Resource", "contains `${AWS::AccountId}`, which Cloud"),
        ("Resource", json!("{{resolve:ssm:/a}}"), "/Resource", "contains `{{resolve:ssm:/a}}`, which CloudFormation"),
        ("Resource", json!("arn:aws:s3:::a/${aws:${*}}"), "/Resource", "contains a `${…}` inside another"),
        ("Resource", json!("arn:aws:s3:::a/${jwt:sub}"), "/Resource", "contains an unknown form of a template, `${jwt"),
        ("Condition", json!([]), "/Condition", "must be an object of operators"),
        ("Condition", json!("x"), "/Condition", "must be an object of operators"),
    ]
}

/// Each mistake in a resource, like those.
fn mistakes_in_resources() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let arn = "must be `*` or an ARN, `arn:partition:service:region:account:resource`";
    let early = "contains a variable of IAM before the fifth colon, where IAM does not replace it";
    let partition =
        "must name a partition that AWS has, such as `aws`, `aws-cn` or `aws-us-gov`, or `*` for all: `arn:";
    let service = "must name one service, in lower case; IAM does not accept a wildcard there: `arn:";
    let region = "must name a region as AWS writes it, such as `eu-west-1`, with wildcards, or none: `arn:";
    let account = "must name an account by its 12 digits, with wildcards, or none: `arn:";
    let of_iam = "must end in `*`, or in a resource of IAM with its type, such as `user/carol` or `role/*`: `arn:";
    let of_s3 = "must not name a region, since a bucket and its objects have none: `arn:aws:s3:";
    vec![
        ("Resource", json!(""), "/Resource", arn),
        ("Resource", json!("**"), "/Resource", arn),
        ("Resource", json!("shop"), "/Resource", arn),
        ("Resource", json!("arn:aws:s3:::"), "/Resource", arn),
        ("Resource", json!("arn:aws:s3::shop"), "/Resource", arn),
        ("Resource", json!("ARN:aws:s3:::shop"), "/Resource", arn),
        ("Resource", json!("urn:aws:s3:::shop"), "/Resource", arn),
        ("Resource", json!("*:aws:s3:::shop"), "/Resource", arn),
        ("Resource", json!("arn:azure:s3:::shop"), "/Resource", partition),
        ("Resource", json!("arn:awscn:s3:::shop"), "/Resource", partition),
        ("Resource", json!("arn:aws-CN:s3:::shop"), "/Resource", partition),
        ("Resource", json!("arn::s3:::shop"), "/Resource", partition),
        ("Resource", json!("arn:aws::::shop"), "/Resource", service),
        ("Resource", json!("arn:aws:S3:::shop"), "/Resource", service),
        ("Resource", json!("arn:aws:s3:EU:111122223333:shop"), "/Resource", region),
        ("Resource", json!("arn:aws:s3:eu/1:111122223333:shop"), "/Resource", region),
        ("Resource", json!("arn:aws:s3::1111 2222:shop"), "/Resource", account),
        ("Resource", json!("arn:aws:s3::1111-2222:shop"), "/Resource", account),
        ("Resource", json!("arn:${jwt:/sub}:s3:::shop"), "/Resource", partition),
        ("Resource", json!("arn:aws-${jwt:/sub}:s3:::shop"), "/Resource", partition),
        ("Resource", json!("arn:aws:${jwt:/sub}:::shop"), "/Resource", service),
        ("Resource", json!("${jwt:/sub}"), "/Resource", arn),
        ("Resource", json!("${jwt:/sub}:aws:s3:::shop"), "/Resource", arn),
        ("Resource", json!("arn:aws:s3:\u{1}::shop"), "/Resource", region),
        ("Resource", json!("arn:aws:s3::\u{2}:shop"), "/Resource", account),
        ("Resource", json!("arn:aws:s3:${aws:RequestedRegion}::shop"), "/Resource", early),
        ("Resource", json!("arn:aws:s3::${aws:PrincipalAccount}:shop"), "/Resource", early),
        ("Resource", json!("arn:${aws:Partition}:s3:::shop"), "/Resource", early),
        ("Resource", json!("arn:aws:${aws:Service}:::shop"), "/Resource", early),
        ("Resource", json!("arn:aws-foo:s3:::b"), "/Resource", partition),
        ("Resource", json!("arn:aws*:s3:::b"), "/Resource", partition),
        ("Resource", json!("arn:a?s:s3:::b"), "/Resource", partition),
        ("Resource", json!("arn:**:s3:::b"), "/Resource", partition),
        ("Resource", json!("arn:aws-:s3:::b"), "/Resource", partition),
        ("Resource", json!("arn:aws:*:*:111122223333:*"), "/Resource", service),
        ("Resource", json!("arn:aws:s*:::b"), "/Resource", service),
        ("Resource", json!("arn:aws:s?:::b"), "/Resource", service),
        ("Resource", json!("arn:*:*:*:*:*"), "/Resource", service),
        ("Resource", json!("arn:aws:s_3:::b"), "/Resource", service),
        ("Resource", json!("arn:aws:ec2:region:account-id:instance/*"), "/Resource", account),
        ("Resource", json!("arn:aws:iam:::shop"), "/Resource", of_iam),
        ("Resource", json!("arn:aws:iam::111122223333:carol"), "/Resource", of_iam),
        ("Resource", json!("arn:aws:iam::111122223333:user"), "/Resource", of_iam),
        ("Resource", json!("arn:aws:iam::111122223333:users/carol"), "/Resource", of_iam),
        ("Resource", json!("arn:aws:iam::111122223333:r*"), "/Resource", of_iam),
        ("Resource", json!("arn:aws:iam::111122223333:shop/${jwt:/sub}"), "/Resource", of_iam),
        (
            "Resource",
            json!("arn:aws:iam:eu-west-1:111122223333:user/a"),
            "/Resource",
            "must not name a region, since IAM",
        ),
        ("Resource", json!("arn:aws:iam:*:111122223333:user/a"), "/Resource", "must not name a region, since IAM"),
        ("Resource", json!("arn:aws:s3:us-east-1::shop"), "/Resource", of_s3),
        ("Resource", json!("arn:aws:s3:eu-west-1:111122223333:shop/*"), "/Resource", of_s3),
        ("Resource", json!("arn:aws:s3:*:*:shop"), "/Resource", of_s3),
        ("Resource", json!("arn:aws:s3:${jwt:/region}::shop-${jwt:/sub}"), "/Resource", of_s3),
    ]
}

/// Each mistake in a condition, with its place in the condition and how the remedy begins.
#[expect(clippy::too_many_lines, reason = "a table, to be read as one")]
fn mistakes_in_conditions() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let operator = "is not a condition operator of IAM; check its spelling and case";
    let block = "must be an object of at least one condition key";
    let key = "must be the name of a condition key, without templates";
    let twice = "is written twice, in different case; IAM treats both as one key";
    let kind = "must be a string, number or boolean";
    let of_type = "is not of the type that this operator compares";
    let variable = "contains a variable of IAM, which works only with operators for strings and ARNs";
    let whole = "must be a whole number of at most 64 bits; write any other as a string";
    let (number, truth, base64) = ("must be a number", "must be true or false", "must be base64");
    let (network, arn) = ("must be an address or a CIDR block", "must be an ARN, or a pattern of one");
    vec![
        ("stringEquals", json!({"k": "v"}), "", operator),
        ("StringIs", json!({"k": "v"}), "", operator),
        ("", json!({"k": "v"}), "", operator),
        ("IfExists", json!({"k": "v"}), "", operator),
        ("StringEqualsIfexists", json!({"k": "v"}), "", operator),
        ("StringEqualsIfExistsIfExists", json!({"k": "v"}), "", operator),
        ("ForSomeValues:StringEquals", json!({"k": "v"}), "", operator),
        ("forAllValues:StringEquals", json!({"k": "v"}), "", operator),
        ("ForAllValues:ForAnyValue:StringEquals", json!({"k": "v"}), "", operator),
        ("ForAllValues:", json!({"k": "v"}), "", operator),
        ("NullIfExists", json!({"k": "true"}), "", operator),
        ("ForAnyValue:NullIfExists", json!({"k": "true"}), "", operator),
        ("${jwt:/sub}", json!({"k": "v"}), "", operator),
        ("StringEquals", json!({}), "", block),
        ("StringEquals", json!(["k"]), "", block),
        ("StringEquals", json!(null), "", block),
        ("StringEquals", json!({"": "v"}), "/", key),
        ("StringEquals", json!({"${aws:userid}": "v"}), "/${aws:userid}", key),
        ("StringEquals", json!({"aws:PrincipalTag/${jwt:/x}": "v"}), "/aws:PrincipalTag~1${jwt:~1x}", key),
        (
            "StringEquals",
            json!({"aws:PrincipalTag/${": "v"}),
            "/aws:PrincipalTag~1${",
            "contains a `${` that is not closed",
        ),
        (
            "StringEquals",
            json!({"${self:x}": "v"}),
            "/${self:x}",
            "contains `${self:x}`, which the Serverless Framework",
        ),
        ("StringEquals", json!({"aws:&{x}": "v"}), "/aws:&{x}", "contains `&{x}`, which Terraform's"),
        (
            "StringEquals",
            json!({"{{resolve:ssm:a}}": "v"}),
            "/{{resolve:ssm:a}}",
            "contains `{{resolve:ssm:a}}`, which Cloud",
        ),
        ("StringEquals", json!({"aws:userid": "v", "aws:UserId": "v"}), "/aws:userid", twice),
        ("StringEquals", json!({"k": []}), "/k", "must not be empty"),
        ("StringEquals", json!({"k": null}), "/k", kind),
        ("StringEquals", json!({"k": {"a": "b"}}), "/k", kind),
        ("StringEquals", json!({"k": ["v", ["w"]]}), "/k/1", kind),
        ("StringEquals", json!({"k": 1.5}), "/k", whole),
        ("StringEquals", json!({"k": "${"}), "/k", "contains a `${` that is not closed"),
        (
            "StringEquals",
            json!({"k": "${AWS::Region}"}),
            "/k",
            "contains `${AWS::Region}`, which CloudFormation's `Fn::Sub`",
        ),
        ("NumericLessThan", json!({"k": "${opt:n}"}), "/k", "contains `${opt:n}`, which the Serverless Framework"),
        ("DateLessThan", json!({"k": "&{aws:CurrentTime}"}), "/k", "contains `&{aws:CurrentTime}`, which Terraform's"),
        ("Bool", json!({"k": "{{ x }}"}), "/k", "contains `{{ x }}`, which a template engine"),
        ("ArnLike", json!({"k": "$${x}"}), "/k", "contains `$${x}`, which Terraform"),
        ("StringLike", json!({"a/b": ["x", "${jwt}"]}), "/a~1b/1", "contains an unknown form of a template, `${jwt"),
        ("NumericEquals", json!({"k": 1e3}), "/k", whole),
        ("NumericLessThan", json!({"k": true}), "/k", of_type),
        ("NumericLessThan", json!({"k": "ten"}), "/k", number),
        ("NumericLessThan", json!({"k": ""}), "/k", number),
        ("NumericLessThan", json!({"k": "1e3"}), "/k", number),
        ("NumericLessThan", json!({"k": "inf"}), "/k", number),
        ("NumericLessThan", json!({"k": "-"}), "/k", number),
        ("NumericLessThan", json!({"k": "1 "}), "/k", number),
        ("NumericLessThan", json!({"k": "\u{1}"}), "/k", number),
        ("NumericLessThan", json!({"k": "${aws:MultiFactorAuthAge}"}), "/k", variable),
        ("DateLessThan", json!({"k": true}), "/k", of_type),
        ("DateLessThan", json!({"k": "${aws:CurrentTime}"}), "/k", variable),
        ("Bool", json!({"k": 1}), "/k", of_type),
        ("Bool", json!({"k": "yes"}), "/k", truth),
        ("Bool", json!({"k": "${aws:SecureTransport}"}), "/k", variable),
        ("Null", json!({"k": "absent"}), "/k", truth),
        ("Null", json!({"k": 0}), "/k", of_type),
        ("BinaryEquals", json!({"k": "a"}), "/k", base64),
        ("BinaryEquals", json!({"k": "aGFsbA"}), "/k", base64),
        ("BinaryEquals", json!({"k": true}), "/k", of_type),
        ("BinaryEquals", json!({"k": 7}), "/k", of_type),
        ("IpAddress", json!({"k": "203.0.113"}), "/k", network),
        ("IpAddress", json!({"k": "203.0.113.0/33"}), "/k", network),
        ("IpAddress", json!({"k": "203.0.113.0/-1"}), "/k", network),
        ("IpAddress", json!({"k": "203.0.113.0/"}), "/k", network),
        ("IpAddress", json!({"k": "2001:db8::/129"}), "/k", network),
        ("IpAddress", json!({"k": "*"}), "/k", network),
        ("IpAddress", json!({"k": 7}), "/k", of_type),
        ("NotIpAddress", json!({"k": ["203.0.113.0/24", "x"]}), "/k/1", network),
        ("NotIpAddress", json!({"k": "${aws:VpcSourceIp}"}), "/k", variable),
        ("ArnLike", json!({"k": "shop"}), "/k", arn),
        ("ArnEquals", json!({"k": ""}), "/k", arn),
        ("ArnEquals", json!({"k": "x${aws:SourceArn}"}), "/k", arn),
        ("ArnNotLike", json!({"k": "ARN:aws:s3:::a"}), "/k", arn),
        ("ArnLike", json!({"k": "\u{1}"}), "/k", arn),
        ("ArnLike", json!({"k": true}), "/k", of_type),
        ("ArnLike", json!({"k": 7}), "/k", of_type),
    ]
}

/// Each mistake in a date, like those.
fn mistakes_in_dates() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let date = "must be a date of ISO 8601, such as 2026-11-22T12:00:00Z, or seconds";
    vec![
        ("DateLessThan", json!({"k": "tomorrow"}), "/k", date),
        ("DateLessThan", json!({"k": "26-11-22"}), "/k", date),
        ("DateLessThan", json!({"k": "2026-11-22 12:00"}), "/k", date),
        ("DateLessThan", json!({"k": ""}), "/k", date),
        ("DateLessThan", json!({"k": "202é"}), "/k", date),
        ("DateLessThan", json!({"k": "-1"}), "/k", date),
        ("DateLessThan", json!({"k": -1}), "/k", date),
        ("DateLessThan", json!({"k": u64::MAX}), "/k", date),
        ("DateLessThan", json!({"k": "1.5"}), "/k", date),
        ("DateLessThan", json!({"k": "9223372036854775808"}), "/k", date),
        ("DateLessThan", json!({"k": "01T"}), "/k", date),
        ("DateLessThan", json!({"k": "2026-13"}), "/k", date),
        ("DateLessThan", json!({"k": "2026-00-01"}), "/k", date),
        ("DateLessThan", json!({"k": "2026-11-32"}), "/k", date),
        ("DateLessThan", json!({"k": "2026-11-22-01"}), "/k", date),
        ("DateLessThan", json!({"k": "2026-11-22T"}), "/k", date),
        ("DateLessThan", json!({"k": "2026-11-22T24:00:00Z"}), "/k", date),
        ("DateLessThan", json!({"k": "2026-11-22T12:60:00Z"}), "/k", date),
        ("DateLessThan", json!({"k": "2026-11-22T12:00:60Z"}), "/k", date),
        ("DateLessThan", json!({"k": "2026-11-22T12:00:00.Z"}), "/k", date),
        ("DateLessThan", json!({"k": "2026-11-22T12:00:00.0123456789Z"}), "/k", date),
        ("DateLessThan", json!({"k": "2026-11-22T12:00:00ZZ"}), "/k", date),
        ("DateLessThan", json!({"k": "2026-11-22T12:00:00+1"}), "/k", date),
        ("DateLessThan", json!({"k": "2026-11-22T12:00:00+24:00"}), "/k", date),
        ("DateLessThan", json!({"k": "2026-11-22T12:00:00+01:60"}), "/k", date),
        ("DateLessThan", json!({"k": "292278994-01-01"}), "/k", date),
    ]
}

#[track_caller]
fn assert_told(document: &Value, pointer: &str, place: &str, remedy: &str) {
    let problems = Policy::parse(document, pointer).expect_err(&document.to_string());
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1, "{document}: {told:?}");
    assert!(told[0].starts_with(&format!("{place} {remedy}")), "{document}: {told:?}, not {place} {remedy}");
}

#[test]
fn every_mistake_in_a_statement_is_told_at_its_place_with_its_remedy() {
    for (name, value, place, remedy) in mistakes().into_iter().chain(mistakes_in_resources()) {
        let listed = statement_with(name, value.clone());
        assert_told(&listed, "", &format!("/Statement/0{place}"), remedy);
        let single = json!({"Version": "2012-10-17", "Statement": listed["Statement"][0]});
        assert_told(&single, "/policy", &format!("/policy/Statement{place}"), remedy);
    }
    for (name, place, remedy) in [
        ("Effect", "/Effect", "must be \"Allow\" or \"Deny\""),
        ("Action", "", "must have either `Action` or `NotAction`"),
        ("Resource", "", "must have either `Resource` or `NotResource`"),
    ] {
        assert_told(&statement_without(name), "", &format!("/Statement/0{place}"), remedy);
    }
}

#[test]
fn every_mistake_in_a_condition_is_told_at_its_place_with_its_remedy() {
    for (operator, block, place, remedy) in mistakes_in_conditions().into_iter().chain(mistakes_in_dates()) {
        let document = statement_with("Condition", json!({ operator: block }));
        let operator = operator.replace('/', "~1");
        assert_told(&document, "", &format!("/Statement/0/Condition/{operator}{place}"), remedy);
    }
    let two = statement_with("Condition", json!({"StringIs": {}}));
    assert_eq!(problems(&two), ["/Statement/0/Condition/StringIs"; 2], "a wrong operator's block is looked at, too");
}

#[test]
fn every_mistake_in_a_document_is_told_at_its_place_with_its_remedy() {
    let document = |name: &str, value: Value| {
        let mut document = policy("Allow", "s3:GetObject");
        document[name] = value;
        document
    };
    let (version, list) = ("must be \"2012-10-17\"", "must be a statement or a list of at least one");
    for (document, place, remedy) in [
        (json!(null), "", "must be a JSON object"),
        (json!([]), "", "must be a JSON object"),
        (json!("{}"), "", "must be a JSON object"),
        (document("Version", json!("2012-10-18")), "/Version", version),
        (document("Version", json!(null)), "/Version", version),
        (document("Version", json!(["2012-10-17"])), "/Version", version),
        (document("Id", json!(7)), "/Id", "must be a string"),
        (document("Id", json!("${session:name}")), "/Id", "contains a `${`, and templates do not work here"),
        (document("version", json!("2012-10-17")), "/version", "is not an element of IAM's grammar here"),
        (document("Principal", json!("*")), "/Principal", "belongs in resource policies; remove it"),
        (document("Statement", json!([])), "/Statement", list),
        (document("Statement", json!(null)), "/Statement", list),
        (document("Statement", json!("x")), "/Statement", list),
        (document("Statement", json!([7])), "/Statement/0", "must be a statement, which is a JSON object"),
        (document("Statement", json!(vec![json!({}); 45])), "/Statement", "must have at most 44 statements, which is"),
    ] {
        assert_told(&document, "", place, remedy);
    }
    let mut old = statement_with("Resource", "arn:aws:s3:::home/${aws:userid}".into());
    for version in [json!("2008-10-17"), Value::Null] {
        old["Version"] = version.clone();
        if version.is_null() {
            old.as_object_mut().unwrap().remove("Version");
        }
        assert_told(&old, "", "/Version", "must be \"2012-10-17\", since a string contains `${`");
    }
}

#[test]
fn a_variable_anywhere_needs_the_version_in_which_it_is_one() {
    for (name, value, more) in [
        ("Resource", json!(["*", "arn:aws:s3:::${*}"]), 0),
        ("Condition", json!({"StringLike": {"aws:userid": ["a", "${aws:userid}"]}}), 0),
        ("Condition", json!({"StringLike": {"${aws:userid}": "a"}}), 1),
        ("Sid", json!("${"), 1),
    ] {
        for version in [Some("2008-10-17"), None] {
            let mut document = statement_with(name, value.clone());
            match version {
                Some(version) => document["Version"] = version.into(),
                None => drop(document.as_object_mut().unwrap().remove("Version")),
            }
            let problems = problems(&document);
            assert_eq!((problems[0].as_str(), problems.len()), ("/Version", 1 + more), "{document}");
        }
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let document = json!({"Version": 1, "Id": 2, "x": 3, "Statement": [
        {"Effect": "allow", "Action": [1, "x"], "Resource": "x", "Condition": {"X": {}, "Bool": {"k": ["x", "y"]}}},
        {},
    ]});
    let mut told = problems(&document);
    told.sort();
    let expected = [
        "/Id",
        "/Statement/0/Action/0",
        "/Statement/0/Action/1",
        "/Statement/0/Condition/Bool/k/0",
        "/Statement/0/Condition/Bool/k/1",
        "/Statement/0/Condition/X",
        "/Statement/0/Condition/X",
        "/Statement/0/Effect",
        "/Statement/0/Resource",
        "/Statement/1",
        "/Statement/1",
        "/Statement/1/Effect",
        "/Version",
        "/x",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_name_that_is_longer_than_any_is_cut_where_it_is_told() {
    let long = "é".repeat(1_000);
    assert_eq!(problems(&statement_with(&long, json!(1))), [format!("/Statement/0/{}", "é".repeat(128))]);
}

#[test]
fn values_that_each_operator_compares_are_understood() {
    let families: [(&[&str], Value); 7] = [
        (
            &[
                "StringEquals",
                "StringNotEquals",
                "StringEqualsIgnoreCase",
                "StringNotEqualsIgnoreCase",
                "StringLike",
                "StringNotLike",
            ],
            json!(["", "a*?", "${aws:userid}", "${jwt:/sub}", 7, -7, true, "é"]),
        ),
        (
            &[
                "NumericEquals",
                "NumericNotEquals",
                "NumericLessThan",
                "NumericLessThanEquals",
                "NumericGreaterThan",
                "NumericGreaterThanEquals",
            ],
            json!([0, -1, u64::MAX, "10", "-1.5", "+3", "0.25", "${jwt:/count}"]),
        ),
        (
            &[
                "DateEquals",
                "DateNotEquals",
                "DateLessThan",
                "DateLessThanEquals",
                "DateGreaterThan",
                "DateGreaterThanEquals",
            ],
            json!([
                "2026",
                "2026-11-22",
                "2026-11-22T12:00:00Z",
                "2026-11-22T12:00:00.5+01:00",
                "2026-11-22t2:00:00.593194-23",
                "2026-11-22T12",
                "2026-11-22T12:00",
                "2026-11-22T12:00:00z",
                "-292275054",
                "292278993-12-31",
                "9223372036854775807",
                "1800000000",
                1_800_000_000,
                "${jwt:/end}"
            ]),
        ),
        (&["Bool", "Null"], json!([true, false, "true", "False", "TRUE", "${jwt:/flag}"])),
        (&["BinaryEquals"], json!(["", "aGFsbA==", "${jwt:/bytes}"])),
        (
            &["IpAddress", "NotIpAddress"],
            json!([
                "203.0.113.7",
                "203.0.113.0/24",
                "0.0.0.0/0",
                "203.0.113.7/32",
                "2001:db8::/128",
                "::/0",
                "${jwt:/ip}/32"
            ]),
        ),
        (
            &["ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike"],
            json!([
                "*",
                "arn:*",
                "arn:aws:s3:::a/*",
                "${aws:SourceArn}",
                "${jwt:/arn}",
                "arn:aws:s3:::${jwt:/sub}/${aws:userid}"
            ]),
        ),
    ];
    let mut count = 0;
    for (operators, values) in families {
        for operator in operators {
            count += 1;
            for qualifier in ["", "ForAllValues:", "ForAnyValue:"] {
                for behind in if *operator == "Null" { &[""][..] } else { &["", "IfExists"] } {
                    let condition = json!({ format!("{qualifier}{operator}{behind}"): {"k": values} });
                    let document = statement_with("Condition", condition.clone());
                    let parsed = Policy::parse(&document, "").unwrap_or_else(|problems| panic!("{problems}"));
                    let printed = parsed.statements()[0].print(&|template: &Template| Ok::<_, ()>(template.outline()));
                    let printed = printed.unwrap();
                    assert!(printed["Condition"].get(format!("{qualifier}{operator}{behind}")).is_some(), "{printed}");
                    for one in values.as_array().unwrap() {
                        let of_one = json!({ operator.to_string(): {"k": one} });
                        assert_eq!(problems(&statement_with("Condition", of_one)), Vec::<String>::new(), "{one}");
                    }
                }
            }
        }
    }
    assert_eq!(count, 27, "all operators of IAM");
}

#[test]
fn resources_of_iams_grammar_are_understood() {
    for good in [
        "*",
        "arn:aws:s3:::shop",
        "arn:aws:s3:::*",
        "arn:*:s3:::shop",
        "arn:aws-us-gov:s3:::shop",
        "arn:aws-cn:ec2:cn-north-1:111122223333:instance/*",
        "arn:aws:logs:*:*:*",
        "arn:*:ec2:*:*:instance/*",
        "arn:aws-eusc:s3:::shop",
        "arn:aws-iso:s3:::shop",
        "arn:aws-iso-b:s3:::shop",
        "arn:aws-iso-e:s3:::shop",
        "arn:aws-iso-f:s3:::shop",
        "arn:aws:iam::111122223333:*",
        "arn:aws:iam::*:root",
        "arn:aws:iam::111122223333:user/carol",
        "arn:aws:iam::111122223333:${jwt:/kind}/carol",
        "arn:aws:iam::111122223333:us${aws:userid}",
        "arn:aws:iam::aws:AWSTemplate",
        "arn:aws:iam::111122223333:role/aws-service-role/*",
        "arn:aws:s3::111122223333:accesspoint/mrap",
        "arn:aws:s3::111122223333:shop",
        "arn:aws:s3:us-west-2:111122223333:accesspoint/shop/object/*",
        "arn:aws:s3:*:*:accesspoint/*",
        "arn:aws:s3:eu-west-1:111122223333:access-grants/default/grant/*",
        "arn:aws:s3:us-west-2:111122223333:async-request/mrap/*",
        "arn:aws:s3:eu-west-1:111122223333:job/*",
        "arn:aws:s3:eu-west-1:111122223333:storage-lens/*",
        "arn:aws:s3:eu-west-1:111122223333:storage-lens-group/*",
        "arn:aws:s3:eu-west-1:111122223333:access*",
        "arn:aws:s3:${jwt:/region}:${jwt:/account}:accesspoint/${session:name}",
        "arn:aws:invalid-service:us-east-1::shop",
        "arn:aws:ec2:us-*-?:1111????3333:instance/i-?",
        "arn:aws:iam::aws:policy/ReadOnlyAccess",
        "arn:aws:apigateway:eu-west-1::/restapis/*",
        "arn:aws:sns:eu-west-1:111122223333:a:b:c",
        "arn:aws:s3:::${aws:PrincipalTag/team, 'x:y'}/${jwt:/sub}",
        "arn:aws:sqs:${jwt:/region}:${jwt:/account}:${session:name}",
        "arn:aws:s3:::\u{1}",
    ] {
        assert_eq!(problems(&statement_with("Resource", good.into())), Vec::<String>::new(), "{good}");
    }
}

#[test]
fn actions_of_iams_grammar_are_understood() {
    for good in
        ["*", "*:*", "s3:*", "s3:Get*Object?", "S3:getobject", "aws-portal:View*", "elasticmapreduce:Run-Job_Flow2"]
    {
        assert_eq!(problems(&statement_with("Action", good.into())), Vec::<String>::new(), "{good}");
    }
}
