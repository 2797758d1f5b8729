//! What of a caller's claims gets into his session.

use serde_json::{Value, json};

use hallpass_testing::function::Function;
use hallpass_testing::world::World;

/// Claims that fit the templates of these tests.
fn claims(world: &World) -> Value {
    let mut claims = world.claims_with("department", "shop");
    claims["address"] = json!({"country/region": "de"});
    claims
}

#[tokio::test]
async fn a_claim_reaches_sts_in_a_resource_a_condition_and_a_tag() {
    let world = World::new().await;
    let item = json!({
        "policy": {"Version": "2012-10-17", "Statement": [
            {
                "Effect": "Allow",
                "Action": "s3:PutObject",
                "Resource": ["arn:aws:s3:::${jwt:/department}/${jwt:/sub}/*", "arn:aws:s3:::fixed/*"],
                "Condition": {"StringEquals": {"aws:RequestedRegion": "${jwt:/address/country~1region}-1"}},
            },
            {"Effect": "Deny", "Action": "s3:DeleteObject", "NotResource": "arn:aws:s3:::${jwt:/department}/*"},
        ]},
        "tags": {"team": "team-${jwt:/department}", "stage": "prod"},
    });
    world.dynamodb.grant("corp/user/carol", "default", &item);
    let function = world.start().await;
    function.call(world.request_with(&claims(&world))).await.credentials();
    let mint = world.sts.only_mint();
    assert_eq!(
        mint.statements(),
        [
            json!({"Effect": "Deny", "Action": "s3:DeleteObject", "NotResource": "arn:aws:s3:::shop/*"}),
            json!({
                "Effect": "Allow",
                "Action": "s3:PutObject",
                "Resource": ["arn:aws:s3:::shop/carol/*", "arn:aws:s3:::fixed/*"],
                "Condition": {"StringEquals": {"aws:RequestedRegion": "de-1"}},
            }),
        ]
    );
    assert_eq!(mint.tags(), [("stage", "prod"), ("team", "team-shop")].into());
}

#[tokio::test]
async fn the_federated_name_reaches_sts_in_a_resource_and_a_tag() {
    let world = World::new().await;
    let mut item = allowing("arn:aws:s3:::shop/${session:name}/*");
    item["tags"] = json!({"who": "${session:name}"});
    world.dynamodb.grant("corp/user/carol", "default", &item);
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    let mint = world.sts.only_mint();
    assert_eq!(mint.statements()[0]["Resource"], format!("arn:aws:s3:::shop/{}/*", mint.name()));
    assert_eq!(mint.tags(), [("who", mint.name())].into());
}

#[tokio::test]
async fn iams_own_variables_are_left_to_iam() {
    let world = World::new().await;
    let variables = [
        "${aws:username}",
        "${aws:username, 'anonymous'}",
        "${AWS:UserId}",
        "${aws:PrincipalTag/team, 'company-wide'}",
        "${aws:PrincipalTag/Cost Center}",
        "${aws:PrincipalTag/eks:eks-cluster-name}",
        "${s3:x-amz-acl}",
        "${ssm:resourceTag/Name}",
        "${kms:EncryptionContext:service}",
        "${www.amazon.com:user_id}",
        "${graph.facebook.com:id}",
        "${accounts.google.com:sub}",
        "${cognito-identity.amazonaws.com:sub}",
        "${oidc.eks.eu-west-1.amazonaws.com/id/ABC:sub}",
        "${saml:sub}",
        "${*}${?}${$}",
    ];
    let function = world.start().await;
    for variable in variables {
        let item = json!({"policy": {"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Action": "s3:GetObject",
            "Resource": [format!("arn:aws:s3:::shop/{variable}/${{jwt:/sub}}")],
            "Condition": {"StringLike": {"s3:prefix": format!("{variable}/*")}},
        }]}});
        world.dynamodb.grant("corp/user/carol", "default", &item);
        world.sts.server.forget_calls();
        function.call(world.request()).await.credentials();
        let mut expected = item["policy"]["Statement"][0].clone();
        expected["Resource"][0] = json!(format!("arn:aws:s3:::shop/{variable}/carol"));
        assert_eq!(world.sts.only_mint().statements(), [expected]);
    }
}

