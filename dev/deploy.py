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
from pathlib import Path
from typing import Any

import seed
from samtranslator.yaml_helper import yaml_parse
from seed import Aws
from stack import ROOT

TEMPLATE = ROOT / "template.yaml"
STACK_NAME = "hallpass"
ARTIFACTS = "acme-artifacts"
TIMEOUT_S = 30  # the emulator takes two seconds
FINISHED = {"CREATE_COMPLETE", "DELETE_COMPLETE"}

Template = dict[str, Any]


def _widen_get_federation_token(template: Template) -> None:
    statements = _statements(template, "BrokerPolicy")
    statements["MintSessions"]["Resource"] = "*"


SUBSTITUTIONS: dict[str, Callable[[Template], None]] = {
    "MiniStack refuses sts:GetFederationToken on anything narrower than `*`": _widen_get_federation_token,
}
"""What is changed before the stack is created, by the reason. The broker user's ceiling, issuers and so on are
parameters, and the place of the code is what `sam package` fills in: neither is a substitution."""


def _set_cors_again(aws: Aws, template: Template, deployment: Deployment) -> None:
    cors = template["Resources"]["Api"]["Properties"]["CorsConfiguration"]["Fn::If"][1]
    origins = deployment.parameters["AllowedOrigins"].split(",")
    api = deployment.resources["Api"]
    aws.client("apigatewayv2").update_api(ApiId=api, CorsConfiguration=cors | {"AllowOrigins": origins})


REPAIRS: dict[str, Callable[[Aws, Template, Deployment], None]] = {
    "MiniStack's CloudFormation stores CorsConfiguration so that its own gateway cannot read it": _set_cors_again,
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
        """The ARN of a table, the secret or the function."""
        name = self.resources[logical]
        match logical:
            case "GrantsTable" | "StateTable":
                return aws.client("dynamodb").describe_table(TableName=name)["Table"]["TableArn"]
            case "BrokerKey":
                return aws.client("secretsmanager").describe_secret(SecretId=name)["ARN"]
            case "Function":
                return aws.client("lambda").get_function_configuration(FunctionName=name)["FunctionArn"]
        raise ValueError(logical)


def create(aws: Aws, bootstrap: Path, parameters: dict[str, str]) -> Deployment:
    """Creates the stack, and waits until it is there."""
    template = yaml_parse(TEMPLATE.read_text())
    _upload(aws, bootstrap, template)
    for substitute in SUBSTITUTIONS.values():
        substitute(template)
    cloudformation = aws.client("cloudformation")
    id = cloudformation.create_stack(
        StackName=STACK_NAME,
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )["StackId"]
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


def put_first_key(aws: Aws, deployment: Deployment) -> seed.Key:
    """What an operator does once: a key of the broker user, into the secret."""
    key = aws.client("iam").create_access_key(UserName=deployment.outputs["BrokerUser"])["AccessKey"]
    secret = json.dumps({name: key[name] for name in ("AccessKeyId", "SecretAccessKey")})
    aws.client("secretsmanager").put_secret_value(SecretId=deployment.outputs["BrokerKey"], SecretString=secret)
    return seed.Key(key["AccessKeyId"], key["SecretAccessKey"])


def delete(aws: Aws, deployment: Deployment) -> None:
    """Deletes the stack. The broker user's keys go first: IAM keeps a user who has one."""
    iam = aws.client("iam")
    user = deployment.outputs["BrokerUser"]
    for key in iam.list_access_keys(UserName=user)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])
    aws.client("cloudformation").delete_stack(StackName=deployment.id)
    _finished(aws, deployment.id)
    deployment.deleted = True


def _upload(aws: Aws, bootstrap: Path, template: Template) -> None:
    """What `sam package` does."""
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.write(bootstrap, "bootstrap")
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=ARTIFACTS)
    s3.put_object(Bucket=ARTIFACTS, Key="broker.zip", Body=code.getvalue())
    template["Resources"]["Function"]["Properties"]["CodeUri"] = f"s3://{ARTIFACTS}/broker.zip"


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
