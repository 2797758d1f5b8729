"""`make arm64`: does the function that was built for arm64 also run? Under QEMU's emulation of that processor, against the
local stack, it answers one request with credentials and refuses others."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import seed
from botocore.exceptions import ClientError
from paths import BUILD
from signin import sign_in
from stack import Stack, StackError, end_cleanly_on_signals

ARTIFACT = BUILD / "lambda-arm64" / "broker" / "bootstrap"
QEMU = "qemu-aarch64"
SYSROOT = Path("/usr/aarch64-linux-gnu")  # where Debian and Ubuntu put the C library of the other processor
LOADER = SYSROOT / "lib" / "ld-linux-aarch64.so.1"
REMEDY = "install QEMU's user emulation and an arm64 C library; on Debian: apt-get install qemu-user libc6-arm64-cross"

# An ELF header says for which machine it is: 183 is AArch64, at offset 18.
MACHINE = slice(18, 20)
AARCH64 = (183).to_bytes(2, "little")

# Emulated, the first requests may miss Hallpass's own time limits, which are made for a real processor.
ATTEMPTS = 5
TIMEOUT_S = 10


def main() -> int:
    if not shutil.which(QEMU) or not LOADER.exists():
        return _fail(f"{QEMU} or {LOADER} is missing: {REMEDY}")
    end_cleanly_on_signals()
    machine = ARTIFACT.read_bytes()[MACHINE]
    if machine != AARCH64:
        return _fail(f"{ARTIFACT} is for machine {int.from_bytes(machine, 'little')}, not for AArch64")
    stack = Stack("arm64", command=[QEMU, "-L", str(SYSROOT), str(ARTIFACT)])
    try:
        with stack:
            return _try(stack)
    except KeyboardInterrupt:
        return 130
    except (StackError, OSError, ClientError, KeyError, ValueError) as problem:
        return _fail(f"{type(problem).__name__}: {problem}\n{stack.tails()}")


def _try(stack: Stack) -> int:
    carol = sign_in(stack.issuer, "carol").access_token
    erin = sign_in(stack.issuer, "erin", "hallpass-es256").access_token
    for attempt in range(1, ATTEMPTS + 1):
        started = time.monotonic()
        status, body = _ask(stack, "/v1/credentials", carol)
        print(f"credentials, carol, RS256    {status} after {round((time.monotonic() - started) * 1000)} ms")
        if status != 503 or attempt == ATTEMPTS:
            break
    if status != 200:
        return _fail(f"{body}\n{stack.tails()}")
    s3 = stack.aws.client("s3", seed.Key.of(body))
    listed = [entry["Key"] for entry in s3.list_objects_v2(Bucket=seed.REPORTS)["Contents"]]
    print(f"they list {seed.REPORTS}       {listed}")

    expected = {
        "credentials, erin, ES256": (200, None, "/v1/credentials/payroll", erin),
        "another's grant": (403, "access_denied", "/v1/credentials/payroll", carol),
        "a changed token": (401, "invalid_token", "/v1/credentials", carol[:-8] + "AAAAAAAA"),
        "no token": (401, "token_missing", "/v1/credentials", None),
    }
    good = listed == [seed.OBJECTS[seed.REPORTS]]
    for what, (status, code, path, token) in expected.items():
        got, body = _ask(stack, path, token)
        good &= (got, body.get("code")) == (status, code)
        print(f"{what:<28} {got} {body.get('code', '')}")
    if not good:
        return _fail(f"NOT AS EXPECTED: see above, and the logs:\n{stack.tails()}")
    print(f"arm64: as expected, {ARTIFACT.stat().st_size:,} bytes")
    return 0


def _ask(stack: Stack, path: str, token: str | None) -> tuple[int, dict]:
    request = Request(stack.url + path, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=TIMEOUT_S) as response:
            return response.status, json.load(response)
    except HTTPError as refusal:
        with refusal:
            return refusal.code, json.load(refusal)


def _fail(text: str) -> int:
    print(text, file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
