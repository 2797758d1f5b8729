//! Whom do we trust, and on which terms?

use std::fmt;
use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::Algorithm;
use super::client::Client;
use crate::net::url::is_private;
use crate::read::allowed_values::RequiredClaims;
use crate::wire;

/// The operator's short name of an issuer: `[a-z0-9-]{1,32}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IssuerId(String);

impl IssuerId {
    /// Takes a legal id.
    #[must_use]
    pub fn new(id: &str) -> Option<Self> {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ((1..=32).contains(&id.len()) && id.bytes().all(legal)).then(|| Self(id.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IssuerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where an issuer's keys are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeySource {
    /// In the document at this address (OpenID Connect Discovery 1.0 §4), which names the key set.
    Discovery(Url),
    /// At this address.
    KeySet(Url),
}

/// One trusted identity provider.
// INVARIANT: made only by `issuer_config`, from a configuration without problems.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a member of the configuration, by its name")]
pub struct Issuer {
    pub(super) id: IssuerId,
    pub(super) url: String,
    pub(super) audiences: Vec<String>,
    pub(super) source: KeySource,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) token_type: Option<String>,
    pub(super) audience_claim: String,
    pub(super) authorized_parties: Option<Vec<String>>,
    pub(super) party_claim: Option<String>,
    pub(super) required_claims: RequiredClaims,
    pub(super) subject_claim: String,
    pub(super) groups_claim: String,
    pub(super) groups_separator: Option<char>,
    pub(super) groups_required: bool,
    pub(super) name_rule: Option<NameRule>,
    pub(super) max_token_lifetime: Duration,
    pub(super) session_ends_with_token: bool,
    pub(super) single_use: bool,
    pub(super) insecure_http: bool,
    pub(super) cli: Option<Client>,
    pub(super) browser: Option<Client>,
}

/// How federated names are taken from a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameRule {
    /// The claim that holds the name, as a JSON pointer.
    pub claim: String,
    /// Who may own a name.
    pub owners: NameOwners,
}

/// Who may own a federated name that a claim holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameOwners {
    /// Whom an operator has registered.
    Registered,
    /// Whoever uses it first.
    FirstUse,
}

impl Issuer {
    /// An issuer as its client sees it, who reads ID tokens for `client_id`: every algorithm of ours, no groups, and a
    /// lifetime of up to a year. Whom to trust, the person has chosen, so that no claim has to name a tenant.
    #[must_use]
    pub fn of_sign_in(id: IssuerId, url: &str, client_id: &str) -> Option<Self> {
        let stem = url.strip_suffix('/').unwrap_or(url);
        let bare = |url: &Url| url.query().is_none() && url.fragment().is_none();
        Url::parse(url).ok().filter(|url| may_fetch(url, false) && bare(url))?;
        let discovery = Url::parse(&format!("{stem}/.well-known/openid-configuration")).ok()?;
        Some(Self {
            id,
            url: url.to_owned(),
            audiences: vec![client_id.to_owned()],
            source: KeySource::Discovery(discovery),
            algorithms: Algorithm::ALL.into(),
            token_type: None,
            audience_claim: "/aud".into(),
            authorized_parties: None,
            party_claim: None,
            required_claims: RequiredClaims::default(),
            subject_claim: "/sub".into(),
            // No pointer, so that no claim is at it: the groups are the function's business.
            groups_claim: String::new(),
            groups_separator: None,
            groups_required: false,
            name_rule: None,
            max_token_lifetime: Duration::from_hours(365 * 24),
            session_ends_with_token: false,
            single_use: false,
            insecure_http: false,
            cli: None,
            browser: None,
        })
    }

    /// Where its discovery document is, unless its keys are somewhere else.
    #[must_use]
    pub const fn discovery(&self) -> Option<&Url> {
        match &self.source {
            KeySource::Discovery(url) => Some(url),
            KeySource::KeySet(_) => None,
        }
    }

    /// Where its discovery document is, also if its keys are somewhere else; `None` if its name is not a URL that may be
    /// fetched, which is legal then.
    pub(super) fn own_discovery(&self) -> Option<Url> {
        if let KeySource::Discovery(url) = &self.source {
            return Some(url.clone());
        }
        let url = Url::parse(&self.url).ok().filter(|url| url.query().is_none() && url.fragment().is_none())?;
        let stem = self.url.strip_suffix('/').unwrap_or(&self.url);
        let discovery = Url::parse(&format!("{stem}/.well-known/openid-configuration")).ok()?;
        may_fetch(&url, self.insecure_http).then_some(discovery)
    }

