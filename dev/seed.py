"""What has the company in AWS before it has Hallpass, and which grants does it write?

Everything here acts as root of the emulated account. Nothing that runs afterwards does: MiniStack enforces policies for
the function's role and the broker user only because they are not root.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from boto3.dynamodb.types import TypeSerializer
from botocore.client import BaseClient
from botocore.config import Config
from paths import COMMAND

ACCOUNT = "111122223333"
REGION = "us-east-1"
ROOT_KEY = "test"  # MiniStack's root, both halves

CEILING = "acme-ceiling"
REPORTS = "acme-reports"
PAYROLL = "acme-payroll"
HOME = "acme-home"
SHOP = "acme-shop"
RESULTS = "acme-results"
ORDERS = "acme-orders"  # a table and a secret that have nothing to do with Hallpass
API_KEY = "acme/api-key"
OBJECTS = {REPORTS: "2026/q3.csv", PAYROLL: "2026/november.csv"}
WRITABLE = [HOME, SHOP, RESULTS]

# Where the company's own applications run in a browser: Vite first, then where Parcel, Next.js, Vite's preview, Angular,
# esbuild and webpack serve a page, unless they are told otherwise.
ORIGINS = [f"http://localhost:{port}" for port in (5173, 1234, 3000, 4173, 4200, 8000, 8080)]


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


def company(aws: Aws) -> str:
    """Makes what the company has before Hallpass. Answers the policy that is to be the ceiling of every session."""
    _buckets(aws)
    aws.client("dynamodb").create_table(
        TableName=ORDERS,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
    aws.client("secretsmanager").create_secret(Name=API_KEY, SecretString="{}")
    ceiling = [
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
    document = json.dumps({"Version": "2012-10-17", "Statement": ceiling})
    return aws.client("iam").create_policy(PolicyName=CEILING, PolicyDocument=document)["Policy"]["Arn"]


def _buckets(aws: Aws) -> None:
    s3 = aws.client("s3")
    for bucket, key in OBJECTS.items():
        _bucket(s3, bucket)
        s3.put_object(Bucket=bucket, Key=key, Body=b"month,amount\n11,42\n")
    for bucket in WRITABLE:
        _bucket(s3, bucket)


def _bucket(s3: BaseClient, bucket: str) -> None:
    """Makes a bucket that pages of the company's applications may ask."""
    s3.create_bucket(Bucket=bucket)
    rule = {
        "AllowedOrigins": ORIGINS,
        "AllowedMethods": ["GET", "HEAD", "PUT", "POST", "DELETE"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag", "x-amz-request-id", "x-amz-id-2"],
        "MaxAgeSeconds": 600,
    }
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})


def apply_grants(aws: Aws, directory: Path, table: str) -> None:
    """Writes the grant files of `directory` to the table, as an operator does it."""
    command(aws, table, "apply", "--yes", str(directory))


def command(aws: Aws, table: str, *arguments: str) -> str:
    """Runs `hallpass grants` on a table, and answers what it prints."""
    environment = {
        "AWS_ENDPOINT_URL": aws.endpoint,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ROOT.id,
        "AWS_SECRET_ACCESS_KEY": ROOT.secret,
        "AWS_EC2_METADATA_DISABLED": "true",
        "HALLPASS_TABLE": table,
    }
    done = subprocess.run(
        [str(COMMAND), "grants", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"hallpass grants {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def put_item(aws: Aws, principal: str, grant: str, attributes: dict[str, Any], table: str) -> None:
    item = {"principal": principal, "grant": grant} | attributes
    aws.client("dynamodb").put_item(TableName=table, Item=TypeSerializer().serialize(item)["M"])


def register_name(aws: Aws, name: str, owner: str, table: str) -> None:
    """What an operator does where names come from a claim: says whose it is."""
    aws.client("dynamodb").put_item(TableName=table, Item={"id": {"S": f"name#{name}"}, "owner": {"S": owner}})


def delete_item(aws: Aws, principal: str, grant: str, table: str) -> None:
    key = {"principal": {"S": principal}, "grant": {"S": grant}}
    aws.client("dynamodb").delete_item(TableName=table, Key=key)
