"""Does the command line fit the tools that people have: their shells, the AWS CLI, a keyring, and the CI systems of the
pages? With the tools themselves; a test of one that this machine lacks says so.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from paths import BIN, ROOT
from person import LIST, PYTHON, Person
from run import HALLPASS
from seed import PAYROLL, REPORTS, SHOP
from stack import LOOPBACK

PAGE = (ROOT / "docs/people.md").read_text()
SERVER = "https://hallpass.example.com"


def program(name: str) -> str:
    return shutil.which(name) or pytest.skip(f"{name} is not on this machine")


# What a person types, and how a shell that knows the values says that they are gone.
SHELLS = {
    "bash": ('eval "$({} env)"', 'eval "$({} env --unset)"'),
    "dash": ('eval "$({} env)"', 'eval "$({} env --unset)"'),
    "zsh": ('eval "$({} env)"', 'eval "$({} env --unset)"'),
    "fish": ("{} env | source", "{} env --unset | source"),
    "pwsh": ("{} env | Out-String | Invoke-Expression", "{} env --unset | Out-String | Invoke-Expression"),
}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_has_credentials_by_env(person, shell: str) -> None:
    shell = program(shell)
    carol = person("carol")
    carol.login()
    sets, removes = (line.format(shlex.quote(str(HALLPASS))) for line in SHELLS[Path(shell).name])
    # Another program looks, so that nothing depends on how the shell prints.
    names = "import os; print(sorted(name for name in os.environ if name.startswith('AWS_')))"
    script = "\n".join([sets, shlex.join([PYTHON, *LIST, REPORTS]), removes, shlex.join([PYTHON, "-c", names])])
    winning = {"AWS_PROFILE": "none", "AWS_ACCESS_KEY_ID": "AKIAOLD", "AWS_ROLE_ARN": "old"}
    done = carol.program(shell, "-c", script, SHELL=shell, **winning)
    assert (done.returncode, done.stderr) == (0, "")
    listed, left = done.stdout.splitlines()
    assert (listed, left) == ("1", "['AWS_DEFAULT_REGION', 'AWS_ENDPOINT_URL']")


AWS = {"pinned": BIN / "aws", "Debian's": Path("/usr/bin/aws")}


@pytest.mark.parametrize("which", AWS)
def test_the_aws_cli_works_with_profiles_and_under_exec(person, which: str) -> None:
    aws = program(str(AWS[which]))
    carol = person("carol")
    # Versions before 2.13 do not read the variable.
    list_bucket = [aws, "--endpoint-url", carol.stack.aws.endpoint, "s3", "ls", "--recursive"]
    carol.login()
    carol.output("configure")
    profile = {"AWS_PROFILE": "hallpass-default"}
    done = carol.program(*list_bucket, f"s3://{REPORTS}", **profile)
    assert done.returncode == 0 and "q3.csv" in done.stdout, done.stderr
    refused = carol.program(*list_bucket, f"s3://{PAYROLL}", **profile)
    assert refused.returncode != 0 and "AccessDenied" in refused.stderr
    # A profile without credentials of ours wins over nothing, and keys in `[default]` do not win either.
    (carol.home / ".aws" / "credentials").write_text("[default]\naws_access_key_id=AKIAOLD\naws_secret_access_key=x\n")
    for static in ([], ["--static"]):
        listed = carol.output("exec", *static, "--", *list_bucket, f"s3://{REPORTS}", AWS_PROFILE="none")
        assert "q3.csv" in listed
    carol.output("logout")
    refused = carol.program(*list_bucket, f"s3://{REPORTS}", **profile)
    assert refused.returncode != 0 and f"hallpass login {carol.stack.url}" in refused.stderr


class Keyring:
    """GNOME's keyring, on a session bus of its own. It is open until `lock`."""

    SERVICE = ("--session", "--dest", "org.freedesktop.secrets", "--object-path", "/org/freedesktop/secrets")

    def __init__(self, person: Person) -> None:
        self.person = person
        runtime = person.home / "run"
        runtime.mkdir(mode=0o700)
        person.variables |= {"XDG_RUNTIME_DIR": str(runtime), "HALLPASS_STORE": "keyring"}
        script = 'echo "$DBUS_SESSION_BUS_ADDRESS"; exec cat'
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        self.bus = subprocess.Popen(["dbus-run-session", "--", "sh", "-c", script], env=person.variables, **pipes)
        person.variables["DBUS_SESSION_BUS_ADDRESS"] = self.bus.stdout.readline().strip()
        command = ["gnome-keyring-daemon", "--unlock", "--components=secrets", "--foreground"]
        self.daemon = subprocess.Popen(command, env=person.variables, **pipes)
        self.daemon.stdin.write("a password")
        self.daemon.stdin.close()
        assert self.tool("gdbus", "wait", "--session", "--timeout", "20", "org.freedesktop.secrets").returncode == 0

    def tool(self, *command: str) -> subprocess.CompletedProcess[str]:
        return self.person.program(*command)

    def lock(self) -> None:
        collections = "['/org/freedesktop/secrets/collection/login']"
        done = self.tool("gdbus", "call", *self.SERVICE, "--method", "org.freedesktop.Secret.Service.Lock", collections)
        assert done.returncode == 0 and "collection/login" in done.stdout, done

    def remove_key(self) -> None:
        assert self.tool("secret-tool", "clear", "application", "hallpass").returncode == 0

    def stop(self) -> None:
        for process in (self.daemon, self.bus):
            process.terminate()
            process.wait(20)


