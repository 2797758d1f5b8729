"""Does an AWS SDK need anything of ours? Two environment variables, and no code.

The programs run in processes of their own, with an environment in which these can be the only credentials.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import seed
from stack import BIN, Stack

LIST = f"""
import boto3
print([object["Key"] for object in boto3.client("s3").list_objects_v2(Bucket="{seed.REPORTS}")["Contents"]])
"""

# The clock that botocore compares an expiry with is moved; the requests, the answers and the renewal are real.
REFRESH = f"""
import datetime, json
import boto3

session = boto3.Session()
s3 = session.client("s3")
credentials = session.get_credentials()

def now(): return datetime.datetime.now(datetime.timezone.utc)

def key_after(minutes):
    credentials._time_fetcher = lambda: now() + datetime.timedelta(minutes=minutes)
    s3.list_objects_v2(Bucket="{seed.REPORTS}")
    credentials._time_fetcher = now
    return credentials.get_frozen_credentials().access_key

print(json.dumps([key_after(minutes) for minutes in (0, 30, 55)]))
"""

# Nothing is moved: credentials of 900 s are always within the 15 minutes before their end in which botocore renews.
SHORT = f"""
import json
import boto3

session = boto3.Session()
s3 = session.client("s3")
keys = []
for _ in range(2):
    s3.list_objects_v2(Bucket="{seed.REPORTS}")
    keys.append(session.get_credentials().get_frozen_credentials().access_key)
print(json.dumps(keys))
"""

REFUSED = """
import boto3
from botocore.exceptions import CredentialRetrievalError
try:
    boto3.client("sts").get_caller_identity()
except CredentialRetrievalError as refusal:
    print(refusal)
"""


@pytest.fixture
def run(stack: Stack, token: Callable[..., str], tmp_path: Path) -> Callable[..., str]:
    """Runs a program as carol, who has nothing but a token in a file."""

    def run(program: str, query: str = "", authorization: str | None = None) -> str:
        file = tmp_path / "token"
        file.write_text(f"Bearer {token('carol')}" if authorization is None else authorization)
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{stack.url}/v1/credentials{query}",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(file),
            # Where AWS is, not who is asking.
            "AWS_ENDPOINT_URL": stack.aws.endpoint,
            "AWS_DEFAULT_REGION": seed.REGION,
        }
        command = [str(BIN / "python"), "-c", program]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


def issued(stack: Stack) -> list[dict[str, Any]]:
    return [outcome for outcome in stack.outcomes() if outcome.get("access_key_id")]


def test_boto3_lists_the_bucket_with_two_variables(run: Callable[..., str]) -> None:
    assert run(LIST) == str([seed.OBJECTS[seed.REPORTS]])


def test_boto3_renews_credentials_that_near_their_end_and_no_others(stack: Stack, run: Callable[..., str]) -> None:
    before = len(stack.outcomes())
    first, at_half_time, near_the_end = json.loads(run(REFRESH))
    assert first == at_half_time != near_the_end
    assert len(stack.outcomes()) == before + 2


def test_boto3_renews_short_credentials_at_every_use(stack: Stack, run: Callable[..., str]) -> None:
    keys = json.loads(run(SHORT, query="?duration=900"))
    assert len(set(keys)) == len(keys)


def test_boto3_shows_the_code_and_message_of_a_refusal(run: Callable[..., str]) -> None:
    assert "401" in run(REFUSED, authorization="Bearer garbage")
    assert "access_denied" in run(REFUSED, query="?grant=payroll")
