"""Do the template's policies suffice for grants that are kept as files, and is each of their statements needed?

The command is the binary that people run. CloudFormation, DynamoDB, STS and IAM are the emulator's.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from deploy import STACK_NAME, Deployment
from paths import COMMAND
from permissions import user_with
from seed import ACCOUNT, REGION, REPORTS, Aws, Key
from stack import ROOT, Stack

SAMPLES = str(ROOT / "grants")


def hallpass(
    stack: Stack, key: Key, *arguments: str, text: str = "", named: bool = True
) -> subprocess.CompletedProcess[str]:
    """Runs `hallpass` with this key, on the stack by its name or on what the arguments name."""
    environment = {
        "AWS_ENDPOINT_URL": stack.aws.endpoint,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": key.id,
        "AWS_SECRET_ACCESS_KEY": key.secret,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    if named:
        environment["HALLPASS_STACK"] = STACK_NAME
    command = [str(COMMAND), *arguments]
    return subprocess.run(command, env=environment, input=text, capture_output=True, text=True, check=False)


def run(stack: Stack, key: Key, *arguments: str, named: bool = True) -> subprocess.CompletedProcess[str]:
    return hallpass(stack, key, "grants", *arguments, named=named)


def told(done: subprocess.CompletedProcess[str], code: int = 0) -> str:
    assert done.returncode == code, done
    return done.stdout


def document(aws: Aws, arn: str) -> dict[str, Any]:
    iam = aws.client("iam")
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    return iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]


@contextmanager
def user_without(aws: Aws, arn: str, sid: str) -> Iterator[Key]:
    """Somebody who has a policy without one of its statements."""
    whole = document(aws, arn)
    statements = [statement for statement in whole["Statement"] if statement["Sid"] != sid]
    assert len(statements) == len(whole["Statement"]) - 1
    iam = aws.client("iam")
    made = iam.create_policy(PolicyName="without", PolicyDocument=json.dumps(whole | {"Statement": statements}))
    try:
        with user_with(aws, made["Policy"]["Arn"]) as key:
            yield key
    finally:
        iam.delete_policy(PolicyArn=made["Policy"]["Arn"])


def table(stack: Stack, deployed: Deployment) -> list[dict[str, Any]]:
    return stack.aws.client("dynamodb").scan(TableName=deployed.outputs["GrantsTable"])["Items"]


@pytest.fixture(scope="module", autouse=True)
def cli() -> None:
    assert COMMAND.exists(), "`make e2e` builds it"


def test_a_pipeline_applies_and_a_reader_sees_that_nothing_is_left(
    stack: Stack, deployed: Deployment, tmp_path: Path
) -> None:
    with user_with(stack.aws, deployed.outputs["ReaderPolicy"]) as reader:
        plan = json.loads(told(run(stack, reader, "plan", "--json", SAMPLES)))
        assert plan["create"]
        refused = run(stack, reader, "apply", "--yes", SAMPLES)
        assert (refused.returncode, "dynamodb:PutItem" in refused.stderr) == (1, True), refused
        assert table(stack, deployed) == []
    with user_with(stack.aws, deployed.outputs["CiPolicy"]) as pipeline:
        applied = run(stack, pipeline, "apply", "--plan-id", plan["plan_id"], "--source", "commit", SAMPLES)
        assert "Applied" in told(applied)
        assert "nothing was written" in told(run(stack, pipeline, "apply", "--yes", SAMPLES))
    with user_with(stack.aws, deployed.outputs["ReaderPolicy"]) as reader:
        assert "No changes." in told(run(stack, reader, "plan", "--detailed-exit-code", SAMPLES))
        history = json.loads(told(run(stack, reader, "history", "--json")))["history"]
        assert {entry["by"] for entry in history} == {f"arn:aws:iam::{ACCOUNT}:user/somebody"}
        assert {(entry["action"], entry["source"]) for entry in history} == {("create", "commit")}
        told(run(stack, reader, "export", "--dir", str(tmp_path / "out")))
        assert "No changes." in told(run(stack, reader, "plan", "--detailed-exit-code", str(tmp_path / "out")))


def test_an_operator_brings_an_old_content_back(stack: Stack, deployed: Deployment, tmp_path: Path) -> None:
    grant = tmp_path / "grants.yaml"
    with user_with(stack.aws, deployed.outputs["OperatorPolicy"]) as operator:
        for duration in (900, 1800):
            grant.write_text(f"grant: rolled\nprincipals: [corp/everyone]\nmax_duration: {duration}\n")
            told(run(stack, operator, "apply", "--yes", "--set", "rolled", str(grant)))
        history = json.loads(told(run(stack, operator, "history", "--json", "corp/everyone", "rolled")))["history"]
        assert [entry["action"] for entry in history] == ["update", "create"]
        told(run(stack, operator, "rollback", "corp/everyone", "rolled", history[1]["revision"]))
        (item,) = [item for item in table(stack, deployed) if item["grant"]["S"] == "rolled"]
        assert item["max_duration"]["N"] == "900"
        grant.write_text("grant: other\nprincipals: [corp/everyone]\n")
        told(run(stack, operator, "apply", "--yes", "--set", "rolled", "--allow-changes", "1", str(grant)))
        assert [item for item in table(stack, deployed) if item["grant"]["S"] == "rolled"] == []


def test_a_reader_learns_what_a_caller_would_get_and_why(stack: Stack, deployed: Deployment, tmp_path: Path) -> None:
    grant = tmp_path / "grants.yaml"
    grant.write_text(EXPLAINED)
    with user_with(stack.aws, deployed.outputs["OperatorPolicy"]) as operator:
        told(run(stack, operator, "apply", "--yes", "--set", "explained", str(grant)))
    asked = ("explain", "--json", "--issuer", "corp", "--subject", "carol", "--grant", "explained")
    action = ("--action", "s3:GetObject", "--resource", f"arn:aws:s3:::{REPORTS}/2026/q3.csv")
    with user_with(stack.aws, deployed.outputs["ReaderPolicy"]) as reader:
        answer = json.loads(told(run(stack, reader, *asked, *action)))
        assert (answer["code"], answer["decision"]["session"]) == ("issued", "allow"), answer
        assert answer["decision"]["ceiling"] in ("allow", "implicit_deny"), answer
        (item,) = answer["items"]
        assert (item["principal"], item["used"]) == ("corp/everyone", True)
        refused = json.loads(told(run(stack, reader, *asked[:-1], "nothing")))
        assert (refused["code"], refused["session"]) == ("access_denied", None)
    for sid, operation in (("ReadCeiling", "iam:List"), ("ReadPoliciesOfCeiling", "iam:GetPolicy")):
        with user_without(stack.aws, deployed.outputs["ReaderPolicy"], sid) as key:
            assert operation in run(stack, key, *asked, *action).stderr, sid


EXPLAINED = f"""\
grant: explained
principals: [corp/everyone]
policy:
  Version: "2012-10-17"
  Statement: [{{Effect: Allow, Action: "s3:GetObject", Resource: "arn:aws:s3:::{REPORTS}/*"}}]
