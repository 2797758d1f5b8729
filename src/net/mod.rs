//! How is the network asked, and how is the answer kept?

#[cfg(feature = "aws")]
pub mod aws;
pub mod refreshed;
pub(crate) mod url;
