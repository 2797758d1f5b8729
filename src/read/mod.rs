//! How is read what somebody wrote, with every problem at once?

pub(crate) mod allowed_values;
pub(crate) mod fields;
pub mod json;
pub mod problems;
pub mod rule;
#[cfg(feature = "files")]
pub mod text;
