"""How do the tests speak to the function? Over the emulator's HTTP, and with events through the Invoke API.

The emulator's HTTP is not API Gateway's: it answers some requests itself and fills the event in its own way. Where the
event matters, a test sends one as API Gateway makes it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

import contract
import deploy
import seed
from deploy import Deployment
from paths import ROOT
from stack import Stack

TIMEOUT_S = 10


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    """By lower-case name."""
    body: Any

    @property
    def code(self) -> str:
        """The code of a refusal; the shape that every refusal has is checked on the way."""
        assert self.headers["content-type"] == "application/problem+json"
        assert self.body["status"] == self.status
        assert {"type", "title", "requestId", "message"} <= self.body.keys()
        return self.body["code"]


class Api:
    """Asks the stack's function, or whatever is at another `url`, under the name `host`."""

    def __init__(self, stack: Stack, url: str | None = None, host: str | None = None):
        self._stack = stack
        self.url = url or stack.url
        self._host = host
        self._opener = build_opener(ProxyHandler({}))

    def ask(
        self,
        method: str = "GET",
        path: str = "/v1/credentials",
        token: str | None = None,
        query: dict[str, Any] | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        url = self.url + path + (f"?{urlencode(query)}" if query else "")
        request = Request(url, method=method, headers=headers or {})
        if self._host is not None:
            request.add_header("Host", self._host)
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        if body is not None:
            request.add_header("Content-Type", "application/json")
            request.data = json.dumps(body).encode()
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as response:
                status, named, text = response.status, response.headers, response.read().decode()
        except HTTPError as refusal:
            with refusal:
                status, named, text = refusal.code, refusal.headers, refusal.read().decode()
        named = {name.lower(): value for name, value in named.items()}
        if self._host is None:  # a gateway in front adds its own
            contract.check(method, urlsplit(url).path, status, named, text, raw=False)
        return Answer(status, named, _content(named, text))

    def key(self, token: str, **query: Any) -> seed.Key:
        """Credentials as boto3 takes them; anything but credentials fails the test."""
        answer = self.ask(token=token, query=query)
        assert answer.status == 200, answer
        return seed.Key.of(answer.body)

    def invoke(self, event: bytes) -> Answer:
        """What the function answers to one raw event. An invocation error fails the test."""
        request = Request(self._stack.invoke_url, data=event, method="POST")
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as response:
                assert "x-amz-function-error" not in response.headers
                payload = json.loads(response.read())
        except HTTPError as error:
            with error:
                raise AssertionError(f"an invocation error: {error.code} {error.read().decode()}") from None
        assert "statusCode" in payload, payload
        headers = {name.lower(): value for name, value in payload["headers"].items()}
        status, body = payload["statusCode"], payload.get("body") or ""
        if asked := _asked(event):
            contract.check(*asked, status, headers, body, raw=True)
        return Answer(status, headers, _content(headers, body))


def serving(stack: Stack, deployment: Deployment) -> Api:
    """The API of a stack, which has the sample grants, and its first broker key as AWS makes it."""
    seed.apply_grants(stack.aws, ROOT / "grants", deployment.outputs["GrantsTable"])
    deploy.rotate(stack.aws, deployment)
    return front_of(stack, deployment)


def front_of(stack: Stack, deployment: Deployment) -> Api:
    """The API's address: the emulator tells APIs apart by the name of the host."""
    return Api(stack, stack.aws.endpoint, urlsplit(deployment.outputs["Url"]).netloc)


def event(
    method: str = "GET",
    path: str = "/v1/credentials",
    raw_query: str = "",
    headers: dict[str, str] | None = None,
    body: str | None = None,
    is_base64: bool = False,
    **changes: Any,
) -> dict[str, Any]:
    """An event as API Gateway's HTTP API makes it (payload format 2.0)."""
    parameters: dict[str, str] = {}
    key = path
    for stem, name in (("/v1/credentials/", "grant"), ("/portal/", "file")):
        if segment := re.fullmatch(f"{stem}([^/]+)", path):
            key, parameters = f"{stem}{{{name}}}", {name: segment[1]}
    known = {
        "/v1/credentials": ("GET", "POST"),
        "/v1/credentials/{grant}": ("GET", "POST"),
        "/v1/grants": ("GET",),
        "/v1/console": ("POST",),
        "/": ("GET", "HEAD"),
        "/portal/{file}": ("GET", "HEAD"),
        "/v1/health": ("GET", "HEAD"),
        "/.well-known/oauth-protected-resource": ("GET", "HEAD", "OPTIONS"),
    }
    route = f"{method} {key}" if method in known.get(key, ()) else "$default"
    made: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route,
        "rawPath": path,
        "rawQueryString": raw_query,
        "headers": {
            "accept": "*/*",
            "content-length": str(len(body or "")),
            "host": "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com",
            "user-agent": "curl/8.5.0",
            "x-amzn-trace-id": "Root=1-6b03122e-b3e070e90b73df70edf423c4",
            "x-forwarded-for": "192.0.2.7",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        }
        | (headers or {}),
        "requestContext": {
            "accountId": seed.ACCOUNT,
            "apiId": "a1b2c3d4e5",
            "domainName": "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com",
            "domainPrefix": "a1b2c3d4e5",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.7",
                "userAgent": "curl/8.5.0",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": route,
            "stage": "$default",
            "time": "22/Nov/2026:12:00:00 +0000",
            "timeEpoch": 1795348800000,
        },
        "isBase64Encoded": is_base64,
    }
    if body is not None:
        made["body"] = body
    if parameters and route != "$default":
        made["pathParameters"] = parameters
    return made | changes


def _asked(event: bytes) -> tuple[str, str] | None:
    """Method and path of an event, if it has them."""
    try:
        made = json.loads(event)
        method, path = made["requestContext"]["http"]["method"], made["rawPath"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return (method, path) if method and path else None


def _content(headers: dict[str, str], body: str) -> Any:
    """What the body says, if it is JSON; else its text."""
    is_json = headers.get("content-type", "").endswith("json")
    return (json.loads(body) if is_json else body) if body.strip() else None
