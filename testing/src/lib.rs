//! The world around the function, on loopback: what the tests and the measurements share.
#![expect(clippy::disallowed_methods, reason = "tests and measurements read the clock")]

pub mod answer;
pub mod aws;
pub mod clock;
pub mod corpus;
pub mod events;
pub mod fixture;
pub mod function;
pub mod operator;
pub mod provider;
pub mod runtime_api;
pub mod server;
pub mod signer;
pub mod world;

use std::path::PathBuf;

/// A file with one certificate authority, for `SSL_CERT_FILE`. Everything here speaks plain http on loopback, and the
/// system's hundreds of certificates are most of what an unoptimized function does when it starts.
pub const CERTIFICATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/certificates.pem");

/// A binary of the build that a test or measurement is part of. Cargo puts binaries one folder above both.
pub fn binary(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    this.parent().and_then(std::path::Path::parent).unwrap().join(name)
}
