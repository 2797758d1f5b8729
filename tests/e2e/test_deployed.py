"""Does the template deploy a Hallpass that works, and one that nobody can turn against itself?

The stack is created in the emulated AWS from template.yaml (dev/deploy.py says what the emulator needs otherwise). Its
gateway starts the function's zip with a session of the execution role that the template makes, and enforces it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import deploy
import pytest
import rotations
import seed
from api import Answer, Api, serving
from compare import masked
from deploy import Deployment
from permissions import Calls, allowed_to, broker_without, ceiling, denied, refusal, role_without, user_with
from seed import Key
from stack import Stack

Token = Callable[..., str]

READER = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"

NOT_ENFORCED = {
    "FunctionRole: that Lambda alone may assume it (the emulator starts the function without asking)": (
        "https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html"
    ),
    "FunctionRole: Log (the emulator writes no log of the function)": (
        "https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html"
    ),
    "FunctionRole: Trace (the emulator sends no traces)": (
        "https://docs.aws.amazon.com/lambda/latest/dg/services-xray.html"
    ),
    "BrokerPolicy: MintSessions on `federated-user/*` alone (the emulator wants `*`)": (
        "https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssecuritytokenservice.html"
    ),
    "BrokerPolicy: MintSessions, sts:TagSession (the emulator asks for it with AssumeRole alone)": (
        "https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html#id_session-tags_permissions-required"
    ),
    "BrokerPolicy: HandsOffHallpass on the alarms": (
        "https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatch.html"
    ),
    "ApiMayInvoke: that no other API may invoke the function": (
        "https://docs.aws.amazon.com/lambda/latest/dg/services-apigateway.html#apigateway-permissions"
    ),
    "CiPolicy: WriteGrants but not on `blocked#*` (the emulator knows no dynamodb:LeadingKeys)": (
        "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html"
    ),
    "OperatorPolicy: RegisterNames on `name#*` alone (the emulator knows no dynamodb:LeadingKeys)": (
        "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html"
    ),
}
"""What of the template's permissions the emulator cannot show, and the page of AWS that says how it is there."""

# Compared, besides the status and the body; the others are the front's.
HEADERS = ["content-type", "cache-control", "www-authenticate", "retry-after"]

REQUESTS: dict[str, dict[str, Any]] = {
    "credentials": {"who": "carol"},
    "credentials by POST": {"who": "carol", "method": "POST", "body": {"duration": 900}},
    "a template": {"who": "dave", "query": {"grant": "home"}},
    "session tags": {"who": "erin", "query": {"grant": "deploy"}},
    "a grant in the path": {"who": "erin", "path": "/v1/credentials/payroll"},
    "a grant in the path by POST": {
        "who": "erin",
        "method": "POST",
        "path": "/v1/credentials/payroll",
        "body": {"duration": 900},
    },
    "the list of grants": {"who": "erin", "path": "/v1/grants"},
    "health": {"path": "/v1/health"},
    "health without its body": {"method": "HEAD", "path": "/v1/health"},
    "no token": {},
    "no such token": {"headers": {"Authorization": "Bearer abc"}},
    "another's grant": {"who": "carol", "query": {"grant": "payroll"}},
    "no such grant": {"who": "carol", "query": {"grant": "nothing"}},
    "a stronger sign-in is needed": {"who": "frank", "query": {"grant": "deploy"}},
    "two grants": {"who": "erin", "path": "/v1/credentials/payroll", "query": {"grant": "default"}},
    "too long": {"who": "carol", "query": {"duration": 129_600}},
    "too short": {"who": "carol", "query": {"duration": 1}},
    "an unknown field": {"who": "carol", "query": {"gr4nt": "default"}},
    "a body of another type": {"who": "carol", "method": "POST", "body": {}, "headers": {"Content-Type": "text/csv"}},
    "too large a body": {"who": "carol", "method": "POST", "body": {"grant": "a" * 20_000}},
}


