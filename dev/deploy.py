"""How does the template become a stack in the emulated AWS? As `sam deploy` does it: the code goes to S3, the template to
CloudFormation, which processes AWS::Serverless itself.

What the emulator cannot take as it stands is changed here, in SUBSTITUTIONS and REPAIRS, and nowhere else.
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import rotations
from paths import ARTIFACT, ROOT, ROTATOR
from samtranslator.yaml_helper import yaml_parse
from seed import Aws, Key

TEMPLATE = ROOT / "template.yaml"
STACK_NAME = "hallpass"
ARTIFACTS = "acme-artifacts"
CODE = {"Function": ARTIFACT, "KeyRotator": ROTATOR}
TIMEOUT_S = 30  # the emulator takes two seconds
SESSION_S = 43_200  # `make up` may be left open over a working day
FINISHED = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "DELETE_COMPLETE"}

Template = dict[str, Any]


def _widen_get_federation_token(template: Template) -> None:
    statements = _statements(template, "BrokerPolicy")
    statements["MintSessions"]["Resource"] = "*"


def _name_the_user_without_his_path(template: Template) -> None:
    user = {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:user/${BrokerUser}"}
    _statements(template, "KeyOperatorPolicy")["SeeKeysAndTurnThemOff"]["Resource"] = user
    _statements(template, "ReaderPolicy")["ReadCeiling"]["Resource"] = user
    _statements(template, "ReaderPolicy")["SeeKeysOfBrokerUser"]["Resource"] = user
    _statements(template, "RevokerPolicy")["SeeThatTheUserHasTheBoundary"]["Resource"] = user
    (policy,) = template["Resources"]["KeyRotatorRole"]["Properties"]["Policies"]
    (statement,) = [each for each in policy["PolicyDocument"]["Statement"] if each["Sid"] == "MakeAndRemoveKeys"]
    statement["Resource"] = user


def _protect_the_user_by_its_name(template: Template) -> None:
    resources = _statements(template, "BrokerPolicy")["NoIamOrNoneOfHallpass"]["Resource"]["Fn::If"][2]
    resources.append({"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:user/${AWS::StackName}-BrokerUser-*"})


def _name_log_groups_without_their_streams(template: Template) -> None:
    group = "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:"
    names = ("FunctionLog", "AccessLog")
    _statements(template, "ReaderPolicy")["ReadLogs"]["Resource"] = [
        {"Fn::Sub": f"{group}${{{name}}}"} for name in names
    ]
    _statements(template, "RevokerPolicy")["FindPeople"]["Resource"] = {"Fn::Sub": f"{group}${{FunctionLog}}"}


def _widen_the_last_use_of_keys(template: Template) -> None:
    statements = template["Resources"]["ReaderPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    _statements(template, "ReaderPolicy")["SeeKeysOfBrokerUser"]["Action"] = "iam:ListAccessKeys"
    statements.append(
        {"Sid": "SeeLastUse", "Effect": "Allow", "Action": "iam:GetAccessKeyLastUsed", "Resource": "*"},
    )


def _leave_browsers_to_the_gateway(template: Template) -> None:
    template["Conditions"]["FunctionAnswersBrowsers"] = {"Fn::Equals": ["always", "never"]}


def _leave_out(logical: str) -> Callable[[Template], None]:
    def leave_out(template: Template) -> None:
        del template["Resources"][logical]

    return leave_out


SUBSTITUTIONS: dict[str, Callable[[Template], None]] = {
    "MiniStack refuses sts:GetFederationToken on anything narrower than `*`": _widen_get_federation_token,
    "MiniStack judges calls about an IAM user by an ARN without the user's path": _name_the_user_without_his_path,
    "MiniStack judges calls about an IAM user by an ARN without the user's path, also denied ones": (
        _protect_the_user_by_its_name
    ),
    "MiniStack compares log groups without the `:*` that their ARNs end in": _name_log_groups_without_their_streams,
    "MiniStack refuses iam:GetAccessKeyLastUsed, which names no user, on anything narrower than `*`": (
        _widen_the_last_use_of_keys
    ),
    # Nor would its gateway pass an OPTIONS on to a route.
    "MiniStack knows no Fn::Split in a condition": _leave_browsers_to_the_gateway,
    # rotations.py does what it would do.
    "MiniStack knows no AWS::SecretsManager::RotationSchedule": _leave_out("Rotation"),
    "MiniStack knows no AWS::Logs::QueryDefinition": _leave_out("CredentialsIssued"),
}
"""What is changed before the stack is created, by the reason. The broker user's ceiling, issuers and so on are
parameters, and the place of the code is what `sam package` fills in: neither is a substitution."""


def _set_cors_again(aws: Aws, template: Template, deployment: Deployment) -> None:
    cors = template["Resources"]["Api"]["Properties"]["CorsConfiguration"]["Fn::If"][1]
    origins = deployment.parameters["AllowedOrigins"].split(",")
    api = deployment.resources["Api"]
    aws.client("apigatewayv2").update_api(ApiId=api, CorsConfiguration=cors | {"AllowOrigins": origins})


def _keep_backups(aws: Aws, template: Template, deployment: Deployment) -> None:
    dynamodb = aws.client("dynamodb")
    for logical in ("GrantsTable", "StateTable"):
        wanted = template["Resources"][logical]["Properties"]["PointInTimeRecoverySpecification"]
        name = deployment.resources[logical]
        dynamodb.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=wanted)


def _let_tokens_expire(aws: Aws, template: Template, deployment: Deployment) -> None:
    wanted = template["Resources"]["StateTable"]["Properties"]["TimeToLiveSpecification"]
    name = deployment.resources["StateTable"]
    aws.client("dynamodb").update_time_to_live(TableName=name, TimeToLiveSpecification=wanted)


REPAIRS: dict[str, Callable[[Aws, Template, Deployment], None]] = {
    "MiniStack's CloudFormation stores CorsConfiguration so that its own gateway cannot read it": _set_cors_again,
    "MiniStack's CloudFormation does not read PointInTimeRecoverySpecification": _keep_backups,
    "MiniStack's CloudFormation does not read TimeToLiveSpecification": _let_tokens_expire,
}
"""What is set right after the stack was created, by the reason."""


@dataclass
class Deployment:
    """A stack that was created from the template."""

    id: str
    parameters: dict[str, str]
    outputs: dict[str, str]
    resources: dict[str, str]
    """Physical names by logical ones."""
    deleted: bool = False

    def arn(self, aws: Aws, logical: str) -> str:
        """The ARN of a table, the secret or a function."""
        name = self.resources[logical]
        match logical:
            case "GrantsTable" | "StateTable":
                return aws.client("dynamodb").describe_table(TableName=name)["Table"]["TableArn"]
            case "BrokerKey":
                return aws.client("secretsmanager").describe_secret(SecretId=name)["ARN"]
            case "Function" | "KeyRotator":
                return aws.client("lambda").get_function_configuration(FunctionName=name)["FunctionArn"]
        raise ValueError(logical)


def create(aws: Aws, parameters: dict[str, str], more: Template | None = None, name: str = STACK_NAME) -> Deployment:
    """Creates the stack, and waits until it is there. It has no broker key yet. `more` are resources beside the
    template's."""
    template = yaml_parse(TEMPLATE.read_text())
    template["Resources"] |= more or {}
    _upload(aws, template)
    for substitute in SUBSTITUTIONS.values():
        substitute(template)
    cloudformation = aws.client("cloudformation")
    id = cloudformation.create_stack(StackName=name, **_said(aws, template, parameters))["StackId"]
    made = _finished(aws, id)
    deployment = Deployment(
        id,
        parameters,
        {output["OutputKey"]: output["OutputValue"] for output in made["Outputs"]},
        {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for resource in cloudformation.describe_stack_resources(StackName=id)["StackResources"]
        },
    )
    for repair in REPAIRS.values():
        repair(aws, template, deployment)
    return deployment


