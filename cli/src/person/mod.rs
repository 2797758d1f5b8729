//! What does a person do who signs in?

pub(crate) mod configure;
pub(crate) mod console;
pub(crate) mod credentials;
pub(crate) mod doctor;
pub(crate) mod env;
pub(crate) mod exec;
pub(crate) mod list;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod status;

mod access;
mod aws_files;
mod desk;
mod keyring;
#[cfg(feature = "operator")]
mod own;
mod peer;
mod programs;
mod secret;
mod server;
mod session;
mod signin;
mod store;
#[cfg(test)]
mod tests;
mod variables;
mod world;

pub(crate) use self::desk::Renew;
pub(crate) use self::world::World;
#[cfg(feature = "operator")]
pub(crate) use self::{access::Access, own::OwnSession};
use crate::outside::{trouble, web};
