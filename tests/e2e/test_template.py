"""Is what would be deployed what the function needs, and no more? Only what sam, cfn-lint and checkov cannot know.

Nothing here starts anything. What the running function has to say about the template is in test_events.py.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest
from cfn import GIVEN, Template
from paths import ROOT

TEMPLATE = Template.load()
ARN = "arn:aws"
ACCOUNT = "111122223333"
# Of the metrics: two stacks in one account and region must not sound each other's alarms.
NAMESPACE = "Hallpass/hallpass"

# Every wildcard in what is allowed, and why it has to be one.
WILDCARDS = {
    ("BrokerPolicy", "MintSessions", f"{ARN}:sts::{ACCOUNT}:federated-user/*"): "every caller has a name of their own",
    ("FunctionRole", "Trace", "*"): "X-Ray's actions know no resources",
    (
        "KeyOperatorPolicy",
        "FindTheParts",
        f"{ARN}:cloudformation:us-east-1:{ACCOUNT}:stack/hallpass/*",
    ): "a request names the stack by its name, and is judged without its id",
    **{
        (policy, "FindTheTables", f"{ARN}:cloudformation:us-east-1:{ACCOUNT}:stack/hallpass/*"): (
            "a request names the stack by its name, and is judged without its id"
        )
        for policy in ("CiPolicy", "OperatorPolicy", "ReaderPolicy")
    },
    (
        "RevokerPolicy",
        "FindTheParts",
        f"{ARN}:cloudformation:us-east-1:{ACCOUNT}:stack/hallpass/*",
    ): "a request names the stack by its name, and is judged without its id",
    ("BoundaryPolicy", "", "*"): "a boundary allows nothing by itself, and this one must not limit the ceiling",
    ("ReaderPolicy", "FetchResultsOfQueries", "*"): "results of queries are known by an id, and by no resource",
    ("ReaderPolicy", "SeeAlarms", "*"): "a search for alarms has no resource",
    (
        "ApiMayInvoke",
        "",
        f"{ARN}:execute-api:us-east-1:{ACCOUNT}:<Api>/*",
    ): "the one stage, and every route of it",
}

# What the function's role may do. Each is called by a request: the function's own tests say so.
OF_FUNCTION = {
    ("dynamodb:BatchGetItem", "<GrantsTable.Arn>"),
    ("dynamodb:Query", "<GrantsTable.Arn>"),
    ("dynamodb:BatchGetItem", "<StateTable.Arn>"),
    ("dynamodb:PutItem", "<StateTable.Arn>"),
    ("secretsmanager:GetSecretValue", "<BrokerKey.Id>"),
    ("logs:CreateLogStream", "<FunctionLog.Arn>"),
    ("logs:PutLogEvents", "<FunctionLog.Arn>"),
    ("xray:PutTraceSegments", "*"),
    ("xray:PutTelemetryRecords", "*"),
}

# What the rotator's role may do: the steps of a rotation, the hourly run, and the removal of the keys.
OF_ROTATOR = {
    ("secretsmanager:DescribeSecret", "<BrokerKey.Id>"),
    ("secretsmanager:GetSecretValue", "<BrokerKey.Id>"),
    ("secretsmanager:PutSecretValue", "<BrokerKey.Id>"),
    ("secretsmanager:UpdateSecretVersionStage", "<BrokerKey.Id>"),
    ("iam:CreateAccessKey", "<BrokerUser.Arn>"),
    ("iam:DeleteAccessKey", "<BrokerUser.Arn>"),
    ("iam:ListAccessKeys", "<BrokerUser.Arn>"),
    ("iam:UpdateAccessKey", "<BrokerUser.Arn>"),
    ("logs:CreateLogStream", "<KeyRotatorLog.Arn>"),
    ("logs:PutLogEvents", "<KeyRotatorLog.Arn>"),
}
MAY = {"FunctionRole": OF_FUNCTION, "KeyRotatorRole": OF_ROTATOR}

FUNCTIONS = {"Function": "broker", "KeyRotator": "rotator"}

VARIABLE = re.compile(r"HALLPASS_[A-Z_]+[A-Z]")

# What sessions may touch of Hallpass, where the ceiling lets them.
NOT_PROTECTED = {
    "Dashboard": "it shows, and decides nothing",
    "CredentialsIssued": "it shows, and decides nothing",
    "ThrottledByGateway": "a filter of a log group, which is protected",
    "ApiMayInvoke": "part of the function, which is protected",
    "SecretsManagerMayRotate": "part of the rotator, which is protected",
    "ScheduleMayRun": "part of the rotator, which is protected",
    "Rotation": "part of the secret, which is protected",
    "BrokerKeys": "nothing but the order to the rotator, which is protected, to remove keys",
    "Stage": "part of the API, which is protected",
    "Integration": "part of the API, which is protected",
    "CredentialsByGet": "part of the API, which is protected",
    "CredentialsByPost": "part of the API, which is protected",
    "CredentialsOfGrantByGet": "part of the API, which is protected",
    "CredentialsOfGrantByPost": "part of the API, which is protected",
    "Grants": "part of the API, which is protected",
    "Console": "part of the API, which is protected",
    "Health": "part of the API, which is protected",
    "HealthByHead": "part of the API, which is protected",
    "PreflightOfCredentials": "part of the API, which is protected",
    "PreflightOfCredentialsOfGrant": "part of the API, which is protected",
    "PreflightOfGrants": "part of the API, which is protected",
    "PreflightOfConsole": "part of the API, which is protected",
    "PreflightOfHealth": "part of the API, which is protected",
    "Metadata": "part of the API, which is protected",
    "MetadataByHead": "part of the API, which is protected",
    "MetadataOfPath": "part of the API, which is protected",
    "MetadataOfPathByHead": "part of the API, which is protected",
    "PreflightOfMetadata": "part of the API, which is protected",
    "PreflightOfMetadataOfPath": "part of the API, which is protected",
    "Portal": "part of the API, which is protected",
    "PortalByHead": "part of the API, which is protected",
    "PortalFile": "part of the API, which is protected",
    "PortalFileByHead": "part of the API, which is protected",
    "Mapping": "part of the domain, which is protected",
    "Record": "protected by its name: see the test of the domain",
}

PHYSICAL_NAMES = {
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::DynamoDB::Table": "TableName",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::IAM::Role": "RoleName",
    "AWS::IAM::User": "UserName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::SecretsManager::Secret": "Name",
    "AWS::Serverless::Function": "FunctionName",
}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(resource: str, **parameters: str) -> list[dict[str, Any]]:
    """Of the policies that a resource is or has."""
    properties = TEMPLATE.properties(resource, **parameters)
    policies = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
    policies += [properties["PolicyDocument"]] if "PolicyDocument" in properties else []
    return [statement for policy in policies for statement in policy["Statement"]]


def allowed(resource: str) -> set[tuple[str, str]]:
    """Actions with their resources."""
    assert {statement["Effect"] for statement in statements(resource)} == {"Allow"}
    return {
        (action, on)
        for statement in statements(resource)
        for action in listed(statement["Action"])
        for on in listed(statement["Resource"])
    }


def statement(resource: str, sid: str, **parameters: str) -> dict[str, Any]:
    (found,) = [statement for statement in statements(resource, **parameters) if statement.get("Sid") == sid]
    return found


##### The functions


@pytest.mark.parametrize(("name", "binary"), FUNCTIONS.items())
def test_functions_run_where_they_were_measured(name: str, binary: str) -> None:
    function = TEMPLATE.properties(name)
    assert (function["Runtime"], function["Handler"]) == ("provided.al2023", "bootstrap")
    assert function["Architectures"] == ["arm64"]
    assert TEMPLATE.properties(name, Architecture="x86_64")["Architectures"] == ["x86_64"]
    assert TEMPLATE.resources[name]["Metadata"]["BuildMethod"] == "rust-cargolambda"
    assert TEMPLATE.resources[name]["Metadata"]["BuildProperties"] == {"Binary": binary}
    assert function["LoggingConfig"]["LogFormat"] == "JSON"
    assert "Policies" not in function, "SAM would make a role of its own"


def test_functions_have_the_time_and_the_memory_that_they_need() -> None:
    assert TEMPLATE.of_type("AWS::Serverless::Function").keys() == FUNCTIONS.keys()
    function, rotator = (TEMPLATE.properties(name) for name in FUNCTIONS)
    assert (function["MemorySize"], function["Timeout"], function["Tracing"]) == (512, 6, "Active")
    assert (rotator["MemorySize"], rotator["Timeout"]) == (128, 120)
    assert function["LoggingConfig"]["LogGroup"] == "<FunctionLog>"
    assert rotator["LoggingConfig"]["LogGroup"] == "<KeyRotatorLog>"


def test_every_variable_that_a_function_reads_is_set_and_explained_and_no_other() -> None:
    read = {"Function": variables_of("Config"), "KeyRotator": variables_of("RotatorConfig")}
    for name in FUNCTIONS:
        assert TEMPLATE.properties(name)["Environment"]["Variables"].keys() == read[name], name
    # The command line is not deployed.
    sources = [path for path in (ROOT / "src").rglob("*.rs") if "hallpass" not in path.parts]
    named = {name for path in sources for name in VARIABLE.findall(path.read_text())}
    assert named == read["Function"] | read["KeyRotator"]
    page = (ROOT / "docs/configuration.md").read_text()
    assert named == set(re.findall(rf"^\| `({VARIABLE.pattern})` \|", page, re.MULTILINE))


def variables_of(configuration: str) -> set[str]:
    """What its `from_lookup` reads: the names in it, and in the constants and functions of the file that it uses."""
    source = (ROOT / "src/config.rs").read_text()
    text = re.search(rf"^impl {configuration} \{{.*?^\}}", source, re.MULTILINE | re.DOTALL)[0]
    parts = r"^(?:const|fn) (?P<name>\w+)(?::[^\n]*;|\(.*?^\})$"
    for part in re.finditer(parts, source, re.MULTILINE | re.DOTALL):
        text += part[0] if re.search(rf"\b{part['name']}\b", text) else ""
    return set(VARIABLE.findall(text))


@pytest.mark.parametrize(("role", "may"), MAY.items())
def test_functions_may_do_what_they_need(role: str, may: set[tuple[str, str]]) -> None:
    assert allowed(role) == may
    trust = TEMPLATE.properties(role)["AssumeRolePolicyDocument"]["Statement"]
    assert [statement["Principal"] for statement in trust] == [{"Service": "lambda.amazonaws.com"}]
    assert "ManagedPolicyArns" not in TEMPLATE.properties(role)
    assert TEMPLATE.of_type("AWS::IAM::Role").keys() == MAY.keys()


def test_the_broker_cannot_change_its_key_and_the_rotator_sees_no_grant() -> None:
    assert [action for action, _ in OF_FUNCTION if action.startswith("iam:") or "SecretVersion" in action] == []
    assert ("secretsmanager:GetSecretValue", "<BrokerKey.Id>") in OF_FUNCTION
    assert [action for action, _ in OF_ROTATOR if action.startswith("dynamodb:")] == []
    rotator = TEMPLATE.properties("KeyRotator")["Environment"]["Variables"]
    broker = TEMPLATE.properties("Function")["Environment"]["Variables"]
    for name in ("HALLPASS_BROKER_KEY", "HALLPASS_METRICS_NAMESPACE"):
        assert rotator[name] == broker[name]
    assert rotator["HALLPASS_BROKER_USER"] == "<BrokerUser>"


##### Issuers


def issuers(**parameters: str) -> Any:
    return json.loads(TEMPLATE.properties("Function", **parameters)["Environment"]["Variables"]["HALLPASS_ISSUERS"])


def test_one_issuer_is_made_of_parameters() -> None:
    made = issuers(
        IssuerId="acme",
        IssuerUrl="https://acme.example/",
        Audiences="api://hallpass,b",
        SubjectClaim="/oid",
        GroupsClaim="/https:~1~1example.com~1groups",
        GroupsRequired="true",
        RequiredClaims='{"/tid":["1"],"/scp":["a b"]}',
    )
    assert made == [
        {
            "id": "acme",
            "issuer": "https://acme.example/",
            "audiences": ["api://hallpass", "b"],
            "subject_claim": "/oid",
            "groups_claim": "/https:~1~1example.com~1groups",
            "groups_required": True,
            "required_claims": {"/tid": ["1"], "/scp": ["a b"]},
        }
    ]


def test_the_clients_of_one_issuer_are_made_of_parameters() -> None:
    made = issuers(CliClientId="0oa1", BrowserClientId="0oa2", ClientScope="openid offline_access")
    scope = {"scope": "openid offline_access"}
    assert made[0]["cli"] == {"client_id": "0oa1"} | scope
    assert made[0]["browser"] == {"client_id": "0oa2"} | scope
    assert issuers(CliClientId="0oa1")[0]["cli"] == {"client_id": "0oa1", "scope": "openid"}
    assert "browser" not in issuers(CliClientId="0oa1")[0]
    assert "cli" not in issuers(BrowserClientId="0oa2")[0]


def test_issuers_can_be_given_as_they_stand() -> None:
    text = '[{"id": "a", "issuer": "https://a.example", "audiences": ["x"]}]'
    variables = TEMPLATE.properties("Function", IssuersJson=text, IssuerUrl="", Audiences="")["Environment"][
        "Variables"
    ]
    assert variables["HALLPASS_ISSUERS"] == text


def test_the_defaults_of_an_issuer_are_the_functions() -> None:
    defaults = {"subject_claim": "/sub", "groups_claim": "/groups", "groups_required": False, "required_claims": {}}
    least = {"id": "corp", "issuer": GIVEN["IssuerUrl"], "audiences": ["hallpass"]}
    assert issuers() == [least | defaults]
    source = (ROOT / "src/identity/issuer_config.rs").read_text()
    for name in ("subject_claim", "groups_claim"):
        assert f'fields.nullable("{name}", pointer).unwrap_or_else(|| "{defaults[name]}".into())' in source


@pytest.mark.parametrize("path", sorted((ROOT / "tests/providers").glob("*.json")), ids=lambda path: path.stem)
def test_a_providers_configuration_can_be_said_in_parameters(path: Any) -> None:
    configuration = json.loads(path.read_text())["configuration"]
    members = {
        "IssuerId": configuration["id"],
        "IssuerUrl": configuration["issuer"],
        "Audiences": ",".join(configuration["audiences"]),
        "SubjectClaim": configuration.get("subject_claim", "/sub"),
        "GroupsClaim": configuration.get("groups_claim", "/groups"),
        "GroupsRequired": json.dumps(configuration.get("groups_required", False)),
        "RequiredClaims": json.dumps(configuration.get("required_claims", {})),
    }
    said = {"id", "issuer", "audiences", "subject_claim", "groups_claim", "groups_required", "required_claims"}
    if configuration.keys() <= said and configuration["issuer"].startswith("https://"):
        assert [name for name, value in members.items() if not accepts(name, value)] == []
        assert configuration.items() <= issuers(**members)[0].items()
    else:
        text = json.dumps([configuration])
        assert accepts("IssuersJson", text)
        assert not TEMPLATE.broken_rules(IssuersJson=text)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({}, "exactly one"),
        ({"Audiences": "hallpass"}, "exactly one"),
        ({"IssuerUrl": "https://a.example", "Audiences": "x", "IssuersJson": "[]"}, "exactly one"),
        ({"IssuerUrl": "https://a.example"}, "Audiences"),
        ({"IssuersJson": "[]", "Audiences": "x"}, "leave the settings"),
        ({"IssuersJson": "[]", "GroupsRequired": "true"}, "leave the settings"),
        ({"IssuersJson": "[]", "RequiredClaims": '{"/hd":["example.com"]}'}, "leave the settings"),
        ({"IssuersJson": "[]", "SubjectClaim": "/oid"}, "leave the settings"),
        ({"IssuersJson": "[]", "GroupsClaim": "/roles"}, "leave the settings"),
        ({"IssuersJson": "[]", "IssuerId": "acme"}, "leave the settings"),
        ({"IssuersJson": "[]", "CliClientId": "x"}, "leave the settings"),
        ({"IssuersJson": "[]", "BrowserClientId": "x"}, "leave the settings"),
        ({"IssuersJson": "[]", "ClientScope": "openid groups"}, "leave the settings"),
    ],
    ids=str,
)
def test_issuers_are_named_in_exactly_one_way(parameters: dict[str, str], told: str) -> None:
    assert any(told in rule for rule in TEMPLATE.broken_rules(**parameters))


def test_each_of_the_two_ways_is_accepted() -> None:
    assert TEMPLATE.broken_rules(**GIVEN) == []
    assert TEMPLATE.broken_rules(**GIVEN, GroupsRequired="true", SubjectClaim="/oid") == []
    assert TEMPLATE.broken_rules(IssuersJson="[]") == []


##### Parameters


def accepts(name: str, value: Any) -> bool:
    parameter = TEMPLATE.parameters[name]
    if "AllowedValues" in parameter:
        return value in parameter["AllowedValues"]
    if parameter["Type"] == "Number":
        return parameter["MinValue"] <= value <= parameter["MaxValue"]
    fits = len(value) <= parameter.get("MaxLength", 4096)
    return fits and re.fullmatch(parameter["AllowedPattern"], value) is not None


def test_parameters_explain_themselves() -> None:
    interface = TEMPLATE.body["Metadata"]["AWS::CloudFormation::Interface"]
    grouped = [name for group in interface["ParameterGroups"] for name in group["Parameters"]]
    assert sorted(grouped) == sorted(interface["ParameterLabels"]) == sorted(TEMPLATE.parameters)
    for name, parameter in TEMPLATE.parameters.items():
        assert parameter["Description"].strip(), name
        assert parameter["ConstraintDescription"].strip(), name
        assert parameter.keys() & {"AllowedPattern", "AllowedValues", "MinValue"}, name
        assert parameter["Type"] in ("String", "Number"), "a list's Ref is not one text"
        if "Default" in parameter:
            assert accepts(name, parameter["Default"]), name
    assert [name for name in TEMPLATE.parameters if "Default" not in TEMPLATE.parameters[name]] == ["CeilingPolicyArns"]


ARN_OF_POLICY = "arn:aws:iam::aws:policy/ReadOnlyAccess"


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        (
            "CeilingPolicyArns",
            [ARN_OF_POLICY, "arn:aws-us-gov:iam::111122223333:policy/a/b", ",".join([ARN_OF_POLICY] * 9)],
            ["", "ReadOnlyAccess", f"{ARN_OF_POLICY}, {ARN_OF_POLICY}", f"{ARN_OF_POLICY},", "arn:aws:iam::aws:role/x"],
        ),
        ("IssuerId", ["corp", "a-1"], ["", "Corp", "a" * 33, "a_b"]),
        ("IssuerUrl", ["", "https://a.example/x/"], ["http://a.example", "https://a.example?x", 'https://a"b', " "]),
        ("Audiences", ["", "a", "a,b", "api://x"], ["a, b", 'a"b', "a,", ",", "a\\b"]),
        ("SubjectClaim", ["/sub", "/a/b", "/https:~1~1a.example~1x"], ["", "sub", "/a~2", '/a"b', "/a\\b", "/"]),
        ("RequiredClaims", ["{}", '{"/hd":["x"]}'], ["", "[]", "x"]),
        ("IssuersJson", ["", "[]", "[\n{}\n]"], ["{}", "x", "[" + " " * 3500 + "]"]),
        (
            "AllowedOrigins",
            [
                *("", "https://a.example", "http://localhost:5173,https://a.example"),
                *("capacitor://localhost", "ionic://localhost,tauri://localhost", "com.example.app+web://my_app:8080"),
                "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
                *("https://a.example,https://a.example.net", "https://b.a.example,https://a.example"),
                *("http://a.example:443", "https://a.example:8443,http://a.example:8080", "app://a:80"),
            ],
            [
                *("*", "null", "https://*", "https://*.a.example", "https://a.example/", "https://a.example/x"),
                *("a.example", "//a.example", "capacitor:localhost", "capacitor://", "1app://localhost"),
                *("https://a.example, https://b.example", "https://a.example,", ",https://a.example", " "),
                *("https://A.example", "Capacitor://localhost", "https://user@a.example", "https://a.example:"),
                *("https://a.example:443", "app://b,http://a.example:80,https://c.example"),
                *("https://a.example,https://a.example", "tauri://b,https://a.example,app://c,tauri://b"),
            ],
        ),
        ("CliClientId", ["", "hallpass-cli", "0oa1b2c3", "a:b/c@d~e"], ["a b", 'a"b', "a\\b", "é", "a" * 256]),
        ("BrowserClientId", ["", "hallpass-portal"], ["a b", 'a"b', "a\\b", "é", "a" * 256]),
        (
            "ClientScope",
            ["openid", "openid offline_access api://x/y"],
            ["", " openid", "openid ", "a  b", 'a"b', "a\\b"],
        ),
        (
            "DomainName",
            ["", "hallpass.example.com", "a.b", "xn--bcher-kva.example"],
            ["hallpass", "Hallpass.example.com", "https://a.example", "a.example/", "a_b.example", "-a.example", ".a.b"]
            + ["a.example.", "*.example.com", "a..b", f"{'a' * 64}.example"],
        ),
        (
            "CertificateArn",
            ["", "arn:aws:acm:eu-central-1:111122223333:certificate/0f8fad5b-d9cb-469f-a165-70867728950e"],
            ["0f8fad5b", "arn:aws:iam::111122223333:server-certificate/x", "arn:aws:acm:eu-central-1:1:certificate/x"],
        ),
        ("HostedZoneId", ["", "Z0123456789ABCDEFGHIJ"], ["/hostedzone/Z0123456789", "example.com", "z1", "Z" * 33]),
        (
            "PublicUrl",
            ["", "https://a.example", "https://a.example/", "https://a.example:8443/x/y"],
            ["http://a.example", "a.example", "https://A.example", "https://a.example//", "https://a.example?x"]
            + ["https://user@a.example", "https://a.example/x y", "https://a.example#x"],
        ),
        ("AlarmTopicArn", ["", "arn:aws:sns:eu-central-1:111122223333:alarms"], ["alarms", "arn:aws:sqs:x:1:y"]),
    ],
)
def test_a_mistake_in_a_parameter_is_refused_before_anything_is_made(
    name: str, good: list[str], bad: list[str]
) -> None:
    assert [value for value in good if not accepts(name, value)] == []
    assert [value for value in bad if accepts(name, value)] == []


##### The way in


SOURCE = (ROOT / "src/http/route.rs").read_text() + (ROOT / "src/http/cors.rs").read_text()
METADATA = "/.well-known/oauth-protected-resource"
OTHER_SCHEMES = (
    "capacitor://localhost",
    "https://a.example,tauri://localhost",
    "app://b,http://a",
    "shttp://a.example",
)


def of_function(preflights: bool) -> set[tuple[str, str]]:
    """Its routes, by method and path. Where its own URL has a path, the metadata is before it too, and browsers may ask
    for it from anywhere, whoever answers the other preflights."""
    source = SOURCE.replace("METADATA_PATH,", f'"{METADATA}",')
    paths = dict(re.findall(r'Self::(\w+) => "(/[\w./{}-]*)"', source))
    allows = re.findall(r'((?:Self::\w+(?: \| )?)+) => "([A-Z, ]+)"', SOURCE)
    (count,) = re.findall(r"const ALL: \[Self; (\d+)\]", SOURCE)
    assert len(paths) == int(count), "the search finds all routes"
    routes = {
        (method, paths[route])
        for names, methods in allows
        for route in re.findall(r"Self::(\w+)", names)
        for method in methods.split(", ")
        if preflights or route == "Metadata" or method != "OPTIONS"
    }
    return routes | {(method, f"{path}/{{path+}}") for method, path in routes if path == METADATA}


def test_every_route_of_the_gateway_is_one_of_the_function_and_the_reverse() -> None:
    for web in ("", "https://a.example", "https://a.example,http://localhost:5173"):
        assert TEMPLATE.routes(AllowedOrigins=web) == of_function(preflights=False), "the gateway answers preflights"
    for origins in OTHER_SCHEMES:
        assert TEMPLATE.routes(AllowedOrigins=origins) == of_function(preflights=True), origins
    assert of_function(preflights=False) == {
        ("GET", "/v1/credentials"),
        ("POST", "/v1/credentials"),
        ("GET", "/v1/credentials/{grant}"),
        ("POST", "/v1/credentials/{grant}"),
        ("GET", "/v1/grants"),
        ("POST", "/v1/console"),
        ("GET", "/"),
        ("HEAD", "/"),
        ("GET", "/portal/{file}"),
        ("HEAD", "/portal/{file}"),
        ("GET", "/v1/health"),
        ("HEAD", "/v1/health"),
        ("GET", METADATA),
        ("HEAD", METADATA),
        ("OPTIONS", METADATA),
        ("GET", f"{METADATA}/{{path+}}"),
        ("HEAD", f"{METADATA}/{{path+}}"),
        ("OPTIONS", f"{METADATA}/{{path+}}"),
    }


def test_every_route_ends_at_the_function() -> None:
    for name in TEMPLATE.of_type("AWS::ApiGatewayV2::Route"):
        route = TEMPLATE.properties(name)
        assert (route["Target"], route["AuthorizationType"]) == ("integrations/<Integration>", "NONE")
    integration = TEMPLATE.properties("Integration")
    assert "functions/<Function.Arn>/invocations" in integration["IntegrationUri"]
    assert integration["PayloadFormatVersion"] == "2.0"


def test_the_gateway_throttles_and_can_be_told_to_throttle_otherwise() -> None:
    def settings(**parameters: str) -> tuple[Any, Any]:
        route = TEMPLATE.properties("Stage", **parameters)["DefaultRouteSettings"]
        return route["ThrottlingRateLimit"], route["ThrottlingBurstLimit"]

    assert settings() == (50, 100)
    assert settings(RequestsPerSecond="7", RequestsAtOnce="9") == ("7", "9")
    assert not accepts("RequestsPerSecond", 0)
    assert not accepts("RequestsAtOnce", 0)


def test_the_access_log_holds_nothing_that_a_client_writes() -> None:
    log = TEMPLATE.properties("Stage")["AccessLogSettings"]
    fields = set(json.loads(log["Format"]).values())
    written_by_clients = ("path", "userAgent", "query", "domain", "authorizer", "customDomain")
    assert [field for field in fields if any(word in field for word in written_by_clients)] == []
    assert {"$context.requestId", "$context.status", "$context.routeKey", "$context.identity.sourceIp"} <= fields
    assert log["DestinationArn"] == "<AccessLog.Arn>"


def test_one_parameter_sets_the_origins_of_gateway_and_function() -> None:
    two = "https://a.example,http://localhost:5173"
    assert TEMPLATE.properties("Api", AllowedOrigins=two)["CorsConfiguration"]["AllowOrigins"] == two.split(",")
    for origins in ("", two, *OTHER_SCHEMES):
        variables = TEMPLATE.properties("Function", AllowedOrigins=origins)["Environment"]["Variables"]
        assert variables["HALLPASS_ALLOWED_ORIGINS"] == origins


def test_the_gateway_leaves_browsers_to_the_function_if_it_cannot_take_an_origin() -> None:
    for origins in ("", *OTHER_SCHEMES):
        assert "CorsConfiguration" not in TEMPLATE.properties("Api", AllowedOrigins=origins), origins
    for origins in ("https://http.example", "http://a.example:8080,https://b.example", "https://a.example"):
        cors = TEMPLATE.properties("Api", AllowedOrigins=origins)["CorsConfiguration"]
        assert cors["AllowOrigins"] == origins.split(",")


def test_gateway_and_function_allow_the_same_headers_and_methods() -> None:
    cors = TEMPLATE.properties("Api", AllowedOrigins="https://a.example")["CorsConfiguration"]
    (headers,) = re.findall(r'const ALLOWED_HEADERS: &str = "([^"]+)"', SOURCE)
    assert cors["AllowHeaders"] == re.split(r",[\s\\]+", headers)
    assert f'ACCESS_CONTROL_ALLOW_METHODS, "{", ".join(cors["AllowMethods"])}"' in SOURCE
    assert f'ACCESS_CONTROL_EXPOSE_HEADERS, "{", ".join(cors["ExposeHeaders"])}"' in SOURCE
    assert f'PREFLIGHT_MAX_AGE: &str = "{cors["MaxAge"]}"' in SOURCE
    page = (ROOT / "docs/api.md").read_text()
    assert [name for name in cors["AllowHeaders"] if f"`{name}`" not in page] == []


##### The URL that people type


CERTIFICATE = "arn:aws:acm:us-east-1:111122223333:certificate/0f8fad5b-d9cb-469f-a165-70867728950e"
DOMAIN = {"DomainName": "hallpass.example.com", "CertificateArn": CERTIFICATE}


def made(type_: str, **parameters: str) -> bool:
    ((_, resource),) = TEMPLATE.of_type(type_).items()
    return TEMPLATE.holds(resource.get("Condition"), **parameters)


def url_of(**parameters: str) -> tuple[str, str]:
    """What the function takes for its own URL, and what the operator is told."""
    told = TEMPLATE.resolve(TEMPLATE.body["Outputs"]["Url"]["Value"], **parameters)
    return TEMPLATE.properties("Function", **parameters)["Environment"]["Variables"]["HALLPASS_PUBLIC_URL"], told


def test_without_a_domain_the_api_has_its_own_url() -> None:
    for type_ in ("AWS::ApiGatewayV2::DomainName", "AWS::ApiGatewayV2::ApiMapping", "AWS::Route53::RecordSet"):
        assert not made(type_), type_
    assert TEMPLATE.properties("Api")["DisableExecuteApiEndpoint"] is False
    assert url_of() == ("", "<Api.ApiEndpoint>")
    assert statements("BrokerPolicy")[-2]["Sid"] == "NoIamOrNoneOfHallpass"


def test_a_domain_is_the_only_way_in() -> None:
    assert made("AWS::ApiGatewayV2::DomainName", **DOMAIN)
    assert made("AWS::ApiGatewayV2::ApiMapping", **DOMAIN)
    assert not made("AWS::Route53::RecordSet", **DOMAIN), "the domain may be somewhere else"
    assert TEMPLATE.properties("Api", **DOMAIN)["DisableExecuteApiEndpoint"] is True
    domain = TEMPLATE.properties("Domain", **DOMAIN)
    assert domain["DomainName"] == "hallpass.example.com"
    assert domain["DomainNameConfigurations"] == [
        {"CertificateArn": CERTIFICATE, "EndpointType": "REGIONAL", "SecurityPolicy": "TLS_1_2"}
    ]
    mapping = TEMPLATE.properties("Mapping", **DOMAIN)
    assert mapping == {"ApiId": "<Api>", "DomainName": "<Domain>", "Stage": "<Stage>"}, "at the root"
    assert url_of(**DOMAIN) == ("https://hallpass.example.com", "https://hallpass.example.com")
    assert TEMPLATE.holds(TEMPLATE.body["Outputs"]["DomainTarget"]["Condition"], **DOMAIN)


def test_in_route_53_the_domain_gets_its_record() -> None:
    zone = DOMAIN | {"HostedZoneId": "Z0123456789"}
    assert made("AWS::Route53::RecordSet", **zone)
    record = TEMPLATE.properties("Record", **zone)
    assert (record["HostedZoneId"], record["Name"], record["Type"]) == ("Z0123456789", "<Domain>", "A")
    assert record["AliasTarget"] == {
        "DNSName": "<Domain.RegionalDomainName>",
        "HostedZoneId": "<Domain.RegionalHostedZoneId>",
        "EvaluateTargetHealth": False,
    }


def test_sessions_keep_their_hands_off_the_domain() -> None:
    denied = statement("BrokerPolicy", "HandsOffHallpass", **DOMAIN)["Resource"]
    domain = f"{ARN}:apigateway:us-east-1::/domainnames/hallpass.example.com"
    assert {domain, f"{domain}/*"} <= set(denied)
    assert statement("BrokerPolicy", "HandsOffItsName", **DOMAIN) == {
        "Sid": "HandsOffItsName",
        "Effect": "Deny",
        "Action": "route53:ChangeResourceRecordSets",
        "Resource": "*",
        "Condition": {
            "ForAnyValue:StringEquals": {
                "route53:ChangeResourceRecordSetsNormalizedRecordNames": ["hallpass.example.com"]
            }
        },
    }


def test_another_url_is_the_operators_word() -> None:
    url = "https://example.com/hallpass"
    assert url_of(PublicUrl=url) == (url, url)
    assert url_of(PublicUrl=url, **DOMAIN) == (url, url), "a CDN before the domain"


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"DomainName": "a.example"}, "Set both of DomainName and CertificateArn"),
        ({"CertificateArn": CERTIFICATE}, "Set both of DomainName and CertificateArn"),
        ({"HostedZoneId": "Z1"}, "Set DomainName with HostedZoneId"),
    ],
    ids=str,
)
def test_half_a_domain_is_refused(parameters: dict[str, str], told: str) -> None:
    assert [told in rule for rule in TEMPLATE.broken_rules(**GIVEN, **parameters)] == [True]
    assert TEMPLATE.broken_rules(**GIVEN, **DOMAIN, HostedZoneId="Z1") == []


##### Who may do what


def test_no_wildcard_is_allowed_without_a_reason() -> None:
    found = {
        (name, statement.get("Sid", ""), value)
        for name in TEMPLATE.resources
        for statement in statements(name)
        if statement["Effect"] == "Allow"
        for member in ("Action", "Resource")
        for value in listed(statement[member])
        if "*" in value
    }
    for name in TEMPLATE.of_type("AWS::Lambda::Permission"):
        permission = TEMPLATE.properties(name)
        found |= {(name, "", value) for value in permission.values() if "*" in value}
    assert found == WILDCARDS.keys()
    for name in TEMPLATE.resources:
        for statement in statements(name):
            if statement["Effect"] == "Allow":
                assert not {"NotAction", "NotResource", "NotPrincipal"} & statement.keys(), name


def test_the_key_of_the_broker_user_opens_nothing_directly() -> None:
    direct = statement("BrokerPolicy", "KeyOpensNothingDirectly")
    assert direct == {
        "Sid": "KeyOpensNothingDirectly",
        "Effect": "Deny",
        "NotAction": ["sts:GetFederationToken", "sts:TagSession", "sts:GetCallerIdentity"],
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:PrincipalType": "User"}},
    }
    mint = statement("BrokerPolicy", "MintSessions")
    assert mint["Action"] == ["sts:GetFederationToken", "sts:TagSession"]
    allowed = [statement["Sid"] for statement in statements("BrokerPolicy") if statement["Effect"] == "Allow"]
    assert allowed == ["MintSessions"], "all else is the ceiling's"


def test_sessions_use_no_iam_unless_a_parameter_says_so_and_never_hallpass_own() -> None:
    assert statement("BrokerPolicy", "NoIamOrNoneOfHallpass")["Resource"] == ["*"]
    denied = statement("BrokerPolicy", "NoIamOrNoneOfHallpass", AllowIam="true")
    assert (denied["Effect"], denied["Action"]) == ("Deny", "iam:*")
    kinds = ("user", "role", "policy")
    assert denied["Resource"] == [f"{ARN}:iam::{ACCOUNT}:{kind}/hallpass/hallpass/*" for kind in kinds]
    for name in TEMPLATE.of_type("AWS::IAM::User", "AWS::IAM::Role", "AWS::IAM::ManagedPolicy"):
        assert TEMPLATE.properties(name)["Path"] == "/hallpass/hallpass/", name


def test_sessions_keep_their_hands_off_every_part_of_hallpass() -> None:
    hands_off = statement("BrokerPolicy", "HandsOffHallpass")
    assert (hands_off["Effect"], hands_off["Action"], "Condition" in hands_off) == ("Deny", "*", False)
    denied = set(hands_off["Resource"])
    assert "*" not in denied
    assert f"{ARN}:cloudformation:us-east-1:{ACCOUNT}:stack/hallpass/*" in denied, "whatever a request calls it by"
    logs = f"{ARN}:logs:us-east-1:{ACCOUNT}:log-group"
    for name, resource in TEMPLATE.resources.items():
        match resource["Type"]:
            case "AWS::DynamoDB::Table":  # its indexes, streams, backups and exports too
                assert {f"<{name}.Arn>", f"<{name}.Arn>/*"} <= denied, name
            case "AWS::Serverless::Function" if name == "KeyRotator":
                assert f"{ARN}:lambda:us-east-1:{ACCOUNT}:function:*-{name}-*" in denied
            case "AWS::Serverless::Function":  # its versions and aliases too
                assert {f"<{name}.Arn>", f"<{name}.Arn>:*"} <= denied, name
            case "AWS::Events::Rule":
                assert f"{ARN}:events:us-east-1:{ACCOUNT}:rule/*-{name}-*" in denied, name
            case "AWS::Logs::LogGroup":
                assert {f"{logs}:<{name}>", f"{logs}:<{name}>:*"} <= denied, name
            case "AWS::SecretsManager::Secret":
                assert f"<{name}.Id>" in denied, name
            case "AWS::ApiGatewayV2::Api":
                api = f"{ARN}:apigateway:us-east-1::/apis/<{name}>"
                assert {api, f"{api}/*"} <= denied, name
            case "AWS::ApiGatewayV2::DomainName":
                pass  # where there is one: see the test of the domain
            case "AWS::CloudWatch::Alarm" if name == "KeyRotationFailed":
                assert f"{ARN}:cloudwatch:us-east-1:{ACCOUNT}:alarm:*-{name}-*" in denied
            case "AWS::CloudWatch::Alarm":
                assert f"<{name}.Arn>" in denied, name
            case "AWS::IAM::Role":  # what is not IAM's, as sts:AssumeRole
                assert f"{ARN}:iam::{ACCOUNT}:role/hallpass/hallpass/*" in denied, name
            case "AWS::IAM::User" | "AWS::IAM::ManagedPolicy":
                pass  # by their path: the test above
            case _:
                assert name in NOT_PROTECTED, f"{name}: protect it, or say why not"
    assert NOT_PROTECTED.keys() <= TEMPLATE.resources.keys()


def test_what_is_denied_by_its_name_is_what_would_need_itself_and_keeps_its_name() -> None:
    # STACK-LOGICALID-RANDOM: of the stack's name CloudFormation leaves what there is room for, of the logical id 24
    # characters. https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-properties-name.html
    by_name = {"KeyRotator", "KeyRotatorHourly", "KeyRotationFailed"}
    patterns = [each for each in statement("BrokerPolicy", "HandsOffHallpass")["Resource"] if "*-" in each]
    assert {re.search(r"\*-(\w+)-\*$", each)[1] for each in patterns} == by_name
    for name in by_name:
        assert "BrokerPolicy" in TEMPLATE.needs(name), f"{name} can be denied by its ARN"
        assert len(name) <= 24, name


def test_the_broker_user_has_its_limits_for_as_long_as_it_exists() -> None:
    two = "arn:aws:iam::aws:policy/a,arn:aws:iam::111122223333:policy/b"
    user = TEMPLATE.properties("BrokerUser", CeilingPolicyArns=two)
    # As a property of the user, not of the policy: CloudFormation makes it before the user, and removes it after.
    assert user["ManagedPolicyArns"] == ["<BrokerPolicy>", *two.split(",")]
    assert user["PermissionsBoundary"] == "<BoundaryPolicy>"
    assert user.keys() == {"Path", "ManagedPolicyArns", "PermissionsBoundary"}, "no group, no password"
    assert "Users" not in TEMPLATE.properties("BrokerPolicy")
    assert TEMPLATE.of_type("AWS::IAM::AccessKey") == {}, "a key in the stack would be in its history"


def test_the_boundary_never_changes() -> None:
    # CloudFormation would make a changed document the default version, without the cuts, and replace a policy whose
    # description or path has changed.
    assert TEMPLATE.properties("BoundaryPolicy") == {
        "Description": "Permissions boundary of the broker user of Hallpass, with the cuts of hallpass revoke",
        "Path": "/hallpass/hallpass/",
        "PolicyDocument": {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
        },
    }
    assert TEMPLATE.needs("BoundaryPolicy") == set(), "there before the user is, or is updated"
    assert "BoundaryPolicy" in TEMPLATE.needs("BrokerUser"), "and deleted after the user"


def test_who_cuts_sessions_off_writes_cuts_and_blocks_and_nothing_else() -> None:
    assert allowed("RevokerPolicy") == {
        ("cloudformation:DescribeStacks", f"{ARN}:cloudformation:us-east-1:{ACCOUNT}:stack/hallpass/*"),
        ("iam:GetUser", "<BrokerUser.Arn>"),
        *(
            (f"iam:{action}", "<BoundaryPolicy>")
            for action in ("CreatePolicyVersion", "DeletePolicyVersion", "GetPolicyVersion", "ListPolicyVersions")
        ),
        ("dynamodb:GetItem", "<StateTable.Arn>"),
        ("dynamodb:Scan", "<StateTable.Arn>"),
        ("logs:FilterLogEvents", "<FunctionLog.Arn>"),
        ("dynamodb:GetItem", "<GrantsTable.Arn>"),
        ("dynamodb:PutItem", "<GrantsTable.Arn>"),
    }
    blocks = statement("RevokerPolicy", "WriteBlocks")
    assert blocks["Condition"] == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["blocked#*"]}}
    for name in TEMPLATE.resources:
        for each in statements(name):
            if each["Effect"] == "Allow" and "<BoundaryPolicy>" in listed(each["Resource"]):
                assert name == "RevokerPolicy"


def test_no_policy_is_longer_than_iam_takes() -> None:
    for name in TEMPLATE.of_type("AWS::IAM::ManagedPolicy"):
        # An ARN that is not known yet stands for one of 130 characters.
        longest = {"DomainName": f"{'a' * 60}.{'b' * 60}.example", "CertificateArn": CERTIFICATE}
        text = json.dumps(TEMPLATE.properties(name, **longest)["PolicyDocument"], separators=(",", ":"))
        assert len(re.sub(r"<[\w.]+>", "x" * 130, text)) <= 6144, name


READS = ("BatchGetItem", "DescribeTable", "GetItem", "Query", "Scan")


def test_a_pipeline_writes_grants_and_nothing_else() -> None:
    writing = statement("CiPolicy", "WriteGrants")
    assert writing["Resource"] == "<GrantsTable.Arn>"
    assert writing["Condition"] == {"ForAllValues:StringNotLike": {"dynamodb:LeadingKeys": ["blocked#*"]}}
    assert allowed("CiPolicy") == {
        ("cloudformation:DescribeStacks", f"{ARN}:cloudformation:us-east-1:{ACCOUNT}:stack/hallpass/*"),
        *(
            (f"dynamodb:{action}", "<GrantsTable.Arn>")
            for action in (*READS, "ConditionCheckItem", "DeleteItem", "PutItem")
        ),
    }
    writes = re.compile(r"dynamodb:.*(Put|Update|Delete|Write)")
    reading = [action for each in statements("ReaderPolicy") for action in listed(each["Action"])]
    assert [action for action in reading if writes.match(action)] == []
    names = statement("OperatorPolicy", "RegisterNames")
    assert names["Resource"] == "<StateTable.Arn>"
    assert names["Condition"] == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["name#*"]}}
    listing = statement("OperatorPolicy", "ListNames")
    assert (listing["Action"], listing["Resource"]) == ("dynamodb:Scan", "<StateTable.Arn>")


def test_who_looks_after_the_key_never_reads_it() -> None:
    assert allowed("KeyOperatorPolicy") == {
        ("cloudformation:DescribeStacks", f"{ARN}:cloudformation:us-east-1:{ACCOUNT}:stack/hallpass/*"),
        ("secretsmanager:DescribeSecret", "<BrokerKey.Id>"),
        ("secretsmanager:ListSecretVersionIds", "<BrokerKey.Id>"),
        ("secretsmanager:RotateSecret", "<BrokerKey.Id>"),
        ("lambda:InvokeFunction", "<KeyRotator.Arn>"),
        ("logs:FilterLogEvents", "<KeyRotatorLog.Arn>"),
        ("logs:GetLogEvents", "<KeyRotatorLog.Arn>"),
        ("iam:GetAccessKeyLastUsed", "<BrokerUser.Arn>"),
        ("iam:ListAccessKeys", "<BrokerUser.Arn>"),
        ("iam:UpdateAccessKey", "<BrokerUser.Arn>"),
    }


def test_only_the_two_functions_read_the_secret_and_only_the_rotator_makes_keys() -> None:
    def who(*actions: str) -> set[str]:
        return {
            name
            for name in TEMPLATE.of_type("AWS::IAM::Role", "AWS::IAM::ManagedPolicy")
            for each in statements(name)
            if each["Effect"] == "Allow" and set(actions) & set(listed(each["Action"]))
        }

    assert who("secretsmanager:GetSecretValue") == {"FunctionRole", "KeyRotatorRole"}
    assert who("secretsmanager:PutSecretValue", "iam:CreateAccessKey", "iam:DeleteAccessKey") == {"KeyRotatorRole"}


##### The broker key


def test_the_first_key_is_made_at_deployment_and_a_new_one_before_the_alarm() -> None:
    rotation = TEMPLATE.properties("Rotation")
    assert rotation == {
        "SecretId": "<BrokerKey.Id>",
        "RotationLambdaARN": "<KeyRotator.Arn>",
        "RotateImmediatelyOnUpdate": True,
        "RotationRules": {"AutomaticallyAfterDays": 30},
    }
    assert TEMPLATE.properties("Rotation", RotationDays="7")["RotationRules"] == {"AutomaticallyAfterDays": "7"}
    days = TEMPLATE.parameters["RotationDays"]
    alarm = TEMPLATE.properties("BrokerKeyOld")["Threshold"] / 86_400
    assert (days["MinValue"], alarm) == (1, 45)
    # Secrets Manager chooses the hour, and repeats what failed.
    assert days["MaxValue"] + 3 < alarm


def test_secrets_manager_and_the_schedule_may_call_the_rotator_and_nobody_else() -> None:
    callers = {
        name: TEMPLATE.properties(name)
        for name in TEMPLATE.of_type("AWS::Lambda::Permission")
        if TEMPLATE.properties(name)["FunctionName"] == "<KeyRotator.Arn>"
    }
    asked = {"Action": "lambda:InvokeFunction", "FunctionName": "<KeyRotator.Arn>"}
    assert callers == {
        "SecretsManagerMayRotate": asked | {"Principal": "secretsmanager.amazonaws.com", "SourceAccount": ACCOUNT},
        "ScheduleMayRun": asked | {"Principal": "events.amazonaws.com", "SourceArn": "<KeyRotatorHourly.Arn>"},
    }
    assert "SecretsManagerMayRotate" in TEMPLATE.needs("Rotation")
    hourly = TEMPLATE.properties("KeyRotatorHourly")
    assert hourly["ScheduleExpression"] == "rate(1 hour)"
    assert [target["Arn"] for target in hourly["Targets"]] == ["<KeyRotator.Arn>"]


def test_a_deleted_stack_ends_rotation_then_removes_the_keys_then_the_user() -> None:
    # CloudFormation deletes what needs something before that something, so each of these goes before the next.
    order = ["Rotation", "BrokerKeys", "KeyRotator", "BrokerUser", "BrokerPolicy"]
    for earlier, later in itertools.pairwise(order):
        assert later in TEMPLATE.needs(earlier), f"{earlier} goes before {later}"
    # What the rotator needs to do it is there until it has done it: its role with its permissions, its log, the secret.
    assert {"KeyRotatorRole", "KeyRotatorLog", "BrokerKey"} <= TEMPLATE.needs("BrokerKeys")
    assert [policy["PolicyName"] for policy in TEMPLATE.properties("KeyRotatorRole")["Policies"]] == ["rotator"]
    assert {"KeyRotator", "BrokerKeys"}.isdisjoint(TEMPLATE.needs("KeyRotatorLog")), "it is there before the first line"


def test_the_resource_that_removes_the_keys_stays_what_it_is() -> None:
    # Renamed, or of another type, the old one would be deleted in a stack that lives: nobody would get credentials.
    assert TEMPLATE.of_type("Custom::BrokerKeys").keys() == {"BrokerKeys"}
    keys = TEMPLATE.properties("BrokerKeys")
    assert keys == {"ServiceToken": "<KeyRotator.Arn>", "ServiceTimeout": 180, "UserName": "<BrokerUser>"}
    assert keys["ServiceTimeout"] > TEMPLATE.properties("KeyRotator")["Timeout"]


def test_no_resource_needs_itself() -> None:
    for name in TEMPLATE.resources:
        TEMPLATE.needs(name)


##### What is kept


def test_tables_are_as_the_function_expects_and_recoverable() -> None:
    keys = {"GrantsTable": ["principal", "grant"], "StateTable": ["id"]}
    assert TEMPLATE.of_type("AWS::DynamoDB::Table").keys() == keys.keys()
    for name, attributes in keys.items():
        table = TEMPLATE.properties(name)
        assert [key["AttributeName"] for key in table["KeySchema"]] == attributes
        assert [key["KeyType"] for key in table["KeySchema"]] == ["HASH", "RANGE"][: len(attributes)]
        assert table["BillingMode"] == "PAY_PER_REQUEST"
        assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
        assert table["SSESpecification"] == {"SSEEnabled": True}
    ttl = TEMPLATE.properties("StateTable")["TimeToLiveSpecification"]
    assert ttl == {"AttributeName": "expires_at", "Enabled": True}
    assert "TimeToLiveSpecification" not in TEMPLATE.properties("GrantsTable"), "it deletes late; the function compares"


def test_data_outlives_the_stack_and_nothing_else_does() -> None:
    kept = ("AWS::DynamoDB::Table", "AWS::Logs::LogGroup")
    for name, resource in TEMPLATE.resources.items():
        if resource["Type"] in kept:
            # Kept when a stack is deleted, and not when its first deployment fails: so it can be tried again.
            assert resource["DeletionPolicy"] == "RetainExceptOnCreate", name
            assert resource["UpdateReplacePolicy"] == "Retain", name
        else:
            assert resource.get("DeletionPolicy", "Delete") == "Delete", name


def test_nothing_has_a_physical_name() -> None:
    for name, resource in TEMPLATE.resources.items():
        assert PHYSICAL_NAMES.get(resource["Type"], "-") not in resource.get("Properties", {}), name


def test_the_secret_begins_as_the_placeholder_that_the_function_knows() -> None:
    secret = json.loads(TEMPLATE.properties("BrokerKey")["SecretString"])
    assert secret == {"AccessKeyId": "", "SecretAccessKey": ""}


def test_logs_are_kept_for_as_long_as_somebody_says() -> None:
    for name in TEMPLATE.of_type("AWS::Logs::LogGroup"):
        assert TEMPLATE.properties(name, LogRetentionDays="90")["RetentionInDays"] == "90", name


##### What tells


def test_the_dashboard_shows_every_metric_of_the_function() -> None:
    written = set(
        re.findall(r'\("(\w+)", "(?:Count|Seconds|Percent|Milliseconds)"', (ROOT / "src/audit/metrics.rs").read_text())
    )
    assert written == {"Issued", "Refused", "Latency", "KeyAge", "JwksAge", "PackedPolicySize"}
    widgets = json.loads(TEMPLATE.properties("Dashboard")["DashboardBody"])["widgets"]
    metrics = [metric for widget in widgets for metric in widget["properties"]["metrics"]]
    plain = {metric[1] for metric in metrics if metric[0] == NAMESPACE}
    # In a search, a namespace that has more than letters and digits is quoted.
    searched = re.findall(
        rf"""SEARCH\('{{"{NAMESPACE}",\w+}} MetricName="(\w+)"'""",
        " ".join(metric[0].get("expression", "") for metric in metrics if isinstance(metric[0], dict)),
    )
    rotators = {"BrokerKeyAge"}
    assert plain | set(searched) == written | rotators | {"Throttled"}


def test_functions_write_their_metrics_where_the_stack_looks() -> None:
    for name in FUNCTIONS:
        for stack in ("hallpass", "other"):
            variables = TEMPLATE.properties(name, **{"AWS::StackName": stack})["Environment"]["Variables"]
            assert variables["HALLPASS_METRICS_NAMESPACE"] == f"Hallpass/{stack}"


def test_alarms_watch_what_there_is_and_tell_whom_they_are_given() -> None:
    alarms = {name: TEMPLATE.properties(name) for name in TEMPLATE.of_type("AWS::CloudWatch::Alarm")}
    assert alarms.keys() == {
        "ServerErrors",
        "FunctionThrottled",
        "GatewayThrottled",
        "BrokerKeyRefused",
        "BrokerKeyOld",
        "KeyRotationFailed",
        "GrantUnusable",
    }
    problems = (ROOT / "src/wire.rs").read_text()
    for name, alarm in alarms.items():
        assert alarm["AlarmDescription"], name
        assert alarm["TreatMissingData"] == ("missing" if name == "BrokerKeyOld" else "notBreaching"), name
        assert "AlarmActions" not in alarm, "nobody was named"
        told = TEMPLATE.properties(name, AlarmTopicArn="arn:aws:sns:us-east-1:111122223333:x")
        assert told["AlarmActions"] == ["arn:aws:sns:us-east-1:111122223333:x"], name
        for dimension in alarm.get("Dimensions", []):
            if dimension["Name"] == "Code":
                assert (alarm["Namespace"], alarm["MetricName"]) == (NAMESPACE, "Refused")
                assert f'"{dimension["Value"]}"' in problems
    (filtered,) = TEMPLATE.properties("ThrottledByGateway")["MetricTransformations"]
    assert (filtered["MetricNamespace"], filtered["MetricName"]) == (NAMESPACE, "Throttled")
    failed = alarms["KeyRotationFailed"]
    assert (failed["Namespace"], failed["MetricName"], failed["Threshold"]) == ("AWS/Lambda", "Errors", 1)
    assert failed["Dimensions"] == [{"Name": "FunctionName", "Value": "<KeyRotator>"}]
    throttled = alarms["GatewayThrottled"]
    assert (throttled["Namespace"], throttled["MetricName"]) == (NAMESPACE, "Throttled")


def test_an_age_that_nobody_tells_is_told() -> None:
    topic = "arn:aws:sns:us-east-1:111122223333:x"
    old = TEMPLATE.properties("BrokerKeyOld", AlarmTopicArn=topic)
    assert (old["Namespace"], old["MetricName"], old["Statistic"]) == (NAMESPACE, "BrokerKeyAge", "Maximum")
    assert old["ComparisonOperator"] == "GreaterThanThreshold"
    assert old["InsufficientDataActions"] == [topic]
    assert "InsufficientDataActions" not in TEMPLATE.properties("BrokerKeyOld")
    assert old["Period"] >= 2 * 3600, "the rotator tells every hour"
    assert "Dimensions" not in old


def test_the_saved_query_asks_for_what_the_audit_lines_have() -> None:
    query = TEMPLATE.properties("CredentialsIssued")
    assert query["LogGroupNames"] == ["<FunctionLog>"]
    asked = re.search(r"fields @timestamp, (.+)", query["QueryString"])[1].split(", ")
    written = set(re.findall(r"^    pub (\w+): ", (ROOT / "src/audit/record/mod.rs").read_text(), re.MULTILINE))
    assert {"access_key_id", "sts_request_id"} <= set(asked) <= written


##### The rest


def test_outputs_name_what_an_operator_needs() -> None:
    outputs = TEMPLATE.body["Outputs"]
    needed = {
        "Url",
        "GrantsTable",
        "StateTable",
        "BrokerUser",
        "BrokerKey",
        "OperatorPolicy",
        "KeyOperatorPolicy",
        "ReaderPolicy",
        "CiPolicy",
        "FunctionName",
        "AuditLog",
        "RotatorName",
        "RotatorLog",
    }
    assert needed <= outputs.keys()
    for name, output in outputs.items():
        assert output["Description"].strip(), name
        assert TEMPLATE.resolve(output["Value"]), name


def test_the_output_says_of_the_issuers_what_the_function_reads() -> None:
    variables = TEMPLATE.resources["Function"]["Properties"]["Environment"]["Variables"]
    assert TEMPLATE.body["Outputs"]["Issuers"]["Value"] == variables["HALLPASS_ISSUERS"]


def test_each_suppression_of_a_check_has_its_reason() -> None:
    for name, resource in TEMPLATE.resources.items():
        for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", []):
            assert len(skip["comment"]) > 20, f"{name} {skip['id']}"


def test_the_template_uses_only_the_yaml_that_cloudformation_reads() -> None:
    text = (ROOT / "template.yaml").read_text()
    assert re.findall(r"^\s*[\w-]+: [&*]\w+|<<:", text, re.MULTILINE) == [], "no aliases, no merges"


def test_the_samples_of_the_command_line_hold_nothing_of_an_account() -> None:
    text = (ROOT / "samconfig.toml").read_text()
    assert re.findall(r"\d{12}|arn:|region\s*=|profile\s*=", text) == []
