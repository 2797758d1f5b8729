"""What do the credentials open? Exactly what the grants and the broker user's own permissions both allow."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime, timezone

import deploy
import pytest
import rotations
import seed
from api import Api
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import ClientError
from seed import OBJECTS, PAYROLL, REPORTS, Key
from stack import Stack

Token = Callable[..., str]

LIST_REPORTS = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{REPORTS}"}


def refusal(call: Callable[..., object], **parameters: object) -> str:
    with pytest.raises(ClientError) as refused:
        call(**parameters)
    return refused.value.response["Error"]["Code"]


@pytest.fixture(scope="module")
def carols_s3(stack: Stack, api: Api, token: Token) -> BaseClient:
    return stack.aws.client("s3", api.key(token("carol")))


def test_what_the_grant_and_the_ceiling_both_allow_is_allowed(carols_s3: BaseClient) -> None:
    keys = [entry["Key"] for entry in carols_s3.list_objects_v2(Bucket=REPORTS)["Contents"]]
    assert keys == [OBJECTS[REPORTS]]
    assert carols_s3.get_object(Bucket=REPORTS, Key=keys[0])["Body"].read()


def test_what_the_ceiling_alone_allows_is_refused(carols_s3: BaseClient) -> None:
    assert refusal(carols_s3.list_objects_v2, Bucket=PAYROLL) == "AccessDenied"
    assert refusal(carols_s3.get_object, Bucket=PAYROLL, Key=OBJECTS[PAYROLL]) == "AccessDenied"


def test_what_the_grant_alone_allows_is_refused(carols_s3: BaseClient) -> None:
    assert refusal(carols_s3.put_object, Bucket=REPORTS, Key="mine.csv", Body=b"") == "AccessDenied"


def test_a_grant_opens_its_own_bucket_and_not_that_of_another_grant(stack: Stack, api: Api, token: Token) -> None:
    s3 = stack.aws.client("s3", api.key(token("erin"), grant="payroll"))
    assert s3.list_objects_v2(Bucket=PAYROLL)["KeyCount"] == 1
    assert refusal(s3.list_objects_v2, Bucket=REPORTS) == "AccessDenied"


def test_the_grants_of_the_person_and_of_her_groups_are_united(stack: Stack, api: Api, token: Token) -> None:
    policy = {"Version": "2012-10-17", "Statement": [LIST_REPORTS | {"Resource": f"arn:aws:s3:::{PAYROLL}"}]}
    seed.put_item(stack.aws, "corp/user/erin", "default", {"policy": policy}, stack.table)
    try:
        s3 = stack.aws.client("s3", api.key(token("erin")))
    finally:
        seed.delete_item(stack.aws, "corp/user/erin", "default", stack.table)
    assert s3.list_objects_v2(Bucket=REPORTS)["KeyCount"] == 1
    assert s3.list_objects_v2(Bucket=PAYROLL)["KeyCount"] == 1


def test_a_grant_without_policy_opens_nothing(stack: Stack, api: Api, token: Token) -> None:
    key = api.key(token("dave"), grant="badge")
    identity = stack.aws.client("sts", key).get_caller_identity()
    assert identity["Arn"].startswith(f"arn:aws:sts::{seed.ACCOUNT}:federated-user/dave-")
    s3 = stack.aws.client("s3", key)
    for bucket in OBJECTS:
        assert refusal(s3.list_objects_v2, Bucket=bucket) == "AccessDenied"


def test_after_its_end_a_session_opens_nothing(stack: Stack) -> None:
    # STS takes no less than 900 s, and Hallpass asks for no less. MiniStack takes two, asked directly with the key.
    broker = rotations.current(stack.aws, stack.secret)
    unchecked = Config(parameter_validation=False)
    sts = stack.aws.client("sts", broker, unchecked)
    policy = json.dumps({"Version": "2012-10-17", "Statement": [LIST_REPORTS]})
    answer = sts.get_federation_token(Name="short-lived", DurationSeconds=2, Policy=policy)
    s3 = stack.aws.client("s3", Key.of(answer["Credentials"]))
    assert s3.list_objects_v2(Bucket=REPORTS)["KeyCount"] == 1
    left = answer["Credentials"]["Expiration"] - datetime.now(timezone.utc)
    time.sleep(max(left.total_seconds(), 0) + 1)
    assert refusal(s3.list_objects_v2, Bucket=REPORTS) == "ExpiredToken"


def test_a_new_broker_key_needs_no_restart(stack: Stack, api: Api, token: Token) -> None:
    old = rotations.current(stack.aws, stack.secret)
    deploy.rotate(stack.aws, stack.deployment)
    user = stack.deployment.outputs["BrokerUser"]
    stack.aws.client("iam").delete_access_key(UserName=user, AccessKeyId=old.id)
    sts = stack.aws.client("sts", old)
    assert refusal(sts.get_caller_identity) == "InvalidClientTokenId", "the key that the function holds is gone"
    assert api.ask(token=token("carol")).status == 200


def test_who_holds_a_session_mints_no_other(stack: Stack, api: Api, token: Token) -> None:
    sts = stack.aws.client("sts", api.key(token("carol")))
    assert refusal(sts.get_federation_token, Name="mallory") == "AccessDenied"
