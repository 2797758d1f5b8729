"""What do the sample grants, and every part of the model, really open and close?"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import seed
import yaml
from api import Answer, Api, event
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from jsonschema import Draft202012Validator
from paths import ROOT
from seed import HOME, PAYROLL, REPORTS, RESULTS, SHOP, Key
from signin import claims_of
from stack import Stack

Token = Callable[..., str]

GRANTS = ROOT / "grants"
SCHEMA = json.loads((GRANTS / "grant.schema.json").read_text())
OBJECTS_OF_SHOP = f"arn:aws:s3:::{SHOP}/*"


def refusal(call: Callable[..., object], **parameters: object) -> str:
    with pytest.raises(ClientError) as refused:
        call(**parameters)
    return refused.value.response["Error"]["Code"]


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(action: Any, resource: Any, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource} | more


@contextmanager
def granted(stack: Stack, principal: str, grant: str, **attributes: Any) -> Iterator[None]:
    seed.put_item(stack.aws, principal, grant, attributes, stack.table)
    try:
        yield
    finally:
        seed.delete_item(stack.aws, principal, grant, stack.table)


def s3_of(stack: Stack, answer: Answer) -> BaseClient:
    assert answer.status == 200, answer
    return stack.aws.client("s3", Key.of(answer.body))


def ask_from(api: Api, address: str, token: str, grant: str) -> Answer:
    """As the gateway passes on a request that came from `address`."""
    made = event(raw_query=f"grant={grant}", headers={"authorization": f"Bearer {token}"})
    made["requestContext"]["http"]["sourceIp"] = address
    return api.invoke(json.dumps(made).encode())


# The samples


def test_two_people_with_one_template_reach_only_their_own_prefix(stack: Stack, api: Api, token: Token) -> None:
    people = {who: s3_of(stack, api.ask(token=token(who), query={"grant": "home"})) for who in ("carol", "dave")}
    for who, s3 in people.items():
        s3.put_object(Bucket=HOME, Key=f"{who}/notes.txt", Body=who.encode())
        assert s3.get_object(Bucket=HOME, Key=f"{who}/notes.txt")["Body"].read() == who.encode()
    for who, other in (("carol", "dave"), ("dave", "carol")):
        s3 = people[who]
        assert refusal(s3.get_object, Bucket=HOME, Key=f"{other}/notes.txt") == "AccessDenied"
        assert refusal(s3.put_object, Bucket=HOME, Key=f"{other}/notes.txt", Body=b"") == "AccessDenied"
        assert refusal(s3.put_object, Bucket=HOME, Key=f"{who}2/notes.txt", Body=b"") == "AccessDenied"


def test_analysts_write_their_results_under_their_own_name_alone(stack: Stack, api: Api, token: Token) -> None:
    answer = api.ask(token=token("carol"), query={"grant": "athena"})
    s3, name = s3_of(stack, answer), answer.body["FederatedUser"]["Arn"].rpartition("/")[2]
    s3.put_object(Bucket=RESULTS, Key=f"{name}/1.csv", Body=b"")
    assert refusal(s3.put_object, Bucket=RESULTS, Key=f"{name}2/1.csv", Body=b"") == "AccessDenied"
    assert refusal(s3.put_object, Bucket=REPORTS, Key="x", Body=b"") == "AccessDenied"


def test_a_tag_of_the_session_opens_what_is_shared_out_by_it(stack: Stack, api: Api, token: Token) -> None:
    s3 = s3_of(stack, api.ask(token=token("erin"), query={"grant": "deploy"}))
    s3.put_object(Bucket=SHOP, Key="logo.svg", Body=b"<svg/>")
    # frank is a deployer too, of another department, and signed in without the second factor: told, then let in.
    refused = api.ask(token=token("frank"), query={"grant": "deploy"})
    assert (refused.status, refused.code) == (401, "insufficient_user_authentication")
    assert 'acr_values="mfa", max_age="900"' in refused.headers["www-authenticate"]
    assert (refused.body["amr_values"], refused.body["max_age"]) == (["mfa"], 900)
    deploy = next(yaml.safe_load_all((GRANTS / "deployers.yaml").read_text()))
    attributes = {name: deploy[name] for name in ("tags", "policy")}
    with granted(stack, "corp/user/frank", "research", **attributes):
        s3 = s3_of(stack, api.ask(token=token("frank"), query={"grant": "research"}))
    assert refusal(s3.put_object, Bucket=SHOP, Key="logo.svg", Body=b"") == "AccessDenied"


def test_a_grant_is_over_when_its_time_is(stack: Stack, api: Api, token: Token) -> None:
    break_glass = yaml.safe_load((GRANTS / "break-glass.yaml").read_text())
    attributes = {name: value for name, value in break_glass.items() if name not in ("grant", "principals")}
    now = int(time.time())
    with granted(stack, "corp/user/erin", "glass", **attributes | {"not_before": now - 60, "not_after": now + 1_200}):
        answer = ask_from(api, "127.0.0.1", token("erin"), "glass")
        s3_of(stack, answer).list_objects_v2(Bucket=PAYROLL)
    for over in ({"not_before": now + 60, "not_after": now + 7_200}, {"not_before": 0, "not_after": now + 600}):
        with granted(stack, "corp/user/erin", "glass", **attributes | over):
            assert api.ask(token=token("erin"), query={"grant": "glass"}).code == "access_denied"


def test_a_pinned_session_is_refused_from_another_address(stack: Stack, api: Api, token: Token) -> None:
    # Everything here comes from 127.0.0.1, so a session that is pinned elsewhere opens nothing.
    reports = policy(allow("s3:ListBucket", f"arn:aws:s3:::{REPORTS}"))
    with granted(stack, "corp/user/carol", "pinned", policy=reports, pin_source_ip=True):
        here = s3_of(stack, ask_from(api, "127.0.0.1", token("carol"), "pinned"))
        elsewhere = s3_of(stack, ask_from(api, "192.0.2.7", token("carol"), "pinned"))
    assert here.list_objects_v2(Bucket=REPORTS)["KeyCount"] == 1
    assert refusal(elsewhere.list_objects_v2, Bucket=REPORTS) == "AccessDenied"


# The model


def test_a_deny_in_one_item_holds_against_an_allow_in_another(stack: Stack, api: Api, token: Token) -> None:
    everything = policy(allow(["s3:PutObject", "s3:DeleteObject"], OBJECTS_OF_SHOP))
    never = policy({"Effect": "Deny", "Action": "s3:DeleteObject", "Resource": "*"})
    with (
        granted(stack, "corp/group/deployers", "assets", policy=everything),
        granted(stack, "corp/everyone", "assets", policy=never),
    ):
        s3 = s3_of(stack, api.ask(token=token("erin"), query={"grant": "assets"}))
    s3.put_object(Bucket=SHOP, Key="kept.svg", Body=b"")
    assert refusal(s3.delete_object, Bucket=SHOP, Key="kept.svg") == "AccessDenied"


def test_a_blocked_person_is_refused_at_once_and_others_are_not(stack: Stack, api: Api, token: Token) -> None:
    assert api.ask(token=token("carol")).status == 200
    with granted(stack, "blocked#corp/user/carol", "#blocked"):
        assert api.ask(token=token("carol")).code == "access_denied"
        assert api.ask(path="/v1/grants", token=token("carol")).code == "access_denied"
        assert api.ask(token=token("erin")).status == 200
    assert api.ask(token=token("carol")).status == 200


def test_a_caller_is_told_what_there_is_to_ask_for(api: Api, token: Token) -> None:
    told = {grant["name"]: grant for grant in api.ask(path="/v1/grants", token=token("frank")).body["grants"]}
    assert sorted(told) == ["athena", "badge", "default", "deploy", "home"]
    assert told["default"] == {
        "name": "default",
        "description": "Reading the reports",
        "max_duration": 7200,
        "requires": {},
    }
    assert told["deploy"]["requires"] == {"acr_values": ["mfa"], "amr_values": ["mfa"]}, (
        "the sign-in is fresh, and has one factor"
    )
    assert sorted(grant["name"] for grant in api.ask(path="/v1/grants", token=token("dave")).body["grants"]) == [
        "badge",
        "home",
    ]


def test_a_grant_that_needs_a_claim_that_is_not_there_is_unusable(stack: Stack, api: Api, token: Token) -> None:
    missing = policy(allow("s3:GetObject", f"arn:aws:s3:::{SHOP}/${{jwt:/cost_centre}}/*"))
    with granted(stack, "corp/user/carol", "missing", policy=missing):
        answer = api.ask(token=token("carol"), query={"grant": "missing"})
    assert (answer.status, answer.code) == (500, "grant_unusable")
    assert "`/cost_centre`" in stack.outcomes()[-1]["detail"]


# Names and single use: the same function on other terms.


class Elsewhere(Api):
    """The API of another function of the stack."""

    def __init__(self, stack: Stack, url: str):
        super().__init__(stack)
        self.url = url


@pytest.fixture(scope="module")
def named(stack: Stack) -> Elsewhere:
    return Elsewhere(stack, stack.function("named", {"name_claim": "/email"}))


@pytest.fixture(scope="module")
def first(stack: Stack) -> Elsewhere:
    return Elsewhere(stack, stack.function("first", {"name_claim": "/sub", "name_owners": "first_use"}))


@pytest.fixture(scope="module")
def once(stack: Stack) -> Elsewhere:
    return Elsewhere(stack, stack.function("once", {"single_use": True}))


def _name(answer: Answer) -> str:
    assert answer.status == 200, answer
    return answer.body["FederatedUser"]["Arn"].rpartition("/")[2]


def test_a_registered_name_is_its_owners_alone(stack: Stack, named: Api, token: Token) -> None:
    assert named.ask(token=token("carol")).code == "access_denied", "nobody has registered it"
    seed.register_name(stack.aws, "carol@example.com", "corp/user/carol", stack.state)
    seed.register_name(stack.aws, "erin@example.com", "corp/user/carol", stack.state)
    assert _name(named.ask(token=token("carol"))) == "carol@example.com"
    assert named.ask(token=token("erin")).code == "access_denied"


def test_a_name_is_taken_by_its_first_use(stack: Stack, first: Api, token: Token) -> None:
    seed.register_name(stack.aws, "erin", "corp/user/mallory", stack.state)
    assert _name(first.ask(token=token("carol"))) == "carol"
    owner = stack.aws.client("dynamodb").get_item(TableName=stack.state, Key={"id": {"S": "name#carol"}})["Item"]
    assert owner["owner"] == {"S": "corp/user/carol"}
    assert "expires_at" not in owner
    assert _name(first.ask(token=token("carol"))) == "carol", "and stays the owner's"
    assert first.ask(token=token("erin")).code == "access_denied"


def test_a_token_that_serves_once_serves_once(stack: Stack, once: Api, token: Token) -> None:
    carols = token("carol", "hallpass-es256")
    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(lambda _: once.ask(token=carols), range(4)))
    assert sorted(answer.status for answer in answers) == [200, 401, 401, 401]
    refused = next(answer for answer in answers if answer.status == 401)
    assert (refused.code, "once" in refused.body["message"]) == ("invalid_token", True)
    spent = [
        item
        for item in stack.aws.client("dynamodb").scan(TableName=stack.state)["Items"]
        if item["id"]["S"].startswith("jti#corp#")
    ]
    assert [int(item["expires_at"]["N"]) for item in spent] == [claims_of(carols)["exp"] + 30]


# The files


def _documents() -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{path.name} {number}", document)
        for path in sorted(GRANTS.glob("*.yaml"))
        for number, document in enumerate(yaml.safe_load_all(path.read_text()))
    ]


def test_the_schema_is_one_and_every_sample_names_and_keeps_to_it() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    for name, document in _documents():
        assert list(Draft202012Validator(SCHEMA).iter_errors(document)) == [], name
    for path in GRANTS.glob("*.yaml"):
        assert path.read_text().startswith("# yaml-language-server: $schema=grant.schema.json\n"), path
    assert len(_documents()) >= 6


@pytest.mark.parametrize(
    "mistake",
    [
        {"grant": "Deploy"},
        {"grant": "#blocked"},
        {"principals": []},
        {"principals": ["carol"]},
        {"principals": ["corp/group/"]},
        {"principals": ["corp/everyone/x"]},
        {"max_duration": 899},
        {"duration": "3600"},
        {"colour": "red"},
        {"tags": {"aws:x": "y"}},
        {"tags": {"team": 7}},
        {"require": {"amr": []}},
        {"require": {"amr": ["has space"]}},
        {"require": {"claims": {"department": ["x"]}}},
        {"require": {"max-age": 9}},
        {"policy_arns": ["ReadOnlyAccess"]},
        {"pin_source_ip": "yes"},
        {"policy": {"Version": "2012-10-17"}},
        {"policy": policy()},
        {"policy": policy(allow("s3:*", "*") | {"Principal": "*"})},
        {"policy": policy(allow("s3:*", "*") | {"NotAction": "s3:*"})},
        {"policy": policy({"Effect": "Allow", "Action": "s3:*"})},
        {"policy": policy(allow("GetObject", "*"))},
        {"policy": policy(allow("s3:*", "acme-shop"))},
        {"policy": policy(allow("s3:*", "arn:aws:s*:::acme-shop"))},
        {"policy": policy(allow("s3:*", "arn:aws-foo:s3:::acme-shop"))},
        {"policy": policy(allow("s3:*", "arn:aws:s3:::${self:custom.bucket}"))},
        {"policy": policy(allow("s3:*", "arn:aws:s3:::acme-home/$${jwt:/sub}"))},
        {"policy": policy(allow("s3:*", "*", Condition={"StringEquals": {"a": "{{resolve:ssm:/a}}"}}))},
        {"policy": policy(allow("s3:*", "*", Condition={"StringEquals": {"aws:PrincipalTag/&{a}": "b"}}))},
        {"policy_arns": ["arn:aws-foo:iam::aws:policy/ReadOnlyAccess"]},
        {"tags": {"team": "${opt:team}"}},
        {"policy": policy(allow("s3:*", "*", Condition={"StringIs": {"a": "b"}}))},
        {"policy": policy(allow("s3:*", "*", Condition={"StringEquals": {}}))},
    ],
    ids=json.dumps,
)
def test_the_schema_finds_a_mistake_and_so_does_the_function(
    stack: Stack, api: Api, token: Token, mistake: dict[str, Any]
) -> None:
    document = {"grant": "x", "principals": ["corp/user/carol"], "policy": policy(allow("s3:GetObject", "*"))} | mistake
    assert list(Draft202012Validator(SCHEMA).iter_errors(document))
    attributes = {name: value for name, value in document.items() if name not in ("grant", "principals")}
    if {"grant", "principals"} & mistake.keys():
        return  # what no request can name
    with granted(stack, "corp/user/carol", "mistake", **attributes):
        assert api.ask(token=token("carol"), query={"grant": "mistake"}).code == "grant_unusable"


def test_each_sample_is_explained_where_users_read() -> None:
    page = (Path(ROOT) / "docs/grants.md").read_text()
    for path in GRANTS.glob("*.yaml"):
        assert f"](../grants/{path.name})" in page, path.name