#[tokio::test]
async fn a_claim_that_is_missing_no_string_or_unfit_makes_the_grant_unusable() {
    let world = World::new().await;
    let resource = allowing("arn:aws:s3:::shop/${jwt:/department}/*");
    let not_resource = json!({"policy": {"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Action": "s3:GetObject", "NotResource": "arn:aws:s3:::shop/${jwt:/department}/*"},
    ]}});
    let condition = json!({"policy": {"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*",
        "Condition": {"StringEquals": {"aws:ResourceTag/team": ["a", "${jwt:/department}"]}},
    }]}});
    let tag = json!({"tags": {"team": "${jwt:/department}"}});
    let function = world.start().await;
    for item in [resource, not_resource, condition, tag] {
        world.dynamodb.grant("corp/user/carol", "default", &item);
        function.call(world.request_with(&claims(&world))).await.credentials();
        world.sts.server.forget_calls();
        unusable(&world, &function, &world.claims()).await;
        for claim in [
            json!(null),
            json!(7),
            json!(true),
            json!(["shop"]),
            json!({"name": "shop"}),
            json!(""),
            json!("*"),
            json!("sh?p"),
            json!("shop/other"),
            json!("a:b"),
            json!("${aws:username}"),
            json!("${jwt:/sub}"),
            json!("a b"),
            json!("shop\n"),
            json!("shop\",\"Effect\":\"Allow"),
            json!("größe"),
            json!("a".repeat(257)),
        ] {
            unusable(&world, &function, &world.claims_with("department", claim)).await;
        }
    }
}

#[tokio::test]
async fn every_character_of_the_alphabet_is_filled_in_as_it_stands() {
    let world = World::new().await;
    world.dynamodb.grant("corp/user/carol", "default", &allowing("arn:aws:s3:::shop/${jwt:/department}"));
    let function = world.start().await;
    for claim in ["AZaz09_.@+=,|-".to_owned(), "a".repeat(256)] {
        world.sts.server.forget_calls();
        function.call(world.request_with(&world.claims_with("department", claim.as_str()))).await.credentials();
        assert_eq!(world.sts.only_mint().statements()[0]["Resource"], format!("arn:aws:s3:::shop/{claim}"));
    }
}

#[tokio::test]
async fn a_template_in_another_place_or_form_makes_the_grant_unusable() {
    let world = World::new().await;
    let function = world.start().await;
    let mut with_key = allowing("*");
    with_key["policy"]["Statement"][0]["Condition"] = json!({"StringEquals": {"aws:ResourceTag/${jwt:/sub}": "a"}});
    let mut with_action = allowing("*");
    with_action["policy"]["Statement"][0]["Action"] = json!("s3:${jwt:/sub}");
    for item in [
        with_key,
        with_action,
        allowing("arn:aws:s3:::${jwt:sub}"),
        allowing("arn:aws:s3:::${jwt}"),
        allowing("arn:aws:s3:::${jwt:/sub, 'nobody'}"),
        allowing("arn:aws:s3:::${jwt:/sub"),
        allowing("arn:aws:s3:::${aws:PrincipalTag/${jwt:/sub}}"),
        allowing("arn:aws:s3:::${session:token}"),
        json!({"tags": {"${jwt:/sub}": "a"}}),
        json!({"tags": {"team": "${jwt:sub}"}}),
        json!({"policy_arns": ["arn:aws:iam::aws:policy/${jwt:/sub}"]}),
        json!({"require": {"acr": ["${var.acr}"]}}),
        json!({"require": {"amr": ["mfa", "{{amr}}"]}}),
        json!({"require": {"claims": {"/sub": ["carol", "${jwt:/sub}"]}}}),
        json!({"require": {"claims": {"/sub": ["carol", "${AWS::StackName}"]}}}),
    ] {
        world.dynamodb.grant("corp/user/carol", "default", &item);
        let answer = function.call(world.request()).await;
        assert_eq!(answer.status, 500, "{item}: {answer:?}");
        answer.refusal(500, "grant_unusable");
    }
    assert!(world.sts.mints().is_empty());
}

