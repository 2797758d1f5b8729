//! What does the caller get?
//!
//! The broker key, and the call to `GetFederationToken` with it.

mod access_key;
mod broker_key;
pub mod broker_key_schedule;
mod sts;

pub use self::access_key::{AccessKey, NotAnAccessKey};
pub use self::broker_key::{BrokerKey, BrokerKeys, FoundKey, KeyError, MintError};
pub use self::sts::{Issued, StsError};
