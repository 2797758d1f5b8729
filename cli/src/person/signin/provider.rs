//! Where does an identity provider take sign-ins?

use serde_json::{Map, Value};
use url::Url;

use hallpass::identity::{Issuer, IssuerId, KeySet, TokenError, UnverifiedToken, key_set_address, verify};
use hallpass::net::url::{is_private, quoted_url};
use hallpass::wire::Client;

use super::super::trouble::{Trouble, shown};
use super::super::web::{Question, Web};
use super::super::world::World;

/// A provider, as its discovery document describes it (OpenID Connect Discovery 1.0 §3, RFC 8414 §2).
#[derive(Debug)]
pub(crate) struct Provider {
    issuer: Issuer,
    keys: Url,
    pub(crate) authorization: Option<Url>,
    pub(crate) token: Url,
    pub(crate) device: Option<Url>,
    pub(crate) revocation: Option<Url>,
    /// Whether each answer names its issuer (RFC 9207 §3).
    pub(crate) names_itself: bool,
}

impl Provider {
    /// Asks the issuer of a client.
    ///
    /// # Errors
    /// [`Trouble`] if it cannot be reached, or is another one than it should be.
    pub(crate) async fn discover(web: &Web, client: &Client) -> Result<Self, Trouble> {
        let name = shown(&quoted_url(&client.issuer));
        let id = IssuerId::new(&client.issuer_id);
        let issuer = id.and_then(|id| Issuer::of_sign_in(id, &client.issuer, &client.client_id));
        let issuer = issuer.ok_or_else(|| Trouble::failed(format!("the issuer {name} cannot be used")))?;
        let address = issuer.discovery().ok_or_else(|| Trouble::failed(format!("the issuer {name} cannot be used")))?;
        let answer = web.ask(Question::get(address)).await?;
        let status = answer.status;
        if status != 200 {
            let text =
                format!("the identity provider {name} answered with status {status} where its description should be");
            return Err(if status >= 500 || status == 429 {
                Trouble::Unavailable(text)
            } else {
                Trouble::Failed(text)
            });
        }
        let strange =
            || Trouble::failed(format!("the identity provider {name} does not describe itself; ask its administrator"));
        let document = answer.object().ok_or_else(strange)?;
        Self::read(issuer, &document)
            .map_err(|why| Trouble::failed(format!("the identity provider {name} cannot be used: {why}")))
    }

