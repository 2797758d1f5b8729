"""Does one URL lead to credentials? From the metadata to the provider, and with its token back, as a client does it that
knows nothing else. And does the local provider have what providers have?
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

import pytest
import seed
from api import Api
from paths import ROOT
from signin import Browser, claims_of, discovery_of, tokens_of
from stack import LOOPBACK, Stack

METADATA = "/.well-known/oauth-protected-resource"
NO_TOKEN = "garbage"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"

Json = dict[str, Any]


@pytest.fixture(scope="module")
def metadata(api: Api) -> Json:
    answer = api.ask(path=METADATA)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "*")
    return answer.body


@pytest.fixture(scope="module")
def cli(metadata: Json) -> Json:
    (client,) = metadata["hallpass_clients"]["cli"]
    return client


@pytest.fixture(scope="module")
def portal(metadata: Json) -> Json:
    (client,) = metadata["hallpass_clients"]["browser"]
    return client


def parameters(client: Json, **more: str) -> dict[str, str]:
    """Of the authorization request, as the metadata says."""
    return {"client_id": client["client_id"], "scope": client["scope"]} | client["parameters"] | more


def sign_in(client: Json, browser: Browser, redirect_uri: str = "", **more: str) -> Json:
    tokens = tokens_of(client["issuer"], browser, parameters(client, **more), redirect_uri or client["redirect_uri"])
    return {"token": tokens[client["token"]]} | tokens


def post(url: str, form: dict[str, str], origin: str | None = None) -> tuple[int, str | None, Json]:
    """The status, the origin that may read the answer, and the answer."""
    request = Request(url, urlencode(form).encode(), headers={"Origin": origin} if origin else {})
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=10) as answer:
            return answer.status, answer.headers["Access-Control-Allow-Origin"], json.loads(answer.read() or "{}")
    except HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.headers["Access-Control-Allow-Origin"], json.load(refusal)


def refreshed(client: Json, token: str, origin: str | None = None) -> tuple[int, str | None, Json]:
    form = {"grant_type": "refresh_token", "client_id": client["client_id"], "refresh_token": token}
    return post(discovery_of(client["issuer"])["token_endpoint"], form, origin)


def preflight(url: str, origin: str) -> tuple[int, str | None]:
    """The status, and the origin that may ask with a signature."""
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization,x-amz-content-sha256,x-amz-date,x-amz-security-token",
    }
    try:
        with build_opener(ProxyHandler({})).open(Request(url, method="OPTIONS", headers=headers), timeout=10) as answer:
            return answer.status, answer.headers["Access-Control-Allow-Origin"]
    except HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.headers["Access-Control-Allow-Origin"]


def client_of(stack: Stack) -> Json:
    """The client for an application of one's own."""
    return stack.application()


##### What the function says of itself


def test_the_url_is_all_that_a_client_has_to_know(stack: Stack, api: Api, metadata: Json, cli: Json) -> None:
    assert metadata["resource"] == stack.url
    assert metadata["authorization_servers"] == [stack.issuer]
    for client in metadata["hallpass_clients"]["cli"] + metadata["hallpass_clients"]["browser"]:
        assert (client["issuer_id"], client["issuer"]) == ("corp", stack.issuer)
    answer = api.ask(token=sign_in(cli, Browser("carol"))["token"])
    assert (answer.status, answer.body["Grant"]) == (200, "default")


def test_each_challenge_leads_to_the_metadata(stack: Stack, api: Api, metadata: Json, cli: Json) -> None:
    frank = sign_in(cli, Browser("frank"))["token"]
    asked = [
        api.ask(),
        api.ask(token=NO_TOKEN),
        api.ask(path="/v1/grants"),
        api.ask(token=frank, query={"grant": "deploy"}),
    ]
    for answer in asked:
        assert answer.status == 401
        url = answer.headers["www-authenticate"].split('resource_metadata="')[1].removesuffix('"')
        assert url.startswith(stack.url)
        assert api.ask(path=url.removeprefix(stack.url)).body == metadata


def test_the_metadata_asks_nothing_of_anybody(api: Api, metadata: Json) -> None:
    assert api.ask(path=METADATA, token=NO_TOKEN, query={"grant": "x"}).body == metadata
    assert api.ask(path=METADATA, headers={"X-Forwarded-Host": "evil.example"}).body == metadata
    head = api.ask("HEAD", METADATA)
    assert (head.status, head.body) == (200, None)
    assert api.ask("POST", METADATA, body={}).code == "method_not_allowed"
    assert api.ask(path=f"{METADATA}/x").code == "not_found"


##### What the local provider can do