/// Placeholders that another tool should have replaced, as they are pasted from its files.
const OF_OTHER_TOOLS: [&str; 27] = [
    "${AWS::AccountId}",
    "${AWS::Partition}",
    "${!jwt:/sub}",
    "${!aws:username}",
    "${self:custom.bucket}",
    "${env:BUCKET}",
    "${opt:stage}",
    "${opt:stage, 'dev'}",
    "${param:bucket}",
    "${file(./buckets.yml):shop}",
    "${cf:stack.Output}",
    "${ssm:/shop/bucket}",
    "${ssm:bucket}",
    "${s3:shop/bucket}",
    "${aws:accountId}",
    "${var.bucket}",
    "${local.bucket}",
    "${data.aws_caller_identity.current.account_id}",
    "${Token[AWS.AccountId.0]}",
    "${BUCKET:-shop}",
    "$${jwt:/sub}",
    "&{jwt:/sub}",
    "#{AWS::AccountId}",
    "{{resolve:ssm:/shop/bucket}}",
    "{% if shop %}bucket{% endif %}",
    "%{ if shop }bucket%{ endif }",
    "%%{bucket}",
];

#[tokio::test]
async fn what_another_tool_should_have_replaced_makes_the_grant_unusable() {
    let world = World::new().await;
    let function = world.start().await;
    // A Deny, which would be lost without a word.
    let denying = |name: &str, value: Value| {
        let mut statement = json!({"Effect": "Deny", "Action": "s3:*", "Resource": "*"});
        if name == "NotResource" {
            statement.as_object_mut().unwrap().remove("Resource");
        }
        statement[name] = value;
        json!({"policy": {"Version": "2012-10-17", "Statement": [statement]}})
    };
    let places = |text: &str| {
        let arn = format!("arn:aws:s3:::shop/{text}/*");
        let as_text = denying("Resource", json!(arn))["policy"].to_string();
        [
            denying("Resource", json!(arn)),
            denying("Resource", json!(["*", arn])),
            denying("NotResource", json!(arn)),
            denying("Condition", json!({"StringLike": {"s3:prefix": ["x", format!("{text}/*")]}})),
            denying("Condition", json!({"ArnLike": {"aws:SourceArn": arn}})),
            denying("Condition", json!({"StringEquals": {format!("aws:PrincipalTag/{text}"): "x"}})),
            json!({ "policy": as_text }),
            json!({"tags": {"team": format!("team-{text}")}}),
            json!({"tags": {format!("team-{text}"): "x"}}),
            json!({"policy_arns": [format!("arn:aws:iam::aws:policy/{text}")]}),
        ]
    };
    for item in places("x") {
        world.dynamodb.grant("corp/user/carol", "default", &item);
        function.call(world.request()).await.credentials();
    }
    world.sts.server.forget_calls();
    for text in OF_OTHER_TOOLS {
        for item in places(text) {
            world.dynamodb.grant("corp/user/carol", "default", &item);
            let answer = function.call(world.request()).await;
            assert_eq!(answer.status, 500, "{item}: {answer:?}");
            answer.refusal(500, "grant_unusable");
        }
    }
    assert!(world.sts.mints().is_empty());
}

