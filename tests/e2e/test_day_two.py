"""Do the commands for day two work with the real function, and do the template's policies suffice for them?

The command is the binary that people run, and the audit lines are the function's own. AWS is the emulator.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import deploy
import pytest
from api import Answer, Api
from deploy import Deployment
from paths import COMMAND
from permissions import user_with
from seed import ACCOUNT, Key
from stack import Stack
from test_operator_grants import hallpass as run
from test_operator_grants import user_without

Token = Callable[..., str]

CAROL = "corp/user/carol"
NAME = "carol-3o2jzrlhnfnb"


def told(done: subprocess.CompletedProcess[str], code: int = 0) -> str:
    assert done.returncode == code, done
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def cli() -> None:
    assert COMMAND.exists(), "`make e2e` builds it"


@pytest.fixture
def operator(stack: Stack, deployed: Deployment) -> Iterator[Key]:
    with user_with(stack.aws, deployed.outputs["OperatorPolicy"]) as key:
        yield key


def name_of(answer: Answer) -> str:
    assert answer.status == 200, answer
    return answer.body["FederatedUser"]["Arn"].rpartition("/")[2]


# Blocks


@pytest.mark.parametrize("principal", [CAROL, "corp/group/analysts", "corp/everyone"])
def test_a_blocked_caller_is_refused_until_the_block_is_removed(
    stack: Stack, front: Api, token: Token, operator: Key, principal: str
) -> None:
    assert front.ask(token=token("carol")).status == 200
    told(run(stack, operator, "block", principal, "--reason", "laptop stolen"))
    for path in ("/v1/credentials", "/v1/grants"):
        refused = front.ask(path=path, token=token("carol"))
        assert (refused.status, refused.code) == (403, "access_denied"), path
    (block,) = json.loads(told(run(stack, operator, "block", "--list", "--json")))["blocks"]
    assert (block["principal"], block["reason"]) == (principal, "laptop stolen")
    assert block["by"] == f"arn:aws:iam::{ACCOUNT}:user/somebody"
    assert "was blocked already" in told(run(stack, operator, "block", principal, "--reason", "laptop stolen"))
    assert "laptop stolen" in told(run(stack, operator, "unblock", principal))
    assert front.ask(token=token("carol")).status == 200
    assert "was not blocked" in told(run(stack, operator, "unblock", principal))


def test_others_go_on(stack: Stack, front: Api, token: Token, operator: Key) -> None:
    done = run(stack, operator, "block", CAROL, "--reason", "left")
    assert f"federated-user/{NAME}" in done.stderr, "what is left to do by hand"
    try:
        assert front.ask(token=token("erin")).status == 200
    finally:
        told(run(stack, operator, "unblock", CAROL))


# Names that come from claims


@pytest.fixture
def named(stack: Stack, deployed: Deployment, front: Api) -> Iterator[Api]:
    """The function, with an issuer whose people's names are their e-mail addresses."""
    (issuer,) = json.loads(deployed.parameters["IssuersJson"])
    issuers = json.dumps([issuer | {"name_claim": "/email"}])
    deploy.restart(stack.aws, deployed, "Function", HALLPASS_ISSUERS=issuers)
    try:
        yield front
    finally:
        deploy.restart(stack.aws, deployed, "Function", HALLPASS_ISSUERS=json.dumps([issuer]))


def test_a_name_is_its_owners_until_it_is_released(
    stack: Stack, deployed: Deployment, named: Api, token: Token, operator: Key
) -> None:
    assert named.ask(token=token("carol")).code == "access_denied"
    told(run(stack, operator, "names", "register", "Carol@example.com", CAROL))
    assert name_of(named.ask(token=token("carol"))) == "carol@example.com"
    refused = run(stack, operator, "names", "register", "carol@example.com", "corp/user/erin")
    assert CAROL in refused.stderr and told(refused, 3) == ""
    for policy in ("OperatorPolicy", "ReaderPolicy"):
        with user_with(stack.aws, deployed.outputs[policy], "lister") as key:
            (name,) = json.loads(told(run(stack, key, "names", "list", "--json")))["names"]
            assert name == {"name": "carol@example.com", "principal": CAROL}, policy
    with user_with(stack.aws, deployed.outputs["ReaderPolicy"], "reader") as key:
        found = json.loads(told(run(stack, key, "whois", "carol@example.com", "--json")))
        assert (found["subject"], found["confirmed"], len(found["sessions"])) == ("carol", True, 1)
    assert CAROL in told(run(stack, operator, "names", "release", "CAROL@example.com"))
    assert named.ask(token=token("carol")).code == "access_denied"
    told(run(stack, operator, "names", "register", "carol@example.com", "corp/user/erin"))
    assert named.ask(token=token("carol")).code == "access_denied", "it is another's"
    told(run(stack, operator, "names", "release", "carol@example.com"))


