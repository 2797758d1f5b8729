"""Is an answer one that docs/openapi.yaml describes? Every answer that a test gets through api.py is compared with it."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any
from urllib.parse import quote

import yaml
from jsonschema import Draft202012Validator
from paths import ROOT
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

DOCUMENT = ROOT / "docs" / "openapi.yaml"
METHODS = ("get", "head", "options", "post", "put", "patch", "delete", "trace")

# What only the way to the function adds, and its refusals of what has no place in the document.
OF_THE_WAY = {"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding"}
ELSEWHERE = {"404": "NotFound", "405": "MethodNotAllowed", "400": "InvalidRequest"}


@cache
def document() -> dict[str, Any]:
    return yaml.safe_load(DOCUMENT.read_text())


def operations() -> dict[tuple[str, str], dict[str, Any]]:
    """By method and path."""
    return {
        (method.upper(), path): item[method]
        for path, item in document()["paths"].items()
        for method in METHODS
        if method in item
    }


def response(name: str) -> dict[str, Any]:
    return document()["components"]["responses"][name]


def named(operation: dict[str, Any]) -> dict[str, str]:
    """The names of an operation's responses, by status."""
    return {status: ref["$ref"].rsplit("/", 1)[1] for status, ref in operation["responses"].items()}


def operation_at(method: str, path: str) -> dict[str, Any] | None:
    """A path without placeholders wins."""
    for template in sorted(document()["paths"], key=lambda template: "{" in template):
        if re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template)), path):
            return document()["paths"][template].get(method.lower())
    return None


def check(method: str, path: str, status: int, headers: dict[str, str], body: str, *, raw: bool) -> None:
    """`raw` if nothing on the way added a header."""
    operation = operation_at(method, path)
    names = ELSEWHERE if operation is None else named(operation)
    assert str(status) in names, f"{method} {path}: status {status} is not documented"
    name = names[str(status)]
    what = f"{method} {path}: {status} {name}"
    _check_headers(what, response(name), headers if raw else {k: v for k, v in headers.items() if k not in OF_THE_WAY})
    content = response(name).get("content")
    if content is None:
        assert not body, what
    elif method != "HEAD":
        media_type = headers["content-type"]
        assert media_type in content, f"{what}: {media_type} is not documented"
        if media_type.endswith("json"):
            _check_value(what, json.loads(body), "responses", name, "content", media_type, "schema")


def _check_headers(what: str, described: dict[str, Any], headers: dict[str, str]) -> None:
    known = {header.lower(): ref["$ref"].rsplit("/", 1)[1] for header, ref in described["headers"].items()}
    for header, name in known.items():
        if header in headers:
            _check_value(f"{what}: {header}", headers[header], "headers", name, "schema")
        else:
            required = document()["components"]["headers"][name].get("required", False)
            assert not required, f"{what}: no header {header}"
    assert headers.keys() - known.keys() <= {"content-type"}, f"{what}: a header is not documented"


def _check_value(what: str, value: Any, *place: str) -> None:
    pointer = "/".join(quote(part.replace("~", "~0").replace("/", "~1")) for part in ("components", *place))
    problems = [error.message for error in _validator(f"urn:openapi#/{pointer}").iter_errors(value)]
    assert not problems, f"{what}: {problems}"


@cache
def _validator(reference: str) -> Draft202012Validator:
    registry = Registry().with_resource("urn:openapi", Resource(document(), DRAFT202012))
    return Draft202012Validator({"$ref": reference}, registry=registry)
