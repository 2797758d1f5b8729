//! How is read what somebody wrote, with every problem at once?

pub(crate) mod allowed_values;
pub mod json;
pub mod problems;
#[cfg(feature = "files")]
pub mod text;
