//! Do grants do what their authors expect of them?
//!
//! Beside grant files there are test files, `*.test.yaml`. Each test names a caller, a grant, what the API must answer,
//! and what the session must allow and deny. Nothing is asked of AWS: [`authorize`](super::authorize()) decides on the
//! session, and [`evaluate`](super::evaluate()) on what it may do.

mod file;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value};

pub use self::file::TestFiles;
use super::evaluate::{Asked, Circumstances, Context, Decision, Policies, Verdict, evaluate};
use super::explain::{ISSUED, Known, explain};
use super::{GrantName, Principal, Request, Session};
use crate::identity::{Issuer, TokenError, put_claim, suppose};
use crate::read::text::Place;
use crate::session::SessionDuration;

/// A test of a file.
#[derive(Debug, Clone)]
pub struct Test {
    /// The file.
    pub path: Arc<Path>,
    /// Where the test begins.
    pub place: Place,
    /// What it says.
    pub name: String,
    /// Policies of the broker user, relative to the file. Empty: the ceiling is not looked at.
    pub ceiling: Vec<PathBuf>,
    caller: SupposedCaller,
    grant: GrantName,
    duration: Option<SessionDuration>,
    from: Option<IpAddr>,
    at: Option<SystemTime>,
    /// `issued`, or a code of the API.
    expect: String,
    expectations: Vec<Expectation>,
}

/// A caller as somebody describes one, instead of by a token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SupposedCaller {
    /// The id of the issuer.
    pub issuer: String,
    /// The subject.
    pub subject: String,
    /// The groups. `None`: the token has no such claim.
    pub groups: Option<Vec<String>>,
    /// Other claims, by their names.
    pub claims: Map<String, Value>,
}

/// What a session must be able to do, or not.
#[derive(Debug, Clone)]
struct Expectation {
    allows: bool,
    action: String,
    resource: String,
    asked: Asked,
    context: Vec<(String, Vec<String>)>,
    absent: Vec<String>,
}

impl SupposedCaller {
    /// The claims that a token of `issuer` would have, each where the issuer's configuration says.
    ///
    /// # Errors
    /// The pointer of a claim that has no place among the others.
    pub fn claims_for(&self, issuer: &Issuer) -> Result<Map<String, Value>, String> {
        let mut claims = self.claims.clone();
        let mut put = |pointer: &str, value: Value| {
            put_claim(&mut claims, pointer, value).ok_or_else(|| format!("the claim `{pointer}` has no place"))
        };
        put(issuer.subject_claim(), self.subject.clone().into())?;
        if let Some(groups) = &self.groups {
            put(issuer.groups_claim(), groups.clone().into())?;
        }
        Ok(claims)
    }
}

/// Why a caller cannot be supposed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum NoCaller {
    #[error("the issuer `{0}` is not configured")]
    Issuer(String),
    #[error("{0}")]
    Claims(String),
    #[error(transparent)]
    Token(TokenError),
}

impl Test {
    /// Runs the test on all that is known, at `now` unless the test says when.
    ///
    /// # Errors
    /// Everything that is not as expected.
    pub fn run(
        &self,
        mut known: Known,
        issuers: &[Issuer],
        ceiling: Option<&Policies>,
        now: SystemTime,
    ) -> Result<(), Vec<String>> {
        let now = self.at.unwrap_or(now);
        let request = Request { grant: self.grant.clone(), duration: self.duration, source_ip: self.from };
        let caller = match self.caller(issuers) {
            Ok(caller) => caller,
            Err(NoCaller::Token(error)) => return self.compare(error.code().as_str(), error.reason()),
            Err(error) => return Err(vec![error.to_string()]),
        };
        // Nobody can look the owner of a name up here, so it is supposed to be the caller's.
        if known.name_owner.is_none() && caller.name_rule().is_some() {
            known.name_owner = Some(Principal::user(&caller).as_str().to_owned());
        }
        let explanation = explain(&caller, &request, known, now);
        let pending = match &explanation.outcome {
            Ok(pending) if self.expect == ISSUED => pending,
            _ => {
                let whys = explanation.items.iter().map(|item| format!("`{}` {}", item.principal, item.why));
                let detail = whys.take(3).collect::<Vec<_>>().join("; ");
                let between = if detail.is_empty() { "" } else { ": " };
                return self.compare(explanation.code(), &format!("{}{between}{detail}", explanation.reason()));
            }
        };
        let session = pending.describe();
        let policies = Policies::of_session(session, &[]).map_err(|problems| vec![problems.to_string()])?;
        let failed = self.expectations.iter().filter_map(|expectation| {
            let context = self.context(expectation, session, now);
            expectation.failure(&evaluate(&policies, ceiling, &expectation.asked, &context).result)
        });
        let failed: Vec<String> = failed.collect();
        if failed.is_empty() { Ok(()) } else { Err(failed) }
    }

    fn caller(&self, issuers: &[Issuer]) -> Result<crate::identity::Caller, NoCaller> {
        let id = &self.caller.issuer;
        let issuer = issuers.iter().find(|issuer| issuer.id().as_str() == id);
        let issuer = issuer.ok_or_else(|| NoCaller::Issuer(id.clone()))?;
        let claims = self.caller.claims_for(issuer).map_err(NoCaller::Claims)?;
        suppose(issuer, claims).map_err(NoCaller::Token)
    }

    /// The id of the issuer that the caller comes from.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.caller.issuer
    }

    fn compare(&self, code: &str, why: &str) -> Result<(), Vec<String>> {
        if code == self.expect { Ok(()) } else { Err(vec![format!("is {code} ({why}), not {}", self.expect)]) }
    }

    fn context(&self, expectation: &Expectation, session: &Session, now: SystemTime) -> Context {
        let mut context = Context::of(&Circumstances {
            source_ip: self.from,
            now,
            partition: "aws",
            account: None,
            name: session.name().as_str(),
            tags: session.tags(),
        });
        for (key, values) in &expectation.context {
            context.set(key, values.clone());
        }
        for key in &expectation.absent {
            context.set_absent(key);
        }
        context
    }
}

impl Expectation {
    fn failure(&self, verdict: &Verdict) -> Option<String> {
        let decision = verdict.decision();
        let is_met = if self.allows { decision == Decision::Allow } else { !verdict.may_allow() };
        let what = format!("{} on {}", self.action, self.resource);
        let verb = if self.allows { "allows" } else { "denies" };
        let why = match decision {
            Decision::Unknown => {
                let missing = verdict.missing().iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                match verdict.by() {
                    Some(by) if missing.is_empty() => format!("is unknown: it depends on {by}"),
                    _ => format!("is unknown: give `context` or `absent` for {missing}"),
                }
            }
            Decision::Allow | Decision::Deny | Decision::ImplicitDeny => match verdict.by() {
                Some(by) => format!("is {decision}, by {by}"),
                None => format!("is {decision}"),
            },
        };
        (!is_met).then(|| format!("{verb} {what}: {why}"))
    }
}
