//! Which providers sign tokens for strangers too, and which claim says that a token is ours?
//!
//! A shared provider signs the tokens of all its customers under one `iss`, and anyone can become a customer. Many let
//! the customer choose `aud`. AWS has a list of such providers, and refuses a role that does not check the claim that
//! the list names:
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_oidc_secure-by-default.html>

use url::Url;

/// A provider that many organizations share.
#[derive(Debug)]
pub(super) struct SharedProvider {
    pub(super) name: &'static str,
    /// Host and path of each issuer, in lower case.
    issuers: &'static [&'static str],
    /// Each of these claims tells the customers apart, and one of them has to be required. Empty if no claim does.
    pub(super) tenant_claims: &'static [&'static str],
}

/// AWS's whole list, and Google. As on AWS, the whole issuer counts: one with a path or a subdomain of its own, such as
/// `https://oidc.vercel.com/acme`, belongs to one customer.
///
/// AWS's claim is `sub`, unless a comment says otherwise. AWS compares it with a pattern, such as `organization:acme:*`.
/// Values are exact here, so a claim that names the customer comes first if the provider documents one. An id is better
/// than a name, which another customer can take over.
const SHARED_PROVIDERS: &[SharedProvider] = &[
    // AWS: `aud`, the id of the identity pool. The other hosts are those of AWS's other partitions.
    SharedProvider {
        name: "Amazon Cognito identity pools",
        issuers: &[
            "cognito-identity.amazonaws.com",
            "cognito-identity-us-gov.amazonaws.com",
            "cognito-identity.us-gov-east-1.amazonaws.com",
            "cognito-identity.cn-north-1.amazonaws.com.cn",
        ],
        tenant_claims: &["/aud"],
    },
    // AWS: `sts:RoleSessionName`, which is not a claim: Sentinel sends it to STS. The tokens of all customers are alike.
    SharedProvider {
        name: "Azure Sentinel",
        issuers: &["sts.windows.net/33e01921-4d64-4f8c-a055-5bdaffd5e33d"],
        tenant_claims: &[],
    },
    // <https://buildkite.com/docs/agent/v3/cli-oidc>
    SharedProvider {
        name: "Buildkite",
        issuers: &["agent.buildkite.com"],
        tenant_claims: &["/organization_id", "/organization_slug", "/sub"],
    },
    // <https://codefresh.io/docs/docs/integrations/oidc-pipelines/>
    SharedProvider { name: "Codefresh", issuers: &["oidc.codefresh.io"], tenant_claims: &["/account_id", "/sub"] },
    // The second issuer is the former one.
    SharedProvider {
        name: "DVC Studio",
        issuers: &["studio.datachain.ai/api", "studio.iterative.ai/api"],
        tenant_claims: &["/sub"],
    },
    // Not AWS's `sub`: it is made of names, which another customer can take over.
    SharedProvider {
        name: "GitHub Actions",
        issuers: &["token.actions.githubusercontent.com"],
        tenant_claims: &["/repository_owner_id"],
    },
    SharedProvider {
        name: "GitHub audit log streaming",
        issuers: &["oidc-configuration.audit-log.githubusercontent.com"],
        tenant_claims: &["/sub"],
    },
    SharedProvider {
        name: "GitHub vstoken",
        issuers: &["vstoken.actions.githubusercontent.com"],
        tenant_claims: &["/sub"],
    },
    // Not AWS's `sub`, for the same reason.
    SharedProvider { name: "GitLab", issuers: &["gitlab.com"], tenant_claims: &["/namespace_id"] },
    // Not in AWS's list. `hd` is the domain of a Workspace.
    // <https://developers.google.com/identity/openid-connect/openid-connect#an-id-tokens-payload>
    SharedProvider { name: "Google", issuers: &["accounts.google.com"], tenant_claims: &["/hd"] },
    // <https://developer.hashicorp.com/terraform/cloud-docs/workspaces/dynamic-provider-credentials/workload-identity-tokens>
    // The second issuer is HCP Europe's, which AWS does not list.
    SharedProvider {
        name: "HCP Terraform (Terraform Cloud)",
        issuers: &["app.terraform.io", "app.eu.terraform.io"],
        tenant_claims: &["/terraform_organization_id", "/sub"],
    },
    // Other paths on these hosts are the issuers of other clusters, each with one owner.
    SharedProvider {
        name: "IBM Turbonomic",
        issuers: &[
            "rh-oidc.s3.us-east-1.amazonaws.com/22ejnvnnturfmt6km08idd0nt4hekbn7",
            "rh-oidc.s3.us-east-1.amazonaws.com/23e3sd27sju1hoou6ohfs68vbno607tr",
            "rh-oidc.s3.us-east-1.amazonaws.com/23ne21h005qjl3n33d8dui5dlrmv2tmg",
            "rh-oidc.s3.us-east-1.amazonaws.com/24jrf12m5dj7ljlfb4ta2frhrcoadm26",
            "oidc.op1.openshiftapps.com/2f785sojlpb85i7402pk3qogugim5nfb",
            "oidc.op1.openshiftapps.com/2c51blsaqa9gkjt0o9rt11mle8mmropu",
        ],
        tenant_claims: &["/sub"],
    },
    // AWS: `aud`, which holds the organization's name.
    SharedProvider { name: "Pulumi Cloud", issuers: &["api.pulumi.com/oidc"], tenant_claims: &["/aud", "/sub"] },
    // Not in AWS's list: the tokens whose `aud` the customer chooses.
    // <https://www.pulumi.com/docs/esc/guides/configuring-oidc/custom-audience/>
    SharedProvider {
        name: "Pulumi Cloud, custom audiences",
        issuers: &["api.pulumi.com/oidc/v2"],
        tenant_claims: &["/https:~1~1pulumi.com~1org_id", "/sub"],
    },
    // AWS: `aud`, the organization's name.
    SharedProvider { name: "sandboxes.cloud", issuers: &["sandboxes.cloud"], tenant_claims: &["/aud"] },
    SharedProvider { name: "Scalr", issuers: &["scalr.io"], tenant_claims: &["/sub"] },
    SharedProvider { name: "Shisho Cloud", issuers: &["tokens.cloud.shisho.dev"], tenant_claims: &["/sub"] },
    SharedProvider { name: "Upbound", issuers: &["proidc.upbound.io"], tenant_claims: &["/sub"] },
    // Not AWS's `aud`: a customer can ask for a token with another audience.
    // <https://vercel.com/docs/oidc/reference>
    SharedProvider { name: "Vercel", issuers: &["oidc.vercel.com"], tenant_claims: &["/owner_id", "/sub"] },
];