def test_a_refresh_token_rotates_and_is_spent_once(api: Api, cli: Json) -> None:
    first = sign_in(cli, Browser("carol"))["refresh_token"]
    status, _, tokens = refreshed(cli, first)
    assert (status, api.ask(token=tokens["access_token"]).status) == (200, 200)
    assert tokens["refresh_token"] != first
    assert refreshed(cli, first)[2]["error"] == "invalid_grant"
    # Somebody else may have spent it: all that came of it is over.
    assert refreshed(cli, tokens["refresh_token"])[2]["error"] == "invalid_grant"


def test_without_offline_access_there_is_no_refresh_token(cli: Json) -> None:
    assert "refresh_token" not in sign_in(cli, Browser("carol"), scope="openid")


def test_a_refresh_token_can_be_revoked(cli: Json) -> None:
    token = sign_in(cli, Browser("carol"))["refresh_token"]
    form = {"client_id": cli["client_id"], "token": token}
    assert post(discovery_of(cli["issuer"])["revocation_endpoint"], form)[0] == 200
    assert refreshed(cli, token)[2]["error"] == "invalid_grant"


@pytest.mark.parametrize("host", [LOOPBACK, "localhost", "[::1]"])
def test_the_command_line_may_listen_on_any_port(cli: Json, host: str) -> None:
    sign_in(cli, Browser("carol"), f"http://{host}:47011/callback")
    for elsewhere in (f"http://{host}:47011/other", f"https://{host}:47011/callback", "http://evil.example/callback"):
        with pytest.raises(RuntimeError, match="400"):
            sign_in(cli, Browser("carol"), elsewhere)


def test_a_device_is_signed_in_by_a_browser_elsewhere(api: Api, cli: Json) -> None:
    discovery = discovery_of(cli["issuer"])
    status, _, device = post(discovery["device_authorization_endpoint"], parameters(cli))
    assert status == 200
    poll = {"grant_type": DEVICE, "client_id": cli["client_id"], "device_code": device["device_code"]}
    assert post(discovery["token_endpoint"], poll)[2]["error"] == "authorization_pending"
    assert "signed in" in Browser("erin").visit(device["verification_uri_complete"])
    status, _, tokens = post(discovery["token_endpoint"], poll)
    assert (status, "refresh_token" in tokens) == (200, True)
    assert api.ask(token=tokens["access_token"], query={"grant": "deploy"}).status == 200


def test_a_second_factor_is_used_when_the_challenge_asks_for_it(api: Api, cli: Json) -> None:
    tokens = sign_in(cli, Browser("frank"))
    refused = api.ask(token=tokens["token"], query={"grant": "deploy"})
    assert refused.code == "insufficient_user_authentication"
    asked = {"acr_values": " ".join(refused.body["acr_values"]), "max_age": str(refused.body["max_age"])}
    assert asked == {"acr_values": "mfa", "max_age": "900"}
    stronger = sign_in(cli, Browser("frank", factor=True), **asked)
    claims = claims_of(stronger["token"])
    assert (claims["acr"], claims["amr"]) == ("mfa", ["pwd", "mfa"])
    assert api.ask(token=stronger["token"], query={"grant": "deploy"}).status == 200
    # A refresh keeps what the sign-in was.
    renewed = refreshed(cli, stronger["refresh_token"])[2]["access_token"]
    assert claims_of(renewed)["auth_time"] == claims["auth_time"]
    assert api.ask(token=renewed, query={"grant": "deploy"}).status == 200
    with pytest.raises(RuntimeError, match="did not end"):
        sign_in(cli, Browser("frank"), **asked)


def test_the_page_of_the_function_signs_in_and_nothing_else_does_in_its_name(
    stack: Stack, api: Api, portal: Json
) -> None:
    tokens = sign_in(portal, Browser("carol"), f"{stack.url}/")
    assert api.ask(token=tokens["token"]).status == 200
    for elsewhere in (f"{seed.ORIGINS[0]}/", f"{stack.url}/callback", "http://127.0.0.1:1/"):
        with pytest.raises(RuntimeError, match="400"):
            sign_in(portal, Browser("carol"), elsewhere)


@pytest.mark.parametrize("origin", seed.ORIGINS)
def test_redirect_origin_and_buckets_fit_together_for_an_application(stack: Stack, api: Api, origin: str) -> None:
    app = client_of(stack)
    for path in ("/", "/callback"):
        tokens = sign_in(app, Browser("carol"), origin + path)
    answer = api.ask(token=tokens["token"], headers={"Origin": origin})
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, origin)
    assert preflight(f"{stack.aws.endpoint}/{seed.REPORTS}?list-type=2", origin) == (200, origin)
    assert refreshed(app, tokens["refresh_token"], origin)[:2] == (200, origin)
    for elsewhere in (f"{origin}/other", f"{origin.replace('localhost', LOOPBACK)}/", f"{stack.url}/"):
        with pytest.raises(RuntimeError, match="400"):
            sign_in(app, Browser("carol"), elsewhere)


