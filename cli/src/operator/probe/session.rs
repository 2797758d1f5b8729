//! What does the holder of a token get, and not get?

use hallpass::grants::GrantName;
use hallpass::time::from_rfc3339;
use hallpass::wire::{Code, Credentials};
use secrecy::SecretString;
use serde_json::Value;

use super::opens::Opens;
use super::outside::Outside;
use super::refusals::{Answered, OTHER_GRANT, judge, with_changed_signature, without_signature};
use super::report::Report;
use crate::operator::stack::Account;
use crate::outside::world::World;

/// The shortest session that there is, in seconds.
const DURATION: i64 = 900;

/// The checks that need a token.
#[derive(Debug)]
pub(super) struct Holder<'a> {
    pub(super) outside: &'a Outside<'a>,
    pub(super) token: &'a SecretString,
    pub(super) grant: &'a GrantName,
    pub(super) world: &'a World,
    pub(super) account: &'a Account,
}

impl Holder<'_> {
    /// Looks at all of it. The session is last: a token may serve only once.
    pub(super) async fn look(&self, opens: &[Opens], report: &mut Report) {
        let changed = with_changed_signature(self.token);
        self.outside.refuses("refuses-changed-signature", "a token with a changed signature", &changed, report).await;
        let what = "this token without its signature (`alg: none`)";
        self.outside.refuses("refuses-alg-none", what, &without_signature(self.token), report).await;
        self.refuses_other_grant(report).await;
        let session = self.session(report).await;
        match &session {
            None => report.skipped("opens", "see `credentials`"),
            Some(_) if opens.is_empty() => report.skipped("opens", "nothing was named: use --opens"),
            Some(session) => {
                let sdk = self.account.load().await;
                for opens in opens {
                    opens.check(session, &sdk, self.outside.web, self.world, report).await;
                }
            }
        }
    }

    async fn refuses_other_grant(&self, report: &mut Report) {
        const CHECK: &str = "refuses-other-grant";
        let path = format!("/v1/credentials/{OTHER_GRANT}");
        let answer = match self.outside.ask(&path, Some(self.token)).await {
            Ok(answer) => answer,
            Err(trouble) => return report.trouble(CHECK, &trouble, "run it again"),
        };
        let answered = Answered::of(&answer);
        // Then no grant is looked for.
        if let Some(Code::InvalidToken | Code::GroupsUnavailable) = answered.code() {
            return report.skipped(CHECK, "see `credentials`");
        }
        let what = "a grant that does not exist";
        if judge(CHECK, what, Code::AccessDenied, &answered, report) {
            report.ok(CHECK, format!("{what} gets {}", answered.text()));
        }
    }

    async fn session(&self, report: &mut Report) -> Option<Credentials> {
        const CHECK: &str = "credentials";
        const HELP: &str = "the audit line of this request has the reason";
        let grant = self.grant.as_str();
        let answer =
            match self.outside.ask(&format!("/v1/credentials/{grant}?duration={DURATION}"), Some(self.token)).await {
                Ok(answer) => answer,
                Err(trouble) => {
                    report.trouble(CHECK, &trouble, HELP);
                    return None;
                }
            };
        if answer.status != 200 {
            refused(&Answered::of(&answer), report);
            return None;
        }
        let body = answer.object().and_then(|body| serde_json::from_value::<Credentials>(Value::Object(body)).ok());
        let Some(session) = body else {
            report.problem(CHECK, "the answer is not credentials", "what answers is not Hallpass: check the URL");
            return None;
        };
        let until = session.expiration.as_deref().and_then(from_rfc3339);
        if session.grant != grant {
            report.problem(CHECK, format!("the session is for the grant `{}`, not `{grant}`", session.grant), HELP);
        } else if until.is_none_or(|until| until <= self.outside.now) {
            let help = "compare the clocks; a session lasts 15 minutes or longer";
            report.problem(CHECK, "the session has ended already", help);
        } else {
            let (arn, until) = (&session.federated_user.arn, session.expiration.as_deref().unwrap_or_default());
            report.ok(CHECK, format!("a session of {arn} for the grant `{grant}`, until {until}"));
        }
        Some(session)
    }
}

/// Reports why the server gave no session, unless an earlier check has reported it.
fn refused(answered: &Answered, report: &mut Report) {
    const CHECK: &str = "credentials";
    let cause = match answered.code() {
        Some(Code::IdentityProviderUnavailable) => Some("provider"),
        Some(Code::BrokerKeyRefused) => Some("broker-key"),
        Some(Code::GrantUnusable) => Some("grants"),
        _ => None,
    };
    // One thing is wrong, and it was told.
    if let Some(cause) = cause.filter(|cause| report.has_problem(cause)) {
        return report.skipped(CHECK, &format!("refused as {}: see `{cause}`", answered.text()));
    }
    let Answered::Refused(problem) = answered else {
        let help = "what answers is not Hallpass, or something in front of it changes answers";
        return report.problem(CHECK, format!("the token gets {}", answered.text()), help);
    };
    let help = match problem.code {
        Code::BrokerKeyRefused => {
            "the runbook's \"Nobody gets credentials\": `hallpass key status`, `hallpass key rotate`"
        }
        Code::GrantUnusable => "the audit line says which item of the grant is wrong, and where",
        Code::InvalidToken | Code::InsufficientUserAuthentication => "take a new token for the probe",
        Code::AccessDenied => "the holder needs this grant, and may not be blocked: `hallpass grants explain`",
        Code::InvalidRequest
        | Code::TokenMissing
        | Code::GroupsUnavailable
        | Code::NotFound
        | Code::MethodNotAllowed
        | Code::ContentTooLarge
        | Code::UnsupportedMediaType
        | Code::Internal
        | Code::IdentityProviderUnavailable
        | Code::TemporarilyUnavailable
        | Code::Unknown => "the runbook's \"Somebody is refused\" finds the reason by the request's id",
    };
    let text = format!("the token gets {}: {} (request {})", answered.text(), problem.message, problem.request_id);
    report.problem(CHECK, text, help);
}
