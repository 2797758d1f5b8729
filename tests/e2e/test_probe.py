"""Does `hallpass probe` say that a healthy deployment is well, and of a broken one exactly what is wrong with it?

Each broken one is broken by one thing. What is broken outside is broken in front of the function, by a server that
changes one answer.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

import pytest
import seed
import yaml
from paths import COMMAND, ROOT
from permissions import user_with
from seed import OBJECTS, ORDERS, PAYROLL, REGION, REPORTS, Key
from stack import ALLOWED_ORIGINS, LOCAL, LOOPBACK, Stack
from test_operator_grants import user_without
from test_template import TEMPLATE

Token = Callable[..., str]
Json = dict[str, Any]

METADATA = "/.well-known/oauth-protected-resource"
ORIGIN = ALLOWED_ORIGINS.split(",")[0]
OPENS = ["--opens", "s3:ListBucket", f"arn:aws:s3:::{REPORTS}"]


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    """By lower-case name."""

    @property
    def token(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self, status: int, body: Json) -> Answer:
        return Answer(status, self.headers, json.dumps(body).encode())

    def with_headers(self, **changes: str | None) -> Answer:
        names = {name.replace("_", "-"): value for name, value in changes.items()}
        kept = {name: value for name, value in self.headers.items() if name not in names}
        return replace(self, headers=kept | {name: value for name, value in names.items() if value is not None})


Change = Callable[[Asked, Answer], Answer]
"""What an answer is changed to."""


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any) -> None:
        return None


@contextmanager
def front(target: str, change: Change = lambda _asked, answer: answer) -> Iterator[str]:
    """A server at an URL of its own that answers as the one at `target` does, with one change."""
    opener = build_opener(ProxyHandler({}), _NoRedirect())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            asked = Asked(self.command, self.path, {name.lower(): value for name, value in self.headers.items()})
            passed = {name: value for name, value in asked.headers.items() if name not in ("host", "connection")}
            request = Request(target + self.path, headers=passed, method=self.command)
            try:
                with opener.open(request, timeout=10) as response:
                    answer = self._read(response.status, response.headers, response.read())
            except HTTPError as refusal:
                with refusal:
                    answer = self._read(refusal.code, refusal.headers, refusal.read())
            answer = change(asked, answer)
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        def _read(self, status: int, headers: Any, body: bytes) -> Answer:
            kept = {
                name.lower(): value.replace(target, own)
                for name, value in headers.items()
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date")
            }
            kept["date"] = formatdate(usegmt=True)
            return Answer(status, kept, body.replace(target.encode(), own.encode()))

        do_GET = do_HEAD = do_OPTIONS = do_POST = _answer

        def log_message(self, *_arguments: Any) -> None:
            pass

    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        own = f"http://{LOOPBACK}:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield own
        finally:
            server.shutdown()


@dataclass(frozen=True)
class Probed:
    code: int
    checks: list[Json]
    output: str

    @property
    def problems(self) -> list[str]:
        """The names of the checks that found one, each once."""
        return list(dict.fromkeys(check["check"] for check in self.checks if check["status"] == "problem"))

    def of(self, check: str) -> list[Json]:
        return [found for found in self.checks if found["check"] == check]

    def is_exactly(self, check: str, *words: str) -> None:
        """Asserts that there is this problem, with its remedy, and no other."""
        assert (self.problems, self.code) == ([check], 3), self.output
        found = [each for each in self.of(check) if each["status"] == "problem"]
        assert all(each["message"] and each["help"] for each in found), found
        text = " ".join(f"{each['message']} {each['help']}" for each in found)
        assert all(word in text for word in words), text


def probe(stack: Stack, *arguments: str, key: Key | None = seed.ROOT, token: str | None = None) -> Probed:
    """Runs the command, on a stack by its `--stack` or without AWS credentials if there is no key."""
    environment = {"AWS_ENDPOINT_URL": stack.aws.endpoint, "AWS_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true"}
    environment |= key.environment() if key else {}
    given = ["--token-file", "-"] if token else []
    done = subprocess.run(
        [str(COMMAND), "probe", "--json", *given, *arguments],
        env=environment,
        input=token or "",
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert done.stderr == "", done
    output = json.loads(done.stdout)
    assert output.keys() == {"ok", "checks"}
    assert all(check.keys() == {"check", "status", "message", "help"} for check in output["checks"])
    assert {check["status"] for check in output["checks"]} <= {"ok", "note", "problem", "skipped"}
    assert output["ok"] == (done.returncode == 0)
    if token:
        for part in token.split("."):
            assert part not in done.stdout
    return Probed(done.returncode, output["checks"], done.stdout)


@pytest.fixture(scope="module", autouse=True)
def cli() -> None:
    assert COMMAND.exists(), "`make e2e` builds it"


@pytest.fixture(scope="module")
def well(stack: Stack) -> Iterator[str]:
    with front(stack.url) as url:
        yield url


def test_a_healthy_deployment_is_well(stack: Stack, token: Token) -> None:
    opens = [
        *OPENS,
        *("--opens", "s3:GetObject", f"arn:aws:s3:::{REPORTS}/{OBJECTS[REPORTS]}"),
        *("--opens", "sts:GetCallerIdentity", "*"),
    ]
    probed = probe(stack, "--url", stack.url, "--stack", LOCAL, *opens, token=token("carol"))
    assert (probed.problems, probed.code) == ([], 0), probed.output
    assert [check for check in probed.checks if check["status"] == "skipped"] == [], probed.output
    assert len(probed.of("opens")) == 3
    again = probe(stack, "--url", stack.url, "--stack", LOCAL, *opens, token=token("carol"))
    assert [(check["check"], check["status"]) for check in again.checks] == [
        (check["check"], check["status"]) for check in probed.checks
    ]


def test_from_outside_a_healthy_deployment_is_well_and_the_rest_is_said_to_be_skipped(stack: Stack, well: str) -> None:
    probed = probe(stack, "--url", well, key=None)
    assert (probed.problems, probed.code) == ([], 0), probed.output
    inside = ["stack", "tables", "recovery", "expiry", "alarms", "broker-key", "grants"]
    token = ["refuses-changed-signature", "refuses-other-grant", "credentials", "opens"]
    for check in inside:
        assert "--stack" in probed.of(check)[0]["help"], check
    for check in token:
        assert "--token-file" in probed.of(check)[0]["help"], check
    skipped = [check["check"] for check in probed.checks if check["status"] == "skipped"]
    assert skipped == ["issuers", "cors", *inside, *token]


# What is broken in front of the function.


def credentials(asked: Asked) -> bool:
    return asked.path.startswith("/v1/credentials") and asked.method == "GET"


def only(wanted: Callable[[Asked], bool], changed: Change) -> Change:
    return lambda asked, answer: changed(asked, answer) if wanted(asked) else answer


def health(changed: Change) -> Change:
    return only(lambda asked: asked.path == "/v1/health", changed)


def metadata(**members: Any) -> Change:
    def changed(_asked: Asked, answer: Answer) -> Answer:
        return answer.json(200, json.loads(answer.body) | members) if answer.status == 200 else answer

    return only(lambda asked: asked.path == METADATA, changed)


def preflight(changed: Change) -> Change:
    return only(lambda asked: asked.method == "OPTIONS", changed)


def late(_asked: Asked, answer: Answer) -> Answer:
    time.sleep(2.2)
    return answer


def refused(status: int, code: str) -> Change:
    def changed(_asked: Asked, answer: Answer) -> Answer:
        body = {"code": code, "message": "because", "requestId": "r-1"}
        return answer.json(status, body)

    return changed


GIVEN = {
    "Version": 1,
    "AccessKeyId": "ASIAEXAMPLE",
    "SecretAccessKey": "canary",
    "SessionToken": "canary",
    "Token": "canary",
    "Expiration": "2099-01-01T00:00:00Z",
    "AccountId": "111122223333",
    "FederatedUser": {"Arn": "arn:aws:sts::111122223333:federated-user/x", "FederatedUserId": "111122223333:x"},
    "Grant": "default",
    "PackedPolicySize": 1,
}


def accepted(_asked: Asked, answer: Answer) -> Answer:
    return answer.json(200, GIVEN)


def is_unsigned(asked: Asked) -> bool:
    return asked.token.count(".") == 2 and asked.token.endswith(".")


STRANGER = "https://hallpass-probe.invalid"

OUTSIDE: dict[str, tuple[Change, str, list[str]]] = {
    "another product": (
        health(lambda _asked, answer: answer.json(200, {"status": "UP"})),
        "health",
        ["not a Hallpass"],
    ),
    "no such route": (health(lambda _asked, answer: answer.json(404, {"message": "Not Found"})), "health", ["404"]),
    "a redirect": (
        health(lambda _asked, answer: Answer(302, answer.headers | {"location": "https://evil.example.com/x"})),
        "health",
        ["redirects to https://evil.example.com"],
    ),
    "an outage": (
        health(lambda _asked, answer: answer.json(503, {"message": "Service Unavailable"})),
        "health",
        ["503"],
    ),
    "slow answers": (health(late), "health", ["ms to answer"]),
    "a clock that is off": (
        health(lambda _asked, answer: answer.with_headers(date="Mon, 01 Jan 2024 00:00:00 GMT")),
        "clock",
        ["ahead of", "NTP"],
    ),
    "metadata of another resource": (metadata(resource="https://other.example.com"), "metadata", ["other.example.com"]),
    "no metadata": (
        only(lambda asked: asked.path == METADATA, lambda _asked, answer: answer.json(404, {"message": "Not Found"})),
        "metadata",
        ["404"],
    ),
    "metadata without an issuer": (metadata(authorization_servers=[]), "metadata", ["no issuer"]),
    "an issuer that cannot be asked": (
        metadata(authorization_servers=["http://login.example.com"]),
        "provider",
        ["cannot be asked"],
    ),
    "a provider that is down": (
        metadata(authorization_servers=["http://127.0.0.1:9"]),
        "provider",
        ["cannot be reached"],
    ),
    "CORS that is missing": (
        preflight(lambda _asked, answer: answer.with_headers(access_control_allow_origin=None)),
        "cors",
        [ORIGIN, "AllowedOrigins"],
    ),
    "CORS for everybody": (
        preflight(lambda _asked, answer: answer.with_headers(access_control_allow_origin="*")),
        "cors",
        ["any origin"],
    ),
    "CORS for the origin that asks": (
        only(
            lambda asked: asked.headers.get("origin") == STRANGER,
            lambda asked, answer: answer.with_headers(access_control_allow_origin=asked.headers["origin"]),
        ),
        "cors",
        ["any origin"],
    ),
    "CORS without the token's header": (
        preflight(lambda _asked, answer: answer.with_headers(access_control_allow_headers="Content-Type")),
        "cors",
        ["authorization"],
    ),
    "CORS of answers that is missing": (
        health(lambda _asked, answer: answer.with_headers(access_control_allow_origin=None)),
        "cors",
        ["not read the answer"],
    ),
    "credentials mode": (
        preflight(lambda _asked, answer: answer.with_headers(access_control_allow_credentials="true")),
        "cors",
        ["credentials mode"],
    ),
    "a function that accepts anything": (
        only(lambda asked: credentials(asked) and asked.token == "hallpass-probe", accepted),
        "refuses-garbage",
        ["as if it were right", "stop the API"],
    ),
    "a function that accepts alg none": (
        only(lambda asked: credentials(asked) and is_unsigned(asked), accepted),
        "refuses-alg-none",
        ["`alg: none`", "as if it were right"],
    ),
    "a wrong code without a token": (
        only(lambda asked: credentials(asked) and not asked.token, refused(403, "access_denied")),
        "refuses-no-token",
        ["403 `access_denied` instead of 401 `token_missing`"],
    ),
    "the right code with a wrong status": (
        only(lambda asked: credentials(asked) and not asked.token, refused(400, "token_missing")),
        "refuses-no-token",
        ["status 400, which is not a refusal of Hallpass"],
    ),
    "a challenge that is lost": (
        only(credentials, lambda _asked, answer: answer.with_headers(www_authenticate=None)),
        "refuses-no-token",
        ["WWW-Authenticate"],
    ),
    "a wrong code for garbage": (
        only(lambda asked: asked.token == "hallpass-probe", refused(500, "internal")),
        "refuses-garbage",
        ["500 `internal` instead of 401 `invalid_token`", "audit line"],
    ),
}


@pytest.mark.parametrize("broken", OUTSIDE)
def test_what_is_broken_outside_is_named(stack: Stack, broken: str) -> None:
    change, check, words = OUTSIDE[broken]
    with front(stack.url, change) as url:
        probed = probe(stack, "--url", url, "--origin", ORIGIN, key=None)
    probed.is_exactly(check, *words)
    assert "canary" not in probed.output


def test_a_function_that_only_skips_signatures_is_named(stack: Stack) -> None:
    """It compares the rest as it should, so only a token with the right audience finds it."""

    def is_believed(asked: Asked) -> bool:
        if not (credentials(asked) and is_unsigned(asked)):
            return False
        claims = json.loads(base64.urlsafe_b64decode(asked.token.split(".")[1] + "=="))
        (issuer,) = json.loads(stack.deployment.outputs["Issuers"])
        is_ours = claims["iss"] == issuer["issuer"] and claims["aud"] in issuer["audiences"]
        return is_ours and claims["iat"] <= time.time() + 5 and claims["exp"] > time.time()

    with front(stack.url, only(is_believed, accepted)) as url:
        probe(stack, "--url", url, "--stack", LOCAL).is_exactly(
            "refuses-alg-none", "as if it were right", "stop the API"
        )


def test_what_is_broken_at_a_provider_is_named(stack: Stack) -> None:
    def keys(changed: Change) -> Change:
        return only(lambda asked: "jwks" in asked.path, changed)

    symmetric = {"keys": [{"kty": "oct", "k": "AAAA", "alg": "HS256", "kid": "1"}]}
    for change, words in (
        (keys(lambda _asked, answer: answer.json(200, {"keys": []})), ["no usable key"]),
        (keys(lambda _asked, answer: answer.json(200, symmetric)), ["no usable key"]),
        (keys(lambda _asked, answer: answer.json(500, {})), ["500", "key set"]),
        (keys(lambda _asked, _answer: Answer(200, {}, b"<html>")), ["not a JSON object"]),
        (
            only(
                lambda asked: "well-known" in asked.path,
                lambda _asked, answer: answer.json(
                    200, json.loads(answer.body) | {"issuer": "https://other.example.com"}
                ),
            ),
            ["`issuer` is not the configured one"],
        ),
    ):
        with (
            front(stack.issuer, change) as provider,
            front(stack.url, metadata(authorization_servers=[provider])) as url,
        ):
            probe(stack, "--url", url, key=None).is_exactly("provider", provider, *words)


def test_a_server_that_is_not_there_is_the_one_problem(stack: Stack) -> None:
    probe(stack, "--url", "http://127.0.0.1:9", key=None).is_exactly("health", "cannot be reached")


# What is broken for the holder of a token.


def with_token(asked: Asked) -> bool:
    return credentials(asked) and asked.token.count(".") == 2 and not asked.token.endswith(".")


def test_what_a_token_finds_broken_is_named(stack: Stack, token: Token) -> None:
    held = token("carol")

    def is_changed(asked: Asked) -> bool:
        return with_token(asked) and asked.token != held

    def is_other(asked: Asked) -> bool:
        return with_token(asked) and "no-such-grant" in asked.path

    def is_grant(asked: Asked) -> bool:
        return with_token(asked) and "duration=900" in asked.path

    cases: list[tuple[Change, str, list[str]]] = [
        (only(is_changed, accepted), "refuses-changed-signature", ["as if it were right"]),
        (only(is_other, accepted), "refuses-other-grant", ["as if it were right"]),
        (only(is_other, refused(404, "not_found")), "refuses-other-grant", ["404 `not_found`", "403 `access_denied`"]),
        (only(is_grant, refused(500, "broker_key_refused")), "credentials", ["broker_key_refused", "key rotate"]),
        (only(is_grant, refused(500, "grant_unusable")), "credentials", ["grant_unusable", "audit line"]),
        (only(is_grant, lambda _asked, answer: answer.json(200, {})), "credentials", ["not credentials"]),
        (
            only(is_grant, lambda _asked, answer: answer.json(200, json.loads(answer.body) | {"Grant": "admin"})),
            "credentials",
            ["`admin`"],
        ),
        (
            only(
                is_grant,
                lambda _asked, answer: answer.json(
                    200, json.loads(answer.body) | {"Expiration": "2020-01-01T00:00:00Z"}
                ),
            ),
            "credentials",
            ["ended already"],
        ),
    ]
    for change, check, words in cases:
        with front(stack.url, change) as url:
            probe(stack, "--url", url, key=None, token=held).is_exactly(check, *words)


def test_a_token_that_is_not_accepted_is_the_one_problem(stack: Stack, well: str, token: Token) -> None:
    header, claims, signature = token("carol").split(".")
    old = f"{header}.{claims}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
    probed = probe(stack, "--url", well, key=None, token=old)
    probed.is_exactly("credentials", "invalid_token", "new token")
    assert probed.of("refuses-other-grant")[0]["help"] == "see `credentials`"
    probe(stack, "--url", well, "--grant", "nothing", key=None, token=token("carol")).is_exactly(
        "credentials", "access_denied"
    )


def test_a_session_that_does_not_open_what_it_should_is_named(stack: Stack, well: str, token: Token) -> None:
    missing = f"arn:aws:s3:::{REPORTS}/2026/none.csv"
    table = f"arn:aws:dynamodb:{REGION}:{seed.ACCOUNT}:table/{ORDERS}"
    for action, resource, words in (
        ("s3:ListBucket", f"arn:aws:s3:::{PAYROLL}", ["403", "grants explain"]),
        ("s3:GetObject", missing, ["does not exist"]),
        ("dynamodb:DescribeTable", table, ["AccessDenied", "dynamodb:DescribeTable"]),
    ):
        probed = probe(stack, "--url", well, "--opens", action, resource, *OPENS, key=None, token=token("carol"))
        probed.is_exactly("opens", *words)
        assert [check["status"] for check in probed.of("opens")] == ["problem", "ok"]


# What is broken inside.


@contextmanager
def without_recovery(stack: Stack, table: str) -> Iterator[None]:
    dynamodb = stack.aws.client("dynamodb")

    def put(enabled: bool) -> None:
        wanted = {"PointInTimeRecoveryEnabled": enabled}
        dynamodb.update_continuous_backups(TableName=table, PointInTimeRecoverySpecification=wanted)

    put(False)
    try:
        yield
    finally:
        put(True)


@contextmanager
def expiring_by(stack: Stack, attribute: str, enabled: bool) -> Iterator[None]:
    dynamodb = stack.aws.client("dynamodb")
    wanted = {"AttributeName": attribute, "Enabled": enabled}
    dynamodb.update_time_to_live(TableName=stack.state, TimeToLiveSpecification=wanted)
    try:
        yield
    finally:
        wanted = {"AttributeName": "expires_at", "Enabled": True}
        dynamodb.update_time_to_live(TableName=stack.state, TimeToLiveSpecification=wanted)


@contextmanager
def alarm(stack: Stack, logical: str, state: str) -> Iterator[None]:
    cloudwatch = stack.aws.client("cloudwatch")
    name = {"AlarmName": stack.deployment.resources[logical]}
    (before,) = cloudwatch.describe_alarms(AlarmNames=[name["AlarmName"]])["MetricAlarms"]
    cloudwatch.set_alarm_state(**name, StateValue=state, StateReason="tried")
    try:
        yield
    finally:
        cloudwatch.set_alarm_state(**name, StateValue=before["StateValue"], StateReason="tried")


@contextmanager
def without_key(stack: Stack) -> Iterator[None]:
    iam, user = stack.aws.client("iam"), {"UserName": stack.deployment.outputs["BrokerUser"]}
    keys = iam.list_access_keys(**user)["AccessKeyMetadata"]
    active = [key["AccessKeyId"] for key in keys if key["Status"] == "Active"]
    for key in active:
        iam.update_access_key(**user, AccessKeyId=key, Status="Inactive")
    try:
        yield
    finally:
        for key in active:
            iam.update_access_key(**user, AccessKeyId=key, Status="Active")


@contextmanager
def item(stack: Stack, principal: str, attributes: Json) -> Iterator[None]:
    seed.put_item(stack.aws, principal, "probed", attributes, stack.table)
    try:
        yield
    finally:
        seed.delete_item(stack.aws, principal, "probed", stack.table)


INSIDE: dict[str, tuple[Callable[[Stack], AbstractContextManager[None]], str, list[str]]] = {
    "recovery of the grants": (lambda stack: without_recovery(stack, stack.table), "recovery", ["is off"]),
    "recovery of the state": (lambda stack: without_recovery(stack, stack.state), "recovery", ["is off"]),
    "expiry": (lambda stack: expiring_by(stack, "expires_at", enabled=False), "expiry", ["never deleted"]),
    "expiry by another attribute": (lambda stack: expiring_by(stack, "ttl", enabled=True), "expiry", ["expires_at"]),
    "an alarm": (lambda stack: alarm(stack, "GrantUnusable", "ALARM"), "alarms", ["GrantUnusable", "runbook"]),
    "the alarm of the key": (lambda stack: alarm(stack, "BrokerKeyRefused", "ALARM"), "alarms", ["BrokerKeyRefused"]),
    "the key": (without_key, "broker-key", ["no key is active", "hallpass key rotate"]),
    "a malformed item": (
        lambda stack: item(stack, "corp/user/x", {"colour": "red"}),
        "grants",
        ["corp/user/x", "probed", "colour"],
    ),
    "an item that is too large": (
        lambda stack: item(stack, "corp/user/x", {"policy": {"Version": "2012-10-17", "Statement": [LARGE]}}),
        "grants",
        ["corp/user/x", "characters"],
    ),
}
LARGE = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": [f"arn:aws:s3:::{'a' * 50}{n}/*" for n in range(40)]}


@pytest.mark.parametrize("broken", INSIDE)
def test_what_is_broken_inside_is_named(stack: Stack, well: str, broken: str) -> None:
    breaking, check, words = INSIDE[broken]
    with breaking(stack):
        probe(stack, "--url", well, "--stack", LOCAL).is_exactly(check, *words)


def test_an_issuer_that_the_stack_does_not_have_is_named(stack: Stack) -> None:
    with front(stack.url, metadata(authorization_servers=[stack.issuer, "https://evil.example.com"])) as url:
        probe(stack, "--url", url, "--stack", LOCAL).is_exactly("issuers", "https://evil.example.com", "deploy again")
    with front(stack.url, metadata(authorization_servers=["https://evil.example.com"])) as url:
        probe(stack, "--url", url, "--stack", LOCAL).is_exactly("issuers", "does not trust", stack.issuer)


def test_one_cause_is_one_problem_for_the_tokens_holder_too(stack: Stack, token: Token) -> None:
    """The key is inactive: the session's refusal is not a second problem."""
    change = only(lambda asked: "duration=900" in asked.path, refused(500, "broker_key_refused"))
    with without_key(stack), front(stack.url, change) as url:
        probed = probe(stack, "--url", url, "--stack", LOCAL, token=token("carol"))
    probed.is_exactly("broker-key")
    assert "see `broker-key`" in probed.of("credentials")[0]["help"]


