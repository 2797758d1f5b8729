"""Are the runbook's commands those that there are? Do its queries find a stolen broker key's use, and leave Hallpass's own
out?

The records have the form of CloudTrail's. CloudWatch Logs Insights is not to be had here: of its queries only the names
are compared.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import seed
from api import Api
from botocore.exceptions import ClientError
from cfn import Template
from paths import COMMAND, ROOT
from stack import Stack

Token = Callable[..., str]

RUNBOOK = (ROOT / "docs/runbook.md").read_text()
SECTION = RUNBOOK[RUNBOOK.index("## Use of the broker key that nothing explains") :]
SECTION = SECTION[: SECTION.index("\n## ", 1)]


# Those that somebody looks for at three in the morning.
AT_NIGHT = [
    "Carol's laptop was stolen",
    "The broker key is on the internet",
    "A person leaves",
    "Who was this in CloudTrail?",
    "Somebody is refused",
    "Nobody gets credentials",
]


def hallpass(line: str, *more: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Runs a line of the runbook as far as it goes without AWS."""
    program, *arguments = shlex.split(line.partition(" < ")[0], comments=True)
    assert program == "hallpass"
    environment = {"HALLPASS_STACK": "hallpass", "AWS_EC2_METADATA_DISABLED": "true", "HOME": str(home)}
    command = [str(COMMAND), *arguments, *more]
    return subprocess.run(
        command, env=environment, cwd=home, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def test_the_command_line_takes_every_command_of_the_runbook(tmp_path: Path) -> None:
    blocks = "".join(re.findall(r"```sh\n(.*?)```", RUNBOOK, re.DOTALL))
    lines = [line for line in blocks.splitlines() if line.startswith("hallpass ")]
    assert len(lines) > 15
    for line in lines:
        done = hallpass(line, home=tmp_path)
        # Not 2, which is wrong usage.
        assert (done.returncode, done.stdout) == (1, ""), (line, done)
    for line in set(re.findall(r"`(hallpass [a-z][^`]*)`", RUNBOOK)):
        done = hallpass(line, "--help", home=tmp_path)
        assert done.returncode == 0, (line, done)


def test_each_section_for_the_night_begins_with_the_command() -> None:
    for heading in AT_NIGHT:
        section = RUNBOOK[RUNBOOK.index(f"\n## {heading}\n") :].splitlines()[2:]
        assert section[:2] == ["", "```sh"], heading
        assert section[2].startswith("hallpass "), heading
    overview = RUNBOOK[: RUNBOOK.index(f"\n## {AT_NIGHT[0]}\n")]
    assert [heading for heading in AT_NIGHT if f"[{heading}](#" not in overview] == []


def test_the_sections_that_commands_name_are_there() -> None:
    headings = set(re.findall(r"^###? (.*)$", RUNBOOK, re.MULTILINE))
    sources = [file.read_text() for file in sorted((ROOT / "cli/src/operator").rglob("*.rs"))]
    named = {
        name
        for source in sources
        for name in re.findall(r'\\"([^"\\]+)\\"(?= in (?:the runbook|docs/runbook\.md))', source)
        + re.findall(r'runbook\'s \\"([^"\\]+)\\"', source)
    }
    # A message may be broken over lines.
    named = {re.sub(r"\s+", " ", name) for name in named}
    assert {"When an alarm goes off", "Nobody gets credentials"} <= named
    assert named <= headings


def record(session: str | None, name: str = "carol-3o2jzrlhnfnb", **changes: Any) -> dict[str, Any]:
    """GetFederationToken, as CloudTrail records it."""
    made: dict[str, Any] = {
        "eventVersion": "1.08",
        "eventSource": "sts.amazonaws.com",
        "eventName": "GetFederationToken",
        "eventTime": "2026-11-22T12:00:00Z",
        "sourceIPAddress": "203.0.113.9",
        "userAgent": "aws-sdk-rust/1",
        "requestID": f"request-of-{session}",
        "requestParameters": {"name": name, "policy": "{}", "durationSeconds": 3600},
        "responseElements": None,
        "userIdentity": {"type": "IAMUser", "userName": "broker", "accessKeyId": "AKIAEXAMPLE"},
    }
    if session:
        made["responseElements"] = {"credentials": {"accessKeyId": session, "expiration": "Nov 22, 2026, 1:00:00 PM"}}
    return made | changes


def test_what_no_audit_line_explains_is_printed_and_nothing_else(tmp_path: Path) -> None:
    used = [
        record("ASIAOURS"),
        record("ASIATHEIRS", name="mallory"),
        record(None, errorCode="AccessDenied", requestID="refused"),
        record(None, eventName="ListBuckets", requestParameters=None, errorCode="AccessDenied", requestID="direct"),
        record(None, eventName="GetObject", userIdentity={"type": "FederatedUser", "accessKeyId": "ASIAOURS"}),
    ]
    issued = {"event": "outcome", "access_key_id": "ASIAOURS", "sts_request_id": "request-of-ASIAOURS"}
    (tmp_path / "used.json").write_text(json.dumps([json.dumps(event) for event in used]))
    (tmp_path / "issued.json").write_text(json.dumps([json.dumps(issued)]))
    (script,) = re.findall(r"python3 - << 'END'\n(.*?)^END$", SECTION, re.DOTALL | re.MULTILINE)
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [line.split()[-1] for line in lines] == ["request-of-ASIATHEIRS", "refused", "direct"]
    assert "mallory" in lines[0]
    assert "ASIATHEIRS" in lines[0]


def test_queries_name_fields_that_there_are() -> None:
    record_of_trail = record("ASIA", errorCode="x")
    lines = (ROOT / "src/audit/record/mod.rs").read_text()
    audit = set(re.findall(r"^    pub (\w+): ", lines, re.MULTILINE)) | {"event"}
    words = {
        "fields",
        "coalesce",
        "as",
        "filter",
        "and",
        "or",
        "ispresent",
        "stats",
        "count",
        "min",
        "latest",
        "by",
        "sort",
    }
    queries = re.findall(r"```text\n(.*?)```", SECTION, re.DOTALL)
    assert len(queries) == 2
    for query in queries:
        own = set(re.findall(r" as (\w+)", query))
        for name in re.findall(r"[a-zA-Z_][\w.]*", re.sub(r'"[^"]*"|@timestamp', "", query)):
            if name in words | own | audit:
                continue
            found: Any = record_of_trail
            for part in name.split("."):
                assert part in found, name
                found = found[part]


def test_the_trials_of_the_rotator_are_told_as_they_are() -> None:
    source = (ROOT / "src/credentials/sts.rs").read_text()
    name, policy = re.search(r'const TRIAL: .*?"([^"]+)",.*?r#"(.*?)"#', source, re.DOTALL).groups()
    assert f"`{name}`" in SECTION
    assert f"`{policy}`" in SECTION
    (statement,) = json.loads(policy)["Statement"]
    assert statement == {"Effect": "Deny", "Action": "*", "Resource": "*"}, "whoever holds it can do nothing"


def test_every_error_of_the_rotator_has_its_remedy() -> None:
    source = (ROOT / "src/rotation/mod.rs").read_text() + (ROOT / "src/rotation/event.rs").read_text()
    told = RUNBOOK[RUNBOOK.index("## A rotation failed") : RUNBOOK.index("## The broker key is old")]
    rows = set(re.findall(r"`([^`]+)`", "\n".join(line.split("|")[1] for line in told.splitlines() if line[:1] == "|")))
    # Of what is sent by nobody but an attacker or a mistake in AWS there is nothing to tell.
    silent = (
        "the event is neither",
        "the event's `",
        "the answer of {0} is incomplete",
        "CloudFormation could not be answered",
    )
    for error in re.findall(r'#\[error\("(.*?)"\)\]', source):
        if not error.startswith(silent):
            pattern = re.escape(error).replace(r"\{0\}", r"\w+")
            assert any(error.startswith(row) or re.fullmatch(pattern, row) for row in rows), error


def test_every_alarm_and_output_of_the_runbook_exists_and_every_alarm_is_in_it() -> None:
    template = Template.load()
    assert set(re.findall(r'"\$\(out (\w+)\)"', RUNBOOK)) <= template.body["Outputs"].keys()
    table = RUNBOOK[RUNBOOK.index("## When an alarm goes off") :]
    rows = set(re.findall(r"^\| `(\w+)` \|", table[: table.index("\n## ", 1)], re.MULTILINE))
    assert rows == template.of_type("AWS::CloudWatch::Alarm").keys()


# A stand-in for the AWS CLI that the runbook's lines are run with: it answers what they ask for, and keeps what they say.
STAND_IN = """#!{python}
import json, os, sys
if sys.argv[1:3] == ["sts", "get-caller-identity"]:
    print("{account}")
else:
    with open(os.environ["SAID"], "a") as said:
        said.write(json.dumps(sys.argv[1:]) + "\\n")
"""


def said(tmp_path: Path, user: str, script: str) -> list[dict[str, str]]:
    """The options of each call of `aws` in a script of the runbook, as the shell passes them on."""
    (tmp_path / "aws").write_text(STAND_IN.format(python=sys.executable, account=seed.ACCOUNT))
    (tmp_path / "aws").chmod(0o755)
    (tmp_path / "said").write_text("")
    script = f"out() {{ echo {user}; }}\n{script}"
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SAID": str(tmp_path / "said")}
    subprocess.run(["bash", "-euc", script], env=env, check=True)
    calls = [json.loads(line) for line in (tmp_path / "said").read_text().splitlines()]
    return [dict(zip(call[2::2], call[3::2], strict=True)) for call in calls]


def test_one_cut_off_does_not_lift_another(stack: Stack, api: Api, token: Token, tmp_path: Path) -> None:
    section = RUNBOOK[RUNBOOK.index("### Cut sessions off") : RUNBOOK.index("### Block a person")]
    everyone, one, _ = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    held = {who: api.ask(token=token(who)).body for who in ("carol", "erin", "frank")}
    s3 = {who: stack.aws.client("s3", seed.Key.of(answer)) for who, answer in held.items()}
    names = {who: answer["FederatedUser"]["Arn"].rpartition("/")[2] for who, answer in held.items()}

    def opens(who: str) -> bool:
        try:
            s3[who].list_objects_v2(Bucket=seed.REPORTS)
        except ClientError as refusal:
            assert refusal.response["Error"]["Code"] == "AccessDenied"
            return False
        return True

    assert {who: opens(who) for who in held} == {"carol": True, "erin": True, "frank": True}
    time.sleep(1.1)  # the cut holds for what began before the second that it names
    iam = stack.aws.client("iam")
    policies: list[str] = []
    user = stack.deployment.outputs["BrokerUser"]
    try:

        def cut(script: str) -> None:
            (options,) = said(tmp_path, user, script)
            policies.append(options["--policy-name"])
            iam.put_user_policy(
                UserName=options["--user-name"],
                PolicyName=options["--policy-name"],
                PolicyDocument=options["--policy-document"],
            )

        for who in ("carol", "erin"):
            cut(one.replace("carol-x7k2m5qp4t3a", names[who]))
        assert {who: opens(who) for who in held} == {"carol": False, "erin": False, "frank": True}
        cut(everyone)
        assert {who: opens(who) for who in held} == {"carol": False, "erin": False, "frank": False}
        assert len(set(policies)) == 3
    finally:
        for policy in policies:
            iam.delete_user_policy(UserName=user, PolicyName=policy)
    assert {who: opens(who) for who in held} == {"carol": True, "erin": True, "frank": True}


def test_subjects_to_block_are_listed_as_the_audit_lines_have_them(stack: Stack, api: Api, token: Token) -> None:
    api.ask(token=token("carol"))
    section = RUNBOOK[RUNBOOK.index("### Block a person") :]
    (script,) = re.findall(r"python3 -c '(.*?)'$", section, re.DOTALL | re.MULTILINE)
    lines = [json.dumps(outcome) for outcome in stack.outcomes() if outcome.get("federated_name")]
    done = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(lines), stdout=subprocess.PIPE, text=True, check=True
    )
    (carol,) = [line for line in done.stdout.splitlines() if line.startswith("corp/user/carol ")]
    assert carol.split()[1].startswith("carol-")
