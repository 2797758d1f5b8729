//! By which name do AWS's logs and policies know the session?

use data_encoding::BASE32_NOPAD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::identity::Caller;

/// Characters of the subject that begin the name, for people who read logs.
const READABLE_CHARS: usize = 19;
/// Characters of the digest that end it: 60 bits, so that two of a million callers share one by a chance of 10⁻⁶.
const DIGEST_CHARS: usize = 12;

/// The `Name` of a federated session: 2 to 32 of `A-Z a-z 0-9 _ = , . @ + -`.
///
/// A resource policy that names `federated-user/NAME` is not limited by the session policy, so no two callers may
/// ever share a name: not by truncation, by dropped characters, by case, nor by a subject chosen to look like
/// another's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FederatedName(String);

/// Why a claim is no federated name. Holds nothing of its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The token does not have it, or it is no string.
    #[error("the claim `{0}` is missing or not a string")]
    Missing(String),
    /// STS does not take it.
    #[error("the claim `{0}` is not 2 to 32 of A-Z a-z 0-9 _ = , . @ + -")]
    Unfit(String),
    /// It could be another caller's.
    #[error("the claim `{0}` looks like a name that is made from a subject")]
    Hashed(String),
    /// Whoever can write anything into a profile could take anybody's.
    #[error("the claim `/email` is not verified: `email_verified` is not true")]
    Unverified,
}

impl FederatedName {
    /// STS's limit.
    pub(crate) const MAX_CHARS: usize = 32;

    /// The caller's name: the claim that the issuer's `name_claim` says, as it stands; else [`Self::of_subject`].
    ///
    /// # Errors
    /// [`NameError`] where the claim is no name.
    pub fn of(caller: &Caller) -> Result<Self, NameError> {
        match caller.name_rule() {
            None => Ok(Self::of_subject(caller.issuer().as_str(), caller.subject())),
            Some(rule) if rule.claim == "/email" && caller.claim("/email_verified") != Some(&Value::Bool(true)) => {
                Err(NameError::Unverified)
            }
            Some(rule) => Self::claimed(caller.claim(&rule.claim).and_then(Value::as_str), &rule.claim),
        }
    }

    fn claimed(text: Option<&str>, claim: &str) -> Result<Self, NameError> {
        let text = text.ok_or_else(|| NameError::Missing(claim.to_owned()))?;
        let name = Self::parse(text).ok_or_else(|| NameError::Unfit(claim.to_owned()))?;
        if name.has_hashed_shape() { Err(NameError::Hashed(claim.to_owned())) } else { Ok(name) }
    }

    /// Takes any name that STS takes, whoever's it is.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (2..=Self::MAX_CHARS).contains(&text.len()) && text.chars().all(is_legal);
        fits.then(|| Self(text.to_owned()))
    }

    /// `.*-[a-z2-7]{12}`, in either case: no claim may be mistaken for a name that is made from a subject.
    #[must_use]
    pub fn has_hashed_shape(&self) -> bool {
        let digit = |c: char| c.is_ascii_alphabetic() || ('2'..='7').contains(&c);
        let parts = self.0.rsplit_once('-');
        parts.is_some_and(|(_, digest)| digest.len() == DIGEST_CHARS && digest.chars().all(digit))
    }

    /// The name as its owner is recorded: AWS compares some names without their case.
    #[must_use]
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// The name of a caller whose issuer has no `name_claim`: what is legal of the subject, at most 19 characters; `-`;
    /// and 12 of lower-case base32 (RFC 4648 §6) of SHA-256 over issuer id and subject, each after its length in bytes as
    /// a big-endian u32. Nobody else's is equal to it.
    #[must_use]
    pub fn of_subject(issuer: &str, subject: &str) -> Self {
        let mut digest = Sha256::new();
        for part in [issuer, subject] {
            // Bounded to 32 and 255 bytes where they were parsed.
            digest.update(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            digest.update(part);
        }
        let readable = subject.chars().filter(|c| is_legal(*c)).take(READABLE_CHARS);
        let digest = BASE32_NOPAD.encode(&digest.finalize()).to_ascii_lowercase();
        Self(readable.chain(['-']).chain(digest.chars().take(DIGEST_CHARS)).collect())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_legal(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_=,.@+-".contains(c)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn name(issuer: &str, subject: &str) -> String {
        FederatedName::of_subject(issuer, subject).0
    }

    fn is_legal(name: &str) -> bool {
        (2..=32).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "_=,.@+-".contains(c))
    }

    #[test]
    fn a_claim_is_a_name_as_it_stands_or_not_at_all() {
        let claimed = |text: &str| FederatedName::claimed(Some(text), "/u").map(|name| (name.0.clone(), name.folded()));
        for good in ["carol", "Carol@example.com", "a=", "ab-cdefghijklm1", "carol-3o2jzrlhnf", &"a".repeat(32)] {
            assert_eq!(claimed(good), Ok((good.to_owned(), good.to_ascii_lowercase())));
        }
        for bad in ["", "a", "carol smith", "carol/x", "carol|x", "cárol", "a\n", &"a".repeat(33)] {
            assert_eq!(claimed(bad), Err(NameError::Unfit("/u".into())), "{bad}");
        }
        for shape in ["carol-3o2jzrlhnfnb", "-3o2jzrlhnfnb", "CAROL-3O2JZRLHNFNB", "a-b-abcdefghijkl"] {
            assert_eq!(claimed(shape), Err(NameError::Hashed("/u".into())), "{shape}");
        }
        assert_eq!(FederatedName::claimed(None, "/u"), Err(NameError::Missing("/u".into())));
        assert_eq!(claimed(&name("corp", "carol")), Err(NameError::Hashed("/u".into())));
    }

    #[test]
    fn the_name_is_the_documented_one() {
        // printf '\0\0\0\4corp\0\0\0\5carol' | sha256sum | xxd -r -p | base32 | head -c 12 | tr A-Z a-z
        assert_eq!(name("corp", "carol"), "carol-3o2jzrlhnfnb");
    }

    #[test]
    fn subjects_that_would_truncate_sanitise_or_fold_to_one_string_get_different_names() {
        let long = "a-very-long-subject-indeed";
        for (one, other) in [
            (format!("{long}1"), format!("{long}2")),
            ("auth0|carol".into(), "auth0carol".into()),
            ("Carol".into(), "carol".into()),
            ("кэрол".into(), "кирилл".into()),
        ] {
            assert_ne!(name("corp", &one).to_lowercase(), name("corp", &other).to_lowercase(), "{one} and {other}");
        }
    }

    #[test]
    fn issuer_and_subject_cannot_be_shifted_into_one_another() {
        assert_ne!(name("a", "bc"), name("ab", "c"));
        assert_ne!(name("corp", "carol"), name("lab", "carol"));
    }

    #[test]
    fn a_subject_without_a_legal_character_still_has_a_name() {
        assert!(is_legal(&name("corp", "|")));
        assert_eq!(name("corp", "|").len(), 13);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn ten_thousand_random_subjects_get_legal_and_distinct_names(
            subjects in prop::collection::hash_set("\\PC{1,60}", 500)
        ) {
            let names: HashSet<String> = subjects.iter().map(|subject| name("corp", subject).to_lowercase()).collect();
            prop_assert!(names.iter().all(|name| is_legal(name)));
            prop_assert_eq!(names.len(), subjects.len());
        }
    }
}
