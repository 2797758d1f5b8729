"""Does the command line do for people what it promises? With the real function, a certified provider and an AWS that
enforces policies."""

from __future__ import annotations

import json
import re
import shlex
import stat
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest
from person import LIST, PYTHON
from run import HALLPASS
from seed import PAYROLL, REPORTS
from signin import Browser
from signin_host import TOKEN, SignInHost
from stack import Stack


def test_one_url_is_enough(stack: Stack, person) -> None:
    carol = person("carol")
    text = carol.login()
    assert f"Signed in to {stack.url} as carol (corp)" in text
    assert "default" in text
    status = json.loads(carol.output("status", "--json"))
    assert (status["signed_in"], status["subject"], status["storage"]) == (True, "carol", "file")
    assert [grant["name"] for grant in json.loads(carol.output("list", "--json"))["grants"]]
    assert json.loads(carol.output("credentials"))["Version"] == 1
    state = carol.home / "state" / "hallpass"
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in state.iterdir())


def test_the_address_can_be_pasted(stack: Stack, person) -> None:
    carol = person("carol")
    command = [str(HALLPASS), "login", stack.url, "--no-browser"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=carol.variables, text=True, **pipes) as hallpass:
        address = next(line.strip() for line in hallpass.stderr if line.startswith("  http"))
        redirect = parse_qs(urlsplit(address).query)["redirect_uri"][0]
        ended = Browser("carol").visit(address, until=lambda url: url.startswith(f"{redirect}?"))
        out, _ = hallpass.communicate(f"{ended}\n", timeout=60)
    assert hallpass.returncode == 0
    assert "as carol" in out


def test_a_device_signs_in(stack: Stack, person) -> None:
    carol = person("carol")
    command = [str(HALLPASS), "login", stack.url, "--device"]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=carol.variables, text=True, **pipes) as hallpass:
        address = next(found[0] for line in hallpass.stderr if (found := re.search(r"http\S+user_code=[^\s,)]+", line)))
        Browser("carol").visit(address)
        out, err = hallpass.communicate(timeout=60)
    assert hallpass.returncode == 0, err
    assert "as carol" in out


def test_a_sign_in_is_refreshed_with_a_token_that_serves_once(person) -> None:
    carol = person("carol")
    carol.login()
    tokens = [json.loads(carol.session().read_text())["refresh_token"]]
    for _ in range(3):
        carol.age("*.session", 4_000)
        carol.age("*.credentials", 4_000)
        carol.output("credentials")
        tokens.append(json.loads(carol.session().read_text())["refresh_token"])
    assert len(set(tokens)) == 4


@pytest.mark.parametrize("killed", [False, True])
def test_forty_at_once_ask_once(stack: Stack, person, killed: bool) -> None:
    carol = person("carol")
    carol.login()
    carol.output("credentials")
    if killed:
        # One that dies with the lock, before it asks anybody.
        (cached,) = (carol.home / "state" / "hallpass").glob("*.credentials")
        hold = f"import fcntl, time; f = open({str(cached) + '.lock'!r}, 'r+'); fcntl.flock(f, 2); print('held', flush=True); time.sleep(60)"
        holder = subprocess.Popen([PYTHON, "-c", hold], stdout=subprocess.PIPE, text=True)
        assert holder.stdout.readline() == "held\n"
        threading.Timer(1, holder.kill).start()
    carol.age("*.session", 4_000)
    carol.age("*.credentials", 4_000)
    before = len(stack.outcomes())
    with ThreadPoolExecutor(40) as pool:
        runs = list(pool.map(lambda _: carol.run("credentials"), range(40)))
    assert {run.returncode for run in runs} == {0}, [run.stderr for run in runs]
    assert len({run.stdout for run in runs}) == 1
    assert len(stack.outcomes()) - before == 1
    # The provider revokes a sign-in whose refresh token comes twice: this one lives.
    carol.age("*.session", 4_000)
    carol.age("*.credentials", 4_000)
    carol.output("credentials")


