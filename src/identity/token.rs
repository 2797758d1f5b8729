//! May this token be believed?
//!
//! [`UnverifiedToken::check_header`] and [`verify`] read as the list of rules. jsonwebtoken does only the cryptography. It
//! accepts `crit`, any `typ`, an `iss` that is a list, a missing `aud`, an `exp` of 1e18 and an `iat` in the future, and
//! reads the clock itself.

use std::time::SystemTime;

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

use super::claims::Claims;
use super::issuer::Issuer;
use super::{Algorithm, Caller, KeySet, TokenError};
use crate::read::json;
use crate::time::{LEEWAY, since_epoch};

/// API Gateway passes 10,240 bytes of request line and headers; nothing longer is a token that reached us there.
const MAX_TOKEN_BYTES: usize = 10_000;

/// A token as a stranger sent it. It answers nothing that would need to be believed.
#[derive(Clone)]
pub struct UnverifiedToken {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    signing_input: String,
    signature: String,
}

impl std::fmt::Debug for UnverifiedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UnverifiedToken")
    }
}

impl UnverifiedToken {
    /// Takes a JWS in compact serialization (RFC 7515 §3.1) apart.
    ///
    /// # Errors
    /// The [`TokenError`] of a text that is no such token.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let parts: Vec<&str> = text.split('.').collect();
        let [header, claims, signature] = parts.as_slice() else { return Err(TokenError::NotCompactJws) };
        let decode = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| TokenError::NotBase64Url);
        let (header_json, claims_json) = (decode(header)?, decode(claims)?);
        decode(signature)?;
        Ok(Self {
            header: json::parse_object(&header_json).map_err(|_| TokenError::HeaderMalformed)?,
            claims: json::parse_object(&claims_json).map_err(|_| TokenError::ClaimsMalformed)?,
            signing_input: format!("{header}.{claims}"),
            signature: (*signature).to_owned(),
        })
    }

    /// Who the token says issued it: one string (RFC 7519 §4.1.1). Good for picking the issuer and for nothing else.
    pub(super) fn issuer(&self) -> Result<&str, TokenError> {
        self.claims.get("iss").and_then(Value::as_str).ok_or(TokenError::IssuerMissing)
    }

    /// Issuer and subject as the token has them, for an audit line that names them as unverified.
    #[must_use]
    pub fn unverified_names(&self) -> (Option<&str>, Option<&str>) {
        let text = |name| self.claims.get(name).and_then(Value::as_str);
        (text("iss"), text("sub"))
    }

    /// The rules for a header. They come before the keys are looked at, so that no token that could never be
    /// accepted makes us fetch any. `jku`, `x5u`, `x5c` and `jwk` are never read: the keys are the issuer's own.
    ///
    /// # Errors
    /// The first [`TokenError`] in the order of the rules below.
    pub fn check_header(self, issuer: &Issuer) -> Result<CheckedHeader<'_>, TokenError> {
        // RFC 8725 §3.8, OIDC Core §3.1.3.7 (2): the issuer is exactly the one whose keys will be looked at.
        if self.issuer()? != issuer.url() {
            return Err(TokenError::IssuerUnknown);
        }
        // RFC 8725 §3.1, §3.2: the verifier chooses the algorithms, and none of ours is `none` or symmetric.
        let name = self.header.get("alg").and_then(Value::as_str).ok_or(TokenError::AlgorithmUnsupported)?;
        let algorithm = Algorithm::named(name).ok_or(TokenError::AlgorithmUnsupported)?;
        if !issuer.algorithms().contains(&algorithm) {
            return Err(TokenError::AlgorithmNotAllowed);
        }
        // RFC 7515 §4.1.11: an extension that is not understood is a refusal, and none is understood here. RFC 7797's
        // `b64` would change what is signed; it must be in `crit`, and is refused also by one who forgot that.
        if self.header.contains_key("crit") || self.header.contains_key("b64") {
            return Err(TokenError::CriticalHeader);
        }
        // RFC 8725 §3.11: tokens of one kind must not serve as another.
        if !issuer.accepts_type(self.header.get("typ")) {
            return Err(TokenError::TypeNotAccepted);
        }
        // RFC 7515 §4.1.4. A number or `null` is neither a key id nor its absence.
        if self.header.get("kid").is_some_and(|kid| !kid.is_string()) {
            return Err(TokenError::KeyIdMalformed);
        }
        Ok(CheckedHeader { token: self, issuer, algorithm })
    }
}

/// A token with a header that its issuer's tokens may have. Nothing in it is believed yet.
// INVARIANT: made only by `UnverifiedToken::check_header`, with the issuer that the token names.
#[derive(Debug)]
pub struct CheckedHeader<'i> {
    token: UnverifiedToken,
    issuer: &'i Issuer,
    algorithm: Algorithm,
}

impl CheckedHeader<'_> {
    /// The header's `kid`, if it has one.
    pub(super) fn key_id(&self) -> Option<&str> {
        self.token.header.get("kid").and_then(Value::as_str)
    }

    /// The header's `alg`.
    pub(super) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