def placeholder() -> str:
    """The secret as the template makes it, before there is a key."""
    return yaml_parse(TEMPLATE.read_text())["Resources"]["BrokerKey"]["Properties"]["SecretString"]


def update(aws: Aws, deployment: Deployment, **changes: str) -> None:
    """Deploys the same template again, with some parameters changed."""
    template = yaml_parse(TEMPLATE.read_text())
    for logical in CODE:
        template["Resources"][logical]["Properties"]["CodeUri"] = _uri(logical)
    for substitute in SUBSTITUTIONS.values():
        substitute(template)
    deployment.parameters |= changes
    aws.client("cloudformation").update_stack(StackName=deployment.id, **_said(aws, template, deployment.parameters))
    _finished(aws, deployment.id)
    for repair in REPAIRS.values():
        repair(aws, template, deployment)


def rotate(aws: Aws, deployment: Deployment) -> Key:
    """What AWS does after the deployment, and every month. Answers the new key."""
    return rotations.rotate(aws, deployment.outputs["BrokerKey"], deployment.outputs["RotatorName"])


def session(aws: Aws, deployment: Deployment, role: str) -> Key:
    """What a function of the stack runs with: a session of its role."""
    arn = aws.client("iam").get_role(RoleName=deployment.resources[role])["Role"]["Arn"]
    answer = aws.client("sts").assume_role(RoleArn=arn, RoleSessionName="function", DurationSeconds=SESSION_S)
    return Key.of(answer["Credentials"])


