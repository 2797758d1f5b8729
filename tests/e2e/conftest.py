"""One stack for the whole run; each test asks it over HTTP as a client would."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import pytest
from api import Api
from signin import Tokens, sign_in
from stack import Stack, end_cleanly_on_signals

_stacks: list[Stack] = []


def pytest_configure() -> None:
    end_cleanly_on_signals()


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    # Everything a log level could let out must stay in: test_function.py looks for secrets in what this run logged.
    with Stack("e2e", function_env={"RUST_LOG": "trace"}) as stack:
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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if terminalreporter.stats.get("failed") or terminalreporter.stats.get("error"):
        for stack in _stacks:
            terminalreporter.write_line(stack.tails())
