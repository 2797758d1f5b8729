//! What is known about one request?

#[cfg(feature = "aws")]
mod updates;

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::wire::Code;

/// Characters of a text from outside that a line keeps.
const MAX_TEXT_CHARS: usize = 256;

/// What is known about one request. Filled on its way; whatever is not known yet is left out.
#[derive(Debug, Default, Serialize)]
pub struct Record {
    /// The gateway's request id, else Lambda's: the one that the caller sees.
    pub request_id: String,
    pub lambda_request_id: String,
    /// Method and route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The caller's address, by the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_sha256: Option<String>,
    /// The token's `iss`, which nobody vouches for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unverified_issuer: Option<String>,
    /// The token's `sub`, which nobody vouches for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unverified_subject: Option<String>,
    /// The verified caller's issuer id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// The grant asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// The page of AWS's console that is to be opened, without its query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// The items that the session was made from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matched: Vec<MatchedItem>,
    /// SHA-256 of the session policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_sha256: Option<String>,
    /// The managed policies of the session.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policy_arns: Vec<String>,
    /// Seconds that the session was asked to last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<i32>,
    /// The session's name, as CloudTrail has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub federated_name: Option<String>,
    /// The access key id of the credentials, as CloudTrail has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sts_request_id: Option<String>,
    /// When the credentials expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration: Option<String>,
    /// What is measured rather than told.
    #[serde(skip)]
    pub measured: Measured,
}

/// A matched item in a line.
#[derive(Debug, Serialize)]
pub struct MatchedItem {
    /// Whom it is for.
    pub principal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// The figures of one request.
#[derive(Debug, Default)]
pub struct Measured {
    /// Whether credentials were asked for: what was not, was neither issued nor not issued.
    pub wants_credentials: bool,
    /// How long each stage took.
    pub stages: Vec<(&'static str, Duration)>,
    /// How long the broker key has been held.
    pub key_age: Option<Duration>,
    /// How long the issuer's keys have been held.
    pub jwks_age: Option<Duration>,
    /// STS's figure, in per cent.
    pub packed_policy_size: Option<i32>,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A browser was told what it may send.
    Preflight,
    Healthy,
    /// What the function says of itself.
    Described,
    Issued,
    /// A sign-in to AWS's console.
    SignedIn,
    /// What the caller could ask for.
    Listed,
    /// A file of the portal.
    Served,
    /// The browser holds the file of the portal already.
    Unchanged,
    /// The portal is at the same path with a final slash.
    Redirected,
    Refused {
        /// What the client reads.
        code: Code,
        /// Which rule refused, or what failed.
        reason: &'static str,
        /// The same in words.
        detail: String,
    },
}

impl Outcome {
    /// The code of a refusal.
    #[must_use]
    pub const fn refused_code(&self) -> Option<Code> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Preflight
            | Self::Healthy
            | Self::Described
            | Self::Issued
            | Self::SignedIn
            | Self::Listed
            | Self::Served
            | Self::Unchanged
            | Self::Redirected => None,
        }
    }

    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Preflight => 204,
            Self::Healthy | Self::Described | Self::Issued | Self::SignedIn | Self::Listed | Self::Served => 200,
            Self::Unchanged => 304,
            Self::Redirected => 308,
            Self::Refused { code, .. } => code.status(),
        }
    }
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            status: u16,
            code: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            detail: Option<&'a str>,
        }
        let status = self.status();
        let fields = match self {
            Self::Preflight => Fields { status, code: "preflight", reason: None, detail: None },
            Self::Healthy => Fields { status, code: "healthy", reason: None, detail: None },
            Self::Described => Fields { status, code: "described", reason: None, detail: None },
            Self::Issued => Fields { status, code: "issued", reason: None, detail: None },
            Self::SignedIn => Fields { status, code: "console", reason: None, detail: None },
            Self::Listed => Fields { status, code: "listed", reason: None, detail: None },
            Self::Served => Fields { status, code: "served", reason: None, detail: None },
            Self::Unchanged => Fields { status, code: "unchanged", reason: None, detail: None },
            Self::Redirected => Fields { status, code: "redirected", reason: None, detail: None },
            Self::Refused { code, reason, detail } => {
                Fields { status, code: code.as_str(), reason: Some(reason), detail: Some(detail) }
            }
        };
        fields.serialize(serializer)
    }
}

/// A text from outside, short enough for a line, and without what looks like a token: people paste theirs into paths.
#[must_use]
pub fn capped(text: &str) -> String {
    // `{"` in base64url is `eyJ`, with which every JWS begins.
    let of_token = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let mut rest = text;
    let mut shown = String::new();
    while let Some((before, token)) = rest.split_once("eyJ") {
        let behind = token.trim_start_matches(of_token);
        shown.push_str(before);
        shown.push_str("[token]");
        rest = behind;
    }
    shown.push_str(rest);
    shown.chars().take(MAX_TEXT_CHARS).collect()
}
