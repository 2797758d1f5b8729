//! How is the network asked, and how is the answer kept?

#[cfg(feature = "aws")]
pub mod aws;
#[cfg(feature = "aws")]
mod connector;
pub mod https;
pub mod refreshed;
pub mod url;
