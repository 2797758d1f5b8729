"""What do Secrets Manager and EventBridge do to the rotator? The emulated ones do not, so it is done here.

Everything is asked of the rotator by Lambda's Invoke, with the events that AWS sends, and it acts with its own role.
"""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

import seed
from botocore.config import Config
from seed import Aws, Key

# https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html
STEPS = ["createSecret", "setSecret", "testSecret", "finishSecret"]
PENDING = "AWSPENDING"
INVOCATION_S = 120  # as long as the template gives the rotator


class RotatorError(RuntimeError):
    """The rotator answered with an error."""


def rotate(aws: Aws, secret: str, rotator: str) -> Key:
    """One rotation from its beginning to its end. Answers the new key."""
    token = begin(aws, secret, rotator)
    for name in STEPS:
        step(aws, secret, rotator, name, token)
    return current(aws, secret)


def begin(aws: Aws, secret: str, rotator: str) -> str:
    """RotateSecret's own part: one version is pending, and has no value yet. Answers its id."""
    secrets = aws.client("secretsmanager")
    if not secrets.describe_secret(SecretId=secret)["RotationEnabled"]:
        # What the emulator does: it sets the switch, and makes a copy of the current version current.
        functions = aws.client("lambda")
        arn = functions.get_function_configuration(FunctionName=rotator)["FunctionArn"]
        secrets.rotate_secret(SecretId=secret, RotationLambdaARN=arn, RotationRules={"AutomaticallyAfterDays": 30})
    # A label is on one version. The emulator would leave it on the one before, too.
    for version, stages in secrets.describe_secret(SecretId=secret)["VersionIdsToStages"].items():
        if PENDING in stages:
            secrets.update_secret_version_stage(SecretId=secret, VersionStage=PENDING, RemoveFromVersionId=version)
    token = str(uuid.uuid4())
    secrets.put_secret_value(SecretId=secret, ClientRequestToken=token, VersionStages=[PENDING])
    return token


def step(aws: Aws, secret: str, rotator: str, name: str, token: str) -> str:
    """Answers what the rotator wrote."""
    arn = aws.client("secretsmanager").describe_secret(SecretId=secret)["ARN"]
    return invoke(aws, rotator, {"Step": name, "SecretId": arn, "ClientRequestToken": token})


def hour(aws: Aws, rotator: str) -> str:
    """What EventBridge sends by the hour. Answers what the rotator wrote."""
    return invoke(
        aws,
        rotator,
        {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": seed.ACCOUNT,
            "time": "2026-11-22T12:00:00Z",
            "region": seed.REGION,
            "resources": [f"arn:aws:events:{seed.REGION}:{seed.ACCOUNT}:rule/hallpass-KeyRotatorHourly-x"],
            "detail": {},
        },
    )


def invoke(aws: Aws, rotator: str, event: dict[str, Any]) -> str:
    """Raises what the rotator answers as an error. Answers what it wrote."""
    functions = aws.client("lambda", config=Config(read_timeout=INVOCATION_S))
    answer = functions.invoke(FunctionName=rotator, Payload=json.dumps(event), LogType="Tail")
    payload = json.load(answer["Payload"])
    if "FunctionError" in answer:
        raise RotatorError(payload["errorMessage"])
    return base64.b64decode(answer["LogResult"]).decode()


def current(aws: Aws, secret: str) -> Key:
    """The key that the function uses, read by root."""
    held = json.loads(aws.client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"])
    return Key(held["AccessKeyId"], held["SecretAccessKey"])
