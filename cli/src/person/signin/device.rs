//! How does a person sign in with another device?
//!
//! RFC 8628. Only if it was asked for: whoever can make somebody type a code can sign in as them.

use std::time::Duration;

use serde_json::Value;

use hallpass::wire::{Client, Requires};

use super::super::desk::deadline;
use super::super::trouble::{Trouble, shown};
use super::super::web::{Question, Web, host_of};
use super::provider::Provider;
use super::tokens::{NoTokens, Tokens, refusal, seconds_in};
use super::{resource, stronger};
use crate::output::note;

/// Between two questions, if the provider does not say (RFC 8628 §3.2).
const INTERVAL: u64 = 5;
/// What `slow_down` adds (§3.5).
const SLOWER: u64 = 5;
/// No code lives longer than this, also if the provider says so. In seconds.
const MAX_LIFETIME: u64 = 3_600;

/// Signs in, within `timeout` seconds or the lifetime of the provider's code.
pub(super) async fn sign_in(
    web: &Web,
    provider: &Provider,
    client: &Client,
    requires: &Requires,
    timeout: Option<u64>,
) -> Result<Tokens, Trouble> {
    let none = || Trouble::failed("the identity provider does not offer sign-ins with a code; use --no-browser");
    let endpoint = provider.device.as_ref().ok_or_else(none)?;
    let further = stronger(client, requires);
    let mut fields = vec![("client_id", client.client_id.as_str()), ("scope", client.scope.as_str())];
    fields.extend(further.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let answer = web.ask(Question::post(endpoint, &fields)).await?;
    let body = answer.object();
    if answer.status != 200 {
        return Err(refusal(&host_of(endpoint), answer.status, body.as_ref()).into_trouble());
    }
    let strange = || Trouble::failed(format!("{} did not answer with a code", host_of(endpoint)));
    let body = body.ok_or_else(strange)?;
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let device_code = text("device_code").ok_or_else(strange)?;
    let user_code = text("user_code").map(shown).ok_or_else(strange)?;
    let address = text("verification_uri").map(shown).ok_or_else(strange)?;
    note(&format!("To sign in, visit\n\n  {address}\n\non any device, and enter the code {user_code}"));
    if let Some(whole) = text("verification_uri_complete") {
        note(&format!("(or visit {}, and check that it shows this code)", shown(whole)));
    }
    let lifetime = seconds_in(&body, "expires_in").unwrap_or(MAX_LIFETIME).min(MAX_LIFETIME);
    let seconds = timeout.unwrap_or(lifetime);
    let deadline = deadline(Duration::from_secs(seconds));
    let late = || Trouble::failed(format!("nobody signed in within {seconds} seconds; run it again"));
    let mut interval = seconds_in(&body, "interval").unwrap_or(INTERVAL).clamp(1, 60);
    let mut fields = vec![
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", device_code),
        ("client_id", client.client_id.as_str()),
    ];
    fields.extend(resource(client.parameters.get("resource")));
    loop {
        // A question that was asked is not cut off: its answer, with the tokens, would not come again.
        let pause = tokio::time::sleep(Duration::from_secs(interval));
        tokio::time::timeout_at(deadline, pause).await.map_err(|_| late())?;
        match Tokens::ask(web, &provider.token, &fields).await {
            Err(NoTokens::Refused { error, .. }) if error == "authorization_pending" => {}
            Err(NoTokens::Refused { error, .. }) if error == "slow_down" => interval = interval.saturating_add(SLOWER),
            // §3.5: after a time-out, ask less often.
            Err(NoTokens::Other(Trouble::Unavailable(_))) => interval = interval.saturating_mul(2).min(60),
            Err(NoTokens::Refused { error, .. }) if error == "expired_token" => {
                return Err(Trouble::failed("the code has expired; run it again"));
            }
            other => return other.map_err(NoTokens::into_trouble),
        }
    }
}