# Who may probe.

UNSHOWN = {
    "ReaderPolicy: SeeAlarms (the emulator does not judge requests in CBOR, which is how CloudWatch is asked)": (
        "https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatch.html"
    ),
    "ReaderPolicy: SeeKeysOfBrokerUser on the user alone (the emulator wants `*` for iam:GetAccessKeyLastUsed)": (
        "https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html"
    ),
}
"""What of the permissions the emulator cannot show, and the page of AWS that says how it is there."""


def test_a_reader_may_probe_and_each_statement_of_the_policy_is_needed(stack: Stack) -> None:
    reader = stack.deployment.outputs["ReaderPolicy"]
    asked = ("--url", stack.url, "--stack", LOCAL)
    with user_with(stack.aws, reader) as key:
        probed = probe(stack, *asked, key=key)
    assert (probed.problems, probed.code) == ([], 0), probed.output
    for sid, checks, permission in (
        ("ReadTables", ["tables", "grants"], "dynamodb:DescribeTable"),
        ("SeeHowTablesAreKept", ["recovery", "expiry"], "dynamodb:DescribeContinuousBackups"),
        ("SeeBrokerKey", ["broker-key"], "secretsmanager:DescribeSecret"),
        ("SeeKeysOfBrokerUser", ["broker-key"], "iam:ListAccessKeys"),
    ):
        with user_without(stack.aws, reader, sid) as key:
            probed = probe(stack, *asked, key=key)
        assert (probed.problems, probed.code) == (checks, 3), (sid, probed.output)
        assert permission in probed.output, sid


