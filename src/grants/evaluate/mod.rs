//! May a session do this?
//!
//! IAM's decision on one action and resource, for the session policies and for the policies of the broker user, which
//! are the ceiling. What is not known of the request's context stays unknown: an answer is definite only where each
//! completion of the context gives it. Resource policies, which can allow a federated user by name, and the broker
//! user's permissions boundary are not looked at.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>

mod condition;
mod context;
mod pattern;
#[cfg(test)]
pub(in crate::grants) mod tests;
mod truth;

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

pub use self::context::{Circumstances, Context};
use self::pattern::Pattern;
use self::truth::Truth;
use super::Session;
use super::policy::{Action, Effect, Policy, Scope, Statement, Template};
use crate::read::problems::Problems;

/// What is asked for: one action on one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    action: String,
    resource: String,
}

/// Why nothing can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskedError {
    /// Not one action.
    #[error("an action must be `service:Action`, without wildcards")]
    Action,
    /// Not one resource.
    #[error(
        "a resource must be an ARN, `arn:partition:service:region:account:resource`, or `*` for an action without one"
    )]
    Resource,
}

impl Asked {
    /// Takes an action such as `s3:GetObject`, and a resource: its ARN, or `*` if the action has none. Wildcards in the
    /// ARN are characters.
    ///
    /// # Errors
    /// [`AskedError`] says which of them is malformed.
    pub fn new(action: &str, resource: &str) -> Result<Self, AskedError> {
        let legal =
            |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_".contains(&c));
        if !action.split_once(':').is_some_and(|(service, name)| legal(service) && legal(name)) {
            return Err(AskedError::Action);
        }
        let parts: Vec<&str> = resource.splitn(6, ':').collect();
        let is_arn = matches!(parts.as_slice(), ["arn", _, _, _, _, last] if !last.is_empty());
        if !is_arn && resource != "*" {
            return Err(AskedError::Resource);
        }
        Ok(Self { action: action.to_owned(), resource: resource.to_owned() })
    }
}

/// A policy with a name by which its author knows it, such as a file's or an ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    name: String,
    policy: Policy,
}

