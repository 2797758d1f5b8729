"""What schemathesis must not send: the local gateway answers a body that is not UTF-8 itself, with 500. API Gateway encodes
such a body in base64; `tests/it/events.rs` and the sample events have those.
"""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.hook
def filter_case(_context: Any, case: Any) -> bool:
    body = case.body
    if not isinstance(body, bytes):
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