    fn read(issuer: Issuer, document: &Map<String, Value>) -> Result<Self, String> {
        let text = serde_json::to_vec(document).map_err(|error| error.to_string())?;
        let keys = key_set_address(&text, &issuer).map_err(|error| error.to_string())?;
        let plain = issuer.url().starts_with("http://");
        // A provider on the network must not lead to a server on this machine.
        let may_be_asked = |url: &Url| {
            let anonymous = url.username().is_empty() && url.password().is_none();
            is_private(url) && (plain || url.scheme() == "https") && anonymous && url.fragment().is_none()
        };
        let address = |name: &str| match document.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let url = value.as_str().and_then(|text| Url::parse(text).ok()).filter(may_be_asked);
                url.map(Some).ok_or_else(|| format!("its `{name}` may not be asked"))
            }
        };
        if let Some(Value::Array(methods)) = document.get("code_challenge_methods_supported")
            && !methods.iter().any(|method| method == "S256")
        {
            return Err("it does not know PKCE with S256".into());
        }
        Ok(Self {
            keys,
            authorization: address("authorization_endpoint")?,
            token: address("token_endpoint")?.ok_or("it has no `token_endpoint`")?,
            device: address("device_authorization_endpoint")?,
            revocation: address("revocation_endpoint")?,
            names_itself: document.get("authorization_response_iss_parameter_supported") == Some(&Value::Bool(true)),
            issuer,
        })
    }

    /// The exact `iss` of its tokens and answers.
    pub(crate) fn url(&self) -> &str {
        self.issuer.url()
    }

    /// Who signed in, by the ID token that the provider answered with. The core holds every rule; `nonce` and `azp` are
    /// the client's own (OpenID Connect Core §3.1.3.7).
    ///
    /// # Errors
    /// [`Trouble`] names the rule that was broken.
    pub(crate) async fn who(
        &self,
        web: &Web,
        id_token: &str,
        client_id: &str,
        nonce: Option<&str>,
        world: &World,
    ) -> Result<String, Trouble> {
        let keys = web.ask(Question::get(&self.keys)).await?;
        let found = (keys.status == 200).then(|| keys.object()).flatten();
        let found = found.and_then(|set| KeySet::parse(&serde_json::to_vec(&set).ok()?).ok());
        let keys = found.ok_or_else(|| Trouble::failed("the identity provider publishes no usable keys"))?;
        let refused =
            |why: String| Trouble::failed(format!("the identity provider's ID token is not acceptable: {why}"));
        let refusal = |refusal: TokenError| {
            use TokenError::{Expired, IssuedInFuture, NotYetValid};
            let clock = if matches!(refusal, Expired | IssuedInFuture | NotYetValid) {
                "; check this machine's clock"
            } else {
                ""
            };
            refused(format!("{refusal}{clock}"))
        };
        let token = UnverifiedToken::parse(id_token).map_err(refusal)?;
        let checked = token.check_header(&self.issuer).map_err(refusal)?;
        let caller = verify(checked, &keys, world.now()).map_err(refusal)?;
        if caller.claim("/nonce").and_then(Value::as_str) != nonce {
            return Err(refused("its `nonce` is not the one of this sign-in".into()));
        }
        if caller.claim("/azp").is_some_and(|party| party != client_id) {
            return Err(refused("its `azp` is another client".into()));
        }
        Ok(caller.subject().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(change: impl FnOnce(&mut Value)) -> Result<Provider, String> {
        read_of("https://login.example.com", change)
    }

    fn read_of(url: &str, change: impl FnOnce(&mut Value)) -> Result<Provider, String> {
        let mut document = json!({
            "issuer": url,
            "authorization_endpoint": format!("{url}/auth?tenant=1"),
            "token_endpoint": format!("{url}/token"),
            "jwks_uri": format!("{url}/keys"),
        });
        change(&mut document);
        let issuer = Issuer::of_sign_in(IssuerId::new("corp").unwrap(), url, "hallpass-cli").unwrap();
        Provider::read(issuer, document.as_object().unwrap())
    }

    #[test]
    fn a_description_is_read() {
        let provider = read(|_| ()).unwrap();
        assert_eq!(provider.authorization.unwrap().as_str(), "https://login.example.com/auth?tenant=1");
        assert!(!provider.names_itself && provider.device.is_none() && provider.revocation.is_none());
        let more = read(|document| {
            document["authorization_response_iss_parameter_supported"] = json!(true);
            document["device_authorization_endpoint"] = json!("https://login.example.com/device");
            document["code_challenge_methods_supported"] = json!(["plain", "S256"]);
        });
        assert!(more.is_ok_and(|provider| provider.names_itself && provider.device.is_some()));
        read_of("http://127.0.0.1:1", |_| ()).unwrap();
    }

    #[test]
    fn a_description_of_another_or_of_unsafe_addresses_is_refused() {
        let with = |name: &'static str, value: Value| read(move |document| document[name] = value).unwrap_err();
        assert!(with("issuer", json!("https://login.example.com/")).contains("issuer"));
        assert!(with("issuer", json!("https://evil.example.com")).contains("issuer"));
        for url in
            ["http://login.example.com/x", "http://127.0.0.1/x", "https://a:b@login.example.com", "x", "https://x/#f"]
        {
            assert!(with("token_endpoint", json!(url)).contains("token_endpoint"), "{url}");
            assert!(with("authorization_endpoint", json!(url)).contains("authorization_endpoint"), "{url}");
            assert!(with("revocation_endpoint", json!(url)).contains("revocation_endpoint"), "{url}");
        }
        assert!(with("token_endpoint", Value::Null).contains("token_endpoint"));
        assert!(with("jwks_uri", json!("http://login.example.com/keys")).contains("jwks_uri"));
        assert!(with("code_challenge_methods_supported", json!(["plain"])).contains("PKCE"));
    }
}
