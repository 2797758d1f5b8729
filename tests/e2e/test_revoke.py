"""Are sessions that were cut off refused, and only these, and can whoever cuts off do nothing else?

The command is the binary that people run, with the template's own policy. Sessions are made with the broker key of a
deployed stack. The emulator evaluates permissions boundaries, `aws:TokenIssueTime` and `aws:userid` of federated sessions.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import deploy
import pytest
import seed
from api import serving
from deploy import STACK_NAME, Deployment
from paths import COMMAND
from permissions import ceiling, refusal, user_with
from seed import ACCOUNT, REGION, Aws, Key
from stack import LOCAL, Stack
from test_operator_grants import document, user_without

Token = Callable[..., str]

ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
# What the function makes of corp/user/carol and corp/user/dave.
CAROL, DAVE = "carol-3o2jzrlhnfnb", "dave-vepqr5rywdko"

NOT_SHOWN = {
    "that AWS evaluates aws:TokenIssueTime and aws:userid of federated sessions against a boundary": (
        "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html"
    ),
    "that IAM refuses to delete a policy with several versions (the emulator does not)": (
        "https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeletePolicy.html"
    ),
    "RevokerPolicy: that a block is a write to `blocked#…` alone (the emulator knows no dynamodb:LeadingKeys)": (
        "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html"
    ),
}
"""What the emulator cannot show, and the page of AWS that says how it is there."""


def start(stack: Stack, key: Key, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Starts `hallpass` with this key, on the stack by its name."""
    settings = {
        "AWS_ENDPOINT_URL": stack.aws.endpoint,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "HALLPASS_STACK": STACK_NAME,
    }
    command = [str(COMMAND), *arguments]
    pipe = subprocess.PIPE
    variables = settings | key.environment() | environment
    return subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)


def run(stack: Stack, key: Key, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    process = start(stack, key, *arguments, **environment)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def told(done: subprocess.CompletedProcess[str], code: int = 0) -> str:
    assert done.returncode == code, done
    return done.stdout


def cuts(stack: Stack, key: Key = seed.ROOT) -> dict[str | None, str]:
    listed = json.loads(told(run(stack, key, "revoke", "--list", "--json")))["cuts"]
    assert all("name" in cut or cut["everyone"] is True for cut in listed)
    return {cut.get("name"): cut["before"] for cut in listed}


def versions(aws: Aws, deployed: Deployment) -> list[str]:
    listed = aws.client("iam").list_policy_versions(PolicyArn=deployed.outputs["BoundaryPolicy"])["Versions"]
    return [version["VersionId"] for version in listed]


def write(aws: Aws, deployed: Deployment, policy: dict[str, Any]) -> None:
    """Makes this the boundary, by hand."""
    iam, arn = aws.client("iam"), deployed.outputs["BoundaryPolicy"]
    before = versions(aws, deployed)
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(policy), SetAsDefault=True)
    for version in before:
        iam.delete_policy_version(PolicyArn=arn, VersionId=version)


def boundary(*denied: tuple[str, list[str]]) -> dict[str, Any]:
    """The boundary as the command writes it."""
    statements = [
        {
            "Effect": "Deny",
            "Action": "*",
            "Resource": "*",
            "Condition": {
                "DateLessThan": {"aws:TokenIssueTime": before},
                "StringEqualsIgnoreCase": {"aws:userid": [f"{ACCOUNT}:{name}" for name in names]},
            },
        }
        for before, names in denied
    ]
    return EVERYTHING | {"Statement": EVERYTHING["Statement"] + statements}