@pytest.fixture
def broker_key(stack: Stack, deployed: Deployment, front: Api) -> Key:
    return rotations.current(stack.aws, deployed.outputs["BrokerKey"])


@pytest.fixture(scope="module")
def anything(stack: Stack, deployed: Deployment, front: Api, token: Token) -> Key:
    """A session that its grant limits in nothing: what refuses it is the broker user."""
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    seed.put_item(stack.aws, "corp/user/carol", "anything", {"policy": everything}, deployed.outputs["GrantsTable"])
    return front.key(token("carol"), grant="anything")


def comparable(answer: Answer) -> tuple[int, dict[str, str | None], Any]:
    headers = {name: answer.headers.get(name) for name in HEADERS}
    if challenge := headers["www-authenticate"]:  # but for the host, which each has of its own
        headers["www-authenticate"] = re.sub(r'(resource_metadata=")https?://[^/]+', r"\1…", challenge)
    return answer.status, headers, masked(answer.body)


# It works


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
def test_what_is_deployed_answers_as_the_local_stack_does(
    api: Api, front: Api, token: Token, request_: dict[str, Any]
) -> None:
    asked = dict(request_)
    if "who" in asked:
        asked["token"] = token(asked.pop("who"))
    assert comparable(front.ask(**asked)) == comparable(api.ask(**asked))


def test_it_says_of_itself_under_which_url_it_is_asked(stack: Stack, deployed: Deployment, front: Api) -> None:
    path = "/.well-known/oauth-protected-resource"
    answer = front.ask(path=path)
    assert (answer.status, answer.headers["cache-control"]) == (200, "public, max-age=300")
    assert answer.body["authorization_servers"] == [stack.issuer]
    resource = answer.body["resource"]
    assert urlsplit(resource).scheme == "https"
    challenge = front.ask().headers["www-authenticate"]
    assert challenge == f'Bearer resource_metadata="{resource}{path}"'
    assert front.ask("HEAD", path).status == 200


def test_its_sessions_open_what_the_grants_say(stack: Stack, front: Api, token: Token) -> None:
    s3 = stack.aws.client("s3", front.key(token("carol")))
    assert s3.list_objects_v2(Bucket=seed.REPORTS)["KeyCount"] == 1
    assert refusal(s3.list_objects_v2, Bucket=seed.PAYROLL) == "AccessDenied"


def test_the_gateway_answers_browsers_as_the_function_does(api: Api, front: Api) -> None:
    asked = {"Origin": seed.ORIGINS[0], "Access-Control-Request-Method": "GET"}
    ours, theirs = (each.ask("OPTIONS", headers=asked) for each in (api, front))
    assert (ours.status, theirs.status) == (204, 204)
    for name in ("allow-origin", "allow-methods", "allow-headers", "max-age"):
        assert _items(ours, name) == _items(theirs, name)
    ours, theirs = (each.ask(headers={"Origin": seed.ORIGINS[0]}) for each in (api, front))
    for name in ("allow-origin", "expose-headers"):
        assert _items(ours, name) == _items(theirs, name)
    assert "access-control-allow-origin" not in front.ask(headers={"Origin": "http://localhost:9999"}).headers


def _items(answer: Answer, name: str) -> set[str]:
    return {item.strip().lower() for item in answer.headers[f"access-control-{name}"].split(",")}


def test_the_portal_is_the_functions_to_serve(front: Api) -> None:
    for method in ("GET", "HEAD"):
        for path in ("/", "/portal/portal.js"):
            answer = front.ask(method, path)
            assert answer.status == 404 and answer.headers["content-type"] == "application/problem+json", "no client"


def test_a_sign_in_to_the_console_reaches_the_function(front: Api, token: Token) -> None:
    elsewhere = front.ask("POST", "/v1/console", token("carol"), body={"destination": "https://example.com/"})
    assert (elsewhere.status, elsewhere.code) == (400, "invalid_request")


