//! How does a person sign in?
//!
//! By authorization code with PKCE (RFC 8252, OpenID Connect Core §3.1): in a browser of this machine, or in another one
//! whose last address is pasted back; or with a code on another device (RFC 8628), if that is asked for.

mod browser;
mod callback;
mod device;
mod listener;
mod provider;
mod tokens;

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use secrecy::SecretString;
use tokio::process::Child;
use tokio::sync::mpsc;
use url::Url;

use hallpass::wire::{Client, Requires};

pub(crate) use self::browser::Browser;
use self::callback::{Callback, Expected, judge_pasted};
pub(crate) use self::listener::Listener;
pub(crate) use self::provider::Provider;
pub(crate) use self::tokens::{NoTokens, Tokens, claims_of};
use super::desk::deadline;
use super::secret::{expose, random_text};
use super::trouble::Trouble;
use super::web::Web;
use super::world::World;
use crate::output::note;

/// How long a person has, unless they say otherwise. The code of a device lives longer.
const PATIENCE: Duration = Duration::from_mins(3);
/// Where the browser goes, unless the server says otherwise.
pub(crate) const REDIRECT: &str = "http://127.0.0.1/callback";

/// How the person wants to sign in.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct How {
    /// Print the address instead of opening a browser, and take the address that it ends at
    #[arg(long, conflicts_with = "device")]
    no_browser: bool,
    /// Sign in on another device, with a code
    #[arg(long)]
    device: bool,
    /// Listen on this port, for `ssh -L PORT:127.0.0.1:PORT`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Stop waiting after so many seconds [default: 180]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: Option<u64>,
    /// Open this browser; `%s`, or the end, is the address [env: `HALLPASS_BROWSER`, BROWSER]
    #[arg(long, value_name = "CMD")]
    browser: Option<String>,
    /// Standard input is the sign-in's, and not that of a command to come.
    #[arg(skip)]
    owns_input: bool,
}

impl How {
    /// The same for a command that does nothing else.
    pub(crate) fn owning_input(self) -> Self {
        Self { owns_input: true, ..self }
    }

    fn patience(&self) -> Duration {
        self.timeout.map_or(PATIENCE, Duration::from_secs)
    }

    /// Whether a browser or a terminal is there for a sign-in.
    ///
    /// # Errors
    /// [`Trouble::Usage`] if the browser that was named cannot be read.
    pub(crate) fn is_possible(&self, world: &World) -> Result<bool, Trouble> {
        Ok(world.has_terminal() || Browser::choose(self.browser.as_deref(), world)?.is_some())
    }
}

/// A sign-in that was just made.
#[derive(Debug)]
pub(crate) struct SignedIn {
    pub(crate) tokens: Tokens,
    pub(crate) subject: Option<String>,
    pub(crate) provider: Provider,
}

/// Signs the person in.
///
/// # Errors
/// [`Trouble`] says why not.
pub(crate) async fn sign_in(
    world: &World,
    web: &Web,
    client: &Client,
    requires: &Requires,
    how: &How,
) -> Result<SignedIn, Trouble> {
    let provider = Provider::discover(web, client).await?;
    let mut nonce = None;
    let tokens = if how.device {
        device::sign_in(web, &provider, client, requires, how.timeout).await?
    } else {
        let (tokens, sent) = by_code(world, web, &provider, client, requires, how).await?;
        nonce = Some(sent);
        tokens
    };
    let subject = match &tokens.id {
        Some(token) => Some(provider.who(web, expose(token), &client.client_id, nonce.as_deref(), world).await?),
        // OpenID Connect Core §3.1.3.3: who asked for `openid` gets one.
        None if client.scope.split(' ').any(|scope| scope == "openid") => {
            return Err(Trouble::failed(
                "the identity provider sent no ID token, so that the sign-in cannot be checked",
            ));
        }
        None => tokens.unverified_subject(),
    };
    Ok(SignedIn { tokens, subject, provider })
}

/// By authorization code, with the `nonce` that was sent.
async fn by_code(
    world: &World,
    web: &Web,
    provider: &Provider,
    client: &Client,
    requires: &Requires,
    how: &How,
) -> Result<(Tokens, String), Trouble> {
    let endpoint = provider.authorization.as_ref();
    let endpoint =
        endpoint.ok_or_else(|| Trouble::failed("the identity provider takes no sign-ins by browser; use --device"))?;
    // Bound before anybody hears of it.
    let listener = Listener::bind(client.redirect_uri.as_deref().unwrap_or(REDIRECT), how.port).await?;
    let (state, nonce, verifier) = (random_text()?, random_text()?, random_text()?);
    let expected = Expected { state, issuer: provider.url().to_owned(), names_itself: provider.names_itself };
    let address = address(endpoint, client, requires, &listener.address, &expected.state, &nonce, &verifier);
    let browser = if how.no_browser { None } else { Browser::choose(how.browser.as_deref(), world)? };
    let code = wait(&listener, &expected, browser.as_ref(), &address, world, how).await?;
    let mut fields = vec![
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", listener.address.as_str()),
        ("client_id", client.client_id.as_str()),
        ("code_verifier", verifier.as_str()),
    ];
    fields.extend(resource(client.parameters.get("resource")));
    let tokens = Tokens::ask(web, &provider.token, &fields).await.map_err(NoTokens::into_trouble)?;
    Ok((tokens, nonce))
}

