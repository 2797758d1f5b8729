//! How does the caller have to have signed in?
//!
//! A grant can ask for a stronger or fresher sign-in (step-up, RFC 9470) and for values of claims. Requirements of
//! several items are merged into the one that holds them all.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::policy::Template;
use crate::identity::Caller;
use crate::read::allowed_values::RequiredClaims;
use crate::read::fields::Fields;
use crate::read::json::escaped;
use crate::read::problems::{Problem, Problems, quoted};
use crate::read::rule::Rule;
use crate::time::{LEEWAY, since_epoch};

/// So that the challenge that lists them passes a gateway, whatever their lengths.
const MAX_WORDS: usize = 16;

/// What one item, or all that match, ask of a sign-in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Requirement {
    /// The authentication context is one of these. Never empty.
    acr: Option<BTreeSet<String>>,
    /// The authentication methods hold all of these.
    amr: BTreeSet<String>,
    /// Seconds since the sign-in.
    max_age: Option<u64>,
    claims: RequiredClaims,
}

/// What a sign-in has to be, in the terms of OpenID Connect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepUp {
    /// One of these authentication contexts.
    pub acr_values: Vec<String>,
    /// All of these authentication methods (RFC 8176).
    pub amr_values: Vec<String>,
    /// At most so many seconds ago.
    pub max_age: Option<u64>,
}

impl StepUp {
    /// Whether nothing is asked for.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.acr_values.is_empty() && self.amr_values.is_empty() && self.max_age.is_none()
    }
}

impl Requirement {
    /// Reads the attribute `require`.
    pub(super) fn read(value: &Value, at: &str, problems: &mut Problems) -> Self {
        for (name, value) in value.as_object().into_iter().flatten() {
            all_plain(value, &format!("{at}/{}", escaped(name)), problems);
        }
        let must = "must be a map of `acr`, `amr`, `max_age` and `claims`";
        let Some(mut fields) = Fields::of(value, at, must, problems) else { return Self::default() };
        let requirement = Self {
            acr: fields.optional("acr", words),
            amr: fields.optional("amr", words).unwrap_or_default(),
            max_age: fields.optional("max_age", |value| {
                value.as_u64().ok_or_else(|| Problem::wrong(Rule::Requirement, "must be whole seconds", value))
            }),
            claims: fields.nested("claims", RequiredClaims::read).unwrap_or_default(),
        };
        fields.finish(|_| false, |_| Problem::new(Rule::UnknownMember, "is not a requirement that this version knows"));
        requirement
    }

    /// What holds both.
    ///
    /// # Errors
    /// What nothing can satisfy.
    pub(super) fn and(mut self, other: Self) -> Result<Self, String> {
        self.acr = match (self.acr, other.acr) {
            (Some(one), Some(two)) => {
                let both: BTreeSet<String> = one.intersection(&two).cloned().collect();
                if both.is_empty() {
                    return Err("`require/acr`".into());
                }
                Some(both)
            }
            (one, two) => one.or(two),
        };
        self.amr.extend(other.amr);
        self.max_age = [self.max_age, other.max_age].into_iter().flatten().min();
        self.claims = self.claims.and(other.claims).map_err(|pointer| format!("`require/claims` of `{pointer}`"))?;
        Ok(self)
    }

    /// The first claim that has none of the required values.
    pub(super) fn refused_claim(&self, caller: &Caller) -> Option<&str> {
        self.claims.first_unmet(|pointer| caller.claim(pointer))
    }

    /// What is asked of a sign-in.
    pub(super) fn step_up(&self) -> StepUp {
        StepUp {
            acr_values: self.acr.iter().flatten().cloned().collect(),
            amr_values: self.amr.iter().cloned().collect(),
            max_age: self.max_age,
        }
    }

    /// What of it this sign-in is not.
    pub(super) fn unmet(&self, caller: &Caller, now: SystemTime) -> StepUp {
        let mut unmet = self.step_up();
        let acr = caller.claim("/acr").and_then(Value::as_str);
        if acr.is_some_and(|acr| unmet.acr_values.iter().any(|wanted| wanted == acr)) {
            unmet.acr_values.clear();
        }
        // RFC 8176 §2: a list of strings. Of anything else nothing is known.
        let amr = caller.claim("/amr").and_then(Value::as_array);
        let amr: Option<Vec<&str>> = amr.and_then(|methods| methods.iter().map(Value::as_str).collect());
        if amr.is_some_and(|amr| unmet.amr_values.iter().all(|wanted| amr.contains(&wanted.as_str()))) {
            unmet.amr_values.clear();
        }
        if unmet.max_age.is_some_and(|max_age| is_fresh(caller, max_age, now)) {
            unmet.max_age = None;
        }
        unmet
    }

    /// The pointers of the claims that must have certain values.
    #[cfg(feature = "files")]
    pub(super) fn claims(&self) -> impl Iterator<Item = &str> {
        self.claims.pointers()
    }

    /// Whether it asks for anything.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Nothing is filled in here. A placeholder would be a value that nobody has, and callers would be sent to sign in with
/// it again and again.
fn all_plain(value: &Value, at: &str, problems: &mut Problems) {
    match value {
        Value::String(text) => match Template::parse(text) {
            Ok(template) if template.is_plain() => {}
            Ok(_) => {
                let says = format_args!("contains a `${{…}}`, and templates do not work here: {}", quoted(text));
                problems.add(at, Problem::new(Rule::Template, says));
            }
            Err(error) => problems.add(at, error.into()),
        },
        Value::Array(values) => values.iter().for_each(|value| all_plain(value, at, problems)),
        Value::Object(members) => members.values().for_each(|value| all_plain(value, at, problems)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// OpenID Connect Core §2: `auth_time` is when the person authenticated. A token that does not say is not fresh, nor is
/// one that was made in the future.
fn is_fresh(caller: &Caller, max_age: u64, now: SystemTime) -> bool {
    let (now, leeway) = (since_epoch(now).as_secs_f64(), LEEWAY.as_secs_f64());
    let longest = Duration::from_secs(max_age).as_secs_f64() + leeway;
    let since = caller.claim("/auth_time").and_then(Value::as_f64).map(|time| now - time);
    since.is_some_and(|since| (-leeway..=longest).contains(&since))
}

/// What a challenge can carry in a quoted string, separated by spaces: visible ASCII without `"` and `\`.
fn words(value: &Value) -> Result<BTreeSet<String>, Problem> {
    let legal = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\';
    let word = |value: &Value| {
        value.as_str().filter(|word| (1..=255).contains(&word.len()) && word.chars().all(legal)).map(str::to_owned)
    };
    let words: Option<BTreeSet<String>> = value.as_array().and_then(|words| words.iter().map(word).collect());
    let must = "must be a list of 1 to 16 strings of visible ASCII without spaces, `\"` and `\\`";
    let words = words.filter(|words| (1..=MAX_WORDS).contains(&words.len()));
    words.ok_or_else(|| Problem::wrong(Rule::Requirement, must, value))
}
