//! What does one statement say?

use serde_json::{Map, Value};

use super::action::Action;
use super::arn::resource;
use super::condition::Condition;
use super::one_or_many::OneOrMany;
use super::reader::Reader;
use super::template::Template;
use crate::read::problems::quoted;

/// One statement. `Sid` is dropped: two statements with one `Sid` are refused by STS, and merging could make two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub(in crate::grants) effect: Effect,
    pub(in crate::grants) action: Scope<Action>,
    pub(in crate::grants) resource: Scope<Template>,
    pub(in crate::grants) condition: Option<Condition>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::grants) enum Effect {
    Allow,
    Deny,
}

/// What a statement is about: these (`Action`, `Resource`), or all but these (`NotAction`, `NotResource`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::grants) enum Scope<T> {
    These(OneOrMany<T>),
    AllBut(OneOrMany<T>),
}

impl Statement {
    /// Writes the statement with its templates filled in.
    ///
    /// # Errors
    /// What `fill` says.
    pub fn print<E>(&self, fill: &impl Fn(&Template) -> Result<String, E>) -> Result<Value, E> {
        let mut members = Map::new();
        let effect = match self.effect {
            Effect::Allow => "Allow",
            Effect::Deny => "Deny",
        };
        members.insert("Effect".into(), effect.into());
        let (name, actions) = self.action.named("Action", "NotAction");
        members.insert(name.into(), actions.print(&|action: &Action| Ok(Value::String(action.0.clone())))?);
        let (name, resources) = self.resource.named("Resource", "NotResource");
        members.insert(name.into(), resources.print(&|resource: &Template| fill(resource).map(Value::String))?);
        if let Some(condition) = &self.condition {
            members.insert("Condition".into(), condition.print(fill)?);
        }
        Ok(Value::Object(members))
    }

    /// Whether it allows what names an action of IAM. IAM works in no federated session, except in the console, which
    /// any holder of credentials can open.
    pub(in crate::grants) fn allows_iam(&self) -> bool {
        let named = match &self.action {
            Scope::These(actions) => actions.iter().any(|action| action.is_of("iam")),
            Scope::AllBut(_) => false,
        };
        self.effect == Effect::Allow && named
    }
}

impl<T> Scope<T> {
    const fn named(&self, these: &'static str, all_but: &'static str) -> (&'static str, &OneOrMany<T>) {
        match self {
            Self::These(values) => (these, values),
            Self::AllBut(values) => (all_but, values),
        }
    }
}

impl Reader {
    pub(in crate::grants) fn statement(&mut self, document: &Value, at: &str) -> Option<Statement> {
        let members = self.object(document, at, "must be a statement, which is a JSON object")?;
        self.only(members, at, &["Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"]);
        self.text(members, "Sid", at);
        let effect = match members.get("Effect").and_then(Value::as_str) {
            Some("Allow") => Some(Effect::Allow),
            Some("Deny") => Some(Effect::Deny),
            _ => {
                let found = members.get("Effect").map(|effect| format!(": {}", quoted(effect))).unwrap_or_default();
                let remedy = format_args!("must be \"Allow\" or \"Deny\"{found}");
                self.problems.add(&format!("{at}/Effect"), remedy);
                None
            }
        };
        let action = self.scope(members, at, ["Action", "NotAction"], Action::parse);
        let resource = self.scope(members, at, ["Resource", "NotResource"], resource);
        let condition = members
            .get("Condition")
            .map(|condition| Condition::read(condition, &format!("{at}/Condition"), &mut self.problems));
        Some(Statement { effect: effect?, action: action?, resource: resource?, condition })
    }

    fn scope<T>(
        &mut self,
        members: &Map<String, Value>,
        at: &str,
        [these, all_but]: [&'static str; 2],
        parse: fn(&str) -> Result<T, String>,
    ) -> Option<Scope<T>> {
        let (name, value) = match (members.get(these), members.get(all_but)) {
            (Some(value), None) => (these, value),
            (None, Some(value)) => (all_but, value),
            _ => {
                self.problems.add(at, format_args!("must have either `{these}` or `{all_but}`"));
                return None;
            }
        };
        let values = OneOrMany::read(value, &format!("{at}/{name}"), &mut self.problems, |value, at, problems| {
            let parsed = value.as_str().map_or_else(|| Err(format!("must be a string: {}", quoted(value))), parse);
            parsed.map_err(|remedy| problems.add(at, remedy)).ok()
        })?;
        Some(if name == these { Scope::These(values) } else { Scope::AllBut(values) })
    }
}