/// The resource that tokens are for is named at both endpoints (RFC 8707 §2).
pub(crate) fn resource(parameter: Option<&String>) -> Option<(&str, &str)> {
    parameter.map(|resource| ("resource", resource.as_str()))
}

/// The address at which the person signs in.
fn address(
    endpoint: &Url,
    client: &Client,
    requires: &Requires,
    redirect: &str,
    state: &str,
    nonce: &str,
    verifier: &str,
) -> Url {
    let challenge = BASE64URL_NOPAD.encode(digest(&SHA256, verifier.as_bytes()).as_ref());
    let mut address = endpoint.clone();
    let mut query = address.query_pairs_mut();
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", client.client_id.as_str()),
        ("redirect_uri", redirect),
        ("scope", client.scope.as_str()),
        ("state", state),
        ("nonce", nonce),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ] {
        query.append_pair(name, value);
    }
    for (name, value) in stronger(client, requires) {
        query.append_pair(&name, &value);
    }
    drop(query);
    address
}

/// The operator's parameters, and what a stronger sign-in must be (RFC 9470 §4). OAuth has no word for methods: without
/// a level and an age, the provider is asked to sign the person in anew.
fn stronger(client: &Client, requires: &Requires) -> Vec<(String, String)> {
    let Requires { acr_values, amr_values, max_age } = requires;
    let mut asked: Vec<(String, String)> = Vec::new();
    if !acr_values.is_empty() {
        asked.push(("acr_values".into(), acr_values.join(" ")));
    }
    if let Some(seconds) = max_age {
        asked.push(("max_age".into(), seconds.to_string()));
    }
    if asked.is_empty() && !amr_values.is_empty() {
        asked.push(("prompt".into(), "login".into()));
    }
    let is_asked = |name: &str| asked.iter().any(|(asked, _)| asked == name);
    let theirs = client.parameters.iter().filter(|(name, _)| !is_asked(name));
    let mut all: Vec<_> = theirs.map(|(name, value)| (name.clone(), value.clone())).collect();
    all.append(&mut asked);
    all
}

/// Shows the address, and waits for the code.
async fn wait(
    listener: &Listener,
    expected: &Expected,
    browser: Option<&Browser>,
    address: &Url,
    world: &World,
    how: &How,
) -> Result<String, Trouble> {
    let mut opened = browser.and_then(|browser| browser.open(address.as_str()));
    let mut pasted = None;
    if opened.is_some() {
        note(&format!("Opening the browser to sign in. If it does not open, visit\n\n  {address}\n"));
    } else {
        let why = match browser {
            Some(_) => "The browser cannot be started. ",
            None if how.no_browser => "",
            None => "No browser is opened here. ",
        };
        note(&format!("{why}To sign in, visit\n\n  {address}\n"));
        if how.owns_input || world.has_terminal() {
            note("Then copy the address at which the browser ends, even if it shows an error, and paste it here:");
            pasted = Some(lines());
        }
        if world.variable("SSH_CONNECTION").is_some() {
            let port = listener.port();
            note(&format!("(or connect with `ssh -L {port}:127.0.0.1:{port}` first: then nothing needs to be pasted)"));
        }
    }
    let mut coming = std::pin::pin!(listener.answer(expected, deadline(how.patience())));
    loop {
        let callback = tokio::select! {
            callback = &mut coming => callback.ok_or_else(|| {
                let seconds = how.patience().as_secs();
                Trouble::failed(format!("nobody signed in within {seconds} seconds; run it again, or raise --timeout"))
            })?,
            line = next(&mut pasted) => {
                let callback = judge_pasted(&line, expected);
                if let Callback::Foreign(why) = callback {
                    if !line.trim().is_empty() {
                        note(&format!("This is not the address: {why}. Paste all of it:"));
                    }
                    continue;
                }
                callback
            }
            failed = ended_badly(&mut opened) => {
                if failed {
                    note("The browser has failed. Open the address above in another one.");
                }
                continue;
            }
        };
        return match callback {
            Callback::Code(code) => Ok(code),
            Callback::Refused(why) => Err(Trouble::Failed(why)),
            Callback::Foreign(why) => Err(Trouble::failed(why)),
        };
    }
}

/// Whether the browser's program ended with a failure. Pends while it runs, and once that was said.
async fn ended_badly(opened: &mut Option<Child>) -> bool {
    let Some(child) = opened else { return std::future::pending().await };
    let failed = child.wait().await.is_ok_and(|status| !status.success());
    *opened = None;
    failed
}

/// The lines of standard input, read by a thread that the process does not wait for. It reads nothing any more once
/// nobody wants a line: the next one is for the command that follows.
fn lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut line = Vec::new();
        while !sender.is_closed() {
            if !is_readable() {
                continue;
            }
            let mut byte = [0];
            match std::io::Read::read(&mut unbuffered(), &mut byte) {
                Ok(1) if byte == *b"\n" => {
                    let text = String::from_utf8_lossy(&std::mem::take(&mut line)).into_owned();
                    if sender.blocking_send(text).is_err() {
                        break;
                    }
                }
                Ok(1) => line.extend_from_slice(&byte),
                Ok(_) | Err(_) => break,
            }
        }
    });
    receiver
}

