//! What does one statement say?

use serde_json::{Map, Value};

use super::action::Action;
use super::arn::resource;
use super::condition::{Condition, Operand};
use super::one_or_many::OneOrMany;
use super::template::Template;
use super::{label, unknown_element};
use crate::read::fields::Fields;
use crate::read::problems::{Problem, Problems};
use crate::read::rule::Rule;

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

    /// All strings in which something may be replaced.
    pub(in crate::grants) fn templates(&self) -> impl Iterator<Item = &Template> {
        let (Scope::These(resources) | Scope::AllBut(resources)) = &self.resource;
        let comparisons = self.condition.iter().flat_map(|Condition(comparisons)| comparisons);
        let operands = comparisons.flat_map(|one| &one.keys).flat_map(|(_, operands)| operands.iter());
        resources.iter().chain(operands.filter_map(Operand::template))
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

impl Statement {
    pub(super) fn read(document: &Value, at: &str, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(document, at, "must be a statement, which is a JSON object", problems)?;
        fields.optional("Sid", label);
        let must = "must be \"Allow\" or \"Deny\"";
        let effect = fields.required("Effect", must, |value| match value.as_str() {
            Some("Allow") => Ok(Effect::Allow),
            Some("Deny") => Ok(Effect::Deny),
            _ => Err(Problem::wrong(Rule::Effect, must, value)),
        });
        let action = scope(&mut fields, ["Action", "NotAction"], Action::parse);
        let resource = scope(&mut fields, ["Resource", "NotResource"], resource);
        let condition = fields.nested("Condition", Condition::read);
        fields.finish(|_| false, unknown_element);
        Some(Self { effect: effect?, action: action?, resource: resource?, condition })
    }
}

fn scope<T>(
    fields: &mut Fields<'_>,
    [these, all_but]: [&'static str; 2],
    parse: fn(&str) -> Result<T, Problem>,
) -> Option<Scope<T>> {
    let name = match (fields.raw(these), fields.raw(all_but)) {
        (Some(_), None) => these,
        (None, Some(_)) => all_but,
        _ => {
            let says = format_args!("must have either `{these}` or `{all_but}`");
            fields.add_here(Problem::new(Rule::Statement, says));
            return None;
        }
    };
    let values = fields.nested(name, |value, at, problems| {
        OneOrMany::read(value, at, problems, |value, at, problems| {
            let text = value.as_str().ok_or_else(|| Problem::wrong(Rule::Type, "must be a string", value));
            text.and_then(parse).map_err(|problem| problems.add(at, problem)).ok()
        })
    });
    let values = values.flatten()?;
    Some(if name == these { Scope::These(values) } else { Scope::AllBut(values) })
}
