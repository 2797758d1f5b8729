"""Does each event that API Gateway can send get its answer? The events of `events/` are what `sam local invoke` takes,
too; `events/index.json` says for each what to expect, and whose token stands for TOKEN in it; in a header, URL is the function's own. What `needs` something has
it here, and not in a container of SAM's.

Also what only the running function can tell of the template: that the gateway asks for nothing that it does not know,
and answers browsers as it would.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from api import Api, event
from cfn import Template
from paths import ROOT
from seed import ORIGINS

EVENTS = ROOT / "events"
INDEX: dict[str, dict[str, Any]] = json.loads((EVENTS / "index.json").read_text())

# DESIGN's table of refusals, but for what no client can cause.
CAUSED_BY_CLIENTS = {
    *("token_missing", "invalid_token", "groups_unavailable", "insufficient_user_authentication", "invalid_request"),
    *("access_denied", "not_found", "method_not_allowed", "content_too_large", "unsupported_media_type"),
}


@pytest.mark.parametrize("name", INDEX)
def test_each_event_gets_its_answer(api: Api, token: Callable[..., str], name: str) -> None:
    expected = INDEX[name]
    text = (EVENTS / f"{name}.json").read_text()
    if "who" in expected:
        text = text.replace("TOKEN", token(expected["who"]))
    answer = api.invoke(text.encode())
    assert answer.status == expected["status"], answer
    assert "code" not in expected or answer.code == expected["code"]
    headers = {"cache-control": "no-store"} | expected.get("headers", {})
    for header, value in headers.items():
        assert answer.headers.get(header) == (value and value.replace("URL", api.url)), header


def test_each_event_is_one_of_the_gateway_and_in_the_index() -> None:
    assert sorted(INDEX) == sorted(path.stem for path in EVENTS.glob("*.json") if path.name != "index.json")
    for name, expected in INDEX.items():
        text = (EVENTS / f"{name}.json").read_text()
        optional = {"body", "cookies", "pathParameters"}
        assert json.loads(text).keys() - optional == event().keys(), name
        assert ("TOKEN" in text) == ("who" in expected), name
        assert ("code" in expected) == (expected["status"] >= 400), name


def test_each_refusal_that_a_client_can_cause_has_an_event() -> None:
    assert {expected["code"] for expected in INDEX.values() if "code" in expected} == CAUSED_BY_CLIENTS


def test_the_function_knows_each_route_of_the_gateway(api: Api) -> None:
    for method, path in Template.load().routes(AllowedOrigins="capacitor://localhost"):
        # The path of its own URL is empty here.
        asked = path.replace("{grant}", "default").replace("{file}", "portal.js").replace("/{path+}", "")
        answer = api.invoke(json.dumps(event(method, asked)).encode())
        assert answer.status in (200, 204, 401), f"{method} {path} without a token"


def test_the_gateway_answers_browsers_as_the_function_does(api: Api) -> None:
    gateway = Template.load().properties("Api", AllowedOrigins=ORIGINS[0])["CorsConfiguration"]
    origin = gateway.pop("AllowOrigins")
    assert origin == [ORIGINS[0]]
    preflight = {"origin": origin[0], "access-control-request-method": "GET"}
    asked = [api.invoke(json.dumps(event("OPTIONS", headers=preflight)).encode())]
    asked.append(api.invoke(json.dumps(event(headers={"origin": origin[0]})).encode()))
    answered = {name: value for answer in asked for name, value in answer.headers.items() if "access-control" in name}
    assert answered == {
        "access-control-allow-origin": origin[0],
        "access-control-allow-methods": ", ".join(gateway.pop("AllowMethods")),
        "access-control-allow-headers": ", ".join(gateway.pop("AllowHeaders")),
        "access-control-expose-headers": ", ".join(gateway.pop("ExposeHeaders")),
        "access-control-max-age": str(gateway.pop("MaxAge")),
    }
    assert gateway == {}, "no credentials mode"
    assert "CorsConfiguration" not in Template.load().properties("Api", AllowedOrigins="")
