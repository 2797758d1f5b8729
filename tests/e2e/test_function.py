"""Is the function a good neighbour? It serves on whatever it is sent, logs no secret, and may do what it must and no more."""

from __future__ import annotations

import json
import os
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import rotations
import seed
from api import Api, event
from botocore.exceptions import ClientError
from paths import ARTIFACT
from stack import Stack

Token = Callable[..., str]

# Bodies that are no event at all: an operator's test event, a misrouted trigger, what is not even JSON.
NO_EVENTS = [b"{}", b"[]", b"null", b"1", b'"text"', b'{"Records": []}', b'{"version": "1.0"}', b'{"version": "2.0"}']
NO_EVENTS += [b"garbage{", b'"\\ud800"', b"[" * 1000, b"\xff\xfe", b""]

# What a client can make API Gateway send, and a few things that only another front would.
ODD_EVENTS: dict[str, dict[str, Any]] = {
    "a space in the query": event(raw_query="grant=a b"),
    "a quote in the query": event(raw_query='grant="a"'),
    "brackets in the query": event(raw_query="grant=<a>"),
    "control characters in the query": event(raw_query="grant=\x00\x1f"),
    "a bad escape in the query": event(raw_query="grant=%zz"),
    "bytes that are not UTF-8 in the query": event(raw_query="grant=%ff"),
    "a repeated field": event(raw_query="grant=a&grant=b"),
    "an endless query": event(raw_query="a=" + "b" * 100_000),
    "a bad host": event(headers={"host": "a b<>"}),
    "an empty host": event(headers={"host": ""}),
    "an odd forwarded protocol": event(headers={"x-forwarded-proto": "gopher\\"}),
    "a header value that is none": event(headers={"x-odd": "a\nb"}),
    "a header name that is none": event(headers={"x odd": "a"}),
    "two tokens, joined": event(headers={"authorization": "Bearer a,Bearer b"}),
    "a token that is not ASCII": event(headers={"authorization": "Bearer \u00e9"}),
    "bad base64": event("POST", body="%%%", is_base64=True),
    "base64 of something else": event("POST", body="//4A", is_base64=True),
    "a body that is not JSON": event("POST", body="{", headers={"content-type": "application/json"}),
    "a body that is too deep": event("POST", body="[" * 10_000, headers={"content-type": "application/json"}),
    "a path with dots": event(path="/v1/../v1/credentials"),
    "a path with escapes": event(path="/v1/%2e%2e/x%00y"),
    "an empty path": event(path=""),
    "an unknown method": event(method="B REW"),
    "no method": event(method=""),
    "no headers": event() | {"headers": {}},
    "headers that are none": event() | {"headers": 1},
    "a path that is none": event() | {"rawPath": None},
    "a body that is none": event("POST") | {"body": {}},
    "a source address that is none": event() | {"requestContext": event()["requestContext"] | {"http": {}}},
}


def refusal(call: Callable[..., object], **parameters: object) -> str:
    with pytest.raises(ClientError) as refused:
        call(**parameters)
    return refused.value.response["Error"]["Code"]


@pytest.fixture(scope="module", autouse=True)
def still_the_same_process(stack: Stack, api: Api) -> Iterator[None]:
    """Whatever a test here did, the function that started is the one that serves at the end."""
    yield
    os.kill(stack.pids["function"], 0)
    assert api.ask(path="/v1/health").status == 200


@pytest.mark.parametrize("body", NO_EVENTS, ids=ascii)
def test_what_is_no_request_gets_an_answer_and_no_invocation_error(api: Api, body: bytes) -> None:
    answer = api.invoke(body)
    assert (answer.status, answer.code) == (400, "invalid_request")


@pytest.mark.parametrize("odd", ODD_EVENTS.values(), ids=ODD_EVENTS.keys())
def test_an_odd_request_gets_an_answer_and_no_invocation_error(api: Api, odd: dict[str, Any]) -> None:
    answer = api.invoke(json.dumps(odd).encode())
    assert 400 <= answer.status < 500
    assert answer.code
    assert answer.headers["cache-control"] == "no-store"


def test_an_event_of_the_gateway_gets_credentials(api: Api, token: Token) -> None:
    authorization = {"authorization": f"Bearer {token('carol')}"}
    assert api.invoke(json.dumps(event(headers=authorization)).encode()).status == 200
    posted = event("POST", body='{"duration": 900}', headers=authorization | {"content-type": "application/json"})
    assert api.invoke(json.dumps(posted).encode()).status == 200


def _preflight(api: Api, origin: str) -> dict[str, str]:
    headers = {
        "origin": origin,
        "access-control-request-method": "GET",
        "access-control-request-headers": "authorization,baggage,sentry-trace,traceparent",
    }
    answer = api.invoke(json.dumps(event("OPTIONS", headers=headers)).encode())
    assert answer.status == 204
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


def test_only_an_allowed_origin_passes_the_preflight(api: Api) -> None:
    allowed = {}
    for origin in seed.ORIGINS:
        allowed = _preflight(api, origin)
        assert allowed["access-control-allow-origin"] == origin
    headers = allowed["access-control-allow-headers"].lower().split(", ")
    assert {"authorization", "baggage", "sentry-trace", "traceparent"} <= set(headers)
    assert allowed["access-control-max-age"] == "600"
    assert "access-control-allow-credentials" not in allowed
    assert _preflight(api, "http://localhost:9999") == {}


def test_a_browser_can_read_a_refusal(api: Api) -> None:
    answer = api.ask(headers={"Origin": seed.ORIGINS[0]})
    assert answer.headers["access-control-allow-origin"] == seed.ORIGINS[0]
    assert "www-authenticate" in answer.headers["access-control-expose-headers"].lower()
    assert "origin" in answer.headers["vary"].lower()


