//! How does a command ask servers on the network, other than AWS?
//!
//! For people who sign in and for operators who look at a deployment from outside: one client, with the same limits, the
//! same trust and the same words. Everything here is without an AWS SDK.

pub(crate) mod clock;
pub(crate) mod secret;
pub(crate) mod server;
pub(crate) mod trouble;
pub(crate) mod web;
pub(crate) mod world;
