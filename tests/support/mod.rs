//! The world around the function, on loopback: what the tests and the measurements share.

pub mod account;
pub mod answer;
pub mod clock;
pub mod corpus;
pub mod dynamodb;
pub mod events;
pub mod expression;
pub mod fixture;
pub mod function;
#[cfg(feature = "cli")]
pub mod operator;
pub mod provider;
pub mod runtime_api;
pub mod secrets;
pub mod server;
pub mod signer;
pub mod sigv4;
pub mod sts;
pub mod world;