"""


def test_each_statement_is_needed(stack: Stack, deployed: Deployment, tmp_path: Path) -> None:
    grant = tmp_path / "grants.yaml"
    grant.write_text("grant: needed\nprincipals: [corp/everyone]\n")
    apply = ("apply", "--yes", "--set", "needed", str(grant))
    by_table = ("--grants-table", deployed.outputs["GrantsTable"])
    for policy in ("ReaderPolicy", "CiPolicy", "OperatorPolicy"):
        with user_without(stack.aws, deployed.outputs[policy], "FindTheTables") as key:
            assert "cloudformation:DescribeStacks" in run(stack, key, "plan", str(grant)).stderr, policy
            told(run(stack, key, "plan", *by_table, str(grant), named=False))
    for policy, sid in (("ReaderPolicy", "ReadTables"), ("CiPolicy", "ReadGrants"), ("OperatorPolicy", "WriteGrants")):
        with user_without(stack.aws, deployed.outputs[policy], sid) as key:
            assert "dynamodb:Scan" in run(stack, key, "plan", str(grant)).stderr, policy
    with user_without(stack.aws, deployed.outputs["CiPolicy"], "WriteGrants") as key:
        assert "dynamodb:PutItem" in run(stack, key, *apply).stderr
    assert [item for item in table(stack, deployed) if item["grant"]["S"] == "needed"] == []