def test_what_is_no_route_never_reaches_the_function(front: Api) -> None:
    for method, path in (
        ("POST", "/"),
        ("GET", "/portal"),
        ("GET", "/portal/x/y"),
        ("GET", "/v1/console"),
        ("GET", "/v1/credentials/x/y"),
        ("PUT", "/v1/credentials/x"),
        ("PUT", "/v1/credentials"),
        ("POST", "/v1/grants"),
    ):
        answer = front.ask(method, path, body={} if method != "GET" else None)
        assert (answer.status, answer.body) == (404, {"message": "Not Found"})


# Each permission of the function is needed


def _credentials(front: Api, token: Token) -> int:
    return front.ask(token=token("carol")).status


def _list(front: Api, token: Token) -> int:
    return front.ask(path="/v1/grants", token=token("carol")).status


NEEDED: dict[tuple[str, str], Callable[[Api, Token], int]] = {
    ("ReadGrants", "dynamodb:BatchGetItem"): _credentials,
    ("ReadGrants", "dynamodb:Query"): _list,
    ("ReadAndPutState", "dynamodb:BatchGetItem"): _credentials,
    ("ReadAndPutState", "dynamodb:PutItem"): _credentials,
    ("ReadBrokerKey", "secretsmanager:GetSecretValue"): _credentials,
}
# What an issuer must be configured with, so that the state is read and put to.
TERMS = {
    ("ReadAndPutState", "dynamodb:BatchGetItem"): {"name_claim": "/email", "name_owners": "first_use"},
    ("ReadAndPutState", "dynamodb:PutItem"): {"single_use": True},
}
SHOWN_BY_AWS_ALONE = {"Log", "Trace"}


@pytest.mark.parametrize(("sid", "action"), NEEDED, ids=[f"{sid}-{action}" for sid, action in NEEDED])
def test_without_any_of_its_permissions_the_function_fails(
    stack: Stack, deployed: Deployment, front: Api, signed_in: Callable[..., Any], sid: str, action: str
) -> None:
    ask, terms = NEEDED[sid, action], TERMS.get((sid, action), {})
    (issuer,) = json.loads(deployed.parameters["IssuersJson"])
    issuers = json.dumps([issuer | terms])
    clients = iter(["hallpass-es256", "hallpass-eddsa"])  # two tokens, since each may be good for once only

    def fresh(employee: str) -> str:
        return signed_in(employee, next(clients)).access_token

    try:
        with role_without(stack.aws, deployed, "FunctionRole", sid, action):
            deploy.restart(stack.aws, deployed, "Function", HALLPASS_ISSUERS=issuers)
            assert ask(front, fresh) >= 500
        deploy.restart(stack.aws, deployed, "Function", HALLPASS_ISSUERS=issuers)
        assert ask(front, fresh) == 200
    finally:
        deploy.restart(stack.aws, deployed, "Function", HALLPASS_ISSUERS=deployed.parameters["IssuersJson"])


def test_every_permission_of_the_function_is_tried(stack: Stack, deployed: Deployment) -> None:
    allowed = allowed_to(stack.aws, deployed, "FunctionRole")
    assert {(sid, action) for sid, action in allowed if sid not in SHOWN_BY_AWS_ALONE} == set(NEEDED)


# What is Hallpass's own is closed to its sessions, whatever their grant and the ceiling say

