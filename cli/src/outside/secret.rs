//! Where does a secret leave its wrapper?

use secrecy::{ExposeSecret as _, SecretString};

/// The text of a secret. Only these may call it: what sends it to the server that it is for, what hands it to the person
/// or program that asked for it, what compares it, and what signs a call to AWS with it.
#[expect(clippy::disallowed_methods, reason = "the one place; its callers are named above")]
pub(crate) fn expose(secret: &SecretString) -> &str {
    secret.expose_secret()
}
