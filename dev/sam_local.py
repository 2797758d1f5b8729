"""`make sam-local`: what `sam build` made of the template, in real containers against the local stack. `sam local invoke`
with every event of events/, then some requests through `sam local start-api`.

What a container answers must be what events/index.json says, and what the same function answers without a container.

`make sam-up`: the same preparations, left running, with the commands for one event and for `start-api` by hand.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import cache, partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from compare import masked
from paths import BUILD, ROOT
from samtranslator.yaml_helper import yaml_parse
from signin import sign_in
from stack import LOOPBACK, Stack, StackError, end_cleanly_on_signals, free_port

SAM = ROOT / ".venv-sam" / "bin" / "sam"
BUILT = ROOT / ".aws-sam" / "build"
EVENTS = ROOT / "events"
LOCAL = BUILD / "sam-local"
FUNCTION = "Function"  # its name in the template

# Containers run what this machine's processor runs.
ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
IMAGE = "public.ecr.aws/lambda/provided:al2023-{architecture}"
REMEDY = "Start Docker, or set DOCKER_HOST to a running engine; `docker info` must answer."

INVOKE_TIMEOUT_S = 120  # the first one makes the image
START_TIMEOUT_S = 120
AT_ONCE = 2
EMPLOYEES = ["carol", "dave", "erin", "frank", "heidi"]

Json = dict[str, Any]
Ask = tuple[str, str, dict[str, str], bytes | None]


class Failure(Exception):
    """An answer is not what it must be, or SAM did not give one."""


def main() -> int:
    purpose = sys.argv[1] if len(sys.argv) == 2 else ""
    if purpose not in ("test", "up"):
        return _fail("usage: sam_local.py test|up")
    if reason := _engine_missing():
        return _fail(f"there is no Docker engine: {reason}. {REMEDY}")
    end_cleanly_on_signals()
    stack = Stack(f"sam-{purpose}")
    try:
        architecture = ARCHITECTURES[platform.machine().lower()]
        _build(architecture)
        with stack, _ways_in(stack) as reach:
            runs = _Runs(stack, architecture, reach)
            if purpose == "up":
                runs.by_hand()
            runs.every_event()
            runs.some_requests()
    except KeyboardInterrupt:
        return 0 if purpose == "up" else 130
    except (Failure, StackError, OSError, KeyError, ValueError, subprocess.SubprocessError) as problem:
        return _fail(f"{type(problem).__name__}: {problem}\n{stack.tails()}")
    print("sam-local: every answer is as expected")
    return 0


def _engine_missing() -> str | None:
    """Why there is no engine; None where there is one."""
    if not shutil.which("docker"):
        return "`docker` is not installed"
    done = subprocess.run(["docker", "info"], capture_output=True, text=True, timeout=30, check=False)
    return None if done.returncode == 0 else f"`docker info` says: {done.stderr.strip()}"


def _build(architecture: str) -> None:
    print(f"$ sam build --parameter-overrides Architecture={architecture}", flush=True)
    command = [SAM, "build", "--parameter-overrides", f"Architecture={architecture}"]
    if subprocess.run(command, cwd=ROOT, env=os.environ | _QUIET, check=False).returncode != 0:
        raise Failure("`sam build` failed")


class _Runs:
    """SAM, with a template of its own: SAM hands a container only the variables that a template declares, and makes up
    values for `!Ref` of what is not there."""

    def __init__(self, stack: Stack, architecture: str, reach: Callable[[str], str]):
        self._stack = stack
        self._opener = build_opener(ProxyHandler({}))
        LOCAL.mkdir(parents=True, exist_ok=True)
        self._template = LOCAL / "template.json"
        self._template.write_text(json.dumps(self._localized(reach), indent=1))
        # The containers get the execution role's session from here, as Lambda would give it.
        self._env = {name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_HOST") if name in os.environ}
        self._env |= _QUIET | stack.function_key.environment()
        self._env |= {name: value for name, value in stack.environment_of_function().items() if name == "AWS_REGION"}
        self._options = ["--template", str(self._template), "--parameter-overrides", f"Architecture={architecture}"]
        image = IMAGE.format(architecture=architecture)
        if subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode == 0:
            self._options.append("--skip-pull-image")
        self.token = cache(lambda who: sign_in(stack.issuer, who).access_token)

    def _localized(self, reach: Callable[[str], str]) -> Json:
        template = yaml_parse((BUILT / "template.yaml").read_text())
        for resource in template["Resources"].values():
            if resource["Type"] == "AWS::Serverless::Function":
                resource["Properties"]["CodeUri"] = str(BUILT / resource["Properties"]["CodeUri"])
        function = template["Resources"][FUNCTION]["Properties"]
        variables = function["Environment"]["Variables"]
        given = self._stack.environment_of_function()
        for name in variables:
            variables[name] = given.get(name)
        # What is reached by another address than here: the provider's keys, the issuer's name staying what tokens say.
        keys = {"jwks_uri": reach(self._jwks_uri()), "insecure_http": True}
        variables["HALLPASS_ISSUERS"] = json.dumps([self._stack.issuer_terms() | keys])
        variables["AWS_ENDPOINT_URL"] = reach(self._stack.aws.endpoint)
        return template

    def _jwks_uri(self) -> str:
        with self._opener.open(f"{self._stack.issuer}/.well-known/openid-configuration", timeout=10) as response:
            return json.load(response)["jwks_uri"]

    # By hand

    def by_hand(self) -> None:
        """Prints the commands, and returns only when a part of the stack goes away."""
        secrets = LOCAL / "private"
        shutil.rmtree(secrets, ignore_errors=True)
        secrets.mkdir(mode=0o700)
        try:
            for who in EMPLOYEES:
                (secrets / who).write_text(self.token(who))
            local = {name: value for name, value in self._env.items() if name.startswith(("AWS_", "SAM_"))}
            exports = [f"export {name}={shlex.quote(value)}\n" for name, value in local.items()]
            (secrets / "environment").write_text("".join(exports))
            sam, private = SAM.relative_to(ROOT), secrets.relative_to(ROOT)
            options = shlex.join(["--template", str(self._template.relative_to(ROOT)), *self._options[2:]])
            print(
                textwrap.dedent(
                    f"""
                    Signed in: {", ".join(EMPLOYEES)}. In another terminal, in this directory:

                      # the function's own AWS credentials, on the local stack
                      . {private}/environment
                      # one event, with a token in its place; events/index.json says who asks and what the answer is
                      sed "s/TOKEN/$(cat {private}/carol)/" events/credentials.json |
                        {sam} local invoke {FUNCTION} --event - {options}
                      # the API on http://127.0.0.1:3000
                      {sam} local start-api --host 127.0.0.1 {options}

                    Ctrl-C stops everything.
                    """
                ),
                flush=True,
            )
            self._stack.wait()
        finally:
            shutil.rmtree(secrets)

    # Events

    def every_event(self) -> None:
        index: dict[str, Json] = json.loads((EVENTS / "index.json").read_text())
        # The first alone: it makes the image that the others use.
        # A container reaches no stand-in for AWS's sign-in host, since the function asks only this machine's without TLS.
        names = [name for name, expected in index.items() if "needs" not in expected]
        started = time.monotonic()
        self._try_event(names[0], index[names[0]])
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for _ in pool.map(lambda name: self._try_event(name, index[name]), names[1:]):
                pass
        print(f"{len(names)} events, {time.monotonic() - started:.0f} s", flush=True)

    def _try_event(self, name: str, expected: Json) -> None:
        event = (EVENTS / f"{name}.json").read_text()
        if "who" in expected:
            event = event.replace("TOKEN", self.token(expected["who"]))
        answer = self._invoke(event)
        headers = {name.lower(): value for name, value in answer["headers"].items()}
        body = _content(answer)
        problems = []
        if answer["statusCode"] != expected["status"]:
            problems.append(f"status {answer['statusCode']}")
        if "code" in expected and body["code"] != expected["code"]:
            problems.append(f"code {body['code']}")
        for header, value in expected.get("headers", {}).items():
            if headers.get(header) != (value and value.replace("URL", self._stack.url)):
                problems.append(f"{header}: {headers.get(header)}")
        here = self._without_container(event)
        for part in ("statusCode", "headers", "isBase64Encoded"):
            if answer.get(part) != here.get(part):
                problems.append(f"{part} {answer.get(part)}, and {here.get(part)} without a container")
        if masked(body) != masked(_content(here)):
            problems.append(f"body {masked(body)}, and {here.get('body')} without a container")
        if problems:
            raise Failure(f"{name}: {'; '.join(problems)}; expected {expected}")
        code = expected.get("code", "")
        print(
            f"$ sam local invoke {FUNCTION} --event events/{name}.json\n    {answer['statusCode']} {code}", flush=True
        )

    def _invoke(self, event: str) -> Json:
        command = [SAM, "local", "invoke", FUNCTION, "--event", "-", *self._options]
        done = subprocess.run(
            command, input=event, env=self._env, cwd=LOCAL, capture_output=True, text=True, timeout=INVOKE_TIMEOUT_S,
            check=False,
        )  # fmt: skip
        lines = done.stdout.strip().splitlines()
        if done.returncode != 0 or not lines:
            raise Failure(f"`sam local invoke` ended with {done.returncode}:\n{done.stderr[-3000:]}")
        answer = json.loads(lines[-1])
        if "statusCode" not in answer:
            raise Failure(f"an invocation error: {answer}\n{done.stderr[-3000:]}")
        return answer

    def _without_container(self, event: str) -> Json:
        request = Request(self._stack.invoke_url, data=event.encode(), method="POST")
        with self._opener.open(request, timeout=10) as response:
            return json.load(response)

    # Requests

    def some_requests(self) -> None:
        port = free_port()
        command = [SAM, "local", "start-api", "--host", LOOPBACK, "--port", str(port), "--warm-containers", "LAZY"]
        print(f"$ sam local start-api --port {port} --warm-containers LAZY", flush=True)
        log = self._stack.logs / "start-api.log"
        with log.open("wb") as file:
            api = subprocess.Popen([*command, *self._options], env=self._env, cwd=LOCAL, stdout=file, stderr=file)
        try:
            url = f"http://{LOOPBACK}:{port}"
            self._until_up(api, url, log)
            for what, asked, status, code in self._requests():
                self._try_request(url, what, asked, status, code)
        finally:
            # As Ctrl-C does: SAM then stops its containers.
            api.terminate()
            try:
                api.wait(30)
            except subprocess.TimeoutExpired:
                api.kill()

    def _until_up(self, api: subprocess.Popen, url: str, log: Path) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and api.poll() is None:
            try:
                if self._ask(url, ("GET", "/v1/health", {}, None))[0] == 200:
                    return
            except (URLError, OSError):
                pass
            time.sleep(0.2)
        raise Failure(f"`sam local start-api` does not answer:\n{log.read_text(errors='replace')[-3000:]}")

    def _requests(self) -> Iterator[tuple[str, Ask, int, str | None]]:
        carol, erin = ({"Authorization": f"Bearer {self.token(who)}"} for who in ("carol", "erin"))
        body = {"Content-Type": "application/json"}
        yield "health", ("GET", "/v1/health", {}, None), 200, None
        yield "health without its body", ("HEAD", "/v1/health", {}, None), 200, None
        yield "the metadata", ("GET", "/.well-known/oauth-protected-resource", {}, None), 200, None
        yield "credentials", ("GET", "/v1/credentials", carol, None), 200, None
        yield "credentials of a grant", ("GET", "/v1/credentials?grant=payroll", erin, None), 200, None
        yield "a grant in the path", ("GET", "/v1/credentials/payroll", erin, None), 200, None
        yield "credentials by POST", ("POST", "/v1/credentials", carol | body, b'{"duration": 900}'), 200, None
        yield "the list of grants", ("GET", "/v1/grants", erin, None), 200, None
        yield "no token", ("GET", "/v1/credentials", {}, None), 401, "token_missing"
        yield "another's grant", ("GET", "/v1/credentials?grant=payroll", carol, None), 403, "access_denied"
        yield "a bad duration", ("GET", "/v1/credentials?duration=1", carol, None), 400, "invalid_request"
        yield "two grants", ("GET", "/v1/credentials/payroll?grant=default", erin, None), 400, "invalid_request"

    def _try_request(self, url: str, what: str, asked: Ask, status: int, code: str | None) -> None:
        got, body = self._ask(url, asked)
        here = self._ask(self._stack.url, asked)
        if (got, body.get("code")) != (status, code) or (got, masked(body)) != (here[0], masked(here[1])):
            raise Failure(
                f"{what}: {got} {masked(body)}, and {here} without a container; expected {status} {code or ''}"
            )
        print(f"    {what:<24} {asked[0]:<4} {asked[1]:<32} {got} {code or ''}", flush=True)

    def _ask(self, url: str, asked: Ask) -> tuple[int, Json]:
        method, path, headers, body = asked
        request = Request(url + path, method=method, headers=headers, data=body)
        try:
            with self._opener.open(request, timeout=INVOKE_TIMEOUT_S) as response:
                return response.status, json.loads(response.read() or "{}")
        except HTTPError as refusal:
            with refusal:
                return refusal.code, json.load(refusal)


def _content(answer: Json) -> Any:
    """What the body says, if it is JSON; else its text."""
    is_json = {name.lower(): value for name, value in answer["headers"].items()}.get("content-type", "").endswith(
        "json"
    )
    return json.loads(answer["body"]) if is_json and answer.get("body") else answer.get("body")


_QUIET = {"SAM_CLI_TELEMETRY": "0", "SAM_CLI_CHECK_FOR_UPDATES": "0"}


# The way from a container to the stack, which listens on this machine's loopback alone


@contextmanager
def _ways_in(stack: Stack) -> Iterator[Callable[[str], str]]:
    """What makes an address of the stack one that containers reach. On Linux the engine's bridge has an address of this
    machine: a forwarder listens there, as long as we run. Elsewhere the engine has a name for this machine's loopback."""
    gateway = _gateway()
    forwarders: dict[str, _Forwarder] = {}

    def reach(url: str) -> str:
        parts = urlsplit(url)
        if gateway is None:
            return parts._replace(netloc=f"host.docker.internal:{parts.port}").geturl()
        if parts.netloc not in forwarders:
            forwarders[parts.netloc] = _Forwarder(gateway, parts.port or 80)
        return parts._replace(netloc=f"{gateway}:{forwarders[parts.netloc].port}").geturl()

    try:
        yield reach
    finally:
        for forwarder in forwarders.values():
            forwarder.close()


def _gateway() -> str | None:
    """The bridge's address, where it is one of this machine."""
    command = ["docker", "network", "inspect", "bridge"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    for config in json.loads(done.stdout)[0]["IPAM"]["Config"]:
        # Some engines name the network alone; its first address is the gateway's. Never "": that is every address.
        address = config.get("Gateway") or str(next(ip_network(config["Subnet"]).hosts()))
        with closing(socket.socket()) as probe:
            try:
                probe.bind((address, 0))
            except OSError:
                continue
            return address
    return None


class _Forwarder:
    """Passes what comes to a port of `address` on to the `target` port of loopback. Only containers reach `address`."""

    def __init__(self, address: str, target: int):
        self._target = target
        self._listener = socket.create_server((address, 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection((LOOPBACK, self._target), timeout=5)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=partial(_pump, one, other), daemon=True).start()


def _pump(one: socket.socket, other: socket.socket) -> None:
    try:
        while data := one.recv(65_536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (one, other):
            end.close()


def _fail(text: str) -> int:
    print(text, file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
