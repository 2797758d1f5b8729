//! How are secrets made, compared and stored?

use secrecy::SecretString;
use serde::Serializer;

pub(crate) use crate::outside::secret::expose;

/// Writes a secret into the person's own store.
pub(crate) fn stored<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(expose(secret))
}

/// Writes a secret that may be absent into the person's own store.
#[expect(clippy::ref_option, reason = "serde calls it so")]
pub(crate) fn stored_if_any<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => serializer.serialize_some(expose(secret)),
        None => serializer.serialize_none(),
    }
}

/// A random text of 256 bits, for what nobody may guess.
pub(crate) fn random_text() -> Result<String, super::trouble::Trouble> {
    let mut bytes = [0_u8; 32];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| super::trouble::Trouble::failed("the system has no random numbers"))?;
    Ok(data_encoding::BASE64URL_NOPAD.encode(&bytes))
}

/// Whether two texts are the same, in a time that does not depend on where they differ.
pub(crate) fn same(one: &str, other: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}