    /// Where its keys are, if the operator said so.
    #[must_use]
    pub const fn key_set(&self) -> Option<&Url> {
        match &self.source {
            KeySource::Discovery(_) => None,
            KeySource::KeySet(url) => Some(url),
        }
    }

    /// The operator's short name.
    #[must_use]
    pub const fn id(&self) -> &IssuerId {
        &self.id
    }

    /// The exact `iss` of its tokens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The client with which the command line signs people in.
    #[must_use]
    pub fn cli(&self) -> Option<wire::Client> {
        self.cli.as_ref().map(|client| self.described(client))
    }

    /// The client with which web pages sign people in.
    #[must_use]
    pub fn browser(&self) -> Option<wire::Client> {
        self.browser.as_ref().map(|client| self.described(client))
    }

    /// Whether it has such a client.
    pub(super) const fn signs_in_browsers(&self) -> bool {
        self.browser.is_some()
    }

    fn described(&self, client: &Client) -> wire::Client {
        let Client { id: client_id, scope, token, parameters, redirect_uri } = client.clone();
        wire::Client {
            issuer_id: self.id.as_str().to_owned(),
            issuer: self.url.clone(),
            client_id,
            scope,
            token,
            parameters,
            redirect_uri,
        }
    }

    /// For whom its tokens may be: one of these.
    #[must_use]
    pub fn audiences(&self) -> &[String] {
        &self.audiences
    }

    pub(super) const fn source(&self) -> &KeySource {
        &self.source
    }

    pub(super) fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// Whether the configured `typ` says what a token is for, as `at+jwt` does and `JWT` does not.
    pub(super) fn type_tells_kind(&self) -> bool {
        self.token_type.as_ref().is_some_and(|typ| typ != "jwt")
    }

    /// Whether a header's `typ` is acceptable: the configured one, else none, `JWT` or `at+jwt`. A media type is
    /// compared without its case and without `application/` (RFC 7515 §4.1.9).
    pub(super) fn accepts_type(&self, typ: Option<&Value>) -> bool {
        let Some(typ) = typ else { return self.token_type.is_none() };
        let Some(typ) = typ.as_str().map(media_type) else { return false };
        match &self.token_type {
            Some(configured) => typ == *configured,
            None => typ == "jwt" || typ == "at+jwt",
        }
    }

    /// Where its tokens say for whom they are: a JSON Pointer into the claims.
    #[must_use]
    pub fn audience_claim(&self) -> &str {
        &self.audience_claim
    }

    pub(super) fn authorized_parties(&self) -> Option<&[String]> {
        self.authorized_parties.as_deref()
    }

    pub(super) fn party_claim(&self) -> Option<&str> {
        self.party_claim.as_deref()
    }

    pub(super) const fn required_claims(&self) -> &RequiredClaims {
        &self.required_claims
    }

    pub(crate) fn subject_claim(&self) -> &str {
        &self.subject_claim
    }

    pub(crate) fn groups_claim(&self) -> &str {
        &self.groups_claim
    }

    /// What separates the groups in a claim that is one string. Without it such a string is one group.
    pub(super) const fn groups_separator(&self) -> Option<char> {
        self.groups_separator
    }

    pub(crate) const fn groups_required(&self) -> bool {
        self.groups_required
    }

    pub(super) const fn max_token_lifetime(&self) -> Duration {
        self.max_token_lifetime
    }

    #[must_use]
    pub const fn name_rule(&self) -> Option<&NameRule> {
        self.name_rule.as_ref()
    }

    pub(super) const fn session_ends_with_token(&self) -> bool {
        self.session_ends_with_token
    }

    pub(super) const fn single_use(&self) -> bool {
        self.single_use
    }

    /// Whether the provider's own document may send us to `url`. Plain http is the operator's choice alone: a provider
    /// that could choose it would reach what listens on loopback beside the function, Lambda's Runtime API first.
    pub(super) fn may_be_led_to(&self, url: &Url) -> bool {
        let begun_plain = matches!(&self.source, KeySource::Discovery(from) if from.scheme() == "http");
        may_fetch(url, self.insecure_http) && (url.scheme() == "https" || self.insecure_http || begun_plain)
    }
}

/// A media type for comparison (RFC 7515 §4.1.9).
pub(super) fn media_type(text: &str) -> String {
    let text = text.to_ascii_lowercase();
    text.strip_prefix("application/").map_or_else(|| text.clone(), str::to_owned)
}

/// Whether keys may be fetched from `url`. User info in it would be sent, and logged, in places where no secret belongs.
pub(super) fn may_fetch(url: &Url, insecure_http: bool) -> bool {
    let anonymous = url.username().is_empty() && url.password().is_none();
    anonymous && (is_private(url) || (insecure_http && url.scheme() == "http"))
}