impl Document {
    /// Reads a policy as IAM keeps it: what is to be filled in is filled in, and it may be larger than a session policy.
    ///
    /// # Errors
    /// Every problem, each at its JSON pointer.
    pub fn parse(name: impl Into<String>, document: &Value) -> Result<Self, Problems> {
        Ok(Self { name: name.into(), policy: Policy::parse_of_iam(document)? })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Policies of which any may allow, and a Deny in any denies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policies {
    documents: Vec<Document>,
    /// The names of those whose documents are not known.
    unread: Vec<String>,
}

impl Policies {
    /// The name of a session's own policy among its policies.
    pub const SESSION: &str = "session policy";

    /// These policies.
    #[must_use]
    pub const fn new(documents: Vec<Document>) -> Self {
        Self { documents, unread: Vec::new() }
    }

    /// Those of a session: its own, and the managed policies that it names. Of these, the ones that are not among
    /// `managed`, by their ARNs as names, are unread.
    ///
    /// # Errors
    /// The problems of the session's own policy, which STS would refuse.
    pub fn of_session(session: &Session, managed: &[Document]) -> Result<Self, Problems> {
        let mut policies = Self::default();
        if let Some(policy) = session.policy() {
            let document = serde_json::from_str(policy.as_str()).unwrap_or_default();
            policies.documents.push(Document::parse(Self::SESSION, &document)?);
        }
        for arn in session.policy_arns().iter().map(crate::session::PolicyArn::as_str) {
            match managed.iter().find(|document| document.name == arn) {
                Some(document) => policies.documents.push(document.clone()),
                None => policies.unread.push(arn.to_owned()),
            }
        }
        Ok(policies)
    }

    /// Adds a policy whose document is not known: it might allow or deny anything.
    pub fn add_unread(&mut self, name: impl Into<String>) {
        self.unread.push(name.into());
    }

    fn decide(&self, asked: &Asked, context: &Context) -> Verdict {
        let mut denies = Found::default();
        let mut allows = Found::default();
        for document in &self.documents {
            for (index, statement) in document.policy.statements().iter().enumerate() {
                let mut evaluation = Evaluation { context, missing: BTreeSet::new() };
                let applies = evaluation.applies(statement, asked);
                let found = match statement.effect {
                    Effect::Deny => &mut denies,
                    Effect::Allow => &mut allows,
                };
                let decider = || Decider {
                    policy: document.name.clone(),
                    statement: Some((index, document.policy.pointer(index))),
                };
                found.add(applies, decider, evaluation.missing);
            }
        }
        for name in &self.unread {
            for found in [&mut denies, &mut allows] {
                found.add(Truth::Unknown, || Decider { policy: name.clone(), statement: None }, BTreeSet::new());
            }
        }
        Verdict::of(denies, allows)
    }
}

/// The statements of one effect that apply, or may.
struct Found {
    applies: Truth,
    /// The first that makes it so.
    by: Option<Decider>,
    missing: BTreeSet<String>,
}

impl Default for Found {
    fn default() -> Self {
        Self { applies: Truth::False, by: None, missing: BTreeSet::new() }
    }
}

impl Found {
    fn add(&mut self, applies: Truth, by: impl FnOnce() -> Decider, missing: BTreeSet<String>) {
        let before = self.applies;
        self.applies = before.or(applies);
        if self.applies != before {
            self.by = Some(by());
        }
        if applies == Truth::Unknown {
            self.missing.extend(missing);
        }
    }
}

/// How IAM decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// A statement allows it, and none denies it.
    Allow,
    /// A statement denies it.
    Deny,
    /// No statement allows it.
    ImplicitDeny,
    /// It depends on what is not known.
    Unknown,
}

impl Decision {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Allow, Self::Deny, Self::ImplicitDeny, Self::Unknown];

    /// As it is written in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::ImplicitDeny => "implicit_deny",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The statement that decided, or the first of those that may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decider {
    /// The name of its policy.
    pub policy: String,
    /// Its index, and its JSON pointer in the policy. `None` where the policy's document is not known.
    pub statement: Option<(usize, String)>,
}

impl fmt::Display for Decider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.statement {
            Some((_, pointer)) => write!(f, "{pointer} of {}", self.policy),
            None => write!(f, "{}, which is not known", self.policy),
        }
    }
}

/// What some policies decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    possible: Possible,
    by: Option<Decider>,
    missing: BTreeSet<String>,
}

/// The decisions that completions of the context lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Possible {
    allow: bool,
    deny: bool,
    implicit_deny: bool,
}

impl Possible {
    const fn decision(self) -> Decision {
        match (self.allow, self.deny, self.implicit_deny) {
            (true, false, false) => Decision::Allow,
            (false, true, false) => Decision::Deny,
            (false, false, true) => Decision::ImplicitDeny,
            _ => Decision::Unknown,
        }
    }

    /// Of two, each of which has to allow.
    const fn and(self, other: Self) -> Self {
        let (passes, passes_too) = (self.allow || self.implicit_deny, other.allow || other.implicit_deny);
        Self {
            allow: self.allow && other.allow,
            deny: self.deny || other.deny,
            implicit_deny: (self.implicit_deny && passes_too) || (other.implicit_deny && passes),
        }
    }
}

impl Verdict {
    fn of(denies: Found, allows: Found) -> Self {
        let is_not_denied = denies.applies != Truth::True;
        let possible = Possible {
            allow: is_not_denied && allows.applies != Truth::False,
            deny: denies.applies != Truth::False,
            implicit_deny: is_not_denied && allows.applies != Truth::True,
        };
        let by = match possible.decision() {
            Decision::Deny => denies.by,
            Decision::Allow => allows.by,
            Decision::ImplicitDeny => None,
            // A Deny that may apply is what people ask about; it stands in the way of an Allow that does.
            Decision::Unknown => denies.by.or(allows.by),
        };
        let missing = match possible.decision() {
            Decision::Unknown => denies.missing.into_iter().chain(allows.missing).collect(),
            Decision::Allow | Decision::Deny | Decision::ImplicitDeny => BTreeSet::new(),
        };
        Self { possible, by, missing }
    }

