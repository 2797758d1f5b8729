//! Why is a published key not used, and how does the operator find out?
//!
//! A token that was signed with a key that is not used looks like a forgery. So each such key is logged, once for as
//! long as it stays that way, by its `kid` and the reason. Nothing else of it is.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::IssuerId;

/// What the log shows of a `kid`. UUIDs and thumbprints are shorter.
const MAX_KEY_ID_CHARS: usize = 128;
/// Keys of one set that are logged. Large providers publish some 10 keys; a hostile one must not fill the log.
const MAX_LOGGED: usize = 100;

/// Why a published key is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(super) enum SkipReason {
    #[error("it is not a JSON object")]
    NotAnObject,
    #[error("its `kid` is not a string")]
    KeyIdMalformed,
    #[error("it is not for verifying signatures")]
    OtherPurpose,
    #[error("its `kty` and `crv` are not supported")]
    TypeUnsupported,
    #[error("its `alg` is not a supported signature algorithm")]
    AlgorithmUnsupported,
    #[error("its `alg` does not fit its `kty` and `crv`")]
    AlgorithmMismatch,
    #[error("its `n`, `e`, `x` or `y` is missing, or is not base64")]
    ValueMalformed,
    #[error("its RSA modulus does not have 2048 to 8192 bits")]
    RsaSize,
    #[error("its RSA exponent is even, 1, or longer than 5 bytes")]
    RsaExponent,
    #[error("its `x` or `y` does not have the length of its curve")]
    CoordinateLength,
    #[error("its Ed25519 point has a small order, so anyone could sign for it")]
    SmallOrder,
    #[error("another key of the same type has the same `kid`")]
    SharedId,
}

impl SkipReason {
    /// Whether the key is sound, and not meant for us.
    const fn is_harmless(self) -> bool {
        matches!(self, Self::OtherPurpose | Self::TypeUnsupported | Self::AlgorithmUnsupported)
    }
}

/// A published key that is not used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SkippedKey {
    key_id: Option<String>,
    reason: SkipReason,
}

impl SkippedKey {
    pub(super) fn new(key_id: Option<&str>, reason: SkipReason) -> Self {
        // A provider may write anything into a `kid`, such as what would look like another line of the log.
        let legible = |id: &str| id.chars().take(MAX_KEY_ID_CHARS).flat_map(char::escape_default).collect();
        Self { key_id: key_id.map(legible), reason }
    }
}

/// The keys of one issuer that were logged.
#[derive(Debug, Default)]
pub(super) struct SkippedKeyLog(Mutex<BTreeSet<SkippedKey>>);

impl SkippedKeyLog {
    /// Logs those that are not used now, and were used or not there before.
    pub(super) fn log(&self, issuer: &IssuerId, skipped: BTreeSet<SkippedKey>) {
        for SkippedKey { key_id, reason } in self.replace(skipped) {
            if reason.is_harmless() {
                tracing::info!(issuer.id = %issuer, kid = key_id, %reason, "a published key is not used");
            } else {
                tracing::warn!(issuer.id = %issuer, kid = key_id, %reason, "a published key is not used");
            }
        }
    }

    fn replace(&self, skipped: BTreeSet<SkippedKey>) -> Vec<SkippedKey> {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Of too many, always the same ones: in whatever order they are published.
        let skipped: BTreeSet<SkippedKey> = skipped.into_iter().take(MAX_LOGGED).collect();
        let news = skipped.difference(&logged).cloned().collect();
        *logged = skipped;
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skipped(keys: &[(&str, SkipReason)]) -> BTreeSet<SkippedKey> {
        keys.iter().map(|(id, reason)| SkippedKey::new(Some(id), *reason)).collect()
    }

    #[test]
    fn a_key_is_logged_once_for_each_reason_as_long_as_it_stays_that_way() {
        let logged = SkippedKeyLog::default();
        let news = |keys: &[(&str, SkipReason)]| logged.replace(skipped(keys)).len();
        let (short, shared) = (("k1", SkipReason::RsaSize), ("k1", SkipReason::SharedId));
        assert_eq!(news(&[short]), 1);
        assert_eq!(news(&[short]), 0);
        assert_eq!(news(&[short, ("k2", SkipReason::RsaSize)]), 1, "another key");
        assert_eq!(news(&[shared]), 1, "another reason");
        assert_eq!(news(&[]), 0);
        assert_eq!(news(&[shared]), 1, "it was fine in between");
    }

    #[test]
    fn too_many_keys_are_not_all_logged_and_no_others_at_the_next_fetch() {
        let logged = SkippedKeyLog::default();
        let many =
            || (0..1_000).map(|number| SkippedKey::new(Some(&number.to_string()), SkipReason::RsaSize)).collect();
        assert_eq!(logged.replace(many()).len(), MAX_LOGGED);
        assert!(logged.replace(many()).is_empty());
    }

    #[test]
    fn a_key_id_is_legible_in_the_log() {
        let shown = |id: &str| SkippedKey::new(Some(id), SkipReason::RsaSize).key_id.unwrap();
        assert_eq!(shown("Pz-2/x+A_1.b=c:d e"), "Pz-2/x+A_1.b=c:d e");
        assert_eq!(shown("a\r\n{\"b\u{202e}\0"), r#"a\r\n{\"b\u{202e}\u{0}"#);
        assert_eq!(shown(&"k".repeat(1_000)), "k".repeat(128));
        assert_eq!(SkippedKey::new(None, SkipReason::NotAnObject).key_id, None);
    }
}
