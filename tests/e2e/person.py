"""Who uses the command line in the tests? Somebody with a home directory, and a browser that signs an employee in."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import seed
from run import HALLPASS
from stack import ROOT, Stack

SIGN_IN = ROOT / "dev" / "signin.py"
PYTHON = sys.executable
# What a program does that uses an AWS SDK.
LIST = ["-c", "import boto3, sys; print(boto3.client('s3').list_objects_v2(Bucket=sys.argv[1])['KeyCount'])"]


class Person:
    """Somebody with a home directory, and a browser that signs an employee in."""

    def __init__(self, stack: Stack, home: Path, employee: str, *, factor: bool = False) -> None:
        self.stack, self.home = stack, home
        browser = [PYTHON, str(SIGN_IN), "browse", *(["--factor"] if factor else []), employee]
        self.variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "XDG_STATE_HOME": str(home / "state"),
            "HALLPASS_STORE": "file",
            "BROWSER": shlex.join(browser),
            "AWS_ENDPOINT_URL": stack.aws.endpoint,
            "AWS_DEFAULT_REGION": seed.REGION,
        }

    def run(self, *arguments: object, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        return self.program(HALLPASS, *arguments, stdin=stdin, **variables)

    def program(self, *command: object, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in (self.variables | variables).items() if value}
        command = [str(part) for part in command]
        return subprocess.run(command, env=env, input=stdin, capture_output=True, text=True, timeout=60, check=False)

    def output(self, *arguments: object, **variables: str) -> str:
        done = self.run(*arguments, **variables)
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout

    def login(self, *arguments: object) -> str:
        return self.output("login", self.stack.url, *arguments)

    def session(self) -> Path:
        (found,) = (self.home / "state" / "hallpass").glob("*.session")
        return found

    def age(self, pattern: str, seconds: int) -> None:
        """Moves what is stored so many seconds into the past, as if the clock had gone on."""
        for path in (self.home / "state" / "hallpass").glob(pattern):
            stored = json.loads(path.read_text())
            for name in ("obtained_at", "expires_at"):
                stored[name] -= seconds
            path.write_text(json.dumps(stored))
