"""One stack for the whole run; each test asks it over HTTP as a client would."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import deploy
import pytest
from api import Api, serving
from deploy import Deployment
from person import Person
from signin import Tokens, sign_in
from signin_host import SignInHost
from stack import ALGORITHMS, ALLOWED_ORIGINS, BUILD, Stack, end_cleanly_on_signals

# A ceiling that somebody may well choose: everything but IAM, Organizations and Account.
CEILING = "arn:aws:iam::aws:policy/PowerUserAccess"

_stacks: list[Stack] = []


def pytest_configure() -> None:
    end_cleanly_on_signals()


@pytest.fixture(scope="session")
def signin_host() -> Iterator[SignInHost]:
    host = SignInHost()
    yield host
    host.close()


@pytest.fixture(scope="session")
def stack(signin_host: SignInHost) -> Iterator[Stack]:
    # Everything a log level could let out must stay in: test_function.py looks for secrets in what this run logged.
    with Stack("e2e", {"RUST_LOG": "trace", "AWS_ENDPOINT_URL_SIGNIN": signin_host.url}) as stack:
        _stacks.append(stack)
        yield stack


@pytest.fixture(scope="session")
def api(stack: Stack) -> Api:
    return Api(stack)


@pytest.fixture(scope="session")
def signed_in(stack: Stack) -> Callable[..., Tokens]:
    """Signs an employee in, once a run for each client."""

    @cache
    def tokens(employee: str, client_id: str = "hallpass") -> Tokens:
        return sign_in(stack.issuer, employee, client_id)

    return tokens


@pytest.fixture(scope="session")
def token(signed_in: Callable[..., Tokens]) -> Callable[..., str]:
    return lambda *who: signed_in(*who).access_token


@pytest.fixture
def person(stack: Stack, tmp_path: Path) -> Callable[..., Person]:
    """Somebody at a machine of their own, whom the provider knows as this employee."""

    def person(employee: str, *, factor: bool = False) -> Person:
        home = tmp_path / employee
        home.mkdir()
        return Person(stack, home, employee, factor=factor)

    return person


@pytest.fixture(scope="module")
def parameters(stack: Stack) -> dict[str, str]:
    issuer = {"id": "corp", "issuer": stack.issuer, "audiences": ["hallpass"], "algorithms": ALGORITHMS}
    return {
        "CeilingPolicyArns": CEILING,
        "Architecture": "x86_64",
        "AllowedOrigins": ALLOWED_ORIGINS,
        "IssuersJson": json.dumps([issuer]),
    }


@pytest.fixture(scope="module")
def deployed(stack: Stack, parameters: dict[str, str]) -> Iterator[Deployment]:
    """A stack of the template, without grants and without a broker key."""
    deployment = deploy.create(stack.aws, parameters)
    yield deployment
    if not deployment.deleted:  # a module's last test may do it
        deploy.delete(stack.aws, deployment)


@pytest.fixture(scope="module")
def front(stack: Stack, deployed: Deployment) -> Api:
    return serving(stack, deployed)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    # `make test` says at its end what was not checked.
    reasons = {report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", [])}
    BUILD.mkdir(exist_ok=True)
    with (BUILD / "skipped").open("a") as skipped:
        skipped.writelines(f"SKIPPED e2e: {reason}\n" for reason in sorted(reasons))
    if terminalreporter.stats.get("failed") or terminalreporter.stats.get("error"):
        for stack in _stacks:
            terminalreporter.write_line(stack.tails())
