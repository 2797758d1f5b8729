"""Does a deployed stack make, change and remove its broker key by itself, and can nobody else?

The rotator is the zip that would be deployed, and runs with a session of the role that the template makes, which the
emulator enforces. Secrets Manager and EventBridge are played by dev/rotations.py, CloudFormation by the emulator.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import deploy
import pytest
import rotations
import seed
from api import Api, front_of, serving
from deploy import Deployment
from permissions import Calls, allowed_to, broker_without, ceiling, denied, refusal, role_without, user_with
from rotations import STEPS, RotatorError
from seed import Aws, Key
from stack import LOOPBACK, Stack

Token = Callable[..., str]

ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
OVERLAP_S = 15 * 60  # so long both keys work
NOTICED_S = 15  # the function asks for a key that it lacks once in 5 s

NOT_SHOWN = {
    "Rotation: that Secrets Manager begins a rotation at deployment and by the calendar, repeats what failed, and stops "
    "(the emulator's RotateSecret calls nobody)": (
        "https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_how.html"
    ),
    "SecretsManagerMayRotate and ScheduleMayRun: that nothing else may invoke the rotator": (
        "https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotating-secrets-required-permissions-function.html"
    ),
    "KeyOperatorPolicy: that RotateSecret asks for lambda:InvokeFunction": (
        "https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RotateSecret.html"
    ),
    "KeyRotatorRole and KeyOperatorPolicy: the user's ARN with its path (the emulator leaves the path out)": (
        "https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html"
    ),
    "KeyOperatorPolicy: SeeWhyItFailed (the emulator compares log groups without the `:*` that their ARNs end in)": (
        "https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatchlogs.html"
    ),
    "KeyRotatorRole: Log (the emulator writes its logs itself)": (
        "https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html"
    ),
    "that a new key takes seconds to be known everywhere, and that a user has two keys at most": (
        "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"
    ),
}
"""What the emulator cannot show, and the page of AWS that says how it is there."""


def keys(aws: Aws, deployed: Deployment) -> dict[str, str]:
    """The broker user's keys: Active or Inactive."""
    listed = aws.client("iam").list_access_keys(UserName=deployed.outputs["BrokerUser"])["AccessKeyMetadata"]
    return {key["AccessKeyId"]: key["Status"] for key in listed}


def parts(deployed: Deployment) -> tuple[str, str]:
    return deployed.outputs["BrokerKey"], deployed.outputs["RotatorName"]


def fill(aws: Aws, deployed: Deployment) -> Key:
    """Rotates until the user has both keys that a user can have, as after the second month. Answers the current one,
    which the function has read too: rotations are days apart, and it reads every 5 minutes."""
    while len(keys(aws, deployed)) < 2:
        deploy.rotate(aws, deployment=deployed)
    deploy.restart(aws, deployed, "Function")
    return rotations.current(aws, deployed.outputs["BrokerKey"])


@contextmanager
def variables(aws: Aws, deployed: Deployment, **changes: str) -> Iterator[None]:
    """The rotator with other variables."""
    name = deployed.resources["KeyRotator"]
    before = aws.client("lambda").get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    deploy.restart(aws, deployed, "KeyRotator", **changes)
    try:
        yield
    finally:
        deploy.restart(aws, deployed, "KeyRotator", **{change: before.get(change) for change in changes})


