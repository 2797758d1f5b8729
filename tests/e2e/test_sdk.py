"""Does an AWS SDK need anything of ours? Two environment variables or a line in a profile, and no code.

The programs run in processes of their own, with an environment in which these can be the only credentials.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import seed
from paths import BIN, ROOT
from stack import Stack

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

CALLS = f"""
import boto3

s3 = boto3.client("s3")
for _ in range(5):
    s3.list_objects_v2(Bucket="{seed.REPORTS}")
"""

REFUSED = """
import boto3
from botocore.exceptions import CredentialRetrievalError
try:
    boto3.client("sts").get_caller_identity()
except CredentialRetrievalError as refusal:
    print(refusal)
"""


def run_alone(stack: Stack, home: Path, program: str, variables: dict[str, str]) -> str:
    """Runs a program in an environment of these variables and of nothing else that could be credentials."""
    # Where AWS is, not who is asking.
    local = {"AWS_ENDPOINT_URL": stack.aws.endpoint, "AWS_DEFAULT_REGION": seed.REGION}
    env = {"PATH": os.environ["PATH"], "HOME": str(home)} | local | variables
    command = [str(BIN / "python"), "-c", program]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def run(stack: Stack, token: Callable[..., str], tmp_path: Path) -> Callable[..., str]:
    """Runs a program as carol, who has nothing but a token in a file."""

    def run(program: str, query: str = "", authorization: str | None = None) -> str:
        file = tmp_path / "token"
        file.write_text(f"Bearer {token('carol')}" if authorization is None else authorization)
        uri, file_variable = "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
        variables = {uri: f"{stack.url}/v1/credentials{query}", file_variable: str(file)}
        return run_alone(stack, tmp_path, program, variables)

    return run


@pytest.fixture
def run_with_profile(stack: Stack, tmp_path: Path) -> Callable[[str, str], str]:
    """Runs a program with the profile of docs/clients.md, and what its file holds."""

    def run(program: str, authorization: str) -> str:
        page = (ROOT / "docs/clients.md").read_text()
        (profile,) = re.findall(r"```ini\n(.*?)```", page, re.DOTALL)
        # The local function's address has a path before the API's own, and one before the address has none.
        here = profile.replace("https://hallpass.example.com/v1/credentials/default", f"{stack.url}/v1/credentials")
        assert here != profile
        (tmp_path / "config").write_text(here)
        (tmp_path / ".hallpass-header").write_text(f"Authorization: {authorization}")
        return run_alone(
            stack, tmp_path, program, {"AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_PROFILE": "hallpass"}
        )

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


@pytest.mark.parametrize(("duration", "requests"), [(3600, 1), (1800, 1), (900, 6)])
def test_boto3_asks_as_often_as_the_page_says(
    stack: Stack, run: Callable[..., str], duration: int, requests: int
) -> None:
    before = len(stack.outcomes())
    run(CALLS, query=f"?duration={duration}")
    assert len(stack.outcomes()) - before == requests
    page = (ROOT / "docs/clients.md").read_text()
    headings = re.search(r"^\| client \| (requests at .*) \| requests when refused \|$", page, re.MULTILINE)[1].split(
        " | "
    )
    figures = re.search(r"^\| boto3 \| (.*) \|$", page, re.MULTILINE)[1].split(" | ")
    told = {int(re.search(r"\d+", heading)[0]): figure for heading, figure in zip(headings, figures, strict=False)}
    assert told[duration] == str(requests)


def test_boto3_shows_the_code_and_message_of_a_refusal(run: Callable[..., str]) -> None:
    assert "401" in run(REFUSED, authorization="Bearer garbage")
    assert "access_denied" in run(REFUSED, query="?grant=payroll")


def test_the_profile_of_the_page_lists_the_bucket(
    run_with_profile: Callable[[str, str], str], token: Callable[..., str]
) -> None:
    assert run_with_profile(LIST, f"Bearer {token('carol')}") == str([seed.OBJECTS[seed.REPORTS]])


def test_the_profile_of_the_page_shows_why_it_is_refused(run_with_profile: Callable[[str, str], str]) -> None:
    assert '"code":"invalid_token"' in run_with_profile(REFUSED, "Bearer garbage")