/// Makes a token a [`Caller`] with its issuer's keys, or says which rule it broke.
///
/// # Errors
/// The first [`TokenError`] in the order of the rules below.
pub fn verify(checked: CheckedHeader<'_>, keys: &KeySet, now: SystemTime) -> Result<Caller, TokenError> {
    let key = keys.select(checked.key_id(), checked.algorithm)?;
    let CheckedHeader { token, issuer, .. } = checked;
    key.verify(&token.signing_input, &token.signature)?;

    // From here on the claims are the issuer's word.
    let claims = Claims(&token.claims);
    check_kind(claims, issuer)?;
    check_audience(claims, issuer)?;
    let expiry = check_times(claims, issuer, now)?;
    check_required(claims, issuer)?;
    // RFC 7519 §4.1.7: without an id there is nothing to remember a token by.
    let has_id = claims.0.get("jti").and_then(Value::as_str).is_some_and(|id| !id.is_empty());
    if issuer.single_use() && !has_id {
        return Err(TokenError::TokenIdMissing);
    }
    Caller::read(issuer, token.claims, expiry)
}

/// When a verified token ends, in whole seconds since the epoch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expiry {
    /// The last second that is wholly before its `exp`.
    pub(super) ends_at: i64,
    /// From here on nobody accepts it any more: its `exp` and the leeway.
    pub(super) dead_from: i64,
}

/// What other tokens of the same issuer are not sign-ins?
fn check_kind(claims: Claims<'_>, issuer: &Issuer) -> Result<(), TokenError> {
    // OIDC Back-Channel Logout §2.4: `events` tells a logout token from an ID token, unless the header's `typ` has told
    // them apart already. `JWT` tells nothing.
    if !issuer.type_tells_kind() && claims.0.contains_key("events") {
        return Err(TokenError::LogoutToken);
    }
    // RFC 7800, RFC 9449 §7.1: a token bound to a key is worth nothing without proof of that key.
    if claims.0.contains_key("cnf") {
        return Err(TokenError::SenderConstrained);
    }
    Ok(())
}

/// Is the token meant for us, and did it come by way of whom we trust?
fn check_audience(claims: Claims<'_>, issuer: &Issuer) -> Result<(), TokenError> {
    // RFC 7519 §4.1.3, RFC 8725 §3.9: one string, or a list of strings of which one is ours.
    let audiences: Vec<&str> = match claims.at(issuer.audience_claim()) {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => {
            several.iter().map(|value| value.as_str().ok_or(TokenError::AudienceMalformed)).collect::<Result<_, _>>()?
        }
        _ => return Err(TokenError::AudienceMalformed),
    };
    if !audiences.iter().any(|audience| issuer.audiences().iter().any(|ours| ours == audience)) {
        return Err(TokenError::AudienceMismatch);
    }
    // OIDC Core §3.1.3.7 (5): the authorized party, where the operator restricts it.
    if let Some(parties) = issuer.authorized_parties() {
        let party = match issuer.party_claim() {
            Some(pointer) => claims.at(pointer),
            None => claims.0.get("azp").or_else(|| claims.0.get("client_id")),
        };
        if !party.and_then(Value::as_str).is_some_and(|party| parties.iter().any(|known| known == party)) {
            return Err(TokenError::PartyNotAuthorized);
        }
    }
    Ok(())
}

/// Is it the token's time (RFC 7519 §4.1.4–4.1.6)?
/// Does an operator's condition on the claims hold?
pub(super) fn check_required(claims: Claims<'_>, issuer: &Issuer) -> Result<(), TokenError> {
    let unmet = issuer.required_claims().first_unmet(|pointer| claims.at(pointer));
    if unmet.is_some() { Err(TokenError::RequiredClaim) } else { Ok(()) }
}

fn check_times(claims: Claims<'_>, issuer: &Issuer, now: SystemTime) -> Result<Expiry, TokenError> {
    let (now, leeway) = (since_epoch(now).as_secs_f64(), LEEWAY.as_secs_f64());
    let number = |name: &str| claims.0.get(name).map(Value::as_f64);
    let longest = issuer.max_token_lifetime().as_secs_f64();

    let expires = number("exp").flatten().ok_or(TokenError::ExpiryMalformed)?;
    let issued_at = number("iat").flatten().ok_or(TokenError::IssuedAtMalformed)?;
    if now >= expires + leeway {
        return Err(TokenError::Expired);
    }
    if let Some(not_before) = number("nbf")
        && now + leeway < not_before.ok_or(TokenError::NotBeforeMalformed)?
    {
        return Err(TokenError::NotYetValid);
    }
    if issued_at > now + leeway {
        return Err(TokenError::IssuedInFuture);
    }
    if expires <= issued_at {
        return Err(TokenError::ExpiryBeforeIssue);
    }
    // With `iat` at most the leeway ahead, `exp` is at most the longest lifetime and the leeway ahead, too.
    if expires - issued_at > longest {
        return Err(TokenError::LifetimeTooLong);
    }
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        reason = "between now and now plus the longest lifetime, by the checks above"
    )]
    let (ends_at, dead_from) = (expires.floor() as i64, (expires + leeway).ceil() as i64);
    Ok(Expiry { ends_at, dead_from })
}
