//! What does an operator do about a deployed stack?
//!
//! AWS is asked with the operator's own credentials, found as every AWS tool finds them.

pub(crate) mod grants;
mod interrupt;
pub(crate) mod key;
mod refused;
mod stack;
