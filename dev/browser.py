"""`make browser`: what people see, in a real Chromium, against the local stack. Further arguments go to node's test runner.

One stack serves all files of tests/browser. They learn where it is from HALLPASS_STACK, and change grants with
`python dev/browser.py put|delete PRINCIPAL GRANT [ATTRIBUTES]`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import seed
from paths import COMMAND, ROOT
from stack import LOOPBACK, Stack, StackError, end_cleanly_on_signals, free_port

STACK = "HALLPASS_STACK"
SETTLE_MS = 600_000  # a file of tests that hangs is one that fails; on a machine that compiles, one takes two minutes


def main(arguments: list[str]) -> int:
    if arguments[:1] in (["put"], ["delete"]):
        return change(*arguments)
    end_cleanly_on_signals()
    # The tests play AWS's sign-in host: only they know which session it should get.
    signin = f"http://{LOOPBACK}:{free_port()}"
    stack = Stack("browser", {"AWS_ENDPOINT_URL_SIGNIN": signin})
    try:
        with stack:
            return node(stack, signin, arguments)
    except KeyboardInterrupt:
        return 130
    except StackError as problem:
        print(f"{problem}\n{stack.tails()}", file=sys.stderr)
        return 1


def node(stack: Stack, signin: str, arguments: list[str]) -> int:
    where = {
        "url": stack.url,
        "issuer": stack.issuer,
        "signin": signin,
        "aws": stack.aws.endpoint,
        "region": seed.REGION,
        "bucket": seed.REPORTS,
        "table": stack.table,
        "python": sys.executable,
        "hallpass": str(COMMAND),
        "application": stack.application(),
        "origins": seed.ORIGINS,
    }
    tests = [str(path) for path in sorted((ROOT / "tests" / "browser").glob("*.test.mjs"))]
    # One file at a time: they share the grants.
    command = ["node", "--test", "--test-concurrency=1", f"--test-timeout={SETTLE_MS}", *(arguments or tests)]
    # No proxy of the environment stands between Chromium and loopback.
    env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return subprocess.run(command, cwd=ROOT, env=env | {STACK: json.dumps(where)}, check=False).returncode


def change(verb: str, principal: str, grant: str, attributes: str = "{}") -> int:
    where = json.loads(os.environ[STACK])
    aws = seed.Aws(where["aws"])
    if verb == "put":
        seed.put_item(aws, principal, grant, json.loads(attributes), where["table"])
    else:
        seed.delete_item(aws, principal, grant, where["table"])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