#[tokio::test]
async fn the_log_names_the_tool_that_a_placeholder_is_of() {
    let world = World::new().await;
    let function = world.start().await;
    let told = [
        (
            "${AWS::AccountId}",
            "contains `${AWS::AccountId}`, which CloudFormation's `Fn::Sub` should have replaced; write",
        ),
        ("${!jwt:/sub}", "contains `${!jwt:/sub}`, which CloudFormation's `Fn::Sub` should have replaced; leave out"),
        (
            "${self:custom.bucket}",
            "contains `${self:custom.bucket}`, which the Serverless Framework should have replaced;",
        ),
        ("$${jwt:/sub}", "contains `$${jwt:/sub}`, which Terraform should have replaced; write `${`"),
        (
            "&{jwt:/sub}",
            "contains `&{jwt:/sub}`, which Terraform's `aws_iam_policy_document` should have replaced; write",
        ),
        (
            "{% if a %}",
            "contains `{% if a %}`, which a template engine, such as Jinja or Ansible should have replaced;",
        ),
        ("%{ if a }b", "contains `%{ if a }`, which Terraform (a template directive) should have replaced; write what"),
        ("${bucket}", "contains `${bucket}`, which is not a variable of IAM; write its value"),
    ];
    for (text, _) in told {
        world.dynamodb.grant("corp/user/carol", "default", &allowing(&format!("arn:aws:s3:::{text}/*")));
        function.call(world.request()).await.refusal(500, "grant_unusable");
    }
    let outcomes = function.end().await.audit("outcome");
    assert_eq!(outcomes.len(), told.len());
    for (outcome, (_, told)) in outcomes.iter().zip(told) {
        let detail = outcome["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("/policy/Statement/0/Resource {told}")), "{detail}");
    }
}

#[tokio::test]
async fn a_policy_of_another_version_means_what_it_says_only_without_variables() {
    let world = World::new().await;
    let function = world.start().await;
    for version in [None, Some("2008-10-17")] {
        for variable in ["${aws:username}", "${jwt:/sub}", "${"] {
            let mut item = allowing(&format!("arn:aws:s3:::shop/{variable}"));
            set_version(&mut item, version);
            world.dynamodb.grant("corp/user/carol", "default", &item);
            function.call(world.request()).await.refusal(500, "grant_unusable");
        }
        let mut item = allowing("arn:aws:s3:::shop/*");
        set_version(&mut item, version);
        world.dynamodb.grant("corp/user/carol", "default", &item);
        world.sts.server.forget_calls();
        function.call(world.request()).await.credentials();
        assert_eq!(world.sts.only_mint().statements().len(), 1);
    }
}

#[tokio::test]
async fn a_policy_that_claims_make_too_large_is_not_sent() {
    let world = World::new().await;
    let resources: Vec<String> = (0..8).map(|number| format!("arn:aws:s3:::{number}/${{jwt:/department}}")).collect();
    let mut item = allowing("*");
    item["policy"]["Statement"][0]["Resource"] = json!(resources);
    world.dynamodb.grant("corp/user/carol", "default", &item);
    let function = world.start().await;
    function.call(world.request_with(&claims(&world))).await.credentials();
    world.sts.server.forget_calls();
    unusable(&world, &function, &world.claims_with("department", "a".repeat(256))).await;
}

/// An item that allows one action on this resource.
fn allowing(resource: &str) -> Value {
    let statement = json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": resource});
    json!({"policy": {"Version": "2012-10-17", "Statement": [statement]}})
}

fn set_version(item: &mut Value, version: Option<&str>) {
    let policy = item["policy"].as_object_mut().unwrap();
    match version {
        Some(version) => policy.insert("Version".to_owned(), json!(version)),
        None => policy.remove("Version"),
    };
}

async fn unusable(world: &World, function: &Function, claims: &Value) {
    let answer = function.call(world.request_with(claims)).await;
    assert_eq!(answer.status, 500, "{claims}: {answer:?}");
    answer.refusal(500, "grant_unusable");
    assert!(world.sts.mints().is_empty());
}
