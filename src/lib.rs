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
    doc = "[`broker`] is the one file that knows the order; [`audit`] writes the record of each request."
)]
#![cfg_attr(
    feature = "rotator",
    doc = "[`rotation`], a function of its own, changes the long-term key with which credentials are minted."
)]

pub mod audit;
#[cfg(feature = "lambda")]
pub mod broker;
pub mod config;
pub mod credentials;
pub mod grants;
pub mod http;
pub mod identity;
#[cfg(feature = "lambda")]
pub mod lambda;
pub mod net;
pub mod read;
#[cfg(feature = "rotator")]
pub mod rotation;
pub mod session;
pub mod time;
pub mod wire;
