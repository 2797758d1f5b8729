//! What does an operator do about a deployed stack?
//!
//! AWS is asked with the operator's own credentials, found as every AWS tool finds them.

#[cfg(feature = "operator")]
mod audit_log;
#[cfg(feature = "operator")]
pub(crate) mod block;
pub(crate) mod grants;
#[cfg(feature = "operator")]
mod interrupt;
#[cfg(feature = "operator")]
pub(crate) mod key;
#[cfg(feature = "operator")]
pub(crate) mod names;
#[cfg(feature = "operator")]
pub(crate) mod probe;
#[cfg(feature = "operator")]
mod refused;
#[cfg(feature = "operator")]
pub(crate) mod revoke;
#[cfg(feature = "operator")]
mod stack;
#[cfg(feature = "operator")]
pub(crate) mod whois;
