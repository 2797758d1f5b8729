//! What does everybody see of a deployment?

use std::time::Duration;

use hallpass::identity::{Issuer, IssuerId, KeySet, key_set_address};
use hallpass::net::url::quoted_url;
use hallpass::wire::{Health, Metadata};
use hyper::header::{self, HeaderValue};
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use super::inside::Inside;
use super::report::{Report, counted};
use crate::outside::clock::{Compared, compare};
use crate::outside::server::{self, ServerUrl, redirected};
use crate::outside::trouble::Trouble;
use crate::outside::web::{Answer, Question, Web};

/// What AWS's SDK for Python gives a container's endpoint. The first answer may be that of a function that has to start.
const PATIENCE_OF_SDKS: Duration = Duration::from_secs(2);

/// The checks that need only the network.
#[derive(Debug)]
pub(super) struct Outside<'a> {
    pub(super) web: &'a Web,
    pub(super) server: &'a ServerUrl,
    /// Seconds since the epoch.
    pub(super) now: i64,
}

/// What later checks build on.
#[derive(Debug)]
pub(super) struct Found {
    /// Why nothing that is secret may be sent there, if it may not: the check that says so.
    pub(super) untrusted: Option<&'static str>,
}

impl Outside<'_> {
    /// Looks at all of it.
    pub(super) async fn look(&self, inside: Option<&Inside>, origins: &[HeaderValue], report: &mut Report) -> Found {
        let answers = self.health(report).await;
        let metadata = if answers { self.metadata(report).await } else { None };
        if !answers {
            for check in ["clock", "metadata"] {
                report.skipped(check, "see `health`");
            }
        }
        let issuers = self.issuers(metadata.as_ref(), inside, report);
        if issuers.is_empty() {
            report.skipped("provider", "see `metadata`: no issuer is known");
        }
        for issuer in &issuers {
            self.provider(issuer, report).await;
        }
        if answers {
            self.cors(inside, origins, report).await;
            // Only a stack says for whom an issuer's tokens are.
            let is_configured = inside.is_some_and(|inside| inside.issuers().is_ok());
            self.refuses_strangers(issuers.first(), is_configured, report).await;
        } else {
            for check in ["cors", "refuses-no-token", "refuses-garbage", "refuses-alg-none"] {
                report.skipped(check, "see `health`");
            }
        }
        // What answers with another server's metadata may be anybody, and would have a real token.
        Found { untrusted: if answers { metadata.is_none().then_some("metadata") } else { Some("health") } }
    }

    /// Whether it is a Hallpass that answers, and soon enough. Its answer says what time it is there, too.
    async fn health(&self, report: &mut Report) -> bool {
        const HELP: &str = "the runbook's \"Nobody gets credentials\" says where to look";
        let (mut answer, mut took) = match self.timed("/v1/health").await {
            Ok(answered) => answered,
            Err(trouble) => {
                report.trouble("health", &trouble, HELP);
                return false;
            }
        };
        if took > PATIENCE_OF_SDKS
            && let Ok(again) = self.timed("/v1/health").await
        {
            (answer, took) = again;
        }
        if answer.is_redirect() {
            report.trouble("health", &redirected(self.server, &answer), HELP);
            return false;
        }
        let (server, status) = (self.server, answer.status);
        if status >= 500 || status == 429 {
            report.problem("health", format!("{server} answered with status {status}"), HELP);
            return false;
        }
        let health = answer.object().filter(|_| status == 200);
        let health = health.and_then(|body| serde_json::from_value::<Health>(Value::Object(body)).ok());
        let Some(Health { version }) = health else {
            let text = format!("{server} is not a Hallpass server (status {status})");
            report.problem("health", text, "check the URL, and where its name leads");
            return false;
        };
        if took > PATIENCE_OF_SDKS {
            let text = format!("{server} took {} ms to answer, twice", took.as_millis());
            let help =
                "AWS's SDKs stop waiting after 2 s; the dashboard shows whether the function or the way to it is slow";
            report.problem("health", text, help);
        } else {
            report.ok("health", format!("{server} answers, version {version}"));
        }
        let compared = compare(answer.header(header::DATE), self.now);
        match compared {
            Compared::Same => report.ok("clock", compared.to_string()),
            Compared::Unknown => report.note("clock", compared.to_string(), "compare this machine's clock yourself"),
            Compared::Off { .. } => {
                let help = "set this machine's clock, and have it synchronized (NTP); what is found below may be wrong";
                report.problem("clock", compared.to_string(), help);
            }
        }
        true
    }

    async fn timed(&self, path: &str) -> Result<(Answer, Duration), Trouble> {
        let url = self.server.at(path)?;
        let begun = Instant::now();
        let answer = self.web.ask(Question::get(&url)).await?;
        Ok((answer, begun.elapsed()))
    }

    async fn metadata(&self, report: &mut Report) -> Option<Metadata> {
        const HELP: &str = "people cannot sign in; check `PublicUrl`, `DomainName` and the routes of the API";
        let metadata = match server::metadata(self.web, self.server).await {
            Ok(metadata) => metadata,
            Err(trouble) => {
                report.trouble("metadata", &trouble, HELP);
                return None;
            }
        };
        if !metadata.bearer_methods_supported.iter().any(|method| method == "header") {
            report.problem("metadata", "no client knows where to put a token: `header` is not among the methods", HELP);
        } else if metadata.authorization_servers.is_empty() {
            report.problem("metadata", "no issuer is trusted, so nobody can sign in", "configure one and deploy");
        } else {
            let issuers = counted(metadata.authorization_servers.len(), "issuer");
            report.ok("metadata", format!("it names the URL that was asked, and {issuers}"));
        }
        Some(metadata)
    }

    /// The trusted issuers: those of the stack, which says where their keys are, or else those of the metadata.
    fn issuers(&self, metadata: Option<&Metadata>, inside: Option<&Inside>, report: &mut Report) -> Vec<Issuer> {
        let named = metadata.map(|metadata| metadata.authorization_servers.as_slice()).unwrap_or_default();
        let Some(inside) = inside else {
            report.skipped("issuers", "only with a stack: use --stack");
            return named.iter().filter_map(|url| self.issuer(url, report)).collect();
        };
        let issuers = match inside.issuers() {
            Ok(issuers) => issuers,
            Err(failure) => {
                report.failure("issuers", &failure, "the function does not start with these; correct them and deploy");
                return named.iter().filter_map(|url| self.issuer(url, report)).collect();
            }
        };
        if metadata.is_none() {
            report.skipped("issuers", "see `metadata`");
            return issuers;
        }
        let unnamed = issuers.iter().map(Issuer::url).find(|url| !named.iter().any(|named| named == url));
        let unknown = named.iter().find(|named| !issuers.iter().any(|issuer| issuer.url() == named.as_str()));
        let differs =
            unnamed.map(|url| format!("the function does not trust {}, which the stack has", quoted_url(url)));
        let differs = differs
            .or_else(|| unknown.map(|url| format!("the function trusts {}, which the stack has not", quoted_url(url))));
        match differs {
            Some(text) => report.problem("issuers", text, "somebody changed the function's variables: deploy again"),
            None => report.ok("issuers", "the function trusts the issuers of the stack"),
        }
        issuers
    }

    fn issuer(&self, url: &str, report: &mut Report) -> Option<Issuer> {
        let issuer = IssuerId::new("probed").and_then(|id| Issuer::of_sign_in(id, url, "hallpass"));
        if issuer.is_none() {
            let text = format!("{} names the issuer {}, which cannot be asked", self.server, quoted_url(url));
            report.problem("provider", text, "correct the issuer's URL and deploy");
        }
        issuer
    }

    /// Whether the issuer's keys can be fetched, and one of them be used, by the function's own rules.
    async fn provider(&self, issuer: &Issuer, report: &mut Report) {
        let name = quoted_url(issuer.url());
        let help =
            "without its keys, its people are refused once the function's copy is 4 hours old, or when it starts";
        match self.keys(issuer).await {
            Ok(()) => report.ok("provider", format!("{name} publishes usable keys")),
            Err(Trouble::Unavailable(why)) => report.problem("provider", format!("{name}: {why}"), help),
            Err(other) => report.problem("provider", format!("{name}: {other}"), help),
        }
    }

    async fn keys(&self, issuer: &Issuer) -> Result<(), Trouble> {
        let address = match issuer.discovery() {
            Some(url) => {
                let document = self.document(url, "its discovery document").await?;
                key_set_address(&document, issuer).map_err(|error| Trouble::failed(error.to_string()))?
            }
            None => issuer.key_set().cloned().ok_or_else(|| Trouble::failed("it has no place for its keys"))?,
        };
        let document = self.document(&address, "its key set").await?;
        KeySet::parse(&document).map(drop).map_err(|error| Trouble::failed(error.to_string()))
    }

    async fn document(&self, url: &Url, what: &str) -> Result<Vec<u8>, Trouble> {
        let answer = self.web.ask(Question::get(url)).await?;
        if answer.status == 200 {
            return Ok(answer.into_body());
        }
        let text = format!("it answered with status {} where {what} should be", answer.status);
        Err(Trouble::failed(text))
    }
}
