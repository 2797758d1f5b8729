//! Of which session is a CloudTrail event?
//!
//! An event holds much that its caller chose. It is read as JSON that has one meaning, only the members that matter are
//! looked at, and all that say the same thing have to agree.

use hallpass::read::json;
use hallpass::session::FederatedName;
use hallpass::time::from_rfc3339_rounded;
use serde_json::{Map, Value};

use super::asked::{Asked, is_account};
use crate::operator::audit_log::is_access_key_id;

/// An event and what is around it: `lookup-events` answers an object with a list of an object with a text.
const MOST_WRAPPERS: usize = 5;
/// Characters of the name of an IAM user.
const MAX_USER_CHARS: usize = 64;

/// Why an event says nothing about a session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum EventError {
    /// It is not one.
    #[error("the input is not one CloudTrail event: {0}")]
    Malformed(&'static str),
    /// It is about somebody else.
    #[error("the event is of a caller of the type `{0}`, which is not a federated user, and not of GetFederationToken")]
    Other(String),
}

type Members = Map<String, Value>;

/// Reads an event: as a trail writes it, or in the wrappers of trails' files, EventBridge and `lookup-events`.
pub(super) fn read(text: &str) -> Result<Asked, EventError> {
    let value =
        json::parse(text.trim().as_bytes()).map_err(|_| EventError::Malformed("it is not JSON with one meaning"))?;
    let event = unwrapped(value)?;
    let identity = member(&event, "userIdentity")?.ok_or(EventError::Malformed("it has no `userIdentity`"))?;
    let mut asked = if text_of(identity, "type")? == Some("FederatedUser") {
        of_session(identity)?
    } else if is_minting(&event)? {
        of_minting(&event, identity)?
    } else {
        let kind: String = text_of(identity, "type")?.unwrap_or("none").chars().take(32).collect();
        let is_word = kind.chars().all(|c| c.is_ascii_alphanumeric());
        return Err(if is_word { EventError::Other(kind) } else { EventError::Malformed("`type` is not a word") });
    };
    asked.at = time(&event, "eventTime")?;
    Ok(asked)
}

/// The event without its wrappers.
fn unwrapped(mut value: Value) -> Result<Members, EventError> {
    for _ in 0..MOST_WRAPPERS {
        let inner = match value {
            Value::String(text) => {
                json::parse(text.as_bytes()).map_err(|_| EventError::Malformed("the text in it is not an event"))?
            }
            Value::Object(mut members) => {
                let wrapped = ["Records", "Events", "CloudTrailEvent", "detail"];
                let is_event = members.contains_key("userIdentity");
                match wrapped.iter().find_map(|name| members.remove(*name).filter(|_| !is_event)) {
                    Some(inner) => inner,
                    None => return Ok(members),
                }
            }
            Value::Array(mut events) => match (events.pop(), events.is_empty()) {
                (Some(event), true) => event,
                _ => return Err(EventError::Malformed("it must hold exactly one event")),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) => break,
        };
        value = inner;
    }
    Err(EventError::Malformed("it is not an object"))
}

/// Whether the event is of the call that makes sessions.
fn is_minting(event: &Members) -> Result<bool, EventError> {
    let of = (text_of(event, "eventSource")?, text_of(event, "eventName")?);
    Ok(of == (Some("sts.amazonaws.com"), Some("GetFederationToken")))
}

/// A session that did something.
fn of_session(identity: &Members) -> Result<Asked, EventError> {
    let arn = text_of(identity, "arn")?.ok_or(EventError::Malformed("`userIdentity` has no `arn`"))?;
    let mut asked = Asked::of_arn(arn).ok_or(EventError::Malformed("`arn` is not the ARN of a federated user"))?;
    if let Some(id) = text_of(identity, "principalId")? {
        let name = id.split_once(':').map(|(_, name)| name);
        agree(asked.name.as_ref().map(FederatedName::as_str), name, "`arn` and `principalId` do not agree")?;
    }
    if let Some(account) = text_of(identity, "accountId")? {
        agree(asked.account.as_deref(), Some(account), "`arn` and `accountId` do not agree")?;
    }
    asked.access_key_id = access_key_id(identity)?;
    if let Some(context) = member(identity, "sessionContext")? {
        if let Some(issuer) = member(context, "sessionIssuer")? {
            asked.user = user(issuer)?;
        }
        if let Some(attributes) = member(context, "attributes")? {
            asked.began = time(attributes, "creationDate")?;
        }
    }
    Ok(asked)
}

/// A session that was made.
fn of_minting(event: &Members, identity: &Members) -> Result<Asked, EventError> {
    let parameters = member(event, "requestParameters")?;
    let name = parameters.map(|parameters| text_of(parameters, "name")).transpose()?.flatten();
    let name = name.and_then(FederatedName::parse).ok_or(EventError::Malformed("`name` is not a federated name"))?;
    let mut asked = Asked { is_minted: true, ..Asked::of_name(name) };
    asked.user = user(identity)?;
    let account = text_of(identity, "accountId")?.filter(|account| is_account(account));
    asked.account = account.map(str::to_owned);
    let answer = member(event, "responseElements")?;
    if let Some(answer) = answer {
        if let Some(user) = member(answer, "federatedUser")? {
            let arn = text_of(user, "arn")?.and_then(Asked::of_arn);
            let arn = arn.ok_or(EventError::Malformed("`federatedUser` has no `arn` of a federated user"))?;
            if arn.name != asked.name
                || asked.account.as_ref().is_some_and(|account| arn.account.as_ref() != Some(account))
            {
                return Err(EventError::Malformed("request and answer do not agree"));
            }
            asked.account = arn.account;
        }
        if let Some(credentials) = member(answer, "credentials")? {
            asked.access_key_id = access_key_id(credentials)?;
        }
    }
    Ok(asked)
}

fn agree(one: Option<&str>, other: Option<&str>, what: &'static str) -> Result<(), EventError> {
    if one == other { Ok(()) } else { Err(EventError::Malformed(what)) }
}

/// The id of an access key. CloudTrail's examples have an empty one, too.
fn access_key_id(members: &Members) -> Result<Option<String>, EventError> {
    let id = text_of(members, "accessKeyId")?.filter(|id| !id.is_empty());
    let legal = id.is_none_or(is_access_key_id);
    if legal { Ok(id.map(str::to_owned)) } else { Err(EventError::Malformed("`accessKeyId` is not one")) }
}

/// The name of an IAM user; none for the root user, who has none.
fn user(members: &Members) -> Result<Option<String>, EventError> {
    let name = text_of(members, "userName")?;
    let is_legal = |name: &str| name.chars().count() <= MAX_USER_CHARS && !name.chars().any(char::is_control);
    if name.is_none_or(is_legal) {
        Ok(name.map(str::to_owned))
    } else {
        Err(EventError::Malformed("`userName` is not one"))
    }
}

fn time(members: &Members, name: &str) -> Result<Option<i64>, EventError> {
    let Some(text) = text_of(members, name)? else { return Ok(None) };
    from_rfc3339_rounded(text).map(Some).ok_or(EventError::Malformed("a time in it is not one of RFC 3339"))
}

/// A member that is an object, if it is there.
fn member<'a>(members: &'a Members, name: &str) -> Result<Option<&'a Members>, EventError> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(inner)) => Ok(Some(inner)),
        Some(_) => Err(EventError::Malformed("a member that must be an object is not one")),
    }
}

/// A member that is a text, if it is there.
fn text_of<'a>(members: &'a Members, name: &str) -> Result<Option<&'a str>, EventError> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(EventError::Malformed("a member that must be a text is not one")),
    }
}
