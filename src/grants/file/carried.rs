//! Which claims do the tokens of a provider never carry?
//!
//! Only what the provider's own pages say is here. A provider that is not listed may carry anything.

/// A provider, by the addresses of its issuers, and the claims about a sign-in that it never puts into a token.
struct Provider {
    name: &'static str,
    /// Whether an issuer is this provider's. It is given without `https://` and without a slash at the end.
    is_of: fn(&str) -> bool,
    never: &'static [&'static str],
}

/// Nobody signs in: a machine gets the token.
const NO_SIGN_IN: &[&str] = &["acr", "amr", "auth_time"];

const PROVIDERS: &[Provider] = &[
    // <https://docs.github.com/en/actions/reference/security/oidc>
    Provider {
        name: "GitHub Actions",
        is_of: |issuer| {
            issuer == "token.actions.githubusercontent.com"
                || issuer.starts_with("token.actions.githubusercontent.com/")
        },
        never: NO_SIGN_IN,
    },
    // <https://buildkite.com/docs/agent/v3/cli-oidc>
    Provider { name: "Buildkite", is_of: |issuer| issuer == "agent.buildkite.com", never: NO_SIGN_IN },
    // <https://circleci.com/docs/openid-connect-tokens/>
    Provider { name: "CircleCI", is_of: |issuer| issuer.starts_with("oidc.circleci.com/org/"), never: NO_SIGN_IN },
    // <https://developer.hashicorp.com/terraform/cloud-docs/workspaces/dynamic-provider-credentials/workload-identity-tokens>
    Provider {
        name: "HCP Terraform",
        is_of: |issuer| ["app.terraform.io", "app.eu.terraform.io"].contains(&issuer),
        never: NO_SIGN_IN,
    },
    // <https://vercel.com/docs/oidc/reference>
    Provider {
        name: "Vercel",
        is_of: |issuer| issuer == "oidc.vercel.com" || issuer.starts_with("oidc.vercel.com/"),
        never: NO_SIGN_IN,
    },
    // Tokens of service accounts.
    // <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#schema-for-service-account-private-claims>
    Provider {
        name: "Amazon EKS",
        is_of: |issuer| issuer.starts_with("oidc.eks.") && issuer.contains(".amazonaws.com"),
        never: NO_SIGN_IN,
    },
    // <https://developers.google.com/identity/openid-connect/openid-connect#an-id-tokens-payload>
    Provider { name: "Google", is_of: |issuer| issuer == "accounts.google.com", never: &["acr", "amr"] },
    // `acr` and `amr` are claims of version 1.0, whose issuer is sts.windows.net.
    // <https://learn.microsoft.com/en-us/entra/identity-platform/access-token-claims-reference>
    Provider {
        name: "Microsoft Entra ID, version 2.0",
        is_of: |issuer| issuer.starts_with("login.microsoftonline.com/") && issuer.ends_with("/v2.0"),
        never: &["acr", "amr"],
    },
    // <https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-id-token.html>
    Provider {
        name: "Amazon Cognito user pools",
        is_of: |issuer| issuer.starts_with("cognito-idp.") && issuer.contains(".amazonaws.com"),
        never: &["acr", "amr"],
    },
];

/// The name of the provider, if its tokens never carry `claim`.
pub(super) fn never_carries(issuer: &str, claim: &str) -> Option<&'static str> {
    let address = issuer.strip_prefix("https://").unwrap_or(issuer).trim_end_matches('/').to_ascii_lowercase();
    let provider = PROVIDERS.iter().find(|provider| (provider.is_of)(&address))?;
    provider.never.contains(&claim).then_some(provider.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_known_by_its_address() {
        for (issuer, claims) in [
            ("https://token.actions.githubusercontent.com", &["acr", "amr", "auth_time"][..]),
            ("https://token.actions.githubusercontent.com/acme", &["acr", "amr", "auth_time"]),
            ("https://agent.buildkite.com", &["acr", "amr", "auth_time"]),
            ("https://oidc.circleci.com/org/1234", &["acr", "amr", "auth_time"]),
            ("https://app.terraform.io", &["acr", "amr", "auth_time"]),
            ("https://oidc.vercel.com/acme", &["acr", "amr", "auth_time"]),
            ("https://oidc.eks.eu-west-1.amazonaws.com/id/ABC", &["acr", "amr", "auth_time"]),
            ("https://accounts.google.com", &["acr", "amr"]),
            ("https://login.microsoftonline.com/1234/v2.0", &["acr", "amr"]),
            ("https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_x", &["acr", "amr"]),
            ("https://sts.windows.net/1234/", &[]),
            ("https://login.example.com", &[]),
            ("https://accounts.google.com.example.com", &[]),
        ] {
            for claim in ["acr", "amr", "auth_time"] {
                assert_eq!(never_carries(issuer, claim).is_some(), claims.contains(&claim), "{issuer} {claim}");
            }
        }
    }
}
