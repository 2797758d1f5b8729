"""`make run`: Hallpass from sign-in to S3, step by step. `make up`: the same stack, left running to try things on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import seed
from botocore.exceptions import ClientError
from paths import BIN, BUILD, ROOT
from signin import claims_of, sign_in
from stack import Stack, StackError, end_cleanly_on_signals

WIDTH = 100
EMPLOYEES = ["carol", "dave", "erin"]
HALLPASS = BUILD / "bin" / "hallpass"

# What any program does that uses an AWS SDK: nothing in it knows of Hallpass.
PROGRAM = f"""\
import boto3
page = boto3.client("s3").list_objects_v2(Bucket="{seed.REPORTS}")
print([object["Key"] for object in page["Contents"]])
"""


def main() -> int:
    end_cleanly_on_signals()
    purpose = sys.argv[1] if len(sys.argv) == 2 else ""
    journeys = {"run": tour, "up": stay}
    if purpose not in journeys:
        return _fail("usage: run.py run|up")
    stack = Stack(purpose, say=lambda line: print(f"     {line}"))
    try:
        _step("Starting the local stack; everything listens on 127.0.0.1 only.")
        with stack:
            return journeys[purpose](stack)
    except KeyboardInterrupt:
        print("\nStopped; nothing runs any more.")
        return 0 if purpose == "up" else 130
    except (StackError, RuntimeError, OSError, ClientError, KeyError, ValueError) as problem:
        return _fail(f"{type(problem).__name__}: {problem}\n{stack.tails()}")


def tour(stack: Stack) -> int:
    """The product in seven steps. The exit status says whether S3 answered as the grants promise."""
    _step("carol, an analyst, signs in at the company's identity provider: authorization code with PKCE.")
    token = sign_in(stack.issuer, "carol", narrate=_tell).access_token
    claims = {name: value for name, value in claims_of(token).items() if name in ("iss", "sub", "aud", "groups", "exp")}
    _tell(f"The token {_mask(token)} says, signed by the provider:")
    _tell(json.dumps(claims))

    _step("carol sends the token to Hallpass and asks for credentials, with one request.")
    answer = _credentials(stack, token)
    _tell(json.dumps(_masked(answer), indent=2, ensure_ascii=False))
    minutes = round((_expiry(answer) - datetime.now(timezone.utc)).total_seconds() / 60)
    _tell(
        "Hallpass checked the token with the provider's keys, found the grant `default` of the group `analysts` in "
        f"DynamoDB (grants/analysts.yaml), and asked STS for a session with only that, for {minutes} minutes."
    )

    _step("What do the credentials allow? boto3 with the three values only:")
    s3 = stack.aws.client("s3", seed.Key.of(answer))
    opened = _try_bucket(s3, seed.REPORTS, "her grant allows it")
    refused = _try_bucket(s3, seed.PAYROLL, "no grant of hers names it")

    _step("Without any client code: with two environment variables, an AWS SDK fetches and renews credentials.")
    listed = _container_provider(stack, token)

    _step("Why may carol do that? `hallpass grants explain` asks the table, and decides as the function does.")
    asked = ["explain", "--issuer", "corp", "--subject", claims["sub"]]
    asked += [argument for group in claims["groups"] for argument in ("--group", group)]
    _tell(f"$ hallpass grants {' '.join(asked)}")
    explained = seed.command(stack.aws, stack.table, *asked)
    _tell("\n".join(line for line in explained.splitlines() if line[:1] in "cdi"))

    good = opened == [seed.OBJECTS[seed.REPORTS]] and refused == "AccessDenied" and listed and "issued" in explained
    if not good:
        return _fail(f"\nNOT AS PROMISED: see above, and the logs:\n{stack.tails()}")
    _step(f"As promised: {seed.REPORTS} was listed, {seed.PAYROLL} was refused. Stopping everything.")
    return 0


def stay(stack: Stack) -> int:
    """Leaves the stack running, with the commands to try on it."""
    tokens = BUILD / "up"
    tokens.mkdir(parents=True, exist_ok=True)
    for employee in EMPLOYEES:
        _write_private(tokens / employee, f"Bearer {sign_in(stack.issuer, employee).access_token}")
    up = tokens.relative_to(ROOT)
    hallpass = HALLPASS.relative_to(ROOT)
    application = stack.application()
    settings = up / "application.json"
    (ROOT / settings).write_text(json.dumps(application, indent=2) + "\n")
    print(
        textwrap.dedent(
            f"""
            In a browser, sign in as frank: {stack.url}/

            In another terminal, in this directory:

              # these point at the local AWS, and give the command line a place of its own
              export AWS_ENDPOINT_URL={stack.aws.endpoint} AWS_DEFAULT_REGION={seed.REGION} AWS_REGION={seed.REGION}
              export XDG_STATE_HOME="$PWD/{up}/state"
              # sign in, as frank: the page of the provider asks for a name, and for no password
              {hallpass} login {stack.url}
              # the same in a terminal without a browser
              {hallpass} login --no-browser {stack.url}
              # what there is; `deploy` wants a second factor, and says so
              {hallpass} list
              {hallpass} exec -- .venv/bin/aws s3 ls s3://{seed.REPORTS}
              {hallpass} exec --grant deploy -- .venv/bin/aws s3 ls s3://{seed.SHOP}

            Without it, signed in: carol (analysts), dave (no group), erin (analysts and hr). Their tokens are in {up}/, for an hour.

              # credentials; the grant `default` opens the reports
              curl -sS -H "Authorization: $(cat {up}/carol)" '{stack.url}/v1/credentials'
              # the grant `payroll`, for HR: erin gets it, carol does not
              curl -sS -H "Authorization: $(cat {up}/erin)" '{stack.url}/v1/credentials/payroll'
              curl -sS -H "Authorization: $(cat {up}/carol)" '{stack.url}/v1/credentials/payroll'
              # any AWS SDK, and the AWS CLI, with two variables
              export AWS_CONTAINER_CREDENTIALS_FULL_URI='{stack.url}/v1/credentials'
              export AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE="$PWD/{up}/carol"
              .venv/bin/python -c 'import boto3; print(boto3.client("sts").get_caller_identity()["Arn"])'
              .venv/bin/aws s3 ls s3://{seed.REPORTS}
              # a fresh token
              .venv/bin/python dev/signin.py token {stack.issuer} carol > {up}/carol
              # what the function logs
              tail -f {(stack.logs / "function.log").relative_to(ROOT)}

            An application of your own, in the browser. A sample, which shows all of this at {seed.ORIGINS[0]}/:

              npm ci --prefix examples/browser && npm start --prefix examples/browser -- "$PWD/{settings}"

              provider     {application["issuer"]}
              client       {application["client_id"]}, without a secret; PKCE
              scope        {application["scope"]}, with prompt=consent
              redirects    / and /callback of http://localhost:PORT (not 127.0.0.1), PORT one of
                           {", ".join(origin.rpartition(":")[2] for origin in seed.ORIGINS)}
              credentials  {stack.url}/v1/credentials/GRANT, for pages of the same origins
              S3           {stack.aws.endpoint} with the bucket in the path, {seed.REGION}, {seed.REPORTS}; for these origins too

            Ctrl-C stops everything.
            """
        ),
        flush=True,
    )
    try:
        stack.wait()
    finally:
        for employee in EMPLOYEES:
            (tokens / employee).unlink(missing_ok=True)


def _credentials(stack: Stack, token: str) -> dict[str, Any]:
    command = f"""curl -sS --fail-with-body -H "Authorization: Bearer $TOKEN" '{stack.url}/v1/credentials'"""
    _tell(f"$ {command}")
    # No proxy of the environment stands between curl and loopback.
    env = {"PATH": os.environ["PATH"], "TOKEN": token}
    done = subprocess.run(["sh", "-c", command], env=env, stdout=subprocess.PIPE, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"curl ended with {done.returncode}: {done.stdout}")
    return json.loads(done.stdout)


def _try_bucket(s3, bucket: str, why: str) -> list[str] | str:
    _tell(f'>>> s3.list_objects_v2(Bucket="{bucket}")   # {why}')
    try:
        keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    except ClientError as refusal:
        code = refusal.response["Error"]["Code"]
        _tell(f"{code}: {refusal.response['Error']['Message']}")
        return code
    _tell(str(keys))
    return keys


def _container_provider(stack: Stack, token: str) -> bool:
    with tempfile.TemporaryDirectory(prefix="sdk-", dir=BUILD / "tmp") as home:
        file = Path(home) / "token"
        _write_private(file, f"Bearer {token}")
        variables = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{stack.url}/v1/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(file),
        }
        local = {"AWS_ENDPOINT_URL": stack.aws.endpoint, "AWS_DEFAULT_REGION": seed.REGION}
        for name, value in variables.items():
            _tell(f"{name}={value}")
        _tell(f"({' '.join(local)} point it at the local AWS.)")
        for line in PROGRAM.splitlines():
            _tell(f">>> {line}")
        # A home without ~/.aws, so that these can be the only credentials.
        env = {"PATH": os.environ["PATH"], "HOME": home} | variables | local
        command = [str(BIN / "python"), "-c", PROGRAM]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    _tell(done.stdout.strip() or done.stderr.strip())
    return done.returncode == 0 and done.stdout.strip() == str([seed.OBJECTS[seed.REPORTS]])


def _expiry(answer: dict[str, Any]) -> datetime:
    return datetime.strptime(answer["Expiration"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)


def _masked(answer: dict[str, Any]) -> dict[str, Any]:
    secrets = ("SecretAccessKey", "SessionToken", "Token")
    return {name: _mask(value) if name in secrets else value for name, value in answer.items()}


def _mask(secret: str) -> str:
    return f"{secret[:4]}…({len(secret)} characters)"


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


_steps = iter(range(1, 100))


def _step(text: str) -> None:
    lines = textwrap.wrap(text, WIDTH - 5)
    print(f"\n{next(_steps):>3}. " + "\n     ".join(lines), flush=True)


def _tell(text: str) -> None:
    # Sentences are folded, anything else is shown as it is.
    sentence = re.match(r"[A-Z][a-z]* ", text) and "\n" not in text
    lines = textwrap.wrap(text, WIDTH - 5) if sentence else text.splitlines()
    print(textwrap.indent("\n".join(lines), "     "), flush=True)


def _fail(text: str) -> int:
    print(text, file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
