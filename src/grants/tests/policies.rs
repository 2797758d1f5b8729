//! Is IAM's grammar understood, and told from what it is not?

use super::*;

fn problems(document: &Value) -> Vec<String> {
    match Policy::parse(document, "") {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(|problem| problem.split(' ').next().unwrap().to_owned()).collect(),
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

#[test]
fn what_iams_grammar_does_not_have_is_refused_at_its_place() {
    let condition = |condition: Value| statement_with("Condition", condition);
    for (document, place) in [
        (json!("policy"), ""),
        (json!({"Version": "2012-10-17"}), "/Statement"),
        (json!({"Version": "2012-10-17", "Statement": []}), "/Statement"),
        (json!({"Version": "2012-10-17", "Statement": ["x"]}), "/Statement/0"),
        (json!({"Version": "2020-01-01", "Statement": policy("Allow", "*")["Statement"]}), "/Version"),
        (json!({"Version": 2012, "Statement": policy("Allow", "*")["Statement"]}), "/Version"),
        (json!({"Version": "2012-10-17", "Statement": policy("Allow", "*")["Statement"], "a/b": 1}), "/a~1b"),
        (json!({"Version": "2012-10-17", "Id": 1, "Statement": policy("Allow", "*")["Statement"]}), "/Id"),
        (statement_with("Principal", "*".into()), "/Statement/0/Principal"),
        (statement_with("effect", "Allow".into()), "/Statement/0/effect"),
        (statement_with("Sid", json!(1)), "/Statement/0/Sid"),
        (statement_with("Effect", "allow".into()), "/Statement/0/Effect"),
        (statement_without("Effect"), "/Statement/0/Effect"),
        (statement_without("Action"), "/Statement/0"),
        (statement_without("Resource"), "/Statement/0"),
        (statement_with("NotAction", "s3:*".into()), "/Statement/0"),
        (statement_with("NotResource", "*".into()), "/Statement/0"),
        (statement_with("Action", json!([])), "/Statement/0/Action"),
        (statement_with("Action", json!(1)), "/Statement/0/Action"),
        (statement_with("Action", json!(["s3:*", null])), "/Statement/0/Action/1"),
        (statement_with("Action", "GetObject".into()), "/Statement/0/Action"),
        (statement_with("Action", "s*:GetObject".into()), "/Statement/0/Action"),
        (statement_with("Action", "s3:".into()), "/Statement/0/Action"),
        (statement_with("Action", "s3:Get Object".into()), "/Statement/0/Action"),
        (statement_with("Resource", json!([])), "/Statement/0/Resource"),
        (statement_with("Resource", "bucket".into()), "/Statement/0/Resource"),
        (statement_with("Resource", "arn:aws:s3".into()), "/Statement/0/Resource"),
        (statement_with("Resource", "arn:aws:s3:::home/${JWT:/sub}".into()), "/Statement/0/Resource"),
        (statement_with("Resource", "arn:aws:s3:::home/${ session:name}".into()), "/Statement/0/Resource"),
        (statement_with("Resource", "arn:aws:s3:::home/${aws:userid".into()), "/Statement/0/Resource"),
        (statement_with("Resource", "arn:aws:s3:::home/${}".into()), "/Statement/0/Resource"),
        (statement_with("Resource", "arn:aws:s3:::home/${aws:${x}}".into()), "/Statement/0/Resource"),
        (json!({"Version": "2012-10-17", "Statement": vec![json!({}); 45]}), "/Statement"),
        (condition(json!({"NumericEquals": {"a": 1e3}})), "/Statement/0/Condition/NumericEquals/a"),
        (condition(json!([])), "/Statement/0/Condition"),
        (condition(json!({"StringIs": {"a": "b"}})), "/Statement/0/Condition/StringIs"),
        (condition(json!({"NullIfExists": {"a": "true"}})), "/Statement/0/Condition/NullIfExists"),
        (condition(json!({"StringEquals": {}})), "/Statement/0/Condition/StringEquals"),
        (condition(json!({"StringEquals": "x"})), "/Statement/0/Condition/StringEquals"),
        (condition(json!({"StringEquals": {"a/b": null}})), "/Statement/0/Condition/StringEquals/a~1b"),
        (condition(json!({"StringEquals": {"a": []}})), "/Statement/0/Condition/StringEquals/a"),
        (condition(json!({"StringEquals": {"a": [["b"]]}})), "/Statement/0/Condition/StringEquals/a/0"),
        (condition(json!({"StringEquals": {"${jwt:/a}": "b"}})), "/Statement/0/Condition/StringEquals/${jwt:~1a}"),
    ] {
        assert_eq!(problems(&document), [place], "{document}");
    }
}

#[test]
fn variables_need_the_version_in_which_they_are_variables() {
    let mut policy = statement_with("Resource", "arn:aws:s3:::home/${aws:userid}".into());
    assert_eq!(problems(&policy), Vec::<String>::new());
    policy["Version"] = "2008-10-17".into();
    assert_eq!(problems(&policy), ["/Version"]);
    policy.as_object_mut().unwrap().remove("Version");
    assert_eq!(problems(&policy), ["/Version"]);
}
