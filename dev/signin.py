"""How does an employee sign in? By authorization code with PKCE, as a command-line client and a browser do it together.

This plays both parts over plain HTTP: the browser that follows redirects and fills in the forms of the development
provider, and the client that exchanges the code. `python dev/signin.py browse EMPLOYEE URL` is the browser alone, for a
client that opens one: `BROWSER='python dev/signin.py browse carol'`.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit
from urllib.request import HTTPCookieProcessor, HTTPRedirectHandler, ProxyHandler, Request, build_opener

REDIRECT_URI = "http://127.0.0.1/callback"
RESOURCE = "urn:hallpass"
TIMEOUT_S = 10
MAX_HOPS = 20  # a sign-in takes seven, one of a device eleven; a loop between two forms must not run for ever


@dataclass(frozen=True)
class Tokens:
    access_token: str
    id_token: str


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_args, **_kwargs):
        return None


@dataclass
class _Form(HTMLParser):
    """The first form of a page: where it goes, and what it sends if nobody changes it."""

    action: str | None = None
    fields: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "form" and self.action is None:
            self.action = attributes.get("action") or ""
        elif tag == "input" and attributes.get("name"):
            self.fields[attributes["name"]] = attributes.get("value") or ""


class Browser:
    """A browser in which one employee sits, who agrees to everything. With `factor` they use their second factor."""

    def __init__(self, employee: str, factor: bool = False, narrate: Callable[[str], None] = lambda _step: None):
        self._employee = employee
        self._factor = factor
        self._narrate = narrate
        # The proxies of the environment are not for loopback.
        self._opener = build_opener(ProxyHandler({}), HTTPCookieProcessor(CookieJar()), _NoRedirect())

    def visit(self, url: str, until: Callable[[str], bool] = lambda _url: False) -> str:
        """Follows redirects and fills in forms, to the page that asks for nothing more. Answers that page, or the first
        URL that `until` wants, which is then not opened."""
        form: dict[str, str] | None = None
        for _ in range(MAX_HOPS):
            location, page = self.open(url, form)
            form = None
            if location is not None:
                url = urljoin(url, location)
                if until(url):
                    return url
                continue
            found = _Form()
            found.feed(page)
            if found.action is None:
                return page
            url, form = urljoin(url, found.action), self._fill_in(found.fields)
        raise RuntimeError(f"the sign-in did not end within {MAX_HOPS} pages; the last was {url}")

    def _fill_in(self, fields: dict[str, str]) -> dict[str, str]:
        self._narrate(f"The browser answers the provider's {fields.get('prompt', 'device')} page.")
        factor = fields.pop("factor", None)
        if factor is not None and self._factor:
            fields["factor"] = "on"
        return fields | ({"login": self._employee} if "login" in fields else {})

    def open(self, url: str, form: dict[str, str] | None = None) -> tuple[str | None, str]:
        """Where the answer redirects to, if it does, and its body."""
        body = urlencode(form).encode() if form is not None else None
        try:
            with self._opener.open(Request(url, body), timeout=TIMEOUT_S) as response:
                return None, response.read().decode()
        except HTTPError as refusal:  # urllib calls a redirect that it does not follow an error
            with refusal:
                if refusal.code in (302, 303):
                    return refusal.headers["Location"], ""
                raise RuntimeError(f"{url} answered {refusal.code}: {refusal.read().decode()[:500]}") from None


def discovery_of(issuer: str) -> dict[str, Any]:
    return json.loads(Browser("").open(f"{issuer}/.well-known/openid-configuration")[1])


def sign_in(
    issuer: str, employee: str, client_id: str = "hallpass", narrate: Callable[[str], None] = lambda _step: None
) -> Tokens:
    """Signs `employee` in at `issuer`. Raises RuntimeError where the provider refuses."""
    parameters = {"client_id": client_id, "scope": "openid email groups credentials", "resource": RESOURCE}
    tokens = tokens_of(issuer, Browser(employee, narrate=narrate), parameters, narrate=narrate)
    return Tokens(access_token=tokens["access_token"], id_token=tokens["id_token"])


def tokens_of(
    issuer: str,
    browser: Browser,
    parameters: dict[str, str],
    redirect_uri: str = REDIRECT_URI,
    narrate: Callable[[str], None] = lambda _step: None,
) -> dict[str, Any]:
    """What the token endpoint answers after a sign-in with these parameters of the authorization request."""
    discovery = discovery_of(issuer)
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    state = secrets.token_urlsafe(16)
    asked = parameters | {
        "response_type": "code",
        "redirect_uri": redirect_uri,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "state": state,
    }
    narrate("The client sends the browser to the identity provider, with the hash of a secret that it keeps (PKCE).")
    url = f"{discovery['authorization_endpoint']}?{urlencode(asked)}"
    location = browser.visit(url, until=lambda url: url.startswith(f"{redirect_uri}?"))

    answer = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
    if "code" not in answer or answer.get("state") != state:
        raise RuntimeError(f"the provider refused the sign-in: {answer or location[:500]}")
    narrate("The provider sends the browser back with a code. The client exchanges code and secret for tokens.")
    exchange = {
        "grant_type": "authorization_code",
        "client_id": parameters["client_id"],
        "code": answer["code"],
        "code_verifier": verifier,
        "redirect_uri": redirect_uri,
    }
    exchange |= {"resource": parameters["resource"]} if "resource" in parameters else {}
    return json.loads(browser.open(discovery["token_endpoint"], exchange)[1])


def claims_of(token: str) -> dict:
    """What a token says, unverified: for showing, never for deciding."""
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def header_of(token: str) -> dict:
    head = token.split(".")[0]
    return json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))


def main() -> None:
    parser = argparse.ArgumentParser(description="An employee of the local stack signs in.")
    commands = parser.add_subparsers(required=True)
    browse = commands.add_parser("browse", help="open URL as a browser does, and sign EMPLOYEE in")
    browse.add_argument("--factor", action="store_true", help="use the second factor")
    browse.add_argument("employee")
    browse.add_argument("url")
    browse.set_defaults(run=lambda given: Browser(given.employee, given.factor).visit(given.url))
    token = commands.add_parser("token", help="print a token of ISSUER for EMPLOYEE")
    token.add_argument("issuer")
    token.add_argument("employee")
    # As the SDKs read it from AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: the scheme, the token, no newline.
    token.set_defaults(run=lambda given: print(f"Bearer {sign_in(given.issuer, given.employee).access_token}", end=""))
    given = parser.parse_args()
    given.run(given)


if __name__ == "__main__":
    main()