@contextmanager
def overlap_over(aws: Aws, deployed: Deployment) -> Iterator[None]:
    """The emulator's clock cannot be moved. So the rotator is told that the secret changed as long ago as it waits."""

    class Later(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = Request(aws.endpoint + self.path, data=body, headers=dict(self.headers), method="POST")
            try:
                with build_opener(ProxyHandler({})).open(request) as response:
                    status, answer = response.status, response.read()
            except HTTPError as refused:
                with refused:
                    status, answer = refused.code, refused.read()
            if status == 200 and self.headers["X-Amz-Target"] == "secretsmanager.DescribeSecret":
                described = json.loads(answer)
                described["LastChangedDate"] -= OVERLAP_S + 1
                answer = json.dumps(described).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer((LOOPBACK, 0), Later) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://{LOOPBACK}:{server.server_port}"
        try:
            with variables(aws, deployed, AWS_ENDPOINT_URL_SECRETS_MANAGER=endpoint):
                yield
        finally:
            server.shutdown()


# The first key


def test_the_first_key_is_made_without_anybody(stack: Stack, deployed: Deployment, token: Token) -> None:
    secret = stack.aws.client("secretsmanager").get_secret_value(SecretId=deployed.outputs["BrokerKey"])
    assert json.loads(secret["SecretString"]) == {"AccessKeyId": "", "SecretAccessKey": ""}
    assert keys(stack.aws, deployed) == {}
    seed.apply_grants(stack.aws, deploy.ROOT / "grants", deployed.outputs["GrantsTable"])
    front = front_of(stack, deployed)
    answer = front.ask(token=token("carol"))
    assert (answer.status, answer.code) == (503, "temporarily_unavailable")
    assert int(answer.headers["retry-after"]) > 0

    made = deploy.rotate(stack.aws, deployed)
    assert keys(stack.aws, deployed) == {made.id: "Active"}
    deadline = time.monotonic() + NOTICED_S
    while (answer := front.ask(token=token("carol"))).status == 503 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert answer.status == 200, answer


# The next ones


def test_no_request_fails_while_the_key_changes(stack: Stack, deployed: Deployment, front: Api, token: Token) -> None:
    before = fill(stack.aws, deployed)
    carol, statuses, over = token("carol"), [], threading.Event()

    def ask() -> None:
        while not over.is_set():
            statuses.append(front.ask(token=carol).status)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        after = deploy.rotate(stack.aws, deployed)
        with overlap_over(stack.aws, deployed):
            rotations.hour(stack.aws, deployed.outputs["RotatorName"])
        time.sleep(1)  # with the old key off
    finally:
        over.set()
        asking.join()
    assert keys(stack.aws, deployed) == {before.id: "Inactive", after.id: "Active"}
    assert (set(statuses), len(statuses) > 10) == ({200}, True)


def test_the_key_before_is_turned_off_by_the_hour_but_not_at_once(
    stack: Stack, deployed: Deployment, front: Api
) -> None:
    before = fill(stack.aws, deployed)
    after = deploy.rotate(stack.aws, deployed)
    wrote = rotations.hour(stack.aws, deployed.outputs["RotatorName"])
    assert keys(stack.aws, deployed) == {before.id: "Active", after.id: "Active"}, "functions may use it still"
    assert refusal(stack.aws.client("sts", before).get_federation_token, Name="somebody") is None

    with overlap_over(stack.aws, deployed):
        rotations.hour(stack.aws, deployed.outputs["RotatorName"])
    assert keys(stack.aws, deployed) == {before.id: "Inactive", after.id: "Active"}
    assert refusal(stack.aws.client("sts", before).get_federation_token, Name="somebody") == "InvalidClientTokenId"
    assert refusal(stack.aws.client("sts", after).get_federation_token, Name="somebody") is None

    metrics = [json.loads(line) for line in wrote.splitlines() if '"BrokerKeyAge"' in line]
    (metric,) = [line for line in metrics if "_aws" in line]
    (directive,) = metric["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == f"Hallpass/{deploy.STACK_NAME}"
    assert directive["Metrics"] == [{"Name": "BrokerKeyAge", "Unit": "Seconds"}]
    assert directive["Dimensions"] in ([[]], []), "one series, which the alarm watches"
    assert 0 <= metric["BrokerKeyAge"] < 3600


def test_the_rotator_names_its_keys_and_writes_no_secret(stack: Stack, deployed: Deployment, front: Api) -> None:
    secret, rotator = parts(deployed)
    token = rotations.begin(stack.aws, secret, rotator)
    wrote = "".join(rotations.step(stack.aws, secret, rotator, step, token) for step in STEPS)
    wrote += rotations.hour(stack.aws, rotator)
    key = rotations.current(stack.aws, secret)
    assert "BrokerKeyAge" in wrote, "the search would find it"
    assert key.id in wrote, "its public half, which CloudTrail has too"
    assert key.secret not in wrote


# Each permission of the rotator is needed

HOURLY = "hourly"
NEEDED = {
    ("WriteBrokerKey", "secretsmanager:DescribeSecret"): "createSecret",
    ("WriteBrokerKey", "secretsmanager:GetSecretValue"): "createSecret",
    ("WriteBrokerKey", "secretsmanager:PutSecretValue"): "createSecret",
    ("WriteBrokerKey", "secretsmanager:UpdateSecretVersionStage"): "finishSecret",
    ("MakeAndRemoveKeys", "iam:ListAccessKeys"): "createSecret",
    ("MakeAndRemoveKeys", "iam:DeleteAccessKey"): "createSecret",
    ("MakeAndRemoveKeys", "iam:CreateAccessKey"): "createSecret",
    ("MakeAndRemoveKeys", "iam:UpdateAccessKey"): HOURLY,
}


@pytest.mark.parametrize(("sid", "action"), NEEDED, ids=[action for _, action in NEEDED])
def test_without_any_of_its_permissions_the_rotator_fails_and_with_it_goes_on(
    stack: Stack, deployed: Deployment, front: Api, token: Token, sid: str, action: str
) -> None:
    fill(stack.aws, deployed)
    secret, rotator = parts(deployed)
    pending = rotations.begin(stack.aws, secret, rotator)
    needs = NEEDED[sid, action]
    earlier = STEPS if needs == HOURLY else STEPS[: STEPS.index(needs)]
    for step in earlier:
        rotations.step(stack.aws, secret, rotator, step, pending)

    def go_on() -> None:
        if needs != HOURLY:
            return rotations.step(stack.aws, secret, rotator, needs, pending)
        with overlap_over(stack.aws, deployed):
            return rotations.hour(stack.aws, rotator)

    with role_without(stack.aws, deployed, "KeyRotatorRole", sid, action):
        with pytest.raises(RotatorError, match="AccessDenied"):
            go_on()
        assert front.ask(token=token("carol")).status == 200, "the key in use still works"
    go_on()
    for step in STEPS[len(earlier) + 1 :]:
        rotations.step(stack.aws, secret, rotator, step, pending)
    assert "Active" in keys(stack.aws, deployed)[rotations.current(stack.aws, secret).id]
    assert len(keys(stack.aws, deployed)) == 2, "none is left over from the attempt"


def test_every_permission_of_the_rotator_is_tried(stack: Stack, deployed: Deployment) -> None:
    allowed = allowed_to(stack.aws, deployed, "KeyRotatorRole")
    assert {(sid, action) for sid, action in allowed if sid != "Log"} == NEEDED.keys()


def test_the_rotator_reaches_no_other_secret_and_no_other_users_keys(
    stack: Stack, deployed: Deployment, front: Api
) -> None:
    secret, rotator = parts(deployed)
    refused = pytest.raises(RotatorError, match="IAM refused with AccessDenied")
    with variables(stack.aws, deployed, HALLPASS_BROKER_USER=stack.deployment.outputs["BrokerUser"]), refused:
        rotations.rotate(stack.aws, secret, rotator)
    refused = pytest.raises(RotatorError, match="Secrets Manager refused with AccessDenied")
    with variables(stack.aws, deployed, HALLPASS_BROKER_KEY=stack.secret), refused:
        rotations.hour(stack.aws, rotator)


def test_the_rotator_does_nothing_about_another_secret_or_user(stack: Stack, deployed: Deployment, front: Api) -> None:
    rotator, before = deployed.outputs["RotatorName"], keys(stack.aws, deployed)
    another = stack.aws.client("secretsmanager").describe_secret(SecretId=stack.secret)["ARN"]
    with pytest.raises(RotatorError, match="is not HALLPASS_BROKER_KEY"):
        step = {"Step": "createSecret", "SecretId": another, "ClientRequestToken": "x" * 36}
        rotations.invoke(stack.aws, rotator, step)
    with pytest.raises(RotatorError, match="CloudFormation could not be answered"):
        deletion = {
            "RequestType": "Delete",
            "ResponseURL": f"http://{LOOPBACK}:1/",
            "StackId": deployed.id,
            "RequestId": "x",
            "LogicalResourceId": "BrokerKeys",
            "ResourceProperties": {"UserName": "somebody"},
        }
        rotations.invoke(stack.aws, rotator, deletion)
    assert keys(stack.aws, deployed) == before


# Sessions keep their hands off it, whatever their grant and the ceiling say


def _name(made: Deployment) -> dict[str, str]:
    return {"FunctionName": made.resources["KeyRotator"]}


CLOSED: Calls = {
    "the code": lambda aws, key, made: aws.client("lambda", key).get_function(**_name(made)),
    "the variables": lambda aws, key, made: aws.client("lambda", key).get_function_configuration(**_name(made)),
    "invoking it": lambda aws, key, made: aws.client("lambda", key).invoke(**_name(made), Payload=b"{}"),
    "changing it": lambda aws, key, made: aws.client("lambda", key).update_function_configuration(
        **_name(made), Description="Hallpass, new keys for the broker user"
    ),
    "who may invoke it": lambda aws, key, made: aws.client("lambda", key).get_policy(**_name(made)),
    "its log": lambda aws, key, made: aws.client("logs", key).filter_log_events(
        logGroupName=made.resources["KeyRotatorLog"]
    ),
    "the secret's versions": lambda aws, key, made: aws.client("secretsmanager", key).list_secret_version_ids(
        SecretId=made.resources["BrokerKey"]
    ),
    "how it rotates": lambda aws, key, made: aws.client("secretsmanager", key).describe_secret(
        SecretId=made.resources["BrokerKey"]
    ),
    "its schedule": lambda aws, key, made: aws.client("events", key).describe_rule(
        Name=made.resources["KeyRotatorHourly"]
    ),
}
"""Each does no harm where it is not refused."""

RUINOUS: Calls = {
    "rotating": lambda aws, key, made: aws.client("secretsmanager", key).rotate_secret(
        SecretId=made.resources["BrokerKey"]
    ),
    "another key": lambda aws, key, made: aws.client("secretsmanager", key).put_secret_value(
        SecretId=made.resources["BrokerKey"], SecretString="{}"
    ),
    "the version before": lambda aws, key, made: aws.client("secretsmanager", key).get_secret_value(
        SecretId=made.resources["BrokerKey"], VersionStage="AWSPREVIOUS"
    ),
    "other code": lambda aws, key, made: aws.client("lambda", key).update_function_code(**_name(made), ZipFile=b"x"),
    "another caller": lambda aws, key, made: aws.client("lambda", key).add_permission(
        **_name(made), StatementId="mine", Action="lambda:InvokeFunction", Principal="*"
    ),
    "no rotator": lambda aws, key, made: aws.client("lambda", key).delete_function(**_name(made)),
    "no log": lambda aws, key, made: aws.client("logs", key).delete_log_group(
        logGroupName=made.resources["KeyRotatorLog"]
    ),
    "no schedule": lambda aws, key, made: aws.client("events", key).disable_rule(
        Name=made.resources["KeyRotatorHourly"]
    ),
    "its role": lambda aws, key, made: aws.client("sts", key).assume_role(
        RoleArn=f"arn:aws:iam::{seed.ACCOUNT}:role/hallpass/hallpass/{made.resources['KeyRotatorRole']}",
        RoleSessionName="mine",
    ),
    "a larger role": lambda aws, key, made: aws.client("iam", key).put_role_policy(
        RoleName=made.resources["KeyRotatorRole"], PolicyName="rotator", PolicyDocument="{}"
    ),
    "a key of the user": lambda aws, key, made: aws.client("iam", key).create_access_key(
        UserName=made.resources["BrokerUser"]
    ),
}


@pytest.fixture(scope="module")
def anything(stack: Stack, deployed: Deployment, front: Api, token: Token) -> Key:
    """A session that its grant limits in nothing."""
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    seed.put_item(stack.aws, "corp/user/carol", "anything", {"policy": everything}, deployed.outputs["GrantsTable"])
    return front.key(token("carol"), grant="anything")


@pytest.mark.parametrize("policy", [None, ADMINISTRATOR], ids=["PowerUserAccess", "AdministratorAccess"])
def test_no_session_reads_runs_or_changes_what_rotates(
    stack: Stack, deployed: Deployment, anything: Key, policy: str | None
) -> None:
    everything = CLOSED | RUINOUS
    if policy is None:
        assert denied(everything, stack, anything, deployed) == everything.keys()
    else:
        with ceiling(stack.aws, deployed, policy):
            assert denied(everything, stack, anything, deployed) == everything.keys()


def test_it_is_hands_off_hallpass_that_refuses(stack: Stack, deployed: Deployment, anything: Key) -> None:
    with broker_without(stack.aws, deployed, "HandsOffHallpass"):
        assert denied(CLOSED, stack, anything, deployed) == set()


# Who looks after the key never reads it


def test_who_looks_after_the_key_rotates_it_and_turns_keys_off_and_no_more(
    stack: Stack, deployed: Deployment, front: Api
) -> None:
    secret = {"SecretId": deployed.outputs["BrokerKey"]}
    user = {"UserName": deployed.outputs["BrokerUser"]}
    one = {"AccessKeyId": fill(stack.aws, deployed).id}

    def client(service: str, key: Key) -> Any:
        return stack.aws.client(service, key)

    work: dict[str, Callable[[Key], object]] = {
        "the parts": lambda key: client("cloudformation", key).describe_stacks(StackName=deploy.STACK_NAME),
        "how it rotates": lambda key: client("secretsmanager", key).describe_secret(**secret),
        "versions": lambda key: client("secretsmanager", key).list_secret_version_ids(**secret),
        "rotating": lambda key: client("secretsmanager", key).rotate_secret(**secret),
        "keys": lambda key: client("iam", key).list_access_keys(**user),
        "keys on and off": lambda key: client("iam", key).update_access_key(**user, **one, Status="Active"),
        "reading it": lambda key: client("secretsmanager", key).get_secret_value(**secret),
        "writing it": lambda key: client("secretsmanager", key).put_secret_value(**secret, SecretString="{}"),
        "making one": lambda key: client("iam", key).create_access_key(**user),
        "removing one": lambda key: client("iam", key).delete_access_key(**user, **one),
        "another's keys": lambda key: client("iam", key).list_access_keys(
            UserName=stack.deployment.outputs["BrokerUser"]
        ),
        "grants": lambda key: client("dynamodb", key).scan(TableName=deployed.outputs["GrantsTable"]),
        "the code": lambda key: client("lambda", key).get_function(FunctionName=deployed.outputs["RotatorName"]),
    }
    may = {"the parts", "how it rotates", "versions", "rotating", "keys", "keys on and off"}
    with user_with(stack.aws, deployed.outputs["KeyOperatorPolicy"]) as key:
        assert {what for what, do in work.items() if refusal(do, key=key) is None} == may
    others = {
        "OperatorPolicy": {"grants", "the parts"},
        "ReaderPolicy": {"grants", "the parts", "how it rotates", "versions", "keys"},
        "CiPolicy": {"grants", "the parts"},
    }
    for policy, least in others.items():
        with user_with(stack.aws, deployed.outputs[policy]) as key:
            assert {what for what, do in work.items() if refusal(do, key=key) is None} <= least, policy


# The stack comes and goes


def test_a_changed_stack_keeps_its_keys(stack: Stack, deployed: Deployment, front: Api, token: Token) -> None:
    fill(stack.aws, deployed)
    before = keys(stack.aws, deployed)
    deploy.update(stack.aws, deployed, RequestsPerSecond="51", LogRetentionDays="90")
    assert keys(stack.aws, deployed) == before
    assert front.ask(token=token("carol")).status == 200


def test_a_stack_that_goes_removes_its_keys_first_and_can_be_made_again(
    stack: Stack, parameters: dict[str, str], deployed: Deployment, front: Api, token: Token
) -> None:
    fill(stack.aws, deployed)
    assert len(keys(stack.aws, deployed)) == 2, "IAM would keep the user"
    assert refusal(stack.aws.client("iam").delete_user, UserName=deployed.outputs["BrokerUser"]) == "DeleteConflict"
    deploy.delete(stack.aws, deployed)
    users = [user["UserName"] for user in stack.aws.client("iam").list_users()["Users"]]
    assert deployed.outputs["BrokerUser"] not in users
    events = stack.aws.client("cloudformation").describe_stack_events(StackName=deployed.id)["StackEvents"]
    gone = [event["LogicalResourceId"] for event in events if event["ResourceStatus"] == "DELETE_COMPLETE"]
    newest_first = [name for name in gone if name in ("BrokerKeys", "KeyRotator", "KeyRotatorRole", "BrokerUser")]
    assert newest_first[-1] == "BrokerKeys", newest_first

    # A part that fails after the rotator is there: it is given another user's keys to look after.
    name = {"Fn::GetAtt": ["KeyRotator", "Arn"]}
    broken = {"Type": "Custom::BrokerKeys", "Properties": {"ServiceToken": name, "UserName": "somebody"}}
    with pytest.raises(RuntimeError, match="ROLLBACK_COMPLETE: .*UserName"):
        deploy.create(stack.aws, parameters, {"Broken": broken | {"DependsOn": "BrokerKeys"}})
    assert stack.aws.client("iam").list_users(PathPrefix=f"/hallpass/{deploy.STACK_NAME}/")["Users"] == []
    stack.aws.client("cloudformation").delete_stack(StackName=deploy.STACK_NAME)

    again = deploy.create(stack.aws, parameters)
    try:
        answer = serving(stack, again).ask(token=token("carol"))
        assert (answer.status, answer.body["Grant"]) == (200, "default")
    finally:
        deploy.delete(stack.aws, again)