def ago(**time: int) -> str:
    return (datetime.now(UTC) - timedelta(**time)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture(scope="module", autouse=True)
def cli() -> None:
    assert COMMAND.exists(), "`make e2e` builds it"


@pytest.fixture(scope="module")
def broker(stack: Stack, deployed: Deployment) -> Key:
    return deploy.rotate(stack.aws, deployed)


@pytest.fixture(scope="module")
def minted(stack: Stack, broker: Key) -> Callable[..., Key]:
    """A session as the function makes it."""

    def mint(name: str, policy: dict[str, Any] = EVERYTHING) -> Key:
        sts = stack.aws.client("sts", broker)
        made = sts.get_federation_token(Name=name, Policy=json.dumps(policy), DurationSeconds=3600)
        return Key.of(made["Credentials"])

    return mint


@pytest.fixture
def works(stack: Stack) -> Callable[[Key], bool]:
    def works(key: Key) -> bool:
        code = refusal(stack.aws.client("dynamodb", key).list_tables)
        assert code in (None, "AccessDeniedException"), code
        return code is None

    return works


@pytest.fixture
def revoker(stack: Stack, deployed: Deployment) -> Iterator[Key]:
    with user_with(stack.aws, deployed.outputs["RevokerPolicy"]) as key:
        yield key


@pytest.fixture(autouse=True)
def uncut(stack: Stack, deployed: Deployment) -> Iterator[None]:
    yield
    if not deployed.deleted:
        write(stack.aws, deployed, EVERYTHING)


def test_a_person_who_is_cut_off_is_refused_and_another_goes_on(
    stack: Stack, deployed: Deployment, minted: Any, works: Any, revoker: Key
) -> None:
    carol, dave = minted(CAROL), minted(DAVE)
    assert (works(carol), works(dave)) == (True, True)
    done = json.loads(told(run(stack, revoker, "revoke", "--principal", "corp/user/carol", "--json")))
    (cut,) = done["cuts"]
    assert (cut["name"], done["blocked"]) == (CAROL, ["corp/user/carol"])
    assert (works(carol), works(dave)) == (False, True)
    assert works(minted(CAROL)), "a new one works at once"
    assert cuts(stack, revoker) == {CAROL: cut["before"]}
    assert len(versions(stack.aws, deployed)) == 1
    key = {"principal": {"S": "blocked#corp/user/carol"}, "grant": {"S": "#blocked"}}
    item = stack.aws.client("dynamodb").get_item(TableName=deployed.outputs["GrantsTable"], Key=key)["Item"]
    assert item["updated_by"]["S"] == f"arn:aws:iam::{ACCOUNT}:user/somebody"


def test_a_name_is_cut_off_in_any_case(stack: Stack, minted: Any, works: Any, revoker: Key) -> None:
    session = minted("Erin@Example.com")
    done = run(stack, revoker, "revoke", "--name", "erin@example.com")
    assert "nobody is blocked" in done.stderr, done
    assert (told(done) != "", works(session)) == (True, False)


def test_everybody_is_cut_off_and_nobody_is_blocked(
    stack: Stack, deployed: Deployment, minted: Any, works: Any, revoker: Key
) -> None:
    sessions = [minted(CAROL), minted(DAVE), minted("ci")]
    table = {"TableName": deployed.outputs["GrantsTable"]}
    before = stack.aws.client("dynamodb").scan(**table)["Count"]
    told(run(stack, revoker, "revoke", "--everyone"))
    assert [works(session) for session in sessions] == [False] * 3
    assert works(minted(CAROL))
    assert cuts(stack).keys() == {None}
    assert stack.aws.client("dynamodb").scan(**table)["Count"] == before
    told(run(stack, revoker, "revoke", "--clear"))
    assert [works(session) for session in sessions] == [True] * 3, "they have not expired"


def test_a_cut_holds_against_resource_policies_too(
    stack: Stack, deployed: Deployment, minted: Any, revoker: Key
) -> None:
    with bucket_for(stack.aws, CAROL) as bucket, narrow_ceiling(stack.aws, deployed):
        s3 = stack.aws.client("s3", minted(CAROL))
        assert refusal(s3.list_objects_v2, Bucket=seed.PAYROLL) == "AccessDenied"
        assert refusal(s3.list_objects_v2, Bucket=bucket) is None
        told(run(stack, revoker, "revoke", "--name", CAROL, "--no-block"))
        assert refusal(s3.list_objects_v2, Bucket=bucket) == "AccessDenied"


@contextmanager
def bucket_for(aws: Aws, name: str) -> Iterator[str]:
    """A bucket whose own policy names a session."""
    s3, bucket = aws.client("s3"), "acme-named"
    s3.create_bucket(Bucket=bucket)
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:sts::{ACCOUNT}:federated-user/{name}"},
        "Action": "s3:ListBucket",
        "Resource": f"arn:aws:s3:::{bucket}",
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    try:
        yield bucket
    finally:
        s3.delete_bucket(Bucket=bucket)


@contextmanager
def narrow_ceiling(aws: Aws, deployed: Deployment) -> Iterator[None]:
    """A ceiling without S3: only a bucket's own policy opens a bucket."""
    statement = {"Effect": "Allow", "Action": "dynamodb:ListTables", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam = aws.client("iam")
    narrow = iam.create_policy(PolicyName="narrow", PolicyDocument=policy)["Policy"]["Arn"]
    try:
        with ceiling(aws, deployed, narrow):
            yield
    finally:
        iam.delete_policy(PolicyArn=narrow)


def test_with_130_names_the_boundary_is_full_and_everybody_makes_room(
    stack: Stack, deployed: Deployment, minted: Any, works: Any, revoker: Key
) -> None:
    names = [f"a-name-of-32-characters-{number:08}" for number in range(130)]
    write(stack.aws, deployed, boundary((ago(minutes=30), names[:122])))
    last = minted(names[121])
    full = document(stack.aws, deployed.outputs["BoundaryPolicy"])
    for name in names[122:]:
        done = run(stack, revoker, "revoke", "--name", name, "--no-block")
        assert (done.returncode, "--everyone" in done.stderr, done.stdout) == (1, True, ""), done
        assert document(stack.aws, deployed.outputs["BoundaryPolicy"]) == full
    assert works(last), "it began after the cut"
    told(run(stack, revoker, "revoke", "--everyone"))
    assert (cuts(stack).keys(), works(last)) == ({None}, False)


def test_old_cuts_go_with_the_next_one(stack: Stack, deployed: Deployment, revoker: Key) -> None:
    policy = boundary((ago(hours=36, minutes=1), ["old"]), (ago(hours=35), ["young"]))
    write(stack.aws, deployed, policy)
    assert cuts(stack).keys() == {"old", "young"}
    told(run(stack, revoker, "revoke", "--name", "new", "--no-block"))
    assert cuts(stack).keys() == {"young", "new"}


def test_several_who_cut_off_at_once_lose_no_cut(stack: Stack, deployed: Deployment, revoker: Key) -> None:
    names = [f"name{number}" for number in range(6)]
    running = [start(stack, revoker, "revoke", "--name", name, "--no-block") for name in names]
    done = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0] * len(names), done
    assert cuts(stack).keys() == set(names)
    assert len(versions(stack.aws, deployed)) == 1


def test_a_run_that_is_killed_after_its_write_is_in_force_and_the_next_one_finishes_it(
    stack: Stack, deployed: Deployment, minted: Any, works: Any, revoker: Key
) -> None:
    session = minted(CAROL)
    process = start(stack, revoker, "revoke", "--name", CAROL, "--no-block")
    before = versions(stack.aws, deployed)
    deadline = time.monotonic() + 30
    while versions(stack.aws, deployed) == before and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert not works(session)
    told(run(stack, revoker, "revoke", "--name", DAVE, "--no-block"))
    assert cuts(stack).keys() == {CAROL, DAVE}
    assert len(versions(stack.aws, deployed)) == 1


def test_what_a_run_without_the_second_call_leaves_is_finished_by_the_next(
    stack: Stack, deployed: Deployment, minted: Any, works: Any, revoker: Key
) -> None:
    session, iam = minted(CAROL), stack.aws.client("iam")
    whole = document(stack.aws, deployed.outputs["RevokerPolicy"])
    statements = [
        statement | {"Action": [each for each in statement["Action"] if each != "iam:DeletePolicyVersion"]}
        if statement["Sid"] == "WriteCuts"
        else statement
        for statement in whole["Statement"]
    ]
    policy = json.dumps(whole | {"Statement": statements})
    lame = iam.create_policy(PolicyName="lame", PolicyDocument=policy)["Policy"]["Arn"]
    user = {"UserName": "lame"}
    iam.create_user(**user)
    iam.attach_user_policy(**user, PolicyArn=lame)
    made = iam.create_access_key(**user)["AccessKey"]
    try:
        key = Key(made["AccessKeyId"], made["SecretAccessKey"])
        done = run(stack, key, "revoke", "--name", CAROL, "--no-block")
        assert (done.returncode, "in force" in done.stderr) == (1, True), done
    finally:
        iam.delete_access_key(**user, AccessKeyId=made["AccessKeyId"])
        iam.detach_user_policy(**user, PolicyArn=lame)
        iam.delete_user(**user)
        iam.delete_policy(PolicyArn=lame)
    assert (works(session), len(versions(stack.aws, deployed))) == (False, 2)
    assert "more than one version" in run(stack, revoker, "revoke", "--list").stderr
    told(run(stack, revoker, "revoke", "--name", DAVE, "--no-block"))
    assert (cuts(stack).keys(), len(versions(stack.aws, deployed))) == ({CAROL, DAVE}, 1)


def test_a_boundary_that_somebody_edited_is_not_touched(stack: Stack, deployed: Deployment, revoker: Key) -> None:
    narrow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    for edited in (narrow, boundary((ago(hours=1), ["x"])) | {"Id": "mine"}):
        write(stack.aws, deployed, edited)
        for arguments in (["--everyone"], ["--principal", "corp/user/carol"], ["--list"], ["--clear"]):
            done = run(stack, revoker, "revoke", *arguments)
            assert (done.returncode, "edited" in done.stderr) == (1, True), done
        assert document(stack.aws, deployed.outputs["BoundaryPolicy"]) == edited


def test_whoever_may_only_block_does_so_and_is_told_that_nothing_is_cut_off(stack: Stack, deployed: Deployment) -> None:
    with user_with(stack.aws, deployed.outputs["OperatorPolicy"]) as key:
        for subject, arguments in {
            "frank": ("block", "corp/user/frank", "--revoke", "--reason", "left"),
            "grace": ("revoke", "--principal", "corp/user/grace"),
        }.items():
            done = run(stack, key, *arguments)
            said = f"corp/user/{subject} is blocked; no session was cut off: " in done.stderr
            assert (done.returncode, said, "iam:GetUser" in done.stderr) == (1, True, True), done
            item = {"principal": {"S": f"blocked#corp/user/{subject}"}, "grant": {"S": "#blocked"}}
            found = stack.aws.client("dynamodb").get_item(TableName=deployed.outputs["GrantsTable"], Key=item)
            assert "Item" in found, subject


# Who may cut off


NEEDED: dict[str, tuple[tuple[str, ...], str]] = {
    "FindTheParts": (("--everyone",), "cloudformation:DescribeStacks"),
    "SeeThatTheUserHasTheBoundary": (("--everyone",), "iam:GetUser"),
    "WriteCuts": (("--everyone",), "iam:ListPolicyVersions"),
    "FindNames": (("--principal", "corp/user/carol"), "dynamodb:Scan"),
    "FindPeople": (("--principal", "corp/group/deployers"), "logs:FilterLogEvents"),
    "WriteBlocks": (("--principal", "corp/user/carol"), "dynamodb:PutItem"),
}


@pytest.mark.parametrize("sid", NEEDED)
def test_each_statement_of_the_policy_is_needed(stack: Stack, deployed: Deployment, sid: str) -> None:
    arguments, permission = NEEDED[sid]
    with user_without(stack.aws, deployed.outputs["RevokerPolicy"], sid) as key:
        done = run(stack, key, "revoke", *arguments)
        assert (done.returncode, permission in done.stderr) == (1, True), done


def test_every_statement_of_the_policy_is_tried_and_it_suffices_for_groups(
    stack: Stack, deployed: Deployment, revoker: Key
) -> None:
    statements = document(stack.aws, deployed.outputs["RevokerPolicy"])["Statement"]
    assert {statement["Sid"] for statement in statements} == NEEDED.keys()
    told(run(stack, revoker, "revoke", "--principal", "corp/group/deployers"))


def test_whoever_cuts_off_changes_nothing_else(stack: Stack, deployed: Deployment, revoker: Key) -> None:
    iam, arn = stack.aws.client("iam", revoker), deployed.outputs["BoundaryPolicy"]
    user = {"UserName": deployed.outputs["BrokerUser"]}
    calls: dict[str, Callable[[], object]] = {
        "another boundary": lambda: iam.put_user_permissions_boundary(**user, PermissionsBoundary=ADMINISTRATOR),
        "no boundary": lambda: iam.delete_user_permissions_boundary(**user),
        "the boundary as a policy": lambda: iam.attach_user_policy(**user, PolicyArn=arn),
        "the boundary as their own policy": lambda: iam.attach_user_policy(UserName="somebody", PolicyArn=arn),
        "an inline policy": lambda: iam.put_user_policy(**user, PolicyName="x", PolicyDocument="{}"),
        "another policy of the stack": lambda: iam.create_policy_version(
            PolicyArn=deployed.outputs["RevokerPolicy"], PolicyDocument=json.dumps(EVERYTHING), SetAsDefault=True
        ),
        "a key": lambda: iam.create_access_key(**user),
        "the key": lambda: stack.aws.client("secretsmanager", revoker).get_secret_value(
            SecretId=deployed.outputs["BrokerKey"]
        ),
        "reading grants": lambda: stack.aws.client("dynamodb", revoker).scan(TableName=deployed.outputs["GrantsTable"]),
    }
    codes = {name: refusal(call) for name, call in calls.items()}
    assert set(codes.values()) <= {"AccessDenied", "AccessDeniedException"}, codes


def test_whatever_is_in_the_boundary_nobody_may_more_than_without_one(
    stack: Stack, deployed: Deployment, minted: Any, broker: Key, revoker: Key
) -> None:
    """The holder of RevokerPolicy writes what they like into it, by hand."""
    aws, user = stack.aws, {"UserName": deployed.outputs["BrokerUser"]}
    limited = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]}

    def sight(bucket: str) -> dict[str, str | None]:
        keys = {"anything": minted("named"), "limited": minted("limited", limited), "the user": broker}
        seen = {}
        for who, key in keys.items():
            s3, iam, dynamodb = (aws.client(service, key) for service in ("s3", "iam", "dynamodb"))
            seen |= {
                f"{who}: ceiling": refusal(dynamodb.list_tables),
                f"{who}: over the ceiling": refusal(iam.list_users),
                f"{who}: its own policies": refusal(iam.list_attached_user_policies, **user),
                f"{who}: the key": refusal(
                    aws.client("secretsmanager", key).get_secret_value, SecretId=deployed.outputs["BrokerKey"]
                ),
                f"{who}: a grant": refusal(dynamodb.scan, TableName=deployed.outputs["GrantsTable"]),
                f"{who}: a bucket": refusal(s3.list_objects_v2, Bucket=seed.PAYROLL),
                f"{who}: a bucket that names it": refusal(s3.list_objects_v2, Bucket=bucket),
            }
        return seen

    def written(policy: dict[str, Any]) -> None:
        iam, arn = aws.client("iam", revoker), deployed.outputs["BoundaryPolicy"]
        before = versions(aws, deployed)
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(policy), SetAsDefault=True)
        for version in before:
            iam.delete_policy_version(PolicyArn=arn, VersionId=version)

    def allow(*actions: str) -> dict[str, Any]:
        return {"Sid": f"S{len(actions)}", "Effect": "Allow", "Action": list(actions), "Resource": "*"}

    iam = aws.client("iam")
    ceilings = {
        "narrow": narrow_ceiling(aws, deployed),
        "deployed": nullcontext(),
        "administrator": ceiling(aws, deployed, ADMINISTRATOR),
    }
    for name, chosen in ceilings.items():
        with bucket_for(aws, "named") as bucket, chosen:
            iam.delete_user_permissions_boundary(**user)
            without = sight(bucket)
            iam.put_user_permissions_boundary(**user, PermissionsBoundary=deployed.outputs["BoundaryPolicy"])
            assert without["anything: ceiling"] is None
            assert without["anything: over the ceiling"] == "AccessDenied"
            assert (without["anything: a bucket"] is None) == (name != "narrow")
            assert without["anything: a bucket that names it"] is None, "also under a ceiling without S3"
            assert without["limited: a bucket"] == "AccessDenied"
            assert sight(bucket) == without
            written(EVERYTHING | {"Statement": [*EVERYTHING["Statement"], allow("iam:*", "sts:*"), allow("*:*")]})
            assert sight(bucket) == without, "an Allow in it allows nothing"
            written(EVERYTHING | {"Statement": [allow("iam:*", "sts:*")]})
            less = sight(bucket)
            assert opened(less) <= opened(without)
            written(EVERYTHING)