def test_the_log_tells_every_outcome_and_no_secret(stack: Stack, api: Api, token: Token) -> None:
    before = len(stack.outcomes())
    carols = token("carol")
    issued = api.ask(token=carols).body
    assert api.ask(token="canary-in-the-header." + carols).status == 401
    assert api.ask(token=carols, query={"canary-in-the-query": carols}).status == 400
    assert api.ask("POST", token=carols, body={"canary-in-the-body": carols}).status == 400
    assert api.ask(headers={"Cookie": f"canary-in-a-cookie={carols}"}).status == 401
    assert api.ask(path=f"/v1/canary-in-the-path/{carols}").status == 404

    outcomes = stack.outcomes()[before:]
    assert len(outcomes) == 6
    log = stack.log("function")
    # The key's id is in the log, because it joins CloudTrail: so the log is the right one, and complete.
    assert issued["AccessKeyId"] in log
    assert "carol" in log
    # The function was asked for TRACE, where dependencies log tokens. A release build has nothing below INFO.
    assert not {'"level":"TRACE"', '"level":"DEBUG"'} & set(re.findall(r'"level":"[A-Z]+"', log))
    secrets = {
        "the token": carols,
        "its claims": carols.split(".")[1],
        "its signature": carols.split(".")[2],
        "the session's secret": issued["SecretAccessKey"],
        "the session token": issued["SessionToken"],
        "the broker key's secret": rotations.current(stack.aws, stack.secret).secret,
        "the function's own secret": stack.function_key.secret,
        "the function's own session token": stack.function_key.token or "",
    }
    assert [name for name, secret in secrets.items() if not secret or secret in log] == []


def test_requests_at_the_same_time_are_all_answered(api: Api, token: Token) -> None:
    tokens = [token(employee) for employee in ("carol", "erin", "frank", "carol") * 5]
    with ThreadPoolExecutor(len(tokens)) as clients:
        answers = list(clients.map(lambda token: api.ask(token=token), tokens))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body["AccessKeyId"] for answer in answers}) == len(tokens)


def test_the_function_may_do_what_it_must_and_no_more(stack: Stack) -> None:
    aws = stack.aws
    dynamodb = aws.client("dynamodb", stack.function_key)
    grant = {"principal": {"S": "corp/everyone"}, "grant": {"S": "badge"}}
    owner = {"id": {"S": "name#nobody"}}

    read = dynamodb.batch_get_item(RequestItems={stack.table: {"Keys": [grant]}, stack.state: {"Keys": [owner]}})
    assert len(read["Responses"][stack.table]) == 1
    principal = {":principal": {"S": "corp/everyone"}}
    held = dynamodb.query(
        TableName=stack.table, KeyConditionExpression="principal = :principal", ExpressionAttributeValues=principal
    )
    assert held["Count"] >= 1
    dynamodb.put_item(TableName=stack.state, Item={"id": {"S": "jti#test"}})
    secrets = aws.client("secretsmanager", stack.function_key)
    assert secrets.get_secret_value(SecretId=stack.secret)["SecretString"]

    assert refusal(dynamodb.put_item, TableName=stack.table, Item=grant) == "AccessDeniedException"
    assert refusal(dynamodb.delete_item, TableName=stack.table, Key=grant) == "AccessDeniedException"
    assert refusal(dynamodb.scan, TableName=stack.table) == "AccessDeniedException"
    assert refusal(dynamodb.scan, TableName=stack.state) == "AccessDeniedException"
    assert refusal(dynamodb.delete_item, TableName=stack.state, Key=owner) == "AccessDeniedException"
    assert refusal(secrets.put_secret_value, SecretId=stack.secret, SecretString="{}") == "AccessDeniedException"
    assert refusal(aws.client("sts", stack.function_key).get_federation_token, Name="mallory") == "AccessDenied"
    assert refusal(aws.client("s3", stack.function_key).list_objects_v2, Bucket=seed.REPORTS) == "AccessDenied"


@pytest.mark.skipif(sys.platform != "linux", reason="sockets are read from /proc")
def test_everything_listens_on_loopback_only(stack: Stack) -> None:
    listening = [address for pid in _started_by(stack) for address in _listening(pid)]
    assert len(listening) >= 3, "the provider, MiniStack and the emulator"
    # As /proc writes 127.0.0.1: hexadecimal, in the machine's order.
    loopback = bytes([127, 0, 0, 1]) if sys.byteorder == "big" else bytes([1, 0, 0, 127])
    assert [address for address in listening if address != loopback.hex().upper()] == []


def _started_by(stack: Stack) -> Iterator[int]:
    """The stack's processes and theirs: each part leads a session."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(after_name[3]) in stack.pids.values():
            yield int(stat.parent.name)


def _listening(pid: int) -> Iterator[str]:
    """The local addresses, as /proc writes them, at which a process accepts connections or datagrams."""
    inodes = {link for fd in Path(f"/proc/{pid}/fd").iterdir() if (link := _target(fd)).startswith("socket:[")}
    for table, listens in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        path = Path(f"/proc/{pid}/net/{table}")
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            fields = line.split()
            if fields[3] == listens and f"socket:[{fields[9]}]" in inodes:
                yield fields[1].partition(":")[0]


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def test_the_artifact_is_as_small_as_promised(tmp_path):
    # 10 MB, and 4.5 MB zipped: what Lambda fetches and unpacks before a cold start.
    zipped = tmp_path / "broker.zip"
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.write(ARTIFACT, "bootstrap")
    assert ARTIFACT.stat().st_size <= 10_000_000
    assert zipped.stat().st_size <= 4_500_000
