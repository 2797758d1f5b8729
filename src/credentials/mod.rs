//! What does the caller get?
//!
//! The broker key, and the call to `GetFederationToken` with it; and the console, which opens with what that gives.

#[cfg(feature = "aws")]
mod access_key;
#[cfg(feature = "aws")]
mod broker_key;
#[cfg(feature = "aws")]
pub mod broker_key_schedule;
pub mod console;
#[cfg(feature = "lambda")]
mod sign_in_host;
#[cfg(feature = "aws")]
mod sts;

#[cfg(feature = "aws")]
pub use self::access_key::{AccessKey, NotAnAccessKey};
#[cfg(feature = "aws")]
pub use self::broker_key::{BrokerKey, BrokerKeys, FoundKey, KeyError, MintError};
#[cfg(feature = "lambda")]
pub use self::sign_in_host::{SignInError, SignInHost};
#[cfg(feature = "aws")]
pub use self::sts::{Issued, StsError};