def opened(seen: dict[str, str | None]) -> set[str]:
    return {what for what, code in seen.items() if code is None}


@pytest.mark.parametrize("allow_iam", ["false", "true"])
def test_no_session_changes_the_boundary(stack: Stack, deployed: Deployment, minted: Any, allow_iam: str) -> None:
    if allow_iam == "true":
        deploy.update(stack.aws, deployed, AllowIam=allow_iam)
    arn, user = deployed.outputs["BoundaryPolicy"], {"UserName": deployed.outputs["BrokerUser"]}
    policy = json.dumps(EVERYTHING)
    try:
        with ceiling(stack.aws, deployed, ADMINISTRATOR):
            iam = stack.aws.client("iam", minted("anything"))
            assert (refusal(iam.list_users) is None) == (allow_iam == "true")
            calls: dict[str, Callable[[], object]] = {
                "another version": lambda: iam.create_policy_version(
                    PolicyArn=arn, PolicyDocument=policy, SetAsDefault=True
                ),
                "no version": lambda: iam.delete_policy_version(PolicyArn=arn, VersionId="v1"),
                "another boundary": lambda: iam.put_user_permissions_boundary(
                    **user, PermissionsBoundary=ADMINISTRATOR
                ),
                "no boundary": lambda: iam.delete_user_permissions_boundary(**user),
            }
            assert {name: refusal(call) for name, call in calls.items()} == dict.fromkeys(calls, "AccessDenied")
    finally:
        if allow_iam == "true":
            deploy.update(stack.aws, deployed, AllowIam="false")


