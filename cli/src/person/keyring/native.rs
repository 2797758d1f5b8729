//! How do macOS and Windows keep a secret?

use keyring_core::{CredentialStore, Entry, Error};
use std::sync::Arc;

use super::super::world::World;
use super::Key;

const SERVICE: &str = "hallpass";
const NAME: &str = "sealing key";

/// The one entry that is ours.
#[derive(Debug)]
pub(super) struct System(Entry);

impl System {
    #[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
    pub(super) fn find(_: &World) -> Result<Option<Self>, String> {
        Ok(store().and_then(|store| Entry::new_in_store(&store, SERVICE, NAME).ok()).map(Self))
    }

    pub(super) fn read(&mut self) -> Result<Option<Vec<u8>>, String> {
        match self.0.get_secret() {
            Ok(secret) => Ok(Some(secret)),
            Err(Error::NoEntry) => Ok(None),
            Err(error) => Err(told(&error)),
        }
    }

    pub(super) fn write(&mut self, key: &Key) -> Result<(), String> {
        self.0.set_secret(key).map_err(|error| told(&error))
    }
}

/// Some of the library's errors carry what they read, which must not be shown.
fn told(error: &Error) -> String {
    match error {
        Error::NoStorageAccess(_) => "it is locked".into(),
        Error::BadEncoding(_) | Error::BadDataFormat(..) => "it has something else under the name of Hallpass".into(),
        other => other.to_string(),
    }
}

#[cfg(target_os = "macos")]
fn store() -> Option<Arc<CredentialStore>> {
    let store: Arc<CredentialStore> = apple_native_keyring_store::keychain::Store::new().ok()?;
    Some(store)
}

#[cfg(windows)]
fn store() -> Option<Arc<CredentialStore>> {
    let store: Arc<CredentialStore> = windows_native_keyring_store::Store::new().ok()?;
    Some(store)
}
