//! Why is a token not acceptable?
//!
//! One variant for each rule. The audit line names the variant; what the caller reads depends on whether the
//! signature held by then: before that, a reason would tell a forger what to try next.

use crate::wire::Code;

/// How much of an error the caller may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disclosure {
    /// The code alone: the signature was not verified yet.
    Nothing,
    /// The reason: it says no more than the holder can read in the token.
    Reason,
    /// The reason, under the code that says that the groups cannot be known.
    Groups,
}

macro_rules! token_errors {
    ($($(#[$doc:meta])* $variant:ident = $reason:literal, $disclosure:ident, $text:literal;)+) => {
        /// The rule that a token broke.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
        pub enum TokenError {
            $(#[doc = $text] $(#[$doc])* #[error($text)] $variant,)+
        }

        impl TokenError {
            /// Every rule, so that a test can show that each one is reached.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in the audit line.
            #[must_use]
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$variant => $reason,)+ }
            }

            /// How much of it the caller may read.
            #[must_use]
            pub const fn disclosure(self) -> Disclosure {
                match self { $(Self::$variant => Disclosure::$disclosure,)+ }
            }

            /// The code that a client reads.
            #[must_use]
            pub const fn code(self) -> Code {
                match self.disclosure() {
                    Disclosure::Nothing | Disclosure::Reason => Code::InvalidToken,
                    Disclosure::Groups => Code::GroupsUnavailable,
                }
            }
        }
    };
}

token_errors! {
    TooLong = "token_too_long", Nothing, "the token is longer than 10,000 bytes";
    NotCompactJws = "not_compact_jws", Nothing, "the token is not a JWS of three parts";
    NotBase64Url = "not_base64url", Nothing, "a part of the token is not canonical base64url";
    HeaderMalformed = "header_malformed", Nothing, "the header is not an unambiguous JSON object";
    ClaimsMalformed = "claims_malformed", Nothing, "the claims are not an unambiguous JSON object";
    IssuerMissing = "issuer_missing", Nothing, "the token's `iss` is missing or not a string";
    IssuerUnknown = "issuer_unknown", Nothing, "the token's issuer is not configured";
    AlgorithmUnsupported = "algorithm_unsupported", Nothing, "the header's `alg` is not a supported signature algorithm";
    AlgorithmNotAllowed = "algorithm_not_allowed", Nothing, "the header's `alg` is not configured for this issuer";
    CriticalHeader = "critical_header", Nothing, "the header has a `crit` or `b64` member";
    TypeNotAccepted = "type_not_accepted", Nothing, "the header's `typ` is not accepted here";
    KeyIdMalformed = "key_id_malformed", Nothing, "the header's `kid` is not a string";
    KeyUnknown = "key_unknown", Nothing, "the issuer has no usable key with that `kid`";
    KeyAmbiguous = "key_ambiguous", Nothing, "more than one of the issuer's keys matches";
    KeyMismatch = "key_mismatch", Nothing, "the key is not for the header's `alg`";
    SignatureInvalid = "signature_invalid", Nothing, "the signature does not verify";

    LogoutToken = "logout_token", Reason, "the token is a logout or event token, not a sign-in";
    SenderConstrained = "sender_constrained", Reason, "the token is bound to a key (`cnf`) and cannot be used as a plain Bearer token";
    AudienceMalformed = "audience_malformed", Reason, "the audience claim is neither a string nor a list of strings";
    AudienceMismatch = "audience_mismatch", Reason, "the token is for another audience";
    PartyNotAuthorized = "party_not_authorized", Reason, "the token was issued to a party that is not authorized here";
    ExpiryMalformed = "expiry_malformed", Reason, "the token's `exp` is missing or not a number";
    IssuedAtMalformed = "issued_at_malformed", Reason, "the token's `iat` is missing or not a number";
    NotBeforeMalformed = "not_before_malformed", Reason, "the token's `nbf` is not a number";
    Expired = "expired", Reason, "the token has expired";
    NotYetValid = "not_yet_valid", Reason, "the token is not valid yet";
    IssuedInFuture = "issued_in_future", Reason, "the token was issued in the future";
    ExpiryBeforeIssue = "expiry_before_issue", Reason, "the token expires before it was issued";
    LifetimeTooLong = "lifetime_too_long", Reason, "the token's lifetime is longer than is accepted here";
    SubjectMalformed = "subject_malformed", Reason, "the subject claim is not a string of 1 to 255 bytes without control characters";
    TokenIdMissing = "token_id_missing", Reason, "the token's `jti` is missing or not a non-empty string, and each token can be used only once here";
    RequiredClaim = "required_claim", Reason, "a claim that is required here is missing or has another value";

    GroupsMalformed = "groups_malformed", Groups, "the groups claim is neither a string nor a list of strings, each of 1 to 255 bytes without control characters";
    GroupsInText = "groups_in_text", Groups, "the groups claim is one string that holds a list or an object; it must be a list of strings";
    GroupsTooMany = "groups_too_many", Groups, "the token names more than 200 groups";
    GroupsOverage = "groups_overage", Groups, "the provider left the groups out of the token because there are too many";
    GroupsMissing = "groups_missing", Groups, "the token has no groups claim, which is required here";
}