def variables(aws: Aws, deployment: Deployment, logical: str) -> dict[str, str]:
    """The variables that the template gives a function."""
    name = {"FunctionName": deployment.resources[logical]}
    return aws.client("lambda").get_function_configuration(**name)["Environment"]["Variables"]


def restart(aws: Aws, deployment: Deployment, logical: str, **changes: str | None) -> None:
    """Makes the next invocation meet a function that has just started: a new configuration does that. `changes` are to
    its variables; None takes one away."""
    functions, name = aws.client("lambda"), {"FunctionName": deployment.resources[logical]}
    changed = variables(aws, deployment, logical) | changes
    left = {name: value for name, value in changed.items() if value is not None}
    functions.update_function_configuration(**name, Environment={"Variables": left})
    functions.get_waiter("function_updated_v2").wait(**name, WaiterConfig={"Delay": 1})


def delete(aws: Aws, deployment: Deployment) -> None:
    """Deletes the stack, with the keys that the broker user has."""
    aws.client("cloudformation").delete_stack(StackName=deployment.id)
    _finished(aws, deployment.id)
    deployment.deleted = True


def _said(aws: Aws, template: Template, parameters: dict[str, str]) -> dict[str, Any]:
    # CloudFormation takes 51,200 bytes in a request, and more only from S3.
    s3, place = aws.client("s3"), {"Bucket": ARTIFACTS, "Key": "template.json"}
    s3.put_object(**place, Body=json.dumps(template).encode())
    return {
        "TemplateURL": f"{s3.meta.endpoint_url}/{place['Bucket']}/{place['Key']}",
        "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    }


def _upload(aws: Aws, template: Template) -> None:
    """What `sam package` does."""
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=ARTIFACTS)
    for logical, bootstrap in CODE.items():
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.write(bootstrap, "bootstrap")
        s3.put_object(Bucket=ARTIFACTS, Key=f"{logical}.zip", Body=code.getvalue())
        template["Resources"][logical]["Properties"]["CodeUri"] = _uri(logical)


def _uri(logical: str) -> str:
    return f"s3://{ARTIFACTS}/{logical}.zip"


def _finished(aws: Aws, id: str) -> dict[str, Any]:
    cloudformation = aws.client("cloudformation")
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        stack = cloudformation.describe_stacks(StackName=id)["Stacks"][0]
        if stack["StackStatus"] in FINISHED:
            return stack
        if not stack["StackStatus"].endswith("_IN_PROGRESS"):
            break
        time.sleep(0.1)
    events = cloudformation.describe_stack_events(StackName=id)["StackEvents"]
    failed = [
        f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}"
        for event in events
        if event["ResourceStatus"].endswith("_FAILED")
    ]
    raise RuntimeError(f"the stack is {stack['StackStatus']}: " + "; ".join(failed))


def _statements(template: Template, policy: str) -> dict[str, dict[str, Any]]:
    statements = template["Resources"][policy]["Properties"]["PolicyDocument"]["Statement"]
    return {statement["Sid"]: statement for statement in statements if "Sid" in statement}
