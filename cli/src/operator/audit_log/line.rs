//! What does one line of the audit log say about a session?
//!
//! The function writes these lines, but so can anyone with write access to the log group. Nothing is taken from a line
//! that is not what the function writes.

use std::net::IpAddr;

use hallpass::grants::{GrantName, Principal, PrincipalKind};
use hallpass::session::FederatedName;
use hallpass::time::from_rfc3339_rounded;
use serde::Deserialize;

/// Bytes of a line. A caller's 202 principals, of 300 bytes each and escaped, have room; Lambda cuts lines at 256 KiB.
const MAX_LINE_BYTES: usize = 256 * 1024;
/// Bytes of an id that AWS chose.
const MAX_ID_BYTES: usize = 128;

/// One line about a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) written: Written,
    /// As it stands in the line.
    pub(super) at: String,
    /// The same in seconds since the epoch.
    pub(super) seconds: i64,
    pub(super) request_id: String,
    /// The user.
    pub(super) caller: Principal,
    pub(super) name: FederatedName,
    pub(super) grant: Option<String>,
    /// Whom the items are for that the session was made from.
    pub(super) matched: Vec<Principal>,
    pub(super) policy_sha256: Option<String>,
    pub(super) source_ip: Option<String>,
    pub(super) access_key_id: Option<String>,
    pub(super) expiration: Option<String>,
    /// The same in seconds since the epoch.
    pub(super) expires: Option<i64>,
}

/// When a line was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// Just before STS was asked.
    Issuing,
    /// After STS gave credentials.
    Issued,
    /// After there was no session.
    Refused,
}

/// What a text turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    Line(Box<Line>),
    /// Something else that is in a log group: metrics, Lambda's own lines, requests that came to no session.
    Other,
    /// It calls itself an audit line, and is not one.
    Malformed,
}

/// The members of a line that matter here. One that is there twice has no meaning.
#[derive(Deserialize)]
struct Members {
    event: String,
    time: String,
    request_id: String,
    issuer: Option<String>,
    subject: Option<String>,
    grant: Option<String>,
    #[serde(default)]
    matched: Vec<Matched>,
    policy_sha256: Option<String>,
    source_ip: Option<String>,
    federated_name: Option<String>,
    access_key_id: Option<String>,
    expiration: Option<String>,
    code: Option<String>,
}

#[derive(Deserialize)]
struct Matched {
    principal: String,
}

#[derive(Deserialize)]
struct Kind {
    event: String,
}

impl Line {
    pub(super) fn read(text: &str) -> Read {
        if text.len() > MAX_LINE_BYTES {
            return Read::Malformed;
        }
        let Ok(members) = serde_json::from_str::<Members>(text) else {
            let kind = serde_json::from_str::<Kind>(text);
            return if kind.is_ok_and(|kind| is_audit(&kind.event)) { Read::Malformed } else { Read::Other };
        };
        if !is_audit(&members.event) || members.federated_name.is_none() {
            return Read::Other;
        }
        members.line().map_or(Read::Malformed, |line| Read::Line(Box::new(line)))
    }

    /// Whether the name is one that is made from issuer and subject, and not from these.
    pub(super) fn is_refuted(&self) -> bool {
        self.name.has_hashed_shape() && !is_of(&self.name, &self.caller)
    }
}

/// Whether a name is the one that is made from a user's issuer and subject.
pub(super) fn is_of(name: &FederatedName, user: &Principal) -> bool {
    match user.kind() {
        PrincipalKind::User(subject) => *name == FederatedName::of_subject(user.issuer(), subject),
        PrincipalKind::Group(_) | PrincipalKind::Everyone => false,
    }
}

fn is_audit(event: &str) -> bool {
    ["issuing", "console", "outcome"].contains(&event)
}

impl Members {
    /// The line, if each member is what the function writes.
    fn line(self) -> Option<Line> {
        let written = match (self.event.as_str(), self.code.as_deref()) {
            ("issuing", None) => Written::Issuing,
            ("console", None) | ("outcome", Some("issued" | "console")) => Written::Issued,
            // The session is there, and only the sign-in host failed.
            ("outcome", Some(_)) if self.access_key_id.is_some() => Written::Issued,
            ("outcome", Some(_)) => Written::Refused,
            _ => return None,
        };
        let (issuer, subject) = (self.issuer?, self.subject?);
        let matched: Option<Vec<_>> = self.matched.iter().map(|item| Principal::parse(&item.principal)).collect();
        let expires = self.expiration.as_deref().map(from_rfc3339_rounded);
        let line = Line {
            written,
            seconds: from_rfc3339_rounded(&self.time)?,
            at: self.time,
            request_id: self.request_id,
            caller: Principal::parse(&format!("{issuer}/user/{subject}"))?,
            name: FederatedName::parse(self.federated_name.as_deref()?)?,
            grant: self.grant,
            matched: matched?,
            policy_sha256: self.policy_sha256,
            source_ip: self.source_ip,
            access_key_id: self.access_key_id,
            expiration: self.expiration,
            expires: expires.flatten(),
        };
        let fits = |value: &Option<String>, fits: &dyn Fn(&str) -> bool| value.as_deref().is_none_or(fits);
        let is_legal = is_id(&line.request_id)
            && fits(&line.grant, &|grant| GrantName::new(grant).is_some())
            && fits(&line.policy_sha256, &|digest| digest.len() == 64 && digest.bytes().all(is_hexadecimal))
            && fits(&line.source_ip, &|address| address.parse::<IpAddr>().is_ok())
            && fits(&line.access_key_id, &is_access_key_id)
            && expires.is_none_or(|expires| expires.is_some())
            && (written != Written::Issued || (line.access_key_id.is_some() && expires.is_some()));
        is_legal.then_some(line)
    }
}

/// Whether it can be the id of an access key: 16 to 128 of A-Z, a-z, 0-9 and _, by IAM's reference.
pub(crate) fn is_access_key_id(text: &str) -> bool {
    (16..=MAX_ID_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_id(text: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_hexadecimal(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}
