//! Does one statement apply wherever another does?
//!
//! What is shown here holds for every caller and every request: templates and IAM's variables are compared unfilled, and
//! one covers only itself, unless a `*` covers it. What cannot be shown is answered with no.

use crate::grants::policy::{Action, Condition, Effect, OneOrMany, Operand, Part, Policy, Scope, Statement, Template};

/// Whether the statements of `narrow` allow at most what those of `wide` do, whatever else is merged with either:
/// each Allow is within one of the other's, and each Deny of the other is within one of its own.
pub(super) fn allows_at_most(narrow: Option<&Policy>, wide: Option<&Policy>) -> bool {
    let of = |policy: Option<&Policy>, effect: Effect| -> Vec<Statement> {
        let statements = policy.map(Policy::statements).unwrap_or_default();
        statements.iter().filter(|statement| statement.effect == effect).cloned().collect()
    };
    let within = |inner: &[Statement], outer: &[Statement]| {
        inner.iter().all(|statement| outer.iter().any(|other| is_within(statement, other)))
    };
    within(&of(narrow, Effect::Allow), &of(wide, Effect::Allow))
        && within(&of(wide, Effect::Deny), &of(narrow, Effect::Deny))
}

/// Whether `outer` applies to every request to which `inner` applies, apart from their effects.
fn is_within(inner: &Statement, outer: &Statement) -> bool {
    scope_is_within(&inner.action, &outer.action, action)
        && scope_is_within(&inner.resource, &outer.resource, resource)
        && outer
            .condition
            .as_ref()
            .is_none_or(|outer| inner.condition.as_ref().is_some_and(|inner| implies(inner, outer)))
}

fn scope_is_within<T>(inner: &Scope<T>, outer: &Scope<T>, pattern: fn(&T) -> Vec<Symbol>) -> bool {
    let all = |values: &OneOrMany<T>| values.iter().map(pattern).collect::<Vec<_>>();
    let within = |inner: &[Vec<Symbol>], outer: &[Vec<Symbol>]| {
        inner.iter().all(|pattern| outer.iter().any(|other| covers(other, pattern)))
    };
    match (inner, outer) {
        (Scope::These(inner), Scope::These(outer)) => within(&all(inner), &all(outer)),
        // The more is left out, the less is in it.
        (Scope::AllBut(inner), Scope::AllBut(outer)) => within(&all(outer), &all(inner)),
        (Scope::AllBut(_), Scope::These(outer)) => all(outer).iter().any(|pattern| *pattern == [Symbol::Any]),
        (Scope::These(_), Scope::AllBut(_)) => false,
    }
}

/// Whether everything that `outer` asks for is asked for by `inner`, perhaps with fewer values that match.
fn implies(inner: &Condition, outer: &Condition) -> bool {
    let inner: Vec<_> = keys(inner).collect();
    keys(outer).all(|(operator, key, values, negates)| {
        inner.iter().any(|(other_operator, other_key, other_values, _)| {
            let (fewer, more) = if negates { (&values, other_values) } else { (other_values, &values) };
            operator == *other_operator && key == *other_key && fewer.iter().all(|value| more.contains(value))
        })
    })
}

fn keys(condition: &Condition) -> impl Iterator<Item = (String, String, Vec<String>, bool)> {
    condition.0.iter().flat_map(|comparison| {
        let operator = &comparison.operator;
        comparison.keys.iter().map(|(key, operands)| {
            (operator.print(), key.to_lowercase(), operands.iter().map(written).collect(), operator.negates())
        })
    })
}

/// An operand as it could be written as a string.
fn written(operand: &Operand) -> String {
    match operand {
        Operand::Text(template) => template.parts().iter().map(source).collect(),
        Operand::Number(number) => number.to_string(),
        Operand::Truth(truth) => truth.to_string(),
    }
}

/// A part as it stands in the policy. Text holds no `${`, so that no two parts are written alike.
fn source(part: &Part) -> String {
    match part {
        Part::Text(text) => text.clone(),
        Part::Claim(pointer) => format!("${{jwt:{pointer}}}"),
        Part::SessionName => "${session:name}".into(),
        Part::Variable(name) => format!("${{{name}}}"),
    }
}

/// What a pattern is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Symbol {
    Char(char),
    One,
    Any,
    /// A template or a variable: some text, the same wherever it is written alike, or nothing that matches.
    Some(String),
}

fn action(action: &Action) -> Vec<Symbol> {
    // The two ways to write all actions.
    if action.is_everything() { vec![Symbol::Any] } else { symbols(&action.0.to_lowercase()).collect() }
}

fn resource(resource: &Template) -> Vec<Symbol> {
    let of_part = |part: &Part| match part {
        Part::Text(text) => symbols(text).collect(),
        Part::Variable(name) if ["*", "?", "$"].contains(&name.as_str()) => name.chars().map(Symbol::Char).collect(),
        Part::Claim(_) | Part::SessionName | Part::Variable(_) => vec![Symbol::Some(source(part))],
    };
    resource.parts().iter().flat_map(of_part).collect()
}

fn symbols(text: &str) -> impl Iterator<Item = Symbol> {
    text.chars().map(|c| match c {
        '*' => Symbol::Any,
        '?' => Symbol::One,
        other => Symbol::Char(other),
    })
}

/// Whether each text that matches `narrow` matches `wide`: `wide` is matched against `narrow` as if that were a text, in
/// which a `*` is matched by a `*` alone, and a `?` by both. Greedy, with one place to go back to: the last `*`.
fn covers(wide: &[Symbol], narrow: &[Symbol]) -> bool {
    let (mut wide, mut narrow) = (wide, narrow);
    let mut last_any: Option<(&[Symbol], &[Symbol])> = None;
    loop {
        match (wide, narrow) {
            ([], []) => return true,
            ([Symbol::Any, rest @ ..], _) => {
                last_any = Some((rest, narrow));
                wide = rest;
            }
            ([Symbol::One, rest @ ..], [Symbol::One | Symbol::Char(_), behind @ ..]) => (wide, narrow) = (rest, behind),
            ([one, rest @ ..], [other, behind @ ..]) if one == other => (wide, narrow) = (rest, behind),
            _ => match last_any {
                Some((rest, [_, behind @ ..])) => {
                    last_any = Some((rest, behind));
                    (wide, narrow) = (rest, behind);
                }
                _ => return false,
            },
        }
    }
}

/// The claims without which the policy cannot be filled in, so that a caller who does not have them gets nothing.
pub(super) fn claims(policy: Option<&Policy>) -> impl Iterator<Item = &str> {
    let statements = policy.map(Policy::statements).unwrap_or_default();
    statements.iter().flat_map(Statement::templates).flat_map(claims_of)
}

/// The claims that a template stands for.
pub(super) fn claims_of(template: &Template) -> impl Iterator<Item = &str> {
    template.parts().iter().filter_map(|part| match part {
        Part::Claim(pointer) => Some(pointer.as_str()),
        Part::Text(_) | Part::SessionName | Part::Variable(_) => None,
    })
}
