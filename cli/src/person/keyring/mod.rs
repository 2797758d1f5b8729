//! Where does the system keep a secret for this person?
//!
//! In the Secret Service of a Linux desktop, the Keychain of macOS, or the Credential Manager of Windows. Only one key is
//! there, because some of them hold no more than 2,560 bytes; it seals the files.

#[cfg(all(unix, not(target_os = "macos")))]
mod bus;
#[cfg(any(windows, target_os = "macos"))]
mod native;
#[cfg(all(unix, not(target_os = "macos")))]
mod secret_service;

use std::path::Path;

use aws_lc_rs::rand;

#[cfg(any(windows, target_os = "macos"))]
use self::native::System;
#[cfg(all(unix, not(target_os = "macos")))]
use self::secret_service::System;
use super::store::open_private;
use super::trouble::Trouble;
use super::world::World;

/// The key that seals files.
pub(crate) type Key = [u8; 32];

/// A place that outlives the session and opens for the person alone.
#[derive(Debug)]
pub(crate) struct Keyring(System);

impl Keyring {
    /// The keyring of this session, if there is one.
    ///
    /// # Errors
    /// [`Trouble`] if it does not answer: whether there is one is not known then.
    pub(crate) fn find(world: &World) -> Result<Option<Self>, Trouble> {
        Ok(System::find(world).map_err(|why| unusable(&why))?.map(Self))
    }

    /// The key. The first process that asks for it makes it; `lock` is the file by which it is one.
    ///
    /// # Errors
    /// [`Trouble`] if the keyring is locked, or refuses.
    pub(crate) fn key(mut self, lock: &Path) -> Result<Key, Trouble> {
        if let Some(key) = self.read()? {
            return Ok(key);
        }
        let failed = |error| {
            let remedy = "make its directory writable, or name another place in XDG_STATE_HOME";
            Trouble::failed(format!("cannot lock {}: {error}; {remedy}", lock.display()))
        };
        let file = open_private(lock).map_err(failed)?;
        file.lock().map_err(failed)?;
        if let Some(key) = self.read()? {
            return Ok(key);
        }
        let mut key = Key::default();
        rand::fill(&mut key).map_err(|_| Trouble::failed("the system has no random numbers"))?;
        self.0.write(&key).map_err(|why| unusable(&why))?;
        Ok(key)
    }

    fn read(&mut self) -> Result<Option<Key>, Trouble> {
        let Some(secret) = self.0.read().map_err(|why| unusable(&why))? else { return Ok(None) };
        let key = Key::try_from(secret.as_slice());
        key.map(Some).map_err(|_| unusable("it has something else under the name of Hallpass"))
    }
}

fn unusable(why: &str) -> Trouble {
    Trouble::failed(format!("the keyring cannot be used: {why}; unlock it, or set HALLPASS_STORE=file"))
}
