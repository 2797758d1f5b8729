//! Where does the system keep a secret for this person?

use super::trouble::Trouble;
use super::world::World;

/// A place that outlives the session and asks the person before it opens.
#[derive(Debug)]
pub(crate) struct Keyring {}

impl Keyring {
    /// The keyring of this session, if there is one.
    pub(crate) fn find(_: &World) -> Option<Self> {
        None
    }

    /// The key that seals files. It is made when it is first asked for.
    ///
    /// # Errors
    /// [`Trouble`] if the keyring is locked, or refuses.
    pub(crate) fn key(&self) -> Result<[u8; 32], Trouble> {
        Err(Trouble::failed("the keyring cannot be read"))
    }
}
