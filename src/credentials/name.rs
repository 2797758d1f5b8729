//! By which name do AWS's logs and policies know the session?

use data_encoding::BASE32_NOPAD;
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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FederatedName(String);

impl FederatedName {
    /// The caller's name: what is legal of the subject, at most 19 characters; `-`; and 12 of lower-case base32 (RFC 4648 §6) of
    /// SHA-256 over issuer id and subject, each after its length in bytes as a big-endian u32.
    #[must_use]
    pub fn of(caller: &Caller) -> Self {
        Self::hashed(caller.issuer().as_str(), caller.subject())
    }

    fn hashed(issuer: &str, subject: &str) -> Self {
        let mut digest = Sha256::new();
        for part in [issuer, subject] {
            // Bounded to 32 and 255 bytes where they were parsed.
            digest.update(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            digest.update(part);
        }
        let readable =
            subject.chars().filter(|c| c.is_ascii_alphanumeric() || "_=,.@+-".contains(*c)).take(READABLE_CHARS);
        let digest = BASE32_NOPAD.encode(&digest.finalize()).to_ascii_lowercase();
        Self(readable.chain(['-']).chain(digest.chars().take(DIGEST_CHARS)).collect())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn name(issuer: &str, subject: &str) -> String {
        FederatedName::hashed(issuer, subject).0
    }

    fn is_legal(name: &str) -> bool {
        (2..=32).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "_=,.@+-".contains(c))
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
