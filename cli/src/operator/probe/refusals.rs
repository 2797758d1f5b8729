//! Does a deployment refuse what it has to refuse, with the code that docs/api.md promises?

use data_encoding::BASE64URL_NOPAD;
use hallpass::identity::Issuer;
use hallpass::wire::{Code, Problem};
use hyper::header;
use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

use super::outside::Outside;
use super::report::Report;
use crate::outside::secret::expose;
use crate::outside::server::redirected;
use crate::outside::trouble::Trouble;
use crate::outside::web::{Answer, Question};

/// A grant that nobody writes.
pub(super) const OTHER_GRANT: &str = "hallpass-probe-no-such-grant";
const HEADER_OF_NONE: &str = r#"{"alg":"none","typ":"JWT"}"#;
/// Seconds that a made token would last.
const LIFETIME: i64 = 300;

/// What was answered instead of credentials.
#[derive(Debug)]
pub(super) enum Answered {
    /// A refusal, in the server's own words.
    Refused(Box<Problem>),
    /// Something of this status that is not a refusal of Hallpass.
    Other(u16),
}

impl Answered {
    pub(super) fn of(answer: &Answer) -> Self {
        let body = answer.object().filter(|_| answer.status >= 400);
        let problem = body.and_then(|body| serde_json::from_value::<Problem>(Value::Object(body)).ok());
        // A code of another status is not ours.
        let problem = problem.filter(|problem| problem.code == Code::Unknown || problem.code.status() == answer.status);
        problem.map_or(Self::Other(answer.status), |problem| Self::Refused(Box::new(problem)))
    }

    pub(super) fn code(&self) -> Option<Code> {
        match self {
            Self::Refused(problem) => Some(problem.code),
            Self::Other(_) => None,
        }
    }

    /// For a message: nothing of what a body may hold but the code.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Refused(problem) => format!("{} `{}`", problem.code.status(), problem.code),
            Self::Other(status @ 200..300) => format!("{status}, as if it were right"),
            Self::Other(status) => format!("status {status}, which is not a refusal of Hallpass"),
        }
    }
}

