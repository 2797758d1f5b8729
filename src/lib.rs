//! Hallpass: short-lived, scoped AWS credentials in exchange for a sign-in token.
//!
//! One request goes one way:
//!
//! ```text
//! http → identity → grants → credentials → http
//!        who is     what may  what do
//!        calling    they have they get
//! ```
//!
//! The order is held by types, not by care: a [`identity::Caller`] is made only by verification, a
//! [`grants::Session`] only by authorization, and only a session can be minted.
#![cfg_attr(test, expect(clippy::arithmetic_side_effects, reason = "tests count small numbers"))]
#![cfg_attr(
    feature = "lambda",
    doc = "[`broker`] is the one file that knows the order; [`audit`] writes the record of each request beside it."
)]
#![cfg_attr(
    feature = "rotator",
    doc = "[`rotation`], a function of its own, changes the long-term key with which credentials are minted."
)]

#[cfg(feature = "aws")]
pub mod audit;
#[cfg(feature = "aws")]
pub mod broker;
pub mod config;
pub mod credentials;
pub mod grants;
#[cfg(feature = "lambda")]
pub mod http;
pub mod identity;
pub mod json;
#[cfg(feature = "lambda")]
pub mod logging;
pub mod namespace;
pub mod parameters;
pub mod problems;
pub mod refreshed;
mod required_claims;
#[cfg(feature = "rotator")]
pub mod rotation;
#[cfg(feature = "aws")]
pub mod upstream;

#[cfg(test)]
#[path = "../tests/support"]
#[expect(dead_code, unreachable_pub, reason = "the tests in `tests/` use the rest, and from another crate")]
mod support {
    pub mod corpus;
    pub mod fixture;
    pub mod provider;
    pub mod server;
    pub mod signer;
}
