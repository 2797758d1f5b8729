"""Who may do what in the emulated AWS: what is refused, and what would be without one permission or one denial."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ClientError
from deploy import Deployment
from seed import Aws, Key
from stack import Stack

Calls = dict[str, Callable[[Aws, Key, Deployment], object]]

ROLES = {"FunctionRole": "function", "KeyRotatorRole": "rotator"}
"""The name of each role's one policy."""


def refusal(call: Callable[..., object], **parameters: object) -> str | None:
    """The code of a refusal; None where there is none."""
    try:
        call(**parameters)
    except ClientError as refused:
        return refused.response["Error"]["Code"]
    return None


def denied(calls: Calls, stack: Stack, key: Key, deployed: Deployment) -> set[str]:
    """The names of the calls that `key` may not make."""
    codes = {name: refusal(call, aws=stack.aws, key=key, made=deployed) for name, call in calls.items()}
    assert set(codes.values()) <= {None, "AccessDenied", "AccessDeniedException"}, codes
    return {name for name, code in codes.items() if code}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def role_policy(aws: Aws, deployment: Deployment, role: str) -> dict[str, Any]:
    name = {"RoleName": deployment.resources[role], "PolicyName": ROLES[role]}
    return aws.client("iam").get_role_policy(**name)["PolicyDocument"]


def allowed_to(aws: Aws, deployment: Deployment, role: str) -> set[tuple[str, str]]:
    """Every action of a role, with its statement."""
    return {
        (statement["Sid"], action)
        for statement in role_policy(aws, deployment, role)["Statement"]
        for action in listed(statement["Action"])
    }


@contextmanager
def role_without(aws: Aws, deployment: Deployment, role: str, sid: str, action: str) -> Iterator[None]:
    """The role without one action of one statement."""
    policy = role_policy(aws, deployment, role)
    statements = []
    for statement in policy["Statement"]:
        left = [each for each in listed(statement["Action"]) if (statement["Sid"], each) != (sid, action)]
        statements += [statement | {"Action": left}] if left else []
    iam = aws.client("iam")
    name = {"RoleName": deployment.resources[role], "PolicyName": ROLES[role]}
    iam.put_role_policy(**name, PolicyDocument=json.dumps(policy | {"Statement": statements}))
    try:
        yield
    finally:
        iam.put_role_policy(**name, PolicyDocument=json.dumps(policy))


@contextmanager
def broker_without(aws: Aws, deployment: Deployment, sid: str, action: str | None = None) -> Iterator[None]:
    """The broker user's policy without one statement, or without one action of it."""
    iam = aws.client("iam")
    arn = deployment.resources["BrokerPolicy"]
    default = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    policy = iam.get_policy_version(PolicyArn=arn, VersionId=default)["PolicyVersion"]["Document"]
    statements = []
    for statement in policy["Statement"]:
        if statement["Sid"] != sid:
            statements.append(statement)
        elif action is not None:
            statements.append(statement | {"Action": [each for each in statement["Action"] if each != action]})
    assert statements != policy["Statement"]

    def put(statements: list[dict[str, Any]]) -> None:
        before = iam.list_policy_versions(PolicyArn=arn)["Versions"]
        document = json.dumps(policy | {"Statement": statements})
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=document, SetAsDefault=True)
        for version in before:
            iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])

    put(statements)
    try:
        yield
    finally:
        put(policy["Statement"])


@contextmanager
def ceiling(aws: Aws, deployment: Deployment, policy: str) -> Iterator[None]:
    """Another ceiling in place of the one that was deployed."""
    iam = aws.client("iam")
    user = {"UserName": deployment.outputs["BrokerUser"]}
    deployed = deployment.parameters["CeilingPolicyArns"]
    iam.attach_user_policy(**user, PolicyArn=policy)
    iam.detach_user_policy(**user, PolicyArn=deployed)
    try:
        yield
    finally:
        iam.attach_user_policy(**user, PolicyArn=deployed)
        iam.detach_user_policy(**user, PolicyArn=policy)


@contextmanager
def user_with(aws: Aws, policy: str, name: str = "somebody") -> Iterator[Key]:
    """Somebody who has one policy."""
    iam = aws.client("iam")
    user = {"UserName": name}
    iam.create_user(**user)
    iam.attach_user_policy(**user, PolicyArn=policy)
    key = iam.create_access_key(**user)["AccessKey"]
    try:
        yield Key(key["AccessKeyId"], key["SecretAccessKey"])
    finally:
        iam.delete_access_key(**user, AccessKeyId=key["AccessKeyId"])
        iam.detach_user_policy(**user, PolicyArn=policy)
        iam.delete_user(**user)