def test_a_leaked_key_is_dealt_with_by_two_policies(
    stack: Stack, deployed: Deployment, minted: Any, works: Any, broker: Key
) -> None:
    """The emulator's RotateSecret makes a new version, and calls nobody: the new access key is made here."""
    session = minted(CAROL)
    iam, user = stack.aws.client("iam"), {"UserName": "both"}
    policies = [deployed.outputs[name] for name in ("KeyOperatorPolicy", "RevokerPolicy")]
    iam.create_user(**user)
    for policy in policies:
        iam.attach_user_policy(**user, PolicyArn=policy)
    made = iam.create_access_key(**user)["AccessKey"]
    secrets, secret = stack.aws.client("secretsmanager"), {"SecretId": deployed.outputs["BrokerKey"]}
    before = secrets.describe_secret(**secret)["VersionIdsToStages"].keys()
    new: list[str] = []

    def make_key() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if secrets.describe_secret(**secret)["VersionIdsToStages"].keys() != before:
                key = iam.create_access_key(UserName=deployed.outputs["BrokerUser"])["AccessKey"]
                new.append(key["AccessKeyId"])
                return
            time.sleep(0.05)

    making = threading.Thread(target=make_key)
    making.start()
    try:
        key = Key(made["AccessKeyId"], made["SecretAccessKey"])
        out = told(run(stack, key, "key", "rotate", "--deactivate-old", "--revoke", "--wait", "60"))
        assert f"deactivated {broker.id}\nSessions of everybody" in out
        assert not works(session)
        status = {
            key["AccessKeyId"]: key["Status"]
            for key in iam.list_access_keys(UserName=deployed.outputs["BrokerUser"])["AccessKeyMetadata"]
        }
        assert status == {broker.id: "Inactive", new[0]: "Active"}
    finally:
        making.join()
        broker_user = {"UserName": deployed.outputs["BrokerUser"]}
        iam.update_access_key(**broker_user, AccessKeyId=broker.id, Status="Active")
        for made_here in new:
            iam.delete_access_key(**broker_user, AccessKeyId=made_here)
        iam.delete_access_key(**user, AccessKeyId=made["AccessKeyId"])
        for policy in policies:
            iam.detach_user_policy(**user, PolicyArn=policy)
        iam.delete_user(**user)