def test_a_probe_has_no_action_that_writes(stack: Stack) -> None:
    reader = TEMPLATE.body["Resources"]["ReaderPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    actions = [
        action
        for statement in reader
        for action in (statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]])
    ]
    reads = ("Describe", "List", "Get", "BatchGet", "Query", "Scan", "Filter", "StartQuery", "StopQuery")
    assert [action for action in actions if not action.split(":")[1].startswith(reads)] == []


# On a schedule.

DAY_TWO = (ROOT / "docs/day-two.md").read_text()


def scheduled(stack: Stack, tmp_path: Path, script: str, token: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a script as a scheduler does. Of what it calls, only who fetches the token is a stand-in."""
    (tmp_path / "hallpass").symlink_to(COMMAND)
    (tmp_path / "curl").write_text(f"#!/bin/sh\necho '{json.dumps({'value': token})}'\n")
    (tmp_path / "curl").chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "AWS_ENDPOINT_URL": stack.aws.endpoint,
        "AWS_REGION": REGION,
        "HALLPASS_STACK": LOCAL,
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "canary",
        "ACTIONS_ID_TOKEN_REQUEST_URL": "https://token.actions.example.com?x=y",
    } | seed.ROOT.environment()
    command = ["bash", "-c", script]
    return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)


def test_cron_mails_only_what_is_wrong(stack: Stack, well: str, tmp_path: Path) -> None:
    (text,) = re.findall(r"```text\n(\*/.*?)```", DAY_TWO, re.DOTALL)
    lines = [line.split(maxsplit=5)[5] for line in text.splitlines()]
    assert len(lines) == 2
    broken = metadata(authorization_servers=["http://127.0.0.1:9"])
    with front(stack.url, broken) as url:
        for number, line in enumerate(lines):
            for at, mailed in ((well, False), (url, True)):
                # The local stack is not at the URL of its own API, and has the emulator's region.
                script = line.replace("https://hallpass.example.com", at).replace("eu-central-1", REGION)
                script = script.replace("--stack hallpass", f"--stack {LOCAL} --url {at}")
                folder = tmp_path / f"{number}-{mailed}"
                folder.mkdir()
                done = scheduled(stack, folder, script)
                assert (done.stderr, done.returncode) == ("", 0)
                assert ("\nproblem " in done.stdout) == mailed, done
                assert (done.stdout == "") != mailed, done


def test_the_job_of_github_actions_runs(stack: Stack, well: str, token: Token, tmp_path: Path) -> None:
    workflow = yaml.safe_load((ROOT / "examples/probe.yml").read_text())
    job = workflow["jobs"]["probe"]
    assert workflow["permissions"] == {"contents": "read", "id-token": "write"}
    (step,) = [step for step in job["steps"] if step.get("name") == "Probe"]
    assert "hallpass probe --token-file -" in step["run"]
    script = step["run"].replace("hallpass probe", f"hallpass probe --url {well}")
    for number, (grant, code) in enumerate((("default", 0), ("nothing", 3))):
        folder = tmp_path / str(number)
        folder.mkdir()
        done = scheduled(stack, folder, script.replace("--grant probe", f"--grant {grant}"), token("carol"))
        assert (done.returncode, done.stderr) == (code, ""), done
        assert token("carol").split(".")[2] not in done.stdout


def test_the_buildspec_names_commands_that_there_are() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", DAY_TWO, re.DOTALL)
    commands = yaml.safe_load(text)["phases"]["build"]["commands"]
    assert commands[-1] == "hallpass probe --stack hallpass"
    script = "\n".join(["aws() { :; }", *commands[:-1]]).replace("/usr/local/bin/hallpass", "$PWD/none")
    subprocess.run(["bash", "-n", "-c", script], check=True)


def test_the_page_has_every_check_and_no_other(stack: Stack, well: str, token: Token) -> None:
    section = DAY_TWO[DAY_TWO.index("\n## Probe\n") :]
    table = section[section.index("| check |") :].split("\n\n")[0]
    documented = {name for row in table.splitlines() for name in re.findall(r"`([a-z-]+)`", row.split("|")[1])}
    probed = probe(stack, "--url", well, "--stack", LOCAL, *OPENS, token=token("carol"))
    assert documented == {check["check"] for check in probed.checks}


# How it is called.


def test_what_cannot_be_meant_is_wrong_usage(stack: Stack, tmp_path: Path) -> None:
    held = tmp_path / "token"
    held.write_text("a.b.c")
    with_held = ["--url", "https://hallpass.example.com", "--token-file", str(held)]
    for arguments, words in (
        ([], "--url"),
        (["--url", "http://hallpass.example.com"], "https"),
        (["--url", "https://hallpass.example.com", "--origin", "app"], "origin"),
        (["--url", "https://hallpass.example.com", *OPENS], "--token-file"),
        ([*with_held, "--opens", "s3:PutObject", "arn:aws:s3:::a/b"], "dynamodb:DescribeTable, s3:GetObject"),
        ([*with_held, "--opens", "s3:GetObject", "arn:aws:s3:::a/*"], "without wildcards"),
        ([*with_held, "--opens", "s3:ListBucket", "acme-reports"], "arn:aws:s3:::"),
    ):
        command = [str(COMMAND), "probe", *arguments]
        done = subprocess.run(command, env={}, capture_output=True, text=True, check=False)
        assert (done.returncode, words in done.stderr, done.stdout) == (2, True, ""), done


def test_the_stack_that_there_is_not_fails(stack: Stack) -> None:
    environment = {"AWS_ENDPOINT_URL": stack.aws.endpoint, "AWS_REGION": REGION} | seed.ROOT.environment()
    command = [str(COMMAND), "probe", "--stack", "none"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "stack `none`" in done.stderr, done.stdout) == (1, True, ""), done
