//! From which web pages can a deployment be called?

use hyper::header::{self, HeaderName, HeaderValue};

use super::inside::Inside;
use super::outside::Outside;
use super::report::{Report, counted};
use crate::outside::trouble::Trouble;
use crate::outside::web::{Answer, Question};

/// An origin that nobody has: the domain never exists (RFC 2606).
const STRANGER: HeaderValue = HeaderValue::from_static("https://hallpass-probe.invalid");
/// All origins are compared by the same code, so some of them say enough.
const MOST_ORIGINS: usize = 10;

impl Outside<'_> {
    /// Whether the allowed origins may call, and no other.
    pub(super) async fn cors(&self, inside: Option<&Inside>, origins: &[HeaderValue], report: &mut Report) {
        const HELP: &str = "compare `AllowedOrigins` with docs/api.md, \"Web pages and apps\", and deploy again";
        let known = inside.and_then(Inside::allowed_origins);
        let origins = match (&known, origins) {
            (Some(known), []) => known,
            (_, given) => given,
        };
        match self.stranger().await {
            Ok(None) => {}
            Ok(Some(wrong)) => return report.problem("cors", wrong, HELP),
            Err(trouble) => return report.trouble("cors", &trouble, HELP),
        }
        for origin in origins.iter().take(MOST_ORIGINS) {
            match self.page(origin).await {
                Ok(None) => {}
                Ok(Some(wrong)) => return report.problem("cors", wrong, HELP),
                Err(trouble) => return report.trouble("cors", &trouble, HELP),
            }
        }
        match (origins.len(), known.is_some()) {
            (0, true) => report.ok("cors", "no web page may call, as the stack says"),
            (0, false) => {
                report.ok("cors", "a page of another origin may not call");
                report.skipped("cors", "which origins may call is not known: use --origin or --stack");
            }
            (count, _) if count > MOST_ORIGINS => {
                let text = format!("{MOST_ORIGINS} of the {count} allowed origins may call, and another one may not");
                report.note("cors", text, "the others were not tried; name some with --origin");
            }
            (count, _) => {
                let origins = counted(count, "allowed origin");
                let text = format!("pages of {origins} may call, and of another one may not");
                report.ok("cors", text);
            }
        }
    }

    /// What is wrong for an origin that nobody allowed.
    async fn stranger(&self) -> Result<Option<String>, Trouble> {
        let url = self.server.at("/v1/credentials")?;
        let answer = self.web.ask(Question::preflight(&url, STRANGER)).await?;
        let allowed = answer.header(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        let is_let_in = allowed.is_some_and(|allowed| allowed == "*" || STRANGER == allowed);
        Ok(is_let_in.then(|| "a page of any origin may call".to_owned()))
    }

    /// What is wrong for a page of an allowed origin.
    async fn page(&self, origin: &HeaderValue) -> Result<Option<String>, Trouble> {
        let name = origin.to_str().unwrap_or_default();
        let url = self.server.at("/v1/credentials")?;
        let preflight = self.web.ask(Question::preflight(&url, origin.clone())).await?;
        let is_named = |answer: &Answer| answer.header(header::ACCESS_CONTROL_ALLOW_ORIGIN) == Some(name);
        let lists = |header: HeaderName, wanted: &str| {
            let listed = preflight.header(header).unwrap_or_default();
            listed.split(',').any(|each| each.trim().eq_ignore_ascii_case(wanted))
        };
        if preflight.status >= 300 || !is_named(&preflight) {
            let status = preflight.status;
            return Ok(Some(format!("the preflight of a page of {name} is not allowed (status {status})")));
        }
        for method in ["GET", "POST"] {
            if !lists(header::ACCESS_CONTROL_ALLOW_METHODS, method) {
                return Ok(Some(format!("the preflight of a page of {name} does not allow {method}")));
            }
        }
        for wanted in ["authorization", "content-type"] {
            if !lists(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted) {
                return Ok(Some(format!("the preflight of a page of {name} does not allow the header `{wanted}`")));
            }
        }
        let url = self.server.at("/v1/health")?;
        let answer = self.web.ask(Question::get(&url).header(header::ORIGIN, origin.clone())).await?;
        let with_cookies = |answer: &Answer| answer.header(header::ACCESS_CONTROL_ALLOW_CREDENTIALS) == Some("true");
        if !is_named(&answer) {
            return Ok(Some(format!("a page of {name} may send a request, and not read the answer")));
        }
        if with_cookies(&preflight) || with_cookies(&answer) {
            return Ok(Some(format!("pages of {name} may call in credentials mode, which Hallpass never allows")));
        }
        Ok(None)
    }
}