def test_a_second_factor_is_asked_for_when_it_is_needed(person) -> None:
    frank = person("frank", factor=True)
    # Without the second factor first, as a provider signs in whom nobody asks for more.
    weak = frank.variables["BROWSER"].replace("--factor ", "")
    done = frank.run("login", frank.stack.url, BROWSER=weak)
    assert done.returncode == 0, done.stderr
    refused = frank.run("credentials", "--grant", "deploy")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"hallpass login {frank.stack.url} --grant deploy" in refused.stderr
    done = frank.run("exec", "--grant", "deploy", "--", "printenv", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
    assert done.returncode == 0, done.stderr
    assert "needs a stronger sign-in" in done.stderr
    frank.output("credentials", "--grant", "deploy")


def test_what_configure_wrote_works_with_boto3(stack: Stack, person) -> None:
    carol = person("carol")
    carol.login()
    carol.output("configure")
    config = (carol.home / ".aws" / "config").read_text()
    assert "[profile hallpass-default]" in config
    profile = {"AWS_PROFILE": "hallpass-default"}
    listed = carol.program(PYTHON, *LIST, REPORTS, **profile)
    assert (listed.returncode, listed.stdout) == (0, "1\n"), listed.stderr
    refused = carol.program(PYTHON, *LIST, PAYROLL, **profile)
    assert refused.returncode != 0 and "AccessDenied" in refused.stderr
    # Signed out, the SDK's error has the command that helps.
    carol.output("logout")
    refused = carol.program(PYTHON, *LIST, REPORTS, **profile)
    assert "hallpass login" in refused.stderr


def test_a_command_under_exec_lists_what_the_grant_allows(person) -> None:
    carol = person("carol")
    carol.login()
    (carol.home / ".aws").mkdir()
    (carol.home / ".aws" / "credentials").write_text(
        "[default]\naws_access_key_id=AKIAOLD\naws_secret_access_key=old\n"
    )
    winning = {"AWS_ACCESS_KEY_ID": "AKIAOLD", "AWS_SECRET_ACCESS_KEY": "old", "AWS_PROFILE": "none"}
    for static in ([], ["--static"]):
        assert carol.output("exec", *static, "--", PYTHON, *LIST, REPORTS, **winning) == "1\n"


def test_a_command_outlives_a_session(person) -> None:
    carol = person("carol")
    carol.login()
    carol.output("credentials", "--duration", "900")
    carol.age("*.credentials", 672)  # three seconds before the last quarter
    program = (
        "import boto3, time\n"
        "keys = set()\n"
        "for _ in range(14):\n"
        "    session = boto3.Session()\n"
        "    keys.add(session.get_credentials().get_frozen_credentials().access_key)\n"
        f"    session.client('s3').list_objects_v2(Bucket={REPORTS!r})\n"
        "    time.sleep(1)\n"
        "print(len(keys))\n"
    )
    assert carol.output("exec", "--duration", "900", "--", PYTHON, "-c", program) == "2\n"


def test_a_shell_has_credentials_by_env(person) -> None:
    carol = person("carol")
    carol.login()
    script = f'eval "$({shlex.quote(str(HALLPASS))} env)" && {shlex.join([PYTHON, *LIST, REPORTS])}'
    done = carol.program("bash", "-c", script, AWS_PROFILE="none")
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def test_the_console_has_an_address(person, signin_host: SignInHost) -> None:
    carol = person("carol")
    carol.login()
    signin_host.asked.clear()
    address = carol.output("console", "--print", "--service", "s3", AWS_ENDPOINT_URL_SIGNIN=signin_host.url).strip()
    query = parse_qs(urlsplit(address).query)
    assert address.startswith(f"{signin_host.url}/federation?")
    assert (query["Action"], query["SigninToken"], query["Issuer"]) == (["login"], [TOKEN], [carol.stack.url])
    (asked,) = signin_host.asked
    assert asked["Action"] == ["getSigninToken"] and "SessionDuration" not in asked
    assert set(json.loads(asked["Session"][0])) == {"sessionId", "sessionKey", "sessionToken"}


def test_who_signs_out_leaves_nothing_that_works(person) -> None:
    carol = person("carol")
    carol.login()
    session = carol.session()
    stored = session.read_text()
    carol.output("logout")
    assert carol.run("status").returncode == 1
    # The refresh token is dead at the provider too: a copy of the file is worth nothing.
    session.write_text(stored)
    carol.age("*.session", 4_000)
    refused = carol.run("credentials")
    assert (refused.returncode, refused.stdout) == (1, "")


def test_a_program_brings_its_own_token(stack: Stack, person, token) -> None:
    carol = person("carol")
    (carol.home / "token").write_text(token("carol"))
    arguments = ["credentials", "--server", stack.url]
    by_file = json.loads(carol.output(*arguments, "--token-file", carol.home / "token"))
    by_variable = json.loads(carol.output(*arguments, "--token-env", "JOB_TOKEN", JOB_TOKEN=token("carol")))
    assert by_file["Version"] == by_variable["Version"] == 1
    assert not (carol.home / "state").exists()


def test_a_doctor_finds_nothing_wrong_with_the_local_stack(person) -> None:
    carol = person("carol")
    carol.login()
    checks = json.loads(carol.output("doctor", "--json"))["checks"]
    assert not [check for check in checks if check["result"] == "problem"]
