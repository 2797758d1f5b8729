"""What does a client see? The answers of the interface, on the real parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import seed
from api import Answer, Api
from signin import Tokens, header_of
from stack import Stack

Token = Callable[..., str]


def expiry(answer: Answer) -> datetime:
    return datetime.strptime(answer.body["Expiration"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)


def lasts(answer: Answer, seconds: int) -> bool:
    return abs(expiry(answer) - datetime.now(timezone.utc) - timedelta(seconds=seconds)) < timedelta(seconds=10)


def test_the_body_serves_every_consumer(api: Api, token: Token) -> None:
    answer = api.ask(token=token("carol"))
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    body = answer.body
    assert body.keys() == {
        *("Version", "AccessKeyId", "SecretAccessKey", "SessionToken", "Token", "Expiration"),
        *("AccountId", "FederatedUser", "Grant", "PackedPolicySize"),
    }
    assert (body["Version"], body["AccountId"], body["Grant"]) == (1, seed.ACCOUNT, "default")
    assert body["Token"] == body["SessionToken"]
    assert body["FederatedUser"]["Arn"].startswith(f"arn:aws:sts::{seed.ACCOUNT}:federated-user/carol-")
    assert lasts(answer, 3600)


def test_a_name_is_the_same_every_time_and_another_for_everyone_else(api: Api, token: Token) -> None:
    arns = [api.ask(token=token(who)).body["FederatedUser"]["Arn"] for who in ("carol", "carol", "frank")]
    assert arns[0] == arns[1] != arns[2]


@pytest.mark.parametrize(
    "request_of",
    [{"query": {"duration": 1200}}, {"method": "POST", "body": {"duration": 1200}}, {"method": "POST", "body": {}}],
    ids=["GET with a query", "POST with a body", "POST with an empty body"],
)
def test_get_and_post_give_credentials(api: Api, token: Token, request_of: dict[str, Any]) -> None:
    answer = api.ask(token=token("carol"), **request_of)
    assert answer.status == 200, answer
    asked = (request_of.get("query") or request_of["body"]).get("duration", 3600)
    assert lasts(answer, asked)


def test_a_grant_is_asked_for_by_name(api: Api, token: Token) -> None:
    for request_of in ({"query": {"grant": "payroll"}}, {"method": "POST", "body": {"grant": "payroll"}}):
        answer = api.ask(token=token("erin"), **request_of)
        assert answer.body["Grant"] == "payroll"
        assert lasts(answer, 1_800), "the grant's own default"


def test_a_grant_in_the_path_is_asked_for_by_name(api: Api, token: Token) -> None:
    path = "/v1/credentials/payroll"
    for request_of in ({}, {"query": {"grant": "payroll"}}, {"method": "POST", "body": {"grant": "payroll"}}):
        answer = api.ask(path=path, token=token("erin"), **request_of)
        assert answer.body["Grant"] == "payroll"
    for request_of in ({"query": {"grant": "default"}}, {"method": "POST", "body": {"grant": "default"}}):
        answer = api.ask(path=path, token=token("erin"), **request_of)
        assert (answer.status, answer.code) == (400, "invalid_request")
    answer = api.ask(path=path, token=token("carol"))
    assert (answer.status, answer.code) == (403, "access_denied")
    assert (answer.body["Code"], answer.body["Message"]) == (answer.code, answer.body["message"])


def test_health_can_be_asked_for_without_its_body(api: Api) -> None:
    answer = api.ask("HEAD", path="/v1/health")
    assert (answer.status, answer.body) == (200, None)


def test_health_needs_no_token(api: Api) -> None:
    answer = api.ask(path="/v1/health")
    assert answer.status == 200
    assert answer.body["version"]
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("client", "algorithm"), [("hallpass", "RS256"), ("hallpass-es256", "ES256"), ("hallpass-eddsa", "EdDSA")]
)
def test_access_tokens_of_each_algorithm_are_accepted(
    api: Api, signed_in: Callable[..., Tokens], client: str, algorithm: str
) -> None:
    access_token = signed_in("carol", client).access_token
    assert header_of(access_token)["alg"] == algorithm
    assert header_of(access_token)["typ"] == "at+jwt"
    assert api.ask(token=access_token).status == 200


def test_an_id_token_for_our_audience_is_accepted(api: Api, signed_in: Callable[..., Tokens]) -> None:
    assert api.ask(token=signed_in("carol").id_token).status == 200


def test_an_id_token_for_another_audience_is_refused(api: Api, signed_in: Callable[..., Tokens]) -> None:
    answer = api.ask(token=signed_in("carol", "hallpass-es256").id_token)
    assert (answer.status, answer.code) == (401, "invalid_token")


def test_a_bare_token_is_accepted(api: Api, token: Token) -> None:
    assert api.ask(headers={"Authorization": token("carol")}).status == 200


def test_no_token_is_token_missing(api: Api) -> None:
    for headers in ({}, {"Authorization": "Basic Y2Fyb2w6c2VjcmV0"}):
        answer = api.ask(headers=headers)
        assert (answer.status, answer.code) == (401, "token_missing")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert "error" not in answer.headers["www-authenticate"]
        assert answer.headers["cache-control"] == "no-store"


def _with_another_signature(token: str) -> str:
    head, body, signature = token.split(".")
    return f"{head}.{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"


def test_an_unacceptable_token_is_invalid_token(api: Api, token: Token) -> None:
    carols = token("carol")
    for bad in ("garbage", "a.b.c", carols[:-3], _with_another_signature(carols), f"{carols}.", "x" * 10_001):
        answer = api.ask(token=bad)
        assert (answer.status, answer.code) == (401, "invalid_token")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        assert bad not in str(answer.body)


def test_the_token_comes_in_its_header_only(api: Api, token: Token) -> None:
    carols = token("carol")
    answer = api.ask(headers={"Cookie": f"token={carols}"}, query={"access_token": carols})
    assert (answer.status, answer.code) == (401, "token_missing")


@pytest.mark.parametrize(("employee", "grant"), [("carol", "no-such-grant"), ("carol", "payroll"), ("dave", "default")])
def test_a_grant_that_is_not_there_for_this_person_is_access_denied(
    api: Api, token: Token, employee: str, grant: str
) -> None:
    answer = api.ask(token=token(employee), query={"grant": grant})
    assert (answer.status, answer.code) == (403, "access_denied")


@pytest.mark.parametrize(
    "request_of",
    [
        {"query": {"grant": "Not A Name"}},
        {"query": {"duration": 899}},
        {"query": {"duration": 129_601}},
        {"query": {"duration": 7201}},  # over the maximum of analysts.yaml
        {"query": {"duration": "1e3"}},
        {"query": {"colour": "red"}},
        {"method": "POST", "body": {"colour": "red"}},
        {"method": "POST", "body": [], "query": None},
        {"method": "POST", "body": {"grant": "default"}, "query": {"grant": "default"}},
        {"method": "GET", "body": {"grant": "default"}},
    ],
    ids=str,
)
def test_a_malformed_request_is_invalid_request(api: Api, token: Token, request_of: dict[str, Any]) -> None:
    answer = api.ask(token=token("carol"), **request_of)
    assert (answer.status, answer.code) == (400, "invalid_request")


def test_unknown_paths_and_methods_are_told_apart(api: Api, token: Token) -> None:
    answer = api.ask(token=token("carol"), path="/v1/nothing")
    assert (answer.status, answer.code) == (404, "not_found")
    answer = api.ask("PUT", token=token("carol"))
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert {"GET", "POST"} <= {method.strip() for method in answer.headers["allow"].split(",")}


@pytest.fixture
def frank_is_blocked(stack: Stack) -> Iterator[None]:
    seed.put_item(stack.aws, "blocked#corp/user/frank", "#blocked", {"description": "left the company"}, stack.table)
    yield
    seed.delete_item(stack.aws, "blocked#corp/user/frank", "#blocked", stack.table)


def test_a_blocked_person_is_refused_at_once_and_others_go_on(
    api: Api, token: Token, request: pytest.FixtureRequest
) -> None:
    assert api.ask(token=token("frank")).status == 200
    request.getfixturevalue("frank_is_blocked")
    for grant in ("default", "badge"):
        answer = api.ask(token=token("frank"), query={"grant": grant})
        assert (answer.status, answer.code) == (403, "access_denied")
    assert api.ask(token=token("carol")).status == 200


def test_an_unusable_item_is_never_thinned_out(stack: Stack, api: Api, token: Token) -> None:
    seed.put_item(stack.aws, "corp/user/frank", "default", {"not_an_attribute": True}, stack.table)
    try:
        answer = api.ask(token=token("frank"))
    finally:
        seed.delete_item(stack.aws, "corp/user/frank", "default", stack.table)
    assert (answer.status, answer.code) == (500, "grant_unusable")
    assert "not_an_attribute" not in str(answer.body), "what to mend is the operator's to read, in the log"