# Who is behind a session


def call(name: str, key: str | None = None, user: str = "", **more: Any) -> dict[str, Any]:
    """A call of a session, in the shape of CloudTrail's published records."""
    issuer = {"type": "IAMUser", "principalId": "AIDACKCEVSQ6C2EXAMPLE", "accountId": ACCOUNT, "userName": user}
    identity = {
        "type": "FederatedUser",
        "principalId": f"{ACCOUNT}:{name}",
        "arn": f"arn:aws:sts::{ACCOUNT}:federated-user/{name}",
        "accountId": ACCOUNT,
        "sessionContext": {
            "attributes": {"creationDate": "2026-11-22T12:00:00Z", "mfaAuthenticated": "false"},
            "sessionIssuer": issuer,
            "webIdFederationData": {},
        },
    }
    if key is not None:
        identity["accessKeyId"] = key
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"eventVersion": "1.08", "userIdentity": identity, "eventTime": now, "eventName": "GetObject"} | more


def test_each_form_of_a_session_leads_to_the_person(
    stack: Stack, deployed: Deployment, front: Api, token: Token
) -> None:
    answer = front.ask(token=token("carol"))
    assert name_of(answer) == NAME
    front.ask(token=token("erin"))
    key, user = answer.body["AccessKeyId"], deployed.outputs["BrokerUser"]
    minting = {
        "eventTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "eventSource": "sts.amazonaws.com",
        "eventName": "GetFederationToken",
        "userIdentity": {"type": "IAMUser", "accountId": ACCOUNT, "userName": user},
        "requestParameters": {"name": NAME, "durationSeconds": 3600},
        "responseElements": {
            "credentials": {"accessKeyId": key, "sessionToken": "IQoJb3JpZ2lu"},
            "federatedUser": {
                "arn": f"arn:aws:sts::{ACCOUNT}:federated-user/{NAME}",
                "federatedUserId": f"{ACCOUNT}:{NAME}",
            },
        },
    }
    lookup = {"Events": [{"EventName": "GetObject", "CloudTrailEvent": json.dumps(call(NAME, key, user))}]}
    asked = [
        (NAME, ""),
        (f"{ACCOUNT}:{NAME}", ""),
        (f"arn:aws:sts::{ACCOUNT}:federated-user/{NAME}", ""),
        (key, ""),
        *(("-", json.dumps(event)) for event in (call(NAME, key, user), minting, lookup)),
        ("-", json.dumps(call(NAME, "ASIAOFTHECONSOLE0000", user))),
        ("-", json.dumps(call(NAME, None, user, eventName="ConsoleLogin"))),
    ]
    with user_with(stack.aws, deployed.outputs["ReaderPolicy"]) as reader:
        for what, text in asked:
            done = run(stack, reader, "whois", what, "--json", text=text)
            found = json.loads(told(done))
            assert found.keys() == {"name", "issuer", "subject", "confirmed", "sessions"}
            assert [found["name"], found["issuer"], found["subject"], found["confirmed"]] == [
                NAME,
                "corp",
                "carol",
                True,
            ]
            (session,) = [session for session in found["sessions"] if session["access_key_id"] == key]
            assert session["grant"] == "default" and session["source_ip"] == "127.0.0.1"
            assert session["expiration"] == answer.body["Expiration"]
            assert len(session["policy_sha256"]) == 64
            assert ("ASIAOFTHECONSOLE0000" in done.stderr) == ("ASIAOFTHECONSOLE0000" in text)
        for what, text in [
            ("mallory-aaaaaaaaaaaa", ""),
            ("ASIAOFTHECONSOLE0000", ""),
            (f"444455556666:{NAME}", ""),
            ("-", json.dumps(call(NAME, key, "another-user"))),
        ]:
            nobody = run(stack, reader, "whois", what, "--json", text=text)
            assert json.loads(told(nobody, 3))["subject"] is None, what
            assert "nobody was found" in nobody.stderr