# Verifying


def test_a_session_of_the_operators_own_is_seen_to_be_refused(stack: Stack, token: Token, tmp_path: Path) -> None:
    """On the local stack, whose function the operator asks with a token."""
    (tmp_path / "token").write_text(token("carol"))
    own = ("--server", stack.url, "--token-file", str(tmp_path / "token"))
    local = {"HALLPASS_STACK": LOCAL, "HOME": str(tmp_path)}
    try:
        arguments = ("revoke", "--name", "somebody", "--no-block", "--verify", "--json")
        done = run(stack, seed.ROOT, *arguments, *own, **local)
        answer = json.loads(told(done))
        assert (answer["verified"], {cut["name"] for cut in answer["cuts"]}) == (True, {"somebody", CAROL})
        assert "is refused" in done.stderr
        refused = run(stack, seed.ROOT, *arguments, *own[:2], "--token-file", str(tmp_path / "none"), **local)
        assert (refused.returncode, "no session was cut off" in refused.stderr) == (1, True), refused
    finally:
        told(run(stack, seed.ROOT, "revoke", "--clear", **local))


# The stack changes, comes and goes


def _earlier(template: dict[str, Any]) -> None:
    """The template before there was a boundary."""
    resources, outputs = template["Resources"], template["Outputs"]
    for name in ("BoundaryPolicy", "RevokerPolicy"):
        del resources[name], outputs[name]
    del resources["BrokerUser"]["Properties"]["PermissionsBoundary"]