/// Whether somebody typed something, or will not any more. Waits for a moment.
#[cfg(unix)]
fn is_readable() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let stdin = std::io::stdin();
    let mut one = [PollFd::new(&stdin, PollFlags::IN)];
    let moment = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    poll(&mut one, Some(&moment)).is_ok_and(|ready| ready > 0)
}

/// Windows does not say so in advance.
#[cfg(not(unix))]
fn is_readable() -> bool {
    true
}

/// Standard input without a buffer of ours, which would hold what is for somebody else.
#[cfg(unix)]
fn unbuffered() -> impl std::io::Read {
    use std::os::fd::AsFd as _;

    std::io::stdin().as_fd().try_clone_to_owned().map_or(Input::Closed, |own| Input::Open(own.into()))
}

#[cfg(not(unix))]
fn unbuffered() -> impl std::io::Read {
    std::io::stdin()
}

/// Standard input, or nothing.
#[cfg(unix)]
enum Input {
    Open(std::fs::File),
    Closed,
}

#[cfg(unix)]
impl std::io::Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Open(file) => file.read(buffer),
            Self::Closed => Ok(0),
        }
    }
}

/// The next line. Pends if there is none to come.
async fn next(pasted: &mut Option<mpsc::Receiver<String>>) -> String {
    if let Some(lines) = pasted {
        if let Some(line) = lines.recv().await {
            return line;
        }
        *pasted = None;
    }
    std::future::pending().await
}

/// Revokes a refresh token (RFC 7009).
///
/// # Errors
/// [`Trouble`] if the provider did not say that it is gone.
pub(crate) async fn revoke(web: &Web, endpoint: &Url, client_id: &str, token: &SecretString) -> Result<(), Trouble> {
    let fields = [("token", expose(token)), ("token_type_hint", "refresh_token"), ("client_id", client_id)];
    let answer = web.ask(super::web::Question::post(endpoint, &fields)).await?;
    match answer.status {
        200..300 => Ok(()),
        status => Err(tokens::refusal(&super::web::host_of(endpoint), status, answer.object().as_ref()).into_trouble()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn client(parameters: &serde_json::Value) -> Client {
        serde_json::from_value(json!({
            "issuer_id": "corp", "issuer": "https://login.example.com", "client_id": "hallpass-cli",
            "scope": "openid offline_access", "token": "access_token", "parameters": parameters,
        }))
        .unwrap()
    }

    fn asked(parameters: &serde_json::Value, requires: &Requires) -> BTreeMap<String, String> {
        let endpoint = Url::parse("https://login.example.com/auth?tenant=1").unwrap();
        let redirect = "http://127.0.0.1:1/callback";
        let url = address(&endpoint, &client(parameters), requires, redirect, "s", "n", "v");
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let asked: BTreeMap<String, String> = pairs.iter().cloned().collect();
        assert_eq!(asked.len(), pairs.len(), "a parameter twice: {url}");
        asked
    }

    #[test]
    fn the_address_has_what_the_protocol_wants_and_the_operator_adds() {
        let asked = asked(&json!({"audience": "hallpass", "prompt": "consent"}), &Requires::default());
        let expected = json!({
            "tenant": "1", "response_type": "code", "client_id": "hallpass-cli", "scope": "openid offline_access",
            "redirect_uri": "http://127.0.0.1:1/callback", "state": "s", "nonce": "n", "code_challenge_method": "S256",
            "code_challenge": "TJTlSVxY8hcNvAL-l6WTx-iMKiiBZ1-88x-iD0WmCmA", "audience": "hallpass", "prompt": "consent",
        });
        let mut asked = json!(asked);
        // RFC 7636 §4.2, from the verifier `v`.
        let challenge = BASE64URL_NOPAD.encode(digest(&SHA256, b"v").as_ref());
        assert_eq!(asked["code_challenge"], json!(challenge));
        asked["code_challenge"] = expected["code_challenge"].clone();
        assert_eq!(asked, expected);
    }

    #[test]
    fn a_stronger_sign_in_is_asked_for_in_the_challenges_words() {
        let requires = |acr: &[&str], amr: &[&str], max_age| Requires {
            acr_values: acr.iter().map(|acr| (*acr).to_owned()).collect(),
            amr_values: amr.iter().map(|amr| (*amr).to_owned()).collect(),
            max_age,
        };
        let strong = asked(&json!({"acr_values": "low"}), &requires(&["a", "b"], &["mfa"], Some(60)));
        assert_eq!((strong["acr_values"].as_str(), strong["max_age"].as_str()), ("a b", "60"));
        assert!(!strong.contains_key("prompt"));
        let anew = asked(&json!({"prompt": "consent"}), &requires(&[], &["mfa"], None));
        assert_eq!(anew["prompt"], "login");
    }
}
