"""What must exist in AWS before Hallpass can serve? The same things that the template makes, and a company to serve.

Everything here acts as root of the emulated account. Nothing that runs afterwards does: MiniStack enforces policies for
the function's role and the broker user only because they are not root.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import yaml
from boto3.dynamodb.types import TypeSerializer
from botocore.client import BaseClient
from botocore.config import Config

ACCOUNT = "111122223333"
REGION = "us-east-1"
ROOT_KEY = "test"  # MiniStack's root, both halves

TABLE = "hallpass-grants"
STATE = "hallpass-state"
SECRET = "hallpass/broker-key"
FUNCTION_ROLE = "hallpass-function"
BROKER_USER = "hallpass-broker"

REPORTS = "acme-reports"
PAYROLL = "acme-payroll"
HOME = "acme-home"
SHOP = "acme-shop"
RESULTS = "acme-results"
OBJECTS = {REPORTS: "2026/q3.csv", PAYROLL: "2026/november.csv"}
WRITABLE = [HOME, SHOP, RESULTS]

FUNCTION_SESSION_S = 43_200  # the longest that STS gives: `make up` may be left open over a working day


@dataclass(frozen=True)
class Key:
    """Credentials, of a user or of a session."""

    id: str
    secret: str
    token: str | None = None

    def environment(self) -> dict[str, str]:
        """As Lambda hands them to a function."""
        variables = {"AWS_ACCESS_KEY_ID": self.id, "AWS_SECRET_ACCESS_KEY": self.secret}
        return variables | ({"AWS_SESSION_TOKEN": self.token} if self.token else {})

    @classmethod
    def of(cls, answer: dict[str, Any]) -> Key:
        """From what STS or Hallpass answers."""
        return cls(answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"])


ROOT = Key(ROOT_KEY, ROOT_KEY)


@dataclass(frozen=True)
class Aws:
    """The emulated AWS."""

    endpoint: str

    def client(self, service: str, key: Key = ROOT, config: Config | None = None) -> BaseClient:
        """A boto3 client that uses `key` and nothing of the engineer's own configuration."""
        session = boto3.Session(key.id, key.secret, key.token, region_name=REGION)
        config = Config(retries={"total_max_attempts": 1}, proxies={}).merge(config or Config())
        return session.client(service, endpoint_url=self.endpoint, config=config)


def seed(aws: Aws, grants: Path) -> Key:
    """Makes it all. The answer is what the function runs with: a session of its role."""
    _buckets(aws)
    _tables(aws)
    _broker_user(aws)
    put_grants(aws, grants)
    return _function_role(aws)


def _buckets(aws: Aws) -> None:
    s3 = aws.client("s3")
    for bucket, key in OBJECTS.items():
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key=key, Body=b"month,amount\n11,42\n")
    for bucket in WRITABLE:
        s3.create_bucket(Bucket=bucket)


