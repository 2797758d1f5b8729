//! What does a verified token say about its holder?

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::issuer::Issuer;
use super::{IssuerId, Refusal};

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
#[derive(Debug, Clone)]
pub struct Caller {
    issuer: IssuerId,
    subject: String,
    groups: BTreeSet<String>,
    token_id: Option<String>,
    token_expires_at: i64,
    session_ends_with_token: bool,
}

impl Caller {
    /// Reads the verified `claims`.
    pub(super) fn read(issuer: &Issuer, claims: &Map<String, Value>, expires_at: i64) -> Result<Self, Refusal> {
        let claims = Claims(claims);
        let subject = claims.at(issuer.subject_claim()).and_then(Value::as_str).filter(|text| is_name(text));
        Ok(Self {
            issuer: issuer.id().clone(),
            subject: subject.ok_or(Refusal::SubjectMalformed)?.to_owned(),
            groups: claims.groups(issuer)?,
            token_id: claims.0.get("jti").and_then(Value::as_str).map(str::to_owned),
            token_expires_at: expires_at,
            session_ends_with_token: issuer.session_ends_with_token(),
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

    /// The token's `jti`.
    #[must_use]
    pub fn token_id(&self) -> Option<&str> {
        self.token_id.as_deref()
    }

    /// When the session has to have ended, in seconds since the epoch, where the issuer is configured so.
    #[must_use]
    pub const fn session_ends_at(&self) -> Option<i64> {
        if self.session_ends_with_token { Some(self.token_expires_at) } else { None }
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

    fn groups(self, issuer: &Issuer) -> Result<BTreeSet<String>, Refusal> {
        let pointer = issuer.groups_claim();
        if pointer == "/groups" && self.groups_were_left_out() {
            return Err(Refusal::GroupsOverage);
        }
        let group = |value: &Value| {
            value.as_str().filter(|text| is_name(text)).map(str::to_owned).ok_or(Refusal::GroupsMalformed)
        };
        if self.is_off_the_way(pointer) {
            return Err(Refusal::GroupsMalformed);
        }
        let groups: BTreeSet<String> = match self.at(pointer) {
            None if issuer.groups_required() => return Err(Refusal::GroupsMissing),
            None => BTreeSet::new(),
            Some(Value::Array(values)) => values.iter().map(group).collect::<Result<_, _>>()?,
            Some(value) => BTreeSet::from([group(value)?]),
        };
        if groups.len() > MAX_GROUPS { Err(Refusal::GroupsTooMany) } else { Ok(groups) }
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

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}