    /// Of two, each of which has to allow.
    fn and(&self, other: &Self) -> Self {
        let possible = self.possible.and(other.possible);
        let decision = possible.decision();
        let mut deciding = [self, other].into_iter().filter(|one| one.decision() == decision);
        let by = deciding.find_map(|one| one.by.clone());
        let missing = match decision {
            Decision::Unknown => self.missing.union(&other.missing).cloned().collect(),
            Decision::Allow | Decision::Deny | Decision::ImplicitDeny => BTreeSet::new(),
        };
        Self { possible, by, missing }
    }

    /// The decision.
    #[must_use]
    pub const fn decision(&self) -> Decision {
        self.possible.decision()
    }

    /// Whether some completion of the context allows it. An unknown verdict can be known not to allow: it is not known
    /// then whether a statement denies it or none allows it.
    #[must_use]
    pub const fn may_allow(&self) -> bool {
        self.possible.allow
    }

    /// The statement that decided; where the decision is unknown, the first of those that may apply. None where it is
    /// that no statement allows.
    #[must_use]
    pub const fn by(&self) -> Option<&Decider> {
        self.by.as_ref()
    }

    /// The context keys that an unknown decision depends on, as the policies write them.
    #[must_use]
    pub const fn missing(&self) -> &BTreeSet<String> {
        &self.missing
    }
}

/// What is decided on a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// By the session's policies.
    pub session: Verdict,
    /// By the ceiling, where it is known.
    pub ceiling: Option<Verdict>,
    /// By both, or by the session's policies alone where the ceiling is not known.
    pub result: Verdict,
}

/// Decides what `asked` comes to in `context`.
#[must_use]
pub fn evaluate(session: &Policies, ceiling: Option<&Policies>, asked: &Asked, context: &Context) -> Decided {
    let session = session.decide(asked, context);
    let ceiling = ceiling.map(|ceiling| ceiling.decide(asked, context));
    let result = ceiling.as_ref().map_or_else(|| session.clone(), |ceiling| session.and(ceiling));
    Decided { session, ceiling, result }
}

/// A statement that is looked at.
struct Evaluation<'c> {
    context: &'c Context,
    /// The keys that were asked for, and of which nothing is known.
    missing: BTreeSet<String>,
}

impl Evaluation<'_> {
    fn applies(&mut self, statement: &Statement, asked: &Asked) -> Truth {
        let (Scope::These(actions) | Scope::AllBut(actions)) = &statement.action;
        let action = asked.action.to_lowercase();
        let is_named = |action_of: &Action| Pattern::wild(&action_of.0).folded().matches(&action);
        let action = within(&statement.action, Truth::any(actions.iter().map(is_named)));
        if action == Truth::False {
            return Truth::False;
        }
        let (Scope::These(resources) | Scope::AllBut(resources)) = &statement.resource;
        // "The resource that includes a policy variable with no value will not match any resource."
        let matches = |resource: &Template| {
            Pattern::of(resource, true, self).map_or(Truth::False, |pattern| pattern.matches(&asked.resource))
        };
        let resource = within(&statement.resource, Truth::any(resources.iter().map(matches)));
        let condition = statement.condition.as_ref().map_or(Truth::True, |condition| self.holds(condition));
        resource.and(condition)
    }
}

const fn within<T>(scope: &Scope<T>, is_named: Truth) -> Truth {
    match scope {
        Scope::These(_) => is_named,
        Scope::AllBut(_) => is_named.not(),
    }
}