def _tables(aws: Aws) -> None:
    dynamodb = aws.client("dynamodb")
    for table, keys in {TABLE: ["principal", "grant"], STATE: ["id"]}.items():
        dynamodb.create_table(
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            KeySchema=[
                {"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ["HASH", "RANGE"], strict=False)
            ],
        )
    dynamodb.update_time_to_live(
        TableName=STATE, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"}
    )


def _broker_user(aws: Aws) -> None:
    """The user whose permissions are the ceiling of every session, its key, and the secret that holds the key."""
    iam = aws.client("iam")
    iam.create_user(UserName=BROKER_USER)
    ceiling = [
        # MiniStack refuses GetFederationToken on anything narrower than `*`; the template says `federated-user/*`.
        {"Effect": "Allow", "Action": ["sts:GetFederationToken", "sts:TagSession"], "Resource": "*"},
        # Reading these buckets and writing neither: the sample grant for analysts also says PutObject, in vain.
        {
            "Effect": "Allow",
            "Action": ["s3:ListBucket", "s3:GetObject"],
            "Resource": [f"arn:aws:s3:::{name}{path}" for name in OBJECTS for path in ("", "/*")],
        },
        {
            "Effect": "Allow",
            "Action": ["s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
            "Resource": [f"arn:aws:s3:::{name}{path}" for name in WRITABLE for path in ("", "/*")],
        },
    ]
    iam.put_user_policy(UserName=BROKER_USER, PolicyName="ceiling", PolicyDocument=_policy(ceiling))
    aws.client("secretsmanager").create_secret(Name=SECRET, SecretString=_new_broker_key(aws))


def _new_broker_key(aws: Aws) -> str:
    """As it stands in the secret."""
    key = aws.client("iam").create_access_key(UserName=BROKER_USER)["AccessKey"]
    return json.dumps({name: key[name] for name in ("AccessKeyId", "SecretAccessKey")})


def rotate_broker_key(aws: Aws) -> None:
    """A new key into the secret, and the old one gone at once."""
    old = broker_key(aws)
    aws.client("secretsmanager").put_secret_value(SecretId=SECRET, SecretString=_new_broker_key(aws))
    aws.client("iam").delete_access_key(UserName=BROKER_USER, AccessKeyId=old.id)


def broker_key(aws: Aws) -> Key:
    secret = json.loads(aws.client("secretsmanager").get_secret_value(SecretId=SECRET)["SecretString"])
    return Key(secret["AccessKeyId"], secret["SecretAccessKey"])


def _function_role(aws: Aws) -> Key:
    iam = aws.client("iam")
    trust = [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]
    # Lambda is not here to assume the role, so root may as well.
    trust.append({"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"})
    role = iam.create_role(
        RoleName=FUNCTION_ROLE, AssumeRolePolicyDocument=_policy(trust), MaxSessionDuration=FUNCTION_SESSION_S
    )["Role"]
    table, state = (f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}" for name in (TABLE, STATE))
    secret = aws.client("secretsmanager").describe_secret(SecretId=SECRET)["ARN"]
    permissions = [
        {"Effect": "Allow", "Action": "dynamodb:BatchGetItem", "Resource": [table, state]},
        {"Effect": "Allow", "Action": "dynamodb:Query", "Resource": table},
        {"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": state},
        {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": secret},
    ]
    iam.put_role_policy(RoleName=FUNCTION_ROLE, PolicyName="function", PolicyDocument=_policy(permissions))
    session = aws.client("sts").assume_role(
        RoleArn=role["Arn"], RoleSessionName="broker", DurationSeconds=FUNCTION_SESSION_S
    )
    return Key.of(session["Credentials"])


def put_grants(aws: Aws, directory: Path, table: str = TABLE) -> None:
    """Writes every grant file of `directory` to the table: one item for each principal of each document."""
    items: dict[tuple[str, str], dict[str, Any]] = {}
    for path in sorted(directory.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            name, principals = document.pop("grant"), document.pop("principals")
            for principal in principals:
                if (principal, name) in items:
                    raise ValueError(f"{path}: {principal} has two documents for the grant {name}")
                items[principal, name] = document
    for (principal, name), attributes in items.items():
        put_item(aws, principal, name, attributes, table)


def put_item(aws: Aws, principal: str, grant: str, attributes: dict[str, Any], table: str = TABLE) -> None:
    item = {"principal": principal, "grant": grant} | attributes
    aws.client("dynamodb").put_item(TableName=table, Item=TypeSerializer().serialize(item)["M"])


def register_name(aws: Aws, name: str, owner: str) -> None:
    """What an operator does where names come from a claim: says whose it is."""
    aws.client("dynamodb").put_item(TableName=STATE, Item={"id": {"S": f"name#{name}"}, "owner": {"S": owner}})


def delete_item(aws: Aws, principal: str, grant: str) -> None:
    key = {"principal": {"S": principal}, "grant": {"S": grant}}
    aws.client("dynamodb").delete_item(TableName=TABLE, Key=key)


def _policy(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})