impl SharedProvider {
    /// The shared provider of this issuer. Scheme, port, case, a dot after the host and slashes at the end make no
    /// difference: `iss` is compared exactly, so another spelling is a mistake, and must not get around the check.
    pub(super) fn of(issuer: &str) -> Option<&'static Self> {
        // Google's tokens may name it without the scheme.
        let with_scheme = if issuer.contains("://") { issuer.to_owned() } else { format!("https://{issuer}") };
        let url = Url::parse(&with_scheme).ok()?;
        let host = url.host_str()?.trim_end_matches('.');
        let address = format!("{host}{}", url.path().trim_end_matches('/')).to_ascii_lowercase();
        SHARED_PROVIDERS.iter().find(|provider| provider.issuers.contains(&address.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use serde_json::{Value, json};

    use super::super::{Issuer, parse_issuers};
    use super::*;
    use crate::read::problems::Problems;

    fn parse(issuer: &str, required_claims: &Value) -> Result<Issuer, String> {
        let entry = json!([{
            "id": "corp", "issuer": issuer, "audiences": ["hallpass"], "required_claims": required_claims,
            "jwks_uri": "https://keys.example.com/", "insecure_http": true,
        }]);
        let mut problems = Problems::default();
        let issuers = parse_issuers(&entry.to_string(), &mut problems);
        if problems.is_empty() { Ok(issuers.into_iter().next().unwrap()) } else { Err(problems.to_string()) }
    }

    fn each_issuer() -> impl Iterator<Item = (&'static SharedProvider, String)> {
        let issuers = |provider: &'static SharedProvider| {
            provider.issuers.iter().map(move |address| (provider, format!("https://{address}")))
        };
        SHARED_PROVIDERS.iter().flat_map(issuers)
    }

    #[test]
    fn each_shared_provider_needs_one_of_its_claims() {
        for (provider, issuer) in each_issuer() {
            for missing in [json!({}), json!({"/email_verified": [true]}), json!({"/aud/0": ["acme"]})] {
                let problem = parse(&issuer, &missing).unwrap_err();
                assert!(problem.contains(provider.name), "{problem}");
                assert!(problem.contains(&format!("`{issuer}`")), "{problem}");
                for claim in provider.tenant_claims {
                    assert!(problem.contains(&format!("`{claim}`")), "{problem}");
                }
            }
            for claim in provider.tenant_claims {
                assert!(parse(&issuer, &json!({ *claim: ["acme"] })).is_ok(), "{issuer} {claim}");
            }
        }
    }

    #[test]
    fn a_provider_whose_tokens_are_all_alike_is_never_trusted() {
        let sentinel = "https://sts.windows.net/33e01921-4d64-4f8c-a055-5bdaffd5e33d/";
        for required in [json!({}), json!({"/sub": ["x"], "/oid": ["x"], "/tid": ["x"], "/aud": ["x"]})] {
            let problem = parse(sentinel, &required).unwrap_err();
            assert!(problem.starts_with("HALLPASS_ISSUERS/0/issuer cannot be trusted"), "{problem}");
        }
    }

    #[test]
    fn another_spelling_of_an_issuer_is_the_same_provider() {
        for (provider, issuer) in each_issuer() {
            let address = issuer.strip_prefix("https://").unwrap();
            let (host, path) = address.split_at(address.find('/').unwrap_or(address.len()));
            for spelled in [
                format!("{issuer}/"),
                format!("{issuer}//"),
                format!("{host}{path}"),
                format!("HTTPS://{}{path}", host.to_ascii_uppercase()),
                format!("https://{host}.{path}"),
                format!("https://{host}:443{path}"),
                format!("https://{host}:8443{path}"),
                format!("https://{host}.:443{path}/"),
                format!("https://user@{host}{path}"),
                format!("https://{host}/x/..{path}"),
                format!("https://{host}{path}?x=1"),
                format!("https://{host}{path}#x"),
                format!("http://{host}{path}"),
                format!("http://{host}:443{path}"),
                format!("https://{host}{}", path.to_ascii_uppercase()),
            ] {
                let found = SharedProvider::of(&spelled).map(|found| found.name);
                assert_eq!(found, Some(provider.name), "{spelled}");
                assert!(parse(&spelled, &json!({})).is_err(), "{spelled}");
            }
        }
    }

    #[test]
    fn an_issuer_of_ones_own_needs_no_claim() {
        for issuer in [
            "https://login.example.com",
            "https://gitlab.example.com",
            "https://gitlab.com.example.com",
            "https://evil-gitlab.com",
            "https://my.gitlab.com",
            "https://example.com/gitlab.com",
            "https://example.com?issuer=https://gitlab.com",
            "https://acme.scalr.io",
            "https://oidc.vercel.com/acme",
            "https://token.actions.githubusercontent.com/acme",
            "https://token.actions.acme.ghe.com",
            "https://github.example.com/_services/token",
            "https://terraform.example.com",
            "https://api.pulumi.com/oidc/v3",
            "https://studio.datachain.ai",
            "https://oidc.op1.openshiftapps.com/0123456789abcdef0123456789abcdef",
            "https://rh-oidc.s3.us-east-1.amazonaws.com/0123456789abcdef0123456789abcdef",
            "https://sts.windows.net/11111111-2222-3333-4444-555555555555/",
            "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_abcdefghi",
        ] {
            assert!(parse(issuer, &json!({})).is_ok(), "{issuer}");
        }
    }

    #[test]
    fn addresses_are_unique_and_written_as_they_are_compared() {
        let mut all: Vec<&str> = SHARED_PROVIDERS.iter().flat_map(|provider| provider.issuers).copied().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        for address in all {
            assert!(!address.contains(char::is_uppercase) && !address.ends_with('/'), "{address}");
        }
    }

    #[test]
    fn the_page_lists_every_shared_provider_with_its_issuers_and_claims() {
        let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md")).unwrap();
        let mut rows = 0;
        for provider in SHARED_PROVIDERS {
            let begins = format!("| {} |", provider.name);
            let row = page.lines().find(|line| line.starts_with(&begins));
            let row = row.unwrap_or_else(|| panic!("no row begins `{begins}`"));
            for issuer in provider.issuers {
                assert!(row.contains(&format!("`https://{issuer}`")), "{issuer} in {row}");
            }
            for claim in provider.tenant_claims {
                assert!(row.contains(&format!("`{claim}`")), "{claim} in {row}");
            }
            rows += 1;
        }
        let section = page.split("## Shared providers").nth(1).unwrap().split("\n## ").next().unwrap();
        assert_eq!(section.lines().filter(|line| line.starts_with("| ")).count(), rows + 2, "a row too many");
    }
}