def test_pages_of_other_origins_get_nothing(stack: Stack, portal: Json) -> None:
    app = client_of(stack)
    evil = "https://evil.example"
    token = sign_in(app, Browser("carol"), f"{seed.ORIGINS[0]}/")["refresh_token"]
    # Neither client speaks for the pages of the other, and the command line is no page.
    assert refreshed(app, token, evil)[:2] == (400, None)
    assert refreshed(app, token, stack.url)[:2] == (400, None)
    assert refreshed(portal, token, seed.ORIGINS[0])[:2] == (400, None)
    assert refreshed({**app, "client_id": "hallpass-cli"}, token, seed.ORIGINS[0])[:2] == (400, None)
    # Nobody spent it on the way.
    assert refreshed(app, token, seed.ORIGINS[0])[0] == 200
    for bucket in (seed.REPORTS, seed.SHOP):
        assert preflight(f"{stack.aws.endpoint}/{bucket}?list-type=2", evil) == (403, None)


def test_a_page_s_refresh_token_rotates_and_is_spent_once(stack: Stack, api: Api) -> None:
    app, origin = client_of(stack), seed.ORIGINS[0]
    first = sign_in(app, Browser("carol"), f"{origin}/")["refresh_token"]
    tokens = refreshed(app, first, origin)[2]
    assert api.ask(token=tokens["access_token"]).status == 200
    assert refreshed(app, first, origin)[2]["error"] == "invalid_grant"
    assert refreshed(app, tokens["refresh_token"], origin)[2]["error"] == "invalid_grant"


def test_an_application_steps_up(stack: Stack, api: Api) -> None:
    app, redirect = client_of(stack), f"{seed.ORIGINS[0]}/"
    refused = api.ask(token=sign_in(app, Browser("frank"), redirect)["token"], query={"grant": "deploy"})
    asked = {"acr_values": " ".join(refused.body["acr_values"]), "max_age": str(refused.body["max_age"])}
    stronger = sign_in(app, Browser("frank", factor=True), redirect, **asked)
    assert api.ask(token=stronger["token"], query={"grant": "deploy"}).status == 200


def test_without_a_question_a_sign_in_is_repeated_or_refused(stack: Stack, api: Api) -> None:
    app, redirect = client_of(stack), f"{seed.ORIGINS[0]}/"
    quiet = {"prompt": "none", "scope": "openid credentials groups"}
    browser = Browser("carol")
    with pytest.raises(RuntimeError, match="login_required"):
        sign_in(app, browser, redirect, **quiet)
    first = claims_of(sign_in(app, browser, redirect)["token"])
    again = sign_in(app, browser, redirect, **quiet)
    assert api.ask(token=again["token"]).status == 200
    assert claims_of(again["token"])["auth_time"] == first["auth_time"]
    # What the sign-in lacks cannot be had without a question.
    for stronger in ({"acr_values": "mfa"}, {"max_age": "0"}):
        with pytest.raises(RuntimeError, match="login_required"):
            sign_in(app, browser, redirect, **quiet, **stronger)
    # prompt=login asks again, although the person is signed in.
    seen: list[str] = []
    browser = Browser("carol", narrate=seen.append)
    sign_in(app, browser, redirect)
    seen.clear()
    sign_in(app, browser, redirect, prompt="login")
    assert any("login page" in line for line in seen)


def test_a_script_can_be_the_browser(cli: Json) -> None:
    """What tests give to a client as `BROWSER`: it ends at the client's own listener."""
    seen: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            pass

    server = HTTPServer((LOOPBACK, 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        asked = parameters(cli, response_type="code", state="s", code_challenge="x" * 43, code_challenge_method="S256")
        asked["redirect_uri"] = f"http://{LOOPBACK}:{server.server_port}/callback"
        url = f"{discovery_of(cli['issuer'])['authorization_endpoint']}?{urlencode(asked)}"
        command = [sys.executable, str(ROOT / "dev/signin.py"), "browse", "carol", url]
        subprocess.run(command, check=True, timeout=60)
    finally:
        server.shutdown()
        server.server_close()
    (path,) = seen
    query = parse_qs(urlsplit(path).query)
    assert urlsplit(path).path == "/callback"
    assert (query["state"], query["iss"]) == (["s"], [cli["issuer"]])
    assert query["code"]