def test_a_forged_line_is_not_believed(stack: Stack, deployed: Deployment, front: Api, token: Token) -> None:
    name_of(front.ask(token=token("frank")))
    logs, group = stack.aws.client("logs"), {"logGroupName": deployed.outputs["AuditLog"]}
    events = logs.filter_log_events(**group)["events"]
    lines = [json.loads(event["message"]) for event in events if event["message"].startswith('{"event":"outcome"')]
    (line,) = [line for line in lines if line.get("subject") == "frank"]
    forged = line | {"subject": "mallory", "request_id": "forged", "access_key_id": "ASIAFORGED0000000000"}
    logs.create_log_stream(**group, logStreamName="forged")
    now = int(time.time() * 1000)
    logs.put_log_events(**group, logStreamName="forged", logEvents=[{"timestamp": now, "message": json.dumps(forged)}])
    with user_with(stack.aws, deployed.outputs["ReaderPolicy"]) as reader:
        done = run(stack, reader, "whois", line["federated_name"], "--json")
        assert json.loads(told(done))["subject"] == "frank"
        assert "not believed" in done.stderr and "mallory" not in done.stdout
        assert "not believed" in run(stack, reader, "whois", "ASIAFORGED0000000000").stderr


# Permissions


def test_each_statement_is_needed(stack: Stack, deployed: Deployment) -> None:
    outputs = deployed.outputs
    needed = [
        ("OperatorPolicy", "FindTheTables", ("block", "--list"), "cloudformation:DescribeStacks"),
        ("OperatorPolicy", "WriteGrants", ("block", CAROL, "--reason", "x"), "dynamodb:PutItem"),
        ("OperatorPolicy", "WriteGrants", ("unblock", CAROL), "dynamodb:DeleteItem"),
        ("OperatorPolicy", "WriteGrants", ("block", "--list"), "dynamodb:Scan"),
        ("OperatorPolicy", "RegisterNames", ("names", "register", "carol", CAROL), "dynamodb:PutItem"),
        ("OperatorPolicy", "RegisterNames", ("names", "release", "carol"), "dynamodb:DeleteItem"),
        ("OperatorPolicy", "ListNames", ("names", "list"), "dynamodb:Scan"),
        ("ReaderPolicy", "FindTheTables", ("whois", NAME), "cloudformation:DescribeStacks"),
        ("ReaderPolicy", "ReadTables", ("names", "list"), "dynamodb:Scan"),
        ("ReaderPolicy", "ReadTables", ("whois", "carol"), "dynamodb:GetItem"),
        ("ReaderPolicy", "ReadLogs", ("whois", NAME), "logs:FilterLogEvents"),
    ]
    for policy, sid, arguments, permission in needed:
        with user_without(stack.aws, outputs[policy], sid) as key:
            refused = run(stack, key, *arguments)
            assert (refused.returncode, permission in refused.stderr) == (1, True), (policy, sid, refused)
    by_name = ("--state-table", outputs["StateTable"], "--audit-log", outputs["AuditLog"])
    with user_without(stack.aws, outputs["ReaderPolicy"], "FindTheTables") as key:
        told(run(stack, key, "whois", NAME, *by_name, named=False))


def test_who_may_only_read_cannot_block_or_register(stack: Stack, deployed: Deployment) -> None:
    with user_with(stack.aws, deployed.outputs["ReaderPolicy"]) as reader:
        for arguments in (
            ("block", CAROL, "--reason", "x"),
            ("unblock", CAROL),
            ("names", "register", "carol", CAROL),
            ("names", "release", "carol"),
        ):
            refused = run(stack, reader, *arguments)
            assert (refused.returncode, "AccessDenied" in refused.stderr) == (1, True), refused
        told(run(stack, reader, "block", "--list"))
    with user_with(stack.aws, deployed.outputs["CiPolicy"]) as pipeline:
        refused = run(stack, pipeline, "names", "register", "carol", CAROL)
        assert (refused.returncode, "AccessDenied" in refused.stderr) == (1, True), refused