impl Outside<'_> {
    /// What a caller without a token of this deployment can try.
    pub(super) async fn refuses_strangers(&self, issuer: Option<&Issuer>, is_configured: bool, report: &mut Report) {
        const NONE: &str = "refuses-alg-none";
        self.refuses_no_token(report).await;
        let garbage = SecretString::from("hallpass-probe");
        self.refuses("refuses-garbage", "a text that is not a token", &garbage, report).await;
        match issuer {
            Some(issuer) => {
                let token = unsigned(self.claims(issuer).to_string().as_bytes());
                let refused = self.refused(NONE, "a token without a signature (`alg: none`)", &token, report).await;
                // Who skips signatures and compares audiences refuses another audience's token all the same.
                let form = if is_configured { "" } else { "; only its form was tried: --stack knows the audience" };
                if let Some(refused) = refused {
                    report.ok(NONE, format!("{refused}{form}"));
                }
            }
            None => report.skipped(NONE, "see `metadata`: no issuer is known"),
        }
    }

    /// Claims that are right, except that nobody has this subject.
    fn claims(&self, issuer: &Issuer) -> Value {
        let (from, until) = (self.now, self.now.saturating_add(LIFETIME));
        let audience = issuer.audiences().first();
        let mut claims =
            json!({"iss": issuer.url(), "sub": "hallpass-probe", "aud": audience, "iat": from, "exp": until});
        let pointer = issuer.audience_claim().split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~"));
        let mut names = pointer.collect::<Vec<_>>().into_iter();
        if let (Some(first), Some(claims)) = (names.next(), claims.as_object_mut()) {
            claims.insert(first, names.rfold(json!(audience), |inner, name| json!({name: inner})));
        }
        claims
    }

    async fn refuses_no_token(&self, report: &mut Report) {
        const CHECK: &str = "refuses-no-token";
        let answer = match self.ask("/v1/credentials", None).await {
            Ok(answer) => answer,
            Err(trouble) => return report.trouble(CHECK, &trouble, HELP_OTHER),
        };
        let answered = Answered::of(&answer);
        if !judge(CHECK, "a request without a token", Code::TokenMissing, &answered, report) {
            return;
        }
        let challenge = answer.header(header::WWW_AUTHENTICATE).unwrap_or_default();
        if challenge.starts_with("Bearer") && challenge.contains("resource_metadata=\"") {
            report.ok(CHECK, format!("a request without a token gets {}", answered.text()));
        } else {
            let text = "a refusal does not say where the metadata is (`WWW-Authenticate`)";
            report.problem(
                CHECK,
                text,
                "something between the clients and the API removes headers; have it keep this one",
            );
        }
    }

    /// Whether a token that nobody may use is refused as such.
    pub(super) async fn refuses(&self, check: &'static str, what: &str, token: &SecretString, report: &mut Report) {
        if let Some(refused) = self.refused(check, what, token, report).await {
            report.ok(check, refused);
        }
    }

    /// The same, for who has more to say of a token that was refused as such.
    async fn refused(
        &self,
        check: &'static str,
        what: &str,
        token: &SecretString,
        report: &mut Report,
    ) -> Option<String> {
        match self.ask("/v1/credentials", Some(token)).await {
            Ok(answer) => {
                let answered = Answered::of(&answer);
                let is_right = judge(check, what, Code::InvalidToken, &answered, report);
                is_right.then(|| format!("{what} gets {}", answered.text()))
            }
            Err(trouble) => {
                report.trouble(check, &trouble, HELP_OTHER);
                None
            }
        }
    }

    pub(super) async fn ask(&self, path: &str, token: Option<&SecretString>) -> Result<Answer, Trouble> {
        let url: Url = self.server.at(path)?;
        let question = Question::get(&url);
        let question = if let Some(token) = token { question.bearer(token) } else { question };
        let answer = self.web.ask(question).await?;
        if answer.is_redirect() { Err(redirected(self.server, &answer)) } else { Ok(answer) }
    }
}

/// Whether it is the code that was expected; what is not is reported.
pub(super) fn judge(check: &'static str, what: &str, expected: Code, answered: &Answered, report: &mut Report) -> bool {
    if answered.code() == Some(expected) {
        return true;
    }
    if answered.code() == Some(Code::IdentityProviderUnavailable) && report.has_problem("provider") {
        report.skipped(check, "see `provider`");
        return false;
    }
    let text = format!("{what} gets {} instead of {} `{expected}`", answered.text(), expected.status());
    let help = match answered {
        Answered::Other(200..300) => {
            "anybody may get credentials: stop the API, then \"The broker key is on the internet\" in the runbook"
        }
        Answered::Refused(problem) if problem.code.status() >= 500 => "the audit line of this request has the reason",
        Answered::Refused(_) | Answered::Other(_) => HELP_OTHER,
    };
    report.problem(check, text, help);
    false
}

const HELP_OTHER: &str = "what answers is not this version of Hallpass, or something in front of it changes answers";

/// A token with these claims that nobody signed.
fn unsigned(claims: &[u8]) -> SecretString {
    let header = BASE64URL_NOPAD.encode(HEADER_OF_NONE.as_bytes());
    SecretString::from(format!("{header}.{}.", BASE64URL_NOPAD.encode(claims)))
}

/// The claims of a token, without its signature.
pub(super) fn without_signature(token: &SecretString) -> SecretString {
    let header = BASE64URL_NOPAD.encode(HEADER_OF_NONE.as_bytes());
    let claims = expose(token).split('.').nth(1).unwrap_or_default();
    SecretString::from(format!("{header}.{claims}."))
}

/// A token with another signature.
pub(super) fn with_changed_signature(token: &SecretString) -> SecretString {
    let (signed, signature) = expose(token).rsplit_once('.').unwrap_or_default();
    // The first character has no bits that are not read.
    let mut characters = signature.chars();
    let first = if characters.next() == Some('A') { 'B' } else { 'A' };
    SecretString::from(format!("{signed}.{first}{}", characters.as_str()))
}
