//! How does a program get credentials, with a token of its own?

use std::path::PathBuf;

use hyper::header;
use secrecy::SecretString;
use serde_json::Value;
use url::Url;

use hallpass::net::url::is_private;
use hallpass::wire::{Code, Credentials};
use tokio::time::Instant;

use super::access::Wanted;
use super::desk::{PAUSE, cache, within};
use super::server::{self, Refusal, ServerUrl};
use super::session::Cached;
use super::trouble::{Trouble, lacking};
use super::web::{Question, Web};
use super::world::World;

/// No token is longer.
const MAX_BYTES: usize = 16 * 1024;

/// A token of a program's own. Nothing is stored then.
#[derive(Debug, clap::Args)]
pub(crate) struct Program {
    #[command(flatten)]
    source: Source,
    /// The audience of GitHub's token [default: the server's URL]
    #[arg(long, value_name = "AUD", requires = "github_actions")]
    audience: Option<String>,
}

/// Where it is from.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Source {
    /// Read the token from this file, as Kubernetes projects it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Read the token from this variable, as GitLab sets it
    #[arg(long, value_name = "VAR")]
    token_env: Option<String>,
    /// Ask GitHub Actions for a token; the job needs `permissions: id-token: write`
    #[arg(long)]
    github_actions: bool,
}

impl Program {
    /// Whether there is one.
    pub(crate) const fn has_token(&self) -> bool {
        let Source { token_file, token_env, github_actions } = &self.source;
        token_file.is_some() || token_env.is_some() || *github_actions
    }

    /// Credentials for it.
    ///
    /// # Errors
    /// [`Trouble`] if there are none until `deadline`.
    pub(crate) async fn credentials(
        &self,
        world: &World,
        web: &Web,
        server: &ServerUrl,
        wanted: &Wanted,
        deadline: Instant,
    ) -> Result<Cached, Trouble> {
        let credentials = within(deadline, server.as_str(), self.ask(world, web, server, wanted)).await?;
        cache(String::new(), credentials, world.seconds())
    }

    /// Asks the server, and once more if it was busy.
    async fn ask(&self, world: &World, web: &Web, server: &ServerUrl, wanted: &Wanted) -> Result<Credentials, Trouble> {
        let mut was_busy = false;
        loop {
            let token = self.token(world, web, server).await?;
            let refusal = match server::credentials(web, server, &token, &wanted.grant, wanted.duration).await {
                Ok(credentials) => return Ok(credentials),
                Err(refusal) => refusal,
            };
            if let Refusal::Told(problem) = &refusal
                && problem.code == Code::InsufficientUserAuthentication
            {
                let grant = &wanted.grant;
                let lacking = lacking(&problem.requires);
                return Err(Trouble::failed(format!(
                    "grant `{grant}` needs a stronger sign-in ({lacking}), which a program does not have"
                )));
            }
            let trouble = refusal.into_trouble(server);
            if was_busy || !matches!(trouble, Trouble::Unavailable(_)) {
                return Err(trouble);
            }
            was_busy = true;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The token, read or asked for anew.
    async fn token(&self, world: &World, web: &Web, server: &ServerUrl) -> Result<SecretString, Trouble> {
        if let Some(path) = &self.source.token_file {
            let place = path.display();
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| Trouble::failed(format!("cannot read the token in {place}: {error}")))?;
            return token_in(&text).ok_or_else(|| Trouble::failed(format!("{place} does not hold a token")));
        }
        if let Some(name) = &self.source.token_env {
            let text = world.variable(name).unwrap_or_default();
            return token_in(text).ok_or_else(|| Trouble::failed(format!("the variable {name} does not hold a token")));
        }
        ask_github(world, web, self.audience.as_deref().unwrap_or(server.as_str())).await
    }
}

/// A token as people and programs write it down: perhaps with a line end, or as the whole header's value.
fn token_in(text: &str) -> Option<SecretString> {
    let mut words = text.split_whitespace();
    let token = match (words.next()?, words.next(), words.next()) {
        ("Bearer", token, None) => token?,
        (token, None, None) => token,
        _ => return None,
    };
    let is_one = token.len() <= MAX_BYTES && token.bytes().all(|byte| byte.is_ascii_graphic());
    is_one.then(|| SecretString::from(token))
}

/// <https://docs.github.com/actions/security-for-github-actions/security-hardening-your-deployments/about-security-hardening-with-openid-connect>
async fn ask_github(world: &World, web: &Web, audience: &str) -> Result<SecretString, Trouble> {
    let missing = || Trouble::failed("this job may not ask GitHub for a token; give it `permissions: id-token: write`");
    let url = world.variable("ACTIONS_ID_TOKEN_REQUEST_URL").ok_or_else(missing)?;
    let right = SecretString::from(world.variable("ACTIONS_ID_TOKEN_REQUEST_TOKEN").ok_or_else(missing)?);
    let mut url = Url::parse(url)
        .ok()
        .filter(is_private)
        .ok_or_else(|| Trouble::failed("ACTIONS_ID_TOKEN_REQUEST_URL is not an https URL"))?;
    url.query_pairs_mut().append_pair("audience", audience);
    let answer = web.ask(Question::get(&url).bearer(&right)).await?;
    if answer.status != 200 {
        let retry = answer.header(header::RETRY_AFTER).map_or("", |_| "; try again");
        return Err(Trouble::Unavailable(format!(
            "GitHub answered with status {} instead of a token{retry}",
            answer.status
        )));
    }
    let token = answer.object().and_then(|body| body.get("value").and_then(Value::as_str).and_then(token_in));
    token.ok_or_else(|| Trouble::failed("GitHub's answer has no token"))
}

#[cfg(test)]
mod tests {
    use super::super::secret::expose;
    use super::*;

    #[test]
    fn a_token_is_taken_with_what_surrounds_it() {
        for text in ["a.b.c", "a.b.c\n", " a.b.c\r\n", "Bearer a.b.c", "Bearer  a.b.c\n"] {
            assert_eq!(expose(&token_in(text).unwrap()), "a.b.c", "{text:?}");
        }
        let long = "x".repeat(MAX_BYTES + 1);
        for text in ["", "\n", "Bearer ", "a b", "a\nb", "é", &long] {
            assert!(token_in(text).is_none(), "{text:?}");
        }
    }
}
