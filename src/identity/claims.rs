//! What does a verified token say about its holder?

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

use super::issuer::{Issuer, NameRule};
use super::token::Expiry;
use super::{IssuerId, TokenError};

/// Entra ID's own limit for groups in a token, and about what fits into the gateway's 10,240 bytes of headers.
pub const MAX_GROUPS: usize = 200;
/// Bytes of a subject or group: OIDC Core §2 bounds `sub` to 255 ASCII characters.
const MAX_NAME_BYTES: usize = 255;

/// Somebody whom a configured issuer vouches for.
///
/// Anybody can read one:
///
/// ```
/// fn greet(caller: &hallpass::identity::Caller) -> String {
///     format!("hello {}", caller.subject())
/// }
/// ```
///
/// Nobody but [`verify`](super::verify) can make one:
///
/// ```compile_fail
/// fn forge(caller: hallpass::identity::Caller) -> hallpass::identity::Caller {
///     hallpass::identity::Caller { subject: "root".to_owned(), ..caller }
/// }
/// ```
// INVARIANT: made only by `identity::verify`, from a token that passed every rule.
#[derive(Clone)]
pub struct Caller {
    issuer: IssuerId,
    subject: String,
    groups: BTreeSet<String>,
    claims: Map<String, Value>,
    expiry: Expiry,
    session_ends_with_token: bool,
    name_rule: Option<NameRule>,
    single_use: bool,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What else the provider says of a person is nobody's business in a log.
        write!(f, "Caller({}/user/{})", self.issuer, self.subject)
    }
}

/// A token that serves only once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SingleUse {
    pub token_id: String,
    /// In seconds since the epoch: from here on it is not accepted for its age.
    pub dead_from: i64,
}

impl Caller {
    /// Reads the verified `claims`.
    pub(super) fn read(issuer: &Issuer, claims: Map<String, Value>, expiry: Expiry) -> Result<Self, TokenError> {
        let read = Claims(&claims);
        let subject = read.at(issuer.subject_claim()).and_then(Value::as_str).filter(|text| is_name(text));
        Ok(Self {
            issuer: issuer.id().clone(),
            subject: subject.ok_or(TokenError::SubjectMalformed)?.to_owned(),
            groups: read.groups(issuer)?,
            expiry,
            session_ends_with_token: issuer.session_ends_with_token(),
            name_rule: issuer.name_rule().cloned(),
            single_use: issuer.single_use(),
            claims,
        })
    }

    /// Who vouches for the caller.
    #[must_use]
    pub const fn issuer(&self) -> &IssuerId {
        &self.issuer
    }

    /// The name that the issuer gives the caller: 1 to 255 bytes, no control characters, compared byte for byte.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The caller's groups, at most [`MAX_GROUPS`], each as the subject.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(String::as_str)
    }

    /// The verified claim at a JSON pointer (RFC 6901) that begins with `/`.
    #[must_use]
    pub fn claim(&self, pointer: &str) -> Option<&Value> {
        Claims(&self.claims).at(pointer)
    }

    #[must_use]
    pub fn token_id(&self) -> Option<&str> {
        self.claims.get("jti").and_then(Value::as_str)
    }

    /// When the session has to have ended, in seconds since the epoch, where the issuer is configured so.
    #[must_use]
    pub const fn session_ends_at(&self) -> Option<i64> {
        if self.session_ends_with_token { Some(self.expiry.ends_at) } else { None }
    }

    /// How the federated name is taken from a claim, where the issuer is configured so.
    #[must_use]
    pub const fn name_rule(&self) -> Option<&NameRule> {
        self.name_rule.as_ref()
    }

    /// The token, where it serves only once.
    #[must_use]
    pub fn single_use(&self) -> Option<SingleUse> {
        let token_id = self.token_id().filter(|_| self.single_use)?.to_owned();
        Some(SingleUse { token_id, dead_from: self.expiry.dead_from })
    }
}