CLOSED: Calls = {
    "the grants": lambda aws, key, made: aws.client("dynamodb", key).scan(TableName=made.resources["GrantsTable"]),
    "the state": lambda aws, key, made: aws.client("dynamodb", key).scan(TableName=made.resources["StateTable"]),
    "writing a grant": lambda aws, key, made: aws.client("dynamodb", key).put_item(
        TableName=made.resources["GrantsTable"], Item={"principal": {"S": "corp/user/carol"}, "grant": {"S": "mine"}}
    ),
    "the broker key": lambda aws, key, made: aws.client("secretsmanager", key).get_secret_value(
        SecretId=made.resources["BrokerKey"]
    ),
    "the broker key, by its ARN": lambda aws, key, made: aws.client("secretsmanager", key).get_secret_value(
        SecretId=made.arn(aws, "BrokerKey")
    ),
    "the code": lambda aws, key, made: aws.client("lambda", key).get_function(FunctionName=made.resources["Function"]),
    "the variables": lambda aws, key, made: aws.client("lambda", key).get_function_configuration(
        FunctionName=made.resources["Function"]
    ),
    "invoking the function": lambda aws, key, made: aws.client("lambda", key).invoke(
        FunctionName=made.resources["Function"], Payload=b"{}"
    ),
    "the audit lines": lambda aws, key, made: aws.client("logs", key).filter_log_events(
        logGroupName=made.resources["FunctionLog"]
    ),
    "the access log": lambda aws, key, made: aws.client("logs", key).filter_log_events(
        logGroupName=made.resources["AccessLog"]
    ),
    "the API": lambda aws, key, made: aws.client("apigatewayv2", key).get_routes(ApiId=made.resources["Api"]),
    "the stack": lambda aws, key, made: aws.client("cloudformation", key).describe_stacks(StackName=made.id),
    "the stack, by its name": lambda aws, key, made: aws.client("cloudformation", key).get_template(
        StackName=deploy.STACK_NAME
    ),
}

OPEN: Calls = {
    "another table": lambda aws, key, made: aws.client("dynamodb", key).scan(TableName=seed.ORDERS),
    "another secret": lambda aws, key, made: aws.client("secretsmanager", key).describe_secret(SecretId=seed.API_KEY),
    "a bucket": lambda aws, key, made: aws.client("s3", key).list_objects_v2(Bucket=seed.PAYROLL),
    "queues": lambda aws, key, made: aws.client("sqs", key).list_queues(),
}


def test_under_a_wide_ceiling_a_session_opens_everything_but_hallpass(
    stack: Stack, deployed: Deployment, anything: Key
) -> None:
    assert denied(OPEN, stack, anything, deployed) == set()
    assert denied(CLOSED, stack, anything, deployed) == set(CLOSED)


def test_it_is_hands_off_hallpass_that_refuses(stack: Stack, deployed: Deployment, anything: Key) -> None:
    with broker_without(stack.aws, deployed, "HandsOffHallpass"):
        assert denied(CLOSED, stack, anything, deployed) == set()


def test_iam_is_closed_to_sessions_even_of_an_administrator(stack: Stack, deployed: Deployment, anything: Key) -> None:
    users = stack.aws.client("iam", anything).list_users
    with ceiling(stack.aws, deployed, ADMINISTRATOR):
        assert refusal(users) == "AccessDenied"
        with broker_without(stack.aws, deployed, "NoIamOrNoneOfHallpass"):
            assert refusal(users) is None  # AWS would refuse still, but for sessions of its console


# Who steals the broker key holds nothing but the right to mint sessions


def test_the_broker_key_opens_nothing_directly(stack: Stack, deployed: Deployment, broker_key: Key) -> None:
    everything = CLOSED | OPEN
    assert denied(everything, stack, broker_key, deployed) == set(everything)
    sts = stack.aws.client("sts", broker_key)
    assert sts.get_caller_identity()["Arn"].endswith(f"/{deployed.outputs['BrokerUser']}")
    assert refusal(sts.get_federation_token, Name="somebody") is None
    role = stack.aws.client("iam").get_role(RoleName=stack.deployment.resources["FunctionRole"])["Role"]["Arn"]
    assert refusal(sts.assume_role, RoleArn=role, RoleSessionName="somebody") == "AccessDenied"
    # No policy can refuse GetSessionToken, but what it gives is the user again.
    session = Key.of(sts.get_session_token()["Credentials"])
    assert denied(everything, stack, session, deployed) == set(everything)