@pytest.fixture
def keyring(person) -> Iterator[Keyring]:
    for name in ("dbus-run-session", "gdbus", "gnome-keyring-daemon", "secret-tool"):
        program(name)
    keyring = Keyring(person("carol"))
    yield keyring
    keyring.stop()


def refusal(person: Person, *arguments: object, **variables: str) -> str:
    """The one line with which a command says why it did nothing."""
    done = person.run(*arguments, **variables)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done
    return done.stderr


def test_what_is_stored_is_sealed_with_a_key_of_the_keyring(keyring: Keyring) -> None:
    carol = keyring.person
    carol.login()
    assert json.loads(carol.output("credentials"))["Version"] == 1
    assert json.loads(carol.output("status", "--json"))["storage"] == "keyring"
    # It is the default where a keyring answers.
    assert "system's keyring" in carol.output("status", HALLPASS_STORE="")
    files = [path for path in (carol.home / "state" / "hallpass").iterdir() if path.stat().st_size]
    assert {path.suffix for path in files} == {".session", ".credentials", ""}
    assert all(path.read_bytes().startswith(b"hallpass-sealed-1\n") for path in files)
    # The key is the only thing there. `lookup` prints it, so only its length is looked at.
    key = ["sh", "-c", "secret-tool lookup application hallpass | wc -c"]
    assert keyring.tool(*key).stdout.strip() == "32"

    # Locked: one line, for reading and for writing, and nothing in the clear instead.
    keyring.lock()
    for arguments in (["credentials"], ["status"], ["list"], ["logout"], ["login", carol.stack.url]):
        assert "it is locked; unlock it, or set HALLPASS_STORE=file" in refusal(carol, *arguments), arguments
    assert "it is locked" in refusal(carol, "credentials", HALLPASS_STORE="")
    assert carol.run("doctor").returncode == 3
    # Files cannot be opened without it.
    assert "is sealed with the keyring's key" in refusal(carol, "credentials", HALLPASS_STORE="file")
    # Nor is a session without any keyring taken for one with files in the clear.
    without = {"DBUS_SESSION_BUS_ADDRESS": "", "XDG_RUNTIME_DIR": ""}
    assert "this session has no keyring" in refusal(carol, "credentials", **without)
    assert "is sealed with the keyring's key" in refusal(carol, "credentials", HALLPASS_STORE="", **without)


def test_a_sign_in_whose_key_is_gone_has_to_be_made_again(keyring: Keyring) -> None:
    carol = keyring.person
    carol.login()
    carol.output("credentials")
    keyring.remove_key()
    gone = "its key is no longer in the keyring"
    for arguments in (["credentials"], ["status"], ["logout"]):
        line = refusal(carol, *arguments)
        assert gone in line and "name the server with --server, or sign in again" in line
    # So every profile of AWS's configuration has it.
    line = refusal(carol, "credentials", "--server", carol.stack.url)
    assert gone in line and f"run `hallpass login {carol.stack.url}`" in line
    carol.login()
    carol.output("credentials")
    keyring.remove_key()
    carol.output("logout", "--all")
    assert not list((carol.home / "state" / "hallpass").glob("*.session"))


def example(language: str, marker: str) -> list[Any]:
    """The documents of the example in this language that has this text."""
    blocks = [block.partition("\n```")[0] for block in PAGE.split(f"```{language}\n")[1:]]
    (found,) = (block for block in blocks if marker in block)
    return list(yaml.safe_load_all(found))