/// A token's claims by JSON pointer, so that nested and namespaced ones can be named.
#[derive(Clone, Copy)]
pub(super) struct Claims<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Claims<'a> {
    /// The value at a pointer that is known to begin with `/`.
    pub(super) fn at(self, pointer: &str) -> Option<&'a Value> {
        let (first, rest) = match pointer.get(1..)?.split_once('/') {
            Some((first, rest)) => (first, Some(rest)),
            None => (pointer.get(1..)?, None),
        };
        let member = self.0.get(&first.replace("~1", "/").replace("~0", "~"))?;
        match rest {
            None => Some(member),
            Some(rest) => member.pointer(&format!("/{rest}")),
        }
    }

    fn groups(self, issuer: &Issuer) -> Result<BTreeSet<String>, TokenError> {
        let pointer = issuer.groups_claim();
        if (pointer == "/groups" && self.groups_were_left_out()) || self.is_elsewhere(pointer) {
            return Err(TokenError::GroupsOverage);
        }
        if self.is_off_the_way(pointer) {
            return Err(TokenError::GroupsMalformed);
        }
        let groups: BTreeSet<String> = match self.at(pointer) {
            None if issuer.groups_required() => return Err(TokenError::GroupsMissing),
            None => BTreeSet::new(),
            Some(Value::Array(values)) => values
                .iter()
                .map(|name| name.as_str().map_or(Err(TokenError::GroupsMalformed), group))
                .collect::<Result<_, _>>()?,
            Some(Value::String(text)) => groups_of_text(text, issuer.groups_separator())?,
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
                return Err(TokenError::GroupsMalformed);
            }
        };
        if groups.len() > MAX_GROUPS { Err(TokenError::GroupsTooMany) } else { Ok(groups) }
    }

    /// Whether something on the way to `pointer` is there and has no place for what comes next: then what it leads to
    /// is not absent, but cannot be known.
    fn is_off_the_way(self, pointer: &str) -> bool {
        let steps = pointer.match_indices('/').map(|(at, _)| at).skip(1);
        steps.filter_map(|at| Some((self.at(pointer.get(..at)?)?, pointer.get(at..)?))).any(|(parent, rest)| {
            let next = rest.split('/').nth(1).unwrap_or_default();
            let is_index = !next.is_empty() && next.bytes().all(|byte| byte.is_ascii_digit());
            !(parent.is_object() || (parent.is_array() && is_index))
        })
    }

    /// Whether the token says that the claim is to be fetched from another server (OpenID Connect Core §5.6.2), as Entra
    /// ID does with too many groups, whatever the operator calls the claim: then it is not absent.
    fn is_elsewhere(self, pointer: &str) -> bool {
        let first = pointer.split('/').nth(1).unwrap_or_default().replace("~1", "/").replace("~0", "~");
        self.0.get("_claim_names").and_then(Value::as_object).is_some_and(|names| names.contains_key(&first))
    }

    /// Entra ID's overage markers. Reading them as "no groups" would shed whatever a group item denies (Vault did).
    /// <https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference#groups-overage-claim>
    fn groups_were_left_out(self) -> bool {
        let named = match self.0.get("_claim_names") {
            None => false,
            Some(Value::Object(names)) => names.contains_key("groups"),
            Some(_) => true,
        };
        named || self.0.get("hasgroups").is_some_and(|value| *value != Value::Bool(false))
    }
}

/// The groups in a claim that is one string. AD FS sends the only group of a person as such a string: `Domain Users`, or
/// a distinguished name with commas. Others send all groups in one string.
fn groups_of_text(text: &str, separator: Option<char>) -> Result<BTreeSet<String>, TokenError> {
    // Cognito's SAML mapping sends two groups as `[contractors, devs]`. One group of that name would satisfy
    // `groups_required`, and a Deny for contractors would not be found.
    let holds_list = |text: &str| text.trim_start().starts_with(['[', '{']);
    if holds_list(text) || separator.is_some_and(|separator| text.split(separator).any(holds_list)) {
        return Err(TokenError::GroupsInText);
    }
    let Some(separator) = separator else { return Ok(BTreeSet::from([group(text)?])) };
    // Checked before trimming, which would remove a line end: a text with one is not such a list.
    if text.contains(char::is_control) {
        return Err(TokenError::GroupsMalformed);
    }
    // An empty name is refused, as in a list: it may stand for one that was lost.
    text.split(separator).map(|name| group(name.trim())).collect()
}

fn group(name: &str) -> Result<String, TokenError> {
    if is_name(name) { Ok(name.to_owned()) } else { Err(TokenError::GroupsMalformed) }
}

/// Whether it can be a subject or a group.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}
