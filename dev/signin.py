"""How does an employee sign in? By authorization code with PKCE, as a command-line client and a browser do it together.

This plays both parts over plain HTTP: the browser that follows redirects and fills in the two forms of the
development provider, and the client that exchanges the code.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from http.cookiejar import CookieJar
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit
from urllib.request import HTTPCookieProcessor, HTTPRedirectHandler, ProxyHandler, Request, build_opener

REDIRECT_URI = "http://127.0.0.1/callback"
RESOURCE = "urn:hallpass"
TIMEOUT_S = 10
MAX_HOPS = 12  # a sign-in takes seven; a loop between two forms must not run for ever


@dataclass(frozen=True)
class Tokens:
    access_token: str
    id_token: str


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_args, **_kwargs):
        return None


def sign_in(
    issuer: str, employee: str, client_id: str = "hallpass", narrate: Callable[[str], None] = lambda _step: None
) -> Tokens:
    """Signs `employee` in at `issuer`. Raises RuntimeError where the provider refuses."""
    # The proxies of the environment are not for loopback.
    browser = build_opener(ProxyHandler({}), HTTPCookieProcessor(CookieJar()), _NoRedirect())
    discovery = json.loads(_open(browser, f"{issuer}/.well-known/openid-configuration")[1])

    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    state = secrets.token_urlsafe(16)
    url = f"{discovery['authorization_endpoint']}?" + urlencode(
        {
            "client_id": client_id,
            "response_type": "code",
            "redirect_uri": REDIRECT_URI,
            "scope": "openid email groups credentials",
            "resource": RESOURCE,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "state": state,
        }
    )
    narrate("The client sends the browser to the identity provider, with the hash of a secret that it keeps (PKCE).")

    form: dict[str, str] | None = None
    for _ in range(MAX_HOPS):
        location, page = _open(browser, url, form)
        form = None
        if location is None:
            url, form = _fill_in(url, page, employee)
            narrate(f"The browser answers the provider's {form['prompt']} page.")
        elif location.startswith(REDIRECT_URI):
            break
        else:
            url = urljoin(url, location)
    else:
        raise RuntimeError(f"the sign-in did not end within {MAX_HOPS} pages; the last was {url}")

    answer = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
    if "code" not in answer or answer.get("state") != state:
        raise RuntimeError(f"the provider refused the sign-in: {answer}")
    narrate("The provider sends the browser back with a code. The client exchanges code and secret for tokens.")
    exchange = {
        "grant_type": "authorization_code",
        "client_id": client_id,
        "code": answer["code"],
        "code_verifier": verifier,
        "redirect_uri": REDIRECT_URI,
        "resource": RESOURCE,
    }
    tokens = json.loads(_open(browser, discovery["token_endpoint"], exchange)[1])
    return Tokens(access_token=tokens["access_token"], id_token=tokens["id_token"])


def claims_of(token: str) -> dict:
    """What a token says, unverified: for showing, never for deciding."""
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def header_of(token: str) -> dict:
    head = token.split(".")[0]
    return json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))


def _open(browser, url: str, form: dict[str, str] | None = None) -> tuple[str | None, str]:
    """Where the answer redirects to, if it does, and its body."""
    body = urlencode(form).encode() if form is not None else None
    try:
        with browser.open(Request(url, body), timeout=TIMEOUT_S) as response:
            return None, response.read().decode()
    except HTTPError as refusal:  # urllib calls a redirect that it does not follow an error
        with refusal:
            if refusal.code in (302, 303):
                return refusal.headers["Location"], ""
            raise RuntimeError(f"{url} answered {refusal.code}: {refusal.read().decode()[:500]}") from None


def _fill_in(url: str, page: str, employee: str) -> tuple[str, dict[str, str]]:
    action = re.search(r'<form[^>]* action="([^"]+)"', page)
    prompt = re.search(r'name="prompt" value="(login|consent)"', page)
    if action is None or prompt is None:
        raise RuntimeError(f"{url} is not a page of the sign-in: {page[:500]}")
    form = {"prompt": prompt[1]}
    if prompt[1] == "login":
        form |= {"login": employee, "password": "any"}  # the development provider asks for none
    return urljoin(url, html.unescape(action[1])), form


if __name__ == "__main__":
    import sys

    if len(sys.argv) != 3:
        sys.exit("usage: signin.py ISSUER EMPLOYEE")
    # As the SDKs read it from AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: the scheme, the token, no newline.
    print(f"Bearer {sign_in(sys.argv[1], sys.argv[2]).access_token}", end="")