def test_a_stack_without_a_boundary_gets_one_and_no_request_fails(
    stack: Stack, parameters: dict[str, str], token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setitem(deploy.SUBSTITUTIONS, "an earlier template", _earlier)
        deployment = deploy.create(stack.aws, parameters, name="earlier")
    try:
        front = serving(stack, deployment)
        iam, user = stack.aws.client("iam"), {"UserName": deployment.outputs["BrokerUser"]}
        assert "PermissionsBoundary" not in iam.get_user(**user)["User"]
        carol, over = token("carol"), threading.Event()
        statuses: list[int] = []
        session = stack.aws.client("s3", front.key(carol))
        listed: list[str | None] = []

        def ask() -> None:
            while not over.is_set():
                statuses.append(front.ask(token=carol).status)
                listed.append(refusal(session.list_objects_v2, Bucket=seed.REPORTS))

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            deploy.update(stack.aws, deployment)
            time.sleep(0.5)
        finally:
            over.set()
            asking.join()
        assert (set(statuses), set(listed), len(statuses) > 3) == ({200}, {None}, True)
        assert iam.get_user(**user)["User"]["PermissionsBoundary"]["PermissionsBoundaryArn"].split("/")[1:3] == [
            "hallpass",
            "earlier",
        ]
        told(run(stack, seed.ROOT, "revoke", "--everyone", HALLPASS_STACK="earlier"))
        assert refusal(session.list_objects_v2, Bucket=seed.REPORTS) == "AccessDenied"
    finally:
        deploy.delete(stack.aws, deployment)


def test_a_changed_stack_keeps_its_cuts_and_one_that_goes_takes_them_along(
    stack: Stack, deployed: Deployment, minted: Any, works: Any
) -> None:
    session = minted(CAROL)
    told(run(stack, seed.ROOT, "revoke", "--everyone"))
    before = cuts(stack)
    deploy.update(stack.aws, deployed, RequestsPerSecond="51")
    assert (cuts(stack), works(session)) == (before, False)
    # IAM deletes a policy only if it has no other version.
    assert len(versions(stack.aws, deployed)) == 1
    deploy.delete(stack.aws, deployed)
    left = stack.aws.client("iam").list_policies(Scope="Local", PathPrefix=f"/hallpass/{STACK_NAME}/")["Policies"]
    assert left == []