@pytest.fixture
def job(person, token) -> Person:
    """A job's machine, with the command, a page to deploy, and a token of somebody who may deploy."""
    erin = person("erin")
    erin.token = token("erin")
    bin = erin.home / "bin"
    bin.mkdir()
    (bin / "hallpass").symlink_to(HALLPASS)
    # Nobody is there who could sign in.
    erin.variables |= {"PATH": f"{bin}:{BIN}:{erin.variables['PATH']}", "BROWSER": "", "CI": "true"}
    (erin.home / "site").mkdir()
    (erin.home / "site" / "index.html").write_text("<p>Hello")
    return erin


def deploys(job: Person, command: list[str], **variables: str) -> None:
    """Runs a job's command, which puts the page into the bucket, and stores nothing of the sign-in."""
    s3 = job.stack.aws.client("s3")
    s3.delete_object(Bucket=SHOP, Key="index.html")
    done = job.program(*command, **variables)
    assert done.returncode == 0, done.stderr
    assert s3.head_object(Bucket=SHOP, Key="index.html")["ContentLength"] == len("<p>Hello")
    assert not (job.home / "state").exists()
    assert job.token not in done.stdout + done.stderr


def shell(line: str, home: Path) -> list[str]:
    return ["sh", "-ec", f"cd {shlex.quote(str(home))} && {line}"]


def served(variables: dict[str, str], job: Person) -> dict[str, str]:
    """The variables of an example, with the local stack in the place of its server."""
    assert variables["HALLPASS_SERVER"] == SERVER
    return variables | {"HALLPASS_SERVER": job.stack.url}


@contextmanager
def github(token: str) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """GitHub's token endpoint: its URL as a job has it, and what was asked of it."""
    asked: list[tuple[str, str | None]] = []

    class Endpoint(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            body = json.dumps({"count": 1, "value": token}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args) -> None:
            pass

    with HTTPServer((LOOPBACK, 0), Endpoint) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{LOOPBACK}:{server.server_port}/idtoken/1?api-version=2.0", asked
        server.shutdown()


def test_a_job_of_github_actions_deploys_as_the_page_says(job: Person) -> None:
    (workflow,) = example("yaml", "--github-actions")
    assert workflow["permissions"]["id-token"] == "write"
    (deploy,) = workflow["jobs"].values()
    (command,) = (step["run"] for step in deploy["steps"] if "hallpass exec" in step.get("run", ""))
    variables = served(deploy["env"], job)
    with github(job.token) as (url, asked):
        right = {"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "the job's right"}
        deploys(job, shell(command, job.home), **variables, **right)
    for path, authorization in asked:
        assert parse_qs(urlsplit(path).query) == {"api-version": ["2.0"], "audience": [job.stack.url]}
        assert authorization == "Bearer the job's right"
    assert asked
    # Without `id-token: write`, GitHub sets no such variables.
    done = job.program(*shell(command, job.home), **variables)
    assert done.returncode == 1 and "id-token: write" in done.stderr


def test_a_job_of_gitlab_deploys_as_the_page_says(job: Person) -> None:
    (pipeline,) = example("yaml", "id_tokens")
    (deploy,) = pipeline.values()
    ((name, token),) = deploy["id_tokens"].items()
    assert token == {"aud": SERVER}
    deploys(
        job, shell(" && ".join(deploy["script"]), job.home), **served(deploy["variables"], job), **{name: job.token}
    )


def test_a_pod_deploys_as_the_page_says(job: Person) -> None:
    configuration, pod = example("yaml", "serviceAccountToken")
    (container,) = pod["spec"]["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert mounts.keys() == volumes.keys()
    assert volumes["aws-config"]["configMap"]["name"] == configuration["metadata"]["name"]
    (source,) = (source["serviceAccountToken"] for source in volumes["hallpass-token"]["projected"]["sources"])
    assert source["audience"] == SERVER
    (variable,) = container["env"]
    assert variable == {"name": "AWS_CONFIG_FILE", "value": f"{mounts['aws-config']}/config"}
    # The kubelet puts these there.
    token = job.home / source["path"]
    token.write_text(job.token)
    ((file, text),) = configuration["data"].items()
    for there, here in [
        ("/usr/local/bin/hallpass", HALLPASS),
        (SERVER, job.stack.url),
        (f"{mounts['hallpass-token']}/{source['path']}", token),
    ]:
        assert text.count(there) == 1, there
        text = text.replace(there, str(here))
    (job.home / file).write_text(text)
    command = [part.replace("/site", str(job.home / "site")) for part in container["command"]]
    deploys(job, command, AWS_CONFIG_FILE=str(job.home / file), AWS_DEFAULT_REGION="")
