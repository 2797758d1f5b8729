"""Does docs/openapi.yaml describe the function, all of it and nothing else? By the sources, and by what the function
answers to thousands of requests that are made from the document. What other tests are answered is compared too: api.py.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import contract
from jsonschema import Draft202012Validator
from paths import BUILD, ROOT
from stack import Stack
from test_template import METADATA, of_function

HOOKS = Path(__file__).parent / "made_requests.py"
TIME_LIMIT_S = 60

OF_WIRE = (ROOT / "src" / "wire.rs").read_text().partition("\ncodes! {\n")[2].partition("\n}\n")[0]
CODES = [(status, code) for code, status in re.findall(r'= "([a-z_]+)", (\d{3}), "', OF_WIRE)]


def codes_of(name: str) -> list[str]:
    """Of a response of the document."""
    content = contract.response(name).get("content", {}).get("application/problem+json")
    return content["schema"]["properties"]["code"]["enum"] if content else []


def test_every_route_and_method_is_documented_and_no_other() -> None:
    routes = {(method, path) for method, path in of_function(preflights=True) if not path.startswith(f"{METADATA}/")}
    assert contract.operations().keys() == routes


def test_every_code_is_documented_with_its_status_and_no_other() -> None:
    assert len(CODES) == len(OF_WIRE.splitlines()) > 0, "the search finds all codes"
    used = [named for operation in contract.operations().values() for named in contract.named(operation).items()]
    assert {(status, code) for status, name in used for code in codes_of(name)} == set(CODES)
    assert contract.document()["components"]["schemas"]["Code"]["enum"] == [code for _, code in CODES]


def test_what_can_fail_is_documented_where_it_can() -> None:
    for (method, path), operation in contract.operations().items():
        names = set(contract.named(operation).values())
        needs_token = operation.get("security", contract.document()["security"]) != []
        assert {"InvalidRequest", "NotFound", "MethodNotAllowed"} <= names, path
        assert ({"Unauthorized", "Forbidden", "Unavailable"} <= names) == needs_token, path
        assert ({"ContentTooLarge", "UnsupportedMediaType"} <= names) == (method == "POST"), path
        # Only what makes a session can fail because of a grant or of the broker key, and a list because of a name.
        makes_session = path.startswith(("/v1/credentials", "/v1/console")) and method != "OPTIONS"
        failed = "Failed" if makes_session else "NoList" if (method, path) == ("GET", "/v1/grants") else "Internal"
        assert names & {"Failed", "NoList", "Internal"} == {failed}, path


def test_the_document_is_one_and_has_nothing_that_is_not_used() -> None:
    document = contract.document()
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    references = set(re.findall(r'"\$ref": "#/components/(\w+)/(\w+)"', json.dumps(document)))
    assert references == {
        (kind, name) for kind, named in document["components"].items() if kind != "securitySchemes" for name in named
    }
    ids = [operation["operationId"] for operation in contract.operations().values()]
    assert len(ids) == len(set(ids))
    version = re.search(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    assert version and document["info"]["version"] == version[1]


def test_the_values_of_headers_are_those_of_the_function() -> None:
    headers = contract.document()["components"]["headers"]
    cors = (ROOT / "src/http/cors.rs").read_text()
    assert f'"{headers["MaxAge"]["schema"]["const"]}"' in cors
    for name in ("AllowMethods", "ExposeHeaders"):
        assert f'"{headers[name]["schema"]["const"]}"' in cors
    function = (ROOT / "src/http/function.rs").read_text()
    for name in ("NotStored", "Cached"):
        assert f'"{headers[name]["schema"]["const"]}"' in function


def test_a_check_of_the_contract_fails_for_what_is_not_in_it() -> None:
    headers = {"cache-control": "no-store", "content-type": "application/json"}
    sound: dict[str, Any] = {"method": "GET", "path": "/v1/health", "status": 200, "headers": headers, "raw": True}
    body = '{"version": "0.1.0"}'
    contract.check(**sound, body=body)
    for broken in (
        {"status": 201},
        {"status": 503},
        {"method": "PUT"},
        {"path": "/v1/healthy"},
        {"headers": {"content-type": "application/json"}},
        {"headers": headers | {"cache-control": "public"}},
        {"headers": headers | {"x-powered-by": "x"}},
        {"headers": headers | {"content-type": "text/html"}},
        {"body": "{}"},
        {"body": '{"version": 1}'},
        {"body": '{"version": "0.1.0", "more": 1}'},
    ):
        try:
            contract.check(**({"body": body} | sound | broken))
        except AssertionError:
            continue
        raise AssertionError(f"{broken} passes")


def test_the_function_answers_nothing_else(stack: Stack, token: Callable[..., str]) -> None:
    """schemathesis makes requests from the document, good and bad ones, always the same, and compares each answer."""
    config = BUILD / "schemathesis.toml"
    config.write_text(f'hooks = "{HOOKS}"\n')
    checks = (
        "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
        "response_schema_conformance,unsupported_method,ignored_auth"
    )
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", str(contract.DOCUMENT)),
        *("--url", stack.url, "--header", f"Authorization: Bearer {token('carol')}"),
        *("--checks", checks, "--phases", "examples,coverage,fuzzing", "--max-examples", "15"),
        *("--generation-deterministic", "--workers", "1", "--no-color"),
        *("--request-timeout", "6", "--suppress-health-check", "all"),
    ]
    done = subprocess.run(command, cwd=BUILD, capture_output=True, text=True, timeout=TIME_LIMIT_S, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    tested = re.search(r"(\d+) generated", done.stdout) or re.search(r"(\d+) total", done.stdout)
    assert tested and int(tested[1]) > 300, done.stdout
