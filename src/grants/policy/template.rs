//! What is filled in for each caller?
//!
//! `${jwt:/pointer}` stands for a claim, `${session:name}` for the federated name. Both are replaced in the string
//! leaves of a policy that was parsed before, in one pass, by values of an alphabet in which nothing means anything to
//! IAM: a claim can change what a string says, and never what the policy is. IAM's own variables pass untouched, and what
//! another tool should have replaced is refused.

use serde_json::Value;

use super::variable;
use crate::identity::Caller;
use crate::read::json;
use crate::read::problems::{Problem, quoted};
use crate::read::rule::Rule;
use crate::session::FederatedName;

/// Bytes of a value that is filled in.
const MAX_VALUE_BYTES: usize = 256;

/// A string of a policy or tag, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::grants) enum Part {
    Text(String),
    /// `${jwt:/pointer}`
    Claim(String),
    /// `${session:name}`
    SessionName,
    /// A variable of IAM: what is between `${` and `}`.
    Variable(String),
}

/// Why a text is not a template. Quotes it: a grant holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `}` is missing.
    #[error("contains a `${{` that is not closed: {}", quoted(.0))]
    Open(String),
    /// What the inner one stands for would decide what the outer one is.
    #[error("contains a `${{…}}` inside another: {}", quoted(.0))]
    Nested(String),
    /// It looks like one of ours.
    #[error("contains an unknown form of a template, {}", quoted(.0))]
    Unknown(String),
    /// A tool should have replaced it on the way here.
    #[error("contains {}, which {tool} should have replaced", quoted(.text))]
    Foreign {
        /// What it holds.
        text: String,
        tool: &'static str,
        /// What to write.
        instead: &'static str,
    },
    /// IAM would not know it.
    #[error("contains {}, which is not a variable of IAM", quoted(.0))]
    NoVariable(String),
}

impl From<TemplateError> for Problem {
    fn from(error: TemplateError) -> Self {
        let (rule, help) = match &error {
            TemplateError::Open(_) | TemplateError::Nested(_) => (Rule::Template, None),
            TemplateError::Unknown(_) => (Rule::Template, Some("there are `${jwt:/pointer}` and `${session:name}`")),
            TemplateError::Foreign { instead, .. } => (Rule::Placeholder, Some(*instead)),
            TemplateError::NoVariable(_) => {
                (Rule::Placeholder, Some("write its value, or a variable as `${prefix:Key}`"))
            }
        };
        let problem = Self::new(rule, error);
        match help {
            Some(help) => problem.help(help),
            None => problem,
        }
    }
}

/// Why a template cannot be filled in for this caller. Holds nothing of the claim's value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// The token does not have it.
    #[error("the token has no claim `{0}`")]
    Missing(String),
    /// It is something else.
    #[error("the claim `{0}` is not a string")]
    NotText(String),
    /// It could mean something to IAM, or is too long.
    #[error("the claim `{0}` is not 1 to 256 of A-Z a-z 0-9 _ . @ + = , | -")]
    Unfit(String),
}

impl Template {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// [`TemplateError`] says what is wrong with a `${…}` in it, or with what looks like one.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if let Some((text, tool, instead)) = variable::mark(text) {
            return Err(TemplateError::Foreign { text: text.to_owned(), tool, instead });
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("${") {
            let Some((name, behind)) = behind.split_once('}') else {
                return Err(TemplateError::Open(format!("${{{behind}")));
            };
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::named(name)?);
            rest = behind;
        }
        if !rest.is_empty() || parts.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// Fills in what `caller` is.
    ///
    /// # Errors
    /// The first claim that cannot be filled in.
    pub fn fill(&self, caller: &Caller, name: &FederatedName) -> Result<String, ClaimError> {
        self.0.iter().map(|part| part.fill(caller, name)).collect()
    }

    pub(in crate::grants) fn parts(&self) -> &[Part] {
        &self.0
    }

    /// Whether there is nothing to fill in, neither here nor by IAM.
    pub(in crate::grants) fn is_plain(&self) -> bool {
        self.0.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// The text with each of our templates as [`FILLED`] and each of IAM's variables as [`VARIABLE`]: what can be
    /// known of it before there is a caller. Text that holds one of these two itself does not pass for it.
    pub(in crate::grants) fn outline(&self) -> String {
        let outline = |part: &Part| match part {
            Part::Text(text) => text.replace([FILLED, VARIABLE], "\u{fffd}"),
            Part::Claim(_) | Part::SessionName => FILLED.into(),
            Part::Variable(_) => VARIABLE.into(),
        };
        self.0.iter().map(outline).collect()
    }
}

/// See [`Template::outline`].
pub(in crate::grants) const FILLED: char = '\u{1}';
/// See [`Template::outline`].
pub(in crate::grants) const VARIABLE: char = '\u{2}';

impl Part {
    /// What looks like one of ours and is not is refused, in any case: passed on, IAM would take it for a variable that
    /// never matches, and a Deny would be lost.
    fn named(name: &str) -> Result<Self, TemplateError> {
        let text = format!("${{{name}}}");
        if name.contains("${") {
            return Err(TemplateError::Nested(text));
        }
        if name == "session:name" {
            return Ok(Self::SessionName);
        }
        if let Some(pointer) = name.strip_prefix("jwt:").filter(|pointer| json::is_pointer(pointer)) {
            return Ok(Self::Claim(pointer.to_owned()));
        }
        let folded = name.trim().to_ascii_lowercase();
        if folded.starts_with("jwt") || folded.starts_with("session") {
            return Err(TemplateError::Unknown(text));
        }
        if variable::is_of_iam(name) {
            return Ok(Self::Variable(name.to_owned()));
        }
        Err(match variable::tool(name) {
            Some((tool, instead)) => TemplateError::Foreign { text, tool, instead },
            None => TemplateError::NoVariable(text),
        })
    }

    fn fill(&self, caller: &Caller, name: &FederatedName) -> Result<String, ClaimError> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::Variable(name) => Ok(format!("${{{name}}}")),
            Self::SessionName => Ok(name.as_str().to_owned()),
            Self::Claim(pointer) => match caller.claim(pointer) {
                None => Err(ClaimError::Missing(pointer.clone())),
                Some(Value::String(value)) if is_harmless(value) => Ok(value.clone()),
                Some(Value::String(_)) => Err(ClaimError::Unfit(pointer.clone())),
                Some(_) => Err(ClaimError::NotText(pointer.clone())),
            },
        }
    }
}

/// No `*`, `?` or `$`, which are patterns and variables; no `:` and `/`, which are the structure of ARNs.
fn is_harmless(value: &str) -> bool {
    (1..=MAX_VALUE_BYTES).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.@+=,|-".contains(&byte))
}
