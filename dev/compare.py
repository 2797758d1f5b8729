"""When do two answers to the same request count as the same? When they differ in these members of the body alone."""

from __future__ import annotations

from typing import Any

VARIABLE = {"requestId", "AccessKeyId", "SecretAccessKey", "SessionToken", "Token", "Expiration"}


def masked(body: Any) -> Any:
    """The body of an answer, without what varies."""
    if not isinstance(body, dict):
        return body
    return {name: "…" if name in VARIABLE else value for name, value in body.items()}
