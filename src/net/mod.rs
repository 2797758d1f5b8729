//! How is the network asked, and how is the answer kept?

#[cfg(feature = "aws")]
pub mod aws;
pub mod cache;
#[cfg(feature = "aws")]
mod connector;
pub mod https;
pub mod public_url;
pub mod url;
