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
mod trouble;
mod variables;
mod web;
mod world;

pub(crate) use self::desk::settle;
#[cfg(feature = "operator")]
pub(crate) use self::own::{Own, OwnSession};
#[cfg(feature = "operator")]
pub(crate) use self::secret::expose;
use self::trouble::{Trouble, shown};
pub(crate) use self::world::World;
use crate::failure::Failure;

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        let line = shown(&trouble.to_string());
        match trouble {
            Trouble::Usage(_) => Self::Usage(line),
            Trouble::SignedOut { .. } | Trouble::StepUp { .. } | Trouble::Unavailable(_) | Trouble::Failed(_) => {
                Self::Failed(line)
            }
        }
    }
}
