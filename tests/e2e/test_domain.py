"""Does a domain of one's own become the way in? The template with DomainName, in the emulated AWS, as far as that goes: it
has no DNS and no certificates, and tells domains apart by the name of the host.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from api import Api, serving
from deploy import Deployment
from stack import Stack

Token = Callable[..., str]

DOMAIN = "hallpass.acme.example"
METADATA = "/.well-known/oauth-protected-resource"


@pytest.fixture(scope="module")
def parameters(stack: Stack, parameters: dict[str, str]) -> dict[str, str]:
    zone = stack.aws.client("route53").create_hosted_zone(Name="acme.example", CallerReference="domain")["HostedZone"]
    certificate = stack.aws.client("acm").request_certificate(DomainName=DOMAIN)["CertificateArn"]
    domain = {"DomainName": DOMAIN, "CertificateArn": certificate, "HostedZoneId": zone["Id"].rsplit("/", 1)[-1]}
    return parameters | domain


@pytest.fixture(scope="module")
def front(stack: Stack, deployed: Deployment) -> Api:
    serving(stack, deployed)
    return Api(stack, stack.aws.endpoint, DOMAIN)


def test_the_domain_leads_to_the_function(deployed: Deployment, front: Api, token: Token) -> None:
    assert deployed.outputs["Url"] == f"https://{DOMAIN}"
    assert front.ask(path="/v1/health").status == 200
    assert front.ask(token=token("carol")).body["Grant"] == "default"


def test_the_function_knows_itself_by_the_domain(front: Api) -> None:
    assert front.ask(path=METADATA).body["resource"] == f"https://{DOMAIN}"
    challenge = f'Bearer resource_metadata="https://{DOMAIN}{METADATA}"'
    assert front.ask().headers["www-authenticate"] == challenge


def test_the_name_has_its_record_and_the_api_no_other_door(stack: Stack, deployed: Deployment) -> None:
    zone = deployed.parameters["HostedZoneId"]
    records = stack.aws.client("route53").list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    (record,) = [record for record in records if record["Name"].rstrip(".") == DOMAIN]
    assert record["Type"] == "A"
    assert record["AliasTarget"]["DNSName"].rstrip(".") == deployed.outputs["DomainTarget"]
    gateway = stack.aws.client("apigatewayv2")
    assert gateway.get_api(ApiId=deployed.resources["Api"])["DisableExecuteApiEndpoint"] is True
    (mapping,) = gateway.get_api_mappings(DomainName=DOMAIN)["Items"]
    assert (mapping["ApiId"], mapping.get("ApiMappingKey", "")) == (deployed.resources["Api"], "")
    assert urlsplit(deployed.outputs["Url"]).netloc == gateway.get_domain_name(DomainName=DOMAIN)["DomainName"]
