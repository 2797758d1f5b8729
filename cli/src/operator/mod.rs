//! What does an operator do about a deployed stack?
//!
//! AWS is asked with the operator's own credentials, found as every AWS tool finds them.

pub(crate) mod grants;
#[cfg(feature = "operator")]
mod interrupt;
#[cfg(feature = "operator")]
pub(crate) mod key;
#[cfg(feature = "operator")]
pub(crate) mod probe;
#[cfg(feature = "operator")]
mod refused;
#[cfg(feature = "operator")]
mod stack;
