"""What runs beside Hallpass on an engineer's machine? Four processes, each on a loopback port of its own.

    MiniStack          AWS: IAM with authorization on, STS, DynamoDB, Secrets Manager, S3
    oidc-provider      the company's identity provider (idp.mjs)
    cargo lambda watch the Lambda runtime API and its HTTP front
    broker             the function: the very file that would be deployed

`with Stack("run") as stack:` starts them, ready and seeded, and stops them however the block is left.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import deploy
import seed
from deploy import Deployment
from paths import ARTIFACT, BIN, BUILD, ROOT, ROTATOR
from seed import Aws

LOOPBACK = "127.0.0.1"
START_TIMEOUT_S = 60  # MiniStack takes half a second, but a machine that compiles beside it is slow
STOP_TIMEOUT_S = 5
PROBE_TIMEOUT_S = 2  # one question whether a part is ready: the emulator holds it while the function is not there
START_ATTEMPTS = 3
# Below the ports that systems lend to outgoing connections, so that only another server can be in the way.
PORTS = range(20_000, 32_000)

LOCAL = "hallpass-local"
"""The name of the stack that the local function belongs to."""

# The company's applications may ask from a browser, and nobody else. A page of the function itself needs no permission.
ALLOWED_ORIGINS = ",".join(seed.ORIGINS)

APPLICATION = "hallpass-app"
"""The provider's client for an application of one's own in the browser."""

# The function to which the emulator's HTTP front sends what has no other address, so that its URL has no path.
FRONT = "_"
# OpenID Connect lets a provider leave the refresh token out unless the person is asked for consent; this one does.
WITH_REFRESH_TOKEN = {"scope": "openid offline_access credentials groups", "parameters": {"prompt": "consent"}}
# How people sign in with the command line and on the function's own page: the local provider's clients.
CLIENTS = {
    "cli": {"client_id": "hallpass-cli"} | WITH_REFRESH_TOKEN,
    "browser": {"client_id": "hallpass-portal", "scope": "openid credentials groups"},
}
ALGORITHMS = ["RS256", "ES256", "EdDSA"]

T = TypeVar("T")


class StackError(Exception):
    """A part of the stack did not start or went away."""


class Stack:
    """The local stack. `purpose` names the directory of its logs: `build/logs/PURPOSE`. The function is the last of
    `command`; before it may stand what runs it."""

    def __init__(
        self,
        purpose: str,
        function_env: Mapping[str, str] | None = None,
        say: Callable[[str], None] = print,
        command: Sequence[str] = (str(ARTIFACT),),
    ):
        self.logs = BUILD / "logs" / purpose
        self._command = list(command)
        self._function_env = dict(function_env or {})
        self._say = say
        self._parts: list[_Part] = []
        self._exit = ExitStack()

    issuer: str
    aws: Aws
    deployment: Deployment
    """What the template makes in the emulated AWS. The function runs beside it, in its place."""
    function_key: seed.Key
    """What the function itself runs with: a session of its role in the template."""
    url: str
    """The function's HTTP address: what the API's address is in the cloud."""
    invoke_url: str
    """Lambda's Invoke API: the event is what is posted."""

    def __enter__(self) -> Stack:  # noqa: PYI034 (typing.Self is of Python 3.11)
        for artifact in (Path(self._command[-1]), ARTIFACT, ROTATOR):
            if not artifact.exists():
                raise StackError(f"{artifact.relative_to(ROOT)} is missing; `make artifact` builds it")
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_exc) -> None:
        self.close()

    def close(self) -> None:
        """Stops everything. A second Ctrl-C does not interrupt it, or the parts would outlive us."""
        held = {number: signal.signal(number, signal.SIG_IGN) for number in _ENDING}
        try:
            self._exit.close()
        finally:
            for number, handler in held.items():
                signal.signal(number, handler)

    def _start(self) -> None:
        (BUILD / "tmp").mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        tmp = self._exit.enter_context(tempfile.TemporaryDirectory(prefix="stack-", dir=BUILD / "tmp"))
        # Parts get what they need and nothing of the engineer's: no AWS profile, no proxy, no credentials.
        base = {"PATH": os.environ["PATH"], "HOME": tmp, "TMPDIR": tmp}

        self._base = base
        # First, because the provider knows by its URL where a browser may be sent back to.
        front = self._front("function")
        idp = self._run(
            "idp", ["node", str(ROOT / "dev" / "idp.mjs"), f"http://{LOOPBACK}:{front}", *seed.ORIGINS], base
        )
        port = self._on_free_port(
            "ministack", lambda port: ([BIN / "ministack"], base | _ministack_env(port)), _aws_ready
        )
        self.issuer = self._until(idp, idp.announced)["issuer"]
        self._say(f"identity provider  {self.issuer}")

        self.aws = Aws(f"http://{LOOPBACK}:{port}")
        self._say(f"AWS                {self.aws.endpoint}  (MiniStack, authorization on)")
        self.deployment = self._deploy()
        self.function_key = deploy.session(self.aws, self.deployment, "FunctionRole")
        self._say(f"template.yaml      deployed there as {LOCAL}, with the sample grants and a broker key")

        self.url = f"http://{LOOPBACK}:{front}"
        self._function("function", {}, front)
        self.invoke_url = f"{self.url}/2015-03-31/functions/{FRONT}/invocations"
        self._say(f"Hallpass           {self.url}")

    def _deploy(self) -> Deployment:
        """The company, and a stack of the template that serves it."""
        parameters = {
            "CeilingPolicyArns": seed.company(self.aws),
            "Architecture": "x86_64",
            "AllowedOrigins": ALLOWED_ORIGINS,
            "IssuersJson": json.dumps([self.issuer_terms()]),
        }
        deployment = deploy.create(self.aws, parameters, name=LOCAL)
        seed.apply_grants(self.aws, ROOT / "grants", deployment.outputs["GrantsTable"])
        deploy.rotate(self.aws, deployment)
        return deployment

    def issuer_terms(self) -> dict[str, Any]:
        """The issuer as `HALLPASS_ISSUERS` has it."""
        issuer = {"id": "corp", "issuer": self.issuer, "audiences": ["hallpass"], "algorithms": ALGORITHMS}
        return issuer | CLIENTS

    def application(self) -> dict[str, Any]:
        """What an application of one's own in the browser has to know: the settings of examples/browser."""
        return {
            "hallpass": self.url,
            "issuer": self.issuer,
            "client_id": APPLICATION,
            **WITH_REFRESH_TOKEN,
            "token": "access_token",
            "region": seed.REGION,
            "s3_endpoint": self.aws.endpoint,
            "buckets": [
                {"name": seed.REPORTS, "grant": "default"},
                {"name": seed.SHOP, "grant": "deploy"},
                {"name": seed.PAYROLL, "grant": "payroll"},
            ],
        }

    @property
    def table(self) -> str:
        """The name of the grants table."""
        return self.deployment.outputs["GrantsTable"]

    @property
    def state(self) -> str:
        """The name of the state table."""
        return self.deployment.outputs["StateTable"]

    @property
    def secret(self) -> str:
        """What names the secret of the broker key."""
        return self.deployment.outputs["BrokerKey"]

    def function(self, name: str, terms: Mapping[str, Any]) -> str:
        """Starts the function, with more terms for its issuer, behind an emulator of its own. Answers its HTTP address;
        its log has the `name`."""
        return self._function(name, terms, self._front(name))

    def _front(self, name: str) -> int:
        """Starts an emulator, and answers its port."""
        # --only-lambda-apis: it neither builds nor starts a function; ours is the artifact, below.
        watch = ["cargo-lambda", "lambda", "watch", "--only-lambda-apis", "--disable-cors", "--ignore-changes"]
        watch += ["--manifest-path", str(ROOT / "Cargo.toml"), "--invoke-address", LOOPBACK, "--invoke-port"]
        cargo = self._base | {name: os.environ[name] for name in ("CARGO_HOME", "RUSTUP_HOME") if name in os.environ}
        cargo.setdefault("CARGO_HOME", str(Path.home() / ".cargo"))
        cargo.setdefault("RUSTUP_HOME", str(Path.home() / ".rustup"))
        emulator = "emulator" if name == "function" else f"emulator-{name}"
        return self._on_free_port(emulator, lambda port: ([BIN / watch[0], *watch[1:], str(port)], cargo), _listening)

    def _function(self, name: str, terms: Mapping[str, Any], port: int) -> str:
        url = f"http://{LOOPBACK}:{port}"
        issuer = self.issuer_terms() | terms
        env = self._base | self.environment_of_function() | self.function_key.environment() | self._function_env
        env["HALLPASS_ISSUERS"] = json.dumps([issuer])
        # Lambda gives no scheme, and no path either.
        env["AWS_LAMBDA_RUNTIME_API"] = f"http://{LOOPBACK}:{port}/.rt/{FRONT}"
        env["HALLPASS_PUBLIC_URL"] = url
        part = self._run(name, self._command, env, cwd=Path(self._command[-1]).parent)
        self._until(part, lambda: _answers(f"{url}/v1/health"))
        return url

    def environment_of_function(self) -> dict[str, str]:
        """Its variables, but for the issuers and the credentials."""
        variables = deploy.variables(self.aws, self.deployment, "Function")
        return variables | {
            # Its own gateway: nothing else answers browsers here.
            "HALLPASS_ALLOWED_ORIGINS": ALLOWED_ORIGINS,
            "HALLPASS_PUBLIC_URL": self.url,
            "AWS_REGION": seed.REGION,
            "AWS_ENDPOINT_URL": self.aws.endpoint,
            # What Lambda itself sets and the runtime reads.
            "AWS_LAMBDA_FUNCTION_NAME": "broker",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        }

    @property
    def pids(self) -> dict[str, int]:
        return {part.name: part.process.pid for part in self._parts}

    def log(self, part: str) -> str:
        """What `part` has written so far."""
        return (self.logs / f"{part}.log").read_text(errors="replace")

    def outcomes(self) -> list[dict]:
        """The audit lines of the requests that the function has answered."""
        lines = [json.loads(line) for line in self.log("function").splitlines() if '"event":"outcome"' in line]
        return [line for line in lines if line["event"] == "outcome"]

    def tails(self, lines: int = 15) -> str:
        """The end of each log, for whoever must find out what went wrong."""
        return "\n".join(f"--- {part.log.relative_to(ROOT)}\n{part.tail(lines)}" for part in self._parts)

    def wait(self) -> None:
        """Returns never, unless a part goes away."""
        while True:
            for part in self._parts:
                part.check()
            time.sleep(0.5)

    def _on_free_port(
        self, name: str, command: Callable[[int], tuple[list, dict[str, str]]], ready: Callable[[int], bool]
    ) -> int:
        """Starts a part that wants to be told its port. Another checkout may take the port between our look and its
        bind: the part then ends at once, and gets another."""
        for attempt in range(1, START_ATTEMPTS + 1):
            port = free_port()
            arguments, env = command(port)
            part = self._run(name, [str(argument) for argument in arguments], env)
            try:
                self._until(part, lambda port=port: ready(port))
                return port
            except StackError:
                if part.process.poll() is None or attempt == START_ATTEMPTS:
                    raise
                self._parts.remove(part)
        raise AssertionError("the loop returns or raises")

    def _run(self, name: str, command: list[str], env: dict[str, str], cwd: Path = ROOT) -> _Part:
        path = self.logs / f"{name}.log"
        with path.open("wb") as log:
            # A session of its own: Ctrl-C reaches us alone, and we stop the group with everything that it started.
            process = subprocess.Popen(
                command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        part = _Part(name, process, path)
        self._parts.append(part)
        self._exit.callback(part.stop)
        return part

    def _until(self, part: _Part, ready: Callable[[], T]) -> T:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if answer := ready():
                part.check()  # the answer may be that of another server, on a port that our part did not get
                return answer
            part.check()
            time.sleep(0.05)
        raise StackError(f"{part.name} is not ready after {START_TIMEOUT_S} s:\n{part.tail()}")


@dataclass(frozen=True)
class _Part:
    name: str
    process: subprocess.Popen
    log: Path

    def check(self) -> None:
        code = self.process.poll()
        if code is not None:
            raise StackError(f"{self.name} ended with {code}:\n{self.tail()}")

    def tail(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def announced(self) -> dict | None:
        """The line of JSON in which idp.mjs says where it listens."""
        for line in self.log.read_text(errors="replace").splitlines():
            if line.startswith("{"):
                return json.loads(line)
        return None

    def stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                break  # nobody of the group is left
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                continue
        self.process.poll()


_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_cleanly_on_signals() -> None:
    """Makes SIGTERM and SIGHUP unwind the program as Ctrl-C does, so that `with` blocks clean up."""

    def end(number: int, _frame) -> None:
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit it ignored


def _ministack_env(port: int) -> dict[str, str]:
    return {
        "AUTH": "true",
        "BIND_HOST": LOOPBACK,
        "GATEWAY_PORT": str(port),
        "AWS_ENDPOINT_URL": f"http://{LOOPBACK}:{port}",
        "MINISTACK_ACCOUNT_ID": seed.ACCOUNT,
        "MINISTACK_REGION": seed.REGION,
        "AWS_ACCESS_KEY_ID": seed.ROOT_KEY,
        "AWS_SECRET_ACCESS_KEY": seed.ROOT_KEY,
        "IOT_MTLS_ENABLED": "0",  # it would listen on every address of the machine
        "SFTP_ENABLED": "0",
        # It removes containers that carry its label, those of another checkout too: let it find no Docker.
        "DOCKER_HOST": "unix:///nonexistent",
    }


def free_port() -> int:
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
                return port
            except OSError:
                continue


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def _aws_ready(port: int) -> bool:
    return _answers(f"http://{LOOPBACK}:{port}/_ministack/ready")


def _answers(url: str) -> bool:
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=PROBE_TIMEOUT_S) as response:
            return response.status == 200
    except (URLError, OSError):
        return False
