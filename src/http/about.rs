//! What does the function say of itself, to everyone?

use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequestContext;

use crate::identity::Issuer;
use crate::net::public_url::PublicUrl;
use crate::wire::{Clients, Metadata};

/// What a client has to know before its first sign-in.
#[derive(Debug)]
pub struct About {
    public_url: Option<PublicUrl>,
    authorization_servers: Vec<String>,
    clients: Clients,
}

impl About {
    /// Names `issuers`, under `public_url`, or else under the gateway's own URL.
    #[must_use]
    pub fn new(public_url: Option<PublicUrl>, issuers: &[Issuer]) -> Self {
        let authorization_servers = issuers.iter().map(|issuer| issuer.url().to_owned()).collect();
        let cli = issuers.iter().filter_map(Issuer::cli).collect();
        let browser = issuers.iter().filter_map(Issuer::browser).collect();
        Self { public_url, authorization_servers, clients: Clients { cli, browser } }
    }

    /// The URL under which the function was asked: never by a header, which clients write.
    pub(super) fn resource(&self, context: &ApiGatewayV2httpRequestContext) -> Option<PublicUrl> {
        if self.public_url.is_some() {
            return self.public_url.clone();
        }
        let stage = context.stage.as_deref().filter(|stage| *stage != "$default").unwrap_or_default();
        format!("https://{}/{stage}", context.domain_name.as_deref()?).parse().ok()
    }

    /// The metadata (RFC 9728 §2).
    pub(super) fn metadata(&self, resource: &PublicUrl) -> Metadata {
        Metadata {
            resource: resource.as_str().to_owned(),
            authorization_servers: self.authorization_servers.clone(),
            bearer_methods_supported: vec!["header".to_owned()],
            resource_name: "Hallpass".to_owned(),
            hallpass_clients: self.clients.clone(),
        }
    }
}