def test_it_is_that_statement_that_refuses(stack: Stack, deployed: Deployment, broker_key: Key) -> None:
    with broker_without(stack.aws, deployed, "KeyOpensNothingDirectly"):
        assert denied(OPEN, stack, broker_key, deployed) == set()


def test_without_its_permission_the_broker_user_mints_nothing(
    stack: Stack, deployed: Deployment, front: Api, token: Token
) -> None:
    # Under this ceiling: the wide one lets the user mint sessions by itself.
    with ceiling(stack.aws, deployed, READER):
        with broker_without(stack.aws, deployed, "MintSessions", "sts:GetFederationToken"):
            assert front.ask(token=token("carol")).status >= 500
        assert front.ask(token=token("carol")).status == 200


# Those who look after grants


def test_the_policies_for_people_and_pipelines_allow_their_work_and_no_more(stack: Stack, deployed: Deployment) -> None:
    table, state = deployed.outputs["GrantsTable"], deployed.outputs["StateTable"]
    item = {"principal": {"S": "corp/user/nobody"}, "grant": {"S": "nothing"}}
    name = {"id": {"S": "name#nobody"}, "owner": {"S": "corp/user/nobody"}}
    work: dict[str, Callable[[Key], object]] = {
        "read grants": lambda key: stack.aws.client("dynamodb", key).scan(TableName=table),
        "write grants": lambda key: stack.aws.client("dynamodb", key).put_item(TableName=table, Item=item),
        "register names": lambda key: stack.aws.client("dynamodb", key).put_item(TableName=state, Item=name),
        "read state": lambda key: stack.aws.client("dynamodb", key).scan(TableName=state),
        "read audit lines": lambda key: stack.aws.client("logs", key).filter_log_events(
            logGroupName=deployed.outputs["AuditLog"]
        ),
        "read the broker key": lambda key: stack.aws.client("secretsmanager", key).get_secret_value(
            SecretId=deployed.outputs["BrokerKey"]
        ),
    }
    may = {
        "OperatorPolicy": {"read grants", "write grants", "register names", "read state"},
        "ReaderPolicy": {"read grants", "read state", "read audit lines"},
        "CiPolicy": {"read grants", "write grants"},
    }
    for policy, allowed in may.items():
        with user_with(stack.aws, deployed.outputs[policy]) as key:
            assert {what for what, do in work.items() if refusal(do, key=key) is None} == allowed, policy
    stack.aws.client("dynamodb").delete_item(TableName=table, Key=item)


# It can be deleted, and made again. Last, since the tests above need the first one.


def test_it_can_be_deleted_and_created_again(
    stack: Stack, parameters: dict[str, str], deployed: Deployment, front: Api, token: Token
) -> None:
    users, roles = stack.aws.client("iam").list_users, stack.aws.client("iam").list_roles
    deploy.delete(stack.aws, deployed)
    assert front.ask(path="/v1/health").status == 404
    assert deployed.outputs["BrokerUser"] not in [user["UserName"] for user in users()["Users"]]
    assert deployed.resources["FunctionRole"] not in [role["RoleName"] for role in roles()["Roles"]]
    kept = stack.aws.client("dynamodb").scan(TableName=deployed.outputs["GrantsTable"])
    assert kept["Count"] > 0, "a deleted stack leaves its tables"
    logs = stack.aws.client("logs").describe_log_groups()["logGroups"]
    assert deployed.outputs["AuditLog"] in [group["logGroupName"] for group in logs], "and its audit lines"

    again = deploy.create(stack.aws, parameters)
    try:
        answer = serving(stack, again).ask(token=token("carol"))
        assert (answer.status, answer.body["Grant"]) == (200, "default")
    finally:
        deploy.delete(stack.aws, again)
